//! The keys of sealed openings: 32 bytes per entry, at its index, and nowhere else.
//!
//! ```text
//! openings.keys = key 0 ‖ key 1 ‖ …          32 zeros: no opening, or erased
//! ```
//!
//! Erasing an opening is overwriting its key. So keys are never in the journal, never in an ordinary backup, and never
//! written to a second file that somebody would have to remember. They are synced *before* the journal record of
//! their round: an entry whose key is lost would be an opening that nobody can read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::{Zeroize as _, Zeroizing};

use super::disk::{Disk, File, parent};
use super::{Guarded, StoreError};

/// The length of a key.
pub const KEY: usize = 32;

/// How many keys' worth of zeros are written ahead by default: 2 MiB.
const AHEAD: u64 = 1 << 16;

/// The file of keys.
pub struct Keys {
    state: Guarded<State>,
    /// Reads need no lock: a key is written once, before anyone can ask for it, and then only erased.
    file: Arc<dyn File>,
    path: PathBuf,
    ahead: u64,
}

struct State {
    /// How many keys the zero-filled file has room for.
    room: u64,
}

impl Keys {
    /// Opens the file, or makes it.
    pub fn open(disk: &dyn Disk, path: &Path) -> Result<Keys, StoreError> {
        Keys::open_with(disk, path, AHEAD)
    }

    /// As [`Keys::open`], with that many keys' worth of zeros written ahead.
    pub fn open_with(disk: &dyn Disk, path: &Path, ahead: u64) -> Result<Keys, StoreError> {
        let file = match disk.open(path)? {
            Some(file) => file,
            None => {
                disk.create_dir_all(parent(path))?;
                let file = disk.create(path)?;
                file.sync_all()?;
                // Also when the file was found: who made it may have stopped here.
                file
            }
        };
        disk.sync_dir(parent(path))?;
        let room = file.len()? / KEY as u64;
        Ok(Keys {
            state: Guarded::new(State { room }),
            file: Arc::from(file),
            path: path.to_owned(),
            ahead: ahead.max(1),
        })
    }

    /// Makes sure that keys up to (not including) that index can be written. Ask before planning a round.
    ///
    /// [`StoreError::NoSpace`] changes nothing, and asking again later may succeed.
    pub fn reserve(&self, end: u64) -> Result<(), StoreError> {
        self.state.with(|state| {
            if end <= state.room {
                return Ok(());
            }
            let wanted = end.div_ceil(self.ahead).saturating_mul(self.ahead);
            let had = state.room * KEY as u64;
            let grown = self.file.preallocate(wanted.saturating_mul(KEY as u64));
            if let Err(e) = grown {
                if e.is_no_space() {
                    self.file.truncate(had)?;
                }
                return Err(e.into());
            }
            self.file.sync_all()?;
            state.room = wanted;
            Ok(())
        })
    }

    /// Writes the keys of consecutive entries from that index on, and makes them durable.
    ///
    /// An entry without an opening has `None`. This must have returned before the journal record is written.
    pub fn write(&self, first: u64, keys: &[Option<&[u8; KEY]>]) -> Result<(), StoreError> {
        if keys.is_empty() {
            return Ok(());
        }
        self.reserve(first + keys.len() as u64)?;
        let mut bytes = Zeroizing::new(vec![0; keys.len() * KEY]);
        for (place, key) in bytes.chunks_exact_mut(KEY).zip(keys) {
            if let Some(key) = key {
                place.copy_from_slice(&key[..]);
            }
        }
        self.state.with(|_| {
            self.file.write_at(first * KEY as u64, &bytes).map_err(StoreError::Fatal)?;
            self.file.sync_data().map_err(StoreError::Fatal)
        })
    }

    /// Overwrites the keys of those entries with zeros, and makes it durable. Their openings are gone from then on.
    ///
    /// What the hardware keeps of overwritten blocks is out of reach: encrypt the disk as well.
    pub fn erase(&self, indexes: &[u64]) -> Result<(), StoreError> {
        if indexes.is_empty() {
            return Ok(());
        }
        self.state.with(|state| {
            for index in indexes.iter().filter(|index| **index < state.room) {
                self.file.write_at(index * KEY as u64, &[0; KEY]).map_err(StoreError::Fatal)?;
            }
            self.file.sync_data().map_err(StoreError::Fatal)
        })
    }

