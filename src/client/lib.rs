//! The subscriber's library.
//!
//! | file | its one job |
//! |---|---|
//! | `receipt.rs` | what a user keeps: the file format |
//! | `verify.rs` | whether a receipt holds: offline, from a trust file alone |
//! | `vectors/` | every public test vector, through our code |
//! | `base64.rs` | byte strings in JSON |

pub mod base64;
pub mod receipt;
pub mod vectors;
pub mod verify;
