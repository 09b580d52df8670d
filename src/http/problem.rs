//! Problems: every way a request to `/v1` can fail, as RFC 9457 says it. <https://www.rfc-editor.org/rfc/rfc9457>
//!
//! ```json
//! { "type": "/problems/record-refused", "title": "The record does not verify", "status": 422,
//!   "detail": "device: the signature does not verify", "check": "device", "code": "signature", "next": "…" }
//! ```
//!
//! One exhaustive match ([`Error::problem`]) turns errors into problems, so a new error is a compile error here and not
//! a 500 later. `type` resolves on this server to a page from `docs/problems/`. A 5xx says nothing about its cause but
//! an id; the cause is in the server's log under the same id.

use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use scal3::verify::{MetadataRefusal, Refusal};
use serde::Serialize;
use utoipa::ToSchema;

use super::body::BodyError;
use crate::authority::KeptReadError;
use crate::authority::authenticators::OfferError;
use crate::authority::authorise::AuthoriseError;
use crate::authority::delegations::DelegationError;
use crate::authority::enrolment::EnrolError;
use crate::authority::intent::IntentError;
use crate::execution::ExecuteError;
use crate::history::ReadError;
use crate::submission::{AppendError, Collision};
use crate::tokens::AuthError;

mod authority;

/// A kind of problem: its name, its title, its status and its page.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// The last part of `type`.
    pub slug: &'static str,
    /// A few words that never change.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What to do, in one sentence.
    pub next: &'static str,
    /// The page, in Markdown.
    pub page: &'static str,
}

macro_rules! kinds {
    ($($name:ident = $slug:literal, $status:literal, $title:literal, $next:literal;)*) => {
        $(
            #[doc = $title]
            pub const $name: Kind = Kind {
                slug: $slug,
                title: $title,
                status: $status,
                next: $next,
                page: include_str!(concat!("../../docs/problems/", $slug, ".md")),
            };
        )*
        /// Every kind of problem.
        pub const KINDS: &[&Kind] = &[$(&$name),*];
    };
}

