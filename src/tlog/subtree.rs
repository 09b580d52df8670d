//! Subtrees: an aligned run of leaves, hashed as if it were a tree of its own.
//! <https://datatracker.ietf.org/doc/draft-ietf-plants-merkle-tree-certs/> (section "Subtrees")
//!
//! ```text
//! [start, end) is a subtree when start is a multiple of bit_ceil(end - start)
//!
//! leaf   0  1  2  3  4  5  6  7  8  9 10
//!       [0, 8)                  [8, 11)        valid: no later leaf changes their hashes
//!                   [4, 7)                     valid, and not complete
//!          [1, 3)                              not a subtree: its leaves have no common parent
//! ```
//!
//! A whole tree is the subtree that starts at 0, so the ordinary consistency proof is the one for
//! `[0, old)` and there is one verifier for both. Every hash in every proof is the hash of a
//! subtree too: the `*_path` methods say which ones.

use alloc::vec::Vec;

use crate::hash::{Hash, LeafHash};
use crate::proof::{ConsistencyProof, InclusionProof, MakeError, Nodes, ProofError};
use crate::tree::{LeafIndex, TooLarge, TreeHead, TreeSize};

/// The leaves `start..end`, known to be aligned. May be empty.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Subtree {
    start: u64,
    end: u64,
}

/// Why two numbers aren't a subtree, in the order it is checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SubtreeError {
    /// A bound is larger than any tree.
    #[error("the subtree ends {TooLarge}")]
    TooLarge,
    /// `start > end`.
    #[error("the subtree ends before it starts")]
    Reversed,
    /// `start` is not a multiple of `bit_ceil(end - start)`.
    #[error("the start of the subtree is not aligned to its size")]
    Unaligned,
}

impl Subtree {
    /// The leaves `start..end`.
    pub const fn new(start: u64, end: u64) -> Result<Subtree, SubtreeError> {
        if start > TreeSize::MAX.get() || end > TreeSize::MAX.get() {
            return Err(SubtreeError::TooLarge);
        }
        if start > end {
            return Err(SubtreeError::Reversed);
        }
        // At most 2^63 because of the first check, so rounding up cannot overflow.
        let block = (end - start).next_power_of_two();
        if start & (block - 1) != 0 {
            return Err(SubtreeError::Unaligned);
        }
        Ok(Subtree { start, end })
    }

    /// The whole tree of `size` leaves.
    #[must_use]
    pub const fn tree(size: TreeSize) -> Subtree {
        Subtree { start: 0, end: size.get() }
    }

    /// The one or two subtrees that cover the leaves `start..end`, whatever its alignment.
    ///
    /// Together they hold the whole interval, and at most its length in leaves before it. An
    /// interval of one leaf or none needs a single subtree; the second is then empty.
    pub const fn cover(start: u64, end: u64) -> Result<[Subtree; 2], SubtreeError> {
        if start > TreeSize::MAX.get() || end > TreeSize::MAX.get() {
            return Err(SubtreeError::TooLarge);
        }
        if start > end {
            return Err(SubtreeError::Reversed);
        }
        if end - start <= 1 {
            return Ok([Subtree { start, end }, Subtree { start: end, end }]);
        }
        // The highest bit in which the first and the last leaf differ is where they part ways.
        let last = end - 1;
        let split = bit_length(start ^ last) - 1;
        let mask = (1 << split) - 1;
        let middle = last & !mask;
        // On the left, climb only as far as needed to have `start` below.
        let left_split = bit_length(!start & mask);
        let left = start & !((1 << left_split) - 1);
        Ok([Subtree { start: left, end: middle }, Subtree { start: middle, end }])
    }

    /// The first leaf.
    #[must_use]
    pub const fn start(self) -> u64 {
        self.start
    }

    /// The leaf after the last one.
    #[must_use]
    pub const fn end(self) -> u64 {
        self.end
    }

    /// The number of leaves.
    #[must_use]
    pub const fn size(self) -> u64 {
        self.end - self.start
    }

    /// The complete subtrees it is made of, largest (leftmost) first, as `(level, index)` of [`Nodes`].
    pub fn nodes(self) -> impl DoubleEndedIterator<Item = (u8, u64)> {
        // One node per bit of the size; the bits above a node say where it starts.
        let Subtree { start, end } = self;
        let size = end - start;
        (0..64u8).rev().filter(move |level| size >> level & 1 == 1).map(move |level| {
            // What lies left of this node: everything but the bits of the size up to it.
            let before = start + (size >> level & !1) * (1 << level);
            (level, before >> level)
        })
    }

    /// The hash of its leaves as a tree of their own, from the hashes of complete subtrees.
    pub fn hash<N: Nodes + ?Sized>(self, nodes: &N) -> Result<Hash, N::Error> {
        let mut hash = None;
        for (level, index) in self.nodes().rev() {
            let left = nodes.node(level, index)?;
            hash = Some(match hash {
                None => left,
                Some(right) => Hash::node(&left, &right),
            });
        }
        Ok(hash.unwrap_or(Hash::EMPTY_ROOT))
    }

