//! Judgements: the evidence in an opening against the policy in force, at one place in the log.
//!
//! ```text
//! rules     the policy in force, the authenticators of everybody who signs
//! item      of a kind that is known and asked for, by a participant, made by an authenticator that the log has, once
//! verdict   for each item what it shows, or why it shows nothing; then whether what is shown is enough
//! ```
//! An item that does not belong there is refused with the whole record: it would be logged as if somebody had looked at it.
//! One that belongs and does not verify is told, and counts for nothing. Where it was only observed, that stops nobody.

use alloc::vec::Vec;

use tlog::Hash;

use crate::authenticators::{Authenticators, Held};
use crate::evidence::{self, Claims, Context, Kind, Reason};
use crate::opening::Evidence;
use crate::policy::{InForce, Operation};
use crate::refusal::EvidenceRefusal;

/// What evidence is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// The policy in force at this place.
    pub policy: &'a InForce,
    /// The authenticators of everybody who signs, as they are at this place. Who is missing has none.
    pub authenticators: &'a [&'a Authenticators],
}

/// What evidence came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Which rule of the policy matched; none: no rule is about it, and the two factors are enough.
    pub rule: Option<usize>,
    /// Each item in the order of the opening: what it shows, or why it shows nothing.
    pub items: Vec<Result<Claims, Reason>>,
}

impl Judgement {
    /// What was verified.
    pub fn verified(&self) -> impl Iterator<Item = &Claims> {
        self.items.iter().filter_map(|item| item.as_ref().ok())
    }
}

impl Rules<'_> {
    /// Judges the items of an opening. `context` gives what is the same for all of them.
    pub(crate) fn judge(
        &self,
        operation: &Operation<'_>,
        items: &[Evidence],
        common: &Common<'_>,
    ) -> Result<Judgement, EvidenceRefusal> {
        let policy = self.policy.policy()?;
        let kinds = items
            .iter()
            .enumerate()
            .map(|(item, evidence)| Kind::new(&evidence.kind).ok_or(EvidenceRefusal::UnknownKind { item }));
        let kinds: Vec<Kind> = kinds.collect::<Result<_, _>>()?;
        let needs = policy.needs(operation)?;
        let mut judged = Vec::with_capacity(items.len());
        for (item, (evidence, kind)) in items.iter().zip(kinds).enumerate() {
            if !needs.asks_for(kind) {
                return Err(EvidenceRefusal::NotAsked { item });
            }
            if !operation.signers.contains(&evidence.participant) && evidence.participant != *operation.subscriber {
                return Err(EvidenceRefusal::Participant { item });
            }
            let before = items.get(..item).unwrap_or_default();
            if before.iter().any(|earlier| earlier.authenticator == evidence.authenticator) {
                return Err(EvidenceRefusal::Twice { item });
            }
            let held = self.find(&evidence.participant, &evidence.authenticator);
            let held = held.ok_or(EvidenceRefusal::UnknownAuthenticator { item })?;
            judged.push(common.verify(kind, held, evidence));
        }
        let verified: Vec<Claims> = judged.iter().filter_map(|item| item.as_ref().ok()).cloned().collect();
        let needs = policy.judge(operation, &verified, common.entry_ms)?;
        Ok(Judgement { rule: needs.rule.map(|(rule, _)| rule), items: judged })
    }

    fn find(&self, participant: &Hash, id: &Hash) -> Option<&Held> {
        self.authenticators.iter().find(|one| one.participant() == participant)?.get(id)
    }
}

/// What all items of one record are bound to.
pub(crate) struct Common<'a> {
    pub(crate) origin: &'a str,
    pub(crate) operation_hash: &'a Hash,
    pub(crate) instruction_id: &'a Hash,
    pub(crate) session: &'a Hash,
    pub(crate) device_key: &'a crate::point::Point,
    pub(crate) entry_ms: u64,
}

impl Common<'_> {
    fn verify(&self, kind: Kind, held: &Held, evidence: &Evidence) -> Result<Claims, Reason> {
        if held.revoked_at().is_some() {
            return Err(Reason::Revoked);
        }
        let context = Context {
            origin: self.origin,
            operation_hash: self.operation_hash,
            instruction_id: self.instruction_id,
            session: self.session,
            participant: &evidence.participant,
            authenticator: held.claims(),
            last_count: held.last_count(),
            device_key: self.device_key,
            entry_ms: self.entry_ms,
        };
        evidence::verify(kind, &context, &evidence.blob)
    }
}
