//! Test vectors: every file under a folder, run through our code.
//!
//! A file is understood by its name and place (`merkle/tdev_inclusion.json`), in the shapes that the collection's
//! own index describes. A case of a shape or algorithm that we do not have counts as *not
//! understood*, never as passed.
//!
//! | file | families |
//! |---|---|
//! | `case.rs` | reading one case: fields by name, hex, base64 |
//! | `merkle.rs` | trees, proofs, subtrees, tiles |
//! | `notes.rs` | signed notes, checkpoints, cosignatures, policies, proofs, the witness |
//! | `curve.rs` | ECDSA, EC-SDSA, Ed25519, point decoding, hash-to-field |
//! | `frost.rs` | FROST P-256 |
//! | `encoding.rs` | CBOR, COSE, base64 |
//! | `records.rs` | SCAL3 transcripts and records |

mod case;
mod curve;
mod encoding;
mod frost;
mod merkle;
mod notes;
mod records;

pub use case::{Case, Judged, Miss};

use serde::Serialize;
use serde_json::Value;
use std::{
    io,
    path::{Path, PathBuf},
};

/// What one file came to.
#[derive(Debug, Clone, Serialize)]
pub struct FileReport {
    /// Path below the folder that was asked for, with `/`.
    pub file: String,
    /// Cases whose expected result our code gave.
    pub passed: usize,
    /// Cases in which it gave another.
    pub failed: usize,
    /// Cases of a shape or algorithm that we do not have.
    pub not_understood: usize,
    /// What to say about each case that did not pass.
    #[serde(skip)]
    pub remarks: Vec<String>,
}

/// Why the folder could not be run at all.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The folder or a file in it can't be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No vector file is there: a wrong path must not look like success.
    #[error("no vector file (*.json) under {0}")]
    Empty(PathBuf),
}

/// Runs every `*.json` under `folder`, in the order of their paths.
///
/// # Errors
/// [`RunError`] when the folder can't be read or holds no vectors. A failed case is no error: it is in
/// the reports.
pub fn run(folder: &Path) -> Result<Vec<FileReport>, RunError> {
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    files.sort();
    if files.is_empty() {
        return Err(RunError::Empty(folder.to_owned()));
    }
    files.iter().map(|file| run_file(folder, file)).collect()
}

fn run_file(folder: &Path, path: &Path) -> Result<FileReport, RunError> {
    let bytes = std::fs::read(path).map_err(|source| RunError::Read { path: path.to_owned(), source })?;
    let relative = path.strip_prefix(folder).unwrap_or(path);
    let file = relative.components().map(|c| c.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/");
    let mut report = FileReport { file, passed: 0, failed: 0, not_understood: 0, remarks: Vec::new() };

    let Ok(json) = serde_json::from_slice::<Value>(&bytes) else {
        report.count("the file", Err(Miss::Unknown("not JSON".into())));
        return Ok(report);
    };
    let family =
        path.parent().and_then(|p| p.file_name()).map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = path.file_stem().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let source = Source { json: &json, folder: path.parent().unwrap_or(folder), stem: &stem };
    let mut judge = |name: &str, judged: Judged| report.count(name, judged);
    match family.as_str() {
        "merkle" | "tiles" => merkle::run(&source, &mut judge),
        "note" | "checkpoint" | "policy" | "tlogproof" | "witness" => notes::run(&source, &mut judge),
        "wycheproof" | "ecdsa" | "ecsdsa" | "ed25519" | "h2c" => curve::run(&source, &mut judge),
        "frost" => frost::run(&source, &mut judge),
        "cbor" | "cose" | "base64" => encoding::run(&source, &mut judge),
        "scal3" => records::run(&source, &mut judge),
        _ => unknown(&source, &mut judge),
    }
    Ok(report)
}

impl FileReport {
    fn count(&mut self, name: &str, judged: Judged) {
        match judged {
            Ok(()) => self.passed += 1,
            Err(Miss::Wrong(why)) => {
                self.failed += 1;
                self.remarks.push(format!("{name}: FAILED: {why}"));
            }
            Err(Miss::Unknown(why)) => {
                self.not_understood += 1;
                self.remarks.push(format!("{name}: not understood: {why}"));
            }
        }
    }
}

/// One vector file: its JSON, the folder it lies in (for files it names), and its name without `.json`.
struct Source<'a> {
    json: &'a Value,
    folder: &'a Path,
    stem: &'a str,
}

impl<'a> Source<'a> {
    /// The file's cases, by the member that holds them.
    fn cases(&self, member: &str) -> impl Iterator<Item = Case<'a>> + use<'a> {
        self.json.get(member).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default().iter().map(Case::new)
    }

    /// Judges each member of `cases` by one function.
    fn each(&self, judge: &mut dyn FnMut(&str, Judged), one: impl Fn(&Case<'a>) -> Judged) {
        for case in self.cases("cases") {
            judge(&case.name(), one(&case));
        }
    }
}

/// A file of a shape that we do not know: each of its cases says so.
fn unknown(source: &Source<'_>, judge: &mut dyn FnMut(&str, Judged)) {
    let mut any = false;
    for case in source.cases("cases") {
        any = true;
        judge(&case.name(), Err(Miss::Unknown("no such family here".into())));
    }
    if !any {
        judge(source.stem, Err(Miss::Unknown("no such family here".into())));
    }
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) -> Result<(), RunError> {
    let read = |source| RunError::Read { path: folder.to_owned(), source };
    for entry in std::fs::read_dir(folder).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if path.is_dir() {
            collect(&path, into)?;
        } else if path.extension().is_some_and(|e| e == "json") {
            into.push(path);
        }
    }
    Ok(())
}
