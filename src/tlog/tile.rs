//! Tiles: a Merkle tree in files that never change. <https://c2sp.org/tlog-tiles>
//!
//! ```text
//! tile/<level>/<index>[.p/<width>]      hashes of complete subtrees of 256^level leaves
//! tile/entries/<index>[.p/<width>]      the entries below a tile of level 0
//! checkpoint
//!
//! tile/1/x001/x234/067.p/8              level 1, index 1234067, the first 8 of 256 hashes
//! ```
//!
//! Hash `i` of the tile `index` of `level` is that of the leaves
//! `(256 * index + i) * 256^level .. (256 * index + i + 1) * 256^level`, 32 bytes each, one after
//! the other. A resource has exactly one path: whatever [`Path::parse`] accepts, [`Path::path`]
//! gives back unchanged. With two spellings, a cache or a rate limit in front of the log could be
//! walked around.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt;

use crate::frontier::Frontier;
use crate::hash::Hash;
use crate::proof::Nodes;
use crate::tree::TreeSize;

/// The levels of tiles that a tree of at most 2^63 - 1 leaves can have.
pub const LEVELS: usize = 8;

/// The highest level a path may name.
const MAX_LEVEL: u8 = 63;

/// A tile of hashes, full or partial.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Tile {
    /// Each hash is over `256^level` leaves. A tree has levels 0 to 7; a path may say up to 63.
    pub level: u8,
    /// Counted from 0 within the level.
    pub index: u64,
    /// The number of hashes, 1 to 256 (full).
    pub width: u16,
}

impl Tile {
    /// The width of a full tile.
    pub const FULL: u16 = 256;
    /// The length of a full tile.
    pub const FULL_BYTES: usize = Tile::FULL as usize * Hash::LEN;

    /// The tile at `level` and `index` as wide as the tree of `size` leaves has it; `None` if that
    /// tree has none there.
    #[must_use]
    pub fn at(level: u8, index: u64, size: TreeSize) -> Option<Tile> {
        let width = width_at(index, hashes_at(level, size))?;
        Some(Tile { level, index, width })
    }

    /// The widest partial tile of each level of the tree of `size` leaves, lowest level first.
    /// Together they determine the root.
    pub fn edge(size: TreeSize) -> impl DoubleEndedIterator<Item = Tile> {
        (0..LEVELS as u8).filter_map(move |level| {
            // A level of only full tiles has no place there, as its next tile has no hash yet.
            Tile::at(level, hashes_at(level, size) >> 8, size)
        })
    }

    /// The tile that a node of [`Nodes`] is read from in the tree of `size` leaves: the one that
    /// has it, or has all that is below it. `None` if the node ends beyond the tree.
    #[must_use]
    pub fn of_node(level: u8, index: u64, size: TreeSize) -> Option<Tile> {
        Tile::position(level, index, size).map(|(tile, _)| tile)
    }

    /// The same, with the place in the tile of the first of the `1 << (level % 8)` hashes.
    fn position(level: u8, index: u64, size: TreeSize) -> Option<(Tile, usize)> {
        if index >= size.get().checked_shr(level.into())? {
            return None;
        }
        // No overflow: the node is within the tree.
        let first = index << (level % 8);
        let tile = Tile::at(level / 8, first >> 8, size)?;
        Some((tile, (first & 255) as usize))
    }

    /// Whether nothing can be added to it.
    #[must_use]
    pub const fn is_full(self) -> bool {
        self.width == Tile::FULL
    }

    /// The full tile at its place. It begins with the bytes of every partial one, and may be
    /// served where those no longer are.
    #[must_use]
    pub const fn full(self) -> Tile {
        Tile { width: Tile::FULL, ..self }
    }

    /// Its length in bytes.
    #[must_use]
    pub const fn byte_len(self) -> usize {
        self.width as usize * Hash::LEN
    }

    /// Its path, without a leading slash.
    #[must_use]
    pub fn path(self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/{}/", self.level)?;
        write_place(f, self.index, self.width)
    }
}

