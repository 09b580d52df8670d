//! Policies for instructions: in, where a record speaks for it. The one in force stands in `/v1/log`.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use scal3::limits::POLICY_MAX;

use super::body::{self, media_type};
use super::problem::{Error, Problem};
use super::records::{AppendAnswer, AppendQuery, count, created};
use super::{App, Params};
use crate::submission::Submission;
use crate::tokens::Scope;

/// Bring a policy into force: append the entry with its document, which everybody can read.
///
/// Only an instruction lets a policy change: a record of class `policy.change` that names the SHA-256 of this very document,
/// authorised under the policy in force by somebody whom that policy allows it, not more than a day ago. Needs a token with the
/// scope `append`.
#[utoipa::path(
    post,
    path = "/v1/policies",
    tag = "log",
    params(AppendQuery),
    request_body(content = String, content_type = "application/json", description = "The document: schemas/policy.schema.json. Its bytes are logged as they are."),
    responses(
        (status = 201, body = AppendAnswer, description = "In force", headers(("Location" = String, description = "The entry"))),
        (status = 200, body = AppendAnswer, description = "It was in force before"),
        (status = "4XX", body = Problem, content_type = "application/problem+json", description = "Nothing was appended"),
        (status = "5XX", body = Problem, content_type = "application/problem+json", description = "See `next`"),
    ),
    security(("token" = []))
)]
pub(super) async fn change(
    State(app): State<App>,
    headers: HeaderMap,
    query: Result<Params<AppendQuery>, Error>,
    request: Body,
) -> Result<Response, Error> {
    let admitted = app.admit(&headers, Scope::Append)?;
    let Params(query) = query?;
    if media_type(&headers) != "application/json" {
        return Err(Error::MediaType("application/json"));
    }
    // In a task of its own, as for records: quota and memory are held until the work is done, whoever waits for it.
    let work = tokio::spawn(async move {
        let _admitted = admitted;
        let mut held = app.room().enter();
        let patience = Duration::from_millis(app.config().http.body_timeout_ms);
        let document = body::read(request, &headers, POLICY_MAX, patience, &mut held).await?;
        let began = Instant::now();
        let appended = app.engine().append(Submission::Policy(document), query.until()).await;
        count(&app, &appended, began.elapsed());
        Ok(created(appended?))
    });
    work.await.unwrap_or_else(|error| Err(Error::Internal(error.to_string())))
}
