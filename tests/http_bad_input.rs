//! Bad input of every kind, over real HTTP: each has a clear answer of its own, and nothing is appended.

mod common;

use common::Log;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Method, RequestBuilder};
use scal3::instruction::Value;
use scal3::opening::{Evidence, Opening};
use scal3::{Document, Hash};
use serde_json::Value as Json;
use solelog::cli::cast::{Provider, activation, document};
use solelog::engine::wall_clock_ms;
use threshold::Profile1;

/// What is expected: status, last part of `type`, and `check` and `code` where the problem has them.
type Expected = (u16, &'static str, Option<&'static str>, Option<&'static str>);

struct Table<'a> {
    log: &'a Log,
    rows: usize,
}

impl Table<'_> {
    async fn row(&mut self, what: &str, request: RequestBuilder, expected: Expected) -> Json {
        let before = self.log.size();
        let answer = request.send().await.unwrap_or_else(|e| panic!("{what}: {e}"));
        let status = answer.status().as_u16();
        let kind = answer.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
        let text = answer.text().await.unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(kind, "application/problem+json", "{what}: {status} {text}");
        let problem: Json = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{what}: {e}: {text}"));
        let (wanted_status, slug, check, code) = expected;
        assert_eq!(status, wanted_status, "{what}: {text}");
        assert_eq!(problem["status"], wanted_status, "{what}: {text}");
        assert_eq!(problem["type"], format!("/problems/{slug}"), "{what}: {text}");
        assert_eq!(problem["check"].as_str(), check, "{what}: {text}");
        assert_eq!(problem["code"].as_str(), code, "{what}: {text}");
        assert!(problem["next"].as_str().is_some_and(|n| n.len() > 10), "{what} does not say what to do: {text}");
        assert_eq!(self.log.size(), before, "{what}: something was appended");
        self.rows += 1;
        problem
    }

    async fn record(&mut self, what: &str, body: Vec<u8>, expected: Expected) -> Json {
        self.row(what, self.log.post("/v1/records", "application/cbor", body), expected).await
    }

    async fn get(&mut self, path: &str, expected: Expected) -> Json {
        self.row(path, self.log.get(path), expected).await
    }
}

fn payment() -> Document {
    document("payment", &[("amount", Value::Uint(1250)), ("currency", Value::Text("EUR".into()))]).expect("document")
}

fn flipped(opening: &[u8], from_end_of_record: usize) -> Vec<u8> {
    let mut opening = Opening::parse(opening).expect("an opening");
    let at = opening.record.len() - from_end_of_record;
    opening.record[at] ^= 1;
    opening.to_bytes()
}

/// The opening with a text of its record replaced by a longer one of that many bytes. Nobody signed that; parsing comes first.
fn retold(opening: &[u8], text: &str, length: u16) -> Vec<u8> {
    let mut opening = Opening::parse(opening).expect("an opening");
    let short = [&[0x60 | text.len() as u8][..], text.as_bytes()].concat();
    let at = opening.record.windows(short.len()).position(|w| w == short).expect("the text is there");
    let long = [&[0x79][..], &length.to_be_bytes(), "x".repeat(length.into()).as_bytes()].concat();
    opening.record.splice(at..at + short.len(), long);
    opening.to_bytes()
}

const PARSE: Expected = (400, "malformed-record", Some("parse"), Some("opening"));

