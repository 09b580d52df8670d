//! Watching: everything the log has about this person, each entry verified, and nothing left out.
//!
//! ```text
//! stream 0   0 1 2 … k   the person's instructions      sequence gapless, previous chained, each by this device
//! stream 1   0 1 2 … m   what the provider wrote        counter gapless, previous chained
//!                        attempts                       each under a challenge that this device answered
//! status     0 1 2 … n   the credential's status        counter gapless, a course it may take
//! ```
//!
//! The person learns from this what was done in their name, and so does not have to take the provider's word for it. What
//! does not fit is a [`Finding`], and the rest is looked at all the same. A provider that shows fewer entries than it did
//! before is found out because the device remembers how many there were.

use std::collections::BTreeSet;

use scal3::attempts::Attempt;
use scal3::cbor::Value;
use scal3::event::{Detail, Event, StreamPlace};
use scal3::index_key::{Stream, status_index_key};
use scal3::outcome::Outcome;
use scal3::verify::Submitted;
use scal3::{Change, Document, Hash, Kind, StatusChange, metadata};
use tlog::TreeHead;
use tlog::note::Note;

use crate::device::{DeviceKey, PinPrf};
use crate::folder::Memory;
use crate::head::HeadError;
use crate::receipt::Receipt;
use crate::receipts::{Other, Record, with_document};
use crate::state::Held;
use crate::subscriber::{Error, Lie, Subscriber};
use crate::wire::Hex;

/// How far behind a missing entry another one is looked for: one that is there shows that one was left out.
const BEYOND: u64 = 3;

/// Everything about one person, as far as a trusted head covers it.
#[derive(Debug, Clone)]
pub struct Watch {
    /// The head that it was read under.
    pub head: TreeHead,
    /// The entries, credential by credential and in the order of the log within each.
    pub entries: Vec<Own>,
    /// What does not fit. Empty: everything that was done in this person's name is in `entries`, and is in order.
    pub findings: Vec<Finding>,
}

/// One entry about this person. Its receipt holds.
#[derive(Debug, Clone)]
pub struct Own {
    /// The credential.
    pub credential: Hash,
    /// Its place in the log.
    pub index: u64,
    /// The time of its round, milliseconds since 1970.
    pub time_ms: u64,
    /// What it says.
    pub what: What,
    /// Its receipt.
    pub receipt: Receipt,
}

/// What an entry says.
#[derive(Debug, Clone)]
pub enum What {
    /// The person authorised an instruction.
    Record {
        /// Its number among the credential's instructions.
        sequence: u64,
        /// Its class.
        class: String,
        /// Its id.
        instruction_id: Hash,
        /// Its text, where this device has it.
        document: Option<Document>,
    },
    /// Something happened to the person's credential, such as an attempt.
    Event {
        /// Its number among the provider's entries.
        counter: u64,
        /// Such as `attempt.failed`.
        name: String,
        /// More about it.
        detail: Detail,
    },
    /// What the provider did about an instruction.
    Outcome {
        /// Its number among the provider's entries.
        counter: u64,
        /// `executed` or `blocked`.
        name: String,
        /// What it is about: the authorisation ([`scal3::record::authorisation_key`]), or the instruction's id where it was
        /// blocked before anybody authorised it.
        about: Option<Hash>,
        /// Why.
        reason: Option<String>,
        /// What came of it.
        detail: Option<Vec<u8>>,
    },
    /// The credential's status changed.
    Status {
        /// Its number among the changes.
        counter: u64,
        /// What changed.
        change: Change,
    },
}

/// Which list of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// The person's instructions.
    Records,
    /// What the provider writes.
    Events,
    /// The credential's status.
    Statuses,
}

/// Something that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The credential.
    pub credential: Hash,
    /// In which list.
    pub list: List,
    /// At which number of it.
    pub counter: u64,
    /// What.
    pub fault: Fault,
}

