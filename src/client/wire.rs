//! The JSON that device and provider exchange. Hashes are 64 lower-case hex digits, other bytes base64, times milliseconds
//! since 1970. Members that we do not know are refused: what they mean might matter.

use scal3::Hash;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::base64::Bytes;

/// A hash, written as hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hex(pub Hash);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0.to_hex())
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Hex, D::Error> {
        let text = String::deserialize(from)?;
        Hash::from_hex(&text).map(Hex).ok_or_else(|| D::Error::custom("not 64 lower-case hex digits"))
    }
}

/// Exactly N bytes, written as base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exactly<const N: usize>(pub [u8; N]);

impl<const N: usize> Serialize for Exactly<N> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Bytes(self.0.to_vec()).serialize(to)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Exactly<N> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Exactly<N>, D::Error> {
        let Bytes(bytes) = Bytes::deserialize(from)?;
        bytes.try_into().map(Exactly).map_err(|_| D::Error::custom(format_args!("not {N} bytes")))
    }
}

/// How long an append is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Durable at an index.
    Sequenced,
    /// A signed head covers it.
    Integrated,
    /// The published checkpoint covers it, with its quorum of cosignatures.
    Witnessed,
}

impl Level {
    /// The word in a query.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Level::Sequenced => "sequenced",
            Level::Integrated => "integrated",
            Level::Witnessed => "witnessed",
        }
    }
}

/// What a provider's backend asks for, to let a person enrol.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InviteRequest {
    /// The credential that the new one succeeds.
    pub predecessor: Option<Hex>,
    /// Whether that one can't speak for it, so that the provider will.
    pub recovery: bool,
}

/// What a person's device needs to enrol. The provider's backend gets it, and hands it to the device.
///
/// Whoever has the ticket can enrol in the person's place, so `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invitation {
    /// The number of the enrolment.
    pub enrolment_id: Hex,
    /// The log that the records will go to.
    pub origin: String,
    /// The provider's name.
    pub issuer: String,
    /// The hash of its issuing key.
    pub provider: Hex,
    /// The key that the provider's share is sealed to.
    pub kem_key: Exactly<33>,
    /// Shows that this person was invited.
    pub ticket: Bytes,
    /// Until when.
    pub expires_ms: u64,
    /// Where the provider takes passkeys: the options for `navigator.credentials.create()`, `{"publicKey": …}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration: Option<serde_json::Value>,
}

impl std::fmt::Debug for Invitation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Invitation")
            .field("enrolment_id", &self.enrolment_id)
            .field("origin", &self.origin)
            .field("expires_ms", &self.expires_ms)
            .finish_non_exhaustive()
    }
}

/// What the device sends to enrol. Not printed: it has the label secret.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolRequest {
    /// From the invitation.
    pub ticket: Bytes,
    /// The form of its records: 1, 2 or 3.
    pub profile: u64,
    /// The joint key.
    pub joint_key: Exactly<33>,
    /// The subscriber's blinded share.
    pub blinded: Exactly<32>,
    /// The provider's sealed share.
    pub sealed: Exactly<185>,
    /// The device.
    pub device: EnrolDevice,
    /// The secret of the two streams, drawn by the device.
    pub label_secret: Exactly<32>,
}

/// The device that enrols.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolDevice {
    /// Its key.
    pub key: Exactly<33>,
    /// Its signature over the enrolment's hash.
    pub proof: Bytes,
    /// Of a key behind a browser: what `navigator.credentials.create()` answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration: Option<serde_json::Value>,
}

/// What became of an enrolment.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolAnswer {
    /// The credential (COSE_Sign1). `null` for a successor that its predecessor has not authorised yet.
    pub credential: Option<Bytes>,
    /// What it will say, while there is no credential.
    pub claims: Option<Bytes>,
    /// Its id.
    pub id: Hex,
    /// Its entry in the log, when there is a credential.
    pub issued: Option<AppendAnswer>,
}

/// What a device signed with its key alone, and when.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ByDevice {
    /// The device's clock.
    pub time_ms: u64,
    /// Its signature: r || s, or a passkey's varsig.
    pub signature: Bytes,
}

