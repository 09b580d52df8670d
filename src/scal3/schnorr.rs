//! The joint signature: Schnorr over P-256 in the form (c, z).
//!
//! ```text
//! user_sig   64 bytes   c[32] ‖ z[32]
//! R = zG − c·PK         never the identity
//! ```
//! What differs between profiles is only how c is computed from R, the joint key and the message:
//! profile 1 is EC-SDSA of ISO/IEC 14888-3 (also BSI TR-03111, section 4.2.3), profile 2 the
//! challenge of RFC 9591, <https://www.rfc-editor.org/rfc/rfc9591#section-6.4>.
//!
//! EC-SDSA does not hash the public key: from a signature under PK anybody makes one under
//! PK + tG. A record is safe from that only because its message names the credential, which
//! commits to the joint key; whoever verifies a bare signature has no such protection.

use p256::ProjectivePoint;
use p256::elliptic_curve::ops::MulByGeneratorVartime;
use sha2::{Digest, Sha256};

use crate::ecdsa::BadSignature;
use crate::h2f;
use crate::point::{EncodingError, Point, Scalar};

/// How the challenge is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Challenge {
    /// c = SHA-256(Rx ‖ Ry ‖ message), a string of 32 bytes: it need not be below the order.
    EcSdsa,
    /// c = H2(R ‖ PK ‖ message) of RFC 9591, a number below the order.
    Rfc9591,
}

/// Why a joint signature does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JointError {
    /// R is the identity: anybody can reach that without a key.
    #[error("joint (identity)")]
    Identity,
    /// The challenge recomputed from R is another one.
    #[error("joint")]
    Mismatch,
}

impl Challenge {
    /// Computes c from the commitment, the joint key and the message, which comes in parts.
    pub fn compute(self, commitment: &Point, joint_key: &Point, message: &[&[u8]]) -> [u8; 32] {
        match self {
            Challenge::EcSdsa => {
                let (x, y) = commitment.coordinates();
                let mut hash = Sha256::new_with_prefix(x).chain_update(y);
                message.iter().for_each(|part| hash.update(part));
                hash.finalize().into()
            }
            Challenge::Rfc9591 => {
                let mut parts = alloc::vec![&commitment.as_bytes()[..], &joint_key.as_bytes()[..]];
                parts.extend_from_slice(message);
                h2f::frost_h2(&parts).to_bytes()
            }
        }
    }

    /// Is this a c that this challenge can give at all?
    ///
    /// # Errors
    /// [`EncodingError::ScalarRange`] for RFC 9591 and a c that is not below the order.
    pub fn check(self, c: &[u8; 32]) -> Result<(), EncodingError> {
        match self {
            Challenge::EcSdsa => Ok(()),
            Challenge::Rfc9591 => Scalar::from_bytes(c).map(|_| ()),
        }
    }

    /// Verifies (c, z) over a message that comes in parts.
    ///
    /// # Errors
    /// [`JointError::Identity`], then [`JointError::Mismatch`].
    pub fn verify(self, joint_key: &Point, message: &[&[u8]], c: &[u8; 32], z: &Scalar) -> Result<(), JointError> {
        let commitment = commitment(joint_key, c, z).ok_or(JointError::Identity)?;
        if self.compute(&commitment, joint_key, message) == *c { Ok(()) } else { Err(JointError::Mismatch) }
    }
}

/// R = zG − c·PK, where c is reduced for the arithmetic; none if that is the identity.
pub fn commitment(joint_key: &Point, c: &[u8; 32], z: &Scalar) -> Option<Point> {
    let c = -*Scalar::reduce(c).inner();
    Point::from_projective(ProjectivePoint::mul_by_generator_and_mul_add_vartime(
        z.inner(),
        &c,
        &joint_key.to_projective(),
    ))
}

/// The members of the EC-SDSA family in ISO/IEC 14888-3, by their names there. Only the first is
/// the joint signature of a record; the others are here so that published examples of the family
/// can judge the shared arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IsoVariant {
    /// r = SHA-256(Wx ‖ Wy ‖ message), signature r ‖ s of 64 bytes.
    EcSdsa,
    /// r = SHA-256(Wx ‖ message), signature r ‖ s of 64 bytes.
    EcSdsaOpt,
    /// r = Wx ‖ Wy, challenge SHA-256(r ‖ message), signature r ‖ s of 96 bytes.
    EcFsdsa,
}

/// Why a signature of the EC-SDSA family does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IsoError {
    /// The bytes are no signature of this variant.
    #[error(transparent)]
    Encoding(#[from] EncodingError),
    /// It was not made over this message by the holder of this key.
    #[error(transparent)]
    Signature(#[from] BadSignature),
}

impl IsoVariant {
    /// Verifies a signature r ‖ s over a message.
    ///
    /// # Errors
    /// [`IsoError::Encoding`], then [`IsoError::Signature`].
    pub fn verify(self, key: &Point, message: &[u8], signature: &[u8]) -> Result<(), IsoError> {
        let (r, s) = signature.split_last_chunk::<32>().ok_or(EncodingError::Length)?;
        let expected = if self == IsoVariant::EcFsdsa { 64 } else { 32 };
        if r.len() != expected {
            return Err(EncodingError::Length.into());
        }
        let s = Scalar::from_bytes(s)?;
        let hash = Sha256::new_with_prefix(r).chain_update(message).finalize();
        let challenge: [u8; 32] = match self {
            IsoVariant::EcFsdsa => hash.into(),
            _ => r.try_into().map_err(|_| EncodingError::Length)?,
        };
        let witness = commitment(key, &challenge, &s).ok_or(BadSignature)?;
        let (x, y) = witness.coordinates();
        let found = match self {
            IsoVariant::EcSdsa => Challenge::EcSdsa.compute(&witness, key, &[message]).to_vec(),
            IsoVariant::EcSdsaOpt => Sha256::new_with_prefix(x).chain_update(message).finalize().to_vec(),
            IsoVariant::EcFsdsa => [x, y].concat(),
        };
        if found == r { Ok(()) } else { Err(BadSignature.into()) }
    }
}
