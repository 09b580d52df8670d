//! The tree of RFC 6962 section 2.1 as it is defined there: recursive, slow and short.

#![allow(dead_code, reason = "each test program uses its part")]

use std::collections::BTreeMap;
use std::convert::Infallible;

use sha2::{Digest, Sha256};
use tlog::hash::Hash;
use tlog::proof::Nodes;

pub fn leaf(entry: &[u8]) -> Hash {
    Hash(Sha256::digest([&[0], entry].concat()).into())
}

pub fn node(left: Hash, right: Hash) -> Hash {
    Hash(Sha256::digest([&[1], &left.0[..], &right.0[..]].concat()).into())
}

/// `MTH(D[n])`
pub fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash(Sha256::digest(b"").into()),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node(root(left), root(right))
        }
    }
}

/// `PATH(m, D[n])`
pub fn inclusion(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return vec![];
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(k);
    let (mut path, sibling) = if m < k { (inclusion(m, left), right) } else { (inclusion(m - k, right), left) };
    path.push(root(sibling));
    path
}

/// `SUBPROOF(m, D[n], b)`; `PROOF(m, D[n])` with `b`.
pub fn consistency(m: usize, leaves: &[Hash], b: bool) -> Vec<Hash> {
    if m == 0 {
        return vec![];
    }
    if m == leaves.len() {
        return if b { vec![] } else { vec![root(leaves)] };
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(k);
    let (mut path, sibling) =
        if m <= k { (consistency(m, left, b), right) } else { (consistency(m - k, right, false), left) };
    path.push(root(sibling));
    path
}

/// The hashes of the complete subtrees of a list of leaves, by level.
pub struct Table(pub Vec<Vec<Hash>>);

impl Table {
    pub fn new(leaves: Vec<Hash>) -> Table {
        let mut levels = vec![leaves];
        while let Some(last) = levels.last().filter(|last| last.len() > 1) {
            let (pairs, _) = last.as_chunks::<2>();
            let above = pairs.iter().map(|[l, r]| node(*l, *r)).collect();
            levels.push(above);
        }
        Table(levels)
    }

    /// The bytes of a tile, from the definition: hash `i` is over `256^level` leaves.
    pub fn tile(&self, tile: tlog::Tile) -> Vec<u8> {
        let first = tile.index as usize * 256;
        self.0[usize::from(tile.level) * 8][first..first + usize::from(tile.width)]
            .iter()
            .flat_map(|hash| hash.0)
            .collect()
    }
}

impl Nodes for Table {
    type Error = Infallible;

    fn node(&self, level: u8, index: u64) -> Result<Hash, Infallible> {
        Ok(self.0[usize::from(level)][index as usize])
    }
}

/// A tree of any size in which all leaves are the same but a few.
pub struct Sparse {
    special: BTreeMap<u64, Hash>,
    plain: Vec<Hash>,
}

impl Sparse {
    pub fn new(special: impl IntoIterator<Item = u64>) -> Sparse {
        let mut plain = vec![leaf(b"plain")];
        for level in 0..63 {
            plain.push(node(plain[level], plain[level]));
        }
        Sparse { special: special.into_iter().map(|i| (i, leaf(&i.to_be_bytes()))).collect(), plain }
    }

    fn hash(&self, level: u8, index: u64) -> Hash {
        let (first, last) = (index << level, (((index + 1) as u128) << level) as u64 - 1);
        let mut special = self.special.range(first..=last);
        match (special.next(), level) {
            (None, _) => self.plain[usize::from(level)],
            (Some((_, hash)), 0) => *hash,
            _ => node(self.hash(level - 1, index * 2), self.hash(level - 1, index * 2 + 1)),
        }
    }
}

impl Nodes for Sparse {
    type Error = Infallible;

    fn node(&self, level: u8, index: u64) -> Result<Hash, Infallible> {
        Ok(self.hash(level, index))
    }
}
