//! The engine for processors with AVX-512 IFMA: eight equations side by side in arithmetic of our own.
//!
//! ```text
//! jobs ─ questions ─▶ equations ─ 8 lanes × 24 groups ─▶ solutions ─▶ verdicts
//!                        key_tables │ what is known about their keys
//! ```
//! Every equation is decided for itself, whatever else is in its group.

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

use scal3::batch::{Job, Verdict, VerifyBatch};
use scal3::point::Point;

use crate::questions::{Part, Questions, Solution};
use key_tables::KeyTables;
use lanes::{LANES, Row};
use solve::Lane;

/// How many jobs are worked on together: their 192 equations are 24 groups.
const BLOCK: usize = 64;

/// Verifies with AVX-512 IFMA. There is one only where the processor has that.
pub struct Vector {
    tables: KeyTables,
}

/// The first of the features that this engine is compiled for and this processor lacks; none where it can run.
///
/// The last one means all the others to the compiler. A processor that hides some of them from its guests says so here.
pub fn missing() -> Option<&'static str> {
    let features = [
        ("AVX2", is_x86_feature_detected!("avx2")),
        ("FMA", is_x86_feature_detected!("fma")),
        ("F16C", is_x86_feature_detected!("f16c")),
        ("AVX-512 F", is_x86_feature_detected!("avx512f")),
        ("AVX-512 IFMA", is_x86_feature_detected!("avx512ifma")),
    ];
    features.into_iter().find(|(_, there)| !there).map(|(name, _)| name)
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

    fn solve(&self, lanes: &[Lane<'_>]) -> Vec<Solution> {
        // SAFETY: `self` exists, so `Vector::new` has found the features that `solve` is compiled for.
        unsafe { solve::solve(lanes) }
    }

    /// Makes tables for the keys whose turn it is.
    fn make_tables(&self, keys: &[Point]) {
        // SAFETY: as above, for `known_keys`.
        let tables = unsafe { table::known_keys(keys) };
        self.tables.insert(keys, tables);
    }

    /// For each compressed point one with its bytes, or none: where there is none, and where this arithmetic does not find it.
    pub fn points(&self, compressed: &[[u8; Point::LEN]]) -> Vec<Option<Point>> {
        let mut points = Vec::with_capacity(compressed.len());
        for group in compressed.chunks(LANES) {
            let mut rows = [Row::ZERO; LANES];
            let mut odd = 0;
            for (lane, [tag, x @ ..]) in group.iter().enumerate() {
                rows[lane] = table::row(x, &[0; 32]);
                odd |= (tag & 1) << lane;
            }
            // SAFETY: as for `solve`, for `decompress`.
            let rows = unsafe { point::decompress(&rows, odd) };
            // The curve library has the last word, on x, y and the curve.
            let point = |(bytes, row): (&[u8; Point::LEN], &Row)| Point::with_y(bytes, &table::coordinates(row).1);
            points.extend(group.iter().zip(&rows).map(point));
        }
        points
    }

    fn verify_block(&self, jobs: &[Job], verdicts: &mut Vec<Verdict>) {
        let keys: Vec<&Point> = jobs.iter().flat_map(|job| [&job.device_key, &job.joint_key]).collect();
        let (mut tables, due) = self.tables.find(&keys);
        if !due.is_empty() {
            self.make_tables(&due);
        }
        let questions = Questions::new(jobs);
        let mut lanes = Vec::with_capacity(Part::ALL.len() * jobs.len());
        for at in 0..jobs.len() {
            // One-time keys are never met again: no table is looked for.
            lanes.push(Lane { equation: questions.equation(at, Part::Binding), table: None });
            lanes.push(Lane { equation: questions.equation(at, Part::Device), table: tables[2 * at].take() });
            lanes.push(Lane { equation: questions.equation(at, Part::Joint), table: tables[2 * at + 1].take() });
        }
        let solutions = self.solve(&lanes);
        let solution = |at: usize, part: Part| solutions[Part::ALL.len() * at + part as usize];
        verdicts.extend((0..jobs.len()).map(|at| questions.verdict(at, |part| solution(at, part))));
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
