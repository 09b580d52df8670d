//! Signed notes: a text and the lines that sign it. <https://c2sp.org/signed-note>
//!
//! ```text
//! This is an example message.                        the text, newline included
//!                                                    the last empty line
//! — example.com/foo Uw2QOkn8srV1yJGh...neyaQM=       em dash, key name, base64( key ID || signature )
//! ```
//!
//! The text of a note means nothing until [`Note::open`] has found a signature by a key that the
//! reader already trusts. Signatures by strangers are passed over, and one bad signature by a
//! known key spoils the note.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::cosignature::{self, Seconds};
use crate::key::{KeyId, KeyName, KeyNameError, Kind, Vkey, verify_ed25519};
use crate::text::{self, Lines, TextError};

/// The longest note, in bytes. Sixteen post-quantum signatures fit.
pub const MAX_NOTE: usize = 128 * 1024;

/// The most signature lines of a note. signed-note asks for 16 or more.
pub const MAX_SIGNATURES: usize = 100;

/// Em dash and space, the first characters of every signature line.
const DASH: &str = "\u{2014} ";

/// One signature line: who claims to have signed, and the bytes of the signature.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SignatureLine {
    name: KeyName,
    key_id: KeyId,
    signature: Vec<u8>,
}

/// Why a line is not a signature line, in the order of the checks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SignatureLineError {
    /// No em dash and space at the start.
    #[error("a signature line starts with an em dash and a space")]
    Dash,
    /// No space between key name and signature.
    #[error("a signature line is a key name, a space and base64")]
    Parts,
    /// The name is not a key name.
    #[error("signature line: {0}")]
    Name(#[from] KeyNameError),
    /// Not canonical base64.
    #[error("signature line: not canonical base64")]
    Base64,
    /// Nothing after the key ID, or not even a key ID.
    #[error("signature line: too short for a key ID and a signature")]
    TooShort,
}

impl SignatureLine {
    /// Reads one line, given without its newline.
    pub fn parse(line: &str) -> Result<SignatureLine, SignatureLineError> {
        let line = line.strip_prefix(DASH).ok_or(SignatureLineError::Dash)?;
        let (name, bytes) = line.rsplit_once(' ').ok_or(SignatureLineError::Parts)?;
        let name = KeyName::new(name)?;
        let bytes = text::from_base64(bytes).ok_or(SignatureLineError::Base64)?;
        match bytes.split_first_chunk::<4>() {
            Some((key_id, signature)) if !signature.is_empty() => {
                Ok(SignatureLine { name, key_id: KeyId(*key_id), signature: signature.to_vec() })
            }
            _ => Err(SignatureLineError::TooShort),
        }
    }

    /// The line that carries `signature` by `key`.
    pub(crate) fn by(key: &Vkey, signature: Vec<u8>) -> SignatureLine {
        SignatureLine { name: key.name().clone(), key_id: key.id(), signature }
    }

    /// The name of the key that is said to have signed.
    #[must_use]
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// The ID of the key that is said to have signed.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The bytes after the key ID: never empty, their form depends on the kind of the key.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// Whether the signature over `text` is by `key`. `None` where this crate does not verify
    /// that kind of key. The caller has compared name and key ID ([`Vkey::matches`]).
    fn verify(&self, text: &str, key: &Vkey) -> Option<Result<Option<Seconds>, ()>> {
        if key.kind() != Kind::Ed25519 {
            return cosignature::verify(key, text, &self.signature);
        }
        let public_key = <&[u8; 32]>::try_from(key.public_key()).ok();
        let signature = <&[u8; 64]>::try_from(self.signature.as_slice()).ok();
        let valid =
            public_key.zip(signature).is_some_and(|(key, signature)| verify_ed25519(key, text.as_bytes(), signature));
        Some(if valid { Ok(None) } else { Err(()) })
    }
}

impl fmt::Display for SignatureLine {
    /// The line without its newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(4 + self.signature.len());
        bytes.extend_from_slice(&self.key_id.0);
        bytes.extend_from_slice(&self.signature);
        write!(f, "{DASH}{} {}", self.name, text::to_base64(&bytes))
    }
}

impl fmt::Debug for SignatureLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text with the lines that sign it. Whatever a `Note` holds, [`Note::to_bytes`] writes and
/// [`Note::parse`] reads back.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Note {
    text: String,
    signatures: Vec<SignatureLine>,
}

