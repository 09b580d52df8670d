//! What was asked for lately: a bounded memory of two generations.
//!
//! ```text
//! add ─► young ── full ──► old ── full again ──► gone
//!          ▲────── asked for ──┘
//! ```
//!
//! It is for what follows from its key alone, so that nothing in it can become wrong, and for what is cheap to clone.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The memory. Handles on one are references to it.
#[derive(Debug)]
pub struct Lately<K, V> {
    most: usize,
    generations: Mutex<Generations<K, V>>,
}

#[derive(Debug)]
struct Generations<K, V> {
    young: HashMap<K, (V, usize)>,
    old: HashMap<K, (V, usize)>,
    /// What the young ones weigh.
    weight: usize,
}

impl<K: Eq + Hash, V: Clone> Lately<K, V> {
    /// A memory of at most twice this weight.
    pub fn of(most: usize) -> Lately<K, V> {
        let generations = Generations { young: HashMap::new(), old: HashMap::new(), weight: 0 };
        Lately { most, generations: Mutex::new(generations) }
    }

    /// What stands under that key, if it is still known.
    pub fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let mut generations = self.lock();
        if let Some((value, _)) = generations.young.get(key) {
            return Some(value.clone());
        }
        let (key, (value, weight)) = generations.old.remove_entry(key)?;
        generations.add(key, value.clone(), weight, self.most);
        Some(value)
    }

    /// Somebody has asked for it. What weighs more than a quarter of a generation is not kept: it would push out too much.
    pub fn add(&self, key: K, value: V, weight: usize) {
        if weight <= self.most / 4 {
            self.lock().add(key, value, weight, self.most);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Generations<K, V>> {
        // At worst something is forgotten.
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash, V> Generations<K, V> {
    fn add(&mut self, key: K, value: V, weight: usize, most: usize) {
        if self.weight + weight > most {
            self.old = std::mem::take(&mut self.young);
            self.weight = 0;
        }
        self.weight += weight;
        if let Some((_, before)) = self.young.insert(key, (value, weight)) {
            self.weight -= before;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stays_and_the_rest_goes() {
        let lately: Lately<Box<[u8]>, u32> = Lately::of(100);
        let key = |number: u8| Box::from([number]);
        lately.add(key(0), 0, 10);
        lately.add(key(1), 1, 10);
        for number in 2..60 {
            lately.add(key(number), u32::from(number), 20);
            lately.add(key(number), u32::from(number), 20);
            assert_eq!(lately.get(&[0][..]), Some(0), "{number}");
            let generations = lately.lock();
            let held = |of: &HashMap<Box<[u8]>, (u32, usize)>| of.values().map(|(_, weight)| weight).sum::<usize>();
            assert_eq!(held(&generations.young), generations.weight);
            assert!(held(&generations.young) <= 100 && held(&generations.old) <= 100, "{number}");
        }
        assert_eq!(lately.get(&[1][..]), None);
        lately.add(key(99), 99, 26);
        assert_eq!(lately.get(&[99][..]), None, "too heavy");
    }
}
