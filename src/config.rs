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

use crate::engine;
use crate::folder::ViewChoice;
use crate::guard;
use crate::keys;
use crate::store::view;

mod fields;
mod sections;

pub use fields::{FIELDS, Field};
pub use sections::{
    Access, Authority, Evidence, Execution, Format, Http, Keys, Limits, Logging, Pace, Verify, VerifyEngine, View,
    ViewStore, WebAuthn, Witnesses,
};

use fields::Kind;

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
    /// Which passkeys and security keys are taken.
    pub webauthn: WebAuthn,
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
impl Default for Config {
    fn default() -> Config {
        Config {
            origin: String::new(),
            data: PathBuf::new(),
            listen: SocketAddr::from(([127, 0, 0, 1], 7380)),
            keys: Keys::default(),
            authority: Authority::default(),
            webauthn: WebAuthn::default(),
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

    /// Where its outgoing key lies while a rotation lasts: `log.old.key` beside `log.key`.
    pub fn outgoing_log_key(&self) -> PathBuf {
        self.log_key().with_extension("old.key")
    }

    /// Where a key lies that signs checkpoints beside it with ML-DSA-44: `log.ml-dsa.key`.
    pub fn ml_dsa_log_key(&self) -> PathBuf {
        self.log_key().with_extension("ml-dsa.key")
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
            self.webauthn.models.as_mut(),
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
        if self.authority.second_opinion.is_some() && !self.authority.enabled {
            return refuse("authority.second_opinion", "without authority.enabled there is nothing to ask about");
        }
        if self.webauthn.rp_id.is_some() && !self.authority.enabled {
            return refuse("webauthn.rp_id", "without authority.enabled nobody enrols here who could have a passkey");
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
            authority: Authority { second_opinion: Some("s".into()), ..Authority::default() },
            webauthn: WebAuthn { rp_id: Some("r".into()), models: Some("m".into()), ..WebAuthn::default() },
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
