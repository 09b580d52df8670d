//! Steps: what one entry did to the [`crate::fold`], or why it did nothing.

use tlog::Hash;
use tlog::tree::TooLarge;

use crate::authenticator::AuthenticatorError;
use crate::authenticators::EnrolError;
use crate::cbor::ShapeError;
use crate::credential::CredentialError;
use crate::entry::{BodyError, EntryError, Kind};
use crate::keys::KeyRefusal;
use crate::opening::OpeningError;
use crate::state::{CredentialState, IssueError, TransitionError};
use crate::status::StatusChange;
use crate::verify::{Authorized, Refusal};

/// What an entry did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A verified authorisation.
    Instruction(Authorized),
    /// A verified authorisation behind others of the same credential whose openings are gone: its
    /// own signatures hold, the chain from the last one that could be read can't be shown.
    Bridged {
        /// The authorisation.
        authorized: Authorized,
        /// How many are missing before it.
        missing: u64,
    },
    /// A credential changed as it may.
    Status(StatusChange),
    /// Another policy is in force.
    Policy(Hash),
    /// The provider signs credentials with another key.
    IssuingKey,
    /// An entry that changes nothing here.
    Other(Kind),
    /// An entry whose opening was given and is in order by itself, of a credential of which another entry can't be read:
    /// whether it should be in the log, nobody can tell any more.
    InDoubt(Kind),
    /// An entry whose opening was not given: it can't be verified, and so is never in order.
    Unopened(Kind),
    /// An entry that should not be in the log.
    Wrong(Wrong),
}

/// Why an entry should not be in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// Its time is before that of an earlier entry.
    #[error("the time goes back, an entry before is of {last_ms}")]
    TimeGoesBack {
        /// The latest time so far.
        last_ms: u64,
    },
    /// Its index key is that of an earlier entry.
    #[error("the index key is that of entry {at}")]
    IndexKeyUsed {
        /// The earlier entry.
        at: u64,
    },
    /// It commits to bytes that are no opening of its kind.
    #[error(transparent)]
    Opening(#[from] OpeningError),
    /// It commits to the opening of another kind.
    #[error("the opening is of another kind")]
    OpeningKind,
    /// The authorisation is in the log already.
    #[error("the authorisation is that of entry {at}")]
    Logged {
        /// The earlier entry.
        at: u64,
    },
    /// The record does not verify.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The status is none.
    #[error("status: {0}")]
    Status(ShapeError),
    /// The outcome is none.
    #[error("outcome: {0}")]
    Outcome(ShapeError),
    /// An entry of a provider's stream that nobody finds there.
    #[error("an entry of a provider's stream without an index key")]
    StreamKey,
    /// About a credential that is not in the log.
    #[error("about a credential that is not in the log")]
    UnknownCredential,
    /// The index key is not that of the next status of this credential: one is missing or twice.
    #[error("the index key is not that of the next status of this credential")]
    StatusKey,
    /// The credential is none, or nobody who may issue signed it.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The status names another credential than the one it holds, or one of another log.
    #[error("not a credential of this log")]
    OtherCredential,
    /// The claims are those of no authenticator.
    #[error(transparent)]
    Authenticator(#[from] AuthenticatorError),
    /// The authenticator may not be added or revoked so.
    #[error(transparent)]
    Enrol(#[from] EnrolError),
    /// The policy may not come into force.
    #[error(transparent)]
    Policy(#[from] PolicyRefusal),
    /// The credential may not be issued now.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// The credential can't change so.
    #[error(transparent)]
    Change(#[from] TransitionError),
    /// The body of a public entry.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// Behind the entry that froze the log.
    #[error("the log was frozen by entry {at}")]
    Frozen {
        /// The last entry that may be there.
        at: u64,
    },
    /// A key that may not take the other one's place.
    #[error("key change: {0}")]
    KeyChange(#[from] KeyRefusal),
}

/// Why a policy may not come into force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PolicyRefusal {
    /// No record of class `policy.change` names it, or not lately, or not under the policy in force.
    #[error("no instruction speaks for the policy")]
    NotAuthorised,
    /// It can't be read, and would deny everything from here on.
    #[error("the policy can't be read")]
    Unreadable,
}

/// Why the fold can't take this input. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// The entry is none, or of a kind this version does not know: what it means can't be known.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The first entry is no genesis.
    #[error("the first entry is no genesis")]
    NoGenesis,
    /// The body of the first entry.
    #[error("genesis: {0}")]
    Genesis(BodyError),
    /// An issuing key in the first entry that is no point.
    #[error("genesis: an issuing key is no point")]
    GenesisKey,
    /// A genesis that is not the first entry: whose log this is can't be known.
    #[error("a second genesis")]
    SecondGenesis,
    /// The opening is not the one that the entry commits to.
    #[error("not the opening that the entry commits to")]
    OtherOpening,
    /// The log has as many entries as a log can have.
    #[error(transparent)]
    Full(#[from] TooLarge),
}

/// What the fold knows of a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known<'a> {
    /// Everything that the log says about it was read.
    Certain(&'a CredentialState),
    /// Something that the log says about it can't be read any more. This is the state as far as it could be read;
    /// whether it may act, nobody can tell from the log.
    InDoubt(&'a CredentialState),
}

impl<'a> Known<'a> {
    /// The state, where it is certain.
    pub fn certain(self) -> Option<&'a CredentialState> {
        match self {
            Known::Certain(state) => Some(state),
            Known::InDoubt(_) => None,
        }
    }

    /// The state as far as it could be read. Its credential and its place are certain either way.
    pub fn as_read(self) -> &'a CredentialState {
        match self {
            Known::Certain(state) | Known::InDoubt(state) => state,
        }
    }
}
