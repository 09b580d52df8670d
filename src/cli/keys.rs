//! `solelog keys`: which keys there are, and how they lie there.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;

use super::{Exit, Failure, Output, Which, keyfile, path_value};
use crate::config::Config;
use crate::keys::file::{self, AtRest, Seal};
use crate::keys::{PASSPHRASE_VARIABLE, Unlock, folder, master_id};

/// Keys.
#[derive(Debug, Subcommand)]
pub enum Keys {
    /// List them: what each is for, how it lies there, and its public half.
    List {
        /// Which log.
        #[command(flatten)]
        which: Which,
    },
    /// Encrypt those that lie there plain: with a passphrase, or to age recipients. Every start needs what opens them.
    Encrypt {
        /// Which log.
        #[command(flatten)]
        which: Which,
        /// Encrypt to this recipient (age1…) instead of a passphrase; the identity must be in keys.age_identity_file.
        #[arg(long, value_name = "RECIPIENT")]
        age_recipient: Vec<String>,
    },
}

/// One key of the log or its provider.
struct Key {
    what: What,
    path: PathBuf,
}

#[derive(Clone, Copy)]
enum What {
    Log,
    MlDsa,
    Issuing,
    Document,
    Master(u32),
}

impl Keys {
    /// Runs it.
    pub fn run(self, out: Output) -> Result<(), Failure> {
        match self {
            Keys::List { which } => list(&which.load()?.config, out),
            Keys::Encrypt { which, age_recipient } => encrypt(&which.load()?.config, &age_recipient, out),
        }
    }
}

fn list(config: &Config, out: Output) -> Result<(), Failure> {
    let unlock = config.unlock();
    let (mut text, mut all) = (String::new(), Vec::new());
    for key in every(config, &unlock)? {
        let place = file::locate(&key.path, &unlock)?;
        let lies = if place == key.path { at_rest(&key.path, &unlock)? } else { "credential" };
        let public = key.public(&unlock)?;
        let _ = writeln!(text, "{:10} {:11} {}\n  {public}", key.what.name(), lies, place.display());
        all.push(json!({ "key": key.what.name(), "at_rest": lies, "file": path_value(&place), "public": public }));
    }
    out.say(text, all)
}

fn encrypt(config: &Config, recipients: &[String], out: Output) -> Result<(), Failure> {
    let unlock = config.unlock();
    let seal = match recipients {
        [] => Seal::Passphrase(unlock.new_passphrase()?.ok_or_else(|| {
            Failure::new(Exit::Usage, "there is no passphrase").next(format!(
                "set keys.passphrase_file or the variable {PASSPHRASE_VARIABLE}, run it at a terminal, or name an --age-recipient"
            ))
        })?),
        _ => Seal::Recipients(recipients.iter().map(|text| recipient(text)).collect::<Result<_, _>>()?),
    };
    let (mut text, mut done) = (String::new(), Vec::new());
    for key in every(config, &unlock)? {
        // A credential is systemd's to keep.
        if file::locate(&key.path, &unlock)? == key.path && file::encrypt(&key.path, &seal, &unlock)? {
            let _ = writeln!(text, "encrypted {}", key.path.display());
            done.push(path_value(&key.path));
        }
    }
    if done.is_empty() {
        text.push_str("every key was encrypted before\n");
    } else {
        text.push_str("  the plain bytes may still be on the disk and in backups made before\n");
    }
    out.say(text, json!({ "encrypted": done }))
}

fn recipient(text: &str) -> Result<age::x25519::Recipient, Failure> {
    text.parse().map_err(|fault| {
        Failure::new(Exit::Usage, format!("--age-recipient {text}: {fault}"))
            .next("it begins with age1; age-keygen makes one")
    })
}

fn at_rest(path: &Path, unlock: &Unlock) -> Result<&'static str, Failure> {
    Ok(match file::look(path, unlock)? {
        AtRest::Plain => "plain",
        AtRest::Encrypted => "encrypted",
    })
}

/// Every key that is there, as a file or as a credential.
fn every(config: &Config, unlock: &Unlock) -> Result<Vec<Key>, Failure> {
    let home = config.key_folder();
    let mut keys: Vec<Key> =
        [config.log_key(), config.outgoing_log_key()].map(|path| Key { what: What::Log, path }).into();
    keys.push(Key { what: What::MlDsa, path: config.ml_dsa_log_key() });
    for (what, name) in [(What::Issuing, folder::ISSUING), (What::Document, folder::DOCUMENT)] {
        keys.push(Key { what, path: home.join(name) });
    }
    for epoch in folder::epochs(&home, unlock)? {
        keys.push(Key { what: What::Master(epoch), path: home.join(folder::master_name(epoch)) });
    }
    let mut there = Vec::new();
    for key in keys {
        if file::locate(&key.path, unlock)?.exists() {
            there.push(key);
        }
    }
    Ok(there)
}

impl What {
    fn name(self) -> String {
        match self {
            What::Log => "log".to_owned(),
            What::MlDsa => "log, ML-DSA-44".to_owned(),
            What::Issuing => "issuing".to_owned(),
            What::Document => "document".to_owned(),
            What::Master(epoch) => format!("master {epoch}"),
        }
    }
}

impl Key {
    /// What others know the key by.
    fn public(&self, unlock: &Unlock) -> Result<String, Failure> {
        match self.what {
            What::Log => Ok(keyfile::read_signer(&self.path, unlock)?.vkey().to_string()),
            What::MlDsa => Ok(keyfile::read_ml_dsa(&self.path, unlock)?.vkey().to_string()),
            What::Master(epoch) => Ok(master_id(&folder::read_master(&self.path, epoch, unlock)?, epoch)),
            What::Issuing | What::Document => Ok(folder::read_ec_public(&self.path, unlock)?),
        }
    }
}
