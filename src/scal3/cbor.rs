//! Deterministic CBOR, RFC 8949 section 4.2.1: one value, one spelling.
//! <https://www.rfc-editor.org/rfc/rfc8949#section-4.2.1>
//!
//! ```text
//! bytes --- scan: well-formed, shortest, definite, keys ascending, depth, nothing behind
//!       --- ciborium: bytes -> Value
//!       --- written again: Value -> bytes, which must be the same bytes
//! ```
//!
//! Two questions are answered here. [`check_deterministic`] judges any CBOR item: floats, tags, simple values and
//! all. [`decode`] is what our own formats go through: the same rules, and of the data model only integers, strings,
//! arrays, maps, booleans and null. Floats, tags and other simple values are refused on purpose: no format of ours
//! has them, so whoever sends one means something that we would not understand.
//!
//! The scan runs first and allocates nothing, so a declared length of 2^62 or a thousand nested arrays cost what
//! their bytes cost to read. Only then does a decoder build a value.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
pub use ciborium::Value;
use ciborium::value::Integer;
use tlog::Hash;

use crate::limits::CBOR_DEPTH_MAX;

/// How deep [`check_deterministic`] follows foreign data; our own formats stop at [`CBOR_DEPTH_MAX`].
const FOREIGN_DEPTH_MAX: usize = 64;

/// Why bytes are not one deterministic CBOR item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CborError {
    /// More bytes than this format may have.
    #[error("{len} bytes where at most {max} are allowed")]
    TooLong {
        /// What was given.
        len: usize,
        /// What is allowed.
        max: usize,
    },
    /// The bytes end inside an item, or a length promises more than there is.
    #[error("the bytes end inside an item")]
    Truncated,
    /// Additional information 28 to 30, or 31 where it has no meaning.
    #[error("a reserved initial byte")]
    Reserved,
    /// A string, array or map of indefinite length.
    #[error("an indefinite length")]
    Indefinite,
    /// A break where no indefinite item is open.
    #[error("a break outside an indefinite item")]
    Break,
    /// An integer, length or tag number that has a shorter spelling.
    #[error("a number that has a shorter spelling")]
    NotShortest,
    /// A float that a shorter float holds without loss.
    #[error("a float that has a shorter spelling")]
    FloatNotShortest,
    /// A big number that is not a byte string, starts with zero, or fits an ordinary integer.
    #[error("a big number that has a shorter spelling, or none")]
    BigNumber,
    /// A text string that is not UTF-8.
    #[error("a text that is not UTF-8")]
    Utf8,
    /// Arrays, maps and tags too deep in one another.
    #[error("nested too deep")]
    Depth,
    /// Map keys that are not in ascending bytewise order.
    #[error("map keys out of order")]
    KeyOrder,
    /// A map key that occurs twice.
    #[error("a map key that occurs twice")]
    DuplicateKey,
    /// A float, where only our own formats' types are allowed.
    #[error("a float, which no format here has")]
    Float,
    /// A tag, where only our own formats' types are allowed.
    #[error("a tag, which no format here has")]
    Tag,
    /// A simple value other than false, true and null, where only our own formats' types are allowed.
    #[error("a simple value other than false, true and null")]
    Simple,
    /// Bytes behind the item.
    #[error("bytes behind the item")]
    Trailing,
    /// The decoder does not take it, or encoding what it read gives other bytes.
    #[error("encoding what was read gives other bytes")]
    NotRoundTrip,
}

impl CborError {
    /// A short stable name of the refusal, the one that `schemas/vectors` use.
    pub fn code(&self) -> &'static str {
        match self {
            CborError::TooLong { .. } => "cbor/too-long",
            CborError::Truncated => "cbor/truncated",
            CborError::Reserved => "cbor/reserved",
            CborError::Indefinite => "cbor/indefinite",
            CborError::Break => "cbor/break",
            CborError::NotShortest => "cbor/not-shortest",
            CborError::FloatNotShortest => "cbor/float-not-shortest",
            CborError::BigNumber => "cbor/big-number",
            CborError::Utf8 => "cbor/utf8",
            CborError::Depth => "cbor/depth",
            CborError::KeyOrder => "cbor/key-order",
            CborError::DuplicateKey => "cbor/duplicate-key",
            CborError::Float => "cbor/float",
            CborError::Tag => "cbor/tag",
            CborError::Simple => "cbor/simple",
            CborError::Trailing => "cbor/trailing",
            CborError::NotRoundTrip => "cbor/not-round-trip",
        }
    }
}

