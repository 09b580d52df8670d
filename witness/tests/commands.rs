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

    for copy in ["heads.a", "heads.b"] {
        std::fs::write(dir.path().join("state").join(copy), "").unwrap();
    }
    for args in [&["serve"][..], &args] {
        let refused = run(dir.path(), args);
        assert_eq!(refused.status.code(), Some(3), "{refused:?}");
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains("damaged") && said.contains("our own files"), "{said}");
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

#[test]
fn up_makes_both_keys_and_the_pages_say_them() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("w");
    let vkey = Log::new().signer.vkey().to_string();
    let up = [
        "up",
        "--name",
        "witness.example/w1",
        "--listen",
        "127.0.0.1:0",
        "--log",
        &vkey,
        "--json",
        "--url",
        "https://witness.example/w1/",
        "--operator",
        "University X",
        "--contact",
        "root@witness.example",
    ];
    let running = Running::start(&dir, &up);
    let vkeys: Vec<String> =
        running.said["vkeys"].as_array().unwrap().iter().map(|vkey| vkey.as_str().unwrap().to_owned()).collect();
    assert_eq!(vkeys.len(), 2);
    let answer = post(running.address(), &Log::new().request(0, 3).to_bytes());
    assert_eq!(answer.body.lines().count(), 2, "{answer:?}");
    assert_eq!(running.end(Signal::TERM), Some(0));
    for file in ["witness.key", "witness-ml-dsa-44.key"] {
        let mode = std::fs::metadata(dir.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let unit = std::fs::read_to_string(dir.join("solelog-witness.service")).unwrap();
    assert!(unit.contains(&format!("serve --dir {}", dir.display())), "{unit}");
    assert!(!unit.contains('{'), "{unit}");

    let text = |command: &str| String::from_utf8(run(&dir, &[command]).stdout).unwrap();
    assert_eq!(text("vkey").lines().collect::<Vec<_>>(), vkeys);
    let (about, mail) = (text("about"), text("mail"));
    for part in
        ["University X", "root@witness.example", "https://witness.example/w1/add-checkpoint", &vkeys[0], &vkeys[1]]
    {
        assert!(about.contains(part) && mail.contains(part), "{part} in {about} and {mail}");
    }
    assert!(mail.starts_with("To: participate@lists.witness-network.org\n"), "{mail}");
    assert_eq!(json(&run(&dir, &["log", "list", "--json"]).stdout)["logs"][0]["size"], 3);
}

#[test]
fn a_second_key_comes_beside_the_first_under_the_same_name() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("w");
    let ml_dsa = ["keygen", "--key", "ml-dsa-44", "--name", "witness.example/w1", "--json"];
    let first = json(&run(&dir, &["keygen", "--name", "witness.example/w1", "--json"]).stdout);
    let other = run(&dir, &["keygen", "--key", "ml-dsa-44", "--name", "witness.example/w2"]);
    assert_eq!(other.status.code(), Some(1), "{other:?}");
    let second = json(&run(&dir, &ml_dsa).stdout);
    let vkeys = json(&run(&dir, &["vkey", "--json"]).stdout)["vkeys"].clone();
    assert_eq!(vkeys, serde_json::json!([first, second]));

    // Or the only one.
    let dir = tempfile::tempdir().unwrap();
    let alone = json(&run(dir.path(), &ml_dsa).stdout);
    assert_eq!(json(&run(dir.path(), &["vkey", "--json"]).stdout)["vkeys"], serde_json::json!([alone]));
}

#[test]
fn an_encrypted_key_needs_its_passphrase_at_every_start() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("w");
    let with = |args: &[&str], passphrase: &str| {
        command(&dir, args).env("SOLELOG_WITNESS_PASSPHRASE", passphrase).stdin(Stdio::null()).output().unwrap()
    };
    let made = with(&["keygen", "--name", "w", "--encrypt"], "correct horse");
    assert_eq!(made.status.code(), Some(0), "{made:?}");
    assert_eq!(with(&["vkey"], "correct horse").stdout, made.stdout);
    assert_eq!(with(&["vkey"], "another horse").status.code(), Some(1));
    let none = with(&["vkey"], "");
    assert_eq!(none.status.code(), Some(1));
    let said = String::from_utf8(none.stderr).unwrap();
    assert!(said.contains("passphrase_file"), "{said}");
}

#[test]
fn a_selftest_says_what_it_tried() {
    let dir = tempfile::tempdir().unwrap();
    let said = json(&run(dir.path(), &["selftest", "--json"]).stdout);
    assert_eq!(said["failed"], 0, "{said}");
    assert!(said["rows"].as_array().unwrap().len() > 30);
    // It leaves the witness's folder alone.
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
