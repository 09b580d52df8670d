//! Known answers, asked for before an engine is used.
//!
//! ```text
//! 3 jobs that hold × (as they are, and 9 ways to break them) ─▶ engine ─▶ the verdicts that each way must have
//! ```
//! They are asked for together and then once more: the second time, the engine has seen the keys.

use scal3::batch::{Broken, Job, Verdict, VerifyBatch};
use scal3::ecdsa::Signature;
use scal3::point::{Point, Scalar};
use scal3::schnorr::JointError;

use crate::known;

/// An engine gave another verdict than the one that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a wrong answer to known job {job}")]
pub struct WrongAnswer {
    /// Which of the known jobs it was; one behind the last when there were not as many answers as jobs.
    pub job: usize,
}

/// Asks for all known answers, twice.
///
/// # Errors
/// [`WrongAnswer`], the first.
pub fn run(engine: &impl VerifyBatch) -> Result<(), WrongAnswer> {
    let (jobs, expected): (Vec<Job>, Vec<Verdict>) = questions().ok_or(WrongAnswer { job: 0 })?.into_iter().unzip();
    for _ in 0..2 {
        let found = engine.verify_batch(&jobs);
        if let Some(job) = found.iter().zip(&expected).position(|(found, expected)| found != expected) {
            return Err(WrongAnswer { job });
        }
        if found.len() != expected.len() {
            return Err(WrongAnswer { job: expected.len() });
        }
    }
    Ok(())
}

/// One thing done to a job that holds.
type Change = fn(&mut Job) -> Option<()>;

const MISMATCH: Verdict = Err(Broken::Joint(JointError::Mismatch));

const CHANGES: [(Change, Verdict); 10] = [
    (|_| Some(()), Ok(())),
    (|job| alter(&mut job.binding_key, opposite), Err(Broken::Binding)),
    (|job| alter(&mut job.binding_sig, changed), Err(Broken::Binding)),
    (|job| alter(&mut job.device_sig, changed), Err(Broken::Binding)),
    (|job| alter(&mut job.device_key, opposite), Err(Broken::Device)),
    (|job| job.device_message.first_mut().map(|byte| *byte ^= 1), Err(Broken::Device)),
    (|job| alter(&mut job.joint_key, opposite), MISMATCH),
    (|job| alter(&mut job.z, |_| Scalar::from_bytes(&[1; 32]).ok()), MISMATCH),
    (|job| job.message.last_mut().map(|byte| *byte ^= 0x80), MISMATCH),
    (
        |job| {
            job.c = [0; 32];
            alter(&mut job.z, |_| Scalar::from_bytes(&[0; 32]).ok())
        },
        Err(Broken::Joint(JointError::Identity)),
    ),
];

/// The jobs and what is known about them; none if the constants of this program do not read as jobs.
fn questions() -> Option<Vec<(Job, Verdict)>> {
    let mut questions = Vec::new();
    for known in known::jobs()? {
        for (change, verdict) in CHANGES {
            let mut job = known.clone();
            change(&mut job)?;
            questions.push((job, verdict));
        }
    }
    Some(questions)
}

fn alter<T>(it: &mut T, by: fn(&T) -> Option<T>) -> Option<()> {
    *it = by(it)?;
    Some(())
}

/// The point with the same x and the other y.
fn opposite(point: &Point) -> Option<Point> {
    let mut bytes = point.to_bytes();
    bytes[0] ^= 1;
    Point::from_bytes(&bytes).ok()
}

/// The signature with one bit of s changed.
fn changed(signature: &Signature) -> Option<Signature> {
    let mut bytes = signature.to_bytes();
    bytes[63] ^= 1;
    Signature::from_bytes(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use scal3::batch::Plain;

    /// Gives one wrong verdict, or one verdict too few.
    struct Wrong {
        at: usize,
        missing: usize,
    }

    impl VerifyBatch for Wrong {
        fn verify_batch(&self, jobs: &[Job]) -> Vec<Verdict> {
            let mut verdicts = Plain.verify_batch(jobs);
            if let Some(verdict) = verdicts.get_mut(self.at) {
                *verdict = if verdict.is_ok() { Err(Broken::Binding) } else { Ok(()) };
            }
            verdicts.truncate(jobs.len() - self.missing);
            verdicts
        }
    }

    #[test]
    fn the_answers_are_those_of_the_plain_engine() {
        assert_eq!(run(&Plain), Ok(()));
    }

    #[test]
    fn one_wrong_or_missing_answer_is_noticed() {
        let count = questions().expect("constants").len();
        for at in [0, 1, 17, count - 1] {
            assert_eq!(run(&Wrong { at, missing: 0 }), Err(WrongAnswer { job: at }));
        }
        assert_eq!(run(&Wrong { at: count, missing: 1 }), Err(WrongAnswer { job: count }));
    }
}
