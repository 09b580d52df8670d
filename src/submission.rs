//! Submissions: what the log is asked to append, and what it answers.
//!
//! ```text
//! submitted ──► verified ──► sequenced ──► integrated ──► witnessed
//!               (outside)    durable at    a signed head   the published, cosigned
//!                            an index      covers it       checkpoint covers it
//! ```
//!
//! The caller chooses the level to wait for ([`Until`]) and the answer says which one was reached ([`Reached`]).
//! Whatever the level: nothing is answered before the entry, its opening and its key are on stable storage (I-2).

use scal3::Change;
use scal3::attempts::{Attempt, Attempts};
use scal3::authenticator::AuthenticatorError;
use scal3::authenticators::EnrolError;
use scal3::credential::{Credential, CredentialError};
use scal3::event::Detail;
use scal3::fold::PolicyRefusal;
use scal3::index_key::StreamKey;
use scal3::key_change::KeyChange;
use scal3::keys::KeyRefusal;
use scal3::state::{IssueError, Status, TransitionError};
use scal3::verify::{Refusal, Signed};
use tlog::proof::InclusionProof;
use tlog::tree::LeafIndex;
use tlog::{Hash, LeafHash};

use crate::progress::SignedHead;

/// One thing to append. Everything that needs no place in the log was verified before: signatures are checked
/// outside the sequencer, on as many cores as there are.
#[derive(Debug)]
pub enum Submission {
    /// A record whose three signatures verified. The engine itself proves that the head
    /// its device had seen lies on this log's history; the metadata rules are judged in the sequencer, at the place
    /// the record gets.
    Record(Box<Verified>),
    /// A credential signed by an issuing key of this log. It is written as the status entry `issued`.
    Credential(Box<Credential>),
    /// A credential that was enrolled here, together with what the provider keeps of the enrolment: both, or neither.
    Enrolment {
        /// The credential.
        credential: Box<Credential>,
        /// What is kept, sealed: the detail of the first entry of its stream 1.
        kept: Vec<u8>,
        /// The key of that stream.
        stream: StreamKey,
        /// Whether it may be issued although nobody has spoken for it: then it waits for a recovery.
        recovers: bool,
    },
    /// A change of a credential's status, or of its subject's authenticators. An issue or an activation is none: those
    /// follow from others.
    Status {
        /// Whose.
        credential: Hash,
        /// What changes.
        change: Change,
    },
    /// What the provider writes about a subscriber.
    About(About),
    /// A key of the log's provider takes another one's place (kind 8, public). Its signatures are verified in the
    /// sequencer: there are few of them, and whether a key is in force depends on the place.
    KeyChange(Box<KeyChange>),
    /// Another policy comes into force (kind 4, public): its document. A record of class `policy.change`, made under the
    /// policy in force and not more than a day ago, has to name it.
    Policy(Vec<u8>),
    /// A salted event (kind 9): only its commitment is public.
    Event {
        /// The body of the opening: deterministic CBOR of one item.
        body: Vec<u8>,
        /// The subscriber's index key for it, when it is about a subscriber.
        index_key: Option<Hash>,
    },
    /// Forget one opening: an erasure entry (kind 7, whose target only its own opening names), then the opening's
    /// key is overwritten. The entry stays, as does every proof.
    Erasure {
        /// The entry whose opening is erased.
        index: LeafIndex,
        /// Why, for the record.
        reason: String,
    },
}

/// The next entry of the stream that the provider writes about a subscriber. Its place in the stream is the sequencer's to give.
#[derive(Debug)]
pub struct About {
    /// Whom it is about.
    pub credential: Hash,
    /// The key of the stream, which the credential commits to.
    pub stream: StreamKey,
    /// What it says.
    pub said: Said,
}

/// What is said about a subscriber.
#[derive(Debug)]
pub enum Said {
    /// An attempt begins: its challenge is spent with this, and the attempt counted (I-4).
    Started {
        /// The challenge.
        challenge: Hash,
        /// How many attempts there may be.
        allowance: Allowance,
    },
    /// The verdict on the attempt under this challenge.
    Verdict {
        /// The challenge.
        challenge: Hash,
        /// The verdict.
        attempt: Attempt,
        /// How many attempts there may be.
        allowance: Allowance,
    },
    /// What became of an instruction.
    Outcome {
        /// `executed` or `blocked`.
        name: String,
        /// The authorisation that was executed or blocked, by its name, or the instruction that was blocked before it was
        /// authorised. An authorisation has one outcome: said again, or said otherwise, it is answered with the first.
        about: Option<Hash>,
        /// Why.
        reason: Option<String>,
        /// What came of it.
        detail: Option<Vec<u8>>,
    },
    /// Something else that happened.
    Event {
        /// What.
        name: String,
        /// More about it.
        detail: Detail,
    },
}

