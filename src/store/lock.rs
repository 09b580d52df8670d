//! The lock: one process runs a log.
//!
//! An exclusive `flock` on a file of its own, which is never opened for anything else. The lock ends with the process,
//! however it ends, so a file that lies around locks nobody out. It does not protect from a copy of the folder on
//! another machine: the rollback guard does (DESIGN §6).
//!
//! This is the one file of the store that does not go through [`super::disk::Disk`]: a lock is about processes, not bytes.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Why the folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// A process runs this log already.
    #[error(
        "{} is in use by {holder}. One process runs a log: stop that one first, or use another folder. \
         Do not remove the file; it frees itself when the process ends", path.display()
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Who holds it.
        holder: Holder,
    },
    /// The lock file could not be used.
    #[error("locking {}: {source}", path.display())]
    Failed {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Who holds a lock, as far as the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The process, or `None` when it has not written its name yet.
    pub pid: Option<u32>,
    /// When it took the lock, in seconds since 1970.
    pub since_s: Option<u64>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.pid, self.since_s) {
            (Some(pid), Some(since)) => write!(f, "process {pid} (since {since} s after 1970; `ps -p {pid}` shows it)"),
            (Some(pid), None) => write!(f, "process {pid}"),
            _ => f.write_str("a process that is just starting"),
        }
    }
}

/// A lock that is held. Dropping it lets go.
#[derive(Debug)]
pub struct Lock {
    // Never read again: closing it is what unlocks.
    _file: File,
}

impl Lock {
    /// Takes the lock, or says who has it.
    pub fn acquire(path: &Path) -> Result<Lock, LockError> {
        let failed = |source| LockError::Failed { path: path.to_owned(), source };
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = opened.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = Holder::read(&mut file).map_err(failed)?;
                return Err(LockError::Locked { path: path.to_owned(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let since_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        file.set_len(0).map_err(failed)?;
        writeln!(file, "{} {since_s}", std::process::id()).map_err(failed)?;
        Ok(Lock { _file: file })
    }
}

impl Holder {
    fn read(file: &mut File) -> std::io::Result<Holder> {
        let mut text = String::new();
        file.rewind()?;
        file.take(64).read_to_string(&mut text)?;
        let mut words = text.split_whitespace();
        Ok(Holder {
            pid: words.next().and_then(|w| w.parse().ok()),
            since_s: words.next().and_then(|w| w.parse().ok()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_and_told_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Lock::acquire(&path).unwrap();
        let refused = Lock::acquire(&path).unwrap_err();
        let LockError::Locked { holder, .. } = &refused else { panic!("{refused}") };
        assert_eq!(holder.pid, Some(std::process::id()));
        assert!(holder.since_s.is_some());
        assert!(refused.to_string().contains(&format!("process {}", std::process::id())));
        drop(held);
        Lock::acquire(&path).unwrap();
    }

    #[test]
    fn a_file_left_by_a_dead_process_locks_nobody_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        std::fs::write(&path, "4194304000 1\n and much more text than a holder ever writes").unwrap();
        let _held = Lock::acquire(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().split_whitespace().count(), 2);
    }
}
