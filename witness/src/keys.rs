//! The witness's keys: where they lie, and how they sign.
//!
//! ```text
//! witness.key              PRIVATE+KEY+<name>+<key ID>+<base64( type || seed )>, mode 0600; or that, encrypted with age
//! witness-ml-dsa-44.key    the same for the other kind
//! $CREDENTIALS_DIRECTORY/witness.key        instead of the file: a systemd credential
//! agent:<vkey>             an Ed25519 key in the ssh-agent at $SSH_AUTH_SOCK
//! ```
//!
//! A witness has one name and one or two keys, of different kinds; each cosigns. The name is in
//! the key, so nothing else can disagree with it. A key file is made once, never overwritten, and
//! refused when anybody but its owner may read it.

use std::fmt;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tlog::checkpoint::Checkpoint;
use tlog::cosignature::{CheckpointCosignature, Cosigner, Seconds, assemble, signed_bytes};
use tlog::key::{KeyName, Kind, SecretError, Vkey, VkeyError};
use tlog::note::SignatureLine;
use tlog::sign_subtree::SubtreeToSign;
use zeroize::Zeroizing;

use crate::agent::{self, AgentKey};
use crate::disk;
use crate::unlock::Unlock;

/// The most bytes of a key file.
const MAX_FILE: u64 = 64 << 10;

/// Why there is no key to sign with.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file is not there.
    #[error("{} does not exist; `solelog-witness keygen` makes a key", .0.display())]
    Missing(PathBuf),
    /// A key is there already; it is never overwritten.
    #[error("{} exists; a key is never overwritten", .0.display())]
    Exists(PathBuf),
    /// Both a file and a credential.
    #[error("{} is there, and a systemd credential of the same name as well: nobody could say which is used", .0.display())]
    Twice(PathBuf),
    /// Others may read or change it.
    #[error("{} has mode {mode:03o}; others may read it: chmod 600, or better a new key", path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It holds no cosigner's key.
    #[error("{}: {error}", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: SecretError,
    },
    /// Encrypted, and nothing to open it with.
    #[error(
        "{} is encrypted, and there is no {with} to open it with: set passphrase_file or age_identity_file in \
         witness.toml, or the variable SOLELOG_WITNESS_PASSPHRASE, or start at a terminal", path.display()
    )]
    Locked {
        /// The file.
        path: PathBuf,
        /// What would open it.
        with: &'static str,
    },
    /// Encrypted, and what was there did not open it.
    #[error("can't open the encrypted {}: {error}", path.display())]
    Sealed {
        /// The file.
        path: PathBuf,
        /// What the library said.
        error: String,
    },
    /// Not a passphrase.
    #[error("{} is not a passphrase: one line of text is", .0.display())]
    Passphrase(PathBuf),
    /// No passphrase from the terminal.
    #[error("no passphrase from the terminal: {0}")]
    Terminal(io::Error),
    /// It can't be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The system has no randomness to give.
    #[error("no randomness: {0}")]
    Randomness(getrandom::Error),
    /// There is no agent, or not the key in it.
    #[error("ssh-agent: {0}")]
    Agent(String),
    /// The keys are not those of one witness.
    #[error("the keys {0} and {1} do not go together: a witness has one name, and one key of each kind")]
    Together(String, String),
}

/// Where a key is, as in the configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// A file, relative to the witness's folder, or the systemd credential of its name.
    File(PathBuf),
    /// In the ssh-agent.
    Agent(Vkey),
}

/// Why a text is not the place of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SourceError {
    /// Nothing.
    #[error("the name of a key file is empty")]
    Empty,
    /// After `agent:` there is no vkey.
    #[error("agent: {0}")]
    Vkey(#[from] VkeyError),
    /// Agents have no such keys.
    #[error("agent: the key must be of type 0x04, which an agent can sign with")]
    Kind,
}

impl FromStr for Source {
    type Err = SourceError;
    fn from_str(source: &str) -> Result<Source, SourceError> {
        match source.strip_prefix("agent:") {
            None if source.is_empty() => Err(SourceError::Empty),
            None => Ok(Source::File(PathBuf::from(source))),
            Some(vkey) => match Vkey::parse(vkey)? {
                vkey if vkey.kind() == Kind::CosignatureV1 => Ok(Source::Agent(vkey)),
                _ => Err(SourceError::Kind),
            },
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::File(path) => path.display().fmt(f),
            Source::Agent(vkey) => write!(f, "agent:{vkey}"),
        }
    }
}

/// The kinds of key that a witness can have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyKind {
    /// Type 0x04.
    Ed25519,
    /// Type 0x06.
    MlDsa44,
}

impl KeyKind {
    /// The name of the file that a new key of this kind gets.
    #[must_use]
    pub fn file(self) -> &'static str {
        match self {
            KeyKind::Ed25519 => "witness.key",
            KeyKind::MlDsa44 => "witness-ml-dsa-44.key",
        }
    }
}

