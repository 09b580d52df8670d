//! ML-DSA-44 signatures: what stays true of a cosignature after quantum computers. FIPS 204
//!
//! ```text
//! seed 32 bytes -- key generation --> public key 1312 bytes, signature 2420 bytes
//! ```
//!
//! Signatures are of the "pure" kind, with the empty context, and deterministic: this crate has no
//! randomness to hedge them with. One message and one key give one signature, so that a repeated
//! request tells nobody more than the first.

use alloc::vec::Vec;

use ml_dsa::{KeyInit, MlDsa44, Seed, Signature, SigningKey, VerifyingKey};

/// The length of a public key, in bytes.
pub const PUBLIC_KEY: usize = 1312;
/// The length of a signature, in bytes.
pub const SIGNATURE: usize = 2420;

/// An ML-DSA-44 secret key. Not `Clone`; wiped on drop; prints nothing.
pub(crate) struct MlDsaSecret(SigningKey<MlDsa44>);

impl MlDsaSecret {
    /// The key that follows from a seed.
    pub(crate) fn new(seed: &[u8; 32]) -> MlDsaSecret {
        let seed = zeroize::Zeroizing::new(Seed::from(*seed));
        MlDsaSecret(SigningKey::from_seed(&seed))
    }

    /// The seed it follows from.
    pub(crate) fn seed(&self) -> &[u8] {
        self.0.as_seed().as_slice()
    }

    /// The public key, of [`PUBLIC_KEY`] bytes.
    pub(crate) fn public_key(&self) -> Vec<u8> {
        self.0.expanded_key().verifying_key().encode().to_vec()
    }

    /// Signs.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        // The search for a signature gives up after thousands of tries, each of which succeeds
        // one time in four. Should it ever, this is a signature that verifies nothing.
        let signed = self.0.expanded_key().sign_deterministic(message, &[]);
        signed.map_or_else(|_| alloc::vec![0; SIGNATURE], |signature| signature.encode().to_vec())
    }
}

/// Whether `signature` over `message` is by the ML-DSA-44 key `key`.
#[must_use]
pub fn verify(key: &[u8; PUBLIC_KEY], message: &[u8], signature: &[u8]) -> bool {
    let Ok(signature) = Signature::<MlDsa44>::try_from(signature) else {
        return false;
    };
    VerifyingKey::<MlDsa44>::new_from_slice(key).is_ok_and(|key| key.verify_with_context(message, &[], &signature))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_its_key_and_its_message() {
        let (one, two) = (MlDsaSecret::new(&[1; 32]), MlDsaSecret::new(&[2; 32]));
        let key = |secret: &MlDsaSecret| <[u8; PUBLIC_KEY]>::try_from(secret.public_key()).unwrap();
        let signature = one.sign(b"message");
        assert_eq!((one.seed(), signature.len()), ([1; 32].as_slice(), SIGNATURE));
        assert_eq!(one.sign(b"message"), signature);
        assert!(verify(&key(&one), b"message", &signature));
        assert!(!verify(&key(&two), b"message", &signature));
        assert!(!verify(&key(&one), b"massage", &signature));
        for place in (0..SIGNATURE).step_by(97) {
            let mut bad = signature.clone();
            bad[place] ^= 1;
            assert!(!verify(&key(&one), b"message", &bad), "{place}");
        }
        assert!(!verify(&key(&one), b"message", &signature[1..]));
        assert!(!verify(&key(&one), b"message", &[]));
    }
}
