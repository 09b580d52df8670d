//! Evidence besides the two factors, over HTTP: authenticators brought, asked for, shown, revoked. And who tries without.

mod device;
mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use base64ct::{Base64, Encoding as _};
use device::{Device, House, document};
use reqwest::Client;
use scal3::authenticator::{About, Bio, Claims, Nfc};
use scal3::evidence::varsig::Algorithm;
use scal3::genesis::Genesis;
use scal3::instruction::{CLASS_ADD_AUTHENTICATOR, CLASS_REVOKE_AUTHENTICATOR, Presented, Value};
use scal3::metadata::operation_hash;
use scal3::ucan::header::Header;
use scal3::ucan::{self, Delegation, Payload, to_be_signed};
use scal3::{Document, Hash, Metadata, did};
use serde_json::{Value as Json, json};
use solelog::authority::authenticators::proof_hash;
use solelog::authority::intent::{Intent, Who};
use solelog::authority::registration::{RelyingParty, Rules};
use solelog::authority::{Authority, Settings};
use solelog::config::Config;
use solelog::engine::Engine;
use solelog::http::App;
use solelog::keys::SoftKeys;
use solelog::tokens::{self, Scope};
use support::people::ORIGIN;
use support::*;
use testkit::{Bound, Card, Passkey, RP_ID, SITE, Secret};
use threshold::Profile1;
use tokio::net::TcpListener;

const PIN: &str = "12345";

/// Payments need a passkey that verified its person, and a card is looked at. Transfers need both.
const POLICY: &[u8] = br#"{"version":1,"rules":[
    {"when":{"class":"payment"},"need":{"kind":"webauthn","uv":true},"observe":["nfc"]},
    {"when":{"class":"transfer"},"need":{"all":[{"kind":"webauthn"},{"kind":"nfc"}]}},
    {"when":{"class":"vote"},"need":{"kind":"otp"}}]}"#;

/// A server, and one person at it.
struct Site {
    house: House,
    authority: Authority,
    url: String,
    client: Client,
    token: String,
}

impl Site {
    async fn start() -> Site {
        let rig = Rig::new();
        let keys = Arc::new(SoftKeys::generate().expect("randomness"));
        let house = House { rig, keys, settings: Settings { strangers: 1000, ..Settings::default() } };
        let issuing_keys = {
            use solelog::keys::KeyStore as _;
            vec![*house.keys.issuing_key().as_bytes()]
        };
        let genesis = Genesis { issuing_keys, policy: POLICY.to_vec(), ..genesis() };
        Engine::create(&house.rig.config(), &genesis).expect("a new folder");
        let rules = Rules {
            rp_id: RP_ID.to_owned(),
            rp_name: "Example".to_owned(),
            origins: vec![SITE.to_owned()],
            user_verification: true,
            synced: false,
            models: None,
        };
        let authority = house.open().await.with_relying_party(RelyingParty::new(rules).expect("rules"));
        let data = house.rig.beside("data");
        std::fs::create_dir_all(&data).expect("data");
        let config = Config { origin: ORIGIN.to_owned(), data, ..Config::default() };
        let (scopes, now_ms) = ([Scope::Read, Scope::Manage, Scope::Authorise], solelog::engine::wall_clock_ms());
        let (_, token) = tokens::create(&config.tokens(), "backend", &scopes, now_ms, None).expect("token");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let url = format!("http://{}", listener.local_addr().expect("address"));
        let app = App::with_authority(authority.clone(), config, None);
        tokio::spawn(async move { app.serve(listener, std::future::pending()).await });
        Site { house, authority, url, client: Client::new(), token: token.to_string() }
    }

    async fn post(&self, path: &str, body: &Json) -> (u16, Json) {
        let request = self.client.post(format!("{}{path}", self.url)).bearer_auth(&self.token);
        let answer = request.json(body).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    }

