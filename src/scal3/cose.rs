//! COSE_Sign1: one signature over a payload. <https://www.rfc-editor.org/rfc/rfc9052#section-4.2>
//!
//! ```text
//! 18([ protected: bstr, unprotected: {}, payload: bstr, signature: bstr ])
//! signed = ["Signature1", protected, external_aad, payload]
//! ```
//!
//! The message must be deterministic CBOR. The algorithm counts only where it is signed, in the protected header, and it
//! must be the key's own: a key that follows what a message says about it can be talked into anything.

use alloc::vec::Vec;
use ciborium::Value;
use coset::iana::{Algorithm, EnumI64, HeaderParameter};
use coset::{CoseSign1, Header, RegisteredLabelWithPrivate, TaggedCborSerializable};

use crate::cbor::{self, CborError};
use crate::ecdsa::{BadSignature, Signature};
use crate::limits::CREDENTIAL_MAX;
use crate::point::Point;

/// CBOR tag 18, COSE_Sign1.
pub(crate) const TAG: u8 = 0xd2;

/// The longest COSE_Key that is read.
const KEY_MAX: usize = 4096;

/// A public key and the one algorithm it is used with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// ECDSA over P-256 with SHA-256; signatures are r || s.
    Es256(Point),
    /// Ed25519.
    EdDsa([u8; 32]),
}

/// Why bytes are not a key that this version verifies with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not the CBOR map of a COSE_Key, or a part of it has not its form.
    #[error("not a COSE_Key")]
    Form,
    /// Another algorithm than ES256 and EdDSA over Ed25519.
    #[error("an algorithm that is not supported")]
    Unsupported,
    /// Not a point of its curve, or one that signs for nobody.
    #[error("not a point of its curve")]
    Point,
}

/// Why a message is not what the holder of the key signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CoseError {
    /// Not deterministic CBOR, or its protected header is not.
    #[error("COSE: {0}")]
    Cbor(#[from] CborError),
    /// Not a tagged COSE_Sign1 with a payload inside.
    #[error("COSE: not a COSE_Sign1 with its payload")]
    Form,
    /// A countersignature; nothing here reads them, and they nest.
    #[error("COSE: a countersignature")]
    Countersignature,
    /// A header that must be understood, and is not.
    #[error("COSE: a critical header")]
    Critical,
    /// The protected header does not name the key's algorithm.
    #[error("COSE: the signed algorithm is not the key's")]
    Algorithm,
    /// The signature does not verify.
    #[error("COSE: the signature does not verify")]
    Signature,
}

impl Key {
    /// The name of the algorithm, in claims.
    pub const fn name(&self) -> &'static str {
        match self {
            Key::Es256(_) => "es256",
            Key::EdDsa(_) => "eddsa",
        }
    }

    /// The key: a compressed point of 33 bytes, or 32 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Key::Es256(point) => point.as_bytes(),
            Key::EdDsa(key) => key,
        }
    }

    /// The key of that algorithm from its bytes.
    ///
    /// # Errors
    /// [`KeyError::Unsupported`] for another name; [`KeyError::Form`] or [`KeyError::Point`].
    pub fn named(name: &str, bytes: &[u8]) -> Result<Key, KeyError> {
        match name {
            "es256" => Point::parse(bytes).map(Key::Es256).map_err(|_| KeyError::Point),
            "eddsa" => Key::ed25519(bytes.try_into().map_err(|_| KeyError::Form)?),
            _ => Err(KeyError::Unsupported),
        }
    }

    /// An Ed25519 key, unless it is a point of small order, under which almost anything verifies.
    pub fn ed25519(bytes: [u8; 32]) -> Result<Key, KeyError> {
        match ed25519_dalek::VerifyingKey::from_bytes(&bytes) {
            Ok(key) if !key.is_weak() => Ok(Key::EdDsa(bytes)),
            _ => Err(KeyError::Point),
        }
    }

    /// Reads a COSE_Key as authenticators give it: `{1: kty, 3: alg, -1: crv, -2: x, ? -3: y}`.
    ///
    /// # Errors
    /// [`KeyError`]: everything but ES256 over P-256 and EdDSA over Ed25519 is unsupported.
    pub fn from_cose(bytes: &[u8]) -> Result<Key, KeyError> {
        let Ok(Value::Map(map)) = cbor::decode(bytes, KEY_MAX) else {
            return Err(KeyError::Form);
        };
        let part = |label: i64| map.iter().find(|(name, _)| *name == Value::from(label)).map(|(_, value)| value);
        let number = |label| part(label).and_then(Value::as_integer).and_then(|number| i64::try_from(number).ok());
        let coordinate = |label| match part(label) {
            Some(Value::Bytes(bytes)) => <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| KeyError::Form),
            _ => Err(KeyError::Form),
        };
        match (number(1), number(3), number(-1)) {
            (Some(2), Some(-7), Some(1)) => {
                let sec1 = [&[4][..], &coordinate(-2)?, &coordinate(-3)?].concat();
                Point::from_sec1_any(&sec1).map(Key::Es256).map_err(|_| KeyError::Point)
            }
            (Some(1), Some(-8), Some(6)) => Key::ed25519(coordinate(-2)?),
            (Some(_), Some(_), _) => Err(KeyError::Unsupported),
            _ => Err(KeyError::Form),
        }
    }

    /// Verifies a signature over a message: r || s for ES256, 64 bytes for EdDSA.
    ///
    /// # Errors
    /// [`BadSignature`], also when the bytes are no signature.
    pub fn verify(&self, signature: &[u8], message: &[u8]) -> Result<(), BadSignature> {
        verify(self, signature, message).map_err(|_| BadSignature)
    }
}