/// The root over the hashes of a tile. For a full tile that is its hash in the tile above it.
#[must_use]
pub fn root(tile: &[u8]) -> Hash {
    Frontier::over(tile).root()
}

/// A bundle of entries, full or partial: those whose leaf hashes are in the level-0 tile of the
/// same index and width. See [`crate::bundle`] for its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EntriesPath {
    /// Counted from 0.
    pub index: u64,
    /// The number of entries, 1 to 256 (full).
    pub width: u16,
}

impl EntriesPath {
    /// The bundle at `index` as wide as the tree of `size` leaves has it; `None` if it has none
    /// there.
    #[must_use]
    pub fn at(index: u64, size: TreeSize) -> Option<EntriesPath> {
        let width = width_at(index, size.get())?;
        Some(EntriesPath { index, width })
    }

    /// Whether nothing can be added to it.
    #[must_use]
    pub const fn is_full(self) -> bool {
        self.width == Tile::FULL
    }

    /// The full bundle at its place. It begins with the bytes of every partial one.
    #[must_use]
    pub const fn full(self) -> EntriesPath {
        EntriesPath { width: Tile::FULL, ..self }
    }

    /// Its path, without a leading slash.
    #[must_use]
    pub fn path(self) -> String {
        self.to_string()
    }
}

impl fmt::Display for EntriesPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tile/entries/")?;
        write_place(f, self.index, self.width)
    }
}

/// The path of anything a tiled log serves, without a leading slash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Path {
    /// `checkpoint`
    Checkpoint,
    /// `tile/<level>/<index>[.p/<width>]`
    Tile(Tile),
    /// `tile/entries/<index>[.p/<width>]`
    Entries(EntriesPath),
}

/// Why a path names nothing a log serves, in the order it is checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PathError {
    /// Neither `checkpoint` nor below `tile/<level>/`.
    #[error("not a checkpoint, a tile or an entry bundle")]
    Unknown,
    /// The level isn't `entries` or a number from 0 to 63 in its one spelling.
    #[error("the level of a tile is a number from 0 to 63, or `entries`")]
    Level,
    /// The width isn't a number from 1 to 255 in its one spelling.
    #[error("the width of a partial tile is a number from 1 to 255")]
    Width,
    /// The index isn't in groups of three digits, all but the last after an `x`, without a leading
    /// group of zeros, and below 2^64.
    #[error("the index of a tile is written in groups of three digits, like x001/x234/067")]
    Index,
}

impl Path {
    /// Reads a path, which must be in its one spelling.
    pub fn parse(path: &str) -> Result<Path, PathError> {
        if path == "checkpoint" {
            return Ok(Path::Checkpoint);
        }
        let (level, place) =
            path.strip_prefix("tile/").and_then(|rest| rest.split_once('/')).ok_or(PathError::Unknown)?;
        if level == "entries" {
            let (index, width) = parse_place(place)?;
            return Ok(Path::Entries(EntriesPath { index, width }));
        }
        let level = parse_decimal(level)
            .and_then(|level| u8::try_from(level).ok())
            .filter(|level| *level <= MAX_LEVEL)
            .ok_or(PathError::Level)?;
        let (index, width) = parse_place(place)?;
        Ok(Path::Tile(Tile { level, index, width }))
    }

    /// The path as text.
    #[must_use]
    pub fn path(self) -> String {
        self.to_string()
    }

    /// The full resource that may be fetched where this partial one is gone; `None` if this isn't
    /// a partial tile or bundle.
    #[must_use]
    pub fn full(self) -> Option<Path> {
        match self {
            Path::Tile(tile) if !tile.is_full() => Some(Path::Tile(tile.full())),
            Path::Entries(entries) if !entries.is_full() => Some(Path::Entries(entries.full())),
            _ => None,
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Checkpoint => f.write_str("checkpoint"),
            Path::Tile(tile) => tile.fmt(f),
            Path::Entries(entries) => entries.fmt(f),
        }
    }
}

impl core::str::FromStr for Path {
    type Err = PathError;
    fn from_str(path: &str) -> Result<Path, PathError> {
        Path::parse(path)
    }
}

