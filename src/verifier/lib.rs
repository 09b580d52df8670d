//! Verification of many records at once: the engine behind [`scal3::batch::VerifyBatch`].
//!
//! ```text
//! jobs ─▶ Engine ─▶ verdicts        the same that Job::verify gives, in the order of the jobs
//!           ├─ portable   AWS-LC, one equation after another; every processor
//!           └─ vector     arithmetic of our own, eight equations side by side; processors with AVX-512 IFMA
//! ```
//! An [`Engine`] is chosen once, at start, and shared by all threads. The engines differ in speed and in nothing else.
//!
//! Everything here is computed from public keys, signatures and messages, in variable time. **Nothing in this crate may
//! ever be given a secret.**
//!
//! This is the only crate of the project in which `unsafe` may stand. It stands in `aws_lc` (calls
//! into AWS-LC), in `vector::lanes` (loads and stores of vectors) and in `vector` (calls into code for those processors).

mod aws_lc;
mod curve;
mod engine;
mod known;
mod many;
mod portable;
mod self_test;
#[cfg(target_arch = "x86_64")]
mod vector;

pub use engine::{Choice, Engine, EngineError, Fallback, KEY_TABLES, UnknownChoice};
pub use many::verify_many;
pub use portable::Portable;
pub use self_test::WrongAnswer;
