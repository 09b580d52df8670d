//! The full tiles of a log, each with the hash that a signed head says it has: what a tile is verified against.

use tlog::proof::Nodes;
use tlog::tile::Tile;
use tlog::{Hash, TreeHead, TreeSize, root_at};

use crate::Error;
use crate::transport::Connection;

/// Leaves under a full tile of level 0, as a power of two.
const BITS: u8 = 8;

/// The tree of a signed head, from the hashes of its full tiles up.
pub struct Tiles {
    size: TreeSize,
    /// The roots of the full tiles of level 0.
    roots: Vec<Hash>,
    /// The leaf hashes behind them.
    rest: Vec<Hash>,
}

impl Nodes for Tiles {
    type Error = Error;

    fn node(&self, level: u8, index: u64) -> Result<Hash, Error> {
        let missing = || Error::Wrong("a hash is missing in the log's tiles".to_owned());
        let at = |hashes: &[Hash], index: u64| usize::try_from(index).ok().and_then(|at| hashes.get(at).copied());
        match level {
            BITS => at(&self.roots, index).ok_or_else(missing),
            0 => index
                .checked_sub(self.roots.len() as u64 * u64::from(Tile::FULL))
                .and_then(|index| at(&self.rest, index))
                .ok_or_else(missing),
            _ => Ok(Hash::node(&self.node(level - 1, 2 * index)?, &self.node(level - 1, 2 * index + 1)?)),
        }
    }
}

impl Tiles {
    /// Reads the tiles above, and shows that they make the root that was signed.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn read(connection: &mut Connection, head: &TreeHead) -> Result<Tiles, Error> {
        let size = head.size;
        let full = size.get() / u64::from(Tile::FULL);
        let mut tiles = Tiles { size, roots: Vec::new(), rest: Vec::new() };
        for index in 0..full.div_ceil(u64::from(Tile::FULL)) {
            tiles.roots.extend(hashes(connection, Tile::at(1, index, size)).await?);
        }
        if !size.get().is_multiple_of(u64::from(Tile::FULL)) {
            tiles.rest = hashes(connection, Tile::at(0, full, size)).await?;
        }
        if root_at(&tiles, size)? != head.root {
            return Err(Error::Wrong("the tiles do not make the root that was signed".to_owned()));
        }
        Ok(tiles)
    }

    /// One of the full tiles, with its root: the one that a number falls to.
    #[must_use]
    pub fn pick(&self, number: u64) -> Option<(Tile, Hash)> {
        let index = number.checked_rem(self.roots.len() as u64)?;
        let tile = Tile::at(0, index, self.size)?;
        self.roots.get(usize::try_from(index).ok()?).map(|root| (tile, *root))
    }
}

async fn hashes(connection: &mut Connection, tile: Option<Tile>) -> Result<Vec<Hash>, Error> {
    let Some(tile) = tile else { return Err(Error::Wrong("a tile that the log can't have".to_owned())) };
    let body = connection.get(&format!("/{}", tile.path())).await?.body()?;
    if body.len() != tile.byte_len() {
        return Err(Error::Wrong(format!("{} has {} bytes", tile.path(), body.len())));
    }
    let hash = |bytes: &[u8]| bytes.try_into().map(Hash).map_err(|_| Error::Wrong("a hash of a tile".to_owned()));
    body.chunks(Hash::LEN).map(hash).collect()
}
