//! For whoever runs the log: is it alive, is it ready, what does it count.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use crate::progress::Heads;

/// When each head last moved.
#[derive(Debug)]
pub(super) struct HeadClock {
    moved: Mutex<[(u64, Instant); 3]>,
}

/// The heads, as they are named in metrics.
const NAMES: [&str; 3] = ["committed", "integrated", "published"];

impl HeadClock {
    pub(super) fn new(heads: &Heads) -> HeadClock {
        HeadClock { moved: Mutex::new(sizes(heads).map(|size| (size, Instant::now()))) }
    }

    /// Takes note of the heads; gives size and age of each.
    pub(super) fn note(&self, heads: &Heads) -> [(u64, Duration); 3] {
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        for (known, size) in moved.iter_mut().zip(sizes(heads)) {
            if known.0 != size {
                *known = (size, Instant::now());
            }
        }
        moved.map(|(size, at)| (size, at.elapsed()))
    }
}

fn sizes(heads: &Heads) -> [u64; 3] {
    let published = heads.published.as_ref().map_or(0, |p| p.head.size.get());
    [heads.committed.size.get(), heads.integrated.head.size.get(), published]
}

/// Notes every change of the heads, so that their age is right whenever somebody asks.
pub(super) async fn watch(app: App) {
    let mut state = app.engine().subscribe();
    while state.changed().await.is_ok() {
        let heads = state.borrow_and_update().heads.clone();
        app.inner.heads.note(&heads);
    }
}

/// Whether the process is alive. It says nothing about whether it can do its work.
#[utoipa::path(get, path = "/livez", tag = "operations", responses((status = 200, content_type = "text/plain", body = String), (status = 503, content_type = "text/plain", body = String, description = "The log has stopped on a fault; restart it")))]
pub(super) async fn livez(State(app): State<App>) -> Response {
    if app.engine().subscribe().borrow().fault.is_some() {
        return super::read::plain(StatusCode::SERVICE_UNAVAILABLE, "the log has stopped");
    }
    super::read::plain(StatusCode::OK, "alive")
}

/// Whether the log can do its work.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReadyAnswer {
    /// Whether everything below is `ok`.
    ready: bool,
    /// Each check by name: `ok`, or what is wrong.
    checks: BTreeMap<&'static str, String>,
}

/// Whether the log can do its work: each check by name.
#[utoipa::path(get, path = "/readyz", tag = "operations", responses((status = 200, body = ReadyAnswer), (status = 503, body = ReadyAnswer)))]
pub(super) async fn readyz(State(app): State<App>) -> Response {
    let heads = app.engine().heads();
    let [_, (integrated, integrated_age), (published, _)] = app.inner.heads.note(&heads);
    let config = app.config();
    // One candidate may time out and the next may still be on its way.
    let patience = Duration::from_millis(config.witnesses.timeout_ms.saturating_mul(3) + config.pace.head_interval_ms);
    let (held, capacity) = app.room().load();
    let mut checks = BTreeMap::new();
    let mut check = |name, fault: Option<String>| {
        checks.insert(name, fault.unwrap_or_else(|| "ok".to_owned()));
    };
    check(
        "engine",
        app.engine().subscribe().borrow().fault.is_some().then(|| "the log has stopped; restart it".to_owned()),
    );
    check(
        "checkpoint",
        (published < integrated && integrated_age > patience)
            .then(|| format!("{} entries are signed and not published: ask the witnesses", integrated - published)),
    );
    check("tokens", app.tokens().readable().err().map(|_| "the token file can't be read; see the log".to_owned()));
    check("queue", (held > capacity / 10 * 9).then(|| format!("{held} of {capacity} bytes are taken")));
    check("disk", disk(config));
    let ready = checks.values().all(|c| c == "ok");
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(ReadyAnswer { ready, checks })).into_response()
}

/// A round, its tiles and its evidence must fit, or appends are refused.
fn disk(config: &crate::config::Config) -> Option<String> {
    let needed = config.limits.round_bytes as u64 * 4;
    match rustix::fs::statvfs(&config.data) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            (free < needed).then(|| format!("{free} bytes are free, {needed} are needed"))
        }
        Err(error) => Some(format!("its free space can't be read: {error}")),
    }
}

/// What Prometheus reads.
pub(super) async fn metrics(State(app): State<App>) -> Response {
    let metrics = app.metrics();
    let heads = app.inner.heads.note(&app.engine().heads());
    for (name, (size, age)) in NAMES.iter().zip(heads) {
        metrics.head_size.with_label_values(&[name]).set(size as f64);
        metrics.head_age.with_label_values(&[name]).set(age.as_secs_f64());
    }
    metrics.waiting_bytes.set(app.room().load().0 as f64);
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], metrics.render()).into_response()
}
