//! Events: the body of the opening of a kind-9 entry, such as an attempt to authenticate.
//!
//! ```text
//! event = [ name: tstr, stream: [credential: hash, counter: uint, previous: hash] / null, detail: tstr / bstr / null ]
//! ```
//!
//! An event about a subscriber is entry `counter` of stream 1 of that credential, and chains to the one before, so that
//! none can be left out; [`crate::outcome`]s are in the same chain. An event about nobody has no stream. A kind-9 entry
//! may also have a body of any other shape: it is in no stream then, and nothing here reads it.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use tlog::Hash;

use crate::cbor::{self, Fault, Parts, ShapeError, Value};
use crate::entry::{BodyError, Kind};
use crate::limits::OPENING_MAX;
use crate::opening::OtherOpening;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened, such as `attempt.failed`.
    pub name: String,
    /// Whom it is about.
    pub stream: Option<StreamPlace>,
    /// More about it.
    pub detail: Detail,
}

/// A place in the stream of entries that the provider writes about a subscriber.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamPlace {
    /// Whose stream.
    pub credential: Hash,
    /// How many entries of the stream came before.
    pub counter: u64,
    /// The commitment of the one before, or the credential for the first.
    pub previous: Hash,
}

/// The detail of an event. `Debug` tells the type and the length only.
#[derive(Clone, PartialEq, Eq)]
pub enum Detail {
    /// Nothing more.
    Nothing,
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

impl fmt::Debug for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Detail::Nothing => f.write_str("Nothing"),
            Detail::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Detail::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
        }
    }
}

impl Event {
    /// Reads the body of a parsed kind-9 opening.
    pub fn from_body(body: Value) -> Result<Event, ShapeError> {
        let mut parts = Parts::new("event", body)?;
        let event = Event {
            name: parts.text("name")?,
            stream: match parts.value("stream")? {
                Value::Null => None,
                stream => Some(StreamPlace::from_value(stream)?),
            },
            detail: match parts.value("detail")? {
                Value::Null => Detail::Nothing,
                Value::Text(text) => Detail::Text(text),
                Value::Bytes(bytes) => Detail::Bytes(bytes),
                _ => {
                    return Err(ShapeError { part: "detail", fault: Fault::Type });
                }
            },
        };
        parts.end()?;
        Ok(event)
    }

    /// Parses the deterministic CBOR of a body.
    pub fn parse(body: &[u8]) -> Result<Event, BodyError> {
        Ok(Event::from_body(cbor::decode(body, OPENING_MAX)?)?)
    }

    /// The body as a value.
    pub fn to_body(&self) -> Value {
        Value::Array(vec![
            cbor::text(&self.name),
            self.stream.as_ref().map_or(Value::Null, StreamPlace::to_value),
            match &self.detail {
                Detail::Nothing => Value::Null,
                Detail::Text(text) => cbor::text(text),
                Detail::Bytes(bytes) => cbor::bytes(bytes),
            },
        ])
    }

    /// The one spelling of this body.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(&self.to_body())
    }

    /// The opening of the entry that logs this event. `salt` is 32 fresh random bytes.
    pub fn opening(&self, salt: [u8; 32]) -> OtherOpening {
        OtherOpening { kind: Kind::Event, salt, body: self.to_body() }
    }
}

impl StreamPlace {
    pub(crate) fn from_value(value: Value) -> Result<StreamPlace, ShapeError> {
        let mut parts = Parts::new("stream", value)?;
        let place = StreamPlace {
            credential: parts.hash("credential")?,
            counter: parts.uint("counter")?,
            previous: parts.hash("previous")?,
        };
        parts.end()?;
        Ok(place)
    }

    pub(crate) fn to_value(&self) -> Value {
        Value::Array(vec![cbor::bytes(&self.credential.0), cbor::uint(self.counter), cbor::bytes(&self.previous.0)])
    }
}
