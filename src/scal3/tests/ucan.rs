//! UCAN delegations: those of the specification, and those that a passkey signs.

mod support;

use scal3::cbor::{self, Value};
use scal3::cose::KeyError;
use scal3::evidence::Reason;
use scal3::evidence::varsig::{Algorithm, Varsig};
use scal3::ucan::header::{assertion_of, signature_of};
use scal3::ucan::{Delegation, Header, Payload, UcanError, challenge, to_be_signed};
use scal3::{Hash, did};
use support::{bytes, cases, json, string};
use testkit::{Passkey, Secret};

const NOW_S: u64 = 1_760_000_000;

/// The facts of the delegation in `fixtures/1.0.0/delegation.json` of github.com/ucan-wg/spec at 776c6358: a published test
/// key signs it, Ed25519 has one signature for each message, and its name covers every byte.
#[test]
fn r2_09_the_delegation_of_the_specification_comes_out_byte_for_byte() {
    let seed = hex::decode("5f8fdf91cd4d94e75f1330134afdf8dd190cf7e2c07888a13acfef65403a4221").unwrap();
    let bob = ed25519_dalek::SigningKey::from_bytes(&seed.try_into().unwrap());
    let name = did::of_key(&Secret::Ed25519(bob.clone()).public());
    assert_eq!(name, "did:key:z6MkmT9j6fVZqzXV8u2wVVSu49gYSRYGSQnduWXF6foAJrqz");
    let payload = Payload {
        issuer: name.clone(),
        audience: "did:key:z6MkmJceVoQSHs45cReEXoLtWm1wosCG8RLxfKwhxoqzoTkC".into(),
        subject: Some(name),
        command: "/account".into(),
        policy: vec![],
        nonce: hex::decode("276d2bf691e427fca8362ac3").unwrap(),
        meta: None,
        not_before_s: None,
        expires_s: Some(1_753_353_393),
    };
    // It has the type of the release candidate, which is read, and is not what is written for new ones.
    let header = Header { algorithm: Algorithm::EdDsa, webauthn: false };
    let renamed = |bytes: Vec<u8>| {
        let at = bytes.windows(15).position(|window| window == b"\x6eucan/dlg@1.0.0").expect("the type");
        [&bytes[..at], b"\x73ucan/dlg@1.0.0-rc.1", &bytes[at + 15..]].concat()
    };
    let signed = renamed(to_be_signed(header, &payload));
    let signature = Secret::Ed25519(bob).sign(&signed);
    let token = renamed(Delegation::signed_plainly(payload.clone(), &signature).unwrap().to_bytes());

    let read = Delegation::parse(&token).expect("a delegation");
    assert_eq!(read.to_bytes(), token);
    assert_eq!(read.cid(), "bafyreifqsojs54lpxxyx5xfqxiwkc4paglcyqd7vjzrcyapxi557extz6m");
    assert_eq!((read.payload(), read.header()), (&payload, header));
    assert_eq!(read.verify(1_753_353_392, None), Ok(()));
    assert_eq!(read.verify(1_753_353_393, None), Err(UcanError::Time));
    assert!(read.allows("/account", &Value::Map(vec![])) && read.allows("/account/close", &Value::Map(vec![])));
    assert!(!read.allows("/accounts", &Value::Map(vec![])));
}

fn payload(issuer: &Secret) -> Payload {
    Payload {
        issuer: did::of_key(&issuer.public()),
        audience: "did:key:z6MkmJceVoQSHs45cReEXoLtWm1wosCG8RLxfKwhxoqzoTkC".into(),
        subject: None,
        command: "/store/add".into(),
        policy: vec![],
        nonce: vec![7; 12],
        meta: None,
        not_before_s: Some(NOW_S),
        expires_s: Some(NOW_S + 60),
    }
}

/// A delegation that this passkey signed.
fn delegate(passkey: &Passkey, payload: Payload) -> Delegation {
    let header = Header { algorithm: Algorithm::of(&passkey.secret.public()), webauthn: true };
    let asked = challenge(&to_be_signed(header, &payload));
    Delegation::signed_by_passkey(payload, &passkey.varsig(&asked)).expect("a delegation")
}

