//! The witness's key file: one line, `PRIVATE+KEY+<name>+<key ID>+<base64>`.
//!
//! The name is in the key, so nothing else can disagree with it. The file is made once, never
//! overwritten, and refused when anybody but its owner may read it.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tlog::cosignature::Cosigner;
use tlog::key::{KeyName, SecretError};
use zeroize::Zeroizing;

use crate::disk;

/// Why there is no key to sign with.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file is not there.
    #[error("{} does not exist; `solelog-witness keygen` makes a key", .0.display())]
    Missing(PathBuf),
    /// A key is there already; it is never overwritten.
    #[error("{} exists; a key is never overwritten", .0.display())]
    Exists(PathBuf),
    /// Others may read or change it.
    #[error("{} has mode {mode:03o}; others may read it: chmod 600, or better a new key", path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It holds no cosigner's key.
    #[error("{}: {error}", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: SecretError,
    },
    /// It can't be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The system has no randomness to give.
    #[error("no randomness: {0}")]
    Randomness(getrandom::Error),
}

/// Where the key of the witness in `dir` is.
fn path(dir: &Path) -> PathBuf {
    dir.join("witness.key")
}

/// Makes a new key under `name` in `dir`.
pub fn create(dir: &Path, name: KeyName) -> Result<Cosigner, KeyError> {
    let path = path(dir);
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).map_err(KeyError::Randomness)?;
    let cosigner = Cosigner::new(name, &seed);
    let mut text = cosigner.to_secret_text();
    text.push('\n');
    match disk::create(&path, text.as_bytes()) {
        Ok(()) => Ok(cosigner),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(KeyError::Exists(path)),
        Err(error) => Err(KeyError::Io { path, error }),
    }
}

/// Reads the key in `dir`.
pub fn load(dir: &Path) -> Result<Cosigner, KeyError> {
    let path = path(dir);
    let read = || {
        // The mode of the very file that is read, not of one that took its name since.
        let mut file = std::fs::File::open(&path)?;
        let mode = file.metadata()?.permissions().mode() & 0o777;
        let mut text = Zeroizing::new(String::new());
        io::Read::read_to_string(&mut file, &mut text)?;
        Ok((mode, text))
    };
    let (mode, text) = match read() {
        Ok(read) => read,
        Err(error) if io::Error::kind(&error) == io::ErrorKind::NotFound => {
            return Err(KeyError::Missing(path));
        }
        Err(error) => return Err(KeyError::Io { path, error }),
    };
    if mode & 0o077 != 0 {
        return Err(KeyError::Permissions { path, mode });
    }
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Cosigner::parse(line).map_err(|error| KeyError::Secret { path, error })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(load(dir.path()), Err(KeyError::Missing(_))));
        let name = KeyName::new("witness.example/w1").unwrap();
        let made = create(dir.path(), name.clone()).unwrap();
        let read = load(dir.path()).unwrap();
        assert_eq!(read.vkey(), made.vkey());
        assert_eq!(read.vkey().name(), &name);
        let again = create(dir.path(), name);
        assert!(matches!(again, Err(KeyError::Exists(_))));
        assert_eq!(load(dir.path()).unwrap().vkey(), made.vkey());
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        create(dir.path(), KeyName::new("w").unwrap()).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o602] {
            fs::set_permissions(path(dir.path()), fs::Permissions::from_mode(mode)).unwrap();
            let refused = load(dir.path());
            assert!(matches!(refused, Err(KeyError::Permissions { .. })));
        }
        fs::set_permissions(path(dir.path()), fs::Permissions::from_mode(0o400)).unwrap();
        load(dir.path()).unwrap();
    }

    #[test]
    fn a_logs_key_is_not_a_witnesss_key() {
        let dir = tempfile::tempdir().unwrap();
        let signer = tlog::key::Signer::note(KeyName::new("w").unwrap(), &[1; 32]);
        disk::create(&path(dir.path()), signer.to_secret_text().as_bytes()).unwrap();
        let refused = load(dir.path());
        assert!(matches!(refused, Err(KeyError::Secret { .. })));
    }
}
