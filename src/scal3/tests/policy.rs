//! Policies: what each document asks for, and that nothing unreadable, unknown or missing is ever let through.

use scal3::authenticator::{self, About, Attachment, Nfc, Otp, OtpHash, Purpose, WebAuthn};
use scal3::cose::Key;
use scal3::evidence::{Claims, Kind, bio::Modality};
use scal3::instruction::Value;
use scal3::point::Point;
use scal3::policy::{Denial, InForce, Operation, Policy, PolicyError, TWO_FACTORS};
use scal3::state::Status;
use scal3::{Field, Hash};

const NOW_MS: u64 = 1_760_000_000_000;
const ANNA: Hash = Hash([0xa0; 32]);
const BRAM: Hash = Hash([0xb0; 32]);
const CLEO: Hash = Hash([0xc0; 32]);

fn read(document: &str) -> Policy {
    Policy::parse(document.as_bytes()).unwrap_or_else(|error| panic!("{error} in {document}"))
}

fn amount(amount: u64) -> Vec<Field> {
    let field = |name: &str, value| Field { salt: [0; 16], name: name.into(), value };
    vec![field("amount", Value::Uint(amount)), field("currency", Value::Text("EUR".into()))]
}

/// A payment of Anna's, all in order.
fn payment<'a>(fields: &'a [Field], signers: &'a [Hash]) -> Operation<'a> {
    Operation {
        class: "payment",
        fields,
        account: Status::Active,
        device: "android-key",
        subscriber: &ANNA,
        signers,
        threshold: signers.len().div_ceil(2),
        group: None,
    }
}

/// Verified evidence that is as good as can be.
fn shown(kind: Kind, participant: Hash, authenticator: u8) -> Claims {
    Claims {
        kind,
        participant,
        authenticator: Hash([authenticator; 32]),
        vouched: kind.is_vouched(),
        user_verified: !matches!(kind, Kind::Nfc | Kind::Otp),
        device_bound: kind != Kind::Otp,
        attestation: "packed:root".into(),
        attachment: Attachment::CrossPlatform,
        modalities: if kind == Kind::Bio { Modality::Fingerprint.bit() } else { 0 },
        debug_disabled: true,
        made_ms: Some(NOW_MS),
        count: None,
        clone_suspected: false,
    }
}

/// The verdict on Anna's payment of 1250.
fn judge(document: &str, verified: &[Claims]) -> Result<(), Denial> {
    let fields = amount(1250);
    read(document).judge(&payment(&fields, &[ANNA]), verified, NOW_MS).map(|_| ())
}

fn with_need(need: &str) -> String {
    format!("{{\"version\":1,\"rules\":[{{\"when\":{{}},\"need\":{need}}}]}}")
}

const NOT_MET: Result<(), Denial> = Err(Denial::NotMet { rule: 0 });

fn point() -> Point {
    let key = p256::ecdsa::SigningKey::from_slice(&[7; 32]).expect("a scalar");
    let key = key.verifying_key().to_sec1_point(true);
    Point::parse(key.as_bytes()).expect("a point")
}

fn enrolled(participant: Hash, about: About) -> authenticator::Claims {
    authenticator::Claims { participant, purpose: Purpose::Sign, attestation: "packed:root".into(), about }
}

fn passkey(backup_eligible: bool, attachment: Attachment) -> About {
    let origins = vec!["https://bank.example".into()];
    About::WebAuthn(WebAuthn {
        key: Key::Es256(point()),
        rp_id: "bank.example".into(),
        origins,
        backup_eligible,
        attachment,
    })
}

fn card() -> About {
    About::Nfc(Nfc { key: point(), card_uid: [0; 8] })
}

fn otp() -> About {
    About::Otp(Otp { secret: Hash([1; 32]), hash: OtpHash::Sha1, digits: 6, period_s: 30 })
}

