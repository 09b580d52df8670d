//! P-256 in the spelling that both engines take: numbers as 32 bytes, big-endian, points as tag 04 ‖ x ‖ y.
//!
//! SEC 2, section 2.4.2: <https://www.secg.org/sec2-v2.pdf>.

use p256::Scalar;
use p256::elliptic_curve::PrimeField as _;
use p256::elliptic_curve::bigint::U256;
use p256::elliptic_curve::ops::Reduce as _;
use scal3::point::Point;

/// n, the number of points.
#[cfg(test)]
pub const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// Tag 04 ‖ x ‖ y.
pub fn uncompressed(point: &Point) -> [u8; 65] {
    let (x, y) = point.coordinates();
    join(&x, &y)
}

/// Tag 04 ‖ x ‖ y. Whether that is a point is for the reader to check.
pub fn join(x: &[u8; 32], y: &[u8; 32]) -> [u8; 65] {
    let mut bytes = [4; 65];
    let (_, coordinates) = bytes.split_at_mut(1);
    coordinates[..32].copy_from_slice(x);
    coordinates[32..].copy_from_slice(y);
    bytes
}

/// x and y of tag 04 ‖ x ‖ y.
pub fn split(bytes: &[u8; 65]) -> Option<([u8; 32], [u8; 32])> {
    let (x, y) = bytes.get(1..)?.split_at_checked(32)?;
    Some((x.try_into().ok()?, y.try_into().ok()?))
}

/// A string of 32 bytes as a number, reduced by the order.
pub fn reduce(bytes: &[u8; 32]) -> Scalar {
    Scalar::reduce(&U256::from_be_slice(bytes))
}

/// The bytes of a number below the order.
pub fn bytes(number: &Scalar) -> [u8; 32] {
    number.to_repr().into()
}
