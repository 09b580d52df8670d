//! fsck: the whole folder read again, as a stranger would who believes none of it.
//!
//! ```text
//! checkpoint   signature, quorum                      evidence, keys   each opening is there, opens, and is the one
//! journal      chain, sizes, roots after the snapshot                  that its entry commits to; or was erased, by
//! bundles      every entry, parsed and hashed                          an entry that says so
//! tiles        every byte, from the entries           root             once more, by rs_merkle: code that is not ours
//! ```
//!
//! It finds as much as it can and changes nothing that a start would not. The log must not be running. What it does not
//! do is judge the entries: a monitor does, and `solelog rebuild` verifies every record again.

use std::collections::BTreeSet;

use rs_merkle::{Hasher, MerkleTree};
use scal3::entry::{Entry, EntryError, Kind};
use scal3::erasure::Erasure;
use scal3::opening::{OtherOpening, commitment};
use sha2::{Digest, Sha256};
use tlog::bundle;
use tlog::checkpoint::Checkpoint;
use tlog::note::Note;
use tlog::tile::{self, EntriesPath, Path, Tile};
use tlog::tree::TreeHead;
use tlog::{Hash, LeafHash};

use crate::engine::Config;
use crate::folder::{Folder, FolderError, Found};
use crate::history::FULL;
use crate::memory::{Memory, MemoryError};
use crate::record::{Record, RecordError};
use crate::store::StoreError;
use crate::store::evidence;
use crate::store::journal::Scan;
use crate::store::objects::ObjectError;

/// How many findings are listed; all are counted.
const LISTED: usize = 1000;

/// What a check has found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Entries that were read.
    pub entries: u64,
    /// Openings that were opened and compared with their entry.
    pub openings: u64,
    /// Openings that were erased.
    pub erased: u64,
    /// Files of tiles and bundles that were compared.
    pub objects: u64,
    /// Rounds in the journal.
    pub rounds: u64,
    /// The head that the journal says.
    pub committed: Option<TreeHead>,
    /// The head in `checkpoint`.
    pub published: Option<TreeHead>,
    /// The witnesses whose cosignatures on it verify.
    pub witnesses: Vec<String>,
    /// What is wrong, the first thousand.
    pub findings: Vec<Finding>,
    /// How many things are wrong.
    pub wrong: u64,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where: a path in the folder, or an entry.
    pub place: String,
    /// What.
    pub what: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.wrong == 0
    }

    fn wrong(&mut self, place: impl ToString, what: impl ToString) {
        self.wrong += 1;
        if self.findings.len() < LISTED {
            self.findings.push(Finding { place: place.to_string(), what: what.to_string() });
        }
    }
}

