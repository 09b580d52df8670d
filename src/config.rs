//! Configuration: one TOML file. The environment overrides the file, and flags override both.
//!
//! ```text
//! flag  --set limits.opening_bytes=65536
//!   over  SOLELOG_LIMITS_OPENING_BYTES=65536
//!     over  [limits] opening_bytes = 65536
//!       over  the default
//! ```
//!
//! [`FIELDS`] is the one place that says what each field is for. The commented file that `solelog init` writes, the
//! names in the environment and the output of `solelog config show` all come from it. A key that nobody reads is an
//! error: a typing mistake in a limit must not silently mean the default.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};
use verifier::Choice;

use crate::authority;
use crate::engine;
use crate::folder::ViewChoice;
use crate::guard;
use crate::keys;
use crate::store::view;
use crate::submission::Allowance;

/// Everything that can be configured. [`FIELDS`] documents each field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The name of the log, on every checkpoint it will ever sign.
    pub origin: String,
    /// The log's folder.
    pub data: PathBuf,
    /// Where HTTP is served.
    pub listen: SocketAddr,
    /// Where the keys lie.
    pub keys: Keys,
    /// Where people enrol and authorise.
    pub authority: Authority,
    /// What is done about what was authorised.
    pub execution: Execution,
    /// Who must have seen a checkpoint before the world does.
    pub witnesses: Witnesses,
    /// Who may see what the entries commit to.
    pub evidence: Evidence,
    /// The key-value view.
    pub view: View,
    /// Upper bounds.
    pub limits: Limits,
    /// How signatures are verified.
    pub verify: Verify,
    /// When things happen.
    pub pace: Pace,
    /// The HTTP server.
    pub http: Http,
    /// What the program says about itself while it runs.
    pub logging: Logging,
}

/// Where the keys lie.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
    /// The file with the log's signing key.
    pub log: Option<PathBuf>,
    /// The folder with the provider's keys.
    pub folder: Option<PathBuf>,
    /// A file with the passphrase of encrypted keys.
    pub passphrase_file: Option<PathBuf>,
    /// A file with the age identities that open encrypted keys.
    pub age_identity_file: Option<PathBuf>,
}

/// Where people enrol and authorise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Authority {
    /// Whether they can do so here at all.
    pub enabled: bool,
    /// The provider's name in credentials.
    pub issuer: String,
    /// How long a credential is valid.
    pub credential_days: u64,
    /// How often the second factor may be wrong without being right in between.
    pub attempts: u64,
    /// How often it may be wrong ever.
    pub attempts_ever: u64,
    /// How long a challenge is open.
    pub challenge_ms: u64,
    /// How many may be open for one credential.
    pub challenges: usize,
    /// How many requests that do not verify are answered in a minute.
    pub strangers: u32,
}

/// What is done about what was authorised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Execution {
    /// Whether documents are signed.
    pub documents: bool,
}

/// Who must have seen a checkpoint before the world does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Witnesses {
    /// A c2sp.org/tlog-policy file.
    pub policy: Option<PathBuf>,
    /// Without witnesses: the file outside `data` that remembers what was signed.
    pub high_water: Option<PathBuf>,
    /// How long a candidate head waits for its quorum.
    pub timeout_ms: u64,
    /// How long the rollback guard asks at the start.
    pub guard_timeout_ms: u64,
}

/// Who may see what the entries commit to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Evidence {
    /// Everybody, or tokens with the scope `read`.
    pub access: Access,
}

/// The key-value view: index key to entry, authorisation to entry, credential to state. Derived, and made again at need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct View {
    /// The library that keeps it.
    pub store: ViewStore,
}

/// Libraries that can keep the view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ViewStore {
    /// redb.
    #[default]
    Redb,
    /// sled 0.34.
    Sled,
}

/// Who may see openings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Everybody.
    Public,
    /// Tokens with the scope `read`.
    #[default]
    Restricted,
}

