//! Tokens: who may append, and who may read what the entries commit to.
//!
//! ```text
//! printed once    slt_Zm9v…        32 random bytes
//! kept            SHA-256 of it    DATA/tokens.json, mode 0600
//! ```
//!
//! Whoever reads the file learns no token. A presented one is hashed and compared with every kept hash, in constant
//! time, so that an answer's time says nothing either. The server looks whether the file has changed at every request:
//! a revoked token is refused by the next one. A file that can't be read refuses everybody, rather than go on with
//! tokens that may have been revoked.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zeroize::Zeroizing;

/// What every token begins with, so that a leaked one is recognised by scanners and by people.
const PREFIX: &str = "slt_";

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Append records and credentials.
    Append,
    /// Read openings: the records behind the entries.
    Read,
    /// Begin enrolments.
    Enrol,
    /// Open intents for any credential.
    Authorise,
    /// Suspend, resume, revoke and recover credentials.
    Manage,
}

impl Scope {
    /// Its name in the file and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Scope::Append => "append",
            Scope::Read => "read",
            Scope::Enrol => "enrol",
            Scope::Authorise => "authorise",
            Scope::Manage => "manage",
        }
    }
}

/// A token as the file keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Eight hex digits to speak of it by; drawn on its own, so that it says nothing about the token.
    pub id: String,
    /// Whose it is.
    pub name: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// SHA-256 of the token, hex.
    pub sha256: String,
    /// When it was made.
    pub created_ms: u64,
    /// From when on it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    tokens: Vec<Token>,
}

/// Why a token file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// The system said no.
    #[error("cannot {doing} {path}: {error}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Others may read it.
    #[error("{path} has mode {mode:04o}; run: chmod 0600 {path}")]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is not ours, or of a later version.
    #[error("{path} is not a token file of this version: {fault}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fault: String,
    },
}

/// Makes a token and adds it to the file. What is returned is the only copy.
pub fn create(
    path: &Path,
    name: &str,
    scopes: &[Scope],
    now_ms: u64,
    expires_ms: Option<u64>,
) -> Result<(Token, Zeroizing<String>), TokenFileError> {
    let mut secret = Zeroizing::new([0_u8; 32]);
    let mut id = [0_u8; 4];
    for bytes in [secret.as_mut_slice(), id.as_mut_slice()] {
        getrandom::fill(bytes).map_err(|e| TokenFileError::Io {
            doing: "draw randomness for",
            path: path.to_owned(),
            error: io::Error::other(e.to_string()),
        })?;
    }
    let text = Zeroizing::new(format!("{PREFIX}{}", Base64UrlUnpadded::encode_string(secret.as_slice())));
    let mut scopes = scopes.to_vec();
    scopes.sort_unstable();
    scopes.dedup();
    let token = Token {
        id: hex::encode(id),
        name: name.to_owned(),
        scopes,
        sha256: hex::encode(Sha256::digest(text.as_bytes())),
        created_ms: now_ms,
        expires_ms,
    };
    let _lock = Exclusive::take(path)?;
    let mut tokens = read(path)?;
    tokens.push(token.clone());
    write(path, &tokens)?;
    Ok((token, text))
}

/// Takes a token out of the file, by its id or its name. Gives back those that were taken out.
pub fn revoke(path: &Path, which: &str) -> Result<Vec<Token>, TokenFileError> {
    let _lock = Exclusive::take(path)?;
    let (gone, kept): (Vec<Token>, Vec<Token>) =
        read(path)?.into_iter().partition(|t| t.id == which || t.name == which);
    if !gone.is_empty() {
        write(path, &kept)?;
    }
    Ok(gone)
}

/// Every token in the file; none where there is no file.
pub fn read(path: &Path) -> Result<Vec<Token>, TokenFileError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(TokenFileError::Io { doing: "read", path: path.to_owned(), error }),
    };
    let mode =
        fs::metadata(path).map_err(|error| TokenFileError::Io { doing: "read", path: path.to_owned(), error })?.mode()
            & 0o777;
    if mode & 0o077 != 0 {
        return Err(TokenFileError::Mode { path: path.to_owned(), mode });
    }
    let wrong = |fault: String| TokenFileError::Content { path: path.to_owned(), fault };
    let file: File = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
    if file.version != 1 {
        return Err(wrong(format!("version {}", file.version)));
    }
    for token in &file.tokens {
        let right = hex::decode(&token.sha256).is_ok_and(|h| h.len() == 32);
        if !right {
            return Err(wrong(format!("the hash of token {} is not 64 hex digits", token.id)));
        }
    }
    Ok(file.tokens)
}

/// One writer at a time, so that two commands at once don't lose a token, or worse, a revocation.
struct Exclusive(#[expect(dead_code, reason = "held for its lock")] fs::File);

impl Exclusive {
    fn take(path: &Path) -> Result<Exclusive, TokenFileError> {
        let lock = path.with_extension("lock");
        let wrong = |error| TokenFileError::Io { doing: "lock", path: lock.clone(), error };
        let file =
            fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&lock).map_err(wrong)?;
        file.lock().map_err(wrong)?;
        Ok(Exclusive(file))
    }
}

