//! The command line: one file for each group of commands, and what they have in common.
//!
//! Every command says what to do next, also when it fails. With `--json` it says the same as one JSON object on standard
//! output, whatever came of it. What is asked of a person, and shown before it is signed, goes to standard error.

mod ask;
mod audit;
mod authorise;
mod enrol;
mod evidence;
mod failure;
mod home;
mod pin;
mod plain;
mod receipts;
mod status;
mod stop;
mod verify;
mod watch;

use std::fmt::Display;
use std::future::Future;
use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde_json::Value as Json;

use self::failure::Failure;

const EXIT_CODES: &str = "\
Exit codes:
  0  done; a receipt that is verified is an authorised instruction in the log, evidence proves what is printed
  1  refused, or failed: nothing was done, or something does not hold
  2  wrong usage, files that can't be read, or nobody there to ask
  3  nothing failed, and not everything that was asked is shown
  4  the PIN is wrong; with --json, `attempts_left` says how many are left
  5  not known yet: the answer left this device and the log does not show it. The same command again finds out

Secrets:
  A PIN is never an argument: arguments can be seen by everybody on the machine. It is asked on the terminal; scripts and
  tests give --pin-file FILE or SOLE_PIN (--new-pin-file or SOLE_NEW_PIN for a new one). The passphrase that seals the
  device's keys is asked likewise, or comes from --passphrase-file or SOLE_PASSPHRASE.";

/// Act with two factors, and see what was done in your name.
#[derive(Parser)]
#[command(name = "sole", version, after_help = EXIT_CODES, arg_required_else_help = true)]
struct Args {
    #[command(subcommand)]
    command: Command,
    /// Answer in JSON, for programs.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Enrol this device: make its keys, choose a PIN, and get a credential.
    Enrol(enrol::Enrol),
    /// Let another device of yours take over: speak for its credential with this device and its PIN.
    Vouch(authorise::Vouch),
    /// Authorise an instruction, after you have seen all of it.
    Authorise(authorise::Authorise),
    /// The receipts that this device keeps.
    #[command(subcommand)]
    Receipts(receipts::Receipts),
    /// Read everything that the log has about you, and verify it.
    ///
    /// Exit code 1 when something does not fit.
    Watch(watch::Watch),
    /// Write a list of what the log has, with what proves it.
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Verify a receipt, offline.
    ///
    /// Exit code 0: an authorised instruction in the log. 1: something failed. 2: the files can't be read. 3: nothing
    /// failed, but the receipt shows only that the entry is in the log.
    Verify(verify::Verify),
    /// What a monitor holds against a log.
    #[command(subcommand)]
    Evidence(evidence::Evidence),
    /// The PIN.
    #[command(subcommand)]
    Pin(pin::Pins),
    /// Stop your credential for now. It takes this device and no PIN; only the provider lets it act again.
    Suspend(stop::Stop),
    /// Stop your credential for ever. It takes this device and no PIN.
    Revoke(stop::Stop),
    /// How things stand: this device, its credential, what is under way.
    Status(status::Status),
    /// Run every test vector under a folder through this program's code.
    ///
    /// Exit code 1 when a case fails. A shape or algorithm that is not known counts as not understood.
    Vectors(verify::Vectors),
}

/// What came of a command that was carried out: 0, 1 or 3.
type Done = Result<ExitCode, Failure>;

/// Where a command puts what it has to say.
#[derive(Debug, Clone, Copy)]
struct Output {
    json: bool,
}

impl Output {
    /// Says the result: as text for people, or as one JSON object.
    fn say(self, text: impl Display, value: &Json) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        let written =
            if self.json { writeln!(out, "{value:#}") } else { writeln!(out, "{}", text.to_string().trim_end()) };
        written.map_err(|error| Failure::files(format!("cannot write to standard output: {error}")))
    }

    /// Says something to a person who watches, beside the result.
    fn tell(self, text: impl Display) {
        // Nobody there to read it is no reason to stop.
        let _ = writeln!(std::io::stderr().lock(), "{}", text.to_string().trim_end());
    }
}

/// Runs the command that the arguments name.
pub fn run() -> ExitCode {
    let args = Args::parse();
    let out = Output { json: args.json };
    let done = match args.command {
        Command::Enrol(enrol) => enrol.run(out),
        Command::Vouch(vouch) => vouch.run(out),
        Command::Authorise(authorise) => authorise.run(out),
        Command::Receipts(receipts) => receipts.run(out),
        Command::Watch(watch) => watch.run(out),
        Command::Audit(audit) => audit.run(out),
        Command::Verify(verify) => verify.run(out),
        Command::Evidence(evidence) => evidence.run(out),
        Command::Pin(pin) => pin.run(out),
        Command::Suspend(stop) => stop.run(stop::What::Suspend, out),
        Command::Revoke(stop) => stop.run(stop::What::Revoke, out),
        Command::Status(status) => status.run(out),
        Command::Vectors(vectors) => vectors.run(out),
    };
    done.unwrap_or_else(|failure| failure.report(out.json))
}

/// Waits for what needs the network.
fn wait<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::files(format!("cannot start: {error}")))?;
    Ok(runtime.block_on(work))
}
