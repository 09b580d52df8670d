//! The key folder.
//!
//! ```text
//! master.0.key     SOLELOG+MASTER+<epoch>+<id, 8 hex digits>+<base64 of 32 bytes>
//! master.1.key     ... the newest has the largest number
//! issuing.key      PKCS#8 in PEM, P-256
//! document.key     the same; may be missing
//! ```
//! Every file is readable by its owner only, or it is refused. A master secret is the one thing that cannot be made
//! again: with it go the shares of everybody who enrolled under it. Its line carries its number and an id that is
//! derived from it, so that a damaged or renamed file is noticed before anybody is enrolled under it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use base64ct::{Base64, Encoding as _};
use p256::SecretKey;
use p256::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, LineEnding};
use threshold::MasterSecret;
use zeroize::Zeroizing;

use super::SoftKeys;
use super::soft::{draw, public};
use crate::tokens::write_private;

const MASTER: &str = "SOLELOG+MASTER";

/// What opens key files. Plain files need nothing.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Unlock {}

/// Why keys can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFolderError {
    /// The system said no.
    #[error("cannot {doing} {path}: {error}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Others could have read or changed it.
    #[error("the key {path} has mode {mode:04o}: others can read or change it", path = .0.path.display(), mode = .0.mode)]
    Exposed(Exposed),
    /// Not a key of that kind.
    #[error("{path} is not {what}: {fault}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// What is wrong. Nothing of the content.
        fault: &'static str,
    },
    /// A key that every provider needs is not there.
    #[error("there is no {what} in {folder}")]
    Missing {
        /// What is missing.
        what: &'static str,
        /// The folder.
        folder: PathBuf,
    },
    /// No randomness.
    #[error("cannot draw randomness: {0}")]
    Random(#[from] getrandom::Error),
}

/// A key file that others could have read or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposed {
    /// The file.
    pub path: PathBuf,
    /// Its mode.
    pub mode: u32,
}

/// Reads a key file, unless others could have read or changed it before.
pub fn read(path: &Path, _unlock: &Unlock) -> Result<Zeroizing<String>, KeyFolderError> {
    let io = |error| KeyFolderError::Io { doing: "read", path: path.to_owned(), error };
    let mode = fs::metadata(path).map_err(io)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFolderError::Exposed(Exposed { path: path.to_owned(), mode }));
    }
    Ok(Zeroizing::new(fs::read_to_string(path).map_err(io)?))
}

impl SoftKeys {
    /// Reads a key folder.
    pub fn open(folder: &Path, unlock: &Unlock) -> Result<SoftKeys, KeyFolderError> {
        let mut masters = BTreeMap::new();
        for (epoch, path) in master_files(folder)? {
            masters.insert(epoch, read_master(&path, epoch, unlock)?);
        }
        let missing = |what| KeyFolderError::Missing { what, folder: folder.to_owned() };
        let issuing =
            read_ec(&folder.join("issuing.key"), unlock)?.ok_or_else(|| missing("issuing key (issuing.key)"))?;
        let document = read_ec(&folder.join("document.key"), unlock)?;
        SoftKeys::new(masters, &issuing, document.as_ref()).ok_or_else(|| missing("master secret (master.0.key)"))
    }
}

/// Makes the master secret of an epoch.
pub fn new_master(epoch: u32) -> Result<Zeroizing<String>, KeyFolderError> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut_slice())?;
    Ok(master_text(epoch, &bytes))
}

/// Makes an issuing or document key: the private half as PEM, the public half as a compressed point.
pub fn new_ec() -> Result<(Zeroizing<String>, [u8; 33]), KeyFolderError> {
    let key = draw()?;
    match key.to_pkcs8_pem(LineEnding::LF) {
        Ok(pem) => Ok((pem, public(&key))),
        Err(_) => unreachable!("a P-256 key has an encoding"),
    }
}

/// Writes a new key file; one that is there is never replaced.
pub fn write_new(path: &Path, text: &str) -> Result<(), KeyFolderError> {
    let text = Zeroizing::new(format!("{}\n", text.trim_end()));
    write_private(path, text.as_bytes(), false).map_err(|error| KeyFolderError::Io {
        doing: "write the key",
        path: path.to_owned(),
        error,
    })
}

/// The files of master secrets, by epoch.
fn master_files(folder: &Path) -> Result<BTreeMap<u32, PathBuf>, KeyFolderError> {
    let io = |error| KeyFolderError::Io { doing: "read", path: folder.to_owned(), error };
    let mut files = BTreeMap::new();
    for file in fs::read_dir(folder).map_err(io)? {
        let path = file.map_err(io)?.path();
        let Some(number) = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.strip_prefix("master."))
            .and_then(|rest| rest.strip_suffix(".key"))
        else {
            continue;
        };
        // One spelling: master.00.key beside master.0.key would be two secrets of one epoch.
        let epoch = number.parse::<u32>().ok().filter(|epoch| epoch.to_string() == number).ok_or_else(|| {
            KeyFolderError::Content { path: path.clone(), what: "a master secret", fault: "its name has no epoch" }
        })?;
        files.insert(epoch, path);
    }
    Ok(files)
}

