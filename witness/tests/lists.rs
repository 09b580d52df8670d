//! Lists of logs: what is new is added, what is known stays.

mod stage;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use stage::{Log, ORIGIN, ticking};
use tlog::key::{KeyName, Signer};
use witness::Witness;

fn run(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_solelog-witness")).args(args).arg("--dir").arg(dir).output().unwrap()
}

fn json(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn vkey(origin: &str, seed: u8) -> String {
    Signer::note(KeyName::new(origin).unwrap(), &[seed; 32]).vkey().to_string()
}

fn entry(vkey: &str, qpd: u32) -> String {
    format!("vkey {vkey}\nqpd {qpd}\ncontact somebody@example.com\n\n")
}

/// A witness that has cosigned 3 leaves of the stage's log, and knows no list.
fn witness(dir: &Path) -> Witness {
    let name = KeyName::new("witness.example/w1").unwrap();
    witness::set_up(dir, Some(&name), None, &[Log::new().trusted()]).unwrap();
    let witness = Witness::open_with(dir, ticking(1_700_000_000)).unwrap();
    witness.add_checkpoint(&Log::new().request(0, 3).to_bytes()).unwrap();
    witness
}

#[test]
fn new_logs_are_added_and_known_ones_never_changed() {
    let dir = tempfile::tempdir().unwrap();
    drop(witness(dir.path()));
    let list = dir.path().join("list");
    let told = list.to_str().unwrap();
    let write = |entries: &[String]| fs::write(&list, format!("logs/v0\n\n{}", entries.concat())).unwrap();

    write(&[entry(&vkey("a.example", 5), 24), entry(&vkey(ORIGIN, 9), 1)]);
    let said = json(&run(dir.path(), &["list", told, "--json"]));
    assert_eq!(
        (&said["added"][0], &said["known"], &said["other_key"][0]),
        (&"a.example".into(), &1.into(), &ORIGIN.into())
    );
    // The list is remembered. This time it has another log, without the first one, and nothing else new.
    write(&[entry(&vkey("b.example", 6), 7), entry(&vkey("a.example", 8), 2)]);
    let said = json(&run(dir.path(), &["list", "--json"]));
    assert_eq!((&said["added"][0], &said["other_key"][0]), (&"b.example".into(), &"a.example".into()));

    let witness = Witness::open(dir.path()).unwrap();
    let mut known: Vec<(String, String, Option<u32>, u64)> = (witness.logs().into_iter())
        .map(|(log, size, _)| (log.origin.to_string(), log.keys[0].to_string(), log.qpd, size.get()))
        .collect();
    known.sort();
    let expected = [
        ("a.example".to_owned(), vkey("a.example", 5), Some(24), 0),
        ("b.example".to_owned(), vkey("b.example", 6), Some(7), 0),
        (ORIGIN.to_owned(), Log::new().signer.vkey().to_string(), None, 3),
    ];
    assert_eq!(known, expected);
}

#[test]
fn a_list_that_is_wrong_anywhere_adds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    drop(witness(dir.path()));
    let list = dir.path().join("list");
    for bad in ["logs/v0\nvkey x\n", "", &format!("logs/v0\n{}vkey half\n", entry(&vkey("a.example", 5), 24))] {
        fs::write(&list, bad).unwrap();
        let refused = run(dir.path(), &["list", list.to_str().unwrap()]);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        assert!(String::from_utf8(refused.stderr).unwrap().contains("log list, line"));
    }
    assert_eq!(Witness::open(dir.path()).unwrap().logs().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_that_runs_takes_logs_from_a_url_and_cosigns_for_them() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("w");
    let witness = std::sync::Arc::new(witness(&folder));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/list", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for status in ["500 Oh", "200 OK"] {
            let (mut stream, mut request) = (listener.accept().unwrap().0, [0; 4096]);
            let _ = stream.read(&mut request).unwrap();
            let list = format!("logs/v0\n{}", entry(&vkey("example.com/new", 1), 100));
            let length = list.len();
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{list}").unwrap();
        }
    });
    assert!(witness::lists::read(&url).await.is_err());
    let list = witness::lists::read(&url).await.unwrap();
    let outcome = witness::lists::apply(&witness, list.clone()).unwrap();
    assert_eq!(outcome.added[0].as_str(), "example.com/new");
    assert_eq!(witness::lists::apply(&witness, list).unwrap().known, 1);
    assert_eq!(witness.logs().len(), 2);
    drop(witness);
    // And after a restart too.
    assert_eq!(Witness::open(&folder).unwrap().logs().len(), 2);
}
