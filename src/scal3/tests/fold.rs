//! A whole log folded: what is in order, what should not be there, and what can't be known.

use scal3::credential::CredentialError;
use scal3::entry::{Entry, EntryError};
use scal3::erasure::Erasure;
use scal3::fold::{Fold, Step, Stop, Wrong};
use scal3::index_key::status_index_key;
use scal3::instruction::{InstructionError, Value};
use scal3::key_change::{KeyChange, Role, SignedKey, change_hash};
use scal3::keys::KeyRefusal;
use scal3::metadata::MetadataError;
use scal3::opening::{OtherOpening, commitment};
use scal3::record::RecordError;
use scal3::state::{CredentialState, IssueError, Status, TransitionError};
use scal3::verify::{CredentialRefusal, MetadataRefusal, ParseRefusal, Refusal, Submitted};
use scal3::{Change, Claims, Genesis, Hash, Kind, Profile, StatusChange, cbor, tagged};
use tlog::tree::TreeHead;

mod log;
use log::{Draft, Log, ORIGIN, POLICY, Person, START_MS, ecdsa, flip_s, public, secret};

fn ann() -> Person {
    Person::new("ann", Profile::EcSdsa)
}

/// Appends the entry of an authorisation without its opening.
fn push_erased(log: &mut Log, draft: &Draft) -> Step {
    let entry = log.entry(draft, &draft.opening());
    log.push(&entry, None)
}

/// Appends, and shows that this changes nothing but the tree.
fn refused(log: &mut Log, entry: &Entry, opening: Option<&[u8]>) -> Wrong {
    let before = (log.fold.policy().to_owned(), states(log), log.size());
    let Step::Wrong(wrong) = log.push(entry, opening) else { panic!("not wrong") };
    assert_eq!((log.fold.policy().to_owned(), states(log), log.size() - 1), before);
    wrong
}

fn states(log: &Log) -> Vec<Vec<u8>> {
    log.fold.credentials().map(|(_, state)| state.to_bytes()).collect()
}

fn salted(kind: Kind, body: cbor::Value) -> Vec<u8> {
    OtherOpening { kind, salt: [9; 32], body }.to_bytes()
}

#[test]
fn a_log_in_order_folds_into_its_state() {
    let people = [ann(), Person::new("ben", Profile::Transcript)];
    let mut log = Log::new();
    for person in &people {
        assert!(matches!(log.issue(person), Step::Status(_)));
        assert_eq!(log.state(person).status(), Status::Issued);
        log.activate(person);
        assert_eq!(log.state(person).status(), Status::Active);
    }
    for turn in 1..5 {
        for person in &people {
            log.time_ms += 5000;
            let draft = log.draft(person);
            let index = log.size();
            let Step::Instruction(authorized) = log.append(&draft) else { panic!("refused") };
            assert_eq!((authorized.sequence(), authorized.index()), (turn, index));
            assert_eq!(log.fold.index_of(&draft.metadata.index_key), Some(index));
            let key = authorized.authorisation_key();
            assert_eq!(log.fold.index_of_authorisation(key), Some(index));
        }
    }
    let state = log.state(&people[0]);
    assert_eq!((state.next_sequence(), state.status_counter()), (5, 2));
    assert_eq!((state.issued_at(), state.first_record()), (1, Some(2)));
    assert_eq!(log.fold.time_ms(), log.time_ms);
    assert_eq!(log.fold.credentials().count(), 2);
    assert_eq!(log.fold.root_at(0), Some(&TreeHead::EMPTY.root));
    assert_eq!(log.fold.root_at(log.size()), Some(&log.fold.head().root));
    assert_eq!(log.fold.root_at(log.size() + 1), None);
}

#[test]
fn a_fold_begins_with_a_genesis_and_meets_no_other() {
    let mut log = Log::new();
    let genesis = log.entries[0].clone();
    assert_eq!(log.fold.apply(&genesis, None).unwrap_err(), Stop::SecondGenesis);
    let policy = Entry::public(Kind::Policy, START_MS, cbor::encode(&cbor::bytes(POLICY)));
    assert_eq!(Fold::start(&policy.to_bytes()).unwrap_err(), Stop::NoGenesis);
    // No point of the curve has x = 1.
    let mut off_curve = [0; 33];
    (off_curve[0], off_curve[32]) = (2, 1);
    let genesis = Genesis { origin: ORIGIN.into(), issuing_keys: vec![off_curve], policy: POLICY.to_vec() };
    let bytes = Entry::public(Kind::Genesis, START_MS, genesis.to_bytes()).to_bytes();
    assert_eq!(Fold::start(&bytes).unwrap_err(), Stop::GenesisKey);
    let empty = Entry::public(Kind::Genesis, START_MS, cbor::encode(&cbor::uint(1))).to_bytes();
    assert!(matches!(Fold::start(&empty), Err(Stop::Genesis(_))));
}