/// Why bytes are not a signed note, in the order of the checks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoteError {
    /// More than [`MAX_NOTE`] bytes.
    #[error("the note is longer than 128 KiB")]
    TooLong,
    /// Not UTF-8, or with a control character.
    #[error("note: {0}")]
    Text(#[from] TextError),
    /// No empty line between text and signatures.
    #[error("the note has no empty line before its signatures")]
    NoEmptyLine,
    /// The text does not end in a newline.
    #[error("the note's text does not end in a newline")]
    NoFinalNewline,
    /// No signature line, or a last one without its newline.
    #[error("the note has no signature, or its last line has no newline")]
    NoSignature,
    /// More than [`MAX_SIGNATURES`] lines.
    #[error("the note has more than 100 signatures")]
    TooManySignatures,
    /// A line among the signatures that is none.
    #[error("{0}")]
    Line(#[from] SignatureLineError),
}

/// Why a note is not to be believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpenError {
    /// A line carries name and key ID of a known key, but its signature is not by that key.
    #[error("signature line {line} is not by the key it names")]
    InvalidSignature {
        /// The place of the line, counted from 0.
        line: usize,
    },
    /// No line is by a known key.
    #[error("no signature by a known key")]
    NoKnownKey,
}

/// One signature that was verified.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verified<'a> {
    /// The place of the line in the note, counted from 0.
    pub place: usize,
    /// The line.
    pub line: &'a SignatureLine,
    /// The key that verified it.
    pub key: &'a Vkey,
    /// When it was made, for kinds that say so. `None` also for an ML-DSA-44 signature at time
    /// zero, which says nothing about time.
    pub time: Option<Seconds>,
}

/// A note with at least one verified signature, and none by a known key that is bad.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened<'a> {
    /// The text: from here on it may be interpreted. Where all signatures are of ML-DSA-44, only
    /// the first three lines of a checkpoint are covered, and no extension lines.
    pub text: &'a str,
    /// Every verified signature, in the order of the note. One key may appear more than once.
    pub verified: Vec<Verified<'a>>,
}

impl<'a> Opened<'a> {
    /// The keys that signed, each once, in the order of their first signatures.
    #[must_use]
    pub fn keys(&self) -> Vec<&'a Vkey> {
        let mut keys: Vec<&'a Vkey> = Vec::new();
        for verified in &self.verified {
            if !keys.contains(&verified.key) {
                keys.push(verified.key);
            }
        }
        keys
    }

    /// Whether `key` signed.
    #[must_use]
    pub fn is_by(&self, key: &Vkey) -> bool {
        self.verified.iter().any(|verified| verified.key == key)
    }
}

impl Note {
    /// A note from its parts. The text must end in a newline, and there must be a signature.
    pub fn new(text: &str, signatures: Vec<SignatureLine>) -> Result<Note, NoteError> {
        text::check(text.as_bytes())?;
        if !text.ends_with('\n') {
            return Err(NoteError::NoFinalNewline);
        }
        if signatures.is_empty() {
            return Err(NoteError::NoSignature);
        }
        if signatures.len() > MAX_SIGNATURES {
            return Err(NoteError::TooManySignatures);
        }
        let note = Note { text: text.to_owned(), signatures };
        if note.to_text().len() > MAX_NOTE {
            return Err(NoteError::TooLong);
        }
        Ok(note)
    }

    /// A note of `text`, signed by `signer`.
    pub fn sign(text: &str, signer: &crate::key::Signer) -> Result<Note, NoteError> {
        // One signature costs nothing compared with a signature over something that is no note.
        text::check(text.as_bytes())?;
        if !text.ends_with('\n') {
            return Err(NoteError::NoFinalNewline);
        }
        Note::new(text, alloc::vec![signer.sign(text)])
    }

    /// Reads a note.
    pub fn parse(bytes: &[u8]) -> Result<Note, NoteError> {
        if bytes.len() > MAX_NOTE {
            return Err(NoteError::TooLong);
        }
        let note = text::check(bytes)?;
        // The text may contain empty lines; the last one in the note ends it.
        let (before, lines) = note.rsplit_once("\n\n").ok_or(NoteError::NoEmptyLine)?;
        let text = note.get(..before.len() + 1).ok_or(NoteError::NoEmptyLine)?.to_owned();
        if lines.is_empty() || !lines.ends_with('\n') {
            return Err(NoteError::NoSignature);
        }
        let mut signatures = Vec::new();
        for line in Lines::new(lines) {
            if signatures.len() == MAX_SIGNATURES {
                return Err(NoteError::TooManySignatures);
            }
            signatures.push(SignatureLine::parse(line)?);
        }
        Ok(Note { text, signatures })
    }