#[test]
fn r2_01_a_passkey_delegates_and_anybody_with_its_enrolment_verifies() {
    for secret in [Secret::ed25519("passkey"), Secret::p256("passkey")] {
        let mut passkey = Passkey::new(Hash([4; 32]), secret.clone());
        let made = delegate(&passkey, payload(&secret));
        let token = made.to_bytes();
        let read = Delegation::parse(&token).expect("a delegation");
        assert_eq!((&read, read.to_bytes()), (&made, token));
        let enrolled = passkey.about().clone();
        assert_eq!(read.verify(NOW_S, Some(&enrolled)), Ok(()));
        assert_eq!(read.verify(NOW_S - 1, Some(&enrolled)), Err(UcanError::Time));
        let refused = |reason| Err(UcanError::Signature(reason));
        assert_eq!(read.verify(NOW_S, None), refused(Reason::Key));
        let stranger = Passkey::new(Hash([4; 32]), Secret::p256("stranger")).about().clone();
        assert_eq!(read.verify(NOW_S, Some(&stranger)), refused(Reason::Key));

        // As one row of bytes, and back.
        let row = read.assertion().expect("an assertion").to_bytes();
        let imported = Delegation::signed_by_passkey(payload(&secret), &Varsig::import(&row).unwrap()).unwrap();
        assert_eq!(imported.cid(), read.cid());

        let other = Payload { command: "/store".into(), ..payload(&secret) };
        let moved = Delegation::signed_by_passkey(other, &read.assertion().unwrap()).unwrap();
        assert_eq!(moved.verify(NOW_S, Some(&enrolled)), refused(Reason::Challenge));

        // Present and not verified: anybody at the keyboard.
        passkey.flags = 0x01;
        assert_eq!(delegate(&passkey, payload(&secret)).verify(NOW_S, Some(&enrolled)), refused(Reason::UserVerified));
        (passkey.flags, passkey.site) = (0x05, "https://evil.example");
        assert_eq!(delegate(&passkey, payload(&secret)).verify(NOW_S, Some(&enrolled)), refused(Reason::Origin));
        (passkey.site, passkey.ceremony) = (testkit::SITE, "webauthn.create");
        assert_eq!(delegate(&passkey, payload(&secret)).verify(NOW_S, Some(&enrolled)), refused(Reason::Type));
    }
}

#[test]
fn r2_03_headers_and_signatures_are_the_published_ones() {
    let Some(file) = json("webauthn/chromium156-transaction-assertions.json") else {
        return;
    };
    let mut seen = 0;
    for case in cases(&file, "cases") {
        if case.get("varsig_v1_header").is_none() {
            continue;
        }
        let header = Header::parse(&bytes(case, "varsig_v1_header")).expect("a header");
        assert!(header.webauthn);
        assert_eq!(header.to_bytes(), bytes(case, "varsig_v1_header"));
        let body = bytes(case, "varsig_v1_body");
        let assertion = assertion_of(header.algorithm, &body).expect("an assertion");
        assert_eq!(assertion.client_data, bytes(case, "clientDataJSON"));
        assert_eq!(assertion.authenticator_data, bytes(case, "authenticatorData"));
        assert_eq!(Varsig::import(&bytes(case, "varsig_seed")).as_ref(), Ok(&assertion));
        let written = signature_of(&assertion);
        let raw = &written[..written.len() - 64];
        assert_eq!(&body[..raw.len()], raw);
        if header.algorithm == Algorithm::EdDsa {
            assert_eq!(written, body);
        }
        seen += 1;
    }
    assert!(seen >= 4);
}

#[test]
fn r2_04_varsig_headers_are_judged_as_published() {
    let Some(file) = json("varsig/varsig.json") else {
        return;
    };
    let mut ours = 0;
    for case in cases(&file, "cases") {
        let given = bytes(case, "hex");
        match (string(case, "want"), Header::parse(&given)) {
            ("ok", Ok(header)) => {
                assert_eq!(header.to_bytes(), given, "{case}");
                ours += 1;
            }
            ("ok", Err(reason)) => assert_eq!(reason, Reason::Unsupported, "{case}"),
            (_, judged) => assert!(judged.is_err(), "{case}"),
        }
    }
    assert!(ours >= 1);
    let eddsa = Header { algorithm: Algorithm::EdDsa, webauthn: false };
    assert_eq!(hex::encode(eddsa.to_bytes()), "3401ed01ed011371");
    for length in 0..8 {
        assert!(Header::parse(&eddsa.to_bytes()[..length]).is_err());
    }
    assert_eq!(Header::parse(&[0x34; 64]), Err(Reason::Malformed));
    let Some(file) = json("varsig/varsig_spec_segments.json") else {
        return;
    };
    let es256 = cases(&file, "cases").iter().find(|case| case["id"] == "varsig-spec/ES256").expect("ES256");
    let header = Header { algorithm: Algorithm::Es256, webauthn: false };
    assert_eq!(header.to_bytes(), [bytes(es256, "signatureHeaderHex"), vec![0x71]].concat());
}

