//! `solelog serve`: runs the log, and ends it in order.
//!
//! ```text
//! SIGTERM, SIGINT    no new connections, open requests answered, snapshot, lock let go: exit 0
//! a fault            at once: whoever waits is told so, nothing more is written: exit 5
//! ```

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::config::{Checked, check};
use super::{Exit, Failure, Output, Which, runtime, system};
use crate::authority::Authority;
use crate::config::{Config, Format, Logging};
use crate::engine::{self, Engine};
use crate::execution::{DocumentSigner, Execution, Executor};
use crate::folder::FolderError;
use crate::guard::GuardError;
use crate::http::App;
use crate::keys::{KeyStore, SoftKeys};
use crate::recovery::OpenError;
use crate::store::lock::LockError;

/// How long the answers that tell of a fault may take to leave.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Run the log.
#[derive(Debug, Args)]
pub struct Serve {
    /// Which log.
    #[command(flatten)]
    pub which: Which,
    /// Where HTTP is served; port 0 takes a free one and says which.
    #[arg(long)]
    pub listen: Option<SocketAddr>,
}

impl Serve {
    /// Runs it.
    pub fn run(self, out: Output) -> Result<(), Failure> {
        let mut config = self.which.load()?.config;
        if let Some(listen) = self.listen {
            config.listen = listen;
        }
        telemetry(&config.logging)?;
        let runtime = runtime()?;
        let done = runtime.block_on(serve(config, out));
        // A thread that hangs in a read of a broken disk must not keep the process.
        runtime.shutdown_timeout(Duration::from_secs(5));
        done
    }
}

/// What the engine is told, and the text of the witness policy.
pub fn engine_config(config: &Config, checked: Checked) -> (engine::Config, Option<String>) {
    let mut engine = engine::Config::new(config.log_dir(), checked.signers);
    engine.high_water = config.witnesses.high_water.clone();
    engine.limits = config.engine_limits();
    engine.pace = config.engine_pace();
    engine.view = config.engine_view();
    engine.verify = config.engine_verify();
    let (text, policy) = checked.witness_policy.unzip();
    engine.witnesses = policy;
    (engine, text)
}

/// Opens the log that a configuration describes. It must run in a runtime.
pub async fn open(config: Config) -> Result<App, Failure> {
    let mut checked = check(&config)?;
    let (keys, relying_party) = (checked.keys.take(), checked.relying_party.take());
    let second_opinion = checked.second_opinion.take();
    if config.authority.enabled && keys.is_none() {
        return Err(no_keys(&config));
    }
    let (engine, text) = engine_config(&config, checked);
    let clock = Arc::clone(&engine.clock);
    let engine = Engine::open(engine).await?;
    if let Err(failure) = keys.as_ref().map_or(Ok(()), |keys| in_force(keys, &engine)) {
        engine.shutdown().await;
        return Err(failure);
    }
    let Some(keys) = keys.filter(|_| config.authority.enabled) else {
        return Ok(App::new(engine, config, text));
    };
    let keys: Arc<dyn KeyStore> = Arc::new(keys);
    let execution = execution(&config, &keys)?;
    let mut authority = Authority::new(engine, keys, config.authority.settings(), clock).with_execution(execution);
    if let Some(party) = relying_party {
        authority = authority.with_relying_party(party);
    }
    if let Some(service) = second_opinion {
        authority = authority.with_second_opinion(service);
    }
    Ok(App::with_authority(authority, config, text))
}

/// The provider's keys, for whoever can't do without.
pub fn open_keys(config: &Config) -> Result<SoftKeys, Failure> {
    SoftKeys::open_if_any(&config.key_folder(), &config.unlock())?.ok_or_else(|| no_keys(config))
}

/// People can't enrol where the provider has no keys.
fn no_keys(config: &Config) -> Failure {
    let folder = config.key_folder();
    Failure::new(
        Exit::Config,
        format!("authority.enabled, but there are no keys of the provider in {}", folder.display()),
    )
    .next("make them with `solelog keygen master` and `solelog keygen issuing`, or set authority.enabled = false")
}

/// Whether the log goes by the issuing key that is in the key folder: if not, nobody could be enrolled.
fn in_force(keys: &SoftKeys, engine: &Engine) -> Result<(), Failure> {
    let known = engine.keys().map_err(|e| Failure::new(Exit::System, e))?;
    if known.issuing().contains(keys.issuing_key()) {
        return Ok(());
    }
    Err(Failure::new(Exit::Config, "the issuing key in the key folder is not in force in this log")
        .next("a rotation that was interrupted goes on with: solelog rotate issuing. Else bring the right key back"))
}

