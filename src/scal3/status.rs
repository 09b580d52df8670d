//! Credential status: the body of the opening of a kind-3 entry.
//!
//! ```text
//! status = [ change: uint, credential: hash, detail ]
//! change = 0 issued     detail = bstr, the credential as it was signed
//!          1 activated  detail = uint, the index of its first record
//!          2 suspended  3 resumed  4 revoked  5 recovered        detail = tstr, the reason
//!          6 an authenticator is added      detail = bstr, its claims (`crate::authenticator`)
//!          7 an authenticator is revoked    detail = [hash, reason: tstr]
//! ```
//!
//! The entries of one credential are found by [`crate::index_key::status_index_key`] with counters 0, 1, 2 and so on:
//! whoever holds the credential can show that none is missing.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use tlog::Hash;

use crate::cbor::{self, Fault, Parts, ShapeError, Value};
use crate::entry::{BodyError, Kind};
use crate::opening::OtherOpening;

/// One change of one credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusChange {
    /// Whose status changes.
    pub credential: Hash,
    /// What happened.
    pub change: Change,
}

/// What happened to a credential, or to an authenticator of its subject. `Debug` tells what, not why.
#[derive(Clone, PartialEq, Eq)]
pub enum Change {
    /// The provider issued it; these are its bytes.
    Issued(Vec<u8>),
    /// Its first record is at this index.
    Activated(u64),
    /// It may not act for now, for this reason.
    Suspended(String),
    /// It may act again, for this reason.
    Resumed(String),
    /// It may never act again, for this reason.
    Revoked(String),
    /// It succeeds another credential without that one's record, for this reason.
    Recovered(String),
    /// Its subject has another authenticator, with these claims, as the subject's record asked for.
    AuthenticatorAdded(Vec<u8>),
    /// An authenticator of its subject counts no more, for this reason.
    AuthenticatorRevoked(Hash, String),
}

impl Change {
    /// Its number.
    pub fn number(&self) -> u64 {
        match self {
            Change::Issued(_) => 0,
            Change::Activated(_) => 1,
            Change::Suspended(_) => 2,
            Change::Resumed(_) => 3,
            Change::Revoked(_) => 4,
            Change::Recovered(_) => 5,
            Change::AuthenticatorAdded(_) => 6,
            Change::AuthenticatorRevoked(..) => 7,
        }
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Change::Issued(_) => "Issued",
            Change::Activated(index) => return write!(f, "Activated({index})"),
            Change::Suspended(_) => "Suspended",
            Change::Resumed(_) => "Resumed",
            Change::Revoked(_) => "Revoked",
            Change::Recovered(_) => "Recovered",
            Change::AuthenticatorAdded(_) => "AuthenticatorAdded",
            Change::AuthenticatorRevoked(..) => "AuthenticatorRevoked",
        })
    }
}

impl StatusChange {
    /// Reads the body of a parsed kind-3 opening.
    pub fn from_body(body: Value) -> Result<StatusChange, ShapeError> {
        let mut parts = Parts::new("status", body)?;
        let change = parts.uint("change")?;
        let credential = parts.hash("credential")?;
        let change = match change {
            0 => Change::Issued(parts.bytes("detail")?),
            1 => Change::Activated(parts.uint("detail")?),
            2 => Change::Suspended(parts.text("detail")?),
            3 => Change::Resumed(parts.text("detail")?),
            4 => Change::Revoked(parts.text("detail")?),
            5 => Change::Recovered(parts.text("detail")?),
            6 => Change::AuthenticatorAdded(parts.bytes("detail")?),
            7 => {
                let mut detail = parts.array("detail")?;
                let change = Change::AuthenticatorRevoked(detail.hash("authenticator")?, detail.text("reason")?);
                detail.end()?;
                change
            }
            _ => {
                return Err(ShapeError { part: "change", fault: Fault::Value });
            }
        };
        parts.end()?;
        Ok(StatusChange { credential, change })
    }

    /// Parses the deterministic CBOR of a body.
    pub fn parse(body: &[u8]) -> Result<StatusChange, BodyError> {
        Ok(StatusChange::from_body(cbor::decode(body, crate::limits::OPENING_MAX)?)?)
    }

    /// The body as a value.
    pub fn to_body(&self) -> Value {
        let detail = match &self.change {
            Change::Issued(bytes) | Change::AuthenticatorAdded(bytes) => cbor::bytes(bytes),
            Change::AuthenticatorRevoked(authenticator, reason) => {
                Value::Array(vec![cbor::bytes(&authenticator.0), cbor::text(reason)])
            }
            Change::Activated(index) => cbor::uint(*index),
            Change::Suspended(reason)
            | Change::Resumed(reason)
            | Change::Revoked(reason)
            | Change::Recovered(reason) => cbor::text(reason),
        };
        Value::Array(vec![cbor::uint(self.change.number()), cbor::bytes(&self.credential.0), detail])
    }

    /// The one spelling of this body.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(&self.to_body())
    }

    /// The opening of the entry that logs this change. `salt` is 32 fresh random bytes.
    pub fn opening(&self, salt: [u8; 32]) -> OtherOpening {
        OtherOpening { kind: Kind::Status, salt, body: self.to_body() }
    }
}
