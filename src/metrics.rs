//! Metrics: what an operator's Prometheus sees at `/metrics`. Names are an interface; no label carries anything about a
//! person (I-8).
//!
//! The engine's own instruments are one set per process ([`engine`]), because rounds and witnesses know nothing of HTTP.
//! Everything else belongs to the server that counts it.

use std::sync::OnceLock;
use std::time::Duration;

use prometheus::{
    Encoder as _, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder, core::Collector,
};

/// The instruments of the HTTP server and of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Appends by what became of them.
    pub appends: IntCounterVec,
    /// Steps of people who enrol and authorise, by what became of them.
    pub authority: IntCounterVec,
    /// How long an append took, by the level it reached.
    pub append_seconds: HistogramVec,
    /// Requests by route, method and status.
    pub requests: IntCounterVec,
    /// How long requests took, by route.
    pub request_seconds: HistogramVec,
    /// Sizes of the heads.
    pub head_size: GaugeVec,
    /// Seconds since the head last moved.
    pub head_age: GaugeVec,
    /// Bytes that wait for verification or for an answer.
    pub waiting_bytes: Gauge,
    /// Open connections.
    pub connections: IntGauge,
    /// Memory of the process.
    pub resident: Gauge,
}

/// The instruments of the engine.
#[derive(Debug)]
pub struct EngineMetrics {
    /// Entries per round.
    pub round_entries: Histogram,
    /// Seconds from taking a round's submissions to the sync that commits it.
    pub round_seconds: Histogram,
    /// Seconds to verify one opening, waiting for a core included.
    pub verify_seconds: Histogram,
    /// Accepted records that were verified again: `same`, `different` (an alarm), `skipped` for want of time, or
    /// `stopped` where the judge failed.
    pub rechecks: IntCounterVec,
    /// The engine that verifies: 1 under its name.
    pub verify_engine: GaugeVec,
    /// Seconds for a witness to answer with a cosignature that verifies.
    pub witness_seconds: HistogramVec,
    /// Answers of witnesses that were not a cosignature.
    pub witness_errors: IntCounterVec,
    /// When a witness last cosigned, seconds since 1970.
    pub witness_last_success: GaugeVec,
}

/// The engine's instruments, one set per process.
pub fn engine() -> &'static EngineMetrics {
    static ENGINE: OnceLock<EngineMetrics> = OnceLock::new();
    ENGINE.get_or_init(EngineMetrics::new)
}

impl EngineMetrics {
    fn new() -> EngineMetrics {
        EngineMetrics {
            round_entries: histogram("solelog_round_entries", "Entries in one round of the sequencer", POWERS),
            round_seconds: histogram(
                "solelog_round_seconds",
                "Seconds from taking submissions to the sync that commits them",
                SECONDS,
            ),
            verify_seconds: histogram(
                "solelog_record_verify_seconds",
                "Seconds to verify one opening, waiting for a core included",
                SECONDS,
            ),
            rechecks: counters(
                "solelog_record_rechecks_total",
                "Accepted records that another engine verified again; any that are different are an alarm",
                &["verdict"],
            ),
            verify_engine: gauges("solelog_verify_engine", "The engine that verifies", &["engine"]),
            witness_seconds: histograms(
                "solelog_witness_cosign_seconds",
                "Seconds until a witness answered with a cosignature",
                &["witness"],
            ),
            witness_errors: counters(
                "solelog_witness_errors_total",
                "Answers of a witness that were no cosignature",
                &["witness", "reason"],
            ),
            witness_last_success: gauges(
                "solelog_witness_last_success_timestamp_seconds",
                "When a witness last cosigned",
                &["witness"],
            ),
        }
    }

    /// A round was committed.
    pub fn round(&self, entries: usize, took: Duration) {
        self.round_entries.observe(entries as f64);
        self.round_seconds.observe(took.as_secs_f64());
    }

    /// A witness cosigned.
    pub fn cosigned(&self, witness: &str, took: Duration) {
        self.witness_seconds.with_label_values(&[witness]).observe(took.as_secs_f64());
        self.witness_last_success.with_label_values(&[witness]).set(crate::engine::wall_clock_ms() as f64 / 1000.0);
    }

    /// A witness did not cosign; the reason is one of a few words of ours.
    pub fn not_cosigned(&self, witness: &str, reason: &'static str) {
        self.witness_errors.with_label_values(&[witness, reason]).inc();
    }
}

