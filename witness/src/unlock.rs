//! What opens a key that is encrypted with age: a passphrase, or an age identity.
//!
//! ```text
//! passphrase   passphrase_file in witness.toml, else the variable SOLELOG_WITNESS_PASSPHRASE, else the terminal
//! identity     age_identity_file in witness.toml
//! ```
//!
//! Nothing is read or asked before an encrypted key needs it, and a passphrase is asked for once.

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use age::secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use crate::keys::{self, KeyError};

/// The variable with the passphrase. Whoever may read the process's environment may read it: a
/// file is better.
pub const PASSPHRASE_VARIABLE: &str = "SOLELOG_WITNESS_PASSPHRASE";

/// The work of a passphrase: 2^22 is what other implementations of age refuse beyond, too.
const MAX_WORK: u8 = 22;
/// Go's `age` takes this much work for a passphrase as well: about a second.
const WORK: u8 = 18;
/// No key, encrypted or not, comes near this.
const MAX_KEY: u64 = 64 << 10;

/// What opens encrypted keys.
#[derive(Default)]
pub struct Unlock {
    passphrase_file: Option<PathBuf>,
    identity_file: Option<PathBuf>,
    passphrase: OnceLock<SecretString>,
}

impl Unlock {
    /// What the configuration offers; the environment and the terminal are asked when needed.
    #[must_use]
    pub fn new(passphrase_file: Option<PathBuf>, identity_file: Option<PathBuf>) -> Unlock {
        Unlock { passphrase_file, identity_file, passphrase: OnceLock::new() }
    }

    /// Whether these bytes are an age file.
    #[must_use]
    pub fn is_sealed(bytes: &[u8]) -> bool {
        bytes.starts_with(b"age-encryption.org/v1\n") || bytes.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----")
    }

    /// Opens the age file that `path` had.
    pub fn open(&self, path: &Path, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let wrong = |error: String| KeyError::Sealed { path: path.to_owned(), error };
        let locked = |with| KeyError::Locked { path: path.to_owned(), with };
        let reader =
            age::Decryptor::new_buffered(age::armor::ArmoredReader::new(sealed)).map_err(|e| wrong(e.to_string()))?;
        let identities: Vec<Box<dyn age::Identity + Send + Sync>> = if reader.is_scrypt() {
            let passphrase = self.passphrase(false)?.ok_or_else(|| locked("passphrase"))?;
            let mut identity = age::scrypt::Identity::new(passphrase);
            identity.set_max_work_factor(MAX_WORK);
            vec![Box::new(identity)]
        } else {
            let file = self.identity_file.as_deref().ok_or_else(|| locked("age identity"))?;
            let bytes = keys::read_private(file)?;
            let none = |error: String| KeyError::Sealed { path: file.to_owned(), error };
            let identities = age::IdentityFile::from_buffer(bytes.as_slice()).map_err(|e| none(e.to_string()))?;
            identities.into_identities().map_err(|e| none(e.to_string()))?
        };
        let opened = reader.decrypt(identities.iter().map(|identity| &**identity as &dyn age::Identity));
        let mut bytes = Zeroizing::new(Vec::new());
        (opened.map_err(|e| wrong(e.to_string()))?)
            .take(MAX_KEY)
            .read_to_end(&mut bytes)
            .map_err(|e| wrong(e.to_string()))?;
        Ok(bytes)
    }

    /// Encrypts a new key with the passphrase.
    pub fn seal(&self, path: &Path, key: &[u8]) -> Result<Vec<u8>, KeyError> {
        let wrong = |error: String| KeyError::Sealed { path: path.to_owned(), error };
        let passphrase = self.passphrase(true)?;
        let passphrase = passphrase.ok_or_else(|| KeyError::Locked { path: path.to_owned(), with: "passphrase" })?;
        let mut recipient = age::scrypt::Recipient::new(passphrase);
        recipient.set_work_factor(WORK);
        let encryptor = age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient));
        let encryptor = encryptor.map_err(|e| wrong(e.to_string()))?;
        let mut sealed = Vec::new();
        let write = |sealed: &mut Vec<u8>| -> io::Result<()> {
            let armor = age::armor::ArmoredWriter::wrap_output(sealed, age::armor::Format::AsciiArmor)?;
            let mut writer = encryptor.wrap_output(armor)?;
            writer.write_all(key)?;
            writer.finish()?.finish().map(|_| ())
        };
        write(&mut sealed).map_err(|e| wrong(e.to_string()))?;
        Ok(sealed)
    }

    /// The passphrase; `None` when nobody has one to give. A new one that is typed is typed twice.
    fn passphrase(&self, new: bool) -> Result<Option<SecretString>, KeyError> {
        if let Some(known) = self.passphrase.get() {
            return Ok(Some(known.clone()));
        }
        let found = match &self.passphrase_file {
            Some(path) => {
                let bytes = keys::read_private(path)?;
                let text = std::str::from_utf8(&bytes).map_err(|_| KeyError::Passphrase(path.clone()))?;
                // One line: whoever made the file with an editor did not mean the end of the line.
                let line = text.strip_suffix('\n').unwrap_or(text);
                if line.is_empty() || line.contains('\n') {
                    return Err(KeyError::Passphrase(path.clone()));
                }
                SecretString::from(line)
            }
            None => match std::env::var(PASSPHRASE_VARIABLE) {
                Ok(variable) if !variable.is_empty() => SecretString::from(variable),
                _ if io::stdin().is_terminal() => ask(new)?,
                _ => return Ok(None),
            },
        };
        Ok(Some(self.passphrase.get_or_init(|| found).clone()))
    }
}

fn ask(new: bool) -> Result<SecretString, KeyError> {
    let prompt = |prompt: &str| rpassword::prompt_password(prompt).map(SecretString::from).map_err(KeyError::Terminal);
    let typed = prompt("passphrase of the witness's keys: ")?;
    if typed.expose_secret().is_empty() {
        return Err(KeyError::Terminal(io::Error::other("an empty passphrase is none")));
    }
    if new && prompt("the same again: ")?.expose_secret() != typed.expose_secret() {
        return Err(KeyError::Terminal(io::Error::other("the two passphrases differ")));
    }
    Ok(typed)
}
