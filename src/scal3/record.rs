//! Binding records: the signed bytes of one authorisation.
//!
//! ```text
//! profile 1   binding_vk[33] ‖ metadata ‖ instruction_id[32] ‖ c[32] ‖ z[32] ‖ checksum[32] ‖ device_sig[64] ‖ binding_sig[64]
//! profile 2   c[32] ‖ tag[16] ‖ device_sig[64] ‖ binding_vk[33] ‖ binding_sig[64] ‖ z[32] ‖ metadata ‖ instruction_id[32]
//! profile 3   as profile 1, with a varsig (`crate::evidence::varsig`) in the place of device_sig
//!
//!                       profile 1                                     profile 2
//! the joint key signs   binding_vk ‖ metadata ‖ instruction_id        binding_vk ‖ operation_hash
//! the device signs      c ‖ checksum                                  c ‖ tag
//! the binding key signs device_sig                                    device_sig
//!
//! in profile 3 the device answers the challenge H("solelog/device/v3", c ‖ checksum): it signs authenticator data ‖
//! SHA-256(client data), and the binding key signs the 64 bytes r ‖ s of that
//! ```
//! Everything but the metadata has a fixed length, or, in a varsig, says how long it is; metadata is one CBOR item. So
//! bytes can be cut in one way only.
//!
//! A record is not an identity: (r, n−s) is as good a binding signature as (r, s). What names an
//! authorisation is [`authorisation_key`], made of bytes that nobody can alter.

use alloc::vec::Vec;

use sha2::{Digest, Sha256};
use tlog::Hash;

use crate::batch::Job;
use crate::cbor;
use crate::credential::Passkey;
use crate::ecdsa::Signature;
use crate::evidence::Reason;
use crate::evidence::varsig::{Algorithm, Varsig};
use crate::metadata::{Metadata, MetadataError, operation_hash};
use crate::point::{EncodingError, Point, Scalar};
use crate::profile::Profile;
use crate::schnorr::Challenge;
use crate::tag::{tagged, tagged_parts};

/// What stands in the record for the user's signature share: only the provider, who opens the
/// share, can check it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Profile 1: SHA-256 of the share as 32 bytes.
    Checksum([u8; 32]),
    /// Profile 2: the tag of its encryption.
    Tag([u8; 16]),
}

impl Check {
    /// The checksum of a signature share.
    pub fn checksum(share: &[u8; 32]) -> Check {
        Check::Checksum(Sha256::digest(share).into())
    }

    /// The profile whose records have this; those of profile 3 have what profile 1 has.
    pub fn profile(&self) -> Profile {
        match self {
            Check::Checksum(_) => Profile::EcSdsa,
            Check::Tag(_) => Profile::Transcript,
        }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Check::Checksum(bytes) => bytes,
            Check::Tag(bytes) => bytes,
        }
    }
}

/// The parts of a record, for whoever makes one. They need not fit each other.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// The one-time key.
    pub binding_key: &'a [u8; 33],
    /// The log metadata, encoded.
    pub metadata: &'a [u8],
    /// The instruction.
    pub instruction_id: &'a Hash,
    /// The challenge.
    pub c: &'a [u8; 32],
    /// The response.
    pub z: &'a [u8; 32],
    /// What stands for the user's signature share; it decides the profile.
    pub check: Check,
    /// The signature of the device.
    pub device_sig: &'a [u8; 64],
    /// The signature of the one-time key.
    pub binding_sig: &'a [u8; 64],
}

