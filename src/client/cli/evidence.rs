//! `sole evidence verify`: judging what a monitor holds against a log, offline, without trust in the monitor.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use scal3::accusation::Accusation;
use scal3::limits::EVIDENCE_FILE_MAX;
use serde_json::json;

use super::failure::Failure;
use super::home::{Home, policy, read};
use super::plain::plain;
use super::{Done, Output};

/// What a monitor found.
#[derive(Subcommand)]
pub enum Evidence {
    /// Verify an evidence file, offline.
    ///
    /// Exit code 0: it proves what is printed. 1: it proves nothing. 2: the files can't be read.
    Verify(Verify),
}

/// Verify an evidence file.
#[derive(Args)]
pub struct Verify {
    /// The evidence file (*.evidence).
    file: PathBuf,
    /// The trust file (tlog-policy): which log, and which witnesses. Without it, that of the enrolled device.
    #[arg(long, value_name = "POLICY")]
    trust: Option<PathBuf>,
    #[command(flatten)]
    home: Home,
}

impl Evidence {
    /// Runs it.
    pub fn run(self, out: Output) -> Done {
        let Evidence::Verify(Verify { file, trust, home }) = self;
        let accusation = Accusation::parse(&evidence(&file)?).map_err(|error| {
            Failure::files(format!("{} is not an evidence file: {error}", file.display()))
                .next("evidence files are what `solelog-monitor` writes to the folder `evidence` of its state")
        })?;
        let trust = match trust {
            Some(path) => path,
            None => home.trust_file()?,
        };
        let value = |proven: bool, says: &str| json!({ "proven": proven, "says": says });
        match accusation.judge(&policy(&read(&trust)?, &trust)?) {
            Ok(proven) => {
                let says = plain(&proven.to_string());
                out.say(format!("PROVEN: {says}"), &value(true, &says))?;
                Ok(ExitCode::SUCCESS)
            }
            Err(unproven) => {
                let says = plain(&unproven.to_string());
                out.say(format!("NOT PROVEN: {says}. It says nothing about anybody."), &value(false, &says))?;
                Ok(ExitCode::from(1))
            }
        }
    }
}

/// The bytes of an evidence file, which may be as long as a log is.
fn evidence(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let most = EVIDENCE_FILE_MAX as u64 + 1;
    std::fs::File::open(path)
        .and_then(|file| file.take(most).read_to_end(&mut bytes))
        .map_err(|error| Failure::files(format!("cannot read {}: {error}", path.display())))?;
    Ok(bytes)
}
