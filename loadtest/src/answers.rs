//! What a log answers, verified: nothing that it could merely claim is believed.
//!
//! ```text
//! append      entry commits to what was sent ── inclusion proof ──▶ head ── signature ──▶ the log's key (and the quorum)
//! inclusion   leaf hash ── proof ──▶ root ── the same as in a signed head of that size, where one was seen
//! ```

use std::collections::BTreeMap;
use std::sync::Mutex;

use base64ct::{Base64, Encoding as _};
use scal3::{Entry, Hash};
use serde::Deserialize;
use tlog::checkpoint::Checkpoint;
use tlog::key::Vkey;
use tlog::note::Note;
use tlog::policy::Policy;
use tlog::{InclusionProof, LeafHash, LeafIndex, TreeHead, TreeSize};

use crate::Error;
use crate::transport::Connection;

/// How many heads are remembered, so that a signature is verified once for all the answers that carry it.
const HEADS: usize = 4096;

/// What the log says about itself, as far as it matters here.
#[derive(Debug, Deserialize)]
pub struct About {
    /// Its name.
    pub origin: String,
    /// Its key.
    pub vkey: String,
    /// The policy in force.
    pub policy: InForce,
    /// Its witnesses and their quorum.
    pub witness_policy: Option<String>,
    /// The newest signed head.
    pub integrated: Head,
    /// What runs.
    #[serde(default)]
    pub software: String,
}

/// The policy in force.
#[derive(Debug, Deserialize)]
pub struct InForce {
    /// The document, base64.
    pub document: String,
}

/// A signed head.
#[derive(Debug, Clone, Deserialize)]
pub struct Head {
    /// How many entries.
    pub size: u64,
    /// The root, base64.
    pub root: String,
    /// The signed note.
    pub checkpoint: String,
}

impl About {
    /// Asks the log.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn ask(connection: &mut Connection) -> Result<About, Error> {
        json(&connection.get("/v1/log").await?.body()?)
    }

    /// The policy document.
    ///
    /// # Errors
    /// [`Error::Wrong`].
    pub fn policy(&self) -> Result<Vec<u8>, Error> {
        Base64::decode_vec(&self.policy.document).map_err(|e| wrong(format_args!("the policy: {e}")))
    }
}

fn json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|e| wrong(format_args!("JSON: {e}")))
}

fn wrong(what: impl std::fmt::Display) -> Error {
    Error::Wrong(what.to_string())
}

/// The level that an append waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Durable at an index: the append is acknowledged.
    Sequenced,
    /// A signed head covers it.
    Integrated,
    /// The published head does, with its quorum.
    Witnessed,
}

impl Level {
    /// As the log knows it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Sequenced => "sequenced",
            Level::Integrated => "integrated",
            Level::Witnessed => "witnessed",
        }
    }
}

/// What the log answers to an append.
#[derive(Debug, Deserialize)]
struct Appended {
    index: u64,
    existing: bool,
    reached: Level,
    entry: String,
    head: Option<Head>,
    inclusion: Option<Vec<String>>,
}

/// One of a batch.
#[derive(Debug, Deserialize)]
struct Outcome {
    status: u16,
    appended: Option<Appended>,
    problem: Option<serde_json::Value>,
}

/// The answer to a question for an inclusion proof.
#[derive(Debug, Deserialize)]
struct Inclusion {
    index: u64,
    size: u64,
    root: String,
    leaf_hash: String,
    hashes: Vec<String>,
}

/// Judges answers. Shared by all connections.
#[derive(Debug)]
pub struct Judge {
    key: Vkey,
    quorum: Option<Policy>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Heads whose signature was verified, by their note.
    notes: BTreeMap<String, TreeHead>,
    /// Their roots.
    roots: BTreeMap<u64, Hash>,
}

impl Judge {
    /// Of a log that says that about itself. What it says is believed once, here; `trust` is believed instead where there is
    /// one (a c2sp.org/tlog-policy).
    ///
    /// # Errors
    /// [`Error::Wrong`].
    pub fn new(about: &About, trust: Option<&str>) -> Result<Judge, Error> {
        let key = Vkey::parse(&about.vkey).map_err(|e| wrong(format_args!("the log's vkey: {e}")))?;
        let policy = trust.or(about.witness_policy.as_deref());
        let quorum = policy.map(|text| Policy::parse(text).map_err(|e| wrong(format_args!("the policy: {e}"))));
        Ok(Judge { key, quorum: quorum.transpose()?, seen: Mutex::default() })
    }

