//! Evidence of every kind: what verifies, and why each thing that does not is refused.

use scal3::authenticator::{About, Claims as Enrolled, Purpose};
use scal3::cose::Key;
use scal3::evidence::bio::Modality;
use scal3::evidence::{Claims, Context, Kind, Reason, challenge, otp, verify};
use scal3::point::Point;
use scal3::{Hash, tagged};
use testkit::{Bound, Card, Device, Passkey, Secret};

const NOW_MS: u64 = 1_760_000_000_000;

fn bound() -> Bound {
    Bound {
        origin: "log.example/one",
        operation_hash: Hash([1; 32]),
        instruction_id: Hash([2; 32]),
        session: Hash([3; 32]),
        participant: Hash([4; 32]),
        now_ms: NOW_MS,
    }
}

fn device_key() -> Point {
    match Secret::p256("the device factor").public() {
        Key::Es256(point) => point,
        Key::EdDsa(_) => unreachable!("P-256"),
    }
}

/// The verdict of somebody who expects evidence for `bound`, with the counter at `last`.
fn judge_after(
    kind: Kind,
    bound: &Bound,
    enrolled: &Enrolled,
    last: Option<u64>,
    blob: &[u8],
) -> Result<Claims, Reason> {
    let context = Context {
        origin: bound.origin,
        operation_hash: &bound.operation_hash,
        instruction_id: &bound.instruction_id,
        session: &bound.session,
        participant: &bound.participant,
        authenticator: enrolled,
        last_count: last,
        device_key: &device_key(),
        entry_ms: bound.now_ms,
    };
    verify(kind, &context, blob)
}

fn judge(kind: Kind, bound: &Bound, enrolled: &Enrolled, blob: &[u8]) -> Result<Claims, Reason> {
    judge_after(kind, bound, enrolled, None, blob)
}

fn passkey() -> Passkey {
    Passkey::new(bound().participant, Secret::p256("passkey"))
}

fn device() -> Device {
    Device::new(bound().participant, Secret::ed25519("device"))
}

fn card() -> Card {
    Card::new(bound().participant, "card")
}

/// Good evidence of every kind, with the claims of what made it.
fn all() -> Vec<(Kind, Enrolled, Vec<u8>)> {
    let bound = bound();
    let (passkey, device, card) = (passkey(), device(), card());
    let other = Passkey::new(bound.participant, Secret::ed25519("passkey"));
    let es256 = Device::new(bound.participant, Secret::p256("device"));
    let otp = testkit::otp(bound.participant);
    vec![
        (Kind::WebAuthn, passkey.claims.clone(), passkey.webauthn(&bound)),
        (Kind::WebAuthn, other.claims.clone(), other.webauthn(&bound)),
        (Kind::Varsig, passkey.claims.clone(), passkey.varsig_blob(&bound)),
        (Kind::Varsig, other.claims.clone(), other.varsig_blob(&bound)),
        (Kind::Bio, device.claims.clone(), device.bio(&bound)),
        (Kind::Bio, es256.claims.clone(), es256.bio(&bound)),
        (Kind::Nfc, card.claims.clone(), card.nfc(&bound)),
        (Kind::Otp, otp.clone(), testkit::vouch(&otp, &bound)),
    ]
}

#[test]
fn r0_20_evidence_of_every_kind_verifies_and_tells_what_it_shows() {
    for (kind, enrolled, blob) in all() {
        let claims = judge(kind, &bound(), &enrolled, &blob).unwrap_or_else(|reason| panic!("{kind:?}: {reason}"));
        assert_eq!((claims.kind, claims.participant, claims.authenticator), (kind, bound().participant, enrolled.id()));
        assert_eq!(claims.vouched, kind == Kind::Otp);
        assert_eq!(claims.user_verified, !matches!(kind, Kind::Nfc | Kind::Otp), "a card shows possession alone");
        assert_eq!(claims.device_bound, kind != Kind::Otp);
        assert!(!claims.clone_suspected);
    }
    let bio = judge(Kind::Bio, &bound(), &device().claims, &device().bio(&bound())).expect("verified");
    assert_eq!((bio.modalities, bio.debug_disabled), (Modality::Fingerprint.bit(), true));
    assert_eq!(bio.made_ms, Some(NOW_MS));
}

