//! A small log, and the server it is behind: real HTTP on loopback, every answer of which can be spoilt.

#![allow(dead_code, reason = "each test file uses its own part of the stage")]

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::header::{AUTHORIZATION, LOCATION};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use monitor::{Monitor, Options, Patience, Report, Token};
use scal3::opening::{OtherOpening, commitment};
use scal3::{Entry, Hash, Kind, cbor};
use tlog::checkpoint::{Checkpoint, Origin};
use tlog::cosignature::{Cosigner, Seconds};
use tlog::key::{KeyName, Signer};
use tlog::note::Note;
use tlog::policy::Policy;
use tlog::tile::EntriesPath;
use tlog::tree::TreeHead;
use tlog::{Edge, LeafHash, bundle, text};
use tokio::net::TcpListener;

// People who sign, and a log in memory. They are in one place: where records are defined.
#[path = "../../../src/scal3/tests/log/mod.rs"]
pub mod people;

pub use people::{Log, ORIGIN, Person};

pub const TOKEN: &str = "auditor";

/// 2026-01-01T00:00:00Z
pub const COSIGNED: u64 = 1_767_225_600;

/// What is answered to one request.
#[derive(Clone)]
pub enum Answer {
    Bytes(Vec<u8>),
    Status(u16),
    Redirect(String),
    /// A page of somebody else, such as a hotel.
    Page(&'static str),
    /// Nothing, for longer than anybody waits.
    Silence,
    /// To who shows the token; erased where there are no bytes.
    Opening(Option<Vec<u8>>),
}

/// A server of one log.
pub struct Site {
    pub url: String,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    /// By path; answered in turn, the last one for ever.
    answers: Mutex<BTreeMap<String, VecDeque<Answer>>>,
    asked: Mutex<Vec<String>>,
}

impl Site {
    pub async fn open() -> Site {
        let shared = Arc::new(Shared::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = axum::Router::new().fallback(answer).with_state(shared.clone());
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Site { url, shared, task }
    }

    /// A site with a log under a good checkpoint.
    pub async fn of(log: &Log) -> Site {
        let site = Site::open().await;
        site.publish(log);
        site
    }

    /// Publishes everything, under a good checkpoint.
    pub fn publish(&self, log: &Log) -> TreeHead {
        for (index, opening) in log.openings.iter().enumerate() {
            self.put(&format!("v1/records/{index}"), [Answer::Opening(opening.clone())]);
        }
        let head = self.publish_plain(&log.entries);
        self.show(&note(head));
        head
    }

    /// Publishes the tiles and bundles of entries of any kind.
    pub fn publish_plain(&self, entries: &[Vec<u8>]) -> TreeHead {
        let mut edge = Edge::new();
        for entry in entries {
            edge.push(LeafHash::of(entry)).unwrap();
        }
        for (tile, bytes) in edge.take_full().into_iter().chain(edge.partial()) {
            self.put(&tile.path(), [Answer::Bytes(bytes)]);
        }
        for (index, chunk) in entries.chunks(256).enumerate() {
            let mut bytes = Vec::new();
            for entry in chunk {
                bundle::push(&mut bytes, entry).unwrap();
            }
            let path = EntriesPath { index: index as u64, width: chunk.len() as u16 };
            self.put(&path.path(), [Answer::Bytes(bytes)]);
        }
        edge.head()
    }

    pub fn show(&self, note: &Note) {
        self.put("checkpoint", [Answer::Bytes(note.to_bytes())]);
    }

    pub fn put(&self, path: &str, answers: impl IntoIterator<Item = Answer>) {
        self.shared.answers.lock().unwrap().insert(path.to_owned(), answers.into_iter().collect());
    }

    pub fn remove(&self, path: &str) {
        assert!(self.shared.answers.lock().unwrap().remove(path).is_some(), "{path} is not there");
    }

    /// Changes the bytes at a path, which must be there.
    pub fn spoil(&self, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut answers = self.shared.answers.lock().unwrap();
        let Some(Answer::Bytes(bytes)) = answers.get_mut(path).and_then(|answers| answers.back_mut()) else {
            panic!("{path} is not there");
        };
        change(bytes);
    }

    /// Every path that is served, but for the checkpoint.
    pub fn paths(&self) -> Vec<String> {
        let answers = self.shared.answers.lock().unwrap();
        answers.keys().filter(|path| *path != "checkpoint").cloned().collect()
    }

    /// What is answered at a path.
    pub fn at(&self, path: &str) -> Answer {
        self.shared.answers.lock().unwrap()[path].back().unwrap().clone()
    }

    /// What was asked for since the last call.
    pub fn asked(&self) -> Vec<String> {
        let mut asked = std::mem::take(&mut *self.shared.asked.lock().unwrap());
        asked.sort();
        asked
    }

    /// The server is gone.
    pub async fn close(self) -> String {
        self.task.abort();
        let _ = self.task.await;
        self.url
    }

    pub fn monitor(&self, options: Options) -> Monitor {
        Monitor::new(policy(), &self.url, options).unwrap()
    }

    /// One pass of a new monitor that keeps nothing.
    pub async fn pass(&self, options: Options) -> Report {
        self.monitor(options).pass().await
    }
}

async fn answer(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/').to_owned();
    let answer = shared.answers.lock().unwrap().get_mut(&path).and_then(|answers| match answers.len() {
        1 => answers.front().cloned(),
        _ => answers.pop_front(),
    });
    shared.asked.lock().unwrap().push(path);
    let token = headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap());
    match answer {
        None => StatusCode::NOT_FOUND.into_response(),
        Some(Answer::Bytes(bytes)) => bytes.into_response(),
        Some(Answer::Status(code)) => StatusCode::from_u16(code).unwrap().into_response(),
        Some(Answer::Page(page)) => axum::response::Html(page).into_response(),
        Some(Answer::Silence) => {
            tokio::time::sleep(Duration::from_secs(60)).await;
            StatusCode::OK.into_response()
        }
        Some(Answer::Redirect(to)) => (StatusCode::FOUND, [(LOCATION, to)]).into_response(),
        Some(Answer::Opening(opening)) => match token {
            None => axum::Json(serde_json::json!({ "opening": { "state": "restricted" } })).into_response(),
            Some("Bearer auditor") => axum::Json(match opening {
                Some(bytes) => {
                    serde_json::json!({ "opening": { "state": "shown", "bytes": text::to_base64(&bytes) } })
                }
                None => serde_json::json!({ "opening": { "state": "erased" } }),
            })
            .into_response(),
            Some(_) => StatusCode::UNAUTHORIZED.into_response(),
        },
    }
}

pub fn signer(seed: u8) -> Signer {
    Signer::note(KeyName::new(ORIGIN).unwrap(), &[seed; 32])
}

pub fn witness(n: u8) -> Cosigner {
    Cosigner::new(KeyName::new(&format!("witness.example/{n}")).unwrap(), &[100 + n; 32])
}

/// Two of three witnesses.
pub fn policy_text() -> String {
    let mut file = format!("log {}\n", signer(1).vkey());
    for n in 1..=3 {
        file += &format!("witness w{n} {}\n", witness(n).vkey());
    }
    file + "group g 2 w1 w2 w3\nquorum g\n"
}

pub fn policy() -> Policy {
    Policy::parse(policy_text()).unwrap()
}

/// A checkpoint as this log signs it, cosigned by these witnesses.
pub fn note_by(log: &Signer, head: TreeHead, witnesses: &[u8]) -> Note {
    let text = Checkpoint::new(Origin::new(ORIGIN).unwrap(), head).to_text();
    witnesses.iter().fold(Note::sign(&text, log).unwrap(), |note, n| {
        note.with_signature(witness(*n).cosign(&text, Seconds::new(COSIGNED + u64::from(*n)).unwrap())).unwrap()
    })
}

/// A checkpoint that meets the policy, cosigned so many seconds after the others.
pub fn note_later(head: TreeHead, seconds: u64) -> Note {
    let text = Checkpoint::new(Origin::new(ORIGIN).unwrap(), head).to_text();
    [1, 2].iter().fold(Note::sign(&text, &signer(1)).unwrap(), |note, n| {
        let at = Seconds::new(COSIGNED + seconds + u64::from(*n)).unwrap();
        note.with_signature(witness(*n).cosign(&text, at)).unwrap()
    })
}

/// The path at which a witness shows what it cosigned last.
pub fn witnessed() -> String {
    format!("{}/checkpoint", Origin::new(ORIGIN).unwrap().hash().to_hex())
}

/// The policy, with the addresses of the first witnesses.
pub fn policy_with(urls: &[&str]) -> Policy {
    let mut text = policy_text();
    for (n, url) in (1..).zip(urls) {
        let vkey = format!("{}", witness(n).vkey());
        text = text.replace(&vkey, &format!("{vkey} {url}"));
    }
    Policy::parse(text).unwrap()
}

/// A checkpoint that meets the policy.
pub fn note(head: TreeHead) -> Note {
    note_by(&signer(1), head, &[1, 2])
}

pub fn ann() -> Person {
    Person::new("ann", scal3::Profile::EcSdsa)
}

/// A log with three records of ann's, and events up to this size.
pub fn log(size: u64) -> Log {
    let mut log = Log::with(&ann());
    for _ in 0..2 {
        let draft = log.draft(&ann());
        log.append(&draft);
    }
    grow(&mut log, size);
    log
}

/// Adds events up to this size.
pub fn grow(log: &mut Log, size: u64) {
    while log.size() < size {
        event(log, None);
    }
}

/// Adds an event that is in no stream.
pub fn event(log: &mut Log, index_key: Option<Hash>) {
    let salt = scal3::tagged("test/event", &log.size().to_be_bytes()).0;
    let opening = OtherOpening { kind: Kind::Event, salt, body: cbor::uint(log.size()) }.to_bytes();
    let entry = Entry::committed(Kind::Event, log.time_ms, commitment(&opening), index_key);
    log.push(&entry, Some(&opening));
}

/// The entry that an erasure makes. The opening itself is for the caller to take away.
pub fn erased(log: &mut Log, index: u64) {
    let salt = scal3::tagged("test/erasure", &log.size().to_be_bytes()).0;
    let opening = scal3::erasure::Erasure { index, reason: "asked for".into() }.opening(salt).to_bytes();
    let entry = Entry::committed(Kind::Erasure, log.time_ms, commitment(&opening), None);
    log.push(&entry, Some(&opening));
}

/// Who waits for nobody.
pub fn quick() -> Options {
    let patience = Patience { wait: Duration::ZERO, ..Patience::default() };
    Options { patience, ..Options::default() }
}

/// Who may see openings.
pub fn auditor() -> Options {
    Options { token: Some(Token::new(TOKEN).unwrap()), ..quick() }
}

/// Who keeps what it sees.
pub fn keeping(dir: &std::path::Path) -> Options {
    Options { state: Some(dir.to_owned()), ..auditor() }
}

pub fn plain() -> Options {
    Options { plain: true, ..quick() }
}
