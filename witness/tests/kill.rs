//! kill -9, again and again, while clients ask over HTTP: nothing that was answered is forgotten,
//! and no two answers contradict each other. `SOLELOG_WITNESS_KILL_STEPS` says how many requests
//! (the full run is ten thousand).

mod stage;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use stage::random::{Random, steps};
use stage::{Log, ORIGIN};
use tlog::Hash;
use tlog::checkpoint::Checkpoint;
use tlog::key::{KeyName, Signer};
use tlog::note::Note;
use tlog::proof::ConsistencyProof;
use tlog::witness::AddCheckpoint;

struct Running {
    child: Child,
    address: SocketAddr,
    size: u64,
}

fn start(dir: &Path, vkey: &str) -> Running {
    let mut child = Command::new(env!("CARGO_BIN_EXE_solelog-witness"))
        .args(["up", "--name", "witness.example/w1", "--listen", "127.0.0.1:0", "--log", vkey, "--json", "--dir"])
        .arg(dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let said: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("it did not start: {e}: {line}"));
    let address = said["listening"].as_str().unwrap().parse().unwrap();
    Running { child, address, size: said["logs"][0]["size"].as_u64().unwrap() }
}

/// One request; `None` where the witness was killed before it had answered.
fn ask(address: SocketAddr, body: &[u8]) -> Option<(u16, String)> {
    use std::io::{Read, Write};
    let mut stream = TcpStream::connect(address).ok()?;
    let length = body.len();
    let head =
        format!("POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// A head of the log's other history, which the log signs as well.
fn forked(log: &Log, old: u64, new: u64) -> AddCheckpoint {
    let mut head = log.head(new);
    head.root = Hash::node(&head.root, &head.root);
    let text = Checkpoint::new(ORIGIN.parse().unwrap(), head).to_text();
    let signer = Signer::note(KeyName::new(ORIGIN).unwrap(), &[1; 32]);
    let proof = if old == 0 { ConsistencyProof::default() } else { log.proof(old, new) };
    AddCheckpoint { old_size: stage::size(old), proof, note: Note::sign(&text, &signer).unwrap() }
}

#[test]
fn a_witness_that_is_killed_forgets_nothing_that_it_answered() {
    let total = steps("SOLELOG_WITNESS_KILL_STEPS", 300);
    let seed = steps("SOLELOG_WITNESS_SEED", 1);
    let dir = tempfile::tempdir().unwrap();
    let log = Log::new();
    let vkey = log.signer.vkey().to_string();
    let mut random = Random::seeded(seed);
    let (sent, mut kills) = (AtomicU64::new(0), 0);
    // Every head that was answered with a cosignature: by size, the root.
    let answered: Mutex<BTreeMap<u64, String>> = Mutex::default();
    let mut reached = 0;
    while sent.load(Ordering::SeqCst) < total {
        let mut running = start(dir.path(), &vkey);
        let largest = answered.lock().unwrap().keys().next_back().copied().unwrap_or(0);
        assert!(running.size >= largest, "{largest} was cosigned, and {} is known", running.size);
        reached = running.size.max(reached);
        if running.size == 0 {
            // From nothing, any tree is as good as another.
            assert_eq!(ask(running.address, &log.request(0, 1).to_bytes()).unwrap().0, 200);
            running.size = 1;
        }
        let (until, known) = (10 + random.below(60), AtomicU64::new(running.size));
        let here = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for client in 0..3u64 {
                let (log, sent, here, known, answered) = (&log, &sent, &here, &known, &answered);
                let (address, seed) = (running.address, random.next() ^ client);
                scope.spawn(move || {
                    let mut random = Random::seeded(seed);
                    loop {
                        let old = known.load(Ordering::SeqCst);
                        let request = match random.below(6) {
                            0 => forked(log, old, old + 1 + random.below(4)),
                            1 => forked(log, old, old),
                            2 => log.request(old.saturating_sub(3), old.saturating_sub(random.below(3))),
                            _ => log.request(old, old + random.below(4)),
                        };
                        let Some((status, body)) = ask(address, &request.to_bytes()) else { return };
                        sent.fetch_add(1, Ordering::SeqCst);
                        here.fetch_add(1, Ordering::SeqCst);
                        assert!([200, 400, 409, 422].contains(&status), "{status} {body}");
                        if status == 409 {
                            known.store(body.trim().parse().unwrap(), Ordering::SeqCst);
                        }
                        if status == 200 {
                            let checkpoint = Checkpoint::parse_text(request.note.text()).unwrap();
                            let (size, root) = (checkpoint.head.size.get(), checkpoint.head.root.to_base64());
                            let mut answered = answered.lock().unwrap();
                            let before = answered.insert(size, root.clone());
                            assert!(before.is_none_or(|before| before == root), "two trees of {size} leaves");
                            known.store(size, Ordering::SeqCst);
                        }
                    }
                });
            }
            while here.load(Ordering::SeqCst) < until {
                std::thread::yield_now();
            }
            kill_process(Pid::from_child(&running.child), Signal::KILL).unwrap();
            running.child.wait().unwrap();
        });
        kills += 1;
    }
    let answered = answered.into_inner().unwrap();
    let honest = answered.iter().filter(|(size, root)| log.head(**size).root.to_base64() == **root).count();
    assert_eq!(honest, answered.len(), "heads that are not of the history that was begun");
    println!(
        "{} requests, {kills} kills, {} heads cosigned, {reached} leaves",
        sent.load(Ordering::SeqCst),
        answered.len()
    );
}
