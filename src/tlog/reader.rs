//! Reading a log: the entries between two heads, each verified before it is seen.
//! <https://c2sp.org/tlog-tiles>
//!
//! ```text
//! from (trusted)                                 to (a verified checkpoint)
//!   |                                              |
//!   |   1. the edge tiles of `to`     ------->  its root
//!   |   2. tiles, top down            ------->  the edge
//!   |   3. the first bundle, and 2.   ------->  the root of `from`: `to` extends it
//!   |   4. every bundle               ------->  the tile above it
//!   v
//! entries, in order
//! ```
//!
//! The reader opens no connection. Ask what it [wants](Reader::wants), fetch that in any way and
//! order, and [supply](Reader::supply) it; it answers with the entries that are proven now. No
//! entry leaves the reader that isn't at its index below the root of `to`, and none before `to`
//! is proven to extend `from`. So whoever serves the bytes needs no trust, and mirrors can be mixed.
//!
//! A full bundle has the same leaf hashes as the full level-0 tile, so that tile isn't fetched: the
//! bundle is checked against the tile of level 1. Memory is bounded by a few tiles per level and the
//! bundles that are read ahead, however much is read.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::bundle::{self, BundleError};
use crate::frontier::{Frontier, LoadError};
use crate::hash::{Hash, LeafHash};
use crate::tile::{self, EntriesPath, LEVELS, Path, Tile};
use crate::tree::{LeafIndex, TreeHead, TreeSize};

/// Reads the entries from one head to another.
#[derive(Clone, Debug)]
pub struct Reader {
    from: TreeHead,
    to: TreeHead,
    /// The tree of what was read, once it is known that `to` extends `from`.
    read: Option<Frontier>,
    /// `to` doesn't extend `from`; nothing more will be read.
    diverged: bool,
    /// How many bundles to have under way at once.
    ahead: u64,
    /// The tiles proven to be in `to`, by level and index, as wide as they are there.
    proven: BTreeMap<(u8, u64), Vec<u8>>,
    /// Tiles that wait for the one above them.
    tiles: BTreeMap<(u8, u64), Vec<u8>>,
    /// Bundles that wait for their turn, by index.
    bundles: BTreeMap<u64, Vec<u8>>,
}

/// Entries of one bundle that are proven.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proven {
    /// The place of the first entry in `bundle`.
    start: u64,
    /// How many of them were read before.
    skip: usize,
    /// Where the last one ends: the tree may not have all of the bundle.
    width: usize,
    bundle: Vec<u8>,
}

impl Proven {
    /// The entries in order, each with its index.
    pub fn entries(&self) -> impl Iterator<Item = (LeafIndex, &[u8])> {
        // It was parsed before, and lies within a tree.
        let entries = bundle::parse(&self.bundle).unwrap_or_default();
        let indexed = (self.start..).zip(entries).take(self.width).skip(self.skip);
        indexed.filter_map(|(index, entry)| Some((LeafIndex::new(index).ok()?, entry)))
    }
}

/// Why nothing can be read, or why what was supplied isn't part of the log.
///
/// After [`Diverged`](ReadError::Diverged) the reader is done for: the two heads are of two
/// different logs, and if one key signed both, that is the proof of it. After any other error from
/// [`Reader::supply`] the bytes are forgotten and wanted again, perhaps from somebody else.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReadError {
    /// The new head is smaller than the trusted one.
    #[error("the new tree is smaller than the old one")]
    Shrinks,
    /// The new head doesn't extend the trusted one.
    #[error("the new tree doesn't extend the old one")]
    Diverged,
    /// This isn't wanted, or no longer.
    #[error("{0} was not asked for")]
    NotWanted(Path),
    /// The tile or bundle has more or less in it than its path says.
    #[error("{0} has another length")]
    Length(Path),
    /// The bytes aren't a bundle.
    #[error("{path}: {error}")]
    Bundle {
        /// The bundle.
        path: EntriesPath,
        /// What is wrong with it.
        error: BundleError,
    },
    /// The edge tiles don't give the root. Which of them is wrong can't be told; all of them are
    /// wanted again.
    #[error("the partial tiles don't give the root of the tree")]
    Edge,
    /// The tile isn't the one that the tile above it names.
    #[error("{0} isn't part of the tree")]
    Tile(Tile),
    /// An entry of the bundle isn't the one in the tree.
    #[error("{0} isn't part of the tree")]
    Entries(EntriesPath),
}

impl Reader {
    /// The longest useful [`Reader::ahead`].
    pub const MAX_AHEAD: u16 = 256;

