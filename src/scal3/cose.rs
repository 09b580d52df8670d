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
use coset::{CoseSign1, RegisteredLabelWithPrivate, TaggedCborSerializable};

use crate::cbor::{self, CborError};
use crate::ecdsa::Signature;
use crate::limits::CREDENTIAL_MAX;
use crate::point::Point;

/// CBOR tag 18, COSE_Sign1.
pub(crate) const TAG: u8 = 0xd2;

/// A public key and the one algorithm it is used with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// ECDSA over P-256 with SHA-256; signatures are r || s.
    Es256(Point),
    /// Ed25519.
    EdDsa([u8; 32]),
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

/// Verifies a COSE_Sign1 of at most 16 KiB and gives its payload.
pub fn verify_sign1(message: &[u8], external_aad: &[u8], key: &Key) -> Result<Vec<u8>, CoseError> {
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
    sign1.payload.ok_or(CoseError::Form)
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
