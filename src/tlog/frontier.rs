//! Frontiers: all a tree has to remember in order to grow.
//!
//! ```text
//! size 11 = 8 + 2 + 1       one hash per bit of the size, largest first
//!
//!      [0..8)         [8..10)  [10]
//! ```
//!
//! Those complete subtrees never change again, whatever is added. At most 63 hashes stand for a
//! log of any size, and a leaf costs one node hash on average.

use alloc::vec::Vec;

use crate::hash::{Hash, LeafHash};
use crate::tile::Tile;
use crate::tree::{TooLarge, TreeHead, TreeSize};

/// The complete subtrees of a tree, from which it can grow.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Frontier {
    size: TreeSize,
    hashes: Vec<Hash>,
}

/// Hashes that can't be the frontier of a tree of that size.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a frontier of this size has {expected} hashes, not {given}")]
pub struct FrontierError {
    /// One hash for each bit of the size that is 1.
    pub expected: usize,
    /// As many as were given.
    pub given: usize,
}

/// Why a tree can't be loaded from its tiles.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LoadError<E> {
    /// The tile could not be had.
    #[error("a tile: {0}")]
    Source(E),
    /// The tile has another length than its path says.
    #[error("{tile} is {given} bytes long")]
    Length {
        /// The tile that was asked for.
        tile: Tile,
        /// Its length in bytes.
        given: usize,
    },
}

impl Frontier {
    /// The tree without leaves.
    #[must_use]
    pub const fn new() -> Frontier {
        Frontier { size: TreeSize::ZERO, hashes: Vec::new() }
    }

    /// The frontier of a tree of `size` leaves, from what [`Frontier::hashes`] gave.
    ///
    /// Only the number of the hashes can be checked here. Compare [`Frontier::head`] with a head
    /// you trust.
    pub fn from_parts(size: TreeSize, hashes: Vec<Hash>) -> Result<Frontier, FrontierError> {
        let expected = size.get().count_ones() as usize;
        if hashes.len() != expected {
            return Err(FrontierError { expected, given: hashes.len() });
        }
        Ok(Frontier { size, hashes })
    }

    /// The frontier of the tree of `size` leaves, from the widest partial tile of each level; those
    /// are asked for, the highest level first, and nothing else.
    ///
    /// The tiles are taken at their word. Compare [`Frontier::head`] with a head you trust.
    pub fn from_tiles<E>(
        size: TreeSize,
        mut source: impl FnMut(Tile) -> Result<Vec<u8>, E>,
    ) -> Result<Frontier, LoadError<E>> {
        let mut hashes = Vec::new();
        for tile in Tile::edge(size).rev() {
            let bytes = source(tile).map_err(LoadError::Source)?;
            if bytes.len() != tile.byte_len() {
                return Err(LoadError::Length { tile, given: bytes.len() });
            }
            // Within a tile the complete subtrees are those of a small tree over its hashes.
            hashes.append(&mut Frontier::over(&bytes).hashes);
        }
        Ok(Frontier { size, hashes })
    }

    /// The frontier over the hashes of one tile, as if they were leaves. Bytes after the last
    /// whole hash are ignored.
    pub(crate) fn over(tile: &[u8]) -> Frontier {
        let mut frontier = Frontier::new();
        let (hashes, _) = tile.as_chunks::<{ Hash::LEN }>();
        for hash in hashes {
            // A tile in memory has fewer hashes than a tree may have leaves.
            let _ = frontier.grow(0, Hash(*hash), |_, _| ());
        }
        frontier
    }

    /// The number of leaves.
    #[must_use]
    pub const fn size(&self) -> TreeSize {
        self.size
    }

    /// The hashes of the complete subtrees, largest (leftmost) first: one for each bit of the size
    /// that is 1.
    #[must_use]
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// Adds a leaf. After an error nothing has changed.
    pub fn push(&mut self, leaf: LeafHash) -> Result<(), TooLarge> {
        self.grow(0, leaf.into(), |_, _| ())
    }

    /// The root hash.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.hashes.iter().rev().copied().reduce(|right, left| Hash::node(&left, &right)).unwrap_or(Hash::EMPTY_ROOT)
    }

    /// The size and the root hash.
    #[must_use]
    pub fn head(&self) -> TreeHead {
        TreeHead { size: self.size, root: self.root() }
    }

    /// Adds the complete subtree of `1 << level` leaves that comes next, and shows `completed`
    /// each subtree that is complete now, it first. The size must be a multiple of `1 << level`.
    pub(crate) fn grow(
        &mut self,
        mut level: u8,
        mut hash: Hash,
        mut completed: impl FnMut(u8, &Hash),
    ) -> Result<(), TooLarge> {
        let size = TreeSize::new(self.size.get() + (1 << level))?;
        debug_assert!(self.size.get().trailing_zeros() >= u32::from(level));
        completed(level, &hash);
        while self.size.get() >> level & 1 == 1 {
            // There is a hash for each bit of the size.
            let Some(left) = self.hashes.pop() else { break };
            hash = Hash::node(&left, &hash);
            level += 1;
            completed(level, &hash);
        }
        self.hashes.push(hash);
        self.size = size;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn a_frontier_has_one_hash_per_bit_of_its_size() {
        let mut frontier = Frontier::new();
        for i in 0..1000u32 {
            assert_eq!(frontier.hashes().len(), i.count_ones() as usize);
            let parts = Frontier::from_parts(frontier.size(), frontier.hashes().to_vec());
            assert_eq!(parts, Ok(frontier.clone()));
            frontier.push(LeafHash::of(&i.to_be_bytes())).unwrap();
        }
        let error = Frontier::from_parts(frontier.size(), vec![Hash::EMPTY_ROOT]).unwrap_err();
        assert_eq!((error.expected, error.given), (6, 1));
    }

    #[test]
    fn the_largest_tree_is_full() {
        let hashes = vec![Hash([7; 32]); 63];
        let mut frontier = Frontier::from_parts(TreeSize::MAX, hashes).unwrap();
        let before = frontier.clone();
        assert_eq!(frontier.push(LeafHash::of(b"one too many")), Err(TooLarge));
        assert_eq!(frontier, before);
        let size = TreeSize::new(TreeSize::MAX.get() - 1).unwrap();
        let mut frontier = Frontier::from_parts(size, vec![Hash([7; 32]); 62]).unwrap();
        assert_eq!(frontier.push(LeafHash::of(b"the last one")), Ok(()));
        assert_eq!(frontier.size(), TreeSize::MAX);
    }
}
