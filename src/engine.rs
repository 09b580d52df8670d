//! The engine: one log, as the HTTP layer and the commands hold it.
//!
//! ```text
//!  append ──► queue ──► sequencer (thread) ──► integrator (thread) ──► publisher (task) ──► witnesses
//!             64 MiB     plan, check, commit     evidence, tiles, view    cosignatures,
//!                        = sequenced             sign = integrated        checkpoint = witnessed
//! ```
//!
//! [`Engine`] is a cheap handle; clones are the same log. An append waits for the level that its caller chose. A read
//! sees only what a signed head covers, and waits for no writer. When something fails whose outcome is unknown the
//! engine is *dead*: it answers nothing more, [`Engine::dead`] resolves, and the program must exit (I-2). Whatever was
//! acknowledged is on disk, and a restart finds it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use scal3::authenticators::Authenticators;
use scal3::cbor;
use scal3::credential::{Claims, Credential};
use scal3::entry::{Entry, Kind};
use scal3::erasure::Erasure;
use scal3::event::{Detail, Event};
use scal3::fold::PolicyRefusal;
use scal3::genesis::Genesis;
use scal3::index_key::{Space, StreamKey};
use scal3::key_change::{Role, SignedKey};
use scal3::keys::{KeyRefusal, Keys};
use scal3::limits::POLICY_MAX;
use scal3::opening::OtherOpening;
use scal3::outcome::Outcome;
use scal3::policies::Policies;
use scal3::seen::SeenOnHistory;
use scal3::state::CredentialState;
use scal3::status::{Change, StatusChange};
use tlog::key::Vkey;
use tlog::policy::Policy;
use tlog::proof::{ConsistencyProof, InclusionProof};
use tlog::tree::{LeafIndex, TreeSize};
use tlog::{Hash, LeafHash};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use verifier::Choice;
use zeroize::Zeroizing;

use crate::folder::{Opening, ViewChoice};
use crate::history::{History, ReadError};
use crate::ledger::{Key, Ledger, Lookup, Standing, key_name};
use crate::openings::{Openings, Shown};
use crate::progress::{Fault, Heads, Progress, SignedHead, State};
use crate::recovery::{self, CreateError, OpenError};
use crate::round::{Ask, Candidate, Draw, Placed, Target, credential_of};
use crate::sequencer::{self, Waiting};
use crate::signers::Signers;
use crate::store::disk::{self, Disk};
use crate::store::journal;
use crate::submission::{
    About, AppendError, Appended, BodyRefusal, Covered, ErasureRefusal, Reached, Said, Submission, Until, Verified,
};
use crate::verify_pool::VerifyPool;

/// Everything an engine needs to know. A plain struct: [`Config::new`] has the defaults, change what differs.
pub struct Config {
    /// The folder of the log.
    pub dir: PathBuf,
    /// The log's own keys. Their name is the origin.
    pub signers: Arc<Signers>,
    /// The witnesses and the quorum a checkpoint needs before it is published. None: the log publishes what it signs.
    pub witnesses: Option<Policy>,
    /// Where the log remembers, outside its folder, what it has signed. With a witness quorum the witnesses remember.
    pub high_water: Option<PathBuf>,
    /// What may be waiting, and how large a round may be.
    pub limits: Limits,
    /// When things happen.
    pub pace: Pace,
    /// The disk; tests put one here that fails or crashes at a chosen call.
    pub disk: Arc<dyn Disk>,
    /// Which view the log uses.
    pub view: ViewChoice,
    /// The journal's segments.
    pub journal: journal::Options,
    /// How signatures are verified.
    pub verify: Verify,
    /// Milliseconds since 1970.
    pub clock: Arc<dyn Fn() -> u64 + Send + Sync>,
}

/// How signatures are verified.
#[derive(Clone, Debug)]
pub struct Verify {
    /// Which engine.
    pub engine: Choice,
    /// On how many threads; 0: one per core.
    pub threads: usize,
    /// One accepted record in so many is verified again by another engine; 0: none.
    pub recheck_one_in: u64,
}

impl Default for Verify {
    fn default() -> Verify {
        Verify { engine: Choice::Auto, threads: 0, recheck_one_in: 100 }
    }
}

