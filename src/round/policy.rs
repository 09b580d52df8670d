//! A policy change, judged at its place: `scal3`'s rules. It needs the word of a record, made under the policy before.

use std::sync::Arc;

use scal3::policies::{self, Policies};
use scal3::verify::{Authorized, Word};
use tlog::tree::LeafIndex;

use super::{Draft, No, Placed, PlanError};
use crate::ledger::Key;
use crate::submission::AppendError;

impl Draft<'_> {
    /// Another policy comes into force. The one that is in force, sent again, is answered with the entry that brought it:
    /// whoever changes a policy may have been interrupted before learning that it is done.
    pub(super) fn change_policy(&mut self, document: &[u8]) -> Result<Placed, No> {
        let mut next = (*self.policies).clone();
        let hash = scal3::genesis::policy_hash(document);
        if *next.in_force().hash() == hash && !next.waits_for(&hash, self.time_ms) {
            return Ok(self.existing(LeafIndex::new(next.since()).map_err(|_| No::Stop(PlanError::TreeFull))?));
        }
        let index = self.next()?;
        next.change(document, index.get(), self.time_ms).map_err(AppendError::from)?;
        let placed = self.push(&policies::entry(self.time_ms, document), None)?;
        self.set_policies(next);
        Ok(placed)
    }

    /// A record may speak for a policy.
    pub(super) fn take_policy(&mut self, authorized: &Authorized) {
        if let Some(Word::Policy(hash)) = authorized.word() {
            let mut next = (*self.policies).clone();
            next.speak(*hash, authorized.time_ms());
            self.set_policies(next);
        }
    }

    fn set_policies(&mut self, next: Policies) {
        self.set(Key::Policies, next.to_bytes());
        self.policies = Arc::new(next);
    }
}
