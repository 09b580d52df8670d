//! Every limit of the design over real HTTP or on a real disk: what is exactly as large is taken, and one more is not.
//!
//! The limits of one format are hit by the tests of that format; `docs/ARCHITECTURE.md` lists which test hits which.

mod common;

use common::Log;
use reqwest::StatusCode;
use scal3::genesis::Genesis;
use scal3::instruction::Value;
use scal3::opening::{Evidence, Opening};
use scal3::{Document, Entry, Hash, Kind, cbor, limits};
use serde_json::Value as Json;
use solelog::cli::cast::{Provider, activation, document};
use solelog::config::Config;
use solelog::engine::{self, Engine};
use solelog::recovery::CreateError;
use tlog::bundle;
use tlog::key::{KeyName, Signer};

#[test]
fn the_defaults_are_those_of_the_design() {
    let Config { limits: set, http, .. } = Config::default();
    assert_eq!((set.opening_bytes, limits::OPENING_MAX), (256 << 10, 256 << 10));
    assert_eq!((set.batch_records, engine::MAX_BATCH, limits::BATCH_RECORDS_MAX), (1024, 1024, 1024));
    assert_eq!((set.batch_bytes, limits::BATCH_MAX), (8 << 20, 8 << 20));
    assert_eq!((set.waiting_bytes, engine::Limits::default().in_flight_bytes), (64 << 20, 64 << 20));
    assert_eq!((http.header_timeout_ms, http.body_timeout_ms), (10_000, 10_000));
    assert_eq!((limits::ENTRY_MAX, bundle::MAX_ENTRY), (65_535, 65_535));
    assert_eq!((limits::INSTRUCTION_MAX, limits::EVIDENCE_ITEMS_MAX, limits::CBOR_DEPTH_MAX), (32 << 10, 16, 8));
    assert_eq!((limits::ORIGIN_MAX, tlog::checkpoint::MAX_ORIGIN, tlog::key::MAX_NAME), (255, 255, 255));
    assert_eq!((tlog::note::MAX_NOTE, tlog::witness::MAX_BODY), (128 << 10, 128 << 10));
    assert_eq!(tlog::proof_file::MAX_HASHES, 63);
    const { assert!(tlog::note::MAX_SIGNATURES >= 16) };
}

/// The opening with so many evidence items, which together make it so many bytes long.
fn crowded(opening: &[u8], items: usize, length: usize) -> Vec<u8> {
    let mut opening = Opening::parse(opening).expect("an opening");
    let item = |blob| Evidence { kind: "x".into(), participant: Hash([1; 32]), authenticator: Hash([2; 32]), blob };
    opening.evidence = vec![item(vec![0; 300]); items - 1];
    // Long enough that its own length has five bytes of head, so that each byte more is one byte more.
    opening.evidence.push(item(vec![0; 70_000]));
    let more = length - opening.to_bytes().len();
    opening.evidence[items - 1].blob.resize(70_000 + more, 0);
    let bytes = opening.to_bytes();
    assert_eq!(bytes.len(), length);
    bytes
}

