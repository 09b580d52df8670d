//! What must not be written anywhere: a real log runs as a process with all its log lines on, and then everything that
//! it wrote is searched (I-8).

mod process;

use std::path::Path;
use std::process::Stdio;

use base64ct::{Base64, Encoding as _};
use process::{Served, json, solelog};
use reqwest::Client;
use scal3::Opening;
use scal3::instruction::Value;
use scal3::verify::Submitted;
use serde_json::Value as Json;
use solelog::cli::cast::{Provider, activation, document};
use solelog::cli::init::POLICY;
use solelog::engine::wall_clock_ms;
use threshold::Profile1;
use tlog::{Hash, TreeHead, TreeSize};

const ORIGIN: &str = "secrets.example/log";
const PIN: &str = "73915528";
const TEXT: &str = "Sell the house in Elm Street";

/// Every file under a folder, with its bytes.
fn files(folder: &Path, into: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).expect("folder").map(|entry| entry.expect("entry")) {
        let path = entry.path();
        if path.is_dir() {
            files(&path, into);
        } else {
            into.push((path.display().to_string(), std::fs::read(&path).expect("file")));
        }
    }
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_secret_is_written() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let high_water = folder.path().join("high-water");
    let (data_text, high_water) = (data.to_str().expect("text"), high_water.to_str().expect("text"));
    solelog(&["init", "--origin", ORIGIN, "--data", data_text, "--no-witnesses", "--high-water", high_water]);
    let config = data.join("log.toml");
    let config = config.to_str().expect("text");
    let token = json(&solelog(&["--json", "token", "new", "--config", config, "--name", "t", "--scope", "append"]));
    let token = token["token"].as_str().expect("token").to_owned();

    let lines = std::fs::File::create(folder.path().join("lines")).expect("file");
    let served = Served::start(&data.join("log.toml"), Stdio::from(lines), "trace");
    let url = served.url.clone();

    let client = Client::new();
    let post = async |path: &str, kind: &str, body: Vec<u8>| {
        let request = client.post(format!("{url}{path}")).bearer_auth(&token).header("content-type", kind).body(body);
        let answer = request.send().await.expect("answer");
        assert!(answer.status().is_success(), "{}", answer.text().await.expect("text"));
    };
    let pem = std::fs::read_to_string(data.join("keys/issuing.key")).expect("issuing key");
    let provider = Provider::from_pem(&pem, ORIGIN, POLICY).expect("provider");
    let mut person = provider.enrol::<Profile1>(PIN, wall_clock_ms()).expect("enrolled");
    post("/v1/credentials", "application/cose", person.credential().to_vec()).await;
    let mut openings = Vec::new();
    let text = document("document.sign", &[("text", Value::Text(TEXT.into()))]).expect("document");
    for document in [activation().expect("document"), text] {
        let log: Json = client.get(format!("{url}/v1/log")).send().await.expect("log").json().await.expect("JSON");
        let head = TreeHead {
            size: TreeSize::new(log["integrated"]["size"].as_u64().expect("size")).expect("size"),
            root: log["integrated"]["root"].as_str().and_then(Hash::from_base64).expect("root"),
        };
        let metadata = person.metadata(&document.class, &head, wall_clock_ms());
        let opening = person.authorise(metadata, &document).expect("authorised");
        post("/v1/records", "application/cbor", opening.clone()).await;
        person.logged(&opening).expect("logged");
        openings.push(opening);
    }
    let metrics = client.get(format!("{url}/metrics")).send().await.expect("metrics").bytes().await.expect("bytes");
    drop(served);

    let mut written = vec![("the metrics".to_owned(), metrics.to_vec())];
    files(folder.path(), &mut written);
    let lines = written.iter().find(|(name, _)| name.ends_with("/lines")).expect("log lines");
    assert!(
        contains(&lines.1, b"append"),
        "with everything on, the log says something: {}",
        String::from_utf8_lossy(&lines.1)
    );

    let mut secrets: Vec<(&str, Vec<u8>)> = vec![
        ("the PIN", PIN.into()),
        ("the instruction's text", TEXT.into()),
        ("the token", token.clone().into_bytes()),
        ("the credential's id", person.id().0.to_vec()),
    ];
    for opening in &openings {
        let submitted = Submitted::parse(opening).expect("opening");
        let record = Opening::parse(opening).expect("opening").record;
        secrets.push(("a device signature", submitted.record().device_sig().as_bytes().to_vec()));
        secrets.push(("a record", record));
    }
    // The provider's keys, as they stand in their files and as bytes.
    let master = std::fs::read_to_string(data.join("keys/master.0.key")).expect("master secret");
    let master = master.trim_end().splitn(5, '+').nth(4).expect("its last part").to_owned();
    let issuing: p256::SecretKey = p256::pkcs8::DecodePrivateKey::from_pkcs8_pem(&pem).expect("PKCS#8");
    secrets.push(("the master secret", Base64::decode_vec(&master).expect("base64")));
    secrets.push(("the master secret's text", master.into_bytes()));
    secrets.push(("the issuing key", issuing.to_bytes().to_vec()));
    for (what, bytes) in &secrets {
        for (name, file) in written.iter().filter(|(name, _)| !name.contains("/keys/")) {
            // The view and the journal keep the state of credentials, by their id; both stay with the provider.
            let private = name.contains("/view/") || name.contains("/journal/") || name.contains("/snapshot");
            if *what == "the credential's id" && private {
                continue;
            }
            assert!(!contains(file, bytes), "{what} stands in {name}");
        }
    }
}
