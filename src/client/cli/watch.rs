//! `sole watch`: everything that the log has about this person.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use client::watch::{Fault, Finding, List, Own, What};
use scal3::Change;
use scal3::authenticator::authenticator_id;
use scal3::event::Detail;
use serde_json::{Value as Json, json};

use super::home::Device;
use super::plain::{self, moment, plain, quoted};
use super::{Done, Output, wait};

/// Watch.
#[derive(Args)]
pub struct Watch {
    #[command(flatten)]
    device: Device,
}

impl Watch {
    /// Runs it.
    pub fn run(self, out: Output) -> Done {
        let mut person = self.device.open()?;
        let watch = wait(person.watch())??;
        let mut text = String::new();
        let mut credential = None;
        for own in &watch.entries {
            if credential != Some(own.credential) {
                credential = Some(own.credential);
                let _ = writeln!(text, "credential {}", own.credential.to_hex());
            }
            let _ = writeln!(text, "{:>8}  {}  {}", own.index, moment(own.time_ms), line(&own.what));
        }
        let _ = writeln!(text, "\n{} entries about you, in a log of {}", watch.entries.len(), watch.head.size);
        for finding in &watch.findings {
            let list = list(finding.list);
            let _ = writeln!(
                text,
                "\nFINDING  {list} {} of credential {}: {}",
                finding.counter,
                finding.credential.to_hex(),
                plain(&finding.fault.to_string())
            );
            let _ = writeln!(text, "  {}", means(&finding.fault));
        }
        text.push_str(if watch.findings.is_empty() {
            "Everything fits: each entry verifies, none is missing, and all that you authorised is here."
        } else {
            "Something does not fit. Keep this folder as it is; docs/subscriber.md says what each finding means and whom to tell."
        });
        out.say(
            text,
            &json!({
                "head": { "size": watch.head.size.get(), "root": watch.head.root.to_hex() },
                "entries": watch.entries.iter().map(entry).collect::<Vec<_>>(),
                "findings": watch.findings.iter().map(finding).collect::<Vec<_>>(),
            }),
        )?;
        Ok(if watch.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }
}

/// An entry in a line.
fn line(what: &What) -> String {
    match what {
        What::Record { sequence, class, document, .. } => {
            let fields = document.iter().flat_map(|document| &document.fields);
            let fields: Vec<String> =
                fields.map(|field| format!("{} {}", plain(&field.name), plain::value(&field.value))).collect();
            let text =
                if document.is_some() { fields.join(", ") } else { "this device does not have its text".to_owned() };
            format!("authorised  {sequence}  {}  {text}", plain(class))
        }
        What::Event { name, detail, .. } => {
            let about = match detail {
                Detail::Text(text) => format!("  {}", quoted(text)),
                Detail::Nothing | Detail::Bytes(_) => String::new(),
            };
            format!("{}{about}", event(name))
        }
        What::Outcome { name, reason, .. } => {
            let reason = reason.as_ref().map(|reason| format!("  {}", quoted(reason))).unwrap_or_default();
            match name.as_str() {
                "executed" => format!("the provider carried an instruction out{reason}"),
                "blocked" => format!("the provider's rules stopped an instruction{reason}"),
                other => format!("outcome  {}{reason}", plain(other)),
            }
        }
        What::Status { change, .. } => format!("credential  {}", changed(change)),
    }
}

fn event(name: &str) -> String {
    match name {
        "attempt.started" => "an attempt, with this device and a PIN".to_owned(),
        "attempt.passed" => "the PIN was right".to_owned(),
        "attempt.failed" => "THE PIN WAS WRONG".to_owned(),
        "attempt.refunded" => "that attempt does not count: the answer was damaged on its way".to_owned(),
        "enrolment.kept" => "the provider keeps its half of the keys".to_owned(),
        other => format!("event  {}", plain(other)),
    }
}

fn changed(change: &Change) -> String {
    match change {
        Change::Issued(_) => "issued".to_owned(),
        Change::Activated(index) => format!("activated by entry {index}"),
        Change::Suspended(reason) => format!("suspended  {}", quoted(reason)),
        Change::Resumed(reason) => format!("resumed  {}", quoted(reason)),
        Change::Revoked(reason) => format!("revoked  {}", quoted(reason)),
        Change::Recovered(reason) => format!("recovered by the provider  {}", quoted(reason)),
        Change::AuthenticatorAdded(claims) => format!("authenticator {} added", authenticator_id(claims).to_hex()),
        Change::AuthenticatorRevoked(id, reason) => {
            format!("authenticator {} revoked  {}", id.to_hex(), quoted(reason))
        }
    }
}

fn list(list: List) -> &'static str {
    match list {
        List::Records => "instruction",
        List::Events => "provider's entry",
        List::Statuses => "status",
    }
}

/// What a finding means, in a sentence.
fn means(fault: &Fault) -> &'static str {
    match fault {
        Fault::Missing => {
            "Something was left out of what you are shown. Ask again; if it stays so, tell whoever oversees the provider."
        }
        Fault::Changed => "Your device has a receipt of another entry in this place. The receipt is proof: export it.",
        Fault::NotOurs => {
            "Somebody acted in your name without this device. Revoke the credential (sole revoke), then tell the provider."
        }
        Fault::NotOurAttempt => {
            "Somebody has a copy of this device and tries PINs, or the provider counts what nobody did. Revoke the credential (sole revoke)."
        }
        Fault::Receipt(_) => "The provider shows an entry that does not prove what it should.",
        Fault::Number(_) | Fault::Chain => "The order was changed: something was put in, or taken out.",
        Fault::Form => "A newer program may have written it; update, and if it stays so, tell the provider.",
        Fault::Course => "The provider's log lets the credential do what its rules forbid.",
        Fault::History(_) => "The log shows two histories. The signed heads in this folder prove it: publish them.",
    }
}

fn entry(own: &Own) -> Json {
    let what = match &own.what {
        What::Record { sequence, class, instruction_id, document } => json!({
            "kind": "record", "number": sequence, "class": class, "instruction_id": instruction_id.to_hex(),
            "instruction": document.as_ref().map(plain::json),
        }),
        What::Event { counter, name, detail } => {
            let detail = match detail {
                Detail::Nothing => Json::Null,
                Detail::Text(text) => json!(text),
                Detail::Bytes(bytes) => json!({ "hex": hex::encode(bytes) }),
            };
            json!({ "kind": "event", "number": counter, "name": name, "detail": detail })
        }
        What::Outcome { counter, name, about, reason, .. } => json!({
            "kind": "outcome", "number": counter, "name": name, "about": about.map(|about| about.to_hex()), "reason": reason,
        }),
        What::Status { counter, change } => {
            json!({ "kind": "status", "number": counter, "change": changed(change) })
        }
    };
    json!({ "credential": own.credential.to_hex(), "index": own.index, "time_ms": own.time_ms, "what": what })
}

/// What does not fit, for programs.
pub fn finding(finding: &Finding) -> Json {
    json!({
        "credential": finding.credential.to_hex(), "list": list(finding.list), "number": finding.counter,
        "fault": finding.fault.to_string(), "means": means(&finding.fault),
    })
}
