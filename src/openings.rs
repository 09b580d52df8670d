//! Openings: what stands behind a commitment, for those who may see it.
//!
//! Evidence files hold ciphertext for ever; the keys lie elsewhere, one for each entry, and can be overwritten. An
//! opening is read by putting the two together, and the seal names the entry it belongs to: a wrong byte in either file,
//! or an opening in another's place, is an error here and never a wrong answer.

use std::sync::Arc;

use scal3::entry::Entry;
use tlog::LeafHash;
use tlog::tree::LeafIndex;

use crate::history::ReadError;
use crate::ledger::Ledger;
use crate::store::evidence::{self, Evidence};
use crate::store::keys::Keys;

/// What can be shown of an entry's opening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Its bytes.
    Open(Vec<u8>),
    /// There was one; its key has been overwritten.
    Erased,
    /// The entry is of a public kind: it carries its body, and has no opening.
    Public,
}

/// The openings of one log.
pub struct Openings {
    /// Rounds that are not in evidence yet.
    pub ledger: Arc<Ledger>,
    /// The sealed openings.
    pub evidence: Arc<Evidence>,
    /// Their keys.
    pub keys: Arc<Keys>,
}

impl Openings {
    /// The opening of an entry, whose bytes the caller has.
    pub fn show(&self, index: LeafIndex, entry: &[u8]) -> Result<Shown, ReadError> {
        match self.ledger.recent(index) {
            Some(round) => {
                let at = round.record.position(index);
                unseal(&self.keys, index, entry, at.and_then(|at| round.record.sealed.get(at)?.as_deref()))
            }
            None => show(&self.evidence, &self.keys, index, entry),
        }
    }
}

/// The opening of an entry that is in the evidence.
pub fn show(evidence: &Evidence, keys: &Keys, index: LeafIndex, entry: &[u8]) -> Result<Shown, ReadError> {
    let sealed = evidence.read(index.get()).map_err(|e| ReadError::Evidence { index, what: e.to_string() })?;
    unseal(keys, index, entry, sealed.as_deref())
}

fn unseal(keys: &Keys, index: LeafIndex, entry: &[u8], sealed: Option<&[u8]>) -> Result<Shown, ReadError> {
    let wrong = |what: &str| ReadError::Evidence { index, what: what.to_owned() };
    let parsed = Entry::parse(entry).map_err(|_| ReadError::Damaged(format!("entry {index}")))?;
    if parsed.kind.is_public() {
        return Ok(Shown::Public);
    }
    let sealed = sealed.ok_or_else(|| wrong("it is missing"))?;
    let Some(key) = keys.read(index.get()).map_err(|e| wrong(&e.to_string()))? else { return Ok(Shown::Erased) };
    let opening =
        evidence::unseal(&key, index.get(), &LeafHash::of(entry), sealed).map_err(|e| wrong(&e.to_string()))?;
    if scal3::opening::commitment(&opening) != parsed.commitment {
        return Err(wrong("it is not what the entry commits to"));
    }
    Ok(Shown::Open(opening.to_vec()))
}
