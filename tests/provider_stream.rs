//! What the provider writes about a person has one place each in their stream, whoever asks and whatever is erased.

mod support;

use scal3::attempts::Attempt;
use scal3::entry::Entry;
use scal3::event::{Detail, Event, StreamPlace};
use scal3::index_key::Stream;
use scal3::{Hash, cbor};
use solelog::engine::Engine;
use solelog::submission::{AppendError, Appended, BodyRefusal, Collision, Submission, Until};
use support::people::Person;
use support::*;

/// An event about this person at this place.
fn about(person: &Person, name: &str, counter: u64, previous: Hash) -> Submission {
    let place = StreamPlace { credential: person.id(), counter, previous };
    let body = Event { name: name.into(), stream: Some(place), detail: Detail::Nothing }.to_body();
    let key = person.label_secret.stream_key(&person.claims.enrolment_id, Stream::Provider);
    Submission::Event { body: cbor::encode(&body), index_key: Some(key.index_key(counter)) }
}

/// The event that comes next.
fn next(engine: &Engine, person: &Person) -> Submission {
    let state = engine.credential(&person.id()).unwrap().unwrap();
    let StreamPlace { counter, previous, .. } = state.provider_place();
    about(person, "attempt.failed", counter, previous)
}

/// What comes next, said of an attempt under this challenge.
fn next_attempt(engine: &Engine, person: &Person, attempt: Attempt, challenge: u8) -> Submission {
    let place = engine.credential(&person.id()).unwrap().unwrap().provider_place();
    let stream = person.label_secret.stream_key(&person.claims.enrolment_id, Stream::Provider);
    let index_key = Some(stream.index_key(place.counter));
    let body = attempt.event(&Hash([challenge; 32]), place).to_bytes();
    Submission::Event { body, index_key }
}

fn commitment(answer: &Appended) -> Hash {
    Entry::parse(&answer.entry).unwrap().commitment
}

