//! `sole status`: what this device knows, and what the log says of its credential.

use std::process::ExitCode;

use clap::Args;
use client::Error;
use scal3::Change;
use serde_json::json;

use super::failure::Failure;
use super::home::{Device, Person};
use super::{Done, Output, wait};

/// How things stand.
#[derive(Args)]
pub struct Status {
    /// Say what this device knows, and ask nobody.
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    device: Device,
}

impl Status {
    /// Runs it.
    pub fn run(self, out: Output) -> Done {
        let mut person = self.device.open()?;
        let standing = if self.offline || person.credential().is_none() { None } else { wait(ask(&mut person))?? };
        let credential = person.credential().map(|id| id.to_hex());
        let mut text = format!("device      {}\n", self.device.path()?.display());
        match &credential {
            Some(id) => text.push_str(&format!("credential  {id}\n")),
            None => text.push_str("credential  none yet\n"),
        }
        if let Some(standing) = standing {
            text.push_str(&format!("stands      {standing}\n"));
        }
        if let Some(sequence) = person.sequence() {
            text.push_str(&format!("authorised  {sequence} instructions, the activation among them\n"));
        }
        if let Some(head) = person.seen() {
            text.push_str(&format!("log         {} entries when this device looked last\n", head.size));
        }
        if person.is_enrolling() {
            text.push_str("under way   the enrolment: give `sole enrol` again, with the same invitation\n");
        }
        if person.is_changing_pin() {
            text.push_str("under way   a change of the PIN: the old one is in force. Give `sole pin change` again, with the same invitation\n");
        }
        if person.is_unsettled() {
            text.push_str(
                "unsettled   answers that got lost on the way, and that the log does not show. `sole watch` tells\n",
            );
        }
        out.say(
            text,
            &json!({
                "home": self.device.path()?.display().to_string(), "credential": credential, "standing": standing,
                "sequence": person.sequence(), "log_size": person.seen().map(|head| head.size.get()),
                "enrolling": person.is_enrolling(), "changing_pin": person.is_changing_pin(),
                "unsettled": person.is_unsettled(),
            }),
        )?;
        Ok(ExitCode::SUCCESS)
    }
}

/// How the credential stands, by its last change in the log; what was unsettled is looked up on the way.
async fn ask(person: &mut Person) -> Result<Option<&'static str>, Failure> {
    match person.reconcile().await {
        Ok(_) | Err(Error::Unsettled) => {}
        Err(error) => return Err(error.into()),
    }
    person.refresh().await?;
    let changes = person.standing().await?;
    let stands = |change: &Change| match change {
        Change::Issued(_) => Some("issued, not active"),
        Change::Activated(_) | Change::Resumed(_) => Some("active"),
        Change::Recovered(_) => Some("recovered by the provider"),
        Change::Suspended(_) => Some("suspended"),
        Change::Revoked(_) => Some("revoked"),
        // These change what the person has, not how the credential stands.
        Change::AuthenticatorAdded(_) | Change::AuthenticatorRevoked(..) => None,
    };
    Ok(changes.iter().rev().find_map(|status| stands(&status.change.change)))
}