kinds! {
    MALFORMED_RECORD = "malformed-record", 400, "The body is not an opening of a record",
        "Send one opening in deterministic CBOR, as schemas/ describes it; nothing was appended.";
    MALFORMED_BATCH = "malformed-batch", 400, "The body is not a sequence of CBOR items",
        "Send a CBOR sequence (RFC 8742) of openings, nothing between or behind them; nothing was appended.";
    PARAMETER = "parameter", 400, "A parameter of the request is wrong",
        "Correct the parameter that `detail` names.";
    TOKEN_MISSING = "token-missing", 401, "A token is needed",
        "Send the header `Authorization: Bearer slt_...`; the operator makes tokens with `solelog token new`.";
    TOKEN_REFUSED = "token-refused", 401, "The token is not valid",
        "Ask the operator for a new token: this one is unknown, revoked or expired.";
    TOKEN_SCOPE = "token-scope", 403, "The token does not allow this",
        "Use a token that has the scope which `detail` names.";
    NO_SUCH_ROUTE = "no-such-route", 404, "There is nothing at this address",
        "See /docs for what there is.";
    NO_SUCH_ENTRY = "no-such-entry", 404, "The log has no such entry",
        "Look at /v1/log for the size of the log; an entry is shown once a signed head covers it.";
    NO_SUCH_CREDENTIAL = "no-such-credential", 404, "The log has issued no such credential",
        "Check the id; a credential must be issued with POST /v1/credentials before its first record.";
    BEYOND_THE_TREE = "beyond-the-tree", 404, "The log is not that large",
        "Ask for a size up to the one in `size`.";
    METHOD = "method", 405, "The address does not take this method",
        "See /docs for the methods of each address.";
    SLOW_BODY = "slow-body", 408, "The body did not arrive in time",
        "Send the request again; nothing was appended.";
    CONFLICT = "conflict", 409, "Another authorisation already has this place",
        "Reconcile the device with the log: GET /v1/credentials/{id} has the next sequence number and what comes before it; then authorise again.";
    ALREADY_ISSUED = "already-issued", 409, "The credential was already issued under another signature",
        "Use the credential that is in the log, at `index`; nothing was appended.";
    NOT_ERASABLE = "not-erasable", 409, "The opening cannot be erased",
        "See `detail`.";
    FROZEN = "frozen", 410, "The log is frozen",
        "Nothing was appended, and nothing ever will be here. The provider's next log has another origin; what is in this one can be read and proven as before.";
    TOO_LARGE = "too-large", 413, "The body is too large",
        "Send less at once: /v1/log has the limits. Nothing was appended.";
    MEDIA_TYPE = "media-type", 415, "The body is of another media type",
        "Send the `Content-Type` that `detail` names.";
    RECORD_REFUSED = "record-refused", 422, "The record does not verify",
        "`check` names the check that failed; nothing was appended. The page of this problem says what each check means.";
    UNKNOWN_CREDENTIAL = "unknown-credential", 422, "The log has not issued the credential of this record",
        "Issue the credential first, with POST /v1/credentials, and let the device see it in the log; nothing was appended.";
    CREDENTIAL_REFUSED = "credential-refused", 422, "The credential does not hold",
        "See `detail`; nothing was appended.";
    AUTHENTICATOR_REFUSED = "authenticator-refused", 422, "The authenticator cannot be added or revoked",
        "See `detail`; nothing was appended.";
    POLICY_REFUSED = "policy-refused", 422, "The policy cannot come into force",
        "Let somebody whom the policy in force allows it authorise a `policy.change` that names this very document; then send it again within a day.";
    OPENING_REFUSED = "opening-refused", 422, "The body of the opening is not acceptable",
        "See `detail`; nothing was appended.";
    READ_REFUSED = "read-refused", 403, "The read token is not that of this entry",
        "Derive the token from the label secret and the index key of this very entry.";
    NO_AUTHORITY = "no-authority", 404, "Nobody can enrol or authorise here",
        "This log takes records with POST /v1/records only; its provider runs SCAL3 elsewhere.";
    TICKET_REFUSED = "ticket-refused", 403, "The ticket is not taken",
        "Ask the provider to begin the enrolment anew.";
    ENROLMENT_REFUSED = "enrolment-refused", 422, "What the device brought does not hold",
        "See `detail`; nothing was issued. Deal new shares and send them with the same ticket.";
    NOT_THE_DEVICE = "not-the-device", 403, "The device's signature does not verify",
        "Sign the hash of the request with the credential's device key.";
    DEVICE_CLOCK = "device-clock", 403, "The device's clock differs too much",
        "Set the device's clock, and sign again; `expected` is the server's time.";
    BLOCKED = "blocked", 403, "The instruction was blocked",
        "See `detail`. Where `index` is given, the log has it that this was blocked.";
    NOT_KEPT = "not-kept", 409, "This server keeps no share for the credential",
        "Authorise where the credential was enrolled, and append the record with POST /v1/records.";
    CHALLENGES_FULL = "challenges-full", 429, "Too many challenges are open",
        "Answer one of those that are open, or wait until they expire.";
    CHALLENGE_UNKNOWN = "challenge-unknown", 404, "This challenge is not open",
        "Open a new intent; a restart of the server voids every open challenge.";
    CHALLENGE_SPENT = "challenge-spent", 409, "This challenge was answered before",
        "Look for the record under its index key; if it is not there, open a new intent.";
    CHALLENGE_EXPIRED = "challenge-expired", 410, "This challenge has expired",
        "Open a new intent.";
    PASS_REFUSED = "pass-refused", 422, "The answer fails a check that anybody can make",
        "See `code`; nothing was spent, and no attempt was counted.";
    EVIDENCE_REFUSED = "evidence-refused", 422, "The evidence is not what the policy asks for",
        "See `code`, and `needs` in the answer to the intent; nothing was spent, and no attempt was counted.";
    PASS_DAMAGED = "pass-damaged", 422, "The answer arrived damaged",
        "Open a new intent; the challenge is spent, and the attempt was given back.";
    SECOND_FACTOR = "second-factor", 403, "The second factor was wrong",
        "`attempts_left` says how often it may be wrong before the credential is suspended.";
    CREDENTIAL_INACTIVE = "credential-inactive", 403, "The credential may not act now",
        "See `detail`. A suspended credential is resumed by its provider.";
    NOT_PUBLISHED = "not-published", 409, "The published checkpoint does not cover the record yet",
        "Send it again after `Retry-After` seconds; nothing was executed.";
    NOT_EXECUTABLE = "not-executable", 422, "The entry cannot be executed here",
        "See `detail`; nothing was executed.";
    RATE_LIMITED = "rate-limited", 429, "Too many requests that do not verify",
        "Send it again after `Retry-After` seconds.";
    QUOTA = "quota", 429, "The token has too many requests open",
        "Wait for answers before you send more, or ask the operator for a larger quota.";
    INTERNAL = "internal", 500, "Something in this server is wrong",
        "Tell the operator the `error_id`.";
    BUSY = "busy", 503, "The log is busy",
        "Send it again after `Retry-After` seconds; nothing was appended.";
    CLOCK = "clock", 503, "The clock of the log's machine is behind",
        "The operator must put the clock right; nothing was appended.";
    STOPPING = "stopping", 503, "The log is shutting down",
        "Send it again once the log is back; nothing was appended.";
    STOPPED = "stopped", 503, "The log has stopped",
        "Send the same bytes again once the log is back: if they were appended, the answer is the same index.";
    DISK_FULL = "disk-full", 507, "The log's disk is full",
        "The operator must make room; then send it again. Nothing was appended.";
}

