//! `solelog doctor`: is everything in place, and if not, what to do.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use tlog::checkpoint::Origin;
use tlog::policy::Policy;

use super::config::check;
use super::{Exit, Failure, Output, Which, runtime};
use crate::config::Config;
use crate::engine::wall_clock_ms;
use crate::tokens;

/// Look whether everything a log needs is in place.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Which log.
    #[command(flatten)]
    which: Which,
}

/// How one check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warning,
    Failed,
}

#[derive(Debug, Serialize)]
struct Finding {
    check: String,
    verdict: Verdict,
    found: String,
    #[serde(rename = "do", skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn ok(&mut self, check: impl Into<String>, found: impl Into<String>) {
        self.0.push(Finding { check: check.into(), verdict: Verdict::Ok, found: found.into(), fix: None });
    }

    fn warn(&mut self, check: impl Into<String>, found: impl Into<String>, fix: impl Into<String>) {
        self.0.push(Finding {
            check: check.into(),
            verdict: Verdict::Warning,
            found: found.into(),
            fix: Some(fix.into()),
        });
    }

    fn fail(&mut self, check: impl Into<String>, found: impl Into<String>, fix: impl Into<String>) {
        self.0.push(Finding {
            check: check.into(),
            verdict: Verdict::Failed,
            found: found.into(),
            fix: Some(fix.into()),
        });
    }
}

impl Doctor {
    /// Runs it.
    pub fn run(self, out: Output) -> Result<(), Failure> {
        let config = self.which.load()?.config;
        let mut findings = Findings::default();
        folder(&config, &mut findings);
        disk(&config, &mut findings);
        let policy = keys(&config, &mut findings);
        token_file(&config, &mut findings);
        high_water(&config, &mut findings);
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(5))
            .build()
            .map_err(|e| Failure::new(Exit::System, e))?;
        runtime()?.block_on(async {
            server(&client, &config, &mut findings).await;
            if let Some(policy) = &policy {
                witnesses(&client, &config, policy, &mut findings).await;
            }
        });
        let mut text = String::new();
        for finding in &findings.0 {
            let mark = match finding.verdict {
                Verdict::Ok => "ok     ",
                Verdict::Warning => "warning",
                Verdict::Failed => "FAILED ",
            };
            let _ = writeln!(text, "{mark} {:12} {}", finding.check, finding.found);
            if let Some(fix) = &finding.fix {
                let _ = writeln!(text, "        do: {fix}");
            }
        }
        out.say(text, &findings.0)?;
        let failed = findings.0.iter().filter(|f| f.verdict == Verdict::Failed).count();
        if failed > 0 { Err(Failure::new(Exit::Failed, format!("{failed} checks failed"))) } else { Ok(()) }
    }
}

fn folder(config: &Config, findings: &mut Findings) {
    let data = config.data.display();
    match fs::metadata(&config.data) {
        Err(error) => {
            findings.fail("folder", format!("{data}: {error}"), "solelog init --origin NAME --data DIR makes a log")
        }
        Ok(m) if m.mode() & 0o077 != 0 => {
            findings.warn("folder", format!("{data} has mode {:04o}", m.mode() & 0o777), format!("chmod 0700 {data}"))
        }
        Ok(_) if !config.log_dir().is_dir() => findings.fail(
            "folder",
            format!("there is no log in {data}"),
            "solelog init --origin NAME --data DIR makes a log",
        ),
        Ok(_) => findings.ok("folder", data.to_string()),
    }
}

fn disk(config: &Config, findings: &mut Findings) {
    match rustix::fs::statvfs(&config.data) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize) >> 20;
            if free < 1024 {
                findings.warn(
                    "disk space",
                    format!("{free} MiB free"),
                    "make room: without it appends are refused, reads go on",
                );
            } else {
                findings.ok("disk space", format!("{free} MiB free"));
            }
        }
        Err(error) => findings.fail("disk space", error.to_string(), "look at the file system"),
    }
    match sync_time(&config.data) {
        Ok(time) if time > Duration::from_millis(50) => {
            findings.warn(
                "disk sync",
                format!("{:.1} ms", time.as_secs_f64() * 1000.0),
                "every round waits for two of these; a disk with power-loss protection is faster",
            );
        }
        Ok(time) => findings.ok("disk sync", format!("{:.2} ms", time.as_secs_f64() * 1000.0)),
        Err(error) => {
            findings.fail("disk sync", error.to_string(), "the log's user must be able to write in the folder")
        }
    }
}

