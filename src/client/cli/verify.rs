//! `sole verify` and `sole vectors`: judging files, offline.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use client::receipt::Receipt;
use client::vectors;
use client::verify::{self, Outcome, Report, Verdict};
use serde_json::json;

use super::failure::Failure;
use super::home::{Home, policy, read};
use super::{Done, Output};

/// Verify a receipt.
#[derive(Args)]
pub struct Verify {
    /// The receipt (*.receipt.json).
    file: PathBuf,
    /// Other receipts that stand beside it: after a new PIN or a new phone, that of the instruction by which the old
    /// credential spoke for the new one, or of the recovery; and so on back to the first.
    #[arg(long = "with", value_name = "FILE")]
    with: Vec<PathBuf>,
    /// The trust file (tlog-policy): which log, which witnesses, what quorum. Without it, that of the enrolled device.
    #[arg(long, value_name = "TRUST")]
    policy: Option<PathBuf>,
    #[command(flatten)]
    home: Home,
}

/// Run test vectors.
#[derive(Args)]
pub struct Vectors {
    /// The folder.
    folder: PathBuf,
    /// Print a line for each case that did not pass.
    #[arg(long)]
    verbose: bool,
}

impl Verify {
    /// Runs it.
    pub fn run(self, out: Output) -> Done {
        let receipt = receipt_at(&self.file)?;
        let beside = self.with.iter().map(|file| receipt_at(file)).collect::<Result<Vec<_>, _>>()?;
        let trust = match self.policy {
            Some(path) => path,
            None => self.home.trust_file()?,
        };
        let report = verify::verify_with(&receipt, &beside, &policy(&read(&trust)?, &trust)?);
        let value = serde_json::to_value(&report).map_err(|error| Failure::files(error.to_string()))?;
        out.say(text(&report), &value)?;
        Ok(exit(&report))
    }
}

/// The receipt in a file.
fn receipt_at(file: &Path) -> Result<Receipt, Failure> {
    serde_json::from_slice(&read(file)?).map_err(|error| {
        Failure::files(format!("{} is not a receipt: {error}", file.display()))
            .next("a receipt is the JSON that `sole receipts export` writes and `GET /v1/receipts/…` answers")
    })
}

/// The exit code of a report.
pub fn exit(report: &Report) -> ExitCode {
    match report.verdict {
        Verdict::Authorised => ExitCode::SUCCESS,
        Verdict::Failed => ExitCode::from(1),
        Verdict::Included => ExitCode::from(3),
    }
}

/// A report for people.
pub fn text(report: &Report) -> String {
    let mut text = String::new();
    for check in &report.checks {
        let outcome = match check.outcome {
            Outcome::Ok => "ok",
            Outcome::Failed => "failed",
            Outcome::NotShown => "not shown",
        };
        let _ = writeln!(text, "  {outcome:<10} {:<11} {}", check.id, super::plain::plain(&check.says));
    }
    text.push_str(match report.verdict {
        Verdict::Authorised => "AUTHORISED with two factors, and in the log.",
        Verdict::Included => "IN THE LOG. What it is about, this receipt does not show.",
        Verdict::Failed => "FAILED. Do not rely on this receipt.",
    });
    text
}

impl Vectors {
    /// Runs it.
    pub fn run(self, out: Output) -> Done {
        let files = vectors::run(&self.folder).map_err(|error| Failure::files(error.to_string()))?;
        let mut text = String::new();
        for file in &files {
            let _ = writeln!(
                text,
                "{}: {} passed, {} failed, {} not understood",
                file.file, file.passed, file.failed, file.not_understood
            );
            for remark in file.remarks.iter().filter(|remark| self.verbose || remark.contains(": FAILED: ")) {
                let _ = writeln!(text, "    {remark}");
            }
        }
        let sum = |of: fn(&vectors::FileReport) -> usize| files.iter().map(of).sum::<usize>();
        let _ = writeln!(
            text,
            "{} files: {} passed, {} failed, {} not understood",
            files.len(),
            sum(|file| file.passed),
            sum(|file| file.failed),
            sum(|file| file.not_understood)
        );
        out.say(text, &json!({ "files": files }))?;
        Ok(if files.iter().any(|file| file.failed > 0) { ExitCode::from(1) } else { ExitCode::SUCCESS })
    }
}
