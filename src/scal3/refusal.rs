//! Refusals: why an opening is not an authorisation, one variant for each check of [`crate::verify`].

use crate::batch::Broken;
use crate::ecdsa::BadSignature;
use crate::evidence::Reason;
use crate::instruction::InstructionError;
use crate::opening::OpeningError;
use crate::policy::Denial;
use crate::record::RecordError;
use crate::schnorr::JointError;
use crate::state::SUCCESSORS_MAX;

/// Why an opening is not an authorisation: the check that failed, and how. In the order of checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The bytes are no opening of a record.
    #[error("parse: {0}")]
    Parse(#[from] ParseRefusal),
    /// The credential is another one, of elsewhere, or may not act.
    #[error("credential: {0}")]
    Credential(#[from] CredentialRefusal),
    /// The one-time key did not sign the device signature.
    #[error("binding: {0}")]
    Binding(BadSignature),
    /// In profile 3: the device was asked something else, or elsewhere.
    #[error("device: {0}")]
    Assertion(Reason),
    /// The device did not sign challenge and checksum.
    #[error("device: {0}")]
    Device(BadSignature),
    /// The joint key did not sign the message.
    #[error("joint: {0}")]
    Joint(JointRefusal),
    /// The record does not belong at this place in the log.
    #[error("metadata: {0}")]
    Metadata(#[from] MetadataRefusal),
    /// What the policy in force asks for besides the two factors.
    #[error("evidence: {0}")]
    Evidence(#[from] EvidenceRefusal),
}

/// Why bytes are no opening of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseRefusal {
    /// The opening.
    #[error(transparent)]
    Opening(#[from] OpeningError),
    /// The record in it.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A seen size that no tree has.
    #[error("the seen size is beyond 2^63 - 1")]
    SeenSize,
    /// The shown fields contradict the class.
    #[error(transparent)]
    Shown(#[from] InstructionError),
    /// The shown fields belong to another instruction than the one signed.
    #[error("the fields shown are those of another instruction")]
    OtherInstruction,
}

/// Why a credential may not stand behind a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialRefusal {
    /// The record names another credential, or one that is not in the log.
    #[error("the record is of another credential")]
    Other,
    /// Record or credential is for another log.
    #[error("for another log")]
    Origin,
    /// The record names another provider than the credential.
    #[error("of another provider")]
    Provider,
    /// The joint key makes records of another profile.
    #[error("of another profile")]
    Profile,
    /// The entry that issued the credential is no entry before this one.
    #[error("issued by entry {issued_at}, the record is entry {index}")]
    NotIssued {
        /// The index of the credential's entry.
        issued_at: u64,
        /// The place.
        index: u64,
    },
    /// Before the validity of the credential.
    #[error("not yet valid")]
    NotYetValid,
    /// After the validity of the credential.
    #[error("no longer valid")]
    Expired,
    /// Suspended at this place in the log.
    #[error("suspended")]
    Suspended,
    /// Revoked at this place in the log.
    #[error("revoked")]
    Revoked,
    /// A successor for which neither its predecessor nor a logged recovery speaks.
    #[error("a successor that neither its predecessor nor a recovery vouches for")]
    Successor,
}

/// Why the joint signature does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JointRefusal {
    /// R is the identity.
    #[error("the commitment is the identity")]
    Identity,
    /// The challenge recomputed is another one.
    #[error("the Schnorr signature does not verify")]
    Mismatch,
}

/// Why evidence besides the two factors is refused. `item` counts from 0, in the order of the opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceRefusal {
    /// Evidence of a kind this version can't verify. To let it pass would log it as verified.
    #[error("item {item} is of a kind that this version does not know")]
    UnknownKind {
        /// Which item.
        item: usize,
    },
    /// Evidence that the policy neither needs nor observes.
    #[error("item {item} is of a kind that the policy does not ask for")]
    NotAsked {
        /// Which item.
        item: usize,
    },
    /// Evidence of somebody who has no part in this.
    #[error("item {item} is of somebody who does not sign")]
    Participant {
        /// Which item.
        item: usize,
    },
    /// Evidence by the same authenticator as an earlier item's.
    #[error("item {item} is of an authenticator that made an earlier one")]
    Twice {
        /// Which item.
        item: usize,
    },
    /// Evidence by an authenticator that the log does not have.
    #[error("item {item} is of an authenticator that is not enrolled")]
    UnknownAuthenticator {
        /// Which item.
        item: usize,
    },
    /// The policy in force denies it, or needs more.
    #[error(transparent)]
    Policy(#[from] Denial),
}

impl EvidenceRefusal {
    /// A short stable name of what is wrong.
    pub const fn code(&self) -> &'static str {
        match self {
            EvidenceRefusal::UnknownKind { .. } => "unknown-kind",
            EvidenceRefusal::NotAsked { .. } => "not-asked",
            EvidenceRefusal::Participant { .. } => "participant",
            EvidenceRefusal::Twice { .. } => "twice",
            EvidenceRefusal::UnknownAuthenticator { .. } => "unknown-authenticator",
            EvidenceRefusal::Policy(denial) => denial.code(),
        }
    }
}

/// Why a record does not belong at this place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MetadataRefusal {
    /// It came too late.
    #[error("expired at {expires_ms}, the entry is of {entry_ms}")]
    Expired {
        /// Until when the record may enter.
        expires_ms: u64,
        /// The time of the entry.
        entry_ms: u64,
    },
    /// The clocks of device and log are too far apart.
    #[error("made at {time_ms}, more than 300 s from the entry's {entry_ms}")]
    Time {
        /// When the device made it.
        time_ms: u64,
        /// The time of the entry.
        entry_ms: u64,
    },
    /// It has seen a tree that is larger than the one it enters.
    #[error("has seen {seen_size} entries, and is entry {index}")]
    SeenAhead {
        /// The size seen.
        seen_size: u64,
        /// The place.
        index: u64,
    },
    /// The head seen was not shown to be on this history.
    #[error("the head it has seen is not shown to be on this history")]
    SeenNotOnHistory,
    /// Not the next record of this credential.
    #[error("sequence {found}, expected {expected}")]
    Sequence {
        /// The next one.
        expected: u64,
        /// The record's.
        found: u64,
    },
    /// It follows another record than the last one.
    #[error("previous is not the last record of this credential")]
    Previous,
    /// Made under another policy than the one in force.
    #[error("another policy is in force")]
    Policy,
    /// The entry is found under another index key.
    #[error("the entry has another index key")]
    IndexKey,
    /// A first record that does not activate, or a later one that does.
    #[error("the first record of a credential activates it, and no other does")]
    Class,
    /// It speaks for one more successor than may wait at a time.
    #[error("{SUCCESSORS_MAX} successors that this credential speaks for are not issued yet")]
    Successors,
    /// The credential is not active.
    #[error("the credential is not active")]
    NotActive,
    /// A record is made by a device that has seen its credential in the log. One that went on naming an older head would
    /// take no part in comparing heads.
    #[error("has seen {seen_size} entries, and the credential is entry {issued_at}")]
    SeenBeforeIssue {
        /// The size seen.
        seen_size: u64,
        /// The index of the credential's entry.
        issued_at: u64,
    },
}

