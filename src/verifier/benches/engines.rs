//! What verification costs on one core with each engine, as ratios in one run.
//!
//! ```text
//! taskset -c 0 cargo bench -p solelog-verifier            about a minute
//! taskset -c 0 cargo bench -p solelog-verifier -- 31      so many rounds
//! ```
//! All engines verify the same jobs (three signatures each), in turn, on one thread; the figures are medians over the rounds.
//! The engine "with tables" has seen the keys of devices and people before, the others meet every key for the first time.

use std::time::Instant;

use scal3::batch::{Job, Plain, VerifyBatch};
use verifier::{Choice, Engine, Portable};

#[path = "../tests/support/maker.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod maker;

/// Jobs in one call.
const BATCHES: [usize; 4] = [1, 8, 64, 512];

fn main() {
    let rounds = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(11);
    let mut engines: Vec<(&str, Box<dyn VerifyBatch>)> =
        vec![("p256 (Plain)", Box::new(Plain)), ("portable", Box::new(Portable))];
    match Engine::with_key_tables(Choice::Vector, 0) {
        Ok(engine) => engines.push(("vector", Box::new(engine))),
        Err(error) => println!("no vector engine: {error}"),
    }
    if let Ok(engine) = Engine::with_key_tables(Choice::Vector, 4096) {
        engines.push(("vector with tables", Box::new(engine)));
    }
    println!("{:<8}{:<22}{:>12}{:>12}{:>10}{:>14}", "batch", "engine", "µs per job", "jobs/s", "× p256", "× portable");
    for batch in BATCHES {
        let jobs = maker::Maker::new(batch as u64).jobs(batch, batch);
        // The engine with tables meets the keys here.
        for _ in 0..batch.max(64) {
            engines.iter().skip(3).for_each(|(_, engine)| drop(engine.verify_batch(&jobs)));
        }
        let mut times: Vec<Vec<f64>> = vec![Vec::new(); engines.len()];
        for _ in 0..rounds {
            for ((_, engine), times) in engines.iter().zip(&mut times) {
                times.push(microseconds(engine.as_ref(), &jobs));
            }
        }
        let medians: Vec<f64> = times.iter_mut().map(|times| median(times)).collect();
        for ((name, _), median) in engines.iter().zip(&medians) {
            let [plain, portable] = [medians[0] / median, medians[1] / median];
            println!("{batch:<8}{name:<22}{median:>12.2}{:>12.0}{plain:>10.2}{portable:>14.2}", 1e6 / median);
        }
    }
}

/// Per job, repeated until a measurement takes some milliseconds.
fn microseconds(engine: &dyn VerifyBatch, jobs: &[Job]) -> f64 {
    let repeats = (64 / jobs.len()).max(1);
    let began = Instant::now();
    for _ in 0..repeats {
        assert!(engine.verify_batch(jobs).iter().all(Result::is_ok), "every job of the bench holds");
    }
    began.elapsed().as_secs_f64() * 1e6 / (repeats * jobs.len()) as f64
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
