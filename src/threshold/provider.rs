//! The provider's half: from a checked pass to a record.
//!
//! ```text
//! open z2  ->  compare the checksum  ->  verify the share  ->  z1 + z2  ->  verify the whole  ->  record
//!   |                |                        |
//!   transport        transport                wrong PIN
//! ```
//! A pair of nonces completes one pass, and what failed took them with it:
//!
//! ```compile_fail,E0382
//! use threshold::*;
//! fn twice(a: Checked<Profile1>, b: Checked<Profile1>, nonces: ProviderNonces<Profile1>,
//!          share: &ProviderShare<Profile1>, agreed: &Agreed) {
//!     let first = a.complete(nonces, share, agreed);
//!     let second = b.complete(nonces, share, agreed);
//! }
//! ```
//!
//! The order is the point. A share that arrived damaged is not a wrong guess, and must not be
//! counted as one; a share that arrived whole and does not fit is.

use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

use scal3::record::Check;
use subtle::ConstantTimeEq;

use crate::challenge::ProviderNonces;
use crate::enrol::ProviderShare;
use crate::joint::Participant;
use crate::kem_key::Agreed;
use crate::operation::Signatures;
use crate::pass::Checked;
use crate::profile::Profile;
use crate::seal;
use crate::secret::SecretScalar;

/// Why a checked pass makes no record, in the order checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CompleteError {
    /// The nonces are not those that the checked challenge promised.
    #[error("the nonces belong to another challenge")]
    OtherNonces,
    /// The provider's share is of another joint key than the credential's.
    #[error("the provider's share belongs to another key")]
    OtherShare,
    /// The sealed signature share does not open.
    #[error("the sealed signature share does not open")]
    Unopened,
    /// The signature share is not the one whose checksum the device signed.
    #[error("the signature share does not match its checksum")]
    Checksum,
    /// The signature share is not below the group order.
    #[error("the signature share is not a scalar")]
    Scalar,
    /// The signature share was not made with the user's share: the PIN was wrong.
    #[error("the signature share does not verify")]
    WrongShare,
    /// The completed signature does not verify, although both shares should.
    #[error("the joint signature does not verify")]
    Joint,
}

/// Whose doing a failure is: it decides what happens to the attempt that was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Damaged on the way or sealed wrongly: the attempt is given back.
    Transport,
    /// The second factor was wrong: the attempt stays counted.
    WrongPin,
    /// Ours: nothing about the user was learned. The attempt is given back, and an operator told.
    Provider,
}

impl CompleteError {
    /// Whose doing this is.
    pub const fn fault(self) -> Fault {
        match self {
            CompleteError::OtherNonces | CompleteError::OtherShare | CompleteError::Joint => Fault::Provider,
            CompleteError::Unopened | CompleteError::Checksum => Fault::Transport,
            // A number that is no scalar was sealed on purpose, and the device signed for it.
            CompleteError::Scalar | CompleteError::WrongShare => Fault::WrongPin,
        }
    }
}

impl<P: Profile> Checked<P> {
    /// Completes the joint signature. Uses the nonces up, whatever comes of it.
    ///
    /// `agreed` is what the KEM key gives with [`Checked::encapsulated`].
    ///
    /// # Errors
    /// The first check that fails; [`CompleteError::fault`] says whose doing it is. In every case
    /// the challenge is spent.
    pub fn complete(
        self,
        nonces: ProviderNonces<P>,
        share: &ProviderShare<P>,
        agreed: &Agreed,
    ) -> Result<Record<P>, CompleteError> {
        if nonces.commitment() != self.session.commitment() {
            return Err(CompleteError::OtherNonces);
        }
        if share.joint_key != self.joint_key {
            return Err(CompleteError::OtherShare);
        }
        let aad = P::pass_aad(&self.session, self.joint.c());
        let sealed = &self.fields.sealed;
        let second =
            seal::open(&share.recipient, agreed, P::PASS_INFO, &aad, sealed).map_err(|_| CompleteError::Unopened)?;
        // In profile 2 the device signed the tag, which has just opened.
        if let Check::Checksum(signed) = &self.fields.check
            && !bool::from(Check::checksum(&second).as_bytes().ct_eq(signed))
        {
            return Err(CompleteError::Checksum);
        }
        let second = SecretScalar::from_bytes(&second).ok_or(CompleteError::Scalar)?;
        if !self.joint.verify_share(Participant::User, &second, &share.user) {
            return Err(CompleteError::WrongShare);
        }
        let first = self.joint.sign(Participant::Provider, nonces.nonces, &share.share);
        // A signature that is wrong although its parts are right gives the share away (a fault
        // attack), so it is looked at before anybody else may.
        let z = self.joint.combine(&first, &second).ok_or(CompleteError::Joint)?;
        let bytes = self.operation.record(&Signatures {
            binding_key: &self.fields.binding_vk,
            c: self.joint.c(),
            z: &z,
            check: self.fields.check,
            device: &self.fields.device,
            binding_sig: self.fields.binding_sig.as_bytes(),
        });
        Ok(Record { bytes, c: *self.joint.c(), profile: PhantomData })
    }
}

/// A finished binding record, in the layout that `scal3` reads.
#[derive(Clone, PartialEq, Eq)]
pub struct Record<P> {
    bytes: Vec<u8>,
    c: [u8; 32],
    profile: PhantomData<P>,
}

impl<P> Record<P> {
    /// The record.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The record.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// c, which with the credential names this authorisation.
    pub const fn c(&self) -> &[u8; 32] {
        &self.c
    }
}

impl<P> fmt::Debug for Record<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Record({} bytes)", self.bytes.len())
    }
}
