//! Snapshots: the state that no entry carries, as of a round. Two generations, the newest valid one wins.
//!
//! ```text
//! snapshot.0, snapshot.1 = "solelog snapshot" [16] ‖ round u64 ‖ length u64 ‖ payload ‖ SHA-256 of all before
//! ```
//!
//! A snapshot is written beside the newer of the two, never over it. As long as the older one may be needed, the journal
//! must keep every round after it: drop segments only below [`Snapshots::floor`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::disk::Disk;
use super::{Guarded, StoreError};

const MAGIC: &[u8; 16] = b"solelog snapshot";
const HEADER: usize = 16 + 8 + 8;

/// One snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// It holds everything up to this round, inclusive.
    pub round: u64,
    /// The state.
    pub payload: Vec<u8>,
}

/// The two files.
pub struct Snapshots {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    rounds: Guarded<[Option<u64>; 2]>,
}

impl Snapshots {
    /// Opens the snapshots in a folder, with the newest valid one; `None` if there never was one.
    ///
    /// Two damaged generations, or one that is alone and damaged, are [`StoreError::Corrupt`].
    pub fn open(disk: &Arc<dyn Disk>, dir: &Path) -> Result<(Snapshots, Option<Snapshot>), StoreError> {
        let mut rounds = [None; 2];
        let mut newest: Option<Snapshot> = None;
        let mut damaged = None;
        for (slot, round) in rounds.iter_mut().enumerate() {
            let path = file(dir, slot);
            let Some(bytes) = disk.read(&path)? else {
                continue;
            };
            match parse(bytes) {
                Some(snapshot) => {
                    *round = Some(snapshot.round);
                    if newest.as_ref().is_none_or(|n| n.round < snapshot.round) {
                        newest = Some(snapshot);
                    }
                }
                None => damaged = Some(path),
            }
        }
        if let (None, Some(path)) = (&newest, damaged) {
            return Err(StoreError::corrupt(&path, 0, "the snapshot is damaged, and there is no other"));
        }
        let snapshots = Snapshots { disk: Arc::clone(disk), dir: dir.to_owned(), rounds: Guarded::new(rounds) };
        Ok((snapshots, newest))
    }

    /// Writes a snapshot and makes it durable, in place of the older one. Its round may not be before the newest one's.
    pub fn write(&self, round: u64, payload: &[u8]) -> Result<(), StoreError> {
        self.rounds.with(|rounds| {
            if let Some(newest) = rounds.iter().copied().max().flatten().filter(|newest| *newest > round) {
                return Err(StoreError::OutOfOrder { expected: newest, found: round });
            }
            let older = usize::from(rounds[0] > rounds[1]);
            let mut bytes = Vec::with_capacity(HEADER + payload.len() + 32);
            bytes.extend_from_slice(MAGIC);
            bytes.extend_from_slice(&round.to_be_bytes());
            bytes.extend_from_slice(&(payload.len() as u64).to_be_bytes());
            bytes.extend_from_slice(payload);
            let hash: [u8; 32] = Sha256::digest(&bytes).into();
            bytes.extend_from_slice(&hash);
            self.disk.create_dir_all(&self.dir)?;
            self.disk.replace(&file(&self.dir, older), &bytes)?;
            rounds[older] = Some(round);
            Ok(())
        })
    }

    /// The round of the older generation: the journal may not lose any round after it. `None` with fewer than two.
    pub fn floor(&self) -> Option<u64> {
        self.rounds.peek(|rounds| rounds.iter().copied().min().flatten()).flatten()
    }
}

fn file(dir: &Path, slot: usize) -> PathBuf {
    dir.join(format!("snapshot.{slot}"))
}

fn parse(mut bytes: Vec<u8>) -> Option<Snapshot> {
    let hashed = bytes.len().checked_sub(32)?;
    let (content, hash) = bytes.split_at(hashed);
    if <[u8; 32]>::from(Sha256::digest(content)) != hash {
        return None;
    }
    let (round, rest) = content.strip_prefix(MAGIC)?.split_first_chunk::<8>()?;
    let (length, payload) = rest.split_first_chunk::<8>()?;
    let (round, length) = (u64::from_be_bytes(*round), u64::from_be_bytes(*length));
    if payload.len() as u64 != length {
        return None;
    }
    bytes.truncate(hashed);
    Some(Snapshot { round, payload: bytes.split_off(HEADER) })
}

