//! Tiles and bundles that were asked for lately, as they are answered.
//!
//! A tile never changes once it is there, nor does what stands in an answer about it: its validator and its compressed form.
//! Most readers ask for the newest ones, and for the few at the top.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use axum::body::Bytes;
use axum::http::HeaderValue;
use tlog::tile;

/// How many bytes one generation has. There are two: what nobody asks for is gone after two more have filled up.
const GENERATION: usize = 8 << 20;

/// One form of a tile or bundle.
#[derive(Debug, Clone)]
pub struct Form {
    /// What is sent.
    pub bytes: Bytes,
    /// The `ETag`.
    pub tag: HeaderValue,
    /// Whether it is compressed.
    pub gzip: bool,
}

/// What is hot.
#[derive(Debug, Default)]
pub struct Hot {
    generations: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<(tile::Path, bool), Form>,
    old: HashMap<(tile::Path, bool), Form>,
    young_bytes: usize,
}

impl Hot {
    /// That form of the object, if it was asked for lately.
    pub fn get(&self, path: &tile::Path, gzip: bool) -> Option<Form> {
        self.with(|generations| {
            let name = (*path, gzip);
            if let Some(form) = generations.young.get(&name) {
                return Some(form.clone());
            }
            let form = generations.old.remove(&name)?;
            generations.add(name, form.clone());
            Some(form)
        })
    }

    /// Somebody has asked for it.
    pub fn add(&self, path: tile::Path, form: Form) {
        self.with(|generations| generations.add((path, form.gzip), form));
    }

    fn with<R>(&self, act: impl FnOnce(&mut Generations) -> R) -> R {
        act(&mut self.generations.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Generations {
    fn add(&mut self, name: (tile::Path, bool), form: Form) {
        // One that is larger than everything else together is not worth it.
        if form.bytes.len() > GENERATION / 4 {
            return;
        }
        if self.young_bytes + form.bytes.len() > GENERATION {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += form.bytes.len();
        if let Some(before) = self.young.insert(name, form) {
            self.young_bytes -= before.bytes.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(length: usize, gzip: bool) -> Form {
        Form { bytes: vec![0; length].into(), tag: HeaderValue::from_static("\"tag\""), gzip }
    }

    fn path(number: u64) -> tile::Path {
        tile::Path::Entries(tile::EntriesPath { index: number, width: 256 })
    }

    #[test]
    fn what_is_asked_for_stays_and_the_rest_goes() {
        let hot = Hot::default();
        hot.add(path(0), form(1000, false));
        hot.add(path(1), form(1000, false));
        assert!(hot.get(&path(0), true).is_none(), "another form");
        for number in 2..30 {
            hot.add(path(number), form(1 << 20, false));
            assert_eq!(hot.get(&path(0), false).map(|form| form.bytes.len()), Some(1000), "{number}");
        }
        assert!(hot.get(&path(1), false).is_none());
        let held = hot.with(|g| g.young.values().chain(g.old.values()).map(|form| form.bytes.len()).sum::<usize>());
        assert!(held <= 2 * GENERATION, "{held}");
        hot.add(path(99), form(GENERATION / 4 + 1, false));
        assert!(hot.get(&path(99), false).is_none());
    }
}