/// A verified COSE_Sign1.
#[derive(Debug, Clone)]
pub(crate) struct Sign1 {
    /// The signed header.
    pub(crate) header: Header,
    /// What was signed.
    pub(crate) payload: Vec<u8>,
}

/// Verifies a COSE_Sign1 of at most 16 KiB and gives its payload.
pub fn verify_sign1(message: &[u8], external_aad: &[u8], key: &Key) -> Result<Vec<u8>, CoseError> {
    open_sign1(message, external_aad, key).map(|opened| opened.payload)
}

/// The same, with the signed header.
pub(crate) fn open_sign1(message: &[u8], external_aad: &[u8], key: &Key) -> Result<Sign1, CoseError> {
    if message.len() > CREDENTIAL_MAX {
        return Err(CborError::TooLong { len: message.len(), max: CREDENTIAL_MAX }.into());
    }
    cbor::check_deterministic(message)?;
    refuse_nesting(message)?;
    let sign1 = CoseSign1::from_tagged_slice(message).map_err(|_| CoseError::Form)?;
    let header = &sign1.protected.header;
    if !header.crit.is_empty() || !sign1.unprotected.crit.is_empty() {
        return Err(CoseError::Critical);
    }
    let expected = match key {
        Key::Es256(_) => Algorithm::ES256,
        Key::EdDsa(_) => Algorithm::EdDSA,
    };
    if header.alg != Some(RegisteredLabelWithPrivate::Assigned(expected)) || sign1.unprotected.alg.is_some() {
        return Err(CoseError::Algorithm);
    }
    sign1.verify_signature(external_aad, |signature, signed| verify(key, signature, signed))?;
    let payload = sign1.payload.ok_or(CoseError::Form)?;
    Ok(Sign1 { header: sign1.protected.header, payload })
}

/// Refuses a header with a countersignature before the COSE decoder sees it.
///
/// That decoder follows countersignatures through the byte strings of their own headers, where no CBOR depth counts: a
/// message of a few kilobytes would take it thousands of calls deep.
fn refuse_nesting(message: &[u8]) -> Result<(), CoseError> {
    let Some((&TAG, array)) = message.split_first() else {
        return Err(CoseError::Form);
    };
    let Ok(Value::Array(parts)) = ciborium::from_reader::<Value, _>(array) else {
        return Err(CoseError::Form);
    };
    let [Value::Bytes(protected), unprotected, Value::Bytes(_), Value::Bytes(_)] = parts.as_slice() else {
        return Err(CoseError::Form);
    };
    refuse_countersignature(unprotected)?;
    if protected.is_empty() {
        return Ok(());
    }
    cbor::check_deterministic(protected)?;
    let protected: Value = ciborium::from_reader(protected.as_slice()).map_err(|_| CoseError::Form)?;
    refuse_countersignature(&protected)
}

fn refuse_countersignature(header: &Value) -> Result<(), CoseError> {
    let Value::Map(header) = header else {
        return Err(CoseError::Form);
    };
    let label = Value::from(HeaderParameter::CounterSignature.to_i64());
    if header.iter().any(|(name, _)| *name == label) { Err(CoseError::Countersignature) } else { Ok(()) }
}

pub(crate) fn verify(key: &Key, signature: &[u8], signed: &[u8]) -> Result<(), CoseError> {
    match key {
        Key::Es256(point) => Signature::parse(signature)
            .map_err(|_| CoseError::Signature)?
            .verify(point, signed)
            .map_err(|_| CoseError::Signature),
        Key::EdDsa(bytes) => {
            let signature = ed25519_dalek::Signature::from_slice(signature).map_err(|_| CoseError::Signature)?;
            ed25519_dalek::VerifyingKey::from_bytes(bytes)
                .and_then(|key| key.verify_strict(signed, &signature))
                .map_err(|_| CoseError::Signature)
        }
    }
}