#[test]
fn r0_g1_evidence_for_another_operation_participant_authenticator_log_or_kind_never_verifies() {
    let bound = bound();
    for (kind, enrolled, blob) in all() {
        let elsewhere = Bound { operation_hash: Hash([9; 32]), ..bound };
        assert_eq!(judge(kind, &elsewhere, &enrolled, &blob), Err(Reason::Challenge), "{kind:?}: another operation");

        let somebody = Bound { participant: Hash([9; 32]), ..bound };
        assert_eq!(judge(kind, &somebody, &enrolled, &blob), Err(Reason::Participant), "{kind:?}: somebody else");
        let theirs = Enrolled { participant: Hash([9; 32]), ..enrolled.clone() };
        let verdict = judge(kind, &somebody, &theirs, &blob);
        assert!(
            matches!(verdict, Err(Reason::Challenge | Reason::Participant | Reason::Key)),
            "{kind:?}: the same key, enrolled by somebody else: {verdict:?}"
        );

        let again = Enrolled { attestation: "another enrolment".into(), ..enrolled.clone() };
        let verdict = judge(kind, &bound, &again, &blob);
        let expected = [Reason::Challenge, Reason::Key, Reason::Signature];
        assert!(verdict.is_err_and(|reason| expected.contains(&reason)), "{kind:?}: another authenticator");

        let login = Enrolled { purpose: Purpose::Login, ..enrolled.clone() };
        assert_eq!(judge(kind, &bound, &login, &blob), Err(Reason::Purpose), "{kind:?}: enrolled to log in");

        for other in Kind::ALL.into_iter().filter(|other| *other != kind) {
            let verdict = judge(other, &bound, &enrolled, &blob);
            let malformed =
                matches!(verdict, Err(Reason::Kind | Reason::Malformed | Reason::Unsupported | Reason::TooLong));
            assert!(malformed, "{kind:?} as {other:?}: {verdict:?}");
        }
        for length in 0..blob.len() {
            assert!(judge(kind, &bound, &enrolled, &blob[..length]).is_err(), "{kind:?}: cut at {length}");
        }
        assert!(judge(kind, &bound, &enrolled, &[&blob[..], &[0]].concat()).is_err(), "{kind:?}: something behind it");
    }
    // The operation commits to the log. The token of a device says it once more.
    let other_log = Bound { origin: "log.example/two", ..bound };
    assert_eq!(judge(Kind::Bio, &other_log, &device().claims, &device().bio(&bound)), Err(Reason::Signature));
}

#[test]
fn r0_g1_a_challenge_names_kind_operation_participant_and_authenticator() {
    let [operation, participant, authenticator] = [1, 2, 3].map(|byte| Hash([byte; 32]));
    let of = |kind| challenge(kind, &operation, &participant, &authenticator);
    let mut all: Vec<Hash> = Kind::ALL.into_iter().map(of).collect();
    all.push(challenge(Kind::Nfc, &participant, &operation, &authenticator));
    all.push(challenge(Kind::Nfc, &operation, &authenticator, &participant));
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), Kind::ALL.len() + 2);
    let whole = [&b"\x84\x63nfc\x58\x20"[..], &[1; 32], b"\x58\x20", &[2; 32], b"\x58\x20", &[3; 32]].concat();
    assert_eq!(of(Kind::Nfc), tagged("solelog/evidence/v1", &whole));
}

