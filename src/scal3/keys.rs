//! The keys in force at a place in the log: those of the genesis, as the key entries since have changed them.
//!
//! ```text
//! keys = [ 1, [+ issuing: bstr .size 33], [* retired: bstr .size 33], log: bstr .size 32 / null,
//!          kem: bstr .size 33 / null, [* [index: uint, role: uint, key: bstr]] ]          for a store of one's own
//! ```
//!
//! | role | key | `old` must be | signed with |
//! |---|---|---|---|
//! | issuing | P-256 | a key in force | both issuing keys, ECDSA |
//! | log | Ed25519 | the last one that an entry named, if one did | both log keys, Ed25519 |
//! | KEM | P-256: that of the all-zero enrolment id under the new master secret | the last one, null for the first | the issuing key, ECDSA, in both places |
//!
//! A log key that goes with none in its place freezes the log: the entry that says so is the last one, and the head over
//! it the final one. The key stays the log's, for that head.
//!
//! A KEM key only agrees: hardware may refuse to sign with it, so the provider's issuing key speaks for it. Its entry
//! tells everybody from when on people are enrolled under another master secret, and what the key of an enrolment id
//! that nobody has is, so that an auditor can check the claim.
//!
//! An issuing key comes once: one that was replaced never comes back. The same transitions run in the sequencer, in a monitor's
//! fold and, over the entries that a receipt shows, at whoever verifies it.

use alloc::vec;
use alloc::vec::Vec;

use tlog::Hash;
use tlog::key::verify_ed25519;

use crate::cbor::{self, CborError, Fault, Parts, ShapeError, Value};
use crate::credential::IssuingKey;
use crate::ecdsa::Signature;
use crate::genesis::Genesis;
use crate::key_change::{KeyChange, Role, SignedKey, change_hash};
use crate::limits::OPENING_MAX;
use crate::point::Point;

/// The keys in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    issuing: Vec<IssuingKey>,
    retired: Vec<[u8; 33]>,
    log: Option<[u8; 32]>,
    kem: Option<[u8; 33]>,
    changes: Vec<Changed>,
}

/// A key entry that was taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Its index.
    pub index: u64,
    /// What the key is for.
    pub role: Role,
    /// The key that came.
    pub key: Vec<u8>,
}

/// Why a key may not take another one's place. Checked in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    /// Vouchers are not in use.
    #[error("this version has no use for keys of that role")]
    Role,
    /// A key or a signature that is none.
    #[error("not a key or not a signature of that role")]
    Encoding,
    /// The key that goes is not the one in force.
    #[error("the old key is not in force")]
    NotInForce,
    /// The key that comes was there before.
    #[error("the new key was in force before")]
    Known,
    /// One of the signatures.
    #[error("the change is not signed as its role asks")]
    Signature,
    /// The log is frozen.
    #[error("the log is frozen")]
    Frozen,
}

impl Keys {
    /// Those of the genesis. `None` when one of its issuing keys is no point.
    pub fn genesis(genesis: &Genesis) -> Option<Keys> {
        let issuing = genesis.issuing_keys.iter().map(|key| IssuingKey::parse(key).ok()).collect::<Option<_>>()?;
        Some(Keys { issuing, retired: Vec::new(), log: None, kem: None, changes: Vec::new() })
    }

    /// The keys that sign credentials.
    pub fn issuing(&self) -> &[IssuingKey] {
        &self.issuing
    }

    /// The issuing key in force of that provider.
    pub fn of_provider(&self, provider: &Hash) -> Option<&IssuingKey> {
        self.issuing.iter().find(|key| key.provider() == *provider)
    }

    /// The log's key, if an entry has named one.
    pub fn log(&self) -> Option<&[u8; 32]> {
        self.log.as_ref()
    }

    /// The index of the entry that froze the log, if one did. None may come behind it.
    pub fn frozen(&self) -> Option<u64> {
        self.changes.last().filter(|last| last.role == Role::Log && last.key.is_empty()).map(|last| last.index)
    }

    /// The KEM key of the all-zero enrolment id, if an entry has named one.
    pub fn kem(&self) -> Option<&[u8; 33]> {
        self.kem.as_ref()
    }

