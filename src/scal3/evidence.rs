//! Evidence: what shows, besides the two factors, that a participant means this operation.
//!
//! ```text
//! item      = [ kind: tstr, participant: hash, authenticator: hash, blob: bstr ]              in the opening of a record
//! challenge = H("solelog/evidence/v1", [kind: tstr, operation_hash, participant, authenticator])
//!
//! kind       the blob is                                                       what it proves
//! webauthn   [1, authenticator data, client data, signature]                   a passkey signed the challenge
//! varsig     the same assertion as one row of bytes                            the same
//! bio        a COSE_Sign1 over a CWT whose nonce is the challenge              a device says it matched its person
//! nfc        a JSON envelope that signs challenge, session, time and card      an enrolled card was there
//! otp        [1, challenge, step, checked_ms]                                  nothing: the server vouches for it
//! ```
//!
//! The challenge is a function of what is logged, so whoever has the opening computes it again, years later. It names kind,
//! participant and authenticator: evidence for another operation, person, class, log or purpose never verifies.
//!
//! Everything is judged at the time of the entry, which the caller gives: there is no clock here.

use alloc::string::String;
use alloc::vec;

use tlog::Hash;

use crate::authenticator::{About, Attachment, Claims as Enrolled, Purpose};
use crate::cbor::{self, Value};
use crate::point::Point;
use crate::tag::tagged;

pub mod bio;
mod kind;
pub mod nfc;
pub mod otp;
mod reason;
pub mod varsig;
pub mod webauthn;

pub use kind::Kind;
pub use reason::Reason;

/// How far the time in a piece of evidence may be from the time of its entry, either way.
pub const EVIDENCE_TOLERANCE_MS: u64 = 300_000;

/// What a piece of evidence has to be for.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The origin of the log.
    pub origin: &'a str,
    /// [`crate::metadata::operation_hash`] of the record.
    pub operation_hash: &'a Hash,
    /// The instruction.
    pub instruction_id: &'a Hash,
    /// The session in which it is authorised: the provider's challenge in the metadata, or a group's session.
    pub session: &'a Hash,
    /// Whose evidence it has to be.
    pub participant: &'a Hash,
    /// The authenticator that has to have made it, as enrolled. Whether it is still enrolled is the caller's to know.
    pub authenticator: &'a Enrolled,
    /// The last counter that this authenticator showed, if it ever did.
    pub last_count: Option<u64>,
    /// The device key of the credential that authorises: two factors stay two.
    pub device_key: &'a Point,
    /// The time of the entry.
    pub entry_ms: u64,
}

/// What a verified piece of evidence shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The kind.
    pub kind: Kind,
    /// Whose it is.
    pub participant: Hash,
    /// Which authenticator made it.
    pub authenticator: Hash,
    /// Whether somebody only says that it was verified.
    pub vouched: bool,
    /// Whether the authenticator verified its person. By a PIN, perhaps: a web site is not told.
    pub user_verified: bool,
    /// Whether the key stays in one device, as far as it says.
    pub device_bound: bool,
    /// What is known of the authenticator's attestation; `none` when nothing is.
    pub attestation: String,
    /// What the authenticator hangs on.
    pub attachment: Attachment,
    /// How the person was matched, where the kind tells: bits of [`bio::Modality`].
    pub modalities: u64,
    /// Whether the device says that it can't be debugged since it was started.
    pub debug_disabled: bool,
    /// When it was made, where the kind tells.
    pub made_ms: Option<u64>,
    /// The authenticator's counter, where it counts.
    pub count: Option<u64>,
    /// Whether the counter went back: a sign, and no proof, that there are two of the authenticator. It never counts for
    /// a policy.
    pub clone_suspected: bool,
}

/// What the authenticator has to sign: `H("solelog/evidence/v1", [kind, operation_hash, participant, authenticator])`.
pub fn challenge(kind: Kind, operation_hash: &Hash, participant: &Hash, authenticator: &Hash) -> Hash {
    let whole = Value::Array(vec![
        cbor::text(kind.name()),
        cbor::bytes(&operation_hash.0),
        cbor::bytes(&participant.0),
        cbor::bytes(&authenticator.0),
    ]);
    tagged("solelog/evidence/v1", &cbor::encode(&whole))
}

/// Verifies one piece of evidence.
///
/// # Errors
/// The first [`Reason`], in their order.
pub fn verify(kind: Kind, context: &Context<'_>, blob: &[u8]) -> Result<Claims, Reason> {
    let enrolled = context.authenticator;
    if !enrolled.about.makes(kind) {
        return Err(Reason::Kind);
    }
    if enrolled.participant != *context.participant {
        return Err(Reason::Participant);
    }
    if enrolled.purpose != Purpose::Sign {
        return Err(Reason::Purpose);
    }
    if enrolled.about.key_bytes() == context.device_key.as_bytes() {
        return Err(Reason::DeviceKey);
    }
    let id = enrolled.id();
    let challenge = challenge(kind, context.operation_hash, context.participant, &id);
    let found = Claims {
        kind,
        participant: *context.participant,
        authenticator: id,
        vouched: kind.is_vouched(),
        user_verified: false,
        device_bound: false,
        attestation: enrolled.attestation.clone(),
        attachment: Attachment::Unknown,
        modalities: 0,
        debug_disabled: false,
        made_ms: None,
        count: None,
        clone_suspected: false,
    };
    match (kind, &enrolled.about) {
        (Kind::WebAuthn, About::WebAuthn(passkey)) => webauthn::verify(context, passkey, &challenge, blob, found),
        (Kind::Varsig, About::WebAuthn(passkey)) => varsig::verify(context, passkey, &challenge, blob, found),
        (Kind::Bio, About::Bio(device)) => bio::verify(context, device, &challenge, blob, found),
        (Kind::Nfc, About::Nfc(card)) => nfc::verify(context, card, &challenge, blob, found),
        (Kind::Otp, About::Otp(generator)) => otp::verify(context, generator, &challenge, blob, found),
        _ => Err(Reason::Kind),
    }
}

/// Whether the two times are near enough.
fn check_time(made_ms: u64, entry_ms: u64) -> Result<(), Reason> {
    if made_ms.abs_diff(entry_ms) <= EVIDENCE_TOLERANCE_MS { Ok(()) } else { Err(Reason::Time) }
}

/// Whether a counter that never stands still went up.
fn check_count(count: u64, last: Option<u64>) -> Result<(), Reason> {
    if last.is_none_or(|last| count > last) { Ok(()) } else { Err(Reason::Counter) }
}
