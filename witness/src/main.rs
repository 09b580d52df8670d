//! `solelog-witness`: one command that cosigns the heads of any C2SP log.

mod commands;

use std::process::ExitCode;

use clap::Parser as _;
use commands::{Cli, run};
use serde_json::json;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let code = failure.exit_code();
            if cli.json {
                eprintln!("{}", json!({ "error": failure.to_string(), "exit": code }));
            } else {
                eprintln!("error: {failure}");
            }
            ExitCode::from(code)
        }
    }
}