    async fn get(&self, path: &str) -> Json {
        let request = self.client.get(format!("{}{path}", self.url)).bearer_auth(&self.token);
        request.send().await.expect("an answer").json().await.expect("JSON")
    }

    fn now(&self) -> u64 {
        self.house.rig.clock.load(Ordering::SeqCst)
    }

    /// Authorises something that needs nothing more.
    async fn plain(&self, person: &mut Device<Profile1>, document: &Document) {
        person.authorise(&self.authority, &self.house.rig, document, PIN).await.expect("authorised");
    }

    async fn intent(&self, person: &Device<Profile1>, document: &Document) -> Intent {
        let presented = Presented::of(document, |_| true).to_bytes();
        self.authority.intent(person.id, presented, Who::Provider).await.expect("a challenge")
    }

    /// Answers a challenge over HTTP, with the evidence that is made for it.
    async fn answer(
        &self,
        person: &mut Device<Profile1>,
        intent: &Intent,
        document: &Document,
        evidence: impl FnOnce(&Bound) -> Vec<Json>,
    ) -> (u16, Json) {
        let metadata = person.metadata(&self.authority, intent, self.now());
        let answer = person.answer(&metadata, intent, document, PIN);
        let evidence = evidence(&self.bound(person, &metadata, document));
        let body = json!({
            "metadata": Base64::encode_string(&answer.metadata),
            "pass": Base64::encode_string(&answer.pass),
            "evidence": evidence,
        });
        let said = self.post(&format!("/v1/intents/{}/authorise", metadata.challenge.to_hex()), &body).await;
        if said.0 == 201 {
            person.logged(&self.authority, &metadata);
        }
        said
    }

    fn bound(&self, person: &Device<Profile1>, metadata: &Metadata, document: &Document) -> Bound {
        let state = self.authority.engine().credential(&person.id).unwrap().expect("issued");
        Bound {
            origin: ORIGIN,
            operation_hash: operation_hash(&metadata.to_bytes(), &document.id()),
            instruction_id: document.id(),
            session: metadata.challenge,
            participant: state.credential().claims().subject,
            now_ms: self.now(),
        }
    }

    /// Brings an authenticator; its person authorises it in between.
    async fn bring(&self, person: &mut Device<Profile1>, offer: &Json) -> Claims {
        let path = format!("/v1/credentials/{}/authenticators", person.id.to_hex());
        let (status, waits) = self.post(&path, offer).await;
        assert_eq!((status, &waits["status"]), (202, &Json::Null), "{waits}");
        let id = Hash::from_hex(waits["id"].as_str().expect("an id")).expect("an id");
        self.plain(person, &named(CLASS_ADD_AUTHENTICATOR, &id)).await;
        let (status, added) = self.post(&path, offer).await;
        assert_eq!((status, &added["id"]), (201, &waits["id"]), "{added}");
        assert_eq!(added["claims"], waits["claims"]);
        let (status, again) = self.post(&path, offer).await;
        assert_eq!((status, &again["status"]["index"]), (201, &added["status"]["index"]), "the same again is the same");
        let claims = Claims::parse(&Base64::decode_vec(added["claims"].as_str().expect("claims")).expect("base64"));
        let claims = claims.expect("claims");
        assert_eq!(claims.id(), id);
        claims
    }

    /// A person who is active, with a passkey and a card.
    async fn person(&self, name: &str) -> (Device<Profile1>, Passkey, Card) {
        let mut person = Device::<Profile1>::enrol(&self.authority, PIN).await;
        person.activate(&self.authority, &self.house.rig, PIN).await;
        let state = self.authority.engine().credential(&person.id).unwrap().expect("issued");
        let subject = state.credential().claims().subject;
        let options = self.get(&format!("/v1/credentials/{}/authenticators/options", person.id.to_hex())).await;
        let mut passkey = Passkey::new(subject, Secret::p256(name));
        passkey.claims = self.bring(&mut person, &json!({ "webauthn": passkey.registration(&options) })).await;
        let mut card = Card::new(subject, name);
        card.claims = self.bring(&mut person, &self.card(&card)).await;
        (person, passkey, card)
    }

