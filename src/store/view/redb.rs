//! The view in redb: one file, copy-on-write pages with checksums, and real syncs.
//!
//! Rounds are committed without a sync, and [`View::flush`] syncs them all at once. After a crash the file has what was
//! flushed last (whole rounds, with their number), so this view is trusted whenever its file can be opened. The file
//! goes through [`Disk`], and the power-cut tests of the store hold for it too.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use redb::{
    Database, Durability, ReadOnlyTable, ReadableDatabase as _, ReadableTable as _, StorageBackend, TableDefinition,
};

use super::{Options, SPARE, View, ViewError, Write, bytes, check, failed};
use crate::store::disk::{Disk, DiskError, File};

const VIEW: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("view");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// As in sled: the number is the form of the keys and values.
const ROUND: &str = "round/2";
const NAME: &str = "view.redb";

/// How many bytes may be committed and not synced. Pages that they replace can't be used again before.
const UNSYNCED: usize = 16 << 20;

/// What a change takes in the file, at most and about: a page of its own, and its share of those above it.
const CHANGE: u64 = 2 * 4096;

/// The view in redb.
pub struct RedbView {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// The most bytes that redb keeps back until a sync: it writes out early what is more than half of its cache.
    buffer: u64,
    db: RwLock<Option<Database>>,
    trusted: bool,
    writing: Mutex<Writing>,
    /// The table as it was after the last write, for all readers: to open it costs more than to read in it.
    reading: RwLock<Option<Arc<Table>>>,
}

type Table = ReadOnlyTable<&'static [u8], &'static [u8]>;

#[derive(Default)]
struct Writing {
    applied: Option<u64>,
    /// Bytes that are committed and not synced.
    unsynced: usize,
    /// In how many changes.
    changes: u64,
}

impl RedbView {
    /// Opens the view in that folder. A file that is no database is removed.
    pub fn open(disk: &Arc<dyn Disk>, dir: &Path, options: &Options) -> Result<RedbView, ViewError> {
        disk.create_dir_all(dir)?;
        let path = dir.join(NAME);
        let cache = usize::try_from(options.cache_bytes).unwrap_or(usize::MAX);
        let view = |(db, applied), trusted| RedbView {
            disk: Arc::clone(disk),
            dir: dir.to_owned(),
            buffer: options.cache_bytes / 2 + UNSYNCED as u64,
            db: RwLock::new(Some(db)),
            trusted,
            writing: Mutex::new(Writing { applied, ..Writing::default() }),
            reading: RwLock::default(),
        };
        if let Some(file) = disk.open(&path)? {
            match open(file, cache) {
                Ok(opened) => return Ok(view(opened, true)),
                Err(e) => {
                    tracing::warn!(error = %e, "the view can't be opened and is made anew");
                    disk.remove(&path)?;
                }
            }
        }
        let opened = open(disk.create(&path)?, cache)?;
        disk.sync_dir(dir)?;
        Ok(view(opened, false))
    }

    fn with<R>(&self, act: impl FnOnce(&Database) -> Result<R, ViewError>) -> Result<R, ViewError> {
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        act(db.as_ref().ok_or(ViewError::Closed)?)
    }

    /// The table to read in.
    fn table(&self) -> Result<Arc<Table>, ViewError> {
        if let Some(table) = &*self.reading.read().unwrap_or_else(PoisonError::into_inner) {
            return Ok(Arc::clone(table));
        }
        let mut reading = self.reading.write().unwrap_or_else(PoisonError::into_inner);
        // Opened with the lock held: what a write that ends meanwhile takes away is this one, or an older one.
        let table = self.with(|db| Ok(Arc::new(db.begin_read().map_err(failed)?.open_table(VIEW).map_err(failed)?)))?;
        *reading = Some(Arc::clone(&table));
        Ok(table)
    }

    /// Something was written: whoever reads from now on sees it. Never with the lock of `db` held, which readers take while they
    /// hold this one.
    fn turn(&self) {
        self.reading.write().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn put(&self, round: Option<u64>, writes: &[Write<'_>]) -> Result<(), ViewError> {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.with(|db| {
            check(writing.applied, round, writes)?;
            let unsynced = writing.unsynced + bytes(writes);
            let changes = writing.changes + writes.len() as u64;
            self.room(changes)?;
            let sync = unsynced > UNSYNCED;
            let write = begin(db, sync)?;
            {
                let mut table = write.open_table(VIEW).map_err(failed)?;
                for (key, value) in writes {
                    match value {
                        Some(value) => table.insert(*key, *value).map_err(failed)?,
                        None => table.remove(*key).map_err(failed)?,
                    };
                }
                if let Some(round) = round {
                    write.open_table(META).map_err(failed)?.insert(ROUND, round).map_err(failed)?;
                }
            }
            write.commit().map_err(failed)?;
            *writing = Writing { applied: round, ..Writing::default() };
            if !sync {
                (writing.unsynced, writing.changes) = (unsynced, changes);
            }
            Ok(())
        })?;
        self.turn();
        Ok(())
    }

