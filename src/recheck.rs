//! The recheck: some of the records that the engine has accepted, verified again by another one.
//!
//! ```text
//! accepted ── one in so many ──► a short queue ──► the judge, when there is time ──► same verdict?
//!                                  └─ full: skipped                                   └─ no: alarm
//! ```
//!
//! The engine that verifies appends is fast, and fast code is clever. The judge shares none of the cleverness. A difference
//! means that the log may have taken a record that does not verify: the metric must wake somebody.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use scal3::batch::{Job, VerifyBatch};

use crate::metrics;

/// How many batches may wait. Beyond them samples are skipped: verifying twice must not slow down what is verified once.
const WAITING: usize = 64;

/// Who takes the samples.
#[derive(Debug)]
pub struct Recheck {
    one_in: u64,
    seen: AtomicU64,
    /// Which ones, nobody who sends records can know: else what must not be looked at would be sent between them.
    chance: RandomState,
    queue: SyncSender<Vec<Job>>,
}

impl Recheck {
    /// Starts a thread on which the judge verifies one accepted record in so many again. It ends with this.
    ///
    /// None where the system has no thread for it, or where none is wanted (`one_in` is 0).
    pub fn start(one_in: u64, judge: Arc<dyn VerifyBatch + Send + Sync>) -> Option<Recheck> {
        let (queue, jobs) = sync_channel(WAITING);
        let work = move || work(&jobs, &*judge);
        let started = (one_in > 0).then(|| thread::Builder::new().name("recheck".to_owned()).spawn(work));
        started?.ok()?;
        Some(Recheck { one_in, seen: AtomicU64::new(0), chance: RandomState::new(), queue })
    }

    /// Whether the next record is one of those.
    pub fn takes_next(&self) -> bool {
        let before = self.seen.fetch_add(1, Ordering::Relaxed);
        self.chance.hash_one(before).is_multiple_of(self.one_in)
    }

    /// Hands over records that were accepted.
    pub fn submit(&self, jobs: Vec<Job>) {
        let count = jobs.len() as u64;
        if count == 0 {
            return;
        }
        let why = match self.queue.try_send(jobs) {
            Ok(()) => return,
            Err(TrySendError::Full(_)) => "skipped",
            Err(TrySendError::Disconnected(_)) => "stopped",
        };
        metrics::engine().rechecks.with_label_values(&[why]).inc_by(count);
    }
}

fn work(jobs: &Receiver<Vec<Job>>, judge: &dyn VerifyBatch) {
    for jobs in jobs {
        let Ok(verdicts) = catch_unwind(AssertUnwindSafe(|| judge.verify_batch(&jobs))) else {
            metrics::engine().rechecks.with_label_values(&["stopped"]).inc_by(jobs.len() as u64);
            tracing::error!("the judge stopped unexpectedly over records that the engine has accepted");
            continue;
        };
        for verdict in verdicts {
            metrics::engine().rechecks.with_label_values(&[if verdict.is_ok() { "same" } else { "different" }]).inc();
            if let Err(broken) = verdict {
                // Nothing about the record: whose it is must not be in a log line (I-8).
                tracing::error!(%broken, "the engine has accepted a record whose signatures do not hold; set verify.engine = \"portable\", restart, and run `solelog rebuild`");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use scal3::batch::{Broken, Verdict};
    use scal3::point::{Point, Scalar};
    use scal3::schnorr::Challenge;
    use scal3::{Hash, ecdsa::Signature};

    use super::*;

    /// A judge that refuses what another engine has accepted, and says that it was asked.
    struct Refuses(std::sync::mpsc::Sender<usize>);

    impl VerifyBatch for Refuses {
        fn verify_batch(&self, jobs: &[Job]) -> Vec<Verdict> {
            self.0.send(jobs.len()).expect("somebody hears it");
            jobs.iter().map(|_| Err(Broken::Binding)).collect()
        }
    }

    fn job() -> Job {
        let mut generator = [0; 33];
        generator[0] = 3;
        generator[1..].copy_from_slice(
            &Hash::from_hex("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296").expect("hex").0,
        );
        let key = Point::from_bytes(&generator).expect("a point");
        let signature = Signature::from_bytes(&[1; 64]).expect("two scalars");
        Job {
            binding_key: key,
            device_key: key,
            joint_key: key,
            challenge: Challenge::EcSdsa,
            message: Vec::new(),
            c: [1; 32],
            z: Scalar::from_bytes(&[1; 32]).expect("a scalar"),
            device_message: Vec::new(),
            device_sig: signature,
            binding_sig: signature,
        }
    }

    #[test]
    fn one_in_so_many_is_judged_again_and_a_difference_is_counted() {
        let different = || metrics::engine().rechecks.with_label_values(&["different"]).get();
        let before = different();
        let (asked, heard) = std::sync::mpsc::channel();
        let recheck = Recheck::start(3, Arc::new(Refuses(asked))).expect("a thread");
        let sampled = (0..30_000).filter(|_| recheck.takes_next()).count();
        assert!((9_000..11_000).contains(&sampled), "{sampled} of 30,000");
        recheck.submit(vec![job(), job()]);
        recheck.submit(Vec::new());
        drop(recheck);
        assert_eq!(heard.iter().sum::<usize>(), 2, "every sample is judged, and the thread ends");
        assert_eq!(different() - before, 2);
        assert!(Recheck::start(0, Arc::new(scal3::batch::Plain)).is_none());
    }
}
