//! The log's keys: all that sign a checkpoint, and all that a checkpoint of this log may be known by.
//!
//! ```text
//! one key         origin+id+…                          every day
//! two keys        the one in force, the outgoing one   from `solelog rotate log` to `solelog rotate log --finish`
//! ```
//! During the overlap every checkpoint bears both signatures, so whoever trusts either key goes on without a gap, and
//! has that long to learn of the other one.

use scal3::keys::Keys;
use tlog::key::{KeyName, Signer, Vkey};
use tlog::note::{Note, NoteError};

/// The keys that sign this log's checkpoints. All have its origin as their name.
#[derive(Debug)]
pub struct Signers {
    first: Signer,
    beside: Vec<Signer>,
    vkeys: Vec<Vkey>,
}

/// A key of another log.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the key is of {key}, the log is {origin}")]
pub struct OtherName {
    /// The name of that key.
    pub key: KeyName,
    /// The log's.
    pub origin: KeyName,
}

impl Signers {
    /// With another key beside those that are there.
    ///
    /// # Errors
    /// [`OtherName`]. The same key again changes nothing.
    pub fn and(mut self, signer: Signer) -> Result<Signers, OtherName> {
        if signer.vkey().name() != self.name() {
            return Err(OtherName { key: signer.vkey().name().clone(), origin: self.name().clone() });
        }
        if !self.vkeys.contains(signer.vkey()) {
            self.vkeys.push(signer.vkey().clone());
            self.beside.push(signer);
        }
        Ok(self)
    }

    /// The origin, as the keys spell it.
    pub fn name(&self) -> &KeyName {
        self.vkey().name()
    }

    /// The key that everybody should trust from now on.
    pub fn vkey(&self) -> &Vkey {
        self.first.vkey()
    }

    /// All of them, that one first.
    pub fn vkeys(&self) -> &[Vkey] {
        &self.vkeys
    }

    /// Whether this is the public half of one of them.
    pub fn has(&self, public_key: &[u8]) -> bool {
        self.vkeys.iter().any(|vkey| vkey.public_key() == public_key)
    }

    /// Whether the key that the log's own entries name last is here. A log without such entries knows its key from
    /// outside alone.
    pub fn are_in_force(&self, keys: &Keys) -> bool {
        keys.log().is_none_or(|key| self.has(key))
    }

    /// The signature of the key in front over something that is no note: [`Signer::sign_other`].
    pub fn sign_other(&self, message: &[u8]) -> [u8; 64] {
        self.first.sign_other(message)
    }

    /// A note with a line by each.
    pub fn sign(&self, text: &str) -> Result<Note, NoteError> {
        Note::new(text, std::iter::once(&self.first).chain(&self.beside).map(|signer| signer.sign(text)).collect())
    }
}

impl From<Signer> for Signers {
    fn from(signer: Signer) -> Signers {
        Signers { vkeys: vec![signer.vkey().clone()], first: signer, beside: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(name: &str, seed: u8) -> Signer {
        Signer::note(KeyName::new(name).unwrap(), &[seed; 32])
    }

    #[test]
    fn each_key_alone_opens_what_they_sign() {
        let signers = Signers::from(signer("log.example", 1)).and(signer("log.example", 2)).unwrap();
        let note = signers.sign("log.example\n0\n\n").unwrap();
        assert_eq!((signers.vkeys().len(), note.signatures().len()), (2, 2));
        for vkey in signers.vkeys() {
            assert!(note.open(std::slice::from_ref(vkey)).is_ok());
        }
        assert!(note.open(std::slice::from_ref(signer("log.example", 3).vkey())).is_err());
    }

    #[test]
    fn a_key_of_another_log_is_none_of_ours_and_the_same_key_counts_once() {
        let signers = Signers::from(signer("log.example", 1));
        let signers = signers.and(signer("log.example", 1)).unwrap();
        assert_eq!(signers.vkeys().len(), 1);
        let refused = signers.and(signer("other.example", 2)).unwrap_err();
        assert_eq!(refused.to_string(), "the key is of other.example, the log is log.example");
    }
}
