//! WebAuthn assertions, whose challenge is the operation. <https://www.w3.org/TR/webauthn-3/#sctn-verifying-assertion>
//!
//! ```text
//! authenticator data   rpIdHash[32] ‖ flags[1] ‖ signCount[4] ‖ ? extensions (CBOR, only with ED)
//! flags                UP 01   UV 04   BE 08   BS 10   AT 40   ED 80
//! client data          JSON: type "webauthn.get", challenge, origin, crossOrigin, ...
//! signature            over authenticator data ‖ SHA-256(client data), ES256 (DER) or EdDSA
//! ```
//!
//! The steps of the specification that a log can take, with its choices made: no page of another site, no algorithm but
//! these two, the eligibility for backup as it was enrolled. What is under the signature is never rewritten, only read.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use base64ct::{Base64UrlUnpadded, Encoding};
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};
use tlog::Hash;

use super::{Claims, Context, Reason};
use crate::authenticator::WebAuthn;
use crate::cbor::{self, Parts, ShapeError, Value};
use crate::cose::Key;
use crate::ecdsa::Signature;
use crate::limits::{AUTHENTICATOR_DATA_MAX, CLIENT_DATA_MAX};

/// The longest signature: DER of two numbers of 33 bytes.
const SIGNATURE_MAX: usize = 72;

/// The three parts of an assertion, as a browser gives them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assertion {
    /// What the authenticator says.
    pub authenticator_data: Vec<u8>,
    /// What the browser says.
    pub client_data: Vec<u8>,
    /// The signature: DER or r ‖ s for ES256, 64 bytes for EdDSA.
    pub signature: Vec<u8>,
}

/// What an assertion has to be for.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// What was asked.
    pub challenge: &'a [u8],
    /// The relying party.
    pub rp_id: &'a str,
    /// The origins that may ask.
    pub origins: &'a [String],
    /// Whether the key can be backed up, as enrolled.
    pub backup_eligible: bool,
    /// Whether the user has to be verified.
    pub user_verified: bool,
}

/// What an assertion says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    /// Whether the authenticator verified the user.
    pub user_verified: bool,
    /// Whether the key is backed up at present.
    pub backed_up: bool,
    /// The signature counter. Zero: there is none.
    pub count: u32,
}

impl Assertion {
    /// Parses the blob of an item: `[1, authenticator data, client data, signature]`.
    ///
    /// # Errors
    /// [`Reason::TooLong`], [`Reason::Malformed`].
    pub fn parse(blob: &[u8]) -> Result<Assertion, Reason> {
        let max =
            AUTHENTICATOR_DATA_MAX.saturating_add(CLIENT_DATA_MAX).saturating_add(SIGNATURE_MAX).saturating_add(16);
        if blob.len() > max {
            return Err(Reason::TooLong);
        }
        let value = cbor::decode(blob, max).map_err(|_| Reason::Malformed)?;
        let read = || -> Result<Assertion, ShapeError> {
            let mut parts = Parts::new("assertion", value)?;
            parts.constant("version", 1)?;
            let (authenticator_data, client_data) = (parts.bytes("authenticator_data")?, parts.bytes("client_data")?);
            let assertion = Assertion { authenticator_data, client_data, signature: parts.bytes("signature")? };
            parts.end()?;
            Ok(assertion)
        };
        read().map_err(|_| Reason::Malformed)
    }

    /// The one spelling of the blob.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(&Value::Array(vec![
            cbor::uint(1),
            cbor::bytes(&self.authenticator_data),
            cbor::bytes(&self.client_data),
            cbor::bytes(&self.signature),
        ]))
    }

    /// Verifies it under an enrolled key.
    ///
    /// # Errors
    /// The first [`Reason`].
    pub fn verify(&self, key: &Key, expected: &Expected<'_>) -> Result<Said, Reason> {
        let said = read(&self.authenticator_data, &self.client_data, expected)?;
        let signature = raw_signature(key, &self.signature)?;
        let signed = signed_bytes(&self.authenticator_data, &self.client_data);
        key.verify(&signature, &signed).map_err(|_| Reason::Signature)?;
        Ok(said)
    }
}

/// What the key signs: authenticator data ‖ SHA-256(client data).
pub fn signed_bytes(authenticator_data: &[u8], client_data: &[u8]) -> Vec<u8> {
    [authenticator_data, &Sha256::digest(client_data)].concat()
}

/// The 64 bytes of a signature, whichever of its two forms an authenticator or a library gave.
///
/// # Errors
/// [`Reason::Malformed`].
pub fn raw_signature(key: &Key, signature: &[u8]) -> Result<[u8; 64], Reason> {
    if let Ok(raw) = <[u8; 64]>::try_from(signature) {
        // A DER signature of 64 bytes has numbers three bytes too short, which nobody ever makes by chance.
        return Ok(raw);
    }
    match key {
        Key::Es256(_) => Signature::from_der(signature).map(Signature::to_bytes).map_err(|_| Reason::Malformed),
        Key::EdDsa(_) => Err(Reason::Malformed),
    }
}

/// Everything but the signature: type, challenge, origin, relying party, presence, verification, backup.
///
/// # Errors
/// The first [`Reason`].
pub fn read(authenticator_data: &[u8], client_data: &[u8], expected: &Expected<'_>) -> Result<Said, Reason> {
    if authenticator_data.len() > AUTHENTICATOR_DATA_MAX || client_data.len() > CLIENT_DATA_MAX {
        return Err(Reason::TooLong);
    }
    let data = AuthenticatorData::parse(authenticator_data).ok_or(Reason::Malformed)?;
    let client = ClientData::parse(client_data).ok_or(Reason::Malformed)?;
    client.check(expected)?;
    data.check(expected)
}

