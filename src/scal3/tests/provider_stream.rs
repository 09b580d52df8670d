//! What the provider writes about a subscriber: one chain of events and outcomes for each credential, without gaps.

use proptest::prelude::*;
use scal3::attempts::Attempt;
use scal3::entry::Entry;
use scal3::event::{Detail, Event, StreamPlace};
use scal3::fold::{Step, Wrong};
use scal3::index_key::Stream;
use scal3::opening::{OtherOpening, commitment};
use scal3::outcome::{EXECUTED, Outcome};
use scal3::state::TransitionError;
use scal3::{Change, Hash, Kind, Profile, StatusChange, cbor, tagged};

mod log;
use log::{Log, Person};

fn ann() -> Person {
    Person::new("ann", Profile::EcSdsa)
}

/// The opening of an entry at this place.
fn opening(kind: Kind, stream: StreamPlace) -> Vec<u8> {
    let salt = tagged("test/salt", &stream.counter.to_be_bytes()).0;
    let opening = match kind {
        Kind::Outcome => {
            let about = Some(Hash([3; 32]));
            Outcome { name: EXECUTED.into(), stream, about, reason: None, detail: None }.opening(salt)
        }
        _ => Event { name: "attempt.failed".into(), stream: Some(stream), detail: Detail::Nothing }.opening(salt),
    };
    opening.to_bytes()
}

fn entry(log: &Log, person: &Person, kind: Kind, counter: u64, opening: &[u8]) -> Entry {
    let key = person.label_secret.stream_key(&person.claims.enrolment_id, Stream::Provider);
    Entry::committed(kind, log.time_ms, commitment(opening), Some(key.index_key(counter)))
}

/// The stream of one person as the provider keeps it.
struct Provider {
    person: Person,
    counter: u64,
    previous: Hash,
}

impl Provider {
    fn new(person: &Person) -> Provider {
        Provider { counter: 0, previous: person.id(), person: person.clone() }
    }

    /// The place of the next entry.
    fn place(&self) -> StreamPlace {
        StreamPlace { credential: self.person.id(), counter: self.counter, previous: self.previous }
    }

    /// The next entry and its opening.
    fn next(&mut self, log: &Log, kind: Kind) -> (Entry, Vec<u8>) {
        let opening = opening(kind, self.place());
        (self.entry(log, kind, &opening), opening)
    }

    /// The entry of that opening; the stream goes on behind it.
    fn entry(&mut self, log: &Log, kind: Kind, opening: &[u8]) -> Entry {
        let entry = entry(log, &self.person, kind, self.counter, opening);
        (self.counter, self.previous) = (self.counter + 1, entry.commitment);
        entry
    }

    fn write(&mut self, log: &mut Log, kind: Kind) -> Step {
        let (entry, opening) = self.next(log, kind);
        log.push(&entry, Some(&opening))
    }

    fn write_unread(&mut self, log: &mut Log, kind: Kind) {
        let (entry, _) = self.next(log, kind);
        assert_eq!(log.push(&entry, None), Step::Unopened(kind));
    }
}

fn wrong(step: Step) -> Wrong {
    match step {
        Step::Wrong(wrong) => wrong,
        other => panic!("{other:?}"),
    }
}

#[test]
fn events_and_outcomes_are_one_chain() {
    let person = ann();
    let mut log = Log::with(&person);
    let mut provider = Provider::new(&person);
    for (kind, counter) in [Kind::Event, Kind::Outcome, Kind::Outcome, Kind::Event].into_iter().zip(0..) {
        assert_eq!(log.state(&person).provider_place(), provider.place());
        assert_eq!(provider.counter, counter);
        assert_eq!(provider.write(&mut log, kind), Step::Other(kind));
    }
    let state = log.state(&person);
    assert_eq!(state.provider_place(), provider.place());
    assert_eq!(state.next_sequence(), 1, "the subscriber's own records are another chain");
}

#[test]
fn a_place_that_is_not_the_next_is_wrong_and_the_next_one_still_counts() {
    let person = ann();
    let mut log = Log::with(&person);
    let mut provider = Provider::new(&person);
    let placed = |log: &mut Log, counter, previous, key| {
        let opening = opening(Kind::Event, StreamPlace { credential: person.id(), counter, previous });
        let entry = entry(log, &person, Kind::Event, key, &opening);
        wrong(log.push(&entry, Some(&opening)))
    };
    let other = Wrong::Change(TransitionError::Stream);
    assert_eq!(placed(&mut log, 1, person.id(), 100), other);
    assert_eq!(placed(&mut log, u64::MAX, person.id(), 101), other);
    assert_eq!(placed(&mut log, 0, Hash([0; 32]), 102), other);
    assert_eq!(provider.write(&mut log, Kind::Event), Step::Other(Kind::Event));
    assert_eq!(placed(&mut log, 0, person.id(), 103), other);
    assert_eq!(placed(&mut log, 1, person.id(), 104), other);
    assert_eq!(placed(&mut log, 2, provider.previous, 105), other);
    assert_eq!(provider.write(&mut log, Kind::Outcome), Step::Other(Kind::Outcome));
}

