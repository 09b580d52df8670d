//! `solelog-loadtest`: how fast is a log that verifies everything?

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use loadtest::Error;
use loadtest::answers::{About, Judge};
use loadtest::crowd::Target;
use loadtest::limits::{Limits, Scale, machine};
use loadtest::local::{AS_SOLELOG, Log, Program, Served};
use loadtest::maker::Provider;
use loadtest::outcome::Outcome;
use loadtest::report::{self, Objective};
use loadtest::scenario::Scenario;
use loadtest::slo::Slo;
use loadtest::transport::{Connection, Place};
use serde_json::{Value as Json, json};
use solelog::cli::{self, Cli};

/// Load for a solelog, and how near it is to what the machine allows.
#[derive(Parser)]
#[command(name = "solelog-loadtest", version, arg_required_else_help = true)]
struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Send real records to a log as a scenario says, and verify every answer.
    ///
    /// Without --url a log of one's own is made, served as a process, and thrown away. With it, the provider's issuing key
    /// must be one of the log's: `solelog keygen issuing`, then `solelog init --issuing-key`. Exit code 1 says that an
    /// objective was missed, 2 that the run could not go on: an answer did not hold, or there is no log.
    Run(Run),
    /// Measure, as ratios in one run, how near the product is to what this machine allows: at most fifteen minutes.
    ///
    /// One JSON object on standard output, progress on standard error. nginx is used if it is installed.
    Limits(LimitsOf),
}

#[derive(Args)]
struct Run {
    /// The scenario: loadtest/scenarios/smoke.toml, for one.
    scenario: PathBuf,
    /// Where the log is.
    #[arg(long, requires_all = ["token", "issuing_key"])]
    url: Option<String>,
    /// A token with the scope `append`.
    #[arg(long, env = "SOLELOG_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// The provider's issuing key (PKCS#8, PEM): it signs the credentials of people who do not exist.
    #[arg(long, value_name = "FILE")]
    issuing_key: Option<PathBuf>,
    /// What heads are trusted by (a c2sp.org/tlog-policy file), instead of what the log says of itself.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// An objective for every phase, beside those of the scenario: 'p99(witnessed)<2s'. May be given several times.
    #[arg(long, value_name = "OBJECTIVE")]
    slo: Vec<Slo>,
    /// Write a report with plots there.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct LimitsOf {
    /// Small, in at most a minute: to see that everything can be measured, not to quote.
    #[arg(long)]
    quick: bool,
    /// Only engines and appends; what else there is stays null.
    #[arg(long)]
    appends: bool,
    /// Print JSON; there is no other form.
    #[arg(long)]
    json: bool,
    /// Keep the logs that are measured below this folder: put it on the disk that is to be measured.
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Measure the `solelog` in this file instead of the one that is built into this program.
    #[arg(long, value_name = "FILE")]
    solelog: Option<PathBuf>,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    if arguments.nth(1).is_some_and(|first| first == AS_SOLELOG) {
        return cli::run(Cli::parse_from(std::iter::once("solelog".into()).chain(arguments)));
    }
    let command = Command::parse();
    match cli::runtime() {
        Ok(runtime) => runtime.block_on(command.run()),
        Err(failure) => failure.report(false),
    }
}

impl Command {
    async fn run(self) -> ExitCode {
        let done = match self.what {
            What::Run(run) => run.run().await,
            What::Limits(limits) => limits.run().await,
        };
        done.unwrap_or_else(|error| {
            eprintln!("solelog-loadtest: {error}");
            ExitCode::from(2)
        })
    }
}

impl LimitsOf {
    async fn run(self) -> Result<ExitCode, Error> {
        let program = self.solelog.map_or_else(Program::this, |path| Ok(Program::solelog(path)))?;
        let scale = if self.quick { Scale::quick() } else { Scale::whole() };
        println!("{}", Limits { program, folder: self.folder, scale, appends_only: self.appends }.measure().await?);
        Ok(ExitCode::SUCCESS)
    }
}

/// What a run sends to, and whatever must stay while it does.
struct Where {
    target: Target,
    provider: Provider,
    software: String,
    _own: Option<(Served, Log, tempfile::TempDir)>,
}

