//! Checkpoints: what a log says about itself. <https://c2sp.org/tlog-checkpoint>
//!
//! ```text
//! example.com/log42                              origin
//! 20852163                                       tree size
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=   root hash
//!                                                (extension lines, not recommended)
//! ```
//!
//! A tree head has exactly one spelling: whatever `parse_text` accepts, `to_text` gives back
//! unchanged. With two spellings, a log could show each witness its own.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use sha2::{Digest, Sha256};

use crate::hash::Hash;
use crate::text::{self, Lines};
use crate::tree::{TreeHead, TreeSize};

/// The longest origin, in bytes: the limit that ML-DSA cosignatures set.
pub const MAX_ORIGIN: usize = 255;

/// The identity of a log: one line of 1 to 255 bytes. Spaces and plus signs are legal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Origin(String);

/// Why a text is not an origin.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OriginError {
    /// The empty text.
    #[error("an origin must not be empty")]
    Empty,
    /// More than [`MAX_ORIGIN`] bytes.
    #[error("an origin has at most 255 bytes")]
    TooLong,
    /// A newline or another control character.
    #[error("an origin must not contain control characters")]
    ControlCharacter,
}

impl Origin {
    /// `origin` as an origin.
    pub fn new(origin: &str) -> Result<Origin, OriginError> {
        if origin.is_empty() {
            return Err(OriginError::Empty);
        }
        if origin.len() > MAX_ORIGIN {
            return Err(OriginError::TooLong);
        }
        if !text::is_one_line(origin) {
            return Err(OriginError::ControlCharacter);
        }
        Ok(Origin(origin.to_owned()))
    }

    /// The origin as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// SHA-256 of the origin: the log's name in the paths of a witness or mirror
    /// (<https://c2sp.org/tlog-witness>), there in lowercase hex.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Hash(Sha256::digest(self.0.as_bytes()).into())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Origin {
    type Err = OriginError;
    fn from_str(origin: &str) -> Result<Origin, OriginError> {
        Origin::new(origin)
    }
}

/// A tree head with the log it belongs to: the text of a checkpoint note.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Checkpoint {
    /// The log.
    pub origin: Origin,
    /// Its tree.
    pub head: TreeHead,
    /// Further lines, without newlines. They are covered by Ed25519 signatures, but cosigners
    /// assert nothing about them. Our own log never writes any.
    pub extensions: Vec<String>,
}

/// Why a text is not a checkpoint, in the order of the checks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Fewer than three lines, or a last line without newline.
    #[error("a checkpoint has an origin, a size and a root hash, each ended by a newline")]
    Lines,
    /// The first line is not an origin.
    #[error("checkpoint: {0}")]
    Origin(#[from] OriginError),
    /// The second line is not a decimal number of at most 2^63 - 1.
    #[error("checkpoint: the tree size is not a decimal number below 2^63")]
    Size,
    /// The third line is not the base64 of 32 bytes.
    #[error("checkpoint: the root hash is not the base64 of 32 bytes")]
    Root,
    /// An extension line that is empty, or has a control character.
    #[error("checkpoint: an extension line is empty or has a control character")]
    Extension,
}

impl Checkpoint {
    /// The checkpoint of the log `origin` at `head`, without extensions.
    #[must_use]
    pub fn new(origin: Origin, head: TreeHead) -> Checkpoint {
        Checkpoint { origin, head, extensions: Vec::new() }
    }

    /// Reads the text of a checkpoint note: the part before the signatures.
    pub fn parse_text(text: &str) -> Result<Checkpoint, CheckpointError> {
        let mut lines = Lines::new(text);
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(CheckpointError::Lines);
        };
        let origin = Origin::new(origin)?;
        let size = text::decimal(size).and_then(|size| TreeSize::new(size).ok());
        let size = size.ok_or(CheckpointError::Size)?;
        let root = Hash::from_base64(root).ok_or(CheckpointError::Root)?;
        let mut extensions = Vec::new();
        for line in lines.by_ref() {
            if line.is_empty() || !text::is_one_line(line) {
                return Err(CheckpointError::Extension);
            }
            extensions.push(line.to_owned());
        }
        if !lines.rest().is_empty() {
            return Err(CheckpointError::Lines);
        }
        Ok(Checkpoint { origin, head: TreeHead { size, root }, extensions })
    }

    /// The text to be signed. Extension lines that [`Checkpoint::parse_text`] would refuse are
    /// the caller's mistake and give a text that it refuses.
    #[must_use]
    pub fn to_text(&self) -> String {
        let root = self.head.root.to_base64();
        let mut text = alloc::format!("{}\n{}\n{root}\n", self.origin, self.head.size);
        for line in &self.extensions {
            text.push_str(line);
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";

    #[test]
    fn a_checkpoint_has_one_spelling() {
        let text = alloc::format!("example.com/log42\n20852163\n{ROOT}\nextension\n");
        let checkpoint = Checkpoint::parse_text(&text).unwrap();
        assert_eq!(checkpoint.to_text(), text);
        for (bad, error) in [
            (text.replace("2085", "02085"), CheckpointError::Size),
            (text.replace("2I=", "2J="), CheckpointError::Root),
            (text.replace("\n", "\r\n"), OriginError::ControlCharacter.into()),
            (text.clone() + "\n", CheckpointError::Extension),
            (text.clone() + "more", CheckpointError::Lines),
            (text.replace("20852163", "9223372036854775808"), CheckpointError::Size),
        ] {
            assert_eq!(Checkpoint::parse_text(&bad), Err(error), "{bad:?}");
        }
    }

    #[test]
    fn origins_end_at_255_bytes() {
        assert!(Origin::new(&"a".repeat(255)).is_ok());
        assert_eq!(Origin::new(&"a".repeat(256)), Err(OriginError::TooLong));
        assert_eq!(Origin::new(&"é".repeat(128)), Err(OriginError::TooLong));
    }
}
