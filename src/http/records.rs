//! Records: in with `POST /v1/records`, out with `GET /v1/records/{index}`.
//!
//! ```text
//! token ── type ── body (bounded) ── parse, three signatures (pool) ── sequencer ── the level asked for ── answer
//! ```
//!
//! Nothing is appended unless every step before it went through, and nothing is answered before it is durable (I-2, I-3).

use std::time::{Duration, Instant};

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use scal3::cbor;
use scal3::entry::{Entry, Kind};
use serde::{Deserialize, Serialize};
use tlog::{LeafHash, LeafIndex};
use utoipa::{IntoParams, ToSchema};

use super::body::{self, BodyError, media_type};
use super::problem::{Error, Problem};
use super::{App, Params, base64, base64_all, index};
use crate::openings::Shown;
use crate::store::evidence::SEAL;
use crate::submission::{AppendError, Appended, Covered, Reached, Submission, Until};
use crate::tokens::Scope;

/// How long an append is waited for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AppendQuery {
    /// What to wait for: `sequenced` (durable at an index), `integrated` (a signed head covers it) or `witnessed` (the
    /// published checkpoint does, with its quorum of cosignatures). The answer says what was reached.
    #[param(inline)]
    #[serde(default)]
    until: Level,
}

impl AppendQuery {
    /// What was asked for.
    pub(super) fn until(&self) -> Until {
        self.until.into()
    }
}

/// A level.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// Durable at an index.
    Sequenced,
    /// A signed head covers it.
    #[default]
    Integrated,
    /// The published checkpoint covers it, with its quorum of cosignatures.
    Witnessed,
}

impl From<Level> for Until {
    fn from(level: Level) -> Until {
        match level {
            Level::Sequenced => Until::Sequenced,
            Level::Integrated => Until::Integrated,
            Level::Witnessed => Until::Witnessed,
        }
    }
}

/// What was appended.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AppendAnswer {
    /// Its place in the log, for ever.
    index: u64,
    /// True when the log already had it: the log has not grown.
    existing: bool,
    /// How far it has come.
    reached: Level,
    /// The time of its round, milliseconds since 1970.
    time_ms: u64,
    /// The entry, base64.
    entry: String,
    /// Its leaf hash, base64.
    leaf_hash: String,
    /// The signed head that covers it, from `integrated` on.
    #[serde(skip_serializing_if = "Option::is_none")]
    head: Option<Head>,
    /// The inclusion proof under that head, base64, the leaf's sibling first.
    #[serde(skip_serializing_if = "Option::is_none")]
    inclusion: Option<Vec<String>>,
    /// Where its receipt is.
    #[schema(example = "/v1/receipts/7")]
    receipt: String,
}

/// A signed head.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Head {
    /// Entries under it.
    pub size: u64,
    /// Its root, base64.
    pub root: String,
    /// The signed note.
    pub checkpoint: String,
}

/// What became of one record of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Outcome {
    /// The status that the record would have had alone: 201 new, 200 already there, or a problem's.
    status: u16,
    /// What was appended.
    #[serde(skip_serializing_if = "Option::is_none")]
    appended: Option<AppendAnswer>,
    /// Why nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem>,
}

/// Append a record, or a batch of records.
///
/// One opening as `application/cbor`, or a CBOR sequence of them as `application/cbor-seq`. The same authorisation sent
/// again is answered with the same index, and the log does not grow. Needs a token with the scope `append`.
#[utoipa::path(
    post,
    path = "/v1/records",
    tag = "records",
    params(AppendQuery),
    request_body(content(
        (Vec<u8> = "application/cbor"),
        (Vec<u8> = "application/cbor-seq"),
    ), description = "An opening (schemas/), or a sequence of up to 1,024 openings or 8 MiB"),
    responses(
        (status = 201, body = AppendAnswer, description = "Appended", headers(("Location" = String, description = "The record"))),
        (status = 200, body = AppendAnswer, description = "The log already had it. For a batch: an array with one outcome for each record, in order"),
        (status = "4XX", body = Problem, content_type = "application/problem+json", description = "Nothing was appended"),
        (status = "5XX", body = Problem, content_type = "application/problem+json", description = "See `next`"),
    ),
    security(("token" = []))
)]
pub(super) async fn append(
    State(app): State<App>,
    headers: HeaderMap,
    query: Result<Params<AppendQuery>, Error>,
    request: Body,
) -> Result<Response, Error> {
    let admitted = app.admit(&headers, Scope::Append)?;
    let until = query?.0.until();
    let batch = match media_type(&headers).as_str() {
        "application/cbor" => false,
        "application/cbor-seq" => true,
        _ => return Err(Error::MediaType("application/cbor for one record, application/cbor-seq for a batch")),
    };
    // In a task of its own: a client that goes away must not free its quota, and its share of the memory, while the
    // work that it asked for goes on.
    let work = tokio::spawn(async move {
        let _admitted = admitted;
        if batch { many(&app, &headers, request, until).await } else { one(&app, &headers, request, until).await }
    });
    work.await.unwrap_or_else(|error| Err(Error::Internal(error.to_string())))
}

