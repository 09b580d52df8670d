//! The disk: every call that the stores make to a file system, so that a test can make any one of them fail.
//!
//! What a caller must not forget: bytes are durable after [`File::sync_data`] or [`File::sync_all`], names are durable
//! after [`Disk::sync_dir`] of the folder they stand in, and a sync that failed may have dropped the bytes for good.
//! There are three disks: the real one, one in memory whose power can be cut, and one that fails when it is told to.

use std::fmt;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod fault;
mod memory;

pub use fault::{Fault, FaultDisk};
pub use memory::{Cut, MemoryDisk};

/// How many zeros are written at once.
const ZEROS: usize = 1 << 20;

/// What was being done when a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Making a file or a folder.
    Create,
    /// Opening a file.
    Open,
    /// Reading bytes, a length, or a folder.
    Read,
    /// Writing bytes, or changing a length.
    Write,
    /// Making bytes or names durable.
    Sync,
    /// Giving a file another name.
    Rename,
    /// Removing a file or a folder.
    Remove,
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Op::Create => "creating",
            Op::Open => "opening",
            Op::Read => "reading",
            Op::Write => "writing",
            Op::Sync => "syncing",
            Op::Rename => "renaming",
            Op::Remove => "removing",
        })
    }
}

/// A call to the file system that failed.
#[derive(Debug, thiserror::Error)]
#[error("{op} {}: {source}", path.display())]
pub struct DiskError {
    /// What was being done.
    pub op: Op,
    /// To what.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl DiskError {
    /// That failure, there.
    pub fn new(op: Op, path: &Path, source: io::Error) -> DiskError {
        DiskError { op, path: path.to_owned(), source }
    }

    /// There is no room at that path, found out before anything was written.
    pub fn full(path: &Path) -> DiskError {
        DiskError::new(Op::Write, path, io::ErrorKind::StorageFull.into())
    }

    /// Whether the disk (or the quota) is full, at a call that has no lasting effect when it fails.
    pub fn is_no_space(&self) -> bool {
        let full = matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        // A sync that says so has lost data that was accepted before.
        full && self.op != Op::Sync
    }
}

/// A file system.
pub trait Disk: Send + Sync {
    /// Makes a new file, open for reading and writing. An existing one is an error.
    fn create(&self, path: &Path) -> Result<Box<dyn File>, DiskError>;

    /// Opens a file for reading and writing. `None` if it is not there.
    fn open(&self, path: &Path) -> Result<Option<Box<dyn File>>, DiskError>;

    /// Gives a file another name, in place of what has that name now. Durable after [`Disk::sync_dir`].
    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError>;

    /// Removes a file; one that is not there is already removed. Durable after [`Disk::sync_dir`].
    fn remove(&self, path: &Path) -> Result<(), DiskError>;

    /// Removes an empty folder; one that is not there is already removed. Durable after [`Disk::sync_dir`].
    fn remove_dir(&self, path: &Path) -> Result<(), DiskError>;

    /// Makes one folder. `false` if it is there already. Durable after [`Disk::sync_dir`] of its parent.
    fn create_dir(&self, path: &Path) -> Result<bool, DiskError>;

    /// Makes the names in a folder durable.
    fn sync_dir(&self, path: &Path) -> Result<(), DiskError>;

    /// The names in a folder, sorted. A folder that is not there has none.
    fn list(&self, path: &Path) -> Result<Vec<String>, DiskError>;

    /// Whether there is a file or a folder of that name.
    fn exists(&self, path: &Path) -> Result<bool, DiskError>;

    /// How many bytes can still be written on the file system that holds this path.
    fn free(&self, path: &Path) -> Result<u64, DiskError>;

    /// Refuses, as a write to a full disk would, when fewer bytes than that can still be written there.
    fn require(&self, path: &Path, bytes: u64) -> Result<(), DiskError> {
        if self.free(path)? >= bytes {
            return Ok(());
        }
        Err(DiskError::full(path))
    }

    /// Makes a folder and those above it, all durable.
    fn create_dir_all(&self, path: &Path) -> Result<(), DiskError> {
        if path.as_os_str().is_empty() || self.exists(path)? {
            return Ok(());
        }
        let parent = parent(path);
        self.create_dir_all(parent)?;
        self.create_dir(path)?;
        self.sync_dir(parent)
    }

    /// The bytes of a whole file. `None` if it is not there.
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, DiskError> {
        let Some(file) = self.open(path)? else {
            return Ok(None);
        };
        let length = usize::try_from(file.len()?).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length];
        let read = file.read_at(0, &mut bytes)?;
        bytes.truncate(read);
        Ok(Some(bytes))
    }

    /// Puts a whole file in place of what has that name, durably: a reader finds the old bytes or the new ones.
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
        let temp = with_suffix(path, ".new");
        self.remove(&temp)?;
        let written = self.create(&temp).and_then(|file| {
            file.write_at(0, bytes)?;
            file.sync_all()
        });
        if let Err(e) = written {
            // Best effort: the next call removes it as well, and the error that matters is the first.
            let _ = self.remove(&temp);
            return Err(e);
        }
        self.rename(&temp, path)?;
        self.sync_dir(parent(path))
    }
}

/// An open file. All positions are in bytes from the beginning.
pub trait File: Send + Sync {
    /// Fills the buffer from that position on, and says how much there was: less only at the end of the file.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError>;

