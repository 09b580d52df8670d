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
use tlog::tree::TreeHead;
use tlog::{Hash, LeafHash};

use crate::attempts::Attempt;
use crate::authenticators::{Authenticators, EnrolError};
use crate::cbor::Value;
use crate::credential::{Credential, CredentialError};
use crate::entry::{BodyError, Entry, Kind};
use crate::erasure::Erasure;
use crate::event::{Event, StreamPlace};
use crate::genesis::Genesis;
use crate::gone::Gone;
use crate::index_key::status_index_key;
use crate::key_change::{KeyChange, Role};
use crate::keys::Keys;
use crate::opening::{self, OtherOpening};
use crate::outcome::Outcome;
use crate::policies::Policies;
use crate::policy::{Denial, InForce};
use crate::seen::SeenOnHistory;
use crate::state::{CredentialState, TransitionError};
use crate::status::{Change, StatusChange};
pub use crate::step::{Known, PolicyRefusal, Step, Stop, Wrong};
use crate::verify::{CredentialRefusal, EvidenceRefusal, MetadataRefusal, Place, Refusal, Rules, Signed, Submitted};

mod claims;
mod standing;
mod store;

use standing::Standing;
pub use store::StoredFoldError;

/// What the log means so far.
#[derive(Debug, Clone)]
pub struct Fold {
    genesis: Genesis,
    keys: Keys,
    standing: Standing,
    time_ms: u64,
    frontier: Frontier,
    /// The root of each size, by size.
    roots: Vec<Hash>,
    credentials: BTreeMap<Hash, Followed>,
    /// Everybody who has a credential, each with the index of the entry that issued the first.
    subjects: BTreeMap<Hash, u64>,
    index_keys: BTreeMap<Hash, u64>,
    authorisations: BTreeMap<Hash, u64>,
    /// Instruction entries without an opening, that stand for no missing record yet.
    unopened: BTreeSet<u64>,
    /// The last instruction entry without an opening.
    last_unopened: Option<u64>,
    /// Entries without an opening that no erasure has named.
    unexplained: BTreeSet<u64>,
    /// The index key of each credential's next status.
    next_status: BTreeMap<Hash, Hash>,
    /// Is there a status entry without an opening?
    unopened_status: bool,
    /// Entries without an opening that may be of a provider's stream.
    gone: Gone,
}

