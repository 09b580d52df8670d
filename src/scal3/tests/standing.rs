//! Evidence, authenticators and policies in a log: what the fold takes, and why it refuses the rest.

mod log;

use log::{Draft, Log, ORIGIN, Person};
use scal3::authenticator::Purpose;
use scal3::authenticators::{Authenticators, EnrolError};
use scal3::entry::Entry;
use scal3::evidence::{Kind as Evidence, Reason};
use scal3::fold::{PolicyRefusal, Step, Wrong};
use scal3::instruction::{CLASS_ADD_AUTHENTICATOR, CLASS_POLICY, CLASS_REVOKE_AUTHENTICATOR};
use scal3::metadata::operation_hash;
use scal3::opening::{self, Opening};
use scal3::policy::{Denial, InForce, TWO_FACTORS};
use scal3::verify::{self, EvidenceRefusal, MetadataRefusal, Refusal, Rules, Submitted, Word};
use scal3::{Change, Hash, Kind, Profile, StatusChange, authenticator, cbor};
use testkit::{Bound, Card, Passkey, Secret};

/// Payments need a passkey that verified its person; cards are looked at. The policy is changed by Anna.
fn policy() -> Vec<u8> {
    let anna = hex::encode(anna().claims.subject.0);
    format!(
        r#"{{"version":1,"rules":[
            {{"when":{{"class":"payment"}},"need":{{"kind":"webauthn","uv":true}},"observe":["nfc","otp"]}},
            {{"when":{{"class":"policy.change","subject":"{anna}"}}}},
            {{"when":{{"class":"policy.change"}},"deny":"governors only"}}]}}"#
    )
    .into_bytes()
}

fn anna() -> Person {
    Person::new("anna", Profile::EcSdsa)
}

fn bound(log: &Log, draft: &Draft) -> Bound {
    Bound {
        origin: ORIGIN,
        operation_hash: operation_hash(&draft.metadata.to_bytes(), &draft.document.id()),
        instruction_id: draft.document.id(),
        session: draft.metadata.challenge,
        participant: draft.person.claims.subject,
        now_ms: log.time_ms,
    }
}

/// Adds evidence to a draft.
fn with(draft: &mut Draft, kind: &str, claims: &authenticator::Claims, blob: Vec<u8>) {
    let item = opening::Evidence {
        kind: kind.into(),
        participant: draft.person.claims.subject,
        authenticator: claims.id(),
        blob,
    };
    draft.evidence.push(item);
}

/// The next payment of this person, with this passkey's assertion.
fn payment(log: &Log, person: &Person, passkey: &Passkey) -> Draft {
    let mut draft = log.draft(person);
    let blob = passkey.webauthn(&bound(log, &draft));
    with(&mut draft, "webauthn", &passkey.claims, blob);
    draft
}

/// A record that asks for an authenticator, and the status that adds it.
fn add(log: &mut Log, person: &Person, claims: &authenticator::Claims) -> Step {
    let draft = log.draft_of(person, CLASS_ADD_AUTHENTICATOR, "authenticator", &claims.id());
    let step = log.append(&draft);
    assert!(matches!(&step, Step::Instruction(authorized)
        if authorized.word() == Some(&Word::AddAuthenticator(claims.id()))));
    log.status(person, Change::AuthenticatorAdded(claims.to_bytes()))
}

fn passkey() -> Passkey {
    Passkey::new(anna().claims.subject, Secret::p256("anna's passkey"))
}

/// A log with that policy, in which Anna has a passkey.
fn log_with_passkey() -> (Log, Person, Passkey) {
    let (person, passkey) = (anna(), passkey());
    let mut log = Log::with_under(&person, &policy());
    assert!(matches!(add(&mut log, &person, &passkey.claims), Step::Status(_)));
    (log, person, passkey)
}

fn refused(step: Step) -> EvidenceRefusal {
    match step {
        Step::Wrong(Wrong::Refused(Refusal::Evidence(refusal))) => refusal,
        other => panic!("{other:?}"),
    }
}

/// What the log would say of this authorisation. A wrong entry takes its index key, so the log itself does not get it.
fn trial(log: &Log, draft: &Draft) -> Step {
    let opening = draft.opening();
    let entry = log.entry(draft, &opening).to_bytes();
    log.fold.clone().apply(&entry, Some(&opening)).unwrap()
}

fn enrol(error: EnrolError) -> Step {
    Step::Wrong(Wrong::Enrol(error))
}

