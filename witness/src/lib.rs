//! A witness for any C2SP log: it cosigns heads that extend all it saw before.
//!
//! ```text
//! log ── POST /add-checkpoint ──▶ decide (tlog::witness) ──▶ store ──▶ sign ──▶ answer
//!                                                             │
//! monitors ── GET /<sha256 of origin>/checkpoint ◀────────────┘
//! ```
//!
//! Reading order: [`state`] (what is on disk, and what must never be guessed), [`witness`] (store,
//! then sign), [`mod@serve`] (HTTP), then [`config`], [`key`] and [`folder`].
//!
//! The one promise (W-1): a head is on stable storage before a signature over it exists. A
//! witness that forgot a head could be led to cosign another history, so a state that cannot be
//! read is an error of ours that stops the witness; it is never taken for "never seen".
//!
//! Of our own crates this one uses `tlog` alone. Whoever runs a witness for somebody else's log
//! need not know what that log is about.

pub mod config;
pub mod disk;
pub mod folder;
pub mod key;
pub mod serve;
pub mod state;
pub mod witness;

pub use config::{Config, TrustedLog};
pub use serve::serve;
pub use witness::{OpenError, Witness, set_up};
