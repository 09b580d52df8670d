//! Recovery: from a folder to a running log.
//!
//! ```text
//! lock ─► snapshot ─► journal tail ─► do checkpoint or tiles know more? ─► tree: frontier and tiles agree?
//!      ─► view (or rebuild it) ─► tail applied again ─► what is above the last published head read back
//!      ─► rollback guard ─► sign ─► serve
//! ```
//!
//! It reads the same whether the log was shut down, killed, or cut from its power. Whatever the journal holds beyond the
//! snapshot is done again by the code that did it the first time ([`crate::integrator`]); it is written the same way
//! twice, so nothing depends on how far the first time came. Nothing is signed or answered until all of it has held.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;

use scal3::entry::{Entry, Kind};
use scal3::genesis::Genesis;
use tlog::LeafHash;
use tlog::bundle;
use tlog::checkpoint::{Checkpoint, CheckpointError, Origin, OriginError};
use tlog::edge::Edge;
use tlog::edge::LoadError;
use tlog::note::{Note, NoteError, OpenError as SignatureError};
use tlog::tile::{EntriesPath, Path as ObjectPath, Tile};
use tlog::tree::{LeafIndex, TreeHead, TreeSize};
use tokio::sync::{Semaphore, mpsc};

use crate::cosign::Witness;
use crate::engine::{Config, Parts};
use crate::folder::{Folder, FolderError, Found};
use crate::guard::{self, GuardError};
use crate::high_water::HighWater;
use crate::history::{FULL, History, ReadError, RightEdge};
use crate::integrator::{Integrator, Write};
use crate::ledger::{Ledger, Standing};
use crate::memory::{Memory, MemoryError};
use crate::metrics;
use crate::openings::Openings;
use crate::progress::{Fault, Heads, Progress, SignedHead};
use crate::publisher::Publisher;
use crate::rebuild::{self, RebuildError};
use crate::record::{Record, RecordError};
use crate::sequencer::{Committed, Sequencer, Space};
use crate::store::StoreError;
use crate::store::journal::Scan;
use crate::store::view::ViewError;
use crate::verify_pool::{self, Reader, VerifyPool};

/// How many committed rounds may wait for the integrator before the sequencer waits too.
const BEHIND: usize = 8;

/// How many bytes of the journal's tail are applied at a time.
const STEP: u64 = 8 << 20;

