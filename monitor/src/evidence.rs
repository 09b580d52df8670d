//! Evidence: what proves a finding to others, gathered from the log itself and judged as they will judge it.
//!
//! ```text
//! finding ── two heads ──────────────▶ accusation ── judge, by the trust policy alone ──▶ evidence file
//!         ── lead: which entries ──▶ entries, openings, proofs ──┘        │
//!         ── all entries before it, where nothing less will do ───────────┘
//! ```
//! Only what [`scal3::verdict`] finds proven is written, so a TAMPER is never told on our word. Where the log doesn't
//! hand out what it takes, the finding stays, and is called unproven.

use std::collections::BTreeMap;
use std::sync::Arc;

use scal3::accusation::{Accusation, Beginning, Charge, Exhibit};
use scal3::limits::EVIDENCE_FILE_MAX;
use scal3::{Entry, Hash};
use tlog::policy::Policy;
use tlog::proof::{ConsistencyProof, InclusionProof, MakeError, root_at};
use tlog::tile::{EntriesPath, NodeError, Path, Tile, TileNodes};
use tlog::tree::{TreeHead, TreeSize};
use tlog::{LeafIndex, bundle};

use crate::check::Lead;
use crate::fetch::Server;
use crate::openings::{Given, ask};
use crate::report::{TwoHeads, What};
use crate::state::Signed;

/// The most entries that are replayed, whatever their length.
const MOST_REPLAYED: u64 = 100_000;

/// The tiles and bundles of one tree, fetched once, and believed only as far as proofs from them hold.
pub(crate) struct Tree {
    server: Arc<Server>,
    size: TreeSize,
    past_caches: bool,
    tiles: BTreeMap<Tile, Vec<u8>>,
    bundles: BTreeMap<u64, Vec<Vec<u8>>>,
}

/// Nothing that was served will do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NotServed;

impl Tree {
    pub fn new(server: &Arc<Server>, size: TreeSize, past_caches: bool) -> Tree {
        Tree { server: server.clone(), size, past_caches, tiles: BTreeMap::new(), bundles: BTreeMap::new() }
    }

    /// The root at a smaller size, and what shows it. The caller verifies it.
    pub async fn beginning(&mut self, of: TreeSize) -> Result<Beginning, NotServed> {
        let size = self.size;
        if of > size {
            return Err(NotServed);
        }
        self.with_nodes(|nodes| {
            let root = root_at(nodes, of).map_err(MakeError::Nodes)?;
            let hashes = ConsistencyProof::make(nodes, of, size)?.hashes;
            Ok(Beginning { root, hashes })
        })
        .await
    }

    /// The same, verified under a head of this tree.
    pub async fn beginning_under(&mut self, of: TreeSize, head: &TreeHead) -> Result<Beginning, NotServed> {
        let beginning = self.beginning(of).await?;
        let old = TreeHead { size: of, root: beginning.root };
        let proof = ConsistencyProof { hashes: beginning.hashes.clone() };
        proof.verify(&old, head).map(|()| beginning).map_err(|_| NotServed)
    }

    /// An entry with its inclusion proof.
    async fn exhibit(&mut self, index: u64, openings: bool) -> Result<Exhibit, NotServed> {
        let entry = self.entry(index).await?;
        let (at, size) = (LeafIndex::new(index).map_err(|_| NotServed)?, self.size);
        let hashes = self.with_nodes(|nodes| InclusionProof::make(nodes, at, size)).await?.hashes;
        let opening = if openings { self.opening(index, &entry).await } else { None };
        Ok(Exhibit { index, entry, opening, hashes })
    }

    async fn opening(&self, index: u64, entry: &[u8]) -> Option<Vec<u8>> {
        if Entry::parse(entry).ok()?.kind.is_public() {
            return None;
        }
        match ask(&self.server, index).await {
            Ok(Given::Shown(opening)) => Some(opening),
            _ => None,
        }
    }

    async fn entry(&mut self, index: u64) -> Result<Vec<u8>, NotServed> {
        let path = EntriesPath::at(index >> 8, self.size).ok_or(NotServed)?;
        if !self.bundles.contains_key(&path.index) {
            let fetched = self.server.resource(Path::Entries(path), self.past_caches).await;
            let (_, bytes) = fetched.map_err(|_| NotServed)?;
            let entries = bundle::parse(&bytes).map_err(|_| NotServed)?;
            self.bundles.insert(path.index, entries.into_iter().map(<[u8]>::to_vec).collect());
        }
        let entries = self.bundles.get(&path.index).ok_or(NotServed)?;
        entries.get((index & 255) as usize).cloned().ok_or(NotServed)
    }

    /// Makes something of nodes, and fetches the tiles that it asks for.
    async fn with_nodes<T>(
        &mut self,
        make: impl Fn(&TileNodes<&dyn Fn(Tile) -> Result<Vec<u8>, Tile>>) -> Result<T, MakeError<NodeError<Tile>>>,
    ) -> Result<T, NotServed> {
        loop {
            let missing = {
                let tiles = &self.tiles;
                let source = |tile: Tile| tiles.get(&tile).cloned().ok_or(tile);
                match make(&TileNodes::new(self.size, &source)) {
                    Ok(made) => return Ok(made),
                    Err(MakeError::Nodes(NodeError::Source(tile))) => tile,
                    Err(_) => return Err(NotServed),
                }
            };
            let fetched = self.server.resource(Path::Tile(missing), self.past_caches).await;
            let (_, bytes) = fetched.map_err(|_| NotServed)?;
            self.tiles.insert(missing, bytes);
        }
    }
}

