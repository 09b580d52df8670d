//! Bio-attestation: a device says, in a signed token, that it has just matched its person.
//! <https://www.rfc-editor.org/rfc/rfc9711> <https://www.rfc-editor.org/rfc/rfc8392>
//!
//! ```text
//! token     = COSE_Sign1, ES256 or EdDSA, external_aad = the origin of the log
//! protected = { 1: alg, 4: the authenticator's id, 16: "application/eat+cwt" }
//! claims    = { 1: iss tstr, 4: exp s, 6: iat s, 10: nonce bstr (the challenge), 256: ueid bstr, 263: dbgstat uint,
//!               265: profile tstr, -70001: instruction_id, -70002: uvm [+ [method, key, matcher]], -70003: template,
//!               -70004: counter uint }
//! ```
//!
//! A token shows what the enrolled device says, and that it says so now. It does not show that somebody alive was there: that
//! is the business of the sensor. Nothing of a body is in it; `template` is a random number of the enrolment.

use alloc::string::String;
use alloc::vec::Vec;

use ciborium::Value;
use coset::Label;
use tlog::Hash;

use super::{Claims, Context, Reason, check_count};
use crate::authenticator::Bio;
use crate::cbor;
use crate::cose::{self, CoseError};
use crate::did;
use crate::limits::CREDENTIAL_MAX;

/// The profile of these tokens.
pub const PROFILE: &str = "tag:solelog,2026:bio/1";
/// The type in the protected header.
pub const TYPE: &str = "application/eat+cwt";
/// How long a token may be good, seconds, and how far its time may be from the entry's.
pub const TOKEN_S: u64 = 300;

/// The label of the type in a COSE header.
const TYP: i64 = 16;

/// How a person was matched: the bits of the FIDO registry of predefined values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Modality {
    /// A finger.
    Fingerprint,
    /// A PIN or password.
    Passcode,
    /// A voice, which can be cloned.
    Voice,
    /// A face.
    Face,
    /// An eye.
    Eye,
    /// A drawn pattern.
    Pattern,
    /// A hand.
    Hand,
}

impl Modality {
    /// All of them.
    pub const ALL: [Modality; 7] = [
        Modality::Fingerprint,
        Modality::Passcode,
        Modality::Voice,
        Modality::Face,
        Modality::Eye,
        Modality::Pattern,
        Modality::Hand,
    ];

    /// Its name in policies.
    pub const fn name(self) -> &'static str {
        match self {
            Modality::Fingerprint => "fingerprint",
            Modality::Passcode => "passcode",
            Modality::Voice => "voice",
            Modality::Face => "face",
            Modality::Eye => "eye",
            Modality::Pattern => "pattern",
            Modality::Hand => "hand",
        }
    }

    /// Its bit.
    pub const fn bit(self) -> u64 {
        match self {
            Modality::Fingerprint => 0x2,
            Modality::Passcode => 0x4,
            Modality::Voice => 0x8,
            Modality::Face => 0x10,
            Modality::Eye => 0x40,
            Modality::Pattern => 0x80,
            Modality::Hand => 0x100,
        }
    }
}

/// The claims of a token, for whoever makes or reads one. Times are seconds since 1970-01-01T00:00Z.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The device, by its key: `did:key:...`.
    pub issuer: String,
    /// Good until.
    pub expires_s: u64,
    /// When it was made.
    pub issued_s: u64,
    /// The challenge it answers.
    pub nonce: Hash,
    /// The device, by its random name.
    pub ueid: [u8; 17],
    /// Whether it can be debugged: 0 yes, 1 not now, 2 not since it started, 3 and 4 never.
    pub debug: u64,
    /// The instruction.
    pub instruction_id: Hash,
    /// How the person was matched, each with how key and matcher are protected.
    pub matched: Vec<[u64; 3]>,
    /// The template, by its random number.
    pub template: [u8; 32],
    /// Goes up with every token.
    pub counter: u64,
}

impl Token {
    /// Parses the claims.
    ///
    /// # Errors
    /// [`Reason::Malformed`]; [`Reason::Scope`] for another profile.
    pub fn parse(bytes: &[u8]) -> Result<Token, Reason> {
        let value = cbor::decode(bytes, CREDENTIAL_MAX).map_err(|_| Reason::Malformed)?;
        let Value::Map(map) = value else {
            return Err(Reason::Malformed);
        };
        let mut claims = Map(map);
        if claims.text(265)? != PROFILE {
            return Err(Reason::Scope);
        }
        let token = Token {
            issuer: claims.text(1)?,
            expires_s: claims.uint(4)?,
            issued_s: claims.uint(6)?,
            nonce: Hash(claims.fixed(10)?),
            ueid: claims.fixed(256)?,
            debug: claims.uint(263)?,
            instruction_id: Hash(claims.fixed(-70001)?),
            matched: claims.matched()?,
            template: claims.fixed(-70003)?,
            counter: claims.uint(-70004)?,
        };
        claims.end()?;
        Ok(token)
    }

