//! The life of a credential: stopped by its device or its provider, let act again by its provider; and whose are whose.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use scal3::request::Stop;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::credentials::CredentialAnswer;
use super::intents::BySignature;
use super::listen::Peer;
use super::problem::{Error, Problem};
use super::records::AppendAnswer;
use super::{App, Params, json};
use crate::authority::lifecycle::ByDevice;
use crate::submission::Appended;
use crate::tokens::Scope;

/// A change, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Why {
    /// For the record. The subscriber reads it, and so does an auditor.
    #[schema(example = "the phone was lost")]
    reason: String,
    /// The device that stops its own credential. Without it, a token with the scope `manage` is needed.
    #[serde(default)]
    device: Option<BySignature>,
}

/// A change that the provider alone can make, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Because {
    /// For the record. The subscriber reads it, and so does an auditor.
    #[schema(example = "came to the counter with a passport")]
    reason: String,
}

/// The longest reason.
const REASON: usize = 1024;

/// Suspend a credential: it may not act until the provider resumes it.
#[utoipa::path(
    post,
    path = "/v1/credentials/{id}/suspend",
    tag = "authority",
    params(("id" = String, Path, description = "64 hex digits")),
    request_body = Why,
    responses((status = 200, body = AppendAnswer), (status = "4XX", body = Problem, content_type = "application/problem+json")),
    security((), ("token" = []))
)]
pub(super) async fn suspend(
    state: State<App>,
    id: Path<String>,
    peer: Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    stop(state, id, peer, headers, body, Stop::Suspend).await
}

/// Revoke a credential: it may never act again.
#[utoipa::path(
    post,
    path = "/v1/credentials/{id}/revoke",
    tag = "authority",
    params(("id" = String, Path, description = "64 hex digits")),
    request_body = Why,
    responses((status = 200, body = AppendAnswer), (status = "4XX", body = Problem, content_type = "application/problem+json")),
    security((), ("token" = []))
)]
pub(super) async fn revoke(
    state: State<App>,
    id: Path<String>,
    peer: Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    stop(state, id, peer, headers, body, Stop::Revoke).await
}

async fn stop(
    State(app): State<App>,
    Path(id): Path<String>,
    Extension(Peer(source)): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
    what: Stop,
) -> Result<Response, Error> {
    let authority = app.authority()?.clone();
    let id = json::hash("id", &id)?;
    let (Why { reason, device }, _held): (Why, _) = json::read(&app, &headers, body).await?;
    let reason = short(reason)?;
    let (by, _admitted) = match device {
        Some(BySignature { time_ms, signature }) => {
            (Some(ByDevice { time_ms, signature: json::bytes("device.signature", &signature)?, source }), None)
        }
        None => (None, Some(app.admit(&headers, Scope::Manage)?)),
    };
    Ok(changed(authority.stop(id, what, reason, by).await?))
}

/// Let a suspended credential act again.
///
/// The provider decides that, and no device: a thief has the device.
#[utoipa::path(
    post,
    path = "/v1/credentials/{id}/resume",
    tag = "authority",
    params(("id" = String, Path, description = "64 hex digits")),
    request_body = Because,
    responses((status = 200, body = AppendAnswer), (status = "4XX", body = Problem, content_type = "application/problem+json")),
    security(("token" = []))
)]
pub(super) async fn resume(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let (authority, _admitted) = (app.authority()?.clone(), app.admit(&headers, Scope::Manage)?);
    let (id, reason) = (json::hash("id", &id)?, because(&app, &headers, body).await?);
    Ok(changed(authority.resume(id, reason).await?))
}

/// Speak for a successor whose predecessor can't: the device is lost, or the PIN forgotten.
///
/// The reason stands in the log, and the person's own monitor sees it.
#[utoipa::path(
    post,
    path = "/v1/credentials/{id}/recover",
    tag = "authority",
    params(("id" = String, Path, description = "64 hex digits")),
    request_body = Because,
    responses((status = 200, body = AppendAnswer), (status = "4XX", body = Problem, content_type = "application/problem+json")),
    security(("token" = []))
)]
pub(super) async fn recover(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let (authority, _admitted) = (app.authority()?.clone(), app.admit(&headers, Scope::Manage)?);
    let (id, reason) = (json::hash("id", &id)?, because(&app, &headers, body).await?);
    Ok(changed(authority.recover(id, reason).await?))
}

pub(super) async fn because(app: &App, headers: &HeaderMap, body: Body) -> Result<String, Error> {
    let (Because { reason }, _held) = json::read(app, headers, body).await?;
    short(reason)
}

fn short(reason: String) -> Result<String, Error> {
    if reason.len() > REASON {
        return Err(Error::Parameter(format!("reason: at most {REASON} bytes")));
    }
    Ok(reason)
}

pub(super) fn changed(appended: Appended) -> Response {
    (StatusCode::OK, Json(AppendAnswer::from(appended))).into_response()
}

/// Whose credentials.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Whose {
    /// The person's pseudonym, hex: `subject` of a credential.
    subject: String,
}

/// All credentials of a person.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Credentials {
    /// The oldest first.
    credentials: Vec<CredentialAnswer>,
}

/// The credentials of a person, as they stand.
///
/// Needs a token with the scope `read`.
#[utoipa::path(
    get,
    path = "/v1/credentials",
    tag = "authority",
    params(Whose),
    responses((status = 200, body = Credentials), (status = "4XX", body = Problem, content_type = "application/problem+json")),
    security(("token" = []))
)]
pub(super) async fn list(
    State(app): State<App>,
    headers: HeaderMap,
    query: Result<Params<Whose>, Error>,
) -> Result<Json<Credentials>, Error> {
    let _admitted = app.admit(&headers, Scope::Read)?;
    let subject = json::hash("subject", &query?.0.subject)?;
    let states = app.blocking(move |engine| Ok(engine.credentials_of(&subject)?)).await?;
    Ok(Json(Credentials { credentials: states.iter().map(|state| CredentialAnswer::of(state, true)).collect() }))
}
