//! `solelog rotate`: another key in place of one, with an entry in the log that says so.
//!
//! ```text
//! 1  the new key is written beside the old one      issuing.next.key, master.N.next
//! 2  the entry is appended, signed by both          from here on the log goes by it
//! 3  the new file takes its place                   issuing.key, master.N.key
//! ```
//! The log's own key goes in two steps. Everybody who trusts the log pins it, so the outgoing one stays, as
//! `log.old.key`, and signs every checkpoint beside the new one until `--finish`.
//!
//! Interrupted anywhere, the same command goes on where it was: the new key is never drawn twice, and the same entry
//! again is answered with the first. Until step 3 is done, `serve` refuses to start with a key that is not in force.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use scal3::Hash;
use scal3::key_change::{KeyChange, Role, SignedKey, change_hash};
use serde_json::json;
use tlog::key::Signer;

use super::config::{Checked, check};
use super::init::TRUST;
use super::serve::engine_config;
use super::{Exit, Failure, Output, Which, keyfile, path_value, runtime, system};
use crate::config::Config;
use crate::engine::Engine;
use crate::high_water;
use crate::keys::{KeyStore as _, SoftKeys, Unlock, file, folder, public, sign};
use crate::store::disk;
use crate::submission::{Appended, Submission, Until};

/// Rotate a key. The log must not be running.
#[derive(Debug, Subcommand)]
pub enum Rotate {
    /// The log's own key. Both keys sign every checkpoint until the rotation is finished.
    Log {
        /// Which log.
        #[command(flatten)]
        which: Which,
        /// The old key signs no more, and is deleted. Whoever trusts only that one sees no new checkpoint from then on.
        #[arg(long)]
        finish: bool,
    },
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
            Rotate::Log { which, finish: false } => log(&which.load()?.config, out),
            Rotate::Log { which, finish: true } => finish_log(&which.load()?.config, out),
            Rotate::Issuing { which } => issuing(&which.load()?.config, out),
            Rotate::Master { which } => master(&which.load()?.config, out),
        }
    }
}

fn log(config: &Config, out: Output) -> Result<(), Failure> {
    let (path, unlock) = (config.log_key(), config.unlock());
    let (next, outgoing) = (path.with_extension("next.key"), config.outgoing_log_key());
    is_a_file(&path, &unlock)?;
    if outgoing.exists() && !next.exists() {
        return Err(Failure::new(Exit::Usage, "a rotation of the log's key is under way: both keys sign")
            .next("solelog rotate log --finish ends it, when everybody trusts the new one"));
    }
    if !next.exists() {
        let signer = Signer::note(keyfile::name(&config.origin)?, &*keyfile::seed()?);
        keyfile::write_new(&next, &signer.to_secret_text())?;
    }
    let (old, new) = (keyfile::read_signer(&path, &unlock)?, keyfile::read_signer(&next, &unlock)?);
    let mut checked = check(config)?;
    let refused = |e| Failure::new(Exit::Config, format!("{}: {e}", next.display()));
    checked.signers = checked.signers.and(keyfile::read_signer(&next, &unlock)?).map_err(refused)?;
    let vkey = new.vkey().clone();
    let origin = config.origin.clone();
    let appended = append(config, checked, move |_| {
        let hash = change_hash(&origin, Role::Log, Some(old.vkey().public_key()), new.vkey().public_key());
        let signed = |signer: &Signer| SignedKey {
            key: signer.vkey().public_key().to_vec(),
            signature: signer.sign_other(&hash.0).to_vec(),
        };
        Ok(KeyChange { role: Role::Log, old: Some(signed(&old)), new: signed(&new) })
    })?;
    let trust = name_in_trust(config, |lines| {
        let line = format!("log {vkey}");
        if !lines.contains(&line) {
            // Beside the others: what comes after may be a quorum, which some readers want last.
            let place = lines.iter().position(|line| line.starts_with("log ")).unwrap_or(0);
            lines.insert(place, line);
        }
    })?;
    // From here to the rename there are three files, and the same command goes on.
    if !outgoing.exists() {
        fs::hard_link(&path, &outgoing)
            .map_err(system(format_args!("cannot keep the old key as {}", outgoing.display())))?;
    }
    take_place(&next, &path)?;
    let index = appended.index.get();
    out.say(
        format!(
            "vkey {vkey}\n  entry {index}; the key is in {}, plain: solelog keys encrypt, and back it up\n  {} names both keys now\n  next: tell witnesses, monitors and verifiers to trust it beside the old one\n    log {vkey}\n  both keys sign until: solelog rotate log --finish",
            path.display(),
            trust.display(),
        ),
        json!({ "public": vkey.to_string(), "file": path_value(&path), "index": index, "existing": appended.existing }),
    )
}

