//! The engine for every processor: AWS-LC, one equation after another.
//!
//! ```text
//! binding, device    ECDSA     aws-lc-rs
//! joint              EC-SDSA   R = zG − cQ by `aws_lc`, then the challenge is computed from R as scal3 does
//! ```
//! It is also the judge of what the vector engine cannot decide.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use scal3::batch::{Broken, Job, Verdict, VerifyBatch};
use scal3::ecdsa::{BadSignature, Signature};
use scal3::point::{Point, Scalar};
use scal3::schnorr::{self, JointError};

use crate::{aws_lc, curve};

/// Verifies with AWS-LC. It holds nothing: one is as good as another.
#[derive(Debug, Clone, Copy, Default)]
pub struct Portable;

impl VerifyBatch for Portable {
    fn verify_batch(&self, jobs: &[Job]) -> Vec<Verdict> {
        jobs.iter().map(verify).collect()
    }
}

/// The three signatures of one job, in the order of [`Job::verify`].
pub(crate) fn verify(job: &Job) -> Verdict {
    binding(job).map_err(|_| Broken::Binding)?;
    device(job).map_err(|_| Broken::Device)?;
    Ok(joint(job)?)
}

/// Did the one-time key sign the device signature?
pub(crate) fn binding(job: &Job) -> Result<(), BadSignature> {
    ecdsa(&job.binding_key, job.device_sig.as_bytes(), &job.binding_sig)
}

/// Did the device sign?
pub(crate) fn device(job: &Job) -> Result<(), BadSignature> {
    ecdsa(&job.device_key, &job.device_message, &job.device_sig)
}

/// Did the joint key sign?
pub(crate) fn joint(job: &Job) -> Result<(), JointError> {
    let commitment = commitment(&job.joint_key, &job.c, &job.z).ok_or(JointError::Identity)?;
    challenge(job, &commitment)
}

/// Is c the challenge that this commitment gives?
pub(crate) fn challenge(job: &Job, commitment: &Point) -> Result<(), JointError> {
    let c = job.challenge.compute(commitment, &job.joint_key, &[&job.message]);
    if c == job.c { Ok(()) } else { Err(JointError::Mismatch) }
}

fn ecdsa(key: &Point, message: &[u8], signature: &Signature) -> Result<(), BadSignature> {
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, curve::uncompressed(key))
        .verify(message, signature.as_bytes())
        .map_err(|_| BadSignature)
}

/// R = zG − c·PK, as [`schnorr::commitment`]; none if that is the identity.
fn commitment(joint_key: &Point, c: &[u8; 32], z: &Scalar) -> Option<Point> {
    let minus_c = curve::bytes(&-curve::reduce(c));
    match aws_lc::multiply_add(&z.to_bytes(), &minus_c, &curve::uncompressed(joint_key)) {
        Ok(None) => None,
        // The curve library decides what AWS-LC did not: it has no memory to run out of.
        Ok(Some(bytes)) => Point::from_sec1_any(&bytes).ok().or_else(|| schnorr::commitment(joint_key, c, z)),
        Err(aws_lc::Failed) => schnorr::commitment(joint_key, c, z),
    }
}