    /// The subtrees whose hashes are the inclusion proof of the leaf at `index` (counted from the
    /// start of the log), in the order of the proof: the leaf's sibling first. `None` if the leaf
    /// isn't in this subtree.
    #[must_use]
    pub fn inclusion_path(self, index: LeafIndex) -> Option<Vec<Subtree>> {
        let Subtree { mut start, mut end } = self;
        let index = index.get();
        if !(start..end).contains(&index) {
            return None;
        }
        let mut path = Vec::new();
        while end - start > 1 {
            let middle = start + split(end - start);
            if index < middle {
                path.push(Subtree { start: middle, end });
                end = middle;
            } else {
                path.push(Subtree { start, end: middle });
                start = middle;
            }
        }
        path.reverse();
        Some(path)
    }

    /// The subtrees whose hashes prove that this one is part of the tree of `size` leaves, in the
    /// order of the proof. `None` if it ends beyond that tree.
    #[must_use]
    pub fn consistency_path(self, size: TreeSize) -> Option<Vec<Subtree>> {
        let mut path = Vec::new();
        if self.end > size.get() {
            return None;
        }
        if self.start == self.end {
            return Some(path);
        }
        // The part of the tree that holds the subtree's right edge, and what is left of the
        // subtree in there.
        let (mut low, mut high) = (0, size.get());
        let (mut start, end) = (self.start, self.end);
        // Whether [start, end) is still the whole subtree. Its hash is known to the verifier, that
        // of a part of it is not.
        let mut whole = true;
        while (start, end) != (low, high) {
            let middle = low + split(high - low);
            if end <= middle {
                path.push(Subtree { start: middle, end: high });
                high = middle;
            } else {
                path.push(Subtree { start: low, end: middle });
                if start < middle {
                    // A subtree can only lie across the middle if it starts where this part does.
                    start = middle;
                    whole = false;
                }
                low = middle;
            }
        }
        if !whole {
            path.push(Subtree { start, end });
        }
        path.reverse();
        Some(path)
    }

    /// Makes the proof that the leaf at `index` (counted from the start of the log) is in this
    /// subtree.
    pub fn prove_inclusion<N: Nodes + ?Sized>(
        self,
        nodes: &N,
        index: LeafIndex,
    ) -> Result<InclusionProof, MakeError<N::Error>> {
        let path = self.inclusion_path(index).ok_or(MakeError::IndexBeyondSize)?;
        Ok(InclusionProof { hashes: hashes(nodes, &path)? })
    }

    /// Makes the proof that this subtree is part of the tree of `size` leaves.
    pub fn prove_consistency<N: Nodes + ?Sized>(
        self,
        nodes: &N,
        size: TreeSize,
    ) -> Result<ConsistencyProof, MakeError<N::Error>> {
        let path = self.consistency_path(size).ok_or(MakeError::Shrinks)?;
        Ok(ConsistencyProof { hashes: hashes(nodes, &path)? })
    }

    /// Checks that `leaf` is at `index` (counted from the start of the log) below `hash`, the hash
    /// of this subtree.
    pub fn verify_inclusion(
        self,
        proof: &InclusionProof,
        leaf: LeafHash,
        index: LeafIndex,
        hash: &Hash,
    ) -> Result<(), ProofError> {
        if self.root_from(proof, leaf, index)? == *hash { Ok(()) } else { Err(ProofError::WrongRoot) }
    }

    /// The hash of this subtree that `proof` leads to from `leaf` at `index`, for whoever has a signature over it in the
    /// place of the hash itself.
    pub fn root_from(self, proof: &InclusionProof, leaf: LeafHash, index: LeafIndex) -> Result<Hash, ProofError> {
        if !(self.start..self.end).contains(&index.get()) {
            return Err(ProofError::IndexBeyondSize);
        }
        // RFC 9162 section 2.1.3.2: the number of the current node and of the last node, level by
        // level.
        let mut node = index.get() - self.start;
        let mut last = self.size() - 1;
        let mut result = Hash::from(leaf);
        for sibling in &proof.hashes {
            if last == 0 {
                return Err(ProofError::TooLong);
            }
            if node & 1 == 1 || node == last {
                result = Hash::node(sibling, &result);
                // The last node may have no sibling on some levels; it then rises as it is.
                // Not zero, since it is odd or equal to `last`.
                let rises = node.trailing_zeros();
                node >>= rises;
                last >>= rises;
            } else {
                result = Hash::node(&result, sibling);
            }
            node >>= 1;
            last >>= 1;
        }
        if last != 0 {
            return Err(ProofError::TooShort);
        }
        Ok(result)
    }

