//! Secret keys with their names, as text and as what signs.
//!
//! ```text
//! PRIVATE+KEY+<name>+<key ID>+<base64( type || seed[32] )>
//! ```
//!
//! Both kinds of key follow from 32 bytes, so both have the same text form. Nothing here is
//! `Clone`, everything is wiped on drop, and nothing prints.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use ed25519_dalek::{Signer as _, SigningKey};
use zeroize::{Zeroize, Zeroizing};

use crate::key::{KeyId, KeyName, KeyNameError, ML_DSA_44, Vkey};
use crate::ml_dsa::MlDsaSecret;
use crate::text;

/// The first words of a secret key's text form.
const PREFIX: &str = "PRIVATE+KEY+";

/// Why a text is not a secret key for the use it is put to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SecretError {
    /// Not `PRIVATE+KEY+<name>+<key ID>+<base64>`.
    #[error("a secret key is PRIVATE+KEY+<name>+<key ID>+<base64>")]
    Format,
    /// The name is not a key name.
    #[error("secret key: {0}")]
    Name(#[from] KeyNameError),
    /// A key of another type than was asked for.
    #[error("secret key: type {0:#04x} is for another use")]
    Kind(u8),
    /// The key ID is not the one that follows from name, type and key.
    #[error("secret key: the key ID does not belong to this name and key")]
    KeyIdMismatch,
}

/// A secret key with its name.
pub(crate) struct Secret {
    key: Key,
    vkey: Vkey,
}

enum Key {
    Ed25519(Box<SigningKey>),
    MlDsa44(Box<MlDsaSecret>),
}

impl Secret {
    /// An Ed25519 key whose signatures are of type `kind`.
    pub(crate) fn ed25519(name: KeyName, kind: u8, seed: &[u8; 32]) -> Secret {
        let key = SigningKey::from_bytes(seed);
        let vkey = Vkey::of(name, kind, key.verifying_key().as_bytes());
        Secret { key: Key::Ed25519(Box::new(key)), vkey }
    }

    /// An ML-DSA-44 key.
    pub(crate) fn ml_dsa_44(name: KeyName, seed: &[u8; 32]) -> Secret {
        let key = MlDsaSecret::new(seed);
        let vkey = Vkey::of(name, ML_DSA_44, &key.public_key());
        Secret { key: Key::MlDsa44(Box::new(key)), vkey }
    }

    /// Reads a key of one of `kinds`.
    pub(crate) fn parse(secret: &str, kinds: &[u8]) -> Result<Secret, SecretError> {
        let rest = secret.strip_prefix(PREFIX).ok_or(SecretError::Format)?;
        let mut parts = rest.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(SecretError::Format);
        };
        let name = KeyName::new(name)?;
        let id = KeyId::from_hex(id).ok_or(SecretError::Format)?;
        let mut bytes = text::from_base64(key).ok_or(SecretError::Format)?;
        let parsed = match bytes.split_first() {
            Some((&kind, seed)) => match <&[u8; 32]>::try_from(seed) {
                Ok(_) if !kinds.contains(&kind) => Err(SecretError::Kind(kind)),
                Ok(seed) if kind == ML_DSA_44 => Ok(Secret::ml_dsa_44(name, seed)),
                Ok(seed) => Ok(Secret::ed25519(name, kind, seed)),
                Err(_) => Err(SecretError::Format),
            },
            None => Err(SecretError::Format),
        };
        bytes.zeroize();
        let secret = parsed?;
        if secret.vkey.id() != id {
            return Err(SecretError::KeyIdMismatch);
        }
        Ok(secret)
    }

    /// The text that [`Secret::parse`] reads.
    pub(crate) fn to_text(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(33));
        bytes.push(self.vkey.kind().byte());
        match &self.key {
            Key::Ed25519(key) => bytes.extend_from_slice(key.as_bytes()),
            Key::MlDsa44(key) => bytes.extend_from_slice(key.seed()),
        }
        let key = Zeroizing::new(text::to_base64(&bytes));
        let (name, id) = (self.vkey.name(), self.vkey.id());
        Zeroizing::new(alloc::format!("{PREFIX}{name}+{id}+{}", *key))
    }

    /// The key that verifies its signatures.
    pub(crate) fn vkey(&self) -> &Vkey {
        &self.vkey
    }

    /// Signs: 64 bytes or 2420, as the kind of the key has it.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.key {
            Key::Ed25519(key) => key.sign(message).to_bytes().to_vec(),
            Key::MlDsa44(key) => key.sign(message),
        }
    }
}
