//! Trees and proofs against the definition, for every index and size up to 300 and for huge ones.

mod naive;

use std::collections::BTreeMap;

use naive::{Sparse, Table};
use tlog::edge::Edge;
use tlog::frontier::Frontier;
use tlog::hash::{Hash, LeafHash};
use tlog::proof::{ConsistencyProof, InclusionProof, MakeError, Nodes, ProofError, root_at};
use tlog::subtree::Subtree;
use tlog::tile::{self, Path, Tile, TileNodes};
use tlog::tree::{LeafIndex, TreeHead, TreeSize};

const LARGEST: usize = 300;

fn size(size: u64) -> TreeSize {
    TreeSize::new(size).unwrap()
}

fn index(index: u64) -> LeafIndex {
    LeafIndex::new(index).unwrap()
}

fn leaves(count: usize) -> Vec<Hash> {
    (0..count as u64).map(|i| naive::leaf(&i.to_be_bytes())).collect()
}

/// The heads of every size, by the definition.
fn heads(leaves: &[Hash]) -> Vec<TreeHead> {
    (0..=leaves.len()).map(|n| TreeHead { size: size(n as u64), root: naive::root(&leaves[..n]) }).collect()
}

/// A bit to flip, another one each time.
struct Bits(u64);

impl Bits {
    fn flip(&mut self, hash: &mut Hash) {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        hash.0[(self.0 % 32) as usize] ^= 1 << (self.0 >> 32 & 7);
    }
}

#[test]
fn roots_are_those_of_the_definition() {
    let leaves = leaves(LARGEST);
    let table = Table::new(leaves.clone());
    let mut frontier = Frontier::new();
    let mut edge = Edge::new();
    for head in heads(&leaves) {
        assert_eq!(frontier.head(), head);
        assert_eq!(edge.head(), head);
        assert_eq!(root_at(&table, head.size), Ok(head.root));
        if let Some(leaf) = leaves.get(head.size.get() as usize) {
            frontier.push(LeafHash(leaf.0)).unwrap();
            edge.push(LeafHash(leaf.0)).unwrap();
        }
    }
}

#[test]
fn every_leaf_of_every_tree_is_proven_and_only_there() {
    let leaves = leaves(LARGEST);
    let table = Table::new(leaves.clone());
    let heads = heads(&leaves);
    let mut bits = Bits(1);
    for head in &heads {
        let n = head.size.get();
        for i in 0..n {
            let leaf = LeafHash(leaves[i as usize].0);
            let proof = InclusionProof::make(&table, index(i), head.size).unwrap();
            if n < 70 || i % 41 == 0 {
                assert_eq!(proof.hashes, naive::inclusion(i as usize, &leaves[..n as usize]));
            }
            assert_eq!(proof.verify(leaf, index(i), head), Ok(()));

            let wrong = |result: Result<(), ProofError>| assert!(result.is_err(), "{i} of {n}");
            // Any other index, or the same tree at another size.
            for bit in 0..9 {
                wrong(proof.verify(leaf, index(i ^ 1 << bit), head));
            }
            for other in [i.wrapping_sub(1), i + 1, n, n + 1] {
                if let Ok(other) = LeafIndex::new(other) {
                    wrong(proof.verify(leaf, other, head));
                }
            }
            for other in [n.saturating_sub(1), n + 1, n / 2, n * 2, n ^ 1] {
                if let Some(other) = heads.get(other as usize).filter(|other| *other != head) {
                    wrong(proof.verify(leaf, index(i), other));
                }
            }
            // One bit of the leaf, the root, or any hash.
            let mut flipped = Hash::from(leaf);
            bits.flip(&mut flipped);
            wrong(proof.verify(LeafHash(flipped.0), index(i), head));
            let mut flipped = *head;
            bits.flip(&mut flipped.root);
            wrong(proof.verify(leaf, index(i), &flipped));
            for at in 0..proof.hashes.len() {
                let mut proof = proof.clone();
                bits.flip(&mut proof.hashes[at]);
                wrong(proof.verify(leaf, index(i), head));
            }
            // One hash more or less, on either end.
            let mut long = proof.clone();
            long.hashes.push(head.root);
            assert_eq!(long.verify(leaf, index(i), head), Err(ProofError::TooLong));
            let mut long = proof.clone();
            long.hashes.insert(0, leaf.into());
            assert_eq!(long.verify(leaf, index(i), head), Err(ProofError::TooLong));
            if n > 1 {
                let mut short = proof.clone();
                short.hashes.pop();
                assert_eq!(short.verify(leaf, index(i), head), Err(ProofError::TooShort));
                let mut short = proof.clone();
                short.hashes.remove(0);
                wrong(short.verify(leaf, index(i), head));
            }
        }
        for i in [n, n + 1, TreeSize::MAX.get()] {
            let made = InclusionProof::make(&table, index(i), head.size);
            assert_eq!(made, Err(MakeError::IndexBeyondSize));
        }
    }
}

