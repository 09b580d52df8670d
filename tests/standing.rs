//! Policies and authenticators as the log keeps them: taken, refused, found again after a restart, and made again from entries.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;

use scal3::authenticators::EnrolError;
use scal3::fold::PolicyRefusal;
use scal3::genesis::{Genesis, policy_hash};
use scal3::instruction::{CLASS_ADD_AUTHENTICATOR, CLASS_POLICY, CLASS_REVOKE_AUTHENTICATOR, Field, Value};
use scal3::metadata::operation_hash;
use scal3::opening::Evidence;
use scal3::policy::Denial;
use scal3::verify::{EvidenceRefusal, MetadataRefusal, Refusal};
use scal3::{Change, Document, Hash, authenticator};
use solelog::engine::Engine;
use solelog::recovery;
use solelog::store::disk;
use solelog::store::view::{Options, RedbView, View as _};
use solelog::submission::{AppendError, Appended, Submission, Until};
use support::people::{Draft, ORIGIN, Person};
use support::*;
use testkit::{Bound, Passkey, Secret};

/// Payments need a passkey that verified its person. Anybody may change that.
const STRICT: &[u8] = br#"{"version":1,"rules":[
    {"when":{"class":"payment"},"need":{"kind":"webauthn","uv":true}},{"when":{"class":"policy.change"}}]}"#;

/// Nothing needs anything.
const LAX: &[u8] = br#"{"version":1,"rules":[{"when":{"class":"policy.change"}}]}"#;

async fn start(rig: &Rig) -> Engine {
    Engine::create(&rig.config(), &Genesis { policy: STRICT.to_vec(), ..genesis() }).unwrap();
    rig.open().await
}

/// The next instruction of that class, about that one thing.
fn about(engine: &Engine, rig: &Rig, person: &Person, class: &str, name: &str, id: &Hash) -> Draft {
    let mut next = draft(engine, rig, person);
    let field = Field { salt: [9; 16], name: name.into(), value: Value::Bytes(id.0.to_vec()) };
    next.document = Document { class: class.into(), fields: vec![field] };
    next.metadata.class = class.into();
    next
}

/// The next payment, with that passkey's assertion.
fn payment(engine: &Engine, rig: &Rig, person: &Person, passkey: &Passkey) -> Draft {
    let mut next = draft(engine, rig, person);
    let bound = Bound {
        origin: ORIGIN,
        operation_hash: operation_hash(&next.metadata.to_bytes(), &next.document.id()),
        instruction_id: next.document.id(),
        session: next.metadata.challenge,
        participant: person.claims.subject,
        now_ms: rig.clock.load(Ordering::SeqCst),
    };
    next.evidence.push(Evidence {
        kind: "webauthn".into(),
        participant: person.claims.subject,
        authenticator: passkey.claims.id(),
        blob: passkey.webauthn(&bound),
    });
    next
}

async fn status(engine: &Engine, person: &Person, change: Change) -> Result<Appended, AppendError> {
    engine.append(Submission::Status { credential: person.id(), change }, Until::Integrated).await
}

async fn add(engine: &Engine, rig: &Rig, person: &Person, claims: &authenticator::Claims) -> (Appended, Appended) {
    let asks = about(engine, rig, person, CLASS_ADD_AUTHENTICATOR, "authenticator", &claims.id());
    let asks = send(engine, asks.opening()).await.unwrap();
    (asks, status(engine, person, Change::AuthenticatorAdded(claims.to_bytes())).await.unwrap())
}

async fn policy(engine: &Engine, document: &[u8]) -> Result<Appended, AppendError> {
    engine.append(Submission::Policy(document.to_vec()), Until::Integrated).await
}

async fn speak(engine: &Engine, rig: &Rig, person: &Person, document: &[u8]) -> Appended {
    let next = about(engine, rig, person, CLASS_POLICY, "policy", &policy_hash(document));
    send(engine, next.opening()).await.unwrap()
}