#[test]
fn r0_01_without_the_evidence_that_the_logged_policy_needs_nothing_is_appended() {
    let (mut log, person, passkey) = log_with_passkey();
    let bare = log.draft(&person);
    assert_eq!(refused(trial(&log, &bare)), EvidenceRefusal::Policy(Denial::NotMet { rule: 0 }));

    let draft = payment(&log, &person, &passkey);
    let Step::Instruction(authorized) = log.append(&draft) else { panic!("in order") };
    let judgement = authorized.judgement();
    assert_eq!((judgement.rule, judgement.items.len()), (Some(0), 1));
    let shown = judgement.verified().next().expect("verified");
    assert!(shown.user_verified && shown.authenticator == passkey.claims.id());
}

#[test]
fn r0_07_the_same_verdict_outside_the_fold() {
    let (log, person, passkey) = log_with_passkey();
    let in_force = InForce::read(&policy());
    let own = log.fold.authenticators(&person.claims.subject).expect("authenticators");
    let rules = Rules { policy: &in_force, authenticators: &[own] };
    let judge = |draft: &Draft, rules: &Rules<'_>| {
        let place = log.place(draft);
        verify::verify_under(&draft.opening(), ORIGIN, &place, log.state(&person), rules, |seen| log.seen(seen))
            .map(|authorized| authorized.judgement().items.len())
    };
    let good = payment(&log, &person, &passkey);
    assert_eq!(judge(&good, &rules), Ok(1));
    let nobody = Rules { policy: &in_force, authenticators: &[] };
    let unknown = Refusal::Evidence(EvidenceRefusal::UnknownAuthenticator { item: 0 });
    assert_eq!(judge(&good, &nobody), Err(unknown));
    let nothing = InForce::read(TWO_FACTORS);
    let other = Rules { policy: &nothing, authenticators: &[own] };
    assert_eq!(judge(&good, &other), Err(Refusal::Metadata(MetadataRefusal::Policy)), "not the one it was made under");
    // Who knows of no policy takes no evidence.
    let place = log.place(&good);
    let seen = |head: &tlog::TreeHead| log.seen(head);
    let verdict = verify::verify(&good.opening(), ORIGIN, &place, log.state(&person), log.fold.policy(), seen);
    assert_eq!(verdict.err(), Some(Refusal::Evidence(EvidenceRefusal::NotAsked { item: 0 })));
}

#[test]
fn r0_07_records_that_were_verified_in_a_batch_are_judged_alike() {
    let (log, person, passkey) = log_with_passkey();
    let draft = payment(&log, &person, &passkey);
    let opening = draft.opening();
    let entry = log.entry(&draft, &opening).to_bytes();
    let signed = Submitted::parse(&opening).unwrap().check(log.state(&person).credential(), ORIGIN).unwrap();
    assert_eq!(signed.evidence().len(), 1);
    let (mut one, mut other) = (log.fold.clone(), log.fold.clone());
    let step = one.apply_signed(&entry, &signed).unwrap();
    assert_eq!(step, other.apply(&entry, Some(&opening)).unwrap());
    assert!(matches!(step, Step::Instruction(_)));
}

#[test]
fn r0_g1_items_that_do_not_belong_there_are_refused_with_the_record() {
    let (log, person, passkey) = log_with_passkey();
    let card = Card::new(person.claims.subject, "anna's card");
    let stranger = Passkey::new(Hash([9; 32]), Secret::p256("a stranger's"));
    let good = payment(&log, &person, &passkey);
    let now = bound(&log, &good);
    let with_more = |change: &dyn Fn(&mut Draft)| {
        let mut draft = good.clone();
        change(&mut draft);
        draft
    };
    let cases: Vec<(Draft, EvidenceRefusal)> = vec![
        (with_more(&|d| with(d, "retina", &passkey.claims, vec![])), EvidenceRefusal::UnknownKind { item: 1 }),
        (with_more(&|d| with(d, "varsig", &passkey.claims, vec![])), EvidenceRefusal::NotAsked { item: 1 }),
        (
            with_more(&|d| with(d, "nfc", &card.claims, card.nfc(&now))),
            EvidenceRefusal::UnknownAuthenticator { item: 1 },
        ),
        (
            with_more(&|d| {
                with(d, "webauthn", &stranger.claims, stranger.webauthn(&now));
                d.evidence[1].participant = stranger.claims.participant;
            }),
            EvidenceRefusal::Participant { item: 1 },
        ),
        (
            with_more(&|d| with(d, "webauthn", &passkey.claims, passkey.webauthn(&now))),
            EvidenceRefusal::Twice { item: 1 },
        ),
    ];
    for (draft, expected) in cases {
        assert_eq!(refused(trial(&log, &draft)), expected);
    }
    // Where nothing is asked for, nothing is taken: a policy of two factors alone is as it was.
    let (person, mut plain) = (anna(), Log::with(&anna()));
    add(&mut plain, &person, &passkey.claims);
    let draft = payment(&plain, &person, &passkey);
    assert_eq!(refused(trial(&plain, &draft)), EvidenceRefusal::NotAsked { item: 0 });
    let bare = plain.draft(&person);
    assert!(matches!(plain.append(&bare), Step::Instruction(_)));
}

