//! `solelog policy`: what a policy document says, before it is in a log.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use scal3::instruction::{Field, Value};
use scal3::policy::{Denial, InForce, Operation};
use scal3::state::Status;
use scal3::{Hash, policy};
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
}

impl Policy {
    /// Runs it.
    pub fn run(self, out: Output) -> Result<(), Failure> {
        match self {
            Policy::Lint { file } => lint(&file, out),
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

fn lint(path: &Path, out: Output) -> Result<(), Failure> {
    let (document, policy) = read(path)?;
    let (hash, rules) = (*InForce::read(&document).hash(), policy.rules().len());
    out.say(
        format!("ok: {rules} rules\n  hash  {hash}   what metadata name as `policy`"),
        json!({ "ok": true, "rules": rules, "hash": hash.to_hex() }),
    )
}

fn explain(path: &Path, class: &str, fields: &[String], device: &str, out: Output) -> Result<(), Failure> {
    let (document, policy) = read(path)?;
    let fields = fields.iter().map(|text| field(text)).collect::<Result<Vec<_>, _>>()?;
    let somebody = Hash([0; 32]);
    let operation = Operation {
        class,
        fields: &fields,
        account: Status::Active,
        device,
        subscriber: &somebody,
        signers: &[somebody],
        threshold: 1,
        group: None,
    };
    // Read once more, for the words of the rule itself.
    let written: Json = serde_json::from_slice(&document).unwrap_or_default();
    let rule = |number: usize| written["rules"][number].clone();
    let (verdict, number) = match policy.decide(&operation, &[]) {
        Ok(needs) => ("the two factors are enough".to_owned(), needs.rule.map(|(number, _)| number)),
        Err(denial @ Denial::Authenticator { rule }) => (format!("evidence is needed ({})", denial.code()), Some(rule)),
        Err(denial) => (format!("denied: {denial} ({})", denial.code()), by(&denial)),
    };
    let text = match number {
        Some(number) => format!("{verdict}\n  rule {number}  {}", rule(number)),
        None => format!("{verdict}\n  no rule decides"),
    };
    out.say(text, json!({ "verdict": verdict, "rule": number, "written": number.map(rule) }))
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
