//! Execution over a real log: what is published is done once and logged, and nothing else is done at all.

mod device;
mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64ct::{Base64, Base64UrlUnpadded, Encoding as _};
use device::*;
use p256::ecdsa::signature::Verifier as _;
use p256::ecdsa::{Signature, VerifyingKey};
use reqwest::StatusCode;
use scal3::instruction::{Presented, Value};
use scal3::opening::OtherOpening;
use scal3::outcome::{BLOCKED, EXECUTED, Outcome};
use scal3::{Document, Entry, Field, Hash, Kind, tagged};
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};
use solelog::authority::authorise::Answer;
use solelog::authority::intent::Who;
use solelog::authority::{Authority, Settings};
use solelog::config::Config;
use solelog::engine::Engine;
use solelog::execution::{
    DocumentSigner, Done, ExecuteError, Execution, Executor, Published, Refused, Settled, UnpublishedError,
};
use solelog::http::App;
use solelog::keys::KeyStore;
use solelog::openings::Shown;
use solelog::submission::{AppendError, Appended, ErasureRefusal, Until};
use solelog::tokens::{self, Scope};
use support::*;
use threshold::Profile1;
use tlog::LeafIndex;
use tlog::key::KeyName;
use tlog::policy::Policy;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use witness::{TrustedLog, Witness};

const PIN: &str = "12345";

/// An instruction to sign a document, with these fields beside its digest.
fn contract(more: &[(&str, Value)]) -> Document {
    let digest = ("payload_digest", Value::Bytes(Sha256::digest(b"a contract").to_vec()));
    with_fields("document.sign", std::iter::once(&digest).chain(more))
}

fn with_fields<'a>(class: &str, fields: impl IntoIterator<Item = &'a (&'a str, Value)>) -> Document {
    let field = |(name, value): &(&str, Value)| {
        let salt = tagged("test/field", name.as_bytes()).0[..16].try_into().expect("16 bytes");
        Field { salt, name: (*name).to_owned(), value: value.clone() }
    };
    Document { class: class.to_owned(), fields: fields.into_iter().map(field).collect() }
}

/// An executor that counts, and does what the test says.
struct Counting {
    class: &'static str,
    calls: AtomicUsize,
    answer: Mutex<Result<Done, Refused>>,
    /// Shut down in the middle, as a machine that stops between executing and logging.
    stops: Mutex<Option<Engine>>,
}

