//! Bare evidence: the three signatures of one authorisation, without metadata around them.
//!
//! ```text
//! transcript of the published scal3 0.4 (241 bytes in three strings, with what it is checked against)
//!   verifier       250   blinded share[32] ‖ joint key[33] ‖ KEM key[33] ‖ sealed share[136] ‖ tag[16]
//!   device          33   device key
//!   digest          32   SHA-256 of what was authorised
//!   authenticator   48   c[32] ‖ tag[16]
//!   proof           64   device_sig
//!   client         129   binding_vk[33] ‖ binding_sig[64] ‖ z[32]
//!
//! textbook record
//!   binding_vk[33] ‖ anything ‖ c[32] ‖ z[32] ‖ checksum[32] ‖ device_sig[64] ‖ binding_sig[64]
//! ```
//!
//! This tells that two factors signed these bytes. It does not tell where, when, for which log, or
//! in which order: that is [`crate::verify`], and only that admits a record to a log.

use crate::batch::{Broken, Job};
use crate::ecdsa::Signature;
use crate::point::{EncodingError, Point, Scalar};
use crate::schnorr::Challenge;

/// Which check failed, in the order they are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// A part has not the length it must have.
    #[error("length")]
    Length,
    /// A part is no point, scalar or signature.
    #[error("parse: {0}")]
    Parse(EncodingError),
    /// A signature does not hold.
    #[error(transparent)]
    Broken(#[from] Broken),
}

impl From<EncodingError> for Failed {
    fn from(error: EncodingError) -> Failed {
        match error {
            EncodingError::Length => Failed::Length,
            error => Failed::Parse(error),
        }
    }
}

/// The parts of a transcript, as they came.
#[derive(Debug, Clone, Copy)]
pub struct Transcript<'a> {
    /// The enrolled identifier, 250 bytes, of which a verifier needs the joint key only.
    pub verifier: &'a [u8],
    /// The device key.
    pub device: &'a [u8],
    /// The hash of what was authorised.
    pub digest: &'a [u8],
    /// c ‖ tag.
    pub authenticator: &'a [u8],
    /// The device signature.
    pub proof: &'a [u8],
    /// Binding key, binding signature and z.
    pub client: &'a [u8],
}

/// Verifies a transcript of the published implementation.
///
/// # Errors
/// The first check that fails, of parse, binding, device, joint.
pub fn verify(transcript: &Transcript<'_>) -> Result<(), Failed> {
    let mut verifier = Parts(transcript.verifier);
    // The blinded share and the KEM key play no part below. They are read because a verifier that
    // took what the published one refuses would call more things an authorisation than it does.
    Scalar::from_bytes(verifier.take()?)?;
    let joint_key = Point::from_bytes(verifier.take()?)?;
    Point::from_bytes(verifier.take()?)?;
    verifier.take::<152>()?;
    verifier.end()?;

    let device_key = Point::parse(transcript.device)?;
    let digest: &[u8; 32] = transcript.digest.try_into().map_err(|_| Failed::Length)?;

    let mut authenticator = Parts(transcript.authenticator);
    let c = authenticator.take()?;
    authenticator.take::<16>()?;
    authenticator.end()?;
    Challenge::Rfc9591.check(c)?;

    let device_sig = Signature::parse(transcript.proof)?;

    let mut client = Parts(transcript.client);
    let binding_key = Point::from_bytes(client.take()?)?;
    let binding_sig = Signature::from_bytes(client.take()?)?;
    let z = Scalar::from_bytes(client.take()?)?;
    client.end()?;

    let job = Job {
        binding_key,
        device_key,
        joint_key,
        challenge: Challenge::Rfc9591,
        message: [&binding_key.as_bytes()[..], digest].concat(),
        c: *c,
        z,
        device_message: transcript.authenticator.to_vec(),
        device_sig,
        binding_sig,
    };
    Ok(job.verify()?)
}

/// Verifies a record with the textbook EC-SDSA challenge, whatever stands between its binding key
/// and its signatures.
///
/// # Errors
/// The first check that fails, of parse, binding, device, joint.
pub fn verify_textbook(joint_key: &[u8], device_key: &[u8], record: &[u8]) -> Result<(), Failed> {
    let joint_key = Point::parse(joint_key)?;
    let device_key = Point::parse(device_key)?;
    let (message, tail) = record.split_last_chunk::<224>().ok_or(Failed::Length)?;
    let binding_key = Point::parse(message.get(..33).ok_or(Failed::Length)?)?;
    let mut tail = Parts(tail);
    let c = tail.take()?;
    let z = Scalar::from_bytes(tail.take()?)?;
    let checksum = tail.take::<32>()?;
    let device_sig = Signature::from_bytes(tail.take()?)?;
    let binding_sig = Signature::from_bytes(tail.take()?)?;
    tail.end()?;

    let job = Job {
        binding_key,
        device_key,
        joint_key,
        challenge: Challenge::EcSdsa,
        message: message.to_vec(),
        c: *c,
        z,
        device_message: [*c, *checksum].concat(),
        device_sig,
        binding_sig,
    };
    Ok(job.verify()?)
}

/// Takes fixed-size parts off the front of bytes.
struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    fn take<const N: usize>(&mut self) -> Result<&'a [u8; N], Failed> {
        let (part, rest) = self.0.split_first_chunk().ok_or(Failed::Length)?;
        self.0 = rest;
        Ok(part)
    }

    fn end(&self) -> Result<(), Failed> {
        if self.0.is_empty() { Ok(()) } else { Err(Failed::Length) }
    }
}
