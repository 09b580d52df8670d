//! Varsig headers: how a delegation is signed, as its `h` says. <https://github.com/ChainAgnostic/varsig>
//!
//! ```text
//! header = 0x34 ‖ 0x01 ‖ signature ‖ ? 0x300001 ‖ 0x71                       all of them varints; 0x71 is DAG-CBOR
//! signature = 0xed ‖ 0xed ‖ 0x13       Ed25519 with SHA-512
//!             0xec ‖ 0x1200 ‖ 0x12     ECDSA over P-256 with SHA-256
//! 0x300001  the signature is that of a WebAuthn assertion, and its bytes are
//!           varint(len) ‖ client data ‖ varint(len) ‖ authenticator data ‖ signature
//! ```
//! No registry has 0x300001; it lies where private codes do, and others write it in this place.

use alloc::vec::Vec;

use crate::evidence::Reason;
use crate::evidence::varsig::{Algorithm, Varsig};
use crate::limits::{AUTHENTICATOR_DATA_MAX, CLIENT_DATA_MAX};
use crate::varint;

const VARSIG: u64 = 0x34;
const VERSION: u64 = 1;
const EDDSA: [u64; 3] = [0xed, 0xed, 0x13];
const ECDSA_P256: [u64; 3] = [0xec, 0x1200, 0x12];
const WEBAUTHN: u64 = 0x30_0001;
const DAG_CBOR: u64 = 0x71;

/// How something is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// Whether the signature is that of a WebAuthn assertion.
    pub webauthn: bool,
}

impl Header {
    /// Reads a header.
    ///
    /// # Errors
    /// [`Reason::Malformed`] when it is no varsig header of version 1; [`Reason::Unsupported`] for an algorithm or an
    /// encoding that nobody verifies here.
    pub fn parse(bytes: &[u8]) -> Result<Header, Reason> {
        let mut numbers = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() && numbers.len() < 16 {
            let (number, more) = varint::read(rest).map_err(|_| Reason::Malformed)?;
            numbers.push(number);
            rest = more;
        }
        let [VARSIG, VERSION, segments @ .., encoding] = numbers.as_slice() else {
            return Err(Reason::Malformed);
        };
        if !rest.is_empty() || segments.is_empty() {
            return Err(Reason::Malformed);
        }
        let (signature, webauthn) = match segments {
            [signature @ .., WEBAUTHN] => (signature, true),
            signature => (signature, false),
        };
        let algorithm = match signature {
            signature if *signature == EDDSA => Algorithm::EdDsa,
            signature if *signature == ECDSA_P256 => Algorithm::Es256,
            _ => return Err(Reason::Unsupported),
        };
        if *encoding == DAG_CBOR { Ok(Header { algorithm, webauthn }) } else { Err(Reason::Unsupported) }
    }

    /// The one spelling of it.
    pub fn to_bytes(self) -> Vec<u8> {
        let signature = match self.algorithm {
            Algorithm::EdDsa => EDDSA,
            Algorithm::Es256 => ECDSA_P256,
        };
        let mut bytes = Vec::new();
        let marker = self.webauthn.then_some(WEBAUTHN);
        let numbers = [VARSIG, VERSION].into_iter().chain(signature).chain(marker).chain([DAG_CBOR]);
        numbers.for_each(|number| varint::write(number, &mut bytes));
        bytes
    }
}

/// The signature bytes of a WebAuthn assertion under such a header.
pub fn signature_of(assertion: &Varsig) -> Vec<u8> {
    let mut bytes = Vec::new();
    varint::write_bytes(&assertion.client_data, &mut bytes);
    varint::write_bytes(&assertion.authenticator_data, &mut bytes);
    bytes.extend_from_slice(&assertion.signature);
    bytes
}

/// The assertion in the signature bytes under such a header. A P-256 signature may be DER; it becomes r ‖ s with a low s.
///
/// # Errors
/// [`Reason::TooLong`], [`Reason::Malformed`].
pub fn assertion_of(algorithm: Algorithm, signature: &[u8]) -> Result<Varsig, Reason> {
    if signature.len() > AUTHENTICATOR_DATA_MAX.saturating_add(CLIENT_DATA_MAX) {
        return Err(Reason::TooLong);
    }
    let (client_data, rest) = varint::read_bytes(signature).map_err(|_| Reason::Malformed)?;
    let (authenticator_data, signature) = varint::read_bytes(rest).map_err(|_| Reason::Malformed)?;
    Varsig::made(algorithm, authenticator_data, client_data, signature)
}
