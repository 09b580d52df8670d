//! UCAN delegations: one key lets another one do something, in a form that other systems read.
//! <https://github.com/ucan-wg/spec>
//!
//! ```text
//! token   = [ signature: bstr, signed ]                                   DAG-CBOR
//! signed  = { "h": header, "ucan/dlg@1.0.0": payload }                     what is signed
//! payload = { iss: did, aud: did, sub: did / null, cmd: tstr, pol: [* statement], nonce: bstr,
//!             ? meta: map, ? nbf: seconds, exp: seconds / null }
//! cid     = CIDv1, DAG-CBOR, SHA-256 of the token
//!
//! a plain key signs    the bytes of `signed`
//! a passkey signs      a WebAuthn assertion whose challenge is SHA-256 of them
//! ```
//!
//! The issuer is named by its plain key ([`crate::did`]); that a passkey signed stands in the header. A passkey's delegation
//! counts only when the user was verified: whoever gets at the page can ask for signatures.
//!
//! Of DAG-CBOR this reads what our own formats have: no floats, no links. Of policies it reads what `policy` lists. Anything
//! else is refused, never skipped.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};
use tlog::Hash;

use crate::authenticator::WebAuthn;
use crate::cbor::{self, CborError, Value};
use crate::cose::{Key, KeyError};
use crate::did;
use crate::evidence::Reason;
use crate::evidence::varsig::{Algorithm, Varsig};
use crate::evidence::webauthn::Expected;
use crate::limits::DELEGATION_MAX;

pub mod header;
mod policy;

pub use header::Header;
pub use policy::{Order, Selector, Statement};

/// The type of a delegation.
pub const TYPE: &str = "ucan/dlg@1.0.0";
/// The type of a delegation before the specification was final, with the same form.
pub const TYPE_RC1: &str = "ucan/dlg@1.0.0-rc.1";

/// The largest time: 2^53 - 1 seconds.
const TIME_MAX: u64 = (1 << 53) - 1;

/// What a delegation says.
#[derive(Debug, Clone, PartialEq)]
pub struct Payload {
    /// Who delegates: `did:key:...`.
    pub issuer: String,
    /// To whom.
    pub audience: String,
    /// Whose power it is; none: whatever the issuer has.
    pub subject: Option<String>,
    /// What may be done: `/`, or `/name/name`, and everything below.
    pub command: String,
    /// What has to hold for the arguments, as it is written.
    pub policy: Vec<Value>,
    /// Random bytes.
    pub nonce: Vec<u8>,
    /// More about it, which nothing here reads.
    pub meta: Option<Value>,
    /// Not before, seconds since 1970-01-01T00:00Z.
    pub not_before_s: Option<u64>,
    /// Not at this moment or after; none: for ever.
    pub expires_s: Option<u64>,
}

/// A delegation, well-formed. Nothing is said yet about its signature.
#[derive(Debug, Clone, PartialEq)]
pub struct Delegation {
    payload: Payload,
    statements: Vec<Statement>,
    header: Header,
    key: Key,
    kind: &'static str,
    signature: Vec<u8>,
}

