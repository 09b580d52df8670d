//! What one authorisation costs, both sides of it and the loopback between them, as a multiple of its P-256 operations.
//!
//! ```text
//! taskset -c 0 cargo bench --bench authorise            one core for the device, the server and the disk
//! cargo bench --bench authorise -- 500                  so many authorisations
//! ```
//!
//! The floor is counted, not guessed: [`OPERATIONS`] lists every group operation that the protocol asks of both sides, and each
//! kind is measured in the same run with the same library.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding as _};
use p256::ecdsa::signature::{Signer as _, Verifier as _};
use p256::ecdsa::{Signature, SigningKey};
use p256::elliptic_curve::Group as _;
use p256::{ProjectivePoint, Scalar};
use scal3::genesis::Genesis;
use scal3::index_key::{LabelSecret, Stream};
use scal3::instruction::{CLASS_ACTIVATE, Presented, Value};
use scal3::{Document, Field, Hash, Metadata, request};
use serde_json::{Value as Json, json};
use solelog::authority::{Authority, Settings};
use solelog::config::Config;
use solelog::engine::{self, Engine, wall_clock_ms};
use solelog::http::App;
use solelog::keys::{KeyStore as _, SoftKeys};
use solelog::tokens::{self, Scope};
use threshold::{
    Commitment, DeviceSecret, Enrolling, Enrolment, Idle, KemPublicKey, Operation, Pin, Profile1, Session, deal,
};
use tlog::checkpoint::Checkpoint;
use tlog::key::{KeyName, Signer};
use tlog::note::Note;

const ORIGIN: &str = "bench.example/authorise";
const POLICY: &[u8] = b"{\"version\":1,\"rules\":[]}";

/// One authorisation of profile 1: what it asks for, how often, and of whom.
const OPERATIONS: &[(Kind, usize, &str)] = &[
    (Kind::Sign, 1, "device: the request for the challenge"),
    (Kind::Verify, 1, "server: that request"),
    (Kind::Base, 2, "server: D1, E1, when the challenge is opened"),
    (Kind::Base, 3, "device: D2, E2, the one-time key"),
    (Kind::Variable, 2, "device: rho1 E1, rho2 E2 in R"),
    (Kind::Base, 1, "device: the encapsulated key of the seal"),
    (Kind::Variable, 1, "device: its agreement"),
    (Kind::Sign, 2, "device: the device signature, the binding signature"),
    (Kind::Variable, 2, "server: rho1 E1, rho2 E2 in R"),
    (Kind::Verify, 2, "server: binding, device"),
    (Kind::Base, 1, "server: the key of the enrolment"),
    (Kind::Variable, 2, "server: two agreements"),
    (Kind::Base, 1, "server: its share against the commitments"),
    (Kind::Base, 2, "server: D1, E1 again, when the nonces are taken"),
    (Kind::Base, 1, "server: z2 G"),
    (Kind::Variable, 2, "server: rho2 E2 and c S2, which it must be"),
    (Kind::Base, 1, "server: z G, the whole signature looked at"),
    (Kind::Variable, 1, "server: c PK"),
    (Kind::Verify, 2, "server: binding, device, as a stranger's"),
    (Kind::Base, 1, "server: z G, as a stranger's"),
    (Kind::Variable, 1, "server: c PK, as a stranger's"),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Base,
    Variable,
    Sign,
    Verify,
}

/// The median of so many runs.
fn median(mut runs: Vec<Duration>) -> Duration {
    runs.sort_unstable();
    runs[runs.len() / 2]
}

fn time<R>(count: usize, mut act: impl FnMut() -> R) -> Duration {
    median(
        (0..count)
            .map(|_| {
                let began = Instant::now();
                std::hint::black_box(act());
                began.elapsed()
            })
            .collect(),
    )
}

/// What one operation of each kind takes.
fn floor() -> Duration {
    let key = signing_key();
    let scalar = *key.as_nonzero_scalar().as_ref();
    let point = ProjectivePoint::GENERATOR * (scalar + Scalar::ONE);
    let signature: Signature = key.sign(b"message");
    let took = |kind| match kind {
        Kind::Base => time(200, || (ProjectivePoint::mul_by_generator(&scalar)).to_affine()),
        Kind::Variable => time(200, || (point * scalar).to_affine()),
        Kind::Sign => time(200, || -> Signature { key.sign(b"message") }),
        Kind::Verify => time(200, || key.verifying_key().verify(b"message", &signature)),
    };
    let names = [(Kind::Base, "k G"), (Kind::Variable, "k P"), (Kind::Sign, "sign"), (Kind::Verify, "verify")];
    let mut sum = Duration::ZERO;
    for (kind, name) in names {
        let each = took(kind);
        let count: usize = OPERATIONS.iter().filter(|(of, ..)| *of == kind).map(|(_, count, _)| count).sum();
        println!("  {count:>3} x {name:<7} {:>7.1} us", each.as_secs_f64() * 1e6);
        sum += each * u32::try_from(count).expect("few");
    }
    sum
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("randomness");
    bytes
}

