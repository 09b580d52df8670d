//! `solelog export`: the log as static files, for any web server.
//!
//! Only the checkpoint and the entries are read. Every tile is computed from them, and the checkpoint is written last and
//! only if it is what they make: an export that ends well is right and whole. It has every partial tile and bundle that
//! its checkpoint needs, as C2SP asks of static hosting.

use std::fs;
use std::path::{Path as File, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::json;
use tlog::checkpoint::Checkpoint;
use tlog::note::Note;
use tlog::tile::{EntriesPath, Path};
use tlog::{Edge, LeafHash, TreeSize, bundle};

use super::{Exit, Failure, Output, Which, path_value, runtime, system};
use crate::history::FULL;
use crate::store::disk;
use crate::store::lock::{Lock, LockError};
use crate::store::objects::Objects;
use crate::tokens::write_private;

/// Write the log as static files.
#[derive(Debug, Args)]
pub struct Export {
    /// Which log. It must not be running; a running one is exported with --url.
    #[command(flatten)]
    which: Option<Which>,
    /// Read a running log from there instead. It may be any C2SP log.
    #[arg(long, conflicts_with = "config")]
    url: Option<String>,
    /// Where to write. Files that are there already are left alone.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Where the checkpoint and the bundles come from.
enum Source {
    Folder { objects: Objects, _lock: Lock },
    Web { client: reqwest::Client, base: String, runtime: tokio::runtime::Runtime },
}

impl Source {
    fn get(&self, path: &Path) -> Result<Vec<u8>, Failure> {
        let name = path.path();
        let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::System, format!("{name}: {error}"));
        match self {
            Source::Folder { objects, .. } => objects
                .get(path)
                .map_err(|e| failed(&e))?
                .ok_or_else(|| failed(&"is missing").next("run: solelog fsck")),
            Source::Web { client, base, runtime } => runtime.block_on(async {
                let answer = client.get(format!("{base}/{name}")).send().await.map_err(|e| failed(&e))?;
                let answer = answer.error_for_status().map_err(|e| failed(&e))?;
                Ok(answer.bytes().await.map_err(|e| failed(&e))?.to_vec())
            }),
        }
    }
}

impl Export {
    /// Runs it.
    pub fn run(self, out: Output) -> Result<(), Failure> {
        let source = self.source()?;
        let wrong = |what: &dyn std::fmt::Display| {
            Failure::new(Exit::Failed, format!("the log is not right: {what}")).next("run: solelog fsck")
        };
        let note = source.get(&Path::Checkpoint)?;
        let checkpoint =
            Checkpoint::parse_text(Note::parse(&note).map_err(|e| wrong(&e))?.text()).map_err(|e| wrong(&e))?;
        let size = checkpoint.head.size.get();
        let bar = out.bar(size, "entries");
        let mut edge = Edge::new();
        let mut files = 0_u64;
        for index in 0..size.div_ceil(FULL) {
            let path = at(index, checkpoint.head.size).ok_or_else(|| wrong(&"a bundle has no path"))?;
            let bytes = source.get(&path)?;
            for entry in bundle::parse(&bytes).map_err(|e| wrong(&format!("{}: {e}", path.path())))? {
                edge.push(LeafHash::of(entry)).map_err(|e| wrong(&e))?;
            }
            files += self.write(&path, &bytes)?;
            for (tile, bytes) in edge.take_full() {
                files += self.write(&Path::Tile(tile), &bytes)?;
            }
            bar.set_position(edge.head().size.get());
        }
        for (tile, bytes) in edge.partial() {
            files += self.write(&Path::Tile(tile), &bytes)?;
        }
        bar.finish_and_clear();
        if edge.head() != checkpoint.head {
            return Err(wrong(&format!(
                "its entries make the root {} of size {}, its checkpoint says {} of size {size}",
                edge.head().root,
                edge.head().size,
                checkpoint.head.root
            )));
        }
        // What the checkpoint names must be there before it is.
        fs::File::open(&self.dir)
            .and_then(|d| rustix::fs::syncfs(d).map_err(Into::into))
            .map_err(system("cannot sync the export"))?;
        let path = self.dir.join("checkpoint");
        write_private(&path, &note, true)
            .and_then(|()| set_readable(&path))
            .map_err(system(format_args!("cannot write {}", path.display())))?;
        out.say(
            format!("{size} entries of {} in {} new files: {}", checkpoint.origin, files + 1, self.dir.display()),
            json!({ "origin": checkpoint.origin.as_str(), "size": size, "root": checkpoint.head.root.to_base64(), "new_files": files + 1, "dir": path_value(&self.dir) }),
        )
    }

    fn source(&self) -> Result<Source, Failure> {
        if let Some(url) = &self.url {
            let client = reqwest::Client::builder().build().map_err(|e| Failure::new(Exit::System, e))?;
            return Ok(Source::Web { client, base: url.trim_end_matches('/').to_owned(), runtime: runtime()? });
        }
        let which = self
            .which
            .as_ref()
            .ok_or_else(|| Failure::new(Exit::Usage, "which log?").next("name it with --config FILE or --url URL"))?;
        let config = which.load()?.config;
        let failed = |e: &dyn std::fmt::Display| Failure::new(Exit::System, format!("cannot open the log: {e}"));
        let lock = Lock::acquire(&config.log_dir().join("lock")).map_err(|error| match error {
            LockError::Locked { .. } => Failure::new(Exit::InUse, &error)
                .next(format!("export it while it runs: solelog export --url http://{} DIR", config.listen)),
            LockError::Failed { .. } => failed(&error),
        })?;
        let disk: Arc<dyn disk::Disk> = disk::real();
        let objects = Objects::open(&disk, &config.log_dir()).map_err(|e| failed(&e))?;
        Ok(Source::Folder { objects, _lock: lock })
    }

    /// Writes one object, unless it is there. Gives how many files were written.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<u64, Failure> {
        let file = self.dir.join(path.path());
        let failed = system(format!("cannot write {}", file.display()));
        if fs::metadata(&file).is_ok_and(|m| m.len() == bytes.len() as u64) {
            return match fs::read(&file) {
                Ok(there) if there == bytes => Ok(0),
                Ok(_) => Err(Failure::new(Exit::Failed, format!("{} is there with other bytes", file.display()))
                    .next("is this the export of another log? choose an empty folder")),
                Err(error) => Err(failed(error)),
            };
        }
        let written = match file.parent() {
            Some(folder) => fs::create_dir_all(folder).and_then(|()| fs::write(&file, bytes)),
            None => fs::write(&file, bytes),
        };
        written.map(|()| 1).map_err(failed)
    }
}

/// The bundle of that number in a tree of that size.
fn at(index: u64, size: TreeSize) -> Option<Path> {
    EntriesPath::at(index, size).map(Path::Entries)
}

fn set_readable(path: &File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}