impl MetadataRefusal {
    /// A short stable name of the rule that is broken.
    pub fn code(&self) -> &'static str {
        match self {
            MetadataRefusal::Expired { .. } => "expired",
            MetadataRefusal::Time { .. } => "time",
            MetadataRefusal::SeenAhead { .. } => "seen-ahead",
            MetadataRefusal::SeenNotOnHistory => "seen-not-on-history",
            MetadataRefusal::Sequence { .. } => "sequence",
            MetadataRefusal::Previous => "previous",
            MetadataRefusal::Policy => "policy",
            MetadataRefusal::IndexKey => "index-key",
            MetadataRefusal::Class => "class",
            MetadataRefusal::Successors => "successors",
            MetadataRefusal::NotActive => "not-active",
            MetadataRefusal::SeenBeforeIssue { .. } => "seen-before-issue",
        }
    }
}

impl Refusal {
    /// The name of the check that failed.
    pub fn check(&self) -> &'static str {
        match self {
            Refusal::Parse(_) => "parse",
            Refusal::Credential(_) => "credential",
            Refusal::Binding(_) => "binding",
            Refusal::Device(_) | Refusal::Assertion(_) => "device",
            Refusal::Joint(_) => "joint",
            Refusal::Evidence(_) => "evidence",
            Refusal::Metadata(_) => "metadata",
        }
    }

    /// A short stable name of what is wrong within that check.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::Parse(refusal) => match refusal {
                ParseRefusal::Opening(_) => "opening",
                ParseRefusal::Record(_) => "record",
                ParseRefusal::SeenSize => "seen-size",
                ParseRefusal::Shown(_) => "shown",
                ParseRefusal::OtherInstruction => "other-instruction",
            },
            Refusal::Credential(refusal) => match refusal {
                CredentialRefusal::Other => "other",
                CredentialRefusal::Origin => "origin",
                CredentialRefusal::Provider => "provider",
                CredentialRefusal::Profile => "profile",
                CredentialRefusal::NotIssued { .. } => "not-issued",
                CredentialRefusal::NotYetValid => "not-yet-valid",
                CredentialRefusal::Expired => "expired",
                CredentialRefusal::Suspended => "suspended",
                CredentialRefusal::Revoked => "revoked",
                CredentialRefusal::Successor => "successor",
            },
            Refusal::Binding(_) | Refusal::Device(_) | Refusal::Joint(JointRefusal::Mismatch) => "signature",
            Refusal::Joint(JointRefusal::Identity) => "identity",
            Refusal::Evidence(refusal) => refusal.code(),
            Refusal::Assertion(reason) => reason.code(),
            Refusal::Metadata(refusal) => refusal.code(),
        }
    }
}

impl From<Broken> for Refusal {
    fn from(broken: Broken) -> Refusal {
        match broken {
            Broken::Binding => Refusal::Binding(BadSignature),
            Broken::Device => Refusal::Device(BadSignature),
            Broken::Joint(JointError::Identity) => Refusal::Joint(JointRefusal::Identity),
            Broken::Joint(JointError::Mismatch) => Refusal::Joint(JointRefusal::Mismatch),
        }
    }
}
