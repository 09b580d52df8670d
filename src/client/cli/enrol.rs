//! `sole enrol`: this device gets a credential.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use client::wire::{Hex, Invitation};
use client::{Error, Profile};
use scal3::Hash;
use serde_json::json;

use super::ask::{Consent, PinFrom};
use super::authorise::hash;
use super::failure::Failure;
use super::home::{At, Device, policy, read};
use super::plain::plain;
use super::{Done, Output, wait};

/// Enrol this device.
#[derive(Args)]
pub struct Enrol {
    /// The address of the provider's server.
    #[arg(long)]
    url: String,
    /// The trust file (tlog-policy): which log, which witnesses, what quorum. A copy is kept with the device.
    #[arg(long, value_name = "TRUST")]
    policy: PathBuf,
    /// The invitation that you got from the provider; `-` for standard input.
    #[arg(long, value_name = "FILE")]
    invitation: PathBuf,
    /// The provider, where you know it: the hash of its issuing key. An invitation from another is refused.
    #[arg(long, value_name = "HEX", value_parser = hash)]
    provider: Option<Hash>,
    /// Your credential that this one takes over from: a new device, or one after a loss. The invitation names it, too.
    #[arg(long, value_name = "CREDENTIAL", value_parser = hash)]
    predecessor: Option<Hash>,
    /// The form of your records. 1: textbook EC-SDSA. 2: the transcript of the published scal3 implementation.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=2))]
    profile: u64,
    #[command(flatten)]
    pin: PinFrom,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    device: Device,
}

impl Enrol {
    /// Runs it.
    pub fn run(self, out: Output) -> Done {
        let invitation = invitation(&self.invitation)?;
        let trust = read(&self.policy)?;
        let parsed = policy(&trust, &self.policy)?;
        if !parsed.logs().iter().any(|log| log.vkey.name().as_str() == invitation.origin) {
            return Err(Failure::usage(format!(
                "the invitation is for the log {}, which the trust file does not name",
                invitation.origin
            ))
            .next("ask the provider for the trust file of that log"));
        }
        if self.provider.is_some_and(|provider| provider != invitation.provider.0) {
            return Err(Failure::usage(format!(
                "the invitation is from another provider: {}",
                invitation.provider.0.to_hex()
            )));
        }
        out.tell(format_args!(
            "Enrolling with {}\n  server    {}\n  log       {}\n  provider  {}\n  device    {}",
            plain(&invitation.issuer),
            plain(&self.url),
            plain(&invitation.origin),
            invitation.provider.0.to_hex(),
            self.device.path()?.display(),
        ));
        self.consent.ask("Enrol this device?")?;
        let profile = Profile::new(self.profile).ok_or_else(|| Failure::usage("there are profiles 1 and 2"))?;
        let at = At { url: self.url.clone(), origin: invitation.origin.clone(), provider: Hex(invitation.provider.0) };
        let mut person = self.device.make(at, &trust)?;
        if person.credential().is_some() && !person.is_enrolling() {
            return Err(Error::Enrolled.into());
        }
        // A credential that only waits to be activated has a PIN already.
        let pin = if person.credential().is_some() { self.pin.current()? } else { self.pin.chosen()? };
        let done = wait(person.enrol_after(self.predecessor, &invitation, profile, &pin))?;
        let done = match done {
            Err(Error::Refused(problem)) if self.predecessor.is_some() && person.credential().is_some() => {
                let id = person.credential().map(|id| id.to_hex()).unwrap_or_default();
                return Err(Failure::from(Error::Refused(problem)).next(format!(
                    "the credential {id} is issued and may do nothing yet: the provider recovers it; then give the same command again"
                )));
            }
            other => other?,
        };
        let credential = person.credential().ok_or(Error::NotEnrolled)?.to_hex();
        out.say(
            format_args!(
                "enrolled: credential {credential}, active since entry {} of {}\n  next: sole authorise \"text\"",
                done.index, invitation.origin
            ),
            &json!({
                "credential": credential, "index": done.index, "origin": invitation.origin,
                "provider": invitation.provider.0.to_hex(), "home": self.device.path()?.display().to_string(),
            }),
        )?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Reads the invitation that the provider's backend handed over.
pub fn invitation(path: &Path) -> Result<Invitation, Failure> {
    serde_json::from_slice(&read(path)?).map_err(|error| {
        Failure::files(format!("{} is not an invitation: {error}", path.display()))
            .next("it is the JSON that POST /v1/enrolments answers to the provider's backend")
    })
}
