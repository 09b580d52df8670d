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

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tlog::Hash;

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

/// The key of one stream: it finds every entry of the stream, so it goes only to those who may know them.
///
/// Not printable, by intent.
#[derive(Clone)]
pub struct StreamKey([u8; 32]);

impl StreamKey {
    /// A stream key that somebody was given.
    pub fn new(bytes: [u8; 32]) -> StreamKey {
        StreamKey(bytes)
    }

    /// To give the key to somebody.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The index key of entry `counter` of the stream.
    pub fn index_key(&self, counter: u64) -> Hash {
        Space::Stream.place(hmac(&self.0, &[&counter.to_be_bytes()]))
    }

    /// What the credential commits to, so that a stream key can be checked against it.
    pub fn label(&self) -> Hash {
        tagged("solelog/label/v1", &self.0)
    }
}

/// The key of a stream. `label_secret` is shared by subscriber and provider at enrolment.
pub fn stream_key(label_secret: &[u8; 32], enrolment_id: &Hash, stream: Stream) -> StreamKey {
    let number = match stream {
        Stream::Own => 0,
        Stream::Provider => 1,
    };
    StreamKey(hmac(label_secret, &[b"solelog/stream/v1\0", &enrolment_id.0, &[number]]).0)
}

/// The token with which a subscriber reads the opening of an own entry.
pub fn read_token(label_secret: &[u8; 32], index_key: &Hash) -> Hash {
    hmac(label_secret, &[b"solelog/read/v1\0", &index_key.0])
}

/// The index key of change `counter` of a credential's status: 0 is `issued`, then every change.
pub fn status_index_key(credential: &Hash, counter: u64) -> Hash {
    Space::Status.place(hmac(&credential.0, &[b"solelog/status/v1\0", &counter.to_be_bytes()]))
}

fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> Hash {
    // HMAC fills a short key with zeros up to the block. Doing so here gives the constructor that can't fail.
    let mut block = [0; 64];
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    let mut mac = Hmac::<Sha256>::new(&block.into());
    for part in parts {
        mac.update(part);
    }
    Hash(mac.finalize().into_bytes().into())
}
