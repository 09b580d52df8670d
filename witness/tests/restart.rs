//! What survives: stops, kills, damage, and full disks.

mod stage;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use stage::disk::{Disk, cosigner, on_disk};
use stage::random::Random;
use stage::{Log, ORIGIN, Server, ticking};
use tlog::checkpoint::Origin;
use tlog::key::KeyName;
use tlog::note::Note;
use witness::folder::FolderError;
use witness::keys::WitnessKey;
use witness::ledger::StateError;
use witness::witness::AddError;
use witness::{OpenError, Witness, set_up};

fn copies(dir: &Path) -> [PathBuf; 2] {
    ["heads.a", "heads.b"].map(|copy| dir.join("state").join(copy))
}

fn published(dir: &Path) -> PathBuf {
    let origin = Origin::new(ORIGIN).unwrap();
    dir.join("published").join(origin.hash().to_hex()).join("checkpoint")
}

fn open(dir: &Path) -> Result<Witness, OpenError> {
    Witness::open_with(dir, ticking(1_800_000_000))
}

#[test]
fn a_restart_keeps_the_head_and_what_monitors_see() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::new();
    let server = Server::start(dir.path(), &[log.trusted()]);
    assert_eq!(server.add(&log.request(0, 3)).status, 200);
    assert_eq!(server.add(&log.request(3, 8)).status, 200);
    let seen = server.monitored().body;
    let vkey = server.vkey.clone();
    server.stop();

    let server = Server::start(dir.path(), &[log.trusted()]);
    assert_eq!(server.vkey, vkey);
    assert_eq!(server.monitored().body, seen);
    assert_eq!(server.add(&log.request(3, 9)).body, "8\n");
    assert_eq!(server.add(&log.request(8, 9)).status, 200);
}

const VICTIM: &str = "SOLELOG_WITNESS_VICTIM";

// The child of the test below. Its clock, which is asked after the store and before the
// signature, kills the process.
#[test]
fn victim() {
    let Some(dir) = std::env::var_os(VICTIM) else {
        return;
    };
    let witness = Witness::open_with(Path::new(&dir), Box::new(|| std::process::abort())).unwrap();
    let _ = witness.add_checkpoint(&Log::new().request(3, 7).to_bytes());
    unreachable!("the clock was not asked");
}

#[test]
fn a_kill_between_store_and_sign_leaves_the_head_stored() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::new();
    let server = Server::start(dir.path(), &[log.trusted()]);
    assert_eq!(server.add(&log.request(0, 3)).status, 200);
    server.stop();

    let victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--nocapture"])
        .env(VICTIM, dir.path())
        .output()
        .unwrap();
    assert_eq!(victim.status.signal(), Some(6), "{victim:?}");

    // Nobody holds a cosignature of 7 leaves. Still no other tree of that log is cosigned.
    let server = Server::serve(open(dir.path()).unwrap());
    assert_eq!(server.add(&log.request(3, 5)).body, "7\n");
    let note = Note::parse(server.monitored().body.as_bytes()).unwrap();
    let keys = [log.signer.vkey().clone(), server.vkey.clone()];
    assert_eq!(note.text(), log.checkpoint(7).to_text());
    assert_eq!(note.open(&keys).unwrap().keys().len(), 2);
    // The client asks again and gets what it missed.
    assert_eq!(server.add(&log.request(7, 7)).status, 200);
}

#[test]
fn a_panic_between_store_and_sign_is_one_failed_request() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::new();
    let name = KeyName::new("witness.example/w1").unwrap();
    set_up(dir.path(), Some(&name), None, &[log.trusted()]).unwrap();
    let asked = std::sync::atomic::AtomicU64::new(0);
    let clock = move || match asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
        0 => panic!("the clock fell off the wall"),
        n => 1_700_000_000 + n,
    };
    let server = Server::serve(Witness::open_with(dir.path(), Box::new(clock)).unwrap());
    assert_eq!(server.add(&log.request(0, 3)).status, 500);
    assert_eq!(server.add(&log.request(0, 5)).body, "3\n");
    assert_eq!(server.add(&log.request(3, 3)).status, 200);
}