/// Upper bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The longest opening.
    pub opening_bytes: usize,
    /// The most records in one batch.
    pub batch_records: usize,
    /// The most bytes in one batch.
    pub batch_bytes: usize,
    /// The most bytes one round writes.
    pub round_bytes: usize,
    /// The most bytes that wait, in all.
    pub waiting_bytes: usize,
    /// The most requests that one token may have open.
    pub token_in_flight: usize,
    /// The most connections.
    pub connections: usize,
}

/// How signatures are verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Verify {
    /// What computes.
    pub engine: VerifyEngine,
    /// Threads that verify.
    pub threads: usize,
    /// One accepted record in so many is verified again, by another engine.
    pub recheck_one_in: u64,
}

/// What verifies signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VerifyEngine {
    /// The fastest that this processor has.
    #[default]
    Auto,
    /// AWS-LC, on every processor.
    Portable,
    /// Eight at a time; no start where the processor can't.
    Vector,
}

/// When things happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pace {
    /// The least time between two signed heads.
    pub head_interval_ms: u64,
    /// How long an append waits beyond `sequenced`.
    pub patience_ms: u64,
    /// How much journal there may be before the next snapshot.
    pub snapshot_every_bytes: u64,
}

/// The HTTP server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// How long the head of a request may take.
    pub header_timeout_ms: u64,
    /// How long the body of a request may take.
    pub body_timeout_ms: u64,
    /// How long a peer may take nothing of its answer.
    pub write_timeout_ms: u64,
    /// How long open requests may go on after a stop was asked for.
    pub shutdown_timeout_ms: u64,
}

/// What the program says about itself while it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Logging {
    /// Lines for people, or JSON for machines.
    pub format: Format,
    /// A `tracing` filter.
    pub filter: String,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people, to standard error.
    #[default]
    Text,
    /// One JSON object a line, to standard error.
    Json,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            origin: String::new(),
            data: PathBuf::new(),
            listen: SocketAddr::from(([127, 0, 0, 1], 7380)),
            keys: Keys::default(),
            authority: Authority::default(),
            execution: Execution::default(),
            witnesses: Witnesses::default(),
            evidence: Evidence::default(),
            view: View::default(),
            limits: Limits::default(),
            verify: Verify::default(),
            pace: Pace::default(),
            http: Http::default(),
            logging: Logging::default(),
        }
    }
}

impl Default for Authority {
    fn default() -> Authority {
        let settings = authority::Settings::default();
        Authority {
            enabled: false,
            issuer: settings.issuer,
            credential_days: settings.credential_ms / DAY_MS,
            attempts: settings.allowance.in_a_row,
            attempts_ever: settings.allowance.in_all,
            challenge_ms: settings.challenges.open_ms,
            challenges: settings.challenges.per_credential,
            strangers: settings.strangers,
        }
    }
}

impl Authority {
    /// What the authority is told.
    pub fn settings(&self) -> authority::Settings {
        let defaults = authority::Settings::default();
        authority::Settings {
            issuer: self.issuer.clone(),
            credential_ms: self.credential_days.saturating_mul(DAY_MS),
            allowance: Allowance { in_a_row: self.attempts, in_all: self.attempts_ever },
            challenges: authority::challenges::Limits {
                open_ms: self.challenge_ms,
                per_credential: self.challenges,
                ..defaults.challenges
            },
            strangers: self.strangers,
        }
    }
}

const DAY_MS: u64 = 86_400_000;

impl Default for Witnesses {
    fn default() -> Witnesses {
        Witnesses { policy: None, high_water: None, timeout_ms: 5_000, guard_timeout_ms: 30_000 }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            opening_bytes: 256 << 10,
            batch_records: engine::MAX_BATCH,
            batch_bytes: 8 << 20,
            round_bytes: 8 << 20,
            waiting_bytes: 64 << 20,
            token_in_flight: 256,
            connections: 4096,
        }
    }
}

impl Default for Verify {
    fn default() -> Verify {
        let engine::Verify { threads, recheck_one_in, .. } = engine::Verify::default();
        Verify { engine: VerifyEngine::Auto, threads, recheck_one_in }
    }
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { head_interval_ms: 0, patience_ms: 10_000, snapshot_every_bytes: 64 << 20 }
    }
}

