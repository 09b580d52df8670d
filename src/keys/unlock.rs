//! What opens key files that are encrypted: a passphrase or an age identity.
//!
//! ```text
//! passphrase   keys.passphrase_file, else the variable SOLELOG_KEYS_PASSPHRASE, else asked for at the terminal
//! identity     keys.age_identity_file
//! ```
//! Both files are held to what key files are held to: their owner's only, or a systemd credential. Nothing is read or
//! asked before an encrypted file needs it, and a passphrase is asked for once.

use std::fmt;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use age::secrecy::SecretString;
use zeroize::Zeroizing;

use super::file::{self, KeyFileError};

/// The variable with the passphrase. Whoever may read the process's environment may read it: a file is better.
pub const PASSPHRASE_VARIABLE: &str = "SOLELOG_KEYS_PASSPHRASE";

/// The work of a passphrase: 2^22 is what other implementations of age refuse beyond, too.
const MAX_WORK: u8 = 22;

/// What opens key files.
#[derive(Default)]
pub struct Unlock {
    passphrase_file: Option<PathBuf>,
    passphrase_variable: Option<SecretString>,
    terminal: bool,
    identity_file: Option<PathBuf>,
    credentials: Option<PathBuf>,
    passphrase: OnceLock<SecretString>,
}

impl Unlock {
    /// What the configuration, the environment, systemd and the person at the terminal have to offer.
    pub fn new(passphrase_file: Option<PathBuf>, identity_file: Option<PathBuf>) -> Unlock {
        Unlock {
            passphrase_file,
            passphrase_variable: std::env::var(PASSPHRASE_VARIABLE).ok().map(SecretString::from),
            terminal: std::io::stdin().is_terminal(),
            identity_file,
            credentials: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
            passphrase: OnceLock::new(),
        }
    }

    /// The same, with that folder of systemd credentials instead of the environment's.
    #[must_use]
    pub fn with_credentials(self, folder: PathBuf) -> Unlock {
        Unlock { credentials: Some(folder), ..self }
    }

    /// The folder of systemd credentials, if the process has one.
    pub fn credentials(&self) -> Option<&Path> {
        self.credentials.as_deref()
    }

    /// The passphrase; `None` when nobody has one to give.
    pub fn passphrase(&self) -> Result<Option<&SecretString>, KeyFileError> {
        if let Some(known) = self.passphrase.get() {
            return Ok(Some(known));
        }
        let found = match (&self.passphrase_file, &self.passphrase_variable) {
            (Some(path), _) => {
                let bytes = file::read_bytes(path, self)?;
                let text = std::str::from_utf8(&bytes).map_err(|_| KeyFileError::Passphrase(path.clone()))?;
                // One line: whoever made the file with an editor did not mean the end of the line.
                let line = text.strip_suffix('\n').unwrap_or(text);
                if line.is_empty() || line.contains('\n') {
                    return Err(KeyFileError::Passphrase(path.clone()));
                }
                SecretString::from(line)
            }
            (None, Some(variable)) => variable.clone(),
            (None, None) if self.terminal => ask("passphrase of the keys: ")?,
            (None, None) => return Ok(None),
        };
        Ok(Some(self.passphrase.get_or_init(|| found)))
    }

    /// A passphrase for new files: one that has to be typed is typed twice.
    pub fn new_passphrase(&self) -> Result<Option<SecretString>, KeyFileError> {
        let typed = self.terminal && self.passphrase_file.is_none() && self.passphrase_variable.is_none();
        let Some(first) = self.passphrase()?.cloned() else { return Ok(None) };
        if typed {
            use age::secrecy::ExposeSecret as _;
            let second = ask("the same again: ")?;
            if first.expose_secret() != second.expose_secret() {
                return Err(KeyFileError::Mistyped);
            }
        }
        Ok(Some(first))
    }

    /// Opens an age file.
    pub fn open(&self, path: &Path, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
        let wrong = |error: age::DecryptError| KeyFileError::Sealed { path: path.to_owned(), error: error.to_string() };
        let locked = |with| KeyFileError::Locked { path: path.to_owned(), with };
        let reader = age::Decryptor::new_buffered(age::armor::ArmoredReader::new(sealed)).map_err(wrong)?;
        let identities: Vec<Box<dyn age::Identity + Send + Sync>> = if reader.is_scrypt() {
            let passphrase = self.passphrase()?.ok_or_else(|| locked("passphrase"))?;
            let mut identity = age::scrypt::Identity::new(passphrase.clone());
            identity.set_max_work_factor(MAX_WORK);
            vec![Box::new(identity)]
        } else {
            let file = self.identity_file.as_deref().ok_or_else(|| locked("age identity"))?;
            let bytes = file::read_bytes(file, self)?;
            let identities = age::IdentityFile::from_buffer(bytes.as_slice());
            let none = |error: String| KeyFileError::Sealed { path: file.to_owned(), error };
            identities.map_err(|e| none(e.to_string()))?.into_identities().map_err(|e| none(e.to_string()))?
        };
        let opened =
            reader.decrypt(identities.iter().map(|identity| &**identity as &dyn age::Identity)).map_err(wrong)?;
        file::read_limited(opened)
            .map_err(|error| KeyFileError::Sealed { path: path.to_owned(), error: error.to_string() })
    }
}

fn ask(prompt: &str) -> Result<SecretString, KeyFileError> {
    let typed = rpassword::prompt_password(prompt).map_err(KeyFileError::Terminal)?;
    if typed.is_empty() {
        return Err(KeyFileError::Terminal(std::io::Error::other("an empty passphrase is none")));
    }
    Ok(SecretString::from(typed))
}

impl fmt::Debug for Unlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unlock")
            .field("passphrase_file", &self.passphrase_file)
            .field("identity_file", &self.identity_file)
            .field("credentials", &self.credentials)
            .finish_non_exhaustive()
    }
}
