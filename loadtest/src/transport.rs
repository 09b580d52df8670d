//! One connection to the log, kept open: as little work for each request as can be, so that it is the log that is measured.
//!
//! `http://` speaks HTTP/1.1 on a socket of its own. `https://` goes through a client that knows TLS, which costs the
//! generator about three times as much for each request.

use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::Error;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a log is.
#[derive(Debug, Clone)]
pub enum Place {
    /// host:port, without TLS.
    Plain(String),
    /// Anything else: a URL without a slash at its end.
    Web(String, reqwest::Client),
}

impl Place {
    /// The place that a URL names.
    ///
    /// # Errors
    /// [`Error::Http`] if there can be no client.
    pub fn parse(url: &str) -> Result<Place, Error> {
        let url = url.trim_end_matches('/');
        match url.strip_prefix("http://") {
            Some(host) if host.contains(':') && !host.contains('/') => Ok(Place::Plain(host.to_owned())),
            _ => Ok(Place::Web(url.to_owned(), reqwest::Client::builder().timeout(PATIENCE).build()?)),
        }
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The body of an answer that says yes.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn body(self) -> Result<Bytes, Error> {
        if self.status.is_success() {
            return Ok(self.body);
        }
        let body = String::from_utf8_lossy(&self.body).into_owned();
        Err(Error::Refused { status: self.status.as_u16(), body })
    }
}

/// A connection. It opens itself when it is first used, and again when the other side has closed it.
pub struct Connection {
    place: Place,
    open: Option<SendRequest<Full<Bytes>>>,
}

/// A body and what it is.
pub struct Body<'a> {
    /// The token that allows it.
    pub token: &'a str,
    /// Its media type.
    pub kind: &'static str,
    /// Its bytes.
    pub bytes: Bytes,
}

impl Connection {
    /// A connection to that place, not open yet.
    #[must_use]
    pub fn new(place: &Place) -> Connection {
        Connection { place: place.clone(), open: None }
    }

    /// Reads.
    ///
    /// # Errors
    /// [`Error::Broken`] or [`Error::Http`].
    pub async fn get(&mut self, path: &str) -> Result<Answer, Error> {
        self.send(path, None).await
    }

    /// Writes.
    ///
    /// # Errors
    /// [`Error::Broken`] or [`Error::Http`].
    pub async fn post(&mut self, path: &str, body: Body<'_>) -> Result<Answer, Error> {
        self.send(path, Some(body)).await
    }

    async fn send(&mut self, path: &str, body: Option<Body<'_>>) -> Result<Answer, Error> {
        match tokio::time::timeout(PATIENCE, self.ask(path, body)).await {
            Ok(answer) => answer,
            Err(_) => {
                // Whatever comes on this connection now belongs to a question that nobody asks any more.
                self.open = None;
                Err(Error::Broken("no answer in a minute".to_owned()))
            }
        }
    }

    async fn ask(&mut self, path: &str, body: Option<Body<'_>>) -> Result<Answer, Error> {
        let host = match &self.place {
            Place::Plain(host) => host.clone(),
            Place::Web(url, client) => return web(client, &format!("{url}{path}"), body).await,
        };
        let broken = |e: hyper::Error| Error::Broken(e.to_string());
        let request = request(&host, path, body)?;
        let mut sender = match self.open.take().filter(|open| !open.is_closed()) {
            Some(open) => open,
            None => connect(&host).await?,
        };
        sender.ready().await.map_err(broken)?;
        let answer = sender.send_request(request).await.map_err(broken)?;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(broken)?.to_bytes();
        self.open = Some(sender);
        Ok(Answer { status, body })
    }
}

fn request(host: &str, path: &str, body: Option<Body<'_>>) -> Result<Request<Full<Bytes>>, Error> {
    let request = Request::builder().uri(path).header("host", host);
    match body {
        None => request.body(Full::default()),
        Some(Body { token, kind, bytes }) => request
            .method("POST")
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", kind)
            .body(Full::new(bytes)),
    }
    .map_err(|e| Error::Make(e.to_string()))
}

async fn connect(host: &str) -> Result<SendRequest<Full<Bytes>>, Error> {
    let broken = |e: std::io::Error| Error::Broken(format!("{host}: {e}"));
    let stream = TcpStream::connect(host).await.map_err(broken)?;
    stream.set_nodelay(true).map_err(broken)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|e| Error::Broken(e.to_string()))?;
    // It ends with the sender; what breaks it is heard by whoever sends.
    tokio::spawn(connection);
    Ok(sender)
}

async fn web(client: &reqwest::Client, url: &str, body: Option<Body<'_>>) -> Result<Answer, Error> {
    let request = match body {
        None => client.get(url),
        Some(Body { token, kind, bytes }) => {
            client.post(url).bearer_auth(token).header("content-type", kind).body(bytes)
        }
    };
    let answer = request.send().await?;
    Ok(Answer { status: answer.status(), body: answer.bytes().await? })
}