/// How often the second factor may be wrong before a credential is suspended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Without being right in between.
    pub in_a_row: u64,
    /// Ever.
    pub in_all: u64,
}

impl Allowance {
    /// How often it may still be wrong.
    pub fn left(&self, attempts: &Attempts) -> u64 {
        let (in_a_row, in_all) =
            (self.in_a_row.saturating_sub(attempts.in_a_row), self.in_all.saturating_sub(attempts.in_all));
        in_a_row.min(in_all)
    }
}

/// An opening whose record's signatures verified: the bytes, and what they were found to be. Only the verification pool
/// makes one, so the bytes that are stored are the bytes that were checked.
#[derive(Debug)]
pub struct Verified {
    signed: Signed,
    opening: Vec<u8>,
}

impl Verified {
    /// `signed` must be what this very opening was parsed to.
    pub(crate) fn of(signed: Signed, opening: Vec<u8>) -> Verified {
        Verified { signed, opening }
    }

    /// What was found.
    pub fn signed(&self) -> &Signed {
        &self.signed
    }

    /// The bytes.
    pub fn opening(&self) -> &[u8] {
        &self.opening
    }

    /// Both.
    pub(crate) fn into_parts(self) -> (Signed, Vec<u8>) {
        (self.signed, self.opening)
    }
}

/// How far an append is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Until {
    /// Durable here, at an index.
    Sequenced,
    /// Covered by a head that the log has signed; the answer carries that head and a proof.
    #[default]
    Integrated,
    /// Covered by the published checkpoint, with the quorum of cosignatures that the log's policy asks for.
    Witnessed,
}

/// How far an append has come.
///
/// A log without a quorum in its policy publishes what it integrates, and never says `Witnessed`.
#[derive(Clone, Debug)]
pub enum Reached {
    /// Durable at its index; no signed head is promised yet.
    Sequenced,
    /// A head signed by the log covers it. Not yet cosigned by the quorum.
    Integrated(Covered),
    /// The published checkpoint covers it, with its cosignatures.
    Witnessed(Covered),
}

/// A signed head and the proof that an entry is in it.
#[derive(Clone, Debug)]
pub struct Covered {
    /// The head, as the signed note.
    pub head: SignedHead,
    /// The path from the entry's leaf to the head's root.
    pub proof: InclusionProof,
}

/// The answer to an append.
#[derive(Clone, Debug)]
pub struct Appended {
    /// Its place in the log, for ever.
    pub index: LeafIndex,
    /// The entry as it stands in the log.
    pub entry: Vec<u8>,
    /// Its leaf hash.
    pub leaf_hash: LeafHash,
    /// The time of its round, milliseconds since 1970: the only time its evidence is judged by.
    pub time_ms: u64,
    /// True when the log already had it: the same authorisation again gets the same answer, and the log does not grow.
    pub existing: bool,
    /// How far it has come.
    pub reached: Reached,
}