impl Parts<'_> {
    /// The record of profile 1 or 2.
    pub fn to_bytes(&self) -> Vec<u8> {
        let check = self.check.as_bytes();
        match self.check.profile() {
            Profile::EcSdsa | Profile::Passkey => self.textbook(self.device_sig),
            Profile::Transcript => [
                &self.c[..],
                check,
                self.device_sig,
                self.binding_key,
                self.binding_sig,
                self.z,
                self.metadata,
                &self.instruction_id.0,
            ]
            .concat(),
        }
    }

    /// The record of profile 3, with this assertion. Its signature is the device signature; [`Parts::device_sig`] is not
    /// looked at.
    pub fn to_bytes_with(&self, assertion: &Varsig) -> Vec<u8> {
        self.textbook(&assertion.to_bytes())
    }

    fn textbook(&self, device_sig: &[u8]) -> Vec<u8> {
        [
            &self.binding_key[..],
            self.metadata,
            &self.instruction_id.0,
            self.c,
            self.z,
            self.check.as_bytes(),
            device_sig,
            self.binding_sig,
        ]
        .concat()
    }
}

/// What the joint key signs.
pub fn joint_message(profile: Profile, binding_key: &[u8; 33], metadata: &[u8], instruction_id: &Hash) -> Vec<u8> {
    match profile {
        Profile::EcSdsa | Profile::Passkey => [&binding_key[..], metadata, &instruction_id.0].concat(),
        Profile::Transcript => [&binding_key[..], &operation_hash(metadata, instruction_id).0].concat(),
    }
}

/// What the device is asked in profile 3: `H("solelog/device/v3", c ‖ checksum)`.
pub fn device_challenge(c: &[u8; 32], check: &Check) -> Hash {
    tagged("solelog/device/v3", &device_message(c, check))
}

/// What the device signs in profiles 1 and 2.
pub fn device_message(c: &[u8; 32], check: &Check) -> Vec<u8> {
    [&c[..], check.as_bytes()].concat()
}

/// Names an authorisation: `H("solelog/authorisation/v1", credential ‖ c)`.
///
/// c is a hash over the commitment and all that was signed, and the device signed it; of all the
/// bytes of a record only these name one thing once.
pub fn authorisation_key(credential: &Hash, c: &[u8; 32]) -> Hash {
    tagged_parts("solelog/authorisation/v1", &[&credential.0, c])
}

impl Profile {
    /// How c is computed in this profile.
    pub fn challenge(self) -> Challenge {
        match self {
            Profile::EcSdsa | Profile::Passkey => Challenge::EcSdsa,
            Profile::Transcript => Challenge::Rfc9591,
        }
    }
}

/// A well-formed record. Nothing is said yet about its signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    binding_key: Point,
    metadata: Metadata,
    metadata_bytes: Vec<u8>,
    instruction_id: Hash,
    c: [u8; 32],
    z: Scalar,
    check: Check,
    device_sig: Signature,
    /// In profile 3, what that signature is in.
    assertion: Option<Varsig>,
    binding_sig: Signature,
}

/// Why bytes are not a record of the profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Fewer bytes than the fixed parts take.
    #[error("record: too short")]
    TooShort,
    /// The binding key is no point, or not in its one spelling.
    #[error("record: binding key: {0}")]
    BindingKey(EncodingError),
    /// The challenge of profile 2 is not below the order.
    #[error("record: c: {0}")]
    Challenge(EncodingError),
    /// The response is not below the order.
    #[error("record: z: {0}")]
    Response(EncodingError),
    /// The device signature has a number out of range.
    #[error("record: device signature: {0}")]
    DeviceSig(EncodingError),
    /// The device's assertion is no varsig of P-256.
    #[error("record: device assertion: {0}")]
    Assertion(Reason),
    /// The binding signature has a number out of range.
    #[error("record: binding signature: {0}")]
    BindingSig(EncodingError),
    /// The log metadata.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

/// The bytes of a record, cut.
struct Cut<'a> {
    binding_key: &'a [u8; 33],
    metadata: &'a [u8],
    instruction_id: &'a [u8; 32],
    c: &'a [u8; 32],
    z: &'a [u8; 32],
    check: Check,
    device_sig: &'a [u8],
    binding_sig: &'a [u8; 64],
}

