//! Files that survive a power cut: whole, or not there, or the ones before.
//!
//! ```text
//! write name.tmp -> fsync -> link name to name.old -> rename name.tmp to name -> fsync the folder
//! ```
//!
//! The rename is the moment of truth. A failure before it has changed nothing; at or after it
//! nobody can tell what a later start will find, and the two must not be mixed up.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Why a file was not replaced.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// The old file is still there, unharmed: no space left, no permission.
    #[error("nothing was changed: {0}")]
    Unchanged(io::Error),
    /// The old or the new one may be found later. A sync that failed is never tried again: the
    /// kernel may have thrown the bytes away and call them clean.
    #[error("the outcome is unknown: {0}")]
    Unclear(io::Error),
}

/// `path` with `suffix` added to its name.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Syncs the folder that `path` is in, so that its name is durable too.
fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Writes `bytes` to a new file at `path`, readable by its owner alone. Never overwrites: where
/// there is a file already, that is an error and it stays.
pub fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = beside(path, ".tmp");
    write_synced(&temporary, bytes)?;
    // A link, unlike a rename, fails where the name is taken.
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary)?;
    linked?;
    sync_folder_of(path)
}

/// Replaces the file at `path`, or makes it. The file before is kept at `path` + `.old`.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), ReplaceError> {
    let temporary = beside(path, ".tmp");
    let mut file = open_new(&temporary).and_then(|mut file| file.write_all(bytes).map(|()| file)).map_err(|error| {
        let _ = fs::remove_file(&temporary);
        ReplaceError::Unchanged(error)
    })?;
    file.flush().map_err(ReplaceError::Unchanged)?;
    file.sync_all().map_err(ReplaceError::Unclear)?;
    keep_old(path).map_err(ReplaceError::Unchanged)?;
    fs::rename(&temporary, path).map_err(ReplaceError::Unclear)?;
    sync_folder_of(path).map_err(ReplaceError::Unclear)
}

/// Gives the present file a second name, `.old`, so that there is no moment without either.
fn keep_old(path: &Path) -> io::Result<()> {
    let link = beside(path, ".old.tmp");
    match fs::remove_file(&link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    match fs::hard_link(path, &link) {
        Ok(()) => fs::rename(&link, beside(path, ".old")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Replaces a file that can be made again: whole or not at all, but not synced.
pub(crate) fn replace_derived(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = beside(path, ".tmp");
    open_new(&temporary)?.write_all(bytes)?;
    fs::rename(&temporary, path)
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = open_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Opens a temporary file, dropping what an interrupted writer left. Readable by its owner alone.
fn open_new(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_created_once_and_readable_by_its_owner_alone() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        create(&path, b"first").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let again = create(&path, b"second").unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_file_before_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        for (now, before) in [("1", None), ("2", Some("1")), ("3", Some("2"))] {
            // What an interrupted writer may have left is in nobody's way.
            fs::write(beside(&path, ".tmp"), "half").unwrap();
            fs::write(beside(&path, ".old.tmp"), "half").unwrap();
            replace(&path, now.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), now);
            let old = fs::read_to_string(beside(&path, ".old")).ok();
            assert_eq!(old.as_deref(), before);
        }
    }

    #[test]
    fn a_folder_that_is_gone_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gone/state");
        assert!(matches!(replace(&path, b"x"), Err(ReplaceError::Unchanged(_))));
    }
}
