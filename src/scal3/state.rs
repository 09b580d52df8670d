//! The state of a credential: what the log has said about it so far.
//!
//! ```text
//! state    = [ 3, credential: bstr, issued_at: uint, next_sequence: uint, previous: hash, status_counter: uint,
//!              first_record: uint / null, activated: bool, hold: uint, vouched: bool, successors: [* [hash, spoken_ms: uint]],
//!              provider: [counter: uint, previous: hash], attempts: [in_a_row: uint, in_all: uint, open: hash / null] ]
//! hold     = 0 none   1 suspended   2 revoked
//! changing = the state without its credential, for a store that keeps the two apart
//! provider = where the stream that the provider writes about the subscriber goes on
//! ```
//! It changes by entries only, and by the same transitions in the sequencer, which plans them, and
//! in the fold of a monitor, which repeats them. The bytes are for a store of one's own: they are
//! a cache of the log, never evidence.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use tlog::Hash;

use crate::attempts::{Attempt, Attempts};
use crate::cbor::{self, CborError, Fault, Parts, ShapeError, Value};
use crate::credential::{Credential, CredentialError};
use crate::event::StreamPlace;
use crate::index_key::status_index_key;
use crate::limits::{CREDENTIAL_MAX, METADATA_MAX};
use crate::status::Change;
use crate::verify::Authorized;

/// How many successors that a credential speaks for may wait to be issued.
pub const SUCCESSORS_MAX: usize = 8;

/// How long they may wait, milliseconds. One that was given up takes no room after that, and a word that was spoken long ago
/// issues nothing.
pub const SUCCESSOR_WAITS_MS: u64 = 86_400_000;

/// Whether a credential may act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// It may make its first record, and no other.
    Issued,
    /// It may act.
    Active,
    /// It may not act for now.
    Suspended,
    /// It may never act again.
    Revoked,
}

/// What takes a credential's power away, and whether for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    None,
    Suspended,
    Revoked,
}

/// What the log has said about one credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialState {
    credential: Arc<Credential>,
    issued_at: u64,
    next_sequence: u64,
    previous: Hash,
    status_counter: u64,
    first_record: Option<u64>,
    activated: bool,
    hold: Hold,
    vouched: bool,
    /// The credentials that it spoke for and that are not issued yet, each with when it last did.
    successors: BTreeMap<Hash, u64>,
    /// How many entries the provider's stream has.
    provider_counter: u64,
    /// The commitment of the last of them, or the credential.
    provider_previous: Hash,
    attempts: Attempts,
}

/// Why a credential may not be issued now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// It names a predecessor that is not in the log, or is not the one given.
    #[error("the predecessor is not a credential of this log")]
    Predecessor,
    /// It does not count its predecessors right.
    #[error("the ordinal is not the predecessor's and one more")]
    Ordinal,
    /// It is for somebody else than its predecessor.
    #[error("the subject is not the predecessor's")]
    Subject,
    /// It names no predecessor, and its subject has a credential: a second line of credentials for one person would
    /// not be bound by what the first one says, or does not say.
    #[error("the subject has a credential already, and this one does not name it as its predecessor")]
    SubjectKnown,
}

/// Why a credential can't change so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransitionError {
    /// A credential is issued once.
    #[error("the credential was issued already")]
    Issued,
    /// Activated without a first record, by another entry than that, or twice.
    #[error("the credential has no first record there that would activate it")]
    Activated,
    /// Suspended already.
    #[error("the credential is suspended already")]
    Suspended,
    /// Resumed without having been suspended.
    #[error("the credential is not suspended")]
    Resumed,
    /// Nothing changes a revoked credential.
    #[error("the credential is revoked")]
    Revoked,
    /// Recovered without being a successor that waits for it.
    #[error("the credential does not wait for a recovery")]
    Recovered,
    /// An authorisation of another credential, or not the next one.
    #[error("not the next authorisation of this credential")]
    NotNext,
    /// An entry of the provider's stream that does not follow the one before.
    #[error("not the next entry of the provider's stream")]
    Stream,
    /// An authenticator that is added while the credential may not act.
    #[error("an authenticator is added by an active credential")]
    Authenticator,
    /// An attempt of a credential that may not act, or a verdict on one that does not wait for it.
    #[error("an attempt that may not be, or a verdict on none")]
    Attempt,
}

