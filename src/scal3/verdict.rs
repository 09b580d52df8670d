//! Verdicts: whether an [`Accusation`] proves what it says, to who trusts the log's key and nobody else.
//!
//! ```text
//! heads    each signed by a log of the trust policy, of one origin; the quorum does not matter: signed is signed
//! entries  each shown to be in the tree of the head
//! charge   found again from these bytes alone: nothing that is absent from the file is held against the log
//! ```
//! The last line is what makes a small file enough. An entry that breaks a rule by itself or together with entries that
//! are shown breaks it whatever else is in the log. What depends on something being absent (a gap, an unknown
//! credential, a suspension without an end) is shown only by all entries up to it, and judged by the [`crate::fold`].
//!
//! A verdict is of this version's rules. Entries that a later version may understand are never held against anybody.

use alloc::string::String;
use alloc::vec::Vec;

use tlog::checkpoint::{Checkpoint, CheckpointError};
use tlog::frontier::Frontier;
use tlog::key::Vkey;
use tlog::note::Note;
use tlog::policy::Policy;
use tlog::proof::{ConsistencyProof, InclusionProof, ProofError};
use tlog::tree::{LeafIndex, TooLarge, TreeHead, TreeSize};
use tlog::{Hash, LeafHash};

use crate::accusation::{Accusation, Beginning, Charge, Exhibit, Replayed};
use crate::cbor::{self, ShapeError};
use crate::credential::Credential;
use crate::entry::{BodyError, Entry, EntryError, Kind};
use crate::event::Event;
use crate::fold::{Fold, Step, Stop, Wrong};
use crate::genesis::Genesis;
use crate::key_change::{KeyChange, Role};
use crate::keys::Keys;
use crate::limits::ENTRY_MAX;
use crate::metadata;
use crate::opening::{OtherOpening, commitment};
use crate::outcome::Outcome;
use crate::refusal::{CredentialRefusal, MetadataRefusal, Refusal};
use crate::status::{Change, StatusChange};
use crate::verify::{Place, Signed, Submitted};

/// What an accusation proves.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Proven {
    /// Two roots for one size.
    #[error("{origin} signed two roots for {size} entries")]
    Fork {
        /// The log.
        origin: String,
        /// The size of both trees.
        size: u64,
    },
    /// Two trees, none of which begins with the other.
    #[error("{origin} signed a tree of {larger} entries that does not begin with the tree of {smaller} that it signed")]
    Diverged {
        /// The log.
        origin: String,
        /// The size of the smaller one.
        smaller: u64,
        /// The size of the larger one.
        larger: u64,
    },
    /// A witness cosigned a smaller tree after a larger one.
    #[error(
        "{witness} cosigned {smaller} entries of {origin} after it had cosigned {larger}: the log went back, and the witness let it"
    )]
    Rollback {
        /// The log.
        origin: String,
        /// What the trust policy calls the witness.
        witness: String,
        /// The size that was cosigned later.
        smaller: u64,
        /// The size that was cosigned before.
        larger: u64,
    },
    /// A root over no entries that is not the empty one.
    #[error("{origin} signed a root over no entries that is not the empty one")]
    EmptyRoot {
        /// The log.
        origin: String,
    },
    /// The genesis names another log.
    #[error("entry 0 of {origin} is the genesis of {named}")]
    OtherOrigin {
        /// The log that signed.
        origin: String,
        /// The log that its genesis names.
        named: String,
    },
    /// An entry that should not be in the log.
    #[error("entry {index} of {origin}: {wrong}")]
    Wrong {
        /// The log.
        origin: String,
        /// Which entry.
        index: u64,
        /// Why.
        wrong: Wrong,
    },
    /// An entry that no version of the format allows.
    #[error("entry {index} of {origin}: {stop}")]
    Malformed {
        /// The log.
        origin: String,
        /// Which entry.
        index: u64,
        /// Why.
        stop: Stop,
    },
}

