//! Targets for what a policy may ask for besides the two factors: authenticators, evidence, policies, delegations.
//!
//! No key here signs anything but what [`made`] makes, so nothing else verifies.

use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::signature::hazmat::PrehashSigner as _;
use p256::ecdsa::{Signature, SigningKey};
use scal3::authenticator::{self, About, Attachment, Bio, Nfc, Otp, OtpHash, Purpose, WebAuthn};
use scal3::authenticators::Authenticators;
use scal3::cose::Key;
use scal3::evidence::bio::Token;
use scal3::evidence::nfc::Envelope;
use scal3::evidence::otp::Statement;
use scal3::evidence::varsig::{Algorithm, Varsig};
use scal3::evidence::webauthn::{Assertion, Expected, signed_bytes};
use scal3::evidence::{Context, Kind, challenge, nfc, verify};
use scal3::instruction::Value;
use scal3::point::Point;
use scal3::policy::{InForce, Operation, Policy};
use scal3::state::Status;
use scal3::ucan::header::{Header, assertion_of, signature_of};
use scal3::ucan::{Delegation, Payload, to_be_signed};
use scal3::{Field, Hash, cbor, did, varint};

use super::reads_back;
use super::world::{DEVICE, ENROLMENT, ISSUING, NOW_MS, ORIGIN, RANDOM, public};

const OPERATION: Hash = Hash([1; 32]);
const SESSION: Hash = Hash([2; 32]);
const SITE: &str = "https://bank.example";

fn point(seed: &[u8; 32]) -> Point {
    Point::from_bytes(&public(&SigningKey::from_slice(seed).expect("a scalar"))).expect("a point")
}

fn passkey() -> WebAuthn {
    WebAuthn {
        key: Key::Es256(point(&ISSUING)),
        rp_id: "bank.example".into(),
        origins: vec![SITE.into()],
        backup_eligible: false,
        attachment: Attachment::CrossPlatform,
    }
}

fn enrolled() -> [authenticator::Claims; 4] {
    let key = Key::Es256(point(&RANDOM));
    [
        About::WebAuthn(passkey()),
        About::Bio(Bio { key, template: [3; 32], ueid: [1; 17] }),
        About::Nfc(Nfc { key: point(&ISSUING), card_uid: [4; 8] }),
        About::Otp(Otp { secret: Hash([5; 32]), hash: OtpHash::Sha1, digits: 6, period_s: 30 }),
    ]
    .map(|about| authenticator::Claims {
        participant: ENROLMENT,
        purpose: Purpose::Sign,
        attestation: "packed:example".into(),
        about,
    })
}

pub(super) fn authenticator(data: &[u8]) {
    if let Some(read) = reads_back(data, authenticator::Claims::parse, authenticator::Claims::to_bytes) {
        assert_eq!(read.id(), authenticator::authenticator_id(data));
        assert_eq!(did::key(&did::of_key(&Key::Es256(point(&DEVICE)))), Ok(Key::Es256(point(&DEVICE))));
    }
    if let Some(read) = reads_back(data, Authenticators::from_own_store, Authenticators::to_bytes) {
        assert!(read.all().all(|(id, held)| held.claims().id() == *id));
        assert!(read.active().count() <= read.all().count());
    }
    if let Ok(key) = Key::from_cose(data) {
        assert_eq!(Key::named(key.name(), key.as_bytes()), Ok(key));
        assert_eq!(did::key(&did::of_key(&key)), Ok(key));
    }
    if let Some(key) = core::str::from_utf8(data).ok().and_then(|name| did::key(name).ok()) {
        assert_eq!(did::key(&did::of_key(&key)), Ok(key));
    }
}

/// An assertion that the passkey signs, whatever its two parts say.
fn signed_assertion(authenticator_data: &[u8], client_data: &[u8]) -> Assertion {
    let key = SigningKey::from_slice(&ISSUING).expect("a scalar");
    let signature: Signature = key.sign(&signed_bytes(authenticator_data, client_data));
    Assertion {
        authenticator_data: authenticator_data.to_vec(),
        client_data: client_data.to_vec(),
        signature: signature.to_bytes().to_vec(),
    }
}

/// Bytes; or, behind a zero, client data that **an authenticator signs** as they are.
pub(super) fn assertion(data: &[u8]) {
    let asked = challenge(Kind::WebAuthn, &OPERATION, &ENROLMENT, &enrolled()[0].id());
    let passkey = passkey();
    let expected = Expected {
        challenge: &asked.0,
        rp_id: &passkey.rp_id,
        origins: &passkey.origins,
        backup_eligible: false,
        user_verified: true,
    };
    if let Some((0, client_data)) = data.split_first() {
        let read = signed_assertion(&authenticator_data(), client_data).verify(&passkey.key, &expected);
        if read.is_ok() {
            // It verified, so another reader of JSON finds the same in it.
            let json: serde_json::Value = serde_json::from_slice(client_data).expect("JSON");
            assert_eq!((&json["type"], &json["origin"]), (&"webauthn.get".into(), &SITE.into()));
            assert!(json.get("topOrigin").is_none() && json["crossOrigin"] != true);
        }
        return;
    }
    reads_back(data, Assertion::parse, Assertion::to_bytes);
    if let Some(read) = reads_back(data, Varsig::parse, Varsig::to_bytes) {
        assert_eq!(Varsig::parse(&read.to_bytes()), Ok(read));
    }
    if let Ok(read) = Varsig::import(data) {
        assert_eq!(Varsig::import(&read.to_bytes()).as_ref(), Ok(&read), "one form, and no other");
        assert_eq!(assertion_of(read.algorithm, &signature_of(&read)).as_ref(), Ok(&read));
    }
    reads_back(data, Header::parse, |header| header.to_bytes());
    if let Ok((number, rest)) = varint::read(data) {
        let mut written = Vec::new();
        varint::write(number, &mut written);
        assert_eq!([&written, rest].concat(), data);
    }
}

