//! The authenticators of one participant: what the log has said about them so far.
//!
//! ```text
//! state = [ 1, participant: hash, [* [claims: bstr, added_at: uint, revoked_at: uint / null, last_count: uint / null]],
//!           [* [id: hash, spoken_ms: uint]] ]                                     for a store of one's own
//!
//! authenticator.add      a record that names an id; the status that follows has the claims, and adds it
//! authenticator.revoke   a record that names an id: it counts no more behind that record
//! status 7               the provider's own revocation, which needs nobody's word
//! ```
//! They are a person's, not a credential's: a new PIN or a new phone takes none of them away. The same transitions run in
//! the sequencer and in the fold of a monitor.
//!
//! What was revoked stays known. Its key never comes back, for this purpose or another.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use tlog::Hash;

use crate::authenticator::{AuthenticatorError, Claims};
use crate::cbor::{self, CborError, Fault, Parts, ShapeError, Value};
use crate::evidence;
use crate::limits::OPENING_MAX;
use crate::state::waits;
use crate::verify::{Authorized, Word};

/// How many authenticators a participant may ever have, revoked ones among them.
pub const HELD_MAX: usize = 48;

/// How many that were spoken for may wait to be added.
pub const SPOKEN_MAX: usize = 8;

/// The authenticators of one participant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authenticators {
    participant: Hash,
    held: BTreeMap<Hash, Held>,
    /// Those that a record asked for and that are not added yet, each with when it last did.
    spoken: BTreeMap<Hash, u64>,
}

/// One authenticator, as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    claims: Claims,
    added_at: u64,
    revoked_at: Option<u64>,
    last_count: Option<u64>,
}

/// Why an authenticator can't be added or revoked so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnrolError {
    /// Its claims name somebody else.
    #[error("the authenticator is another participant's")]
    Participant,
    /// It was added before, or its key was: under another name, for another purpose, by somebody else, or as a device key.
    #[error("the authenticator's key is known already")]
    Known,
    /// No record of this participant asked for it, or not lately.
    #[error("no record speaks for the authenticator")]
    NotSpokenFor,
    /// There are as many as there may ever be.
    #[error("more than {HELD_MAX} authenticators of one participant")]
    Full,
    /// There is none of that id.
    #[error("no such authenticator")]
    Unknown,
    /// It is revoked already.
    #[error("the authenticator is revoked already")]
    Revoked,
}

