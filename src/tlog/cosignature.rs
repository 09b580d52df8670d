//! Cosignatures: what a witness says about a checkpoint, and when. <https://c2sp.org/tlog-cosignature>
//!
//! ```text
//! cosignature/v1                      what is signed
//! time 1679315147
//! example.com/behind-the-sofa         the whole checkpoint text, extension lines included
//! 20852163
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//!
//! key ID[4] || time u64 BE || signature[64]      the bytes of the signature line
//! ```
//!
//! It means: at that time, this was the largest tree the cosigner had seen for this origin, and
//! it is consistent with all it saw before. The cosigner's name is not signed, so one key must
//! never serve two cosigners.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::key::{COSIGNATURE_V1, Ed25519Secret, KeyName, SecretError, Vkey};
use crate::note::SignatureLine;

/// A moment in POSIX seconds, at most 2^63 - 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Seconds(u64);

/// A number beyond 2^63 - 1 where a moment belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("beyond 2^63 - 1, the last moment of a cosignature")]
pub struct TooLate;

impl Seconds {
    /// The moment `seconds` after 1970-01-01T00:00:00Z, not counting leap seconds.
    pub const fn new(seconds: u64) -> Result<Seconds, TooLate> {
        if seconds > i64::MAX as u64 {
            return Err(TooLate);
        }
        Ok(Seconds(seconds))
    }

    /// The moment as a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The bytes that a cosignature/v1 over the checkpoint text `text` at `time` signs.
#[must_use]
pub fn message(text: &str, time: Seconds) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

/// Splits the bytes after the key ID into time and Ed25519 signature. `None` where the length
/// is another, or the time is beyond [`Seconds`].
#[must_use]
pub fn split(signature: &[u8]) -> Option<(Seconds, &[u8; 64])> {
    let (time, signature) = signature.split_first_chunk::<8>()?;
    let time = Seconds::new(u64::from_be_bytes(*time)).ok()?;
    Some((time, signature.try_into().ok()?))
}

/// A key that cosigns checkpoints (type 0x04): what a witness signs with.
///
/// Not `Clone`, wiped on drop, and `Debug` prints the name only.
pub struct Cosigner(Ed25519Secret);

impl Cosigner {
    /// The cosigner with this name and this 32-byte Ed25519 seed.
    #[must_use]
    pub fn new(name: KeyName, seed: &[u8; 32]) -> Cosigner {
        Cosigner(Ed25519Secret::new(name, COSIGNATURE_V1, seed))
    }

    /// Reads `PRIVATE+KEY+<name>+<key ID>+<base64( 0x04 || seed )>`.
    pub fn parse(secret: &str) -> Result<Cosigner, SecretError> {
        Ed25519Secret::parse(secret, COSIGNATURE_V1).map(Cosigner)
    }

    /// The secret key in the form that [`Cosigner::parse`] reads.
    #[must_use]
    pub fn to_secret_text(&self) -> zeroize::Zeroizing<String> {
        self.0.to_text()
    }

    /// The key that verifies this cosigner's signatures.
    #[must_use]
    pub fn vkey(&self) -> &Vkey {
        self.0.vkey()
    }

    /// Cosigns the checkpoint text `text`, with its final newline, as seen at `time`.
    ///
    /// Sign what [`crate::checkpoint::Checkpoint::to_text`] wrote, never bytes that came in: what
    /// was understood and what is signed must be the same.
    #[must_use]
    pub fn cosign(&self, text: &str, time: Seconds) -> SignatureLine {
        let mut bytes = Vec::with_capacity(72);
        bytes.extend_from_slice(&time.get().to_be_bytes());
        bytes.extend_from_slice(&self.0.sign(message(text, time).as_bytes()));
        SignatureLine::by(self.vkey(), bytes)
    }
}

impl fmt::Debug for Cosigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cosigner({})", self.vkey().name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cosignature_is_a_time_and_a_signature() {
        let mut bytes = alloc::vec![0; 72];
        assert_eq!(split(&bytes), Some((Seconds(0), &[0; 64])));
        assert_eq!(split(&bytes[1..]), None);
        bytes.push(0);
        assert_eq!(split(&bytes), None);
        bytes.pop();
        bytes[0] = 0x80;
        assert_eq!(split(&bytes), None, "a time beyond 2^63 - 1");
    }

    #[test]
    fn cosigners_print_their_name_only() {
        let cosigner = Cosigner::new(KeyName::new("witness.example").unwrap(), &[7; 32]);
        assert_eq!(format!("{cosigner:?}"), "Cosigner(witness.example)");
    }
}