/// Why no log was made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The origin is none.
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// The signing key has another name than the log.
    #[error("the key is named {key} and the log {origin}; they must be the same")]
    KeyName {
        /// The key's.
        key: String,
        /// The log's.
        origin: String,
    },
    /// An issuing key is no point of the curve, or there is none.
    #[error("an issuing key in the genesis is not a key")]
    IssuingKey,
    /// The genesis is longer than an entry can be.
    #[error("the genesis would be {length} bytes long, and an entry has at most {limit}")]
    TooLong {
        /// How long.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// There is a log in the folder.
    #[error("{} has a log already; a log is made once", .0.display())]
    Exists(PathBuf),
    /// Another process works in the folder, or a store failed.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

/// Why a log does not start. Nothing was signed, and nothing was changed that a later start would miss.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process runs it, or a store can't be opened.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// There is none.
    #[error("{} has no log; `solelog init` makes one", .0.display())]
    NoLog(PathBuf),
    /// The engine that was asked for to verify signatures is not one for this machine.
    #[error("verify.engine: {0}")]
    Verifier(#[from] verifier::EngineError),
    /// The store failed, or what it holds is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The snapshot is not one of ours.
    #[error("the snapshot: {0}")]
    Memory(#[from] MemoryError),
    /// A journal record is not one of ours.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A journal record does not continue the log.
    #[error("round {round} in the journal does not continue the log: {what}")]
    Broken {
        /// Which round.
        round: u64,
        /// What does not fit.
        what: &'static str,
    },
    /// The view has applied a round that the journal does not have: the journal has lost its end.
    #[error(
        "the view knows round {applied}, and the journal ends before it: its end is lost. Bring back the newest copy of the folder"
    )]
    Lost {
        /// The last round that the view has applied.
        applied: u64,
    },
    /// A tile or a bundle has entries that the journal does not have: the journal has lost its end.
    #[error(
        "{object} has entries beyond {committed}, where the journal ends: its end is lost. Bring back the newest copy of the folder"
    )]
    Beyond {
        /// The tile or the bundle.
        object: String,
        /// The committed size.
        committed: TreeSize,
    },
    /// The tiles make another tree than the journal says.
    #[error("the tiles do not make the tree of size {size} that the journal holds; run `solelog fsck`")]
    Tiles {
        /// The size.
        size: TreeSize,
    },
    /// Entry and tile differ, above the last published head.
    #[error("entry {index} is not the one that the tree was made of; run `solelog fsck`")]
    Entry {
        /// Which entry.
        index: u64,
    },
    /// The first entry is no genesis, or not one that a log can begin with.
    #[error("entry 0 is no genesis of a log")]
    Genesis,
    /// The signing key is not this log's.
    #[error("the key is named {key} and the log {origin}; they must be the same")]
    KeyName {
        /// The key's.
        key: String,
        /// The log's.
        origin: String,
    },
    /// An entry of the log names another key than those that are here.
    #[error(
        "the log's entries have put another key in this one's place. Where `solelog rotate log` was interrupted, run it again; else bring the newest key folder"
    )]
    OtherKey,
    /// The policy does not fit this log.
    #[error("the witness policy: {0}")]
    Policy(&'static str),
    /// The file `checkpoint` can't be read, or is not signed by this log.
    #[error("the published checkpoint: {0}")]
    Checkpoint(#[from] PublishedError),
    /// The view failed.
    #[error(transparent)]
    View(#[from] ViewError),
    /// Something that should be readable is not.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The view can't be made again.
    #[error("rebuilding the view: {0}")]
    Rebuild(#[from] RebuildError),
    /// A backup was restored, or nobody answers who could tell.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// What the journal holds could not be applied, or the first head not be signed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// What is wrong with the file `checkpoint`.
#[derive(Debug, thiserror::Error)]
pub enum PublishedError {
    /// No note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// No checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Not signed by this log's key.
    #[error("not signed by this log's key: {0}")]
    Signature(#[from] SignatureError),
    /// Larger than what the journal holds, or of another tree: a part of the folder was lost or exchanged.
    #[error("it is of size {published}, which the journal, with {committed} entries, does not continue")]
    NotOurs {
        /// The published size.
        published: TreeSize,
        /// The committed size.
        committed: TreeSize,
    },
}

/// Makes a new log: writes its genesis as the first round. Nothing is signed.
pub fn create(config: &Config, genesis: &Genesis) -> Result<(), CreateError> {
    let origin = Origin::new(&genesis.origin)?;
    let key = config.signers.name().as_str();
    if key != origin.as_str() {
        return Err(CreateError::KeyName { key: key.to_owned(), origin: genesis.origin.clone() });
    }
    let standing = Standing::new(genesis.clone()).filter(|_| !genesis.issuing_keys.is_empty());
    standing.ok_or(CreateError::IssuingKey)?;
    let time_ms = (config.clock)();
    let entry = Entry::public(Kind::Genesis, time_ms, genesis.to_bytes()).to_bytes();
    if entry.len() > scal3::limits::ENTRY_MAX {
        return Err(CreateError::TooLong { length: entry.len(), limit: scal3::limits::ENTRY_MAX });
    }
    let mut edge = Edge::new();
    // The empty tree has room for one.
    let _ = edge.push(LeafHash::of(&entry));
    let record = Record {
        round: 0,
        first: 0,
        time_ms,
        entries: vec![entry],
        sealed: vec![None],
        changes: Vec::new(),
        erased: Vec::new(),
        head: edge.head(),
    };
    config.opening().create(&record.to_bytes())?.ok_or_else(|| CreateError::Exists(config.dir.clone()))
}

/// Opens a log. See the picture at the top.
pub(crate) async fn open(config: Config) -> Result<Parts, OpenError> {
    let (recovered, config) = tokio::task::spawn_blocking(move || {
        let recovered = recover(&config, false, &mut |_, _| {})?;
        Ok::<_, OpenError>((recovered, config))
    })
    .await
    .map_err(|_| Fault::Panic("recovery"))??;
    let witnesses = guard(&recovered, &config).await?;
    tokio::task::spawn_blocking(move || Ok(start(recovered, &config, witnesses)?))
        .await
        .map_err(|_| Fault::Panic("recovery"))?
}

/// Deletes the view and makes it again, from entries and openings. `progress` hears (entries done, entries in all).
///
/// The log must not be running. Nothing is signed.
pub fn rebuild(config: &Config, progress: &mut dyn FnMut(u64, u64)) -> Result<TreeHead, OpenError> {
    let mut recovered = recover(config, true, progress)?;
    recovered.integrator.snapshot()?;
    recovered.integrator.folder.view.close()?;
    Ok(recovered.history.head())
}

/// A folder whose bytes have been understood, and in which everything committed is readable again.
struct Recovered {
    standing: Arc<Standing>,
    origin: Origin,
    ledger: Arc<Ledger>,
    history: Arc<History>,
    edge: Edge,
    integrator: Integrator,
    published: Option<SignedHead>,
    verifier: Arc<verifier::Engine>,
}

fn recover(config: &Config, rebuild: bool, progress: &mut dyn FnMut(u64, u64)) -> Result<Recovered, OpenError> {
    let verifier = verify_pool::engine(config.verify.engine)?;
    let found = config.opening().find()?.ok_or_else(|| OpenError::NoLog(config.dir.clone()))?;
    let memory = found.snapshot.as_ref().map(|s| Memory::parse(&s.payload)).transpose()?.unwrap_or_else(Memory::empty);
    let (scan, tail) = read_tail(&found, &memory)?;
    let committed = tail.last().map_or_else(|| memory.tip.frontier.head(), |r| r.head);
    let checkpoint = found.checkpoint()?.map(|bytes| read_checkpoint(config, bytes)).transpose()?;
    if let Some((head, _)) = &checkpoint {
        not_beyond(head, &committed)?;
    }
    // Tiles are made of what is committed. A torn round that they know of was no torn round: it was synced, perhaps signed
    // and answered, and damaged since. The same holds where its bytes are gone without a trace.
    if let Some(object) = found.beyond(committed.size)? {
        return Err(OpenError::Beyond { object, committed: committed.size });
    }

    // Nothing was written up to here. The first write brings the end of the journal to stable storage.
    let folder = Arc::new(found.resume(scan, &memory)?);
    let mut edge = load_edge(&folder, &memory)?;
    let readable = RightEdge { head: edge.head(), tiles: edge.partial(), bundle: load_bundle(&folder, edge.size())? };
    let history = Arc::new(History::new(Arc::clone(&folder.objects), readable.clone()));
    let ledger = Arc::new(Ledger::new(Arc::clone(&folder.view)));
    let last = tail.last().map_or(memory.tip.next.checked_sub(1), |r| Some(r.round));
    let current = is_current(&folder, &memory, last)?;
    if rebuild || !current {
        rebuild::view(&folder, &history, &memory, &tail, &verifier, progress)?;
    } else if folder.view.applied_round()?.is_none() {
        // All rounds are applied again. What an earlier version left in another form must not be met by them.
        folder.view.clear()?;
    }
    let mut integrator = Integrator::new(config, folder, Arc::clone(&ledger), Arc::clone(&history), memory, readable);
    apply_tail(tail, &mut edge, &mut integrator)?;
    erase_again(&integrator.folder)?;

    let standing = Arc::new(read_genesis(&history)?);
    let origin = Origin::new(standing.origin()).map_err(|_| OpenError::Genesis)?;
    let key = config.signers.name().as_str();
    if key != origin.as_str() {
        return Err(OpenError::KeyName { key: key.to_owned(), origin: standing.origin().to_owned() });
    }
    let keys = standing.keys(&*ledger)?;
    if !config.signers.are_in_force(&keys) {
        return Err(OpenError::OtherKey);
    }
    let published = match checkpoint {
        Some((head, note)) => on_history(config, &history, head, note)?,
        None => None,
    };
    read_back(&history, checkpoint_size(&published))?;
    Ok(Recovered { standing, origin, ledger, history, edge, integrator, published, verifier })
}

fn broken(record: &Record, what: &'static str) -> OpenError {
    OpenError::Broken { round: record.round, what }
}

/// The rounds after the snapshot, each beginning where the one before ends.
fn read_tail(found: &Found, memory: &Memory) -> Result<(Scan, Vec<Record>), OpenError> {
    let (mut next, mut size) = (memory.tip.next, memory.tip.frontier.size().get());
    let mut tail = Vec::new();
    let scan = found.scan(next, |round, payload| {
        let record = Record::parse(round, payload)?;
        if round != next || record.first != size || record.sealed.len() != record.entries.len() {
            return Err(broken(&record, "it does not begin where the one before ends"));
        }
        next = round + 1;
        size += record.entries.len() as u64;
        tail.push(record);
        Ok(())
    })?;
    if let Some(torn) = &scan.torn {
        tracing::warn!(round = torn.round, "the last round in the journal is incomplete");
    }
    if size == 0 {
        return Err(OpenError::Genesis);
    }
    Ok((scan, tail))
}

/// The published checkpoint, signed by this log.
fn read_checkpoint(config: &Config, bytes: Vec<u8>) -> Result<(TreeHead, Vec<u8>), PublishedError> {
    let note = Note::parse(&bytes)?;
    note.open(config.signers.vkeys())?;
    Ok((Checkpoint::parse_text(note.text())?.head, bytes))
}

/// What was published was committed first. If it is gone from the journal, a part of the folder was lost or exchanged.
fn not_beyond(published: &TreeHead, committed: &TreeHead) -> Result<(), PublishedError> {
    let same_size = published.size == committed.size;
    if published.size > committed.size || (same_size && published.root != committed.root) {
        return Err(PublishedError::NotOurs { published: published.size, committed: committed.size });
    }
    Ok(())
}

/// The published head, if it lies on this history and meets the policy of today.
fn on_history(
    config: &Config,
    history: &History,
    head: TreeHead,
    note: Vec<u8>,
) -> Result<Option<SignedHead>, OpenError> {
    if history.root_at(head.size)? != head.root {
        let committed = history.head().size;
        return Err(PublishedError::NotOurs { published: head.size, committed }.into());
    }
    let witnessed = match &config.witnesses {
        None => false,
        Some(policy) => {
            let note = Note::parse(&note).map_err(PublishedError::Note)?;
            // A policy that was changed since asks for other witnesses; the next head will have theirs.
            if policy.verify(&note).is_err() {
                return Ok(None);
            }
            !policy.quorum_is_none()
        }
    };
    Ok(Some(SignedHead { head, note: note.into(), witnessed }))
}

fn checkpoint_size(published: &Option<SignedHead>) -> u64 {
    published.as_ref().map_or(0, |p| p.head.size.get())
}

/// The right edge of the tree at the snapshot, from the tiles; it must be the tree that the snapshot names.
fn load_edge(folder: &Folder, memory: &Memory) -> Result<Edge, OpenError> {
    let head = memory.tip.frontier.head();
    let missing = |tile: Tile| ReadError::Damaged(tile.path());
    let read = |tile: Tile| {
        let bytes = folder.objects.get(&ObjectPath::Tile(tile)).map_err(ReadError::from)?;
        bytes.ok_or_else(|| missing(tile))
    };
    let edge = Edge::load(head.size, read).map_err(|e| match e {
        LoadError::Source(read) => OpenError::Read(read),
        _ => OpenError::Tiles { size: head.size },
    })?;
    if edge.head() != head {
        return Err(OpenError::Tiles { size: head.size });
    }
    Ok(edge)
}

/// The partial bundle at the snapshot.
fn load_bundle(folder: &Folder, size: TreeSize) -> Result<Vec<u8>, OpenError> {
    let width = size.get() % FULL;
    if width == 0 {
        return Ok(Vec::new());
    }
    let at = EntriesPath { index: size.get() / FULL, width: width as u16 };
    let bytes = folder.objects.get(&ObjectPath::Entries(at)).map_err(ReadError::from)?;
    Ok(bytes.ok_or_else(|| ReadError::Damaged(at.path()))?)
}

/// Whether the view can be continued: nobody emptied it, and it stands between the snapshot and the journal's end.
fn is_current(folder: &Folder, memory: &Memory, last: Option<u64>) -> Result<bool, OpenError> {
    let applied = folder.view.applied_round()?;
    let begun = memory.tip.next.checked_sub(1);
    // The journal is synced before the view hears of a round. A view that is ahead shows that something was committed,
    // and perhaps answered, that is not in the journal any more.
    if let Some(applied) = applied.filter(|_| folder.view.trusted() && applied > last) {
        return Err(OpenError::Lost { applied });
    }
    // A log without a snapshot is applied from its genesis, so an empty view is as current as any.
    Ok(folder.view.trusted() && applied >= begun && applied <= last || begun.is_none() && applied.is_none())
}

/// Does again what the integrator had done, or not, when the machine stopped.
fn apply_tail(tail: Vec<Record>, edge: &mut Edge, integrator: &mut Integrator) -> Result<(), OpenError> {
    let mut tail = tail.into_iter().peekable();
    while tail.peek().is_some() {
        let (mut rounds, mut bytes) = (Vec::new(), 0);
        while let Some(record) = tail.next_if(|_| bytes < STEP) {
            bytes += record.bytes();
            for entry in &record.entries {
                edge.push(LeafHash::of(entry)).map_err(|_| broken(&record, "the tree would be too large"))?;
            }
            if edge.head() != record.head {
                return Err(broken(&record, "its entries do not make its root"));
            }
            // Of the partial tiles only those after the last round of a step are ever read.
            let ends = bytes >= STEP || tail.peek().is_none();
            let partial = if ends { edge.partial() } else { Vec::new() };
            let record = Arc::new(record);
            rounds.push(Arc::new(Committed { record, full: edge.take_full(), partial, permits: Vec::new() }));
        }
        integrator.integrate(&rounds, Write::Anew)?;
        integrator.apply()?;
    }
    Ok(())
}

/// Overwrites the keys of erased openings once more: a restored key file may have brought them back.
fn erase_again(folder: &Folder) -> Result<(), OpenError> {
    let mut erased = Vec::new();
    folder.view.scan(b"e", &mut |key, _| {
        if let Some(index) = key.get(1..).and_then(|k| k.try_into().ok()) {
            erased.push(u64::from_be_bytes(index));
        }
    })?;
    let mut back = Vec::new();
    for index in erased {
        if folder.keys.read(index)?.is_some() {
            back.push(index);
        }
    }
    Ok(folder.keys.erase(&back)?)
}

fn read_genesis(history: &History) -> Result<Standing, OpenError> {
    let entry = history.entry(LeafIndex::new(0).map_err(|_| OpenError::Genesis)?)?;
    let entry = Entry::parse(&entry).map_err(|_| OpenError::Genesis)?;
    let body = entry.body.filter(|_| entry.kind == Kind::Genesis).ok_or(OpenError::Genesis)?;
    let genesis = Genesis::parse(&body).map_err(|_| OpenError::Genesis)?;
    Standing::new(genesis).ok_or(OpenError::Genesis)
}

/// Hashes the entries above the last published head, and compares them with the tiles: nobody else has seen them yet.
fn read_back(history: &History, from: u64) -> Result<(), OpenError> {
    let size = history.head().size.get();
    for index in from / FULL..size.div_ceil(FULL) {
        let width = (size - index * FULL).min(FULL) as u16;
        let entries = history.object(&ObjectPath::Entries(EntriesPath { index, width }))?;
        let hashes = history.object(&ObjectPath::Tile(Tile { level: 0, index, width }))?;
        let entries = bundle::parse(&entries).map_err(|_| OpenError::Entry { index: index * FULL })?;
        for ((entry, hash), at) in entries.iter().zip(hashes.chunks(32)).zip(index * FULL..) {
            if LeafHash::of(entry).0 != *hash {
                return Err(OpenError::Entry { index: at });
            }
        }
    }
    Ok(())
}

/// Asks those outside the folder whether it is the newest there is.
async fn guard(recovered: &Recovered, config: &Config) -> Result<Vec<Witness>, OpenError> {
    let signers = &config.signers;
    if let Some(path) = &config.high_water {
        HighWater::new(Arc::clone(&config.disk), path.clone(), Arc::clone(signers))
            .check(&recovered.history, recovered.published.is_some())?;
    }
    let Some(policy) = config.witnesses.as_ref().filter(|p| !p.quorum_is_none()) else { return Ok(Vec::new()) };
    if !policy.logs().iter().any(|log| signers.vkeys().contains(&log.vkey)) {
        return Err(OpenError::Policy("it does not name this log's key"));
    }
    if !policy.quorums_overlap() {
        return Err(OpenError::Policy("two quorums could share no witness, and vouch for two histories"));
    }
    let http = reqwest::Client::builder().timeout(config.pace.witness_timeout).build();
    let http = http.map_err(|_| OpenError::Policy("no HTTP client can be made on this machine"))?;
    let mut witnesses = Vec::new();
    for witness in policy.witnesses() {
        let url = witness.url.as_ref().ok_or(OpenError::Policy("a witness has no URL"))?;
        witnesses.push(Witness::new(witness.name.clone(), witness.vkey.clone(), url.clone(), http.clone()));
    }
    let patience = config.pace.guard_timeout;
    let published = recovered.published.as_ref().and_then(|head| Note::parse(&head.note).ok());
    let (history, origin) = (&recovered.history, &recovered.origin);
    Ok(guard::ask_witnesses(policy, witnesses, history, origin, signers, patience, published.as_ref()).await?)
}

/// Signs the first head, and starts the threads and the task.
fn start(recovered: Recovered, config: &Config, witnesses: Vec<Witness>) -> Result<Parts, Fault> {
    let Recovered { standing, origin, ledger, history, edge, integrator, published, verifier } = recovered;
    let integrated = integrator.sign(&origin)?;
    let mut published = published;
    if !config.asks_for_quorum() {
        integrator.publish(&integrated)?;
        published = Some(integrated.clone());
    }
    let progress = Arc::new(Progress::new(Heads { committed: integrated.head, integrated, published }));
    let folder = Arc::clone(&integrator.folder);
    let openings = Openings {
        ledger: Arc::clone(&ledger),
        evidence: Arc::clone(&folder.evidence),
        keys: Arc::clone(&folder.keys),
    };
    let (queue, waiting) = mpsc::unbounded_channel();
    let (rounds, committed) = sync_channel(BEHIND);
    let sequencer = Sequencer {
        queue: waiting,
        standing: Arc::clone(&standing),
        ledger: Arc::clone(&ledger),
        progress: Arc::clone(&progress),
        journal: Arc::clone(&folder.journal),
        keys: Arc::clone(&folder.keys),
        tip: integrator.tip().clone(),
        edge,
        integrator: rounds,
        round_bytes: config.limits.round_bytes,
        space: Space::of(config, integrator.waiting()),
        clock: Arc::clone(&config.clock),
    };
    let publisher = config.witnesses.as_ref().filter(|_| config.asks_for_quorum()).map(|policy| Publisher {
        progress: Arc::clone(&progress),
        history: Arc::clone(&history),
        objects: Arc::clone(&folder.objects),
        policy: policy.clone(),
        witnesses,
        signers: Arc::clone(&config.signers),
        origin: origin.clone(),
        timeout: config.pace.witness_timeout,
    });
    drop(folder);
    let threads = vec![
        thread("sequencer", &progress, move || sequencer.run())?,
        thread("integrator", &progress, {
            let progress = Arc::clone(&progress);
            move || integrator.run(&committed, &origin, &progress)
        })?,
    ];
    say(&verifier);
    let pool = VerifyPool::start(config.verify.threads, Reader::new(config, &verifier, &ledger, &standing))
        .map_err(|e| Fault::storage("starting a thread", e))?;
    Ok(Parts {
        signers: Arc::clone(&config.signers),
        standing,
        ledger,
        history,
        openings: Arc::new(openings),
        progress,
        queue,
        budget: Arc::new(Semaphore::new(config.limits.in_flight_bytes)),
        limits: config.limits,
        pace: config.pace,
        verifier,
        pool,
        witnesses: config.asks_for_quorum(),
        threads,
        publisher: publisher.map(|p| tokio::runtime::Handle::current().spawn(p.run())),
    })
}

/// Says which engine runs, to whoever reads the lines of the start, and to the metrics.
fn say(verifier: &verifier::Engine) {
    metrics::engine().verify_engine.reset();
    metrics::engine().verify_engine.with_label_values(&[verifier.name()]).set(1.0);
    match verifier.fallback() {
        Some(why) => tracing::warn!(engine = verifier.name(), %why, "signatures are verified by a slower engine"),
        None => tracing::info!(engine = verifier.name(), "signatures are verified"),
    }
}

/// A thread of the engine. If it panics the log dies, and says so.
fn thread(
    name: &'static str,
    progress: &Arc<Progress>,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, Fault> {
    let progress = Arc::clone(progress);
    let guarded = move || {
        if std::panic::catch_unwind(AssertUnwindSafe(work)).is_err() {
            progress.die(Fault::Panic(name));
        }
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(guarded).map_err(|e| Fault::storage("starting a thread", e))
}
