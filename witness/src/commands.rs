//! The commands of the witness, and what they say.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde_json::{Value, json};
use tlog::checkpoint::Origin;
use tlog::key::{KeyName, Vkey};
use witness::bastion::BastionError;
use witness::config::{ConfigError, LogFault};
use witness::folder::{Folder, FolderError};
use witness::keys::{self, KeyError, KeyKind, Keys, Source};
use witness::lists::{self, ListError, Outcome};
use witness::selftest::{self, SelftestError};
use witness::serve::ServeError;
use witness::set_up::NewKeys;
use witness::{Additions, Config, OpenError, SetUp, TrustedLog, Witness, about, agent, inbox};

mod serving;

/// How long whoever has put something into the inbox of a witness that runs waits for it.
const TAKEN_UP_WITHIN: Duration = Duration::from_secs(20);

/// Cosigns checkpoints of transparency logs, as c2sp.org/tlog-witness says.
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage, 3 our own state can't be trusted, 4 the folder is
/// in use by another process.
#[derive(Parser)]
#[command(name = "solelog-witness", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Answer with one JSON object on one line.
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// The witness's folder: keys, configuration and state.
    #[arg(long, global = true, value_name = "DIR", env = "SOLELOG_WITNESS_DIR", default_value = "witness-data")]
    dir: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Make what is missing (folder, keys, configuration, state, systemd unit), then serve.
    Up(Box<Up>),
    /// Serve the witness that is there.
    Serve {
        /// Another address than the configured one, for this time.
        #[arg(long, value_name = "ADDR")]
        listen: Option<SocketAddr>,
    },
    /// Make a key, and the folder around it; or a second key of the other kind.
    Keygen {
        /// The witness's name, a URL without scheme: witness.example.com/w1.
        #[arg(long)]
        name: KeyName,
        /// Which kind of key.
        #[arg(long, value_enum, default_value_t = Kind::Ed25519)]
        key: Kind,
        /// Encrypt it with a passphrase.
        #[arg(long)]
        encrypt: bool,
    },
    /// Manage the logs that the witness knows.
    Log {
        #[command(subcommand)]
        command: LogCommand,
    },
    /// Read lists of logs now, and add what is new. With URLs or files, remember those lists. A
    /// witness that runs reads them itself.
    List {
        /// A list: a URL, or a file.
        lists: Vec<String>,
    },
    /// Print the keys that verify this witness's cosignatures.
    Vkey,
    /// Print the about page.
    About,
    /// Print the mail by which to ask a network of witnesses to be listed.
    Mail,
    /// Print a systemd unit that serves this witness.
    Unit,
    /// Try every status code of tlog-witness on a witness of its own, over HTTP.
    Selftest,
}

#[derive(Args)]
struct Up {
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
    /// A list of logs to follow: a URL, or a file. Repeat for more lists.
    #[arg(long = "list", value_name = "URL|FILE")]
    lists: Vec<String>,
    /// The keys of a new witness: ed25519, ml-dsa-44, both, or agent:COMMENT for an Ed25519 key in
    /// the ssh-agent (agent alone, if it has one such key only).
    #[arg(long, default_value = "both")]
    key: String,
    /// Encrypt new keys with a passphrase: from --passphrase-file, the variable
    /// SOLELOG_WITNESS_PASSPHRASE, or the terminal.
    #[arg(long)]
    encrypt: bool,
    /// The file with the passphrase of encrypted keys.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// The file with the age identity that keys are encrypted to.
    #[arg(long, value_name = "FILE")]
    age_identity_file: Option<PathBuf>,
    /// The submission prefix as the world sees it, for the about page.
    #[arg(long)]
    url: Option<String>,
    /// Who runs this witness, for the about page.
    #[arg(long)]
    operator: Option<String>,
    /// How to reach them.
    #[arg(long)]
    contact: Option<String>,
    /// The https-bastion to serve through, for machines that nobody can connect to.
    #[arg(long, value_name = "HOST:PORT")]
    bastion: Option<String>,
    /// A PEM file with the certificates to trust for the bastion, instead of the system's.
    #[arg(long, value_name = "FILE")]
    bastion_ca: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Ed25519,
    #[value(name = "ml-dsa-44")]
    MlDsa44,
}

