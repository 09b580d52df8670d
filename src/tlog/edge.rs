//! The right edge of a tree, in tiles: what a log keeps in memory to write them.
//! <https://c2sp.org/tlog-tiles>
//!
//! ```text
//! size 70000      full, never touched again           the edge
//!   level 2                                           tile/2/000.p/1
//!   level 1       tile/1/000                          tile/1/001.p/17
//!   level 0       tile/0/000 ... tile/0/272           tile/0/273.p/112
//! ```
//!
//! Every leaf is hashed into the tree once. The hashes of the upper tiles fall out of the same
//! node hashes as the root, so keeping tiles costs a copy and no hashing.

use alloc::vec::Vec;
use core::mem;

use crate::frontier::Frontier;
pub use crate::frontier::LoadError;
use crate::hash::LeafHash;
use crate::tile::{LEVELS, Tile};
use crate::tree::{TooLarge, TreeHead, TreeSize};

/// A growing tree that hands out its tiles.
#[derive(Clone, Debug, Default)]
pub struct Edge {
    frontier: Frontier,
    /// The hashes of the widest partial tile of each level, lowest first; empty where there is none.
    partial: [Vec<u8>; LEVELS],
    /// The tiles that were completed and not yet taken.
    full: Vec<(Tile, Vec<u8>)>,
}

impl Edge {
    /// The tree without leaves.
    #[must_use]
    pub fn new() -> Edge {
        Edge::default()
    }

    /// The tree of `size` leaves, from the widest partial tile of each level; those are asked for
    /// and nothing else (at most 8).
    ///
    /// The tiles are taken at their word: compare [`Edge::head`] with a head you trust before
    /// anything is pushed.
    pub fn load<E>(size: TreeSize, mut source: impl FnMut(Tile) -> Result<Vec<u8>, E>) -> Result<Edge, LoadError<E>> {
        let mut edge = Edge::new();
        let partial = &mut edge.partial;
        edge.frontier = Frontier::from_tiles(size, |tile| {
            let bytes = source(tile)?;
            if let Some(level) = partial.get_mut(usize::from(tile.level)) {
                level.extend_from_slice(&bytes);
            }
            Ok(bytes)
        })?;
        Ok(edge)
    }

    /// The number of leaves.
    #[must_use]
    pub const fn size(&self) -> TreeSize {
        self.frontier.size()
    }

    /// The size and the root hash. Costs up to 62 node hashes: ask once per checkpoint.
    #[must_use]
    pub fn head(&self) -> TreeHead {
        self.frontier.head()
    }

    /// The complete subtrees the tree is made of.
    #[must_use]
    pub const fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// Adds a leaf. After an error nothing has changed.
    pub fn push(&mut self, leaf: LeafHash) -> Result<(), TooLarge> {
        let Edge { frontier, partial, full } = self;
        let leaves = frontier.size().get() + 1;
        frontier.grow(0, leaf.into(), |level, hash| {
            // The hashes of a tile are 8 levels apart.
            if level % 8 != 0 {
                return;
            }
            let Some(bytes) = partial.get_mut(usize::from(level / 8)) else {
                return;
            };
            bytes.extend_from_slice(&hash.0);
            if bytes.len() == Tile::FULL_BYTES {
                let tile = Tile {
                    level: level / 8,
                    // It ends with this leaf.
                    index: (leaves >> level >> 8) - 1,
                    width: Tile::FULL,
                };
                let next = Vec::with_capacity(Tile::FULL_BYTES);
                full.push((tile, mem::replace(bytes, next)));
            }
        })
    }

    /// The tiles completed since the last call, in the order they were completed.
    pub fn take_full(&mut self) -> Vec<(Tile, Vec<u8>)> {
        mem::take(&mut self.full)
    }

    /// The widest partial tile of each level as the tree is now, lowest level first.
    #[must_use]
    pub fn partial(&self) -> Vec<(Tile, Vec<u8>)> {
        Tile::edge(self.size())
            .filter_map(|tile| {
                let bytes = self.partial.get(usize::from(tile.level))?;
                Some((tile, bytes.clone()))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;

    #[test]
    fn an_edge_loads_from_what_it_wrote() {
        let mut edge = Edge::new();
        let mut stored = BTreeMap::new();
        for i in 0..66_000u64 {
            edge.push(LeafHash::of(&i.to_be_bytes())).unwrap();
            stored.extend(edge.take_full());
            if i % 997 != 0 && !(65_530..65_540).contains(&i) {
                continue;
            }
            stored.extend(edge.partial());
            let mut asked = 0;
            let loaded = Edge::load(edge.size(), |tile| {
                asked += 1;
                stored.get(&tile).cloned().ok_or(tile)
            })
            .unwrap();
            assert_eq!(loaded.head(), edge.head());
            assert_eq!(loaded.partial(), edge.partial());
            assert_eq!(asked, edge.partial().len());
        }
        assert!(stored.contains_key(&Tile { level: 1, index: 0, width: 256 }));
    }

    #[test]
    fn a_tile_of_the_wrong_length_is_not_loaded() {
        let size = TreeSize::new(5).unwrap();
        let tile = Tile { level: 0, index: 0, width: 5 };
        for given in [0, 32 * 4, 32 * 5 - 1, 32 * 6, 8192] {
            let loaded = Edge::load(size, |_| Ok::<_, ()>(alloc::vec![0; given]));
            assert_eq!(loaded.unwrap_err(), LoadError::Length { tile, given });
        }
        assert_eq!(Edge::load(size, |_| Err("gone")).unwrap_err(), LoadError::Source("gone"));
    }

    #[test]
    fn the_edge_of_the_largest_tree_has_eight_tiles() {
        let mut edge = Edge::load(TreeSize::MAX, |tile| Ok::<_, ()>(alloc::vec![7; tile.byte_len()])).unwrap();
        assert_eq!(edge.partial().len(), 8);
        assert_eq!(edge.push(LeafHash::of(b"one too many")), Err(TooLarge));
        assert_eq!(edge.partial().len(), 8);
        assert!(edge.take_full().is_empty());
    }
}