/// Checks that `bytes` are exactly one item in the core deterministic encoding, of any CBOR type.
///
/// NaN with a payload is accepted in its shortest spelling, as the common deterministic encoding profile has it.
/// Nesting beyond 64 is refused.
pub fn check_deterministic(bytes: &[u8]) -> Result<(), CborError> {
    Scan { rest: bytes, depth_max: FOREIGN_DEPTH_MAX, everything: true }.whole()
}

/// Decodes one item of at most `max` bytes in the subset that our formats use.
pub fn decode(bytes: &[u8], max: usize) -> Result<Value, CborError> {
    if bytes.len() > max {
        return Err(CborError::TooLong { len: bytes.len(), max });
    }
    Scan { rest: bytes, depth_max: CBOR_DEPTH_MAX, everything: false }.whole()?;
    let value: Value = ciborium::de::from_reader_with_recursion_limit(bytes, CBOR_DEPTH_MAX.saturating_mul(2))
        .map_err(|_| CborError::NotRoundTrip)?;
    // The scan and this comparison are two independent judges of the same rule.
    if encode(&value) != bytes {
        return Err(CborError::NotRoundTrip);
    }
    Ok(value)
}

/// Splits the first item off a CBOR sequence (RFC 8742). The item has passed the scan that [`decode`] begins with.
pub fn split_first(sequence: &[u8]) -> Result<(&[u8], &[u8]), CborError> {
    let mut scan = Scan { rest: sequence, depth_max: CBOR_DEPTH_MAX, everything: false };
    scan.item(0)?;
    let length = sequence.len().saturating_sub(scan.rest.len());
    sequence.split_at_checked(length).ok_or(CborError::Truncated)
}

/// Encodes a value. Deterministic for values without floats whose maps list their keys in order.
pub fn encode(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    write(value, &mut bytes);
    bytes
}

fn write(value: &Value, to: &mut Vec<u8>) {
    match value {
        Value::Integer(number) => {
            let number = i128::from(*number);
            // A value's integers are those of CBOR, −2⁶⁴ to 2⁶⁴ − 1.
            let (major, rest) = if number < 0 { (1, -1 - number) } else { (0, number) };
            write_head(major, u64::try_from(rest).unwrap_or(u64::MAX), to);
        }
        Value::Bytes(bytes) => {
            write_head(2, bytes.len() as u64, to);
            to.extend_from_slice(bytes);
        }
        Value::Text(text) => {
            write_head(3, text.len() as u64, to);
            to.extend_from_slice(text.as_bytes());
        }
        Value::Array(items) => {
            write_head(4, items.len() as u64, to);
            items.iter().for_each(|item| write(item, to));
        }
        Value::Map(pairs) => {
            write_head(5, pairs.len() as u64, to);
            for (key, value) in pairs {
                write(key, to);
                write(value, to);
            }
        }
        Value::Bool(flag) => to.push(if *flag { 0xf5 } else { 0xf4 }),
        Value::Null => to.push(0xf6),
        other => {
            // No format of ours has these. A Vec takes every write and a Value always has an encoding. Were that ever untrue,
            // the bytes would be cut short, and every parser refuses those.
            let written = ciborium::into_writer(other, &mut *to);
            debug_assert!(written.is_ok(), "a Value always encodes");
        }
    }
}

/// The initial byte of an item, and its number in the shortest spelling.
fn write_head(major: u8, number: u64, to: &mut Vec<u8>) {
    let major = major << 5;
    let bytes = number.to_be_bytes();
    let [.., b4, b5, b6, b7] = bytes;
    match number {
        0..=23 => to.push(major | b7),
        24..=0xff => to.extend_from_slice(&[major | 24, b7]),
        0x100..=0xffff => to.extend_from_slice(&[major | 25, b6, b7]),
        0x1_0000..=0xffff_ffff => to.extend_from_slice(&[major | 26, b4, b5, b6, b7]),
        _ => {
            to.push(major | 27);
            to.extend_from_slice(&bytes);
        }
    }
}

