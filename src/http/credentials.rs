//! Credentials: in, signed by the provider; out, as they stand.

use std::time::{Duration, Instant};

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use scal3::limits::CREDENTIAL_MAX;
use scal3::state::{CredentialState, Status};
use serde::Serialize;
use tlog::Hash;
use utoipa::ToSchema;

use super::body::{self, media_type};
use super::problem::{Error, Problem};
use super::records::{AppendAnswer, AppendQuery, count, created};
use super::{App, Params, base64};
use crate::submission::Submission;
use crate::tokens::Scope;

/// Issue a credential: append the status entry that makes it known to this log.
///
/// The provider's backend makes and signs the credential; the log checks issuer, origin and provider. Needs a token with
/// the scope `append`. Its device can make its first record once a signed head covers the entry.
#[utoipa::path(
    post,
    path = "/v1/credentials",
    tag = "credentials",
    params(AppendQuery),
    request_body(content = Vec<u8>, content_type = "application/cose", description = "COSE_Sign1 (tag 18, ES256) over the claims (schemas/)"),
    responses(
        (status = 201, body = AppendAnswer, description = "Issued", headers(("Location" = String, description = "The entry"))),
        (status = 200, body = AppendAnswer, description = "It was issued before"),
        (status = "4XX", body = Problem, content_type = "application/problem+json", description = "Nothing was appended"),
        (status = "5XX", body = Problem, content_type = "application/problem+json", description = "See `next`"),
    ),
    security(("token" = []))
)]
pub(super) async fn issue(
    State(app): State<App>,
    headers: HeaderMap,
    query: Result<Params<AppendQuery>, Error>,
    request: Body,
) -> Result<Response, Error> {
    let admitted = app.admit(&headers, Scope::Append)?;
    let Params(query) = query?;
    if media_type(&headers) != "application/cose" {
        return Err(Error::MediaType("application/cose"));
    }
    // In a task of its own, as for records: quota and memory are held until the work is done, whoever waits for it.
    let work = tokio::spawn(async move {
        let _admitted = admitted;
        append(&app, &headers, query, request).await
    });
    work.await.unwrap_or_else(|error| Err(Error::Internal(error.to_string())))
}

async fn append(app: &App, headers: &HeaderMap, query: AppendQuery, request: Body) -> Result<Response, Error> {
    let mut held = app.room().enter();
    let patience = Duration::from_millis(app.config().http.body_timeout_ms);
    let bytes = body::read(request, headers, CREDENTIAL_MAX, patience, &mut held).await?;
    let began = Instant::now();
    let credential = app.blocking(move |engine| Ok(engine.read_credential(&bytes))).await?;
    let appended = match credential {
        Ok(credential) => app.engine().append(Submission::Credential(Box::new(credential)), query.until()).await,
        Err(error) => Err(error),
    };
    count(app, &appended, began.elapsed());
    Ok(created(appended?))
}

/// A credential as it stands.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CredentialAnswer {
    /// Its id, hex.
    id: String,
    /// `issued`, `active`, `suspended` or `revoked`.
    #[schema(example = "active")]
    status: &'static str,
    /// The entry that issued it.
    issued_at: u64,
    /// The sequence number of its next record.
    next_sequence: u64,
    /// What its next record must name as `previous`, hex.
    previous: String,
    /// How many status entries it has.
    status_entries: u64,
    /// The entry of its first record, which activated it.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_record: Option<u64>,
    /// How often the second factor was wrong since it was last right; for tokens with the scope `read`.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_attempts: Option<u64>,
    /// The credential itself, base64; for tokens with the scope `read`.
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<String>,
}

impl CredentialAnswer {
    /// What is said of a credential; `whole` to those who may read openings.
    pub(super) fn of(state: &CredentialState, whole: bool) -> CredentialAnswer {
        CredentialAnswer {
            id: state.credential().id().to_hex(),
            status: match state.status() {
                Status::Issued => "issued",
                Status::Active => "active",
                Status::Suspended => "suspended",
                Status::Revoked => "revoked",
            },
            issued_at: state.issued_at(),
            next_sequence: state.next_sequence(),
            previous: state.previous().to_hex(),
            status_entries: state.status_counter(),
            first_record: state.first_record(),
            failed_attempts: whole.then(|| state.attempts().in_a_row),
            credential: whole.then(|| base64(state.credential().as_bytes())),
        }
    }
}

/// How a credential stands, after everything that is durable.
///
/// A device asks this to reconcile before it signs. No token is needed: the id is a commitment that only those know who
/// have the credential.
#[utoipa::path(
    get,
    path = "/v1/credentials/{id}",
    tag = "credentials",
    params(("id" = String, Path, description = "64 hex digits")),
    responses(
        (status = 200, body = CredentialAnswer),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("token" = []))
)]
pub(super) async fn show(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<CredentialAnswer>, Error> {
    let id = Hash::from_hex(&id)
        .ok_or_else(|| Error::Parameter("a credential's id has 64 lower-case hex digits".to_owned()))?;
    let reading = app.may_read(&headers)?;
    let state = app.blocking(move |engine| engine.credential(&id)?.ok_or(Error::NoSuchCredential)).await?;
    Ok(Json(CredentialAnswer::of(&state, reading.openings())))
}