fn refused(check: &'static str, code: &'static str) -> Expected {
    (422, "record-refused", Some(check), Some(code))
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_do_not_belong_are_refused_by_name() {
    let log = Log::start().await;
    let mut person = log.active().await;
    let (first, answer) = log.append(&mut person, &payment()).await;
    let good = log.authorise(&person, &payment(), |_| {}).await;
    let mut table = Table { log: &log, rows: 0 };

    // Bytes that are no opening.
    table.record("nothing", Vec::new(), PARSE).await;
    table.record("not CBOR", b"hello, log".to_vec(), PARSE).await;
    table.record("JSON", b"{\"record\":1}".to_vec(), PARSE).await;
    let mut long = good.clone();
    assert_eq!(long[1], 0x01, "the version");
    long.splice(1..2, [0x18, 0x01]);
    table.record("a number in a longer spelling", long, PARSE).await;
    let mut indefinite = good.clone();
    indefinite[0] = 0x9f;
    indefinite.push(0xff);
    table.record("an indefinite length", indefinite, PARSE).await;
    table.record("a length of 2^63", [&[0x5b, 0x80][..], &[0; 7]].concat(), PARSE).await;
    table.record("an array of 2^60", vec![0x9b, 0x10, 0, 0, 0, 0, 0, 0, 0], PARSE).await;
    table.record("nested a hundred thousand deep", vec![0x81; 100_000], PARSE).await;
    table.record("cut short", good[..good.len() - 1].to_vec(), PARSE).await;
    table.record("bytes behind", [&good[..], &[0]].concat(), PARSE).await;
    table.record("two openings as one", [&good[..], &good].concat(), PARSE).await;
    let mut version = good.clone();
    version[1] = 0x07;
    table.record("another version", version, PARSE).await;
    let mut profile = Opening::parse(&good).expect("an opening");
    profile.profile = scal3::Profile::new(2).expect("profile 2");
    table
        .record(
            "another profile than the record's",
            profile.to_bytes(),
            (400, "malformed-record", Some("parse"), Some("record")),
        )
        .await;
    let mut shown = Opening::parse(&good).expect("an opening");
    shown.shown = payment().show(|_| true);
    table
        .record(
            "the fields of another instruction",
            shown.to_bytes(),
            (400, "malformed-record", Some("parse"), Some("other-instruction")),
        )
        .await;
    let item = Evidence { kind: "x".into(), participant: Hash([1; 32]), authenticator: Hash([2; 32]), blob: vec![3] };
    let mut crowded = Opening::parse(&good).expect("an opening");
    crowded.evidence = vec![item; 17];
    table.record("seventeen evidence items", crowded.to_bytes(), PARSE).await;
    let record = (400, "malformed-record", Some("parse"), Some("record"));
    table.record("an origin of 256 bytes", retold(&good, common::ORIGIN, 256), record).await;
    table.record("metadata over 4 KiB", retold(&good, "payment", 5000), record).await;
    table.record("too large", vec![0; (256 << 10) + 1], (413, "too-large", None, None)).await;

    // Records that are for elsewhere, or for nobody here.
    let origin = log.authorise(&person, &payment(), |m| m.origin = "other.example/log".into()).await;
    table.record("for another log", origin, refused("credential", "origin")).await;
    let provider = log.authorise(&person, &payment(), |m| m.provider = Hash([1; 32])).await;
    table.record("of another provider", provider, refused("credential", "provider")).await;
    let stranger = log.provider.enrol::<Profile1>("1234", wall_clock_ms()).expect("enrolled");
    let unknown = log.authorise(&stranger, &activation().expect("document"), |_| {}).await;
    table
        .record("of a credential that was never issued", unknown, (422, "unknown-credential", Some("credential"), None))
        .await;

    // The three signatures, each broken alone.
    table.record("the binding signature", flipped(&good, 1), refused("binding", "signature")).await;
    let other = p256::ecdsa::SigningKey::from_slice(&[9; 32]).expect("key");
    let other: [u8; 33] = other.verifying_key().to_sec1_point(true).as_bytes().try_into().expect("33 bytes");
    let device = log
        .provider
        .enrol::<Profile1>("1234", wall_clock_ms())
        .expect("enrolled")
        .reissued(&log.provider, |c| c.device_key = other);
    let joint = log
        .provider
        .enrol::<Profile1>("1234", wall_clock_ms())
        .expect("enrolled")
        .reissued(&log.provider, |c| c.joint_key = other);
    log.issue(&device).await;
    log.issue(&joint).await;
    let body = log.authorise(&device, &activation().expect("document"), |_| {}).await;
    table.record("the device signature", body, refused("device", "signature")).await;
    let body = log.authorise(&joint, &activation().expect("document"), |_| {}).await;
    table.record("the joint signature", body, refused("joint", "signature")).await;
    let mut evidence = Opening::parse(&good).expect("an opening");
    evidence.evidence.push(Evidence {
        kind: "retina".into(),
        participant: Hash([1; 32]),
        authenticator: Hash([2; 32]),
        blob: vec![3],
    });
    table.record("evidence of an unknown kind", evidence.to_bytes(), refused("evidence", "unknown-kind")).await;

    // Records that are not for this place.
    let now = wall_clock_ms();
    let ahead = log.authorise(&person, &payment(), |m| m.sequence += 3).await;
    let problem = table.record("a sequence number ahead", ahead, refused("metadata", "sequence")).await;
    assert_eq!((problem["expected"].as_u64(), problem["found"].as_u64()), (Some(2), Some(5)));
    let body = log.authorise(&person, &payment(), |m| m.previous = Hash([1; 32])).await;
    table.record("another previous", body, refused("metadata", "previous")).await;
    let body = log.authorise(&person, &payment(), |m| m.policy = Hash([1; 32])).await;
    table.record("another policy", body, refused("metadata", "policy")).await;
    let body = log.authorise(&person, &payment(), |m| m.seen_root = Hash([1; 32])).await;
    table.record("a head that never was", body, refused("metadata", "seen-not-on-history")).await;
    let body = log.authorise(&person, &payment(), |m| m.seen_size += 1000).await;
    table.record("a head that is not yet", body, refused("metadata", "seen-ahead")).await;
    let body = log.authorise(&person, &payment(), |m| m.expires_ms = now - 1).await;
    table.record("expired", body, refused("metadata", "expired")).await;
    let body = log
        .authorise(&person, &payment(), |m| {
            m.time_ms = now + 3_600_000;
            m.expires_ms = now + 7_200_000;
        })
        .await;
    table.record("from the future", body, refused("metadata", "time")).await;
    let body = log.authorise(&person, &activation().expect("document"), |_| {}).await;
    table.record("a second activation", body, refused("metadata", "class")).await;
    let fresh = log.issued().await;
    let body = log.authorise(&fresh, &payment(), |_| {}).await;
    table.record("a first record that does not activate", body, refused("metadata", "class")).await;

    // What was used before, by another authorisation.
    let mut again = log.active().await;
    let double = log.authorise(&again, &payment(), |_| {}).await;
    let (_, won) = log.append(&mut again, &payment()).await;
    let problem = table.record("a used index key with another signature", double, (409, "conflict", None, None)).await;
    assert_eq!(problem["index"], won["index"]);
    let body = log.authorise(&person, &payment(), |m| m.sequence = 1).await;
    table
        .record(
            "a used sequence number under a fresh index key",
            body,
            (409, "conflict", Some("metadata"), Some("sequence")),
        )
        .await;

    // And after all of that: the record that was right from the start still goes in, and the first one is still itself.
    let answer_again = log.post("/v1/records", "application/cbor", first).send().await.expect("answer");
    assert_eq!(answer_again.status(), 200);
    assert_eq!(answer_again.json::<Json>().await.expect("JSON")["index"], answer["index"]);
    let before = log.size();
    let done = log.post("/v1/records", "application/cbor", good).send().await.expect("answer");
    assert_eq!(done.status(), 201, "{}", done.text().await.expect("text"));
    assert_eq!(log.size(), before + 1);
    assert!(table.rows >= 36, "{} rows", table.rows);
    log.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_wrong_around_the_record_are_refused_by_name() {
    let log = Log::start_with(|c| {
        c.limits.batch_bytes = 1 << 20;
        c.limits.batch_records = 8;
    })
    .await;
    let person = log.active().await;
    let good = log.authorise(&person, &payment(), |_| {}).await;
    let mut table = Table { log: &log, rows: 0 };
    let bare = |method: Method, path: &str| log.client.request(method, format!("{}{path}", log.url));
    let record = || bare(Method::POST, "/v1/records").header(CONTENT_TYPE, "application/cbor").body(good.clone());

    // Tokens.
    table.row("no token", record(), (401, "token-missing", None, None)).await;
    table.row("another scheme", record().header(AUTHORIZATION, "Basic YTpi"), (401, "token-missing", None, None)).await;
    table
        .row("a wrong token", record().header(AUTHORIZATION, "Bearer slt_wrong"), (401, "token-refused", None, None))
        .await;
    table
        .row(
            "a token for reading",
            record().header(AUTHORIZATION, format!("Bearer {}", log.read_token)),
            (403, "token-scope", None, None),
        )
        .await;
    table
        .row(
            "a wrong token for reading",
            log.get("/v1/records/1").header(AUTHORIZATION, "Bearer slt_wrong"),
            (401, "token-refused", None, None),
        )
        .await;
    table
        .row(
            "a credential without a token",
            bare(Method::POST, "/v1/credentials").body(vec![0]),
            (401, "token-missing", None, None),
        )
        .await;

    // Whoever is refused while still sending must be able to read why.
    for _ in 0..10 {
        let large = bare(Method::POST, "/v1/records").body(vec![0; 3 << 19]);
        table.row("a large body without a token", large, (401, "token-missing", None, None)).await;
    }

    // Types, parameters, batches.
    for kind in ["application/json", "application/octet-stream", "text/plain", "application/cborx"] {
        table.row(kind, log.post("/v1/records", kind, good.clone()), (415, "media-type", None, None)).await;
    }
    table
        .row(
            "a credential as CBOR",
            log.post("/v1/credentials", "application/cbor", good.clone()),
            (415, "media-type", None, None),
        )
        .await;
    for query in ["until=soon", "until=", "untill=witnessed", "until=integrated&x=1"] {
        let path = format!("/v1/records?{query}");
        table.row(&path, log.post(&path, "application/cbor", good.clone()), (400, "parameter", None, None)).await;
    }
    let batch = |body| log.post("/v1/records", "application/cbor-seq", body);
    table.row("an empty batch", batch(Vec::new()), (400, "malformed-batch", None, None)).await;
    table
        .row(
            "a batch with garbage in it",
            batch([&good[..], &[0xff], &good].concat()),
            (400, "malformed-batch", None, None),
        )
        .await;
    table
        .row("a batch with a deep item", batch([&good[..], &[0x81; 99]].concat()), (400, "malformed-batch", None, None))
        .await;
    table.row("a batch cut short", batch(good[..good.len() - 1].to_vec()), (400, "malformed-batch", None, None)).await;
    table.row("too many records", batch(vec![0x00; 9]), (400, "malformed-batch", None, None)).await;
    table.row("too many bytes", batch(vec![0x00; (1 << 20) + 1]), (413, "too-large", None, None)).await;

    // Credentials.
    let credential = |body| log.post("/v1/credentials", "application/cose", body);
    const REFUSED: Expected = (422, "credential-refused", Some("credential"), None);
    table.row("not a credential", credential(b"hello".to_vec()), REFUSED).await;
    let mut altered = person.credential().to_vec();
    *altered.last_mut().expect("bytes") ^= 1;
    table.row("an altered credential", credential(altered), REFUSED).await;
    let stranger = Provider::new(common::ORIGIN, common::POLICY)
        .expect("provider")
        .enrol::<Profile1>("1", wall_clock_ms())
        .expect("enrolled");
    table.row("a credential of another provider", credential(stranger.credential().to_vec()), REFUSED).await;
    let elsewhere = log
        .provider
        .enrol::<Profile1>("1", wall_clock_ms())
        .expect("enrolled")
        .reissued(&log.provider, |c| c.origin = "other.example".into());
    table.row("a credential for another log", credential(elsewhere.credential().to_vec()), REFUSED).await;
    let past = log.provider.enrol::<Profile1>("1", 1_000_000).expect("enrolled");
    table.row("a credential that has ended", credential(past.credential().to_vec()), REFUSED).await;
    let orphan = log.provider.enrol::<Profile1>("1", wall_clock_ms()).expect("enrolled").reissued(&log.provider, |c| {
        c.predecessor = Some(Hash([1; 32]));
        c.ordinal = 1;
    });
    table.row("a credential after one that never was", credential(orphan.credential().to_vec()), REFUSED).await;
    table
        .row("a credential that is too large", credential(vec![0; (16 << 10) + 1]), (413, "too-large", None, None))
        .await;
    let resigned = {
        // The same claims under another signature of the same key: ECDSA's signatures come in pairs.
        let mut bytes = person.credential().to_vec();
        let at = bytes.len() - 32;
        let s = p256::ecdsa::Signature::from_slice(&bytes[at - 32..]).expect("a signature");
        let (r, s) = (s.r(), s.s());
        let twin = p256::ecdsa::Signature::from_scalars(*r, -*s).expect("a signature");
        bytes.truncate(at - 32);
        bytes.extend_from_slice(&twin.to_bytes());
        bytes
    };
    let problem =
        table.row("the same claims, signed again", credential(resigned), (409, "already-issued", None, None)).await;
    assert_eq!(problem["index"], 1);

    // Reading what is not there, or asking wrongly.
    let size = log.head().await.size.get();
    const BEYOND: Expected = (404, "beyond-the-tree", None, None);
    const PARAMETER: Expected = (400, "parameter", None, None);
    for path in [
        format!("/v1/records/{size}"),
        "/v1/records/999999".into(),
        "/v1/receipts/999999".into(),
        format!("/v1/proofs/inclusion?index=0&size={}", size + 1),
        format!("/v1/proofs/inclusion?index={size}"),
        format!("/v1/proofs/consistency?old=1&new={}", size + 1),
    ] {
        let problem = table.get(&path, BEYOND).await;
        assert_eq!(problem["size"], size, "{path}");
    }
    for path in [
        "/v1/records/abc",
        "/v1/records/007",
        "/v1/records/-1",
        "/v1/records/9223372036854775808",
        "/v1/records/99999999999999999999999",
        "/v1/receipts/xyz",
        "/v1/receipts/GG00000000000000000000000000000000000000000000000000000000000000",
        "/v1/proofs/inclusion",
        "/v1/proofs/inclusion?index=1&size=x",
        "/v1/proofs/inclusion?index=1&size=1",
        "/v1/proofs/inclusion?index=9223372036854775808",
        "/v1/proofs/consistency?old=3&new=2",
        "/v1/proofs/consistency?old=1&new=2&more=3",
        "/v1/credentials/12",
    ] {
        table.get(path, PARAMETER).await;
    }
    let nobody = "0".repeat(64);
    table.get(&format!("/v1/receipts/{nobody}"), (404, "no-such-entry", None, None)).await;
    table.get(&format!("/v1/credentials/{nobody}"), (404, "no-such-credential", None, None)).await;
    table.get("/v1/nothing", (404, "no-such-route", None, None)).await;
    table.row("deleting", bare(Method::DELETE, "/v1/records/1"), (405, "method", None, None)).await;
    table.row("getting a batch", log.get("/v1/records"), (405, "method", None, None)).await;
    assert!(table.rows >= 64, "{} rows", table.rows);
    log.stop().await;
}
