//! What the signatures of jobs come down to: for each, one equation, and what its solution has to be.
//!
//! ```text
//! job ─┬─ binding   u = e/s, v = r/s    ┐            ┌ x mod n = r
//!      ├─ device    u = e/s, v = r/s    ├─ uG + vQ ──┤ x mod n = r
//!      └─ joint     u = z,   v = −c     ┘    │       └ the challenge computed from it is c
//!                                            └─ none: the judge decides this one
//! ```
//! Engines differ only in how they compute uG + vQ. **What an engine cannot compute is never guessed.**

use p256::Scalar;
use scal3::batch::{Broken, Job, Verdict};
use scal3::ecdsa::Signature;
use scal3::point::Point;
use scal3::schnorr::JointError;
use sha2::{Digest as _, Sha256};

use crate::{curve, judge};

/// Which signature of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// That of the one-time key.
    Binding,
    /// That of the device.
    Device,
    /// That of both factors.
    Joint,
}

impl Part {
    /// All, in the order in which they are checked.
    pub const ALL: [Part; 3] = [Part::Binding, Part::Device, Part::Joint];
}

/// uG + vQ.
#[derive(Clone, Copy)]
pub struct Equation<'a> {
    /// u.
    pub u: Scalar,
    /// v.
    pub v: Scalar,
    /// Q.
    pub key: &'a Point,
}

/// x and y of uG + vQ, big-endian; none when the engine cannot say: it is the identity, or a step on the way failed.
pub type Solution = Option<([u8; 32], [u8; 32])>;

/// Jobs, and what only has to be computed once for all of them.
pub struct Questions<'a> {
    jobs: &'a [Job],
    /// For each job, of its binding and its device signature.
    numbers: Vec<[Numbers; 2]>,
}

/// The numbers of an ECDSA signature.
#[derive(Clone, Copy)]
struct Numbers {
    r: Scalar,
    /// 1/s.
    inverse: Scalar,
}

impl<'a> Questions<'a> {
    /// Reads the signatures of jobs. It takes one inversion in all, so it is better to ask about many together.
    pub fn new(jobs: &'a [Job]) -> Questions<'a> {
        let mut numbers = Vec::with_capacity(jobs.len());
        let mut product = Scalar::ONE;
        for job in jobs {
            numbers.push([&job.binding_sig, &job.device_sig].map(|signature| {
                let (r, s) = read(signature);
                // Until the way back, the place of the inverse has the product of all before it.
                let before = product;
                product *= s;
                Numbers { r, inverse: before }
            }));
        }
        // No signature has s = 0. If one had, all would get 0 for 1/s, and with it no solution: the judge would decide them.
        let mut inverse = Option::from(product.invert_vartime()).unwrap_or(Scalar::ZERO);
        for (job, [binding, device]) in jobs.iter().zip(&mut numbers).rev() {
            for (signature, numbers) in [(&job.device_sig, device), (&job.binding_sig, binding)] {
                numbers.inverse *= inverse;
                inverse *= read(signature).1;
            }
        }
        Questions { jobs, numbers }
    }

    /// The equation of one signature of the job at this place.
    pub fn equation(&self, at: usize, part: Part) -> Equation<'a> {
        let job = &self.jobs[at];
        let [binding, device] = self.numbers[at];
        match part {
            Part::Binding => ecdsa(&job.binding_key, job.device_sig.as_bytes(), binding),
            Part::Device => ecdsa(&job.device_key, &job.device_message, device),
            Part::Joint => {
                Equation { u: curve::reduce(&job.z.to_bytes()), v: -curve::reduce(&job.c), key: &job.joint_key }
            }
        }
    }

    /// The verdict on the job at this place, from the solutions of its equations. They are asked for in the order in which
    /// the signatures are checked, and no more once one is broken.
    pub fn verdict(&self, at: usize, mut solution: impl FnMut(Part) -> Solution) -> Verdict {
        let job = &self.jobs[at];
        let [binding, device] = self.numbers[at];
        // x is below p, and p is a little more than n: x can be r, or r + n.
        let holds = |x: &[u8; 32], numbers: Numbers| curve::reduce(x) == numbers.r;
        if !solution(Part::Binding).map_or_else(|| judge::binding(job), |(x, _)| holds(&x, binding)) {
            return Err(Broken::Binding);
        }
        if !solution(Part::Device).map_or_else(|| judge::device(job), |(x, _)| holds(&x, device)) {
            return Err(Broken::Device);
        }
        Ok(joint(job, solution(Part::Joint))?)
    }
}

fn joint(job: &Job, solution: Solution) -> Result<(), JointError> {
    match solution.and_then(|(x, y)| Point::from_sec1_any(&curve::join(&x, &y)).ok()) {
        Some(commitment) => judge::challenge(job, &commitment),
        None => judge::joint(job),
    }
}

/// u = e/s, v = r/s.
fn ecdsa<'a>(key: &'a Point, message: &[u8], numbers: Numbers) -> Equation<'a> {
    let digest: [u8; 32] = Sha256::digest(message).into();
    Equation { u: curve::reduce(&digest) * numbers.inverse, v: numbers.r * numbers.inverse, key }
}

/// r and s.
fn read(signature: &Signature) -> (Scalar, Scalar) {
    let [mut r, mut s] = [[0; 32]; 2];
    let (first, second) = signature.as_bytes().split_at(32);
    r.copy_from_slice(first);
    s.copy_from_slice(second);
    // Both are below n already, or they were no signature.
    (curve::reduce(&r), curve::reduce(&s))
}