/// The fixed part of authenticator data.
struct AuthenticatorData {
    rp_id_hash: [u8; 32],
    flags: u8,
    count: u32,
}

const USER_PRESENT: u8 = 0x01;
const USER_VERIFIED: u8 = 0x04;
const BACKUP_ELIGIBLE: u8 = 0x08;
const BACKED_UP: u8 = 0x10;
const ATTESTED: u8 = 0x40;
const EXTENSIONS: u8 = 0x80;

impl AuthenticatorData {
    fn parse(bytes: &[u8]) -> Option<AuthenticatorData> {
        let (rp_id_hash, rest) = bytes.split_first_chunk()?;
        let (&flags, rest) = rest.split_first()?;
        let (count, rest) = rest.split_first_chunk()?;
        // A credential is attested when it is made, not when it signs.
        if flags & ATTESTED != 0 || (flags & EXTENSIONS != 0) == rest.is_empty() {
            return None;
        }
        if !rest.is_empty() {
            let is_map = rest.first().is_some_and(|first| first >> 5 == 5);
            cbor::check_deterministic(rest).ok().filter(|()| is_map)?;
        }
        Some(AuthenticatorData { rp_id_hash: *rp_id_hash, flags, count: u32::from_be_bytes(*count) })
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    fn check(&self, expected: &Expected<'_>) -> Result<Said, Reason> {
        if Sha256::digest(expected.rp_id.as_bytes())[..] != self.rp_id_hash {
            return Err(Reason::RpId);
        }
        if !self.has(USER_PRESENT) {
            return Err(Reason::UserPresent);
        }
        if expected.user_verified && !self.has(USER_VERIFIED) {
            return Err(Reason::UserVerified);
        }
        if self.has(BACKED_UP) && !self.has(BACKUP_ELIGIBLE) {
            return Err(Reason::BackupState);
        }
        if self.has(BACKUP_ELIGIBLE) != expected.backup_eligible {
            return Err(Reason::BackupEligibility);
        }
        Ok(Said { user_verified: self.has(USER_VERIFIED), backed_up: self.has(BACKED_UP), count: self.count })
    }
}

/// The members of the client data that count. Others may be there: browsers add some to see who chokes on them.
struct ClientData {
    kind: String,
    challenge: String,
    origin: String,
    cross_origin: bool,
    top_origin: bool,
}

impl ClientData {
    /// An ordinary JSON parser reads it: browsers agree on the meaning of the bytes, not on the bytes.
    fn parse(bytes: &[u8]) -> Option<ClientData> {
        serde_json::from_slice(bytes).ok()
    }

    fn check(&self, expected: &Expected<'_>) -> Result<(), Reason> {
        if self.kind != "webauthn.get" {
            return Err(Reason::Type);
        }
        // Compared as text: two texts can stand for the same bytes in base64.
        if self.challenge != Base64UrlUnpadded::encode_string(expected.challenge) {
            return Err(Reason::Challenge);
        }
        if !expected.origins.contains(&self.origin) {
            return Err(Reason::Origin);
        }
        if self.cross_origin || self.top_origin {
            return Err(Reason::CrossOrigin);
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for ClientData {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ClientData, D::Error> {
        deserializer.deserialize_map(ClientDataVisitor)
    }
}

struct ClientDataVisitor;

impl<'de> Visitor<'de> for ClientDataVisitor {
    type Value = ClientData;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("client data")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ClientData, A::Error> {
        let (mut kind, mut challenge, mut origin) = (None, None, None);
        let (mut cross_origin, mut top_origin) = (false, false);
        let mut names = BTreeSet::new();
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "type" => kind = Some(map.next_value::<String>()?),
                "challenge" => challenge = Some(map.next_value::<String>()?),
                "origin" => origin = Some(map.next_value::<String>()?),
                "crossOrigin" => cross_origin = map.next_value::<bool>()?,
                "topOrigin" => {
                    map.next_value::<IgnoredAny>()?;
                    top_origin = true;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
            // Two members of one name are two meanings for two readers.
            if !names.insert(name) {
                return Err(A::Error::custom("a member that occurs twice"));
            }
        }
        let missing = || A::Error::custom("a member is missing");
        Ok(ClientData {
            kind: kind.ok_or_else(missing)?,
            challenge: challenge.ok_or_else(missing)?,
            origin: origin.ok_or_else(missing)?,
            cross_origin,
            top_origin,
        })
    }
}

pub(super) fn verify(
    context: &Context<'_>,
    passkey: &WebAuthn,
    challenge: &Hash,
    blob: &[u8],
    found: Claims,
) -> Result<Claims, Reason> {
    claims(context, passkey, challenge, &Assertion::parse(blob)?, found)
}

/// What a verified assertion shows of an enrolled passkey.
pub(super) fn claims(
    context: &Context<'_>,
    passkey: &WebAuthn,
    challenge: &Hash,
    assertion: &Assertion,
    found: Claims,
) -> Result<Claims, Reason> {
    let expected = Expected {
        challenge: &challenge.0,
        rp_id: &passkey.rp_id,
        origins: &passkey.origins,
        backup_eligible: passkey.backup_eligible,
        user_verified: false,
    };
    let said = assertion.verify(&passkey.key, &expected)?;
    let count = u64::from(said.count);
    let last = context.last_count.unwrap_or(0);
    Ok(Claims {
        user_verified: said.user_verified,
        device_bound: !passkey.backup_eligible,
        attachment: passkey.attachment,
        count: Some(count),
        // Where both are zero the authenticator has no counter. Else it has to go up.
        clone_suspected: (count != 0 || last != 0) && count <= last && context.last_count.is_some(),
        ..found
    })
}
