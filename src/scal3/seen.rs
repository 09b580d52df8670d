//! The head a device has seen, shown to lie on the log's history.
//!
//! Each record names the last tree head that its device had verified. That head is an ancestor of
//! the tree the record entered, or the log has shown two histories, and the record is the
//! signed proof of it. The comparison needs a proof or the tree, which this crate does not fetch;
//! [`SeenOnHistory`] says in a type that somebody made it.

use tlog::Hash;
use tlog::proof::{ConsistencyProof, ProofError};
use tlog::tree::TreeHead;

/// A head that was shown to lie on the history of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenOnHistory(TreeHead);

/// The root at this size is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the root at this size is another one")]
pub struct OtherRoot;

impl SeenOnHistory {
    /// By a proof that a head which the caller trusts extends the one seen.
    ///
    /// # Errors
    /// As [`ConsistencyProof::verify`].
    pub fn by_proof(
        seen: &TreeHead,
        proof: &ConsistencyProof,
        trusted: &TreeHead,
    ) -> Result<SeenOnHistory, ProofError> {
        proof.verify(seen, trusted)?;
        Ok(SeenOnHistory(*seen))
    }

    /// By the root that the caller computed, from leaves it trusts, for the size that was seen.
    ///
    /// # Errors
    /// [`OtherRoot`].
    pub fn by_root(seen: &TreeHead, computed: &Hash) -> Result<SeenOnHistory, OtherRoot> {
        if seen.root == *computed { Ok(SeenOnHistory(*seen)) } else { Err(OtherRoot) }
    }

    /// The head.
    pub fn head(&self) -> &TreeHead {
        &self.0
    }
}