/// A problem as it travels.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem {
    /// The address of a page about this kind of problem.
    #[serde(rename = "type")]
    #[schema(example = "/problems/record-refused")]
    pub kind: String,
    /// A few words that never change for this type.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong with this request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What to do.
    pub next: &'static str,
    /// The check that failed: parse, credential, binding, device, joint, evidence or metadata.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<&'static str>,
    /// What is wrong within that check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// The value that would have been right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<u64>,
    /// The value that was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<u64>,
    /// The entry that stands in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// The size of the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// How often the second factor may still be wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts_left: Option<u64>,
    /// Under which the server's log has the cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_id: Option<String>,
    /// Seconds; also in the header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u64>,
}

/// Everything that a handler of `/v1` can fail with.
#[derive(Debug)]
pub enum Error {
    /// The token.
    Auth(AuthError),
    /// The body, before anybody looked into it.
    Body(BodyError),
    /// The body is no CBOR sequence; at this item, for this reason.
    Batch {
        /// Which item, counted from 0.
        item: usize,
        /// What is wrong.
        fault: String,
    },
    /// A path or query parameter.
    Parameter(String),
    /// Another media type than these.
    MediaType(&'static str),
    /// The append.
    Append(AppendError),
    /// A read.
    Read(ReadError),
    /// No entry has that index key.
    NoSuchIndexKey,
    /// No such credential.
    NoSuchCredential,
    /// No authority: this server only keeps the log.
    NoAuthority,
    /// The read token is not that of the entry.
    ReadToken,
    /// Enrolling.
    Enrol(EnrolError),
    /// Opening an intent, or stopping a credential.
    Intent(IntentError),
    /// Bringing, listing or revoking an authenticator.
    Offer(OfferError),
    /// Judging a delegation.
    Delegation(DelegationError),
    /// Authorising.
    Authorise(AuthoriseError),
    /// Executing.
    Execute(ExecuteError),
    /// No such route.
    NoSuchRoute,
    /// Not with this method.
    Method,
    /// Our own fault.
    Internal(String),
}

impl From<AuthError> for Error {
    fn from(error: AuthError) -> Error {
        Error::Auth(error)
    }
}

impl From<EnrolError> for Error {
    fn from(error: EnrolError) -> Error {
        Error::Enrol(error)
    }
}

impl From<IntentError> for Error {
    fn from(error: IntentError) -> Error {
        Error::Intent(error)
    }
}

impl From<OfferError> for Error {
    fn from(error: OfferError) -> Error {
        Error::Offer(error)
    }
}

impl From<DelegationError> for Error {
    fn from(error: DelegationError) -> Error {
        Error::Delegation(error)
    }
}

impl From<AuthoriseError> for Error {
    fn from(error: AuthoriseError) -> Error {
        Error::Authorise(error)
    }
}

impl From<ExecuteError> for Error {
    fn from(error: ExecuteError) -> Error {
        Error::Execute(error)
    }
}

impl From<KeptReadError> for Error {
    fn from(error: KeptReadError) -> Error {
        match error {
            KeptReadError::Read(error) => Error::Read(error),
            KeptReadError::Kept(error) => Error::Internal(error.to_string()),
        }
    }
}

impl From<BodyError> for Error {
    fn from(error: BodyError) -> Error {
        Error::Body(error)
    }
}

impl From<AppendError> for Error {
    fn from(error: AppendError) -> Error {
        Error::Append(error)
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Error {
        Error::Read(error)
    }
}

impl Error {
    /// The problem it is. A cause that the client must not see goes to the log here.
    pub fn problem(&self) -> Problem {
        match self {
            Error::Auth(AuthError::Missing) => Problem::of(&TOKEN_MISSING),
            Error::Auth(AuthError::Unknown) => Problem::of(&TOKEN_REFUSED),
            Error::Auth(error @ AuthError::Scope { .. }) => Problem::of(&TOKEN_SCOPE).detail(error),
            Error::Auth(error @ AuthError::Quota { .. }) => Problem::of(&QUOTA).detail(error).retry(1),
            Error::Auth(AuthError::Unreadable(cause)) => Problem::hidden(&INTERNAL, cause),
            Error::Body(error @ BodyError::TooLarge { .. }) => Problem::of(&TOO_LARGE).detail(error),
            Error::Body(BodyError::Slow) => Problem::of(&SLOW_BODY),
            Error::Body(error @ BodyError::Broken) => Problem::of(&PARAMETER).detail(error),
            Error::Body(BodyError::NoRoom { retry_after_s }) => Problem::of(&BUSY).retry(*retry_after_s),
            Error::Batch { item, fault } => Problem::of(&MALFORMED_BATCH).detail(format!("item {item}: {fault}")),
            Error::Parameter(fault) => Problem::of(&PARAMETER).detail(fault),
            Error::MediaType(wanted) => Problem::of(&MEDIA_TYPE).detail(format!("send {wanted}")),
            Error::Append(error) => append(error),
            Error::Read(error) => read(error),
            Error::NoSuchIndexKey => {
                Problem::of(&NO_SUCH_ENTRY).detail("no entry that a signed head covers has this index key")
            }
            Error::NoSuchCredential => Problem::of(&NO_SUCH_CREDENTIAL),
            Error::NoAuthority => Problem::of(&NO_AUTHORITY),
            Error::ReadToken => Problem::of(&READ_REFUSED),
            Error::Enrol(error) => authority::enrol(error),
            Error::Intent(error) => authority::intent(error),
            Error::Offer(error) => authority::offer(error),
            Error::Delegation(error) => authority::delegation(error),
            Error::Authorise(error) => authority::authorise(error),
            Error::Execute(error) => authority::execute(error),
            Error::NoSuchRoute => Problem::of(&NO_SUCH_ROUTE),
            Error::Method => Problem::of(&METHOD),
            Error::Internal(cause) => Problem::hidden(&INTERNAL, cause),
        }
    }
}

fn append(error: &AppendError) -> Problem {
    match error {
        AppendError::Refused(refusal) => refused(refusal),
        AppendError::UnknownCredential(_) => {
            Problem { check: Some("credential"), ..Problem::of(&UNKNOWN_CREDENTIAL).detail(error) }
        }
        AppendError::Conflict(collision) => {
            let problem = Problem::of(&CONFLICT).detail(error);
            match collision {
                Collision::IndexKey { index } => Problem { index: Some(index.get()), ..problem },
                Collision::Sequence { next } => {
                    Problem { expected: Some(*next), check: Some("metadata"), code: Some("sequence"), ..problem }
                }
                Collision::Stream { next, .. } => {
                    Problem { expected: Some(*next), check: Some("stream"), code: Some("place"), ..problem }
                }
            }
        }
        AppendError::AlreadyIssued(index) => {
            Problem { index: Some(index.get()), ..Problem::of(&ALREADY_ISSUED).detail(error) }
        }
        AppendError::Credential(_) => {
            Problem { check: Some("credential"), ..Problem::of(&CREDENTIAL_REFUSED).detail(error) }
        }
        // Nobody can ask for one over HTTP.
        AppendError::KeyChange(_) => Problem::hidden(&INTERNAL, error),
        AppendError::Frozen { at } => Problem { index: Some(*at), ..Problem::of(&FROZEN).detail(error) },
        AppendError::Claims(_) | AppendError::Authenticator(_) => Problem::of(&AUTHENTICATOR_REFUSED).detail(error),
        AppendError::Policy(_) => Problem::of(&POLICY_REFUSED).detail(error),
        AppendError::Erasure(_) => Problem::of(&NOT_ERASABLE).detail(error),
        AppendError::Inactive(_) | AppendError::OutOfAttempts => Problem::of(&CREDENTIAL_INACTIVE).detail(error),
        AppendError::ChallengeSpent(index) => {
            Problem { index: Some(index.get()), ..Problem::of(&CHALLENGE_SPENT).detail(error) }
        }
        AppendError::Stream(_) => Problem::hidden(&INTERNAL, error),
        AppendError::Body(_) => Problem::of(&OPENING_REFUSED).detail(error),
        AppendError::Full { retry_after_s } => Problem::of(&BUSY).retry(*retry_after_s),
        AppendError::NoSpace => Problem::hidden(&DISK_FULL, error).retry(60),
        AppendError::ClockBehind { .. } => Problem::hidden(&CLOCK, error).retry(10),
        AppendError::ShuttingDown => Problem::of(&STOPPING).retry(5),
        AppendError::Dead => Problem::hidden(&STOPPED, error).retry(5),
    }
}

fn refused(refusal: &Refusal) -> Problem {
    let kind = if matches!(refusal, Refusal::Parse(_)) { &MALFORMED_RECORD } else { &RECORD_REFUSED };
    let problem =
        Problem { check: Some(refusal.check()), code: Some(refusal.code()), ..Problem::of(kind).detail(refusal) };
    match refusal {
        Refusal::Metadata(MetadataRefusal::Sequence { expected, found }) => {
            Problem { expected: Some(*expected), found: Some(*found), ..problem }
        }
        _ => problem,
    }
}

fn read(error: &ReadError) -> Problem {
    match error {
        ReadError::NotYet { size } => Problem { size: Some(size.get()), ..Problem::of(&BEYOND_THE_TREE).detail(error) },
        ReadError::Order => Problem::of(&PARAMETER).detail(error),
        ReadError::Damaged(_) | ReadError::Objects(_) | ReadError::Evidence { .. } | ReadError::View(_) => {
            Problem::hidden(&INTERNAL, error)
        }
    }
}

impl Problem {
    fn of(kind: &Kind) -> Problem {
        Problem {
            kind: format!("/problems/{}", kind.slug),
            title: kind.title,
            status: kind.status,
            detail: None,
            next: kind.next,
            check: None,
            code: None,
            expected: None,
            found: None,
            index: None,
            size: None,
            attempts_left: None,
            error_id: None,
            retry_after_s: None,
        }
    }

