//! NFC: the envelope that a person's P-256 card signs when it is tapped.
//!
//! ```text
//! { "operationHash": "64 hex", "participantId": "64 hex",
//!   "nfcSignature": { "curve": "P-256", "publicKey": "130 hex, 04...", "signature": "128 hex, r then s",
//!                     "timestamp": milliseconds, "cardUid": "16 hex" } }
//!
//! the card signs   H("solelog/nfc/v1", [challenge, session, timestamp, cardUid as 8 bytes])      as the digest itself
//! ```
//!
//! Everything in the envelope is under the signature, through the challenge or beside it, and the key has to be the enrolled
//! one: a key that comes with its own signature shows nothing. A UID can be copied; it is compared because it costs nothing.
//!
//! This is the profile for cards that sign with P-256. NTAG 424 cards do not sign at all, and TAPSIGNER signs on another
//! curve; a FIDO2 key that is tapped makes WebAuthn evidence.

use alloc::string::String;
use alloc::vec;

use data_encoding::HEXLOWER_PERMISSIVE as HEX;
use serde::Deserialize;
use tlog::Hash;

use super::{Claims, Context, Reason, check_time};
use crate::authenticator::{Attachment, Nfc};
use crate::cbor::{self, Value};
use crate::ecdsa::Signature;
use crate::limits::ENVELOPE_MAX;
use crate::point::Point;
use crate::tag::tagged;

/// The curve of this profile.
pub const CURVE: &str = "P-256";

/// An envelope as it was written. No member is optional, and none is unknown.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Written {
    operation_hash: String,
    participant_id: String,
    nfc_signature: WrittenSignature,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct WrittenSignature {
    curve: String,
    public_key: String,
    signature: String,
    timestamp: u64,
    card_uid: String,
}

/// An envelope, read.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The operation.
    pub operation_hash: Hash,
    /// Whose card.
    pub participant: Hash,
    /// The key that the envelope says the card has.
    pub key: Point,
    /// The card's signature.
    pub signature: Signature,
    /// When it was tapped.
    pub timestamp_ms: u64,
    /// The card's UID.
    pub card_uid: [u8; 8],
}

impl Envelope {
    /// Parses an envelope.
    ///
    /// # Errors
    /// [`Reason::TooLong`], [`Reason::Malformed`]; [`Reason::Unsupported`] for another curve.
    pub fn parse(json: &[u8]) -> Result<Envelope, Reason> {
        if json.len() > ENVELOPE_MAX {
            return Err(Reason::TooLong);
        }
        let written: Written = serde_json::from_slice(json).map_err(|_| Reason::Malformed)?;
        let signature = written.nfc_signature;
        if signature.curve != CURVE {
            return Err(Reason::Unsupported);
        }
        let key: [u8; 65] = hex(&signature.public_key)?;
        if key.first() != Some(&4) {
            return Err(Reason::Malformed);
        }
        Ok(Envelope {
            operation_hash: Hash(hex(&written.operation_hash)?),
            participant: Hash(hex(&written.participant_id)?),
            key: Point::from_sec1_any(&key).map_err(|_| Reason::Malformed)?,
            signature: Signature::from_bytes(&hex(&signature.signature)?).map_err(|_| Reason::Malformed)?,
            timestamp_ms: signature.timestamp,
            card_uid: hex(&signature.card_uid)?,
        })
    }
}

/// What the card signs, as the digest itself.
pub fn digest(challenge: &Hash, session: &Hash, timestamp_ms: u64, card_uid: &[u8; 8]) -> Hash {
    let whole = Value::Array(vec![
        cbor::bytes(&challenge.0),
        cbor::bytes(&session.0),
        cbor::uint(timestamp_ms),
        cbor::bytes(card_uid),
    ]);
    tagged("solelog/nfc/v1", &cbor::encode(&whole))
}

fn hex<const N: usize>(text: &str) -> Result<[u8; N], Reason> {
    let bytes = HEX.decode(text.as_bytes()).map_err(|_| Reason::Malformed)?;
    bytes.try_into().map_err(|_| Reason::Malformed)
}

pub(super) fn verify(
    context: &Context<'_>,
    card: &Nfc,
    challenge: &Hash,
    blob: &[u8],
    found: Claims,
) -> Result<Claims, Reason> {
    let envelope = Envelope::parse(blob)?;
    if envelope.operation_hash != *context.operation_hash {
        return Err(Reason::Challenge);
    }
    if envelope.participant != *context.participant {
        return Err(Reason::Participant);
    }
    if envelope.key != card.key {
        return Err(Reason::Key);
    }
    if envelope.card_uid != card.card_uid {
        return Err(Reason::Card);
    }
    let digest = digest(challenge, context.session, envelope.timestamp_ms, &envelope.card_uid);
    envelope.signature.verify_digest(&card.key, &digest.0).map_err(|_| Reason::Signature)?;
    check_time(envelope.timestamp_ms, context.entry_ms)?;
    Ok(Claims {
        device_bound: true,
        attachment: Attachment::CrossPlatform,
        made_ms: Some(envelope.timestamp_ms),
        ..found
    })
}