/// Who proves findings about one log.
pub(crate) struct Prover<'a> {
    pub server: &'a Arc<Server>,
    pub trust: &'a Policy,
    /// The head under which entries are shown.
    pub head: Option<&'a Signed>,
}

impl Prover<'_> {
    /// The evidence for a finding, judged. `None` where there is none to be had. With `replay` it may be the whole log up to
    /// there.
    pub async fn prove(&self, what: &What, lead: impl Fn(u64) -> Lead, replay: bool) -> Option<Vec<u8>> {
        // The second time past caches: what did not fit may have been an old answer.
        for past_caches in [false, true] {
            if let Ok(accusation) = self.accuse(what, &lead, past_caches).await
                && accusation.judge(self.trust).is_ok()
            {
                return Some(accusation.to_bytes());
            }
        }
        let index = what.index().filter(|_| replay)?;
        let accusation = self.replay(index, lead(index).openings).await.ok()?;
        let bytes = accusation.to_bytes();
        (bytes.len() <= EVIDENCE_FILE_MAX && accusation.judge(self.trust).is_ok()).then_some(bytes)
    }

    async fn accuse(
        &self,
        what: &What,
        lead: &impl Fn(u64) -> Lead,
        past_caches: bool,
    ) -> Result<Accusation, NotServed> {
        match what {
            What::Fork(heads) => {
                let TwoHeads { kept, offered } = heads.as_ref();
                Ok(Accusation { head: offered.clone(), charge: Charge::Fork { other: kept.clone() } })
            }
            What::Rollback(heads) => {
                let TwoHeads { kept, offered } = heads.as_ref();
                Ok(Accusation { head: offered.clone(), charge: Charge::Rollback { other: kept.clone() } })
            }
            What::Diverged(heads) | What::Split { heads, .. } => self.two(heads, past_caches).await,
            What::EmptyRoot(note) => Ok(Accusation { head: note.as_ref().clone(), charge: Charge::EmptyRoot }),
            What::OtherOrigin { .. } | What::Wrong { .. } | What::Malformed { .. } => {
                let index = what.index().ok_or(NotServed)?;
                self.entry(index, &lead(index), past_caches).await
            }
            _ => Err(NotServed),
        }
    }

    /// Two heads of one size, or of two and the beginning of the larger tree.
    async fn two(&self, heads: &TwoHeads, past_caches: bool) -> Result<Accusation, NotServed> {
        let read = |note: &tlog::note::Note| Signed::read(note.clone()).ok_or(NotServed);
        let (one, two) = (read(&heads.kept)?, read(&heads.offered)?);
        let (smaller, larger) = if one.head().size <= two.head().size { (one, two) } else { (two, one) };
        if smaller.head().size == larger.head().size {
            return Ok(Accusation { head: larger.note, charge: Charge::Fork { other: smaller.note } });
        }
        let mut tree = Tree::new(self.server, larger.head().size, past_caches);
        let beginning = tree.beginning_under(smaller.head().size, &larger.head()).await?;
        Ok(Accusation { head: larger.note, charge: Charge::Diverged { other: smaller.note, beginning } })
    }

    async fn entry(&self, index: u64, lead: &Lead, past_caches: bool) -> Result<Accusation, NotServed> {
        let head = self.head.ok_or(NotServed)?;
        let mut tree = Tree::new(self.server, head.head().size, past_caches);
        let accused = tree.exhibit(index, lead.openings).await?;
        let mut others = Vec::new();
        for other in &lead.others {
            others.push(tree.exhibit(*other, lead.openings).await?);
        }
        let seen = match lead.seen.map(TreeSize::new) {
            Some(Ok(size)) => Some(tree.beginning(size).await?),
            _ => None,
        };
        Ok(Accusation { head: head.note.clone(), charge: Charge::Entry { accused, others, seen } })
    }

    /// All entries up to one.
    async fn replay(&self, index: u64, openings: bool) -> Result<Accusation, NotServed> {
        let head = self.head.filter(|_| index < MOST_REPLAYED).ok_or(NotServed)?;
        let mut tree = Tree::new(self.server, head.head().size, true);
        let (mut entries, mut length) = (Vec::new(), 0);
        for index in 0..=index {
            let entry = tree.entry(index).await?;
            let opening = if openings { tree.opening(index, &entry).await } else { None };
            length += entry.len() + opening.as_ref().map_or(0, Vec::len);
            if length > EVIDENCE_FILE_MAX {
                return Err(NotServed);
            }
            entries.push((entry, opening));
        }
        let size = TreeSize::new(index + 1).map_err(|_| NotServed)?;
        let hashes: Vec<Hash> = tree.beginning(size).await?.hashes;
        Ok(Accusation { head: head.note.clone(), charge: Charge::Replay { entries, hashes } })
    }
}
