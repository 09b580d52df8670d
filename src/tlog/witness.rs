//! Witnessing: the request that asks for a cosignature, the decision, and the answer. <https://c2sp.org/tlog-witness>
//!
//! ```text
//! old 20852014                                   POST <prefix>/add-checkpoint
//! PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=   consistency proof, 0..63 hashes
//!
//! example.com/behind-the-sofa                    the checkpoint, signed by the log
//! ...
//!
//! — witness.example/w1 CMp+6LWB...69HVOw==       the answer: lines to add to the checkpoint
//! ```
//!
//! A witness that cosigned once never cosigns a tree that does not extend that one. Everything
//! it decides is here; the program around it keeps the promise by *storing before it signs*.

use alloc::string::String;
use alloc::vec::Vec;

use crate::checkpoint::{Checkpoint, CheckpointError, Origin};
use crate::cosignature::CheckpointCosignature;
use crate::key::{Kind, Vkey};
use crate::note::{MAX_NOTE, MAX_SIGNATURES, Note, NoteError, SignatureLine, SignatureLineError};
use crate::proof::ConsistencyProof;
use crate::proof_file::{HashesError, read_hashes, write_hashes};
use crate::text::{self, Lines, TextError};
use crate::tree::{TreeHead, TreeSize};

/// The longest request and the longest answer, in bytes.
pub const MAX_BODY: usize = MAX_NOTE;

/// The content type of the body of a 409 answer.
pub const SIZE_CONTENT_TYPE: &str = "text/x.tlog.size";

/// The body of an `add-checkpoint` request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddCheckpoint {
    /// The size of the checkpoint that the witness cosigned last, as the client believes.
    pub old_size: TreeSize,
    /// The proof that the checkpoint extends that one.
    pub proof: ConsistencyProof,
    /// The signed checkpoint.
    pub note: Note,
}

/// Why bytes are not an `add-checkpoint` request, in the order of the checks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RequestError {
    /// More than [`MAX_BODY`] bytes.
    #[error("the request is longer than 128 KiB")]
    TooLong,
    /// Not UTF-8, or with a control character.
    #[error("request: {0}")]
    Text(#[from] TextError),
    /// The first line is not `old` and a decimal number of at most 2^63 - 1.
    #[error("the first line is not: old <size>")]
    OldSize,
    /// A line of the proof that is not the base64 of 32 bytes.
    #[error("a line of the proof is not the base64 of 32 bytes")]
    Hash,
    /// More than 63 hashes.
    #[error("the proof has more than 63 hashes")]
    TooManyHashes,
    /// No empty line after the hashes.
    #[error("no empty line between proof and checkpoint")]
    NoEmptyLine,
    /// The rest is not a signed note.
    #[error("{0}")]
    Note(#[from] NoteError),
    /// The note's text is not a checkpoint.
    #[error("{0}")]
    Checkpoint(#[from] CheckpointError),
}

impl RequestError {
    /// The HTTP status that answers it: 400, or 403 where only a signature is unreadable.
    ///
    /// Lenient readers decode a signature with stray bits and find that it does not verify, which
    /// is 403. A client should not be able to tell that we refused it one step earlier.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            RequestError::Note(NoteError::Line(SignatureLineError::Base64)) => 403,
            _ => 400,
        }
    }
}

impl AddCheckpoint {
    /// Reads the body of a request.
    pub fn parse(body: &[u8]) -> Result<AddCheckpoint, RequestError> {
        if body.len() > MAX_BODY {
            return Err(RequestError::TooLong);
        }
        let mut lines = Lines::new(text::check(body)?);
        let old_size = (lines.next())
            .and_then(|line| line.strip_prefix("old "))
            .and_then(text::decimal)
            .and_then(|size| TreeSize::new(size).ok())
            .ok_or(RequestError::OldSize)?;
        let (hashes, note) = read_hashes(lines).map_err(|error| match error {
            HashesError::Hash => RequestError::Hash,
            HashesError::TooMany => RequestError::TooManyHashes,
            HashesError::NoEmptyLine => RequestError::NoEmptyLine,
        })?;
        let note = Note::parse(note.as_bytes())?;
        Checkpoint::parse_text(note.text())?;
        Ok(AddCheckpoint { old_size, proof: ConsistencyProof { hashes }, note })
    }

