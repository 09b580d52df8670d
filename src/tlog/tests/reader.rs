//! The reader against honest servers, forgetful servers and liars.

use std::collections::BTreeMap;

use tlog::bundle;
use tlog::edge::Edge;
use tlog::hash::LeafHash;
use tlog::reader::{ReadError, Reader};
use tlog::tile::{EntriesPath, Path};
use tlog::tree::{LeafIndex, TreeHead, TreeSize};

/// A log with everything it served for each of its published sizes.
struct Log {
    heads: BTreeMap<u64, TreeHead>,
    files: BTreeMap<Path, Vec<u8>>,
}

fn size(size: u64) -> TreeSize {
    TreeSize::new(size).unwrap()
}

fn entry(seed: &str, index: u64) -> Vec<u8> {
    let mut entry = format!("{seed} {index} ").into_bytes();
    // Of any length, also none.
    entry.resize(((index + 1) * 7 % 61) as usize, b'.');
    entry
}

impl Log {
    /// `seed` decides what the entries are.
    fn new(seed: &str, published: &[u64]) -> Log {
        let mut edge = Edge::new();
        let mut log = Log { heads: BTreeMap::from([(0, TreeHead::EMPTY)]), files: BTreeMap::new() };
        let mut open = Vec::new();
        for size in published {
            for index in edge.size().get()..*size {
                let entry = entry(seed, index);
                edge.push(LeafHash::of(&entry)).unwrap();
                bundle::push(&mut open, &entry).unwrap();
                if index % 256 == 255 {
                    let path = EntriesPath { index: index / 256, width: 256 };
                    log.files.insert(path.into(), std::mem::take(&mut open));
                }
            }
            if let Some(path) = EntriesPath::at(size / 256, edge.size()) {
                log.files.insert(path.into(), open.clone());
            }
            for (tile, bytes) in edge.take_full().into_iter().chain(edge.partial()) {
                log.files.insert(tile.into(), bytes);
            }
            log.heads.insert(*size, edge.head());
        }
        log
    }

    /// Everything but the partial resources whose full one exists.
    fn pruned(mut self) -> Log {
        let full: Vec<Path> = self.files.keys().copied().collect();
        self.files.retain(|path, _| path.full().is_none_or(|path| !full.contains(&path)));
        self
    }

    fn serve(&self, path: Path) -> (Path, Vec<u8>) {
        match (self.files.get(&path), path.full()) {
            (Some(bytes), _) => (path, bytes.clone()),
            (None, Some(full)) => (full, self.files[&full].clone()),
            (None, None) => panic!("{path} was never written"),
        }
    }
}

/// Checks that entries follow on those read before, and are those of the log.
fn follow(reader: &Reader, seed: &str, next: &mut u64, entries: Vec<(LeafIndex, Vec<u8>)>) {
    for (index, bytes) in entries {
        assert_eq!(index.get(), *next);
        assert_eq!(bytes, entry(seed, *next), "entry {next}");
        *next += 1;
    }
    assert_eq!(reader.next_index().get(), *next);
}

const PUBLISHED: [u64; 14] = [1, 2, 5, 255, 256, 257, 300, 511, 512, 1000, 65_535, 65_536, 65_537, 66_100];

fn pairs(log: &Log) -> Vec<(TreeHead, TreeHead)> {
    let heads: Vec<_> = log.heads.values().copied().collect();
    let pairs = heads.iter().flat_map(|from| {
        let later = heads.iter().filter(|to| from.size <= to.size);
        later.map(|to| (*from, *to))
    });
    pairs.collect()
}

#[test]
fn an_honest_log_is_read_to_the_end() {
    let log = Log::new("a", &PUBLISHED);
    for (from, to) in pairs(&log) {
        let long = to.size.get() - from.size.get() > 2000;
        let all: &[u16] = if long { &[7] } else { &[1, 3, 300] };
        for ahead in all {
            let mut reader = Reader::new(from, to).unwrap().ahead(*ahead);
            let mut next = from.size.get();
            let mut asked = 0;
            while !reader.is_done() {
                let wants = reader.wants();
                assert!(!wants.is_empty(), "stuck at {next} from {from:?} to {to:?}");
                for path in wants {
                    // Only what the size implies is asked for, and only once.
                    assert!(log.files.contains_key(&path), "{path}");
                    asked += 1;
                    let entries = reader.supply(path, log.files[&path].clone()).unwrap();
                    follow(&reader, "a", &mut next, entries);
                    // A head between the two that were published is the log's own.
                    if let Some(head) = log.heads.get(&next) {
                        assert_eq!(reader.head(), *head);
                    }
                }
            }
            assert_eq!(next, to.size.get());
            assert_eq!(reader.head(), to);
            assert_eq!(reader.wants(), []);
            let bundles = to.size.get().div_ceil(256) - from.size.get() / 256;
            assert!(asked as u64 <= bundles + 16 + bundles.div_ceil(256), "{asked}");
        }
    }
}

