//! Rebuild: the view made again from what is true.
//!
//! ```text
//! entries (bundles) ─┐
//! openings, keys    ─┴► portions ─► signatures, on all cores ─► fold, as a monitor folds ─► view
//! ```
//!
//! The fold is `scal3`'s, not ours: every signature is verified again, and an entry that should not be in the log stops
//! the rebuild. What can't be learnt from an erased opening comes from the snapshot ([`crate::memory`]), or from the
//! rounds after it. An opening that can't be read and that nobody has erased stops the rebuild too: to whoever only looks
//! at the keys, a lost one and an erased one are the same, and a view made without it would be another than the log's.

use std::collections::{BTreeMap, BTreeSet};

use scal3::authenticators::Authenticators;
use scal3::entry::{Entry, Kind};
use scal3::erasure::Erasure;
use scal3::event::Event;
use scal3::fold::{Fold, Step, Stop, Wrong};
use scal3::opening::OtherOpening;
use scal3::outcome::Outcome;
use scal3::policies::Policies;
use scal3::state::CredentialState;
use scal3::verify::{Signed, Submitted};
use tlog::Hash;
use tlog::bundle;
use tlog::tile::{EntriesPath, Path};
use tlog::tree::LeafIndex;
use verifier::{Engine as Verifier, verify_many};

use crate::folder::Folder;
use crate::history::{FULL, History, ReadError};
use crate::ledger::{Change, Key, key_name, write_index};
use crate::memory::{self, Memory};
use crate::openings::{self, Shown};
use crate::record::Record;
use crate::round::about;
use crate::store::view::{View, ViewError, Write};

/// How many changes go to the view at once.
const CHANGES: usize = 8192;

/// How many entries are verified at once, and at how many bytes of openings there are enough of them.
const PORTION: (usize, usize) = (4096, 8 << 20);

/// Why the view can't be made again.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// An entry or an opening can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The view failed.
    #[error(transparent)]
    View(#[from] ViewError),
    /// An entry can't be understood.
    #[error("entry {index}: {stop}")]
    Stop {
        /// Which.
        index: u64,
        /// Why.
        stop: Stop,
    },
    /// An entry should not be in the log.
    #[error("entry {index} should not be in the log: {wrong}")]
    Wrong {
        /// Which.
        index: u64,
        /// Why.
        wrong: Wrong,
    },
    /// Openings can't be read, and no entry has erased them.
    #[error(
        "the key of the opening of entry {index} is missing, and no entry has erased it ({count} such in all). Bring the newest copy of openings.keys back"
    )]
    KeyLost {
        /// The first.
        index: u64,
        /// How many.
        count: usize,
    },
    /// What became of a credential can't be learnt from the log any more, and the snapshot does not have it.
    #[error(
        "the state of the credential issued by entry {index} hangs on an erased opening, and the snapshot does not have it. Bring the newest copy of the folder back, with its view"
    )]
    InDoubt {
        /// The entry that issued it.
        index: u64,
    },
}

/// Empties the view and fills it with everything up to the snapshot. `progress` hears (entries done, entries in all).
///
/// `tail` are the rounds after it: they have erased openings too, and will be applied to the view.
pub fn view(
    folder: &Folder,
    history: &History,
    memory: &Memory,
    tail: &[Record],
    verifier: &Verifier,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), RebuildError> {
    let view = &*folder.view;
    view.clear()?;
    let Some(round) = memory.tip.next.checked_sub(1) else { return Ok(()) };
    let size = memory.tip.frontier.size().get();
    let mut filling = Filling { view, changes: Vec::with_capacity(CHANGES), people: BTreeMap::new() };
    let mut fold = Fold::start(&history.entry(index_of(0)?)?).map_err(|stop| RebuildError::Stop { index: 0, stop })?;
    let mut portion = Portion::default();
    for number in 0..size.div_ceil(FULL) {
        let width = (size - number * FULL).min(FULL) as u16;
        let at = EntriesPath { index: number, width };
        let bytes = history.object(&Path::Entries(at))?;
        let entries = bundle::parse(&bytes).map_err(|_| ReadError::Damaged(at.path()))?;
        // Entry 0 is the one that the fold began with.
        for (entry, index) in entries.into_iter().zip(number * FULL..).skip(usize::from(number == 0)) {
            portion.push(folder, index_of(index)?, entry)?;
            if portion.is_full() {
                filling.portion(&mut fold, std::mem::take(&mut portion), verifier)?;
            }
        }
        progress(((number + 1) * FULL).min(size), size);
    }
    filling.portion(&mut fold, portion, verifier)?;
    finish(filling, &fold, memory, tail)?;
    Ok(view.apply(round, &[])?)
}

fn index_of(index: u64) -> Result<LeafIndex, ReadError> {
    LeafIndex::new(index).map_err(|_| ReadError::Order)
}

