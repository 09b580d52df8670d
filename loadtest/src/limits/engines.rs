//! What verification costs, on one core, with each engine: the same jobs, in turn, in CPU time of the thread.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use scal3::batch::{Job, Plain, VerifyBatch};
use scal3::credential::IssuingKey;
use scal3::verify::Submitted;
use scal3::{Credential, Hash};
use tlog::TreeHead;
use verifier::{Choice, Engine, Portable};

use super::figures::{Figures, rounded};
use super::{Scale, median};
use crate::Error;
use crate::maker::{Person, Provider, now_ms};
use crate::pairs::Pairs;

/// Jobs in one call.
const BATCH: usize = 64;

/// The log that the records here would be for.
const ORIGIN: &str = "limits.example/engines";

/// Verifications in a second of CPU time.
#[derive(Debug, Clone, Copy)]
pub struct Engines {
    /// By the engine that a server on this machine runs, without tables for keys.
    pub running: f64,
}

/// The CPU time that this thread has used.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Records of as many people, with the credentials that they are verified under.
pub fn records(count: usize) -> Result<Vec<(Vec<u8>, Credential)>, Error> {
    let issuing = Pairs::from_seed(&[3; 32]).take();
    let made = |e: &dyn std::fmt::Display| Error::Make(e.to_string());
    let key = IssuingKey::parse(&issuing.public()).map_err(|e| made(&e))?;
    let issuing = p256::ecdsa::SigningKey::from_slice(&issuing.secret.to_bytes()).map_err(|e| made(&e))?;
    let provider = Provider::new(issuing, ORIGIN, b"{}");
    let mut pairs = Pairs::from_seed(&[4; 32]);
    let seen = TreeHead { root: Hash([5; 32]), ..TreeHead::EMPTY };
    (0..count)
        .map(|_| {
            let (mut person, credential) = Person::new(&provider, now_ms())?;
            let opening = person.next(&mut pairs, &seen, now_ms())?.opening;
            Ok((opening, Credential::open(&credential, &key).map_err(|e| made(&e))?))
        })
        .collect()
}

/// The signatures of those records.
pub fn jobs(records: &[(Vec<u8>, Credential)]) -> Result<Vec<Job>, Error> {
    let job = |(opening, credential): &(Vec<u8>, Credential)| {
        Ok(Submitted::parse(opening)?.bind(credential, ORIGIN)?.job().clone())
    };
    records.iter().map(job).collect::<Result<_, scal3::verify::Refusal>>().map_err(|e| Error::Make(e.to_string()))
}

/// Checks each record alone, from its bytes, with the curve library: the naive audit. Gives seconds, by the clock as the
/// other audit's.
pub fn naive(records: &[(Vec<u8>, Credential)]) -> Result<f64, Error> {
    let began = Instant::now();
    for (opening, credential) in records {
        let submitted = Submitted::parse(opening).map_err(|e| Error::Make(e.to_string()))?;
        let bound = submitted.bind(credential, ORIGIN).map_err(|e| Error::Make(e.to_string()))?;
        if !Plain.verify_batch(std::slice::from_ref(bound.job())).iter().all(Result::is_ok) {
            return Err(Error::Wrong("a record of the generator does not verify".to_owned()));
        }
    }
    Ok(began.elapsed().as_secs_f64())
}

/// Measures all of them.
pub fn measure(scale: &Scale, figures: &mut Figures) -> Result<Engines, Error> {
    let jobs = jobs(&records(BATCH)?)?;
    let running = Engine::with_key_tables(Choice::Auto, 0).map_err(|e| Error::System(e.to_string()))?;
    let vector = Engine::with_key_tables(Choice::Vector, 0);
    let tables = Engine::new(Choice::Auto).map_err(|e| Error::System(e.to_string()))?;
    let mut engines: Vec<(&str, &dyn VerifyBatch)> =
        vec![("p256", &Plain), ("portable", &Portable), ("running", &running), ("running_with_key_tables", &tables)];
    if let Ok(vector) = &vector {
        engines.push(("vector", vector));
    }
    // Tables are made where keys are seen often.
    for _ in 0..BATCH {
        drop(tables.verify_batch(&jobs));
    }
    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); engines.len()];
    for _ in 0..scale.rounds {
        for ((_, engine), rates) in engines.iter().zip(&mut rates) {
            rates.push(rate(*engine, &jobs, scale.engine)?);
        }
    }
    let rates: Vec<f64> = rates.into_iter().map(median).collect();
    let [p256, portable, run, ..] = rates[..] else {
        return Err(Error::System("no engines".to_owned()));
    };
    for ((name, _), rate) in engines.iter().zip(&rates) {
        figures.count(&format!("engine_{name}_per_cpu_s"), rounded(*rate));
    }
    figures.count("engine", running.name());
    figures.count("engine_batch", BATCH);
    figures.set("portable_vs_p256", portable / p256);
    match (&vector, rates.get(4)) {
        (Ok(_), Some(vector)) => {
            figures.set("vector_vs_p256", vector / p256);
            figures.set("vector_vs_portable", vector / portable);
        }
        (Err(why), _) => {
            figures.missing("vector_vs_p256", why);
            figures.missing("vector_vs_portable", why);
        }
        _ => {}
    }
    Ok(Engines { running: run })
}

/// Verifications in a second of CPU time, over at least so long.
fn rate(engine: &dyn VerifyBatch, jobs: &[Job], lasting: Duration) -> Result<f64, Error> {
    let (began, mut done) = (thread_time(), 0);
    loop {
        if !engine.verify_batch(jobs).iter().all(Result::is_ok) {
            return Err(Error::Wrong("an engine refuses a record that holds".to_owned()));
        }
        done += jobs.len();
        let took = thread_time() - began;
        if took >= lasting {
            return Ok(done as f64 / took.as_secs_f64());
        }
    }
}