fn rng() -> rand_core::UnwrapErr<getrandom::SysRng> {
    rand_core::UnwrapErr(getrandom::SysRng)
}

fn signing_key() -> SigningKey {
    SigningKey::from_slice(&random::<32>()).expect("a scalar")
}

fn public(key: &SigningKey) -> [u8; 33] {
    key.verifying_key().to_sec1_point(true).as_bytes().try_into().expect("compressed")
}

fn sign(key: &SigningKey, message: &[u8]) -> [u8; 64] {
    let signature: Signature = key.sign(message);
    signature.to_bytes().into()
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    Base64::encode_string(bytes.as_ref())
}

fn from_b64<const N: usize>(value: &Json) -> [u8; N] {
    Base64::decode_vec(value.as_str().expect("text")).expect("base64").try_into().expect("the length")
}

/// A person's phone, as lean as it can be: it keeps nothing and checks no head, which are the SDK's business.
struct Phone {
    url: String,
    client: reqwest::Client,
    key: SigningKey,
    secret: DeviceSecret,
    labels: LabelSecret,
    enrolment_id: Hash,
    enrolment: Enrolment<Profile1>,
    kem_key: KemPublicKey,
    credential: Hash,
    provider: Hash,
    seen: (u64, Hash),
    sequence: u64,
    previous: Hash,
}

impl Phone {
    async fn post(&self, path: &str, body: &Json) -> Json {
        post(&self.client, &self.url, path, None, body).await
    }

    async fn authorise(&mut self, document: &Document) {
        let presented = Presented::of(document, |_| true);
        let time_ms = wall_clock_ms();
        let asked = request::intent_hash(ORIGIN, &self.credential, &document.id(), time_ms);
        let intent = self
            .post(
                "/v1/intents",
                &json!({
                    "credential": self.credential.to_hex(),
                    "instruction": b64(presented.to_bytes()),
                    "device": { "time_ms": time_ms, "signature": b64(sign(&self.key, &asked.0)) },
                }),
            )
            .await;
        let commitment = Commitment::parse(&from_b64(&intent["challenge"]["commitment"])).expect("points");
        let session = Session::new(&self.credential, &from_b64(&intent["challenge"]["random"]), &commitment);
        let metadata = Metadata {
            origin: ORIGIN.into(),
            provider: self.provider,
            credential: self.credential,
            sequence: self.sequence,
            previous: self.previous,
            index_key: self.labels.stream_key(&self.enrolment_id, Stream::Own).index_key(self.sequence),
            challenge: *session.challenge(),
            policy: scal3::genesis::policy_hash(POLICY),
            class: document.class.clone(),
            seen_size: self.seen.0,
            seen_root: self.seen.1,
            time_ms,
            expires_ms: time_ms + 120_000,
            ext: Default::default(),
        }
        .to_bytes();
        let operation = Operation::<Profile1>::new(&metadata, &document.id()).expect("metadata");
        let to_sign = Idle::unlock(&self.enrolment, &self.secret.mask(&Pin::new("12345")))
            .expect("an enrolment")
            .commit(&mut rng())
            .prepare(&session, &operation, &self.kem_key, &mut rng())
            .expect("a session");
        let signature = sign(&self.key, to_sign.message());
        let c: [u8; 32] = to_sign.message()[..32].try_into().expect("c comes first");
        let pass = to_sign.finish(&signature).expect("a signature").to_bytes();
        let path = format!("/v1/intents/{}/authorise", session.challenge().to_hex());
        self.post(&path, &json!({ "metadata": b64(metadata), "pass": b64(pass) })).await;
        self.previous = scal3::metadata::previous(&self.credential, self.sequence, &c);
        self.sequence += 1;
    }
}

async fn post(client: &reqwest::Client, url: &str, path: &str, token: Option<&str>, body: &Json) -> Json {
    let mut request = client.post(format!("{url}{path}")).json(body);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await.expect("an answer");
    let status = answer.status();
    let text = answer.text().await.expect("text");
    assert!(status.is_success(), "{path}: {text}");
    serde_json::from_str(&text).expect("JSON")
}

fn document(class: &str) -> Document {
    let field = Field { salt: random(), name: "text".into(), value: Value::Text("pay the gardener".into()) };
    Document { class: class.into(), fields: vec![field] }
}

