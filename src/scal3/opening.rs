//! Openings: what an entry's commitment commits to, kept in the evidence store and erasable.
//!
//! ```text
//! opening       = [ 1, profile: uint, record: bstr, evidence: [* [kind: tstr, participant: hash, authenticator: hash, blob: bstr]],
//!                   shown: [[* hidden field hash], [* [salt, name, value]]] ]
//! other_opening = [ 2, kind: uint, salt: bstr .size 32, body ]
//! commitment    = H("solelog/opening/v1", opening or other_opening)
//! ```
//!
//! A record's signatures make its opening unguessable; every other opening carries a salt for that.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use tlog::Hash;

use crate::cbor::{self, CborError, Fault, Parts, ShapeError, Value};
use crate::entry::Kind;
use crate::instruction::{InstructionError, Shown};
use crate::limits::{EVIDENCE_ITEMS_MAX, OPENING_MAX};
use crate::profile::Profile;
use crate::tag::tagged;

/// The opening of an instruction entry. `Debug` of openings and evidence tells kinds and lengths only.
#[derive(Clone, PartialEq, Eq)]
pub struct Opening {
    /// The form of the record.
    pub profile: Profile,
    /// The binding record, parsed by [`crate::record`].
    pub record: Vec<u8>,
    /// Evidence besides the two factors, at most 16 items.
    pub evidence: Vec<Evidence>,
    /// The instruction, with the fields that may be read by whoever may read the opening.
    pub shown: Shown,
}

/// One piece of evidence, bound to the same operation as the record.
#[derive(Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Which verifier it is for.
    pub kind: String,
    /// Whose it is.
    pub participant: Hash,
    /// Which enrolled authenticator made it.
    pub authenticator: Hash,
    /// What that verifier reads.
    pub blob: Vec<u8>,
}

/// The opening of an entry that is no instruction and not public.
#[derive(Clone, PartialEq)]
pub struct OtherOpening {
    /// The kind of the entry.
    pub kind: Kind,
    /// 32 random bytes, so that the body can't be guessed from the commitment.
    pub salt: [u8; 32],
    /// The body, whose CDDL depends on the kind.
    pub body: Value,
}

/// An opening of either form.
#[derive(Debug, Clone, PartialEq)]
pub enum AnyOpening {
    /// Of an instruction entry.
    Instruction(Opening),
    /// Of any other entry that has one.
    Other(OtherOpening),
}

/// Why bytes are not an opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpeningError {
    /// Not deterministic CBOR of the subset.
    #[error("opening: {0}")]
    Cbor(#[from] CborError),
    /// Not the array of the CDDL.
    #[error("opening: {0}")]
    Shape(#[from] ShapeError),
    /// More evidence items than allowed.
    #[error("opening: more than {EVIDENCE_ITEMS_MAX} evidence items")]
    TooMuchEvidence,
    /// The shown part contradicts itself.
    #[error("opening: {0}")]
    Shown(InstructionError),
    /// A kind whose entries have no opening, or another form of it.
    #[error("opening: this kind of entry has no such opening")]
    Kind,
}

impl OpeningError {
    /// A short stable name of the refusal, the one that `schemas/vectors` use.
    pub fn code(&self) -> String {
        match self {
            OpeningError::Cbor(error) => error.code().into(),
            OpeningError::Shape(error) => error.code(),
            OpeningError::TooMuchEvidence => "too-much-evidence".into(),
            OpeningError::Shown(InstructionError::HiddenOrder) => "hidden-order".into(),
            OpeningError::Shown(error) => format!("shown/{}", error.code()),
            OpeningError::Kind => "kind".into(),
        }
    }
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opening")
            .field("profile", &self.profile)
            .field("record_bytes", &self.record.len())
            .field("evidence", &self.evidence)
            .field("shown", &self.shown)
            .finish()
    }
}

impl fmt::Debug for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Evidence({}, {} bytes)", self.kind, self.blob.len())
    }
}

impl fmt::Debug for OtherOpening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OtherOpening({:?})", self.kind)
    }
}

