//! A run: the phases of a scenario against a log, one after another.
//!
//! ```text
//! makers ── records, a little ahead ──▶ lanes ◀── tickets, due at their moments (open loop), or at once (closed)
//!                                        │
//!                                        └─ request ── answer ── verified ──▶ outcome
//! ```
//! What the log turns away (429, 503, a broken connection) is counted, and the same record is sent again with the lane's next
//! ticket, as a client would. An answer that does not hold ends the run: nothing else it measured would mean anything.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use client::receipt::Receipt;
use tlog::policy::Policy;
use tlog::tile::Tile;
use tlog::{Hash, tile};
use tokio::time::Instant;

use crate::Error;
use crate::answers::{About, Level};
use crate::chance::chance;
use crate::crowd::{Crowd, Target, sequence};
use crate::latency::ms;
use crate::maker::{Made, Provider};
use crate::outcome::{Kind, Outcome};
use crate::pace::{AsyncSend, Pace, Paced, Ticket, Tickets, drive};
use crate::scenario::{Ask, Phase, Scenario};
use crate::stock::{Stock, fill};
use crate::tiles::Tiles;
use crate::transport::{Body, Connection};

/// How late the generator may be, for 99 of 100 requests, before it says that it could not keep up.
const LATE: Duration = Duration::from_millis(5);

/// How much of all cores it may use before it says so.
const BUSY: f64 = 0.9;

/// Stretches of a phase in the report.
const STRETCHES: f64 = 120.0;

/// A connection with its people.
struct Lane {
    connection: Connection,
    stock: Stock,
    /// Taken from the stock, and not known to be in the log.
    pending: Vec<Made>,
}

/// What a phase knows of the log.
struct Known {
    target: Target,
    trust: Policy,
    /// Entries under the published head when the phase began.
    published: u64,
    tiles: Option<Tiles>,
}

/// One phase, as its lanes see it.
#[derive(Clone)]
struct Work {
    phase: Arc<Phase>,
    verify: f64,
    known: Arc<Known>,
    began: Instant,
    outcome: Arc<Mutex<Outcome>>,
    places: Arc<Mutex<HashSet<u64>>>,
}

/// What became of one request.
struct Done {
    kind: Kind,
    places: Vec<u64>,
    records: u64,
    verified: bool,
}

