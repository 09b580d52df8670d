//! The program `solelog` as a process, for tests that need one to kill or to listen to.

#![allow(dead_code, reason = "each test binary uses its own part of this")]

pub mod people;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value as Json;

/// Runs a command that must succeed.
pub fn solelog(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_solelog")).args(arguments).output().expect("solelog runs");
    assert!(output.status.success(), "solelog {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// What a command said with `--json`.
pub fn json(output: &Output) -> Json {
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// A log as a process. Dropping it kills it with SIGKILL, which is what this is about.
pub struct Served {
    process: Child,
    /// Where it serves.
    pub url: String,
}

impl Served {
    /// Starts it on a free port, and waits until it serves. Its log lines, as many as `filter` lets through, go there.
    pub fn start(config: &Path, lines: Stdio, filter: &str) -> Served {
        let mut process = Command::new(env!("CARGO_BIN_EXE_solelog"))
            .args(["serve", "--json", "--listen", "127.0.0.1:0", "--config"])
            .arg(config)
            .env("SOLELOG_LOGGING_FILTER", filter)
            .stdout(Stdio::piped())
            .stderr(lines)
            .spawn()
            .expect("solelog serve starts");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("stdout")).read_line(&mut line).expect("a line");
        let said: Json = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line:?}: {e}"));
        Served { process, url: said["url"].as_str().expect("url").to_owned() }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.process.kill().expect("killed");
        self.process.wait().expect("gone");
    }
}
