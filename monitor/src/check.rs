//! Checking: every entry of a solelog judged by the rules of the log, in order.
//!
//! The rules are [`scal3::fold`]: the same transitions that the sequencer makes. Here its outcomes become counts and
//! findings. Only what was shown and verified counts as verified; what nobody could show us counts as unverifiable,
//! and never as in order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use scal3::fold::{Fold, Step, Stop, Wrong};
use scal3::key_change::Role;
use scal3::verdict::of_the_future;
use scal3::verify::Signed;
use scal3::verify::{CredentialRefusal, MetadataRefusal, Refusal, Submitted};
use scal3::{Change, StatusChange};
use tlog::checkpoint::Origin;
use tlog::key::{KeyName, Vkey};
use tlog::policy::Policy;
use tlog::{Hash, LeafIndex, TreeHead};
use verifier::{Engine, verify_many};

use crate::openings::Given;
use crate::report::{Report, What};

/// The most findings about single entries that are told one by one.
const MOST: usize = 100;

/// The judgement of all entries so far.
#[derive(Debug)]
pub(crate) struct Check {
    origin: Origin,
    /// The index of the next entry.
    next: u64,
    fold: Option<Fold>,
    /// Who verifies signatures.
    verifier: Arc<Engine>,
    /// The fold can't go on: what is behind an entry that it can't understand can't be known.
    stopped: bool,
    verified: u64,
    bridged: u64,
    unverifiable: u64,
    erased: BTreeSet<u64>,
    findings: Vec<(What, Lead)>,
    /// Findings beyond [`MOST`].
    more: u64,
    /// The first entry with the latest time so far.
    latest: (u64, u64),
    /// Of each credential, where it was last heard of.
    heard: BTreeMap<Hash, Heard>,
}

/// What was counted in a log that is in order, beside what the fold knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Counts {
    pub verified: u64,
    pub bridged: u64,
    pub unverifiable: u64,
    pub erased: BTreeSet<u64>,
    pub latest: (u64, u64),
    /// Of each credential, its last record and its revocation.
    pub heard: BTreeMap<Hash, (Option<u64>, Option<u64>)>,
}

/// Where to look for what an entry contradicts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Lead {
    /// Entries that show what is wrong, ascending.
    pub others: Vec<u64>,
    /// Whether it takes openings to see it.
    pub openings: bool,
    /// The size of the tree that the record says it has seen.
    pub seen: Option<u64>,
}

/// Where a credential was last heard of.
#[derive(Clone, Copy, Default, Debug)]
struct Heard {
    record: Option<u64>,
    revoked: Option<u64>,
}

impl Check {
    /// Of the log of this origin, from its first entry.
    pub fn new(origin: Origin, verifier: Arc<Engine>) -> Check {
        Check {
            origin,
            next: 0,
            fold: None,
            verifier,
            stopped: false,
            verified: 0,
            bridged: 0,
            unverifiable: 0,
            erased: BTreeSet::new(),
            findings: Vec::new(),
            more: 0,
            latest: (0, 0),
            heard: BTreeMap::new(),
        }
    }

    /// From where an earlier process came to.
    pub fn resumed(origin: Origin, verifier: Arc<Engine>, fold: Fold, counts: Counts) -> Check {
        let Counts { verified, bridged, unverifiable, erased, latest, heard } = counts;
        let heard = heard.into_iter().map(|(id, (record, revoked))| (id, Heard { record, revoked }));
        Check {
            next: fold.head().size.get(),
            fold: Some(fold),
            verified,
            bridged,
            unverifiable,
            erased,
            latest,
            heard: heard.collect(),
            ..Check::new(origin, verifier)
        }
    }

    /// What to go on from later; nothing where something was found, or nothing was read.
    pub fn in_order(&self) -> Option<(&Fold, Counts)> {
        let fold = self.fold.as_ref().filter(|_| !self.stopped && self.findings.is_empty() && self.more == 0)?;
        let heard = self.heard.iter().map(|(id, heard)| (*id, (heard.record, heard.revoked)));
        let counts = Counts {
            verified: self.verified,
            bridged: self.bridged,
            unverifiable: self.unverifiable,
            erased: self.erased.clone(),
            latest: self.latest,
            heard: heard.collect(),
        };
        Some((fold, counts))
    }

