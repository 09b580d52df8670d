//! The witness's configuration: where it listens and which logs it knows.
//!
//! ```toml
//! listen = "127.0.0.1:8030"
//!
//! [[log]]
//! origin = "example.com/log"
//! vkeys = ["example.com/log+9c9ce35a+Af/cLU2Y5BJNP+r3iMDC+av9eWCD0fBJVDfzAux5zxAP"]
//! ```
//!
//! `solelog-witness log add` writes the second part, and makes the state that goes with it.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tlog::checkpoint::{Origin, OriginError};
use tlog::key::{Kind, Vkey, VkeyError};

use crate::disk::{self, ReplaceError};

/// Where a witness listens when nobody says otherwise.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8030);

/// The configuration of a witness.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The address to serve on.
    pub listen: SocketAddr,
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
    #[serde(default, rename = "log", skip_serializing_if = "Vec::is_empty")]
    logs: Vec<FileLog>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileLog {
    origin: String,
    vkeys: Vec<String>,
}

fn default_listen() -> SocketAddr {
    DEFAULT_LISTEN
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
        Ok(TrustedLog { origin, keys })
    }
}

impl Default for Config {
    fn default() -> Config {
        Config { listen: DEFAULT_LISTEN, logs: Vec::new() }
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
        let file: File = toml::from_str(&text).map_err(|error| ConfigError::Toml { path, error: Box::new(error) })?;
        let mut config = Config { listen: file.listen, logs: Vec::new() };
        for FileLog { origin, vkeys } in file.logs {
            let log = read_log(&origin, &vkeys).and_then(|log| {
                if config.log(&log.origin).is_some() {
                    return Err(LogFault::DuplicateOrigin);
                }
                Ok(log)
            });
            config.logs.push(log.map_err(|fault| ConfigError::Log { origin, fault })?);
        }
        Ok(config)
    }

    /// Writes the configuration to `dir`. Comments of whoever edited the file are lost; the file
    /// before is kept beside it.
    pub fn save(&self, dir: &Path) -> Result<(), ConfigError> {
        let logs = self.logs.iter().map(|log| FileLog {
            origin: log.origin.to_string(),
            vkeys: log.keys.iter().map(Vkey::to_string).collect(),
        });
        let text = toml::to_string(&File { listen: self.listen, logs: logs.collect() })?;
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
        let before = present.keys.len();
        for key in log.keys {
            if !present.keys.contains(&key) {
                present.keys.push(key);
            }
        }
        present.keys.len() > before
    }
}

fn read_log(origin: &str, vkeys: &[String]) -> Result<TrustedLog, LogFault> {
    let keys = vkeys.iter().map(|vkey| Vkey::parse(vkey));
    TrustedLog::new(Origin::new(origin)?, keys.collect::<Result<_, _>>()?)
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
