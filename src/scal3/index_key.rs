//! Index keys: under which key an entry is found by those who may find it, and by nobody else.
//!
//! ```text
//! K_s              = HMAC-SHA-256(label_secret, "solelog/stream/v1" || 0x00 || enrolment_id || s: u8)
//! index_key        = HMAC-SHA-256(K_s, counter: u64 BE), its highest bit cleared
//! label            = H("solelog/label/v1", K_s)                       what the credential commits to
//! read token       = HMAC-SHA-256(label_secret, "solelog/read/v1" || 0x00 || index_key)
//! status index key = HMAC-SHA-256(credential, "solelog/status/v1" || 0x00 || counter: u64 BE), its highest bit set
//! ```
//!
//! An index key is used once, and who makes a record chooses the record's own. So there are two spaces, told apart by the
//! highest bit of the first byte: no record can take the key that a later suspension or revocation needs (ADR 11).
//!
//! Counters have no gaps. So whoever has K_s can show that entries 0 to k are there and k+1 is not, which is the whole list.

use core::fmt;

use hmac::digest::CtOutput;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};
use tlog::Hash;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::tag::tagged;

/// Which entries an index key can belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Space {
    /// The highest bit clear: everything a subscriber or provider derives from a stream key.
    Stream,
    /// The highest bit set: changes of a credential's status, and nothing else.
    Status,
}

impl Space {
    /// The space that this index key is in.
    pub fn of(index_key: &Hash) -> Space {
        let Hash([first, ..]) = index_key;
        if first & 0x80 == 0 { Space::Stream } else { Space::Status }
    }

    /// The index key in this space that differs from `hash` in the highest bit at most.
    pub fn place(self, hash: Hash) -> Hash {
        let Hash(mut bytes) = hash;
        let [first, ..] = &mut bytes;
        match self {
            Space::Stream => *first &= 0x7f,
            Space::Status => *first |= 0x80,
        }
        Hash(bytes)
    }
}

/// The two streams of entries about one enrolment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// 0: the subscriber's own instructions; the counter is their sequence.
    Own,
    /// 1: what the provider writes about the subscriber.
    Provider,
}

/// Defines a secret of 32 bytes as a type of its own: wiped when dropped, not `Clone`, printed without its content,
/// compared in constant time only.
macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// ```compile_fail,E0277
        /// fn needs_clone<T: Clone>() {}
        #[doc = concat!("needs_clone::<scal3::index_key::", stringify!($name), ">();")]
        /// ```
        #[derive(Zeroize, ZeroizeOnDrop)]
        pub struct $name([u8; 32]);

        impl $name {
            /// To give it to somebody, or to keep it.
            pub const fn expose(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl ConstantTimeEq for $name {
            fn ct_eq(&self, other: &Self) -> Choice {
                self.0.ct_eq(&other.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(secret)"))
            }
        }
    };
}

secret! {
    /// The secret of a subscriber and the provider, drawn at enrolment, from which all keys of their streams derive.
    LabelSecret
}

impl LabelSecret {
    /// Takes 32 random bytes over. The caller wipes its own copy.
    pub const fn from_bytes(bytes: [u8; 32]) -> LabelSecret {
        LabelSecret(bytes)
    }

    /// The key of one of the two streams of an enrolment.
    pub fn stream_key(&self, enrolment_id: &Hash, stream: Stream) -> StreamKey {
        let number = match stream {
            Stream::Own => 0,
            Stream::Provider => 1,
        };
        let tag = hmac(&self.0, &[b"solelog/stream/v1\0", &enrolment_id.0, &[number]]);
        StreamKey((*tag.as_bytes()).into())
    }

    /// The token that opens the entry with this index key.
    pub fn read_token(&self, index_key: &Hash) -> ReadToken {
        let tag = hmac(&self.0, &[b"solelog/read/v1\0", &index_key.0]);
        ReadToken((*tag.as_bytes()).into())
    }
}

secret! {
    /// The key of one stream: it finds every entry of the stream, so it goes only to those who may know them.
    StreamKey
}

impl StreamKey {
    /// A stream key that somebody was given. The caller wipes its own copy.
    pub const fn from_bytes(bytes: [u8; 32]) -> StreamKey {
        StreamKey(bytes)
    }

    /// The index key of entry `counter` of the stream.
    pub fn index_key(&self, counter: u64) -> Hash {
        Space::Stream.place(public(&hmac(&self.0, &[&counter.to_be_bytes()])))
    }

    /// What the credential commits to, so that a stream key can be checked against it.
    pub fn label(&self) -> Hash {
        tagged("solelog/label/v1", &self.0)
    }
}

secret! {
    /// The token with which a subscriber reads the opening of an own entry.
    ReadToken
}

impl ReadToken {
    /// Whether these bytes, as somebody presents them, are the token. Takes as long whatever they are, but for their length.
    pub fn matches(&self, presented: &[u8]) -> bool {
        self.0[..].ct_eq(presented).into()
    }
}

/// The index key of change `counter` of a credential's status: 0 is `issued`, then every change.
pub fn status_index_key(credential: &Hash, counter: u64) -> Hash {
    let tag = hmac(&credential.0, &[b"solelog/status/v1\0", &counter.to_be_bytes()]);
    Space::Status.place(public(&tag))
}

fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> CtOutput<Hmac<Sha256>> {
    // HMAC fills a short key with zeros up to the block. Doing so here gives the constructor that can't fail.
    let mut block = Zeroizing::new([0; 64]);
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    let mut mac = Hmac::<Sha256>::new((&*block).into());
    for part in parts {
        mac.update(part);
    }
    mac.finalize()
}

/// The output of HMAC where it is an index key, which stands in the log.
fn public(tag: &CtOutput<Hmac<Sha256>>) -> Hash {
    Hash((*tag.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The states of the hash hold keys. Without the features that make the libraries wipe them this does not compile.
    #[test]
    fn hash_states_are_wiped() {
        const fn wiped<T: ZeroizeOnDrop>() {}
        wiped::<Sha256>();
        wiped::<CtOutput<Hmac<Sha256>>>();
        wiped::<LabelSecret>();
        wiped::<StreamKey>();
        wiped::<ReadToken>();
    }

    #[test]
    fn a_read_token_matches_itself_and_nothing_shorter_longer_or_other() {
        let token = LabelSecret::from_bytes([1; 32]).read_token(&Hash([2; 32]));
        let bytes = *token.expose();
        assert!(token.matches(&bytes));
        for short in 0..32 {
            assert!(!token.matches(&bytes[..short]));
        }
        assert!(!token.matches(&[&bytes[..], &[0]].concat()));
        for at in 0..32 {
            let mut other = bytes;
            other[at] ^= 1;
            assert!(!token.matches(&other));
        }
        let others = LabelSecret::from_bytes([3; 32]).read_token(&Hash([2; 32]));
        assert!(!bool::from(token.ct_eq(&others)));
    }

    #[test]
    fn secrets_print_their_name_only() {
        let secret = LabelSecret::from_bytes([0x2a; 32]);
        let key = secret.stream_key(&Hash([0; 32]), Stream::Own);
        let token = secret.read_token(&Hash([0; 32]));
        let printed = std::format!("{secret:?} {key:?} {token:?}");
        assert_eq!(printed, "LabelSecret(secret) StreamKey(secret) ReadToken(secret)");
    }
}