fn refused(answer: Result<Appended, AppendError>) -> Refusal {
    match answer {
        Err(AppendError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

const NOT_MET: Refusal = Refusal::Evidence(EvidenceRefusal::Policy(Denial::NotMet { rule: 0 }));

/// All that the view of a folder says. The log must not be running.
fn view(dir: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let view = RedbView::open(&disk::real(), &dir.join("view"), &Options::default()).unwrap();
    let mut all = BTreeMap::new();
    view.scan(b"", &mut |key, value| {
        all.insert(key.to_vec(), value.to_vec());
    })
    .unwrap();
    view.close().unwrap();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn r0_01_the_log_knows_who_has_what_and_asks_for_it() {
    let rig = Rig::new();
    let engine = start(&rig).await;
    let person = active(&engine, &rig, "Ada").await;
    let mut passkey = Passkey::new(person.claims.subject, Secret::p256("Ada's"));
    let added = Change::AuthenticatorAdded(passkey.claims.to_bytes());
    assert_eq!(refused(send(&engine, draft(&engine, &rig, &person).opening()).await), NOT_MET);
    let unknown = payment(&engine, &rig, &person, &passkey);
    let unknown = refused(send(&engine, unknown.opening()).await);
    assert_eq!(unknown, Refusal::Evidence(EvidenceRefusal::UnknownAuthenticator { item: 0 }));
    let not_asked = status(&engine, &person, added.clone()).await;
    assert!(matches!(not_asked, Err(AppendError::Authenticator(EnrolError::NotSpokenFor))), "{not_asked:?}");

    let (_, first) = add(&engine, &rig, &person, &passkey.claims).await;
    let again = status(&engine, &person, added).await.unwrap();
    assert_eq!((again.index, again.existing), (first.index, true), "the same again is the same");
    send(&engine, payment(&engine, &rig, &person, &passkey).opening()).await.unwrap();
    assert_eq!(
        refused(send(&engine, payment(&engine, &rig, &person, &passkey).opening()).await),
        NOT_MET,
        "its counter"
    );
    passkey.count = 2;
    send(&engine, payment(&engine, &rig, &person, &passkey).opening()).await.unwrap();

    // A phone with the key of that passkey is none.
    let mut phone = Person::new("a phone", scal3::Profile::EcSdsa);
    let Secret::P256(key) = &passkey.secret else { panic!("P-256") };
    phone.device = *key.as_nonzero_scalar().as_ref();
    phone.claims.device_key = support::people::public(&phone.device);
    let same_key = issue(&engine, &phone).await;
    assert!(matches!(same_key, Err(AppendError::Authenticator(EnrolError::Known))), "{same_key:?}");

    let revoke = about(&engine, &rig, &person, CLASS_REVOKE_AUTHENTICATOR, "authenticator", &passkey.claims.id());
    send(&engine, revoke.opening()).await.unwrap();
    passkey.count = 3;
    assert_eq!(refused(send(&engine, payment(&engine, &rig, &person, &passkey).opening()).await), NOT_MET);
    let back = status(&engine, &person, Change::AuthenticatorAdded(passkey.claims.to_bytes())).await;
    assert!(matches!(back, Err(AppendError::Authenticator(EnrolError::Known))), "{back:?}");
    let own = engine.authenticators(&person.claims.subject).unwrap().unwrap();
    assert_eq!(fold(&engine).authenticators(&person.claims.subject), Some(&own));
    engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r4_19_a_policy_comes_into_force_by_an_instruction_and_stays_over_restarts_and_rebuilds() {
    let rig = Rig::new();
    let engine = start(&rig).await;
    let person = active(&engine, &rig, "Ada").await;
    let passkey = Passkey::new(person.claims.subject, Secret::p256("Ada's"));
    add(&engine, &rig, &person, &passkey.claims).await;
    let nobody_spoke = policy(&engine, LAX).await;
    assert!(matches!(nobody_spoke, Err(AppendError::Policy(PolicyRefusal::NotAuthorised))), "{nobody_spoke:?}");
    speak(&engine, &rig, &person, LAX).await;
    let before = draft(&engine, &rig, &person);
    let changed = policy(&engine, LAX).await.unwrap();
    let again = policy(&engine, LAX).await.unwrap();
    assert_eq!((again.index, again.existing), (changed.index, true));
    assert_eq!(refused(send(&engine, before.opening()).await), Refusal::Metadata(MetadataRefusal::Policy));
    send(&engine, draft(&engine, &rig, &person).opening()).await.unwrap();
    // Spoken for, and not in force yet.
    speak(&engine, &rig, &person, STRICT).await;

    let policies = engine.policies().unwrap();
    assert_eq!((policies.document(), policies.since()), (LAX, changed.index.get()));
    assert_eq!(fold(&engine).policies(), &*policies);
    engine.shutdown().await;
    drop(engine);
    let engine = rig.open().await;
    assert_eq!(engine.policies().unwrap(), policies);
    engine.shutdown().await;
    drop(engine);

    // Made again from entries, it is the same to the last byte.
    let live = view(&rig.dir);
    recovery::rebuild(&rig.config(), &mut |_, _| {}).unwrap();
    assert_eq!(view(&rig.dir), live);
    let engine = rig.open().await;
    assert_eq!(engine.policies().unwrap(), policies);
    policy(&engine, STRICT).await.unwrap();
    assert_eq!(refused(send(&engine, draft(&engine, &rig, &person).opening()).await), NOT_MET);
    send(&engine, payment(&engine, &rig, &person, &passkey).opening()).await.unwrap();
    assert_eq!(fold(&engine).policies(), &*engine.policies().unwrap());
    engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuilt_view_has_the_authenticators_and_policies_whose_records_were_erased() {
    let rig = Rig::new();
    let engine = start(&rig).await;
    let person = active(&engine, &rig, "Ada").await;
    let subject = person.claims.subject;
    let erase = async |engine: &Engine, entry: &Appended| {
        let erasure = Submission::Erasure { index: entry.index, reason: "asked for".into() };
        engine.append(erasure, Until::Integrated).await.unwrap();
    };
    let mut passkey = Passkey::new(subject, Secret::p256("Ada's"));
    let other = Passkey::new(subject, Secret::ed25519("Ada's other"));
    let (asked, _) = add(&engine, &rig, &person, &passkey.claims).await;
    add(&engine, &rig, &person, &other.claims).await;
    // A snapshot that does not know of the erasures.
    engine.shutdown().await;
    drop(engine);
    let engine = rig.open().await;
    erase(&engine, &asked).await;
    passkey.count = 7;
    let paid = send(&engine, payment(&engine, &rig, &person, &passkey).opening()).await.unwrap();
    erase(&engine, &paid).await;
    let revoke = about(&engine, &rig, &person, CLASS_REVOKE_AUTHENTICATOR, "authenticator", &other.claims.id());
    let revoked = send(&engine, revoke.opening()).await.unwrap();
    erase(&engine, &revoked).await;
    let spoken = speak(&engine, &rig, &person, LAX).await;
    erase(&engine, &spoken).await;
    let (own, policies) = (engine.authenticators(&subject).unwrap(), engine.policies().unwrap());
    let state = engine.credential(&person.id()).unwrap();
    let image = rig.beside("image");
    copy_tree(&rig.dir, &image);
    engine.shutdown().await;
    drop(engine);
    let live = view(&rig.dir);
    for killed in [false, true] {
        if killed {
            // What a kill leaves, with a lost view: what is left of the erased is in the journal's tail only.
            std::fs::remove_dir_all(&rig.dir).unwrap();
            copy_tree(&image, &rig.dir);
        }
        std::fs::remove_dir_all(rig.dir.join("view")).unwrap();
        let engine = rig.open().await;
        assert_eq!(engine.authenticators(&subject).unwrap(), own, "killed: {killed}");
        assert_eq!(engine.policies().unwrap(), policies, "killed: {killed}");
        assert_eq!(engine.credential(&person.id()).unwrap(), state, "killed: {killed}");
        engine.shutdown().await;
        drop(engine);
        let ours = |all: BTreeMap<Vec<u8>, Vec<u8>>| {
            all.into_iter().filter(|(key, _)| b"cdluyvtr".contains(&key[0])).collect::<Vec<_>>()
        };
        assert_eq!(ours(view(&rig.dir)), ours(live.clone()), "killed: {killed}");
    }
    let engine = rig.open().await;
    assert_eq!(refused(send(&engine, payment(&engine, &rig, &person, &other).opening()).await), NOT_MET, "revoked");
    assert_eq!(
        refused(send(&engine, payment(&engine, &rig, &person, &passkey).opening()).await),
        NOT_MET,
        "its counter"
    );
    passkey.count = 8;
    send(&engine, payment(&engine, &rig, &person, &passkey).opening()).await.unwrap();
    policy(&engine, LAX).await.unwrap();
    // Whoever reads what is left calls nothing in it wrong.
    fold(&engine);
    engine.shutdown().await;
}
