//! Keys of notes: names, key IDs, verifier keys and the signers behind them. <https://c2sp.org/signed-note#verifier-keys>
//!
//! ```text
//! example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k
//! key name        key ID   base64( type || public key )
//!
//! key ID = SHA-256( name || 0x0A || type || public key )[..4]
//!          SHA-256( public key )[..4]                            type 0x02 (ECDSA)
//!          SHA-256( name || 0x0A || type || SHA-256( key ) )[..4]    type 0x05 (RFC 6962)
//! ```
//!
//! A key ID is a name, not a fingerprint: 32 bits can be hit on purpose. Nothing is ever trusted
//! because of its ID; the ID only says which of the keys we already trust should be tried.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::cosignature::Cosigner;
use crate::ml_dsa;
use crate::note::SignatureLine;
use crate::secret::Secret;
use crate::text;

pub use crate::ml_dsa::verify as verify_ml_dsa_44;
pub use crate::secret::SecretError;

/// The longest key name, in bytes: the limit that ML-DSA cosignatures set for cosigner names.
pub const MAX_NAME: usize = 255;

/// The type byte of an Ed25519 signature over the note text.
pub(crate) const ED25519: u8 = 0x01;
/// The type byte of an ECDSA signature.
pub(crate) const ECDSA: u8 = 0x02;
/// The type byte of a timestamped Ed25519 cosignature.
pub(crate) const COSIGNATURE_V1: u8 = 0x04;
/// The type byte of an RFC 6962 tree head signature.
pub(crate) const RFC6962: u8 = 0x05;
/// The type byte of a timestamped ML-DSA-44 cosignature.
pub(crate) const ML_DSA_44: u8 = 0x06;

/// A key name: 1 to 255 bytes, without Unicode spaces, control characters or `+`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct KeyName(String);

/// Why a text is not a key name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyNameError {
    /// The empty text.
    #[error("a key name must not be empty")]
    Empty,
    /// More than [`MAX_NAME`] bytes.
    #[error("a key name has at most 255 bytes")]
    TooLong,
    /// A space, a control character or a plus sign.
    #[error("a key name must not contain spaces, control characters or '+'")]
    Character,
}

