//! The provider's keys: what they do, never what they are.
//!
//! ```text
//! master secret, one per epoch    a KEM key per enrolment: ECDH        kem_agree
//!                                 secrets of the provider's own: HMAC  derive
//! issuing key                     signs credentials: ECDSA             sign_credential
//! document key, if there is one   signs documents: ECDSA               sign_document
//! ```
//!
//! Nothing that a [`KeyStore`] is asked for is a private key, so a hardware module can stand in for the files: it needs
//! raw ECDH, ECDSA over P-256 and HMAC (in PKCS#11: `CKM_ECDH1_DERIVE`, `CKM_ECDSA_SHA256`, `CKM_SHA256_HMAC`).
//! [`SoftKeys`] is the implementation that keeps them in memory.
//!
//! A master secret is never replaced: the shares that were sealed under it stay sealed under it. A new one is added with
//! the next number, the epoch, and every enrolment names the epoch it was made under.

pub mod file;
pub mod folder;
mod master;
mod soft;
mod unlock;

pub use file::{KeyFileError, write_new};
pub use folder::KeyFolderError;
pub use master::{master_id, new_master};
pub use soft::{SoftKeys, public, sign};
pub use unlock::{PASSPHRASE_VARIABLE, Unlock};

use scal3::Hash;
use scal3::credential::IssuingKey;
use threshold::{Agreed, KemPublicKey};
use zeroize::Zeroizing;

/// The provider's keys.
pub trait KeyStore: Send + Sync {
    /// The newest master secret's number; 0 for the first. Enrolments name the one they were made under.
    fn epoch(&self) -> u32;

    /// The public half of the key that this enrolment's shares are sealed to.
    fn kem_public(&self, epoch: u32, enrolment_id: &Hash) -> Result<KemPublicKey, KeyError>;

    /// Raw ECDH between that key and the encapsulated key of a sealed share: all that a hardware module must compute.
    fn kem_agree(&self, epoch: u32, enrolment_id: &Hash, encapsulated: &[u8; 33]) -> Result<Agreed, KeyError>;

    /// The key that signs credentials now.
    fn issuing_key(&self) -> &IssuingKey;

    /// The issuing key's ECDSA signature (P-256, SHA-256) over the message: r || s.
    fn sign_credential(&self, message: &[u8]) -> Result<[u8; 64], KeyError>;

    /// A secret of the provider's own for one purpose, from the master secret of that epoch: for sealing what the server
    /// keeps, and for tickets. The context tells two secrets of one purpose apart.
    fn derive(&self, epoch: u32, purpose: &'static str, context: &[u8]) -> Result<Zeroizing<[u8; 32]>, KeyError>;

    /// The key that signs documents for instructions of class `document.sign`, a compressed point, if the provider has
    /// one.
    fn document_key(&self) -> Option<[u8; 33]>;

    /// The document key's ECDSA signature (P-256, SHA-256) over the message: r || s.
    fn sign_document(&self, message: &[u8]) -> Result<[u8; 64], KeyError>;
}

/// Why a key did not do what it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is no master secret with this number: it was taken out of the key folder, or never was in it.
    #[error("there is no master secret of epoch {0}")]
    Epoch(u32),
    /// What came from the other side is no public key.
    #[error("the encapsulated key is not a compressed point of P-256")]
    NotAPoint,
    /// The provider has no key for documents.
    #[error("the provider has no key that signs documents")]
    NoDocumentKey,
    /// A hardware module did not answer.
    #[error("the module that holds the keys does not answer")]
    Unavailable,
}