/// Why bytes are not a stored state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StoredError {
    /// Not deterministic CBOR of the subset.
    #[error("authenticators: {0}")]
    Cbor(#[from] CborError),
    /// Not the array above.
    #[error("authenticators: {0}")]
    Shape(#[from] ShapeError),
    /// Claims in it.
    #[error(transparent)]
    Claims(#[from] AuthenticatorError),
}

impl Held {
    /// What was enrolled.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The index of the entry that added it.
    pub fn added_at(&self) -> u64 {
        self.added_at
    }

    /// The index of the entry that revoked it.
    pub fn revoked_at(&self) -> Option<u64> {
        self.revoked_at
    }

    /// The last counter that it showed.
    pub fn last_count(&self) -> Option<u64> {
        self.last_count
    }
}

impl Authenticators {
    /// Those of a participant who has none.
    pub fn of(participant: Hash) -> Authenticators {
        Authenticators { participant, held: BTreeMap::new(), spoken: BTreeMap::new() }
    }

    /// Whose they are.
    pub fn participant(&self) -> &Hash {
        &self.participant
    }

    /// One of them, revoked or not.
    pub fn get(&self, id: &Hash) -> Option<&Held> {
        self.held.get(id)
    }

    /// All of them by id, revoked ones too.
    pub fn all(&self) -> impl Iterator<Item = (&Hash, &Held)> {
        self.held.iter()
    }

    /// The claims of those that are not revoked: what [`crate::policy::Policy::decide`] asks for.
    pub fn active(&self) -> impl Iterator<Item = &Claims> {
        self.held.values().filter(|held| held.revoked_at.is_none()).map(|held| &held.claims)
    }

    /// Whether a record asked for this one lately, and it was not added yet.
    pub fn waits_for(&self, id: &Hash, time_ms: u64) -> bool {
        self.spoken.get(id).is_some_and(|spoken_ms| waits(*spoken_ms, time_ms))
    }

    /// A record of the participant asks for an authenticator. Of more than eight that wait, the oldest is forgotten.
    pub fn speak(&mut self, id: Hash, time_ms: u64) {
        self.spoken.retain(|_, spoken_ms| waits(*spoken_ms, time_ms));
        self.spoken.insert(id, time_ms);
        if self.spoken.len() > SPOKEN_MAX {
            let oldest = self.spoken.iter().filter(|(other, _)| **other != id).min_by_key(|(_, ms)| **ms);
            if let Some(oldest) = oldest.map(|(id, _)| *id) {
                self.spoken.remove(&oldest);
            }
        }
    }

    /// Adds one that a record asked for.
    ///
    /// `key_known`: whether the log has its key already, as an authenticator of anybody or as a device key, which the one
    /// who knows all of it says.
    ///
    /// # Errors
    /// [`EnrolError`]; nothing is changed then.
    pub fn add(&mut self, claims: Claims, index: u64, time_ms: u64, key_known: bool) -> Result<(), EnrolError> {
        let id = claims.id();
        self.may_add(&claims, key_known)?;
        if !self.waits_for(&id, time_ms) {
            return Err(EnrolError::NotSpokenFor);
        }
        self.insert(id, claims, index);
        Ok(())
    }

    /// Adds one whose record can't be read any more.
    pub(crate) fn add_in_doubt(&mut self, claims: Claims, index: u64, key_known: bool) -> Result<(), EnrolError> {
        self.may_add(&claims, key_known)?;
        self.insert(claims.id(), claims, index);
        Ok(())
    }

    fn may_add(&self, claims: &Claims, key_known: bool) -> Result<(), EnrolError> {
        let key = claims.about.key_bytes();
        if claims.participant != self.participant {
            return Err(EnrolError::Participant);
        }
        if key_known || self.held.values().any(|held| held.claims.about.key_bytes() == key) {
            return Err(EnrolError::Known);
        }
        if self.held.len() >= HELD_MAX { Err(EnrolError::Full) } else { Ok(()) }
    }

    fn insert(&mut self, id: Hash, claims: Claims, index: u64) {
        self.spoken.remove(&id);
        self.held.insert(id, Held { claims, added_at: index, revoked_at: None, last_count: None });
    }

    /// Revokes one, by the entry at this index.
    ///
    /// # Errors
    /// [`EnrolError::Unknown`], [`EnrolError::Revoked`].
    pub fn revoke(&mut self, id: &Hash, index: u64) -> Result<(), EnrolError> {
        let held = self.held.get_mut(id).ok_or(EnrolError::Unknown)?;
        if held.revoked_at.is_some() {
            return Err(EnrolError::Revoked);
        }
        held.revoked_at = Some(index);
        Ok(())
    }

    /// Takes in a record of their participant: the counters that its evidence showed, then what it says.
    pub fn record(&mut self, authorized: &Authorized) {
        authorized.judgement().verified().for_each(|shown| self.used(shown));
        match authorized.word() {
            Some(Word::AddAuthenticator(id)) => self.speak(*id, authorized.time_ms()),
            Some(Word::RevokeAuthenticator(id)) => {
                // One that there is not is nothing to revoke, and no harm done.
                let _unknown = self.revoke(id, authorized.index());
            }
            Some(Word::Policy(_)) | None => {}
        }
    }

    /// Takes in what verified evidence said of a counter: the highest one is kept, so that going back never pays.
    pub fn used(&mut self, shown: &evidence::Claims) {
        if let (Some(held), Some(count)) = (self.held.get_mut(&shown.authenticator), shown.count) {
            held.last_count = held.last_count.max(Some(count));
        }
    }

    /// The one spelling of this state.
    pub fn to_bytes(&self) -> Vec<u8> {
        let or_null = |number: Option<u64>| number.map_or(Value::Null, cbor::uint);
        let held = |held: &Held| {
            Value::Array(vec![
                cbor::bytes(&held.claims.to_bytes()),
                cbor::uint(held.added_at),
                or_null(held.revoked_at),
                or_null(held.last_count),
            ])
        };
        let spoken = |(id, spoken_ms): (&Hash, &u64)| Value::Array(vec![cbor::bytes(&id.0), cbor::uint(*spoken_ms)]);
        cbor::encode(&Value::Array(vec![
            cbor::uint(1),
            cbor::bytes(&self.participant.0),
            Value::Array(self.held.values().map(held).collect()),
            Value::Array(self.spoken.iter().map(spoken).collect()),
        ]))
    }

    /// Reads a state back from a store of one's own. Never for bytes from anywhere else.
    ///
    /// # Errors
    /// [`StoredError`].
    pub fn from_own_store(bytes: &[u8]) -> Result<Authenticators, StoredError> {
        let wrong = |part| ShapeError { part, fault: Fault::Value };
        let mut parts = Parts::new("authenticators", cbor::decode(bytes, OPENING_MAX)?)?;
        parts.constant("version", 1)?;
        let mut state = Authenticators::of(parts.hash("participant")?);
        let mut list = parts.array("held")?;
        while !list.is_empty() {
            let mut item = list.array("held")?;
            let claims = Claims::parse(&item.bytes("claims")?)?;
            let held = Held {
                added_at: item.uint("added_at")?,
                revoked_at: item.or_null("revoked_at", Parts::uint)?,
                last_count: item.or_null("last_count", Parts::uint)?,
                claims,
            };
            item.end()?;
            // Ascending and distinct, so that a state has one spelling.
            let id = held.claims.id();
            if held.claims.participant != state.participant
                || state.held.len() >= HELD_MAX
                || state.held.last_key_value().is_some_and(|(last, _)| *last >= id)
            {
                return Err(wrong("held").into());
            }
            state.held.insert(id, held);
        }
        let mut list = parts.array("spoken")?;
        while !list.is_empty() {
            let mut item = list.array("spoken")?;
            let (id, spoken_ms) = (item.hash("spoken")?, item.uint("spoken")?);
            item.end()?;
            if state.spoken.len() >= SPOKEN_MAX || state.spoken.last_key_value().is_some_and(|(last, _)| *last >= id) {
                return Err(wrong("spoken").into());
            }
            state.spoken.insert(id, spoken_ms);
        }
        parts.end()?;
        Ok(state)
    }
}
