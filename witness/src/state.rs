//! The state of one log: the last head cosigned, on disk.
//!
//! ```text
//! solelog-witness-state/v1 <hex of a hash over all that follows>
//! origin example.com/log
//! generation 7                       counts the changes
//!                                    then the checkpoint, as the log signed it;
//! example.com/log                    nothing where none was ever cosigned
//! 20852163
//! ...
//! ```
//!
//! One file per log, `state/<hex sha256 of the origin>`, the one before beside it as `.old`. A
//! log that is added gets its file at once. So a file that is missing, like one that is
//! damaged, means that *we* lost something, and the witness does not start: taken for "never
//! seen", it would cosign any history.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tlog::LeafHash;
use tlog::checkpoint::{Checkpoint, Origin};
use tlog::note::Note;
use tlog::text::{self, Lines};
use tlog::tree::TreeHead;
use tlog::witness::Cosign;

use crate::disk::{self, ReplaceError, beside};

const HEADER: &str = "solelog-witness-state/v1";

/// What is known of one log, and the file it is kept in.
#[derive(Debug)]
pub struct State {
    path: PathBuf,
    content: Content,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Content {
    origin: Origin,
    generation: u64,
    /// The checkpoint with the log's verified signatures, and the head in it.
    last: Option<(Note, TreeHead)>,
}

/// Why a state can't be trusted. The witness must not start.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// No file where there must be one.
    #[error(
        "the state of {origin} is missing: {} should be there. If this log was never witnessed here, \
         add it with `solelog-witness log add`. Otherwise restore the file; without it this witness \
         could be led to cosign a second history", path.display()
    )]
    Missing {
        /// The log.
        origin: Origin,
        /// Where its state should be.
        path: PathBuf,
    },
    /// The file is not what this program wrote.
    #[error(
        "the state of {origin} is damaged: {} ({fault}). This is our own file, nothing the log did. \
         {before}. Restore it from a copy that is known to be newest, or retire this witness's key", path.display()
    )]
    Damaged {
        /// The log.
        origin: Origin,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: Fault,
        /// What the file before it says.
        before: Before,
    },
    /// The file can't be read.
    #[error("the state of {origin} can't be read: {}: {error}", path.display())]
    Io {
        /// The log.
        origin: Origin,
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The file can't be written anew at the start.
    #[error("the state of {origin} can't be written: {}: {error}", path.display())]
    Write {
        /// The log.
        origin: Origin,
        /// The file.
        path: PathBuf,
        /// What became of it.
        error: ReplaceError,
    },
}

/// What is wrong with the bytes of a state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// No first line of ours.
    #[error("not a state of this version")]
    Header,
    /// The bytes are not the ones that were written.
    #[error("the checksum does not match")]
    Checksum,
    /// The bytes are the ones that were written, and make no sense.
    #[error("the content makes no sense")]
    Content,
    /// It is the state of another log.
    #[error("it belongs to another log")]
    OtherLog,
}

/// What the generation before a damaged state says. For a person to weigh; never used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Before {
    /// It can be read, and holds this head.
    Head(TreeHead),
    /// There is none that can be read.
    Nothing,
}

impl std::fmt::Display for Before {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Before::Head(head) => write!(
                f,
                "The generation before (.old) holds size {}, and newer heads may have been cosigned since",
                head.size
            ),
            Before::Nothing => f.write_str("No generation before can be read"),
        }
    }
}

/// Why a head was not swapped.
#[derive(Debug, thiserror::Error)]
pub enum SwapError {
    /// Another head is there than the one expected; this one.
    #[error("the head is another by now, of size {}", .0.size)]
    Other(TreeHead),
    /// The file was not replaced.
    #[error("{0}")]
    Replace(#[from] ReplaceError),
}

impl State {
    /// Where the state of `origin` is below the folder `states`.
    #[must_use]
    pub fn path(states: &Path, origin: &Origin) -> PathBuf {
        states.join(origin.hash().to_hex())
    }

    /// Makes the state of a log that was never witnessed here. Where there is a file already it
    /// stays, whatever is in it.
    pub fn create(states: &Path, origin: &Origin) -> io::Result<()> {
        let content = Content { origin: origin.clone(), generation: 0, last: None };
        let path = State::path(states, origin);
        // The file before it is a trace too: where only that is left, something was lost.
        if beside(&path, ".old").exists() {
            return Ok(());
        }
        match disk::create(&path, &content.to_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    /// Reads the state of `origin`, and writes it anew: what was read may have been in the
    /// kernel's cache only, and is about to be relied on.
    pub fn load(states: &Path, origin: &Origin) -> Result<State, StateError> {
        let path = State::path(states, origin);
        let origin = origin.clone();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StateError::Missing { origin, path });
            }
            Err(error) => {
                return Err(StateError::Io { origin, path, error });
            }
        };
        match Content::parse(&bytes, &origin) {
            Ok(content) => {
                let state = State { path, content };
                match disk::replace(&state.path, &bytes) {
                    Ok(()) => Ok(state),
                    Err(error) => Err(StateError::Write { origin, path: state.path, error }),
                }
            }
            Err(fault) => Err(StateError::Damaged {
                before: fs::read(beside(&path, ".old"))
                    .ok()
                    .and_then(|bytes| Content::parse(&bytes, &origin).ok())
                    .map_or(Before::Nothing, |content| Before::Head(content.head())),
                origin,
                path,
                fault,
            }),
        }
    }

