//! A full audit, beside the bare cost of what it can't do without.
//!
//! ```console
//! $ cargo bench -p solelog-monitor             # 1,000,000 entries and 100,000 records; some minutes to make them
//! $ AUDIT_ENTRIES=100000 AUDIT_RECORDS=5000 cargo bench -p solelog-monitor
//! ```
//!
//! The log is a folder (`file://`), so that no HTTP is measured. Figures are CPU time of the whole process, all threads:
//! that is what an audit costs, and it holds on a machine that others use too. Audit and bare are measured in turn, and
//! of each the best round counts.

#[path = "../tests/stage/mod.rs"]
mod stage;

use std::fs;
use std::hint::black_box;
use std::path::Path;

use monitor::{Class, Monitor, Options};
use scal3::batch::{Job, VerifyBatch};
use scal3::opening::commitment;
use scal3::verify::Submitted;
use scal3::{Entry, Kind, tagged};
use stage::people::{Log, Person};
use stage::{TOKEN, note, policy};
use tlog::tile::EntriesPath;
use tlog::tree::TreeHead;
use tlog::{Edge, Frontier, LeafHash, bundle, text};
use verifier::{Choice, Engine};

const ROUNDS: usize = 5;

/// Records that one person makes.
const EACH: u64 = 100;

fn main() {
    // `cargo test --benches` runs this too, and wants it over soon.
    let bench = std::env::args().any(|arg| arg == "--bench");
    let count = |name: &str, whole: u64| {
        let given = std::env::var(name).ok().and_then(|text| text.parse().ok());
        given.unwrap_or(if bench { whole } else { whole / 1000 })
    };
    let dir = tempfile::tempdir().expect("a folder");
    hash_only(&dir.path().join("entries"), count("AUDIT_ENTRIES", 1_000_000));
    whole(&dir.path().join("records"), count("AUDIT_RECORDS", 100_000));
}

/// CPU time of this process so far, in seconds.
fn cpu() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("/proc");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
    // User and system time, in hundredths of a second.
    fields[11..13].iter().map(|ticks| ticks.parse::<f64>().expect("a number")).sum::<f64>() / 100.0
}

fn timed<T>(best: &mut f64, work: impl FnOnce() -> T) -> T {
    let before = cpu();
    let done = work();
    *best = best.min(cpu() - before);
    done
}

/// Writes a log as files.
fn publish(dir: &Path, entries: &[Vec<u8>]) -> TreeHead {
    let mut edge = Edge::new();
    let write = |path: &str, bytes: &[u8]| {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, bytes).expect("a file");
    };
    for entry in entries {
        edge.push(LeafHash::of(entry)).expect("room");
    }
    for (tile, bytes) in edge.take_full().into_iter().chain(edge.partial()) {
        write(&tile.path(), &bytes);
    }
    for (index, chunk) in (0..).zip(entries.chunks(256)) {
        let mut bytes = Vec::new();
        for entry in chunk {
            bundle::push(&mut bytes, entry).expect("short");
        }
        write(&EntriesPath { index, width: chunk.len() as u16 }.path(), &bytes);
    }
    write("checkpoint", &note(edge.head()).to_bytes());
    edge.head()
}

fn audit(dir: &Path, options: Options) -> monitor::Report {
    let url = format!("file://{}", dir.display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let report = runtime.block_on(Monitor::new(policy(), &url, options).expect("a monitor").pass());
    assert_eq!(report.class(), Class::Ok, "{report}");
    report
}

fn hash_only(dir: &Path, size: u64) {
    let entries: Vec<Vec<u8>> = (0..size)
        .map(|n| {
            Entry::committed(Kind::Event, 1_760_000_000_000 + n, tagged("bench", &n.to_be_bytes()), None).to_bytes()
        })
        .collect();
    let head = publish(dir, &entries);
    let (mut ours, mut bare) = (f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        let report = timed(&mut ours, || audit(dir, Options { plain: true, ..Options::default() }));
        assert_eq!(report.entries, size);
        let root = timed(&mut bare, || {
            let mut frontier = Frontier::new();
            for entry in &entries {
                let _ = frontier.push(LeafHash::of(entry));
            }
            frontier.head()
        });
        assert_eq!(root, head);
    }
    say("hash-only", "entries", size, ours, bare);
}

fn whole(dir: &Path, records: u64) {
    let log = log_of(records);
    let size = log.entries.len() as u64;
    publish(dir, &log.entries);
    fs::create_dir_all(dir.join("v1/records")).expect("a folder");
    for (index, opening) in log.openings.iter().enumerate() {
        if let Some(opening) = opening {
            let answer = serde_json::json!({ "opening": { "state": "shown", "bytes": text::to_base64(opening) } });
            fs::write(dir.join(format!("v1/records/{index}")), answer.to_string()).expect("a file");
        }
    }
    let jobs = jobs_of(&log);
    let engine = Engine::new(Choice::default()).expect("an engine");
    let (mut ours, mut bare, mut hashing) = (f64::MAX, f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        let token = Some(monitor::Token::new(TOKEN).expect("a token"));
        let report = timed(&mut ours, || audit(dir, Options { token, ..Options::default() }));
        assert_eq!((report.entries, report.verified, report.unverifiable), (size, jobs.len() as u64, 0));
        timed(&mut bare, || {
            for jobs in jobs.chunks(256) {
                assert!(black_box(engine.verify_batch(jobs)).iter().all(Result::is_ok));
            }
        });
        timed(&mut hashing, || {
            let mut frontier = Frontier::new();
            for entry in &log.entries {
                let _ = frontier.push(LeafHash::of(entry));
            }
            black_box(frontier.head())
        });
    }
    say("whole audit", "records", jobs.len() as u64, ours, bare + hashing);
}

fn say(what: &str, unit: &str, count: u64, ours: f64, bare: f64) {
    let per = |seconds: f64| count as f64 / seconds.max(0.005);
    println!(
        "{what}: {count} {unit}; audit {ours:.2} s ({:.0} per CPU second), bare {bare:.2} s ({:.0}); ratio {:.2}",
        per(ours),
        per(bare),
        bare / ours.max(0.005),
    );
}

/// The signatures of all records of a log, as an engine takes them.
fn jobs_of(log: &Log) -> Vec<Job> {
    let records = log.openings.iter().flatten().filter_map(|opening| Submitted::parse(opening).ok());
    let bound = records.filter_map(|submitted| {
        let state = log.fold.credential(&submitted.credential_id())?.as_read();
        submitted.bind(state.credential(), stage::ORIGIN).ok()
    });
    bound.map(|bound| bound.job().clone()).collect()
}

/// A log of so many records. Each is verified when it is made, which takes its time.
fn log_of(records: u64) -> Log {
    let mut log = Log::new();
    let mut left = records;
    for n in 0.. {
        if left == 0 {
            break;
        }
        let person = Person::new(&format!("person {n}"), scal3::Profile::EcSdsa);
        log.issue(&person);
        log.activate(&person);
        left -= 1;
        for _ in 0..left.min(EACH - 1) {
            let draft = log.draft(&person);
            let opening = draft.opening();
            let key = Some(draft.metadata.index_key);
            let entry = Entry::committed(Kind::Instruction, log.time_ms, commitment(&opening), key);
            log.push(&entry, Some(&opening));
            left -= 1;
        }
    }
    log
}
