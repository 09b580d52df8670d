//! The part of `client` that judges receipts, without the part that speaks HTTP: those are the same files.
//! The whole would make every fuzzing build compile a TLS library.

#![forbid(unsafe_code)]
#![allow(missing_docs)]

#[path = "../../src/client/base64.rs"]
pub mod base64;
#[path = "../../src/client/receipt.rs"]
pub mod receipt;
#[path = "../../src/client/verify.rs"]
pub mod verify;
