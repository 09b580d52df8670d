//! A round: what one turn of the sequencer appends. Decided here, and only here, without a disk, a clock or chance.
//!
//! ```text
//! state (view + overlay) ─┐
//! tip (frontier, time)   ─┼─► plan ─► Round { entries, openings to seal, changes, the new frontier, one outcome each }
//! waiting, in order      ─┤
//! now                    ─┘
//! ```
//!
//! Submissions were verified outside, against an older state and on many cores at once. So everything that depends on
//! the place in the log is judged again here, one after the other, each against what the ones before it have changed:
//! two submissions that race for one index key, one sequence number or one authorisation meet here, and one wins (I-6).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use scal3::cbor::Value;
use scal3::credential::Credential;
use scal3::entry::{Entry, Kind};
use scal3::erasure::Erasure;
use scal3::event::Event;
use scal3::index_key::{StreamKey, status_index_key};
use scal3::key_change::KeyChange;
use scal3::opening::{AnyOpening, OtherOpening, commitment};
use scal3::outcome::{EXECUTED, Outcome};
use scal3::policies::Policies;
use scal3::record::Record;
use scal3::seen::SeenOnHistory;
use scal3::state::{CredentialState, Status};
use scal3::status::{Change as StatusDetail, StatusChange};
use scal3::verify::{Place, Rules};
use tlog::frontier::Frontier;
use tlog::tree::LeafIndex;
use tlog::{Hash, LeafHash};

use crate::ledger::{Change, Key, Lookup, Standing, write_index};
use crate::store::view::ViewError;
use crate::submission::{About, AppendError, Collision, CredentialRefusal, ErasureRefusal, Verified};

pub(crate) mod about;

mod authenticators;
mod key_change;
mod policy;

use self::authenticators::Enrolled;

/// A clock this far behind the last round is not a leap second or a slewing daemon: appends stop until it is put right.
pub const CLOCK_TOLERANCE_MS: u64 = 10_000;

/// One submission, ready to be judged.
pub struct Candidate {
    /// What is asked.
    pub ask: Ask,
    /// The randomness it may use, drawn beforehand.
    pub draw: Draw,
}

/// A submission with everything proven that needs no place in the log.
pub enum Ask {
    /// A record, its signatures verified and the head its device had seen found on this history.
    Record {
        /// The record.
        record: Box<Verified>,
        /// The proof of having looked; with none the record is refused at its place.
        seen: Option<SeenOnHistory>,
    },
    /// A credential signed by an issuing key of this log, and what is kept of its enrolment, if that was here.
    Credential {
        /// The credential.
        credential: Box<Credential>,
        /// What is kept, sealed, and the key of the stream that it begins.
        kept: Option<(Vec<u8>, StreamKey)>,
        /// Whether it may be issued although nobody has spoken for it.
        unvouched: bool,
    },
    /// A change of a credential's status.
    Status {
        /// Whose.
        credential: Hash,
        /// What changes.
        change: StatusDetail,
    },
    /// What the provider writes about a subscriber.
    About(About),
    /// A key takes another one's place.
    KeyChange(Box<KeyChange>),
    /// Another policy comes into force: its document.
    Policy(Vec<u8>),
    /// An event; the body is deterministic CBOR.
    Event {
        /// The body of its opening.
        body: Value,
        /// What the body says, where it names a place in a provider's stream.
        placed: Option<Event>,
        /// The subscriber's index key.
        index_key: Option<Hash>,
    },
    /// An erasure, with what was read at its target.
    Erasure {
        /// The entry to erase.
        index: LeafIndex,
        /// Why.
        reason: String,
        /// What stands there.
        target: Target,
    },
}

/// What stands at the index that is to be erased. Entries never change, so this can be read outside the sequencer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The kind of the entry.
    pub kind: Kind,
    /// The credential its opening is about, where it could be opened and names one.
    pub credential: Option<Hash>,
    /// Whether it is the outcome of something that was executed.
    pub executed: bool,
}