#[test]
fn a_damaged_state_is_reported_as_ours_and_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::new();
    let server = Server::start(dir.path(), &[log.trusted()]);
    assert_eq!(server.add(&log.request(0, 3)).status, 200);
    assert_eq!(server.add(&log.request(3, 8)).status, 200);
    server.stop();

    let paths = copies(dir.path());
    let good = fs::read(&paths[0]).unwrap();
    for bad in [&[][..], &good[..good.len() / 2], &[&good[..], b"x"].concat()] {
        for path in &paths {
            fs::write(path, bad).unwrap();
        }
        let error = open(dir.path()).err().unwrap();
        assert!(matches!(&error, OpenError::State(StateError::Damaged { .. })), "{error}");
        assert!(error.to_string().contains("our own files"), "{error}");
        // Setting it up again does not make a new, empty state either.
        set_up(dir.path(), None, None, &[log.trusted()]).unwrap();
        assert!(open(dir.path()).is_err());
    }
    // One whole copy is enough, and it is said that the other was not.
    fs::write(&paths[1], &good).unwrap();
    let witness = open(dir.path()).unwrap();
    assert!(witness.healed().unwrap().to_string().contains("heads.a"));
    assert_eq!(witness.logs()[0].1.get(), 8);
}

#[test]
fn a_missing_state_is_not_a_log_never_seen() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::new();
    let server = Server::start(dir.path(), &[log.trusted()]);
    assert_eq!(server.add(&log.request(0, 3)).status, 200);
    server.stop();
    for path in copies(dir.path()) {
        fs::remove_file(path).unwrap();
    }
    set_up(dir.path(), None, None, &[log.trusted()]).unwrap();
    let error = open(dir.path()).err().unwrap();
    let missing = matches!(error, OpenError::State(StateError::Missing { .. }));
    assert!(missing, "{error}");
}

#[test]
fn a_state_that_is_older_than_what_was_published_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::new();
    let server = Server::start(dir.path(), &[log.trusted()]);
    assert_eq!(server.add(&log.request(0, 3)).status, 200);
    server.stop();
    // A backup that somebody restores later.
    let backup = copies(dir.path()).map(|path| fs::read(path).unwrap());
    let server = Server::serve(open(dir.path()).unwrap());
    assert_eq!(server.add(&log.request(3, 8)).status, 200);
    server.stop();
    let newest = copies(dir.path()).map(|path| fs::read(path).unwrap());
    let restore = |backup: &[Vec<u8>; 2]| {
        for (path, bytes) in copies(dir.path()).iter().zip(backup) {
            fs::write(path, bytes).unwrap();
        }
    };

    restore(&backup);
    let error = open(dir.path()).err().unwrap();
    let OpenError::State(StateError::Behind { stored, published, .. }) = &error else { panic!("{error}") };
    assert_eq!((stored.get(), published.get()), (3, 8));
    restore(&newest);
    open(dir.path()).unwrap();
    // Without the configuration and the state it would be a new witness, but for what it published.
    for path in copies(dir.path()) {
        fs::remove_file(path).unwrap();
    }
    fs::remove_file(dir.path().join("witness.toml")).unwrap();
    set_up(dir.path(), None, None, &[log.trusted()]).unwrap();
    assert!(matches!(open(dir.path()), Err(OpenError::State(StateError::Behind { .. }))));
}

#[test]
fn what_monitors_see_is_made_again_when_it_is_lost_or_forged() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::new();
    let server = Server::start(dir.path(), &[log.trusted()]);
    assert_eq!(server.add(&log.request(0, 3)).status, 200);
    let keys = [log.signer.vkey().clone(), server.vkey.clone()];
    server.stop();
    let path = published(dir.path());
    let good = fs::read_to_string(&path).unwrap();
    let (first, _) = good.trim_end().rsplit_once('\n').unwrap();
    for bad in ["", "half a no", first, &good.replace("\n3\n", "\n4\n")] {
        fs::write(&path, bad).unwrap();
        let server = Server::serve(open(dir.path()).unwrap());
        let note = Note::parse(server.monitored().body.as_bytes()).unwrap();
        assert_eq!(note.text(), log.checkpoint(3).to_text());
        assert_eq!(note.open(&keys).unwrap().keys().len(), 2);
        server.stop();
    }
}

#[test]
fn a_disk_that_takes_nothing_is_503_and_nothing_is_signed() {
    let log = Log::new();
    let disk = Disk::default();
    let server = Server::serve(on_disk(&disk, &log, WitnessKey::Soft(cosigner())));
    assert_eq!(server.add(&log.request(0, 3)).status, 200);
    let seen = server.monitored().body;
    for call in 1..=2 {
        disk.fail_append(call);
        let answer = server.add(&log.request(3, 8));
        assert_eq!(answer.status, 503, "{answer:?}");
        assert_eq!(answer.header("retry-after"), "1");
        assert_eq!(server.monitored().body, seen);
    }
    assert_eq!(server.add(&log.request(3, 8)).status, 200);
}

