//! The journal, and what becomes of it when any one of its calls fails.

use super::super::disk::{Cut, Fault, FaultDisk, MemoryDisk, RealDisk};
use super::*;

const DIR: &str = "/log/journal";
const FIRST: u64 = 5;
const SMALL: Options = Options { segment_bytes: 700 };

fn payload(round: u64) -> Vec<u8> {
    // Every eleventh is longer than a segment.
    let length = if round.is_multiple_of(11) { 900 } else { 20 + (round * 37 % 150) as usize };
    (0..length).map(|i| (i as u64 * 31 + round) as u8).collect()
}

type Rounds = Vec<(u64, Vec<u8>)>;

fn scan(disk: &MemoryDisk, from: u64) -> Result<(Scan, Rounds), StoreError> {
    let mut rounds = Vec::new();
    let scan = Journal::scan(&disk.shared(), Path::new(DIR), from, |round, payload| {
        rounds.push((round, payload.to_vec()));
        Ok::<_, StoreError>(())
    })?;
    Ok((scan, rounds))
}

fn create(disk: &Arc<dyn Disk>) -> Result<Journal, StoreError> {
    Journal::create(disk, Path::new(DIR), SMALL, FIRST)
}

fn append(journal: &Journal, rounds: std::ops::Range<u64>) {
    for round in rounds {
        journal.reserve(payload(round).len()).unwrap();
        journal.append(round, &payload(round)).unwrap();
    }
}

fn corrupt(result: Result<(Scan, Rounds), StoreError>) -> bool {
    matches!(result, Err(StoreError::Corrupt { .. }))
}

#[test]
fn rounds_are_read_back_across_segments_and_restarts() {
    let disk = MemoryDisk::new();
    let journal = create(&disk.shared()).unwrap();
    append(&journal, FIRST..60);
    assert!(journal.segments().unwrap() > 8);
    assert_eq!(journal.epoch(), 1);
    let hash = journal.tip().unwrap().hash;
    drop(journal);
    disk.cut_power(Cut::Lost);

    for from in [FIRST, 6, 33, 59, 60] {
        let (scan, rounds) = scan(&disk, from).unwrap();
        assert_eq!(rounds, (from..60).map(|r| (r, payload(r))).collect::<Vec<_>>());
        assert_eq!(scan.tip, Tip { next: 60, hash });
        assert_eq!(scan.torn, None);
    }
    let journal = scan(&disk, 40).unwrap().0.resume(SMALL).unwrap();
    assert_eq!(journal.epoch(), 2);
    append(&journal, 60..90);
    assert_eq!(scan(&disk, FIRST).unwrap().1.len(), 85);
}

#[test]
fn a_round_out_of_order_is_refused_and_changes_nothing() {
    let disk = MemoryDisk::new();
    let journal = create(&disk.shared()).unwrap();
    append(&journal, FIRST..7);
    for round in [0, 6, 8] {
        assert!(matches!(journal.append(round, b"x"), Err(StoreError::OutOfOrder { expected: 7, .. })));
    }
    append(&journal, 7..9);
    assert_eq!(scan(&disk, FIRST).unwrap().1.len(), 4);
}

#[test]
fn whole_segments_below_every_watermark_are_removed() {
    let disk = MemoryDisk::new();
    let journal = create(&disk.shared()).unwrap();
    append(&journal, FIRST..60);
    assert_eq!(journal.drop_below(FIRST).unwrap(), 0);
    assert!(journal.drop_below(30).unwrap() > 3);
    assert_eq!(journal.drop_below(30).unwrap(), 0);
    assert_eq!(scan(&disk, 30).unwrap().1.len(), 30);
    assert!(corrupt(scan(&disk, FIRST)), "rounds that are gone are not passed over in silence");
    journal.drop_below(1000).unwrap();
    assert_eq!(journal.segments(), Some(1));
    assert_eq!(journal.drop_below(1000).unwrap(), 0, "the segment in use stays");
    append(&journal, 60..61);
    disk.cut_power(Cut::Lost);
    assert_eq!(scan(&disk, 60).unwrap().1, [(60, payload(60))]);
    assert!(corrupt(scan(&disk, 62)), "a journal that ends before the round that is needed has lost some");
}

