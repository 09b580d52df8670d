//! A provider that says what is not so: nothing leaves the device because of it.

use client::head::HeadError;
use client::watch::{Fault, List};
use client::wire::Exactly;
use client::{Error, Lie, Profile, Subscriber};
use scal3::event::Detail;
use scal3::{Hash, Kind};
use serde_json::{Value, json};
use tlog::{TreeHead, TreeSize};

use super::provider::{START_MS, Site};
use super::{anna, payment, pin};

type Anna = Subscriber<client::device::SoftDevice>;

async fn enrolled(site: &Site, temp: &tempfile::TempDir) -> Anna {
    let mut anna = anna(site, temp.path());
    anna.enrol(&site.invite(None).await, Profile::EcSdsa, &pin()).await.unwrap();
    anna.authorise(&payment(1), &pin()).await.unwrap();
    site.log.lock().unwrap().asked.clear();
    anna
}

fn sent(site: &Site, route: &str) -> usize {
    site.log.lock().unwrap().asked.iter().filter(|asked| *asked == route).count()
}

const OTHER: Hash = Hash([0x11; 32]);

fn b64(bytes: &[u8; 32]) -> Value {
    serde_json::to_value(Exactly(*bytes)).unwrap()
}

#[tokio::test]
async fn r0_05_no_pass_leaves_the_device_for_an_intent_that_lies() {
    let (site, temp) = (Site::open().await, tempfile::tempdir().unwrap());
    let mut anna = enrolled(&site, &temp).await;
    let other = || Value::from(OTHER.to_hex());
    type Change = Box<dyn Fn(&mut Value) + Send>;
    let lies: Vec<(Lie, Change)> = vec![
        (Lie::Challenge, Box::new(move |answer| answer["id"] = other())),
        (Lie::Challenge, Box::new(|answer| answer["challenge"]["random"] = b64(&[1; 32]))),
        (
            Lie::Challenge,
            Box::new(|answer| {
                // The commitments the other way round: points, and others than the hash is over.
                let Exactly(bytes): Exactly<66> =
                    serde_json::from_value(answer["challenge"]["commitment"].take()).unwrap();
                let turned: [u8; 66] = [&bytes[33..], &bytes[..33]].concat().try_into().unwrap();
                answer["challenge"]["commitment"] = serde_json::to_value(Exactly(turned)).unwrap();
            }),
        ),
        (
            Lie::Commitment,
            Box::new(|answer| {
                answer["challenge"]["commitment"] = serde_json::to_value(Exactly([0xff; 66])).unwrap();
            }),
        ),
        (Lie::Instruction, Box::new(move |answer| answer["instruction_id"] = other())),
        (Lie::Origin, Box::new(|answer| answer["metadata"]["origin"] = json!("log.example/others"))),
        (Lie::Provider, Box::new(move |answer| answer["metadata"]["provider"] = other())),
        (Lie::Credential, Box::new(move |answer| answer["metadata"]["credential"] = other())),
        (Lie::Class, Box::new(|answer| answer["metadata"]["class"] = json!("document.sign"))),
        (Lie::Sequence { ours: 2, theirs: 3 }, Box::new(|answer| answer["metadata"]["sequence"] = json!(3))),
        (Lie::Sequence { ours: 2, theirs: 1 }, Box::new(|answer| answer["metadata"]["sequence"] = json!(1))),
        (Lie::Previous, Box::new(move |answer| answer["metadata"]["previous"] = other())),
        (Lie::Clock { seconds: 301 }, Box::new(|answer| answer["time_ms"] = json!(START_MS + 301_000))),
        (Lie::Clock { seconds: 301 }, Box::new(|answer| answer["time_ms"] = json!(START_MS - 301_000))),
        (Lie::Expiry, Box::new(|answer| answer["challenge"]["expires_ms"] = json!(START_MS))),
        (Lie::Expiry, Box::new(|answer| answer["challenge"]["expires_ms"] = json!(START_MS + 86_400_000))),
        (Lie::NotLogged, Box::new(|answer| answer["head"]["root"] = b64(&[1; 32]))),
    ];
    for (expected, change) in lies {
        site.lie("intent", change);
        match anna.authorise(&payment(2), &pin()).await {
            Err(Error::Lie(lie)) => assert_eq!(lie, expected),
            other => panic!("{expected}: {other:?}"),
        }
        assert!(!anna.is_unsettled());
    }
    site.lie("intent", |answer| answer["needs"] = json!([{"kind": "card"}]));
    assert!(matches!(anna.authorise(&payment(2), &pin()).await, Err(Error::EvidenceNeeded)));
    site.lie("intent", |answer| answer["more"] = json!(1));
    assert!(matches!(anna.authorise(&payment(2), &pin()).await, Err(Error::Provider(_))));
    assert_eq!(sent(&site, "authorise"), 0);
    site.honest();
    assert_eq!(anna.authorise(&payment(2), &pin()).await.unwrap().sequence, 2);
}