/// The first byte says for which kind the rest is.
pub(super) fn evidence(data: &[u8]) {
    let Some((kind, blob)) = data.split_first() else { return };
    let kind = Kind::ALL[usize::from(*kind) % Kind::ALL.len()];
    reads_back(blob, Token::parse, Token::to_bytes);
    reads_back(blob, Statement::parse, |statement| statement.to_bytes());
    let _ = Envelope::parse(blob);
    let all = enrolled();
    let claims = all.iter().find(|one| one.about.makes(kind)).expect("one of each");
    let context = Context {
        origin: ORIGIN,
        operation_hash: &OPERATION,
        instruction_id: &SESSION,
        session: &SESSION,
        participant: &ENROLMENT,
        authenticator: claims,
        last_count: None,
        device_key: &point(&DEVICE),
        entry_ms: NOW_MS,
    };
    let Ok(shown) = verify(kind, &context, blob) else { return };
    assert_eq!((shown.kind, shown.authenticator, shown.participant), (kind, claims.id(), ENROLMENT));
    assert!(!matches!(kind, Kind::Bio), "nobody signs tokens");
    assert_eq!(shown.vouched, kind == Kind::Otp);
}

pub(super) fn rules(data: &[u8]) {
    let in_force = InForce::read(data);
    let Ok(policy) = Policy::parse(data) else {
        assert!(in_force.policy().is_err());
        return;
    };
    assert!(policy.rules().iter().all(|rule| rule.deny.is_none() || rule.need().is_none()));
    let field = |name: &str, value| Field { salt: [0; 16], name: name.into(), value };
    let fields = [field("amount", Value::Uint(1_000_001)), field("currency", Value::Text("EUR".into()))];
    let signers = [ENROLMENT, SESSION];
    let operation = Operation {
        class: "payment",
        fields: &fields,
        account: Status::Active,
        device: "none",
        subscriber: &ENROLMENT,
        signers: &signers,
        threshold: 1,
        group: Some("board"),
    };
    let all = enrolled();
    let (before, after) = (policy.decide(&operation, &all.each_ref()), policy.judge(&operation, &[], NOW_MS));
    // What needs nothing was let through before; what is let through after needed nothing.
    if let (Ok(before), Ok(after)) = (before, after) {
        assert_eq!(before, after);
        assert!(before.need().is_none());
    }
    assert!(policy.judge(&Operation { account: Status::Revoked, ..operation }, &[], NOW_MS).is_err());
}

pub(super) fn delegation(data: &[u8]) {
    let Some(read) = reads_back(data, Delegation::parse, Delegation::to_bytes) else { return };
    assert_eq!(did::of_key(read.key()), read.payload().issuer);
    let verdict = read.verify(NOW_MS / 1000, Some(&passkey()));
    assert!(verdict.is_err() || data == good_delegation(), "nobody else can sign");
    let _ = (read.cid(), read.allows("/a/b", &cbor::Value::Map(Vec::new())), read.follows(&read), read.assertion());
}

fn good_delegation() -> Vec<u8> {
    let key = SigningKey::from_slice(&RANDOM).expect("a scalar");
    let issuer = did::of_key(&Key::Es256(point(&RANDOM)));
    let not = |inner: cbor::Value| cbor::Value::Array(vec![cbor::text("not"), inner]);
    let like = ["like", ".name", "a*b"].map(cbor::text);
    let payload = Payload {
        audience: issuer.clone(),
        subject: None,
        issuer,
        command: "/a".into(),
        policy: vec![not(cbor::Value::Array(like.into()))],
        nonce: vec![1; 12],
        meta: Some(cbor::Value::Map(vec![(cbor::text("a"), cbor::uint(1))])),
        not_before_s: Some(1),
        expires_s: Some(1 << 40),
    };
    let header = Header { algorithm: Algorithm::Es256, webauthn: false };
    let signature: Signature = key.sign(&to_be_signed(header, &payload));
    Delegation::signed_plainly(payload, &signature.to_bytes().into()).expect("a delegation").to_bytes()
}

fn authenticator_data() -> Vec<u8> {
    // SHA-256 of "bank.example", then: present and verified, and counted once.
    let rp_id_hash = scal3::genesis::policy_hash(b"bank.example");
    [&rp_id_hash.0[..], &[5, 0, 0, 0, 1]].concat()
}

