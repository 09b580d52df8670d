//! The subscriber's half of one authentication.
//!
//! ```text
//! Idle --commit--> Committed --prepare--> ToSign --finish--> Pass
//!  s2               + binding key          c || checksum       (c || tag in profile 2)
//!                   + nonces d2, e2        goes to the device
//! ```
//! The device signature is made outside, by secure hardware that holds the device key; in profile 3 by an
//! authenticator behind a browser, which answers a challenge.
//!
//! Each step consumes the one before. A pair of nonces answers one challenge:
//!
//! ```compile_fail,E0382
//! use threshold::*;
//! fn twice(committed: Committed<Profile1>, session: &Session, operation: &Operation<Profile1>,
//!          recipient: &KemPublicKey, rng: &mut impl rand_core::CryptoRng) {
//!     let first = committed.prepare(session, operation, recipient, rng);
//!     let second = committed.prepare(session, operation, recipient, rng);
//! }
//! ```
//!
//! Nor can a state be copied first:
//!
//! ```compile_fail,E0277
//! fn needs_clone<T: Clone>() {}
//! needs_clone::<threshold::Idle<threshold::Profile1>>();
//! ```
//!
//! ```compile_fail,E0277
//! fn needs_clone<T: Clone>() {}
//! needs_clone::<threshold::Committed<threshold::Profile1>>();
//! ```
//!
//! ```compile_fail,E0277
//! fn needs_clone<T: Clone>() {}
//! needs_clone::<threshold::ToSign<threshold::Profile1>>();
//! ```

use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

use frost_core::Ciphersuite;
use p256::SecretKey;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{self, SigningKey};
use p256::elliptic_curve::sec1::ToSec1Point;
use p256_frost::ProjectivePoint;
use rand_core::CryptoRng;
use scal3::Hash;
use scal3::ecdsa::Signature;
use scal3::record::Check;
use sha2::{Digest, Sha256};

use crate::challenge::{Commitment, Session};
use crate::device::{self, DeviceAnswer};
use crate::enrol::Enrolment;
use crate::joint::{Joint, Nonces, Participant};
use crate::kem_key::KemPublicKey;
use crate::mask::Mask;
use crate::operation::{Elsewhere, Operation};
use crate::pass::{self, Pass};
use crate::point::{self, Encoded};
use crate::profile::Profile;
use crate::seal;
use crate::secret::{Bytes, SecretScalar, concat};

/// Why the device cannot answer, in the order checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubscriberError {
    /// The stored joint key is no compressed point.
    #[error("the joint key is not a compressed point")]
    JointKey,
    /// The stored blinded share is not below the group order.
    #[error("the blinded share is not a scalar")]
    Blinded,
    /// The answer would be sealed to another KEM key than the one the share was sealed to.
    #[error("the enrolment is with another KEM key")]
    OtherRecipient,
    /// The metadata names another credential than the session.
    #[error("the metadata is of another credential")]
    OtherCredential,
    /// The metadata names another challenge than the session.
    #[error("the metadata answers another challenge")]
    OtherChallenge,
    /// The provider's commitments cancel ours out.
    #[error("the provider's commitments give no challenge")]
    Commitment,
    /// The signature share could not be sealed.
    #[error("the signature share could not be sealed")]
    Seal,
    /// What the device gave is no r || s; in profile 3, no varsig of P-256.
    #[error("the device signature is not r || s, or in profile 3 not a varsig of P-256")]
    DeviceSignature,
}

impl From<Elsewhere> for SubscriberError {
    fn from(elsewhere: Elsewhere) -> Self {
        match elsewhere {
            Elsewhere::Credential => SubscriberError::OtherCredential,
            Elsewhere::Challenge => SubscriberError::OtherChallenge,
        }
    }
}

/// A subscriber with the share unlocked, for one authentication.
pub struct Idle<P> {
    joint_key: ProjectivePoint,
    kem_key_id: Hash,
    share: SecretScalar,
    profile: PhantomData<P>,
}

impl<P: Profile> Idle<P> {
    /// Takes the mask off the share. With a wrong PIN this succeeds like with the right one.
    ///
    /// # Errors
    /// [`SubscriberError::JointKey`] and [`SubscriberError::Blinded`]: storage is damaged.
    pub fn unlock(enrolment: &Enrolment<P>, mask: &Mask) -> Result<Self, SubscriberError> {
        let joint_key = point::parse(&enrolment.joint_key).ok_or(SubscriberError::JointKey)?;
        let share = enrolment.unmask(mask).ok_or(SubscriberError::Blinded)?;
        Ok(Idle { joint_key, kem_key_id: enrolment.kem_key_id, share, profile: PhantomData })
    }

    /// Makes the one-time binding key and the nonces. Draws 32 bytes for each of the three.
    pub fn commit(self, rng: &mut impl CryptoRng) -> Committed<P> {
        let binding_key = SecretScalar::draw(rng);
        // RFC 9591, section 4.1: the share is hashed in, against a bad random generator.
        let mut nonce = || {
            let random = Bytes::draw(rng);
            let input = concat(&[random.expose(), &*self.share.to_bytes()]);
            SecretScalar::new(<P::Suite as Ciphersuite>::H3(&input))
        };
        let (hiding, binding) = (nonce(), nonce());
        Committed {
            joint_key: self.joint_key,
            kem_key_id: self.kem_key_id,
            share: self.share,
            binding_key: BindingKey::new(&binding_key),
            nonces: Nonces::new(hiding, binding),
            profile: PhantomData,
        }
    }
}

