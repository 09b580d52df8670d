//! Enrolment: the subscriber deals the shares, the provider checks them.
//!
//! ```text
//! s, a1 random      s1 = s + a1      s2 = s + 2 a1      PK = sG      A1 = a1 G
//! shares  = blinded[32] || E[33] || ciphertext[136] || tag[16]          blinded = s2 + mask
//! plain   = 00 || a132f0c9 || id[32] || s1[32] || 02 || PK[33] || A1[33]
//! ```
//! The plaintext is the serialisation of a FROST secret share: format version, CRC-32 of the context
//! string, identifier 1, the share, and the commitment to the polynomial. Whoever reads it can test
//! PINs on the user's phone, so it is never kept: [`ProviderShare`] is opened for one use and dropped.
//!
//! The dealer is the other side. A share that does not fit is an error, never a panic.

use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

use p256_frost::ProjectivePoint;
use rand_core::CryptoRng;
use scal3::Hash;
use scal3::credential::shares_hash;
use zeroize::Zeroizing;

use crate::kem_key::{Agreed, KemPublicKey};
use crate::mask::Mask;
use crate::parts::Parts;
use crate::point::{self, Encoded};
use crate::profile::{Profile, Profile2};
use crate::seal::{self, SealError, Sealed};
use crate::secret::SecretScalar;

/// Format version 0 and the CRC-32 of `FROST-P256-SHA256-v1`.
const HEADER: [u8; 5] = [0x00, 0xa1, 0x32, 0xf0, 0xc9];
/// The provider is participant 1.
const PROVIDER: [u8; 32] = {
    let mut id = [0; 32];
    id[31] = 1;
    id
};
/// Constant term and one coefficient: 2 of 2.
const COEFFICIENTS: u8 = 2;
const PLAINTEXT: usize = 136;

/// What an enrolment is bound to. Profile 2 binds none of it into the sealed share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enrolling<'a> {
    /// The log's origin.
    pub origin: &'a str,
    /// The number the provider gave this enrolment.
    pub enrolment_id: &'a Hash,
    /// The device key, compressed.
    pub device_key: &'a [u8; 33],
}

/// The shares as they travel and are stored, apart from the credential: 217 bytes. A receipt must
/// not spread them.
#[derive(Clone, PartialEq, Eq)]
pub struct Shares {
    blinded: [u8; 32],
    sealed: Sealed<PLAINTEXT>,
}

impl Shares {
    /// Length of `blinded || E || ciphertext || tag`.
    pub const LEN: usize = 217;

    /// Splits `blinded || E || ciphertext || tag`; `None` for another length.
    /// [`ProviderShare::open`] checks what is inside.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (blinded, sealed) = bytes.split_first_chunk()?;
        Some(Shares { blinded: *blinded, sealed: seal::parse(sealed)? })
    }

    /// `blinded || E || ciphertext || tag`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Sealed { encapsulated, ciphertext, tag } = &self.sealed;
        [&self.blinded[..], encapsulated, ciphertext, tag].concat()
    }

    /// What the credential commits to: `H("solelog/shares/v1", blinded || sealed)`.
    pub fn hash(&self) -> Hash {
        let Sealed { encapsulated, ciphertext, tag } = &self.sealed;
        shares_hash(&self.blinded, &[&encapsulated[..], ciphertext, tag].concat())
    }

    /// The key to agree with, for [`crate::KemKey::agree`] or a hardware module.
    pub const fn encapsulated(&self) -> &[u8; 33] {
        &self.sealed.encapsulated
    }
}

impl fmt::Debug for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shares({:?})", self.hash())
    }
}

/// What the subscriber sends: a joint key and the shares of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolment<P> {
    /// The joint key, compressed.
    pub joint_key: [u8; 33],
    /// The shares of it.
    pub shares: Shares,
    /// The [`KemPublicKey::id`] of the key they are sealed to, as the credential names it
    /// (`kem_key_id`). The device answers to no other key.
    pub kem_key_id: Hash,
    profile: PhantomData<P>,
}

impl<P: Profile> Enrolment<P> {
    /// Puts an enrolment together from its stored parts.
    pub const fn from_parts(joint_key: [u8; 33], shares: Shares, kem_key_id: Hash) -> Self {
        Enrolment { joint_key, shares, kem_key_id, profile: PhantomData }
    }
}

