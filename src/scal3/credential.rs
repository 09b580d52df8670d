//! Credentials: what the provider says, and signs, about a subscriber's keys.
//!
//! ```text
//! credential = 18([ h'a10126', {}, claims, signature: bstr .size 64 ])     COSE_Sign1, ES256, the provider's issuing key
//! claims     = [ 1, origin: tstr, provider: hash, issuer: tstr, enrolment_id: hash, subject: hash, profile: uint,
//!                joint_key: bstr .size 33, device_type: tstr, device_key: bstr .size 33, ? passkey, shares: hash, kem_key_id: hash,
//!                labels: [hash, hash], attestation: tstr, not_before_ms: uint, not_after_ms: uint,
//!                predecessor: hash / null, ordinal: uint ]
//! device_type "es256", without passkey: profiles 1 and 2          "webauthn", with it: profile 3
//! passkey    = [ rp_id: tstr, origins: [+ tstr], backup_eligible: bool ]
//! id         = H("solelog/credential/v1", claims)
//! ```
//!
//! The id commits to the joint key and stands inside every signed message. Plain EC-SDSA does not hash the public key,
//! so without the id a signature could be shifted to a related key. The id names the claims, not the signed bytes:
//! anyone can turn one ES256 signature into a second one.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use tlog::Hash;

use crate::authenticator::origins;
use crate::cbor::{self, CborError, Fault, Parts, ShapeError, Value};
use crate::cose::{self, CoseError, Key};
use crate::evidence::Reason;
use crate::evidence::varsig::Varsig;
use crate::evidence::webauthn::{self, Expected};
use crate::limits::{CREDENTIAL_MAX, ORIGIN_MAX};
use crate::point::{EncodingError, Point};
use crate::profile::Profile;
use crate::tag::{tagged, tagged_parts};

/// The protected header `{1: -7}`: the algorithm is ES256.
const PROTECTED: [u8; 3] = [0xa1, 0x01, 0x26];

/// A device key that signs what it is given: P-256, SHA-256, r || s.
const DEVICE_TYPE: &str = "es256";
/// A device key that signs as a browser has it sign: the same, around a WebAuthn assertion.
const DEVICE_TYPE_PASSKEY: &str = "webauthn";

/// What a credential says. Times are milliseconds since 1970-01-01T00:00Z.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The log that this credential's records go to.
    pub origin: String,
    /// The hash of the issuing key: [`provider_id`].
    pub provider: Hash,
    /// The provider's name.
    pub issuer: String,
    /// The enrolment it came from.
    pub enrolment_id: Hash,
    /// A pseudonym, 32 random bytes.
    pub subject: Hash,
    /// The form of the records of the joint key.
    pub profile: Profile,
    /// The public key of subscriber and provider together, a compressed point.
    pub joint_key: [u8; 33],
    /// The public key of the device, a compressed point.
    pub device_key: [u8; 33],
    /// In profile 3, and only there: what the device key is used for, and where. It is enrolled for this credential alone,
    /// so whatever else it is asked to sign, such as a login, authorises nothing.
    pub passkey: Option<Passkey>,
    /// [`shares_hash`] of the two shares, which are stored apart.
    pub shares: Hash,
    /// Which user-specific key the provider's share is sealed to.
    pub kem_key_id: Hash,
    /// The labels of stream 0 and stream 1: [`crate::index_key::StreamKey::label`].
    pub labels: [Hash; 2],
    /// What is known of the device's attestation.
    pub attestation: String,
    /// Not valid before this moment.
    pub not_before_ms: u64,
    /// Not valid after this moment.
    pub not_after_ms: u64,
    /// The credential that this one succeeds.
    pub predecessor: Option<Hash>,
    /// How many credentials this person had before.
    pub ordinal: u64,
}

/// A device key that lives behind a browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passkey {
    /// The relying party.
    pub rp_id: String,
    /// The origins that may ask it, at most 8.
    pub origins: Vec<String>,
    /// Whether it can be backed up. That never changes.
    pub backup_eligible: bool,
}