/// What does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The entry is not shown, and there is, or was, one after it.
    #[error("is not shown, and there is or was one after it")]
    Missing,
    /// Its receipt does not hold: the checks that failed, or what it says that is not so.
    #[error("has a receipt that does not hold: {0}")]
    Receipt(String),
    /// It is not the entry that this device kept the receipt of.
    #[error("is another entry than the one this device has a receipt of")]
    Changed,
    /// An instruction that this device did not make.
    #[error("is an instruction that this device did not make")]
    NotOurs,
    /// An attempt to authorise that this device did not make: somebody has its key, or the provider counts what was not.
    #[error("is an attempt that this device did not make")]
    NotOurAttempt,
    /// It has another number than its place.
    #[error("says that it is number {0}")]
    Number(u64),
    /// It does not follow the one before.
    #[error("does not follow the one before")]
    Chain,
    /// Its body is not in the form of its kind.
    #[error("can't be read")]
    Form,
    /// The status can't change so.
    #[error("is a change that the status before does not allow")]
    Course,
    /// Its head is not on the history that this device has seen.
    #[error("is on another history: {0}")]
    History(String),
}

impl<D: DeviceKey + PinPrf, M: Memory> Subscriber<D, M> {
    /// Reads everything that the log has about this person, and verifies it.
    ///
    /// # Errors
    /// [`Error`] when the log can't be read. What is read and does not fit is a finding.
    pub async fn watch(&mut self) -> Result<Watch, Error> {
        // What is unsettled would look like another's.
        self.reconcile().await?;
        let head = self.refresh().await?;
        let mut watch = Watch { head, entries: Vec::new(), findings: Vec::new() };
        let all: Vec<Held> = self.state.past.iter().chain(&self.state.held).chain(&self.state.next).cloned().collect();
        for held in &all {
            let from = watch.entries.len();
            let ours = self.watch_records(held, &mut watch).await?;
            let events = self.watch_events(held, ours, &mut watch).await?;
            let statuses = self.watch_statuses(held, &mut watch).await?;
            if let Some(own) = watch.entries.get_mut(from..) {
                own.sort_by_key(|own| own.index);
            }
            self.note_counts(&held.id.0, events, statuses);
        }
        self.save()?;
        watch.head = self.state.seen().ok_or(HeadError::NotYet { index: 0 })?;
        Ok(watch)
    }

    /// There are never fewer again.
    fn note_counts(&mut self, id: &Hash, events: u64, statuses: u64) {
        let state = &mut self.state;
        let all = state.past.iter_mut().chain(&mut state.held).chain(&mut state.next);
        for held in all.filter(|held| held.id.0 == *id) {
            held.events = held.events.max(events);
            held.statuses = held.statuses.max(statuses);
        }
    }

    /// The challenges that this device has answered.
    async fn watch_records(&mut self, held: &Held, watch: &mut Watch) -> Result<BTreeSet<Hash>, Error> {
        let answered = held.pending.iter().map(|pending| pending.challenge).chain(held.tried.iter().copied());
        let mut ours: BTreeSet<Hash> = answered.map(|Hex(challenge)| challenge).collect();
        let stream = held.dealt.stream(Stream::Own);
        let mut previous = Some(held.id.0);
        let mut walk = Walk::new(held, List::Records, held.sequence);
        while let Some(counter) = walk.next() {
            let index_key = stream.index_key(counter);
            let kept = self.kept(&held.id.0, counter)?;
            // What was kept was verified then, and still says what was answered if the log can't show it any more.
            ours.extend(kept.as_ref().and_then(challenge));
            let Some(receipt) = self.shown(held, &index_key).await? else {
                walk.missing(watch);
                previous = None;
                continue;
            };
            walk.found(watch);
            if kept.as_ref().is_some_and(|kept| kept.entry != receipt.entry) {
                walk.finds(watch, Fault::Changed);
            }
            let receipt = match kept.as_ref().and_then(|kept| kept.document.as_ref()) {
                Some(document) => with_document(receipt, document),
                None => receipt,
            };
            let record = match self.judge_record(held, &index_key, &receipt) {
                Ok(record) => record,
                Err(error) => {
                    walk.finds(watch, fault(error)?);
                    previous = None;
                    continue;
                }
            };
            if counter >= held.sequence && !held.pending.iter().any(|pending| pending.c.0 == record.c) {
                walk.finds(watch, Fault::NotOurs);
            } else {
                ours.insert(record.metadata.challenge);
            }
            if record.metadata.sequence != counter {
                walk.finds(watch, Fault::Number(record.metadata.sequence));
            }
            if previous.is_some_and(|previous| previous != record.metadata.previous) {
                walk.finds(watch, Fault::Chain);
            }
            previous = Some(metadata::previous(&held.id.0, counter, &record.c));
            self.watch_history(&record.note, &walk, watch).await?;
            watch.entries.push(own_record(held, record, receipt));
        }
        Ok(ours)
    }