impl Enrolment<Profile2> {
    /// Splits the published implementation's verifier: `blinded || PK || E || ciphertext || tag`.
    /// `None` for another length. It does not say which KEM key its shares are sealed to.
    pub fn from_verifier(verifier: &[u8], kem_key_id: Hash) -> Option<Self> {
        let (blinded, rest) = verifier.split_first_chunk()?;
        let (joint_key, sealed) = rest.split_first_chunk()?;
        let shares = Shares { blinded: *blinded, sealed: seal::parse(sealed)? };
        Some(Enrolment::from_parts(*joint_key, shares, kem_key_id))
    }

    /// The published implementation's verifier, 250 bytes.
    pub fn to_verifier(&self) -> Vec<u8> {
        let Sealed { encapsulated, ciphertext, tag } = &self.shares.sealed;
        [&self.shares.blinded[..], &self.joint_key, encapsulated, ciphertext, tag].concat()
    }
}

/// Deals a new joint key, on the subscriber's device.
///
/// Draws s and a1 (32 bytes each, again in the one case of 2^32 that is no scalar), then 32 bytes
/// for sealing.
///
/// # Errors
/// [`SealError`], which no key that was parsed causes.
pub fn deal<P: Profile>(
    context: &Enrolling<'_>,
    mask: &Mask,
    recipient: &KemPublicKey,
    rng: &mut impl CryptoRng,
) -> Result<Enrolment<P>, SealError> {
    // Dealt here rather than by the library, which leaves its coefficients in freed memory.
    let (secret, slope, first, second) = loop {
        let secret = SecretScalar::draw(rng);
        let slope = SecretScalar::draw(rng);
        let first = SecretScalar::new(*secret.expose() + slope.expose());
        let second = SecretScalar::new(*first.expose() + slope.expose());
        // A zero share would leave the key to the other side alone.
        if !first.is_zero() && !second.is_zero() {
            break (secret, slope, first, second);
        }
    };
    let joint_key = *public(&secret)?;
    let blinded = SecretScalar::new(*second.expose() + mask.scalar::<P>().expose());
    let blinded = *blinded.to_bytes();

    let mut plaintext = Zeroizing::new([0; PLAINTEXT]);
    let parts: [&[u8]; 6] = [&HEADER, &PROVIDER, &*first.to_bytes(), &[COEFFICIENTS], &joint_key, &*public(&slope)?];
    plaintext.iter_mut().zip(parts.into_iter().flatten()).for_each(|(to, from)| *to = *from);

    let aad = P::share_aad(context, &joint_key, &blinded);
    let sealed = seal::seal(recipient, P::SHARE_INFO, &aad, &plaintext, rng)?;
    Ok(Enrolment::from_parts(joint_key, Shares { blinded, sealed }, recipient.id()))
}

/// Wiped, because with the public point of the slope PINs can be tested: s2 G = PK + 2 A1.
fn public(secret: &SecretScalar) -> Result<Zeroizing<Encoded>, SealError> {
    let point = Zeroizing::new(ProjectivePoint::GENERATOR * secret.expose());
    point::encode(&point).map(Zeroizing::new).ok_or(SealError)
}

/// Why a share is refused, in the order checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The enrolment names another KEM key.
    #[error("the enrolment is with another KEM key")]
    OtherRecipient,
    /// The joint key is no compressed point.
    #[error("the joint key is not a compressed point")]
    JointKey,
    /// The blinded share is not below the group order.
    #[error("the blinded share is not a scalar")]
    Blinded,
    /// The sealed share does not open: another key, another enrolment, or altered.
    #[error("the sealed share does not open")]
    Unopened,
    /// The plaintext does not begin as a share of this ciphersuite.
    #[error("not a share of FROST(P-256, SHA-256)")]
    Header,
    /// The share is not the provider's.
    #[error("the share is not participant 1's")]
    Identifier,
    /// The share is not below the group order.
    #[error("the share is not a scalar")]
    Scalar,
    /// The commitment is not to a polynomial of degree 1.
    #[error("the commitment is not to a 2-of-2 sharing")]
    Coefficients,
    /// A commitment is no compressed point.
    #[error("a commitment is not a compressed point")]
    Commitment,
    /// The sharing is of another key.
    #[error("the first commitment is not the joint key")]
    OtherKey,
    /// The share is not on the committed polynomial.
    #[error("the share does not fit its commitments")]
    Share,
    /// A share is zero, so that the other party could sign alone.
    #[error("one of the shares is zero")]
    Zero,
}