    /// A reader of the entries `from.size..to.size`.
    ///
    /// `from` must be trusted: it is what was read, or cosigned, before ([`TreeHead::EMPTY`] to
    /// read everything). `to` must come from a checkpoint whose signatures were verified.
    pub fn new(from: TreeHead, to: TreeHead) -> Result<Reader, ReadError> {
        if to.size < from.size {
            return Err(ReadError::Shrinks);
        }
        let bad_empty = from.size == TreeSize::ZERO && from.root != Hash::EMPTY_ROOT;
        let bad_equal = to.size == from.size && to.root != from.root;
        if bad_empty || bad_equal {
            return Err(ReadError::Diverged);
        }
        Ok(Reader {
            from,
            to,
            read: None,
            diverged: false,
            ahead: 1,
            proven: BTreeMap::new(),
            tiles: BTreeMap::new(),
            bundles: BTreeMap::new(),
        })
    }

    /// The same reader with up to `bundles` bundles under way at once instead of 1 (at least 1, at
    /// most [`Reader::MAX_AHEAD`]). A bundle can be as long as [`bundle::MAX_LEN`].
    ///
    /// A bad bundle that was supplied ahead of its turn may be found out while good entries before
    /// it are handed out. Then it is only wanted again; a second time it is an error.
    #[must_use]
    pub fn ahead(mut self, bundles: u16) -> Reader {
        self.ahead = u64::from(bundles.clamp(1, Reader::MAX_AHEAD));
        self
    }

    /// The head of everything that was read, proven to be between `from` and `to`. A reader that
    /// starts again from here misses nothing and repeats nothing.
    #[must_use]
    pub fn head(&self) -> TreeHead {
        self.read.as_ref().map_or(self.from, Frontier::head)
    }

    /// The frontier of the tree of everything that was read. `None` before the first entry.
    #[must_use]
    pub fn frontier(&self) -> Option<&Frontier> {
        self.read.as_ref()
    }

    /// The index of the next entry.
    #[must_use]
    pub fn next_index(&self) -> LeafIndex {
        self.position().next_index()
    }