impl Default for Http {
    fn default() -> Http {
        Http {
            header_timeout_ms: 10_000,
            body_timeout_ms: 10_000,
            write_timeout_ms: 30_000,
            shutdown_timeout_ms: 20_000,
        }
    }
}

impl Default for Logging {
    fn default() -> Logging {
        Logging { format: Format::Text, filter: "info".to_owned() }
    }
}

/// What a field holds, for reading it from the environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Boolean,
}

/// One field: where it is, what an example looks like, and why it is there.
#[derive(Debug)]
pub struct Field {
    /// `section.name`, or `name` at the top.
    pub path: &'static str,
    /// A value as it is written in TOML: the default, or an example where there is none.
    pub example: &'static str,
    /// What it is for.
    pub why: &'static str,
    kind: Kind,
}

impl Field {
    /// The name of the environment variable that overrides it.
    pub fn variable(&self) -> String {
        format!("SOLELOG_{}", self.path.replace('.', "_").to_uppercase())
    }
}

const fn text(path: &'static str, example: &'static str, why: &'static str) -> Field {
    Field { path, example, why, kind: Kind::Text }
}

const fn number(path: &'static str, example: &'static str, why: &'static str) -> Field {
    Field { path, example, why, kind: Kind::Number }
}

const fn boolean(path: &'static str, example: &'static str, why: &'static str) -> Field {
    Field { path, example, why, kind: Kind::Boolean }
}