// An inclusion proof doesn't carry the tree size: it's the signed head that ties the root to one.
// So with the right root and a size that isn't its own, a proof passes exactly where the path of
// the leaf looks the same in both trees, and nothing but the leaf and its place is claimed by it.
#[test]
fn a_root_under_another_size_is_at_most_the_same_path() {
    let leaves = leaves(40);
    let table = Table::new(leaves.clone());
    let heads = heads(&leaves);
    // The side of each sibling.
    let shape = |i: u64, n: u64| -> Option<Vec<bool>> {
        let path = Subtree::tree(size(n)).inclusion_path(index(i))?;
        Some(path.iter().map(|sibling| sibling.start() > i).collect())
    };
    for head in &heads {
        let n = head.size.get();
        for i in 0..n {
            let proof = InclusionProof::make(&table, index(i), head.size).unwrap();
            for other in 0..64 {
                let claim = TreeHead { size: size(other), root: head.root };
                let leaf = LeafHash(leaves[i as usize].0);
                assert_eq!(
                    proof.verify(leaf, index(i), &claim).is_ok(),
                    shape(i, n) == shape(i, other),
                    "{i} of {n} as of {other}"
                );
            }
        }
    }
}

#[test]
fn every_tree_is_the_beginning_of_every_later_one_and_of_no_other() {
    let leaves = leaves(LARGEST);
    let table = Table::new(leaves.clone());
    let heads = heads(&leaves);
    let mut bits = Bits(2);
    for new in &heads {
        let n = new.size.get();
        for old in &heads[..=n as usize] {
            let m = old.size.get();
            let proof = ConsistencyProof::make(&table, old.size, new.size).unwrap();
            if n < 70 || m % 41 == 0 {
                assert_eq!(proof.hashes, naive::consistency(m as usize, &leaves[..n as usize], true));
            }
            assert_eq!(proof.verify(old, new), Ok(()));

            let wrong = |result: Result<(), ProofError>| assert!(result.is_err(), "{m} to {n}");
            // The same proof between other trees. From nothing, and between equals, the empty proof
            // is the right one whatever the size.
            if m != 0 && m != n {
                for other in [m - 1, m + 1, m ^ 2, m / 2, m * 2, n] {
                    match heads.get(other as usize) {
                        Some(other) if other != old => wrong(proof.verify(other, new)),
                        _ => {}
                    }
                }
                for other in [n - 1, n + 1, n ^ 2, n / 2, n * 2, m] {
                    match heads.get(other as usize) {
                        Some(other) if other != new => wrong(proof.verify(old, other)),
                        _ => {}
                    }
                }
                assert_eq!(proof.verify(new, old), Err(ProofError::Shrinks));
                assert_eq!(ConsistencyProof::make(&table, new.size, old.size), Err(MakeError::Shrinks));
            }
            // One bit of either root, or of any hash.
            let mut flipped = *old;
            bits.flip(&mut flipped.root);
            wrong(proof.verify(&flipped, new));
            if m != 0 {
                let mut flipped = *new;
                bits.flip(&mut flipped.root);
                wrong(proof.verify(old, &flipped));
            }
            for at in 0..proof.hashes.len() {
                let mut proof = proof.clone();
                bits.flip(&mut proof.hashes[at]);
                wrong(proof.verify(old, new));
            }
            // One hash more or less, on either end.
            let mut long = proof.clone();
            long.hashes.push(new.root);
            assert_eq!(long.verify(old, new), Err(ProofError::TooLong));
            let mut long = proof.clone();
            long.hashes.insert(0, old.root);
            wrong(long.verify(old, new));
            if !proof.hashes.is_empty() {
                let mut short = proof.clone();
                short.hashes.pop();
                assert_eq!(short.verify(old, new), Err(ProofError::TooShort));
                let mut short = proof.clone();
                short.hashes.remove(0);
                wrong(short.verify(old, new));
            }
        }
    }
}