/// The place that is free, according to the refusal.
fn free(refused: AppendError) -> (u64, Hash) {
    match refused {
        AppendError::Conflict(Collision::Stream { next, previous }) => (next, previous),
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_about_a_person_are_appended_in_their_order_only() {
    let rig = Rig::new();
    let engine = rig.start().await;
    let ada = active(&engine, &rig, "Ada").await;
    let append = async |event| engine.append(event, Until::Integrated).await;

    let first = append(next(&engine, &ada)).await.unwrap();
    let size = engine.heads().committed.size;
    let place = (1, commitment(&first));
    let mut again = about(&ada, "other", 0, ada.id());
    let Submission::Event { index_key, .. } = &mut again else { unreachable!("it is an event") };
    *index_key = Some(ada.index_key(70));
    for wrong in [again, about(&ada, "gap", 2, place.1), about(&ada, "no chain", 1, Hash([1; 32]))] {
        assert_eq!(free(append(wrong).await.unwrap_err()), place);
    }
    let Submission::Event { body, .. } = next(&engine, &ada) else { unreachable!("it is an event") };
    let refused = append(Submission::Event { body, index_key: None }).await.unwrap_err();
    assert!(matches!(refused, AppendError::Body(BodyRefusal::StreamKey)), "{refused}");
    let nobody = Person::new("nobody", scal3::Profile::EcSdsa);
    let refused = append(about(&nobody, "x", 0, nobody.id())).await.unwrap_err();
    assert!(matches!(refused, AppendError::UnknownCredential(id) if id == nobody.id()), "{refused}");
    assert_eq!(engine.heads().committed.size, size);

    // Of those that race for one place, one gets it.
    let racing: Vec<_> = (0..8).map(|i| about(&ada, &format!("racer {i}"), place.0, place.1)).collect();
    let answers = engine.append_batch(racing, Until::Integrated).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    append(next(&engine, &ada)).await.unwrap();
    // The person's own records are another chain.
    send(&engine, draft(&engine, &rig, &ada).opening()).await.unwrap();
    fold(&engine);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_event_leaves_its_place_taken() {
    let rig = Rig::new();
    let engine = rig.start().await;
    let ada = active(&engine, &rig, "Ada").await;
    let mut indices = Vec::new();
    for _ in 0..4 {
        let event = next(&engine, &ada);
        indices.push(engine.append(event, Until::Integrated).await.unwrap().index);
    }
    let before = engine.credential(&ada.id()).unwrap().unwrap();
    assert_eq!(before.provider_place().counter, 4);
    // One in the middle, which the fold bridges, and the last one, behind which it knows nothing more.
    for index in [indices[1], indices[3]] {
        let erasure = Submission::Erasure { index, reason: "retention ended".into() };
        engine.append(erasure, Until::Integrated).await.unwrap();
    }
    let read = fold(&engine);
    assert_eq!(read.credential(&ada.id()).unwrap().as_read().provider_place().counter, 3);
    engine.shutdown().await;
    drop(engine);

    std::fs::remove_dir_all(rig.dir.join("view")).unwrap();
    let engine = rig.open().await;
    assert_eq!(engine.credential(&ada.id()).unwrap().unwrap(), before);
    engine.append(next(&engine, &ada), Until::Integrated).await.unwrap();
    fold(&engine);
    engine.shutdown().await;
    rig.fsck();
}

#[tokio::test(flavor = "multi_thread")]
async fn r0_12_attempts_that_are_sent_are_counted_like_those_written_here() {
    let rig = Rig::new();
    let engine = rig.start().await;
    let ada = active(&engine, &rig, "Ada").await;
    let attempt = async |attempt: Attempt, challenge: u8| {
        engine.append(next_attempt(&engine, &ada, attempt, challenge), Until::Integrated).await
    };
    let refused = attempt(Attempt::Failed, 1).await.unwrap_err();
    assert!(matches!(refused, AppendError::Body(BodyRefusal::Attempt)), "{refused}");
    let started = attempt(Attempt::Started, 1).await.unwrap();
    attempt(Attempt::Failed, 1).await.unwrap();
    let refused = attempt(Attempt::Started, 1).await.unwrap_err();
    assert!(matches!(refused, AppendError::ChallengeSpent(index) if index == started.index), "{refused}");
    let state = engine.credential(&ada.id()).unwrap().unwrap();
    assert_eq!((state.attempts().in_a_row, state.attempts().in_all), (1, 1));

    // What the log keeps of an enrolment is written by the log, which has the stream's key.
    let nina = Person::new("Nina", scal3::Profile::EcSdsa);
    issue(&engine, &nina).await.unwrap();
    let refused = engine.append(about(&nina, "enrolment.kept", 0, nina.id()), Until::Integrated).await.unwrap_err();
    assert!(matches!(refused, AppendError::Body(BodyRefusal::OwnStream)), "{refused}");
    let stream = nina.label_secret.stream_key(&nina.claims.enrolment_id, Stream::Provider);
    let cora = Person::new("Cora", scal3::Profile::EcSdsa);
    let credential = Box::new(engine.read_credential(&cora.credential_bytes()).unwrap());
    let refused = Submission::Enrolment { credential: credential.clone(), kept: vec![1; 64], stream, recovers: false };
    assert!(matches!(engine.append(refused, Until::Integrated).await, Err(AppendError::Stream(_))), "Nina's key");
    let stream = cora.label_secret.stream_key(&cora.claims.enrolment_id, Stream::Provider);
    let enrolment = Submission::Enrolment { credential, kept: vec![1; 64], stream, recovers: false };
    engine.append(enrolment, Until::Integrated).await.unwrap();
    let refused = engine.append(next(&engine, &cora), Until::Integrated).await.unwrap_err();
    assert!(matches!(refused, AppendError::Body(BodyRefusal::OwnStream)), "{refused}");

    fold(&engine);
    let before = engine.credential(&ada.id()).unwrap();
    engine.shutdown().await;
    drop(engine);
    std::fs::remove_dir_all(rig.dir.join("view")).unwrap();
    let engine = rig.open().await;
    assert_eq!(engine.credential(&ada.id()).unwrap(), before);
    let refused = engine.append(next_attempt(&engine, &ada, Attempt::Started, 1), Until::Integrated).await.unwrap_err();
    assert!(matches!(refused, AppendError::ChallengeSpent(index) if index == started.index), "{refused}");
}