impl Target {
    /// What an entry and its opening say.
    pub fn of(kind: Kind, opening: Option<&[u8]>) -> Target {
        let executed = || {
            let outcome = Outcome::from_body(OtherOpening::parse(opening?).ok()?.body).ok()?;
            Some(outcome.name == EXECUTED)
        };
        let executed = kind == Kind::Outcome && executed() == Some(true);
        Target { kind, credential: opening.and_then(credential_of), executed }
    }
}

/// The credential that an opening is about: a record's, the one whose status changes, or the one whose stream it is in.
pub fn credential_of(opening: &[u8]) -> Option<Hash> {
    match AnyOpening::parse(opening).ok()? {
        AnyOpening::Instruction(opening) => {
            Some(Record::parse(opening.profile, &opening.record).ok()?.metadata().credential)
        }
        AnyOpening::Other(opening) if opening.kind == Kind::Status => {
            StatusChange::from_body(opening.body).ok().map(|change| change.credential)
        }
        AnyOpening::Other(opening) if opening.kind == Kind::Outcome => {
            Outcome::from_body(opening.body).ok().map(|outcome| outcome.stream.credential)
        }
        AnyOpening::Other(opening) if opening.kind == Kind::Event => {
            Event::from_body(opening.body).ok()?.stream.map(|place| place.credential)
        }
        AnyOpening::Other(_) => None,
    }
}

/// The randomness of one submission. Most use half of it; a first record also writes a status entry.
#[derive(Clone)]
pub struct Draw {
    /// The key its opening is sealed under.
    pub seal: [u8; 32],
    /// The salt of its opening, where it is not a record.
    pub salt: [u8; 32],
    /// The sealing key of the status entry that may follow.
    pub status_seal: [u8; 32],
    /// The salt of that status entry.
    pub status_salt: [u8; 32],
}

/// Where the log ends, after the last committed round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tip {
    /// The number of the next round; genesis is round 0.
    pub next: u64,
    /// The tree.
    pub frontier: Frontier,
    /// The time of the last round.
    pub time_ms: u64,
}

/// What one turn appends.
pub struct Round {
    /// Its number: one more than the last.
    pub number: u64,
    /// The index of its first entry.
    pub first: u64,
    /// Its time, which every entry in it carries.
    pub time_ms: u64,
    /// The entries, in order.
    pub entries: Vec<Planned>,
    /// What it changes in the state.
    pub changes: Vec<Change>,
    /// The credentials of which it changes something, as they stand after it.
    pub states: Vec<CredentialState>,
    /// The openings it erases.
    pub erased: Vec<LeafIndex>,
    /// The tree after it.
    pub frontier: Frontier,
    /// What becomes of each submission, in the order they waited.
    pub outcomes: Vec<Result<Placed, AppendError>>,
}

/// One entry of a round.
pub struct Planned {
    /// The entry, as every reader will see it.
    pub bytes: Vec<u8>,
    /// Its leaf hash.
    pub leaf: LeafHash,
    /// What only its readers will see, and the key to seal it under. Public kinds have none.
    pub opening: Option<(Vec<u8>, [u8; 32])>,
}

/// Where a submission stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its index.
    pub index: LeafIndex,
    /// The entry, where this round made it.
    pub entry: Option<Vec<u8>>,
    /// The time of the round that made it; 0 where that is not this one.
    pub time_ms: u64,
    /// Whether the log had it already.
    pub existing: bool,
}

/// Why there can be no round now.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The clock went back further than [`CLOCK_TOLERANCE_MS`].
    #[error("the clock is {behind_ms} ms behind the last round")]
    ClockBehind {
        /// By how much.
        behind_ms: u64,
    },
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] ViewError),
    /// The tree has 2^63 - 1 leaves.
    #[error("the tree is as large as a tree can be")]
    TreeFull,
}

