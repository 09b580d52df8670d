//! What must not be written anywhere while people enrol and authorise: a real server runs as a process with all its log
//! lines on, everything that devices send it is recorded on the way, and then all that it wrote and answered is searched for
//! the secret parts of it (I-8).

mod process;

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use base64ct::{Base64, Encoding as _};
use client::device::{Seal, SoftDevice};
use client::provider::Token;
use client::{Error, Folder, Patience, Pin, Profile, Provider, Subscriber, Trust, Value, instruction};
use process::{Served, json, solelog};
use serde_json::Value as Json;
use tlog::policy::Policy;
use tokio::net::TcpListener;

const ORIGIN: &str = "secrets.example/authority";
const PIN: &str = "73915528";
const WRONG: &str = "82255193";
const NEW: &str = "46108837";
const TEXT: &str = "Sell the house in Elm Street";

/// What passed between devices and server: bodies of requests and of answers.
#[derive(Default)]
struct Recorded {
    sent: Vec<Json>,
    answered: Vec<(String, Vec<u8>)>,
}

/// Passes everything on to the server, and keeps a copy.
async fn record(target: String) -> (String, Arc<Mutex<Recorded>>) {
    let recorded = Arc::new(Mutex::new(Recorded::default()));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
    let url = format!("http://{}", listener.local_addr().expect("address"));
    let copy = Arc::clone(&recorded);
    let pass_on = move |request: axum::extract::Request| {
        let (target, copy) = (target.clone(), Arc::clone(&copy));
        async move {
            let (head, body) = request.into_parts();
            let body = axum::body::to_bytes(body, 1 << 20).await.expect("body");
            let path = head.uri.path_and_query().expect("path").as_str().to_owned();
            let mut forward = reqwest::Client::new().request(head.method, format!("{target}{path}"));
            for name in ["authorization", "content-type", "accept"] {
                if let Some(value) = head.headers.get(name) {
                    forward = forward.header(name, value);
                }
            }
            let sent = serde_json::from_slice(&body).ok();
            let answer = forward.body(body).send().await.expect("answer");
            let status = answer.status();
            let kind = answer.headers().get("content-type").cloned();
            let body = answer.bytes().await.expect("body");
            let mut copy = copy.lock().expect("no panic");
            copy.sent.extend(sent);
            copy.answered.push((format!("the answer {status} of {path}"), body.to_vec()));
            let mut response = axum::http::Response::new(axum::body::Body::from(body));
            *response.status_mut() = status;
            if let Some(kind) = kind {
                response.headers_mut().insert("content-type", kind);
            }
            response
        }
    };
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(pass_on)).await });
    (url, recorded)
}

/// Every file under a folder, with its bytes.
fn files(folder: &Path, into: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).expect("folder").map(|entry| entry.expect("entry")) {
        let path = entry.path();
        if path.is_dir() {
            files(&path, into);
        } else {
            let mut bytes = std::fs::read(&path).expect("file");
            // Segments of the journal end in zeros, millions of them.
            let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            bytes.truncate(end);
            into.push((path.display().to_string(), bytes));
        }
    }
}