/// A key that is somewhere else and signs there.
pub trait Remote: Send + Sync {
    /// The key that verifies its signatures.
    fn vkey(&self) -> &Vkey;
    /// Signs. May take as long as somebody needs to touch a token.
    fn sign(&self, message: &[u8]) -> io::Result<Vec<u8>>;
}

/// One key of a witness.
pub enum WitnessKey {
    /// In memory.
    Soft(Cosigner),
    /// Elsewhere.
    Remote(Box<dyn Remote>),
}

impl WitnessKey {
    /// The key that verifies its cosignatures.
    #[must_use]
    pub fn vkey(&self) -> &Vkey {
        match self {
            WitnessKey::Soft(cosigner) => cosigner.vkey(),
            WitnessKey::Remote(remote) => remote.vkey(),
        }
    }

    fn cosign(&self, checkpoint: &Checkpoint, time: Seconds) -> io::Result<CheckpointCosignature> {
        let no_time = || io::Error::other("zero is no moment");
        let remote = match self {
            WitnessKey::Soft(cosigner) => return cosigner.cosign_checkpoint(checkpoint, time).ok_or_else(no_time),
            WitnessKey::Remote(remote) => remote,
        };
        let message = signed_bytes(remote.vkey(), &checkpoint.to_text(), time);
        let message = message.ok_or_else(|| io::Error::other("the key is not a cosigner's"))?;
        let line = assemble(remote.vkey(), time, &remote.sign(&message)?);
        CheckpointCosignature::verify(checkpoint, &line, remote.vkey())
            .ok_or_else(|| io::Error::other("what came back is not a signature by the key"))
    }
}

/// The keys of a witness: one name, different kinds, at least one.
pub struct Keys {
    keys: Vec<WitnessKey>,
    vkeys: Vec<Vkey>,
}

impl Keys {
    /// The keys of one witness.
    pub fn new(keys: Vec<WitnessKey>) -> Result<Keys, KeyError> {
        let vkeys: Vec<Vkey> = keys.iter().map(|key| key.vkey().clone()).collect();
        for (place, key) in vkeys.iter().enumerate() {
            if let Some(other) =
                vkeys.iter().take(place).find(|other| other.kind() == key.kind() || other.name() != key.name())
            {
                return Err(KeyError::Together(label(other), label(key)));
            }
        }
        if vkeys.is_empty() {
            return Err(KeyError::Missing(PathBuf::from(KeyKind::Ed25519.file())));
        }
        Ok(Keys { keys, vkeys })
    }

    /// Loads the keys of the witness in `dir`.
    pub fn load(dir: &Path, sources: &[Source], unlock: &Unlock) -> Result<Keys, KeyError> {
        Keys::new(sources.iter().map(|source| load(dir, source, unlock)).collect::<Result<_, _>>()?)
    }

    /// The witness's name.
    #[must_use]
    pub fn name(&self) -> &KeyName {
        self.vkeys[0].name()
    }

    /// The keys that verify its cosignatures; never empty.
    #[must_use]
    pub fn vkeys(&self) -> &[Vkey] {
        &self.vkeys
    }

    /// Cosigns with every key. A key that does not sign is left out, unless none does.
    pub(crate) fn cosign(&self, checkpoint: &Checkpoint, time: Seconds) -> io::Result<Vec<SignatureLine>> {
        let mut lines = Vec::with_capacity(self.keys.len());
        let mut failed = None;
        for key in &self.keys {
            match key.cosign(checkpoint, time) {
                Ok(cosignature) => lines.push(cosignature.into_line()),
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if lines.is_empty() => Err(error),
            _ => Ok(lines),
        }
    }

    /// Whether a key of this witness can sign subtrees.
    #[must_use]
    pub fn sign_subtrees(&self) -> bool {
        self.keys.iter().any(|key| matches!(key, WitnessKey::Soft(_)) && key.vkey().kind() == Kind::MlDsa44)
    }

    /// Cosigns a subtree with every key that can.
    pub(crate) fn cosign_subtree(&self, subtree: &SubtreeToSign) -> Vec<SignatureLine> {
        let cosigners = self.keys.iter().filter_map(|key| match key {
            WitnessKey::Soft(cosigner) => Some(cosigner),
            WitnessKey::Remote(_) => None,
        });
        let signed = cosigners.filter_map(|key| key.cosign_subtree(&subtree.origin, subtree.subtree, subtree.hash));
        signed.map(|cosignature| cosignature.line().clone()).collect()
    }
}

fn label(vkey: &Vkey) -> String {
    format!("{}+{} (type {:#04x})", vkey.name(), vkey.id(), vkey.kind().byte())
}

/// Makes a new key of `kind` under `name` in `dir`, encrypted if `seal` has a passphrase for it.
pub fn create(dir: &Path, kind: KeyKind, name: KeyName, seal: Option<&Unlock>) -> Result<Cosigner, KeyError> {
    let path = dir.join(kind.file());
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).map_err(KeyError::Randomness)?;
    let cosigner = match kind {
        KeyKind::Ed25519 => Cosigner::new(name, &seed),
        KeyKind::MlDsa44 => Cosigner::ml_dsa_44(name, &seed),
    };
    let mut text = cosigner.to_secret_text();
    text.push('\n');
    let written = match seal {
        Some(unlock) => disk::create(&path, &unlock.seal(&path, text.as_bytes())?),
        None => disk::create(&path, text.as_bytes()),
    };
    match written {
        Ok(()) => Ok(cosigner),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(KeyError::Exists(path)),
        Err(error) => Err(KeyError::Io { path, error }),
    }
}