/// Runs all phases. `progress` hears, about once a second, what has been done in the phase.
///
/// # Errors
/// [`Error`]: the log can't be loaded at all, or an answer does not hold.
pub async fn run(
    scenario: &Scenario,
    target: &Target,
    provider: &Provider,
    progress: impl Fn(&Outcome),
) -> Result<Vec<Outcome>, Error> {
    let crowd = Crowd::enrol(target, provider, scenario.subscribers, scenario.connections).await?;
    let mut lanes: Vec<Lane> = fill(crowd, scenario.stock())
        .into_iter()
        .map(|stock| Lane { connection: Connection::new(&target.place), stock, pending: Vec::new() })
        .collect();
    let places = Arc::default();
    let mut outcomes = Vec::new();
    for phase in &scenario.phase {
        let (back, outcome) = one(scenario, phase, target, lanes, &places, &progress).await?;
        lanes = back;
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

async fn one(
    scenario: &Scenario,
    phase: &Phase,
    target: &Target,
    lanes: Vec<Lane>,
    places: &Arc<Mutex<HashSet<u64>>>,
    progress: &impl Fn(&Outcome),
) -> Result<(Vec<Lane>, Outcome), Error> {
    let known = Arc::new(know(target, phase).await?);
    let stretch_s = (phase.seconds / STRETCHES).max(0.25);
    let outcome = Outcome { name: phase.name.clone(), asked: phase.rate, stretch_s, ..Outcome::default() };
    let outcome = Arc::new(Mutex::new(outcome));
    let work = Work {
        phase: Arc::new(phase.clone()),
        verify: scenario.verify,
        known,
        began: Instant::now(),
        outcome: Arc::clone(&outcome),
        places: Arc::clone(places),
    };
    let starved = lanes.iter().map(|lane| lane.stock.starved()).sum::<u64>();
    let cpu = own_cpu();
    let began = work.began;
    let tickets = match phase.rate {
        Some(rate) => Tickets::due(Pace::new(rate, phase.lasting())),
        None => Tickets::as_they_come(phase.lasting()),
    };
    let driving = drive(lanes, tickets, work);
    tokio::pin!(driving);
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let (lanes, paced) = loop {
        tokio::select! {
            done = &mut driving => break done?,
            _ = tick.tick() => progress(&lock(&outcome)),
        }
    };
    let mut outcome = lock(&outcome).clone();
    outcome.seconds = began.elapsed().as_secs_f64();
    let busy = (own_cpu() - cpu) / outcome.seconds / cores();
    let starved = lanes.iter().map(|lane| lane.stock.starved()).sum::<u64>() - starved;
    outcome.saturated = saturated(phase, &paced, busy, starved, outcome.requests);
    Ok((lanes, outcome))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn cores() -> f64 {
    std::thread::available_parallelism().map_or(1.0, |cores| usize::from(cores) as f64)
}

/// The CPU time of this process, which is the generator.
fn own_cpu() -> f64 {
    crate::local::Usage::of(std::process::id()).map_or(0.0, |usage| usage.cpu_s)
}

/// What shows that the generator was the slow one.
fn saturated(phase: &Phase, paced: &Paced, busy: f64, starved: u64, requests: u64) -> Vec<String> {
    let mut why = Vec::new();
    let late = paced.late.percentile(99.0);
    if phase.rate.is_some() && late > LATE {
        why.push(format!("one request in a hundred was due {} ms before the generator got to it", ms(late)));
    }
    if busy > BUSY {
        why.push(format!("it used {:.0} % of all cores", 100.0 * busy));
    }
    if starved * 100 > requests {
        why.push(format!("{starved} requests waited for their record to be made"));
    }
    why
}

async fn know(target: &Target, phase: &Phase) -> Result<Known, Error> {
    let mut connection = Connection::new(&target.place);
    let about = About::ask(&mut connection).await?;
    let wrong = |e: &dyn std::fmt::Display| Error::Wrong(e.to_string());
    let text = match &about.witness_policy {
        Some(policy) => policy.clone(),
        None => format!("log {}\nquorum none\n", about.vkey),
    };
    let trust = Policy::parse(text).map_err(|e| wrong(&e))?;
    let published = match connection.get("/checkpoint").await? {
        answer if answer.status.is_success() => {
            let note = String::from_utf8_lossy(&answer.body).into_owned();
            target.judge.head(&note, Level::Witnessed)?.size.get()
        }
        _ => 0,
    };
    let tiles = match phase.has_tiles() {
        true => Some(
            Tiles::read(&mut connection, &target.judge.head(&about.integrated.checkpoint, Level::Integrated)?).await?,
        ),
        false => None,
    };
    Ok(Known { target: target.clone(), trust, published, tiles })
}

impl AsyncSend<Lane, Error> for Work {
    async fn send(&mut self, lane: &mut Lane, ticket: Ticket) -> Result<(), Error> {
        let done = self.ask(lane, ticket.number).await;
        let at = self.began.elapsed();
        match done {
            Ok(done) => {
                for place in &done.places {
                    if !lock(&self.places).insert(*place) {
                        return Err(Error::Wrong(format!("the place {place} was given twice")));
                    }
                }
                lock(&self.outcome).answered(done.kind, done.records, done.verified, ticket.due.elapsed(), at);
                Ok(())
            }
            Err(Error::Refused { status: status @ (429 | 503 | 507), .. }) => {
                lock(&self.outcome).refused(status, at);
                Ok(())
            }
            Err(Error::Broken(_) | Error::Http(_)) => {
                lock(&self.outcome).refused(0, at);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

impl Work {
    async fn ask(&self, lane: &mut Lane, number: u64) -> Result<Done, Error> {
        let verify = (chance(number) >> 11) as f64 / ((1_u64 << 53) as f64) < self.verify;
        let ask = self.phase.mix.pick(chance(number ^ 0xa5a5));
        match ask {
            Ask::Single => self.append(lane, number, 1, verify).await,
            Ask::Batch => self.append(lane, number, self.phase.batch, verify).await,
            Ask::Receipt => self.receipt(lane, number, verify).await,
            Ask::Proof => self.proof(lane, number, verify).await,
            Ask::Tile => self.tile(lane, number, verify).await,
        }
    }

    async fn append(&self, lane: &mut Lane, number: u64, count: usize, verify: bool) -> Result<Done, Error> {
        let again = !lane.pending.is_empty();
        while lane.pending.is_empty() || (!again && lane.pending.len() < count) {
            lane.pending.push(lane.stock.take().await?);
        }
        let level = self.phase.levels[number as usize % self.phase.levels.len()];
        let Target { token, judge, .. } = &self.known.target;
        let path = format!("/v1/records?until={}", level.as_str());
        let (bytes, commitments) = sequence(&lane.pending);
        let single = lane.pending.len() == 1;
        let kind = if single { "application/cbor" } else { "application/cbor-seq" };
        let answer = lane.connection.post(&path, Body { token, kind, bytes: bytes.into() }).await?.body()?;
        let places = match (verify || again, &commitments[..]) {
            (false, _) => Vec::new(),
            (true, [commitment]) => vec![judge.appended(&answer, Some(commitment), level, again)?],
            (true, commitments) => judge.batch(&answer, commitments, level, again)?,
        };
        let records = commitments.len() as u64;
        lane.pending.clear();
        Ok(Done { kind: Kind::of(level), places, records, verified: verify || again })
    }

    async fn receipt(&self, lane: &mut Lane, number: u64, verify: bool) -> Result<Done, Error> {
        let index = chance(number ^ 0x5a5a) % self.known.published.max(1);
        let body = lane.connection.get(&format!("/v1/receipts/{index}")).await?.body()?;
        if verify {
            let receipt: Receipt =
                serde_json::from_slice(&body).map_err(|e| Error::Wrong(format!("a receipt: {e}")))?;
            let report = client::verify::verify(&receipt, &self.known.trust);
            if report.outcome("log") != Some(client::verify::Outcome::Ok)
                || report.outcome("included") != Some(client::verify::Outcome::Ok)
            {
                return Err(Error::Wrong(format!("the receipt of entry {index}: {:?}", report.checks)));
            }
        }
        Ok(Done { kind: Kind::Receipt, places: Vec::new(), records: 0, verified: verify })
    }

    async fn proof(&self, lane: &mut Lane, number: u64, verify: bool) -> Result<Done, Error> {
        let index = chance(number ^ 0x3c3c) % self.known.published.max(1);
        let path = format!("/v1/proofs/inclusion?index={index}&size={}", self.known.published);
        let body = lane.connection.get(&path).await?.body()?;
        if verify {
            self.known.target.judge.inclusion(&body, index)?;
        }
        Ok(Done { kind: Kind::Proof, places: Vec::new(), records: 0, verified: verify })
    }

    async fn tile(&self, lane: &mut Lane, number: u64, verify: bool) -> Result<Done, Error> {
        let none = || Error::Scenario("the log has no full tile yet: ask for more subscribers".to_owned());
        let (at, root): (Tile, Hash) =
            self.known.tiles.as_ref().and_then(|tiles| tiles.pick(chance(number ^ 0xc3c3))).ok_or_else(none)?;
        let body = lane.connection.get(&format!("/{}", at.path())).await?.body()?;
        if verify && (body.len() != Tile::FULL_BYTES || tile::root(&body) != root) {
            return Err(Error::Wrong(format!("{} is not what the signed head says", at.path())));
        }
        Ok(Done { kind: Kind::Tile, places: Vec::new(), records: 0, verified: verify })
    }
}