#[test]
fn an_unknown_kind_stops_the_fold_and_changes_nothing() {
    let mut log = Log::with(&ann());
    let head = log.fold.head();
    let mut entry = Entry::committed(Kind::Event, log.time_ms, Hash([1; 32]), None).to_bytes();
    // [1, kind, …]: the second element.
    assert_eq!(entry[2], 9);
    entry[2] = 11;
    let stop = log.fold.apply(&entry, None).unwrap_err();
    assert_eq!(stop, Stop::Entry(EntryError::UnknownKind(11)));
    assert!(log.fold.apply(&[0xff], None).is_err());
    assert_eq!(log.fold.head(), head);
}

#[test]
fn an_opening_that_is_not_the_entrys_is_not_taken() {
    let person = ann();
    let mut log = Log::with(&person);
    let draft = log.draft(&person);
    let entry = log.entry(&draft, &draft.opening()).to_bytes();
    let mut altered = draft.clone();
    altered.spoil = |record| {
        let at = record.len() - 64;
        flip_s(&mut record[at..]);
    };
    let head = log.fold.head();
    let stop = log.fold.apply(&entry, Some(&altered.opening())).unwrap_err();
    assert_eq!(stop, Stop::OtherOpening);
    assert_eq!(log.fold.head(), head);
    assert!(matches!(log.fold.apply(&entry, Some(&draft.opening())), Ok(Step::Instruction(_))));
}

#[test]
fn a_refused_record_is_counted_and_the_next_one_goes_on() {
    let person = ann();
    let mut log = Log::with(&person);
    let mut draft = log.draft(&person);
    draft.metadata.sequence = 7;
    let entry = log.entry(&draft, &draft.opening());
    let sequence = MetadataRefusal::Sequence { expected: 1, found: 7 };
    let wrong = refused(&mut log, &entry, Some(&draft.opening()));
    assert_eq!(wrong, Wrong::Refused(sequence.into()));

    let garbage = salted(Kind::Event, cbor::uint(1));
    let entry = Entry::committed(Kind::Instruction, log.time_ms, commitment(&garbage), Some(Hash([3; 32])));
    let wrong = refused(&mut log, &entry, Some(&garbage));
    assert!(matches!(wrong, Wrong::Refused(Refusal::Parse(_))));

    // The failed one took its index key with it: no second entry may have it.
    let honest = log.draft(&person);
    let opening = honest.opening();
    let entry = log.entry(&honest, &opening);
    assert_eq!(refused(&mut log, &entry, Some(&opening)), Wrong::IndexKeyUsed { at: 4 });
}

#[test]
fn an_authorisation_is_in_the_log_once() {
    let person = ann();
    let mut log = Log::with(&person);
    let draft = log.draft(&person);
    let index = log.size();
    log.append(&draft);
    // The same bytes once more, then the same authorisation in other bytes at another index key.
    let entry = log.entry(&draft, &draft.opening());
    let wrong = refused(&mut log, &entry, Some(&draft.opening()));
    assert_eq!(wrong, Wrong::IndexKeyUsed { at: index });
    let mut altered = draft.clone();
    altered.spoil = |record| {
        let at = record.len() - 64;
        flip_s(&mut record[at..]);
    };
    let opening = altered.opening();
    let mut entry = log.entry(&altered, &opening);
    entry.index_key = Some(Hash([4; 32]));
    let wrong = refused(&mut log, &entry, Some(&opening));
    assert_eq!(wrong, Wrong::Logged { at: index });
}

#[test]
fn an_entry_under_another_index_key_than_its_record_is_wrong() {
    let person = ann();
    let mut log = Log::with(&person);
    let draft = log.draft(&person);
    let mut entry = log.entry(&draft, &draft.opening());
    entry.index_key = Some(Hash([4; 32]));
    let wrong = refused(&mut log, &entry, Some(&draft.opening()));
    assert_eq!(wrong, Wrong::Refused(MetadataRefusal::IndexKey.into()));
}

#[test]
fn time_never_goes_back() {
    let mut log = Log::with(&ann());
    let last_ms = log.time_ms;
    let entry = Entry::committed(Kind::Event, last_ms - 1, Hash([1; 32]), None);
    assert_eq!(refused(&mut log, &entry, None), Wrong::TimeGoesBack { last_ms });
    let entry = Entry::committed(Kind::Event, last_ms, Hash([1; 32]), None);
    assert_eq!(log.push(&entry, None), Step::Unopened(Kind::Event));
    assert_eq!(log.fold.time_ms(), last_ms);
}

