//! What is found again after stops, cuts and flipped bits.

use tlog::Hash;
use tlog::key::{KeyName, Signer};

use super::*;

fn origin(n: u64) -> Origin {
    Origin::new(&format!("example.com/log{n}")).unwrap()
}

fn stored(log: u64, size: u64) -> Stored {
    let head = TreeHead { size: TreeSize::new(size).unwrap(), root: Hash([size as u8; 32]) };
    let text = Checkpoint::new(origin(log), head).to_text();
    let signer = Signer::note(KeyName::new("example.com/log").unwrap(), &[1; 32]);
    Stored { origin: origin(log), note: Some(Note::sign(&text, &signer).unwrap()), head }
}

fn heads(found: &[Stored]) -> Vec<u64> {
    found.iter().map(|stored| stored.head.size.get()).collect()
}

fn open(dir: &Path) -> Result<(Ledger, Vec<Stored>), StateError> {
    Ledger::open(dir, &[&origin(1), &origin(2)])
}

/// A ledger of two logs, the first of which is at 3, then at 5.
fn filled() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, found) = Ledger::open(dir.path(), &[]).unwrap();
    assert_eq!(found, []);
    ledger.commit_all([Stored::never(origin(1)), Stored::never(origin(2))]).unwrap();
    ledger.commit(stored(1, 3)).unwrap();
    ledger.commit(stored(1, 5)).unwrap();
    dir
}

#[test]
fn what_was_committed_is_there_after_a_restart() {
    let dir = filled();
    for _ in 0..3 {
        let (ledger, found) = open(dir.path()).unwrap();
        assert_eq!(found, [stored(1, 5), Stored::never(origin(2))]);
        assert_eq!(ledger.healed(), None);
    }
    let (ledger, _) = open(dir.path()).unwrap();
    ledger.commit(stored(2, 9)).unwrap();
    drop(ledger);
    assert_eq!(heads(&open(dir.path()).unwrap().1), [5, 9]);
}

#[test]
fn every_flipped_bit_and_every_cut_in_one_copy_is_found_and_the_other_one_serves() {
    let dir = filled();
    let good = Copy::BOTH.map(|copy| std::fs::read(dir.path().join(copy.to_string())).unwrap());
    assert_eq!(good[0], good[1]);
    let (mut damaged, mut cut_between) = (0, 0);
    for place in (0..good[0].len()).step_by(13) {
        let mut flipped = good[0].clone();
        flipped[place] ^= 1 << (place % 8);
        for bad in [&flipped[..], &good[0][..place]] {
            for copy in Copy::BOTH {
                for (write, bytes) in Copy::BOTH.into_iter().zip(&good) {
                    let bytes = if write == copy { bad } else { bytes };
                    std::fs::write(dir.path().join(write.to_string()), bytes).unwrap();
                }
                let read = Read::of(bad);
                damaged += usize::from(read.fault.is_some());
                // Between two records nobody can see that one is missing; the other copy has it.
                cut_between += usize::from(read.fault.is_none());
                let (ledger, found) = open(dir.path()).unwrap();
                assert_eq!(heads(&found), [5, 0], "{place} {copy}");
                assert_eq!(ledger.healed().is_some(), read.fault.is_some(), "{place} {copy}");
            }
        }
    }
    assert!(damaged > 100 && cut_between < damaged / 10, "{damaged} {cut_between}");
}

#[test]
fn two_damaged_copies_are_reported_as_our_own_fault() {
    let dir = filled();
    for copy in Copy::BOTH {
        let path = dir.path().join(copy.to_string());
        let mut bytes = std::fs::read(&path).unwrap();
        let last = bytes.len() - 2;
        bytes[last] ^= 1;
        std::fs::write(path, bytes).unwrap();
    }
    let error = open(dir.path()).err().unwrap();
    assert!(
        matches!(error, StateError::Damaged { a: Fault::Record(4), b: Fault::Record(4), readable: 2, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("our own files"), "{error}");
}

#[test]
fn a_log_without_a_record_is_not_a_log_never_seen() {
    let dir = filled();
    let missing = Ledger::open(dir.path(), &[&origin(3)]);
    assert!(matches!(missing, Err(StateError::Missing { .. })));
    for copy in Copy::BOTH {
        std::fs::remove_file(dir.path().join(copy.to_string())).unwrap();
    }
    assert!(matches!(open(dir.path()), Err(StateError::Missing { .. })));
}

#[test]
fn copies_that_disagree_are_not_chosen_between() {
    let (one, two) = (filled(), filled());
    let (ledger, _) = open(two.path()).unwrap();
    let mut fork = stored(1, 5);
    fork.head.root = Hash([0; 32]);
    fork.note = stored(1, 5).note.map(|_| {
        let signer = Signer::note(KeyName::new("example.com/log").unwrap(), &[1; 32]);
        Note::sign(&Checkpoint::new(origin(1), fork.head).to_text(), &signer).unwrap()
    });
    ledger.commit(fork).unwrap();
    std::fs::copy(two.path().join("heads.b"), one.path().join("heads.b")).unwrap();
    assert!(matches!(open(one.path()), Err(StateError::Disagree { .. })));
}

#[test]
fn what_is_replaced_again_and_again_does_not_grow_for_ever() {
    let dir = filled();
    let (ledger, _) = open(dir.path()).unwrap();
    let length = || std::fs::metadata(dir.path().join("heads.b")).unwrap().len();
    let mut longest = 0;
    for round in 0..50 {
        ledger.commit_all((0..20).map(|n| stored(1, round * 20 + n + 10))).unwrap();
        longest = longest.max(length());
    }
    ledger.commit(stored(2, 7)).unwrap();
    drop(ledger);
    assert!(longest > 64 << 10 && longest < 128 << 10, "{longest}");
    assert_eq!(heads(&open(dir.path()).unwrap().1), [1_009, 7]);
}

#[test]
fn many_at_once_are_all_stored() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = Ledger::open(dir.path(), &[]).unwrap();
    std::thread::scope(|scope| {
        for log in 0..50 {
            let ledger = &ledger;
            scope.spawn(move || {
                for size in 1..=10 {
                    ledger.commit(stored(log, size)).unwrap();
                }
            });
        }
    });
    drop(ledger);
    let (_, found) = Ledger::open(dir.path(), &[]).unwrap();
    assert_eq!(heads(&found), [10; 50]);
}
