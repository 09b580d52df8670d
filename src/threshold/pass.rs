//! The subscriber's answer, and the checks that need no secret.
//!
//! ```text
//!   0  D2 || E2[66]
//!  66  device_sig[64]
//! 130  binding_vk[33]
//! 163  binding_sig[64]
//! 227  E[33] || sealed z2[32] || tag[16]
//! 308  checksum[32]                          profile 1 only: SHA-256(z2)
//! ```
//! In profile 3 the assertion of the device, which says itself how long it is, stands last:
//!
//! ```text
//!   0  D2 || E2[66]
//!  66  binding_vk[33]
//!  99  binding_sig[64]                       over the 64 bytes r || s of the assertion
//! 163  E[33] || sealed z2[32] || tag[16]
//! 244  checksum[32]
//! 276  varsig
//! ```
//! A pass is for the provider alone: whoever gets the KEM key later turns a kept one into a way to
//! test PINs. It is never logged, and not printed.
//!
//! The public checks come first, and cost nobody an attempt: until the device signature has
//! verified, anyone could be calling.

use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

use scal3::credential::Passkey;
use scal3::ecdsa::Signature;
use scal3::evidence::Reason;
use scal3::point::Point;
use scal3::record::Check;

use crate::challenge::{Commitment, Session};
use crate::device::DeviceAnswer;
use crate::joint::Joint;
use crate::operation::{Elsewhere, Operation};
use crate::parts::Parts;
use crate::point::{self, Encoded};
use crate::profile::Profile;
use crate::seal::{self, Sealed};

/// Why bytes are no pass, in the order checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PassError {
    /// Not the profile's number of bytes.
    #[error("a pass of this profile has another length")]
    Length,
    /// D2 or E2 is no compressed point.
    #[error("a commitment is not a compressed point")]
    Commitment,
    /// The device signature is no r || s; in profile 3, no varsig of P-256.
    #[error("the device signature is not r || s, or in profile 3 not a varsig of P-256")]
    DeviceSignature,
    /// The binding key is no compressed point.
    #[error("the binding key is not a compressed point")]
    BindingKey,
    /// The binding signature is no r || s.
    #[error("the binding signature is not r || s")]
    BindingSignature,
    /// The encapsulated key is no compressed point.
    #[error("the encapsulated key is not a compressed point")]
    Encapsulated,
}

/// Which public check failed, in the order made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublicFault {
    /// The credential's joint key is no compressed point.
    #[error("the joint key is not a compressed point")]
    JointKey,
    /// The credential's device key is no compressed point.
    #[error("the device key is not a compressed point")]
    DeviceKey,
    /// The metadata names another credential than the session.
    #[error("the metadata is of another credential")]
    OtherCredential,
    /// The metadata names another challenge than the session.
    #[error("the metadata answers another challenge")]
    OtherChallenge,
    /// The commitments cancel each other out.
    #[error("the commitments give no challenge")]
    Commitment,
    /// The binding key did not sign the device signature.
    #[error("the binding signature does not verify")]
    Binding,
    /// In profile 3: the device was asked something else, elsewhere, or with nobody there.
    #[error("the device's assertion is not an answer to this: {0}")]
    Assertion(Reason),
    /// The device did not sign this challenge, operation and share.
    #[error("the device signature does not verify")]
    Device,
}

impl From<Elsewhere> for PublicFault {
    fn from(elsewhere: Elsewhere) -> Self {
        match elsewhere {
            Elsewhere::Credential => PublicFault::OtherCredential,
            Elsewhere::Challenge => PublicFault::OtherChallenge,
        }
    }
}

/// The public keys of a credential, compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keys<'a> {
    /// The key that both factors hold together.
    pub joint: [u8; 33],
    /// The key of the device's secure hardware.
    pub device: [u8; 33],
    /// In profile 3, where that key may be used.
    pub passkey: Option<&'a Passkey>,
}

pub(crate) struct Fields {
    pub(crate) commitment: Commitment,
    pub(crate) device: DeviceAnswer,
    pub(crate) binding_vk: Encoded,
    pub(crate) binding_sig: Signature,
    pub(crate) sealed: Sealed<32>,
    pub(crate) check: Check,
}

/// The subscriber's answer, well-formed.
pub struct Pass<P> {
    fields: Fields,
    profile: PhantomData<P>,
}

impl<P: Profile> Pass<P> {
    /// Length of everything but the device's answer.
    const FIXED: usize = match P::RECORD {
        scal3::Profile::EcSdsa | scal3::Profile::Passkey => 276,
        scal3::Profile::Transcript => 244,
    };

    pub(crate) const fn assemble(fields: Fields) -> Self {
        Pass { fields, profile: PhantomData }
    }

