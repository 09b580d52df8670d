//! People whose device is a passkey: enrolled, authorising, stopping their credential, over HTTP against the real server.

use std::sync::Arc;

use client::device::{DeviceError, DeviceKey, PinPrf, Seal, SoftDevice};
use client::provider::{ProblemKind, Token};
use client::watch::What;
use client::{
    Document, Error, Folder, Patience, Pin, Profile, Provider, Subscriber, Trust, Value, instruction, verify,
};
use scal3::genesis::Genesis;
use scal3::instruction::Presented;
use scal3::{Credential, Hash};
use serde_json::Value as Json;
use solelog::authority::registration::{RelyingParty, Rules};
use solelog::authority::{Authority, Settings};
use solelog::config::Config;
use solelog::engine::{self, Engine, wall_clock_ms};
use solelog::http::App;
use solelog::keys::{KeyStore as _, SoftKeys};
use solelog::tokens::{self, Scope};
use testkit::{RP_ID, SITE, Secret};
use threshold::{DeviceSecret, Mask};
use tlog::key::{KeyName, Signer};
use tlog::policy::Policy;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const ORIGIN: &str = "log.example/passkeys";

/// A server, and what a device and the provider's backend know of it.
struct Server {
    provider: Provider,
    engine: Engine,
    trust: Trust,
    backend: Token,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
    folder: tempfile::TempDir,
}

fn rules() -> Rules {
    Rules {
        rp_id: RP_ID.to_owned(),
        rp_name: "Example".to_owned(),
        origins: vec![SITE.to_owned()],
        user_verification: true,
        synced: false,
        models: None,
    }
}

impl Server {
    async fn start(rules: Option<Rules>) -> Server {
        let folder = tempfile::tempdir().expect("folder");
        let data = folder.path().join("data");
        std::fs::create_dir_all(&data).expect("data");
        let signer = || Signer::note(KeyName::new(ORIGIN).expect("name"), &[7; 32]);
        let config = Config { origin: ORIGIN.to_owned(), data, ..Config::default() };
        let keys = Arc::new(SoftKeys::generate().expect("keys"));
        let settings = engine::Config {
            high_water: Some(folder.path().join("high-water")),
            ..engine::Config::new(config.log_dir(), signer())
        };
        let genesis = Genesis {
            origin: ORIGIN.into(),
            issuing_keys: vec![*keys.issuing_key().as_bytes()],
            policy: b"{\"version\":1,\"rules\":[]}".to_vec(),
        };
        Engine::create(&settings, &genesis).expect("created");
        let engine = Engine::open(settings).await.expect("opened");
        let scopes = [Scope::Enrol, Scope::Authorise];
        let (_, token) = tokens::create(&config.tokens(), "backend", &scopes, wall_clock_ms(), None).expect("token");
        let provider = keys.issuing_key().provider();
        let mut authority = Authority::new(engine.clone(), keys, Settings::default(), Arc::new(wall_clock_ms));
        if let Some(rules) = rules {
            authority = authority.with_relying_party(RelyingParty::new(rules).expect("rules"));
        }
        let app = App::with_authority(authority, config, None);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let url = format!("http://{}", listener.local_addr().expect("address"));
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(async move { app.serve(listener, async { drop(stopped.await) }).await });
        let policy = Policy::parse(format!("log {}\nquorum none\n", signer().vkey())).expect("policy");
        Server {
            provider: Provider::new(&url, Patience::default()).expect("address"),
            engine,
            trust: Trust { origin: ORIGIN.to_owned(), provider, policy },
            backend: Token::bearer(&token).expect("token"),
            stop,
            serving,
            folder,
        }
    }

    async fn stop(self) {
        let _ = self.stop.send(());
        self.serving.await.expect("the server ends");
        self.engine.shutdown().await;
    }

    async fn invite(&self) -> client::wire::Invitation {
        self.provider.invite(&self.backend, None).await.expect("invited")
    }

    fn subscriber<D: DeviceKey + PinPrf>(&self, name: &str, device: D) -> Subscriber<D> {
        let folder = Folder::open(self.folder.path().join(name)).expect("folder");
        Subscriber::open(device, folder, self.provider.clone(), self.trust.clone()).expect("opened")
    }

    /// What becomes of an enrolment with that device: the problem's kind and its detail.
    async fn refused(&self, alter: impl FnOnce(&mut Browser)) -> (ProblemKind, String) {
        let invitation = self.invite().await;
        let mut browser = Browser::new(&invitation, |_| {});
        alter(&mut browser);
        let mut person = self.subscriber(&invitation.enrolment_id.0.to_hex(), browser);
        match person.enrol(&invitation, Profile::Passkey, &pin()).await {
            Err(Error::Refused(problem)) => (problem.kind, problem.detail.unwrap_or_default()),
            other => panic!("{other:?}"),
        }
    }
}