#[test]
fn a_disk_that_fails_in_a_sync_stops_the_witness_before_it_signs() {
    let log = Log::new();
    for call in 1..=2 {
        let disk = Disk::default();
        let witness = on_disk(&disk, &log, WitnessKey::Soft(cosigner()));
        witness.add_checkpoint(&log.request(0, 3).to_bytes()).unwrap();
        disk.fail_sync(call);
        for _ in 0..2 {
            assert!(matches!(witness.add_checkpoint(&log.request(3, 8).to_bytes()), Err(AddError::Broken)));
        }
        drop(witness);
        disk.crash(&mut Random::seeded(7));
        let witness = on_disk(&disk, &log, WitnessKey::Soft(cosigner()));
        assert!([3, 8].contains(&witness.logs()[0].1.get()));
    }
}

#[test]
fn a_clock_that_is_set_back_makes_no_tree_look_older() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::new();
    let name = KeyName::new("witness.example/w1").unwrap();
    set_up(dir.path(), Some(&name), None, &[log.trusted()]).unwrap();
    let times = std::sync::Mutex::new(vec![500, 100, 900]);
    let clock = move || times.lock().unwrap().pop().unwrap();
    let witness = Witness::open_with(dir.path(), Box::new(clock)).unwrap();
    let keys = [witness.vkey().clone()];
    let mut seen = Vec::new();
    for (old, new) in [(0, 1), (1, 2), (2, 3)] {
        let lines = witness.add_checkpoint(&log.request(old, new).to_bytes()).unwrap();
        let note = Note::new(&log.checkpoint(new).to_text(), lines).unwrap();
        seen.push(note.open(&keys).unwrap().verified[0].time.unwrap().get());
    }
    assert_eq!(seen, [900, 900, 900]);
}

#[test]
fn a_clock_at_zero_signs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::new();
    let name = KeyName::new("witness.example/w1").unwrap();
    set_up(dir.path(), Some(&name), None, &[log.trusted()]).unwrap();
    let witness = Witness::open_with(dir.path(), Box::new(|| 0)).unwrap();
    let refused = witness.add_checkpoint(&log.request(0, 1).to_bytes());
    assert_eq!(refused.unwrap_err().status(), 500);
}

#[test]
fn a_folder_has_one_witness_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::new();
    let server = Server::start(dir.path(), &[log.trusted()]);
    let second = open(dir.path()).err().unwrap();
    let locked = matches!(second, OpenError::Folder(FolderError::Locked { .. }));
    assert!(locked, "{second}");
    server.stop();
    open(dir.path()).unwrap();
}

#[test]
fn a_witness_is_not_renamed() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::new();
    Server::start(dir.path(), &[log.trusted()]).stop();
    let other = KeyName::new("witness.example/w2").unwrap();
    let error = set_up(dir.path(), Some(&other), None, &[]).unwrap_err();
    assert!(matches!(error, OpenError::Name { .. }), "{error}");
}

#[test]
fn a_stop_lets_the_request_at_work_finish() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::new();
    let name = KeyName::new("witness.example/w1").unwrap();
    set_up(dir.path(), Some(&name), None, &[log.trusted()]).unwrap();
    // The clock holds the request between store and signature until the stop is under way.
    let (entered, has_entered) = std::sync::mpsc::channel();
    let (go, may_go) = std::sync::mpsc::channel::<()>();
    let may_go = std::sync::Mutex::new(may_go);
    let clock = move || {
        entered.send(()).unwrap();
        may_go.lock().unwrap().recv().unwrap();
        1_700_000_000
    };
    let server = Server::serve(Witness::open_with(dir.path(), Box::new(clock)).unwrap());
    let address = server.address;
    let body = log.request(0, 3).to_bytes();
    let client = std::thread::spawn(move || stage::post(address, &body));
    has_entered.recv().unwrap();
    let stopping = std::thread::spawn(move || server.stop());
    // Once nobody listens any more, the stop has begun.
    while std::net::TcpStream::connect(address).is_ok() {
        std::thread::yield_now();
    }
    go.send(()).unwrap();
    assert_eq!(client.join().unwrap().status, 200);
    stopping.join().unwrap();
}
