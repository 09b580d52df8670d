//! A witness for any C2SP log: it cosigns heads that extend all it saw before.
//!
//! ```text
//! log ── POST /add-checkpoint ──▶ decide (tlog::witness) ──▶ store ──▶ sign ──▶ answer
//!                                                             │
//! monitors ── GET /<sha256 of origin>/checkpoint ◀────────────┘
//! ```
//!
//! Reading order: [`ledger`] and [`copies`] (what is on disk, and what must never be guessed),
//! [`witness`] (store, then sign), [`mod@serve`] and [`bastion`] (HTTP), then [`keys`], [`config`],
//! [`mod@set_up`], [`lists`] and [`inbox`].
//!
//! The one promise (W-1): a head is on stable storage before a signature over it exists. A
//! witness that forgot a head could be led to cosign another history, so a state that cannot be
//! read is an error of ours that stops the witness; it is never taken for "never seen".
//!
//! Of our own crates this one uses `tlog` alone. Whoever runs a witness for somebody else's log
//! need not know what that log is about.

pub mod about;
pub mod agent;
pub mod bastion;
mod budget;
pub mod config;
pub mod copies;
pub mod disk;
pub mod folder;
pub mod inbox;
pub mod keys;
pub mod ledger;
pub mod lists;
pub mod published;
pub mod selftest;
pub mod serve;
pub mod set_up;
pub mod unlock;
pub mod witness;

pub use config::{Additions, Config, TrustedLog};
pub use serve::serve;
pub use set_up::{SetUp, set_up};
pub use witness::{OpenError, Reloaded, Witness};
