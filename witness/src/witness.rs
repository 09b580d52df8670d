//! The witness: keys, the logs it knows, and the order in which it stores and signs.
//!
//! What to decide is the business of `tlog::witness` and `tlog::sign_subtree`. Here is what W-1 is
//! about: the swap from the head that the decision was made on to the new one, durable, under the
//! log's own lock; only then the signature; only then the answer. Requests of many logs share one
//! write to the disk ([`crate::ledger`]).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use tlog::checkpoint::{Checkpoint, Origin};
use tlog::cosignature::Seconds;
use tlog::key::{KeyName, Vkey};
use tlog::note::{Note, SignatureLine};
use tlog::sign_subtree::{self, SignSubtree, SubtreeRefusal, SubtreeRequestError};
use tlog::tree::TreeSize;
use tlog::witness::{AddCheckpoint, Known, Refusal, RequestError, decide};
use tokio::sync::watch;

use crate::budget::Budget;
use crate::config::{Config, ConfigError, TrustedLog};
use crate::copies::{Copies, Files};
use crate::folder::{Folder, FolderError};
use crate::keys::{KeyError, Keys};
use crate::ledger::{CommitError, Healed, Ledger, StateError, Stored};
use crate::published::{self, Published};

mod logs;
mod metrics;

pub use logs::Reloaded;
use metrics::{Counts, Request, Times};

/// The time in POSIX seconds. An argument, so that tests can stop it, or the process.
pub type Clock = Box<dyn Fn() -> u64 + Send + Sync>;

/// A witness at work: it holds the lock of its folder.
pub struct Witness {
    keys: Keys,
    /// By the hex hash of the origin, as in the paths of HTTP.
    logs: RwLock<BTreeMap<String, Arc<Log>>>,
    ledger: Ledger,
    published: Published,
    config: Mutex<Config>,
    refresh_s: u64,
    clock: Clock,
    broken: watch::Sender<bool>,
    folder: Option<Folder>,
    /// What came of requests that name no log we know.
    unknown: Counts,
    times: Times,
}

struct Log {
    trusted: RwLock<TrustedLog>,
    /// Whether it is one of those in the configuration now.
    served: AtomicBool,
    state: Mutex<Stored>,
    /// The cosigned checkpoint as monitors get it. Apart from the state, so that reading it never
    /// waits for the disk.
    cosigned: Mutex<Option<Cosigned>>,
    heads: Mutex<Budget>,
    subtrees: Mutex<Budget>,
    counts: Counts,
}

#[derive(Clone)]
struct Cosigned {
    note: Arc<str>,
    lines: Arc<[SignatureLine]>,
    time: Seconds,
}

/// What a witness is made of.
pub struct Parts {
    /// Its keys.
    pub keys: Keys,
    /// The logs it knows, and the rest of its configuration.
    pub config: Config,
    /// Where its ledger is.
    pub copies: Box<dyn Copies>,
    /// Where it publishes what it cosigned.
    pub published: Published,
    /// What it takes for the time.
    pub clock: Clock,
    /// The folder, locked. Without one, no log can be added while it runs.
    pub folder: Option<Folder>,
}

