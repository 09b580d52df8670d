//! The ledger: the state that the next round is planned against.
//!
//! ```text
//! lookup(key)  =  overlay (rounds committed, not yet applied)   else   view (everything before)
//! ```
//!
//! The state is a fold over entries and openings, so the view may be thrown away and made again. What may not happen is
//! that a committed round is in neither place, not for a moment: the overlay takes a round before its waiters are
//! answered, and lets go of it only after the view has it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use scal3::authenticators::Authenticators;
use scal3::credential::Credential;
use scal3::genesis::Genesis;
use scal3::keys::Keys;
use scal3::policies::Policies;
use scal3::state::CredentialState;
use scal3::tagged;
use tlog::Hash;
use tlog::tree::LeafIndex;

use crate::lately::Lately;
use crate::memory;
use crate::record::Record;
use crate::sequencer::Committed;
use crate::store::view::{View, ViewError};
use crate::submission::{AppendError, CredentialRefusal};

/// A name in the state. Hashes stand here in full: a shortened one would let two things share an answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// An index key; its value is the index of its entry.
    IndexKey(Hash),
    /// An authorisation, by its name (`scal3::record::authorisation_key`); its value is the index of its entry.
    Authorisation(Hash),
    /// A credential; its value is what entries can change in its [`CredentialState`].
    Credential(Hash),
    /// A credential; its value is the credential itself, which never changes.
    Issued(Hash),
    /// Somebody who has credentials; its value is their ids, in the order of their issue.
    Subject(Hash),
    /// An enrolment; its value is the index of the entry that issued its one credential.
    Enrolment(Hash),
    /// A credential whose enrolment was kept here; its value is the index of the entry that has what was kept.
    Kept(Hash),
    /// A challenge that was answered; its value is the index of the entry that says so.
    Challenge(Hash),
    /// What an outcome is about: an authorisation, by its name, which has one outcome, or an instruction that was blocked
    /// before it was authorised; its value is the index of the (last) outcome.
    Outcome(Hash),
    /// An erased opening; its value is the index of the erasure.
    Erased(LeafIndex),
    /// What is left of a credential of which a record or a status was erased; its value is its [`CredentialState`] then.
    ///
    /// A rebuilt view can't learn from an erased opening where the credential's history stands. This is the one part
    /// of the state that no entry carries, so it is kept in the snapshot as well.
    Residue(Hash),
    /// The keys in force, once one has changed; its value is [`Keys`].
    Keys,
    /// The policy in force and those that were spoken for, once there was one; its value is [`Policies`].
    Policies,
    /// The authenticators of somebody who has credentials; its value is [`Authenticators`].
    Authenticators(Hash),
    /// The key of an authenticator, by its [`key_name`]; its value is the index of the entry that added it.
    AuthenticatorKey(Hash),
    /// An authenticator that browsers find by a name of its own; its value is the index of the event that has the name.
    Registered(Hash),
    /// The device key of a credential, by its [`key_name`]. That it is there is all that its value says.
    Device(Hash),
    /// What is left of somebody's authenticators where something was erased that may have been about them; its value is
    /// [`Authenticators`]. Like [`Key::Residue`], it is kept in the snapshot as well.
    AuthenticatorsResidue(Hash),
}

/// The name that the state knows a public key by, or the hash of a secret.
pub fn key_name(key: &[u8]) -> Hash {
    tagged("solelog/known-key/v1", key)
}

impl Key {
    /// The key as the view stores it: one letter, then the name.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Key::IndexKey(hash) => [&b"k"[..], &hash.0].concat(),
            Key::Authorisation(hash) => [&b"a"[..], &hash.0].concat(),
            Key::Credential(hash) => [&b"c"[..], &hash.0].concat(),
            Key::Issued(hash) => [&b"d"[..], &hash.0].concat(),
            Key::Subject(hash) => [&b"s"[..], &hash.0].concat(),
            Key::Enrolment(hash) => [&b"n"[..], &hash.0].concat(),
            Key::Kept(hash) => [&b"p"[..], &hash.0].concat(),
            Key::Challenge(hash) => [&b"h"[..], &hash.0].concat(),
            Key::Outcome(hash) => [&b"o"[..], &hash.0].concat(),
            Key::Erased(index) => [&b"e"[..], &index.get().to_be_bytes()].concat(),
            Key::Residue(hash) => [&b"r"[..], &hash.0].concat(),
            Key::Keys => b"i".to_vec(),
            Key::Policies => b"l".to_vec(),
            Key::Authenticators(hash) => [&b"u"[..], &hash.0].concat(),
            Key::AuthenticatorKey(hash) => [&b"y"[..], &hash.0].concat(),
            Key::Registered(hash) => [&b"w"[..], &hash.0].concat(),
            Key::Device(hash) => [&b"v"[..], &hash.0].concat(),
            Key::AuthenticatorsResidue(hash) => [&b"t"[..], &hash.0].concat(),
        }
    }
}

