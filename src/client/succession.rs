//! Succession: that a credential which follows another may act, shown by receipts beside the one that is verified.
//!
//! ```text
//! receipt ── its credential names the one before ──▶ the record in which that one spoke for it, by a receipt of its own
//!                    │                                     └── and so on, to the person's first credential
//!                    └──▶ or the entry by which the provider did, a recovery
//! ```
//!
//! The log lets no successor act for which nobody spoke. This shows it to somebody who was given receipts and nothing else.

use scal3::index_key::status_index_key;
use scal3::instruction::{CLASS_ADD, Value};
use scal3::state::SUCCESSOR_WAITS_MS;
use scal3::verify::Submitted;
use scal3::{Change, Credential, Entry, Kind, OtherOpening, StatusChange};
use tlog::policy::Policy;

use crate::receipt::Receipt;
use crate::receipts::place;
use crate::verify::{Outcome, Verdict, verify, verify_with};

/// How many changes of a credential's status are looked through for a recovery.
const CHANGES: u64 = 256;

/// A credential whose record is verified, and where it stands.
pub(crate) struct Successor<'a> {
    pub credential: &'a Credential,
    /// The index of the entry that issued it.
    pub issued_at: u64,
    /// The time of that entry.
    pub issued_ms: u64,
    /// The index of the record.
    pub index: u64,
}

impl Successor<'_> {
    /// Who spoke for it, in words, as far as these receipts show.
    pub fn spoken_for(&self, beside: &[Receipt], trust: &Policy) -> Option<String> {
        let spoke = beside.iter().find_map(|other| Some((self.names_it(other)?, other)));
        let by_predecessor = spoke.and_then(|((index, time_ms), other)| {
            let waited = index < self.issued_at && self.issued_ms.saturating_sub(time_ms) <= SUCCESSOR_WAITS_MS;
            (waited && verify_with(other, beside, trust).verdict == Verdict::Authorised)
                .then(|| format!("its predecessor spoke for it, with two factors: entry {index}"))
        });
        by_predecessor.or_else(|| {
            let index = beside.iter().find_map(|other| self.recovered(other, trust))?;
            Some(format!("the provider spoke for it, a recovery: entry {index}"))
        })
    }

    /// The place and time of a record in which the credential before names this one. Nothing of it is verified here.
    fn names_it(&self, other: &Receipt) -> Option<(u64, u64)> {
        let submitted = Submitted::parse(other.opening.as_ref()?.as_ref()).ok()?;
        let names = match submitted.shown().field("credential")? {
            Value::Bytes(id) => id[..] == self.credential.id().0,
            _ => false,
        };
        let claims = self.credential.claims();
        let before = Credential::from_own_store(other.credential.as_ref()?.as_ref()).ok()?;
        let predecessor = claims.predecessor == Some(submitted.metadata().credential)
            && claims.subject == before.claims().subject
            && claims.ordinal.checked_sub(1) == Some(before.claims().ordinal);
        let (index, _, entry) = place(other).ok()?;
        (names && predecessor && submitted.metadata().class == CLASS_ADD).then_some((index, entry.time_ms))
    }

    /// The place of the entry by which the provider spoke for it, if this is its receipt and holds.
    fn recovered(&self, other: &Receipt, trust: &Policy) -> Option<u64> {
        let opening = OtherOpening::parse(other.opening.as_ref()?.as_ref()).ok()?;
        let change = StatusChange::from_body(opening.body).ok()?;
        let id = self.credential.id();
        if opening.kind != Kind::Status || change.credential != id || !matches!(change.change, Change::Recovered(_)) {
            return None;
        }
        let report = verify(other, trust);
        let holds = ["log", "included", "opening"].iter().all(|id| report.outcome(id) == Some(Outcome::Ok))
            && report.verdict != Verdict::Failed;
        let (index, _, Entry { kind, index_key, .. }) = place(other).ok()?;
        let its_own = (1..CHANGES).any(|counter| index_key == Some(status_index_key(&id, counter)));
        let between = self.issued_at < index && index < self.index;
        (holds && kind == Kind::Status && its_own && between).then_some(index)
    }
}