impl Config {
    /// The defaults of DESIGN §15, on the real disk and the machine's clock.
    pub fn new(dir: impl Into<PathBuf>, signers: impl Into<Signers>) -> Config {
        Config {
            dir: dir.into(),
            signers: Arc::new(signers.into()),
            witnesses: None,
            high_water: None,
            limits: Limits::default(),
            pace: Pace::default(),
            disk: disk::real(),
            view: ViewChoice::default(),
            journal: journal::Options { segment_bytes: SEGMENT_BYTES },
            verify: Verify::default(),
            clock: Arc::new(wall_clock_ms),
        }
    }

    /// Whether a checkpoint is published only when witnesses have cosigned it.
    pub fn asks_for_quorum(&self) -> bool {
        self.witnesses.as_ref().is_some_and(|policy| !policy.quorum_is_none())
    }

    /// How the folder is opened.
    pub(crate) fn opening(&self) -> Opening {
        Opening { disk: Arc::clone(&self.disk), dir: self.dir.clone(), view: self.view.clone(), journal: self.journal }
    }
}

/// The machine's clock, in milliseconds since 1970.
pub fn wall_clock_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The bounds of DESIGN §15.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most bytes one round may write.
    pub round_bytes: usize,
    /// The most bytes that may be in flight: waiting, or committed and not yet in tiles and evidence.
    pub in_flight_bytes: usize,
    /// The longest opening.
    pub opening_bytes: usize,
    /// The bytes of the disk that rounds leave free, for what earlier rounds still have to write.
    pub spare_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { round_bytes: 8 << 20, in_flight_bytes: 64 << 20, opening_bytes: 256 << 10, spare_bytes: 128 << 20 }
    }
}

/// How many submissions one batch may have. The HTTP layer refuses longer ones.
pub const MAX_BATCH: usize = 1024;

/// How long a journal segment is: two rounds of the largest size. Each start writes one, and zeros for the next.
const SEGMENT_BYTES: u64 = 16 << 20;

/// What an opening has around its body: version, kind, salt.
const OPENING_FRAME: usize = 64;

/// What a caller is told to wait when the budget is full: the queue is rounds of tens of milliseconds deep.
const RETRY_AFTER_S: u64 = 1;

type Reply = oneshot::Receiver<Result<Placed, AppendError>>;

/// When things happen. Rounds have no timer: they run back to back.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The least time between two signed heads. Zero: as fast as the disk syncs.
    pub head_interval: Duration,
    /// How long a candidate head waits for its quorum before a newer one takes its place.
    pub witness_timeout: Duration,
    /// How long an append waits beyond `sequenced`; after that its answer says what was reached.
    pub patience: Duration,
    /// How many bytes of journal there may be before the next snapshot.
    pub snapshot_every_bytes: u64,
    /// How long the rollback guard keeps asking the witnesses at the start.
    pub guard_timeout: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            head_interval: Duration::ZERO,
            witness_timeout: Duration::from_secs(5),
            patience: Duration::from_secs(10),
            snapshot_every_bytes: 64 << 20,
            guard_timeout: Duration::from_secs(30),
        }
    }
}

/// A running log. Clones are handles on the same one.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

/// What a started engine is made of.
pub(crate) struct Parts {
    pub signers: Arc<Signers>,
    pub standing: Arc<Standing>,
    pub ledger: Arc<Ledger>,
    pub history: Arc<History>,
    pub openings: Arc<Openings>,
    pub progress: Arc<Progress>,
    pub queue: mpsc::UnboundedSender<Waiting>,
    pub budget: Arc<Semaphore>,
    pub limits: Limits,
    pub pace: Pace,
    pub verifier: Arc<verifier::Engine>,
    pub pool: VerifyPool,
    pub witnesses: bool,
    pub threads: Vec<JoinHandle<()>>,
    pub publisher: Option<tokio::task::JoinHandle<()>>,
}

/// What all handles share. The threads hold only the parts they use, so the last handle dropped ends them.
struct Shared {
    signers: Arc<Signers>,
    standing: Arc<Standing>,
    ledger: Arc<Ledger>,
    history: Arc<History>,
    openings: Arc<Openings>,
    progress: Arc<Progress>,
    /// Taken by the shutdown: then the sequencer ends when it has done what waits.
    queue: RwLock<Option<mpsc::UnboundedSender<Waiting>>>,
    budget: Arc<Semaphore>,
    limits: Limits,
    pace: Pace,
    verifier: Arc<verifier::Engine>,
    pool: VerifyPool,
    witnesses: bool,
    threads: Mutex<Vec<JoinHandle<()>>>,
    publisher: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(publisher) = self.publisher.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            publisher.abort();
        }
    }
}