#[test]
fn r4_07_what_is_observed_and_fails_is_told_and_stops_nothing() {
    let (mut log, person, passkey) = log_with_passkey();
    let card = Card::new(person.claims.subject, "anna's card");
    assert!(matches!(add(&mut log, &person, &card.claims), Step::Status(_)));
    let mut draft = payment(&log, &person, &passkey);
    let late = Bound { now_ms: log.time_ms - 300_001, ..bound(&log, &draft) };
    with(&mut draft, "nfc", &card.claims, card.nfc(&late));
    let Step::Instruction(authorized) = log.append(&draft) else { panic!("in order") };
    assert_eq!(authorized.judgement().items[1], Err(Reason::Time));
    assert_eq!(authorized.judgement().verified().count(), 1);
}

#[test]
fn r0_13_a_revoked_authenticator_shows_nothing_from_there_on_and_old_entries_stay() {
    for by_record in [true, false] {
        let (mut log, person, passkey) = log_with_passkey();
        let draft = payment(&log, &person, &passkey);
        assert!(matches!(log.append(&draft), Step::Instruction(_)));
        let id = passkey.claims.id();
        if by_record {
            let draft = log.draft_of(&person, CLASS_REVOKE_AUTHENTICATOR, "authenticator", &id);
            assert!(matches!(log.append(&draft), Step::Instruction(_)));
        } else {
            let lost = Change::AuthenticatorRevoked(id, "lost".into());
            assert!(matches!(log.status(&person, lost.clone()), Step::Status(_)));
            assert_eq!(log.status(&person, lost), enrol(EnrolError::Revoked));
        }
        let draft = payment(&log, &person, &passkey);
        assert_eq!(refused(trial(&log, &draft)), EvidenceRefusal::Policy(Denial::NotMet { rule: 0 }));
        let held = log.fold.authenticators(&person.claims.subject).unwrap().get(&id).unwrap();
        assert!(held.revoked_at().is_some_and(|at| at > held.added_at()));
        // Another look at the whole log gives the same steps.
        let mut again = scal3::fold::Fold::start(&log.entries[0]).unwrap();
        let steps = log.entries.iter().zip(&log.openings).skip(1);
        let steps: Vec<Step> = steps.map(|(entry, opening)| again.apply(entry, opening.as_deref()).unwrap()).collect();
        let instructions = steps.iter().filter(|step| matches!(step, Step::Instruction(_))).count();
        assert_eq!(instructions, if by_record { 4 } else { 3 });
    }
}

#[test]
fn r0_13_an_authenticator_is_added_by_its_persons_record_alone() {
    let (person, passkey) = (anna(), passkey());
    let mut log = Log::with_under(&person, &policy());
    let added = |claims: &authenticator::Claims| Change::AuthenticatorAdded(claims.to_bytes());
    assert_eq!(log.status(&person, added(&passkey.claims)), enrol(EnrolError::NotSpokenFor));
    assert!(matches!(log.status(&person, Change::AuthenticatorAdded(vec![1])), Step::Wrong(Wrong::Authenticator(_))));
    let unknown = Change::AuthenticatorRevoked(passkey.claims.id(), "lost".into());
    assert_eq!(log.status(&person, unknown), enrol(EnrolError::Unknown));

    let somebodys = Passkey::new(Hash([9; 32]), Secret::p256("somebody's"));
    assert_eq!(add(&mut log, &person, &somebodys.claims), enrol(EnrolError::Participant));
    assert!(matches!(add(&mut log, &person, &passkey.claims), Step::Status(_)));
    assert_eq!(log.status(&person, added(&passkey.claims)), enrol(EnrolError::Known));

    // A day later nobody means it any more.
    let other = Passkey::new(person.claims.subject, Secret::ed25519("another"));
    let draft = log.draft_of(&person, CLASS_ADD_AUTHENTICATOR, "authenticator", &other.claims.id());
    assert!(matches!(log.append(&draft), Step::Instruction(_)));
    log.time_ms += 86_400_001;
    assert_eq!(log.status(&person, added(&other.claims)), enrol(EnrolError::NotSpokenFor));

    // A suspended credential adds nothing.
    let draft = log.draft_of(&person, CLASS_ADD_AUTHENTICATOR, "authenticator", &other.claims.id());
    assert!(matches!(log.append(&draft), Step::Instruction(_)));
    assert!(matches!(log.status(&person, Change::Suspended("x".into())), Step::Status(_)));
    assert!(matches!(log.status(&person, added(&other.claims)), Step::Wrong(Wrong::Change(_))));
    assert!(matches!(log.status(&person, Change::Resumed("x".into())), Step::Status(_)));
    assert!(matches!(log.status(&person, added(&other.claims)), Step::Status(_)));
}

