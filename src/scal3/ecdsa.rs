//! ECDSA signatures over P-256 with SHA-256, as devices make them.
//!
//! ```text
//! signature   64 bytes   r[32] ‖ s[32]     both in 1..n
//! ```
//! FIPS 186-5, section 6: <https://doi.org/10.6028/NIST.FIPS.186-5>.
//!
//! High s is accepted: about half of the signatures of secure hardware have it. So (r, n−s) is a
//! second signature over the same message, and nothing may be identified by these bytes.

use core::fmt;

use p256::ecdsa::VerifyingKey;
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use sha2::{Digest, Sha256};

use crate::point::{EncodingError, Point};

/// A well-formed signature: both numbers are in range. It need not verify under any key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    inner: p256::ecdsa::Signature,
    bytes: [u8; 64],
}

/// The signature was not made over this message by the holder of this key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ECDSA signature does not verify")]
pub struct BadSignature;

impl Signature {
    /// Length of r ‖ s.
    pub const LEN: usize = 64;

    /// Reads r ‖ s.
    ///
    /// # Errors
    /// [`EncodingError::ScalarRange`] when r or s is zero or not below the order.
    pub fn from_bytes(bytes: &[u8; 64]) -> Result<Signature, EncodingError> {
        let inner = p256::ecdsa::Signature::from_slice(bytes).map_err(|_| EncodingError::ScalarRange)?;
        Ok(Signature { inner, bytes: *bytes })
    }

    /// Reads r ‖ s from a slice.
    ///
    /// # Errors
    /// [`EncodingError::Length`], then as [`Signature::from_bytes`].
    pub fn parse(bytes: &[u8]) -> Result<Signature, EncodingError> {
        Signature::from_bytes(bytes.try_into().map_err(|_| EncodingError::Length)?)
    }

    /// Reads the ASN.1 form that key stores, cards and browsers give, and only its DER spelling:
    /// `30 len 02 len r 02 len s` with shortest lengths, shortest non-negative integers and
    /// nothing behind them. Records carry r ‖ s; this is the way there.
    ///
    /// # Errors
    /// [`EncodingError::Der`], then as [`Signature::from_bytes`].
    pub fn from_der(bytes: &[u8]) -> Result<Signature, EncodingError> {
        let (sequence, rest) = element(0x30, bytes)?;
        if !rest.is_empty() {
            return Err(EncodingError::Der);
        }
        let (r, rest) = element(0x02, sequence)?;
        let (s, rest) = element(0x02, rest)?;
        if !rest.is_empty() {
            return Err(EncodingError::Der);
        }
        let mut raw = [0; 64];
        let (first, second) = raw.split_at_mut(32);
        integer(r, first)?;
        integer(s, second)?;
        Signature::from_bytes(&raw)
    }

    /// r ‖ s.
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.bytes
    }

    /// r ‖ s.
    pub const fn to_bytes(self) -> [u8; 64] {
        self.bytes
    }

    /// The one of (r, s) and (r, n − s) whose s is the lower number.
    pub fn with_low_s(self) -> Signature {
        let inner = self.inner.normalize_s();
        Signature { inner, bytes: inner.to_bytes().into() }
    }

    /// Verifies over a message, hashed with SHA-256.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(&self, key: &Point, message: &[u8]) -> Result<(), BadSignature> {
        self.verify_digest(key, &Sha256::digest(message).into())
    }

    /// Verifies over a message that was hashed already.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify_digest(&self, key: &Point, digest: &[u8; 32]) -> Result<(), BadSignature> {
        VerifyingKey::from_affine(key.to_affine())
            .and_then(|key| key.verify_prehash(digest, &self.inner))
            .map_err(|_| BadSignature)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature(")?;
        self.bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// Splits one element with this tag off. All of ours fit into 127 bytes, so a longer length form
/// is never the shortest.
fn element(tag: u8, bytes: &[u8]) -> Result<(&[u8], &[u8]), EncodingError> {
    match bytes {
        [found, len @ 0..=0x7f, rest @ ..] if *found == tag => {
            rest.split_at_checked(usize::from(*len)).ok_or(EncodingError::Der)
        }
        _ => Err(EncodingError::Der),
    }
}

/// Writes a DER integer into 32 bytes, big-endian.
fn integer(der: &[u8], into: &mut [u8]) -> Result<(), EncodingError> {
    let digits = match der {
        [0, rest @ ..] if rest.first().is_some_and(|next| *next >= 0x80) => rest,
        [1..=0x7f, ..] => der,
        // Zero has a DER form, but no signature has a zero in it.
        [0] => return Err(EncodingError::ScalarRange),
        _ => return Err(EncodingError::Der),
    };
    let skip = into.len().checked_sub(digits.len()).ok_or(EncodingError::ScalarRange)?;
    for (to, from) in into.iter_mut().skip(skip).zip(digits) {
        *to = *from;
    }
    Ok(())
}
