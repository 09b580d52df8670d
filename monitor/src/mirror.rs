//! A mirror: a verified copy of a log's tiles, entry bundles and checkpoint, as files that any static server can publish.
//!
//! ```text
//! checkpoint ── policy ──▶ entries, each proven ──▶ tiles made anew ──▶ DIR/tile/…, synced ──▶ DIR/checkpoint, last
//! ```
//! Tiles are not copied: they are made from the proven entries, so a file that is there is right. A checkpoint replaces
//! the one before only when everything that it covers is on disk; readers of the folder never meet a hole. What an
//! interrupted run has written is read from the disk by the next one, and proven again.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use tlog::note::Note;
use tlog::policy::Policy;
use tlog::reader::{Proven, Reader};
use tlog::tile::{EntriesPath, Path, Tile};
use tlog::tree::{TreeHead, TreeSize};
use tlog::{Edge, LeafHash, bundle};

use crate::SetupError;
use crate::fetch::{Patience, Server};
use crate::follow::{Stopped, read_entries};
use crate::report::{TwoHeads, What};
use crate::state::{Signed, StateError};

/// A copy of one log.
#[derive(Debug)]
pub struct Mirror {
    trust: Policy,
    server: Arc<Server>,
    folder: PathBuf,
    /// From the first entry on, whatever is there.
    whole: bool,
}

/// What a run of a mirror came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mirrored {
    /// The size that is published now.
    pub size: u64,
    /// How many entries are new in it.
    pub new: u64,
}

/// What is being written.
struct Copy<'a> {
    folder: &'a FilePath,
    edge: Edge,
    /// The entries of the bundle that is not full yet.
    bundle: Vec<u8>,
    /// What was published, which the new tree has to pass through.
    published: TreeHead,
    /// Folders with files whose names are not synced.
    touched: BTreeSet<PathBuf>,
}

impl Mirror {
    /// A copy of the log at `url` in `folder`.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn new(trust: Policy, url: &str, folder: &FilePath, patience: Patience) -> Result<Mirror, SetupError> {
        let server = Arc::new(Server::new(url, None, patience)?.with_copies(folder));
        fs::create_dir_all(folder).map_err(|error| io_error(folder, error))?;
        Ok(Mirror { trust, server, folder: folder.to_owned(), whole: false })
    }

    /// The same, and every file that is there is proven again, and made anew where it is spoilt.
    #[must_use]
    pub fn whole(self) -> Mirror {
        Mirror { whole: true, ..self }
    }

    /// Brings the copy up to the log's checkpoint.
    ///
    /// # Errors
    /// [`What`] kept it from that; what is published stays as it was.
    pub async fn pass(&self) -> Result<Mirrored, What> {
        let fetched = self.server.checkpoint().await;
        let bytes = fetched.map_err(|error| What::Unreachable { path: Path::Checkpoint, error })?;
        let note = Note::parse(&bytes).map_err(What::NoNote)?;
        let checkpoint = self.trust.verify(&note).map_err(What::NotTrusted)?.checkpoint;
        let to = Signed { note, checkpoint };
        let published = self.published()?;
        let from = published.as_ref().map_or(TreeHead::EMPTY, Signed::head);
        let heads = |kept: &Signed| Box::new(TwoHeads { kept: kept.note.clone(), offered: to.note.clone() });
        if let Some(kept) = &published {
            if kept.checkpoint.origin != to.checkpoint.origin {
                let (followed, offered) = (kept.checkpoint.origin.to_string(), to.checkpoint.origin.to_string());
                return Err(What::OtherLog { followed, offered });
            }
            if to.head().size < from.size {
                return Err(What::Behind(heads(kept)));
            }
            if to.head().size == from.size && to.head().root != from.root {
                return Err(What::Fork(heads(kept)));
            }
        }
        let mut copy = Copy::resume(&self.folder, from, self.whole);
        let diverged = || match &published {
            Some(kept) => What::Diverged(heads(kept)),
            None => What::EmptyRoot(Box::new(to.note.clone())),
        };
        let reader = Reader::new(copy.edge.head(), to.head()).map_err(|_| diverged())?;
        let read = read_entries(reader, &self.server, async |proven, _| copy.take(&proven)).await;
        read.map_err(|stopped| match stopped {
            Stopped::By(What::OtherRoot { computed }) if computed.size == from.size => diverged(),
            Stopped::By(what) => what,
            Stopped::Diverged => diverged(),
        })?;
        if copy.edge.head() != to.head() {
            return Err(What::OtherRoot { computed: copy.edge.head() });
        }
        copy.finish()?;
        copy.write("checkpoint", &to.note.to_bytes())?;
        copy.sync()?;
        Ok(Mirrored { size: to.head().size.get(), new: to.head().size.get() - from.size.get() })
    }

    /// The checkpoint that is published.
    fn published(&self) -> Result<Option<Signed>, What> {
        let path = self.folder.join("checkpoint");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(What::State(io_error(&path, error))),
        };
        // Ours, so it was verified; but the folder is open to whoever publishes it.
        let note = Note::parse(&bytes).ok().filter(|note| scal3::verdict::signed(note, &self.trust).is_ok());
        let damaged = || What::State(StateError::Damaged { path, fault: "not a checkpoint of the trust policy" });
        note.and_then(Signed::read).ok_or_else(damaged).map(Some)
    }
}

