//! A disk in memory whose power can be cut: what was not synced is then lost, kept, or torn.
//!
//! It is less kind than real file systems: a name is durable only after the folder it stands in was synced, whatever
//! was synced besides, and a folder is only as durable as its own name. Names become durable in the order in which they
//! were made, as a journal of metadata does it; written bytes in no order at all.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskError, File, Op, parent};

/// What a power cut leaves of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Nothing.
    Lost,
    /// Everything: the process was killed, the machine went on.
    Kept,
    /// Something, drawn from this seed: of each write all, nothing or a part; of the names the first few.
    Some(u64),
}

/// A file system in memory. Clones are the same disk.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    nodes: Vec<Node>,
    /// The names as they are now: a file's node, or `None` for a folder.
    names: BTreeMap<PathBuf, Option<usize>>,
    /// The names that a power cut leaves.
    durable: BTreeMap<PathBuf, Option<usize>>,
    /// What was done to names and not yet synced, in order.
    pending: Vec<Change>,
    /// How many bytes there may be; `None`: as many as you like.
    capacity: Option<u64>,
    /// Handles from before a power cut are dead.
    boot: u64,
}

#[derive(Default)]
struct Node {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Written>,
}

enum Written {
    Bytes(u64, Vec<u8>),
    Length(u64),
}

/// Names that change at once.
struct Change(Vec<(PathBuf, Option<Option<usize>>)>);

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> MemoryDisk {
        MemoryDisk::default()
    }

    /// The same disk for those who want it as a trait.
    pub fn shared(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    /// From now on the files may hold that many bytes in all.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity = bytes;
    }

    /// Cuts the power and boots again. Files that were open before can't be used any more.
    pub fn cut_power(&self, cut: Cut) {
        let mut state = self.lock();
        let state = &mut *state;
        let mut random = Random(match cut {
            Cut::Some(seed) => seed,
            _ => 0,
        });
        let mut kept = state.durable.clone();
        let survive = match cut {
            Cut::Lost => 0,
            Cut::Kept => state.pending.len(),
            Cut::Some(_) => random.below(state.pending.len() as u64 + 1) as usize,
        };
        for change in state.pending.drain(..).take(survive) {
            change.apply(&mut kept);
        }
        // A name in a folder that is gone is gone as well.
        let names: Vec<PathBuf> = kept.keys().cloned().collect();
        for name in names {
            let above = parent(&name);
            if above != Path::new(".") && above.parent().is_some() && !kept.contains_key(above) {
                kept.remove(&name);
            }
        }
        for node in &mut state.nodes {
            let pending = std::mem::take(&mut node.pending);
            for written in pending {
                match (cut, written) {
                    (Cut::Lost, _) => {}
                    (Cut::Kept, written) => written.apply(&mut node.durable),
                    (Cut::Some(_), Written::Bytes(at, bytes)) => match random.below(3) {
                        0 => {}
                        1 => Written::Bytes(at, bytes).apply(&mut node.durable),
                        _ => {
                            let part = random.below(bytes.len() as u64 + 1) as usize;
                            Written::Bytes(at, bytes[..part].to_vec()).apply(&mut node.durable);
                        }
                    },
                    (Cut::Some(_), length) => {
                        if random.below(2) == 0 {
                            length.apply(&mut node.durable);
                        }
                    }
                }
            }
            node.bytes.clone_from(&node.durable);
        }
        state.names.clone_from(&kept);
        state.durable = kept;
        state.boot += 1;
    }

    /// Flips bits of a file where it lies.
    pub fn flip(&self, path: &Path, offset: u64, mask: u8) {
        let mut state = self.lock();
        let Some(Some(node)) = state.names.get(path).copied() else {
            return;
        };
        let node = &mut state.nodes[node];
        if let Some(byte) = node.bytes.get_mut(offset as usize) {
            *byte ^= mask;
        }
        node.durable.clone_from(&node.bytes);
        node.pending.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Change {
    fn apply(self, names: &mut BTreeMap<PathBuf, Option<usize>>) {
        for (path, to) in self.0 {
            match to {
                Some(node) => names.insert(path, node),
                None => names.remove(&path),
            };
        }
    }
}

impl Written {
    fn apply(self, bytes: &mut Vec<u8>) {
        match self {
            Written::Bytes(at, new) => {
                let (at, end) = (at as usize, at as usize + new.len());
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[at..end].copy_from_slice(&new);
            }
            Written::Length(length) => bytes.resize(length as usize, 0),
        }
    }
}

impl State {
    fn used(&self) -> u64 {
        self.names.values().flatten().map(|node| self.nodes[*node].bytes.len() as u64).sum()
    }

    fn change(&mut self, changes: Vec<(PathBuf, Option<Option<usize>>)>) {
        for (path, to) in &changes {
            match to {
                Some(node) => self.names.insert(path.clone(), *node),
                None => self.names.remove(path),
            };
        }
        self.pending.push(Change(changes));
    }

    fn has_folder(&self, path: &Path) -> bool {
        path.parent().is_none() || path == Path::new(".") || self.names.get(path) == Some(&None)
    }
}

/// The numbers after a seed (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }
}

fn failed(op: Op, path: &Path, kind: io::ErrorKind) -> DiskError {
    DiskError::new(op, path, kind.into())
}

