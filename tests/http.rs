//! The interface, over real HTTP, with real keys and real records.

mod common;

use std::io::Read as _;
use std::time::Duration;

use base64ct::{Base64, Encoding as _};
use common::Log;
use reqwest::StatusCode;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_ORIGIN, AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE,
    ETAG, IF_NONE_MATCH, LOCATION, ORIGIN,
};
use scal3::Document;
use scal3::cose_receipt::CoseReceipt;
use scal3::instruction::Value;
use serde_json::Value as Json;
use solelog::cli::cast::{activation, document};
use solelog::engine::wall_clock_ms;
use solelog::http::problem::KINDS;
use solelog::tokens;
use threshold::{Profile1, Profile2};
use tlog::key::Vkey;
use tlog::proof_file::ProofFile;
use tlog::{ConsistencyProof, Hash, InclusionProof, LeafHash, LeafIndex, TreeHead, TreeSize, bundle};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

fn contract(text: &str) -> Document {
    document("document.sign", &[("title", Value::Text(text.into())), ("digest", Value::Bytes(vec![7; 32]))])
        .expect("document")
}

fn hash(text: &Json) -> Hash {
    Hash::from_base64(text.as_str().expect("text")).expect("a hash")
}

fn hashes(list: &Json) -> Vec<Hash> {
    list.as_array().expect("list").iter().map(hash).collect()
}

fn bytes(text: &Json) -> Vec<u8> {
    Base64::decode_vec(text.as_str().expect("text")).expect("base64")
}

