//! `solelog export`: the log as static files, for any web server.
//!
//! Only the checkpoint and the entries are read. Every tile is computed from them, and the checkpoint is written last and
//! only if it is what they make: an export that ends well is right and whole. It has every partial tile and bundle that
//! its checkpoint needs, as C2SP asks of static hosting.
//!
//! A server elsewhere is not trusted: each answer has a limit in bytes, by what it can be at most, and in time. A file has
//! its name only when all of its bytes are on the disk, and a tile or bundle that is there is never replaced.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path as File, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tlog::checkpoint::Checkpoint;
use tlog::note::{MAX_NOTE, Note};
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
    /// How many seconds one answer of that server may take, from connecting to its last byte.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
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
                let unsaid = |error: reqwest::Error| match error.is_timeout() {
                    true => failed(&"no answer in time").next("try again, or allow it longer with --timeout SECONDS"),
                    false => failed(&error),
                };
                let answer = client.get(format!("{base}/{name}")).send().await.map_err(unsaid)?;
                let mut answer = answer.error_for_status().map_err(unsaid)?;
                let (mut bytes, limit) = (Vec::new(), longest(path));
                while let Some(part) = answer.chunk().await.map_err(unsaid)? {
                    if bytes.len() + part.len() > limit {
                        return Err(failed(&format!("the answer is longer than {limit} bytes, the most it can be")));
                    }
                    bytes.extend_from_slice(&part);
                }
                Ok(bytes)
            }),
        }
    }
}

/// The longest that an object can be.
fn longest(path: &Path) -> usize {
    match path {
        Path::Checkpoint => MAX_NOTE,
        Path::Tile(tile) => tile.byte_len(),
        Path::Entries(entries) => usize::from(entries.width) * (2 + bundle::MAX_ENTRY),
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
            let time = Duration::from_secs(self.timeout);
            let client = reqwest::Client::builder().timeout(time).build().map_err(|e| Failure::new(Exit::System, e))?;
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
    ///
    /// The name is made only when the bytes are on the disk, and never taken from another file: an object is immutable,
    /// and what was served under its name once must be served for ever. The names themselves are synced at the end.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<u64, Failure> {
        let file = self.dir.join(path.path());
        let failed = |error| system(format!("cannot write {}", file.display()))(error);
        if is_there(&file, bytes)? {
            return Ok(0);
        }
        let folder = file.parent().unwrap_or(&self.dir);
        fs::create_dir_all(folder).map_err(failed)?;
        let temporary = file.with_file_name(format!(".export.{}.tmp", std::process::id()));
        let made = fs::File::create(&temporary)
            .and_then(|mut made| made.write_all(bytes).and_then(|()| made.sync_all()))
            .and_then(|()| fs::hard_link(&temporary, &file));
        let removed = fs::remove_file(&temporary);
        match made {
            // Somebody was faster. What matters is what is there now.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                is_there(&file, bytes)?.then_some(0).ok_or(failed(error))
            }
            made => made.and(removed).map(|()| 1).map_err(failed),
        }
    }
}

/// Whether a file is there already. One with other bytes is an error: nothing can be written in its place.
fn is_there(file: &File, bytes: &[u8]) -> Result<bool, Failure> {
    let failed = |error| system(format!("cannot read {}", file.display()))(error);
    let length = match fs::metadata(file) {
        Ok(there) => there.len(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed(error)),
    };
    if length == bytes.len() as u64 && fs::read(file).map_err(failed)? == bytes {
        return Ok(true);
    }
    let different = format!(
        "{} is there with other bytes ({length} of them, not {}), and a tile or bundle never changes",
        file.display(),
        bytes.len()
    );
    Err(Failure::new(Exit::Failed, different).next(
        "is this the export of another log, or an old one that was cut short? look at the file, or choose an empty folder",
    ))
}

/// The bundle of that number in a tree of that size.
fn at(index: u64, size: TreeSize) -> Option<Path> {
    EntriesPath::at(index, size).map(Path::Entries)
}

fn set_readable(path: &File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}
