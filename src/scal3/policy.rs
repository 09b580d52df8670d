//! Policies: which evidence an operation needs besides the two factors, as a document that anybody can replay.
//!
//! ```text
//! { "version": 1, "rules": [
//!     { "when": { "class": "payment", "amount_over": 1000000 },      every member given has to hold
//!       "high": true,                                                vouched evidence is never enough
//!       "device": ["android-key"],                                   what is known of the device's attestation
//!       "need": { "all": [ {"kind": "webauthn", "uv": true, "device_bound": true},
//!                          {"count": "all", "of": {"kind": "nfc", "from": "signers"}} ] },
//!       "observe": ["bio"] },                                        verified and logged, never in the way
//!     { "when": {}, "deny": "no-rule" } ] }
//! ```
//!
//! The first rule that matches decides. Where none does, the two factors are enough; a last rule that denies changes that.
//! A class that changes what holds for everybody ([`CLASS_POLICY`]) is never left to the absence of a rule.
//!
//! Twice the same document is asked: [`Policy::decide`] before a challenge is given, and [`Policy::judge`] when the entry is
//! made and whenever somebody reads the log. Whatever an engine answered in between counts for nothing. What can't be read,
//! is not known or is missing denies: a document with one unknown word is no policy at all.

use alloc::vec::Vec;

use tlog::Hash;

use crate::evidence::Kind;
use crate::genesis::policy_hash;
use crate::instruction::{CLASS_ACTIVATE, CLASS_POLICY, Field, Value};
use crate::state::Status;

mod document;
mod need;

pub use document::{Policy, PolicyError, Rule, When};
pub use need::{Attributes, Count, From, Need};

use crate::authenticator;
use crate::evidence;

/// A policy that asks for nothing besides the two factors.
pub const TWO_FACTORS: &[u8] = b"{\"version\":1,\"rules\":[]}";

/// A policy document as the log has it, read or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    hash: Hash,
    policy: Result<Policy, PolicyError>,
}

impl InForce {
    /// Reads the bytes of a policy entry or of a genesis.
    pub fn read(document: &[u8]) -> InForce {
        InForce { hash: policy_hash(document), policy: Policy::parse(document) }
    }

    /// SHA-256 of the bytes: what metadata name.
    pub fn hash(&self) -> &Hash {
        &self.hash
    }

    /// The policy.
    ///
    /// # Errors
    /// [`Denial::Unreadable`]: what nobody can read denies everything.
    pub fn policy(&self) -> Result<&Policy, Denial> {
        self.policy.as_ref().map_err(|_| Denial::Unreadable)
    }

    /// Why it can't be read, if it can't.
    pub fn error(&self) -> Option<&PolicyError> {
        self.policy.as_ref().err()
    }
}

/// An operation as rules see it.
#[derive(Debug, Clone, Copy)]
pub struct Operation<'a> {
    /// The class of the instruction.
    pub class: &'a str,
    /// The fields that may be read. A rule that reads another one denies.
    pub fields: &'a [Field],
    /// Whether the credential may act.
    pub account: Status,
    /// What is known of the attestation of the credential's device: its claim.
    pub device: &'a str,
    /// The subscriber: the subject of the credential.
    pub subscriber: &'a Hash,
    /// Everybody who signs. One subscriber is a session of one.
    pub signers: &'a [Hash],
    /// How many of them have to.
    pub threshold: usize,
    /// The group that signs, if one does.
    pub group: Option<&'a str>,
}

/// Why an operation may not be. `rule` is the index of the rule in the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// The account is not one that may act.
    #[error("the account is not active")]
    Account,
    /// The policy in force can't be read.
    #[error("the policy in force can't be read")]
    Unreadable,
    /// The class is one that a rule has to name, and none does.
    #[error("no rule allows this class")]
    NoRule,
    /// A rule reads a field that is not shown.
    #[error("rule {rule} reads the field `{field}`, which is not shown")]
    MissingField {
        /// The rule.
        rule: usize,
        /// The field.
        field: &'static str,
    },
    /// A rule says no.
    #[error("rule {rule} denies it")]
    Rule {
        /// The rule.
        rule: usize,
    },
    /// The device's attestation is none that the rule trusts.
    #[error("rule {rule} does not trust the device")]
    Device {
        /// The rule.
        rule: usize,
    },
    /// More signers than can be counted.
    #[error("too many participants")]
    Participants,
    /// Before anything was signed: with what is enrolled, the need can't be met.
    #[error("no authenticator is enrolled that rule {rule} asks for")]
    Authenticator {
        /// The rule.
        rule: usize,
    },
    /// The evidence is not what the rule needs.
    #[error("the evidence that rule {rule} needs is not there")]
    NotMet {
        /// The rule.
        rule: usize,
    },
    /// Only somebody's word for it, where that is not enough.
    #[error("rule {rule} takes nobody's word alone")]
    VouchedOnly {
        /// The rule.
        rule: usize,
    },
}