    /// Takes the next entries, with what there is to each. Their signatures are verified together.
    pub fn take(&mut self, entries: &[(LeafIndex, &[u8])], given: &[Given]) {
        // Before the genesis nobody knows whose records to verify.
        let first = usize::from(self.next == 0).min(entries.len());
        let mut rest = entries.iter().zip(given);
        for ((_, entry), given) in rest.by_ref().take(first) {
            self.next(entry, given, None);
        }
        let mut signed = self.verify(rest.clone().map(|((_, entry), given)| (*entry, given)));
        for (place, ((_, entry), given)) in rest.enumerate() {
            self.next(entry, given, signed.remove(&place));
        }
    }

    /// The records whose signatures hold, by their place. All others the fold verifies by itself.
    fn verify<'a>(&self, coming: impl Iterator<Item = (&'a [u8], &'a Given)>) -> BTreeMap<usize, Signed> {
        let Some(fold) = self.fold.as_ref().filter(|_| !self.stopped) else { return BTreeMap::new() };
        let coming = coming.map(|(entry, given)| match given {
            Given::Shown(opening) => (entry, Some(opening.as_slice())),
            Given::Public | Given::Erased | Given::Withheld => (entry, None),
        });
        let points = |compressed: &[_]| self.verifier.points(compressed).into_iter().map(Result::ok).collect();
        verify_many(&self.verifier, fold.claims(coming, points)).into_iter().collect()
    }

    fn next(&mut self, entry: &[u8], given: &Given, signed: Option<Signed>) {
        let index = self.next;
        self.next += 1;
        if *given == Given::Erased {
            self.erased.insert(index);
        }
        if self.stopped {
            self.unverifiable += 1;
            return;
        }
        let Some(fold) = &mut self.fold else {
            return self.start(entry);
        };
        let opening = match given {
            Given::Shown(opening) => Some(opening.as_slice()),
            Given::Public | Given::Erased | Given::Withheld => None,
        };
        let step = match signed {
            Some(signed) => fold.apply_signed(entry, &signed),
            None => fold.apply(entry, opening),
        };
        let step = match step {
            Err(Stop::OtherOpening) => {
                // The server's word, and nothing the log signed. The entry is as good as unopened.
                let step = fold.apply(entry, None);
                self.tell(What::OtherOpening { index }, Lead::default());
                step
            }
            step => step,
        };
        match step {
            Ok(Step::Instruction(authorized)) => {
                self.verified += 1;
                self.heard.entry(*authorized.credential()).or_default().record = Some(index);
            }
            Ok(Step::Bridged { authorized, .. }) => {
                self.verified += 1;
                self.bridged += 1;
                self.heard.entry(*authorized.credential()).or_default().record = Some(index);
            }
            Ok(Step::Status(StatusChange { credential, change: Change::Revoked(_) })) => {
                self.heard.entry(credential).or_default().revoked = Some(index);
            }
            Ok(Step::Status(_) | Step::Policy(_) | Step::IssuingKey | Step::Other(_)) => {}
            Ok(Step::Unopened(_) | Step::InDoubt(_)) => self.unverifiable += 1,
            Ok(Step::Wrong(wrong)) => {
                let lead = self.lead(&wrong, opening);
                self.tell(What::Wrong { index, wrong }, lead);
            }
            Err(stop) => {
                self.stop();
                let unknown = matches!(&stop, Stop::Entry(error) if of_the_future(error));
                let what = if unknown { What::Unknown { index, stop } } else { What::Malformed { index, stop } };
                self.tell(what, Lead::default());
            }
        }
        let time_ms = self.fold.as_ref().map_or(0, Fold::time_ms);
        if time_ms > self.latest.0 {
            self.latest = (time_ms, index);
        }
    }

    /// Where to look for what this entry contradicts: the entries that let others see it too.
    fn lead(&self, wrong: &Wrong, opening: Option<&[u8]>) -> Lead {
        let pair = |at, openings| Lead { others: vec![at], openings, seen: None };
        let refusal = match wrong {
            Wrong::TimeGoesBack { .. } => return pair(self.latest.1, false),
            Wrong::IndexKeyUsed { at } => return pair(*at, false),
            Wrong::Logged { at } => return pair(*at, true),
            Wrong::Refused(refusal) => refusal,
            _ => return Lead { openings: true, ..Lead::default() },
        };
        let mut lead = Lead { openings: true, ..Lead::default() };
        let (Some(fold), Some(Ok(submitted))) = (&self.fold, opening.map(Submitted::parse)) else { return lead };
        let id = submitted.credential_id();
        let Some(known) = fold.credential(&id) else { return lead };
        let issued_at = known.as_read().issued_at();
        let keys = fold.keys().changes().iter();
        let keys = keys.filter(|change| change.role == Role::Issuing && change.index < issued_at);
        lead.others = [0].into_iter().chain(keys.map(|change| change.index)).chain([issued_at]).collect();
        let heard = self.heard.get(&id).copied().unwrap_or_default();
        match refusal {
            Refusal::Credential(CredentialRefusal::Revoked) => lead.others.extend(heard.revoked),
            Refusal::Metadata(MetadataRefusal::Sequence { .. } | MetadataRefusal::Previous) => {
                lead.others.extend(heard.record);
            }
            Refusal::Metadata(MetadataRefusal::SeenNotOnHistory) => lead.seen = Some(submitted.seen().size.get()),
            _ => {}
        }
        lead
    }

    fn start(&mut self, entry: &[u8]) {
        match Fold::start(entry) {
            Ok(fold) => {
                let origin = &fold.genesis().origin;
                if origin != self.origin.as_str() {
                    let origin = origin.clone();
                    self.tell(What::OtherOrigin { origin }, Lead::default());
                }
                self.latest = (fold.time_ms(), 0);
                self.fold = Some(fold);
            }
            Err(stop) => {
                self.stop();
                self.tell(What::NotSolelog(stop), Lead::default());
            }
        }
    }

    fn stop(&mut self) {
        self.stopped = true;
        self.unverifiable += 1;
    }

    /// Whether some entry was folded without its opening because another was shown in its place.
    pub fn was_misled(&self) -> bool {
        self.findings.iter().any(|(what, _)| matches!(what, What::OtherOpening { .. }))
    }

    fn tell(&mut self, what: What, lead: Lead) {
        if self.findings.len() < MOST {
            self.findings.push((what, lead));
        } else {
            self.more += 1;
        }
    }

    /// Entries whose openings are gone, as the server says, and that no erasure entry names.
    pub fn gone(&self) -> Vec<u64> {
        let unexplained = self.fold.iter().flat_map(Fold::unexplained);
        unexplained.filter(|index| self.erased.contains(index)).collect()
    }

    /// The log key that entries named last, where the trust file does not have it. Whoever trusts only the one before is
    /// cut off when that one stops signing; and who stole that one could have named a key of their own.
    pub fn log_key_beyond(&self, trust: &Policy) -> Option<What> {
        let keys = self.fold.as_ref()?.keys();
        let key = keys.log()?;
        if trust.logs().iter().any(|log| log.vkey.public_key() == &key[..]) {
            return None;
        }
        let name = KeyName::new(self.origin.as_str()).ok()?;
        let index = keys.changes().iter().rfind(|change| change.role == Role::Log && change.key == key)?.index;
        Some(What::NewLogKey { index, key: Vkey::ed25519(name, *key).to_string() })
    }

    /// Where to look for what an entry contradicts.
    pub fn lead_of(&self, index: u64) -> Lead {
        let of_index = |(what, _): &&(What, Lead)| what.index() == Some(index);
        self.findings.iter().find(of_index).map(|(_, lead)| lead.clone()).unwrap_or_default()
    }

    /// The head of the tree of all entries that were folded; none where the fold could not go on to the last of them.
    pub fn head(&self) -> Option<TreeHead> {
        self.fold.as_ref().filter(|_| !self.stopped).map(Fold::head)
    }

    /// The root of the tree at an earlier size, as the entries gave it.
    pub fn root_at(&self, size: u64) -> Option<Hash> {
        self.fold.as_ref()?.root_at(size).copied()
    }

    /// Tells all that was found, in this pass or before: what is in the log stays in it.
    pub fn tell_all(&self, report: &mut Report) {
        report.verified = self.verified;
        report.bridged = self.bridged;
        report.unverifiable = self.unverifiable;
        report.erased = self.erased.len() as u64;
        for (what, _) in &self.findings {
            report.add(what.clone());
        }
        if self.more > 0 {
            report.add(What::MoreWrong(self.more));
        }
        // A wrong opening that a server showed says nothing about the entries.
        if self.next > 0 && self.findings.iter().all(|(what, _)| matches!(what, What::OtherOpening { .. })) {
            report.add(What::InOrder { entries: self.next });
            if self.unverifiable == 0 && self.bridged == 0 {
                report.add(What::Verified { records: self.verified });
            }
        }
    }
}
