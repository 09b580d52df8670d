//! Authenticators: what a person has besides the two factors, to show that an operation is theirs.
//!
//! ```text
//! claims    = [ 1, type: tstr, participant: hash, purpose: tstr, attestation: tstr, about ]
//! purpose   = "sign" / "login"
//! about     = [ alg, key: bstr, rp_id: tstr, origins: [+ tstr], backup_eligible: bool, attachment: tstr ]     "webauthn"
//!             [ alg, key: bstr, template: bstr .size 32, ueid: bstr .size 17 ]                                "bio"
//!             [ key: bstr .size 33, card_uid: bstr .size 8 ]                                                  "nfc"
//!             [ secret: hash, hash: tstr, digits: uint, period_s: uint ]                                      "otp"
//! alg       = "es256" / "eddsa"
//! id        = H("solelog/authenticator/v1", claims)
//! ```
//!
//! The id commits to whose it is and what it is for. A key that was enrolled to sign never logs in, and the other way round:
//! a login prompt shows a number that nobody can read, and that number could be an operation.
//!
//! Nothing of a person's body is here: `template` and `ueid` are random numbers of one enrolment, and the secret of one-time
//! passwords is named by its hash.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use tlog::Hash;

use crate::cbor::{self, CborError, Fault, Parts, ShapeError, Value};
use crate::cose::{Key, KeyError};
use crate::evidence::Kind;
use crate::limits::{AUTHENTICATOR_MAX, ORIGIN_MAX, ORIGINS_MAX};
use crate::point::Point;
use crate::tag::tagged;

/// What an authenticator was enrolled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// To show that an operation is its participant's.
    Sign,
    /// To log in. Never evidence of anything.
    Login,
}

/// How an authenticator hangs on to what its person looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attachment {
    /// Part of the same device.
    Platform,
    /// A thing of its own, such as a security key.
    CrossPlatform,
    /// Nobody said.
    Unknown,
}

/// What the provider enrolled, on a subscriber's instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Whose it is: the subject of the credential that added it.
    pub participant: Hash,
    /// What for.
    pub purpose: Purpose,
    /// What is known of its attestation; `none` when nothing is.
    pub attestation: String,
    /// What it is.
    pub about: About,
}

/// What an authenticator is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// A passkey or a security key.
    WebAuthn(WebAuthn),
    /// A device that matches a person by finger, face or voice.
    Bio(Bio),
    /// A P-256 card.
    Nfc(Nfc),
    /// A generator of one-time passwords.
    Otp(Otp),
}

/// A WebAuthn credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebAuthn {
    /// Its public key.
    pub key: Key,
    /// The relying party it is for.
    pub rp_id: String,
    /// The origins that may ask it, at most 8.
    pub origins: Vec<String>,
    /// Whether it can be backed up, and so synced. That never changes.
    pub backup_eligible: bool,
    /// What it hangs on.
    pub attachment: Attachment,
}

/// A device that attests to having matched a person.
#[derive(Clone, PartialEq, Eq)]
pub struct Bio {
    /// The device's key for tokens.
    pub key: Key,
    /// A random number that names the enrolled template.
    pub template: [u8; 32],
    /// A random name of the device, of this enrolment alone.
    pub ueid: [u8; 17],
}

/// A P-256 card.
#[derive(Clone, PartialEq, Eq)]
pub struct Nfc {
    /// Its public key.
    pub key: Point,
    /// Its UID; one of 7 bytes has a zero in front. It can be copied: only the key makes a card.
    pub card_uid: [u8; 8],
}

/// A generator of one-time passwords.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Otp {
    /// `H("solelog/otp/v1", secret)`.
    pub secret: Hash,
    /// What it hashes with.
    pub hash: OtpHash,
    /// Digits of a password, 6 to 8.
    pub digits: u8,
    /// How long each is good, seconds, 15 to 120.
    pub period_s: u8,
}

/// The hash function of one-time passwords.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtpHash {
    /// What every app has.
    Sha1,
    /// The newer one.
    Sha256,
}

