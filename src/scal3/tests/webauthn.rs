//! WebAuthn assertions and varsigs, judged as published: those of the specification, of real authenticators, and of a real
//! browser that signed an operation.

mod support;

use ciborium::Value as Cbor;
use scal3::cose::{Key, KeyError};
use scal3::evidence::varsig::{Algorithm, Varsig};
use scal3::evidence::{Reason, webauthn::Assertion, webauthn::Expected, webauthn::Said};
use scal3::varint;
use serde_json::Value;
use support::{bytes, cases, json, string};

/// One published assertion, with everything it has to be for.
struct Case {
    name: String,
    key: Result<Key, KeyError>,
    assertion: Assertion,
    challenge: Vec<u8>,
    rp_id: String,
    origins: Vec<String>,
}

impl Case {
    fn verify_with(&self, user_verified: bool) -> Result<Said, Reason> {
        let expected = Expected {
            challenge: &self.challenge,
            rp_id: &self.rp_id,
            origins: &self.origins,
            backup_eligible: self.assertion.authenticator_data[32] & 8 != 0,
            user_verified,
        };
        self.assertion.verify(self.key.as_ref().expect("a key"), &expected)
    }

    fn verify(&self) -> Result<Said, Reason> {
        self.verify_with(false)
    }
}

/// The public key in the registration of a credential.
fn registered(attestation_object: &[u8]) -> Vec<u8> {
    let object: Cbor = ciborium::from_reader(attestation_object).expect("an attestation object");
    let members = object.as_map().expect("a map");
    let data = members.iter().find(|(name, _)| name.as_text() == Some("authData")).expect("authenticator data");
    let data = data.1.as_bytes().expect("bytes");
    let id_length = usize::from(u16::from_be_bytes([data[53], data[54]]));
    let key: Cbor = ciborium::from_reader(&data[55 + id_length..]).expect("a key");
    let mut written = Vec::new();
    ciborium::into_writer(&key, &mut written).expect("written");
    written
}

fn chromium(file: &Value) -> Vec<Case> {
    let case = |case: &Value| Case {
        name: string(case, "name").into(),
        key: Key::from_cose(&registered(&bytes(case, "attestationObject"))),
        assertion: Assertion {
            authenticator_data: bytes(case, "authenticatorData"),
            client_data: bytes(case, "clientDataJSON"),
            signature: bytes(case, "signature"),
        },
        challenge: bytes(file, "challenge"),
        rp_id: string(file, "rpId").into(),
        origins: vec![string(file, "origin").into()],
    };
    cases(file, "cases").iter().map(case).collect()
}

#[test]
fn r0_06_what_a_browser_signed_verifies_and_other_algorithms_are_unsupported() {
    let Some(file) = json("webauthn/chromium156-transaction-assertions.json") else {
        return;
    };
    let said = |name: &str| {
        let all = chromium(&file);
        let case = all.into_iter().find(|case| case.name == name).expect("a case");
        case.key.as_ref().map_err(|error| *error).map(|_| case.verify_with(true))
    };
    for name in ["ed25519-usb", "es256-internal", "es256-nfc"] {
        assert_eq!(said(name), Ok(Ok(Said { user_verified: true, backed_up: false, count: 2 })), "{name}");
    }
    assert_eq!(said("ed25519-up-only"), Ok(Err(Reason::UserVerified)));
    for name in ["rs256-usb", "mldsa44-usb"] {
        assert_eq!(said(name), Err(KeyError::Unsupported), "{name}");
    }
    let up_only = chromium(&file).into_iter().find(|case| case.name == "ed25519-up-only").expect("a case");
    assert_eq!(up_only.verify(), Ok(Said { user_verified: false, backed_up: false, count: 2 }));
}

