//! The ledger: the last head of every log, on disk, many requests to one sync.
//!
//! ```text
//! solelog-witness-heads/v2 4                 the generation: how often the file was written anew
//! head 17 312 <chain>                        the 17th record, 312 bytes
//! origin example.com/log
//!                                            then the checkpoint, as the log signed it;
//! example.com/log                            nothing where none was ever cosigned
//! 20852163
//! ...
//! head 18 298 <chain>                        a later record of one log replaces the earlier one
//! ...
//!
//! chain = hash( the chain before || number || record )
//! ```
//!
//! Whoever wants a head stored puts it in the queue. The first to find nobody writing takes all
//! that waits, appends it to both copies ([`crate::copies`]) with one sync each, and tells the
//! others. A log that is added gets a record at once, so a log without one means that *we* lost
//! something: taken for "never seen", the witness would cosign any history.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use tlog::LeafHash;
use tlog::checkpoint::{Checkpoint, Origin};
use tlog::note::Note;
use tlog::text::{self, Lines};
use tlog::tree::{TreeHead, TreeSize};

use crate::copies::{Copies, Copy, Files};
use crate::disk::ReplaceError;

const HEADER: &str = "solelog-witness-heads/v2";

/// The last checkpoint stored of a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored {
    /// The log.
    pub origin: Origin,
    /// The checkpoint with the log's verified signatures; `None` where none was ever cosigned.
    pub note: Option<Note>,
    /// Its head; the empty tree where there is none.
    pub head: TreeHead,
}

/// What is wrong with a copy of the ledger.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// There is no such file.
    #[error("it is not there")]
    Missing,
    /// No first line of ours.
    #[error("it is not a ledger of this version")]
    Header,
    /// A record is not the one that was written, or only a part of it.
    #[error("record {0} is not what was written")]
    Record(u64),
}

/// Why what is stored can't be trusted. The witness must not start.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A log of the configuration has no record.
    #[error(
        "the state of {origin} is missing in {}. If this log was never witnessed here, add it with \
         `solelog-witness log add`. Otherwise restore the file; without it this witness could be led to cosign a \
         second history", path.display()
    )]
    Missing {
        /// The log.
        origin: Origin,
        /// Where the copies should be.
        path: PathBuf,
    },
    /// Neither copy is what this program wrote.
    #[error(
        "the state is damaged: in {}, of heads.a {a}, and of heads.b {b}. These are our own files, nothing a log did. \
         The larger readable part has {readable} logs. Restore them from a copy that is known to be newest, or \
         retire this witness's keys", path.display()
    )]
    Damaged {
        /// Where the copies are.
        path: PathBuf,
        /// What is wrong with the first one.
        a: Fault,
        /// And with the second one.
        b: Fault,
        /// Of how many logs a copy can still be read.
        readable: usize,
    },
    /// The two copies hold two trees of one size.
    #[error(
        "the two copies of the state disagree about the root of {origin} at size {size}: our own files, nothing the log did"
    )]
    Disagree {
        /// The log.
        origin: Origin,
        /// The size.
        size: TreeSize,
    },
    /// What this witness has published is not in its state.
    #[error(
        "this witness has published a head of {origin} at size {published}, and its state knows size {stored}: the \
         state is older than what was signed, as after a backup was restored. It refuses to sign"
    )]
    Behind {
        /// The log.
        origin: Origin,
        /// What the state knows.
        stored: TreeSize,
        /// What bears our signature.
        published: TreeSize,
    },
    /// A copy can't be read.
    #[error("the state can't be read: {}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The copies can't be written anew at the start.
    #[error("the state can't be written: {}: {error}", path.display())]
    Write {
        /// Where the copies are.
        path: PathBuf,
        /// What became of it.
        error: ReplaceError,
    },
}

/// Why a head was not stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CommitError {
    /// Nothing has changed. Worth another try.
    #[error("nothing was changed")]
    Unchanged,
    /// The head may be found by a later start, or not. Nothing may be signed any more.
    #[error("the outcome is unknown")]
    Unclear,
}

/// What a start found out about the copies, for the operator to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Healed {
    /// The copy that was not whole.
    pub copy: Copy,
    /// What was wrong with it.
    pub fault: Fault,
}

impl std::fmt::Display for Healed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Healed { copy, fault } = self;
        write!(
            f,
            "our own file state/{copy} was not whole ({fault}); the other copy was, and holds every head that was \
             cosigned. An interrupted write leaves this behind; anything else is the disk's doing"
        )
    }
}

/// How large a ledger is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// The length of each copy.
    pub bytes: u64,
    /// The number of the last record.
    pub records: u64,
    /// How often it was written anew.
    pub generation: u64,
}

