//! The store: everything the log keeps, as bytes. It knows files and syncs, and no format of an entry.
//!
//! ```text
//! <log>/lock                    who runs this log now                                     lock
//! <log>/journal/<round>.seg     committed rounds, the only commit point                   journal
//! <log>/openings.keys           32 bytes per entry; overwritten to erase                  keys
//! <log>/evidence/x000/000       sealed openings, 256 per file                             evidence
//! <log>/tile/…, checkpoint      what the world reads                                      objects
//! <log>/snapshot.{0,1}          state that no entry carries, two generations              snapshot
//! <log>/view/                   an index that may be deleted at any time                  view
//! ```
//!
//! An answer of this layer means that the bytes are on stable storage, or names the call that makes them so. What it
//! can't know it does not guess: an error whose outcome is unknown is [`StoreError::Fatal`], and the store that gave it
//! answers nothing more. Everything is synchronous; the engine calls it from threads of its own.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

pub mod disk;
pub mod evidence;
pub mod journal;
pub mod keys;
pub mod lock;
pub mod objects;
pub mod snapshot;
pub mod view;

#[cfg(test)]
mod contract;

pub use disk::DiskError;

/// What may go wrong in a store, by what the caller must do about it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no room, and nothing has changed. Ask again later: it works again by itself.
    #[error("no space: {0}")]
    NoSpace(#[source] DiskError),
    /// What is on the disk can't be what was written.
    #[error("{} is damaged at byte {offset}: {what}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// Another round or entry was expected. Nothing has changed, but the caller is wrong about the state of the log.
    #[error("number {expected} comes next, not {found}")]
    OutOfOrder {
        /// The round or entry that comes next.
        expected: u64,
        /// The one that came, or was asked for.
        found: u64,
    },
    /// Another process has taken this folder over: what was written may be lost.
    #[error("another process has taken over the journal: it is in epoch {theirs}, this process in epoch {ours}")]
    Fenced {
        /// The epoch of this process.
        ours: u64,
        /// The epoch on the disk.
        theirs: u64,
    },
    /// A write or a sync failed and its outcome is unknown. The process must end; a restart reads what is there.
    #[error("{0}; what the disk holds now is unknown")]
    Fatal(#[source] DiskError),
    /// An earlier call was fatal. Nothing was done.
    #[error("an earlier write failed, and nothing is written after that")]
    Poisoned,
}

impl StoreError {
    /// Whether the process must end. Only [`StoreError::NoSpace`] is not fatal.
    pub fn is_fatal(&self) -> bool {
        !matches!(self, StoreError::NoSpace(_))
    }

    fn corrupt(path: &Path, offset: u64, what: &'static str) -> StoreError {
        StoreError::Corrupt { path: path.to_owned(), offset, what }
    }
}

impl From<DiskError> for StoreError {
    /// A full disk can be waited for. A failed sync cannot, whatever its reason: the kernel may have dropped the pages.
    fn from(error: DiskError) -> StoreError {
        if error.is_no_space() { StoreError::NoSpace(error) } else { StoreError::Fatal(error) }
    }
}

/// A state that is dropped by the first fatal error: nothing is written by someone who does not know what is there.
struct Guarded<T>(Mutex<Option<T>>);

impl<T> Guarded<T> {
    fn new(state: T) -> Guarded<T> {
        Guarded(Mutex::new(Some(state)))
    }

    fn with<R>(&self, act: impl FnOnce(&mut T) -> Result<R, StoreError>) -> Result<R, StoreError> {
        // A panic in `act` leaves the state half changed, which is as bad as a fatal error.
        let mut slot = self.0.lock().map_err(|_| StoreError::Poisoned)?;
        let result = act(slot.as_mut().ok_or(StoreError::Poisoned)?);
        if result
            .as_ref()
            .is_err_and(|e| matches!(e, StoreError::Fatal(_) | StoreError::Fenced { .. } | StoreError::Poisoned))
        {
            *slot = None;
        }
        result
    }

    /// Reads the state without a chance to fail; `None` after a fatal error.
    fn peek<R>(&self, look: impl FnOnce(&T) -> R) -> Option<R> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(look)
    }
}
