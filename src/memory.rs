//! The memory of the log: what a snapshot holds, so that a start needs no replay.
//!
//! ```text
//! snapshot = [ 2, next round: uint, size: uint, frontier: [* hash], time_ms: uint, residue: [* [credential: hash, state: bstr]],
//!              authenticators: [* [subject: hash, state: bstr]], policies: bstr / null ]
//! ```
//!
//! It is small, whatever the log's size: the frontier has at most 63 hashes, and the residue has one item for each
//! credential of which a record was erased, and one for each of those people who have authenticators. That is the one part of
//! the state that can't be read from the log again; nor can it be read which policies erased records spoke for. Version 1 has
//! neither of the last two.

use std::collections::BTreeMap;

use scal3::cbor::{self, Fault, Parts, ShapeError, Value};
use scal3::entry::BodyError;
use tlog::frontier::Frontier;
use tlog::tree::{TooLarge, TreeSize};
use tlog::{Hash, LeafHash};

use crate::ledger::{Change, Key};
use crate::record::Record;
use crate::round::Tip;

/// How long a snapshot may be. Residue is what makes it grow.
const LONGEST: usize = 1 << 30;

/// What the log remembers after some round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Where the log ends.
    pub tip: Tip,
    /// The credentials whose state a rebuilt view can't learn from the log, as they stand.
    pub residue: BTreeMap<Hash, Vec<u8>>,
    /// The people whose authenticators it can't learn from the log, with these.
    pub authenticators: BTreeMap<Hash, Vec<u8>>,
    /// The policy in force and those that were spoken for, once there was one.
    pub policies: Option<Vec<u8>>,
}

impl Memory {
    /// Of a log that has not begun.
    pub fn empty() -> Memory {
        Memory {
            tip: Tip { next: 0, frontier: Frontier::new(), time_ms: 0 },
            residue: BTreeMap::new(),
            authenticators: BTreeMap::new(),
            policies: None,
        }
    }

    /// Takes in a round.
    pub fn take(&mut self, record: &Record) -> Result<(), TooLarge> {
        for entry in &record.entries {
            self.tip.frontier.push(LeafHash::of(entry))?;
        }
        self.tip.next = record.round + 1;
        self.tip.time_ms = record.time_ms;
        for change in &record.changes {
            if let Some(id) = residue_of(change) {
                self.residue.insert(id, change.value.clone());
            } else if let Some(subject) = authenticators_of(change) {
                self.authenticators.insert(subject, change.value.clone());
            } else if change.key == Key::Policies.to_bytes() {
                self.policies = Some(change.value.clone());
            }
        }
        Ok(())
    }

    /// The one spelling of it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let hashes = self.tip.frontier.hashes().iter().map(|h| cbor::bytes(&h.0)).collect();
        let states = |of: &BTreeMap<Hash, Vec<u8>>| {
            let item = |(id, state): (&Hash, &Vec<u8>)| Value::Array(vec![cbor::bytes(&id.0), cbor::bytes(state)]);
            Value::Array(of.iter().map(item).collect())
        };
        cbor::encode(&Value::Array(vec![
            cbor::uint(2),
            cbor::uint(self.tip.next),
            cbor::uint(self.tip.frontier.size().get()),
            Value::Array(hashes),
            cbor::uint(self.tip.time_ms),
            states(&self.residue),
            states(&self.authenticators),
            self.policies.as_deref().map_or(Value::Null, cbor::bytes),
        ]))
    }

    /// Reads it back.
    pub fn parse(bytes: &[u8]) -> Result<Memory, MemoryError> {
        let mut parts = Parts::new("snapshot", cbor::decode(bytes, LONGEST).map_err(BodyError::from)?)?;
        let before = match parts.uint("version")? {
            1 => true,
            2 => false,
            _ => return Err(ShapeError { part: "version", fault: Fault::Value }.into()),
        };
        let next = parts.uint("round")?;
        let size = TreeSize::new(parts.uint("size")?).map_err(|_| MemoryError::Frontier)?;
        let mut list = parts.array("frontier")?;
        let mut hashes = Vec::with_capacity(list.len());
        while !list.is_empty() {
            hashes.push(list.hash("frontier")?);
        }
        let time_ms = parts.uint("time_ms")?;
        let residue = states(&mut parts, "residue")?;
        let (authenticators, policies) = match before {
            true => (BTreeMap::new(), None),
            false => (states(&mut parts, "authenticators")?, parts.or_null("policies", Parts::bytes)?),
        };
        parts.end()?;
        let frontier = Frontier::from_parts(size, hashes).map_err(|_| MemoryError::Frontier)?;
        Ok(Memory { tip: Tip { next, frontier, time_ms }, residue, authenticators, policies })
    }
}

/// States of somebody, by their ids.
fn states(parts: &mut Parts, part: &'static str) -> Result<BTreeMap<Hash, Vec<u8>>, ShapeError> {
    let mut list = parts.array(part)?;
    let mut states = BTreeMap::new();
    while !list.is_empty() {
        let mut item = list.array(part)?;
        states.insert(item.hash(part)?, item.bytes(part)?);
        item.end()?;
    }
    Ok(states)
}

/// The credential whose residue a change leaves, if it is one.
pub fn residue_of(change: &Change) -> Option<Hash> {
    let (b'r', id) = change.key.split_first()? else { return None };
    Some(Hash(id.try_into().ok()?))
}

/// The person whose authenticators a change leaves behind, if it does.
pub fn authenticators_of(change: &Change) -> Option<Hash> {
    let (b't', subject) = change.key.split_first()? else { return None };
    Some(Hash(subject.try_into().ok()?))
}

/// Why bytes are no snapshot of ours.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// Not the array above.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The hashes don't go with the size.
    #[error("the frontier is not one of a tree of that size")]
    Frontier,
}

impl From<ShapeError> for MemoryError {
    fn from(error: ShapeError) -> MemoryError {
        MemoryError::Body(error.into())
    }
}
