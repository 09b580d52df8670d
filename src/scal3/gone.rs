//! Gone: entries of a provider's stream, or perhaps of one, whose openings nobody can read any more.
//!
//! ```text
//! entry of stream 1      #4      #5, gone     #6, gone     #7: previous = commitment of #6
//! index                  20  <   31       <   40       <   52
//! ```
//!
//! Whose stream an unreadable entry is of, it does not say. But it has a commitment, and the next one that can be read
//! names it; those before it must lie between, and there can't be more missing entries than unreadable ones. An honest
//! log always meets that. What goes beyond it is a gap that no erasure explains.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use tlog::Hash;

/// The unreadable entries so far, and what they have explained.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gone {
    /// Their indices, ascending.
    indices: Vec<u64>,
    /// Those that no entry has named as the one before it, by their commitments.
    unnamed: BTreeMap<Hash, u64>,
    /// How many missing entries they have explained.
    explained: u64,
}

impl Gone {
    /// Those that were pushed, ascending; those that nobody has named; and how many they have explained.
    pub(crate) fn restored(indices: Vec<u64>, unnamed: BTreeMap<Hash, u64>, explained: u64) -> Gone {
        Gone { indices, unnamed, explained }
    }

    pub(crate) fn indices(&self) -> &[u64] {
        &self.indices
    }

    pub(crate) fn unnamed(&self) -> &BTreeMap<Hash, u64> {
        &self.unnamed
    }

    pub(crate) fn explained(&self) -> u64 {
        self.explained
    }

    /// One more, behind all others.
    pub(crate) fn push(&mut self, index: u64, commitment: Hash) {
        self.indices.push(index);
        self.unnamed.entry(commitment).or_insert(index);
    }

    /// Whether these can be the `missing` entries, at least one, of a stream behind index `after`, the last of which
    /// is the one with the commitment `last`.
    pub(crate) fn explains(&self, missing: u64, after: u64, last: &Hash) -> bool {
        let Some(&at) = self.unnamed.get(last) else {
            return false;
        };
        let before = |index: u64| self.indices.partition_point(|gone| *gone < index);
        let between = before(at).saturating_sub(before(after.saturating_add(1))) as u64;
        let left = (self.indices.len() as u64).saturating_sub(self.explained);
        at > after && missing <= between.saturating_add(1) && missing <= left
    }

    /// They are.
    pub(crate) fn explain(&mut self, missing: u64, last: &Hash) {
        self.unnamed.remove(last);
        self.explained = self.explained.saturating_add(missing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(index: u64) -> Hash {
        crate::tagged("test", &index.to_be_bytes())
    }

    #[test]
    fn a_gap_is_explained_by_what_lies_in_it_and_is_named() {
        let mut gone = Gone::default();
        for index in [31, 40, 60] {
            gone.push(index, hash(index));
        }
        assert!(gone.explains(1, 20, &hash(40)));
        assert!(gone.explains(2, 20, &hash(40)));
        assert!(!gone.explains(3, 20, &hash(40)), "the one at 60 is behind it");
        assert!(gone.explains(1, 31, &hash(40)));
        assert!(!gone.explains(2, 31, &hash(40)), "the one at 31 is no gap, it was read");
        assert!(!gone.explains(1, 40, &hash(40)));
        assert!(!gone.explains(1, 20, &hash(20)), "nobody knows that one");
    }

    #[test]
    fn an_entry_is_named_once_and_no_more_is_explained_than_is_gone() {
        let mut gone = Gone::default();
        for index in [31, 40, 60] {
            gone.push(index, hash(index));
        }
        gone.explain(2, &hash(40));
        assert!(!gone.explains(1, 20, &hash(40)));
        assert!(gone.explains(1, 20, &hash(60)));
        assert!(!gone.explains(2, 20, &hash(60)));
        gone.explain(1, &hash(60));
        assert!(!gone.explains(1, 20, &hash(31)));
    }
}
