//! Lists of logs that others publish: read at the start and then every few hours, for new logs.
//!
//! A list is not the configuration. What is new in it is put there; what is known stays as it is,
//! whatever a list says about it later: whoever publishes lists can't take a log away from this
//! witness, nor give it another key.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tlog::checkpoint::Origin;
use tlog::log_list::{self, ListedLog, LogListError, MAX_LIST};
use tokio::sync::Notify;

use crate::config::{LogFault, TrustedLog};
use crate::witness::{OpenError, Witness};

/// How often lists are read, in hours. A network of witnesses asks for at least once a week.
pub const EVERY_HOURS: u64 = 6;

/// How long a list may take to come.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Why a list was not read. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The file can't be read.
    #[error("{list}: {error}")]
    File {
        /// The list.
        list: String,
        /// What the system says.
        error: io::Error,
    },
    /// It can't be fetched.
    #[error("{list}: {error}")]
    Fetch {
        /// The list.
        list: String,
        /// What went wrong.
        error: reqwest::Error,
    },
    /// It is longer than a list may be.
    #[error("{0}: longer than a list may be")]
    TooLong(String),
    /// It is none.
    #[error("{list}: {error}")]
    Syntax {
        /// The list.
        list: String,
        /// What is wrong, and where.
        error: LogListError,
    },
    /// Its new logs could not be added.
    #[error("{0}")]
    Add(#[from] OpenError),
}

/// What became of a list.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Outcome {
    /// Logs that are new.
    pub added: Vec<Origin>,
    /// Logs that were known, and stay as they are.
    pub known: usize,
    /// Of those, logs that the list has with a key that we do not trust for them.
    pub other_key: Vec<Origin>,
    /// Logs with keys that this witness can't verify.
    pub unusable: Vec<(Origin, LogFault)>,
}

/// Reads a list from an `http://` or `https://` URL, or from a file.
pub async fn read(list: &str) -> Result<Vec<ListedLog>, ListError> {
    let bytes = if list.starts_with("https://") || list.starts_with("http://") {
        fetch(list).await?
    } else {
        std::fs::read(Path::new(list)).map_err(|error| ListError::File { list: list.to_owned(), error })?
    };
    log_list::parse(&bytes).map_err(|error| ListError::Syntax { list: list.to_owned(), error })
}

async fn fetch(list: &str) -> Result<Vec<u8>, ListError> {
    let failed = |error| ListError::Fetch { list: list.to_owned(), error };
    let client = reqwest::Client::builder().timeout(TIMEOUT).build().map_err(failed)?;
    let mut response = client.get(list).send().await.and_then(|r| r.error_for_status()).map_err(failed)?;
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > MAX_LIST {
            return Err(ListError::TooLong(list.to_owned()));
        }
    }
    Ok(bytes)
}

/// Adds the new logs of a list to a witness that runs. Blocks for the disk.
pub fn apply(witness: &Witness, list: Vec<ListedLog>) -> Result<Outcome, ListError> {
    let config = witness.config();
    let known: BTreeMap<&Origin, &TrustedLog> = config.logs.iter().map(|log| (&log.origin, log)).collect();
    let mut outcome = Outcome::default();
    let mut new = Vec::new();
    for listed in list {
        match known.get(&listed.origin) {
            Some(known) => {
                outcome.known += 1;
                if !known.keys.contains(&listed.vkey) {
                    outcome.other_key.push(listed.origin);
                }
            }
            None => match TrustedLog::new(listed.origin.clone(), vec![listed.vkey]) {
                Ok(log) => new.push(TrustedLog { qpd: Some(listed.qpd), contact: Some(listed.contact), ..log }),
                Err(fault) => outcome.unusable.push((listed.origin, fault)),
            },
        }
    }
    outcome.added = witness.add_logs(new)?.into_iter().map(|log| log.origin).collect();
    Ok(outcome)
}

/// Reads the configured lists once; says what became of each.
pub async fn read_all(witness: &Arc<Witness>, mut say: impl FnMut(&str, Result<Outcome, ListError>)) {
    for list in witness.config().lists {
        let outcome = match read(&list).await {
            Ok(read) => {
                let witness = witness.clone();
                match tokio::task::spawn_blocking(move || apply(&witness, read)).await {
                    Ok(outcome) => outcome,
                    // It panicked, or the runtime is ending.
                    Err(_) => return,
                }
            }
            Err(error) => Err(error),
        };
        say(&list, outcome);
    }
}

/// Reads the configured lists every few hours, and whenever it is `asked` to, for ever. The first
/// time is now.
pub async fn follow(witness: Arc<Witness>, asked: &Notify, mut say: impl FnMut(&str, Result<Outcome, ListError>)) {
    loop {
        read_all(&witness, &mut say).await;
        // Both mean the same: read them again.
        let _ = tokio::time::timeout(Duration::from_secs(EVERY_HOURS * 3600), asked.notified()).await;
    }
}
