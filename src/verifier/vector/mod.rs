//! The engine for processors with AVX-512 IFMA: eight equations side by side in arithmetic of our own.
//!
//! ```text
//! job ─┬─ binding   u = e/s, v = r/s    ┐            ┌ x mod n = r
//!      ├─ device    u = e/s, v = r/s    ├─ uG + vQ ──┤ x mod n = r
//!      └─ joint     u = z,   v = −c     ┘    │       └ the challenge computed from it is c
//!                                            └─ none: the portable engine decides this one
//! ```
//! Every equation is decided for itself, whatever else is in its group. **An answer that a lane cannot give is never guessed.**

#![expect(unsafe_code, reason = "calls into code for processors with AVX-512 IFMA")]

mod digits;
mod field;
mod key_tables;
mod lanes;
mod point;
mod solve;
mod table;
#[cfg(test)]
mod tests;

use p256::Scalar;
use scal3::batch::{Broken, Job, Verdict, VerifyBatch};
use scal3::ecdsa::{BadSignature, Signature};
use scal3::point::Point;
use scal3::schnorr::JointError;
use sha2::{Digest as _, Sha256};

use crate::{curve, portable};
use key_tables::KeyTables;
use solve::{Equation, Solution};

/// How many jobs are worked on together: their 192 equations are 24 groups.
const BLOCK: usize = 64;

/// Verifies with AVX-512 IFMA. There is one only where the processor has that.
pub struct Vector {
    tables: KeyTables,
}

/// The first of the features that this engine is compiled for and this processor lacks; none where it can run.
pub fn missing() -> Option<&'static str> {
    if !is_x86_feature_detected!("avx512f") {
        return Some("AVX-512 F");
    }
    if !is_x86_feature_detected!("avx512ifma") {
        return Some("AVX-512 IFMA");
    }
    None
}

impl Vector {
    /// An engine that keeps tables of at most so many keys.
    ///
    /// # Errors
    /// What is missing, where it cannot run.
    pub fn new(key_tables: usize) -> Result<Vector, &'static str> {
        match missing() {
            Some(missing) => Err(missing),
            None => Ok(Vector { tables: KeyTables::new(key_tables) }),
        }
    }

    fn solve(&self, equations: &[Equation<'_>]) -> Vec<Solution> {
        // SAFETY: `self` exists, so `Vector::new` has found the features that `solve` is compiled for.
        unsafe { solve::solve(equations) }
    }

    /// Makes tables for the keys whose turn it is.
    fn make_tables(&self, keys: &[Point]) {
        // SAFETY: as above, for `known_keys`.
        let tables = unsafe { table::known_keys(keys) };
        self.tables.insert(keys, tables);
    }

    fn verify_block(&self, jobs: &[Job], verdicts: &mut Vec<Verdict>) {
        let keys: Vec<&Point> = jobs.iter().flat_map(|job| [&job.device_key, &job.joint_key]).collect();
        let (mut tables, due) = self.tables.find(&keys);
        if !due.is_empty() {
            self.make_tables(&due);
        }
        let sigs: Vec<Numbers> = jobs.iter().flat_map(|job| [&job.binding_sig, &job.device_sig]).map(read).collect();
        let inverses = inverses(&sigs);
        let mut equations = Vec::with_capacity(3 * jobs.len());
        for (at, job) in jobs.iter().enumerate() {
            let [binding, device] = [2 * at, 2 * at + 1].map(|sig| (&sigs[sig], &inverses[sig]));
            // One-time keys are never met again: no table is looked for.
            equations.push(ecdsa(&job.binding_key, job.device_sig.as_bytes(), binding));
            let table = tables[2 * at].take();
            equations.push(Equation { table, ..ecdsa(&job.device_key, &job.device_message, device) });
            let (u, v) = (curve::reduce(&job.z.to_bytes()), -curve::reduce(&job.c));
            equations.push(Equation { u, v, key: &job.joint_key, table: tables[2 * at + 1].take() });
        }
        let solutions = self.solve(&equations);
        for (at, job) in jobs.iter().enumerate() {
            verdicts.push(judge(job, &sigs[2 * at..2 * at + 2], &solutions[3 * at..3 * at + 3]));
        }
    }
}

impl VerifyBatch for Vector {
    fn verify_batch(&self, jobs: &[Job]) -> Vec<Verdict> {
        let mut verdicts = Vec::with_capacity(jobs.len());
        for block in jobs.chunks(BLOCK) {
            self.verify_block(block, &mut verdicts);
        }
        verdicts
    }
}

/// The numbers of an ECDSA signature.
struct Numbers {
    r: Scalar,
    s: Scalar,
}

fn read(signature: &Signature) -> Numbers {
    let [mut r, mut s] = [[0; 32]; 2];
    let (first, second) = signature.as_bytes().split_at(32);
    r.copy_from_slice(first);
    s.copy_from_slice(second);
    // Both are below n already, or they were no signature.
    Numbers { r: curve::reduce(&r), s: curve::reduce(&s) }
}

/// 1/s for every signature, with one inversion. No signature has s = 0; if one had, all would get 0, their equations would
/// have no solution here, and the portable engine would decide them.
fn inverses(sigs: &[Numbers]) -> Vec<Scalar> {
    let mut inverses = Vec::with_capacity(sigs.len());
    let mut product = Scalar::ONE;
    for sig in sigs {
        // Until the way back, the place of the inverse has the product of all before it.
        inverses.push(product);
        product *= sig.s;
    }
    let mut inverse = Option::from(product.invert_vartime()).unwrap_or(Scalar::ZERO);
    for (sig, place) in sigs.iter().zip(&mut inverses).rev() {
        *place *= inverse;
        inverse *= sig.s;
    }
    inverses
}

/// The equation of an ECDSA signature over a message: u = e/s, v = r/s.
fn ecdsa<'a>(key: &'a Point, message: &[u8], (sig, inverse): (&Numbers, &Scalar)) -> Equation<'a> {
    let digest: [u8; 32] = Sha256::digest(message).into();
    Equation { u: curve::reduce(&digest) * inverse, v: sig.r * inverse, key, table: None }
}

/// The verdict, from the solutions for binding, device and joint signature. The first that is broken counts.
fn judge(job: &Job, sigs: &[Numbers], solutions: &[Solution]) -> Verdict {
    let ([binding_sig, device_sig], [binding, device, joint]) = (sigs, solutions) else {
        return portable::verify(job);
    };
    let holds = |solution: &Solution, sig: &Numbers, portable: fn(&Job) -> Result<(), BadSignature>| match solution {
        // x is below p. n is smaller than that by little, so that x can be r + n, too.
        Some((x, _)) => curve::reduce(x) == sig.r,
        None => portable(job).is_ok(),
    };
    if !holds(binding, binding_sig, portable::binding) {
        return Err(Broken::Binding);
    }
    if !holds(device, device_sig, portable::device) {
        return Err(Broken::Device);
    }
    Ok(judge_joint(job, joint)?)
}

fn judge_joint(job: &Job, solution: &Solution) -> Result<(), JointError> {
    let commitment = solution.as_ref().and_then(|(x, y)| Point::from_sec1_any(&curve::join(x, y)).ok());
    match commitment {
        Some(commitment) => portable::challenge(job, &commitment),
        None => portable::joint(job),
    }
}