#[test]
fn r0_04_account_device_and_type_of_authenticator_each_have_their_denial() {
    let policy = read(
        r#"{"version":1,"rules":[
            {"when":{"class":"payment","amount_over":1000},
             "device":["android-key","packed:root"],
             "need":{"kind":"webauthn","uv":true,"attachment":"cross-platform"}},
            {"when":{"class":"payment"},"need":{"kind":"webauthn"}}]}"#,
    );
    let (large, small) = (amount(1001), amount(1000));
    let key = enrolled(ANNA, passkey(false, Attachment::CrossPlatform));
    let phone = enrolled(ANNA, passkey(false, Attachment::Platform));
    let good = payment(&large, &[ANNA]);
    assert!(policy.decide(&good, &[&key]).is_ok());

    for account in [Status::Issued, Status::Suspended, Status::Revoked] {
        let verdict = policy.decide(&Operation { account, ..good }, &[&key]);
        assert_eq!(verdict.err().map(|denial| denial.code()), Some("account-not-active"));
    }
    let verdict = policy.decide(&Operation { device: "none", ..good }, &[&key]);
    assert_eq!(verdict.err().map(|denial| denial.code()), Some("device-not-trusted"));
    assert_eq!(policy.decide(&good, &[&phone]).err().map(|denial| denial.code()), Some("no-authenticator"));
    assert_eq!(policy.decide(&good, &[]).err(), Some(Denial::Authenticator { rule: 0 }));

    // The value decides: of a thousand and less, the phone is enough.
    let less = policy.decide(&payment(&small, &[ANNA]), &[&phone]).expect("proceed");
    assert_eq!(less.rule.map(|(rule, _)| rule), Some(1));
    let first = Operation { account: Status::Issued, class: "credential.activate", fields: &[], ..good };
    assert!(policy.decide(&first, &[]).is_ok(), "what is issued may be activated");
}