async fn enrol(url: &str, engine: &Engine, token: &str) -> Phone {
    let client = reqwest::Client::new();
    let begun = post(&client, url, "/v1/enrolments", Some(token), &json!({})).await;
    let enrolment_id = begun["enrolment_id"].as_str().and_then(Hash::from_hex).expect("an id");
    let (key, secret, labels) = (signing_key(), DeviceSecret::draw(&mut rng()), random::<32>());
    let label_secret = LabelSecret::from_bytes(labels);
    let device_key = public(&key);
    let kem_key = KemPublicKey::parse(&from_b64(&begun["kem_key"])).expect("a point");
    let context = Enrolling { origin: ORIGIN, enrolment_id: &enrolment_id, device_key: &device_key };
    let mask = secret.mask(&Pin::new("12345"));
    let enrolment: Enrolment<Profile1> = deal(&context, &mask, &kem_key, &mut rng()).expect("dealt");
    let label = |stream| label_secret.stream_key(&enrolment_id, stream).label();
    let shares = enrolment.shares.to_bytes();
    let proven = request::Enrolling {
        origin: ORIGIN,
        enrolment_id: &enrolment_id,
        profile: scal3::Profile::EcSdsa,
        joint_key: &enrolment.joint_key,
        shares: &enrolment.shares.hash(),
        device_key: &device_key,
        labels: &[label(Stream::Own), label(Stream::Provider)],
    };
    let body = json!({
        "ticket": begun["ticket"], "profile": 1,
        "joint_key": b64(enrolment.joint_key), "blinded": b64(&shares[..32]), "sealed": b64(&shares[32..]),
        "device": { "key": b64(device_key), "proof": b64(sign(&key, &proven.hash().0)) },
        "label_secret": b64(labels),
    });
    let made = post(&client, url, &format!("/v1/enrolments/{}", enrolment_id.to_hex()), None, &body).await;
    let credential = made["id"].as_str().and_then(Hash::from_hex).expect("an id");
    let checkpoint = Note::parse(&engine.heads().integrated.note).expect("a note");
    let head = Checkpoint::parse_text(checkpoint.text()).expect("a checkpoint").head;
    Phone {
        url: url.to_owned(),
        client,
        key,
        secret,
        labels: label_secret,
        enrolment_id,
        enrolment,
        kem_key,
        credential,
        provider: begun["provider"].as_str().and_then(Hash::from_hex).expect("an id"),
        seen: (head.size.get(), head.root),
        sequence: 0,
        previous: credential,
    }
}

fn main() {
    let count = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(200);
    println!("one authorisation asks for");
    let floor = floor();
    println!("  together  {:>9.1} us", floor.as_secs_f64() * 1e6);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("runtime");
    let (took, cpu) = runtime.block_on(run(count));
    let say = |what: &str, took: Duration| {
        println!(
            "  {what:<8}  {:>9.1} us = {:.2} x",
            took.as_secs_f64() * 1e6,
            took.as_secs_f64() / floor.as_secs_f64()
        );
    };
    println!("one authorisation, from the intent to a signed head, both sides and loopback HTTP, {count} of them");
    say("median", took);
    // What is not computing is waiting: for the syncs of two rounds and of the tiles under the head.
    say("CPU", cpu);
}

/// The processor time of this process so far.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    // utime and stime, in ticks of 10 ms.
    let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(10 * ticks)
}

async fn run(count: usize) -> (Duration, Duration) {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    std::fs::create_dir_all(&data).expect("folder");
    let config = Config { origin: ORIGIN.to_owned(), data, ..Config::default() };
    let mut settings =
        engine::Config::new(config.log_dir(), Signer::note(KeyName::new(ORIGIN).expect("name"), &[7; 32]));
    settings.high_water = Some(folder.path().join("high-water"));
    let keys = Arc::new(SoftKeys::generate().expect("keys"));
    let issuing_keys = vec![*keys.issuing_key().as_bytes()];
    Engine::create(&settings, &Genesis { origin: ORIGIN.into(), issuing_keys, policy: POLICY.to_vec() }).expect("made");
    let engine = Engine::open(settings).await.expect("opened");
    let (_, token) =
        tokens::create(&config.tokens(), "backend", &[Scope::Enrol], wall_clock_ms(), None).expect("a token");
    let authority = Authority::new(engine.clone(), keys, Settings::default(), Arc::new(wall_clock_ms));
    let app = App::with_authority(authority, config, None);
    let listener = tokio::net::TcpListener::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), 0)).await.expect("port");
    let url = format!("http://{}", listener.local_addr().expect("address"));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        app.serve(listener, async {
            let _ = stopped.await;
        })
        .await;
    });
    let mut phone = enrol(&url, &engine, &token).await;
    phone.authorise(&document(CLASS_ACTIVATE)).await;
    for _ in 0..10 {
        phone.authorise(&document("note")).await;
    }
    let mut runs = Vec::with_capacity(count);
    let before = cpu();
    for _ in 0..count {
        let document = document("note");
        let began = Instant::now();
        phone.authorise(&document).await;
        runs.push(began.elapsed());
    }
    let each = (cpu() - before) / u32::try_from(count).expect("few");
    drop(phone);
    let _ = stop.send(());
    let _ = serving.await;
    engine.shutdown().await;
    (median(runs), each)
}
