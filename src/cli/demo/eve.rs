//! Eve: stands between a device and its provider, on the wire that TLS closes in production.
//!
//! ```text
//! device ──▶ Eve ──▶ provider        what passes is passed on unchanged; the last answer to a challenge is kept
//! ```
//!
//! She may hold an answer back, send it a second time, or have a challenge opened by a careless help desk. None of it may
//! do her any good.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use reqwest::Client;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::cli::cast::Error;

/// What Eve does besides listening.
#[derive(Clone, Default)]
pub struct Mischief {
    /// How long she holds an answer to a challenge back.
    pub hold: Duration,
    /// A token of the backend, with which a challenge is opened for her: nobody looks at the device's signature then.
    pub helpdesk: Option<String>,
}

/// Eve, listening.
pub struct Eve {
    /// Where devices think that the provider is.
    pub url: String,
    ear: Arc<Ear>,
    server: JoinHandle<()>,
}

struct Ear {
    client: Client,
    provider: String,
    mischief: Mischief,
    /// Path and body of the last answer to a challenge.
    last: Mutex<Option<(String, Bytes)>>,
}

impl Eve {
    /// Stands before the provider at that address.
    pub async fn before(provider: &str, mischief: Mischief) -> Result<Eve, Error> {
        let client = Client::builder().timeout(Duration::from_secs(30)).build()?;
        let ear = Arc::new(Ear { client, provider: provider.to_owned(), mischief, last: Mutex::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let app = Router::new().fallback(pass_on).with_state(Arc::clone(&ear));
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                tracing::error!(%error, "Eve stopped");
            }
        });
        Ok(Eve { url, ear, server })
    }

    /// Sends the answer that she kept once more, byte for byte.
    pub async fn replay(&self) -> Result<reqwest::Response, Error> {
        let kept = self.ear.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (path, body) = kept.ok_or("Eve has heard no answer")?;
        let request = self.ear.client.post(format!("{}{path}", self.ear.provider));
        Ok(request.header(header::CONTENT_TYPE, "application/json").body(body).send().await?)
    }
}

impl Drop for Eve {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn pass_on(
    State(ear): State<Arc<Ear>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    mut body: Bytes,
) -> Result<Response, StatusCode> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = ear.client.request(method, format!("{}{path}", ear.provider));
    for name in [header::CONTENT_TYPE, header::ACCEPT, header::AUTHORIZATION] {
        if let Some(value) = headers.get(&name) {
            request = request.header(name, value);
        }
    }
    if path.contains("/authorise") {
        *ear.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((path.to_owned(), body.clone()));
        tokio::time::sleep(ear.mischief.hold).await;
    }
    if let Some(token) = ear.mischief.helpdesk.as_ref().filter(|_| path == "/v1/intents") {
        let mut asked: Value = serde_json::from_slice(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
        asked["device"] = Value::Null;
        body = Bytes::from(asked.to_string());
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let answer = request.body(body).send().await.map_err(|_| StatusCode::BAD_GATEWAY)?;
    let status = answer.status();
    let kind = answer.headers().get(header::CONTENT_TYPE).cloned();
    let answer = answer.bytes().await.map_err(|_| StatusCode::BAD_GATEWAY)?;
    let mut response = (status, answer).into_response();
    if let Some(kind) = kind {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    Ok(response)
}