#[test]
fn the_next_segment_is_made_early() {
    let disk = MemoryDisk::new();
    let journal = create(&disk.shared()).unwrap();
    let next = Path::new(DIR).join(NEXT);
    journal.prepare().unwrap();
    assert!(!disk.exists(&next).unwrap(), "the segment in use is empty");
    append(&journal, FIRST..9);
    journal.prepare().unwrap();
    assert!(disk.exists(&next).unwrap());
    disk.set_capacity(Some(0));
    // With the spare at hand a full disk is not noticed until the segment after.
    journal.append(9, &[1; 100]).unwrap();
    journal.append(10, &[1; 100]).unwrap();
    assert!(!disk.exists(&next).unwrap());
}

#[test]
fn whoever_prepares_the_next_segment_never_takes_the_one_that_is_being_named() {
    let disk = MemoryDisk::new();
    let journal = create(&disk.shared()).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (journal, done) = (&journal, &done);
        // No call is told of room here, so every one finds that a segment could be needed.
        let prepares = move || {
            while !done.load(Ordering::Relaxed) {
                journal.room.store(0, Ordering::Release);
                journal.prepare().unwrap();
            }
        };
        scope.spawn(prepares);
        let appended = (FIRST..3000).try_for_each(|round| journal.append(round, &payload(round)).map(|_| ()));
        done.store(true, Ordering::Relaxed);
        appended.unwrap();
    });
    assert_eq!(scan(&disk, FIRST).unwrap().0.tip.next, 3000);
}

#[test]
fn a_full_disk_is_told_before_planning_and_can_be_waited_for() {
    let disk = MemoryDisk::new();
    let journal = create(&disk.shared()).unwrap();
    disk.set_capacity(Some(1000));
    let mut round = FIRST;
    while journal.reserve(100).is_ok() {
        journal.append(round, &[1; 100]).unwrap();
        round += 1;
    }
    for _ in 0..3 {
        assert!(matches!(journal.reserve(100), Err(StoreError::NoSpace(_))));
        assert!(!disk.exists(&Path::new(DIR).join(NEXT)).unwrap(), "what was taken is given back");
    }
    assert!(matches!(journal.append(round, &[1; 100]), Err(StoreError::NoSpace(_))));
    assert_eq!(scan(&disk, FIRST).unwrap().1.len() as u64, round - FIRST, "reads go on");
    disk.set_capacity(None);
    journal.reserve(100).unwrap();
    journal.append(round, &[1; 100]).unwrap();
}

#[test]
fn a_failed_sync_is_never_tried_again() {
    let memory = MemoryDisk::new();
    let disk = FaultDisk::new(memory.shared());
    let journal = create(&(Arc::new(disk.clone()) as Arc<dyn Disk>)).unwrap();
    append(&journal, FIRST..7);
    // The write goes through, the sync after it does not.
    disk.plan(disk.calls() + 1, Fault::Failed);
    assert!(matches!(journal.append(7, &payload(7)), Err(StoreError::Fatal(_))));
    let calls = disk.calls();
    assert!(disk.history().last().unwrap().starts_with("sync_data"));
    assert!(matches!(journal.append(7, &payload(7)), Err(StoreError::Poisoned)));
    assert!(matches!(journal.append(8, &payload(8)), Err(StoreError::Poisoned)));
    assert!(matches!(journal.reserve(10), Err(StoreError::Poisoned)));
    assert!(matches!(journal.drop_below(7), Err(StoreError::Poisoned)));
    assert_eq!(journal.tip(), None);
    assert_eq!(disk.calls(), calls, "nothing more is written");
}

