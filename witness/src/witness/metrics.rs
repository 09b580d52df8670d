//! What the witness did, in Prometheus's text format.
//!
//! ```text
//! solelog_witness_requests_total{request,log,result}     log is empty where no known log was named
//! solelog_witness_request_seconds{request}               from the whole request to the signature, waiting for the disk
//! solelog_witness_log_size{log}, _log_cosigned_timestamp_seconds{log}
//! solelog_witness_ledger_bytes, _ledger_records, _ledger_generation, _ledger_healed
//! solelog_witness_state_certain                          0: it signs nothing more, and is ending
//! ```
//! Nothing in it is secret: logs and their sizes are on the about page too. Who asks can make no
//! new rows, only count up those of logs that the operator chose.

use std::fmt::{Display, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tlog::note::SignatureLine;
use tlog::sign_subtree::SubtreeRefusal;
use tlog::witness::Refusal;

use super::{AddError, Log, Witness};

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Request {
    AddCheckpoint,
    SignSubtree,
}

const REQUESTS: [(Request, &str); 2] =
    [(Request::AddCheckpoint, "add-checkpoint"), (Request::SignSubtree, "sign-subtree")];

/// What can come of it.
const RESULTS: [&str; 16] = [
    "cosigned",
    "malformed",
    "unknown-log",
    "not-signed-by-log",
    "extensions",
    "old-size",
    "conflict",
    "inconsistent",
    "not-cosigned",
    "not-offered",
    "limited",
    "not-stored",
    "no-signature",
    "state-uncertain",
    "clock",
    "other",
];

/// The upper ends of the buckets, in microseconds.
const ENDS_US: [u64; 13] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 10_000_000];

fn result(done: &Result<Vec<SignatureLine>, AddError>) -> &'static str {
    match done {
        Ok(_) => "cosigned",
        Err(AddError::Request(_) | AddError::SubtreeRequest(_)) => "malformed",
        Err(AddError::Refused(Refusal::UnknownLog) | AddError::SubtreeRefused(SubtreeRefusal::UnknownLog)) => {
            "unknown-log"
        }
        Err(AddError::Refused(Refusal::NotSigned)) => "not-signed-by-log",
        Err(AddError::Refused(Refusal::Extensions)) => "extensions",
        Err(AddError::Refused(Refusal::OldSizeBeyondCheckpoint)) => "old-size",
        Err(AddError::Refused(Refusal::Conflict { .. })) => "conflict",
        Err(
            AddError::Refused(Refusal::Inconsistent | Refusal::EmptyTreeRoot)
            | AddError::SubtreeRefused(SubtreeRefusal::Inconsistent),
        ) => "inconsistent",
        Err(AddError::SubtreeRefused(SubtreeRefusal::NotCosigned)) => "not-cosigned",
        Err(AddError::NoSubtrees) => "not-offered",
        Err(AddError::TooMany { .. }) => "limited",
        Err(AddError::NotStored) => "not-stored",
        Err(AddError::NotSigned) => "no-signature",
        Err(AddError::Broken) => "state-uncertain",
        Err(AddError::Clock) => "clock",
    }
}

/// How often what came of it.
#[derive(Default)]
pub(super) struct Counts([[AtomicU64; RESULTS.len()]; REQUESTS.len()]);

