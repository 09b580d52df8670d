//! `sole`: the user's command.

use clap::{Parser, Subcommand};
use client::{
    receipt::Receipt,
    vectors,
    verify::{self, Outcome, Report, Verdict},
};
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};
use tlog::policy::Policy;

/// Check what was done in your name.
#[derive(Parser)]
#[command(name = "sole", version, about, arg_required_else_help = true)]
struct Args {
    #[command(subcommand)]
    command: Command,
    /// Answer in JSON, for programs.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Verify a receipt, offline.
    ///
    /// Exit code 0: an authorised instruction in the log. 1: something failed. 2: the files cannot be
    /// read. 3: nothing failed, but the receipt shows only that the entry is in the log.
    Verify {
        /// The receipt (*.receipt.json).
        file: PathBuf,
        /// The trust file (tlog-policy): which log, which witnesses, what quorum.
        #[arg(long, value_name = "TRUST")]
        policy: PathBuf,
    },
    /// Run every test vector under a folder through this program's code.
    ///
    /// Exit code 1 when a case fails. A shape or algorithm that is not known counts as not understood.
    Vectors {
        /// The folder.
        folder: PathBuf,
        /// Print a line for each case that did not pass.
        #[arg(long)]
        verbose: bool,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    let result = match &args.command {
        Command::Verify { file, policy } => verify_file(file, policy, args.json),
        Command::Vectors { folder, verbose } => run_vectors(folder, *verbose, args.json),
    };
    result.unwrap_or_else(|message| {
        if args.json {
            println!("{}", json!({ "error": message }));
        } else {
            eprintln!("sole: {message}");
        }
        ExitCode::from(2)
    })
}

fn verify_file(file: &Path, policy: &Path, as_json: bool) -> Result<ExitCode, String> {
    let receipt: Receipt = serde_json::from_slice(&read(file)?).map_err(|e| {
        format!("{} is not a receipt: {e}. A receipt is the JSON that `GET /v1/receipts/…` answers.", file.display())
    })?;
    let trust = Policy::parse(read(policy)?)
        .map_err(|e| format!("{} is not a trust file: {e}. It has lines `log VKEY`, `witness NAME VKEY`, `quorum NAME|none` (c2sp.org/tlog-policy).", policy.display()))?;
    let report = verify::verify(&receipt, &trust);
    if as_json {
        println!("{}", serde_json::to_string_pretty(&report).map_err(|e| e.to_string())?);
    } else {
        print_report(&report);
    }
    Ok(match report.verdict {
        Verdict::Authorised => ExitCode::SUCCESS,
        Verdict::Failed => ExitCode::from(1),
        Verdict::Included => ExitCode::from(3),
    })
}

fn print_report(report: &Report) {
    for check in &report.checks {
        let outcome = match check.outcome {
            Outcome::Ok => "ok",
            Outcome::Failed => "failed",
            Outcome::NotShown => "not shown",
        };
        println!("  {outcome:<10} {:<11} {}", check.id, check.says);
    }
    println!(
        "{}",
        match report.verdict {
            Verdict::Authorised => "AUTHORISED with two factors, and in the log.",
            Verdict::Included => "IN THE LOG. What it is about, this receipt does not show.",
            Verdict::Failed => "FAILED. Do not rely on this receipt.",
        }
    );
}

fn run_vectors(folder: &Path, verbose: bool, as_json: bool) -> Result<ExitCode, String> {
    let files = vectors::run(folder).map_err(|e| e.to_string())?;
    if as_json {
        println!("{}", json!({ "files": files }));
    } else {
        for file in &files {
            println!(
                "{}: {} passed, {} failed, {} not understood",
                file.file, file.passed, file.failed, file.not_understood
            );
            for remark in file.remarks.iter().filter(|remark| verbose || remark.contains(": FAILED: ")) {
                println!("    {remark}");
            }
        }
        let sum = |of: fn(&vectors::FileReport) -> usize| files.iter().map(of).sum::<usize>();
        println!(
            "{} files: {} passed, {} failed, {} not understood",
            files.len(),
            sum(|f| f.passed),
            sum(|f| f.failed),
            sum(|f| f.not_understood)
        );
    }
    let failed = files.iter().any(|file| file.failed > 0);
    Ok(if failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))
}
