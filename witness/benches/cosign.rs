//! Cosignatures per second, against what the same cores can sign when they do nothing else.
//!
//! ```text
//! cargo bench -p solelog-witness --bench cosign            SECONDS=5 for longer runs, AT_ONCE=1000 for more clients
//! ```
//!
//! Every row is measured in one run and by as many threads, so that a busy machine treats them
//! alike. The bare rows sign one checkpoint at many times. The others are of a witness with a
//! real disk: the log's signature is verified, the proof checked, the head stored durably in both
//! copies, and only then signed.

use std::convert::Infallible;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tlog::checkpoint::{Checkpoint, Origin};
use tlog::cosignature::{Cosigner, Seconds};
use tlog::key::{KeyName, Signer};
use tlog::note::Note;
use tlog::proof::{ConsistencyProof, Nodes, root_at};
use tlog::tree::{TreeHead, TreeSize};
use tlog::witness::AddCheckpoint;
use tlog::{Hash, LeafHash};
use witness::keys::KeyKind;
use witness::set_up::NewKeys;
use witness::{SetUp, TrustedLog, Witness};

/// How many heads each log has.
const HEADS: u64 = 128;

struct Leaves(Vec<Vec<Hash>>);

impl Leaves {
    fn new() -> Leaves {
        let mut levels: Vec<Vec<Hash>> = vec![(0..HEADS).map(|n| LeafHash::of(&n.to_be_bytes()).into()).collect()];
        while levels.last().expect("a level").len() > 1 {
            let below = levels.last().expect("a level");
            levels.push(below.chunks_exact(2).map(|pair| Hash::node(&pair[0], &pair[1])).collect());
        }
        Leaves(levels)
    }

    fn checkpoint(&self, origin: &Origin, size: u64) -> Checkpoint {
        let size = TreeSize::new(size).expect("a size");
        let Ok(root) = root_at(self, size);
        Checkpoint::new(origin.clone(), TreeHead { size, root })
    }

    fn request(&self, signer: &Signer, origin: &Origin, old: u64, new: u64) -> Vec<u8> {
        let size = |size| TreeSize::new(size).expect("a size");
        let proof = ConsistencyProof::make(self, size(old), size(new)).expect("a proof");
        let note = Note::sign(&self.checkpoint(origin, new).to_text(), signer).expect("a note");
        AddCheckpoint { old_size: size(old), proof, note }.to_bytes()
    }
}

impl Nodes for Leaves {
    type Error = Infallible;

    fn node(&self, level: u8, index: u64) -> Result<Hash, Infallible> {
        Ok(self.0[usize::from(level)][index as usize])
    }
}

fn asked(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn seconds() -> Duration {
    Duration::from_secs(asked("SECONDS", 2))
}

/// How many ask at once.
fn at_once() -> usize {
    asked("AT_ONCE", 128) as usize
}

/// How many logs there are: as many for each client.
fn log_count() -> usize {
    2 * at_once()
}

/// Calls `work` from `threads` threads until the time is up; calls per second.
fn rate(threads: usize, work: impl Fn(usize) -> bool + Sync) -> f64 {
    let (done, stop, alive) = (AtomicU64::new(0), AtomicBool::new(false), AtomicUsize::new(threads));
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (work, done, stop, alive) = (&work, &done, &stop, &alive);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) && work(thread) {
                    done.fetch_add(1, Ordering::Relaxed);
                }
                alive.fetch_sub(1, Ordering::Relaxed);
            });
        }
        // Sooner, where the work is done.
        while start.elapsed() < seconds() && alive.load(Ordering::Relaxed) > 0 {
            std::thread::sleep(Duration::from_millis(10));
        }
        stop.store(true, Ordering::Relaxed);
    });
    done.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64()
}

fn name() -> KeyName {
    KeyName::new("witness.example/w1").expect("a name")
}

/// What the cores can sign: checkpoints per second.
fn bare(cosigner: &Cosigner) -> f64 {
    let checkpoint = Leaves::new().checkpoint(&Origin::new("example.com/log0").expect("an origin"), HEADS);
    // Another message each time: how long ML-DSA looks for a signature depends on the message.
    let now = AtomicU64::new(1_700_000_000);
    rate(at_once(), |_| {
        let at = Seconds::new(now.fetch_add(1, Ordering::Relaxed)).expect("a time");
        black_box(cosigner.cosign_checkpoint(&checkpoint, at)).is_some()
    })
}

fn seed(log: usize) -> [u8; 32] {
    Hash::node(&Hash([0; 32]), &LeafHash::of(&log.to_be_bytes()).into()).0
}

/// The requests of all logs: by log, then by head.
fn requests() -> (Vec<TrustedLog>, Vec<Vec<Vec<u8>>>) {
    let leaves = Leaves::new();
    (0..log_count())
        .map(|n| {
            let origin = format!("example.com/log{n}");
            let signer = Signer::note(KeyName::new(&origin).expect("a name"), &seed(n));
            let origin = Origin::new(&origin).expect("an origin");
            let bodies = (0..HEADS).map(|size| leaves.request(&signer, &origin, size, size + 1)).collect();
            (TrustedLog::from_vkey(&signer.vkey().to_string()).expect("a log"), bodies)
        })
        .unzip()
}

