//! What a witness does beyond one key and one request at a time.

mod stage;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};

use stage::disk::{Disk, on_disk};
use stage::{Log, Server, post, send, ticking};
use tlog::checkpoint::{Checkpoint, Origin};
use tlog::key::{KeyName, Kind, Signer, Vkey};
use tlog::note::Note;
use tlog::proof::ConsistencyProof;
use tlog::sign_subtree::SignSubtree;
use tlog::subtree::Subtree;
use tlog::subtree_cosignature::SubtreeCosignature;
use tlog::tree::TreeSize;
use tlog::witness::{AddCheckpoint, cosignatures, parse_signatures};
use witness::agent::{self, AgentKey};
use witness::keys::{KeyKind, WitnessKey};
use witness::set_up::NewKeys;
use witness::witness::AddError;
use witness::{SetUp, TrustedLog, Witness};

fn name() -> KeyName {
    KeyName::new("witness.example/w1").unwrap()
}

/// A witness with keys of these kinds.
fn with_keys(dir: &std::path::Path, kinds: &[KeyKind], logs: &[TrustedLog]) -> Server {
    SetUp { name: Some(&name()), keys: NewKeys::Make(kinds.to_vec()), seal: false, logs }.run(dir, |_| ()).unwrap();
    Server::serve(Witness::open_with(dir, ticking(1_700_000_000)).unwrap())
}

#[test]
fn r0_16_each_key_has_its_line_in_one_answer() {
    let log = Log::new();
    for kinds in [&[KeyKind::Ed25519, KeyKind::MlDsa44][..], &[KeyKind::MlDsa44], &[KeyKind::Ed25519]] {
        let dir = tempfile::tempdir().unwrap();
        let server = with_keys(dir.path(), kinds, &[log.trusted()]);
        let request = log.request(0, 3);
        let answer = server.add(&request);
        assert_eq!(answer.status, 200);
        let lines = parse_signatures(answer.body.as_bytes()).unwrap();
        assert_eq!(lines.len(), kinds.len());
        for key in server.witness.vkeys() {
            assert_eq!(cosignatures(&request.note, &lines, key).len(), 1, "{:?}", key.kind());
        }
        let seen = server.monitored().body;
        let vkeys = server.witness.vkeys().to_vec();
        let note = Note::parse(seen.as_bytes()).unwrap();
        assert_eq!(note.open(&vkeys).unwrap().keys().len(), kinds.len());
        server.stop();
        // A restart shows the same, without signing again.
        let again = Server::serve(Witness::open_with(dir.path(), ticking(1_800_000_000)).unwrap());
        assert_eq!(again.monitored().body, seen);
    }
}

#[test]
fn subtrees_are_signed_by_witnesses_that_can_and_not_offered_by_others() {
    let log = Log::new();
    for (kinds, offered) in [(&[KeyKind::Ed25519, KeyKind::MlDsa44][..], true), (&[KeyKind::Ed25519], false)] {
        let dir = tempfile::tempdir().unwrap();
        let server = with_keys(dir.path(), kinds, &[log.trusted()]);
        assert_eq!(server.add(&log.request(0, 14)).status, 200);
        let subtree = Subtree::new(8, 13).unwrap();
        let Ok(hash) = subtree.hash(&log);
        let request = SignSubtree {
            subtree,
            hash,
            proof: subtree.prove_consistency(&log, TreeSize::new(14).unwrap()).unwrap(),
            note: Note::parse(server.monitored().body.as_bytes()).unwrap(),
        };
        let answer = send(server.address, "POST", "/sign-subtree", &request.to_bytes());
        assert_eq!(answer.status, if offered { 200 } else { 404 }, "{answer:?}");
        assert_eq!(server.get("/").body.contains("sign-subtree"), offered);
        if offered {
            let lines = parse_signatures(answer.body.as_bytes()).unwrap();
            let key = server.witness.vkeys().iter().find(|key| key.kind() == Kind::MlDsa44).unwrap();
            let origin = Origin::new(stage::ORIGIN).unwrap();
            assert!(SubtreeCosignature::verify(&origin, subtree, &hash, &lines[0], key).is_some());
        }
    }
}

/// A log of that name, at one leaf.
fn small(origin: &str) -> (TrustedLog, AddCheckpoint) {
    let signer = Signer::note(KeyName::new(origin).unwrap(), &[3; 32]);
    let head = Log::new().head(1);
    let note = Note::sign(&Checkpoint::new(Origin::new(origin).unwrap(), head).to_text(), &signer).unwrap();
    let request = AddCheckpoint { old_size: TreeSize::ZERO, proof: ConsistencyProof::default(), note };
    (TrustedLog::from_vkey(&signer.vkey().to_string()).unwrap(), request)
}