/// Seven things that are not what was signed, and why each is refused.
#[test]
fn r2_06_every_mutation_of_an_assertion_is_refused_for_what_it_is() {
    let Some(file) = json("webauthn/chromium156-transaction-assertions.json") else {
        return;
    };
    let replaced = |bytes: &[u8], from: &str, to: &str| {
        let text = String::from_utf8(bytes.to_vec()).expect("text");
        assert!(text.contains(from), "{text}");
        text.replace(from, to).into_bytes()
    };
    type Mutation = (Reason, fn(&mut Case));
    let mutations: [Mutation; 9] = [
        (Reason::Type, |case| {
            let text = String::from_utf8(case.assertion.client_data.clone()).unwrap();
            case.assertion.client_data = text.replace("webauthn.get", "webauthn.create").into_bytes();
        }),
        (Reason::Challenge, |case| case.challenge[0] ^= 1),
        (Reason::Origin, |case| case.origins = vec!["https://localhost:8765".into()]),
        (Reason::CrossOrigin, |case| {
            let text = String::from_utf8(case.assertion.client_data.clone()).unwrap();
            case.assertion.client_data = text.replace("\"crossOrigin\":false", "\"crossOrigin\":true").into_bytes();
        }),
        (Reason::RpId, |case| case.rp_id = "localhost.example".into()),
        (Reason::UserPresent, |case| case.assertion.authenticator_data[32] &= !1),
        (Reason::BackupState, |case| case.assertion.authenticator_data[32] |= 0x10),
        (Reason::Signature, |case| case.assertion.authenticator_data[36] ^= 1),
        (Reason::Signature, |case| *case.assertion.signature.last_mut().unwrap() ^= 1),
    ];
    let names = ["ed25519-usb", "es256-internal", "es256-nfc"];
    for name in names {
        for (reason, mutate) in mutations {
            let mut case = chromium(&file).into_iter().find(|case| case.name == name).expect("a case");
            mutate(&mut case);
            assert_eq!(case.verify(), Err(reason), "{name}");
        }
        let mut other = chromium(&file).into_iter().find(|case| case.name == name).expect("a case");
        // Spaces mean nothing to JSON. They are under the signature all the same.
        other.assertion.client_data = replaced(&other.assertion.client_data, "\"type\":", "\"type\": ");
        assert_eq!(other.verify(), Err(Reason::Signature), "{name}");
    }
}

#[test]
fn r0_g3_client_data_has_one_meaning() {
    let Some(file) = json("webauthn/chromium156-transaction-assertions.json") else {
        return;
    };
    let good = &chromium(&file)[0];
    let client = String::from_utf8(good.assertion.client_data.clone()).expect("text");
    let with = |changed: String| {
        let assertion = Assertion { client_data: changed.into_bytes(), ..good.assertion.clone() };
        let case = Case {
            name: good.name.clone(),
            key: good.key,
            assertion,
            challenge: good.challenge.clone(),
            rp_id: good.rp_id.clone(),
            origins: good.origins.clone(),
        };
        case.verify()
    };
    let more = |member: &str| with(client.replacen('{', &format!("{{{member},"), 1));
    assert_eq!(more("\"type\":\"webauthn.get\""), Err(Reason::Malformed), "a member twice");
    assert_eq!(more("\"\\u0074ype\":\"webauthn.create\""), Err(Reason::Malformed), "twice, spelled in two ways");
    assert_eq!(more("\"x\":1,\"x\":2"), Err(Reason::Malformed), "also where nobody reads it");
    assert_eq!(more("\"topOrigin\":\"https://other.example\""), Err(Reason::CrossOrigin));
    assert_eq!(more("\"x\":1"), Err(Reason::Signature), "a member that is not known is no fault");
    assert_eq!(with(client.clone() + " x"), Err(Reason::Malformed), "something behind it");
    assert_eq!(with(format!("\u{feff}{client}")), Err(Reason::Malformed), "a byte order mark");
    assert_eq!(with(client.replace("\"crossOrigin\":false", "\"crossOrigin\":\"false\"")), Err(Reason::Malformed));
    assert_eq!(with(client.replace("webauthn.get\",\"ch", "webauthn.get\",\"Ch")), Err(Reason::Malformed));
    assert_eq!(with("[]".into()), Err(Reason::Malformed));
    assert_eq!(with(" ".repeat(9000) + &client), Err(Reason::TooLong));
}