#[test]
fn r0_13_a_key_has_one_purpose_and_one_person() {
    let (mut log, person, passkey) = log_with_passkey();
    let mut login = passkey.clone();
    login.claims.purpose = Purpose::Login;
    assert_eq!(add(&mut log, &person, &login.claims), enrol(EnrolError::Known), "the same key, to log in");

    let bram = Person::new("bram", Profile::EcSdsa);
    assert!(matches!(log.issue(&bram), Step::Status(_)));
    log.activate(&bram);
    let mut stolen = passkey.clone();
    stolen.claims.participant = bram.claims.subject;
    assert_eq!(add(&mut log, &bram, &stolen.claims), enrol(EnrolError::Known), "the same key, somebody else's");

    let device = Passkey::new(person.claims.subject, Secret::of_scalar(&person.device));
    assert_eq!(add(&mut log, &person, &device.claims), enrol(EnrolError::Known), "a device factor is none");

    // And the other way round: no credential is issued for a device whose key is an authenticator's.
    let mut cleo = Person::new("cleo", Profile::EcSdsa);
    let Secret::P256(key) = &passkey.secret else { panic!("P-256") };
    cleo.device = *key.as_nonzero_scalar().as_ref();
    cleo.claims.device_key = log::public(&cleo.device);
    assert_eq!(log.issue(&cleo), enrol(EnrolError::Known));

    // A key that was enrolled to log in never shows that an operation is meant.
    let mut for_login = Passkey::new(person.claims.subject, Secret::ed25519("for logging in"));
    for_login.claims.purpose = Purpose::Login;
    assert!(matches!(add(&mut log, &person, &for_login.claims), Step::Status(_)));
    let draft = payment(&log, &person, &for_login);
    assert_eq!(refused(trial(&log, &draft)), EvidenceRefusal::Policy(Denial::NotMet { rule: 0 }));
}

#[test]
fn r0_14_evidence_is_good_for_its_own_record() {
    let (mut log, person, passkey) = log_with_passkey();
    let first = payment(&log, &person, &passkey);
    assert!(matches!(log.append(&first), Step::Instruction(_)));
    let mut second = log.draft(&person);
    second.evidence = first.evidence.clone();
    assert_eq!(refused(trial(&log, &second)), EvidenceRefusal::Policy(Denial::NotMet { rule: 0 }));
    assert_eq!(Authenticators::of(Hash([0; 32])).active().count(), 0);
}

#[test]
fn r0_g2_a_counter_that_goes_back_does_not_count() {
    let (mut log, person, mut passkey) = log_with_passkey();
    for (count, counts) in [(5, true), (6, true), (6, false), (3, false), (7, true)] {
        passkey.count = count;
        let draft = payment(&log, &person, &passkey);
        let step = trial(&log, &draft);
        if counts {
            assert!(matches!(step, Step::Instruction(_)), "{count}: {step:?}");
            log.append(&draft);
        } else {
            assert_eq!(refused(step), EvidenceRefusal::Policy(Denial::NotMet { rule: 0 }), "{count}");
        }
    }
    let held = log.fold.authenticators(&person.claims.subject).unwrap().get(&passkey.claims.id()).unwrap();
    assert_eq!(held.last_count(), Some(7));
}