#[test]
fn r0_03_a_rule_that_denies_and_a_policy_that_nobody_can_read_deny() {
    let policy = read(r#"{"version":1,"rules":[{"when":{"class":"payment"},"deny":"closed"},{"when":{}}]}"#);
    let fields = amount(1);
    let operation = payment(&fields, &[ANNA]);
    assert_eq!(policy.decide(&operation, &[]), Err(Denial::Rule { rule: 0 }));
    assert_eq!(policy.rules()[0].deny.as_deref(), Some("closed"));
    assert_eq!(policy.judge(&operation, &[], NOW_MS), Err(Denial::Rule { rule: 0 }));
    let other = Operation { class: "document.sign", ..operation };
    assert_eq!(policy.decide(&other, &[]).map(|needs| needs.need().is_some()), Ok(false));

    for unreadable in ["", "allow", "{}", "{\"version\":2,\"rules\":[]}", "{\"rules\":[]}"] {
        let in_force = InForce::read(unreadable.as_bytes());
        assert_eq!(in_force.policy(), Err(Denial::Unreadable), "{unreadable}");
        assert!(in_force.error().is_some());
    }
    let nothing = InForce::read(TWO_FACTORS);
    assert_eq!(*nothing.hash(), scal3::genesis::policy_hash(TWO_FACTORS));
    let needs = nothing.policy().unwrap().judge(&operation, &[], NOW_MS).expect("the two factors are enough");
    assert_eq!(needs.rule, None);
}

#[test]
fn r0_01_what_is_not_known_is_no_policy() {
    let rule = |rule: &str| format!("{{\"version\":1,\"rules\":[{rule}]}}");
    let bad = [
        rule(r#"{"when":{},"need":{"kind":"retina"}}"#),
        rule(r#"{"when":{},"need":{"kind":"webauthn","resident":true}}"#),
        rule(r#"{"when":{},"need":{"kind":"webauthn","from":"anyone"}}"#),
        rule(r#"{"when":{},"need":{"kind":"webauthn","attachment":"unknown"}}"#),
        rule(r#"{"when":{},"need":{"kind":"webauthn","attested":[]}}"#),
        rule(r#"{"when":{},"need":{"kind":"bio","modality":["iris"]}}"#),
        rule(r#"{"when":{},"need":{"kind":"bio","modality":[]}}"#),
        rule(r#"{"when":{},"need":{"kind":"webauthn","uv":null}}"#),
        rule(r#"{"when":{},"need":{"kind":"webauthn","uv":1}}"#),
        rule(r#"{"when":{},"need":{"all":[]}}"#),
        rule(r#"{"when":{},"need":{"any":[]}}"#),
        rule(r#"{"when":{},"need":{}}"#),
        rule(r#"{"when":{},"need":{"all":[{"kind":"nfc"}],"kind":"nfc"}}"#),
        rule(r#"{"when":{},"need":{"all":[{"kind":"nfc"}],"uv":true}}"#),
        rule(r#"{"when":{},"need":{"count":0,"of":{"kind":"nfc"}}}"#),
        rule(r#"{"when":{},"need":{"count":17,"of":{"kind":"nfc"}}}"#),
        rule(r#"{"when":{},"need":{"count":-1,"of":{"kind":"nfc"}}}"#),
        rule(r#"{"when":{},"need":{"count":1.5,"of":{"kind":"nfc"}}}"#),
        rule(r#"{"when":{},"need":{"count":"some","of":{"kind":"nfc","from":"signers"}}}"#),
        rule(r#"{"when":{},"need":{"count":"all","of":{"kind":"nfc"}}}"#),
        rule(r#"{"when":{},"need":{"count":2}}"#),
        rule(r#"{"when":{},"need":{"of":{"kind":"nfc"}}}"#),
        rule(r#"{"when":{"class":null},"need":{"kind":"nfc"}}"#),
        rule(r#"{"when":{"amount_over":9007199254740992},"deny":"x"}"#),
        rule(r#"{"when":{"amount_over":"1"},"deny":"x"}"#),
        rule(r#"{"when":{"amount_under":1},"deny":"x"}"#),
        rule(r#"{"when":{"subject":"A0"},"deny":"x"}"#),
        rule(r#"{"when":{},"deny":"x","need":{"kind":"nfc"}}"#),
        rule(r#"{"when":{},"deny":"x","high":true}"#),
        rule(r#"{"when":{},"high":true}"#),
        rule(r#"{"when":{},"device":[]}"#),
        rule(r#"{"when":{},"observe":["retina"]}"#),
        rule(r#"{"when":{},"allow":true}"#),
        rule(r#"{"deny":"x"}"#),
        rule(r#"{"when":{},"deny":"x","deny":"y"}"#),
        rule(r#"{"when":{"class":"a","class":"b"},"deny":"x"}"#),
        "{\"version\":1,\"rules\":[],\"more\":1}".into(),
        "{\"version\":1,\"version\":1,\"rules\":[]}".into(),
        "{\"version\":1,\"rules\":{}}".into(),
        "{\"version\":1,\"rules\":[]} x".into(),
        "[]".into(),
        rule(&vec![r#"{"when":{},"deny":"x"}"#; 257].join(",")),
        with_need(&format!("{{\"all\":[{}]}}", vec![r#"{"kind":"nfc"}"#; 33].join(","))),
    ];
    for document in bad {
        assert!(matches!(Policy::parse(document.as_bytes()), Err(PolicyError::Form(_))), "{document}");
    }
    let long = format!("{}{}", " ".repeat(32 * 1024), String::from_utf8_lossy(TWO_FACTORS));
    assert_eq!(Policy::parse(long.as_bytes()), Err(PolicyError::TooLong));
    let deep = with_need(&format!("{}{{\"kind\":\"nfc\"}}{}", "{\"all\":[".repeat(5000), "]}".repeat(5000)));
    assert!(Policy::parse(deep.as_bytes()).is_err(), "and no stack runs out");
}

#[test]
fn r4_08_a_field_that_a_rule_reads_and_that_is_not_shown_denies() {
    let policy = read(
        r#"{"version":1,"rules":[{"when":{"class":"payment","currency":"EUR","amount_over":1000},"need":{"kind":"nfc"}}]}"#,
    );
    let fields = amount(1000);
    let missing = |fields: &[Field]| match policy.decide(&payment(fields, &[ANNA]), &[]) {
        Err(Denial::MissingField { rule: 0, field }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(missing(&[]), "currency");
    assert_eq!(missing(&fields[1..]), "amount");
    assert_eq!(missing(&fields[..1]), "currency");
    let mut wrong = fields.clone();
    wrong[0].value = Value::Text("1000".into());
    assert_eq!(missing(&wrong), "amount");
    assert!(policy.decide(&payment(&fields, &[ANNA]), &[]).is_ok());
    // A rule about payments reads nothing of a login.
    let other = Operation { class: "login", ..payment(&[], &[ANNA]) };
    assert!(policy.decide(&other, &[]).is_ok());
    let mut dollars = fields.clone();
    dollars[1].value = Value::Text("USD".into());
    assert!(
        policy.decide(&payment(&dollars[1..], &[ANNA]), &[]).is_ok(),
        "another currency is another rule's business"
    );
}

#[test]
fn r0_02_evidence_has_to_have_every_attribute() {
    let good = || shown(Kind::WebAuthn, ANNA, 1);
    let all =
        r#"{"kind":"webauthn","uv":true,"device_bound":true,"attested":["packed:root"],"attachment":"cross-platform"}"#;
    assert_eq!(judge(&with_need(all), &[good()]), Ok(()));
    assert_eq!(judge(&with_need(all), &[]), NOT_MET);
    let spoilt: [fn(&mut Claims); 7] = [
        |claims| claims.kind = Kind::Varsig,
        |claims| claims.participant = BRAM,
        |claims| claims.user_verified = false,
        |claims| claims.device_bound = false,
        |claims| claims.attestation = "none".into(),
        |claims| claims.attachment = Attachment::Platform,
        |claims| claims.clone_suspected = true,
    ];
    for spoil in spoilt {
        let mut claims = good();
        spoil(&mut claims);
        assert_eq!(judge(&with_need(all), &[claims]), NOT_MET);
    }
    let bio = r#"{"kind":"bio","modality":["fingerprint","face"],"max_age_s":60}"#;
    let token = || shown(Kind::Bio, ANNA, 1);
    let of = |modality: Modality, age_ms: u64| {
        let claims = Claims { modalities: modality.bit(), made_ms: Some(NOW_MS - age_ms), ..token() };
        judge(&with_need(bio), &[claims])
    };
    assert_eq!([of(Modality::Face, 0), of(Modality::Fingerprint, 60_000)], [Ok(()); 2]);
    assert_eq!([of(Modality::Voice, 0), of(Modality::Face, 60_001)], [NOT_MET; 2]);
    assert_eq!(judge(&with_need(bio), &[Claims { made_ms: None, ..token() }]), NOT_MET);
}

#[test]
fn r0_14_an_authenticator_counts_once_in_all_of_a_need() {
    let [one, two] = [1, 2].map(|authenticator| shown(Kind::WebAuthn, ANNA, authenticator));
    let phone = Claims { attachment: Attachment::Platform, ..shown(Kind::WebAuthn, ANNA, 3) };
    let both = with_need(r#"{"all":[{"kind":"webauthn"},{"kind":"webauthn","attachment":"cross-platform"}]}"#);
    assert_eq!(judge(&both, std::slice::from_ref(&one)), NOT_MET, "it fits both parts, and is one");
    assert_eq!(judge(&both, std::slice::from_ref(&phone)), NOT_MET);
    for order in [[one.clone(), phone.clone()], [phone.clone(), one.clone()], [one.clone(), two.clone()]] {
        assert_eq!(judge(&both, &order), Ok(()), "whichever is looked at first");
    }
    let counted = with_need(r#"{"count":2,"of":{"kind":"webauthn"}}"#);
    assert_eq!(judge(&counted, std::slice::from_ref(&one)), NOT_MET);
    assert_eq!(judge(&counted, &[one.clone(), two.clone()]), Ok(()));
    let either = with_need(r#"{"any":[{"all":[{"kind":"nfc"},{"kind":"bio"}]},{"count":2,"of":{"kind":"webauthn"}}]}"#);
    let [nfc, bio] = [Kind::Nfc, Kind::Bio].map(|kind| shown(kind, ANNA, 5 + kind as u8));
    assert_eq!(judge(&either, &[nfc.clone(), bio]), Ok(()));
    assert_eq!(judge(&either, &[nfc, one.clone()]), NOT_MET);
    assert_eq!(judge(&either, &[one, two]), Ok(()));
}

#[test]
fn r0_11_somebodys_word_alone_is_never_enough_where_much_is_at_stake() {
    let rule = |high: bool, need: &str| {
        format!("{{\"version\":1,\"rules\":[{{\"when\":{{}},\"high\":{high},\"need\":{need}}}]}}")
    };
    let word = || shown(Kind::Otp, ANNA, 1);
    let assertion = || shown(Kind::WebAuthn, ANNA, 2);
    let alone = r#"{"kind":"otp"}"#;
    let either = r#"{"any":[{"kind":"webauthn"},{"kind":"otp"}]}"#;
    let both = r#"{"all":[{"kind":"webauthn"},{"kind":"otp"}]}"#;
    assert_eq!(judge(&rule(false, alone), &[word()]), Ok(()), "the old way, where the policy takes it");
    assert_eq!(judge(&rule(false, either), &[word()]), Ok(()));
    let refused = Err(Denial::VouchedOnly { rule: 0 });
    assert_eq!(judge(&rule(true, alone), &[word()]), refused);
    assert_eq!(judge(&rule(true, either), &[word()]), refused);
    assert_eq!(judge(&rule(true, either), &[word(), assertion()]), Ok(()));
    assert_eq!(judge(&rule(true, both), &[word(), assertion()]), Ok(()));
    // What proves nothing there lends no weight to a word: a synced key, one that nobody attested, an unverified user.
    let weak: [fn(&mut Claims); 4] = [
        |claims| claims.device_bound = false,
        |claims| claims.attestation = "none".into(),
        |claims| claims.user_verified = false,
        |claims| claims.clone_suspected = true,
    ];
    for weaken in weak {
        let mut claims = assertion();
        weaken(&mut claims);
        assert_eq!(judge(&rule(true, either), &[word(), claims.clone()]), refused);
        assert_eq!(judge(&rule(true, r#"{"kind":"webauthn"}"#), &[claims]), NOT_MET);
    }
    let debugged = Claims { debug_disabled: false, ..shown(Kind::Bio, ANNA, 3) };
    assert_eq!(judge(&rule(true, r#"{"kind":"bio"}"#), &[debugged]), NOT_MET);
    // Before the challenge, the same: who has passwords alone gets none.
    let policy = read(&rule(true, either));
    let fields = amount(1);
    let synced = enrolled(ANNA, passkey(true, Attachment::Platform));
    let generator = enrolled(ANNA, otp());
    let verdict = policy.decide(&payment(&fields, &[ANNA]), &[&synced, &generator]);
    assert_eq!(verdict, Err(Denial::Authenticator { rule: 0 }));
    let key = enrolled(ANNA, passkey(false, Attachment::Platform));
    assert!(policy.decide(&payment(&fields, &[ANNA]), &[&key]).is_ok());
}

/// Keys of which a second one exists may be taken out only with a key in hardware whose person was verified there and then.
#[test]
fn r0_19_an_export_of_keys_takes_hardware_that_verified_its_person() {
    let policy = read(
        r#"{"version":1,"rules":[{"when":{"class":"key.export"},"high":true,
            "need":{"kind":"webauthn","uv":true,"device_bound":true,"attested":["packed:root"]}}]}"#,
    );
    let export = Operation { class: "key.export", ..payment(&[], &[ANNA]) };
    let good = || shown(Kind::WebAuthn, ANNA, 1);
    let verdict = |claims: &[Claims]| policy.judge(&export, claims, NOW_MS).map(|_| ());
    assert_eq!(verdict(&[good()]), Ok(()));
    assert_eq!(verdict(&[]), NOT_MET);
    assert_eq!(verdict(&[shown(Kind::Otp, ANNA, 1)]), NOT_MET);
    assert_eq!(verdict(&[Claims { user_verified: false, ..good() }]), NOT_MET);
    assert_eq!(verdict(&[Claims { device_bound: false, ..good() }]), NOT_MET);
    assert_eq!(verdict(&[Claims { attestation: "none".into(), ..good() }]), NOT_MET);
    let synced = enrolled(ANNA, passkey(true, Attachment::CrossPlatform));
    let hardware = enrolled(ANNA, passkey(false, Attachment::CrossPlatform));
    assert_eq!(policy.decide(&export, &[&synced]), Err(Denial::Authenticator { rule: 0 }), "before the challenge");
    assert!(policy.decide(&export, &[&hardware]).is_ok());
}

/// Where much is at stake, only a key that can't have left its device, of a model that somebody vouches for, says who it was.
#[test]
fn r0_g2_a_synced_or_unattested_key_is_refused_where_much_is_at_stake() {
    let rule = r#"{"version":1,"rules":[{"when":{},"high":true,"need":{"kind":"webauthn"}}]}"#;
    let good = || shown(Kind::WebAuthn, ANNA, 1);
    assert_eq!(judge(rule, &[good()]), Ok(()));
    assert_eq!(judge(rule, &[Claims { device_bound: false, ..good() }]), NOT_MET);
    assert_eq!(judge(rule, &[Claims { attestation: "none".into(), ..good() }]), NOT_MET);
    let modest = rule.replace("true", "false");
    assert_eq!(judge(&modest, &[Claims { device_bound: false, ..good() }]), Ok(()), "a policy may ask for less");
}

#[test]
fn r4_19_only_a_rule_that_names_it_lets_anybody_change_the_policy() {
    let change = |document: &str, subscriber: &'static Hash| {
        let operation = Operation { class: "policy.change", subscriber, ..payment(&[], &[ANNA]) };
        InForce::read(document.as_bytes()).policy().unwrap().judge(&operation, &[], NOW_MS).map(|_| ())
    };
    let two_factors = core::str::from_utf8(TWO_FACTORS).unwrap();
    assert_eq!(change(two_factors, &ANNA), Err(Denial::NoRule));
    assert_eq!(change(r#"{"version":1,"rules":[{"when":{}}]}"#, &ANNA), Err(Denial::NoRule));
    let named = format!(
        r#"{{"version":1,"rules":[{{"when":{{"class":"policy.change","subject":"{}"}}}}]}}"#,
        hex::encode(ANNA.0)
    );
    assert_eq!(change(&named, &ANNA), Ok(()));
    assert_eq!(change(&named, &BRAM), Err(Denial::NoRule));
}

// ---- the NFC design: four policies, five failures ---------------------------------------------------------------------

const DISABLED: &str = r#"{"version":1,"rules":[{"when":{"class":"payment"}}]}"#;
const OPTIONAL: &str = r#"{"version":1,"rules":[{"when":{"class":"payment"},"observe":["nfc"]}]}"#;
const REQUIRED: &str = r#"{"version":1,"rules":[{"when":{"class":"payment"},
    "need":{"count":"all","of":{"kind":"nfc","from":"signers"}}}]}"#;
const THRESHOLD: &str = r#"{"version":1,"rules":[{"when":{"class":"payment"},
    "need":{"count":"threshold","of":{"kind":"nfc","from":"signers"}}}]}"#;
const NUMBER: &str = r#"{"version":1,"rules":[{"when":{"class":"payment"},
    "need":{"count":1,"of":{"kind":"nfc","from":"signers"}}}]}"#;
const HIGH_VALUE: &str = r#"{"version":1,"rules":[
    {"when":{"class":"payment","amount_over":1000000},"need":{"count":"all","of":{"kind":"nfc","from":"signers"}}},
    {"when":{"class":"payment"},"observe":["nfc"]}]}"#;

/// The verdict on a payment by Anna, Bram and Cleo, two of whom have to sign, where these have tapped their cards.
fn tapped(document: &str, amount_: u64, who: &[Hash]) -> Result<(), Denial> {
    let fields = amount(amount_);
    let signers = [ANNA, BRAM, CLEO];
    let verified: Vec<Claims> = (1..).zip(who).map(|(at, who)| shown(Kind::Nfc, *who, at)).collect();
    read(document).judge(&payment(&fields, &signers), &verified, NOW_MS).map(|_| ())
}

#[test]
fn r4_04_four_policies_say_how_many_cards() {
    for amount in [1, 1_000_001] {
        assert_eq!(tapped(DISABLED, amount, &[]), Ok(()));
        assert_eq!(tapped(OPTIONAL, amount, &[]), Ok(()));
        assert_eq!(tapped(REQUIRED, amount, &[ANNA, BRAM, CLEO]), Ok(()));
        assert_eq!(tapped(REQUIRED, amount, &[ANNA, BRAM]), NOT_MET);
        assert_eq!(tapped(THRESHOLD, amount, &[CLEO, BRAM]), Ok(()));
        assert_eq!(tapped(THRESHOLD, amount, &[CLEO]), NOT_MET);
        assert_eq!(tapped(NUMBER, amount, &[CLEO]), Ok(()));
        assert_eq!(tapped(NUMBER, amount, &[]), NOT_MET);
    }
    let fields = amount(1);
    let asks = |document: &str| {
        let policy = read(document);
        let enrolled = [ANNA, BRAM, CLEO].map(|who| enrolled(who, card()));
        let operation = payment(&fields, &[ANNA, BRAM, CLEO]);
        policy.decide(&operation, &enrolled.each_ref()).unwrap().asks_for(Kind::Nfc)
    };
    assert_eq!([DISABLED, OPTIONAL, REQUIRED, HIGH_VALUE].map(asks), [false, true, true, true]);
}

#[test]
fn r4_05_scenario_1_one_of_all_fails_and_it_is_blocked() {
    assert_eq!(tapped(REQUIRED, 1, &[ANNA, CLEO]), NOT_MET);
    assert_eq!(tapped(REQUIRED, 1, &[ANNA, ANNA, CLEO]), NOT_MET, "two cards of one are one person");
}

#[test]
fn r4_06_scenario_2_most_fail_and_it_is_blocked() {
    assert_eq!(tapped(THRESHOLD, 1, &[ANNA]), NOT_MET);
    assert_eq!(tapped(THRESHOLD, 1, &[ANNA, ANNA]), NOT_MET);
}

#[test]
fn r4_07_scenario_3_what_is_optional_stops_nothing() {
    assert_eq!(tapped(OPTIONAL, 1_000_001, &[]), Ok(()));
    assert_eq!(tapped(OPTIONAL, 1_000_001, &[ANNA]), Ok(()));
}

#[test]
fn r4_08_scenario_4_a_high_value_is_blocked_above_the_limit_and_not_at_it() {
    assert_eq!(tapped(HIGH_VALUE, 1_000_001, &[ANNA, BRAM]), NOT_MET);
    assert_eq!(tapped(HIGH_VALUE, 1_000_000, &[ANNA, BRAM]), Ok(()));
    assert_eq!(tapped(HIGH_VALUE, 1_000_001, &[ANNA, BRAM, CLEO]), Ok(()));
    let policy = read(HIGH_VALUE);
    let verdict = policy.judge(&payment(&[], &[ANNA]), &[shown(Kind::Nfc, ANNA, 1)], NOW_MS);
    assert_eq!(verdict, Err(Denial::MissingField { rule: 0, field: "amount" }), "no amount is no small amount");
}

#[test]
fn r4_09_scenario_5_a_low_value_goes_through() {
    assert_eq!(tapped(HIGH_VALUE, 999_999, &[]), Ok(()));
}

#[test]
fn r4_03_signers_are_those_of_the_session_and_nobody_else() {
    let stranger = Hash([0xdd; 32]);
    assert_eq!(tapped(NUMBER, 1, &[stranger]), NOT_MET);
    let fields = amount(1);
    let nobody = payment(&fields, &[]);
    for document in [REQUIRED, THRESHOLD] {
        let policy = read(document);
        let verdict = policy.judge(&nobody, &[shown(Kind::Nfc, ANNA, 1)], NOW_MS);
        assert!(verdict.is_err(), "all of nobody is not enough");
    }
    let many: Vec<Hash> = (0..17).map(|byte| Hash([byte; 32])).collect();
    let policy = read(REQUIRED);
    assert_eq!(policy.judge(&payment(&fields, &many), &[], NOW_MS), Err(Denial::Participants));
    // One subscriber is a session of one.
    assert_eq!(judge(REQUIRED, &[shown(Kind::Nfc, ANNA, 1)]), Ok(()));
    let named = read(r#"{"version":1,"rules":[{"when":{"group":"board"},"deny":"x"}]}"#);
    assert!(named.decide(&nobody, &[]).is_ok());
    assert!(named.decide(&Operation { group: Some("board"), ..nobody }, &[]).is_err());
}

#[test]
fn r0_07_decide_says_what_judge_will_want() {
    let fields = amount(1_000_001);
    let policy = read(HIGH_VALUE);
    let signers = [ANNA];
    let operation = payment(&fields, &signers);
    let cards = [enrolled(ANNA, card())];
    let before = policy.decide(&operation, &cards.each_ref()).expect("proceed");
    let after = policy.judge(&operation, &[shown(Kind::Nfc, ANNA, 1)], NOW_MS).expect("met");
    assert_eq!(before, after);
    assert!(before.need().is_some() && before.asks_for(Kind::Nfc) && !before.asks_for(Kind::Otp));
    let others = [enrolled(ANNA, otp()), enrolled(BRAM, card())];
    assert_eq!(policy.decide(&operation, &others.each_ref()), Err(Denial::Authenticator { rule: 0 }));
    let login = authenticator::Claims { purpose: Purpose::Login, ..enrolled(ANNA, card()) };
    assert_eq!(policy.decide(&operation, &[&login]), Err(Denial::Authenticator { rule: 0 }));
}