async fn one(app: &App, headers: &HeaderMap, request: Body, until: Until) -> Result<Response, Error> {
    let mut held = app.room().enter();
    let limit = app.config().limits.opening_bytes;
    let opening = body::read(request, headers, limit, patience(app), &mut held).await?;
    let began = Instant::now();
    let verdict = app.engine().verify(opening).await;
    let appended = match verdict {
        Ok(verified) => app.engine().append(Submission::Record(Box::new(verified)), until).await,
        Err(error) => Err(error),
    };
    count(app, &appended, began.elapsed());
    Ok(created(appended?))
}

async fn many(app: &App, headers: &HeaderMap, request: Body, until: Until) -> Result<Response, Error> {
    let mut held = app.room().enter();
    let limits = app.config().limits;
    let sequence = body::read(request, headers, limits.batch_bytes, patience(app), &mut held).await?;
    let openings = split(&sequence, limits.batch_records)?;
    drop(sequence);
    let began = Instant::now();
    let short = |opening: &Vec<u8>| opening.len() <= limits.opening_bytes;
    let fits: Vec<bool> = openings.iter().map(short).collect();
    let verdicts = app.engine().verify_all(openings.into_iter().filter(short).collect()).await;
    // Two rows are merged back into one: what was refused outside, and what the sequencer says of the rest.
    let (mut refused, mut submissions) = (Vec::new(), Vec::new());
    for verdict in verdicts {
        refused.push(match verdict {
            Ok(verified) => {
                submissions.push(Submission::Record(Box::new(verified)));
                None
            }
            Err(error) => Some(error),
        });
    }
    let mut appended = app.engine().append_batch(submissions, until).await.into_iter();
    let mut refused = refused.into_iter();
    let outcomes: Vec<Outcome> = fits
        .into_iter()
        .map(|fits| {
            if !fits {
                return Outcome::problem(Error::from(BodyError::TooLarge { limit: limits.opening_bytes }).problem());
            }
            let result = match refused.next().flatten() {
                Some(error) => Err(error),
                None => appended.next().unwrap_or(Err(AppendError::Dead)),
            };
            count(app, &result, began.elapsed());
            match result {
                Ok(appended) => Outcome {
                    status: status(&appended).as_u16(),
                    appended: Some(AppendAnswer::from(appended)),
                    problem: None,
                },
                Err(error) => Outcome::problem(Error::from(error).problem()),
            }
        })
        .collect();
    Ok(Json(outcomes).into_response())
}

impl Outcome {
    fn problem(problem: Problem) -> Outcome {
        Outcome { status: problem.status, appended: None, problem: Some(problem) }
    }
}

/// Splits a CBOR sequence (RFC 8742). One item that is not CBOR leaves no way to find the next, so it refuses them all.
fn split(mut sequence: &[u8], most: usize) -> Result<Vec<Vec<u8>>, Error> {
    let mut items = Vec::new();
    while !sequence.is_empty() {
        if items.len() == most {
            return Err(Error::Batch { item: most, fault: format!("a batch has at most {most} records") });
        }
        let (item, rest) =
            cbor::split_first(sequence).map_err(|e| Error::Batch { item: items.len(), fault: e.to_string() })?;
        // It is sealed in its place later, and a tag comes behind it.
        let mut opening = Vec::with_capacity(item.len() + SEAL);
        opening.extend_from_slice(item);
        items.push(opening);
        sequence = rest;
    }
    if items.is_empty() {
        return Err(Error::Batch { item: 0, fault: "the batch is empty".to_owned() });
    }
    Ok(items)
}

fn patience(app: &App) -> Duration {
    Duration::from_millis(app.config().http.body_timeout_ms)
}