#[test]
fn r0_02_authenticator_data_has_one_form() {
    let Some(file) = json("webauthn/chromium156-transaction-assertions.json") else {
        return;
    };
    let with = |change: fn(&mut Vec<u8>)| {
        let mut case = chromium(&file).remove(0);
        change(&mut case.assertion.authenticator_data);
        case.verify()
    };
    assert_eq!(with(|data| data.truncate(36)), Err(Reason::Malformed));
    assert_eq!(with(|data| data.push(0xa0)), Err(Reason::Malformed), "extensions without the flag");
    assert_eq!(with(|data| data[32] |= 0x80), Err(Reason::Malformed), "the flag without extensions");
    assert_eq!(with(|data| data[32] |= 0x40), Err(Reason::Malformed), "nothing is attested when something is signed");
    assert_eq!(
        with(|data| {
            data[32] |= 0x80;
            data.extend_from_slice(&[0xa1, 0x61, 0x61, 0x01]);
        }),
        Err(Reason::Signature)
    );
    assert_eq!(
        with(|data| {
            data[32] |= 0x80;
            data.extend_from_slice(&[0x01]);
        }),
        Err(Reason::Malformed)
    );
}

#[test]
fn assertions_of_real_authenticators_are_judged_as_published() {
    let Some(file) = json("webauthn/py_webauthn_assertions.json") else {
        return;
    };
    let mut judged = 0;
    for case in cases(&file, "cases") {
        let origins = case["expectedOrigins"].as_array().expect("origins");
        let read = Case {
            name: string(case, "id").into(),
            key: Key::from_cose(&bytes(case, "credentialPublicKeyCoseHex")),
            assertion: Assertion {
                authenticator_data: bytes(case, "authenticatorDataHex"),
                client_data: bytes(case, "clientDataJSONHex"),
                signature: bytes(case, "signatureHex"),
            },
            challenge: bytes(case, "challengeHex"),
            rp_id: string(case, "rpId").into(),
            origins: origins.iter().map(|origin| origin.as_str().expect("text").to_owned()).collect(),
        };
        if case["alg"] == -257 {
            assert_eq!(read.key, Err(KeyError::Unsupported));
            continue;
        }
        let required = case["requireUserVerification"].as_bool().expect("a flag");
        let verdict = read.verify_with(required);
        match string(case, "want") {
            "ok" => assert_eq!(verdict.map(|said| u64::from(said.count)), Ok(case["newSignCount"].as_u64().unwrap())),
            _ => assert_eq!(verdict, Err(Reason::UserVerified), "{}", read.name),
        }
        judged += 1;
    }
    assert!(judged >= 4);
}

#[test]
fn assertions_of_the_specification_are_judged_as_published() {
    let Some(file) = json("webauthn/w3c_l3_section16.json") else {
        return;
    };
    let mut verified = 0;
    for case in cases(&file, "cases") {
        let signed = &case["authentication"];
        let key = Key::from_cose(&bytes(case, "credentialPublicKeyCoseHex"));
        if !matches!(case["alg"].as_i64(), Some(-7 | -8)) {
            assert_eq!(key, Err(KeyError::Unsupported), "{case}");
            continue;
        }
        let read = Case {
            name: string(case, "id").into(),
            key,
            assertion: Assertion {
                authenticator_data: bytes(signed, "authenticatorData"),
                client_data: bytes(signed, "clientDataJSON"),
                signature: bytes(signed, "signature"),
            },
            challenge: bytes(signed, "challenge"),
            rp_id: string(case, "rpId").into(),
            origins: vec![string(case, "origin").into()],
        };
        if case["crossOrigin"] == true {
            assert_eq!(read.verify(), Err(Reason::CrossOrigin));
            continue;
        }
        let flags = &case["flags"]["authentication"];
        let said = read.verify().unwrap_or_else(|reason| panic!("{}: {reason}", read.name));
        assert_eq!((&flags["UV"], &flags["BS"]), (&said.user_verified.into(), &said.backed_up.into()));
        verified += 1;
    }
    assert!(verified >= 5);
}