#[tokio::test]
async fn a_log_never_goes_back_behind_what_it_has_shown() {
    let (site, temp) = (Site::open().await, tempfile::tempdir().unwrap());
    let mut anna = enrolled(&site, &temp).await;
    anna.refresh().await.unwrap();
    let seen = anna.seen().unwrap();
    site.when("checkpoint", |log, answer| *answer = log.checkpoint_at(3).to_text().into());
    let behind = anna.authorise(&payment(2), &pin()).await;
    assert!(matches!(behind, Err(Error::Head(HeadError::Behind { shown: 3, .. }))), "{behind:?}");
    // Another root for the same size.
    site.when("checkpoint", |log, answer| {
        let size = TreeSize::new(log.entries.len() as u64).unwrap();
        *answer = log.checkpoint(TreeHead { size, root: OTHER }).to_text().into();
    });
    let fork = anna.authorise(&payment(2), &pin()).await;
    assert!(matches!(fork, Err(Error::Head(HeadError::Fork { .. }))), "{fork:?}");
    let evidence = std::fs::read_to_string(temp.path().join("state/two-histories.json")).unwrap();
    assert_eq!(evidence.matches("log.example/people\\n").count(), 2);
    // A larger tree that does not continue the one seen.
    site.when("checkpoint", |log, answer| {
        let size = TreeSize::new(log.entries.len() as u64 + 1).unwrap();
        log.event(&log.accounts.keys().next().copied().unwrap(), Kind::Event, "noise", Detail::Nothing);
        *answer = log.checkpoint(TreeHead { size, root: OTHER }).to_text().into();
    });
    let other = anna.authorise(&payment(2), &pin()).await;
    assert!(matches!(other, Err(Error::Head(HeadError::Inconsistent { .. }))), "{other:?}");
    // One that nobody signed for.
    site.lie("checkpoint", |answer| {
        let text = answer.as_str().unwrap().replacen("log.example", "log.exampl", 1);
        *answer = text.into();
    });
    assert!(matches!(anna.refresh().await, Err(Error::Head(HeadError::Policy(_)))));
    assert_eq!((anna.seen(), sent(&site, "authorise")), (Some(seen), 0));
    // The same in the intent.
    site.when("intent", |log, answer| {
        answer["head"]["checkpoint"] = log.checkpoint_at(3).to_text().into();
    });
    assert!(matches!(anna.authorise(&payment(2), &pin()).await, Err(Error::Head(HeadError::Behind { .. }))));
    assert_eq!(sent(&site, "authorise"), 0);
    // What was seen outlives the process.
    drop(anna);
    site.when("checkpoint", |log, answer| *answer = log.checkpoint_at(3).to_text().into());
    let mut anna = super::anna(&site, temp.path());
    assert!(matches!(anna.refresh().await, Err(Error::Head(HeadError::Behind { .. }))));
}

#[tokio::test]
async fn a_credential_that_says_something_else_is_not_taken() {
    type Change = Box<dyn Fn(&mut scal3::Claims) + Send>;
    let point = || threshold::MasterSecret::from_bytes([1; 32]).kem_key(&OTHER).public_key();
    let changes: Vec<(&str, Change)> = vec![
        ("origin", Box::new(|claims| claims.origin = "log.example/others".into())),
        ("enrolment", Box::new(|claims| claims.enrolment_id = OTHER)),
        ("profile", Box::new(|claims| claims.profile = Profile::Transcript)),
        ("joint key", Box::new(move |claims| claims.joint_key = *point().as_bytes())),
        ("device key", Box::new(move |claims| claims.device_key = *point().as_bytes())),
        ("shares", Box::new(|claims| claims.shares = OTHER)),
        ("KEM key", Box::new(|claims| claims.kem_key_id = OTHER)),
        ("label", Box::new(|claims| claims.labels.reverse())),
        ("predecessor", Box::new(|claims| claims.predecessor = Some(OTHER))),
        ("ordinal", Box::new(|claims| claims.ordinal = 1)),
        ("validity", Box::new(|claims| claims.not_after_ms = START_MS)),
    ];
    for (expected, change) in changes {
        let (site, temp) = (Site::open().await, tempfile::tempdir().unwrap());
        let mut anna = anna(&site, temp.path());
        // The fold would not issue some of these; the answer comes all the same.
        site.spoil(|spoilt| {
            spoilt.claims = Some(change);
            spoilt.unlogged = true;
        });
        match anna.enrol(&site.invite(None).await, Profile::EcSdsa, &pin()).await {
            Err(Error::Lie(Lie::Claims(what))) => assert_eq!(what, expected),
            other => panic!("{expected}: {other:?}"),
        }
        assert_eq!((anna.credential(), sent(&site, "intent")), (None, 0));
    }
}