/// One change of the state: that name has this value from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The name, as [`Key::to_bytes`] gives it.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
}

impl Change {
    /// That name has this value.
    pub fn new(key: &Key, value: Vec<u8>) -> Change {
        Change { key: key.to_bytes(), value }
    }
}

/// Reading the state.
pub trait Lookup {
    /// The value of that name.
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, ViewError>;

    /// The index that stands under that name.
    fn index_at(&self, key: &Key) -> Result<Option<LeafIndex>, ViewError> {
        self.get(key)?.map(|v| read_index(&v)).transpose()
    }

    /// Where the entry with that index key stands.
    fn index_of(&self, index_key: &Hash) -> Result<Option<LeafIndex>, ViewError> {
        self.index_at(&Key::IndexKey(*index_key))
    }

    /// The credentials of somebody, in the order of their issue.
    fn credentials_of(&self, subject: &Hash) -> Result<Vec<Hash>, ViewError> {
        let ids = self.get(&Key::Subject(*subject))?.unwrap_or_default();
        let (ids, rest) = ids.as_chunks::<32>();
        if rest.is_empty() {
            Ok(ids.iter().map(|id| Hash(*id)).collect())
        } else {
            Err(ViewError::Damaged("a person's credentials"))
        }
    }

    /// A credential as it stands.
    fn credential(&self, id: &Hash) -> Result<Option<CredentialState>, ViewError> {
        self.read_credential(id)
    }

    /// The same, read from its bytes.
    fn read_credential(&self, id: &Hash) -> Result<Option<CredentialState>, ViewError> {
        let Some(changing) = self.get(&Key::Credential(*id))? else { return Ok(None) };
        let damaged = ViewError::Damaged("a credential's state");
        let Some(issued) = self.get(&Key::Issued(*id))? else { return Err(damaged) };
        let credential = Credential::from_own_store(&issued).map(Arc::new);
        let state = credential.ok().and_then(|known| CredentialState::from_own_parts(known, &changing).ok());
        state.map(Some).ok_or(damaged)
    }

    /// The authenticators of somebody, by the subject of their credentials.
    fn authenticators(&self, subject: &Hash) -> Result<Option<Authenticators>, ViewError> {
        let Some(own) = self.get(&Key::Authenticators(*subject))? else { return Ok(None) };
        Authenticators::from_own_store(&own).map(Some).map_err(|_| ViewError::Damaged("somebody's authenticators"))
    }

    /// Whether there is a [`Key::Residue`] of that credential.
    fn has_residue(&self, id: &Hash) -> Result<bool, ViewError> {
        Ok(self.get(&Key::Residue(*id))?.is_some())
    }
}

/// An index as the state holds it.
pub fn write_index(index: LeafIndex) -> Vec<u8> {
    index.get().to_be_bytes().to_vec()
}

fn read_index(bytes: &[u8]) -> Result<LeafIndex, ViewError> {
    let bytes = <[u8; 8]>::try_from(bytes).map_err(|_| ViewError::Damaged("an index"))?;
    LeafIndex::new(u64::from_be_bytes(bytes)).map_err(|_| ViewError::Damaged("an index"))
}

/// What holds for the whole log, from its genesis on.
#[derive(Debug)]
pub struct Standing {
    genesis: Genesis,
    keys: Keys,
    /// Those of the genesis.
    policies: Arc<Policies>,
    /// Those that the state had when it was last asked, with their bytes: to read a document takes long.
    asked: RwLock<Option<(Vec<u8>, Arc<Policies>)>>,
}