/// Whether a key of this kind is in `dir`, or among the credentials.
pub(crate) fn is_there(dir: &Path, kind: KeyKind) -> bool {
    let credential = std::env::var_os("CREDENTIALS_DIRECTORY").map(|folder| Path::new(&folder).join(kind.file()));
    dir.join(kind.file()).exists() || credential.is_some_and(|path| path.exists())
}

/// Loads one key.
pub fn load(dir: &Path, source: &Source, unlock: &Unlock) -> Result<WitnessKey, KeyError> {
    match source {
        Source::Agent(vkey) => {
            let socket = agent::socket().ok_or_else(|| KeyError::Agent("SSH_AUTH_SOCK is not set".to_owned()))?;
            let found = agent::identities(&socket).map_err(|error| KeyError::Agent(error.to_string()))?;
            if !found.iter().any(|identity| identity.key.as_slice() == vkey.public_key()) {
                return Err(KeyError::Agent(format!("it has not the key of {}", label(vkey))));
            }
            Ok(WitnessKey::Remote(Box::new(AgentKey::new(socket, vkey.clone()))))
        }
        Source::File(file) => {
            let path = locate(&dir.join(file), std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from))?;
            let mut bytes = read_private(&path)?;
            if Unlock::is_sealed(&bytes) {
                bytes = unlock.open(&path, &bytes)?;
            }
            let fault = |error| KeyError::Secret { path: path.clone(), error };
            let text = std::str::from_utf8(&bytes).map_err(|_| fault(SecretError::Format))?;
            let line = text.strip_suffix('\n').unwrap_or(text);
            Cosigner::parse(line).map(WitnessKey::Soft).map_err(fault)
        }
    }
}

/// Where a key really is: the credential of its name, or the file.
fn locate(path: &Path, credentials: Option<PathBuf>) -> Result<PathBuf, KeyError> {
    let credential = credentials.zip(path.file_name()).map(|(folder, name)| folder.join(name));
    match credential.filter(|credential| credential.exists()) {
        Some(credential) if path.exists() && credential != path => Err(KeyError::Twice(path.to_owned())),
        Some(credential) => Ok(credential),
        None => Ok(path.to_owned()),
    }
}

/// The bytes of a file that only its owner may read and change.
pub(crate) fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let read = || {
        // The mode of the very file that is read, not of one that took its name since.
        let file = std::fs::File::open(path)?;
        let mode = file.metadata()?.permissions().mode() & 0o777;
        let mut bytes = Zeroizing::new(Vec::new());
        file.take(MAX_FILE).read_to_end(&mut bytes)?;
        Ok((mode, bytes))
    };
    match read() {
        // systemd lets the service's user in with an access list, which shows as a looser mode; its
        // folder is closed.
        Ok((mode, _)) if mode & 0o077 != 0 && !in_credentials(path) => {
            Err(KeyError::Permissions { path: path.to_owned(), mode })
        }
        Ok((_, bytes)) => Ok(bytes),
        Err(error) if io::Error::kind(&error) == io::ErrorKind::NotFound => Err(KeyError::Missing(path.to_owned())),
        Err(error) => Err(KeyError::Io { path: path.to_owned(), error }),
    }
}