/// A page of the provider in a browser: a passkey behind it, and the key of the PIN in its storage.
struct Browser {
    passkey: testkit::Passkey,
    registration: Json,
    prf: DeviceSecret,
}

impl Browser {
    /// A passkey that was made for this invitation, altered before.
    fn new(invitation: &client::wire::Invitation, alter: impl FnOnce(&mut testkit::Passkey)) -> Browser {
        let mut passkey = testkit::Passkey::new(Hash([1; 32]), Secret::p256("a passkey"));
        alter(&mut passkey);
        let options = invitation.registration.clone().unwrap_or_else(|| {
            // Where no options come, the page makes up its own.
            serde_json::json!({ "publicKey": { "challenge": "AAAA" } })
        });
        let registration = passkey.registration(&options);
        Browser { passkey, registration, prf: DeviceSecret::from_bytes([9; 32]) }
    }
}

impl DeviceKey for Browser {
    fn public(&self) -> [u8; 33] {
        self.passkey.secret.public().as_bytes().try_into().expect("a point")
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, DeviceError> {
        let challenge = message.try_into().map_err(|_| DeviceError::Profile)?;
        Ok(self.passkey.varsig(&Hash(challenge)).to_bytes())
    }

    fn registration(&self) -> Option<Json> {
        Some(self.registration.clone())
    }
}

impl PinPrf for Browser {
    fn mask(&self, pin: &Pin) -> Result<Mask, DeviceError> {
        Ok(self.prf.mask(pin))
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
async fn r0_18_a_passkey_and_a_pin_authorise_over_http() {
    let server = Server::start(Some(rules())).await;
    let invitation = server.invite().await;
    let mut anna = server.subscriber("anna", Browser::new(&invitation, |_| {}));
    assert_eq!(anna.enrol(&invitation, Profile::Passkey, &pin()).await.expect("enrolled").sequence, 0);
    let id = anna.credential().expect("a credential");

    let done = anna.authorise(&payment(1250), &pin()).await.expect("authorised");
    let report = verify::verify(&done.receipt, &server.trust.policy);
    assert_eq!(report.verdict, verify::Verdict::Authorised, "{report:?}");
    let credential = done.receipt.credential.as_ref().expect("a credential");
    let credential = Credential::from_own_store(credential.as_ref()).expect("a credential");
    let passkey = credential.claims().passkey.as_ref().expect("a passkey");
    assert_eq!((passkey.rp_id.as_str(), passkey.origins.as_slice()), (RP_ID, &[SITE.to_owned()][..]));
    assert_eq!(credential.claims().attestation, "none");

    // The backend opens the intent, so that the person is bothered once. What it brings is compared all the same.
    let (document, other) = (payment(7), payment(7_000));
    let open = async |document: &Document| {
        let presented = Presented::of(document, |_| true);
        server.provider.open_intent(&server.backend, &id, &presented).await.expect("opened")
    };
    let swapped = anna.authorise_opened(&document, open(&other).await, &pin()).await;
    assert!(matches!(swapped, Err(Error::Lie(client::Lie::Instruction))), "{swapped:?}");
    let done = anna.authorise_opened(&document, open(&document).await, &pin()).await.expect("authorised");
    assert_eq!(done.sequence, 2);

    let wrong = anna.authorise(&payment(1), &Pin::new("54321")).await;
    assert!(matches!(wrong, Err(Error::WrongPin { attempts_left: Some(4) })), "{wrong:?}");
    let watch = anna.watch().await.expect("watched");
    assert_eq!(watch.findings, []);
    assert_eq!(watch.entries.iter().filter(|own| matches!(own.what, What::Record { .. })).count(), 3);

    anna.suspend("lost my bag").await.expect("suspended");
    let blocked = anna.authorise(&payment(1), &pin()).await;
    assert!(matches!(&blocked, Err(Error::Refused(problem)) if problem.kind == ProblemKind::Blocked), "{blocked:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_passkey_authorises_nothing() {
    let server = Server::start(Some(rules())).await;
    let invitation = server.invite().await;
    let mut anna = server.subscriber("anna", Browser::new(&invitation, |_| {}));
    anna.enrol(&invitation, Profile::Passkey, &pin()).await.expect("enrolled");
    let id = anna.credential().expect("a credential");
    drop(anna);

    // The same memory, the same PIN, and a passkey that says it is the one: each answers otherwise than it must.
    for alter in [
        (|passkey| passkey.secret = Secret::p256("a stranger")) as fn(&mut testkit::Passkey),
        |passkey| passkey.site = "https://bank.example.evil",
        |passkey| passkey.flags = 0x04,
    ] {
        struct Alike(Browser, [u8; 33]);
        impl DeviceKey for Alike {
            fn public(&self) -> [u8; 33] {
                self.1
            }
            fn sign(&self, message: &[u8]) -> Result<Vec<u8>, DeviceError> {
                self.0.sign(message)
            }
            fn registration(&self) -> Option<Json> {
                self.0.registration()
            }
        }
        impl PinPrf for Alike {
            fn mask(&self, pin: &Pin) -> Result<Mask, DeviceError> {
                self.0.mask(pin)
            }
        }
        let own = Browser::new(&invitation, |_| {}).public();
        let mut thief = server.subscriber("anna", Alike(Browser::new(&invitation, alter), own));
        let refused = thief.authorise(&payment(1), &pin()).await;
        assert!(matches!(&refused, Err(Error::Refused(p)) if p.kind == ProblemKind::NotTheDevice), "{refused:?}");
        let document = payment(2);
        let presented = Presented::of(&document, |_| true);
        let intent = server.provider.open_intent(&server.backend, &id, &presented).await.expect("opened");
        let refused = thief.authorise_opened(&document, intent, &pin()).await;
        assert!(matches!(&refused, Err(Error::Refused(p)) if p.kind == ProblemKind::PassRefused), "{refused:?}");
    }
    // Nobody's attempts were used up by that.
    let mut anna = server.subscriber("anna", Browser::new(&invitation, |_| {}));
    let wrong = anna.authorise(&payment(1), &Pin::new("54321")).await;
    assert!(matches!(wrong, Err(Error::WrongPin { attempts_left: Some(4) })), "{wrong:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r0_13_registrations_that_break_a_rule_enrol_nobody() {
    let server = Server::start(Some(rules())).await;
    let invitation = server.invite().await;
    let other = Browser::new(&invitation, |_| {}).registration;
    type Alter = fn(&mut testkit::Passkey);
    let cases: [(&str, Alter); 4] = [
        ("synced", |passkey| passkey.flags = 0x0d),
        ("did not verify its user", |passkey| passkey.flags = 0x01),
        ("InvalidRPOrigin", |passkey| passkey.site = "https://bank.example.evil"),
        ("InvalidRPIDHash", |passkey| passkey.rp_id = "evil.example"),
    ];
    for (reason, alter) in cases {
        let invitation = server.invite().await;
        let browser = Browser::new(&invitation, alter);
        let mut person = server.subscriber(&invitation.enrolment_id.0.to_hex(), browser);
        let refused = person.enrol(&invitation, Profile::Passkey, &pin()).await;
        let Err(Error::Refused(problem)) = refused else { panic!("{reason}: {refused:?}") };
        assert_eq!(problem.kind, ProblemKind::EnrolmentRefused, "{problem:?}");
        assert!(problem.detail.as_deref().is_some_and(|detail| detail.contains(reason)), "{reason}: {problem:?}");
    }
    // The answer to somebody else's invitation, and one whose key is not the one that signs.
    let (kind, detail) = server.refused(|browser| browser.registration = other).await;
    assert_eq!(kind, ProblemKind::EnrolmentRefused);
    assert!(detail.contains("MismatchedChallenge"), "{detail}");
    let (kind, detail) = server.refused(|browser| browser.passkey.secret = Secret::p256("another")).await;
    assert_eq!((kind, detail.as_str()), (ProblemKind::EnrolmentRefused, "the registration is of another key"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn passkeys_are_for_servers_that_take_them_and_for_their_own_profile() {
    let server = Server::start(None).await;
    assert!(server.invite().await.registration.is_none());
    let (kind, detail) = server.refused(|_| {}).await;
    assert_eq!((kind, detail.as_str()), (ProblemKind::EnrolmentRefused, "this server takes no passkeys"));

    let invitation = server.invite().await;
    let mut person = server.subscriber("person", Browser::new(&invitation, |_| {}));
    let refused = person.enrol(&invitation, Profile::EcSdsa, &pin()).await;
    assert!(matches!(refused, Err(Error::Device(DeviceError::Profile))), "{refused:?}");
    let folder = server.folder.path().join("soft");
    std::fs::create_dir(&folder).expect("folder");
    let mut person = server.subscriber("plain", SoftDevice::create(&folder, Seal::KeyFile).expect("device"));
    let refused = person.enrol(&invitation, Profile::Passkey, &pin()).await;
    assert!(matches!(refused, Err(Error::Device(DeviceError::Profile))), "{refused:?}");
    server.stop().await;
}
