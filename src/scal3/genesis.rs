//! Genesis: the first entry of a log, which says whose log it is.
//!
//! ```text
//! genesis = [ origin: tstr, [+ issuing_key: bstr .size 33], policy: bstr ]
//! ```
//!
//! `policy` is the policy document itself; its SHA-256 is what metadata names.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use sha2::{Digest, Sha256};
use tlog::Hash;

use crate::cbor::{self, Fault, ShapeError, Value};
use crate::entry::{BodyError, body_parts};
use crate::limits::ORIGIN_MAX;

/// The body of a genesis entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Genesis {
    /// The log's origin, which never changes.
    pub origin: String,
    /// The keys with which the provider signs credentials, compressed points; at least one, none twice.
    pub issuing_keys: Vec<[u8; 33]>,
    /// The first policy document.
    pub policy: Vec<u8>,
}

impl Genesis {
    /// Parses the body of an entry of kind 0.
    pub fn parse(body: &[u8]) -> Result<Genesis, BodyError> {
        let mut parts = body_parts("genesis", body)?;
        let origin = parts.bounded_text("origin", ORIGIN_MAX)?;
        let mut list = parts.array("issuing_keys")?;
        if list.is_empty() {
            return Err(ShapeError { part: "issuing_keys", fault: Fault::Size }.into());
        }
        let mut issuing_keys = Vec::with_capacity(list.len());
        let mut seen = BTreeSet::new();
        while !list.is_empty() {
            let key = list.point("issuing_keys")?;
            if !seen.insert(key) {
                return Err(BodyError::value("issuing_keys"));
            }
            issuing_keys.push(key);
        }
        let policy = parts.bytes("policy")?;
        parts.end()?;
        Ok(Genesis { origin, issuing_keys, policy })
    }

    /// The one spelling of this body.
    pub fn to_bytes(&self) -> Vec<u8> {
        let keys = self.issuing_keys.iter().map(|key| cbor::bytes(key)).collect();
        cbor::encode(&Value::Array(vec![cbor::text(&self.origin), Value::Array(keys), cbor::bytes(&self.policy)]))
    }

    /// The hash by which metadata names the policy.
    pub fn policy_hash(&self) -> Hash {
        policy_hash(&self.policy)
    }
}

/// SHA-256 of a policy document's bytes.
pub fn policy_hash(policy: &[u8]) -> Hash {
    Hash(Sha256::digest(policy).into())
}