fn fresh(dir: &Path, kinds: &[KeyKind], logs: &[TrustedLog]) -> Arc<Witness> {
    let set_up = SetUp { name: Some(&name()), keys: NewKeys::Make(kinds.to_vec()), seal: false, logs };
    set_up.run(dir, |_| ()).expect("set up");
    Arc::new(Witness::open(dir).expect("opened"))
}

/// The next request of a client: each has logs of its own, and takes them in turns.
struct Turns(Vec<AtomicU64>);

impl Turns {
    fn new() -> Turns {
        Turns((0..at_once()).map(|_| AtomicU64::new(0)).collect())
    }

    fn next<'a>(&self, client: usize, bodies: &'a [Vec<Vec<u8>>]) -> Option<&'a Vec<u8>> {
        let turn = self.0[client].fetch_add(1, Ordering::Relaxed) as usize;
        let mine = log_count() / at_once();
        bodies[client + turn % mine * at_once()].get(turn / mine)
    }
}

/// New heads, each stored and cosigned, without HTTP.
fn in_process(kinds: &[KeyKind], logs: &[TrustedLog], bodies: &[Vec<Vec<u8>>]) -> f64 {
    let dir = tempfile::tempdir().expect("a folder");
    let witness = fresh(dir.path(), kinds, logs);
    let turns = Turns::new();
    rate(at_once(), |client| match turns.next(client, bodies) {
        Some(body) => witness.add_checkpoint(body).map(|_| true).expect("cosigned"),
        None => false,
    })
}

/// New heads over HTTP/1.1 with keep-alive; the clients run on the same cores.
fn over_http(kinds: &[KeyKind], logs: &[TrustedLog], bodies: &[Vec<Vec<u8>>]) -> f64 {
    let dir = tempfile::tempdir().expect("a folder");
    let witness = fresh(dir.path(), kinds, logs);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let _enter = runtime.enter();
    let listener = witness::serve::listen(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
    let address = listener.local_addr().expect("an address");
    let serving = runtime.spawn(witness::serve(witness, listener, std::future::pending()));
    let clients: Vec<_> = (0..at_once()).map(|_| std::sync::Mutex::new(Client::new(address))).collect();
    let turns = Turns::new();
    let rate = rate(at_once(), |client| match turns.next(client, bodies) {
        Some(body) => clients[client].lock().expect("a client").add(body),
        None => false,
    });
    serving.abort();
    rate
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn new(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).expect("connected");
        stream.set_nodelay(true).expect("no delay");
        Client(BufReader::new(stream))
    }

    fn add(&mut self, body: &[u8]) -> bool {
        let head = format!("POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: {}\r\n\r\n", body.len());
        self.0.get_mut().write_all(&[head.as_bytes(), body].concat()).expect("sent");
        let (mut status, mut length, mut line) = (0, 0, String::new());
        loop {
            line.clear();
            self.0.read_line(&mut line).expect("answered");
            if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
                status = rest[..3].parse().expect("a status");
            } else if let Some(rest) = line.strip_prefix("content-length: ") {
                length = rest.trim().parse().expect("a length");
            } else if line == "\r\n" {
                break;
            }
        }
        let mut answer = vec![0; length];
        self.0.read_exact(&mut answer).expect("answered");
        assert_eq!(status, 200, "{}", answer.escape_ascii());
        true
    }
}

fn main() {
    // As a test it only has to build.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (logs, bodies) = requests();
    println!("{cores} cores, {} logs, {} at once", logs.len(), at_once());
    let kinds = [
        ("Ed25519", vec![KeyKind::Ed25519], vec![Cosigner::new(name(), &[7; 32])]),
        ("ML-DSA-44", vec![KeyKind::MlDsa44], vec![Cosigner::ml_dsa_44(name(), &[7; 32])]),
        (
            "both",
            vec![KeyKind::Ed25519, KeyKind::MlDsa44],
            vec![Cosigner::new(name(), &[7; 32]), Cosigner::ml_dsa_44(name(), &[7; 32])],
        ),
    ];
    for (label, kinds, cosigners) in kinds {
        let bare = 1.0 / cosigners.iter().map(|cosigner| 1.0 / bare(cosigner)).sum::<f64>();
        println!("{label:10} bare signing {bare:9.0}/s");
        for (what, found) in [
            ("new heads, stored and cosigned", in_process(&kinds, &logs, &bodies)),
            ("the same over HTTP, clients included", over_http(&kinds, &logs, &bodies)),
        ] {
            println!("{label:10} {what:38} {found:9.0}/s  {:5.3} of bare", found / bare);
        }
    }
}
