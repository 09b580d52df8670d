//! A trail: what a log has about a person, or about everybody, as a list that other programs read.
//!
//! ```text
//! FOLDER/trail.json                    who made it, under which head, the entries in the order of the log, the findings
//! FOLDER/receipts/<index>.receipt.json what proves each of them, offline (`sole verify`)
//! ```
//!
//! Each entry has the members that the European wallets' export of transactions gives to every transaction
//! (`transactionIdentifier`, `time`, `transactionType`, `transactionResult`, `reasonOfNoncompletion`, `description`:
//! Technical Specification 10, §3.1 and §3.15), and beside them what our entries say. That specification lets a
//! transaction of type `OtherTransaction` alone have members of one's own, so all of them are of that type.
//!
//! A value of an instruction's field is in here only where somebody asked for the text: a trail is made to be handed on.

use scal3::attempts::Attempt;
use scal3::event::{Detail, Event};
use scal3::instruction::Value;
use scal3::outcome::{BLOCKED, Outcome};
use scal3::verify::Submitted;
use scal3::{Change, Document, Entry, Field, Hash, Kind, OtherOpening, StatusChange};
use serde::Serialize;
use serde_json::{Value as Json, json};
use tlog::proof_file::ProofFile;

use crate::moment::rfc3339;
use crate::receipt::Receipt;

/// The value of `version` in a trail.
pub const VERSION: &str = "solelog/trail/v1";

/// What came of what an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcomes {
    /// It was done.
    Completed,
    /// The provider did not take an answer, and gave the attempt back: it had arrived damaged.
    Refused,
    /// It was tried, and it was wrong.
    Failed,
    /// The provider's rules stopped it.
    Blocked,
    /// It was begun; a later entry with the same challenge says what came of it, and where none does, nothing came.
    Begun,
}

/// One entry of a trail.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Transaction {
    /// Log and place: `log.example/2026h2#17`.
    #[serde(rename = "transactionIdentifier")]
    pub identifier: String,
    /// The time of its round, RFC 3339.
    pub time: String,
    /// Always `OtherTransaction`.
    #[serde(rename = "transactionType")]
    pub kind_of_transaction: &'static str,
    /// `Completed` or `NotCompleted`. Left out where the entry's opening is not shown: then nobody can tell.
    #[serde(rename = "transactionResult", skip_serializing_if = "Option::is_none")]
    pub transaction_result: Option<&'static str>,
    /// Why not. There where `transaction_result` is `NotCompleted`.
    #[serde(rename = "reasonOfNoncompletion", skip_serializing_if = "Option::is_none")]
    pub reason_of_noncompletion: Option<String>,
    /// A few words.
    pub description: Vec<String>,
    /// Its place in the log.
    pub index: u64,
    /// The time of its round, milliseconds since 1970.
    pub time_ms: u64,
    /// What kind of entry it is: `instruction`, `event`, `outcome`, `status`, …
    pub kind: &'static str,
    /// The class of an instruction, the name of an event or outcome, the change of a status.
    pub class: Option<String>,
    /// What came of it. `None` where its opening is not shown.
    pub result: Option<Outcomes>,
    /// The reason that the entry itself gives.
    pub reason: Option<String>,
    /// The credential that it is about.
    pub credential: Option<String>,
    /// Its number: of an instruction, among the credential's; of an event or outcome, among what the provider wrote.
    pub number: Option<u64>,
    /// The instruction's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instruction_id: Option<String>,
    /// The challenge that an instruction answered, or that an attempt was made under.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub challenge: Option<String>,
    /// What an outcome is about: the `authorisation` of an instruction, or an instruction's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// The name of an authorised instruction, which its outcome has as `about`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorisation: Option<String>,
    /// The instruction as far as the receipt shows it, only where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<Json>,
    /// Where its receipt is.
    pub receipt: String,
}

/// Where the receipt of an entry is, in the folder of a trail.
#[must_use]
pub fn receipt_name(index: u64) -> String {
    format!("receipts/{index}.receipt.json")
}