/// The bytes not read yet.
struct Scan<'a> {
    rest: &'a [u8],
    depth_max: usize,
    everything: bool,
}

impl<'a> Scan<'a> {
    fn whole(mut self) -> Result<(), CborError> {
        self.item(0)?;
        if self.rest.is_empty() { Ok(()) } else { Err(CborError::Trailing) }
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], CborError> {
        let count = usize::try_from(count).map_err(|_| CborError::Truncated)?;
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(CborError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn number(&mut self, width: u64) -> Result<u64, CborError> {
        Ok(self.take(width)?.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
    }

    /// One item inside `depth` others.
    fn item(&mut self, depth: usize) -> Result<(), CborError> {
        let initial = self.number(1)?;
        let (major, info) = (initial >> 5, initial & 31);
        let width = match info {
            0..=23 => 0,
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            31 if (2..=5).contains(&major) => return Err(CborError::Indefinite),
            31 if major == 7 => return Err(CborError::Break),
            _ => return Err(CborError::Reserved),
        };
        let number = if width == 0 { info } else { self.number(width)? };
        if major == 7 {
            return self.simple_or_float(width, number);
        }
        let shortest = match width {
            1 => number > 23,
            2 => number > 0xff,
            4 => number > 0xffff,
            8 => number > 0xffff_ffff,
            _ => true,
        };
        if !shortest {
            return Err(CborError::NotShortest);
        }
        match major {
            0 | 1 => Ok(()),
            2 => self.take(number).map(|_| ()),
            3 => core::str::from_utf8(self.take(number)?).map(|_| ()).map_err(|_| CborError::Utf8),
            _ if depth >= self.depth_max => Err(CborError::Depth),
            4 => self.array(number, depth),
            5 => self.map(number, depth),
            _ => self.tag(number, depth),
        }
    }

    fn array(&mut self, count: u64, depth: usize) -> Result<(), CborError> {
        // No item is shorter than a byte, so the loop never outruns the input.
        for _ in 0..count {
            self.item(depth.saturating_add(1))?;
        }
        Ok(())
    }

    fn map(&mut self, count: u64, depth: usize) -> Result<(), CborError> {
        let mut last: Option<&[u8]> = None;
        for _ in 0..count {
            let before = self.rest;
            self.item(depth.saturating_add(1))?;
            let length = before.len().saturating_sub(self.rest.len());
            let key = before.get(..length).ok_or(CborError::Truncated)?;
            match last.map(|last| last.cmp(key)) {
                Some(core::cmp::Ordering::Equal) => return Err(CborError::DuplicateKey),
                Some(core::cmp::Ordering::Greater) => return Err(CborError::KeyOrder),
                _ => last = Some(key),
            }
            self.item(depth.saturating_add(1))?;
        }
        Ok(())
    }

    fn tag(&mut self, tag: u64, depth: usize) -> Result<(), CborError> {
        if !self.everything {
            return Err(CborError::Tag);
        }
        if tag == 2 || tag == 3 {
            let before = self.rest;
            self.item(depth.saturating_add(1))?;
            let length = before.len().saturating_sub(self.rest.len());
            let content = before.get(..length).ok_or(CborError::Truncated)?;
            return if is_big_number(content) { Ok(()) } else { Err(CborError::BigNumber) };
        }
        self.item(depth.saturating_add(1))
    }

    fn simple_or_float(&mut self, width: u64, number: u64) -> Result<(), CborError> {
        if width == 1 && number < 32 {
            return Err(CborError::Reserved);
        }
        if width <= 1 {
            let ours = (20..=22).contains(&number);
            return if self.everything || ours { Ok(()) } else { Err(CborError::Simple) };
        }
        if !self.everything {
            return Err(CborError::Float);
        }
        let shortens = match width {
            4 => f32_fits_f16(number),
            8 => f64_fits_f32(number),
            _ => false,
        };
        if shortens { Err(CborError::FloatNotShortest) } else { Ok(()) }
    }
}

/// Whether this already scanned item is a byte string of more than 8 bytes that does not start with zero.
fn is_big_number(item: &[u8]) -> bool {
    let Some((&initial, rest)) = item.split_first() else {
        return false;
    };
    let header = match initial {
        0x49..=0x57 => 0,
        0x58 => 1,
        0x59 => 2,
        0x5a => 4,
        0x5b => 8,
        _ => return false,
    };
    rest.get(header).is_some_and(|first| *first != 0)
}

/// Whether the f32 with these bits has an f16 with the same value (for NaN: the same payload).
fn f32_fits_f16(bits: u64) -> bool {
    let exponent = (bits >> 23) & 0xff;
    let fraction = bits & 0x7f_ffff;
    match exponent {
        // Infinity, NaN, and the normal range of f16.
        255 | 113..=142 => fraction.trailing_zeros() >= 13,
        // Subnormal in f16: the leading one becomes explicit, and every step below 2^-14 costs one more bit.
        103..=112 => u64::from((fraction | 0x80_0000).trailing_zeros()) >= 126_u64.saturating_sub(exponent),
        0 => fraction == 0,
        _ => false,
    }
}

/// Whether the f64 with these bits has an f32 with the same value (for NaN: the same payload).
fn f64_fits_f32(bits: u64) -> bool {
    let exponent = (bits >> 52) & 0x7ff;
    let fraction = bits & 0xf_ffff_ffff_ffff;
    match exponent {
        2047 | 897..=1150 => fraction.trailing_zeros() >= 29,
        874..=896 => u64::from((fraction | (1 << 52)).trailing_zeros()) >= 926_u64.saturating_sub(exponent),
        0 => fraction == 0,
        _ => false,
    }
}

/// What is wrong with one named part of a decoded array.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{part}: {fault}")]
pub struct ShapeError {
    /// The part's name in the CDDL.
    pub part: &'static str,
    /// What is wrong with it.
    pub fault: Fault,
}

impl ShapeError {
    /// A short stable name of the refusal, the one that `schemas/vectors` use.
    pub fn code(&self) -> String {
        format!("shape/{}/{}", self.part, self.fault.name())
    }
}

/// How a part misses its CDDL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Another CBOR type.
    #[error("wrong type")]
    Type,
    /// A string of another length, a number out of range.
    #[error("wrong size")]
    Size,
    /// The right type, but not one of the values allowed.
    #[error("a value that is not allowed")]
    Value,
    /// The array ends before this part.
    #[error("missing")]
    Missing,
    /// The array goes on after its last part.
    #[error("more elements than there should be")]
    Excess,
}

impl Fault {
    fn name(&self) -> &'static str {
        match self {
            Fault::Type => "type",
            Fault::Size => "size",
            Fault::Value => "value",
            Fault::Missing => "missing",
            Fault::Excess => "excess",
        }
    }
}

/// A decoded array, read part by part in the order of its CDDL.
pub struct Parts {
    name: &'static str,
    items: alloc::vec::IntoIter<Value>,
}

impl Parts {
    /// `name` is the array's own name, used when it is no array or is too long.
    pub fn new(name: &'static str, value: Value) -> Result<Parts, ShapeError> {
        match value {
            Value::Array(items) => Ok(Parts { name, items: items.into_iter() }),
            _ => Err(ShapeError { part: name, fault: Fault::Type }),
        }
    }

