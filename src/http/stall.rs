//! Stalls: an answer that its peer does not take is given up, and the connection with it.
//!
//! ```text
//! body ── 16 KiB ──► hyper ──► socket ──► peer
//!   └ handed out, not yet asked for the next      └ a write that does not go on
//! ```
//!
//! Both ends are watched, because neither sees everything. A peer that reads nothing fills the socket, and a write waits.
//! A peer of HTTP/2 may read the socket and yet grant no window, and then nothing is written at all: only the body sees
//! that nobody asks for its next part. What waits for us (a stream of events with nothing to tell) is no stall.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// How much of a body is handed out at once: one frame of HTTP/2 as it is by default. Whatever was handed out is no
/// longer ours to give up before the connection ends, so it must be little.
const PART: usize = 16 << 10;

/// The stalls of one connection. Clones watch the same connection.
#[derive(Clone)]
pub struct Watch {
    began: Instant,
    waits: Arc<Mutex<Vec<Weak<AtomicU64>>>>,
}

/// One thing that may wait for the peer.
struct Wait {
    began: Instant,
    /// Milliseconds after `began` since when it waits, plus one; 0 when it does not.
    since: Arc<AtomicU64>,
}

impl Watch {
    /// A connection that begins now.
    pub fn new() -> Watch {
        Watch { began: Instant::now(), waits: Arc::default() }
    }

    /// The socket, watched.
    pub fn socket<S>(&self, inner: S) -> Socket<S> {
        Socket { inner, wait: self.wait() }
    }

    /// The body of an answer, watched from now on.
    pub fn body(&self, inner: Body) -> Answer {
        let wait = self.wait();
        wait.begin();
        Answer { inner, part: Bytes::new(), wait }
    }

    /// Resolves when something has waited for the peer for so long. It looks twice in that time, so it may take half as
    /// long again.
    pub async fn stalled(&self, patience: Duration) {
        let mut looks = tokio::time::interval((patience / 2).max(Duration::from_millis(1)));
        let patience = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        loop {
            looks.tick().await;
            let now = millis_since(self.began);
            let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
            // What is gone waits for nobody.
            waits.retain(|wait| wait.strong_count() > 0);
            let long = |since: u64| since != 0 && now.saturating_sub(since - 1) >= patience;
            if waits.iter().filter_map(Weak::upgrade).any(|since| long(since.load(Ordering::Relaxed))) {
                return;
            }
        }
    }

    fn wait(&self) -> Wait {
        let since = Arc::new(AtomicU64::new(0));
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        if waits.len() == waits.capacity() {
            // Many quick answers on one connection must not pile up until somebody looks.
            waits.retain(|wait| wait.strong_count() > 0);
        }
        waits.push(Arc::downgrade(&since));
        Wait { began: self.began, since }
    }
}

impl Wait {
    /// It waits for the peer from now on.
    fn begin(&self) {
        self.since.store(millis_since(self.began) + 1, Ordering::Relaxed);
    }

    /// It waits for the peer, and perhaps did so before.
    fn go_on(&self) {
        if self.since.load(Ordering::Relaxed) == 0 {
            self.begin();
        }
    }

    /// It does not wait for the peer.
    fn end(&self) {
        self.since.store(0, Ordering::Relaxed);
    }
}

fn millis_since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
}

/// The body of an answer, handed out in small parts.
pub struct Answer {
    inner: Body,
    part: Bytes,
    wait: Wait,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.part.is_empty() {
            // The peer has asked for more; whatever is waited for now is ours.
            self.wait.end();
            match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.part = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                end => return Poll::Ready(end),
            }
        }
        let length = self.part.len().min(PART);
        let part = self.part.split_to(length);
        self.wait.begin();
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.part.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, part) = (self.inner.size_hint(), self.part.len() as u64);
        // The upper bound first: a lower one must never be above it.
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(part));
        }
        hint.set_lower(hint.lower().saturating_add(part));
        hint
    }
}

/// A socket that knows since when its peer takes nothing.
pub struct Socket<S> {
    inner: S,
    wait: Wait,
}

impl<S> Socket<S> {
    fn note<T>(&self, written: Poll<T>) -> Poll<T> {
        match written {
            Poll::Pending => self.wait.go_on(),
            Poll::Ready(_) => self.wait.end(),
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// Whether the watch is over before that time is.
    async fn stalls_within(watch: &Watch, time: Duration) -> bool {
        tokio::time::timeout(time, watch.stalled(PATIENCE)).await.is_ok()
    }

    #[tokio::test]
    async fn a_body_comes_whole_in_small_parts() {
        let bytes: Vec<u8> = (0..PART * 2 + 1).map(|at| at as u8).collect();
        let mut answer = Watch::new().body(Body::from(bytes.clone()));
        let mut taken = Vec::new();
        while let Some(frame) = answer.frame().await {
            let data = frame.expect("a frame").into_data().expect("data");
            assert!(data.len() <= PART);
            taken.extend_from_slice(&data);
            assert_eq!(answer.size_hint().exact(), Some((bytes.len() - taken.len()) as u64));
            assert_eq!(answer.is_end_stream(), taken.len() == bytes.len());
        }
        assert_eq!(taken, bytes);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_of_which_nobody_asks_for_the_next_part_is_a_stall() {
        let watch = Watch::new();
        let mut answer = watch.body(Body::from(vec![0; PART * 9]));
        for _ in 0..4 {
            assert!(!stalls_within(&watch, PATIENCE - Duration::from_millis(1)).await);
            answer.frame().await.expect("a part").expect("a frame");
        }
        assert!(stalls_within(&watch, PATIENCE * 2).await);
        drop(answer);
        assert!(!stalls_within(&watch, PATIENCE * 9).await, "what is gone waits for nobody");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_has_nothing_to_tell_yet_is_no_stall() {
        let watch = Watch::new();
        let mut answer = watch.body(Body::new(Silent));
        let mut next = std::pin::pin!(answer.frame());
        tokio::select! {
            biased;
            _ = &mut next => panic!("it says nothing"),
            () = std::future::ready(()) => {}
        }
        assert!(!stalls_within(&watch, PATIENCE * 9).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_does_not_go_on_is_a_stall() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let watch = Watch::new();
        let (ours, mut theirs) = tokio::io::duplex(4);
        let mut socket = watch.socket(ours);
        socket.write_all(b"1234").await.expect("room");
        assert!(!stalls_within(&watch, PATIENCE * 9).await, "everything was taken");
        let mut more = std::pin::pin!(socket.write_all(b"5678"));
        tokio::select! {
            biased;
            _ = &mut more => panic!("there is no room"),
            stalled = stalls_within(&watch, PATIENCE * 2) => assert!(stalled),
        }
        let mut buffer = [0; 4];
        theirs.read_exact(&mut buffer).await.expect("four bytes");
        more.await.expect("room again");
        assert!(!stalls_within(&watch, PATIENCE * 9).await);
    }

    struct Silent;

    impl HttpBody for Silent {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
            Poll::Pending
        }
    }
}
