//! The object that is printed: the ratios by name, why one is missing, the machine, and how much was counted.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::append::Window;
use super::engines::Engines;
use super::median;

/// The names of the ratios, in the order in which they are printed.
pub const KEYS: [&str; 17] = [
    "vector_vs_p256",
    "vector_vs_portable",
    "portable_vs_p256",
    "append_batch_vs_engine",
    "append_single_vs_engine",
    "integrated_p50_vs_floor",
    "integrated_p99_vs_floor",
    "witnessed_added_ms_p50",
    "audit_vs_naive",
    "hash_audit_vs_sha256",
    "tile_vs_nginx",
    "cosign_vs_sign",
    "storage_vs_needed",
    "growth_append",
    "growth_proof",
    "growth_rss",
    "growth_open",
];

/// What was measured so far.
#[derive(Debug, Default)]
pub struct Figures {
    found: BTreeMap<&'static str, Result<f64, String>>,
    machine: Json,
    counts: Map<String, Json>,
}

impl Figures {
    /// A ratio.
    pub fn set(&mut self, key: &'static str, value: f64) {
        let found = match value.is_finite() {
            true => Ok(value),
            false => Err("it came out as no number: too little was measured".to_owned()),
        };
        self.found.insert(key, found);
    }

    /// A ratio that can't be measured here.
    pub fn missing(&mut self, key: &'static str, why: impl std::fmt::Display) {
        self.found.insert(key, Err(why.to_string()));
    }

    /// How much of something there was, or what it was.
    pub fn count(&mut self, name: &str, value: impl Into<Json>) {
        self.counts.insert(name.to_owned(), value.into());
    }

    /// Where it was measured.
    pub fn machine(&mut self, machine: Json) {
        self.machine = machine;
    }

    /// The ratios of appends to what the engine verifies.
    pub fn appends(&mut self, batch: &[Window], single: &[Window], engines: &Engines) {
        let rows =
            [("append_batch_vs_engine", "append_batch", batch), ("append_single_vs_engine", "append_single", single)];
        for (key, name, windows) in rows {
            let per_cpu = median(windows.iter().map(Window::per_cpu_second).collect());
            self.set(key, per_cpu / engines.running);
            self.count(&format!("{name}_records_per_server_cpu_s"), rounded(per_cpu));
            let wall = median(windows.iter().map(Window::per_second).collect());
            self.count(&format!("{name}_records_per_s"), rounded(wall));
            let records: usize = windows.iter().map(|window| window.records).sum();
            self.count(&format!("{name}_records"), records);
        }
    }

    /// The object.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let mut object = Map::new();
        for key in KEYS {
            match self.found.get(key) {
                Some(Ok(value)) => drop(object.insert(key.to_owned(), json!(rounded(*value)))),
                other => {
                    let why = match other {
                        Some(Err(why)) => why.as_str(),
                        _ => "it was not measured",
                    };
                    object.insert(key.to_owned(), Json::Null);
                    object.insert(format!("{key}_why"), json!(why));
                }
            }
        }
        object.insert("machine".to_owned(), self.machine.clone());
        object.insert("counts".to_owned(), Json::Object(self.counts.clone()));
        Json::Object(object)
    }
}

/// To four digits: more are noise.
pub fn rounded(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_a_number_or_says_why_not() {
        let mut figures = Figures::default();
        figures.set("growth_open", 1.234_567);
        figures.set("growth_rss", f64::NAN);
        figures.missing("tile_vs_nginx", "there is no nginx");
        let object = figures.to_json();
        assert_eq!(object["growth_open"], json!(1.235));
        for key in KEYS.iter().filter(|key| **key != "growth_open") {
            assert!(object[key].is_null(), "{key}");
            assert!(object[format!("{key}_why")].is_string(), "{key}");
        }
        assert_eq!(object["tile_vs_nginx_why"], "there is no nginx");
        assert_eq!(object.as_object().map(Map::len), Some(2 * KEYS.len() - 1 + 2));
    }
}
