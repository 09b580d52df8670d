//! Byte strings in JSON: base64 with padding (RFC 4648 §4), as in every C2SP format.
//!
//! Decoding is strict, as everywhere in the product: white space, missing padding and stray trailing bits are refused.

use base64ct::{Base64, Encoding};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Bytes that are written as base64 text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bytes(pub Vec<u8>);

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes(bytes)
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&Base64::encode_string(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        strict(&text).map(Bytes).ok_or_else(|| D::Error::custom("not base64 (RFC 4648 section 4, padded)"))
    }
}

/// Decodes base64, strictly.
#[must_use]
pub fn strict(text: &str) -> Option<Vec<u8>> {
    Base64::decode_vec(text).ok()
}