#[test]
fn r0_02_what_a_passkey_did_not_do_is_refused() {
    let bound = bound();
    let with = |change: &dyn Fn(&mut Passkey)| {
        let mut passkey = passkey();
        change(&mut passkey);
        let enrolled = self::passkey().claims;
        [
            judge(Kind::WebAuthn, &bound, &enrolled, &passkey.webauthn(&bound)),
            judge(Kind::Varsig, &bound, &enrolled, &passkey.varsig_blob(&bound)),
        ]
        .map(|verdict| verdict.map(|claims| claims.user_verified))
    };
    assert_eq!(with(&|_| ()), [Ok(true); 2]);
    assert_eq!(with(&|passkey| passkey.flags = 0x01), [Ok(false); 2], "present, not verified: it says so");
    assert_eq!(with(&|passkey| passkey.flags = 0x04), [Err(Reason::UserPresent); 2]);
    assert_eq!(with(&|passkey| passkey.flags = 0x0d), [Err(Reason::BackupEligibility); 2]);
    assert_eq!(with(&|passkey| passkey.flags = 0x15), [Err(Reason::BackupState); 2]);
    assert_eq!(with(&|passkey| passkey.site = "https://bank.example.evil"), [Err(Reason::Origin); 2]);
    assert_eq!(with(&|passkey| passkey.rp_id = "evil.example"), [Err(Reason::RpId); 2]);
    assert_eq!(with(&|passkey| passkey.ceremony = "webauthn.create"), [Err(Reason::Type); 2]);
    assert_eq!(with(&|passkey| passkey.ceremony = "payment.get"), [Err(Reason::Type); 2]);
    assert_eq!(with(&|passkey| passkey.secret = Secret::p256("another")), [Err(Reason::Signature); 2]);
}

#[test]
fn r0_g2_a_counter_that_goes_back_is_told_and_none_at_all_is_fine() {
    let bound = bound();
    let suspected = |count: u32, last: Option<u64>| {
        let passkey = Passkey { count, ..passkey() };
        let claims = judge_after(Kind::WebAuthn, &bound, &passkey.claims, last, &passkey.webauthn(&bound));
        claims.expect("verified").clone_suspected
    };
    assert!(!suspected(0, None) && !suspected(0, Some(0)), "no counter");
    assert!(!suspected(7, None) && !suspected(8, Some(7)) && !suspected(1, Some(0)));
    assert!(suspected(7, Some(7)) && suspected(6, Some(7)) && suspected(0, Some(7)));
}

#[test]
fn r0_04_the_device_factor_is_no_evidence() {
    let bound = bound();
    let passkey = Passkey::new(bound.participant, Secret::p256("the device factor"));
    assert_eq!(judge(Kind::WebAuthn, &bound, &passkey.claims, &passkey.webauthn(&bound)), Err(Reason::DeviceKey));
}

#[test]
fn r1_05_a_token_is_refused_for_what_is_wrong_with_it() {
    let bound = bound();
    let device = device();
    let with = |change: &dyn Fn(&mut scal3::evidence::bio::Token)| {
        let mut token = device.claims_now(&bound);
        change(&mut token);
        judge(Kind::Bio, &bound, &device.claims, &device.sign(&bound, &token)).map(|claims| claims.count)
    };
    assert_eq!(with(&|_| ()), Ok(Some(1)));
    assert_eq!(with(&|token| token.nonce = Hash([0; 32])), Err(Reason::Challenge));
    assert_eq!(with(&|token| token.instruction_id = Hash([0; 32])), Err(Reason::Scope));
    assert_eq!(with(&|token| token.template = [0; 32]), Err(Reason::Scope));
    assert_eq!(with(&|token| token.ueid = [2; 17]), Err(Reason::Scope));
    assert_eq!(with(&|token| token.issuer = "did:key:z6Mk".into()), Err(Reason::Scope));
    assert_eq!(with(&|token| token.matched = vec![]), Err(Reason::Malformed));
    assert_eq!(with(&|token| token.expires_s += 1), Err(Reason::Time), "good for longer than 300 s");
    assert_eq!(with(&|token| token.expires_s = token.issued_s), Err(Reason::Time), "no longer good");
    let shifted = |by_s: i64| {
        with(&|token| {
            token.issued_s = token.issued_s.strict_add_signed(by_s);
            token.expires_s = token.expires_s.strict_add_signed(by_s);
        })
    };
    assert_eq!([shifted(-299), shifted(300)], [Ok(Some(1)); 2]);
    assert_eq!([shifted(-300), shifted(-301), shifted(301)], [Err(Reason::Time); 3]);

    let other = Device { secret: Secret::ed25519("another"), ..device.clone() };
    assert_eq!(judge(Kind::Bio, &bound, &device.claims, &other.bio(&bound)), Err(Reason::Signature));
    let p256 = Device { secret: Secret::p256("another"), ..device.clone() };
    assert_eq!(judge(Kind::Bio, &bound, &device.claims, &p256.bio(&bound)), Err(Reason::Unsupported));
    let untyped = Device { typ: "application/cwt", ..device.clone() };
    assert_eq!(judge(Kind::Bio, &bound, &device.claims, &untyped.bio(&bound)), Err(Reason::Type));

    let blob = device.bio(&bound);
    for (last, expected) in [(Some(0), Ok(Some(1))), (Some(1), Err(Reason::Counter)), (Some(2), Err(Reason::Counter))] {
        let verdict = judge_after(Kind::Bio, &bound, &device.claims, last, &blob);
        assert_eq!(verdict.map(|claims| claims.count), expected);
    }
}

