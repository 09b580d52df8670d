//! Profile 3: the device factor behind a browser. What it was asked, where, and that nothing else it signs authorises.

mod log;

use log::{Draft, Log, ORIGIN, Person, Said, public, secret};
use scal3::batch::{Plain, VerifyBatch};
use scal3::evidence::Reason;
use scal3::fold::Step;
use scal3::record::{Record, RecordError, device_challenge};
use scal3::verify::{CredentialRefusal, ParseRefusal, Refusal, Submitted, check_batch};
use scal3::{Claims, Credential, Hash, IssuingKey, Profile, tagged};

fn ann() -> Person {
    Person::new("ann", Profile::Passkey)
}

fn judged(log: &Log, draft: &Draft) -> Result<(), Refusal> {
    log.judge(draft).map(|_| ())
}

/// Asks, and changes what the browser says before it is signed.
type Ask = fn(Hash) -> Said;

#[test]
fn r2_g_a_browser_enrols_and_authorises() {
    let person = ann();
    let mut log = Log::with(&person);
    let draft = log.draft(&person);
    assert!(matches!(log.append(&draft), Step::Instruction(_)));
    let record = Record::parse(Profile::Passkey, &draft.record()).expect("a record");
    assert_eq!((record.profile(), record.to_bytes()), (Profile::Passkey, draft.record()));
    let assertion = record.assertion().expect("an assertion");
    assert_eq!(assertion.signature, *record.device_sig().as_bytes());
    let challenge = device_challenge(record.c(), record.check());
    let signed = [&record.c()[..], record.check().as_bytes()].concat();
    assert_eq!(challenge, tagged("solelog/device/v3", &signed));
}

#[test]
fn r2_g_an_assertion_for_anything_else_authorises_nothing() {
    let person = ann();
    let log = Log::with(&person);
    let asked: [(Reason, Ask); 7] = [
        (Reason::Challenge, |_| Said::new(Hash([7; 32]))),
        (Reason::Type, |challenge| Said { ceremony: "webauthn.create", ..Said::new(challenge) }),
        (Reason::Origin, |challenge| Said { site: "https://wallet.example.evil", ..Said::new(challenge) }),
        (Reason::RpId, |challenge| Said { rp_id: "evil.example", ..Said::new(challenge) }),
        (Reason::UserPresent, |challenge| Said { flags: 0x1c, ..Said::new(challenge) }),
        (Reason::BackupEligibility, |challenge| Said { flags: 0x05, ..Said::new(challenge) }),
        (Reason::BackupState, |challenge| Said { flags: 0x15, ..Said::new(challenge) }),
    ];
    for (reason, ask) in asked {
        let draft = Draft { ask, ..log.draft(&person) };
        let refusal = judged(&log, &draft).expect_err("refused");
        assert_eq!(refusal, Refusal::Assertion(reason));
        assert_eq!((refusal.check(), refusal.code()), ("device", reason.code()));
    }
    // Without verification of the user: the PIN is the second factor.
    let present = Draft { ask: |challenge| Said { flags: 0x19, ..Said::new(challenge) }, ..log.draft(&person) };
    assert_eq!(judged(&log, &present), Ok(()));
    let mut thief = log.draft(&person);
    thief.person.device = secret("thief");
    assert_eq!(judged(&log, &thief), Err(Refusal::Device(scal3::ecdsa::BadSignature)));
}

#[test]
fn r2_03_the_assertion_in_a_record_is_a_varsig_of_p256_with_64_bytes() {
    let person = ann();
    let log = Log::with(&person);
    let draft = log.draft(&person);
    let (record, metadata) = (draft.record(), draft.metadata.to_bytes().len());
    let at = 33 + metadata + 32 + 32 + 32 + 32;
    assert_eq!(record[at..at + 2], [0xd6, 0x44]);
    let parse = |bytes: &[u8]| Record::parse(Profile::Passkey, bytes).err();
    let mut other = record.clone();
    (other[at], other[at + 1]) = (0xd1, 0x5d);
    assert_eq!(parse(&other), Some(RecordError::Assertion(Reason::Unsupported)), "Ed25519");
    other[at] = 0xd2;
    assert_eq!(parse(&other), Some(RecordError::Assertion(Reason::Unsupported)), "another code");
    let longer = [&record[..record.len() - 64], &[0], &record[record.len() - 64..]].concat();
    assert_eq!(parse(&longer), Some(RecordError::Assertion(Reason::Malformed)));
    for length in 0..record.len() {
        assert!(parse(&record[..length]).is_some());
    }
    // No bit of it may change. In the binding signature alone, some changes are other spellings of the same.
    for at in (0..record.len() - 64).step_by(3) {
        let mut bytes = record.clone();
        bytes[at] ^= 1;
        let mut opening = scal3::Opening::parse(&draft.opening()).expect("an opening");
        opening.record = bytes;
        let verdict = Submitted::parse(&opening.to_bytes()).and_then(|s| s.check(&person.credential(), ORIGIN));
        assert!(verdict.is_err(), "byte {at}");
    }
    assert!(Record::parse(Profile::EcSdsa, &record).is_err(), "no record of profile 1");
}