impl Denial {
    /// A short stable name.
    pub const fn code(&self) -> &'static str {
        match self {
            Denial::Account => "account-not-active",
            Denial::Unreadable => "policy-unreadable",
            Denial::NoRule => "no-rule",
            Denial::MissingField { .. } => "missing-field",
            Denial::Rule { .. } => "denied",
            Denial::Device { .. } => "device-not-trusted",
            Denial::Participants => "participants",
            Denial::Authenticator { .. } => "no-authenticator",
            Denial::NotMet { .. } => "evidence-missing",
            Denial::VouchedOnly { .. } => "vouched-only",
        }
    }
}

/// What a rule asks of an operation that it lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs<'p> {
    /// The rule, by its index and itself; none when the two factors are enough because no rule is about it.
    pub rule: Option<(usize, &'p Rule)>,
}

impl<'p> Needs<'p> {
    /// What is needed, if anything is.
    pub fn need(&self) -> Option<&'p Need> {
        self.rule.and_then(|(_, rule)| rule.need())
    }

    /// Whether evidence of this kind is needed or observed. Any other has no business in the opening.
    pub fn asks_for(&self, kind: Kind) -> bool {
        let observed = self.rule.is_some_and(|(_, rule)| rule.observe.contains(&kind));
        observed || self.need().is_some_and(|need| need.asks_for(kind))
    }
}

impl Policy {
    /// Before a challenge is given: may this operation be, and what does it need? `enrolled` are the authenticators of all
    /// participants that are not revoked.
    ///
    /// # Errors
    /// [`Denial`]: then there is no challenge, and the denial is an outcome in the log.
    pub fn decide<'p>(
        &'p self,
        operation: &Operation<'_>,
        enrolled: &[&authenticator::Claims],
    ) -> Result<Needs<'p>, Denial> {
        let needs = self.needs(operation)?;
        if let (Some((rule, found)), Some(need)) = (needs.rule, needs.need())
            && !(need.is_possible(operation, enrolled, found.high)
                && (!found.high || need.has_proof(operation, enrolled, true)))
        {
            return Err(Denial::Authenticator { rule });
        }
        Ok(needs)
    }

    /// Where the entry is made, and whenever it is read: is the verified evidence what the operation needs?
    ///
    /// Items that do not verify are simply not among `verified`; where they were only observed, that stops nothing. No two
    /// of them may be of one authenticator. `entry_ms` is the time of the entry.
    ///
    /// # Errors
    /// [`Denial`].
    pub fn judge<'p>(
        &'p self,
        operation: &Operation<'_>,
        verified: &[evidence::Claims],
        entry_ms: u64,
    ) -> Result<Needs<'p>, Denial> {
        let needs = self.needs(operation)?;
        if let (Some((rule, found)), Some(need)) = (needs.rule, needs.need()) {
            let ways = need.ways(operation, verified, entry_ms, found.high);
            if ways.is_empty() {
                return Err(Denial::NotMet { rule });
            }
            let proves = |way: &u32| {
                let counted =
                    verified.iter().enumerate().filter(|(item, _)| way.checked_shr(*item as u32).unwrap_or(0) & 1 == 1);
                counted.into_iter().any(|(_, claims)| !claims.vouched)
            };
            if found.high && !ways.iter().any(proves) {
                return Err(Denial::VouchedOnly { rule });
            }
        }
        Ok(needs)
    }

    /// The first rule that matches, and what it says before any evidence is looked at.
    pub(crate) fn needs(&self, operation: &Operation<'_>) -> Result<Needs<'_>, Denial> {
        let may_act = match operation.account {
            Status::Active => true,
            Status::Issued => operation.class == CLASS_ACTIVATE,
            Status::Suspended | Status::Revoked => false,
        };
        if !may_act {
            return Err(Denial::Account);
        }
        if operation.signers.len() > crate::limits::PARTICIPANTS_MAX {
            return Err(Denial::Participants);
        }
        let mut matching = None;
        for (rule, found) in self.rules().iter().enumerate() {
            if found.when.matches(operation).map_err(|field| Denial::MissingField { rule, field })? {
                matching = Some((rule, found));
                break;
            }
        }
        let Some((rule, found)) = matching else {
            // What holds for everybody is not changed because nobody thought of it.
            return if operation.class == CLASS_POLICY { Err(Denial::NoRule) } else { Ok(Needs { rule: None }) };
        };
        if found.deny.is_some() {
            return Err(Denial::Rule { rule });
        }
        if operation.class == CLASS_POLICY && found.when.class.is_none() {
            return Err(Denial::NoRule);
        }
        if !found.device.is_empty() && !found.device.iter().any(|device| device == operation.device) {
            return Err(Denial::Device { rule });
        }
        Ok(Needs { rule: Some((rule, found)) })
    }
}

/// The shown field of this name.
fn field<'a>(fields: &'a [Field], name: &str) -> Option<&'a Value> {
    fields.iter().find(|field| field.name == name).map(|field| &field.value)
}

/// Numbers of participants, distinct.
fn distinct(signers: &[Hash]) -> Vec<Hash> {
    let mut signers = signers.to_vec();
    signers.sort_unstable();
    signers.dedup();
    signers
}
