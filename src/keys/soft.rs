//! Keys in memory: the [`KeyStore`] that needs no hardware.

use std::collections::BTreeMap;
use std::fmt;

use p256::SecretKey;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use p256::elliptic_curve::sec1::ToSec1Point as _;
use scal3::Hash;
use scal3::credential::IssuingKey;
use threshold::{Agreed, KemKey, KemPublicKey, MasterSecret};
use zeroize::Zeroizing;

use super::{KeyError, KeyStore};

/// The provider's keys in memory: wiped when dropped, not printable, not `Clone`.
///
/// ```compile_fail,E0277
/// fn needs_clone<T: Clone>() {}
/// needs_clone::<solelog::keys::SoftKeys>();
/// ```
pub struct SoftKeys {
    newest: u32,
    masters: BTreeMap<u32, MasterSecret>,
    issuing: SigningKey,
    issuing_public: IssuingKey,
    document: Option<(SigningKey, [u8; 33])>,
}

impl SoftKeys {
    /// Keys that were read. `None` without a master secret: there would be nothing to enrol under.
    pub fn new(
        masters: BTreeMap<u32, MasterSecret>,
        issuing: &SecretKey,
        document: Option<&SecretKey>,
    ) -> Option<Self> {
        Some(SoftKeys {
            newest: *masters.last_key_value()?.0,
            masters,
            issuing: SigningKey::from(issuing),
            issuing_public: IssuingKey::parse(&public(issuing)).ok()?,
            document: document.map(|key| (SigningKey::from(key), public(key))),
        })
    }

    /// New keys that are nowhere else and end with the process: for trying things out.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut master = Zeroizing::new([0; 32]);
        getrandom::fill(master.as_mut_slice())?;
        let masters = BTreeMap::from([(0, MasterSecret::from_bytes(*master))]);
        let (issuing, document) = (draw()?, draw()?);
        match SoftKeys::new(masters, &issuing, Some(&document)) {
            Some(keys) => Ok(keys),
            None => unreachable!("there is a master secret, and the public half of a key is a point"),
        }
    }

    fn master(&self, epoch: u32) -> Result<&MasterSecret, KeyError> {
        self.masters.get(&epoch).ok_or(KeyError::Epoch(epoch))
    }

    fn kem(&self, epoch: u32, enrolment_id: &Hash) -> Result<KemKey, KeyError> {
        Ok(self.master(epoch)?.kem_key(enrolment_id))
    }
}

impl KeyStore for SoftKeys {
    fn epoch(&self) -> u32 {
        self.newest
    }

    fn kem_public(&self, epoch: u32, enrolment_id: &Hash) -> Result<KemPublicKey, KeyError> {
        Ok(self.kem(epoch, enrolment_id)?.public_key())
    }

    fn kem_agree(&self, epoch: u32, enrolment_id: &Hash, encapsulated: &[u8; 33]) -> Result<Agreed, KeyError> {
        self.kem(epoch, enrolment_id)?.agree(encapsulated).map_err(|_| KeyError::NotAPoint)
    }

    fn issuing_key(&self) -> &IssuingKey {
        &self.issuing_public
    }

    fn sign_credential(&self, message: &[u8]) -> Result<[u8; 64], KeyError> {
        Ok(sign_with(&self.issuing, message))
    }

    fn derive(&self, epoch: u32, purpose: &'static str, context: &[u8]) -> Result<Zeroizing<[u8; 32]>, KeyError> {
        Ok(self.master(epoch)?.derive(purpose, context))
    }

    fn document_key(&self) -> Option<[u8; 33]> {
        self.document.as_ref().map(|(_, public)| *public)
    }

    fn sign_document(&self, message: &[u8]) -> Result<[u8; 64], KeyError> {
        let (key, _) = self.document.as_ref().ok_or(KeyError::NoDocumentKey)?;
        Ok(sign_with(key, message))
    }
}

impl fmt::Debug for SoftKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SoftKeys(epoch {}, secret)", self.newest)
    }
}

/// Draws a key. All but one of 2^32 draws are keys.
pub(super) fn draw() -> Result<SecretKey, getrandom::Error> {
    let mut bytes = Zeroizing::new([0; 32]);
    loop {
        getrandom::fill(bytes.as_mut_slice())?;
        if let Ok(key) = SecretKey::from_slice(bytes.as_slice()) {
            return Ok(key);
        }
    }
}

/// The public half, a compressed point.
pub fn public(key: &SecretKey) -> [u8; 33] {
    let mut bytes = [0; 33];
    bytes.copy_from_slice(key.public_key().to_sec1_point(true).as_bytes());
    bytes
}

/// A key's ECDSA signature (P-256, SHA-256) over a message, r || s: for a new key that is in nobody's store yet.
pub fn sign(key: &SecretKey, message: &[u8]) -> [u8; 64] {
    sign_with(&SigningKey::from(key), message)
}

/// Deterministic ECDSA (RFC 6979): the same message gives the same signature.
fn sign_with(key: &SigningKey, message: &[u8]) -> [u8; 64] {
    let signature: Signature = key.sign(message);
    signature.to_bytes().into()
}

