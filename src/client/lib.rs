//! The subscriber's library.
//!
//! | file | its one job |
//! |---|---|
//! | `receipt.rs` | what a user keeps: the file format |
//! | `base64.rs` | byte strings in JSON |

pub mod base64;
pub mod receipt;
