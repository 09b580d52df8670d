//! Entries: the leaves of the log, under 100 bytes that link to nobody.
//!
//! ```text
//! entry      = [ 1, kind: uint, time_ms: uint, commitment: hash, index_key: hash / null, ? body ]
//! commitment = H("solelog/opening/v1", opening), for public kinds H("solelog/body/v1", body)
//! leaf hash  = SHA-256(0x00 || entry)
//! ```
//!
//! Kinds 0, 4, 5, 6 and 8 are public and carry their body; all the others are commitments to an opening kept elsewhere.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use tlog::{Hash, LeafHash};

use crate::cbor::{self, CborError, Fault, Parts, ShapeError, Value};
use crate::index_key::Space;
use crate::limits::ENTRY_MAX;
use crate::tag::tagged;

/// What an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// 0, public: origin, issuing keys and first policy. The first entry, and only there.
    Genesis,
    /// 1: an authorised instruction.
    Instruction,
    /// 2: what became of an instruction.
    Outcome,
    /// 3: a change of a credential's status, or of its authenticators.
    Status,
    /// 4, public: the policy in force from here on.
    Policy,
    /// 5, public: key holders, key generation, reputation.
    Network,
    /// 6, public: a root of the map from index key to leaf index.
    IndexRoot,
    /// 7: an opening was erased; which one only the opening of this entry says.
    Erasure,
    /// 8, public: a key of the log or its provider comes or goes.
    Key,
    /// 9: an attempt to authenticate, a security event.
    Event,
    /// 10: a delegation.
    Delegation,
}

impl Kind {
    /// All kinds, by number.
    pub const ALL: [Kind; 11] = [
        Kind::Genesis,
        Kind::Instruction,
        Kind::Outcome,
        Kind::Status,
        Kind::Policy,
        Kind::Network,
        Kind::IndexRoot,
        Kind::Erasure,
        Kind::Key,
        Kind::Event,
        Kind::Delegation,
    ];

    /// The kind with this number. An unknown number must stop a fold: what it means can't be known.
    pub fn new(number: u64) -> Option<Kind> {
        Kind::ALL.get(usize::try_from(number).ok()?).copied()
    }

    /// Its number in entries.
    pub fn number(self) -> u64 {
        self as u64
    }

    /// Whether entries of this kind carry their body.
    pub fn is_public(self) -> bool {
        matches!(self, Kind::Genesis | Kind::Policy | Kind::Network | Kind::IndexRoot | Kind::Key)
    }

    /// The space that the index keys of this kind are in.
    pub fn index_key_space(self) -> Space {
        if self == Kind::Status { Space::Status } else { Space::Stream }
    }

    /// Whether entries of this kind have an index key: always, never, or (`None`) either way.
    ///
    /// An instruction and a status change are found by theirs, or nobody could show that a list of them is complete.
    /// A public entry concerns no subscriber, and an erasure must not link to one.
    pub fn has_index_key(self) -> Option<bool> {
        match self {
            Kind::Instruction | Kind::Status => Some(true),
            Kind::Outcome | Kind::Event | Kind::Delegation => None,
            _ => Some(false),
        }
    }
}

/// One leaf of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is about.
    pub kind: Kind,
    /// The time of its round in milliseconds since 1970-01-01T00:00Z, never smaller than the one before.
    pub time_ms: u64,
    /// Commits to the opening, or to the body of a public kind.
    pub commitment: Hash,
    /// Where in the map of the subscriber's index it is.
    pub index_key: Option<Hash>,
    /// The deterministic CBOR of the body, in public kinds.
    pub body: Option<Vec<u8>>,
}

