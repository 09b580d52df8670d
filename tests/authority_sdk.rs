//! The subscriber's library against the real server: enrol, authorise, change the PIN, watch, stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64ct::Encoding as _;
use client::device::{Seal, SoftDevice};
use client::provider::{ProblemKind, Token};
use client::watch::What;
use client::{
    Document, Error, Folder, Patience, Pin, Profile, Provider, Subscriber, Trust, Value, instruction, verify,
};
use scal3::genesis::Genesis;
use scal3::{Change, Hash};
use serde_json::json;
use solelog::authority::{Authority, Settings};
use solelog::config::Config;
use solelog::engine::{self, Engine, wall_clock_ms};
use solelog::http::App;
use solelog::keys::{KeyStore as _, SoftKeys};
use solelog::tokens::{self, Scope};
use tlog::key::{KeyName, Signer};
use tlog::policy::Policy;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const ORIGIN: &str = "log.example/authority";
const POLICY: &[u8] = b"{\"version\":1,\"rules\":[]}";

/// The server, on a folder that outlives it.
struct Server {
    url: String,
    engine: Engine,
    keys: Arc<SoftKeys>,
    trust: Trust,
    backend: Token,
    /// The same, in words.
    token: String,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

fn signer() -> Signer {
    Signer::note(KeyName::new(ORIGIN).expect("name"), &[7; 32])
}

impl Server {
    async fn start(folder: &tempfile::TempDir) -> Server {
        Server::with(folder, Arc::new(SoftKeys::generate().expect("keys")), true).await
    }

    async fn with(folder: &tempfile::TempDir, keys: Arc<SoftKeys>, new: bool) -> Server {
        let policy = Policy::parse(format!("log {}\nquorum none\n", signer().vkey())).expect("policy");
        Server::witnessed(folder, keys, new, policy).await
    }

    /// A server whose heads are published as this policy asks for, and devices that go by the same.
    async fn witnessed(folder: &tempfile::TempDir, keys: Arc<SoftKeys>, new: bool, policy: Policy) -> Server {
        let data = folder.path().join("data");
        std::fs::create_dir_all(&data).expect("data");
        let config = Config { origin: ORIGIN.to_owned(), data, ..Config::default() };
        let mut settings = engine::Config::new(config.log_dir(), signer());
        settings.limits = config.engine_limits();
        settings.pace = config.engine_pace();
        settings.high_water = Some(folder.path().join("high-water"));
        if !policy.quorum_is_none() {
            settings.witnesses = Some(policy.clone());
            settings.pace.witness_timeout = Duration::from_secs(2);
        }
        if new {
            let issuing_keys = vec![*keys.issuing_key().as_bytes()];
            Engine::create(&settings, &Genesis { origin: ORIGIN.into(), issuing_keys, policy: POLICY.to_vec() })
                .expect("created");
        }
        let engine = Engine::open(settings).await.expect("opened");
        let (_, token) = tokens::create(
            &config.tokens(),
            &format!("backend{}", wall_clock_ms()),
            &[Scope::Enrol, Scope::Manage],
            wall_clock_ms(),
            None,
        )
        .expect("token");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let url = format!("http://{}", listener.local_addr().expect("address"));
        let authority = Authority::new(engine.clone(), keys.clone(), Settings::default(), Arc::new(wall_clock_ms));
        let app = App::with_authority(authority, config, None);
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(async move {
            app.serve(listener, async {
                let _ = stopped.await;
            })
            .await;
        });
        let trust = Trust { origin: ORIGIN.to_owned(), provider: keys.issuing_key().provider(), policy };
        let backend = Token::bearer(&token).expect("token");
        Server { url, engine, keys, trust, backend, token: token.to_string(), stop, serving }
    }

