//! `sole authorise` and `sole vouch`: both factors sign what the person has seen.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use client::receipts::kept_name;
use client::{Authorised, Document, Value, instruction};
use scal3::Hash;
use scal3::instruction::CLASS_ADD;
use serde::Deserialize;
use serde_json::json;

use super::ask::{Consent, PinFrom};
use super::failure::Failure;
use super::home::{Device, Person, read};
use super::plain::{self, plain};
use super::{Done, Output, wait};

/// Authorise an instruction.
#[derive(Args)]
pub struct Authorise {
    /// A text to authorise: an instruction of class `note` with the field `text`.
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    text: Option<String>,
    /// An instruction of any class, as JSON: {"class": "payment", "fields": [{"name": "amount", "value": 1250}, ...]}.
    /// Values are texts, whole numbers, true or false, or bytes as {"hex": "00ff"}.
    #[arg(long, value_name = "INSTRUCTION.json")]
    file: Option<PathBuf>,
    /// Do not show this field to the provider; the receipt has it. May be given more than once.
    #[arg(long, value_name = "FIELD")]
    hide: Vec<String>,
    #[command(flatten)]
    signing: Signing,
}

/// Speak for another credential of yours.
#[derive(Args)]
pub struct Vouch {
    /// The other device's credential, as `sole enrol` said there.
    #[arg(value_parser = hash)]
    credential: Hash,
    #[command(flatten)]
    signing: Signing,
}

/// What it takes to sign.
#[derive(Args)]
struct Signing {
    #[command(flatten)]
    pin: PinFrom,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    device: Device,
}

impl Authorise {
    /// Runs it.
    pub fn run(self, out: Output) -> Done {
        let document = match (&self.text, &self.file) {
            (Some(text), _) if text.trim().is_empty() => return Err(Failure::usage("the text is empty")),
            (Some(text), _) => instruction("note", &[("text", Value::Text(text.clone()))])?,
            (None, Some(file)) => from_file(file)?,
            (None, None) => return Err(Failure::usage("there is nothing to authorise")),
        };
        if let Some(name) = self.hide.iter().find(|name| document.field(name).is_none()) {
            return Err(Failure::usage(format!("there is no field {name} to hide")));
        }
        self.signing.run(document, &self.hide, out)
    }
}

impl Vouch {
    /// Runs it.
    pub fn run(self, out: Output) -> Done {
        let document = instruction(CLASS_ADD, &[("credential", Value::Bytes(self.credential.0.to_vec()))])?;
        self.signing.run(document, &[], out)
    }
}

