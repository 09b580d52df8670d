//! History: entries, tiles, roots and proofs of everything that a signed head covers.
//!
//! ```text
//! full tiles and bundles      files: they never change, and the last few read are kept in memory
//! the right edge              memory: the widest partial tile of each level, and the partial bundle
//! ```
//!
//! A reader takes the right edge of one moment (a pointer) and then needs nothing that can change under it: any width
//! of any tile is the prefix of a full one or of one at the edge. So proofs for a size stay consistent while the log
//! grows, no reader waits for a writer, and memory does not grow with the log.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use tlog::bundle;
use tlog::proof::{self, MakeError, Nodes as _};
use tlog::proof::{ConsistencyProof, InclusionProof};
use tlog::tile::{EntriesPath, Path, Tile};
use tlog::tree::{LeafIndex, TreeHead, TreeSize};
use tlog::{Hash, LeafHash};

use self::nodes::{TileTree, TreeNodes};
use crate::lately::Lately;
use crate::store::objects::{ObjectError, Objects};
use crate::store::view::ViewError;

mod nodes;

/// Entries in a full bundle, and hashes in a full tile.
pub const FULL: u64 = 256;

/// How many bytes of full tiles and bundles are kept in memory.
const CACHE_BYTES: usize = 8 << 20;

/// How many bytes of full tiles are kept with all their nodes, in each of two generations: those of half a million entries,
/// so that proofs about them read no file and hash nothing again.
const NODES_BYTES: usize = 32 << 20;

/// How many roots of old sizes are remembered: devices name the few heads that were published lately.
const ROOTS: usize = 4096;

