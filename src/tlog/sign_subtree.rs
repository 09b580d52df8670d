//! Asking a witness for a cosignature of a subtree: the request, and the decision. <https://c2sp.org/tlog-witness#sign-subtree>
//!
//! ```text
//! subtree 8 13                                   POST <prefix>/sign-subtree
//! mbsQCg+dEIMGlpqeGgk94JutQwKKS2Lo5IuDhKmDjiU=   the subtree's hash
//! CD82D2LDm0phY0+xKbHyZfq3Hw21lVkuV7Zis5EFg0k=   its proof, 0..63 hashes
//!
//! example.com/behind-the-sofa                    a checkpoint that this witness cosigned
//! ...
//!
//! — witness.example/w1 GuvvwNqqDmhh5O...         the answer: lines over the subtree
//! ```
//!
//! The witness needs no memory for it: what it once cosigned is on its one history of the log, and
//! so is every subtree of that.

use alloc::string::String;
use alloc::vec::Vec;

use crate::checkpoint::{Checkpoint, CheckpointError, Origin};
use crate::cosignature::CheckpointCosignature;
use crate::hash::Hash;
use crate::key::Vkey;
use crate::note::{Note, NoteError, SignatureLineError};
use crate::proof::ConsistencyProof;
use crate::proof_file::{HashesError, read_hashes, write_hashes};
use crate::subtree::{Subtree, SubtreeError};
use crate::text::{self, Lines, TextError};
use crate::witness::MAX_BODY;

/// The body of a `sign-subtree` request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignSubtree {
    /// The leaves.
    pub subtree: Subtree,
    /// Their hash.
    pub hash: Hash,
    /// The proof that they are in the tree of the checkpoint.
    pub proof: ConsistencyProof,
    /// The reference checkpoint, cosigned by the witness.
    pub note: Note,
}

/// Why bytes are not a `sign-subtree` request, in the order of the checks. All but one are a 400.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SubtreeRequestError {
    /// More than [`MAX_BODY`] bytes.
    #[error("the request is longer than 128 KiB")]
    TooLong,
    /// Not UTF-8, or with a control character.
    #[error("request: {0}")]
    Text(#[from] TextError),
    /// The first line is not `subtree` and two decimal numbers.
    #[error("the first line is not: subtree <start> <end>")]
    Range,
    /// The numbers are no subtree.
    #[error("{0}")]
    Subtree(#[from] SubtreeError),
    /// The second line, or a line of the proof, is not the base64 of 32 bytes.
    #[error("a hash is not the base64 of 32 bytes")]
    Hash,
    /// More than 63 hashes in the proof.
    #[error("the proof has more than 63 hashes")]
    TooManyHashes,
    /// No empty line after the hashes.
    #[error("no empty line between proof and checkpoint")]
    NoEmptyLine,
    /// The rest is not a signed note.
    #[error("{0}")]
    Note(#[from] NoteError),
    /// The note's text is not a checkpoint.
    #[error("{0}")]
    Checkpoint(#[from] CheckpointError),
    /// The subtree ends beyond the checkpoint.
    #[error("the subtree ends beyond the checkpoint")]
    BeyondCheckpoint,
}

impl SubtreeRequestError {
    /// The HTTP status that answers it: 400, or 403 where only a signature is unreadable, as for
    /// `add-checkpoint`.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            SubtreeRequestError::Note(NoteError::Line(SignatureLineError::Base64)) => 403,
            _ => 400,
        }
    }
}

impl SignSubtree {
    /// Reads the body of a request.
    pub fn parse(body: &[u8]) -> Result<SignSubtree, SubtreeRequestError> {
        if body.len() > MAX_BODY {
            return Err(SubtreeRequestError::TooLong);
        }
        let mut lines = Lines::new(text::check(body)?);
        let range = lines.next().and_then(|line| line.strip_prefix("subtree ")?.split_once(' '));
        let range = range.and_then(|(start, end)| Some((text::decimal(start)?, text::decimal(end)?)));
        let (start, end) = range.ok_or(SubtreeRequestError::Range)?;
        let subtree = Subtree::new(start, end)?;
        let hash = lines.next().and_then(Hash::from_base64).ok_or(SubtreeRequestError::Hash)?;
        let (hashes, note) = read_hashes(lines).map_err(|error| match error {
            HashesError::Hash => SubtreeRequestError::Hash,
            HashesError::TooMany => SubtreeRequestError::TooManyHashes,
            HashesError::NoEmptyLine => SubtreeRequestError::NoEmptyLine,
        })?;
        let note = Note::parse(note.as_bytes())?;
        if subtree.end() > Checkpoint::parse_text(note.text())?.head.size.get() {
            return Err(SubtreeRequestError::BeyondCheckpoint);
        }
        Ok(SignSubtree { subtree, hash, proof: ConsistencyProof { hashes }, note })
    }

    /// The body of the request: what [`SignSubtree::parse`] read.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let (start, end) = (self.subtree.start(), self.subtree.end());
        let mut body: String = alloc::format!("subtree {start} {end}\n{}\n", self.hash.to_base64());
        write_hashes(&mut body, &self.proof.hashes);
        body.push_str(&self.note.to_text());
        body.into_bytes()
    }

    /// The origin that the checkpoint claims. No signature was verified yet.
    pub fn claimed_origin(&self) -> Result<Origin, CheckpointError> {
        Checkpoint::parse_text(self.note.text()).map(|checkpoint| checkpoint.origin)
    }
}

