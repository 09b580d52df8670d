//! An auditor's trail: every entry of a log, with its receipt, each verified against a trust file.
//!
//! ```text
//! checkpoint ── trust file ──▶ head
//! for each index:  receipt (token, scope `read`) ──▶ verified ──▶ on the head's history ──▶ a line of the trail
//! ```
//!
//! Nothing that the server says is believed: each receipt holds by itself or is a finding, and all their heads are shown to be
//! of one history. What only the whole log can tell, such as whether a policy was in force, is the monitor's to judge.

use std::collections::VecDeque;
use std::ops::Range;

use scal3::{Entry, Kind};
use serde_json::{Value as Json, json};
use tlog::note::{Note, NoteError};
use tlog::policy::{Policy, PolicyError};
use tlog::proof_file::ProofFile;
use tlog::{ConsistencyProof, TreeHead, TreeSize};

use crate::export::{Begun, ExportError, Making, Written};
use crate::provider::{Provider, ProviderError, Token};
use crate::receipt::Receipt;
use crate::receipts::demand;
use crate::subscriber::Error;
use crate::trail::{self, Transaction};
use crate::verify::{self, AUTHORISED};
use crate::wire::OpeningState;

/// How many receipts are asked for at once.
const AT_ONCE: usize = 8;

/// How often a receipt is asked for again that lacks nothing but cosignatures, or that the server has no room for now.
const AGAIN: u32 = 40;

/// Which entries an auditor wants, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The first of them; without it, the log's first.
    pub from: Option<u64>,
    /// The one before which to end; without it, the end of the log when the export begins.
    pub to: Option<u64>,
    /// Whether the texts of instructions are in the list.
    pub with_text: bool,
}

/// Why a log was not exported.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The server.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The folder.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The head is no note.
    #[error("the checkpoint is no signed note: {0}")]
    Note(#[from] NoteError),
    /// The trust file does not accept the head.
    #[error("the trust file does not accept the checkpoint: {0}")]
    Policy(#[from] PolicyError),
    /// There are not that many entries.
    #[error("the entries {from} to {to} are not in a log of {size}")]
    Range {
        /// From.
        from: u64,
        /// To, and not that one.
        to: u64,
        /// So many there are.
        size: u64,
    },
    /// The token does not open what entries commit to.
    #[error("the token does not show the opening of entry {0}: it needs the scope `read`")]
    Restricted(u64),
    /// The log shows another history than when the export was begun.
    #[error("the log shows another history than when this export was begun ({0}): keep both heads, they are the proof")]
    History(String),
}

/// A head that the trust file accepts.
struct Head {
    origin: String,
    head: TreeHead,
    note: Note,
}

impl Head {
    fn of(note: Note, trust: &Policy) -> Result<Head, PolicyError> {
        let accepted = trust.verify(&note)?;
        let checkpoint = accepted.checkpoint;
        Ok(Head { origin: checkpoint.origin.as_str().to_owned(), head: checkpoint.head, note })
    }
}

/// Exports entries of the log at this provider into a new folder. The same call goes on after an interruption.
///
/// # Errors
/// [`AuditError`]. What is read and does not fit is a finding in the trail, and no error.
pub async fn export(
    provider: &Provider,
    token: &Token,
    trust: &Policy,
    wanted: &Wanted,
    to: &std::path::Path,
) -> Result<Written, AuditError> {
    let head = Head::of(Note::parse(&provider.checkpoint().await?)?, trust)?;
    let begun = Begun {
        by: "auditor".to_owned(),
        origin: head.origin.clone(),
        from: wanted.from,
        to: wanted.to,
        with_text: wanted.with_text,
        checkpoint: head.note.to_text(),
    };
    within(wanted.from.unwrap_or(0)..wanted.to.unwrap_or(head.head.size.get()), head.head.size)?;
    let making = Making::begin(to, &begun, true)?;
    let first = Head::of(Note::parse(making.begun().checkpoint.as_bytes())?, trust)?;
    let range = wanted.from.unwrap_or(0)..wanted.to.unwrap_or(first.head.size.get());
    let mut walk = Walk { provider, token, trust, with_text: wanted.with_text, head: first };
    walk.advance(head).await?.map_err(|finding| AuditError::History(finding.to_string()))?;
    walk.run(range, making).await
}

fn within(range: Range<u64>, size: TreeSize) -> Result<(), AuditError> {
    if range.start <= range.end && range.end <= size.get() {
        return Ok(());
    }
    Err(AuditError::Range { from: range.start, to: range.end, size: size.get() })
}

/// A walk along a log.
struct Walk<'a> {
    provider: &'a Provider,
    token: &'a Token,
    trust: &'a Policy,
    with_text: bool,
    /// The newest head of the one history.
    head: Head,
}

