//! Verification of many records at once: the engine behind [`scal3::batch::VerifyBatch`].
//!
//! ```text
//! jobs ─▶ Engine ─▶ verdicts        the same that Job::verify gives, in the order of the jobs
//!           │
//!           ├─ portable   AWS-LC, one equation after another; every processor
//!           └─ vector     arithmetic of our own, eight equations side by side; processors with AVX-512 IFMA
//! ```
//! An [`Engine`] is chosen once, at start, and shared by all threads. The engines differ in speed and in nothing else: in one
//! run, per core and in batches of 64, the portable one was 3.4 times as fast as p256, the vector one 17.7 times, and 27 times
//! for keys that it had met before (`docs/performance.md`). It fills its lanes from the jobs of one call, so a caller should
//! hand over all that waits. [`Judge`] is for verifying once more what an engine has accepted.
//!
//! Everything here is computed from public keys, signatures and messages, in variable time. **Nothing in this crate may
//! ever be given a secret.**
//!
//! This is the only crate of the project in which `unsafe` may stand. It stands in `aws_lc` (calls
//! into AWS-LC), in `vector::lanes` (loads and stores of vectors) and in `vector` (calls into code for those processors).

mod aws_lc;
mod curve;
mod engine;
mod judge;
mod known;
#[cfg(test)]
#[path = "tests/support/maker.rs"]
#[allow(dead_code, reason = "the tests outside use the rest")]
mod maker;
mod many;
mod portable;
mod questions;
mod self_test;
#[cfg(target_arch = "x86_64")]
mod vector;

pub use engine::{Choice, Engine, EngineError, Fallback, KEY_TABLES, UnknownChoice};
pub use judge::Judge;
pub use many::verify_many;
pub use portable::Portable;
pub use self_test::WrongAnswer;