/// What to sign.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SubtreeToSign {
    /// The log.
    pub origin: Origin,
    /// The leaves.
    pub subtree: Subtree,
    /// Their hash.
    pub hash: Hash,
}

/// Why a witness would not cosign a subtree, in the order of the checks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SubtreeRefusal {
    /// 404: the origin is not configured.
    #[error("this witness does not know the log")]
    UnknownLog,
    /// 403: no cosignature of the checkpoint by a key of the witness, or a bad one in its name.
    #[error("this witness did not cosign the checkpoint")]
    NotCosigned,
    /// 422: the proof does not verify.
    #[error("the subtree is not part of the checkpoint's tree")]
    Inconsistent,
}

impl SubtreeRefusal {
    /// The HTTP status that answers it.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            SubtreeRefusal::UnknownLog => 404,
            SubtreeRefusal::NotCosigned => 403,
            SubtreeRefusal::Inconsistent => 422,
        }
    }
}

/// Decides one `sign-subtree` request for the witness with `keys`. `known` says whether a log is
/// configured.
///
/// A cosignature of a whole tree *as a subtree* is not one of a checkpoint, and does not pass for
/// one here.
pub fn decide(
    known: impl FnOnce(&Origin) -> bool,
    keys: &[Vkey],
    request: &SignSubtree,
) -> Result<SubtreeToSign, SubtreeRefusal> {
    let checkpoint = Checkpoint::parse_text(request.note.text()).map_err(|_| SubtreeRefusal::UnknownLog)?;
    if !known(&checkpoint.origin) {
        return Err(SubtreeRefusal::UnknownLog);
    }
    let mut cosigned = false;
    for line in request.note.signatures() {
        for key in keys.iter().filter(|key| key.matches(line)) {
            // One bad signature in the witness's name spoils the note, as in any signed note.
            CheckpointCosignature::verify(&checkpoint, line, key).ok_or(SubtreeRefusal::NotCosigned)?;
            cosigned = true;
        }
    }
    if !cosigned {
        return Err(SubtreeRefusal::NotCosigned);
    }
    let SignSubtree { subtree, hash, proof, .. } = request;
    subtree.verify_consistency(proof, hash, &checkpoint.head).map_err(|_| SubtreeRefusal::Inconsistent)?;
    Ok(SubtreeToSign { origin: checkpoint.origin, subtree: *subtree, hash: *hash })
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use core::convert::Infallible;

    use super::*;
    use crate::cosignature::{Cosigner, Seconds};
    use crate::hash::LeafHash;
    use crate::key::KeyName;
    use crate::proof::{Nodes, root_at};
    use crate::tree::{TreeHead, TreeSize};

    /// A log whose leaves are numbers.
    struct Log;

    impl Nodes for Log {
        type Error = Infallible;

        fn node(&self, level: u8, index: u64) -> Result<Hash, Infallible> {
            if level == 0 {
                return Ok(LeafHash::of(&index.to_be_bytes()).into());
            }
            Ok(Hash::node(&self.node(level - 1, index * 2)?, &self.node(level - 1, index * 2 + 1)?))
        }
    }

    fn checkpoint(size: u64) -> Checkpoint {
        let size = TreeSize::new(size).unwrap();
        let Ok(root) = root_at(&Log, size);
        Checkpoint::new(Origin::new("example.com/log").unwrap(), TreeHead { size, root })
    }

    fn witness() -> Cosigner {
        Cosigner::ml_dsa_44(KeyName::new("witness.example/w1").unwrap(), &[7; 32])
    }

    fn request(start: u64, end: u64, size: u64) -> SignSubtree {
        let subtree = Subtree::new(start, end).unwrap();
        let Ok(hash) = subtree.hash(&Log);
        let proof = subtree.prove_consistency(&Log, TreeSize::new(size).unwrap()).unwrap();
        let line = witness().cosign(&checkpoint(size).to_text(), Seconds::new(5).unwrap());
        SignSubtree { subtree, hash, proof, note: Note::new(&checkpoint(size).to_text(), vec![line]).unwrap() }
    }

    fn decided(request: &SignSubtree) -> Result<SubtreeToSign, SubtreeRefusal> {
        decide(|_| true, &[witness().vkey().clone()], request)
    }

    #[test]
    fn every_subtree_of_a_cosigned_tree_is_signed() {
        for size in 1..20 {
            for end in 0..=size {
                for start in 0..=end {
                    if Subtree::new(start, end).is_err() {
                        continue;
                    }
                    let request = request(start, end, size);
                    assert_eq!(SignSubtree::parse(&request.to_bytes()).as_ref(), Ok(&request));
                    let sign = decided(&request).unwrap();
                    assert_eq!((sign.subtree, sign.hash), (request.subtree, request.hash));
                    let mut wrong = request.clone();
                    wrong.hash.0[0] ^= 1;
                    assert_eq!(decided(&wrong), Err(SubtreeRefusal::Inconsistent), "{start} {end} {size}");
                }
            }
        }
    }

    #[test]
    fn only_what_this_witness_cosigned_as_a_checkpoint_is_a_reference() {
        let good = request(8, 13, 14);
        assert_eq!(decide(|_| false, &[witness().vkey().clone()], &good), Err(SubtreeRefusal::UnknownLog));
        let other = Cosigner::ml_dsa_44(KeyName::new("witness.example/w2").unwrap(), &[8; 32]);
        assert_eq!(decide(|_| true, &[other.vkey().clone()], &good), Err(SubtreeRefusal::NotCosigned));

        let note = |line| Note::new(good.note.text(), vec![line]).unwrap();
        let tree = Subtree::new(0, 14).unwrap();
        let as_subtree = witness().cosign_subtree(&checkpoint(14).origin, tree, checkpoint(14).head.root).unwrap();
        let bad = SignSubtree { note: note(as_subtree.line().clone()), ..good.clone() };
        assert_eq!(decided(&bad), Err(SubtreeRefusal::NotCosigned));
        let another = witness().cosign(&checkpoint(13).to_text(), Seconds::new(5).unwrap());
        assert_eq!(
            decided(&SignSubtree { note: note(another.clone()), ..good.clone() }),
            Err(SubtreeRefusal::NotCosigned)
        );
        // Even beside a good one.
        let spoilt = SignSubtree { note: good.note.with_signature(another).unwrap(), ..good.clone() };
        assert_eq!(decided(&spoilt), Err(SubtreeRefusal::NotCosigned));
        // A stranger is passed over.
        let line = other.cosign("example.com/log\n", Seconds::new(5).unwrap());
        assert!(decided(&SignSubtree { note: good.note.with_signature(line).unwrap(), ..good }).is_ok());
    }

    #[test]
    fn each_fault_of_a_request_has_its_name() {
        let good = String::from_utf8(request(8, 13, 14).to_bytes()).unwrap();
        let hash = request(8, 13, 14).hash.to_base64();
        let proof = request(8, 13, 14).proof.hashes[0].to_base64();
        for (bad, error) in [
            (good.replacen("subtree 8 13", "subtree 8  13", 1), SubtreeRequestError::Range),
            (good.replacen("subtree 8 13", "subtree 08 13", 1), SubtreeRequestError::Range),
            (good.replacen("subtree 8 13", "subtree 8", 1), SubtreeRequestError::Range),
            (good.replacen("subtree 8 13", "old 8 13", 1), SubtreeRequestError::Range),
            (good.replacen("8 13", "9 13", 1), SubtreeError::Unaligned.into()),
            (good.replacen("8 13", "8 7", 1), SubtreeError::Reversed.into()),
            (good.replacen("8 13", "8 15", 1), SubtreeRequestError::BeyondCheckpoint),
            (good.replacen(&hash, &hash[1..], 1), SubtreeRequestError::Hash),
            (good.replacen(&proof, &proof[1..], 1), SubtreeRequestError::Hash),
            (good.replacen(&proof, &vec![proof.as_str(); 64].join("\n"), 1), SubtreeRequestError::TooManyHashes),
            (good.replace('\n', "\r\n"), TextError::ControlCharacter.into()),
        ] {
            assert_eq!(SignSubtree::parse(bad.as_bytes()), Err(error), "{bad}");
            assert_eq!(error.status(), 400);
        }
        assert_eq!(SignSubtree::parse(&vec![b'x'; MAX_BODY + 1]), Err(SubtreeRequestError::TooLong));
    }
}