impl Metrics {
    /// All instruments, at zero.
    pub fn new() -> Metrics {
        let metrics = Metrics {
            registry: Registry::new(),
            appends: counters("solelog_appends_total", "Appends by outcome: new, existing, or why not", &["outcome"]),
            authority: counters(
                "solelog_authority_total",
                "Enrolments, intents and authorisations, by outcome: ok, or the kind of problem",
                &["step", "outcome"],
            ),
            append_seconds: histograms(
                "solelog_append_seconds",
                "Seconds from a verified record to its answer",
                &["reached"],
            ),
            requests: counters("solelog_http_requests_total", "Requests", &["route", "method", "code"]),
            request_seconds: histograms(
                "solelog_http_request_seconds",
                "Seconds until the head of the answer",
                &["route"],
            ),
            head_size: gauges(
                "solelog_tree_size",
                "Entries under each head: committed, integrated, published",
                &["head"],
            ),
            head_age: gauges("solelog_head_age_seconds", "Seconds since a head last moved", &["head"]),
            waiting_bytes: gauge(
                "solelog_waiting_bytes",
                "Bytes of submissions that wait for verification or an answer",
            ),
            connections: IntGauge::with_opts(Opts::new("solelog_http_connections", "Open connections")).expect(STATIC),
            resident: gauge("process_resident_memory_bytes", "Resident memory of the process"),
        };
        let build =
            GaugeVec::new(Opts::new("solelog_build_info", "The version that runs"), &["version"]).expect(STATIC);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
        let engine = engine();
        let all: Vec<Box<dyn Collector>> = vec![
            Box::new(metrics.appends.clone()),
            Box::new(metrics.authority.clone()),
            Box::new(metrics.append_seconds.clone()),
            Box::new(engine.verify_seconds.clone()),
            Box::new(metrics.requests.clone()),
            Box::new(metrics.request_seconds.clone()),
            Box::new(metrics.head_size.clone()),
            Box::new(metrics.head_age.clone()),
            Box::new(metrics.waiting_bytes.clone()),
            Box::new(metrics.connections.clone()),
            Box::new(metrics.resident.clone()),
            Box::new(build),
            Box::new(engine.round_entries.clone()),
            Box::new(engine.round_seconds.clone()),
            Box::new(engine.rechecks.clone()),
            Box::new(engine.verify_engine.clone()),
            Box::new(engine.witness_seconds.clone()),
            Box::new(engine.witness_errors.clone()),
            Box::new(engine.witness_last_success.clone()),
        ];
        for collector in all {
            metrics.registry.register(collector).expect(STATIC);
        }
        metrics
    }

    /// The text that Prometheus reads.
    pub fn render(&self) -> String {
        if let Some(bytes) = resident_bytes() {
            self.resident.set(bytes as f64);
        }
        let mut out = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut out) {
            tracing::error!(%error, "the metrics can't be written");
        }
        String::from_utf8(out).unwrap_or_default()
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

/// What the kernel says this process holds in memory; nothing where there is no /proc.
pub fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    pages.checked_mul(rustix::param::page_size() as u64)
}

/// Names and labels are constants of this file: a mistake in one shows in the first test that makes a `Metrics`.
const STATIC: &str = "a metric's name and labels are well formed and used once";

const SECONDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const POWERS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0, 16384.0];

fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help), labels).expect(STATIC)
}

fn gauges(name: &str, help: &str, labels: &[&str]) -> GaugeVec {
    GaugeVec::new(Opts::new(name, help), labels).expect(STATIC)
}

fn gauge(name: &str, help: &str) -> Gauge {
    Gauge::with_opts(Opts::new(name, help)).expect(STATIC)
}

fn histogram(name: &str, help: &str, buckets: &[f64]) -> Histogram {
    Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec())).expect(STATIC)
}

fn histograms(name: &str, help: &str, labels: &[&str]) -> HistogramVec {
    HistogramVec::new(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()), labels).expect(STATIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_shown() {
        let metrics = Metrics::new();
        metrics.appends.with_label_values(&["new"]).inc();
        metrics.requests.with_label_values(&["/v1/records", "POST", "201"]).inc();
        engine().round(3, Duration::from_millis(2));
        let text = metrics.render();
        assert!(text.contains("solelog_appends_total{outcome=\"new\"} 1"), "{text}");
        assert!(text.contains("solelog_http_requests_total{code=\"201\",method=\"POST\",route=\"/v1/records\"} 1"));
        assert!(text.contains("solelog_round_seconds_count"));
        assert!(text.contains("solelog_build_info{version="));
        let resident = resident_bytes().expect("this test runs on Linux");
        assert!(resident > 1 << 20);
    }
}
