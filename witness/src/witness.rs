//! The witness: a key, the logs it knows, and the order in which it stores and signs.
//!
//! What to decide is `tlog::witness::decide`'s business. Here is what W-1 is about: the swap from
//! the head that the decision was made on to the new one, durable, under the log's own lock; only
//! then the signature; only then the answer.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tlog::checkpoint::Origin;
use tlog::cosignature::{Cosigner, Seconds};
use tlog::key::{KeyName, Vkey};
use tlog::note::{Note, SignatureLine};
use tlog::tree::TreeSize;
use tlog::witness::{AddCheckpoint, Known, Refusal, RequestError, decide};
use tokio::sync::watch;

use crate::config::{Config, ConfigError, TrustedLog};
use crate::disk::ReplaceError;
use crate::folder::{Folder, FolderError};
use crate::key::{self, KeyError};
use crate::state::{State, StateError, SwapError};

/// The time in POSIX seconds. An argument, so that tests can stop it, or the process.
pub type Clock = Box<dyn Fn() -> u64 + Send + Sync>;

/// A witness at work: it holds the lock of its folder.
pub struct Witness {
    cosigner: Cosigner,
    /// By the hex hash of the origin, as in the paths of HTTP and of the state files.
    logs: BTreeMap<String, Log>,
    listen: SocketAddr,
    clock: Clock,
    broken: watch::Sender<bool>,
    _folder: Folder,
}

struct Log {
    trusted: TrustedLog,
    state: Mutex<State>,
    /// The cosigned checkpoint as monitors get it. Apart from the state, so that reading it never
    /// waits for the disk.
    cosigned: Mutex<Option<Cosigned>>,
}

struct Cosigned {
    note: Arc<str>,
    time: Seconds,
}

/// Why a witness does not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder is missing, or somebody else's.
    #[error("{0}")]
    Folder(#[from] FolderError),
    /// The key is missing, or unfit.
    #[error("{0}")]
    Key(#[from] KeyError),
    /// The configuration makes no sense.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// Our own state can't be trusted.
    #[error("{0}")]
    State(#[from] StateError),
    /// The state of a new log can't be made.
    #[error("the state of {origin} can't be made: {error}")]
    NewState {
        /// The log.
        origin: Origin,
        /// What the system says.
        error: io::Error,
    },
    /// The key in the folder has another name than the one asked for.
    #[error("the key here is named {found}; a witness can't be renamed to {asked}")]
    Name {
        /// The name of the key that is there.
        found: KeyName,
        /// The name asked for.
        asked: KeyName,
    },
}

/// Why a checkpoint was not cosigned.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// The request can't be read.
    #[error("{0}")]
    Request(#[from] RequestError),
    /// The checkpoint must not be cosigned.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// The new head could not be stored, and nothing has changed. Worth another try.
    #[error("the witness can't store at the moment")]
    NotStored,
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
            AddError::NotStored => 503,
            AddError::Broken | AddError::Clock => 500,
        }
    }
}

