//! A key at rest: readable by its owner only, and encrypted if the operator wants it so.
//!
//! ```text
//! plain         the key itself, mode 0600
//! encrypted     an age file (age-encryption.org/v1, armored or not): a passphrase or recipients, mode 0600
//! credential    $CREDENTIALS_DIRECTORY/<name of the file>, from systemd, in memory: plain or encrypted
//! ```
//! One reader takes all of them and tells them apart by their content. A key that is both a credential and a file is
//! refused: nobody could say which of the two is used.

use std::fs;
use std::io::{self, Read, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use age::secrecy::SecretString;
use zeroize::Zeroizing;

use super::unlock::Unlock;
use crate::tokens::write_private;

/// No key, encrypted or not, comes near this.
const MAX: usize = 64 << 10;

/// Go's `age` takes this much work for a passphrase as well: about a second.
const WORK: u8 = 18;

/// Why a key file can't be used. Nothing in it quotes the content.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The system said no.
    #[error("cannot {doing} the key {path}: {error}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Others could have read or changed it.
    #[error("the key {path} has mode {mode:04o}: others can read or change it")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Both a file and a credential.
    #[error("the key {0} is there, and a systemd credential of the same name as well")]
    Twice(PathBuf),
    /// Encrypted, and nothing to open it with.
    #[error("the key {path} is encrypted, and there is no {with} to open it with")]
    Locked {
        /// The file.
        path: PathBuf,
        /// What would open it.
        with: &'static str,
    },
    /// Encrypted, and what was there did not open it.
    #[error("cannot open the encrypted file {path}: {error}")]
    Sealed {
        /// The file.
        path: PathBuf,
        /// What the library said.
        error: String,
    },
    /// Not a passphrase.
    #[error("{0} is not a passphrase: one line of text is")]
    Passphrase(PathBuf),
    /// The two that were typed differ.
    #[error("the two passphrases differ")]
    Mistyped,
    /// No passphrase from the terminal.
    #[error("cannot read a passphrase from the terminal: {0}")]
    Terminal(io::Error),
    /// Not a key of that kind.
    #[error("{path} is not {what}: {fault}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// What is wrong.
        fault: &'static str,
    },
}

impl KeyFileError {
    /// What an operator can do about it.
    pub fn advice(&self) -> Option<String> {
        match self {
            KeyFileError::Exposed { path, .. } => Some(format!(
                "chmod 0600 {}; if others may have read it, it is no secret any more: replace it",
                path.display()
            )),
            KeyFileError::Twice(path) => {
                Some(format!("remove {}, or the LoadCredential line of its name", path.display()))
            }
            KeyFileError::Locked { .. } => Some(format!(
                "set keys.passphrase_file or keys.age_identity_file, or the variable {}, or start it at a terminal",
                super::unlock::PASSPHRASE_VARIABLE
            )),
            KeyFileError::Io { error, .. } if error.kind() == io::ErrorKind::AlreadyExists => {
                Some("a key is never replaced; choose another path".to_owned())
            }
            _ => None,
        }
    }
}

/// How a key lies there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AtRest {
    /// As it is.
    Plain,
    /// Encrypted with age.
    Encrypted,
}

/// Where a key really is: the credential of that name, or the file.
pub fn locate(path: &Path, unlock: &Unlock) -> Result<PathBuf, KeyFileError> {
    let credential = unlock.credentials().zip(path.file_name()).map(|(folder, name)| folder.join(name));
    match credential.filter(|credential| credential.exists()) {
        Some(credential) if path.exists() && credential != path => Err(KeyFileError::Twice(path.to_owned())),
        Some(credential) => Ok(credential),
        None => Ok(path.to_owned()),
    }
}

/// Reads a key, opening it if it is encrypted.
pub fn read(path: &Path, unlock: &Unlock) -> Result<Zeroizing<String>, KeyFileError> {
    let path = &locate(path, unlock)?;
    let mut bytes = read_bytes(path, unlock)?;
    if at_rest(&bytes) == AtRest::Encrypted {
        bytes = unlock.open(path, &bytes)?;
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(KeyFileError::Content { path: path.clone(), what: "a key", fault: "not text" }),
    }
}

