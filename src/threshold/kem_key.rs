//! The keys that shares are sealed to, and the raw agreement that opens them.
//!
//! ```text
//! ikm     = HMAC-SHA-256(master secret, "solelog/user-kem/v1" || 0x00 || enrolment_id)
//! (sk,pk) = DeriveKeyPair(ikm)               RFC 9180, DHKEM(P-256, HKDF-SHA256)
//! agreed  = x coordinate of sk * E           32 bytes: all that a hardware module must compute
//!
//! derived = HMAC-SHA-256(master secret, "solelog/provider-secret/v1" || 0x00 || length of purpose: u64 BE || purpose || context)
//! ```
//! RFC 9180: <https://www.rfc-editor.org/rfc/rfc9180#section-7.1.3>.
//!
//! Each user has a key of their own, so one key that gets out exposes one user's share. The
//! published implementation has one for all (profile 2): [`KemKey::from_bytes`].

use core::fmt;

use hmac::Mac;
use hpke::kem::DhP256HkdfSha256;
use hpke::{Kem, Serializable};
use p256::elliptic_curve::sec1::ToSec1Point;
use p256::{PublicKey, SecretKey};
use rand_core::CryptoRng;
use scal3::Hash;
use scal3::tag::tagged;
use zeroize::Zeroizing;

use crate::mask::{finish, hmac_sha256};
use crate::point::Encoded;
use crate::secret::{Bytes, secret_bytes};

/// Bytes that are no public key: not 02 or 03, or not on the curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a compressed point of P-256")]
pub struct NotAPoint;

secret_bytes! {
    /// The provider's secret from which every user's KEM key is derived.
    MasterSecret
}

impl MasterSecret {
    /// Draws a new one.
    pub fn draw(rng: &mut impl CryptoRng) -> Self {
        MasterSecret(Bytes::draw(rng))
    }

    /// The key of one enrolment. The same inputs give the same key, so nothing has to be stored.
    pub fn kem_key(&self, enrolment_id: &Hash) -> KemKey {
        let mut prf = hmac_sha256(self.0.expose());
        prf.update(b"solelog/user-kem/v1\0");
        prf.update(&enrolment_id.0);
        let (derived, _) = DhP256HkdfSha256::derive_keypair(finish(prf).expose());
        // The library's key has no way to agree on a bare x coordinate, so its scalar moves over.
        let bytes = Zeroizing::new(<[u8; 32]>::from(derived.to_bytes()));
        match KemKey::from_bytes(&bytes) {
            Some(key) => key,
            None => unreachable!("DeriveKeyPair gives scalars from 1 to n - 1"),
        }
    }

    /// A secret of the provider's own for one purpose. Two purposes share nothing, and none of them says anything about
    /// users' keys. The context is whatever tells two secrets of one purpose apart: an id, or nothing.
    pub fn derive(&self, purpose: &'static str, context: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut prf = hmac_sha256(self.0.expose());
        prf.update(b"solelog/provider-secret/v1\0");
        // The length marks the seam: no purpose with its context spells another one with its own.
        prf.update(&(purpose.len() as u64).to_be_bytes());
        prf.update(purpose.as_bytes());
        prf.update(context);
        Zeroizing::new(*finish(prf).expose())
    }
}

secret_bytes! {
    /// What key agreement gave: the x coordinate, 32 bytes. It opens one sealed message.
    Agreed
}

impl Agreed {
    pub(crate) const fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }
}

/// The private half of a KEM key, held in software. A hardware module stands in for it by giving
/// [`Agreed::from_bytes`] its raw ECDH output.
///
/// ```compile_fail,E0277
/// fn needs_clone<T: Clone>() {}
/// needs_clone::<threshold::KemKey>();
/// ```
pub struct KemKey(SecretKey);

impl KemKey {
    /// A key held as 32 bytes, big-endian; `None` when zero or not below the group order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        SecretKey::from_bytes(bytes.into()).ok().map(KemKey)
    }

    /// The public half.
    pub fn public_key(&self) -> KemPublicKey {
        KemPublicKey::from_point(self.0.public_key())
    }

    /// Agrees with the encapsulated key of a sealed message.
    ///
    /// # Errors
    /// [`NotAPoint`]: the bytes came from the other side.
    pub fn agree(&self, encapsulated: &Encoded) -> Result<Agreed, NotAPoint> {
        let theirs = KemPublicKey::parse(encapsulated)?;
        let shared = self.0.diffie_hellman(&theirs.point);
        Ok(Agreed::from_bytes((*shared.raw_secret_bytes()).into()))
    }

    /// The private scalar, for the library to open with what we opened without it.
    #[cfg(test)]
    pub(crate) fn secret_for_test(&self) -> [u8; 32] {
        self.0.to_bytes().into()
    }
}

