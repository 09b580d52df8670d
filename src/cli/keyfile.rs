//! Key files: a signing key at rest, readable by its owner only.
//!
//! A log's or witness's key is one line, `PRIVATE+KEY+<name>+<id>+<base64>`, as in other C2SP tools. An issuing key is
//! PKCS#8 in PEM, so that whatever the provider signs credentials with can read it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use p256::elliptic_curve::sec1::ToSec1Point as _;
use p256::pkcs8::{EncodePrivateKey as _, LineEnding};
use tlog::key::{KeyName, Signer};
use zeroize::Zeroizing;

use super::{Exit, Failure};
use crate::tokens::write_private;

/// Reads a key file, unless others could have read it before.
pub fn read(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let cannot = |error| Failure::new(Exit::Config, format!("cannot read the key {}: {error}", path.display()));
    let mode = fs::metadata(path).map_err(cannot)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Failure::new(
            Exit::Config,
            format!("the key {} has mode {mode:04o}: others can read or change it", path.display()),
        )
        .next(format!(
            "chmod 0600 {0}; if others may have read it, it is no secret any more: replace it",
            path.display()
        )));
    }
    Ok(Zeroizing::new(fs::read_to_string(path).map_err(cannot)?))
}

/// Reads the key of a log.
pub fn read_signer(path: &Path) -> Result<Signer, Failure> {
    let text = read(path)?;
    Signer::parse(text.trim_end_matches('\n')).map_err(|e| {
        Failure::new(Exit::Config, format!("{} is not the key of a log: {e}", path.display()))
            .next("solelog keygen log --name ORIGIN makes one")
    })
}

/// Writes a new key file; one that is there is never replaced.
pub fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    write_private(path, format!("{}\n", text.trim_end()).as_bytes(), false).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Failure::new(Exit::System, format!("{} is already there; a key is never replaced", path.display()))
                .next("choose another path")
        }
        _ => Failure::new(Exit::System, format!("cannot write the key {}: {error}", path.display())),
    })
}

/// 32 random bytes.
pub fn seed() -> Result<Zeroizing<[u8; 32]>, Failure> {
    let mut seed = Zeroizing::new([0_u8; 32]);
    getrandom::fill(seed.as_mut_slice())
        .map_err(|e| Failure::new(Exit::System, format!("cannot draw randomness: {e}")))?;
    Ok(seed)
}

/// The name of a key: an origin, or a witness's name.
pub fn name(text: &str) -> Result<KeyName, Failure> {
    KeyName::new(text).map_err(|e| {
        Failure::new(Exit::Usage, format!("{text:?} is not a name: {e}"))
            .next("use a name like log.example/2026h2, without spaces and plus signs")
    })
}

/// A new issuing key: the private half as PEM, the public half as a compressed point.
pub fn new_issuing() -> Result<(Zeroizing<String>, [u8; 33]), Failure> {
    let key = loop {
        // All but one of 2^32 draws are keys.
        if let Ok(key) = p256::SecretKey::from_slice(seed()?.as_slice()) {
            break key;
        }
    };
    let wrong = |e: &dyn std::fmt::Display| Failure::new(Exit::System, format!("cannot write the key: {e}"));
    let pem = key.to_pkcs8_pem(LineEnding::LF).map_err(|e| wrong(&e))?;
    let public = key.public_key().to_sec1_point(true);
    let public = <[u8; 33]>::try_from(public.as_bytes()).map_err(|e| wrong(&e))?;
    Ok((pem, public))
}