/// Why the check could not be made.
#[derive(Debug, thiserror::Error)]
pub enum FsckError {
    /// There is no log.
    #[error("{} has no log", .0.display())]
    NoLog(std::path::PathBuf),
    /// The log is running, or the folder can't be opened.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The journal or another store is damaged so that nothing behind it can be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A journal record.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The snapshot.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// Tiles and bundles.
    #[error(transparent)]
    Objects(#[from] ObjectError),
}

/// Checks a log that is not running. `progress` hears (entries done, entries in all).
///
/// Of the config it uses the folder, the key's public half and the witness policy.
pub fn fsck(config: &Config, progress: &mut dyn FnMut(u64, u64)) -> Result<Report, FsckError> {
    let found = config.opening().find()?.ok_or_else(|| FsckError::NoLog(config.dir.clone()))?;
    let memory = found.snapshot.as_ref().map(|s| Memory::parse(&s.payload)).transpose()?.unwrap_or_else(Memory::empty);
    let mut report = Report::default();
    let (scan, tail) = journal(&found, &memory, &mut report)?;
    let committed = tail.last().map_or_else(|| memory.tip.frontier.head(), |record| record.head);
    report.committed = Some(committed);
    checkpoint(config, &found, &mut report)?;
    let published = report.published.unwrap_or(TreeHead::EMPTY);
    if published.size > committed.size {
        report.wrong("checkpoint", format!("it has size {}, the journal {}", published.size, committed.size));
    }
    let beyond = found.beyond(committed.size)?;
    if let Some(object) = &beyond {
        report.wrong(object, format!("it has entries beyond {}, where the journal ends", committed.size));
    }
    if published.size > committed.size || beyond.is_some() {
        // The journal has lost its end. Going on would drop what is left of it, which no start would do either.
        return Ok(report);
    }
    // What is above was committed, and after a power cut perhaps not readable: the journal has it, and a start makes it so.
    let readable = memory.tip.frontier.size().min(committed.size).get();
    let folder = found.resume(scan, &memory)?;
    let mut check = Check {
        folder: &folder,
        tail: &tail,
        report,
        leaves: Vec::new(),
        time_ms: 0,
        erased: BTreeSet::new(),
        keyless: BTreeSet::new(),
    };
    check.entries(readable, committed.size.get(), progress)?;
    check.tiles(readable)?;
    check.roots(&[committed, published, memory.tip.frontier.head()]);
    check.erasures();
    Ok(check.report)
}

/// The journal from the older snapshot on; gives the rounds after the newer one.
fn journal(found: &Found, memory: &Memory, report: &mut Report) -> Result<(Scan, Vec<Record>), FsckError> {
    let floor = found.floor().map_or(0, |floor| floor + 1);
    let mut tree = memory.tip.frontier.clone();
    let mut tail = Vec::new();
    let mut end = None;
    let scan = found.scan(floor, |round, payload| {
        let record = Record::parse(round, payload)?;
        report.rounds += 1;
        let place = format!("journal, round {round}");
        if end.is_some_and(|end| end != record.first) {
            report.wrong(&place, "it does not begin where the one before ends");
        }
        end = Some(record.first + record.entries.len() as u64);
        if end != Some(record.head.size.get()) || record.sealed.len() != record.entries.len() {
            report.wrong(&place, "its size is not that of its entries");
        }
        if round >= memory.tip.next {
            let grown = record.entries.iter().try_for_each(|entry| tree.push(LeafHash::of(entry)));
            if grown.is_err() || tree.head() != record.head {
                report.wrong(&place, "its entries do not make its root");
            }
            tail.push(record);
        }
        Ok::<_, FsckError>(())
    })?;
    Ok((scan, tail))
}

fn checkpoint(config: &Config, found: &Found, report: &mut Report) -> Result<(), FsckError> {
    let Some(bytes) = found.checkpoint()? else {
        return Ok(());
    };
    let note = match Note::parse(&bytes) {
        Ok(note) => note,
        Err(e) => {
            report.wrong("checkpoint", e);
            return Ok(());
        }
    };
    match Checkpoint::parse_text(note.text()) {
        Ok(checkpoint) if checkpoint.origin.as_str() == config.signers.name().as_str() => {
            report.published = Some(checkpoint.head);
        }
        Ok(checkpoint) => report.wrong("checkpoint", format!("it is of another log: {}", checkpoint.origin)),
        Err(e) => report.wrong("checkpoint", e),
    }
    if let Err(e) = note.open(config.signers.vkeys()) {
        report.wrong("checkpoint", format!("not signed by this log's key: {e}"));
    }
    if let Some(policy) = &config.witnesses {
        match policy.verify(&note) {
            Ok(accepted) => report.witnesses = accepted.witnesses.into_iter().map(|w| w.name).collect(),
            Err(e) => report.wrong("checkpoint", format!("it does not meet the witness policy: {e}")),
        }
    }
    Ok(())
}

/// A check in progress.
struct Check<'a> {
    folder: &'a Folder,
    tail: &'a [Record],
    report: Report,
    /// The leaf hashes of all entries.
    leaves: Vec<[u8; 32]>,
    time_ms: u64,
    /// The openings that erasures name.
    erased: BTreeSet<u64>,
    /// The openings without a key.
    keyless: BTreeSet<u64>,
}