/// Why a delegation is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UcanError {
    /// Not the subset of DAG-CBOR that is read here.
    #[error("UCAN: {0}")]
    Cbor(#[from] CborError),
    /// Not the envelope of a delegation, or a member of its payload is not what it should be.
    #[error("UCAN: `{0}` is not what a delegation has")]
    Form(&'static str),
    /// The issuer is no key that is known here.
    #[error("UCAN: issuer: {0}")]
    Issuer(KeyError),
    /// Its policy says something that is not understood.
    #[error("UCAN: the policy says something that is not understood")]
    Policy,
    /// Header or signature.
    #[error("UCAN: signature: {0}")]
    Signature(Reason),
    /// Too early, or too late.
    #[error("UCAN: not valid at this time")]
    Time,
    /// It does not follow from the one before.
    #[error("UCAN: it delegates more than it was delegated, or not to its issuer")]
    Chain,
}

impl Payload {
    fn check(&self) -> Result<(), UcanError> {
        let is_did = |did: &str| did.len() > 4 && did.starts_with("did:");
        if !is_did(&self.audience) {
            return Err(UcanError::Form("aud"));
        }
        if self.subject.as_deref().is_some_and(|subject| !is_did(subject)) {
            return Err(UcanError::Form("sub"));
        }
        // Lower case, as the specification has it, so that one command has one spelling.
        let segment = |name: &str| !name.is_empty() && !name.chars().any(char::is_uppercase);
        let command = self.command.strip_prefix('/').ok_or(UcanError::Form("cmd"))?;
        if !command.is_empty() && !command.split('/').all(segment) {
            return Err(UcanError::Form("cmd"));
        }
        if self.nonce.is_empty() { Err(UcanError::Form("nonce")) } else { Ok(()) }
    }

    fn read(value: &Value) -> Result<Payload, UcanError> {
        let Value::Map(map) = value else { return Err(UcanError::Form("payload")) };
        let known = ["iss", "aud", "sub", "cmd", "pol", "nonce", "meta", "nbf", "exp"];
        if map.iter().any(|(name, _)| !name.as_text().is_some_and(|name| known.contains(&name))) {
            return Err(UcanError::Form("payload"));
        }
        let find = |name: &str| map.iter().find(|(key, _)| key.as_text() == Some(name)).map(|(_, value)| value);
        let text = |name: &'static str| match find(name) {
            Some(Value::Text(text)) => Ok(text.clone()),
            _ => Err(UcanError::Form(name)),
        };
        let time = |name: &'static str, value: &Value| {
            let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
            number.filter(|number| *number <= TIME_MAX).ok_or(UcanError::Form(name))
        };
        let payload = Payload {
            issuer: text("iss")?,
            audience: text("aud")?,
            subject: match find("sub") {
                Some(Value::Null) => None,
                _ => Some(text("sub")?),
            },
            command: text("cmd")?,
            policy: find("pol").and_then(Value::as_array).cloned().ok_or(UcanError::Form("pol"))?,
            nonce: find("nonce").and_then(Value::as_bytes).cloned().ok_or(UcanError::Form("nonce"))?,
            meta: match find("meta") {
                None => None,
                Some(meta @ Value::Map(_)) => Some(meta.clone()),
                Some(_) => return Err(UcanError::Form("meta")),
            },
            not_before_s: find("nbf").map(|value| time("nbf", value)).transpose()?,
            expires_s: match find("exp") {
                Some(Value::Null) => None,
                Some(value) => Some(time("exp", value)?),
                None => return Err(UcanError::Form("exp")),
            },
        };
        payload.check()?;
        Ok(payload)
    }

    fn to_value(&self) -> Value {
        let mut members: Vec<(&str, Value)> = vec![
            ("aud", cbor::text(&self.audience)),
            ("cmd", cbor::text(&self.command)),
            ("exp", self.expires_s.map_or(Value::Null, cbor::uint)),
            ("iss", cbor::text(&self.issuer)),
        ];
        members.extend(self.not_before_s.map(|time| ("nbf", cbor::uint(time))));
        members.push(("pol", Value::Array(self.policy.clone())));
        members.push(("sub", self.subject.as_deref().map_or(Value::Null, cbor::text)));
        // Longer names come behind shorter ones.
        members.extend(self.meta.clone().map(|meta| ("meta", meta)));
        members.push(("nonce", cbor::bytes(&self.nonce)));
        Value::Map(members.into_iter().map(|(name, value)| (cbor::text(name), value)).collect())
    }
}

/// The bytes that are signed: `{h: header, type: payload}`.
pub fn to_be_signed(header: Header, payload: &Payload) -> Vec<u8> {
    cbor::encode(&signed(header, TYPE, payload))
}

/// What a passkey is asked: SHA-256 of the bytes that are signed.
pub fn challenge(to_be_signed: &[u8]) -> Hash {
    Hash(Sha256::digest(to_be_signed).into())
}

fn signed(header: Header, kind: &str, payload: &Payload) -> Value {
    Value::Map(vec![(cbor::text("h"), cbor::bytes(&header.to_bytes())), (cbor::text(kind), payload.to_value())])
}

impl Delegation {
    /// Parses a token.
    ///
    /// # Errors
    /// [`UcanError`].
    pub fn parse(token: &[u8]) -> Result<Delegation, UcanError> {
        let value = cbor::decode(token, DELEGATION_MAX)?;
        let Some([Value::Bytes(signature), Value::Map(map)]) = value.as_array().map(Vec::as_slice) else {
            return Err(UcanError::Form("token"));
        };
        let [(h, Value::Bytes(header)), (kind, payload)] = map.as_slice() else {
            return Err(UcanError::Form("signed"));
        };
        if h.as_text() != Some("h") {
            return Err(UcanError::Form("h"));
        }
        let kind = [TYPE, TYPE_RC1].into_iter().find(|known| kind.as_text() == Some(known));
        let kind = kind.ok_or(UcanError::Form("type"))?;
        let header = Header::parse(header).map_err(UcanError::Signature)?;
        Delegation::new(header, kind, Payload::read(payload)?, signature.clone())
    }

    fn new(header: Header, kind: &'static str, payload: Payload, signature: Vec<u8>) -> Result<Delegation, UcanError> {
        let key = did::key(&payload.issuer).map_err(UcanError::Issuer)?;
        // One name, one spelling: a second one would be a second issuer to whoever compares texts.
        if did::of_key(&key) != payload.issuer {
            return Err(UcanError::Issuer(KeyError::Form));
        }
        if header.algorithm != Algorithm::of(&key) {
            return Err(UcanError::Signature(Reason::Unsupported));
        }
        let statements = policy::parse(&payload.policy).ok_or(UcanError::Policy)?;
        Ok(Delegation { payload, statements, header, key, kind, signature })
    }

