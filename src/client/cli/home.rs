//! The folder of one device: its keys, what it must not forget, and whom it trusts.
//!
//! ```text
//! device.age, device.key, state.json, *.receipt.json    the library's
//! provider.json                                         where the provider is, and which one it is
//! trust-policy.txt                                      the trust file: log, witnesses, quorum
//! ```

use std::path::{Path, PathBuf};

use clap::Args;
use client::device::{Seal, SoftDevice};
use client::wire::Hex;
use client::{Folder, Memory as _, Patience, Provider, Subscriber, Trust};
use serde::{Deserialize, Serialize};
use tlog::policy::Policy;

use super::ask::PassphraseFrom;
use super::failure::Failure;

/// A subscriber on this machine.
pub type Person = Subscriber<SoftDevice>;

const PROVIDER: &str = "provider.json";
const TRUST: &str = "trust-policy.txt";
const KEY: &str = "device.key";

/// The longest file that is read on the way in.
const LONGEST: u64 = 1 << 20;

/// Which device.
#[derive(Args)]
pub struct Home {
    /// The folder of the device; without it, `sole` in the user's data folder.
    #[arg(long, env = "SOLE_HOME", value_name = "DIR")]
    home: Option<PathBuf>,
}

/// Which device, with its keys.
#[derive(Args)]
pub struct Device {
    #[command(flatten)]
    home: Home,
    #[command(flatten)]
    passphrase: PassphraseFrom,
}

/// Where the provider is, and which one it is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct At {
    /// The address of its server.
    pub url: String,
    /// The log.
    pub origin: String,
    /// The hash of its issuing key.
    pub provider: Hex,
}

impl Home {
    /// Where it is.
    pub fn path(&self) -> Result<PathBuf, Failure> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let path = self.home.clone().or_else(|| set("XDG_DATA_HOME").map(|data| data.join("sole")));
        path.or_else(|| set("HOME").map(|home| home.join(".local/share/sole"))).ok_or_else(|| {
            Failure::usage("this user has no home folder").next("name a folder with --home or SOLE_HOME")
        })
    }

    /// The trust file of an enrolled device.
    pub fn trust_file(&self) -> Result<PathBuf, Failure> {
        Ok(self.path()?.join(TRUST))
    }

    /// Opens the folder of a device that was enrolled, or began to.
    pub fn folder(&self) -> Result<(Folder, At, Policy), Failure> {
        let path = self.path()?;
        // Looking must not make a folder.
        if !path.join(PROVIDER).exists() {
            return Err(Failure::files(format!("no device was enrolled in {}", path.display()))
                .next("sole enrol --url URL --policy TRUST --invitation FILE; or name another folder with --home"));
        }
        let folder = Folder::open(&path)?;
        let at = known(&folder)?.ok_or_else(|| Failure::files(format!("{PROVIDER} is gone")))?;
        let trust = folder.load(TRUST)?.ok_or_else(|| {
            Failure::files(format!("{} is gone", path.join(TRUST).display()))
                .next("put the provider's trust file there")
        })?;
        Ok((folder, at, policy(&trust, &path.join(TRUST))?))
    }
}

impl Device {
    /// Where it is.
    pub fn path(&self) -> Result<PathBuf, Failure> {
        self.home.path()
    }

    /// Opens the device that was enrolled here, or began to.
    pub fn open(&self) -> Result<Person, Failure> {
        let (folder, at, policy) = self.home.folder()?;
        self.person(folder, at, policy)
    }

    /// Makes the device for a provider, or opens the one that is there for the same provider.
    pub fn make(&self, at: At, trust: &[u8]) -> Result<Person, Failure> {
        let path = self.home.path()?;
        let policy = policy(trust, &path.join(TRUST))?;
        let folder = Folder::open(&path)?;
        match known(&folder)? {
            Some(known) if known.origin != at.origin || known.provider != at.provider => {
                return Err(Failure::usage(format!("the device in {} belongs to {}", path.display(), known.origin))
                    .next("name another folder with --home: one device, one provider"));
            }
            _ => {}
        }
        if !SoftDevice::exists(&path) {
            let phrase = self.passphrase.chosen()?;
            let seal = phrase.as_ref().map_or(Seal::KeyFile, |phrase| Seal::Passphrase(phrase));
            SoftDevice::create(&path, seal)?;
        }
        let bytes = serde_json::to_vec_pretty(&at).map_err(|error| Failure::files(error.to_string()))?;
        folder.save(TRUST, trust)?;
        folder.save(PROVIDER, &bytes)?;
        self.person(folder, at, policy)
    }

    fn person(&self, folder: Folder, at: At, policy: Policy) -> Result<Person, Failure> {
        let provider = Provider::new(&at.url, Patience::default())?;
        let device = self.keys(folder.path())?;
        let trust = Trust { origin: at.origin, provider: at.provider.0, policy };
        Ok(Subscriber::open(device, folder, provider, trust)?)
    }

    fn keys(&self, path: &Path) -> Result<SoftDevice, Failure> {
        if !SoftDevice::exists(path) || path.join(KEY).exists() {
            return Ok(SoftDevice::open(path, Seal::KeyFile)?);
        }
        Ok(SoftDevice::open(path, Seal::Passphrase(&self.passphrase.current()?))?)
    }
}

fn known(folder: &Folder) -> Result<Option<At>, Failure> {
    let Some(bytes) = folder.load(PROVIDER)? else { return Ok(None) };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| Failure::files(format!("{} is damaged: {error}", folder.path().join(PROVIDER).display())))
}

/// A trust file.
pub fn policy(bytes: &[u8], path: &Path) -> Result<Policy, Failure> {
    Policy::parse(bytes).map_err(|error| {
        Failure::files(format!("{} is not a trust file: {error}", path.display()))
            .next("it has lines `log VKEY`, `witness NAME VKEY`, `quorum NAME|none` (c2sp.org/tlog-policy)")
    })
}

/// Reads a file that somebody gave; `-` is standard input.
pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let done = if path == Path::new("-") {
        std::io::stdin().lock().take(LONGEST + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes))
    };
    match done {
        Ok(_) if bytes.len() as u64 <= LONGEST => Ok(bytes),
        Ok(_) => Err(Failure::files(format!("{} is longer than {LONGEST} bytes", path.display()))),
        Err(error) => Err(Failure::files(format!("cannot read {}: {error}", path.display()))),
    }
}
