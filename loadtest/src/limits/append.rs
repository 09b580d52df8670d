//! A log that is appended to, in turn with the generator: records are made, then sent, and only the sending is measured.

use std::time::{Duration, Instant};

use super::Scale;
use crate::Error;
use crate::answers::Level;
use crate::crowd::{Crowd, Target};
use crate::local::{Log, Served};
use crate::maker::Made;
use crate::transport::Connection;

/// Records in one request.
pub const BATCH: usize = 64;

/// Records in one request while a log grows for other reasons than to be measured.
const GROWING: usize = 512;

/// How many records are made at a time while it does.
const PORTION: usize = 32_768;

/// Lanes of the crowd: connections that send at the same time.
pub const LANES: usize = 64;

/// How many of them send when each request is a batch.
const BATCHING: usize = 8;

/// The form of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// [`BATCH`] records each.
    Batch,
    /// One record each.
    Single,
    /// As [`Shape::Batch`], and fewer of them: to look at a log without making it much larger.
    Look,
}

/// One measurement.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Records that were appended, each answer verified.
    pub records: usize,
    /// How long it took.
    pub took: Duration,
    /// CPU time of the server.
    pub server_s: f64,
}

impl Window {
    /// Records for each second of the server's CPU time.
    pub fn per_cpu_second(&self) -> f64 {
        self.records as f64 / self.server_s
    }

    /// Records for each second.
    pub fn per_second(&self) -> f64 {
        self.records as f64 / self.took.as_secs_f64()
    }
}

/// A log with a crowd.
pub struct Stage {
    /// The log.
    pub log: Log,
    /// The process that serves it, while there is one.
    pub served: Option<Served>,
    /// Where to send.
    pub target: Target,
    /// Who sends.
    pub crowd: Crowd,
}

impl Stage {
    /// Starts the log and enrols the crowd.
    pub async fn up(mut log: Log, people: usize) -> Result<Stage, Error> {
        // One token stands for all of a provider's back ends here.
        log.set("limits.token_in_flight=1024");
        let served = log.serve()?;
        let (target, about) = served.target(&log).await?;
        let provider = log.provider(&about)?;
        let crowd = Crowd::enrol(&target, &provider, people, LANES).await?;
        Ok(Stage { log, served: Some(served), target, crowd })
    }

    /// The process.
    pub fn served(&self) -> Result<&Served, Error> {
        self.served.as_ref().ok_or_else(|| Error::System("the log is not running".to_owned()))
    }

    /// Stops the process in order.
    pub fn stop(&mut self) -> Result<(), Error> {
        self.served.take().map_or(Ok(()), Served::stop)
    }

    /// Starts it again.
    pub async fn start(&mut self) -> Result<Duration, Error> {
        let served = self.log.serve()?;
        let (target, _) = served.target(&self.log).await?;
        self.target = target;
        let opened = served.opened;
        self.served = Some(served);
        Ok(opened)
    }

    /// How many entries the log has.
    pub async fn size(&self) -> Result<u64, Error> {
        Ok(crate::answers::About::ask(&mut Connection::new(&self.target.place)).await?.integrated.size)
    }

    /// Appends until the log has that size, or the time is over; what is sent next is made meanwhile.
    pub async fn grow(&mut self, size: u64, until: Instant) -> Result<(), Error> {
        let mut missing = usize::try_from(size.saturating_sub(self.size().await?)).unwrap_or(usize::MAX);
        let mut made = self.make(missing.min(PORTION))?;
        while missing > 0 && Instant::now() < until {
            let sent = made.iter().map(Vec::len).sum();
            missing = missing.saturating_sub(sent);
            let sending = tokio::spawn(send(self.target.clone(), made, GROWING, Level::Sequenced));
            made = tokio::task::block_in_place(|| self.crowd.make(missing.min(PORTION).div_ceil(LANES)))?;
            sending.await.map_err(|e| Error::System(e.to_string()))??;
        }
        // What was made and is not sent would be missing in its persons' chains.
        if made.iter().any(|lane| !lane.is_empty()) {
            send(self.target.clone(), made, GROWING, Level::Sequenced).await?;
        }
        while self.size().await? < size && missing == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// About so many records, the same number for every lane.
    pub fn make(&mut self, records: usize) -> Result<Vec<Vec<Made>>, Error> {
        tokio::task::block_in_place(|| self.crowd.make(records.div_ceil(LANES)))
    }

    /// Measures appends at the level `integrated`, every answer verified.
    pub async fn windows(&mut self, scale: &Scale, shape: Shape) -> Result<Vec<Window>, Error> {
        let mut windows = Vec::with_capacity(scale.rounds);
        // The first is for warming up.
        for round in 0..=scale.rounds {
            let window = self.window(scale, shape).await?;
            if round > 0 {
                windows.push(window);
            }
        }
        Ok(windows)
    }

    async fn window(&mut self, scale: &Scale, shape: Shape) -> Result<Window, Error> {
        let (count, length) = match shape {
            Shape::Batch => (scale.window[0], BATCH),
            Shape::Single => (scale.window[1], 1),
            Shape::Look => (scale.window[2], BATCH),
        };
        let made = self.make(count)?;
        let records = made.iter().map(Vec::len).sum();
        let before = self.served()?.usage()?.cpu_s;
        let began = Instant::now();
        send(self.target.clone(), made, length, Level::Integrated).await?;
        let took = began.elapsed();
        Ok(Window { records, took, server_s: self.served()?.usage()?.cpu_s - before })
    }
}

/// Sends all records of all lanes, so many in a request, and verifies every answer.
async fn send(target: Target, lanes: Vec<Vec<Made>>, length: usize, level: Level) -> Result<(), Error> {
    // Batches come from few connections: lanes are put together, each person's records still in order.
    let share = if length == 1 { 1 } else { lanes.len().div_ceil(BATCHING).max(1) };
    let mut tasks = tokio::task::JoinSet::new();
    let mut lanes = lanes.into_iter();
    loop {
        let records: Vec<Made> = lanes.by_ref().take(share).flatten().collect();
        if records.is_empty() {
            break;
        }
        let target = target.clone();
        tasks.spawn(async move {
            let mut connection = Connection::new(&target.place);
            for made in records.chunks(length) {
                match made {
                    [one] if length == 1 => drop(target.single(&mut connection, one, level).await?),
                    _ => drop(target.batch(&mut connection, made, level).await?),
                }
            }
            Ok::<(), Error>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.map_err(|e| Error::System(e.to_string()))??;
    }
    Ok(())
}