/// Why an accusation proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// A head is no checkpoint.
    #[error("a head is no checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// A head is not by a log of the trust policy.
    #[error("a head is not signed by a log of the trust policy")]
    NotSigned,
    /// The heads are of two logs.
    #[error("the heads are of two logs")]
    TwoLogs,
    /// A size or an index that no tree has.
    #[error(transparent)]
    Number(#[from] TooLarge),
    /// A proof in the file does not hold.
    #[error("a proof in the file does not hold: {0}")]
    Proof(#[from] ProofError),
    /// An opening in the file is not what its entry commits to.
    #[error("an opening in the file is not what its entry commits to")]
    OtherOpening,
    /// The file is in order, and so is the log as far as it shows.
    #[error("nothing in it contradicts anything")]
    NothingWrong,
}

impl Accusation {
    /// What it proves, by a trust policy that names the log's key and, for a rollback, the witness's.
    ///
    /// # Errors
    /// [`Unproven`]: then it says nothing about anybody.
    pub fn judge(&self, trust: &Policy) -> Result<Proven, Unproven> {
        let head = signed(&self.head, trust)?;
        let origin = String::from(head.origin.as_str());
        match &self.charge {
            Charge::Fork { other } => {
                let other = another(other, &head, trust)?;
                let contradicts = other.head.size == head.head.size && other.head.root != head.head.root;
                proven(contradicts, Proven::Fork { origin, size: head.head.size.get() })
            }
            Charge::Diverged { other, beginning } => {
                let other = another(other, &head, trust)?.head;
                let begins = beginning.of(other.size, &head.head)?;
                let (smaller, larger) = (other.size.get(), head.head.size.get());
                proven(begins != other.root, Proven::Diverged { origin, smaller, larger })
            }
            Charge::Rollback { other: note } => {
                let other = another(note, &head, trust)?;
                let (smaller, larger) = (head.head.size.get(), other.head.size.get());
                let witness = let_go_back(note, &self.head, trust).filter(|_| smaller < larger);
                let witness = witness.ok_or(Unproven::NothingWrong)?;
                Ok(Proven::Rollback { origin, witness, smaller, larger })
            }
            Charge::EmptyRoot => {
                let TreeHead { size, root } = head.head;
                proven(size == TreeSize::ZERO && root != Hash::EMPTY_ROOT, Proven::EmptyRoot { origin })
            }
            Charge::Entry { accused, others, seen } => Case::new(&head, accused, others, seen.as_ref())?.judge(),
            Charge::Replay { entries, hashes } => replay(entries, hashes, &head),
        }
    }
}

fn proven(contradicts: bool, proven: Proven) -> Result<Proven, Unproven> {
    if contradicts { Ok(proven) } else { Err(Unproven::NothingWrong) }
}

/// A head that a log of the policy signed, with whatever cosignatures.
///
/// # Errors
/// [`Unproven::Checkpoint`], [`Unproven::NotSigned`].
pub fn signed(note: &Note, trust: &Policy) -> Result<Checkpoint, Unproven> {
    let checkpoint = Checkpoint::parse_text(note.text())?;
    let origin = checkpoint.origin.as_str();
    let keys: Vec<Vkey> =
        trust.logs().iter().filter(|log| log.vkey.name().as_str() == origin).map(|log| log.vkey.clone()).collect();
    note.open(&keys).map_err(|_| Unproven::NotSigned)?;
    Ok(checkpoint)
}

fn another(note: &Note, head: &Checkpoint, trust: &Policy) -> Result<Checkpoint, Unproven> {
    let other = signed(note, trust)?;
    if other.origin == head.origin { Ok(other) } else { Err(Unproven::TwoLogs) }
}

/// A witness of the policy that cosigned the second note later than the first.
fn let_go_back(first: &Note, second: &Note, trust: &Policy) -> Option<String> {
    trust.witnesses().iter().find_map(|witness| {
        let key = [witness.vkey.clone()];
        let times = |note: &Note| -> Vec<u64> {
            let opened = note.open(&key);
            opened.iter().flat_map(|opened| &opened.verified).filter_map(|line| line.time).map(|at| at.get()).collect()
        };
        let before = times(first).into_iter().min()?;
        let after = times(second).into_iter().max()?;
        (after > before).then(|| witness.name.clone())
    })
}

impl Beginning {
    /// The root of the beginning of a tree.
    fn of(&self, size: TreeSize, head: &TreeHead) -> Result<Hash, Unproven> {
        let proof = ConsistencyProof { hashes: self.hashes.clone() };
        proof.verify(&TreeHead { size, root: self.root }, head)?;
        Ok(self.root)
    }
}

/// One entry, and what is shown beside it.
struct Case<'a> {
    head: &'a Checkpoint,
    accused: &'a Exhibit,
    others: &'a [Exhibit],
    seen: Option<&'a Beginning>,
}