impl KeyName {
    /// `name` as a key name.
    pub fn new(name: &str) -> Result<KeyName, KeyNameError> {
        if name.is_empty() {
            return Err(KeyNameError::Empty);
        }
        if name.len() > MAX_NAME {
            return Err(KeyNameError::TooLong);
        }
        let forbidden = |c: char| c == '+' || c.is_whitespace() || c < ' ';
        if name.chars().any(forbidden) {
            return Err(KeyNameError::Character);
        }
        Ok(KeyName(name.to_owned()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for KeyName {
    type Err = KeyNameError;
    fn from_str(name: &str) -> Result<KeyName, KeyNameError> {
        KeyName::new(name)
    }
}

/// The four bytes that, with the key name, say which key a signature is by. Printed as 8
/// lowercase hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 4]);

impl KeyId {
    /// Reads 8 lowercase hex digits.
    #[must_use]
    pub fn from_hex(hex: &str) -> Option<KeyId> {
        let lowercase = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if hex.len() != 8 || !hex.bytes().all(lowercase) {
            return None;
        }
        u32::from_str_radix(hex, 16).ok().map(|id| KeyId(id.to_be_bytes()))
    }

    /// The ID of a key of type `kind`, for the types that have a rule.
    fn of(name: &KeyName, kind: u8, key: &[u8]) -> KeyId {
        let mut hasher = Sha256::new();
        if kind == ECDSA {
            hasher.update(key);
        } else {
            hasher.update(name.as_str());
            hasher.update([b'\n', kind]);
            if kind == RFC6962 {
                hasher.update(Sha256::digest(key));
            } else {
                hasher.update(key);
            }
        }
        let [a, b, c, d, ..] = <[u8; 32]>::from(hasher.finalize());
        KeyId([a, b, c, d])
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a key's signatures mean. Kinds that this crate does not verify keep their type byte;
/// their signatures are passed over like those of a stranger, as signed-note asks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// 0x01: Ed25519 over the note text. What a log signs with.
    Ed25519,
    /// 0x04: timestamped Ed25519 cosignature. What a witness signs with.
    CosignatureV1,
    /// 0x06: timestamped ML-DSA-44 cosignature of a tree or a subtree. What a witness signs with,
    /// and a log too: unlike type 0x04 it names who signed.
    MlDsa44,
    /// Any other type byte.
    Unknown(u8),
}

impl Kind {
    /// The kind of a type byte.
    #[must_use]
    pub fn of(byte: u8) -> Kind {
        match byte {
            ED25519 => Kind::Ed25519,
            COSIGNATURE_V1 => Kind::CosignatureV1,
            ML_DSA_44 => Kind::MlDsa44,
            other => Kind::Unknown(other),
        }
    }

    /// The type byte.
    #[must_use]
    pub fn byte(self) -> u8 {
        match self {
            Kind::Ed25519 => ED25519,
            Kind::CosignatureV1 => COSIGNATURE_V1,
            Kind::MlDsa44 => ML_DSA_44,
            Kind::Unknown(other) => other,
        }
    }
}

/// A verifier key: name, key ID, kind and public key.
///
/// Whether an Ed25519 key is a point on the curve is not asked here. A key that is none
/// verifies nothing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vkey {
    name: KeyName,
    id: KeyId,
    kind: u8,
    key: Vec<u8>,
}

/// Why a text is not a verifier key, in the order of the checks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum VkeyError {
    /// Fewer than three parts between `+` signs.
    #[error("a vkey is <name>+<key ID>+<base64>")]
    Parts,
    /// The first part is not a key name.
    #[error("vkey: {0}")]
    Name(#[from] KeyNameError),
    /// The second part is not 8 lowercase hex digits.
    #[error("vkey: the key ID is not 8 lowercase hex digits")]
    KeyId,
    /// The third part is not canonical base64 of a type byte and a key.
    #[error("vkey: the key is not canonical base64")]
    Base64,
    /// A type byte that signed-note reserves.
    #[error("vkey: key type {0:#04x} is reserved")]
    Reserved(u8),
    /// A key that is too short or too long for its type.
    #[error("vkey: wrong key length for type {0:#04x}")]
    KeyLength(u8),
    /// The key ID is not the one that follows from name, type and key.
    #[error("vkey: the key ID does not belong to this name and key")]
    KeyIdMismatch,
}

impl Vkey {
    /// Reads `<name>+<key ID>+<base64( type || public key )>`.
    pub fn parse(vkey: &str) -> Result<Vkey, VkeyError> {
        // Base64 may contain plus signs, names and IDs may not: split at the first two.
        let mut parts = vkey.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(VkeyError::Parts);
        };
        let name = KeyName::new(name)?;
        let id = KeyId::from_hex(id).ok_or(VkeyError::KeyId)?;
        let key = text::from_base64(key).ok_or(VkeyError::Base64)?;
        let (&kind, key) = key.split_first().ok_or(VkeyError::Base64)?;

        let (length_fits, has_rule) = match kind {
            ED25519 | COSIGNATURE_V1 => (key.len() == 32, true),
            ML_DSA_44 => (key.len() == ml_dsa::PUBLIC_KEY, true),
            ECDSA | RFC6962 => (!key.is_empty(), true),
            0x03 | 0xfa..=0xfe => return Err(VkeyError::Reserved(kind)),
            // Types we have never heard of, and private ones, may count their IDs as they like.
            _ => (true, false),
        };
        if !length_fits {
            return Err(VkeyError::KeyLength(kind));
        }
        if has_rule && id != KeyId::of(&name, kind, key) {
            return Err(VkeyError::KeyIdMismatch);
        }
        Ok(Vkey { name, id, kind, key: key.to_vec() })
    }

    /// The verifier key of an Ed25519 public key that signs note texts (type 0x01).
    #[must_use]
    pub fn ed25519(name: KeyName, key: [u8; 32]) -> Vkey {
        Vkey::from_ed25519(name, ED25519, key)
    }

    /// The verifier key of an Ed25519 public key that cosigns checkpoints (type 0x04).
    #[must_use]
    pub fn cosignature_v1(name: KeyName, key: [u8; 32]) -> Vkey {
        Vkey::from_ed25519(name, COSIGNATURE_V1, key)
    }

    /// The verifier key of an ML-DSA-44 public key (type 0x06).
    #[must_use]
    pub fn ml_dsa_44(name: KeyName, key: &[u8; ml_dsa::PUBLIC_KEY]) -> Vkey {
        Vkey::of(name, ML_DSA_44, key)
    }

    fn from_ed25519(name: KeyName, kind: u8, key: [u8; 32]) -> Vkey {
        Vkey::of(name, kind, &key)
    }

    /// The verifier key of a key that has the length of its type.
    pub(crate) fn of(name: KeyName, kind: u8, key: &[u8]) -> Vkey {
        Vkey { id: KeyId::of(&name, kind, key), name, kind, key: key.to_vec() }
    }

    /// The key name.
    #[must_use]
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// The key ID.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// What this key's signatures mean.
    #[must_use]
    pub fn kind(&self) -> Kind {
        Kind::of(self.kind)
    }

    /// The public key in the encoding of its type, without the type byte.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        &self.key
    }

    /// Whether `line` claims to be by this key.
    #[must_use]
    pub fn matches(&self, line: &SignatureLine) -> bool {
        self.id == line.key_id() && self.name == *line.name()
    }
}

impl fmt::Display for Vkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(1 + self.key.len());
        bytes.push(self.kind);
        bytes.extend_from_slice(&self.key);
        write!(f, "{}+{}+{}", self.name, self.id, text::to_base64(&bytes))
    }
}

impl fmt::Debug for Vkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Vkey {
    type Err = VkeyError;
    fn from_str(vkey: &str) -> Result<Vkey, VkeyError> {
        Vkey::parse(vkey)
    }
}