#[test]
fn statuses_come_without_gaps() {
    let person = ann();
    let mut log = Log::with(&person);
    let suspended = || Change::Suspended("lost".into());
    for counter in [0, 1, 3] {
        let key = status_index_key(&person.id(), counter);
        let step = log.status_under(&person, suspended(), key);
        let used = matches!(step, Step::Wrong(Wrong::IndexKeyUsed { .. }));
        assert!(used || step == Step::Wrong(Wrong::StatusKey), "{counter}: {step:?}");
        assert_eq!(used, counter < 2);
    }
    let key = status_index_key(&person.id(), 2);
    assert!(matches!(log.status_under(&person, suspended(), key), Step::Status(_)));
    let stranger = Person::new("zoe", Profile::EcSdsa);
    let key = status_index_key(&stranger.id(), 1);
    let step = log.status_under(&stranger, suspended(), key);
    assert_eq!(step, Step::Wrong(Wrong::UnknownCredential));
}

#[test]
fn no_record_takes_the_index_key_of_a_status() {
    let person = ann();
    let mut log = Log::with(&person);
    let mut draft = log.draft(&person);
    draft.metadata.index_key = log.state(&person).next_status_key();
    let opening = draft.opening();
    let refusal = Submitted::parse(&opening).unwrap_err();
    assert_eq!(refusal, Refusal::Parse(ParseRefusal::Record(RecordError::Metadata(MetadataError::IndexKeySpace))));
    let entry = log.entry(&draft, &opening).to_bytes();
    assert_eq!(log.fold.apply(&entry, Some(&opening)).unwrap_err(), Stop::Entry(EntryError::IndexKeySpace));
    assert!(matches!(log.status(&person, Change::Revoked("stolen".into())), Step::Status(_)));
}

#[test]
fn a_wrong_status_does_not_use_up_the_key_of_the_right_one() {
    let person = ann();
    let mut log = Log::with(&person);
    let step = log.status(&person, Change::Resumed("never suspended".into()));
    assert_eq!(step, Step::Wrong(Wrong::Change(TransitionError::Resumed)));
    assert!(matches!(log.status(&person, Change::Revoked("stolen".into())), Step::Status(_)));
    assert_eq!(log.state(&person).status(), Status::Revoked);
}

#[test]
fn a_credential_changes_as_it_may_and_no_other_way() {
    let person = ann();
    let mut log = Log::new();
    log.issue(&person);
    let wrong = |log: &mut Log, change: Change| {
        let step = log.status(&person, change);
        let Step::Wrong(Wrong::Change(error)) = step else { panic!("{step:?}") };
        error
    };
    let mut copy = log.fold.clone();
    assert_eq!(wrong(&mut log, Change::Activated(1)), TransitionError::Activated);
    for (change, error) in [
        (Change::Resumed("x".into()), TransitionError::Resumed),
        (Change::Recovered("x".into()), TransitionError::Recovered),
        (Change::Activated(9), TransitionError::Activated),
    ] {
        log.fold = copy.clone();
        assert_eq!(wrong(&mut log, change), error);
    }
    log.fold = copy.clone();
    let index = log.size();
    log.append(&log.draft(&person));
    copy = log.fold.clone();
    assert_eq!(wrong(&mut log, Change::Activated(index + 1)), TransitionError::Activated);
    log.fold = copy;
    log.status(&person, Change::Suspended("pin".into()));
    log.status(&person, Change::Resumed("pin".into()));
    assert_eq!(log.state(&person).status(), Status::Issued);
    log.status(&person, Change::Activated(index));
    assert_eq!(log.state(&person).status(), Status::Active);
    log.status(&person, Change::Suspended("x".into()));
    copy = log.fold.clone();
    assert_eq!(wrong(&mut log, Change::Suspended("x".into())), TransitionError::Suspended);
    log.fold = copy;
    log.status(&person, Change::Revoked("x".into()));
    assert_eq!(wrong(&mut log, Change::Resumed("x".into())), TransitionError::Revoked);
    assert_eq!(log.state(&person).status(), Status::Revoked);
}