/// A credential whose signature was verified. There is no other way to get one from bytes that somebody sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    claims: Claims,
    id: Hash,
    joint_key: Point,
    device_key: Point,
    bytes: Vec<u8>,
}

/// The key with which a provider signs credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IssuingKey(Point);

/// Why bytes are not a credential of this provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// Not a COSE_Sign1: another tag, or none.
    #[error("credential: no COSE_Sign1 tag")]
    Tag,
    /// Not deterministic CBOR of the subset.
    #[error("credential: {0}")]
    Cbor(#[from] CborError),
    /// Not the array of the CDDL.
    #[error("credential: {0}")]
    Shape(#[from] ShapeError),
    /// Headers other than the one that says ES256.
    #[error("credential: headers other than ES256")]
    Headers,
    /// A validity that ends before it begins.
    #[error("credential: the validity ends before it begins")]
    Validity,
    /// A key that is no point of the curve.
    #[error("credential: {part}: {error}")]
    Point {
        /// Which key.
        part: &'static str,
        /// What is wrong with it.
        error: EncodingError,
    },
    /// The claims name another provider than the issuing key.
    #[error("credential: another provider's")]
    Provider,
    /// The provider's signature does not verify.
    #[error("credential: the provider's signature does not verify")]
    Signature,
}

impl CredentialError {
    /// A short stable name of the refusal, the one that `schemas/vectors` use.
    pub fn code(&self) -> String {
        match self {
            CredentialError::Tag => "tag".into(),
            CredentialError::Cbor(error) => error.code().into(),
            CredentialError::Shape(error) => error.code(),
            CredentialError::Headers => "headers".into(),
            CredentialError::Validity => "validity".into(),
            CredentialError::Point { part, .. } => format!("point/{part}"),
            CredentialError::Provider => "provider".into(),
            CredentialError::Signature => "signature".into(),
        }
    }
}

impl IssuingKey {
    /// Reads the compressed point.
    pub fn parse(bytes: &[u8]) -> Result<IssuingKey, EncodingError> {
        Point::parse(bytes).map(IssuingKey)
    }

    /// The compressed point.
    pub fn as_bytes(&self) -> &[u8; 33] {
        self.0.as_bytes()
    }

    /// The provider's id.
    pub fn provider(&self) -> Hash {
        provider_id(self.as_bytes())
    }
}

impl Claims {
    /// Parses the payload of a credential.
    pub fn parse(bytes: &[u8]) -> Result<Claims, CredentialError> {
        let mut parts = Parts::new("claims", cbor::decode(bytes, CREDENTIAL_MAX)?)?;
        parts.constant("version", 1)?;
        let passkey;
        let claims = Claims {
            origin: parts.bounded_text("origin", ORIGIN_MAX)?,
            provider: parts.hash("provider")?,
            issuer: parts.text("issuer")?,
            enrolment_id: parts.hash("enrolment_id")?,
            subject: parts.hash("subject")?,
            profile: Profile::parse(parts.uint("profile")?)?,
            joint_key: parts.point("joint_key")?,
            device_key: {
                let device_type = parts.text("device_type")?;
                let key = parts.point("device_key")?;
                passkey = match device_type.as_str() {
                    DEVICE_TYPE => None,
                    DEVICE_TYPE_PASSKEY => Some(Passkey::read(&mut parts)?),
                    _ => return Err(ShapeError { part: "device_type", fault: Fault::Value }.into()),
                };
                key
            },
            passkey,
            shares: parts.hash("shares")?,
            kem_key_id: parts.hash("kem_key_id")?,
            labels: {
                let mut labels = parts.array("labels")?;
                let both = [labels.hash("labels")?, labels.hash("labels")?];
                labels.end()?;
                both
            },
            attestation: parts.text("attestation")?,
            not_before_ms: parts.uint("not_before_ms")?,
            not_after_ms: parts.uint("not_after_ms")?,
            predecessor: parts.hash_or_null("predecessor")?,
            ordinal: parts.uint("ordinal")?,
        };
        parts.end()?;
        if claims.passkey.is_some() != (claims.profile == Profile::Passkey) {
            return Err(ShapeError { part: "device_type", fault: Fault::Value }.into());
        }
        if claims.not_after_ms < claims.not_before_ms {
            return Err(CredentialError::Validity);
        }
        Ok(claims)
    }

    /// The one spelling of these claims.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut parts = vec![
            cbor::uint(1),
            cbor::text(&self.origin),
            cbor::bytes(&self.provider.0),
            cbor::text(&self.issuer),
            cbor::bytes(&self.enrolment_id.0),
            cbor::bytes(&self.subject.0),
            cbor::uint(self.profile.number()),
            cbor::bytes(&self.joint_key),
            cbor::text(if self.passkey.is_some() { DEVICE_TYPE_PASSKEY } else { DEVICE_TYPE }),
            cbor::bytes(&self.device_key),
        ];
        parts.extend(self.passkey.as_ref().map(Passkey::to_value));
        parts.extend([
            cbor::bytes(&self.shares.0),
            cbor::bytes(&self.kem_key_id.0),
            Value::Array(self.labels.iter().map(|label| cbor::bytes(&label.0)).collect()),
            cbor::text(&self.attestation),
            cbor::uint(self.not_before_ms),
            cbor::uint(self.not_after_ms),
            cbor::hash_or_null(self.predecessor.as_ref()),
            cbor::uint(self.ordinal),
        ]);
        cbor::encode(&Value::Array(parts))
    }

    /// The credential's id.
    pub fn id(&self) -> Hash {
        credential_id(&self.to_bytes())
    }

    /// What the provider signs, with ECDSA over P-256 and SHA-256.
    pub fn to_be_signed(&self) -> Vec<u8> {
        let protected = coset::ProtectedHeader {
            original_data: Some(PROTECTED.to_vec()),
            header: coset::HeaderBuilder::new().algorithm(coset::iana::Algorithm::ES256).build(),
        };
        coset::sig_structure_data(coset::SignatureContext::CoseSign1, protected, None, &[], &self.to_bytes())
    }

    /// The credential, once the provider has signed [`Claims::to_be_signed`]. Not checked here: [`Credential::open`].
    pub fn with_signature(&self, signature: &[u8; 64]) -> Vec<u8> {
        let mut bytes = vec![cose::TAG];
        bytes.extend(cbor::encode(&Value::Array(vec![
            cbor::bytes(&PROTECTED),
            Value::Map(Vec::new()),
            cbor::bytes(&self.to_bytes()),
            cbor::bytes(signature),
        ])));
        bytes
    }
}