/// The provider's share of one joint key, opened and checked. Not to be kept.
///
/// ```compile_fail,E0277
/// fn needs_clone<T: Clone>() {}
/// needs_clone::<threshold::ProviderShare<threshold::Profile1>>();
/// ```
pub struct ProviderShare<P> {
    pub(crate) share: SecretScalar,
    /// s2 G: with it and the phone, PINs can be tested.
    pub(crate) user: Zeroizing<ProjectivePoint>,
    pub(crate) joint_key: Encoded,
    pub(crate) recipient: KemPublicKey,
    profile: PhantomData<P>,
}

impl<P: Profile> ProviderShare<P> {
    /// Opens and checks the share: at enrolment, before a credential is issued, and again for every
    /// authentication, after the attempt was counted.
    ///
    /// `agreed` is what `recipient`'s private half gives with [`Shares::encapsulated`].
    ///
    /// # Errors
    /// The first check that fails. Every one is the dealer's doing, or that of storage.
    pub fn open(
        context: &Enrolling<'_>,
        enrolment: &Enrolment<P>,
        recipient: &KemPublicKey,
        agreed: &Agreed,
    ) -> Result<Self, OpenError> {
        if recipient.id() != enrolment.kem_key_id {
            return Err(OpenError::OtherRecipient);
        }
        let Shares { blinded, sealed } = &enrolment.shares;
        let joint_key = point::parse(&enrolment.joint_key).ok_or(OpenError::JointKey)?;
        SecretScalar::from_bytes(blinded).ok_or(OpenError::Blinded)?;
        let aad = P::share_aad(context, &enrolment.joint_key, blinded);
        let plaintext = seal::open(recipient, agreed, P::SHARE_INFO, &aad, sealed).map_err(|_| OpenError::Unopened)?;

        let mut plaintext = Parts(&*plaintext);
        if plaintext.take() != Some(&HEADER) {
            return Err(OpenError::Header);
        }
        if plaintext.take() != Some(&PROVIDER) {
            return Err(OpenError::Identifier);
        }
        let share = plaintext.take().and_then(SecretScalar::from_bytes).ok_or(OpenError::Scalar)?;
        if plaintext.take() != Some(&[COEFFICIENTS]) {
            return Err(OpenError::Coefficients);
        }
        let constant = plaintext.take().and_then(point::parse).ok_or(OpenError::Commitment)?;
        // From here on every point but the joint key is a way to test PINs on the phone.
        let slope = Zeroizing::new(plaintext.take().and_then(point::parse).ok_or(OpenError::Commitment)?);
        if constant != joint_key {
            return Err(OpenError::OtherKey);
        }
        // The polynomial at 1, and then at 2.
        let provider = Zeroizing::new(constant + *slope);
        let held = Zeroizing::new(ProjectivePoint::GENERATOR * share.expose());
        if *held != *provider {
            return Err(OpenError::Share);
        }
        let user = Zeroizing::new(*provider + *slope);
        if share.is_zero() || *user == ProjectivePoint::IDENTITY {
            return Err(OpenError::Zero);
        }
        Ok(ProviderShare { share, user, joint_key: enrolment.joint_key, recipient: *recipient, profile: PhantomData })
    }
}

impl<P> fmt::Debug for ProviderShare<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProviderShare(secret)")
    }
}

impl<P: Profile> Enrolment<P> {
    /// The user's share under a mask. A wrong mask gives a wrong share, and nothing here tells.
    pub(crate) fn unmask(&self, mask: &Mask) -> Option<SecretScalar> {
        let blinded = SecretScalar::from_bytes(&self.shares.blinded)?;
        Some(SecretScalar::new(*blinded.expose() - mask.scalar::<P>().expose()))
    }
}
