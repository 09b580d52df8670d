//! Key files, as commands use them: `src/keys/file.rs` with what to do when one can't be used.

use std::path::Path;

use tlog::cosignature::Cosigner;
use tlog::key::{KeyName, Kind, Signer};
use zeroize::Zeroizing;

use super::{Exit, Failure};
use crate::keys::{self, KeyFileError, KeyFolderError, Unlock};

/// Reads the key of a log.
pub fn read_signer(path: &Path, unlock: &Unlock) -> Result<Signer, Failure> {
    let text = keys::file::read(path, unlock)?;
    Signer::parse(text.trim_end_matches('\n')).map_err(|e| {
        Failure::new(Exit::Config, format!("{} is not the key of a log: {e}", path.display()))
            .next("solelog keygen log --name ORIGIN makes one")
    })
}

/// Reads the ML-DSA-44 key of a log.
pub fn read_ml_dsa(path: &Path, unlock: &Unlock) -> Result<Cosigner, Failure> {
    let text = keys::file::read(path, unlock)?;
    let cosigner = Cosigner::parse(text.trim_end_matches('\n')).ok().filter(|key| key.vkey().kind() == Kind::MlDsa44);
    cosigner.ok_or_else(|| {
        Failure::new(Exit::Config, format!("{} is not an ML-DSA-44 key", path.display()))
            .next("solelog keygen log --ml-dsa-44 --name ORIGIN makes one")
    })
}

/// Writes a new key file; one that is there is never replaced.
pub fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    Ok(keys::write_new(path, text)?)
}

/// 32 random bytes.
pub fn seed() -> Result<Zeroizing<[u8; 32]>, Failure> {
    let mut seed = Zeroizing::new([0_u8; 32]);
    getrandom::fill(seed.as_mut_slice()).map_err(no_randomness)?;
    Ok(seed)
}

/// The name of a key: an origin, or a witness's name.
pub fn name(text: &str) -> Result<KeyName, Failure> {
    KeyName::new(text).map_err(|e| {
        Failure::new(Exit::Usage, format!("{text:?} is not a name: {e}"))
            .next("use a name like log.example/2026h2, without spaces and plus signs")
    })
}

/// A new issuing or document key: the private half as PEM, the public half as a compressed point.
pub fn new_ec() -> Result<(Zeroizing<String>, [u8; 33]), Failure> {
    keys::folder::new_ec().map_err(no_randomness)
}

/// A new master secret, as its file has it.
pub fn new_master(epoch: u32) -> Result<Zeroizing<String>, Failure> {
    keys::new_master(epoch).map_err(no_randomness)
}

fn no_randomness(error: getrandom::Error) -> Failure {
    Failure::new(Exit::System, format!("cannot draw randomness: {error}"))
}

impl From<KeyFileError> for Failure {
    fn from(error: KeyFileError) -> Failure {
        let exit = match &error {
            KeyFileError::Io { doing, .. } if *doing != "read" => Exit::System,
            _ => Exit::Config,
        };
        let failure = Failure::new(exit, &error);
        match error.advice() {
            Some(advice) => failure.next(advice),
            None => failure,
        }
    }
}

impl From<KeyFolderError> for Failure {
    fn from(error: KeyFolderError) -> Failure {
        match error {
            KeyFolderError::File(error) => error.into(),
            KeyFolderError::Folder { .. } => Failure::new(Exit::Config, error),
            KeyFolderError::Missing { .. } => Failure::new(Exit::Config, &error).next(
                "bring it back from the backup of the keys. A provider that runs its part of SCAL3 elsewhere has neither a master secret nor an issuing key here",
            ),
        }
    }
}
