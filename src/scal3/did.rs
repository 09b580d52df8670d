//! Names of keys: `did:key`. <https://w3c-ccg.github.io/did-key-spec/>
//!
//! ```text
//! did:key:z ‖ base58btc( varint(0xed) ‖ key[32]   or   varint(0x1200) ‖ compressed point[33] )
//! ```
//!
//! A passkey has the name of its plain key. That it signs with a browser around it stands in the header of the signature.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::cose::{Key, KeyError};
use crate::varint;

const ED25519: u64 = 0xed;
const P256: u64 = 0x1200;

/// What every name begins with; `z` stands for base58btc.
const PREFIX: &str = "did:key:z";

/// The longest name that is read. A P-256 key makes 57 bytes.
const NAME_MAX: usize = 128;

/// The name of a key.
pub fn of_key(key: &Key) -> String {
    let code = match key {
        Key::EdDsa(_) => ED25519,
        Key::Es256(_) => P256,
    };
    let mut bytes = Vec::new();
    varint::write(code, &mut bytes);
    bytes.extend_from_slice(key.as_bytes());
    format!("{PREFIX}{}", bs58::encode(bytes).into_string())
}

/// The key of a name.
///
/// # Errors
/// [`KeyError::Form`] when it is no such name, or not in its one spelling; [`KeyError::Unsupported`] for a key of another
/// kind; [`KeyError::Point`].
pub fn key(name: &str) -> Result<Key, KeyError> {
    let encoded = name.strip_prefix(PREFIX).filter(|_| name.len() <= NAME_MAX).ok_or(KeyError::Form)?;
    let bytes = bs58::decode(encoded).into_vec().map_err(|_| KeyError::Form)?;
    let (code, key) = varint::read(&bytes).map_err(|_| KeyError::Form)?;
    match code {
        ED25519 => Key::named("eddsa", key),
        P256 => Key::named("es256", key),
        _ => Err(KeyError::Unsupported),
    }
}