impl<'a> Cut<'a> {
    fn new(profile: Profile, record: &'a [u8]) -> Option<Cut<'a>> {
        match profile {
            Profile::EcSdsa => {
                let (binding_key, rest) = record.split_first_chunk()?;
                let (rest, binding_sig) = rest.split_last_chunk()?;
                let (rest, device_sig) = rest.split_last_chunk::<64>()?;
                let (rest, checksum) = rest.split_last_chunk()?;
                let (rest, z) = rest.split_last_chunk()?;
                let (rest, c) = rest.split_last_chunk()?;
                let (metadata, instruction_id) = rest.split_last_chunk()?;
                let check = Check::Checksum(*checksum);
                Some(Cut { binding_key, metadata, instruction_id, c, z, check, device_sig, binding_sig })
            }
            Profile::Passkey => {
                let (binding_key, rest) = record.split_first_chunk()?;
                // Metadata says itself where it ends; whether it is metadata is looked at later.
                let (metadata, rest) = cbor::split_first(rest).ok()?;
                let (instruction_id, rest) = rest.split_first_chunk()?;
                let (c, rest) = rest.split_first_chunk()?;
                let (z, rest) = rest.split_first_chunk()?;
                let (checksum, rest) = rest.split_first_chunk()?;
                let (device_sig, binding_sig) = rest.split_last_chunk()?;
                let check = Check::Checksum(*checksum);
                Some(Cut { binding_key, metadata, instruction_id, c, z, check, device_sig, binding_sig })
            }
            Profile::Transcript => {
                let (c, rest) = record.split_first_chunk()?;
                let (tag, rest) = rest.split_first_chunk()?;
                let (device_sig, rest) = rest.split_first_chunk::<64>()?;
                let (binding_key, rest) = rest.split_first_chunk()?;
                let (binding_sig, rest) = rest.split_first_chunk()?;
                let (z, rest) = rest.split_first_chunk()?;
                let (metadata, instruction_id) = rest.split_last_chunk()?;
                let check = Check::Tag(*tag);
                Some(Cut { binding_key, metadata, instruction_id, c, z, check, device_sig, binding_sig })
            }
        }
    }
}

impl Record {
    /// Parses a record of a profile.
    ///
    /// # Errors
    /// The first fault, in the order of [`RecordError`].
    pub fn parse(profile: Profile, bytes: &[u8]) -> Result<Record, RecordError> {
        Record::parse_with(profile, bytes, None)
    }

    /// The same for whoever has read the binding key already; another key is not used.
    ///
    /// # Errors
    /// As [`Record::parse`].
    pub fn parse_with(profile: Profile, bytes: &[u8], binding_key: Option<Point>) -> Result<Record, RecordError> {
        let cut = Cut::new(profile, bytes).ok_or(RecordError::TooShort)?;
        let read = || Point::from_bytes(cut.binding_key).map_err(RecordError::BindingKey);
        let binding_key = binding_key.filter(|key| key.as_bytes() == cut.binding_key).map_or_else(read, Ok)?;
        profile.challenge().check(cut.c).map_err(RecordError::Challenge)?;
        let z = Scalar::from_bytes(cut.z).map_err(RecordError::Response)?;
        let assertion = match profile {
            Profile::Passkey => Some(assertion(cut.device_sig)?),
            Profile::EcSdsa | Profile::Transcript => None,
        };
        let device_sig = assertion.as_ref().map_or(cut.device_sig, |assertion| &assertion.signature);
        let device_sig = Signature::parse(device_sig).map_err(RecordError::DeviceSig)?;
        let binding_sig = Signature::from_bytes(cut.binding_sig).map_err(RecordError::BindingSig)?;
        let metadata = Metadata::parse(cut.metadata)?;
        Ok(Record {
            binding_key,
            metadata,
            metadata_bytes: cut.metadata.to_vec(),
            instruction_id: Hash(*cut.instruction_id),
            c: *cut.c,
            z,
            check: cut.check,
            device_sig,
            assertion,
            binding_sig,
        })
    }