/// Plans one round.
pub fn plan(
    state: &dyn Lookup,
    standing: &Standing,
    tip: &Tip,
    waiting: Vec<Candidate>,
    now_ms: u64,
) -> Result<Round, PlanError> {
    if now_ms.saturating_add(CLOCK_TOLERANCE_MS) < tip.time_ms {
        return Err(PlanError::ClockBehind { behind_ms: tip.time_ms - now_ms });
    }
    let mut draft = Draft {
        frozen: standing.keys(state)?.frozen(),
        policies: standing.policies(state)?,
        state,
        standing,
        first: tip.frontier.size().get(),
        time_ms: now_ms.max(tip.time_ms),
        changed: BTreeMap::new(),
        states: BTreeMap::new(),
        entries: Vec::with_capacity(waiting.len()),
        erased: Vec::new(),
    };
    let mut outcomes = Vec::with_capacity(waiting.len());
    for candidate in waiting {
        outcomes.push(match draft.judge(candidate) {
            Ok(placed) => Ok(placed),
            Err(No::Refused(refused)) => Err(refused),
            Err(No::Stop(stop)) => return Err(stop),
        });
    }
    let mut frontier = tip.frontier.clone();
    for planned in &draft.entries {
        frontier.push(planned.leaf).map_err(|_| PlanError::TreeFull)?;
    }
    let states = draft.settle();
    Ok(Round {
        number: tip.next,
        first: draft.first,
        time_ms: draft.time_ms,
        entries: draft.entries,
        changes: draft.changed.into_iter().map(|(key, value)| Change::new(&key, value)).collect(),
        states,
        erased: draft.erased,
        frontier,
        outcomes,
    })
}

/// A round in the making: the state as the entries so far have changed it.
struct Draft<'a> {
    /// The entry behind which none may come.
    frozen: Option<u64>,
    /// The policy in force, and those that were spoken for.
    policies: Arc<Policies>,
    state: &'a dyn Lookup,
    standing: &'a Standing,
    first: u64,
    time_ms: u64,
    changed: BTreeMap<Key, Vec<u8>>,
    /// The credentials that are changed, each with whether it has a residue. They become bytes once, at the end.
    states: BTreeMap<Hash, (CredentialState, bool)>,
    entries: Vec<Planned>,
    erased: Vec<LeafIndex>,
}

/// One submission is refused, or the whole round cannot be.
enum No {
    Refused(AppendError),
    Stop(PlanError),
}

impl<E: Into<AppendError>> From<E> for No {
    fn from(refused: E) -> No {
        No::Refused(refused.into())
    }
}

/// A failed lookup ends the round, never one submission: what can't be read may be what forbids it.
trait OrStop<T> {
    fn or_stop(self) -> Result<T, No>;
}

impl<T> OrStop<T> for Result<T, ViewError> {
    fn or_stop(self) -> Result<T, No> {
        self.map_err(|e| No::Stop(PlanError::State(e)))
    }
}

impl Lookup for Draft<'_> {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, ViewError> {
        match self.changed.get(key) {
            Some(value) => Ok(Some(value.clone())),
            None => self.state.get(key),
        }
    }

    fn credential(&self, id: &Hash) -> Result<Option<CredentialState>, ViewError> {
        match self.states.get(id) {
            Some((state, _)) => Ok(Some(state.clone())),
            None => self.state.credential(id),
        }
    }

    fn has_residue(&self, id: &Hash) -> Result<bool, ViewError> {
        match self.states.get(id) {
            Some((_, residue)) => Ok(*residue),
            None => self.state.has_residue(id),
        }
    }
}

