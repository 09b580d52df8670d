//! `sole pin`: another PIN.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use client::Error;
use serde_json::json;

use super::ask::{self, Consent, PinFrom};
use super::enrol::invitation;
use super::failure::Failure;
use super::home::Device;
use super::{Done, Output, wait};

/// The PIN.
#[derive(Subcommand)]
pub enum Pins {
    /// Change it: a new credential under the new PIN, for which the old one speaks; then the old one is revoked.
    Change(Change),
}

/// Change the PIN.
#[derive(Args)]
pub struct Change {
    /// The provider's invitation to succeed your credential; `-` for standard input.
    #[arg(long, value_name = "FILE")]
    invitation: PathBuf,
    #[command(flatten)]
    pin: PinFrom,
    /// Read the new PIN from a file instead of asking; or set SOLE_NEW_PIN.
    #[arg(long, value_name = "FILE")]
    new_pin_file: Option<PathBuf>,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    device: Device,
}

impl Pins {
    /// Runs it.
    pub fn run(self, out: Output) -> Done {
        let Pins::Change(change) = self;
        change.run(out)
    }
}

impl Change {
    fn run(self, out: Output) -> Done {
        let invitation = invitation(&self.invitation)?;
        self.consent.possible()?;
        let mut person = self.device.open()?;
        let before = person.credential().ok_or(Error::NotEnrolled)?.to_hex();
        out.tell(format_args!(
            "Changing the PIN: your credential {before} speaks for one under the new PIN, and is then revoked."
        ));
        self.consent.ask("Change it?")?;
        let old = self.pin.current()?;
        let new = ask::chosen(self.new_pin_file.as_deref(), "SOLE_NEW_PIN", "--new-pin-file FILE or SOLE_NEW_PIN")?;
        let done = wait(person.change_pin(&invitation, &old, &new))?;
        if let Err(error) = done {
            let failure = Failure::from(error);
            return Err(if person.is_changing_pin() {
                failure.next(
                    "give the same command again, with the same invitation: it goes on where it was. `sole status` says which PIN is in force",
                )
            } else {
                failure
            });
        }
        let credential = person.credential().ok_or(Error::NotEnrolled)?.to_hex();
        out.say(
            format_args!("the PIN is changed\n  credential  {credential}\n  revoked     {before}"),
            &json!({ "credential": credential, "revoked": before }),
        )?;
        Ok(ExitCode::SUCCESS)
    }
}