/// Why a witness does not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder is missing, or somebody else's.
    #[error("{0}")]
    Folder(#[from] FolderError),
    /// A key is missing, or unfit.
    #[error("{0}")]
    Key(#[from] KeyError),
    /// The configuration makes no sense.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// Our own state can't be trusted.
    #[error("{0}")]
    State(#[from] StateError),
    /// The state of a new log can't be made.
    #[error("the state of new logs can't be made: {0}")]
    NewState(CommitError),
    /// The key in the folder has another name than the one asked for.
    #[error("the key here is named {found}; a witness can't be renamed to {asked}")]
    Name {
        /// The name of the key that is there.
        found: KeyName,
        /// The name asked for.
        asked: KeyName,
    },
}

/// Why a checkpoint or a subtree was not cosigned.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// The request can't be read.
    #[error("{0}")]
    Request(#[from] RequestError),
    /// The checkpoint must not be cosigned.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// The `sign-subtree` request can't be read.
    #[error("{0}")]
    SubtreeRequest(#[from] SubtreeRequestError),
    /// The subtree must not be cosigned.
    #[error("{0}")]
    SubtreeRefused(#[from] SubtreeRefusal),
    /// No key here can sign subtrees: this witness does not offer that.
    #[error("this witness does not sign subtrees")]
    NoSubtrees,
    /// The log has used up what it may ask for today.
    #[error("this log's share of today is used up")]
    TooMany {
        /// Seconds until there is a new one.
        retry_after_s: u64,
    },
    /// The new head could not be stored, and nothing has changed. Worth another try.
    #[error("the witness can't store at the moment")]
    NotStored,
    /// The head is stored, but no key would sign. Worth another try.
    #[error("the witness's key does not sign at the moment")]
    NotSigned,
    /// This process no longer knows its own state, and is ending.
    #[error("the witness has stopped: it can't be sure of its own state")]
    Broken,
    /// The clock is before 1970 or beyond 2^63.
    #[error("the witness's clock is unusable")]
    Clock,
}

impl AddError {
    /// The HTTP status that answers it.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            AddError::Request(error) => error.status(),
            AddError::Refused(refusal) => refusal.status(),
            AddError::SubtreeRequest(error) => error.status(),
            AddError::SubtreeRefused(refusal) => refusal.status(),
            AddError::NoSubtrees => 404,
            AddError::TooMany { .. } => 429,
            AddError::NotStored | AddError::NotSigned => 503,
            AddError::Broken | AddError::Clock => 500,
        }
    }
}

impl Witness {
    /// Opens the witness in `dir`, with the system's clock.
    pub fn open(dir: &Path) -> Result<Witness, OpenError> {
        let now = || {
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            since.map_or(0, |since| since.as_secs())
        };
        Witness::open_with(dir, Box::new(now))
    }

    /// Opens the witness in `dir`, with a clock.
    pub fn open_with(dir: &Path, clock: Clock) -> Result<Witness, OpenError> {
        let folder = Folder::open(dir)?;
        let config = Config::load(dir)?;
        let keys = Keys::load(dir, &config.keys, &config.unlock())?;
        let copies = Box::new(Files::new(&folder.states()));
        let published = Published::in_folder(&folder.published());
        Witness::from_parts(Parts { keys, config, copies, published, clock, folder: Some(folder) })
    }

    /// A witness from its parts.
    pub fn from_parts(parts: Parts) -> Result<Witness, OpenError> {
        let Parts { keys, config, copies, published, clock, folder } = parts;
        let states = folder.as_ref().map(Folder::states).unwrap_or_default();
        let known: Vec<&Origin> = config.logs.iter().map(|log| &log.origin).collect();
        let (ledger, stored) = Ledger::open_in(&states, copies, &known)?;
        let mut stored: BTreeMap<Origin, Stored> = stored.into_iter().map(|s| (s.origin.clone(), s)).collect();
        let mut logs = BTreeMap::new();
        for trusted in &config.logs {
            let state = stored.remove(&trusted.origin).unwrap_or_else(|| Stored::never(trusted.origin.clone()));
            let log = Log::new(trusted.clone(), state);
            log.show_what_was_published(&published, keys.vkeys())?;
            logs.insert(trusted.origin.hash().to_hex(), Arc::new(log));
        }
        let witness = Witness {
            keys,
            logs: RwLock::new(logs),
            ledger,
            published,
            refresh_s: config.refresh_s,
            config: Mutex::new(config),
            clock,
            broken: watch::Sender::new(false),
            folder,
            unknown: Counts::default(),
            times: Times::default(),
        };
        for log in witness.all() {
            witness.cosign_what_was_stored(&log);
        }
        Ok(witness)
    }

    /// A head that was stored by a process which died before it signed is ours to cosign: no
    /// other head of that log will be. Monitors then find it.
    fn cosign_what_was_stored(&self, log: &Log) {
        let state = lock(&log.state);
        if state.note.is_some() && lock(&log.cosigned).is_none() {
            // Without a usable clock there is nothing to show yet; requests will say so.
            let _ = self.cosign(log, &state);
        }
    }

    /// The first of the keys that verify this witness's cosignatures.
    #[must_use]
    pub fn vkey(&self) -> &Vkey {
        &self.keys.vkeys()[0]
    }

    /// The keys that verify this witness's cosignatures; never empty.
    #[must_use]
    pub fn vkeys(&self) -> &[Vkey] {
        self.keys.vkeys()
    }

    /// Whether it signs subtrees.
    #[must_use]
    pub fn signs_subtrees(&self) -> bool {
        self.keys.sign_subtrees()
    }

    /// The address that the configuration says to listen on.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        lock(&self.config).listen
    }

    /// The configuration, with the logs that came since.
    #[must_use]
    pub fn config(&self) -> Config {
        lock(&self.config).clone()
    }

    /// What was wrong with our own files at the start, where they could be trusted all the same.
    #[must_use]
    pub fn healed(&self) -> Option<Healed> {
        self.ledger.healed()
    }

    /// The logs it knows, each with the size it cosigned last (0 where it never did) and when.
    #[must_use]
    pub fn logs(&self) -> Vec<(TrustedLog, TreeSize, Option<Seconds>)> {
        let look = |log: Arc<Log>| {
            let time = lock(&log.cosigned).as_ref().map(|cosigned| cosigned.time);
            (log.trusted(), lock(&log.state).head.size, time)
        };
        self.all().into_iter().map(look).collect()
    }

    fn all(&self) -> Vec<Arc<Log>> {
        let logs = self.logs.read().unwrap_or_else(PoisonError::into_inner);
        logs.values().filter(|log| log.is_served()).cloned().collect()
    }

    fn log(&self, origin: &Origin) -> Option<Arc<Log>> {
        self.by_hash(&origin.hash().to_hex())
    }

    fn by_hash(&self, hash: &str) -> Option<Arc<Log>> {
        let logs = self.logs.read().unwrap_or_else(PoisonError::into_inner);
        logs.get(hash).filter(|log| log.is_served()).cloned()
    }

    fn now(&self) -> Result<Seconds, AddError> {
        let now = Seconds::new((self.clock)()).map_err(|_| AddError::Clock)?;
        if now.get() == 0 { Err(AddError::Clock) } else { Ok(now) }
    }

    /// Handles the body of one `add-checkpoint` request. Blocks for the disk.
    ///
    /// When it returns cosignatures, the head is on stable storage, and no other head that does
    /// not extend it will be cosigned, whatever happens to this process.
    pub fn add_checkpoint(&self, body: &[u8]) -> Result<Vec<SignatureLine>, AddError> {
        self.counted(Request::AddCheckpoint, |asked| self.swap_and_cosign(body, asked))
    }

    fn swap_and_cosign(&self, body: &[u8], asked: &mut Option<Arc<Log>>) -> Result<Vec<SignatureLine>, AddError> {
        let request = AddCheckpoint::parse(body)?;
        let origin = request.claimed_origin().map_err(RequestError::from)?;
        let log = self.log(&origin);
        asked.clone_from(&log);
        let known = log.as_ref().map(|log| log.known());
        let cosign = decide(known.as_ref(), &request)?;
        let (Some(log), Some(known)) = (log, known) else {
            return Err(Refusal::UnknownLog.into());
        };
        let mut state = lock(&log.state);
        if self.is_broken() {
            return Err(AddError::Broken);
        }
        if state.head != known.head {
            // Somebody else's request came between decision and swap.
            return Err(Refusal::Conflict { known: state.head.size }.into());
        }
        // The same head again changes nothing: it is durable since its first time.
        if state.note.is_some() && state.head == cosign.head() {
            return match self.still_fresh(&log)? {
                Some(lines) => Ok(lines.to_vec()),
                None => self.cosign(&log, &state),
            };
        }
        if let Some(limit) = log.limit() {
            let spent = lock(&log.heads).spend(limit, self.now()?.get());
            spent.map_err(|retry_after_s| AddError::TooMany { retry_after_s })?;
        }
        // What was understood is stored and signed, not the bytes that came in.
        let head = cosign.head();
        let note = Note::new(&cosign.checkpoint.to_text(), cosign.log_signatures).map_err(RequestError::from)?;
        let next = Stored { origin, note: Some(note), head };
        match self.ledger.commit(next.clone()) {
            Ok(()) => *state = next,
            Err(CommitError::Unchanged) => return Err(AddError::NotStored),
            Err(CommitError::Unclear) => {
                self.lose_track();
                return Err(AddError::Broken);
            }
        }
        self.cosign(&log, &state)
    }

    /// The last cosignatures of `log`, while they are so new that others would say no more.
    fn still_fresh(&self, log: &Log) -> Result<Option<Arc<[SignatureLine]>>, AddError> {
        let Some(last) = lock(&log.cosigned).clone() else { return Ok(None) };
        let now = self.now()?.get();
        Ok((now < last.time.get().saturating_add(self.refresh_s)).then_some(last.lines))
    }

    /// Signs the stored checkpoint, and shows it to monitors. The caller holds the lock of the
    /// state, so that what is shown never goes back.
    fn cosign(&self, log: &Log, state: &Stored) -> Result<Vec<SignatureLine>, AddError> {
        let now = self.now()?;
        let Some(note) = &state.note else { return Err(AddError::NotSigned) };
        // A clock that was set back must not make a larger tree look older than a smaller one.
        let time = lock(&log.cosigned).as_ref().map_or(now, |cosigned| cosigned.time.max(now));
        let checkpoint = Checkpoint::new(state.origin.clone(), state.head);
        let lines = self.keys.cosign(&checkpoint, time).map_err(|_| AddError::NotSigned)?;
        // Before the answer, so that monitors see what clients see. A note with a hundred
        // signatures has no room; then the log's first must do.
        let with =
            |signatures: &[SignatureLine]| Note::new(note.text(), signatures.iter().chain(&lines).cloned().collect());
        let shown = with(note.signatures()).or_else(|_| with(note.signatures().get(..1).unwrap_or_default()));
        if let Ok(shown) = shown {
            let note: Arc<str> = Arc::from(shown.to_text());
            self.published.show(&state.origin, note.clone());
            *lock(&log.cosigned) = Some(Cosigned { note, lines: Arc::from(lines.clone()), time });
        }
        Ok(lines)
    }

    /// Handles the body of one `sign-subtree` request. Needs no disk.
    pub fn sign_subtree(&self, body: &[u8]) -> Result<Vec<SignatureLine>, AddError> {
        self.counted(Request::SignSubtree, |asked| self.cosign_subtree(body, asked))
    }

    fn cosign_subtree(&self, body: &[u8], asked: &mut Option<Arc<Log>>) -> Result<Vec<SignatureLine>, AddError> {
        if !self.signs_subtrees() {
            return Err(AddError::NoSubtrees);
        }
        let request = SignSubtree::parse(body)?;
        let origin = request.claimed_origin().map_err(SubtreeRequestError::from)?;
        let log = self.log(&origin);
        asked.clone_from(&log);
        let sign = sign_subtree::decide(|_| log.is_some(), self.vkeys(), &request)?;
        if self.is_broken() {
            return Err(AddError::Broken);
        }
        if let Some((log, limit)) = log.as_ref().and_then(|log| Some((log, log.limit()?))) {
            let spent = lock(&log.subtrees).spend(limit, self.now()?.get());
            spent.map_err(|retry_after_s| AddError::TooMany { retry_after_s })?;
        }
        Ok(self.keys.cosign_subtree(&sign))
    }

    /// The checkpoint cosigned last for the log with this hash of its origin (lowercase hex), with
    /// the log's signature and ours. `None` where there is none.
    #[must_use]
    pub fn cosigned(&self, origin_hash: &str) -> Option<Arc<str>> {
        let log = self.by_hash(origin_hash)?;
        lock(&log.cosigned).as_ref().map(|cosigned| cosigned.note.clone())
    }

    /// After a store whose outcome is unknown: nothing is signed any more, and [`Witness::broken`]
    /// lets everybody know.
    fn lose_track(&self) {
        self.broken.send_replace(true);
    }

    /// Whether this process can't be sure of its own state any more.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        *self.broken.borrow()
    }

    /// Waits until this process can't be sure of its own state any more. It must end then; the
    /// next start reads what is on disk.
    pub async fn broken(&self) {
        let mut broken = self.broken.subscribe();
        // The sender lives as long as `self`.
        let _ = broken.wait_for(|broken| *broken).await;
    }
}