/// Every field, in the order of the file.
pub const FIELDS: &[Field] = &[
    text(
        "origin",
        "\"log.example/2026h2\"",
        "The name of the log, on every checkpoint it will ever sign. It never changes.",
    ),
    text(
        "data",
        "\"/var/lib/solelog\"",
        "The log's folder. One process at a time; relative paths start at this file's folder.",
    ),
    text(
        "listen",
        "\"127.0.0.1:7380\"",
        "Where HTTP is served. TLS belongs in a proxy before it; /metrics and /readyz are meant for inside.",
    ),
    text(
        "keys.log",
        "\"keys/log.key\"",
        "The log's signing key; default: log.key in keys.folder. A mode looser than 0600 is refused.",
    ),
    text(
        "keys.folder",
        "\"keys\"",
        "The provider's keys: master.N.key, issuing.key, document.key; default: keys in `data`. Each may be a systemd credential of its name instead.",
    ),
    text(
        "keys.passphrase_file",
        "\"/run/credentials/solelog.service/keys.passphrase\"",
        "One line that opens keys encrypted with a passphrase; without it SOLELOG_KEYS_PASSPHRASE, and without that the terminal is asked.",
    ),
    text(
        "keys.age_identity_file",
        "\"/etc/solelog/age-identity.txt\"",
        "The identities (AGE-SECRET-KEY-…) that open keys encrypted to age recipients. A mode looser than 0600 is refused.",
    ),
    boolean(
        "authority.enabled",
        "true",
        "Whether people can enrol and authorise here. It needs the provider's keys: a master secret and an issuing key of this log.",
    ),
    text("authority.issuer", "\"Example Wallet\"", "The provider's name, as credentials say it."),
    number("authority.credential_days", "730", "How long a credential is valid."),
    number(
        "authority.attempts",
        "5",
        "How often the second factor may be wrong, without being right in between, before the credential is suspended.",
    ),
    number(
        "authority.attempts_ever",
        "100",
        "How often it may be wrong ever. Nothing resets this count but a new credential.",
    ),
    number("authority.challenge_ms", "120000", "How long a challenge is open. A restart voids every open one."),
    number(
        "authority.challenges",
        "8",
        "How many challenges may be open for one credential: with many, signatures could be forged across sessions.",
    ),
    number(
        "authority.strangers",
        "10",
        "How many requests that do not verify are answered in a minute, for each credential and each address; later ones get 429.",
    ),
    boolean(
        "execution.documents",
        "true",
        "Whether digests of documents are signed (JWS, ES256) for instructions of class document.sign, once the checkpoint that covers them is published. It needs the authority, and a document key in the provider's key folder.",
    ),
    text(
        "witnesses.policy",
        "\"witness-policy.txt\"",
        "A c2sp.org/tlog-policy file: witnesses and quorum. With it, no checkpoint is published that the quorum has not cosigned.",
    ),
    text(
        "witnesses.high_water",
        "\"/var/lib/solelog-high-water\"",
        "Without witnesses: a file outside `data`, and outside its backups, that remembers what was signed, so that a restored backup is noticed.",
    ),
    number(
        "witnesses.timeout_ms",
        "5000",
        "How long a candidate head waits for its quorum before a newer one takes its place.",
    ),
    number(
        "witnesses.guard_timeout_ms",
        "30000",
        "How long the start keeps asking the witnesses what they last cosigned, before it gives up.",
    ),
    text(
        "evidence.access",
        "\"restricted\"",
        "Who may see openings (the records behind the entries): \"restricted\" = tokens with the scope `read`; \"public\" = everybody.",
    ),
    text(
        "view.store",
        "\"redb\"",
        "What keeps the key-value view, which can be made again from the log at any time: \"redb\", or \"sled\", whose memory grows with the log (ten times as much at a million entries).",
    ),
    number(
        "limits.opening_bytes",
        "262144",
        "The longest opening. Verifiers elsewhere take 262144; less is possible here, more is not.",
    ),
    number("limits.batch_records", "1024", "The most records in one batch."),
    number("limits.batch_bytes", "8388608", "The most bytes in one batch."),
    number("limits.round_bytes", "8388608", "The most bytes that one round of the sequencer writes."),
    number(
        "limits.waiting_bytes",
        "67108864",
        "The most bytes that may wait for verification, and again for sequencing; beyond it callers get 503.",
    ),
    number(
        "limits.token_in_flight",
        "256",
        "The most requests one token may have open, so that one client can't fill the queue; beyond it 429.",
    ),
    number("limits.connections", "4096", "The most connections; later ones wait in the kernel's queue."),
    text(
        "verify.engine",
        "\"auto\"",
        "What verifies signatures: \"vector\" (eight at a time; needs AVX-512 IFMA), \"portable\" (AWS-LC), or \"auto\", the fastest that this processor has.",
    ),
    number("verify.threads", "0", "Threads that verify signatures. 0: one per core."),
    number(
        "verify.recheck_one_in",
        "100",
        "One accepted record in so many is verified again by another engine, in the background; a difference is an alarm (`solelog_record_rechecks_total`). 0: none.",
    ),
    number(
        "pace.head_interval_ms",
        "0",
        "The least time between two signed heads. 0: as fast as the disk syncs. Raise it for small quotas at witnesses.",
    ),
    number(
        "pace.patience_ms",
        "10000",
        "How long an append waits beyond `sequenced`; after that the answer says what was reached.",
    ),
    number(
        "pace.snapshot_every_bytes",
        "67108864",
        "How many bytes of journal there may be before the next snapshot: what a restart replays at most.",
    ),
    number("http.header_timeout_ms", "10000", "How long the head of a request may take to arrive."),
    number("http.body_timeout_ms", "10000", "How long the body of a request may take to arrive."),
    number(
        "http.write_timeout_ms",
        "30000",
        "How long a peer may take nothing of an answer that waits for it, before its connection is ended.",
    ),
    number("http.shutdown_timeout_ms", "20000", "How long requests under way may go on after SIGTERM."),
    text("logging.format", "\"text\"", "\"text\" for people or \"json\" for machines; on standard error."),
    text("logging.filter", "\"info\"", "What is said, as a `tracing` filter: \"info\", \"warn\", \"solelog=debug\"."),
];

/// Why there is no usable configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The file is not TOML, or has a key or value that is not one of ours.
    #[error("{path}: {error}")]
    Toml {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its line.
        error: Box<toml::de::Error>,
    },
    /// A value from the environment or a flag does not fit its field.
    #[error("{source_of}: {error}")]
    Override {
        /// The variable or flag.
        source_of: String,
        /// What is wrong.
        error: String,
    },
    /// The values don't make sense.
    #[error("{field}: {fault}")]
    Value {
        /// The field.
        field: &'static str,
        /// What is wrong and what to do.
        fault: String,
    },
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Nobody set it.
    Default,
    /// The file.
    File,
    /// This variable.
    Environment(String),
    /// A flag.
    Flag,
}