#[test]
fn r4_11_to_15_an_envelope_has_exactly_its_fields() {
    let bound = bound();
    let card = card();
    let with = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut envelope = card.tap(&bound, NOW_MS);
        change(&mut envelope);
        judge(Kind::Nfc, &bound, &card.claims, envelope.to_string().as_bytes()).map(|claims| claims.made_ms)
    };
    let set = |name: &'static str, value: serde_json::Value| with(&|e| e["nfcSignature"][name] = value.clone());
    assert_eq!(with(&|_| ()), Ok(Some(NOW_MS)));
    assert_eq!(with(&|e| e["more"] = 1.into()), Err(Reason::Malformed));
    assert_eq!(set("more", 1.into()), Err(Reason::Malformed));
    assert_eq!(with(&|e| drop(e.as_object_mut().unwrap().remove("participantId"))), Err(Reason::Malformed));
    assert_eq!(with(&|e| e["operationHash"] = "00".repeat(32).into()), Err(Reason::Challenge));
    assert_eq!(with(&|e| e["participantId"] = "00".repeat(32).into()), Err(Reason::Participant));
    assert_eq!(set("curve", "secp256k1".into()), Err(Reason::Unsupported));

    // R4-12: 65 bytes, uncompressed, on the curve.
    let key = card.public_hex();
    assert_eq!(key.len(), 130);
    for wrong in [&key[..128], &format!("{key}00")[..], &key[2..], &format!("02{}", &key[2..66])] {
        assert_eq!(set("publicKey", wrong.into()), Err(Reason::Malformed));
    }
    let off_curve = format!("{}{:02x}", &key[..128], u8::from_str_radix(&key[128..], 16).unwrap() ^ 1);
    assert_eq!(set("publicKey", off_curve.into()), Err(Reason::Malformed));
    assert_eq!(set("publicKey", Card::new(bound.participant, "another").public_hex().into()), Err(Reason::Key));
    assert!(set("publicKey", key.to_uppercase().into()).is_ok(), "hex is hex");

    // R4-13: r and s, 64 bytes, in range; no DER.
    let good = card.tap(&bound, NOW_MS)["nfcSignature"]["signature"].as_str().unwrap().to_owned();
    assert_eq!(set("signature", "00".repeat(64).into()), Err(Reason::Malformed));
    assert_eq!(set("signature", "ff".repeat(64).into()), Err(Reason::Malformed));
    assert_eq!(set("signature", good[..126].into()), Err(Reason::Malformed));
    let der = scal3::ecdsa::Signature::parse(&hex::decode(&good).unwrap()).unwrap();
    let der = p256::ecdsa::Signature::from_slice(der.as_bytes()).unwrap().to_der();
    assert_eq!(set("signature", hex::encode(der.as_bytes()).into()), Err(Reason::Malformed));
    let other = card.tap(&bound, NOW_MS - 1)["nfcSignature"]["signature"].clone();
    assert_eq!(set("signature", other), Err(Reason::Signature));

    // R4-15: 16 digits.
    assert_eq!(set("cardUid", "04516273849500".into()), Err(Reason::Malformed));
    assert_eq!(set("cardUid", "0004516273849500".into()), Err(Reason::Card));
}

