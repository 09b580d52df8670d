//! The witness over real HTTP: one row per MUST, vectors made by others, and the race.

mod stage;

use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::{Arc, Barrier};

use serde_json::Value;
use stage::{Answer, Log, ORIGIN, Server, post, read_answer, send};
use tlog::Hash;
use tlog::checkpoint::{Checkpoint, Origin};
use tlog::cosignature::{Cosigner, Seconds};
use tlog::key::{KeyName, Vkey};
use tlog::note::Note;
use tlog::proof::ConsistencyProof;
use tlog::witness::{AddCheckpoint, MAX_BODY, cosignatures, parse_signatures};
use witness::TrustedLog;
use witness::config::LogFault;

fn fresh() -> (tempfile::TempDir, Server, Log) {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::new();
    let server = Server::start(&dir.path().join("w"), &[log.trusted()]);
    (dir, server, log)
}

/// A witness that last cosigned 3 leaves.
fn at_three() -> (tempfile::TempDir, Server, Log) {
    let (dir, server, log) = fresh();
    assert_eq!(server.add(&log.request(0, 3)).status, 200);
    (dir, server, log)
}

/// A signed note with another text than the log's own.
fn signed(log: &Log, text: &str) -> Note {
    Note::sign(text, &log.signer).unwrap()
}

// https://c2sp.org/tlog-witness#add-checkpoint, one row per MUST.
#[test]
fn add_checkpoint_answers_as_specified() {
    let (_dir, server, log) = at_three();
    let good = || log.request(3, 7);
    let check = |status: u16, what: &str, request: AddCheckpoint| {
        let answer = server.add(&request);
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{what}");
        answer
    };
    let with_note = |note: Note| AddCheckpoint { note, ..good() };
    let text = log.checkpoint(7).to_text();

    let elsewhere = text.replace(ORIGIN, "other.example/log");
    check(404, "a log we do not know", with_note(signed(&log, &elsewhere)));
    let stranger = Log::signed_by(2);
    check(403, "a signature by a stranger", with_note(signed(&stranger, &text)));
    let mut bad = log.request(3, 7).to_bytes();
    let last = bad.len() - 10;
    bad[last] = if bad[last] == b'A' { b'B' } else { b'A' };
    assert_eq!(server.post(&bad).status, 403, "a signature that does not verify");
    check(400, "an old size beyond the checkpoint", AddCheckpoint { old_size: stage::size(8), ..good() });
    check(400, "extension lines", with_note(signed(&log, &(text.clone() + "more\n"))));
    for (old, what) in [(0, "old 0"), (2, "a smaller old size"), (5, "a larger old size")] {
        let answer = check(409, what, log.request(old, 7));
        assert_eq!(answer.header("content-type"), "text/x.tlog.size", "{what}");
        assert_eq!(answer.body, "3\n", "{what}");
    }
    check(422, "no proof", AddCheckpoint { proof: ConsistencyProof::default(), ..good() });
    let mut wrong = good();
    wrong.proof.hashes[0].0[0] ^= 1;
    check(422, "a wrong proof", wrong);
    let mut long = good();
    long.proof.hashes.push(Hash::EMPTY_ROOT);
    check(422, "a proof with a hash too many", long);
    let mut fork = log.checkpoint(3);
    fork.head.root.0[0] ^= 1;
    check(
        422,
        "the same size with another root",
        AddCheckpoint { note: signed(&log, &fork.to_text()), ..log.request(3, 3) },
    );
    let empty = Checkpoint::new(Origin::new(ORIGIN).unwrap(), log.head(0)).to_text();
    let odd = empty.replace(&Hash::EMPTY_ROOT.to_base64(), &Hash([1; 32]).to_base64());
    check(422, "an empty tree with a root", AddCheckpoint { note: signed(&log, &odd), ..log.request(0, 0) });

    // Nothing of that has moved the witness, and all of it is forgotten.
    let stranger = Cosigner::new(KeyName::new("stranger.example").unwrap(), &[9; 32]);
    let line = stranger.cosign("another text\n", Seconds::new(1).unwrap());
    let unknown = signed(&log, &text).with_signature(line).unwrap();
    check(200, "an unknown signature beside the log's", with_note(unknown));
    check(200, "the same checkpoint again", log.request(7, 7));
    check(409, "the request of before", good());
}

