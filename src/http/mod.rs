//! HTTP: every route in one table, and what surrounds all of them.
//!
//! ```text
//! /checkpoint  /tile/…                     C2SP, for anybody: static bytes, plain errors         read.rs
//! /v1/records  /v1/receipts  /v1/proofs    our own, JSON out, problems when it fails             records.rs …
//! /livez  /readyz  /metrics                for whoever runs it                                   ops.rs
//! /docs  /openapi.json  /problems/…        for whoever reads it                                  docs.rs, problem.rs
//! ```
//!
//! Handlers move bytes: whatever can be decided from bytes alone is decided in `scal3` and `tlog`, and whatever depends
//! on the state in the sequencer.

mod auth;
mod authenticators;
mod body;
mod credentials;
mod delegations;
mod docs;
mod enrolments;
mod events;
mod execution;
mod intents;
mod json;
mod lifecycle;
pub mod listen;
mod log;
mod openapi;
mod ops;
mod policies;
pub mod problem;
mod proofs;
mod read;
pub mod receipts;
mod records;
mod stall;

use std::any::Any;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::{FromRequestParts, MatchedPath, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64ct::{Base64, Encoding as _};
use serde::de::DeserializeOwned;
use tlog::{Hash, LeafIndex, TreeSize, tile};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{Any as AnyOrigin, CorsLayer};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::authority::Authority;
use crate::config::{Access, Config};
use crate::engine::Engine;
use crate::lately::Lately;
use crate::metrics::Metrics;
use crate::progress::SignedHead;
use crate::room::Room;
use crate::tokens::Tokens;
use problem::Error;
use read::Form;

/// A log server: an engine, and everything between it and the network. Clones are the same server.
#[derive(Clone)]
pub struct App {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    authority: Option<Authority>,
    config: Config,
    witness_policy: Option<String>,
    tokens: Tokens,
    room: Room,
    hot: Lately<(tile::Path, bool), Form>,
    metrics: Metrics,
    heads: ops::HeadClock,
    reads: Arc<Semaphore>,
    listeners: Arc<Semaphore>,
    /// Whether the server ends: what would go on for ever ends then.
    ending: watch::Sender<bool>,
}

/// Bytes of tiles and bundles that are kept as they are answered, in each of two generations.
const HOT: usize = 8 << 20;

/// Reads of the disk at a time. More would only queue, where nothing bounds them.
const READS: usize = 64;

/// Readers of the stream of heads at a time.
const LISTENERS: usize = 1024;

impl App {
    /// A server for that engine. `witness_policy` is the text of the tlog-policy that the engine was given.
    pub fn new(engine: Engine, config: Config, witness_policy: Option<String>) -> App {
        App::with(engine, None, config, witness_policy)
    }

    /// A server where people can enrol and authorise, too.
    pub fn with_authority(authority: Authority, config: Config, witness_policy: Option<String>) -> App {
        App::with(authority.engine().clone(), Some(authority), config, witness_policy)
    }

    fn with(engine: Engine, authority: Option<Authority>, config: Config, witness_policy: Option<String>) -> App {
        let tokens = Tokens::open(config.tokens(), config.limits.token_in_flight);
        let room = Room::new(config.limits.waiting_bytes);
        let heads = ops::HeadClock::new(&engine.heads());
        let (metrics, reads) = (Metrics::new(), Arc::new(Semaphore::new(READS)));
        App {
            inner: Arc::new(Inner {
                engine,
                authority,
                config,
                witness_policy,
                tokens,
                room,
                hot: Lately::of(HOT),
                metrics,
                heads,
                reads,
                listeners: Arc::new(Semaphore::new(LISTENERS)),
                ending: watch::Sender::new(false),
            }),
        }
    }

    /// All routes.
    pub fn router(&self) -> Router {
        let (ours, api) = self.documented().split_for_parts();
        let openapi: Arc<str> = openapi::to_json(&api).into();
        let cors = CorsLayer::new()
            .allow_origin(AnyOrigin)
            .allow_methods([Method::GET, Method::HEAD, Method::POST])
            .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, header::ACCEPT, header::IF_NONE_MATCH])
            .expose_headers([header::LOCATION, header::ETAG, header::RETRY_AFTER, REACHED]);
        Router::new()
            .merge(ours)
            .route("/tile/{*path}", get(read::tile))
            .route("/metrics", get(ops::metrics))
            .route("/openapi.json", get(move || docs::openapi(Arc::clone(&openapi))))
            .route("/docs", get(docs::page))
            .route("/docs/app.js", get(docs::script))
            .route("/docs/style.css", get(docs::style))
            .route("/problems/{slug}", get(problem::page))
            .fallback(no_such_route)
            .method_not_allowed_fallback(|| async { Error::Method })
            .layer(CatchPanicLayer::custom(panicked))
            .layer(middleware::from_fn_with_state(self.clone(), around))
            .layer(cors)
            .with_state(self.clone())
    }

    /// The routes that the OpenAPI description is generated from.
    fn documented(&self) -> OpenApiRouter<App> {
        OpenApiRouter::with_openapi(openapi::base())
            .routes(routes!(read::checkpoint))
            .routes(routes!(records::append))
            .routes(routes!(records::show))
            .routes(routes!(receipts::show))
            .routes(routes!(proofs::inclusion))
            .routes(routes!(proofs::consistency))
            .routes(routes!(log::show))
            .routes(routes!(policies::change))
            .routes(routes!(events::stream))
            .routes(routes!(credentials::issue))
            .routes(routes!(credentials::show))
            .routes(routes!(lifecycle::list))
            .routes(routes!(lifecycle::suspend))
            .routes(routes!(lifecycle::resume))
            .routes(routes!(lifecycle::revoke))
            .routes(routes!(lifecycle::recover))
            .routes(routes!(authenticators::options))
            .routes(routes!(authenticators::add, authenticators::list))
            .routes(routes!(authenticators::revoke))
            .routes(routes!(delegations::verify))
            .routes(routes!(enrolments::begin))
            .routes(routes!(enrolments::complete))
            .routes(routes!(intents::open))
            .routes(routes!(intents::authorise))
            .routes(routes!(execution::execute))
            .routes(routes!(ops::livez))
            .routes(routes!(ops::readyz))
    }

    /// Serves on that listener until `stop` resolves, and then until open requests have been answered.
    pub async fn serve(&self, listener: TcpListener, stop: impl Future<Output = ()>) {
        let manners = listen::Manners {
            header_timeout: Duration::from_millis(self.config().http.header_timeout_ms),
            write_timeout: Duration::from_millis(self.config().http.write_timeout_ms),
            shutdown_timeout: Duration::from_millis(self.config().http.shutdown_timeout_ms),
            connections: self.config().limits.connections,
        };
        let watching = tokio::spawn(ops::watch(self.clone()));
        let stop = async {
            stop.await;
            self.inner.ending.send_replace(true);
        };
        listen::serve(listener, self.router(), manners, self.metrics().connections.clone(), stop).await;
        watching.abort();
    }

    /// The engine behind it.
    pub fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    fn authority(&self) -> Result<&Authority, Error> {
        self.inner.authority.as_ref().ok_or(Error::NoAuthority)
    }

    /// Counts a step of a person by what became of it, and notes it: never by whose it is (I-8).
    fn step<T, E: Into<Error>>(&self, step: &'static str, result: Result<T, E>) -> Result<T, Error> {
        let result = result.map_err(Into::into);
        let outcome = match &result {
            Ok(_) => "ok",
            Err(error) => error.word(),
        };
        self.metrics().authority.with_label_values(&[step, outcome]).inc();
        tracing::info!(step, outcome, "authority");
        result
    }

    fn config(&self) -> &Config {
        &self.inner.config
    }

    fn tokens(&self) -> &Tokens {
        &self.inner.tokens
    }

    fn hot(&self) -> &Lately<(tile::Path, bool), Form> {
        &self.inner.hot
    }

    fn room(&self) -> &Room {
        &self.inner.room
    }

    fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    fn access(&self) -> Access {
        self.inner.config.evidence.access
    }

    /// Runs something that reads the disk on a thread for such work.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Engine) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let engine = self.engine().clone();
        // The semaphore is never closed. Its permit goes with the work: a request that is taken back frees nothing early.
        let permit = Arc::clone(&self.inner.reads).acquire_owned().await;
        let work = move || {
            let _permit = permit;
            work(&engine)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => done,
            Err(error) => Err(Error::Internal(error.to_string())),
        }
    }

    /// The best head that is known and covers an entry: a published one if there is one.
    fn covering(&self, index: LeafIndex) -> Option<SignedHead> {
        let heads = self.engine().heads();
        let published = heads.published.filter(|p| crate::progress::covers(&p.head, index));
        published.or_else(|| Some(heads.integrated).filter(|h| crate::progress::covers(&h.head, index)))
    }
}