/// Entries that are verified together.
#[derive(Default)]
struct Portion {
    items: Vec<Item>,
    bytes: usize,
}

/// An entry with its opening, if it has one that can be read.
struct Item {
    index: LeafIndex,
    entry: Vec<u8>,
    opening: Option<Vec<u8>>,
}

impl Portion {
    fn push(&mut self, folder: &Folder, index: LeafIndex, entry: &[u8]) -> Result<(), ReadError> {
        let opening = match openings::show(&folder.evidence, &folder.keys, index, entry)? {
            Shown::Open(opening) => Some(opening),
            Shown::Erased | Shown::Public => None,
        };
        self.bytes += entry.len() + opening.as_ref().map_or(0, Vec::len);
        self.items.push(Item { index, entry: entry.to_vec(), opening });
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.items.len() >= PORTION.0 || self.bytes >= PORTION.1
    }

    /// The records whose signatures hold, by their place in the portion.
    ///
    /// What is missing here the fold verifies by itself, and says what is wrong with it.
    fn verify(&self, fold: &Fold, verifier: &Verifier) -> BTreeMap<usize, Signed> {
        let coming = self.items.iter().map(|Item { entry, opening, .. }| (entry.as_slice(), opening.as_deref()));
        let points = |compressed: &[_]| verifier.points(compressed).into_iter().map(Result::ok).collect();
        verify_many(verifier, fold.claims(coming, points)).into_iter().collect()
    }
}

/// Writes the credentials, when all that could hide one has been accounted for.
fn finish(mut filling: Filling<'_>, fold: &Fold, memory: &Memory, tail: &[Record]) -> Result<(), RebuildError> {
    let erased: BTreeSet<u64> = tail.iter().flat_map(|round| &round.erased).copied().collect();
    let mut lost = fold.unexplained().filter(|index| !erased.contains(index));
    if let Some(index) = lost.next() {
        return Err(RebuildError::KeyLost { index, count: 1 + lost.count() });
    }
    // A round of the tail that leaves a residue has the whole state in it.
    let mut residues: BTreeMap<Hash, &[u8]> = memory.residue.iter().map(|(id, state)| (*id, &state[..])).collect();
    let later = tail.iter().flat_map(|round| &round.changes);
    residues.extend(later.filter_map(|change| Some((memory::residue_of(change)?, &change.value[..]))));
    if let Some((_, state)) = fold.in_doubt().find(|(id, _)| !residues.contains_key(id)) {
        return Err(RebuildError::InDoubt { index: state.issued_at() });
    }
    if !fold.keys().changes().is_empty() {
        filling.put(&Key::Keys, fold.keys().to_bytes())?;
    }
    filling.policies(fold, memory)?;
    let mut left: BTreeMap<Hash, &[u8]> = memory.authenticators.iter().map(|(id, state)| (*id, &state[..])).collect();
    let later = tail.iter().flat_map(|round| &round.changes);
    left.extend(later.filter_map(|change| Some((memory::authenticators_of(change)?, &change.value[..]))));
    filling.authenticators(fold, &left)?;
    for (id, state) in fold.credentials().filter(|(id, _)| !residues.contains_key(id)) {
        filling.credential(id, state)?;
    }
    for (id, state) in residues {
        filling.put(&Key::Residue(id), state.to_vec())?;
        let state = CredentialState::from_own_store(state);
        filling.credential(&id, &state.map_err(|_| ViewError::Damaged("a credential's state"))?)?;
    }
    filling.people()?;
    filling.flush()
}

/// Changes on their way into the view.
struct Filling<'a> {
    view: &'a dyn View,
    changes: Vec<Change>,
    /// The credentials of each person, with the place of their issue.
    people: BTreeMap<Hash, Vec<(u64, Hash)>>,
}

