//! The log's keys: all that sign a checkpoint, and all that a checkpoint of this log may be known by.
//!
//! ```text
//! one key         origin+id+…                          every day
//! two keys        the one in force, the outgoing one   from `solelog rotate log` to `solelog rotate log --finish`
//! ML-DSA-44       beside them, where there is one      <https://c2sp.org/tlog-cosignature>, type 0x06
//! ```
//! During the overlap every checkpoint bears both signatures, so whoever trusts either key goes on without a gap, and
//! has that long to learn of the other one.

use scal3::keys::Keys;
use tlog::checkpoint::Checkpoint;
use tlog::cosignature::{Cosigner, Seconds};
use tlog::key::{KeyName, Signer, Vkey};
use tlog::note::{Note, NoteError};

/// The keys that sign this log's checkpoints. All have its origin as their name.
#[derive(Debug)]
pub struct Signers {
    first: Signer,
    beside: Vec<Signer>,
    ml_dsa: Option<Cosigner>,
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

    /// With a key whose signatures no quantum computer forges.
    ///
    /// # Errors
    /// [`OtherName`].
    pub fn and_ml_dsa(mut self, cosigner: Cosigner) -> Result<Signers, OtherName> {
        if cosigner.vkey().name() != self.name() {
            return Err(OtherName { key: cosigner.vkey().name().clone(), origin: self.name().clone() });
        }
        self.ml_dsa = Some(cosigner);
        Ok(self)
    }

    /// The public half of that key.
    pub fn ml_dsa(&self) -> Option<&Vkey> {
        self.ml_dsa.as_ref().map(Cosigner::vkey)
    }

    /// The origin, as the keys spell it.
    pub fn name(&self) -> &KeyName {
        self.vkey().name()
    }

    /// The key that everybody should trust from now on.
    pub fn vkey(&self) -> &Vkey {
        self.first.vkey()
    }

    /// All Ed25519 keys, that one first: every checkpoint bears a line by each.
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

    /// A checkpoint with a line by each. `time_ms` is the time of the last entry, which an ML-DSA-44 line carries.
    pub fn sign(&self, checkpoint: &Checkpoint, time_ms: u64) -> Result<Note, NoteError> {
        let text = checkpoint.to_text();
        let plain = std::iter::once(&self.first).chain(&self.beside).map(|signer| signer.sign(&text));
        // Milliseconds in 64 bits end long before the last moment of a cosignature.
        let moment = Seconds::new(time_ms / 1000).ok();
        let post_quantum = self.ml_dsa.iter().zip(moment).map(|(cosigner, moment)| cosigner.cosign(&text, moment));
        Note::new(&text, plain.chain(post_quantum).collect())
    }
}

impl From<Signer> for Signers {
    fn from(signer: Signer) -> Signers {
        Signers { vkeys: vec![signer.vkey().clone()], first: signer, beside: Vec::new(), ml_dsa: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(name: &str, seed: u8) -> Signer {
        Signer::note(KeyName::new(name).unwrap(), &[seed; 32])
    }

    fn checkpoint() -> Checkpoint {
        let frontier = tlog::Frontier::new();
        Checkpoint::new(tlog::checkpoint::Origin::new("log.example").unwrap(), frontier.head())
    }

    #[test]
    fn an_ml_dsa_line_stands_beside_the_others_and_opens_alone() {
        let signers = Signers::from(signer("log.example", 1));
        let other = Cosigner::ml_dsa_44(KeyName::new("other.example").unwrap(), &[2; 32]);
        assert!(Signers::from(signer("log.example", 1)).and_ml_dsa(other).is_err());
        let signers = signers.and_ml_dsa(Cosigner::ml_dsa_44(KeyName::new("log.example").unwrap(), &[2; 32])).unwrap();
        let note = signers.sign(&checkpoint(), 1_700_000_000_999).unwrap();
        assert_eq!(note.signatures().len(), 2);
        let vkey = signers.ml_dsa().unwrap();
        assert!(note.open(std::slice::from_ref(vkey)).is_ok());
        let policy = tlog::policy::Policy::parse(format!("log {vkey}\nquorum none\n")).unwrap();
        assert!(policy.verify(&note).is_ok(), "who trusts nothing else can still follow");
    }

    #[test]
    fn each_key_alone_opens_what_they_sign() {
        let signers = Signers::from(signer("log.example", 1)).and(signer("log.example", 2)).unwrap();
        let note = signers.sign(&checkpoint(), 1000).unwrap();
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
