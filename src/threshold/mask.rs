//! The second factor: what hides the user's share from whoever holds the phone.
//!
//! ```text
//! mask    = HMAC-SHA-256(k_device, "solelog/pin/v1" || 0x00 || PIN, NFC-normalised UTF-8)
//! m       = hash_to_field(mask)          RFC 9380: expand_message_xmd SHA-256, L = 48, modulo n
//! blinded = s2 + m
//! ```
//! A wrong PIN gives another scalar, never an error: nothing on the device tells a right guess from
//! a wrong one. Only the provider can, and it counts.

use core::fmt;

use alloc::string::String;

use hmac::{Hmac, KeyInit, Mac};
use p256_frost::Scalar;
use p256_frost::elliptic_curve::hash2curve::FromOkm;
use rand_core::CryptoRng;
use scal3::h2f::expand_message_xmd;
use sha2::Sha256;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use crate::profile::Profile;
use crate::secret::{Bytes, SecretScalar, secret_bytes};

/// What the user knows, in one spelling (NFC) however the keyboard composed it.
///
/// ```compile_fail,E0277
/// fn needs_clone<T: Clone>() {}
/// needs_clone::<threshold::Pin>();
/// ```
pub struct Pin(Zeroizing<String>);

impl Pin {
    /// Takes what was typed. The caller wipes its own copy.
    pub fn new(typed: &str) -> Self {
        // NFC grows a text at most threefold (UAX #15), so the string never moves while it is
        // filled and leaves no unwiped copy behind.
        let mut pin = Zeroizing::new(String::with_capacity(typed.len().saturating_mul(3)));
        typed.nfc().for_each(|c| pin.push(c));
        Pin(pin)
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin(secret)")
    }
}

secret_bytes! {
    /// The device's own pseudorandom function key, `k_device`. Where the hardware can compute the
    /// HMAC itself, use [`Mask::from_bytes`] with its output instead.
    DeviceSecret
}

impl DeviceSecret {
    /// Draws a new one.
    pub fn draw(rng: &mut impl CryptoRng) -> Self {
        DeviceSecret(Bytes::draw(rng))
    }

    /// The mask this PIN gives on this device.
    pub fn mask(&self, pin: &Pin) -> Mask {
        let mut prf = hmac_sha256(self.0.expose());
        prf.update(b"solelog/pin/v1\0");
        prf.update(pin.0.as_bytes());
        Mask(finish(prf))
    }
}

secret_bytes! {
    /// The output of the device's pseudorandom function over the PIN.
    Mask
}

impl Mask {
    /// The scalar that is added to the share, different for each profile.
    pub(crate) fn scalar<P: Profile>(&self) -> SecretScalar {
        let [scalar] = hash_to_scalars::<1>(self.0.expose(), P::MASK_DST);
        scalar
    }
}

/// `hash_to_field` modulo the group order: expanded as verifiers expand, reduced where it is wiped.
pub(crate) fn hash_to_scalars<const N: usize>(message: &[u8], dst: &[u8]) -> [SecretScalar; N] {
    const { assert!(N <= 170, "expand_message_xmd makes at most 8160 bytes") }
    let mut uniform = Zeroizing::new([[0; 48]; N]);
    let expanded = expand_message_xmd(&[message], dst, uniform.as_flattened_mut());
    debug_assert!(expanded.is_ok(), "the constant assertion above bounds the length");
    uniform.each_ref().map(|bytes| {
        // The array type of that generation, 48 bytes as well.
        let wide = Zeroizing::new(bytes.iter().copied().collect());
        SecretScalar::new(Scalar::from_okm(&*wide))
    })
}

/// HMAC-SHA-256 under a 32-byte key.
pub(crate) fn hmac_sha256(key: &[u8; 32]) -> Hmac<Sha256> {
    let mut block = Zeroizing::new([0; 64]);
    block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    // A key shorter than the block is padded with zeros: this is that block.
    <Hmac<Sha256> as KeyInit>::new((&*block).into())
}

/// The output of an HMAC as a secret.
pub(crate) fn finish(prf: Hmac<Sha256>) -> Bytes {
    Bytes::new(prf.finalize().into_bytes().into())
}