#[test]
fn unreadable_requests_are_400() {
    let (_dir, server, log) = at_three();
    let good = String::from_utf8(log.request(3, 7).to_bytes()).unwrap();
    let hash = log.proof(3, 7).hashes[0].to_base64();
    for (what, bad) in [
        ("nothing", String::new()),
        ("no old line", good.replacen("old 3\n", "", 1)),
        ("a leading zero", good.replacen("old 3", "old 03", 1)),
        ("a sign", good.replacen("old 3", "old +3", 1)),
        ("two spaces", good.replacen("old 3", "old  3", 1)),
        ("a size beyond 2^63", good.replacen("old 3", "old 9223372036854775808", 1)),
        ("carriage returns", good.replace('\n', "\r\n")),
        ("a tab", good.replacen("old 3", "old\t3", 1)),
        ("a hash without padding", good.replacen(&hash, hash.trim_end_matches('='), 1)),
        ("64 hashes", good.replacen(&hash, &vec![hash.as_str(); 64].join("\n"), 1)),
        ("no empty line", good.replacen("\n\n", "\n", 1)),
        ("no signature", good.split_inclusive("\n\n").take(2).collect()),
        ("no final newline", good.trim_end().to_owned()),
        ("no root", good.replacen(&log.head(7).root.to_base64(), "", 1)),
    ] {
        assert_ne!(bad, good, "{what}");
        assert_eq!(server.post(bad.as_bytes()).status, 400, "{what}");
    }
    assert_eq!(server.post(&[0xff; 100]).status, 400, "not UTF-8");
    assert_eq!(server.post(&vec![b'x'; MAX_BODY]).status, 400, "128 KiB of nothing");
    assert_eq!(server.post(&vec![b'x'; MAX_BODY + 1]).status, 413, "one byte more");
    assert_eq!(server.post(good.as_bytes()).status, 200, "and then a good one");
}

#[test]
fn a_cosignature_is_on_the_checkpoint_and_by_the_witness() {
    let (_dir, server, log) = fresh();
    let request = log.request(0, 3);
    let answer = server.add(&request);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    let lines = parse_signatures(answer.body.as_bytes()).unwrap();
    assert_eq!(lines.len(), 1, "{}", answer.body);
    assert_eq!(cosignatures(&request.note, &lines, &server.vkey), lines);
}

fn time_of(answer: &Answer, server: &Server, text: &str) -> u64 {
    let lines = parse_signatures(answer.body.as_bytes()).unwrap();
    let note = Note::new(text, lines).unwrap();
    let keys = [server.vkey.clone()];
    let opened = note.open(&keys).unwrap();
    opened.verified[0].time.unwrap().get()
}

#[test]
fn the_same_checkpoint_again_gets_a_fresh_time() {
    let (_dir, server, log) = fresh();
    let text = log.checkpoint(3).to_text();
    let first = time_of(&server.add(&log.request(0, 3)), &server, &text);
    let second = time_of(&server.add(&log.request(3, 3)), &server, &text);
    assert!(first >= 1_700_000_000 && second > first, "{first} {second}");
}

#[test]
fn a_witness_starts_from_the_empty_tree() {
    let (_dir, server, log) = fresh();
    assert_eq!(server.add(&log.request(0, 0)).status, 200);
    assert_eq!(server.monitored().status, 200);
    let mut with_proof = log.request(0, 5);
    with_proof.proof.hashes.push(Hash([1; 32]));
    assert_eq!(server.add(&with_proof).status, 422);
    assert_eq!(server.add(&log.request(0, 5)).status, 200);
}