impl From<Parts> for Shared {
    fn from(parts: Parts) -> Shared {
        Shared {
            signers: parts.signers,
            standing: parts.standing,
            ledger: parts.ledger,
            history: parts.history,
            openings: parts.openings,
            progress: parts.progress,
            queue: RwLock::new(Some(parts.queue)),
            budget: parts.budget,
            limits: parts.limits,
            pace: parts.pace,
            verifier: parts.verifier,
            pool: parts.pool,
            witnesses: parts.witnesses,
            threads: Mutex::new(parts.threads),
            publisher: Mutex::new(parts.publisher),
        }
    }
}

impl Engine {
    /// Makes a new log in an empty or absent folder: entry 0 is the genesis, and nothing is signed yet.
    ///
    /// The name of the config's signing key must be the origin in the genesis.
    pub fn create(config: &Config, genesis: &Genesis) -> Result<(), CreateError> {
        recovery::create(config, genesis)
    }

    /// Opens a log: locks the folder, recovers what the journal holds, asks the rollback guard, and starts.
    ///
    /// When this returns, the newest committed head is signed and readable. It must be called inside a tokio runtime.
    pub async fn open(config: Config) -> Result<Engine, OpenError> {
        recovery::open(config).await.map(|parts| Engine { shared: Arc::new(Shared::from(parts)) })
    }

    /// Appends one submission, and waits until it has reached the level asked for.
    ///
    /// The same authorisation again (the same credential and challenge hash `c`) is answered with the same index. An
    /// answer can say less than was asked for when the witnesses are slow: [`Appended::reached`] is what holds.
    pub async fn append(&self, submission: Submission, until: Until) -> Result<Appended, AppendError> {
        self.append_batch(vec![submission], until).await.pop().unwrap_or(Err(AppendError::ShuttingDown))
    }

    /// Appends many, in order, each with its own outcome.
    pub async fn append_batch(&self, submissions: Vec<Submission>, until: Until) -> Vec<Result<Appended, AppendError>> {
        let count = submissions.len();
        let asked = if submissions.iter().all(|submission| self.shared.is_at_hand(submission)) {
            submissions.into_iter().map(|s| self.shared.prepare(s)).collect()
        } else {
            let shared = Arc::clone(&self.shared);
            let prepare = move || submissions.into_iter().map(|s| shared.prepare(s)).collect::<Vec<_>>();
            let Ok(asked) = tokio::task::spawn_blocking(prepare).await else {
                return (0..count).map(|_| Err(AppendError::Dead)).collect();
            };
            asked
        };
        let queued: Vec<_> = asked.into_iter().map(|ask| ask.and_then(|ask| self.shared.enqueue(ask))).collect();
        let mut answers = Vec::with_capacity(count);
        // One patience for all of them: it begins with the first that is durable.
        let mut deadline = None;
        for reply in queued {
            let answer = match reply {
                Ok(reply) => self.placed(reply).await,
                Err(refused) => Err(refused),
            };
            if answer.is_ok() {
                deadline.get_or_insert_with(|| tokio::time::Instant::now() + self.shared.pace.patience);
            }
            answers.push(answer);
        }
        if let Some(deadline) = deadline {
            self.wait(&mut answers, until, deadline).await;
        }
        answers
    }

    /// Checks an opening's signatures against the credential that this log issued, on a thread for such work.
    ///
    /// What comes back can be submitted. `Err` is the same refusal that the append would give.
    pub async fn verify(&self, opening: Vec<u8>) -> Result<Verified, AppendError> {
        self.shared.pool.verify(opening).await
    }

    /// Checks many, each with its own outcome, in their order.
    pub async fn verify_all(&self, openings: Vec<Vec<u8>>) -> Vec<Result<Verified, AppendError>> {
        self.shared.pool.verify_all(openings).await
    }

    /// The engine that verifies.
    pub fn verifier(&self) -> &verifier::Engine {
        &self.shared.verifier
    }

    /// Reads a credential and checks the signature of this log's issuing key on it.
    pub fn read_credential(&self, bytes: &[u8]) -> Result<Credential, AppendError> {
        self.shared.standing.open_credential(bytes, &*self.shared.ledger)
    }

