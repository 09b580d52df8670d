//! The program as its operator uses it.

mod stage;

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use stage::{Log, post};

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_solelog-witness"));
    command.args(args).arg("--dir").arg(dir);
    command
}

fn run(dir: &Path, args: &[&str]) -> Output {
    command(dir, args).output().unwrap()
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|e| panic!("{e}: {}", bytes.escape_ascii()))
}

/// A running program.
struct Running {
    child: Child,
    said: Value,
}

impl Running {
    fn start(dir: &Path, args: &[&str]) -> Running {
        let mut child = command(dir, args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let out = child.stdout.as_mut().unwrap();
        BufReader::new(out).read_line(&mut line).unwrap();
        if line.is_empty() {
            let mut error = String::new();
            let err = child.stderr.as_mut().unwrap();
            err.read_to_string(&mut error).unwrap();
            panic!("it did not start: {error}");
        }
        Running { child, said: json(line.as_bytes()) }
    }

    fn address(&self) -> SocketAddr {
        self.said["listening"].as_str().unwrap().parse().unwrap()
    }

    fn end(mut self, signal: Signal) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        self.child.wait().unwrap().code()
    }
}

#[test]
fn up_makes_everything_in_one_command_and_serve_goes_on_from_there() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("w");
    let log = Log::new();
    let vkey = log.signer.vkey().to_string();
    let up = ["up", "--name", "witness.example/w1", "--listen", "127.0.0.1:0", "--log", &vkey, "--json"];
    let running = Running::start(&dir, &up);
    assert_eq!(post(running.address(), &log.request(0, 3).to_bytes()).status, 200);
    let witness = running.said["vkey"].clone();

    // Meanwhile nobody else works in the folder.
    let second = run(&dir, &["serve", "--json"]);
    assert_eq!(second.status.code(), Some(4));
    assert!(json(&second.stderr)["error"].as_str().unwrap().contains("in use"));
    // But anybody may ask for the key.
    assert_eq!(json(&run(&dir, &["vkey", "--json"]).stdout)["vkey"], witness);
    assert_eq!(running.end(Signal::TERM), Some(0));

    let running = Running::start(&dir, &["serve", "--json"]);
    assert_eq!(running.said["vkey"], witness);
    assert_eq!(running.said["logs"][0]["size"], 3);
    assert_eq!(post(running.address(), &log.request(0, 5).to_bytes()).body, "3\n");
    assert_eq!(running.end(Signal::INT), Some(0));

    // The same command again keeps what is there.
    let running = Running::start(&dir, &up);
    assert_eq!(running.said["vkey"], witness);
    assert_eq!(running.said["logs"][0]["size"], 3);
    assert_eq!(running.end(Signal::TERM), Some(0));
}

#[test]
fn a_killed_witness_goes_on_where_it_answered() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::new();
    let vkey = log.signer.vkey().to_string();
    let up = ["up", "--name", "w", "--listen", "127.0.0.1:0", "--log", &vkey, "--json"];
    let mut reached = 0;
    for round in 0..5 {
        let running = Running::start(dir.path(), &up);
        assert_eq!(running.said["logs"][0]["size"], reached, "round {round}");
        for _ in 0..3 {
            let request = log.request(reached, reached + 2);
            assert_eq!(post(running.address(), &request.to_bytes()).status, 200);
            reached += 2;
        }
        assert_eq!(running.end(Signal::KILL), None);
    }
}

#[test]
fn step_by_step() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("w");
    let missing = run(&dir, &["vkey"]);
    assert_eq!(missing.status.code(), Some(1));
    let said = String::from_utf8(missing.stderr).unwrap();
    assert!(said.contains("keygen"), "{said}");

    let made = run(&dir, &["keygen", "--name", "witness.example/w1"]);
    assert_eq!(made.status.code(), Some(0), "{made:?}");
    assert_eq!(made.stdout, run(&dir, &["vkey"]).stdout);
    let again = run(&dir, &["keygen", "--name", "witness.example/w1"]);
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(made.stdout, run(&dir, &["vkey"]).stdout);

    let vkey = Log::new().signer.vkey().to_string();
    let added = run(&dir, &["log", "add", &vkey, "--json"]);
    assert_eq!(json(&added.stdout)["origin"], stage::ORIGIN);
    let other = run(&dir, &["log", "add", &vkey, "--origin", "another origin"]);
    assert_eq!(other.status.code(), Some(0), "{other:?}");
    let running = Running::start(&dir, &["serve", "--listen", "127.0.0.1:0", "--json"]);
    assert_eq!(running.said["logs"].as_array().unwrap().len(), 2);
    assert_eq!(running.end(Signal::TERM), Some(0));
}

#[test]
fn a_key_that_others_may_read_and_a_damaged_state_stop_it() {
    let dir = tempfile::tempdir().unwrap();
    let vkey = Log::new().signer.vkey().to_string();
    let args = ["up", "--name", "w", "--listen", "127.0.0.1:0", "--log", &vkey, "--json"];
    assert_eq!(Running::start(dir.path(), &args).end(Signal::TERM), Some(0));

    let key = dir.path().join("witness.key");
    let mode = |mode| std::fs::set_permissions(&key, PermissionsExt::from_mode(mode)).unwrap();
    mode(0o644);
    let refused = run(dir.path(), &["serve"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("644"));
    mode(0o600);

    let origin = tlog::checkpoint::Origin::new(stage::ORIGIN).unwrap();
    let state = dir.path().join("state").join(origin.hash().to_hex());
    std::fs::write(&state, "").unwrap();
    for args in [&["serve"][..], &args] {
        let refused = run(dir.path(), args);
        assert_eq!(refused.status.code(), Some(3), "{refused:?}");
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains("damaged") && said.contains("our own file"), "{said}");
    }
}

#[test]
fn a_key_we_could_not_verify_with_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let cosigner = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2";
    let refused = run(dir.path(), &["up", "--name", "w", "--log", cosigner]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("0x04"), "{said}");
    let refused = run(dir.path(), &["up", "--name", "a b"]);
    assert_eq!(refused.status.code(), Some(2));
}