/// Why something can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No signed head is that large.
    #[error("the log has {size} entries")]
    NotYet {
        /// How large the newest signed head is.
        size: TreeSize,
    },
    /// An older size was asked for than the other one.
    #[error("the old size is larger than the new one")]
    Order,
    /// The file is there and can't be right.
    #[error("{0} is damaged; run `solelog fsck`")]
    Damaged(String),
    /// The store failed.
    #[error(transparent)]
    Objects(#[from] ObjectError),
    /// The evidence store failed, or what it holds can't be opened.
    #[error("the opening of entry {index} can't be read: {what}")]
    Evidence {
        /// Whose opening.
        index: LeafIndex,
        /// What is wrong.
        what: String,
    },
    /// The view failed.
    #[error(transparent)]
    View(#[from] ViewError),
}

/// The part of the tree that still changes, as it was at one head.
#[derive(Clone, Debug)]
pub struct RightEdge {
    /// The head.
    pub head: TreeHead,
    /// The partial tile of each level that has one.
    pub tiles: Vec<(Tile, Vec<u8>)>,
    /// The partial bundle; empty when the size is a multiple of 256.
    pub bundle: Vec<u8>,
}

/// An edge as readers take it.
struct Edge {
    edge: RightEdge,
    /// The nodes of each of its tiles, made for the first proof that needs them.
    trees: Vec<OnceLock<Arc<TileTree>>>,
}

impl Edge {
    fn of(edge: RightEdge) -> Edge {
        let trees = edge.tiles.iter().map(|_| OnceLock::new()).collect();
        Edge { edge, trees }
    }

    /// The partial tile at that place.
    fn tile(&self, at: Tile) -> Option<usize> {
        self.edge.tiles.iter().position(|(tile, _)| tile.level == at.level && tile.index == at.index)
    }
}

/// The readable part of one log.
pub struct History {
    objects: Arc<Objects>,
    edge: RwLock<Arc<Edge>>,
    cache: Mutex<Cache>,
    /// Full tiles with their nodes, by level and index.
    trees: Lately<(u8, u64), Arc<TileTree>>,
    roots: Mutex<HashMap<TreeSize, Hash>>,
}

impl History {
    /// The history up to that edge; every full tile and bundle before it is in the store.
    pub fn new(objects: Arc<Objects>, edge: RightEdge) -> History {
        History {
            objects,
            edge: RwLock::new(Arc::new(Edge::of(edge))),
            cache: Mutex::default(),
            trees: Lately::of(NODES_BYTES),
            roots: Mutex::default(),
        }
    }

    /// The edge has moved: everything before it is in the store.
    pub fn advance(&self, edge: RightEdge) {
        *self.edge.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Edge::of(edge));
    }

    fn edge(&self) -> Arc<Edge> {
        Arc::clone(&self.edge.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The newest head that can be read.
    pub fn head(&self) -> TreeHead {
        self.edge().edge.head
    }

    /// Refuses an index that no signed head covers.
    pub fn covered(&self, index: LeafIndex) -> Result<(), ReadError> {
        let size = self.edge().edge.head.size;
        if size.contains(index) { Ok(()) } else { Err(ReadError::NotYet { size }) }
    }

    /// One entry.
    pub fn entry(&self, index: LeafIndex) -> Result<Vec<u8>, ReadError> {
        let edge = self.edge();
        let at = EntriesPath { index: index.get() / FULL, width: (index.get() % FULL) as u16 + 1 };
        let bytes = self.bundle(&edge.edge, at)?;
        let entries = bundle::parse(&bytes).map_err(|_| ReadError::Damaged(at.path()))?;
        entries.last().map(|e| e.to_vec()).ok_or_else(|| ReadError::Damaged(at.path()))
    }

    /// A tile or a bundle at any width that the newest head has.
    pub fn object(&self, path: &Path) -> Result<Vec<u8>, ReadError> {
        let edge = self.edge();
        match path {
            Path::Tile(tile) => self.tile(&edge.edge, *tile),
            Path::Entries(at) => self.bundle(&edge.edge, *at),
            Path::Checkpoint => Err(ReadError::NotYet { size: edge.edge.head.size }),
        }
    }

    /// The leaf hash of an entry, from the tree.
    pub fn leaf(&self, index: LeafIndex) -> Result<LeafHash, ReadError> {
        let edge = self.edge();
        let size = edge.edge.head.size;
        if !size.contains(index) {
            return Err(ReadError::NotYet { size });
        }
        Ok(LeafHash(self.nodes(&edge, size).node(0, index.get())?.0))
    }

    /// The path from an entry to the root of the tree of that size.
    pub fn inclusion(&self, index: LeafIndex, size: TreeSize) -> Result<InclusionProof, ReadError> {
        let edge = self.reaches(size)?;
        if !size.contains(index) {
            return Err(ReadError::NotYet { size });
        }
        InclusionProof::make(&self.nodes(&edge, size), index, size).map_err(made)
    }

    /// Root, leaf hash and path, for whoever must not wait for a disk: none where a file would have to be read.
    pub fn inclusion_from_memory(&self, index: LeafIndex, size: TreeSize) -> Option<(Hash, LeafHash, InclusionProof)> {
        let edge = self.reaches(size).ok().filter(|_| size.contains(index))?;
        let nodes = TreeNodes::new(size, |tile| self.known_tree(&edge, tile).ok_or(Absent));
        let root = if size == edge.edge.head.size { edge.edge.head.root } else { proof::root_at(&nodes, size).ok()? };
        let leaf = nodes.node(0, index.get()).ok()?;
        Some((root, LeafHash(leaf.0), InclusionProof::make(&nodes, index, size).ok()?))
    }

    /// The proof that the tree of size `new` begins with the tree of size `old`.
    pub fn consistency(&self, old: TreeSize, new: TreeSize) -> Result<ConsistencyProof, ReadError> {
        let edge = self.reaches(new)?;
        if old > new {
            return Err(ReadError::Order);
        }
        ConsistencyProof::make(&self.nodes(&edge, new), old, new).map_err(made)
    }

    /// The root of the tree when it had that size.
    pub fn root_at(&self, size: TreeSize) -> Result<Hash, ReadError> {
        let edge = self.reaches(size)?;
        if size == edge.edge.head.size {
            return Ok(edge.edge.head.root);
        }
        if let Some(root) = self.roots.lock().unwrap_or_else(PoisonError::into_inner).get(&size) {
            return Ok(*root);
        }
        let root = proof::root_at(&self.nodes(&edge, size), size)?;
        let mut roots = self.roots.lock().unwrap_or_else(PoisonError::into_inner);
        if roots.len() >= ROOTS {
            roots.clear();
        }
        roots.insert(size, root);
        Ok(root)
    }

    /// Whether [`History::root_at`] has its answer in memory. A size that was not reached has one, too.
    pub fn knows_root_at(&self, size: TreeSize) -> bool {
        size >= self.head().size || self.roots.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&size)
    }

    fn reaches(&self, size: TreeSize) -> Result<Arc<Edge>, ReadError> {
        let edge = self.edge();
        let head = edge.edge.head.size;
        if size <= head { Ok(edge) } else { Err(ReadError::NotYet { size: head }) }
    }

    /// The nodes of the tree of a size that the edge has reached.
    fn nodes(&self, edge: &Edge, size: TreeSize) -> TreeNodes<impl Fn(Tile) -> Result<Arc<TileTree>, ReadError>> {
        TreeNodes::new(size, move |tile| self.tree(edge, tile))
    }

    /// A tile with its nodes, as wide as the newest head has it.
    fn tree(&self, edge: &Edge, tile: Tile) -> Result<Arc<TileTree>, ReadError> {
        if let Some(known) = self.known_tree(edge, tile) {
            return Ok(known);
        }
        let bytes = self.full(&Path::Tile(tile.full()))?;
        let tree = Arc::new(TileTree::of(&bytes));
        if tree.width() != usize::from(Tile::FULL) {
            return Err(ReadError::Damaged(tile.full().path()));
        }
        self.trees.add((tile.level, tile.index), Arc::clone(&tree), TileTree::BYTES);
        Ok(tree)
    }

    /// The same, where no file has to be read for it.
    fn known_tree(&self, edge: &Edge, tile: Tile) -> Option<Arc<TileTree>> {
        if let Some(at) = edge.tile(tile) {
            let ((_, bytes), tree) = (edge.edge.tiles.get(at)?, edge.trees.get(at)?);
            return Some(Arc::clone(tree.get_or_init(|| Arc::new(TileTree::of(bytes)))));
        }
        self.trees.get(&(tile.level, tile.index))
    }

    /// The first `width` hashes of a tile.
    fn tile(&self, edge: &RightEdge, tile: Tile) -> Result<Vec<u8>, ReadError> {
        let nodes = edge.head.size.get().checked_shr(8 * u32::from(tile.level)).unwrap_or(0);
        let there = present(nodes, tile.index).filter(|w| *w >= u64::from(tile.width));
        let there = there.ok_or(ReadError::NotYet { size: edge.head.size })?;
        let length = usize::from(tile.width) * Hash::LEN;
        if there == FULL {
            let full = Tile { width: FULL as u16, ..tile };
            let bytes = self.full(&Path::Tile(full))?;
            return bytes.get(..length).map(<[u8]>::to_vec).ok_or_else(|| ReadError::Damaged(full.path()));
        }
        let at_edge = edge.tiles.iter().find(|(t, _)| t.level == tile.level && t.index == tile.index);
        let bytes = at_edge.and_then(|(_, bytes)| bytes.get(..length));
        bytes.map(<[u8]>::to_vec).ok_or_else(|| ReadError::Damaged(tile.path()))
    }

    /// The first `width` entries of a bundle, as a bundle.
    fn bundle(&self, edge: &RightEdge, at: EntriesPath) -> Result<Vec<u8>, ReadError> {
        let there = present(edge.head.size.get(), at.index).filter(|w| *w >= u64::from(at.width));
        let there = there.ok_or(ReadError::NotYet { size: edge.head.size })?;
        let widest = EntriesPath { width: there as u16, ..at };
        let bytes = if there == FULL { self.full(&Path::Entries(widest))? } else { Arc::from(edge.bundle.as_slice()) };
        if u64::from(at.width) == there {
            return Ok(bytes.to_vec());
        }
        let entries = bundle::parse(&bytes).map_err(|_| ReadError::Damaged(widest.path()))?;
        let mut prefix = Vec::with_capacity(bytes.len());
        for entry in entries.iter().take(usize::from(at.width)) {
            bundle::push(&mut prefix, entry).map_err(|_| ReadError::Damaged(widest.path()))?;
        }
        Ok(prefix)
    }

    /// A full tile or bundle: from memory, or from its file.
    fn full(&self, path: &Path) -> Result<Arc<[u8]>, ReadError> {
        if let Some(bytes) = self.cache.lock().unwrap_or_else(PoisonError::into_inner).bytes.get(path) {
            return Ok(Arc::clone(bytes));
        }
        let bytes: Arc<[u8]> = self.objects.get(path)?.ok_or_else(|| ReadError::Damaged(path.path()))?.into();
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).put(*path, &bytes);
        Ok(bytes)
    }
}