impl Transaction {
    /// What a receipt says, which must have been verified. `None` when it has no entry, or one that is not in the form of its
    /// kind.
    #[must_use]
    pub fn of(origin: &str, receipt: &Receipt, with_text: bool) -> Option<Transaction> {
        let index = ProofFile::parse(receipt.proof.as_bytes()).ok()?.index.get();
        let entry = Entry::parse(receipt.entry.as_ref()).ok()?;
        let mut transaction = Transaction::blank(origin, index, &entry);
        match (&receipt.opening, entry.kind) {
            (Some(opening), Kind::Instruction) => {
                transaction.instruction(&Submitted::parse(opening.as_ref()).ok()?);
                transaction.text = with_text.then(|| text(receipt)).flatten();
            }
            (Some(opening), _) => transaction.other(OtherOpening::parse(opening.as_ref()).ok()?)?,
            (None, kind) if kind.is_public() => transaction.comes_to(Outcomes::Completed, None),
            (None, _) => {}
        }
        transaction.description = vec![transaction.words()];
        Some(transaction)
    }

    fn blank(origin: &str, index: u64, entry: &Entry) -> Transaction {
        Transaction {
            identifier: format!("{origin}#{index}"),
            time: rfc3339(entry.time_ms),
            kind_of_transaction: "OtherTransaction",
            transaction_result: None,
            reason_of_noncompletion: None,
            description: Vec::new(),
            index,
            time_ms: entry.time_ms,
            kind: kind(entry.kind),
            class: None,
            result: None,
            reason: None,
            credential: None,
            number: None,
            instruction_id: None,
            challenge: None,
            about: None,
            authorisation: None,
            text: None,
            receipt: receipt_name(index),
        }
    }

    fn instruction(&mut self, submitted: &Submitted) {
        let metadata = submitted.metadata();
        self.class = Some(metadata.class.clone());
        self.credential = Some(metadata.credential.to_hex());
        self.number = Some(metadata.sequence);
        self.instruction_id = Some(submitted.record().instruction_id().to_hex());
        self.challenge = Some(metadata.challenge.to_hex());
        self.authorisation = Some(submitted.authorisation_key().to_hex());
        self.comes_to(Outcomes::Completed, None);
    }

    fn other(&mut self, opening: OtherOpening) -> Option<()> {
        match opening.kind {
            Kind::Event => {
                // An event of another shape is in no stream, and says nothing that we could tell.
                let Ok(event) = Event::from_body(opening.body) else {
                    self.comes_to(Outcomes::Completed, None);
                    return Some(());
                };
                self.event(event);
            }
            Kind::Outcome => {
                let Outcome { name, stream, about, reason, .. } = Outcome::from_body(opening.body).ok()?;
                self.credential = Some(stream.credential.to_hex());
                self.number = Some(stream.counter);
                self.about = about.map(|about| about.to_hex());
                let result = if name == BLOCKED { Outcomes::Blocked } else { Outcomes::Completed };
                self.class = Some(name);
                self.comes_to(result, reason);
            }
            Kind::Status => {
                let status = StatusChange::from_body(opening.body).ok()?;
                self.credential = Some(status.credential.to_hex());
                let (class, reason) = changed(status.change);
                self.class = Some(class.to_owned());
                self.comes_to(Outcomes::Completed, reason);
            }
            _ => self.comes_to(Outcomes::Completed, None),
        }
        Some(())
    }

    fn event(&mut self, event: Event) {
        let attempt = Attempt::of(&event);
        if let Some(place) = &event.stream {
            self.credential = Some(place.credential.to_hex());
            self.number = Some(place.counter);
        }
        self.challenge = attempt.map(|(_, challenge)| challenge.to_hex());
        let said = match event.detail {
            Detail::Text(text) => Some(text),
            Detail::Nothing | Detail::Bytes(_) => None,
        };
        let (result, reason) = match attempt.map(|(attempt, _)| attempt) {
            Some(Attempt::Started) => (Outcomes::Begun, Some("begun; a later entry has the verdict".to_owned())),
            Some(Attempt::Failed) => (Outcomes::Failed, Some("the second factor was wrong".to_owned())),
            Some(Attempt::Refunded) => (Outcomes::Refused, Some("the answer was damaged on its way".to_owned())),
            Some(Attempt::Passed) | None => (Outcomes::Completed, said),
        };
        self.class = Some(event.name);
        self.comes_to(result, reason);
    }

