//! Points and scalars of P-256, in their one accepted spelling.
//!
//! ```text
//! point    33 bytes   02 or 03 ‖ x        SEC1 compressed; never 04, 05, hybrid or the identity
//! scalar   32 bytes   big-endian, < n
//! ```
//! SEC1: <https://www.secg.org/sec1-v2.pdf>, section 2.3.
//!
//! A point has exactly one spelling here. The compact form (tag 05) is a second one that common
//! libraries take without a word, and with two spellings of a binding key one record could be
//! shown as two.

use core::fmt;

use p256::elliptic_curve::bigint::U256;
use p256::elliptic_curve::ops::Reduce;
use p256::elliptic_curve::point::AffineCoordinates;
use p256::elliptic_curve::sec1::{FromSec1Point, ToSec1Point};
use p256::elliptic_curve::{Group, PrimeField};
use p256::{AffinePoint, FieldBytes, ProjectivePoint, Sec1Point};

/// Why bytes are not a point, a scalar or a signature of this curve.
///
/// The texts are those of the `reason` column in the vectors, so that verdicts can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodingError {
    /// Not the number of bytes this field has.
    #[error("length")]
    Length,
    /// A point that does not begin with 02 or 03.
    #[error("point tag")]
    PointTag,
    /// An x-coordinate that is not reduced or has no point on the curve.
    #[error("point not on curve")]
    NotOnCurve,
    /// A scalar that is not below the group order, or a zero where none may be.
    #[error("scalar range")]
    ScalarRange,
    /// A signature that is not the one DER form of two integers.
    #[error("DER form")]
    Der,
}

/// A point of P-256 other than the identity, together with its compressed bytes.
#[derive(Clone, Copy)]
pub struct Point {
    affine: AffinePoint,
    bytes: [u8; 33],
}

impl Point {
    /// Length of the one spelling.
    pub const LEN: usize = 33;

    /// Reads the compressed form.
    ///
    /// # Errors
    /// [`EncodingError::PointTag`], then [`EncodingError::NotOnCurve`].
    pub fn from_bytes(bytes: &[u8; 33]) -> Result<Point, EncodingError> {
        let [tag, ..] = bytes;
        if !matches!(tag, 2 | 3) {
            return Err(EncodingError::PointTag);
        }
        let affine = decode(bytes)?;
        Ok(Point { affine, bytes: *bytes })
    }

    /// The point with these compressed bytes, for whoever has already found its y (32 bytes, big-endian); none where that is
    /// not it. It takes no square root.
    pub fn with_y(bytes: &[u8; 33], y: &[u8; 32]) -> Option<Point> {
        let ([tag @ (2 | 3), x @ ..], [.., last]) = (bytes, y) else { return None };
        let mut both = [4; 65];
        let (_, coordinates) = both.split_at_mut_checked(1)?;
        let (to_x, to_y) = coordinates.split_at_mut_checked(32)?;
        to_x.copy_from_slice(x);
        to_y.copy_from_slice(y);
        let affine = decode(&both).ok().filter(|_| (tag ^ last) & 1 == 0)?;
        Some(Point { affine, bytes: *bytes })
    }

    /// Reads the compressed form from a slice.
    ///
    /// # Errors
    /// [`EncodingError::Length`], then as [`Point::from_bytes`].
    pub fn parse(bytes: &[u8]) -> Result<Point, EncodingError> {
        Point::from_bytes(bytes.try_into().map_err(|_| EncodingError::Length)?)
    }

    /// Reads a point from a source that is not ours and writes it compressed otherwise.
    ///
    /// Keys of cards, browsers and published test vectors come as 65 bytes (tag 04). Nothing that
    /// is hashed, signed or logged is ever read through this door: it turns such a key into our
    /// spelling once, when it is enrolled. Tag 05, the hybrid tags and the identity stay refused.
    ///
    /// # Errors
    /// [`EncodingError::Length`], [`EncodingError::PointTag`], [`EncodingError::NotOnCurve`].
    pub fn from_sec1_any(bytes: &[u8]) -> Result<Point, EncodingError> {
        match (bytes.first(), bytes.len()) {
            (Some(2 | 3), 33) => Point::parse(bytes),
            (Some(4), 65) => Ok(Point::from_affine(decode(bytes)?)),
            (Some(2..=4), _) | (None, _) => Err(EncodingError::Length),
            _ => Err(EncodingError::PointTag),
        }
    }