    fn card(&self, card: &Card) -> Json {
        use p256::ecdsa::signature::Signer as _;
        let About::Nfc(Nfc { key, card_uid }) = &card.claims.about else { unreachable!("a card") };
        let proof: p256::ecdsa::Signature = card.secret.sign(&proof_hash(ORIGIN, &card.claims.id()).0);
        json!({ "nfc": {
            "key": Base64::encode_string(key.as_bytes()),
            "card_uid": hex::encode(card_uid),
            "proof": Base64::encode_string(&proof.to_bytes()),
        }})
    }
}

fn named(class: &str, authenticator: &Hash) -> Document {
    document(class, "authenticator", Value::Bytes(authenticator.0.to_vec()))
}

fn payment() -> Document {
    let mut payment = document("payment", "amount", Value::Uint(100));
    payment.fields.extend(document("payment", "currency", Value::Text("EUR".to_owned())).fields);
    payment
}

fn item(kind: &str, authenticator: &Hash, blob: &[u8]) -> Json {
    json!({ "kind": kind, "authenticator": authenticator.to_hex(), "blob": Base64::encode_string(blob) })
}

fn passkeys(passkey: &mut Passkey, bound: &Bound) -> Json {
    passkey.count += 1;
    item("webauthn", &passkey.claims.id(), &passkey.webauthn(bound))
}

