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
//! `Profile3` is `Profile1` with a device key that lives behind a browser: there the device answers a
//! challenge, H("solelog/device/v3", c || checksum), and its signature is a varsig of any length.
//!
//! One joint key has one profile. The variable-length origin stands last, so no two enrolments
//! give the same AAD.

use alloc::vec::Vec;

use frost_core::GroupError;
use p256_frost::ProjectivePoint;

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

/// Records of [`Profile1`] whose device signature is a WebAuthn assertion (`opening.profile` = 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile3;

/// A record profile: [`Profile1`], [`Profile2`] or [`Profile3`].
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

impl Profile for Profile3 {
    const NUMBER: u64 = 3;
}

pub(crate) mod rules {
    use super::*;

    /// No other crate can name this trait, so none can add a profile.
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
        /// The layout of the record.
        const RECORD: scal3::Profile;

        /// c, as the record carries it.
        fn challenge(r: &ProjectivePoint, key: &ProjectivePoint, message: &[u8]) -> Result<[u8; 32], GroupError>;
        /// AAD of the sealed share.
        fn share_aad(context: &Enrolling<'_>, joint_key: &Encoded, blinded: &[u8; 32]) -> Vec<u8>;
        /// AAD of the sealed signature share.
        fn pass_aad(session: &Session, c: &[u8; 32]) -> Vec<u8>;
    }
}

impl rules::Rules for Profile1 {
    type Suite = EcSdsa;
    const MASK_DST: &'static [u8] = b"solelog/mask/v1";
    const NONCE_DST: &'static [u8] = b"solelog/nonce/v1";
    const SHARE_INFO: &'static [u8] = b"solelog/share/v1";
    const PASS_INFO: &'static [u8] = b"solelog/pass/v1";
    const RECORD: scal3::Profile = scal3::Profile::EcSdsa;

    fn challenge(r: &ProjectivePoint, _key: &ProjectivePoint, message: &[u8]) -> Result<[u8; 32], GroupError> {
        ec_sdsa_challenge(r, message)
    }

    fn share_aad(context: &Enrolling<'_>, joint_key: &Encoded, blinded: &[u8; 32]) -> Vec<u8> {
        [&context.enrolment_id.0[..], joint_key, context.device_key, blinded, context.origin.as_bytes()].concat()
    }

    fn pass_aad(session: &Session, c: &[u8; 32]) -> Vec<u8> {
        [&session.credential().0[..], &session.challenge().0, c].concat()
    }
}

impl rules::Rules for Profile2 {
    type Suite = Rfc9591;
    const MASK_DST: &'static [u8] = b"SCAL3-Thresholds-v1mask";
    const NONCE_DST: &'static [u8] = b"FROST-P256-SHA256-v1nonce";
    const SHARE_INFO: &'static [u8] = b"";
    const PASS_INFO: &'static [u8] = b"";
    const RECORD: scal3::Profile = scal3::Profile::Transcript;

    fn challenge(r: &ProjectivePoint, key: &ProjectivePoint, message: &[u8]) -> Result<[u8; 32], GroupError> {
        Ok(rfc9591_challenge(r, key, message)?.to_bytes().into())
    }

    fn share_aad(_context: &Enrolling<'_>, joint_key: &Encoded, blinded: &[u8; 32]) -> Vec<u8> {
        [&blinded[..], joint_key].concat()
    }

    fn pass_aad(_session: &Session, c: &[u8; 32]) -> Vec<u8> {
        c.to_vec()
    }
}

impl rules::Rules for Profile3 {
    type Suite = EcSdsa;
    const MASK_DST: &'static [u8] = Profile1::MASK_DST;
    const NONCE_DST: &'static [u8] = Profile1::NONCE_DST;
    const SHARE_INFO: &'static [u8] = Profile1::SHARE_INFO;
    const PASS_INFO: &'static [u8] = Profile1::PASS_INFO;
    const RECORD: scal3::Profile = scal3::Profile::Passkey;

    fn challenge(r: &ProjectivePoint, key: &ProjectivePoint, message: &[u8]) -> Result<[u8; 32], GroupError> {
        Profile1::challenge(r, key, message)
    }

    fn share_aad(context: &Enrolling<'_>, joint_key: &Encoded, blinded: &[u8; 32]) -> Vec<u8> {
        Profile1::share_aad(context, joint_key, blinded)
    }

    fn pass_aad(session: &Session, c: &[u8; 32]) -> Vec<u8> {
        Profile1::pass_aad(session, c)
    }
}