/// Why bytes are not a stored state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Not deterministic CBOR of the subset.
    #[error("state: {0}")]
    Cbor(#[from] CborError),
    /// Not the array above.
    #[error("state: {0}")]
    Shape(#[from] ShapeError),
    /// The credential in it.
    #[error(transparent)]
    Credential(#[from] CredentialError),
}

impl CredentialState {
    /// A credential that enters the log at this index.
    ///
    /// A successor names its predecessor, whose state is given. Where the predecessor is active and spoke for this very
    /// credential in a `credential.add` record, not longer ago than [`SUCCESSOR_WAITS_MS`], that is used up; else the
    /// successor waits for a logged recovery.
    ///
    /// `time_ms` is the time of the entry at that index.
    /// `subject_known`: whether the log has a credential of this subject, which the one who knows all of it says.
    ///
    /// # Errors
    /// [`IssueError`]; the predecessor is unchanged then.
    pub fn issue(
        credential: Credential,
        index: u64,
        time_ms: u64,
        predecessor: Option<&mut CredentialState>,
        subject_known: bool,
    ) -> Result<CredentialState, IssueError> {
        let claims = credential.claims();
        let vouched = match (claims.predecessor, predecessor) {
            (None, _) if claims.ordinal != 0 => return Err(IssueError::Ordinal),
            (None, _) if subject_known => return Err(IssueError::SubjectKnown),
            (None, _) => true,
            (Some(id), Some(predecessor)) if predecessor.credential.id() == id => {
                let before = predecessor.credential.claims().ordinal;
                if claims.ordinal.checked_sub(1) != Some(before) {
                    return Err(IssueError::Ordinal);
                }
                if claims.subject != predecessor.credential.claims().subject {
                    return Err(IssueError::Subject);
                }
                // Used up either way: a credential is issued once.
                let spoken_ms = predecessor.successors.remove(&credential.id());
                spoken_ms.is_some_and(|spoken_ms| waits(spoken_ms, time_ms)) && predecessor.status() == Status::Active
            }
            (Some(_), _) => return Err(IssueError::Predecessor),
        };
        Ok(CredentialState::issued(credential, index, vouched))
    }

    fn issued(credential: Credential, index: u64, vouched: bool) -> CredentialState {
        CredentialState {
            previous: credential.id(),
            provider_counter: 0,
            provider_previous: credential.id(),
            attempts: Attempts::default(),
            credential: Arc::new(credential),
            issued_at: index,
            next_sequence: 0,
            status_counter: 1,
            first_record: None,
            activated: false,
            hold: Hold::None,
            vouched,
            successors: BTreeMap::new(),
        }
    }

    /// Takes the next record of this credential in.
    ///
    /// # Errors
    /// [`TransitionError::NotNext`] when the authorisation was made on another state.
    pub fn record(&mut self, authorized: &Authorized) -> Result<(), TransitionError> {
        let next = *authorized.credential() == self.credential.id() && authorized.sequence() == self.next_sequence;
        let after = self.next_sequence.checked_add(1).filter(|_| next);
        self.next_sequence = after.ok_or(TransitionError::NotNext)?;
        self.previous = *authorized.next_previous();
        self.first_record.get_or_insert(authorized.index());
        self.successors.retain(|_, spoken_ms| waits(*spoken_ms, authorized.time_ms()));
        self.successors.extend(authorized.successor().map(|id| (*id, authorized.time_ms())));
        self.attempts.record(authorized.challenge());
        Ok(())
    }

    /// Takes a change of status in.
    ///
    /// # Errors
    /// [`TransitionError`]; nothing is changed then.
    pub fn change(&mut self, change: &Change) -> Result<(), TransitionError> {
        if matches!(change, Change::Issued(_)) {
            return Err(TransitionError::Issued);
        }
        if self.hold == Hold::Revoked {
            return Err(TransitionError::Revoked);
        }
        let counter = self.status_counter.checked_add(1).ok_or(TransitionError::Revoked)?;
        match change {
            Change::Issued(_) => return Err(TransitionError::Issued),
            Change::Activated(index) => {
                if self.activated || self.first_record != Some(*index) {
                    return Err(TransitionError::Activated);
                }
                self.activated = true;
            }
            Change::Suspended(_) => {
                if self.hold != Hold::None {
                    return Err(TransitionError::Suspended);
                }
                self.hold = Hold::Suspended;
            }
            Change::Resumed(_) => {
                if self.hold != Hold::Suspended {
                    return Err(TransitionError::Resumed);
                }
                self.hold = Hold::None;
                self.attempts.in_a_row = 0;
            }
            Change::Revoked(_) => self.hold = Hold::Revoked,
            Change::Recovered(_) => {
                if self.vouched {
                    return Err(TransitionError::Recovered);
                }
                self.vouched = true;
            }
            Change::AuthenticatorAdded(_) => {
                if self.status() != Status::Active {
                    return Err(TransitionError::Authenticator);
                }
            }
            // Which authenticators there are stands elsewhere: they outlive a credential. Here the entry is counted.
            Change::AuthenticatorRevoked(..) => {}
        }
        self.status_counter = counter;
        Ok(())
    }

    /// The credential.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// The index of the entry that issued it.
    pub fn issued_at(&self) -> u64 {
        self.issued_at
    }

    /// Whether it may act.
    pub fn status(&self) -> Status {
        match (self.hold, self.activated) {
            (Hold::Revoked, _) => Status::Revoked,
            (Hold::Suspended, _) => Status::Suspended,
            (Hold::None, true) => Status::Active,
            (Hold::None, false) => Status::Issued,
        }
    }

    /// The sequence of its next record.
    pub fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// What its next record names as `previous`.
    pub fn previous(&self) -> &Hash {
        &self.previous
    }

    /// The counter of its next status entry.
    pub fn status_counter(&self) -> u64 {
        self.status_counter
    }

    /// The index key of its next status entry.
    pub fn next_status_key(&self) -> Hash {
        status_index_key(&self.credential.id(), self.status_counter)
    }

    /// The index of its first record.
    pub fn first_record(&self) -> Option<u64> {
        self.first_record
    }

    /// Whether it is the first of its person, or somebody spoke for it: its predecessor by a
    /// record, or the provider by a logged recovery.
    pub fn is_vouched(&self) -> bool {
        self.vouched
    }

    /// Whether it may speak for this successor at this time, beside those it spoke for that still wait.
    pub fn has_room_for(&self, successor: &Hash, time_ms: u64) -> bool {
        let others = self.successors.iter().filter(|(id, spoken_ms)| *id != successor && waits(**spoken_ms, time_ms));
        others.count() < SUCCESSORS_MAX
    }

    /// Whether it spoke for this successor, which waits to be issued at this time.
    pub fn speaks_for(&self, successor: &Hash, time_ms: u64) -> bool {
        self.successors.get(successor).is_some_and(|spoken_ms| waits(*spoken_ms, time_ms))
    }

    /// The place of the next entry of the provider's stream.
    pub fn provider_place(&self) -> StreamPlace {
        StreamPlace {
            credential: self.credential.id(),
            counter: self.provider_counter,
            previous: self.provider_previous,
        }
    }

    /// Takes an entry of the provider's stream in.
    ///
    /// # Errors
    /// [`TransitionError::Stream`] when it is not the next one; nothing is changed then.
    pub fn provider_entry(&mut self, place: &StreamPlace, commitment: &Hash) -> Result<(), TransitionError> {
        let after = self.provider_counter.checked_add(1).filter(|_| *place == self.provider_place());
        self.provider_counter = after.ok_or(TransitionError::Stream)?;
        self.provider_previous = *commitment;
        Ok(())
    }

    /// How often the second factor was wrong.
    pub fn attempts(&self) -> &Attempts {
        &self.attempts
    }

    /// Takes in what is said of an attempt.
    ///
    /// # Errors
    /// [`TransitionError::Attempt`]; nothing is changed then.
    pub fn attempt(&mut self, attempt: Attempt, challenge: &Hash) -> Result<(), TransitionError> {
        let may_act = matches!(self.status(), Status::Issued | Status::Active);
        if attempt == Attempt::Started && !may_act {
            return Err(TransitionError::Attempt);
        }
        self.attempts.take(attempt, challenge).map_err(|_| TransitionError::Attempt)
    }

    /// Goes on behind entries of the provider's stream whose openings are gone.
    pub(crate) fn bridge_provider(&mut self, counter: u64, previous: Hash) {
        self.provider_counter = counter;
        self.provider_previous = previous;
    }

    /// Goes on behind records whose openings are gone: the next one is the one given.
    pub(crate) fn bridge(&mut self, sequence: u64, previous: Hash) {
        self.next_sequence = sequence;
        self.previous = previous;
    }

    /// A successor whose predecessor can't be read any more.
    pub(crate) fn in_doubt(credential: Credential, index: u64) -> CredentialState {
        CredentialState::issued(credential, index, false)
    }

    /// Counts a change of status that can't be read.
    pub(crate) fn skip_status(&mut self) {
        self.status_counter = self.status_counter.saturating_add(1);
    }

    /// Takes an activation in whose record has no opening any more.
    pub(crate) fn activate_unopened(&mut self, index: u64) -> Result<(), TransitionError> {
        let first_record = self.first_record;
        self.first_record.get_or_insert(index);
        self.change(&Change::Activated(index)).inspect_err(|_| self.first_record = first_record)
    }

    /// The one spelling of this state.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut parts = self.changing();
        parts.insert(1, cbor::bytes(self.credential.as_bytes()));
        cbor::encode(&Value::Array(parts))
    }

    /// The one spelling of what entries can change in it: the state without its credential, which is most of it and stays.
    pub fn changing_to_bytes(&self) -> Vec<u8> {
        cbor::encode(&Value::Array(self.changing()))
    }

    fn changing(&self) -> Vec<Value> {
        let hold = match self.hold {
            Hold::None => 0,
            Hold::Suspended => 1,
            Hold::Revoked => 2,
        };
        let mut parts = Vec::with_capacity(13);
        parts.extend([
            cbor::uint(3),
            cbor::uint(self.issued_at),
            cbor::uint(self.next_sequence),
            cbor::bytes(&self.previous.0),
            cbor::uint(self.status_counter),
            self.first_record.map_or(Value::Null, cbor::uint),
            Value::Bool(self.activated),
            cbor::uint(hold),
            Value::Bool(self.vouched),
            Value::Array(self.successors.iter().map(successor).collect()),
            Value::Array(vec![cbor::uint(self.provider_counter), cbor::bytes(&self.provider_previous.0)]),
            Value::Array(vec![
                cbor::uint(self.attempts.in_a_row),
                cbor::uint(self.attempts.in_all),
                cbor::hash_or_null(self.attempts.open.as_ref()),
            ]),
        ]);
        parts
    }

    /// Reads a state back from a store of one's own. The provider's signature in it is not verified again. Never for
    /// bytes from anywhere else.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn from_own_store(bytes: &[u8]) -> Result<CredentialState, StateError> {
        let value = cbor::decode(bytes, CREDENTIAL_MAX.saturating_add(METADATA_MAX))?;
        let mut parts = Parts::new("state", value)?;
        parts.constant("version", 3)?;
        let credential = Credential::from_own_store(&parts.bytes("credential")?)?;
        CredentialState::read(Arc::new(credential), parts)
    }

    /// The same for a store that keeps the credential beside what changes ([`CredentialState::changing_to_bytes`]).
    ///
    /// # Errors
    /// [`StateError`].
    pub fn from_own_parts(credential: Arc<Credential>, changing: &[u8]) -> Result<CredentialState, StateError> {
        let mut parts = Parts::new("state", cbor::decode(changing, METADATA_MAX)?)?;
        parts.constant("version", 3)?;
        CredentialState::read(credential, parts)
    }

    fn read(credential: Arc<Credential>, mut parts: Parts) -> Result<CredentialState, StateError> {
        let mut state = CredentialState {
            credential,
            issued_at: parts.uint("issued_at")?,
            next_sequence: parts.uint("next_sequence")?,
            previous: parts.hash("previous")?,
            status_counter: parts.uint("status_counter")?,
            first_record: index_or_null(&mut parts, "first_record")?,
            activated: parts.flag("activated")?,
            hold: match parts.uint("hold")? {
                0 => Hold::None,
                1 => Hold::Suspended,
                2 => Hold::Revoked,
                _ => {
                    return Err(ShapeError { part: "hold", fault: Fault::Value }.into());
                }
            },
            vouched: parts.flag("vouched")?,
            successors: successors(&mut parts)?,
            provider_counter: 0,
            provider_previous: Hash([0; 32]),
            attempts: Attempts::default(),
        };
        let mut provider = parts.array("provider")?;
        state.provider_counter = provider.uint("provider")?;
        state.provider_previous = provider.hash("provider")?;
        provider.end()?;
        let mut attempts = parts.array("attempts")?;
        state.attempts.in_a_row = attempts.uint("attempts")?;
        state.attempts.in_all = attempts.uint("attempts")?;
        state.attempts.open = attempts.hash_or_null("attempts")?;
        attempts.end()?;
        parts.end()?;
        Ok(state)
    }
}

