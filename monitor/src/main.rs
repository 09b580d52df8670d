//! `solelog-monitor`: one look at a log, for cron; or one after the other; or a copy of it.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
