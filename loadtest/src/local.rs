//! A log of one's own: a real `solelog serve` as a child process, in a folder that is thrown away, with witnesses if wanted.
//!
//! The child is this very program, started again under the name `solelog` ([`AS_SOLELOG`]): the same code as the command
//! `solelog`, built with the same profile, so that nothing else than the log can differ from what is compared with it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;
use tlog::key::KeyName;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use witness::{TrustedLog, Witness};

use crate::Error;
use crate::answers::{About, Judge};
use crate::crowd::Target;
use crate::maker::Provider;
use crate::transport::{Connection, Place};

/// The first argument by which this program is the command `solelog`.
pub const AS_SOLELOG: &str = "as-solelog";

/// The name of the log that is thrown away.
const ORIGIN: &str = "loadtest.example/log";

/// The program that serves.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    first: Option<&'static str>,
}

impl Program {
    /// This program, started again.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn this() -> Result<Program, Error> {
        let path = std::env::current_exe().map_err(|e| Error::System(format!("where is this program? {e}")))?;
        Ok(Program { path, first: Some(AS_SOLELOG) })
    }

    /// The program `solelog-loadtest` in that file.
    #[must_use]
    pub fn loadtest(path: PathBuf) -> Program {
        Program { path, first: Some(AS_SOLELOG) }
    }

    /// The program `solelog` in that file.
    #[must_use]
    pub fn solelog(path: PathBuf) -> Program {
        Program { path, first: None }
    }

    /// The command with those arguments.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.path);
        command.args(self.first).args(arguments);
        command
    }

    /// Runs a command to its end, and gives what it said with `--json`.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn run(&self, arguments: &[&str]) -> Result<Json, Error> {
        let failed = |e: &dyn std::fmt::Display| Error::System(format!("solelog {}: {e}", arguments.join(" ")));
        let output = self.command(arguments).stdin(Stdio::null()).output().map_err(|e| failed(&e))?;
        if !output.status.success() {
            return Err(failed(&String::from_utf8_lossy(&output.stderr)));
        }
        Ok(serde_json::from_slice(&output.stdout).unwrap_or(Json::Null))
    }
}

/// A log in a folder.
pub struct Log {
    /// What serves it.
    pub program: Program,
    /// Its folder: `log` inside holds the data.
    pub data: PathBuf,
    /// The token with which everything is sent.
    pub token: Arc<str>,
    config: PathBuf,
    settings: Vec<String>,
    witnesses: Vec<JoinHandle<()>>,
}

impl Log {
    /// Makes a log in an empty folder, and starts so many witnesses for it, all of which must cosign.
    ///
    /// # Errors
    /// [`Error::System`].
    pub async fn make(program: &Program, folder: &Path, witnesses: usize) -> Result<Log, Error> {
        let data = folder.join("log");
        let (data_text, high_water) = (text(&data)?, folder.join("high-water"));
        let mut judges = Vec::new();
        let mut policy = String::new();
        for number in 1..=witnesses {
            let (judge, line) = set_up(folder, number).await?;
            judges.push(judge);
            policy.push_str(&line);
        }
        let names: Vec<String> = (1..=witnesses).map(|number| format!("w{number}")).collect();
        policy.push_str(&format!("group all-of-them all {}\nquorum all-of-them\n", names.join(" ")));
        let policy_file = folder.join("witnesses.txt");
        let high_water = text(&high_water)?;
        let mut init = vec!["--json", "init", "--origin", ORIGIN, "--data", data_text];
        if witnesses == 0 {
            init.extend(["--no-witnesses", "--high-water", high_water]);
        } else {
            std::fs::write(&policy_file, &policy).map_err(|e| Error::System(e.to_string()))?;
            init.extend(["--witness-policy", text(&policy_file)?]);
        }
        let made = program.run(&init)?;
        let vkey = made["vkey"].as_str().ok_or_else(|| Error::System("init gave no vkey".to_owned()))?;
        let config = data.join("log.toml");
        let token = ["--json", "token", "new", "--config", text(&config)?, "--name", "load", "--scope", "append"];
        let token = program.run(&token)?["token"].as_str().unwrap_or_default().into();
        let witnesses = judges.into_iter().map(|judge| judge.start(vkey)).collect::<Result<_, _>>()?;
        Ok(Log { program: program.clone(), data, token, config, settings: Vec::new(), witnesses })
    }

    /// Sets a field of the configuration, from the next start on: `section.field=value`.
    pub fn set(&mut self, setting: &str) {
        self.settings.push(setting.to_owned());
    }

    /// The configuration, as an argument.
    ///
    /// # Errors
    /// [`Error::System`] for a folder whose name is no text.
    pub fn config(&self) -> Result<&str, Error> {
        text(&self.config)
    }

