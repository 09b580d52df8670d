//! People with the subscriber's library, at a log that is a process.

use std::path::Path;
use std::time::Duration;

use client::device::{Seal, SoftDevice};
use client::provider::Token;
use client::wire::Invitation;
use client::{Folder, Patience, Pin, Provider, Subscriber, Trust};
use scal3::Hash;
use tlog::policy::Policy;

use super::{Served, json, solelog};

/// The PIN of everybody.
pub fn pin() -> Pin {
    Pin::new("12345")
}

/// A log where people enrol, in a folder, and what its backend and their devices know of it.
#[derive(Clone)]
pub struct Site {
    /// The configuration.
    pub config: String,
    /// What devices believe.
    pub trust: Trust,
    backend: Token,
}

impl Site {
    /// Makes one. `more` are settings, as lines of its configuration.
    pub fn init(folder: &Path, origin: &str) -> Site {
        Site::init_with(folder, origin, &[])
    }

    /// Makes one with more arguments for `init`.
    pub fn init_with(folder: &Path, origin: &str, more: &[&str]) -> Site {
        let (data, high_water) = (folder.join("data"), folder.join("high-water"));
        let (text, high_water) = (data.to_str().expect("text"), high_water.to_str().expect("text"));
        let init = ["init", "--origin", origin, "--data", text, "--issuer", "Example Wallet", "--no-witnesses"];
        solelog(&[&init[..], &["--high-water", high_water], more].concat());
        let config = data.join("log.toml").to_str().expect("text").to_owned();
        let said = |arguments: &[&str]| json(&solelog(&[arguments, &["--json", "--config", &config]].concat()));
        let token = said(&["token", "new", "--name", "backend", "--scope", "enrol"])["token"].clone();
        let checked = said(&["config", "check"]);
        let key = hex::decode(checked["issuing_key"].as_str().expect("hex")).expect("hex");
        let policy = std::fs::read(data.join("trust-policy.txt")).expect("trust file");
        let trust = Trust {
            origin: origin.to_owned(),
            provider: scal3::credential::provider_id(&key.try_into().expect("33 bytes")),
            policy: Policy::parse(policy).expect("policy"),
        };
        Site { config, trust, backend: Token::bearer(token.as_str().expect("text")).expect("token") }
    }

    /// Its server, as devices see it.
    pub fn provider(&self, served: &Served) -> Provider {
        let patience = Patience { wait: Duration::from_millis(20), ..Patience::default() };
        Provider::new(&served.url, patience).expect("address")
    }

    /// An invitation.
    pub async fn invite(&self, served: &Served, predecessor: Option<&Hash>) -> Invitation {
        self.provider(served).invite(&self.backend, predecessor).await.expect("invited")
    }

    /// The device in this folder; it is made where there is none.
    pub fn device(&self, served: &Served, folder: &Path) -> Subscriber<SoftDevice> {
        let memory = Folder::open(folder.to_owned()).expect("folder");
        let device = match SoftDevice::exists(folder) {
            true => SoftDevice::open(folder, Seal::KeyFile),
            false => SoftDevice::create(folder, Seal::KeyFile),
        };
        Subscriber::open(device.expect("device"), memory, self.provider(served), self.trust.clone()).expect("opened")
    }
}
