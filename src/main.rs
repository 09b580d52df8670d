//! The command `solelog`.

use std::process::ExitCode;

use clap::Parser as _;
use solelog::cli::{self, Cli};

fn main() -> ExitCode {
    cli::run(Cli::parse())
}