    /// Checks that this subtree, with the hash `hash`, is part of the tree `head`.
    ///
    /// An empty subtree is part of every tree that reaches it, by the empty proof.
    pub fn verify_consistency(self, proof: &ConsistencyProof, hash: &Hash, head: &TreeHead) -> Result<(), ProofError> {
        if self.end > head.size.get() {
            return Err(ProofError::Shrinks);
        }
        if head.size == TreeSize::ZERO && head.root != Hash::EMPTY_ROOT {
            return Err(ProofError::WrongRoot);
        }
        if self.start == self.end {
            if !proof.hashes.is_empty() {
                return Err(ProofError::TooLong);
            }
            if *hash != Hash::EMPTY_ROOT {
                return Err(ProofError::WrongOldRoot);
            }
            return Ok(());
        }

        // The numbers of the subtree's first and last node and of the tree's last node, level by
        // level (RFC 9162 section 2.1.4.2, with a start).
        let (mut first, mut last, mut tree_last) = (self.start, self.end - 1, head.size.get() - 1);
        // Up to the largest node that ends with the subtree: all of it, or its last complete part.
        while first != last && (last == tree_last || last & 1 == 1) {
            first >>= 1;
            last >>= 1;
            tree_last >>= 1;
        }
        let mut siblings = proof.hashes.iter();
        let (mut old, mut new);
        if first == last {
            (old, new) = (*hash, *hash);
        } else {
            let node = siblings.next().ok_or(ProofError::TooShort)?;
            (old, new) = (*node, *node);
        }
        for sibling in siblings {
            if tree_last == 0 {
                return Err(ProofError::TooLong);
            }
            if last & 1 == 1 || last == tree_last {
                if first < last {
                    old = Hash::node(sibling, &old);
                }
                new = Hash::node(sibling, &new);
                // Not zero, since it is odd or equal to `tree_last`.
                let rises = last.trailing_zeros();
                first >>= rises;
                last >>= rises;
                tree_last >>= rises;
            } else {
                new = Hash::node(&new, sibling);
            }
            first >>= 1;
            last >>= 1;
            tree_last >>= 1;
        }
        if tree_last != 0 {
            return Err(ProofError::TooShort);
        }
        if old != *hash {
            return Err(ProofError::WrongOldRoot);
        }
        if new != head.root {
            return Err(ProofError::WrongRoot);
        }
        Ok(())
    }
}

/// The hashes of a path, made from the hashes of complete subtrees.
fn hashes<N: Nodes + ?Sized>(nodes: &N, path: &[Subtree]) -> Result<Vec<Hash>, MakeError<N::Error>> {
    path.iter().map(|subtree| subtree.hash(nodes).map_err(MakeError::Nodes)).collect()
}

/// Where a tree of `size` leaves parts: the largest power of two below its size (which is at
/// least 2).
const fn split(size: u64) -> u64 {
    1 << (bit_length(size - 1) - 1)
}

/// The number of bits `value` needs.
const fn bit_length(value: u64) -> u32 {
    u64::BITS - value.leading_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn a_subtree_starts_at_a_multiple_of_its_size_rounded_up() {
        for (start, end) in [(0, 0), (3, 3), (0, 11), (8, 11), (4, 7), (6, 8), (9, 10)] {
            assert!(Subtree::new(start, end).is_ok(), "{start} {end}");
        }
        assert_eq!(Subtree::new(1, 3), Err(SubtreeError::Unaligned));
        assert_eq!(Subtree::new(4, 9), Err(SubtreeError::Unaligned));
        assert_eq!(Subtree::new(3, 2), Err(SubtreeError::Reversed));
        let max = TreeSize::MAX.get();
        assert_eq!(Subtree::new(0, max + 1), Err(SubtreeError::TooLarge));
        assert_eq!(Subtree::new(u64::MAX, 0), Err(SubtreeError::TooLarge));
        assert_eq!(Subtree::new(1, max), Err(SubtreeError::Unaligned));
        assert!(Subtree::new(0, max).is_ok());
        assert!(Subtree::new(1 << 62, max).is_ok());
    }

    #[test]
    fn nodes_are_the_bits_of_the_size() {
        let Ok(subtree) = Subtree::new(16, 29) else { unreachable!() };
        assert_eq!(subtree.nodes().collect::<Vec<_>>(), vec![(3, 2), (2, 6), (0, 28)]);
        let whole = Subtree::tree(TreeSize::MAX);
        assert_eq!(whole.nodes().count(), 63);
        assert_eq!(whole.nodes().next_back(), Some((0, (1 << 63) - 2)));
    }

    #[test]
    fn every_interval_is_covered() {
        for end in 0..130 {
            for start in 0..=end {
                let Ok([left, right]) = Subtree::cover(start, end) else { unreachable!() };
                assert_eq!(Subtree::new(left.start, left.end), Ok(left));
                assert_eq!(Subtree::new(right.start, right.end), Ok(right));
                assert_eq!((left.end, right.end), (right.start, end));
                assert!(left.start <= start && start - left.start <= end - start);
            }
        }
        assert_eq!(Subtree::cover(2, 1), Err(SubtreeError::Reversed));
        assert_eq!(Subtree::cover(0, 1 << 63), Err(SubtreeError::TooLarge));
        assert!(Subtree::cover(1, TreeSize::MAX.get()).is_ok());
    }
}