#[test]
fn r2_02_an_assertion_is_the_published_varsig() {
    let Some(file) = json("webauthn/chromium156-transaction-assertions.json") else {
        return;
    };
    let mut seen = 0;
    for (case, read) in cases(&file, "cases").iter().zip(chromium(&file)) {
        let Some(published) = case.get("varsig_seed") else { continue };
        let published = hex::decode(published.as_str().expect("text")).expect("hex");
        let algorithm = Algorithm::of(read.key.as_ref().expect("a key"));
        let Assertion { authenticator_data, client_data, signature } = &read.assertion;
        let made = Varsig::made(algorithm, authenticator_data, client_data, signature).expect("a varsig");
        // The published ones carry the signature as the authenticator gave it: DER for P-256.
        let bytes = made.to_bytes();
        assert_eq!([&bytes[..bytes.len() - 64], signature].concat(), published, "{}", read.name);
        if algorithm == Algorithm::EdDsa {
            assert_eq!(Varsig::parse(&published).expect("a varsig").to_bytes(), published);
        }
        assert_eq!(Varsig::import(&published).as_ref(), Ok(&made), "{}", read.name);
        let assertion = made.assertion();
        assert!(Case { assertion, ..read }.verify().is_ok());
        let code = u16::from_be_bytes([published[0], published[1]]);
        assert_eq!(code, if algorithm == Algorithm::EdDsa { 0xd15d } else { 0xd644 });
        seen += 1;
    }
    assert!(seen >= 4);
}

#[test]
fn r2_03_a_varsig_of_a_der_signature_becomes_the_raw_one_with_a_low_s() {
    let Some(file) = json("webauthn/chromium156-transaction-assertions.json") else {
        return;
    };
    let read = chromium(&file).into_iter().find(|case| case.name == "es256-internal").expect("a case");
    let Assertion { authenticator_data, client_data, signature } = &read.assertion;
    let made = Varsig::made(Algorithm::Es256, authenticator_data, client_data, signature).expect("a varsig");
    let raw = made.to_bytes();
    let der = [&raw[..raw.len() - 64], signature].concat();
    assert_eq!(Varsig::import(&der).as_ref(), Ok(&made));
    assert_eq!(Varsig::parse(&der), Err(Reason::Malformed), "a row of bytes has 64 bytes at its end");
    assert!(made.signature[32] < 0x80, "a low s");
}

#[test]
fn r2_04_a_varsig_of_another_code_or_form_is_refused() {
    let good = Varsig {
        algorithm: Algorithm::EdDsa,
        authenticator_data: vec![1; 37],
        client_data: vec![2; 200],
        signature: [3; 64],
    };
    let bytes = good.to_bytes();
    assert_eq!(Varsig::parse(&bytes), Ok(good.clone()));
    assert_eq!(&bytes[..3], [0xd1, 0x5d, 37]);
    let mut other = bytes.clone();
    other[0] = 0xd2;
    assert_eq!(Varsig::parse(&other), Err(Reason::Unsupported));
    let long = [&[0xd1, 0xdd, 0x00][..], &bytes[2..]].concat();
    assert_eq!(Varsig::parse(&long), Err(Reason::Malformed), "a code that has a shorter spelling");
    for length in 0..bytes.len() {
        assert!(Varsig::parse(&bytes[..length]).is_err());
    }
    assert_eq!(Varsig::parse(&[&bytes[..], &[0]].concat()), Err(Reason::Malformed));
    let p256 = Varsig { algorithm: Algorithm::Es256, ..good }.to_bytes();
    assert_eq!(&p256[..2], [0xd6, 0x44]);
}

#[test]
fn r2_05_varints_are_judged_as_published() {
    let Some(file) = json("varsig/unsigned_varint.json") else {
        return;
    };
    for case in cases(&file, "cases") {
        let given = bytes(case, "hex");
        match string(case, "want") {
            "ok" => {
                let value: u64 = string(case, "value").parse().expect("a number");
                assert_eq!(varint::read(&given), Ok((value, &[][..])), "{case}");
                let mut written = Vec::new();
                varint::write(value, &mut written);
                assert_eq!(written, given, "{case}");
            }
            _ => assert!(varint::read(&given).is_err(), "{case}"),
        }
    }
    let Some(file) = json("varsig/multicodec_rows.json") else {
        return;
    };
    for case in cases(&file, "cases") {
        let code = u64::from_str_radix(string(case, "code").trim_start_matches("0x"), 16).expect("hex");
        let mut written = Vec::new();
        varint::write(code, &mut written);
        assert_eq!(written, bytes(case, "varintHex"), "{case}");
    }
}