/// What of a request nobody may find again, by the names of its members.
fn secrets(sent: &Json, into: &mut Vec<(String, Vec<u8>)>) {
    for name in ["ticket", "blinded", "sealed", "label_secret", "metadata", "pass", "instruction"] {
        if let Some(text) = sent[name].as_str() {
            into.push((format!("{name}, as it was sent"), text.into()));
            into.push((name.to_owned(), Base64::decode_vec(text).expect("base64")));
        }
    }
    // The parts of a pass: signatures, the one-time key, the sealed share.
    if let Some(pass) = sent["pass"].as_str().map(|text| Base64::decode_vec(text).expect("base64")) {
        let parts = [("device signature", 66..130), ("binding key", 130..163), ("sealed z2", 227..308)];
        into.extend(parts.map(|(name, range)| (format!("{name} of a pass"), pass[range].to_vec())));
    }
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_of_enrolling_and_authorising_is_written_or_answered() {
    let (house, phone) = (tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("folder"));
    let (data, high_water) = (house.path().join("data"), house.path().join("high-water"));
    let (data_text, high_water) = (data.to_str().expect("text"), high_water.to_str().expect("text"));
    solelog(&["init", "--origin", ORIGIN, "--data", data_text, "--no-witnesses", "--high-water", high_water]);
    let config = data.join("log.toml");
    let enabled =
        std::fs::read_to_string(&config).expect("configuration").replace("\n# enabled = true", "\nenabled = true");
    std::fs::write(&config, enabled).expect("configuration");
    let config_text = config.to_str().expect("text");
    let token = |scope| {
        let made =
            json(&solelog(&["--json", "token", "new", "--config", config_text, "--name", scope, "--scope", scope]));
        made["token"].as_str().expect("token").to_owned()
    };
    let tokens = [token("enrol"), token("manage")];
    let lines = std::fs::File::create(house.path().join("lines")).expect("file");
    let served = Served::start(&config, Stdio::from(lines), "trace");
    let (url, recorded) = record(served.url.clone()).await;

    let policy = Policy::parse(std::fs::read_to_string(data.join("trust-policy.txt")).expect("trust")).expect("policy");
    let log: Json = reqwest::get(format!("{url}/v1/log")).await.expect("log").json().await.expect("JSON");
    let backend = Token::bearer(&tokens[0]).expect("token");
    let provider = || Provider::new(&url, Patience::default()).expect("address");
    let invitation = provider().invite(&backend, None).await.expect("invited");
    let issuing = invitation.provider.0;
    let trust = Trust { origin: log["origin"].as_str().expect("origin").to_owned(), provider: issuing, policy };
    let state = Folder::open(phone.path()).expect("folder");
    let device = SoftDevice::create(state.path(), Seal::KeyFile).expect("device");
    let mut anna = Subscriber::open(device, state, provider(), trust).expect("opened");

    anna.enrol(&invitation, Profile::EcSdsa, &Pin::new(PIN)).await.expect("enrolled");
    let document = instruction("note", &[("text", Value::Text(TEXT.into()))]).expect("document");
    anna.authorise(&document, &Pin::new(PIN)).await.expect("authorised");
    let wrong = anna.authorise(&instruction("note", &[]).expect("document"), &Pin::new(WRONG)).await;
    assert!(matches!(wrong, Err(Error::WrongPin { .. })), "{wrong:?}");
    let old = anna.credential().expect("credential");
    let invitation = provider().invite(&backend, Some(&old)).await.expect("invited");
    anna.change_pin(&invitation, &Pin::new(PIN), &Pin::new(NEW)).await.expect("changed");
    for _ in 0..5 {
        anna.authorise(&document, &Pin::new(WRONG)).await.expect_err("a wrong PIN, or the same document");
    }
    let changed = instruction("note", &[("text", Value::Text(format!("{TEXT} 2")))]).expect("document");
    for _ in 0..6 {
        anna.authorise(&changed, &Pin::new(WRONG)).await.expect_err("a wrong PIN");
    }
    // What does not parse, and what names what does not exist: errors repeat nothing of it.
    let client = reqwest::Client::new();
    let sent = recorded.lock().expect("no panic").sent.clone();
    for mut body in sent {
        if let Some(members) = body.as_object_mut() {
            members.insert("unknown".into(), Json::from(1));
        }
        for path in ["/v1/enrolments/00", "/v1/intents", "/v1/intents/00/authorise", "/v1/credentials/00/revoke"] {
            let answer = client.post(format!("{url}{path}")).json(&body).send().await.expect("answer");
            assert!(answer.status().is_client_error());
        }
    }
    let metrics = client.get(format!("{url}/metrics")).send().await.expect("metrics").bytes().await.expect("bytes");
    let credential = anna.credential().expect("credential");
    drop(served);

    let recorded = std::mem::take(&mut *recorded.lock().expect("no panic"));
    let mut found = vec![
        ("the PIN".to_owned(), PIN.into()),
        ("a wrong PIN".to_owned(), WRONG.into()),
        ("the new PIN".to_owned(), NEW.into()),
        ("the instruction's text".to_owned(), TEXT.into()),
        ("a token".to_owned(), tokens[0].clone().into_bytes()),
    ];
    recorded.sent.iter().for_each(|sent| secrets(sent, &mut found));
    assert!(found.iter().filter(|(name, _)| name == "pass").count() >= 6, "passes were recorded");
    assert!(found.iter().filter(|(name, _)| name == "label_secret").count() >= 2, "and label secrets");

    let mut written = vec![("the metrics".to_owned(), metrics.to_vec())];
    files(house.path(), &mut written);
    let lines = written.iter().find(|(name, _)| name.ends_with("/lines")).expect("log lines");
    assert!(lines.1.len() > 1000, "with everything on, the log says something");
    // By whose it is, no line is found again either.
    for id in [credential.to_hex(), old.to_hex()] {
        assert!(!contains(&lines.1, id.as_bytes()), "a credential's id stands in a log line");
    }
    for (what, bytes) in &found {
        for (name, file) in written.iter().filter(|(name, _)| !name.contains("/keys/")) {
            assert!(!contains(file, bytes), "{what} stands in {name}");
        }
        // A ticket is answered to the backend that asked for it, and an own record to whoever has its read token.
        let may_answer = |name: &str| {
            name.contains("/v1/enrolments ") || name.ends_with("/v1/enrolments") || name.contains("/v1/receipts/")
        };
        for (name, body) in recorded.answered.iter().filter(|(name, _)| !may_answer(name)) {
            assert!(!contains(body, bytes), "{what} stands in {name}");
        }
    }
}