    /// The compressed bytes.
    pub const fn as_bytes(&self) -> &[u8; 33] {
        &self.bytes
    }

    /// The compressed bytes.
    pub const fn to_bytes(self) -> [u8; 33] {
        self.bytes
    }

    /// x and y, 32 bytes big-endian each.
    pub fn coordinates(&self) -> ([u8; 32], [u8; 32]) {
        (self.affine.x().into(), self.affine.y().into())
    }

    /// The point as the curve library knows it.
    pub(crate) const fn to_affine(self) -> AffinePoint {
        self.affine
    }

    /// The point as the curve library computes with it.
    pub(crate) fn to_projective(self) -> ProjectivePoint {
        self.affine.into()
    }

    /// A point that came out of arithmetic; none for the identity.
    pub(crate) fn from_projective(point: ProjectivePoint) -> Option<Point> {
        if bool::from(point.is_identity()) {
            return None;
        }
        Some(Point::from_affine(point.to_affine()))
    }

    fn from_affine(affine: AffinePoint) -> Point {
        let mut bytes = [0; 33];
        // Only the identity is encoded in another length, and it never gets here.
        let encoded = affine.to_sec1_point(true);
        for (to, from) in bytes.iter_mut().zip(encoded.as_bytes()) {
            *to = *from;
        }
        Point { affine, bytes }
    }
}

fn decode(bytes: &[u8]) -> Result<AffinePoint, EncodingError> {
    let encoded = Sec1Point::from_bytes(bytes).map_err(|_| EncodingError::NotOnCurve)?;
    AffinePoint::from_sec1_point(&encoded).into_option().ok_or(EncodingError::NotOnCurve)
}

impl PartialEq for Point {
    fn eq(&self, other: &Point) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Point {}

impl fmt::Debug for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Point(")?;
        write_hex(f, &self.bytes)?;
        f.write_str(")")
    }
}

/// A number below the order of the group. Zero is one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Scalar(p256::Scalar);

impl Scalar {
    /// Reads 32 bytes, big-endian.
    ///
    /// # Errors
    /// [`EncodingError::ScalarRange`] when the number is not below the order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Scalar, EncodingError> {
        p256::Scalar::from_repr(FieldBytes::from(*bytes)).into_option().map(Scalar).ok_or(EncodingError::ScalarRange)
    }

    /// Takes a hash string as a number and reduces it.
    pub fn reduce(bytes: &[u8; 32]) -> Scalar {
        Scalar(<p256::Scalar as Reduce<U256>>::reduce(&U256::from_be_slice(bytes)))
    }

    /// Takes 48 bytes as a number and reduces it: the last step of `hash_to_field` (RFC 9380).
    pub(crate) fn reduce_wide(bytes: &[u8; 48]) -> Scalar {
        let mut high = [0; 32];
        let mut low = [0; 32];
        let mut shift = [0; 32];
        for (to, from) in high.iter_mut().skip(8).zip(bytes.iter()) {
            *to = *from;
        }
        for (to, from) in low.iter_mut().skip(8).zip(bytes.iter().skip(24)) {
            *to = *from;
        }
        // 2^192, so that high · 2^192 + low is the number of all 48 bytes.
        if let Some(byte) = shift.get_mut(7) {
            *byte = 1;
        }
        let [high, low, shift] = [high, low, shift].map(|half| Scalar::reduce(&half).0);
        Scalar(high * shift + low)
    }

    /// 32 bytes, big-endian.
    pub fn to_bytes(self) -> [u8; 32] {
        self.0.to_bytes().into()
    }

    /// Is this zero?
    pub fn is_zero(&self) -> bool {
        self.0 == p256::Scalar::ZERO
    }

    /// The scalar as the curve library knows it.
    pub(crate) const fn inner(&self) -> &p256::Scalar {
        &self.0
    }
}

impl fmt::Debug for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scalar(")?;
        write_hex(f, &self.to_bytes())?;
        f.write_str(")")
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}