    /// Whether every entry was read.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.position() == self.to.size
    }

    /// What is missing now, in the order of use. Empty when everything was read, and after
    /// [`ReadError::Diverged`].
    ///
    /// Where a partial tile or bundle is gone (404), fetch and supply [`Path::full`] instead: logs
    /// may delete a partial one when the full one exists.
    #[must_use]
    pub fn wants(&self) -> Vec<Path> {
        if self.is_done() || self.diverged {
            return Vec::new();
        }
        if self.proven.is_empty() {
            return Tile::edge(self.to.size)
                .filter(|tile| !self.tiles.contains_key(&place(*tile)))
                .map(Path::Tile)
                .collect();
        }
        let mut tiles = BTreeSet::new();
        if self.read.is_none() {
            for tile in Tile::edge(self.from.size).filter(|tile| tile.level > 0) {
                self.want_tiles(tile.level, tile.index, &mut tiles);
            }
        }
        let mut bundles = Vec::new();
        let first = self.position().get() >> 8;
        for index in first..first.saturating_add(self.ahead) {
            let Some(path) = EntriesPath::at(index, self.to.size) else {
                break;
            };
            if !self.proven.contains_key(&(0, index)) {
                self.want_tiles(1, index >> 8, &mut tiles);
            }
            if !self.bundles.contains_key(&index) {
                bundles.push(Path::Entries(path));
            }
        }
        tiles.into_iter().rev().chain(bundles).collect()
    }

    /// Takes one thing that was wanted and gives the entries that are proven by it, in order, each
    /// with its index.
    ///
    /// The bytes may also be those of a wider tile or bundle at the same place, under its own path.
    pub fn supply(&mut self, path: Path, bytes: Vec<u8>) -> Result<Vec<(LeafIndex, Vec<u8>)>, ReadError> {
        let proven = self.supply_for(path, bytes)?;
        let entries = proven.iter().flat_map(Proven::entries);
        Ok(entries.map(|(index, entry)| (index, entry.to_vec())).collect())
    }

    /// The same, without a copy of each entry.
    pub fn supply_for(&mut self, path: Path, bytes: Vec<u8>) -> Result<Vec<Proven>, ReadError> {
        if self.diverged {
            return Err(ReadError::Diverged);
        }
        match path {
            Path::Tile(tile) => self.supply_tile(tile, bytes)?,
            Path::Entries(entries) => self.supply_bundle(entries, bytes)?,
            Path::Checkpoint => return Err(ReadError::NotWanted(path)),
        }
        if self.proven.is_empty() && !self.prove_edge()? {
            return Ok(Vec::new());
        }
        self.prove_tiles()?;
        self.read_bundles()
    }

    fn supply_tile(&mut self, tile: Tile, mut bytes: Vec<u8>) -> Result<(), ReadError> {
        let path = Path::Tile(tile);
        let wanted = Tile::at(tile.level, tile.index, self.to.size)
            .filter(|wanted| (wanted.width..=Tile::FULL).contains(&tile.width))
            .filter(|wanted| self.wants().contains(&Path::Tile(*wanted)))
            .ok_or(ReadError::NotWanted(path))?;
        if bytes.len() != tile.byte_len() {
            return Err(ReadError::Length(path));
        }
        bytes.truncate(wanted.byte_len());
        self.tiles.insert(place(tile), bytes);
        Ok(())
    }

    fn supply_bundle(&mut self, path: EntriesPath, bytes: Vec<u8>) -> Result<(), ReadError> {
        EntriesPath::at(path.index, self.to.size)
            .filter(|wanted| (wanted.width..=Tile::FULL).contains(&path.width))
            .filter(|wanted| self.wants().contains(&Path::Entries(*wanted)))
            .ok_or(ReadError::NotWanted(path.into()))?;
        let entries = bundle::parse(&bytes).map_err(|error| ReadError::Bundle { path, error })?;
        if entries.len() != usize::from(path.width) {
            return Err(ReadError::Length(path.into()));
        }
        self.bundles.insert(path.index, bytes);
        Ok(())
    }

    /// Step 1. Whether the edge is proven; `false` while some of it is missing.
    fn prove_edge(&mut self) -> Result<bool, ReadError> {
        let supplied = |tile| self.tiles.get(&place(tile)).cloned().ok_or(());
        let edge = match Frontier::from_tiles(self.to.size, supplied) {
            Ok(edge) => edge,
            Err(LoadError::Source(()) | LoadError::Length { .. }) => return Ok(false),
        };
        if edge.head() != self.to {
            self.tiles.clear();
            return Err(ReadError::Edge);
        }
        self.proven.append(&mut self.tiles);
        Ok(true)
    }

    /// Step 2. Proves the tiles whose upper tile is proven.
    fn prove_tiles(&mut self) -> Result<(), ReadError> {
        // From the highest level down, so that each is proven before those below it.
        let waiting: Vec<_> = self.tiles.keys().rev().copied().collect();
        for (level, index) in waiting {
            let Some(expected) = self.proven_root(level, index) else {
                continue;
            };
            let Some(bytes) = self.tiles.remove(&(level, index)) else {
                continue;
            };
            if tile::root(&bytes) != expected {
                return Err(ReadError::Tile(Tile { level, index, width: Tile::FULL }));
            }
            self.proven.insert((level, index), bytes);
        }
        Ok(())
    }

    /// Steps 3 and 4. Reads the bundles whose turn it is.
    fn read_bundles(&mut self) -> Result<Vec<Proven>, ReadError> {
        let mut read = Vec::new();
        while !self.is_done() {
            match self.read_bundle(&mut read) {
                Ok(true) => {}
                Ok(false) => break,
                // What was read before the bad bundle is proven, and the reader has moved past it,
                // so it must be handed out now. The bad one is forgotten, hence wanted again.
                Err(_) if !read.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    /// Reads one bundle; `false` if something for it is missing.
    fn read_bundle(&mut self, read: &mut Vec<Proven>) -> Result<bool, ReadError> {
        let position = self.position();
        let index = position.get() >> 8;
        let Some(path) = EntriesPath::at(index, self.to.size) else {
            return Ok(false);
        };
        let Some(bytes) = self.bundles.get(&index) else {
            return Ok(false);
        };
        let mut entries = bundle::parse(bytes).map_err(|error| ReadError::Bundle { path, error })?;
        entries.truncate(usize::from(path.width));
        let leaves: Vec<LeafHash> = entries.iter().map(|entry| LeafHash::of(entry)).collect();
        let hashes: Vec<u8> = leaves.iter().flat_map(|leaf| leaf.0).collect();

        // The bundle belongs below a tile of level 0 if that is at the edge, and else it stands for
        // that tile itself.
        let root = match self.proven.get(&(0, index)) {
            Some(tile) if hashes == *tile => None,
            Some(_) => {
                self.bundles.remove(&index);
                return Err(ReadError::Entries(path));
            }
            None => {
                let Some(expected) = self.proven_root(0, index) else {
                    return Ok(false);
                };
                if tile::root(&hashes) != expected {
                    self.bundles.remove(&index);
                    return Err(ReadError::Entries(path));
                }
                Some(expected)
            }
        };
        let mut frontier = match self.read.take() {
            Some(frontier) => frontier,
            None => {
                let Some(start) = self.start(&hashes) else {
                    return Ok(false);
                };
                if start.head() != self.from {
                    self.diverged = true;
                    self.tiles.clear();
                    self.bundles.clear();
                    return Err(ReadError::Diverged);
                }
                start
            }
        };

        // Below this line everything is proven.
        let first = index << 8;
        let skip = (position.get() - first) as usize;
        match root {
            Some(root) if skip == 0 && path.is_full() => {
                // Cannot be too large: `to` isn't.
                let _ = frontier.grow(8, root, |_, _| ());
            }
            _ => {
                for leaf in leaves.iter().skip(skip) {
                    let _ = frontier.push(*leaf);
                }
            }
        }
        let width = leaves.len();
        let next = frontier.size().get();
        self.read = Some(frontier);
        if let Some(bundle) = self.bundles.remove(&index) {
            read.push(Proven { start: first, skip, width, bundle });
        }
        // What lies left of the next entry isn't needed again.
        self.proven
            .retain(|(level, index), _| *index >= next.checked_shr(8 * (u32::from(*level) + 1)).unwrap_or_default());
        Ok(true)
    }

    /// Step 3: the tree of `from.size` leaves as `to` has it, given the leaf hashes of the first
    /// bundle. `None` while a tile is missing.
    fn start(&self, leaves: &[u8]) -> Option<Frontier> {
        // The widest partial tiles of `from` are the beginnings of proven tiles of `to`.
        let proven = |tile: Tile| {
            let wider = match tile.level {
                0 => Some(leaves),
                _ => self.proven.get(&place(tile)).map(Vec::as_slice),
            };
            let bytes = wider.and_then(|bytes| bytes.get(..tile.byte_len()));
            bytes.map(<[u8]>::to_vec).ok_or(())
        };
        Frontier::from_tiles(self.from.size, proven).ok()
    }

    fn position(&self) -> TreeSize {
        self.read.as_ref().map_or(self.from.size, Frontier::size)
    }

    /// The root of a full tile, as the proven tile above it says.
    fn proven_root(&self, level: u8, index: u64) -> Option<Hash> {
        let above = self.proven.get(&(level + 1, index >> 8))?;
        let (hashes, _) = above.as_chunks::<{ Hash::LEN }>();
        hashes.get((index & 255) as usize).copied().map(Hash)
    }

    /// Adds what is missing to prove the tile, up to one that is proven.
    fn want_tiles(&self, mut level: u8, mut index: u64, wants: &mut BTreeSet<Path>) {
        while usize::from(level) < LEVELS && !self.proven.contains_key(&(level, index)) {
            if !self.tiles.contains_key(&(level, index))
                && let Some(tile) = Tile::at(level, index, self.to.size)
            {
                wants.insert(Path::Tile(tile));
            }
            level += 1;
            index >>= 8;
        }
    }
}

/// Where a tile is, however wide.
const fn place(tile: Tile) -> (u8, u64) {
    (tile.level, tile.index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::Edge;

    // Reading a log end to end is in tests/reader.rs; what is held while reading shows only here.
    #[test]
    fn memory_does_not_grow_with_what_is_read() {
        const SIZE: u64 = 150_000;
        let mut edge = Edge::new();
        let mut tiles = BTreeMap::new();
        for i in 0..SIZE {
            edge.push(LeafHash::of(&i.to_be_bytes())).unwrap();
        }
        tiles.extend(edge.take_full());
        tiles.extend(edge.partial());
        let mut reader = Reader::new(TreeHead::EMPTY, edge.head()).unwrap().ahead(4);
        let mut read = 0;
        while !reader.is_done() {
            for path in reader.wants() {
                let bytes = match path {
                    Path::Tile(tile) => tiles[&tile].clone(),
                    Path::Entries(entries) => {
                        let first = entries.index * 256;
                        let mut bytes = Vec::new();
                        for i in first..first + u64::from(entries.width) {
                            bundle::push(&mut bytes, &i.to_be_bytes()).unwrap();
                        }
                        bytes
                    }
                    Path::Checkpoint => unreachable!(),
                };
                read += reader.supply(path, bytes).unwrap().len() as u64;
                assert!(reader.proven.len() <= 6, "{:?}", reader.proven.keys());
                assert!(reader.tiles.len() <= 3);
                assert!(reader.bundles.len() <= 4);
            }
        }
        assert_eq!(read, SIZE);
    }
}
