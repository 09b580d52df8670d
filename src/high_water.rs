//! The high-water file: the newest head that was signed, remembered outside the folder, where no witness does.
//!
//! ```text
//! slot 0, slot 1     a signed checkpoint, as text, and NUL bytes up to 16 KiB
//! ```
//! Heads are written in turn into the slot that has the older one, over it, and synced: one sync for each, and no change to
//! the folder. A write that a crash interrupts tears the older head, and the newer one is still there. A file with a
//! checkpoint alone is one that an operator, or an earlier version, has put there.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tlog::checkpoint::Checkpoint;
use tlog::note::Note;
use tlog::tree::TreeHead;

use crate::cosign::Last;
use crate::guard::GuardError;
use crate::history::History;
use crate::publisher::contradiction;
use crate::signers::Signers;
use crate::store::disk::{Disk, DiskError};

/// The length of a slot. A checkpoint with the lines of two keys and of ML-DSA-44 takes less than half of it.
const SLOT: usize = 16 << 10;

/// The file that remembers, outside the folder, the newest head that was signed.
pub struct HighWater {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    signers: Arc<Signers>,
    /// The slot that the next head is written into; none where it is not known what is in the file.
    next: Mutex<Option<usize>>,
}

/// The checkpoints in a high-water file, in the order of the slots. Whether they are signed is not looked at.
pub fn checkpoints(bytes: &[u8]) -> impl Iterator<Item = (Note, TreeHead)> {
    // A checkpoint alone may be longer than a slot, with the lines of many witnesses.
    let slot = if bytes.contains(&0) { SLOT } else { bytes.len().max(1) };
    bytes.chunks(slot).filter_map(|slot| {
        let end = slot.iter().position(|byte| *byte == 0).unwrap_or(slot.len());
        let note = Note::parse(&slot[..end]).ok()?;
        let head = Checkpoint::parse_text(note.text()).ok()?.head;
        Some((note, head))
    })
}

impl HighWater {
    /// A high-water file at that path.
    pub fn new(disk: Arc<dyn Disk>, path: PathBuf, signers: Arc<Signers>) -> HighWater {
        HighWater { disk, path, signers, next: Mutex::default() }
    }

    /// Compares the disk with what the file remembers.
    ///
    /// A file that is not there yet is started by the first head. Where the log has published before, it must be there:
    /// a disk that is not mounted, or a machine that was made anew, looks the same as none. An operator who knows that
    /// this folder is the newest makes an empty file.
    pub fn check(&self, history: &History, published: bool) -> Result<(), GuardError> {
        let Some(head) = self.read(published)? else { return Ok(()) };
        match contradiction(&Last::Head(head), history) {
            None => Ok(()),
            Some(what) => {
                Err(GuardError::RolledBack { holder: format!("the high-water file {}", self.path.display()), what })
            }
        }
    }