// https://c2sp.org/tlog-witness, the monitoring prefix.
#[test]
fn monitors_see_what_clients_got() {
    let (_dir, server, log) = fresh();
    assert_eq!(server.monitored().status, 404, "never cosigned");
    let keys = [log.signer.vkey().clone(), server.vkey.clone()];
    for (old, new) in [(0, 3), (3, 7), (7, 7)] {
        let got = server.add(&log.request(old, new));
        let seen = server.monitored();
        assert_eq!(seen.status, 200);
        assert!(seen.body.ends_with(&got.body), "{seen:?}");
        let note = Note::parse(seen.body.as_bytes()).unwrap();
        assert_eq!(note.text(), log.checkpoint(new).to_text());
        assert_eq!(note.open(&keys).unwrap().keys().len(), 2);
    }
    let other = Origin::new("other.example/log").unwrap().hash();
    assert_eq!(server.get(&format!("/{other}/checkpoint")).status, 404);
    let capitals = Origin::new(ORIGIN).unwrap().hash().to_hex().to_uppercase();
    assert_eq!(server.get(&format!("/{capitals}/checkpoint")).status, 404);
}

#[test]
fn anybody_may_look_from_a_web_page() {
    let (_dir, server, _log) = at_three();
    let about = server.get("/");
    assert_eq!(about.status, 200);
    assert_eq!(about.header("content-type"), "text/plain; charset=utf-8");
    for part in ["witness.example/w1\n", ORIGIN, "size 3\n", &server.vkey.to_string()] {
        assert!(about.body.contains(part), "{part} in {}", about.body);
    }
    assert_eq!(server.get("/livez").body, "ok\n");
    let preflight = send(server.address, "OPTIONS", "/add-checkpoint", b"");
    assert_eq!(preflight.status, 204);
    assert!(preflight.header("access-control-allow-methods").contains("POST"));
    for answer in [about, preflight, server.get("/nothing"), server.monitored()] {
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{answer:?}");
    }
    assert_eq!(server.get("/nothing").status, 404);
    assert_eq!(server.get("/add-checkpoint").status, 405);
}

#[test]
fn one_connection_serves_many_requests() {
    let (_dir, server, log) = fresh();
    let mut stream = TcpStream::connect(server.address).unwrap();
    for (old, new) in [(0, 1), (1, 2), (2, 3)] {
        let body = log.request(old, new).to_bytes();
        let length = body.len();
        let head = format!("POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: {length}");
        stream.write_all(format!("{head}\r\n\r\n").as_bytes()).unwrap();
        stream.write_all(&body).unwrap();
        assert_eq!(read_answer(&mut stream).status, 200);
    }
}

#[test]
fn many_clients_of_one_size_move_the_witness_once() {
    let (_dir, server, log) = at_three();
    let requests: Vec<Vec<u8>> = (4..12).map(|new| log.request(3, new).to_bytes()).collect();
    let statuses = all_at_once(&server, requests);
    assert_eq!(statuses.iter().filter(|(status, _)| *status == 200).count(), 1);
    assert_eq!(statuses.iter().filter(|(status, _)| *status == 409).count(), 7);
    let won = 4 + statuses.iter().position(|(s, _)| *s == 200).unwrap() as u64;
    let seen = Note::parse(server.monitored().body.as_bytes()).unwrap();
    assert_eq!(seen.text(), log.checkpoint(won).to_text());
    for (status, body) in statuses {
        assert!(status == 200 || body == format!("{won}\n") || body == "3\n", "{body}");
    }
}

/// Sends every body from a thread of its own; the answers are in the order of the bodies.
fn all_at_once(server: &Server, bodies: Vec<Vec<u8>>) -> Vec<(u16, String)> {
    let barrier = Arc::new(Barrier::new(bodies.len()));
    let threads: Vec<_> = bodies
        .into_iter()
        .map(|body| {
            let (barrier, address) = (barrier.clone(), server.address);
            std::thread::spawn(move || {
                barrier.wait();
                let answer = post(address, &body);
                (answer.status, answer.body)
            })
        })
        .collect();
    threads.into_iter().map(|t| t.join().unwrap()).collect()
}