impl Standing {
    /// What a genesis says. `None` when one of its issuing keys is no key.
    pub fn new(genesis: Genesis) -> Option<Standing> {
        let keys = Keys::genesis(&genesis)?;
        let policies = Arc::new(Policies::new(&genesis.policy));
        Some(Standing { genesis, keys, policies, asked: RwLock::default() })
    }

    /// The origin.
    pub fn origin(&self) -> &str {
        &self.genesis.origin
    }

    /// The genesis: origin, issuing keys, first policy.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The policy in force in that state, and those that were spoken for. A policy that nobody can read denies everything.
    pub fn policies(&self, state: &dyn Lookup) -> Result<Arc<Policies>, ViewError> {
        let Some(bytes) = state.get(&Key::Policies)? else { return Ok(Arc::clone(&self.policies)) };
        let asked = self.asked.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((before, policies)) = &*asked
            && *before == bytes
        {
            return Ok(Arc::clone(policies));
        }
        drop(asked);
        let policies = Policies::from_own_store(&bytes).map_err(|_| ViewError::Damaged("the policy in force"))?;
        let policies = Arc::new(policies);
        *self.asked.write().unwrap_or_else(PoisonError::into_inner) = Some((bytes, Arc::clone(&policies)));
        Ok(policies)
    }

    /// The keys in force in that state.
    pub fn keys(&self, state: &dyn Lookup) -> Result<Keys, ViewError> {
        match state.get(&Key::Keys)? {
            None => Ok(self.keys.clone()),
            Some(keys) => Keys::from_own_store(&keys).map_err(|_| ViewError::Damaged("the keys in force")),
        }
    }

    /// Opens a credential with the issuing key in force that its provider claim names, and checks that it is for this
    /// log. One that the log has is as good as when it was issued, whatever key has come since.
    pub fn open_credential(&self, bytes: &[u8], state: &dyn Lookup) -> Result<Credential, AppendError> {
        let unreadable = |error| {
            tracing::error!(%error, "the state can't be read");
            AppendError::Dead
        };
        let provider = Credential::claimed_provider(bytes)?;
        let keys = self.keys(state).map_err(unreadable)?;
        let Some(key) = keys.of_provider(&provider) else {
            // Compared in full with what was opened then: nothing else is believed without its signature.
            let known = Credential::from_own_store(bytes).map(|claimed| claimed.id())?;
            let known = state.credential(&known).map_err(unreadable)?.map(|state| state.credential().clone());
            let known = known.filter(|known| known.as_bytes() == bytes);
            return known.ok_or(CredentialRefusal::Provider { found: provider }.into());
        };
        let credential = Credential::open(bytes, key)?;
        if credential.claims().origin != self.genesis.origin {
            let found = credential.claims().origin.clone();
            return Err(CredentialRefusal::Origin { found }.into());
        }
        Ok(credential)
    }
}

/// How many credentials' states are kept as they are computed with, in each of two generations.
const STATES: usize = 8192;

/// The state of one log.
pub struct Ledger {
    view: Arc<dyn View>,
    overlay: RwLock<Overlay>,
    /// Of credentials that were asked for lately, what overlay and view say of them. To read one from its bytes takes two
    /// square roots, longer than to verify a signature in a batch, and each record needs its credential twice.
    states: Lately<Hash, CredentialState>,
    /// The credentials that have left a residue; read from the view when one is asked about first.
    residues: OnceLock<RwLock<HashSet<Hash>>>,
}

/// What the committed rounds say that the view does not say yet.
#[derive(Default)]
struct Overlay {
    /// Those that are not yet readable.
    rounds: VecDeque<Arc<Committed>>,
    /// Those that are not yet in the view.
    records: VecDeque<Arc<Record>>,
    changed: HashMap<Vec<u8>, (u64, Vec<u8>)>,
    /// How many rounds were committed here.
    commits: u64,
}

impl Ledger {
    /// The state as the view has it.
    pub fn new(view: Arc<dyn View>) -> Ledger {
        let residues = OnceLock::new();
        Ledger { view, overlay: RwLock::default(), states: Lately::of(STATES), residues }
    }

