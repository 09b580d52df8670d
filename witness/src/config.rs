//! The witness's configuration: where it listens, its keys, and which logs it knows.
//!
//! ```toml
//! listen = "127.0.0.1:8030"
//! keys = ["witness.key", "witness-ml-dsa-44.key"]      # or "agent:<vkey>"
//! url = "https://witness.example/w1"                   # for the about page
//! lists = ["https://witness-network.example/log-list"]
//! bastion = "bastion.example:443"
//!
//! [[log]]
//! origin = "example.com/log"
//! vkeys = ["example.com/log+9c9ce35a+Af/cLU2Y5BJNP+r3iMDC+av9eWCD0fBJVDfzAux5zxAP"]
//! qpd = 8640                                           # new heads in a day
//! ```
//!
//! `solelog-witness up`, `log add` and `list` write it, and make the state that goes with a log. A
//! witness that runs reads it again on SIGHUP.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tlog::checkpoint::{Origin, OriginError};
use tlog::key::{Kind, Vkey, VkeyError};

use crate::disk::{self, ReplaceError};
use crate::keys::{KeyKind, Source, SourceError};
use crate::unlock::Unlock;

/// Where a witness listens when nobody says otherwise.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8030);

/// The configuration of a witness.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The address to serve on.
    pub listen: SocketAddr,
    /// Where the keys are. One, or one of each kind.
    pub keys: Vec<Source>,
    /// The file with the passphrase of encrypted keys.
    pub passphrase_file: Option<PathBuf>,
    /// The file with the age identity that encrypted keys are encrypted to.
    pub age_identity_file: Option<PathBuf>,
    /// For how many seconds a cosignature is handed out again for the same checkpoint, before
    /// another one is made.
    pub refresh_s: u64,
    /// The submission prefix as the world sees it.
    pub url: Option<String>,
    /// Who runs this witness, for the about page.
    pub operator: Option<String>,
    /// How to reach them.
    pub contact: Option<String>,
    /// URLs or files of lists of logs.
    pub lists: Vec<String>,
    /// The bastion to serve through, `host:port`.
    pub bastion: Option<String>,
    /// A PEM file with certificates to trust for the bastion, besides those of the system.
    pub bastion_ca: Option<PathBuf>,
    /// The logs to cosign for. No two have one origin.
    pub logs: Vec<TrustedLog>,
}

/// A log that the witness knows, and the keys it trusts for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrustedLog {
    /// The log's origin.
    pub origin: Origin,
    /// Keys of which any one may sign its checkpoints. Type 0x01 or 0x06 each.
    pub keys: Vec<Vkey>,
    /// How many new heads are cosigned in a day (UTC); `None` for no limit.
    pub qpd: Option<u32>,
    /// How to reach its operator, as a list says.
    pub contact: Option<String>,
}

/// What is to be added to a configuration.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Additions {
    /// New logs, or more keys and other limits of known ones.
    pub logs: Vec<TrustedLog>,
    /// Lists to follow.
    pub lists: Vec<String>,
}

/// Why there is no configuration to work by.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The file can't be written.
    #[error("{}: {error}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What became of it.
        error: ReplaceError,
    },
    /// It is not TOML of this shape.
    #[error("{}: {error}", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        error: Box<toml::de::Error>,
    },
    /// What was to be written can't be put into TOML.
    #[error("the configuration can't be written: {0}")]
    Encode(#[from] toml::ser::Error),
    /// A key is in no place.
    #[error("{}: keys: {error}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: SourceError,
    },
    /// A log is not one.
    #[error("log {origin}: {fault}")]
    Log {
        /// Its origin, as written.
        origin: String,
        /// What is wrong with it.
        fault: LogFault,
    },
}

/// What is wrong with a log of the configuration.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LogFault {
    /// Its origin is none.
    #[error("{0}")]
    Origin(#[from] OriginError),
    /// A key is none.
    #[error("{0}")]
    Vkey(#[from] VkeyError),
    /// A key of a type that this witness can't verify.
    #[error("key type {0:#04x}: this witness verifies logs with Ed25519 keys (0x01) and ML-DSA-44 keys (0x06)")]
    Kind(u8),
    /// There is no key.
    #[error("no key")]
    NoKey,
    /// Another log has this origin.
    #[error("this origin is listed before")]
    DuplicateOrigin,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default = "default_listen")]
    listen: SocketAddr,
    #[serde(default = "default_keys")]
    keys: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    passphrase_file: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    age_identity_file: Option<PathBuf>,
    #[serde(default = "default_refresh")]
    refresh_s: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    operator: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    contact: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    lists: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bastion: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bastion_ca: Option<PathBuf>,
    #[serde(default, rename = "log", skip_serializing_if = "Vec::is_empty")]
    logs: Vec<FileLog>,
}

