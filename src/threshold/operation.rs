//! What the subscriber authorises, as bytes.
//!
//! ```text
//! logged   = metadata || instruction_id          what a record carries
//! message  = binding_vk || logged                profile 1
//! message  = binding_vk || operation hash        profile 2, H("solelog/operation/v1", logged)
//! ```
//! Nothing here reads the metadata: who makes it and who admits it to a log does, with `scal3`.

use alloc::vec::Vec;
use core::marker::PhantomData;

use crate::point::Encoded;
use crate::profile::{Profile, Profile2};

/// What is authorised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation<P> {
    signed: Vec<u8>,
    logged: Vec<u8>,
    profile: PhantomData<P>,
}

impl<P: Profile> Operation<P> {
    /// An instruction at its place in a log.
    pub fn new(metadata: &[u8], instruction_id: &[u8; 32]) -> Self {
        let logged = [metadata, instruction_id].concat();
        Operation {
            signed: P::signed(&logged),
            logged,
            profile: PhantomData,
        }
    }

    /// What is logged: `metadata || instruction_id`.
    pub fn logged(&self) -> &[u8] {
        &self.logged
    }

    /// What the joint key signs, for one binding key.
    pub(crate) fn message(&self, binding_vk: &Encoded) -> Vec<u8> {
        [&binding_vk[..], &self.signed].concat()
    }
}

impl Operation<Profile2> {
    /// A bare digest of client data, as the published implementation takes it. Its record is the
    /// transcript of 241 bytes, with no metadata behind it, and no log of ours admits it.
    pub fn of_digest(digest: &[u8; 32]) -> Self {
        Operation {
            signed: digest.to_vec(),
            logged: Vec::new(),
            profile: PhantomData,
        }
    }
}
