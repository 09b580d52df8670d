//! State: what a monitor remembers from one run to the next.
//!
//! ```text
//! DIR/monitor.state     the heads that the log signed, the frontier of the accepted one; a line with a checksum
//! DIR/fold.state        what the log meant so far ([`crate::keep`]): a cache of it, which may be deleted
//! DIR/evidence/*.evidence   what proves a TAMPER to others (`schemas/evidence-file.cddl`)
//! DIR/lock              held while a process works here
//! ```
//!
//! The state is written beside the old one, synced, and renamed over it: there is always a whole one. It is small
//! whatever the size of the log, and written in each round; what the log *means* (the fold: credentials, index keys,
//! authorisations) grows with it, and is written now and then. A monitor that judges goes on from there; without it, it
//! reads the log from its first entry, and checks that every kept head lies on that history.
//!
//! A damaged state is our own fault and never the log's. It isn't replaced by an empty one either: forgetting the heads
//! is what a log that wants to fork would wish for.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use scal3::tagged;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tlog::checkpoint::{Checkpoint, Origin};
use tlog::note::Note;
use tlog::tree::TreeHead;
use tlog::{Frontier, Hash};

use crate::alert::Alert;
use crate::keep::{self, KeptFold};
use crate::report::{TwoHeads, What};

const FORMAT: &str = "solelog/monitor-state/v1";

/// The most heads that wait to be read up to. Of a log that is unreadable for longer, the first of them and the newest.
const MOST_PENDING: usize = 100;

/// Why the state can't be read or written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StateError {
    /// Another process works in the folder.
    #[error("{} is in use by another monitor", .0.display())]
    Locked(PathBuf),
    /// The system says no.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        error: Arc<io::Error>,
    },
    /// What can be made again isn't what we wrote.
    #[error("{} is damaged ({fault}). The log is not to blame; it is read anew, from its first entry", path.display())]
    Rebuilt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// The file isn't what we wrote.
    #[error("{} is damaged ({fault}). The log is not to blame. Restore it, or move it away to start from nothing", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: &'static str,
    },
}

/// A signed head.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Signed {
    pub note: Note,
    pub checkpoint: Checkpoint,
}

/// What is kept of a log.
#[derive(Clone, Default, Debug)]
pub(crate) struct Kept {
    /// The last head of which every entry was read, and the frontier of its tree.
    pub accepted: Option<(Signed, Frontier)>,
    /// Later heads that met the policy and were not read up to yet.
    pub pending: Vec<Signed>,
    /// Later heads that the log signed and that others reported: its history has to pass through them.
    pub reported: Vec<Signed>,
    /// Alerts that were not delivered yet, the oldest first.
    pub outbox: Vec<Alert>,
    /// What is being alerted of, by [`crate::alert::key`]: it is not told again while it lasts.
    pub open: BTreeSet<String>,
}

impl Signed {
    /// A head that was verified before.
    pub fn read(note: Note) -> Option<Signed> {
        let checkpoint = Checkpoint::parse_text(note.text()).ok()?;
        Some(Signed { note, checkpoint })
    }

    pub fn head(&self) -> TreeHead {
        self.checkpoint.head
    }
}

impl Kept {
    /// Every head that a later one must extend.
    pub fn heads(&self) -> impl Iterator<Item = &Signed> {
        self.accepted.iter().map(|(signed, _)| signed).chain(&self.pending)
    }

    /// Every head that the history of the log has to pass through.
    pub fn on_history(&self) -> impl Iterator<Item = &Signed> {
        self.heads().chain(&self.reported)
    }

    /// The log that is followed.
    pub fn origin(&self) -> Option<&Origin> {
        self.heads().next().map(|signed| &signed.checkpoint.origin)
    }

    /// Compares a head with those that are kept, without reading anything.
    pub fn compare(&self, offered: &Signed) -> Result<(), What> {
        let heads = |kept: &Signed| Box::new(TwoHeads { kept: kept.note.clone(), offered: offered.note.clone() });
        let new = offered.head();
        if let Some(kept) = self.on_history().find(|kept| kept.head().size == new.size && kept.head().root != new.root)
        {
            return Err(What::Fork(heads(kept)));
        }
        match self.heads().find(|kept| new.size < kept.head().size) {
            Some(kept) => Err(What::Behind(heads(kept))),
            None => Ok(()),
        }
    }

    /// Remembers a head before it is read up to. Says whether that is new.
    pub fn remember(&mut self, offered: &Signed) -> bool {
        if self.heads().any(|kept| kept.head() == offered.head()) {
            return false;
        }
        self.pending.truncate(MOST_PENDING - 1);
        self.pending.push(offered.clone());
        true
    }

    /// Remembers a head that somebody else has seen. Says whether that is new.
    pub fn report(&mut self, reported: &Signed) -> bool {
        let known = self.on_history().any(|kept| kept.head() == reported.head());
        if known || self.reported.len() == MOST_PENDING {
            return false;
        }
        self.reported.push(reported.clone());
        true
    }

    /// Every entry up to this head was read.
    pub fn accept(&mut self, signed: Signed, frontier: Frontier) {
        self.reported.retain(|reported| reported.head().size > signed.head().size);
        self.accepted = Some((signed, frontier));
        self.pending.clear();
    }
}

