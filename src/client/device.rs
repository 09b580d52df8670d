//! The device: the two keys that never leave it, behind two traits that secure hardware can stand behind.
//!
//! ```text
//! DeviceKey   P-256 key          signs, or answers a browser  possession: the first factor
//! PinPrf      HMAC-SHA-256 key   PIN -> mask of the share     knowledge: the second factor
//! ```
//!
//! Whoever has the files of a [`SoftDevice`] must not be able to test PINs with them alone. So its keys are never sealed
//! under the PIN or anything made from it: a file that opens under the right PIN and no other would answer every guess,
//! offline and uncounted. A mask under a wrong PIN is as good a mask as any; only the provider can tell, and it counts.

use std::path::{Path, PathBuf};

use age::secrecy::{ExposeSecret as _, SecretString};
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use threshold::{DeviceSecret, Mask, Pin};
use zeroize::Zeroizing;

use crate::folder::{MemoryError, read_private, write_private};

/// Why a device does not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// The person, or the lock of the device, said no. Ask the person.
    #[error("the device was not allowed to use its key")]
    Denied,
    /// The key is gone: deleted, or made void by a change of the device's lock. Enrol anew.
    #[error("the device has lost its key")]
    Lost,
    /// The device is of another kind than the profile: profile 3 is for keys behind a browser, the others for keys that
    /// sign messages.
    #[error("this device can't make records of that profile")]
    Profile,
    /// The hardware can't answer now. Try again.
    #[error("the device does not answer: {0}")]
    Unavailable(String),
}

/// The key that shows possession of the device.
pub trait DeviceKey {
    /// The public key, a compressed point.
    fn public(&self) -> [u8; 33];

    /// Signs with ECDSA over P-256 and SHA-256: r || s. A key behind a browser is asked the message as its challenge, and what
    /// it answers is a varsig ([`Varsig::made`](scal3::evidence::varsig::Varsig::made)).
    ///
    /// # Errors
    /// [`DeviceError`].
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, DeviceError>;

    /// For a key behind a browser, and only for one: what `navigator.credentials.create()` answered when it was made, as its
    /// `toJSON()` writes it. Its options came with the invitation. A device that has this makes records of profile 3.
    fn registration(&self) -> Option<serde_json::Value> {
        None
    }
}

/// The pseudorandom function that turns a PIN into what masks the share.
pub trait PinPrf {
    /// HMAC-SHA-256(key, "solelog/pin/v1" || 0x00 || PIN in NFC). Says nothing about whether the PIN is right.
    ///
    /// # Errors
    /// [`DeviceError`].
    fn mask(&self, pin: &Pin) -> Result<Mask, DeviceError>;
}

/// A device without secure hardware: two keys in a file.
///
/// ```text
/// device.age    the two keys, sealed with age                            0600
/// device.key    what opens it, where no passphrase was given             0600
/// ```
/// With [`Seal::KeyFile`] the file system's permissions are all that protects the keys. With a passphrase they are as
/// safe as the passphrase is long; it must not be the PIN (see the module).
pub struct SoftDevice {
    key: SigningKey,
    prf: DeviceSecret,
    public: [u8; 33],
}

/// What the file of a [`SoftDevice`] is sealed under.
#[derive(Clone, Copy)]
pub enum Seal<'a> {
    /// A passphrase, stretched with scrypt (about a second). Never the PIN, nor anything it could be guessed from.
    Passphrase(&'a str),
    /// A random key in a second file, for machines that start by themselves.
    KeyFile,
}