/// Whether `signature` over `message` is by `key`.
///
/// The rule is the strict, cofactorless one of ed25519-dalek's `verify_strict`: beyond RFC 8032
/// it wants s below the group order, R in its canonical encoding, and neither R nor the key of
/// small order. No two verifiers that follow it disagree, and no signature is valid for two
/// messages.
#[must_use]
pub fn verify_ed25519(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(key).is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(signature)).is_ok())
}

/// A key that signs note texts (type 0x01): what a log signs its checkpoints with.
///
/// Not `Clone`, wiped on drop, and `Debug` prints the name only.
pub struct Signer(Secret);

impl Signer {
    /// The signer with this name and this 32-byte Ed25519 seed.
    #[must_use]
    pub fn note(name: KeyName, seed: &[u8; 32]) -> Signer {
        Signer(Secret::ed25519(name, ED25519, seed))
    }

    /// The cosigner with this name and this 32-byte Ed25519 seed. One seed must never serve two
    /// cosigners: a cosignature does not cover the cosigner's name.
    #[must_use]
    pub fn cosigner(name: KeyName, seed: &[u8; 32]) -> Cosigner {
        Cosigner::new(name, seed)
    }

    /// Reads `PRIVATE+KEY+<name>+<key ID>+<base64( 0x01 || seed )>`, the form other note tools
    /// write.
    pub fn parse(secret: &str) -> Result<Signer, SecretError> {
        Secret::parse(secret, &[ED25519]).map(Signer)
    }

    /// The secret key in the form that [`Signer::parse`] reads.
    #[must_use]
    pub fn to_secret_text(&self) -> zeroize::Zeroizing<String> {
        self.0.to_text()
    }

    /// The key that verifies this signer's signatures.
    #[must_use]
    pub fn vkey(&self) -> &Vkey {
        self.0.vkey()
    }

    /// Signs `text`, which must be the whole text of a note, with its final newline.
    /// [`crate::note::Note::sign`] checks that; this method signs what it is given.
    #[must_use]
    pub fn sign(&self, text: &str) -> SignatureLine {
        SignatureLine::by(self.vkey(), self.0.sign(text.as_bytes()))
    }

    /// Signs what a log's key says besides notes: which key follows it (32 bytes, too few for a checkpoint), or a COSE
    /// structure (its first byte is no text). Whatever else is signed here must be as unable to be the text of a note.
    #[must_use]
    pub fn sign_other(&self, message: &[u8]) -> [u8; 64] {
        // A signer's key is of Ed25519, whose signatures have this length.
        self.0.sign(message).try_into().unwrap_or([0; 64])
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.vkey().name())
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;

    use super::*;

    const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

    fn name(name: &str) -> KeyName {
        KeyName::new(name).unwrap()
    }

    #[test]
    fn vkey_has_one_spelling() {
        assert_eq!(Vkey::parse(VKEY).unwrap().to_string(), VKEY);
        assert_eq!(Vkey::parse(&VKEY.replace("530d903a", "530D903A")), Err(VkeyError::KeyId));
        assert_eq!(Vkey::parse(&format!("{VKEY}=")), Err(VkeyError::Base64));
        assert_eq!(Vkey::parse(&format!("{VKEY}\n")), Err(VkeyError::Base64));
        assert_eq!(Vkey::parse(&format!("+{VKEY}")), Err(VkeyError::Name(KeyNameError::Empty)));
    }

    #[test]
    fn key_names_refuse_what_would_split_a_line_or_a_vkey() {
        for bad in ["", "a b", "a+b", "a\u{a0}b", "a\u{2003}b", "a\nb", "a\rb", "a\x01b"] {
            assert!(KeyName::new(bad).is_err(), "{bad:?}");
        }
        assert!(KeyName::new(&"a".repeat(255)).is_ok());
        assert_eq!(KeyName::new(&"a".repeat(256)), Err(KeyNameError::TooLong));
    }

    #[test]
    fn a_private_type_keeps_its_own_key_id() {
        let vkey = Vkey::parse("example.com+01020304+/2hlbGxv").unwrap();
        assert_eq!(vkey.kind(), Kind::Unknown(0xff));
        assert_eq!(vkey.public_key(), b"hello");
    }

    #[test]
    fn secret_text_comes_back_only_for_its_own_use() {
        let signer = Signer::note(name("example.com/log"), &[7; 32]);
        let text = signer.to_secret_text();
        assert_eq!(Signer::parse(&text).unwrap().vkey(), signer.vkey());
        assert_eq!(Cosigner::parse(&text).err(), Some(SecretError::Kind(0x01)));
        let renamed = text.replace("example.com", "example.org");
        assert_eq!(Signer::parse(&renamed).err(), Some(SecretError::KeyIdMismatch));
    }

    #[test]
    fn signers_print_their_name_only() {
        let signer = Signer::note(name("example.com/log"), &[7; 32]);
        assert_eq!(format!("{signer:?}"), "Signer(example.com/log)");
    }
}