#[test]
fn full_resources_stand_in_for_partial_ones_that_are_gone() {
    let whole = Log::new("a", &PUBLISHED);
    let pruned = Log::new("a", &PUBLISHED).pruned();
    assert!(pruned.files.len() < whole.files.len());
    let mut instead = 0;
    for (from, to) in pairs(&whole) {
        if from.size.get() > 5 && to.size.get() - from.size.get() > 2000 {
            continue;
        }
        let mut reader = Reader::new(from, to).unwrap();
        let mut next = from.size.get();
        while !reader.is_done() {
            for path in reader.wants() {
                let (found, bytes) = pruned.serve(path);
                instead += usize::from(found != path);
                let entries = reader.supply(found, bytes).unwrap();
                follow(&reader, "a", &mut next, entries);
            }
        }
        assert_eq!(reader.head(), to);
    }
    assert!(instead > 20, "{instead}");
}

/// The ways to spoil a file.
fn spoiled(bytes: &[u8], random: u64) -> Vec<Vec<u8>> {
    let mut flipped = bytes.to_vec();
    flipped[random as usize % bytes.len()] ^= 1 << (random >> 32 & 7);
    let mut first = bytes.to_vec();
    first[0] ^= 1;
    let mut long = bytes.to_vec();
    long.push(0);
    vec![
        flipped,
        first,
        bytes[..bytes.len() - 1].to_vec(),
        bytes[..bytes.len() / 2].to_vec(),
        vec![],
        vec![0; bytes.len()],
        long,
    ]
}

#[test]
fn nothing_a_liar_serves_is_ever_read() {
    let log = Log::new("a", &PUBLISHED);
    let mut random = 88_172_645_463_325_252u64;
    let mut caught = BTreeMap::<&str, usize>::new();
    for (from, to) in pairs(&log) {
        // The ends are what matters; the long middle was read above.
        if to.size.get() - from.size.get() > 2000 {
            continue;
        }
        for ahead in [1, 4] {
            let mut reader = Reader::new(from, to).unwrap().ahead(ahead);
            let mut next = from.size.get();
            while !reader.is_done() {
                for path in reader.wants() {
                    let honest = &log.files[&path];
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    for lie in spoiled(honest, random) {
                        if lie == *honest {
                            continue;
                        }
                        let mut lied_to = reader.clone();
                        let mut read = next;
                        let mut errors = 0;
                        // The lie first; the truth for everything else, and for it the second time.
                        let mut supply = |reader: &mut Reader, path, bytes| match reader.supply(path, bytes) {
                            Ok(entries) => follow(reader, "a", &mut read, entries),
                            Err(error) => {
                                errors += 1;
                                *caught.entry(name(&error)).or_default() += 1;
                            }
                        };
                        supply(&mut lied_to, path, lie);
                        let mut rounds = 0;
                        while !lied_to.is_done() {
                            rounds += 1;
                            assert!(rounds < 100, "stuck after a lie about {path}");
                            for path in lied_to.wants() {
                                if lied_to.wants().contains(&path) {
                                    supply(&mut lied_to, path, log.files[&path].clone());
                                }
                            }
                        }
                        assert_eq!(lied_to.head(), to);
                        // With bundles read ahead, a lie may be found out without a word.
                        assert!(errors == 1 || ahead > 1 && errors == 0, "{path}: {errors}");
                    }
                    let entries = reader.supply(path, honest.clone()).unwrap();
                    follow(&reader, "a", &mut next, entries);
                }
            }
        }
    }
    for name in ["length", "bundle", "edge", "tile", "entries"] {
        assert!(caught.get(name).is_some_and(|n| *n >= 10), "{caught:?}");
    }
}

