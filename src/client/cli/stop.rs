//! `sole suspend` and `sole revoke`: with the device alone, because a person who fears for the PIN must not need it.

use std::process::ExitCode;

use clap::Args;
use client::Error;
use serde_json::json;

use super::ask::Consent;
use super::home::Device;
use super::plain::moment;
use super::{Done, Output, wait};

/// Stop the credential.
#[derive(Args)]
pub struct Stop {
    /// Why. The provider can read it, and so can you; the public log shows nothing of it.
    #[arg(long, default_value = "at the subscriber's wish")]
    reason: String,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    device: Device,
}

/// For now, or for ever.
#[derive(Debug, Clone, Copy)]
pub enum What {
    /// Until the provider resumes it.
    Suspend,
    /// For ever.
    Revoke,
}

impl Stop {
    /// Runs it.
    pub fn run(self, what: What, out: Output) -> Done {
        self.consent.possible()?;
        let mut person = self.device.open()?;
        let credential = person.credential().ok_or(Error::NotEnrolled)?.to_hex();
        let (done, question) = match what {
            What::Suspend => ("suspended", "Suspend it? Only the provider lets it act again."),
            What::Revoke => {
                ("revoked", "Revoke it? It can never act again, and neither can this device without a new enrolment.")
            }
        };
        out.tell(format_args!("Your credential {credential}"));
        self.consent.ask(question)?;
        let status = match what {
            What::Suspend => wait(person.suspend(&self.reason))??,
            What::Revoke => wait(person.revoke(&self.reason))??,
        };
        out.say(
            format_args!("{done}: credential {credential}, entry {}, {}", status.index, moment(status.time_ms)),
            &json!({ "credential": credential, "status": done, "index": status.index, "time_ms": status.time_ms }),
        )?;
        Ok(ExitCode::SUCCESS)
    }
}