#[test]
fn r4_14_a_tap_is_good_for_300_000_ms_either_way_and_its_time_is_signed() {
    let bound = bound();
    let card = card();
    let at = |timestamp_ms: u64| {
        let envelope = card.tap(&bound, timestamp_ms).to_string();
        judge(Kind::Nfc, &bound, &card.claims, envelope.as_bytes()).map(|_| ())
    };
    assert_eq!([at(NOW_MS - 300_000), at(NOW_MS + 300_000)], [Ok(()); 2]);
    assert_eq!([at(NOW_MS - 300_001), at(NOW_MS + 300_001)], [Err(Reason::Time); 2]);
    let mut replayed = card.tap(&bound, NOW_MS - 400_000);
    replayed["nfcSignature"]["timestamp"] = NOW_MS.into();
    assert_eq!(judge(Kind::Nfc, &bound, &card.claims, replayed.to_string().as_bytes()), Err(Reason::Signature));
    let elsewhere = Bound { session: Hash([9; 32]), ..bound };
    assert_eq!(
        judge(Kind::Nfc, &elsewhere, &card.claims, &card.nfc(&bound)),
        Err(Reason::Signature),
        "another session"
    );
}

#[test]
fn r0_11_a_password_is_somebodys_word_for_one_step_and_one_operation() {
    let bound = bound();
    let claims = testkit::otp(bound.participant);
    let challenge = challenge(Kind::Otp, &bound.operation_hash, &bound.participant, &claims.id());
    let step = NOW_MS / 30_000;
    let said = |statement: otp::Statement, last| {
        judge_after(Kind::Otp, &bound, &claims, last, &statement.to_bytes())
            .map(|claims| (claims.vouched, claims.count))
    };
    let good = otp::Statement { challenge, step, checked_ms: NOW_MS };
    assert_eq!(said(good, None), Ok((true, Some(step))));
    assert_eq!(said(good, Some(step - 1)), Ok((true, Some(step))));
    assert_eq!(said(good, Some(step)), Err(Reason::Counter), "a password is good once");
    assert_eq!(said(otp::Statement { challenge: Hash([0; 32]), ..good }, None), Err(Reason::Challenge));
    assert_eq!(said(otp::Statement { step: step - 2, ..good }, None), Err(Reason::Time));
    assert_eq!(said(otp::Statement { checked_ms: NOW_MS - 300_001, ..good }, None), Err(Reason::Time));
}

/// RFC 6238, appendix B: 8 digits, 30 seconds, the secrets as long as the hash.
#[test]
fn r0_11_passwords_are_those_of_the_rfc() {
    use scal3::authenticator::{Otp, OtpHash};
    let generator = |hash| Otp { secret: Hash([0; 32]), hash, digits: 8, period_s: 30 };
    let (sha1, sha256) = (generator(OtpHash::Sha1), generator(OtpHash::Sha256));
    let secret = b"12345678901234567890123456789012";
    for (seconds, one, two) in [
        (59, 94287082, 46119246),
        (1111111109, 7081804, 68084774),
        (1111111111, 14050471, 67062674),
        (1234567890, 89005924, 91819424),
        (2000000000, 69279037, 90698825),
        (20000000000_u64, 65353130, 77737706),
    ] {
        let step = sha1.step_at(seconds * 1000);
        assert_eq!(sha1.password(&secret[..20], step), one, "{seconds}");
        assert_eq!(sha256.password(secret, step), two, "{seconds}");
        assert_eq!(sha256.find(secret, two, seconds * 1000 + 30_000), Some(step), "a step late");
        assert_eq!(sha256.find(secret, two, seconds * 1000 + 60_000), None, "two steps late");
        assert_eq!(sha256.find(secret, two ^ 1, seconds * 1000), None);
    }
}

#[test]
fn claims_of_an_authenticator_are_written_back_and_name_it() {
    for (_, enrolled, _) in all() {
        let bytes = enrolled.to_bytes();
        assert_eq!(Enrolled::parse(&bytes).as_ref(), Ok(&enrolled));
        assert_eq!(enrolled.id(), tagged("solelog/authenticator/v1", &bytes));
        let other = Enrolled { purpose: Purpose::Login, ..enrolled.clone() };
        assert_ne!(other.id(), enrolled.id());
    }
    let About::Nfc(card) = card().claims.about else { panic!("a card") };
    assert!(!format!("{card:?}").contains("card_uid"), "no card's number in a line of a log");
}