#[test]
fn r2_09_what_is_no_delegation_is_refused_for_what_it_is() {
    let secret = Secret::ed25519("issuer");
    let made = |change: &dyn Fn(&mut Payload)| {
        let mut payload = payload(&secret);
        change(&mut payload);
        Delegation::signed_plainly(payload, &[0; 64]).map(|made| made.header().webauthn)
    };
    assert_eq!(made(&|_| ()), Ok(false));
    assert_eq!(made(&|p| p.audience = "carol".into()), Err(UcanError::Form("aud")));
    assert_eq!(made(&|p| p.subject = Some("carol".into())), Err(UcanError::Form("sub")));
    for command in ["", "store", "/store/", "//", "/Store"] {
        assert_eq!(made(&|p| p.command = command.into()), Err(UcanError::Form("cmd")), "{command}");
    }
    assert_eq!(made(&|p| p.command = "/".into()), Ok(false));
    assert_eq!(made(&|p| p.nonce.clear()), Err(UcanError::Form("nonce")));
    assert_eq!(made(&|p| p.issuer = "did:web:example".into()), Err(UcanError::Issuer(KeyError::Form)));
    assert_eq!(made(&|p| p.issuer = "did:key:z6LSn".into()), Err(UcanError::Issuer(KeyError::Unsupported)));
    assert_eq!(made(&|p| p.policy = vec![cbor::text("x")]), Err(UcanError::Policy));

    let header = Header { algorithm: Algorithm::EdDsa, webauthn: false };
    let signature = secret.sign(&to_be_signed(header, &payload(&secret)));
    let good = Delegation::signed_plainly(payload(&secret), &signature).unwrap();
    assert_eq!(good.verify(NOW_S, None), Ok(()));
    assert_eq!(good.assertion(), Err(UcanError::Signature(Reason::Kind)));
    let token = good.to_bytes();
    for at in 0..token.len() {
        let mut spoilt = token.clone();
        spoilt[at] ^= 1;
        let verdict = Delegation::parse(&spoilt).and_then(|read| read.verify(NOW_S, None));
        assert!(verdict.is_err(), "byte {at}");
        assert!(Delegation::parse(&token[..at]).is_err());
    }
    let mut other = signature;
    other[0] ^= 1;
    let spoilt = Delegation::signed_plainly(payload(&secret), &other).unwrap();
    assert_eq!(spoilt.verify(NOW_S, None), Err(UcanError::Signature(Reason::Signature)));
}

#[test]
fn r2_09_a_delegation_follows_from_another_and_gives_no_more() {
    let [anna, bram, cleo] = ["anna", "bram", "cleo"].map(Secret::ed25519);
    let made = |from: &Secret, to: &Secret, subject: Option<&Secret>, command: &str| {
        let (audience, subject) = (did::of_key(&to.public()), subject.map(|key| did::of_key(&key.public())));
        let payload = Payload { audience, subject, command: command.into(), ..payload(from) };
        Delegation::signed_plainly(payload, &[0; 64]).unwrap()
    };
    let first = made(&anna, &bram, Some(&anna), "/store");
    assert_eq!(made(&bram, &cleo, Some(&anna), "/store/add").follows(&first), Ok(()));
    assert_eq!(made(&bram, &cleo, Some(&anna), "/").follows(&first), Err(UcanError::Chain), "more");
    assert_eq!(made(&bram, &cleo, Some(&anna), "/storehouse").follows(&first), Err(UcanError::Chain));
    assert_eq!(made(&cleo, &bram, Some(&anna), "/store").follows(&first), Err(UcanError::Chain), "not its holder");
    assert_eq!(made(&bram, &cleo, Some(&bram), "/store").follows(&first), Err(UcanError::Chain), "of somebody else");
    let any = made(&anna, &bram, None, "/");
    assert_eq!(made(&bram, &cleo, Some(&cleo), "/x").follows(&any), Ok(()));
}