    /// The body of the request: what [`AddCheckpoint::parse`] read.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = alloc::format!("old {}\n", self.old_size);
        write_hashes(&mut body, &self.proof.hashes);
        body.push_str(&self.note.to_text());
        body.into_bytes()
    }

    /// The origin that the checkpoint claims. No signature was verified yet: good for finding
    /// the log's keys, and for nothing else.
    pub fn claimed_origin(&self) -> Result<Origin, CheckpointError> {
        Checkpoint::parse_text(self.note.text()).map(|checkpoint| checkpoint.origin)
    }
}

/// What a witness knows about one log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Known {
    /// The log.
    pub origin: Origin,
    /// The keys that the witness trusts for this origin.
    pub keys: Vec<Vkey>,
    /// The last head it cosigned; [`TreeHead::EMPTY`] where it never cosigned any.
    pub head: TreeHead,
}

/// What to store and then to cosign.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cosign {
    /// The checkpoint. Sign its [`Checkpoint::to_text`].
    pub checkpoint: Checkpoint,
    /// The lines by keys of the log that were verified, to be kept with the checkpoint.
    pub log_signatures: Vec<SignatureLine>,
}

impl Cosign {
    /// The head that replaces the one that was known.
    #[must_use]
    pub fn head(&self) -> TreeHead {
        self.checkpoint.head
    }
}

/// Why a witness would not cosign, in the order of the checks. One variant for each MUST in
/// <https://c2sp.org/tlog-witness#add-checkpoint>, and one for the lines we choose not to sign.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// 404: the origin is not configured.
    #[error("this witness does not know the log")]
    UnknownLog,
    /// 403: no signature by a trusted key, or a bad one in its name.
    #[error("no trusted key of the log signed this checkpoint")]
    NotSigned,
    /// 400: the checkpoint has extension lines, about which no cosigner asserts anything.
    #[error("this witness does not cosign extension lines")]
    Extensions,
    /// 400: the old size is larger than the checkpoint.
    #[error("the old size is beyond the checkpoint")]
    OldSizeBeyondCheckpoint,
    /// 422: a tree without leaves that has another root than SHA-256 of nothing.
    #[error("the root of an empty tree is the hash of nothing")]
    EmptyTreeRoot,
    /// 409: the old size is not the last one cosigned. The answer's body is that size.
    #[error("the old size is not the last one cosigned, {known}")]
    Conflict {
        /// The size of the last checkpoint cosigned for this origin.
        known: TreeSize,
    },
    /// 422: the proof does not verify; or it is not empty from size 0; or the sizes are equal
    /// and the roots are not.
    #[error("the checkpoint does not extend the last one cosigned")]
    Inconsistent,
}

impl Refusal {
    /// The HTTP status that answers it.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Refusal::Extensions | Refusal::OldSizeBeyondCheckpoint => 400,
            Refusal::NotSigned => 403,
            Refusal::UnknownLog => 404,
            Refusal::Conflict { .. } => 409,
            Refusal::EmptyTreeRoot | Refusal::Inconsistent => 422,
        }
    }
}

/// Decides one `add-checkpoint` request.
///
/// `known` is what the witness knows about the request's [`AddCheckpoint::claimed_origin`],
/// `None` where that log is not configured. The size in a conflict is told only to those who
/// hold a checkpoint that the log signed.
///
/// Nothing is stored here. The caller swaps the head it knew for [`Cosign::head`], durably, and
/// only when that swap has won does it sign (W-1): of two requests racing from one old size, one
/// must lose.
pub fn decide(known: Option<&Known>, request: &AddCheckpoint) -> Result<Cosign, Refusal> {
    let known = known.ok_or(Refusal::UnknownLog)?;
    // `parse` has read this text as a checkpoint. Should anyone build a request otherwise, a
    // text that is no checkpoint belongs to no log.
    let checkpoint = Checkpoint::parse_text(request.note.text()).map_err(|_| Refusal::UnknownLog)?;
    if checkpoint.origin != known.origin {
        return Err(Refusal::UnknownLog);
    }
    // A cosignature of the log's is not its signature, whatever name it has.
    let opened = (request.note)
        .open_with(|line| {
            (known.keys.iter()).filter(|key| key.kind() != Kind::CosignatureV1).filter(move |key| key.matches(line))
        })
        .map_err(|_| Refusal::NotSigned)?;
    if !checkpoint.extensions.is_empty() {
        return Err(Refusal::Extensions);
    }
    let head = checkpoint.head;
    if request.old_size > head.size {
        return Err(Refusal::OldSizeBeyondCheckpoint);
    }
    if head.size == TreeSize::ZERO && head != TreeHead::EMPTY {
        return Err(Refusal::EmptyTreeRoot);
    }
    if request.old_size != known.head.size {
        return Err(Refusal::Conflict { known: known.head.size });
    }
    // From the empty tree, and between equal trees, only the empty proof verifies.
    (request.proof).verify(&known.head, &head).map_err(|_| Refusal::Inconsistent)?;
    let mut log_signatures: Vec<SignatureLine> = Vec::new();
    for verified in &opened.verified {
        if !log_signatures.contains(verified.line) {
            log_signatures.push(verified.line.clone());
        }
    }
    Ok(Cosign { checkpoint, log_signatures })
}

