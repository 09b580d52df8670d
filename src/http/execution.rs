//! Execution: what became of an instruction that is published.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::{Error, Problem};
use super::{App, auth, base64, index};
use crate::execution::Settled;
use crate::tokens::Scope;

/// What became of an instruction, as the log has it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OutcomeAnswer {
    /// `executed` or `blocked`. Why it was blocked stands in the opening of the entry, which the subscriber can read.
    #[schema(example = "executed")]
    name: String,
    /// The entry that says so.
    index: u64,
    /// The instruction's id, hex.
    about: String,
    /// What came of it, base64: for `document.sign` a JWS in its compact form.
    result: Option<String>,
}

impl From<Settled> for OutcomeAnswer {
    fn from(settled: Settled) -> OutcomeAnswer {
        OutcomeAnswer {
            name: settled.name,
            index: settled.index.get(),
            about: settled.instruction_id.to_hex(),
            result: settled.result.map(base64),
        }
    }
}

/// What was executed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Executed {
    /// What became of it.
    outcome: OutcomeAnswer,
}

/// Execute a record.
///
/// Once the published checkpoint covers it; with witnesses, that is one that they have cosigned. An authorisation has one
/// outcome: asked again, it is the same. Needs a token with the scope `authorise`, or the subscriber's own read token of
/// the record, `Authorization: SolelogRead <64 hex digits>`.
#[utoipa::path(
    post,
    path = "/v1/records/{index}/execute",
    tag = "authority",
    params(("index" = u64, Path, description = "The record's place in the log")),
    responses(
        (status = 200, body = Executed),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "Not published yet", headers(("Retry-After" = u64, description = "Seconds"))),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "Nothing that is executed here"),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("token" = []))
)]
pub(super) async fn execute(
    State(app): State<App>,
    Path(at): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let authority = app.authority()?.clone();
    let at = index(&at)?;
    let (_own, admitted) = match auth::read_token(&headers)? {
        Some(token) => (Some(app.may_read_own(at, &token).await?), None),
        None => (None, Some(app.admit(&headers, Scope::Authorise)?)),
    };
    // In a task of its own: what it does it logs, whoever waits for it.
    let work = tokio::spawn(async move {
        let _admitted = admitted;
        authority.execute(at).await
    });
    let done = work.await.map_err(|error| Error::Internal(error.to_string()))?;
    let settled = app.step("execution", done)?;
    Ok(Json(Executed { outcome: settled.into() }).into_response())
}