/// The key that is made for one authentication and ties its three signatures together.
struct BindingKey {
    key: SigningKey,
    public: Encoded,
}

impl BindingKey {
    fn new(scalar: &SecretScalar) -> Self {
        let bytes = scalar.to_bytes();
        let key = match SecretKey::from_bytes((&*bytes).into()) {
            Ok(key) => key,
            Err(_) => unreachable!("the scalar was drawn as one other than zero"),
        };
        let mut public = [0; 33];
        let point = key.public_key().to_sec1_point(true);
        public.iter_mut().zip(point.as_bytes()).for_each(|(to, from)| *to = *from);
        BindingKey { key: SigningKey::from(key), public }
    }
}

/// A subscriber that has committed to one pair of nonces.
pub struct Committed<P> {
    joint_key: ProjectivePoint,
    kem_key_id: Hash,
    share: SecretScalar,
    binding_key: BindingKey,
    nonces: Nonces,
    profile: PhantomData<P>,
}

impl<P: Profile> Committed<P> {
    /// Answers a challenge for one operation, up to the device signature. Draws 32 bytes.
    ///
    /// `recipient` is the KEM key the share of this enrolment was sealed to: whoever else could open
    /// the answer could test PINs on a stolen phone. The metadata must name the credential and the
    /// challenge of the session.
    ///
    /// # Errors
    /// [`SubscriberError::OtherRecipient`], [`SubscriberError::OtherCredential`],
    /// [`SubscriberError::OtherChallenge`], [`SubscriberError::Commitment`],
    /// [`SubscriberError::Seal`]. In every case the nonces are gone and no share made with them got out.
    pub fn prepare(
        self,
        session: &Session,
        operation: &Operation<P>,
        recipient: &KemPublicKey,
        rng: &mut impl CryptoRng,
    ) -> Result<ToSign<P>, SubscriberError> {
        if recipient.id() != self.kem_key_id {
            return Err(SubscriberError::OtherRecipient);
        }
        operation.belongs_to(session)?;
        let commitment = *self.nonces.commitment();
        let message = operation.message(&self.binding_key.public);
        let joint = Joint::new::<P>(&self.joint_key, session.commitment(), &commitment, &message)
            .map_err(|_| SubscriberError::Commitment)?;
        let z = joint.sign(Participant::User, self.nonces, &self.share).to_bytes();
        let aad = P::pass_aad(session, joint.c());
        let sealed = seal::seal(recipient, P::PASS_INFO, &aad, &z, rng).map_err(|_| SubscriberError::Seal)?;
        let check = match P::RECORD {
            scal3::Profile::EcSdsa | scal3::Profile::Passkey => Check::checksum(&z),
            scal3::Profile::Transcript => Check::Tag(sealed.tag),
        };
        Ok(ToSign {
            message: device::message(P::RECORD, joint.c(), &check),
            c: *joint.c(),
            commitment,
            binding_key: self.binding_key,
            sealed,
            check,
            profile: PhantomData,
        })
    }
}

/// An answer that lacks the device signature.
pub struct ToSign<P> {
    message: Vec<u8>,
    c: [u8; 32],
    commitment: Commitment,
    binding_key: BindingKey,
    sealed: seal::Sealed<32>,
    check: Check,
    profile: PhantomData<P>,
}

impl<P: Profile> ToSign<P> {
    /// What the device signs with ECDSA and SHA-256: c || checksum (64 bytes), or in profile 2
    /// c || tag (48 bytes). In profile 3 what it is asked, as the challenge of
    /// `navigator.credentials.get` (32 bytes).
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// c, which with the credential names this authorisation.
    pub const fn c(&self) -> &[u8; 32] {
        &self.c
    }

    /// SHA-256 of the message, for hardware that signs digests. Not for profile 3.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.message).into()
    }

    /// Binds the device's answer to the rest: r || s, or in profile 3 a varsig. The binding key is
    /// gone afterwards.
    ///
    /// # Errors
    /// [`SubscriberError::DeviceSignature`].
    pub fn finish(self, device_sig: &[u8]) -> Result<Pass<P>, SubscriberError> {
        let device = DeviceAnswer::parse(P::RECORD, device_sig).ok_or(SubscriberError::DeviceSignature)?;
        let binding_sig: ecdsa::Signature = self.binding_key.key.sign(device.signature());
        let binding_sig = match Signature::from_bytes(&binding_sig.to_bytes().into()) {
            Ok(signature) => signature,
            Err(_) => unreachable!("a signature made just now is r || s"),
        };
        Ok(Pass::assemble(pass::Fields {
            commitment: self.commitment,
            device,
            binding_vk: self.binding_key.public,
            binding_sig,
            sealed: self.sealed,
            check: self.check,
        }))
    }
}

/// Prints the name of a state and nothing of what it holds.
macro_rules! unprintable {
    ($($name:ident),*) => {$(
        impl<P> fmt::Debug for $name<P> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(secret)"))
            }
        }
    )*};
}
unprintable!(Idle, Committed, ToSign);
