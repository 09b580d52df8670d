//! `solelog-monitor`: one look at a log, for cron.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use monitor::{Choice, Monitor, Options, SetupError, Token, url_in};
use serde_json::json;
use tlog::policy::{Policy, PolicySyntaxError};

const EXIT_CODES: &str = "\
Exit codes:
  0  OK: everything that could be seen is in order
  1  TAMPER or SUSPICIOUS: something is wrong with the log
  2  INFRASTRUCTURE or wrong usage: it could not be checked

With --state, heads are kept from one run to the next, and contradicting heads go to DIR/evidence.
Entries are judged from the first one on in each run; with --plain, from the last accepted head on.";

/// Reads a transparency log from end to end and checks everything in it that it can see.
#[derive(Parser)]
#[command(name = "solelog-monitor", version, after_help = EXIT_CODES)]
struct Cli {
    /// The trust policy: log, witnesses, quorum (c2sp.org/tlog-policy).
    #[arg(long, value_name = "TRUST")]
    policy: PathBuf,

    /// Where the log is, if the policy doesn't say.
    #[arg(long)]
    url: Option<String>,

    /// Where to keep what was seen. Without it a log that contradicts its past is not found out.
    #[arg(long, value_name = "DIR", env = "SOLELOG_MONITOR_STATE")]
    state: Option<PathBuf>,

    /// A token with the scope `read`, to see the openings of records.
    #[arg(long, env = "SOLELOG_MONITOR_TOKEN", hide_env_values = true)]
    token: Option<Token>,

    /// Any C2SP log: check heads, tiles and root, and leave entries alone.
    #[arg(long)]
    plain: bool,

    /// What verifies signatures: auto (the fastest that this processor has), portable or vector.
    #[arg(long, value_name = "NAME", default_value_t)]
    engine: Choice,

    /// How old the newest quorum of cosignatures may be.
    #[arg(long, value_name = "SECONDS")]
    max_age: Option<u64>,

    /// How long one answer of the server may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,

    /// Answer with one JSON object on one line.
    #[arg(long)]
    json: bool,
}

/// Why nothing was looked at.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{}: {error}", path.display())]
    Read { path: PathBuf, error: std::io::Error },
    #[error("{}: {error}", path.display())]
    Policy { path: PathBuf, error: PolicySyntaxError },
    #[error("where is the log? Give --url, or put one URL behind a `log` line of {}", .0.display())]
    NoUrl(PathBuf),
    #[error("{0}")]
    Setup(#[from] SetupError),
    #[error("{0}")]
    System(#[from] std::io::Error),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.json;
    match run(cli) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            let failure = failure.to_string();
            if json {
                eprintln!("{}", json!({ "error": failure, "exit": 2 }));
            } else {
                eprintln!("error: {failure}");
            }
            ExitCode::from(2)
        }
    }
}

fn run(cli: Cli) -> Result<u8, Failure> {
    let path = cli.policy;
    let trust = std::fs::read(&path).map_err(|error| Failure::Read { path: path.clone(), error })?;
    let trust = Policy::parse(trust).map_err(|error| Failure::Policy { path: path.clone(), error })?;
    let url = cli.url.or_else(|| url_in(&trust).map(str::to_owned)).ok_or(Failure::NoUrl(path))?;
    let mut options = Options {
        state: cli.state,
        token: cli.token,
        plain: cli.plain,
        engine: cli.engine,
        max_age: cli.max_age.map(Duration::from_secs),
        ..Options::default()
    };
    options.patience.answer = Duration::from_secs(cli.timeout);
    let forgetful = options.state.is_none();
    let mut monitor = Monitor::new(trust, &url, options)?;

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(monitor.pass());
    if cli.json {
        print(&report.to_json().to_string());
    } else {
        print(&report.to_string());
        if forgetful {
            eprintln!("note: nothing was kept; with --state DIR the next run compares its head with this one");
        }
    }
    Ok(report.exit_code())
}

/// Prints. Nobody reading it is no failure: the exit code says the same.
fn print(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}
