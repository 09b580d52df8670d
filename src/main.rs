//! The command `solelog`.

use std::process::ExitCode;

use clap::Parser as _;
use solelog::cli::{self, Cli};

/// A record passes through four threads, and what one allocates another frees (`docs/performance.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run(Cli::parse())
}
