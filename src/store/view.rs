//! The view: an index that may be deleted at any time, and is made again from what is true.
//!
//! ```text
//! key (its first byte names the kind of thing, never zero)  →  value        one key space, so that a round is one batch
//! 0x00 "round/2"                                            →  the round applied last, in the same batch
//! ```
//! The number in the last key is the form of all the others and of their values. A view of another form has no round that
//! this one can see, so it is made anew.
//!
//! Two databases keep it. [`SledView`]: sled 0.34 never syncs, so after a power cut nothing in it can be believed. It
//! knows whether the kernel that took its writes is still running (the boot id), or whether it was closed and synced by
//! us (a marker); if neither holds it begins empty. Its bytes do not go through [`super::disk::Disk`], the files that
//! decide about trust do. [`RedbView`] syncs, and keeps what was flushed through a power cut. Either way
//! [`View::trusted`] says whether something was kept, and [`View::applied_round`] what; the caller fills in the rest.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::disk::Disk;
use super::{DiskError, StoreError};

mod redb;
pub use self::redb::RedbView;

/// Where the last round stands. Another number whenever the view's keys or values get another form.
const ROUND: &[u8] = b"\0round/2";

/// The bytes that must be free beside those that a database is asked to write: what it writes about itself.
const SPARE: u64 = 1 << 20;

/// Why the view can't answer.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// A value can't be what was put there. The view has to be made again.
    #[error("the view is damaged: {0} can't be read; `solelog rebuild` makes it anew")]
    Damaged(&'static str),
    /// A round came that is not after the last one.
    #[error("the view has round {applied} and can't take round {round}")]
    Order {
        /// The last round.
        applied: u64,
        /// The one that came.
        round: u64,
    },
    /// A key that begins with zero, which the view keeps for itself.
    #[error("a key of the view begins with a zero byte")]
    Reserved,
    /// The view has been closed.
    #[error("the view is closed")]
    Closed,
    /// The database failed.
    #[error("the view failed: {0}")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
    /// A file beside the database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ViewError {
    /// Whether there is no room, and nothing has changed: the same call may be made again later.
    pub fn is_full(&self) -> bool {
        matches!(self, ViewError::Store(full) if !full.is_fatal())
    }
}

impl From<DiskError> for ViewError {
    fn from(error: DiskError) -> ViewError {
        ViewError::Store(error.into())
    }
}

fn failed(error: impl Error + Send + Sync + 'static) -> ViewError {
    ViewError::Failed(Box::new(error))
}

/// One change: that key has this value from now on, or none.
pub type Write<'a> = (&'a [u8], Option<&'a [u8]>);

/// A key-value store that knows which round it has.
pub trait View: Send + Sync {
    /// The value under a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError>;

    /// Gives every key that begins with those bytes, in order, with its value.
    fn scan(&self, prefix: &[u8], visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), ViewError>;