#[derive(Subcommand)]
enum LogCommand {
    /// Cosign for one more log, or trust one more key of a log. A witness that runs does so at once.
    Add {
        /// The log's vkey.
        #[arg(value_parser = |vkey: &str| Vkey::parse(vkey))]
        vkey: Vkey,
        /// The log's origin, where it is not the name of the key.
        #[arg(long)]
        origin: Option<Origin>,
        /// How many new heads to cosign in a day.
        #[arg(long, value_name = "N")]
        qpd: Option<u32>,
    },
    /// Print the logs, and how far each was cosigned.
    List,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Open(#[from] OpenError),
    #[error("{0}")]
    Log(#[from] LogFault),
    #[error("{0}")]
    List(#[from] ListError),
    #[error("{0}")]
    Bastion(#[from] BastionError),
    #[error("--key {0}: ed25519, ml-dsa-44, both, agent or agent:COMMENT")]
    Key(String),
    #[error("--key {asked}: the agent has these Ed25519 keys: {found}")]
    Agent { asked: String, found: String },
    #[error("can't listen on {address}: {error}")]
    Listen { address: SocketAddr, error: io::Error },
    #[error("{0}")]
    System(#[from] io::Error),
    #[error("{0}")]
    Serve(#[from] ServeError),
    #[error("{0}")]
    Selftest(#[from] SelftestError),
    #[error(
        "another process works in the folder and has not taken this up: {}. The witness does within a second, or at its \
         next start", .0.display()
    )]
    Waiting(PathBuf),
    #[error("the witness that runs could not do it, and has said why: {}", .0.display())]
    NotTaken(PathBuf),
    #[error("{0} of the rows are not answered as specified")]
    Rows(usize),
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

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        Failure::Open(error.into())
    }
}

impl Failure {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Failure::Open(OpenError::State(_)) | Failure::Serve(ServeError::Broken) => 3,
            Failure::Open(OpenError::Folder(FolderError::Locked { .. })) => 4,
            Failure::Key(_) => 2,
            _ => 1,
        }
    }
}

/// Runs one command.
pub(crate) fn run(cli: &Cli) -> Result<(), Failure> {
    let dir = cli.dir.as_path();
    match &cli.command {
        Command::Up(up) => {
            set_up(dir, up)?;
            serving::serve(cli, None)
        }
        Command::Serve { listen } => serving::serve(cli, *listen),
        Command::Keygen { name, key, encrypt } => keygen(cli, name, *key, *encrypt),
        Command::Log { command: LogCommand::Add { vkey, origin, qpd } } => {
            log_add(cli, dir, vkey, origin.as_ref(), *qpd)
        }
        Command::Log { command: LogCommand::List } => log_list(cli),
        Command::List { lists } => list(cli, lists),
        Command::Vkey => {
            let config = Config::load(dir)?;
            let keys = Keys::load(dir, &config.keys, &config.unlock())?;
            let text: Vec<String> = keys.vkeys().iter().map(Vkey::to_string).collect();
            print(cli, &text.join("\n"), || keys_json(keys.vkeys()));
            Ok(())
        }
        Command::About => page(cli, "about", about::page),
        Command::Mail => page(cli, "mail", about::mail),
        Command::Unit => {
            let unit = about::unit(&program(), &absolute(dir));
            print(cli, unit.trim_end(), || json!({ "unit": unit }));
            Ok(())
        }
        Command::Selftest => selftest(cli),
    }
}

fn program() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/usr/bin/solelog-witness"))
}

fn absolute(dir: &Path) -> PathBuf {
    std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned())
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

fn set_up(dir: &Path, up: &Up) -> Result<(), Failure> {
    let keys = match up.key.as_str() {
        "ed25519" => NewKeys::Make(vec![KeyKind::Ed25519]),
        "ml-dsa-44" => NewKeys::Make(vec![KeyKind::MlDsa44]),
        "both" => NewKeys::Make(vec![KeyKind::Ed25519, KeyKind::MlDsa44]),
        other => match other.strip_prefix("agent") {
            Some(comment) if comment.is_empty() || comment.starts_with(':') => {
                NewKeys::Use(vec![agent_key(&up.name, comment.trim_start_matches(':'), other)?])
            }
            _ => return Err(Failure::Key(other.to_owned())),
        },
    };
    SetUp { name: Some(&up.name), keys, seal: up.encrypt, logs: &up.logs }.run(dir, |config| {
        let or = |new: &Option<String>, old: &mut Option<String>| *old = new.clone().or_else(|| old.take());
        config.listen = up.listen.unwrap_or(config.listen);
        or(&up.url, &mut config.url);
        or(&up.operator, &mut config.operator);
        or(&up.contact, &mut config.contact);
        or(&up.bastion, &mut config.bastion);
        for (new, old) in [
            (&up.passphrase_file, &mut config.passphrase_file),
            (&up.age_identity_file, &mut config.age_identity_file),
            (&up.bastion_ca, &mut config.bastion_ca),
        ] {
            // The folder may be served from elsewhere later.
            *old = new.as_deref().map(absolute).or_else(|| old.take());
        }
        for list in &up.lists {
            remember(config, list);
        }
    })?;
    let unit = dir.join("solelog-witness.service");
    if !unit.exists() {
        std::fs::write(unit, about::unit(&program(), &absolute(dir)))?;
    }
    Ok(())
}

/// Files are remembered with their whole path: the next start may be elsewhere.
fn remember(config: &mut Config, list: &str) {
    config.add_all(&Additions { logs: Vec::new(), lists: vec![whole(list)] });
}

fn whole(list: &str) -> String {
    if list.contains("://") { list.to_owned() } else { absolute(Path::new(list)).display().to_string() }
}

/// The Ed25519 key of that comment in the agent, under the witness's name.
fn agent_key(name: &KeyName, comment: &str, asked: &str) -> Result<Source, Failure> {
    let socket = agent::socket().ok_or_else(|| KeyError::Agent("SSH_AUTH_SOCK is not set".to_owned()))?;
    let found = agent::identities(&socket).map_err(|error| KeyError::Agent(error.to_string()))?;
    let mut fit = found.iter().filter(|identity| comment.is_empty() || identity.comment == comment);
    match (fit.next(), fit.next()) {
        (Some(identity), None) => Ok(Source::Agent(Vkey::cosignature_v1(name.clone(), identity.key))),
        _ => {
            let found: Vec<&str> = found.iter().map(|identity| identity.comment.as_str()).collect();
            Err(Failure::Agent { asked: asked.to_owned(), found: found.join(", ") })
        }
    }
}

fn keygen(cli: &Cli, name: &KeyName, kind: Kind, encrypt: bool) -> Result<(), Failure> {
    let dir = cli.dir.as_path();
    let _folder = Folder::create(dir)?;
    let kind = match kind {
        Kind::Ed25519 => KeyKind::Ed25519,
        Kind::MlDsa44 => KeyKind::MlDsa44,
    };
    let mut config = Config::load(dir)?;
    if !Config::path(dir).exists() && !dir.join(KeyKind::Ed25519.file()).exists() {
        // The first key of a new witness, of whatever kind.
        config.keys.clear();
    }
    let unlock = config.unlock();
    let source = Source::File(kind.file().into());
    if !config.keys.is_empty() && !config.keys.contains(&source) {
        // A second key of a witness that is there: under its name.
        let keys = Keys::load(dir, &config.keys, &unlock)?;
        if keys.name() != name {
            return Err(OpenError::Name { found: keys.name().clone(), asked: name.clone() }.into());
        }
    }
    let cosigner = keys::create(dir, kind, name.clone(), encrypt.then_some(&unlock))?;
    if !config.keys.contains(&source) {
        config.keys.push(source);
        config.save(dir)?;
    }
    print(cli, &cosigner.vkey().to_string(), || key_json(cosigner.vkey()));
    Ok(())
}

fn log_add(cli: &Cli, dir: &Path, vkey: &Vkey, origin: Option<&Origin>, qpd: Option<u32>) -> Result<(), Failure> {
    let log = match origin {
        Some(origin) => TrustedLog::new(origin.clone(), vec![vkey.clone()])?,
        None => TrustedLog::from_vkey(&vkey.to_string())?,
    };
    let log = TrustedLog { qpd, ..log };
    let keys = NewKeys::Make(vec![KeyKind::Ed25519]);
    let set_up = SetUp { name: None, keys, seal: false, logs: std::slice::from_ref(&log) }.run(dir, |_| ());
    let (origin, config) = (log.origin.clone(), Config::path(dir));
    let served = match ask_instead(dir, set_up, || Additions { logs: vec![log], lists: Vec::new() })? {
        Done::Here => format!("{origin} is in {}", config.display()),
        Done::ByTheWitness => format!("{origin} is in {}, and the witness that runs serves it", config.display()),
    };
    print(cli, &served, || {
        json!({
            "origin": origin.as_str(),
            "monitoring_path": format!("/{}/checkpoint", origin.hash()),
            "config": config,
        })
    });
    Ok(())
}

/// Who did what was asked.
enum Done {
    Here,
    ByTheWitness,
}

/// Where another process works in the folder, leaves it what is to be done, and waits until it is.
fn ask_instead(
    dir: &Path,
    done: Result<(), OpenError>,
    additions: impl FnOnce() -> Additions,
) -> Result<Done, Failure> {
    match done {
        Err(OpenError::Folder(FolderError::Locked { .. })) => {}
        done => return Ok(done.map(|()| Done::Here)?),
    }
    let note = inbox::put(dir, &additions())?;
    let end = Instant::now() + TAKEN_UP_WITHIN;
    while note.exists() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut refused = note.clone().into_os_string();
    refused.push(inbox::REFUSED);
    match note.exists() {
        true => Err(Failure::Waiting(note)),
        false if Path::new(&refused).exists() => Err(Failure::NotTaken(refused.into())),
        false => Ok(Done::ByTheWitness),
    }
}

fn log_list(cli: &Cli) -> Result<(), Failure> {
    let witness = Witness::open(&cli.dir)?;
    let logs = witness.logs();
    let text: Vec<String> = logs.iter().map(|(log, size, _)| format!("{} at size {size}", log.origin)).collect();
    print(cli, &text.join("\n"), || json!({ "logs": logs_json(&witness) }));
    Ok(())
}

fn list(cli: &Cli, new: &[String]) -> Result<(), Failure> {
    let keys = NewKeys::Make(vec![KeyKind::Ed25519]);
    let set_up = SetUp { name: None, keys, seal: false, logs: &[] }.run(&cli.dir, |config| {
        for list in new {
            remember(config, list);
        }
    });
    let asked = || Additions { logs: Vec::new(), lists: new.iter().map(|list| whole(list)).collect() };
    if let Done::ByTheWitness = ask_instead(&cli.dir, set_up, asked)? {
        print(cli, "the witness that runs reads its lists now; it says what is new", || json!({ "asked": true }));
        return Ok(());
    }
    let witness = Arc::new(Witness::open(&cli.dir)?);
    let mut failed = None;
    runtime()?.block_on(lists::read_all(&witness, |list, outcome| match outcome {
        Ok(outcome) => print(cli, &outcome_text(list, &outcome), || outcome_json(list, &outcome)),
        Err(error) => failed = Some(error),
    }));
    failed.map_or(Ok(()), |error| Err(error.into()))
}

fn outcome_text(list: &str, outcome: &Outcome) -> String {
    let mut text = format!("{list}: {} added, {} known", outcome.added.len(), outcome.known);
    for origin in &outcome.other_key {
        text += &format!("\n  {origin} has another key there; ours stays");
    }
    for (origin, fault) in &outcome.unusable {
        text += &format!("\n  {origin}: {fault}");
    }
    text
}

fn outcome_json(list: &str, outcome: &Outcome) -> Value {
    let origins = |origins: &[Origin]| origins.iter().map(|origin| origin.as_str().to_owned()).collect::<Vec<_>>();
    json!({
        "list": list,
        "added": origins(&outcome.added),
        "known": outcome.known,
        "other_key": origins(&outcome.other_key),
        "unusable": outcome.unusable.iter().map(|(origin, _)| origin.as_str()).collect::<Vec<_>>(),
    })
}

fn page(cli: &Cli, name: &str, text: impl FnOnce(&Witness) -> String) -> Result<(), Failure> {
    let text = text(&Witness::open(&cli.dir)?);
    print(cli, text.trim_end(), || json!({ name: text }));
    Ok(())
}

fn selftest(cli: &Cli) -> Result<(), Failure> {
    let rows = runtime()?.block_on(selftest::run())?;
    let text: Vec<String> = (rows.iter())
        .map(|row| match &row.fault {
            None => format!("ok      {} {}", row.status, row.what),
            Some(fault) => format!("FAILED  {} {}: {fault}", row.status, row.what),
        })
        .collect();
    let failed = rows.iter().filter(|row| row.fault.is_some()).count();
    print(cli, &text.join("\n"), || {
        let rows: Vec<Value> =
            (rows.iter()).map(|row| json!({ "status": row.status, "what": row.what, "fault": row.fault })).collect();
        json!({ "rows": rows, "failed": failed })
    });
    if failed == 0 { Ok(()) } else { Err(Failure::Rows(failed)) }
}

fn logs_json(witness: &Witness) -> Vec<Value> {
    let logs = witness.logs().into_iter().map(|(log, size, time)| {
        json!({
            "origin": log.origin.as_str(),
            "size": size.get(),
            "time": time.map(tlog::cosignature::Seconds::get),
            "qpd": log.qpd,
            "contact": log.contact,
        })
    });
    logs.collect()
}

fn key_json(vkey: &Vkey) -> Value {
    json!({
        "name": vkey.name().as_str(),
        "key_id": vkey.id().to_string(),
        "vkey": vkey.to_string(),
    })
}

fn keys_json(vkeys: &[Vkey]) -> Value {
    let mut first = vkeys.first().map_or(Value::Null, key_json);
    first["vkeys"] = vkeys.iter().map(key_json).collect();
    first
}

/// Prints one thing, in the form that was asked for. Nobody reading it is no failure.
fn print(cli: &Cli, text: &str, json: impl FnOnce() -> Value) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = if cli.json { writeln!(out, "{}", json()) } else { writeln!(out, "{text}") };
    let _ = out.flush();
}

/// Says what happens while it serves, to whoever reads its errors.
fn note(cli: &Cli, what: &str, text: &str) {
    if cli.json {
        eprintln!("{}", json!({ what: text }));
    } else {
        eprintln!("{what}: {text}");
    }
}