    /// What has its place in the log.
    async fn placed(&self, reply: Reply) -> Result<Appended, AppendError> {
        // A reply that is dropped was never decided: only a death does that.
        let placed = reply.await.map_err(|_| AppendError::Dead)??;
        let index = placed.index;
        let (entry, time_ms) = match placed.entry {
            Some(entry) => (entry, placed.time_ms),
            None => self.shared.committed_entry(index).map_err(|_| AppendError::Dead)?,
        };
        let leaf_hash = LeafHash::of(&entry);
        Ok(Appended { index, entry, leaf_hash, time_ms, existing: placed.existing, reached: Reached::Sequenced })
    }

    /// Goes on waiting for what was appended and has not come so far yet.
    pub async fn follow(&self, appended: Appended, until: Until) -> Result<Appended, AppendError> {
        let mut answers = [Ok(appended)];
        self.wait(&mut answers, until, tokio::time::Instant::now() + self.shared.pace.patience).await;
        let [answer] = answers;
        answer
    }

    /// Waits until all of them have come so far, and says how far each has.
    ///
    /// Out of patience is not an error: the entries are durable, and the answers say how far they came.
    async fn wait(&self, answers: &mut [Result<Appended, AppendError>], until: Until, deadline: tokio::time::Instant) {
        let last = answers.iter().flatten().map(|answer| answer.index).max();
        let Some(last) = last.filter(|_| until != Until::Sequenced) else { return };
        let mut state = self.shared.progress.subscribe();
        let enough = |s: &State| match until {
            Until::Witnessed => self.shared.published(&s.heads, last).is_some(),
            _ => s.heads.integrates(last).is_some(),
        };
        let _ = tokio::time::timeout_at(deadline, state.wait_for(|s| s.fault.is_some() || enough(s))).await;
        let now = self.shared.progress.now();
        for answer in answers {
            let Ok(appended) = answer else { continue };
            match self.shared.reached(&now, appended.index) {
                Ok(reached) => appended.reached = reached,
                Err(dead) => *answer = Err(dead),
            }
        }
    }

    /// The three heads now. Only `integrated` and `published` may be shown to anyone.
    pub fn heads(&self) -> Heads {
        self.shared.progress.now().heads
    }

    /// Sees every later head (or the newest of several), and the fault that stops the log.
    pub fn subscribe(&self) -> watch::Receiver<State> {
        self.shared.progress.subscribe()
    }

    /// Resolves when the log has stopped on a fault. The program must then exit: what the disk holds is unknown to it.
    pub async fn dead(&self) -> Fault {
        let mut state = self.shared.progress.subscribe();
        loop {
            if let Some(fault) = state.borrow_and_update().fault.clone() {
                return fault;
            }
            // The sender lives as long as this handle.
            let _ = state.changed().await;
        }
    }

    /// The bytes of `/checkpoint`: the newest head that meets the log's policy. None until there is one.
    pub fn checkpoint(&self) -> Option<Arc<[u8]>> {
        self.heads().published.map(|p| p.note)
    }

    /// The published head that covers an entry: with a quorum of cosignatures, where the log asks for one.
    pub fn published(&self, index: LeafIndex) -> Option<SignedHead> {
        self.shared.published(&self.heads(), index).cloned()
    }

    /// Whether the log asks for a quorum of witnesses.
    pub fn has_witnesses(&self) -> bool {
        self.shared.witnesses
    }

    /// The log's key, as others pin it.
    pub fn vkey(&self) -> &Vkey {
        self.shared.signers.vkey()
    }

    /// The keys themselves.
    pub fn signers(&self) -> &Signers {
        &self.shared.signers
    }

    /// All keys that sign its checkpoints; in front that one, behind it the outgoing one while a rotation lasts.
    pub fn vkeys(&self) -> &[Vkey] {
        self.shared.signers.vkeys()
    }

    /// What holds for the whole log from its genesis on: origin, first issuing keys, first policy.
    pub fn standing(&self) -> &Standing {
        &self.shared.standing
    }

    /// The policy in force after the newest committed round, and those that records spoke for.
    pub fn policies(&self) -> Result<Arc<Policies>, ReadError> {
        Ok(self.shared.standing.policies(&*self.shared.ledger)?)
    }

