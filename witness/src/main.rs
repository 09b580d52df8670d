//! `solelog-witness`: one command that cosigns the heads of any C2SP log.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use serde_json::{Value, json};
use tlog::checkpoint::Origin;
use tlog::key::{KeyName, Vkey};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use witness::config::LogFault;
use witness::folder::{Folder, FolderError};
use witness::key::KeyError;
use witness::serve::ServeError;
use witness::{Config, OpenError, TrustedLog, Witness, set_up};

/// Cosigns checkpoints of transparency logs, as c2sp.org/tlog-witness says.
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage, 3 our own state can't be trusted, 4 the folder is
/// in use by another process.
#[derive(Parser)]
#[command(name = "solelog-witness", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Answer with one JSON object on one line.
    #[arg(long, global = true)]
    json: bool,

    /// The witness's folder: key, configuration and state.
    #[arg(long, global = true, value_name = "DIR", env = "SOLELOG_WITNESS_DIR", default_value = "witness-data")]
    dir: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Make what is missing (folder, key, configuration, state), then serve.
    Up {
        /// The witness's name, a URL without scheme: witness.example.com/w1.
        #[arg(long)]
        name: KeyName,
        /// The address to serve on; kept in the configuration. Without it, the one that is there,
        /// or 127.0.0.1:8030.
        #[arg(long, value_name = "ADDR")]
        listen: Option<SocketAddr>,
        /// The vkey of a log to cosign for; its name is the log's origin. Repeat for more logs.
        #[arg(long = "log", value_name = "VKEY", value_parser = TrustedLog::from_vkey)]
        logs: Vec<TrustedLog>,
    },
    /// Serve the witness that is there.
    Serve {
        /// Another address than the configured one, for this time.
        #[arg(long, value_name = "ADDR")]
        listen: Option<SocketAddr>,
    },
    /// Make a key, and the folder around it.
    Keygen {
        /// The witness's name, a URL without scheme: witness.example.com/w1.
        #[arg(long)]
        name: KeyName,
    },
    /// Manage the logs that the witness knows.
    Log(LogArgs),
    /// Print the key that verifies this witness's cosignatures.
    Vkey,
}

#[derive(Args)]
struct LogArgs {
    #[command(subcommand)]
    command: LogCommand,
}

#[derive(Subcommand)]
enum LogCommand {
    /// Cosign for one more log, or trust one more key of a log. Takes effect at the next start.
    Add {
        /// The log's vkey.
        #[arg(value_parser = |vkey: &str| Vkey::parse(vkey))]
        vkey: Vkey,
        /// The log's origin, where it is not the name of the key.
        #[arg(long)]
        origin: Option<Origin>,
    },
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Open(#[from] OpenError),
    #[error("{0}")]
    Log(#[from] LogFault),
    #[error("can't listen on {address}: {error}")]
    Listen { address: SocketAddr, error: std::io::Error },
    #[error("{0}")]
    System(#[from] std::io::Error),
    #[error("{0}")]
    Serve(#[from] ServeError),
}

impl From<FolderError> for Failure {
    fn from(error: FolderError) -> Failure {
        Failure::Open(error.into())
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Failure {
        Failure::Open(error.into())
    }
}

impl Failure {
    fn exit_code(&self) -> u8 {
        match self {
            Failure::Open(OpenError::State(_)) | Failure::Serve(ServeError::Broken) => 3,
            Failure::Open(OpenError::Folder(FolderError::Locked { .. })) => 4,
            _ => 1,
        }
    }
}

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

fn run(cli: &Cli) -> Result<(), Failure> {
    let dir = cli.dir.as_path();
    match &cli.command {
        Command::Up { name, listen, logs } => {
            set_up(dir, Some(name), *listen, logs)?;
            serve(cli, None)
        }
        Command::Serve { listen } => serve(cli, *listen),
        Command::Keygen { name } => {
            let _folder = Folder::create(dir)?;
            let cosigner = witness::key::create(dir, name.clone())?;
            print(cli, &cosigner.vkey().to_string(), || key_json(cosigner.vkey()));
            Ok(())
        }
        Command::Log(LogArgs { command: LogCommand::Add { vkey, origin } }) => log_add(cli, dir, vkey, origin.as_ref()),
        Command::Vkey => {
            let cosigner = witness::key::load(dir)?;
            print(cli, &cosigner.vkey().to_string(), || key_json(cosigner.vkey()));
            Ok(())
        }
    }
}

fn log_add(cli: &Cli, dir: &Path, vkey: &Vkey, origin: Option<&Origin>) -> Result<(), Failure> {
    let log = match origin {
        Some(origin) => TrustedLog::new(origin.clone(), vec![vkey.clone()])?,
        None => TrustedLog::from_vkey(&vkey.to_string())?,
    };
    set_up(dir, None, None, std::slice::from_ref(&log))?;
    let (origin, config) = (&log.origin, Config::path(dir));
    let text = format!("{origin} is in {}; restart to serve it", config.display());
    print(cli, &text, || {
        json!({
            "origin": origin.as_str(),
            "monitoring_path": format!("/{}/checkpoint", origin.hash()),
            "config": config,
        })
    });
    Ok(())
}

fn serve(cli: &Cli, listen: Option<SocketAddr>) -> Result<(), Failure> {
    let witness = Arc::new(Witness::open(&cli.dir)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        // From here on a signal is a wish to stop, not the end in the middle of something.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let address = listen.unwrap_or(witness.listen());
        let bound = TcpListener::bind(address).await;
        let listener = bound.map_err(|error| Failure::Listen { address, error })?;
        announce(cli, &witness, listener.local_addr()?);
        let stop = async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        Ok(witness::serve(witness, listener, stop).await?)
    })
}

/// Says where the witness is and what to give to the logs.
fn announce(cli: &Cli, witness: &Witness, address: SocketAddr) {
    let logs: Vec<(&TrustedLog, u64)> = witness.logs().map(|(log, size)| (log, size.get())).collect();
    let mut text = format!("witness {}\n", witness.vkey());
    text += &format!("serving http://{address}/ (submission and monitoring prefix)\n");
    for (log, size) in &logs {
        text += &format!("log     {} at size {size}\n", log.origin);
    }
    if logs.is_empty() {
        text += "no log yet: stop, then `solelog-witness log add VKEY`\n";
    }
    text += "policy line for the log's operator:\n";
    text += &format!("witness NAME {} http://{address}", witness.vkey());
    print(cli, &text, || {
        let logs: Vec<Value> =
            logs.iter().map(|(log, size)| json!({ "origin": log.origin.as_str(), "size": size })).collect();
        json!({
            "listening": address.to_string(),
            "prefix": format!("http://{address}"),
            "vkey": witness.vkey().to_string(),
            "logs": logs,
        })
    });
}

fn key_json(vkey: &Vkey) -> Value {
    json!({
        "name": vkey.name().as_str(),
        "key_id": vkey.id().to_string(),
        "vkey": vkey.to_string(),
    })
}

/// Prints one thing, in the form that was asked for. Nobody reading it is no failure.
fn print(cli: &Cli, text: &str, json: impl FnOnce() -> Value) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = if cli.json { writeln!(out, "{}", json()) } else { writeln!(out, "{text}") };
    let _ = out.flush();
}
