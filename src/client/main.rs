//! `sole`: the user's command.

mod cli;

fn main() -> std::process::ExitCode {
    cli::run()
}
