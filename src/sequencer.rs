//! The sequencer: one thread that turns what waits into rounds, back to back.
//!
//! ```text
//! take ─► room? ─► plan ─► seal, serialise ─► hash again, from the bytes ─► keys, synced ─► journal, synced ─► answer
//!          │        │                          │                             └───────────────┬─────────────┘
//!          507      409, 422 …                 not the same tree: stop              the only commit point
//! ```
//!
//! Before the journal record is on stable storage nothing has happened, and nobody was told anything (I-2). After it,
//! everything has: what follows can be done again from the journal. In between there is one moment in which the outcome
//! is unknown, and an error there ends the process. There is no timer: a round takes what came while the last one synced.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Duration, Instant};

use tlog::LeafHash;
use tlog::edge::Edge;
use tlog::tile::Tile;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::engine::Config;
use crate::ledger::{Ledger, Standing};
use crate::metrics;
use crate::progress::{Fault, Progress};
use crate::record::{Record, Stored};
use crate::round::{self, Candidate, Placed, PlanError, Planned, Round, Tip};
use crate::store::disk::{Disk, DiskError, parent};
use crate::store::journal::Journal;
use crate::store::keys::Keys;
use crate::store::{StoreError, evidence};
use crate::submission::AppendError;

/// What a submission costs beyond its bytes: its entry, its key, what it changes in the state.
pub const OVERHEAD: usize = 1024;

/// The bytes that must stay free where the high-water file is: one checkpoint, beside the one it replaces.
const HIGH_WATER_SPARE: u64 = 256 << 10;

/// How long to wait before the integrator is asked again whether it can take a round.
const BEHIND: Duration = Duration::from_millis(1);

/// One submission in the queue.
pub struct Waiting {
    /// What is asked.
    pub candidate: Candidate,
    /// How many bytes of the round it may take.
    pub cost: usize,
    /// Its share of what may be in flight; given back when the round is in tiles and evidence.
    pub permit: OwnedSemaphorePermit,
    /// Who waits for it. Dropped without an answer, it means that the log has died.
    pub reply: Reply,
}

/// Who waits for the place of a submission.
pub type Reply = oneshot::Sender<Result<Placed, AppendError>>;

/// A round that is on stable storage.
pub struct Committed {
    /// The journal record, as it was written.
    pub record: Arc<Record>,
    /// The tiles that this round completed.
    pub full: Vec<(Tile, Vec<u8>)>,
    /// The widest partial tile of each level after it.
    pub partial: Vec<(Tile, Vec<u8>)>,
    /// What its submissions hold of the in-flight budget.
    pub permits: Vec<OwnedSemaphorePermit>,
}

/// The sequencer's parts.
pub struct Sequencer {
    /// What waits.
    pub queue: mpsc::UnboundedReceiver<Waiting>,
    /// What holds for the whole log.
    pub standing: Arc<Standing>,
    /// The state that rounds are planned against.
    pub ledger: Arc<Ledger>,
    /// Where commits and death are reported.
    pub progress: Arc<Progress>,
    /// Where rounds become durable.
    pub journal: Arc<Journal>,
    /// Where the keys of sealed openings are.
    pub keys: Arc<Keys>,
    /// Where the log ends.
    pub tip: Tip,
    /// The same place, computed from what was stored.
    pub edge: Edge,
    /// Who makes committed rounds readable. Bounded: when it is behind, so are we.
    pub integrator: SyncSender<Arc<Committed>>,
    /// The most bytes of one round.
    pub round_bytes: usize,
    /// How full the disk may be.
    pub space: Space,
    /// Milliseconds since 1970.
    pub clock: Arc<dyn Fn() -> u64 + Send + Sync>,
}

/// How full the disks may be. Rounds stop before the last bytes, which evidence and tiles of earlier rounds need.
pub struct Space {
    disk: Arc<dyn Disk>,
    /// A folder on each file system that the log writes to, and the bytes that must stay free there.
    volumes: Vec<(PathBuf, u64)>,
    /// Whether the integrator waits for room: then there is none, whatever the file systems say (a quota may be used up).
    waiting: Arc<AtomicBool>,
}

impl Space {
    /// The disks of a log: that of its folder, and that of the high-water file.
    pub fn of(config: &Config, waiting: Arc<AtomicBool>) -> Space {
        let spare = config.limits.spare_bytes;
        let mut volumes = vec![(config.dir.clone(), spare)];
        if let Some(file) = &config.high_water {
            volumes.push((parent(file).to_owned(), spare.min(HIGH_WATER_SPARE)));
        }
        Space { disk: Arc::clone(&config.disk), volumes, waiting }
    }

    fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }

    fn check(&self) -> Result<(), StoreError> {
        for (dir, spare) in &self.volumes {
            self.disk.require(dir, *spare)?;
        }
        match self.volumes.first() {
            Some((dir, _)) if self.is_waited_for() => Err(DiskError::full(dir).into()),
            _ => Ok(()),
        }
    }
}

impl Sequencer {
    /// Works until the queue is closed and empty, or until the log dies.
    pub fn run(self) {
        let mut queue = self.work();
        // After a death, what comes is dropped, so that whoever waits for it learns of it. A queue whose reader is gone
        // would keep what was sent while the reader went, and its sender would wait for ever.
        while let Some(waiting) = queue.blocking_recv() {
            drop(waiting);
        }
    }

    fn work(mut self) -> mpsc::UnboundedReceiver<Waiting> {
        let mut kept_back = VecDeque::new();
        while let Some(taken) = self.take(&mut kept_back) {
            if self.progress.is_dead() {
                break;
            }
            if let Err(fault) = self.turn(taken) {
                self.progress.die(fault);
                break;
            }
        }
        self.queue
    }

    /// Waits for a submission, then takes all that wait, as far as they fit into one round.
    fn take(&mut self, kept_back: &mut VecDeque<Waiting>) -> Option<Vec<Waiting>> {
        let first = match kept_back.pop_front() {
            Some(first) => first,
            None => self.queue.blocking_recv()?,
        };
        let mut bytes = first.cost;
        let mut taken = vec![first];
        while let Ok(next) = self.queue.try_recv() {
            if bytes + next.cost > self.round_bytes {
                kept_back.push_back(next);
                break;
            }
            bytes += next.cost;
            taken.push(next);
        }
        Some(taken)
    }

    /// One round. An error is a [`Fault`]: what can be refused has been refused before.
    fn turn(&mut self, taken: Vec<Waiting>) -> Result<(), Fault> {
        let began = Instant::now();
        let bytes = taken.iter().map(|w| w.cost).sum();
        if !self.room(bytes, taken.len())? {
            let replies = taken.into_iter().map(|waiting| waiting.reply).collect();
            answer(replies, std::iter::repeat_with(|| Err(AppendError::NoSpace)));
            return Ok(());
        }
        let (mut candidates, mut replies, mut permits) = (Vec::new(), Vec::new(), Vec::new());
        for Waiting { candidate, permit, reply, .. } in taken {
            candidates.push(candidate);
            replies.push(reply);
            permits.push(permit);
        }
        let mut round = match round::plan(&*self.ledger, &self.standing, &self.tip, candidates, (self.clock)()) {
            Ok(round) => round,
            Err(PlanError::ClockBehind { behind_ms }) => {
                tracing::error!(behind_ms, "the clock is behind the last round; nothing is appended");
                let behind = || Err(AppendError::ClockBehind { behind_ms });
                answer(replies, std::iter::repeat_with(behind));
                return Ok(());
            }
            Err(unreadable) => return Err(Fault::storage("planning a round", unreadable)),
        };
        let outcomes = std::mem::take(&mut round.outcomes);
        let states = std::mem::take(&mut round.states);
        if round.entries.is_empty() {
            answer(replies, outcomes);
            return Ok(());
        }
        let Some(committed) = self.commit(round, permits)? else {
            answer(replies, std::iter::repeat_with(|| Err(AppendError::NoSpace)));
            return Ok(());
        };
        metrics::engine().round(committed.record.entries.len(), began.elapsed());
        let committed = Arc::new(committed);
        self.ledger.commit(Arc::clone(&committed), states);
        self.progress.committed(self.tip.frontier.head());
        answer(replies, outcomes);
        self.hand_over(committed);
        Ok(())
    }

    /// Gives a committed round to the integrator, as soon as it can take one more.
    ///
    /// When it waits for room on a disk that may be long, and nobody who submits meanwhile is kept waiting with it.
    fn hand_over(&mut self, mut round: Arc<Committed>) {
        loop {
            match self.integrator.try_send(round) {
                // It is gone only when the log has died, and then it has said why.
                Ok(()) | Err(TrySendError::Disconnected(_)) => return,
                Err(TrySendError::Full(back)) => round = back,
            }
            while self.space.is_waited_for()
                && let Ok(waiting) = self.queue.try_recv()
            {
                answer(vec![waiting.reply], [Err(AppendError::NoSpace)]);
            }
            std::thread::sleep(BEHIND);
        }
    }

