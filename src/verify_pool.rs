//! The verification pool: signatures are checked in batches, on as many threads as there are cores.
//!
//! ```text
//! openings ─► queue ─► a free thread takes its share of what waits, 64 at most ─► parse, keys ─► engine ─► verdicts
//!                                                                                                 └─ some, once more
//! ```
//!
//! There is no timer. A thread that is free takes what is there, and be it one opening; while it works others come, so that
//! batches grow with the load by themselves. What waits here is bounded by the room that its request holds ([`crate::room`]).

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use scal3::batch::{Plain, VerifyBatch};
use scal3::point::Point;
use scal3::verify::{Bound, Signed, Unread, check_batch};
use tokio::sync::oneshot;
use verifier::{Choice, Engine, EngineError, Judge};

use crate::engine::Config;
use crate::ledger::{Ledger, Lookup, Standing};
use crate::metrics;
use crate::recheck::Recheck;
use crate::submission::{AppendError, BodyRefusal, Verified};

/// The most openings that one thread takes at a time: a batch fills every lane of the engine, and is short enough for whoever
/// comes behind it.
const MOST: usize = 64;

/// The fewest that are worth sharing between two threads: their three signatures each fill the lanes.
const LEAST: usize = 8;

/// The pool. The last handle dropped ends its threads.
#[derive(Debug)]
pub struct VerifyPool {
    queue: Arc<Queue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What a thread needs to judge an opening.
pub struct Reader {
    /// Who computes.
    pub engine: Arc<Engine>,
    /// Where credentials are.
    pub ledger: Arc<Ledger>,
    /// The origin that a record must name.
    pub standing: Arc<Standing>,
    /// The longest opening, bytes.
    pub opening_bytes: usize,
    /// Who looks at some of them once more.
    pub recheck: Option<Recheck>,
}

#[derive(Debug)]
struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
    threads: usize,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    closed: bool,
}

/// One opening, and who waits for the verdict. Dropped without one, it means that a thread has died over it.
#[derive(Debug)]
struct Waiting {
    opening: Vec<u8>,
    reply: oneshot::Sender<Verdict>,
}

type Verdict = Result<Verified, AppendError>;

/// The engine of that choice: one for all logs of a process, so that it is tested once and its tables are shared.
pub fn engine(choice: Choice) -> Result<Arc<Engine>, EngineError> {
    static ENGINES: [OnceLock<Arc<Engine>>; 3] = [const { OnceLock::new() }; 3];
    let [auto, portable, vector] = &ENGINES;
    let known = match choice {
        Choice::Auto => auto,
        Choice::Portable => portable,
        Choice::Vector => vector,
    };
    match known.get() {
        Some(engine) => Ok(Arc::clone(engine)),
        None => Engine::new(choice).map(|engine| Arc::clone(known.get_or_init(|| Arc::new(engine)))),
    }
}

impl VerifyPool {
    /// Starts so many threads (0: one per core). An error is one of the system, which has no thread for us.
    pub fn start(threads: usize, reader: Reader) -> std::io::Result<VerifyPool> {
        let threads = if threads == 0 { thread::available_parallelism().map_or(1, usize::from) } else { threads };
        let queue = Arc::new(Queue { state: Mutex::default(), arrived: Condvar::new(), threads });
        let reader = Arc::new(reader);
        let start = |number| {
            let (queue, reader) = (Arc::clone(&queue), Arc::clone(&reader));
            let work = move || while queue.take().map(|batch| reader.answer(batch)).is_some() {};
            thread::Builder::new().name(format!("verify-{number}")).spawn(work)
        };
        // Dropped with an error, it ends those that have started.
        let pool = VerifyPool { queue: Arc::clone(&queue), threads: Mutex::default() };
        for number in 0..threads {
            pool.threads.lock().unwrap_or_else(PoisonError::into_inner).push(start(number)?);
        }
        Ok(pool)
    }

    /// Checks the signatures of one opening.
    pub async fn verify(&self, opening: Vec<u8>) -> Verdict {
        self.verify_all(vec![opening]).await.pop().unwrap_or(Err(AppendError::Dead))
    }

    /// Checks many, and answers in their order.
    pub async fn verify_all(&self, openings: Vec<Vec<u8>>) -> Vec<Verdict> {
        let began = Instant::now();
        let count = openings.len();
        let Some(replies) = self.queue.put(openings) else {
            return (0..count).map(|_| Err(AppendError::ShuttingDown)).collect();
        };
        let mut verdicts = Vec::with_capacity(replies.len());
        for reply in replies {
            verdicts.push(reply.await.unwrap_or(Err(AppendError::Dead)));
            metrics::engine().verify_seconds.observe(began.elapsed().as_secs_f64());
        }
        verdicts
    }

    /// Ends the threads when they have answered what waits.
    pub fn stop(&self) {
        self.queue.lock().closed = true;
        self.queue.arrived.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // One that panicked has nothing more to say.
            let _ = thread.join();
        }
    }
}

impl Drop for VerifyPool {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.arrived.notify_all();
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics halfway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts openings behind what waits; nothing where the pool is closed.
    fn put(&self, openings: Vec<Vec<u8>>) -> Option<Vec<oneshot::Receiver<Verdict>>> {
        let (waiting, replies): (Vec<_>, Vec<_>) = openings
            .into_iter()
            .map(|opening| {
                let (reply, verdict) = oneshot::channel();
                (Waiting { opening, reply }, verdict)
            })
            .unzip();
        let mut state = self.lock();
        if state.closed {
            return None;
        }
        state.waiting.extend(waiting);
        let wanted = state.waiting.len().div_ceil(LEAST).min(self.threads);
        drop(state);
        (0..wanted).for_each(|_| self.arrived.notify_one());
        Some(replies)
    }