impl Log {
    fn new(trusted: TrustedLog, state: Stored) -> Log {
        Log {
            trusted: RwLock::new(trusted),
            served: AtomicBool::new(true),
            state: Mutex::new(state),
            cosigned: Mutex::new(None),
            heads: Mutex::default(),
            subtrees: Mutex::default(),
            counts: Counts::default(),
        }
    }

    fn is_served(&self) -> bool {
        self.served.load(Ordering::Acquire)
    }

    fn trusted(&self) -> TrustedLog {
        self.trusted.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many new heads, and how many subtrees, it may ask for in a day.
    fn limit(&self) -> Option<u32> {
        self.trusted.read().unwrap_or_else(PoisonError::into_inner).qpd
    }

    fn known(&self) -> Known {
        let TrustedLog { origin, keys, .. } = self.trusted();
        Known { origin, keys, head: lock(&self.state).head }
    }

    /// Takes up the cosigned checkpoint that an earlier run published, if it is of the stored head
    /// and by all our keys. One that is *ahead* of what is stored, and ours, is a reason not to
    /// start.
    fn show_what_was_published(&self, published: &Published, keys: &[Vkey]) -> Result<(), StateError> {
        let state = lock(&self.state);
        let Some(before) = published::read(published, &state.origin, keys) else { return Ok(()) };
        let (ours, theirs) = (state.head, before.head);
        if theirs.size > ours.size || (theirs.size == ours.size && theirs.root != ours.root) {
            let origin = state.origin.clone();
            return Err(StateError::Behind { origin, stored: ours.size, published: theirs.size });
        }
        if theirs == ours && state.note.is_some() && before.lines.len() == keys.len() {
            let note = Arc::from(before.note.to_text());
            *lock(&self.cosigned) = Some(Cosigned { note, lines: Arc::from(before.lines), time: before.time });
        }
        Ok(())
    }
}

/// Locks. A panic while the lock was held left memory behind what is on disk, never ahead of it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
#[cfg(test)]
mod tests {
    use tlog::tree::TreeHead;

