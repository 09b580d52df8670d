//! Delegations: what a passkey has signed, verified for those who can't.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use scal3::ucan::Delegation;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::{Error, Problem};
use super::{App, base64, json};
use crate::authority::delegations::Judged;
use crate::tokens::Scope;

/// A delegation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Given {
    /// The token: a UCAN 1.0 delegation in DAG-CBOR, base64.
    token: String,
    /// To whom the same is to be delegated on, a `did`. The delegation must then be given to this server.
    #[serde(default)]
    to: Option<String>,
}

/// What this server says of it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Verdict {
    /// `verified` or `refused`.
    #[schema(example = "verified")]
    verdict: &'static str,
    /// Why it is refused.
    reason: Option<String>,
    /// The delegation's CID.
    cid: String,
    /// Who delegates.
    issuer: String,
    /// To whom.
    audience: String,
    /// Whose power it is; null: the issuer's own.
    subject: Option<String>,
    /// What may be done.
    command: String,
    /// When it ends, seconds since 1970; null: never.
    expires_s: Option<u64>,
    /// The person whose authenticator signed, hex; null where nobody here has it.
    participant: Option<String>,
    /// The authenticator, hex.
    authenticator: Option<String>,
    /// This server's name: to whom a delegation is given that is to be delegated on.
    server: String,
    /// The same power, delegated on with this server's plain key.
    standard: Option<Standard>,
    /// The entry that says what was judged; null where nobody here is concerned.
    index: Option<u64>,
}

/// A delegation that anybody can verify.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Standard {
    /// The token, base64.
    token: String,
    /// Its CID.
    cid: String,
}

/// Verify a delegation.
///
/// A UCAN that a passkey has signed is judged by what this log knows of the passkey: enrolled, active, asked on one of its
/// origins, its user verified. With `to`, the same is delegated on with this server's Ed25519 key; that is this server's word,
/// and names the first by its CID. Needs a token with the scope `authorise`.
#[utoipa::path(
    post,
    path = "/v1/ucan/verify",
    tag = "authority",
    request_body = Given,
    responses(
        (status = 200, body = Verdict, description = "A verdict, whichever"),
        (status = "4XX", body = Problem, content_type = "application/problem+json", description = "No delegation"),
    ),
    security(("token" = []))
)]
pub(super) async fn verify(State(app): State<App>, headers: HeaderMap, body: Body) -> Result<Response, Error> {
    let _admitted = app.admit(&headers, Scope::Authorise)?;
    let authority = app.authority()?.clone();
    let (Given { token, to }, _held) = json::read(&app, &headers, body).await?;
    let token = json::bytes("token", &token)?;
    let Judged { delegation, signer, refused, restated, server, logged } =
        app.step("delegation", authority.judge_delegation(token, to).await)?;
    let standard = |delegation: Delegation| Standard { token: base64(delegation.to_bytes()), cid: delegation.cid() };
    let payload = delegation.payload();
    let verdict = Verdict {
        verdict: if refused.is_none() { "verified" } else { "refused" },
        reason: refused.map(|refusal| refusal.to_string()),
        cid: delegation.cid(),
        issuer: payload.issuer.clone(),
        audience: payload.audience.clone(),
        subject: payload.subject.clone(),
        command: payload.command.clone(),
        expires_s: payload.expires_s,
        participant: signer.as_ref().map(|claims| claims.participant.to_hex()),
        authenticator: signer.as_ref().map(|claims| claims.id().to_hex()),
        server,
        standard: restated.map(standard),
        index: logged.map(|appended| appended.index.get()),
    };
    Ok(Json(verdict).into_response())
}