/// The middle one of nine small writes with a sync each.
fn sync_time(folder: &Path) -> std::io::Result<Duration> {
    let path = folder.join(format!(".doctor.{}.tmp", std::process::id()));
    let mut file = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path)?;
    let mut times: Vec<Duration> = Vec::new();
    let mut measure = || {
        for _ in 0..9 {
            file.write_all(&[0; 512])?;
            let began = Instant::now();
            file.sync_data()?;
            times.push(began.elapsed());
        }
        Ok(())
    };
    let measured = measure();
    fs::remove_file(&path)?;
    measured.map(|()| {
        times.sort_unstable();
        times[times.len() / 2]
    })
}

fn keys(config: &Config, findings: &mut Findings) -> Option<Policy> {
    match check(config) {
        Ok(checked) => {
            findings.ok("key", checked.vkey);
            match checked.witness_policy {
                Some((_, policy)) => {
                    findings.ok("policy", format!("{} witnesses", policy.witnesses().len()));
                    Some(policy)
                }
                None => {
                    findings.warn(
                        "policy",
                        "no witnesses: receipts prove what this log says, not that it says the same to everybody",
                        "find witnesses, write a tlog-policy file, and set witnesses.policy",
                    );
                    None
                }
            }
        }
        Err(failure) => {
            findings.fail("key", failure.error().to_owned(), failure.advice().unwrap_or("see the error").to_owned());
            None
        }
    }
}

fn token_file(config: &Config, findings: &mut Findings) {
    match tokens::read(&config.tokens()) {
        Ok(tokens) if tokens.is_empty() => findings.warn(
            "tokens",
            "none: nobody can append",
            "solelog token new --scope append --name NAME --config FILE",
        ),
        Ok(tokens) => {
            let now = wall_clock_ms();
            let valid = tokens.iter().filter(|t| t.expires_ms.is_none_or(|e| e > now)).count();
            findings.ok("tokens", format!("{valid} valid, {} expired", tokens.len() - valid));
        }
        Err(error) => findings.fail("tokens", error.to_string(), "correct the file; until then every token is refused"),
    }
}

fn high_water(config: &Config, findings: &mut Findings) {
    let Some(path) = &config.witnesses.high_water else { return };
    let device = |p: &Path| fs::metadata(p).map(|m| m.dev());
    match (device(path), device(&config.data)) {
        (Err(error), _) => findings.fail(
            "high water",
            format!("{}: {error}", path.display()),
            "the start refuses to sign without it; was it deleted?",
        ),
        (Ok(one), Ok(two)) if one == two => findings.warn(
            "high water",
            format!("{} is on the same disk as the log", path.display()),
            "put it where a restored backup or snapshot of the log's disk does not bring it along",
        ),
        _ => findings.ok("high water", path.display().to_string()),
    }
}

async fn server(client: &reqwest::Client, config: &Config, findings: &mut Findings) {
    let url = format!("http://{}/readyz", config.listen);
    match client.get(&url).send().await {
        Err(_) => findings.warn("server", format!("nothing answers at {url}"), "solelog serve --config FILE"),
        Ok(answer) if answer.status().is_success() => findings.ok("server", "ready"),
        Ok(answer) => {
            let body = answer.text().await.unwrap_or_default();
            findings.fail(
                "server",
                format!("not ready: {body}"),
                "the checks in the answer that are not `ok` say what is wrong",
            );
        }
    }
}

async fn witnesses(client: &reqwest::Client, config: &Config, policy: &Policy, findings: &mut Findings) {
    let Ok(origin) = Origin::new(&config.origin) else { return };
    for witness in policy.witnesses() {
        let name = format!("witness {}", witness.name);
        let Some(url) = &witness.url else { continue };
        let began = Instant::now();
        let asked =
            client.get(format!("{}/{}/checkpoint", url.trim_end_matches('/'), origin.hash().to_hex())).send().await;
        let took = began.elapsed().as_millis();
        match asked {
            Err(error) => findings.fail(
                name,
                format!("{url} does not answer: {}", error.without_url()),
                "ask whoever runs it; while a quorum is missing nothing is published",
            ),
            Ok(answer) if answer.status().is_success() => findings.ok(name, format!("knows this log, {took} ms")),
            Ok(answer) => findings.warn(
                name,
                format!("answers {} in {took} ms", answer.status()),
                format!("if this log is new to it, send its operator the vkey and the origin {}", config.origin),
            ),
        }
    }
}
