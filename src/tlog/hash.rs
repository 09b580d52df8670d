//! Hashes: the two SHA-256 uses a Merkle tree is made of. <https://www.rfc-editor.org/rfc/rfc6962#section-2.1>
//!
//! ```text
//! leaf hash   SHA-256( 0x00 || entry )
//! node        SHA-256( 0x01 || left hash || right hash )
//! no leaves   SHA-256( )
//! ```
//!
//! The first byte keeps leaves and nodes apart. Without it an entry of 64 bytes could be
//! presented as two subtrees, and one root would stand for two different logs. The types keep
//! the same distance: an entry becomes a [`LeafHash`], and only nodes and roots are a [`struct@Hash`].

use alloc::string::String;
use core::fmt;

use base64ct::{Base64, Encoding};
use sha2::block_api::compress256;
use sha2::{Digest, Sha256};

/// A SHA-256 hash of a node: a root, or any complete subtree. Printed as 64 lowercase hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The number of bytes of a hash.
    pub const LEN: usize = 32;

    /// The root of the tree without leaves: SHA-256 of nothing.
    pub const EMPTY_ROOT: Hash = Hash([
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae,
        0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
    ]);

    /// The hash of the node over `left` and `right`.
    #[must_use]
    pub fn node(left: &Hash, right: &Hash) -> Hash {
        let mut both = [0; 2 * Hash::LEN];
        both[..Hash::LEN].copy_from_slice(&left.0);
        both[Hash::LEN..].copy_from_slice(&right.0);
        Hash(prefixed(0x01, &both))
    }

    /// The 44 characters of the standard, padded base64 alphabet (RFC 4648 section 4).
    #[must_use]
    pub fn to_base64(&self) -> String {
        Base64::encode_string(&self.0)
    }

    /// Reads what [`Hash::to_base64`] writes and nothing else: no whitespace, no other
    /// alphabet, no missing padding, no stray bits before it.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Hash> {
        let mut bytes = [0; 32];
        // Every spelling that decodes to 32 bytes is 44 characters long.
        if text.len() != 44 || Base64::decode(text, &mut bytes).ok()?.len() != 32 {
            return None;
        }
        let hash = Hash(bytes);
        // The decoder is strict about the last character; this line makes it our promise.
        (hash.to_base64() == text).then_some(hash)
    }

    /// 64 lowercase hex digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        let mut text = String::with_capacity(64);
        for byte in self.0 {
            text.push(hex_digit(byte >> 4));
            text.push(hex_digit(byte & 15));
        }
        text
    }

    /// Reads what [`Hash::to_hex`] writes and nothing else (capitals are refused).
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Hash> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let mut bytes = [0; 32];
        if pairs.len() != bytes.len() || !rest.is_empty() {
            return None;
        }
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = hex_value(*high)? << 4 | hex_value(*low)?;
        }
        Some(Hash(bytes))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl From<[u8; 32]> for Hash {
    fn from(bytes: [u8; 32]) -> Hash {
        Hash(bytes)
    }
}

