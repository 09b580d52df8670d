//! One connection: send, time, verify.

use crate::{
    Error,
    plan::{Head, Lane, Post},
};
use base64ct::{Base64, Encoding as _};
use scal3::{Entry, Hash, opening};
use serde::Deserialize;
use std::time::{Duration, Instant};
use tlog::{InclusionProof, LeafHash, LeafIndex, TreeHead, checkpoint::Checkpoint, key::Vkey, note::Note};

/// A client of one log, with the token that lets it append.
#[derive(Clone)]
pub struct Connection {
    /// The HTTP client; one connection is kept open.
    pub http: reqwest::Client,
    /// Where the log is, without a slash at the end.
    pub url: String,
    /// Lets it append.
    pub token: String,
    /// The key that must have signed every head.
    pub key: Vkey,
    /// `sequenced`, `integrated` or `witnessed`.
    pub until: String,
}

/// What the log answers to an append.
#[derive(Debug, Deserialize)]
struct Answer {
    index: u64,
    existing: bool,
    entry: String,
    head: Option<Head>,
    inclusion: Option<Vec<String>>,
}

/// How one record fared.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// From the first byte sent to the answer read.
    pub took: Duration,
    /// The place it got.
    pub index: u64,
}

impl Connection {
    /// Sends a lane, record after record, and verifies each answer.
    ///
    /// # Errors
    /// The first answer that is a refusal or does not hold ends the lane.
    pub async fn run(&self, lane: Lane, progress: &indicatif::ProgressBar) -> Result<Vec<Sample>, Error> {
        let mut samples = Vec::with_capacity(lane.openings.len());
        for sent in lane.openings {
            let began = Instant::now();
            let answer = self.post("/v1/records", "application/cbor", sent.clone()).await?;
            let took = began.elapsed();
            self.verify(&answer, Some(opening::commitment(&sent)))?;
            if answer.existing {
                return Err(Error::Wrong(format!("record {} was new, and is said to have been there", answer.index)));
            }
            samples.push(Sample { took, index: answer.index });
            progress.inc(1);
        }
        Ok(samples)
    }

    async fn post(&self, path: &str, media_type: &str, body: Vec<u8>) -> Result<Answer, Error> {
        let request = self.http.post(format!("{}{path}?until={}", self.url, self.until));
        let answer = request.bearer_auth(&self.token).header("content-type", media_type).body(body).send().await?;
        let status = answer.status();
        if !status.is_success() {
            return Err(Error::Refused { status: status.as_u16(), body: answer.text().await? });
        }
        Ok(answer.json().await?)
    }

    /// The entry is the one for what was sent, and it is under a head that the log signed.
    fn verify(&self, answer: &Answer, commitment: Option<Hash>) -> Result<Option<TreeHead>, Error> {
        let wrong = |what: &str| Error::Wrong(what.to_owned());
        let bytes = Base64::decode_vec(&answer.entry).map_err(|_| wrong("the entry is not base64"))?;
        let entry = Entry::parse(&bytes).map_err(|e| Error::Wrong(e.to_string()))?;
        if commitment.is_some_and(|expected| entry.commitment != expected) {
            return Err(wrong("the entry commits to something else"));
        }
        let (Some(head), Some(hashes)) = (&answer.head, &answer.inclusion) else {
            return if self.until == "sequenced" { Ok(None) } else { Err(wrong("no head, though one was asked for")) };
        };
        let note = Note::parse(head.checkpoint.as_bytes()).map_err(|e| Error::Wrong(e.to_string()))?;
        note.open(std::slice::from_ref(&self.key)).map_err(|e| Error::Wrong(e.to_string()))?;
        let signed = Checkpoint::parse_text(note.text()).map_err(|e| Error::Wrong(e.to_string()))?.head;
        let hashes: Option<Vec<Hash>> = hashes.iter().map(|hash| Hash::from_base64(hash)).collect();
        let proof = InclusionProof { hashes: hashes.ok_or_else(|| wrong("a hash of the proof"))? };
        let index = LeafIndex::new(answer.index).map_err(|e| Error::Wrong(e.to_string()))?;
        proof.verify(LeafHash::of(&bytes), index, &signed).map_err(|e| Error::Wrong(e.to_string()))?;
        Ok(Some(signed))
    }
}

impl Post for Connection {
    async fn credential(&self, bytes: &[u8]) -> Result<Option<TreeHead>, Error> {
        let answer = self.post("/v1/credentials", "application/cose", bytes.to_vec()).await?;
        self.verify(&answer, None)
    }

    async fn record(&self, opening: &[u8]) -> Result<(), Error> {
        let answer = self.post("/v1/records", "application/cbor", opening.to_vec()).await?;
        self.verify(&answer, Some(opening::commitment(opening))).map(drop)
    }
}