impl Passkey {
    /// Whether that is an answer to this challenge: asked where it may be asked, with somebody there. Says nothing of the
    /// signature.
    ///
    /// # Errors
    /// The first [`Reason`].
    pub fn was_asked(&self, assertion: &Varsig, challenge: &Hash) -> Result<(), Reason> {
        let expected = Expected {
            challenge: &challenge.0,
            rp_id: &self.rp_id,
            origins: &self.origins,
            backup_eligible: self.backup_eligible,
            // The PIN is the second factor; a device that asks for one more is welcome to.
            user_verified: false,
        };
        webauthn::read(&assertion.authenticator_data, &assertion.client_data, &expected).map(|_| ())
    }

    fn read(parts: &mut Parts) -> Result<Passkey, ShapeError> {
        let mut passkey = parts.array("passkey")?;
        let read = Passkey {
            rp_id: passkey.bounded_text("rp_id", ORIGIN_MAX)?,
            origins: origins(&mut passkey)?,
            backup_eligible: passkey.flag("backup_eligible")?,
        };
        passkey.end()?;
        Ok(read)
    }

    fn to_value(&self) -> Value {
        Value::Array(vec![
            cbor::text(&self.rp_id),
            Value::Array(self.origins.iter().map(|origin| cbor::text(origin)).collect()),
            Value::Bool(self.backup_eligible),
        ])
    }
}

