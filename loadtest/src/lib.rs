//! Load for a solelog: real records, sent from many connections, and every answer verified.
//!
//! Records are made before the clock starts. An answer counts only when its entry commits to the record that was sent and
//! its inclusion proof leads to a head that the log signed: a fast log that answers wrongly has a throughput of zero.
//!
//! | file | its one job |
//! |---|---|
//! | `pairs.rs` | secret numbers and their points, one addition each |
//! | `maker.rs` | people, credentials, records |
//! | `crowd.rs` | many of them, in lanes |
//! | `transport.rs` | one connection, kept open |
//! | `answers.rs` | what the log answers, verified |
//! | `local.rs` | a log of one's own, as a child process |
//! | `pace.rs`, `latency.rs` | requests due at their moments, and what they waited |
//! | `scenario.rs`, `slo.rs` | what is sent, and what it must come to |
//! | `stock.rs`, `tiles.rs` | what a run has at hand: records made ahead, hashes of full tiles |
//! | `run.rs`, `outcome.rs` | the phases of a scenario, and what they came to |
//! | `report.rs` | the same as one HTML page |
//! | `limits/` | how near the product is to what the machine allows, as ratios |

pub mod answers;
pub mod chance;
pub mod crowd;
pub mod latency;
pub mod limits;
pub mod local;
pub mod maker;
pub mod outcome;
pub mod pace;
pub mod pairs;
pub mod report;
pub mod run;
pub mod scenario;
pub mod slo;
pub mod stock;
pub mod tiles;
pub mod transport;

/// Why a run can't go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log can't be reached, or breaks off.
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    /// The same, on a plain connection.
    #[error("the connection broke: {0}")]
    Broken(String),
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
    /// A scenario that is none.
    #[error("the scenario: {0}")]
    Scenario(String),
    /// A file, a process.
    #[error("{0}")]
    System(String),
}
