//! The key folder.
//!
//! ```text
//! log.key          signs checkpoints: PRIVATE+KEY+<origin>+<id>+<base64>. Ed25519
//! log.old.key      the one before, which signs them too until a rotation is finished
//! log.ml-dsa.key   signs them beside those, with ML-DSA-44; may be missing
//! master.0.key     a master secret; the newest has the largest number
//! issuing.key      signs credentials: PKCS#8 in PEM, P-256
//! document.key     signs documents: the same; may be missing
//! ```
//! A provider that runs its part of SCAL3 elsewhere has `log.key` alone. Whoever has a master secret or an issuing key
//! must have both: half a provider would enrol people whom it cannot serve.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use p256::SecretKey;
use p256::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, LineEnding};
use zeroize::Zeroizing;

use super::file::{self, KeyFileError};
use super::soft::{draw, public};
use super::unlock::Unlock;
use super::{SoftKeys, master};

/// The log's own key.
pub const LOG: &str = "log.key";
/// The key that signs credentials.
pub const ISSUING: &str = "issuing.key";
/// The key that signs documents.
pub const DOCUMENT: &str = "document.key";

/// The file of a master secret.
pub fn master_name(epoch: u32) -> String {
    format!("master.{epoch}.key")
}

/// Why a key folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFolderError {
    /// One of its files.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// The folder itself.
    #[error("cannot read the key folder {folder}: {error}")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A key that every provider needs is not there.
    #[error("there is no {name} in the key folder {folder}")]
    Missing {
        /// The file.
        name: String,
        /// The folder.
        folder: PathBuf,
    },
}

impl SoftKeys {
    /// Reads a key folder.
    pub fn open(folder: &Path, unlock: &Unlock) -> Result<SoftKeys, KeyFolderError> {
        let missing = |name: &str| KeyFolderError::Missing { name: name.to_owned(), folder: folder.to_owned() };
        let mut masters = BTreeMap::new();
        for epoch in epochs(folder, unlock)? {
            masters.insert(epoch, read_master(&folder.join(master_name(epoch)), epoch, unlock)?);
        }
        let issuing = read_ec(&folder.join(ISSUING), unlock)?.ok_or_else(|| missing(ISSUING))?;
        let document = read_ec(&folder.join(DOCUMENT), unlock)?;
        SoftKeys::new(masters, &issuing, document.as_ref()).ok_or_else(|| missing(&master_name(0)))
    }

    /// Reads a key folder; `None` when it has neither a master secret nor an issuing key, so that the provider runs its
    /// part of SCAL3 elsewhere.
    pub fn open_if_any(folder: &Path, unlock: &Unlock) -> Result<Option<SoftKeys>, KeyFolderError> {
        let issuing = file::locate(&folder.join(ISSUING), unlock)?.exists();
        if !issuing && epochs(folder, unlock)?.is_empty() { Ok(None) } else { SoftKeys::open(folder, unlock).map(Some) }
    }
}

/// Makes an issuing or document key: the private half as PEM, the public half as a compressed point.
pub fn new_ec() -> Result<(Zeroizing<String>, [u8; 33]), getrandom::Error> {
    let key = draw()?;
    match key.to_pkcs8_pem(LineEnding::LF) {
        Ok(pem) => Ok((pem, public(&key))),
        Err(_) => unreachable!("a P-256 key has an encoding"),
    }
}

/// The epochs of the master secrets that are there, as files or as credentials.
pub fn epochs(folder: &Path, unlock: &Unlock) -> Result<BTreeSet<u32>, KeyFolderError> {
    let mut epochs = BTreeSet::new();
    for folder in [Some(folder), unlock.credentials()].into_iter().flatten() {
        let cannot = |error| KeyFolderError::Folder { folder: folder.to_owned(), error };
        let files = match std::fs::read_dir(folder) {
            Ok(files) => files,
            // All keys may be credentials.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(cannot(error)),
        };
        for file in files {
            let path = file.map_err(cannot)?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(number) = name.and_then(|n| n.strip_prefix("master.")).and_then(|n| n.strip_suffix(".key")) else {
                continue;
            };
            // One spelling: master.00.key beside master.0.key would be two secrets of one epoch.
            let epoch = number.parse::<u32>().ok().filter(|epoch| epoch.to_string() == number);
            epochs.insert(epoch.ok_or_else(|| KeyFileError::Content {
                path: path.clone(),
                what: "a master secret",
                fault: "its name has no epoch",
            })?);
        }
    }
    Ok(epochs)
}

