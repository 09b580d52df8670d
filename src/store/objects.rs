//! Objects: tiles, entry bundles and the checkpoint, as files that any web server can serve.
//! <https://c2sp.org/tlog-tiles>
//!
//! ```text
//! <root>/checkpoint   <root>/tile/0/x001/234   <root>/tile/0/x001/234.p/5   <root>/tile/entries/000.p/3
//! ```
//!
//! An object never changes: a name that is taken by other bytes is an error, never overwritten. The checkpoint is the one
//! file that is replaced. Full objects and the checkpoint have their name only when all of their bytes are on stable
//! storage.
//!
//! A partial object is the beginning of the next one, and lives as long as it takes the log to grow by one round. It is
//! *loose*: a file with a name, not synced, since all that is in it is in the journal. The next one is appended to it, and
//! takes its name: a file system asks much for a new file and more for one that goes. [`Objects::settle`] syncs what is
//! loose, before the journal forgets it. Of the partial objects of a tile two are kept: the widest, and the widest that is
//! settled. After a power cut anything may be in those that were loose, so whoever reads takes the narrowest that suffices,
//! and the rounds after the last snapshot are put again, over them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{self, PathBuf};
use std::sync::Arc;

use tlog::tile::{EntriesPath, Path, Tile};

use super::disk::{Disk, DiskError, File, Op, parent};
use super::{Guarded, StoreError};

/// Hashes in a full tile, and entries in a full bundle.
const FULL: u16 = 256;

/// Where files are before they have a name. On the same file system, and swept at the start.
const TEMP: &str = ".tmp";

const CHECKPOINT: &str = "checkpoint";

