//! The canary: a record of our own that must appear. It shows that the way from an instruction to this monitor is whole:
//! a log that takes records and keeps them back says nothing wrong in what it shows.
//!
//! The record is made by a command, with whatever keys it has: `sole --json authorise …`, or a program on the SDK. It prints
//! the index of the entry, as a number or as `index` of a JSON object.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::process::Command;

use crate::report::{Report, What};

/// A command that makes a record, and when.
#[derive(Debug)]
pub struct Canary {
    command: PathBuf,
    every: Duration,
    within: Duration,
    /// When the next one is due.
    due: Instant,
    /// The record that we wait for, and since when.
    waiting: Option<(u64, Instant)>,
}

impl Canary {
    /// A canary that sings at once and then so often; each record has to be under a head within that time.
    #[must_use]
    pub fn new(command: PathBuf, every: Duration, within: Duration) -> Canary {
        Canary { command, every, within, due: Instant::now(), waiting: None }
    }

    /// Whether the last one appeared, and the next one if it is due.
    pub(crate) async fn check(&mut self, report: &mut Report) {
        let read = report.findings.iter().any(|finding| matches!(finding.what, What::Rebuilt { .. }));
        if let Some((index, since)) = self.waiting {
            let waited = since.elapsed();
            if read && report.size() > index {
                self.waiting = None;
            } else if read && waited > self.within {
                report.add(What::Canary { index, waited });
            }
        }
        if self.waiting.is_none() && Instant::now() >= self.due {
            match self.sing().await {
                Ok(index) => {
                    self.waiting = Some((index, Instant::now()));
                    self.due = Instant::now() + self.every;
                }
                // Again in the next round.
                Err(why) => report.add(What::NoCanary(why)),
            }
        }
    }

    async fn sing(&self) -> Result<u64, String> {
        let mut command = Command::new(&self.command);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(self.within, command.output()).await;
        let output = output.map_err(|_| "its command takes too long")?.map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(format!("its command ended with {}", output.status));
        }
        index_in(&output.stdout).ok_or_else(|| "its command printed no index".to_owned())
    }
}

fn index_in(output: &[u8]) -> Option<u64> {
    match serde_json::from_slice(output).ok()? {
        Value::Number(index) => index.as_u64(),
        Value::Object(answer) => answer.get("index")?.as_u64(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_a_number_or_part_of_an_answer() {
        assert_eq!(index_in(b"17\n"), Some(17));
        assert_eq!(index_in(br#"{"sequence": 3, "index": 17}"#), Some(17));
        for none in [&b""[..], b"-1", b"seventeen", b"{}", br#"{"index": "17"}"#, b"[17]"] {
            assert_eq!(index_in(none), None);
        }
    }
}
