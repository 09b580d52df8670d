//! What the tests share: vectors in place, and a random generator that repeats itself.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::convert::Infallible;
use std::path::PathBuf;

use rand_core::{TryCryptoRng, TryRng};
use serde_json::Value;

/// Reads a vector file, or says that there is none.
pub fn vectors(name: &str) -> Option<Value> {
    let root = std::env::var_os("SOLELOG_VECTORS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors")), PathBuf::from);
    let path = root.join(name);
    match std::fs::read(&path) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).expect("the vector file is JSON")),
        Err(error) if std::env::var("SOLELOG_REQUIRE_VECTORS").as_deref() == Ok("1") => {
            panic!("{}: {error}", path.display())
        }
        Err(_) => {
            println!("skipped: no vectors at {}", path.display());
            None
        }
    }
}

/// The bytes of a hex string in a vector.
pub fn hex(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().expect("a hex string")).expect("hex")
}

/// The bytes of a hex string of known length.
pub fn array<const N: usize>(value: &Value) -> [u8; N] {
    hex(value).try_into().expect("the length of this field")
}

/// ChaCha20 (RFC 8439 block function) as a stream: 64-bit counter from 0, nonce 0, 32-byte key.
pub struct ChaCha20 {
    key: [u32; 8],
    counter: u64,
    block: [u8; 64],
    used: usize,
}

impl ChaCha20 {
    pub fn new(key: [u8; 32]) -> Self {
        let mut words = [0; 8];
        for (word, bytes) in words.iter_mut().zip(key.chunks(4)) {
            *word = u32::from_le_bytes(bytes.try_into().unwrap());
        }
        ChaCha20 { key: words, counter: 0, block: [0; 64], used: 64 }
    }

    fn refill(&mut self) {
        let mut state = [0u32; 16];
        state[..4].copy_from_slice(&[0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574]);
        state[4..12].copy_from_slice(&self.key);
        state[12] = self.counter as u32;
        state[13] = (self.counter >> 32) as u32;
        let mut mixed = state;
        for _ in 0..10 {
            for [a, b, c, d] in [
                [0, 4, 8, 12],
                [1, 5, 9, 13],
                [2, 6, 10, 14],
                [3, 7, 11, 15],
                [0, 5, 10, 15],
                [1, 6, 11, 12],
                [2, 7, 8, 13],
                [3, 4, 9, 14],
            ] {
                for (x, y, z, turn) in [(a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)] {
                    mixed[x] = mixed[x].wrapping_add(mixed[y]);
                    mixed[z] = (mixed[z] ^ mixed[x]).rotate_left(turn);
                }
            }
        }
        for ((bytes, mixed), start) in self.block.chunks_mut(4).zip(mixed).zip(state) {
            bytes.copy_from_slice(&mixed.wrapping_add(start).to_le_bytes());
        }
        self.counter += 1;
        self.used = 0;
    }
}

impl TryRng for ChaCha20 {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for byte in out {
            if self.used == 64 {
                self.refill();
            }
            *byte = self.block[self.used];
            self.used += 1;
        }
        Ok(())
    }
}

impl TryCryptoRng for ChaCha20 {}
