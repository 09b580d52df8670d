//! Authorisations: what may stand in the log, once [`crate::verify`] has passed it.

use alloc::string::String;

use tlog::Hash;

use crate::judgement::Judgement;

/// An authorisation that belongs at one place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorized {
    pub(crate) credential: Hash,
    pub(crate) sequence: u64,
    pub(crate) next_previous: Hash,
    pub(crate) index_key: Hash,
    pub(crate) class: String,
    pub(crate) instruction_id: Hash,
    pub(crate) operation_hash: Hash,
    pub(crate) authorisation_key: Hash,
    pub(crate) commitment: Hash,
    pub(crate) index: u64,
    pub(crate) time_ms: u64,
    pub(crate) successor: Option<Hash>,
    pub(crate) word: Option<Word>,
    pub(crate) challenge: Hash,
    pub(crate) judgement: Judgement,
}

/// What a record says that holds beyond itself, besides speaking for a successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// The subscriber wants this authenticator. It is added by the status that follows.
    AddAuthenticator(Hash),
    /// This authenticator of the subscriber counts no more, from here on.
    RevokeAuthenticator(Hash),
    /// The policy with this hash may come into force.
    Policy(Hash),
}

impl Authorized {
    /// Whose authorisation it is.
    pub fn credential(&self) -> &Hash {
        &self.credential
    }

    /// The provider's challenge that it answers.
    pub fn challenge(&self) -> &Hash {
        &self.challenge
    }

    /// Which one of that credential, counted from 0.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// What the next record of this credential names as `previous`.
    pub fn next_previous(&self) -> &Hash {
        &self.next_previous
    }

    /// The index key of record and entry.
    pub fn index_key(&self) -> &Hash {
        &self.index_key
    }

    /// The class of the instruction.
    pub fn class(&self) -> &str {
        &self.class
    }

    /// The instruction.
    pub fn instruction_id(&self) -> &Hash {
        &self.instruction_id
    }

    /// What evidence is bound to.
    pub fn operation_hash(&self) -> &Hash {
        &self.operation_hash
    }

    /// The name of this authorisation. See [`crate::record::authorisation_key`].
    pub fn authorisation_key(&self) -> &Hash {
        &self.authorisation_key
    }

    /// What the entry carries.
    pub fn commitment(&self) -> &Hash {
        &self.commitment
    }

    /// The index of the entry.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The time of its entry, milliseconds since 1970.
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// What it says that holds beyond itself.
    pub fn word(&self) -> Option<&Word> {
        self.word.as_ref()
    }

    /// Whether it says something of authenticators of its subscriber.
    pub fn speaks_of_authenticators(&self) -> bool {
        matches!(self.word, Some(Word::AddAuthenticator(_) | Word::RevokeAuthenticator(_)))
    }

    /// What the evidence in it came to.
    pub fn judgement(&self) -> &Judgement {
        &self.judgement
    }

    /// The credential that may come after this one: what a `credential.add` shows.
    pub fn successor(&self) -> Option<&Hash> {
        self.successor.as_ref()
    }
}
