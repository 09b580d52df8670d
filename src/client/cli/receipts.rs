//! `sole receipts`: what this device keeps of what it authorised.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use client::receipts::Kept;
use client::{Document, Folder, verify};
use scal3::Entry;
use serde_json::{Value as Json, json};
use tlog::proof_file::ProofFile;

use super::failure::Failure;
use super::home::Home;
use super::plain::{self, moment, plain};
use super::{Done, Output};

/// The receipts that this device keeps.
#[derive(Subcommand)]
pub enum Receipts {
    /// List them.
    List {
        #[command(flatten)]
        home: Home,
    },
    /// Show what one of them says, and whether it holds.
    Show(Which),
    /// Write one to a file, for somebody else. They get to read all of it: every field of the instruction.
    Export {
        #[command(flatten)]
        which: Which,
        /// Where to; without it, under its own name in this folder. `-` for standard output.
        #[arg(long, short, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// Which receipt.
#[derive(Args)]
pub struct Which {
    /// Its name as `list` says it, or the number of its entry in the log.
    receipt: String,
    #[command(flatten)]
    home: Home,
}

/// What a receipt says, before anything is verified.
struct Says {
    index: Option<u64>,
    time_ms: Option<u64>,
    document: Option<Document>,
}

impl Says {
    fn of(kept: &Kept) -> Says {
        let document = kept.receipt.document.as_ref();
        Says {
            index: ProofFile::parse(kept.receipt.proof.as_bytes()).ok().map(|file| file.index.get()),
            time_ms: Entry::parse(kept.receipt.entry.as_ref()).ok().map(|entry| entry.time_ms),
            document: document.and_then(|bytes| Document::parse(bytes.as_ref()).ok()),
        }
    }

    fn json(&self, name: &str) -> Json {
        json!({
            "name": name, "index": self.index, "time_ms": self.time_ms,
            "instruction": self.document.as_ref().map(plain::json),
        })
    }
}

impl Receipts {
    /// Runs it.
    pub fn run(self, out: Output) -> Done {
        match self {
            Receipts::List { home } => list(&home, out),
            Receipts::Show(which) => show(&which, out),
            Receipts::Export { which, out: to } => export(&which, to.as_deref(), out),
        }
    }
}

fn list(home: &Home, out: Output) -> Done {
    let (folder, _, _) = home.folder()?;
    let mut kept: Vec<(Kept, Says)> =
        all(&folder)?.into_iter().map(|kept| (Says::of(&kept), kept)).map(|(says, kept)| (kept, says)).collect();
    kept.sort_by_key(|(_, says)| says.index);
    let mut text = String::new();
    for (kept, says) in &kept {
        let index = says.index.map_or("?".to_owned(), |index| index.to_string());
        let class = says.document.as_ref().map_or("?".to_owned(), |document| plain(&document.class));
        let _ =
            writeln!(text, "{index:>8}  {}  {class:<20} {}", says.time_ms.map(moment).unwrap_or_default(), kept.name);
    }
    if kept.is_empty() {
        text.push_str("none yet; each instruction that you authorise leaves one");
    }
    out.say(text, &Json::Array(kept.iter().map(|(kept, says)| says.json(&kept.name)).collect()))?;
    Ok(ExitCode::SUCCESS)
}

fn show(which: &Which, out: Output) -> Done {
    let (folder, _, policy) = which.home.folder()?;
    let kept = which.find(&folder)?;
    let says = Says::of(&kept);
    let beside: Vec<_> = all(&folder)?.into_iter().map(|kept| kept.receipt).collect();
    let report = verify::verify_with(&kept.receipt, &beside, &policy);
    let mut text = String::new();
    if let Some(document) = &says.document {
        text.push_str(&plain::fields(document, |_| false));
        text.push('\n');
    }
    let index = says.index.map_or("?".to_owned(), |index| index.to_string());
    let _ = writeln!(text, "  entry {index}, {}\n", says.time_ms.map(moment).unwrap_or_default());
    text.push_str(&super::verify::text(&report));
    let mut json = says.json(&kept.name);
    json["report"] = serde_json::to_value(&report).unwrap_or_default();
    out.say(text, &json)?;
    Ok(super::verify::exit(&report))
}

fn export(which: &Which, to: Option<&Path>, out: Output) -> Done {
    let (folder, _, _) = which.home.folder()?;
    let kept = which.find(&folder)?;
    let bytes = serde_json::to_vec_pretty(&kept.receipt).map_err(|error| Failure::files(error.to_string()))?;
    let fault =
        |path: &Path, error: std::io::Error| Failure::files(format!("cannot write {}: {error}", path.display()));
    let path = to.unwrap_or(Path::new(&kept.name));
    if path == Path::new("-") {
        let mut to = std::io::stdout().lock();
        to.write_all(&bytes).and_then(|()| writeln!(to)).map_err(|error| fault(path, error))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).open(path).map_err(|error| {
            fault(path, error).next("a file that is there is never replaced; name another with --out")
        })?;
    file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(|error| fault(path, error))?;
    out.say(
        format_args!("{}\n  next: sole verify {} --policy TRUST", path.display(), path.display()),
        &json!({ "name": kept.name, "file": path.display().to_string() }),
    )?;
    Ok(ExitCode::SUCCESS)
}

impl Which {
    fn find(&self, folder: &Folder) -> Result<Kept, Failure> {
        let index = self.receipt.parse::<u64>().ok();
        let is_it = |kept: &Kept| kept.name == self.receipt || (index.is_some() && Says::of(kept).index == index);
        all(folder)?.into_iter().find(is_it).ok_or_else(|| {
            Failure::usage(format!("this device keeps no receipt {}", self.receipt)).next("sole receipts list")
        })
    }
}

fn all(folder: &Folder) -> Result<Vec<Kept>, Failure> {
    Ok(client::receipts::kept(folder)?)
}
