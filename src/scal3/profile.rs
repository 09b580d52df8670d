//! Record profiles: which cryptographic form a binding record has.
//!
//! A joint key has exactly one profile, the one its credential names; an opening says which one its record has, and
//! the two must agree. A key used under two challenge functions would sign for both.

use crate::cbor::{Fault, ShapeError};

/// The profiles that this version can verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Profile {
    /// 1: the SCAL3 record with textbook EC-SDSA (ISO/IEC 14888-3).
    EcSdsa,
    /// 2: the transcript of the published implementation, with the challenge of RFC 9591.
    Transcript,
    /// 3: profile 1, with a WebAuthn assertion as the device signature.
    Passkey,
}

impl Profile {
    /// The profile with this number.
    pub fn new(number: u64) -> Option<Profile> {
        match number {
            1 => Some(Profile::EcSdsa),
            2 => Some(Profile::Transcript),
            3 => Some(Profile::Passkey),
            _ => None,
        }
    }

    /// Its number in openings and credentials.
    pub fn number(self) -> u64 {
        match self {
            Profile::EcSdsa => 1,
            Profile::Transcript => 2,
            Profile::Passkey => 3,
        }
    }

    pub(crate) fn parse(number: u64) -> Result<Profile, ShapeError> {
        Profile::new(number).ok_or(ShapeError { part: "profile", fault: Fault::Value })
    }
}
