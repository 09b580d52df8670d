//! Load for a solelog: real records, sent from many connections, and every answer verified.
//!
//! Records are made before the clock starts, because making one (both factors, both halves) costs more than verifying
//! it. An answer counts only when its entry commits to the record that was sent and its inclusion proof leads to a
//! head that the log signed: a fast log that answers wrongly has a throughput of zero.
//!
//! | file | its one job |
//! |---|---|
//! | `plan.rs` | subscribers, credentials, records: what will be sent |
//! | `worker.rs` | one connection: send, time, verify |
//! | `report.rs` | throughput and latency, as a table or JSON |

pub mod plan;
pub mod report;
pub mod worker;

/// Why a run can't go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log can't be reached, or breaks off.
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    /// The log refused something that it must take.
    #[error("the log answered {status}: {body}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said.
        body: String,
    },
    /// An answer that does not hold.
    #[error("a wrong answer: {0}")]
    Wrong(String),
    /// A record or credential can't be made.
    #[error("cannot make a record: {0}")]
    Make(String),
}