fn size(number: u64) -> TreeSize {
    TreeSize::new(number).expect("a size")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_goes_in_and_its_receipt_convinces_a_stranger() {
    let log = Log::start().await;
    let mut anna = log.issued().await;
    let document = activation().expect("document");
    let opening = log.authorise(&anna, &document, |_| {}).await;
    let answer = log.post("/v1/records", "application/cbor", opening.clone()).send().await.expect("answer");
    assert_eq!(answer.status(), StatusCode::CREATED);
    let location = answer.headers()[LOCATION].to_str().expect("text").to_owned();
    let answer: Json = answer.json().await.expect("JSON");
    assert_eq!(answer["existing"], false);
    assert_eq!(answer["reached"], "integrated");
    let index = answer["index"].as_u64().expect("index");
    assert_eq!(location, format!("/v1/records/{index}"));

    // The answer proves itself.
    let head =
        TreeHead { size: size(answer["head"]["size"].as_u64().expect("size")), root: hash(&answer["head"]["root"]) };
    let leaf = LeafHash::of(&bytes(&answer["entry"]));
    let at = LeafIndex::new(index).expect("index");
    InclusionProof { hashes: hashes(&answer["inclusion"]) }.verify(leaf, at, &head).expect("included");

    // The same again: the same place, and the log does not grow.
    let before = log.size();
    for kind in ["application/cbor", "application/cbor; charset=binary"] {
        let again = log.post("/v1/records", kind, opening.clone()).send().await.expect("answer");
        assert_eq!(again.status(), StatusCode::OK);
        let again: Json = again.json().await.expect("JSON");
        assert_eq!(
            (&again["index"], &again["existing"], &again["entry"]),
            (&answer["index"], &Json::Bool(true), &answer["entry"])
        );
    }
    assert_eq!(log.size(), before);
    anna.logged(&opening).expect("logged");
    let (second, later) = log.append(&mut anna, &contract("Lease 2026-17")).await;
    let index = later["index"].as_u64().expect("index");

    // The entry is for everybody, the opening is not.
    let record = log.json(&format!("/v1/records/{index}")).await;
    assert_eq!((&record["kind"], &record["opening"]["state"]), (&Json::from("instruction"), &Json::from("restricted")));
    assert_eq!(record["opening"].get("bytes"), None);
    let seen: Json =
        log.get_as_reader(&format!("/v1/records/{index}")).send().await.expect("answer").json().await.expect("JSON");
    assert_eq!(seen["opening"]["state"], "shown");
    assert_eq!(bytes(&seen["opening"]["bytes"]), second);
    assert_eq!(log.json("/v1/records/0").await["opening"]["state"], "public");

    // The receipt, by index and by index key, read by the user's own library.
    let trust = log.trust().await;
    let by_key = format!("/v1/receipts/{}", record["index_key"].as_str().expect("key"));
    for path in [format!("/v1/receipts/{index}"), by_key] {
        let answer = log.get_as_reader(&path).send().await.expect("answer");
        assert_eq!(answer.headers()["solelog-reached"], "integrated");
        let mut receipt: client::receipt::Receipt = answer.json().await.expect("a receipt");
        receipt.document = Some(client::base64::Bytes(contract("Lease 2026-17").to_bytes()));
        let wrong_document = client::verify::verify(&receipt, &trust);
        assert_eq!(wrong_document.verdict, client::verify::Verdict::Failed, "salts differ, so it is another document");
        receipt.document = None;
        let report = client::verify::verify(&receipt, &trust);
        assert_eq!(report.verdict, client::verify::Verdict::Authorised, "{report:?}");
    }
    // What a stranger gets proves inclusion, and spreads nothing.
    let bare: client::receipt::Receipt =
        log.get(&format!("/v1/receipts/{index}")).send().await.expect("answer").json().await.expect("a receipt");
    assert_eq!((bare.opening.is_some(), bare.credential.is_some(), bare.seen.is_some()), (false, false, false));
    assert_eq!(client::verify::verify(&bare, &trust).verdict, client::verify::Verdict::Included);
    let text = log.get(&format!("/v1/receipts/{index}")).header(ACCEPT, "text/plain").send().await.expect("answer");
    assert_eq!(text.headers()[CONTENT_TYPE], "text/plain; charset=utf-8");
    let proof = ProofFile::parse(&text.bytes().await.expect("bytes")).expect("a proof file");
    proof.verify(LeafHash::of(&bytes(&record["entry"])), &trust).expect("it verifies");

    // The device reconciles.
    let state = log.json(&format!("/v1/credentials/{}", anna.id().to_hex())).await;
    assert_eq!(
        (&state["status"], &state["next_sequence"], &state["issued_at"]),
        (&Json::from("active"), &Json::from(2), &Json::from(1))
    );
    assert_eq!(state.get("credential"), None);
    log.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_both_profiles_go_in() {
    let log = Log::start().await;
    let mut bram = log.provider.enrol::<Profile2>("0000", wall_clock_ms()).expect("enrolled");
    log.issue(&bram).await;
    log.append(&mut bram, &activation().expect("document")).await;
    let mut anna = log.active().await;
    log.append(&mut anna, &contract("one")).await;
    let (_, answer) = log.append(&mut bram, &contract("two")).await;
    let receipt = log.get_as_reader(&format!("/v1/receipts/{}", answer["index"])).send().await.expect("answer");
    let receipt: client::receipt::Receipt = receipt.json().await.expect("a receipt");
    let report = client::verify::verify(&receipt, &log.trust().await);
    assert_eq!(report.verdict, client::verify::Verdict::Authorised, "{report:?}");
    log.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_has_one_outcome_for_each_record() {
    let log = Log::start().await;
    let mut batch = Vec::new();
    let mut openings = Vec::new();
    for _ in 0..3 {
        let person = log.issued().await;
        openings.push(log.authorise(&person, &activation().expect("document"), |_| {}).await);
    }
    let mut broken = openings[1].clone();
    *broken.last_mut().expect("bytes") ^= 1;
    let mut binding = scal3::Opening::parse(&openings[1]).expect("an opening");
    *binding.record.last_mut().expect("bytes") ^= 1;
    // Right, broken in a signature, right, an integer, and the first once more.
    for item in [&openings[0][..], &binding.to_bytes(), &openings[2], &[0x01], &openings[0]] {
        batch.extend_from_slice(item);
    }
    let before = log.size();
    let answer = log.post("/v1/records?until=sequenced", "application/cbor-seq", batch).send().await.expect("answer");
    assert_eq!(answer.status(), StatusCode::OK);
    let outcomes: Vec<Json> = answer.json().await.expect("JSON");
    let statuses: Vec<u64> = outcomes.iter().map(|o| o["status"].as_u64().expect("status")).collect();
    assert_eq!(statuses, [201, 422, 201, 400, 200], "{outcomes:?}");
    assert_eq!(outcomes[0]["appended"]["index"], outcomes[4]["appended"]["index"]);
    assert_eq!(outcomes[0]["appended"]["reached"], "sequenced");
    assert_eq!(outcomes[1]["problem"]["check"], "binding");
    assert_eq!(outcomes[3]["problem"]["check"], "parse");
    // Two records, and the two status entries that they caused.
    assert_eq!(log.size(), before + 4);
    log.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_reads_as_c2sp_says() {
    let log = Log::start().await;
    log.active().await;
    log.published().await;
    let checkpoint = log.get("/checkpoint").send().await.expect("answer");
    assert_eq!(checkpoint.headers()[CONTENT_TYPE], "text/plain; charset=utf-8");
    assert_eq!(checkpoint.headers()[CACHE_CONTROL], "no-cache");
    let tag = checkpoint.headers()[ETAG].clone();
    let same = log.get("/checkpoint").header(IF_NONE_MATCH, tag).send().await.expect("answer");
    assert_eq!(same.status(), StatusCode::NOT_MODIFIED);
    let head = log.published().await;
    let width = head.size.get();
    assert!(width < 256, "the test knows one partial tile");

    let tile = log.get(&format!("/tile/0/000.p/{width}")).send().await.expect("answer");
    assert_eq!(tile.headers()[CONTENT_TYPE], "application/octet-stream");
    assert!(tile.headers()[CACHE_CONTROL].to_str().expect("text").contains("immutable"));
    let tile = tile.bytes().await.expect("bytes");
    let part = log.get(&format!("/tile/0/000.p/{width}")).header("range", "bytes=32-63").send().await.expect("answer");
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.headers()["content-range"], format!("bytes 32-63/{}", tile.len()));
    assert_eq!(part.bytes().await.expect("bytes"), tile[32..64]);
    let beyond =
        log.get(&format!("/tile/0/000.p/{width}")).header("range", "bytes=99999-").send().await.expect("answer");
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    let bundle_path = format!("/tile/entries/000.p/{width}");
    let plain = log.get(&bundle_path).send().await.expect("answer");
    assert_eq!(plain.headers().get(CONTENT_ENCODING), None);
    let plain = plain.bytes().await.expect("bytes");
    let leaves: Vec<u8> =
        bundle::parse(&plain).expect("a bundle").into_iter().flat_map(|e| LeafHash::of(e).0).collect();
    assert_eq!(leaves, tile);
    let mut tree = tlog::Frontier::new();
    for entry in bundle::parse(&plain).expect("a bundle") {
        tree.push(LeafHash::of(entry)).expect("small");
    }
    assert_eq!(tree.head(), head);
    let packed = log.get(&bundle_path).header(ACCEPT_ENCODING, "gzip").send().await.expect("answer");
    assert_eq!(packed.headers()[CONTENT_ENCODING], "gzip");
    let packed = packed.bytes().await.expect("bytes");
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).expect("gzip");
    assert_eq!(unpacked, plain);
    // Any narrower width is the beginning of a wider one.
    let narrow = log.get("/tile/0/000.p/1").send().await.expect("answer").bytes().await.expect("bytes");
    assert_eq!(narrow, tile.slice(..32));

    for (path, status) in [
        ("/tile/0/000", 404),
        (&*format!("/tile/0/000.p/{}", width + 1), 404),
        ("/tile/5/000.p/1", 404),
        ("/tile/entries/001.p/1", 404),
        ("/tile/0/x1/000", 400),
        ("/tile/0/1", 400),
        ("/tile/0/000.p/0", 400),
        ("/tile/0/000.p/256", 400),
        ("/tile/64/000", 400),
        ("/tile/entries/000.p/x", 400),
        ("/nothing", 404),
    ] {
        let answer = log.get(path).send().await.expect("answer");
        assert_eq!(answer.status().as_u16(), status, "{path}");
        assert_eq!(answer.headers()[CONTENT_TYPE], "text/plain; charset=utf-8", "{path}");
    }
    let from_elsewhere = log.get(&bundle_path).header(ORIGIN, "https://monitor.example").send().await.expect("answer");
    assert_eq!(from_elsewhere.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
    let head_only = log.client.head(format!("{}/checkpoint", log.url)).send().await.expect("answer");
    assert_eq!(head_only.status(), StatusCode::OK);
    assert_eq!(head_only.bytes().await.expect("bytes").len(), 0);
    log.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proofs_verify_for_every_pair_of_sizes() {
    let log = Log::start().await;
    log.active().await;
    log.active().await;
    let newest = log.head().await.size.get();
    let mut proven = 0;
    for new in 1..=newest {
        for old in 0..=new {
            let answer = log.json(&format!("/v1/proofs/consistency?old={old}&new={new}")).await;
            let (one, two) = (
                TreeHead { size: size(old), root: hash(&answer["old_root"]) },
                TreeHead { size: size(new), root: hash(&answer["new_root"]) },
            );
            ConsistencyProof { hashes: hashes(&answer["hashes"]) }.verify(&one, &two).expect("consistent");
        }
        for index in 0..new {
            let answer = log.json(&format!("/v1/proofs/inclusion?index={index}&size={new}")).await;
            let leaf = LeafHash(hash(&answer["leaf_hash"]).0);
            let head = TreeHead { size: size(new), root: hash(&answer["root"]) };
            InclusionProof { hashes: hashes(&answer["hashes"]) }
                .verify(leaf, LeafIndex::new(index).expect("index"), &head)
                .expect("included");
            proven += 1;
        }
    }
    assert!(proven >= 20, "{proven}");
    assert_eq!(log.json("/v1/proofs/inclusion?index=0").await["size"], newest);
    log.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_revoked_is_refused_by_the_next_request() {
    let log = Log::start().await;
    let person = log.provider.enrol::<Profile1>("1234", wall_clock_ms()).expect("enrolled");
    let send = || log.post("/v1/credentials", "application/cose", person.credential().to_vec()).send();
    assert_eq!(send().await.expect("answer").status(), StatusCode::CREATED);
    assert_eq!(send().await.expect("answer").status(), StatusCode::OK, "the same credential again");
    tokens::revoke(&log.tokens(), "writer").expect("revoked");
    let refused = send().await.expect("answer");
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert!(refused.headers().contains_key("www-authenticate"));
    log.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_has_so_many_requests_open_and_no_more() {
    let log = Log::start_with(|c| c.limits.token_in_flight = 1).await;
    let address = log.url.trim_start_matches("http://").to_owned();
    let head = format!(
        "POST /v1/records HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/cbor\r\nContent-Length: 9\r\n\r\nhell",
        log.append_token
    );
    let begun = async || {
        let mut slow = TcpStream::connect(&address).await.expect("connected");
        slow.write_all(head.as_bytes()).await.expect("sent");
        tokio::time::sleep(Duration::from_millis(50)).await;
        slow
    };
    let mut slow = begun().await;
    // Whichever comes first has the one place. If that was the other, it is the slow one that was refused.
    loop {
        let answer = log.post("/v1/records", "application/cbor", vec![0]).send().await.expect("answer");
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            assert!(answer.headers().contains_key("retry-after"));
            let problem: Json = answer.json().await.expect("JSON");
            assert_eq!(problem["type"], "/problems/quota");
            break;
        }
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        slow = begun().await;
    }
    slow.write_all(b"o log").await.expect("sent");
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !text.contains("/problems/malformed-record") {
        let read = slow.read(&mut buffer).await.expect("read");
        assert!(read > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    let answer = log.post("/v1/records", "application/cbor", vec![0]).send().await.expect("answer");
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "the place is free again");
    log.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_bounded() {
    let log = Log::start_with(|c| {
        c.limits.batch_bytes = 4096;
        c.limits.waiting_bytes = 4096;
    })
    .await;
    let answer = log.post("/v1/records", "application/cbor", vec![0x40; 4097]).send().await.expect("answer");
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key("retry-after"));
    let problem: Json = answer.json().await.expect("JSON");
    assert_eq!(problem["type"], "/problems/busy");
    let answer = log.post("/v1/records", "application/cbor", vec![0x40; 4096]).send().await.expect("answer");
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "what fits exactly is read, and judged");
    log.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_slow_is_cut_off() {
    let log = Log::start_with(|c| {
        c.http.header_timeout_ms = 100;
        c.http.body_timeout_ms = 100;
    })
    .await;
    let address = log.url.trim_start_matches("http://").to_owned();
    for beginning in ["", "P", "GET /checkpoint HTTP/1.1\r\nHost: x\r\n"] {
        let mut peer = TcpStream::connect(&address).await.expect("connected");
        peer.write_all(beginning.as_bytes()).await.expect("sent");
        let mut rest = Vec::new();
        // The server ends the connection; nothing here does.
        let _ = peer.read_to_end(&mut rest).await;
        assert!(!String::from_utf8_lossy(&rest).contains("200 OK"), "{beginning:?}");
    }
    let mut peer = TcpStream::connect(&address).await.expect("connected");
    let head = format!(
        "POST /v1/records HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/cbor\r\nContent-Length: 9\r\n\r\nhell",
        log.append_token
    );
    peer.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    let _ = peer.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("/problems/slow-body"), "{answer}");
    log.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_open_requests_finish() {
    let log = Log::start().await;
    let person = log.issued().await;
    let opening = log.authorise(&person, &activation().expect("document"), |_| {}).await;
    let (address, token) = (log.url.trim_start_matches("http://").to_owned(), log.append_token.clone());
    let mut peer = TcpStream::connect(&address).await.expect("connected");
    // The head says that more is to come, and the answer to `Expect` says that the server is waiting for it.
    let head = format!(
        "POST /v1/records HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nAuthorization: Bearer {token}\r\nContent-Type: application/cbor\r\nContent-Length: {}\r\n\r\n",
        opening.len()
    );
    peer.write_all(head.as_bytes()).await.expect("sent");
    let mut buffer = [0; 64];
    let read = peer.read(&mut buffer).await.expect("read");
    assert!(buffer[..read].starts_with(b"HTTP/1.1 100 "), "{}", String::from_utf8_lossy(&buffer[..read]));
    let (ended, _folder) = log.stopping();
    peer.write_all(&opening).await.expect("sent");
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).await.expect("read");
    assert!(String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 201 "), "{}", String::from_utf8_lossy(&answer));
    ended.await.expect("the server ends");
    assert!(TcpStream::connect(&address).await.is_err(), "nobody listens any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_is_spoken_without_tls_too() {
    let log = Log::start().await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().expect("client");
    let answer = client.get(format!("{}/v1/log", log.url)).send().await.expect("answer");
    assert_eq!(answer.version(), reqwest::Version::HTTP_2);
    assert_eq!(answer.status(), StatusCode::OK);
    log.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn openings_are_for_everybody_where_the_operator_says_so() {
    let log = Log::start_with(|c| c.evidence.access = solelog::config::Access::Public).await;
    let mut anna = log.active().await;
    let (opening, answer) = log.append(&mut anna, &contract("public")).await;
    let record = log.json(&format!("/v1/records/{}", answer["index"])).await;
    assert_eq!(bytes(&record["opening"]["bytes"]), opening);
    log.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_how_the_log_is() {
    let log = Log::start().await;
    let person = log.active().await;
    let tampered = {
        let mut opening =
            scal3::Opening::parse(&log.authorise(&person, &contract("x"), |_| {}).await).expect("an opening");
        *opening.record.last_mut().expect("bytes") ^= 1;
        opening.to_bytes()
    };
    log.post("/v1/records", "application/cbor", tampered).send().await.expect("answer");
    assert_eq!(log.get("/livez").send().await.expect("answer").status(), StatusCode::OK);
    log.published().await;
    let ready = log.json("/readyz").await;
    assert_eq!(ready["ready"], true, "{ready}");
    let metrics = log.get("/metrics").send().await.expect("answer");
    assert!(metrics.headers()[CONTENT_TYPE].to_str().expect("text").starts_with("text/plain; version=0.0.4"));
    let metrics = metrics.text().await.expect("text");
    for expected in [
        "solelog_appends_total{outcome=\"new\"} 2",
        "solelog_appends_total{outcome=\"binding\"} 1",
        "solelog_tree_size{head=\"integrated\"} 4",
        "solelog_tree_size{head=\"published\"} 4",
        "solelog_http_requests_total{code=\"422\",method=\"POST\",route=\"/v1/records\"} 1",
        "solelog_append_seconds_count{reached=\"integrated\"} 2",
        "solelog_head_age_seconds{head=\"published\"}",
        "solelog_waiting_bytes 0",
        "solelog_http_connections",
        "solelog_round_entries_count",
        "solelog_round_seconds_count",
        "solelog_record_verify_seconds_count",
        "process_resident_memory_bytes",
    ] {
        assert!(metrics.contains(expected), "{expected} is not in\n{metrics}");
    }
    assert!(
        !metrics.contains("route=\"/v1/records/1\""),
        "a label for each address would fill the memory of Prometheus"
    );
    // A token file that can't be read is not ready, and says so.
    std::fs::write(log.tokens(), "not JSON").expect("written");
    let answer = log.get("/readyz").send().await.expect("answer");
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    let ready: Json = answer.json().await.expect("JSON");
    assert_ne!(ready["checks"]["tokens"], "ok");
    let answer = log
        .get("/v1/records/1")
        .header(AUTHORIZATION, format!("Bearer {}", log.read_token))
        .send()
        .await
        .expect("answer");
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR, "nobody gets in");
    let problem: Json = answer.json().await.expect("JSON");
    assert!(problem["error_id"].is_string() && problem.get("detail").is_none(), "{problem}");
    log.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_interface_describes_itself() {
    let log = Log::start().await;
    let api = log.json("/openapi.json").await;
    assert!(api["openapi"].as_str().expect("version").starts_with("3.1"));
    let paths: Vec<&str> = api["paths"].as_object().expect("paths").keys().map(String::as_str).collect();
    for expected in [
        "/checkpoint",
        "/tile/{path}",
        "/v1/records",
        "/v1/records/{index}",
        "/v1/receipts/{at}",
        "/v1/proofs/inclusion",
        "/v1/proofs/consistency",
        "/v1/log",
        "/v1/credentials",
        "/v1/credentials/{id}",
        "/livez",
        "/readyz",
    ] {
        assert!(paths.contains(&expected), "{expected} is not in {paths:?}");
    }
    let kept = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/openapi.json");
    if std::env::var_os("SOLELOG_UPDATE").is_some() {
        let text = log.get("/openapi.json").send().await.expect("answer").text().await.expect("text");
        std::fs::write(&kept, text + "\n").expect("written");
    }
    let kept: Json = serde_json::from_slice(&std::fs::read(kept).expect("schemas/openapi.json")).expect("JSON");
    assert!(
        kept == api,
        "the interface has changed; look at the change, then: SOLELOG_UPDATE=1 cargo test -p solelog --test http describes"
    );
    assert_eq!(api["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    assert_eq!(api["paths"]["/v1/records"]["post"]["security"][0]["token"], Json::Array(Vec::new()));
    // Every reference leads somewhere.
    let text = api.to_string();
    let mut references = 0;
    for reference in text.split("\"$ref\":\"#").skip(1) {
        let pointer = reference.split('"').next().expect("a reference");
        assert!(api.pointer(pointer).is_some(), "{pointer}");
        references += 1;
    }
    assert!(references > 10, "{references}");

    // The page loads nothing from anywhere else.
    for path in ["/docs", "/docs/app.js", "/docs/style.css"] {
        let answer = log.get(path).send().await.expect("answer");
        assert_eq!(answer.status(), StatusCode::OK);
        let policy = answer.headers()["content-security-policy"].to_str().expect("text").to_owned();
        assert!(policy.starts_with("default-src 'self'") && !policy.contains("unsafe"), "{policy}");
        let text = answer.text().await.expect("text");
        assert!(
            !text.contains("http://") && !text.contains("https://") && !text.contains("\"//"),
            "{path} names another place"
        );
        assert!(
            !text.contains("onclick=") && !text.contains("style=\"") && !text.contains("<script>"),
            "{path} has markup that its own policy forbids"
        );
    }
    // Every type of problem leads to a page.
    for slug in client::provider::SLUGS {
        assert!(KINDS.iter().any(|kind| kind.slug == *slug), "the device's library knows {slug}, which nobody sends");
    }
    for kind in KINDS {
        let answer = log.get(&format!("/problems/{}", kind.slug)).send().await.expect("answer");
        assert_eq!(answer.status(), StatusCode::OK, "{}", kind.slug);
        let text = answer.text().await.expect("text");
        assert!(text.contains(kind.title) && text.contains("What to do"), "{}", kind.slug);
    }
    let described = log.json("/v1/log").await;
    assert_eq!(described["origin"], common::ORIGIN);
    assert_eq!(described["limits"]["opening_bytes"], 262_144);
    log.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_heads_are_told_as_they_are_published_and_the_stream_ends_with_the_server() {
    let log = Log::start().await;
    let mut listening = log.get("/v1/events").send().await.expect("answer");
    assert_eq!(listening.headers()["content-type"], "text/event-stream");
    let first = next_event(&mut listening).await.expect("the head that is published now");
    let head = log.published().await;
    assert_eq!((&first["size"], first["root"].as_str()), (&Json::from(1), Some(head.root.to_base64().as_str())));

    let credential = log.provider.enrol::<Profile1>("1234", wall_clock_ms()).expect("enrolled").credential().to_vec();
    let issued = log.post("/v1/credentials", "application/cose", credential).send().await.expect("answer");
    assert_eq!(issued.status(), StatusCode::CREATED);
    let second = next_event(&mut listening).await.expect("the next head");
    assert_eq!(second["size"], 2);
    let checkpoint = log.get("/checkpoint").send().await.expect("answer").text().await.expect("text");
    assert_eq!(second["checkpoint"].as_str(), Some(checkpoint.as_str()));

    // Whoever has it already is told nothing until there is another.
    let mut again = log.get("/v1/events").header("last-event-id", "2").send().await.expect("answer");
    let silence = tokio::time::timeout(Duration::from_millis(200), next_event(&mut again)).await;
    assert!(silence.is_err(), "{silence:?}");
    let ended = tokio::spawn(async move { next_event(&mut again).await });
    log.stop().await;
    assert_eq!(ended.await.expect("no panic"), None);
    assert_eq!(next_event(&mut listening).await, None);
}

/// The data of the next event; nothing at the end of the stream.
async fn next_event(stream: &mut reqwest::Response) -> Option<Json> {
    let mut text = String::new();
    loop {
        if let Some(end) = text.find("\n\n") {
            let event: Vec<&str> = text[..end].lines().collect();
            assert!(event.contains(&"event: checkpoint"), "{event:?}");
            let data = event.iter().find_map(|line| line.strip_prefix("data: ")).expect("data");
            return Some(serde_json::from_str(data).expect("JSON"));
        }
        text += std::str::from_utf8(&stream.chunk().await.ok()??).expect("text");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_comes_as_cose_too_and_verifies_with_the_logs_key() {
    let log = Log::start().await;
    let credential = log.provider.enrol::<Profile1>("1234", wall_clock_ms()).expect("enrolled").credential().to_vec();
    log.post("/v1/credentials", "application/cose", credential).send().await.expect("answer");
    let head = log.published().await;
    let vkey = log.json("/v1/log").await["vkey"].as_str().and_then(|vkey| Vkey::parse(vkey).ok()).expect("vkey");
    let answer = log.get("/v1/receipts/1").header("accept", "application/cose").send().await.expect("answer");
    assert_eq!(answer.headers()["content-type"], "application/cose");
    let receipt = CoseReceipt::parse(&answer.bytes().await.expect("bytes")).expect("a receipt");
    let bundle = log.get("/tile/entries/000.p/2").send().await.expect("answer").bytes().await.expect("bytes");
    let entries = tlog::bundle::parse(&bundle).expect("entries");
    let key = scal3::cose::Key::EdDsa(vkey.public_key().try_into().expect("32 bytes"));
    assert_eq!(receipt.verify(LeafHash::of(entries[1]), common::ORIGIN, &key), Ok(head.root));
    assert!(receipt.verify(LeafHash::of(entries[0]), common::ORIGIN, &key).is_err());
    assert_eq!((receipt.index.get(), receipt.size), (1, head.size));
}
