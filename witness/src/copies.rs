//! Where the ledger is kept: two copies of one file, written one after the other.
//!
//! ```text
//! append to a -> sync a -> append to b -> sync b -> only now is it stored
//! ```
//!
//! At no moment are both copies being written. So after a crash at least one of them is whole, and
//! a copy that is not can be told from one that was damaged later: with one copy alone, a last
//! record that was torn by a crash, and one that was answered and rotted, look the same.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::disk::{self, ReplaceError};

/// One of the two copies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Copy {
    /// Written first.
    A,
    /// Written when the first one is on stable storage.
    B,
}

impl Copy {
    /// Both, in the order of writing.
    pub const BOTH: [Copy; 2] = [Copy::A, Copy::B];

    fn index(self) -> usize {
        match self {
            Copy::A => 0,
            Copy::B => 1,
        }
    }
}

impl fmt::Display for Copy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Copy::A => "heads.a",
            Copy::B => "heads.b",
        })
    }
}

/// What the ledger needs of a disk. A trait, so that tests can crash it at any call.
pub trait Copies: Send {
    /// The bytes of a copy; `None` where there is none.
    fn read(&mut self, copy: Copy) -> io::Result<Option<Vec<u8>>>;
    /// Puts `bytes` in place of a copy, durably, or leaves the one that is there.
    fn replace(&mut self, copy: Copy, bytes: &[u8]) -> Result<(), ReplaceError>;
    /// Appends to a copy. Not durable yet; after an error any part may have been appended.
    fn append(&mut self, copy: Copy, bytes: &[u8]) -> io::Result<()>;
    /// Makes durable what was appended. After an error nobody can tell what is.
    fn sync(&mut self, copy: Copy) -> io::Result<()>;
    /// Cuts a copy back to `length` bytes.
    fn truncate(&mut self, copy: Copy, length: u64) -> io::Result<()>;
    /// How long a copy may get, of which `fresh` bytes are what is in it, before it is written anew.
    fn longest(&self, fresh: usize) -> usize {
        8 * fresh + (64 << 10)
    }
}

/// The copies as two files in a folder.
#[derive(Debug)]
pub struct Files {
    folder: PathBuf,
    open: [Option<File>; 2],
}

impl Files {
    /// The copies in `folder`.
    #[must_use]
    pub fn new(folder: &Path) -> Files {
        Files { folder: folder.to_owned(), open: [None, None] }
    }

    fn path(&self, copy: Copy) -> PathBuf {
        self.folder.join(copy.to_string())
    }

    fn file(&mut self, copy: Copy) -> io::Result<&mut File> {
        let path = self.path(copy);
        let slot = &mut self.open[copy.index()];
        match slot {
            Some(file) => Ok(file),
            None => Ok(slot.insert(OpenOptions::new().append(true).mode(0o600).open(path)?)),
        }
    }
}

impl Copies for Files {
    fn read(&mut self, copy: Copy) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path(copy)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn replace(&mut self, copy: Copy, bytes: &[u8]) -> Result<(), ReplaceError> {
        self.open[copy.index()] = None;
        disk::replace(&self.path(copy), bytes)
    }

    fn append(&mut self, copy: Copy, bytes: &[u8]) -> io::Result<()> {
        self.file(copy)?.write_all(bytes)
    }

    fn sync(&mut self, copy: Copy) -> io::Result<()> {
        self.file(copy)?.sync_data()
    }

    fn truncate(&mut self, copy: Copy, length: u64) -> io::Result<()> {
        self.file(copy)?.set_len(length)
    }
}