/// Posts every body from a thread and a connection of its own, all at once.
fn all_at_once(server: &Server, bodies: Vec<Vec<u8>>) -> Vec<u16> {
    let barrier = Arc::new(Barrier::new(bodies.len()));
    let threads: Vec<_> = bodies
        .into_iter()
        .map(|body| {
            let (barrier, address) = (barrier.clone(), server.address);
            std::thread::spawn(move || {
                barrier.wait();
                post(address, &body).status
            })
        })
        .collect();
    threads.into_iter().map(|t| t.join().unwrap()).collect()
}

#[test]
fn a_thousand_requests_at_once_are_a_thousand_answers() {
    let dir = tempfile::tempdir().unwrap();
    let (mut logs, requests): (Vec<TrustedLog>, Vec<AddCheckpoint>) =
        (0..1_000).map(|n| small(&format!("example.com/log{n}"))).unzip();
    logs.push(Log::new().trusted());
    let server = with_keys(dir.path(), &[KeyKind::Ed25519], &logs);
    let statuses = all_at_once(&server, requests.iter().map(AddCheckpoint::to_bytes).collect());
    assert_eq!(statuses, [200; 1_000]);

    // A thousand of one log: one moves it, the others are told so, and none is turned away.
    let one: Vec<Vec<u8>> = (0..1_000).map(|n| Log::new().request(0, 1 + n % 16).to_bytes()).collect();
    let statuses = all_at_once(&server, one);
    let moved = server.witness.logs().iter().find(|(log, ..)| log.origin.as_str() == stage::ORIGIN).unwrap().1.get();
    assert!((1..=16).contains(&moved));
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1);
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 999);

    // A thousand that ask for the same again.
    let again = vec![Log::new().request(moved, moved).to_bytes(); 1_000];
    assert_eq!(all_at_once(&server, again), [200; 1_000]);
    server.stop();
    let found = Witness::open(dir.path()).unwrap().logs();
    assert!(found.iter().all(|(_, size, _)| size.get() > 0));
}

#[test]
fn the_same_checkpoint_within_a_second_is_the_same_cosignature() {
    let (log, disk) = (Log::new(), Disk::default());
    let signatures = Arc::new(AtomicU64::new(0));
    let witness = on_disk(&disk, &log, WitnessKey::Remote(Box::new(Counting::new(signatures.clone()))));
    // The clock of the stage goes on by a second whenever it is asked: each time is fresh.
    let add = |witness: &Witness, old, new| witness.add_checkpoint(&log.request(old, new).to_bytes()).unwrap();
    add(&witness, 0, 3);
    let (first, second) = (add(&witness, 3, 3), add(&witness, 3, 3));
    assert_ne!(first, second);
    assert_eq!(signatures.swap(0, Ordering::SeqCst), 3);
    drop(witness);

    let stopped: witness::witness::Clock = Box::new(|| 1_800_000_000);
    let key = WitnessKey::Remote(Box::new(Counting::new(signatures.clone())));
    let witness = stage::disk::open(&disk, vec![log.trusted()], key, stopped).unwrap();
    let answers: BTreeSet<String> = (0..100).map(|_| format!("{:?}", add(&witness, 3, 3))).collect();
    assert_eq!(answers.len(), 1);
    // The one that the start made for the monitors, since this witness publishes nowhere.
    assert_eq!(signatures.swap(0, Ordering::SeqCst), 1);
    add(&witness, 3, 4);
    assert_eq!(signatures.load(Ordering::SeqCst), 1);
}

/// A key that counts.
struct Counting {
    signer: Signer,
    vkey: Vkey,
    signatures: Arc<AtomicU64>,
}

impl Counting {
    fn new(signatures: Arc<AtomicU64>) -> Counting {
        let signer = Signer::note(name(), &[77; 32]);
        let vkey = Vkey::cosignature_v1(name(), signer.vkey().public_key().try_into().unwrap());
        Counting { signer, vkey, signatures }
    }
}

impl witness::keys::Remote for Counting {
    fn vkey(&self) -> &Vkey {
        &self.vkey
    }

    fn sign(&self, message: &[u8]) -> std::io::Result<Vec<u8>> {
        self.signatures.fetch_add(1, Ordering::SeqCst);
        Ok(self.signer.sign(std::str::from_utf8(message).unwrap()).signature().to_vec())
    }
}

