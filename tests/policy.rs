//! A policy in front of people: what it denies gets no challenge, and never enters the log.

mod process;

use std::path::Path;
use std::process::{Command, Stdio};

use client::watch::{Own, What};
use client::{Error, Profile, Value, instruction};
use process::people::{Site, pin};
use process::{Served, json, solelog};
use serde_json::Value as Json;
use solelog::cli::cast::{Provider, activation, document};
use solelog::engine::wall_clock_ms;
use threshold::Profile1;
use tlog::{Hash, TreeHead, TreeSize};

const ORIGIN: &str = "policy.example/log";

/// Payments of more than 100 need a passkey; gifts are denied; all else is the two factors' alone.
const POLICY: &str = r#"{"version":1,"rules":[
    {"when":{"class":"payment","amount_over":10000},"need":{"kind":"webauthn","uv":true}},
    {"when":{"class":"gift"},"deny":"no gifts"}
]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn r0_03_deny_gives_no_challenge() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("policy.json");
    std::fs::write(&file, POLICY).expect("written");
    let site = Site::init_with(folder.path(), ORIGIN, &["--policy", file.to_str().expect("text")]);
    let served = Served::start(Path::new(&site.config), Stdio::null(), "off");
    let mut anna = site.device(&served, &folder.path().join("anna"));
    anna.enrol(&site.invite(&served, None).await, Profile::EcSdsa, &pin()).await.expect("enrolled");
    let pay = |cents| {
        let fields = [("amount", Value::Uint(cents)), ("currency", Value::Text("EUR".into()))];
        instruction("payment", &fields).expect("document")
    };
    anna.authorise(&pay(10_000), &pin()).await.expect("the two factors are enough");
    let gift = instruction("gift", &[("to", Value::Text("Bram".into()))]).expect("document");
    for (document, code) in [(pay(10_001), "no-authenticator"), (gift, "denied")] {
        let refused = anna.authorise(&document, &pin()).await;
        let Err(Error::Refused(problem)) = &refused else { panic!("{refused:?}") };
        assert_eq!(problem.kind.slug(), "blocked");
        assert!(problem.detail.as_deref().is_some_and(|detail| detail.contains(code)), "{problem:?}");
    }
    // What is not shown can't be judged, so it denies.
    let hidden = anna.authorise_showing(&pay(1), &pin(), |name| name != "amount").await;
    let Err(Error::Refused(problem)) = &hidden else { panic!("{hidden:?}") };
    assert!(problem.detail.as_deref().is_some_and(|detail| detail.contains("missing-field")), "{problem:?}");
    // It was logged, once for all that was asked in a row, and the person can read it.
    assert_eq!(anna.watch().await.expect("watched").findings, []);
    anna.authorise(&pay(2), &pin()).await.expect("and nobody is locked out");
    let watch = anna.watch().await.expect("watched");
    let blocked = |own: &Own| match &own.what {
        What::Outcome { name, reason, .. } if name == "blocked" => reason.clone(),
        _ => None,
    };
    assert_eq!(watch.entries.iter().find_map(blocked).as_deref(), Some("no-authenticator"));
    let begun = |own: &&Own| matches!(&own.what, What::Event { name, .. } if name == "attempt.started");
    assert_eq!(
        watch.entries.iter().filter(begun).count(),
        3,
        "one for each that was authorised, and none for the others"
    );
}

