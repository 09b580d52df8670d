//! A trail in the making: a folder that is there whole, or not at all.
//!
//! ```text
//! FOLDER.part/lock          one process at a time
//! FOLDER.part/begun.json    what is being exported: the same command goes on, another one does not
//! FOLDER.part/lines         one line of JSON for each entry and what does not fit about it, as they are verified
//! FOLDER.part/trail/        what becomes FOLDER: receipts/, and at last trail.json
//! ```
//!
//! A receipt is durable before its line is written, so a run that was cut off goes on behind the last whole line. Nothing is
//! kept in memory but the line at hand.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, BufWriter, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::folder::{Folder, Memory as _, MemoryError, make_private_folder, private, sync_folder};
use crate::receipt::Receipt;
use crate::trail::{Transaction, VERSION, receipt_name};

const BEGUN: &str = "begun.json";
const LINES: &str = "lines";
const TRAIL: &str = "trail";

/// What is exported. Kept beside the trail in the making, so that another command does not go on with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Begun {
    /// Who exports: `subscriber` or `auditor`.
    pub by: String,
    /// The log.
    pub origin: String,
    /// The first entry that was asked for.
    pub from: Option<u64>,
    /// The entry before which it was asked to end.
    pub to: Option<u64>,
    /// Whether the texts of instructions are in it.
    pub with_text: bool,
    /// The head under which it was begun, as the log signed it.
    pub checkpoint: String,
}

/// Why no trail was written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The folder has something in it already.
    #[error("{} is there and not empty: a trail is written into a new folder", .0.display())]
    NotEmpty(PathBuf),
    /// What is in the making there is another trail.
    #[error("{} holds the beginning of another trail", .0.display())]
    Another(PathBuf),
    /// The path can't be that of a folder.
    #[error("{} is no name for a folder", .0.display())]
    Name(PathBuf),
    /// The file system.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

/// A trail in the making.
#[derive(Debug)]
pub struct Making {
    to: PathBuf,
    part: Folder,
    lines: File,
    /// What was asked for, when it was begun.
    begun: Begun,
    /// The entry behind the last that was written, if there is one.
    next: Option<u64>,
    entries: u64,
    findings: u64,
}

/// A line of the list in the making: everything about one entry at once, so that a torn one is as if it had not been.
#[derive(Serialize)]
struct Line<'a> {
    /// The walk is past this entry.
    past: Option<u64>,
    entry: Option<&'a Transaction>,
    findings: &'a [Json],
}

/// What is in the folder now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// How many entries.
    pub entries: u64,
    /// How many things that do not fit.
    pub findings: u64,
}

impl Making {
    /// Begins a trail, or goes on with one that was begun by the same command and that may go on.
    ///
    /// # Errors
    /// [`ExportError`]. Nothing that is there is changed then.
    pub fn begin(to: &Path, begun: &Begun, goes_on: bool) -> Result<Making, ExportError> {
        if fs::symlink_metadata(to).is_ok() {
            let mut names = fs::read_dir(to).map_err(at(to))?;
            if names.next().is_some() {
                return Err(ExportError::NotEmpty(to.to_owned()));
            }
        }
        let mut part = to.file_name().ok_or_else(|| ExportError::Name(to.to_owned()))?.to_owned();
        part.push(".part");
        let part = Folder::open(to.with_file_name(part))?;
        let path = part.path().to_owned();
        let known = match part.load(BEGUN)? {
            Some(bytes) => serde_json::from_slice::<Begun>(&bytes).ok(),
            // Nobody else's folder is taken for ours.
            None if part.names()?.iter().all(|name| name == "lock") => Some(begun.clone()),
            None => None,
        };
        let known = known.filter(|known| known.asks_the_same(begun)).ok_or(ExportError::Another(path.clone()))?;
        if !goes_on && path.join(TRAIL).exists() {
            fs::remove_dir_all(path.join(TRAIL)).map_err(at(&path))?;
        }
        let begun = if goes_on { known } else { begun.clone() };
        let bytes = serde_json::to_vec_pretty(&begun).map_err(|error| at(&path)(error.into()))?;
        part.save(BEGUN, &bytes)?;
        make_private_folder(&path.join(TRAIL).join("receipts"))?;
        let lines_at = path.join(LINES);
        let lines = private(OpenOptions::new().create(true).truncate(!goes_on).read(true).write(true))
            .open(&lines_at)
            .map_err(at(&lines_at))?;
        let mut making = Making { to: to.to_owned(), part, lines, begun, next: None, entries: 0, findings: 0 };
        making.resume().map_err(at(&lines_at))?;
        Ok(making)
    }

    /// What it was begun with: after an interruption, the head of then.
    #[must_use]
    pub fn begun(&self) -> &Begun {
        &self.begun
    }

    /// The entry behind the last one that is written, after an interruption.
    #[must_use]
    pub fn next(&self) -> Option<u64> {
        self.next
    }

