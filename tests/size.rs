//! A log of many entries opens at once, holds no memory for each, and stores little more than it has to.
//!
//! `SOLELOG_ENTRIES=1000000 cargo test --release --test size -- --nocapture` measures a large one (default 20,000).

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use solelog::engine::{Engine, MAX_BATCH};
use solelog::folder::ViewChoice;
use solelog::store::{disk, journal};
use solelog::submission::Until;
use support::*;
use tlog::LeafHash;

/// Resident memory of this process, in KiB.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap_or_default().to_owned();
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// What is not there for each entry: the journal's segment in use and the one made ahead, the keys' zeros, and snapshots.
const FIXED: u64 = (32 << 20) + (2 << 20) + (1 << 20);

/// The bytes of a log, by kind of file.
fn bytes(dir: &Path, kind: &str, sizes: &mut BTreeMap<String, u64>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        // Of the folders those that hold one kind of file, of the files those beside them.
        let kind = match kind {
            "" => name.trim_end_matches(".0").trim_end_matches(".1").to_owned(),
            "tile" if name == "entries" => "entries".to_owned(),
            kind => kind.to_owned(),
        };
        if entry.file_type().unwrap().is_dir() {
            bytes(&entry.path(), &kind, sizes);
        } else {
            *sizes.entry(kind).or_default() += entry.metadata().unwrap().len();
        }
    }
}

/// Storage stays within 1.10 times what has to be stored; the view may be deleted, and is counted apart.
fn stored(dir: &Path, entries: u64) {
    let mut sizes = BTreeMap::new();
    bytes(dir, "", &mut sizes);
    for (kind, bytes) in &sizes {
        println!(
            "{kind:>16} {:>8.1} MiB {:>7.1} B per entry",
            *bytes as f64 / 1048576.0,
            *bytes as f64 / entries as f64
        );
    }
    let of = |kind: &str| sizes.get(kind).copied().unwrap_or(0);
    let total: u64 = sizes.iter().filter(|(kind, _)| *kind != "view").map(|(_, bytes)| bytes).sum();
    // A sealed opening has a length and a tag around it, an entry a length.
    let needed = of("entries") - 2 * entries + of("evidence") - 20 * entries + 32 * entries + 322 * entries / 10;
    println!(
        "{:>16} {:>8.2} of what is needed, and {} MiB once",
        "stored",
        (total - FIXED.min(total)) as f64 / needed as f64,
        FIXED >> 20
    );
    assert!(total <= needed * 110 / 100 + FIXED, "{total} bytes for {needed}: {sizes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_log_opens_without_reading_it() {
    let entries: u64 = std::env::var("SOLELOG_ENTRIES").ok().and_then(|n| n.parse().ok()).unwrap_or(20_000);
    let rig = Rig::on(disk::real(), ViewChoice::default());
    rig.create();
    let config = || {
        let mut config = rig.config();
        config.journal = journal::Options { segment_bytes: 16 << 20 };
        config.pace.patience = Duration::from_secs(120);
        config
    };
    let engine = Engine::open(config()).await.unwrap();
    let (began, mut written) = (Instant::now(), 1);
    while written < entries {
        let batch: Vec<_> =
            (0..(MAX_BATCH as u64).min(entries - written)).map(|i| event(&format!("event {i}"))).collect();
        written += batch.len() as u64;
        for answer in engine.append_batch(batch, Until::Sequenced).await {
            answer.unwrap();
        }
    }
    let took = began.elapsed();
    println!(
        "{entries} entries in {took:.1?}: {:.0}/s, resident {} MiB",
        entries as f64 / took.as_secs_f64(),
        resident_kib() / 1024
    );
    let began = Instant::now();
    engine.shutdown().await;
    println!("shut down in {:.1?}", began.elapsed());
    drop(engine);
    stored(&rig.dir, entries);

    let before = resident_kib();
    let began = Instant::now();
    let engine = Engine::open(config()).await.unwrap();
    println!(
        "opened in {:.1?}, resident {} MiB (before: {} MiB)",
        began.elapsed(),
        resident_kib() / 1024,
        before / 1024
    );
    let head = engine.heads().integrated.head;
    assert_eq!(head.size.get(), entries);
    let began = Instant::now();
    for i in 0..1000 {
        let index = at(i * (entries / 1000));
        let leaf = LeafHash::of(&engine.entry(index).unwrap());
        engine.inclusion(index, head.size).unwrap().verify(leaf, index, &head).unwrap();
    }
    println!(
        "1000 entries with proofs, all over the log: {:.1?}; resident {} MiB",
        began.elapsed(),
        resident_kib() / 1024
    );
    let began = Instant::now();
    engine.append(event("one more"), Until::Integrated).await.unwrap();
    engine.shutdown().await;
    println!("one more and shut down: {:.1?}", began.elapsed());
}