/// Why a [`SoftDevice`] can't be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum SoftDeviceError {
    /// The files.
    #[error(transparent)]
    Files(#[from] MemoryError),
    /// There is no device.
    #[error("{} is not there: no device was made here", .0.display())]
    Missing(PathBuf),
    /// There is one already, and another in its place would be the end of what it was enrolled for.
    #[error("{} is there already", .0.display())]
    Exists(PathBuf),
    /// The passphrase is too short to be worth stretching.
    #[error("a passphrase has at least {MIN_PASSPHRASE} characters, and is not the PIN")]
    Short,
    /// Another passphrase, another key file, or a file that somebody changed.
    #[error("the device does not open: another passphrase or key file, or a damaged file")]
    Sealed,
    /// The operating system gives no random bytes.
    #[error("no random bytes: {0}")]
    Random(#[from] getrandom::Error),
}

/// The fewest characters of a passphrase: a PIN given by mistake is shorter.
pub const MIN_PASSPHRASE: usize = 12;

/// How much work scrypt is when a passphrase opens a file: 2^18, about a second. Fixed, so that a file says the same
/// whatever machine it was made on, and so that no file can ask for more.
const SCRYPT_LOG_N: u8 = 18;

const SEALED: &str = "device.age";
const KEY: &str = "device.key";

/// The first byte of what is sealed: its form.
const VERSION: u8 = 1;
/// Version, signing key, key of the pseudorandom function.
const LEN: usize = 65;

impl SoftDevice {
    /// Draws two keys and writes them into a folder.
    ///
    /// # Errors
    /// [`SoftDeviceError`].
    pub fn create(folder: &Path, seal: Seal<'_>) -> Result<SoftDevice, SoftDeviceError> {
        let path = folder.join(SEALED);
        if path.exists() {
            return Err(SoftDeviceError::Exists(path));
        }
        let mut plain = Zeroizing::new([0; LEN]);
        loop {
            getrandom::fill(&mut plain[..])?;
            plain[0] = VERSION;
            // All but one of 2^32 draws are keys.
            if SigningKey::from_slice(&plain[1..33]).is_ok() {
                break;
            }
        }
        let sealed = match seal {
            Seal::Passphrase(phrase) => {
                let mut recipient = age::scrypt::Recipient::new(secret(phrase)?);
                recipient.set_work_factor(SCRYPT_LOG_N);
                age::encrypt(&recipient, &plain[..])
            }
            Seal::KeyFile => {
                let identity = age::x25519::Identity::generate();
                // The key first: a file that nothing opens is worse than a key that opens nothing.
                write_private(&folder.join(KEY), identity.to_string().expose_secret().as_bytes())?;
                age::encrypt(&identity.to_public(), &plain[..])
            }
        };
        write_private(&path, &sealed.map_err(|_| SoftDeviceError::Sealed)?)?;
        SoftDevice::from_plain(&plain[..])
    }

    /// Opens the device in a folder.
    ///
    /// # Errors
    /// [`SoftDeviceError`].
    pub fn open(folder: &Path, seal: Seal<'_>) -> Result<SoftDevice, SoftDeviceError> {
        let path = folder.join(SEALED);
        let sealed = read_private(&path)?.ok_or(SoftDeviceError::Missing(path))?;
        let plain = match seal {
            Seal::Passphrase(phrase) => {
                let mut identity = age::scrypt::Identity::new(secret(phrase)?);
                identity.set_max_work_factor(SCRYPT_LOG_N);
                age::decrypt(&identity, &sealed)
            }
            Seal::KeyFile => {
                let path = folder.join(KEY);
                let key = Zeroizing::new(read_private(&path)?.ok_or(SoftDeviceError::Missing(path))?);
                let text = std::str::from_utf8(&key).map_err(|_| SoftDeviceError::Sealed)?;
                let identity: age::x25519::Identity = text.trim().parse().map_err(|_| SoftDeviceError::Sealed)?;
                age::decrypt(&identity, &sealed)
            }
        };
        SoftDevice::from_plain(&Zeroizing::new(plain.map_err(|_| SoftDeviceError::Sealed)?))
    }

    /// Whether there is a device in this folder.
    #[must_use]
    pub fn exists(folder: &Path) -> bool {
        folder.join(SEALED).exists()
    }

    fn from_plain(plain: &[u8]) -> Result<SoftDevice, SoftDeviceError> {
        let plain: &[u8; LEN] = plain.try_into().map_err(|_| SoftDeviceError::Sealed)?;
        if plain[0] != VERSION {
            return Err(SoftDeviceError::Sealed);
        }
        let key = SigningKey::from_slice(&plain[1..33]).map_err(|_| SoftDeviceError::Sealed)?;
        let mut prf = Zeroizing::new([0; 32]);
        prf.copy_from_slice(&plain[33..]);
        let mut public = [0; 33];
        public.copy_from_slice(key.verifying_key().to_sec1_point(true).as_bytes());
        Ok(SoftDevice { key, prf: DeviceSecret::from_bytes(*prf), public })
    }
}

fn secret(phrase: &str) -> Result<SecretString, SoftDeviceError> {
    if phrase.chars().count() < MIN_PASSPHRASE {
        return Err(SoftDeviceError::Short);
    }
    Ok(SecretString::from(phrase.to_owned()))
}

impl DeviceKey for SoftDevice {
    fn public(&self) -> [u8; 33] {
        self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, DeviceError> {
        let signature: Signature = self.key.sign(message);
        Ok(signature.to_bytes().to_vec())
    }
}

impl PinPrf for SoftDevice {
    fn mask(&self, pin: &Pin) -> Result<Mask, DeviceError> {
        Ok(self.prf.mask(pin))
    }
}

impl std::fmt::Debug for SoftDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SoftDevice(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use subtle::ConstantTimeEq as _;

    fn same(one: &SoftDevice, other: &SoftDevice) -> bool {
        let mask = |device: &SoftDevice| device.mask(&Pin::new("12345")).unwrap();
        one.public() == other.public() && bool::from(mask(one).ct_eq(&mask(other)))
    }

    #[test]
    fn a_device_opens_with_what_it_was_sealed_under_only() {
        let temp = tempfile::tempdir().unwrap();
        let (phrase, keyed) = (temp.path().join("phrase"), temp.path().join("keyed"));
        std::fs::create_dir(&phrase).unwrap();
        std::fs::create_dir(&keyed).unwrap();

        let words = Seal::Passphrase("nine lives of one cat");
        let made = SoftDevice::create(&phrase, words).unwrap();
        assert!(same(&made, &SoftDevice::open(&phrase, words).unwrap()));
        let other = SoftDevice::open(&phrase, Seal::Passphrase("nine lives of two cats"));
        assert!(matches!(other, Err(SoftDeviceError::Sealed)));
        assert!(matches!(SoftDevice::open(&phrase, Seal::KeyFile), Err(SoftDeviceError::Missing(_))));
        assert!(matches!(SoftDevice::create(&phrase, words), Err(SoftDeviceError::Exists(_))));

        let made = SoftDevice::create(&keyed, Seal::KeyFile).unwrap();
        assert!(same(&made, &SoftDevice::open(&keyed, Seal::KeyFile).unwrap()));
        let mut bytes = std::fs::read(keyed.join(SEALED)).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        write_private(&keyed.join(SEALED), &bytes).unwrap();
        assert!(matches!(SoftDevice::open(&keyed, Seal::KeyFile), Err(SoftDeviceError::Sealed)));
    }

    #[test]
    fn a_pin_is_no_passphrase() {
        let temp = tempfile::tempdir().unwrap();
        let made = SoftDevice::create(temp.path(), Seal::Passphrase("12345"));
        assert!(matches!(made, Err(SoftDeviceError::Short)));
        assert!(!SoftDevice::exists(temp.path()));
    }

    #[cfg(unix)]
    #[test]
    fn the_keys_are_private_and_a_looser_file_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let temp = tempfile::tempdir().unwrap();
        SoftDevice::create(temp.path(), Seal::KeyFile).unwrap();
        for name in [SEALED, KEY] {
            let path = temp.path().join(name);
            let to = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            to(0o604);
            let refused = SoftDevice::open(temp.path(), Seal::KeyFile);
            assert!(matches!(refused, Err(SoftDeviceError::Files(MemoryError::TooOpen { .. }))));
            to(0o600);
        }
    }

    #[test]
    fn what_is_signed_verifies_under_the_public_key() {
        use p256::ecdsa::{VerifyingKey, signature::Verifier as _};
        let temp = tempfile::tempdir().unwrap();
        let device = SoftDevice::create(temp.path(), Seal::KeyFile).unwrap();
        let signature = Signature::from_slice(&device.sign(b"message").unwrap()).unwrap();
        VerifyingKey::from_sec1_bytes(&device.public()).unwrap().verify(b"message", &signature).unwrap();
        assert_eq!(format!("{device:?}"), "SoftDevice(secret)");
    }
}
