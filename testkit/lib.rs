//! Authenticators in software, for tests: what a person would hold in hand, with every switch in reach.
//!
//! ```text
//! passkey.rs   a passkey: flags, counter, site and ceremony can be set
//! card.rs      an NFC card that is tapped
//! bio.rs       a device that matches people, and makes tokens about it
//! otp.rs       one-time passwords, vouched for by a server
//! secret.rs    their keys
//! ```
//! No secret in here is one: keys are made from names. Nothing that ships depends on it.

#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "names say it; the types they imitate are documented in scal3")]

pub mod bio;
pub mod card;
pub mod otp;
pub mod passkey;
pub mod secret;

use scal3::Hash;

pub use bio::Device;
pub use card::Card;
pub use otp::{OTP_SECRET, otp, vouch};
pub use passkey::Passkey;
pub use secret::Secret;

pub const RP_ID: &str = "bank.example";
pub const SITE: &str = "https://bank.example";

/// What is signed for: what evidence is bound to.
#[derive(Clone, Copy)]
pub struct Bound {
    pub origin: &'static str,
    pub operation_hash: Hash,
    pub instruction_id: Hash,
    pub session: Hash,
    pub participant: Hash,
    pub now_ms: u64,
}
