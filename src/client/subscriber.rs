//! The subscriber: a device, what it remembers, whom it trusts, and the provider it talks to.
//!
//! ```text
//! device (two keys) ──┐
//! memory (state) ─────┼── Subscriber ── HTTP ── the provider
//! trust (pinned) ─────┘        enrol, authorise, receipts, watch, change_pin, suspend, revoke
//! ```
//!
//! Nothing that the provider says is taken on trust (I-11): the device recomputes what it can, compares the rest with what
//! it remembers, and looks for it in the log.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use scal3::instruction::{InstructionError, Value};
use scal3::{Document, Field, Hash};
use tlog::policy::Policy;

use crate::device::{DeviceError, DeviceKey, PinPrf};
use crate::folder::{Folder, Memory, MemoryError};
use crate::head::HeadError;
use crate::provider::{Problem, ProblemKind, Provider, ProviderError};
use crate::state::{Held, State};

/// Tells the time: milliseconds since 1970.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What a device believes before it has asked anybody.
#[derive(Debug, Clone)]
pub struct Trust {
    /// The log: its name on every checkpoint.
    pub origin: String,
    /// The provider: [`scal3::credential::provider_id`] of its issuing key.
    pub provider: Hash,
    /// The log's key, its witnesses, and how many of them must have seen a head.
    pub policy: Policy,
}

/// A subscriber on one device.
pub struct Subscriber<D, M = Folder> {
    pub(crate) device: D,
    pub(crate) memory: M,
    pub(crate) provider: Provider,
    pub(crate) trust: Trust,
    pub(crate) clock: Clock,
    pub(crate) state: State,
}

