//! R = uG + vQ by AWS-LC: the one computation for which its safe interface, aws-lc-rs, has no function.
//!
//! ```text
//! key (tag 04, 65 bytes) ─ EC_POINT_oct2point ─▶ Q ┐
//! u, v (32 bytes)        ─ BN_bin2bn          ─▶   ├─ EC_POINT_mul ─▶ R ─ EC_POINT_point2oct ─▶ tag 04, 65 bytes
//!                          EC_group_p256      ─▶ G ┘
//! ```
//! <https://github.com/aws/aws-lc/blob/main/include/openssl/ec.h>. The bindings are those of the aws-lc-sys that aws-lc-rs
//! itself links; there is no other libcrypto in the program.
//!
//! What has to hold for this to be sound, and does: every pointer handed over is one that the library gave and that was not
//! null, or one to an array of the length beside it; every object the library made is freed once, by [`Drop`], after its
//! last use; nothing is shared between threads but the group, which is a constant. Numbers and points are public, and are
//! not wiped.

#![expect(unsafe_code, reason = "calls into AWS-LC")]

use std::ptr::{self, NonNull};

use aws_lc_sys as lc;

/// The length of a point with both coordinates.
pub const UNCOMPRESSED: usize = 65;

/// The library refused or had no memory. Neither follows from a key that is on the curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("AWS-LC did not compute the point")]
pub struct Failed;

/// Computes uG + vQ; none if that is the identity. Variable time: for public numbers only.
///
/// Numbers are big-endian; they need not be below the order.
///
/// # Errors
/// [`Failed`], also for a key that is not a point of the curve.
pub fn multiply_add(
    u: &[u8; 32],
    v: &[u8; 32],
    key: &[u8; UNCOMPRESSED],
) -> Result<Option<[u8; UNCOMPRESSED]>, Failed> {
    let group = group()?;
    let (u, v) = (Number::read(u)?, Number::read(v)?);
    let key = Place::new(group)?.read(key)?;
    Place::new(group)?.multiply_add(&u, &v, &key)?.write()
}

/// The curve. It is a constant of the library: never freed, never written to.
fn group() -> Result<NonNull<lc::EC_GROUP>, Failed> {
    // SAFETY: takes nothing; it initialises the constant once, under a lock of the library.
    let group = unsafe { lc::EC_group_p256() };
    NonNull::new(group.cast_mut()).ok_or(Failed)
}

/// A number that the library allocated.
struct Number(NonNull<lc::BIGNUM>);

impl Number {
    fn read(bytes: &[u8; 32]) -> Result<Number, Failed> {
        // SAFETY: the pointer and the length are those of one array, which is only read; a null third argument asks for a
        // new number, which is ours.
        let number = unsafe { lc::BN_bin2bn(bytes.as_ptr(), bytes.len(), ptr::null_mut()) };
        NonNull::new(number).map(Number).ok_or(Failed)
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        // SAFETY: `read` got it from the library, nobody else has it, and it is not used again.
        unsafe { lc::BN_free(self.0.as_ptr()) }
    }
}

/// Room for one point, allocated by the library. Before anything is written to it, it is the identity.
struct Place {
    point: NonNull<lc::EC_POINT>,
    group: NonNull<lc::EC_GROUP>,
}

impl Place {
    fn new(group: NonNull<lc::EC_GROUP>) -> Result<Place, Failed> {
        // SAFETY: the group is the library's constant.
        let point = unsafe { lc::EC_POINT_new(group.as_ptr()) };
        Ok(Place { point: NonNull::new(point).ok_or(Failed)?, group })
    }

    /// Writes the point that these bytes spell. The library checks that it is on the curve.
    fn read(self, bytes: &[u8; UNCOMPRESSED]) -> Result<Place, Failed> {
        let (group, point) = (self.group.as_ptr(), self.point.as_ptr());
        // SAFETY: group and point are the library's and live; the bytes are one array of that length and only read; a null
        // context asks the library to make one of its own.
        done(unsafe { lc::EC_POINT_oct2point(group, point, bytes.as_ptr(), bytes.len(), ptr::null_mut()) })?;
        Ok(self)
    }

    /// Writes uG + vQ.
    fn multiply_add(self, u: &Number, v: &Number, key: &Place) -> Result<Place, Failed> {
        let (group, point) = (self.group.as_ptr(), self.point.as_ptr());
        let (u, v, key) = (u.0.as_ptr(), v.0.as_ptr(), key.point.as_ptr());
        // SAFETY: all are the library's and live. The point written to is none of those read, since `self` is owned here.
        done(unsafe { lc::EC_POINT_mul(group, point, u, key, v, ptr::null_mut()) })?;
        Ok(self)
    }

    /// The bytes of the point; none for the identity, which has no coordinates.
    fn write(&self) -> Result<Option<[u8; UNCOMPRESSED]>, Failed> {
        let (group, point) = (self.group.as_ptr(), self.point.as_ptr());
        // SAFETY: both are the library's and live, and are only read.
        if unsafe { lc::EC_POINT_is_at_infinity(group, point) } == 1 {
            return Ok(None);
        }
        let form = lc::point_conversion_form_t::POINT_CONVERSION_UNCOMPRESSED;
        let mut bytes = [0; UNCOMPRESSED];
        // SAFETY: group and point as above; the library writes at most the given length, which is that of the array.
        let written =
            unsafe { lc::EC_POINT_point2oct(group, point, form, bytes.as_mut_ptr(), bytes.len(), ptr::null_mut()) };
        if written == UNCOMPRESSED { Ok(Some(bytes)) } else { Err(Failed) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // SAFETY: `new` got it from the library, nobody else has it, and it is not used again.
        unsafe { lc::EC_POINT_free(self.point.as_ptr()) }
    }
}

/// Reads the library's 1 for success.
fn done(answer: std::os::raw::c_int) -> Result<(), Failed> {
    if answer == 1 { Ok(()) } else { Err(Failed) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::ORDER;
    use p256::elliptic_curve::sec1::ToSec1Point as _;
    use p256::{ProjectivePoint, Scalar};

    fn number(value: u64) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[24..].copy_from_slice(&value.to_be_bytes());
        bytes
    }

    fn times(k: u64) -> [u8; UNCOMPRESSED] {
        let point = ProjectivePoint::GENERATOR * Scalar::from(k);
        point.to_affine().to_sec1_point(false).as_bytes().try_into().expect("65 bytes")
    }

    #[test]
    fn points_are_those_of_the_other_library() {
        for u in 0..20 {
            for v in 0..20 {
                let sum = u + 3 * v;
                let expected = (sum != 0).then(|| times(sum));
                assert_eq!(multiply_add(&number(u), &number(v), &times(3)), Ok(expected), "{u} {v}");
            }
        }
    }

    #[test]
    fn numbers_are_reduced() {
        let mut order_and_two = ORDER;
        order_and_two[31] += 2;
        assert_eq!(multiply_add(&order_and_two, &ORDER, &times(3)), Ok(Some(times(2))));
        assert_eq!(multiply_add(&ORDER, &ORDER, &times(3)), Ok(None));
        assert!(multiply_add(&[0xff; 32], &[0xff; 32], &times(3)).is_ok());
    }

    #[test]
    fn what_is_not_on_the_curve_is_refused() {
        let mut off = times(1);
        off[64] ^= 1;
        assert_eq!(multiply_add(&number(1), &number(1), &off), Err(Failed));
        assert_eq!(multiply_add(&number(1), &number(1), &[0; UNCOMPRESSED]), Err(Failed));
    }
}