/// The executors that the configuration asks for.
fn execution(config: &Config, keys: &Arc<dyn KeyStore>) -> Result<Execution, Failure> {
    let mut executors: Vec<Arc<dyn Executor>> = Vec::new();
    if config.execution.documents {
        let signer = DocumentSigner::new(Arc::clone(keys), &config.origin).ok_or_else(|| {
            let folder = config.key_folder();
            Failure::new(Exit::Config, format!("execution.documents: there is no document.key in {}", folder.display()))
                .next("make one there with `solelog keygen document`, or set execution.documents = false")
        })?;
        executors.push(Arc::new(signer));
    }
    Ok(Execution::new(executors))
}

/// As many open files as the system lets us have: a log that runs out of them cannot write, and ends.
fn open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum }) {
        tracing::warn!(%error, files = now.current, "the limit of open files stays as it is");
    }
}

async fn serve(config: Config, out: Output) -> Result<(), Failure> {
    open_files();
    let listen = config.listen;
    let origin = config.origin.clone();
    let app = open(config).await?;
    let engine = app.engine().clone();
    let listener = match TcpListener::bind(listen).await {
        Ok(listener) => listener,
        Err(error) => {
            engine.shutdown().await;
            return Err(Failure::new(Exit::System, format!("cannot listen on {listen}: {error}"))
                .next("choose another address with --listen or in the configuration"));
        }
    };
    let address = listener.local_addr().map_err(system("cannot read the address"))?;
    let size = engine.heads().integrated.head.size.get();
    out.say(
        format!("{origin}: {size} entries, http://{address}"),
        json!({ "origin": origin, "size": size, "url": format!("http://{address}"), "vkey": engine.vkey().to_string() }),
    )?;
    tracing::info!(%origin, size, %address, "serving");
    let stop = signals()?;
    let dying = engine.clone();
    tokio::select! {
        () = app.serve(listener, stop) => {}
        fault = async move {
            let fault = dying.dead().await;
            tokio::time::sleep(LAST_WORDS).await;
            fault
        } => {
            return Err(Failure::new(Exit::Fault, format!("the log stopped: {fault}")).next("start it again: it reads what the disk holds. If it stops again, keep it down and run: solelog fsck"));
        }
    }
    engine.shutdown().await;
    match engine.subscribe().borrow().fault.clone() {
        Some(fault) => Err(Failure::new(Exit::Fault, format!("the log stopped while it was shutting down: {fault}"))),
        None => Ok(()),
    }
}

/// Resolves at SIGTERM or SIGINT. SIGHUP is only noted: tokens are read again whenever their file changes.
fn signals() -> Result<impl Future<Output = ()>, Failure> {
    let on = |kind| signal(kind).map_err(system("cannot wait for signals"));
    let (mut term, mut int, mut hup) =
        (on(SignalKind::terminate())?, on(SignalKind::interrupt())?, on(SignalKind::hangup())?);
    Ok(async move {
        loop {
            tokio::select! {
                _ = term.recv() => break,
                _ = int.recv() => break,
                _ = hup.recv() => tracing::info!("tokens are read again whenever their file changes; other fields need a restart"),
            }
        }
        tracing::info!("shutting down");
    })
}

/// Log lines to standard error.
pub fn telemetry(logging: &Logging) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&logging.filter).map_err(|e| {
        Failure::new(Exit::Config, format!("logging.filter: {e}")).next("for example: info, or solelog=debug")
    })?;
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colour);
    let set = match logging.format {
        Format::Text => builder.with_target(false).try_init(),
        Format::Json => builder.json().try_init(),
    };
    set.map_err(|e| Failure::new(Exit::System, e))
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Failure {
        let failure = |exit| Failure::new(exit, &error);
        match &error {
            OpenError::Folder(FolderError::Lock(LockError::Locked { .. })) => failure(Exit::InUse),
            OpenError::NoLog(_) | OpenError::KeyName { .. } | OpenError::Policy(_) => failure(Exit::Config),
            OpenError::Verifier(_) => failure(Exit::Config).next("set verify.engine = \"auto\""),
            OpenError::Guard(GuardError::RolledBack { .. }) => failure(Exit::Guard)
                .next("bring the newest copy of the folder back. If it is lost, this log has ended: freeze it, and begin another with a new origin and key"),
            OpenError::Guard(GuardError::TooFewAnswers { .. }) => failure(Exit::Guard).next("bring the witnesses back, then start again; solelog doctor shows who answers"),
            OpenError::Guard(GuardError::HighWater { .. }) => failure(Exit::Guard).next("bring the high-water file back; it is the only memory outside the folder"),
            OpenError::Fault(_) => failure(Exit::Fault).next("start again; if it fails again, run: solelog fsck"),
            OpenError::View(_) | OpenError::Folder(FolderError::View(_)) => failure(Exit::System).next("run: solelog rebuild"),
            _ => failure(Exit::System).next("run: solelog fsck"),
        }
    }
}
