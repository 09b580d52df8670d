//! The two ciphersuites: one threshold protocol, two ways to compute the challenge.
//!
//! ```text
//! EcSdsa    c = SHA-256(Rx || Ry || M)            ISO/IEC 14888-3 EC-SDSA, BSI TR-03111   profile 1
//! Rfc9591   c = H2(R || PK || M)                  FROST(P-256, SHA-256)                   profile 2
//! ```
//! RFC 9591: <https://www.rfc-editor.org/rfc/rfc9591#section-6.4>. Everything but the challenge is
//! the same, and comes from `frost-p256`: nonces, binding factors, the context string
//! `FROST-P256-SHA256-v1`. So a joint key must never be used under both: that is why a credential
//! has exactly one profile.

use alloc::vec::Vec;

use frost_core::{Challenge, Ciphersuite, Element, Error, Group, GroupError, VerifyingKey};
use frost_p256::{P256Group, P256Sha256};
use p256_frost::elliptic_curve::ops::Reduce;
use p256_frost::elliptic_curve::sec1::ToEncodedPoint;
use p256_frost::{ProjectivePoint, Scalar, U256};
use sha2::{Digest, Sha256};

/// FROST(P-256, SHA-256) as RFC 9591 has it.
pub type Rfc9591 = P256Sha256;

/// FROST(P-256, SHA-256) whose signatures are textbook EC-SDSA.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EcSdsa;

/// The EC-SDSA challenge as the hash string that goes into a record: 32 bytes, not reduced.
///
/// # Errors
/// The identity has no coordinates, and no signature is made with it.
pub fn ec_sdsa_challenge(r: &ProjectivePoint, message: &[u8]) -> Result<[u8; 32], GroupError> {
    let point = r.to_affine().to_encoded_point(false);
    let coordinates: Option<&[u8; 64]> = point.as_bytes().split_last_chunk().map(|(_, xy)| xy);
    let coordinates = coordinates.ok_or(GroupError::InvalidIdentityElement)?;
    Ok(Sha256::new().chain_update(coordinates).chain_update(message).finalize().into())
}

/// The hash string as a scalar, for the arithmetic.
pub(crate) fn reduce(hash: &[u8; 32]) -> Scalar {
    <Scalar as Reduce<U256>>::reduce_bytes(&(*hash).into())
}

impl Ciphersuite for EcSdsa {
    const ID: &'static str = <P256Sha256 as Ciphersuite>::ID;

    type Group = P256Group;
    type HashOutput = [u8; 32];
    type SignatureSerialization = [u8; 65];

    fn H1(m: &[u8]) -> Scalar {
        P256Sha256::H1(m)
    }

    fn H2(m: &[u8]) -> Scalar {
        P256Sha256::H2(m)
    }

    fn H3(m: &[u8]) -> Scalar {
        P256Sha256::H3(m)
    }

    fn H4(m: &[u8]) -> [u8; 32] {
        P256Sha256::H4(m)
    }

    fn H5(m: &[u8]) -> [u8; 32] {
        P256Sha256::H5(m)
    }

    fn HDKG(m: &[u8]) -> Option<Scalar> {
        P256Sha256::HDKG(m)
    }

    fn HID(m: &[u8]) -> Option<Scalar> {
        P256Sha256::HID(m)
    }

    /// Plain EC-SDSA does not hash the public key. The signed message names the credential, which
    /// commits to it.
    fn challenge(
        r: &Element<Self>,
        _verifying_key: &VerifyingKey<Self>,
        message: &[u8],
    ) -> Result<Challenge<Self>, Error<Self>> {
        Ok(Challenge::from_scalar(reduce(&ec_sdsa_challenge(r, message)?)))
    }
}

/// What both suites hash for the RFC 9591 challenge: R || PK || M.
pub(crate) fn rfc9591_challenge(
    r: &ProjectivePoint,
    key: &ProjectivePoint,
    message: &[u8],
) -> Result<Scalar, GroupError> {
    let mut preimage = Vec::with_capacity(66 + message.len());
    preimage.extend_from_slice(&P256Group::serialize(r)?);
    preimage.extend_from_slice(&P256Group::serialize(key)?);
    preimage.extend_from_slice(message);
    Ok(P256Sha256::H2(&preimage))
}
