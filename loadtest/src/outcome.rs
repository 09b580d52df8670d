//! What a phase came to.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use crate::answers::Level;
use crate::latency::{Latencies, ms};

/// What was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An append, durable at an index.
    Acknowledged,
    /// An append under a signed head.
    Integrated,
    /// An append under the published head.
    Witnessed,
    /// A receipt.
    Receipt,
    /// An inclusion proof.
    Proof,
    /// A full tile.
    Tile,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 6] =
        [Kind::Acknowledged, Kind::Integrated, Kind::Witnessed, Kind::Receipt, Kind::Proof, Kind::Tile];

    /// What is waited for at that level.
    #[must_use]
    pub fn of(level: Level) -> Kind {
        match level {
            Level::Sequenced => Kind::Acknowledged,
            Level::Integrated => Kind::Integrated,
            Level::Witnessed => Kind::Witnessed,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Acknowledged => "acknowledged",
            Kind::Integrated => "integrated",
            Kind::Witnessed => "witnessed",
            Kind::Receipt => "receipt",
            Kind::Proof => "proof",
            Kind::Tile => "tile",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A stretch of a phase.
#[derive(Debug, Clone, Default)]
pub struct Stretch {
    /// Requests that were answered in it.
    pub requests: u64,
    /// Records that were appended in it.
    pub records: u64,
    /// Answers that said no.
    pub errors: u64,
    /// The longest wait of those that were answered in it, seconds.
    pub longest_s: f64,
    /// All of their waits, seconds.
    pub waited_s: f64,
}

/// What a phase came to.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Its name.
    pub name: String,
    /// How long it took, seconds.
    pub seconds: f64,
    /// Requests in a second that were asked for; nothing where each connection sent as soon as it could.
    pub asked: Option<f64>,
    /// Requests that were answered with what was asked for.
    pub requests: u64,
    /// Records that were appended.
    pub records: u64,
    /// Answers that said no, and connections that broke.
    pub errors: u64,
    /// The same by HTTP status; 0 is a connection that broke.
    pub refused: BTreeMap<u16, u64>,
    /// Answers that were verified.
    pub verified: u64,
    /// What was waited for each, from when it was due.
    pub latencies: BTreeMap<Kind, Latencies>,
    /// The phase in stretches of equal length.
    pub stretches: Vec<Stretch>,
    /// How long one of them is, seconds.
    pub stretch_s: f64,
    /// What shows that the generator, not the log, was the slow one. Empty if nothing does.
    pub saturated: Vec<String>,
}

impl Outcome {
    /// Requests answered in a second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        if self.seconds > 0.0 { self.requests as f64 / self.seconds } else { 0.0 }
    }

    /// Records appended in a second.
    #[must_use]
    pub fn records_per_second(&self) -> f64 {
        if self.seconds > 0.0 { self.records as f64 / self.seconds } else { 0.0 }
    }

    /// The part of the answers that was verified.
    #[must_use]
    pub fn verified_share(&self) -> f64 {
        if self.requests > 0 { self.verified as f64 / self.requests as f64 } else { 1.0 }
    }

    /// One answer.
    pub fn answered(&mut self, kind: Kind, records: u64, verified: bool, waited: Duration, at: Duration) {
        self.requests += 1;
        self.records += records;
        self.verified += u64::from(verified);
        self.latencies.entry(kind).or_default().add(waited);
        let stretch = self.stretch(at);
        stretch.requests += 1;
        stretch.records += records;
        stretch.waited_s += waited.as_secs_f64();
        stretch.longest_s = stretch.longest_s.max(waited.as_secs_f64());
    }

    /// One answer that said no.
    pub fn refused(&mut self, status: u16, at: Duration) {
        self.errors += 1;
        *self.refused.entry(status).or_default() += 1;
        self.stretch(at).errors += 1;
    }

    fn stretch(&mut self, at: Duration) -> &mut Stretch {
        let number = if self.stretch_s > 0.0 { (at.as_secs_f64() / self.stretch_s) as usize } else { 0 };
        // What is answered long after the phase belongs to its last stretch.
        let number = number.min(1000);
        if self.stretches.len() <= number {
            self.stretches.resize_with(number + 1, Stretch::default);
        }
        &mut self.stretches[number]
    }

    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let latencies: Map<String, Json> =
            self.latencies.iter().map(|(kind, latencies)| (kind.name().to_owned(), latencies.to_json())).collect();
        let refused: Map<String, Json> =
            self.refused.iter().map(|(status, count)| (status.to_string(), json!(count))).collect();
        json!({
            "name": self.name, "seconds": self.seconds, "asked_per_second": self.asked, "requests": self.requests,
            "requests_per_second": self.per_second(), "records": self.records,
            "records_per_second": self.records_per_second(), "errors": self.errors, "refused": refused,
            "verified_share": self.verified_share(), "latencies": latencies, "saturated": self.saturated,
        })
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let asked = self.asked.map_or("as many as came back".to_owned(), |rate| format!("{rate} asked for"));
        writeln!(
            f,
            "{}: {} requests in {:.1} s, {:.0}/s ({asked}); {} records, {:.0}/s; {} errors; {:.1} % of the answers verified",
            self.name,
            self.requests,
            self.seconds,
            self.per_second(),
            self.records,
            self.records_per_second(),
            self.errors,
            100.0 * self.verified_share(),
        )?;
        for (kind, latencies) in &self.latencies {
            let [p50, p90, p99, p999] = [50.0, 90.0, 99.0, 99.9].map(|percent| ms(latencies.percentile(percent)));
            writeln!(
                f,
                "  {:<13}{:>9}  p50 {p50:>9.2} ms  p90 {p90:>9.2}  p99 {p99:>9.2}  p99.9 {p999:>9.2}  max {:>9.2}",
                kind.name(),
                latencies.count(),
                ms(latencies.max()),
            )?;
        }
        for (status, count) in &self.refused {
            writeln!(f, "  {count} times {}", if *status == 0 { "broken off".to_owned() } else { status.to_string() })?;
        }
        for why in &self.saturated {
            writeln!(f, "  THE GENERATOR WAS SATURATED: {why}")?;
        }
        Ok(())
    }
}
