//! The listener: connections in, requests to the router, and an end that lets open requests finish.
//!
//! What axum's own server leaves open is closed here: a peer that sends its first request slowly or not at all is cut
//! off, and so is one that does not take its answer; there are only so many connections, and small answers leave at once (with Nagle's algorithm on, HTTP/2 was
//! measured to be six times slower).

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use prometheus::IntGauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::stall::Watch;

/// How a listener treats its peers.
#[derive(Debug, Clone, Copy)]
pub struct Manners {
    /// How long the head of a request may take to arrive.
    pub header_timeout: Duration,
    /// How long an answer may wait for its peer to take the next part of it.
    pub write_timeout: Duration,
    /// How long open requests may go on after the end.
    pub shutdown_timeout: Duration,
    /// The most connections.
    pub connections: usize,
}

/// Who is at the other end of a connection, in every request that comes over it.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// The most bytes that the head of a request may have.
const HEAD_BYTES: usize = 16 << 10;

/// Requests on one HTTP/2 connection at a time.
const STREAMS: u32 = 64;

/// How long a connection may live. Whoever takes answers drop by drop must come again, and gives up what it held.
const MAX_AGE: Duration = Duration::from_secs(15 * 60);

/// Serves until `stop` resolves, then lets open requests finish.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    manners: Manners,
    open: IntGauge,
    stop: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(manners.connections));
    let graceful = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let place = tokio::select! {
            biased;
            () = &mut stop => break,
            // The semaphore is never closed.
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok((stream, address)) => (stream, Peer(address.ip())),
            Err(error) => {
                // Most likely no file descriptors are left: connections that end bring some back.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let connection = connection(stream, peer, router.clone(), manners, &graceful);
        let open = open.clone();
        open.inc();
        tokio::spawn(async move {
            connection.await;
            open.dec();
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(manners.shutdown_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests were still open when the time to finish them was over");
    }
}

fn connection(
    stream: TcpStream,
    peer: Peer,
    router: Router,
    manners: Manners,
    graceful: &GracefulShutdown,
) -> impl Future<Output = ()> + Send + use<> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps Nagle's algorithm");
    }
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(manners.header_timeout).max_buf_size(HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .keep_alive_timeout(manners.header_timeout)
        .max_header_list_size(HEAD_BYTES as u32)
        .max_concurrent_streams(STREAMS);
    let began = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&began);
    let router = TowerToHyperService::new(router);
    let watch = Watch::new();
    let stream = watch.socket(stream);
    let answers = watch.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        seen.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(peer);
        let (answer, watch) = (router.call(request), answers.clone());
        async move { answer.await.map(|answer| answer.map(|body| watch.body(body))) }
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    let connection = graceful.watch(connection);
    let lived = async move {
        let mut connection = std::pin::pin!(connection);
        // Until the first request nothing else watches the clock: which version of HTTP it is going to be is not known.
        if tokio::time::timeout(manners.header_timeout, connection.as_mut()).await.is_ok()
            || !began.load(Ordering::Relaxed)
        {
            return;
        }
        match tokio::time::timeout(MAX_AGE, connection).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a connection ended"),
            Err(_) => tracing::debug!("a connection was as old as one may get"),
        }
    };
    async move {
        tokio::select! {
            () = lived => {}
            () = watch.stalled(manners.write_timeout) => tracing::debug!("a peer did not take its answer"),
        }
    }
}