#[test]
fn a_full_disk_in_the_middle_of_a_record_is_fatal() {
    let memory = MemoryDisk::new();
    let disk = FaultDisk::new(memory.shared());
    let journal = create(&(Arc::new(disk.clone()) as Arc<dyn Disk>)).unwrap();
    journal.reserve(50).unwrap();
    disk.plan_next(Fault::NoSpace);
    assert!(matches!(journal.append(FIRST, &[1; 50]), Err(StoreError::Fatal(_))));
    disk.plan_next(Fault::NoSpace);
    assert!(matches!(journal.append(FIRST, &[1; 50]), Err(StoreError::Poisoned)));
}

#[test]
fn a_process_that_was_taken_over_finds_out_before_it_answers() {
    let disk = MemoryDisk::new();
    let stale = create(&disk.shared()).unwrap();
    append(&stale, FIRST..7);
    let new = scan(&disk, FIRST).unwrap().0.resume(SMALL).unwrap();
    assert!(matches!(stale.append(7, b"lost"), Err(StoreError::Fenced { ours: 1, theirs: 2 })));
    assert!(matches!(stale.append(7, b"lost"), Err(StoreError::Poisoned)));
    new.append(7, b"kept").unwrap();
    assert_eq!(scan(&disk, 7).unwrap().1, [(7, b"kept".to_vec())]);
}

#[test]
fn a_flipped_bit_is_never_passed_over() {
    let disk = MemoryDisk::new();
    let journal = Journal::create(&disk.shared(), Path::new(DIR), Options { segment_bytes: 500 }, FIRST).unwrap();
    for round in FIRST..FIRST + 7 {
        journal.append(round, &[round as u8; 20]).unwrap();
    }
    let names = disk.list(Path::new(DIR)).unwrap();
    assert_eq!(names.len(), 3);
    let last = FIRST + 6;
    for (i, name) in names.iter().enumerate() {
        let path = Path::new(DIR).join(name);
        let records = if i < 2 { 3 } else { 1 };
        let used = HEADER + records * (FRAME + 20);
        for at in 0..used {
            disk.flip(&path, at as u64, 0x10);
            let found = scan(&disk, FIRST);
            // Of the very last record nobody can tell a flipped bit from a torn write: it is reported, for the caller
            // to compare with the watermarks. Everything else is certain.
            if i == 2 && at >= HEADER {
                let (scan, rounds) = found.unwrap();
                assert_eq!(scan.torn.as_ref().map(|t| t.round), Some(last));
                assert_eq!(rounds.len() as u64, last - FIRST);
            } else {
                assert!(corrupt(found), "segment {i}, byte {at}");
            }
            disk.flip(&path, at as u64, 0x10);
        }
    }
    assert_eq!(scan(&disk, FIRST).unwrap().1.len(), 7);
}

#[test]
fn a_missing_or_exchanged_segment_is_corrupt() {
    let disk = MemoryDisk::new();
    let journal = create(&disk.shared()).unwrap();
    append(&journal, FIRST..60);
    let names = disk.list(Path::new(DIR)).unwrap();
    let (second, third) = (Path::new(DIR).join(&names[1]), Path::new(DIR).join(&names[2]));
    let bytes = disk.read(&second).unwrap().unwrap();
    disk.remove(&second).unwrap();
    assert!(corrupt(scan(&disk, FIRST)));
    disk.replace(&second, &disk.read(&third).unwrap().unwrap()).unwrap();
    assert!(corrupt(scan(&disk, FIRST)));
    disk.replace(&second, &bytes[..bytes.len() / 2]).unwrap();
    assert!(corrupt(scan(&disk, FIRST)));
    disk.replace(&second, &bytes).unwrap();
    assert_eq!(scan(&disk, FIRST).unwrap().1.len(), 55);
}

