//! Transparency-log formats and decisions for any C2SP log, over public bytes.
//!
//! ```text
//!  entry -- LeafHash --> Edge / Frontier --> TreeHead --> Checkpoint --> Note --> cosignatures
//!                         |                     ^                         |
//!                         v                     | verify                  v
//!                       tiles, bundles --> proofs, Reader           Policy, ProofFile, witness
//! ```
//!
//! | file | what it is | where it is written |
//! |---|---|---|
//! | [`hash`] | leaf and node hashes | [RFC 6962 section 2.1] |
//! | [`tree`] | sizes, leaf indexes, heads | [RFC 6962 section 2.1] |
//! | [`frontier`] | what a tree needs in order to grow | ours |
//! | [`subtree`] | aligned runs of leaves, their proofs, covers | [merkle-tree-certs], "Subtrees" |
//! | [`proof`] | inclusion and consistency | [RFC 9162 section 2.1] |
//! | [`tile`] | tiles and their paths | [tlog-tiles] |
//! | [`bundle`] | bundles of entries | [tlog-tiles] |
//! | [`edge`] | the tiles a log still adds to | [tlog-tiles] |
//! | [`reader`] | entries between two heads, each one verified | [tlog-tiles] |
//! | [`text`], [`key`], [`note`] | signed text, strictly | [signed-note] |
//! | [`checkpoint`] | what a log says about itself | [tlog-checkpoint] |
//! | [`cosignature`], [`subtree_cosignature`] | what a witness says about a log | [tlog-cosignature] |
//! | [`ml_dsa`] | signatures of type 0x06 | FIPS 204 |
//! | [`policy`] | who has to have signed | [tlog-policy] |
//! | [`proof_file`] | one entry, provable offline | [tlog-proof] |
//! | [`witness`], [`sign_subtree`] | what a witness decides | [tlog-witness] |
//! | [`log_list`] | logs that witnesses are to know | tlog-list |
//!
//! The crate has no clock, no disk, no network and no randomness: whatever it decides, it decides
//! from its arguments, and every other program can decide it again. What it parses has one
//! spelling, and no input makes it panic.
//!
//! [RFC 6962 section 2.1]: https://www.rfc-editor.org/rfc/rfc6962#section-2.1
//! [RFC 9162 section 2.1]: https://www.rfc-editor.org/rfc/rfc9162#section-2.1
//! [merkle-tree-certs]: https://datatracker.ietf.org/doc/draft-ietf-plants-merkle-tree-certs/
//! [tlog-tiles]: https://c2sp.org/tlog-tiles
//! [signed-note]: https://c2sp.org/signed-note
//! [tlog-checkpoint]: https://c2sp.org/tlog-checkpoint
//! [tlog-cosignature]: https://c2sp.org/tlog-cosignature
//! [tlog-policy]: https://c2sp.org/tlog-policy
//! [tlog-proof]: https://c2sp.org/tlog-proof
//! [tlog-witness]: https://c2sp.org/tlog-witness

#![no_std]
#![warn(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(test, allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic))]

extern crate alloc;

pub mod bundle;
pub mod edge;
pub mod frontier;
pub mod hash;
pub mod proof;
pub mod reader;
pub mod subtree;
pub mod tile;
pub mod tree;

pub mod checkpoint;
pub mod cosignature;
pub mod key;
pub mod log_list;
pub mod ml_dsa;
pub mod note;
pub mod policy;
pub mod proof_file;
mod secret;
pub mod sign_subtree;
pub mod subtree_cosignature;
pub mod text;
pub mod witness;

pub use edge::Edge;
pub use frontier::Frontier;
pub use hash::{Hash, LeafHash};
pub use proof::{ConsistencyProof, InclusionProof, Nodes, ProofError, root_at};
pub use tile::Tile;
pub use tree::{LeafIndex, TooLarge, TreeHead, TreeSize};