#[test]
fn an_entry_of_a_stream_has_an_index_key() {
    let person = ann();
    let mut log = Log::with(&person);
    for kind in [Kind::Event, Kind::Outcome] {
        let (mut entry, opening) = Provider::new(&person).next(&log, kind);
        entry.index_key = None;
        assert_eq!(wrong(log.push(&entry, Some(&opening))), Wrong::StreamKey);
    }
}

#[test]
fn an_event_of_another_shape_is_left_alone_and_an_outcome_is_not() {
    let person = ann();
    let mut log = Log::with(&person);
    let id = cbor::bytes(&person.id().0);
    let place = |counter| cbor::Value::Array(vec![id.clone(), counter, id.clone()]);
    let free = [
        cbor::uint(1),
        cbor::text("a text"),
        cbor::Value::Array(vec![cbor::text("load"), cbor::Value::Null, cbor::Value::Null]),
        cbor::Value::Array(vec![cbor::text("load"), place(cbor::text("7")), cbor::Value::Null]),
        cbor::Value::Array(vec![cbor::text("load"), place(cbor::uint(7)), cbor::uint(0)]),
    ];
    for body in free {
        for kind in [Kind::Event, Kind::Outcome] {
            let opening = OtherOpening { kind, salt: [1; 32], body: body.clone() }.to_bytes();
            let entry = Entry::committed(kind, log.time_ms, commitment(&opening), None);
            match (kind, log.push(&entry, Some(&opening))) {
                (Kind::Event, Step::Other(Kind::Event)) | (Kind::Outcome, Step::Wrong(Wrong::Outcome(_))) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(Provider::new(&person).write(&mut log, Kind::Event), Step::Other(Kind::Event));
}

#[test]
fn a_stream_is_of_a_credential_of_this_log() {
    let (person, stranger) = (ann(), Person::new("zoe", Profile::EcSdsa));
    let mut log = Log::with(&person);
    let step = Provider::new(&stranger).write(&mut log, Kind::Event);
    assert_eq!(wrong(step), Wrong::UnknownCredential);
    // Once a status can't be read, the credential may have been issued there.
    let mut log = Log::with(&person);
    let gone = Entry::committed(Kind::Status, log.time_ms, Hash([1; 32]), Some(Hash([0x81; 32])));
    log.push(&gone, None);
    assert_eq!(Provider::new(&stranger).write(&mut log, Kind::Event), Step::InDoubt(Kind::Event));
}

#[test]
fn the_provider_may_write_whatever_the_status_is() {
    let person = ann();
    let mut log = Log::new();
    log.issue(&person);
    let mut provider = Provider::new(&person);
    assert_eq!(provider.write(&mut log, Kind::Event), Step::Other(Kind::Event));
    log.status(&person, Change::Suspended("five wrong attempts".into()));
    assert_eq!(provider.write(&mut log, Kind::Event), Step::Other(Kind::Event));
    let change = StatusChange { credential: person.id(), change: Change::Revoked("lost".into()) };
    let opening = change.opening([1; 32]).to_bytes();
    let key = log.state(&person).next_status_key();
    let revoked = Entry::committed(Kind::Status, log.time_ms, commitment(&opening), Some(key));
    assert_eq!(log.push(&revoked, None), Step::Unopened(Kind::Status));
    // What it may do is in doubt; that an entry about it is missing is not.
    assert_eq!(provider.write(&mut log, Kind::Outcome), Step::InDoubt(Kind::Outcome));
    provider.counter += 1;
    assert_eq!(wrong(provider.write(&mut log, Kind::Outcome)), Wrong::Change(TransitionError::Stream));
}

#[test]
fn behind_an_entry_that_cannot_be_read_the_place_is_in_doubt() {
    let person = ann();
    let mut log = Log::with(&person);
    let mut provider = Provider::new(&person);
    provider.write_unread(&mut log, Kind::Event);
    assert_eq!(provider.write(&mut log, Kind::Event), Step::InDoubt(Kind::Event));
    assert_eq!(provider.write(&mut log, Kind::Event), Step::Other(Kind::Event));
    provider.write_unread(&mut log, Kind::Outcome);
    provider.write_unread(&mut log, Kind::Event);
    assert_eq!(provider.write(&mut log, Kind::Outcome), Step::InDoubt(Kind::Outcome));
    assert_eq!(log.state(&person).provider_place(), provider.place());
}

#[test]
fn what_cannot_be_read_explains_no_gap_but_its_own() {
    let people = [ann(), Person::new("ben", Profile::Transcript)];
    let mut log = Log::with(&people[0]);
    log.issue(&people[1]);
    let [mut ann, mut ben] = [Provider::new(&people[0]), Provider::new(&people[1])];
    let gap = Wrong::Change(TransitionError::Stream);
    ann.write_unread(&mut log, Kind::Event);
    // One is missing and one is gone, but not the one that it names.
    ben.next(&log, Kind::Event);
    let (one, opening) = ben.next(&log, Kind::Event);
    assert_eq!(wrong(log.push(&one, Some(&opening))), gap);
    // One is gone, two are missing.
    let (mut entry, _) = ann.next(&log, Kind::Event);
    entry.index_key = None;
    assert_eq!(log.push(&entry, None), Step::Unopened(Kind::Event), "found by no index key, so of no stream");
    assert_eq!(wrong(ann.write(&mut log, Kind::Event)), gap);
}

#[test]
fn an_attempt_is_judged_by_what_can_be_read() {
    let person = ann();
    let mut log = Log::with(&person);
    let mut provider = Provider::new(&person);
    let say = |log: &mut Log, provider: &mut Provider, attempt: Attempt, challenge, read| {
        let opening = attempt.event(&Hash([challenge; 32]), provider.place()).opening([1; 32]).to_bytes();
        let before = (provider.counter, provider.previous, log.fold.clone());
        let entry = provider.entry(log, Kind::Event, &opening);
        let step = log.push(&entry, Some(&opening[..]).filter(|_| read));
        if matches!(step, Step::Wrong(_)) {
            (provider.counter, provider.previous, log.fold) = before;
        }
        step
    };
    let (fine, in_doubt) = (Step::Other(Kind::Event), Step::InDoubt(Kind::Event));
    let none = Step::Wrong(Wrong::Change(TransitionError::Attempt));
    assert_eq!(say(&mut log, &mut provider, Attempt::Failed, 1, true), none);
    assert_eq!(say(&mut log, &mut provider, Attempt::Started, 1, true), fine);
    assert_eq!(log.state(&person).attempts().in_a_row, 1);

    // Which attempt waits for a verdict can't be read, so neither verdict can be called wrong.
    assert_eq!(say(&mut log, &mut provider, Attempt::Started, 2, false), Step::Unopened(Kind::Event));
    assert_eq!(provider.write(&mut log, Kind::Event), in_doubt);
    assert_eq!(say(&mut log, &mut provider, Attempt::Failed, 2, true), in_doubt);
    // From the next one that starts on, it is known again.
    assert_eq!(say(&mut log, &mut provider, Attempt::Started, 3, true), fine);
    assert_eq!(say(&mut log, &mut provider, Attempt::Failed, 2, true), none);
    assert_eq!(say(&mut log, &mut provider, Attempt::Failed, 3, true), fine);

    // None starts while the credential is suspended, whatever can't be read.
    assert_eq!(say(&mut log, &mut provider, Attempt::Started, 4, false), Step::Unopened(Kind::Event));
    assert_eq!(provider.write(&mut log, Kind::Event), in_doubt);
    log.status(&person, Change::Suspended("too often".into()));
    assert_eq!(say(&mut log, &mut provider, Attempt::Started, 5, true), none);
    assert_eq!(provider.write(&mut log, Kind::Event), fine);
}

proptest! {
    /// Nobody who kept all the rules is accused, whatever was erased.
    #[test]
    fn an_honest_log_is_never_wrong(writes in prop::collection::vec((0..3_usize, any::<bool>(), any::<bool>()), 1..40)) {
        let people = ["ann", "ben", "cleo"].map(|name| Person::new(name, Profile::EcSdsa));
        let mut log = Log::new();
        people.iter().for_each(|person| { log.issue(person); });
        let mut providers = people.each_ref().map(Provider::new);
        let mut unread = [false; 3];
        for (who, outcome, erased) in writes {
            let kind = if outcome { Kind::Outcome } else { Kind::Event };
            let (entry, opening) = providers[who].next(&log, kind);
            let step = log.push(&entry, (!erased).then_some(&opening[..]));
            let expected = match (erased, unread[who]) {
                (true, _) => Step::Unopened(kind),
                (false, true) => Step::InDoubt(kind),
                (false, false) => Step::Other(kind),
            };
            prop_assert_eq!(step, expected);
            unread[who] = erased;
        }
    }

    /// An entry that was left out shows as soon as the next one is read, where nothing was erased.
    #[test]
    fn an_entry_left_out_is_missed(count in 2..20_usize, left_out in 0..20_usize) {
        let left_out = left_out % (count - 1);
        let person = ann();
        let mut log = Log::with(&person);
        let mut provider = Provider::new(&person);
        for at in 0..count {
            let (entry, opening) = provider.next(&log, Kind::Event);
            if at != left_out {
                let step = log.push(&entry, Some(&opening));
                prop_assert_eq!(matches!(step, Step::Wrong(_)), at > left_out, "{:?}", step);
            }
        }
    }
}