#[test]
fn a_credential_is_issued_once_by_a_key_in_force_for_this_log() {
    let mut log = Log::new();
    let person = ann();
    log.issue(&person);
    let key = Hash([0x86; 32]);
    let again = Change::Issued(person.credential_bytes());
    let step = log.status_under(&person, again, key);
    assert_eq!(step, Step::Wrong(Wrong::Change(TransitionError::Issued)));

    let issue = |log: &mut Log, person: &Person, bytes: Vec<u8>| {
        let key = status_index_key(&person.id(), 0);
        log.status_under(person, Change::Issued(bytes), key)
    };
    let mut other_log = Person::new("eve", Profile::EcSdsa);
    other_log.claims.origin = "log.example/two".into();
    let step = issue(&mut log, &other_log, other_log.credential_bytes());
    assert_eq!(step, Step::Wrong(Wrong::OtherCredential));

    let mut other_provider = Person::new("eve", Profile::EcSdsa);
    other_provider.claims.provider = Hash([5; 32]);
    let step = issue(&mut log, &other_provider, other_provider.credential_bytes());
    assert_eq!(step, Step::Wrong(Wrong::Credential(CredentialError::Provider)));

    let eve = Person::new("eve", Profile::EcSdsa);
    let forged = ecdsa(&secret("forger"), &eve.claims.to_be_signed());
    let step = issue(&mut log, &eve, eve.claims.with_signature(&forged));
    assert_eq!(step, Step::Wrong(Wrong::Credential(CredentialError::Signature)));

    let step = log.status_under(&eve, Change::Issued(eve.credential_bytes()), Hash([0x87; 32]));
    assert_eq!(step, Step::Wrong(Wrong::StatusKey));
    let zoe = Person::new("zoe", Profile::EcSdsa);
    let key = status_index_key(&zoe.id(), 0);
    let step = log.status_under(&zoe, Change::Issued(eve.credential_bytes()), key);
    assert_eq!(step, Step::Wrong(Wrong::OtherCredential));
}

/// A new phone: another device key under a credential that names the one before.
fn successor(person: &Person, name: &str) -> Person {
    let mut next = Person::new(name, Profile::EcSdsa);
    next.claims.subject = person.claims.subject;
    next.claims.predecessor = Some(person.id());
    next.claims.ordinal = person.claims.ordinal + 1;
    next
}

/// The record by which one credential speaks for another.
fn add(log: &Log, person: &Person, next: &Hash) -> Draft {
    let mut add = log.draft(person);
    add.document.class = "credential.add".into();
    add.document.fields.truncate(1);
    add.document.fields[0].name = "credential".into();
    add.document.fields[0].value = Value::Bytes(next.0.to_vec());
    add.metadata.class = add.document.class.clone();
    add
}

/// Changes claims before they are signed.
type Fault = fn(&mut Claims);

const NOT_VOUCHED: Refusal = Refusal::Credential(CredentialRefusal::Successor);

#[test]
fn a_successor_follows_its_predecessor_and_belongs_to_the_same_person() {
    let person = ann();
    let mut log = Log::with(&person);
    let other = tagged("test", b"another subject");
    let faults: [(Fault, IssueError); 6] = [
        (|claims| claims.ordinal = 0, IssueError::Ordinal),
        (|claims| claims.ordinal = 2, IssueError::Ordinal),
        (|claims| claims.predecessor = None, IssueError::Ordinal),
        (|claims| claims.predecessor = Some(Hash([1; 32])), IssueError::Predecessor),
        (|claims| claims.subject.0[0] ^= 1, IssueError::Subject),
        (|claims| (claims.predecessor, claims.ordinal) = (None, 0), IssueError::SubjectKnown),
    ];
    for (fault, error) in faults {
        let mut next = successor(&person, "second phone");
        fault(&mut next.claims);
        assert_eq!(log.issue(&next), Step::Wrong(Wrong::Issue(error)));
    }
    let mut stranger = successor(&person, "a stranger's phone");
    (stranger.claims.subject, stranger.claims.predecessor, stranger.claims.ordinal) = (other, None, 0);
    assert!(matches!(log.issue(&stranger), Step::Status(_)));
}

#[test]
fn a_successor_needs_a_record_of_its_predecessor_that_names_it_or_a_recovery() {
    let person = ann();
    let mut log = Log::with(&person);
    let next = successor(&person, "second phone");
    assert!(matches!(log.issue(&next), Step::Status(_)));
    assert_eq!(log.judge(&log.draft(&next)), Err(NOT_VOUCHED));
    log.status(&next, Change::Recovered("phone lost".into()));
    log.activate(&next);

    // A record speaks for the one credential that it names, whoever else the provider issues.
    let [third, fourth] = ["third phone", "fourth phone"].map(|name| successor(&next, name));
    assert!(matches!(log.append(&add(&log, &next, &third.id())), Step::Instruction(_)));
    log.issue(&fourth);
    assert_eq!(log.judge(&log.draft(&fourth)), Err(NOT_VOUCHED));
    log.issue(&third);
    log.activate(&third);

    // Whoever may not act any more speaks for nobody.
    let fifth = successor(&third, "fifth phone");
    assert!(matches!(log.append(&add(&log, &third, &fifth.id())), Step::Instruction(_)));
    log.status(&third, Change::Suspended("stolen".into()));
    log.issue(&fifth);
    assert_eq!(log.judge(&log.draft(&fifth)), Err(NOT_VOUCHED));
}

