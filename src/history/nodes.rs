//! The nodes of the tree above the hashes of a tile, computed once for all proofs that pass through it.
//!
//! ```text
//! height 7                ·       ·            nodes over 128 hashes: the highest that are in the tile and not the next level's
//!   …
//! height 1    · · · · · · · · … · · ·          nodes over 2
//! height 0   the hashes of the tile            256 at most
//! ```
//!
//! A proof takes about one node of each height. Without this it would hash nearly the whole tile again for them.

use std::cell::RefCell;
use std::sync::Arc;

use tlog::Hash;
use tlog::proof::Nodes;
use tlog::tile::Tile;
use tlog::tree::TreeSize;

use super::ReadError;

/// Heights in a tile. The root of a full one is a hash of the tile above it.
const HEIGHTS: usize = 8;

/// A tile and the complete subtrees over its hashes.
#[derive(Debug)]
pub struct TileTree {
    /// Height by height.
    nodes: Vec<Hash>,
    /// Where each height begins.
    starts: [usize; HEIGHTS],
}

impl TileTree {
    /// What a tile weighs in memory.
    pub const BYTES: usize = 2 * Tile::FULL_BYTES;

    /// Of the bytes of a tile.
    pub fn of(tile: &[u8]) -> TileTree {
        let (hashes, _) = tile.as_chunks::<{ Hash::LEN }>();
        let mut nodes = Vec::with_capacity(2 * hashes.len());
        nodes.extend(hashes.iter().map(|hash| Hash(*hash)));
        let mut starts = [0; HEIGHTS];
        let mut from = 0;
        for start in starts.iter_mut().skip(1) {
            *start = nodes.len();
            // An odd one at the end has no complete subtree above it.
            for pair in (from..*start).step_by(2).filter(|left| left + 1 < *start) {
                nodes.push(Hash::node(&nodes[pair], &nodes[pair + 1]));
            }
            from = *start;
        }
        TileTree { nodes, starts }
    }

    /// How many hashes the tile has.
    pub fn width(&self) -> usize {
        self.starts[1]
    }

    /// The node of that height over the hashes from `index << height` on.
    pub fn node(&self, height: u8, index: usize) -> Option<Hash> {
        let height = usize::from(height);
        let from = *self.starts.get(height)?;
        let to = self.starts.get(height + 1).copied().unwrap_or(self.nodes.len());
        self.nodes.get(from..to)?.get(index).copied()
    }
}

/// The nodes of a tree whose tiles `source` gives. A tile that it gives may be wider than the one that was asked for.
pub struct TreeNodes<F> {
    size: TreeSize,
    source: F,
    /// The tile asked for last: the next node is nearly always in it.
    last: RefCell<Option<(Tile, Arc<TileTree>)>>,
}

impl<F> TreeNodes<F> {
    /// Those of the tree of so many leaves.
    pub fn new(size: TreeSize, source: F) -> TreeNodes<F> {
        TreeNodes { size, source, last: RefCell::default() }
    }
}

impl<F, E> Nodes for TreeNodes<F>
where
    F: Fn(Tile) -> Result<Arc<TileTree>, E>,
    E: From<ReadError>,
{
    type Error = E;

    fn node(&self, level: u8, index: u64) -> Result<Hash, E> {
        let tile = Tile::of_node(level, index, self.size).ok_or(ReadError::Order)?;
        let mut last = self.last.borrow_mut();
        let tree = match &*last {
            Some((known, tree)) if *known == tile => tree,
            _ => &last.insert((tile, (self.source)(tile)?)).1,
        };
        let height = level % HEIGHTS as u8;
        // The nodes of that height in a tile are a power of two, so the place in it is what is left of the index.
        let place = index & ((256 >> height) - 1);
        tree.node(height, place as usize).ok_or_else(|| ReadError::Damaged(tile.path()).into())
    }
}

#[cfg(test)]
mod tests {
    use tlog::LeafHash;
    use tlog::proof::{InclusionProof, root_at};
    use tlog::tile::TileNodes;
    use tlog::tree::LeafIndex;

    use super::*;

    /// The tiles of a tree of 70,000 leaves: three levels.
    fn levels() -> Vec<Vec<Hash>> {
        let mut levels = vec![(0..70_000u32).map(|i| Hash(LeafHash::of(&i.to_be_bytes()).0)).collect::<Vec<_>>()];
        while levels.last().unwrap().len() >= 256 {
            let over = |hashes: &[Hash]| tlog::tile::root(&hashes.iter().flat_map(|h| h.0).collect::<Vec<_>>());
            let next = levels.last().unwrap().chunks_exact(256).map(over).collect();
            levels.push(next);
        }
        levels
    }

    #[test]
    fn nodes_are_those_that_tiles_are_hashed_to() {
        let levels = levels();
        let bytes = |tile: Tile| -> Vec<u8> {
            let from = tile.index as usize * 256;
            levels[usize::from(tile.level)][from..from + usize::from(tile.width)].iter().flat_map(|h| h.0).collect()
        };
        for size in [1u64, 2, 3, 255, 256, 257, 511, 65_535, 65_536, 65_537, 70_000] {
            let size = TreeSize::new(size).unwrap();
            let slow = TileNodes::new(size, |tile| Ok::<Vec<u8>, ReadError>(bytes(tile)));
            let fast = TreeNodes::new(size, |tile| Ok::<_, ReadError>(Arc::new(TileTree::of(&bytes(tile)))));
            assert_eq!(root_at(&slow, size).unwrap(), root_at(&fast, size).unwrap());
            for index in [0, size.get() / 2, size.get() - 1] {
                let index = LeafIndex::new(index).unwrap();
                let [slow, fast] = [
                    InclusionProof::make(&slow, index, size).unwrap(),
                    InclusionProof::make(&fast, index, size).unwrap(),
                ];
                assert_eq!(slow, fast, "{index} in {size}");
            }
        }
    }

    #[test]
    fn a_tile_that_is_too_short_is_damaged_and_what_is_outside_is_not_asked_for() {
        let short = TileTree::of(&[7; 3 * Hash::LEN]);
        assert_eq!((short.width(), short.node(0, 3), short.node(1, 1), short.node(8, 0)), (3, None, None, None));
        let size = TreeSize::new(4).unwrap();
        let nodes = TreeNodes::new(size, |_| Ok::<_, ReadError>(Arc::new(TileTree::of(&[7; 3 * Hash::LEN]))));
        assert!(matches!(nodes.node(0, 3), Err(ReadError::Damaged(_))));
        assert!(matches!(nodes.node(0, 4), Err(ReadError::Order)));
    }
}
