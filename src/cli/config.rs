//! `solelog config`: is the configuration right, and where does each value come from.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use clap::Subcommand;
use serde_json::json;
use tlog::policy::Policy;

use super::{Exit, Failure, Output, Which, keyfile};
use crate::authority::registration::RelyingParty;
use crate::authority::second_opinion::SecondOpinion;
use crate::config::{Config, FIELDS, Source, lookup};
use crate::keys::{KeyStore, SoftKeys, Unlock, file};
use crate::signers::{OtherName, Signers};

/// The configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check it, with the files it names, without starting anything.
    Check {
        /// Which log.
        #[command(flatten)]
        which: Which,
    },
    /// Show every field, its value, where the value comes from, and what the field is for.
    Show {
        /// Which log.
        #[command(flatten)]
        which: Which,
    },
}

impl ConfigCommand {
    /// Runs it.
    pub fn run(self, out: Output) -> Result<(), Failure> {
        match self {
            ConfigCommand::Check { which } => {
                let loaded = which.load()?;
                let checked = check(&loaded.config)?;
                let quorum = match &checked.witness_policy {
                    Some((_, policy)) => format!("{} witnesses", policy.witnesses().len()),
                    None => "no witnesses; a high-water file is the only memory outside the folder".to_owned(),
                };
                let keys = match &checked.keys {
                    Some(keys) => format!(
                        "issuing key {}, master secret {}",
                        hex::encode(keys.issuing_key().as_bytes()),
                        keys.epoch()
                    ),
                    None => "the log's alone; credentials are issued elsewhere".to_owned(),
                };
                out.say(
                    format!("ok: {}\n  vkey       {}\n  keys       {keys}\n  witnesses  {quorum}\n  next       solelog serve --config {}", loaded.config.origin, checked.vkey, which.config.display()),
                    json!({ "ok": true, "origin": loaded.config.origin, "vkey": checked.vkey, "issuing_key": checked.keys.as_ref().map(|k| hex::encode(k.issuing_key().as_bytes())), "epoch": checked.keys.as_ref().map(KeyStore::epoch), "witnesses": checked.witness_policy.map(|(_, p)| p.witnesses().len()) }),
                )
            }
            ConfigCommand::Show { which } => {
                let loaded = which.load()?;
                let table = toml::Table::try_from(&loaded.config).map_err(|e| Failure::new(Exit::Config, e))?;
                let (mut text, mut list) = (String::new(), Vec::new());
                for field in FIELDS {
                    let value = lookup(&table, field.path);
                    let shown = value.map_or("(not set)".to_owned(), ToString::to_string);
                    let source = loaded.sources.get(field.path).unwrap_or(&Source::Default);
                    let origin = match source {
                        Source::Default => "default".to_owned(),
                        Source::File => "file".to_owned(),
                        Source::Environment(variable) => variable.clone(),
                        Source::Flag => "--set".to_owned(),
                    };
                    let _ = writeln!(text, "{:30} = {shown:32} {origin}\n    {}", field.path, field.why);
                    list.push(json!({ "field": field.path, "value": value, "source": origin, "variable": field.variable(), "why": field.why }));
                }
                out.say(text, list)
            }
        }
    }
}

/// What a configuration leads to.
pub struct Checked {
    /// The log's keys.
    pub signers: Signers,
    /// The log's vkey: of the one in force.
    pub vkey: String,
    /// The witnesses, as text and as what the text says.
    pub witness_policy: Option<(String, Policy)>,
    /// The provider's keys; `None` when it runs its part of SCAL3 elsewhere.
    pub keys: Option<SoftKeys>,
    /// Who registers passkeys; `None` where none are taken.
    pub relying_party: Option<RelyingParty>,
    /// The service that is asked besides the logged policy.
    pub second_opinion: Option<SecondOpinion>,
}

