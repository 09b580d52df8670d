//! Proofs: a leaf is in a tree, a tree is the beginning of another.
//! <https://www.rfc-editor.org/rfc/rfc9162#section-2.1.3> (inclusion), `#section-2.1.4` (consistency)
//!
//! ```text
//! inclusion of leaf 2 in size 5        consistency of size 3 with size 5
//!
//!             root                                 root
//!            /    \                               /    \
//!           *     [4]  3rd                       *     [4]  4th
//!          / \                                  / \
//!  2nd  [a]   *                         3rd  [a]   *
//!            / \                                  / \
//!           2  [3]  1st                 1st    [2]  [3]  2nd
//! ```
//!
//! A proof is made from the hashes of complete subtrees, wherever they are kept ([`Nodes`]), and
//! verified from nothing but heads. A proof with a hash too many or too few never verifies, even
//! when some of its hashes lead to the root: a proof has one spelling.

use alloc::vec::Vec;

use crate::hash::{Hash, LeafHash};
use crate::subtree::Subtree;
use crate::tree::{LeafIndex, TreeHead, TreeSize};

/// The hashes of complete subtrees, which never change once their last leaf is in.
///
/// Level 0 are the leaves; the node `index` of `level` is over the leaves
/// `index * 2^level .. (index + 1) * 2^level`. Nodes that end beyond the tree are never asked for.
pub trait Nodes {
    /// Why a node can't be had.
    type Error;

    /// The hash of one complete subtree.
    fn node(&self, level: u8, index: u64) -> Result<Hash, Self::Error>;
}

impl<N: Nodes + ?Sized> Nodes for &N {
    type Error = N::Error;

    fn node(&self, level: u8, index: u64) -> Result<Hash, Self::Error> {
        (**self).node(level, index)
    }
}

/// The root of the tree of `size` leaves.
pub fn root_at<N: Nodes + ?Sized>(nodes: &N, size: TreeSize) -> Result<Hash, N::Error> {
    Subtree::tree(size).hash(nodes)
}

/// Shows that a leaf is at its index in a tree: the hashes beside its path, the leaf's sibling
/// first, at most 63.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct InclusionProof {
    /// The hashes, from the bottom up.
    pub hashes: Vec<Hash>,
}

impl InclusionProof {
    /// Makes the proof for the leaf at `index` in the tree of `size` leaves.
    pub fn make<N: Nodes + ?Sized>(
        nodes: &N,
        index: LeafIndex,
        size: TreeSize,
    ) -> Result<InclusionProof, MakeError<N::Error>> {
        Subtree::tree(size).prove_inclusion(nodes, index)
    }

    /// Checks that `leaf` is at `index` in the tree `head`.
    pub fn verify(&self, leaf: LeafHash, index: LeafIndex, head: &TreeHead) -> Result<(), ProofError> {
        Subtree::tree(head.size).verify_inclusion(self, leaf, index, &head.root)
    }
}

/// Shows that one tree is the beginning of another. At most 64 hashes, and at most 63 for every
/// size below 2^62, which is what fits into an `add-checkpoint` request.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ConsistencyProof {
    /// The hashes, from the bottom up.
    pub hashes: Vec<Hash>,
}

impl ConsistencyProof {
    /// Makes the proof that the tree of `old` leaves is the beginning of the tree of `new` leaves.
    /// It is empty from size 0, and between equal sizes.
    pub fn make<N: Nodes + ?Sized>(
        nodes: &N,
        old: TreeSize,
        new: TreeSize,
    ) -> Result<ConsistencyProof, MakeError<N::Error>> {
        Subtree::tree(old).prove_consistency(nodes, new)
    }

    /// Checks that the tree `old` is the beginning of the tree `new`.
    ///
    /// Every tree extends the empty one, by the empty proof and by no other. That is how
    /// <https://c2sp.org/tlog-witness> reads it and how a witness meets a log for the first time;
    /// RFC 9162 doesn't define that proof, and some libraries refuse it. An empty tree has to have
    /// the empty root on either side.
    pub fn verify(&self, old: &TreeHead, new: &TreeHead) -> Result<(), ProofError> {
        Subtree::tree(old.size).verify_consistency(self, &old.root, new)
    }
}

/// Why a proof doesn't show what it was asked to show. What can be told from the numbers alone is
/// checked first, then the length, then the hashes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProofError {
    /// There is no such leaf in the tree.
    #[error("the leaf index is outside the tree")]
    IndexBeyondSize,
    /// The old tree, or the subtree, ends beyond the new tree.
    #[error("the new tree is smaller than the old one")]
    Shrinks,
    /// Hashes are left over.
    #[error("the proof has too many hashes")]
    TooLong,
    /// The hashes don't reach the root.
    #[error("the proof has too few hashes")]
    TooShort,
    /// The hashes don't give the old root.
    #[error("the proof leads to another old root")]
    WrongOldRoot,
    /// The hashes don't give the (new) root.
    #[error("the proof leads to another root")]
    WrongRoot,
}

/// Why a proof can't be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MakeError<E> {
    /// There is no such leaf in the tree.
    #[error("the leaf index is outside the tree")]
    IndexBeyondSize,
    /// The old tree, or the subtree, ends beyond the new tree.
    #[error("the new tree is smaller than the old one")]
    Shrinks,
    /// A node could not be had.
    #[error("a node of the tree: {0}")]
    Nodes(E),
}