    /// The last head that was stored; the empty tree where there was none.
    #[must_use]
    pub fn head(&self) -> TreeHead {
        self.content.head()
    }

    /// The last checkpoint that was stored, with the log's signatures.
    #[must_use]
    pub fn note(&self) -> Option<&Note> {
        self.content.last.as_ref().map(|(note, _)| note)
    }

    /// Replaces the head `expected` by the one of `cosign`, durably. When this returns `Ok` the
    /// new head is on stable storage and may be signed; after [`ReplaceError::Unclear`] nothing
    /// about this log may be signed before a new start has read what is there.
    pub fn swap(&mut self, expected: &TreeHead, cosign: &Cosign) -> Result<(), SwapError> {
        if self.head() != *expected {
            return Err(SwapError::Other(self.head()));
        }
        // The same head again changes nothing: it is durable since its first time.
        if self.content.last.is_some() && *expected == cosign.head() {
            return Ok(());
        }
        let text = cosign.checkpoint.to_text();
        let note = Note::new(&text, cosign.log_signatures.clone())
            .map_err(|error| ReplaceError::Unchanged(io::Error::other(error)))?;
        let content = Content {
            origin: self.content.origin.clone(),
            generation: self.content.generation.saturating_add(1),
            last: Some((note, cosign.head())),
        };
        disk::replace(&self.path, &content.to_bytes())?;
        self.content = content;
        Ok(())
    }

    /// The file with the cosigned checkpoint as it was last handed out. It can be made again at
    /// any time, so it is neither synced nor trusted.
    fn cosigned_path(&self) -> PathBuf {
        beside(&self.path, ".cosigned")
    }

    /// Keeps the cosigned checkpoint for a later start.
    pub fn keep_cosigned(&self, note: &Note) -> io::Result<()> {
        disk::replace_derived(&self.cosigned_path(), &note.to_bytes())
    }

    /// The cosigned checkpoint kept by an earlier run, if it is the present one with the log's
    /// stored signatures. What follows those is not verified here.
    #[must_use]
    pub fn kept_cosigned(&self) -> Option<Note> {
        let note = Note::parse(&fs::read(self.cosigned_path()).ok()?).ok()?;
        let stored = self.note()?;
        let same = note.text() == stored.text() && note.signatures().starts_with(stored.signatures());
        same.then_some(note)
    }
}

impl Content {
    fn head(&self) -> TreeHead {
        self.last.as_ref().map_or(TreeHead::EMPTY, |(_, head)| *head)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let (origin, generation) = (&self.origin, self.generation);
        let mut rest = format!("origin {origin}\ngeneration {generation}\n\n");
        if let Some((note, _)) = &self.last {
            rest.push_str(&note.to_text());
        }
        // Any hash would do, and tlog has this one.
        let checksum = LeafHash::of(rest.as_bytes());
        format!("{HEADER} {checksum}\n{rest}").into_bytes()
    }

    fn parse(bytes: &[u8], origin: &Origin) -> Result<Content, Fault> {
        let text = text::check(bytes).map_err(|_| Fault::Header)?;
        let mut lines = Lines::new(text);
        let checksum =
            (lines.next()).and_then(|line| line.strip_prefix(HEADER)?.strip_prefix(' ')).ok_or(Fault::Header)?;
        if LeafHash::of(lines.rest().as_bytes()).to_string() != checksum {
            return Err(Fault::Checksum);
        }
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let found = field("origin").ok_or(Fault::Content)?;
        if found != origin.as_str() {
            return Err(Fault::OtherLog);
        }
        let generation = field("generation").and_then(text::decimal).ok_or(Fault::Content)?;
        if lines.next() != Some("") {
            return Err(Fault::Content);
        }
        let last = match lines.rest() {
            "" => None,
            note => {
                let note = Note::parse(note.as_bytes()).map_err(|_| Fault::Content)?;
                let checkpoint = Checkpoint::parse_text(note.text()).map_err(|_| Fault::Content)?;
                if checkpoint.origin != *origin {
                    return Err(Fault::OtherLog);
                }
                Some((note, checkpoint.head))
            }
        };
        Ok(Content { origin: origin.clone(), generation, last })
    }
}

