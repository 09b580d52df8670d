//! Log metadata: what ties an authorisation to this log, this person, this moment and this place in the person's history.
//!
//! ```text
//! metadata = [ 1, origin: tstr, provider: hash, credential: hash, sequence: uint, previous: hash, index_key: hash,
//!              challenge: hash, policy: hash, class: tstr, seen_size: uint, seen_root: hash,
//!              time_ms: uint, expires_ms: uint, ext: {} ]
//! ```
//!
//! The bytes are signed, by the joint key and through it by the device; `parse` takes one spelling only, so the bytes
//! that were signed are the bytes that [`Metadata::to_bytes`] gives back.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use tlog::Hash;

use crate::cbor::{self, CborError, Fault, Parts, ShapeError, Value};
use crate::index_key::Space;
use crate::limits::{METADATA_MAX, ORIGIN_MAX};
use crate::tag::tagged_parts;

/// The log metadata of one record. Times are milliseconds since 1970-01-01T00:00Z.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// The origin of the log this record is for, and no other log.
    pub origin: String,
    /// The hash of the provider's issuing key: [`crate::credential::provider_id`].
    pub provider: Hash,
    /// The credential that authorises, which commits to the joint key.
    pub credential: Hash,
    /// How many instructions of this credential came before.
    pub sequence: u64,
    /// [`previous`] of the instruction before, or the credential for the first one.
    pub previous: Hash,
    /// The entry's index key, which has its highest bit clear.
    pub index_key: Hash,
    /// The provider's challenge that this record answers.
    pub challenge: Hash,
    /// SHA-256 of the policy document in force.
    pub policy: Hash,
    /// The instruction's class.
    pub class: String,
    /// The size of the last tree head that the device has verified.
    pub seen_size: u64,
    /// The root of that head.
    pub seen_root: Hash,
    /// When the device made the record.
    pub time_ms: u64,
    /// After this moment the record may not enter the log.
    pub expires_ms: u64,
    /// Extensions.
    pub ext: Ext,
}

/// Extensions of the metadata. This version knows none, and refuses any that it does not know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ext {}

/// Why bytes are not log metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// Not deterministic CBOR of the subset.
    #[error("metadata: {0}")]
    Cbor(#[from] CborError),
    /// Not the array of the CDDL.
    #[error("metadata: {0}")]
    Shape(#[from] ShapeError),
    /// An extension this version does not know, which may change what the record means.
    #[error("metadata: an unknown extension")]
    UnknownExtension,
    /// The index key is one that only a status entry may have: a record that could take it would block that status.
    #[error("metadata: the index key is in the space of status entries")]
    IndexKeySpace,
}

impl MetadataError {
    /// A short stable name of the refusal, the one that `schemas/vectors` use.
    pub fn code(&self) -> String {
        match self {
            MetadataError::Cbor(error) => error.code().into(),
            MetadataError::Shape(error) => error.code(),
            MetadataError::UnknownExtension => "unknown-extension".into(),
            MetadataError::IndexKeySpace => "index-key-space".into(),
        }
    }
}

impl Metadata {
    /// Parses the bytes of a record's metadata.
    pub fn parse(bytes: &[u8]) -> Result<Metadata, MetadataError> {
        let mut parts = Parts::new("metadata", cbor::decode(bytes, METADATA_MAX)?)?;
        parts.constant("version", 1)?;
        let metadata = Metadata {
            origin: parts.bounded_text("origin", ORIGIN_MAX)?,
            provider: parts.hash("provider")?,
            credential: parts.hash("credential")?,
            sequence: parts.uint("sequence")?,
            previous: parts.hash("previous")?,
            index_key: parts.hash("index_key")?,
            challenge: parts.hash("challenge")?,
            policy: parts.hash("policy")?,
            class: parts.text("class")?,
            seen_size: parts.uint("seen_size")?,
            seen_root: parts.hash("seen_root")?,
            time_ms: parts.uint("time_ms")?,
            expires_ms: parts.uint("expires_ms")?,
            ext: match parts.value("ext")? {
                Value::Map(ext) if ext.is_empty() => Ext {},
                Value::Map(_) => return Err(MetadataError::UnknownExtension),
                _ => {
                    return Err(ShapeError { part: "ext", fault: Fault::Type }.into());
                }
            },
        };
        parts.end()?;
        if Space::of(&metadata.index_key) != Space::Stream {
            return Err(MetadataError::IndexKeySpace);
        }
        Ok(metadata)
    }

    /// The one spelling of this metadata.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Ext {} = self.ext;
        cbor::encode(&Value::Array(vec![
            cbor::uint(1),
            cbor::text(&self.origin),
            cbor::bytes(&self.provider.0),
            cbor::bytes(&self.credential.0),
            cbor::uint(self.sequence),
            cbor::bytes(&self.previous.0),
            cbor::bytes(&self.index_key.0),
            cbor::bytes(&self.challenge.0),
            cbor::bytes(&self.policy.0),
            cbor::text(&self.class),
            cbor::uint(self.seen_size),
            cbor::bytes(&self.seen_root.0),
            cbor::uint(self.time_ms),
            cbor::uint(self.expires_ms),
            Value::Map(Vec::new()),
        ]))
    }
}

/// What evidence is bound to, and what profile 2 signs: `H("solelog/operation/v1", metadata || instruction_id)`.
pub fn operation_hash(metadata: &[u8], instruction_id: &Hash) -> Hash {
    tagged_parts("solelog/operation/v1", &[metadata, &instruction_id.0])
}

/// What the next record of this credential names as `previous`:
/// `H("solelog/previous/v1", credential || sequence as 8 bytes, big-endian || c)`.
///
/// Made only from bytes nobody can alter: the record's other bytes are malleable, c is not.
pub fn previous(credential: &Hash, sequence: u64, c: &[u8; 32]) -> Hash {
    tagged_parts("solelog/previous/v1", &[&credential.0, &sequence.to_be_bytes(), c])
}

/// A provider's challenge: `H("solelog/challenge/v1", random || D1 || E1 || credential)`.
///
/// `random` must not be the seed of the nonces that `hiding` (D1) and `binding` (E1) commit to.
pub fn challenge(random: &[u8; 32], hiding: &[u8; 33], binding: &[u8; 33], credential: &Hash) -> Hash {
    tagged_parts("solelog/challenge/v1", &[random, hiding, binding, &credential.0])
}