    /// Writes all bytes at that position. The file grows when they go beyond its end.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError>;

    /// Makes the bytes durable, and the length as far as it takes to read them.
    fn sync_data(&self) -> Result<(), DiskError>;

    /// Makes the bytes and everything about the file durable.
    fn sync_all(&self) -> Result<(), DiskError>;

    /// The length.
    fn len(&self) -> Result<u64, DiskError>;

    /// Whether there are no bytes.
    fn is_empty(&self) -> Result<bool, DiskError> {
        Ok(self.len()? == 0)
    }

    /// Sets the length; what is new reads as zeros and may have no space yet.
    fn truncate(&self, length: u64) -> Result<(), DiskError>;

    /// Writes all bytes at the end.
    fn append(&self, bytes: &[u8]) -> Result<(), DiskError> {
        self.write_at(self.len()?, bytes)
    }

    /// Writes zeros from the end up to that length, so that the space is there and later writes change no metadata.
    fn preallocate(&self, length: u64) -> Result<(), DiskError> {
        let mut at = self.len()?;
        let zeros = vec![0; ZEROS.min(usize::try_from(length.saturating_sub(at)).unwrap_or(ZEROS))];
        while at < length {
            let next = zeros.len().min(usize::try_from(length - at).unwrap_or(ZEROS));
            self.write_at(at, &zeros[..next])?;
            at += next as u64;
        }
        Ok(())
    }
}

/// The folder a path stands in.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => path,
    }
}

/// The same path with something appended to its name.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The real disk, as everyone shares it.
pub fn real() -> Arc<dyn Disk> {
    Arc::new(RealDisk)
}

/// The file system of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> Result<Box<dyn File>, DiskError> {
        use std::os::unix::fs::OpenOptionsExt as _;
        // The keys of openings are among these files, and nobody else has to read any of them.
        let opened = std::fs::OpenOptions::new().read(true).write(true).create_new(true).mode(0o640).open(path);
        let file = opened.map_err(|e| DiskError::new(Op::Create, path, e))?;
        Ok(Box::new(RealFile { file, path: path.to_owned() }))
    }

    fn open(&self, path: &Path) -> Result<Option<Box<dyn File>>, DiskError> {
        match std::fs::OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => Ok(Some(Box::new(RealFile { file, path: path.to_owned() }))),
            Err(e) if is_absent(&e) => Ok(None),
            Err(e) => Err(DiskError::new(Op::Open, path, e)),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        std::fs::rename(from, to).map_err(|e| DiskError::new(Op::Rename, to, e))
    }

    fn remove(&self, path: &Path) -> Result<(), DiskError> {
        absent_is_done(std::fs::remove_file(path), path)
    }

    fn remove_dir(&self, path: &Path) -> Result<(), DiskError> {
        absent_is_done(std::fs::remove_dir(path), path)
    }

    fn create_dir(&self, path: &Path) -> Result<bool, DiskError> {
        match std::fs::create_dir(path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(e) => Err(DiskError::new(Op::Create, path, e)),
        }
    }

    fn sync_dir(&self, path: &Path) -> Result<(), DiskError> {
        let synced = std::fs::File::open(path).and_then(|folder| folder.sync_all());
        synced.map_err(|e| DiskError::new(Op::Sync, path, e))
    }

    fn list(&self, path: &Path) -> Result<Vec<String>, DiskError> {
        let failed = |e| DiskError::new(Op::Read, path, e);
        let entries = match std::fs::read_dir(path) {
            Ok(entries) => entries,
            Err(e) if is_absent(&e) => return Ok(Vec::new()),
            Err(e) => return Err(failed(e)),
        };
        let mut names = Vec::new();
        for entry in entries {
            names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn exists(&self, path: &Path) -> Result<bool, DiskError> {
        path.try_exists().map_err(|e| DiskError::new(Op::Read, path, e))
    }

    fn free(&self, path: &Path) -> Result<u64, DiskError> {
        let stat = rustix::fs::statvfs(path).map_err(|e| DiskError::new(Op::Read, path, e.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn absent_is_done(removed: io::Result<()>, path: &Path) -> Result<(), DiskError> {
    match removed {
        Err(e) if !is_absent(&e) => Err(DiskError::new(Op::Remove, path, e)),
        _ => Ok(()),
    }
}

struct RealFile {
    file: std::fs::File,
    path: PathBuf,
}

impl RealFile {
    fn failed(&self, op: Op) -> impl FnOnce(io::Error) -> DiskError + '_ {
        move |e| DiskError::new(op, &self.path, e)
    }
}

impl File for RealFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.failed(Op::Read)(e)),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.file.write_all_at(bytes, offset).map_err(self.failed(Op::Write))
    }

    fn sync_data(&self) -> Result<(), DiskError> {
        self.file.sync_data().map_err(self.failed(Op::Sync))
    }

    fn sync_all(&self) -> Result<(), DiskError> {
        self.file.sync_all().map_err(self.failed(Op::Sync))
    }

    fn len(&self) -> Result<u64, DiskError> {
        Ok(self.file.metadata().map_err(self.failed(Op::Read))?.len())
    }

    fn truncate(&self, length: u64) -> Result<(), DiskError> {
        self.file.set_len(length).map_err(self.failed(Op::Write))
    }
}