/// What a witness answered, as a client reads it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// 200: lines to be checked with [`cosignatures`].
    Cosigned(Vec<SignatureLine>),
    /// 409 with a size: the witness cosigned this size last. Ask again from there, or, where it
    /// is larger than our own, find out why.
    Conflict(TreeSize),
    /// 422, or 409 without a size (tlog-witness v1.0.0): the witness holds another history.
    Inconsistent,
    /// 404 or 403 (older witnesses do not tell them apart): log or key are not known there.
    NotKnown,
    /// Any other status: try later, or read the witness's documentation.
    Other(u16),
}

/// Why an answer is not one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AnswerError {
    /// More than [`MAX_BODY`] bytes.
    #[error("the answer is longer than 128 KiB")]
    TooLong,
    /// Not UTF-8, or with a control character.
    #[error("answer: {0}")]
    Text(#[from] TextError),
    /// No line, or a last one without newline.
    #[error("the answer has no signature line, or its last line has no newline")]
    NoSignature,
    /// More lines than a note may have.
    #[error("the answer has more than 100 signature lines")]
    TooManySignatures,
    /// A line that is not a signature line.
    #[error("{0}")]
    Line(#[from] SignatureLineError),
}

impl Answer {
    /// Reads the answer to an `add-checkpoint` request.
    pub fn parse(status: u16, body: &[u8]) -> Result<Answer, AnswerError> {
        match status {
            200 => parse_signatures(body).map(Answer::Cosigned),
            409 => Ok(match parse_size(body) {
                Some(size) => Answer::Conflict(size),
                None => Answer::Inconsistent,
            }),
            422 => Ok(Answer::Inconsistent),
            403 | 404 => Ok(Answer::NotKnown),
            other => Ok(Answer::Other(other)),
        }
    }
}

/// Reads the body of a 200 answer: signature lines, one or more. Nothing is verified yet.
pub fn parse_signatures(body: &[u8]) -> Result<Vec<SignatureLine>, AnswerError> {
    if body.len() > MAX_BODY {
        return Err(AnswerError::TooLong);
    }
    let text = text::check(body)?;
    if !text.ends_with('\n') {
        return Err(AnswerError::NoSignature);
    }
    let mut lines = Vec::new();
    for line in Lines::new(text) {
        if lines.len() == MAX_SIGNATURES {
            return Err(AnswerError::TooManySignatures);
        }
        lines.push(SignatureLine::parse(line)?);
    }
    Ok(lines)
}

/// Writes the body of a 200 answer.
#[must_use]
pub fn write_signatures(lines: &[SignatureLine]) -> String {
    lines.iter().map(|line| alloc::format!("{line}\n")).collect()
}

/// Reads the body of a 409 answer: a size and a newline.
#[must_use]
pub fn parse_size(body: &[u8]) -> Option<TreeSize> {
    let size = core::str::from_utf8(body).ok()?.strip_suffix('\n')?;
    TreeSize::new(text::decimal(size)?).ok()
}

/// Writes the body of a 409 answer.
#[must_use]
pub fn write_size(size: TreeSize) -> String {
    alloc::format!("{size}\n")
}

/// The lines of an answer that are cosignatures by `witness` on `checkpoint`, verified. Lines by
/// anybody else are dropped, and so are lines in the witness's name that do not verify or name no
/// time, as a witness's must.
#[must_use]
pub fn cosignatures(checkpoint: &Note, answer: &[SignatureLine], witness: &Vkey) -> Vec<SignatureLine> {
    let Ok(checkpoint) = Checkpoint::parse_text(checkpoint.text()) else {
        return Vec::new();
    };
    let mut lines: Vec<SignatureLine> = Vec::new();
    for line in answer {
        if CheckpointCosignature::verify(&checkpoint, line, witness).is_some() && !lines.contains(line) {
            lines.push(line.clone());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::cosignature::{Cosigner, Seconds};
    use crate::hash::{Hash, LeafHash};
    use crate::key::{KeyName, Signer};

    const ORIGIN: &str = "example.com/log";

    fn signer(seed: u8) -> Signer {
        Signer::note(KeyName::new(ORIGIN).unwrap(), &[seed; 32])
    }

    fn leaf(n: u8) -> Hash {
        LeafHash::of(&[n]).into()
    }

    fn root(size: u64) -> Hash {
        let pair = Hash::node(&leaf(0), &leaf(1));
        match size {
            0 => Hash::EMPTY_ROOT,
            1 => leaf(0),
            2 => pair,
            3 => Hash::node(&pair, &leaf(2)),
            _ => panic!("this test's log has three leaves"),
        }
    }

    fn size(size: u64) -> TreeSize {
        TreeSize::new(size).unwrap()
    }

    fn known(n: u64) -> Known {
        Known {
            origin: Origin::new(ORIGIN).unwrap(),
            keys: vec![signer(1).vkey().clone()],
            head: TreeHead { size: size(n), root: root(n) },
        }
    }

    /// A request whose parts a row can spoil.
    struct Row {
        old: u64,
        size: u64,
        root: Hash,
        proof: Vec<Hash>,
        origin: &'static str,
        extension: &'static str,
        seed: u8,
        cosigned_by_stranger: bool,
    }

    impl Row {
        /// From 1 to 3 leaves, all in order.
        fn good() -> Row {
            Row {
                old: 1,
                size: 3,
                root: root(3),
                proof: vec![leaf(1), leaf(2)],
                origin: ORIGIN,
                extension: "",
                seed: 1,
                cosigned_by_stranger: false,
            }
        }

        fn request(self) -> AddCheckpoint {
            let text = alloc::format!("{}\n{}\n{}\n{}", self.origin, self.size, self.root.to_base64(), self.extension);
            let mut note = Note::sign(&text, &signer(self.seed)).unwrap();
            if self.cosigned_by_stranger {
                let stranger = Cosigner::new(KeyName::new(ORIGIN).unwrap(), &[9; 32]);
                let line = stranger.cosign("another text\n", Seconds::new(1).unwrap());
                note = note.with_signature(line).unwrap();
            }
            let request =
                AddCheckpoint { old_size: size(self.old), proof: ConsistencyProof { hashes: self.proof }, note };
            // Whatever is decided is decided about what arrived as bytes.
            AddCheckpoint::parse(&request.to_bytes()).unwrap()
        }
    }

    fn check(status: u16, what: &str, known: &Known, spoil: impl FnOnce(&mut Row)) {
        let mut row = Row::good();
        spoil(&mut row);
        let answer = decide(Some(known), &row.request());
        let given = answer.as_ref().map_or_else(Refusal::status, |_| 200);
        assert_eq!(given, status, "{what}: {answer:?}");
    }

    // https://c2sp.org/tlog-witness#add-checkpoint, one row per MUST.
    #[test]
    fn add_checkpoint_is_decided_as_specified() {
        check(200, "a checkpoint that extends ours", &known(1), |_| {});
        check(404, "a log we do not know", &known(1), |r| {
            r.origin = "other.example/log";
        });
        check(403, "a signature by a stranger", &known(1), |r| r.seed = 2);
        check(200, "an unknown signature beside the log's", &known(1), |r| {
            r.cosigned_by_stranger = true;
        });
        check(400, "an old size beyond the checkpoint", &known(1), |r| {
            r.old = 4;
        });
        check(409, "an old size that is not ours", &known(1), |r| r.old = 2);
        check(409, "old 0 from a client that knows nothing", &known(1), |r| {
            r.old = 0;
            r.proof.clear();
        });
        check(422, "no proof where one is needed", &known(1), |r| {
            r.proof.clear();
        });
        check(422, "a wrong proof", &known(1), |r| r.proof[0].0[0] ^= 1);
        check(422, "a proof with a hash too many", &known(1), |r| {
            r.proof.push(leaf(3));
        });
        check(422, "a root that does not follow", &known(1), |r| {
            r.root.0[0] ^= 1;
        });
        check(200, "the first checkpoint", &known(0), |r| {
            r.old = 0;
            r.proof.clear();
        });
        check(422, "a proof from size 0", &known(0), |r| r.old = 0);
        check(200, "the empty tree", &known(0), |r| {
            (r.old, r.size, r.root) = (0, 0, Hash::EMPTY_ROOT);
            r.proof.clear();
        });
        check(422, "an empty tree with a root", &known(0), |r| {
            (r.old, r.size) = (0, 0);
            r.proof.clear();
        });
        check(200, "the same checkpoint again", &known(3), |r| {
            r.old = 3;
            r.proof.clear();
        });
        check(422, "the same size with another root", &known(3), |r| {
            r.old = 3;
            r.root.0[0] ^= 1;
            r.proof.clear();
        });
        check(422, "the same checkpoint with a proof", &known(3), |r| {
            r.old = 3;
        });
        check(400, "a smaller tree", &known(3), |r| {
            (r.old, r.size, r.root) = (3, 1, root(1));
            r.proof.clear();
        });
        check(400, "extension lines", &known(1), |r| r.extension = "more\n");
        // Strangers learn nothing about what we know.
        check(403, "a stranger with a wrong old size", &known(1), |r| {
            (r.old, r.seed) = (2, 2);
        });
    }

    #[test]
    fn a_log_that_is_not_configured_is_unknown() {
        assert_eq!(decide(None, &Row::good().request()), Err(Refusal::UnknownLog));
    }

    #[test]
    fn only_verified_lines_of_the_log_are_kept() {
        let mut row = Row::good();
        row.cosigned_by_stranger = true;
        let request = row.request();
        let cosign = decide(Some(&known(1)), &request).unwrap();
        assert_eq!(cosign.log_signatures, request.note.signatures()[..1]);
        assert_eq!(cosign.checkpoint.to_text(), request.note.text());
        assert_eq!(cosign.head().size, size(3));
    }

    #[test]
    fn sixty_three_hashes_are_read_and_sixty_four_are_not() {
        let mut row = Row::good();
        row.proof = vec![leaf(0); 63];
        let mut request = row.request();
        request.proof.hashes.push(leaf(0));
        assert_eq!(AddCheckpoint::parse(&request.to_bytes()), Err(RequestError::TooManyHashes));
    }

    #[test]
    fn a_request_of_128_kib_and_one_byte_is_refused_unread() {
        assert_eq!(AddCheckpoint::parse(&[0xff; MAX_BODY + 1]), Err(RequestError::TooLong));
        assert!(matches!(AddCheckpoint::parse(&[0xff; MAX_BODY]), Err(RequestError::Text(_))));
    }

    #[test]
    fn a_client_keeps_only_what_its_witness_signed() {
        let note = Row::good().request().note;
        let at = Seconds::new(7).unwrap();
        let witness = Cosigner::new(KeyName::new("witness.example").unwrap(), &[5; 32]);
        let stranger = Cosigner::new(KeyName::new("stranger.example").unwrap(), &[6; 32]);
        let good = witness.cosign(note.text(), at);
        let body = write_signatures(&[
            good.clone(),
            stranger.cosign(note.text(), at),
            witness.cosign("another text\n", at),
            good.clone(),
        ]);
        let Ok(Answer::Cosigned(lines)) = Answer::parse(200, body.as_bytes()) else {
            panic!("not read as cosigned");
        };
        assert_eq!(lines.len(), 4);
        assert_eq!(cosignatures(&note, &lines, witness.vkey()), [good]);
    }

    #[test]
    fn answers_are_read_as_old_and_new_witnesses_give_them() {
        assert_eq!(Answer::parse(409, b"5\n"), Ok(Answer::Conflict(size(5))));
        assert_eq!(Answer::parse(409, b"05\n"), Ok(Answer::Inconsistent));
        assert_eq!(Answer::parse(409, b"no\n"), Ok(Answer::Inconsistent));
        assert_eq!(Answer::parse(422, b""), Ok(Answer::Inconsistent));
        assert_eq!(Answer::parse(403, b""), Ok(Answer::NotKnown));
        assert_eq!(Answer::parse(429, b""), Ok(Answer::Other(429)));
        assert_eq!(Answer::parse(200, b""), Err(AnswerError::NoSignature));
        assert_eq!(write_size(size(5)), "5\n");
    }
}
