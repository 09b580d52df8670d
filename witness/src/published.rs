//! What the witness has published: the last cosigned checkpoint of each log, as a folder of files.
//!
//! ```text
//! published/<hex sha256 of origin>/checkpoint
//! ```
//!
//! The folder is a monitoring prefix: any static server can serve it. Its files can be made again,
//! so they are written behind the answers, the last one of a log only, and not synced. But they
//! bear our signature: a start that finds one ahead of the state knows that the state was lost.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tlog::checkpoint::{Checkpoint, Origin};
use tlog::cosignature::{CheckpointCosignature, Seconds};
use tlog::key::Vkey;
use tlog::note::{Note, SignatureLine};
use tlog::tree::TreeHead;

use crate::disk;

/// Where cosigned checkpoints go.
pub struct Published {
    folder: Option<PathBuf>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    notes: BTreeMap<String, Arc<str>>,
    closed: bool,
}

/// A checkpoint that this witness cosigned, and has published.
#[derive(Debug)]
pub(crate) struct Before {
    pub(crate) note: Note,
    pub(crate) head: TreeHead,
    /// Our lines.
    pub(crate) lines: Vec<SignatureLine>,
    /// The latest time of them.
    pub(crate) time: Seconds,
}

impl Published {
    /// Nowhere but in memory.
    #[must_use]
    pub fn nowhere() -> Published {
        Published { folder: None, shared: Arc::default(), thread: None }
    }

    /// Below `folder`, by a thread of its own.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Published {
        let shared: Arc<Shared> = Arc::default();
        let (theirs, to) = (shared.clone(), folder.to_owned());
        let thread = std::thread::spawn(move || theirs.write_all(&to));
        Published { folder: Some(folder.to_owned()), shared, thread: Some(thread) }
    }

    /// Publishes `note`, soon.
    pub(crate) fn show(&self, origin: &Origin, note: Arc<str>) {
        if self.thread.is_some() {
            lock(&self.shared.waiting).notes.insert(origin.hash().to_hex(), note);
            self.shared.changed.notify_one();
        }
    }
}

impl Shared {
    fn write_all(&self, folder: &Path) {
        loop {
            let (notes, closed) = {
                let waiting = lock(&self.waiting);
                let mut waiting = self
                    .changed
                    .wait_while(waiting, |waiting| waiting.notes.is_empty() && !waiting.closed)
                    .unwrap_or_else(PoisonError::into_inner);
                (std::mem::take(&mut waiting.notes), waiting.closed)
            };
            for (hash, note) in notes {
                // It can be made again, and it is served from memory: a full disk is no failure here.
                let _ = write(folder, &hash, &note);
            }
            if closed {
                return;
            }
        }
    }
}

fn write(folder: &Path, hash: &str, note: &str) -> io::Result<()> {
    let folder = folder.join(hash);
    match fs::create_dir_all(&folder) {
        Ok(()) => disk::replace_derived(&folder.join("checkpoint"), note.as_bytes()),
        Err(error) => Err(error),
    }
}

impl Drop for Published {
    /// Writes what waits.
    fn drop(&mut self) {
        lock(&self.shared.waiting).closed = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What was published of the log, if there is something and it is cosigned by one of `keys`. A
/// file that is not is nobody's word.
pub(crate) fn read(published: &Published, origin: &Origin, keys: &[Vkey]) -> Option<Before> {
    let path = published.folder.as_ref()?.join(origin.hash().to_hex()).join("checkpoint");
    let note = Note::parse(&fs::read(path).ok()?).ok()?;
    let checkpoint = Checkpoint::parse_text(note.text()).ok().filter(|checkpoint| checkpoint.origin == *origin)?;
    let ours: Vec<CheckpointCosignature> = (note.signatures().iter())
        .filter_map(|line| keys.iter().find_map(|key| CheckpointCosignature::verify(&checkpoint, line, key)))
        .collect();
    let time = ours.iter().map(CheckpointCosignature::time).max()?;
    let lines = ours.into_iter().map(CheckpointCosignature::into_line).collect();
    Some(Before { head: checkpoint.head, note, lines, time })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