/// Counts an append by what became of it, and notes it: by its place, and never by whose it is (I-8).
pub(super) fn count(app: &App, result: &Result<Appended, AppendError>, took: Duration) {
    let (outcome, reached) = match result {
        Ok(appended) => (if appended.existing { "existing" } else { "new" }, Some(&appended.reached)),
        Err(AppendError::Refused(refusal)) => (refusal.check(), None),
        Err(AppendError::UnknownCredential(_)) => ("unknown-credential", None),
        Err(AppendError::Conflict(_)) => ("conflict", None),
        Err(AppendError::AlreadyIssued(_)) => ("already-issued", None),
        Err(AppendError::Credential(_)) => ("credential-refused", None),
        Err(AppendError::KeyChange(_)) => ("internal", None),
        Err(AppendError::Frozen { .. }) => ("frozen", None),
        Err(AppendError::Claims(_) | AppendError::Authenticator(_)) => ("authenticator-refused", None),
        Err(AppendError::Policy(_)) => ("policy-refused", None),
        Err(AppendError::Erasure(_)) => ("not-erasable", None),
        Err(AppendError::Inactive(_) | AppendError::OutOfAttempts) => ("inactive", None),
        Err(AppendError::ChallengeSpent(_)) => ("challenge-spent", None),
        Err(AppendError::Stream(_)) => ("stream", None),
        Err(AppendError::Body(_)) => ("opening-refused", None),
        Err(AppendError::Full { .. }) => ("busy", None),
        Err(AppendError::NoSpace) => ("disk-full", None),
        Err(AppendError::ClockBehind { .. }) => ("clock", None),
        Err(AppendError::ShuttingDown) => ("stopping", None),
        Err(AppendError::Dead) => ("stopped", None),
    };
    app.metrics().appends.with_label_values(&[outcome]).inc();
    let index = result.as_ref().ok().map(|appended| appended.index.get());
    match index {
        Some(index) => tracing::debug!(index, outcome, took_us = took.as_micros() as u64, "append"),
        None => tracing::info!(outcome, "an append was refused"),
    }
    if let Some(reached) = reached {
        let reached = match reached {
            Reached::Sequenced => "sequenced",
            Reached::Integrated(_) => "integrated",
            Reached::Witnessed(_) => "witnessed",
        };
        app.metrics().append_seconds.with_label_values(&[reached]).observe(took.as_secs_f64());
    }
}

fn status(appended: &Appended) -> StatusCode {
    if appended.existing { StatusCode::OK } else { StatusCode::CREATED }
}

/// The answer to one append.
pub(super) fn created(appended: Appended) -> Response {
    let status = status(&appended);
    let location = format!("/v1/records/{}", appended.index.get());
    let mut response = (status, Json(AppendAnswer::from(appended))).into_response();
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

impl From<Appended> for AppendAnswer {
    fn from(appended: Appended) -> AppendAnswer {
        let (reached, covered) = match appended.reached {
            Reached::Sequenced => (Level::Sequenced, None),
            Reached::Integrated(covered) => (Level::Integrated, Some(covered)),
            Reached::Witnessed(covered) => (Level::Witnessed, Some(covered)),
        };
        let (head, inclusion) = match covered {
            Some(Covered { head, proof }) => (Some(Head::of(&head)), Some(base64_all(&proof.hashes))),
            None => (None, None),
        };
        AppendAnswer {
            index: appended.index.get(),
            existing: appended.existing,
            reached,
            time_ms: appended.time_ms,
            entry: base64(&appended.entry),
            leaf_hash: base64(appended.leaf_hash.0),
            head,
            inclusion,
            receipt: format!("/v1/receipts/{}", appended.index.get()),
        }
    }
}

impl Head {
    /// As it travels.
    pub(super) fn of(head: &crate::progress::SignedHead) -> Head {
        Head {
            size: head.head.size.get(),
            root: head.head.root.to_base64(),
            checkpoint: String::from_utf8_lossy(&head.note).into_owned(),
        }
    }
}

/// An entry, and what it commits to.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RecordAnswer {
    /// Its place in the log.
    index: u64,
    /// What it is about.
    kind: &'static str,
    /// The time of its round, milliseconds since 1970.
    time_ms: u64,
    /// The entry, base64: the bytes of the leaf.
    entry: String,
    /// Its leaf hash, base64.
    leaf_hash: String,
    /// What it commits to, hex.
    commitment: String,
    /// Where it is found in its subscriber's index, hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    index_key: Option<String>,
    /// What it commits to, as far as it can be shown.
    opening: OpeningAnswer,
}

/// What an entry commits to, as far as it can be shown.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OpeningAnswer {
    /// Whether it is shown, and why not.
    state: OpeningState,
    /// The opening, base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
    /// In words.
    meaning: &'static str,
}

