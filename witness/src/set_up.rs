//! Making a witness: folder, keys, configuration, and the state of its logs.

use std::net::SocketAddr;
use std::path::Path;

use tlog::key::KeyName;

use crate::config::{Config, TrustedLog};
use crate::folder::Folder;
use crate::keys::{self, KeyError, KeyKind, Keys, Source};
use crate::ledger::{Ledger, Stored};
use crate::witness::OpenError;

/// Where a new witness's keys come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NewKeys {
    /// Made here, of these kinds.
    Make(Vec<KeyKind>),
    /// They are somewhere else.
    Use(Vec<Source>),
}

/// What a witness is to be. What is there already is kept.
#[derive(Clone, Debug)]
pub struct SetUp<'a> {
    /// The name of a new witness. Without one there must be a witness.
    pub name: Option<&'a KeyName>,
    /// The keys of a new witness.
    pub keys: NewKeys,
    /// Whether new keys are encrypted.
    pub seal: bool,
    /// The logs to cosign for, besides those that are known.
    pub logs: &'a [TrustedLog],
}

/// Makes what is missing of a witness in `dir`: folder, an Ed25519 key (under `name`), and, for
/// each log that the configuration does not have yet, its state. What is there already is kept.
pub fn set_up(
    dir: &Path,
    name: Option<&KeyName>,
    listen: Option<SocketAddr>,
    logs: &[TrustedLog],
) -> Result<(), OpenError> {
    let keys = NewKeys::Make(vec![KeyKind::Ed25519]);
    SetUp { name, keys, seal: false, logs }.run(dir, |config| config.listen = listen.unwrap_or(config.listen))
}

impl SetUp<'_> {
    /// Makes what is missing of a witness in `dir`; `change` may change its configuration.
    ///
    /// This, and [`crate::Witness`] where logs are added to it, are the only places where a log
    /// starts as "never seen".
    pub fn run(&self, dir: &Path, change: impl FnOnce(&mut Config)) -> Result<(), OpenError> {
        let folder = match self.name {
            Some(_) => Folder::create(dir)?,
            None => Folder::open(dir)?,
        };
        let mut config = Config::load(dir)?;
        let before = Config::path(dir).exists().then(|| config.clone());
        change(&mut config);
        self.name_and_keys(dir, &mut config, before.is_none())?;

        let new: Vec<&TrustedLog> = self.logs.iter().filter(|log| config.log(&log.origin).is_none()).collect();
        if before.is_none() || !new.is_empty() {
            // The state first: a configured log without one is a log whose state was lost.
            let known: Vec<_> = config.logs.iter().map(|log| &log.origin).collect();
            let (ledger, _) = Ledger::open(&folder.states(), &known)?;
            let missing: Vec<Stored> = new.iter().filter_map(|log| ledger.if_missing(&log.origin)).collect();
            ledger.commit_all(missing).map_err(OpenError::NewState)?;
        }
        for log in self.logs {
            config.add(log.clone());
        }
        if before.is_none_or(|before| before != config) {
            config.save(dir)?;
        }
        Ok(())
    }

    /// Makes the keys of a new witness, and checks the name of one that is there.
    fn name_and_keys(&self, dir: &Path, config: &mut Config, new: bool) -> Result<(), OpenError> {
        if new {
            config.keys = match &self.keys {
                NewKeys::Make(kinds) => kinds.iter().map(|kind| Source::File(kind.file().into())).collect(),
                NewKeys::Use(sources) => sources.clone(),
            };
        }
        let unlock = config.unlock();
        if let Some(name) = self.name {
            for kind in [KeyKind::Ed25519, KeyKind::MlDsa44] {
                if config.keys.contains(&Source::File(kind.file().into())) {
                    self.make_if_missing(dir, kind, name, config)?;
                }
            }
        }
        let keys = Keys::load(dir, &config.keys, &unlock)?;
        match self.name {
            Some(asked) if asked != keys.name() => {
                Err(OpenError::Name { found: keys.name().clone(), asked: asked.clone() })
            }
            _ => Ok(()),
        }
    }

    fn make_if_missing(&self, dir: &Path, kind: KeyKind, name: &KeyName, config: &Config) -> Result<(), OpenError> {
        if keys::is_there(dir, kind) {
            return Ok(());
        }
        // A witness that has state has had its keys: a new one in their place would be another
        // witness with this one's memory.
        if !config.logs.is_empty() {
            return Err(KeyError::Missing(dir.join(kind.file())).into());
        }
        let unlock = config.unlock();
        keys::create(dir, kind, name.clone(), self.seal.then_some(&unlock))?;
        Ok(())
    }
}