    /// A round has been committed: from now on it is part of the state. `states` are those of the credentials it changes.
    pub fn commit(&self, round: Arc<Committed>, states: Vec<CredentialState>) {
        let mut overlay = self.overlay.write().unwrap_or_else(PoisonError::into_inner);
        overlay.commits += 1;
        for change in &round.record.changes {
            overlay.changed.insert(change.key.clone(), (round.record.round, change.value.clone()));
            if let (Some(id), Some(residues)) = (memory::residue_of(change), self.residues.get()) {
                residues.write().unwrap_or_else(PoisonError::into_inner).insert(id);
            }
        }
        for state in states {
            self.states.add(state.credential().id(), state, 1);
        }
        overlay.records.push_back(Arc::clone(&round.record));
        overlay.rounds.push_back(round);
    }

    /// Every round up to this one is in bundles and evidence.
    pub fn integrated(&self, upto: u64) {
        let mut overlay = self.overlay.write().unwrap_or_else(PoisonError::into_inner);
        while overlay.rounds.front().is_some_and(|round| round.record.round <= upto) {
            overlay.rounds.pop_front();
        }
    }

    /// The view has every round up to this one: the overlay lets go of them.
    pub fn applied(&self, upto: u64) {
        let mut overlay = self.overlay.write().unwrap_or_else(PoisonError::into_inner);
        while let Some(record) = overlay.records.front().filter(|record| record.round <= upto).cloned() {
            for change in &record.changes {
                // A later round may have changed the same name; its value stays until that round is applied.
                if overlay.changed.get(&change.key).is_some_and(|(by, _)| *by <= upto) {
                    overlay.changed.remove(&change.key);
                }
            }
            overlay.records.pop_front();
        }
    }

    /// The committed round that holds this entry, while it is not yet in bundles and evidence.
    pub fn recent(&self, index: LeafIndex) -> Option<Arc<Committed>> {
        let overlay = self.overlay.read().unwrap_or_else(PoisonError::into_inner);
        overlay.rounds.iter().find(|r| r.record.position(index).is_some()).cloned()
    }

    /// The view beneath.
    pub fn view(&self) -> &Arc<dyn View> {
        &self.view
    }

    fn commits(&self) -> u64 {
        self.overlay.read().unwrap_or_else(PoisonError::into_inner).commits
    }

    /// Reads which credentials have left a residue. Nobody commits meanwhile: only the one who does asks.
    fn read_residues(&self) -> Result<&RwLock<HashSet<Hash>>, ViewError> {
        if let Some(known) = self.residues.get() {
            return Ok(known);
        }
        let mut found = HashSet::new();
        self.view
            .scan(b"r", &mut |key, _| found.extend(key.get(1..).and_then(|id| Some(Hash(id.try_into().ok()?)))))?;
        let overlay = self.overlay.read().unwrap_or_else(PoisonError::into_inner);
        found.extend(overlay.records.iter().flat_map(|record| &record.changes).filter_map(memory::residue_of));
        Ok(self.residues.get_or_init(|| RwLock::new(found)))
    }
}

impl Lookup for Ledger {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, ViewError> {
        let key = key.to_bytes();
        let recent = {
            let overlay = self.overlay.read().unwrap_or_else(PoisonError::into_inner);
            overlay.changed.get(&key).map(|(_, value)| value.clone())
        };
        // What the overlay has just let go of is in the view by then, so this order misses nothing.
        recent.map_or_else(|| self.view.get(&key), |value| Ok(Some(value)))
    }

    fn credential(&self, id: &Hash) -> Result<Option<CredentialState>, ViewError> {
        if let Some(known) = self.states.get(id) {
            return Ok(Some(known));
        }
        let before = self.commits();
        let Some(state) = self.read_credential(id)? else { return Ok(None) };
        // With this lock held no round is committed: what was read is still what the log says, or it is not kept.
        let overlay = self.overlay.read().unwrap_or_else(PoisonError::into_inner);
        if overlay.commits == before {
            self.states.add(*id, state.clone(), 1);
        }
        Ok(Some(state))
    }

    fn has_residue(&self, id: &Hash) -> Result<bool, ViewError> {
        Ok(self.read_residues()?.read().unwrap_or_else(PoisonError::into_inner).contains(id))
    }
}