/// Reads the master secret of an epoch.
pub fn read_master(path: &Path, epoch: u32, unlock: &Unlock) -> Result<threshold::MasterSecret, KeyFileError> {
    let text = file::read(path, unlock)?;
    let wrong = |fault| KeyFileError::Content { path: path.to_owned(), what: "a master secret", fault };
    master::parse(&text, epoch).map_err(wrong)
}

/// Reads an issuing or document key; `None` when there is none.
pub fn read_ec(path: &Path, unlock: &Unlock) -> Result<Option<SecretKey>, KeyFileError> {
    let text = match file::read(path, unlock) {
        Ok(text) => text,
        Err(KeyFileError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let wrong = |_| KeyFileError::Content { path: path.to_owned(), what: "a P-256 key", fault: "not PKCS#8 in PEM" };
    Ok(Some(SecretKey::from_pkcs8_pem(&text).map_err(wrong)?))
}

/// The public half of an issuing or document key, in hex.
pub fn read_ec_public(path: &Path, unlock: &Unlock) -> Result<String, KeyFileError> {
    let missing = || KeyFileError::Content { path: path.to_owned(), what: "a P-256 key", fault: "it is gone" };
    Ok(hex::encode(public(&read_ec(path, unlock)?.ok_or_else(missing)?)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use scal3::Hash;

    use super::*;
    use crate::keys::{KeyStore as _, new_master, write_new};

    fn folder(epochs: &[u32]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("folder");
        for epoch in epochs {
            let text = new_master(*epoch).expect("drawn");
            write_new(&folder.path().join(master_name(*epoch)), &text).expect("written");
        }
        write_new(&folder.path().join(ISSUING), &new_ec().expect("drawn").0).expect("written");
        folder
    }

    fn open(folder: &tempfile::TempDir) -> Result<SoftKeys, String> {
        SoftKeys::open(folder.path(), &Unlock::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_folder_gives_the_same_keys_each_time() {
        let folder = folder(&[0, 1, 10]);
        let (pem, public) = new_ec().expect("drawn");
        write_new(&folder.path().join(DOCUMENT), &pem).expect("written");
        let (one, two) = (open(&folder).expect("opens"), open(&folder).expect("opens"));
        assert_eq!(one.epoch(), 10);
        assert_eq!(one.document_key(), Some(public));
        assert_eq!(one.issuing_key(), two.issuing_key());
        for epoch in [0, 1, 10] {
            let id = Hash([1; 32]);
            assert_eq!(one.kem_public(epoch, &id).expect("public"), two.kem_public(epoch, &id).expect("public"));
        }
    }

    #[test]
    fn half_a_provider_is_refused_and_none_is_not() {
        let empty = tempfile::tempdir().expect("folder");
        assert!(open(&empty).expect_err("no keys").contains("no issuing.key"));
        assert!(SoftKeys::open_if_any(empty.path(), &Unlock::default()).expect("reads").is_none());
        let half = folder(&[]);
        assert!(open(&half).expect_err("no master").contains("no master.0.key"));
        assert!(SoftKeys::open_if_any(half.path(), &Unlock::default()).is_err());
        assert!(SoftKeys::open_if_any(folder(&[0]).path(), &Unlock::default()).expect("reads").is_some());
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let folder = folder(&[0]);
        for name in ["master.0.key", ISSUING] {
            let path = folder.path().join(name);
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("mode");
            assert!(open(&folder).expect_err("loose").contains("mode 0640"));
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("mode");
        }
        assert!(open(&folder).is_ok());
    }

    #[test]
    fn a_key_file_is_never_replaced() {
        let folder = folder(&[0]);
        assert!(write_new(&folder.path().join("master.0.key"), "other").is_err());
        assert!(open(&folder).is_ok());
    }

    #[test]
    fn every_key_may_be_a_credential() {
        let systemd = folder(&[0, 4]);
        let unlock = Unlock::default().with_credentials(systemd.path().to_owned());
        let keys = SoftKeys::open(Path::new("/nonexistent/keys"), &unlock).expect("opens");
        assert_eq!(keys.epoch(), 4);
        assert!(SoftKeys::open_if_any(Path::new("/nonexistent/keys"), &unlock).expect("opens").is_some());
    }

    #[test]
    fn an_epoch_has_one_spelling() {
        for name in ["master.00.key", "master.x.key", "master.-1.key", "master.4294967296.key"] {
            let folder = folder(&[0]);
            write_new(&folder.path().join(name), &new_master(0).expect("drawn")).expect("written");
            assert!(open(&folder).expect_err(name).contains("no epoch"), "{name}");
        }
    }
}