impl AsRef<[u8]> for Hash {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The state of SHA-256 before the first block. FIPS 180-4, section 5.3.3.
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// The most bytes behind a prefix that fit into two blocks, with 0x80 and the length.
const SHORT: usize = 128 - 1 - 1 - 8;

/// SHA-256( prefix || bytes ).
///
/// Nodes and most entries fit into two blocks, padding and all. Put together here, they take two thirds of the time that
/// they take through an interface which is made for input that comes in pieces.
fn prefixed(prefix: u8, bytes: &[u8]) -> [u8; 32] {
    let mut blocks = [[0_u8; 64]; 2];
    let input = blocks.as_flattened_mut();
    let (Some(behind), true) = (input.get_mut(1..=bytes.len()), bytes.len() <= SHORT) else {
        return Sha256::new_with_prefix([prefix]).chain_update(bytes).finalize().into();
    };
    behind.copy_from_slice(bytes);
    let count = if bytes.len() <= SHORT - 64 { 1 } else { 2 };
    // The length of the input in bits: short, so its two low bytes say it.
    let [.., high, low] = (8 * (1 + bytes.len())).to_be_bytes();
    for (at, byte) in [(0, prefix), (1 + bytes.len(), 0x80), (64 * count - 2, high), (64 * count - 1, low)] {
        if let Some(place) = input.get_mut(at) {
            *place = byte;
        }
    }
    let mut state = INITIAL;
    compress256(&mut state, blocks.get(..count).unwrap_or(&blocks));
    let mut hash = [0; 32];
    for (word, place) in state.iter().zip(hash.as_chunks_mut().0) {
        *place = word.to_be_bytes();
    }
    hash
}

/// The hash of one entry, with the prefix of a leaf. Printed as 64 lowercase hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeafHash(pub [u8; 32]);

impl LeafHash {
    /// The leaf hash of `entry`.
    #[must_use]
    pub fn of(entry: &[u8]) -> LeafHash {
        LeafHash(prefixed(0x00, entry))
    }
}

impl fmt::Display for LeafHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Hash(self.0), f)
    }
}

impl fmt::Debug for LeafHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&Hash(self.0), f)
    }
}

impl From<LeafHash> for Hash {
    /// A leaf is the complete subtree of level 0, so its hash can stand where a node is asked for.
    /// The other direction doesn't exist: what looks like a leaf must have been hashed as one.
    fn from(leaf: LeafHash) -> Hash {
        Hash(leaf.0)
    }
}

impl AsRef<[u8]> for LeafHash {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

fn hex_digit(value: u8) -> char {
    char::from(match value {
        0..=9 => b'0' + value,
        _ => b'a' + (value & 15) - 10,
    })
}

fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;

    #[test]
    fn every_length_is_hashed_as_the_library_hashes_it() {
        let bytes: alloc::vec::Vec<u8> = (0..400_u16).map(|number| (number * 7) as u8).collect();
        for length in 0..=bytes.len() {
            for prefix in [0x00, 0x01, 0xff] {
                let whole = Sha256::new_with_prefix([prefix]).chain_update(&bytes[..length]).finalize();
                assert_eq!(
                    prefixed(prefix, &bytes[..length]),
                    <[u8; 32]>::from(whole),
                    "{length} bytes behind {prefix}"
                );
            }
        }
    }

    #[test]
    fn leaves_and_nodes_have_their_prefixes() {
        assert_eq!(LeafHash::of(b"").to_string(), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
        let node = Hash::node(&Hash([0; 32]), &Hash([1; 32]));
        let mut entry = [0; 65];
        entry[0] = 1;
        entry[33..].fill(1);
        assert_eq!(node.0, <[u8; 32]>::from(Sha256::digest(entry)));
        assert_eq!(Hash::EMPTY_ROOT.0, <[u8; 32]>::from(Sha256::digest(b"")));
    }

    #[test]
    fn base64_has_one_spelling() {
        let text = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        assert_eq!(Hash::EMPTY_ROOT.to_base64(), text);
        assert_eq!(Hash::from_base64(text), Some(Hash::EMPTY_ROOT));
        for other in [
            "",
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU", // padding missing
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV=", // stray bits
            "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=", // other alphabet
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n", // newline
            " 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFUA", // 33 bytes
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuA==", // 31 bytes
        ] {
            assert_eq!(Hash::from_base64(other), None, "{other:?}");
        }
    }

    #[test]
    fn hex_has_one_spelling() {
        let text = format!("{:?}", Hash::EMPTY_ROOT);
        assert_eq!(Hash::from_hex(&text), Some(Hash::EMPTY_ROOT));
        assert_eq!(Hash::from_hex(&text.to_uppercase()), None);
        assert_eq!(Hash::from_hex(&text[..63]), None);
        assert_eq!(Hash::from_hex(&text[..62]), None);
        assert_eq!(Hash::from_hex(&format!("{text}0")), None);
        assert_eq!(Hash::from_hex(&format!("+{}", &text[1..])), None);
    }
}
