//! The engine for every processor: AWS-LC, one equation after another.

use scal3::batch::{Job, Verdict, VerifyBatch};

use crate::questions::{Equation, Questions, Solution};
use crate::{aws_lc, curve};

/// How many jobs share an inversion. It costs a tenth of an equation, so a few would do.
const BLOCK: usize = 64;

/// Verifies with AWS-LC. It holds nothing: one is as good as another.
#[derive(Debug, Clone, Copy, Default)]
pub struct Portable;

impl VerifyBatch for Portable {
    fn verify_batch(&self, jobs: &[Job]) -> Vec<Verdict> {
        let mut verdicts = Vec::with_capacity(jobs.len());
        for block in jobs.chunks(BLOCK) {
            let questions = Questions::new(block);
            verdicts
                .extend((0..block.len()).map(|at| questions.verdict(at, |part| solve(&questions.equation(at, part)))));
        }
        verdicts
    }
}

fn solve(equation: &Equation<'_>) -> Solution {
    let (u, v) = (curve::bytes(&equation.u), curve::bytes(&equation.v));
    // The identity has no coordinates, and a failure no solution: both are for the judge.
    let bytes = aws_lc::multiply_add(&u, &v, &curve::uncompressed(equation.key)).ok().flatten()?;
    curve::split(&bytes)
}
