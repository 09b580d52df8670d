//! What the provider keeps of an enrolment: its half of the keys, and the secret of the subscriber's labels.
//!
//! ```text
//! kept  = 01 ‖ epoch u32 ‖ nonce[12] ‖ AES-256-GCM(plain) ‖ tag[16]
//! plain = profile u8 ‖ joint key[33] ‖ blinded[32] ‖ sealed share[185] ‖ label secret[32]
//! key   = KeyStore::derive(epoch, "kept", enrolment id)          AAD = "solelog/kept/v1" ‖ 00 ‖ enrolment id ‖ credential
//! ```
//!
//! It is the detail of the event `enrolment.kept`, the first entry of the subscriber's stream 1 ([`EVENT`]). So it is as
//! durable as the credential, comes back with a backup and a rebuilt view, and is gone for good when it is erased. Whoever
//! may read openings, an auditor for one, gets ciphertext: blinded share and phone together would let PINs be tested
//! against the provider's, and the labels would tell whose the entries are.

use aes_gcm::aead::{AeadInOut as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Nonce};
use scal3::index_key::{LabelSecret, Stream, StreamKey};
use scal3::{Claims, Hash, Profile};
use threshold::Shares;
use zeroize::Zeroizing;

use crate::keys::{KeyError, KeyStore};

/// The name of the event.
pub const EVENT: &str = "enrolment.kept";

const VERSION: u8 = 1;
const HEAD: usize = 1 + 4 + 12;
const PLAIN: usize = 1 + 33 + Shares::LEN + 32;
const TAG: usize = 16;

/// What is kept.
pub struct Kept {
    /// The master secret under which the share is sealed.
    pub epoch: u32,
    /// The form of the records.
    pub profile: Profile,
    /// The joint key.
    pub joint_key: [u8; 33],
    /// The subscriber's blinded share, and the provider's sealed one.
    pub shares: Shares,
    /// From which the labels derive.
    pub label_secret: LabelSecret,
}

/// Why the bytes of an event are not what was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeptError {
    /// Not the length, or of a later version.
    #[error("what was kept of the enrolment is not of this version")]
    Form,
    /// It does not open: another key, another credential, or altered.
    #[error("what was kept of the enrolment does not open with the provider's keys")]
    Unopened,
    /// The key is not there.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl Kept {
    /// Seals it for one credential. `nonce` is fresh randomness.
    pub fn seal(
        &self,
        keys: &dyn KeyStore,
        enrolment_id: &Hash,
        credential: &Hash,
        nonce: [u8; 12],
    ) -> Result<Vec<u8>, KeptError> {
        let mut plain = Zeroizing::new([0; PLAIN]);
        let profile = [u8::try_from(self.profile.number()).map_err(|_| KeptError::Form)?];
        let shares = self.shares.to_bytes();
        let parts = [&profile[..], &self.joint_key, &shares, self.label_secret.expose()];
        plain.iter_mut().zip(parts.into_iter().flatten()).for_each(|(to, from)| *to = *from);
        let key = keys.derive(self.epoch, "kept", &enrolment_id.0)?;
        let tag = Aes256Gcm::new((&*key).into())
            .encrypt_inout_detached(&Nonce::from(nonce), &aad(enrolment_id, credential), plain.as_mut_slice().into())
            .map_err(|_| KeptError::Form)?;
        Ok([&[VERSION][..], &self.epoch.to_be_bytes(), &nonce, plain.as_slice(), &tag].concat())
    }

    /// Opens what was sealed for this credential.
    pub fn open(keys: &dyn KeyStore, enrolment_id: &Hash, credential: &Hash, bytes: &[u8]) -> Result<Kept, KeptError> {
        if bytes.len() != HEAD + PLAIN + TAG || bytes.first() != Some(&VERSION) {
            return Err(KeptError::Form);
        }
        let (head, sealed) = bytes.split_at(HEAD);
        let (sealed, tag) = sealed.split_at(PLAIN);
        let epoch = u32::from_be_bytes(fixed(&head[1..5])?);
        let (nonce, tag): ([u8; 12], [u8; TAG]) = (fixed(&head[5..])?, fixed(tag)?);
        let key = keys.derive(epoch, "kept", &enrolment_id.0)?;
        let mut plain = Zeroizing::new(fixed::<PLAIN>(sealed)?);
        Aes256Gcm::new((&*key).into())
            .decrypt_inout_detached(
                &Nonce::from(nonce),
                &aad(enrolment_id, credential),
                plain.as_mut_slice().into(),
                &tag.into(),
            )
            .map_err(|_| KeptError::Unopened)?;
        let (profile, rest) = plain.split_at(1);
        let (joint_key, rest) = rest.split_at(33);
        let (shares, label_secret) = rest.split_at(Shares::LEN);
        Ok(Kept {
            epoch,
            profile: Profile::new(profile[0].into()).ok_or(KeptError::Form)?,
            joint_key: fixed(joint_key)?,
            shares: Shares::parse(shares).ok_or(KeptError::Form)?,
            label_secret: LabelSecret::from_bytes(fixed(label_secret)?),
        })
    }

    /// The key of the stream that the provider writes.
    pub fn stream(&self, claims: &Claims) -> StreamKey {
        self.label_secret.stream_key(&claims.enrolment_id, Stream::Provider)
    }
}

