//! Both halves of the SCAL3 authentication: the only crate with secrets.
//!
//! ```text
//!  subscriber's device                                     provider
//!  ------------------------------------------------------  ------------------------------------------
//!  device key (secure hardware, outside this crate)        master secret -> KemKey per enrolment
//!  PIN + device secret -> Mask
//!
//!  deal                    Enrolment ------------------->  ProviderShare::open     checks everything
//!    s2 + mask, s1 sealed to the KemKey
//!                                                          NonceSeed -> Commitment (D1 || E1)
//!  Idle::unlock            <---------------- Challenge hash, Commitment
//!    Idle -> Committed -> ToSign
//!  device signs ToSign::message
//!    ToSign::finish        Pass ------------------------>  Pass::check             public checks only
//!                                                            (spend the challenge, count the attempt)
//!                                                          Checked::complete       -> Record
//! ```
//!
//! Every step takes what it uses up by value: a nonce pair answers one challenge and a seed makes
//! one nonce pair, because a pair used twice gives the share away (RFC 9591, section 7.3).
//! Secrets are wiped when dropped, cannot be printed and cannot be cloned.
//!
//! Reading order: [`profile`] (what differs between records), [`suite`], [`secret`], [`mask`],
//! [`kem_key`], [`seal`], [`enrol`], [`challenge`], [`operation`], [`subscriber`], [`pass`],
//! [`provider`].
//!
//! There is no clock, no I/O and no randomness in here: random bytes are an argument.

#![no_std]
#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

extern crate alloc;

pub mod challenge;
pub mod enrol;
mod joint;
pub mod kem_key;
pub mod mask;
pub mod operation;
pub mod pass;
mod point;
pub mod profile;
pub mod provider;
pub mod seal;
pub mod secret;
pub mod subscriber;
pub mod suite;

pub use challenge::{Commitment, NonceSeed, ProviderNonces, Session, challenge_hash};
pub use enrol::{Enrolling, Enrolment, OpenError, ProviderShare, Shares, deal};
pub use kem_key::{Agreed, KemKey, KemPublicKey, MasterSecret};
pub use mask::{DeviceSecret, Mask, Pin};
pub use operation::Operation;
pub use pass::{Checked, Keys, Pass, PassError, PublicFault};
pub use profile::{Profile, Profile1, Profile2};
pub use provider::{CompleteError, Fault, Record};
pub use subscriber::{Committed, Idle, SubscriberError, ToSign};