    /// The one spelling of these claims.
    pub fn to_bytes(&self) -> Vec<u8> {
        let matched = self.matched.iter().map(|entry| Value::Array(entry.iter().map(|n| cbor::uint(*n)).collect()));
        // In the order of deterministic CBOR: unsigned labels first, the shorter ones before the longer.
        cbor::encode(&Value::Map(alloc::vec![
            (cbor::uint(1), cbor::text(&self.issuer)),
            (cbor::uint(4), cbor::uint(self.expires_s)),
            (cbor::uint(6), cbor::uint(self.issued_s)),
            (cbor::uint(10), cbor::bytes(&self.nonce.0)),
            (cbor::uint(256), cbor::bytes(&self.ueid)),
            (cbor::uint(263), cbor::uint(self.debug)),
            (cbor::uint(265), cbor::text(PROFILE)),
            (Value::from(-70001), cbor::bytes(&self.instruction_id.0)),
            (Value::from(-70002), Value::Array(matched.collect())),
            (Value::from(-70003), cbor::bytes(&self.template)),
            (Value::from(-70004), cbor::uint(self.counter)),
        ]))
    }

    /// The bits of all the ways in which the person was matched.
    pub fn modalities(&self) -> u64 {
        self.matched.iter().fold(0, |bits, [method, ..]| bits | method)
    }
}

/// The members of a map, taken out one by one.
struct Map(Vec<(Value, Value)>);

impl Map {
    fn take(&mut self, label: i64) -> Result<Value, Reason> {
        let label = Value::from(label);
        let at = self.0.iter().position(|(name, _)| *name == label).ok_or(Reason::Malformed)?;
        Ok(self.0.swap_remove(at).1)
    }

    fn text(&mut self, label: i64) -> Result<String, Reason> {
        self.take(label)?.into_text().map_err(|_| Reason::Malformed)
    }

    fn uint(&mut self, label: i64) -> Result<u64, Reason> {
        number(&self.take(label)?)
    }

    fn fixed<const N: usize>(&mut self, label: i64) -> Result<[u8; N], Reason> {
        let bytes = self.take(label)?.into_bytes().map_err(|_| Reason::Malformed)?;
        bytes.try_into().map_err(|_| Reason::Malformed)
    }

    fn matched(&mut self) -> Result<Vec<[u64; 3]>, Reason> {
        let list = self.take(-70002)?.into_array().map_err(|_| Reason::Malformed)?;
        let entry = |entry: &Value| match entry.as_array().map(Vec::as_slice) {
            Some([method, key, matcher]) => Ok([number(method)?, number(key)?, number(matcher)?]),
            _ => Err(Reason::Malformed),
        };
        let matched: Vec<[u64; 3]> = list.iter().map(entry).collect::<Result<_, _>>()?;
        if (1..=3).contains(&matched.len()) { Ok(matched) } else { Err(Reason::Malformed) }
    }

    fn end(self) -> Result<(), Reason> {
        if self.0.is_empty() { Ok(()) } else { Err(Reason::Malformed) }
    }
}

fn number(value: &Value) -> Result<u64, Reason> {
    value.as_integer().and_then(|number| u64::try_from(number).ok()).ok_or(Reason::Malformed)
}

pub(super) fn verify(
    context: &Context<'_>,
    device: &Bio,
    challenge: &Hash,
    blob: &[u8],
    found: Claims,
) -> Result<Claims, Reason> {
    if blob.len() > CREDENTIAL_MAX {
        return Err(Reason::TooLong);
    }
    let opened = cose::open_sign1(blob, context.origin.as_bytes(), &device.key).map_err(|error| match error {
        CoseError::Algorithm => Reason::Unsupported,
        CoseError::Signature => Reason::Signature,
        _ => Reason::Malformed,
    })?;
    let typ = opened.header.rest.iter().find(|(label, _)| *label == Label::Int(TYP));
    if typ.and_then(|(_, typ)| typ.as_text()) != Some(TYPE) {
        return Err(Reason::Type);
    }
    if opened.header.key_id != found.authenticator.0 {
        return Err(Reason::Key);
    }
    let token = Token::parse(&opened.payload)?;
    if token.nonce != *challenge {
        return Err(Reason::Challenge);
    }
    let same = token.issuer == did::of_key(&device.key)
        && token.ueid == device.ueid
        && token.template == device.template
        && token.instruction_id == *context.instruction_id;
    if !same {
        return Err(Reason::Scope);
    }
    check_validity(&token, context.entry_ms)?;
    check_count(token.counter, context.last_count)?;
    Ok(Claims {
        user_verified: true,
        device_bound: true,
        modalities: token.modalities(),
        debug_disabled: (2..=4).contains(&token.debug),
        made_ms: token.issued_s.checked_mul(1000),
        count: Some(token.counter),
        ..found
    })
}

/// Made not long before or after the entry, and still good.
fn check_validity(token: &Token, entry_ms: u64) -> Result<(), Reason> {
    let ms = |seconds: u64| seconds.checked_mul(1000).ok_or(Reason::Malformed);
    let (issued_ms, expires_ms) = (ms(token.issued_s)?, ms(token.expires_s)?);
    let lasts_ms = expires_ms.checked_sub(issued_ms).filter(|lasts_ms| *lasts_ms <= TOKEN_S.saturating_mul(1000));
    if lasts_ms.is_none() || issued_ms.abs_diff(entry_ms) > TOKEN_S.saturating_mul(1000) || entry_ms >= expires_ms {
        return Err(Reason::Time);
    }
    Ok(())
}