/// Why nothing was appended. One variant per answer that a caller can act on.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The submission itself does not hold; the inner refusal names the check.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No such credential was issued in this log.
    #[error("this log has not issued the credential {0}")]
    UnknownCredential(Hash),
    /// Another submission already has what this one uses.
    #[error(transparent)]
    Conflict(#[from] Collision),
    /// The same claims were issued before under another signature.
    #[error("the credential was already issued, by the entry {0}")]
    AlreadyIssued(LeafIndex),
    /// The credential breaks a rule of this log.
    #[error(transparent)]
    Credential(#[from] CredentialRefusal),
    /// The key may not take the other one's place.
    #[error(transparent)]
    KeyChange(KeyRefusal),
    /// The log is frozen: nothing comes behind the entry that says so.
    #[error("the log was frozen by entry {at}")]
    Frozen {
        /// Its last entry.
        at: u64,
    },
    /// The claims are those of no authenticator.
    #[error(transparent)]
    Claims(#[from] AuthenticatorError),
    /// The authenticator may not be added or revoked so; or the credential's device key is an authenticator's.
    #[error(transparent)]
    Authenticator(#[from] EnrolError),
    /// The policy may not come into force.
    #[error(transparent)]
    Policy(#[from] PolicyRefusal),
    /// The erasure can't be done.
    #[error(transparent)]
    Erasure(#[from] ErasureRefusal),
    /// The credential may not act now.
    #[error("the credential is {0:?}")]
    Inactive(Status),
    /// The second factor was wrong too often: the credential is suspended.
    #[error("the second factor was wrong too often, and the credential is suspended")]
    OutOfAttempts,
    /// The challenge was answered before.
    #[error("the challenge was answered before, by the attempt at entry {0}")]
    ChallengeSpent(LeafIndex),
    /// The key is not that of the stream, or what is said does not go on where the stream is.
    #[error("not an entry of the provider's stream about this credential: {0}")]
    Stream(&'static str),
    /// The body of an event is not one item of deterministic CBOR, or the opening is larger than the limit.
    #[error("the body of the opening is not acceptable: {0}")]
    Body(BodyRefusal),
    /// More is waiting than the log may hold. Try again after that many seconds.
    #[error("the log is busy; try again in {retry_after_s} s")]
    Full {
        /// For the `Retry-After` header.
        retry_after_s: u64,
    },
    /// The disk has no room for another round. Reads go on, and appends resume by themselves once there is room.
    #[error("the log's disk is full")]
    NoSpace,
    /// The machine's clock is behind the last round; the log's time never goes back.
    #[error("the clock is {behind_ms} ms behind the log's last round")]
    ClockBehind {
        /// By how much.
        behind_ms: u64,
    },
    /// The log is shutting down; nothing was appended.
    #[error("the log is shutting down")]
    ShuttingDown,
    /// The log stopped on a fault it must not work around. Whether this was appended is known after the restart:
    /// send it again and get the same index.
    #[error("the log has stopped; the outcome is known after its restart")]
    Dead,
}

/// What two submissions cannot both have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Collision {
    /// An entry with that index key stands in the log.
    #[error("the index key is already used by the entry {index}")]
    IndexKey {
        /// Where.
        index: LeafIndex,
    },
    /// The credential has already used that sequence number, for another authorisation.
    #[error("the sequence number is already used; the next one is {next}")]
    Sequence {
        /// The next one that is free.
        next: u64,
    },
    /// The place in the provider's stream is not the next one, or does not follow its last entry.
    #[error("the next entry of the provider's stream is {next} and follows {previous}")]
    Stream {
        /// The next one that is free.
        next: u64,
        /// What it must name as `previous`.
        previous: Hash,
    },
}

impl From<CredentialError> for AppendError {
    fn from(error: CredentialError) -> AppendError {
        AppendError::Credential(error.into())
    }
}

/// Why a credential is not issued in this log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialRefusal {
    /// Its bytes are not a credential, or no issuing key of this log signed it.
    #[error(transparent)]
    Invalid(#[from] CredentialError),
    /// It was made for another log.
    #[error("the credential names another log: {found}")]
    Origin {
        /// The origin in its claims.
        found: String,
    },
    /// Its provider is not the hash of an issuing key of this log.
    #[error("the credential names a provider whose key this log does not have: {found}")]
    Provider {
        /// The provider in its claims.
        found: Hash,
    },
    /// Its validity ended before this round.
    #[error("the credential was valid until {not_after_ms}; it is {time_ms}")]
    Expired {
        /// The end of its validity.
        not_after_ms: u64,
        /// The time of the round.
        time_ms: u64,
    },
    /// Nobody has spoken for it that could.
    #[error("its predecessor has not authorised it, or may not act any more")]
    NotSpokenFor,
    /// It does not follow the credential that it names as its predecessor.
    #[error(transparent)]
    Issue(IssueError),
    /// Its status cannot change so.
    #[error(transparent)]
    Transition(TransitionError),
}

/// Why an opening is not erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ErasureRefusal {
    /// The log is not that long.
    #[error("the log has no such entry")]
    NoSuchEntry,
    /// Genesis, policies, keys and the like are public: there is no opening to erase.
    #[error("the entry is public and has no opening")]
    Public,
    /// It was erased before, by that entry.
    #[error("the opening was already erased, by the entry {by}")]
    AlreadyErased {
        /// The erasure.
        by: LeafIndex,
    },
    /// The status of a credential must stay provable for as long as the credential can act.
    #[error("the credential can still act; revoke it first")]
    CredentialCanAct,
    /// Without it, what was executed once could be executed again.
    #[error("the opening of an outcome that was executed cannot be erased")]
    Executed,
    /// An erasure is itself the proof that erasing was asked for.
    #[error("the opening of an erasure cannot be erased")]
    Erasure,
}

/// Why a body cannot become an opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyRefusal {
    /// The index key is one that only a status entry may have.
    #[error("the index key is in the space of status entries")]
    IndexKeySpace,
    /// An event that names a place in a provider's stream is found there, so it needs an index key.
    #[error("an entry of a provider's stream needs an index key")]
    StreamKey,
    /// The log writes that stream itself.
    #[error("the log writes the stream of this credential itself")]
    OwnStream,
    /// An attempt of a credential that may not act, or a verdict on one that does not wait for it.
    #[error("an attempt that may not be, or a verdict on none")]
    Attempt,
    /// Not one item of deterministic CBOR within the limits.
    #[error("it is not one item of deterministic CBOR")]
    NotCanonical,
    /// Over the limit.
    #[error("the opening would be longer than {limit} bytes")]
    TooLong {
        /// The most an opening may have.
        limit: usize,
    },
}
