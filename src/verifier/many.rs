//! Many records at once: each core takes its share of them, and a few are looked at twice.
//!
//! ```text
//! records ── a share for each core ──► engine ──► accepted ── one in 256 ──► Plain, once more ──► those that hold
//! ```
//!
//! Whoever reads a log again often runs the engine that the log runs, and would repeat its mistakes. So some of what it
//! accepts is verified by the plain engine too, which shares none of its arithmetic: what that refuses is not given back, and
//! whoever folds the log verifies it alone and sees why.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use scal3::batch::Job;
use scal3::verify::{Bound, Signed, check_batch};

use crate::engine::Engine;

/// One accepted record in so many is verified twice.
const TWICE: u64 = 256;

/// Verifies records on all cores, and gives those whose signatures hold, each with the mark that it came with, in no order.
///
/// Which signature of another does not hold is not said: whoever wants to know verifies it again.
pub fn verify_many<M: Send>(engine: &Engine, mut records: Vec<(M, Bound)>) -> Vec<(M, Signed)> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let share = records.len().div_ceil(cores).max(1);
    // A share that is lost counts as one that does not hold.
    let verify = |records| catch_unwind(AssertUnwindSafe(|| verify(engine, records))).unwrap_or_default();
    thread::scope(|scope| {
        let mut threads = Vec::new();
        while records.len() > share {
            let share = records.split_off(records.len() - share);
            // Where the system has no thread for a share, nobody verifies it here.
            threads.extend(thread::Builder::new().spawn_scoped(scope, move || verify(share)));
        }
        let mut verified = verify(records);
        verified.extend(threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()));
        verified
    })
}

fn verify<M>(engine: &Engine, records: Vec<(M, Bound)>) -> Vec<(M, Signed)> {
    // Which ones nobody who writes records can know.
    let chance = RandomState::new();
    let (marks, records): (Vec<_>, Vec<_>) = records.into_iter().unzip();
    let twice: Vec<Option<Job>> = (0_u64..)
        .zip(&records)
        .map(|(place, record)| chance.hash_one(place).is_multiple_of(TWICE).then(|| record.job().clone()))
        .collect();
    let verdicts = check_batch(engine, records).into_iter().zip(twice);
    marks
        .into_iter()
        .zip(verdicts)
        .filter_map(|(mark, (verdict, twice))| {
            let signed = verdict.ok()?;
            twice.is_none_or(|job| job.verify().is_ok()).then_some((mark, signed))
        })
        .collect()
}