fn finish_log(config: &Config, out: Output) -> Result<(), Failure> {
    let (path, outgoing, unlock) = (config.log_key(), config.outgoing_log_key(), config.unlock());
    if path.with_extension("next.key").exists() {
        return Err(Failure::new(Exit::Usage, "the new key is not in the log yet").next("solelog rotate log goes on"));
    }
    if !outgoing.exists() {
        return Err(Failure::new(Exit::Usage, "no rotation of the log's key is under way"));
    }
    let vkey = keyfile::read_signer(&path, &unlock)?.vkey().clone();
    let not_named = |path: &Path| {
        Failure::new(Exit::Config, format!("{}: it does not name the new key", path.display()))
            .next(format!("add the line: log {vkey}"))
    };
    if let (Some(path), Some((_, policy))) = (&config.witnesses.policy, check(config)?.witness_policy)
        && !policy.logs().iter().any(|log| log.vkey == vkey)
    {
        return Err(not_named(path));
    }
    let gone = format!("log {}", keyfile::read_signer(&outgoing, &unlock)?.vkey());
    // The last heads that the world has seen must bear the new key's line: after this nobody here can tell the old one's.
    let published = config.log_dir().join("checkpoint");
    for path in [Some(&published), config.witnesses.high_water.as_ref()].into_iter().flatten() {
        let bytes = fs::read(path).map_err(system(format_args!("cannot read {}", path.display())))?;
        let newest = high_water::checkpoints(&bytes).max_by_key(|(_, head)| head.size).map(|(note, _)| note);
        if newest.is_none_or(|note| note.open(std::slice::from_ref(&vkey)).is_err()) {
            let fault = format!("{} is not signed by the new key yet", path.display());
            return Err(Failure::new(Exit::Failed, fault).next("start the log once, and wait for its next checkpoint"));
        }
    }
    let trust = name_in_trust(config, |lines| lines.retain(|line| *line != gone))?;
    fs::remove_file(&outgoing).map_err(system(format_args!("cannot delete {}", outgoing.display())))?;
    sync_folder(&outgoing).map_err(system(format_args!("cannot sync the folder of {}", outgoing.display())))?;
    out.say(
        format!(
            "{vkey} signs alone; the old key is deleted\n  {} names the new key only\n  next: destroy the old one's backups, and take its line out of every other policy\n    {gone}",
            trust.display()
        ),
        json!({ "public": vkey.to_string(), "file": path_value(&path) }),
    )
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
    let appended = append(config, check(config)?, move |_| {
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
    let appended = append(config, check(config)?, move |engine| {
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
    checked: Checked,
    change: impl FnOnce(&Engine) -> Result<KeyChange, Failure> + Send,
) -> Result<Appended, Failure> {
    runtime()?.block_on(async {
        let (engine, _) = engine_config(config, checked);
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

/// Changes the lines of the trust file; one that the operator keeps elsewhere is the operator's.
fn name_in_trust(config: &Config, change: impl FnOnce(&mut Vec<String>)) -> Result<PathBuf, Failure> {
    let path = config.witnesses.policy.clone().unwrap_or_else(|| config.data.join(TRUST));
    let cannot = |doing: &str| format!("cannot {doing} the trust file {}", path.display());
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(path),
        Err(e) => return Err(system(cannot("read"))(e)),
    };
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    change(&mut lines);
    let changed = lines.join("\n") + "\n";
    if changed != text {
        disk::real()
            .replace(&path, changed.as_bytes())
            .map_err(|e| Failure::new(Exit::System, format!("{}: {e}", cannot("write"))))?;
    }
    Ok(path)
}

/// The new file under the old one's name, with the folder synced.
fn take_place(next: &Path, current: &PathBuf) -> Result<(), Failure> {
    let moved = fs::rename(next, current).and_then(|()| sync_folder(current));
    moved.map_err(system(format_args!("the change is logged, but {} can't be put in place", current.display())))
}

/// Brings what happened to that name to stable storage.
fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |home| fs::File::open(home)?.sync_all())
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
