//! A published instruction: what an executor is given, and the proof that the world can know of it.
//!
//! ```text
//! index ──► entry ──► under the published head? ──► opening ──► parsed, three signatures, its place ──► Published
//!                     (cosigned, where a quorum                 as a stranger would verify it
//!                      of witnesses is asked for)
//! ```
//!
//! There is one way to have one: [`Published::read`], which only this folder can call, and which is given nothing but the
//! log and a place in it. So whoever holds one knows that the instruction cannot be taken back or denied: to execute
//! something that is not in the log is not forbidden here, it does not compile.
//!
//! It cannot be made by hand, asked for from outside, kept for a second time or used twice, and nothing that comes before it
//! is enough for an executor. `tests/unlogged.rs` shows each, with the compiler's words.

use std::fmt;

use scal3::entry::{Entry, Kind};
use scal3::instruction::Shown;
use scal3::verify::{Place, Refusal, Submitted};
use scal3::{Hash, Profile};
use tlog::{LeafHash, LeafIndex};

use crate::engine::Engine;
use crate::history::ReadError;
use crate::openings;
use crate::submission::AppendError;

/// An instruction that its subscriber authorised with two factors, and that stands under the published head.
///
/// Not `Clone`, and executing takes it: whoever executes twice has read it from the log twice. `Debug` tells its place.
pub struct Published {
    index: LeafIndex,
    credential: Hash,
    class: String,
    instruction_id: Hash,
    authorisation: Hash,
    shown: Shown,
    profile: Profile,
}

/// Why there is nothing published to execute at a place.
#[derive(Debug, thiserror::Error)]
pub enum UnpublishedError {
    /// The published head does not cover it yet.
    #[error("the published checkpoint does not cover the entry yet")]
    NotPublished,
    /// Something else stands there.
    #[error("the entry is no instruction")]
    NoInstruction,
    /// Its opening was erased, so nobody can know any more what was authorised.
    #[error("the opening of the entry was erased")]
    Erased,
    /// It does not verify. What the log took has verified before, so this is the disk, or a mistake of ours.
    #[error("a record in the log does not verify: {0}")]
    Record(#[from] Refusal),
    /// The credential it names is not in the log, or does not verify.
    #[error("the credential of a record in the log does not verify: {0}")]
    Credential(AppendError),
    /// It can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Published {
    /// Reads what stands at a place, and makes every check that somebody could who was only shown the log. It computes.
    pub(super) fn read(engine: &Engine, index: LeafIndex) -> Result<Published, UnpublishedError> {
        let damaged = || ReadError::Damaged(format!("entry {index}"));
        let bytes = engine.entry(index)?;
        let head = engine.published(index).ok_or(UnpublishedError::NotPublished)?.head;
        let proof = engine.inclusion(index, head.size)?;
        proof.verify(LeafHash::of(&bytes), index, &head).map_err(|_| damaged())?;
        let entry = Entry::parse(&bytes).map_err(|_| damaged())?;
        if entry.kind != Kind::Instruction {
            return Err(UnpublishedError::NoInstruction);
        }
        let openings::Shown::Open(opening) = engine.opening(index)? else { return Err(UnpublishedError::Erased) };
        let submitted = Submitted::parse(&opening)?;
        if *submitted.commitment() != entry.commitment {
            return Err(damaged().into());
        }
        let id = submitted.credential_id();
        let unknown = || UnpublishedError::Credential(AppendError::UnknownCredential(id));
        let state = engine.credential(&id)?.ok_or_else(unknown)?;
        let credential = engine.read_credential(state.credential().as_bytes()).map_err(UnpublishedError::Credential)?;
        let signed = submitted.check(&credential, engine.standing().origin())?;
        let place = Place::of(&entry, index.get()).ok_or_else(damaged)?;
        signed.check_alone(&place, &credential, state.issued_at())?;
        Ok(Published {
            index,
            credential: id,
            class: signed.metadata().class.clone(),
            instruction_id: *signed.record().instruction_id(),
            authorisation: signed.authorisation_key(),
            shown: signed.shown().clone(),
            profile: signed.record().profile(),
        })
    }

    /// Its place in the log.
    pub fn index(&self) -> LeafIndex {
        self.index
    }

    /// Whose credential authorised it.
    pub fn credential(&self) -> &Hash {
        &self.credential
    }

    /// The class of the instruction.
    pub fn class(&self) -> &str {
        &self.class
    }

    /// The instruction.
    pub fn instruction_id(&self) -> &Hash {
        &self.instruction_id
    }

    /// The name of the authorisation. See [`scal3::record::authorisation_key`].
    pub fn authorisation(&self) -> &Hash {
        &self.authorisation
    }

    /// What of the instruction may be read. What is hidden can't be checked: see [`Shown::id`].
    pub fn shown(&self) -> &Shown {
        &self.shown
    }

    /// The form of the record.
    pub fn profile(&self) -> Profile {
        self.profile
    }
}

impl fmt::Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Published").field("index", &self.index.get()).finish_non_exhaustive()
    }
}