fn read_master(path: &Path, epoch: u32, unlock: &Unlock) -> Result<MasterSecret, KeyFolderError> {
    let text = read(path, unlock)?;
    parse_master(&text, epoch).map_err(|fault| KeyFolderError::Content {
        path: path.to_owned(),
        what: "a master secret",
        fault,
    })
}

fn master_text(epoch: u32, bytes: &[u8; 32]) -> Zeroizing<String> {
    let id = master_id(&MasterSecret::from_bytes(*bytes), epoch);
    let secret = Zeroizing::new(Base64::encode_string(bytes));
    Zeroizing::new(format!("{MASTER}+{epoch}+{id}+{}", *secret))
}

fn parse_master(text: &str, epoch: u32) -> Result<MasterSecret, &'static str> {
    let parts = text.trim_end_matches('\n').strip_prefix(MASTER).and_then(|rest| rest.strip_prefix('+'));
    let mut parts = parts.ok_or("it does not begin with SOLELOG+MASTER+")?.splitn(3, '+');
    // The base64 may have a plus sign of its own: it is the rest.
    let (number, id, secret) = match (parts.next(), parts.next(), parts.next()) {
        (Some(number), Some(id), Some(secret)) => (number, id, secret),
        _ => return Err("it has too few parts"),
    };
    if number != epoch.to_string() {
        return Err("it is of another epoch than its name says");
    }
    let mut bytes = Zeroizing::new([0; 32]);
    match Base64::decode(secret, bytes.as_mut_slice()) {
        Ok(decoded) if decoded.len() == 32 => {}
        _ => return Err("its secret is not 32 bytes in base64"),
    }
    let master = MasterSecret::from_bytes(*bytes);
    if id != master_id(&master, epoch) {
        return Err("it is damaged: the secret does not give its id");
    }
    Ok(master)
}

/// How a master secret is spoken of, without saying anything about it.
fn master_id(master: &MasterSecret, epoch: u32) -> String {
    hex::encode(&master.derive("solelog/master-id/v1", &epoch.to_be_bytes())[..4])
}

fn read_ec(path: &Path, unlock: &Unlock) -> Result<Option<SecretKey>, KeyFolderError> {
    let text = match read(path, unlock) {
        Ok(text) => text,
        Err(KeyFolderError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let key = SecretKey::from_pkcs8_pem(&text).map_err(|_| KeyFolderError::Content {
        path: path.to_owned(),
        what: "a P-256 key",
        fault: "not PKCS#8 in PEM",
    })?;
    Ok(Some(key))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use scal3::Hash;

    use super::*;
    use crate::keys::KeyStore as _;

    fn folder(epochs: &[u32]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("folder");
        for epoch in epochs {
            let text = new_master(*epoch).expect("drawn");
            write_new(&folder.path().join(format!("master.{epoch}.key")), &text).expect("written");
        }
        write_new(&folder.path().join("issuing.key"), &new_ec().expect("drawn").0).expect("written");
        folder
    }

    fn open(folder: &tempfile::TempDir) -> Result<SoftKeys, String> {
        SoftKeys::open(folder.path(), &Unlock::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_folder_gives_the_same_keys_each_time() {
        let folder = folder(&[0, 1, 10]);
        let (pem, public) = new_ec().expect("drawn");
        write_new(&folder.path().join("document.key"), &pem).expect("written");
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
    fn what_is_missing_is_named() {
        let empty = tempfile::tempdir().expect("folder");
        assert!(open(&empty).expect_err("no keys").contains("no issuing key"));
        assert!(open(&folder(&[])).expect_err("no master").contains("no master secret"));
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let folder = folder(&[0]);
        for name in ["master.0.key", "issuing.key"] {
            let path = folder.path().join(name);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("mode");
            assert!(open(&folder).expect_err("loose").contains("mode 0640"));
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("mode");
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
    fn a_damaged_or_renamed_master_secret_is_refused() {
        let text = master_text(0, &[7; 32]);
        assert!(parse_master(&text, 0).is_ok());
        assert!(parse_master(&format!("{}\n", *text), 0).is_ok());
        for (text, epoch, expected) in [
            (text.to_string(), 1, "another epoch"),
            (text.replace("MASTER+0", "MASTER+00"), 0, "another epoch"),
            (text.replacen("+Bwc", "+Cwc", 1), 0, "damaged"),
            (text.replace("=", ""), 0, "not 32 bytes"),
            (format!("{}AAAA", *text), 0, "not 32 bytes"),
            ("SOLELOG+MASTER+0+".to_owned(), 0, "too few parts"),
            ("PRIVATE+KEY+x".to_owned(), 0, "does not begin"),
            (String::new(), 0, "does not begin"),
        ] {
            let fault = parse_master(&text, epoch).err().unwrap_or("taken");
            assert!(fault.contains(expected), "{text}: {fault}");
            assert!(!fault.contains("wcH"), "a fault never quotes the secret");
        }
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