/// A credential, and where it was last heard of.
#[derive(Debug, Clone)]
struct Followed {
    state: CredentialState,
    /// The index of its last record that could be read, or of its issuing.
    last: u64,
    /// How many missing records an activation has accounted for since.
    paid: u64,
    /// The index of the last entry of its provider's stream that could be read, or of its issuing.
    last_about: u64,
    /// Was an entry of that stream gone since the last attempt that was seen to start, so that nobody knows which one waits
    /// for a verdict?
    attempts_in_doubt: bool,
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
        let keys = Keys::genesis(&genesis).ok_or(Stop::GenesisKey)?;
        let mut frontier = Frontier::new();
        let empty = frontier.root();
        frontier.push(LeafHash::of(entry))?;
        Ok(Fold {
            standing: Standing::new(&genesis.policy),
            genesis,
            keys,
            time_ms: parsed.time_ms,
            roots: vec![empty, frontier.root()],
            frontier,
            credentials: BTreeMap::new(),
            subjects: BTreeMap::new(),
            index_keys: BTreeMap::new(),
            authorisations: BTreeMap::new(),
            unopened: BTreeSet::new(),
            last_unopened: None,
            unexplained: BTreeSet::new(),
            next_status: BTreeMap::new(),
            unopened_status: false,
            gone: Gone::default(),
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

    /// The keys in force.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// SHA-256 of the policy in force.
    pub fn policy(&self) -> &Hash {
        self.standing.policies.in_force().hash()
    }

    /// The policy in force.
    pub fn policy_in_force(&self) -> &InForce {
        self.standing.policies.in_force()
    }

    /// The policy in force with its document, and those that records spoke for.
    pub fn policies(&self) -> &Policies {
        &self.standing.policies
    }

    /// Everybody's authenticators, by the subject of their credentials.
    pub fn all_authenticators(&self) -> impl Iterator<Item = &Authenticators> {
        self.standing.all()
    }

    /// The authenticators of a participant, by the subject of their credentials. None: nobody has asked for any.
    pub fn authenticators(&self, participant: &Hash) -> Option<&Authenticators> {
        self.standing.authenticators(participant)
    }

    /// The latest time of an entry.
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// The state of a credential, and whether it is certain.
    pub fn credential(&self, id: &Hash) -> Option<Known<'_>> {
        let followed = self.credentials.get(id)?;
        Some(if followed.in_doubt { Known::InDoubt(&followed.state) } else { Known::Certain(&followed.state) })
    }

    /// All credentials whose state is certain, by id.
    pub fn credentials(&self) -> impl Iterator<Item = (&Hash, &CredentialState)> {
        self.credentials.iter().filter(|(_, followed)| !followed.in_doubt).map(|(id, followed)| (id, &followed.state))
    }

    /// Those of which the log alone does not tell whether they may act, as far as it tells.
    pub fn in_doubt(&self) -> impl Iterator<Item = (&Hash, &CredentialState)> {
        self.credentials.iter().filter(|(_, followed)| followed.in_doubt).map(|(id, followed)| (id, &followed.state))
    }

    /// The entries without an opening that no erasure has named so far, ascending. An opening that was neither given nor
    /// erased is one that somebody keeps back.
    pub fn unexplained(&self) -> impl Iterator<Item = u64> {
        self.unexplained.iter().copied()
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
        // A full tree takes no leaf and stays as it was, so this comes before anything is changed; judging looks at no root but
        // earlier ones.
        self.frontier.push(LeafHash::of(bytes))?;

        let step = self.judge(&entry, index, given).unwrap_or_else(Step::Wrong);

        self.roots.push(self.frontier.root());
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
        if let Some(at) = self.keys.frozen() {
            return Err(Wrong::Frozen { at });
        }
        if entry.time_ms < self.time_ms {
            return Err(Wrong::TimeGoesBack { last_ms: self.time_ms });
        }
        if let Some(at) = entry.index_key.and_then(|index_key| self.index_of(&index_key)) {
            return Err(Wrong::IndexKeyUsed { at });
        }
        match (entry.kind, given, &entry.body) {
            (Kind::Policy, _, Some(body)) => self.policy_change(body, index, entry.time_ms),
            (Kind::Key, _, Some(body)) => self.key_change(body, index),
            (kind, _, Some(_)) => Ok(Step::Other(kind)),
            (Kind::Instruction, Given::Nothing, _) => {
                self.unopened.insert(index);
                self.last_unopened = Some(index);
                self.unexplained.insert(index);
                Ok(Step::Unopened(Kind::Instruction))
            }
            (Kind::Instruction, Given::Signed(signed), _) => self.record(entry, index, signed),
            (Kind::Instruction, Given::Bytes(opening), _) => {
                let submitted = Submitted::parse(opening)?;
                let Some(followed) = self.credentials.get(&submitted.credential_id()) else {
                    return self.stranger(Kind::Instruction);
                };
                let credential = followed.state.credential();
                let signed = submitted.check(credential, &self.genesis.origin)?;
                self.record(entry, index, &signed)
            }
            (Kind::Status, Given::Nothing, _) => {
                self.unopened_status = true;
                self.unexplained.insert(index);
                let id = entry.index_key.and_then(|key| self.next_status.remove(&key));
                if let Some(followed) = id.and_then(|id| self.credentials.get_mut(&id)) {
                    followed.in_doubt = true;
                    followed.state.skip_status();
                    self.standing.doubt(followed.state.credential().claims().subject);
                    self.next_status.insert(followed.state.next_status_key(), followed.state.credential().id());
                }
                Ok(Step::Unopened(Kind::Status))
            }
            (kind, Given::Nothing, _) => {
                self.unexplained.insert(index);
                if matches!(kind, Kind::Outcome | Kind::Event) && entry.index_key.is_some() {
                    self.gone.push(index, entry.commitment);
                }
                Ok(Step::Unopened(kind))
            }
            (kind, Given::Bytes(opening), _) => {
                let opening = OtherOpening::parse(opening)?;
                if opening.kind != kind {
                    return Err(Wrong::OpeningKind);
                }
                self.opened(entry, index, opening.body)
            }
            (_, Given::Signed(_), _) => Err(Wrong::OpeningKind),
        }
    }

    /// An entry that is no instruction, with the body of its opening.
    fn opened(&mut self, entry: &Entry, index: u64, body: Value) -> Result<Step, Wrong> {
        match entry.kind {
            Kind::Status => {
                let change = StatusChange::from_body(body).map_err(Wrong::Status)?;
                return self.status(entry, index, change);
            }
            Kind::Outcome => {
                let outcome = Outcome::from_body(body).map_err(Wrong::Outcome)?;
                return self.about(entry, index, &outcome.stream, None);
            }
            Kind::Event => {
                // An event of another shape is somebody's own, and about nobody here.
                let event = Event::from_body(body).ok();
                if let Some((event, place)) = event.as_ref().and_then(|event| Some((event, event.stream.as_ref()?))) {
                    return self.about(entry, index, place, Attempt::of(event));
                }
            }
            Kind::Erasure => {
                let erasure = Erasure::from_body(body).map_err(BodyError::from)?;
                self.unexplained.remove(&erasure.index);
            }
            _ => {}
        }
        Ok(Step::Other(entry.kind))
    }

    /// An entry about a credential that is not in the log, unless it was issued where we can't read.
    fn stranger(&self, kind: Kind) -> Result<Step, Wrong> {
        match kind {
            _ if self.unopened_status => Ok(Step::InDoubt(kind)),
            Kind::Instruction => Err(Refusal::from(CredentialRefusal::Other).into()),
            _ => Err(Wrong::UnknownCredential),
        }
    }

    /// What the provider writes about a subscriber: the next entry of that stream, and what it says of attempts. Under
    /// which index key such an entry is found, only who has the stream's key can check.
    fn about(
        &mut self,
        entry: &Entry,
        index: u64,
        place: &StreamPlace,
        attempt: Option<(Attempt, Hash)>,
    ) -> Result<Step, Wrong> {
        let Some(followed) = self.credentials.get_mut(&place.credential) else {
            return self.stranger(entry.kind);
        };
        if entry.index_key.is_none() {
            return Err(Wrong::StreamKey);
        }
        let state = &mut followed.state;
        let missing = place.counter.saturating_sub(state.provider_place().counter);
        let bridged = missing > 0 && self.gone.explains(missing, followed.last_about, &place.previous);
        if bridged {
            self.gone.explain(missing, &place.previous);
            state.bridge_provider(place.counter, place.previous);
            followed.attempts_in_doubt = true;
        }
        state.provider_entry(place, &entry.commitment)?;
        let starts = matches!(attempt, Some((Attempt::Started, _)));
        let counted = attempt.map_or(Ok(()), |(attempt, challenge)| state.attempt(attempt, &challenge));
        // A verdict on an attempt that may have started where we can't read, or under a status that we can't read.
        let excused = followed.in_doubt || followed.attempts_in_doubt && !starts;
        if let (Err(wrong), false) = (counted, excused) {
            state.bridge_provider(place.counter, place.previous);
            return Err(wrong.into());
        }
        if starts {
            followed.attempts_in_doubt = false;
        }
        followed.last_about = index;
        let in_doubt = bridged || followed.in_doubt || counted.is_err();
        Ok(if in_doubt { Step::InDoubt(entry.kind) } else { Step::Other(entry.kind) })
    }

    fn record(&mut self, entry: &Entry, index: u64, signed: &Signed) -> Result<Step, Wrong> {
        let key = signed.authorisation_key();
        if let Some(at) = self.index_of_authorisation(&key) {
            return Err(Wrong::Logged { at });
        }
        let metadata = signed.metadata();
        let Some(followed) = self.credentials.get(&metadata.credential) else {
            return self.stranger(Kind::Instruction);
        };
        // An instruction entry has an index key: the parser saw to that.
        let place = Place::of(entry, index).ok_or(MetadataRefusal::IndexKey).map_err(Refusal::from)?;
        let seen = self.seen(signed.seen());
        if followed.in_doubt {
            // Whether it may act and what it did before can't be known. All the rest can.
            let state = &followed.state;
            signed.check_alone(&place, state.credential(), state.issued_at())?;
            if seen.is_none() {
                return Err(Refusal::from(MetadataRefusal::SeenNotOnHistory).into());
            }
            if metadata.policy != *self.standing.policies.in_force().hash() {
                return Err(Refusal::from(MetadataRefusal::Policy).into());
            }
            self.authorisations.insert(key, index);
            return Ok(Step::InDoubt(Kind::Instruction));
        }
        let mut state = followed.state.clone();
        let missing = metadata.sequence.saturating_sub(state.next_sequence());
        // Each entry without an opening can be one missing record, of one credential. The earliest ones are taken: those
        // are of no use to a credential that was heard of later.
        let due = usize::try_from(missing.saturating_sub(followed.paid)).unwrap_or(usize::MAX);
        let behind = followed.last.saturating_add(1);
        let excused: Vec<u64> = self.unopened.range(behind..).take(due).copied().collect();
        let bridged = missing > 0 && excused.len() == due;
        if bridged {
            state.bridge(metadata.sequence, metadata.previous);
        }
        let subject = state.credential().claims().subject;
        let nobody = Authenticators::of(subject);
        let own = self.standing.authenticators(&subject).unwrap_or(&nobody);
        let rules = Rules { policy: self.standing.policies.in_force(), authenticators: &[own] };
        let authorized = match signed.authorize_under(&place, &state, &rules, seen.as_ref()) {
            // What is missing may have been added where nobody can read it any more.
            Err(Refusal::Evidence(refusal)) if self.unopened_status && may_be_unread(&refusal) => {
                self.authorisations.insert(key, index);
                if let Some(followed) = self.credentials.get_mut(&metadata.credential) {
                    followed.in_doubt = true;
                }
                return Ok(Step::InDoubt(Kind::Instruction));
            }
            authorized => authorized?,
        };
        state.record(&authorized)?;
        // And what is there may have been revoked there.
        let in_doubt = self.standing.is_doubtful(&subject) && !signed.evidence().is_empty();
        self.standing.take_record(&authorized, subject);

        if bridged {
            for index in &excused {
                self.unopened.remove(index);
            }
        }
        self.authorisations.insert(key, index);
        if let Some(followed) = self.credentials.get_mut(&metadata.credential) {
            (followed.state, followed.last, followed.paid) = (state, index, 0);
        }
        if in_doubt {
            return Ok(Step::InDoubt(Kind::Instruction));
        }
        Ok(if bridged { Step::Bridged { authorized, missing } } else { Step::Instruction(authorized) })
    }

    fn seen(&self, seen: &TreeHead) -> Option<SeenOnHistory> {
        SeenOnHistory::by_root(seen, self.root_at(seen.size.get())?).ok()
    }

    fn status(&mut self, entry: &Entry, index: u64, change: StatusChange) -> Result<Step, Wrong> {
        if let Change::Issued(bytes) = &change.change {
            let in_doubt = self.issue(entry, index, &change.credential, bytes)?;
            return Ok(if in_doubt { Step::InDoubt(Kind::Status) } else { Step::Status(change) });
        }
        let Some(followed) = self.credentials.get_mut(&change.credential) else {
            // Issued by an entry that can't be read, perhaps.
            return self.stranger(Kind::Status);
        };
        let key = followed.state.next_status_key();
        if entry.index_key != Some(key) {
            return Err(Wrong::StatusKey);
        }
        let subject = followed.state.credential().claims().subject;
        // The record that asked for an authenticator may be one that nobody can read any more, of any credential of the person.
        let first = self.subjects.get(&subject).copied().unwrap_or_default();
        let unread = self.last_unopened.is_some_and(|last| last > first);
        let step = if followed.in_doubt {
            followed.state.skip_status();
            self.standing.doubt(subject);
            Step::InDoubt(Kind::Status)
        } else {
            let mut in_doubt = false;
            match &change.change {
                Change::Activated(first) if *first > followed.state.issued_at() && self.unopened.contains(first) => {
                    followed.state.activate_unopened(*first)?;
                    self.unopened.remove(first);
                    followed.paid = 1;
                }
                other => {
                    let mut state = followed.state.clone();
                    state.change(other)?;
                    match other {
                        Change::AuthenticatorAdded(claims) => {
                            in_doubt = self.standing.add(subject, claims, index, entry.time_ms, unread)?;
                        }
                        Change::AuthenticatorRevoked(id, _) => match self.standing.revoke(subject, id, index) {
                            Err(EnrolError::Unknown) if self.standing.is_doubtful(&subject) => in_doubt = true,
                            revoked => revoked?,
                        },
                        _ => {}
                    }
                    followed.state = state;
                }
            }
            if in_doubt {
                self.standing.doubt(subject);
                Step::InDoubt(Kind::Status)
            } else {
                Step::Status(change)
            }
        };
        self.next_status.remove(&key);
        self.next_status.insert(followed.state.next_status_key(), followed.state.credential().id());
        Ok(step)
    }

    fn issue(&mut self, entry: &Entry, index: u64, id: &Hash, bytes: &[u8]) -> Result<bool, Wrong> {
        let provider = Credential::claimed_provider(bytes)?;
        let key = self.keys.of_provider(&provider).ok_or(CredentialError::Provider)?;
        let credential = Credential::open(bytes, key)?;
        if credential.id() != *id || credential.claims().origin != self.genesis.origin {
            return Err(Wrong::OtherCredential);
        }
        if self.credentials.contains_key(id) {
            return Err(TransitionError::Issued.into());
        }
        if entry.index_key != Some(status_index_key(id, 0)) {
            return Err(Wrong::StatusKey);
        }
        self.standing.check_device(&credential)?;
        let (before, subject) = (credential.claims().predecessor, credential.claims().subject);
        // An opening that is gone may have been the predecessor's, or the record in which it spoke for this one.
        let (state, in_doubt) = match before.and_then(|id| self.credentials.get_mut(&id)) {
            None if before.is_some() && self.unopened_status => (CredentialState::in_doubt(credential, index), true),
            found => {
                let gaps = found.as_ref().is_some_and(|followed| {
                    followed.in_doubt || self.last_unopened.is_some_and(|last| last > followed.state.issued_at())
                });
                let predecessor = found.map(|followed| &mut followed.state);
                let known = self.subjects.contains_key(&subject);
                let state = CredentialState::issue(credential, index, entry.time_ms, predecessor, known)?;
                let in_doubt = gaps && !state.is_vouched();
                (state, in_doubt)
            }
        };
        self.subjects.entry(subject).or_insert(index);
        self.standing.take_device(state.credential());
        self.next_status.insert(state.next_status_key(), *id);
        let followed = Followed { state, last: index, paid: 0, last_about: index, attempts_in_doubt: false, in_doubt };
        self.credentials.insert(*id, followed);
        Ok(in_doubt)
    }

    fn policy_change(&mut self, body: &[u8], index: u64, time_ms: u64) -> Result<Step, Wrong> {
        let in_doubt = self.standing.change_policy(body, index, time_ms, self.last_unopened.is_some())?;
        Ok(if in_doubt { Step::InDoubt(Kind::Policy) } else { Step::Policy(*self.policy()) })
    }

    /// A key takes another one's place, if its role's rules are kept.
    fn key_change(&mut self, body: &[u8], index: u64) -> Result<Step, Wrong> {
        let change = KeyChange::parse(body)?;
        self.keys.change(&self.genesis.origin, &change, index)?;
        Ok(match change.role {
            Role::Issuing => Step::IssuingKey,
            _ => Step::Other(Kind::Key),
        })
    }
}

/// Whether evidence was refused for something that another entry, which can't be read, may have changed.
fn may_be_unread(refusal: &EvidenceRefusal) -> bool {
    matches!(
        refusal,
        EvidenceRefusal::UnknownAuthenticator { .. }
            | EvidenceRefusal::Policy(Denial::NotMet { .. } | Denial::VouchedOnly { .. })
    )
}