    fn comes_to(&mut self, result: Outcomes, reason: Option<String>) {
        let completed = result == Outcomes::Completed;
        self.result = Some(result);
        self.transaction_result = Some(if completed { "Completed" } else { "NotCompleted" });
        if !completed {
            self.reason_of_noncompletion = Some(reason.clone().unwrap_or_else(|| "no reason is given".to_owned()));
        }
        self.reason = reason;
    }

    /// The entry in words, without a word that somebody else wrote but the class.
    fn words(&self) -> String {
        match (self.kind, &self.class) {
            (kind, Some(class)) => format!("{kind}: {class}"),
            (kind, None) if self.result.is_none() => format!("{kind}; what it says is not shown"),
            (kind, None) => kind.to_owned(),
        }
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Genesis => "genesis",
        Kind::Instruction => "instruction",
        Kind::Outcome => "outcome",
        Kind::Status => "status",
        Kind::Policy => "policy",
        Kind::Network => "network",
        Kind::IndexRoot => "index-root",
        Kind::Erasure => "erasure",
        Kind::Key => "key",
        Kind::Event => "event",
        Kind::Delegation => "delegation",
    }
}

/// What changed, and why. Neither the credential's bytes nor an authenticator's claims are for a trail.
fn changed(change: Change) -> (&'static str, Option<String>) {
    match change {
        Change::Issued(_) => ("issued", None),
        Change::Activated(_) => ("activated", None),
        Change::Suspended(reason) => ("suspended", Some(reason)),
        Change::Resumed(reason) => ("resumed", Some(reason)),
        Change::Revoked(reason) => ("revoked", Some(reason)),
        Change::Recovered(reason) => ("recovered", Some(reason)),
        Change::AuthenticatorAdded(_) => ("authenticator.added", None),
        Change::AuthenticatorRevoked(_, reason) => ("authenticator.revoked", Some(reason)),
    }
}

/// The instruction as far as the receipt shows it: all of it where its document is there.
fn text(receipt: &Receipt) -> Option<Json> {
    if let Some(document) = receipt.document.as_ref().and_then(|bytes| Document::parse(bytes.as_ref()).ok()) {
        return Some(json!({ "fields": fields(&document.fields), "hidden": 0 }));
    }
    let submitted = Submitted::parse(receipt.opening.as_ref()?.as_ref()).ok()?;
    let shown = submitted.shown();
    Some(json!({ "fields": fields(&shown.fields), "hidden": shown.hidden.len() }))
}

fn fields(fields: &[Field]) -> Json {
    fields.iter().map(|field| json!({ "name": field.name, "value": value(&field.value) })).collect()
}

/// A field's value in JSON: texts, numbers, truths, and bytes as `{"hex": "00ff"}`. A number too small for JSON is a text.
#[must_use]
pub fn value(value: &Value) -> Json {
    match value {
        Value::Text(text) => json!(text),
        Value::Uint(number) => json!(number),
        Value::Nint(number) => match i64::try_from(-1 - i128::from(*number)) {
            Ok(number) => json!(number),
            Err(_) => json!((-1 - i128::from(*number)).to_string()),
        },
        Value::Bytes(bytes) => json!({ "hex": hex::encode(bytes) }),
        Value::Bool(yes) => json!(yes),
    }
}

/// What does not fit, in a trail. The member `fault` says what.
#[must_use]
pub fn finding(index: Option<u64>, credential: Option<&Hash>, says: &str) -> Json {
    json!({ "index": index, "credential": credential.map(Hash::to_hex), "fault": says })
}
