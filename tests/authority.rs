//! The authority over a real log: who gets through, who does not, and what it costs whom.

mod device;
mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use device::*;
use scal3::attempts::Attempt;
use scal3::event::Event;
use scal3::instruction::{CLASS_ADD, Presented, Value};
use scal3::opening::OtherOpening;
use scal3::request::{Stop, intent_hash, stop_hash};
use scal3::state::Status;
use scal3::{Document, Entry, Hash, Kind};
use solelog::authority::authorise::AuthoriseError;
use solelog::authority::challenges::{ChallengeError, FullError};
use solelog::authority::enrolment::{EnrolError, Enrolled};
use solelog::authority::intent::{IntentError, Who};
use solelog::authority::lifecycle::ByDevice;
use solelog::authority::{Authority, ticket};
use solelog::openings::Shown;
use solelog::submission::AppendError;
use support::*;
use threshold::{OpenError, Profile, Profile1, Profile2};

fn payment(text: &str) -> Document {
    document("note", "text", Value::Text(text.to_owned()))
}

/// Every event about attempts in the log, in order.
fn attempts(authority: &Authority) -> Vec<Attempt> {
    let engine = authority.engine();
    // What was answered is durable, and is read under a head, which comes a moment later.
    while engine.heads().integrated.head.size < engine.heads().committed.size {
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut found = Vec::new();
    for index in 1..engine.heads().integrated.head.size.get() {
        let entry = Entry::parse(&engine.entry(at(index)).unwrap()).unwrap();
        if entry.kind == Kind::Event
            && let Shown::Open(opening) = engine.opening(at(index)).unwrap()
        {
            let event = Event::from_body(OtherOpening::parse(&opening).unwrap().body).unwrap();
            found.extend(Attempt::of(&event).map(|(attempt, _)| attempt));
        }
    }
    found
}

async fn story<P: Profile>() {
    let house = House::new(Rig::new());
    let authority = house.open().await;
    let mut device = Device::<P>::enrol(&authority, "12345").await;
    device.activate(&authority, &house.rig, "12345").await;
    for text in ["one", "two"] {
        let appended = device.authorise(&authority, &house.rig, &payment(text), "12345").await.unwrap();
        covered(authority.engine(), &appended);
    }
    assert_eq!((device.sequence, device.failures(&authority)), (3, (0, 0)));
    assert_eq!(attempts(&authority), [Attempt::Started; 3]);
    let state = authority.engine().credential(&device.id).unwrap().unwrap();
    let folded = fold(authority.engine());
    assert_eq!(folded.credential(&device.id).unwrap().certain(), Some(&state));
    authority.engine().shutdown().await;
    house.rig.fsck();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_enrols_activates_and_authorises() {
    story::<Profile1>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_does_one_with_the_published_implementation() {
    story::<Profile2>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fifth_wrong_pin_suspends_and_the_provider_lets_act_again() {
    let house = House::new(Rig::new());
    let authority = house.open().await;
    let mut device = Device::<Profile1>::enrol(&authority, "12345").await;
    device.activate(&authority, &house.rig, "12345").await;
    for left in (0..4).rev().map(|left| left + 1) {
        let refused = device.authorise(&authority, &house.rig, &payment("x"), "54321").await.unwrap_err();
        assert!(
            matches!(refused, AuthoriseError::SecondFactor { attempts_left } if attempts_left == left),
            "{refused}"
        );
    }
    device.authorise(&authority, &house.rig, &payment("x"), "12345").await.expect("a right one ends the row");
    assert_eq!(device.failures(&authority), (0, 4));
    for _ in 0..5 {
        device.authorise(&authority, &house.rig, &payment("y"), "54321").await.unwrap_err();
    }
    let status = || authority.engine().credential(&device.id).unwrap().unwrap().status();
    assert_eq!(status(), Status::Suspended);
    let blocked = device.intent(&authority, &payment("y")).await.unwrap_err();
    let IntentError::Blocked { outcome: Some(outcome), .. } = blocked else { panic!("{blocked}") };
    assert_eq!(Entry::parse(&outcome.entry).unwrap().kind, Kind::Outcome, "the log says that it was blocked");

    authority.resume(device.id, "came to the counter with a passport".into()).await.unwrap();
    assert_eq!(status(), Status::Active);
    device.authorise(&authority, &house.rig, &payment("y"), "12345").await.expect("acts again");
    assert_eq!(device.failures(&authority), (0, 9));
    fold(authority.engine());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lifetime_cap_never_resets() {
    let mut house = House::new(Rig::new());
    house.settings.allowance.in_all = 3;
    let authority = house.open().await;
    let mut device = Device::<Profile1>::enrol(&authority, "12345").await;
    device.activate(&authority, &house.rig, "12345").await;
    for _ in 0..3 {
        device.authorise(&authority, &house.rig, &payment("x"), "54321").await.unwrap_err();
    }
    authority.resume(device.id, "asked for it".into()).await.unwrap();
    let refused = device.authorise(&authority, &house.rig, &payment("x"), "12345").await.unwrap_err();
    assert!(matches!(refused, AuthoriseError::Append(AppendError::OutOfAttempts)), "{refused}");
    assert_eq!(authority.engine().credential(&device.id).unwrap().unwrap().status(), Status::Suspended);
    fold(authority.engine());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_costs_nobody_an_attempt_and_is_slowed_down() {
    let mut house = House::new(Rig::new());
    house.settings.strangers = 3;
    let authority = house.open().await;
    let mut device = Device::<Profile1>::enrol(&authority, "12345").await;
    device.activate(&authority, &house.rig, "12345").await;
    let intent = device.intent(&authority, &payment("x")).await.unwrap();
    let now = house.rig.clock.load(Ordering::SeqCst);
    let metadata = device.metadata(&authority, &intent, now);
    // A phone without its key: everything is right but the device's signature.
    let mut thief = Device::<Profile1>::enrol(&authority, "12345").await;
    let own_key = std::mem::replace(&mut thief.key, device.key.clone());
    std::mem::swap(&mut thief.key, &mut device.key);
    device.key = own_key;
    let size = authority.engine().heads().committed.size;
    for _ in 0..3 {
        let answer = device.answer(&metadata, &intent, &payment("x"), "12345");
        let refused = authority.authorise(metadata.challenge, answer).await.unwrap_err();
        assert!(matches!(refused, AuthoriseError::Public(_)), "{refused}");
    }
    let answer = device.answer(&metadata, &intent, &payment("x"), "12345");
    let refused = authority.authorise(metadata.challenge, answer).await.unwrap_err();
    assert!(matches!(refused, AuthoriseError::TooMany(_)), "{refused}");
    assert_eq!((device.failures(&authority), authority.engine().heads().committed.size), ((0, 0), size));
    // What a stranger did holds nobody up: the very challenge is still good for its own device, at once.
    device.key = thief.key.clone();
    authority.authorise(metadata.challenge, device.answer(&metadata, &intent, &payment("x"), "12345")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_say_what_it_must_costs_nothing() {
    let house = House::new(Rig::new());
    let authority = house.open().await;
    let mut device = Device::<Profile1>::enrol(&authority, "12345").await;
    device.activate(&authority, &house.rig, "12345").await;
    let intent = device.intent(&authority, &payment("x")).await.unwrap();
    let now = house.rig.clock.load(Ordering::SeqCst);
    let good = device.metadata(&authority, &intent, now);
    let other = Hash([7; 32]);
    type Spoil = (&'static str, fn(&mut scal3::Metadata, Hash));
    let spoilt: [Spoil; 11] = [
        ("origin", |m, _| m.origin = "elsewhere".into()),
        ("provider", |m, other| m.provider = other),
        ("class", |m, _| m.class = "payment".into()),
        ("sequence", |m, _| m.sequence += 1),
        ("previous", |m, other| m.previous = other),
        ("index key", |m, other| m.index_key = other),
        ("policy", |m, other| m.policy = other),
        ("expired", |m, _| m.expires_ms = m.time_ms - 1),
        ("time", |m, _| (m.time_ms, m.expires_ms) = (m.time_ms + 300_001, m.time_ms + 400_000)),
        ("seen root", |m, other| m.seen_root = other),
        ("seen before issue", |m, _| m.seen_size = 1),
    ];
    let size = authority.engine().heads().committed.size;
    for (what, spoil) in spoilt {
        let mut metadata = good.clone();
        spoil(&mut metadata, other);
        let answer = device.answer(&metadata, &intent, &payment("x"), "12345");
        let refused = authority.authorise(good.challenge, answer).await.unwrap_err();
        assert!(matches!(refused, AuthoriseError::Says(_) | AuthoriseError::Elsewhere(_)), "{what}: {refused}");
    }
    // Another instruction than the intent's, signed properly.
    let answer = device.answer(&good, &intent, &payment("y"), "12345");
    let refused = authority.authorise(good.challenge, answer).await.unwrap_err();
    assert!(matches!(refused, AuthoriseError::Public(_)), "{refused}");
    assert_eq!((device.failures(&authority), authority.engine().heads().committed.size), ((0, 0), size));
    authority.authorise(good.challenge, device.answer(&good, &intent, &payment("x"), "12345")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn r1_04_a_challenge_is_answered_once_whatever_the_first_answer_was() {
    let house = House::new(Rig::new());
    let authority = house.open().await;
    let mut device = Device::<Profile1>::enrol(&authority, "12345").await;
    device.activate(&authority, &house.rig, "12345").await;
    for (pin, passes) in [("54321", false), ("12345", true)] {
        let intent = device.intent(&authority, &payment("x")).await.unwrap();
        let metadata = device.metadata(&authority, &intent, house.rig.clock.load(Ordering::SeqCst));
        let answer = device.answer(&metadata, &intent, &payment("x"), pin);
        assert_eq!(authority.authorise(metadata.challenge, answer.clone()).await.is_ok(), passes);
        let again = authority.authorise(metadata.challenge, answer).await.unwrap_err();
        assert!(matches!(again, AuthoriseError::Challenge(ChallengeError::Spent)), "{again}");
    }
    assert_eq!(device.failures(&authority), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_64_answers_to_one_challenge_one_wins_and_the_others_get_nothing() {
    let house = House::new(Rig::new());
    let authority = house.open().await;
    let mut device = Device::<Profile1>::enrol(&authority, "12345").await;
    device.activate(&authority, &house.rig, "12345").await;
    let intent = device.intent(&authority, &payment("x")).await.unwrap();
    let metadata = device.metadata(&authority, &intent, house.rig.clock.load(Ordering::SeqCst));
    let size = authority.engine().heads().committed.size.get();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..64 {
        // Each with nonces and a binding key of its own: three of them would give the provider's share away.
        let (authority, answer) = (authority.clone(), device.answer(&metadata, &intent, &payment("x"), "12345"));
        tasks.spawn(async move { authority.authorise(metadata.challenge, answer).await });
    }
    let mut won = 0;
    while let Some(done) = tasks.join_next().await {
        match done.unwrap() {
            Ok(_) => won += 1,
            Err(AuthoriseError::Challenge(ChallengeError::Spent)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(won, 1);
    assert_eq!(authority.engine().heads().committed.size.get(), size + 2, "one attempt and one record");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn r3_10_of_many_guesses_at_once_five_are_looked_at() {
    let mut house = House::new(Rig::new());
    house.settings.challenges.per_credential = 100;
    let authority = house.open().await;
    let mut device = Device::<Profile1>::enrol(&authority, "12345").await;
    device.activate(&authority, &house.rig, "12345").await;
    let mut answers = Vec::new();
    for guess in 0..100 {
        let document = payment(&guess.to_string());
        let intent = device.intent(&authority, &document).await.unwrap();
        let metadata = device.metadata(&authority, &intent, house.rig.clock.load(Ordering::SeqCst));
        // The right one is among them, late.
        let pin = if guess == 99 { "12345".to_owned() } else { format!("{guess}") };
        answers.push((guess, metadata.challenge, device.answer(&metadata, &intent, &document, &pin)));
    }
    let mut tasks = tokio::task::JoinSet::new();
    for (guess, challenge, answer) in answers {
        let authority = authority.clone();
        tasks.spawn(async move { (guess, authority.authorise(challenge, answer).await) });
    }
    let (mut wrong, mut right) = (0, 0);
    while let Some(done) = tasks.join_next().await {
        match done.unwrap() {
            (_, Err(AuthoriseError::SecondFactor { .. })) => wrong += 1,
            (99, Ok(_)) => right += 1,
            (_, Err(AuthoriseError::Append(AppendError::Inactive(Status::Suspended)))) => {}
            // Made for a place that the right one has taken.
            (_, Err(AuthoriseError::Says(_))) if right == 1 => {}
            (guess, other) => panic!("{guess}: {other:?}"),
        }
    }
    assert!(wrong == 5 || right == 1, "{wrong} wrong, {right} right");
    let started = attempts(&authority).iter().filter(|attempt| **attempt == Attempt::Started).count();
    assert_eq!(started, 1 + wrong + right, "each that was looked at was counted first");
    assert!(wrong <= 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_pass_is_given_back_and_its_challenge_is_spent() {
    let house = House::new(Rig::new());
    let authority = house.open().await;
    let mut device = Device::<Profile1>::enrol(&authority, "12345").await;
    device.activate(&authority, &house.rig, "12345").await;
    let intent = device.intent(&authority, &payment("x")).await.unwrap();
    let metadata = device.metadata(&authority, &intent, house.rig.clock.load(Ordering::SeqCst));
    let mut answer = device.answer(&metadata, &intent, &payment("x"), "12345");
    // The ciphertext of z2: nobody signs it.
    answer.pass[270] ^= 1;
    let refused = authority.authorise(metadata.challenge, answer.clone()).await.unwrap_err();
    assert!(matches!(refused, AuthoriseError::Damaged(_)), "{refused}");
    assert_eq!(device.failures(&authority), (0, 0));
    answer.pass[270] ^= 1;
    let again = authority.authorise(metadata.challenge, answer).await.unwrap_err();
    assert!(matches!(again, AuthoriseError::Challenge(ChallengeError::Spent)), "{again}");
    device.authorise(&authority, &house.rig, &payment("x"), "12345").await.unwrap();
    fold(authority.engine());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_expires_and_only_so_many_are_open() {
    let house = House::new(Rig::new());
    let authority = house.open().await;
    let mut device = Device::<Profile1>::enrol(&authority, "12345").await;
    device.activate(&authority, &house.rig, "12345").await;
    let intent = device.intent(&authority, &payment("0")).await.unwrap();
    let again = device.intent(&authority, &payment("0")).await.unwrap();
    assert_eq!(intent.opened.session.challenge(), again.opened.session.challenge(), "the same question");
    for text in 1..8 {
        device.intent(&authority, &payment(&text.to_string())).await.unwrap();
    }
    let full = device.intent(&authority, &payment("8")).await.unwrap_err();
    assert!(matches!(full, IntentError::Full(FullError::Credential { open: 8 })), "{full}");
    house.rig.tick(120_001);
    let metadata = device.metadata(&authority, &intent, house.rig.clock.load(Ordering::SeqCst));
    let late = authority.authorise(metadata.challenge, device.answer(&metadata, &intent, &payment("0"), "12345")).await;
    assert!(matches!(late, Err(AuthoriseError::Challenge(ChallengeError::Expired))));
    device.intent(&authority, &payment("8")).await.expect("there is room again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_voids_challenges_and_forgets_no_attempt_and_so_does_a_rebuilt_view() {
    let house = House::new(Rig::new());
    let authority = house.open().await;
    let mut device = Device::<Profile1>::enrol(&authority, "12345").await;
    device.activate(&authority, &house.rig, "12345").await;
    device.authorise(&authority, &house.rig, &payment("x"), "54321").await.unwrap_err();
    let intent = device.intent(&authority, &payment("x")).await.unwrap();
    let metadata = device.metadata(&authority, &intent, house.rig.clock.load(Ordering::SeqCst));
    let answer = device.answer(&metadata, &intent, &payment("x"), "12345");
    let before = authority.engine().credential(&device.id).unwrap();
    authority.engine().shutdown().await;
    drop(authority);

    let authority = house.open().await;
    let void = authority.authorise(metadata.challenge, answer).await.unwrap_err();
    assert!(matches!(void, AuthoriseError::Challenge(ChallengeError::Unknown)), "{void}");
    assert_eq!(authority.engine().credential(&device.id).unwrap(), before);
    authority.engine().shutdown().await;
    drop(authority);

    solelog::recovery::rebuild(&house.rig.config(), &mut |_, _| {}).unwrap();
    let authority = house.open().await;
    assert_eq!(authority.engine().credential(&device.id).unwrap(), before);
    let people = authority.of_subject(&before.unwrap().credential().claims().subject).unwrap();
    assert_eq!(people.len(), 1);
    device.authorise(&authority, &house.rig, &payment("x"), "12345").await.expect("what was kept is found again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_pin_is_a_successor_that_the_old_credential_authorises() {
    let house = House::new(Rig::new());
    let authority = house.open().await;
    let mut old = Device::<Profile1>::enrol(&authority, "12345").await;
    old.activate(&authority, &house.rig, "12345").await;
    let (mut new, enrolled) = Device::<Profile1>::deal(&authority, "99999", Some(old.id), false).await.unwrap();
    assert!(matches!(enrolled, Enrolled::Waits { .. }), "nobody has spoken for it");
    assert!(authority.engine().credential(&new.id).unwrap().is_none());
    let add = document(CLASS_ADD, "credential", Value::Bytes(new.id.0.to_vec()));
    old.authorise(&authority, &house.rig, &add, "12345").await.unwrap();
    let issued = authority.complete(new.enrolment_id, new.dealt(&authority)).await.unwrap();
    let Enrolled::Issued { credential, appended } = issued else { panic!("it waits") };
    assert_eq!((credential.id(), appended.existing), (new.id, false));
    let again = authority.complete(new.enrolment_id, new.dealt(&authority)).await.unwrap();
    assert!(matches!(again, Enrolled::Issued { appended, .. } if appended.existing), "a lost answer is given again");
    new.activate(&authority, &house.rig, "99999").await;
    authority.stop(old.id, Stop::Revoke, "succeeded".into(), None).await.unwrap();
    assert!(matches!(old.intent(&authority, &payment("x")).await, Err(IntentError::Blocked { .. })));
    new.authorise(&authority, &house.rig, &payment("x"), "99999").await.unwrap();
    let subject = credential.claims().subject;
    let ids: Vec<Hash> = authority.of_subject(&subject).unwrap().iter().map(|state| state.credential().id()).collect();
    assert_eq!(ids, [old.id, new.id]);
    fold(authority.engine());
}

#[tokio::test(flavor = "multi_thread")]
async fn seeds_that_nobody_took_are_wiped_although_nobody_asks_for_anything() {
    let house = House::new(Rig::new());
    let authority = house.open().await;
    let mut device = Device::<Profile1>::enrol(&authority, "12345").await;
    device.activate(&authority, &house.rig, "12345").await;
    let wiped = async || {
        while authority.seeds() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    device.intent(&authority, &payment("x")).await.unwrap();
    house.rig.tick(60_000);
    device.intent(&authority, &payment("y")).await.unwrap();
    house.rig.tick(60_001);
    while authority.seeds() > 1 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(authority.seeds(), 1, "the second is still open");
    house.rig.tick(60_000);
    wiped().await;
    device.intent(&authority, &payment("z")).await.unwrap();
    assert_eq!(authority.seeds(), 1);
    authority.engine().shutdown().await;
    wiped().await;
    device.intent(&authority, &payment("z")).await.unwrap_err();
    assert_eq!(authority.seeds(), 0, "a log that has stopped opens none");
}

/// What a successor's predecessor speaks for is what is issued, whatever has become of the settings in between.
#[tokio::test(flavor = "multi_thread")]
async fn a_successor_is_signed_when_it_is_logged_and_says_what_it_said_when_it_waited() {
    let mut house = House::new(Rig::new());
    let authority = house.open().await;
    let mut old = Device::<Profile1>::enrol(&authority, "12345").await;
    old.activate(&authority, &house.rig, "12345").await;
    let (new, enrolled) = Device::<Profile1>::deal(&authority, "99999", Some(old.id), false).await.unwrap();
    let Enrolled::Waits { claims } = enrolled else { panic!("nobody has spoken for it") };
    let add = document(CLASS_ADD, "credential", Value::Bytes(claims.id().0.to_vec()));
    old.authorise(&authority, &house.rig, &add, "12345").await.unwrap();
    authority.engine().shutdown().await;
    drop(authority);

    house.settings.issuer = "Another Name".into();
    house.settings.credential_ms /= 2;
    let authority = house.open().await;
    let issued = authority.complete(new.enrolment_id, new.dealt(&authority)).await.unwrap();
    let Enrolled::Issued { credential, .. } = issued else { panic!("it waits") };
    assert_eq!(credential.claims(), &*claims);
    assert!(authority.engine().credential(&claims.id()).unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_device_is_succeeded_by_a_logged_recovery() {
    let house = House::new(Rig::new());
    let authority = house.open().await;
    let mut lost = Device::<Profile1>::enrol(&authority, "12345").await;
    lost.activate(&authority, &house.rig, "12345").await;
    let (mut new, enrolled) = Device::<Profile1>::deal(&authority, "99999", Some(lost.id), true).await.unwrap();
    assert!(matches!(enrolled, Enrolled::Issued { .. }));
    let blocked = new.intent(&authority, &activation()).await.unwrap_err();
    assert!(matches!(blocked, IntentError::Blocked { .. }), "nobody has spoken for it: {blocked}");
    authority.recover(new.id, "came to the counter with a passport".into()).await.unwrap();
    new.activate(&authority, &house.rig, "99999").await;
    fold(authority.engine());
}

#[tokio::test(flavor = "multi_thread")]
async fn r3_06_what_a_device_brings_is_checked_before_anything_is_issued() {
    let house = House::new(Rig::new());
    let authority = house.open().await;
    let device = Device::<Profile1>::enrol(&authority, "12345").await;
    let size = authority.engine().heads().committed.size;
    let begun = authority.begin(None, false).await.unwrap();
    let refused = |error: Result<Enrolled, EnrolError>| match error {
        Ok(_) => panic!("enrolled"),
        Err(error) => error,
    };
    // A ticket of another enrolment, and one that is too old.
    let error = refused(authority.complete(begun.enrolment_id, device.dealt(&authority)).await);
    assert!(matches!(error, EnrolError::Ticket(ticket::TicketError::NotOurs)), "{error}");
    let mut dealt = device.dealt(&authority);
    dealt.proof[3] ^= 1;
    assert!(matches!(refused(authority.complete(device.enrolment_id, dealt).await), EnrolError::Proof));
    let mut dealt = device.dealt(&authority);
    dealt.device_key = [5; 33];
    assert!(matches!(refused(authority.complete(device.enrolment_id, dealt).await), EnrolError::DeviceKey));
    // Shares that were dealt for another enrolment: properly signed, and they do not open.
    let (mut other, _) = Device::<Profile1>::deal(&authority, "12345", None, false).await.unwrap();
    (other.enrolment_id, other.ticket) = (begun.enrolment_id, begun.ticket);
    let error = refused(authority.complete(other.enrolment_id, other.dealt(&authority)).await);
    assert!(matches!(error, EnrolError::Shares(OpenError::Unopened)), "{error}");
    let (late, waits) = Device::<Profile1>::deal(&authority, "12345", Some(device.id), false).await.unwrap();
    assert!(matches!(waits, Enrolled::Waits { .. }));
    house.rig.tick(ticket::GOOD_FOR_MS + 1);
    let error = refused(authority.complete(late.enrolment_id, late.dealt(&authority)).await);
    assert!(matches!(error, EnrolError::Ticket(ticket::TicketError::Expired)), "{error}");
    let again = authority.complete(device.enrolment_id, device.dealt(&authority)).await;
    assert!(
        matches!(again, Ok(Enrolled::Issued { appended, .. }) if appended.existing),
        "a lost answer, an hour later"
    );
    assert_eq!(authority.engine().heads().committed.size.get(), size.get() + 2, "the other's own enrolment");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_opens_its_own_intents_and_stops_its_own_credential() {
    let house = House::new(Rig::new());
    let authority = house.open().await;
    let mut device = Device::<Profile1>::enrol(&authority, "12345").await;
    device.activate(&authority, &house.rig, "12345").await;
    let origin = authority.engine().standing().origin().to_owned();
    let now = house.rig.clock.load(Ordering::SeqCst);
    let presented = Presented::of(&payment("x"), |_| true);
    let ask = |time_ms, by: &Device<Profile1>| {
        let hash = intent_hash(&origin, &device.id, &presented.id().unwrap(), time_ms);
        let who = Who::Device { time_ms, signature: by.sign(&hash.0).to_vec(), source: HERE };
        authority.intent(device.id, presented.to_bytes(), who)
    };
    ask(now, &device).await.expect("its own");
    let other = Device::<Profile1>::enrol(&authority, "1").await;
    assert!(matches!(ask(now, &other).await, Err(IntentError::NotTheDevice)));
    assert!(matches!(ask(now - 300_001, &device).await, Err(IntentError::Clock { .. })));

    let stop = |by: &Device<Profile1>| {
        let signature = by.sign(&stop_hash(&origin, &device.id, Stop::Revoke, now).0);
        let by = ByDevice { time_ms: now, signature: signature.to_vec(), source: HERE };
        authority.stop(device.id, Stop::Revoke, "lost".into(), Some(by))
    };
    assert!(matches!(stop(&other).await, Err(IntentError::NotTheDevice)));
    stop(&device).await.expect("its own");
    assert_eq!(authority.engine().credential(&device.id).unwrap().unwrap().status(), Status::Revoked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_reads_own_entries_with_their_tokens_and_no_others() {
    let house = House::new(Rig::new());
    let authority = house.open().await;
    let mut device = Device::<Profile1>::enrol(&authority, "12345").await;
    let record = device.activate(&authority, &house.rig, "12345").await;
    let other = Device::<Profile1>::enrol(&authority, "1").await;
    let entry = Entry::parse(&record.entry).unwrap();
    let token = |of: &Device<Profile1>| of.labels().read_token(&entry.index_key.unwrap());
    assert!(authority.is_read_token(record.index, token(&device).expose()).await.unwrap());
    assert!(!authority.is_read_token(record.index, token(&other).expose()).await.unwrap());
    assert!(!authority.is_read_token(at(0), token(&device).expose()).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_authorised_for_a_credential_that_was_enrolled_elsewhere() {
    let rig = Rig::new();
    let engine = rig.start().await;
    let person = active(&engine, &rig, "ada").await;
    let keys = Arc::new(solelog::keys::SoftKeys::generate().unwrap());
    let house = House { rig, keys, settings: Default::default() };
    let authority = house.over(engine);
    let presented = Presented::of(&payment("x"), |_| true);
    let refused = authority.intent(person.id(), presented.to_bytes(), Who::Provider).await.unwrap_err();
    assert!(matches!(refused, IntentError::NotKept), "{refused}");
}