impl From<Tile> for Path {
    fn from(tile: Tile) -> Path {
        Path::Tile(tile)
    }
}

impl From<EntriesPath> for Path {
    fn from(entries: EntriesPath) -> Path {
        Path::Entries(entries)
    }
}

/// What a log has to write when its published tree grows from `old` to `new` leaves: the bundles
/// first, then the tiles level by level.
///
/// Of partial resources these are only the widest, those of `new`. A log that publishes `new` and
/// nothing in between needs no others; the narrower ones it wrote for `old` stay where they are.
pub fn needed(old: TreeSize, new: TreeSize) -> impl Iterator<Item = Path> {
    let entries = changed(0, old, new).map(|(index, width)| Path::Entries(EntriesPath { index, width }));
    let tiles = (0..LEVELS as u8).flat_map(move |level| {
        changed(level, old, new).map(move |(index, width)| Path::Tile(Tile { level, index, width }))
    });
    entries.chain(tiles)
}

/// The places of one level that have more hashes in `new` than in `old`, with their width.
fn changed(level: u8, old: TreeSize, new: TreeSize) -> impl Iterator<Item = (u64, u16)> {
    let (old, new) = (hashes_at(level, old), hashes_at(level, new));
    let places = if old < new { old >> 8..new.div_ceil(256) } else { 0..0 };
    places.filter_map(move |index| Some((index, width_at(index, new)?)))
}

/// The nodes of the tree of one size, read from its tiles.
///
/// The source is asked only for tiles that this size implies, as wide as they are in it; it may
/// answer with a wider tile at the same place, which begins with the same bytes. The tiles are taken at their word, so verify
/// what is made from them, or serve it to someone who does. The last tile of each level is kept,
/// so a proof reads each tile it touches once.
pub struct TileNodes<F> {
    size: TreeSize,
    source: F,
    kept: RefCell<BTreeMap<u8, (Tile, Vec<u8>)>>,
}

/// Why a node can't be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NodeError<E> {
    /// The node ends beyond the tree.
    #[error("the node is outside the tree")]
    Outside,
    /// The tile could not be had.
    #[error("a tile: {0}")]
    Source(E),
    /// The tile isn't a whole number of hashes, or has fewer than its path says, or more than 256.
    #[error("{tile} is {given} bytes long")]
    Length {
        /// The tile that was asked for.
        tile: Tile,
        /// Its length in bytes.
        given: usize,
    },
}

impl<F> TileNodes<F> {
    /// The nodes of the tree of `size` leaves, whose tiles `source` gives.
    pub fn new(size: TreeSize, source: F) -> TileNodes<F> {
        TileNodes { size, source, kept: RefCell::default() }
    }

    /// The number of leaves.
    pub const fn size(&self) -> TreeSize {
        self.size
    }
}

impl<F, E> Nodes for TileNodes<F>
where
    F: Fn(Tile) -> Result<Vec<u8>, E>,
{
    type Error = NodeError<E>;

    fn node(&self, level: u8, index: u64) -> Result<Hash, NodeError<E>> {
        let (tile, first) = Tile::position(level, index, self.size).ok_or(NodeError::Outside)?;
        let mut kept = self.kept.borrow_mut();
        if kept.get(&tile.level).is_none_or(|(other, _)| *other != tile) {
            let bytes = (self.source)(tile).map_err(NodeError::Source)?;
            let lengths = tile.byte_len()..=Tile::FULL_BYTES;
            if !lengths.contains(&bytes.len()) || bytes.len() % Hash::LEN != 0 {
                return Err(NodeError::Length { tile, given: bytes.len() });
            }
            kept.insert(tile.level, (tile, bytes));
        }
        let bytes = kept.get(&tile.level).map_or(&[][..], |(_, bytes)| bytes);
        let count = 1usize << (level % 8);
        // Within the bytes, because the node is within the tree and the tile is as wide as that.
        let hashes = bytes.get(first * Hash::LEN..(first + count) * Hash::LEN).ok_or(NodeError::Outside)?;
        Ok(root(hashes))
    }
}

