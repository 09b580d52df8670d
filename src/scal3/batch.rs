//! The cryptographic work of verification, cut loose from what it is about.
//!
//! A [`Job`] is the three signatures of one authorisation. Whoever verifies a whole log hands over
//! many at once, and an engine that computes several points in one instruction can do them faster;
//! [`Plain`] is the one that does them one by one, and the judge of every other.

use alloc::vec::Vec;

use crate::ecdsa::Signature;
use crate::point::{Point, Scalar};
use crate::schnorr::{Challenge, JointError};

/// The three signatures of one authorisation, and what they are over.
#[derive(Debug, Clone)]
pub struct Job {
    /// The one-time key.
    pub binding_key: Point,
    /// The key of the device's secure hardware.
    pub device_key: Point,
    /// The key that both factors hold together.
    pub joint_key: Point,
    /// How c is computed.
    pub challenge: Challenge,
    /// What the joint key signed.
    pub message: Vec<u8>,
    /// The challenge of the joint signature.
    pub c: [u8; 32],
    /// The response of the joint signature.
    pub z: Scalar,
    /// What the device signed.
    pub device_message: Vec<u8>,
    /// The signature of the device, over `device_message`.
    pub device_sig: Signature,
    /// The signature of the one-time key, over the 64 bytes of `device_sig`.
    pub binding_sig: Signature,
}

/// The first signature that does not hold, in the order they are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The one-time key did not sign the device signature.
    #[error("binding")]
    Binding,
    /// The device did not sign.
    #[error("device")]
    Device,
    /// The joint key did not sign.
    #[error(transparent)]
    Joint(#[from] JointError),
}

/// All three hold, or the first that does not.
pub type Verdict = Result<(), Broken>;

/// Verifies many authorisations.
pub trait VerifyBatch {
    /// One verdict for each job, in their order, and for each the same as [`Job::verify`] gives.
    fn verify_batch(&self, jobs: &[Job]) -> Vec<Verdict>;
}

/// Verifies one after another with the curve library.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plain;

impl VerifyBatch for Plain {
    fn verify_batch(&self, jobs: &[Job]) -> Vec<Verdict> {
        jobs.iter().map(Job::verify).collect()
    }
}

impl Job {
    /// Verifies binding, device and joint signature, in this order.
    ///
    /// # Errors
    /// The first that does not hold.
    pub fn verify(&self) -> Verdict {
        self.binding_sig.verify(&self.binding_key, self.device_sig.as_bytes()).map_err(|_| Broken::Binding)?;
        self.device_sig.verify(&self.device_key, &self.device_message).map_err(|_| Broken::Device)?;
        Ok(self.challenge.verify(&self.joint_key, &[&self.message], &self.c, &self.z)?)
    }
}