    /// Starts it, and waits until it serves.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn serve(&self) -> Result<Served, Error> {
        let failed = |e: &dyn std::fmt::Display| Error::System(format!("solelog serve: {e}"));
        let mut command = self.program.command(&["serve", "--json", "--listen", "127.0.0.1:0", "--config"]);
        command.arg(&self.config).env("SOLELOG_LOGGING_FILTER", "error");
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        let began = Instant::now();
        let mut process = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().map_err(|e| failed(&e))?;
        let mut line = String::new();
        let out = process.stdout.take().ok_or_else(|| failed(&"no output"))?;
        BufReader::new(out).read_line(&mut line).map_err(|e| failed(&e))?;
        let opened = began.elapsed();
        let said: Json = serde_json::from_str(&line).map_err(|_| failed(&"it ended before it served"))?;
        let url = said["url"].as_str().ok_or_else(|| failed(&"it served nowhere"))?.to_owned();
        Ok(Served { process, url, opened })
    }

    /// The log's provider, whose issuing key `init` has made.
    ///
    /// # Errors
    /// [`Error`].
    pub fn provider(&self, about: &About) -> Result<Provider, Error> {
        let path = self.data.join("keys/issuing.key");
        let pem = std::fs::read_to_string(&path).map_err(|e| Error::System(format!("{}: {e}", path.display())))?;
        Provider::from_pem(&pem, &about.origin, &about.policy()?)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.witnesses.iter().for_each(JoinHandle::abort);
    }
}

/// A log that is being served. Dropping it kills it.
pub struct Served {
    process: Child,
    /// Where.
    pub url: String,
    /// How long it took from the start of the process to its first line: it serves then.
    pub opened: Duration,
}

/// What a process has used of the processors, and holds of the memory.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Seconds of CPU time, user and system, of all its threads, those that have ended too.
    pub cpu_s: f64,
    /// Resident memory, bytes.
    pub rss: u64,
    /// The most it ever was, bytes.
    pub rss_peak: u64,
}

impl Usage {
    /// Of a process.
    ///
    /// # Errors
    /// [`Error::System`] if it is gone.
    pub fn of(process: u32) -> Result<Usage, Error> {
        let read = |name: &str| {
            let path = format!("/proc/{process}/{name}");
            std::fs::read_to_string(&path).map_err(|e| Error::System(format!("{path}: {e}")))
        };
        let stat = read("stat")?;
        // The name of the program, which may hold anything, ends with the last bracket.
        let fields: Vec<u64> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .map(|field| field.parse().unwrap_or(0))
            .collect();
        let ticks = fields.get(11).zip(fields.get(12)).map_or(0, |(user, system)| user + system);
        let status = read("status")?;
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0)
        };
        Ok(Usage {
            cpu_s: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
            rss: kib("VmRSS:") << 10,
            rss_peak: kib("VmHWM:") << 10,
        })
    }
}

impl Served {
    /// What it has used.
    ///
    /// # Errors
    /// [`Error::System`] if it is gone.
    pub fn usage(&self) -> Result<Usage, Error> {
        Usage::of(self.process.id())
    }

    /// Where to send, with what, and who judges the answers.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn target(&self, log: &Log) -> Result<(Target, About), Error> {
        let place = Place::parse(&self.url)?;
        let about = About::ask(&mut Connection::new(&place)).await?;
        let judge = Arc::new(Judge::new(&about, None)?);
        Ok((Target { place, token: Arc::clone(&log.token), judge }, about))
    }

    /// Stops it in order.
    ///
    /// # Errors
    /// [`Error::System`] if it did not end well.
    pub fn stop(mut self) -> Result<(), Error> {
        let failed = |e: &dyn std::fmt::Display| Error::System(format!("solelog serve, stopping: {e}"));
        let pid =
            i32::try_from(self.process.id()).ok().and_then(Pid::from_raw).ok_or_else(|| failed(&"no such pid"))?;
        kill_process(pid, Signal::TERM).map_err(|e| failed(&e))?;
        let status = self.process.wait().map_err(|e| failed(&e))?;
        if status.success() { Ok(()) } else { Err(failed(&status)) }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // After `stop` it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A witness that does not know the log yet.
struct Judging {
    dir: PathBuf,
    listener: TcpListener,
}

/// Makes a witness; gives its line of the policy, too.
async fn set_up(folder: &Path, number: usize) -> Result<(Judging, String), Error> {
    let failed = |e: &dyn std::fmt::Display| Error::System(format!("witness {number}: {e}"));
    let dir = folder.join(format!("witness-{number}"));
    let name = KeyName::new(&format!("witness-{number}.example")).map_err(|e| failed(&e))?;
    witness::set_up(&dir, Some(&name), None, &[]).map_err(|e| failed(&e))?;
    let vkey = Witness::open(&dir).map_err(|e| failed(&e))?.vkey().to_string();
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|e| failed(&e))?;
    let address = listener.local_addr().map_err(|e| failed(&e))?;
    Ok((Judging { dir, listener }, format!("witness w{number} {vkey} http://{address}\n")))
}

impl Judging {
    fn start(self, vkey: &str) -> Result<JoinHandle<()>, Error> {
        let failed = |e: &dyn std::fmt::Display| Error::System(format!("a witness: {e}"));
        let log = TrustedLog::from_vkey(vkey).map_err(|e| failed(&e))?;
        witness::set_up(&self.dir, None, None, &[log]).map_err(|e| failed(&e))?;
        let witness = Arc::new(Witness::open(&self.dir).map_err(|e| failed(&e))?);
        Ok(tokio::spawn(async move {
            // The log says what it misses when a witness is gone.
            let _ = witness::serve(witness, self.listener, std::future::pending()).await;
        }))
    }
}

/// A path as an argument.
fn text(path: &Path) -> Result<&str, Error> {
    path.to_str().ok_or_else(|| Error::System(format!("{} is no text", path.display())))
}
