//! `solelog fsck`: reads the whole log as a stranger would, and says what is wrong.

use std::fmt::Write as _;

use clap::Args;
use serde_json::json;
use tlog::TreeHead;

use super::config::check;
use super::serve::engine_config;
use super::{Exit, Failure, Output, Which};
use crate::folder::FolderError;
use crate::fsck::{self, FsckError};
use crate::store::lock::LockError;

/// Read the whole log as a stranger, and recompute its root with a second implementation.
#[derive(Debug, Args)]
pub struct Fsck {
    /// Which log. It must not be running.
    #[command(flatten)]
    which: Which,
}

impl Fsck {
    /// Runs it.
    pub fn run(self, out: Output) -> Result<(), Failure> {
        let config = self.which.load()?.config;
        let (engine, _) = engine_config(&config, check(&config)?);
        let bar = out.bar(0, "entries");
        let report = fsck::fsck(&engine, &mut |done, all| {
            bar.set_length(all);
            bar.set_position(done);
        })?;
        bar.finish_and_clear();
        let head =
            |head: Option<TreeHead>| head.map_or("none".to_owned(), |h| format!("{} entries, root {}", h.size, h.root));
        let mut text = format!(
            "{}\n  entries    {}, {} openings read, {} erased\n  objects    {} tiles and bundles compared\n  journal    {} rounds\n  committed  {}\n  published  {}\n  witnesses  {}\n",
            config.origin,
            report.entries,
            report.openings,
            report.erased,
            report.objects,
            report.rounds,
            head(report.committed),
            head(report.published),
            if report.witnesses.is_empty() { "none".to_owned() } else { report.witnesses.join(", ") },
        );
        for finding in &report.findings {
            let _ = writeln!(text, "  WRONG      {finding}");
        }
        text.push_str(if report.is_clean() { "ok: the entries make the root, also by rs_merkle" } else { "not ok" });
        let value = |head: Option<TreeHead>| head.map(|h| json!({ "size": h.size.get(), "root": h.root.to_base64() }));
        out.say(
            text,
            json!({
                "ok": report.is_clean(), "origin": config.origin, "entries": report.entries, "openings": report.openings, "erased": report.erased,
                "objects": report.objects, "rounds": report.rounds, "committed": value(report.committed), "published": value(report.published),
                "witnesses": report.witnesses, "wrong": report.wrong,
                "findings": report.findings.iter().map(|f| json!({ "place": f.place, "what": f.what })).collect::<Vec<_>>(),
            }),
        )?;
        if report.is_clean() {
            return Ok(());
        }
        Err(Failure::new(Exit::Failed, format!("{} things are wrong", report.wrong))
            .next("keep the folder as it is and do not start the log; bring a good copy back, or ask for help with the findings"))
    }
}

impl From<FsckError> for Failure {
    fn from(error: FsckError) -> Failure {
        match &error {
            FsckError::Folder(FolderError::Lock(LockError::Locked { .. })) => Failure::new(Exit::InUse, &error)
                .next("stop the log first; a running one is checked from outside by a monitor"),
            FsckError::NoLog(_) => Failure::new(Exit::Config, &error),
            _ => Failure::new(Exit::Failed, &error)
                .next("keep the folder as it is and do not start the log; bring a good copy back"),
        }
    }
}