    /// The key of an entry; `None` where there never was one, or where it was erased.
    pub fn read(&self, index: u64) -> Result<Option<Zeroizing<[u8; KEY]>>, StoreError> {
        let mut key = Zeroizing::new([0; KEY]);
        let read = self.file.read_at(index.saturating_mul(KEY as u64), &mut key[..])?;
        if read != KEY {
            key.zeroize();
        }
        Ok(Some(key).filter(|key| key.iter().any(|b| *b != 0)))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk::{Cut, Fault, FaultDisk, MemoryDisk};
    use super::*;

    const PATH: &str = "/log/openings.keys";

    fn open(disk: &dyn Disk) -> Keys {
        Keys::open_with(disk, Path::new(PATH), 8).unwrap()
    }

    fn read(keys: &Keys, index: u64) -> Option<[u8; KEY]> {
        keys.read(index).unwrap().map(|key| *key)
    }

    #[test]
    fn written_keys_survive_a_power_cut_and_erased_ones_do_not() {
        let disk = MemoryDisk::new();
        let keys = open(&disk);
        keys.reserve(3).unwrap();
        keys.write(0, &[Some(&[1; 32]), None, Some(&[3; 32])]).unwrap();
        keys.write(3, &[Some(&[4; 32]); 20]).unwrap();
        disk.cut_power(Cut::Lost);
        let keys = open(&disk);
        assert_eq!(read(&keys, 0), Some([1; 32]));
        assert_eq!(read(&keys, 1), None);
        assert_eq!(read(&keys, 22), Some([4; 32]));
        assert_eq!(read(&keys, 23), None);
        assert_eq!(read(&keys, u64::MAX), None);

        keys.erase(&[0, 22, 1_000_000]).unwrap();
        disk.cut_power(Cut::Lost);
        let keys = open(&disk);
        assert_eq!(read(&keys, 0), None);
        assert_eq!(read(&keys, 22), None);
        assert_eq!(read(&keys, 2), Some([3; 32]));
        let bytes = disk.read(Path::new(PATH)).unwrap().unwrap();
        assert!(!bytes.contains(&1), "the erased key is nowhere in the file");
        assert_eq!(disk.list(Path::new("/log")).unwrap(), ["openings.keys"], "and there is no other file");
    }

    #[test]
    fn a_full_disk_is_told_before_planning_and_can_be_waited_for() {
        let disk = MemoryDisk::new();
        let keys = open(&disk);
        disk.set_capacity(Some(300));
        keys.reserve(8).unwrap();
        assert!(matches!(keys.reserve(9), Err(StoreError::NoSpace(_))));
        assert_eq!(disk.read(Path::new(PATH)).unwrap().unwrap().len(), 8 * KEY);
        keys.write(0, &[Some(&[1; 32]); 8]).unwrap();
        disk.set_capacity(None);
        keys.reserve(9).unwrap();
        assert_eq!(read(&keys, 7), Some([1; 32]));
        assert_eq!(read(&keys, 8), None);
    }

    #[test]
    fn a_failed_sync_is_fatal_for_writing_and_for_erasing() {
        for erase in [false, true] {
            let disk = FaultDisk::new(MemoryDisk::new().shared());
            let keys = open(&disk);
            keys.write(0, &[Some(&[1; 32])]).unwrap();
            disk.plan(disk.calls() + 1, Fault::Failed);
            let failed = if erase { keys.erase(&[0]) } else { keys.write(1, &[Some(&[2; 32])]) };
            assert!(matches!(failed, Err(StoreError::Fatal(_))));
            assert!(matches!(keys.write(1, &[Some(&[2; 32])]), Err(StoreError::Poisoned)));
            assert!(matches!(keys.erase(&[0]), Err(StoreError::Poisoned)));
            assert!(matches!(keys.reserve(100), Err(StoreError::Poisoned)));
        }
    }
}