#[test]
fn a_payload_can_not_pass_for_a_record() {
    let disk = MemoryDisk::new();
    let journal = Journal::create(&disk.shared(), Path::new(DIR), Options::default(), FIRST).unwrap();
    journal.append(FIRST, b"x").unwrap();
    // A payload that holds a whole journal, with its records and its own marker, as an attacker might submit.
    let other = MemoryDisk::new();
    append(&create(&other.shared()).unwrap(), FIRST..7);
    let inner = other.read(&Path::new(DIR).join(segment_name(FIRST))).unwrap().unwrap();
    journal.append(6, &inner).unwrap();
    drop(journal);
    disk.flip(&Path::new(DIR).join(segment_name(FIRST)), (HEADER + FRAME + 1 + 40) as u64, 1);
    assert_eq!(scan(&disk, FIRST).unwrap().0.torn.unwrap().round, 6);
}

#[test]
fn a_journal_is_made_once() {
    let disk = MemoryDisk::new();
    assert!(!Journal::exists(&disk, Path::new(DIR)).unwrap());
    assert!(corrupt(scan(&disk, 0)));
    create(&disk.shared()).unwrap();
    assert!(Journal::exists(&disk, Path::new(DIR)).unwrap());
    assert!(matches!(create(&disk.shared()), Err(StoreError::Corrupt { .. })));
}

#[test]
fn it_works_on_a_real_file_system() {
    let dir = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let path = dir.path().join("a/journal");
    let options = Options { segment_bytes: 1 << 16 };
    let journal = Journal::create(&disk, &path, options, 0).unwrap();
    for round in 0..300 {
        journal.append(round, &vec![round as u8; 1000]).unwrap();
        journal.prepare().unwrap();
    }
    journal.drop_below(100).unwrap();
    drop(journal);
    let mut count = 0;
    let visit = |round: u64, payload: &[u8]| {
        assert_eq!(payload, vec![round as u8; 1000]);
        count += 1;
        Ok::<_, StoreError>(())
    };
    let scan = Journal::scan(&disk, &path, 100, visit).unwrap();
    scan.resume(options).unwrap().append(300, b"on").unwrap();
    assert_eq!(count, 200);
}

/// What a run was told, which is what must be there afterwards.
#[derive(Default)]
struct Told {
    acknowledged: Rounds,
    /// The round that was being written when the run ended.
    attempted: Option<(u64, Vec<u8>)>,
    /// Rounds below this one may be gone.
    floor: u64,
    created: bool,
}

impl Told {
    fn next(&self) -> u64 {
        self.acknowledged.last().map_or(FIRST, |(round, _)| round + 1)
    }

    /// Appends and drops, until the end or until something fails that can't be waited for.
    fn run(&mut self, journal: &Journal, count: u64) -> Result<(), StoreError> {
        for round in self.next()..self.next() + count {
            let payload = payload(round);
            patient(|| journal.reserve(payload.len()))?;
            self.attempted = Some((round, payload.clone()));
            journal.append(round, &payload)?;
            self.acknowledged.extend(self.attempted.take());
            patient(|| journal.prepare())?;
            if round.is_multiple_of(9) {
                self.floor = round - 3;
                patient(|| journal.drop_below(round - 3).map(|_| ()))?;
            }
        }
        Ok(())
    }

    fn work(&mut self, disk: &Arc<dyn Disk>, count: u64) -> Result<(), StoreError> {
        let mut journal = None;
        patient(|| {
            if !Journal::exists(&**disk, Path::new(DIR))? {
                journal = Some(create(disk)?);
            }
            Ok(())
        })?;
        self.created = true;
        match journal {
            Some(journal) => self.run(&journal, count),
            None => Ok(()),
        }
    }