    /// The bytes of the binding key in the bytes of a record; none where these are too short.
    pub fn binding_key_in(profile: Profile, bytes: &[u8]) -> Option<&[u8; Point::LEN]> {
        Cut::new(profile, bytes).map(|cut| cut.binding_key)
    }

    /// The bytes that were parsed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let parts = Parts {
            binding_key: self.binding_key.as_bytes(),
            metadata: &self.metadata_bytes,
            instruction_id: &self.instruction_id,
            c: &self.c,
            z: &self.z.to_bytes(),
            check: self.check,
            device_sig: self.device_sig.as_bytes(),
            binding_sig: self.binding_sig.as_bytes(),
        };
        match &self.assertion {
            Some(assertion) => parts.to_bytes_with(assertion),
            None => parts.to_bytes(),
        }
    }

    /// The profile.
    pub fn profile(&self) -> Profile {
        if self.assertion.is_some() { Profile::Passkey } else { self.check.profile() }
    }

    /// In profile 3, what the device said.
    pub fn assertion(&self) -> Option<&Varsig> {
        self.assertion.as_ref()
    }

    /// In profile 3: was the device asked this, where it may be asked, with somebody there? Its signature is verified with
    /// the others.
    pub(crate) fn check_assertion(&self, passkey: &Passkey) -> Result<(), Reason> {
        let Some(assertion) = &self.assertion else { return Ok(()) };
        passkey.was_asked(assertion, &device_challenge(&self.c, &self.check))
    }

    fn device_message(&self) -> Vec<u8> {
        match &self.assertion {
            Some(said) => said.signed_bytes(),
            None => device_message(&self.c, &self.check),
        }
    }

    /// The one-time key.
    pub fn binding_key(&self) -> &Point {
        &self.binding_key
    }

    /// The log metadata.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The log metadata as it was signed.
    pub fn metadata_bytes(&self) -> &[u8] {
        &self.metadata_bytes
    }

    /// The instruction.
    pub fn instruction_id(&self) -> &Hash {
        &self.instruction_id
    }

    /// What evidence besides the two factors is bound to.
    pub fn operation_hash(&self) -> Hash {
        operation_hash(&self.metadata_bytes, &self.instruction_id)
    }

    /// The challenge.
    pub fn c(&self) -> &[u8; 32] {
        &self.c
    }

    /// The response.
    pub fn z(&self) -> &Scalar {
        &self.z
    }

    /// What stands for the user's signature share.
    pub fn check(&self) -> &Check {
        &self.check
    }

    /// The signature of the device.
    pub fn device_sig(&self) -> &Signature {
        &self.device_sig
    }

    /// The signature of the one-time key.
    pub fn binding_sig(&self) -> &Signature {
        &self.binding_sig
    }

    /// The name of this authorisation. See [`authorisation_key`].
    pub fn authorisation_key(&self) -> Hash {
        authorisation_key(&self.metadata.credential, &self.c)
    }

    /// The three signatures to verify, under the keys of a credential.
    pub(crate) fn job(&self, joint_key: Point, device_key: Point) -> Job {
        Job {
            binding_key: self.binding_key,
            device_key,
            joint_key,
            challenge: self.profile().challenge(),
            message: joint_message(
                self.profile(),
                self.binding_key.as_bytes(),
                &self.metadata_bytes,
                &self.instruction_id,
            ),
            c: self.c,
            z: self.z,
            device_message: self.device_message(),
            device_sig: self.device_sig,
            binding_sig: self.binding_sig,
        }
    }
}

/// The device's part of a record of profile 3.
fn assertion(bytes: &[u8]) -> Result<Varsig, RecordError> {
    let varsig = Varsig::parse(bytes).map_err(RecordError::Assertion)?;
    match varsig.algorithm {
        Algorithm::Es256 => Ok(varsig),
        Algorithm::EdDsa => Err(RecordError::Assertion(Reason::Unsupported)),
    }
}