    /// The key entries so far, in order.
    pub fn changes(&self) -> &[Changed] {
        &self.changes
    }

    /// The index of the entry that brought this key.
    pub fn brought(&self, role: Role, key: &[u8]) -> Option<u64> {
        self.changes.iter().find(|change| change.role == role && change.key == key).map(|change| change.index)
    }

    /// Takes the key entry with this index in.
    ///
    /// # Errors
    /// [`KeyRefusal`]; nothing is changed then.
    pub fn change(&mut self, origin: &str, change: &KeyChange, index: u64) -> Result<(), KeyRefusal> {
        if self.frozen().is_some() {
            return Err(KeyRefusal::Frozen);
        }
        let old = change.old.as_ref().map(|old| old.key.as_slice());
        let signed = change_hash(origin, change.role, old, &change.new.key);
        match change.role {
            Role::Issuing => self.change_issuing(change, &signed)?,
            Role::Log => self.change_log(change, &signed)?,
            Role::Kem => self.change_kem(change, &signed)?,
            Role::Voucher => return Err(KeyRefusal::Role),
        }
        self.changes.push(Changed { index, role: change.role, key: change.new.key.clone() });
        Ok(())
    }

    fn change_issuing(&mut self, change: &KeyChange, signed: &Hash) -> Result<(), KeyRefusal> {
        // A key that nobody in force speaks for would make the log's word for itself the root of all trust, which is
        // what the genesis is.
        let old = change.old.as_ref().ok_or(KeyRefusal::NotInForce)?;
        let new = IssuingKey::parse(&change.new.key).map_err(|_| KeyRefusal::Encoding)?;
        let place = self.issuing.iter().position(|key| key.as_bytes()[..] == old.key).ok_or(KeyRefusal::NotInForce)?;
        if self.issuing.contains(&new) || self.retired.contains(new.as_bytes()) {
            return Err(KeyRefusal::Known);
        }
        ecdsa(&old.key, &old.signature, signed)?;
        ecdsa(&change.new.key, &change.new.signature, signed)?;
        if let Some(key) = self.issuing.get_mut(place) {
            self.retired.push(*key.as_bytes());
            *key = new;
        }
        Ok(())
    }

    fn change_log(&mut self, change: &KeyChange, signed: &Hash) -> Result<(), KeyRefusal> {
        let old = change.old.as_ref().ok_or(KeyRefusal::NotInForce)?;
        let before = ed25519_key(old)?;
        if self.log.is_some_and(|log| log != before) {
            return Err(KeyRefusal::NotInForce);
        }
        if change.freezes() {
            // Nothing comes, so nothing else signs.
            let signature = old.signature.as_slice().try_into().map_err(|_| KeyRefusal::Encoding)?;
            let holds = verify_ed25519(&before, &signed.0, signature);
            return if holds { Ok(()) } else { Err(KeyRefusal::Signature) };
        }
        let new = ed25519_key(&change.new)?;
        if before == new {
            return Err(KeyRefusal::Known);
        }
        for (key, side) in [(&before, old), (&new, &change.new)] {
            let signature = side.signature.as_slice().try_into().map_err(|_| KeyRefusal::Encoding)?;
            if !verify_ed25519(key, &signed.0, signature) {
                return Err(KeyRefusal::Signature);
            }
        }
        self.log = Some(new);
        Ok(())
    }

    fn change_kem(&mut self, change: &KeyChange, signed: &Hash) -> Result<(), KeyRefusal> {
        let new = Point::parse(&change.new.key).map_err(|_| KeyRefusal::Encoding)?;
        let old = change.old.as_ref().map(|old| old.key.as_slice());
        if old != self.kem.as_ref().map(|kem| &kem[..]) {
            return Err(KeyRefusal::NotInForce);
        }
        if self.kem.as_ref() == Some(new.as_bytes()) {
            return Err(KeyRefusal::Known);
        }
        for side in [change.old.as_ref(), Some(&change.new)].into_iter().flatten() {
            let by_provider = |key: &IssuingKey| ecdsa(key.as_bytes(), &side.signature, signed);
            // Not a key: not a signature that failed.
            Signature::parse(&side.signature).map_err(|_| KeyRefusal::Encoding)?;
            self.issuing.iter().find(|key| by_provider(key).is_ok()).ok_or(KeyRefusal::Signature)?;
        }
        self.kem = Some(*new.as_bytes());
        Ok(())
    }

