//! Which logs there are, and how that changes while the witness runs.
//!
//! ```text
//! list      new logs                                    what is known stays as it is
//! operator  new logs, more keys, other limits, lists    what is there stays
//! SIGHUP    witness.toml as it is now                   what is not there any more is not served any more
//! ```
//! The state of a log comes before its place in the configuration: a configured log without a
//! record is a log whose state was lost. And a log that was once known has one [`Log`] as long as
//! the process lives, in force or not: two of them would each compare and swap with themselves.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use tlog::checkpoint::Origin;

use super::{Log, OpenError, Witness, lock};
use crate::config::{Additions, Config, TrustedLog};
use crate::ledger::Stored;

/// What reading the configuration again has changed.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Reloaded {
    /// Logs that are served now and were not before.
    pub added: Vec<Origin>,
    /// Logs that are not served any more.
    pub removed: Vec<Origin>,
    /// Whether something has changed that only a restart puts into force: addresses, keys, the bastion.
    pub needs_restart: bool,
}

impl Witness {
    /// Cosigns for these logs too, from now on. Those whose origin is known are passed over,
    /// whatever keys they come with. Gives back the new ones. Blocks for the disk.
    pub fn add_logs(&self, logs: Vec<TrustedLog>) -> Result<Vec<TrustedLog>, OpenError> {
        let mut config = lock(&self.config);
        let mut seen = BTreeSet::new();
        let new: Vec<TrustedLog> = (logs.into_iter())
            .filter(|log| self.log(&log.origin).is_none() && seen.insert(log.origin.clone()))
            .collect();
        if !new.is_empty() {
            let additions = Additions { logs: new.clone(), lists: Vec::new() };
            self.put_into_force(&mut config, &additions)?;
        }
        Ok(new)
    }

    /// Does what an operator wants: new logs, more keys of known ones, lists. Blocks for the disk.
    pub fn add(&self, additions: &Additions) -> Result<(), OpenError> {
        self.put_into_force(&mut lock(&self.config), additions)
    }

    /// Serves the logs that the configuration in the folder has now, each with its keys and its
    /// limit. Without a folder nothing changes. Blocks for the disk.
    pub fn reload(&self) -> Result<Reloaded, OpenError> {
        let mut config = lock(&self.config);
        let Some(folder) = &self.folder else { return Ok(Reloaded::default()) };
        let new = Config::load(folder.path())?;
        let origins = |config: &Config| config.logs.iter().map(|log| log.origin.clone()).collect::<BTreeSet<_>>();
        let (before, after) = (origins(&config), origins(&new));
        self.make_states(&new)?;
        self.serve_these(&new);
        let Config { listen, keys, passphrase_file, age_identity_file, refresh_s, bastion, bastion_ca, .. } = &*config;
        let in_force = (listen, keys, passphrase_file, age_identity_file, refresh_s, bastion, bastion_ca);
        let Config { listen, keys, passphrase_file, age_identity_file, refresh_s, bastion, bastion_ca, .. } = &new;
        let needs_restart =
            in_force != (listen, keys, passphrase_file, age_identity_file, refresh_s, bastion, bastion_ca);
        *config = new;
        Ok(Reloaded {
            added: after.difference(&before).cloned().collect(),
            removed: before.difference(&after).cloned().collect(),
            needs_restart,
        })
    }

    fn put_into_force(&self, config: &mut Config, additions: &Additions) -> Result<(), OpenError> {
        let mut next = config.clone();
        next.add_all(additions);
        if next == *config {
            return Ok(());
        }
        self.make_states(&next)?;
        if let Some(folder) = &self.folder {
            // Somebody may have edited the file meanwhile, and not asked us to read it yet.
            let mut file = Config::load(folder.path())?;
            file.add_all(additions);
            file.save(folder.path())?;
        }
        self.serve_these(&next);
        *config = next;
        Ok(())
    }

    /// Records for logs that have none. One that was known once has one already.
    fn make_states(&self, config: &Config) -> Result<(), OpenError> {
        let missing: Vec<Stored> = config.logs.iter().filter_map(|log| self.ledger.if_missing(&log.origin)).collect();
        if missing.is_empty() { Ok(()) } else { self.ledger.commit_all(missing).map_err(OpenError::NewState) }
    }

    fn serve_these(&self, config: &Config) {
        let mut known = self.logs.write().unwrap_or_else(PoisonError::into_inner);
        let mut served = BTreeSet::new();
        for trusted in &config.logs {
            let hash = trusted.origin.hash().to_hex();
            if let Some(log) = known.get(&hash) {
                *log.trusted.write().unwrap_or_else(PoisonError::into_inner) = trusted.clone();
            } else {
                let stored = self.ledger.stored(&trusted.origin);
                let state = stored.unwrap_or_else(|| Stored::never(trusted.origin.clone()));
                let log = Arc::new(Log::new(trusted.clone(), state));
                self.cosign_what_was_stored(&log);
                known.insert(hash.clone(), log);
            }
            served.insert(hash);
        }
        for (hash, log) in known.iter() {
            log.served.store(served.contains(hash), Ordering::Release);
        }
    }
}
