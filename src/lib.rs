//! The log server: bytes in, durable and proven entries out.
//!
//! **One rule for readers: a folder in `src/` that has its own Cargo.toml is a crate and cannot see the server;
//! everything else in `src/` is the server.**
//!
//! The modules in reading order, which is the order of an entry's life:

// What is asked of the log and what it answers.
pub mod engine;
pub mod recheck;
pub mod submission;
pub mod verify_pool;

// What the log decides: pure, given the state, the time and the randomness.
pub mod lately;
pub mod ledger;
pub mod round;

// What makes a decision durable.
pub mod record;
pub mod sequencer;

// What makes it readable, and says so to the world.
pub mod cosign;
pub mod history;
pub mod integrator;
pub mod openings;
pub mod progress;
pub mod publisher;

// What happens at the start.
pub mod folder;
pub mod guard;
pub mod high_water;
pub mod memory;
pub mod rebuild;
pub mod recovery;
pub mod signers;

// What reads everything again.
pub mod fsck;

// Where people enrol and authorise: the server's half of SCAL3, and the keys it has for it.
pub mod authority;
pub mod keys;

// Where what they authorised is done, and only once the world can know of it.
pub mod execution;

// What surrounds it: the network, the operator.
pub mod cli;
pub mod config;
pub mod http;
pub mod metrics;
pub mod room;
pub mod tokens;

// Where the bytes are.
pub mod store;
