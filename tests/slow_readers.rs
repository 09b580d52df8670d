//! Peers that ask and do not take what they asked for, over real sockets: their connections end, and nobody else's does.

mod common;

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use common::Log;
use prometheus::IntGauge;
use solelog::http::listen::{Manners, serve};
use tlog::bundle;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

/// How long an answer may wait here, and how long a test waits for what must happen: many times longer, for a machine
/// that is busy.
const PATIENCE: Duration = Duration::from_millis(500);
const SURELY: Duration = Duration::from_secs(60);

/// The largest entry bundle there can be: 16 MiB, more than any socket holds by itself.
fn largest_bundle() -> Vec<u8> {
    let mut largest = Vec::with_capacity(bundle::MAX_LEN);
    for _ in 0..256 {
        bundle::push(&mut largest, &[7; bundle::MAX_ENTRY]).expect("an entry");
    }
    assert_eq!(largest.len(), bundle::MAX_LEN);
    largest
}

/// The listener, with nothing behind it but that bundle. Gives its address and how many connections are open.
async fn listener() -> (std::net::SocketAddr, IntGauge) {
    let bytes = largest_bundle();
    let router = Router::new().route("/", get(move || std::future::ready(bytes.clone())));
    let manners = Manners {
        header_timeout: SURELY,
        write_timeout: PATIENCE,
        shutdown_timeout: Duration::from_secs(1),
        connections: 9,
    };
    let open = IntGauge::new("open", "open").expect("a gauge");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
    let address = listener.local_addr().expect("address");
    tokio::spawn(serve(listener, router, manners, open.clone(), std::future::pending()));
    (address, open)
}

async fn until(open: &IntGauge, wanted: i64) {
    let reached = async {
        while open.get() != wanted {
            sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(SURELY, reached).await.is_ok(), "{} connections are open, not {wanted}", open.get());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_nothing_is_cut_off() {
    let (address, open) = listener().await;
    let mut peer = TcpStream::connect(address).await.expect("connected");
    peer.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
    until(&open, 1).await;
    until(&open, 0).await;
    // What the sockets held can still be read. It is not everything.
    let mut read = Vec::new();
    let _ = peer.read_to_end(&mut read).await;
    assert!(read.len() < bundle::MAX_LEN, "{}", read.len());
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_the_socket_but_grants_no_window_is_cut_off() {
    const INITIAL_WINDOW_SIZE: [u8; 6] = [0, 4, 0, 0, 0, 0];
    // GET, http, /, and x as the authority, as HPACK writes them.
    const HEAD: [u8; 6] = [0x82, 0x86, 0x84, 0x41, 0x01, b'x'];
    const DATA: u8 = 0;
    let (address, open) = listener().await;
    let mut peer = TcpStream::connect(address).await.expect("connected");
    let settings = frame(4, 0, 0, &INITIAL_WINDOW_SIZE);
    let request = frame(1, 5, 1, &HEAD);
    peer.write_all(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..], &request].concat()).await.expect("sent");
    until(&open, 1).await;
    let mut read = Vec::new();
    let _ = timeout(SURELY, peer.read_to_end(&mut read)).await.expect("the server ends the connection");
    until(&open, 0).await;
    let (mut rest, mut kinds) = (&read[..], Vec::new());
    while let [a, b, c, kind, _, _, _, _, _, payload @ ..] = rest {
        kinds.push(*kind);
        rest = &payload[u32::from_be_bytes([0, *a, *b, *c]) as usize..];
    }
    assert!(kinds.contains(&1) && !kinds.contains(&DATA), "a head, and no data: {kinds:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_slow_but_goes_on_gets_everything() {
    let (address, _) = listener().await;
    let mut peer = TcpStream::connect(address).await.expect("connected");
    peer.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.expect("sent");
    let began = std::time::Instant::now();
    let (mut all, mut buffer) = (0, vec![0; 64 << 10]);
    loop {
        let read = peer.read(&mut buffer).await.expect("nothing is cut off");
        if read == 0 {
            break;
        }
        all += read;
        sleep(Duration::from_millis(5)).await;
    }
    assert!(all > bundle::MAX_LEN, "{all}");
    assert!(began.elapsed() > PATIENCE * 2, "it took long enough to be cut off");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_itself_cuts_off_as_it_is_configured() {
    let log = Log::start_with(|c| c.http.write_timeout_ms = 500).await;
    let mut peer = TcpStream::connect(log.url.trim_start_matches("http://")).await.expect("connected");
    let asks = "GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    // All of it or not: when the server takes no more requests, the peer has asked for enough.
    let _ = timeout(Duration::from_millis(200), peer.write_all(asks.as_bytes())).await;
    let connections = async || {
        let metrics = log.get("/metrics").send().await.expect("answer").text().await.expect("text");
        let line = metrics.lines().find(|l| l.starts_with("solelog_http_connections ")).expect("the metric").to_owned();
        line.rsplit(' ').next().and_then(|n| n.parse::<u32>().ok()).expect("a number")
    };
    assert_eq!(connections().await, 2, "the peer's and ours");
    let alone = async {
        while connections().await > 1 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(timeout(SURELY, alone).await.is_ok());
    drop(peer);
    log.stop().await;
}
