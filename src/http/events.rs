//! New heads, as they come: server-sent events. <https://html.spec.whatwg.org/multipage/server-sent-events.html>
//!
//! ```text
//! id: 4711
//! event: checkpoint
//! data: {"size":4711,"root":"…","witnessed":true,"checkpoint":"log.example\n4711\n…"}
//! ```
//! A head that is published while its reader is slow is passed over for the one after it. Whoever comes back with
//! `Last-Event-ID` gets the newest head only where it is another. The address is a convenience: what counts is the
//! checkpoint inside, signed and cosigned as the one at `/checkpoint`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use futures_util::stream::unfold;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, watch};
use utoipa::ToSchema;

use super::problem::{Error, Problem};
use super::{App, base64};
use crate::progress::{self, SignedHead};
use crate::submission::AppendError;

/// The header with which a reader says what it had.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// How often a stream says that it is still there. Proxies close what is silent for longer.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// When to try again where too many are listening, in seconds.
const RETRY: u64 = 30;

/// A new published head.
#[derive(Debug, Serialize, ToSchema)]
struct NewHead {
    /// Its size.
    size: u64,
    /// Its root, base64.
    root: String,
    /// Whether it has its quorum of cosignatures.
    witnessed: bool,
    /// The checkpoint, as `/checkpoint` serves it.
    checkpoint: String,
}

/// New published heads, as server-sent events. The first is the one that is published now.
#[utoipa::path(
    get,
    path = "/v1/events",
    tag = "log",
    params(("Last-Event-ID" = Option<u64>, Header, description = "The size of the head that the reader has")),
    responses(
        (status = 200, content_type = "text/event-stream", body = NewHead, description = "An event `checkpoint` for each"),
        (status = 503, body = Problem, content_type = "application/problem+json", description = "Too many are listening"),
    )
)]
pub(super) async fn stream(
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Error> {
    let place =
        Arc::clone(&app.inner.listeners).try_acquire_owned().map_err(|_| AppendError::Full { retry_after_s: RETRY })?;
    let had = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()).and_then(tlog::text::decimal);
    let listener =
        Listener { state: app.engine().subscribe(), ending: app.inner.ending.subscribe(), had, _place: place };
    let events = unfold(listener, |mut listener| async move {
        let event = event(&listener.next().await?);
        Some((Ok(event), listener))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// One reader.
struct Listener {
    state: watch::Receiver<progress::State>,
    ending: watch::Receiver<bool>,
    /// The size that it has seen.
    had: Option<u64>,
    _place: OwnedSemaphorePermit,
}

impl Listener {
    /// The next published head; nothing when the log or the server ends.
    async fn next(&mut self) -> Option<SignedHead> {
        let had = self.had;
        let news = |head: &SignedHead| had != Some(head.head.size.get());
        let head = tokio::select! {
            biased;
            _ = self.ending.wait_for(|ending| *ending) => return None,
            state = self.state.wait_for(|s| s.fault.is_some() || s.heads.published.as_ref().is_some_and(news)) => {
                state.ok().filter(|state| state.fault.is_none())?.heads.published.clone()?
            }
        };
        self.had = Some(head.head.size.get());
        Some(head)
    }
}

fn event(head: &SignedHead) -> Event {
    let size = head.head.size.get();
    let new = NewHead {
        size,
        root: base64(head.head.root.0),
        witnessed: head.witnessed,
        checkpoint: String::from_utf8_lossy(&head.note).into_owned(),
    };
    let event = Event::default().id(size.to_string()).event("checkpoint");
    // Only a map with other keys than text could fail to become JSON.
    event.json_data(new).unwrap_or_default()
}
