//! Public points in the generation frost computes in, in their one accepted spelling:
//! 33 bytes, SEC1 compressed with tag 02 or 03.

use frost_core::Group;
use frost_p256::P256Group;
use p256_frost::ProjectivePoint;

/// A public key, 33 bytes compressed.
pub(crate) type Encoded = [u8; 33];

/// Reads a point. The compact form (tag 05) that the library would take is a second spelling of
/// one point, and is refused.
pub(crate) fn parse(bytes: &Encoded) -> Option<ProjectivePoint> {
    match bytes {
        [0x02 | 0x03, ..] => P256Group::deserialize(bytes).ok(),
        _ => None,
    }
}

/// Writes a point; `None` for the identity, which has no such form.
pub(crate) fn encode(point: &ProjectivePoint) -> Option<Encoded> {
    P256Group::serialize(point).ok()
}
