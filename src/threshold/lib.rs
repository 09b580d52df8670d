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
//!  Idle::unlock            <-------------------  random, Commitment
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
//! One record of profile 1, from enrolment to the end:
//!
//! ```
//! use p256::ecdsa::{Signature, SigningKey, signature::Signer};
//! use scal3::metadata::Ext;
//! use scal3::{Hash, Metadata};
//! use threshold::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut rng = rand_core::UnwrapErr(getrandom::SysRng);
//! let device = SigningKey::from_slice(&[7; 32])?; // secure hardware, in life
//! let device_key = device.verifying_key().to_sec1_point(true).as_bytes().try_into()?;
//!
//! // Enrolment: the provider names a number and a key, the device deals, the provider checks.
//! let enrolment_id = Hash([1; 32]);
//! let kem = MasterSecret::draw(&mut rng).kem_key(&enrolment_id);
//! let context =
//!     Enrolling { origin: "log.example", enrolment_id: &enrolment_id, device_key: &device_key };
//! let secret = DeviceSecret::draw(&mut rng);
//! let enrolment: Enrolment<Profile1> =
//!     deal(&context, &secret.mask(&Pin::new("12345")), &kem.public_key(), &mut rng)?;
//! let agreed = kem.agree(enrolment.shares.encapsulated())?;
//! let share = ProviderShare::open(&context, &enrolment, &kem.public_key(), &agreed)?;
//!
//! // Challenge: the provider keeps the seed, and sends random and commitment.
//! let seed = NonceSeed::draw(&mut rng);
//! let (credential, random) = (Hash([2; 32]), [3; 32]);
//! let session = Session::new(&credential, &random, &seed.commitment::<Profile1>());
//! let metadata = Metadata {
//!     origin: "log.example".into(),
//!     provider: Hash([4; 32]),
//!     credential,
//!     sequence: 0,
//!     previous: credential,
//!     index_key: Hash([5; 32]),
//!     challenge: *session.challenge(),
//!     policy: Hash([6; 32]),
//!     class: "credential.activate".into(),
//!     seen_size: 7,
//!     seen_root: Hash([7; 32]),
//!     time_ms: 1_760_000_000_000,
//!     expires_ms: 1_760_000_120_000,
//!     ext: Ext {},
//! };
//! let operation = Operation::new(&metadata.to_bytes(), &Hash([8; 32]))?;
//!
//! // The device answers.
//! let to_sign = Idle::unlock(&enrolment, &secret.mask(&Pin::new("12345")))?
//!     .commit(&mut rng)
//!     .prepare(&session, &operation, &kem.public_key(), &mut rng)?;
//! let signature: Signature = device.sign(to_sign.message());
//! let pass = to_sign.finish(&signature.to_bytes())?.to_bytes();
//!
//! // The provider checks what is public, spends the challenge, and completes.
//! let keys = Keys { joint: enrolment.joint_key, device: device_key, passkey: None };
//! let checked = Pass::parse(&pass)?.check(&keys, &session, &operation)?;
//! let agreed = kem.agree(checked.encapsulated())?;
//! let record = checked.complete(seed.take(), &share, &agreed)?;
//! scal3::transcript::verify_textbook(&keys.joint, &keys.device, record.as_bytes())?;
//! # Ok(())
//! # }
//! ```
//!
//! Reading order: [`profile`] (what differs between records), [`suite`], [`secret`], [`mask`],
//! [`kem_key`], [`seal`], [`enrol`], [`challenge`], [`operation`], `device`, [`subscriber`], [`pass`],
//! [`provider`].
//!
//! There is no clock, no I/O and no randomness in here: random bytes are an argument.

#![no_std]
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic))]

extern crate alloc;

pub mod challenge;
mod device;
pub mod enrol;
mod joint;
pub mod kem_key;
pub mod mask;
pub mod operation;
mod parts;
pub mod pass;
mod point;
pub mod profile;
pub mod provider;
pub mod seal;
pub mod secret;
pub mod subscriber;
pub mod suite;

pub use challenge::{Commitment, NonceSeed, ProviderNonces, Session};
pub use enrol::{Enrolling, Enrolment, OpenError, ProviderShare, Shares, deal};
pub use kem_key::{Agreed, KemKey, KemPublicKey, MasterSecret};
pub use mask::{DeviceSecret, Mask, Pin};
pub use operation::Operation;
pub use pass::{Checked, Keys, Pass, PassError, PublicFault};
pub use profile::{Profile, Profile1, Profile2, Profile3};
pub use provider::{CompleteError, Fault, Record};
pub use subscriber::{Committed, Idle, SubscriberError, ToSign};