fn vectors(name: &str) -> Vec<Value> {
    let folder = std::env::var_os("SOLELOG_VECTORS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/vectors")), PathBuf::from);
    if !folder.is_dir() {
        let required = std::env::var("SOLELOG_REQUIRE_VECTORS").is_ok_and(|v| v == "1");
        assert!(!required, "no vectors at {}", folder.display());
        println!("skipped: no vectors");
        return vec![];
    }
    let file = std::fs::read(folder.join(name)).unwrap();
    let file: Value = serde_json::from_slice(&file).unwrap();
    file["cases"].as_array().unwrap().clone()
}

fn text<'a>(case: &'a Value, field: &str) -> &'a str {
    case[field].as_str().unwrap_or_else(|| panic!("{field} of {case}"))
}

fn trusted(case: &Value) -> Result<Vec<TrustedLog>, LogFault> {
    let logs = case["logs"].as_array().unwrap();
    logs.iter()
        .map(|log| {
            let vkeys = log["vkeys"].as_array().unwrap();
            let keys = vkeys.iter().map(|vkey| Vkey::parse(vkey.as_str().unwrap()).unwrap());
            TrustedLog::new(Origin::new(text(log, "origin")).unwrap(), keys.collect())
        })
        .collect()
}

#[test]
fn requests_are_answered_as_listed() {
    let cases = vectors("witness/add_checkpoint.json");
    let mut steps = 0;
    for case in cases.iter().filter(|case| case["kind"] != "race") {
        let id = text(case, "id");
        let logs = trusted(case).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(dir.path(), &logs);
        for step in case["steps"].as_array().unwrap() {
            let name = text(step, "name");
            let body = text(step, "body");
            let answer = server.post(body.as_bytes());
            let expected = &step["status"];
            let matches =
                expected == answer.status || expected.as_str().is_some_and(|s| s.contains(&answer.status.to_string()));
            assert!(matches, "{id}: {name}: {expected}, not {answer:?}");
            if let Some(body) = step["responseBody"].as_str() {
                assert_eq!(answer.body, body, "{id}: {name}");
            }
            if let Some(kind) = step["responseContentType"].as_str() {
                assert_eq!(answer.header("content-type"), kind, "{id}: {name}");
            }
            if let Some(absent) = step["responseMustNotContain"].as_str() {
                assert!(!answer.body.contains(absent), "{id}: {name}");
            }
            if answer.status == 200 {
                let lines = parse_signatures(answer.body.as_bytes()).unwrap();
                let note = AddCheckpoint::parse(body.as_bytes()).unwrap().note;
                assert_eq!(cosignatures(&note, &lines, &server.vkey), lines, "{id}: {name}");
            }
            steps += 1;
        }
    }
    if !cases.is_empty() {
        assert!(cases.len() >= 14 && steps >= 26, "{} {steps}", cases.len());
    }
}

#[test]
fn of_two_that_race_from_one_size_exactly_one_wins() {
    let cases = vectors("witness/add_checkpoint.json");
    for case in cases.iter().filter(|case| case["kind"] == "race") {
        for _ in 0..20 {
            let dir = tempfile::tempdir().unwrap();
            let logs = trusted(case).unwrap();
            let server = Server::start(dir.path(), &logs);
            let setup = server.post(text(&case["setup"], "body").as_bytes());
            assert_eq!(setup.status, 200);
            let both = case["concurrent"].as_array().unwrap();
            let bodies: Vec<Vec<u8>> = both.iter().map(|race| text(race, "body").as_bytes().to_vec()).collect();
            let answers = all_at_once(&server, bodies.clone());
            let mut statuses: Vec<u16> = answers.iter().map(|(status, _)| *status).collect();
            let won = statuses.iter().position(|status| *status == 200).unwrap();
            statuses.sort_unstable();
            assert_eq!(statuses, [200, 409], "{answers:?}");
            let winner = AddCheckpoint::parse(&bodies[won]).unwrap().note;
            let path = format!("/{}/checkpoint", logs[0].origin.hash());
            let seen = Note::parse(server.get(&path).body.as_bytes()).unwrap();
            assert_eq!(seen.text(), winner.text());
        }
    }
    let races = cases.iter().filter(|case| case["kind"] == "race").count();
    assert!(cases.is_empty() || races >= 1);
}
