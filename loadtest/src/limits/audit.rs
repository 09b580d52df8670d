//! The whole log read again: with its signatures, against one record after another; its hashes alone, against hashing the
//! same bytes once; and how much of the disk it takes, against what has to be there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use tlog::tile::{EntriesPath, Tile};
use tlog::{Frontier, Hash, LeafHash, TreeHead, bundle, tile};

use super::append::Stage;
use super::engines;
use super::figures::{Figures, rounded};
use super::{Scale, median};
use crate::Error;

/// Records that the naive audit is measured with.
const SAMPLE: usize = 256;

/// `solelog rebuild`: every record verified, every rule applied, the view made again.
pub fn whole(stage: &Stage, scale: &Scale, figures: &mut Figures) -> Result<(), Error> {
    let (began, mut took, mut entries) = (Instant::now(), Vec::new(), 0);
    while took.len() < scale.rounds && (took.is_empty() || began.elapsed() < scale.auditing) {
        let began = Instant::now();
        let said = stage.log.program.run(&["--json", "rebuild", "--config", stage.log.config()?])?;
        took.push(began.elapsed().as_secs_f64());
        entries = said["size"].as_u64().unwrap_or(0);
    }
    // Of each person two entries are statuses, and the genesis is nobody's.
    let records = entries.saturating_sub(1 + 2 * scale.people as u64);
    let sample = engines::records(SAMPLE.min(16 * scale.rounds * scale.rounds))?;
    let mut naive = Vec::new();
    for _ in 0..scale.rounds {
        naive.push(engines::naive(&sample)? / sample.len() as f64);
    }
    let (runs, ours) = (took.len(), median(took));
    let naive = median(naive);
    figures.set("audit_vs_naive", naive * records as f64 / ours);
    figures.count("audit_records", records);
    figures.count("audit_runs", runs);
    figures.count("audit_records_per_s", rounded(records as f64 / ours));
    figures.count("naive_records_per_s", rounded(1.0 / naive));
    Ok(())
}

/// The hash-only audit, and the disk.
pub fn hashes(stage: &Stage, scale: &Scale, figures: &mut Figures) -> Result<(), Error> {
    let root = public(&stage.log.data)?;
    let head = published(&root)?;
    let size = head.size.get();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (mut ours, mut alone, mut bare, mut read) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..scale.rounds {
        for (threads, took) in [(cores, &mut ours), (1, &mut alone)] {
            let began = Instant::now();
            if rebuilt(&root, size, threads)? != head.root {
                return Err(Error::Wrong("the entries do not make the root that was signed".to_owned()));
            }
            took.push(began.elapsed().as_secs_f64());
        }
        let began = Instant::now();
        bare.push(hashed(&root, size)?.as_secs_f64());
        read.push(began.elapsed().as_secs_f64());
    }
    let (ours, alone, bare, read) = (median(ours), median(alone), median(bare), median(read));
    figures.set("hash_audit_vs_sha256", bare / ours);
    figures.count("hash_audit_entries", size);
    figures.count("hash_audit_threads", cores);
    figures.count("hash_audit_entries_per_s", rounded(size as f64 / ours));
    figures.count("hash_audit_one_thread_vs_sha256", rounded(bare / alone));
    figures.count("hash_audit_vs_sha256_of_files", rounded(read / ours));
    stored(&stage.log.data, size, figures);
    Ok(())
}

/// The folder inside the log's that the world reads: where the checkpoint is.
fn public(data: &Path) -> Result<PathBuf, Error> {
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        if folder.join("checkpoint").is_file() && folder.join("tile").is_dir() {
            return Ok(folder);
        }
        let inside = fs::read_dir(&folder).map_err(|e| Error::System(format!("{}: {e}", folder.display())))?;
        folders.extend(inside.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()));
    }
    Err(Error::System(format!("no checkpoint below {}", data.display())))
}

fn published(root: &Path) -> Result<TreeHead, Error> {
    let note = tlog::note::Note::parse(&read(&root.join("checkpoint"))?).map_err(|e| Error::Wrong(e.to_string()))?;
    Ok(tlog::checkpoint::Checkpoint::parse_text(note.text()).map_err(|e| Error::Wrong(e.to_string()))?.head)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|e| Error::System(format!("{}: {e}", path.display())))
}

/// The bundle of that number in a log of that size. The widest that is there may be wider than what is asked for.
fn entries(root: &Path, number: u64, size: u64) -> Result<Vec<u8>, Error> {
    let full = u64::from(Tile::FULL);
    let width = (size - number * full).min(full) as u16;
    let at = EntriesPath { index: number, width };
    if at.is_full() {
        return read(&root.join(at.path()));
    }
    match fs::read(root.join(at.path())).or_else(|_| fs::read(root.join(at.full().path()))) {
        Ok(bytes) => {
            bundle::prefix(&bytes, width).map(<[u8]>::to_vec).ok_or_else(|| Error::Wrong("a short bundle".to_owned()))
        }
        Err(e) => Err(Error::System(format!("{}: {e}", at.path()))),
    }
}