    /// How many there are. `ours` are the challenges that this device has answered.
    async fn watch_events(&mut self, held: &Held, mut ours: BTreeSet<Hash>, watch: &mut Watch) -> Result<u64, Error> {
        let stream = held.dealt.stream(Stream::Provider);
        let mut previous = Some(held.id.0);
        let mut walk = Walk::new(held, List::Events, held.events);
        while let Some(counter) = walk.next() {
            let Some((other, receipt)) = self.other(held, &stream.index_key(counter), &mut walk, watch).await? else {
                previous = None;
                continue;
            };
            let commitment = other.entry.commitment;
            let (index, time_ms, kind) = (other.index, other.entry.time_ms, other.entry.kind);
            let Some((place, what)) = provider_entry(kind, counter, other.opening.body) else {
                walk.finds(watch, Fault::Form);
                previous = Some(commitment);
                continue;
            };
            if place.credential != held.id.0 || place.counter != counter {
                walk.finds(watch, Fault::Number(place.counter));
            }
            if previous.is_some_and(|previous| previous != place.previous) {
                walk.finds(watch, Fault::Chain);
            }
            previous = Some(commitment);
            // One finding for an attempt, whatever else is said of it.
            if attempt(&what).is_some_and(|challenge| challenge.is_none_or(|challenge| ours.insert(challenge))) {
                walk.finds(watch, Fault::NotOurAttempt);
            }
            watch.entries.push(Own { credential: held.id.0, index, time_ms, what, receipt });
        }
        Ok(walk.count)
    }

    /// How many there are.
    async fn watch_statuses(&mut self, held: &Held, watch: &mut Watch) -> Result<u64, Error> {
        // What comes after a change that can't be read is not judged.
        let mut course = Some(Course::default());
        let mut walk = Walk::new(held, List::Statuses, held.statuses);
        while let Some(counter) = walk.next() {
            let index_key = status_index_key(&held.id.0, counter);
            let Some((other, receipt)) = self.other(held, &index_key, &mut walk, watch).await? else {
                course = None;
                continue;
            };
            let (index, time_ms, kind) = (other.index, other.entry.time_ms, other.entry.kind);
            let status = StatusChange::from_body(other.opening.body).ok();
            let Some(status) = status.filter(|status| kind == Kind::Status && status.credential == held.id.0) else {
                walk.finds(watch, Fault::Form);
                course = None;
                continue;
            };
            if matches!(status.change, Change::Recovered(_)) {
                self.keep_recovery(&held.id.0, &receipt)?;
            }
            if course.as_mut().is_some_and(|course| !course.goes_on(&status.change, counter)) {
                walk.finds(watch, Fault::Course);
            }
            let what = What::Status { counter, change: status.change };
            watch.entries.push(Own { credential: held.id.0, index, time_ms, what, receipt });
        }
        Ok(walk.count)
    }

    /// The next entry of a list that is not the person's own, verified, or what is wrong with it as a finding.
    async fn other(
        &mut self,
        held: &Held,
        index_key: &Hash,
        walk: &mut Walk,
        watch: &mut Watch,
    ) -> Result<Option<(Other, Receipt)>, Error> {
        let Some(receipt) = self.shown(held, index_key).await? else {
            walk.missing(watch);
            return Ok(None);
        };
        walk.found(watch);
        match self.judge_other(index_key, &receipt) {
            Ok(other) => {
                self.watch_history(&other.note, walk, watch).await?;
                Ok(Some((other, receipt)))
            }
            Err(error) => {
                walk.finds(watch, fault(error)?);
                Ok(None)
            }
        }
    }

    /// A receipt, unless its head still lacks witnesses: then it is not shown yet.
    async fn shown(&self, held: &Held, index_key: &Hash) -> Result<Option<Receipt>, Error> {
        Ok(self.fetch(&held.dealt, index_key).await?.filter(|receipt| !self.lacks_witnesses(receipt)))
    }

