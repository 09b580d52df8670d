//! Cosignatures of subtrees, and the message that all ML-DSA-44 cosignatures sign.
//! <https://c2sp.org/tlog-cosignature#ml-dsa-44-signed-message>
//!
//! ```text
//! "subtree/v1\n\0"                       label[12]
//! u8 length || cosigner's name            1..255 bytes
//! u64 time                                0 for a subtree
//! u8 length || log's origin               1..255 bytes
//! u64 start || u64 end                    the leaves; 0 and the size for a checkpoint
//! hash[32]                                their hash
//! ```
//!
//! It means: this subtree is part of the one history of the log that the cosigner has seen. With
//! a time, which only a whole tree may have, it also means that nothing larger was seen.

use alloc::vec::Vec;

use crate::checkpoint::{Checkpoint, Origin};
use crate::cosignature::Seconds;
use crate::hash::Hash;
use crate::key::{KeyName, Kind, Vkey};
use crate::ml_dsa;
use crate::note::SignatureLine;
use crate::subtree::Subtree;

const LABEL: &[u8; 12] = b"subtree/v1\n\0";

/// How a cosignature of a subtree is written. tlog-cosignature is about to drop its time, which is
/// always zero, from message and line: then this becomes `None`, here and nowhere else.
const SUBTREE_TIME: Option<u64> = Some(0);

/// A cosignature of a subtree, verified or made here. It is no cosignature of a checkpoint, not
/// even where the subtree is a whole tree: it does not say that nothing larger was seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SubtreeCosignature {
    subtree: Subtree,
    hash: Hash,
    line: SignatureLine,
}

impl SubtreeCosignature {
    /// `line` as a cosignature by `vkey` of the subtree with this hash. `None` where it is by
    /// another key, or does not verify.
    #[must_use]
    pub fn verify(
        origin: &Origin,
        subtree: Subtree,
        hash: &Hash,
        line: &SignatureLine,
        vkey: &Vkey,
    ) -> Option<SubtreeCosignature> {
        if !vkey.matches(line) {
            return None;
        }
        let message = message(vkey, origin, subtree, hash)?;
        let signature = match SUBTREE_TIME {
            Some(time) => line.signature().strip_prefix(&time.to_be_bytes())?,
            None => line.signature(),
        };
        let valid = ml_dsa::verify(vkey.public_key().try_into().ok()?, &message, signature);
        valid.then(|| SubtreeCosignature { subtree, hash: *hash, line: line.clone() })
    }

    /// The line that carries `signature`, which is one over [`message`].
    pub(crate) fn by(vkey: &Vkey, subtree: Subtree, hash: Hash, signature: &[u8]) -> SubtreeCosignature {
        let mut bytes = Vec::with_capacity(8 + signature.len());
        if let Some(time) = SUBTREE_TIME {
            bytes.extend_from_slice(&time.to_be_bytes());
        }
        bytes.extend_from_slice(signature);
        SubtreeCosignature { subtree, hash, line: SignatureLine::by(vkey, bytes) }
    }

    /// The leaves.
    #[must_use]
    pub fn subtree(&self) -> Subtree {
        self.subtree
    }

    /// Their hash.
    #[must_use]
    pub fn hash(&self) -> &Hash {
        &self.hash
    }

    /// The signature line.
    #[must_use]
    pub fn line(&self) -> &SignatureLine {
        &self.line
    }
}

/// What `vkey` signs for a subtree. `None` for keys of other kinds than ML-DSA-44.
pub(crate) fn message(vkey: &Vkey, origin: &Origin, subtree: Subtree, hash: &Hash) -> Option<Vec<u8>> {
    (vkey.kind() == Kind::MlDsa44).then(|| encode(vkey.name(), SUBTREE_TIME, origin, subtree, hash))
}

/// What an ML-DSA-44 key named `name` signs for a checkpoint.
pub(crate) fn tree_message(name: &KeyName, time: Seconds, checkpoint: &Checkpoint) -> Vec<u8> {
    let Checkpoint { origin, head, .. } = checkpoint;
    encode(name, Some(time.get()), origin, Subtree::tree(head.size), &head.root)
}

fn encode(name: &KeyName, time: Option<u64>, origin: &Origin, subtree: Subtree, hash: &Hash) -> Vec<u8> {
    let (name, origin) = (name.as_str().as_bytes(), origin.as_str().as_bytes());
    let mut message = Vec::with_capacity(70 + name.len() + origin.len());
    message.extend_from_slice(LABEL);
    push_short(&mut message, name);
    if let Some(time) = time {
        message.extend_from_slice(&time.to_be_bytes());
    }
    push_short(&mut message, origin);
    message.extend_from_slice(&subtree.start().to_be_bytes());
    message.extend_from_slice(&subtree.end().to_be_bytes());
    message.extend_from_slice(&hash.0);
    message
}

/// Appends a length of one byte and the bytes. Names and origins have at most 255, by their types.
fn push_short(message: &mut Vec<u8>, bytes: &[u8]) {
    message.push(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
    message.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cosignature::{CheckpointCosignature, Cosigner};
    use crate::tree::{TreeHead, TreeSize};

    #[test]
    fn a_subtree_cosignature_is_of_one_subtree_of_one_log() {
        let cosigner = Cosigner::ml_dsa_44(KeyName::new("witness.example").unwrap(), &[7; 32]);
        let origin = Origin::new("example.com/log").unwrap();
        let subtree = Subtree::new(8, 13).unwrap();
        let made = cosigner.cosign_subtree(&origin, subtree, Hash([1; 32])).unwrap();
        let verify = |origin: &Origin, subtree, hash| {
            SubtreeCosignature::verify(origin, subtree, &Hash([hash; 32]), made.line(), cosigner.vkey())
        };
        assert_eq!(verify(&origin, subtree, 1), Some(made.clone()));
        assert_eq!((made.subtree(), made.hash()), (subtree, &Hash([1; 32])));
        assert_eq!(verify(&origin, subtree, 2), None);
        assert_eq!(verify(&origin, Subtree::new(8, 14).unwrap(), 1), None);
        assert_eq!(verify(&Origin::new("example.com/log2").unwrap(), subtree, 1), None);

        let ed25519 = Cosigner::new(KeyName::new("witness.example").unwrap(), &[7; 32]);
        assert_eq!(ed25519.cosign_subtree(&origin, subtree, Hash([1; 32])), None);
    }

    #[test]
    fn a_whole_tree_as_a_subtree_is_no_checkpoint() {
        let cosigner = Cosigner::ml_dsa_44(KeyName::new("witness.example").unwrap(), &[7; 32]);
        let origin = Origin::new("example.com/log").unwrap();
        let head = TreeHead { size: TreeSize::new(13).unwrap(), root: Hash([1; 32]) };
        let checkpoint = Checkpoint::new(origin.clone(), head);
        let tree = Subtree::tree(head.size);

        let as_subtree = cosigner.cosign_subtree(&origin, tree, head.root).unwrap();
        assert_eq!(CheckpointCosignature::verify(&checkpoint, as_subtree.line(), cosigner.vkey()), None);
        let as_tree = cosigner.cosign_checkpoint(&checkpoint, Seconds::new(5).unwrap()).unwrap();
        assert_eq!(SubtreeCosignature::verify(&origin, tree, &head.root, as_tree.line(), cosigner.vkey()), None);
    }
}