impl Disk for MemoryDisk {
    fn create(&self, path: &Path) -> Result<Box<dyn File>, DiskError> {
        let mut state = self.lock();
        if state.names.contains_key(path) {
            return Err(failed(Op::Create, path, io::ErrorKind::AlreadyExists));
        }
        if !state.has_folder(parent(path)) {
            return Err(failed(Op::Create, path, io::ErrorKind::NotFound));
        }
        let node = state.nodes.len();
        state.nodes.push(Node::default());
        state.change(vec![(path.to_owned(), Some(Some(node)))]);
        Ok(Box::new(MemoryFile { disk: self.clone(), boot: state.boot, node, path: path.to_owned() }))
    }

    fn open(&self, path: &Path) -> Result<Option<Box<dyn File>>, DiskError> {
        let state = self.lock();
        match state.names.get(path) {
            Some(Some(node)) => {
                let file = MemoryFile { disk: self.clone(), boot: state.boot, node: *node, path: path.to_owned() };
                Ok(Some(Box::new(file)))
            }
            Some(None) => Err(failed(Op::Open, path, io::ErrorKind::IsADirectory)),
            None => Ok(None),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        let mut state = self.lock();
        let Some(Some(node)) = state.names.get(from).copied() else {
            return Err(failed(Op::Rename, from, io::ErrorKind::NotFound));
        };
        if !state.has_folder(parent(to)) {
            return Err(failed(Op::Rename, to, io::ErrorKind::NotFound));
        }
        state.change(vec![(from.to_owned(), None), (to.to_owned(), Some(Some(node)))]);
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<(), DiskError> {
        let mut state = self.lock();
        if let Some(Some(_)) = state.names.get(path) {
            state.change(vec![(path.to_owned(), None)]);
        }
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> Result<(), DiskError> {
        let mut state = self.lock();
        if state.names.keys().any(|name| name != path && parent(name) == path) {
            return Err(failed(Op::Remove, path, io::ErrorKind::DirectoryNotEmpty));
        }
        if let Some(None) = state.names.get(path) {
            state.change(vec![(path.to_owned(), None)]);
        }
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> Result<bool, DiskError> {
        let mut state = self.lock();
        if state.has_folder(path) {
            return Ok(false);
        }
        if !state.has_folder(parent(path)) {
            return Err(failed(Op::Create, path, io::ErrorKind::NotFound));
        }
        state.change(vec![(path.to_owned(), Some(None))]);
        Ok(true)
    }

    fn sync_dir(&self, path: &Path) -> Result<(), DiskError> {
        let mut state = self.lock();
        if !state.has_folder(path) {
            return Err(failed(Op::Sync, path, io::ErrorKind::NotFound));
        }
        let pending = std::mem::take(&mut state.pending);
        for change in pending {
            // A rename between two folders is durable with the folder that gets the name.
            if change.0.last().is_some_and(|(name, _)| parent(name) == path) {
                change.apply(&mut state.durable);
            } else {
                state.pending.push(change);
            }
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> Result<Vec<String>, DiskError> {
        let state = self.lock();
        let names = state.names.keys().filter(|name| parent(name) == path && *name != path);
        Ok(names.filter_map(|name| Some(name.file_name()?.to_string_lossy().into_owned())).collect())
    }

    fn exists(&self, path: &Path) -> Result<bool, DiskError> {
        let state = self.lock();
        Ok(state.has_folder(path) || state.names.contains_key(path))
    }

    fn free(&self, _path: &Path) -> Result<u64, DiskError> {
        let state = self.lock();
        Ok(state.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(state.used())))
    }
}

struct MemoryFile {
    disk: MemoryDisk,
    boot: u64,
    node: usize,
    path: PathBuf,
}

impl MemoryFile {
    fn with<R>(&self, op: Op, act: impl FnOnce(&mut State, usize) -> Result<R, DiskError>) -> Result<R, DiskError> {
        let mut state = self.disk.lock();
        if state.boot != self.boot {
            return Err(DiskError::new(op, &self.path, io::Error::other("opened before the power was cut")));
        }
        act(&mut state, self.node)
    }
}

impl File for MemoryFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        self.with(Op::Read, |state, node| {
            let bytes = &state.nodes[node].bytes;
            let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            let read = buffer.len().min(bytes.len() - from);
            buffer[..read].copy_from_slice(&bytes[from..from + read]);
            Ok(read)
        })
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.with(Op::Write, |state, node| {
            let end = offset + bytes.len() as u64;
            let grows = end.saturating_sub(state.nodes[node].bytes.len() as u64);
            if grows > 0 && state.capacity.is_some_and(|capacity| state.used() + grows > capacity) {
                return Err(failed(Op::Write, &self.path, io::ErrorKind::StorageFull));
            }
            let node = &mut state.nodes[node];
            Written::Bytes(offset, bytes.to_vec()).apply(&mut node.bytes);
            node.pending.push(Written::Bytes(offset, bytes.to_vec()));
            Ok(())
        })
    }

    fn sync_data(&self) -> Result<(), DiskError> {
        self.with(Op::Sync, |state, node| {
            let node = &mut state.nodes[node];
            for written in std::mem::take(&mut node.pending) {
                written.apply(&mut node.durable);
            }
            Ok(())
        })
    }

    fn sync_all(&self) -> Result<(), DiskError> {
        self.sync_data()
    }

    fn len(&self) -> Result<u64, DiskError> {
        self.with(Op::Read, |state, node| Ok(state.nodes[node].bytes.len() as u64))
    }

    fn truncate(&self, length: u64) -> Result<(), DiskError> {
        self.with(Op::Write, |state, node| {
            let node = &mut state.nodes[node];
            Written::Length(length).apply(&mut node.bytes);
            node.pending.push(Written::Length(length));
            Ok(())
        })
    }
}
