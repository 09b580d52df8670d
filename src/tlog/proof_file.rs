//! Proof files: the offline proof that an entry is in a witnessed log. <https://c2sp.org/tlog-proof>
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra dGVzdA==                                  optional, and vouched for by nobody
//! index 73894
//! gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=    the leaf's sibling first
//! ...
//!
//! example.com/fancylog                            the checkpoint, signatures included
//! ...
//! ```
//!
//! The entry is not inside. Whoever verifies works out the leaf hash from the data at hand;
//! a proof that brought its own leaf would prove something about that leaf only.

use alloc::string::String;
use alloc::vec::Vec;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::hash::{Hash, LeafHash};
use crate::note::{Note, NoteError};
use crate::policy::{Accepted, Policy, PolicyError};
use crate::proof::{InclusionProof, ProofError};
use crate::text::{self, Lines, TextError};
use crate::tree::LeafIndex;

/// The longest proof file, in bytes.
pub const MAX_PROOF_FILE: usize = 1024 * 1024;

/// The most hashes of a proof: the height of the tallest tree.
pub const MAX_HASHES: usize = 63;

/// The first line.
const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// A proof that the entry at `index` is in the tree of `checkpoint`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProofFile {
    /// Data of the application. Nothing signs it: never trust it. Empty data is written as no
    /// data. Other readers give up on lines above 64 KiB, so keep it below 48 kB.
    pub extra: Option<Vec<u8>>,
    /// The place of the entry.
    pub index: LeafIndex,
    /// The path from the leaf to the root.
    pub proof: InclusionProof,
    /// The signed and cosigned checkpoint.
    pub checkpoint: Note,
}

/// Why bytes are not a proof file, in the order of the checks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProofFileError {
    /// More than [`MAX_PROOF_FILE`] bytes.
    #[error("the proof is longer than 1 MiB")]
    TooLong,
    /// Not UTF-8, or with a control character.
    #[error("proof: {0}")]
    Text(#[from] TextError),
    /// Another first line.
    #[error("the first line is not {HEADER}")]
    Header,
    /// An extra line without canonical base64 of at least one byte.
    #[error("the extra line is not canonical base64 of at least one byte")]
    Extra,
    /// No index line, or one without a decimal number of at most 2^63 - 1.
    #[error("the index line is not a decimal number below 2^63")]
    Index,
    /// A line of the proof that is not the base64 of 32 bytes.
    #[error("a line of the proof is not the base64 of 32 bytes")]
    Hash,
    /// More than [`MAX_HASHES`] hashes.
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
}

/// Why a proof does not hold, in the order of the checks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProofFileRefusal {
    /// The checkpoint does not satisfy the policy.
    #[error("{0}")]
    Policy(#[from] PolicyError),
    /// The entry is not in the tree of the checkpoint at that index.
    #[error("{0}")]
    Inclusion(#[from] ProofError),
}

impl ProofFile {
    /// Reads a `.tlog-proof`.
    pub fn parse(bytes: &[u8]) -> Result<ProofFile, ProofFileError> {
        if bytes.len() > MAX_PROOF_FILE {
            return Err(ProofFileError::TooLong);
        }
        let mut lines = Lines::new(text::check(bytes)?);
        if lines.next() != Some(HEADER) {
            return Err(ProofFileError::Header);
        }
        let extra = match lines.next_if(|line| line.starts_with("extra ")) {
            None => None,
            Some(line) => {
                let extra = line.strip_prefix("extra ").and_then(text::from_base64);
                let extra = extra.filter(|extra| !extra.is_empty());
                Some(extra.ok_or(ProofFileError::Extra)?)
            }
        };
        let index = (lines.next())
            .and_then(|line| line.strip_prefix("index "))
            .and_then(text::decimal)
            .and_then(|index| LeafIndex::new(index).ok())
            .ok_or(ProofFileError::Index)?;
        let (hashes, checkpoint) = read_hashes(lines).map_err(|error| match error {
            HashesError::Hash => ProofFileError::Hash,
            HashesError::TooMany => ProofFileError::TooManyHashes,
            HashesError::NoEmptyLine => ProofFileError::NoEmptyLine,
        })?;
        let checkpoint = Note::parse(checkpoint.as_bytes())?;
        Checkpoint::parse_text(checkpoint.text())?;
        Ok(ProofFile { extra, index, proof: InclusionProof { hashes }, checkpoint })
    }

    /// The proof as bytes: what [`ProofFile::parse`] read.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut file = String::from(HEADER);
        file.push('\n');
        if let Some(extra) = self.extra.as_ref().filter(|extra| !extra.is_empty()) {
            file.push_str(&alloc::format!("extra {}\n", text::to_base64(extra)));
        }
        file.push_str(&alloc::format!("index {}\n", self.index));
        write_hashes(&mut file, &self.proof.hashes);
        file.push_str(&self.checkpoint.to_text());
        file.into_bytes()
    }

    /// Verifies that the entry with the leaf hash `leaf` is in a log of the policy.
    ///
    /// In the order of the specification: the origin is one of the policy's and the log signed,
    /// a quorum of witnesses cosigned, and the entry is included. `leaf` must come from the
    /// data that is to be believed, not from beside the proof.
    pub fn verify(&self, leaf: LeafHash, policy: &Policy) -> Result<Accepted, ProofFileRefusal> {
        let accepted = policy.verify(&self.checkpoint)?;
        self.proof.verify(leaf, self.index, &accepted.checkpoint.head)?;
        Ok(accepted)
    }
}

/// Why lines are not a list of hashes that an empty line ends.
pub(crate) enum HashesError {
    Hash,
    TooMany,
    NoEmptyLine,
}

/// Reads hashes, one a line, up to the empty line. What follows is handed back.
pub(crate) fn read_hashes(mut lines: Lines<'_>) -> Result<(Vec<Hash>, &str), HashesError> {
    let mut hashes = Vec::new();
    loop {
        let line = lines.next().ok_or(HashesError::NoEmptyLine)?;
        if line.is_empty() {
            return Ok((hashes, lines.rest()));
        }
        if hashes.len() == MAX_HASHES {
            return Err(HashesError::TooMany);
        }
        hashes.push(Hash::from_base64(line).ok_or(HashesError::Hash)?);
    }
}

/// Writes what [`read_hashes`] reads.
pub(crate) fn write_hashes(text: &mut String, hashes: &[Hash]) {
    for hash in hashes {
        text.push_str(&hash.to_base64());
        text.push('\n');
    }
    text.push('\n');
}
