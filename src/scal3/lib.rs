//! SCAL3 over public bytes: what a binding record is, when it counts, and how the log commits to it.
//!
//! ```text
//! the subscriber reads     Document ----------- id() ------------+
//!                                                                v
//! the device adds          Metadata (log, credential, sequence, previous, policy, head seen, time)
//!                                                                |
//! both factors sign        Record = binding key || metadata || instruction id || signatures
//!                                                                |
//! the provider keeps       Opening [profile, record, evidence, shown fields]      sealed, erasable
//!                                                                |  commitment
//! the log shows            Entry [kind, time, commitment, index key]              public, links to nobody
//! ```
//!
//! Keys come from a [`Credential`], which the provider signs and which the log records as a [`StatusChange`] before it
//! can act. The log starts with [`Genesis`]. Everything a verifier concludes follows from these bytes: this crate has no
//! clock, no I/O and no randomness, so that a server, a monitor and a browser reach one verdict, years apart.
//!
//! Every format is deterministic CBOR ([`cbor`]) with one spelling per value: what `parse` accepts, `to_bytes` gives back
//! unchanged. `schemas/` has the CDDL and the vectors; [`limits`] has every size limit.
//!
//! Read in this order: [`instruction`], [`metadata`], [`record`], [`opening`], [`entry`], [`credential`], [`status`],
//! [`event`], [`outcome`], [`index_key`], then how records are verified. What a policy may ask for besides the two factors is
//! in [`evidence`], [`authenticator`] and [`policy`].

#![no_std]
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic))]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod cbor;
pub mod limits;
pub mod profile;
pub mod tag;

pub mod authenticator;
pub mod credential;
pub mod entry;
pub mod erasure;
pub mod event;
pub mod genesis;
pub mod index_key;
pub mod instruction;
pub mod key_change;
pub mod keys;
pub mod metadata;
pub mod opening;
pub mod outcome;
pub mod request;
pub mod status;

pub mod cose;
pub mod cose_receipt;
pub mod did;
pub mod ecdsa;
pub mod h2f;
pub mod point;
pub mod schnorr;
pub mod transcript;
pub mod ucan;
pub mod varint;

pub mod accusation;
pub mod attempts;
pub mod authenticators;
mod authorized;
pub mod batch;
pub mod evidence;
pub mod fold;
mod gone;
pub mod judgement;
pub mod policies;
pub mod policy;
pub mod record;
mod refusal;
pub mod seen;
pub mod state;
mod step;
pub mod verdict;
pub mod verify;

pub use credential::{Claims, Credential, IssuingKey};
pub use entry::{Entry, Kind};
pub use genesis::Genesis;
pub use instruction::{Document, Field, Presented, Shown};
pub use metadata::Metadata;
pub use opening::{AnyOpening, Opening, OtherOpening};
pub use profile::Profile;
pub use status::{Change, StatusChange};
pub use tag::tagged;
pub use tlog::Hash;