/// How the key in this file lies there.
pub fn look(path: &Path, unlock: &Unlock) -> Result<AtRest, KeyFileError> {
    Ok(at_rest(&read_bytes(&locate(path, unlock)?, unlock)?))
}

/// The bytes of a file that only its owner can have read or changed.
pub(super) fn read_bytes(path: &Path, unlock: &Unlock) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let cannot = |error| KeyFileError::Io { doing: "read", path: path.to_owned(), error };
    let file = fs::File::open(path).map_err(cannot)?;
    let mode = file.metadata().map_err(cannot)?.mode() & 0o777;
    // systemd lets the service's user in with an access list, which shows as a looser mode; its folder is closed.
    let credential = unlock.credentials().is_some_and(|folder| path.starts_with(folder));
    if mode & 0o077 != 0 && !credential {
        return Err(KeyFileError::Exposed { path: path.to_owned(), mode });
    }
    read_limited(file).map_err(cannot)
}

/// Reads all there is, within the limit, without leaving shorter copies behind by growing.
pub(super) fn read_limited(from: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX + 1));
    from.take(MAX as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "too long to be a key"));
    }
    Ok(bytes)
}

/// Writes a new key file; one that is there is never replaced.
pub fn write_new(path: &Path, text: &str) -> Result<(), KeyFileError> {
    let text = Zeroizing::new(format!("{}\n", text.trim_end()));
    write_private(path, text.as_bytes(), false).map_err(|error| KeyFileError::Io {
        doing: "write",
        path: path.to_owned(),
        error,
    })
}

/// What a key file is encrypted to.
pub enum Seal {
    /// Whoever knows the passphrase.
    Passphrase(SecretString),
    /// Whoever holds one of these identities.
    Recipients(Vec<age::x25519::Recipient>),
}

/// Encrypts a plain key file where it is. The new file is opened once before it takes the old one's place, with what
/// will have to open it at the next start, so that nobody locks themselves out. Gives false when it was encrypted before.
pub fn encrypt(path: &Path, seal: &Seal, unlock: &Unlock) -> Result<bool, KeyFileError> {
    encrypt_with_work(path, seal, unlock, WORK)
}

fn encrypt_with_work(path: &Path, seal: &Seal, unlock: &Unlock, work: u8) -> Result<bool, KeyFileError> {
    let plain = read_bytes(path, unlock)?;
    if at_rest(&plain) == AtRest::Encrypted {
        return Ok(false);
    }
    let wrong = |error: String| KeyFileError::Sealed { path: path.to_owned(), error };
    let sealed = seal.seal(&plain, work).map_err(|e| wrong(e.to_string()))?;
    if *unlock.open(path, &sealed)? != *plain {
        return Err(wrong("what was encrypted does not open to the same".to_owned()));
    }
    write_private(path, &sealed, true).map_err(|error| KeyFileError::Io {
        doing: "replace",
        path: path.to_owned(),
        error,
    })?;
    Ok(true)
}

impl Seal {
    fn seal(&self, plain: &[u8], work: u8) -> Result<Vec<u8>, age::EncryptError> {
        let scrypt;
        let recipients: Vec<&dyn age::Recipient> = match self {
            Seal::Passphrase(passphrase) => {
                let mut recipient = age::scrypt::Recipient::new(passphrase.clone());
                recipient.set_work_factor(work);
                scrypt = recipient;
                vec![&scrypt]
            }
            Seal::Recipients(recipients) => recipients.iter().map(|r| r as &dyn age::Recipient).collect(),
        };
        let encryptor = age::Encryptor::with_recipients(recipients.into_iter())?;
        let armor = age::armor::ArmoredWriter::wrap_output(Vec::new(), age::armor::Format::AsciiArmor)?;
        let mut writer = encryptor.wrap_output(armor)?;
        writer.write_all(plain)?;
        Ok(writer.finish()?.finish()?)
    }
}