    /// Finds the end of the last whole line, and goes on there.
    fn resume(&mut self) -> io::Result<()> {
        let mut reader = BufReader::new(&self.lines);
        let (mut whole, mut line) = (0, Vec::new());
        let (mut next, mut entries, mut findings) = (None, 0, 0);
        loop {
            line.clear();
            let length = reader.read_until(b'\n', &mut line)?;
            let Ok(json) = serde_json::from_slice::<Json>(&line) else { break };
            if line.last() != Some(&b'\n') {
                break;
            }
            whole += length as u64;
            entries += u64::from(json.get("entry").is_some_and(Json::is_object));
            findings += json.get("findings").and_then(Json::as_array).map_or(0, Vec::len) as u64;
            next = json.get("past").and_then(Json::as_u64).map(|past| past + 1).or(next);
        }
        (self.next, self.entries, self.findings) = (next, entries, findings);
        self.lines.set_len(whole)?;
        self.lines.seek(SeekFrom::End(0)).map(drop)
    }

    /// Keeps the receipt of an entry, durably.
    ///
    /// # Errors
    /// [`ExportError`].
    pub fn keep(&self, index: u64, receipt: &Receipt) -> Result<(), ExportError> {
        let name = format!("{TRAIL}/{}", receipt_name(index));
        let bytes = serde_json::to_vec_pretty(receipt).map_err(|error| at(self.part.path())(error.into()))?;
        Ok(self.part.save(&name, &bytes)?)
    }

    /// Writes down an entry, whose receipt was kept, and what does not fit about it. A run that is cut off goes on behind
    /// `past`.
    ///
    /// # Errors
    /// [`ExportError`].
    pub fn write(
        &mut self,
        past: Option<u64>,
        entry: Option<&Transaction>,
        findings: &[Json],
    ) -> Result<(), ExportError> {
        let path = self.part.path().join(LINES);
        let mut bytes = serde_json::to_vec(&Line { past, entry, findings }).map_err(|error| at(&path)(error.into()))?;
        bytes.push(b'\n');
        self.lines.write_all(&bytes).map_err(at(&path))?;
        self.entries += u64::from(entry.is_some());
        self.findings += findings.len() as u64;
        Ok(())
    }

    /// Puts the trail into its folder. `about` are the members that stand before the entries.
    ///
    /// # Errors
    /// [`ExportError`]. The trail stays in the making then.
    pub fn finish(self, about: &serde_json::Map<String, Json>) -> Result<Written, ExportError> {
        let Making { to, part, lines, entries, findings, .. } = self;
        let path = part.path().to_owned();
        lines.sync_all().map_err(at(&path))?;
        let trail = path.join(TRAIL);
        let file = trail.join("trail.json");
        write_trail(&file, &lines, about).map_err(at(&file))?;
        sync_folder(&trail)?;
        // An empty folder of that name is replaced, and one that has got something in it meanwhile is not.
        fs::rename(&trail, &to).map_err(at(&to))?;
        sync_folder(to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
        drop(part);
        fs::remove_dir_all(&path).map_err(at(&path))?;
        Ok(Written { entries, findings })
    }
}

impl Begun {
    /// Whether it is the same that is asked for. The head may be a later one.
    fn asks_the_same(&self, other: &Begun) -> bool {
        let Begun { by, origin, from, to, with_text, checkpoint: _ } = other;
        (&self.by, &self.origin, &self.from, &self.to, &self.with_text) == (by, origin, from, to, with_text)
    }
}

/// Writes `trail.json`: the lines as they are, entries first, then findings.
fn write_trail(path: &Path, mut lines: &File, about: &serde_json::Map<String, Json>) -> io::Result<()> {
    let file = private(OpenOptions::new().create(true).truncate(true).write(true)).open(path)?;
    let mut out = BufWriter::new(file);
    write!(out, "{{\n  \"version\": {}", Json::from(VERSION))?;
    for (name, value) in about {
        write!(out, ",\n  {}: {value}", Json::from(name.as_str()))?;
    }
    for (member, list) in [("entry", "transactionLog"), ("findings", "findings")] {
        write!(out, ",\n  \"{list}\": [")?;
        lines.seek(SeekFrom::Start(0))?;
        let mut before = "\n    ";
        for line in BufReader::new(lines).lines() {
            let line: Json = serde_json::from_str(&line?)?;
            let values = match line.get(member) {
                Some(Json::Array(values)) => values.as_slice(),
                Some(value @ Json::Object(_)) => std::slice::from_ref(value),
                _ => &[],
            };
            for value in values {
                write!(out, "{before}{value}")?;
                before = ",\n    ";
            }
        }
        write!(out, "\n  ]")?;
    }
    writeln!(out, "\n}}")?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> MemoryError {
    let path = path.to_owned();
    move |error| MemoryError::File { path, error }
}
