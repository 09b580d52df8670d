//! Round records: a round as the journal holds it.
//!
//! ```text
//! payload = 3: u8 ‖ first u64 ‖ time_ms u64
//!         ‖ n: u32 ‖ n × (length u32 ‖ entry) ‖ n × (length u32 ‖ sealed opening; length 0 = none)
//!         ‖ n: u32 ‖ n × (length u32 ‖ key ‖ length u32 ‖ value)        changes of the state
//!         ‖ n: u32 ‖ n × index u64                                      openings erased
//!         ‖ size u64 ‖ root[32]
//! ```
//!
//! Numbers are big-endian. The journal adds the round number, the hash of the record before and a hash over it all. What
//! a round changes in the state stands here in full, so that a restart needs no key to apply it again: the keys of
//! openings may have been erased by then.

use tlog::Hash;
use tlog::tree::{LeafIndex, TreeHead, TreeSize};

use crate::ledger::Change;

const VERSION: u8 = 3;

/// A round as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub round: u64,
    /// The index of its first entry.
    pub first: u64,
    /// Its time.
    pub time_ms: u64,
    /// Its entries.
    pub entries: Vec<Vec<u8>>,
    /// The sealed opening of each entry that has one.
    pub sealed: Vec<Option<Vec<u8>>>,
    /// What it changes in the state.
    pub changes: Vec<Change>,
    /// The openings it erases.
    pub erased: Vec<u64>,
    /// The tree after it.
    pub head: TreeHead,
}

/// Bytes that are no record of a round. They bear the journal's hash, so it was not the disk that broke them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("round {round} in the journal can't be read by this version: {what}")]
pub struct RecordError {
    /// Which round.
    pub round: u64,
    /// What does not fit.
    pub what: &'static str,
}

impl Record {
    /// Which of its entries has that index.
    pub fn position(&self, index: LeafIndex) -> Option<usize> {
        let position = usize::try_from(index.get().checked_sub(self.first)?).ok()?;
        Some(position).filter(|p| *p < self.entries.len())
    }

    /// Its entry with that index.
    pub fn entry(&self, index: LeafIndex) -> Option<&[u8]> {
        self.entries.get(self.position(index)?).map(Vec::as_slice)
    }

    /// How many bytes it has in the journal, about.
    pub fn bytes(&self) -> u64 {
        let entries: usize = self.entries.iter().map(Vec::len).sum();
        let sealed: usize = self.sealed.iter().flatten().map(Vec::len).sum();
        let changes: usize = self.changes.iter().map(|c| c.key.len() + c.value.len()).sum();
        (entries + sealed + changes) as u64
    }

    /// The payload of its journal record.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(usize::try_from(self.bytes()).unwrap_or(0) + 64 * self.entries.len() + 256);
        out.push(VERSION);
        out.extend_from_slice(&self.first.to_be_bytes());
        out.extend_from_slice(&self.time_ms.to_be_bytes());
        put_count(&mut out, self.entries.len());
        for entry in &self.entries {
            put(&mut out, entry);
        }
        for sealed in &self.sealed {
            put(&mut out, sealed.as_deref().unwrap_or_default());
        }
        put_count(&mut out, self.changes.len());
        for change in &self.changes {
            put(&mut out, &change.key);
            put(&mut out, &change.value);
        }
        put_count(&mut out, self.erased.len());
        for index in &self.erased {
            out.extend_from_slice(&index.to_be_bytes());
        }
        out.extend_from_slice(&self.head.size.get().to_be_bytes());
        out.extend_from_slice(&self.head.root.0);
        out
    }

    /// Reads the payload of that round.
    pub fn parse(round: u64, payload: &[u8]) -> Result<Record, RecordError> {
        Stored::parse(round, payload).map(|stored| stored.to_record())
    }
}

/// A round as it is read, in the bytes that hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored<'a> {
    /// Its number.
    pub round: u64,
    /// The index of its first entry.
    pub first: u64,
    /// Its time.
    pub time_ms: u64,
    /// Its entries.
    pub entries: Vec<&'a [u8]>,
    /// The sealed openings; empty for an entry that has none.
    pub sealed: Vec<&'a [u8]>,
    /// What it changes in the state: names and values.
    pub changes: Vec<(&'a [u8], &'a [u8])>,
    /// The openings it erases.
    pub erased: Vec<u64>,
    /// The tree after it.
    pub head: TreeHead,
}