/// A configuration, and where each value came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// Per path of [`FIELDS`].
    pub sources: BTreeMap<&'static str, Source>,
}

impl Config {
    /// Reads a file and applies the environment and the flags (`section.name=value`) over it.
    pub fn load(
        path: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &[String],
    ) -> Result<Loaded, ConfigError> {
        let source =
            std::fs::read_to_string(path).map_err(|error| ConfigError::Read { path: path.to_owned(), error })?;
        let wrong = |error| ConfigError::Toml { path: path.to_owned(), error: Box::new(error) };
        // The file alone first, so that a fault in it is shown with its line.
        toml::from_str::<Config>(&source).map_err(wrong)?;
        let mut table: Table = toml::from_str(&source).map_err(wrong)?;
        let mut sources: BTreeMap<&'static str, Source> = FIELDS
            .iter()
            .map(|f| (f.path, if lookup(&table, f.path).is_some() { Source::File } else { Source::Default }))
            .collect();
        let environment: BTreeMap<String, String> = environment.into_iter().collect();
        for field in FIELDS {
            let variable = field.variable();
            if let Some(value) = environment.get(&variable) {
                set(&mut table, field, value)
                    .map_err(|error| ConfigError::Override { source_of: variable.clone(), error })?;
                sources.insert(field.path, Source::Environment(variable));
            }
        }
        for flag in flags {
            let wrong = |error: String| ConfigError::Override { source_of: format!("--set {flag}"), error };
            let (name, value) =
                flag.split_once('=').ok_or_else(|| wrong("write it as section.name=value".to_owned()))?;
            let field = FIELDS
                .iter()
                .find(|f| f.path == name)
                .ok_or_else(|| wrong(format!("there is no field {name}; `solelog config show` lists them")))?;
            set(&mut table, field, value).map_err(wrong)?;
            sources.insert(field.path, Source::Flag);
        }
        let mut config: Config = Value::Table(table).try_into().map_err(|e: toml::de::Error| {
            ConfigError::Override { source_of: "environment or flags".to_owned(), error: e.message().to_owned() }
        })?;
        let folder = path.parent().unwrap_or_else(|| Path::new("."));
        config.resolve(folder);
        config.check()?;
        Ok(Loaded { config, sources })
    }

    /// Where the log's key lies.
    pub fn log_key(&self) -> PathBuf {
        self.keys.log.clone().unwrap_or_else(|| self.key_folder().join(keys::folder::LOG))
    }

    /// Where the provider's keys lie.
    pub fn key_folder(&self) -> PathBuf {
        self.keys.folder.clone().unwrap_or_else(|| self.data.join("keys"))
    }

    /// What opens them.
    pub fn unlock(&self) -> keys::Unlock {
        keys::Unlock::new(self.keys.passphrase_file.clone(), self.keys.age_identity_file.clone())
    }

    /// The engine's own folder.
    pub fn log_dir(&self) -> PathBuf {
        self.data.join("log")
    }

    /// Where the tokens lie.
    pub fn tokens(&self) -> PathBuf {
        self.data.join("tokens.json")
    }

    /// What the engine is told about bounds.
    pub fn engine_limits(&self) -> engine::Limits {
        engine::Limits {
            round_bytes: self.limits.round_bytes,
            in_flight_bytes: self.limits.waiting_bytes,
            opening_bytes: self.limits.opening_bytes,
            spare_bytes: engine::Limits::default().spare_bytes,
        }
    }

    /// How signatures are verified, as the engine takes it.
    pub fn engine_verify(&self) -> engine::Verify {
        let engine = match self.verify.engine {
            VerifyEngine::Auto => Choice::Auto,
            VerifyEngine::Portable => Choice::Portable,
            VerifyEngine::Vector => Choice::Vector,
        };
        engine::Verify { engine, threads: self.verify.threads, recheck_one_in: self.verify.recheck_one_in }
    }

