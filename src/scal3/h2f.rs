//! Hashing to scalars: `expand_message_xmd` with SHA-256 and reduction modulo the group order.
//!
//! RFC 9380, section 5: <https://www.rfc-editor.org/rfc/rfc9380#section-5>.
//! RFC 9591, section 6.4 builds the hash functions of FROST(P-256, SHA-256) on it:
//! <https://www.rfc-editor.org/rfc/rfc9591#section-6.4>.
//!
//! The modulus is the order n of the group, not the prime of the field that hashing to a curve
//! would use.

use alloc::vec::Vec;

use sha2::{Digest, Sha256};

use crate::point::Scalar;

/// The context string of FROST(P-256, SHA-256).
pub const FROST_CONTEXT: &[u8] = b"FROST-P256-SHA256-v1";

/// More bytes were asked for than `expand_message_xmd` can make (255 hashes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expand_message_xmd makes at most 8160 bytes")]
pub struct TooLong;

/// Fills `out` from a message given in parts.
///
/// A domain separation tag above 255 bytes is hashed first, as the RFC says.
///
/// # Errors
/// [`TooLong`] above 8160 bytes.
pub fn expand_message_xmd(message: &[&[u8]], dst: &[u8], out: &mut [u8]) -> Result<(), TooLong> {
    let hashes = u8::try_from(out.len().div_ceil(32)).map_err(|_| TooLong)?;
    let len = u16::try_from(out.len()).map_err(|_| TooLong)?;
    let tag = tag(dst);

    let mut first = Sha256::new_with_prefix([0; 64]);
    message.iter().for_each(|part| first.update(part));
    first.update(len.to_be_bytes());
    first.update([0]);
    first.update(&tag);
    let first: [u8; 32] = first.finalize().into();

    let mut last = [0; 32];
    for (round, chunk) in (1..=hashes).zip(out.chunks_mut(32)) {
        let mut block = first;
        block.iter_mut().zip(last).for_each(|(a, b)| *a ^= b);
        let mut hash = Sha256::new_with_prefix(block);
        hash.update([round]);
        hash.update(&tag);
        last = hash.finalize().into();
        chunk.iter_mut().zip(last).for_each(|(to, from)| *to = from);
    }
    Ok(())
}

/// `DST_prime`: the tag and its length.
fn tag(dst: &[u8]) -> Vec<u8> {
    let mut tag = dst.to_vec();
    let len = u8::try_from(tag.len()).unwrap_or_else(|_| {
        tag = Sha256::new_with_prefix(b"H2C-OVERSIZE-DST-").chain_update(dst).finalize().to_vec();
        32
    });
    tag.push(len);
    tag
}

/// `hash_to_field` with L = 48 and N elements.
///
/// N is small: it is the number of scalars wanted, and one call can make at most 170.
pub fn hash_to_scalars<const N: usize>(message: &[&[u8]], dst: &[u8]) -> [Scalar; N] {
    const { assert!(N > 0 && N <= 170, "48 bytes each, 8160 in all") }
    let mut uniform = [[0; 48]; N];
    // The length was bounded above, while compiling.
    let expanded = expand_message_xmd(message, dst, uniform.as_flattened_mut());
    debug_assert!(expanded.is_ok(), "the constant assertion above bounds the length");
    uniform.map(|bytes| Scalar::reduce_wide(&bytes))
}

/// `hash_to_field` with L = 48 and one element.
pub fn hash_to_scalar(message: &[&[u8]], dst: &[u8]) -> Scalar {
    let [scalar] = hash_to_scalars::<1>(message, dst);
    scalar
}

/// H1 of RFC 9591: binding factors.
pub fn frost_h1(message: &[&[u8]]) -> Scalar {
    frost(message, b"rho")
}

/// H2 of RFC 9591: the challenge.
pub fn frost_h2(message: &[&[u8]]) -> Scalar {
    frost(message, b"chal")
}

/// H3 of RFC 9591: nonces.
pub fn frost_h3(message: &[&[u8]]) -> Scalar {
    frost(message, b"nonce")
}

/// H4 of RFC 9591: the message.
pub fn frost_h4(message: &[u8]) -> [u8; 32] {
    frost_digest(message, b"msg")
}

/// H5 of RFC 9591: the list of commitments.
pub fn frost_h5(message: &[u8]) -> [u8; 32] {
    frost_digest(message, b"com")
}

fn frost(message: &[&[u8]], name: &[u8]) -> Scalar {
    hash_to_scalar(message, &[FROST_CONTEXT, name].concat())
}

fn frost_digest(message: &[u8], name: &[u8]) -> [u8; 32] {
    let hash = Sha256::new_with_prefix(FROST_CONTEXT).chain_update(name).chain_update(message);
    hash.finalize().into()
}