#[test]
fn r0_11_a_password_is_taken_once_and_never_in_place_of_what_is_needed() {
    let (mut log, person, passkey) = log_with_passkey();
    let otp = testkit::otp(person.claims.subject);
    assert!(matches!(add(&mut log, &person, &otp), Step::Status(_)));
    let mut alone = log.draft(&person);
    let blob = testkit::vouch(&otp, &bound(&log, &alone));
    with(&mut alone, "otp", &otp, blob);
    assert_eq!(refused(trial(&log, &alone)), EvidenceRefusal::Policy(Denial::NotMet { rule: 0 }));
    let mut with_password = |count: u32| {
        let mut draft = log.draft(&person);
        let (now, counted) = (bound(&log, &draft), Passkey { count, ..passkey.clone() });
        with(&mut draft, "webauthn", &passkey.claims, counted.webauthn(&now));
        with(&mut draft, "otp", &otp, testkit::vouch(&otp, &now));
        match log.append(&draft) {
            Step::Instruction(authorized) => authorized.judgement().items[1].clone().map(|shown| shown.vouched),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(with_password(1), Ok(true));
    assert_eq!(with_password(2), Err(Reason::Counter), "the password of one step, twice");
}

// ---- policies ---------------------------------------------------------------------------------------------------------

fn policy_entry(log: &mut Log, document: &[u8]) -> Step {
    let entry = Entry::public(Kind::Policy, log.time_ms, cbor::encode(&cbor::bytes(document)));
    log.push(&entry, None)
}

fn speak_for(log: &mut Log, person: &Person, document: &[u8]) -> Step {
    let draft = log.draft_of(person, CLASS_POLICY, "policy", &scal3::genesis::policy_hash(document));
    log.append(&draft)
}

#[test]
fn r4_19_a_policy_changes_by_an_instruction_under_the_one_before() {
    let person = anna();
    let mut log = Log::with_under(&person, &policy());
    let next = TWO_FACTORS;
    let refusal = |step: Step| match step {
        Step::Wrong(Wrong::Policy(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    assert_eq!(refusal(policy_entry(&mut log, next)), PolicyRefusal::NotAuthorised);
    assert!(matches!(speak_for(&mut log, &person, next), Step::Instruction(_)));
    assert_eq!(
        refusal(policy_entry(&mut log, b"{\"version\":1,\"rules\":[ ]}")),
        PolicyRefusal::NotAuthorised,
        "another one"
    );
    let old = log.draft(&person);
    assert_eq!(policy_entry(&mut log, next), Step::Policy(scal3::genesis::policy_hash(next)));
    assert_eq!(log.fold.policy_in_force(), &InForce::read(next));
    assert_eq!(log.judge(&old), Err(Refusal::Metadata(MetadataRefusal::Policy)), "made under the old one");
    let draft = log.draft(&person);
    assert!(matches!(log.append(&draft), Step::Instruction(_)));
    // Under the two factors alone, no rule lets anybody change it.
    assert_eq!(refused(speak_for(&mut log, &person, &policy())), EvidenceRefusal::Policy(Denial::NoRule));
    let entry = Entry::public(Kind::Policy, log.time_ms, cbor::encode(&cbor::uint(1)));
    assert!(matches!(log.push(&entry, None), Step::Wrong(Wrong::Body(_))));
}

#[test]
fn r4_19_only_who_the_policy_names_changes_it_and_not_into_one_that_nobody_can_read() {
    let (person, bram) = (anna(), Person::new("bram", Profile::EcSdsa));
    let mut log = Log::with_under(&person, &policy());
    assert!(matches!(log.issue(&bram), Step::Status(_)));
    log.activate(&bram);
    assert_eq!(refused(speak_for(&mut log, &bram, TWO_FACTORS)), EvidenceRefusal::Policy(Denial::Rule { rule: 2 }));
    let unreadable = b"{\"version\":1,\"rules\":[{\"when\":{},\"need\":{\"kind\":\"retina\"}}]}";
    assert!(matches!(speak_for(&mut log, &person, unreadable), Step::Instruction(_)));
    assert_eq!(policy_entry(&mut log, unreadable), Step::Wrong(Wrong::Policy(PolicyRefusal::Unreadable)));
    assert_eq!(log.fold.policy_in_force(), &InForce::read(&policy()), "the old one stays");

    // What was spoken for under one policy is not in force under the next, and not a day later.
    let third = b"{\"version\":1,\"rules\":[{\"when\":{},\"deny\":\"closed\"}]}";
    assert!(matches!(speak_for(&mut log, &person, third), Step::Instruction(_)));
    log.time_ms += 86_400_001;
    assert_eq!(policy_entry(&mut log, third), Step::Wrong(Wrong::Policy(PolicyRefusal::NotAuthorised)));
    assert!(matches!(speak_for(&mut log, &person, third), Step::Instruction(_)));
    assert!(matches!(speak_for(&mut log, &person, TWO_FACTORS), Step::Instruction(_)));
    assert!(matches!(policy_entry(&mut log, TWO_FACTORS), Step::Policy(_)));
    assert_eq!(policy_entry(&mut log, third), Step::Wrong(Wrong::Policy(PolicyRefusal::NotAuthorised)));
}

#[test]
fn r0_03_an_unreadable_first_policy_denies_everything() {
    let person = anna();
    let mut log = Log::under(b"allow");
    assert!(matches!(log.issue(&person), Step::Status(_)));
    let draft = log.draft(&person);
    assert_eq!(refused(trial(&log, &draft)), EvidenceRefusal::Policy(Denial::Unreadable));
}

// ---- openings that are gone -------------------------------------------------------------------------------------------

/// Folds the log again without the openings at these indices.
fn without(log: &Log, gone: &[usize]) -> Vec<Step> {
    let mut fold = scal3::fold::Fold::start(&log.entries[0]).unwrap();
    let entries = log.entries.iter().zip(&log.openings).enumerate().skip(1);
    let given = |(at, (entry, opening)): (usize, (&Vec<u8>, &Option<Vec<u8>>))| {
        let opening = opening.as_deref().filter(|_| !gone.contains(&at));
        fold.apply(entry, opening).unwrap()
    };
    entries.map(given).collect()
}

#[test]
fn what_an_opening_that_is_gone_may_have_said_is_in_doubt_and_not_wrong() {
    let (mut log, person, passkey) = log_with_passkey();
    let draft = payment(&log, &person, &passkey);
    assert!(matches!(log.append(&draft), Step::Instruction(_)));
    // 0 genesis, 1 issued, 2 first record, 3 activated, 4 the record that asks, 5 the authenticator, 6 the payment.
    assert_eq!(log.size(), 7);
    let steps = without(&log, &[5]);
    assert_eq!(steps[4], Step::Unopened(Kind::Status));
    assert_eq!(steps[5], Step::InDoubt(Kind::Instruction), "nobody knows the authenticator");
    let steps = without(&log, &[4]);
    assert_eq!(steps[4], Step::InDoubt(Kind::Status), "nobody knows whether it was asked for");
    assert_eq!(steps[5], Step::InDoubt(Kind::Instruction));

    let mut governed = Log::with_under(&person, &policy());
    assert!(matches!(speak_for(&mut governed, &person, TWO_FACTORS), Step::Instruction(_)));
    assert!(matches!(policy_entry(&mut governed, TWO_FACTORS), Step::Policy(_)));
    assert_eq!(without(&governed, &[4])[4], Step::InDoubt(Kind::Policy));
}

#[test]
fn the_authenticators_of_a_person_outlive_a_credential_and_are_kept_in_one_spelling() {
    let (mut log, person, passkey) = log_with_passkey();
    let mut next = Person::new("anna again", Profile::EcSdsa);
    (next.claims.subject, next.claims.predecessor, next.claims.ordinal) = (person.claims.subject, Some(person.id()), 1);
    let draft = log.draft_of(&person, "credential.add", "credential", &next.id());
    assert!(matches!(log.append(&draft), Step::Instruction(_)));
    assert!(matches!(log.issue(&next), Step::Status(_)));
    log.activate(&next);
    let draft = payment(&log, &next, &passkey);
    assert!(matches!(log.append(&draft), Step::Instruction(_)));

    let own = log.fold.authenticators(&person.claims.subject).expect("authenticators");
    assert_eq!(Authenticators::from_own_store(&own.to_bytes()).as_ref(), Ok(own));
    assert_eq!(own.active().count(), 1);
    let mut waiting = own.clone();
    (0..12).for_each(|byte| waiting.speak(Hash([byte; 32]), u64::from(byte)));
    assert!(!waiting.waits_for(&Hash([3; 32]), 12) && waiting.waits_for(&Hash([4; 32]), 12));
    assert_eq!(Authenticators::from_own_store(&waiting.to_bytes()).as_ref(), Ok(&waiting));
    let status = StatusChange { credential: person.id(), change: Change::AuthenticatorAdded(vec![1]) };
    assert_eq!(StatusChange::parse(&status.to_bytes()).as_ref(), Ok(&status));
    let opening = Opening::parse(log.openings.last().unwrap().as_ref().unwrap()).expect("an opening");
    assert_eq!(opening.evidence[0].kind, Evidence::WebAuthn.name());
}