    /// The elements not read yet.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether every element has been read.
    pub fn is_empty(&self) -> bool {
        self.items.len() == 0
    }

    /// The next element, whatever it is.
    pub fn value(&mut self, part: &'static str) -> Result<Value, ShapeError> {
        self.items.next().ok_or(ShapeError { part, fault: Fault::Missing })
    }

    /// An unsigned integer.
    pub fn uint(&mut self, part: &'static str) -> Result<u64, ShapeError> {
        match self.value(part)? {
            Value::Integer(number) => u64::try_from(number).map_err(|_| ShapeError { part, fault: Fault::Type }),
            _ => Err(ShapeError { part, fault: Fault::Type }),
        }
    }

    /// An unsigned integer that must be `expected`, such as a version.
    pub fn constant(&mut self, part: &'static str, expected: u64) -> Result<(), ShapeError> {
        if self.uint(part)? == expected { Ok(()) } else { Err(ShapeError { part, fault: Fault::Value }) }
    }

    /// A text string.
    pub fn text(&mut self, part: &'static str) -> Result<String, ShapeError> {
        match self.value(part)? {
            Value::Text(text) => Ok(text),
            _ => Err(ShapeError { part, fault: Fault::Type }),
        }
    }

    /// A text of 1 to `max` bytes.
    pub fn bounded_text(&mut self, part: &'static str, max: usize) -> Result<String, ShapeError> {
        let text = self.text(part)?;
        if (1..=max).contains(&text.len()) { Ok(text) } else { Err(ShapeError { part, fault: Fault::Size }) }
    }

