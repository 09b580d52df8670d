//! Requests: what a device asks of the authority, signed with its key alone.
//!
//! ```text
//! enrolment = H("solelog/enrolment/v1", [origin, enrolment_id, profile, joint_key, shares, device_key, label 0, label 1])
//! intent    = H("solelog/intent/v1",    [origin, credential, instruction_id, time_ms])
//! stop      = H("solelog/stop/v1",      [origin, credential, "suspend" / "revoke", time_ms])
//! ```
//!
//! One factor signs here, so nothing that is signed here authorises anything: it shows that the key is there, opens a
//! challenge, or takes power away. The three tags differ from each other and from what a record's device signature covers
//! (`c` and checksum, 64 bytes, no tag), so none of them can stand in for another. A key that lives behind a browser (profile
//! 3) signs no messages: there the hash is the challenge that it answers, and the signature is a varsig.

use alloc::vec;

use tlog::Hash;

use crate::cbor::{self, Value};
use crate::credential::Passkey;
use crate::ecdsa::{BadSignature, Signature};
use crate::evidence::varsig::{Algorithm, Varsig};
use crate::point::Point;
use crate::profile::Profile;
use crate::tag::tagged;

/// What a device brings to its enrolment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enrolling<'a> {
    /// The log that its records will go to.
    pub origin: &'a str,
    /// The enrolment.
    pub enrolment_id: &'a Hash,
    /// The form of its records.
    pub profile: Profile,
    /// The joint key that it dealt.
    pub joint_key: &'a [u8; 33],
    /// [`crate::credential::shares_hash`] of the shares that it dealt.
    pub shares: &'a Hash,
    /// Its own key.
    pub device_key: &'a [u8; 33],
    /// The labels of its two streams.
    pub labels: &'a [Hash; 2],
}

impl Enrolling<'_> {
    /// What the device key signs: that it is there, and whose device it is to be.
    pub fn hash(&self) -> Hash {
        let [own, provider] = self.labels;
        tagged(
            "solelog/enrolment/v1",
            &cbor::encode(&Value::Array(vec![
                cbor::text(self.origin),
                cbor::bytes(&self.enrolment_id.0),
                cbor::uint(self.profile.number()),
                cbor::bytes(self.joint_key),
                cbor::bytes(&self.shares.0),
                cbor::bytes(self.device_key),
                cbor::bytes(&own.0),
                cbor::bytes(&provider.0),
            ])),
        )
    }
}

/// What the device key signs to open an intent for this instruction.
pub fn intent_hash(origin: &str, credential: &Hash, instruction_id: &Hash, time_ms: u64) -> Hash {
    tagged(
        "solelog/intent/v1",
        &cbor::encode(&Value::Array(vec![
            cbor::text(origin),
            cbor::bytes(&credential.0),
            cbor::bytes(&instruction_id.0),
            cbor::uint(time_ms),
        ])),
    )
}

/// What a device can take away from its own credential without the second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It may not act for now; the provider can let it act again.
    Suspend,
    /// It may never act again.
    Revoke,
}

impl Stop {
    /// The word that is signed.
    pub const fn word(self) -> &'static str {
        match self {
            Stop::Suspend => "suspend",
            Stop::Revoke => "revoke",
        }
    }
}

/// What the device key signs to stop its own credential.
pub fn stop_hash(origin: &str, credential: &Hash, what: Stop, time_ms: u64) -> Hash {
    tagged(
        "solelog/stop/v1",
        &cbor::encode(&Value::Array(vec![
            cbor::text(origin),
            cbor::bytes(&credential.0),
            cbor::text(what.word()),
            cbor::uint(time_ms),
        ])),
    )
}

/// Verifies a device's signature over one of these hashes: ECDSA over P-256 with SHA-256, r ‖ s, the hash being the message.
/// That of a passkey is a varsig, the hash being its challenge.
///
/// # Errors
/// [`BadSignature`]: it does not verify, or is none.
pub fn verify(
    hash: &Hash,
    device_key: &Point,
    passkey: Option<&Passkey>,
    signature: &[u8],
) -> Result<(), BadSignature> {
    let Some(passkey) = passkey else {
        return Signature::parse(signature).map_err(|_| BadSignature)?.verify(device_key, &hash.0);
    };
    let assertion = Varsig::parse(signature).map_err(|_| BadSignature)?;
    passkey.was_asked(&assertion, hash).map_err(|_| BadSignature)?;
    if assertion.algorithm != Algorithm::Es256 {
        return Err(BadSignature);
    }
    let signature = Signature::from_bytes(&assertion.signature).map_err(|_| BadSignature)?;
    signature.verify(device_key, &assertion.signed_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_request_is_in_what_is_signed() {
        let (one, other) = (Hash([1; 32]), Hash([2; 32]));
        let base = intent_hash("log.example", &one, &one, 5);
        for changed in [
            intent_hash("log.exampl", &one, &one, 5),
            intent_hash("log.example", &other, &one, 5),
            intent_hash("log.example", &one, &other, 5),
            intent_hash("log.example", &one, &one, 6),
            stop_hash("log.example", &one, Stop::Suspend, 5),
            stop_hash("log.example", &one, Stop::Revoke, 5),
        ] {
            assert_ne!(base, changed);
        }
        let enrolling = Enrolling {
            origin: "log.example",
            enrolment_id: &one,
            profile: Profile::EcSdsa,
            joint_key: &[2; 33],
            shares: &one,
            device_key: &[3; 33],
            labels: &[one, other],
        };
        for changed in [
            Enrolling { origin: "log", ..enrolling },
            Enrolling { enrolment_id: &other, ..enrolling },
            Enrolling { profile: Profile::Transcript, ..enrolling },
            Enrolling { joint_key: &[4; 33], ..enrolling },
            Enrolling { shares: &other, ..enrolling },
            Enrolling { device_key: &[4; 33], ..enrolling },
            Enrolling { labels: &[other, one], ..enrolling },
        ] {
            assert_ne!(enrolling.hash(), changed.hash());
        }
    }

    #[test]
    fn a_request_is_verified_with_the_key_that_signed_it() {
        use p256::ecdsa::signature::Signer as _;
        use p256::ecdsa::{Signature as Made, SigningKey};
        let public = |key: &SigningKey| {
            Point::parse(key.verifying_key().to_sec1_point(true).as_bytes()).expect("a key's point parses")
        };
        let device = SigningKey::from_slice(&[7; 32]).expect("a scalar");
        let stranger = SigningKey::from_slice(&[8; 32]).expect("a scalar");
        let hash = stop_hash("log.example", &Hash([1; 32]), Stop::Revoke, 5);
        let made: Made = device.sign(&hash.0);
        let signature: [u8; 64] = made.to_bytes().into();
        assert_eq!(verify(&hash, &public(&device), None, &signature), Ok(()));
        assert_eq!(verify(&hash, &public(&stranger), None, &signature), Err(BadSignature));
        assert_eq!(verify(&Hash([0; 32]), &public(&device), None, &signature), Err(BadSignature));
        assert_eq!(verify(&hash, &public(&device), None, &[0; 64]), Err(BadSignature));
    }
}
