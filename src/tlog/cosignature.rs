//! Cosignatures: what a witness says about a checkpoint, and when. <https://c2sp.org/tlog-cosignature>
//!
//! ```text
//! cosignature/v1                      what an Ed25519 key signs (type 0x04)
//! time 1679315147
//! example.com/behind-the-sofa         the whole checkpoint text, extension lines included
//! 20852163
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//!
//! subtree/v1 ...                      what an ML-DSA-44 key signs (type 0x06): src/tlog/subtree_cosignature.rs
//!
//! key ID[4] || time u64 BE || signature[64 or 2420]      the bytes of the signature line
//! ```
//!
//! It means: at that time, this was the largest tree the cosigner had seen for this origin, and
//! it is consistent with all it saw before. An Ed25519 cosignature does not cover the cosigner's
//! name, so one key must never serve two cosigners; an ML-DSA-44 cosignature does, and does not
//! cover extension lines.
//!
//! A cosignature of a checkpoint and one of a subtree are two types ([`CheckpointCosignature`],
//! [`crate::subtree_cosignature::SubtreeCosignature`]), and neither is ever taken for the other.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::checkpoint::{Checkpoint, Origin};
use crate::hash::Hash;
use crate::key::{COSIGNATURE_V1, KeyName, Kind, ML_DSA_44, SecretError, Vkey, verify_ed25519};
use crate::ml_dsa;
use crate::note::SignatureLine;
use crate::secret::Secret;
use crate::subtree::Subtree;
use crate::subtree_cosignature::{self, SubtreeCosignature};

/// A moment in POSIX seconds, at most 2^63 - 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Seconds(u64);

/// A number beyond 2^63 - 1 where a moment belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("beyond 2^63 - 1, the last moment of a cosignature")]
pub struct TooLate;

impl Seconds {
    /// The moment `seconds` after 1970-01-01T00:00:00Z, not counting leap seconds.
    pub const fn new(seconds: u64) -> Result<Seconds, TooLate> {
        if seconds > i64::MAX as u64 {
            return Err(TooLate);
        }
        Ok(Seconds(seconds))
    }

    /// The moment as a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The bytes that a cosignature/v1 over the checkpoint text `text` at `time` signs.
#[must_use]
pub fn message(text: &str, time: Seconds) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

/// Splits the bytes after the key ID into time and Ed25519 signature. `None` where the length
/// is another, or the time is beyond [`Seconds`].
#[must_use]
pub fn split(signature: &[u8]) -> Option<(Seconds, &[u8; 64])> {
    let (time, signature) = split_time(signature)?;
    Some((time, signature.try_into().ok()?))
}

/// Splits the bytes after the key ID into time and signature of any length.
fn split_time(signature: &[u8]) -> Option<(Seconds, &[u8])> {
    let (time, signature) = signature.split_first_chunk::<8>()?;
    Some((Seconds::new(u64::from_be_bytes(*time)).ok()?, signature))
}

/// The bytes that a cosigner with `vkey` signs to cosign the checkpoint text `text` at `time`.
///
/// `None` where the key is not one of a cosigner, or, for ML-DSA-44, the text is no checkpoint.
#[must_use]
pub fn signed_bytes(vkey: &Vkey, text: &str, time: Seconds) -> Option<Vec<u8>> {
    match vkey.kind() {
        Kind::CosignatureV1 => Some(message(text, time).into_bytes()),
        Kind::MlDsa44 => {
            let checkpoint = Checkpoint::parse_text(text).ok()?;
            Some(subtree_cosignature::tree_message(vkey.name(), time, &checkpoint))
        }
        Kind::Ed25519 | Kind::Unknown(_) => None,
    }
}

/// The line that carries a signature over [`signed_bytes`]: for keys that sign elsewhere.
#[must_use]
pub fn assemble(vkey: &Vkey, time: Seconds, signature: &[u8]) -> SignatureLine {
    let mut bytes = Vec::with_capacity(8 + signature.len());
    bytes.extend_from_slice(&time.get().to_be_bytes());
    bytes.extend_from_slice(signature);
    SignatureLine::by(vkey, bytes)
}

/// What `signature` says when it is by `vkey` over the checkpoint text `text`: `Ok` with the time,
/// or, for ML-DSA-44, with none where the signer makes no statement about time. `None` for keys
/// of other kinds.
pub(crate) fn verify(vkey: &Vkey, text: &str, signature: &[u8]) -> Option<Result<Option<Seconds>, ()>> {
    if !matches!(vkey.kind(), Kind::CosignatureV1 | Kind::MlDsa44) {
        return None;
    }
    let verified = split_time(signature).and_then(|(time, signature)| {
        let message = signed_bytes(vkey, text, time)?;
        let time = match vkey.kind() {
            Kind::MlDsa44 => {
                ml_dsa::verify(vkey.public_key().try_into().ok()?, &message, signature).then_some(time)?;
                // Zero is not a moment: the signer does not say that it saw nothing larger.
                (time.get() != 0).then_some(time)
            }
            _ => {
                let (key, signature) = (vkey.public_key().try_into().ok()?, signature.try_into().ok()?);
                verify_ed25519(key, &message, signature).then_some(Some(time))?
            }
        };
        Some(time)
    });
    Some(verified.ok_or(()))
}

/// A cosignature of a checkpoint, verified or made here: the tree, when, and by whom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckpointCosignature {
    time: Seconds,
    line: SignatureLine,
}