impl Draft<'_> {
    fn judge(&mut self, candidate: Candidate) -> Result<Placed, No> {
        let Candidate { ask, draw } = candidate;
        if let Some(at) = self.frozen {
            return self.frozen(ask, at);
        }
        match ask {
            Ask::Record { record, seen } => self.record(*record, seen.as_ref(), &draw),
            Ask::Credential { credential, kept, unvouched } => self.issue(*credential, kept, unvouched, &draw),
            Ask::Status { credential, change } => {
                let state = self.credential(&credential).or_stop()?;
                let state = state.ok_or(AppendError::UnknownCredential(credential))?;
                self.change_status(state, change, draw.salt, draw.seal)
            }
            Ask::About(about) => self.about(about, &draw),
            Ask::KeyChange(change) => self.change_keys(&change),
            Ask::Policy(document) => self.change_policy(&document),
            Ask::Event { body, placed, index_key } => self.event(body, placed.as_ref(), index_key, &draw),
            Ask::Erasure { index, reason, target } => self.erase(index, &reason, target, &draw),
        }
    }

    /// What is in a frozen log is answered as before, and nothing comes to it.
    fn frozen(&self, ask: Ask, at: u64) -> Result<Placed, No> {
        let there = match ask {
            Ask::Record { record, .. } => {
                self.index_at(&Key::Authorisation(record.signed().authorisation_key())).or_stop()?
            }
            Ask::KeyChange(change) if change.freezes() => LeafIndex::new(at).ok(),
            _ => None,
        };
        there.map(|index| self.existing(index)).ok_or_else(|| AppendError::Frozen { at }.into())
    }

    /// A record: the same authorisation again is answered, a used index key or sequence is not; then the metadata rules.
    fn record(&mut self, record: Verified, seen: Option<&SeenOnHistory>, draw: &Draw) -> Result<Placed, No> {
        let (signed, opening) = record.into_parts();
        let metadata = signed.metadata();
        let id = metadata.credential;
        let authorisation = Key::Authorisation(signed.authorisation_key());
        let mut state = self.credential(&id).or_stop()?.ok_or(AppendError::UnknownCredential(id))?;
        let used = metadata.sequence < state.next_sequence();
        // Its name is made of what was signed, the sequence too: with one that nobody has used it can't be in the log.
        if used && let Some(index) = self.index_at(&authorisation).or_stop()? {
            return Ok(self.existing(index));
        }
        self.index_key_is_free(&metadata.index_key)?;
        if used {
            return Err(AppendError::Conflict(Collision::Sequence { next: state.next_sequence() }).into());
        }
        let entry = Entry::committed(Kind::Instruction, self.time_ms, *signed.commitment(), Some(metadata.index_key));
        let index = self.next()?;
        let place = Place { index: index.get(), time_ms: self.time_ms, index_key: metadata.index_key };
        let own = self.authenticators_for(&signed, &state.credential().claims().subject)?;
        let policies = Arc::clone(&self.policies);
        let rules = Rules { policy: policies.in_force(), authenticators: &[&own] };
        let authorized = signed.authorize_under(&place, &state, &rules, seen)?;
        // An authorisation was made against this very state, so the state takes it.
        state
            .record(&authorized)
            .map_err(|_| No::Stop(PlanError::State(ViewError::Damaged("a credential's state"))))?;

        // Whatever can still refuse comes before the first entry: a record is in the log with its activation, or not at all.
        let activates = metadata.sequence == 0;
        if activates {
            self.index_key_is_free(&state.next_status_key())?;
        }
        let placed = self.push(&entry, Some((opening, draw.seal)))?;
        self.set(authorisation, write_index(index));
        self.set_credential(&state)?;
        self.take_record(&authorized, &state)?;
        self.take_policy(&authorized);
        if activates {
            // The first record proves both factors. The log itself says so, in the same round: no reader ever sees a
            // credential that has acted and is not active.
            self.change_status(state, StatusDetail::Activated(index.get()), draw.status_salt, draw.status_seal)?;
        }
        Ok(placed)
    }

    /// A credential: issued once, and only by a provider of this log.
    fn issue(
        &mut self,
        credential: Credential,
        kept: Option<(Vec<u8>, StreamKey)>,
        unvouched: bool,
        draw: &Draw,
    ) -> Result<Placed, No> {
        let id = credential.id();
        if let Some(state) = self.credential(&id).or_stop()? {
            let index = LeafIndex::new(state.issued_at()).map_err(|_| No::Stop(PlanError::TreeFull))?;
            if state.credential().as_bytes() == credential.as_bytes() {
                return Ok(self.existing(index));
            }
            return Err(AppendError::AlreadyIssued(index).into());
        }
        // It was opened outside; since then its key may have been replaced.
        let provider = credential.claims().provider;
        if self.standing.keys(self).or_stop()?.of_provider(&provider).is_none() {
            return Err(AppendError::from(CredentialRefusal::Provider { found: provider }).into());
        }
        let not_after_ms = credential.claims().not_after_ms;
        if not_after_ms < self.time_ms {
            return Err(AppendError::from(CredentialRefusal::Expired { not_after_ms, time_ms: self.time_ms }).into());
        }
        let mut predecessor = match credential.claims().predecessor {
            Some(before) => self.credential(&before).or_stop()?,
            None => None,
        };
        let change = StatusChange { credential: id, change: StatusDetail::Issued(credential.as_bytes().to_vec()) };
        let index_key = status_index_key(&id, 0);
        self.index_key_is_free(&index_key)?;
        self.check_device(&credential)?;
        // Streams derive from the enrolment: a second credential would write into those of the first.
        let enrolment = Key::Enrolment(credential.claims().enrolment_id);
        if let Some(index) = self.index_at(&enrolment).or_stop()? {
            return Err(AppendError::AlreadyIssued(index).into());
        }
        let before = credential.claims().predecessor;
        let inherits = before.map(|id| self.has_residue(&id)).transpose().or_stop()?.unwrap_or(false);
        let subject = Key::Subject(credential.claims().subject);
        let before = self.get(&subject).or_stop()?;
        let known = before.is_some();
        let index = self.next()?;
        let state = CredentialState::issue(credential, index.get(), self.time_ms, predecessor.as_mut(), known)
            .map_err(|e| AppendError::from(CredentialRefusal::Issue(e)))?;
        if !unvouched && !state.is_vouched() {
            return Err(AppendError::from(CredentialRefusal::NotSpokenFor).into());
        }
        let placed = self.push_status(&change, index_key, draw.salt, draw.seal)?;
        self.set(subject, [before.unwrap_or_default(), id.0.to_vec()].concat());
        self.set(enrolment, write_index(index));
        self.set(Key::Issued(id), state.credential().as_bytes().to_vec());
        self.set_device(state.credential());
        self.set_credential(&state)?;
        // Where somebody may have spoken in what is erased, now or later, the log alone does not tell whether anybody did.
        if inherits || !state.is_vouched() {
            self.leave_residue(&state);
        }
        if let Some(predecessor) = predecessor {
            self.set_credential(&predecessor)?;
        }
        if let Some((kept, stream)) = kept {
            self.keep(state, kept, &stream, draw)?;
        }
        Ok(placed)
    }

    /// The next status entry of a credential that the log has.
    fn change_status(
        &mut self,
        mut state: CredentialState,
        change: StatusDetail,
        salt: [u8; 32],
        seal: [u8; 32],
    ) -> Result<Placed, No> {
        let id = state.credential().id();
        let index_key = state.next_status_key();
        self.index_key_is_free(&index_key)?;
        let enrolled = match self.enrolled(&state, &change)? {
            Some(Enrolled::Before(at)) => {
                return Ok(self.existing(LeafIndex::new(at).map_err(|_| No::Stop(PlanError::TreeFull))?));
            }
            Some(Enrolled::Changed(own, key)) => Some((own, key)),
            None => None,
        };
        state.change(&change).map_err(|e| AppendError::from(CredentialRefusal::Transition(e)))?;
        let placed = self.push_status(&StatusChange { credential: id, change }, index_key, salt, seal)?;
        self.set_credential(&state)?;
        if let Some((own, key)) = enrolled {
            self.set_enrolled(&own, key, &state, placed.index)?;
        }
        Ok(placed)
    }

    fn push_status(
        &mut self,
        change: &StatusChange,
        index_key: Hash,
        salt: [u8; 32],
        seal: [u8; 32],
    ) -> Result<Placed, No> {
        let opening = change.opening(salt).to_bytes();
        let entry = Entry::committed(Kind::Status, self.time_ms, commitment(&opening), Some(index_key));
        self.push(&entry, Some((opening, seal)))
    }

    /// An erasure. What is erased was read outside; whether it may be is decided here.
    fn erase(&mut self, index: LeafIndex, reason: &str, target: Target, draw: &Draw) -> Result<Placed, No> {
        if let Some(by) = self.index_at(&Key::Erased(index)).or_stop()? {
            return Err(AppendError::Erasure(ErasureRefusal::AlreadyErased { by }).into());
        }
        if target.kind.is_public() {
            return Err(AppendError::Erasure(ErasureRefusal::Public).into());
        }
        if target.executed {
            return Err(AppendError::Erasure(ErasureRefusal::Executed).into());
        }
        if target.kind == Kind::Erasure {
            return Err(AppendError::Erasure(ErasureRefusal::Erasure).into());
        }
        if let Some(id) = target.credential
            && let Some(state) = self.credential(&id).or_stop()?
        {
            if target.kind == Kind::Status && state.status() != Status::Revoked {
                return Err(AppendError::Erasure(ErasureRefusal::CredentialCanAct).into());
            }
            self.leave_residues(&state)?;
            self.leave_authenticators(&state.credential().claims().subject)?;
        }
        let opening = Erasure { index: index.get(), reason: reason.to_owned() }.opening(draw.salt);
        let opening = opening.to_bytes();
        let entry = Entry::committed(Kind::Erasure, self.time_ms, commitment(&opening), None);
        let placed = self.push(&entry, Some((opening, draw.seal)))?;
        self.set(Key::Erased(index), write_index(placed.index));
        self.erased.push(index);
        Ok(placed)
    }

    /// Puts an entry at the end, and its index key into the state.
    fn push(&mut self, entry: &Entry, opening: Option<(Vec<u8>, [u8; 32])>) -> Result<Placed, No> {
        let index = self.next()?;
        let bytes = entry.to_bytes();
        self.entries.push(Planned { leaf: LeafHash::of(&bytes), bytes: bytes.clone(), opening });
        if let Some(index_key) = entry.index_key {
            self.set(Key::IndexKey(index_key), write_index(index));
        }
        Ok(Placed { index, entry: Some(bytes), time_ms: self.time_ms, existing: false })
    }

    fn next(&self) -> Result<LeafIndex, No> {
        LeafIndex::new(self.first + self.entries.len() as u64).map_err(|_| No::Stop(PlanError::TreeFull))
    }

    fn set(&mut self, key: Key, value: Vec<u8>) {
        self.changed.insert(key, value);
    }

    /// Keeps a credential's state, and those of its successors, for a view that is made again: what is erased may be the
    /// record that spoke for one, and what nobody can be seen to have spoken for is in doubt to whoever reads the log.
    fn leave_residues(&mut self, state: &CredentialState) -> Result<(), No> {
        self.leave_residue(state);
        let mut line = BTreeSet::from([state.credential().id()]);
        // In the order in which they were issued: a successor comes after what it succeeds.
        for id in self.credentials_of(&state.credential().claims().subject).or_stop()? {
            let Some(state) = self.credential(&id).or_stop()? else { continue };
            if state.credential().claims().predecessor.is_some_and(|before| line.contains(&before)) {
                self.leave_residue(&state);
                line.insert(id);
            }
        }
        Ok(())
    }

    fn leave_residue(&mut self, state: &CredentialState) {
        self.states.insert(state.credential().id(), (state.clone(), true));
    }

    /// A credential's state; and what is left of it, where a record of it was erased.
    fn set_credential(&mut self, state: &CredentialState) -> Result<(), No> {
        let id = state.credential().id();
        let residue = self.has_residue(&id).or_stop()?;
        self.states.insert(id, (state.clone(), residue));
        Ok(())
    }

    /// Writes the states of credentials into the changes, and gives them.
    fn settle(&mut self) -> Vec<CredentialState> {
        let states = std::mem::take(&mut self.states);
        for (id, (state, residue)) in &states {
            if *residue {
                self.changed.insert(Key::Residue(*id), state.to_bytes());
            }
            // Under its own key as well: a view that is made again from entries gets a residue from the journal's tail,
            // where the opening that made it is gone.
            self.changed.insert(Key::Credential(*id), state.changing_to_bytes());
        }
        states.into_values().map(|(state, _)| state).collect()
    }

    fn index_key_is_free(&self, index_key: &Hash) -> Result<(), No> {
        match self.index_of(index_key).or_stop()? {
            None => Ok(()),
            Some(index) => Err(AppendError::Conflict(Collision::IndexKey { index }).into()),
        }
    }

    /// The log has it: an entry of this round is at hand, an older one is read where the answer is made.
    fn existing(&self, index: LeafIndex) -> Placed {
        let here = index.get().checked_sub(self.first).and_then(|i| self.entries.get(usize::try_from(i).ok()?));
        Placed {
            index,
            entry: here.map(|planned| planned.bytes.clone()),
            time_ms: here.map_or(0, |_| self.time_ms),
            existing: true,
        }
    }
}

