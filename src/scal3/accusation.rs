//! Accusations: what a monitor holds against a log, for whoever trusts neither. The contents of an evidence file.
//!
//! ```text
//! accusation = [ "solelog/evidence-file/v1", head: note, charge ]
//! charge     = two heads, and what shows that they contradict each other
//!            / one entry under the head, and the entries that it contradicts
//!            / all entries up to one that should not be there
//! ```
//! The shape is in `schemas/evidence-file.cddl`. Nothing in it counts because it is said: a reader needs the log's key,
//! and finds everything else again by [`Accusation::judge`](crate::verdict).

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use tlog::Hash;
use tlog::note::{Note, NoteError};

use crate::cbor::{self, CborError, Fault, Parts, ShapeError, Value};
use crate::limits::EVIDENCE_FILE_MAX;

/// What every evidence file begins with.
pub const FORMAT: &str = "solelog/evidence-file/v1";

/// Two notes, or entries and a note, that no honest log has signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accusation {
    /// A head that the log signed.
    pub head: Note,
    /// What is wrong with it.
    pub charge: Charge,
}

/// What is wrong with a signed head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Charge {
    /// The log signed another root for the same size.
    Fork {
        /// The other head.
        other: Note,
    },
    /// The log signed a smaller tree that is not the beginning of this one.
    Diverged {
        /// The smaller head.
        other: Note,
        /// The beginning of the larger tree, of the smaller one's size.
        beginning: Beginning,
    },
    /// A witness cosigned this head after it had cosigned a larger one: the log went back, and the witness let it.
    Rollback {
        /// The larger head.
        other: Note,
    },
    /// The tree is empty, and the root is not that of the empty tree.
    EmptyRoot,
    /// An entry that must not be in this tree.
    Entry {
        /// The entry.
        accused: Exhibit,
        /// Entries that show why, ascending.
        others: Vec<Exhibit>,
        /// The beginning of the tree, of the size that the record in the entry says it has seen.
        seen: Option<Beginning>,
    },
    /// All entries from the first one to one that must not be there: nothing less shows it.
    Replay {
        /// The entries, each with its opening where that is known.
        entries: Vec<Replayed>,
        /// Consistency proof from the tree of these entries to the head.
        hashes: Vec<Hash>,
    },
}

/// An entry, and its opening where that is known.
pub type Replayed = (Vec<u8>, Option<Vec<u8>>);

/// An entry of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exhibit {
    /// Its place.
    pub index: u64,
    /// The entry.
    pub entry: Vec<u8>,
    /// What it commits to, where that matters.
    pub opening: Option<Vec<u8>>,
    /// Inclusion proof, the leaf's sibling first.
    pub hashes: Vec<Hash>,
}

/// The root of the beginning of a tree, with the proof that it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beginning {
    /// The root of the beginning.
    pub root: Hash,
    /// Consistency proof from it to the head.
    pub hashes: Vec<Hash>,
}

/// Why bytes are no evidence file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccusationError {
    /// Not one deterministic item.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// A part is not as the CDDL says.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A head is no signed note.
    #[error("head: {0}")]
    Note(#[from] NoteError),
}

impl Accusation {
    /// Reads an evidence file.
    ///
    /// # Errors
    /// [`AccusationError`].
    pub fn parse(bytes: &[u8]) -> Result<Accusation, AccusationError> {
        let mut parts = Parts::new("evidence-file", cbor::decode(bytes, EVIDENCE_FILE_MAX)?)?;
        if parts.text("format")? != FORMAT {
            return Err(ShapeError { part: "format", fault: Fault::Value }.into());
        }
        let head = note(&mut parts, "head")?;
        let mut charge = parts.array("charge")?;
        parts.end()?;
        let charged = match charge.uint("charge")? {
            1 => Charge::Fork { other: note(&mut charge, "other")? },
            2 => Charge::Diverged {
                other: note(&mut charge, "other")?,
                beginning: Beginning::read(&mut charge, "beginning")?,
            },
            3 => Charge::Rollback { other: note(&mut charge, "other")? },
            4 => Charge::EmptyRoot,
            5 => Charge::Entry {
                accused: Exhibit::read(charge.array("accused")?)?,
                others: Exhibit::read_all(charge.array("others")?)?,
                seen: charge.or_null("seen", Beginning::read)?,
            },
            6 => Charge::Replay { entries: replayed(charge.array("entries")?)?, hashes: hashes(&mut charge)? },
            _ => return Err(ShapeError { part: "charge", fault: Fault::Value }.into()),
        };
        charge.end()?;
        Ok(Accusation { head, charge: charged })
    }

