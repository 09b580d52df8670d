//! `solelog-loadtest`: how fast is a log that verifies everything?

use clap::Parser;
use loadtest::{
    Error,
    local::AS_SOLELOG,
    plan::{Log, Person},
    report::Report,
    worker::Connection,
};
use solelog::cli::{self, Cli, cast::Provider};
use std::{path::PathBuf, process::ExitCode, time::Instant};

/// Send real records to a log from many connections, and verify every answer.
///
/// The provider's issuing key must be one of the log's: `solelog keygen issuing`, then `solelog init --issuing-key`.
#[derive(Parser)]
#[command(name = "solelog-loadtest", version)]
struct Args {
    /// Where the log is.
    #[arg(long, default_value = "http://127.0.0.1:7380")]
    url: String,
    /// A token with the scope `append`.
    #[arg(long, env = "SOLELOG_TOKEN", hide_env_values = true)]
    token: String,
    /// The provider's issuing key (PKCS#8, PEM): it signs the subscribers' credentials.
    #[arg(long, value_name = "FILE")]
    issuing_key: PathBuf,
    /// How many subscribers, each on a connection of their own.
    #[arg(long, default_value_t = 16)]
    subscribers: usize,
    /// How many records each of them sends.
    #[arg(long, default_value_t = 50)]
    records: usize,
    /// What to wait for: sequenced, integrated or witnessed.
    #[arg(long, default_value = "integrated")]
    until: String,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    if arguments.nth(1).is_some_and(|first| first == AS_SOLELOG) {
        return cli::run(Cli::parse_from(std::iter::once("solelog".into()).chain(arguments)));
    }
    match cli::runtime() {
        Ok(runtime) => runtime.block_on(load()),
        Err(failure) => failure.report(false),
    }
}

async fn load() -> ExitCode {
    let args = Args::parse();
    match run(&args).await {
        Ok(report) => {
            if args.json {
                println!("{}", serde_json::json!(report));
            } else {
                println!("{report}");
            }
            if report.distinct { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("solelog-loadtest: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<Report, Error> {
    let url = args.url.trim_end_matches('/').to_owned();
    let http = reqwest::Client::new();
    let log = Log::ask(&http, &url).await?;
    let pem = std::fs::read_to_string(&args.issuing_key)
        .map_err(|e| Error::Make(format!("cannot read {}: {e}", args.issuing_key.display())))?;
    let provider = Provider::from_pem(&pem, &log.origin, &log.policy()?).map_err(|e| Error::Make(e.to_string()))?;
    let connection = Connection { http, url, token: args.token.clone(), key: log.key()?, until: args.until.clone() };

    let total = (args.subscribers * args.records) as u64;
    let bar = |what: &str, length: u64| {
        let style = indicatif::ProgressStyle::with_template("{msg:<9} [{wide_bar}] {pos}/{len}").ok();
        let bar = if args.json { indicatif::ProgressBar::hidden() } else { indicatif::ProgressBar::new(length) };
        if let Some(style) = style {
            bar.set_style(style);
        }
        bar.with_message(what.to_owned())
    };

    let enrolling = bar("enrolling", args.subscribers as u64);
    let mut people = Vec::with_capacity(args.subscribers);
    for _ in 0..args.subscribers {
        people.push(Person::enrol(&provider, &connection, &log).await?);
        enrolling.inc(1);
    }
    enrolling.finish();

    let making = bar("making", total);
    let seen = Log::ask(&connection.http, &connection.url).await?.integrated.tree_head()?;
    let mut lanes = Vec::with_capacity(people.len());
    for mut person in people {
        lanes.push(person.lane(args.records, &seen)?);
        making.inc(args.records as u64);
    }
    making.finish();

    let sending = bar("sending", total);
    let began = Instant::now();
    let tasks: Vec<_> = lanes
        .into_iter()
        .map(|lane| {
            let (connection, sending) = (connection.clone(), sending.clone());
            tokio::spawn(async move { connection.run(lane, &sending).await })
        })
        .collect();
    let mut samples = Vec::new();
    for task in tasks {
        samples.extend(task.await.map_err(|e| Error::Wrong(e.to_string()))??);
    }
    let took = began.elapsed();
    sending.finish();
    Ok(Report::new(samples, took))
}