#[tokio::test]
async fn a_credential_must_be_signed_and_in_the_log() {
    let (site, temp) = (Site::open().await, tempfile::tempdir().unwrap());
    let mut anna = anna(&site, temp.path());
    let invitation = site.invite(None).await;
    site.spoil(|spoilt| (spoilt.stranger, spoilt.unlogged) = (true, true));
    assert!(matches!(anna.enrol(&invitation, Profile::EcSdsa, &pin()).await, Err(Error::Lie(Lie::Signature))));

    let temp = tempfile::tempdir().unwrap();
    let mut anna = super::anna(&site, temp.path());
    let invitation = site.invite(None).await;
    site.spoil(|spoilt| (spoilt.stranger, spoilt.unlogged) = (false, true));
    assert!(matches!(anna.enrol(&invitation, Profile::EcSdsa, &pin()).await, Err(Error::Lie(Lie::Issued))));
    // Another log, another provider, or too late.
    let later = client::wire::Invitation { expires_ms: START_MS - 1, ..site.invite(None).await };
    let elsewhere = client::wire::Invitation { origin: "log.example".into(), ..site.invite(None).await };
    let temp = tempfile::tempdir().unwrap();
    let mut anna = super::anna(&site, temp.path());
    assert!(matches!(anna.enrol(&later, Profile::EcSdsa, &pin()).await, Err(Error::InvitationExpired)));
    assert!(matches!(anna.enrol(&elsewhere, Profile::EcSdsa, &pin()).await, Err(Error::OtherInvitation)));
}

#[tokio::test]
async fn what_is_left_out_or_slipped_in_is_found() {
    let (site, temp) = (Site::open().await, tempfile::tempdir().unwrap());
    let mut anna = enrolled(&site, &temp).await;
    anna.authorise(&payment(2), &pin()).await.unwrap();
    let clean = anna.watch().await.unwrap();
    assert_eq!(clean.findings, []);
    let id = anna.credential().unwrap();

    // The provider leaves out its second entry, which has one after it.
    let hidden = site.log.lock().unwrap().hide_event(&id, 1);
    let watch = anna.watch().await.unwrap();
    let of = |watch: &client::watch::Watch| -> Vec<(List, u64, Fault)> {
        watch.findings.iter().map(|finding| (finding.list, finding.counter, finding.fault.clone())).collect()
    };
    assert_eq!(of(&watch), [(List::Events, 1, Fault::Missing)]);
    site.log.lock().unwrap().unhide(hidden);

    // And its last: the device remembers how many there were.
    let last = site.log.lock().unwrap().accounts[&id].events - 1;
    let hidden = site.log.lock().unwrap().hide_event(&id, last);
    assert_eq!(of(&anna.watch().await.unwrap()), [(List::Events, last, Fault::Missing)]);
    site.log.lock().unwrap().unhide(hidden);

    // An entry that does not follow the one before.
    site.log.lock().unwrap().accounts.get_mut(&id).unwrap().last_event = OTHER;
    site.log.lock().unwrap().lies = true;
    site.log.lock().unwrap().event(&id, Kind::Event, "device.seen", Detail::Nothing);
    assert_eq!(of(&anna.watch().await.unwrap()), [(List::Events, last + 1, Fault::Chain)]);

    // A device that lost its last records, as after an old backup: the log has more than it knows.
    drop(anna);
    let state = temp.path().join("state/state.json");
    let mut json: Value = serde_json::from_slice(&std::fs::read(&state).unwrap()).unwrap();
    json["held"]["sequence"] = json!(2);
    std::fs::write(&state, json.to_string()).unwrap();
    let mut anna = super::anna(&site, temp.path());
    let watch = anna.watch().await.unwrap();
    assert!(of(&watch).contains(&(List::Records, 2, Fault::NotOurs)), "{:?}", watch.findings);
}

#[tokio::test]
async fn a_receipt_of_another_record_settles_nothing() {
    let (site, temp) = (Site::open().await, tempfile::tempdir().unwrap());
    let mut anna = enrolled(&site, &temp).await;
    let first = anna.receipts().unwrap().pop().unwrap().receipt;
    // The receipt of the record before, for the one that is asked for.
    let first = serde_json::to_value(client::receipt::Receipt { document: None, ..first }).unwrap();
    site.lie("receipt", move |answer| *answer = first.clone());
    let done = anna.authorise(&payment(2), &pin()).await;
    assert!(matches!(done, Err(Error::Lie(Lie::NotOurs))), "{done:?}");
    // A signature that was touched.
    site.lie("receipt", |answer| {
        let opening: client::base64::Bytes = serde_json::from_value(answer["opening"].take()).unwrap();
        let mut bytes = opening.0;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        answer["opening"] = serde_json::to_value(client::base64::Bytes(bytes)).unwrap();
    });
    assert!(matches!(anna.reconcile().await, Err(Error::Receipt(_))));
    site.honest();
    assert!(anna.is_unsettled());
    assert_eq!(anna.reconcile().await.unwrap().unwrap().sequence, 2);
}