    use super::*;
    use crate::serve::{ServeError, serve};
    use crate::set_up::set_up;

    #[tokio::test]
    async fn a_witness_that_lost_track_signs_nothing_and_stops_serving() {
        let dir = tempfile::tempdir().unwrap();
        let log = tlog::key::Signer::note(KeyName::new("example.com/log").unwrap(), &[1; 32]);
        let trusted = TrustedLog::from_vkey(&log.vkey().to_string()).unwrap();
        let name = KeyName::new("w").unwrap();
        set_up(dir.path(), Some(&name), None, std::slice::from_ref(&trusted)).unwrap();
        let witness = Arc::new(Witness::open(dir.path()).unwrap());
        let checkpoint = tlog::checkpoint::Checkpoint::new(trusted.origin, TreeHead::EMPTY);
        let request = AddCheckpoint {
            old_size: TreeSize::ZERO,
            proof: tlog::proof::ConsistencyProof::default(),
            note: Note::sign(&checkpoint.to_text(), &log).unwrap(),
        };
        witness.add_checkpoint(&request.to_bytes()).unwrap();

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let serving = tokio::spawn(serve(witness.clone(), listener, std::future::pending()));
        witness.lose_track();
        assert!(matches!(serving.await.unwrap(), Err(ServeError::Broken)));
        assert!(matches!(witness.add_checkpoint(&request.to_bytes()), Err(AddError::Broken)));
    }
}