impl CheckpointCosignature {
    /// `line` as a cosignature of `checkpoint` by `vkey`. `None` where it is by another key, does
    /// not verify, or names no time, as a cosignature of a subtree does.
    #[must_use]
    pub fn verify(checkpoint: &Checkpoint, line: &SignatureLine, vkey: &Vkey) -> Option<CheckpointCosignature> {
        if !vkey.matches(line) {
            return None;
        }
        let time = verify(vkey, &checkpoint.to_text(), line.signature())?.ok()??;
        (time.get() != 0).then(|| CheckpointCosignature { time, line: line.clone() })
    }

    /// When the cosigner had seen nothing larger.
    #[must_use]
    pub fn time(&self) -> Seconds {
        self.time
    }

    /// The line to add to the checkpoint.
    #[must_use]
    pub fn line(&self) -> &SignatureLine {
        &self.line
    }

    /// The line to add to the checkpoint.
    #[must_use]
    pub fn into_line(self) -> SignatureLine {
        self.line
    }
}

/// A key that cosigns: Ed25519 (type 0x04) or ML-DSA-44 (type 0x06). What a witness signs with.
///
/// Not `Clone`, wiped on drop, and `Debug` prints the name only.
pub struct Cosigner(Secret);

impl Cosigner {
    /// The Ed25519 cosigner with this name and this 32-byte seed.
    #[must_use]
    pub fn new(name: KeyName, seed: &[u8; 32]) -> Cosigner {
        Cosigner(Secret::ed25519(name, COSIGNATURE_V1, seed))
    }

    /// The ML-DSA-44 cosigner with this name and this 32-byte seed.
    #[must_use]
    pub fn ml_dsa_44(name: KeyName, seed: &[u8; 32]) -> Cosigner {
        Cosigner(Secret::ml_dsa_44(name, seed))
    }

    /// Reads `PRIVATE+KEY+<name>+<key ID>+<base64( type || seed )>`, type 0x04 or 0x06.
    pub fn parse(secret: &str) -> Result<Cosigner, SecretError> {
        Secret::parse(secret, &[COSIGNATURE_V1, ML_DSA_44]).map(Cosigner)
    }

    /// The secret key in the form that [`Cosigner::parse`] reads.
    #[must_use]
    pub fn to_secret_text(&self) -> zeroize::Zeroizing<String> {
        self.0.to_text()
    }

    /// The key that verifies this cosigner's signatures.
    #[must_use]
    pub fn vkey(&self) -> &Vkey {
        self.0.vkey()
    }

    /// Cosigns the checkpoint text `text`, with its final newline, as seen at `time`.
    ///
    /// Sign what [`crate::checkpoint::Checkpoint::to_text`] wrote, never bytes that came in: what
    /// was understood and what is signed must be the same. ML-DSA-44 has no signature over a text
    /// that is no checkpoint; there the line verifies nothing.
    #[must_use]
    pub fn cosign(&self, text: &str, time: Seconds) -> SignatureLine {
        let signature = match signed_bytes(self.vkey(), text, time) {
            Some(message) => self.0.sign(&message),
            None => alloc::vec![0; ml_dsa::SIGNATURE],
        };
        assemble(self.vkey(), time, &signature)
    }

    /// Cosigns `checkpoint` as the largest tree seen at `time`. `None` at time zero, which is no
    /// moment.
    #[must_use]
    pub fn cosign_checkpoint(&self, checkpoint: &Checkpoint, time: Seconds) -> Option<CheckpointCosignature> {
        let line = (time.get() != 0).then(|| self.cosign(&checkpoint.to_text(), time))?;
        Some(CheckpointCosignature { time, line })
    }

    /// Cosigns a subtree of the log `origin`, of which `hash` is the hash. `None` for Ed25519 keys,
    /// which have no form for it.
    #[must_use]
    pub fn cosign_subtree(&self, origin: &Origin, subtree: Subtree, hash: Hash) -> Option<SubtreeCosignature> {
        let message = subtree_cosignature::message(self.vkey(), origin, subtree, &hash)?;
        Some(SubtreeCosignature::by(self.vkey(), subtree, hash, &self.0.sign(&message)))
    }
}