#[test]
fn a_successor_that_was_given_up_takes_no_room_and_is_not_issued_later() {
    const DAY_MS: u64 = 86_400_000;
    let person = ann();
    let mut log = Log::with(&person);
    let waiting: Vec<Person> = (0..8).map(|i| successor(&person, &format!("phone {i}"))).collect();
    let spoken_ms = log.time_ms;
    for next in &waiting {
        assert!(matches!(log.append(&add(&log, &person, &next.id())), Step::Instruction(_)));
    }
    let other = Hash([9; 32]);
    log.time_ms = spoken_ms + DAY_MS;
    let ninth = add(&log, &person, &other);
    assert_eq!(log.judge(&ninth), Err(Refusal::Metadata(MetadataRefusal::Successors)));
    log.issue(&waiting[0]);
    log.activate(&waiting[0]);
    // Spoken for once more, it waits from then on.
    assert!(matches!(log.append(&add(&log, &person, &waiting[1].id())), Step::Instruction(_)));
    log.time_ms += 1;
    assert!(log.state(&person).speaks_for(&waiting[1].id(), log.time_ms));
    assert!(!log.state(&person).speaks_for(&waiting[2].id(), log.time_ms));
    assert!(matches!(log.append(&add(&log, &person, &other)), Step::Instruction(_)), "the others made room");
    log.issue(&waiting[1]);
    log.activate(&waiting[1]);
    log.issue(&waiting[2]);
    assert_eq!(log.judge(&log.draft(&waiting[2])), Err(NOT_VOUCHED), "what was said a day ago speaks for nobody");
    let state = log.state(&person).to_bytes();
    assert_eq!(CredentialState::from_own_store(&state).unwrap().to_bytes(), state);
}

#[test]
fn a_credential_speaks_for_few_that_are_not_issued_and_shows_for_whom() {
    let person = ann();
    let mut log = Log::with(&person);
    let waiting: Vec<Person> = (0..8).map(|i| successor(&person, &format!("phone {i}"))).collect();
    for next in &waiting {
        assert!(matches!(log.append(&add(&log, &person, &next.id())), Step::Instruction(_)));
    }
    let ninth = add(&log, &person, &Hash([9; 32]));
    assert_eq!(log.judge(&ninth), Err(Refusal::Metadata(MetadataRefusal::Successors)));
    // The same one again takes no room, and an issued one gives its room back.
    assert!(log.judge(&add(&log, &person, &waiting[3].id())).is_ok());
    log.issue(&waiting[3]);
    assert!(log.judge(&add(&log, &person, &Hash([9; 32]))).is_ok());
    assert!(matches!(log.append(&add(&log, &person, &Hash([9; 32]))), Step::Instruction(_)));
    assert_eq!(log.judge(&add(&log, &person, &Hash([10; 32]))), Err(Refusal::Metadata(MetadataRefusal::Successors)));
    let state = log.state(&person).to_bytes();
    assert_eq!(CredentialState::from_own_store(&state).unwrap().to_bytes(), state);

    // `note` is what the opening hides.
    let mut hidden = add(&log, &person, &Hash([9; 32]));
    hidden.document.fields[0].name = "note".into();
    assert_eq!(log.judge(&hidden), Err(Refusal::Parse(ParseRefusal::Shown(InstructionError::Requires("credential")))));
}

#[test]
fn an_issuing_key_is_followed_by_one_that_both_sign() {
    let mut log = Log::new();
    let change = |old: &str, signers: [&str; 2]| {
        let [old_key, new_key] = [old, "second issuer"].map(|name| public(&secret(name)).to_vec());
        let hash = change_hash(ORIGIN, Role::Issuing, Some(&old_key), &new_key);
        let [old_sig, new_sig] = signers.map(|name| ecdsa(&secret(name), &hash.0).to_vec());
        KeyChange {
            role: Role::Issuing,
            old: Some(SignedKey { key: old_key, signature: old_sig }),
            new: SignedKey { key: new_key, signature: new_sig },
        }
    };
    let good = change("issuer", ["issuer", "second issuer"]);
    for (bad, refusal) in [
        (change("issuer", ["issuer", "issuer"]), KeyRefusal::Signature),
        (change("issuer", ["second issuer", "second issuer"]), KeyRefusal::Signature),
        (change("stranger", ["stranger", "second issuer"]), KeyRefusal::NotInForce),
        (KeyChange { old: None, ..good.clone() }, KeyRefusal::NotInForce),
        (KeyChange { role: Role::Voucher, ..good.clone() }, KeyRefusal::Role),
    ] {
        assert_eq!(change_keys(&mut log, &bad), Step::Wrong(refusal.into()));
    }
    assert_eq!(change_keys(&mut log, &good), Step::IssuingKey);
    let at = log.fold.head().size.get() - 1;
    assert_eq!(log.fold.keys().changes().last().map(|change| change.index), Some(at));
    assert_eq!(log.fold.keys().issuing()[0].as_bytes()[..], public(&secret("second issuer")));
    let step = log.issue(&ann());
    assert_eq!(step, Step::Wrong(Wrong::Credential(CredentialError::Provider)));
    // What was replaced never comes back.
    let [old, new] = ["second issuer", "issuer"].map(|name| public(&secret(name)).to_vec());
    let hash = change_hash(ORIGIN, Role::Issuing, Some(&old), &new);
    let signed = |key: Vec<u8>, name| SignedKey { key, signature: ecdsa(&secret(name), &hash.0).to_vec() };
    let old = Some(signed(old, "second issuer"));
    let back = KeyChange { role: Role::Issuing, old, new: signed(new, "issuer") };
    assert_eq!(change_keys(&mut log, &back), Step::Wrong(KeyRefusal::Known.into()));
    let stored = log.fold.keys().to_bytes();
    assert_eq!(scal3::keys::Keys::from_own_store(&stored).as_ref(), Ok(log.fold.keys()));
}

