//! `sole audit export`: a list of what the log has, with what proves it, to keep or to hand on.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use client::audit::{AuditError, Wanted, export, head_json};
use client::export::{Begun, ExportError, Making, Written};
use client::provider::{ProviderError, Token};
use client::trail::Transaction;
use client::{Patience, Provider};
use serde_json::{Map, Value as Json, json};
use zeroize::Zeroizing;

use super::failure::Failure;
use super::home::{Device, policy, read};
use super::{Done, Output, wait};

/// The trail of what the log has.
#[derive(Subcommand)]
pub enum Audit {
    /// Write everything that the log has about you into a folder: `trail.json`, and a receipt for each entry.
    ///
    /// With --url, --trust and --token-file it is an auditor's: all entries of that log, whoever they are about.
    ///
    /// Exit code 1 when something does not fit; the trail is written all the same, and says what.
    Export(Export),
}

/// Write a trail.
#[derive(Args)]
pub struct Export {
    /// The folder. It must be new, or empty.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Put the texts of instructions into the list. Without it, no value of any field is in `trail.json`. The receipts
    /// show what the provider was shown, either way; with it, yours hold the whole texts.
    #[arg(long)]
    with_text: bool,
    /// For auditors: the address of the log's server.
    #[arg(long, value_name = "URL", requires_all = ["trust", "token_file"])]
    url: Option<String>,
    /// For auditors: the trust file (tlog-policy): which log, which witnesses, what quorum.
    #[arg(long, value_name = "TRUST", requires = "url")]
    trust: Option<PathBuf>,
    /// For auditors: a file with a token of the scope `read`.
    #[arg(long, value_name = "FILE", requires = "url")]
    token_file: Option<PathBuf>,
    /// For auditors: the first entry.
    #[arg(long, value_name = "INDEX", requires = "url")]
    from: Option<u64>,
    /// For auditors: the entry before which to end.
    #[arg(long, value_name = "INDEX", requires = "url")]
    to: Option<u64>,
    #[command(flatten)]
    device: Device,
}

impl Audit {
    /// Runs it.
    pub fn run(self, out: Output) -> Done {
        let Audit::Export(export) = self;
        let written = match (&export.url, &export.trust, &export.token_file) {
            (Some(url), Some(trust), Some(token)) => export.of_a_log(url, trust, token)?,
            _ => export.of_a_person()?,
        };
        let Written { entries, findings } = written;
        let folder = export.out.display();
        let verdict = match findings {
            0 => "Everything fits.".to_owned(),
            1 => "1 FINDING: something does not fit; see `findings` in trail.json.".to_owned(),
            n => format!("{n} FINDINGS: something does not fit; see `findings` in trail.json."),
        };
        out.say(
            format!("{folder}: {entries} entries, each with its receipt. {verdict}\n  The receipts show what the provider was shown: hand them only to who may read that.\n  next: sole verify {folder}/receipts/INDEX.receipt.json --policy TRUST"),
            &json!({ "folder": folder.to_string(), "entries": entries, "findings": findings }),
        )?;
        Ok(if findings == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }
}

impl Export {
    /// What the log has about the person of this device.
    fn of_a_person(&self) -> Result<Written, Failure> {
        let mut person = self.device.open()?;
        let watch = wait(person.watch())??;
        let (origin, note) = person.seen_note().ok_or_else(|| Failure::files("the log has shown no head yet"))?;
        let begun = Begun {
            by: "subscriber".to_owned(),
            origin: origin.clone(),
            from: None,
            to: None,
            with_text: self.with_text,
            checkpoint: note.to_text(),
        };
        let mut making = Making::begin(&self.out, &begun, false)?;
        let mut own = watch.entries;
        own.sort_by_key(|own| own.index);
        for own in own {
            let mut receipt = own.receipt;
            if !self.with_text {
                receipt.document = None;
            }
            making.keep(own.index, &receipt)?;
            let entry = Transaction::of(&origin, &receipt, self.with_text);
            let unread = || client::trail::finding(Some(own.index), Some(&own.credential), "it can't be read");
            let findings: Vec<Json> = entry.is_none().then(unread).into_iter().collect();
            making.write(Some(own.index), entry.as_ref(), &findings)?;
        }
        let findings: Vec<Json> = watch.findings.iter().map(super::watch::finding).collect();
        making.write(None, None, &findings)?;
        let about = json!({ "origin": origin, "by": "subscriber", "head": head_json(&watch.head, &note) });
        Ok(making.finish(about.as_object().unwrap_or(&Map::new()))?)
    }

    /// What a log has.
    fn of_a_log(&self, url: &str, trust: &Path, token: &Path) -> Result<Written, Failure> {
        let policy = policy(&read(trust)?, trust)?;
        let text = Zeroizing::new(read(token)?);
        let bad = || Failure::files(format!("{} is no token", token.display()));
        let line = std::str::from_utf8(&text).map_err(|_| bad())?;
        let token = Token::bearer(line.trim_end_matches(['\r', '\n'])).ok_or_else(bad)?;
        let provider = Provider::new(url, Patience::default())?;
        let wanted = Wanted { from: self.from, to: self.to, with_text: self.with_text };
        Ok(wait(export(&provider, &token, &policy, &wanted, &self.out))??)
    }
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Failure {
        let failure = Failure::files(&error);
        match error {
            ExportError::NotEmpty(_) => failure.next("name a new folder with --out"),
            ExportError::Another(_) => {
                failure.next("give the command that began it again, or remove that folder if it is not wanted")
            }
            ExportError::Name(_) | ExportError::Memory(_) => failure,
        }
    }
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Failure {
        match error {
            AuditError::Export(error) => error.into(),
            AuditError::Provider(ProviderError::Refused(problem)) if matches!(problem.status, 401 | 403) => {
                Failure::usage(problem).next("ask the provider for a token of the scope `read`")
            }
            AuditError::Provider(error) => Failure::from(client::Error::from(error))
                .next("give the same command again: it goes on behind the last entry that was written"),
            AuditError::Restricted(_) => Failure::usage(error).next("ask the provider for a token of the scope `read`"),
            AuditError::Range { .. } => Failure::usage(error),
            AuditError::Note(_) | AuditError::Policy(_) => Failure::failed("head", error)
                .next("see that the trust file is the provider's newest: its keys and witnesses may have changed"),
            AuditError::History(_) => Failure::failed("two-histories", error)
                .next("keep the folder in the making and its begun.json: it holds the head of then, signed by the log"),
        }
    }
}
