//! The integrator: one thread that makes committed rounds readable, and signs the head over them.
//!
//! ```text
//! committed rounds ─► evidence, erasures ─► bundles, tiles ─► sign ─► high-water file ─► integrated
//!                                            └─► (many rounds at once, or when nothing waits) view
//!                                                now and then: view, snapshot, old journal segments dropped
//! ```
//!
//! Everything here can be done again from the journal, and is, after a crash. So the only thing that matters is that
//! whatever the journal may forget is on stable storage before it forgets. A head is signed over what the journal has;
//! the full tiles and bundles that it names are on stable storage by then too, the partial ones are readable.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tlog::bundle;
use tlog::checkpoint::{Checkpoint, Origin};
use tlog::tile::{EntriesPath, Path};

use crate::engine::Config;
use crate::folder::Folder;
use crate::high_water::HighWater;
use crate::history::{FULL, History, RightEdge};
use crate::ledger::Ledger;
use crate::memory::Memory;
use crate::progress::{Fault, Progress, SignedHead};
use crate::record::Record;
use crate::round::Tip;
use crate::sequencer::Committed;
use crate::signers::Signers;
use crate::store::StoreError;
use crate::store::objects::ObjectError;
use crate::store::view::{self, ViewError};

/// How long to wait before a write is tried again that a full disk has refused.
const FULL_DISK: Duration = Duration::from_millis(200);

/// How many changes go to the view at once, while rounds come without a pause. It is an index of what is true elsewhere, and the
/// ledger answers for what it does not have yet; the more it is given at once, the fewer of its pages it writes twice.
const CHANGES: usize = 16_384;

/// How many bytes of rounds wait for it at most.
const LAG_BYTES: u64 = 16 << 20;

/// How long they wait at most.
const LAG: Duration = Duration::from_millis(500);

/// How long nothing has come when the view is given what there is.
const REST: Duration = Duration::from_millis(20);

/// How often `checkpoint` is replaced at most, while heads come without a pause and no witness is waited for. A new file and
/// two syncs for each head would be most of what a head costs.
const PUBLISH: Duration = Duration::from_millis(100);

/// How many entries' evidence may wait for its sync: files that are full and not synced are open.
const UNSYNCED: u64 = 16 * FULL;

/// The integrator's parts.
pub struct Integrator {
    /// All that is on disk. The folder's lock goes with it, and this thread is the last to let go.
    pub folder: Arc<Folder>,
    ledger: Arc<Ledger>,
    history: Arc<History>,
    signers: Arc<Signers>,
    high_water: Option<HighWater>,
    /// Whether a signed head is published as it is: no quorum is asked for.
    publishes: bool,
    interval: Duration,
    snapshot_every_bytes: u64,
    /// Where the readable part ends.
    edge: RightEdge,
    /// What the next snapshot will say.
    memory: Memory,
    /// Rounds that are readable and not yet in the view.
    unapplied: Vec<Arc<Record>>,
    /// Since when there is one.
    lags_since: Option<Instant>,
    /// When `checkpoint` was replaced by this thread.
    published_at: Option<Instant>,
    /// Journal bytes since the last one.
    since_snapshot: u64,
    /// Entries since the evidence was synced.
    unsynced: u64,
    /// Whether this thread waits for room on a disk. The sequencer looks at it.
    waiting: Arc<AtomicBool>,
}

/// How an object is written that may be there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// It is left alone when it has the same bytes.
    Once,
    /// It is written to a new file: what a restart can read may never have reached the disk.
    Anew,
}

impl Integrator {
    /// An integrator that goes on where the readable part ends.
    pub fn new(
        config: &Config,
        folder: Arc<Folder>,
        ledger: Arc<Ledger>,
        history: Arc<History>,
        memory: Memory,
        edge: RightEdge,
    ) -> Integrator {
        let high_water =
            |path: &PathBuf| HighWater::new(Arc::clone(&config.disk), path.clone(), Arc::clone(&config.signers));
        Integrator {
            folder,
            ledger,
            history,
            signers: Arc::clone(&config.signers),
            high_water: config.high_water.as_ref().map(high_water),
            publishes: !config.asks_for_quorum(),
            interval: config.pace.head_interval,
            snapshot_every_bytes: config.pace.snapshot_every_bytes,
            edge,
            memory,
            unapplied: Vec::new(),
            lags_since: None,
            published_at: None,
            since_snapshot: 0,
            unsynced: 0,
            waiting: Arc::default(),
        }
    }