/// The file, apart from its checksum.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    format: String,
    accepted: Option<Accepted>,
    pending: Vec<String>,
    #[serde(default)]
    reported: Vec<String>,
    #[serde(default)]
    outbox: Vec<Alert>,
    #[serde(default)]
    open: BTreeSet<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Accepted {
    checkpoint: String,
    frontier: Vec<String>,
}

/// The folder of a monitor, and its lock.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder where it is missing, and locks it.
    pub fn open(path: &Path) -> Result<Folder, StateError> {
        fs::create_dir_all(path.join("evidence")).map_err(|error| io_error(path, error))?;
        let name = path.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&name);
        let lock = lock.map_err(|error| io_error(&name, error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Folder { path: path.to_owned(), _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => Err(StateError::Locked(path.to_owned())),
            Err(fs::TryLockError::Error(error)) => Err(io_error(&name, error)),
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn file(&self) -> PathBuf {
        self.path.join("monitor.state")
    }

    /// What was kept; nothing where there is no state yet.
    pub fn load(&self) -> Result<Kept, StateError> {
        let path = self.file();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kept::default()),
            Err(error) => return Err(io_error(&path, error)),
        };
        parse(&bytes).map_err(|fault| StateError::Damaged { path, fault })
    }

    /// Replaces what was kept.
    pub fn save(&self, kept: &Kept) -> Result<(), StateError> {
        let accepted = kept.accepted.as_ref().map(|(signed, frontier)| Accepted {
            checkpoint: signed.note.to_text(),
            frontier: frontier.hashes().iter().map(Hash::to_hex).collect(),
        });
        let notes = |heads: &[Signed]| heads.iter().map(|signed| signed.note.to_text()).collect();
        let state = State {
            format: FORMAT.to_owned(),
            accepted,
            pending: notes(&kept.pending),
            reported: notes(&kept.reported),
            outbox: kept.outbox.clone(),
            open: kept.open.clone(),
        };
        let state = json!(state).to_string();
        let checksum = tagged(FORMAT, state.as_bytes()).to_hex();
        replace(&self.file(), format!("{state}\n{checksum}\n").as_bytes())
    }

    fn fold_file(&self) -> PathBuf {
        self.path.join("fold.state")
    }

    /// What the log meant so far, where that is kept.
    pub fn load_fold(&self) -> Result<Option<KeptFold>, StateError> {
        let path = self.fold_file();
        match fs::read(&path) {
            Ok(bytes) => keep::parse(&bytes).map_err(|fault| StateError::Rebuilt { path, fault }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error(&path, error)),
        }
    }

    /// Replaces it.
    pub fn save_fold(&self, bytes: &[u8]) -> Result<(), StateError> {
        replace(&self.fold_file(), bytes)
    }

    /// Forgets it, where it can't be relied on.
    pub fn forget_fold(&self) {
        // One that can't be deleted is one that can't be replaced either, and the disk's trouble is told elsewhere.
        let _ = fs::remove_file(self.fold_file());
    }

    /// Writes an evidence file. The same evidence has the same file.
    pub fn evidence(&self, code: &str, bytes: &[u8]) -> Result<PathBuf, StateError> {
        let digest = tagged("solelog/evidence-file/v1", bytes).to_hex();
        let path = self.path.join("evidence").join(format!("{code}-{}.evidence", &digest[..16]));
        if !path.exists() {
            replace(&path, bytes)?;
        }
        Ok(path)
    }
}

fn parse(bytes: &[u8]) -> Result<Kept, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8")?;
    let (state, checksum) = text.split_once('\n').ok_or("cut short")?;
    if tagged(FORMAT, state.as_bytes()).to_hex() + "\n" != checksum {
        return Err("its checksum is another");
    }
    let state: State = serde_json::from_str(state).map_err(|_| "not a state")?;
    if state.format != FORMAT {
        return Err("of another version");
    }
    let signed = |note: &String| {
        let note = Note::parse(note.as_bytes()).ok();
        note.and_then(Signed::read).ok_or("a checkpoint in it is none")
    };
    let accepted = match &state.accepted {
        None => None,
        Some(Accepted { checkpoint, frontier }) => {
            let signed = signed(checkpoint)?;
            let hashes: Option<Vec<Hash>> = frontier.iter().map(|hash| Hash::from_hex(hash)).collect();
            let hashes = hashes.ok_or("a hash in it is none")?;
            let frontier =
                Frontier::from_parts(signed.head().size, hashes).map_err(|_| "the frontier is of another size")?;
            if frontier.head() != signed.head() {
                return Err("the frontier is not that of the checkpoint");
            }
            Some((signed, frontier))
        }
    };
    let pending = state.pending.iter().map(signed).collect::<Result<_, _>>()?;
    let reported = state.reported.iter().map(signed).collect::<Result<_, _>>()?;
    Ok(Kept { accepted, pending, reported, outbox: state.outbox, open: state.open })
}

/// Writes beside, syncs, renames, syncs the folder.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    let temporary = path.with_extension("tmp");
    let write = || {
        // What is kept here, evidence above all, is for its owner alone.
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        match path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    };
    write().map_err(|error| io_error(path, error))
}

fn io_error(path: &Path, error: io::Error) -> StateError {
    StateError::Io { path: path.to_owned(), error: Arc::new(error) }
}
