//! `sole evidence verify`, as somebody runs it who was handed a file.

use std::path::Path;
use std::process::Command;

use scal3::accusation::{Accusation, Charge};
use tlog::checkpoint::{Checkpoint, Origin};
use tlog::key::{KeyName, Signer};
use tlog::note::Note;
use tlog::{Hash, TreeHead, TreeSize};

const ORIGIN: &str = "log.example/one";

fn signer(seed: u8) -> Signer {
    Signer::note(KeyName::new(ORIGIN).unwrap(), &[seed; 32])
}

fn head(root: u8) -> Note {
    let head = TreeHead { size: TreeSize::new(7).unwrap(), root: Hash([root; 32]) };
    Note::sign(&Checkpoint::new(Origin::new(ORIGIN).unwrap(), head).to_text(), &signer(1)).unwrap()
}

fn run(dir: &Path, args: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sole"));
    let output = command.current_dir(dir).args(["evidence", "verify"]).args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout) + &text(output.stderr))
}

#[test]
fn r3_11_a_file_proves_what_is_in_it_and_nothing_to_who_trusts_another_log() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
    write("trust", format!("log {}\nquorum none\n", signer(1).vkey()).as_bytes());
    write("another", format!("log {}\nquorum none\n", signer(2).vkey()).as_bytes());
    let accusation = |other| Accusation { head: head(1), charge: Charge::Fork { other } };
    let fork = accusation(head(2)).to_bytes();
    write("fork", &fork);
    write("same", &accusation(head(1)).to_bytes());
    write("cut", &fork[..fork.len() - 1]);

    let (code, says) = run(dir.path(), &["fork", "--trust", "trust"]);
    assert_eq!((code, says.as_str()), (0, "PROVEN: log.example/one signed two roots for 7 entries\n"));
    let (code, says) = run(dir.path(), &["fork", "--trust", "trust", "--json"]);
    let answer: serde_json::Value = serde_json::from_str(&says).unwrap();
    assert_eq!((code, &answer["proven"]), (0, &true.into()));
    for (file, trust, why) in
        [("fork", "another", "not signed by a log of the trust policy"), ("same", "trust", "contradicts")]
    {
        let (code, says) = run(dir.path(), &[file, "--trust", trust]);
        assert!(code == 1 && says.starts_with("NOT PROVEN") && says.contains(why), "{says}");
    }
    for (file, trust) in [("cut", "trust"), ("missing", "trust"), ("fork", "missing"), ("fork", "fork")] {
        assert_eq!(run(dir.path(), &[file, "--trust", trust]).0, 2, "{file} {trust}");
    }
}
