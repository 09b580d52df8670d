//! Trees as numbers: how many leaves, which leaf, under which root.
//!
//! ```text
//! size 5:          root
//!                 /    \
//!                *      4         leaf indexes 0..=4
//!              /   \
//!             *     *
//!            / \   / \
//!           0   1 2   3
//! ```
//!
//! Sizes and indexes end at 2^63 - 1, so that no reader with signed integers ever sees another
//! tree than we do, and so that the arithmetic of proofs cannot overflow a `u64`.

use core::fmt;

use crate::hash::Hash;

/// The number of leaves of a tree, at most 2^63 - 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct TreeSize(u64);

/// The place of a leaf, counted from 0, at most 2^63 - 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LeafIndex(u64);

/// A number beyond 2^63 - 1 where a tree size or a leaf index belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("beyond 2^63 - 1, the largest tree size and leaf index")]
pub struct TooLarge;

/// The largest size and the largest index.
const MAX: u64 = i64::MAX as u64;

impl TreeSize {
    /// The tree without leaves.
    pub const ZERO: TreeSize = TreeSize(0);
    /// The largest tree, 2^63 - 1 leaves.
    pub const MAX: TreeSize = TreeSize(MAX);

    /// A tree of `leaves` leaves.
    pub const fn new(leaves: u64) -> Result<TreeSize, TooLarge> {
        if leaves > MAX {
            return Err(TooLarge);
        }
        Ok(TreeSize(leaves))
    }

    /// The number of leaves.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The size after one more leaf.
    pub const fn next(self) -> Result<TreeSize, TooLarge> {
        TreeSize::new(self.0 + 1)
    }

    /// Whether the tree has a leaf at `index`.
    #[must_use]
    pub const fn contains(self, index: LeafIndex) -> bool {
        index.0 < self.0
    }

    /// The index the next leaf gets, which is this size.
    #[must_use]
    pub const fn next_index(self) -> LeafIndex {
        LeafIndex(self.0)
    }
}

impl LeafIndex {
    /// The place of the `index`-th leaf, counted from 0.
    pub const fn new(index: u64) -> Result<LeafIndex, TooLarge> {
        if index > MAX {
            return Err(TooLarge);
        }
        Ok(LeafIndex(index))
    }

    /// The place as a number, counted from 0.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for TreeSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for LeafIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<u64> for TreeSize {
    type Error = TooLarge;
    fn try_from(leaves: u64) -> Result<TreeSize, TooLarge> {
        TreeSize::new(leaves)
    }
}

impl TryFrom<u64> for LeafIndex {
    type Error = TooLarge;
    fn try_from(index: u64) -> Result<LeafIndex, TooLarge> {
        LeafIndex::new(index)
    }
}

/// A tree, as a checkpoint states it: every leaf that was ever below this root is fixed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TreeHead {
    /// The number of leaves.
    pub size: TreeSize,
    /// The hash of the whole tree.
    pub root: Hash,
}

impl TreeHead {
    /// The tree without leaves.
    pub const EMPTY: TreeHead = TreeHead { size: TreeSize::ZERO, root: Hash::EMPTY_ROOT };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_indexes_end_at_the_largest_signed_integer() {
        assert_eq!(TreeSize::new((1 << 63) - 1), Ok(TreeSize::MAX));
        assert_eq!(TreeSize::new(1 << 63), Err(TooLarge));
        assert_eq!(TreeSize::new(u64::MAX), Err(TooLarge));
        assert_eq!(LeafIndex::new(1 << 63), Err(TooLarge));
        assert_eq!(TreeSize::MAX.next(), Err(TooLarge));
        assert_eq!(TreeSize::ZERO.next().map(TreeSize::get), Ok(1));
    }

    #[test]
    fn a_tree_has_the_leaves_below_its_size() {
        let (Ok(five), Ok(six)) = (LeafIndex::new(5), TreeSize::new(6)) else { unreachable!() };
        assert!(six.contains(five));
        assert!(!six.contains(six.next_index()));
        assert!(!TreeSize::ZERO.contains(LeafIndex(0)));
    }
}
