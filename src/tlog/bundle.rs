//! Entry bundles: up to 256 entries, one after the other. <https://c2sp.org/tlog-tiles#log-entries>
//!
//! ```text
//! u16 (big-endian) length || entry || u16 length || entry || ...
//! ```
//!
//! Entry `i` of a bundle hashes to hash `i` of the level-0 tile of the same index, so a bundle
//! proves itself against the tree and needs no other protection.

use alloc::vec::Vec;

use crate::tile::Tile;

/// The largest entry, in bytes.
pub const MAX_ENTRY: usize = u16::MAX as usize;

/// The largest bundle, in bytes.
pub const MAX_LEN: usize = Tile::FULL as usize * (2 + MAX_ENTRY);

/// An entry that is too long for its length field.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("an entry has at most {MAX_ENTRY} bytes, not {given}")]
pub struct EntryTooLarge {
    /// Its length in bytes.
    pub given: usize,
}

/// Why bytes are not a bundle.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BundleError {
    /// There are more than 256 entries.
    #[error("the bundle has more than {} entries", Tile::FULL)]
    TooMany,
    /// The bytes end within an entry or its length.
    #[error("the bundle ends within an entry")]
    Truncated,
}

/// Adds an entry to the end of a bundle. After an error nothing has changed.
///
/// The number of entries is the caller's: a bundle is full after 256.
pub fn push(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), EntryTooLarge> {
    let length = u16::try_from(entry.len()).map_err(|_| EntryTooLarge { given: entry.len() })?;
    bundle.reserve(2 + entry.len());
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// The entries of a bundle, in order, at most 256.
///
/// How many there must be is what its path says ([`crate::tile::EntriesPath::width`]).
pub fn parse(mut bundle: &[u8]) -> Result<Vec<&[u8]>, BundleError> {
    let mut entries = Vec::new();
    while !bundle.is_empty() {
        if entries.len() == usize::from(Tile::FULL) {
            return Err(BundleError::TooMany);
        }
        let (length, rest) = bundle.split_first_chunk::<2>().ok_or(BundleError::Truncated)?;
        let (entry, rest) =
            rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or(BundleError::Truncated)?;
        entries.push(entry);
        bundle = rest;
    }
    Ok(entries)
}

/// The first `width` entries of a bundle, as the bytes of the narrower bundle; `None` if it has
/// fewer or they are cut short.
///
/// A log that keeps only the widest partial bundle answers for the narrower ones with this.
#[must_use]
pub fn prefix(bundle: &[u8], width: u16) -> Option<&[u8]> {
    let mut rest = bundle;
    for _ in 0..width {
        let (length, entry) = rest.split_first_chunk::<2>()?;
        rest = entry.get(usize::from(u16::from_be_bytes(*length))..)?;
    }
    bundle.get(..bundle.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn a_bundle_parses_to_what_was_pushed() {
        let long = vec![7; MAX_ENTRY];
        let entries: [&[u8]; 4] = [b"", b"one", &long, b""];
        let mut bundle = Vec::new();
        for entry in entries {
            push(&mut bundle, entry).unwrap();
        }
        assert_eq!(parse(&bundle).unwrap(), entries);
        assert_eq!(parse(b"").unwrap(), Vec::<&[u8]>::new());
        let before = bundle.clone();
        assert_eq!(push(&mut bundle, &vec![7; MAX_ENTRY + 1]), Err(EntryTooLarge { given: MAX_ENTRY + 1 }));
        assert_eq!(bundle, before);
    }

    #[test]
    fn a_bundle_cut_anywhere_but_between_entries_is_truncated() {
        let mut bundle = Vec::new();
        push(&mut bundle, b"first").unwrap();
        push(&mut bundle, b"second").unwrap();
        for end in 0..bundle.len() {
            let parsed = parse(&bundle[..end]);
            match end {
                0 => assert_eq!(parsed, Ok(vec![])),
                7 => assert_eq!(parsed, Ok(vec![&b"first"[..]])),
                _ => assert_eq!(parsed, Err(BundleError::Truncated), "{end}"),
            }
        }
    }

    #[test]
    fn a_wider_bundle_begins_with_the_narrower_ones() {
        let mut bundle = Vec::new();
        let mut narrower = vec![bundle.clone()];
        for entry in [&b"first"[..], b"", b"third"] {
            push(&mut bundle, entry).unwrap();
            narrower.push(bundle.clone());
        }
        for (width, bytes) in narrower.iter().enumerate() {
            assert_eq!(prefix(&bundle, width as u16), Some(&bytes[..]));
        }
        assert_eq!(prefix(&bundle, 4), None);
        assert_eq!(prefix(&bundle[..bundle.len() - 1], 3), None);
        assert_eq!(prefix(&bundle[..8], 2), None);
    }

    #[test]
    fn a_bundle_has_at_most_256_entries() {
        assert_eq!(parse(&[0; 512]).map(|entries| entries.len()), Ok(256));
        assert_eq!(parse(&[0; 514]), Err(BundleError::TooMany));
        assert_eq!(parse(&[0; 513]), Err(BundleError::TooMany));
    }
}
