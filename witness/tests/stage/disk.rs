//! A disk that can be crashed at any call: it knows what is durable and what is only written.

use std::io;
use std::sync::{Arc, Mutex};

use tlog::cosignature::Cosigner;
use tlog::key::KeyName;
use witness::config::Config;
use witness::copies::{Copies, Copy};
use witness::disk::ReplaceError;
use witness::keys::{Keys, WitnessKey};
use witness::published::Published;
use witness::witness::{Clock, Parts};
use witness::{TrustedLog, Witness};

use super::random::Random;
use super::{Log, ticking};

#[derive(Clone, Default)]
struct Content {
    /// What a power cut leaves, at least.
    durable: Vec<u8>,
    /// What reads give back.
    written: Vec<u8>,
    exists: bool,
}

#[derive(Default)]
struct Inner {
    copies: [Content; 2],
    /// How many replacements failed, of those that were planned to.
    failed_replacements: u64,
    /// How many more appends, syncs and replacements succeed.
    fail_append: Option<u64>,
    fail_sync: Option<u64>,
    fail_replace: Option<u64>,
    fail_truncate: bool,
}

/// Two copies in memory, shared by those who write and those who break.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<Inner>>);

fn place(copy: Copy) -> usize {
    usize::from(copy == Copy::B)
}

/// Whether the call that is now made is the one that fails.
fn fails(plan: &mut Option<u64>) -> bool {
    match plan {
        Some(1) => {
            *plan = None;
            true
        }
        Some(calls) => {
            *calls -= 1;
            false
        }
        None => false,
    }
}

fn error() -> io::Error {
    io::Error::other("the disk fails, as planned")
}

impl Disk {
    /// The `call`-th append from now fails halfway.
    pub fn fail_append(&self, call: u64) {
        self.0.lock().unwrap().fail_append = Some(call);
    }

    /// The `call`-th sync from now fails.
    pub fn fail_sync(&self, call: u64) {
        self.0.lock().unwrap().fail_sync = Some(call);
    }

    /// The `call`-th replacement from now fails: before its moment of truth, or in it.
    pub fn fail_replace(&self, call: u64) {
        self.0.lock().unwrap().fail_replace = Some(call);
    }

    /// Whether cutting back fails, from now on.
    pub fn fail_truncate(&self, fail: bool) {
        self.0.lock().unwrap().fail_truncate = fail;
    }

    /// How many replacements have failed.
    pub fn failed_replacements(&self) -> u64 {
        self.0.lock().unwrap().failed_replacements
    }

    /// Forgets what was to fail.
    pub fn heal(&self) {
        let mut inner = self.0.lock().unwrap();
        (inner.fail_append, inner.fail_sync, inner.fail_replace, inner.fail_truncate) = (None, None, None, false);
    }

    /// Cuts the power: of what was written and not synced, any part may be there.
    pub fn crash(&self, random: &mut Random) {
        self.heal();
        for content in &mut self.0.lock().unwrap().copies {
            let Content { durable, written, .. } = content;
            if written.len() > durable.len() && written.starts_with(durable) {
                let unsynced = (written.len() - durable.len()) as u64;
                let kept = durable.len() + random.below(unsynced + 1) as usize;
                written.truncate(kept);
                if random.once_in(2) && kept > durable.len() {
                    // The length was written, and not all of the bytes.
                    let hole = durable.len() + random.below((kept - durable.len()) as u64) as usize;
                    written[hole..].fill(0);
                }
            } else if random.once_in(2) {
                written.clone_from(durable);
            }
            durable.clone_from(written);
        }
    }

    /// Whether `text` would be there after a power cut, in both copies. Once a copy was not
    /// replaced, the first one may have a larger head of the same log instead, which nobody signed
    /// and which extends this one; then it is in the other.
    pub fn is_durable(&self, text: &str) -> bool {
        let inner = self.0.lock().unwrap();
        let has =
            |copy: &Content| std::str::from_utf8(&copy.durable).is_ok_and(|durable| durable.rfind(text).is_some());
        match inner.failed_replacements {
            0 => inner.copies.iter().all(has),
            _ => inner.copies.iter().any(has),
        }
    }
}

impl Copies for Disk {
    fn read(&mut self, copy: Copy) -> io::Result<Option<Vec<u8>>> {
        let inner = self.0.lock().unwrap();
        let content = &inner.copies[place(copy)];
        Ok(content.exists.then(|| content.written.clone()))
    }

    fn replace(&mut self, copy: Copy, bytes: &[u8]) -> Result<(), ReplaceError> {
        let mut inner = self.0.lock().unwrap();
        if fails(&mut inner.fail_replace) {
            inner.failed_replacements += 1;
            // By the size: half of them fail before the moment of truth, and half of them in it.
            if bytes.len().is_multiple_of(2) {
                return Err(ReplaceError::Unchanged(error()));
            }
            if bytes.len() % 4 == 1 {
                let whole = Content { durable: bytes.to_vec(), written: bytes.to_vec(), exists: true };
                inner.copies[place(copy)] = whole;
            }
            return Err(ReplaceError::Unclear(error()));
        }
        inner.copies[place(copy)] = Content { durable: bytes.to_vec(), written: bytes.to_vec(), exists: true };
        Ok(())
    }

    fn append(&mut self, copy: Copy, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap();
        let failed = fails(&mut inner.fail_append);
        let length = if failed { bytes.len() / 2 } else { bytes.len() };
        inner.copies[place(copy)].written.extend_from_slice(&bytes[..length]);
        if failed { Err(error()) } else { Ok(()) }
    }

    fn sync(&mut self, copy: Copy) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap();
        if fails(&mut inner.fail_sync) {
            return Err(error());
        }
        let content = &mut inner.copies[place(copy)];
        content.durable.clone_from(&content.written);
        Ok(())
    }

    /// Short, so that copies are written anew, and fail in that, many times in a run.
    fn longest(&self, fresh: usize) -> usize {
        fresh + 2_048
    }

    fn truncate(&mut self, copy: Copy, length: u64) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap();
        if inner.fail_truncate {
            return Err(error());
        }
        inner.copies[place(copy)].written.truncate(length as usize);
        Ok(())
    }
}

pub fn cosigner() -> Cosigner {
    Cosigner::new(KeyName::new("witness.example/w1").unwrap(), &[77; 32])
}

/// A witness for `log` with its state on `disk`. A fresh disk is one of a witness that has not
/// seen the log.
pub fn on_disk(disk: &Disk, log: &Log, key: WitnessKey) -> Witness {
    open(disk, vec![log.trusted()], key, ticking(1_700_000_000)).unwrap()
}

/// A witness for `logs` with its state on `disk`.
pub fn open(disk: &Disk, logs: Vec<TrustedLog>, key: WitnessKey, clock: Clock) -> Result<Witness, witness::OpenError> {
    let fresh = disk.clone().read(Copy::A).unwrap().is_none() && disk.clone().read(Copy::B).unwrap().is_none();
    let witness = Witness::from_parts(Parts {
        keys: Keys::new(vec![key]).unwrap(),
        config: Config { logs: if fresh { Vec::new() } else { logs.clone() }, ..Config::default() },
        copies: Box::new(disk.clone()),
        published: Published::nowhere(),
        clock,
        folder: None,
    })?;
    if fresh {
        witness.add_logs(logs)?;
    }
    Ok(witness)
}