    /// The authenticators of somebody after the newest committed round; none where nobody has asked for any.
    pub fn authenticators(&self, subject: &Hash) -> Result<Option<Authenticators>, ReadError> {
        Ok(self.shared.ledger.authenticators(subject)?)
    }

    /// Whose authenticator has this key, as far as the entry that added it can be read.
    pub fn subject_of_key(&self, key: &[u8]) -> Result<Option<Hash>, ReadError> {
        let key = Key::AuthenticatorKey(key_name(key));
        let Some(index) = self.shared.ledger.index_at(&key)? else { return Ok(None) };
        let (_, Some(credential)) = self.whose(index)? else { return Ok(None) };
        Ok(self.credential(&credential)?.map(|state| state.credential().claims().subject))
    }

    /// By what browsers find a passkey again, where that is known.
    pub fn registered(&self, authenticator: &Hash) -> Result<Option<Vec<u8>>, ReadError> {
        let Some(index) = self.shared.ledger.index_at(&Key::Registered(*authenticator))? else { return Ok(None) };
        let (entry, _) = self.shared.committed_entry(index)?;
        let Shown::Open(opening) = self.shared.openings.show(index, &entry)? else { return Ok(None) };
        let event = OtherOpening::parse(&opening).ok().and_then(|opening| Event::from_body(opening.body).ok());
        Ok(match event.map(|event| event.detail) {
            Some(Detail::Bytes(said)) => said.get(32..).map(<[u8]>::to_vec),
            _ => None,
        })
    }

    /// The keys in force after the newest committed round.
    pub fn keys(&self) -> Result<Keys, ReadError> {
        Ok(self.shared.standing.keys(&*self.shared.ledger)?)
    }

    /// An entry, as it stands in the log. Only entries that a signed head covers are shown.
    pub fn entry(&self, index: LeafIndex) -> Result<Vec<u8>, ReadError> {
        self.shared.history.entry(index)
    }

    /// The opening of an entry, decrypted, if it has one and it was not erased. The caller decides who may see it.
    pub fn opening(&self, index: LeafIndex) -> Result<Shown, ReadError> {
        let entry = self.shared.history.entry(index)?;
        self.shared.openings.show(index, &entry)
    }

    /// The path from an entry to the root of the tree of that size.
    pub fn inclusion(&self, index: LeafIndex, size: TreeSize) -> Result<InclusionProof, ReadError> {
        self.shared.history.inclusion(index, size)
    }

    /// The root of the tree of that size, the leaf hash of an entry, and the path from one to the other, where no file has to
    /// be read for them. It may be called where nothing may wait for a disk.
    pub fn inclusion_from_memory(&self, index: LeafIndex, size: TreeSize) -> Option<(Hash, LeafHash, InclusionProof)> {
        self.shared.history.inclusion_from_memory(index, size)
    }

    /// The leaf hash of an entry that a signed head covers.
    pub fn leaf(&self, index: LeafIndex) -> Result<LeafHash, ReadError> {
        self.shared.history.leaf(index)
    }

    /// The proof that the tree of one size is the beginning of the tree of another.
    pub fn consistency(&self, old: TreeSize, new: TreeSize) -> Result<ConsistencyProof, ReadError> {
        self.shared.history.consistency(old, new)
    }

    /// The root of the tree when it had that size.
    pub fn root_at(&self, size: TreeSize) -> Result<Hash, ReadError> {
        self.shared.history.root_at(size)
    }

    /// A tile or entry bundle by its C2SP path, any width that the newest signed head has. The checkpoint is not here.
    pub fn object(&self, path: &tlog::tile::Path) -> Result<Vec<u8>, ReadError> {
        self.shared.history.object(path)
    }

    /// Where the entry with that index key stands. Entries that no signed head covers yet are not shown.
    pub fn lookup(&self, index_key: &Hash) -> Result<Option<LeafIndex>, ReadError> {
        let found = self.shared.ledger.index_of(index_key)?;
        Ok(found.filter(|i| self.shared.history.covered(*i).is_ok()))
    }

    /// A credential as it stands after the newest committed round.
    pub fn credential(&self, id: &Hash) -> Result<Option<CredentialState>, ReadError> {
        Ok(self.shared.ledger.credential(id)?)
    }

