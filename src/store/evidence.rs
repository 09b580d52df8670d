//! Evidence: the sealed openings, 256 to a file, in the order of their entries.
//!
//! ```text
//! evidence/x000/000 = { length u32, sealed[length] } × 256      numbered like entry bundles; length 0: no opening
//! sealed            = AES-256-GCM(key of the entry, nonce 0, AAD = index u64 ‖ leaf hash[32], opening)
//! ```
//!
//! Numbers are big-endian. The files only grow, and what is synced never changes: an opening is erased by erasing its
//! key (`keys`), which leaves noise here. Everything in these files is also in the journal until [`Evidence::sync`] has
//! returned the watermark that covers it.

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use aes_gcm::aead::{Aead as _, AeadInOut as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use tlog::LeafHash;
use tlog::tile::EntriesPath;
use zeroize::Zeroizing;

use super::disk::{Disk, File, parent};
use super::{Guarded, StoreError};

/// Openings in a file.
const FULL: u64 = 256;

/// How many files' positions are remembered.
const CACHE: usize = 64;

/// How many bytes a sealed opening is longer.
pub const SEAL: usize = 16;

/// An opening could not be unsealed: another key, another entry, or changed bytes. Or it was too long to be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sealed opening is not that of this entry, or it was changed")]
pub struct SealError;

/// Seals the opening of an entry under a key of its own.
///
/// The nonce is zero: a key is random and seals one opening, once. Two openings under one key would reveal both.
/// Index and leaf hash are authenticated, so a sealed opening that was moved to another place does not open there.
///
/// The opening becomes what it is sealed to, in its place.
pub fn seal(key: &[u8; 32], index: u64, leaf: &LeafHash, mut opening: Vec<u8>) -> Result<Vec<u8>, SealError> {
    let sealed = Aes256Gcm::new(key.into()).encrypt_in_place(&Nonce::default(), &place(index, leaf), &mut opening);
    sealed.map(|()| opening).map_err(|_| SealError)
}

/// Opens what [`seal`] has sealed.
pub fn unseal(key: &[u8; 32], index: u64, leaf: &LeafHash, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let payload = Payload { msg: sealed, aad: &place(index, leaf) };
    let opening = Aes256Gcm::new(key.into()).decrypt(&Nonce::default(), payload).map_err(|_| SealError)?;
    Ok(Zeroizing::new(opening))
}

fn place(index: u64, leaf: &LeafHash) -> [u8; 40] {
    let mut place = [0; 40];
    place[..8].copy_from_slice(&index.to_be_bytes());
    place[8..].copy_from_slice(&leaf.0);
    place
}

/// The sealed openings of a log.
pub struct Evidence {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    state: Guarded<State>,
    cache: Mutex<VecDeque<(u64, Arc<Positions>)>>,
}

/// Where the openings of a file begin, and behind them where the last one ends.
type Positions = Vec<u64>;

struct State {
    /// How many entries have their opening here.
    count: u64,
    /// The file that the next one goes to, unless it is a new one.
    current: Option<Current>,
    /// Full files that are not synced yet.
    full: Vec<Box<dyn File>>,
    /// Folders with names that are not synced yet.
    folders: BTreeSet<PathBuf>,
}

struct Current {
    file: Box<dyn File>,
    positions: Positions,
    dirty: bool,
}

impl Evidence {
    /// Opens the files, of which the openings of that many entries were synced. What is behind them is cut off: the
    /// journal has it, and the caller appends it again.
    pub fn open(disk: &Arc<dyn Disk>, dir: &Path, watermark: u64) -> Result<Evidence, StoreError> {
        disk.create_dir_all(dir)?;
        let current = match (watermark / FULL, (watermark % FULL) as usize) {
            (_, 0) => None,
            (number, within) => {
                let path = path(dir, number);
                let missing = || StoreError::corrupt(&path, 0, "openings below the watermark are missing");
                let file = disk.open(&path)?.ok_or_else(missing)?;
                let positions = scan(&*file, &path, within)?;
                let end = *positions.last().ok_or_else(missing)?;
                let dirty = file.len()? != end;
                if dirty {
                    file.truncate(end)?;
                }
                Some(Current { file, positions, dirty })
            }
        };
        let state = State { count: watermark, current, full: Vec::new(), folders: BTreeSet::new() };
        Ok(Evidence {
            disk: Arc::clone(disk),
            dir: dir.to_owned(),
            state: Guarded::new(state),
            cache: Mutex::default(),
        })
    }

    /// Appends the sealed openings of consecutive entries from that index on; an entry without one has an empty slice.
    ///
    /// Those that are here already are skipped, so a round may be appended again. After [`StoreError::NoSpace`] call it
    /// again with the same openings. Durable after [`Evidence::sync`].
    pub fn append(&self, first: u64, sealed: &[&[u8]]) -> Result<(), StoreError> {
        self.state.with(|state| {
            let skip =
                state.count.checked_sub(first).ok_or(StoreError::OutOfOrder { expected: state.count, found: first })?;
            let mut rest = sealed.get(usize::try_from(skip).unwrap_or(usize::MAX)..).unwrap_or_default();
            while !rest.is_empty() {
                let room = (FULL - state.count % FULL) as usize;
                let (now, later) = rest.split_at(room.min(rest.len()));
                self.append_to_one(state, now)?;
                rest = later;
            }
            Ok(())
        })
    }

    /// Appends to one file as many as it can take, in one write.
    fn append_to_one(&self, state: &mut State, sealed: &[&[u8]]) -> Result<(), StoreError> {
        let number = state.count / FULL;
        let path = path(&self.dir, number);
        if state.current.is_none() {
            state.current = Some(Current { file: self.begin(&path)?, positions: vec![0], dirty: true });
            state.folders.insert(parent(&path).to_owned());
        }
        let Some(current) = &mut state.current else {
            return Err(StoreError::Poisoned);
        };
        let start = current.positions.last().copied().unwrap_or(0);
        let mut bytes = Vec::with_capacity(sealed.iter().map(|s| s.len() + 4).sum());
        let mut ends = Vec::with_capacity(sealed.len());
        for opening in sealed {
            let length = u32::try_from(opening.len());
            let length = length.map_err(|_| StoreError::corrupt(&path, start, "an opening of more than 4 GiB"))?;
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(opening);
            ends.push(start + bytes.len() as u64);
        }
        current.dirty = true;
        if let Err(e) = current.file.write_at(start, &bytes) {
            if e.is_no_space() {
                current.file.truncate(start)?;
            }
            return Err(e.into());
        }
        current.positions.extend(ends);
        state.count += sealed.len() as u64;
        if state.count.is_multiple_of(FULL)
            && let Some(done) = state.current.take()
        {
            self.remember(number, Arc::new(done.positions));
            state.full.push(done.file);
        }
        Ok(())
    }

    fn begin(&self, path: &Path) -> Result<Box<dyn File>, StoreError> {
        // A file that is there was begun before a crash and lies above the watermark.
        if let Some(file) = self.disk.open(path)? {
            file.truncate(0)?;
            return Ok(file);
        }
        self.disk.create_dir_all(parent(path))?;
        Ok(self.disk.create(path)?)
    }

    /// Makes everything that was appended durable. Gives the watermark: how many entries are covered.
    pub fn sync(&self) -> Result<u64, StoreError> {
        self.state.with(|state| {
            for file in state.full.drain(..) {
                file.sync_data()?;
            }
            if let Some(current) = state.current.as_mut().filter(|current| current.dirty) {
                current.file.sync_data()?;
                current.dirty = false;
            }
            for folder in std::mem::take(&mut state.folders) {
                self.disk.sync_dir(&folder)?;
            }
            Ok(state.count)
        })
    }

    /// How many entries have their opening here, synced or not; `None` after a fatal error.
    pub fn count(&self) -> Option<u64> {
        self.state.peek(|state| state.count)
    }

    /// The sealed opening of an entry; `None` if it has none. An entry that is not here yet is [`StoreError::OutOfOrder`].
    pub fn read(&self, index: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let (number, within) = (index / FULL, (index % FULL) as usize);
        let (count, current) = self
            .state
            .peek(|state| {
                let here = state.current.as_ref().filter(|_| number == state.count / FULL);
                (state.count, here.and_then(|c| Some((*c.positions.get(within)?, *c.positions.get(within + 1)?))))
            })
            .ok_or(StoreError::Poisoned)?;
        if index >= count {
            return Err(StoreError::OutOfOrder { expected: count, found: index });
        }
        let path = path(&self.dir, number);
        let missing = || StoreError::corrupt(&path, 0, "openings below the watermark are missing");
        let file = self.disk.open(&path)?.ok_or_else(missing)?;
        let (start, end) = match current {
            Some(place) => place,
            None => {
                let positions = self.positions(&*file, &path, number)?;
                let start = positions.get(within).copied().ok_or_else(missing)?;
                (start, positions.get(within + 1).copied().ok_or_else(missing)?)
            }
        };
        let mut sealed = vec![0; usize::try_from(end - start - 4).map_err(|_| missing())?];
        if file.read_at(start + 4, &mut sealed)? != sealed.len() {
            return Err(StoreError::corrupt(&path, start, "a sealed opening is cut off"));
        }
        Ok(Some(sealed).filter(|s| !s.is_empty()))
    }

    /// The positions in a full file: remembered, or found by following the lengths.
    fn positions(&self, file: &dyn File, path: &Path, number: u64) -> Result<Arc<Positions>, StoreError> {
        let cached = {
            let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
            cache.iter().find(|(n, _)| *n == number).map(|(_, positions)| Arc::clone(positions))
        };
        if let Some(positions) = cached {
            return Ok(positions);
        }
        let positions = Arc::new(scan(file, path, FULL as usize)?);
        self.remember(number, Arc::clone(&positions));
        Ok(positions)
    }

    fn remember(&self, number: u64, positions: Arc<Positions>) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.retain(|(n, _)| *n != number);
        cache.push_back((number, positions));
        if cache.len() > CACHE {
            cache.pop_front();
        }
    }
}

