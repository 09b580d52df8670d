//! The judge of what an engine cannot say, and of what an engine has said: each signature of a job as a whole, by AWS-LC alone.
//!
//! ```text
//! binding, device    ECDSA     aws-lc-rs, from the bytes to the answer
//! joint              EC-SDSA   R = zG − cQ by `aws_lc`, then the challenge is computed from R as scal3 does
//! ```

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use scal3::batch::{Broken, Job, Verdict, VerifyBatch};
use scal3::ecdsa::Signature;
use scal3::point::{Point, Scalar};
use scal3::schnorr::{self, JointError};

use crate::{aws_lc, curve};

/// Verifies signature by signature. The engines are faster because they take ECDSA apart; this one leaves it to AWS-LC from
/// the bytes to the answer, and so can tell whether they do it right.
#[derive(Debug, Clone, Copy, Default)]
pub struct Judge;

impl VerifyBatch for Judge {
    fn verify_batch(&self, jobs: &[Job]) -> Vec<Verdict> {
        jobs.iter().map(verify).collect()
    }
}

fn verify(job: &Job) -> Verdict {
    if !binding(job) {
        return Err(Broken::Binding);
    }
    if !device(job) {
        return Err(Broken::Device);
    }
    Ok(joint(job)?)
}

/// Did the one-time key sign the device signature?
pub fn binding(job: &Job) -> bool {
    ecdsa(&job.binding_key, job.device_sig.as_bytes(), &job.binding_sig)
}

/// Did the device sign?
pub fn device(job: &Job) -> bool {
    ecdsa(&job.device_key, &job.device_message, &job.device_sig)
}

/// Did the joint key sign?
pub fn joint(job: &Job) -> Result<(), JointError> {
    let commitment = commitment(&job.joint_key, &job.c, &job.z).ok_or(JointError::Identity)?;
    challenge(job, &commitment)
}

/// Is c the challenge that this commitment gives?
pub fn challenge(job: &Job, commitment: &Point) -> Result<(), JointError> {
    let c = job.challenge.compute(commitment, &job.joint_key, &[&job.message]);
    if c == job.c { Ok(()) } else { Err(JointError::Mismatch) }
}

fn ecdsa(key: &Point, message: &[u8], signature: &Signature) -> bool {
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, curve::uncompressed(key))
        .verify(message, signature.as_bytes())
        .is_ok()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maker;

    #[test]
    fn the_judge_says_of_each_signature_what_the_curve_library_says() {
        let mut maker = maker::Maker::new(41);
        for _ in 0..600 {
            let mut job = maker.job();
            maker.spoil(&mut job);
            assert_eq!(binding(&job), job.binding_sig.verify(&job.binding_key, job.device_sig.as_bytes()).is_ok());
            assert_eq!(device(&job), job.device_sig.verify(&job.device_key, &job.device_message).is_ok());
            assert_eq!(joint(&job), job.challenge.verify(&job.joint_key, &[&job.message], &job.c, &job.z));
        }
    }
}
