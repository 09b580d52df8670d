//! Erasures: the body of the opening of a kind-7 entry.
//!
//! ```text
//! erasure = [ index: uint, reason: tstr ]
//! ```
//!
//! The target is named only here, inside an opening: a public list of erased places would link them to one another.

use alloc::string::String;
use alloc::vec;
use core::fmt;

use crate::cbor::{self, Parts, ShapeError, Value};
use crate::entry::Kind;
use crate::opening::OtherOpening;

/// An opening that is gone.
#[derive(Clone, PartialEq, Eq)]
pub struct Erasure {
    /// The leaf index of the entry whose opening was erased.
    pub index: u64,
    /// Why.
    pub reason: String,
}

/// Tells neither the target nor the reason: both are in the opening alone.
impl fmt::Debug for Erasure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Erasure")
    }
}

impl Erasure {
    /// Reads the body of a parsed kind-7 opening.
    pub fn from_body(body: Value) -> Result<Erasure, ShapeError> {
        let mut parts = Parts::new("erasure", body)?;
        let erasure = Erasure { index: parts.uint("index")?, reason: parts.text("reason")? };
        parts.end()?;
        Ok(erasure)
    }

    /// The body as a value.
    pub fn to_body(&self) -> Value {
        Value::Array(vec![cbor::uint(self.index), cbor::text(&self.reason)])
    }

    /// The opening of the entry that logs this erasure. `salt` is 32 fresh random bytes.
    pub fn opening(&self, salt: [u8; 32]) -> OtherOpening {
        OtherOpening { kind: Kind::Erasure, salt, body: self.to_body() }
    }
}