#[test]
fn every_tree_extends_the_empty_one_by_the_empty_proof_alone() {
    let head = TreeHead { size: size(5), root: Hash([5; 32]) };
    let none = ConsistencyProof::default();
    assert_eq!(none.verify(&TreeHead::EMPTY, &head), Ok(()));
    assert_eq!(none.verify(&TreeHead::EMPTY, &TreeHead::EMPTY), Ok(()));
    let some = ConsistencyProof { hashes: vec![head.root] };
    for new in [head, TreeHead::EMPTY] {
        assert_eq!(some.verify(&TreeHead::EMPTY, &new), Err(ProofError::TooLong));
    }
    // A tree without leaves has one root.
    let other = TreeHead { size: TreeSize::ZERO, root: head.root };
    assert_eq!(none.verify(&other, &head), Err(ProofError::WrongOldRoot));
    assert_eq!(none.verify(&TreeHead::EMPTY, &other), Err(ProofError::WrongRoot));
    assert_eq!(none.verify(&other, &other), Err(ProofError::WrongRoot));
}

#[test]
fn huge_trees_are_proven_as_small_ones() {
    let max = TreeSize::MAX.get();
    let places = [0, 1, 2, (1 << 32) - 1, 1 << 32, (1 << 56) + 3, (1 << 62) - 1, 1 << 62, max - 2, max - 1];
    let sizes = [1, 3, 1 << 32, (1 << 32) + 1, (1 << 62) - 1, 1 << 62, (1 << 62) + 1, max - 1, max];
    let tree = Sparse::new(places);
    let head = |n: u64| {
        let Ok(root) = root_at(&tree, size(n));
        TreeHead { size: size(n), root }
    };
    for n in sizes {
        for i in places {
            let made = InclusionProof::make(&tree, index(i), size(n));
            if i >= n {
                assert_eq!(made, Err(MakeError::IndexBeyondSize));
                continue;
            }
            let proof = made.unwrap();
            assert!(proof.hashes.len() <= 63);
            let leaf = LeafHash::of(&i.to_be_bytes());
            assert_eq!(proof.verify(leaf, index(i), &head(n)), Ok(()), "{i} {n}");
            for other in places.into_iter().filter(|other| *other != i) {
                assert!(proof.verify(leaf, index(other), &head(n)).is_err());
            }
        }
        for m in sizes.into_iter().filter(|m| *m <= n) {
            let proof = ConsistencyProof::make(&tree, size(m), size(n)).unwrap();
            assert!(proof.hashes.len() <= 64);
            assert_eq!(proof.verify(&head(m), &head(n)), Ok(()), "{m} {n}");
            if m < n {
                assert_eq!(proof.verify(&head(n), &head(m)), Err(ProofError::Shrinks));
                let mut long = proof.clone();
                long.hashes.push(Hash::EMPTY_ROOT);
                assert_eq!(long.verify(&head(m), &head(n)), Err(ProofError::TooLong));
            }
        }
    }

    // The tiles of the largest tree: its edge gives its root, and its last leaf is proven by them.
    let source = |tile: Tile| -> Result<Vec<u8>, ()> {
        let first = tile.index * 256;
        let hashes = (first..first + u64::from(tile.width)).flat_map(|i| {
            let Ok(hash) = tree.node(tile.level * 8, i);
            hash.0
        });
        Ok(hashes.collect())
    };
    let edge = Edge::load(TreeSize::MAX, source).unwrap();
    assert_eq!(edge.head(), head(max));
    let nodes = TileNodes::new(TreeSize::MAX, source);
    let proof = InclusionProof::make(&nodes, index(max - 1), TreeSize::MAX).unwrap();
    let leaf = LeafHash::of(&(max - 1).to_be_bytes());
    assert_eq!(proof.verify(leaf, index(max - 1), &edge.head()), Ok(()));
}