    fn detail(self, detail: impl ToString) -> Problem {
        Problem { detail: Some(detail.to_string()), ..self }
    }

    fn retry(self, seconds: u64) -> Problem {
        Problem { retry_after_s: Some(seconds), ..self }
    }

    /// A problem whose cause is nobody's business but the operator's.
    fn hidden(kind: &Kind, cause: &dyn std::fmt::Display) -> Problem {
        let mut id = [0_u8; 8];
        // An id that is all zeros in the worst case still leads to the line in the log.
        let _ = getrandom::fill(&mut id);
        let id = hex::encode(id);
        tracing::error!(error_id = %id, problem = kind.slug, %cause, "a request failed");
        Problem { error_id: Some(id), ..Problem::of(kind) }
    }

    /// The last part of its type: what metrics count it under.
    pub fn slug(&self) -> &'static str {
        KINDS.iter().find(|k| self.kind.ends_with(k.slug) && k.title == self.title).map_or("unknown", |k| k.slug)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"solelog\""));
        }
        response
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        self.problem().into_response()
    }
}

/// The page of a kind of problem: what it means, and what to do.
pub async fn page(Path(slug): Path<String>) -> Response {
    let Some(kind) = KINDS.iter().find(|k| k.slug == slug) else {
        return Error::NoSuchRoute.into_response();
    };
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{}</title><link rel=\"stylesheet\" href=\"/docs/style.css\"><main><p><code>/problems/{}</code> · status {}</p>",
        kind.title, kind.slug, kind.status
    );
    pulldown_cmark::html::push_html(
        &mut html,
        pulldown_cmark::Parser::new_ext(kind.page, pulldown_cmark::Options::ENABLE_TABLES),
    );
    html.push_str("<p><a href=\"/docs\">All of the interface</a></p></main></html>");
    Html(html).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_page_that_begins_with_its_title() {
        for kind in KINDS {
            let first = kind.page.lines().next().expect("a page has a first line");
            assert_eq!(first, format!("# {}", kind.title), "{}", kind.slug);
            assert!(kind.page.contains("What to do"), "{} does not say what to do", kind.slug);
            assert!((400..600).contains(&kind.status));
        }
    }

    #[test]
    fn every_page_belongs_to_a_kind() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/problems");
        let mut pages: Vec<String> = std::fs::read_dir(folder)
            .expect("pages")
            .map(|f| f.expect("page").file_name().to_string_lossy().trim_end_matches(".md").to_owned())
            .collect();
        pages.sort();
        let mut slugs: Vec<&str> = KINDS.iter().map(|k| k.slug).collect();
        slugs.sort_unstable();
        assert_eq!(pages, slugs);
    }

    #[test]
    fn a_server_fault_says_nothing_but_an_id() {
        let problem = Error::Internal("/var/lib/secret".into()).problem();
        let text = serde_json::to_string(&problem).expect("JSON");
        assert!(!text.contains("secret"), "{text}");
        assert_eq!(problem.error_id.expect("id").len(), 16);
        for kind in KINDS.iter().filter(|k| k.status >= 500) {
            assert_eq!(Problem::hidden(kind, &"cause").detail, None);
        }
    }
}
