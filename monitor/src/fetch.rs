//! Fetching: bytes of a log over HTTP, from servers that may be slow, gone, or lying.
//!
//! Every answer has a limit in bytes and in time, and is asked for again a few times where that may help. A redirect is
//! followed within one server only: who was told to watch one host must not be sent to watch another, and a token must
//! not travel. Nothing here judges what was fetched.

use std::error::Error as _;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CACHE_CONTROL, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url, redirect};
use serde::Deserialize;
use tlog::bundle;
use tlog::note::MAX_NOTE;
use tlog::tile::Path;

/// The longest answer about one record: an entry and an opening in base64, and the words around them.
const MAX_RECORD: usize = 1024 * 1024;

/// The most redirects in a row.
const MAX_REDIRECTS: usize = 5;

/// The longest wait that a server may ask for.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// What lets an auditor see openings. Not printed by `Debug`.
#[derive(Clone)]
pub struct Token(HeaderValue);

/// A token that can't be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a token is one line of visible ASCII characters")]
pub struct TokenError;

impl Token {
    /// The token, as the provider gave it.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn new(token: &str) -> Result<Token, TokenError> {
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError);
        }
        let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| TokenError)?;
        value.set_sensitive(true);
        Ok(Token(value))
    }
}

impl std::str::FromStr for Token {
    type Err = TokenError;
    fn from_str(token: &str) -> Result<Token, TokenError> {
        Token::new(token)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// Why something could not be fetched.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FetchError {
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// No connection, or one that broke.
    #[error("{0}")]
    Transport(String),
    /// The server sends us elsewhere.
    #[error("redirected to {0}, which is another server or one turn too many")]
    Redirect(String),
    /// It isn't there.
    #[error("not found (404)")]
    NotFound,
    /// The token isn't good, or there is none.
    #[error("the token is refused ({0})")]
    Token(u16),
    /// Any other answer.
    #[error("the server answers {0}")]
    Status(u16),
    /// The answer is longer than what was asked for can be.
    #[error("the answer is longer than {limit} bytes")]
    TooLong {
        /// How long it may be.
        limit: usize,
    },
    /// The answer isn't in the form that was asked for.
    #[error("the answer is not understood: {0}")]
    Form(String),
}

/// Why an address is none that can be fetched from.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SetupError {
    /// Not a URL, or not of the web.
    #[error("{0} is not an http, https or file URL without query")]
    Url(String),
    /// The HTTP client can't be made.
    #[error("no HTTP client: {0}")]
    Client(String),
}

/// How patient a monitor is.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// For one answer, from connecting to its last byte.
    pub answer: Duration,
    /// How often to ask for one thing, at least 1.
    pub tries: u32,
    /// How long to wait before asking again; twice as long each time.
    pub wait: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(60),
            tries: 3,
            wait: Duration::from_millis(500),
        }
    }
}

/// A log's server.
#[derive(Debug)]
pub(crate) struct Server {
    client: Client,
    base: Url,
    /// A folder that is read as if it were served.
    folder: Option<PathBuf>,
    token: Option<Token>,
    patience: Patience,
    /// A folder with copies of tiles and bundles, which is asked first.
    copies: Option<PathBuf>,
}

/// One record, as `GET /v1/records/{index}` answers; what we can derive is left out.
#[derive(Deserialize)]
pub(crate) struct RecordAnswer {
    pub opening: OpeningAnswer,
}

/// What the server says about the opening.
#[derive(Deserialize)]
pub(crate) struct OpeningAnswer {
    pub state: OpeningState,
    pub bytes: Option<String>,
}

/// Whether an opening is shown.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OpeningState {
    Shown,
    Restricted,
    Erased,
    Public,
}

