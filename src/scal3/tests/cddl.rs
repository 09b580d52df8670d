//! The CDDL in `schemas/`, judged by a validator that knows nothing of this crate: it accepts what the code
//! writes and every good vector, and refuses every vector whose fault CDDL can express.

use std::path::{Path, PathBuf};

use p256::elliptic_curve::sec1::ToSec1Point;
use scal3::authenticator::{self, About, Attachment, Nfc, Purpose, WebAuthn};
use scal3::cose::Key;
use scal3::event::{Detail, Event, StreamPlace};
use scal3::evidence::{bio::Token, otp::Statement, webauthn::Assertion};
use scal3::instruction::Value as FieldValue;
use scal3::key_change::{KeyChange, Role, SignedKey};
use scal3::opening::Evidence;
use scal3::outcome::{BLOCKED, EXECUTED, Outcome};
use scal3::point::Point;
use scal3::ucan::{Delegation, Payload};
use scal3::{
    Change, Claims, Document, Entry, Field, Genesis, Hash, Kind, Metadata, Opening, Presented, Profile, StatusChange,
    cbor,
};
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas")
}

/// The text of one format: its own rules first, then the common ones.
fn schema(name: &str) -> String {
    let read = |name: &str| std::fs::read_to_string(folder().join(name)).expect("a schema");
    read(&format!("{name}.cddl")) + &read("common.cddl")
}

fn accepts(schema: &str, bytes: &[u8]) -> bool {
    cddl::validate_cbor_from_slice(schema, bytes, None).is_ok()
}

const H: Hash = Hash([7; 32]);

fn document() -> Document {
    let field = |name: &str, value| Field { salt: [1; 16], name: name.into(), value };
    Document {
        class: "payment".into(),
        fields: vec![
            field("amount", FieldValue::Uint(1)),
            field("currency", FieldValue::Text("EUR".into())),
            field("offset", FieldValue::Nint(4)),
            field("reference", FieldValue::Bytes(vec![1, 2])),
            field("urgent", FieldValue::Bool(true)),
        ],
    }
}

fn metadata() -> Metadata {
    Metadata {
        origin: "log.example/1".into(),
        provider: H,
        credential: H,
        sequence: 0,
        previous: H,
        index_key: H,
        challenge: H,
        policy: H,
        class: "payment".into(),
        seen_size: u64::MAX,
        seen_root: H,
        time_ms: 1_750_000_000_000,
        expires_ms: 1_750_000_120_000,
        ext: Default::default(),
    }
}

fn claims() -> Claims {
    Claims {
        origin: "log.example/1".into(),
        provider: H,
        issuer: "Example Wallet".into(),
        enrolment_id: H,
        subject: H,
        profile: Profile::EcSdsa,
        joint_key: [2; 33],
        device_key: [3; 33],
        shares: H,
        passkey: None,
        kem_key_id: H,
        labels: [H, H],
        attestation: "none".into(),
        not_before_ms: 0,
        not_after_ms: u64::MAX,
        predecessor: None,
        ordinal: 0,
    }
}