fn index_or_null(parts: &mut Parts, part: &'static str) -> Result<Option<u64>, ShapeError> {
    const fn wrong(part: &'static str) -> ShapeError {
        ShapeError { part, fault: Fault::Type }
    }
    match parts.value(part)? {
        Value::Null => Ok(None),
        Value::Integer(index) => u64::try_from(index).map(Some).map_err(|_| wrong(part)),
        _ => Err(wrong(part)),
    }
}

/// Whether a successor that was spoken for then may still be issued now.
pub(crate) fn waits(spoken_ms: u64, now_ms: u64) -> bool {
    now_ms.saturating_sub(spoken_ms) <= SUCCESSOR_WAITS_MS
}

fn successor((id, spoken_ms): (&Hash, &u64)) -> Value {
    Value::Array(vec![cbor::bytes(&id.0), cbor::uint(*spoken_ms)])
}

fn successors(parts: &mut Parts) -> Result<BTreeMap<Hash, u64>, ShapeError> {
    let mut list = parts.array("successors")?;
    let mut successors = BTreeMap::new();
    while !list.is_empty() {
        let mut pair = list.array("successors")?;
        let (id, spoken_ms) = (pair.hash("successors")?, pair.uint("successors")?);
        pair.end()?;
        // Ascending and distinct, so that a state has one spelling.
        if successors.last_key_value().is_some_and(|(last, _)| *last >= id) || successors.len() == SUCCESSORS_MAX {
            return Err(ShapeError { part: "successors", fault: Fault::Value });
        }
        successors.insert(id, spoken_ms);
    }
    Ok(successors)
}