fn at_rest(bytes: &[u8]) -> AtRest {
    let sealed =
        bytes.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----") || bytes.starts_with(b"age-encryption.org/v1");
    if sealed { AtRest::Encrypted } else { AtRest::Plain }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const KEY: &str = "PRIVATE+KEY+log.example+0badcafe+AAAA";

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Place {
            Place(tempfile::tempdir().expect("folder"))
        }

        fn file(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.path().join(name);
            write_new(&path, text).expect("written");
            path
        }
    }

    fn passphrase(place: &Place, text: &str) -> Unlock {
        let name = format!("passphrase-{}", text.len());
        Unlock::new(Some(place.file(&name, text)), None)
    }

    fn fails(path: &Path, unlock: &Unlock, expected: &str) {
        let error = read(path, unlock).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("AAAA"), "{error}");
    }

    #[test]
    fn a_key_that_others_can_read_or_change_is_refused() {
        let place = Place::new();
        let path = place.file("log.key", KEY);
        assert_eq!(read(&path, &Unlock::default()).expect("read").trim_end(), KEY);
        for mode in [0o640, 0o604, 0o660, 0o610] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode");
            fails(&path, &Unlock::default(), &format!("mode {mode:04o}"));
        }
    }

    #[test]
    fn a_passphrase_locks_and_opens_a_file() {
        let place = Place::new();
        let path = place.file("log.key", KEY);
        let unlock = passphrase(&place, "correct horse");
        let seal = Seal::Passphrase(unlock.new_passphrase().expect("read").expect("one"));
        assert!(encrypt_with_work(&path, &seal, &unlock, 4).expect("encrypts"));
        assert!(!encrypt_with_work(&path, &seal, &unlock, 4).expect("was before"));
        let raw = fs::read_to_string(&path).expect("text");
        assert!(raw.starts_with("-----BEGIN AGE ENCRYPTED FILE-----") && !raw.contains("PRIVATE"), "{raw}");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
        assert_eq!(look(&path, &unlock).expect("looks"), AtRest::Encrypted);
        assert_eq!(read(&path, &unlock).expect("opens").trim_end(), KEY);

        fails(&path, &Unlock::default(), "is encrypted, and there is no passphrase");
        fails(&path, &passphrase(&place, "wrong horse"), "cannot open the encrypted file");
        fs::write(&path, &raw.as_bytes()[..raw.len() / 2]).expect("cut");
        fails(&path, &unlock, "cannot open the encrypted file");
    }

    #[test]
    fn an_identity_locks_and_opens_a_file() {
        use age::secrecy::ExposeSecret as _;
        let place = Place::new();
        let path = place.file("log.key", KEY);
        let identity = age::x25519::Identity::generate();
        let file = place.file("identity.txt", identity.to_string().expose_secret());
        let unlock = Unlock::new(None, Some(file));
        let seal = Seal::Recipients(vec![identity.to_public()]);

        // Encrypted to somebody else, it would not open at the next start: the plain file stays.
        let stranger = Seal::Recipients(vec![age::x25519::Identity::generate().to_public()]);
        assert!(encrypt(&path, &stranger, &unlock).is_err());
        assert_eq!(look(&path, &unlock).expect("looks"), AtRest::Plain);

        assert!(encrypt(&path, &seal, &unlock).expect("encrypts"));
        assert_eq!(read(&path, &unlock).expect("opens").trim_end(), KEY);
        fails(&path, &Unlock::default(), "there is no age identity");
    }

    /// Made by the standard tool: `age` 1.1.1, with a passphrase and to an identity of `age-keygen`.
    const BY_PASSPHRASE: &str = "\
-----BEGIN AGE ENCRYPTED FILE-----
YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IHNjcnlwdCBLY2FTM1U0aWNQR0JHeTUz
M1NvbHlBIDE4CjFWc3B3S2p3S0Q4Q2FYbGFsdUE3dEZFSXRlT0o1blViUDVxYTBG
UkpIT28KLS0tIHhYazZGNXdTV05WS3BtOStpbjN1eGQ1TWpEdE5nS1htNHFzeVNP
L01INjAK4hhKxNXC5a1kK6txhL9a77xGTSAoIxG90TILnolPSxh1hqalBCWA7fhF
k9IA48Ea6Q5+9x7HFPloQBz0AovGKxSJnXIlnQ==
-----END AGE ENCRYPTED FILE-----
";
    const BY_IDENTITY: &str = "\
-----BEGIN AGE ENCRYPTED FILE-----
YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSB4bU1pQUM0SzA3RFowTytR
TDFlK3N2UllZSzRRTlViU044SWZ0b24rWlF3CmNXNGxNWTEza3lDQ1RQTTF3WkdW
U1FCdFBxQzdUUWo1UjFrRjhQTGlqWmsKLS0tIGFhRXlmVi9ZUDN2Z3N3R09ucFJa
ZGlrcEIvbkZOc3hiWHY1czJxUFM3ZmsKndZXiyhF2Axl02AVNZLtMHdoGFAYK/6b
2io47hacEtyAGktux9dTpQUlTcn8XygHjQrx6ae3dYpw6dv7Cc49oPogGYKkbQ==
-----END AGE ENCRYPTED FILE-----
";
    const IDENTITY: &str = "AGE-SECRET-KEY-1375YQ2HSRRWVZ09WFVDEM73KJPPG7X7W0YM2UHG5TRJ9G2SAWG7SP8MJCC";

    #[test]
    fn what_the_standard_tool_encrypts_opens() {
        let place = Place::new();
        let path = place.file("by-passphrase.key", BY_PASSPHRASE);
        assert_eq!(read(&path, &passphrase(&place, "correct horse")).expect("opens").trim_end(), KEY);
        let path = place.file("by-identity.key", BY_IDENTITY);
        let commented = format!("# created: 2026-11-21T12:12:16Z\n{IDENTITY}");
        let unlock = Unlock::new(None, Some(place.file("identity.txt", &commented)));
        assert_eq!(read(&path, &unlock).expect("opens").trim_end(), KEY);
    }

    #[test]
    fn a_binary_age_file_opens_too() {
        let place = Place::new();
        let identity = age::x25519::Identity::generate();
        let sealed = age::encrypt(&identity.to_public(), KEY.as_bytes()).expect("encrypts");
        let path = place.0.path().join("log.key");
        write_private(&path, &sealed, false).expect("written");
        use age::secrecy::ExposeSecret as _;
        let unlock = Unlock::new(None, Some(place.file("identity.txt", identity.to_string().expose_secret())));
        assert_eq!(read(&path, &unlock).expect("opens").as_str(), KEY);
    }

    #[test]
    fn a_credential_stands_in_for_the_file_but_not_beside_it() {
        let (place, systemd) = (Place::new(), Place::new());
        let path = place.0.path().join("log.key");
        let credential = systemd.file("log.key", KEY);
        // As systemd shows it when an access list lets the service in.
        fs::set_permissions(&credential, fs::Permissions::from_mode(0o440)).expect("mode");
        let unlock = Unlock::default().with_credentials(systemd.0.path().to_owned());
        assert_eq!(read(&path, &unlock).expect("read").trim_end(), KEY);
        fails(&path, &Unlock::default(), "cannot read the key");
        place.file("log.key", KEY);
        fails(&path, &unlock, "a systemd credential of the same name");
    }

    #[test]
    fn a_passphrase_is_one_line() {
        let place = Place::new();
        for (name, text) in [("two", "a\nb"), ("none", "")] {
            let path = place.0.path().join(name);
            write_private(&path, format!("{text}\n").as_bytes(), false).expect("written");
            assert!(matches!(Unlock::new(Some(path), None).passphrase(), Err(KeyFileError::Passphrase(_))), "{name}");
        }
    }

    #[test]
    fn what_is_too_long_to_be_a_key_is_not_read() {
        let place = Place::new();
        fails(&place.file("long", &"A".repeat(MAX + 1)), &Unlock::default(), "too long");
    }
}
