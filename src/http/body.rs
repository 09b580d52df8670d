//! Bodies: read within a size, within a time, and within the bytes that may wait in all.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, SizeHint};

use crate::room::{Held, NoRoom, RETRY_AFTER_S};

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Over the limit.
    #[error("at most {limit} bytes are taken")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// Not there in time.
    #[error("the body did not arrive in time")]
    Slow,
    /// The connection broke, or the framing is wrong.
    #[error("the body ended early")]
    Broken,
    /// Too much is waiting already.
    #[error("too much is waiting")]
    NoRoom {
        /// When to come back.
        retry_after_s: u64,
    },
}

impl From<NoRoom> for BodyError {
    fn from(_: NoRoom) -> BodyError {
        BodyError::NoRoom { retry_after_s: RETRY_AFTER_S }
    }
}

/// Reads a body of at most `limit` bytes. Its bytes are taken from the budget before they are kept.
pub async fn read(
    body: Body,
    headers: &HeaderMap,
    limit: usize,
    patience: Duration,
    held: &mut Held,
) -> Result<Vec<u8>, BodyError> {
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(BodyError::TooLarge { limit });
    }
    // What is announced is not believed: it only saves taking the budget in small steps.
    tokio::time::timeout(patience, collect(body, limit, held)).await.map_err(|_| BodyError::Slow)?
}

async fn collect(mut body: Body, limit: usize, held: &mut Held) -> Result<Vec<u8>, BodyError> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BodyError::Broken)?.into_data() else { continue };
        if bytes.len().saturating_add(data.len()) > limit {
            return Err(BodyError::TooLarge { limit });
        }
        held.grow(data.len())?;
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// A body that can still be read when the one it was given to has lost interest.
///
/// A client that is answered while it is still sending, and whose connection then ends, may never read the answer. So
/// what it goes on sending is read and thrown away, within limits, before it is answered.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<Body>>);

impl Shared {
    /// Takes a body that will be shared.
    pub fn new(body: Body) -> Shared {
        Shared(Arc::new(Mutex::new(body)))
    }

    /// Reads what is left of it, of that many bytes at most.
    pub async fn drain(mut self, limit: usize, patience: Duration) {
        let drained = async {
            let mut left = limit;
            while let Some(Ok(frame)) = self.frame().await {
                let length = frame.into_data().map_or(0, |data| data.len());
                left = left.saturating_sub(length);
                if left == 0 {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(patience, drained).await;
    }
}

impl HttpBody for Shared {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Pin::new(&mut *body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).size_hint()
    }
}

/// The media type of a request, without its parameters, in lower case.
pub fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    value.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::Room;

    async fn read_of(bytes: &'static [u8], limit: usize, room: usize) -> Result<Vec<u8>, BodyError> {
        let mut held = Room::new(room).enter();
        read(Body::from(bytes), &HeaderMap::new(), limit, Duration::from_secs(10), &mut held).await
    }

    #[tokio::test]
    async fn a_body_is_read_within_its_limits() {
        assert_eq!(read_of(b"12345", 5, 5).await, Ok(b"12345".to_vec()));
        assert_eq!(read_of(b"12345", 4, 9).await, Err(BodyError::TooLarge { limit: 4 }));
        assert_eq!(read_of(b"12345", 9, 4).await, Err(BodyError::NoRoom { retry_after_s: RETRY_AFTER_S }));
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_LENGTH, "6".parse().expect("header"));
        let mut held = Room::new(9).enter();
        let refused = read(Body::from("1"), &headers, 5, Duration::from_secs(10), &mut held).await;
        assert_eq!(refused, Err(BodyError::TooLarge { limit: 5 }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_given_up() {
        let mut held = Room::new(9).enter();
        let refused = read(Body::new(Never), &HeaderMap::new(), 9, Duration::from_secs(10), &mut held).await;
        assert_eq!(refused, Err(BodyError::Slow));
    }

    struct Never;

    impl HttpBody for Never {
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
