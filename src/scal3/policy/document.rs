//! The policy document: JSON, read strictly. Its JSON Schema is `schemas/policy.schema.json`.
//!
//! Every member is known, none occurs twice, and every number is in range; anything else is no policy. There is no code in
//! it, and no default that widens what is allowed.

use alloc::string::String;
use alloc::vec::Vec;

use data_encoding::HEXLOWER;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use tlog::Hash;

use super::need::Need;
use super::{Operation, field};
use crate::evidence::Kind;
use crate::instruction::Value;
use crate::limits::{AMOUNT_MAX, POLICY_MAX};

/// How many rules a policy may have.
const RULES_MAX: usize = 256;

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    #[serde(rename = "version", deserialize_with = "version")]
    _version: (),
    #[serde(deserialize_with = "rules")]
    rules: Vec<Rule>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "WrittenRule")]
pub struct Rule {
    /// What it is about.
    pub when: When,
    /// Whether vouched evidence is never enough, and what proves has to be attested and bound to a device.
    pub high: bool,
    /// The attestations of the credential's device that it trusts; empty: any.
    pub device: Vec<String>,
    /// Why it says no, if it does.
    pub deny: Option<String>,
    /// Evidence that is verified and logged where it is given, and never in the way.
    pub observe: Vec<Kind>,
    need: Option<Need>,
}

/// What a rule is about. A member that is not given holds for everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// The class of the instruction.
    #[serde(default, deserialize_with = "given")]
    pub class: Option<String>,
    /// The field `currency`.
    #[serde(default, deserialize_with = "given")]
    pub currency: Option<String>,
    /// The field `amount` is more than this.
    #[serde(default, deserialize_with = "amount")]
    pub amount_over: Option<u64>,
    /// The group that signs.
    #[serde(default, deserialize_with = "given")]
    pub group: Option<String>,
    /// The subscriber, as 64 hex digits.
    #[serde(default, deserialize_with = "subject")]
    pub subject: Option<Hash>,
}

/// A rule as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRule {
    when: When,
    #[serde(default)]
    high: bool,
    #[serde(default, deserialize_with = "given")]
    device: Option<Vec<String>>,
    #[serde(default, deserialize_with = "given")]
    deny: Option<String>,
    #[serde(default, deserialize_with = "given")]
    need: Option<Need>,
    #[serde(default, deserialize_with = "given")]
    observe: Option<Vec<String>>,
}

/// Why bytes are not a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// More than 32 KiB.
    #[error("policy: longer than {POLICY_MAX} bytes")]
    TooLong,
    /// Not the JSON of the schema; says where.
    #[error("policy: {0}")]
    Form(String),
}

impl PolicyError {
    /// A short stable name of the refusal, the one that `schemas/vectors` use.
    pub const fn code(&self) -> &'static str {
        match self {
            PolicyError::TooLong => "too-long",
            PolicyError::Form(_) => "form",
        }
    }
}

impl Policy {
    /// Reads a policy document.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn parse(document: &[u8]) -> Result<Policy, PolicyError> {
        if document.len() > POLICY_MAX {
            return Err(PolicyError::TooLong);
        }
        serde_json::from_slice(document).map_err(|error| PolicyError::Form(alloc::format!("{error}")))
    }

    /// The rules, in the order in which they are asked.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }
}

impl Rule {
    /// What it needs, if anything.
    pub fn need(&self) -> Option<&Need> {
        self.need.as_ref()
    }
}

impl When {
    /// Whether all of it holds.
    ///
    /// # Errors
    /// The name of a field that it reads and that is not shown, or not of its type.
    pub fn matches(&self, operation: &Operation<'_>) -> Result<bool, &'static str> {
        // What needs no field comes first: a payment's amount is nothing to ask of a login.
        if self.class.as_deref().is_some_and(|class| class != operation.class)
            || self.group.is_some() && self.group.as_deref() != operation.group
            || self.subject.is_some_and(|subject| subject != *operation.subscriber)
        {
            return Ok(false);
        }
        if let Some(currency) = &self.currency {
            match field(operation.fields, "currency") {
                Some(Value::Text(shown)) if shown == currency => {}
                Some(Value::Text(_)) => return Ok(false),
                _ => return Err("currency"),
            }
        }
        match (self.amount_over, field(operation.fields, "amount")) {
            (None, _) => Ok(true),
            (Some(over), Some(Value::Uint(amount))) => Ok(*amount > over),
            (Some(_), _) => Err("amount"),
        }
    }
}

impl TryFrom<WrittenRule> for Rule {
    type Error = &'static str;

    fn try_from(written: WrittenRule) -> Result<Rule, &'static str> {
        let WrittenRule { when, high, device, deny, need, observe } = written;
        if deny.is_some() && (need.is_some() || observe.is_some() || device.is_some() || high) {
            return Err("a rule that denies needs nothing");
        }
        if high && need.is_none() {
            return Err("a rule with `high` says what it needs");
        }
        if device.as_ref().is_some_and(Vec::is_empty) {
            return Err("`device` is empty, so that no device is trusted: deny instead");
        }
        let observe = observe.unwrap_or_default();
        let kinds = observe.iter().map(|name| Kind::new(name).ok_or("`observe` has a kind that is not known"));
        Ok(Rule {
            when,
            high,
            device: device.unwrap_or_default(),
            deny,
            observe: kinds.collect::<Result<_, _>>()?,
            need,
        })
    }
}

/// A member that is given has a value: null is not one.
pub(super) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    match u64::deserialize(deserializer)? {
        1 => Ok(()),
        _ => Err(D::Error::custom("another version than 1")),
    }
}

fn rules<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Rule>, D::Error> {
    let rules = Vec::<Rule>::deserialize(deserializer)?;
    if rules.len() > RULES_MAX { Err(D::Error::custom("more than 256 rules")) } else { Ok(rules) }
}

fn amount<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let amount = u64::deserialize(deserializer)?;
    if amount > AMOUNT_MAX { Err(D::Error::custom("an amount above 2^53 - 1")) } else { Ok(Some(amount)) }
}

fn subject<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Hash>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let bytes = HEXLOWER.decode(text.as_bytes()).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    bytes.map(|bytes| Some(Hash(bytes))).ok_or_else(|| D::Error::custom("a subject is 64 lower-case hex digits"))
}