/// Makes what is missing of a witness in `dir`: folder, key (under `name`), and, for each log that
/// the configuration does not have yet, its state. What is there already is kept.
///
/// This is the only place where a log starts as "never seen".
pub fn set_up(
    dir: &Path,
    name: Option<&KeyName>,
    listen: Option<SocketAddr>,
    logs: &[TrustedLog],
) -> Result<(), OpenError> {
    let folder = match name {
        Some(_) => Folder::create(dir)?,
        None => Folder::open(dir)?,
    };
    let cosigner = match (key::load(dir), name) {
        (Err(KeyError::Missing(_)), Some(name)) => key::create(dir, name.clone())?,
        (loaded, _) => loaded?,
    };
    let found = cosigner.vkey().name();
    if let Some(asked) = name.filter(|asked| *asked != found) {
        return Err(OpenError::Name { found: found.clone(), asked: asked.clone() });
    }
    let mut config = Config::load(dir)?;
    let mut changed = !Config::path(dir).exists();
    if let Some(listen) = listen.filter(|listen| *listen != config.listen) {
        config.listen = listen;
        changed = true;
    }
    for log in logs {
        if config.log(&log.origin).is_none() {
            // The state first: a configured log without one is a log whose state was lost.
            State::create(&folder.states(), &log.origin)
                .map_err(|error| OpenError::NewState { origin: log.origin.clone(), error })?;
        }
        changed |= config.add(log.clone());
    }
    if changed {
        config.save(dir)?;
    }
    Ok(())
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
        let cosigner = key::load(dir)?;
        let config = Config::load(dir)?;
        let mut logs = BTreeMap::new();
        for trusted in config.logs {
            let state = State::load(&folder.states(), &trusted.origin)?;
            let log =
                Log { cosigned: Mutex::new(cosigned_before(&state, &cosigner)), state: Mutex::new(state), trusted };
            logs.insert(log.trusted.origin.hash().to_hex(), log);
        }
        let witness = Witness {
            cosigner,
            logs,
            listen: config.listen,
            clock,
            broken: watch::Sender::new(false),
            _folder: folder,
        };
        for log in witness.logs.values() {
            witness.cosign_what_was_stored(log);
        }
        Ok(witness)
    }

    /// A head that was stored by a process which died before it signed is ours to cosign: no
    /// other head of that log will be. Monitors then find it.
    fn cosign_what_was_stored(&self, log: &Log) {
        let state = lock(&log.state);
        let Some(note) = state.note() else { return };
        if lock(&log.cosigned).is_none() {
            // Without a usable clock there is nothing to show yet; requests will say so.
            let _ = self.cosign(log, &state, note);
        }
    }

    /// The key that verifies this witness's cosignatures.
    #[must_use]
    pub fn vkey(&self) -> &Vkey {
        self.cosigner.vkey()
    }

    /// The address that the configuration says to listen on.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// The logs it knows, each with the size it cosigned last (0 where it never did).
    pub fn logs(&self) -> impl Iterator<Item = (&TrustedLog, TreeSize)> {
        self.logs.values().map(|log| (&log.trusted, lock(&log.state).head().size))
    }

    /// Handles the body of one `add-checkpoint` request. Blocks for the disk.
    ///
    /// When it returns a cosignature, the head is on stable storage, and no other head that does
    /// not extend it will be cosigned, whatever happens to this process.
    pub fn add_checkpoint(&self, body: &[u8]) -> Result<SignatureLine, AddError> {
        let request = AddCheckpoint::parse(body)?;
        let origin = request.claimed_origin().map_err(RequestError::from)?;
        let log = self.logs.get(&origin.hash().to_hex());
        let known = log.map(Log::known);
        let cosign = decide(known.as_ref(), &request)?;
        let (Some(log), Some(known)) = (log, known) else {
            return Err(Refusal::UnknownLog.into());
        };
        let mut state = lock(&log.state);
        if self.is_broken() {
            return Err(AddError::Broken);
        }
        match state.swap(&known.head, &cosign) {
            Ok(()) => {}
            // Somebody else's request came between decision and swap.
            Err(SwapError::Other(head)) => {
                return Err(Refusal::Conflict { known: head.size }.into());
            }
            Err(SwapError::Replace(ReplaceError::Unchanged(_))) => {
                return Err(AddError::NotStored);
            }
            Err(SwapError::Replace(ReplaceError::Unclear(_))) => {
                self.lose_track();
                return Err(AddError::Broken);
            }
        }
        // What was understood and stored is signed, not the bytes that came in.
        let note = Note::new(&cosign.checkpoint.to_text(), cosign.log_signatures).map_err(RequestError::from)?;
        self.cosign(log, &state, &note)
    }

    /// Signs the checkpoint in `note`, which is the stored one, and shows it to monitors. The
    /// caller holds the lock of the state, so that what is shown never goes back.
    fn cosign(&self, log: &Log, state: &State, note: &Note) -> Result<SignatureLine, AddError> {
        let now = Seconds::new((self.clock)()).map_err(|_| AddError::Clock)?;
        if now.get() == 0 {
            return Err(AddError::Clock);
        }
        let mut cosigned = lock(&log.cosigned);
        // A clock that was set back must not make a larger tree look older than a smaller one.
        let time = (cosigned.as_ref()).map_or(now, |cosigned| cosigned.time.max(now));
        let line = self.cosigner.cosign(note.text(), time);
        // Before the answer, so that monitors see what clients see. A note with a hundred
        // signatures has no room; then the log's first must do.
        let shown = note.with_signature(line.clone()).or_else(|_| {
            let first = note.signatures().iter().take(1).cloned();
            Note::new(note.text(), first.chain([line.clone()]).collect())
        });
        if let Ok(shown) = shown {
            let _ = state.keep_cosigned(&shown);
            let note = Arc::from(shown.to_text());
            *cosigned = Some(Cosigned { note, time });
        }
        Ok(line)
    }

    /// The checkpoint cosigned last for the log with this hash of its origin (lowercase hex), with
    /// the log's signature and ours. `None` where there is none.
    #[must_use]
    pub fn cosigned(&self, origin_hash: &str) -> Option<Arc<str>> {
        let log = self.logs.get(origin_hash)?;
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
    fn known(&self) -> Known {
        Known { origin: self.trusted.origin.clone(), keys: self.trusted.keys.clone(), head: lock(&self.state).head() }
    }
}

/// The cosigned checkpoint that an earlier run left, if it is of the stored head and by our key.
fn cosigned_before(state: &State, cosigner: &Cosigner) -> Option<Cosigned> {
    let note = state.kept_cosigned()?;
    let keys = [cosigner.vkey().clone()];
    let time = note.open(&keys).ok()?.verified.iter().find_map(|v| v.time)?;
    let note = Arc::from(note.to_text());
    Some(Cosigned { note, time })
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