impl<'a> Stored<'a> {
    /// Reads the payload of that round.
    pub fn parse(round: u64, payload: &'a [u8]) -> Result<Stored<'a>, RecordError> {
        let mut rest = Reader { round, rest: payload };
        if rest.take(1)? != [VERSION] {
            return Err(rest.wrong("version"));
        }
        let (first, time_ms) = (rest.number()?, rest.number()?);
        let count = rest.count()?;
        let entries = rest.many(count, Reader::bytes)?;
        let sealed = rest.many(count, Reader::bytes)?;
        let count = rest.count()?;
        let changes = rest.many(count, |r| Ok((r.bytes()?, r.bytes()?)))?;
        let count = rest.count()?;
        let erased = rest.many(count, Reader::number)?;
        let size = TreeSize::new(rest.number()?).map_err(|_| rest.wrong("size"))?;
        let root = rest.take(32)?.try_into().map(Hash).map_err(|_| rest.wrong("root"))?;
        if !rest.rest.is_empty() {
            return Err(rest.wrong("trailing bytes"));
        }
        let head = TreeHead { size, root };
        Ok(Stored { round, first, time_ms, entries, sealed, changes, erased, head })
    }

    fn to_record(&self) -> Record {
        let change = |(key, value): &(&[u8], &[u8])| Change { key: key.to_vec(), value: value.to_vec() };
        Record {
            round: self.round,
            first: self.first,
            time_ms: self.time_ms,
            entries: self.entries.iter().map(|entry| entry.to_vec()).collect(),
            sealed: self.sealed.iter().map(|sealed| Some(sealed.to_vec()).filter(|s| !s.is_empty())).collect(),
            changes: self.changes.iter().map(change).collect(),
            erased: self.erased.clone(),
            head: self.head,
        }
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    // A round is a few megabytes: nothing in it comes near 2^32.
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.extend_from_slice(bytes);
}

struct Reader<'a> {
    round: u64,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn wrong(&self, what: &'static str) -> RecordError {
        RecordError { round: self.round, what }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], RecordError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(|| self.wrong("it ends early"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u64, RecordError> {
        let bytes = self.take(8)?.try_into().map_err(|_| self.wrong("a number"))?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn count(&mut self) -> Result<usize, RecordError> {
        let bytes = self.take(4)?.try_into().map_err(|_| self.wrong("a count"))?;
        Ok(u32::from_be_bytes(bytes) as usize)
    }

    fn bytes(&mut self) -> Result<&'a [u8], RecordError> {
        let length = self.count()?;
        self.take(length)
    }

    fn many<T>(
        &mut self,
        count: usize,
        read: impl Fn(&mut Self) -> Result<T, RecordError>,
    ) -> Result<Vec<T>, RecordError> {
        // Every item takes bytes, so a count beyond them ends early and reserves nothing.
        let mut items = Vec::with_capacity(count.min(self.rest.len()));
        for _ in 0..count {
            items.push(read(self)?);
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            round: 7,
            first: 300,
            time_ms: 1_760_000_000_123,
            entries: vec![b"one".to_vec(), b"two".to_vec()],
            sealed: vec![None, Some(b"sealed".to_vec())],
            changes: vec![Change { key: b"k1".to_vec(), value: b"v".to_vec() }],
            erased: vec![5],
            head: TreeHead { size: TreeSize::new(302).unwrap(), root: Hash([9; 32]) },
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        assert_eq!(Record::parse(7, &record().to_bytes()), Ok(record()));
    }

    #[test]
    fn no_beginning_of_a_record_is_a_record() {
        let bytes = record().to_bytes();
        for length in 0..bytes.len() {
            assert!(Record::parse(7, &bytes[..length]).is_err(), "{length} bytes");
        }
        assert_eq!(Record::parse(7, &[bytes, vec![0]].concat()).unwrap_err().what, "trailing bytes");
    }

    #[test]
    fn an_index_is_found_in_its_round_only() {
        let at = |index| record().position(LeafIndex::new(index).unwrap());
        assert_eq!([at(299), at(300), at(301), at(302)], [None, Some(0), Some(1), None]);
    }
}
