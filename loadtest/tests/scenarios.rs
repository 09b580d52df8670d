//! Scenarios against a real log: every kind of request, every answer verified; and exit codes that say what was missed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use loadtest::Error;
use loadtest::local::{Log, Program};
use loadtest::outcome::Kind;
use loadtest::scenario::Scenario;
use serde_json::Value as Json;

const SMALL: &str = r#"
name = "small"
subscribers = 100
connections = 4
witnesses = 1

[[phase]]
name = "open"
seconds = 2
rate = 30
levels = ["sequenced", "integrated", "witnessed"]
batch = 4
mix = { single = 6, batch = 2, receipt = 3, proof = 3, tile = 3 }

[[phase]]
name = "closed"
seconds = 0.5
mix = { single = 1 }
"#;

fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_solelog-loadtest"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_request_is_sent_and_verified() {
    let scenario = Scenario::parse(SMALL).expect("a scenario");
    let folder = tempfile::tempdir().expect("folder");
    let log = Log::make(&Program::loadtest(binary()), folder.path(), scenario.witnesses).await.expect("a log");
    let served = log.serve().expect("served");
    let (target, about) = served.target(&log).await.expect("a target");
    let provider = log.provider(&about).expect("a provider");
    let outcomes = loadtest::run::run(&scenario, &target, &provider, |_| {}).await.expect("a run");
    let [open, closed] = &outcomes[..] else { panic!("two phases") };
    assert_eq!(open.requests + open.errors, 60);
    assert_eq!(open.errors, 0, "{:?}", open.refused);
    for kind in Kind::ALL {
        assert!(open.latencies.get(&kind).is_some_and(|latencies| latencies.count() > 0), "{}", kind.name());
    }
    assert!(open.records > open.latencies.values().map(|latencies| latencies.count()).sum::<u64>() / 2);
    assert!(closed.requests > 0 && closed.records == closed.requests);
    for outcome in &outcomes {
        assert_eq!(outcome.verified, outcome.requests);
        assert_eq!(outcome.stretches.iter().map(|stretch| stretch.requests).sum::<u64>(), outcome.requests);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_nobody_authorised_end_the_run() {
    let scenario = Scenario::parse(SMALL).expect("a scenario");
    let folder = tempfile::tempdir().expect("folder");
    let log = Log::make(&Program::loadtest(binary()), folder.path(), 0).await.expect("a log");
    let served = log.serve().expect("served");
    let (target, about) = served.target(&log).await.expect("a target");
    let pair = loadtest::pairs::Pairs::from_seed(&[6; 32]).take();
    let stranger = p256::ecdsa::SigningKey::from_slice(&pair.secret.to_bytes()).expect("a key");
    let stranger = loadtest::maker::Provider::new(stranger, &about.origin, &about.policy().expect("a policy"));
    let refused = loadtest::run::run(&scenario, &target, &stranger, |_| {}).await.expect_err("a stranger's people");
    assert!(matches!(refused, Error::Refused { status: 400..=499, .. }), "{refused}");
}

fn run(scenario: &str, folder: &Path, more: &[&str]) -> Output {
    let file = folder.join("scenario.toml");
    std::fs::write(&file, scenario).expect("written");
    Command::new(binary()).arg("run").arg(&file).args(more).output().expect("it runs")
}

#[test]
fn objectives_decide_the_exit_code() {
    let folder = tempfile::tempdir().expect("folder");
    let scenario = "name = 's'\nsubscribers = 2\nconnections = 2\n[[phase]]\nname = 'p'\nseconds = 0.2\nrate = 20\nmix = { single = 1 }\n";
    let html = folder.path().join("report.html");
    let html = html.to_str().expect("text");
    let met = run(
        scenario,
        folder.path(),
        &["--json", "--html", html, "--slo", "errors<=0", "--slo", "max(integrated)<9min"],
    );
    assert_eq!(met.status.code(), Some(0), "{}", String::from_utf8_lossy(&met.stderr));
    let object: Json = serde_json::from_slice(&met.stdout).expect("one JSON object");
    assert_eq!(object["phases"][0]["verified_share"], 1.0);
    assert_eq!(object["phases"][0]["records"], 4);
    assert!(object["objectives"].as_array().is_some_and(|all| all.len() == 2 && all.iter().all(|o| o["met"] == true)));
    assert!(std::fs::read_to_string(html).expect("a report").contains("<svg"));
    let missed = run(scenario, folder.path(), &["--slo", "p50(integrated)<1us"]);
    assert_eq!(missed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missed.stdout).contains("MISSED"));
    let none = run("name = 's'", folder.path(), &[]);
    assert_eq!(none.status.code(), Some(2));
}
