//! Secret numbers and their points, one addition each.
//!
//! ```text
//! k        k + s       k + 2s      …        the numbers, one after another from a random place
//! kG       kG + sG     kG + 2sG    …        their points, made affine 64 at a time with one inversion
//! ```
//! A record needs four fresh pairs: the one-time key and three nonces. Multiplying for each would cost the generator more
//! than verifying costs the log. The pairs are distinct, and no verifier can tell that they are neighbours; but whoever
//! sees two signatures can. **They are for records that prove nothing about anybody.**

use p256::elliptic_curve::BatchNormalize as _;
use p256::elliptic_curve::bigint::U256;
use p256::elliptic_curve::ops::Reduce as _;
use p256::elliptic_curve::point::AffineCoordinates as _;
use p256::elliptic_curve::sec1::ToSec1Point as _;
use p256::{AffinePoint, ProjectivePoint, Scalar};
use sha2::{Digest as _, Sha256};

/// Points that share one inversion.
const STEPS: usize = 64;

/// A secret number and its point.
#[derive(Clone, Copy)]
pub struct Pair {
    /// The number.
    pub secret: Scalar,
    /// The point, never the identity.
    pub point: AffinePoint,
    /// One over the number.
    pub inverse: Scalar,
}

impl Pair {
    /// The point in 33 bytes.
    #[must_use]
    pub fn public(&self) -> [u8; 33] {
        let mut bytes = [0; 33];
        bytes.copy_from_slice(self.point.to_sec1_point(true).as_bytes());
        bytes
    }
}

/// Pairs, one after another.
pub struct Pairs {
    next: (Scalar, ProjectivePoint),
    step: (Scalar, ProjectivePoint),
    ready: Vec<Pair>,
}

impl Pairs {
    /// The pairs that begin where the seed says.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Pairs {
        let start = |which: u8| {
            let secret = reduce(&Sha256::new_with_prefix(seed).chain_update([which]).finalize().into());
            (secret, ProjectivePoint::GENERATOR * secret)
        };
        Pairs { next: start(0), step: start(1), ready: Vec::with_capacity(STEPS) }
    }

    /// The next one.
    pub fn take(&mut self) -> Pair {
        loop {
            if let Some(pair) = self.ready.pop() {
                return pair;
            }
            self.more();
        }
    }

    fn more(&mut self) {
        let mut secrets = [Scalar::ZERO; STEPS];
        let mut points = [ProjectivePoint::IDENTITY; STEPS];
        for (secret, point) in secrets.iter_mut().zip(&mut points) {
            (*secret, *point) = self.next;
            self.next = (self.next.0 + self.step.0, self.next.1 + self.step.1);
        }
        let points: [AffinePoint; STEPS] = ProjectivePoint::batch_normalize(&points);
        let inverses = inverses(&secrets);
        let made = secrets.into_iter().zip(points).zip(inverses);
        self.ready.extend(made.map(|((secret, point), inverse)| Pair { secret, point, inverse }));
    }
}

/// One over each number, with one inversion for all: none of them is zero.
fn inverses(numbers: &[Scalar; STEPS]) -> [Scalar; STEPS] {
    // What comes before each, multiplied.
    let mut before = [Scalar::ONE; STEPS];
    let mut product = Scalar::ONE;
    for (before, number) in before.iter_mut().zip(numbers) {
        *before = product;
        product *= number;
    }
    // A walk meets zero once in 2^256 steps; its signatures would not verify, and somebody would say so.
    let mut rest = Option::<Scalar>::from(product.invert()).unwrap_or(Scalar::ONE);
    let mut inverses = [Scalar::ONE; STEPS];
    for ((inverse, before), number) in inverses.iter_mut().zip(before).zip(numbers).rev() {
        *inverse = rest * before;
        rest *= number;
    }
    inverses
}

/// A string of 32 bytes as a number below the order.
#[must_use]
pub fn reduce(bytes: &[u8; 32]) -> Scalar {
    Scalar::reduce(&U256::from_be_slice(bytes))
}

/// The ECDSA signature r ‖ s over SHA-256 of a message, under that key and with that nonce.
#[must_use]
pub fn ecdsa(key: &Scalar, nonce: &Pair, message: &[u8]) -> [u8; 64] {
    let digest: [u8; 32] = Sha256::digest(message).into();
    let r = reduce(&nonce.point.x().into());
    let s = nonce.inverse * (reduce(&digest) + r * key);
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&r.to_bytes());
    signature[32..].copy_from_slice(&s.to_bytes());
    signature
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_is_a_number_its_point_and_its_inverse() {
        let mut pairs = Pairs::from_seed(&[7; 32]);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..2 * STEPS + 1 {
            let pair = pairs.take();
            assert_eq!(ProjectivePoint::from(pair.point), ProjectivePoint::GENERATOR * pair.secret);
            assert_eq!(pair.secret * pair.inverse, Scalar::ONE);
            assert!(seen.insert(pair.public()), "a pair came twice");
        }
    }

    #[test]
    fn its_signatures_are_anybodys() {
        let mut pairs = Pairs::from_seed(&[8; 32]);
        let (key, nonce) = (pairs.take(), pairs.take());
        let signature = scal3::ecdsa::Signature::from_bytes(&ecdsa(&key.secret, &nonce, b"text")).expect("in range");
        let public = scal3::point::Point::from_bytes(&key.public()).expect("a point");
        assert_eq!(signature.verify(&public, b"text"), Ok(()));
        assert!(signature.verify(&public, b"another").is_err());
    }
}