impl Credential {
    /// Parses a credential and verifies that `key` signed it.
    pub fn open(bytes: &[u8], key: &IssuingKey) -> Result<Credential, CredentialError> {
        let credential = Credential::read(bytes)?;
        if credential.claims.provider != key.provider() {
            return Err(CredentialError::Provider);
        }
        cose::verify_sign1(bytes, &[], &Key::Es256(key.0)).map_err(|error| match error {
            CoseError::Cbor(error) => CredentialError::Cbor(error),
            _ => CredentialError::Signature,
        })?;
        Ok(credential)
    }

    /// Which provider these bytes say they are from, so that its key can be found. Nothing else of them counts before
    /// [`Credential::open`].
    pub fn claimed_provider(bytes: &[u8]) -> Result<Hash, CredentialError> {
        Ok(Credential::read(bytes)?.claims.provider)
    }

    /// Reads back a credential that this program itself stored after it had opened it: everything is checked but the
    /// signature, which is not verified again. Never for bytes from anywhere else.
    pub fn from_own_store(bytes: &[u8]) -> Result<Credential, CredentialError> {
        Credential::read(bytes)
    }

    /// A credential of which nobody has verified that the provider signed it: keys to try signatures with, and for nothing
    /// else.
    pub(crate) fn unverified(bytes: &[u8]) -> Result<Credential, CredentialError> {
        Credential::read(bytes)
    }

    fn read(bytes: &[u8]) -> Result<Credential, CredentialError> {
        if bytes.len() > CREDENTIAL_MAX {
            return Err(CborError::TooLong { len: bytes.len(), max: CREDENTIAL_MAX }.into());
        }
        let Some((&cose::TAG, array)) = bytes.split_first() else {
            return Err(CredentialError::Tag);
        };
        let mut parts = Parts::new("credential", cbor::decode(array, CREDENTIAL_MAX)?)?;
        let protected = parts.bytes("protected")?;
        match parts.value("unprotected")? {
            Value::Map(unprotected) if unprotected.is_empty() && protected == PROTECTED => {}
            Value::Map(_) => return Err(CredentialError::Headers),
            _ => {
                return Err(ShapeError { part: "unprotected", fault: Fault::Type }.into());
            }
        }
        let payload = parts.bytes("claims")?;
        parts.fixed::<64>("signature")?;
        parts.end()?;
        let claims = Claims::parse(&payload)?;
        let point = |part, bytes| Point::from_bytes(bytes).map_err(|error| CredentialError::Point { part, error });
        Ok(Credential {
            id: credential_id(&payload),
            joint_key: point("joint_key", &claims.joint_key)?,
            device_key: point("device_key", &claims.device_key)?,
            claims,
            bytes: bytes.to_vec(),
        })
    }

    /// What it says.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Its id: the hash of the claims.
    pub fn id(&self) -> Hash {
        self.id
    }

    /// The joint key, ready to compute with.
    pub fn joint_key(&self) -> &Point {
        &self.joint_key
    }

    /// The device key, ready to compute with.
    pub fn device_key(&self) -> &Point {
        &self.device_key
    }

    /// The bytes as the provider signed them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// `H("solelog/credential/v1", claims)`.
pub fn credential_id(claims: &[u8]) -> Hash {
    tagged("solelog/credential/v1", claims)
}

/// `H("solelog/provider/v1", issuing key)`: a provider is known by the key it signs with.
pub fn provider_id(issuing_key: &[u8; 33]) -> Hash {
    tagged("solelog/provider/v1", issuing_key)
}

/// `H("solelog/shares/v1", blinded || sealed)`: the subscriber's blinded share, 32 bytes, and the provider's sealed one.
pub fn shares_hash(blinded: &[u8; 32], sealed: &[u8]) -> Hash {
    tagged_parts("solelog/shares/v1", &[blinded, sealed])
}
