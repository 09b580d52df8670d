//! The witness's folder, and the lock that makes it the property of one process.
//!
//! ```text
//! witness.key          the secret keys                      (keys.rs)
//! witness.toml         where to listen, which logs to trust (config.rs)
//! state/heads.a, .b    the last head of each log, twice     (ledger.rs)
//! published/           what was cosigned last, to be served (published.rs)
//! inbox/               what an operator wants of a witness that runs (inbox.rs)
//! bastion.key          the key for a bastion, if there is one (bastion.rs)
//! lock                 held while a process works here; names it
//! ```
//!
//! Two processes with one state would each compare and swap with themselves, and cosign two
//! histories between them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// A folder that this process holds the lock of, until dropped.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    lock: File,
}

/// Why the folder can't be worked in.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// There is no such folder.
    #[error("{} does not exist; `solelog-witness up` or `keygen` makes it", .0.display())]
    Missing(PathBuf),
    /// Another process holds it.
    #[error("{} is in use by another process ({holder}); stop that one first", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
        /// What the holder wrote about itself.
        holder: String,
    },
    /// It can't be made, opened or locked.
    #[error("{}: {error}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl Drop for Folder {
    /// Lets go of the lock by itself: a child that is being started has the open file too, for the moment until it runs its
    /// program, and would keep it.
    fn drop(&mut self) {
        let _ = flock(&self.lock, FlockOperation::Unlock);
    }
}

impl Folder {
    /// Makes the folder where it is missing, and locks it.
    pub fn create(path: &Path) -> Result<Folder, FolderError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path.join("state"))
            .map_err(|error| at(path, error))?;
        Folder::open(path)
    }

    /// Locks a folder that is there.
    pub fn open(path: &Path) -> Result<Folder, FolderError> {
        if !path.is_dir() {
            return Err(FolderError::Missing(path.to_owned()));
        }
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(|error| at(path, error))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                let _ = lock.read_to_string(&mut holder);
                return Err(FolderError::Locked { path: path.to_owned(), holder: holder.trim().to_owned() });
            }
            Err(error) => return Err(at(path, error.into())),
        }
        name_holder(&mut lock).map_err(|error| at(path, error))?;
        Ok(Folder { path: path.to_owned(), lock })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of what was published.
    #[must_use]
    pub fn published(&self) -> PathBuf {
        self.path.join("published")
    }

    /// The folder of the logs' states.
    #[must_use]
    pub fn states(&self) -> PathBuf {
        self.path.join("state")
    }
}

fn at(path: &Path, error: io::Error) -> FolderError {
    FolderError::Io { path: path.to_owned(), error }
}

/// Writes who holds the lock, for whoever wonders. The lock itself is the kernel's.
fn name_holder(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "process {}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_and_told_who_the_first_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w");
        assert!(matches!(Folder::open(&path), Err(FolderError::Missing(_))));
        let first = Folder::create(&path).unwrap();
        let error = Folder::open(&path).unwrap_err();
        let process = format!("process {}", std::process::id());
        assert!(error.to_string().contains(&process), "{error}");
        drop(first);
        Folder::open(&path).unwrap();
    }
}
