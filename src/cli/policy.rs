//! `solelog policy`: what a policy document says, before it is in a log.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use scal3::instruction::{CLASS_POLICY, Field, Value};
use scal3::policy::{Denial, InForce, Operation, When};
use scal3::state::Status;
use scal3::{Hash, policy};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::{Exit, Failure, Output, system};

/// Read a policy for instructions.
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Say whether it is one, and where it is not.
    Lint {
        /// The document, JSON: schemas/policy.schema.json.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Say which rule decides about an instruction, and what it asks for.
    Explain {
        /// The document.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The class of the instruction.
        #[arg(long)]
        class: String,
        /// A field that is shown, such as amount=1000. Digits are a number.
        #[arg(long = "field", value_name = "NAME=VALUE")]
        fields: Vec<String>,
        /// What is known of the attestation of the credential's device.
        #[arg(long, default_value = "none")]
        device: String,
    },
    /// Hold it against cases whose verdicts are known.
    Test {
        /// The document.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The cases, JSON: a list of {"class": …, "fields": {…}, "device": …, "expect": …, "rule": …}. `expect` is
        /// `two-factors`, `evidence`, or the code of a denial; `fields`, `device` and `rule` may be left out.
        #[arg(value_name = "CASES")]
        cases: PathBuf,
    },
}

impl Policy {
    /// Runs it.
    pub fn run(self, out: Output) -> Result<(), Failure> {
        match self {
            Policy::Lint { file } => lint(&file, out),
            Policy::Test { file, cases } => test(&file, &cases, out),
            Policy::Explain { file, class, fields, device } => explain(&file, &class, &fields, &device, out),
        }
    }
}

/// Reads a policy that a log may begin with: one that nobody can read would deny everything, for ever.
pub fn read(path: &Path) -> Result<(Vec<u8>, policy::Policy), Failure> {
    let document = fs::read(path).map_err(system(format_args!("cannot read {}", path.display())))?;
    match policy::Policy::parse(&document) {
        Ok(policy) => Ok((document, policy)),
        Err(error) => Err(Failure::new(Exit::Config, format!("{}: {error}", path.display())).next(
            "schemas/policy.schema.json has the form; {\"version\":1,\"rules\":[]} asks for the two factors alone",
        )),
    }
}

/// Whether any instruction can ever bring another policy into force: whether a rule about that class is ever reached that
/// does not deny.
pub fn can_change(policy: &policy::Policy) -> bool {
    for rule in policy.rules() {
        match rule.when.class.as_deref() {
            Some(CLASS_POLICY) if rule.deny.is_none() => return true,
            // It is about everything, so nothing behind it is reached.
            None if rule.when == When::default() => return false,
            _ => {}
        }
    }
    false
}

/// What is said where it can't.
pub const FOR_EVER: &str = "no rule lets anybody change this policy: a log that begins with it keeps it for ever (a rule has to name the class policy.change)";

fn lint(path: &Path, out: Output) -> Result<(), Failure> {
    let (document, policy) = read(path)?;
    let (hash, rules) = (*InForce::read(&document).hash(), policy.rules().len());
    let warnings: Vec<&str> = if can_change(&policy) { Vec::new() } else { vec![FOR_EVER] };
    let mut text = format!("ok: {rules} rules\n  hash  {hash}   what metadata name as `policy`");
    warnings.iter().for_each(|warning| text.push_str(&format!("\n  note  {warning}")));
    out.say(text, json!({ "ok": true, "rules": rules, "hash": hash.to_hex(), "warnings": warnings }))
}

/// What a policy says to an instruction.
struct Verdict {
    /// `two-factors`, `evidence`, or the code of a denial.
    code: &'static str,
    text: String,
    rule: Option<usize>,
}

fn verdict(policy: &policy::Policy, class: &str, fields: &[Field], device: &str) -> Verdict {
    let somebody = Hash([0; 32]);
    let operation = Operation {
        class,
        fields,
        account: Status::Active,
        device,
        subscriber: &somebody,
        signers: &[somebody],
        threshold: 1,
        group: None,
    };
    match policy.decide(&operation, &[]) {
        Ok(needs) => Verdict {
            code: "two-factors",
            text: "the two factors are enough".to_owned(),
            rule: needs.rule.map(|(number, _)| number),
        },
        Err(denial @ Denial::Authenticator { rule }) => {
            Verdict { code: "evidence", text: format!("evidence is needed ({})", denial.code()), rule: Some(rule) }
        }
        Err(denial) => {
            Verdict { code: denial.code(), text: format!("denied: {denial} ({})", denial.code()), rule: by(&denial) }
        }
    }
}