/// The ledger of a witness, open for writing.
pub struct Ledger {
    queue: Mutex<Queue>,
    /// Told whenever a batch is done.
    done: Condvar,
    writer: Mutex<Writer>,
    healed: Option<Healed>,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Stored>,
    /// What becomes of those that wait.
    outcome: Arc<OnceLock<Result<(), CommitError>>>,
    /// Whether somebody is writing an earlier batch.
    writing: bool,
}

/// Somebody who writes a batch. However that ends, the others get to know.
struct Leader<'a> {
    ledger: &'a Ledger,
    outcome: Arc<OnceLock<Result<(), CommitError>>>,
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        // Set already, unless the writing has panicked.
        let _ = self.outcome.set(Err(CommitError::Unclear));
        lock(&self.ledger.queue).writing = false;
        self.ledger.done.notify_all();
    }
}

struct Writer {
    copies: Box<dyn Copies>,
    generation: u64,
    number: u64,
    chain: String,
    /// How long both copies are.
    length: usize,
    /// How long they were when they were written anew.
    fresh: usize,
    /// The last record of each log, by its origin.
    records: BTreeMap<Origin, String>,
    /// Whether the next write has to be a whole one: the copies may differ.
    anew: bool,
    dead: bool,
}

/// A copy as it was read.
struct Read {
    stored: BTreeMap<Origin, Stored>,
    generation: u64,
    number: u64,
    fault: Option<Fault>,
}

impl Ledger {
    /// Opens the ledger in the folder `states`, and writes it anew: what was read may have been in
    /// the kernel's cache only, and is about to be relied on.
    ///
    /// `known` are the logs of the configuration; each must have a record. Where there is no
    /// ledger at all and no log is known, there is an empty one afterwards.
    pub fn open(states: &Path, known: &[&Origin]) -> Result<(Ledger, Vec<Stored>), StateError> {
        Ledger::open_in(states, Box::new(Files::new(states)), known)
    }

    /// [`Ledger::open`] on any [`Copies`]. `states` is where errors say the ledger is.
    pub fn open_in(
        states: &Path,
        mut copies: Box<dyn Copies>,
        known: &[&Origin],
    ) -> Result<(Ledger, Vec<Stored>), StateError> {
        let read = |copies: &mut dyn Copies, copy| -> Result<Read, StateError> {
            let bytes =
                copies.read(copy).map_err(|error| StateError::Io { path: states.join(copy.to_string()), error })?;
            Ok(bytes.map_or_else(|| Read::nothing(Fault::Missing), |bytes| Read::of(&bytes)))
        };
        let (a, b) = (read(&mut *copies, Copy::A)?, read(&mut *copies, Copy::B)?);
        let none = a.fault == Some(Fault::Missing) && b.fault == Some(Fault::Missing);
        let (generation, number, healed) = (a.generation.max(b.generation), a.number.max(b.number), healed(&a, &b));
        let stored = if none { BTreeMap::new() } else { merge(a, b, states)? };
        for origin in known {
            if !stored.contains_key(*origin) {
                return Err(StateError::Missing { origin: (*origin).clone(), path: states.to_owned() });
            }
        }
        let records = stored.iter().map(|(origin, stored)| (origin.clone(), record(stored))).collect();
        let mut writer = Writer {
            copies,
            generation,
            number,
            chain: String::new(),
            length: 0,
            fresh: 0,
            records,
            anew: false,
            dead: false,
        };
        writer.write_anew().map_err(|error| StateError::Write { path: states.to_owned(), error })?;
        let (queue, done) = (Mutex::default(), Condvar::new());
        let ledger = Ledger { queue, done, writer: Mutex::new(writer), healed };
        Ok((ledger, stored.into_values().collect()))
    }

    /// What was wrong with one of the copies at the start, if anything was.
    #[must_use]
    pub fn healed(&self) -> Option<Healed> {
        self.healed
    }

    /// How large it is by now.
    #[must_use]
    pub fn extent(&self) -> Extent {
        // After a panic the numbers are of before it, which is good enough to look at.
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        Extent { bytes: writer.length as u64, records: writer.number, generation: writer.generation }
    }

    /// The record of a log that was never seen, if there is no record of it at all.
    #[must_use]
    pub fn if_missing(&self, origin: &Origin) -> Option<Stored> {
        self.stored(origin).is_none().then(|| Stored::never(origin.clone()))
    }

    /// The last record of a log. `None` also where the ledger can't be used any more.
    #[must_use]
    pub fn stored(&self, origin: &Origin) -> Option<Stored> {
        let writer = self.writer.lock().ok()?;
        writer.records.get(origin).and_then(|record| parse_record(record))
    }