    /// A delegation that a plain key has signed. Not verified here.
    ///
    /// # Errors
    /// [`UcanError`] when the payload is none.
    pub fn signed_plainly(payload: Payload, signature: &[u8; 64]) -> Result<Delegation, UcanError> {
        payload.check()?;
        let key = did::key(&payload.issuer).map_err(UcanError::Issuer)?;
        let header = Header { algorithm: Algorithm::of(&key), webauthn: false };
        Delegation::new(header, TYPE, payload, signature.to_vec())
    }

    /// A delegation that a passkey has signed, also one that came as a varsig. Not verified here.
    ///
    /// # Errors
    /// [`UcanError`] when the payload is none, or the assertion is of another algorithm.
    pub fn signed_by_passkey(payload: Payload, assertion: &Varsig) -> Result<Delegation, UcanError> {
        payload.check()?;
        let header = Header { algorithm: assertion.algorithm, webauthn: true };
        Delegation::new(header, TYPE, payload, header::signature_of(assertion))
    }

    /// The token. What was parsed is written as it was.
    pub fn to_bytes(&self) -> Vec<u8> {
        let signed = signed(self.header, self.kind, &self.payload);
        cbor::encode(&Value::Array(vec![cbor::bytes(&self.signature), signed]))
    }

    /// The bytes that were signed.
    pub fn to_be_signed(&self) -> Vec<u8> {
        cbor::encode(&signed(self.header, self.kind, &self.payload))
    }

    /// What it says.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// How it is signed.
    pub fn header(&self) -> Header {
        self.header
    }

    /// The issuer's key.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Its name: CIDv1, base32.
    pub fn cid(&self) -> String {
        // CIDv1, DAG-CBOR, SHA-256, 32 bytes.
        let cid = [&[0x01, 0x71, 0x12, 0x20][..], &Sha256::digest(self.to_bytes())].concat();
        format!("b{}", BASE32_NOPAD.encode(&cid).to_lowercase())
    }

    /// In a passkey's delegation: the assertion, which [`Varsig::to_bytes`] writes as one row of bytes.
    ///
    /// # Errors
    /// [`UcanError::Signature`], also when a plain key signed.
    pub fn assertion(&self) -> Result<Varsig, UcanError> {
        if !self.header.webauthn {
            return Err(UcanError::Signature(Reason::Kind));
        }
        header::assertion_of(self.header.algorithm, &self.signature).map_err(UcanError::Signature)
    }

    /// Verifies signature and time. `passkey` is the issuer's enrolled authenticator, which a passkey's delegation needs: its
    /// relying party, origins and eligibility for backup are nowhere in the token.
    ///
    /// # Errors
    /// [`UcanError::Signature`], then [`UcanError::Time`].
    pub fn verify(&self, now_s: u64, passkey: Option<&WebAuthn>) -> Result<(), UcanError> {
        self.verify_signature(passkey).map_err(UcanError::Signature)?;
        let early = self.payload.not_before_s.is_some_and(|not_before_s| now_s < not_before_s);
        let late = self.payload.expires_s.is_some_and(|expires_s| now_s >= expires_s);
        if early || late { Err(UcanError::Time) } else { Ok(()) }
    }

    fn verify_signature(&self, passkey: Option<&WebAuthn>) -> Result<(), Reason> {
        let signed = self.to_be_signed();
        if !self.header.webauthn {
            return self.key.verify(&self.signature, &signed).map_err(|_| Reason::Signature);
        }
        let passkey = passkey.ok_or(Reason::Key)?;
        if passkey.key != self.key {
            return Err(Reason::Key);
        }
        let expected = Expected {
            challenge: &challenge(&signed).0,
            rp_id: &passkey.rp_id,
            origins: &passkey.origins,
            backup_eligible: passkey.backup_eligible,
            user_verified: true,
        };
        let assertion = header::assertion_of(self.header.algorithm, &self.signature)?;
        assertion.assertion().verify(&passkey.key, &expected).map(|_| ())
    }

    /// Whether these arguments of this command are what it delegates.
    pub fn allows(&self, command: &str, arguments: &Value) -> bool {
        covers(&self.payload.command, command) && self.statements.iter().all(|statement| statement.holds(arguments))
    }

    /// Whether this one follows from another: its issuer is who that one was given to, and it is about the same subject and
    /// no wider command. The policies of both have to hold, each for itself.
    ///
    /// # Errors
    /// [`UcanError::Chain`].
    pub fn follows(&self, before: &Delegation) -> Result<(), UcanError> {
        let (this, that) = (&self.payload, &before.payload);
        let same_subject = that.subject.is_none() || this.subject == that.subject;
        if this.issuer == that.audience && same_subject && covers(&that.command, &this.command) {
            Ok(())
        } else {
            Err(UcanError::Chain)
        }
    }
}

/// Whether a command is this one or below it.
fn covers(whole: &str, part: &str) -> bool {
    let below = |rest: &str| rest.is_empty() || rest.starts_with('/');
    whole == "/" && part.starts_with('/') || part.strip_prefix(whole).is_some_and(below)
}