impl Walk<'_> {
    async fn run(mut self, range: Range<u64>, mut making: Making) -> Result<Written, AuditError> {
        let mut asked = making.next().unwrap_or(range.start)..range.end;
        let mut flights = VecDeque::new();
        loop {
            while flights.len() < AT_ONCE
                && let Some(index) = asked.next()
            {
                let (provider, token, trust) = (self.provider.clone(), self.token.clone(), self.trust.clone());
                flights.push_back((index, tokio::spawn(async move { ask(&provider, &token, &trust, index).await })));
            }
            let Some((index, flight)) = flights.pop_front() else { break };
            // A request that panicked has no answer.
            let receipt = flight.await.map_err(|error| ProviderError::Connection(error.to_string()))??;
            self.take(index, receipt, &mut making).await?;
        }
        let about = json!({
            "origin": self.head.origin, "by": "auditor", "from": range.start, "to": range.end,
            "head": head_json(&self.head.head, &self.head.note),
        });
        Ok(making.finish(about.as_object().unwrap_or(&serde_json::Map::new()))?)
    }

    /// Writes down one entry, and what does not fit about it.
    async fn take(&mut self, index: u64, receipt: Option<Receipt>, making: &mut Making) -> Result<(), AuditError> {
        let Some(receipt) = receipt else {
            let finding = trail::finding(Some(index), None, "the log shows no receipt of it");
            return Ok(making.write(Some(index), None, &[finding])?);
        };
        // What does not hold is kept as well: it is what the log has shown.
        making.keep(index, &receipt)?;
        let mut findings = Vec::new();
        let mut finds = |says: &str| findings.push(trail::finding(Some(index), None, says));
        let place = ProofFile::parse(receipt.proof.as_bytes()).ok();
        if let Err(says) = judge(&receipt, self.trust) {
            finds(&says);
        } else if place.as_ref().is_none_or(|place| place.index.get() != index) {
            finds("the log shows the receipt of another entry in its place");
        }
        if findings.is_empty()
            && let Some(place) = place
            && let Ok(head) = Head::of(place.checkpoint, self.trust)
            && let Err(finding) = self.advance(head).await?
        {
            findings.push(finding);
        }
        let mut entry = Transaction::of(&self.head.origin, &receipt, self.with_text).filter(|_| findings.is_empty());
        if findings.is_empty() && entry.is_none() {
            findings.push(trail::finding(Some(index), None, "it can't be read"));
        }
        if entry.as_ref().is_some_and(|entry| entry.result.is_none()) {
            match self.provider.opening_of(index, self.token).await? {
                OpeningState::Erased => {
                    entry =
                        entry.map(|entry| Transaction { reason: Some("its opening was erased".to_owned()), ..entry });
                }
                OpeningState::Restricted => return Err(AuditError::Restricted(index)),
                OpeningState::Shown | OpeningState::Public => {
                    findings.push(trail::finding(Some(index), None, "its opening is said to be shown, and is not"));
                }
            }
        }
        Ok(making.write(Some(index), entry.as_ref(), &findings)?)
    }

    /// Takes another head of the log: a later one becomes the newest. What is wrong with it is a finding, with both notes.
    async fn advance(&mut self, other: Head) -> Result<Result<(), Json>, AuditError> {
        let newest = &self.head;
        let wrong = |says: &str| {
            let mut finding = trail::finding(None, None, says);
            finding["seen"] = json!(newest.note.to_text());
            finding["shown"] = json!(other.note.to_text());
            Ok(Err(finding))
        };
        if other.origin != newest.origin {
            return wrong("a receipt is of another log");
        }
        let (old, new) = if other.head.size < newest.head.size { (&other, newest) } else { (newest, &other) };
        if old.head.size == new.head.size {
            return if old.head.root == new.head.root { Ok(Ok(())) } else { wrong("the log has shown two histories") };
        }
        // Every tree continues the empty one.
        let hashes = if old.head.size == TreeSize::ZERO {
            Vec::new()
        } else {
            self.provider.consistency(old.head.size, new.head.size).await?
        };
        if (ConsistencyProof { hashes }).verify(&old.head, &new.head).is_err() {
            return wrong("the log does not show that one of its heads continues another");
        }
        if other.head.size > self.head.head.size {
            self.head = other;
        }
        Ok(Ok(()))
    }
}

/// Asks for a receipt, and again where its head still lacks cosignatures, or the server has no room.
async fn ask(provider: &Provider, token: &Token, trust: &Policy, index: u64) -> Result<Option<Receipt>, ProviderError> {
    let mut left = AGAIN;
    loop {
        left -= 1;
        match provider.receipt_of(index, token).await {
            Ok(Some(receipt)) if left > 0 && lacks_witnesses(&receipt, trust) => {}
            Err(ProviderError::Refused(problem)) if left > 0 && problem.status == 429 => {}
            other => return other,
        }
        provider.pause().await;
    }
}

fn lacks_witnesses(receipt: &Receipt, trust: &Policy) -> bool {
    ProofFile::parse(receipt.proof.as_bytes())
        .is_ok_and(|file| trust.verify(&file.checkpoint) == Err(PolicyError::NoQuorum))
}

/// Whether a receipt holds: an instruction's as an authorisation, as far as a receipt alone can show it.
fn judge(receipt: &Receipt, trust: &Policy) -> Result<(), String> {
    let report = verify::verify(receipt, trust);
    let instruction = Entry::parse(receipt.entry.as_ref()).is_ok_and(|entry| entry.kind == Kind::Instruction);
    let wanted: &[&str] = match &receipt.opening {
        Some(_) if instruction => AUTHORISED,
        Some(_) => &["log", "included", "opening"],
        None => &["log", "included"],
    };
    // Who spoke for a successor, the receipt of another entry shows.
    demand(&report, wanted, &["successor"]).map_err(|error| match error {
        Error::Receipt(checks) => format!("its receipt does not hold: {}", checks.join(", ")),
        other => other.to_string(),
    })
}

/// A head in a trail.
#[must_use]
pub fn head_json(head: &TreeHead, note: &Note) -> Json {
    json!({ "size": head.size.get(), "root": head.root.to_hex(), "checkpoint": note.to_text() })
}
