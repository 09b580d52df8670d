//! The tables of keys that are met often, and which keys those are.
//!
//! ```text
//! key ─ first time ─▶ a mark ─ second time ─▶ waiting, until there are eight ─▶ table ─ least used ─▶ gone
//! ```
//! A table costs about as much as it saves in two verifications, so a key has to be met twice before it gets one, and keys that
//! are met once only, however many, drive nothing out. All memory is bounded by the number of tables: 8 KiB each.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use scal3::point::Point;

use super::lanes::LANES;
use super::table::KnownKey;

/// Places for marks of keys seen once, for each table.
const PLACES: usize = 2;
/// Marks in one place. Were it one, two keys of one place that come in turn would wipe out each other's mark for ever.
const MARKS: usize = 4;
/// How often keys that wait are met before tables are made for fewer than eight of them.
const PATIENCE: usize = 16;

/// Tables by key, for all threads.
pub struct KeyTables {
    capacity: usize,
    hasher: RandomState,
    state: Mutex<State>,
}

struct State {
    places: HashMap<[u8; Point::LEN], usize>,
    kept: Vec<Kept>,
    /// Where the next one to go is looked for.
    hand: usize,
    /// For every place the last marks, newest first: each the upper half of a hash of the key that left it, and never 0.
    marks: Vec<[u32; MARKS]>,
    waiting: Vec<Point>,
    /// How often one of those was met again.
    waited: usize,
}

struct Kept {
    key: [u8; Point::LEN],
    table: Arc<KnownKey>,
    /// Since the hand was here last.
    used: bool,
}

impl KeyTables {
    /// Room for so many tables.
    pub fn new(capacity: usize) -> KeyTables {
        let state = State {
            places: HashMap::new(),
            kept: Vec::new(),
            hand: 0,
            marks: vec![[0; MARKS]; capacity.saturating_mul(PLACES)],
            waiting: Vec::new(),
            waited: 0,
        };
        KeyTables { capacity, hasher: RandomState::new(), state: Mutex::new(state) }
    }

    /// The tables of these keys, as far as there are any; and up to eight keys that should get one now.
    pub fn find(&self, keys: &[&Point]) -> (Vec<Option<Arc<KnownKey>>>, Vec<Point>) {
        if self.capacity == 0 {
            return (vec![None; keys.len()], Vec::new());
        }
        let mut state = self.lock();
        let tables = keys.iter().map(|key| state.find(key, &self.hasher)).collect();
        let due = state.waiting.len() >= LANES || state.waited >= PATIENCE;
        (tables, if due { state.take_waiting() } else { Vec::new() })
    }

    /// Keeps the tables of these keys.
    pub fn insert(&self, keys: &[Point], tables: Vec<KnownKey>) {
        let mut state = self.lock();
        for (key, table) in keys.iter().zip(tables) {
            state.insert(self.capacity, Kept { key: key.to_bytes(), table: Arc::new(table), used: false });
        }
    }

    /// Nothing is left half done where a thread could panic.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn find(&mut self, key: &Point, hasher: &RandomState) -> Option<Arc<KnownKey>> {
        if let Some(kept) = self.places.get(key.as_bytes()).and_then(|place| self.kept.get_mut(*place)) {
            kept.used = true;
            return Some(Arc::clone(&kept.table));
        }
        if self.waiting.contains(key) {
            self.waited += 1;
        } else if self.is_marked(hasher.hash_one(key.as_bytes())) && self.waiting.len() < LANES {
            self.waiting.push(*key);
        }
        None
    }

    /// Whether a key of this hash has left its mark already; now it has.
    fn is_marked(&mut self, hash: u64) -> bool {
        let mark = (hash >> 32) as u32 | 1;
        let place = hash as u32 as usize % self.marks.len().max(1);
        let Some(marks) = self.marks.get_mut(place) else { return false };
        if marks.contains(&mark) {
            return true;
        }
        marks.rotate_right(1);
        marks[0] = mark;
        false
    }

    fn take_waiting(&mut self) -> Vec<Point> {
        self.waited = 0;
        std::mem::take(&mut self.waiting)
    }

    fn insert(&mut self, capacity: usize, kept: Kept) {
        if self.places.contains_key(&kept.key) {
            return;
        }
        if self.kept.len() < capacity {
            self.places.insert(kept.key, self.kept.len());
            self.kept.push(kept);
            return;
        }
        // At the latest in the second round, one is met that was not used since the first.
        loop {
            let place = self.hand % self.kept.len();
            self.hand = place + 1;
            let old = &mut self.kept[place];
            if !std::mem::take(&mut old.used) {
                self.places.remove(&old.key);
                self.places.insert(kept.key, place);
                *old = kept;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use p256::{ProjectivePoint, Scalar};
    use std::iter;

    fn key(number: u64) -> Point {
        use p256::elliptic_curve::sec1::ToSec1Point as _;
        let point = (ProjectivePoint::GENERATOR * Scalar::from(number)).to_affine();
        Point::from_sec1_any(point.to_sec1_point(false).as_bytes()).expect("a point")
    }

    /// Meets a key, and makes whatever tables are due. Whether it had one.
    fn meet(tables: &KeyTables, number: u64) -> bool {
        let key = key(number);
        let (found, due) = tables.find(&[&key]);
        tables.insert(&due, due.iter().map(|_| KnownKey::empty()).collect());
        found[0].is_some()
    }

    #[test]
    fn a_key_gets_its_table_when_it_is_met_again_and_eight_are_waiting() {
        let tables = KeyTables::new(100);
        for round in 0..4 {
            for number in 1..=8 {
                // The eighth key is the last to be met a second time.
                assert_eq!(meet(&tables, number), round >= 2, "{round} {number}");
            }
        }
    }

    #[test]
    fn a_few_keys_get_their_tables_after_some_patience() {
        let tables = KeyTables::new(100);
        let met = iter::repeat_n((), 100).position(|()| meet(&tables, 1)).expect("a table");
        assert_eq!(met, 2 + PATIENCE);
    }

    #[test]
    fn keys_that_are_met_once_drive_nothing_out() {
        let tables = KeyTables::new(64);
        (0..3).for_each(|_| (1..=8).for_each(|number| _ = meet(&tables, number)));
        (100..2_000).for_each(|number| assert!(!meet(&tables, number)));
        (1..=8).for_each(|number| assert!(meet(&tables, number), "{number}"));
    }

    #[test]
    fn there_are_never_more_tables_than_there_is_room_for_and_those_in_use_stay() {
        let tables = KeyTables::new(16);
        for number in 1..=200 {
            (0..3).for_each(|_| _ = meet(&tables, number));
            (0..3).for_each(|_| (1_001..=1_004).for_each(|used| _ = meet(&tables, used)));
        }
        let state = tables.lock();
        assert!(state.kept.len() <= 16 && state.places.len() == state.kept.len());
        assert!((1_001..=1_004).all(|used| state.places.contains_key(key(used).as_bytes())));
        assert!(!state.places.contains_key(key(1).as_bytes()));
    }

    #[test]
    fn without_room_nothing_is_kept() {
        let tables = KeyTables::new(0);
        assert!((0..100).all(|_| !meet(&tables, 1)));
    }
}
