//! The one strict reader that all text formats of a log share.
//!
//! ```text
//! old 20852014\n            every line ends in U+000A, the last one too
//! PlRNCrwH...kaw=\n         base64 is RFC 4648 section 4: padded, no stray bits
//! \n                        numbers are decimal, without leading zeros or sign
//! ```
//!
//! What is accepted here has one spelling. Parsers that disagree about a carriage return or a
//! leading zero let a log show two readers two different texts under one signature.

use alloc::string::String;
use alloc::vec::Vec;

use base64ct::{Base64, Encoding};

/// Why bytes are not text of a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TextError {
    /// Not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// A character below U+0020 that is not a newline: a carriage return, a tab, a zero.
    #[error("a control character other than newline")]
    ControlCharacter,
}

/// `bytes` as text without control characters other than newline.
pub fn check(bytes: &[u8]) -> Result<&str, TextError> {
    let text = core::str::from_utf8(bytes).map_err(|_| TextError::NotUtf8)?;
    if text.bytes().any(is_control) {
        return Err(TextError::ControlCharacter);
    }
    Ok(text)
}

/// Whether `text` may stand in one line: no control character at all.
pub(crate) fn is_one_line(text: &str) -> bool {
    !text.bytes().any(|byte| byte < 0x20)
}

/// The control characters that a note must not contain. U+007F is not among them.
fn is_control(byte: u8) -> bool {
    byte < 0x20 && byte != b'\n'
}

/// A decimal number of at most 2^63 - 1: digits only, `0` or without leading zeros.
#[must_use]
pub fn decimal(text: &str) -> Option<u64> {
    let canonical = match text.as_bytes() {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !canonical {
        return None;
    }
    let number: u64 = text.parse().ok()?;
    (number <= i64::MAX as u64).then_some(number)
}

/// Decodes standard, padded base64. Whitespace, another alphabet, missing padding and stray
/// bits before the padding are refused.
#[must_use]
pub fn from_base64(text: &str) -> Option<Vec<u8>> {
    let bytes = Base64::decode_vec(text).ok()?;
    // The decoder is strict about stray bits; this line makes it our promise.
    (to_base64(&bytes) == text).then_some(bytes)
}

/// Encodes standard, padded base64.
#[must_use]
pub fn to_base64(bytes: &[u8]) -> String {
    Base64::encode_string(bytes)
}

/// Reads a text line by line. A last line without its newline is not a line.
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    rest: &'a str,
}

impl<'a> Lines<'a> {
    /// Starts before the first line of `text`.
    #[must_use]
    pub fn new(text: &'a str) -> Lines<'a> {
        Lines { rest: text }
    }

    /// What has not been read yet.
    #[must_use]
    pub fn rest(&self) -> &'a str {
        self.rest
    }

    /// The next line when it satisfies `wanted`; otherwise it stays unread.
    pub fn next_if(&mut self, wanted: impl FnOnce(&str) -> bool) -> Option<&'a str> {
        let (line, rest) = self.rest.split_once('\n')?;
        wanted(line).then(|| {
            self.rest = rest;
            line
        })
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a str;

    /// The next line, without its newline.
    fn next(&mut self) -> Option<&'a str> {
        self.next_if(|_| true)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn numbers_have_one_spelling_and_end_at_the_largest_signed_integer() {
        assert_eq!(decimal("0"), Some(0));
        assert_eq!(decimal("10"), Some(10));
        assert_eq!(decimal("9223372036854775807"), Some(i64::MAX as u64));
        for bad in [
            "",
            "00",
            "01",
            "+1",
            "-1",
            " 1",
            "1 ",
            "1_0",
            "0x1",
            "1\r",
            "\u{663}",
            "9223372036854775808",
            "18446744073709551616",
            "99999999999999999999999999",
        ] {
            assert_eq!(decimal(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn base64_has_one_spelling() {
        assert_eq!(from_base64("Zm8="), Some(vec![b'f', b'o']));
        assert_eq!(from_base64(""), Some(vec![]));
        for bad in ["Zm8", "Zm9=", "Zm8=\n", " Zm8=", "Zm8==", "Zm-_", "====", "Z"] {
            assert_eq!(from_base64(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn control_characters_are_refused_and_delete_is_not_one_of_them() {
        assert_eq!(check(b"a\nb\x7f\n"), Ok("a\nb\x7f\n"));
        assert_eq!(check(b"a\r\n"), Err(TextError::ControlCharacter));
        assert_eq!(check(b"a\tb\n"), Err(TextError::ControlCharacter));
        assert_eq!(check(b"a\0b\n"), Err(TextError::ControlCharacter));
        assert_eq!(check(&[0xff, b'\n']), Err(TextError::NotUtf8));
    }

    #[test]
    fn a_line_without_newline_is_not_read() {
        let mut lines = Lines::new("one\n\nthree");
        assert_eq!(lines.next(), Some("one"));
        assert_eq!(lines.next_if(|line| line == "x"), None);
        assert_eq!(lines.next(), Some(""));
        assert_eq!(lines.next(), None);
        assert_eq!(lines.rest(), "three");
    }
}
