//! The inbox: what an operator wants of a witness that runs.
//!
//! ```text
//! log add, list ── folder is locked ──▶ inbox/<hash>.toml ──▶ the process that has the lock: state, configuration
//!                                                             done: the file is gone.  not understood: *.refused
//! ```
//!
//! The process that holds the folder's lock is the only one that touches configuration and state.
//! So a second one leaves a note with what is to be added, and the first takes it up within a
//! second; what nobody has taken up waits for the next start.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tlog::LeafHash;

use crate::config::{Additions, ConfigError};
use crate::disk::beside;
use crate::witness::{OpenError, Witness};

const FOLDER: &str = "inbox";
const SUFFIX: &str = "toml";
/// What is added to the name of a note that was not understood.
pub const REFUSED: &str = ".refused";
/// The longest note. A list of logs has its own place.
const MAX_NOTE: u64 = 1024 * 1024;

/// Why a note was not taken up.
#[derive(Debug, thiserror::Error)]
pub enum InboxError {
    /// It can't be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// The note.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It is not understood.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// It could not be put into force.
    #[error("{0}")]
    Open(#[from] OpenError),
}

/// Leaves a note for the witness in `dir`. Gives its path, at which there is nothing more when it
/// was taken up.
pub fn put(dir: &Path, additions: &Additions) -> Result<PathBuf, ConfigError> {
    let text = additions.to_toml()?;
    // The same wish has the same name: asking twice is asking once.
    let name = LeafHash::of(text.as_bytes()).to_string();
    let path = folder(dir).join(&name[..16]).with_extension(SUFFIX);
    let write = || {
        open_folder(dir)?;
        let temporary = beside(&path, ".tmp");
        let mut options = fs::OpenOptions::new();
        // No secrets, and it may be root who asks; the folder above is its owner's alone.
        options.write(true).create(true).truncate(true).mode(0o644).open(&temporary)?.write_all(text.as_bytes())?;
        fs::rename(&temporary, &path)
    };
    match write() {
        Ok(()) => Ok(path),
        Err(error) => Err(ConfigError::Write { path, error: crate::disk::ReplaceError::Unchanged(error) }),
    }
}

/// Makes the inbox of the witness in `dir`, so that it is its own and not of whoever asks first.
pub fn open_folder(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder(dir))
}

/// Takes up everything that waits in the inbox of the witness in `dir`: for each note, whether
/// anything is new. Blocks for the disk.
pub fn take_up(witness: &Witness, dir: &Path) -> Vec<Result<Additions, InboxError>> {
    let waiting: BTreeSet<PathBuf> = (fs::read_dir(folder(dir)).into_iter().flatten().flatten())
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == SUFFIX))
        .collect();
    (waiting.iter())
        .map(|path| {
            let taken = read(path).and_then(|additions| {
                witness.add(&additions)?;
                Ok(additions)
            });
            // What can't be taken away would be taken up again, which changes nothing any more.
            let _ = match &taken {
                Ok(_) => fs::remove_file(path),
                Err(_) => fs::rename(path, beside(path, REFUSED)),
            };
            taken
        })
        .collect()
}

fn read(path: &Path) -> Result<Additions, InboxError> {
    let failed = |error| InboxError::Read { path: path.to_owned(), error };
    let length = fs::metadata(path).map_err(failed)?.len();
    if length > MAX_NOTE {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    Ok(Additions::from_toml(path, &text)?)
}

fn folder(dir: &Path) -> PathBuf {
    dir.join(FOLDER)
}