impl fmt::Debug for Cosigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cosigner({})", self.vkey().name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Signer;
    use crate::note::{Note, OpenError};
    use crate::tree::{TreeHead, TreeSize};

    const KINDS: [fn(KeyName, &[u8; 32]) -> Cosigner; 2] = [Cosigner::new, Cosigner::ml_dsa_44];

    fn name(name: &str) -> KeyName {
        KeyName::new(name).unwrap()
    }

    fn checkpoint(size: u64) -> Checkpoint {
        let head = TreeHead { size: TreeSize::new(size).unwrap(), root: Hash([7; 32]) };
        Checkpoint::new(Origin::new("example.com/log").unwrap(), head)
    }

    fn at(seconds: u64) -> Seconds {
        Seconds::new(seconds).unwrap()
    }

    #[test]
    fn a_cosignature_is_a_time_and_a_signature() {
        let mut bytes = alloc::vec![0; 72];
        assert_eq!(split(&bytes), Some((Seconds(0), &[0; 64])));
        assert_eq!(split(&bytes[1..]), None);
        bytes.push(0);
        assert_eq!(split(&bytes), None);
        bytes.pop();
        bytes[0] = 0x80;
        assert_eq!(split(&bytes), None, "a time beyond 2^63 - 1");
    }

    #[test]
    fn cosigners_print_their_name_only() {
        for kind in KINDS {
            let cosigner = kind(name("witness.example"), &[7; 32]);
            assert_eq!(format!("{cosigner:?}"), "Cosigner(witness.example)");
        }
    }

    #[test]
    fn both_kinds_sign_one_checkpoint_of_one_time_by_one_name() {
        let lengths = KINDS.map(|kind| {
            let cosigner = kind(name("witness.example"), &[7; 32]);
            let made = cosigner.cosign_checkpoint(&checkpoint(3), at(5)).unwrap();
            let verify =
                |size: u64, by: &Cosigner| CheckpointCosignature::verify(&checkpoint(size), made.line(), by.vkey());
            assert_eq!(verify(3, &cosigner).as_ref(), Some(&made));
            assert_eq!(made.time(), at(5));
            assert_eq!(verify(4, &cosigner), None);
            assert_eq!(verify(3, &kind(name("witness.example"), &[8; 32])), None);
            assert_eq!(verify(3, &kind(name("another.example"), &[7; 32])), None);
            let mut later = made.line().signature().to_vec();
            later[7] += 1;
            let later = SignatureLine::by(cosigner.vkey(), later);
            assert_eq!(CheckpointCosignature::verify(&checkpoint(3), &later, cosigner.vkey()), None);
            assert_eq!(cosigner.cosign_checkpoint(&checkpoint(3), at(0)), None);

            let again = Cosigner::parse(&cosigner.to_secret_text()).unwrap();
            assert_eq!(again.vkey(), cosigner.vkey());
            made.line().signature().len()
        });
        assert_eq!(lengths, [72, 2428]);
    }

    #[test]
    fn an_ml_dsa_signature_covers_no_extension_lines_and_an_ed25519_one_does() {
        let extended = checkpoint(3).to_text() + "extension\n";
        let opens = KINDS.map(|kind| {
            let cosigner = kind(name("witness.example"), &[7; 32]);
            let line = cosigner.cosign(&checkpoint(3).to_text(), at(5));
            Note::new(&extended, alloc::vec![line]).unwrap().open(&[cosigner.vkey().clone()]).is_ok()
        });
        assert_eq!(opens, [false, true]);
    }

    #[test]
    fn a_signature_without_a_time_is_no_checkpoint_cosignature() {
        let cosigner = Cosigner::ml_dsa_44(name("example.com/log"), &[7; 32]);
        let line = cosigner.cosign(&checkpoint(3).to_text(), at(0));
        assert_eq!(CheckpointCosignature::verify(&checkpoint(3), &line, cosigner.vkey()), None);
        // A log signs its own checkpoints so.
        let note = Note::new(&checkpoint(3).to_text(), alloc::vec![line]).unwrap();
        assert_eq!(note.open(&[cosigner.vkey().clone()]).unwrap().verified[0].time, None);
    }

    #[test]
    fn ml_dsa_signs_checkpoints_only() {
        let cosigner = Cosigner::ml_dsa_44(name("w"), &[7; 32]);
        let line = cosigner.cosign("no checkpoint\n", at(1));
        let note = Note::new("no checkpoint\n", alloc::vec![line]).unwrap();
        assert_eq!(note.open(&[cosigner.vkey().clone()]), Err(OpenError::InvalidSignature { line: 0 }));
        // Nor does a key that signs note texts cosign.
        let log = Signer::note(name("example.com/log"), &[1; 32]);
        assert_eq!(signed_bytes(log.vkey(), &checkpoint(3).to_text(), at(1)), None);
    }
}
