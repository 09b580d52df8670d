//! The witness over HTTP. <https://c2sp.org/tlog-witness>
//!
//! | request | answer |
//! |---|---|
//! | `POST /add-checkpoint` | 200 with cosignature lines; 400, 403, 404, 409 (`text/x.tlog.size`), 422 as specified; 408, 413, 429, 503 |
//! | `POST /sign-subtree` | 200 with a cosignature of the subtree; 400, 403, 404, 422 as specified |
//! | `GET /<hex sha256 of origin>/checkpoint` | 200 with the checkpoint cosigned last, or 404 |
//! | `GET /` | who this is: name, keys, logs |
//! | `GET /livez` | 200 while the process serves |
//! | `GET /metrics` | Prometheus: what was asked and answered. Not through a bastion |
//!
//! Every body is plain text, every answer may be read from any web page. Whoever is slow is cut
//! off: ten seconds for the head of a request, ten for its body.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL,
    CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tlog::note::SignatureLine;
use tlog::witness::{MAX_BODY, Refusal, SIZE_CONTENT_TYPE, write_signatures, write_size};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::about;
use crate::witness::{AddError, Witness};

/// How long a client may take for the head of a request, and again for its body.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests may go on after the order to stop.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);
/// How many connections are open at once. More wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 1024;
/// How many requests are decided and stored at once. More wait, up to [`READ_TIMEOUT`].
const MAX_AT_WORK: usize = 256;

const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// How many clients the kernel keeps waiting. With the usual 128, a thousand that come at once are
/// hung up on.
const BACKLOG: u32 = 4096;

/// Listens on `address`, with room for many that come at once.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // As the standard library does: a restart need not wait for the connections of before.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Why the witness stopped serving.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A store failed halfway. The next start reads what is on disk.
    #[error(
        "a new head was not stored for certain: the disk failed in the middle of it. Nothing was \
         signed. Look after the disk, then start again"
    )]
    Broken,
    /// The listener can't accept any more.
    #[error("can't accept connections: {0}")]
    Accept(io::Error),
}

/// What the handlers share.
#[derive(Clone)]
struct Shared {
    witness: Arc<Witness>,
    at_work: Arc<Semaphore>,
}

/// Serves `witness` on `listener` until `shutdown` is done, then finishes the requests that are
/// being answered. Ends with an error as soon as the witness can't be sure of its own state.
pub async fn serve(
    witness: Arc<Witness>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let metrics = Router::new().route("/metrics", get(metrics)).with_state(witness.clone());
    let router = metrics.merge(router(witness.clone()));
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let accept = async {
        loop {
            let Ok(permit) = connections.clone().acquire_owned().await else {
                // Nobody closes it.
                return Ok(());
            };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) if is_passing(&error) => {
                    sleep(Duration::from_millis(100)).await;
                    continue;
                }
                Err(error) => return Err(ServeError::Accept(error)),
            };
            let connection = graceful.watch(connection(stream, router.clone()));
            tokio::spawn(async move {
                // A client that goes away is no news.
                let _ = connection.await;
                drop(permit);
            });
        }
    };
    let ended = tokio::select! {
        ended = accept => ended,
        () = shutdown => Ok(()),
        () = witness.broken() => Err(ServeError::Broken),
    };
    drop(listener);
    let _ = timeout(SHUTDOWN_TIMEOUT, graceful.shutdown()).await;
    // A request that was being answered may be the one that failed.
    if ended.is_ok() && witness.is_broken() {
        return Err(ServeError::Broken);
    }
    ended
}

/// Errors of `accept` that say something about one connection, or about a lack that passes.
fn is_passing(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let lack = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    let code = error.raw_os_error();
    lack.iter().any(|errno| code == Some(errno.raw_os_error()))
        || matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
        )
}

type Connection = http1::Connection<TokioIo<TcpStream>, TowerToHyperService<Router>>;

fn connection(stream: TcpStream, router: Router) -> Connection {
    // A cosignature is one small write: waiting for more to send only makes it late.
    let _ = stream.set_nodelay(true);
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(READ_TIMEOUT)
        .max_headers(64)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
}

/// What answers requests, however they come.
pub(crate) fn router(witness: Arc<Witness>) -> Router {
    let shared = Shared { witness, at_work: Arc::new(Semaphore::new(MAX_AT_WORK)) };
    Router::new()
        .route("/", get(about))
        .route("/livez", get(|| async { plain(StatusCode::OK, "ok\n") }))
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/sign-subtree", post(sign_subtree))
        .route("/{origin_hash}/checkpoint", get(checkpoint))
        .fallback(|| async { plain(StatusCode::NOT_FOUND, "nothing here\n") })
        .layer(middleware::from_fn(for_any_web_page))
        .with_state(shared)
}

