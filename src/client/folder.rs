//! Where a device keeps what it must not forget: [`Memory`], and [`Folder`], the one made of files.
//!
//! ```text
//! state.json              what the device knows (`state.rs`), 0600
//! <n>.receipt.json        what it keeps of its own instructions
//! lock                    one process at a time
//! ```
//!
//! A save is whole or it did not happen: a file beside the old one, synced, renamed over it, and the name synced. When
//! [`Memory::save`] has returned, a power cut can't undo it: everything that a device promises rests on that.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// The longest file that is read back, in bytes.
const LONGEST: u64 = 16 << 20;

/// Something to keep files in, such as a folder or a phone's own storage.
pub trait Memory: Send + Sync {
    /// The bytes that were saved under this name.
    ///
    /// # Errors
    /// [`MemoryError`].
    fn load(&self, name: &str) -> Result<Option<Vec<u8>>, MemoryError>;

    /// Saves bytes under a name, in place of what had it. Durable, and all or nothing, when it returns; after an error
    /// either the old or the new bytes are there.
    ///
    /// # Errors
    /// [`MemoryError`].
    fn save(&self, name: &str, bytes: &[u8]) -> Result<(), MemoryError>;

    /// All names, in no order.
    ///
    /// # Errors
    /// [`MemoryError`].
    fn names(&self) -> Result<Vec<String>, MemoryError>;
}

/// Why something can't be kept or read back.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The file system. What was asked for may have happened.
    #[error("{}: {error}", path.display())]
    File {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Others on this machine can read it.
    #[error("others can read {} (mode {mode:o}): make it 0600, a folder 0700, and ask yourself who has read it", path.display())]
    TooOpen {
        /// Which file or folder.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Another process has it.
    #[error("{} is in use by another process: one device is one process", .0.display())]
    InUse(PathBuf),
    /// Longer than anything that was ever written here.
    #[error("{} is too long to be ours", .0.display())]
    TooLong(PathBuf),
    /// What was read back is not what is written there.
    #[error("{name} can't be read back: {fault}; restore it from where it was copied, or enrol anew")]
    Damaged {
        /// Which one.
        name: String,
        /// What is wrong with it.
        fault: String,
    },
}

impl MemoryError {
    fn at(path: &Path) -> impl FnOnce(io::Error) -> MemoryError {
        let path = path.to_owned();
        move |error| MemoryError::File { path, error }
    }
}

/// A folder that only its owner can read, locked for as long as this value lives.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Opens the folder, makes it (0700) where it is not there yet, and locks it.
    ///
    /// # Errors
    /// [`MemoryError::InUse`], [`MemoryError::TooOpen`], or the file system's.
    pub fn open(path: impl Into<PathBuf>) -> Result<Folder, MemoryError> {
        let path = path.into();
        make_private_folder(&path)?;
        let lock_path = path.join("lock");
        let lock = private(OpenOptions::new().create(true).truncate(false).write(true))
            .open(&lock_path)
            .map_err(MemoryError::at(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Folder { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(MemoryError::InUse(path)),
            Err(TryLockError::Error(error)) => Err(MemoryError::File { path: lock_path, error }),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Memory for Folder {
    fn load(&self, name: &str) -> Result<Option<Vec<u8>>, MemoryError> {
        read_private(&self.path.join(name))
    }

    fn save(&self, name: &str, bytes: &[u8]) -> Result<(), MemoryError> {
        write_private(&self.path.join(name), bytes)
    }

    fn names(&self) -> Result<Vec<String>, MemoryError> {
        let at = || MemoryError::at(&self.path);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path).map_err(at())? {
            let name = entry.map_err(at())?.file_name();
            names.extend(name.to_str().filter(|name| !name.ends_with(".new")).map(str::to_owned));
        }
        Ok(names)
    }
}

/// Makes a folder for its owner alone, or checks that it is one.
pub(crate) fn make_private_folder(path: &Path) -> Result<(), MemoryError> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(MemoryError::at(path))?;
    let metadata = std::fs::metadata(path).map_err(MemoryError::at(path))?;
    // Listing a folder gives nothing away that the files in it keep; writing into it does.
    refuse_loose(path, &metadata, 0o022)
}

/// Reads a file that only its owner may read. `None` if it is not there.
pub(crate) fn read_private(path: &Path) -> Result<Option<Vec<u8>>, MemoryError> {
    let at = || MemoryError::at(path);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at()(error)),
    };
    refuse_loose(path, &file.metadata().map_err(at())?, 0o077)?;
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(at())?;
    if bytes.len() as u64 > LONGEST { Err(MemoryError::TooLong(path.to_owned())) } else { Ok(Some(bytes)) }
}

/// Writes a file that only its owner may read: whole, durable, or not at all.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), MemoryError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let at = || MemoryError::at(&beside);
    // One that was left by a crash may have another mode, so it is not written into.
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at()(error)),
        _ => {}
    }
    let mut file = private(OpenOptions::new().create_new(true).write(true)).open(&beside).map_err(at())?;
    file.write_all(bytes).map_err(at())?;
    file.sync_all().map_err(at())?;
    std::fs::rename(&beside, path).map_err(MemoryError::at(path))?;
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    sync_folder(folder)
}

/// Makes the names in a folder durable.
#[cfg(unix)]
pub(crate) fn sync_folder(folder: &Path) -> Result<(), MemoryError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(MemoryError::at(folder))
}

/// Other systems make names durable with the file, and can't open a folder.
#[cfg(not(unix))]
pub(crate) fn sync_folder(_folder: &Path) -> Result<(), MemoryError> {
    Ok(())
}

/// For its owner alone. Where there are no such modes, a person's folder is private already.
pub(crate) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

#[cfg(unix)]
fn refuse_loose(path: &Path, metadata: &std::fs::Metadata, not: u32) -> Result<(), MemoryError> {
    let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777;
    if mode & not == 0 { Ok(()) } else { Err(MemoryError::TooOpen { path: path.to_owned(), mode }) }
}

#[cfg(not(unix))]
fn refuse_loose(_path: &Path, _metadata: &std::fs::Metadata, _not: u32) -> Result<(), MemoryError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time() {
        let temp = tempfile::tempdir().unwrap();
        let held = Folder::open(temp.path()).unwrap();
        assert!(matches!(Folder::open(temp.path()), Err(MemoryError::InUse(_))));
        drop(held);
        Folder::open(temp.path()).unwrap();
    }

    #[test]
    fn a_save_replaces_and_a_half_written_one_does_not_count() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::open(temp.path().join("device")).unwrap();
        assert!(folder.load("state.json").unwrap().is_none());
        folder.save("state.json", b"one").unwrap();
        // A crash in the middle of the next save.
        std::fs::write(folder.path().join("state.json.new"), b"tw").unwrap();
        assert_eq!(folder.load("state.json").unwrap().unwrap(), b"one");
        assert!(!folder.names().unwrap().iter().any(|name| name.ends_with(".new")));
        folder.save("state.json", b"two").unwrap();
        assert_eq!(folder.load("state.json").unwrap().unwrap(), b"two");
    }

    #[cfg(unix)]
    #[test]
    fn files_are_private_and_looser_ones_are_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::open(temp.path().join("device")).unwrap();
        folder.save("state.json", b"one").unwrap();
        let path = folder.path().join("state.json");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(folder.path()), mode(&path)), (0o700, 0o600));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(folder.load("state.json"), Err(MemoryError::TooOpen { mode: 0o640, .. })));
        drop(folder);
        let open = temp.path().join("device");
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(Folder::open(open), Err(MemoryError::TooOpen { .. })));
    }
}
