//! The one way this project hashes: `H(tag, x) = SHA-256(tag || 0x00 || x)`.
//!
//! No tag is a prefix of another one followed by 0x00, so bytes hashed for one purpose never give a hash that
//! means something for another.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use tlog::Hash;

/// `SHA-256(tag || 0x00 || x)`.
pub fn tagged(tag: &str, x: &[u8]) -> Hash {
    tagged_parts(tag, &[x])
}

/// [`tagged`] over the concatenation of `parts`, without building it.
///
/// Only for parts whose lengths are fixed, or where the last one alone varies: nothing marks the seams.
pub fn tagged_parts(tag: &str, parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(tag.as_bytes());
    hasher.update([0]);
    for part in parts {
        hasher.update(part);
    }
    Hash(hasher.finalize().into())
}

/// HMAC-SHA-256 (RFC 2104), for what others define with it, such as the signature of a webhook.
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> Hash {
    match Hmac::<Sha256>::new_from_slice(key) {
        Ok(mut mac) => {
            mac.update(message);
            Hash(mac.finalize().into_bytes().into())
        }
        // An HMAC takes a key of any length.
        Err(_) => Hash([0; 32]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_ends_with_a_zero_byte() {
        let whole: [u8; 32] = Sha256::digest(b"solelog/field/v1\0abc").into();
        assert_eq!(tagged("solelog/field/v1", b"abc").0, whole);
        assert_eq!(tagged_parts("solelog/field/v1", &[b"a", b"bc"]).0, whole);
        assert_ne!(tagged("solelog/field/v", b"1\0abc").0, whole);
    }
}