fn change_keys(log: &mut Log, change: &KeyChange) -> Step {
    let entry = Entry::public(Kind::Key, log.time_ms, change.to_bytes());
    log.push(&entry, None)
}

#[test]
fn a_kem_key_is_spoken_for_by_an_issuing_key_and_follows_the_one_before() {
    let mut log = Log::new();
    let change = |old: Option<&str>, new: &str, signer: &str| {
        let [old, new] = [old, Some(new)].map(|name| name.map(|name| public(&secret(name)).to_vec()));
        let new = new.unwrap();
        let hash = change_hash(ORIGIN, Role::Kem, old.as_deref(), &new);
        let signature = ecdsa(&secret(signer), &hash.0).to_vec();
        let old = old.map(|key| SignedKey { key, signature: signature.clone() });
        KeyChange { role: Role::Kem, old, new: SignedKey { key: new, signature } }
    };
    let refused = |refusal: KeyRefusal| Step::Wrong(refusal.into());
    let not_in_force = refused(KeyRefusal::NotInForce);
    assert_eq!(change_keys(&mut log, &change(Some("kem 0"), "kem 1", "issuer")), not_in_force);
    assert_eq!(change_keys(&mut log, &change(None, "kem 0", "kem 0")), refused(KeyRefusal::Signature));
    assert_eq!(change_keys(&mut log, &change(None, "kem 0", "issuer")), Step::Other(Kind::Key));
    assert_eq!(change_keys(&mut log, &change(None, "kem 1", "issuer")), not_in_force);
    assert_eq!(change_keys(&mut log, &change(Some("kem 0"), "kem 0", "issuer")), refused(KeyRefusal::Known));
    assert_eq!(change_keys(&mut log, &change(Some("kem 0"), "kem 1", "stranger")), refused(KeyRefusal::Signature));
    assert_eq!(change_keys(&mut log, &change(Some("kem 0"), "kem 1", "issuer")), Step::Other(Kind::Key));
    assert_eq!(log.fold.keys().kem(), Some(&public(&secret("kem 1"))));
    let stored = log.fold.keys().to_bytes();
    assert_eq!(scal3::keys::Keys::from_own_store(&stored).as_ref(), Ok(log.fold.keys()));
}

#[test]
fn a_log_key_is_followed_by_one_that_both_sign() {
    use ed25519_dalek::{Signer as _, SigningKey};
    let mut log = Log::new();
    let key = |seed| SigningKey::from_bytes(&[seed; 32]);
    let change = |old: u8, new: u8, signers: [u8; 2]| {
        let [old, new] = [old, new].map(|seed| key(seed).verifying_key().to_bytes().to_vec());
        let hash = change_hash(ORIGIN, Role::Log, Some(&old), &new);
        let [by_old, by_new] = signers.map(|seed| key(seed).sign(&hash.0).to_bytes().to_vec());
        let old = Some(SignedKey { key: old, signature: by_old });
        KeyChange { role: Role::Log, old, new: SignedKey { key: new, signature: by_new } }
    };
    let good = change(1, 2, [1, 2]);
    for (bad, refusal) in [
        (change(1, 2, [2, 2]), KeyRefusal::Signature),
        (change(1, 2, [1, 1]), KeyRefusal::Signature),
        (change(1, 1, [1, 1]), KeyRefusal::Known),
        (KeyChange { old: None, ..good.clone() }, KeyRefusal::NotInForce),
    ] {
        assert_eq!(change_keys(&mut log, &bad), Step::Wrong(refusal.into()));
    }
    assert_eq!(change_keys(&mut log, &good), Step::Other(Kind::Key));
    // From the first change on, the log itself says which key is the old one.
    assert_eq!(change_keys(&mut log, &change(1, 3, [1, 3])), Step::Wrong(KeyRefusal::NotInForce.into()));
    assert_eq!(change_keys(&mut log, &change(2, 3, [2, 3])), Step::Other(Kind::Key));
    assert_eq!(log.fold.keys().log(), Some(&key(3).verifying_key().to_bytes()));
    let stored = log.fold.keys().to_bytes();
    assert_eq!(scal3::keys::Keys::from_own_store(&stored).as_ref(), Ok(log.fold.keys()));
}

