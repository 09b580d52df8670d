//! What a run came to.

use crate::worker::Sample;
use serde::Serialize;
use std::time::Duration;

/// Throughput and latency of one run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Records appended, each answer verified.
    pub records: usize,
    /// How long it took, seconds.
    pub seconds: f64,
    /// Records per second.
    pub per_second: f64,
    /// Latency in milliseconds: half were faster.
    pub p50_ms: f64,
    /// Nine of ten were faster.
    pub p90_ms: f64,
    /// All but one of a hundred were faster.
    pub p99_ms: f64,
    /// The slowest.
    pub max_ms: f64,
    /// True when every record got a place of its own.
    pub distinct: bool,
}

impl Report {
    /// From all samples of a run that took so long.
    #[must_use]
    pub fn new(mut samples: Vec<Sample>, took: Duration) -> Report {
        samples.sort_by_key(|sample| sample.index);
        let distinct = samples.windows(2).all(|pair| pair[0].index != pair[1].index);
        let mut millis: Vec<f64> = samples.iter().map(|sample| sample.took.as_secs_f64() * 1e3).collect();
        millis.sort_by(f64::total_cmp);
        let at = |share: usize| millis.get((millis.len() * share / 1000).min(millis.len().saturating_sub(1))).copied();
        let seconds = took.as_secs_f64();
        Report {
            records: millis.len(),
            seconds,
            per_second: millis.len() as f64 / seconds,
            p50_ms: at(500).unwrap_or(0.0),
            p90_ms: at(900).unwrap_or(0.0),
            p99_ms: at(990).unwrap_or(0.0),
            max_ms: at(1000).unwrap_or(0.0),
            distinct,
        }
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "{} records in {:.2} s: {:.0} per second, every answer verified",
            self.records, self.seconds, self.per_second
        )?;
        write!(
            f,
            "latency  p50 {:.1} ms   p90 {:.1} ms   p99 {:.1} ms   max {:.1} ms",
            self.p50_ms, self.p90_ms, self.p99_ms, self.max_ms
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_given_twice_is_seen() {
        let sample = |index| Sample { took: Duration::from_millis(index), index };
        let report = Report::new(vec![sample(1), sample(3), sample(2)], Duration::from_secs(1));
        assert!(report.distinct);
        assert_eq!((report.records, report.p50_ms, report.max_ms), (3, 2.0, 3.0));
        assert!(!Report::new(vec![sample(1), sample(1)], Duration::from_secs(1)).distinct);
    }
}