    /// The note as text: what [`Note::parse`] read, byte for byte.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut note = self.text.clone();
        note.push('\n');
        for line in &self.signatures {
            note.push_str(&alloc::format!("{line}\n"));
        }
        note
    }

    /// The note as bytes: what [`Note::parse`] read.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_text().into_bytes()
    }

    /// The text, with its final newline. Not to be interpreted before [`Note::open`].
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signature lines, verified or not.
    #[must_use]
    pub fn signatures(&self) -> &[SignatureLine] {
        &self.signatures
    }

    /// The same note with one more signature line at the end. A line that is already there is
    /// not repeated.
    pub fn with_signature(&self, line: SignatureLine) -> Result<Note, NoteError> {
        let mut signatures = self.signatures.clone();
        if !signatures.contains(&line) {
            signatures.push(line);
        }
        Note::new(&self.text, signatures)
    }

    /// Verifies the note with the keys that the reader trusts.
    ///
    /// Lines whose name and key ID are not those of a key in `known` are passed over, and so
    /// are lines by known keys of a kind that this crate does not verify. Of the others every
    /// one must be valid, and there must be at least one.
    pub fn open<'a>(&'a self, known: &'a [Vkey]) -> Result<Opened<'a>, OpenError> {
        self.open_with(|line| known.iter().filter(move |key| key.matches(line)))
    }

    /// [`Note::open`] over keys that are looked up by line instead of listed.
    pub(crate) fn open_with<'a, I>(&'a self, known: impl Fn(&'a SignatureLine) -> I) -> Result<Opened<'a>, OpenError>
    where
        I: Iterator<Item = &'a Vkey>,
    {
        let mut verified = Vec::new();
        for (place, line) in self.signatures.iter().enumerate() {
            // Two known keys can share name and ID by accident: one of them must verify.
            let mut tried = false;
            let mut found = false;
            for key in known(line) {
                match line.verify(&self.text, key) {
                    None => {}
                    Some(Err(())) => tried = true,
                    Some(Ok(time)) => {
                        verified.push(Verified { place, line, key, time });
                        found = true;
                        break;
                    }
                }
            }
            if tried && !found {
                return Err(OpenError::InvalidSignature { line: place });
            }
        }
        if verified.is_empty() {
            return Err(OpenError::NoKnownKey);
        }
        Ok(Opened { text: &self.text, verified })
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::key::Signer;

    const TEXT: &str = "one\n\nthree\n";

    fn signer(name: &str, seed: u8) -> Signer {
        Signer::note(KeyName::new(name).unwrap(), &[seed; 32])
    }

    #[test]
    fn the_last_empty_line_ends_the_text() {
        let note = Note::sign(TEXT, &signer("a", 1)).unwrap();
        let read = Note::parse(&note.to_bytes()).unwrap();
        assert_eq!(read.text(), TEXT);
        assert_eq!(read, note);
    }

    #[test]
    fn sixteen_signatures_are_accepted_and_a_hundred_and_one_are_not() {
        let mut note = Note::sign(TEXT, &signer("a", 0)).unwrap();
        for seed in 1..100 {
            note = note.with_signature(signer("a", seed).sign(TEXT)).unwrap();
            if seed == 15 {
                assert_eq!(Note::parse(&note.to_bytes()).as_ref(), Ok(&note));
            }
        }
        assert_eq!(note.with_signature(signer("a", 100).sign(TEXT)), Err(NoteError::TooManySignatures));
        let more = note.to_text() + &note.signatures()[0].to_string_line();
        assert_eq!(Note::parse(more.as_bytes()), Err(NoteError::TooManySignatures));
    }

    impl SignatureLine {
        fn to_string_line(&self) -> String {
            alloc::format!("{self}\n")
        }
    }

    #[test]
    fn a_note_of_128_kib_is_read_and_one_byte_more_is_not() {
        let short = Note::sign("\n", &signer("a", 1)).unwrap();
        let fill = MAX_NOTE - short.to_bytes().len();
        let text = "x".repeat(fill) + "\n";
        let longest = Note::sign(&text, &signer("a", 1)).unwrap();
        assert_eq!(longest.to_bytes().len(), MAX_NOTE);
        assert!(Note::parse(&longest.to_bytes()).is_ok());
        let text = "x".repeat(fill + 1) + "\n";
        assert_eq!(Note::sign(&text, &signer("a", 1)), Err(NoteError::TooLong));
        let mut bytes = longest.to_bytes();
        bytes.insert(0, b'x');
        assert_eq!(Note::parse(&bytes), Err(NoteError::TooLong));
    }

    #[test]
    fn a_stranger_is_passed_over_even_with_a_known_name_or_a_known_id() {
        let (known, other) = (signer("a", 1), signer("a", 2));
        let note = Note::sign(TEXT, &known).unwrap();
        let note = note.with_signature(other.sign("something else\n")).unwrap();
        let keys = [known.vkey().clone()];
        assert_eq!(note.open(&keys).unwrap().keys(), [known.vkey()]);

        // The right ID under another name.
        let mut line = known.sign("something else\n");
        line.name = KeyName::new("b").unwrap();
        let note = Note::sign(TEXT, &known).unwrap().with_signature(line);
        assert!(note.unwrap().open(&keys).is_ok());
    }

    #[test]
    fn one_bad_signature_by_a_known_key_spoils_the_note() {
        let (a, b) = (signer("a", 1), signer("b", 2));
        let note = Note::new(TEXT, vec![a.sign(TEXT), b.sign("another text\n")]).unwrap();
        let keys = [a.vkey().clone(), b.vkey().clone()];
        assert_eq!(note.open(&keys), Err(OpenError::InvalidSignature { line: 1 }));
        assert!(note.open(&keys[..1]).is_ok());
        assert_eq!(note.open(&[]), Err(OpenError::NoKnownKey));
    }
}
