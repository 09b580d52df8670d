//! What the device makes: a signature, and in profile 3 the assertion that it stands in.
//!
//! ```text
//! profiles 1 and 2   r || s over c || check
//! profile 3          a varsig whose challenge is H("solelog/device/v3", c || checksum)
//! ```

use alloc::vec::Vec;

use scal3::credential::Passkey;
use scal3::ecdsa::Signature;
use scal3::evidence::varsig::{Algorithm, Varsig};
use scal3::point::Point;
use scal3::record::{Check, device_challenge, device_message};

use crate::pass::PublicFault;

/// What a device signs in this profile: c || check, or the challenge that a passkey is asked.
pub(crate) fn message(profile: scal3::Profile, c: &[u8; 32], check: &Check) -> Vec<u8> {
    match profile {
        scal3::Profile::EcSdsa | scal3::Profile::Transcript => device_message(c, check),
        scal3::Profile::Passkey => device_challenge(c, check).0.to_vec(),
    }
}

/// A device's answer, well-formed.
pub(crate) struct DeviceAnswer {
    signature: Signature,
    assertion: Option<Varsig>,
}

impl DeviceAnswer {
    /// Reads r || s, or in profile 3 a varsig of P-256.
    pub(crate) fn parse(profile: scal3::Profile, bytes: &[u8]) -> Option<Self> {
        let assertion = match profile {
            scal3::Profile::EcSdsa | scal3::Profile::Transcript => None,
            scal3::Profile::Passkey => Some(Varsig::parse(bytes).ok().filter(|it| it.algorithm == Algorithm::Es256)?),
        };
        let signature = assertion.as_ref().map_or(bytes, |assertion| &assertion.signature);
        Some(DeviceAnswer { signature: Signature::parse(signature).ok()?, assertion })
    }

    /// r || s, which the binding key signs.
    pub(crate) fn signature(&self) -> &[u8; 64] {
        self.signature.as_bytes()
    }

    /// The assertion of profile 3.
    pub(crate) const fn assertion(&self) -> Option<&Varsig> {
        self.assertion.as_ref()
    }

    /// The bytes that were read.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.assertion.as_ref().map_or_else(|| self.signature().to_vec(), Varsig::to_bytes)
    }

    /// Whether the enrolled device answered exactly this.
    pub(crate) fn verify(
        &self,
        key: &Point,
        passkey: Option<&Passkey>,
        c: &[u8; 32],
        check: &Check,
    ) -> Result<(), PublicFault> {
        let signed = match (&self.assertion, passkey) {
            (None, None) => device_message(c, check),
            (Some(assertion), Some(passkey)) => {
                passkey.was_asked(assertion, &device_challenge(c, check)).map_err(PublicFault::Assertion)?;
                assertion.signed_bytes()
            }
            // The credential is of another profile than the pass.
            (None, Some(_)) | (Some(_), None) => return Err(PublicFault::Device),
        };
        self.signature.verify(key, &signed).map_err(|_| PublicFault::Device)
    }
}
