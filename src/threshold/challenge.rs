//! The provider's challenge: one pair of nonces, promised before the message is known.
//!
//! ```text
//! (d1, e1)   = hash_to_field(seed, 2 scalars)
//! commitment = D1[33] || E1[33]
//! challenge  = H("solelog/challenge/v1", random[32] || D1 || E1 || credential[32])
//! ```
//! The seed is not `random`: what is published must say nothing about the nonces. It lives in memory
//! only and [`NonceSeed::take`] takes it: a challenge answered three times gives the provider's
//! share away, however honest every other part is.

use core::fmt;
use core::marker::PhantomData;

use p256_frost::ProjectivePoint;
use rand_core::CryptoRng;
use scal3::Hash;
use scal3::tag::tagged;

use crate::joint::Nonces;
use crate::mask::hash_to_scalars;
use crate::point::{self, Encoded};
use crate::profile::Profile;
use crate::secret::{Bytes, secret_bytes};

/// Bytes that are no pair of points, each compressed with tag 02 or 03.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not two compressed points of P-256")]
pub struct NotACommitment;

/// Commitments to a hiding and a binding nonce: D || E, 66 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Commitment {
    bytes: [Encoded; 2],
    hiding: ProjectivePoint,
    binding: ProjectivePoint,
}

impl Commitment {
    /// Length of D || E.
    pub const LEN: usize = 66;

    /// Reads D || E.
    ///
    /// # Errors
    /// [`NotACommitment`].
    pub fn parse(bytes: &[u8; Self::LEN]) -> Result<Self, NotACommitment> {
        let (hiding, rest) = bytes.split_first_chunk().ok_or(NotACommitment)?;
        let (binding, _) = rest.split_first_chunk().ok_or(NotACommitment)?;
        Commitment::of(hiding, binding).ok_or(NotACommitment)
    }

    pub(crate) fn of(hiding: &Encoded, binding: &Encoded) -> Option<Self> {
        Some(Commitment { bytes: [*hiding, *binding], hiding: point::parse(hiding)?, binding: point::parse(binding)? })
    }

    /// D || E.
    pub const fn as_bytes(&self) -> &[u8] {
        self.bytes.as_flattened()
    }

    /// D and E.
    pub const fn parts(&self) -> (&[u8; 33], &[u8; 33]) {
        let [hiding, binding] = &self.bytes;
        (hiding, binding)
    }

    pub(crate) const fn hiding(&self) -> &ProjectivePoint {
        &self.hiding
    }

    pub(crate) const fn binding(&self) -> &ProjectivePoint {
        &self.binding
    }
}

impl fmt::Debug for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Commitment(")?;
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// One authentication as both sides see it: whose, and under which challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    credential: Hash,
    commitment: Commitment,
    challenge: Hash,
}

impl Session {
    /// Computes the challenge from what the provider sent; nothing derived is taken on trust.
    pub fn new(credential: &Hash, random: &[u8; 32], commitment: &Commitment) -> Self {
        let (hiding, binding) = commitment.parts();
        Session {
            credential: *credential,
            commitment: *commitment,
            challenge: scal3::metadata::challenge(random, hiding, binding, credential),
        }
    }

    /// The credential's id.
    pub const fn credential(&self) -> &Hash {
        &self.credential
    }

    /// The provider's commitment.
    pub const fn commitment(&self) -> &Commitment {
        &self.commitment
    }

    /// What metadata carries as `challenge`.
    pub const fn challenge(&self) -> &Hash {
        &self.challenge
    }
}

secret_bytes! {
    /// What the provider's nonces of one challenge are made from.
    ///
    /// Taking the nonces uses the seed up:
    ///
    /// ```compile_fail,E0382
    /// let seed = threshold::NonceSeed::from_bytes([7; 32]);
    /// let first = seed.take::<threshold::Profile1>();
    /// let second = seed.take::<threshold::Profile1>();
    /// ```
    NonceSeed
}

impl NonceSeed {
    /// Draws a new one.
    pub fn draw(rng: &mut impl CryptoRng) -> Self {
        NonceSeed(Bytes::draw(rng))
    }

    /// What a journal may keep: it tells seeds apart and says nothing about them.
    pub fn hash(&self) -> Hash {
        tagged("solelog/nonce-seed/v1", self.0.expose())
    }

    /// What is published.
    pub fn commitment<P: Profile>(&self) -> Commitment {
        *self.nonces::<P>().commitment()
    }

    /// Takes the nonces, after the challenge was durably spent.
    pub fn take<P: Profile>(self) -> ProviderNonces<P> {
        ProviderNonces { nonces: self.nonces::<P>(), profile: PhantomData }
    }

    fn nonces<P: Profile>(&self) -> Nonces {
        let [hiding, binding] = hash_to_scalars::<2>(self.0.expose(), P::NONCE_DST);
        Nonces::new(hiding, binding)
    }
}

/// The provider's nonces of one challenge. [`crate::Checked::complete`] uses them up.
///
/// ```compile_fail,E0277
/// fn needs_clone<T: Clone>() {}
/// needs_clone::<threshold::ProviderNonces<threshold::Profile1>>();
/// ```
pub struct ProviderNonces<P> {
    pub(crate) nonces: Nonces,
    profile: PhantomData<P>,
}

impl<P> ProviderNonces<P> {
    /// What these nonces were promised with.
    pub const fn commitment(&self) -> &Commitment {
        self.nonces.commitment()
    }
}

impl<P> fmt::Debug for ProviderNonces<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProviderNonces(secret)")
    }
}