    /// True or false.
    pub fn flag(&mut self, part: &'static str) -> Result<bool, ShapeError> {
        match self.value(part)? {
            Value::Bool(flag) => Ok(flag),
            _ => Err(ShapeError { part, fault: Fault::Type }),
        }
    }

    /// A byte string.
    pub fn bytes(&mut self, part: &'static str) -> Result<Vec<u8>, ShapeError> {
        match self.value(part)? {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(ShapeError { part, fault: Fault::Type }),
        }
    }

    /// A byte string of exactly `N` bytes.
    pub fn fixed<const N: usize>(&mut self, part: &'static str) -> Result<[u8; N], ShapeError> {
        <[u8; N]>::try_from(self.bytes(part)?).map_err(|_| ShapeError { part, fault: Fault::Size })
    }

    /// A byte string of 32 bytes.
    pub fn hash(&mut self, part: &'static str) -> Result<Hash, ShapeError> {
        self.fixed(part).map(Hash)
    }

    /// What `read` reads, or null.
    pub fn or_null<T>(
        &mut self,
        part: &'static str,
        read: impl FnOnce(&mut Parts, &'static str) -> Result<T, ShapeError>,
    ) -> Result<Option<T>, ShapeError> {
        if let Some(Value::Null) = self.items.as_slice().first() {
            self.items.next();
            return Ok(None);
        }
        read(self, part).map(Some)
    }

    /// A byte string of 32 bytes, or null.
    pub fn hash_or_null(&mut self, part: &'static str) -> Result<Option<Hash>, ShapeError> {
        self.or_null(part, Parts::hash)
    }

    /// A point of P-256 as SEC1 writes it compressed: 33 bytes that start with 02 or 03.
    ///
    /// Whether x is on the curve is for the one who computes with it to find out.
    pub fn point(&mut self, part: &'static str) -> Result<[u8; 33], ShapeError> {
        let point: [u8; 33] = self.fixed(part)?;
        match point {
            [2 | 3, ..] => Ok(point),
            _ => Err(ShapeError { part, fault: Fault::Value }),
        }
    }

    /// The next element as an array of its own.
    pub fn array(&mut self, part: &'static str) -> Result<Parts, ShapeError> {
        Parts::new(part, self.value(part)?)
    }

    /// Nothing may follow.
    pub fn end(self) -> Result<(), ShapeError> {
        if self.is_empty() { Ok(()) } else { Err(ShapeError { part: self.name, fault: Fault::Excess }) }
    }
}

/// An unsigned integer as a value.
pub fn uint(number: u64) -> Value {
    Value::Integer(Integer::from(number))
}

/// A byte string as a value.
pub fn bytes(bytes: &[u8]) -> Value {
    Value::Bytes(bytes.to_vec())
}

/// A text as a value.
pub fn text(text: &str) -> Value {
    Value::Text(String::from(text))
}

/// A hash, or null, as a value.
pub fn hash_or_null(hash: Option<&Hash>) -> Value {
    hash.map_or(Value::Null, |hash| bytes(&hash.0))
}
