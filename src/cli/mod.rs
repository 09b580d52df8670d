//! The command line: one command a file, and what they have in common.
//!
//! Every command says what to type next, also when it fails. With `--json` it says the same as one JSON object on
//! standard output; errors go to standard error, as JSON too. Exit codes mean something: [`Exit`].

pub mod cast;
pub mod config;
pub mod demo;
pub mod dev;
pub mod doctor;
pub mod export;
mod freeze;
pub mod fsck;
pub mod init;
pub mod keyfile;
pub mod keygen;
pub mod keys;
pub mod policy;
pub mod rebuild;
mod rotate;
pub mod serve;
mod stage;
pub mod token;

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use serde_json::{Value, json};

use crate::config::{Config, ConfigError, Loaded};

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  what was to be checked does not hold (fsck, doctor)
  2  wrong usage
  3  the configuration, a key or a token file can't be used
  4  another process runs this log
  5  the log stopped on a fault; a restart reads what the disk holds
  6  the rollback guard: somebody holds a newer head than this disk, or too few witnesses answer to know
  7  the system said no: a file, a disk, an address";

/// The log server of solelog.
#[derive(Debug, Parser)]
#[command(name = "solelog", version, about, after_help = EXIT_CODES, arg_required_else_help = true)]
pub struct Cli {
    /// Answer in JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch the whole story: a log, two witnesses, real records, receipts, and every kind of cheating refused.
    Demo(demo::Demo),
    /// Run a log with two witnesses and a subscriber, for trying things out.
    Dev(dev::Dev),
    /// Make a new log: folder, key, configuration, first entry.
    Init(init::Init),
    /// Run the log.
    Serve(serve::Serve),
    /// Make a key for a log, a witness, or a provider that issues credentials.
    Keygen(keygen::Keygen),
    /// List the keys of a log and its provider, or encrypt them.
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Put a new key in the place of one, and say so in the log.
    #[command(subcommand)]
    Rotate(rotate::Rotate),
    /// Make, list and revoke the tokens that let others append and read.
    #[command(subcommand)]
    Token(token::Token),
    /// Check or show the configuration.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Check a policy for instructions, or ask it about one.
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Look whether everything a log needs is in place.
    Doctor(doctor::Doctor),
    /// Read the whole log as a stranger, and recompute its root with a second implementation.
    Fsck(fsck::Fsck),
    /// Throw the key-value view away and build it again from tiles and evidence.
    Rebuild(rebuild::Rebuild),
    /// Write the log as static files, for any web server.
    Export(export::Export),
    /// End the log for good: its last entry and its final head say so.
    Freeze(freeze::Freeze),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    Man,
}

/// Which log: by its configuration.
#[derive(Debug, Clone, Args)]
pub struct Which {
    /// The configuration file.
    #[arg(long, short, env = "SOLELOG_CONFIG", value_name = "FILE")]
    pub config: PathBuf,
    /// Override one field, for example limits.batch_records=100.
    #[arg(long = "set", value_name = "SECTION.FIELD=VALUE")]
    pub set: Vec<String>,
}

impl Which {
    /// Reads the configuration, with the environment and the flags over it.
    pub fn load(&self) -> Result<Loaded, Failure> {
        Ok(Config::load(&self.config, std::env::vars(), &self.set)?)
    }
}

/// What an exit code means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// What was to be checked does not hold.
    Failed = 1,
    /// Wrong usage.
    Usage = 2,
    /// The configuration, a key or a token file can't be used.
    Config = 3,
    /// Another process runs this log.
    InUse = 4,
    /// The log stopped on a fault.
    Fault = 5,
    /// The rollback guard.
    Guard = 6,
    /// The system said no.
    System = 7,
}

/// Why a command failed, and what to do about it.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    error: String,
    next: Option<String>,
}

impl Failure {
    /// A failure with that exit code.
    pub fn new(exit: Exit, error: impl Display) -> Failure {
        Failure { exit, error: error.to_string(), next: None }
    }

