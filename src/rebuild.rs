//! Rebuild: the view made again from what is true.
//!
//! ```text
//! entries (bundles) + openings (evidence, keys) ─► fold, as a monitor folds ─► view
//! ```
//!
//! The fold is `scal3`'s, not ours: every signature is verified again, and an entry that should not be in the log stops
//! the rebuild. What can't be learnt from an erased opening comes from the snapshot ([`crate::memory`]).

use std::collections::BTreeMap;

use scal3::entry::Kind;
use scal3::erasure::Erasure;
use scal3::event::Event;
use scal3::fold::{Fold, Step, Stop, Wrong};
use scal3::opening::OtherOpening;
use scal3::outcome::Outcome;
use scal3::state::CredentialState;
use scal3::verify::Submitted;
use tlog::Hash;
use tlog::bundle;
use tlog::tile::{EntriesPath, Path};
use tlog::tree::LeafIndex;

use crate::folder::Folder;
use crate::history::{FULL, History, ReadError};
use crate::ledger::{Change, Key, write_index};
use crate::memory::Memory;
use crate::openings::{self, Shown};
use crate::round::about;
use crate::store::view::{View, ViewError, Write};

/// How many changes go to the view at once.
const PORTION: usize = 8192;

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
}

/// Empties the view and fills it with everything up to the snapshot. `progress` hears (entries done, entries in all).
pub fn view(
    folder: &Folder,
    history: &History,
    memory: &Memory,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), RebuildError> {
    let view = &*folder.view;
    view.clear()?;
    let Some(round) = memory.tip.next.checked_sub(1) else { return Ok(()) };
    let size = memory.tip.frontier.size().get();
    let mut filling = Filling { view, changes: Vec::with_capacity(PORTION), people: BTreeMap::new() };
    let mut fold = None;
    for number in 0..size.div_ceil(FULL) {
        let width = (size - number * FULL).min(FULL) as u16;
        let at = EntriesPath { index: number, width };
        let bytes = history.object(&Path::Entries(at))?;
        let entries = bundle::parse(&bytes).map_err(|_| ReadError::Damaged(at.path()))?;
        for (entry, index) in entries.into_iter().zip(number * FULL..) {
            let stopped = |stop| RebuildError::Stop { index, stop };
            match &mut fold {
                None => fold = Some(Fold::start(entry).map_err(stopped)?),
                Some(fold) => {
                    let at = LeafIndex::new(index).map_err(|_| ReadError::Order)?;
                    let opening = match openings::show(&folder.evidence, &folder.keys, at, entry)? {
                        Shown::Open(opening) => Some(opening),
                        Shown::Erased | Shown::Public => None,
                    };
                    let step = fold.apply(entry, opening.as_deref()).map_err(stopped)?;
                    filling.take(at, entry, opening.as_deref(), step)?;
                }
            }
        }
        progress(((number + 1) * FULL).min(size), size);
    }
    if let Some(fold) = fold {
        if !fold.keys().changes().is_empty() {
            filling.put(&Key::Keys, fold.keys().to_bytes())?;
        }
        for (id, state) in fold.credentials().filter(|(id, _)| !memory.residue.contains_key(id)) {
            filling.put(&Key::Credential(*id), state.to_bytes())?;
            filling.issued(state)?;
        }
    }
    for (id, state) in &memory.residue {
        filling.put(&Key::Credential(*id), state.clone())?;
        filling.put(&Key::Residue(*id), state.clone())?;
        let state = CredentialState::from_own_store(state);
        filling.issued(&state.map_err(|_| ViewError::Damaged("a credential's state"))?)?;
    }
    filling.people()?;
    filling.flush()?;
    Ok(view.apply(round, &[])?)
}

/// Changes on their way into the view.
struct Filling<'a> {
    view: &'a dyn View,
    changes: Vec<Change>,
    /// The credentials of each person, with the place of their issue.
    people: BTreeMap<Hash, Vec<(u64, Hash)>>,
}

impl Filling<'_> {
    fn take(&mut self, index: LeafIndex, entry: &[u8], opening: Option<&[u8]>, step: Step) -> Result<(), RebuildError> {
        // The fold has parsed it.
        let index_key = scal3::Entry::parse(entry).ok().and_then(|e| e.index_key);
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

    /// A credential's enrolment, and its place among those of its person.
    fn issued(&mut self, state: &CredentialState) -> Result<(), RebuildError> {
        let (claims, id) = (state.credential().claims(), state.credential().id());
        self.people.entry(claims.subject).or_default().push((state.issued_at(), id));
        let issued_at = LeafIndex::new(state.issued_at()).map_err(|_| ReadError::Order)?;
        self.put(&Key::Enrolment(claims.enrolment_id), write_index(issued_at))
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
        if self.changes.len() >= PORTION { self.flush() } else { Ok(()) }
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