#[test]
fn a_record_behind_an_erased_one_is_bridged_and_not_called_in_order() {
    let person = ann();
    let mut log = Log::with(&person);
    // Two payments that were logged and later erased. A log that can read them gives the drafts.
    let mut whole = Log::with(&person);
    for _ in 0..2 {
        let draft = whole.draft(&person);
        assert!(matches!(whole.append(&draft), Step::Instruction(_)));
        assert_eq!(push_erased(&mut log, &draft), Step::Unopened(Kind::Instruction));
    }
    assert_eq!(whole.fold.head(), log.fold.head());
    let draft = whole.draft(&person);
    assert_eq!(draft.metadata.sequence, 3);
    let Step::Bridged { authorized, missing } = log.append(&draft) else { panic!("not bridged") };
    assert_eq!((authorized.sequence(), missing), (3, 2));
    whole.append(&draft);
    let next = whole.draft(&person);
    assert!(matches!(log.append(&next), Step::Instruction(_)));

    // More can't be missing than there are erased entries since the last one that was read.
    let mut jump = log.draft(&person);
    jump.metadata.sequence += 1;
    let sequence = MetadataRefusal::Sequence { expected: 5, found: 6 };
    assert_eq!(log.append(&jump), Step::Wrong(Wrong::Refused(sequence.into())));
}

#[test]
fn one_opening_that_is_gone_excuses_one_missing_record() {
    let people = [ann(), Person::new("ben", Profile::Transcript)];
    let [mut whole, mut log] = [Log::with(&people[0]), Log::with(&people[0])];
    for log in [&mut whole, &mut log] {
        log.issue(&people[1]);
        log.activate(&people[1]);
    }
    let gone = whole.size();
    let draft = whole.draft(&people[0]);
    whole.append(&draft);
    push_erased(&mut log, &draft);
    assert_eq!(log.fold.unexplained().collect::<Vec<_>>(), [gone]);
    let draft = whole.draft(&people[0]);
    assert!(matches!(log.append(&draft), Step::Bridged { missing: 1, .. }));
    // Ben's gap is another one, and nothing is left to excuse it.
    let mut jump = log.draft(&people[1]);
    jump.metadata.sequence += 1;
    let sequence = MetadataRefusal::Sequence { expected: 1, found: 2 };
    assert_eq!(log.append(&jump), Step::Wrong(Wrong::Refused(sequence.into())));

    let opening = Erasure { index: gone, reason: "asked".into() }.opening([3; 32]).to_bytes();
    let entry = Entry::committed(Kind::Erasure, log.time_ms, commitment(&opening), None);
    assert_eq!(log.push(&entry, Some(&opening)), Step::Other(Kind::Erasure));
    assert_eq!(log.fold.unexplained().count(), 0);
}

#[test]
fn an_erasure_does_not_turn_an_honest_successor_into_a_wrong_one() {
    let person = ann();
    let [mut whole, mut log] = [Log::with(&person), Log::with(&person)];
    let next = successor(&person, "second phone");
    let draft = add(&whole, &person, &next.id());
    whole.append(&draft);
    push_erased(&mut log, &draft);
    assert!(matches!(whole.issue(&next), Step::Status(_)));
    assert_eq!(log.issue(&next), Step::InDoubt(Kind::Status));
    let first = whole.draft(&next);
    assert!(matches!(whole.append(&first), Step::Instruction(_)));
    assert_eq!(log.append(&first), Step::InDoubt(Kind::Instruction));

    // The predecessor itself was issued by an entry that can't be read any more.
    let mut log = Log::new();
    let issued = Entry::parse(&whole.entries[1]).unwrap();
    assert_eq!(log.push(&issued, None), Step::Unopened(Kind::Status));
    assert_eq!(log.issue(&next), Step::InDoubt(Kind::Status));
}

#[test]
fn an_activation_whose_record_was_erased_still_counts() {
    let person = ann();
    let mut log = Log::new();
    let mut whole = Log::new();
    whole.issue(&person);
    log.issue(&person);
    let first = whole.draft(&person);
    whole.append(&first);
    push_erased(&mut log, &first);
    for each in [&mut whole, &mut log] {
        assert!(matches!(each.status(&person, Change::Activated(2)), Step::Status(_)));
        assert_eq!(each.state(&person).status(), Status::Active);
    }
    let second = whole.draft(&person);
    assert!(matches!(log.append(&second), Step::Bridged { missing: 1, .. }));
}

