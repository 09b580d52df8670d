//! The port of a monitor: what others may read of it, and nothing else.
//!
//! ```text
//! GET /head      the head that it accepted last, as the log and the witnesses signed it: for other monitors
//! GET /metrics   Prometheus; `solelog_monitor_last_round_timestamp_seconds` is the dead man's handle
//! GET /livez     200
//! ```

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::alert::now;
use crate::report::{Class, Report};
use crate::watch::Watch;

/// What the port shows.
#[derive(Clone, Debug, Default)]
pub struct Window(Arc<Mutex<Shown>>);

#[derive(Debug, Default)]
struct Shown {
    head: Option<String>,
    /// By name, with what is said about it.
    gauges: BTreeMap<&'static str, (&'static str, u64)>,
    /// How often each finding was made in the last round, by class and code.
    findings: BTreeMap<(String, &'static str), u64>,
    /// Rounds by the class of their worst finding.
    rounds: BTreeMap<String, u64>,
}

impl Window {
    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows what came of a round.
    pub fn show(&self, report: &Report, watch: &Watch) {
        let mut shown = self.shown();
        shown.head = watch.monitor().accepted().map(tlog::note::Note::to_text);
        let class = report.class();
        let mut gauge = |name, help, value| {
            shown.gauges.insert(name, (help, value));
        };
        gauge("last_round_timestamp_seconds", "When the last round ended. Alert when it is old.", now());
        if class == Class::Ok {
            gauge("last_ok_timestamp_seconds", "When the last round ended that found nothing but OK.", now());
        }
        gauge("class", "0 OK, 1 INFRASTRUCTURE, 2 SUSPICIOUS, 3 TAMPER.", class as u64);
        gauge("log_size", "Entries under the head that the log showed last.", report.size());
        gauge("accepted_size", "Entries under the accepted head.", watch.monitor().accepted_size());
        gauge("records_verified", "Records verified: all signatures, and their places.", report.verified);
        gauge("entries_unverifiable", "Entries whose openings nobody showed.", report.unverifiable);
        gauge("entries_erased", "Those of them whose openings were erased.", report.erased);
        gauge("alerts_waiting", "Alerts that were not delivered yet.", watch.waiting() as u64);
        shown.findings.clear();
        for finding in &report.findings {
            *shown.findings.entry((finding.class.to_string(), finding.what.code())).or_default() += 1;
        }
        *shown.rounds.entry(class.to_string()).or_default() += 1;
    }

    /// Serves until the process ends.
    ///
    /// # Errors
    /// What the system says.
    pub async fn serve(self, listener: TcpListener) -> std::io::Result<()> {
        let routes = Router::new()
            .route("/head", get(head))
            .route("/metrics", get(metrics))
            .route("/livez", get(|| async { "ok\n" }))
            .with_state(self);
        axum::serve(listener, routes).await
    }
}

impl Shown {
    /// Prometheus's text format. Names, classes and codes are ours: nothing in them has to be escaped.
    fn metrics(&self) -> String {
        let mut text = String::new();
        for (name, (help, value)) in &self.gauges {
            let _ = writeln!(text, "# HELP solelog_monitor_{name} {help}\n# TYPE solelog_monitor_{name} gauge");
            let _ = writeln!(text, "solelog_monitor_{name} {value}");
        }
        let _ = writeln!(text, "# HELP solelog_monitor_findings Findings of the last round.");
        let _ = writeln!(text, "# TYPE solelog_monitor_findings gauge");
        for ((class, code), count) in &self.findings {
            let _ = writeln!(text, "solelog_monitor_findings{{class=\"{class}\",code=\"{code}\"}} {count}");
        }
        let _ = writeln!(text, "# HELP solelog_monitor_rounds_total Rounds, by the class of their worst finding.");
        let _ = writeln!(text, "# TYPE solelog_monitor_rounds_total counter");
        for (class, count) in &self.rounds {
            let _ = writeln!(text, "solelog_monitor_rounds_total{{class=\"{class}\"}} {count}");
        }
        text
    }
}

async fn head(State(window): State<Window>) -> Response {
    match window.shown().head.clone() {
        Some(note) => ([(CONTENT_TYPE, "text/plain; charset=utf-8")], note).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn metrics(State(window): State<Window>) -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], window.shown().metrics()).into_response()
}
