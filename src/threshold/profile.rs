//! What differs between the record profiles, in one place.
//!
//! ```text
//!                          Profile1 (textbook)                        Profile2 (published scal3 0.4)
//! joint challenge          SHA-256(Rx || Ry || M)                     H2(R || PK || M) of RFC 9591
//! M                        binding_vk || metadata || instruction_id   binding_vk || operation hash
//! mask to scalar           DST "solelog/mask/v1"                      DST "SCAL3-Thresholds-v1mask"
//! seed to nonces           DST "solelog/nonce/v1"                     DST "FROST-P256-SHA256-v1nonce"
//! share sealed to          the user's own KEM key                     the provider's one KEM key
//!   info                   "solelog/share/v1"                         empty
//!   AAD                    enrolment_id || PK || device || blinded    blinded || PK
//!                            || origin
//! signature share sealed   "solelog/pass/v1"                          empty
//!   AAD                    credential || challenge || c               c
//! device signs             c || SHA-256(z2)                           c || AES-GCM tag of the sealed z2
//! pass                     340 bytes                                  308 bytes
//! ```
//! One joint key has one profile. The variable-length origin stands last, so no two enrolments
//! give the same AAD.

use alloc::vec::Vec;

use frost_core::GroupError;
use p256_frost::ProjectivePoint;
use scal3::tag::tagged;

use crate::challenge::Session;
use crate::enrol::Enrolling;
use crate::point::Encoded;
use crate::suite::{EcSdsa, Rfc9591, ec_sdsa_challenge, rfc9591_challenge};

/// Textbook EC-SDSA records (`opening.profile` = 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile1;

/// Records of the published scal3 0.4 implementation (`opening.profile` = 2).
///
/// It binds neither log nor credential in its own parameters; the operation hash does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile2;

/// A record profile: [`Profile1`] or [`Profile2`].
pub trait Profile: rules::Rules {
    /// The number that openings and credentials carry.
    const NUMBER: u64;
}

impl Profile for Profile1 {
    const NUMBER: u64 = 1;
}

impl Profile for Profile2 {
    const NUMBER: u64 = 2;
}

/// The parts of a finished record, before they are put in the profile's order.
pub(crate) struct Parts<'a> {
    pub(crate) binding_vk: &'a Encoded,
    pub(crate) logged: &'a [u8],
    pub(crate) c: &'a [u8; 32],
    pub(crate) z: &'a [u8; 32],
    /// Checksum or tag: what stands for the user's signature share.
    pub(crate) check: &'a [u8],
    pub(crate) device_sig: &'a [u8; 64],
    pub(crate) binding_sig: &'a [u8; 64],
}

pub(crate) mod rules {
    use super::*;

    /// A challenge as the record shows it and as the arithmetic uses it are one thing: 32 bytes,
    /// reduced modulo the group order where a scalar is needed.
    #[expect(
        private_interfaces,
        reason = "no other crate can name this trait or implement it"
    )]
    pub trait Rules: Copy + core::fmt::Debug + Send + Sync + 'static {
        /// The ciphersuite.
        type Suite: frost_core::Ciphersuite<Group = frost_p256::P256Group>;
        /// Mask to scalar.
        const MASK_DST: &'static [u8];
        /// Seed to nonces.
        const NONCE_DST: &'static [u8];
        /// HPKE info of the sealed share.
        const SHARE_INFO: &'static [u8];
        /// HPKE info of the sealed signature share.
        const PASS_INFO: &'static [u8];
        /// Whether the device signs a hash of the signature share (or else the AEAD tag).
        const CHECKSUM: bool;

        /// c, as the record carries it.
        fn challenge(
            r: &ProjectivePoint,
            key: &ProjectivePoint,
            message: &[u8],
        ) -> Result<[u8; 32], GroupError>;
        /// AAD of the sealed share.
        fn share_aad(context: &Enrolling<'_>, joint_key: &Encoded, blinded: &[u8; 32]) -> Vec<u8>;
        /// AAD of the sealed signature share.
        fn pass_aad(session: &Session, c: &[u8; 32]) -> Vec<u8>;
        /// What stands behind the binding key in the message.
        fn signed(logged: &[u8]) -> Vec<u8>;
        /// The record.
        fn record(parts: &Parts<'_>) -> Vec<u8>;
    }
}

#[expect(
    private_interfaces,
    reason = "no other crate can name this trait or implement it"
)]
impl rules::Rules for Profile1 {
    type Suite = EcSdsa;
    const MASK_DST: &'static [u8] = b"solelog/mask/v1";
    const NONCE_DST: &'static [u8] = b"solelog/nonce/v1";
    const SHARE_INFO: &'static [u8] = b"solelog/share/v1";
    const PASS_INFO: &'static [u8] = b"solelog/pass/v1";
    const CHECKSUM: bool = true;

    fn challenge(
        r: &ProjectivePoint,
        _key: &ProjectivePoint,
        message: &[u8],
    ) -> Result<[u8; 32], GroupError> {
        ec_sdsa_challenge(r, message)
    }

    fn share_aad(context: &Enrolling<'_>, joint_key: &Encoded, blinded: &[u8; 32]) -> Vec<u8> {
        [
            &context.enrolment_id[..],
            joint_key,
            context.device_key,
            blinded,
            context.origin.as_bytes(),
        ]
        .concat()
    }

    fn pass_aad(session: &Session, c: &[u8; 32]) -> Vec<u8> {
        [&session.credential()[..], &session.challenge().0, c].concat()
    }

    fn signed(logged: &[u8]) -> Vec<u8> {
        logged.to_vec()
    }

    /// `binding_vk || metadata || instruction_id || c || z || checksum || device_sig || binding_sig`.
    fn record(parts: &Parts<'_>) -> Vec<u8> {
        [
            &parts.binding_vk[..],
            parts.logged,
            parts.c,
            parts.z,
            parts.check,
            parts.device_sig,
            parts.binding_sig,
        ]
        .concat()
    }
}

#[expect(
    private_interfaces,
    reason = "no other crate can name this trait or implement it"
)]
impl rules::Rules for Profile2 {
    type Suite = Rfc9591;
    const MASK_DST: &'static [u8] = b"SCAL3-Thresholds-v1mask";
    const NONCE_DST: &'static [u8] = b"FROST-P256-SHA256-v1nonce";
    const SHARE_INFO: &'static [u8] = b"";
    const PASS_INFO: &'static [u8] = b"";
    const CHECKSUM: bool = false;

    fn challenge(
        r: &ProjectivePoint,
        key: &ProjectivePoint,
        message: &[u8],
    ) -> Result<[u8; 32], GroupError> {
        Ok(rfc9591_challenge(r, key, message)?.to_bytes().into())
    }

    fn share_aad(_context: &Enrolling<'_>, joint_key: &Encoded, blinded: &[u8; 32]) -> Vec<u8> {
        [&blinded[..], joint_key].concat()
    }

    fn pass_aad(_session: &Session, c: &[u8; 32]) -> Vec<u8> {
        c.to_vec()
    }

    fn signed(logged: &[u8]) -> Vec<u8> {
        tagged("solelog/operation/v1", logged).0.to_vec()
    }

    /// `authenticator[48] || proof[64] || client[129] || metadata || instruction_id`.
    fn record(parts: &Parts<'_>) -> Vec<u8> {
        [
            parts.c,
            parts.check,
            parts.device_sig,
            parts.binding_vk,
            parts.binding_sig,
            parts.z,
            parts.logged,
        ]
        .concat()
    }
}