/// Why bytes are not an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Not deterministic CBOR of the subset.
    #[error("entry: {0}")]
    Cbor(#[from] CborError),
    /// Not the array of the CDDL.
    #[error("entry: {0}")]
    Shape(#[from] ShapeError),
    /// A kind this version does not know.
    #[error("entry: unknown kind {0}")]
    UnknownKind(u64),
    /// An index key where this kind has none, or none where it has one.
    #[error("entry: this kind of entry does not go with this index key")]
    IndexKey,
    /// The index key of a status in an entry of another kind, or the other way round.
    #[error("entry: the index key is not in the space of this kind of entry")]
    IndexKeySpace,
    /// A body in a kind that is not public, or none in one that is.
    #[error("entry: this kind of entry does not go with this body")]
    Body,
    /// The commitment does not commit to the body.
    #[error("entry: the commitment is not the body's")]
    Commitment,
}

impl EntryError {
    /// A short stable name of the refusal, the one that `schemas/vectors` use.
    pub fn code(&self) -> String {
        match self {
            EntryError::Cbor(error) => error.code().into(),
            EntryError::Shape(error) => error.code(),
            EntryError::UnknownKind(_) => "unknown-kind".into(),
            EntryError::IndexKey => "index-key".into(),
            EntryError::IndexKeySpace => "index-key-space".into(),
            EntryError::Body => "body".into(),
            EntryError::Commitment => "commitment".into(),
        }
    }
}

impl Entry {
    /// An entry that commits to an opening kept elsewhere.
    pub fn committed(kind: Kind, time_ms: u64, commitment: Hash, index_key: Option<Hash>) -> Entry {
        Entry { kind, time_ms, commitment, index_key, body: None }
    }

    /// An entry that carries its body, which must be deterministic CBOR.
    pub fn public(kind: Kind, time_ms: u64, body: Vec<u8>) -> Entry {
        Entry { kind, time_ms, commitment: body_commitment(&body), index_key: None, body: Some(body) }
    }

    /// Parses an entry and checks that its parts go together. The body's own CDDL is for its own parser.
    pub fn parse(bytes: &[u8]) -> Result<Entry, EntryError> {
        let mut parts = Parts::new("entry", cbor::decode(bytes, ENTRY_MAX)?)?;
        parts.constant("version", 1)?;
        let kind = parts.uint("kind")?;
        let kind = Kind::new(kind).ok_or(EntryError::UnknownKind(kind))?;
        let entry = Entry {
            kind,
            time_ms: parts.uint("time_ms")?,
            commitment: parts.hash("commitment")?,
            index_key: parts.hash_or_null("index_key")?,
            body: if parts.is_empty() { None } else { Some(cbor::encode(&parts.value("body")?)) },
        };
        parts.end()?;
        entry.check()?;
        Ok(entry)
    }

    /// What is checked besides the shape: index key and body go with the kind, the commitment with the body.
    pub fn check(&self) -> Result<(), EntryError> {
        if self.kind.has_index_key().is_some_and(|expected| expected != self.index_key.is_some()) {
            return Err(EntryError::IndexKey);
        }
        if self.index_key.is_some_and(|key| Space::of(&key) != self.kind.index_key_space()) {
            return Err(EntryError::IndexKeySpace);
        }
        if self.kind.is_public() != self.body.is_some() {
            return Err(EntryError::Body);
        }
        match &self.body {
            Some(body) if body_commitment(body) != self.commitment => Err(EntryError::Commitment),
            _ => Ok(()),
        }
    }

    /// The one spelling of this entry: the bytes of the leaf.
    ///
    /// A `body` that is not deterministic CBOR gives bytes that no parser accepts.
    pub fn to_bytes(&self) -> Vec<u8> {
        let head = cbor::encode(&Value::Array(vec![
            cbor::uint(1),
            cbor::uint(self.kind.number()),
            cbor::uint(self.time_ms),
            cbor::bytes(&self.commitment.0),
            cbor::hash_or_null(self.index_key.as_ref()),
        ]));
        match &self.body {
            None => head,
            Some(body) => {
                // The array's header is its first byte, 0x85; with a body it has six elements.
                let mut bytes = Vec::with_capacity(head.len().saturating_add(body.len()));
                bytes.push(0x86);
                bytes.extend(head.iter().skip(1));
                bytes.extend_from_slice(body);
                bytes
            }
        }
    }

    /// The hash of this entry as a leaf (RFC 6962).
    pub fn leaf_hash(&self) -> LeafHash {
        LeafHash::of(&self.to_bytes())
    }
}

/// `H("solelog/body/v1", body)`: the commitment of a public entry.
pub fn body_commitment(body: &[u8]) -> Hash {
    tagged("solelog/body/v1", body)
}

/// Decodes the body of an entry: the array that a typed body starts with.
pub(crate) fn body_parts(name: &'static str, body: &[u8]) -> Result<Parts, BodyError> {
    Ok(Parts::new(name, cbor::decode(body, ENTRY_MAX)?)?)
}

/// Why bytes are not the body of an entry or an opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Not deterministic CBOR of the subset.
    #[error("body: {0}")]
    Cbor(#[from] CborError),
    /// Not the array of the CDDL.
    #[error("body: {0}")]
    Shape(#[from] ShapeError),
}

impl BodyError {
    /// A short stable name of the refusal, the one that `schemas/vectors` use.
    pub fn code(&self) -> String {
        match self {
            BodyError::Cbor(error) => error.code().into(),
            BodyError::Shape(error) => error.code(),
        }
    }
}

impl BodyError {
    pub(crate) fn value(part: &'static str) -> BodyError {
        BodyError::Shape(ShapeError { part, fault: Fault::Value })
    }
}