    /// The one spelling of these keys, for a store of one's own.
    pub fn to_bytes(&self) -> Vec<u8> {
        let changed = |change: &Changed| {
            let role = cbor::uint(change.role.number());
            Value::Array(vec![cbor::uint(change.index), role, cbor::bytes(&change.key)])
        };
        cbor::encode(&Value::Array(vec![
            cbor::uint(1),
            Value::Array(self.issuing.iter().map(|key| cbor::bytes(key.as_bytes())).collect()),
            Value::Array(self.retired.iter().map(|key| cbor::bytes(key)).collect()),
            self.log.as_ref().map_or(Value::Null, |key| cbor::bytes(key)),
            self.kem.as_ref().map_or(Value::Null, |key| cbor::bytes(key)),
            Value::Array(self.changes.iter().map(changed).collect()),
        ]))
    }

    /// Reads keys back from a store of one's own: no signature is verified again. Never for bytes from anywhere else.
    ///
    /// # Errors
    /// [`StoredKeysError`].
    pub fn from_own_store(bytes: &[u8]) -> Result<Keys, StoredKeysError> {
        let mut parts = Parts::new("keys", cbor::decode(bytes, OPENING_MAX)?)?;
        parts.constant("version", 1)?;
        let mut list = parts.array("issuing")?;
        let mut issuing = Vec::with_capacity(list.len());
        while !list.is_empty() {
            let wrong = |_| ShapeError { part: "issuing", fault: Fault::Value };
            issuing.push(IssuingKey::parse(&list.point("issuing")?).map_err(wrong)?);
        }
        let mut list = parts.array("retired")?;
        let mut retired = Vec::with_capacity(list.len());
        while !list.is_empty() {
            retired.push(list.point("retired")?);
        }
        let (log, kem) = (key_or_null(&mut parts, "log")?, key_or_null(&mut parts, "kem")?);
        let mut list = parts.array("changes")?;
        let mut changes = Vec::with_capacity(list.len());
        while !list.is_empty() {
            let mut change = list.array("changes")?;
            let index = change.uint("index")?;
            let wrong = ShapeError { part: "role", fault: Fault::Value };
            let role = Role::new(change.uint("role")?).ok_or(wrong)?;
            changes.push(Changed { index, role, key: change.bytes("key")? });
            change.end()?;
        }
        parts.end()?;
        Ok(Keys { issuing, retired, log, kem, changes })
    }
}

/// Why bytes are not stored keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StoredKeysError {
    /// Not deterministic CBOR of the subset.
    #[error("keys: {0}")]
    Cbor(#[from] CborError),
    /// Not the array above.
    #[error("keys: {0}")]
    Shape(#[from] ShapeError),
}

fn ecdsa(key: &[u8], signature: &[u8], signed: &Hash) -> Result<(), KeyRefusal> {
    let key = Point::parse(key).map_err(|_| KeyRefusal::Encoding)?;
    let signature = Signature::parse(signature).map_err(|_| KeyRefusal::Encoding)?;
    signature.verify(&key, &signed.0).map_err(|_| KeyRefusal::Signature)
}

fn ed25519_key(side: &SignedKey) -> Result<[u8; 32], KeyRefusal> {
    side.key.as_slice().try_into().map_err(|_| KeyRefusal::Encoding)
}

fn key_or_null<const N: usize>(parts: &mut Parts, part: &'static str) -> Result<Option<[u8; N]>, ShapeError> {
    match parts.value(part)? {
        Value::Null => Ok(None),
        Value::Bytes(bytes) => match bytes.try_into() {
            Ok(key) => Ok(Some(key)),
            Err(_) => Err(ShapeError { part, fault: Fault::Size }),
        },
        _ => Err(ShapeError { part, fault: Fault::Type }),
    }
}