fn write(path: &Path, tokens: &[Token]) -> Result<(), TokenFileError> {
    let file = File { version: 1, tokens: tokens.to_vec() };
    let text = serde_json::to_string_pretty(&file)
        .map_err(|e| TokenFileError::Content { path: path.to_owned(), fault: e.to_string() })?;
    write_private(path, text.as_bytes(), true).map_err(|error| TokenFileError::Io {
        doing: "write",
        path: path.to_owned(),
        error,
    })
}

/// Writes a file that only its owner can read: whole or not at all, and on stable storage when this returns.
/// Without `replace`, a file that is already there is an error.
pub fn write_private(path: &Path, bytes: &[u8], replace: bool) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    let temporary = folder.join(format!(".{name}.{}.tmp", std::process::id()));
    let _ = fs::remove_file(&temporary);
    let mut file = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    if replace {
        fs::rename(&temporary, path)?;
    } else {
        let linked = fs::hard_link(&temporary, path);
        fs::remove_file(&temporary)?;
        linked?;
    }
    fs::File::open(folder)?.sync_all()
}

/// Why a request may not do what it asks.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// No `Authorization: Bearer` header.
    #[error("a token is needed")]
    Missing,
    /// A token that is not in the file, or no longer.
    #[error("the token is not known, was revoked, or has expired")]
    Unknown,
    /// A token without the scope.
    #[error("the token lacks the scope `{}`", .needs.name())]
    Scope {
        /// What it would need.
        needs: Scope,
    },
    /// The token has too many requests open.
    #[error("the token already has {limit} requests open")]
    Quota {
        /// How many it may have.
        limit: usize,
    },
    /// The file can't be read: nobody gets in.
    #[error("the token file cannot be read")]
    Unreadable(#[source] Arc<TokenFileError>),
}

/// The tokens as a running server knows them.
#[derive(Debug)]
pub struct Tokens {
    path: PathBuf,
    in_flight: usize,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    stamp: Option<Stamp>,
    tokens: Result<Vec<Entry>, Arc<TokenFileError>>,
    quotas: HashMap<String, Arc<Semaphore>>,
}

impl Default for Known {
    fn default() -> Known {
        Known { stamp: None, tokens: Ok(Vec::new()), quotas: HashMap::new() }
    }
}

#[derive(Debug, Clone)]
struct Entry {
    hash: [u8; 32],
    token: Arc<Token>,
}

/// What changes when a file is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    length: u64,
    mode: u32,
    changed: (i64, i64),
}

/// A request that has shown a token. Its place in the token's quota is free again when this is dropped.
#[derive(Debug)]
pub struct Admitted {
    /// The token, as the file has it.
    pub token: Arc<Token>,
    _place: OwnedSemaphorePermit,
}

impl Tokens {
    /// The tokens in that file. Each may have `in_flight` requests open.
    pub fn open(path: PathBuf, in_flight: usize) -> Tokens {
        Tokens { path, in_flight, known: Mutex::default() }
    }

    /// Whether the file can be read, for `/readyz`.
    pub fn readable(&self) -> Result<usize, Arc<TokenFileError>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        self.refresh(&mut known);
        known.tokens.as_ref().map(Vec::len).map_err(Arc::clone)
    }

    /// Admits a request that shows `presented`, if its token has the scope.
    pub fn admit(&self, presented: Option<&str>, needs: Scope, now_ms: u64) -> Result<Admitted, AuthError> {
        let presented = presented.ok_or(AuthError::Missing)?;
        let hash: [u8; 32] = Sha256::digest(presented.as_bytes()).into();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        self.refresh(&mut known);
        let entries = known.tokens.as_ref().map_err(|e| AuthError::Unreadable(Arc::clone(e)))?;
        let mut found: Option<Arc<Token>> = None;
        for entry in entries {
            let same: Choice = entry.hash.ct_eq(&hash);
            if bool::from(same) {
                found = Some(Arc::clone(&entry.token));
            }
        }
        let token = found.filter(|t| t.expires_ms.is_none_or(|e| now_ms < e)).ok_or(AuthError::Unknown)?;
        if !token.scopes.contains(&needs) {
            return Err(AuthError::Scope { needs });
        }
        let limit = self.in_flight;
        let quota = known.quotas.entry(token.id.clone()).or_insert_with(|| Arc::new(Semaphore::new(limit)));
        let place = Arc::clone(quota).try_acquire_owned().map_err(|_| AuthError::Quota { limit })?;
        Ok(Admitted { token, _place: place })
    }

    fn refresh(&self, known: &mut Known) {
        let stamp = fs::metadata(&self.path).ok().map(|m| Stamp {
            inode: m.ino(),
            length: m.len(),
            mode: m.mode(),
            changed: (m.ctime(), m.ctime_nsec()),
        });
        // An absent file, and one that could not be read for a reason that may have passed, is read again each time.
        let good = known.tokens.is_ok();
        if stamp.is_some() && stamp == known.stamp && good {
            return;
        }
        let news = good || stamp != known.stamp;
        known.stamp = stamp;
        known.tokens = match read(&self.path) {
            Ok(tokens) => Ok(tokens.into_iter().filter_map(entry).collect()),
            Err(error) => {
                if news {
                    tracing::error!(%error, "the token file can't be read: every token is refused until it can");
                }
                Err(Arc::new(error))
            }
        };
        if let Ok(entries) = &known.tokens {
            known.quotas.retain(|id, _| entries.iter().any(|e| e.token.id == *id));
        }
    }
}