fn name(error: &ReadError) -> &'static str {
    match error {
        ReadError::Shrinks => "shrinks",
        ReadError::Diverged => "diverged",
        ReadError::NotWanted(_) => "not wanted",
        ReadError::Length(_) => "length",
        ReadError::Bundle { .. } => "bundle",
        ReadError::Edge => "edge",
        ReadError::Tile(_) => "tile",
        ReadError::Entries(_) => "entries",
    }
}

#[test]
fn another_history_is_told_before_its_first_entry() {
    let ours = Log::new("ours", &PUBLISHED);
    let theirs = Log::new("theirs", &PUBLISHED);
    let mut told = 0;
    for (from, to) in pairs(&ours) {
        if from.size == TreeSize::ZERO {
            continue;
        }
        // What they have is in itself a log; it just isn't the one we have read before.
        let to = theirs.heads[&to.size.get()];
        if from.size == to.size {
            assert_eq!(Reader::new(from, to).unwrap_err(), ReadError::Diverged);
            continue;
        }
        let mut reader = Reader::new(from, to).unwrap();
        let error = 'read: loop {
            for path in reader.wants() {
                match reader.supply(path, theirs.files[&path].clone()) {
                    Ok(entries) => assert_eq!(entries, []),
                    Err(error) => break 'read error,
                }
            }
        };
        assert_eq!(error, ReadError::Diverged);
        assert_eq!(reader.wants(), []);
        assert_eq!(reader.head(), from);
        let (path, bytes) = theirs.files.iter().next().unwrap();
        assert_eq!(reader.supply(*path, bytes.clone()), Err(ReadError::Diverged));
        told += 1;
    }
    assert!(told >= 90, "{told}");
}

#[test]
fn a_reader_starts_again_from_its_own_head() {
    let log = Log::new("a", &PUBLISHED);
    let (mut head, to) = (log.heads[&5], log.heads[&66_100]);
    let mut next = 5;
    while head != to {
        // One bundle each time, as a reader that crashes after every bundle.
        let mut reader = Reader::new(head, to).unwrap();
        while reader.head() == head {
            for path in reader.wants() {
                let entries = reader.supply(path, log.files[&path].clone()).unwrap();
                follow(&reader, "a", &mut next, entries);
            }
        }
        head = reader.head();
    }
    assert_eq!(next, 66_100);
}

#[test]
fn heads_that_cannot_be_read_between_are_refused() {
    let log = Log::new("a", &PUBLISHED);
    let (small, large) = (log.heads[&5], log.heads[&300]);
    assert_eq!(Reader::new(large, small).unwrap_err(), ReadError::Shrinks);
    let odd = TreeHead { size: size(0), root: small.root };
    assert_eq!(Reader::new(odd, large).unwrap_err(), ReadError::Diverged);
    assert_eq!(Reader::new(TreeHead::EMPTY, odd).unwrap_err(), ReadError::Diverged);
    assert_eq!(Reader::new(odd, odd).unwrap_err(), ReadError::Diverged);
    assert!(Reader::new(large, large).unwrap().is_done());
}

#[test]
fn what_was_not_asked_for_is_refused() {
    let log = Log::new("a", &PUBLISHED);
    let mut reader = Reader::new(log.heads[&5], log.heads[&1000]).unwrap();
    let refuse = |reader: &mut Reader, path: &str| {
        let path = Path::parse(path).unwrap();
        let bytes = log.files.get(&path).cloned().unwrap_or_default();
        assert_eq!(reader.supply(path, bytes), Err(ReadError::NotWanted(path)), "{path}");
    };
    for path in [
        "checkpoint",
        "tile/entries/000",
        "tile/0/000",
        "tile/0/003.p/231",
        "tile/2/000.p/1",
        "tile/63/000",
        "tile/0/x018/x446/x744/x073/x709/x551/615",
    ] {
        refuse(&mut reader, path);
    }
    for path in reader.wants() {
        reader.supply(path, log.files[&path].clone()).unwrap();
        refuse(&mut reader, &path.path());
    }
    refuse(&mut reader, "tile/entries/001");
    refuse(&mut reader, "tile/0/003.p/232");
}