impl Counting {
    fn new(class: &'static str) -> Arc<Counting> {
        let answer = Mutex::new(Ok(Done { result: Some(b"done".to_vec()) }));
        Arc::new(Counting { class, calls: AtomicUsize::new(0), answer, stops: Mutex::default() })
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Executor for Counting {
    fn class(&self) -> &str {
        self.class
    }

    fn execute(&self, _: Published) -> Result<Done, Refused> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if let Some(engine) = self.stops.lock().unwrap().take() {
            tokio::runtime::Handle::current().block_on(engine.shutdown());
        }
        self.answer.lock().unwrap().clone()
    }
}

fn signing(house: &House, authority: Authority) -> Authority {
    let keys: Arc<dyn KeyStore> = Arc::clone(&house.keys) as Arc<dyn KeyStore>;
    let origin = authority.engine().standing().origin().to_owned();
    let signer: Arc<dyn Executor> = Arc::new(DocumentSigner::new(keys, &origin).expect("a document key"));
    authority.with_execution(Execution::new([signer]))
}

fn counting(authority: Authority, executor: &Arc<Counting>) -> Authority {
    authority.with_execution(Execution::new([Arc::clone(executor) as Arc<dyn Executor>]))
}

/// An answer to a challenge for that instruction, of which the chosen fields are shown.
async fn answer(
    device: &Device<Profile1>,
    authority: &Authority,
    rig: &Rig,
    document: &Document,
    show: impl FnMut(&str) -> bool,
) -> (Hash, Answer) {
    let presented = Presented::of(document, show);
    let intent = authority.intent(device.id, presented.to_bytes(), Who::Provider).await.expect("a challenge");
    let metadata = device.metadata(authority, &intent, rig.clock.load(Ordering::SeqCst));
    (metadata.challenge, device.answer(&metadata, &intent, document, PIN))
}

/// Authorises, and goes on behind the record.
async fn authorise(
    device: &mut Device<Profile1>,
    authority: &Authority,
    rig: &Rig,
    document: &Document,
    show: impl FnMut(&str) -> bool,
) -> (Appended, Option<Settled>) {
    let (challenge, answer) = answer(device, authority, rig, document, show).await;
    let metadata = scal3::Metadata::parse(&answer.metadata).expect("metadata");
    let done = authority.authorise_and_execute(challenge, answer).await.expect("authorised");
    device.logged(authority, &metadata);
    done
}

async fn active(authority: &Authority, rig: &Rig) -> Device<Profile1> {
    let mut device = Device::<Profile1>::enrol(authority, PIN).await;
    device.activate(authority, rig, PIN).await;
    device
}

/// Waits until the published checkpoint covers it.
async fn published(engine: &Engine, index: LeafIndex) {
    let mut state = engine.subscribe();
    state.wait_for(|s| s.heads.publishes(index).is_some()).await.expect("the log lives");
}

/// Every outcome in the log.
fn outcomes(engine: &Engine) -> Vec<(LeafIndex, Outcome)> {
    let mut found = Vec::new();
    for index in 1..engine.heads().integrated.head.size.get() {
        let entry = Entry::parse(&engine.entry(at(index)).unwrap()).unwrap();
        if entry.kind == Kind::Outcome
            && let Shown::Open(opening) = engine.opening(at(index)).unwrap()
        {
            found.push((at(index), Outcome::from_body(OtherOpening::parse(&opening).unwrap().body).unwrap()));
        }
    }
    found
}

/// A JWS that verifies under the document key: its header and its payload.
fn verified(jws: &[u8], key: &[u8; 33]) -> (Json, Json) {
    let text = std::str::from_utf8(jws).expect("ASCII");
    let (signed, signature) = text.rsplit_once('.').expect("three parts");
    let (header, payload) = signed.split_once('.').expect("three parts");
    let decode = |part| Base64UrlUnpadded::decode_vec(part).expect("base64url");
    let key = VerifyingKey::from_sec1_bytes(key).expect("a key");
    key.verify(signed.as_bytes(), &Signature::from_slice(&decode(signature)).expect("r, s")).expect("it verifies");
    let json = |part| serde_json::from_slice(&decode(part)).expect("JSON");
    (json(header), json(payload))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_is_signed_and_the_log_has_the_signature() {
    let house = House::new(Rig::new());
    let authority = signing(&house, house.open().await);
    let engine = authority.engine();
    let mut device = active(&authority, &house.rig).await;
    let document = contract(&[("title", Value::Text("Lease".into())), ("digest_alg", Value::Text("sha-256".into()))]);
    let (appended, settled) = authorise(&mut device, &authority, &house.rig, &document, |_| true).await;
    let settled = settled.expect("published in time");
    assert_eq!((settled.name.as_str(), settled.instruction_id), (EXECUTED, document.id()));
    assert!(settled.index > appended.index);

    let key = house.keys.document_key().expect("a document key");
    let jws = settled.result.clone().expect("a signature");
    let (header, payload) = verified(&jws, &key);
    let digest = Base64UrlUnpadded::encode_string(&Sha256::digest(b"a contract"));
    let origin = engine.standing().origin();
    assert_eq!(
        payload,
        json!({ "digest": digest, "digest_alg": "sha-256", "origin": origin, "index": appended.index.get(),
            "instruction_id": document.id().to_hex() }),
        "and nothing about the person"
    );
    // RFC 7638: the members of an EC key, in this order, without white space.
    let point = VerifyingKey::from_sec1_bytes(&key).unwrap().to_sec1_point(false);
    let part = |bytes: &[u8]| Base64UrlUnpadded::encode_string(bytes);
    let (x, y) = (part(&point.as_bytes()[1..33]), part(&point.as_bytes()[33..]));
    let jwk = format!("{{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"{x}\",\"y\":\"{y}\"}}");
    let kid = Base64UrlUnpadded::encode_string(&Sha256::digest(jwk.as_bytes()));
    assert_eq!(header, json!({ "alg": "ES256", "kid": kid, "typ": "solelog-document" }));

    let [(index, outcome)] = &outcomes(engine)[..] else { panic!("one outcome") };
    assert_eq!((*index, &outcome.name[..], outcome.stream.credential), (settled.index, EXECUTED, device.id));
    assert_eq!(outcome.detail.as_ref(), Some(&jws));
    assert_eq!(engine.outcome(&outcome.about.expect("an authorisation")).unwrap(), Some(settled.index));
    let again = authority.execute(appended.index).await.expect("told again");
    assert!(again == settled, "the same outcome");
    assert_eq!(outcomes(engine).len(), 1);
    fold(engine);
    engine.shutdown().await;
    house.rig.fsck();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_hidden_or_is_no_digest_is_blocked_once_and_for_all() {
    let house = House::new(Rig::new());
    let authority = signing(&house, house.open().await);
    let mut device = active(&authority, &house.rig).await;
    let title = ("title", Value::Text("Lease".into()));
    let other = |name, value| with_fields("document.sign", [&(name, value)]);
    type Show = fn(&str) -> bool;
    let cases: [(Document, Show, &str); 5] = [
        (contract(std::slice::from_ref(&title)), |name| name != "title", "hidden"),
        (contract(&[]), |_| false, "hidden"),
        (contract(&[("digest_alg", Value::Text("sha-512".into()))]), |_| true, "digest_alg"),
        (other("payload_digest", Value::Bytes(vec![7; 64])), |_| true, "32 bytes"),
        (other("digest", Value::Bytes(vec![7; 32])), |_| true, "no payload_digest"),
    ];
    let mut blocked = Vec::new();
    for (document, show, reason) in cases {
        let (appended, settled) = authorise(&mut device, &authority, &house.rig, &document, show).await;
        let settled = settled.expect("an outcome");
        assert_eq!((settled.name.as_str(), settled.result.as_ref()), (BLOCKED, None));
        assert!(settled.reason.as_ref().expect("a reason").contains(reason), "{:?}", settled.reason);
        blocked.push((appended.index, settled));
    }
    for (index, settled) in &blocked {
        assert!(authority.execute(*index).await.expect("told again") == *settled);
    }
    assert_eq!(outcomes(authority.engine()).len(), blocked.len(), "one each");
    authority.engine().shutdown().await;
    drop(authority);

    // A view that is made again knows of them, too.
    solelog::recovery::rebuild(&house.rig.config(), &mut |_, _| {}).unwrap();
    let authority = signing(&house, house.open().await);
    for (index, settled) in &blocked {
        assert!(authority.execute(*index).await.expect("told again") == *settled);
    }
    assert_eq!(outcomes(authority.engine()).len(), blocked.len());
    fold(authority.engine());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_who_ask_at_once_get_one_outcome() {
    let house = House::new(Rig::new());
    let executor = Counting::new("test.count");
    let authority = counting(house.open().await, &executor);
    let mut device = active(&authority, &house.rig).await;
    let document = document("test.count", "n", Value::Uint(1));
    let (challenge, mut answer) = answer(&device, &authority, &house.rig, &document, |_| true).await;
    answer.until = Until::Sequenced;
    let metadata = scal3::Metadata::parse(&answer.metadata).unwrap();
    let (appended, settled) = authority.authorise_and_execute(challenge, answer).await.unwrap();
    assert!(settled.is_none() && executor.calls() == 0, "whoever does not wait is not kept waiting");
    device.logged(&authority, &metadata);
    published(authority.engine(), appended.index).await;

    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let (authority, index) = (authority.clone(), appended.index);
        tasks.spawn(async move { authority.execute(index).await.expect("an outcome").index });
    }
    let answers = tasks.join_all().await;
    assert_eq!(executor.calls(), 1);
    assert!(answers.iter().all(|index| *index == answers[0]), "{answers:?}");
    assert_eq!(outcomes(authority.engine()).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_an_instruction_of_an_executors_class_is_executed() {
    let house = House::new(Rig::new());
    let executor = Counting::new("payment");
    let authority = counting(house.open().await, &executor);
    let engine = authority.engine().clone();
    let mut device = Device::<Profile1>::enrol(&authority, PIN).await;
    let activation = device.activate(&authority, &house.rig, PIN).await;
    published(&engine, activation.index).await;
    assert!(matches!(authority.execute(activation.index).await, Err(ExecuteError::Class)));
    let (appended, settled) = authorise(&mut device, &authority, &house.rig, &contract(&[]), |_| true).await;
    assert!(settled.is_none());
    published(&engine, appended.index).await;
    assert!(matches!(authority.execute(appended.index).await, Err(ExecuteError::Class)));
    let genesis = authority.execute(at(0)).await;
    assert!(matches!(genesis, Err(ExecuteError::Unpublished(UnpublishedError::NoInstruction))));
    let beyond = authority.execute(at(1 << 40)).await;
    assert!(matches!(beyond, Err(ExecuteError::Unpublished(UnpublishedError::Read(_)))));

    // An executor that can't now is asked again, and nothing is logged meanwhile.
    let payment = document("payment", "amount", Value::Uint(1));
    let payment = Document {
        fields: payment.fields.into_iter().chain(document("", "currency", Value::Text("EUR".into())).fields).collect(),
        ..payment
    };
    *executor.answer.lock().unwrap() = Err(Refused::NotNow("the bank is closed".into()));
    let (appended, settled) = authorise(&mut device, &authority, &house.rig, &payment, |_| true).await;
    assert!(settled.is_none());
    assert!(matches!(authority.execute(appended.index).await, Err(ExecuteError::NotNow(_))));
    assert!(outcomes(&engine).is_empty());
    *executor.answer.lock().unwrap() = Ok(Done { result: None });
    assert_eq!(authority.execute(appended.index).await.expect("it is open").name, EXECUTED);
    assert_eq!(executor.calls(), 3);

    // Its outcome is what keeps it from being executed again, and can't be erased.
    let [(index, _)] = outcomes(&engine)[..] else { panic!("one outcome") };
    let erase = |index| solelog::submission::Submission::Erasure { index, reason: "asked for".into() };
    let refused = engine.append(erase(index), Until::Integrated).await;
    assert!(matches!(refused, Err(AppendError::Erasure(ErasureRefusal::Executed))));
    engine.append(erase(appended.index), Until::Integrated).await.expect("erased");
    let erased = authority.execute(appended.index).await;
    assert!(matches!(erased, Err(ExecuteError::Unpublished(UnpublishedError::Erased))));
    assert_eq!(executor.calls(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_logged_for_its_subscriber_is_not_executed() {
    let rig = Rig::new();
    let engine = rig.start().await;
    let person = support::active(&engine, &rig, "ada").await;
    let payment = send(&engine, draft(&engine, &rig, &person).opening()).await.expect("logged");
    published(&engine, payment.index).await;
    let keys = Arc::new(solelog::keys::SoftKeys::generate().unwrap());
    let house = House { rig, keys, settings: Settings::default() };
    let executor = Counting::new("payment");
    let authority = counting(house.over(engine), &executor);
    let refused = authority.execute(payment.index).await;
    assert!(matches!(refused, Err(ExecuteError::NotKept)));
    assert_eq!(executor.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_stops_between_executing_and_logging_logs_one_outcome() {
    let house = House::new(Rig::new());
    let executor = Counting::new("test.count");
    let authority = counting(house.open().await, &executor);
    let device = active(&authority, &house.rig).await;
    *executor.stops.lock().unwrap() = Some(authority.engine().clone());
    let document = document("test.count", "n", Value::Uint(1));
    let (challenge, answer) = answer(&device, &authority, &house.rig, &document, |_| true).await;
    let (appended, settled) = authority.authorise_and_execute(challenge, answer).await.expect("it is in the log");
    assert!(settled.is_none() && executor.calls() == 1, "it was done, and is not logged");
    drop(authority);

    let authority = counting(house.open().await, &executor);
    assert!(outcomes(authority.engine()).is_empty());
    let settled = authority.execute(appended.index).await.expect("executed again");
    assert_eq!(executor.calls(), 2);
    authority.engine().shutdown().await;
    drop(authority);

    for rebuilt in [false, true] {
        if rebuilt {
            solelog::recovery::rebuild(&house.rig.config(), &mut |_, _| {}).unwrap();
        }
        let authority = counting(house.open().await, &executor);
        assert!(authority.execute(appended.index).await.expect("told again") == settled);
        assert_eq!((executor.calls(), outcomes(authority.engine()).len()), (2, 1));
        authority.engine().shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_witness_nothing_is_executed() {
    let house = House::new(Rig::new());
    let dir = house.rig.beside("witness");
    let mut config = house.rig.config();
    let log = TrustedLog::from_vkey(&config.signers.vkey().to_string()).unwrap();
    witness::set_up(&dir, Some(&KeyName::new("witness.example/w").unwrap()), None, &[log]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let run = |listener| {
        let witness = Arc::new(Witness::open(&dir).unwrap());
        let vkey = witness.vkey().to_string();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let until = async { drop(stopped.await) };
            witness::serve(witness, listener, until).await.unwrap();
        });
        (vkey, stop, task)
    };
    let (vkey, stop, task) = run(listener);
    let text = format!("log {}\nwitness w {vkey} http://{address}\nquorum w\n", config.signers.vkey());
    config.witnesses = Some(Policy::parse(text).unwrap());
    config.pace.witness_timeout = Duration::from_millis(500);
    config.pace.patience = Duration::from_secs(3);
    let executor = Counting::new("test.count");
    let authority = counting(house.over(Engine::open(config).await.unwrap()), &executor);
    let mut device = active(&authority, &house.rig).await;
    let document = |n| document("test.count", "n", Value::Uint(n));
    let (_, settled) = authorise(&mut device, &authority, &house.rig, &document(1), |_| true).await;
    assert_eq!((settled.expect("cosigned").name.as_str(), executor.calls()), (EXECUTED, 1));

    drop(stop);
    task.await.unwrap();
    let (appended, settled) = authorise(&mut device, &authority, &house.rig, &document(2), |_| true).await;
    assert!(settled.is_none());
    assert!(authority.engine().heads().integrates(appended.index).is_some(), "the log itself has signed it");
    let refused = authority.execute(appended.index).await;
    assert!(matches!(refused, Err(ExecuteError::Unpublished(UnpublishedError::NotPublished))));
    assert_eq!((executor.calls(), outcomes(authority.engine()).len()), (1, 1));

    let (_, _stop, _task) = run(TcpListener::bind(address).await.unwrap());
    let mut state = authority.engine().subscribe();
    let back = state.wait_for(|s| s.heads.witnesses(appended.index).is_some());
    tokio::time::timeout(Duration::from_secs(60), back).await.unwrap().unwrap();
    assert_eq!(authority.execute(appended.index).await.expect("cosigned now").name, EXECUTED);
    assert_eq!(executor.calls(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn r0_09_over_http_the_answer_has_the_outcome_and_its_owner_may_ask_again() {
    let house = House::new(Rig::new());
    let authority = signing(&house, house.open().await);
    let config = Config { data: house.rig.beside("data"), ..Config::default() };
    std::fs::create_dir(&config.data).unwrap();
    let now = solelog::engine::wall_clock_ms();
    let (_, token) = tokens::create(&config.tokens(), "backend", &[Scope::Authorise], now, None).unwrap();
    let (_, other) = tokens::create(&config.tokens(), "reader", &[Scope::Read], now, None).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = App::with_authority(authority.clone(), config, None);
    tokio::spawn(async move { app.serve(listener, std::future::pending()).await });

    let mut device = Device::<Profile1>::enrol(&authority, PIN).await;
    let activation = device.activate(&authority, &house.rig, PIN).await;
    let (client, document) = (reqwest::Client::new(), contract(&[]));
    let (challenge, answer) = answer(&device, &authority, &house.rig, &document, |_| true).await;
    let body = json!({ "metadata": Base64::encode_string(&answer.metadata), "pass": Base64::encode_string(&answer.pass), "evidence": [] });
    let path = format!("{url}/v1/intents/{}/authorise", challenge.to_hex());
    let answer = client.post(path).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    let answer: Json = answer.json().await.unwrap();
    let outcome = &answer["outcome"];
    assert_eq!((&outcome["name"], &outcome["about"]), (&json!("executed"), &json!(document.id().to_hex())));
    let jws = Base64::decode_vec(outcome["result"].as_str().expect("a result")).unwrap();
    verified(&jws, &house.keys.document_key().unwrap());

    let execute = async |index: &Json, authorization: Option<String>| {
        let mut request = client.post(format!("{url}/v1/records/{index}/execute"));
        if let Some(authorization) = authorization {
            request = request.header("Authorization", authorization);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Json>().await.unwrap())
    };
    let key_of = |entry: &[u8]| Entry::parse(entry).unwrap().index_key.unwrap();
    let own =
        |entry: &[u8]| format!("SolelogRead {}", hex::encode(device.labels().read_token(&key_of(entry)).expose()));
    let entry = Base64::decode_vec(answer["record"]["entry"].as_str().unwrap()).unwrap();
    let index = &answer["record"]["index"];
    for authorization in [format!("Bearer {}", &*token), own(&entry)] {
        let (status, again) = execute(index, Some(authorization)).await;
        assert_eq!((status, &again["outcome"]), (200, outcome));
    }
    let refused = async |index: &Json, authorization| {
        let (status, problem) = execute(index, authorization).await;
        (status, problem["type"].as_str().unwrap().trim_start_matches("/problems/").to_owned())
    };
    assert_eq!(refused(index, None).await, (401, "token-missing".into()));
    assert_eq!(refused(index, Some(format!("Bearer {}", &*other))).await, (403, "token-scope".into()));
    assert_eq!(refused(index, Some(own(&activation.entry))).await, (403, "read-refused".into()));
    let bearer = || Some(format!("Bearer {}", &*token));
    let first = json!(activation.index.get());
    assert_eq!(refused(&first, Some(own(&activation.entry))).await, (422, "not-executable".into()));
    assert_eq!(refused(&json!(0), bearer()).await, (422, "not-executable".into()));
    assert_eq!(refused(&json!(1_u64 << 40), bearer()).await, (404, "beyond-the-tree".into()));
    assert_eq!(outcomes(authority.engine()).len(), 1);
}