    async fn watch_history(&mut self, note: &Note, walk: &Walk, watch: &mut Watch) -> Result<(), Error> {
        match self.on_history(note).await {
            Ok(_) => {}
            Err(Error::Head(error)) => walk.finds(watch, Fault::History(error.to_string())),
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// A walk along a list by its numbers, up to the first that is not there and a little further.
struct Walk {
    credential: Hash,
    list: List,
    /// How many the device knows there are.
    known: u64,
    at: u64,
    started: bool,
    /// Those not shown, since the last that was.
    gap: Vec<u64>,
    /// How many there are.
    count: u64,
}

impl Walk {
    fn new(held: &Held, list: List, known: u64) -> Walk {
        Walk { credential: held.id.0, list, known, at: 0, started: false, gap: Vec::new(), count: 0 }
    }

    fn next(&mut self) -> Option<u64> {
        if self.started {
            self.at += 1;
        }
        self.started = true;
        let beyond = self.gap.len() as u64 > BEYOND;
        if self.at >= self.known && beyond { None } else { Some(self.at) }
    }

    /// The entry is there, so those before it should have been.
    fn found(&mut self, watch: &mut Watch) {
        self.count = self.at + 1;
        for counter in self.gap.drain(..) {
            watch.findings.push(Finding {
                credential: self.credential,
                list: self.list,
                counter,
                fault: Fault::Missing,
            });
        }
    }

    /// It is not shown.
    fn missing(&mut self, watch: &mut Watch) {
        if self.at < self.known {
            self.finds(watch, Fault::Missing);
        } else {
            self.gap.push(self.at);
        }
    }

    fn finds(&self, watch: &mut Watch, fault: Fault) {
        watch.findings.push(Finding { credential: self.credential, list: self.list, counter: self.at, fault });
    }
}

fn own_record(held: &Held, record: Record, receipt: Receipt) -> Own {
    let what = What::Record {
        sequence: record.metadata.sequence,
        class: record.metadata.class,
        instruction_id: record.instruction_id,
        document: record.document,
    };
    Own { credential: held.id.0, index: record.index, time_ms: record.time_ms, what, receipt }
}

/// What the provider wrote into stream 1, and at which place.
fn provider_entry(kind: Kind, counter: u64, body: Value) -> Option<(StreamPlace, What)> {
    match kind {
        Kind::Event => {
            let Event { name, stream, detail } = Event::from_body(body).ok()?;
            Some((stream?, What::Event { counter, name, detail }))
        }
        Kind::Outcome => {
            let Outcome { name, stream, about, reason, detail } = Outcome::from_body(body).ok()?;
            Some((stream, What::Outcome { counter, name, about, reason, detail }))
        }
        _ => None,
    }
}

/// The challenge that a record answered.
fn challenge(receipt: &Receipt) -> Option<Hash> {
    let submitted = Submitted::parse(receipt.opening.as_ref()?.as_ref()).ok()?;
    Some(submitted.metadata().challenge)
}

/// The challenge of an attempt, where an entry is about one; `Some(None)` when it does not say which.
fn attempt(what: &What) -> Option<Option<Hash>> {
    let What::Event { name, detail, .. } = what else { return None };
    let event = Event { name: name.clone(), stream: None, detail: detail.clone() };
    name.starts_with("attempt.").then(|| Attempt::of(&event).map(|(_, challenge)| challenge))
}

/// What is wrong with a receipt. Anything else is no finding but an error.
fn fault(error: Error) -> Result<Fault, Error> {
    match error {
        Error::Receipt(checks) => Ok(Fault::Receipt(checks.join(", "))),
        Error::Lie(Lie::NotOurs) => Ok(Fault::NotOurs),
        Error::Lie(lie) => Ok(Fault::Receipt(lie.to_string())),
        other => Err(other),
    }
}

/// The course that a credential's status has taken.
#[derive(Default)]
struct Course {
    activated: bool,
    suspended: bool,
    revoked: bool,
}

impl Course {
    /// Whether it may go on so.
    fn goes_on(&mut self, change: &Change, counter: u64) -> bool {
        let may = match change {
            Change::Issued(_) => counter == 0,
            Change::Activated(_) => !self.activated,
            Change::Suspended(_) => !self.suspended,
            Change::Resumed(_) => self.suspended,
            Change::AuthenticatorAdded(_) => self.activated && !self.suspended,
            Change::Revoked(_) | Change::Recovered(_) | Change::AuthenticatorRevoked(..) => true,
        } && !self.revoked;
        match change {
            Change::Activated(_) => self.activated = true,
            Change::Suspended(_) => self.suspended = true,
            Change::Resumed(_) => self.suspended = false,
            Change::Revoked(_) => self.revoked = true,
            Change::Issued(_)
            | Change::Recovered(_)
            | Change::AuthenticatorAdded(_)
            | Change::AuthenticatorRevoked(..) => {}
        }
        may
    }
}