/// How many of its 256 places a tile or bundle has filled when the level has that many nodes; `None` if it is not there.
fn present(nodes: u64, index: u64) -> Option<u64> {
    let before = index.checked_mul(FULL)?;
    nodes.checked_sub(before).filter(|w| *w > 0).map(|w| w.min(FULL))
}

/// A tile that is in no memory.
struct Absent;

impl From<ReadError> for Absent {
    fn from(_: ReadError) -> Absent {
        Absent
    }
}

/// The sizes were checked before, so whatever fails is the store's fault.
fn made(error: MakeError<ReadError>) -> ReadError {
    match error {
        MakeError::Nodes(read) => read,
        MakeError::IndexBeyondSize | MakeError::Shrinks => ReadError::Order,
    }
}

/// The full tiles and bundles read last; the oldest goes first.
#[derive(Default)]
struct Cache {
    bytes: HashMap<Path, Arc<[u8]>>,
    order: VecDeque<Path>,
    held: usize,
}

impl Cache {
    fn put(&mut self, path: Path, bytes: &Arc<[u8]>) {
        if self.bytes.insert(path, Arc::clone(bytes)).is_none() {
            self.order.push_back(path);
            self.held += bytes.len();
        }
        while self.held > CACHE_BYTES {
            let Some(oldest) = self.order.pop_front() else { break };
            self.held -= self.bytes.remove(&oldest).map_or(0, |b| b.len());
        }
    }
}
