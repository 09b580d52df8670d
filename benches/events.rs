//! How a log grows: events appended through the engine, then opened again in a process of its own.
//!
//! ```text
//! cargo bench --bench events -- 10000 1000000
//! ```
//!
//! For each size: appends so many salted events (sealed openings, index keys, tiles, view, the lot), closes the log, and
//! starts itself again on the folder to measure what opening it takes and what it keeps in memory.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use scal3::event::{Detail, Event};
use scal3::genesis::Genesis;
use scal3::{Hash, cbor, tagged};
use solelog::engine::{Config, Engine, MAX_BATCH};
use solelog::submission::{Submission, Until};
use tlog::key::{KeyName, Signer};
use tlog::{LeafHash, LeafIndex, TreeSize};

const ORIGIN: &str = "bench.example/log";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("runtime");
    if let [first, dir] = arguments.as_slice()
        && first == "open"
    {
        return runtime.block_on(open(Path::new(dir)));
    }
    let sizes: Vec<u64> = arguments.iter().map(|a| a.parse().expect("a number of entries")).collect();
    for size in if sizes.is_empty() { vec![10_000] } else { sizes } {
        let folder = tempfile::tempdir().expect("folder");
        runtime.block_on(make(folder.path(), size));
        let status = Command::new(std::env::current_exe().expect("this program"))
            .arg("open")
            .arg(folder.path())
            .stdout(Stdio::inherit())
            .status()
            .expect("started");
        assert!(status.success(), "opening failed");
        println!("  disk             {:>8.1} MiB", bytes(folder.path()) as f64 / f64::from(1 << 20));
    }
}

fn config(dir: &Path) -> Config {
    let mut config = Config::new(dir.join("log"), Signer::note(KeyName::new(ORIGIN).expect("name"), &[1; 32]));
    config.high_water = Some(dir.join("high-water"));
    config
}

/// A log of that many events.
async fn make(dir: &Path, size: u64) {
    let genesis = Genesis {
        origin: ORIGIN.into(),
        issuing_keys: vec![GENERATOR],
        policy: br#"{"version":1,"rules":[]}"#.to_vec(),
    };
    Engine::create(&config(dir), &genesis).expect("created");
    let engine = Engine::open(config(dir)).await.expect("opened");
    let began = Instant::now();
    let mut done = 0;
    while done < size {
        let count = (size - done).min(MAX_BATCH as u64);
        let batch = (done..done + count).map(event).collect();
        for answer in engine.append_batch(batch, Until::Sequenced).await {
            answer.expect("appended");
        }
        done += count;
    }
    let appended = began.elapsed();
    let mut state = engine.subscribe();
    state.wait_for(|s| s.heads.integrated.head.size.get() == size + 1).await.expect("integrated");
    println!("{size} events");
    println!("  append           {:>8.0} per second, durable", size as f64 / appended.as_secs_f64());
    println!("  all integrated   {:>8.2} s after the last answer", (began.elapsed() - appended).as_secs_f64());
    println!("  memory           {:>8.1} MiB after making it", resident());
    engine.shutdown().await;
}

fn event(number: u64) -> Submission {
    let event = Event {
        name: "attempt.failed".into(),
        stream: None,
        detail: Detail::Text(format!("sign-in attempt {number}")),
    };
    let mut key = tagged("solelog/bench/v1", &number.to_be_bytes());
    // Index keys of all but status entries have the highest bit clear.
    key.0[0] &= 0x7f;
    Submission::Event { body: cbor::encode(&event.to_body()), index_key: Some(key) }
}

/// What it takes to open the log, and to read from it.
async fn open(dir: &Path) {
    let before = resident();
    let began = Instant::now();
    let engine = Engine::open(config(dir)).await.expect("opened");
    let opened = began.elapsed();
    let head = engine.heads().integrated.head;
    println!("  open             {:>8.0} ms to a signed head of {} entries", opened.as_secs_f64() * 1e3, head.size);
    println!("  memory           {:>8.1} MiB after opening, {before:.1} before", resident());
    const PROOFS: u64 = 2_000;
    let mut took = Duration::ZERO;
    for number in 0..PROOFS {
        let place = number * 2_654_435_761 % head.size.get();
        let index = LeafIndex::new(place).expect("index");
        let began = Instant::now();
        let proof = engine.inclusion(index, head.size).expect("proof");
        let entry = engine.entry(index).expect("entry");
        took += began.elapsed();
        proof.verify(LeafHash::of(&entry), index, &head).expect("verifies");
        if place > 0 {
            let Submission::Event { index_key: Some(key), .. } = event(place - 1) else { unreachable!("it has a key") };
            assert_eq!(engine.lookup(&Hash(key.0)).expect("looked up"), Some(index));
        }
    }
    let old = TreeSize::new(head.size.get() / 3).expect("size");
    engine.consistency(old, head.size).expect("proof");
    println!("  entry and proof  {:>8.1} µs each, at random places", took.as_secs_f64() * 1e6 / PROOFS as f64);
    println!("  memory           {:>8.1} MiB after {PROOFS} reads", resident());
    engine.shutdown().await;
}

/// Resident memory of this process, MiB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).expect("KiB") / 1024.0
}

/// Bytes under a folder.
fn bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("folder").map(|entry| entry.expect("entry"));
    entries
        .map(|entry| {
            let meta = entry.metadata().expect("metadata");
            if meta.is_dir() { bytes(&entry.path()) } else { meta.len() }
        })
        .sum()
}

/// The generator of P-256: a public key like any other, whose owner issues nothing here.
const GENERATOR: [u8; 33] = [
    0x03, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2, 0x77, 0x03,
    0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96,
];