#[test]
fn r2_g_a_device_key_of_one_profile_makes_no_record_of_another() {
    // The same key, enrolled once as a plain one: what it signs behind a browser is not what that credential asks for.
    let (browser, plain) = (ann(), Person::new("ann", Profile::EcSdsa));
    assert_eq!(browser.claims.device_key, plain.claims.device_key);
    let log = Log::with(&plain);
    let mut draft = log.draft(&plain);
    draft.profile = Profile::Passkey;
    assert_eq!(judged(&log, &draft), Err(Refusal::Credential(CredentialRefusal::Profile)));
    let log = Log::with(&browser);
    let mut draft = log.draft(&browser);
    draft.profile = Profile::EcSdsa;
    assert_eq!(judged(&log, &draft), Err(Refusal::Credential(CredentialRefusal::Profile)));
    // Nor does the opening's word for it help.
    let mut opening = scal3::Opening::parse(&log.draft(&browser).opening()).expect("an opening");
    opening.profile = Profile::EcSdsa;
    let verdict = Submitted::parse(&opening.to_bytes());
    assert!(matches!(verdict, Err(Refusal::Parse(ParseRefusal::Record(_)))), "{verdict:?}");
}

#[test]
fn r0_07_records_of_profile_3_are_verified_in_batches() {
    let person = ann();
    let log = Log::with(&person);
    let good = log.draft(&person);
    let asked: Ask = |challenge| Said { site: "https://evil.example", ..Said::new(challenge) };
    let elsewhere = Draft { ask: asked, ..good.clone() };
    let mut thief = good.clone();
    thief.person.device = secret("thief");
    let bound = |draft: &Draft| {
        Submitted::parse(&draft.opening()).unwrap().bind(log.state(&person).credential(), ORIGIN).unwrap()
    };
    let all: Vec<_> = [&good, &elsewhere, &thief].map(bound).into();
    let verdicts = Plain.verify_batch(&all.iter().map(|bound| bound.job().clone()).collect::<Vec<_>>());
    assert_eq!(verdicts.iter().map(|verdict| verdict.is_ok()).collect::<Vec<_>>(), [true, true, false]);
    let judged = check_batch(&Plain, all);
    assert!(judged[0].is_ok());
    assert_eq!(judged[1], Err(Refusal::Assertion(Reason::Origin)));
    assert_eq!(judged[2], Err(Refusal::Device(scal3::ecdsa::BadSignature)));
}

#[test]
fn claims_of_profile_3_say_what_the_device_key_is_for() {
    let person = ann();
    let key = IssuingKey::parse(&public(&secret("issuer"))).unwrap();
    let credential = Credential::open(&person.credential_bytes(), &key).expect("a credential");
    let passkey = credential.claims().passkey.as_ref().expect("a passkey");
    assert_eq!((passkey.rp_id.as_str(), passkey.origins.len()), ("wallet.example", 2));
    assert_eq!(Claims::parse(&person.claims.to_bytes()).as_ref(), Ok(&person.claims));
    let without = Claims { passkey: None, ..person.claims.clone() };
    assert!(Claims::parse(&without.to_bytes()).is_err(), "profile 3 without one");
    let with = Claims { profile: Profile::EcSdsa, ..person.claims.clone() };
    assert!(Claims::parse(&with.to_bytes()).is_err(), "profile 1 with one");
    assert_ne!(without.id(), person.claims.id());
}
