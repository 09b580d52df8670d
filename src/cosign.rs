//! Cosigning: one witness, as the log asks it. <https://c2sp.org/tlog-witness>
//!
//! ```text
//! POST <url>/add-checkpoint                   old size, consistency proof, our checkpoint   ──► one cosignature line
//! GET  <url>/<hex SHA-256(origin)>/checkpoint                                               ──► what it last cosigned
//! ```
//!
//! Nothing a witness says is taken on trust. A cosignature counts when it verifies. That a witness is ahead of us counts
//! when it shows our own signature over a head we don't have: without that, one broken witness could stop any log.

use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;
use tlog::checkpoint::{Checkpoint, Origin};
use tlog::key::Vkey;
use tlog::note::{Note, SignatureLine};
use tlog::proof::ConsistencyProof;
use tlog::tree::{TreeHead, TreeSize};
use tlog::witness::{self, AddCheckpoint};

use crate::history::History;
use crate::progress::SignedHead;
use crate::signers::Signers;

/// The most bytes of an answer that are read.
const ANSWER_BYTES: usize = 128 << 10;

/// How often one candidate is sent again because the witness named another old size. It can honestly happen once, when
/// an answer was lost; twice when two of our requests have overtaken each other.
const RETRIES: usize = 3;

/// How long a witness that names no time is left alone after it said that it is busy.
const BUSY: Duration = Duration::from_secs(1);

/// One witness.
pub struct Witness {
    name: String,
    vkey: Vkey,
    url: String,
    http: reqwest::Client,
    /// The size it cosigned last, as far as we know. It corrects us when we are wrong.
    known: TreeSize,
}

/// What became of asking for a cosignature.
#[derive(Debug)]
pub enum Answer {
    /// A cosignature that verifies.
    Cosigned(SignatureLine),
    /// It asks to be left alone for that long.
    Busy(Duration),
    /// It says it has cosigned a larger head than this candidate, or that the candidate contradicts the one it has. Its
    /// own checkpoint shows which of us is wrong.
    Disagrees(String),
    /// Nothing useful: unreachable, slow, or an answer that makes no sense.
    Failed(String),
}

/// What a witness last cosigned for this log.
#[derive(Debug)]
pub enum Last {
    /// Nothing yet.
    Nothing,
    /// That head, with our own signature on it.
    Head(TreeHead),
}

impl Witness {
    /// A witness at that URL. The client is shared, so that connections are kept alive.
    pub fn new(name: String, vkey: Vkey, url: String, http: reqwest::Client) -> Witness {
        Witness { name, vkey, url: url.trim_end_matches('/').to_owned(), http, known: TreeSize::ZERO }
    }

    /// Its name in the policy.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Remembers what the rollback guard has learnt.
    pub fn knows(&mut self, size: TreeSize) {
        self.known = size;
    }

    /// Asks for a cosignature on this head.
    pub async fn ask(&mut self, candidate: &SignedHead, history: &Arc<History>) -> Answer {
        for _ in 0..RETRIES {
            if self.known > candidate.head.size {
                return Answer::Disagrees(format!("it has cosigned size {}", self.known));
            }
            match self.ask_once(candidate, history).await {
                Ok(answer) => return answer,
                Err(Conflict(size)) => self.known = size,
            }
        }
        Answer::Failed("it names a new old size each time".to_owned())
    }

    async fn ask_once(&mut self, candidate: &SignedHead, history: &Arc<History>) -> Result<Answer, Conflict> {
        let proof = match self.proof(candidate.head.size, history) {
            Ok(proof) => proof,
            Err(e) => return Ok(Answer::Failed(e.to_string())),
        };
        let Ok(note) = Note::parse(&candidate.note) else {
            return Ok(Answer::Failed("our own note does not parse".to_owned()));
        };
        let body = AddCheckpoint { old_size: self.known, proof, note: note.clone() }.to_bytes();
        let sent = self.http.post(format!("{}/add-checkpoint", self.url)).body(body).send().await;
        let response = match sent {
            Ok(response) => response,
            Err(e) => return Ok(Answer::Failed(e.without_url().to_string())),
        };
        let status = response.status();
        let busy =
            response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok()).map(Duration::from_secs);
        let body = match read(response).await {
            Ok(body) => body,
            Err(e) => return Ok(Answer::Failed(e)),
        };
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            return Ok(Answer::Busy(busy.unwrap_or(BUSY)));
        }
        let said = match witness::Answer::parse(status.as_u16(), &body) {
            Ok(said) => said,
            Err(e) => return Ok(Answer::Failed(e.to_string())),
        };
        Ok(match said {
            witness::Answer::Cosigned(lines) => match witness::cosignatures(&note, &lines, &self.vkey).pop() {
                Some(line) => {
                    self.known = candidate.head.size;
                    Answer::Cosigned(line)
                }
                None => Answer::Failed("its cosignature does not verify".to_owned()),
            },
            witness::Answer::Conflict(size) if size != self.known => return Err(Conflict(size)),
            witness::Answer::Conflict(size) => Answer::Failed(format!("it refuses the old size {size} and names it")),
            witness::Answer::Inconsistent => {
                Answer::Disagrees("it finds our head inconsistent with its own".to_owned())
            }
            witness::Answer::NotKnown => Answer::Failed("it does not know this log, or its key".to_owned()),
            witness::Answer::Other(status) => Answer::Failed(format!("it answered {status}")),
        })
    }

    fn proof(&self, size: TreeSize, history: &Arc<History>) -> Result<ConsistencyProof, crate::history::ReadError> {
        if self.known == TreeSize::ZERO || self.known == size {
            return Ok(ConsistencyProof { hashes: Vec::new() });
        }
        history.consistency(self.known, size)
    }

    /// What it last cosigned for this log. An answer without our own signature is no answer.
    pub async fn last(&self, origin: &Origin, log: &Signers) -> Result<Last, String> {
        let url = format!("{}/{}/checkpoint", self.url, origin.hash());
        let response = self.http.get(url).send().await.map_err(|e| e.without_url().to_string())?;
        match response.status() {
            StatusCode::NOT_FOUND => return Ok(Last::Nothing),
            StatusCode::OK => {}
            other => return Err(format!("it answered {other}")),
        }
        let note = Note::parse(&read(response).await?).map_err(|e| e.to_string())?;
        note.open(log.vkeys()).map_err(|e| format!("what it shows is not signed by this log: {e}"))?;
        let checkpoint = Checkpoint::parse_text(note.text()).map_err(|e| e.to_string())?;
        if checkpoint.origin != *origin {
            return Err("it shows another log's checkpoint".to_owned());
        }
        Ok(Last::Head(checkpoint.head))
    }
}

/// The witness has cosigned that size, not the one we thought.
struct Conflict(TreeSize);

/// Reads a body, and no more of it than a checkpoint can have.
async fn read(mut response: reqwest::Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| e.without_url().to_string())? {
        if body.len() + chunk.len() > ANSWER_BYTES {
            return Err("its answer is too long".to_owned());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