    /// The same, with what to do about it.
    #[must_use]
    pub fn next(self, next: impl Display) -> Failure {
        Failure { next: Some(next.to_string()), ..self }
    }

    /// What went wrong.
    pub fn error(&self) -> &str {
        &self.error
    }

    /// What to do about it.
    pub fn advice(&self) -> Option<&str> {
        self.next.as_deref()
    }

    /// Says it, and gives the exit code.
    pub fn report(&self, json: bool) -> ExitCode {
        let mut err = std::io::stderr().lock();
        let _ = if json {
            let text = json!({ "error": self.error, "next": self.next, "exit": self.exit as u8 });
            writeln!(err, "{text}")
        } else {
            let next = self.next.as_deref().map_or(String::new(), |next| format!("\n  do: {next}"));
            writeln!(err, "error: {}{next}", self.error)
        };
        ExitCode::from(self.exit as u8)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        let failure = Failure::new(Exit::Config, &error);
        match error {
            ConfigError::Read { .. } => {
                failure.next("name the file with --config, or make a log with: solelog init --origin NAME --data DIR")
            }
            _ => failure.next("correct it, then: solelog config check --config FILE"),
        }
    }
}

/// A failure of the system, with what was being done.
pub fn system(doing: impl Display) -> impl FnOnce(std::io::Error) -> Failure {
    move |error| Failure::new(Exit::System, format!("{doing}: {error}"))
}

/// Where a command puts what it has to say.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// JSON instead of text.
    pub json: bool,
}

impl Output {
    /// Says the result: as text for people, or as one JSON object.
    pub fn say(&self, text: impl Display, value: impl Serialize) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        let written = if self.json {
            let value = serde_json::to_string(&value).map_err(|e| Failure::new(Exit::System, e))?;
            writeln!(out, "{value}")
        } else {
            writeln!(out, "{}", text.to_string().trim_end())
        };
        written.map_err(system("cannot write to standard output"))
    }

    /// A progress bar on standard error: for people who watch, and for nobody else.
    pub fn bar(&self, total: u64, what: &'static str) -> indicatif::ProgressBar {
        if self.json || !std::io::stderr().is_terminal() {
            return indicatif::ProgressBar::hidden();
        }
        let style =
            indicatif::ProgressStyle::with_template("{msg:24} {wide_bar} {human_pos}/{human_len}  {per_sec}  {eta}");
        let bar = indicatif::ProgressBar::new(total).with_message(what);
        match style {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        }
    }
}

/// Runs one command.
pub fn run(cli: Cli) -> ExitCode {
    let out = Output { json: cli.json };
    let done = match cli.command {
        Command::Demo(demo) => demo.run(out),
        Command::Dev(dev) => dev.run(out),
        Command::Init(init) => init.run(out),
        Command::Serve(serve) => serve.run(out),
        Command::Keygen(keygen) => keygen.run(out),
        Command::Keys(keys) => keys.run(out),
        Command::Rotate(rotate) => rotate.run(out),
        Command::Token(token) => token.run(out),
        Command::Config(config) => config.run(out),
        Command::Doctor(doctor) => doctor.run(out),
        Command::Fsck(fsck) => fsck.run(out),
        Command::Rebuild(rebuild) => rebuild.run(out),
        Command::Export(export) => export.run(out),
        Command::Freeze(freeze) => freeze.run(out),
        Command::Policy(policy) => policy.run(out),
        Command::Completions { shell } => {
            clap_complete::generate(
                shell,
                &mut <Cli as clap::CommandFactory>::command(),
                "solelog",
                &mut std::io::stdout(),
            );
            Ok(())
        }
        Command::Man => {
            let page = clap_mangen::Man::new(<Cli as clap::CommandFactory>::command());
            page.render(&mut std::io::stdout()).map_err(system("cannot write to standard output"))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(out.json),
    }
}

/// A runtime for commands that need one.
pub fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(system("cannot start the runtime"))
}

/// A path as JSON has it.
fn path_value(path: &Path) -> Value {
    Value::String(path.display().to_string())
}
