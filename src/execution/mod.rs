//! Execution: from a published instruction to what the provider does about it, and the entry that says so.
//!
//! ```text
//! published.rs   an index ─► Published: under the published head, verified again
//! sign.rs        document.sign: a digest ─► a signature by the provider's document key
//!
//! index ─► Published ─► executor of its class ─► outcome entry `executed` or `blocked`, durable ─► the answer
//!            └─ an outcome is in the log already ──────────────────────────────────────────────────────▲
//! ```
//!
//! **Nothing runs unlogged.** An executor is reached with a [`Published`] only, and that is made in one place, after the
//! head that covers the instruction was published (with witnesses: cosigned). What came of it is in the log before anybody
//! is told.
//!
//! **Once, as far as the log is concerned.** An authorisation has one outcome: the log is asked first, one request at a
//! time looks, and the sequencer takes no second one. A machine that stops between executing and logging executes
//! again at the next request. So an executor must be idempotent in effect, as the signer of documents is (the same
//! digest, signed again), or make itself so with [`Published::authorisation`] as its key.
//!
//! What an authorisation is worth is decided at its place in the log: a credential that is revoked later has still
//! authorised what came before.

pub mod published;
pub mod sign;

use std::collections::BTreeMap;
use std::sync::Arc;

use scal3::Hash;
use scal3::index_key::StreamKey;
use scal3::opening::OtherOpening;
use scal3::outcome::{BLOCKED, EXECUTED, Outcome};
use tlog::LeafIndex;

pub use self::published::{Published, UnpublishedError};
pub use self::sign::DocumentSigner;
use crate::authority::turns::Turns;
use crate::authority::{Authority, KeptReadError};
use crate::engine::Engine;
use crate::history::ReadError;
use crate::openings::Shown;
use crate::submission::{About, AppendError, Said, Until};

/// Does what instructions of one class ask for.
pub trait Executor: Send + Sync {
    /// The class, such as `document.sign`.
    fn class(&self) -> &str;

    /// Does it. Runs on a thread for such work. It may be called again for the same authorisation after a crash.
    fn execute(&self, published: Published) -> Result<Done, Refused>;
}

/// What was done.
#[derive(Clone, PartialEq, Eq)]
pub struct Done {
    /// What came of it, for the log's entry and the answer: at most a few KiB.
    pub result: Option<Vec<u8>>,
}

/// Why nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It will never be: logged as `blocked`, with this reason, and not tried again.
    #[error("{0}")]
    Never(&'static str),
    /// It may be later: nothing is logged. The words are for the operator.
    #[error("{0}")]
    NotNow(String),
}

/// What became of an instruction, as the log has it.
#[derive(Clone, PartialEq, Eq)]
pub struct Settled {
    /// [`EXECUTED`] or [`BLOCKED`].
    pub name: String,
    /// The entry that says so.
    pub index: LeafIndex,
    /// The instruction.
    pub instruction_id: Hash,
    /// Why it was blocked.
    pub reason: Option<String>,
    /// What came of it.
    pub result: Option<Vec<u8>>,
}

/// Why there is no outcome.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// There is nothing published to execute.
    #[error(transparent)]
    Unpublished(#[from] UnpublishedError),
    /// Nobody here executes that.
    #[error("this server does not execute instructions of this class")]
    Class,
    /// Nothing is kept of the enrolment here, so the outcome could not be logged where the subscriber finds it.
    #[error("the credential was not enrolled here, so its outcomes are not logged here")]
    NotKept,
    /// It has an outcome, which was erased.
    #[error("the outcome, at entry {0}, was erased")]
    OutcomeErased(LeafIndex),
    /// The executor can't do it now.
    #[error("it can't be executed now: {0}")]
    NotNow(String),
    /// The log did not take the outcome: it may have been executed all the same.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The state can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What is kept of the enrolment can't be read.
    #[error(transparent)]
    Kept(#[from] KeptReadError),
}

/// The executors of one log, one for each class.
#[derive(Default)]
pub struct Execution {
    executors: BTreeMap<String, Arc<dyn Executor>>,
    turns: Turns,
}

impl Execution {
    /// These executors. Of two for one class, the later one.
    pub fn new(executors: impl IntoIterator<Item = Arc<dyn Executor>>) -> Execution {
        let executors = executors.into_iter().map(|executor| (executor.class().to_owned(), executor)).collect();
        Execution { executors, turns: Turns::default() }
    }

    /// Whether instructions of this class are executed here.
    pub fn has(&self, class: &str) -> bool {
        self.executors.contains_key(class)
    }

    /// Executes what stands at a place, unless it has an outcome already. The caller must let it run to its end.
    pub(crate) async fn run(&self, authority: &Authority, index: LeafIndex) -> Result<Settled, ExecuteError> {
        let engine = authority.engine();
        let reading = engine.clone();
        let published = authority.blocking(move || Published::read(&reading, index)).await?;
        let executor = Arc::clone(self.executors.get(published.class()).ok_or(ExecuteError::Class)?);
        let (credential, authorisation) = (*published.credential(), *published.authorisation());
        let instruction_id = *published.instruction_id();

        let _turn = self.turns.of(&authorisation).await;
        if let Some(at) = engine.outcome(&authorisation)? {
            return settled(engine, at, instruction_id);
        }
        // Before anything is done, it must be certain that the outcome has a place to be logged at.
        let stream = stream(authority, &credential).await?;
        let (name, reason, result) = match authority.blocking(move || executor.execute(published)).await {
            Ok(Done { result }) => (EXECUTED, None, result),
            Err(Refused::Never(reason)) => (BLOCKED, Some(reason.to_owned()), None),
            Err(Refused::NotNow(why)) => return Err(ExecuteError::NotNow(why)),
        };
        let said = Said::Outcome {
            name: name.to_owned(),
            about: Some(authorisation),
            reason: reason.clone(),
            detail: result.clone(),
        };
        let appended = engine.about(About { credential, stream, said }, Until::Integrated).await?;
        if appended.existing {
            return settled(engine, appended.index, instruction_id);
        }
        tracing::info!(index = index.get(), outcome = appended.index.get(), name, "an instruction has its outcome");
        Ok(Settled { name: name.to_owned(), index: appended.index, instruction_id, reason, result })
    }
}

/// The outcome that stands there.
fn settled(engine: &Engine, at: LeafIndex, instruction_id: Hash) -> Result<Settled, ExecuteError> {
    let opening = match engine.opening(at) {
        Ok(Shown::Open(opening)) => opening,
        Ok(Shown::Erased | Shown::Public) => return Err(ExecuteError::OutcomeErased(at)),
        // It is durable, and will be readable in a moment.
        Err(ReadError::NotYet { .. }) => return Err(UnpublishedError::NotPublished.into()),
        Err(error) => return Err(error.into()),
    };
    let outcome = OtherOpening::parse(&opening).ok().and_then(|opening| Outcome::from_body(opening.body).ok());
    let Some(Outcome { name, reason, detail, .. }) = outcome else {
        return Err(ReadError::Damaged(format!("the opening of entry {at}")).into());
    };
    Ok(Settled { name, index: at, instruction_id, reason, result: detail })
}

/// The key of the stream that the provider writes about a subscriber.
async fn stream(authority: &Authority, credential: &Hash) -> Result<StreamKey, ExecuteError> {
    let state = authority.engine().credential(credential)?.ok_or(AppendError::UnknownCredential(*credential))?;
    let kept = authority.kept(&state).await?.ok_or(ExecuteError::NotKept)?;
    Ok(kept.stream(state.credential().claims()))
}