#[cfg(test)]
mod tests {
    use super::super::disk::{Cut, Fault, FaultDisk, MemoryDisk};
    use super::*;

    const DIR: &str = "/log";

    fn newest(disk: &MemoryDisk) -> Result<Option<Snapshot>, StoreError> {
        Snapshots::open(&disk.shared(), Path::new(DIR)).map(|(_, newest)| newest)
    }

    fn snapshot(round: u64) -> Option<Snapshot> {
        Some(Snapshot { round, payload: vec![round as u8; 100] })
    }

    fn write(snapshots: &Snapshots, round: u64) -> Result<(), StoreError> {
        snapshots.write(round, &[round as u8; 100])
    }

    #[test]
    fn the_newest_wins_and_the_one_before_is_kept() {
        let disk = MemoryDisk::new();
        let (snapshots, found) = Snapshots::open(&disk.shared(), Path::new(DIR)).unwrap();
        assert_eq!(found, None);
        write(&snapshots, 3).unwrap();
        assert_eq!(snapshots.floor(), None);
        for round in [5, 9, 20] {
            write(&snapshots, round).unwrap();
            assert_eq!(newest(&disk).unwrap(), snapshot(round));
        }
        assert_eq!(snapshots.floor(), Some(9));
        assert!(matches!(write(&snapshots, 19), Err(StoreError::OutOfOrder { .. })));
        assert_eq!(Snapshots::open(&disk.shared(), Path::new(DIR)).unwrap().0.floor(), Some(9));
    }

    #[test]
    fn a_damaged_one_gives_way_to_the_other_and_two_are_told() {
        let disk = MemoryDisk::new();
        let (snapshots, _) = Snapshots::open(&disk.shared(), Path::new(DIR)).unwrap();
        write(&snapshots, 3).unwrap();
        for at in 0..(HEADER + 100 + 32) as u64 {
            disk.flip(&file(Path::new(DIR), 0), at, 1);
            assert!(matches!(newest(&disk), Err(StoreError::Corrupt { .. })), "byte {at}");
            disk.flip(&file(Path::new(DIR), 0), at, 1);
        }
        write(&snapshots, 4).unwrap();
        disk.flip(&file(Path::new(DIR), 1), 40, 1);
        let (snapshots, found) = Snapshots::open(&disk.shared(), Path::new(DIR)).unwrap();
        assert_eq!(found, snapshot(3));
        // The damaged one is the one that is replaced.
        write(&snapshots, 5).unwrap();
        assert_eq!(newest(&disk).unwrap(), snapshot(5));
        assert_eq!(snapshots.floor(), Some(3));
    }

    #[test]
    fn whatever_call_fails_the_last_one_written_is_there() {
        let calls = {
            let disk = FaultDisk::new(MemoryDisk::new().shared());
            let shared: Arc<dyn Disk> = Arc::new(disk.clone());
            let (snapshots, _) = Snapshots::open(&shared, Path::new(DIR)).unwrap();
            (1..5).for_each(|round| write(&snapshots, round).unwrap());
            disk.calls()
        };
        for call in 0..calls {
            for fault in
                [Fault::NoSpace, Fault::Failed, Fault::FailedButHappened, Fault::Crash, Fault::CrashAfter, Fault::Torn]
            {
                for cut in [Cut::Lost, Cut::Kept, Cut::Some(call)] {
                    let memory = MemoryDisk::new();
                    let shared: Arc<dyn Disk> = Arc::new(FaultDisk::new(memory.shared()).at(call, fault));
                    let (snapshots, _) = Snapshots::open(&shared, Path::new(DIR)).unwrap();
                    let written = (1..5).take_while(|round| write(&snapshots, *round).is_ok()).last().unwrap_or(0);
                    memory.cut_power(cut);
                    let found = newest(&memory).unwrap().map_or(0, |s| s.round);
                    assert!(
                        found == written || found == written + 1,
                        "{fault:?} at {call}, {cut:?}: {found}, not {written}"
                    );
                }
            }
        }
    }
}