    /// Whether it waits for room on a disk, for whoever must not commit more meanwhile.
    pub fn waiting(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.waiting)
    }

    /// As [`patiently`], and lets the sequencer know.
    fn patiently<T, E: std::fmt::Display>(
        &self,
        act: impl Fn() -> Result<T, E>,
        full: impl Fn(&E) -> bool,
    ) -> Result<T, E> {
        let done = act();
        if !done.as_ref().is_err_and(&full) {
            return done;
        }
        self.waiting.store(true, Ordering::Release);
        let done = patiently(act, full);
        self.waiting.store(false, Ordering::Release);
        done
    }

    /// Where the log ends, as far as it is readable.
    pub fn tip(&self) -> &Tip {
        &self.memory.tip
    }

    /// Works until the sequencer ends, then takes a last snapshot and closes the view; or until the log dies.
    pub fn run(mut self, rounds: &Receiver<Arc<Committed>>, origin: &Origin, progress: &Progress) {
        if let Err(fault) = self.work(rounds, origin, progress) {
            progress.die(fault);
        }
    }

    fn work(&mut self, rounds: &Receiver<Arc<Committed>>, origin: &Origin, progress: &Progress) -> Result<(), Fault> {
        let mut signed_at: Option<Instant> = None;
        while let Some(batch) = self.gather(rounds, signed_at, progress)? {
            if progress.is_dead() {
                return Ok(());
            }
            self.integrate(&batch, Write::Once)?;
            drop(batch);
            progress.integrated(self.sign(origin)?);
            signed_at = Some(Instant::now());
            if self.published_at.is_none_or(|at| at.elapsed() >= PUBLISH) {
                self.publish_if_alone(progress)?;
            }
            if self.lags() {
                self.publish_if_alone(progress)?;
                self.apply()?;
            }
            if self.since_snapshot >= self.snapshot_every_bytes {
                self.publish_if_alone(progress)?;
                self.snapshot()?;
            }
            // The next journal segment is made here, where no round waits for its zeros.
            match self.folder.journal.prepare() {
                Err(e) if e.is_fatal() => return Err(Fault::storage("preparing a journal segment", e)),
                _ => {}
            }
        }
        if progress.is_dead() {
            return Ok(());
        }
        self.publish_if_alone(progress)?;
        // Both generations say the same then, so the journal before them can go: a log at rest takes what it needs.
        self.snapshot()?;
        self.snapshot()?;
        match self.folder.view.close() {
            // What the view has not kept is in the journal, and the next start applies it again.
            Err(full) if full.is_full() => Ok(()),
            closed => closed.map_err(|e| Fault::storage("closing the view", e)),
        }
    }

    /// Takes all rounds that wait; when the last head is too young, those that come until it is old enough.
    fn gather(
        &mut self,
        rounds: &Receiver<Arc<Committed>>,
        signed_at: Option<Instant>,
        progress: &Progress,
    ) -> Result<Option<Vec<Arc<Committed>>>, Fault> {
        let first = match rounds.recv_timeout(REST) {
            Err(RecvTimeoutError::Timeout) => {
                self.publish_if_alone(progress)?;
                self.apply_at_rest()?;
                rounds.recv().ok()
            }
            first => first.ok(),
        };
        let Some(first) = first else { return Ok(None) };
        let mut batch = vec![first];
        let due = signed_at.map(|at| at + self.interval);
        loop {
            let wait = due.map_or(Duration::ZERO, |due| due.saturating_duration_since(Instant::now()));
            match rounds.recv_timeout(wait) {
                Ok(round) => batch.push(round),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Ok(Some(batch)),
            }
        }
    }

    /// Makes rounds readable. Doing it twice gives the same files, which is what recovery relies on.
    pub fn integrate(&mut self, rounds: &[Arc<Committed>], write: Write) -> Result<(), Fault> {
        let Some(last) = rounds.last() else { return Ok(()) };
        let record = &last.record;
        for round in rounds {
            self.take_evidence(round)?;
            self.sync_evidence(round.record.entries.len() as u64)?;
            self.since_snapshot += round.record.bytes();
            self.memory.take(&round.record).map_err(|_| Fault::TwoPathsDisagree("the size"))?;
        }
        if self.memory.tip.frontier.head() != record.head {
            return Err(Fault::TwoPathsDisagree("the root, when the round was made readable"));
        }
        let files = self.objects_of(rounds)?;
        self.put(&files, write)?;
        self.edge.head = record.head;
        self.edge.tiles = last.partial.clone();
        self.history.advance(self.edge.clone());
        self.ledger.integrated(record.round);
        self.unapplied.extend(rounds.iter().map(|round| Arc::clone(&round.record)));
        self.lags_since.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// Erases what a round erases, and appends its sealed openings to the evidence.
    fn take_evidence(&self, round: &Committed) -> Result<(), Fault> {
        let record = &round.record;
        self.folder.keys.erase(&record.erased).map_err(|e| Fault::storage("erasing an opening", e))?;
        let sealed: Vec<&[u8]> = record.sealed.iter().map(|s| s.as_deref().unwrap_or_default()).collect();
        let append = || self.folder.evidence.append(record.first, &sealed);
        self.patiently(append, |e| !e.is_fatal()).map_err(|e| Fault::storage("writing evidence", e))
    }

    /// Syncs the evidence now and then: the snapshot must not find a thousand files to sync, nor the process to hold open.
    fn sync_evidence(&mut self, more: u64) -> Result<(), Fault> {
        self.unsynced += more;
        if self.unsynced < UNSYNCED {
            return Ok(());
        }
        self.unsynced = 0;
        let sync = || self.folder.evidence.sync();
        self.patiently(sync, |e| !e.is_fatal()).map(|_| ()).map_err(|e| Fault::storage("syncing evidence", e))
    }

    /// The bundles and tiles that rounds complete, and the widest partial ones after them.
    ///
    /// A narrower partial one is the beginning of the widest, so nothing that any head names is missing.
    fn objects_of(&mut self, rounds: &[Arc<Committed>]) -> Result<Vec<(Path, Vec<u8>)>, Fault> {
        let mut files = Vec::new();
        for round in rounds {
            for (entry, index) in round.record.entries.iter().zip(round.record.first..) {
                bundle::push(&mut self.edge.bundle, entry).map_err(|e| Fault::storage("bundling an entry", e))?;
                if (index + 1).is_multiple_of(FULL) {
                    let full = EntriesPath { index: index / FULL, width: FULL as u16 };
                    files.push((Path::Entries(full), std::mem::take(&mut self.edge.bundle)));
                }
            }
            files.extend(round.full.iter().map(|(tile, bytes)| (Path::Tile(*tile), bytes.clone())));
        }
        if let Some(last) = rounds.last() {
            files.extend(last.partial.iter().map(|(tile, bytes)| (Path::Tile(*tile), bytes.clone())));
            let size = last.record.head.size.get();
            if !size.is_multiple_of(FULL) {
                let partial = EntriesPath { index: size / FULL, width: (size % FULL) as u16 };
                files.push((Path::Entries(partial), self.edge.bundle.clone()));
            }
        }
        Ok(files)
    }

    fn put(&self, files: &[(Path, Vec<u8>)], write: Write) -> Result<(), Fault> {
        let objects = &self.folder.objects;
        let full = |e: &ObjectError| matches!(e, ObjectError::Store(e) if !e.is_fatal());
        let failed = |e| Fault::storage("writing tiles and bundles", e);
        for (path, bytes) in files {
            let put = || match write {
                Write::Once => objects.put_loose(path, bytes),
                Write::Anew => objects.put_anew(path, bytes),
            };
            self.patiently(put, full).map_err(failed)?;
        }
        self.patiently(|| objects.sync_dirs(), full).map_err(failed)?;
        objects.prune().map(|_| ()).map_err(failed)
    }

    /// Whether so much waits for the view, or for so long, that it must have it.
    fn lags(&self) -> bool {
        let changes = |record: &Arc<Record>| record.changes.len();
        self.lags_since.is_some_and(|since| since.elapsed() >= LAG)
            || self.unapplied.iter().map(changes).sum::<usize>() >= CHANGES
            || self.unapplied.iter().map(|record| record.bytes()).sum::<u64>() >= LAG_BYTES
    }

    /// Gives the view what is readable and not yet in it.
    pub fn apply(&mut self) -> Result<(), Fault> {
        // Where the view's library itself has met a full disk, nobody knows what it has written: that is not waited for.
        let given = self.patiently(|| self.give(), ViewError::is_full);
        self.given(given.map_err(|e| Fault::storage("writing the view", e))?);
        Ok(())
    }

    /// The same where nothing else is to be done, but waits for no room: a log may be stopped while its disk is full.
    fn apply_at_rest(&mut self) -> Result<(), Fault> {
        match self.give() {
            Err(full) if full.is_full() => {}
            given => self.given(given.map_err(|e| Fault::storage("writing the view", e))?),
        }
        Ok(())
    }

    /// Writes what waits for the view, and gives the last round of it.
    fn give(&self) -> Result<Option<u64>, ViewError> {
        let Some(last) = self.unapplied.last().map(|record| record.round) else { return Ok(None) };
        let applied = self.folder.view.applied_round()?;
        if applied.is_some_and(|applied| last <= applied) {
            return Ok(Some(last));
        }
        let rounds = self.unapplied.iter().filter(|record| applied.is_none_or(|applied| record.round > applied));
        // Of what changed more than once the last counts, and in order neighbours come to one page.
        let mut changes: Vec<(&[u8], usize, &[u8])> = rounds
            .flat_map(|record| &record.changes)
            .enumerate()
            .map(|(at, change)| (change.key.as_slice(), usize::MAX - at, change.value.as_slice()))
            .collect();
        changes.sort_unstable_by_key(|(key, at, _)| (*key, *at));
        changes.dedup_by_key(|(key, _, _)| *key);
        let writes: Vec<view::Write<'_>> = changes.iter().map(|(key, _, value)| (*key, Some(*value))).collect();
        self.folder.view.apply(last, &writes)?;
        Ok(Some(last))
    }

    /// The view has the rounds up to this one.
    fn given(&mut self, last: Option<u64>) {
        if let Some(last) = last {
            self.unapplied.clear();
            self.lags_since = None;
            self.ledger.applied(last);
        }
    }

    /// Signs the head of what is readable now. The high-water file has it before anyone else.
    pub fn sign(&self, origin: &Origin) -> Result<SignedHead, Fault> {
        let checkpoint = Checkpoint::new(origin.clone(), self.edge.head);
        let note = self
            .signers
            .sign(&checkpoint, self.memory.tip.time_ms)
            .map_err(|e| Fault::storage("signing a checkpoint", e))?
            .to_bytes();
        if let Some(high_water) = &self.high_water {
            let full = |e: &StoreError| !e.is_fatal();
            let raise = || high_water.raise(&note).map_err(StoreError::from);
            self.patiently(raise, full).map_err(|e| Fault::storage("writing the high-water file", e))?;
        }
        Ok(SignedHead { head: self.edge.head, note: note.into(), witnessed: false })
    }

    /// Publishes the head signed last, where no quorum is asked for.
    fn publish_if_alone(&mut self, progress: &Progress) -> Result<(), Fault> {
        if progress.is_dead() {
            return Ok(());
        }
        let heads = progress.now().heads;
        let known = heads.published.is_some_and(|published| published.head == heads.integrated.head);
        if self.publishes && !known {
            self.publish(&heads.integrated)?;
            progress.published(heads.integrated);
            self.published_at = Some(Instant::now());
        }
        Ok(())
    }

    /// Replaces `checkpoint`.
    pub fn publish(&self, head: &SignedHead) -> Result<(), Fault> {
        let full = |e: &ObjectError| matches!(e, ObjectError::Store(e) if !e.is_fatal());
        let replace = || self.folder.objects.replace_checkpoint(&head.note);
        self.patiently(replace, full).map_err(|e| Fault::storage("writing the checkpoint", e))
    }

    /// Writes down what no entry carries, and lets the journal forget what is on stable storage elsewhere.
    ///
    /// On a full disk there is none: the journal stays as long as it must, and the next one comes later.
    pub fn snapshot(&mut self) -> Result<(), Fault> {
        let Some(round) = self.memory.tip.next.checked_sub(1) else { return Ok(()) };
        // The journal is to forget these rounds.
        match self.give().and_then(|last| self.folder.view.flush().map(|()| last)) {
            Err(full) if full.is_full() => {
                tracing::warn!(error = %full, "no room for a snapshot; the journal keeps what it would hold");
                return Ok(());
            }
            flushed => self.given(flushed.map_err(|e| Fault::storage("flushing the view", e))?),
        }
        match self.folder.objects.settle() {
            Err(ObjectError::Store(full)) if !full.is_fatal() => return Ok(()),
            settled => settled.map_err(|e| Fault::storage("syncing tiles and bundles", e))?,
        }
        let written =
            self.folder.evidence.sync().and_then(|_| self.folder.snapshots.write(round, &self.memory.to_bytes()));
        match written {
            Ok(()) => self.since_snapshot = 0,
            Err(full) if !full.is_fatal() => return Ok(()),
            Err(fatal) => return Err(Fault::storage("writing a snapshot", fatal)),
        }
        if let Some(floor) = self.folder.snapshots.floor() {
            let dropped = self.folder.journal.drop_below(floor + 1);
            dropped.map_err(|e| Fault::storage("dropping journal segments", e))?;
        }
        Ok(())
    }
}

/// Does something that a full disk may refuse, until there is room: what is committed has to go somewhere.
///
/// The sequencer stops accepting meanwhile, because it sees the same disk.
pub(crate) fn patiently<T, E: std::fmt::Display>(
    act: impl Fn() -> Result<T, E>,
    full: impl Fn(&E) -> bool,
) -> Result<T, E> {
    loop {
        match act() {
            Err(e) if full(&e) => {
                tracing::error!(error = %e, "no room for what is already committed; waiting for some");
                std::thread::sleep(FULL_DISK);
            }
            done => return done,
        }
    }
}