impl Filling<'_> {
    fn portion(&mut self, fold: &mut Fold, portion: Portion, verifier: &Verifier) -> Result<(), RebuildError> {
        let mut verified = portion.verify(fold, verifier);
        for (place, Item { index, entry, opening }) in portion.items.into_iter().enumerate() {
            let step = match verified.remove(&place) {
                Some(signed) => fold.apply_signed(&entry, &signed),
                None => fold.apply(&entry, opening.as_deref()),
            };
            let step = step.map_err(|stop| RebuildError::Stop { index: index.get(), stop })?;
            self.take(index, &entry, opening.as_deref(), step)?;
        }
        Ok(())
    }

    fn take(&mut self, index: LeafIndex, entry: &[u8], opening: Option<&[u8]>, step: Step) -> Result<(), RebuildError> {
        // The fold has parsed it.
        let index_key = Entry::parse(entry).ok().and_then(|e| e.index_key);
        if let Some(index_key) = index_key {
            self.put(&Key::IndexKey(index_key), write_index(index))?;
        }
        match step {
            Step::Instruction(authorized) | Step::Bridged { authorized, .. } => {
                self.put(&Key::Authorisation(*authorized.authorisation_key()), write_index(index))
            }
            // The fold has verified its signatures.
            Step::InDoubt(Kind::Instruction) => match opening.and_then(|opening| Submitted::parse(opening).ok()) {
                Some(submitted) => self.put(&Key::Authorisation(submitted.authorisation_key()), write_index(index)),
                None => Ok(()),
            },
            Step::Other(kind @ (Kind::Event | Kind::Outcome)) | Step::InDoubt(kind @ (Kind::Event | Kind::Outcome)) => {
                match opening.and_then(|opening| told(kind, opening)) {
                    Some(key) => self.put(&key, write_index(index)),
                    None => Ok(()),
                }
            }
            Step::Other(Kind::Erasure) => match opening.and_then(erased) {
                Some(erased) => self.put(&Key::Erased(erased), write_index(index)),
                None => Ok(()),
            },
            Step::Wrong(wrong) => Err(RebuildError::Wrong { index: index.get(), wrong }),
            _ => Ok(()),
        }
    }

    /// A credential, its enrolment, and its place among those of its person.
    fn credential(&mut self, id: &Hash, state: &CredentialState) -> Result<(), RebuildError> {
        let claims = state.credential().claims();
        self.people.entry(claims.subject).or_default().push((state.issued_at(), *id));
        self.put(&Key::Credential(*id), state.changing_to_bytes())?;
        self.put(&Key::Issued(*id), state.credential().as_bytes().to_vec())?;
        self.put(&Key::Device(key_name(&claims.device_key)), vec![1])?;
        self.put(&Key::Enrolment(claims.enrolment_id), write_index(index_of(state.issued_at())?))
    }

    /// The policy in force is in the log for everybody to read. Which others were spoken for may be in what was erased.
    fn policies(&mut self, fold: &Fold, memory: &Memory) -> Result<(), RebuildError> {
        let damaged = ViewError::Damaged("the policy in force");
        match &memory.policies {
            Some(bytes) => match Policies::from_own_store(bytes) {
                Ok(kept) if kept.in_force() == fold.policy_in_force() => self.put(&Key::Policies, bytes.clone()),
                _ => Err(damaged.into()),
            },
            None if *fold.policies() != Policies::new(&fold.genesis().policy) => {
                self.put(&Key::Policies, fold.policies().to_bytes())
            }
            None => Ok(()),
        }
    }

    /// Everybody's authenticators, and each of their keys; of those in `left` as they were left.
    fn authenticators(&mut self, fold: &Fold, left: &BTreeMap<Hash, &[u8]>) -> Result<(), RebuildError> {
        for own in fold.all_authenticators().filter(|own| !left.contains_key(own.participant())) {
            self.own(own)?;
        }
        for (subject, bytes) in left {
            self.put(&Key::AuthenticatorsResidue(*subject), bytes.to_vec())?;
            let own = Authenticators::from_own_store(bytes);
            self.own(&own.map_err(|_| ViewError::Damaged("somebody's authenticators"))?)?;
        }
        Ok(())
    }

    fn own(&mut self, own: &Authenticators) -> Result<(), RebuildError> {
        self.put(&Key::Authenticators(*own.participant()), own.to_bytes())?;
        for (_, held) in own.all() {
            let key = Key::AuthenticatorKey(key_name(held.claims().about.key_bytes()));
            self.put(&key, write_index(index_of(held.added_at())?))?;
        }
        Ok(())
    }

    fn people(&mut self) -> Result<(), RebuildError> {
        for (subject, mut credentials) in std::mem::take(&mut self.people) {
            credentials.sort_unstable();
            let ids: Vec<u8> = credentials.iter().flat_map(|(_, id)| id.0).collect();
            self.put(&Key::Subject(subject), ids)?;
        }
        Ok(())
    }

    fn put(&mut self, key: &Key, value: Vec<u8>) -> Result<(), RebuildError> {
        self.changes.push(Change::new(key, value));
        if self.changes.len() >= CHANGES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), RebuildError> {
        let writes: Vec<Write<'_>> =
            self.changes.iter().map(|c| (c.key.as_slice(), Some(c.value.as_slice()))).collect();
        self.view.load(&writes)?;
        self.changes.clear();
        Ok(())
    }
}

/// What the state has from an entry about a subscriber, beside the credential's own.
fn told(kind: Kind, opening: &[u8]) -> Option<Key> {
    let body = OtherOpening::parse(opening).ok()?.body;
    if kind == Kind::Outcome {
        return Outcome::from_body(body).ok()?.about.map(Key::Outcome);
    }
    about::told(&Event::from_body(body).ok()?)
}

/// Which entry's opening an erasure erased.
fn erased(opening: &[u8]) -> Option<LeafIndex> {
    let erasure = Erasure::from_body(OtherOpening::parse(opening).ok()?.body).ok()?;
    LeafIndex::new(erasure.index).ok()
}
