//! What the subscriber authorises, as bytes.
//!
//! ```text
//! message = binding_vk || metadata || instruction_id       profile 1
//! message = binding_vk || operation hash                   profile 2
//! ```
//! Both halves refuse metadata that names another credential or challenge than the one they are at:
//! a signature made for one purpose must not be had for another. Everything else the metadata says is
//! for the device to write and for the log to check, with `scal3`, which also has the layout of
//! messages and records.

use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

use scal3::metadata::MetadataError;
use scal3::record::{self, Check, joint_message};
use scal3::{Hash, Metadata};

use crate::challenge::Session;
use crate::device::DeviceAnswer;
use crate::point::Encoded;
use crate::profile::{Profile, Profile2};

/// What is authorised. It says what a person does, so it is not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Operation<P> {
    what: What,
    profile: PhantomData<P>,
}

#[derive(Clone, PartialEq, Eq)]
enum What {
    Logged { metadata: Vec<u8>, credential: Hash, challenge: Hash, instruction_id: Hash },
    Digest([u8; 32]),
}

/// The operation is not what the session was opened for.
pub(crate) enum Elsewhere {
    Credential,
    Challenge,
}

impl<P: Profile> Operation<P> {
    /// An instruction at its place in a log: encoded metadata and the instruction's id.
    ///
    /// # Errors
    /// [`MetadataError`]: no log would take these bytes.
    pub fn new(metadata: &[u8], instruction_id: &Hash) -> Result<Self, MetadataError> {
        let Metadata { credential, challenge, .. } = Metadata::parse(metadata)?;
        let instruction_id = *instruction_id;
        let what = What::Logged { metadata: metadata.to_vec(), credential, challenge, instruction_id };
        Ok(Operation { what, profile: PhantomData })
    }

    /// Whether this may be signed in that session. A bare digest names no credential and no challenge.
    pub(crate) fn belongs_to(&self, session: &Session) -> Result<(), Elsewhere> {
        match &self.what {
            What::Logged { credential, .. } if credential != session.credential() => Err(Elsewhere::Credential),
            What::Logged { challenge, .. } if challenge != session.challenge() => Err(Elsewhere::Challenge),
            What::Logged { .. } | What::Digest(_) => Ok(()),
        }
    }

    /// What the joint key signs, for one binding key.
    pub(crate) fn message(&self, binding_key: &Encoded) -> Vec<u8> {
        match &self.what {
            What::Logged { metadata, instruction_id, .. } => {
                joint_message(P::RECORD, binding_key, metadata, instruction_id)
            }
            What::Digest(digest) => [&binding_key[..], digest].concat(),
        }
    }

    /// The record of this operation.
    pub(crate) fn record(&self, signatures: &Signatures<'_>) -> Vec<u8> {
        let Signatures { binding_key, c, z, check, device, binding_sig } = *signatures;
        let device_sig = device.signature();
        match &self.what {
            What::Logged { metadata, instruction_id, .. } => {
                let parts =
                    record::Parts { binding_key, metadata, instruction_id, c, z, check, device_sig, binding_sig };
                device.assertion().map_or_else(|| parts.to_bytes(), |assertion| parts.to_bytes_with(assertion))
            }
            What::Digest(_) => [&c[..], check.as_bytes(), device_sig, binding_key, binding_sig, z].concat(),
        }
    }
}

impl Operation<Profile2> {
    /// A bare digest of client data, as the published implementation takes it. Its record is the
    /// transcript of 241 bytes, with no metadata behind it, and no log of ours admits it.
    pub fn of_digest(digest: &[u8; 32]) -> Self {
        Operation { what: What::Digest(*digest), profile: PhantomData }
    }
}

impl<P> fmt::Debug for Operation<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Operation(confidential)")
    }
}

/// The parts of a record that the two halves made.
pub(crate) struct Signatures<'a> {
    pub(crate) binding_key: &'a Encoded,
    pub(crate) c: &'a [u8; 32],
    pub(crate) z: &'a [u8; 32],
    pub(crate) check: Check,
    pub(crate) device: &'a DeviceAnswer,
    pub(crate) binding_sig: &'a [u8; 64],
}