    /// Applies the changes of a round: all of them with its number, or none. The number must be larger than the last.
    ///
    /// After an error that [`ViewError::is_full`] it may be called again with the same round.
    fn apply(&self, round: u64, writes: &[Write<'_>]) -> Result<(), ViewError>;

    /// Fills a view that has no round yet. A rebuild loads in any portions and ends with [`View::apply`].
    fn load(&self, writes: &[Write<'_>]) -> Result<(), ViewError>;

    /// The round applied last; `None` in a view that is empty, or that is being filled.
    fn applied_round(&self) -> Result<Option<u64>, ViewError>;

    /// Empties the view.
    fn clear(&self) -> Result<(), ViewError>;

    /// Keeps every round applied so far for the next start. Until then a start may find an older round.
    ///
    /// In sled that holds for the end of the process only, in redb for that of the machine as well.
    fn flush(&self) -> Result<(), ViewError>;

    /// Whether what was there at the opening is still there. A view that is not trusted has been emptied.
    fn trusted(&self) -> bool;

    /// Makes everything durable and says so to the next start. Nothing can be read or written after it.
    fn close(&self) -> Result<(), ViewError>;
}

fn check(applied: Option<u64>, round: Option<u64>, writes: &[Write<'_>]) -> Result<(), ViewError> {
    if writes.iter().any(|(key, _)| key.first() == Some(&0)) {
        return Err(ViewError::Reserved);
    }
    match (applied, round) {
        (Some(applied), Some(round)) if round <= applied => Err(ViewError::Order { applied, round }),
        (Some(applied), None) => Err(ViewError::Order { applied, round: applied }),
        _ => Ok(()),
    }
}

/// How many bytes changes have.
fn bytes(writes: &[Write<'_>]) -> usize {
    writes.iter().map(|(key, value)| key.len() + value.map_or(0, <[u8]>::len)).sum()
}

/// A view in memory, for tests. It is gone with the process, so it is never trusted.
#[derive(Default)]
pub struct MemoryView {
    state: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    map: BTreeMap<Vec<u8>, Vec<u8>>,
    applied: Option<u64>,
    closed: bool,
}

impl MemoryView {
    /// An empty view.
    pub fn new() -> MemoryView {
        MemoryView::default()
    }

    fn with<R>(&self, act: impl FnOnce(&mut Memory) -> Result<R, ViewError>) -> Result<R, ViewError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed { Err(ViewError::Closed) } else { act(&mut state) }
    }

    fn put(&self, round: Option<u64>, writes: &[Write<'_>]) -> Result<(), ViewError> {
        self.with(|state| {
            check(state.applied, round, writes)?;
            for (key, value) in writes {
                match value {
                    Some(value) => state.map.insert(key.to_vec(), value.to_vec()),
                    None => state.map.remove(*key),
                };
            }
            state.applied = round;
            Ok(())
        })
    }
}

impl View for MemoryView {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        self.with(|state| Ok(state.map.get(key).cloned()))
    }

    fn scan(&self, prefix: &[u8], visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), ViewError> {
        self.with(|state| {
            for (key, value) in state.map.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix)) {
                visit(key, value);
            }
            Ok(())
        })
    }

    fn apply(&self, round: u64, writes: &[Write<'_>]) -> Result<(), ViewError> {
        self.put(Some(round), writes)
    }

    fn load(&self, writes: &[Write<'_>]) -> Result<(), ViewError> {
        self.put(None, writes)
    }

    fn applied_round(&self) -> Result<Option<u64>, ViewError> {
        self.with(|state| Ok(state.applied))
    }

    fn clear(&self) -> Result<(), ViewError> {
        self.with(|state| {
            *state = Memory::default();
            Ok(())
        })
    }

    fn flush(&self) -> Result<(), ViewError> {
        self.with(|_| Ok(()))
    }

    fn trusted(&self) -> bool {
        false
    }

    fn close(&self) -> Result<(), ViewError> {
        self.with(|state| {
            state.closed = true;
            Ok(())
        })
    }
}

/// What a view may use.
#[derive(Clone, Debug)]
pub struct Options {
    /// The memory for cached pages, in bytes.
    pub cache_bytes: u64,
    /// The kernel's boot id; `None` where there is none, and then only a clean shutdown is trusted.
    pub boot_id: Option<String>,
}

impl Default for Options {
    fn default() -> Options {
        Options { cache_bytes: 32 << 20, boot_id: boot_id() }
    }
}

/// The id that Linux gives to each of its boots.
pub fn boot_id() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}

/// Decides whether the files of a database may be believed, and remembers what the next start needs to decide.
struct Trust {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

impl Trust {
    /// Whether the page cache that took the writes still exists, or was synced. From now on only the boot id counts.
    fn begin(&self, boot_id: Option<&str>) -> Result<bool, DiskError> {
        self.disk.create_dir_all(&self.dir)?;
        let clean = self.disk.exists(&self.marker())?;
        let boot = self.disk.read(&self.boot())?;
        let same_boot = boot_id.is_some_and(|id| boot.as_deref() == Some(id.as_bytes()));
        // The marker goes, durably, before the database can be written: a marker that a crash brought back would lie.
        self.disk.remove(&self.marker())?;
        self.disk.sync_dir(&self.dir)?;
        self.disk.replace(&self.boot(), boot_id.unwrap_or_default().as_bytes())?;
        Ok(clean || same_boot)
    }

    /// Everything below is synced: the next start may believe it, whatever happens to the machine.
    fn end(&self) -> Result<(), DiskError> {
        self.disk.replace(&self.marker(), b"closed\n")
    }

    fn marker(&self) -> PathBuf {
        self.dir.join("clean")
    }

    fn boot(&self) -> PathBuf {
        self.dir.join("boot")
    }
}

/// Syncs all files below a folder, and the folders.
fn sync_tree(disk: &dyn Disk, dir: &Path) -> Result<(), ViewError> {
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            sync_tree(disk, &entry.path())?;
        } else if let Some(file) = disk.open(&entry.path())? {
            file.sync_all()?;
        }
    }
    Ok(disk.sync_dir(dir)?)
}

fn remove_tree(dir: &Path) -> Result<(), ViewError> {
    match std::fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(failed(e)),
        _ => Ok(()),
    }
}

/// The view in sled.
pub struct SledView {
    db: RwLock<Option<sled::Db>>,
    trust: Trust,
    trusted: bool,
    /// One batch at a time: the check of the round and the batch belong together.
    writing: Mutex<()>,
}

impl SledView {
    /// Opens the view in that folder. What can't be trusted is removed.
    pub fn open(disk: &Arc<dyn Disk>, dir: &Path, options: &Options) -> Result<SledView, ViewError> {
        let trust = Trust { disk: Arc::clone(disk), dir: dir.to_owned() };
        let files = dir.join("sled");
        let mut trusted = trust.begin(options.boot_id.as_deref())? && files.is_dir();
        if !trusted {
            remove_tree(&files)?;
        }
        let config = sled::Config::new().path(&files).cache_capacity(options.cache_bytes).mode(sled::Mode::LowSpace);
        let db = match config.open() {
            Ok(db) => db,
            Err(e) if trusted => {
                tracing::warn!(error = %e, "the view can't be opened and is made anew");
                trusted = false;
                remove_tree(&files)?;
                config.open().map_err(failed)?
            }
            Err(e) => return Err(failed(e)),
        };
        Ok(SledView { db: RwLock::new(Some(db)), trust, trusted, writing: Mutex::new(()) })
    }

    fn with<R>(&self, act: impl FnOnce(&sled::Db) -> Result<R, ViewError>) -> Result<R, ViewError> {
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        act(db.as_ref().ok_or(ViewError::Closed)?)
    }

    fn put(&self, round: Option<u64>, writes: &[Write<'_>]) -> Result<(), ViewError> {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.with(|db| {
            check(applied(db)?, round, writes)?;
            self.room(writes)?;
            let mut batch = sled::Batch::default();
            for (key, value) in writes {
                match value {
                    Some(value) => batch.insert(*key, *value),
                    None => batch.remove(*key),
                }
            }
            if let Some(round) = round {
                batch.insert(ROUND, &round.to_be_bytes());
            }
            db.apply_batch(batch).map_err(failed)
        })
    }

    /// Refuses while there is no room, which can be waited for.
    ///
    /// When sled itself meets a full disk it keeps the error for every later call and does not say what it has written:
    /// the outcome is unknown, [`ViewError::Failed`] says so, and the process ends. So it is asked beforehand.
    fn room(&self, writes: &[Write<'_>]) -> Result<(), ViewError> {
        Ok(self.trust.disk.require(&self.trust.dir, 2 * bytes(writes) as u64 + SPARE)?)
    }
}

fn applied(db: &sled::Db) -> Result<Option<u64>, ViewError> {
    let Some(round) = db.get(ROUND).map_err(failed)? else {
        return Ok(None);
    };
    let round = <[u8; 8]>::try_from(&round[..]).map_err(|_| ViewError::Damaged("the applied round"))?;
    Ok(Some(u64::from_be_bytes(round)))
}

impl View for SledView {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        self.with(|db| Ok(db.get(key).map_err(failed)?.map(|value| value.to_vec())))
    }

    fn scan(&self, prefix: &[u8], visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), ViewError> {
        self.with(|db| {
            for pair in db.scan_prefix(prefix) {
                let (key, value) = pair.map_err(failed)?;
                if key.first() != Some(&0) {
                    visit(&key, &value);
                }
            }
            Ok(())
        })
    }

    fn apply(&self, round: u64, writes: &[Write<'_>]) -> Result<(), ViewError> {
        self.put(Some(round), writes)
    }

    fn load(&self, writes: &[Write<'_>]) -> Result<(), ViewError> {
        self.put(None, writes)
    }

    fn applied_round(&self) -> Result<Option<u64>, ViewError> {
        self.with(applied)
    }

    fn clear(&self) -> Result<(), ViewError> {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.with(|db| {
            // The round first: a view that is half emptied must not look like a whole one.
            db.remove(ROUND).map_err(failed)?;
            db.flush().map_err(failed)?;
            db.clear().map_err(failed)
        })
    }

    fn flush(&self) -> Result<(), ViewError> {
        self.with(|db| {
            self.room(&[])?;
            db.flush().map(|_| ()).map_err(failed)
        })
    }

    fn trusted(&self) -> bool {
        self.trusted
    }

    fn close(&self) -> Result<(), ViewError> {
        let mut slot = self.db.write().unwrap_or_else(PoisonError::into_inner);
        let db = slot.take().ok_or(ViewError::Closed)?;
        db.flush().map_err(failed)?;
        // sled writes a last time when it is dropped; the files stand still only after that.
        drop(db);
        sync_tree(&*self.trust.disk, &self.trust.dir.join("sled"))?;
        Ok(self.trust.end()?)
    }
}
