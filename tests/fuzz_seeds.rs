//! The seeds of the fuzzers through every target, and a few thousand changed copies of them: what a fuzzer has found
//! once is looked at in every run of the tests. `fuzz/README.md` says how to fuzz.
//!
//! `SOLELOG_UPDATE=1` writes the seeds anew, from the project's own vectors and from objects made here.

#[path = "../fuzz/targets.rs"]
#[allow(dead_code, reason = "the binaries of the fuzzers call targets by name")]
mod targets;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use p256::SecretKey;
use scal3::index_key::LabelSecret;
use scal3::{Hash, Profile};
use solelog::authority::kept::Kept;
use solelog::authority::ticket::Ticket;
use solelog::keys::SoftKeys;
use threshold::{MasterSecret, Shares};

use targets::Target;

/// How many changed copies each target gets.
const CHANGES: u64 = 2_000;
const SEEDS_MAX: usize = 40;
const SEED_LEN_MAX: usize = 4096;

/// What only the server reads. A fuzzing build would have to compile all of it.
const SERVERS: &[Target] = &[("ticket", ticket), ("kept", kept)];

const ENROLMENT: Hash = Hash([1; 32]);
const CREDENTIAL: Hash = Hash([2; 32]);
const NOW_MS: u64 = 1_760_000_000_000;

fn keys() -> SoftKeys {
    let masters = BTreeMap::from([(0, MasterSecret::from_bytes([7; 32]))]);
    let issuing = SecretKey::from_slice(&[0x31; 32]).expect("a scalar");
    SoftKeys::new(masters, &issuing, None).expect("keys")
}

fn ticket(data: &[u8]) {
    let Ok(ticket) = Ticket::open(data, &keys(), &ENROLMENT) else { return };
    assert_eq!(ticket.to_bytes(&keys(), &ENROLMENT).expect("keys"), data);
    assert_eq!(data, good_ticket(), "nobody else can make one");
}

fn kept(data: &[u8]) {
    let Ok(kept) = Kept::open(&keys(), &ENROLMENT, &CREDENTIAL, data) else { return };
    let nonce = data[5..17].try_into().expect("12 bytes");
    assert_eq!(kept.seal(&keys(), &ENROLMENT, &CREDENTIAL, nonce).expect("keys"), data);
    assert_eq!(data, good_kept(), "nobody else can seal");
}

fn good_ticket() -> Vec<u8> {
    let ticket = Ticket {
        epoch: 0,
        issued_ms: NOW_MS,
        not_after_ms: NOW_MS + 1,
        subject: Hash([3; 32]),
        provider: Hash([4; 32]),
        predecessor: None,
        ordinal: 0,
        recovers: false,
        issuer: "Example Trust".into(),
    };
    ticket.to_bytes(&keys(), &ENROLMENT).expect("keys")
}

fn good_kept() -> Vec<u8> {
    let kept = Kept {
        epoch: 0,
        profile: Profile::EcSdsa,
        joint_key: [2; 33],
        shares: Shares::parse(&[7; Shares::LEN]).expect("the length"),
        label_secret: LabelSecret::from_bytes([9; 32]),
    };
    kept.seal(&keys(), &ENROLMENT, &CREDENTIAL, [5; 12]).expect("keys")
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The seeds of one target, by name.
fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = root().join("fuzz/seeds").join(target);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), std::fs::read(path).expect("a seed"))).collect()
}

/// Numbers that look random and are the same each time (xorshift64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(end.max(1)).expect("small")).expect("small")
    }

    /// One to four changes: a bit, a byte, a piece gone, a piece twice, the end cut off, a piece of another seed.
    fn change(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            let to = (at + 1 + self.below(8)).min(bytes.len());
            match (self.below(6), bytes.get_mut(at)) {
                (0, Some(byte)) => *byte ^= 1 << self.below(8),
                (1, Some(byte)) => *byte = [0, 1, 0x7f, 0x80, 0xff, b'\n'][self.below(6)],
                (2, Some(_)) => drop(bytes.drain(at..to)),
                (3, Some(_)) => bytes.splice(at..at, bytes[at..to].to_vec()).for_each(drop),
                (4, Some(_)) => bytes.truncate(at),
                _ => {
                    let from = self.below(other.len());
                    let piece = &other[from..(from + self.below(64)).min(other.len())];
                    bytes.splice(at..at, piece.iter().copied()).for_each(drop);
                }
            }
        }
    }
}