impl Check<'_> {
    /// Reads every entry: those that should be readable from their bundles, the others from the journal.
    fn entries(&mut self, readable: u64, committed: u64, progress: &mut dyn FnMut(u64, u64)) -> Result<(), FsckError> {
        for number in 0..readable.div_ceil(FULL) {
            let width = (readable - number * FULL).min(FULL) as u16;
            let at = EntriesPath { index: number, width };
            let bytes = self.object(&Path::Entries(at))?.unwrap_or_default();
            self.report.objects += 1;
            let entries = bundle::parse(&bytes).unwrap_or_default();
            if entries.len() != usize::from(width) {
                self.report.wrong(at.path(), "it is missing, or is no bundle of that width");
            }
            let missing = std::iter::repeat(&[][..]);
            for (entry, index) in entries.into_iter().chain(missing).zip(number * FULL..).take(usize::from(width)) {
                self.entry(index, entry);
            }
            progress(((number + 1) * FULL).min(readable), committed);
        }
        for record in self.tail {
            for (entry, index) in record.entries.iter().zip(record.first..) {
                if index >= readable {
                    self.entry(index, entry);
                }
            }
        }
        progress(committed, committed);
        Ok(())
    }

    fn entry(&mut self, index: u64, bytes: &[u8]) {
        let leaf = LeafHash::of(bytes);
        self.leaves.push(leaf.0);
        self.report.entries += 1;
        let place = format!("entry {index}");
        let entry = match Entry::parse(bytes) {
            Ok(entry) => entry,
            Err(e @ EntryError::UnknownKind(_)) => {
                return self.report.wrong(place, format!("{e}; a newer version wrote it"));
            }
            Err(e) => return self.report.wrong(place, e),
        };
        if entry.time_ms < self.time_ms {
            self.report.wrong(&place, "its time is before that of the entry before");
        }
        self.time_ms = entry.time_ms;
        if (entry.kind == Kind::Genesis) != (index == 0) {
            self.report.wrong(&place, "a genesis is the first entry, and no other");
        }
        if !entry.kind.is_public() {
            self.opening(index, &leaf, &entry);
        }
    }

    /// The opening of an entry: sealed bytes and key go together, and give what the entry commits to.
    fn opening(&mut self, index: u64, leaf: &LeafHash, entry: &Entry) {
        let place = format!("opening {index}");
        let sealed = match self.sealed(index) {
            Ok(Some(sealed)) => sealed,
            Ok(None) => return self.report.wrong(place, "the sealed opening is missing"),
            Err(e) => return self.report.wrong(place, e),
        };
        let key = match self.folder.keys.read(index) {
            Ok(Some(key)) => key,
            Ok(None) => {
                self.keyless.insert(index);
                return;
            }
            Err(e) => return self.report.wrong(place, e),
        };
        match evidence::unseal(&key, index, leaf, &sealed) {
            Ok(opening) if commitment(&opening) == entry.commitment => {
                self.report.openings += 1;
                if entry.kind == Kind::Erasure {
                    self.erasure(&place, &opening);
                }
            }
            Ok(_) => self.report.wrong(place, "it is not what the entry commits to"),
            Err(e) => self.report.wrong(place, e),
        }
    }

    fn sealed(&self, index: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let recent = self.tail.iter().find(|r| (r.first..r.head.size.get()).contains(&index));
        match recent {
            Some(record) => Ok(record.sealed.get((index - record.first) as usize).cloned().flatten()),
            None => self.folder.evidence.read(index),
        }
    }

    fn erasure(&mut self, place: &str, opening: &[u8]) {
        match OtherOpening::parse(opening).map(|opening| Erasure::from_body(opening.body)) {
            Ok(Ok(erasure)) => {
                self.erased.insert(erasure.index);
            }
            _ => self.report.wrong(place, "it is no erasure"),
        }
    }

    /// An object; none also where its file has not the bytes of one.
    fn object(&self, at: &Path) -> Result<Option<Vec<u8>>, FsckError> {
        match self.folder.objects.get(at) {
            Err(ObjectError::Malformed(_)) => Ok(None),
            found => Ok(found?),
        }
    }

    /// Makes every tile from the hashes below it, and compares it with its file.
    fn tiles(&mut self, readable: u64) -> Result<(), FsckError> {
        let mut hashes: Vec<[u8; 32]> = self.leaves.get(..readable as usize).unwrap_or_default().to_vec();
        for level in 0..tile::LEVELS as u8 {
            let mut above = Vec::with_capacity(hashes.len() / FULL as usize);
            for (chunk, index) in hashes.chunks(FULL as usize).zip(0..) {
                let made = chunk.concat();
                let at = Tile { level, index, width: chunk.len() as u16 };
                self.report.objects += 1;
                if self.object(&Path::Tile(at))?.as_deref() != Some(&made) {
                    self.report.wrong(at.path(), "it is missing, or is not made of what is below it");
                }
                if at.is_full() {
                    above.push(tile::root(&made).0);
                }
            }
            hashes = above;
        }
        Ok(())
    }

    /// Computes the roots of those heads with rs_merkle.
    fn roots(&mut self, heads: &[TreeHead]) {
        let mut seen = Vec::new();
        for head in heads {
            if seen.contains(head) {
                continue;
            }
            seen.push(*head);
            let leaves = usize::try_from(head.size.get()).ok().and_then(|size| self.leaves.get(..size));
            let root = leaves.map(|leaves| {
                let root = MerkleTree::<Rfc6962>::from_leaves(leaves).root();
                root.map_or(Hash::EMPTY_ROOT, Hash)
            });
            if root != Some(head.root) {
                self.report.wrong(
                    format!("the tree of size {}", head.size),
                    "the entries do not make the root that was written",
                );
            }
        }
    }

    /// An opening without a key was erased by an entry, and an erased one has no key.
    fn erasures(&mut self) {
        for index in self.keyless.difference(&self.erased) {
            self.report.wrong += 1;
            self.report.findings.push(Finding {
                place: format!("opening {index}"),
                what: "its key is missing, and no entry has erased it".to_owned(),
            });
        }
        for index in self.erased.difference(&self.keyless) {
            self.report.wrong += 1;
            self.report.findings.push(Finding {
                place: format!("opening {index}"),
                what: "it was erased, and its key is there; the next start erases it again".to_owned(),
            });
        }
        self.report.erased = self.erased.intersection(&self.keyless).count() as u64;
    }
}

/// RFC 6962 hashing for rs_merkle: leaves come hashed, nodes are `SHA-256(0x01 ‖ left ‖ right)`, a lone node moves up.
#[derive(Clone)]
struct Rfc6962;

impl Hasher for Rfc6962 {
    type Hash = [u8; 32];

    fn hash(data: &[u8]) -> [u8; 32] {
        Sha256::digest(data).into()
    }

    fn concat_and_hash(left: &[u8; 32], right: Option<&[u8; 32]>) -> [u8; 32] {
        match right {
            Some(right) => Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into(),
            None => *left,
        }
    }
}
