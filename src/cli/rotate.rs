//! `solelog rotate`: another key in place of one, with an entry in the log that says so.
//!
//! ```text
//! 1  the new key is written beside the old one      issuing.next.key, master.N.next
//! 2  the entry is appended, signed by both          from here on the log goes by it
//! 3  the new file takes its place                   issuing.key, master.N.key
//! ```
//! Interrupted anywhere, the same command goes on where it was: the new key is never drawn twice, and the same entry
//! again is answered with the first. Until step 3 is done, `serve` refuses to start with a key that is not in force.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use scal3::Hash;
use scal3::key_change::{KeyChange, Role, SignedKey, change_hash};
use serde_json::json;

use super::config::check;
use super::serve::engine_config;
use super::{Exit, Failure, Output, Which, keyfile, path_value, runtime, system};
use crate::config::Config;
use crate::engine::Engine;
use crate::keys::{KeyStore as _, SoftKeys, Unlock, file, folder, public, sign};
use crate::submission::{Appended, Submission, Until};

/// Rotate a key. The log must not be running.
#[derive(Debug, Subcommand)]
pub enum Rotate {
    /// The key that signs credentials. Credentials that are there stay good; new ones are signed with the new key.
    Issuing {
        /// Which log.
        #[command(flatten)]
        which: Which,
    },
    /// The master secret: a new one beside the old ones. People who enrol from now on are enrolled under it.
    Master {
        /// Which log.
        #[command(flatten)]
        which: Which,
    },
}

impl Rotate {
    /// Runs it.
    pub fn run(self, out: Output) -> Result<(), Failure> {
        match self {
            Rotate::Issuing { which } => issuing(&which.load()?.config, out),
            Rotate::Master { which } => master(&which.load()?.config, out),
        }
    }
}

fn issuing(config: &Config, out: Output) -> Result<(), Failure> {
    let (home, unlock) = (config.key_folder(), config.unlock());
    let (current, next) = (home.join(folder::ISSUING), home.join("issuing.next.key"));
    let old = provider_keys(config)?;
    is_a_file(&current, &unlock)?;
    if !next.exists() {
        keyfile::write_new(&next, &keyfile::new_ec()?.0)?;
    }
    let new = folder::read_ec(&next, &unlock)?.ok_or_else(|| Failure::new(Exit::System, "the new key is gone"))?;
    let origin = config.origin.clone();
    let appended = append(config, move |_| {
        let hash = change_hash(&origin, Role::Issuing, Some(old.issuing_key().as_bytes()), &public(&new));
        let by_old = old.sign_credential(&hash.0).map_err(|e| Failure::new(Exit::System, e))?;
        let signed = |key: &[u8], signature: &[u8]| SignedKey { key: key.to_vec(), signature: signature.to_vec() };
        Ok(KeyChange {
            role: Role::Issuing,
            old: Some(signed(old.issuing_key().as_bytes(), &by_old)),
            new: signed(&public(&new), &sign(&new, &hash.0)),
        })
    })?;
    take_place(&next, &current)?;
    let public = folder::read_ec_public(&current, &unlock)?;
    said(out, "issuing key", &public, &current, &appended)
}

fn master(config: &Config, out: Output) -> Result<(), Failure> {
    let (home, unlock) = (config.key_folder(), config.unlock());
    let keys = provider_keys(config)?;
    let epoch = keys.epoch().checked_add(1).ok_or_else(|| Failure::new(Exit::Usage, "there are no more epochs"))?;
    let (current, next) = (home.join(folder::master_name(epoch)), home.join(format!("master.{epoch}.next")));
    if !next.exists() {
        keyfile::write_new(&next, &keyfile::new_master(epoch)?)?;
    }
    let new = folder::read_master(&next, epoch, &unlock)?;
    let kem = *new.kem_key(&Hash([0; 32])).public_key().as_bytes();
    let origin = config.origin.clone();
    let appended = append(config, move |engine| {
        let before = engine.keys().map_err(|e| Failure::new(Exit::System, e))?.kem().copied();
        // Done before, and interrupted: then the log has the new key already.
        let before = before.filter(|before| *before != kem);
        let hash = change_hash(&origin, Role::Kem, before.as_ref().map(|key| &key[..]), &kem);
        let signature = keys.sign_credential(&hash.0).map_err(|e| Failure::new(Exit::System, e))?;
        let signed = |key: &[u8]| SignedKey { key: key.to_vec(), signature: signature.to_vec() };
        Ok(KeyChange { role: Role::Kem, old: before.as_ref().map(|key| signed(key)), new: signed(&kem) })
    })?;
    take_place(&next, &current)?;
    said(out, "KEM key of nobody", &hex::encode(kem), &current, &appended)
}

/// The keys of a provider that has them here.
fn provider_keys(config: &Config) -> Result<SoftKeys, Failure> {
    check(config)?.keys.ok_or_else(|| {
        Failure::new(Exit::Config, "this log's provider has its keys elsewhere: there is none to rotate here")
            .next("rotate it there, and append the entry with its signatures")
    })
}

/// A credential is systemd's: a new key can't take its place from here.
fn is_a_file(path: &Path, unlock: &Unlock) -> Result<(), Failure> {
    if file::locate(path, unlock)? == path {
        return Ok(());
    }
    Err(Failure::new(Exit::Config, format!("{} is a systemd credential", path.display()))
        .next("decrypt it into the key folder, rotate, and encrypt the new one: systemd-creds decrypt, encrypt"))
}

/// Opens the log, appends the change, and waits until a signed head covers it.
fn append(
    config: &Config,
    change: impl FnOnce(&Engine) -> Result<KeyChange, Failure> + Send,
) -> Result<Appended, Failure> {
    runtime()?.block_on(async {
        let (engine, _) = engine_config(config, check(config)?);
        let engine = Engine::open(engine).await?;
        let appended = match change(&engine) {
            Ok(change) => {
                let submission = Submission::KeyChange(Box::new(change));
                engine.append(submission, Until::Integrated).await.map_err(|e| {
                    Failure::new(Exit::Failed, format!("the log does not take the change: {e}"))
                        .next("the keys are as they were; the new one waits beside them in the key folder")
                })
            }
            Err(failure) => Err(failure),
        };
        engine.shutdown().await;
        appended
    })
}

/// The new file under the old one's name, with the folder synced.
fn take_place(next: &Path, current: &PathBuf) -> Result<(), Failure> {
    let moved = fs::rename(next, current).and_then(|()| match current.parent() {
        Some(home) => fs::File::open(home)?.sync_all(),
        None => Ok(()),
    });
    moved.map_err(system(format_args!("the change is logged, but {} can't be put in place", current.display())))
}

fn said(out: Output, what: &str, public: &str, path: &Path, appended: &Appended) -> Result<(), Failure> {
    let index = appended.index.get();
    out.say(
        format!(
            "{what} {public}\n  entry {index}; the key is in {}, plain: solelog keys encrypt, and back it up",
            path.display()
        ),
        json!({ "public": public, "file": path_value(path), "index": index, "existing": appended.existing }),
    )
}