fn all_targets() -> impl Iterator<Item = &'static Target> {
    targets::TARGETS.iter().chain(SERVERS)
}

#[test]
fn every_seed_and_its_changed_copies_pass_every_target() {
    std::thread::scope(|scope| {
        for (name, target) in all_targets() {
            scope.spawn(move || {
                let seeds = seeds(name);
                for (path, seed) in &seeds {
                    println!("{}", path.display());
                    target(seed);
                }
                let mut numbers = Numbers(0x5eed);
                for number in 0..CHANGES {
                    let mut bytes = seeds[numbers.below(seeds.len())].1.clone();
                    let other = &seeds[numbers.below(seeds.len())].1;
                    numbers.change(&mut bytes, other);
                    let run = std::panic::catch_unwind(|| target(&bytes));
                    assert!(run.is_ok(), "{name}: change {number} gave {}", hex::encode(&bytes));
                }
            });
        }
    });
}

#[test]
fn the_seeds_are_few_and_small_and_each_has_a_target() {
    if std::env::var("SOLELOG_UPDATE").as_deref() == Ok("1") {
        write_seeds();
    }
    let mut folders: Vec<_> = std::fs::read_dir(root().join("fuzz/seeds")).expect("seeds").collect();
    folders.retain(|folder| folder.as_ref().is_ok_and(|folder| folder.path().is_dir()));
    assert_eq!(folders.len(), all_targets().count());
    for (name, _) in all_targets() {
        let seeds = seeds(name);
        assert!((1..=SEEDS_MAX).contains(&seeds.len()), "{name}: {} seeds", seeds.len());
        for (path, seed) in seeds {
            assert!(seed.len() <= SEED_LEN_MAX, "{}: {} bytes", path.display(), seed.len());
        }
    }
    for (name, _) in targets::TARGETS {
        assert!(root().join(format!("fuzz/bins/{name}.rs")).is_file(), "{name} has a binary");
    }
}

fn write_seeds() {
    let folder = |target: &str| root().join("fuzz/seeds").join(target);
    let write = |target: &str, name: &str, bytes: &[u8]| {
        std::fs::create_dir_all(folder(target)).expect("a folder");
        if bytes.len() <= SEED_LEN_MAX {
            std::fs::write(folder(target).join(name), bytes).expect("a file");
        }
    };
    let vectors = root().join("schemas/vectors");
    for (from, target) in [
        ("opening", "submitted"),
        ("other-opening", "submitted"),
        ("metadata", "metadata"),
        ("instruction", "instruction"),
        ("credential", "credential"),
        ("credential", "cose"),
        ("claims", "claims"),
        ("entry", "entry"),
        ("genesis", "bodies"),
        ("key", "bodies"),
        ("authenticator", "authenticator"),
        ("policy", "rules"),
    ] {
        for (name, bytes) in cases(&vectors.join(from)) {
            write(target, &format!("{from}-{name}"), &bytes);
        }
    }
    for (target, name, bytes) in targets::made() {
        write(target, name, &bytes);
    }
    write("ticket", "made", &good_ticket());
    write("ticket", "short", &good_ticket()[..84]);
    write("kept", "made", &good_kept());
    write("kept", "short", &good_kept()[..17]);
}

/// Every valid case of a folder of vectors, up to eight, and the first case of each file of faults, up to eight.
fn cases(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("vectors").map(|file| file.expect("a file").path()).collect();
    files.sort();
    let mut cases = Vec::new();
    let mut faults = 0;
    for file in files {
        let vectors: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).expect("vectors")).expect("JSON");
        let stem = file.file_stem().expect("a name").to_string_lossy().into_owned();
        faults += usize::from(stem != "valid");
        let most = if stem == "valid" { 8 } else { usize::from(faults <= 8) };
        for case in vectors["cases"].as_array().expect("cases").iter().take(most) {
            let name = format!("{stem}-{}", case["id"].as_str().expect("an id"));
            // Some cases are about hashes alone.
            if let Some(bytes) = case["hex"].as_str() {
                cases.push((name, hex::decode(bytes).expect("hex")));
            }
        }
    }
    cases
}