/// Says how far the head in an answer has come: `integrated` or `witnessed`.
pub const REACHED: HeaderName = HeaderName::from_static("solelog-reached");

/// The word for it.
fn reached(head: &SignedHead) -> &'static str {
    if head.witnessed { "witnessed" } else { "integrated" }
}

/// The query of a request. A parameter that nobody reads is an error: `untill=witnessed` must not mean the default.
struct Params<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(value)| Params(value)).map_err(|e| Error::Parameter(e.body_text()))
    }
}

/// An index as it is written in an address: decimal, one spelling.
fn index(text: &str) -> Result<LeafIndex, Error> {
    let number = tlog::text::decimal(text).ok_or_else(|| Error::Parameter(format!("{text:?} is not an index")))?;
    LeafIndex::new(number).map_err(|_| Error::Parameter(format!("{text} is beyond the largest index, 2^63 - 1")))
}

/// A tree size.
fn size(number: u64) -> Result<TreeSize, Error> {
    TreeSize::new(number).map_err(|_| Error::Parameter(format!("{number} is beyond the largest size, 2^63 - 1")))
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    Base64::encode_string(bytes.as_ref())
}

fn base64_all(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(Hash::to_base64).collect()
}

async fn no_such_route(request: Request) -> Response {
    if request.uri().path().starts_with("/v1/") {
        return Error::NoSuchRoute.into_response();
    }
    read::plain(StatusCode::NOT_FOUND, "there is nothing here; see /docs")
}