impl Run {
    async fn run(self) -> Result<ExitCode, Error> {
        let mut scenario = Scenario::read(&self.scenario)?;
        scenario.slo.extend(self.slo.iter().cloned());
        let there = match &self.url {
            Some(url) => self.given(url).await?,
            None => own(scenario.witnesses).await?,
        };
        let watched = std::io::stderr().is_terminal();
        if watched {
            eprintln!("{}: enrolling {} people", scenario.name, scenario.subscribers);
        }
        let outcomes = loadtest::run::run(&scenario, &there.target, &there.provider, |outcome| {
            if watched {
                line(outcome);
            }
        })
        .await?;
        let objectives = objectives(&scenario, &outcomes);
        let mut machine = machine(&std::env::temp_dir());
        machine["software"] = json!(there.software);
        if let Some(path) = &self.html {
            let page = report::page(&scenario.name, &scenario.about, &machine, &outcomes, &objectives);
            std::fs::write(path, page).map_err(|e| Error::System(format!("{}: {e}", path.display())))?;
        }
        self.say(&scenario, machine, &outcomes, &objectives);
        let met = objectives.iter().all(|objective| objective.met);
        Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    async fn given(&self, url: &str) -> Result<Where, Error> {
        let read = |path: &PathBuf| {
            std::fs::read_to_string(path).map_err(|e| Error::System(format!("{}: {e}", path.display())))
        };
        let place = Place::parse(url)?;
        let about = About::ask(&mut Connection::new(&place)).await?;
        let trust = self.policy.as_ref().map(read).transpose()?;
        let judge = Arc::new(Judge::new(&about, trust.as_deref())?);
        let pem = self.issuing_key.as_ref().map(read).transpose()?.unwrap_or_default();
        let provider = Provider::from_pem(&pem, &about.origin, &about.policy()?)?;
        let target = Target { place, token: self.token.clone().unwrap_or_default().into(), judge };
        Ok(Where { target, provider, software: about.software, _own: None })
    }

    fn say(&self, scenario: &Scenario, machine: Json, outcomes: &[Outcome], objectives: &[Objective]) {
        if self.json {
            let phases: Vec<Json> = outcomes.iter().map(Outcome::to_json).collect();
            let of = |o: &Objective| json!({ "slo": o.text, "phase": o.phase, "met": o.met, "found": o.found });
            let objectives: Vec<Json> = objectives.iter().map(of).collect();
            let object =
                json!({ "scenario": scenario.name, "machine": machine, "phases": phases, "objectives": objectives });
            println!("{object}");
            return;
        }
        outcomes.iter().for_each(|outcome| print!("{outcome}"));
        for Objective { text, phase, met, found } in objectives {
            let found = found.map_or("nothing of the kind was sent".to_owned(), |found| format!("{found:.4}"));
            println!("{} {text} in {phase}: {found}", if *met { "met    " } else { "MISSED " });
        }
    }
}

/// A log of one's own.
async fn own(witnesses: usize) -> Result<Where, Error> {
    let folder = tempfile::tempdir().map_err(|e| Error::System(format!("a temporary folder: {e}")))?;
    let mut log = Log::make(&Program::this()?, folder.path(), witnesses).await?;
    // One token stands for all of a provider's back ends here.
    log.set("limits.token_in_flight=4096");
    let served = log.serve()?;
    let (target, about) = served.target(&log).await?;
    let provider = log.provider(&about)?;
    Ok(Where { target, provider, software: about.software, _own: Some((served, log, folder)) })
}

/// One line that is written over.
fn line(outcome: &Outcome) {
    eprint!(
        "\r\x1b[K{}: {} requests, {} records, {} errors",
        outcome.name, outcome.requests, outcome.records, outcome.errors
    );
}

fn objectives(scenario: &Scenario, outcomes: &[Outcome]) -> Vec<Objective> {
    let of = |outcome: &Outcome, slo: &Slo| {
        let (met, found) = slo.met(outcome);
        Objective { text: slo.text().to_owned(), phase: outcome.name.clone(), met, found }
    };
    outcomes.iter().flat_map(|outcome| scenario.slo.iter().map(move |slo| of(outcome, slo))).collect()
}
