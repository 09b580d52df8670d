//! Open loop: requests are due at their moments, whatever the log does.
//!
//! ```text
//! due      |     |     |     |     |     |        one every 1/rate seconds, fixed before the run
//! sent     |     |            ||| |  |            later where no lane was free: the log was slow
//! latency  from due to done, not from sent to done
//! ```
//! A generator that waits for an answer before it sends the next request stops asking exactly while the log is slow, and
//! its percentiles leave out what people would have felt ("coordinated omission"). Here what was due counts from when it
//! was due.
//!
//! The moments are kept by a thread of their own, since timers of the runtime are only good to a millisecond. If that
//! thread is late itself, it is the generator that is slow, and the run says so ([`Paced::late`]).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;

use crate::latency::Latencies;

/// A request that is due.
#[derive(Debug, Clone, Copy)]
pub struct Ticket {
    /// Its number, from 0.
    pub number: u64,
    /// When it is due.
    pub due: Instant,
    /// How late the generator itself was.
    pub late: Duration,
}

/// When requests are due.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Requests in a second.
    pub rate: f64,
    /// How many.
    pub count: u64,
}

impl Pace {
    /// So many in a second, for so long.
    #[must_use]
    pub fn new(rate: f64, lasting: Duration) -> Pace {
        Pace { rate, count: (rate * lasting.as_secs_f64()).round().max(1.0) as u64 }
    }

    fn after(&self, number: u64) -> Duration {
        Duration::from_secs_f64(number as f64 / self.rate)
    }

    /// Starts the clock on a thread.
    pub fn start(self) -> mpsc::UnboundedReceiver<Ticket> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let began = Instant::now();
        std::thread::spawn(move || {
            for number in 0..self.count {
                let due = began + self.after(number);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                let late = Instant::now().saturating_duration_since(due);
                if sender.send(Ticket { number, due, late }).is_err() {
                    return;
                }
            }
        });
        receiver
    }

    /// The same with the timers of the runtime.
    pub fn start_on_the_runtime(self) -> mpsc::UnboundedReceiver<Ticket> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let began = Instant::now();
        tokio::spawn(async move {
            for number in 0..self.count {
                let due = began + self.after(number);
                tokio::time::sleep_until(due).await;
                let late = Instant::now().saturating_duration_since(due);
                if sender.send(Ticket { number, due, late }).is_err() {
                    return;
                }
            }
        });
        receiver
    }
}

/// What was seen of the generator during a run.
#[derive(Debug, Default)]
pub struct Paced {
    /// How late the generator was with its requests.
    pub late: Latencies,
    /// From due to sent: what requests have waited for a free lane, with the generator's own lateness.
    pub waited: Latencies,
}

/// Gives every ticket to a lane that is free, until there are none left. `send` does one request, and is told when it was
/// due; lanes come back in no order.
///
/// # Errors
/// The first of `send`; the other lanes end with their request.
pub async fn drive<L, E, F>(
    mut lanes: Vec<L>,
    tickets: mpsc::UnboundedReceiver<Ticket>,
    send: F,
) -> Result<(Vec<L>, Paced), E>
where
    L: Send + 'static,
    E: Send + 'static,
    F: AsyncSend<L, E> + Clone + Send + 'static,
{
    let tickets = Arc::new(Mutex::new(tickets));
    let mut tasks = tokio::task::JoinSet::new();
    for mut lane in lanes.drain(..) {
        let (tickets, mut send) = (Arc::clone(&tickets), send.clone());
        tasks.spawn(async move {
            let mut paced = Paced::default();
            loop {
                let Some(ticket) = tickets.lock().await.recv().await else {
                    return Ok((lane, paced));
                };
                paced.late.add(ticket.late);
                paced.waited.add(ticket.due.elapsed());
                if let Err(error) = send.send(&mut lane, ticket).await {
                    // Nobody gets another ticket.
                    tickets.lock().await.close();
                    return Err(error);
                }
            }
        });
    }
    let (mut back, mut all) = (Vec::new(), Paced::default());
    while let Some(done) = tasks.join_next().await {
        // A lane that panicked has said so already; what it had is lost.
        let Ok(done) = done else { continue };
        let (lane, paced) = done?;
        back.push(lane);
        all.late.merge(&paced.late);
        all.waited.merge(&paced.waited);
    }
    Ok((back, all))
}

/// One request of a lane.
pub trait AsyncSend<L, E> {
    /// Does it.
    fn send(&mut self, lane: &mut L, ticket: Ticket) -> impl Future<Output = Result<(), E>> + Send;
}