impl<'a> Case<'a> {
    /// Everything that is shown is in the tree, and every opening is that of its entry.
    fn new(
        head: &'a Checkpoint,
        accused: &'a Exhibit,
        others: &'a [Exhibit],
        seen: Option<&'a Beginning>,
    ) -> Result<Case<'a>, Unproven> {
        for exhibit in others.iter().chain([accused]) {
            let proof = InclusionProof { hashes: exhibit.hashes.clone() };
            proof.verify(LeafHash::of(&exhibit.entry), LeafIndex::new(exhibit.index)?, &head.head)?;
            if let (Some(opening), Ok(entry)) = (&exhibit.opening, Entry::parse(&exhibit.entry))
                && commitment(opening) != entry.commitment
            {
                return Err(Unproven::OtherOpening);
            }
        }
        Ok(Case { head, accused, others, seen })
    }

    fn origin(&self) -> String {
        String::from(self.head.origin.as_str())
    }

    fn judge(&self) -> Result<Proven, Unproven> {
        let index = self.accused.index;
        let malformed = |stop| Ok(Proven::Malformed { origin: self.origin(), index, stop });
        let entry = match Entry::parse(&self.accused.entry) {
            Ok(entry) => entry,
            Err(error) if of_the_future(&error) || index == 0 => return Err(Unproven::NothingWrong),
            Err(error) => return malformed(error.into()),
        };
        if entry.kind == Kind::Genesis {
            if index > 0 {
                return malformed(Stop::SecondGenesis);
            }
            let genesis = entry.body.as_deref().and_then(|body| Genesis::parse(body).ok());
            let named = genesis.map(|genesis| genesis.origin).filter(|named| *named != self.origin());
            let named = named.ok_or(Unproven::NothingWrong)?;
            return Ok(Proven::OtherOrigin { origin: self.origin(), named });
        }
        match self.wrong(&entry) {
            Err(wrong) => Ok(Proven::Wrong { origin: self.origin(), index, wrong }),
            Ok(()) => Err(Unproven::NothingWrong),
        }
    }

    /// The others that come before the accused, and parse.
    fn before(&self) -> impl Iterator<Item = (&'a Exhibit, Entry)> {
        let index = self.accused.index;
        let earlier = self.others.iter().filter(move |other| other.index < index);
        earlier.filter_map(|other| Some((other, Entry::parse(&other.entry).ok()?)))
    }

    fn wrong(&self, entry: &Entry) -> Result<(), Wrong> {
        for (other, before) in self.before() {
            if before.time_ms > entry.time_ms {
                return Err(Wrong::TimeGoesBack { last_ms: before.time_ms });
            }
            if entry.index_key.is_some() && before.index_key == entry.index_key {
                return Err(Wrong::IndexKeyUsed { at: other.index });
            }
        }
        match (&entry.body, &self.accused.opening) {
            (Some(body), _) => public(entry.kind, body),
            (None, Some(opening)) if entry.kind == Kind::Instruction => self.record(entry, opening),
            (None, Some(opening)) => private(entry, opening),
            (None, None) => Ok(()),
        }
    }

    fn record(&self, entry: &Entry, opening: &[u8]) -> Result<(), Wrong> {
        let submitted = Submitted::parse(opening)?;
        let id = submitted.credential_id();
        let earlier: Vec<(u64, Submitted)> = (self.before())
            .filter_map(|(other, _)| Some((other.index, Submitted::parse(other.opening.as_deref()?).ok()?)))
            .filter(|(_, other)| other.credential_id() == id)
            .collect();
        let key = submitted.authorisation_key();
        if let Some((at, _)) = earlier.iter().find(|(_, other)| other.authorisation_key() == key) {
            return Err(Wrong::Logged { at: *at });
        }
        let Some((credential, issued_at)) = self.credential(&id) else { return Ok(()) };
        let origin = self.head.origin.as_str();
        let signed = match submitted.check(&credential, origin) {
            Ok(signed) => signed,
            // What else is asked for depends on more than is shown here.
            Err(Refusal::Evidence(_)) => return Ok(()),
            Err(refusal) => return Err(refusal.into()),
        };
        if let Some(place) = Place::of(entry, self.accused.index) {
            signed.check_alone(&place, &credential, issued_at)?;
        }
        self.seen(&signed)?;
        if self.is_revoked(&id) {
            return Err(Refusal::from(CredentialRefusal::Revoked).into());
        }
        for (_, other) in earlier {
            if let Ok(other) = other.check(&credential, origin) {
                in_order(&other, &signed)?;
            }
        }
        Ok(())
    }

    /// A credential that is shown to be issued, and the index of the entry that does. The issuing key is one of the
    /// genesis, or one that the key entries shown lead to.
    fn credential(&self, id: &Hash) -> Option<(Credential, u64)> {
        let mut keys: Option<Keys> = None;
        for exhibit in self.others {
            let entry = Entry::parse(&exhibit.entry).ok()?;
            match (entry.kind, &entry.body, &mut keys) {
                (Kind::Genesis, Some(body), _) => {
                    keys = Genesis::parse(body).ok().and_then(|genesis| Keys::genesis(&genesis));
                }
                (Kind::Key, Some(body), Some(keys)) => {
                    let change = KeyChange::parse(body).ok().filter(|change| change.role == Role::Issuing);
                    let _ = change.map(|change| keys.change(self.head.origin.as_str(), &change, exhibit.index));
                }
                (Kind::Status, _, Some(keys)) => {
                    if let Some(StatusChange { credential, change: Change::Issued(bytes) }) = status(exhibit)
                        && credential == *id
                    {
                        let key = keys.of_provider(&Credential::claimed_provider(&bytes).ok()?)?;
                        let credential = Credential::open(&bytes, key).ok()?;
                        return (credential.id() == *id).then_some((credential, exhibit.index));
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// A revocation has no end.
    fn is_revoked(&self, id: &Hash) -> bool {
        self.before().any(|(other, entry)| {
            let change = (entry.kind == Kind::Status).then(|| status(other)).flatten();
            change.is_some_and(|status| status.credential == *id && matches!(status.change, Change::Revoked(_)))
        })
    }

    fn seen(&self, signed: &Signed) -> Result<(), Wrong> {
        let seen = signed.seen();
        let begins = self.seen.and_then(|beginning| beginning.of(seen.size, &self.head.head).ok());
        match begins {
            Some(root) if root != seen.root => Err(Refusal::from(MetadataRefusal::SeenNotOnHistory).into()),
            _ => Ok(()),
        }
    }
}

/// Two records of one credential, the first before the second in the log.
fn in_order(first: &Signed, second: &Signed) -> Result<(), Wrong> {
    let (before, after) = (first.metadata(), second.metadata());
    let expected = before.sequence.saturating_add(1);
    if after.sequence < expected {
        return Err(Refusal::from(MetadataRefusal::Sequence { expected, found: after.sequence }).into());
    }
    let previous = metadata::previous(&before.credential, before.sequence, first.record().c());
    if after.sequence == expected && after.previous != previous {
        return Err(Refusal::from(MetadataRefusal::Previous).into());
    }
    Ok(())
}

fn status(exhibit: &Exhibit) -> Option<StatusChange> {
    let opening = OtherOpening::parse(exhibit.opening.as_deref()?).ok()?;
    StatusChange::from_body(opening.body).ok()
}

/// An entry that carries its body: only the shape, since what it changes depends on all before it.
fn public(kind: Kind, body: &[u8]) -> Result<(), Wrong> {
    match kind {
        Kind::Policy => match cbor::decode(body, ENTRY_MAX).map_err(BodyError::from)? {
            cbor::Value::Bytes(_) => Ok(()),
            _ => Err(BodyError::value("policy").into()),
        },
        Kind::Key => Ok(KeyChange::parse(body).map(|_| ())?),
        _ => Ok(()),
    }
}

/// An entry with an opening that is no record: only the shape.
fn private(entry: &Entry, opening: &[u8]) -> Result<(), Wrong> {
    let opening = OtherOpening::parse(opening)?;
    if opening.kind != entry.kind {
        return Err(Wrong::OpeningKind);
    }
    let in_a_stream = match entry.kind {
        Kind::Status => {
            StatusChange::from_body(opening.body).map_err(Wrong::Status)?;
            false
        }
        Kind::Outcome => {
            Outcome::from_body(opening.body).map_err(Wrong::Outcome)?;
            true
        }
        Kind::Event => Event::from_body(opening.body).is_ok_and(|event| event.stream.is_some()),
        _ => false,
    };
    if in_a_stream && entry.index_key.is_none() { Err(Wrong::StreamKey) } else { Ok(()) }
}

/// Whether a later version of the format may know this entry.
pub fn of_the_future(error: &EntryError) -> bool {
    matches!(error, EntryError::UnknownKind(_) | EntryError::Shape(ShapeError { part: "version", .. }))
}

/// The whole log up to the entry that is accused, which is the last one.
fn replay(entries: &[Replayed], hashes: &[Hash], head: &Checkpoint) -> Result<Proven, Unproven> {
    let mut frontier = Frontier::new();
    for (entry, _) in entries {
        frontier.push(LeafHash::of(entry))?;
    }
    ConsistencyProof { hashes: hashes.to_vec() }.verify(&frontier.head(), &head.head)?;
    let Some((((first, _), rest), last)) = entries.split_first().zip(entries.len().checked_sub(1)) else {
        return Err(Unproven::NothingWrong);
    };
    let mut fold = Fold::start(first).map_err(|_| Unproven::NothingWrong)?;
    let (origin, index) = (String::from(head.origin.as_str()), last as u64);
    let mut verdict = None;
    for (entry, opening) in rest {
        verdict = match fold.apply(entry, opening.as_deref()) {
            Err(Stop::OtherOpening) => return Err(Unproven::OtherOpening),
            Err(Stop::Entry(error)) if of_the_future(&error) => return Err(Unproven::NothingWrong),
            Err(stop) if fold.head().size.get() == index => {
                return Ok(Proven::Malformed { origin, index, stop });
            }
            Err(_) => return Err(Unproven::NothingWrong),
            Ok(Step::Wrong(wrong)) => Some(wrong),
            Ok(_) => None,
        };
    }
    let wrong = verdict.ok_or(Unproven::NothingWrong)?;
    Ok(Proven::Wrong { origin, index, wrong })
}