fn in_credentials(path: &Path) -> bool {
    std::env::var_os("CREDENTIALS_DIRECTORY").is_some_and(|folder| path.parent() == Some(Path::new(&folder)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn name() -> KeyName {
        KeyName::new("witness.example/w1").unwrap()
    }

    fn load_all(dir: &Path, files: &[&str]) -> Result<Keys, KeyError> {
        let sources: Vec<Source> = files.iter().map(|file| file.parse().unwrap()).collect();
        Keys::load(dir, &sources, &Unlock::default())
    }

    #[test]
    fn keys_of_both_kinds_are_made_once_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        for kind in [KeyKind::Ed25519, KeyKind::MlDsa44] {
            assert!(matches!(load_all(dir.path(), &[kind.file()]), Err(KeyError::Missing(_))));
            let made = create(dir.path(), kind, name(), None).unwrap();
            let read = load_all(dir.path(), &[kind.file()]).unwrap();
            assert_eq!(read.vkeys(), [made.vkey().clone()]);
            let again = create(dir.path(), kind, name(), None);
            assert!(matches!(again, Err(KeyError::Exists(_))));
            assert_eq!(load_all(dir.path(), &[kind.file()]).unwrap().vkeys(), [made.vkey().clone()]);
        }
        let both = load_all(dir.path(), &["witness.key", "witness-ml-dsa-44.key"]).unwrap();
        assert_eq!((both.vkeys().len(), both.name()), (2, &name()));
        let twice = load_all(dir.path(), &["witness.key", "witness.key"]);
        assert!(matches!(twice, Err(KeyError::Together(..))));
    }

    #[test]
    fn keys_of_two_names_do_not_go_together() {
        let dir = tempfile::tempdir().unwrap();
        create(dir.path(), KeyKind::Ed25519, name(), None).unwrap();
        create(dir.path(), KeyKind::MlDsa44, KeyName::new("another.example").unwrap(), None).unwrap();
        let refused = load_all(dir.path(), &["witness.key", "witness-ml-dsa-44.key"]);
        assert!(matches!(refused, Err(KeyError::Together(..))));
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        create(dir.path(), KeyKind::Ed25519, name(), None).unwrap();
        let path = dir.path().join("witness.key");
        for mode in [0o640, 0o604, 0o620, 0o602, 0o440] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let refused = load_all(dir.path(), &["witness.key"]);
            assert!(matches!(refused, Err(KeyError::Permissions { .. })), "{mode:o}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        load_all(dir.path(), &["witness.key"]).unwrap();
    }

    #[test]
    fn a_logs_key_is_not_a_witnesss_key() {
        let dir = tempfile::tempdir().unwrap();
        let signer = tlog::key::Signer::note(KeyName::new("w").unwrap(), &[1; 32]);
        disk::create(&dir.path().join("witness.key"), signer.to_secret_text().as_bytes()).unwrap();
        let refused = load_all(dir.path(), &["witness.key"]);
        assert!(matches!(refused, Err(KeyError::Secret { .. })));
    }

    #[test]
    fn a_key_under_a_passphrase_is_opened_by_it_alone() {
        let dir = tempfile::tempdir().unwrap();
        let passphrase = |text: &str| {
            let path = dir.path().join("passphrase");
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            Unlock::new(Some(path), None)
        };
        let made = create(dir.path(), KeyKind::MlDsa44, name(), Some(&passphrase("correct horse\n"))).unwrap();
        let file = fs::read(dir.path().join(KeyKind::MlDsa44.file())).unwrap();
        assert!(Unlock::is_sealed(&file), "{}", file.escape_ascii());
        let sources = [Source::File(KeyKind::MlDsa44.file().into())];
        let opened = Keys::load(dir.path(), &sources, &passphrase("correct horse")).unwrap();
        assert_eq!(opened.vkeys(), [made.vkey().clone()]);
        let wrong = Keys::load(dir.path(), &sources, &passphrase("another horse"));
        assert!(matches!(wrong, Err(KeyError::Sealed { .. })));
        let bad = Keys::load(dir.path(), &sources, &passphrase("two\nlines\n"));
        assert!(matches!(bad, Err(KeyError::Passphrase(_))));
    }

    #[test]
    fn a_credential_takes_the_place_of_the_file_and_both_are_refused() {
        let (dir, credentials) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (file, credential) = (dir.path().join("witness.key"), credentials.path().join("witness.key"));
        let folder = || Some(credentials.path().to_owned());
        assert_eq!(locate(&file, folder()).unwrap(), file);
        fs::write(&credential, "").unwrap();
        assert_eq!(locate(&file, folder()).unwrap(), credential);
        fs::write(&file, "").unwrap();
        assert!(matches!(locate(&file, folder()), Err(KeyError::Twice(_))));
        assert_eq!(locate(&file, None).unwrap(), file);
    }

    #[test]
    fn sources_are_read_as_they_are_written() {
        let cosigner = Cosigner::new(name(), &[1; 32]);
        for text in ["witness.key", "/etc/keys/w", &format!("agent:{}", cosigner.vkey())] {
            assert_eq!(text.parse::<Source>().unwrap().to_string(), text);
        }
        let ml_dsa = Cosigner::ml_dsa_44(name(), &[1; 32]);
        assert_eq!(format!("agent:{}", ml_dsa.vkey()).parse::<Source>(), Err(SourceError::Kind));
        assert_eq!("".parse::<Source>(), Err(SourceError::Empty));
    }
}