async fn problem(log: &Log, kind: &str, body: Vec<u8>) -> (StatusCode, Json) {
    let answer = log.post("/v1/records", kind, body).send().await.expect("answer");
    (answer.status(), answer.json().await.expect("JSON"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opening_has_256_kib_and_16_evidence_items() {
    let log = Log::start().await;
    let person = log.issued().await;
    let good = log.authorise(&person, &activation().expect("document"), |_| {}).await;

    // It is read whole, and judged by what is in it: nobody knows evidence of the kind `x`.
    let (status, said) = problem(&log, "application/cbor", crowded(&good, 16, 256 << 10)).await;
    assert_eq!((status, &said["check"]), (StatusCode::UNPROCESSABLE_ENTITY, &Json::from("evidence")), "{said}");

    let (status, said) = problem(&log, "application/cbor", crowded(&good, 16, (256 << 10) + 1)).await;
    assert_eq!((status, &said["type"]), (StatusCode::PAYLOAD_TOO_LARGE, &Json::from("/problems/too-large")), "{said}");

    let (status, said) = problem(&log, "application/cbor", crowded(&good, 17, 256 << 10)).await;
    assert_eq!((status, &said["check"]), (StatusCode::BAD_REQUEST, &Json::from("parse")), "{said}");
    log.stop().await;
}

/// What became of the last record of a batch, which must have been taken.
async fn last_of(log: &Log, batch: Vec<u8>) -> (usize, u64) {
    let answer = log.post("/v1/records", "application/cbor-seq", batch).send().await.expect("answer");
    assert_eq!(answer.status(), StatusCode::OK);
    let outcomes: Vec<Json> = answer.json().await.expect("JSON");
    let last = outcomes.last().and_then(|o| o["status"].as_u64());
    (outcomes.len(), last.expect("a last outcome"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_has_1024_records() {
    let log = Log::start().await;
    let person = log.issued().await;
    let good = log.authorise(&person, &activation().expect("document"), |_| {}).await;
    // Zeros are items, and no openings.
    let (status, said) = problem(&log, "application/cbor-seq", [&[0; 1024][..], &good].concat()).await;
    assert_eq!(
        (status, &said["type"]),
        (StatusCode::BAD_REQUEST, &Json::from("/problems/malformed-batch")),
        "1025 records: {said}"
    );
    assert_eq!(last_of(&log, [&[0; 1023][..], &good].concat()).await, (1024, 201));
    log.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_has_8_mib() {
    const WHOLE: usize = 8 << 20;
    let log = Log::start_with(|c| c.http.body_timeout_ms = 60_000).await;
    let person = log.issued().await;
    let good = log.authorise(&person, &activation().expect("document"), |_| {}).await;
    // Byte strings, each as long as an opening may be at most, and the record behind them.
    let filled = |length: usize| {
        let mut batch = Vec::with_capacity(length);
        let mut left = length - good.len();
        for item in (1..=33).rev() {
            let share = left / item;
            batch.extend(cbor::encode(&cbor::bytes(&vec![0; share - 5])));
            left -= share;
        }
        batch.extend_from_slice(&good);
        assert_eq!(batch.len(), length);
        batch
    };
    let (status, said) = problem(&log, "application/cbor-seq", filled(WHOLE + 1)).await;
    assert_eq!((status, &said["type"]), (StatusCode::PAYLOAD_TOO_LARGE, &Json::from("/problems/too-large")), "{said}");
    assert_eq!(last_of(&log, filled(WHOLE)).await, (34, 201));
    log.stop().await;
}

/// A genesis whose entry has so many bytes, because its policy is as long as that takes.
fn genesis_of(entry: usize) -> Genesis {
    let provider = Provider::new(common::ORIGIN, common::POLICY).expect("provider");
    let issuing_keys = vec![provider.issuing_key().expect("key")];
    let mut genesis = Genesis { origin: common::ORIGIN.into(), issuing_keys, policy: vec![b' '; 60_000] };
    let length = |genesis: &Genesis| Entry::public(Kind::Genesis, u64::MAX, genesis.to_bytes()).to_bytes().len();
    let more = entry - length(&genesis);
    genesis.policy.resize(60_000 + more, b' ');
    assert_eq!(length(&genesis), entry);
    genesis
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_has_65535_bytes() {
    let folder = tempfile::tempdir().expect("folder");
    let config = |name: &str| {
        let signer = Signer::note(KeyName::new(common::ORIGIN).expect("name"), &[7; 32]);
        let mut config = engine::Config::new(folder.path().join(name), signer);
        config.high_water = Some(folder.path().join(format!("{name}-high-water")));
        config
    };
    let refused = Engine::create(&config("longer"), &genesis_of(65_536));
    assert!(matches!(refused, Err(CreateError::TooLong { length: 65_536, limit: 65_535 })), "{refused:?}");

    Engine::create(&config("longest"), &genesis_of(65_535)).expect("created");
    let engine = Engine::open(config("longest")).await.expect("opened");
    let path = tlog::tile::Path::parse("tile/entries/000.p/1").expect("path");
    let stored = engine.object(&path).expect("a bundle");
    let entries = bundle::parse(&stored).expect("a bundle");
    assert_eq!(entries.iter().map(|e| e.len()).collect::<Vec<_>>(), [65_535]);
    engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_has_255_bytes() {
    let origin = "o".repeat(255);
    let set = |origin: &str| {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("log.toml");
        let text = format!("origin = \"{origin}\"\ndata = \"d\"\n[witnesses]\nhigh_water = \"/elsewhere/hw\"\n");
        std::fs::write(&path, text).expect("file");
        Config::load(&path, [], &[])
    };
    assert_eq!(set(&origin).expect("a configuration").config.origin, origin);
    let refused = set(&format!("{origin}o")).expect_err("an origin of 256 bytes").to_string();
    assert_eq!(refused, "origin: longer than 255 bytes");
}

/// A document that is as long as an instruction may be.
#[test]
fn an_instruction_has_32_kib() {
    let of = |length: usize| {
        let made = |text: usize| -> Document {
            document("document.sign", &[("title", Value::Text("x".repeat(text)))]).expect("document")
        };
        let more = length - made(30_000).to_bytes().len();
        made(30_000 + more).to_bytes()
    };
    let (longest, longer) = (of(32 << 10), of((32 << 10) + 1));
    assert_eq!((longest.len(), longer.len()), (32_768, 32_769));
    assert_eq!(Document::parse(&longest).expect("a document").to_bytes(), longest);
    assert_eq!(Document::parse(&longer).expect_err("too long").code(), "cbor/too-long");
}
