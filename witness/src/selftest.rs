//! The witness tries itself: each status code of tlog-witness, over HTTP, against a witness of its
//! own in a temporary folder, with a log that it makes up.
//!
//! One row for each MUST of <https://c2sp.org/tlog-witness>. The tests run the same rows.

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tlog::checkpoint::{Checkpoint, Origin};
use tlog::cosignature::{CheckpointCosignature, Cosigner, Seconds};
use tlog::key::{KeyName, Kind, Signer};
use tlog::note::Note;
use tlog::proof::{ConsistencyProof, Nodes, root_at};
use tlog::sign_subtree::SignSubtree;
use tlog::subtree::Subtree;
use tlog::subtree_cosignature::SubtreeCosignature;
use tlog::tree::{TreeHead, TreeSize};
use tlog::witness::{AddCheckpoint, parse_signatures};
use tlog::{Hash, LeafHash};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::config::TrustedLog;
use crate::keys::KeyKind;
use crate::serve::{ServeError, serve};
use crate::set_up::{NewKeys, SetUp};
use crate::witness::{OpenError, Witness};

const ORIGIN: &str = "selftest.invalid/log";

/// What became of one row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// The status that is specified.
    pub status: u16,
    /// What was tried.
    pub what: &'static str,
    /// What is wrong with the answer, if anything is.
    pub fault: Option<String>,
}

