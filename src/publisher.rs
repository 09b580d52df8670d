//! The publisher: from a head that the log has signed to the checkpoint that the world may rely on.
//!
//! ```text
//! newest signed head ──► candidate ──► every witness, in parallel ──► quorum ──► `checkpoint` ──► next candidate
//!                                       (each at its own pace)          else timeout ──────────► next candidate
//! ```
//!
//! One candidate at a time goes out. A witness that is slow or away costs nothing but its own cosignature: it works at
//! its own pace, always on the newest candidate, and when it comes late to a head that is still the published one, its
//! line is added. Without a quorum nothing is published (fail closed): the log goes on, `witnessed` does not.

use std::sync::Arc;
use std::time::Duration;

use tlog::checkpoint::Origin;
use tlog::note::{Note, SignatureLine};
use tlog::policy::Policy;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::cosign::{Answer, Last, Witness};
use crate::history::History;
use crate::integrator::patiently;
use crate::progress::{Fault, Progress, SignedHead, State};
use crate::signers::Signers;
use crate::store::objects::{ObjectError, Objects};

/// How long a witness that failed is left alone; doubled each time, up to the second figure.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(15));

/// What publishing needs.
pub struct Publisher {
    /// Where the heads come from, and where the published one is reported.
    pub progress: Arc<Progress>,
    /// For consistency proofs.
    pub history: Arc<History>,
    /// Where `checkpoint` is.
    pub objects: Arc<Objects>,
    /// The quorum.
    pub policy: Policy,
    /// The witnesses it names.
    pub witnesses: Vec<Witness>,
    /// The log's keys.
    pub signers: Arc<Signers>,
    /// The log's origin.
    pub origin: Origin,
    /// How long a candidate waits for its quorum before a newer one takes its place.
    pub timeout: Duration,
}

/// A cosignature, and the head it is on.
struct Cosigned {
    head: SignedHead,
    line: SignatureLine,
}

impl Publisher {
    /// Works until the engine ends, or dies.
    pub async fn run(mut self) {
        let (candidate, candidates) = watch::channel(None);
        let (results, mut cosigned) = mpsc::channel(64);
        let mut workers = JoinSet::new();
        for witness in std::mem::take(&mut self.witnesses) {
            let worker = Worker {
                witness,
                candidates: candidates.clone(),
                results: results.clone(),
                progress: Arc::clone(&self.progress),
                history: Arc::clone(&self.history),
                signers: Arc::clone(&self.signers),
                origin: self.origin.clone(),
            };
            workers.spawn(worker.run());
        }
        drop((results, candidates));
        let mut state = self.progress.subscribe();
        loop {
            let head = tokio::select! {
                next = self.next(&mut state) => match next {
                    Some(head) => head,
                    None => return,
                },
                Some(late) = cosigned.recv() => {
                    self.improve(late).await;
                    continue;
                }
            };
            candidate.send_replace(Some(head.clone()));
            if let Err(fault) = self.gather(&head, &mut cosigned).await {
                self.progress.die(fault);
                return;
            }
        }
    }

    /// Waits for a signed head beyond the published one. None when the log has died.
    async fn next(&self, state: &mut watch::Receiver<State>) -> Option<SignedHead> {
        let published = self.progress.now().heads.published.map_or(0, |p| p.head.size.get());
        let next = state.wait_for(|s| s.fault.is_some() || s.heads.integrated.head.size.get() > published).await;
        next.ok().filter(|s| s.fault.is_none()).map(|s| s.heads.integrated.clone())
    }

    /// Waits for a signed head beyond that one, or for the end of the log.
    async fn newer(state: &mut watch::Receiver<State>, than: &SignedHead) {
        let _ = state.wait_for(|s| s.fault.is_some() || s.heads.integrated.head.size > than.head.size).await;
    }

    /// Collects cosignatures on one candidate until the quorum has signed, or its time is over and a newer head waits.
    async fn gather(&self, head: &SignedHead, cosigned: &mut mpsc::Receiver<Cosigned>) -> Result<(), Fault> {
        let Ok(mut note) = Note::parse(&head.note) else { return Ok(()) };
        let mut state = self.progress.subscribe();
        let over = tokio::time::sleep(self.timeout);
        tokio::pin!(over);
        let mut late = false;
        loop {
            tokio::select! {
                result = cosigned.recv() => match result {
                    Some(result) if result.head.head == head.head => {
                        // A note holds a hundred lines; whatever the policy needs is among them.
                        note = note.with_signature(result.line).unwrap_or(note);
                        if self.policy.verify(&note).is_ok() {
                            return self.publish(head, &note).await;
                        }
                    }
                    Some(other) => self.improve(other).await,
                    None => return Ok(()),
                },
                () = &mut over, if !late => {
                    late = true;
                    tracing::warn!(size = head.head.size.get(), "no quorum of witnesses yet; the head is not published");
                }
                () = Publisher::newer(&mut state, head), if late => return Ok(()),
            }
        }
    }