    /// The credentials of somebody, as they stand, in the order of their issue.
    pub fn credentials_of(&self, subject: &Hash) -> Result<Vec<CredentialState>, ReadError> {
        let ledger = &self.shared.ledger;
        let mut states = Vec::new();
        for id in ledger.credentials_of(subject)? {
            states.extend(ledger.credential(&id)?);
        }
        Ok(states)
    }

    /// What is kept, sealed, of the enrolment of a credential; none where it was not enrolled here, or was erased.
    pub fn kept(&self, credential: &Hash) -> Result<Option<Vec<u8>>, ReadError> {
        let Some(index) = self.shared.ledger.index_at(&Key::Kept(*credential))? else { return Ok(None) };
        let Shown::Open(opening) = self.opening(index)? else { return Ok(None) };
        let event = OtherOpening::parse(&opening).ok().and_then(|opening| Event::from_body(opening.body).ok());
        match event.map(|event| event.detail) {
            Some(Detail::Bytes(kept)) => Ok(Some(kept)),
            _ => Err(ReadError::Damaged(format!("the opening of entry {index}"))),
        }
    }

    /// The index key of an entry, and the credential that its opening is about.
    pub fn whose(&self, index: LeafIndex) -> Result<(Option<Hash>, Option<Hash>), ReadError> {
        let entry = self.shared.history.entry(index)?;
        let index_key = Entry::parse(&entry).map_err(|_| ReadError::Damaged(format!("entry {index}")))?.index_key;
        let about = match self.shared.openings.show(index, &entry)? {
            Shown::Open(opening) => credential_of(&opening),
            Shown::Erased | Shown::Public => None,
        };
        Ok((index_key, about))
    }

    /// The outcome of an authorisation that was executed, by the authorisation's name.
    pub fn outcome(&self, authorisation: &Hash) -> Result<Option<LeafIndex>, ReadError> {
        Ok(self.shared.ledger.index_at(&Key::Outcome(*authorisation))?)
    }