    /// The head that a note signs.
    ///
    /// # Errors
    /// [`Error::Wrong`].
    pub fn head(&self, note: &str, level: Level) -> Result<TreeHead, Error> {
        if let Some(known) = self.lock().notes.get(note) {
            return Ok(*known);
        }
        let parsed = Note::parse(note.as_bytes()).map_err(wrong)?;
        let head = match (&self.quorum, level) {
            (Some(policy), Level::Witnessed) => policy.verify(&parsed).map_err(wrong)?.checkpoint.head,
            _ => {
                parsed.open(std::slice::from_ref(&self.key)).map_err(wrong)?;
                Checkpoint::parse_text(parsed.text()).map_err(wrong)?.head
            }
        };
        let mut seen = self.lock();
        if let Some(other) = seen.roots.insert(head.size.get(), head.root).filter(|other| *other != head.root) {
            return Err(wrong(format_args!("two roots for size {}: {other} and {}", head.size, head.root)));
        }
        if seen.notes.len() >= HEADS {
            seen.notes.clear();
        }
        seen.notes.insert(note.to_owned(), head);
        Ok(head)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The place that the answer to one append gives. It must be new, unless the record was sent `again` because nobody knew
    /// what had become of it.
    ///
    /// # Errors
    /// [`Error::Wrong`].
    pub fn appended(&self, body: &[u8], commitment: Option<&Hash>, level: Level, again: bool) -> Result<u64, Error> {
        self.judge(&json(body)?, commitment, level, again)
    }

    /// The places that the answer to a batch gives.
    ///
    /// # Errors
    /// [`Error::Wrong`], and [`Error::Refused`] for the first record that was refused.
    pub fn batch(&self, body: &[u8], commitments: &[Hash], level: Level, again: bool) -> Result<Vec<u64>, Error> {
        let outcomes: Vec<Outcome> = json(body)?;
        if outcomes.len() != commitments.len() {
            return Err(wrong(format_args!("{} outcomes for {} records", outcomes.len(), commitments.len())));
        }
        let judge = |(outcome, commitment): (&Outcome, &Hash)| match &outcome.appended {
            Some(appended) => self.judge(appended, Some(commitment), level, again),
            None => {
                let body = outcome.problem.as_ref().map(ToString::to_string).unwrap_or_default();
                Err(Error::Refused { status: outcome.status, body })
            }
        };
        outcomes.iter().zip(commitments).map(judge).collect()
    }

    fn judge(&self, answer: &Appended, commitment: Option<&Hash>, level: Level, again: bool) -> Result<u64, Error> {
        if answer.existing && !again {
            return Err(wrong(format_args!("record {} was new, and is said to have been there", answer.index)));
        }
        if answer.reached < level {
            let reached = answer.reached.as_str();
            return Err(wrong(format_args!("only {reached}, where {} was asked for", level.as_str())));
        }
        let bytes = Base64::decode_vec(&answer.entry).map_err(|_| wrong("the entry is not base64"))?;
        let entry = Entry::parse(&bytes).map_err(wrong)?;
        if commitment.is_some_and(|expected| entry.commitment != *expected) {
            return Err(wrong("the entry commits to something else"));
        }
        match (&answer.head, &answer.inclusion) {
            (Some(head), Some(hashes)) => {
                let signed = self.head(&head.checkpoint, level)?;
                let index = LeafIndex::new(answer.index).map_err(wrong)?;
                proof(hashes)?.verify(LeafHash::of(&bytes), index, &signed).map_err(wrong)?;
            }
            _ if level == Level::Sequenced => {}
            _ => return Err(wrong("no head, though one was asked for")),
        }
        Ok(answer.index)
    }

    /// The answer to a question for an inclusion proof.
    ///
    /// # Errors
    /// [`Error::Wrong`].
    pub fn inclusion(&self, body: &[u8], asked: u64) -> Result<(), Error> {
        let answer: Inclusion = json(body)?;
        if answer.index != asked {
            return Err(wrong("a proof for another entry"));
        }
        let root = Hash::from_base64(&answer.root).ok_or_else(|| wrong("a root that is no hash"))?;
        if self.lock().roots.get(&answer.size).is_some_and(|signed| *signed != root) {
            return Err(wrong(format_args!("another root for size {} than the one that was signed", answer.size)));
        }
        let leaf = Hash::from_base64(&answer.leaf_hash).ok_or_else(|| wrong("a leaf hash that is none"))?;
        let head = TreeHead { size: TreeSize::new(answer.size).map_err(wrong)?, root };
        let index = LeafIndex::new(asked).map_err(wrong)?;
        proof(&answer.hashes)?.verify(LeafHash(leaf.0), index, &head).map_err(wrong)
    }
}

fn proof(hashes: &[String]) -> Result<InclusionProof, Error> {
    let hashes: Option<Vec<Hash>> = hashes.iter().map(|hash| Hash::from_base64(hash)).collect();
    Ok(InclusionProof { hashes: hashes.ok_or_else(|| wrong("a hash of the proof"))? })
}
