//! Scenarios: what is sent, how fast, for how long, and what it must come to. One TOML file each, in `loadtest/scenarios`.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::Error;
use crate::answers::Level;
use crate::slo::Slo;

/// A scenario.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// What it shows, in a sentence.
    #[serde(default)]
    pub about: String,
    /// People who take turns.
    pub subscribers: usize,
    /// Connections; each sends one request at a time.
    pub connections: usize,
    /// Witnesses of the log that is made when none is given.
    #[serde(default)]
    pub witnesses: usize,
    /// The part of the answers that is verified.
    #[serde(default = "all")]
    pub verify: f64,
    /// What every phase must come to.
    #[serde(default)]
    pub slo: Vec<Slo>,
    /// The phases, one after another.
    pub phase: Vec<Phase>,
}

/// A phase of a scenario.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// How long it takes.
    pub seconds: f64,
    /// Requests in a second, due whatever the log does; without it, every connection sends as soon as it has its answer.
    pub rate: Option<f64>,
    /// Records in a batch.
    #[serde(default = "batch")]
    pub batch: usize,
    /// What appends wait for, in turn.
    #[serde(default = "levels")]
    pub levels: Vec<Level>,
    /// How often each kind of request, relative to the others.
    pub mix: Mix,
}

/// How often each kind of request is sent, relative to the others.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mix {
    /// One record.
    pub single: u32,
    /// A batch of records.
    pub batch: u32,
    /// A receipt of an entry anywhere in the log.
    pub receipt: u32,
    /// An inclusion proof.
    pub proof: u32,
    /// A full tile of hashes.
    pub tile: u32,
}

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// One record.
    Single,
    /// A batch of records.
    Batch,
    /// A receipt.
    Receipt,
    /// An inclusion proof.
    Proof,
    /// A tile.
    Tile,
}

fn all() -> f64 {
    1.0
}

fn batch() -> usize {
    64
}

fn levels() -> Vec<Level> {
    vec![Level::Integrated]
}

impl Mix {
    fn parts(self) -> [(Ask, u32); 5] {
        [
            (Ask::Single, self.single),
            (Ask::Batch, self.batch),
            (Ask::Receipt, self.receipt),
            (Ask::Proof, self.proof),
            (Ask::Tile, self.tile),
        ]
    }

    fn total(self) -> u32 {
        self.parts().iter().map(|(_, weight)| weight).sum()
    }

    /// The kind that a number falls to: every kind as often as its weight says, when all numbers come equally often.
    #[must_use]
    pub fn pick(self, number: u64) -> Ask {
        let mut rest = number % u64::from(self.total().max(1));
        for (ask, weight) in self.parts() {
            match rest.checked_sub(u64::from(weight)) {
                Some(less) => rest = less,
                None => return ask,
            }
        }
        Ask::Single
    }
}