    fn sync(&self, db: &Database, writing: &mut Writing) -> Result<(), ViewError> {
        self.room(writing.changes)?;
        begin(db, true)?.commit().map_err(failed)?;
        (writing.unsynced, writing.changes) = (0, 0);
        Ok(())
    }

    /// Refuses while there is no room for so many changes, which can be waited for.
    ///
    /// When redb itself meets a full disk it fails every later call, reads as well, and does not say how far its commit
    /// came: the outcome is unknown, [`ViewError::Failed`] says so, and the process ends. Waiting in [`Backend`] is no
    /// way out, because redb also writes while it reads. So it is asked beforehand, for more than redb may keep back.
    fn room(&self, changes: u64) -> Result<(), ViewError> {
        Ok(self.disk.require(&self.dir, changes.saturating_mul(CHANGE).min(self.buffer) + SPARE)?)
    }
}

/// Opens a file, and reads which round it has.
fn open(file: Box<dyn File>, cache: usize) -> Result<(Database, Option<u64>), ViewError> {
    let db = Database::builder().set_cache_size(cache).create_with_backend(Backend(file)).map_err(failed)?;
    let mut write = db.begin_write().map_err(failed)?;
    write.set_quick_repair(true);
    write.open_table(VIEW).map_err(failed)?;
    let round = write.open_table(META).map_err(failed)?.get(ROUND).map_err(failed)?.map(|round| round.value());
    write.commit().map_err(failed)?;
    Ok((db, round))
}

fn begin(db: &Database, sync: bool) -> Result<redb::WriteTransaction, ViewError> {
    let mut write = db.begin_write().map_err(failed)?;
    // With quick repair a start after a crash does not read the whole file, and a commit has two phases: what is in
    // the file can't make a torn commit look whole.
    write.set_quick_repair(sync);
    write.set_durability(if sync { Durability::Immediate } else { Durability::None }).map_err(failed)?;
    Ok(write)
}

impl View for RedbView {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        Ok(self.table()?.get(key).map_err(failed)?.map(|value| value.value().to_vec()))
    }

    fn scan(&self, prefix: &[u8], visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), ViewError> {
        self.with(|db| {
            let table = db.begin_read().map_err(failed)?.open_table(VIEW).map_err(failed)?;
            for pair in table.range(prefix..).map_err(failed)? {
                let (key, value) = pair.map_err(failed)?;
                if !key.value().starts_with(prefix) {
                    break;
                }
                visit(key.value(), value.value());
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
        self.with(|_| Ok(self.writing.lock().unwrap_or_else(PoisonError::into_inner).applied))
    }

    fn clear(&self) -> Result<(), ViewError> {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.with(|db| {
            self.room(0)?;
            let write = begin(db, true)?;
            write.delete_table(VIEW).map_err(failed)?;
            write.delete_table(META).map_err(failed)?;
            write.open_table(VIEW).map_err(failed)?;
            write.open_table(META).map_err(failed)?;
            write.commit().map_err(failed)?;
            *writing = Writing::default();
            Ok(())
        })?;
        self.turn();
        Ok(())
    }

    fn flush(&self) -> Result<(), ViewError> {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.with(|db| self.sync(db, &mut writing))
    }

    fn trusted(&self) -> bool {
        self.trusted
    }

    fn close(&self) -> Result<(), ViewError> {
        self.flush()?;
        let db = self.db.write().unwrap_or_else(PoisonError::into_inner).take().ok_or(ViewError::Closed)?;
        self.turn();
        drop(db);
        Ok(())
    }
}

/// A file of ours, as redb wants it. The folder is locked by `lock`, so the file needs no lock of its own.
struct Backend(Box<dyn File>);

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Backend")
    }
}

fn plain(error: DiskError) -> io::Error {
    io::Error::new(error.source.kind(), error)
}

impl StorageBackend for Backend {
    fn len(&self) -> Result<u64, io::Error> {
        self.0.len().map_err(plain)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let read = self.0.read_at(offset, out).map_err(plain)?;
        if read == out.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.0.truncate(len).map_err(plain)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.0.sync_data().map_err(plain)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.0.write_at(offset, data).map_err(plain)
    }
}