/// The code of a refusal that cost nothing.
fn refused((status, problem): (u16, Json)) -> String {
    assert_eq!((status, &problem["type"]), (422, &"/problems/evidence-refused".into()), "{problem}");
    problem["code"].as_str().expect("a code").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn r0_01_what_the_policy_needs_is_said_shown_and_logged() {
    let site = Site::start().await;
    let mut nobody = Device::<Profile1>::enrol(&site.authority, PIN).await;
    nobody.activate(&site.authority, &site.house.rig, PIN).await;
    let presented = Presented::of(&payment(), |_| true).to_bytes();
    let ask = |id: Hash| json!({ "credential": id.to_hex(), "instruction": Base64::encode_string(&presented) });
    let (status, blocked) = site.post("/v1/intents", &ask(nobody.id)).await;
    assert_eq!(status, 403, "without an authenticator there is no challenge: {blocked}");
    assert!(blocked["detail"].as_str().is_some_and(|detail| detail.contains("no-authenticator")), "{blocked}");

    let (mut person, mut passkey, card) = site.person("anna").await;
    let (status, asked) = site.post("/v1/intents", &ask(person.id)).await;
    assert_eq!(status, 201, "{asked}");
    let needs = &asked["needs"][0];
    assert_eq!((&needs["rule"], &needs["need"]), (&0.into(), &json!({ "kind": "webauthn", "uv": true })));
    assert_eq!(needs["kinds"], json!(["webauthn", "nfc"]));
    let ids: Vec<&Json> = needs["authenticators"].as_array().expect("a list").iter().map(|one| &one["id"]).collect();
    assert_eq!(ids.len(), 2);
    assert!(ids.contains(&&passkey.claims.id().to_hex().into()) && ids.contains(&&card.claims.id().to_hex().into()));

    let intent = site.intent(&person, &payment()).await;
    assert_eq!(refused(site.answer(&mut person, &intent, &payment(), |_| vec![]).await), "evidence-missing");
    let (status, done) = site
        .answer(&mut person, &intent, &payment(), |bound| {
            vec![passkeys(&mut passkey, bound), item("nfc", &card.claims.id(), &card.nfc(bound))]
        })
        .await;
    assert_eq!(status, 201, "the same challenge, which nothing had spent: {done}");
    assert_eq!(person.failures(&site.authority), (0, 0));

    // Whoever reads the log finds it there, and judges it again.
    let engine = site.authority.engine();
    let index = at(done["record"]["index"].as_u64().expect("an index"));
    let solelog::openings::Shown::Open(opening) = engine.opening(index).unwrap() else { panic!("an opening") };
    assert_eq!(scal3::Opening::parse(&opening).expect("an opening").evidence.len(), 2);
    let own = engine.authenticators(&passkey.claims.participant).unwrap().expect("authenticators");
    assert_eq!(own.get(&passkey.claims.id()).expect("held").last_count(), Some(2));
    assert_eq!(fold(engine).authenticators(&passkey.claims.participant), Some(&own));
}

/// A rogue engine, or a device that was told that nothing is needed: whatever is sent in place of it, nothing comes of it.
#[tokio::test(flavor = "multi_thread")]
async fn r0_g1_evidence_for_anything_else_opens_nothing_and_costs_nothing() {
    let site = Site::start().await;
    let (mut person, mut passkey, card) = site.person("anna").await;
    let (_, mut other, _) = site.person("bram").await;
    let transfer = document("transfer", "to", Value::Text("Bram".to_owned()));
    let vote = document("vote", "for", Value::Text("yes".to_owned()));
    let intent = site.intent(&person, &payment()).await;
    let elsewhere = site.intent(&person, &transfer).await;

    let of_transfer = site.bound(&person, &person.metadata(&site.authority, &elsewhere, site.now()), &transfer);
    let mut try_with = async |evidence: &mut dyn FnMut(&Bound) -> Vec<Json>| {
        refused(site.answer(&mut person, &intent, &payment(), evidence).await)
    };
    assert_eq!(try_with(&mut |_| vec![passkeys(&mut passkey, &of_transfer)]).await, "evidence-missing", "operation");
    assert_eq!(try_with(&mut |bound| vec![passkeys(&mut other, bound)]).await, "unknown-authenticator", "person");
    let nfc = |bound: &Bound| item("nfc", &card.claims.id(), &card.nfc(bound));
    assert_eq!(try_with(&mut |bound| vec![nfc(bound)]).await, "evidence-missing", "what is only observed");
    let mut phished = Passkey { site: "https://bank.example.evil", ..passkey.clone() };
    assert_eq!(try_with(&mut |bound| vec![passkeys(&mut phished, bound)]).await, "evidence-missing", "site");
    let mut unseen = Passkey { flags: 0x01, ..passkey.clone() };
    assert_eq!(try_with(&mut |bound| vec![passkeys(&mut unseen, bound)]).await, "evidence-missing", "not verified");
    let twice = &mut |bound: &Bound| vec![passkeys(&mut passkey, bound), passkeys(&mut passkey, bound)];
    assert_eq!(try_with(twice).await, "twice");
    let unknown = &mut |_: &Bound| vec![item("retina", &card.claims.id(), b"eye")];
    assert_eq!(try_with(unknown).await, "unknown-kind");
    // A password's statement is the server's word. Nobody else gives it.
    let vouched = &mut |bound: &Bound| {
        let claims = testkit::otp(bound.participant);
        vec![item("otp", &claims.id(), &testkit::vouch(&claims, bound))]
    };
    assert_eq!(try_with(vouched).await, "vouched");
    assert_eq!(person.failures(&site.authority), (0, 0), "nothing was counted");
    let presented = Presented::of(&vote, |_| true).to_bytes();
    assert!(site.authority.intent(person.id, presented, Who::Provider).await.is_err(), "nobody has such a generator");

    // And with what is needed, it is done.
    let both = |bound: &Bound| vec![passkeys(&mut passkey, bound), nfc(bound)];
    let (status, done) = site.answer(&mut person, &elsewhere, &transfer, both).await;
    assert_eq!(status, 201, "{done}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r0_10_authenticators_are_listed_for_the_browser_and_revoked_by_either() {
    let site = Site::start().await;
    let (mut person, passkey, card) = site.person("anna").await;
    let path = format!("/v1/credentials/{}/authenticators", person.id.to_hex());
    let listed = site.get(&path).await;
    let find = |listed: &Json, id: &Hash| {
        let list = listed["authenticators"].as_array().expect("a list");
        list.iter().find(|one| one["id"] == id.to_hex().as_str()).expect("it is there").clone()
    };
    let shown = find(&listed, &passkey.claims.id());
    assert_eq!((&shown["type"], &shown["purpose"]), (&"webauthn".into(), &"sign".into()));
    assert!(shown["credential_id"].as_str().is_some_and(|id| !id.is_empty()), "{shown}");
    assert_eq!(find(&listed, &card.claims.id())["type"], "nfc");
    let without = site.client.get(format!("{}{path}", site.url)).send().await.expect("an answer");
    assert_eq!(without.status().as_u16(), 401, "they are nobody else's business");

    // By the provider's word, and by the person's.
    let revoke = format!("{path}/{}/revoke", card.claims.id().to_hex());
    let (status, revoked) = site.post(&revoke, &json!({ "reason": "lost" })).await;
    assert_eq!(status, 200, "{revoked}");
    site.plain(&mut person, &named(CLASS_REVOKE_AUTHENTICATOR, &passkey.claims.id())).await;
    let listed = site.get(&path).await;
    assert_eq!(find(&listed, &card.claims.id())["revoked_at"], revoked["index"]);
    assert!(find(&listed, &passkey.claims.id())["revoked_at"].is_u64());
    let presented = Presented::of(&payment(), |_| true).to_bytes();
    assert!(site.authority.intent(person.id, presented, Who::Provider).await.is_err(), "nothing is left that would do");

    // What does not hold is not taken: no proof, another's proof, an answer to another challenge, a second time.
    let mut bare = site.card(&Card::new(passkey.claims.participant, "another card"));
    bare["nfc"]["proof"] = Base64::encode_string(&[1; 64]).into();
    let stranger = Passkey::new(passkey.claims.participant, Secret::p256("another"));
    let other = json!({ "webauthn": stranger.registration(&json!({ "publicKey": { "challenge": "AAAA" } })) });
    for offer in [bare, other] {
        let (status, problem) = site.post(&path, &offer).await;
        assert_eq!((status, &problem["type"]), (422, &"/problems/authenticator-refused".into()), "{problem}");
    }
    let (status, problem) = site.post(&path, &site.card(&card)).await;
    assert_eq!(
        (status, &problem["type"]),
        (422, &"/problems/authenticator-refused".into()),
        "it was revoked: {problem}"
    );
    // A device that matches people, which signs with Ed25519.
    let secret = Secret::ed25519("a reader");
    let about = Bio { key: secret.public(), template: [7; 32], ueid: [1; 17] };
    let claims = Claims { attestation: "none".to_owned(), about: About::Bio(about), ..card.claims.clone() };
    let proof = secret.sign(&proof_hash(ORIGIN, &claims.id()).0);
    let offer = json!({ "bio": {
        "alg": "eddsa",
        "key": Base64::encode_string(secret.public().as_bytes()),
        "template": Base64::encode_string(&[7; 32]),
        "ueid": Base64::encode_string(&[1; 17]),
        "proof": Base64::encode_string(&proof),
    }});
    assert_eq!(site.bring(&mut person, &offer).await, claims);
    site.plain(&mut person, &document("greeting", "to", Value::Text("Bram".to_owned()))).await;
    fold(site.authority.engine());
}

/// A delegation that this passkey signs.
fn delegation(passkey: &Passkey, audience: &str, command: &str) -> Delegation {
    let payload = Payload {
        issuer: did::of_key(&passkey.secret.public()),
        audience: audience.to_owned(),
        subject: None,
        command: command.to_owned(),
        policy: Vec::new(),
        nonce: vec![7; 12],
        meta: None,
        not_before_s: None,
        expires_s: Some(4_000_000_000),
    };
    let header = Header { algorithm: Algorithm::Es256, webauthn: true };
    let asked = ucan::challenge(&to_be_signed(header, &payload));
    Delegation::signed_by_passkey(payload, &passkey.varsig(&asked)).expect("a delegation")
}

#[tokio::test(flavor = "multi_thread")]
async fn r2_11_a_passkeys_delegation_is_verified_logged_and_said_again_in_the_form_that_others_read() {
    let site = Site::start().await;
    let (mut person, passkey, _) = site.person("Ada").await;
    let onward = did::of_key(&Secret::ed25519("a storage service").public());
    let judge = async |token: &Delegation, to: Option<&str>| {
        let body = json!({ "token": Base64::encode_string(&token.to_bytes()), "to": to });
        let (status, verdict) = site.post("/v1/ucan/verify", &body).await;
        assert_eq!(status, 200, "{verdict}");
        verdict
    };
    let server = judge(&delegation(&passkey, &onward, "/store"), None).await["server"].as_str().unwrap().to_owned();
    let given = delegation(&passkey, &server, "/store/add");
    let verdict = judge(&given, Some(&onward)).await;
    assert_eq!((verdict["verdict"].as_str(), verdict["reason"].as_str()), (Some("verified"), None), "{verdict}");
    assert_eq!(verdict["authenticator"], passkey.claims.id().to_hex());
    assert!(verdict["index"].is_u64(), "{verdict}");

    // What others get verifies with the server's plain key alone, follows from the first, and names it.
    let standard = Base64::decode_vec(verdict["standard"]["token"].as_str().expect("a token")).expect("base64");
    let standard = Delegation::parse(&standard).expect("a delegation");
    standard.verify(1_760_000_000, None).expect("it verifies without knowing any passkey");
    standard.follows(&given).expect("no more than was delegated");
    let said = standard.payload();
    assert_eq!((&said.issuer, &said.audience, said.command.as_str()), (&server, &onward, "/store/add"));
    assert_eq!(said.subject.as_deref(), Some(given.payload().issuer.as_str()));
    assert!(format!("{:?}", said.meta).contains(&given.cid()));

    // The server does not delegate on what it was not given.
    let others = judge(&delegation(&passkey, &onward, "/store"), Some(&onward)).await;
    assert_eq!((others["verdict"].as_str(), &others["standard"]), (Some("refused"), &Json::Null), "{others}");
    let refused = async |token: &Delegation, why: &str| {
        let verdict = judge(token, Some(&onward)).await;
        assert_eq!(verdict["verdict"], "refused", "{verdict}");
        assert!(verdict["reason"].as_str().is_some_and(|reason| reason.contains(why)), "{why}: {verdict}");
        assert_eq!(verdict["standard"], Json::Null);
        verdict
    };
    let altered = |alter: fn(&mut Passkey)| {
        let mut other = passkey.clone();
        alter(&mut other);
        delegation(&other, &server, "/store")
    };
    refused(&altered(|it| it.flags = 0x01), "user").await;
    refused(&altered(|it| it.site = "https://bank.example.evil"), "origin").await;
    let stranger = delegation(&Passkey::new(Hash([1; 32]), Secret::p256("nobody")), &server, "/store");
    assert_eq!(refused(&stranger, "enrolled").await["index"], Json::Null, "nobody here is concerned");
    let (status, _) = site.post("/v1/ucan/verify", &json!({ "token": "AAAA" })).await;
    assert_eq!(status, 400);

    // A passkey that its person has revoked delegates nothing any more.
    let revoke = named(CLASS_REVOKE_AUTHENTICATOR, &passkey.claims.id());
    site.plain(&mut person, &revoke).await;
    let path = format!("/v1/credentials/{}/authenticators/{}/revoke", person.id.to_hex(), passkey.claims.id().to_hex());
    site.post(&path, &json!({ "reason": "lost" })).await;
    refused(&given, "active").await;
}
