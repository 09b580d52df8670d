//! What the subscriber authorises, as bytes.
//!
//! ```text
//! message = binding_vk || metadata || instruction_id       profile 1
//! message = binding_vk || operation hash                   profile 2
//! ```
//! Nothing here reads the metadata: who makes it and who admits it to a log does, with `scal3`,
//! which also has the layout of messages and records.

use alloc::vec::Vec;
use core::marker::PhantomData;

use scal3::Hash;
use scal3::record::{self, Check, joint_message};

use crate::point::Encoded;
use crate::profile::{Profile, Profile2};

/// What is authorised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation<P> {
    what: What,
    profile: PhantomData<P>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Logged { metadata: Vec<u8>, instruction_id: Hash },
    Digest([u8; 32]),
}

impl<P: Profile> Operation<P> {
    /// An instruction at its place in a log: encoded metadata and the instruction's id.
    pub fn new(metadata: &[u8], instruction_id: &Hash) -> Self {
        let what = What::Logged { metadata: metadata.to_vec(), instruction_id: *instruction_id };
        Operation { what, profile: PhantomData }
    }

    /// What the joint key signs, for one binding key.
    pub(crate) fn message(&self, binding_key: &Encoded) -> Vec<u8> {
        match &self.what {
            What::Logged { metadata, instruction_id } => {
                joint_message(P::RECORD, binding_key, metadata, instruction_id)
            }
            What::Digest(digest) => [&binding_key[..], digest].concat(),
        }
    }

    /// The record of this operation.
    pub(crate) fn record(&self, signatures: &Signatures<'_>) -> Vec<u8> {
        let Signatures { binding_key, c, z, check, device_sig, binding_sig } = *signatures;
        match &self.what {
            What::Logged { metadata, instruction_id } => {
                record::Parts { binding_key, metadata, instruction_id, c, z, check, device_sig, binding_sig }.to_bytes()
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

/// The parts of a record that the two halves made.
pub(crate) struct Signatures<'a> {
    pub(crate) binding_key: &'a Encoded,
    pub(crate) c: &'a [u8; 32],
    pub(crate) z: &'a [u8; 32],
    pub(crate) check: Check,
    pub(crate) device_sig: &'a [u8; 64],
    pub(crate) binding_sig: &'a [u8; 64],
}