impl Signing {
    fn run(&self, document: Document, hide: &[String], out: Output) -> Done {
        self.consent.possible()?;
        let mut person = self.device.open()?;
        let hidden = |name: &str| hide.iter().any(|hide| hide == name);
        // What the provider is not shown is still signed, so it is shown here.
        out.tell(format_args!(
            "You are about to authorise this, and nothing else:\n\n{}",
            plain::fields(&document, hidden)
        ));
        if document.class == CLASS_ADD {
            out.tell("  Whoever has that credential can then act in your name. Go on only if it is your own other device's.\n");
        }
        self.consent.ask("Authorise it with this device and your PIN?")?;
        let pin = self.pin.current()?;
        // An answer that got lost was for a document with other salts. Made anew, the same instruction would be another.
        let document = person.unsettled()?.into_iter().find(|before| same(before, &document)).unwrap_or(document);
        let done = wait(person.authorise_showing(&document, &pin, |name| !hidden(name)))??;
        say(&person, &document, &done, out)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Says what was authorised.
fn say(person: &Person, document: &Document, done: &Authorised, out: Output) -> Result<(), Failure> {
    let credential = person.credential().ok_or(client::Error::NotEnrolled)?;
    let receipt = kept_name(&credential, done.sequence);
    let mut text = format!(
        "AUTHORISED: entry {}, number {} of your instructions\n  receipt  {receipt}\n  instruction  {}",
        done.index,
        done.sequence,
        document.id().to_hex()
    );
    if let Some(outcome) = &done.outcome {
        text.push_str(&format!("\n  the provider says: {}, entry {}", plain(&outcome.name), outcome.index));
    }
    let outcome = done.outcome.as_ref().map(|outcome| json!({ "name": outcome.name, "index": outcome.index }));
    out.say(
        text,
        &json!({
            "index": done.index, "sequence": done.sequence, "credential": credential.to_hex(), "receipt": receipt,
            "instruction_id": document.id().to_hex(), "instruction": plain::json(document), "outcome": outcome,
        }),
    )
}

/// Whether two documents say the same. Their salts do not matter.
fn same(one: &Document, other: &Document) -> bool {
    let say = |document: &Document| -> Vec<(String, Value)> {
        document.fields.iter().map(|field| (field.name.clone(), field.value.clone())).collect()
    };
    one.class == other.class && say(one) == say(other)
}

/// An instruction as a person, or a program, writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    class: String,
    fields: Vec<WrittenField>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenField {
    name: String,
    value: WrittenValue,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WrittenValue {
    Bool(bool),
    Uint(u64),
    Int(i64),
    Text(String),
    Bytes(WrittenBytes),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenBytes {
    hex: String,
}

fn from_file(path: &Path) -> Result<Document, Failure> {
    from_json(&read(path)?).map_err(|error| {
        Failure::files(format!("{} is not an instruction: {error}", path.display())).next(
            "write it as {\"class\": \"payment\", \"fields\": [{\"name\": \"amount\", \"value\": 1250}, {\"name\": \"currency\", \"value\": \"EUR\"}]}; values are texts, whole numbers, true, false, or {\"hex\": \"00ff\"}",
        )
    })
}

fn from_json(bytes: &[u8]) -> Result<Document, String> {
    let written: Written = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let mut fields = Vec::with_capacity(written.fields.len());
    for WrittenField { name, value } in &written.fields {
        let value = match value {
            WrittenValue::Bool(yes) => Value::Bool(*yes),
            WrittenValue::Uint(number) => Value::Uint(*number),
            // CBOR writes the negative number -1 - n by n; not of n is the same.
            WrittenValue::Int(number) => Value::Nint(u64::from_be_bytes((!number).to_be_bytes())),
            WrittenValue::Text(text) => Value::Text(text.clone()),
            WrittenValue::Bytes(WrittenBytes { hex: text }) => {
                Value::Bytes(hex::decode(text).map_err(|error| format!("{name}: {error}"))?)
            }
        };
        fields.push((name.as_str(), value));
    }
    instruction(&written.class, &fields).map_err(|error| error.to_string())
}

/// A hash, as an argument.
pub fn hash(text: &str) -> Result<Hash, String> {
    Hash::from_hex(text).ok_or_else(|| "write it as 64 lower-case hex digits".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instruction_is_read_as_it_is_written() {
        let text = r#"{"class": "test", "fields": [
            {"name": "z", "value": "text"}, {"name": "a", "value": 18446744073709551615}, {"name": "n", "value": -5},
            {"name": "b", "value": {"hex": "00ff"}}, {"name": "y", "value": true}]}"#;
        let document = from_json(text.as_bytes()).unwrap();
        let values: Vec<(&str, &Value)> =
            document.fields.iter().map(|field| (field.name.as_str(), &field.value)).collect();
        assert!(
            values
                == [
                    ("z", &Value::Text("text".into())),
                    ("a", &Value::Uint(u64::MAX)),
                    ("n", &Value::Nint(4)),
                    ("b", &Value::Bytes(vec![0, 255])),
                    ("y", &Value::Bool(true)),
                ]
        );
        let shown = plain::json(&document);
        assert!(same(&document, &from_json(shown.to_string().as_bytes()).unwrap()));
    }

    #[test]
    fn what_is_no_instruction_is_refused() {
        for wrong in [
            "",
            r#"{"class": "test"}"#,
            r#"{"class": "test", "fields": [], "more": 1}"#,
            r#"{"class": "test", "fields": [{"name": "a", "value": 1.5}]}"#,
            r#"{"class": "test", "fields": [{"name": "a", "value": null}]}"#,
            r#"{"class": "test", "fields": [{"name": "a", "value": {"hex": "0"}}]}"#,
            r#"{"class": "test", "fields": [{"name": "a", "value": 1}, {"name": "a", "value": 2}]}"#,
            r#"{"class": "payment", "fields": [{"name": "amount", "value": "1250"}]}"#,
            r#"{"class": "test", "class": "other", "fields": []}"#,
        ] {
            assert!(from_json(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