#[test]
fn a_policy_is_read_before_it_can_lock_a_log_for_ever() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("policy.json");
    let path = file.to_str().expect("text");
    std::fs::write(&file, POLICY).expect("written");
    assert_eq!(json(&solelog(&["policy", "lint", path, "--json"]))["rules"], 2);
    let explain = |class: &str, field: &str| {
        json(&solelog(&["policy", "explain", path, "--json", "--class", class, "--field", field]))
    };
    let asked = explain("payment", "amount=10001");
    assert_eq!((&asked["rule"], &asked["written"]["need"]["kind"]), (&0.into(), &"webauthn".into()));
    assert_eq!(explain("payment", "amount=5")["rule"], serde_json::Value::Null);
    assert_eq!(explain("gift", "to=Bram")["rule"], 1);

    let linted = json(&solelog(&["policy", "lint", path, "--json"]));
    assert!(linted["warnings"][0].as_str().is_some_and(|note| note.contains("for ever")), "{linted}");
    let open = folder.path().join("open.json");
    std::fs::write(&open, POLICY.replace("[\n", "[{\"when\":{\"class\":\"policy.change\"}},\n")).expect("written");
    assert_eq!(
        json(&solelog(&["policy", "lint", open.to_str().expect("text"), "--json"]))["warnings"],
        serde_json::json!([])
    );

    let cases = folder.path().join("cases.json");
    let good = serde_json::json!([
        {"class": "payment", "fields": {"amount": 10_001}, "expect": "evidence", "rule": 0},
        {"class": "payment", "fields": {"amount": 5}, "expect": "two-factors"},
        {"class": "payment", "expect": "missing-field"},
        {"class": "gift", "expect": "denied", "rule": 1},
        {"class": "policy.change", "expect": "no-rule"},
    ]);
    std::fs::write(&cases, good.to_string()).expect("written");
    let test = ["policy", "test", path, cases.to_str().expect("text")];
    assert_eq!(json(&solelog(&[&test[..], &["--json"]].concat()))["cases"], 5);
    std::fs::write(&cases, good.to_string().replace("two-factors", "denied")).expect("written");
    let run = Command::new(env!("CARGO_BIN_EXE_solelog")).args(test).output().expect("it runs");
    assert_eq!(run.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&run.stderr).contains("case 1 (payment)"), "{run:?}");

    std::fs::write(&file, POLICY.replace("deny", "denies")).expect("written");
    let refused = |arguments: &[&str]| {
        let run = Command::new(env!("CARGO_BIN_EXE_solelog")).args(arguments).output().expect("it runs");
        assert_eq!(run.status.code(), Some(3));
        String::from_utf8(run.stderr).expect("text")
    };
    assert!(refused(&["policy", "lint", path]).contains("denies"));
    let data = folder.path().join("data");
    let init = ["init", "--origin", ORIGIN, "--data", data.to_str().expect("text"), "--no-witnesses"];
    let high_water = folder.path().join("high-water");
    let more = ["--high-water", high_water.to_str().expect("text"), "--policy", path];
    assert!(refused(&[&init[..], &more].concat()).contains("denies"));
    assert!(!data.exists(), "nothing was made");
}

/// A provider that asks nobody before it answers its people gains nothing: the log itself judges what it is sent.
#[tokio::test(flavor = "multi_thread")]
async fn r0_07_whatever_an_engine_answered_the_log_judges_again() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("policy.json");
    std::fs::write(&file, POLICY).expect("written");
    let site = Site::init_with(folder.path(), ORIGIN, &["--policy", file.to_str().expect("text")]);
    let token = ["token", "new", "--name", "t", "--scope", "append,read", "--json", "--config", &site.config];
    let token = json(&solelog(&token))["token"].as_str().expect("token").to_owned();
    let served = Served::start(Path::new(&site.config), Stdio::null(), "off");
    let client = reqwest::Client::new();
    let post = async |path: &str, kind: &str, body: Vec<u8>| {
        let request = client.post(format!("{}{path}", served.url)).bearer_auth(&token).header("content-type", kind);
        let answer = request.body(body).send().await.expect("answer");
        (answer.status().as_u16(), answer.json::<Json>().await.expect("JSON"))
    };
    let pem = std::fs::read_to_string(folder.path().join("data/keys/issuing.key")).expect("issuing key");
    let provider = Provider::from_pem(&pem, ORIGIN, POLICY.as_bytes()).expect("provider");
    let mut anna = provider.enrol::<Profile1>("1234", wall_clock_ms()).expect("enrolled");
    assert_eq!(post("/v1/credentials", "application/cose", anna.credential().to_vec()).await.0, 201);

    let mut record = async |class: &str, fields: &[(&str, Value)]| {
        let log = client.get(format!("{}/v1/log", served.url)).send().await.expect("answer");
        let log = log.json::<Json>().await.expect("JSON");
        let size = TreeSize::new(log["integrated"]["size"].as_u64().expect("size")).expect("size");
        let root = log["integrated"]["root"].as_str().and_then(Hash::from_base64).expect("root");
        let document = if class == "credential.activate" { activation() } else { document(class, fields) };
        let metadata = anna.metadata(class, &TreeHead { size, root }, wall_clock_ms());
        let opening = anna.authorise(metadata, &document.expect("document")).expect("authorised");
        let answer = post("/v1/records", "application/cbor", opening.clone()).await;
        if answer.0 == 201 {
            anna.logged(&opening).expect("ours");
        }
        answer
    };
    assert_eq!(record("credential.activate", &[]).await.0, 201);
    let euros = ("currency", Value::Text("EUR".into()));
    let (status, problem) = record("payment", &[("amount", Value::Uint(10_001)), euros.clone()]).await;
    assert_eq!((status, &problem["check"]), (422, &"evidence".into()), "{problem}");
    let (status, problem) = record("gift", &[("to", Value::Text("Bram".into()))]).await;
    assert_eq!((status, &problem["check"]), (422, &"evidence".into()), "{problem}");
    // Neither the amount nor anything else is shown here, and what a rule can't read it does not let through.
    let (status, problem) = record("payment", &[("amount", Value::Uint(1)), euros]).await;
    assert_eq!((status, &problem["check"]), (422, &"evidence".into()), "{problem}");
    assert_eq!(record("greeting", &[("to", Value::Text("Bram".into()))]).await.0, 201);
}