/// `POST /add-checkpoint`.
async fn add_checkpoint(State(shared): State<Shared>, request: Request) -> Response {
    signatures(shared, request, Witness::add_checkpoint).await
}

/// `POST /sign-subtree`.
async fn sign_subtree(State(shared): State<Shared>, request: Request) -> Response {
    signatures(shared, request, Witness::sign_subtree).await
}

/// Answers a request whose good answer is signature lines.
async fn signatures(
    shared: Shared,
    request: Request,
    handle: fn(&Witness, &[u8]) -> Result<Vec<SignatureLine>, AddError>,
) -> Response {
    let body = match timeout(READ_TIMEOUT, to_bytes(request.into_body(), MAX_BODY)).await {
        Err(_) => return plain(StatusCode::REQUEST_TIMEOUT, "the body took too long\n"),
        // A connection that broke reads no answer, so this is for bodies that are too long.
        Ok(Err(_)) => {
            return plain(StatusCode::PAYLOAD_TOO_LARGE, "more than 128 KiB\n");
        }
        Ok(Ok(body)) => body,
    };
    let Ok(Ok(permit)) = timeout(READ_TIMEOUT, shared.at_work.acquire_owned()).await else {
        return later(StatusCode::SERVICE_UNAVAILABLE, 1, "the witness is busy\n");
    };
    let witness = shared.witness;
    let done = tokio::task::spawn_blocking(move || {
        let done = handle(&witness, &body);
        drop(permit);
        done
    });
    match done.await {
        Ok(Ok(lines)) => plain(StatusCode::OK, write_signatures(&lines)),
        Ok(Err(error)) => refusal(&error),
        // It panicked. What was stored is stored, and the client will ask again.
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n"),
    }
}

fn refusal(error: &AddError) -> Response {
    if let AddError::Refused(Refusal::Conflict { known }) = error {
        let size = HeaderValue::from_static(SIZE_CONTENT_TYPE);
        return answer(StatusCode::CONFLICT, size, write_size(*known));
    }
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let text = format!("{error}\n");
    match (status, error) {
        (StatusCode::SERVICE_UNAVAILABLE, _) => later(status, 1, text),
        (_, AddError::TooMany { retry_after_s }) => later(status, *retry_after_s, text),
        _ => plain(status, text),
    }
}

/// `GET /<hex sha256 of origin>/checkpoint`.
async fn checkpoint(State(shared): State<Shared>, Path(origin_hash): Path<String>) -> Response {
    match shared.witness.cosigned(&origin_hash) {
        Some(note) => plain(StatusCode::OK, note.to_string()),
        None => plain(StatusCode::NOT_FOUND, "never cosigned here\n"),
    }
}

/// `GET /`.
async fn about(State(shared): State<Shared>) -> Response {
    // The sizes are behind locks that a writer holds while it syncs.
    let witness = shared.witness;
    let text = tokio::task::spawn_blocking(move || about::page(&witness)).await;
    match text {
        Ok(text) => plain(StatusCode::OK, text),
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n"),
    }
}

/// `GET /metrics`.
async fn metrics(State(witness): State<Arc<Witness>>) -> Response {
    const PROMETHEUS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4");
    // The ledger is behind a lock that a writer holds while it syncs.
    match tokio::task::spawn_blocking(move || witness.metrics()).await {
        Ok(text) => answer(StatusCode::OK, PROMETHEUS, text),
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n"),
    }
}

/// Answers preflights, and lets any web page read the other answers: there is nothing here that
/// is for some eyes only.
async fn for_any_web_page(request: Request, next: Next) -> Response {
    let mut response = if request.method() == Method::OPTIONS {
        let mut response = StatusCode::NO_CONTENT.into_response();
        let headers = response.headers_mut();
        let methods = HeaderValue::from_static("GET, HEAD, POST, OPTIONS");
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
        let allowed = HeaderValue::from_static("content-type");
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
        response
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

fn plain(status: StatusCode, text: impl Into<Body>) -> Response {
    answer(status, PLAIN, text)
}

/// An answer that asks to come again.
fn later(status: StatusCode, seconds: u64, text: impl Into<Body>) -> Response {
    let mut response = plain(status, text);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

fn answer(status: StatusCode, content_type: HeaderValue, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Everything here can change with the next request.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
