//! Outcomes: the body of the opening of a kind-2 entry, which says what became of an instruction.
//!
//! ```text
//! outcome = [ name: tstr, stream: [credential: hash, counter: uint, previous: hash], about: hash / null,
//!             reason: tstr / null, detail: bstr / null ]
//! name    = "executed"   about = the authorisation, by its name (`crate::record::authorisation_key`)
//!           "blocked"    about = the same; or the instruction's id, where it was blocked before it was authorised
//! ```
//!
//! It is an entry of the stream that the provider writes about the subscriber, and shares its counter with the events
//! ([`crate::event`]).

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use tlog::Hash;

use crate::cbor::{self, Parts, ShapeError, Value};
use crate::entry::{BodyError, Kind};
use crate::event::StreamPlace;
use crate::limits::OPENING_MAX;
use crate::opening::OtherOpening;

/// The name of an outcome: the provider did what was authorised.
pub const EXECUTED: &str = "executed";
/// The name of an outcome: the provider would not do it.
pub const BLOCKED: &str = "blocked";

/// What became of an instruction. `Debug` tells what, and of how many bytes the rest is.
#[derive(Clone, PartialEq, Eq)]
pub struct Outcome {
    /// [`EXECUTED`], [`BLOCKED`], or another word of the provider's.
    pub name: String,
    /// Its place in the provider's stream.
    pub stream: StreamPlace,
    /// What it is about.
    pub about: Option<Hash>,
    /// Why.
    pub reason: Option<String>,
    /// What came of it, such as the signature that was made.
    pub detail: Option<Vec<u8>>,
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcome")
            .field("name", &self.name)
            .field("stream", &self.stream)
            .field("detail", &self.detail.as_ref().map_or(0, Vec::len))
            .finish_non_exhaustive()
    }
}

impl Outcome {
    /// Reads the body of a parsed kind-2 opening.
    pub fn from_body(body: Value) -> Result<Outcome, ShapeError> {
        let mut parts = Parts::new("outcome", body)?;
        let outcome = Outcome {
            name: parts.text("name")?,
            stream: StreamPlace::from_value(parts.value("stream")?)?,
            about: parts.or_null("about", Parts::hash)?,
            reason: parts.or_null("reason", Parts::text)?,
            detail: parts.or_null("detail", Parts::bytes)?,
        };
        parts.end()?;
        Ok(outcome)
    }

    /// Parses the deterministic CBOR of a body.
    pub fn parse(body: &[u8]) -> Result<Outcome, BodyError> {
        Ok(Outcome::from_body(cbor::decode(body, OPENING_MAX)?)?)
    }

    /// The body as a value.
    pub fn to_body(&self) -> Value {
        Value::Array(vec![
            cbor::text(&self.name),
            self.stream.to_value(),
            cbor::hash_or_null(self.about.as_ref()),
            self.reason.as_deref().map_or(Value::Null, cbor::text),
            self.detail.as_deref().map_or(Value::Null, cbor::bytes),
        ])
    }

    /// The one spelling of this body.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(&self.to_body())
    }

    /// The opening of the entry that logs this outcome. `salt` is 32 fresh random bytes.
    pub fn opening(&self, salt: [u8; 32]) -> OtherOpening {
        OtherOpening { kind: Kind::Outcome, salt, body: self.to_body() }
    }
}