impl Copy<'_> {
    /// Goes on from the last full bundle under what is published; from the start where its tiles are gone or spoilt.
    fn resume(folder: &FilePath, published: TreeHead, whole: bool) -> Copy<'_> {
        let on_disk = |tile: Tile| {
            // As wide as what is published has it, or full.
            let wide = Tile::at(tile.level, tile.index, published.size).unwrap_or(tile);
            let mut bytes =
                fs::read(folder.join(wide.path())).or_else(|_| fs::read(folder.join(tile.full().path())))?;
            bytes.truncate(tile.byte_len());
            Ok::<_, io::Error>(bytes)
        };
        let aligned = TreeSize::new(published.size.get() & !255).unwrap_or_default();
        let good = !whole && Edge::load(published.size, on_disk).is_ok_and(|edge| edge.head() == published);
        let edge = if good { Edge::load(aligned, on_disk).unwrap_or_default() } else { Edge::new() };
        Copy { folder, edge, bundle: Vec::new(), published, touched: BTreeSet::new() }
    }

    /// Takes proven entries in, and writes what is full.
    fn take(&mut self, proven: &[Proven]) -> Result<(), What> {
        for (_, entry) in proven.iter().flat_map(Proven::entries) {
            // There is no entry beyond the largest size, and no proven one is too long: it came in a bundle.
            let _ = self.edge.push(LeafHash::of(entry));
            let _ = bundle::push(&mut self.bundle, entry);
            let size = self.edge.size().get();
            if size == self.published.size.get() && self.edge.head() != self.published {
                return Err(What::OtherRoot { computed: self.edge.head() });
            }
            if size.is_multiple_of(256) {
                let path = EntriesPath { index: size / 256 - 1, width: Tile::FULL };
                let bundle = std::mem::take(&mut self.bundle);
                self.write(&path.path(), &bundle)?;
                for (tile, bytes) in self.edge.take_full() {
                    self.write(&tile.path(), &bytes)?;
                }
            }
        }
        Ok(())
    }

    /// Writes what the checkpoint needs beside full tiles; then all of it is durable.
    fn finish(&mut self) -> Result<(), What> {
        for (tile, bytes) in self.edge.partial() {
            self.write(&tile.path(), &bytes)?;
        }
        let size = self.edge.size();
        if let Some(path) = EntriesPath::at(size.get() / 256, size) {
            let bundle = std::mem::take(&mut self.bundle);
            self.write(&path.path(), &bundle)?;
        }
        self.sync()
    }

    /// Makes the names of what was written durable.
    fn sync(&mut self) -> Result<(), What> {
        for folder in std::mem::take(&mut self.touched) {
            let sync = fs::File::open(&folder).and_then(|folder| folder.sync_all());
            sync.map_err(|error| What::State(io_error(&folder, error)))?;
        }
        Ok(())
    }

    fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), What> {
        let path = self.folder.join(name);
        if fs::read(&path).is_ok_and(|there| there == bytes) {
            return Ok(());
        }
        let parent = path.parent().unwrap_or(self.folder).to_owned();
        let write = || {
            fs::create_dir_all(&parent)?;
            let temporary = path.with_extension("tmp");
            let mut file = fs::File::create(&temporary)?;
            io::Write::write_all(&mut file, bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)
        };
        write().map_err(|error| What::State(io_error(&path, error)))?;
        // New folders have names too, in those above them.
        for folder in parent.ancestors().take_while(|folder| folder.starts_with(self.folder)) {
            self.touched.insert(folder.to_owned());
        }
        Ok(())
    }
}

fn io_error(path: &FilePath, error: io::Error) -> StateError {
    StateError::Io { path: path.to_owned(), error: Arc::new(error) }
}