    /// Whether it takes no more appends, because it was shut down or has stopped on a fault.
    pub fn is_shut(&self) -> bool {
        self.shared.progress.is_dead() || self.shared.queue.read().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Appends what the provider writes about a subscriber.
    pub async fn about(&self, about: About, until: Until) -> Result<Appended, AppendError> {
        self.append(Submission::About(about), until).await
    }

    /// Takes no more appends, finishes what was taken, writes a snapshot and lets go of the folder.
    ///
    /// Appends that come later are answered with [`AppendError::ShuttingDown`]; reads go on.
    pub async fn shutdown(&self) {
        self.shared.queue.write().unwrap_or_else(PoisonError::into_inner).take();
        let threads = std::mem::take(&mut *self.shared.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let shared = Arc::clone(&self.shared);
        let _ = tokio::task::spawn_blocking(move || {
            shared.pool.stop();
            for thread in threads {
                // A thread that panicked has already reported the fault.
                let _ = thread.join();
            }
        })
        .await;
        let publisher = self.shared.publisher.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(publisher) = publisher {
            publisher.abort();
            let _ = publisher.await;
        }
    }
}

/// Fresh randomness for one submission. Without any the machine can't keep a secret, and nothing may go on.
fn draw() -> Draw {
    // One question to the system for all of it.
    let mut drawn = Zeroizing::new([0; 4 * 32]);
    getrandom::fill(&mut drawn[..]).expect("the system has randomness");
    let mut draw = Draw { seal: [0; 32], salt: [0; 32], status_seal: [0; 32], status_salt: [0; 32] };
    let parts = [&mut draw.seal, &mut draw.salt, &mut draw.status_seal, &mut draw.status_salt];
    for (part, drawn) in parts.into_iter().zip(drawn.as_chunks().0) {
        *part = *drawn;
    }
    draw
}

/// Whether a key is that of the stream which the provider writes about the holder of these claims.
fn is_its_stream(stream: &StreamKey, claims: &Claims) -> Result<(), AppendError> {
    let [_, provider] = claims.labels;
    if stream.label() == provider { Ok(()) } else { Err(AppendError::Stream("the key is another stream's")) }
}

impl Shared {
    /// Whether preparing it reads no disk and takes no time to speak of: a thread for such work would cost more than the work.
    fn is_at_hand(&self, submission: &Submission) -> bool {
        match submission {
            Submission::Record(record) => self.history.knows_root_at(record.signed().seen().size),
            _ => false,
        }
    }

    /// Proves, reads and draws what the sequencer must not wait for.
    fn prepare(&self, submission: Submission) -> Result<(Candidate, usize), AppendError> {
        let (ask, bytes) = match submission {
            Submission::Record(record) => {
                let seen = record.signed().seen();
                // A head that no signed one covers can't have been seen: the rule about it refuses the record.
                let root = self.history.root_at(seen.size).ok();
                let seen = root.and_then(|root| SeenOnHistory::by_root(seen, &root).ok());
                let bytes = record.opening().len();
                (Ask::Record { record, seen }, bytes)
            }
            Submission::Credential(credential) => {
                let bytes = credential.as_bytes().len();
                (Ask::Credential { credential, kept: None, unvouched: true }, 2 * bytes)
            }
            Submission::Enrolment { credential, kept, stream, recovers } => {
                let bytes = credential.as_bytes().len() + kept.len();
                is_its_stream(&stream, credential.claims())?;
                (Ask::Credential { credential, kept: Some((kept, stream)), unvouched: recovers }, 2 * bytes)
            }
            Submission::Status { credential, change } => {
                // These two follow from other entries.
                if matches!(change, Change::Issued(_) | Change::Activated(_)) {
                    return Err(AppendError::Body(BodyRefusal::NotCanonical));
                }
                let opening = StatusChange { credential, change: change.clone() }.opening([0; 32]);
                let bytes = self.readable(&opening)?;
                (Ask::Status { credential, change }, bytes)
            }
            Submission::About(about) => {
                let state = self.ledger.credential(&about.credential).map_err(|_| AppendError::Dead)?;
                let state = state.ok_or(AppendError::UnknownCredential(about.credential))?;
                is_its_stream(&about.stream, state.credential().claims())?;
                let bytes = match &about.said {
                    Said::Started { .. } | Said::Verdict { .. } => 32,
                    Said::Outcome { name, about, reason, detail } => {
                        let (name, reason, detail) = (name.clone(), reason.clone(), detail.clone());
                        let stream = state.provider_place();
                        self.readable(&Outcome { name, stream, about: *about, reason, detail }.opening([0; 32]))?
                    }
                    Said::Event { name, detail } => {
                        let stream = Some(state.provider_place());
                        let event = Event { name: name.clone(), stream, detail: detail.clone() };
                        self.readable(&event.opening([0; 32]))?
                    }
                };
                (Ask::About(about), bytes)
            }
            Submission::KeyChange(change) => {
                // Heads are signed with both from the very round that says so: nobody is left with a key that goes.
                let signs = |key: &SignedKey| self.signers.has(&key.key);
                let comes = signs(&change.new) || change.freezes();
                if change.role == Role::Log && !(comes && change.old.as_ref().is_some_and(signs)) {
                    return Err(AppendError::KeyChange(KeyRefusal::NotInForce));
                }
                let bytes = change.to_bytes().len();
                (Ask::KeyChange(change), bytes)
            }
            Submission::Policy(document) => {
                // What is longer can't be read by anybody, and the sequencer would only say so.
                if document.len() > POLICY_MAX {
                    return Err(AppendError::Policy(PolicyRefusal::Unreadable));
                }
                let bytes = 2 * document.len();
                (Ask::Policy(document), bytes)
            }
            Submission::Event { body, index_key } => {
                if index_key.is_some_and(|key| Space::of(&key) != Kind::Event.index_key_space()) {
                    return Err(AppendError::Body(BodyRefusal::IndexKeySpace));
                }
                let limit = self.limits.opening_bytes.saturating_sub(OPENING_FRAME);
                if body.len() > limit {
                    return Err(AppendError::Body(BodyRefusal::TooLong { limit }));
                }
                let value = cbor::decode(&body, limit).map_err(|_| AppendError::Body(BodyRefusal::NotCanonical))?;
                self.readable(&OtherOpening { kind: Kind::Event, salt: [0; 32], body: value.clone() })?;
                let placed = Event::from_body(value.clone()).ok().filter(|event| event.stream.is_some());
                (Ask::Event { body: value, placed, index_key }, body.len())
            }
            Submission::Erasure { index, reason } => {
                let target = self.target(index)?;
                let bytes = reason.len();
                let erasure = Erasure { index: index.get(), reason: reason.clone() };
                if OtherOpening::parse(&erasure.opening([0; 32]).to_bytes()).is_err() {
                    return Err(AppendError::Body(BodyRefusal::TooLong { limit: self.limits.opening_bytes }));
                }
                (Ask::Erasure { index, reason, target }, bytes)
            }
        };
        Ok((Candidate { ask, draw: draw() }, bytes + sequencer::OVERHEAD))
    }

    /// The length of an opening, if it is one that everyone who folds the log can read again, years later.
    fn readable(&self, opening: &OtherOpening) -> Result<usize, AppendError> {
        let limit = self.limits.opening_bytes;
        let bytes = opening.to_bytes();
        if bytes.len() > limit {
            return Err(AppendError::Body(BodyRefusal::TooLong { limit }));
        }
        OtherOpening::parse(&bytes).map_err(|_| AppendError::Body(BodyRefusal::NotCanonical))?;
        Ok(bytes.len())
    }

    /// What stands at an entry that is to be erased.
    fn target(&self, index: LeafIndex) -> Result<Target, AppendError> {
        let read = |e: ReadError| match e {
            ReadError::NotYet { .. } => AppendError::Erasure(ErasureRefusal::NoSuchEntry),
            _ => AppendError::Dead,
        };
        let entry = self.history.entry(index).map_err(read)?;
        let kind = Entry::parse(&entry).map_err(|_| AppendError::Dead)?.kind;
        let opening = self.openings.show(index, &entry).map_err(read)?;
        Ok(match opening {
            Shown::Open(opening) => Target::of(kind, Some(&opening)),
            Shown::Erased | Shown::Public => Target::of(kind, None),
        })
    }

    /// Puts a candidate into the queue, if the budget has room for it.
    fn enqueue(&self, (candidate, cost): (Candidate, usize)) -> Result<Reply, AppendError> {
        if self.progress.is_dead() {
            return Err(AppendError::Dead);
        }
        let permit = u32::try_from(cost).ok().and_then(|c| Arc::clone(&self.budget).try_acquire_many_owned(c).ok());
        let permit = permit.ok_or(AppendError::Full { retry_after_s: RETRY_AFTER_S })?;
        let (reply, answer) = oneshot::channel();
        let waiting = Waiting { candidate, cost, permit, reply };
        let queue = self.queue.read().unwrap_or_else(PoisonError::into_inner);
        let queue = queue.as_ref().ok_or(AppendError::ShuttingDown)?;
        // A queue that nobody reads any more belongs to a log that has just died.
        queue.send(waiting).map_err(|_| AppendError::Dead)?;
        Ok(answer)
    }

    /// An entry that was in the log before, perhaps in a round that no signed head covers yet.
    fn committed_entry(&self, index: LeafIndex) -> Result<(Vec<u8>, u64), ReadError> {
        let entry = match self.ledger.recent(index) {
            Some(round) => round.record.entry(index).map(<[u8]>::to_vec),
            None => None,
        };
        // What is no longer recent is in the bundles.
        let entry = entry.map_or_else(|| self.history.entry(index), Ok)?;
        let time_ms = Entry::parse(&entry).map_err(|_| ReadError::Damaged(format!("entry {index}")))?.time_ms;
        Ok((entry, time_ms))
    }

    fn published<'a>(&self, heads: &'a Heads, index: LeafIndex) -> Option<&'a SignedHead> {
        if self.witnesses { heads.witnesses(index) } else { heads.publishes(index) }
    }

    /// How far an entry has come that is sequenced.
    fn reached(&self, now: &State, index: LeafIndex) -> Result<Reached, AppendError> {
        if now.fault.is_some() {
            return Err(AppendError::Dead);
        }
        Ok(if let Some(head) = now.heads.witnesses(index) {
            Reached::Witnessed(self.cover(index, head)?)
        } else if let Some(head) = now.heads.integrates(index) {
            Reached::Integrated(self.cover(index, head)?)
        } else {
            Reached::Sequenced
        })
    }

    fn cover(&self, index: LeafIndex, head: &SignedHead) -> Result<Covered, AppendError> {
        let proof = self.history.inclusion(index, head.head.size).map_err(|error| {
            tracing::error!(%error, %index, "no proof for an entry under a signed head");
            AppendError::Dead
        })?;
        Ok(Covered { head: head.clone(), proof })
    }
}