#[test]
fn a_credential_whose_status_was_erased_is_in_doubt() {
    let person = ann();
    let mut log = Log::with(&person);
    let key = log.state(&person).next_status_key();
    let change = StatusChange { credential: person.id(), change: Change::Revoked("x".into()) };
    let opening = change.opening([1; 32]).to_bytes();
    let entry = Entry::committed(Kind::Status, log.time_ms, commitment(&opening), Some(key));
    assert_eq!(log.push(&entry, None), Step::Unopened(Kind::Status));
    assert_eq!(log.fold.credential(&person.id()).unwrap().certain(), None);
    assert_eq!(log.fold.credentials().count(), 0);
    let (draft, index) = (log.draft(&person), log.size());
    let mut late = draft.clone();
    late.metadata.time_ms -= 300_001;
    late.metadata.index_key.0[5] ^= 1;
    assert!(matches!(log.append(&late), Step::Wrong(Wrong::Refused(Refusal::Metadata(MetadataRefusal::Time { .. })))));
    assert_eq!(log.append(&draft), Step::InDoubt(Kind::Instruction));
    let opening = draft.opening();
    let mut again = log.entry(&draft, &opening);
    again.index_key = Some(Hash([4; 32]));
    assert_eq!(refused(&mut log, &again, Some(&opening)), Wrong::Logged { at: index + 1 });
    // Its statuses are counted on: none can be left out.
    assert_eq!(log.status(&person, Change::Suspended("x".into())), Step::InDoubt(Kind::Status));
    let step = log.status_under(&person, Change::Suspended("x".into()), Hash([0x85; 32]));
    assert_eq!(step, Step::Wrong(Wrong::StatusKey));

    // Issued by an entry that can't be read: nobody can tell whether it may act.
    let stranger = Person::new("zoe", Profile::EcSdsa);
    let mut theirs = Log::with(&stranger);
    theirs.time_ms = log.time_ms;
    let draft = theirs.draft(&stranger);
    assert_eq!(log.append(&draft), Step::InDoubt(Kind::Instruction));
    let mut clean = Log::new();
    let unknown = Refusal::Credential(CredentialRefusal::Other);
    assert_eq!(clean.append(&draft), Step::Wrong(Wrong::Refused(unknown)));
}

#[test]
fn openings_are_of_the_kind_of_their_entry() {
    let person = ann();
    let mut log = Log::with(&person);
    let event = salted(Kind::Event, cbor::uint(1));
    let entry =
        |kind, opening: &[u8], index_key| Entry::committed(kind, START_MS + 1000, commitment(opening), index_key);
    let good = entry(Kind::Event, &event, None);
    assert_eq!(log.push(&good, Some(&event)), Step::Other(Kind::Event));
    let status = entry(Kind::Status, &event, Some(Hash([0x81; 32])));
    assert_eq!(refused(&mut log, &status, Some(&event)), Wrong::OpeningKind);
    let none = salted(Kind::Status, cbor::uint(1));
    let status = entry(Kind::Status, &none, Some(Hash([0x82; 32])));
    assert!(matches!(refused(&mut log, &status, Some(&none)), Wrong::Status(_)));
    let status = entry(Kind::Status, b"no", Some(Hash([0x83; 32])));
    assert!(matches!(refused(&mut log, &status, Some(b"no")), Wrong::Opening(_)));
    let draft = log.draft(&person);
    let opening = draft.opening();
    let status = entry(Kind::Status, &opening, Some(Hash([0x84; 32])));
    assert!(matches!(refused(&mut log, &status, Some(&opening)), Wrong::Opening(_)));
    let root = Entry::public(Kind::IndexRoot, log.time_ms, cbor::encode(&cbor::uint(1)));
    assert_eq!(log.push(&root, None), Step::Other(Kind::IndexRoot));
}

#[test]
fn records_verified_in_a_batch_are_taken_like_others() {
    let person = ann();
    let mut log = Log::with(&person);
    let draft = log.draft(&person);
    let opening = draft.opening();
    let entry = log.entry(&draft, &opening).to_bytes();
    let signed = Submitted::parse(&opening)
        .and_then(|submitted| submitted.check(log.state(&person).credential(), ORIGIN))
        .unwrap();
    let mut other = Entry::parse(&entry).unwrap();
    other.commitment = tagged("test", b"other");
    let stop = log.fold.apply_signed(&other.to_bytes(), &signed).unwrap_err();
    assert_eq!(stop, Stop::OtherOpening);
    let step = log.fold.apply_signed(&entry, &signed).unwrap();
    assert!(matches!(step, Step::Instruction(_)));
}