    /// Asks for a change of a credential, as the help desk does. Gives the status, and the name of the problem.
    async fn change(&self, id: &Hash, what: &str, body: &serde_json::Value) -> (u16, Option<String>) {
        let url = format!("{}/v1/credentials/{}/{what}", self.url, id.to_hex());
        let request = reqwest::Client::new().post(url).bearer_auth(&self.token).json(body);
        let answer = request.send().await.expect("answer");
        let status = answer.status().as_u16();
        let said: serde_json::Value = answer.json().await.expect("JSON");
        (status, said["type"].as_str().map(|kind| kind.rsplit('/').next().unwrap_or_default().to_owned()))
    }

    async fn stop(self) -> Arc<SoftKeys> {
        let _ = self.stop.send(());
        self.serving.await.expect("the server ends");
        self.engine.shutdown().await;
        self.keys
    }

    fn provider(&self) -> Provider {
        let patience = Patience { wait: Duration::from_millis(20), ..Patience::default() };
        Provider::new(&self.url, patience).expect("address")
    }

    async fn invite(&self, predecessor: Option<Hash>) -> client::wire::Invitation {
        self.provider().invite(&self.backend, predecessor.as_ref()).await.expect("invited")
    }

    fn subscriber(&self, folder: &tempfile::TempDir) -> Subscriber<SoftDevice> {
        let state = Folder::open(folder.path().join("anna")).expect("folder");
        let device = if SoftDevice::exists(state.path()) {
            SoftDevice::open(state.path(), Seal::KeyFile)
        } else {
            SoftDevice::create(state.path(), Seal::KeyFile)
        };
        Subscriber::open(device.expect("device"), state, self.provider(), self.trust.clone()).expect("opened")
    }
}

fn pin() -> Pin {
    Pin::new("12345")
}

fn payment(cents: u64) -> Document {
    let fields = [("amount", Value::Uint(cents)), ("currency", Value::Text("EUR".into()))];
    instruction("payment", &fields).expect("document")
}

#[tokio::test(flavor = "multi_thread")]
async fn r3_01_a_person_enrols_authorises_and_sees_everything() {
    for profile in [Profile::EcSdsa, Profile::Transcript] {
        let folder = tempfile::tempdir().expect("folder");
        let server = Server::start(&folder).await;
        let mut anna = server.subscriber(&folder);
        let invitation = server.invite(None).await;
        assert_eq!(anna.enrol(&invitation, profile, &pin()).await.expect("enrolled").sequence, 0);
        let document = payment(1250);
        let done = anna.authorise(&document, &pin()).await.expect("authorised");
        assert_eq!(done.sequence, 1);
        let report = verify::verify(&done.receipt, &server.trust.policy);
        assert_eq!(report.verdict, verify::Verdict::Authorised, "{report:?}");
        assert_eq!(report.outcome("text"), Some(verify::Outcome::Ok));
        anna.authorise_showing(&payment(7), &pin(), |name| name == "currency").await.expect("authorised");

        let watch = anna.watch().await.expect("watched");
        assert_eq!(watch.findings, []);
        let records = watch.entries.iter().filter(|own| matches!(own.what, What::Record { .. })).count();
        assert_eq!(records, 3);
        let name = |own: &client::watch::Own| match &own.what {
            What::Event { name, .. } | What::Outcome { name, .. } => Some(name.clone()),
            _ => None,
        };
        let names: Vec<String> = watch.entries.iter().filter_map(name).collect();
        assert_eq!(names.iter().filter(|name| *name == "enrolment.kept").count(), 1);
        assert_eq!(names.iter().filter(|name| *name == "attempt.started").count(), 3, "{names:?}");
        drop(anna);
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r0_08_a_wrong_pin_is_counted_told_and_seen() {
    let folder = tempfile::tempdir().expect("folder");
    let server = Server::start(&folder).await;
    let mut anna = server.subscriber(&folder);
    anna.enrol(&server.invite(None).await, Profile::EcSdsa, &pin()).await.expect("enrolled");
    for left in [4, 3] {
        let wrong = anna.authorise(&payment(1), &Pin::new("54321")).await;
        assert!(matches!(wrong, Err(Error::WrongPin { attempts_left: Some(n) }) if n == left), "{wrong:?}");
    }
    assert_eq!(anna.authorise(&payment(1), &pin()).await.expect("authorised").sequence, 1);
    for left in [4, 3, 2, 1, 0] {
        let wrong = anna.authorise(&payment(1), &Pin::new("54321")).await;
        assert!(matches!(wrong, Err(Error::WrongPin { attempts_left: Some(n) }) if n == left), "{left}: {wrong:?}");
    }
    // The right one comes too late, and that it was asked for is in the log.
    let suspended = anna.authorise(&payment(9), &pin()).await;
    let Err(Error::Refused(problem)) = &suspended else { panic!("{suspended:?}") };
    assert_eq!(problem.kind, ProblemKind::Blocked, "{problem:?}");
    // That it was blocked is in the log when the answer is there, and seen as soon as a head covers it.
    let logged = problem.index.expect("an entry");
    let watch = loop {
        let watch = anna.watch().await.expect("watched");
        if watch.entries.iter().any(|own| own.index == logged) {
            break watch;
        }
    };
    assert_eq!(watch.findings, []);
    let failed =
        watch.entries.iter().filter(|own| matches!(&own.what, What::Event { name, .. } if name == "attempt.failed"));
    assert_eq!(failed.count(), 7);
    let suspended = |own: &client::watch::Own| matches!(own.what, What::Status { change: Change::Suspended(_), .. });
    assert!(watch.entries.iter().any(suspended));
    let blocked = |own: &&client::watch::Own| matches!(&own.what, What::Outcome { name, .. } if name == "blocked");
    let blocked: Vec<u64> = watch.entries.iter().filter(blocked).map(|own| own.index).collect();
    assert_eq!(blocked, [logged]);
    drop(anna);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_is_changed_and_the_old_credential_is_revoked() {
    let folder = tempfile::tempdir().expect("folder");
    let server = Server::start(&folder).await;
    let mut anna = server.subscriber(&folder);
    anna.enrol(&server.invite(None).await, Profile::EcSdsa, &pin()).await.expect("enrolled");
    anna.authorise(&payment(1), &pin()).await.expect("authorised");
    let old = anna.credential().expect("credential");
    let invitation = server.invite(Some(old)).await;
    let new = Pin::new("99999");
    anna.change_pin(&invitation, &pin(), &new).await.expect("changed");
    assert_ne!(anna.credential(), Some(old));
    assert!(matches!(anna.authorise(&payment(2), &pin()).await, Err(Error::WrongPin { .. })));
    assert_eq!(anna.authorise(&payment(2), &new).await.expect("authorised").sequence, 1);
    let watch = anna.watch().await.expect("watched");
    assert_eq!(watch.findings, []);
    let revoked = |own: &client::watch::Own| {
        own.credential == old && matches!(own.what, What::Status { change: Change::Revoked(_), .. })
    };
    assert_eq!(watch.entries.iter().filter(|own| revoked(own)).count(), 1);
    drop(anna);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_and_a_server_that_both_restart_go_on() {
    let folder = tempfile::tempdir().expect("folder");
    let server = Server::start(&folder).await;
    let mut anna = server.subscriber(&folder);
    anna.enrol(&server.invite(None).await, Profile::Transcript, &pin()).await.expect("enrolled");
    anna.authorise(&payment(1), &pin()).await.expect("authorised");
    drop(anna);
    let keys = server.stop().await;
    let server = Server::with(&folder, keys, false).await;
    let mut anna = server.subscriber(&folder);
    assert_eq!(anna.authorise(&payment(2), &pin()).await.expect("authorised").sequence, 2);
    assert_eq!(anna.watch().await.expect("watched").findings, []);
    // Stopped by the device alone, once and for all.
    anna.suspend("lost").await.expect("suspended");
    assert!(matches!(anna.authorise(&payment(3), &pin()).await, Err(Error::Refused(_))));
    let status = anna.revoke("gone").await.expect("revoked");
    assert_eq!(status.change.change, Change::Revoked("gone".into()));
    assert_eq!(anna.watch().await.expect("watched").findings, []);
    drop(anna);
    server.stop().await;
}

/// Passes everything on to the server, and loses what it answers to the next pass.
struct Proxy {
    url: String,
    lose: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Proxy {
    async fn start(server: &Server) -> Proxy {
        let lose = Arc::new(AtomicBool::new(false));
        let (target, losing) = (server.url.clone(), Arc::clone(&lose));
        let pass_on = move |request: axum::extract::Request| {
            let (target, losing) = (target.clone(), Arc::clone(&losing));
            async move {
                let (head, body) = request.into_parts();
                let body = axum::body::to_bytes(body, 1 << 20).await.expect("body");
                let path = head.uri.path_and_query().expect("path").as_str();
                let mut forward = reqwest::Client::new().request(head.method, format!("{target}{path}"));
                for name in ["authorization", "content-type", "accept"] {
                    if let Some(value) = head.headers.get(name) {
                        forward = forward.header(name, value);
                    }
                }
                let answer = forward.body(body).send().await.expect("answer");
                if head.uri.path().ends_with("/authorise") && losing.swap(false, Ordering::SeqCst) {
                    return (reqwest::StatusCode::GATEWAY_TIMEOUT, axum::body::Bytes::new());
                }
                (answer.status(), answer.bytes().await.expect("bytes"))
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let url = format!("http://{}", listener.local_addr().expect("address"));
        let app = axum::Router::new().fallback(pass_on);
        let task = tokio::spawn(async move { axum::serve(listener, app).await.expect("serves") });
        Proxy { url, lose, task }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_found_in_the_log_by_its_index_key() {
    let folder = tempfile::tempdir().expect("folder");
    let mut server = Server::start(&folder).await;
    let proxy = Proxy::start(&server).await;
    server.url.clone_from(&proxy.url);
    let mut anna = server.subscriber(&folder);
    anna.enrol(&server.invite(None).await, Profile::EcSdsa, &pin()).await.expect("enrolled");
    proxy.lose.store(true, Ordering::SeqCst);
    let document = payment(1);
    let done = match anna.authorise(&document, &pin()).await {
        // Found at once, or once a head covers it.
        Ok(done) => done,
        Err(Error::Unsettled) => anna.authorise(&document, &pin()).await.expect("settled"),
        Err(error) => panic!("{error}"),
    };
    assert_eq!((done.sequence, proxy.lose.load(Ordering::SeqCst)), (1, false));
    // A wrong PIN whose answer is lost: unknown, and in the end nothing.
    proxy.lose.store(true, Ordering::SeqCst);
    assert!(matches!(anna.authorise(&payment(2), &Pin::new("54321")).await, Err(Error::Unsettled)));
    assert!(anna.reconcile().await.expect("asked").is_none());
    assert_eq!(anna.authorise(&payment(2), &pin()).await.expect("authorised").sequence, 2);
    assert_eq!(anna.watch().await.expect("watched").findings, []);
    drop(anna);
    proxy.task.abort();
    server.stop().await;
}

/// A device may stop its own credential, and nothing else. That it asks is not overlooked where it has no say.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_has_no_say_in_what_gives_power_back() {
    let folder = tempfile::tempdir().expect("folder");
    let server = Server::start(&folder).await;
    let mut anna = server.subscriber(&folder);
    anna.enrol(&server.invite(None).await, Profile::EcSdsa, &pin()).await.expect("enrolled");
    let id = anna.credential().expect("enrolled");
    anna.suspend("worried").await.expect("suspended");
    let signature = base64ct::Base64::encode_string(&[1; 64]);
    let by_device = json!({ "reason": "found", "device": { "time_ms": wall_clock_ms(), "signature": signature } });
    for what in ["resume", "recover"] {
        assert_eq!(server.change(&id, what, &by_device).await, (400, Some("parameter".to_owned())), "{what}");
    }
    assert_eq!(server.change(&id, "resume", &json!({ "reason": "found" })).await, (200, None));
    anna.authorise(&payment(1), &pin()).await.expect("it acts again");
    server.stop().await;
}

/// A witness that cosigns this log, at an address that it keeps.
struct Cosigner {
    folder: std::path::PathBuf,
    address: std::net::SocketAddr,
    vkey: String,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Cosigner {
    async fn start(folder: &tempfile::TempDir) -> Cosigner {
        let at = folder.path().join("witness");
        let log = witness::TrustedLog::from_vkey(&signer().vkey().to_string()).expect("a key");
        let name = KeyName::new("one.example/witness").expect("name");
        witness::set_up(&at, Some(&name), None, &[log]).expect("set up");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let address = listener.local_addr().expect("address");
        let mut cosigner = Cosigner { folder: at, address, vkey: String::new(), running: None };
        cosigner.serve(listener);
        cosigner
    }

    fn serve(&mut self, listener: TcpListener) {
        let witness = Arc::new(witness::Witness::open(&self.folder).expect("opened"));
        self.vkey = witness.vkey().to_string();
        let (stop, stopped) = oneshot::channel::<()>();
        let until = async {
            let _ = stopped.await;
        };
        let task = tokio::spawn(async move { witness::serve(witness, listener, until).await.expect("serves") });
        self.running = Some((stop, task));
    }

    async fn away(&mut self) {
        let (stop, task) = self.running.take().expect("it runs");
        let _ = stop.send(());
        task.await.expect("it ends");
    }

    async fn back(&mut self) {
        self.serve(TcpListener::bind(self.address).await.expect("the same port"));
    }

    fn policy(&self) -> Policy {
        let text = format!("log {}\nwitness w {} http://{}\nquorum w\n", signer().vkey(), self.vkey, self.address);
        Policy::parse(text).expect("policy")
    }
}

/// A device tells of nothing that its witnesses have not seen; and when they come back, it finds what it has done.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_waits_for_the_witnesses_that_it_trusts() {
    let folder = tempfile::tempdir().expect("folder");
    let mut witness = Cosigner::start(&folder).await;
    let keys = Arc::new(SoftKeys::generate().expect("keys"));
    let server = Server::witnessed(&folder, keys, true, witness.policy()).await;
    let mut anna = server.subscriber(&folder);
    anna.enrol(&server.invite(None).await, Profile::EcSdsa, &pin()).await.expect("enrolled");
    let done = anna.authorise(&payment(1), &pin()).await.expect("authorised");
    let report = verify::verify(&done.receipt, &server.trust.policy);
    assert_eq!(report.outcome("witnesses"), Some(verify::Outcome::Ok));
    drop(anna);

    // Without it, the log takes the record, publishes nothing, and the device does not say that it is done.
    witness.away().await;
    let patience = Patience {
        answer: Duration::from_secs(2),
        publish: Duration::from_millis(500),
        wait: Duration::from_millis(20),
        ..Patience::default()
    };
    let folder_of_anna = folder.path().join("anna");
    let open = |patience: Patience| {
        let device = SoftDevice::open(&folder_of_anna, Seal::KeyFile).expect("device");
        let state = Folder::open(folder_of_anna.clone()).expect("folder");
        let provider = Provider::new(&server.url, patience).expect("address");
        Subscriber::open(device, state, provider, server.trust.clone()).expect("opened")
    };
    let mut anna = open(patience);
    let document = payment(2);
    let waits = anna.authorise(&document, &pin()).await;
    assert!(matches!(waits, Err(Error::Unsettled)), "{waits:?}");
    assert!(anna.is_unsettled());
    drop(anna);

    // It is back, and the same call finds what was done before. Nothing is done twice.
    witness.back().await;
    let mut anna = open(Patience { wait: Duration::from_millis(20), ..Patience::default() });
    let done = anna.authorise(&document, &pin()).await.expect("found");
    assert_eq!((done.sequence, anna.is_unsettled()), (2, false));
    let report = verify::verify(&done.receipt, &server.trust.policy);
    assert_eq!((report.verdict, report.outcome("witnesses")), (verify::Verdict::Authorised, Some(verify::Outcome::Ok)));
    assert_eq!(anna.authorise(&payment(3), &pin()).await.expect("authorised").sequence, 3);
    assert_eq!(anna.watch().await.expect("watched").findings, []);
    drop(anna);
    server.stop().await;
    witness.away().await;
}

/// A phone that is lost can't speak for the next one: the backend asks for a recovery with the same library.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_device_is_recovered_with_the_library_alone() {
    let (folder, next) = (tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("folder"));
    let server = Server::start(&folder).await;
    let mut lost = server.subscriber(&folder);
    lost.enrol(&server.invite(None).await, Profile::EcSdsa, &pin()).await.expect("enrolled");
    let before = lost.credential();
    let invitation = server.provider().invite_to_recover(&server.backend, &before.expect("enrolled")).await;
    let invitation = invitation.expect("invited");
    let mut anna = server.subscriber(&next);
    let waits = anna.enrol_after(before, &invitation, Profile::EcSdsa, &pin()).await;
    assert!(matches!(&waits, Err(Error::Refused(problem)) if problem.kind == ProblemKind::Blocked), "{waits:?}");
    let id = anna.credential().expect("issued");
    assert_eq!(server.change(&id, "recover", &json!({ "reason": "came with a passport" })).await, (200, None));
    anna.enrol_after(before, &invitation, Profile::EcSdsa, &pin()).await.expect("activated");
    let done = anna.authorise(&payment(1), &pin()).await.expect("authorised");
    assert_eq!(done.sequence, 1);
    // The entry that says so is a receipt of its own, and the record's is enough with it.
    assert_eq!(verify::verify(&done.receipt, &server.trust.policy).verdict, verify::Verdict::Included);
    assert_eq!(anna.watch().await.expect("watched").findings, []);
    let kept: Vec<_> = anna.receipts().expect("kept").into_iter().map(|kept| kept.receipt).collect();
    let report = verify::verify_with(&done.receipt, &kept, &server.trust.policy);
    assert_eq!(report.verdict, verify::Verdict::Authorised, "{report:?}");
    server.stop().await;
}

/// After new PINs: with the receipts of who spoke for whom, back to the first, a receipt shows all of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_successors_receipt_is_enough_with_those_by_which_it_came() {
    let folder = tempfile::tempdir().expect("folder");
    let server = Server::start(&folder).await;
    let mut anna = server.subscriber(&folder);
    anna.enrol(&server.invite(None).await, Profile::EcSdsa, &pin()).await.expect("enrolled");
    let (second, third) = (Pin::new("22222"), Pin::new("33333"));
    anna.change_pin(&server.invite(anna.credential()).await, &pin(), &second).await.expect("changed");
    anna.change_pin(&server.invite(anna.credential()).await, &second, &third).await.expect("changed again");
    let done = anna.authorise(&payment(1), &third).await.expect("authorised");
    let kept: Vec<_> = anna.receipts().expect("kept").into_iter().map(|kept| kept.receipt).collect();
    let judge = |beside: &[client::receipt::Receipt]| {
        let report = verify::verify_with(&done.receipt, beside, &server.trust.policy);
        (report.verdict, report.outcome("successor"))
    };
    let shown = (verify::Verdict::Authorised, Some(verify::Outcome::Ok));
    let not_shown = (verify::Verdict::Included, Some(verify::Outcome::NotShown));
    assert_eq!((judge(&kept), judge(&[])), (shown, not_shown));
    // Two of them count: whoever spoke for the second, and for the third. Without either it is not shown.
    let needed = |without: usize| {
        let mut some = kept.clone();
        some.remove(without);
        judge(&some) == not_shown
    };
    let needed: Vec<usize> = (0..kept.len()).filter(|without| needed(*without)).collect();
    assert_eq!(needed.len(), 2, "{needed:?} of {}", kept.len());
    // One that does not hold shows nothing.
    let mut spoilt = kept.clone();
    let last = spoilt[needed[0]].entry.0.last_mut().expect("bytes");
    *last ^= 1;
    assert_eq!(judge(&spoilt), not_shown);
    server.stop().await;
}