/// Follows that many lengths from the beginning of a file.
fn scan(file: &dyn File, path: &Path, count: usize) -> Result<Positions, StoreError> {
    let length = file.len()?;
    let mut positions = Vec::with_capacity(count + 1);
    let mut at = 0;
    positions.push(at);
    for _ in 0..count {
        let mut prefix = [0; 4];
        let read = file.read_at(at, &mut prefix)?;
        let end = at + 4 + u64::from(u32::from_be_bytes(prefix));
        if read != 4 || end > length {
            return Err(StoreError::corrupt(path, at, "openings below the watermark are missing"));
        }
        at = end;
        positions.push(at);
    }
    Ok(positions)
}

fn path(dir: &Path, number: u64) -> PathBuf {
    let bundle = EntriesPath { index: number, width: FULL as u16 }.path();
    dir.join(bundle.trim_start_matches("tile/entries/"))
}

#[cfg(test)]
mod tests {
    use super::super::disk::{Cut, MemoryDisk};
    use super::*;

    const LEAF: LeafHash = LeafHash([7; 32]);

    #[test]
    fn a_sealed_opening_opens_with_its_key_at_its_place_only() {
        let sealed = seal(&[1; 32], 5, &LEAF, b"opening".to_vec()).unwrap();
        assert_eq!(&unseal(&[1; 32], 5, &LEAF, &sealed).unwrap()[..], b"opening");
        assert_eq!(unseal(&[2; 32], 5, &LEAF, &sealed).unwrap_err(), SealError);
        assert_eq!(unseal(&[1; 32], 6, &LEAF, &sealed).unwrap_err(), SealError);
        assert_eq!(unseal(&[1; 32], 5, &LeafHash([8; 32]), &sealed).unwrap_err(), SealError);
        for i in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[i] ^= 1;
            assert_eq!(unseal(&[1; 32], 5, &LEAF, &changed).unwrap_err(), SealError);
        }
        assert_eq!(unseal(&[1; 32], 5, &LEAF, &[]).unwrap_err(), SealError);
    }

    fn opening(i: u64) -> Vec<u8> {
        if i.is_multiple_of(5) { Vec::new() } else { vec![i as u8; (i % 37) as usize + 1] }
    }

    fn append(evidence: &Evidence, first: u64, count: u64) -> Result<(), StoreError> {
        let openings: Vec<_> = (first..first + count).map(opening).collect();
        evidence.append(first, &openings.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    fn bytes(entries: std::ops::Range<u64>) -> u64 {
        entries.map(|i| 4 + opening(i).len() as u64).sum()
    }

    fn length(disk: &MemoryDisk, dir: &Path, number: u64) -> u64 {
        disk.open(&path(dir, number)).unwrap().unwrap().len().unwrap()
    }

    fn check(evidence: &Evidence, count: u64) {
        for i in 0..count {
            assert_eq!(evidence.read(i).unwrap().unwrap_or_default(), opening(i), "entry {i}");
        }
        assert!(matches!(evidence.read(count), Err(StoreError::OutOfOrder { .. })));
    }

    #[test]
    fn openings_are_read_back_across_files_and_restarts() {
        let disk = MemoryDisk::new();
        let dir = Path::new("/log/evidence");
        let evidence = Evidence::open(&disk.shared(), dir, 0).unwrap();
        append(&evidence, 0, 100).unwrap();
        append(&evidence, 100, 700).unwrap();
        check(&evidence, 800);
        assert_eq!(evidence.sync().unwrap(), 800);
        disk.cut_power(Cut::Lost);
        let evidence = Evidence::open(&disk.shared(), dir, 800).unwrap();
        check(&evidence, 800);
        assert!(matches!(append(&evidence, 801, 1), Err(StoreError::OutOfOrder { expected: 800, found: 801 })));
        append(&evidence, 700, 110).unwrap();
        check(&evidence, 810);
    }

    #[test]
    fn what_is_above_the_watermark_is_cut_off_and_can_be_appended_again() {
        for seed in 0..50 {
            let disk = MemoryDisk::new();
            let dir = Path::new("/log/evidence");
            let evidence = Evidence::open(&disk.shared(), dir, 0).unwrap();
            append(&evidence, 0, 300).unwrap();
            let watermark = evidence.sync().unwrap();
            append(&evidence, 300, 500).unwrap();
            disk.cut_power(if seed == 0 { Cut::Kept } else { Cut::Some(seed) });
            let evidence = Evidence::open(&disk.shared(), dir, watermark).unwrap();
            check(&evidence, 300);
            assert_eq!(length(&disk, dir, 1), bytes(256..300), "nothing is left behind");
            append(&evidence, 300, 220).unwrap();
            evidence.sync().unwrap();
            assert_eq!(length(&disk, dir, 2), bytes(512..520), "nothing is left behind");
            append(&evidence, 520, 280).unwrap();
            evidence.sync().unwrap();
            disk.cut_power(Cut::Lost);
            check(&Evidence::open(&disk.shared(), dir, 800).unwrap(), 800);
        }
    }

    #[test]
    fn a_watermark_beyond_the_files_is_corrupt() {
        let disk = MemoryDisk::new();
        let dir = Path::new("/log/evidence");
        let evidence = Evidence::open(&disk.shared(), dir, 0).unwrap();
        append(&evidence, 0, 10).unwrap();
        evidence.sync().unwrap();
        drop(evidence);
        assert!(matches!(Evidence::open(&disk.shared(), dir, 11), Err(StoreError::Corrupt { .. })));
        assert!(matches!(Evidence::open(&disk.shared(), dir, 300), Err(StoreError::Corrupt { .. })));
    }

    #[test]
    fn a_full_disk_can_be_waited_for() {
        let disk = MemoryDisk::new();
        let dir = Path::new("/log/evidence");
        let evidence = Evidence::open(&disk.shared(), dir, 0).unwrap();
        append(&evidence, 0, 250).unwrap();
        disk.set_capacity(Some(4800));
        assert!(matches!(append(&evidence, 250, 50), Err(StoreError::NoSpace(_))));
        disk.set_capacity(None);
        append(&evidence, 250, 50).unwrap();
        evidence.sync().unwrap();
        check(&evidence, 300);
    }
}
