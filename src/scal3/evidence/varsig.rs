//! WebAuthn assertions as one row of bytes: a signature that says itself how it was made.
//!
//! ```text
//! varsig = varint(code) ‖ varint(len) ‖ authenticator data ‖ varint(len) ‖ client data ‖ signature[64]
//! code   = 0x2ed1 Ed25519 (d1 5d)   0x2256 P-256 (d6 44)
//! ```
//!
//! The codes are those of the design this comes from. They are in no registry: the form that new delegations are signed
//! with has a header of its own, [`crate::ucan::header`].
//!
//! Authenticators write P-256 signatures in DER. A varsig has r ‖ s. [`Varsig::import`] takes either and makes the one form
//! with a low s, so that one assertion gives one row of bytes; [`Varsig::parse`] takes rows of bytes as they stand.

use alloc::vec::Vec;

use tlog::Hash;

use super::webauthn::{self, Assertion};
use super::{Claims, Context, Reason};
use crate::authenticator::WebAuthn;
use crate::cose::Key;
use crate::ecdsa::Signature;
use crate::limits::{AUTHENTICATOR_DATA_MAX, CLIENT_DATA_MAX};
use crate::varint;

/// A WebAuthn signature with Ed25519.
pub const CODE_ED25519: u64 = 0x2ed1;
/// A WebAuthn signature with ECDSA over P-256 and SHA-256.
pub const CODE_P256: u64 = 0x2256;

/// The algorithm that a varsig names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519.
    EdDsa,
    /// ECDSA over P-256 with SHA-256.
    Es256,
}

/// A WebAuthn assertion with its signature as 64 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Varsig {
    /// How it was signed.
    pub algorithm: Algorithm,
    /// What the authenticator says.
    pub authenticator_data: Vec<u8>,
    /// What the browser says.
    pub client_data: Vec<u8>,
    /// r ‖ s, or the 64 bytes of Ed25519.
    pub signature: [u8; 64],
}

impl Algorithm {
    /// Its code.
    pub const fn code(self) -> u64 {
        match self {
            Algorithm::EdDsa => CODE_ED25519,
            Algorithm::Es256 => CODE_P256,
        }
    }

    /// That of a key.
    pub const fn of(key: &Key) -> Algorithm {
        match key {
            Key::Es256(_) => Algorithm::Es256,
            Key::EdDsa(_) => Algorithm::EdDsa,
        }
    }
}

impl Varsig {
    /// Parses the bytes as they stand: [`Varsig::to_bytes`] gives them back.
    ///
    /// # Errors
    /// [`Reason::TooLong`], [`Reason::Malformed`]; [`Reason::Unsupported`] for another code.
    pub fn parse(bytes: &[u8]) -> Result<Varsig, Reason> {
        let (algorithm, authenticator_data, client_data, signature) = cut(bytes)?;
        let signature = signature.try_into().map_err(|_| Reason::Malformed)?;
        Ok(Varsig {
            algorithm,
            authenticator_data: authenticator_data.into(),
            client_data: client_data.into(),
            signature,
        })
    }

    /// Parses what somebody else wrote: a P-256 signature may be DER, and gets its low s.
    ///
    /// # Errors
    /// As [`Varsig::parse`].
    pub fn import(bytes: &[u8]) -> Result<Varsig, Reason> {
        let (algorithm, authenticator_data, client_data, signature) = cut(bytes)?;
        Varsig::made(algorithm, authenticator_data, client_data, signature)
    }

    /// From the parts of an assertion, in the one form.
    ///
    /// # Errors
    /// [`Reason::Malformed`] when the signature is none of its algorithm.
    pub fn made(
        algorithm: Algorithm,
        authenticator_data: &[u8],
        client_data: &[u8],
        signature: &[u8],
    ) -> Result<Varsig, Reason> {
        let signature = match algorithm {
            Algorithm::EdDsa => signature.try_into().map_err(|_| Reason::Malformed)?,
            Algorithm::Es256 => {
                let read = match <&[u8; 64]>::try_from(signature) {
                    Ok(raw) => Signature::from_bytes(raw),
                    Err(_) => Signature::from_der(signature),
                };
                read.map_err(|_| Reason::Malformed)?.with_low_s().to_bytes()
            }
        };
        Ok(Varsig {
            algorithm,
            authenticator_data: authenticator_data.into(),
            client_data: client_data.into(),
            signature,
        })
    }

    /// The bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        varint::write(self.algorithm.code(), &mut bytes);
        varint::write_bytes(&self.authenticator_data, &mut bytes);
        varint::write_bytes(&self.client_data, &mut bytes);
        bytes.extend_from_slice(&self.signature);
        bytes
    }

    /// What its signature is over.
    pub fn signed_bytes(&self) -> Vec<u8> {
        webauthn::signed_bytes(&self.authenticator_data, &self.client_data)
    }

    /// The same as an assertion in three parts.
    pub fn assertion(&self) -> Assertion {
        Assertion {
            authenticator_data: self.authenticator_data.clone(),
            client_data: self.client_data.clone(),
            signature: self.signature.to_vec(),
        }
    }
}

/// The parts of a varsig: algorithm, authenticator data, client data, and the rest.
type Cut<'a> = (Algorithm, &'a [u8], &'a [u8], &'a [u8]);

fn cut(bytes: &[u8]) -> Result<Cut<'_>, Reason> {
    if bytes.len() > AUTHENTICATOR_DATA_MAX.saturating_add(CLIENT_DATA_MAX) {
        return Err(Reason::TooLong);
    }
    let (code, rest) = varint::read(bytes).map_err(|_| Reason::Malformed)?;
    let algorithm = match code {
        CODE_ED25519 => Algorithm::EdDsa,
        CODE_P256 => Algorithm::Es256,
        _ => return Err(Reason::Unsupported),
    };
    let (authenticator_data, rest) = varint::read_bytes(rest).map_err(|_| Reason::Malformed)?;
    let (client_data, signature) = varint::read_bytes(rest).map_err(|_| Reason::Malformed)?;
    Ok((algorithm, authenticator_data, client_data, signature))
}

pub(super) fn verify(
    context: &Context<'_>,
    passkey: &WebAuthn,
    challenge: &Hash,
    blob: &[u8],
    found: Claims,
) -> Result<Claims, Reason> {
    let varsig = Varsig::import(blob)?;
    if varsig.algorithm != Algorithm::of(&passkey.key) {
        return Err(Reason::Unsupported);
    }
    webauthn::claims(context, passkey, challenge, &varsig.assertion(), found)
}