/// Whether an opening is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum OpeningState {
    /// It is in `bytes`.
    Shown,
    /// It needs a token with the scope `read`.
    Restricted,
    /// It was erased; the entry and its proofs stay.
    Erased,
    /// The entry is public and carries everything itself.
    Public,
}

/// One entry.
///
/// The opening is shown to tokens with the scope `read`, or to everybody where the log is configured so. An erased one
/// is said to be erased.
#[utoipa::path(
    get,
    path = "/v1/records/{index}",
    tag = "records",
    params(("index" = u64, Path, description = "Its place in the log")),
    responses(
        (status = 200, body = RecordAnswer),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No signed head covers that index"),
    ),
    security((), ("token" = []))
)]
pub(super) async fn show(
    State(app): State<App>,
    Path(at): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let at = index(&at)?;
    let reading = app.may_read(&headers)?;
    let answer = app.blocking(move |engine| {
        let bytes = engine.entry(at)?;
        let entry = Entry::parse(&bytes).map_err(|e| Error::Internal(format!("entry {}: {e}", at.get())))?;
        let opening = if entry.kind.is_public() {
            OpeningAnswer { state: OpeningState::Public, bytes: None, meaning: "the entry carries its body itself" }
        } else if reading.openings() {
            shown(engine.opening(at)?)
        } else {
            OpeningAnswer {
                state: OpeningState::Restricted,
                bytes: None,
                meaning: "a token with the scope `read` is needed",
            }
        };
        Ok(RecordAnswer {
            index: at.get(),
            kind: kind_name(entry.kind),
            time_ms: entry.time_ms,
            leaf_hash: base64(LeafHash::of(&bytes).0),
            entry: base64(&bytes),
            commitment: entry.commitment.to_hex(),
            index_key: entry.index_key.map(|k| k.to_hex()),
            opening,
        })
    });
    Ok(Json(answer.await?).into_response())
}

fn shown(shown: Shown) -> OpeningAnswer {
    match shown {
        Shown::Open(bytes) => {
            OpeningAnswer { state: OpeningState::Shown, bytes: Some(base64(bytes)), meaning: "the opening" }
        }
        Shown::Erased => OpeningAnswer {
            state: OpeningState::Erased,
            bytes: None,
            meaning: "the opening was erased; nobody can show it again",
        },
        Shown::Public => {
            OpeningAnswer { state: OpeningState::Public, bytes: None, meaning: "the entry carries its body itself" }
        }
    }
}

/// The word for a kind of entry.
pub(super) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Genesis => "genesis",
        Kind::Instruction => "instruction",
        Kind::Outcome => "outcome",
        Kind::Status => "status",
        Kind::Policy => "policy",
        Kind::Network => "network",
        Kind::IndexRoot => "index-root",
        Kind::Erasure => "erasure",
        Kind::Key => "key",
        Kind::Event => "event",
        Kind::Delegation => "delegation",
    }
}

/// Where an index or a hash of 64 hex digits leads.
pub(super) async fn find(app: &App, text: String) -> Result<LeafIndex, Error> {
    if text.len() != 64 {
        return index(&text);
    }
    let key = tlog::Hash::from_hex(&text)
        .ok_or_else(|| Error::Parameter("an index key has 64 lower-case hex digits".to_owned()))?;
    app.blocking(move |engine| engine.lookup(&key)?.ok_or(Error::NoSuchIndexKey)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_is_split_or_refused_as_a_whole() {
        assert_eq!(
            split(&[0x01, 0x81, 0x02, 0x40], 3).expect("three items"),
            [vec![0x01], vec![0x81, 0x02], vec![0x40]]
        );
        assert!(matches!(split(&[0x01, 0x02], 1), Err(Error::Batch { item: 1, .. })));
        assert!(matches!(split(&[], 1), Err(Error::Batch { item: 0, .. })));
        // A length beyond the end, an indefinite length, a nesting too deep: the second item each time.
        for broken in [
            &[0x01, 0x5b, 0x7f, 0, 0, 0, 0, 0, 0, 0][..],
            &[0x01, 0x9f, 0x01, 0xff],
            &[0x01, 0x81, 0x81, 0x81, 0x81, 0x81, 0x81, 0x81, 0x81, 0x81, 0x01],
        ] {
            assert!(matches!(split(broken, 9), Err(Error::Batch { item: 1, .. })), "{broken:?}");
        }
    }
}
