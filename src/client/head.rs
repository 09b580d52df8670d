//! The head of the log: the newest checkpoint that the trust policy accepts, never behind the last one seen.
//!
//! ```text
//! note ── policy: signed by the log, cosigned by a quorum ──▶ head ── consistency proof ──▶ the head seen last
//! ```
//!
//! A device names the last head it has verified in every record. So every device takes part in comparing heads, and a log
//! that shows two histories leaves the proof in its own entries.

use serde::Serialize;
use std::time::{Duration, Instant};
use tlog::note::{Note, NoteError};
use tlog::policy::PolicyError;
use tlog::proof::{ConsistencyProof, ProofError};
use tlog::{TreeHead, TreeSize};

use crate::device::{DeviceKey, PinPrf};
use crate::folder::Memory;
use crate::state::Seen;
use crate::subscriber::{Error, Lie, Subscriber};
use crate::wire::Hex;

/// Under which the two notes are kept when a log shows two histories.
const EVIDENCE: &str = "two-histories.json";

/// How long a published checkpoint may be behind a head that a receipt has shown, before it counts as having gone back.
const PUBLISHED_AFTER: Duration = Duration::from_secs(5);

/// Why a head is not taken.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// Not a signed note.
    #[error("the checkpoint is none: {0}")]
    Note(#[from] NoteError),
    /// The trust policy does not accept it.
    #[error("the checkpoint is not to be trusted: {0}")]
    Policy(#[from] PolicyError),
    /// The log was larger before. It was restored from a backup, or shows us the past: wait, and tell somebody if it stays.
    #[error("the log shows {shown} entries, and has shown {seen} before")]
    Behind {
        /// The size shown now.
        shown: u64,
        /// The size seen last.
        seen: u64,
    },
    /// The log has signed two heads of one size. Both notes are kept: publish them.
    #[error("the log has shown two histories: two roots for {size} entries; both notes are in {EVIDENCE}")]
    Fork {
        /// The size.
        size: u64,
    },
    /// No proof that the head continues what was seen. Both notes are kept.
    #[error(
        "the log does not show that its head continues what it has shown before ({error}); the notes are in {EVIDENCE}"
    )]
    Inconsistent {
        /// What is wrong with the proof.
        error: ProofError,
    },
    /// In time, no head came that covers the entry.
    #[error("no trusted head covers entry {index} yet: its witnesses may be away; try again")]
    NotYet {
        /// The entry.
        index: u64,
    },
}

#[derive(Serialize)]
struct Evidence<'a> {
    seen: &'a str,
    shown: &'a str,
}

impl<D: DeviceKey + PinPrf, M: Memory> Subscriber<D, M> {
    /// Fetches the newest checkpoint, verifies it, and remembers it.
    ///
    /// # Errors
    /// [`Error::Head`] and [`Error::Provider`].
    pub async fn refresh(&mut self) -> Result<TreeHead, Error> {
        let began = Instant::now();
        loop {
            let note = self.provider.checkpoint().await?;
            let note = Note::parse(&note).map_err(HeadError::Note)?;
            match self.advance_to(&note).await {
                // A log signs a head a moment before it publishes it, and a receipt can be of that moment.
                Err(Error::Head(HeadError::Behind { .. }))
                    if began.elapsed() < PUBLISHED_AFTER.min(self.provider.patience().publish) =>
                {
                    self.provider.pause().await;
                }
                done => return done,
            }
        }
    }

    /// The last head that was verified.
    #[must_use]
    pub fn seen(&self) -> Option<TreeHead> {
        self.state.seen()
    }

    /// The origin of the log, and the last head that was verified, as it was signed.
    #[must_use]
    pub fn seen_note(&self) -> Option<(String, Note)> {
        let seen = self.state.head.as_ref()?;
        Some((self.trust.origin.clone(), Note::parse(seen.checkpoint.as_bytes()).ok()?))
    }

    /// Takes a head that must not be behind the last.
    pub(crate) async fn advance_to(&mut self, note: &Note) -> Result<TreeHead, Error> {
        let head = self.on_history(note).await?;
        match self.state.seen() {
            Some(seen) if head.size < seen.size => {
                Err(HeadError::Behind { shown: head.size.get(), seen: seen.size.get() }.into())
            }
            _ => Ok(head),
        }
    }

    /// Verifies a head and shows that it and the last one are of one history. A later one becomes the last.
    pub(crate) async fn on_history(&mut self, note: &Note) -> Result<TreeHead, Error> {
        let accepted = self.trust.policy.verify(note).map_err(HeadError::Policy)?;
        if accepted.checkpoint.origin.as_str() != self.trust.origin {
            return Err(Lie::Origin.into());
        }
        let head = accepted.checkpoint.head;
        if let Some(seen) = self.state.seen() {
            self.one_history(&seen, &head, note).await?;
            if head.size <= seen.size {
                return Ok(head);
            }
        }
        let before =
            self.state.head.replace(Seen { size: head.size.get(), root: Hex(head.root), checkpoint: note.to_text() });
        if let Err(error) = self.save() {
            self.state.head = before;
            return Err(error);
        }
        Ok(head)
    }

    /// Waits until a trusted head covers an entry.
    pub(crate) async fn covered(&mut self, index: u64) -> Result<TreeHead, Error> {
        let began = Instant::now();
        loop {
            let head = self.refresh().await?;
            if head.size.get() > index {
                return Ok(head);
            }
            if began.elapsed() > self.provider.patience().publish {
                return Err(HeadError::NotYet { index }.into());
            }
            self.provider.pause().await;
        }
    }

    async fn one_history(&self, seen: &TreeHead, head: &TreeHead, note: &Note) -> Result<(), Error> {
        if seen.size == head.size {
            if seen.root == head.root {
                return Ok(());
            }
            self.keep_evidence(note)?;
            return Err(HeadError::Fork { size: head.size.get() }.into());
        }
        let (old, new) = if seen.size < head.size { (seen, head) } else { (head, seen) };
        // Every tree continues the empty one.
        let hashes =
            if old.size == TreeSize::ZERO { Vec::new() } else { self.provider.consistency(old.size, new.size).await? };
        if let Err(error) = (ConsistencyProof { hashes }).verify(old, new) {
            self.keep_evidence(note)?;
            return Err(HeadError::Inconsistent { error }.into());
        }
        Ok(())
    }

    /// Two signed notes that do not go together are the proof against the log, so they outlive this process.
    fn keep_evidence(&self, note: &Note) -> Result<(), Error> {
        let seen = self.state.head.as_ref().map_or("", |head| head.checkpoint.as_str());
        let evidence = Evidence { seen, shown: &note.to_text() };
        let bytes = serde_json::to_vec_pretty(&evidence).unwrap_or_default();
        Ok(self.memory.save(EVIDENCE, &bytes)?)
    }
}