/// The number of hashes of `level` in the tree of `size` leaves.
fn hashes_at(level: u8, size: TreeSize) -> u64 {
    size.get().checked_shr(u32::from(level) * 8).unwrap_or_default()
}

/// How many of the `count` hashes or entries of a level are at the place `index`, if any.
fn width_at(index: u64, count: u64) -> Option<u16> {
    let before = index.checked_mul(256)?;
    let width = count.checked_sub(before)?.min(256);
    (width > 0).then_some(width as u16)
}

fn write_place(f: &mut fmt::Formatter<'_>, index: u64, width: u16) -> fmt::Result {
    let mut group = 1;
    while index / group >= 1000 {
        group *= 1000;
    }
    while group > 1 {
        write!(f, "x{:03}/", index / group % 1000)?;
        group /= 1000;
    }
    write!(f, "{:03}", index % 1000)?;
    if width < Tile::FULL {
        write!(f, ".p/{width}")?;
    }
    Ok(())
}

fn parse_place(place: &str) -> Result<(u64, u16), PathError> {
    let (index, width) = match place.split_once(".p/") {
        None => (place, Tile::FULL),
        Some((index, width)) => {
            let width = parse_decimal(width)
                .and_then(|width| u16::try_from(width).ok())
                .filter(|width| (1..Tile::FULL).contains(width))
                .ok_or(PathError::Width)?;
            (index, width)
        }
    };
    let index = parse_index(index).ok_or(PathError::Index)?;
    Ok((index, width))
}

fn parse_index(text: &str) -> Option<u64> {
    let (upper, last) = match text.rsplit_once('/') {
        None => (None, text),
        Some((upper, last)) => (Some(upper), last),
    };
    let mut index: u64 = 0;
    for group in upper.into_iter().flat_map(|upper| upper.split('/')) {
        let group = parse_group(group.strip_prefix('x')?)?;
        index = index.checked_mul(1000)?.checked_add(group)?;
        if index == 0 {
            // Still zero means a leading group of zeros.
            return None;
        }
    }
    index.checked_mul(1000)?.checked_add(parse_group(last)?)
}

