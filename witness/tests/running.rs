//! What an operator can change while the program runs, and what it tells them.

mod stage;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use stage::{Log, ORIGIN, post, send};
use tlog::checkpoint::{Checkpoint, Origin};
use tlog::key::{KeyName, Signer};
use tlog::note::Note;
use tlog::proof::ConsistencyProof;
use tlog::tree::{TreeHead, TreeSize};
use tlog::witness::AddCheckpoint;
use witness::{Config, Witness};

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_solelog-witness"));
    command.args(args).arg("--dir").arg(dir);
    command
}

fn run(dir: &Path, args: &[&str]) -> Output {
    command(dir, args).output().unwrap()
}

/// A witness of the stage's log that runs until it is dropped.
struct Running {
    child: Child,
    address: SocketAddr,
}

impl Running {
    fn up(dir: &Path) -> Running {
        let vkey = Log::new().signer.vkey().to_string();
        let up = ["up", "--name", "w", "--listen", "127.0.0.1:0", "--key", "ed25519", "--log", &vkey, "--json"];
        let mut child = command(dir, &up).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        Running { child, address: said["listening"].as_str().unwrap().parse().unwrap() }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// What it answers to the first head of this log, that of no entries.
    fn first(&self, signer: &Signer) -> u16 {
        post(self.address, &empty(signer)).status
    }

    fn about(&self) -> String {
        send(self.address, "GET", "/", b"").body
    }

    /// Waits for as long as it takes to be so.
    fn until(&self, what: &str, is_so: impl Fn(&Running) -> bool) {
        let end = Instant::now() + Duration::from_secs(60);
        while !is_so(self) {
            assert!(Instant::now() < end, "never: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signer(origin: &str, seed: u8) -> Signer {
    Signer::note(KeyName::new(origin).unwrap(), &[seed; 32])
}

fn empty(signer: &Signer) -> Vec<u8> {
    let origin = Origin::new(signer.vkey().name().as_str()).unwrap();
    let note = Note::sign(&Checkpoint::new(origin, TreeHead::EMPTY).to_text(), signer).unwrap();
    AddCheckpoint { old_size: TreeSize::ZERO, proof: ConsistencyProof::default(), note }.to_bytes()
}

#[test]
fn logs_keys_and_lists_reach_a_witness_that_runs() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("w");
    let running = Running::up(&folder);
    let (new, other_key) = (signer("new.example", 5), signer("new.example", 6));
    assert_eq!(running.first(&new), 404);
    let added = run(&folder, &["log", "add", &new.vkey().to_string(), "--qpd", "7"]);
    assert_eq!(added.status.code(), Some(0), "{added:?}");
    assert_eq!(running.first(&new), 200);
    assert!(running.about().contains("qpd  7"));

    // One more key of a log that is known; and what it was told before stays.
    assert_eq!(running.first(&other_key), 403);
    assert_eq!(run(&folder, &["log", "add", &other_key.vkey().to_string()]).status.code(), Some(0));
    assert_eq!((running.first(&other_key), running.first(&new)), (200, 200));
    assert!(running.about().contains("qpd  7"));

    // A list, which is read at once.
    let listed = signer("listed.example", 7);
    let list = dir.path().join("list");
    let entry = format!("logs/v0\n\nvkey {}\nqpd 24\ncontact somebody@example.com\n", listed.vkey());
    std::fs::write(&list, entry).unwrap();
    let told = run(&folder, &["list", list.to_str().unwrap()]);
    assert_eq!(told.status.code(), Some(0), "{told:?}");
    running.until("the listed log is served", |running| running.first(&listed) == 200);

    // What it does not understand is refused, and changes nothing.
    std::fs::write(folder.join("inbox/bad.toml"), "lists = 3\n").unwrap();
    running.until("refused", |_| folder.join("inbox/bad.toml.refused").exists());
    drop(running);

    let config = Config::load(&folder).unwrap();
    let logs: Vec<(&str, usize)> = config.logs.iter().map(|log| (log.origin.as_str(), log.keys.len())).collect();
    assert_eq!(logs, [(ORIGIN, 1), ("new.example", 2), ("listed.example", 1)]);
    assert_eq!(config.lists, [list.to_str().unwrap()]);
    assert_eq!(Witness::open(&folder).unwrap().logs().len(), 3, "each has its state");
}

#[test]
fn a_signal_makes_it_read_its_configuration_again() {
    let dir = tempfile::tempdir().unwrap();
    let (running, log, new) = (Running::up(dir.path()), Log::new(), signer("new.example", 5));
    assert_eq!(post(running.address, &log.request(0, 3).to_bytes()).status, 200);

    let toml = Config::path(dir.path());
    let good = std::fs::read_to_string(&toml).unwrap();
    std::fs::write(&toml, format!("{good}\n[[log]]\norigin = \"new.example\"\nvkeys = [\"{}\"]\n", new.vkey()))
        .unwrap();
    running.signal(Signal::HUP);
    running.until("the new log is served", |running| running.first(&new) == 200);

    // A log that is taken out is not served, and one that comes back is not forgotten.
    let (without, _) = good.split_once("[[log]]").unwrap();
    std::fs::write(&toml, without).unwrap();
    running.signal(Signal::HUP);
    running.until("no log is served", |running| !running.about().contains("\nlog  "));
    assert_eq!(post(running.address, &log.request(3, 5).to_bytes()).status, 404);
    std::fs::write(&toml, &good).unwrap();
    running.signal(Signal::HUP);
    running.until("the log is served again", |running| running.about().contains(ORIGIN));
    let conflict = post(running.address, &log.request(0, 5).to_bytes());
    assert_eq!((conflict.status, conflict.body.as_str()), (409, "3\n"));
    assert_eq!(post(running.address, &log.request(3, 5).to_bytes()).status, 200);

    // What is no configuration changes nothing.
    std::fs::write(&toml, "listen = 3\n").unwrap();
    running.signal(Signal::HUP);
    std::fs::write(dir.path().join("inbox/ask.toml"), "").unwrap();
    running.until("it has looked", |_| !dir.path().join("inbox/ask.toml").exists());
    assert_eq!(post(running.address, &log.request(5, 6).to_bytes()).status, 200);
    std::fs::write(&toml, &good).unwrap();
}

#[test]
fn what_it_did_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (running, log) = (Running::up(dir.path()), Log::new());
    for (old, new, status) in [(0, 3, 200), (3, 3, 200), (3, 7, 200), (3, 8, 409), (7, 8, 200)] {
        assert_eq!(post(running.address, &log.request(old, new).to_bytes()).status, status);
    }
    let mut bad = log.request(8, 9);
    bad.proof = ConsistencyProof { hashes: vec![tlog::Hash([1; 32])] };
    assert_eq!(post(running.address, &bad.to_bytes()).status, 422);
    assert_eq!(running.first(&signer("stranger.example", 9)), 404);
    assert_eq!(post(running.address, b"not a request").status, 400);
    assert_eq!(send(running.address, "POST", "/sign-subtree", b"x").status, 404);

    let answer = send(running.address, "GET", "/metrics", b"");
    assert_eq!((answer.status, answer.header("content-type")), (200, "text/plain; version=0.0.4"));
    let has = |line: &str| answer.body.lines().any(|found| found == line);
    let of = |request: &str, log: &str, result: &str, count: u64| {
        let line = format!(
            "solelog_witness_requests_total{{request=\"{request}\",log=\"{log}\",result=\"{result}\"}} {count}"
        );
        assert!(has(&line), "{line} is not in\n{}", answer.body);
    };
    of("add-checkpoint", ORIGIN, "cosigned", 4);
    of("add-checkpoint", ORIGIN, "conflict", 1);
    of("add-checkpoint", ORIGIN, "inconsistent", 1);
    of("add-checkpoint", "", "unknown-log", 1);
    of("add-checkpoint", "", "malformed", 1);
    of("sign-subtree", "", "not-offered", 1);
    assert!(has("solelog_witness_request_seconds_count{request=\"add-checkpoint\"} 8"), "{}", answer.body);
    assert!(has(&format!("solelog_witness_log_size{{log=\"{ORIGIN}\"}} 8")), "{}", answer.body);
    assert!(has("solelog_witness_logs 1") && has("solelog_witness_state_certain 1"), "{}", answer.body);
    assert!(answer.body.lines().any(|line| line.starts_with("solelog_witness_ledger_bytes ")), "{}", answer.body);
}
