//! Checking: every entry of a solelog judged by the rules of the log, in order.
//!
//! The rules are [`scal3::fold`]: the same transitions that the sequencer makes. Here its outcomes become counts and
//! findings. Only what was shown and verified counts as verified; what nobody could show us counts as unverifiable,
//! and never as in order.

use std::collections::BTreeMap;
use std::sync::Arc;

use scal3::cbor::ShapeError;
use scal3::entry::EntryError;
use scal3::fold::{Fold, Step, Stop};
use scal3::verify::Signed;
use tlog::LeafIndex;
use tlog::checkpoint::Origin;
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
    erased: u64,
    findings: Vec<What>,
    /// Findings beyond [`MOST`].
    more: u64,
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
            erased: 0,
            findings: Vec::new(),
            more: 0,
        }
    }

    /// Takes the next entries, with what there is to each. Their signatures are verified together.
    pub fn take(&mut self, entries: &[(LeafIndex, Vec<u8>)], given: &[Given]) {
        let mut signed = self.verify(entries, given);
        for (place, ((_, entry), given)) in entries.iter().zip(given).enumerate() {
            self.next(entry, given, signed.remove(&place));
        }
    }

    /// The records whose signatures hold, by their place. All others the fold verifies by itself.
    fn verify(&self, entries: &[(LeafIndex, Vec<u8>)], given: &[Given]) -> BTreeMap<usize, Signed> {
        let Some(fold) = self.fold.as_ref().filter(|_| !self.stopped) else { return BTreeMap::new() };
        let claims = entries.iter().zip(given).enumerate().filter_map(|(place, ((_, entry), given))| match given {
            Given::Shown(opening) => Some((place, fold.claim(entry, opening)?)),
            Given::Public | Given::Erased | Given::Withheld => None,
        });
        verify_many(&self.verifier, claims.collect()).into_iter().collect()
    }

    fn next(&mut self, entry: &[u8], given: &Given, signed: Option<Signed>) {
        let index = self.next;
        self.next += 1;
        self.erased += u64::from(*given == Given::Erased);
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
                self.tell(What::OtherOpening { index });
                step
            }
            step => step,
        };
        match step {
            Ok(Step::Instruction(_)) => self.verified += 1,
            Ok(Step::Bridged { .. }) => {
                self.verified += 1;
                self.bridged += 1;
            }
            Ok(Step::Status(_) | Step::Policy(_) | Step::IssuingKey | Step::Other(_)) => {}
            Ok(Step::Unopened(_) | Step::InDoubt(_)) => self.unverifiable += 1,
            Ok(Step::Wrong(wrong)) => self.tell(What::Wrong { index, wrong }),
            Err(stop) => {
                self.stop();
                self.tell(if of_the_future(&stop) {
                    What::Unknown { index, stop }
                } else {
                    What::Malformed { index, stop }
                });
            }
        }
    }

    fn start(&mut self, entry: &[u8]) {
        match Fold::start(entry) {
            Ok(fold) => {
                let origin = &fold.genesis().origin;
                if origin != self.origin.as_str() {
                    let origin = origin.clone();
                    self.tell(What::OtherOrigin { origin });
                }
                self.fold = Some(fold);
            }
            Err(stop) => {
                self.stop();
                self.tell(What::NotSolelog(stop));
            }
        }
    }

    fn stop(&mut self) {
        self.stopped = true;
        self.unverifiable += 1;
    }

    /// Whether some entry was folded without its opening because another was shown in its place.
    pub fn was_misled(&self) -> bool {
        self.findings.iter().any(|what| matches!(what, What::OtherOpening { .. }))
    }

    fn tell(&mut self, what: What) {
        if self.findings.len() < MOST {
            self.findings.push(what);
        } else {
            self.more += 1;
        }
    }

    /// Tells all that was found, in this pass or before: what is in the log stays in it.
    pub fn tell_all(&self, report: &mut Report) {
        report.verified = self.verified;
        report.bridged = self.bridged;
        report.unverifiable = self.unverifiable;
        report.erased = self.erased;
        for what in &self.findings {
            report.add(what.clone());
        }
        if self.more > 0 {
            report.add(What::MoreWrong(self.more));
        }
        // A wrong opening that a server showed says nothing about the entries.
        if self.next > 0 && self.findings.iter().all(|what| matches!(what, What::OtherOpening { .. })) {
            report.add(What::InOrder { entries: self.next });
            if self.unverifiable == 0 && self.bridged == 0 {
                report.add(What::Verified { records: self.verified });
            }
        }
    }
}

/// Whether a later version of the format may know this entry.
fn of_the_future(stop: &Stop) -> bool {
    let Stop::Entry(error) = stop else { return false };
    matches!(error, EntryError::UnknownKind(_) | EntryError::Shape(ShapeError { part: "version", .. }))
}
