//! Many records at once: each core takes its share of them.

use scal3::verify::{Bound, Signed, check_batch};

use crate::engine::Engine;

/// Verifies records on all cores, and gives those whose signatures hold, each with the mark that it came with, in no order.
///
/// Which signature of another does not hold is not said: whoever wants to know verifies it again.
pub fn verify_many<M: Send>(engine: &Engine, mut records: Vec<(M, Bound)>) -> Vec<(M, Signed)> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = records.len().div_ceil(cores).max(1);
    let verify = |records: Vec<(M, Bound)>| {
        let (marks, records): (Vec<_>, Vec<_>) = records.into_iter().unzip();
        let verdicts = check_batch(engine, records);
        marks.into_iter().zip(verdicts).filter_map(|(mark, verdict)| Some((mark, verdict.ok()?))).collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        while records.len() > share {
            let share = records.split_off(records.len() - share);
            threads.push(scope.spawn(move || verify(share)));
        }
        let mut verified = verify(records);
        // A share that is lost counts as one that does not hold.
        verified.extend(threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()));
        verified
    })
}