#[cfg(test)]
mod differential;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// A state in memory.
    #[derive(Default)]
    pub(super) struct Known(HashMap<Vec<u8>, Vec<u8>>);

    impl Lookup for Known {
        fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, ViewError> {
            Ok(self.0.get(&key.to_bytes()).cloned())
        }
    }

    impl Known {
        pub(super) fn apply(&mut self, round: &Round) {
            self.0.extend(round.changes.iter().map(|c| (c.key.clone(), c.value.clone())));
        }
    }

    /// A state that can't be read.
    struct Broken;

    impl Lookup for Broken {
        fn get(&self, _: &Key) -> Result<Option<Vec<u8>>, ViewError> {
            Err(ViewError::Closed)
        }
    }

    fn standing() -> Standing {
        let genesis = scal3::Genesis { origin: "log.example".into(), issuing_keys: Vec::new(), policy: Vec::new() };
        Standing::new(genesis).unwrap()
    }

    pub(super) fn tip() -> Tip {
        let mut frontier = Frontier::new();
        frontier.push(LeafHash::of(b"genesis")).unwrap();
        Tip { next: 1, frontier, time_ms: 1000 }
    }

    pub(super) fn draw(seed: u8) -> Draw {
        Draw { seal: [seed; 32], salt: [seed; 32], status_seal: [seed; 32], status_salt: [seed; 32] }
    }

    fn event(seed: u8, index_key: Option<[u8; 32]>) -> Candidate {
        let ask = Ask::Event { body: Value::Integer(seed.into()), placed: None, index_key: index_key.map(Hash) };
        Candidate { ask, draw: draw(seed) }
    }

    fn erasure(index: u64, kind: Kind) -> Candidate {
        let target = Target { kind, credential: None, executed: false };
        let index = LeafIndex::new(index).unwrap();
        Candidate { ask: Ask::Erasure { index, reason: "asked for".into(), target }, draw: draw(9) }
    }

    fn at(index: u64) -> LeafIndex {
        LeafIndex::new(index).unwrap()
    }

    #[test]
    fn a_round_continues_the_log_and_says_where_each_submission_stands() {
        let waiting = vec![event(1, None), event(2, Some([2; 32]))];
        let round = plan(&Known::default(), &standing(), &tip(), waiting, 1500).unwrap();
        assert_eq!((round.number, round.first, round.time_ms, round.frontier.size().get()), (1, 1, 1500, 3));
        let mut tree = tip().frontier;
        for (planned, outcome) in round.entries.iter().zip(&round.outcomes) {
            let placed = outcome.as_ref().unwrap();
            assert_eq!((placed.entry.as_ref(), placed.existing), (Some(&planned.bytes), false));
            let entry = Entry::parse(&planned.bytes).unwrap();
            let (opening, _) = planned.opening.as_ref().unwrap();
            assert_eq!((entry.time_ms, entry.commitment), (1500, commitment(opening)));
            tree.push(planned.leaf).unwrap();
        }
        assert_eq!(tree.head(), round.frontier.head());
        assert_eq!(round.changes, [Change::new(&Key::IndexKey(Hash([2; 32])), write_index(at(2)))]);
    }

    #[test]
    fn what_an_earlier_submission_took_is_gone_for_a_later_one_of_the_same_round() {
        let waiting = vec![event(1, Some([7; 32])), event(2, Some([7; 32])), event(3, Some([8; 32]))];
        let round = plan(&Known::default(), &standing(), &tip(), waiting, 1500).unwrap();
        assert_eq!(round.entries.len(), 2);
        let [Ok(first), Err(second), Ok(third)] = &round.outcomes[..] else { panic!("{:?}", round.outcomes) };
        assert_eq!((first.index, third.index), (at(1), at(2)));
        assert!(matches!(second, AppendError::Conflict(Collision::IndexKey { index }) if *index == at(1)));
    }

    #[test]
    fn what_an_earlier_round_took_is_gone_as_well() {
        let mut known = Known::default();
        known.apply(&plan(&known, &standing(), &tip(), vec![event(1, Some([7; 32]))], 1500).unwrap());
        let round = plan(&known, &standing(), &tip(), vec![event(2, Some([7; 32]))], 1500).unwrap();
        assert!(matches!(round.outcomes[..], [Err(AppendError::Conflict(_))]));
        assert!(round.entries.is_empty() && round.changes.is_empty());
    }

    #[test]
    fn the_time_of_a_round_never_goes_back() {
        let at_time =
            |now| plan(&Known::default(), &standing(), &Tip { time_ms: 50_000, ..tip() }, vec![event(1, None)], now);
        assert_eq!(at_time(60_000).unwrap().time_ms, 60_000);
        assert_eq!(at_time(50_000 - CLOCK_TOLERANCE_MS).unwrap().time_ms, 50_000);
        let behind = at_time(50_000 - CLOCK_TOLERANCE_MS - 1).err().unwrap();
        assert!(matches!(behind, PlanError::ClockBehind { behind_ms: 10_001 }), "{behind}");
    }

    #[test]
    fn an_opening_is_erased_once_and_only_where_there_is_one() {
        let waiting = vec![
            erasure(0, Kind::Genesis),
            erasure(5, Kind::Event),
            erasure(5, Kind::Event),
            erasure(1, Kind::Erasure),
        ];
        let round = plan(&Known::default(), &standing(), &tip(), waiting, 1500).unwrap();
        assert_eq!(round.erased, [at(5)]);
        let said = |outcome: &Result<Placed, AppendError>| match outcome {
            Ok(placed) => Ok(placed.index),
            Err(AppendError::Erasure(refusal)) => Err(*refusal),
            Err(other) => panic!("{other}"),
        };
        let said: Vec<_> = round.outcomes.iter().map(said).collect();
        let again = ErasureRefusal::AlreadyErased { by: at(1) };
        assert_eq!(said, [Err(ErasureRefusal::Public), Ok(at(1)), Err(again), Err(ErasureRefusal::Erasure)]);
        let entry = Entry::parse(&round.entries[0].bytes).unwrap();
        assert_eq!((entry.kind, entry.index_key), (Kind::Erasure, None), "the target stands in the opening only");
    }

    #[test]
    fn a_state_that_cannot_be_read_stops_the_round_and_not_one_submission() {
        let refused = plan(&Broken, &standing(), &tip(), vec![event(1, Some([7; 32]))], 1500).err().unwrap();
        assert!(matches!(refused, PlanError::State(ViewError::Closed)), "{refused}");
    }
}