fn aad(enrolment_id: &Hash, credential: &Hash) -> Vec<u8> {
    [&b"solelog/kept/v1\0"[..], &enrolment_id.0, &credential.0].concat()
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], KeptError> {
    bytes.try_into().map_err(|_| KeptError::Form)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SoftKeys;

    const ENROLMENT: Hash = Hash([1; 32]);
    const CREDENTIAL: Hash = Hash([2; 32]);

    fn kept() -> Kept {
        Kept {
            epoch: 0,
            profile: Profile::EcSdsa,
            joint_key: [2; 33],
            shares: Shares::parse(&[7; Shares::LEN]).expect("the length"),
            label_secret: LabelSecret::from_bytes([9; 32]),
        }
    }

    #[test]
    fn what_is_sealed_is_opened_for_the_same_credential_only() {
        let keys = SoftKeys::generate().expect("randomness");
        let bytes = kept().seal(&keys, &ENROLMENT, &CREDENTIAL, [5; 12]).expect("sealed");
        let opened = Kept::open(&keys, &ENROLMENT, &CREDENTIAL, &bytes).expect("opened");
        assert_eq!(opened.shares.to_bytes(), [7; Shares::LEN]);
        assert_eq!(opened.label_secret.expose(), &[9; 32]);
        assert!(!bytes.windows(8).any(|window| window == [7; 8] || window == [9; 8]), "nothing of it is in clear");
        let refused = |enrolment, credential, bytes: &[u8]| Kept::open(&keys, enrolment, credential, bytes).err();
        assert_eq!(refused(&ENROLMENT, &ENROLMENT, &bytes), Some(KeptError::Unopened));
        assert_eq!(refused(&CREDENTIAL, &CREDENTIAL, &bytes), Some(KeptError::Unopened));
        let strangers = SoftKeys::generate().expect("randomness");
        assert_eq!(Kept::open(&strangers, &ENROLMENT, &CREDENTIAL, &bytes).err(), Some(KeptError::Unopened));
    }

    #[test]
    fn no_altered_byte_and_no_other_length_opens() {
        let keys = SoftKeys::generate().expect("randomness");
        let bytes = kept().seal(&keys, &ENROLMENT, &CREDENTIAL, [5; 12]).expect("sealed");
        for at in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[at] ^= 1;
            assert!(Kept::open(&keys, &ENROLMENT, &CREDENTIAL, &altered).is_err(), "byte {at}");
            assert!(Kept::open(&keys, &ENROLMENT, &CREDENTIAL, &bytes[..at]).is_err(), "{at} bytes");
        }
    }
}