/// Why bytes are not the claims of an authenticator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthenticatorError {
    /// Not deterministic CBOR of the subset.
    #[error("authenticator: {0}")]
    Cbor(#[from] CborError),
    /// Not the array of the CDDL.
    #[error("authenticator: {0}")]
    Shape(#[from] ShapeError),
    /// Its key.
    #[error("authenticator: {0}")]
    Key(#[from] KeyError),
}

impl AuthenticatorError {
    /// A short stable name of the refusal, the one that `schemas/vectors` use.
    pub fn code(&self) -> String {
        match self {
            AuthenticatorError::Cbor(error) => error.code().into(),
            AuthenticatorError::Shape(error) => error.code(),
            AuthenticatorError::Key(KeyError::Form) => "key/form".into(),
            AuthenticatorError::Key(KeyError::Unsupported) => "key/unsupported".into(),
            AuthenticatorError::Key(KeyError::Point) => "key/point".into(),
        }
    }
}

impl fmt::Debug for Bio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bio").field("key", &self.key).finish_non_exhaustive()
    }
}

impl fmt::Debug for Nfc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nfc").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Purpose {
    const ALL: [Purpose; 2] = [Purpose::Sign, Purpose::Login];

    /// Its name in claims.
    pub const fn name(self) -> &'static str {
        match self {
            Purpose::Sign => "sign",
            Purpose::Login => "login",
        }
    }
}

impl Attachment {
    /// All of them.
    pub const ALL: [Attachment; 3] = [Attachment::Platform, Attachment::CrossPlatform, Attachment::Unknown];

    /// Its name in claims and policies.
    pub const fn name(self) -> &'static str {
        match self {
            Attachment::Platform => "platform",
            Attachment::CrossPlatform => "cross-platform",
            Attachment::Unknown => "unknown",
        }
    }
}

impl OtpHash {
    const ALL: [OtpHash; 2] = [OtpHash::Sha1, OtpHash::Sha256];

    const fn name(self) -> &'static str {
        match self {
            OtpHash::Sha1 => "sha1",
            OtpHash::Sha256 => "sha256",
        }
    }
}

impl Claims {
    /// Parses claims.
    ///
    /// # Errors
    /// [`AuthenticatorError`].
    pub fn parse(bytes: &[u8]) -> Result<Claims, AuthenticatorError> {
        let mut parts = Parts::new("authenticator", cbor::decode(bytes, AUTHENTICATOR_MAX)?)?;
        parts.constant("version", 1)?;
        let name = parts.text("type")?;
        let participant = parts.hash("participant")?;
        let purpose = named(&mut parts, "purpose", &Purpose::ALL, |purpose| purpose.name())?;
        let attestation = parts.bounded_text("attestation", ORIGIN_MAX)?;
        let mut about = parts.array("about")?;
        parts.end()?;
        let read = match name.as_str() {
            "webauthn" => About::WebAuthn(WebAuthn::read(&mut about)?),
            "bio" => About::Bio(Bio::read(&mut about)?),
            "nfc" => About::Nfc(Nfc::read(&mut about)?),
            "otp" => About::Otp(Otp::read(&mut about)?),
            _ => return Err(ShapeError { part: "type", fault: Fault::Value }.into()),
        };
        about.end()?;
        Ok(Claims { participant, purpose, attestation, about: read })
    }

    /// The one spelling of these claims.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(&Value::Array(vec![
            cbor::uint(1),
            cbor::text(self.about.name()),
            cbor::bytes(&self.participant.0),
            cbor::text(self.purpose.name()),
            cbor::text(&self.attestation),
            self.about.to_value(),
        ]))
    }

    /// The authenticator's id.
    pub fn id(&self) -> Hash {
        authenticator_id(&self.to_bytes())
    }

    /// Whether anything is known of its attestation.
    pub fn is_attested(&self) -> bool {
        self.attestation != "none"
    }
}

/// `H("solelog/authenticator/v1", claims)`.
pub fn authenticator_id(claims: &[u8]) -> Hash {
    tagged("solelog/authenticator/v1", claims)
}

