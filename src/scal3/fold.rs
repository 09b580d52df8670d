//! The fold: a whole log, entry by entry, into what it means.
//!
//! ```text
//! entry 0   genesis: origin, issuing keys, policy
//! entry n   judged against everything before it, then taken in          state = fold(entries, openings)
//! ```
//! This is what a monitor runs, and its transitions are the sequencer's. It holds everything in
//! memory: a root for each size, the index keys, the authorisations, the state of each credential.
//!
//! There are three outcomes, and they must not be mixed up. `Err(`[`Stop`]`)`: the input can't be
//! understood, or is not this entry's opening; nothing was taken in, and going on would be
//! guessing. [`Step::Wrong`]: the entry is in the log and should not be; it is counted as a leaf
//! and changes nothing else. [`Step::Unopened`]: the opening is gone, so nobody can tell any more.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

use tlog::frontier::Frontier;
use tlog::tree::{TooLarge, TreeHead};
use tlog::{Hash, LeafHash};

use crate::cbor::{self, ShapeError, Value};
use crate::credential::{Credential, CredentialError, IssuingKey, provider_id};
use crate::ecdsa::Signature;
use crate::entry::{BodyError, Entry, EntryError, Kind};
use crate::genesis::{Genesis, policy_hash};
use crate::index_key::status_index_key;
use crate::key_change::{KeyChange, Role, change_hash};
use crate::limits::ENTRY_MAX;
use crate::opening::{self, OpeningError, OtherOpening};
use crate::point::Point;
use crate::seen::SeenOnHistory;
use crate::state::{CredentialState, IssueError, TransitionError};
use crate::status::{Change, StatusChange};
use crate::verify::{Authorized, CredentialRefusal, MetadataRefusal, Place, Refusal, Signed, Submitted};

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
    /// A status of a credential that is not in the log.
    #[error("the status of a credential that is not in the log")]
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
    /// The credential may not be issued now.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// The credential can't change so.
    #[error(transparent)]
    Change(#[from] TransitionError),
    /// The body of a public entry.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// A new issuing key that no issuing key in force signed, or that did not sign itself.
    #[error("the new issuing key is not signed by itself and one in force")]
    KeyChange,
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

/// What the log means so far.
#[derive(Debug, Clone)]
pub struct Fold {
    genesis: Genesis,
    issuing_keys: Vec<IssuingKey>,
    policy: Hash,
    time_ms: u64,
    frontier: Frontier,
    /// The root of each size, by size.
    roots: Vec<Hash>,
    credentials: BTreeMap<Hash, Followed>,
    /// Everybody who has a credential.
    subjects: BTreeSet<Hash>,
    index_keys: BTreeMap<Hash, u64>,
    authorisations: BTreeMap<Hash, u64>,
    /// Instruction entries without an opening, ascending.
    unopened: Vec<u64>,
    /// Is there a status entry without an opening?
    unopened_status: bool,
}

/// A credential, and where it was last heard of.
#[derive(Debug, Clone)]
struct Followed {
    state: CredentialState,
    /// The index of its last record that could be read, or of its issuing.
    last: u64,
    /// Is a status of this credential without an opening, so that what it may do is unknown?
    in_doubt: bool,
}

/// An opening as the caller has it.
enum Given<'a> {
    Nothing,
    Bytes(&'a [u8]),
    Signed(&'a Signed),
}

impl Fold {
    /// Begins with the first entry of a log.
    ///
    /// # Errors
    /// [`Stop`].
    pub fn start(entry: &[u8]) -> Result<Fold, Stop> {
        let parsed = Entry::parse(entry)?;
        let (Kind::Genesis, Some(body)) = (parsed.kind, &parsed.body) else {
            return Err(Stop::NoGenesis);
        };
        let genesis = Genesis::parse(body).map_err(Stop::Genesis)?;
        let keys = genesis.issuing_keys.iter().map(|key| IssuingKey::parse(key));
        let issuing_keys = keys.collect::<Result<_, _>>().map_err(|_| Stop::GenesisKey)?;
        let mut frontier = Frontier::new();
        let empty = frontier.root();
        frontier.push(LeafHash::of(entry))?;
        Ok(Fold {
            policy: genesis.policy_hash(),
            genesis,
            issuing_keys,
            time_ms: parsed.time_ms,
            roots: vec![empty, frontier.root()],
            frontier,
            credentials: BTreeMap::new(),
            subjects: BTreeSet::new(),
            index_keys: BTreeMap::new(),
            authorisations: BTreeMap::new(),
            unopened: Vec::new(),
            unopened_status: false,
        })
    }

    /// Takes the next entry in, with its opening if there is one to be had.
    ///
    /// # Errors
    /// [`Stop`]; nothing was changed then.
    pub fn apply(&mut self, entry: &[u8], opening: Option<&[u8]>) -> Result<Step, Stop> {
        self.take(entry, opening.map_or(Given::Nothing, Given::Bytes))
    }

    /// Takes the next entry in, an instruction whose signatures were verified already, in a batch
    /// and under the credential that [`Fold::credential`] gave.
    ///
    /// # Errors
    /// [`Stop`]; nothing was changed then.
    pub fn apply_signed(&mut self, entry: &[u8], signed: &Signed) -> Result<Step, Stop> {
        self.take(entry, Given::Signed(signed))
    }

    /// The origin, the issuing keys and the policy that the log began with.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The head of the tree of all entries so far.
    pub fn head(&self) -> TreeHead {
        self.frontier.head()
    }

    /// The root of the tree at an earlier size.
    pub fn root_at(&self, size: u64) -> Option<&Hash> {
        self.roots.get(usize::try_from(size).ok()?)
    }

    /// SHA-256 of the policy in force.
    pub fn policy(&self) -> &Hash {
        &self.policy
    }

    /// The latest time of an entry.
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// The state of a credential.
    pub fn credential(&self, id: &Hash) -> Option<&CredentialState> {
        self.credentials.get(id).map(|followed| &followed.state)
    }

    /// All credentials, by id.
    pub fn credentials(&self) -> impl Iterator<Item = (&Hash, &CredentialState)> {
        self.credentials.iter().map(|(id, followed)| (id, &followed.state))
    }

    /// The index of the entry with this index key.
    pub fn index_of(&self, index_key: &Hash) -> Option<u64> {
        self.index_keys.get(index_key).copied()
    }

    /// The index of the entry with this authorisation: see [`crate::record::authorisation_key`].
    pub fn index_of_authorisation(&self, key: &Hash) -> Option<u64> {
        self.authorisations.get(key).copied()
    }

    fn take(&mut self, bytes: &[u8], given: Given<'_>) -> Result<Step, Stop> {
        let entry = Entry::parse(bytes)?;
        let commitment = match given {
            Given::Nothing => None,
            Given::Bytes(opening) => Some(opening::commitment(opening)),
            Given::Signed(signed) => Some(*signed.commitment()),
        };
        if commitment.is_some_and(|commitment| commitment != entry.commitment) {
            return Err(Stop::OtherOpening);
        }
        if entry.kind == Kind::Genesis {
            return Err(Stop::SecondGenesis);
        }
        let index = self.frontier.size().get();
        let mut frontier = self.frontier.clone();
        frontier.push(LeafHash::of(bytes))?;

        let step = self.judge(&entry, index, given).unwrap_or_else(Step::Wrong);

        self.roots.push(frontier.root());
        self.frontier = frontier;
        self.time_ms = self.time_ms.max(entry.time_ms);
        // A status that should not be there must not keep the right one out: without this, a wrong entry under the next
        // status key would leave the credential without a revocation that anybody could call in order.
        let blocks = entry.kind != Kind::Status || !matches!(step, Step::Wrong(_));
        if let Some(index_key) = entry.index_key.filter(|_| blocks) {
            self.index_keys.entry(index_key).or_insert(index);
        }
        Ok(step)
    }

    /// Judges an entry and changes the state by it, unless it is wrong.
    fn judge(&mut self, entry: &Entry, index: u64, given: Given<'_>) -> Result<Step, Wrong> {
        if entry.time_ms < self.time_ms {
            return Err(Wrong::TimeGoesBack { last_ms: self.time_ms });
        }
        if let Some(at) = entry.index_key.and_then(|index_key| self.index_of(&index_key)) {
            return Err(Wrong::IndexKeyUsed { at });
        }
        match (entry.kind, given, &entry.body) {
            (Kind::Policy, _, Some(body)) => self.policy_change(body),
            (Kind::Key, _, Some(body)) => self.key_change(body),
            (kind, _, Some(_)) => Ok(Step::Other(kind)),
            (Kind::Instruction, Given::Nothing, _) => {
                self.unopened.push(index);
                Ok(Step::Unopened(Kind::Instruction))
            }
            (Kind::Instruction, Given::Signed(signed), _) => self.record(entry, index, signed),
            (Kind::Instruction, Given::Bytes(opening), _) => {
                let submitted = Submitted::parse(opening)?;
                let Some(followed) = self.credentials.get(&submitted.credential_id()) else {
                    return self.stranger(index);
                };
                let credential = followed.state.credential();
                let signed = submitted.check(credential, &self.genesis.origin)?;
                self.record(entry, index, &signed)
            }
            (Kind::Status, Given::Nothing, _) => {
                self.unopened_status = true;
                let key = entry.index_key;
                let named = |followed: &&mut Followed| Some(followed.state.next_status_key()) == key;
                if let Some(followed) = self.credentials.values_mut().find(named) {
                    followed.in_doubt = true;
                }
                Ok(Step::Unopened(Kind::Status))
            }
            (kind, Given::Nothing, _) => Ok(Step::Unopened(kind)),
            (kind, Given::Bytes(opening), _) => {
                let opening = OtherOpening::parse(opening)?;
                if opening.kind != kind {
                    return Err(Wrong::OpeningKind);
                }
                if kind == Kind::Status {
                    let change = StatusChange::from_body(opening.body).map_err(Wrong::Status)?;
                    return self.status(entry, index, change);
                }
                Ok(Step::Other(kind))
            }
            (_, Given::Signed(_), _) => Err(Wrong::OpeningKind),
        }
    }

    /// A record of a credential that is not in the log, unless it was issued where we can't read.
    fn stranger(&mut self, index: u64) -> Result<Step, Wrong> {
        if !self.unopened_status {
            return Err(Refusal::from(CredentialRefusal::Other).into());
        }
        self.unopened.push(index);
        Ok(Step::Unopened(Kind::Instruction))
    }

    fn record(&mut self, entry: &Entry, index: u64, signed: &Signed) -> Result<Step, Wrong> {
        let key = signed.authorisation_key();
        if let Some(at) = self.index_of_authorisation(&key) {
            return Err(Wrong::Logged { at });
        }
        let metadata = signed.metadata();
        let Some(followed) = self.credentials.get(&metadata.credential) else {
            return self.stranger(index);
        };
        if followed.in_doubt {
            self.unopened.push(index);
            return Ok(Step::Unopened(Kind::Instruction));
        }
        // An instruction entry has an index key: the parser saw to that.
        let place = Place::of(entry, index).ok_or(MetadataRefusal::IndexKey).map_err(Refusal::from)?;
        let seen = self.seen(signed.seen());
        let authorize = |state| signed.authorize(&place, state, &self.policy, seen.as_ref());

        let mut state = followed.state.clone();
        let missing = match metadata.sequence.checked_sub(state.next_sequence()) {
            Some(gap) if gap > 0 && gap <= self.unopened_since(followed.last) => gap,
            _ => 0,
        };
        if missing > 0 {
            state.bridge(metadata.sequence, metadata.previous);
        }
        let authorized = authorize(&state)?;
        state.record(&authorized)?;

        self.authorisations.insert(key, index);
        let followed = Followed { state, last: index, in_doubt: false };
        self.credentials.insert(metadata.credential, followed);
        Ok(match missing {
            0 => Step::Instruction(authorized),
            missing => Step::Bridged { authorized, missing },
        })
    }

    /// How many instruction entries behind this index have no opening.
    fn unopened_since(&self, index: u64) -> u64 {
        let before = self.unopened.partition_point(|unopened| *unopened <= index);
        self.unopened.len().saturating_sub(before) as u64
    }

    fn seen(&self, seen: &TreeHead) -> Option<SeenOnHistory> {
        SeenOnHistory::by_root(seen, self.root_at(seen.size.get())?).ok()
    }

    fn status(&mut self, entry: &Entry, index: u64, change: StatusChange) -> Result<Step, Wrong> {
        if let Change::Issued(bytes) = &change.change {
            self.issue(entry, index, &change.credential, bytes)?;
            return Ok(Step::Status(change));
        }
        let Some(followed) = self.credentials.get_mut(&change.credential) else {
            // Issued by an entry that can't be read, perhaps.
            return if self.unopened_status { Ok(Step::Unopened(Kind::Status)) } else { Err(Wrong::UnknownCredential) };
        };
        if followed.in_doubt {
            return Ok(Step::Unopened(Kind::Status));
        }
        if entry.index_key != Some(followed.state.next_status_key()) {
            return Err(Wrong::StatusKey);
        }
        match change.change {
            Change::Activated(first) if self.unopened.binary_search(&first).is_ok() => {
                followed.state.activate_unopened(first)?;
            }
            _ => followed.state.change(&change.change)?,
        }
        Ok(Step::Status(change))
    }

    fn issue(&mut self, entry: &Entry, index: u64, id: &Hash, bytes: &[u8]) -> Result<(), Wrong> {
        let claims = Credential::from_stored(bytes)?;
        let provider = claims.claims().provider;
        let key = self.issuing_keys.iter().find(|key| provider_id(key.as_bytes()) == provider);
        let credential = Credential::open(bytes, key.ok_or(CredentialError::Provider)?)?;
        if credential.id() != *id || credential.claims().origin != self.genesis.origin {
            return Err(Wrong::OtherCredential);
        }
        if self.credentials.contains_key(id) {
            return Err(TransitionError::Issued.into());
        }
        if entry.index_key != Some(status_index_key(id, 0)) {
            return Err(Wrong::StatusKey);
        }
        let predecessor = credential.claims().predecessor;
        let predecessor = predecessor.and_then(|id| self.credentials.get_mut(&id));
        let predecessor = predecessor.map(|followed| &mut followed.state);
        let subject = credential.claims().subject;
        let state = CredentialState::issue(credential, index, predecessor, self.subjects.contains(&subject))?;
        self.subjects.insert(subject);
        self.credentials.insert(*id, Followed { state, last: index, in_doubt: false });
        Ok(())
    }

    fn policy_change(&mut self, body: &[u8]) -> Result<Step, Wrong> {
        match cbor::decode(body, ENTRY_MAX).map_err(BodyError::from)? {
            Value::Bytes(policy) => self.policy = policy_hash(&policy),
            _ => return Err(BodyError::value("policy").into()),
        }
        Ok(Step::Policy(self.policy))
    }

    /// Only issuing keys matter here: log keys are for who reads checkpoints, the others for who
    /// opens shares and evidence.
    fn key_change(&mut self, body: &[u8]) -> Result<Step, Wrong> {
        let change = KeyChange::parse(body)?;
        if change.role != Role::Issuing {
            return Ok(Step::Other(Kind::Key));
        }
        // A key that nobody in force speaks for would make the log's word for itself the root of
        // all trust, which is what genesis is.
        let old = change.old.ok_or(Wrong::KeyChange)?;
        let signed = change_hash(&self.genesis.origin, change.role, Some(&old.key), &change.new.key);
        for side in [&old, &change.new] {
            let key = Point::parse(&side.key).map_err(|_| Wrong::KeyChange)?;
            let signature = Signature::parse(&side.signature).map_err(|_| Wrong::KeyChange)?;
            signature.verify(&key, &signed.0).map_err(|_| Wrong::KeyChange)?;
        }
        let new = IssuingKey::parse(&change.new.key).map_err(|_| Wrong::KeyChange)?;
        let mut keys = self.issuing_keys.iter_mut();
        let place = keys.find(|key| key.as_bytes()[..] == old.key).ok_or(Wrong::KeyChange)?;
        *place = new;
        Ok(Step::IssuingKey)
    }
}