    /// Whether the disk has room for a round: asked before planning, because afterwards there is no way back.
    fn room(&self, bytes: usize, submissions: usize) -> Result<bool, Fault> {
        // A first record writes two entries; nothing writes more.
        let end = self.tip.frontier.size().get() + 2 * submissions as u64;
        let asked = self.space.check().and_then(|()| self.journal.reserve(bytes)).and_then(|()| self.keys.reserve(end));
        is_there(asked)
    }

    /// Makes a round durable. When this returns it, the round has happened; with `None` there is no room for it after
    /// all, and nothing has.
    fn commit(&mut self, mut round: Round, permits: Vec<OwnedSemaphorePermit>) -> Result<Option<Committed>, Fault> {
        let (record, keys) = seal(&mut round)?;
        let bytes = record.to_bytes();
        if !is_there(self.journal.reserve(bytes.len()))? {
            return Ok(None);
        }
        let mut edge = recompute(&self.edge, &bytes, &record)?;
        // A key that is lost would be an opening that nobody can read, so the keys come first. A key without a round is
        // harmless: the next round writes over it.
        let keys: Vec<OpeningKey<'_>> = keys.iter().map(Option::as_ref).collect();
        self.keys.write(round.first, &keys).map_err(|e| Fault::storage("writing keys", e))?;
        self.journal.append(round.number, &bytes).map_err(|e| Fault::storage("committing a round", e))?;
        let full = edge.take_full();
        let partial = edge.partial();
        self.edge = edge;
        self.tip = Tip { next: round.number + 1, frontier: round.frontier, time_ms: round.time_ms };
        Ok(Some(Committed { record: Arc::new(record), full, partial, permits }))
    }
}

/// Whether there is room: a full disk is waited for, anything else ends the log.
fn is_there(room: Result<(), StoreError>) -> Result<bool, Fault> {
    match room {
        Ok(()) => Ok(true),
        Err(full) if !full.is_fatal() => {
            tracing::error!(%full, "no room for another round; nothing is appended");
            Ok(false)
        }
        Err(fatal) => Err(Fault::storage("making room for a round", fatal)),
    }
}

/// The key of an entry's opening, if it has one.
type OpeningKey<'a> = Option<&'a [u8; 32]>;

/// The keys of the openings of a round, one for each entry that has one.
type SealKeys = Vec<Option<[u8; 32]>>;

/// Seals the openings of a round, and makes the record of it; gives their keys, too.
fn seal(round: &mut Round) -> Result<(Record, SealKeys), Fault> {
    let count = round.entries.len();
    let (mut entries, mut sealed, mut keys) =
        (Vec::with_capacity(count), Vec::with_capacity(count), Vec::with_capacity(count));
    for (planned, index) in std::mem::take(&mut round.entries).into_iter().zip(round.first..) {
        let Planned { bytes, leaf, opening } = planned;
        keys.push(opening.as_ref().map(|(_, key)| *key));
        let opening = opening.map(|(opening, key)| evidence::seal(&key, index, &leaf, opening));
        sealed.push(opening.transpose().map_err(|e| Fault::storage("sealing an opening", e))?);
        entries.push(bytes);
    }
    let record = Record {
        round: round.number,
        first: round.first,
        time_ms: round.time_ms,
        entries,
        sealed,
        changes: std::mem::take(&mut round.changes),
        erased: round.erased.iter().map(|index| index.get()).collect(),
        head: round.frontier.head(),
    };
    Ok((record, keys))
}

/// Computes the tree once more, from the bytes that are about to be stored, by other code than the plan's.
///
/// A bit that flips between hashing and storing makes a log sign what it can't show; it has ended one.
fn recompute(edge: &Edge, bytes: &[u8], planned: &Record) -> Result<Edge, Fault> {
    let stored = Stored::parse(planned.round, bytes).map_err(|e| Fault::TwoPathsDisagree(e.what))?;
    let mut edge = edge.clone();
    for entry in &stored.entries {
        edge.push(LeafHash::of(entry)).map_err(|_| Fault::TwoPathsDisagree("the size"))?;
    }
    if edge.head() != planned.head || stored.head != planned.head {
        return Err(Fault::TwoPathsDisagree("the root"));
    }
    Ok(edge)
}

/// Answers each of those who wait. Whoever no longer does will find the entry when asking again.
fn answer(replies: Vec<Reply>, outcomes: impl IntoIterator<Item = Result<Placed, AppendError>>) {
    for (reply, outcome) in replies.into_iter().zip(outcomes) {
        let _ = reply.send(outcome);
    }
}
