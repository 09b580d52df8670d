//! Secrets: wiped when dropped, not printable, not `Clone`, compared in constant time.
//!
//! A secret leaves its type only inside this crate, or where another party must be given it and
//! the method says so. There is no way back out through `Debug`, `Display` or `==`.

use alloc::vec::Vec;
use core::fmt;

use p256_frost::Scalar;
use p256_frost::elliptic_curve::{Field, PrimeField};
use rand_core::CryptoRng;
use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Defines a secret of 32 bytes as a type of its own.
macro_rules! secret_bytes {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// ```compile_fail,E0277
        /// fn needs_clone<T: Clone>() {}
        #[doc = concat!("needs_clone::<threshold::", stringify!($name), ">();")]
        /// ```
        pub struct $name($crate::secret::Bytes);

        impl $name {
            /// Takes the 32 bytes over. The caller wipes its own copy.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self($crate::secret::Bytes::new(bytes))
            }
        }

        impl subtle::ConstantTimeEq for $name {
            fn ct_eq(&self, other: &Self) -> subtle::Choice {
                self.0.ct_eq(&other.0)
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(concat!(stringify!($name), "(secret)"))
            }
        }
    };
}
pub(crate) use secret_bytes;

/// 32 secret bytes.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Bytes([u8; 32]);

impl Bytes {
    pub(crate) const fn new(bytes: [u8; 32]) -> Self {
        Bytes(bytes)
    }

    pub(crate) fn draw(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = Bytes([0; 32]);
        rng.fill_bytes(&mut bytes.0);
        bytes
    }

    pub(crate) const fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl ConstantTimeEq for Bytes {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

/// A secret scalar: a share, a mask, a signature share.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct SecretScalar(Scalar);

impl SecretScalar {
    pub(crate) const fn new(scalar: Scalar) -> Self {
        SecretScalar(scalar)
    }

    /// Draws 32 bytes, big-endian, until they are a scalar other than zero.
    pub(crate) fn draw(rng: &mut impl CryptoRng) -> Self {
        loop {
            let bytes = Bytes::draw(rng);
            match SecretScalar::from_bytes(bytes.expose()) {
                Some(scalar) if !scalar.is_zero() => return scalar,
                _ => {}
            }
        }
    }

    /// 32 bytes, big-endian; `None` when not below the group order.
    pub(crate) fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        Option::from(Scalar::from_repr((*bytes).into())).map(SecretScalar)
    }

    pub(crate) fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes().into())
    }

    pub(crate) const fn expose(&self) -> &Scalar {
        &self.0
    }

    pub(crate) fn is_zero(&self) -> bool {
        bool::from(self.0.is_zero())
    }
}

impl ConstantTimeEq for SecretScalar {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl fmt::Debug for SecretScalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretScalar(secret)")
    }
}

/// Puts parts together in memory that is wiped, without leaving a shorter copy behind by growing.
pub(crate) fn concat(parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let mut whole = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len()).sum()));
    for part in parts {
        whole.extend_from_slice(part);
    }
    whole
}

#[cfg(test)]
mod tests {
    use hmac::Hmac;
    use hmac::digest::CtOutput;
    use sha2::Sha256;
    use zeroize::ZeroizeOnDrop;

    /// The states of the hash hold keys and hashed secrets, inside HMAC and HKDF too. Without the features that make the
    /// libraries wipe them this does not compile.
    #[test]
    fn hash_states_are_wiped() {
        const fn wiped<T: ZeroizeOnDrop>() {}
        wiped::<Sha256>();
        wiped::<CtOutput<Hmac<Sha256>>>();
    }
}