/// Exactly three digits.
fn parse_group(text: &str) -> Option<u64> {
    if text.len() != 3 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Digits without a leading zero.
fn parse_decimal(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    if !canonical || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn a_path_has_one_spelling() {
        for path in [
            "checkpoint",
            "tile/0/000",
            "tile/63/999.p/255",
            "tile/7/x001/000.p/1",
            "tile/0/x018/x446/x744/x073/x709/x551/615",
            "tile/entries/000.p/9",
            "tile/entries/x001/x234/067",
        ] {
            assert_eq!(Path::parse(path).unwrap().path(), path);
        }
        for (path, error) in [
            ("", PathError::Unknown),
            ("/checkpoint", PathError::Unknown),
            ("checkpoint/", PathError::Unknown),
            ("Checkpoint", PathError::Unknown),
            ("tile", PathError::Unknown),
            ("tile/0", PathError::Unknown),
            ("/tile/0/000", PathError::Unknown),
            ("tile//000", PathError::Level),
            ("tile/64/000", PathError::Level),
            ("tile/00/000", PathError::Level),
            ("tile/+1/000", PathError::Level),
            ("tile/256/000", PathError::Level),
            ("tile/data/000", PathError::Level),
            ("tile/0/000.p/0", PathError::Width),
            ("tile/0/000.p/01", PathError::Width),
            ("tile/0/000.p/256", PathError::Width),
            ("tile/0/000.p/65537", PathError::Width),
            ("tile/0/000.p/", PathError::Width),
            ("tile/0/000.p/1/", PathError::Width),
            ("tile/0/000.p/1.p/2", PathError::Width),
            ("tile/0/", PathError::Index),
            ("tile/0/0", PathError::Index),
            ("tile/0/0000", PathError::Index),
            ("tile/0/000/", PathError::Index),
            ("tile/0/000.p", PathError::Index),
            ("tile/0/x000/001", PathError::Index),
            ("tile/0/x001/x000", PathError::Index),
            ("tile/0/001/000", PathError::Index),
            ("tile/0/X001/000", PathError::Index),
            ("tile/0/x001//000", PathError::Index),
            ("tile/0/x+01/000", PathError::Index),
            ("tile/0/٣٣٣", PathError::Index),
            ("tile/0/x018/x446/x744/x073/x709/x551/616", PathError::Index),
            ("tile/entries/x001", PathError::Index),
        ] {
            assert_eq!(Path::parse(path), Err(error), "{path}");
        }
    }

    #[test]
    fn every_path_parses_to_what_wrote_it() {
        for index in
            (0..64).flat_map(|bit| [(1u64 << bit) - 1, 1 << bit]).chain([999, 1000, 999_999, 1_000_000, u64::MAX])
        {
            for width in [1, 9, 10, 255, 256] {
                for path in [
                    Path::Tile(Tile { level: (index % 64) as u8, index, width }),
                    Path::Entries(EntriesPath { index, width }),
                ] {
                    assert_eq!(path.path().parse(), Ok(path));
                }
            }
        }
    }

    #[test]
    fn a_growing_log_writes_what_changed() {
        let paths = |old, new| -> Vec<String> {
            let (old, new) = (TreeSize::new(old).unwrap(), TreeSize::new(new).unwrap());
            needed(old, new).map(Path::path).collect()
        };
        assert_eq!(paths(0, 0), Vec::<String>::new());
        assert_eq!(paths(9, 9), Vec::<String>::new());
        assert_eq!(paths(9, 3), Vec::<String>::new());
        assert_eq!(paths(0, 1), ["tile/entries/000.p/1", "tile/0/000.p/1"]);
        assert_eq!(paths(255, 256), ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]);
        assert_eq!(paths(256, 257), ["tile/entries/001.p/1", "tile/0/001.p/1"]);
        assert_eq!(
            paths(300, 520),
            ["tile/entries/001", "tile/entries/002.p/8", "tile/0/001", "tile/0/002.p/8", "tile/1/000.p/2"]
        );
        assert_eq!(paths(65_535, 65_536), ["tile/entries/255", "tile/0/255", "tile/1/000", "tile/2/000.p/1"]);
        let max = TreeSize::MAX.get();
        assert_eq!(paths(max - 1, max).len(), 2);
        let first = needed(TreeSize::ZERO, TreeSize::MAX).nth(1 << 20).unwrap();
        assert_eq!(first.path(), "tile/entries/x001/x048/576");
    }

    #[test]
    fn nodes_beyond_the_tree_are_refused_without_asking() {
        let nodes = TileNodes::new(TreeSize::new(300).unwrap(), Err::<Vec<u8>, _>);
        for (level, index) in [(0, 300), (8, 1), (9, 0), (63, 0), (64, 0), (255, 0), (0, u64::MAX), (7, u64::MAX)] {
            assert_eq!(nodes.node(level, index), Err(NodeError::Outside));
        }
        let partial = Tile { level: 0, index: 1, width: 44 };
        assert_eq!(nodes.node(0, 299), Err(NodeError::Source(partial)));
        assert_eq!(nodes.node(5, 8), Err(NodeError::Source(partial)));
    }

    #[test]
    fn a_tile_of_the_wrong_length_is_refused() {
        let size = TreeSize::new(3).unwrap();
        for given in [0, 64, 95, 97, 8191, 8193, 8224] {
            let nodes = TileNodes::new(size, |_| Ok::<_, ()>(vec![0; given]));
            assert!(matches!(
                nodes.node(0, 0),
                Err(NodeError::Length { given: n, .. }) if n == given
            ));
        }
        for given in [96, 128, 8192] {
            let nodes = TileNodes::new(size, |_| Ok::<_, ()>(vec![0; given]));
            assert_eq!(nodes.node(0, 2), Ok(Hash([0; 32])));
        }
    }
}