impl Counts {
    fn add(&self, request: Request, result: &str) {
        let place = RESULTS.iter().position(|known| *known == result).unwrap_or(RESULTS.len() - 1);
        if let Some(count) = self.0.get(request as usize).and_then(|counts| counts.get(place)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Those that there were any of.
    fn all(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        REQUESTS.iter().zip(&self.0).flat_map(|((_, request), counts)| {
            let counts = RESULTS.iter().zip(counts).map(|(result, count)| (*result, count.load(Ordering::Relaxed)));
            counts.filter(|(_, count)| *count > 0).map(|(result, count)| (*request, result, count))
        })
    }
}

/// How long answers took.
#[derive(Default)]
pub(super) struct Times([Took; REQUESTS.len()]);

#[derive(Default)]
struct Took {
    /// By the first bucket that it fits into; the last is for all that took longer.
    buckets: [AtomicU64; ENDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Times {
    fn add(&self, request: Request, took: Duration) {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let place = ENDS_US.partition_point(|end_us| *end_us < took_us);
        if let Some(took) = self.0.get(request as usize) {
            took.sum_us.fetch_add(took_us, Ordering::Relaxed);
            if let Some(bucket) = took.buckets.get(place) {
                bucket.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Witness {
    /// Handles a request, and counts what came of it. `handle` says which log was named.
    pub(super) fn counted(
        &self,
        request: Request,
        handle: impl FnOnce(&mut Option<Arc<Log>>) -> Result<Vec<SignatureLine>, AddError>,
    ) -> Result<Vec<SignatureLine>, AddError> {
        let (start, mut asked) = (Instant::now(), None);
        let done = handle(&mut asked);
        self.times.add(request, start.elapsed());
        asked.as_ref().map_or(&self.unknown, |log| &log.counts).add(request, result(&done));
        done
    }

    /// What it did, in Prometheus's text format. Waits for the disk where a write is under way.
    #[must_use]
    pub fn metrics(&self) -> String {
        let mut page = Page(String::new());
        self.requests(&mut page);
        let logs = self.logs();
        page.one("logs", "gauge", "Logs that are cosigned for.", logs.len() as u64);
        page.about("log_size", "gauge", "The size that was cosigned last.");
        for (log, size, _) in &logs {
            page.row("log_size", &[("log", log.origin.as_str())], size);
        }
        page.about("log_cosigned_timestamp_seconds", "gauge", "When a checkpoint was cosigned last.");
        for (log, _, time) in &logs {
            if let Some(time) = time {
                page.row("log_cosigned_timestamp_seconds", &[("log", log.origin.as_str())], time);
            }
        }
        let ledger = self.ledger.extent();
        page.one("ledger_bytes", "gauge", "How long each copy of the ledger is.", ledger.bytes);
        page.one("ledger_records", "counter", "Records written in the life of the ledger.", ledger.records);
        page.one("ledger_generation", "counter", "How often it was written anew.", ledger.generation);
        let healed = u64::from(self.healed().is_some());
        page.one("ledger_healed", "gauge", "1: one copy was damaged at the start, and was made anew.", healed);
        let certain = u64::from(!self.is_broken());
        page.one("state_certain", "gauge", "0: the disk failed; nothing is signed any more.", certain);
        page.0
    }

    fn requests(&self, page: &mut Page) {
        page.about("requests_total", "counter", "Requests answered, by log and result.");
        let logs: Vec<(String, Arc<Log>)> =
            self.all().into_iter().map(|log| (log.trusted().origin.to_string(), log)).collect();
        let known = logs.iter().map(|(origin, log)| (origin.as_str(), &log.counts));
        for (log, counts) in [("", &self.unknown)].into_iter().chain(known) {
            for (request, result, count) in counts.all() {
                page.row("requests_total", &[("request", request), ("log", log), ("result", result)], count);
            }
        }
        page.about("request_seconds", "histogram", "From the whole request to its answer.");
        for ((_, request), took) in REQUESTS.iter().zip(&self.times.0) {
            let mut so_far = 0;
            let ends = ENDS_US.iter().map(|end_us| seconds(*end_us)).chain(["+Inf".to_owned()]);
            for (end, bucket) in ends.zip(&took.buckets) {
                so_far += bucket.load(Ordering::Relaxed);
                page.row("request_seconds_bucket", &[("request", request), ("le", &end)], so_far);
            }
            let sum = seconds(took.sum_us.load(Ordering::Relaxed));
            page.row("request_seconds_sum", &[("request", request)], sum);
            page.row("request_seconds_count", &[("request", request)], so_far);
        }
    }
}

fn seconds(us: u64) -> String {
    let text = format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

struct Page(String);

impl Page {
    fn about(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP solelog_witness_{name} {help}\n# TYPE solelog_witness_{name} {kind}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.about(name, kind, help);
        self.row(name, &[], value);
    }

    fn row(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        // An origin may have either in it.
        let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"");
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "solelog_witness_{name}{labels} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_result_has_its_row_and_every_time_its_bucket() {
        let counts = Counts::default();
        counts.add(Request::SignSubtree, "not-offered");
        counts.add(Request::AddCheckpoint, "never heard of");
        let all: Vec<_> = counts.all().collect();
        assert_eq!(all, [("add-checkpoint", "other", 1), ("sign-subtree", "not-offered", 1)]);

        let times = Times::default();
        for us in [0, 100, 101, 9_999_999, 10_000_001] {
            times.add(Request::AddCheckpoint, Duration::from_micros(us));
        }
        let buckets: Vec<u64> = times.0[0].buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        assert_eq!((buckets[0], buckets[1], buckets[12], buckets[13]), (2, 1, 1, 1));
        assert_eq!([100, 2_500, 1_000_000, 0].map(seconds), ["0.0001", "0.0025", "1", "0"]);
    }

    #[test]
    fn labels_are_escaped() {
        let mut page = Page(String::new());
        page.row("log_size", &[("log", "a\"b\\c")], 1);
        assert_eq!(page.0, "solelog_witness_log_size{log=\"a\\\"b\\\\c\"} 1\n");
    }
}