    /// Adds the line of a witness that came late to the head that is still the published one.
    async fn improve(&self, late: Cosigned) {
        let Some(published) = self.progress.now().heads.published.filter(|p| p.head == late.head.head) else { return };
        let Ok(note) = Note::parse(&published.note) else { return };
        let Ok(note) = note.with_signature(late.line) else { return };
        if self.policy.verify(&note).is_ok()
            && let Err(fault) = self.publish(&published, &note).await
        {
            self.progress.die(fault);
        }
    }

    async fn publish(&self, head: &SignedHead, note: &Note) -> Result<(), Fault> {
        let bytes: Arc<[u8]> = note.to_bytes().into();
        let (objects, written) = (Arc::clone(&self.objects), Arc::clone(&bytes));
        let put = move || {
            let full = |e: &ObjectError| matches!(e, ObjectError::Store(e) if !e.is_fatal());
            patiently(|| objects.replace_checkpoint(&written), full)
        };
        let put = tokio::task::spawn_blocking(put).await;
        put.map_err(|_| Fault::Panic("publisher"))?.map_err(|e| Fault::storage("writing the checkpoint", e))?;
        tracing::debug!(size = head.head.size.get(), "published");
        self.progress.published(SignedHead { head: head.head, note: bytes, witnessed: true });
        Ok(())
    }
}

/// One witness at its own pace.
struct Worker {
    witness: Witness,
    candidates: watch::Receiver<Option<SignedHead>>,
    results: mpsc::Sender<Cosigned>,
    progress: Arc<Progress>,
    history: Arc<History>,
    signers: Arc<Signers>,
    origin: Origin,
}

impl Worker {
    async fn run(mut self) {
        let mut done = 0;
        let mut backoff = BACKOFF.0;
        loop {
            let newer = |c: &Option<SignedHead>| c.as_ref().is_some_and(|c| c.head.size.get() > done);
            let Ok(Some(head)) = self.candidates.wait_for(newer).await.map(|c| c.clone()) else { return };
            let began = std::time::Instant::now();
            let answer = self.witness.ask(&head, &self.history).await;
            self.count(&answer, began.elapsed());
            match answer {
                Answer::Cosigned(line) => {
                    done = head.head.size.get();
                    backoff = BACKOFF.0;
                    if self.results.send(Cosigned { head, line }).await.is_err() {
                        return;
                    }
                    continue;
                }
                Answer::Busy(pause) => {
                    tracing::debug!(witness = self.witness.name(), ?pause, "the witness is busy");
                    tokio::time::sleep(pause).await;
                    continue;
                }
                Answer::Disagrees(what) => {
                    if let Some(fault) = self.fork().await {
                        self.progress.die(fault);
                        return;
                    }
                    tracing::error!(witness = self.witness.name(), what, "the witness disagrees and shows no proof");
                }
                Answer::Failed(what) => {
                    tracing::warn!(witness = self.witness.name(), what, "no cosignature");
                }
            }
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF.1);
        }
    }

    fn count(&self, answer: &Answer, took: std::time::Duration) {
        let (metrics, witness) = (crate::metrics::engine(), self.witness.name());
        match answer {
            Answer::Cosigned(_) => metrics.cosigned(witness, took),
            Answer::Busy(_) => metrics.not_cosigned(witness, "busy"),
            Answer::Disagrees(_) => metrics.not_cosigned(witness, "disagrees"),
            Answer::Failed(_) => metrics.not_cosigned(witness, "failed"),
        }
    }

    /// Looks at what the witness holds: a head with our signature that is not on our history ends this log.
    async fn fork(&self) -> Option<Fault> {
        let last = self.witness.last(&self.origin, &self.signers).await.ok()?;
        contradiction(&last, &self.history).map(|what| Fault::Forked { witness: self.witness.name().to_owned(), what })
    }
}

/// What is wrong between the head a witness holds and the history here; `None` when the one continues the other.
///
/// The head bears our signature, and this process signs only what it holds. So a larger one was signed by another
/// process with the same key: a copy of the folder, or this one before a backup was restored over it.
pub fn contradiction(last: &Last, history: &History) -> Option<String> {
    let Last::Head(theirs) = last else { return None };
    let ours = history.head();
    if theirs.size > ours.size {
        return Some(format!("it has size {}, this disk has {}", theirs.size, ours.size));
    }
    match history.root_at(theirs.size) {
        Ok(root) if root == theirs.root => None,
        Ok(root) => Some(format!("at size {} it has the root {}, this disk has {root}", theirs.size, theirs.root)),
        Err(e) => Some(format!("this disk can't tell its root at size {}: {e}", theirs.size)),
    }
}