impl Phase {
    /// How long it takes.
    #[must_use]
    pub fn lasting(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    /// Records in a second, where that is fixed.
    #[must_use]
    pub fn records_per_second(&self) -> Option<f64> {
        let total = f64::from(self.mix.total().max(1));
        let records = f64::from(self.mix.single) + f64::from(self.mix.batch) * self.batch as f64;
        self.rate.map(|rate| rate * records / total)
    }

    /// Whether it reads tiles.
    #[must_use]
    pub fn has_tiles(&self) -> bool {
        self.mix.tile > 0
    }

    fn check(&self) -> Result<(), &'static str> {
        let positive = |number: f64| number.is_finite() && number > 0.0;
        if !positive(self.seconds) || self.seconds > 7.0 * 86_400.0 {
            return Err("seconds is above 0, and at most a week");
        }
        if self.rate.is_some_and(|rate| !positive(rate) || rate > 1e6) {
            return Err("rate is above 0, and at most a million");
        }
        if !(1..=1024).contains(&self.batch) {
            return Err("batch is 1 to 1024");
        }
        if self.levels.is_empty() {
            return Err("levels names one level at least");
        }
        if self.mix.total() == 0 {
            return Err("mix asks for nothing");
        }
        Ok(())
    }
}

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    /// [`Error::Scenario`].
    pub fn parse(text: &str) -> Result<Scenario, Error> {
        let scenario: Scenario = toml::from_str(text).map_err(|e| Error::Scenario(e.to_string()))?;
        let wrong = |what: &str| Error::Scenario(format!("{}: {what}", scenario.name));
        if scenario.phase.is_empty() {
            return Err(wrong("it has no phase"));
        }
        if !(1..=4096).contains(&scenario.connections) || scenario.subscribers < scenario.connections {
            return Err(wrong("connections is 1 to 4096, and there are as many subscribers at least"));
        }
        if !(0.0..=1.0).contains(&scenario.verify) {
            return Err(wrong("verify is 0 to 1"));
        }
        for phase in &scenario.phase {
            phase.check().map_err(|what| wrong(&format!("{}: {what}", phase.name)))?;
        }
        Ok(scenario)
    }

    /// Reads a scenario from a file.
    ///
    /// # Errors
    /// [`Error::Scenario`].
    pub fn read(path: &Path) -> Result<Scenario, Error> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::Scenario(format!("{}: {e}", path.display())))?;
        Scenario::parse(&text)
    }

    /// Records that may be made ahead for one connection: half a minute's worth at the slowest rate, so that none gets too
    /// old.
    #[must_use]
    pub fn stock(&self) -> usize {
        let slowest = self.phase.iter().filter_map(Phase::records_per_second).filter(|rate| *rate > 0.0);
        let rate = slowest.fold(f64::INFINITY, f64::min);
        let largest = self.phase.iter().map(|phase| phase.batch).max().unwrap_or(1);
        let half_a_minute = 30.0 * rate / self.connections as f64;
        (half_a_minute as usize).clamp(4, 1024).max(2 * largest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHASE: &str = "[[phase]]\nname = 'p'\nseconds = 1\nmix = { single = 3, tile = 1 }\n";

    fn scenario(top: &str, phase: &str) -> Result<Scenario, Error> {
        Scenario::parse(&format!("name = 's'\nsubscribers = 8\nconnections = 4\n{top}\n{phase}"))
    }

    #[test]
    fn a_mix_is_what_it_says() {
        let mix = Mix { single: 3, tile: 1, ..Mix::default() };
        let picked: Vec<Ask> = (0..8).map(|number| mix.pick(number)).collect();
        assert_eq!(picked.iter().filter(|ask| **ask == Ask::Single).count(), 6);
        assert_eq!(picked.iter().filter(|ask| **ask == Ask::Tile).count(), 2);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(scenario("", PHASE).is_ok());
        assert!(scenario("verify = 2.0", PHASE).is_err());
        assert!(scenario("conections = 4", PHASE).is_err());
        assert!(scenario("slo = ['p99(x)<1s']", PHASE).is_err());
        for (from, to) in [
            ("seconds = 1", "seconds = 0"),
            ("seconds = 1", "seconds = 1\nrate = -1"),
            ("seconds = 1", "seconds = 1\nbatch = 1025"),
            ("seconds = 1", "seconds = 1\nlevels = []"),
            ("seconds = 1", "seconds = 1\nlevels = ['published']"),
            ("single = 3, tile = 1", "single = 0"),
        ] {
            assert!(scenario("", &PHASE.replace(from, to)).is_err(), "{to}");
        }
        assert!(Scenario::parse("name = 's'\nsubscribers = 1\nconnections = 4\n[[phase]]").is_err());
    }

    #[test]
    fn the_scenarios_of_the_project_are_scenarios() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .expect("scenarios")
            .map(|file| Scenario::read(&file.expect("file").path()).expect("a scenario").name)
            .collect();
        names.sort();
        assert_eq!(names, ["burst", "overload", "smoke", "soak", "steady"]);
    }
}