    /// Everything acknowledged is there, and nothing is invented.
    fn check(&self, disk: &MemoryDisk, what: &str) -> Option<(Scan, Rounds)> {
        let from = self.floor.max(FIRST);
        let (scan, rounds) = match scan(disk, from) {
            Ok(found) => found,
            Err(e) => {
                assert!(!self.created && !Journal::exists(disk, Path::new(DIR)).unwrap(), "{what}: {e}");
                return None;
            }
        };
        let mut expected: Rounds = self.acknowledged.iter().filter(|(round, _)| *round >= from).cloned().collect();
        if rounds.len() > expected.len() {
            // The last one may have happened without anyone being told.
            expected.extend(self.attempted.clone());
        }
        assert_eq!(rounds, expected, "{what}");
        assert_eq!(scan.tip.next, rounds.last().map_or(from, |(round, _)| round + 1), "{what}");
        Some((scan, rounds))
    }

    /// The recovery got through: from now on whatever it found counts as acknowledged.
    fn settle(&mut self, rounds: Rounds) {
        let from = self.floor.max(FIRST);
        self.acknowledged.retain(|(round, _)| *round < from);
        self.acknowledged.extend(rounds);
        self.attempted = None;
    }
}

/// A full disk is waited for; anything else is not.
fn patient(mut act: impl FnMut() -> Result<(), StoreError>) -> Result<(), StoreError> {
    match act() {
        Err(StoreError::NoSpace(_)) => act(),
        other => other,
    }
}

const FAULTS: [Fault; 6] =
    [Fault::NoSpace, Fault::Failed, Fault::FailedButHappened, Fault::Crash, Fault::CrashAfter, Fault::Torn];

/// For every call, every fault, and every way in which the machine may stop after it: start again, with a second fault
/// in the recovery, and once more without one.
#[test]
fn whatever_call_fails_acknowledged_rounds_are_there_and_none_is_invented() {
    let counted = FaultDisk::new(MemoryDisk::new().shared());
    Told::default().work(&(Arc::new(counted.clone()) as Arc<dyn Disk>), 40).unwrap();
    let calls = counted.calls();
    assert!(calls > 150, "{calls} calls");

    let mut recoveries = 0;
    for call in 0..calls {
        for fault in FAULTS {
            for cut in [None, Some(Cut::Lost), Some(Cut::Kept), Some(Cut::Some(call)), Some(Cut::Some(call + 1_000))] {
                let seed = call * 7 + fault as u64;
                let what = format!("{fault:?} at call {call} ({}), then {cut:?}", counted.history()[call as usize]);
                let memory = MemoryDisk::new();
                let mut told = Told::default();
                let faulty: Arc<dyn Disk> = Arc::new(FaultDisk::new(memory.shared()).at(call, fault));
                let ended = told.work(&faulty, 40);
                assert!(ended.is_err() || fault == Fault::NoSpace, "{what}: the fault was not noticed");
                // Without a cut the process alone has ended: what was not synced can be read, and is not durable.
                if let Some(cut) = cut {
                    memory.cut_power(cut);
                }
                let Some((mut scan, rounds)) = told.check(&memory, &what) else {
                    continue;
                };

                // The recovery fails too, at one of its own calls.
                scan.disk = Arc::new(FaultDisk::new(memory.shared()).at(seed % 8, FAULTS[(seed % 6) as usize]));
                if let Ok(journal) = scan.resume(SMALL) {
                    told.settle(rounds);
                    let _ = told.run(&journal, 12);
                }
                memory.cut_power(if call % 2 == 0 { Cut::Lost } else { Cut::Some(seed) });
                let what = format!("{what}, then a second fault (seed {seed})");
                let Some((scan, rounds)) = told.check(&memory, &what) else {
                    continue;
                };
                let journal = scan.resume(SMALL).unwrap();
                told.settle(rounds);
                told.run(&journal, 30).unwrap();
                memory.cut_power(Cut::Lost);
                told.check(&memory, &format!("{what}, then none"));
                recoveries += 1;
            }
        }
    }
    assert!(recoveries > 4_000, "{recoveries}");
}