    /// Stores `stored` in place of what there was of its log. When this returns `Ok` it is on
    /// stable storage. Blocks; whoever commits meanwhile shares the sync.
    ///
    /// The caller has made sure that nobody else commits for the same log meanwhile.
    pub fn commit(&self, stored: Stored) -> Result<(), CommitError> {
        self.commit_all([stored])
    }

    /// [`Ledger::commit`] of many logs, all or none.
    pub fn commit_all(&self, stored: impl IntoIterator<Item = Stored>) -> Result<(), CommitError> {
        let mut queue = lock(&self.queue);
        queue.waiting.extend(stored);
        let mine = queue.outcome.clone();
        // All who come while a batch is written wait, and then go together: were each to take its
        // turn at once, batches would stay small, and syncs many.
        while queue.writing && mine.get().is_none() {
            queue = self.done.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(outcome) = mine.get() {
            return *outcome;
        }
        queue.writing = true;
        let (waiting, outcome) = (std::mem::take(&mut queue.waiting), std::mem::take(&mut queue.outcome));
        drop(queue);
        let leader = Leader { ledger: self, outcome };
        // Whoever panicked in the middle of writing has left nobody knows what.
        let written = self.writer.lock().map_or(Err(CommitError::Unclear), |mut writer| writer.write(&waiting));
        // Nobody else sets it: whoever takes it out of the queue does, once.
        let _ = leader.outcome.set(written);
        written
    }
}

impl Writer {
    fn write(&mut self, batch: &[Stored]) -> Result<(), CommitError> {
        if self.dead {
            return Err(CommitError::Unclear);
        }
        let before: Vec<(Origin, Option<String>)> =
            batch.iter().map(|s| (s.origin.clone(), self.records.insert(s.origin.clone(), record(s)))).collect();
        let written = if self.anew || self.length > self.copies.longest(self.fresh) {
            self.write_anew().map_err(|error| match error {
                ReplaceError::Unchanged(_) => CommitError::Unchanged,
                ReplaceError::Unclear(_) => CommitError::Unclear,
            })
        } else {
            self.append(batch)
        };
        match written {
            Ok(()) => return Ok(()),
            Err(CommitError::Unclear) => self.dead = true,
            // The last first: one log may be in the batch twice.
            Err(CommitError::Unchanged) => {
                for (origin, record) in before.into_iter().rev() {
                    match record {
                        Some(record) => self.records.insert(origin, record),
                        None => self.records.remove(&origin),
                    };
                }
            }
        }
        written
    }

    /// Appends to both copies. What can't be appended is cut off again; should that fail too, the
    /// outcome is unclear.
    fn append(&mut self, batch: &[Stored]) -> Result<(), CommitError> {
        let (mut number, mut chain, mut bytes) = (self.number, self.chain.clone(), String::new());
        for stored in batch {
            push_record(&mut bytes, &mut number, &mut chain, &record(stored));
        }
        for copy in Copy::BOTH {
            if self.copies.append(copy, bytes.as_bytes()).is_err() {
                return Err(self.cut_back());
            }
            // A sync that failed is never tried again: the kernel may have thrown the bytes away
            // and call them clean.
            self.copies.sync(copy).map_err(|_| CommitError::Unclear)?;
        }
        self.length += bytes.len();
        (self.number, self.chain) = (number, chain);
        Ok(())
    }

    fn cut_back(&mut self) -> CommitError {
        for copy in Copy::BOTH {
            let cut = self.copies.truncate(copy, self.length as u64);
            if cut.and_then(|()| self.copies.sync(copy)).is_err() {
                return CommitError::Unclear;
            }
        }
        CommitError::Unchanged
    }