/// Reads the files that the configuration names.
pub fn check(config: &Config) -> Result<Checked, Failure> {
    let unlock = config.unlock();
    let signers = log_keys(config, &unlock)?;
    let witness_policy = config.witnesses.policy.as_ref().map(|path| read_policy(path)).transpose()?;
    if let (Some(path), Some((_, policy))) = (&config.witnesses.policy, &witness_policy)
        && !policy.logs().iter().any(|log| signers.vkeys().contains(&log.vkey))
    {
        return Err(Failure::new(Exit::Config, format!("{}: it does not name this log", path.display()))
            .next(format!("add the line: log {}", signers.vkey())));
    }
    let keys = SoftKeys::open_if_any(&config.key_folder(), &unlock)?;
    let rules = config.webauthn.rules(&config.authority.issuer);
    let relying_party =
        rules.map(RelyingParty::new).transpose().map_err(|e| Failure::new(Exit::Config, format!("webauthn: {e}")))?;
    let patience = Duration::from_millis(config.authority.second_opinion_ms);
    let second_opinion = config.authority.second_opinion.as_ref().map(|url| SecondOpinion::new(url, patience));
    let second_opinion =
        second_opinion.transpose().map_err(|e| Failure::new(Exit::Config, format!("authority.second_opinion: {e}")))?;
    Ok(Checked { vkey: signers.vkey().to_string(), signers, witness_policy, keys, relying_party, second_opinion })
}

/// The key that signs checkpoints, the outgoing one beside it while a rotation lasts, and an ML-DSA-44 key.
fn log_keys(config: &Config, unlock: &Unlock) -> Result<Signers, Failure> {
    let path = config.log_key();
    let mut signers = Signers::from(keyfile::read_signer(&path, unlock)?);
    if signers.name().as_str() != config.origin {
        let fault = format!("the key {} is of {}, the log is {}", path.display(), signers.name(), config.origin);
        return Err(Failure::new(Exit::Config, fault).next("name the log's own key in keys.log"));
    }
    let there = |path: &Path| file::locate(path, unlock).map(|found| found.exists());
    let wrong = |path: &Path, e: OtherName| Failure::new(Exit::Config, format!("{}: {e}", path.display()));
    let (outgoing, ml_dsa) = (config.outgoing_log_key(), config.ml_dsa_log_key());
    if there(&outgoing)? {
        let outgoing_key = keyfile::read_signer(&outgoing, unlock)?;
        signers = signers.and(outgoing_key).map_err(|e| wrong(&outgoing, e))?;
    }
    if there(&ml_dsa)? {
        let key = keyfile::read_ml_dsa(&ml_dsa, unlock)?;
        signers = signers.and_ml_dsa(key).map_err(|e| wrong(&ml_dsa, e))?;
    }
    Ok(signers)
}

/// Reads a witness policy, and refuses one under which a log could be forked unnoticed or never published.
pub fn read_policy(path: &std::path::Path) -> Result<(String, Policy), Failure> {
    let wrong = |fault: String| {
        Failure::new(Exit::Config, format!("{}: {fault}", path.display())).next("see https://c2sp.org/tlog-policy; for example:\n    witness w1 VKEY https://w1.example/\n    witness w2 VKEY https://w2.example/\n    group all all w1 w2\n    quorum all")
    };
    let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
    let policy = Policy::parse(&text).map_err(|e| wrong(e.to_string()))?;
    if let Some(mute) = policy.witnesses().iter().find(|w| w.url.is_none()) {
        return Err(wrong(format!("the witness {} has no URL, so the log can't ask it", mute.name)));
    }
    if policy.quorum_is_none() {
        return Err(wrong("the quorum is `none`: nothing would notice a restored backup".to_owned())
            .next("name a quorum, or leave witnesses.policy out and set witnesses.high_water"));
    }
    if !policy.quorums_overlap() {
        return Err(wrong(
            "two quorums without a common witness are possible: each could be shown another history".to_owned(),
        )
        .next("raise the quorum to more than half of the witnesses"));
    }
    Ok((text, policy))
}