#[test]
fn what_the_code_writes_is_what_the_schemas_say() {
    let genesis = Genesis { origin: "log.example/1".into(), issuing_keys: vec![[2; 33]], policy: vec![] };
    let key = SignedKey { key: vec![1; 33], signature: vec![2; 64] };
    let added = KeyChange { role: Role::Log, old: None, new: key.clone() };
    let rotated = KeyChange { old: Some(key), ..added.clone() };
    let status = |change| StatusChange { credential: H, change };
    let event = Event { name: "attempt".into(), stream: None, detail: Detail::Bytes(vec![]) };
    let placed = StreamPlace { credential: H, counter: 3, previous: H };
    let about = Event { stream: Some(placed), detail: Detail::Nothing, ..event.clone() };
    let stream = StreamPlace { credential: H, counter: 0, previous: H };
    let blocked = Outcome { name: BLOCKED.into(), stream, about: None, reason: None, detail: None };
    let executed = Outcome { name: EXECUTED.into(), about: Some(H), ..blocked.clone() };
    let told = Outcome { reason: Some("limit".into()), detail: Some(vec![1]), ..blocked.clone() };
    let shown = document().show(|name| name == "amount");
    let evidence = Evidence { kind: "x".into(), participant: H, authenticator: H, blob: Vec::new() };
    let opening = Opening { profile: Profile::Transcript, record: vec![0; 600], evidence: vec![evidence], shown };
    let erasure = scal3::erasure::Erasure { index: 4, reason: "asked".into() };
    let successor = Claims { predecessor: Some(H), ordinal: 1, ..claims() };

    let key = Point::from_sec1_any(p256::AffinePoint::GENERATOR.to_sec1_point(true).as_bytes()).expect("a point");
    let authenticator =
        |about| authenticator::Claims { participant: H, purpose: Purpose::Sign, attestation: "none".into(), about };
    let webauthn = authenticator(About::WebAuthn(WebAuthn {
        key: Key::Es256(key),
        rp_id: "bank.example".into(),
        origins: vec!["https://bank.example".into()],
        backup_eligible: true,
        attachment: Attachment::Platform,
    }));
    let card = authenticator(About::Nfc(Nfc { key, card_uid: [1; 8] }));

    let assertion = Assertion { authenticator_data: vec![0; 37], client_data: vec![1], signature: vec![2; 70] };
    let token = Token {
        issuer: "did:key:z".into(),
        expires_s: 2,
        issued_s: 1,
        nonce: H,
        ueid: [1; 17],
        debug: 2,
        instruction_id: H,
        matched: vec![[2, 4, 2]],
        template: [3; 32],
        counter: 9,
    };
    let payload = Payload {
        issuer: scal3::did::of_key(&Key::Es256(key)),
        audience: "did:web:example".into(),
        subject: None,
        command: "/".into(),
        policy: vec![],
        nonce: vec![1],
        meta: None,
        not_before_s: None,
        expires_s: None,
    };
    let delegation = Delegation::signed_plainly(payload, &[7; 64]).expect("a delegation");

    let written: Vec<(&str, Vec<u8>)> = vec![
        ("instruction", document().to_bytes()),
        ("presented", Presented::of(&document(), |name| name != "reference").to_bytes()),
        ("metadata", metadata().to_bytes()),
        ("opening", opening.to_bytes()),
        ("opening", status(Change::Revoked("lost".into())).opening([0; 32]).to_bytes()),
        ("opening", erasure.opening([0; 32]).to_bytes()),
        ("opening", event.opening([0; 32]).to_bytes()),
        ("entry", Entry::committed(Kind::Instruction, 1, H, Some(H)).to_bytes()),
        ("entry", Entry::committed(Kind::Status, 1, H, Some(Hash([0x87; 32]))).to_bytes()),
        ("entry", Entry::committed(Kind::Event, 1, H, None).to_bytes()),
        ("entry", Entry::committed(Kind::Erasure, 1, H, None).to_bytes()),
        ("entry", Entry::public(Kind::Genesis, 1, genesis.to_bytes()).to_bytes()),
        ("genesis", genesis.to_bytes()),
        ("key", added.to_bytes()),
        ("key", rotated.to_bytes()),
        ("status", status(Change::Issued(vec![1])).to_bytes()),
        ("status", status(Change::Activated(9)).to_bytes()),
        ("status", status(Change::Suspended(String::new())).to_bytes()),
        ("erasure", cbor::encode(&erasure.to_body())),
        ("event", cbor::encode(&event.to_body())),
        ("event", cbor::encode(&about.to_body())),
        ("outcome", executed.to_bytes()),
        ("outcome", blocked.to_bytes()),
        ("outcome", told.to_bytes()),
        ("opening", told.opening([0; 32]).to_bytes()),
        ("credential", claims().with_signature(&[5; 64])),
        ("credential", successor.with_signature(&[5; 64])),
        ("assertion", assertion.to_bytes()),
        ("otp", Statement { challenge: H, step: 1, checked_ms: 2 }.to_bytes()),
        ("bio", token.to_bytes()),
        ("delegation", delegation.to_bytes()),
        ("authenticator", webauthn.to_bytes()),
        ("authenticator", card.to_bytes()),
        ("record", cbor::encode(&cbor::bytes(&[0; 600]))),
    ];
    for (name, bytes) in &written {
        let schema = schema(name);
        let verdict = cddl::validate_cbor_from_slice(&schema, bytes, None);
        assert!(verdict.is_ok(), "{name}: {verdict:?}");
        // The same array with one element less, one more, or its first element of another type.
        let Ok(cbor::Value::Array(items)) = cbor::decode(bytes, bytes.len()) else {
            continue;
        };
        let array = |items: Vec<cbor::Value>| cbor::encode(&cbor::Value::Array(items));
        let (last, rest) = items.split_last().unwrap();
        assert!(!accepts(&schema, &array(rest.to_vec())), "{name} without {last:?}");
        let longer = items.iter().cloned().chain([cbor::uint(0), cbor::uint(0)]).collect();
        assert!(!accepts(&schema, &array(longer)), "{name} with two more");
        let mut other = items;
        other[0] = cbor::Value::Array(Vec::new());
        assert!(!accepts(&schema, &array(other)), "{name} with another first element");
    }
    assert!(!accepts(&schema("record"), &cbor::encode(&cbor::bytes(&[0; 300]))));
}

