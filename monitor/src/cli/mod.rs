//! The command line.

mod options;

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use monitor::alert::{self, AlertError, SecretError};
use monitor::mirror::Mirror;
use monitor::report::Class;
use monitor::serve::Window;
use monitor::watch::{Watch, jittered};
use monitor::{Monitor, Report, SetupError, url_in};
use serde_json::json;
use tlog::policy::{Policy, PolicySyntaxError};
use tokio::signal::unix::{SignalKind, signal};

use self::options::{Cli, Command};

/// Why nothing was looked at.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{}: {error}", path.display())]
    Read { path: PathBuf, error: std::io::Error },
    #[error("{}: {error}", path.display())]
    Policy { path: PathBuf, error: PolicySyntaxError },
    #[error("{}: {error}", path.display())]
    Secret { path: PathBuf, error: SecretError },
    #[error("where is the log? Give --url, or put one URL behind a `log` line of {}", .0.display())]
    NoUrl(PathBuf),
    #[error("nobody is told: give --webhook or --hook")]
    NoChannel,
    #[error("{0}")]
    Alert(#[from] AlertError),
    #[error("{0}")]
    Setup(#[from] SetupError),
    #[error("{address}: {error}")]
    Listen { address: SocketAddr, error: std::io::Error },
    #[error("{0}")]
    System(#[from] std::io::Error),
}

/// Runs the command that the arguments name.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.json;
    match carry_out(cli) {
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

fn carry_out(cli: Cli) -> Result<u8, Failure> {
    let trust = policy(&cli.policy)?;
    let no_url = || Failure::NoUrl(cli.policy.clone());
    let url = cli.url.clone().or_else(|| url_in(&trust).map(str::to_owned)).ok_or_else(no_url)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let json = cli.json;
    if cli.test_alert {
        return runtime.block_on(test_alert(&cli, &trust));
    }
    match &cli.command {
        Some(Command::Mirror { folder, whole }) => {
            let mirror = Mirror::new(trust, &url, folder, cli.patience())?;
            let mirror = if *whole { mirror.whole() } else { mirror };
            Ok(runtime.block_on(copy(&mirror, folder, json)))
        }
        None => {
            let monitor = Monitor::new(trust, &url, cli.monitoring())?;
            let forgetful = monitor.state().is_none();
            let mut watch = Watch::new(monitor, cli.watching()?);
            let report = runtime.block_on(watch.round());
            say(&report, json);
            if forgetful && !json {
                eprintln!("note: nothing was kept; with --state DIR the next run compares its head with this one");
            }
            Ok(report.exit_code())
        }
        Some(Command::Daemon(daemon)) => {
            let witnesses = trust.witnesses().iter().filter(|witness| witness.url.is_some()).count();
            let monitor = Monitor::new(trust, &url, cli.monitoring())?;
            let watching = cli.watching()?;
            eprintln!(
                "watching {url} every {} s; {witnesses} witnesses and {} monitors beside it; {} told of alarms; canary {}",
                daemon.interval,
                cli.peer.len(),
                watching.channels.len(),
                if watching.canary.is_some() { "on" } else { "off" },
            );
            let watch = Watch::new(monitor, watching);
            let interval = Duration::from_secs(daemon.interval);
            runtime.block_on(go_on(watch, interval, daemon.listen, json))
        }
    }
}

fn policy(path: &Path) -> Result<Policy, Failure> {
    let path = path.to_owned();
    let trust = std::fs::read(&path).map_err(|error| Failure::Read { path: path.clone(), error })?;
    Policy::parse(trust).map_err(|error| Failure::Policy { path, error })
}

/// Round after round, until somebody stops it.
async fn go_on(mut watch: Watch, interval: Duration, listen: Option<SocketAddr>, json: bool) -> Result<u8, Failure> {
    let window = Window::default();
    if let Some(address) = listen {
        let listener = tokio::net::TcpListener::bind(address).await;
        let listener = listener.map_err(|error| Failure::Listen { address, error })?;
        eprintln!("head and metrics at http://{}", listener.local_addr()?);
        tokio::spawn(window.clone().serve(listener));
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut last = Class::Ok;
    loop {
        let stop = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        };
        let round = async {
            let report = watch.round().await;
            window.show(&report, &watch);
            // What does not change is not said every minute.
            if json || report.class() != Class::Ok || last != Class::Ok || report.entries > 0 {
                say(&report, json);
            }
            last = report.class();
            tokio::time::sleep(jittered(interval)).await;
        };
        // Whatever is half done is done again: what counts is on disk.
        tokio::select! {
            () = stop => return Ok(0),
            () = round => {}
        }
    }
}

async fn copy(mirror: &Mirror, folder: &Path, json: bool) -> u8 {
    match mirror.pass().await {
        Ok(done) => {
            let (size, new) = (done.size, done.new);
            if json {
                print(&json!({ "class": "OK", "size": size, "new": new }).to_string());
            } else {
                print(&format!("OK: {size} entries in {}, {new} of them new", folder.display()));
            }
            0
        }
        Err(what) => {
            let class = what.class();
            if json {
                print(
                    &json!({ "class": class.to_string(), "code": what.code(), "says": what.to_string() }).to_string(),
                );
            } else {
                print(&format!("{class}: {what}. What is published stays as it was"));
            }
            if class == Class::Infrastructure { 2 } else { 1 }
        }
    }
}

async fn test_alert(cli: &Cli, trust: &Policy) -> Result<u8, Failure> {
    let channels = cli.channels()?;
    if channels.is_empty() {
        return Err(Failure::NoChannel);
    }
    let origin = trust.logs().first().map(|log| log.vkey.name().as_str());
    channels.deliver(&alert::test(origin)).await?;
    let told = channels.len();
    print(&if cli.json { json!({ "delivered": told }).to_string() } else { format!("delivered to {told} of {told}") });
    Ok(0)
}

fn say(report: &Report, json: bool) {
    print(&if json { report.to_json().to_string() } else { report.to_string() });
}

/// Prints. Nobody reading it is no failure: the exit code says the same.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}
