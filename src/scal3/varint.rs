//! Unsigned varints of multiformats: seven bits a byte, the lowest first, the highest bit says that more follow.
//! <https://github.com/multiformats/unsigned-varint>
//!
//! ```text
//! 300   1010_1100 0000_0010        at most 9 bytes, so 63 bits; no shorter spelling may exist
//! ```

use alloc::vec::Vec;

/// The longest varint.
pub const VARINT_MAX: usize = 9;

/// Why bytes do not begin with a varint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VarintError {
    /// The bytes end inside it.
    #[error("the bytes end inside a varint")]
    Truncated,
    /// A last byte of zero, which a shorter spelling leaves out.
    #[error("a varint that has a shorter spelling")]
    NotShortest,
    /// The ninth byte says that more follow.
    #[error("a varint of more than {VARINT_MAX} bytes")]
    TooLong,
}

/// Splits a varint off the front.
///
/// # Errors
/// [`VarintError`].
pub fn read(bytes: &[u8]) -> Result<(u64, &[u8]), VarintError> {
    let mut number = 0_u64;
    for (at, byte) in bytes.iter().enumerate().take(VARINT_MAX) {
        // At most 8 * 7 = 56, so the seven bits always fit.
        number |= u64::from(byte & 0x7f) << at.saturating_mul(7);
        if byte & 0x80 != 0 {
            continue;
        }
        if *byte == 0 && at > 0 {
            return Err(VarintError::NotShortest);
        }
        return Ok((number, bytes.get(at.saturating_add(1)..).unwrap_or_default()));
    }
    Err(if bytes.len() < VARINT_MAX { VarintError::Truncated } else { VarintError::TooLong })
}

/// Writes a varint. Numbers of 64 bits have none: `number` is below 2^63 wherever this is used, and the highest bit is
/// not written.
pub fn write(number: u64, into: &mut Vec<u8>) {
    let mut rest = number & (u64::MAX >> 1);
    loop {
        // The mask leaves seven bits, which a byte has.
        let low = u8::try_from(rest & 0x7f).unwrap_or_default();
        rest >>= 7;
        if rest == 0 {
            into.push(low);
            return;
        }
        into.push(low | 0x80);
    }
}

/// Writes a length and the bytes of that length.
pub(crate) fn write_bytes(bytes: &[u8], into: &mut Vec<u8>) {
    write(bytes.len() as u64, into);
    into.extend_from_slice(bytes);
}

/// Splits a length and the bytes of that length off the front.
pub(crate) fn read_bytes(bytes: &[u8]) -> Result<(&[u8], &[u8]), VarintError> {
    let (length, rest) = read(bytes)?;
    let length = usize::try_from(length).map_err(|_| VarintError::Truncated)?;
    rest.split_at_checked(length).ok_or(VarintError::Truncated)
}