    /// Reads a pass.
    ///
    /// # Errors
    /// The first part that is not what it should be.
    pub fn parse(bytes: &[u8]) -> Result<Self, PassError> {
        // How much of it the device made: 64 bytes, or in profile 3 as much as it says itself.
        let answer = bytes.len().checked_sub(Self::FIXED).ok_or(PassError::Length)?;
        if P::RECORD != scal3::Profile::Passkey && answer != Signature::LEN {
            return Err(PassError::Length);
        }
        let device = |bytes| DeviceAnswer::parse(P::RECORD, bytes).ok_or(PassError::DeviceSignature);
        let mut parts = Parts(bytes);
        let commitment = parts.take().ok_or(PassError::Length)?;
        let commitment = Commitment::parse(commitment).map_err(|_| PassError::Commitment)?;
        let first = match P::RECORD {
            scal3::Profile::EcSdsa | scal3::Profile::Transcript => {
                Some(device(parts.take::<{ Signature::LEN }>().ok_or(PassError::Length)?)?)
            }
            scal3::Profile::Passkey => None,
        };
        let binding_vk = *parts.take().ok_or(PassError::Length)?;
        point::parse(&binding_vk).ok_or(PassError::BindingKey)?;
        let binding_sig = parts.take().ok_or(PassError::Length)?;
        let binding_sig = Signature::from_bytes(binding_sig).map_err(|_| PassError::BindingSignature)?;
        let sealed = parts.take::<81>().ok_or(PassError::Length)?;
        let sealed: Sealed<32> = seal::parse(sealed).ok_or(PassError::Encapsulated)?;
        point::parse(&sealed.encapsulated).ok_or(PassError::Encapsulated)?;
        let check = match P::RECORD {
            scal3::Profile::EcSdsa | scal3::Profile::Passkey => {
                Check::Checksum(*parts.take().ok_or(PassError::Length)?)
            }
            scal3::Profile::Transcript => Check::Tag(sealed.tag),
        };
        let device = first.map_or_else(|| device(parts.0), Ok)?;
        Ok(Pass::assemble(Fields { commitment, device, binding_vk, binding_sig, sealed, check }))
    }

    /// The bytes that travel.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Fields { commitment, device, binding_vk, binding_sig, sealed, check } = &self.fields;
        let device = device.to_bytes();
        let (first, last) = match P::RECORD {
            scal3::Profile::EcSdsa | scal3::Profile::Transcript => (&device[..], &[][..]),
            scal3::Profile::Passkey => (&[][..], &device[..]),
        };
        let checksum = match check {
            Check::Checksum(checksum) => &checksum[..],
            // It stands in the sealed share already.
            Check::Tag(_) => &[],
        };
        [
            commitment.as_bytes(),
            first,
            binding_vk,
            binding_sig.as_bytes(),
            &sealed.encapsulated,
            &sealed.ciphertext,
            &sealed.tag,
            checksum,
            last,
        ]
        .concat()
    }

    /// The key to agree with, for [`crate::KemKey::agree`] or a hardware module.
    pub const fn encapsulated(&self) -> &[u8; 33] {
        &self.fields.sealed.encapsulated
    }

    /// Makes the checks that need no secret and cost no attempt.
    ///
    /// The metadata in `operation` must name the credential and the challenge of the session. That the
    /// log, the policy and the times in it are right is for the caller to have checked.
    ///
    /// # Errors
    /// The first check that fails. The challenge is not spent by that.
    pub fn check(
        self,
        keys: &Keys<'_>,
        session: &Session,
        operation: &Operation<P>,
    ) -> Result<Checked<P>, PublicFault> {
        let joint_key = point::parse(&keys.joint).ok_or(PublicFault::JointKey)?;
        let device_key = Point::from_bytes(&keys.device).map_err(|_| PublicFault::DeviceKey)?;
        operation.belongs_to(session)?;
        let Fields { commitment, device, binding_vk, binding_sig, check, .. } = &self.fields;
        let message = operation.message(binding_vk);
        let joint = Joint::new::<P>(&joint_key, session.commitment(), commitment, &message)
            .map_err(|_| PublicFault::Commitment)?;
        Point::from_bytes(binding_vk)
            .ok()
            .and_then(|key| binding_sig.verify(&key, device.signature()).ok())
            .ok_or(PublicFault::Binding)?;
        device.verify(&device_key, keys.passkey, joint.c(), check)?;
        Ok(Checked {
            fields: self.fields,
            joint_key: keys.joint,
            joint,
            session: session.clone(),
            operation: operation.clone(),
            profile: PhantomData,
        })
    }
}

impl<P> fmt::Debug for Pass<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pass(confidential)")
    }
}

/// A pass whose public checks hold: the enrolled device signed exactly this, under this challenge.
///
/// Spend the challenge and count the attempt, durably, before [`Checked::complete`].
pub struct Checked<P> {
    pub(crate) fields: Fields,
    pub(crate) joint_key: Encoded,
    pub(crate) joint: Joint,
    pub(crate) session: Session,
    pub(crate) operation: Operation<P>,
    profile: PhantomData<P>,
}

impl<P> Checked<P> {
    /// c, which with the credential names this authorisation.
    pub const fn c(&self) -> &[u8; 32] {
        self.joint.c()
    }

    /// The key to agree with, for [`crate::KemKey::agree`] or a hardware module.
    pub const fn encapsulated(&self) -> &[u8; 33] {
        &self.fields.sealed.encapsulated
    }
}

impl<P> fmt::Debug for Checked<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Checked(confidential)")
    }
}