    /// Remembers a signed head. It must be on stable storage before the signature leaves the process.
    pub fn raise(&self, note: &[u8]) -> Result<(), DiskError> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let mut slot = note.to_vec();
        slot.resize(note.len().next_multiple_of(SLOT), 0);
        // Where somebody has taken the file away it is made anew, as it is by the first head.
        if let Some(at) = next.take_if(|_| slot.len() == SLOT)
            && let Some(file) = self.disk.open(&self.path)?
        {
            file.write_at((at * SLOT) as u64, &slot)?;
            file.sync_data()?;
            *next = Some(1 - at);
            return Ok(());
        }
        slot.resize(2 * SLOT, 0);
        self.disk.replace(&self.path, &slot)?;
        *next = Some(1);
        Ok(())
    }

    fn read(&self, published: bool) -> Result<Option<TreeHead>, GuardError> {
        let wrong = |what: String| GuardError::HighWater { path: self.path.clone(), what };
        let bytes = match self.disk.read(&self.path).map_err(|e| wrong(e.to_string()))? {
            Some(bytes) if bytes.is_empty() => return Ok(None),
            Some(bytes) => bytes,
            None if published => {
                let what = "it is missing, and this log has published before: bring it back, or, if this folder is certainly the newest, make an empty file there";
                return Err(wrong(what.to_owned()));
            }
            None => return Ok(None),
        };
        let newest = checkpoints(&bytes).filter(|(note, _)| note.open(self.signers.vkeys()).is_ok());
        let newest = newest.map(|(_, head)| head).max_by_key(|head| head.size);
        newest.map(Some).ok_or_else(|| wrong("it holds no checkpoint that this log has signed".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tlog::Hash;
    use tlog::checkpoint::Origin;
    use tlog::key::{KeyName, Signer};
    use tlog::tree::TreeSize;

    use super::*;
    use crate::store::disk::{Cut, MemoryDisk};

    fn signers(seed: u8) -> Arc<Signers> {
        Arc::new(Signers::from(Signer::note(KeyName::new("log.example").expect("name"), &[seed; 32])))
    }

    fn note(signers: &Signers, size: u64) -> Vec<u8> {
        let head = TreeHead { size: TreeSize::new(size).expect("small"), root: Hash([size as u8; 32]) };
        let checkpoint = Checkpoint::new(Origin::new("log.example").expect("name"), head);
        signers.sign(&checkpoint, 0).expect("signed").to_bytes()
    }

    fn size(file: &HighWater) -> u64 {
        file.read(true).expect("a head").expect("a head").size.get()
    }

    #[test]
    fn the_newest_head_survives_every_power_cut() {
        for seed in 0..200 {
            let disk = MemoryDisk::new();
            disk.shared().create_dir_all(Path::new("/elsewhere")).expect("folder");
            let keys = signers(1);
            let file = || HighWater::new(disk.shared(), "/elsewhere/high-water".into(), Arc::clone(&keys));
            let raised = file();
            let last = 1 + seed % 7;
            for head in 1..=last {
                raised.raise(&note(&keys, head)).expect("raised");
                assert_eq!(size(&file()), head);
            }
            // The next one is on its way into the slot of the one before the last.
            if let Some(at) = *raised.next.lock().expect("one thread") {
                let under_way = disk.shared().open(Path::new("/elsewhere/high-water")).expect("open").expect("there");
                let mut slot = note(&keys, last + 1);
                slot.resize(SLOT, 0);
                under_way.write_at((at * SLOT) as u64, &slot).expect("written");
            }
            disk.cut_power(if seed < 2 { Cut::Lost } else { Cut::Some(seed) });
            let found = size(&file());
            assert!(found == last || found == last + 1, "seed {seed}: {found} of {last}");
            file().raise(&note(&keys, last + 2)).expect("raised");
            assert_eq!(size(&file()), last + 2);
        }
    }

    #[test]
    fn a_file_with_a_checkpoint_alone_is_read_and_anothers_is_not() {
        let disk = MemoryDisk::new();
        disk.shared().create_dir_all(Path::new("/elsewhere")).expect("folder");
        let path = Path::new("/elsewhere/high-water");
        let (keys, strangers) = (signers(1), signers(2));
        let file = HighWater::new(disk.shared(), path.to_owned(), Arc::clone(&keys));
        assert_eq!(file.read(false).expect("none"), None);
        file.read(true).expect_err("it must be there");
        disk.shared().replace(path, &note(&keys, 7)).expect("written");
        assert_eq!(size(&file), 7);
        // One with the lines of many witnesses is longer than a slot.
        let mut cosigned = note(&keys, 8);
        let line = "\u{2014} witness.example AAAAAAAA".to_owned() + &"AAAA".repeat(1000) + "\n";
        (0..6).for_each(|_| cosigned.extend_from_slice(line.as_bytes()));
        assert!(cosigned.len() > SLOT);
        disk.shared().replace(path, &cosigned).expect("written");
        assert_eq!(size(&file), 8);
        for bytes in [note(&strangers, 9), b"no checkpoint".to_vec(), vec![0; 2 * SLOT]] {
            disk.shared().replace(path, &bytes).expect("written");
            file.read(true).expect_err("not signed by this log");
        }
        disk.shared().replace(path, b"").expect("written");
        assert_eq!(file.read(true).expect("an operator's word"), None);
    }
}