/// Why an object can't be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The name is taken by other bytes. The log would show two histories.
    #[error("{0} exists with other bytes")]
    Different(String),
    /// The bytes can't be that object: a tile of width w has 32 w bytes, a bundle w entries.
    #[error("{0} can't have these bytes")]
    Malformed(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<DiskError> for ObjectError {
    fn from(error: DiskError) -> ObjectError {
        ObjectError::Store(error.into())
    }
}

/// The files that the world reads.
pub struct Objects {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    state: Guarded<State>,
}

#[derive(Default)]
struct State {
    temps: u64,
    /// Folders that are known to be there.
    folders: HashSet<PathBuf>,
    /// Folders with names that are not synced yet.
    unsynced: BTreeSet<PathBuf>,
    /// Objects put since the last [`Objects::sync_dirs`], with the widest width.
    fresh: BTreeMap<Slot, u16>,
    /// Partial objects that have a name and are not synced: the widest of each slot.
    loose: BTreeMap<Slot, Loose>,
    /// Folders whose names wait for [`Objects::settle`].
    later: BTreeSet<PathBuf>,
    /// Those whose partials narrower than this can go.
    settled: BTreeMap<Slot, u16>,
    /// The partial object of a slot that is settled, or was there at the start: it is never written over.
    kept: BTreeMap<Slot, u16>,
}

/// A partial object that is not synced.
struct Loose {
    width: u16,
    length: usize,
    file: Box<dyn File>,
}

/// A tile or a bundle, whatever its width: `None` is the level of the bundles.
type Slot = (Option<u8>, u64);

/// The name of a bundle or a level-0 tile of entries that a tree of that size does not have; `None` when there is none.
///
/// Reads names only, so it can be asked before anything is written. Objects are written in the order of their entries,
/// so whatever lies beyond begins in the tile that the size ends in; the folder of that tile is looked through.
pub fn beyond(disk: &dyn Disk, root: &path::Path, size: u64) -> Result<Option<String>, StoreError> {
    let (index, within) = (size / u64::from(FULL), size % u64::from(FULL));
    for level in [None, Some(0)] {
        let first = name(&at((level, index), FULL));
        let (folder, number) = first.rsplit_once('/').unwrap_or_default();
        for there in disk.list(&root.join(folder))? {
            let found = format!("{folder}/{there}");
            let (digits, partial) = there.strip_suffix(".p").map_or((there.as_str(), false), |digits| (digits, true));
            // Names of three digits compare as their numbers do; the others are folders of other tiles.
            if digits.len() != number.len() || !digits.bytes().all(|b| b.is_ascii_digit()) || digits < number {
                continue;
            }
            if !partial {
                return Ok(Some(found));
            }
            let least = if digits == number { within } else { 0 };
            let widths = disk.list(&root.join(&found))?;
            if let Some(width) = widths.iter().find(|w| w.parse().is_ok_and(|w: u64| w > least)) {
                return Ok(Some(format!("{found}/{width}")));
            }
        }
    }
    Ok(None)
}

impl Objects {
    /// Opens the folder, or makes it.
    pub fn open(disk: &Arc<dyn Disk>, root: &path::Path) -> Result<Objects, ObjectError> {
        let temp = root.join(TEMP);
        disk.create_dir_all(&temp)?;
        for name in disk.list(&temp)? {
            disk.remove(&temp.join(name))?;
        }
        Ok(Objects { disk: Arc::clone(disk), root: root.to_owned(), state: Guarded::new(State::default()) })
    }

    /// Stores an object; its bytes are then on stable storage, and its name is after [`Objects::sync_dirs`].
    ///
    /// An object that is there already must have the same bytes, and is left alone.
    pub fn put(&self, at: &Path, bytes: &[u8]) -> Result<(), ObjectError> {
        self.store(at, bytes, false)
    }

    /// As [`Objects::put`], but writes a new file even when the object is there; a partial one takes the place of whatever
    /// has its name.
    ///
    /// For the start: what can be read may never have reached the disk.
    pub fn put_anew(&self, at: &Path, bytes: &[u8]) -> Result<(), ObjectError> {
        self.store(at, bytes, true)
    }

    /// Stores a partial object that the journal can make again: readers find it, a power cut may take it. The loose one
    /// before it in the same slot goes. A full object is put as ever.
    pub fn put_loose(&self, at: &Path, bytes: &[u8]) -> Result<(), ObjectError> {
        let (slot, width) = (checked(at, bytes)?, width(at));
        if width == FULL {
            return self.put(at, bytes);
        }
        let path = self.root.join(name(at));
        let mut same = true;
        self.state.with(|state| {
            if let Some(loose) = state.loose.get_mut(&slot).filter(|loose| loose.width <= width) {
                if loose.width < width {
                    // Whoever reads it under its old name meanwhile finds more than the width says, and cuts it.
                    let more = bytes.get(loose.length..).unwrap_or_default();
                    if let Err(e) = loose.file.write_at(loose.length as u64, more) {
                        if e.is_no_space() {
                            loose.file.truncate(loose.length as u64)?;
                        }
                        return Err(e.into());
                    }
                    self.disk.rename(&self.partials(slot).join(loose.width.to_string()), &path)?;
                    (loose.width, loose.length) = (width, bytes.len());
                }
                return Ok(());
            }
            if state.kept.get(&slot) == Some(&width) {
                return Ok(());
            }
            // What has this name already is on stable storage, and a file that is not must not take its place.
            if let Some(there) = self.disk.read(&path)? {
                same = there == bytes;
                state.kept.insert(slot, width);
                return Ok(());
            }
            let file = self.write(state, &path, bytes, Sync::Later)?;
            state.later.insert(parent(&path).to_owned());
            state.loose.insert(slot, Loose { width, length: bytes.len(), file });
            Ok(())
        })?;
        if same { Ok(()) } else { Err(ObjectError::Different(name(at))) }
    }

    /// Brings what is loose to stable storage: after it, the journal may forget what is in it.
    pub fn settle(&self) -> Result<(), ObjectError> {
        self.state.with(|state| {
            for loose in state.loose.values() {
                loose.file.sync_all()?;
            }
            let mut folders = std::mem::take(&mut state.unsynced);
            folders.append(&mut state.later);
            for folder in folders {
                self.disk.sync_dir(&folder)?;
            }
            for (slot, loose) in std::mem::take(&mut state.loose) {
                state.settled.insert(slot, loose.width);
                state.kept.insert(slot, loose.width);
            }
            Ok(())
        })?;
        self.prune().map(|_| ())
    }

    fn store(&self, at: &Path, bytes: &[u8], anew: bool) -> Result<(), ObjectError> {
        if *at == Path::Checkpoint {
            return self.replace_checkpoint(bytes);
        }
        let slot = checked(at, bytes)?;
        let path = self.root.join(name(at));
        let there = self.disk.read(&path)?;
        let other = there.as_ref().is_some_and(|there| there != bytes);
        if other && (!anew || width(at) == FULL) {
            return Err(ObjectError::Different(name(at)));
        }
        if other {
            tracing::warn!(object = name(at), "was not whole, as a power cut leaves it, and is made again");
        }
        self.state.with(|state| {
            if there.is_none() || anew {
                self.write(state, &path, bytes, Sync::Now)?;
            }
            // Also when it was there: the process that wrote it may have stopped before its name was synced.
            state.unsynced.insert(parent(&path).to_owned());
            let widest = state.fresh.entry(slot).or_default();
            *widest = width(at).max(*widest);
            Ok(())
        })?;
        Ok(())
    }

    /// Writes a file under another name, and gives it its own.
    fn write(
        &self,
        state: &mut State,
        path: &path::Path,
        bytes: &[u8],
        sync: Sync,
    ) -> Result<Box<dyn File>, StoreError> {
        make_folder(&*self.disk, &self.root, &mut state.folders, &mut state.unsynced, parent(path))?;
        let temp = &self.root.join(TEMP).join(state.temps.to_string());
        state.temps += 1;
        let written = self.disk.create(temp).and_then(|file| {
            file.write_at(0, bytes)?;
            if sync == Sync::Now {
                file.sync_all()?;
            }
            Ok(file)
        });
        let file = match written {
            Ok(file) => file,
            Err(e) => {
                if e.is_no_space() {
                    self.disk.remove(temp)?;
                }
                return Err(e.into());
            }
        };
        self.disk.rename(temp, path)?;
        Ok(file)
    }

    /// Makes the names of everything that was put durable.
    pub fn sync_dirs(&self) -> Result<(), ObjectError> {
        self.state.with(|state| {
            for folder in std::mem::take(&mut state.unsynced) {
                self.disk.sync_dir(&folder)?;
            }
            for (slot, width) in std::mem::take(&mut state.fresh) {
                state.settled.insert(slot, width);
                state.kept.insert(slot, width);
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Removes the partial objects that a wider one has made superfluous, as far as the wider one's name is synced.
    ///
    /// Readers lose nothing: [`Objects::get`] answers a narrower width from the wider object. Says how many have gone.
    pub fn prune(&self) -> Result<usize, ObjectError> {
        let gone = self.state.with(|state| {
            let mut gone = 0;
            while let Some((slot, width)) = state.settled.pop_first() {
                gone += self.prune_one(state, slot, width)?;
            }
            Ok(gone)
        })?;
        Ok(gone)
    }

    /// A wider one than that which is settled makes nothing superfluous: it is loose, or a power cut has left it.
    fn prune_one(&self, state: &mut State, slot: Slot, settled: u16) -> Result<usize, StoreError> {
        let folder = self.partials(slot);
        let full = self.disk.exists(&self.root.join(name(&at(slot, FULL))))?;
        let mut widths = self.widths(slot)?;
        if full {
            // A folder that may be made again must not be thought to be there.
            state.folders.remove(&folder);
            state.later.remove(&folder);
            state.loose.remove(&slot);
            state.kept.remove(&slot);
        } else {
            widths.retain(|width| *width < settled);
        }
        for width in &widths {
            self.disk.remove(&folder.join(width.to_string()))?;
        }
        if full {
            self.disk.remove_dir(&folder)?;
        }
        Ok(widths.len())
    }

    /// Replaces the checkpoint, durably. A reader finds the old one or the new one.
    ///
    /// The caller sees to it that the new one is larger, and that its objects are there.
    pub fn replace_checkpoint(&self, bytes: &[u8]) -> Result<(), ObjectError> {
        self.state.with(|state| {
            self.write(state, &self.root.join(CHECKPOINT), bytes, Sync::Now)?;
            Ok(self.disk.sync_dir(&self.root)?)
        })?;
        Ok(())
    }

    /// The checkpoint; `None` before the first.
    pub fn checkpoint(&self) -> Result<Option<Vec<u8>>, ObjectError> {
        Ok(self.disk.read(&self.root.join(CHECKPOINT))?)
    }

    /// An object, `None` if it is not there. A partial one is also answered as the prefix of a wider or full one.
    pub fn get(&self, wanted: &Path) -> Result<Option<Vec<u8>>, ObjectError> {
        let slot = match wanted {
            Path::Checkpoint => return self.checkpoint(),
            Path::Tile(tile) => (Some(tile.level), tile.index),
            Path::Entries(entries) => (None, entries.index),
        };
        let width = width(wanted);
        // Between the look into the folder and the read a wider object may have taken the place of this one.
        for _ in 0..8 {
            if let Some(bytes) = self.disk.read(&self.root.join(name(&at(slot, FULL))))? {
                return cut(wanted, bytes, width).map(Some);
            }
            // A wider one may be loose, and after a power cut it may be anything.
            let Some(least) = self.widths(slot)?.into_iter().find(|there| *there >= width) else {
                return Ok(None);
            };
            if let Some(bytes) = self.disk.read(&self.root.join(name(&at(slot, least))))? {
                return cut(wanted, bytes, width).map(Some);
            }
        }
        Err(missing(&self.root.join(name(wanted))).into())
    }

    /// The folder of the partial objects of a slot.
    fn partials(&self, slot: Slot) -> PathBuf {
        self.root.join(format!("{}.p", name(&at(slot, FULL))))
    }

    /// The widths of the partial objects that are there, the widest last.
    fn widths(&self, slot: Slot) -> Result<Vec<u16>, StoreError> {
        let names = self.disk.list(&self.partials(slot))?;
        let mut widths: Vec<u16> =
            names.iter().filter_map(|n| n.parse().ok()).filter(|w| (1..FULL).contains(w)).collect();
        widths.sort_unstable();
        Ok(widths)
    }
}

/// When the bytes of a file, and its name, reach stable storage.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sync {
    /// The bytes before the name, the name with [`Objects::sync_dirs`].
    Now,
    /// Both with [`Objects::settle`].
    Later,
}

/// Makes a folder, and remembers which names have to be synced.
fn make_folder(
    disk: &dyn Disk,
    root: &path::Path,
    folders: &mut HashSet<PathBuf>,
    unsynced: &mut BTreeSet<PathBuf>,
    folder: &path::Path,
) -> Result<(), StoreError> {
    if folder == root || folders.contains(folder) {
        return Ok(());
    }
    let above = parent(folder);
    make_folder(disk, root, folders, unsynced, above)?;
    disk.create_dir(folder)?;
    unsynced.insert(above.to_owned());
    // Partial tiles have a folder each, so this set is not for ever.
    if folders.len() > 4096 {
        folders.clear();
    }
    folders.insert(folder.to_owned());
    Ok(())
}

/// Where an object belongs; it must have the length that its width asks for.
fn checked(at: &Path, bytes: &[u8]) -> Result<Slot, ObjectError> {
    if prefix(at, bytes, width(at)).is_none_or(|p| p.len() != bytes.len()) {
        return Err(ObjectError::Malformed(name(at)));
    }
    match at {
        Path::Checkpoint => Err(ObjectError::Malformed(name(at))),
        Path::Tile(tile) => Ok((Some(tile.level), tile.index)),
        Path::Entries(entries) => Ok((None, entries.index)),
    }
}

fn missing(path: &path::Path) -> DiskError {
    DiskError::new(Op::Read, path, std::io::ErrorKind::NotFound.into())
}

fn at((level, index): Slot, width: u16) -> Path {
    match level {
        Some(level) => Path::Tile(Tile { level, index, width }),
        None => Path::Entries(EntriesPath { index, width }),
    }
}

fn name(at: &Path) -> String {
    match at {
        Path::Tile(tile) => tile.path(),
        Path::Entries(entries) => entries.path(),
        Path::Checkpoint => CHECKPOINT.to_owned(),
    }
}

fn width(at: &Path) -> u16 {
    match at {
        Path::Tile(tile) => tile.width,
        Path::Entries(entries) => entries.width,
        Path::Checkpoint => 0,
    }
}

/// The first `width` hashes of a tile, or the first `width` entries of a bundle.
fn prefix<'a>(at: &Path, bytes: &'a [u8], width: u16) -> Option<&'a [u8]> {
    match at {
        Path::Checkpoint => Some(bytes),
        Path::Tile(_) => bytes.get(..usize::from(width) * tlog::Hash::LEN),
        Path::Entries(_) => {
            let mut end = 0;
            for _ in 0..width {
                let length = bytes.get(end..)?.first_chunk::<2>()?;
                end += 2 + usize::from(u16::from_be_bytes(*length));
            }
            bytes.get(..end)
        }
    }
}

fn cut(wanted: &Path, mut bytes: Vec<u8>, width: u16) -> Result<Vec<u8>, ObjectError> {
    let length = prefix(wanted, &bytes, width).ok_or_else(|| ObjectError::Malformed(name(wanted)))?.len();
    bytes.truncate(length);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::disk::{Cut, MemoryDisk};
    use super::*;

    fn tile(level: u8, index: u64, width: u16) -> Path {
        Path::Tile(Tile { level, index, width })
    }

    fn bundle(index: u64, width: u16) -> Path {
        Path::Entries(EntriesPath { index, width })
    }

    fn hashes(width: u16) -> Vec<u8> {
        (0..width).flat_map(|i| [i as u8; 32]).collect()
    }

    fn entries(width: u16) -> Vec<u8> {
        (0..width).flat_map(|i| [&(i % 50).to_be_bytes()[..], &vec![i as u8; usize::from(i % 50)]].concat()).collect()
    }

    fn open(disk: &MemoryDisk) -> Objects {
        Objects::open(&disk.shared(), path::Path::new("/log/public")).unwrap()
    }

    #[test]
    fn narrower_widths_are_prefixes_of_what_is_there() {
        let disk = MemoryDisk::new();
        let objects = open(&disk);
        assert_eq!(objects.get(&tile(0, 1234, 3)).unwrap(), None);
        for width in [3, 5, 200, 256] {
            objects.put(&tile(0, 1234, width), &hashes(width)).unwrap();
            objects.put(&bundle(1234, width), &entries(width)).unwrap();
            objects.sync_dirs().unwrap();
            objects.prune().unwrap();
            for narrower in 1..=width {
                assert_eq!(objects.get(&tile(0, 1234, narrower)).unwrap().unwrap(), hashes(narrower));
                assert_eq!(objects.get(&bundle(1234, narrower)).unwrap().unwrap(), entries(narrower));
            }
            if width < 256 {
                assert_eq!(objects.get(&tile(0, 1234, width + 1)).unwrap(), None);
                assert_eq!(objects.get(&bundle(1234, width + 1)).unwrap(), None);
            }
        }
        assert_eq!(disk.list(path::Path::new("/log/public/tile/0/x001")).unwrap(), ["234"]);
        assert_eq!(disk.list(path::Path::new("/log/public/.tmp")).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn an_object_never_changes() {
        let disk = MemoryDisk::new();
        let objects = open(&disk);
        for at in [tile(0, 0, 256), tile(0, 1, 7), bundle(0, 256)] {
            let bytes = if matches!(at, Path::Tile(_)) { hashes(width(&at)) } else { entries(width(&at)) };
            objects.put(&at, &bytes).unwrap();
            objects.put(&at, &bytes).unwrap();
            objects.put_anew(&at, &bytes).unwrap();
            let mut other = bytes.clone();
            *other.last_mut().unwrap() ^= 1;
            assert!(matches!(objects.put(&at, &other), Err(ObjectError::Different(_))));
            if width(&at) == FULL {
                assert!(matches!(objects.put_loose(&at, &other), Err(ObjectError::Different(_))));
                assert!(matches!(objects.put_anew(&at, &other), Err(ObjectError::Different(_))));
            }
            assert_eq!(objects.get(&at).unwrap().unwrap(), bytes);
        }
    }

    #[test]
    fn of_the_partial_objects_the_widest_and_the_widest_settled_are_kept() {
        let disk = MemoryDisk::new();
        let objects = open(&disk);
        let there = || disk.list(path::Path::new("/log/public/tile/0/000.p")).unwrap();
        for width in [3, 4, 7] {
            objects.put_loose(&tile(0, 0, width), &hashes(width)).unwrap();
            objects.put_loose(&tile(0, 0, width), &hashes(width)).unwrap();
            assert_eq!(there(), [width.to_string()]);
        }
        objects.settle().unwrap();
        for width in [8, 9, 12] {
            objects.put_loose(&tile(0, 0, width), &hashes(width)).unwrap();
            let mut both = ["7".to_owned(), width.to_string()];
            both.sort();
            assert_eq!(there(), both);
            assert_eq!(objects.prune().unwrap(), 0);
            assert_eq!(objects.get(&tile(0, 0, 7)).unwrap().unwrap(), hashes(7));
            assert_eq!(objects.get(&tile(0, 0, width)).unwrap().unwrap(), hashes(width));
        }
        objects.settle().unwrap();
        assert_eq!(there(), ["12"]);
        objects.put_loose(&tile(0, 0, 13), &hashes(13)).unwrap();
        objects.put_loose(&tile(0, 0, 256), &hashes(256)).unwrap();
        objects.sync_dirs().unwrap();
        objects.prune().unwrap();
        assert_eq!(disk.list(path::Path::new("/log/public/tile/0")).unwrap(), ["000"]);
        objects.put_loose(&tile(0, 1, 2), &hashes(2)).unwrap();
        objects.settle().unwrap();
        assert_eq!(objects.get(&tile(0, 1, 2)).unwrap().unwrap(), hashes(2));
    }

    #[test]
    fn what_is_settled_is_never_made_loose_again() {
        for seed in 0..200 {
            let disk = MemoryDisk::new();
            let objects = open(&disk);
            objects.put_loose(&tile(1, 0, 9), &hashes(9)).unwrap();
            objects.settle().unwrap();
            // The same width again, as the levels above have it at most heads; then it grows.
            objects.put_loose(&tile(1, 0, 9), &hashes(9)).unwrap();
            if seed % 2 == 0 {
                objects.put_loose(&tile(1, 0, 10), &hashes(10)).unwrap();
            }
            objects.sync_dirs().unwrap();
            disk.cut_power(if seed < 2 { Cut::Lost } else { Cut::Some(seed) });
            let objects = open(&disk);
            assert_eq!(objects.get(&tile(1, 0, 9)).unwrap().unwrap(), hashes(9), "seed {seed}");
            // After a start as well, where nothing is known of what is there.
            objects.put_loose(&tile(1, 0, 9), &hashes(9)).unwrap();
            assert_eq!(objects.get(&tile(1, 0, 9)).unwrap().unwrap(), hashes(9), "seed {seed}");
            let other = [&hashes(8)[..], &[0xee; 32]].concat();
            let again = open(&disk);
            assert!(matches!(again.put_loose(&tile(1, 0, 9), &other), Err(ObjectError::Different(_))));
        }
    }

    #[test]
    fn a_wider_leftover_makes_nothing_superfluous() {
        let disk = MemoryDisk::new();
        let objects = open(&disk);
        objects.put_loose(&tile(0, 0, 10), &hashes(10)).unwrap();
        objects.settle().unwrap();
        objects.put_loose(&tile(0, 0, 40), &hashes(40)).unwrap();
        // A start that goes through its journal in steps, and is interrupted between them.
        let objects = open(&disk);
        objects.put_anew(&tile(0, 0, 20), &hashes(20)).unwrap();
        objects.sync_dirs().unwrap();
        assert_eq!(objects.prune().unwrap(), 1);
        let there = disk.list(path::Path::new("/log/public/tile/0/000.p")).unwrap();
        assert_eq!(there, ["20", "40"]);
        objects.put_anew(&tile(0, 0, 50), &hashes(50)).unwrap();
        objects.sync_dirs().unwrap();
        assert_eq!(objects.prune().unwrap(), 2);
    }

    #[test]
    fn a_power_cut_takes_what_is_loose_and_nothing_else() {
        for seed in 0..200 {
            let disk = MemoryDisk::new();
            let objects = open(&disk);
            objects.put_loose(&tile(0, 0, 9), &hashes(9)).unwrap();
            objects.put_loose(&bundle(0, 9), &entries(9)).unwrap();
            objects.settle().unwrap();
            for width in [12, 20, 31] {
                objects.put_loose(&tile(0, 0, width), &hashes(width)).unwrap();
                objects.put_loose(&bundle(0, width), &entries(width)).unwrap();
            }
            disk.cut_power(if seed < 2 { Cut::Lost } else { Cut::Some(seed) });
            let objects = open(&disk);
            assert_eq!(objects.get(&tile(0, 0, 9)).unwrap().unwrap(), hashes(9), "seed {seed}");
            assert_eq!(objects.get(&bundle(0, 9)).unwrap().unwrap(), entries(9), "seed {seed}");
            // The journal has the rest, and puts it again, whatever is there.
            objects.put_anew(&tile(0, 0, 31), &hashes(31)).unwrap();
            objects.put_anew(&bundle(0, 31), &entries(31)).unwrap();
            objects.sync_dirs().unwrap();
            objects.prune().unwrap();
            for width in 1..=31 {
                assert_eq!(objects.get(&tile(0, 0, width)).unwrap().unwrap(), hashes(width), "seed {seed}");
                assert_eq!(objects.get(&bundle(0, width)).unwrap().unwrap(), entries(width), "seed {seed}");
            }
        }
    }

    #[test]
    fn what_lies_beyond_a_size_is_found_and_nothing_else_is() {
        let root = path::Path::new("/log/public");
        for size in [1, 255, 256, 257, 300, 256_000, 256_255] {
            let disk = MemoryDisk::new();
            let objects = open(&disk);
            let (index, within) = (size / 256, (size % 256) as u16);
            let whole = |number| [(bundle(number, 256), entries(256)), (tile(0, number, 256), hashes(256))];
            let partial = |width| [(bundle(index, width), entries(width)), (tile(0, index, width), hashes(width))];
            let mut there: Vec<_> = (index.saturating_sub(2)..index).flat_map(whole).collect();
            if within > 0 {
                there.extend(partial(within));
            }
            // A level above has its own numbers.
            there.push((tile(1, 7, 256), hashes(256)));
            for (at, bytes) in &there {
                objects.put(at, bytes).unwrap();
            }
            assert_eq!(beyond(&disk, root, size).unwrap(), None, "size {size}");
            assert!(beyond(&disk, root, size - 1).unwrap().is_some(), "size {size}");
            let wider = if within < 255 { partial(within + 1).to_vec() } else { Vec::new() };
            let more = wider.into_iter().chain(whole(index)).chain(whole(index + 1));
            for (at, bytes) in more {
                let disk = MemoryDisk::new();
                open(&disk).put(&at, &bytes).unwrap();
                assert!(beyond(&disk, root, size).unwrap().is_some(), "size {size}, {}", name(&at));
            }
        }
    }

    #[test]
    fn bytes_that_do_not_fit_the_name_are_refused() {
        let objects = open(&MemoryDisk::new());
        for (at, bytes) in [
            (tile(0, 0, 2), hashes(3)),
            (tile(0, 0, 2), hashes(1)),
            (bundle(0, 9), entries(8)),
            (bundle(0, 9), entries(10)),
        ] {
            assert!(matches!(objects.put(&at, &bytes), Err(ObjectError::Malformed(_))));
        }
    }

    #[test]
    fn synced_objects_survive_a_power_cut_and_no_name_is_ever_torn() {
        for seed in 0..200 {
            let disk = MemoryDisk::new();
            let objects = open(&disk);
            objects.put(&tile(0, 0, 256), &hashes(256)).unwrap();
            objects.put(&tile(0, 1, 9), &hashes(9)).unwrap();
            objects.sync_dirs().unwrap();
            objects.replace_checkpoint(b"old").unwrap();
            objects.put(&tile(0, 1, 20), &hashes(20)).unwrap();
            objects.put(&tile(0, 1_000, 256), &hashes(256)).unwrap();
            if seed % 2 == 0 {
                objects.sync_dirs().unwrap();
                objects.prune().unwrap();
            }
            disk.cut_power(if seed < 2 { Cut::Lost } else { Cut::Some(seed) });
            let objects = open(&disk);
            assert_eq!(objects.get(&tile(0, 0, 256)).unwrap().unwrap(), hashes(256));
            assert_eq!(objects.get(&tile(0, 1, 9)).unwrap().unwrap(), hashes(9));
            assert_eq!(objects.checkpoint().unwrap().unwrap(), b"old");
            for at in [tile(0, 1, 20), tile(0, 1_000, 256)] {
                match objects.get(&at).unwrap() {
                    Some(bytes) => assert_eq!(bytes, hashes(width(&at))),
                    None => assert_eq!(seed % 2, 1, "seed {seed}: {} is gone", name(&at)),
                }
            }
        }
    }

    #[test]
    fn a_full_disk_leaves_nothing_behind_and_can_be_waited_for() {
        let disk = MemoryDisk::new();
        let objects = open(&disk);
        disk.set_capacity(Some(1000));
        assert!(matches!(objects.put(&tile(0, 0, 256), &hashes(256)), Err(ObjectError::Store(StoreError::NoSpace(_)))));
        assert_eq!(disk.list(path::Path::new("/log/public/.tmp")).unwrap(), Vec::<String>::new());
        assert_eq!(objects.get(&tile(0, 0, 256)).unwrap(), None);
        disk.set_capacity(None);
        objects.put(&tile(0, 0, 256), &hashes(256)).unwrap();
        assert_eq!(objects.get(&tile(0, 0, 1)).unwrap().unwrap(), hashes(1));
    }
}
