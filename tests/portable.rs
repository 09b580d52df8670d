//! A log as on a machine without vector instructions: everything works, and it says which engine verifies.

mod process;

use std::path::Path;
use std::process::Stdio;

use client::{Profile, Value, instruction, verify};
use process::Served;
use process::people::{Site, pin};
use serde_json::Value as Json;

#[tokio::test(flavor = "multi_thread")]
async fn without_vector_instructions_a_log_verifies_as_well_and_says_so() {
    let folder = tempfile::tempdir().expect("folder");
    let site = Site::init(folder.path(), "portable.example/log");
    let config = Path::new(&site.config);
    let text = std::fs::read_to_string(config).expect("config");
    let portable = text.replace("# engine = \"auto\"", "engine = \"portable\"");
    assert_ne!(text, portable);
    std::fs::write(config, portable).expect("config");
    let served = Served::start(config, Stdio::null(), "error");

    let mut anna = site.device(&served, &folder.path().join("anna"));
    let invitation = site.invite(&served, None).await;
    anna.enrol(&invitation, Profile::EcSdsa, &pin()).await.expect("enrolled");
    let payment = instruction("payment", &[("amount", Value::Uint(1250)), ("currency", Value::Text("EUR".into()))])
        .expect("document");
    let done = anna.authorise(&payment, &pin()).await.expect("authorised");
    assert_eq!(verify::verify(&done.receipt, &site.trust.policy).verdict, verify::Verdict::Authorised);

    let about: Json = reqwest::get(format!("{}/v1/log", served.url)).await.expect("answer").json().await.expect("JSON");
    assert_eq!(about["verifier"], "portable", "{about}");
    let metrics = reqwest::get(format!("{}/metrics", served.url)).await.expect("answer").text().await.expect("text");
    assert!(metrics.lines().any(|line| line.contains("portable") && line.ends_with(" 1")), "{metrics}");
}