/// Why it could not be tried.
#[derive(Debug, thiserror::Error)]
pub enum SelftestError {
    /// The temporary witness can't be made.
    #[error("{0}")]
    Open(#[from] OpenError),
    /// No folder, no port.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It does not answer.
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    /// It stopped.
    #[error("{0}")]
    Serve(#[from] ServeError),
    /// The system has no randomness to give.
    #[error("no randomness: {0}")]
    Randomness(getrandom::Error),
}

/// A log whose leaves are numbers.
struct Log(Signer);

impl Nodes for Log {
    type Error = Infallible;

    fn node(&self, level: u8, index: u64) -> Result<Hash, Infallible> {
        if level == 0 {
            return Ok(LeafHash::of(&index.to_be_bytes()).into());
        }
        Ok(Hash::node(&self.node(level - 1, index * 2)?, &self.node(level - 1, index * 2 + 1)?))
    }
}

impl Log {
    fn checkpoint(&self, size: u64) -> Checkpoint {
        let size = TreeSize::new(size).unwrap_or(TreeSize::ZERO);
        let Ok(root) = root_at(self, size);
        let origin = Origin::new(self.0.vkey().name().as_str()).expect("the name of a key is an origin");
        Checkpoint::new(origin, TreeHead { size, root })
    }

    fn signed(&self, text: &str) -> Note {
        Note::sign(text, &self.0).expect("a text of ours is one of a note")
    }

    fn request(&self, old: u64, new: u64) -> AddCheckpoint {
        let size = |size| TreeSize::new(size).unwrap_or(TreeSize::ZERO);
        let proof = ConsistencyProof::make(self, size(old), size(new)).unwrap_or_default();
        AddCheckpoint { old_size: size(old), proof, note: self.signed(&self.checkpoint(new).to_text()) }
    }

    /// A request about the subtree, with `note` for a reference.
    fn subtree(&self, start: u64, end: u64, size: u64, note: Note) -> SignSubtree {
        let subtree = Subtree::new(start, end).expect("a subtree");
        let Ok(hash) = subtree.hash(self);
        let size = TreeSize::new(size).unwrap_or(TreeSize::ZERO);
        SignSubtree { subtree, hash, proof: subtree.prove_consistency(self, size).unwrap_or_default(), note }
    }
}

/// The witness that is tried, and what came of it so far.
struct Trial {
    client: reqwest::Client,
    base: String,
    rows: Vec<Row>,
}

struct Answer {
    status: u16,
    kind: String,
    body: String,
}

impl Trial {
    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer, SelftestError> {
        let response = request.send().await?;
        let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or("").to_owned();
        Ok(Answer { status: response.status().as_u16(), kind, body: response.text().await? })
    }

    fn row(
        &mut self,
        status: u16,
        what: &'static str,
        answer: &Answer,
        more: impl FnOnce(&Answer) -> Result<(), String>,
    ) {
        let fault = match answer.status {
            found if found != status => Some(format!("{found}: {}", answer.body.trim())),
            _ => more(answer).err(),
        };
        self.rows.push(Row { status, what, fault });
    }

    /// One `add-checkpoint` request.
    async fn add(&mut self, status: u16, what: &'static str, body: Vec<u8>) -> Result<Answer, SelftestError> {
        let answer = self.send(self.client.post(format!("{}/add-checkpoint", self.base)).body(body)).await?;
        self.row(status, what, &answer, |_| Ok(()));
        Ok(answer)
    }

    /// One `sign-subtree` request.
    async fn sign(&mut self, status: u16, what: &'static str, body: Vec<u8>) -> Result<Answer, SelftestError> {
        let answer = self.send(self.client.post(format!("{}/sign-subtree", self.base)).body(body)).await?;
        self.row(status, what, &answer, |_| Ok(()));
        Ok(answer)
    }

    async fn monitor(&self) -> Result<Answer, SelftestError> {
        let hash = Origin::new(ORIGIN).expect("an origin").hash();
        self.send(self.client.get(format!("{}/{hash}/checkpoint", self.base))).await
    }
}

/// A folder that goes away again.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Result<Temporary, SelftestError> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(SelftestError::Randomness)?;
        let name = format!("solelog-witness-selftest-{:016x}", u64::from_be_bytes(random));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path)?;
        Ok(Temporary(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A witness on loopback, until it is stopped.
struct Running {
    witness: Arc<Witness>,
    base: String,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), ServeError>>,
}

impl Running {
    async fn start(dir: &Path) -> Result<Running, SelftestError> {
        let witness = Arc::new(Witness::open(dir)?);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let base = format!("http://{}", listener.local_addr()?);
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(serve(witness.clone(), listener, async {
            let _ = stopped.await;
        }));
        Ok(Running { witness, base, stop, serving })
    }

    async fn stop(self) -> Result<(), SelftestError> {
        drop(self.stop);
        if let Ok(ended) = self.serving.await {
            ended?;
        }
        Ok(())
    }
}

/// Runs every row, in order: they build on one another.
pub async fn run() -> Result<Vec<Row>, SelftestError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(SelftestError::Randomness)?;
    let log = Log(Signer::note(KeyName::new(ORIGIN).expect("a name"), &seed));
    let folder = Temporary::new()?;
    let dir = folder.0.join("witness");
    let name = KeyName::new("selftest.invalid/witness").expect("a name");
    let trusted = TrustedLog::from_vkey(&log.0.vkey().to_string()).expect("the key of a log");
    let keys = NewKeys::Make(vec![KeyKind::Ed25519, KeyKind::MlDsa44]);
    SetUp { name: Some(&name), keys, seal: false, logs: &[trusted] }.run(&dir, |_| ())?;

    let running = Running::start(&dir).await?;
    let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build()?;
    let mut trial = Trial { client, base: running.base.clone(), rows: Vec::new() };
    add_checkpoint(&mut trial, &log, &running.witness).await?;
    sign_subtree(&mut trial, &log, &running.witness).await?;
    running.stop().await?;

    // Whatever was cosigned is known to the next process too.
    let running = Running::start(&dir).await?;
    trial.base = running.base.clone();
    let answer =
        trial.add(409, "after a restart, the old size before the last one", log.request(3, 8).to_bytes()).await?;
    trial.row(409, "its body is the size that was persisted", &answer, |answer| is_size(answer, 7));
    running.stop().await?;
    Ok(trial.rows)
}

async fn add_checkpoint(trial: &mut Trial, log: &Log, witness: &Witness) -> Result<(), SelftestError> {
    let stranger = Log(Signer::note(KeyName::new(ORIGIN).expect("a name"), &[1; 32]));
    let elsewhere = Log(Signer::note(KeyName::new("elsewhere.invalid/log").expect("a name"), &[2; 32]));
    let text = |size: u64| log.checkpoint(size).to_text();

    let before = trial.monitor().await?;
    trial.row(404, "GET checkpoint: never cosigned", &before, |_| Ok(()));
    trial.add(404, "an origin that is not known", elsewhere.request(0, 3).to_bytes()).await?;
    trial.add(403, "no signature by a trusted key", stranger.request(0, 3).to_bytes()).await?;
    let spoilt = Note::new(&text(3), vec![log.0.sign("another text\n")]).expect("a note");
    trial
        .add(
            403,
            "a bad signature in the name of a trusted key",
            AddCheckpoint { note: spoilt, ..log.request(0, 3) }.to_bytes(),
        )
        .await?;
    let both = log.signed(&text(3)).with_signature(log.0.sign("another text\n")).expect("a note");
    trial.add(403, "a bad one beside a good one", AddCheckpoint { note: both, ..log.request(0, 3) }.to_bytes()).await?;
    trial.add(400, "nothing", Vec::new()).await?;
    trial.add(400, "carriage returns", replace(&log.request(0, 3), "\n", "\r\n")).await?;
    trial.add(400, "an old size with a leading zero", replace(&log.request(0, 3), "old 0", "old 00")).await?;
    let hash = Hash::EMPTY_ROOT;
    let long = AddCheckpoint { proof: ConsistencyProof { hashes: vec![hash; 64] }, ..log.request(0, 3) };
    trial.add(400, "64 lines of proof", long.to_bytes()).await?;
    trial
        .add(400, "an old size beyond the checkpoint", log.request(4, 4).to_bytes_with_note(log.signed(&text(3))))
        .await?;
    let odd = text(0).replace(&hash.to_base64(), &Hash([1; 32]).to_base64());
    trial
        .add(422, "an empty tree with a root", AddCheckpoint { note: log.signed(&odd), ..log.request(0, 0) }.to_bytes())
        .await?;
    let proof = ConsistencyProof { hashes: vec![hash] };
    trial.add(422, "a proof from old size zero", AddCheckpoint { proof, ..log.request(0, 3) }.to_bytes()).await?;

    let answer = trial.add(200, "the first checkpoint", log.request(0, 3).to_bytes()).await?;
    let checkpoint = log.checkpoint(3);
    trial.row(200, "a timed cosignature of the whole tree by each key", &answer, |a| {
        is_cosigned(a, &checkpoint, witness)
    });
    let answer = trial.add(409, "an old size that is not the last one", log.request(0, 7).to_bytes()).await?;
    trial.row(409, "its body is the last size, its type text/x.tlog.size", &answer, |answer| is_size(answer, 3));
    trial.add(409, "an old size between", log.request(2, 7).to_bytes()).await?;
    let mut fork = log.checkpoint(3);
    fork.head.root.0[0] ^= 1;
    let fork = AddCheckpoint { note: log.signed(&fork.to_text()), ..log.request(3, 3) };
    trial.add(422, "the same size with another root", fork.to_bytes()).await?;
    trial
        .add(
            422,
            "no proof where one is needed",
            AddCheckpoint { proof: ConsistencyProof::default(), ..log.request(3, 7) }.to_bytes(),
        )
        .await?;
    let mut wrong = log.request(3, 7);
    wrong.proof.hashes[0].0[0] ^= 1;
    trial.add(422, "a proof that does not verify", wrong.to_bytes()).await?;

    let unknown = Cosigner::new(KeyName::new("stranger.invalid").expect("a name"), &[9; 32]);
    let unknown = unknown.cosign("another text\n", Seconds::new(1).expect("a time"));
    let beside = log.signed(&text(7)).with_signature(unknown).expect("a note");
    trial
        .add(
            200,
            "a larger tree, with an unknown signature beside the log's",
            AddCheckpoint { note: beside, ..log.request(3, 7) }.to_bytes(),
        )
        .await?;
    let again = trial.add(200, "the same checkpoint again", log.request(7, 7).to_bytes()).await?;
    let seen = trial.monitor().await?;
    trial.row(200, "GET checkpoint: what was returned, and the log's signature", &seen, |seen| {
        let note = Note::parse(seen.body.as_bytes()).map_err(|error| error.to_string())?;
        let by_log = note.open(std::slice::from_ref(log.0.vkey())).is_ok();
        let returned = again.body.lines().all(|line| seen.body.contains(line));
        require(by_log && returned && note.text() == text(7), "it is not what was returned")
    });
    Ok(())
}

async fn sign_subtree(trial: &mut Trial, log: &Log, witness: &Witness) -> Result<(), SelftestError> {
    let reference = trial.monitor().await?.body;
    let Ok(reference) = Note::parse(reference.as_bytes()) else {
        trial.rows.push(Row { status: 200, what: "a reference checkpoint", fault: Some("there is none".to_owned()) });
        return Ok(());
    };
    let good = log.subtree(4, 6, 7, reference.clone());
    let answer = trial.sign(200, "a subtree of what was cosigned", good.to_bytes()).await?;
    trial.row(200, "a cosignature of the subtree, at time zero", &answer, |answer| is_subtree(answer, &good, witness));
    for (what, from, to) in [
        ("a range that is no subtree", "subtree 4 6", "subtree 3 6"),
        ("a subtree that ends beyond the checkpoint", "subtree 4 6", "subtree 4 8"),
        ("a range with a leading zero", "subtree 4 6", "subtree 04 6"),
        ("carriage returns", "\n", "\r\n"),
    ] {
        let body = String::from_utf8(good.to_bytes()).expect("text").replace(from, to);
        trial.sign(400, what, body.into_bytes()).await?;
    }
    let hashes = vec![Hash::EMPTY_ROOT; 64];
    let long = SignSubtree { proof: ConsistencyProof { hashes }, ..good.clone() };
    trial.sign(400, "64 lines of proof", long.to_bytes()).await?;
    let elsewhere = Log(Signer::note(KeyName::new("elsewhere.invalid/log").expect("a name"), &[2; 32]));
    let unknown = elsewhere.subtree(4, 6, 7, elsewhere.signed(&elsewhere.checkpoint(7).to_text()));
    trial.sign(404, "an origin that is not known", unknown.to_bytes()).await?;
    let unsigned = log.subtree(4, 6, 7, log.signed(&log.checkpoint(7).to_text()));
    trial.sign(403, "a checkpoint that this witness did not cosign", unsigned.to_bytes()).await?;
    let lines: Vec<_> = reference.signatures().to_vec();
    let moved = Note::new(&log.checkpoint(8).to_text(), lines).expect("a note");
    trial.sign(403, "a cosignature of another checkpoint", log.subtree(4, 6, 8, moved).to_bytes()).await?;
    let mut wrong = good.clone();
    wrong.hash.0[0] ^= 1;
    trial.sign(422, "another hash than the subtree's", wrong.to_bytes()).await?;
    let mut wrong = good;
    wrong.proof.hashes[0].0[0] ^= 1;
    trial.sign(422, "a proof that does not verify", wrong.to_bytes()).await?;
    Ok(())
}

trait WithNote {
    fn to_bytes_with_note(self, note: Note) -> Vec<u8>;
}

impl WithNote for AddCheckpoint {
    fn to_bytes_with_note(self, note: Note) -> Vec<u8> {
        AddCheckpoint { note, ..self }.to_bytes()
    }
}

fn replace(request: &AddCheckpoint, from: &str, to: &str) -> Vec<u8> {
    String::from_utf8(request.to_bytes()).expect("text").replace(from, to).into_bytes()
}

fn require(holds: bool, otherwise: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}

fn is_size(answer: &Answer, size: u64) -> Result<(), String> {
    require(answer.kind == "text/x.tlog.size", &format!("its type is {}", answer.kind))?;
    require(answer.body == format!("{size}\n"), &format!("its body is {:?}", answer.body))
}

fn is_cosigned(answer: &Answer, checkpoint: &Checkpoint, witness: &Witness) -> Result<(), String> {
    let lines = parse_signatures(answer.body.as_bytes()).map_err(|error| error.to_string())?;
    require(lines.len() == witness.vkeys().len(), "not one line for each key")?;
    let verified =
        |line| witness.vkeys().iter().any(|key| CheckpointCosignature::verify(checkpoint, line, key).is_some());
    require(lines.iter().all(verified), "a line is no timed cosignature of this checkpoint")
}

fn is_subtree(answer: &Answer, asked: &SignSubtree, witness: &Witness) -> Result<(), String> {
    let lines = parse_signatures(answer.body.as_bytes()).map_err(|error| error.to_string())?;
    let origin = asked.claimed_origin().map_err(|error| error.to_string())?;
    let key = witness.vkeys().iter().find(|key| key.kind() == Kind::MlDsa44).ok_or("no key for subtrees")?;
    let verified = |line| SubtreeCosignature::verify(&origin, asked.subtree, &asked.hash, line, key).is_some();
    require(lines.len() == 1 && lines.iter().all(verified), "not one cosignature of this subtree")?;
    require(lines.iter().all(|line| line.signature().starts_with(&[0; 8])), "its time is not zero")
}