impl AnyOpening {
    /// Parses an opening of either form.
    pub fn parse(bytes: &[u8]) -> Result<AnyOpening, OpeningError> {
        let mut parts = Parts::new("opening", cbor::decode(bytes, OPENING_MAX)?)?;
        match parts.uint("version")? {
            1 => Opening::read(parts).map(AnyOpening::Instruction),
            2 => OtherOpening::read(parts).map(AnyOpening::Other),
            _ => Err(ShapeError { part: "version", fault: Fault::Value }.into()),
        }
    }
}

impl Opening {
    /// Parses the opening of an instruction entry. The record inside stays bytes.
    pub fn parse(bytes: &[u8]) -> Result<Opening, OpeningError> {
        let mut parts = Parts::new("opening", cbor::decode(bytes, OPENING_MAX)?)?;
        parts.constant("version", 1)?;
        Opening::read(parts)
    }

    fn read(mut parts: Parts) -> Result<Opening, OpeningError> {
        let profile = Profile::parse(parts.uint("profile")?)?;
        let record = parts.bytes("record")?;
        let mut list = parts.array("evidence")?;
        if list.len() > EVIDENCE_ITEMS_MAX {
            return Err(OpeningError::TooMuchEvidence);
        }
        let mut evidence = Vec::with_capacity(list.len());
        while !list.is_empty() {
            let mut item = list.array("evidence")?;
            evidence.push(Evidence {
                kind: item.text("kind")?,
                participant: item.hash("participant")?,
                authenticator: item.hash("authenticator")?,
                blob: item.bytes("blob")?,
            });
            item.end()?;
        }
        let shown = Shown::from_value(parts.value("shown")?).map_err(|error| match error {
            InstructionError::Shape(shape) => OpeningError::Shape(shape),
            other => OpeningError::Shown(other),
        })?;
        parts.end()?;
        Ok(Opening { profile, record, evidence, shown })
    }

    /// The one spelling of this opening.
    pub fn to_bytes(&self) -> Vec<u8> {
        let evidence = self.evidence.iter().map(|item| {
            Value::Array(vec![
                cbor::text(&item.kind),
                cbor::bytes(&item.participant.0),
                cbor::bytes(&item.authenticator.0),
                cbor::bytes(&item.blob),
            ])
        });
        cbor::encode(&Value::Array(vec![
            cbor::uint(1),
            cbor::uint(self.profile.number()),
            cbor::bytes(&self.record),
            Value::Array(evidence.collect()),
            self.shown.to_value(),
        ]))
    }

    /// The commitment that the entry carries.
    pub fn commitment(&self) -> Hash {
        commitment(&self.to_bytes())
    }
}

impl OtherOpening {
    /// Parses the opening of an entry that is no instruction.
    pub fn parse(bytes: &[u8]) -> Result<OtherOpening, OpeningError> {
        let mut parts = Parts::new("opening", cbor::decode(bytes, OPENING_MAX)?)?;
        parts.constant("version", 2)?;
        OtherOpening::read(parts)
    }

    fn read(mut parts: Parts) -> Result<OtherOpening, OpeningError> {
        let kind = Kind::new(parts.uint("kind")?).ok_or(OpeningError::Kind)?;
        if kind == Kind::Instruction || kind.is_public() {
            return Err(OpeningError::Kind);
        }
        let opening = OtherOpening { kind, salt: parts.fixed("salt")?, body: parts.value("body")? };
        parts.end()?;
        Ok(opening)
    }

    /// The one spelling of this opening.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(&Value::Array(vec![
            cbor::uint(2),
            cbor::uint(self.kind.number()),
            cbor::bytes(&self.salt),
            self.body.clone(),
        ]))
    }

    /// The commitment that the entry carries.
    pub fn commitment(&self) -> Hash {
        commitment(&self.to_bytes())
    }
}

/// The commitment to the bytes of an opening of either form.
pub fn commitment(opening: &[u8]) -> Hash {
    tagged("solelog/opening/v1", opening)
}