/// The root of all entries, made from their bundles: full bundles on so many threads, each one subtree.
fn rebuilt(root: &Path, size: u64, threads: usize) -> Result<Hash, Error> {
    let bundles = size / u64::from(Tile::FULL);
    let share = bundles.div_ceil(threads as u64).max(1);
    let subtree = |number: u64| -> Result<Hash, Error> {
        let bytes = entries(root, number, size)?;
        let leaves = bundle::parse(&bytes).map_err(|e| Error::Wrong(e.to_string()))?;
        let mut tile = Vec::with_capacity(Tile::FULL_BYTES);
        leaves.into_iter().for_each(|entry| tile.extend_from_slice(&LeafHash::of(entry).0));
        Ok(tile::root(&tile))
    };
    let subtrees: Vec<Hash> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads as u64)
            .map(|thread| {
                let numbers = thread * share..((thread + 1) * share).min(bundles);
                scope.spawn(move || numbers.map(subtree).collect::<Result<Vec<Hash>, Error>>())
            })
            .collect();
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().map_err(|_| Error::System("a thread died".to_owned()))??);
        }
        Ok::<_, Error>(all)
    })?;
    let mut right = Frontier::new();
    if !size.is_multiple_of(u64::from(Tile::FULL)) {
        let bytes = entries(root, bundles, size)?;
        for entry in bundle::parse(&bytes).map_err(|e| Error::Wrong(e.to_string()))? {
            right.push(LeafHash::of(entry)).map_err(|e| Error::Wrong(e.to_string()))?;
        }
    }
    Ok(joined(subtrees, (right.size().get() > 0).then(|| right.root())))
}

/// The root above full subtrees of one size, and a smaller one to their right.
fn joined(mut subtrees: Vec<Hash>, mut right: Option<Hash>) -> Hash {
    while subtrees.len() > 1 || (subtrees.len() == 1 && right.is_some()) {
        if subtrees.len() % 2 == 1 {
            let last = subtrees.pop();
            right = match (last, right) {
                (Some(last), Some(right)) => Some(Hash::node(&last, &right)),
                (last, right) => last.or(right),
            };
        }
        subtrees = subtrees.chunks_exact(2).map(|pair| Hash::node(&pair[0], &pair[1])).collect();
    }
    subtrees.pop().or(right).unwrap_or(Hash::EMPTY_ROOT)
}

/// How long one thread takes to hash the bytes of all bundles, once they have been read.
fn hashed(root: &Path, size: u64) -> Result<Duration, Error> {
    let mut took = Duration::ZERO;
    let mut hash = Sha256::new();
    for number in 0..size.div_ceil(u64::from(Tile::FULL)) {
        let bytes = entries(root, number, size)?;
        let began = Instant::now();
        hash.update(&bytes);
        took += began.elapsed();
    }
    std::hint::black_box(hash.finalize());
    Ok(took)
}

/// What is on the disk, against entries, openings and 32.2 bytes of tiles for each entry. The view, which can be made
/// again, and what `init` made are counted apart.
fn stored(data: &Path, size: u64, figures: &mut Figures) {
    let mut sizes = BTreeMap::new();
    bytes(&data.join("log"), "", &mut sizes);
    let of = |kind: &str| sizes.get(kind).copied().unwrap_or(0);
    let stored: u64 = sizes.iter().filter(|(kind, _)| kind.as_str() != "view").map(|(_, bytes)| bytes).sum();
    // A sealed opening has a length and a tag around it, an entry a length: neither has to be there.
    let openings = of("evidence").saturating_sub(20 * size);
    let needed = of("entries").saturating_sub(2 * size) + openings + size * 322 / 10;
    figures.set("storage_vs_needed", stored as f64 / needed as f64);
    for (kind, bytes) in &sizes {
        figures.count(&format!("stored_{kind}_bytes"), *bytes);
    }
    figures.count("stored_bytes", stored);
    figures.count("needed_bytes", needed);
}

/// The bytes of a folder by kind of file, as the log's folder is laid out.
fn bytes(folder: &Path, kind: &str, sizes: &mut BTreeMap<String, u64>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = match kind {
            "" => name.trim_end_matches(".0").trim_end_matches(".1").to_owned(),
            "tile" if name == "entries" => "entries".to_owned(),
            kind => kind.to_owned(),
        };
        match entry.metadata() {
            Ok(found) if found.is_dir() => bytes(&entry.path(), &kind, sizes),
            Ok(found) => *sizes.entry(kind).or_default() += found.len(),
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subtrees_join_to_the_root_of_their_leaves() {
        for leaves in 1..70_u64 {
            let leaf = |number: u64| LeafHash::of(&number.to_be_bytes());
            let mut whole = Frontier::new();
            (0..leaves).for_each(|number| whole.push(leaf(number)).expect("small"));
            // Subtrees of four leaves.
            let four = |number: u64| {
                let mut tree = Frontier::new();
                (4 * number..4 * number + 4).for_each(|number| tree.push(leaf(number)).expect("small"));
                tree.root()
            };
            let mut right = Frontier::new();
            (leaves / 4 * 4..leaves).for_each(|number| right.push(leaf(number)).expect("small"));
            let right = (right.size().get() > 0).then(|| right.root());
            assert_eq!(joined((0..leaves / 4).map(four).collect(), right), whole.root(), "{leaves}");
        }
    }
}