/// A panic is a mistake of ours: the client gets an id, and the connection lives on.
fn panicked(cause: Box<dyn Any + Send + 'static>) -> Response {
    let text = cause.downcast_ref::<String>().map(String::as_str).or_else(|| cause.downcast_ref::<&str>().copied());
    Error::Internal(format!("a handler panicked: {}", text.unwrap_or("without a message"))).into_response()
}

/// What is done around every request: count it, and close what browsers leave open.
async fn around(State(app): State<App>, route: Option<MatchedPath>, request: Request, next: Next) -> Response {
    let method = match *request.method() {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        _ => "other",
    };
    let began = Instant::now();
    // Whoever asks before sending gets the answer instead of sending.
    let asks_first = request.headers().contains_key(header::EXPECT);
    let (head, sent) = request.into_parts();
    let sent = body::Shared::new(sent);
    let mut response = next.run(Request::from_parts(head, Body::new(sent.clone()))).await;
    if !sent.is_end_stream() && !asks_first && response.status() != StatusCode::REQUEST_TIMEOUT {
        let patience = Duration::from_millis(app.config().http.body_timeout_ms);
        sent.drain(app.config().limits.batch_bytes.saturating_mul(2), patience).await;
    }
    // Only routes of ours become labels: a stranger's addresses must not fill the memory of Prometheus.
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    app.metrics().requests.with_label_values(&[route, method, response.status().as_str()]).inc();
    app.metrics().request_seconds.with_label_values(&[route]).observe(began.elapsed().as_secs_f64());
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(docs::POLICY));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