impl Server {
    pub fn new(url: &str, token: Option<Token>, patience: Patience) -> Result<Server, SetupError> {
        let bad = || SetupError::Url(url.to_owned());
        // The last slash makes it a folder, so that paths are put behind it and not in its place.
        let base = Url::parse(&format!("{}/", url.trim_end_matches('/'))).map_err(|_| bad())?;
        let web = matches!(base.scheme(), "http" | "https") && base.has_host();
        let folder = if base.scheme() == "file" { base.to_file_path().ok() } else { None };
        if !(web || folder.is_some()) || base.query().is_some() || base.fragment().is_some() {
            return Err(bad());
        }
        let within = redirect::Policy::custom(|attempt| {
            let same = attempt.previous().first().is_some_and(|first| first.origin() == attempt.url().origin());
            if same && attempt.previous().len() <= MAX_REDIRECTS { attempt.follow() } else { attempt.stop() }
        });
        let client = Client::builder()
            .user_agent(concat!("solelog-monitor/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(patience.connect)
            .timeout(patience.answer)
            .redirect(within)
            .build()
            .map_err(|error| SetupError::Client(chain(&error)))?;
        let copies = None;
        Ok(Server { client, base, folder, token, patience, copies })
    }

    /// The same, and full tiles and bundles are taken from a folder where they are there. They need as little trust as any.
    pub fn with_copies(self, folder: &std::path::Path) -> Server {
        Server { copies: Some(folder.to_owned()), ..self }
    }

    /// Whether openings are asked for with a token.
    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// How often to ask for one thing.
    pub fn tries(&self) -> u32 {
        self.patience.tries.max(1)
    }

    /// The checkpoint, past caches.
    pub async fn checkpoint(&self) -> Result<Vec<u8>, FetchError> {
        self.get("checkpoint", MAX_NOTE, true, None).await
    }

    /// A checkpoint that somebody else serves, past caches.
    pub async fn note_at(&self, path: &str) -> Result<Vec<u8>, FetchError> {
        self.get(path, MAX_NOTE, true, None).await
    }

    /// A tile or bundle, or the full one where the partial one is gone. Says which it is.
    pub async fn resource(&self, path: Path, past_caches: bool) -> Result<(Path, Vec<u8>), FetchError> {
        if let (Some(folder), false) = (&self.copies, past_caches)
            && let Ok(bytes) = std::fs::read(folder.join(path.path()))
        {
            return Ok((path, bytes));
        }
        match (self.get(&path.path(), longest(path), past_caches, None).await, path.full()) {
            (Err(FetchError::NotFound), Some(full)) => {
                let bytes = self.get(&full.path(), longest(full), past_caches, None).await?;
                Ok((full, bytes))
            }
            (fetched, _) => fetched.map(|bytes| (path, bytes)),
        }
    }

    /// What the server says about one record.
    pub async fn record(&self, index: u64) -> Result<RecordAnswer, FetchError> {
        let bytes = self.get(&format!("v1/records/{index}"), MAX_RECORD, false, self.token.as_ref()).await?;
        serde_json::from_slice(&bytes).map_err(|error| FetchError::Form(error.to_string()))
    }

    /// Waits as long as before asking again.
    pub async fn pause(&self) {
        tokio::time::sleep(self.patience.wait).await;
    }

    async fn get(
        &self,
        path: &str,
        limit: usize,
        past_caches: bool,
        token: Option<&Token>,
    ) -> Result<Vec<u8>, FetchError> {
        if let Some(folder) = &self.folder {
            return from_file(&folder.join(path), limit);
        }
        let url = self.base.join(path).map_err(|error| FetchError::Transport(error.to_string()))?;
        let mut wait = self.patience.wait;
        let mut left = self.tries();
        loop {
            let mut request = self.client.get(url.clone());
            if past_caches {
                request = request.header(CACHE_CONTROL, "no-cache");
            }
            if let Some(Token(token)) = token {
                request = request.header(AUTHORIZATION, token);
            }
            let (error, asked) = match request.send().await {
                Err(error) => (of_transport(&error), None),
                Ok(response) => match read(response, limit).await {
                    Ok(bytes) => return Ok(bytes),
                    Err(failure) => failure,
                },
            };
            left -= 1;
            if left == 0 || !may_pass(&error) {
                return Err(error);
            }
            tokio::time::sleep(asked.unwrap_or(wait).min(MAX_WAIT)).await;
            wait = wait.saturating_mul(2);
        }
    }
}

/// A file of a log that somebody brought us.
fn from_file(path: &std::path::Path, limit: usize) -> Result<Vec<u8>, FetchError> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| {
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        bytes.reserve_exact(usize::try_from(length).unwrap_or(0).min(limit) + 1);
        file.take(limit as u64 + 1).read_to_end(&mut bytes)
    });
    match read {
        Ok(_) if bytes.len() <= limit => Ok(bytes),
        Ok(_) => Err(FetchError::TooLong { limit }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(FetchError::NotFound),
        Err(error) => Err(FetchError::Transport(error.to_string())),
    }
}

/// The longest that a tile or bundle can be.
fn longest(path: Path) -> usize {
    match path {
        Path::Checkpoint => MAX_NOTE,
        Path::Tile(tile) => tile.byte_len(),
        Path::Entries(entries) => usize::from(entries.width) * (2 + bundle::MAX_ENTRY),
    }
}

/// The body of a good answer. Of a bad one the reason, and how long the server asks us to wait.
async fn read(mut response: Response, limit: usize) -> Result<Vec<u8>, (FetchError, Option<Duration>)> {
    let status = response.status();
    if status != StatusCode::OK {
        let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let wait = text(RETRY_AFTER).and_then(|value| value.parse().ok()).map(Duration::from_secs);
        let error = match status.as_u16() {
            404 | 410 => FetchError::NotFound,
            code @ (401 | 403) => FetchError::Token(code),
            300..=399 => FetchError::Redirect(text(LOCATION).unwrap_or("nowhere").to_owned()),
            code => FetchError::Status(code),
        };
        return Err((error, wait));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| (of_transport(&error), None))? {
        if body.len() + chunk.len() > limit {
            return Err((FetchError::TooLong { limit }, None));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn of_transport(error: &reqwest::Error) -> FetchError {
    if error.is_timeout() { FetchError::Timeout } else { FetchError::Transport(chain(error)) }
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

/// Whether asking again may help.
fn may_pass(error: &FetchError) -> bool {
    match error {
        FetchError::Timeout | FetchError::Transport(_) => true,
        FetchError::Status(code) => matches!(code, 408 | 429 | 500..),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(url: &str) -> Result<String, SetupError> {
        Server::new(url, None, Patience::default()).map(|server| server.base.to_string())
    }

    #[test]
    fn a_log_is_a_folder_of_the_web() {
        assert_eq!(base("https://log.example/a"), Ok("https://log.example/a/".into()));
        assert_eq!(base("http://127.0.0.1:8020/"), Ok("http://127.0.0.1:8020/".into()));
        assert_eq!(base("file:///var/log.example"), Ok("file:///var/log.example/".into()));
        for bad in
            ["log.example", "ftp://log.example", "https://log.example/?q", "https://log.example/#f", "file://host/a"]
        {
            assert_eq!(base(bad), Err(SetupError::Url(bad.into())));
        }
    }

    #[test]
    fn a_token_is_not_printed() {
        let token = Token::new("a1b2").unwrap();
        assert_eq!(format!("{token:?} {:?}", token.0), "Token Sensitive");
        assert_eq!(Token::new("a\nb").unwrap_err(), TokenError);
        assert_eq!(Token::new("").unwrap_err(), TokenError);
    }
}
