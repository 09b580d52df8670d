//! Progress: how far the log has come, as everyone in the process sees it.
//!
//! ```text
//! committed ≥ integrated ≥ published      each is a head on the one history, and none ever goes back
//! ```
//!
//! It is one watch channel. Whoever waits for a level waits here; and because death travels in the same channel, a
//! waiter is either answered by a head that covers its entry, or learns that the log has stopped. There is no third way.

use std::sync::Arc;

use tlog::tree::{LeafIndex, TreeHead};
use tokio::sync::watch;

/// A head with the log's signature on it, and perhaps those of witnesses.
#[derive(Clone, Debug)]
pub struct SignedHead {
    /// What is signed.
    pub head: TreeHead,
    /// The signed note: the checkpoint as it is served.
    pub note: Arc<[u8]>,
    /// True when the note meets the log's own policy, with a quorum of witnesses in it.
    pub witnessed: bool,
}

/// The three heads.
#[derive(Clone, Debug)]
pub struct Heads {
    /// Durable on this machine. Not signed: it must not leave the process.
    pub committed: TreeHead,
    /// The newest head the log has signed; its tiles are readable.
    pub integrated: SignedHead,
    /// What `/checkpoint` serves: the newest head that meets the policy. None until the first one does.
    pub published: Option<SignedHead>,
}

impl Heads {
    /// Whether the published checkpoint covers this entry with a quorum of cosignatures.
    pub fn witnesses(&self, index: LeafIndex) -> Option<&SignedHead> {
        self.publishes(index).filter(|p| p.witnessed)
    }

    /// Whether the published checkpoint covers this entry, cosigned or not.
    pub fn publishes(&self, index: LeafIndex) -> Option<&SignedHead> {
        self.published.as_ref().filter(|p| covers(&p.head, index))
    }

    /// Whether a signed head covers this entry.
    pub fn integrates(&self, index: LeafIndex) -> Option<&SignedHead> {
        Some(&self.integrated).filter(|h| covers(&h.head, index))
    }
}

/// Whether a head of this size has that entry in it.
pub fn covers(head: &TreeHead, index: LeafIndex) -> bool {
    index.get() < head.size.get()
}

/// Why the log stopped. After one of these nothing may be signed or answered until a restart has read the disk again.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Fault {
    /// A write or sync failed, so what the disk holds is unknown. A failed sync is never tried again: the kernel may
    /// have dropped the page and would report success.
    #[error("{doing}: {error}; what the disk holds is unknown")]
    Storage {
        /// What was being done.
        doing: &'static str,
        /// What the store said.
        error: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The second computation over the serialised round gave another tree: memory, or our own code, is wrong.
    #[error("the round that was to be stored does not make the tree that was planned: {0}")]
    TwoPathsDisagree(&'static str),
    /// Someone holds our signature over a head that is not on this history: a restored backup or a copied folder.
    #[error("the witness {witness} holds a head, signed by this log, that this disk does not continue: {what}")]
    Forked {
        /// The name of the witness.
        witness: String,
        /// What it holds, against what we have.
        what: String,
    },
    /// A part of the engine ended by a panic.
    #[error("the {0} stopped unexpectedly")]
    Panic(&'static str),
}

impl Fault {
    /// A storage fault, while doing that.
    pub fn storage(doing: &'static str, error: impl std::error::Error + Send + Sync + 'static) -> Fault {
        Fault::Storage { doing, error: Arc::new(error) }
    }
}

/// What the channel carries.
#[derive(Clone, Debug)]
pub struct State {
    /// The heads, as long as the log lives.
    pub heads: Heads,
    /// Why it died, if it did.
    pub fault: Option<Fault>,
}

/// The writing end: the sequencer, the integrator and the publisher report here.
#[derive(Debug)]
pub struct Progress {
    state: watch::Sender<State>,
}

impl Progress {
    /// Starts from what recovery found.
    pub fn new(heads: Heads) -> Progress {
        Progress { state: watch::Sender::new(State { heads, fault: None }) }
    }

    /// What is known now.
    pub fn now(&self) -> State {
        self.state.borrow().clone()
    }

    /// A receiver that sees every later change (or the newest of several).
    pub fn subscribe(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// The journal holds this head. Nobody is woken for it: whoever waits, waits for a head that is signed.
    pub fn committed(&self, head: TreeHead) {
        self.state.send_if_modified(|s| {
            s.heads.committed = head;
            false
        });
    }

    /// The log has signed this head and its tiles are on stable storage.
    pub fn integrated(&self, head: SignedHead) {
        self.state.send_modify(|s| s.heads.integrated = head);
    }

    /// `checkpoint` names this head.
    pub fn published(&self, head: SignedHead) {
        self.state.send_modify(|s| s.heads.published = Some(head));
    }

    /// The log stops. The first fault stays; later ones are its consequences.
    pub fn die(&self, fault: Fault) {
        tracing::error!(%fault, "the log stops");
        self.state.send_if_modified(|s| {
            let first = s.fault.is_none();
            if first {
                s.fault = Some(fault);
            }
            first
        });
    }

    /// Whether it has stopped.
    pub fn is_dead(&self) -> bool {
        self.state.borrow().fault.is_some()
    }
}