/// The part of the file that [`Additions`] are.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileAdditions {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    lists: Vec<String>,
    #[serde(default, rename = "log", skip_serializing_if = "Vec::is_empty")]
    logs: Vec<FileLog>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileLog {
    origin: String,
    vkeys: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    qpd: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    contact: Option<String>,
}

fn default_listen() -> SocketAddr {
    DEFAULT_LISTEN
}

fn default_keys() -> Vec<String> {
    vec![KeyKind::Ed25519.file().to_owned()]
}

/// A time has no finer grain than a second, so within one nothing newer could be said.
fn default_refresh() -> u64 {
    1
}

impl TrustedLog {
    /// A log with one key, whose name is the log's origin, as tlog-checkpoint recommends.
    pub fn from_vkey(vkey: &str) -> Result<TrustedLog, LogFault> {
        let vkey = Vkey::parse(vkey)?;
        let origin = Origin::new(vkey.name().as_str())?;
        TrustedLog::new(origin, vec![vkey])
    }

    /// A log with keys of any names.
    pub fn new(origin: Origin, keys: Vec<Vkey>) -> Result<TrustedLog, LogFault> {
        if keys.is_empty() {
            return Err(LogFault::NoKey);
        }
        for key in &keys {
            if !matches!(key.kind(), Kind::Ed25519 | Kind::MlDsa44) {
                return Err(LogFault::Kind(key.kind().byte()));
            }
        }
        Ok(TrustedLog { origin, keys, qpd: None, contact: None })
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: DEFAULT_LISTEN,
            keys: vec![Source::File(KeyKind::Ed25519.file().into())],
            passphrase_file: None,
            age_identity_file: None,
            refresh_s: default_refresh(),
            url: None,
            operator: None,
            contact: None,
            lists: Vec::new(),
            bastion: None,
            bastion_ca: None,
            logs: Vec::new(),
        }
    }
}

impl Config {
    /// Where the configuration of the witness in `dir` is.
    #[must_use]
    pub fn path(dir: &Path) -> PathBuf {
        dir.join("witness.toml")
    }

    /// Reads the configuration in `dir`. Without the file it is the default one: no logs.
    pub fn load(dir: &Path) -> Result<Config, ConfigError> {
        let path = Config::path(dir);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Config::default()),
            Err(error) => return Err(ConfigError::Read { path, error }),
        };
        let file: File =
            toml::from_str(&text).map_err(|error| ConfigError::Toml { path: path.clone(), error: Box::new(error) })?;
        let keys = file.keys.iter().map(|key| key.parse());
        Ok(Config {
            listen: file.listen,
            keys: keys.collect::<Result<_, _>>().map_err(|error| ConfigError::Key { path, error })?,
            passphrase_file: file.passphrase_file,
            age_identity_file: file.age_identity_file,
            refresh_s: file.refresh_s,
            url: file.url,
            operator: file.operator,
            contact: file.contact,
            lists: file.lists,
            bastion: file.bastion,
            bastion_ca: file.bastion_ca,
            logs: read_logs(&file.logs)?,
        })
    }

    /// What opens encrypted keys.
    #[must_use]
    pub fn unlock(&self) -> Unlock {
        Unlock::new(self.passphrase_file.clone(), self.age_identity_file.clone())
    }

    /// Writes the configuration to `dir`. Comments of whoever edited the file are lost; the file
    /// before is kept beside it.
    pub fn save(&self, dir: &Path) -> Result<(), ConfigError> {
        let logs = self.logs.iter().map(FileLog::of);
        let config = self.clone();
        let text = toml::to_string(&File {
            listen: self.listen,
            keys: self.keys.iter().map(Source::to_string).collect(),
            passphrase_file: config.passphrase_file,
            age_identity_file: config.age_identity_file,
            refresh_s: self.refresh_s,
            url: config.url,
            operator: config.operator,
            contact: config.contact,
            lists: config.lists,
            bastion: config.bastion,
            bastion_ca: config.bastion_ca,
            logs: logs.collect(),
        })?;
        let path = Config::path(dir);
        disk::replace(&path, text.as_bytes()).map_err(|error| ConfigError::Write { path, error })
    }

    /// The log of this origin.
    #[must_use]
    pub fn log(&self, origin: &Origin) -> Option<&TrustedLog> {
        self.logs.iter().find(|log| log.origin == *origin)
    }

    /// Adds a log, or keys to the log of that origin. Says whether anything is new.
    pub fn add(&mut self, log: TrustedLog) -> bool {
        let Some(present) = self.logs.iter_mut().find(|l| l.origin == log.origin) else {
            self.logs.push(log);
            return true;
        };
        let before = present.clone();
        for key in log.keys {
            if !present.keys.contains(&key) {
                present.keys.push(key);
            }
        }
        present.qpd = log.qpd.or(present.qpd);
        *present != before
    }

    /// Adds logs, keys of logs, and lists.
    pub fn add_all(&mut self, additions: &Additions) {
        for log in &additions.logs {
            self.add(log.clone());
        }
        for list in &additions.lists {
            if !self.lists.contains(list) {
                self.lists.push(list.clone());
            }
        }
    }
}

