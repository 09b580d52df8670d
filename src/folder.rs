//! The folder of a log: all of its stores, opened in the order that makes them safe to use.
//!
//! [`Folder::find`] takes the lock and reads; [`Found::resume`] is the first thing that writes. In between, recovery
//! decides whether what it has read may be continued.

use std::path::PathBuf;
use std::sync::Arc;

use tlog::tree::TreeSize;

use crate::memory::Memory;
use crate::store::StoreError;
use crate::store::disk::Disk;
use crate::store::evidence::Evidence;
use crate::store::journal::{self, Journal, Scan};
use crate::store::keys::Keys;
use crate::store::lock::{Lock, LockError};
use crate::store::objects::{self, ObjectError, Objects};
use crate::store::snapshot::{Snapshot, Snapshots};
use crate::store::view::{self, MemoryView, RedbView, SledView, View, ViewError};

/// Which view a log uses.
#[derive(Clone, Debug)]
pub enum ViewChoice {
    /// redb, in the folder: what memory it takes does not grow with the log.
    Redb(view::Options),
    /// sled, in the folder: for small logs; its memory grows with the log (docs/adr/0012).
    Sled(view::Options),
    /// Memory: made again at each start. For tests, and for logs that are small.
    Memory,
}

impl Default for ViewChoice {
    fn default() -> ViewChoice {
        ViewChoice::Redb(view::Options::default())
    }
}

/// How a folder is opened.
#[derive(Clone)]
pub struct Opening {
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The folder.
    pub dir: PathBuf,
    /// Its view.
    pub view: ViewChoice,
    /// The length of journal segments.
    pub journal: journal::Options,
}

/// A locked folder that was read and not yet written.
pub struct Found {
    opening: Opening,
    lock: Lock,
    snapshots: Snapshots,
    /// The newest valid snapshot.
    pub snapshot: Option<Snapshot>,
}

/// All stores of a log. Dropping it lets go of the folder.
pub struct Folder {
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The folder.
    pub dir: PathBuf,
    /// Committed rounds.
    pub journal: Arc<Journal>,
    /// The keys of openings.
    pub keys: Arc<Keys>,
    /// Sealed openings.
    pub evidence: Arc<Evidence>,
    /// Tiles, bundles, the checkpoint.
    pub objects: Arc<Objects>,
    /// Snapshots.
    pub snapshots: Snapshots,
    /// The view.
    pub view: Arc<dyn View>,
    _lock: Lock,
}

/// Why a folder can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another process has it.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A store failed, or what it holds is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The tiles.
    #[error(transparent)]
    Objects(#[from] ObjectError),
    /// The view.
    #[error(transparent)]
    View(#[from] ViewError),
}

impl Opening {
    fn journal_dir(&self) -> PathBuf {
        self.dir.join("journal")
    }

    fn keys_path(&self) -> PathBuf {
        self.dir.join("openings.keys")
    }

    fn evidence_dir(&self) -> PathBuf {
        self.dir.join("evidence")
    }

    /// The folder of the view, which may be deleted while no process runs the log.
    pub fn view_dir(&self) -> PathBuf {
        self.dir.join("view")
    }

    fn lock(&self) -> Result<Lock, FolderError> {
        // The lock is a real file whatever the disk is, so its folder must be one too.
        std::fs::create_dir_all(&self.dir).map_err(|source| LockError::Failed { path: self.dir.clone(), source })?;
        Ok(Lock::acquire(&self.dir.join("lock"))?)
    }

    /// Makes the journal of a new log, with its first round. `None` when the folder has one with a round in it.
    pub fn create(&self, genesis: &[u8]) -> Result<Option<()>, FolderError> {
        let _lock = self.lock()?;
        self.disk.create_dir_all(&self.dir).map_err(StoreError::from)?;
        let dir = self.journal_dir();
        let journal = if Journal::exists(&*self.disk, &dir)? {
            // Whoever made it may have been stopped before the first round, and would like to try again.
            let scan = Journal::scan::<StoreError>(&self.disk, &dir, 0, |_, _| Ok(()))?;
            if scan.tip.next > 0 {
                return Ok(None);
            }
            scan.resume(self.journal)?
        } else {
            Journal::create(&self.disk, &dir, self.journal, 0)?
        };
        journal.append(0, genesis)?;
        Ok(Some(()))
    }

    /// Takes the lock and looks for the log. `None` when there is none.
    pub fn find(self) -> Result<Option<Found>, FolderError> {
        if !self.dir.is_dir() {
            return Ok(None);
        }
        let lock = self.lock()?;
        if !Journal::exists(&*self.disk, &self.journal_dir())? {
            return Ok(None);
        }
        let (snapshots, snapshot) = Snapshots::open(&self.disk, &self.dir)?;
        Ok(Some(Found { opening: self, lock, snapshots, snapshot }))
    }
}

impl Found {
    /// Reads the journal from that round on.
    pub fn scan<E: From<StoreError>>(
        &self,
        from: u64,
        visit: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<Scan, E> {
        Journal::scan(&self.opening.disk, &self.opening.journal_dir(), from, visit)
    }

    /// The round of the older snapshot, if there are two: the journal has everything after it.
    pub fn floor(&self) -> Option<u64> {
        self.snapshots.floor()
    }

    /// The published checkpoint.
    pub fn checkpoint(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.opening.disk.read(&self.opening.dir.join("checkpoint"))?)
    }

    /// The name of a tile or a bundle with entries beyond that size, if there is one.
    pub fn beyond(&self, size: TreeSize) -> Result<Option<String>, StoreError> {
        objects::beyond(&*self.opening.disk, &self.opening.dir, size.get())
    }

    /// Brings the journal's end to stable storage in a new epoch, and opens the other stores.
    ///
    /// Evidence is cut back to what the snapshot knows to be synced; the journal has the rest.
    pub fn resume(self, scan: Scan, memory: &Memory) -> Result<Folder, FolderError> {
        let Found { opening, lock, snapshots, .. } = self;
        let synced = memory.tip.frontier.size().get();
        let journal = scan.resume(opening.journal)?;
        let keys = Keys::open(&*opening.disk, &opening.keys_path())?;
        let evidence = Evidence::open(&opening.disk, &opening.evidence_dir(), synced)?;
        let objects = Objects::open(&opening.disk, &opening.dir)?;
        let view: Arc<dyn View> = match &opening.view {
            ViewChoice::Redb(options) => Arc::new(RedbView::open(&opening.disk, &opening.view_dir(), options)?),
            ViewChoice::Sled(options) => Arc::new(SledView::open(&opening.disk, &opening.view_dir(), options)?),
            ViewChoice::Memory => Arc::new(MemoryView::new()),
        };
        Ok(Folder {
            disk: opening.disk,
            dir: opening.dir,
            journal: Arc::new(journal),
            keys: Arc::new(keys),
            evidence: Arc::new(evidence),
            objects: Arc::new(objects),
            snapshots,
            view,
            _lock: lock,
        })
    }
}