    /// A share of what waits, as soon as something does; none when the pool is closed and everything is answered.
    fn take(&self) -> Option<Vec<Waiting>> {
        let mut state = self.lock();
        while state.waiting.is_empty() {
            if state.closed {
                return None;
            }
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let share = share(state.waiting.len(), self.threads);
        Some(state.waiting.drain(..share).collect())
    }
}

/// How many of those who wait one of so many threads takes.
fn share(waiting: usize, threads: usize) -> usize {
    waiting.div_ceil(threads.max(1)).clamp(LEAST, MOST).min(waiting)
}

impl Reader {
    /// A reader of that log's records.
    pub(crate) fn new(config: &Config, engine: &Arc<Engine>, ledger: &Arc<Ledger>, standing: &Arc<Standing>) -> Reader {
        // Plain has none of AWS-LC, and the judge none of our own arithmetic.
        let judge: Arc<dyn VerifyBatch + Send + Sync> =
            if engine.name() == "portable" { Arc::new(Plain) } else { Arc::new(Judge) };
        Reader {
            engine: Arc::clone(engine),
            ledger: Arc::clone(ledger),
            standing: Arc::clone(standing),
            opening_bytes: config.limits.opening_bytes,
            recheck: Recheck::start(config.verify.recheck_one_in, judge),
        }
    }

    fn answer(&self, batch: Vec<Waiting>) {
        if let Some(verdicts) = self.try_verify(&batch) {
            batch.into_iter().zip(verdicts).for_each(|(waiting, verdict)| waiting.answer(verdict));
            return;
        }
        // One of them has reached a defect. Its neighbours must not suffer for it, nor those who come after it.
        tracing::error!("verification stopped unexpectedly; its openings are verified one by one");
        for waiting in batch {
            let verdict = self.try_verify(std::slice::from_ref(&waiting)).and_then(|mut verdicts| verdicts.pop());
            waiting.answer(verdict.unwrap_or(Err(AppendError::Dead)));
        }
    }

    fn try_verify(&self, batch: &[Waiting]) -> Option<Vec<Result<Signed, AppendError>>> {
        catch_unwind(AssertUnwindSafe(|| self.verify(batch))).ok()
    }

    /// The verdict on each, in their order.
    fn verify(&self, batch: &[Waiting]) -> Vec<Result<Signed, AppendError>> {
        let unread: Vec<_> = batch.iter().map(|waiting| self.unread(&waiting.opening)).collect();
        // Their one-time keys are compressed: to read them takes square roots, which are found together.
        let compressed: Vec<_> = unread.iter().flatten().filter_map(|unread| unread.binding_key().copied()).collect();
        let mut points = self.engine.points(&compressed).into_iter();
        let (mut refused, mut claimed, mut jobs) = (Vec::with_capacity(batch.len()), Vec::new(), Vec::new());
        for unread in unread {
            let claim = unread.and_then(|unread| {
                let point = unread.binding_key().and_then(|_| points.next()?.ok());
                self.claim(unread, point)
            });
            refused.push(match claim {
                Ok(claim) => {
                    if self.recheck.as_ref().is_some_and(Recheck::takes_next) {
                        jobs.push((claimed.len(), claim.job().clone()));
                    }
                    claimed.push(claim);
                    None
                }
                Err(refused) => Some(refused),
            });
        }
        let judged = check_batch(&*self.engine, claimed);
        if let Some(recheck) = &self.recheck {
            jobs.retain(|(at, _)| judged.get(*at).is_some_and(Result::is_ok));
            recheck.submit(jobs.into_iter().map(|(_, job)| job).collect());
        }
        let mut judged = judged.into_iter();
        let next = |refused| match refused {
            Some(refused) => Err(refused),
            None => judged.next().map_or(Err(AppendError::Dead), |verdict| Ok(verdict?)),
        };
        refused.into_iter().map(next).collect()
    }

    fn unread(&self, opening: &[u8]) -> Result<Unread, AppendError> {
        let limit = self.opening_bytes;
        if opening.len() > limit {
            return Err(AppendError::Body(BodyRefusal::TooLong { limit }));
        }
        Ok(Unread::parse(opening)?)
    }

    /// Parses the record of an opening and finds its keys.
    fn claim(&self, unread: Unread, binding_key: Option<Point>) -> Result<Bound, AppendError> {
        let submitted = unread.read(binding_key)?;
        let id = submitted.credential_id();
        let state = self.ledger.credential(&id).map_err(|_| AppendError::Dead)?;
        let state = state.ok_or(AppendError::UnknownCredential(id))?;
        Ok(submitted.bind(state.credential(), self.standing.origin())?)
    }
}

impl Waiting {
    fn answer(self, verdict: Result<Signed, AppendError>) {
        // Whoever no longer waits will ask again.
        let _ = self.reply.send(verdict.map(|signed| Verified::of(signed, self.opening)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_shared_and_nobody_waits_for_more() {
        for (waiting, threads, taken) in
            [(1, 2, 1), (7, 2, 7), (8, 2, 8), (12, 2, 8), (64, 2, 32), (1000, 2, 64), (5, 0, 5)]
        {
            assert_eq!(share(waiting, threads), taken, "{waiting} waiting, {threads} threads");
        }
    }
}