/// Why something was not done. Each says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The device's memory. Nothing left the device that it could not remember.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The device's keys.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The server can't be asked, or does not make sense. Nothing was authorised; try again.
    #[error(transparent)]
    Provider(ProviderError),
    /// The server says no. The problem says why, and what to do.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// The PIN was wrong (or the device is another). Ask the person.
    #[error("the PIN is wrong{}", attempts_left.map(|n| format!("; {n} attempts left")).unwrap_or_default())]
    WrongPin {
        /// How many wrong ones are left before the credential is suspended, if the server says so.
        attempts_left: Option<u64>,
    },
    /// An answer left the device, and whether the log took it is not known yet. Call `reconcile`, or authorise the same
    /// document again: it will not be done twice.
    #[error("the answer was sent, and the log does not show it yet: reconcile before you tell anybody that it failed")]
    Unsettled,
    /// Another answer of this device took the place, so this one can't enter the log. Authorise again.
    #[error("an earlier instruction took this one's place, and this one was not done: authorise it again")]
    PlaceTaken,
    /// So many answers are unsettled that the device can't tell any more apart. Wait until they have expired.
    #[error("too many answers are unsettled; wait {wait_s} s")]
    TooManyUnsettled {
        /// How long until one of them has expired.
        wait_s: u64,
    },
    /// The head of the log.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The server said something that is not so. Nothing was authorised because of it; keep the files, tell somebody.
    #[error("the server said what is not so: {0}")]
    Lie(#[from] Lie),
    /// A receipt does not hold: the names of the checks that failed or could not be made.
    #[error("the receipt does not hold: {}", .0.join(", "))]
    Receipt(Vec<String>),
    /// The device has no credential. Enrol first.
    #[error("the device has no credential: enrol first")]
    NotEnrolled,
    /// The credential is not active yet. Finish enrolling.
    #[error("the credential is not active yet: finish enrolling")]
    NotActive,
    /// The other device has to speak for this credential first: `vouch` there, then call the same again here.
    #[error("the person's other device has to speak for credential {credential} first", credential = credential.to_hex())]
    AwaitsPredecessor {
        /// The new credential.
        credential: Hash,
    },
    /// The device has a credential.
    #[error("the device has a credential already")]
    Enrolled,
    /// The invitation is for another log or from another provider than the device trusts.
    #[error("the invitation is for another log or from another provider")]
    OtherInvitation,
    /// The invitation is no longer good. Ask the provider for another.
    #[error("the invitation has expired: ask the provider for another")]
    InvitationExpired,
    /// The memory is another device's, or of another log. Open the right folder.
    #[error("the memory is of another {0}: open the folder that belongs to it")]
    OtherMemory(&'static str),
    /// The instruction is none.
    #[error(transparent)]
    Instruction(#[from] InstructionError),
    /// The provider's policy asks for evidence that this version can't give.
    #[error("the provider asks for more evidence than device and PIN")]
    EvidenceNeeded,
    /// The operating system gives no random bytes.
    #[error("no random bytes: {0}")]
    Random(#[from] getrandom::Error),
    /// The memory holds something that no enrolment makes.
    #[error("the enrolment in memory is damaged: enrol anew")]
    DamagedEnrolment,
}

/// What a server said that is not so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Lie {
    /// The challenge's hash is not that of the challenge.
    #[error("the challenge has another hash")]
    Challenge,
    /// The commitments are no points.
    #[error("the challenge's commitments are none")]
    Commitment,
    /// The instruction's id is not that of our document.
    #[error("another instruction")]
    Instruction,
    /// Another log.
    #[error("another log")]
    Origin,
    /// Another provider.
    #[error("another provider")]
    Provider,
    /// Another credential.
    #[error("another credential")]
    Credential,
    /// Another class.
    #[error("another class of instruction")]
    Class,
    /// Another sequence number than the device's own, and nothing that is under way explains it.
    #[error("sequence {theirs}, and the device is at {ours}")]
    Sequence {
        /// The device's.
        ours: u64,
        /// The server's.
        theirs: u64,
    },
    /// What comes before is something else.
    #[error("another instruction before this one")]
    Previous,
    /// The server's clock is more than 300 s from the device's. One of them is wrong.
    #[error("the server's clock is {seconds} s from the device's")]
    Clock {
        /// How far.
        seconds: u64,
    },
    /// The challenge can't be answered in its time, or not for long enough to matter.
    #[error("the challenge has expired, or never does")]
    Expiry,
    /// The credential says something else than the device sent.
    #[error("the credential has another {0}")]
    Claims(&'static str),
    /// The credential is not signed by the provider that the device trusts.
    #[error("the credential is not signed by the provider")]
    Signature,
    /// The log does not show the issuing key that the device trusts, or no entries by which the one that signs now came
    /// from it.
    #[error("the log does not show how the issuing key came from the one that the device trusts")]
    IssuingKey,
    /// The entry that issued the credential is not in the log, or is another.
    #[error("the log does not show that the credential was issued")]
    Issued,
    /// A record stands in the log in this person's place that this device never answered for.
    #[error("an instruction is in the log that this device did not make")]
    NotOurs,
    /// The server says it has done something that the log does not show.
    #[error("the log does not show what the server says it did")]
    NotLogged,
}

impl From<ProviderError> for Error {
    fn from(error: ProviderError) -> Error {
        match error {
            ProviderError::Refused(problem) if problem.kind == ProblemKind::SecondFactor => {
                Error::WrongPin { attempts_left: problem.attempts_left }
            }
            ProviderError::Refused(problem) => Error::Refused(problem),
            other => Error::Provider(other),
        }
    }
}

/// How far a clock may be off. The log refuses more.
pub(crate) const TOLERANCE_MS: u64 = scal3::verify::TIME_TOLERANCE_MS;

impl<D: DeviceKey + PinPrf, M: Memory> Subscriber<D, M> {
    /// The subscriber of this device, as far as its memory knows.
    ///
    /// # Errors
    /// [`Error::Memory`]; [`Error::OtherMemory`] when the memory belongs to another device, log or provider.
    pub fn open(device: D, memory: M, provider: Provider, trust: Trust) -> Result<Subscriber<D, M>, Error> {
        let state = match State::load(&memory)? {
            None => State::new(&trust.origin, trust.provider, device.public()),
            Some(state) if state.origin != trust.origin => return Err(Error::OtherMemory("log")),
            Some(state) if state.provider.0 != trust.provider => return Err(Error::OtherMemory("provider")),
            Some(state) if state.device_key.0 != device.public() => return Err(Error::OtherMemory("device")),
            Some(state) => state,
        };
        Ok(Subscriber { device, memory, provider, trust, clock: Arc::new(now_ms), state })
    }

    /// The same, going by another clock than the system's.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The id of the credential.
    #[must_use]
    pub fn credential(&self) -> Option<Hash> {
        self.state.held.as_ref().map(|held| held.id.0)
    }

    /// How many instructions of this credential the log has shown to this device.
    #[must_use]
    pub fn sequence(&self) -> Option<u64> {
        self.state.held.as_ref().map(|held| held.sequence)
    }

    /// Whether an answer left the device whose fate is not known yet.
    #[must_use]
    pub fn is_unsettled(&self) -> bool {
        self.state.held.as_ref().is_some_and(Held::is_unsettled)
    }

    /// The documents of those answers. Authorise the very same one again, and it is not done twice; one made anew of the same
    /// words would be another.
    ///
    /// # Errors
    /// [`Error::Instruction`] when the memory holds a document that is none.
    pub fn unsettled(&self) -> Result<Vec<Document>, Error> {
        let pending = self.state.held.iter().flat_map(|held| &held.pending).filter(|pending| !pending.refused);
        pending.map(|pending| Ok(Document::parse(pending.document.as_ref())?)).collect()
    }

    /// Whether an enrolment was begun and not finished: enrol again with the same invitation.
    #[must_use]
    pub fn is_enrolling(&self) -> bool {
        match &self.state.held {
            None => self.state.candidate.is_some(),
            Some(held) => held.sequence == 0,
        }
    }

    /// The device.
    pub fn device(&self) -> &D {
        &self.device
    }

    pub(crate) fn now_ms(&self) -> u64 {
        (self.clock)()
    }

    pub(crate) fn save(&self) -> Result<(), Error> {
        Ok(self.state.save(&self.memory)?)
    }
}

impl<D, M> std::fmt::Debug for Subscriber<D, M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscriber").field("origin", &self.trust.origin).finish_non_exhaustive()
    }
}

fn now_ms() -> u64 {
    // A clock before 1970 is a clock that no server agrees with, so what it says does not matter.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// An instruction with fresh salts, so that what is hidden of it can't be guessed.
///
/// # Errors
/// [`Error::Instruction`] when the fields are not what the class asks for.
pub fn instruction(class: &str, fields: &[(&str, Value)]) -> Result<Document, Error> {
    let fields = fields.iter().map(|(name, value)| {
        let mut salt = [0; 16];
        getrandom::fill(&mut salt)?;
        Ok(Field { salt, name: (*name).to_owned(), value: value.clone() })
    });
    let document = Document { class: class.to_owned(), fields: fields.collect::<Result<_, getrandom::Error>>()? };
    document.check()?;
    Ok(document)
}

pub(crate) fn rng() -> rand_core::UnwrapErr<getrandom::SysRng> {
    rand_core::UnwrapErr(getrandom::SysRng)
}
