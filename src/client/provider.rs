//! The provider's server over HTTP: typed calls, and nothing judged.
//!
//! ```text
//! backend   POST /v1/enrolments                    -> Invitation
//! device    POST /v1/enrolments/{id}               -> EnrolAnswer
//!           POST /v1/intents                       -> IntentAnswer
//!           POST /v1/intents/{id}/authorise        -> AuthoriseAnswer
//!           POST /v1/credentials/{id}/suspend, /revoke
//!           GET  /checkpoint, /v1/proofs/consistency, /v1/receipts/{index key}
//! auditor   GET  /v1/receipts/{index}, /v1/records/{index}
//! ```
//!
//! Every answer has a limit in bytes and in time, and no redirect is followed: tickets and tokens stay with the server they
//! are for. A read is asked for again where that may help; a request that changes something is sent once, because whether
//! it arrived is for [`crate::subscriber::Subscriber`] to find out in the log.

use std::error::Error as _;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url, redirect};
use scal3::Hash;
use scal3::instruction::Presented;
use scal3::request::Stop;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tlog::TreeSize;
use tlog::note::MAX_NOTE;

use crate::base64::Bytes;
use crate::receipt::Receipt;
use crate::wire::{
    AppendAnswer, AuthoriseAnswer, AuthoriseRequest, ConsistencyAnswer, EnrolAnswer, EnrolRequest, Hex, IntentAnswer,
    IntentRequest, Invitation, InviteRequest, Level, OpeningState, RecordAnswer, StopRequest,
};

/// The longest answer: a receipt with an opening, a credential and proofs, in base64.
const MAX_ANSWER: usize = 1024 * 1024;

/// How patient a device is.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// For one answer, from connecting to its last byte.
    pub answer: Duration,
    /// How often to ask for one thing that is only read, at least 1.
    pub tries: u32,
    /// How long to wait before asking again.
    pub wait: Duration,
    /// How long to wait for the log to show what it has taken: a new head, or a quorum of witnesses.
    pub publish: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(60),
            tries: 3,
            wait: Duration::from_millis(250),
            publish: Duration::from_secs(60),
        }
    }
}

/// The address is none that can be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not a URL of the web.
    #[error("{0} is not an https or http URL without query")]
    Url(String),
    /// Over the open network, without TLS: tickets and PIN guesses would be anybody's.
    #[error("{0} is plain http to another machine; use https")]
    Plain(String),
    /// The HTTP client can't be made.
    #[error("no HTTP client: {0}")]
    Client(String),
}

/// Why a call gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// No answer in time. Whether a request was taken is unknown.
    #[error("no answer in time")]
    Timeout,
    /// No connection, or one that broke. Whether a request was taken is unknown.
    #[error("{0}")]
    Connection(String),
    /// More than we would read.
    #[error("the answer is longer than {limit} bytes")]
    TooLong {
        /// How long it may be.
        limit: usize,
    },
    /// Not in the form that was asked for.
    #[error("the answer is not understood: {0}")]
    Form(String),
    /// The server says no.
    #[error("{0}")]
    Refused(Box<Problem>),
}

impl ProviderError {
    /// The problem, where the server answered with one.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            ProviderError::Refused(problem) => Some(problem),
            _ => None,
        }
    }

    fn is(&self, kind: &ProblemKind) -> bool {
        self.problem().is_some_and(|problem| problem.kind == *kind)
    }

    /// Whether asking again may help.
    fn may_pass(&self) -> bool {
        match self {
            ProviderError::Timeout | ProviderError::Connection(_) => true,
            ProviderError::Refused(problem) => matches!(problem.status, 408 | 502..=504),
            ProviderError::TooLong { .. } | ProviderError::Form(_) => false,
        }
    }
}