fn client_data(kind: Kind) -> Vec<u8> {
    let asked = challenge(kind, &OPERATION, &ENROLMENT, &enrolled()[0].id());
    // Base64url is base64 with two other letters.
    let asked = asked.to_base64().replace('+', "-").replace('/', "_").replace('=', "");
    format!("{{\"type\":\"webauthn.get\",\"challenge\":\"{asked}\",\"origin\":\"{SITE}\",\"crossOrigin\":false}}")
        .into()
}

fn tapped() -> Vec<u8> {
    let key = SigningKey::from_slice(&ISSUING).expect("a scalar");
    let asked = challenge(Kind::Nfc, &OPERATION, &ENROLMENT, &enrolled()[2].id());
    let digest = nfc::digest(&asked, &SESSION, NOW_MS, &[4; 8]);
    let signature: Signature = key.sign_prehash(&digest.0).expect("signed");
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (x, y) = point(&ISSUING).coordinates();
    format!(
        "{{\"operationHash\":\"{}\",\"participantId\":\"{}\",\"nfcSignature\":{{\"curve\":\"P-256\",\"publicKey\":\"04{}{}\",\
         \"signature\":\"{}\",\"timestamp\":{NOW_MS},\"cardUid\":\"{}\"}}}}",
        hex(&OPERATION.0),
        hex(&ENROLMENT.0),
        hex(&x),
        hex(&y),
        hex(&signature.to_bytes()),
        hex(&[4; 8]),
    )
    .into()
}

/// Good bytes for each target.
pub(super) fn made() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let with = |first: u8, rest: &[u8]| [&[first], rest].concat();
    let [web, bio, card, otp] = enrolled();
    let said = signed_assertion(&authenticator_data(), &client_data(Kind::WebAuthn));
    let row = signed_assertion(&authenticator_data(), &client_data(Kind::Varsig));
    let row =
        Varsig::made(Algorithm::Es256, &row.authenticator_data, &row.client_data, &row.signature).expect("a varsig");
    let token = Token {
        issuer: did::of_key(&Key::Es256(point(&RANDOM))),
        expires_s: NOW_MS / 1000 + 60,
        issued_s: NOW_MS / 1000,
        nonce: challenge(Kind::Bio, &OPERATION, &ENROLMENT, &bio.id()),
        ueid: [1; 17],
        debug: 2,
        instruction_id: SESSION,
        matched: vec![[2, 4, 2]],
        template: [3; 32],
        counter: 1,
    };
    let statement = Statement {
        challenge: challenge(Kind::Otp, &OPERATION, &ENROLMENT, &otp.id()),
        step: NOW_MS / 30_000,
        checked_ms: NOW_MS,
    };
    let mut held = Authenticators::of(ENROLMENT);
    for claims in [&web, &bio] {
        held.speak(claims.id(), NOW_MS);
        held.add(claims.clone(), 1, NOW_MS, false).expect("added");
    }
    held.revoke(&bio.id(), 2).expect("revoked");
    held.speak(card.id(), NOW_MS);
    let rules = br#"{"version":1,"rules":[{"when":{"class":"payment","currency":"EUR","amount_over":1000000},"high":true,
        "device":["none"],"need":{"all":[{"kind":"webauthn","uv":true,"attested":["packed:example"]},
        {"any":[{"count":"all","of":{"kind":"nfc","from":"signers"}},{"kind":"bio","modality":["face"],"max_age_s":60}]}]}},
        {"when":{"group":"board"},"need":{"count":2,"of":{"kind":"webauthn"}},"observe":["otp"]},{"when":{},"deny":"x"}]}"#;
    let plain = Header { algorithm: Algorithm::EdDsa, webauthn: false };
    let marked = Header { algorithm: Algorithm::Es256, webauthn: true };
    vec![
        ("authenticator", "made-webauthn", web.to_bytes()),
        ("authenticator", "made-bio", bio.to_bytes()),
        ("authenticator", "made-nfc", card.to_bytes()),
        ("authenticator", "made-otp", otp.to_bytes()),
        ("authenticator", "made-state", held.to_bytes()),
        ("authenticator", "made-name", did::of_key(&Key::Es256(point(&RANDOM))).into_bytes()),
        ("assertion", "made", said.to_bytes()),
        ("assertion", "made-client-data", with(0, &client_data(Kind::WebAuthn))),
        ("assertion", "made-varsig", row.to_bytes()),
        ("assertion", "made-header", plain.to_bytes()),
        ("assertion", "made-header-webauthn", marked.to_bytes()),
        ("evidence", "made-webauthn", with(0, &said.to_bytes())),
        ("evidence", "made-varsig", with(1, &row.to_bytes())),
        ("evidence", "made-token", with(2, &token.to_bytes())),
        ("evidence", "made-nfc", with(3, &tapped())),
        ("evidence", "made-otp", with(4, &statement.to_bytes())),
        ("rules", "made", rules.to_vec()),
        ("rules", "two-factors", scal3::policy::TWO_FACTORS.to_vec()),
        ("delegation", "made", good_delegation()),
    ]
}