/// Asks for a challenge to authorise an instruction with.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntentRequest {
    /// The credential.
    pub credential: Hex,
    /// The instruction, as presented.
    pub instruction: Bytes,
    /// That the device asks.
    pub device: Option<ByDevice>,
}

/// A challenge, and what the provider says the record's metadata must be.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntentAnswer {
    /// The hash of the challenge.
    pub id: Hex,
    /// The id of the instruction.
    pub instruction_id: Hex,
    /// What to answer.
    pub challenge: ChallengeAnswer,
    /// What the metadata must say.
    pub metadata: MetadataAnswer,
    /// Which evidence is needed besides the two factors.
    pub needs: Vec<serde_json::Value>,
    /// The provider's newest head.
    pub head: HeadAnswer,
    /// The server's clock.
    pub time_ms: u64,
}

/// A challenge.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChallengeAnswer {
    /// Random.
    pub random: Exactly<32>,
    /// The provider's commitments.
    pub commitment: Exactly<66>,
    /// Until when it can be answered.
    pub expires_ms: u64,
}

/// What the metadata must say.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetadataAnswer {
    /// The log.
    pub origin: String,
    /// The provider.
    pub provider: Hex,
    /// The credential.
    pub credential: Hex,
    /// Its next sequence number.
    pub sequence: u64,
    /// What comes before.
    pub previous: Hex,
    /// The policy in force.
    pub policy: Hex,
    /// The class of the instruction.
    pub class: String,
}

/// A signed head.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadAnswer {
    /// Entries under it.
    pub size: u64,
    /// Its root.
    pub root: Exactly<32>,
    /// The signed note.
    pub checkpoint: String,
}

/// An answer to a challenge.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthoriseRequest {
    /// The record's metadata.
    pub metadata: Bytes,
    /// The pass.
    pub pass: Bytes,
    /// Evidence besides the two factors.
    pub evidence: Vec<serde_json::Value>,
}

/// An instruction that is in the log.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthoriseAnswer {
    /// Where.
    pub record: AppendAnswer,
    /// What the provider did about it.
    #[serde(default)]
    pub outcome: Option<OutcomeAnswer>,
}

/// What the provider did about an instruction. It says so; the entry at `index` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutcomeAnswer {
    /// `executed` or `blocked`.
    pub name: String,
    /// The entry of the outcome.
    pub index: u64,
    /// The instruction.
    pub about: Hex,
    /// What it gave.
    pub result: Option<Bytes>,
}

/// Stops a credential.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopRequest {
    /// Why, in words that go into the log's opening.
    pub reason: String,
    /// That the device asks.
    pub device: Option<ByDevice>,
}

/// What was appended.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppendAnswer {
    /// Its place in the log.
    pub index: u64,
    /// Whether the log already had it.
    pub existing: bool,
    /// How far it has come.
    pub reached: Level,
    /// The time of its round.
    pub time_ms: u64,
    /// The entry.
    pub entry: Bytes,
    /// Its leaf hash.
    pub leaf_hash: Exactly<32>,
    /// The signed head that covers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<HeadAnswer>,
    /// The inclusion proof under that head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inclusion: Option<Vec<Exactly<32>>>,
    /// Where its receipt is.
    pub receipt: String,
}

/// That one tree is the beginning of another.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsistencyAnswer {
    /// The size of the older tree.
    pub old: u64,
    /// Its root, as the server has it.
    pub old_root: Exactly<32>,
    /// The size of the newer tree.
    pub new: u64,
    /// Its root, as the server has it.
    pub new_root: Exactly<32>,
    /// The proof.
    pub hashes: Vec<Exactly<32>>,
}

/// What `GET /v1/records/{index}` says, as far as an auditor asks.
#[derive(Debug, Deserialize)]
pub(crate) struct RecordAnswer {
    pub opening: OpeningAnswer,
}

#[derive(Debug, Deserialize)]
pub(crate) struct OpeningAnswer {
    pub state: OpeningState,
}

/// Whether an opening is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OpeningState {
    /// It is.
    Shown,
    /// Not to whoever asks.
    Restricted,
    /// It is gone: the entry stands, and nobody can say any more what it commits to.
    Erased,
    /// There is none: the entry carries its body.
    Public,
}