/// What a server refuses with (RFC 9457), as far as a device acts on it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{title}{}", detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default())]
pub struct Problem {
    /// Which one.
    pub kind: ProblemKind,
    /// The HTTP status.
    pub status: u16,
    /// A few words.
    pub title: String,
    /// What is wrong with this request.
    pub detail: Option<String>,
    /// What to do.
    pub next: Option<String>,
    /// The check that failed.
    pub check: Option<String>,
    /// What is wrong within that check.
    pub code: Option<String>,
    /// The entry that stands in the way, or tells more.
    pub index: Option<u64>,
    /// How many wrong PINs are left before the credential is suspended.
    pub attempts_left: Option<u64>,
    /// When to come back, in seconds.
    pub retry_after_s: Option<u64>,
    /// What the operator finds the cause under.
    pub error_id: Option<String>,
}

macro_rules! problem_kinds {
    ($($(#[$doc:meta])* $name:ident = $slug:literal,)*) => {
        /// The names of those that a device tells apart.
        pub const SLUGS: &[&str] = &[$($slug),*];

        /// The problems that a device tells apart.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum ProblemKind {
            $($(#[$doc])* $name,)*
            /// Another one: its slug.
            Other(String),
        }

        impl ProblemKind {
            /// The kind of this name.
            #[must_use]
            pub fn of(slug: &str) -> ProblemKind {
                match slug {
                    $($slug => ProblemKind::$name,)*
                    other => ProblemKind::Other(other.to_owned()),
                }
            }

            /// Its name: the last part of `type`.
            #[must_use]
            pub fn slug(&self) -> &str {
                match self {
                    $(ProblemKind::$name => $slug,)*
                    ProblemKind::Other(slug) => slug,
                }
            }
        }
    };
}

problem_kinds! {
    /// The invitation is not good any more. Ask the provider for another.
    TicketRefused = "ticket-refused",
    /// What the device dealt does not hold.
    EnrolmentRefused = "enrolment-refused",
    /// The challenge was never opened here, or a restart voided it. Authorise anew.
    ChallengeUnknown = "challenge-unknown",
    /// The challenge was answered before.
    ChallengeSpent = "challenge-spent",
    /// The challenge was not answered in time. Authorise anew.
    ChallengeExpired = "challenge-expired",
    /// Too many challenges are open. Wait for them to expire.
    ChallengesFull = "challenges-full",
    /// The device's signature over a request does not verify.
    NotTheDevice = "not-the-device",
    /// A public check of the answer failed. Nothing was spent.
    PassRefused = "pass-refused",
    /// The answer was damaged on its way. The attempt was given back; authorise anew.
    PassDamaged = "pass-damaged",
    /// The PIN was wrong, or the device is another.
    SecondFactor = "second-factor",
    /// The credential was suspended or revoked since the challenge was opened, or its attempts are used up. Ask the
    /// provider to resume a suspended one.
    CredentialInactive = "credential-inactive",
    /// Too many attempts in too short a time.
    RateLimited = "rate-limited",
    /// The credential may not authorise this now: it is suspended, revoked, not active or not valid, or the provider's
    /// policy does not allow it. `index` is the entry that says so.
    Blocked = "blocked",
    /// The read token is not the one of that entry.
    ReadRefused = "read-refused",
    /// No entry that a signed head covers.
    NoSuchEntry = "no-such-entry",
    /// The log has not issued that credential.
    NoSuchCredential = "no-such-credential",
    /// The log is not that large.
    BeyondTheTree = "beyond-the-tree",
    /// Another authorisation has this place.
    Conflict = "conflict",
}

/// A problem as it travels. It may have more members, which change nothing here.
#[derive(serde::Deserialize)]
struct Travelling {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    title: String,
    detail: Option<String>,
    next: Option<String>,
    check: Option<String>,
    code: Option<String>,
    index: Option<u64>,
    attempts_left: Option<u64>,
    retry_after_s: Option<u64>,
    error_id: Option<String>,
}

impl Problem {
    fn of(status: StatusCode, body: &[u8]) -> Problem {
        let from = serde_json::from_slice(body).unwrap_or(Travelling {
            kind: String::new(),
            title: status.canonical_reason().unwrap_or("refused").to_owned(),
            detail: None,
            next: None,
            check: None,
            code: None,
            index: None,
            attempts_left: None,
            retry_after_s: None,
            error_id: None,
        });
        Problem {
            kind: ProblemKind::of(from.kind.rsplit('/').next().unwrap_or_default()),
            status: status.as_u16(),
            title: from.title,
            detail: from.detail,
            next: from.next,
            check: from.check,
            code: from.code,
            index: from.index,
            attempts_left: from.attempts_left,
            retry_after_s: from.retry_after_s,
            error_id: from.error_id,
        }
    }
}

/// A secret that goes into a header. Never printed.
#[derive(Clone)]
pub struct Token(HeaderValue);

impl Token {
    /// A token that the provider's operator made, `slt_...`.
    #[must_use]
    pub fn bearer(token: &str) -> Option<Token> {
        Token::of("Bearer", token)
    }

    /// The token that opens one entry of the subscriber's own.
    #[must_use]
    pub(crate) fn read(token: &[u8; 32]) -> Option<Token> {
        Token::of("SolelogRead", &hex::encode(token))
    }

    fn of(scheme: &str, token: &str) -> Option<Token> {
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let mut value = HeaderValue::from_str(&format!("{scheme} {token}")).ok()?;
        value.set_sensitive(true);
        Some(Token(value))
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(secret)")
    }
}

/// A provider's server.
#[derive(Debug, Clone)]
pub struct Provider {
    client: Client,
    base: Url,
    patience: Patience,
}

impl Provider {
    /// The provider at this address, which is the log's.
    ///
    /// # Errors
    /// [`AddressError`]. Plain http is for this machine only.
    pub fn new(url: &str, patience: Patience) -> Result<Provider, AddressError> {
        let bad = || AddressError::Url(url.to_owned());
        // The last slash makes it a folder, so that paths are put behind it and not in its place.
        let base = Url::parse(&format!("{}/", url.trim_end_matches('/'))).map_err(|_| bad())?;
        let web = matches!(base.scheme(), "http" | "https") && base.has_host();
        if !web || base.query().is_some() || base.fragment().is_some() {
            return Err(bad());
        }
        let here = matches!(base.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        if base.scheme() == "http" && !here {
            return Err(AddressError::Plain(url.to_owned()));
        }
        let client = Client::builder()
            .user_agent(concat!("solelog-client/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(patience.connect)
            .timeout(patience.answer)
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|error| AddressError::Client(chain(&error)))?;
        Ok(Provider { client, base, patience })
    }

    /// How patient it is asked.
    #[must_use]
    pub fn patience(&self) -> &Patience {
        &self.patience
    }

    /// Invites a person: for the provider's backend, whose token has the scope `enrol`.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub async fn invite(&self, token: &Token, predecessor: Option<&Hash>) -> Result<Invitation, ProviderError> {
        self.invited(token, InviteRequest { predecessor: predecessor.map(|id| Hex(*id)), recovery: false }).await
    }

    /// Invites a person whose credential can't speak for its successor: the device is lost, or the PIN forgotten. The
    /// successor may do nothing until the provider has said why, in the log.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub async fn invite_to_recover(&self, token: &Token, predecessor: &Hash) -> Result<Invitation, ProviderError> {
        self.invited(token, InviteRequest { predecessor: Some(Hex(*predecessor)), recovery: true }).await
    }

    async fn invited(&self, token: &Token, body: InviteRequest) -> Result<Invitation, ProviderError> {
        self.json(self.post("v1/enrolments", &body)?.header(AUTHORIZATION, token.0.clone())).await
    }

    /// Sends what the device dealt. The same again gives the same answer.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub async fn enrol(&self, enrolment: &Hash, body: &EnrolRequest) -> Result<EnrolAnswer, ProviderError> {
        self.json(self.post(&format!("v1/enrolments/{}", enrolment.to_hex()), body)?).await
    }

    /// Asks for a challenge.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub async fn intent(&self, body: &IntentRequest) -> Result<IntentAnswer, ProviderError> {
        self.json(self.post("v1/intents", body)?).await
    }

    /// Asks for a challenge on a device's behalf: for the provider's backend, whose token has the scope `authorise`. The
    /// device takes the answer with [`Subscriber::authorise_opened`](crate::Subscriber::authorise_opened).
    ///
    /// # Errors
    /// [`ProviderError`].
    pub async fn open_intent(
        &self,
        token: &Token,
        credential: &Hash,
        presented: &Presented,
    ) -> Result<IntentAnswer, ProviderError> {
        let instruction = Bytes(presented.to_bytes());
        let body = IntentRequest { credential: Hex(*credential), instruction, device: None };
        self.json(self.post("v1/intents", &body)?.header(AUTHORIZATION, token.0.clone())).await
    }

    /// Answers a challenge. Sent once: what is unclear afterwards is cleared up in the log.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub async fn authorise(
        &self,
        challenge: &Hash,
        until: Level,
        body: &AuthoriseRequest,
    ) -> Result<AuthoriseAnswer, ProviderError> {
        let path = format!("v1/intents/{}/authorise?until={}", challenge.to_hex(), until.word());
        self.json(self.post(&path, body)?).await
    }

    /// Stops a credential. The same again is the same.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub async fn stop(&self, credential: &Hash, what: Stop, body: &StopRequest) -> Result<AppendAnswer, ProviderError> {
        self.json(self.post(&format!("v1/credentials/{}/{}", credential.to_hex(), what.word()), body)?).await
    }

    /// The receipt of the entry with this index key, or `None` when no signed head covers one.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub async fn receipt(&self, index_key: &Hash, token: &Token) -> Result<Option<Receipt>, ProviderError> {
        self.receipt_at(&index_key.to_hex(), Some(token)).await
    }

    /// The receipt of entry 0, which is public: origin and issuing keys, and the entries by which later ones came.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub async fn genesis(&self) -> Result<Option<Receipt>, ProviderError> {
        self.receipt_at("0", None).await
    }

    /// The receipt of the entry at this place, with its opening, for an auditor: the token has the scope `read`.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub async fn receipt_of(&self, index: u64, token: &Token) -> Result<Option<Receipt>, ProviderError> {
        self.receipt_at(&index.to_string(), Some(token)).await
    }

    /// What the server says about the opening of the entry at this place.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub async fn opening_of(&self, index: u64, token: &Token) -> Result<OpeningState, ProviderError> {
        let bytes = self.read(&format!("v1/records/{index}"), "application/json", MAX_ANSWER, Some(token)).await?;
        let answer: RecordAnswer = parse(&bytes)?;
        Ok(answer.opening.state)
    }

    async fn receipt_at(&self, at: &str, token: Option<&Token>) -> Result<Option<Receipt>, ProviderError> {
        let bytes = self.read(&format!("v1/receipts/{at}"), "application/json", MAX_ANSWER, token).await;
        match bytes {
            Ok(bytes) => parse(&bytes).map(Some),
            Err(error) if error.is(&ProblemKind::NoSuchEntry) || error.is(&ProblemKind::BeyondTheTree) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The published checkpoint, past caches.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub async fn checkpoint(&self) -> Result<Vec<u8>, ProviderError> {
        self.read("checkpoint", "text/plain", MAX_NOTE, None).await
    }

    /// A proof that the tree of one size is the beginning of that of another.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub async fn consistency(&self, old: TreeSize, new: TreeSize) -> Result<Vec<Hash>, ProviderError> {
        let path = format!("v1/proofs/consistency?old={old}&new={new}");
        let bytes = self.read(&path, "application/json", MAX_ANSWER, None).await?;
        let answer: ConsistencyAnswer = parse(&bytes)?;
        Ok(answer.hashes.into_iter().map(|hash| Hash(hash.0)).collect())
    }

    /// Waits as long as before asking again.
    pub(crate) async fn pause(&self) {
        tokio::time::sleep(self.patience.wait).await;
    }

    fn post(&self, path: &str, body: &impl Serialize) -> Result<RequestBuilder, ProviderError> {
        let json = serde_json::to_vec(body).map_err(|error| ProviderError::Form(error.to_string()))?;
        Ok(self.request(Method::POST, path)?.header(CONTENT_TYPE, "application/json").body(json))
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, ProviderError> {
        let url = self.base.join(path).map_err(|error| ProviderError::Connection(error.to_string()))?;
        Ok(self.client.request(method, url))
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ProviderError> {
        parse(&answer(request, MAX_ANSWER).await?)
    }

    async fn read(
        &self,
        path: &str,
        accept: &'static str,
        limit: usize,
        token: Option<&Token>,
    ) -> Result<Vec<u8>, ProviderError> {
        let mut left = self.patience.tries.max(1);
        loop {
            let mut request =
                self.request(Method::GET, path)?.header(CACHE_CONTROL, "no-cache").header("accept", accept);
            if let Some(Token(token)) = token {
                request = request.header(AUTHORIZATION, token.clone());
            }
            left -= 1;
            match answer(request, limit).await {
                Err(error) if left > 0 && error.may_pass() => self.pause().await,
                other => return other,
            }
        }
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ProviderError> {
    serde_json::from_slice(bytes).map_err(|error| ProviderError::Form(error.to_string()))
}

/// Sends, and reads the body up to the limit.
async fn answer(request: RequestBuilder, limit: usize) -> Result<Vec<u8>, ProviderError> {
    let response = request.send().await.map_err(|error| of_transport(&error))?;
    let status = response.status();
    let body = body(response, limit).await?;
    if status.is_success() { Ok(body) } else { Err(ProviderError::Refused(Box::new(Problem::of(status, &body)))) }
}

async fn body(mut response: Response, limit: usize) -> Result<Vec<u8>, ProviderError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| of_transport(&error))? {
        if body.len() + chunk.len() > limit {
            return Err(ProviderError::TooLong { limit });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn of_transport(error: &reqwest::Error) -> ProviderError {
    if error.is_timeout() { ProviderError::Timeout } else { ProviderError::Connection(chain(error)) }
}

/// An error with its causes: the first alone says little.
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_do_not_cross_the_network_in_plain() {
        let of = |url| Provider::new(url, Patience::default()).map(|provider| provider.base.to_string());
        assert_eq!(of("https://log.example/a"), Ok("https://log.example/a/".to_owned()));
        assert_eq!(of("http://127.0.0.1:8020/"), Ok("http://127.0.0.1:8020/".to_owned()));
        assert_eq!(of("http://log.example"), Err(AddressError::Plain("http://log.example".to_owned())));
        for bad in ["log.example", "ftp://log.example", "https://log.example/?q"] {
            assert_eq!(of(bad), Err(AddressError::Url(bad.to_owned())));
        }
    }

    #[test]
    fn a_problem_is_known_by_the_last_part_of_its_type() {
        let body = br#"{"type":"https://log.example/problems/second-factor","title":"No","status":403,"attempts_left":3,"more":1}"#;
        let problem = Problem::of(StatusCode::FORBIDDEN, body);
        assert_eq!((problem.kind.clone(), problem.attempts_left), (ProblemKind::SecondFactor, Some(3)));
        assert_eq!(problem.kind.slug(), "second-factor");
        let page = Problem::of(StatusCode::BAD_GATEWAY, b"<html>");
        assert_eq!((page.kind, page.status), (ProblemKind::Other(String::new()), 502));
    }

    #[test]
    fn a_token_is_not_printed() {
        let token = Token::bearer("slt_secret").unwrap();
        assert_eq!(format!("{token:?}"), "Token(secret)");
        assert!(Token::bearer("a\nb").is_none());
    }
}