impl About {
    /// The name of the type.
    pub const fn name(&self) -> &'static str {
        match self {
            About::WebAuthn(_) => "webauthn",
            About::Bio(_) => "bio",
            About::Nfc(_) => "nfc",
            About::Otp(_) => "otp",
        }
    }

    /// Whether it makes evidence of this kind.
    pub const fn makes(&self, kind: Kind) -> bool {
        matches!(
            (self, kind),
            (About::WebAuthn(_), Kind::WebAuthn | Kind::Varsig)
                | (About::Bio(_), Kind::Bio)
                | (About::Nfc(_), Kind::Nfc)
                | (About::Otp(_), Kind::Otp)
        )
    }

    /// What makes it this one and no other: its public key, or the hash of its secret. Nothing may be enrolled twice, for
    /// another purpose least of all.
    pub fn key_bytes(&self) -> &[u8] {
        match self {
            About::WebAuthn(WebAuthn { key, .. }) | About::Bio(Bio { key, .. }) => key.as_bytes(),
            About::Nfc(Nfc { key, .. }) => key.as_bytes(),
            About::Otp(Otp { secret, .. }) => &secret.0,
        }
    }

    fn to_value(&self) -> Value {
        match self {
            About::WebAuthn(passkey) => Value::Array(vec![
                cbor::text(passkey.key.name()),
                cbor::bytes(passkey.key.as_bytes()),
                cbor::text(&passkey.rp_id),
                Value::Array(passkey.origins.iter().map(|origin| cbor::text(origin)).collect()),
                Value::Bool(passkey.backup_eligible),
                cbor::text(passkey.attachment.name()),
            ]),
            About::Bio(bio) => Value::Array(vec![
                cbor::text(bio.key.name()),
                cbor::bytes(bio.key.as_bytes()),
                cbor::bytes(&bio.template),
                cbor::bytes(&bio.ueid),
            ]),
            About::Nfc(card) => Value::Array(vec![cbor::bytes(card.key.as_bytes()), cbor::bytes(&card.card_uid)]),
            About::Otp(otp) => Value::Array(vec![
                cbor::bytes(&otp.secret.0),
                cbor::text(otp.hash.name()),
                cbor::uint(otp.digits.into()),
                cbor::uint(otp.period_s.into()),
            ]),
        }
    }
}

impl WebAuthn {
    fn read(parts: &mut Parts) -> Result<WebAuthn, AuthenticatorError> {
        let key = key(parts)?;
        let rp_id = parts.bounded_text("rp_id", ORIGIN_MAX)?;
        Ok(WebAuthn {
            key,
            rp_id,
            origins: origins(parts)?,
            backup_eligible: parts.flag("backup_eligible")?,
            attachment: named(parts, "attachment", &Attachment::ALL, |attachment| attachment.name())?,
        })
    }
}

impl Bio {
    fn read(parts: &mut Parts) -> Result<Bio, AuthenticatorError> {
        Ok(Bio { key: key(parts)?, template: parts.fixed("template")?, ueid: parts.fixed("ueid")? })
    }
}

impl Nfc {
    fn read(parts: &mut Parts) -> Result<Nfc, AuthenticatorError> {
        let key = parts.point("key")?;
        let card_uid = parts.fixed("card_uid")?;
        Ok(Nfc { key: Point::from_bytes(&key).map_err(|_| KeyError::Point)?, card_uid })
    }
}

impl Otp {
    fn read(parts: &mut Parts) -> Result<Otp, AuthenticatorError> {
        let secret = parts.hash("secret")?;
        let hash = named(parts, "hash", &OtpHash::ALL, |hash| hash.name())?;
        let mut small = |part, allowed: core::ops::RangeInclusive<u8>| {
            let number = u8::try_from(parts.uint(part)?).ok().filter(|number| allowed.contains(number));
            number.ok_or(ShapeError { part, fault: Fault::Size })
        };
        Ok(Otp { secret, hash, digits: small("digits", 6..=8)?, period_s: small("period_s", 15..=120)? })
    }
}

fn key(parts: &mut Parts) -> Result<Key, AuthenticatorError> {
    let name = parts.text("alg")?;
    Ok(Key::named(&name, &parts.bytes("key")?)?)
}

/// One to eight origins, none twice.
pub(crate) fn origins(parts: &mut Parts) -> Result<Vec<String>, ShapeError> {
    let mut list = parts.array("origins")?;
    if list.is_empty() || list.len() > ORIGINS_MAX {
        return Err(ShapeError { part: "origins", fault: Fault::Size });
    }
    let mut origins = Vec::with_capacity(list.len());
    while !list.is_empty() {
        let origin = list.bounded_text("origins", ORIGIN_MAX)?;
        if origins.contains(&origin) {
            return Err(ShapeError { part: "origins", fault: Fault::Value });
        }
        origins.push(origin);
    }
    Ok(origins)
}

fn named<T: Copy>(
    parts: &mut Parts,
    part: &'static str,
    all: &[T],
    name: impl Fn(T) -> &'static str,
) -> Result<T, ShapeError> {
    let text = parts.text(part)?;
    let found = all.iter().copied().find(|one| name(*one) == text);
    found.ok_or(ShapeError { part, fault: Fault::Value })
}