fn explain(path: &Path, class: &str, fields: &[String], device: &str, out: Output) -> Result<(), Failure> {
    let (document, policy) = read(path)?;
    let fields = fields.iter().map(|text| field(text)).collect::<Result<Vec<_>, _>>()?;
    // Read once more, for the words of the rule itself.
    let written: Json = serde_json::from_slice(&document).unwrap_or_default();
    let rule = |number: usize| written["rules"][number].clone();
    let Verdict { text: verdict, rule: number, .. } = verdict(&policy, class, &fields, device);
    let text = match number {
        Some(number) => format!("{verdict}\n  rule {number}  {}", rule(number)),
        None => format!("{verdict}\n  no rule decides"),
    };
    out.say(text, json!({ "verdict": verdict, "rule": number, "written": number.map(rule) }))
}

/// A case and its verdict.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    class: String,
    #[serde(default)]
    fields: BTreeMap<String, Json>,
    #[serde(default)]
    device: Option<String>,
    expect: String,
    #[serde(default)]
    rule: Option<usize>,
}

fn test(path: &Path, cases: &Path, out: Output) -> Result<(), Failure> {
    let (_, policy) = read(path)?;
    let text = fs::read(cases).map_err(system(format_args!("cannot read {}", cases.display())))?;
    let list: Vec<Case> = serde_json::from_slice(&text)
        .map_err(|error| Failure::new(Exit::Config, format!("{}: {error}", cases.display())))?;
    let mut wrong = Vec::new();
    for (number, case) in list.iter().enumerate() {
        let fields = case.fields.iter().map(|(name, value)| json_field(name, value)).collect::<Result<Vec<_>, _>>()?;
        let found = verdict(&policy, &case.class, &fields, case.device.as_deref().unwrap_or("none"));
        if found.code != case.expect || case.rule.is_some() && case.rule != found.rule {
            let rule = found.rule.map_or_else(|| "no rule".to_owned(), |rule| format!("rule {rule}"));
            wrong.push(format!("case {number} ({}): {} by {rule}, not {}", case.class, found.code, case.expect));
        }
    }
    if wrong.is_empty() {
        return out.say(format!("ok: {} cases", list.len()), json!({ "ok": true, "cases": list.len() }));
    }
    Err(Failure::new(Exit::Failed, wrong.join("\n")).next("change the policy or the cases"))
}

fn json_field(name: &str, value: &Json) -> Result<Field, Failure> {
    let value = match value {
        Json::Number(number) => number.as_u64().map(Value::Uint),
        Json::String(text) => Some(Value::Text(text.clone())),
        Json::Bool(yes) => Some(Value::Bool(*yes)),
        _ => None,
    };
    let wrong = || Failure::new(Exit::Config, format!("the field {name:?} is no whole number, text or truth value"));
    Ok(Field { salt: [0; 16], name: name.to_owned(), value: value.ok_or_else(wrong)? })
}

/// The rule that says so.
fn by(denial: &Denial) -> Option<usize> {
    match denial {
        Denial::MissingField { rule, .. }
        | Denial::Rule { rule }
        | Denial::Device { rule }
        | Denial::Authenticator { rule }
        | Denial::NotMet { rule }
        | Denial::VouchedOnly { rule } => Some(*rule),
        Denial::Account | Denial::Unreadable | Denial::NoRule | Denial::Participants => None,
    }
}

fn field(text: &str) -> Result<Field, Failure> {
    let wrong = || Failure::new(Exit::Usage, format!("{text:?} is no field")).next("for example: --field amount=1000");
    let (name, value) = text.split_once('=').ok_or_else(wrong)?;
    let value = match value.parse::<u64>() {
        Ok(number) if value.bytes().all(|byte| byte.is_ascii_digit()) => Value::Uint(number),
        _ => Value::Text(value.to_owned()),
    };
    Ok(Field { salt: [0; 16], name: name.to_owned(), value })
}