/// Whether CDDL can express the fault of this case: the shape, and the few choices that are types in CDDL.
fn in_cddl(case: &Value, reason: &str) -> bool {
    match reason {
        // The first byte of a point; a key that is listed twice.
        "shape/joint_key/value" | "shape/device_key/value" | "shape/issuing_keys/value" | "shape/key/value" => false,
        // An origin that is listed twice.
        "shape/origins/value" => false,
        // The right header or tag, spelt in another way.
        "headers" | "tag" => {
            !matches!(case["id"].as_str(), Some("18-in-two-bytes" | "protected-not-shortest" | "protected-trailing"))
        }
        "unknown-extension" | "unknown-kind" | "kind" | "index-key" | "body" | "too-much-evidence" => true,
        _ => reason.starts_with("shape/"),
    }
}

#[test]
fn schemas_and_vectors_agree() {
    let (mut good, mut bad) = (0, 0);
    let mut wrong = Vec::new();
    for name in std::fs::read_dir(folder().join("vectors")).unwrap() {
        let name = name.unwrap().path();
        if !name.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(&name).unwrap() {
            let path = file.unwrap().path();
            let file: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            for case in file["cases"].as_array().unwrap() {
                let (Some(hex), None) = (case["hex"].as_str(), case.get("zeros")) else {
                    continue;
                };
                // A policy is JSON, and has a schema of its own; a record is a row of bytes.
                if case["format"] == "policy" || case["format"] == "record" {
                    continue;
                }
                let bytes = hex::decode(hex).unwrap();
                let schema = schema(case["format"].as_str().unwrap());
                let expected = match case["reason"].as_str() {
                    None => true,
                    Some(reason) if in_cddl(case, reason) => false,
                    Some(_) => continue,
                };
                if expected {
                    good += 1
                } else {
                    bad += 1
                }
                if accepts(&schema, &bytes) != expected {
                    wrong.push(format!("{} {}", path.display(), case["id"]));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(good >= 50 && bad >= 400, "{good} {bad}");
}

#[test]
fn evidence_files_are_as_their_schema_says() {
    use scal3::accusation::{Accusation, Beginning, Charge, Exhibit};
    use tlog::checkpoint::{Checkpoint, Origin};
    use tlog::key::{KeyName, Signer};
    use tlog::note::Note;
    use tlog::tree::TreeHead;

    let signer = Signer::note(KeyName::new("log.example/1").expect("a name"), &[1; 32]);
    let text = Checkpoint::new(Origin::new("log.example/1").expect("an origin"), TreeHead::EMPTY).to_text();
    let note = Note::sign(&text, &signer).expect("a note");
    let beginning = || Beginning { root: H, hashes: vec![H, H] };
    let exhibit = |index| Exhibit { index, entry: vec![1], opening: Some(vec![2]), hashes: vec![H] };
    let other = || note.clone();
    let charges = [
        Charge::Fork { other: other() },
        Charge::Diverged { other: other(), beginning: beginning() },
        Charge::Rollback { other: other() },
        Charge::EmptyRoot,
        Charge::Entry { accused: exhibit(9), others: vec![exhibit(0), exhibit(3)], seen: None },
        Charge::Entry { accused: exhibit(9), others: Vec::new(), seen: Some(beginning()) },
        Charge::Replay { entries: vec![(vec![1], None), (vec![2], Some(vec![3]))], hashes: vec![H] },
    ];
    let schema = schema("evidence-file");
    for charge in charges {
        let accusation = Accusation { head: note.clone(), charge };
        let bytes = accusation.to_bytes();
        assert!(accepts(&schema, &bytes), "{accusation:?}");
        assert_eq!(Accusation::parse(&bytes).as_ref(), Ok(&accusation));
        for at in 0..bytes.len() {
            assert!(Accusation::parse(&bytes[..at]).is_err(), "cut at {at}");
        }
    }
    // Exhibits have one order.
    let charge = Charge::Entry { accused: exhibit(9), others: vec![exhibit(3), exhibit(3)], seen: None };
    Accusation::parse(&Accusation { head: note, charge }.to_bytes()).expect_err("twice the same");
}