#[test]
fn a_log_that_keeps_what_it_needs_can_prove_everything() {
    // Published sizes around every boundary of tiles on two levels.
    let sizes: [u64; 15] = [0, 1, 2, 255, 256, 257, 300, 511, 512, 1000, 65_280, 65_535, 65_536, 65_537, 66_000];
    let leaves = leaves(66_000);
    let table = Table::new(leaves.clone());
    let mut edge = Edge::new();
    let mut stored: BTreeMap<Tile, Vec<u8>> = BTreeMap::new();
    let mut old = TreeSize::ZERO;
    for n in sizes {
        for leaf in &leaves[old.get() as usize..n as usize] {
            edge.push(LeafHash(leaf.0)).unwrap();
        }
        let mut tiles = edge.take_full();
        tiles.extend(edge.partial());
        for (tile, bytes) in &tiles {
            assert_eq!(*bytes, table.tile(*tile), "{tile}");
        }
        // What the edge hands out that is new is what the list says, no more and no less.
        let mut written: Vec<Tile> = tiles
            .into_iter()
            .filter(|(tile, bytes)| stored.insert(*tile, bytes.clone()).is_none())
            .map(|(tile, _)| tile)
            .collect();
        written.sort();
        let needed: Vec<Path> = tile::needed(old, edge.size()).collect();
        let listed: Vec<Tile> = needed
            .iter()
            .filter_map(|path| match path {
                Path::Tile(tile) => Some(*tile),
                _ => None,
            })
            .collect();
        assert_eq!(written, listed, "{old} to {n}");
        let entries: Vec<_> = needed
            .iter()
            .filter_map(|path| match path {
                Path::Entries(entries) => Some((entries.index, entries.width)),
                _ => None,
            })
            .collect();
        let level_0: Vec<_> =
            listed.iter().filter(|tile| tile.level == 0).map(|tile| (tile.index, tile.width)).collect();
        assert_eq!(entries, level_0);
        old = edge.size();

        let Ok(root) = root_at(&table, old);
        assert_eq!(edge.head(), TreeHead { size: old, root });
        let nodes = TileNodes::new(old, |tile: Tile| stored.get(&tile).cloned().ok_or(tile));
        let head = edge.head();
        for i in (0..n).step_by(1 + n as usize / 37).chain(n.checked_sub(1)) {
            let proof = InclusionProof::make(&nodes, index(i), old).unwrap();
            let leaf = LeafHash(leaves[i as usize].0);
            assert_eq!(proof.verify(leaf, index(i), &head), Ok(()));
        }
        for m in sizes.into_iter().filter(|m| *m <= n) {
            let proof = ConsistencyProof::make(&nodes, size(m), old).unwrap();
            let Ok(root) = root_at(&table, size(m));
            let before = TreeHead { size: size(m), root };
            assert_eq!(proof.verify(&before, &head), Ok(()));
        }
        for (level, hashes) in table.0.iter().enumerate() {
            for (i, hash) in hashes.iter().enumerate().step_by(1 + hashes.len() / 50) {
                let inside = (i as u64 + 1) << level <= n;
                let read = nodes.node(level as u8, i as u64);
                assert_eq!(read.ok(), inside.then_some(*hash), "{level} {i}");
            }
        }
    }
}