    /// The evidence file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let note = |note: &Note| Value::Text(note.to_text());
        let charge = match &self.charge {
            Charge::Fork { other } => vec![cbor::uint(1), note(other)],
            Charge::Diverged { other, beginning } => vec![cbor::uint(2), note(other), beginning.to_value()],
            Charge::Rollback { other } => vec![cbor::uint(3), note(other)],
            Charge::EmptyRoot => vec![cbor::uint(4)],
            Charge::Entry { accused, others, seen } => vec![
                cbor::uint(5),
                accused.to_value(),
                Value::Array(others.iter().map(Exhibit::to_value).collect()),
                seen.as_ref().map_or(Value::Null, Beginning::to_value),
            ],
            Charge::Replay { entries, hashes } => {
                let entry = |(entry, opening): &Replayed| {
                    Value::Array(vec![cbor::bytes(entry), bytes_or_null(opening.as_deref())])
                };
                vec![cbor::uint(6), Value::Array(entries.iter().map(entry).collect()), hash_list(hashes)]
            }
        };
        cbor::encode(&Value::Array(vec![cbor::text(FORMAT), note(&self.head), Value::Array(charge)]))
    }
}

impl Exhibit {
    fn read(mut parts: Parts) -> Result<Exhibit, ShapeError> {
        let exhibit = Exhibit {
            index: parts.uint("index")?,
            entry: parts.bytes("entry")?,
            opening: parts.or_null("opening", Parts::bytes)?,
            hashes: hashes(&mut parts)?,
        };
        parts.end()?;
        Ok(exhibit)
    }

    /// Ascending and distinct, so that a list has one spelling.
    fn read_all(mut parts: Parts) -> Result<Vec<Exhibit>, ShapeError> {
        let mut exhibits: Vec<Exhibit> = Vec::new();
        while !parts.is_empty() {
            let exhibit = Exhibit::read(parts.array("others")?)?;
            if exhibits.last().is_some_and(|last| last.index >= exhibit.index) {
                return Err(ShapeError { part: "others", fault: Fault::Value });
            }
            exhibits.push(exhibit);
        }
        Ok(exhibits)
    }

    fn to_value(&self) -> Value {
        Value::Array(vec![
            cbor::uint(self.index),
            cbor::bytes(&self.entry),
            bytes_or_null(self.opening.as_deref()),
            hash_list(&self.hashes),
        ])
    }
}

impl Beginning {
    fn read(parts: &mut Parts, part: &'static str) -> Result<Beginning, ShapeError> {
        let mut parts = parts.array(part)?;
        let beginning = Beginning { root: parts.hash("root")?, hashes: hashes(&mut parts)? };
        parts.end()?;
        Ok(beginning)
    }

    fn to_value(&self) -> Value {
        Value::Array(vec![cbor::bytes(&self.root.0), hash_list(&self.hashes)])
    }
}

fn note(parts: &mut Parts, part: &'static str) -> Result<Note, AccusationError> {
    let text: String = parts.text(part)?;
    Ok(Note::parse(text.as_bytes())?)
}

fn replayed(mut parts: Parts) -> Result<Vec<Replayed>, ShapeError> {
    let mut entries = Vec::new();
    while !parts.is_empty() {
        let mut entry = parts.array("entries")?;
        entries.push((entry.bytes("entry")?, entry.or_null("opening", Parts::bytes)?));
        entry.end()?;
    }
    Ok(entries)
}

fn hashes(parts: &mut Parts) -> Result<Vec<Hash>, ShapeError> {
    let mut list = parts.array("hashes")?;
    let mut hashes = Vec::new();
    while !list.is_empty() {
        hashes.push(list.hash("hashes")?);
    }
    Ok(hashes)
}

fn hash_list(hashes: &[Hash]) -> Value {
    Value::Array(hashes.iter().map(|hash| cbor::bytes(&hash.0)).collect())
}

fn bytes_or_null(bytes: Option<&[u8]>) -> Value {
    bytes.map_or(Value::Null, cbor::bytes)
}
