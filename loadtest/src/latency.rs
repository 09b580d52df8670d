//! Latencies, as a histogram with three digits (HdrHistogram).

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value as Json, json};

/// The longest that is told apart from longer ones.
const MOST_US: u64 = 600_000_000;

/// Latencies from a microsecond to ten minutes.
#[derive(Debug, Clone)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Latencies {
        let histogram = Histogram::new_with_bounds(1, MOST_US, 3).expect("bounds that the library takes");
        Latencies(histogram)
    }
}

impl Latencies {
    /// Adds one.
    pub fn add(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(MOST_US));
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Latencies) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that so many percent do not exceed.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Duration {
        Duration::from_micros(self.0.value_at_quantile(percent / 100.0))
    }

    /// The longest.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_micros(self.0.max())
    }

    /// The mean.
    #[must_use]
    pub fn mean(&self) -> Duration {
        Duration::from_secs_f64(self.0.mean() / 1e6)
    }

    /// The usual ones, milliseconds.
    #[must_use]
    pub fn to_json(&self) -> Json {
        json!({
            "count": self.count(), "mean_ms": ms(self.mean()), "p50_ms": ms(self.percentile(50.0)),
            "p90_ms": ms(self.percentile(90.0)), "p99_ms": ms(self.percentile(99.0)),
            "p999_ms": ms(self.percentile(99.9)), "max_ms": ms(self.max()),
        })
    }
}

/// Milliseconds, to a thousandth.
#[must_use]
pub fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
