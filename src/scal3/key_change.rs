//! Key changes: the body of a kind-8 entry, by which a key of the log or its provider comes or goes.
//!
//! ```text
//! key  = [ role: uint, old: bstr / null, new: bstr, signed_by_old: bstr / null, signed_by_new: bstr ]
//! role = 0 log   1 issuing   2 KEM   3 voucher
//! both signatures are over H("solelog/key/v1", [origin, role, old, new])
//! ```
//!
//! An empty new log key, with an empty signature, freezes the log.
//!
//! A rotation is signed by both keys: the old one says who follows, the new one that it is really there. A KEM key only
//! agrees, so an issuing key speaks for it: [`crate::keys`] has the rules of each role. The origin
//! never changes, and stands in what is signed so that no rotation can be taken to another log.

use alloc::vec;
use alloc::vec::Vec;
use tlog::Hash;

use crate::cbor::{self, Parts, ShapeError, Value};
use crate::entry::{BodyError, body_parts};
use crate::tag::tagged;

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// 0: signs checkpoints.
    Log,
    /// 1: signs credentials.
    Issuing,
    /// 2: shares are sealed to it.
    Kem,
    /// 3: vouches for evidence that proves nothing on its own.
    Voucher,
}

/// One key in another's place, or beside the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChange {
    /// What both keys are for.
    pub role: Role,
    /// The key that goes, with its signature; nothing when a key is added.
    pub old: Option<SignedKey>,
    /// The key that comes, with its signature.
    pub new: SignedKey,
}

/// A public key and its signature over the change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedKey {
    /// The key: 33 bytes for P-256, 32 for Ed25519.
    pub key: Vec<u8>,
    /// Its signature over [`change_hash`].
    pub signature: Vec<u8>,
}

impl Role {
    const ALL: [Role; 4] = [Role::Log, Role::Issuing, Role::Kem, Role::Voucher];

    /// The role with this number.
    pub fn new(number: u64) -> Option<Role> {
        Role::ALL.get(usize::try_from(number).ok()?).copied()
    }

    /// Its number in bodies.
    pub fn number(self) -> u64 {
        self as u64
    }
}

impl KeyChange {
    /// Whether it freezes the log: its key goes, and none comes.
    pub fn freezes(&self) -> bool {
        self.role == Role::Log && self.new.key.is_empty() && self.new.signature.is_empty()
    }

    /// Parses the body of an entry of kind 8. The signatures are not verified here.
    pub fn parse(body: &[u8]) -> Result<KeyChange, BodyError> {
        let mut parts = body_parts("key", body)?;
        let role = Role::new(parts.uint("role")?).ok_or(BodyError::value("role"))?;
        let old = bytes_or_null(&mut parts, "old")?;
        let new = parts.bytes("new")?;
        let signed_by_old = bytes_or_null(&mut parts, "signed_by_old")?;
        let signature = parts.bytes("signed_by_new")?;
        parts.end()?;
        let old = match (old, signed_by_old) {
            (Some(key), Some(signature)) => Some(SignedKey { key, signature }),
            (None, None) => None,
            _ => return Err(BodyError::value("signed_by_old")),
        };
        Ok(KeyChange { role, old, new: SignedKey { key: new, signature } })
    }

    /// The one spelling of this body.
    pub fn to_bytes(&self) -> Vec<u8> {
        let or_null = |bytes: Option<&Vec<u8>>| bytes.map_or(Value::Null, |bytes| cbor::bytes(bytes));
        cbor::encode(&Value::Array(vec![
            cbor::uint(self.role.number()),
            or_null(self.old.as_ref().map(|old| &old.key)),
            cbor::bytes(&self.new.key),
            or_null(self.old.as_ref().map(|old| &old.signature)),
            cbor::bytes(&self.new.signature),
        ]))
    }
}

/// What both keys sign: `H("solelog/key/v1", [origin, role, old, new])`.
pub fn change_hash(origin: &str, role: Role, old: Option<&[u8]>, new: &[u8]) -> Hash {
    let change = Value::Array(vec![
        cbor::text(origin),
        cbor::uint(role.number()),
        old.map_or(Value::Null, cbor::bytes),
        cbor::bytes(new),
    ]);
    tagged("solelog/key/v1", &cbor::encode(&change))
}

fn bytes_or_null(parts: &mut Parts, part: &'static str) -> Result<Option<Vec<u8>>, ShapeError> {
    match parts.value(part)? {
        Value::Null => Ok(None),
        Value::Bytes(bytes) => Ok(Some(bytes)),
        _ => Err(ShapeError { part, fault: cbor::Fault::Type }),
    }
}
