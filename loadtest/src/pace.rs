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
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
}

/// What is due, for whoever is free.
pub struct Tickets {
    source: Source,
    closed: AtomicBool,
}

enum Source {
    Due(Mutex<mpsc::UnboundedReceiver<Ticket>>),
    AsTheyCome { next: AtomicU64, until: Instant },
}

impl Tickets {
    /// Open loop; a thread keeps the moments.
    #[must_use]
    pub fn due(pace: Pace) -> Tickets {
        let (sender, receiver) = mpsc::unbounded_channel();
        let began = Instant::now();
        std::thread::spawn(move || {
            for number in 0..pace.count {
                let due = began + pace.after(number);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                let late = Instant::now().saturating_duration_since(due);
                if sender.send(Ticket { number, due, late }).is_err() {
                    return;
                }
            }
        });
        Tickets::from(Source::Due(Mutex::new(receiver)))
    }

    /// Open loop; the timers of the runtime keep the moments, to a millisecond.
    #[must_use]
    pub fn due_by_timer(pace: Pace) -> Tickets {
        let (sender, receiver) = mpsc::unbounded_channel();
        let began = Instant::now();
        tokio::spawn(async move {
            for number in 0..pace.count {
                let due = began + pace.after(number);
                tokio::time::sleep_until(due).await;
                let late = Instant::now().saturating_duration_since(due);
                if sender.send(Ticket { number, due, late }).is_err() {
                    return;
                }
            }
        });
        Tickets::from(Source::Due(Mutex::new(receiver)))
    }

    /// Closed loop, for so long: a request is due when somebody is free to send it.
    #[must_use]
    pub fn as_they_come(lasting: Duration) -> Tickets {
        Tickets::from(Source::AsTheyCome { next: AtomicU64::new(0), until: Instant::now() + lasting })
    }

    fn from(source: Source) -> Tickets {
        Tickets { source, closed: AtomicBool::new(false) }
    }

    async fn take(&self) -> Option<Ticket> {
        let ticket = match &self.source {
            Source::Due(tickets) => tickets.lock().await.recv().await,
            Source::AsTheyCome { next, until } => {
                let due = Instant::now();
                let ticket = || Ticket { number: next.fetch_add(1, Ordering::Relaxed), due, late: Duration::ZERO };
                (due < *until).then(ticket)
            }
        };
        ticket.filter(|_| !self.closed.load(Ordering::Relaxed))
    }

    /// Nobody gets another one.
    fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
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
pub async fn drive<L, E, F>(mut lanes: Vec<L>, tickets: Tickets, send: F) -> Result<(Vec<L>, Paced), E>
where
    L: Send + 'static,
    E: Send + 'static,
    F: AsyncSend<L, E> + Clone + Send + 'static,
{
    let tickets = Arc::new(tickets);
    let mut tasks = tokio::task::JoinSet::new();
    for mut lane in lanes.drain(..) {
        let (tickets, mut send) = (Arc::clone(&tickets), send.clone());
        tasks.spawn(async move {
            let mut paced = Paced::default();
            loop {
                let Some(ticket) = tickets.take().await else {
                    return Ok((lane, paced));
                };
                paced.late.add(ticket.late);
                paced.waited.add(ticket.due.elapsed());
                if let Err(error) = send.send(&mut lane, ticket).await {
                    tickets.close();
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A log that answers at once, but for one moment in which it answers nobody.
    #[derive(Clone)]
    struct Stalling {
        from: Instant,
        until: Instant,
    }

    /// What a lane has waited, from due and from sent.
    #[derive(Default)]
    struct Waited {
        due: Latencies,
        sent: Latencies,
    }

    impl AsyncSend<Waited, ()> for Stalling {
        async fn send(&mut self, lane: &mut Waited, ticket: Ticket) -> Result<(), ()> {
            let sent = Instant::now();
            if sent >= self.from {
                tokio::time::sleep_until(self.until).await;
            }
            lane.due.add(ticket.due.elapsed());
            lane.sent.add(sent.elapsed());
            Ok(())
        }
    }

    /// 100 requests a second for ten seconds, and nobody is answered in the second from 4 to 5.
    async fn stalled(lanes: usize) -> (Latencies, Latencies) {
        let began = Instant::now();
        let second = |number| began + Duration::from_secs(number);
        let log = Stalling { from: second(4), until: second(5) };
        let tickets = Tickets::due_by_timer(Pace::new(100.0, Duration::from_secs(10)));
        let lanes = (0..lanes).map(|_| Waited::default()).collect();
        let (lanes, _) = drive(lanes, tickets, log).await.expect("no errors");
        let (mut due, mut sent) = (Latencies::default(), Latencies::default());
        for lane in lanes {
            due.merge(&lane.due);
            sent.merge(&lane.sent);
        }
        (due, sent)
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_due_while_the_log_stood_still_has_waited() {
        let (due, sent) = stalled(1).await;
        assert_eq!((due.count(), sent.count()), (1000, 1000));
        // From when it was sent, one request was slow. From when they were due, a hundred were, by half a second on average.
        assert!(sent.percentile(99.0) < Duration::from_millis(5), "{:?}", sent.percentile(99.0));
        assert!(due.percentile(89.5) < Duration::from_millis(20), "{:?}", due.percentile(89.5));
        assert!(due.percentile(95.0) > Duration::from_millis(450), "{:?}", due.percentile(95.0));
        assert!(due.percentile(99.5) > Duration::from_millis(900), "{:?}", due.percentile(99.5));
    }

    #[tokio::test(start_paused = true)]
    async fn more_lanes_do_not_hide_it() {
        let (due, _) = stalled(200).await;
        assert_eq!(due.count(), 1000);
        assert!(due.percentile(95.0) > Duration::from_millis(450), "{:?}", due.percentile(95.0));
    }

    #[derive(Clone)]
    struct Failing;

    impl AsyncSend<(), u64> for Failing {
        async fn send(&mut self, _: &mut (), ticket: Ticket) -> Result<(), u64> {
            if ticket.number == 3 { Err(ticket.number) } else { Ok(()) }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_ends_the_run() {
        let tickets = Tickets::due_by_timer(Pace { rate: 10.0, count: 1_000_000 });
        assert_eq!(drive(vec![(), ()], tickets, Failing).await.expect_err("it fails"), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_loop_ends_when_its_time_is_over() {
        let began = Instant::now();
        let log = Stalling { from: began, until: began + Duration::from_secs(1) };
        let tickets = Tickets::as_they_come(Duration::from_secs(1));
        let (lanes, _) = drive(vec![Waited::default(), Waited::default()], tickets, log).await.expect("no errors");
        assert_eq!(lanes.iter().map(|lane| lane.due.count()).sum::<u64>(), 2);
    }
}
