//! The verification pool: signatures are checked on as many threads as there are cores, and no more bytes wait for it
//! than were agreed.
//!
//! ```text
//! body ── bytes (64 MiB in all) ──► parsed ── a core ──► three signatures ──► the sequencer's queue
//! ```
//!
//! A request takes its bytes before it reads them from the network, and gives them back when it is answered. When there
//! are none left it is told to come back later: memory stays bounded, whoever calls (I-9).

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::engine::Engine;
use crate::metrics;
use crate::submission::{AppendError, Verified};

/// How long a caller is asked to wait when there is no room.
pub const RETRY_AFTER_S: u64 = 1;

/// The pool.
#[derive(Clone, Debug)]
pub struct VerifyPool {
    cores: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    capacity: usize,
}

/// Bytes of the budget, held by one request.
#[derive(Debug)]
pub struct Held {
    pool: VerifyPool,
    permit: Option<OwnedSemaphorePermit>,
}

/// The budget is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRoom;

impl VerifyPool {
    /// A pool with so many threads (0: one per core), for which so many bytes may wait.
    pub fn new(threads: usize, bytes: usize) -> VerifyPool {
        let cores = if threads == 0 { std::thread::available_parallelism().map_or(1, usize::from) } else { threads };
        VerifyPool { cores: Arc::new(Semaphore::new(cores)), bytes: Arc::new(Semaphore::new(bytes)), capacity: bytes }
    }

    /// A place for one request; it holds no bytes yet.
    pub fn enter(&self) -> Held {
        Held { pool: self.clone(), permit: None }
    }

    /// How many bytes are held, and how many could be.
    pub fn load(&self) -> (usize, usize) {
        (self.capacity - self.bytes.available_permits(), self.capacity)
    }

    /// Checks the signatures of one opening.
    pub async fn verify(&self, engine: &Engine, opening: Vec<u8>) -> Result<Verified, AppendError> {
        let began = Instant::now();
        // The semaphore is never closed.
        let _core = self.cores.acquire().await.map_err(|_| AppendError::ShuttingDown)?;
        let verdict = engine.verify(opening).await;
        metrics::engine().verify_seconds.observe(began.elapsed().as_secs_f64());
        verdict
    }

    /// Checks many, on all cores, and answers in their order.
    pub async fn verify_all(&self, engine: &Engine, openings: Vec<Vec<u8>>) -> Vec<Result<Verified, AppendError>> {
        let count = openings.len();
        let mut tasks = JoinSet::new();
        for (at, opening) in openings.into_iter().enumerate() {
            let (pool, engine) = (self.clone(), engine.clone());
            tasks.spawn(async move { (at, pool.verify(&engine, opening).await) });
        }
        let mut verdicts: Vec<_> = (0..count).map(|_| Err(AppendError::Dead)).collect();
        while let Some(done) = tasks.join_next().await {
            if let Ok((at, verdict)) = done
                && let Some(slot) = verdicts.get_mut(at)
            {
                *slot = verdict;
            }
        }
        verdicts
    }
}

impl Held {
    /// Takes that many more bytes, or none.
    pub fn grow(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let bytes = u32::try_from(bytes).map_err(|_| NoRoom)?;
        let more = Arc::clone(&self.pool.bytes).try_acquire_many_owned(bytes).map_err(|_| NoRoom)?;
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            None => self.permit = Some(more),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_bounded_and_come_back() {
        let pool = VerifyPool::new(1, 100);
        let mut one = pool.enter();
        one.grow(60).expect("room");
        one.grow(30).expect("room");
        let mut two = pool.enter();
        assert_eq!(two.grow(11), Err(NoRoom));
        assert_eq!(pool.load(), (90, 100));
        drop(one);
        two.grow(100).expect("all came back");
    }
}
