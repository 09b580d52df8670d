//! Policies: the one in force, and those that may come into force.
//!
//! ```text
//! state = [ 1, document: bstr, since: uint, [* [policy: hash, spoken_ms: uint]] ]               for a store of one's own
//! body  = bstr, the document                                                          of a policy entry (kind 4, public)
//!
//! record policy.change   speaks for a document by its hash, under the policy in force
//! policy entry           brings it into force, within a day; what else was spoken for is forgotten with that
//! ```
//! The same transitions run in the sequencer, which plans entries, and in the fold of a monitor, which repeats them.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use tlog::Hash;

use crate::cbor::{self, CborError, Fault, Parts, ShapeError, Value};
use crate::entry::{BodyError, Entry, Kind};
use crate::limits::{ENTRY_MAX, OPENING_MAX};
use crate::policy::InForce;
use crate::state::waits;
use crate::step::PolicyRefusal;

/// How many documents that were spoken for may wait.
pub const SPOKEN_MAX: usize = 64;

/// The policies of a log at a place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policies {
    document: Vec<u8>,
    in_force: InForce,
    since: u64,
    /// Those that a record spoke for and that are not in force yet, each with when one last did.
    spoken: BTreeMap<Hash, u64>,
}

/// Why bytes are not a stored state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StoredPoliciesError {
    /// Not deterministic CBOR of the subset.
    #[error("policies: {0}")]
    Cbor(#[from] CborError),
    /// Not the array above.
    #[error("policies: {0}")]
    Shape(#[from] ShapeError),
}

/// The entry that brings this document into force.
pub fn entry(time_ms: u64, document: &[u8]) -> Entry {
    Entry::public(Kind::Policy, time_ms, cbor::encode(&cbor::bytes(document)))
}

/// The document in the body of a policy entry.
///
/// # Errors
/// [`BodyError`].
pub fn document_of(body: &[u8]) -> Result<Vec<u8>, BodyError> {
    match cbor::decode(body, ENTRY_MAX)? {
        Value::Bytes(document) => Ok(document),
        _ => Err(BodyError::value("policy")),
    }
}

impl Policies {
    /// Those of a log that begins with this document.
    pub fn new(document: &[u8]) -> Policies {
        Policies { document: document.to_vec(), in_force: InForce::read(document), since: 0, spoken: BTreeMap::new() }
    }

    /// The policy in force.
    pub fn in_force(&self) -> &InForce {
        &self.in_force
    }

    /// Its document, as it was logged.
    pub fn document(&self) -> &[u8] {
        &self.document
    }

    /// The index of the entry that brought it into force; 0, the genesis, for the first.
    pub fn since(&self) -> u64 {
        self.since
    }

    /// Whether a record spoke for this one lately, under the policy in force.
    pub fn waits_for(&self, policy: &Hash, time_ms: u64) -> bool {
        self.spoken.get(policy).is_some_and(|spoken_ms| waits(*spoken_ms, time_ms))
    }

    /// A record speaks for a document. Of more than 64 that wait, the oldest is forgotten.
    pub fn speak(&mut self, policy: Hash, time_ms: u64) {
        self.spoken.retain(|_, spoken_ms| waits(*spoken_ms, time_ms));
        self.spoken.insert(policy, time_ms);
        if self.spoken.len() > SPOKEN_MAX {
            let oldest = self.spoken.iter().filter(|(other, _)| **other != policy).min_by_key(|(_, ms)| **ms);
            if let Some(oldest) = oldest.map(|(policy, _)| *policy) {
                self.spoken.remove(&oldest);
            }
        }
    }

    /// Another policy comes into force, by the entry at this index and time.
    ///
    /// # Errors
    /// [`PolicyRefusal`]; nothing is changed then.
    pub fn change(&mut self, document: &[u8], index: u64, time_ms: u64) -> Result<(), PolicyRefusal> {
        let next = InForce::read(document);
        if !self.waits_for(next.hash(), time_ms) {
            return Err(PolicyRefusal::NotAuthorised);
        }
        self.put(next, document, index)
    }

    /// The same where the record that spoke for it can't be read any more.
    pub(crate) fn change_in_doubt(&mut self, document: &[u8], index: u64) -> Result<(), PolicyRefusal> {
        self.put(InForce::read(document), document, index)
    }

    fn put(&mut self, next: InForce, document: &[u8], index: u64) -> Result<(), PolicyRefusal> {
        // From such a one on, nothing could be authorised any more, the next policy least of all.
        if next.error().is_some() {
            return Err(PolicyRefusal::Unreadable);
        }
        // The others were authorised under a policy that is no longer in force.
        *self = Policies { document: document.to_vec(), in_force: next, since: index, spoken: BTreeMap::new() };
        Ok(())
    }

    /// The one spelling of this state.
    pub fn to_bytes(&self) -> Vec<u8> {
        let spoken =
            |(policy, spoken_ms): (&Hash, &u64)| Value::Array(vec![cbor::bytes(&policy.0), cbor::uint(*spoken_ms)]);
        cbor::encode(&Value::Array(vec![
            cbor::uint(1),
            cbor::bytes(&self.document),
            cbor::uint(self.since),
            Value::Array(self.spoken.iter().map(spoken).collect()),
        ]))
    }

    /// Reads a state back from a store of one's own. Never for bytes from anywhere else.
    ///
    /// # Errors
    /// [`StoredPoliciesError`].
    pub fn from_own_store(bytes: &[u8]) -> Result<Policies, StoredPoliciesError> {
        let mut parts = Parts::new("policies", cbor::decode(bytes, OPENING_MAX)?)?;
        parts.constant("version", 1)?;
        let document = parts.bytes("document")?;
        let since = parts.uint("since")?;
        let mut list = parts.array("spoken")?;
        let mut spoken = BTreeMap::new();
        while !list.is_empty() {
            let mut item = list.array("spoken")?;
            let (policy, spoken_ms) = (item.hash("spoken")?, item.uint("spoken")?);
            item.end()?;
            // Ascending and distinct, so that a state has one spelling.
            if spoken.len() >= SPOKEN_MAX || spoken.last_key_value().is_some_and(|(last, _)| *last >= policy) {
                return Err(ShapeError { part: "spoken", fault: Fault::Value }.into());
            }
            spoken.insert(policy, spoken_ms);
        }
        parts.end()?;
        Ok(Policies { in_force: InForce::read(&document), document, since, spoken })
    }
}
