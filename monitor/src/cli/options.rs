//! What can be asked of the command. Most of it can come from the environment, for a unit file.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use monitor::alert::{Channels, Secret};
use monitor::canary::Canary;
use monitor::watch::Watching;
use monitor::{Choice, Options, Patience, Token};

use super::Failure;

const EXIT_CODES: &str = "\
Exit codes:
  0  OK: everything that could be seen is in order
  1  TAMPER or SUSPICIOUS: something is wrong with the log
  2  INFRASTRUCTURE or wrong usage: it could not be checked

With --state, heads are kept from one run to the next, and what proves a TAMPER to others goes to DIR/evidence; anybody
verifies it with `sole evidence verify FILE --trust TRUST`.
With it, a run also goes on from where the last one came to; --from-start judges all entries again.
What an alarm means and what to do is in docs/monitor.md.";

/// Reads a transparency log from end to end and checks everything in it that it can see.
#[derive(Parser)]
#[command(name = "solelog-monitor", version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,

    /// The trust policy: log, witnesses, quorum (c2sp.org/tlog-policy).
    #[arg(long, value_name = "TRUST", env = "SOLELOG_MONITOR_POLICY")]
    pub policy: PathBuf,

    /// Where the log is, if the policy doesn't say.
    #[arg(long, global = true, env = "SOLELOG_MONITOR_URL")]
    pub url: Option<String>,

    /// Where to keep what was seen. Without it a log that contradicts its past is not found out.
    #[arg(long, global = true, value_name = "DIR", env = "SOLELOG_MONITOR_STATE")]
    state: Option<PathBuf>,

    /// Judge all entries again, from the first one, whatever the last run has kept.
    #[arg(long, global = true)]
    from_start: bool,

    /// A token with the scope `read`, to see the openings of records.
    #[arg(long, global = true, env = "SOLELOG_MONITOR_TOKEN", hide_env_values = true)]
    token: Option<Token>,

    /// Look once. This is what happens without a command; it is here to be said.
    #[arg(long)]
    once: bool,

    /// Any C2SP log: check heads, tiles and root, and leave entries alone.
    #[arg(long, global = true)]
    plain: bool,

    /// What verifies signatures: auto (the fastest that this processor has), portable or vector.
    #[arg(long, global = true, value_name = "NAME", default_value_t)]
    engine: Choice,

    /// How old the newest quorum of cosignatures may be.
    #[arg(long, global = true, value_name = "SECONDS")]
    max_age: Option<u64>,

    /// How long one answer of the server may take.
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,

    /// Another monitor of this log, where it publishes its head. The witnesses of the policy are asked without being named.
    #[arg(long, global = true, value_name = "URL")]
    pub peer: Vec<String>,

    /// Where to POST alerts (standardwebhooks.com).
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "SOLELOG_MONITOR_WEBHOOK",
        hide_env_values = true,
        requires = "webhook_secret_file"
    )]
    webhook: Option<String>,

    /// A file with the webhook's secret, `whsec_…`.
    #[arg(long, global = true, value_name = "FILE", env = "SOLELOG_MONITOR_WEBHOOK_SECRET_FILE")]
    webhook_secret_file: Option<PathBuf>,

    /// A program that is run for each alert, with the alert as JSON on its standard input.
    #[arg(long, global = true, value_name = "PROGRAM", env = "SOLELOG_MONITOR_HOOK")]
    hook: Option<PathBuf>,

    /// Tell everybody that alerts arrive, and look at nothing.
    #[arg(long)]
    pub test_alert: bool,

    /// In how many rounds in a row something could not be checked before that is told.
    #[arg(long, global = true, value_name = "ROUNDS", default_value_t = 3)]
    infrastructure_after: u32,

    /// A program that makes a record of ours and prints its index.
    #[arg(long, global = true, value_name = "PROGRAM", env = "SOLELOG_MONITOR_CANARY")]
    canary: Option<PathBuf>,

    /// How often the canary sings.
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 86_400)]
    canary_every: u64,

    /// How soon its record has to be under a head.
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 600)]
    canary_within: u64,

    /// Answer with one JSON object on one line.
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Subcommand)]
pub enum Command {
    /// Look again and again.
    Daemon(Daemon),
    /// Keep a verified copy of the log's files, for any static server.
    Mirror {
        /// The folder to publish.
        #[arg(value_name = "DIR")]
        folder: PathBuf,

        /// Prove every file that is there again, and make it anew where it is spoilt.
        #[arg(long)]
        whole: bool,
    },
}

#[derive(Args)]
pub struct Daemon {
    /// How long to wait between two looks, a quarter more or less.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    pub interval: u64,

    /// Where to publish the accepted head and the metrics, such as 127.0.0.1:9480.
    #[arg(long, value_name = "ADDRESS", env = "SOLELOG_MONITOR_LISTEN")]
    pub listen: Option<SocketAddr>,
}

impl Cli {
    pub fn patience(&self) -> Patience {
        Patience { answer: Duration::from_secs(self.timeout), ..Patience::default() }
    }

    pub fn monitoring(&self) -> Options {
        Options {
            state: self.state.clone(),
            token: self.token.clone(),
            whole: self.from_start,
            plain: self.plain,
            engine: self.engine,
            max_age: self.max_age.map(Duration::from_secs),
            patience: self.patience(),
            peers: self.peer.clone(),
        }
    }

    pub fn watching(&self) -> Result<Watching, Failure> {
        let seconds = Duration::from_secs;
        let canary = |program| Canary::new(program, seconds(self.canary_every), seconds(self.canary_within));
        Ok(Watching {
            channels: self.channels()?,
            canary: self.canary.clone().map(canary),
            infrastructure_after: self.infrastructure_after,
        })
    }

    pub fn channels(&self) -> Result<Channels, Failure> {
        let webhook = match (&self.webhook, &self.webhook_secret_file) {
            (Some(url), Some(path)) => {
                let text = std::fs::read_to_string(path);
                let text = text.map_err(|error| Failure::Read { path: path.clone(), error })?;
                let secret = Secret::parse(&text).map_err(|error| Failure::Secret { path: path.clone(), error })?;
                Some((url.clone(), secret))
            }
            _ => None,
        };
        Ok(Channels { webhook, hook: self.hook.clone(), patience: None })
    }
}