    /// Writes both copies anew, with the last record of each log.
    fn write_anew(&mut self) -> Result<(), ReplaceError> {
        let generation = self.generation + 1;
        let mut bytes = format!("{HEADER} {generation}\n");
        let (mut number, mut chain) = (self.number, first_chain(&bytes));
        for record in self.records.values() {
            push_record(&mut bytes, &mut number, &mut chain, record);
        }
        for copy in Copy::BOTH {
            // Once the first copy is another than the second one, appending to both is no option.
            self.anew = true;
            self.copies.replace(copy, bytes.as_bytes())?;
        }
        self.anew = false;
        (self.generation, self.number, self.chain) = (generation, number, chain);
        (self.length, self.fresh) = (bytes.len(), bytes.len());
        Ok(())
    }
}

/// What to tell about the copies, where one is whole and the other is not.
fn healed(a: &Read, b: &Read) -> Option<Healed> {
    match (a.fault, b.fault) {
        (Some(fault), None) => Some(Healed { copy: Copy::A, fault }),
        (None, Some(fault)) => Some(Healed { copy: Copy::B, fault }),
        _ => None,
    }
}

/// What two copies say together: of each log the largest head that either has. At least one of
/// them must be whole. The other may hold more, which was being written when the process died:
/// nobody was answered, and to have promised too much harms nobody.
fn merge(a: Read, b: Read, states: &Path) -> Result<BTreeMap<Origin, Stored>, StateError> {
    let readable = a.stored.len().max(b.stored.len());
    if let (Some(a), Some(b)) = (a.fault, b.fault) {
        return Err(StateError::Damaged { path: states.to_owned(), a, b, readable });
    }
    let mut merged = a.stored;
    for (origin, theirs) in b.stored {
        match merged.get(&origin) {
            Some(ours) if ours.head.size == theirs.head.size && ours.head.root != theirs.head.root => {
                return Err(StateError::Disagree { origin, size: theirs.head.size });
            }
            Some(ours) if ours.head.size > theirs.head.size || theirs.note.is_none() => {}
            _ => {
                merged.insert(origin, theirs);
            }
        }
    }
    Ok(merged)
}

impl Read {
    fn nothing(fault: Fault) -> Read {
        Read { stored: BTreeMap::new(), generation: 0, number: 0, fault: Some(fault) }
    }

    fn of(bytes: &[u8]) -> Read {
        let Some((first, mut rest)) = split_line(bytes) else { return Read::nothing(Fault::Header) };
        let generation = first.strip_prefix(HEADER).and_then(|g| text::decimal(g.strip_prefix(' ')?));
        let Some(generation) = generation else { return Read::nothing(Fault::Header) };
        let mut read = Read { stored: BTreeMap::new(), generation, number: 0, fault: None };
        let mut chain = first_chain(&format!("{first}\n"));
        while !rest.is_empty() {
            match next_record(rest, (read.number != 0).then_some(read.number), &chain) {
                Some((number, next_chain, stored, after)) => {
                    (read.number, chain, rest) = (number, next_chain, after);
                    read.stored.insert(stored.origin.clone(), stored);
                }
                None => {
                    read.fault = Some(Fault::Record(read.number + 1));
                    break;
                }
            }
        }
        read
    }
}

/// Splits off the first line, which must be text.
fn split_line(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    Some((std::str::from_utf8(bytes.get(..end)?).ok()?, bytes.get(end + 1..)?))
}

/// Reads one record: its number, the chain up to it, what it says, and what follows it.
fn next_record<'a>(bytes: &'a [u8], last: Option<u64>, chain: &str) -> Option<(u64, String, Stored, &'a [u8])> {
    let (line, rest) = split_line(bytes)?;
    let mut words = line.strip_prefix("head ")?.split(' ');
    let (number, length, found) = (text::decimal(words.next()?)?, text::decimal(words.next()?)?, words.next()?);
    let (record, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    let record = text::check(record).ok()?;
    let rest = rest.strip_prefix(b"\n")?;
    let in_order = last.is_none_or(|last| last + 1 == number) && words.next().is_none();
    let chain = next_chain(chain, number, record);
    (in_order && chain == found).then_some(())?;
    Some((number, chain, parse_record(record)?, rest))
}

fn push_record(bytes: &mut String, number: &mut u64, chain: &mut String, record: &str) {
    *number += 1;
    *chain = next_chain(chain, *number, record);
    bytes.push_str(&format!("head {number} {} {chain}\n{record}\n", record.len()));
}

fn first_chain(header: &str) -> String {
    LeafHash::of(header.as_bytes()).to_string()
}

/// Any hash would do, and tlog has this one.
fn next_chain(chain: &str, number: u64, record: &str) -> String {
    LeafHash::of(format!("{chain} {number}\n{record}").as_bytes()).to_string()
}

fn record(stored: &Stored) -> String {
    let note = stored.note.as_ref().map_or_else(String::new, Note::to_text);
    format!("origin {}\n\n{note}", stored.origin)
}

fn parse_record(record: &str) -> Option<Stored> {
    let mut lines = Lines::new(record);
    let origin = Origin::new(lines.next()?.strip_prefix("origin ")?).ok()?;
    if lines.next() != Some("") {
        return None;
    }
    if lines.rest().is_empty() {
        return Some(Stored::never(origin));
    }
    let note = Note::parse(lines.rest().as_bytes()).ok()?;
    let checkpoint = Checkpoint::parse_text(note.text()).ok()?;
    (checkpoint.origin == origin).then_some(Stored { origin, note: Some(note), head: checkpoint.head })
}

impl Stored {
    /// A log of which nothing was ever cosigned.
    #[must_use]
    pub fn never(origin: Origin) -> Stored {
        Stored { origin, note: None, head: TreeHead::EMPTY }
    }
}

/// Locks the queue. What waits in it is whole, whoever panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