impl FileLog {
    fn of(log: &TrustedLog) -> FileLog {
        FileLog {
            origin: log.origin.to_string(),
            vkeys: log.keys.iter().map(Vkey::to_string).collect(),
            qpd: log.qpd,
            contact: log.contact.clone(),
        }
    }
}

impl Additions {
    /// Reads them from the text of the file at `path`.
    pub fn from_toml(path: &Path, text: &str) -> Result<Additions, ConfigError> {
        let file: FileAdditions = toml::from_str(text)
            .map_err(|error| ConfigError::Toml { path: path.to_owned(), error: Box::new(error) })?;
        Ok(Additions { logs: read_logs(&file.logs)?, lists: file.lists })
    }

    /// The text that [`Additions::from_toml`] reads.
    pub fn to_toml(&self) -> Result<String, ConfigError> {
        let logs = self.logs.iter().map(FileLog::of).collect();
        Ok(toml::to_string(&FileAdditions { lists: self.lists.clone(), logs })?)
    }
}

fn read_logs(logs: &[FileLog]) -> Result<Vec<TrustedLog>, ConfigError> {
    let mut origins = BTreeSet::new();
    let read = |log: &FileLog| {
        let fault = |fault| ConfigError::Log { origin: log.origin.clone(), fault };
        let read = read_log(log).map_err(fault)?;
        if origins.insert(read.origin.clone()) { Ok(read) } else { Err(fault(LogFault::DuplicateOrigin)) }
    };
    logs.iter().map(read).collect()
}

fn read_log(log: &FileLog) -> Result<TrustedLog, LogFault> {
    let keys = log.vkeys.iter().map(|vkey| Vkey::parse(vkey));
    let read = TrustedLog::new(Origin::new(&log.origin)?, keys.collect::<Result<_, _>>()?)?;
    Ok(TrustedLog { qpd: log.qpd, contact: log.contact.clone(), ..read })
}

#[cfg(test)]
mod tests {
    use super::*;

    const VKEY: &str = "example.com/log+9c9ce35a+Af/cLU2Y5BJNP+r3iMDC+av9eWCD0fBJVDfzAux5zxAP";
    const COSIGNER: &str = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2";

    #[test]
    fn what_is_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Config::load(dir.path()).unwrap(), Config::default());
        let mut config = Config::default();
        assert!(config.add(TrustedLog::from_vkey(VKEY).unwrap()));
        assert!(!config.add(TrustedLog::from_vkey(VKEY).unwrap()));
        assert!(config.add(TrustedLog { qpd: Some(8640), ..TrustedLog::from_vkey(VKEY).unwrap() }));
        config.keys.push("witness-ml-dsa-44.key".parse().unwrap());
        config.url = Some("https://witness.example/w1".to_owned());
        config.lists.push("https://witness-network.example/log-list".to_owned());
        config.bastion = Some("bastion.example:443".to_owned());
        config.save(dir.path()).unwrap();
        assert_eq!(Config::load(dir.path()).unwrap(), config);
    }

    #[test]
    fn mistakes_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let fault = |toml: &str| {
            fs::write(Config::path(dir.path()), toml).unwrap();
            Config::load(dir.path()).unwrap_err().to_string()
        };
        let log = format!("[[log]]\norigin = \"a\"\nvkeys = [\"{VKEY}\"]\n");
        assert!(fault("liste = \"127.0.0.1:1\"\n").contains("unknown field `liste`"));
        assert!(fault(&(log.clone() + &log)).contains("listed before"));
        assert!(fault(&log.replace("9c9c", "9c9d")).contains("does not belong"));
        assert!(fault(&log.replace(VKEY, COSIGNER)).contains("0x04"));
        assert!(fault("[[log]]\norigin = \"a\"\nvkeys = []\n").contains("no key"));
    }
}