    /// Which view the engine uses.
    pub fn engine_view(&self) -> ViewChoice {
        match self.view.store {
            ViewStore::Redb => ViewChoice::Redb(view::Options::default()),
            ViewStore::Sled => ViewChoice::Sled(view::Options::default()),
        }
    }

    /// When things happen, as the engine takes it.
    pub fn engine_pace(&self) -> engine::Pace {
        engine::Pace {
            head_interval: Duration::from_millis(self.pace.head_interval_ms),
            witness_timeout: Duration::from_millis(self.witnesses.timeout_ms),
            patience: Duration::from_millis(self.pace.patience_ms),
            snapshot_every_bytes: self.pace.snapshot_every_bytes,
            guard_timeout: Duration::from_millis(self.witnesses.guard_timeout_ms),
        }
    }

    fn resolve(&mut self, folder: &Path) {
        let paths = [
            Some(&mut self.data),
            self.keys.log.as_mut(),
            self.keys.folder.as_mut(),
            self.keys.passphrase_file.as_mut(),
            self.keys.age_identity_file.as_mut(),
            self.witnesses.policy.as_mut(),
            self.witnesses.high_water.as_mut(),
        ];
        for path in paths.into_iter().flatten() {
            if !path.as_os_str().is_empty() && path.is_relative() {
                *path = folder.join(&*path);
            }
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        let refuse = |field, fault: &str| Err(ConfigError::Value { field, fault: fault.to_owned() });
        if self.origin.is_empty() {
            return refuse("origin", "missing; it is the name the log was made with (`solelog init --origin NAME`)");
        }
        if self.origin.len() > 255 {
            return refuse("origin", "longer than 255 bytes");
        }
        if self.data.as_os_str().is_empty() {
            return refuse("data", "missing; it is the folder the log was made in (`solelog init --data DIR`)");
        }
        if self.witnesses.policy.is_none() && self.witnesses.high_water.is_none() {
            return refuse(
                "witnesses",
                "neither `policy` nor `high_water` is set: nothing would notice a restored backup. Name a policy file, or a file outside `data`",
            );
        }
        if self.witnesses.high_water.as_ref().is_some_and(|h| guard::lies_in(h, &self.data)) {
            return refuse(
                "witnesses.high_water",
                "lies in `data`, so a restored backup would bring its own memory along; choose a path outside",
            );
        }
        if self.execution.documents && !self.authority.enabled {
            return refuse(
                "execution.documents",
                "without authority.enabled nobody enrols here whose documents could be signed",
            );
        }
        let limits = &self.limits;
        let bounded = [
            ("limits.opening_bytes", limits.opening_bytes, scal3_opening_max()),
            ("limits.batch_records", limits.batch_records, engine::MAX_BATCH),
            ("limits.batch_bytes", limits.batch_bytes, 8 << 20),
            ("limits.round_bytes", limits.round_bytes, 64 << 20),
            // A semaphore counts these, and its permits are 32 bits wide when taken at once.
            ("limits.waiting_bytes", limits.waiting_bytes, 1 << 30),
            ("limits.token_in_flight", limits.token_in_flight, 1 << 20),
            ("limits.connections", limits.connections, 1 << 20),
        ];
        for (field, value, max) in bounded {
            if value == 0 || value > max {
                return Err(ConfigError::Value { field, fault: format!("{value} is not between 1 and {max}") });
            }
        }
        if limits.waiting_bytes < limits.batch_bytes {
            return refuse(
                "limits.waiting_bytes",
                "smaller than limits.batch_bytes: the largest batch could never be taken",
            );
        }
        for (field, value) in [
            ("http.header_timeout_ms", self.http.header_timeout_ms),
            ("http.body_timeout_ms", self.http.body_timeout_ms),
            ("http.write_timeout_ms", self.http.write_timeout_ms),
            ("pace.patience_ms", self.pace.patience_ms),
            ("witnesses.timeout_ms", self.witnesses.timeout_ms),
        ] {
            if value == 0 {
                return refuse(field, "must be more than 0");
            }
        }
        Ok(())
    }
}

fn scal3_opening_max() -> usize {
    scal3::limits::OPENING_MAX
}

/// The text of a configuration file: every field with its reason, the given ones set, all others as comments.
pub fn render(set: &[(&str, String)]) -> String {
    let mut out = String::from(
        "# The log's configuration. Check it:  solelog config check --config THIS_FILE\n\
         # Every field can also be set as SOLELOG_<SECTION>_<FIELD> or with --set section.field=value.\n",
    );
    let mut section = "";
    for field in FIELDS {
        let (inside, name) = field.path.split_once('.').unwrap_or(("", field.path));
        if inside != section {
            section = inside;
            let _ = write!(out, "\n[{section}]\n");
        }
        let _ = writeln!(out, "# {}", field.why);
        match set.iter().find(|(path, _)| *path == field.path) {
            Some((_, value)) => {
                let value = match field.kind {
                    Kind::Text => Value::String(value.clone()).to_string(),
                    Kind::Number | Kind::Boolean => value.clone(),
                };
                let _ = writeln!(out, "{name} = {value}");
            }
            None => {
                let _ = writeln!(out, "# {name} = {}", field.example);
            }
        }
    }
    out
}

/// The value at a path, if the table has it.
pub fn lookup<'a>(table: &'a Table, path: &str) -> Option<&'a Value> {
    match path.split_once('.') {
        None => table.get(path),
        Some((section, name)) => table.get(section)?.as_table()?.get(name),
    }
}