fn entry(token: Token) -> Option<Entry> {
    let hash = <[u8; 32]>::try_from(hex::decode(&token.sha256).ok()?).ok()?;
    Some(Entry { hash, token: Arc::new(token) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn file() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("tokens.json");
        (folder, path)
    }

    #[test]
    fn a_token_is_shown_once_and_only_its_hash_is_kept() {
        let (_folder, path) = file();
        let (token, text) =
            create(&path, "backend-1", &[Scope::Read, Scope::Append, Scope::Read], 5, None).expect("made");
        assert_eq!(token.scopes, [Scope::Append, Scope::Read]);
        let kept = fs::read_to_string(&path).expect("file");
        assert!(!kept.contains(text.as_str()) && !kept.contains(&text[PREFIX.len()..]));
        assert_eq!(fs::metadata(&path).expect("file").mode() & 0o777, 0o600);
        assert_eq!(text.len(), PREFIX.len() + 43);
    }

    #[test]
    fn a_request_gets_in_with_the_right_token_and_scope_only() {
        let (_folder, path) = file();
        let tokens = Tokens::open(path.clone(), 2);
        assert!(matches!(tokens.admit(None, Scope::Append, 0), Err(AuthError::Missing)));
        assert!(matches!(tokens.admit(Some("slt_x"), Scope::Append, 0), Err(AuthError::Unknown)));

        let (_, writer) = create(&path, "writer", &[Scope::Append], 0, Some(100)).expect("made");
        let admitted = tokens.admit(Some(&writer), Scope::Append, 99).expect("made without a restart");
        assert_eq!(admitted.token.name, "writer");
        assert!(matches!(tokens.admit(Some(&writer), Scope::Read, 99), Err(AuthError::Scope { needs: Scope::Read })));
        assert!(matches!(tokens.admit(Some(&writer), Scope::Append, 100), Err(AuthError::Unknown)), "it expires");
    }

    #[test]
    fn a_token_has_so_many_requests_open_and_no_more() {
        let (_folder, path) = file();
        let tokens = Tokens::open(path.clone(), 2);
        let (_, one) = create(&path, "one", &[Scope::Append], 0, None).expect("made");
        let (_, two) = create(&path, "two", &[Scope::Append], 0, None).expect("made");
        let first = tokens.admit(Some(&one), Scope::Append, 0).expect("first");
        let _second = tokens.admit(Some(&one), Scope::Append, 0).expect("second");
        assert!(matches!(tokens.admit(Some(&one), Scope::Append, 0), Err(AuthError::Quota { limit: 2 })));
        tokens.admit(Some(&two), Scope::Append, 0).expect("another token has its own places");
        drop(first);
        tokens.admit(Some(&one), Scope::Append, 0).expect("a place is free again");
    }

    #[test]
    fn a_revoked_token_is_refused_by_the_next_request() {
        let (_folder, path) = file();
        let tokens = Tokens::open(path.clone(), 9);
        let (token, text) = create(&path, "one", &[Scope::Append], 0, None).expect("made");
        tokens.admit(Some(&text), Scope::Append, 0).expect("in");
        assert_eq!(revoke(&path, &token.id).expect("revoked").len(), 1);
        assert!(matches!(tokens.admit(Some(&text), Scope::Append, 0), Err(AuthError::Unknown)));
        assert!(revoke(&path, "nobody").expect("no such token").is_empty());
    }

    #[test]
    fn a_file_that_cannot_be_trusted_refuses_everybody() {
        let (_folder, path) = file();
        let tokens = Tokens::open(path.clone(), 9);
        let (_, text) = create(&path, "one", &[Scope::Append], 0, None).expect("made");
        tokens.admit(Some(&text), Scope::Append, 0).expect("in");

        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("chmod");
        assert!(matches!(tokens.admit(Some(&text), Scope::Append, 0), Err(AuthError::Unreadable(_))));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
        tokens.admit(Some(&text), Scope::Append, 0).expect("in again");

        fs::write(&path, "{\"version\":2,\"tokens\":[]}").expect("write");
        assert!(matches!(tokens.admit(Some(&text), Scope::Append, 0), Err(AuthError::Unreadable(_))));
        assert!(tokens.readable().is_err());
    }

    #[test]
    fn a_private_file_is_never_replaced_by_accident() {
        let (_folder, path) = file();
        write_private(&path, b"one", false).expect("new");
        assert_eq!(write_private(&path, b"two", false).expect_err("there").kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).expect("read"), b"one");
        assert_eq!(fs::read_dir(path.parent().expect("folder")).expect("list").count(), 1, "nothing is left behind");
    }
}
