//! The memory of the log: what a snapshot holds, so that a start needs no replay.
//!
//! ```text
//! snapshot = [ 1, next round: uint, size: uint, frontier: [* hash], time_ms: uint, residue: [* [credential: hash, state: bstr]] ]
//! ```
//!
//! It is small, whatever the log's size: the frontier has at most 63 hashes, and the residue has one item for each
//! credential of which a record was erased. That is the one part of the state that can't be read from the log again.

use std::collections::BTreeMap;

use scal3::cbor::{self, Parts, Value};
use scal3::entry::BodyError;
use tlog::frontier::Frontier;
use tlog::tree::{TooLarge, TreeSize};
use tlog::{Hash, LeafHash};

use crate::ledger::Change;
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
}

impl Memory {
    /// Of a log that has not begun.
    pub fn empty() -> Memory {
        Memory { tip: Tip { next: 0, frontier: Frontier::new(), time_ms: 0 }, residue: BTreeMap::new() }
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
            }
        }
        Ok(())
    }

    /// The one spelling of it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let hashes = self.tip.frontier.hashes().iter().map(|h| cbor::bytes(&h.0)).collect();
        let residue = self.residue.iter().map(|(id, state)| Value::Array(vec![cbor::bytes(&id.0), cbor::bytes(state)]));
        cbor::encode(&Value::Array(vec![
            cbor::uint(1),
            cbor::uint(self.tip.next),
            cbor::uint(self.tip.frontier.size().get()),
            Value::Array(hashes),
            cbor::uint(self.tip.time_ms),
            Value::Array(residue.collect()),
        ]))
    }

    /// Reads it back.
    pub fn parse(bytes: &[u8]) -> Result<Memory, MemoryError> {
        let mut parts = Parts::new("snapshot", cbor::decode(bytes, LONGEST).map_err(BodyError::from)?)?;
        parts.constant("version", 1)?;
        let next = parts.uint("round")?;
        let size = TreeSize::new(parts.uint("size")?).map_err(|_| MemoryError::Frontier)?;
        let mut list = parts.array("frontier")?;
        let mut hashes = Vec::with_capacity(list.len());
        while !list.is_empty() {
            hashes.push(list.hash("frontier")?);
        }
        let time_ms = parts.uint("time_ms")?;
        let mut list = parts.array("residue")?;
        let mut residue = BTreeMap::new();
        while !list.is_empty() {
            let mut item = list.array("residue")?;
            residue.insert(item.hash("credential")?, item.bytes("state")?);
            item.end()?;
        }
        parts.end()?;
        let frontier = Frontier::from_parts(size, hashes).map_err(|_| MemoryError::Frontier)?;
        Ok(Memory { tip: Tip { next, frontier, time_ms }, residue })
    }
}

/// The credential whose residue a change leaves, if it is one.
pub fn residue_of(change: &Change) -> Option<Hash> {
    let (b'r', id) = change.key.split_first()? else { return None };
    Some(Hash(id.try_into().ok()?))
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

impl From<scal3::cbor::ShapeError> for MemoryError {
    fn from(error: scal3::cbor::ShapeError) -> MemoryError {
        MemoryError::Body(error.into())
    }
}