fn set(table: &mut Table, field: &Field, text: &str) -> Result<(), String> {
    let value = match field.kind {
        Kind::Text => Value::String(text.to_owned()),
        Kind::Number => {
            Value::Integer(text.parse().map_err(|_| format!("{} takes a number, not {text:?}", field.path))?)
        }
        Kind::Boolean => {
            Value::Boolean(text.parse().map_err(|_| format!("{} takes true or false, not {text:?}", field.path))?)
        }
    };
    match field.path.split_once('.') {
        None => {
            table.insert(field.path.to_owned(), value);
        }
        Some((section, name)) => {
            let inner = table.entry(section.to_owned()).or_insert_with(|| Value::Table(Table::new()));
            let inner = inner.as_table_mut().ok_or_else(|| format!("{section} is not a section"))?;
            inner.insert(name.to_owned(), value);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "origin = \"log.example\"\ndata = \"d\"\n[witnesses]\nhigh_water = \"/elsewhere/hw\"\n";

    fn load(text: &str, environment: &[(&str, &str)], flags: &[&str]) -> Result<Loaded, ConfigError> {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("log.toml");
        std::fs::write(&path, text).expect("file");
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let flags: Vec<String> = flags.iter().map(|f| (*f).to_owned()).collect();
        Config::load(&path, environment, &flags)
    }

    #[test]
    fn every_field_is_documented_and_every_documented_field_exists() {
        let full = Config {
            keys: Keys {
                log: Some("k".into()),
                folder: Some("f".into()),
                passphrase_file: Some("p".into()),
                age_identity_file: Some("a".into()),
            },
            witnesses: Witnesses { policy: Some("p".into()), high_water: Some("h".into()), ..Witnesses::default() },
            ..Config::default()
        };
        let table = Table::try_from(&full).expect("a config is a table");
        let mut real: Vec<String> = Vec::new();
        for (name, value) in &table {
            match value {
                Value::Table(inner) => real.extend(inner.keys().map(|k| format!("{name}.{k}"))),
                _ => real.push(name.clone()),
            }
        }
        real.sort();
        let mut documented: Vec<String> = FIELDS.iter().map(|f| f.path.to_owned()).collect();
        documented.sort();
        assert_eq!(real, documented);
    }

    #[test]
    fn the_examples_of_numbers_are_the_defaults() {
        let table = Table::try_from(Config::default()).expect("table");
        let mut compared = 0;
        for field in FIELDS.iter().filter(|f| f.kind == Kind::Number) {
            let default = lookup(&table, field.path).expect(field.path);
            assert_eq!(default.to_string(), field.example, "{}", field.path);
            compared += 1;
        }
        assert!(compared > 10);
    }

    #[test]
    fn the_rendered_file_is_a_configuration() {
        let text = render(&[
            ("origin", "log.example".into()),
            ("data", "/var/lib/solelog".into()),
            ("witnesses.high_water", "/elsewhere/hw".into()),
        ]);
        let loaded = load(&text, &[], &[]).expect("loads");
        assert_eq!(loaded.config.origin, "log.example");
        // With every comment taken away, the examples are values of the right type too.
        let all: String = text
            .lines()
            .map(|l| match l.strip_prefix("# ") {
                Some(rest) if rest.split_once(" = ").is_some_and(|(k, _)| !k.contains(' ')) => format!("{rest}\n"),
                _ => format!("{l}\n"),
            })
            .collect();
        let loaded = load(&all, &[], &[]).expect("loads");
        assert!(loaded.sources.values().all(|s| *s == Source::File));
    }

    #[test]
    fn flags_win_over_the_environment_over_the_file() {
        let text = format!("{SMALL}[limits]\nbatch_records = 10\ntoken_in_flight = 1\n");
        let loaded = load(
            &text,
            &[("SOLELOG_LIMITS_BATCH_RECORDS", "20"), ("SOLELOG_LISTEN", "[::1]:9")],
            &["limits.batch_records=30"],
        )
        .expect("loads");
        assert_eq!(loaded.config.limits.batch_records, 30);
        assert_eq!(loaded.config.limits.token_in_flight, 1);
        assert_eq!(loaded.config.listen, "[::1]:9".parse().expect("address"));
        assert_eq!(loaded.sources["limits.batch_records"], Source::Flag);
        assert_eq!(loaded.sources["limits.token_in_flight"], Source::File);
        assert_eq!(loaded.sources["listen"], Source::Environment("SOLELOG_LISTEN".into()));
        assert_eq!(loaded.sources["limits.batch_bytes"], Source::Default);
    }

    #[test]
    fn what_does_not_make_sense_is_refused_with_its_field() {
        let cases: &[(&str, &str)] = &[
            ("", "origin: missing"),
            ("origin = \"x\"", "data: missing"),
            ("origin = \"x\"\ndata = \"d\"", "neither `policy` nor `high_water`"),
            ("orgin = \"x\"", "unknown field `orgin`"),
            ("origin = \"x\"\n[limits]\nopening = 1", "unknown field `opening`"),
            ("origin = \"x\"\ndata = \"d\"\n[witnesses]\nhigh_water = \"d/hw\"", "lies in `data`"),
            ("origin = 7", "invalid type"),
            (
                "origin = \"x\"\ndata = \"d\"\n[witnesses]\nhigh_water = \"h\"\n[limits]\nbatch_records = 0",
                "not between 1 and",
            ),
            (
                "origin = \"x\"\ndata = \"d\"\n[witnesses]\nhigh_water = \"h\"\n[limits]\nopening_bytes = 999999",
                "not between 1 and",
            ),
            (
                "origin = \"x\"\ndata = \"d\"\n[witnesses]\nhigh_water = \"h\"\n[execution]\ndocuments = true",
                "without authority.enabled",
            ),
            (
                "origin = \"x\"\ndata = \"d\"\n[witnesses]\nhigh_water = \"h\"\n[evidence]\naccess = \"some\"",
                "unknown variant `some`",
            ),
        ];
        for (text, expected) in cases {
            let error = load(text, &[], &[]).expect_err(text).to_string();
            assert!(error.contains(expected), "{text:?} gave {error}");
        }
        let error =
            load(SMALL, &[("SOLELOG_LIMITS_BATCH_RECORDS", "many")], &[]).expect_err("not a number").to_string();
        assert!(error.starts_with("SOLELOG_LIMITS_BATCH_RECORDS: "), "{error}");
        let error = load(SMALL, &[], &["limits.no=1"]).expect_err("no such field").to_string();
        assert!(error.contains("there is no field limits.no"), "{error}");
    }

    #[test]
    fn relative_paths_start_at_the_file() {
        let loaded = load(SMALL, &[], &[]).expect("loads");
        assert!(loaded.config.data.is_absolute());
        assert_eq!(loaded.config.log_key(), loaded.config.data.join("keys/log.key"));
    }
}