impl fmt::Debug for KemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KemKey(secret)")
    }
}

/// The public half of a KEM key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KemPublicKey {
    point: PublicKey,
    bytes: Encoded,
}

impl KemPublicKey {
    /// Reads 33 bytes, compressed.
    ///
    /// # Errors
    /// [`NotAPoint`].
    pub fn parse(bytes: &Encoded) -> Result<Self, NotAPoint> {
        match bytes {
            [0x02 | 0x03, ..] => {
                let point = PublicKey::from_sec1_bytes(bytes).map_err(|_| NotAPoint)?;
                Ok(KemPublicKey { point, bytes: *bytes })
            }
            _ => Err(NotAPoint),
        }
    }

    /// 33 bytes, compressed.
    pub const fn as_bytes(&self) -> &Encoded {
        &self.bytes
    }

    /// How a credential names it (`kem_key_id`): `H("solelog/kem-key/v1", 33 bytes)`.
    pub fn id(&self) -> Hash {
        tagged("solelog/kem-key/v1", &self.bytes)
    }

    /// 65 bytes: the form that HPKE hashes, although 33 travel.
    pub(crate) fn uncompressed(&self) -> [u8; 65] {
        let mut bytes = [0; 65];
        let point = self.point.to_sec1_point(false);
        bytes.iter_mut().zip(point.as_bytes()).for_each(|(to, from)| *to = *from);
        bytes
    }

    /// From 04 || x || y.
    pub(crate) fn from_uncompressed(bytes: &[u8]) -> Result<Self, NotAPoint> {
        let point = PublicKey::from_sec1_bytes(bytes).map_err(|_| NotAPoint)?;
        Ok(KemPublicKey::from_point(point))
    }

    fn from_point(point: PublicKey) -> Self {
        let mut bytes = [0; 33];
        let compressed = point.to_sec1_point(true);
        bytes.iter_mut().zip(compressed.as_bytes()).for_each(|(to, from)| *to = *from);
        KemPublicKey { point, bytes }
    }
}

impl fmt::Debug for KemPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KemPublicKey(")?;
        self.bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting() -> MasterSecret {
        MasterSecret::from_bytes(core::array::from_fn(|i| i as u8))
    }

    /// Computed with Python's `hmac`.
    #[test]
    fn derived_secrets_are_those_of_the_formula() {
        let ids: [u8; 32] = core::array::from_fn(|i| i as u8);
        for (purpose, context, expected) in [
            ("solelog/ticket/v1", &[][..], "5e660bd16b9a71fec6b5411cac773aebdaddf45e49309be8a3d2c352807e70cc"),
            ("solelog/ticket/v1", b"abc", "28b784b50e91ca427a3003986ad955022a82b752d87a7aaecb232bcacc0bad00"),
            ("solelog/kept/v1", &ids, "74be06f4a9857de28273b6479b8c1a583b327e4b90b3460ea1c4222026a64dfc"),
        ] {
            assert_eq!(hex::encode(*counting().derive(purpose, context)), expected, "{purpose}");
        }
    }

    #[test]
    fn purposes_contexts_and_masters_give_different_secrets() {
        let other = MasterSecret::from_bytes([9; 32]);
        let all = [
            *counting().derive("a", b""),
            *counting().derive("b", b""),
            *counting().derive("a", b"b"),
            *counting().derive("ab", b""),
            *other.derive("a", b""),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(all.iter().skip(i + 1).all(|two| two != one), "{i}");
        }
    }

    #[test]
    fn a_context_cannot_spell_the_path_to_a_users_key() {
        let mut prf = hmac_sha256(counting().0.expose());
        prf.update(b"solelog/user-kem/v1\0");
        prf.update(&[7; 32]);
        let ikm = *finish(prf).expose();
        assert_ne!(*counting().derive("solelog/user-kem/v1\0", &[7; 32]), ikm);
        assert_ne!(*counting().derive("", b"solelog/user-kem/v1\0"), ikm);
    }
}