/// The cases of `fixtures/1.0.0/policy.json` of the same place, as far as their statements are understood here, and without
/// the floats that our CBOR has not.
#[test]
fn r2_09_policies_hold_for_what_the_specification_says() {
    let text = cbor::text;
    let map = |members: &[(&str, Value)]| {
        Value::Map(members.iter().map(|(name, value)| (text(name), value.clone())).collect())
    };
    let list = |items: Vec<Value>| Value::Array(items);
    let secret = Secret::ed25519("issuer");
    let allows = |statement: Value, arguments: &Value| {
        let payload = Payload { policy: vec![statement], ..payload(&secret) };
        Delegation::signed_plainly(payload, &[0; 64]).map(|made| made.allows("/store/add", arguments))
    };
    let says = |operator: &str, selector: &str, value: Value| list(vec![text(operator), text(selector), value]);
    let nested = list(vec![cbor::uint(1), cbor::uint(2), map(&[("b", cbor::uint(3))])]);
    let arguments = map(&[("a", nested.clone()), ("b", cbor::uint(1)), ("c", map(&[("d", text("x"))]))]);
    let holds = [
        says("==", ".a", nested),
        says("==", ".b", cbor::uint(1)),
        says("==", ".", arguments.clone()),
        says("==", ".c.d", text("x")),
        says("!=", ".b", text("ddd")),
        says("!=", ".b", Value::Null),
        says("<", ".b", cbor::uint(2)),
        says("<=", ".b", cbor::uint(1)),
        says(">", ".b", cbor::uint(0)),
        says(">=", ".b", cbor::uint(1)),
        list(vec![text("not"), says("==", ".b", cbor::uint(2))]),
        list(vec![text("and"), list(vec![])]),
        list(vec![text("or"), list(vec![])]),
        list(vec![text("or"), list(vec![says("==", ".b", cbor::uint(9)), says(">", ".b", cbor::uint(0))])]),
    ];
    for statement in &holds {
        assert_eq!(allows(statement.clone(), &arguments), Ok(true), "{statement:?}");
        assert_eq!(allows(list(vec![text("not"), statement.clone()]), &arguments), Ok(false));
    }
    let fails = [
        says("==", ".missing", Value::Null),
        says("<", ".b", cbor::uint(1)),
        says("<", ".c", cbor::uint(1)),
        list(vec![text("and"), list(vec![says("==", ".b", cbor::uint(1)), says("==", ".b", cbor::uint(2))])]),
    ];
    for statement in fails {
        assert_eq!(allows(statement.clone(), &arguments), Ok(false), "{statement:?}");
    }
    for statement in [
        says("any", ".a", says("==", ".", cbor::uint(1))),
        says("==", "a", cbor::uint(1)),
        says("==", ".a[0]", cbor::uint(1)),
        says("<", ".b", text("1")),
        list(vec![text("=="), text(".b")]),
        list(vec![]),
    ] {
        assert_eq!(allows(statement, &arguments), Err(UcanError::Policy));
    }
    let pattern = "Alice\\*, Bob*, Carol.";
    for (name, alike) in [
        ("Alice*, Bob, Carol.", true),
        ("Alice*, Bob, Dan, Erin, Carol.", true),
        ("Alice*, Bob  , Carol.", true),
        ("Alice*, Bob*, Carol.", true),
        ("Alice*, Bob, Carol", false),
        ("Alice*, Bob*, Carol!", false),
        ("Alice, Bob, Carol.", false),
        ("Alice Cooper, Bob, Carol.", false),
        (" Alice*, Bob, Carol. ", false),
    ] {
        let arguments = map(&[("a", text(name))]);
        assert_eq!(allows(says("like", ".a", text(pattern)), &arguments), Ok(alike), "{name}");
    }
    for (pattern, name, alike) in
        [("*", "", true), ("", "", true), ("", "x", false), ("a*a", "a", false), ("*b*", "abc", true)]
    {
        assert_eq!(
            allows(says("like", ".a", text(pattern)), &map(&[("a", text(name))])),
            Ok(alike),
            "{pattern} {name}"
        );
    }
}