#[cfg(test)]
mod tests {
    use tlog::Hash;
    use tlog::key::{KeyName, Signer};
    use tlog::tree::TreeSize;

    use super::*;

    fn origin() -> Origin {
        Origin::new("example.com/log").unwrap()
    }

    fn cosign(size: u64) -> Cosign {
        let head = TreeHead { size: TreeSize::new(size).unwrap(), root: Hash([size as u8; 32]) };
        let checkpoint = Checkpoint::new(origin(), head);
        let signer = Signer::note(KeyName::new("example.com/log").unwrap(), &[1; 32]);
        let log_signatures = vec![signer.sign(&checkpoint.to_text())];
        Cosign { checkpoint, log_signatures }
    }

    fn fresh() -> (tempfile::TempDir, State) {
        let dir = tempfile::tempdir().unwrap();
        State::create(dir.path(), &origin()).unwrap();
        let state = State::load(dir.path(), &origin()).unwrap();
        (dir, state)
    }

    #[test]
    fn what_was_swapped_is_there_after_a_restart() {
        let (dir, mut state) = fresh();
        assert_eq!(state.head(), TreeHead::EMPTY);
        assert_eq!(state.note(), None);
        for size in [3, 5, 9] {
            let before = state.head();
            state.swap(&before, &cosign(size)).unwrap();
            state = State::load(dir.path(), &origin()).unwrap();
            assert_eq!(state.head(), cosign(size).head());
            assert_eq!(state.note().unwrap().text(), cosign(size).checkpoint.to_text());
        }
    }

    #[test]
    fn of_two_swaps_from_one_head_one_loses() {
        let (_dir, mut state) = fresh();
        let before = state.head();
        state.swap(&before, &cosign(5)).unwrap();
        let late = state.swap(&before, &cosign(3));
        assert!(matches!(late, Err(SwapError::Other(head)) if head == cosign(5).head()));
        assert_eq!(state.head(), cosign(5).head());
    }

    #[test]
    fn creating_again_keeps_what_is_there() {
        let (dir, mut state) = fresh();
        state.swap(&TreeHead::EMPTY, &cosign(5)).unwrap();
        State::create(dir.path(), &origin()).unwrap();
        assert_eq!(State::load(dir.path(), &origin()).unwrap().head(), cosign(5).head());
        // Not even when only the generation before is left.
        fs::remove_file(State::path(dir.path(), &origin())).unwrap();
        State::create(dir.path(), &origin()).unwrap();
        let lost = State::load(dir.path(), &origin());
        assert!(matches!(lost, Err(StateError::Missing { .. })));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let (dir, mut state) = fresh();
        state.swap(&TreeHead::EMPTY, &cosign(3)).unwrap();
        let head = state.head();
        state.swap(&head, &cosign(5)).unwrap();
        let path = State::path(dir.path(), &origin());
        let good = fs::read(&path).unwrap();
        let damaged = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            match State::load(dir.path(), &origin()) {
                Err(StateError::Damaged { before, .. }) => before,
                other => panic!("{other:?}"),
            }
        };
        for place in 0..good.len() {
            let mut bytes = good.clone();
            bytes[place] ^= 1 << (place % 8);
            assert_eq!(damaged(&bytes), Before::Head(cosign(3).head()), "{place}");
            damaged(&good[..place]);
        }
        fs::write(&path, &good).unwrap();
        assert_eq!(State::load(dir.path(), &origin()).unwrap().head(), cosign(5).head());
    }

    #[test]
    fn the_state_of_another_log_is_not_this_ones() {
        let (dir, state) = fresh();
        let other = Origin::new("other.example/log").unwrap();
        fs::copy(&state.path, State::path(dir.path(), &other)).unwrap();
        let error = State::load(dir.path(), &other).unwrap_err();
        let StateError::Damaged { fault, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(fault, Fault::OtherLog);
    }

    #[test]
    fn a_disk_that_does_not_take_the_head_leaves_the_old_one() {
        let (dir, mut state) = fresh();
        state.swap(&TreeHead::EMPTY, &cosign(3)).unwrap();
        let head = state.head();
        // The temporary file can't be made where a folder has its name.
        fs::create_dir(beside(&state.path, ".tmp")).unwrap();
        let failed = state.swap(&head, &cosign(5));
        assert!(matches!(failed, Err(SwapError::Replace(ReplaceError::Unchanged(_)))));
        assert_eq!(state.head(), cosign(3).head());
        fs::remove_dir(beside(&state.path, ".tmp")).unwrap();
        assert_eq!(State::load(dir.path(), &origin()).unwrap().head(), cosign(3).head());
    }
}