#[test]
fn a_log_has_its_share_of_a_day_and_replays_do_not_use_it_up() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::new();
    let trusted = TrustedLog { qpd: Some(2), ..log.trusted() };
    SetUp { name: Some(&name()), keys: NewKeys::Make(vec![KeyKind::Ed25519]), seal: false, logs: &[trusted] }
        .run(dir.path(), |_| ())
        .unwrap();
    let now = Arc::new(AtomicU64::new(20_000 * 86_400 + 86_000));
    let theirs = now.clone();
    let clock = Box::new(move || theirs.load(Ordering::SeqCst));
    let server = Server::serve(Witness::open_with(dir.path(), clock).unwrap());
    assert_eq!(server.add(&log.request(0, 1)).status, 200);
    for _ in 0..10 {
        assert_eq!(server.add(&log.request(1, 1)).status, 200);
        assert_eq!(server.add(&log.request(0, 1)).status, 409);
    }
    assert_eq!(server.add(&log.request(1, 2)).status, 200);
    let refused = server.add(&log.request(2, 3));
    assert_eq!((refused.status, refused.header("retry-after")), (429, "400"), "{refused:?}");
    now.fetch_add(400, Ordering::SeqCst);
    assert_eq!(server.add(&log.request(2, 3)).status, 200);
}

/// A witness whose key is in an agent that answers each request as `answer` says.
fn with_agent(answer: impl Fn(&[u8]) -> Vec<u8> + Send + 'static) -> (tempfile::TempDir, Witness, Disk) {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("agent");
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut length) = (stream.unwrap(), [0; 4]);
            stream.read_exact(&mut length).unwrap();
            let mut request = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut request).unwrap();
            let answer = answer(&request);
            stream.write_all(&(answer.len() as u32).to_be_bytes()).unwrap();
            stream.write_all(&answer).unwrap();
        }
    });
    let vkey = Counting::new(Arc::default()).vkey;
    let disk = Disk::default();
    let witness = on_disk(&disk, &Log::new(), WitnessKey::Remote(Box::new(AgentKey::new(socket, vkey))));
    (dir, witness, disk)
}

#[test]
fn an_agent_that_signs_otherwise_gives_nothing_away() {
    let string = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat();
    let refuses: fn(&[u8]) -> Vec<u8> = |_| vec![5];
    let odd: fn(&[u8]) -> Vec<u8> = |_| vec![14, 0, 0, 0, 200, 1];
    for answer in [refuses, odd] {
        let (_dir, witness, _) = with_agent(answer);
        let refused = witness.add_checkpoint(&Log::new().request(0, 3).to_bytes());
        assert!(matches!(refused, Err(AddError::NotSigned)), "{refused:?}");
    }
    let (_dir, witness, _) = with_agent(move |_| {
        // Another text, under the right key.
        let line = Counting::new(Arc::default()).signer.sign("cosignature/v1\ntime 1\nanother log\n0\n");
        let signature = [string(b"ssh-ed25519"), string(line.signature())].concat();
        [vec![14], string(&signature)].concat()
    });
    let refused = witness.add_checkpoint(&Log::new().request(0, 3).to_bytes());
    assert!(matches!(refused, Err(AddError::NotSigned)), "{refused:?}");
    // The head is stored all the same: once the agent is well, the same checkpoint is cosigned.
    assert_eq!(witness.logs()[0].1.get(), 3);
}

#[test]
fn a_key_in_a_real_agent_cosigns() {
    use std::process::{Command, Stdio};
    let dir = tempfile::tempdir().unwrap();
    let (socket, file) = (dir.path().join("socket"), dir.path().join("id"));
    let agent = Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn();
    let Ok(mut agent) = agent else {
        println!("skipped: no ssh-agent");
        return;
    };
    while std::os::unix::net::UnixStream::connect(&socket).is_err() {
        std::thread::yield_now();
    }
    let run = |command: &mut Command| {
        let done = command.env("SSH_AUTH_SOCK", &socket).stderr(Stdio::null()).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).unwrap()
    };
    run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "witness key", "-f"]).arg(&file));
    run(Command::new("ssh-add").arg("-q").arg(&file));
    let found = agent::identities(&socket).unwrap();
    assert_eq!((found.len(), found[0].comment.as_str()), (1, "witness key"));

    let vkey = Vkey::cosignature_v1(name(), found[0].key);
    let (log, disk) = (Log::new(), Disk::default());
    let witness = on_disk(&disk, &log, WitnessKey::Remote(Box::new(AgentKey::new(socket.clone(), vkey.clone()))));
    let request = log.request(0, 3);
    let lines = witness.add_checkpoint(&request.to_bytes()).unwrap();
    assert_eq!(cosignatures(&request.note, &lines, &vkey), lines);
    agent.kill().unwrap();
    agent.wait().unwrap();
    let refused = witness.add_checkpoint(&log.request(3, 4).to_bytes());
    assert!(matches!(refused, Err(AddError::NotSigned)), "{refused:?}");
}