#[cfg(test)]
mod tests {
    use p256::ecdsa::VerifyingKey;
    use p256::ecdsa::signature::Verifier as _;
    use subtle::ConstantTimeEq as _;

    use super::*;

    const ENROLMENT: Hash = Hash([5; 32]);

    fn two_epochs() -> SoftKeys {
        let masters = BTreeMap::from([(0, MasterSecret::from_bytes([1; 32])), (3, MasterSecret::from_bytes([2; 32]))]);
        SoftKeys::new(masters, &SecretKey::from_slice(&[3; 32]).expect("a key"), None).expect("keys")
    }

    #[test]
    fn agreeing_gives_what_the_kem_key_gives() {
        let keys = two_epochs();
        let theirs = MasterSecret::from_bytes([9; 32]).kem_key(&ENROLMENT).public_key();
        for (epoch, master) in [(0, [1; 32]), (3, [2; 32])] {
            let kem = MasterSecret::from_bytes(master).kem_key(&ENROLMENT);
            assert_eq!(keys.kem_public(epoch, &ENROLMENT).expect("public"), kem.public_key());
            let agreed = keys.kem_agree(epoch, &ENROLMENT, theirs.as_bytes()).expect("agrees");
            assert!(bool::from(agreed.ct_eq(&kem.agree(theirs.as_bytes()).expect("agrees"))));
        }
        assert_ne!(keys.kem_public(0, &ENROLMENT), keys.kem_public(3, &ENROLMENT));
        assert_ne!(keys.kem_public(0, &ENROLMENT), keys.kem_public(0, &Hash([6; 32])));
    }

    #[test]
    fn the_newest_epoch_is_the_largest_and_no_other_is_made_up() {
        let keys = two_epochs();
        assert_eq!(keys.epoch(), 3);
        for epoch in [1, 2, 4, u32::MAX] {
            assert_eq!(keys.kem_public(epoch, &ENROLMENT), Err(KeyError::Epoch(epoch)));
            assert_eq!(keys.derive(epoch, "solelog/ticket/v1", &[]), Err(KeyError::Epoch(epoch)));
            let point = keys.kem_public(0, &ENROLMENT).expect("public");
            let agreed = keys.kem_agree(epoch, &ENROLMENT, point.as_bytes());
            assert_eq!(agreed.err(), Some(KeyError::Epoch(epoch)));
        }
        assert!(SoftKeys::new(BTreeMap::new(), &SecretKey::from_slice(&[3; 32]).expect("a key"), None).is_none());
    }

    #[test]
    fn what_is_no_point_is_refused() {
        let keys = two_epochs();
        let mut uncompressed_tag = *keys.kem_public(0, &ENROLMENT).expect("public").as_bytes();
        uncompressed_tag[0] = 4;
        for bytes in [[0; 33], [2; 33].map(|_| 0xff), uncompressed_tag] {
            assert_eq!(keys.kem_agree(0, &ENROLMENT, &bytes).err(), Some(KeyError::NotAPoint));
        }
    }

    #[test]
    fn derived_secrets_differ_by_epoch_purpose_and_context() {
        let keys = two_epochs();
        let derive = |epoch, purpose, context| *keys.derive(epoch, purpose, context).expect("derives");
        let one = derive(0, "solelog/ticket/v1", b"a");
        assert_eq!(one, derive(0, "solelog/ticket/v1", b"a"));
        assert_ne!(one, derive(3, "solelog/ticket/v1", b"a"));
        assert_ne!(one, derive(0, "solelog/kept/v1", b"a"));
        assert_ne!(one, derive(0, "solelog/ticket/v1", b"b"));
    }

    #[test]
    fn signatures_are_the_named_keys_own() {
        let keys = SoftKeys::generate().expect("keys");
        let verify = |key: &[u8; 33], message: &[u8], signature: &[u8; 64]| {
            let key = VerifyingKey::from_sec1_bytes(key).expect("a point");
            key.verify(message, &Signature::from_slice(signature).expect("r, s")).is_ok()
        };
        let (issuing, document) = (*keys.issuing_key().as_bytes(), keys.document_key().expect("a document key"));
        let credential = keys.sign_credential(b"message").expect("signs");
        assert!(verify(&issuing, b"message", &credential));
        assert!(!verify(&issuing, b"another", &credential));
        let signed = keys.sign_document(b"message").expect("signs");
        assert!(verify(&document, b"message", &signed));
        assert!(!verify(&issuing, b"message", &signed));
        assert_eq!(keys.sign_credential(b"message"), Ok(credential), "the same again");

        let without = two_epochs();
        assert_eq!(without.document_key(), None);
        assert_eq!(without.sign_document(b"message"), Err(KeyError::NoDocumentKey));
    }

    #[test]
    fn nothing_secret_is_printed() {
        assert_eq!(format!("{:?}", two_epochs()), "SoftKeys(epoch 3, secret)");
    }

    #[test]
    fn it_stands_behind_the_trait() {
        let keys: std::sync::Arc<dyn KeyStore> = std::sync::Arc::new(two_epochs());
        assert_eq!(keys.epoch(), 3);
    }
}
