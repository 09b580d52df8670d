//! Properties of the formats: what is written is read back; what is cut or altered is refused, or is another value with
//! exactly one spelling of its own. Nothing panics.

use proptest::prelude::*;
use scal3::credential::CredentialError;
use scal3::event::{Detail, Event, StreamPlace};
use scal3::index_key::Space;
use scal3::instruction::{InstructionError, Value};
use scal3::key_change::KeyChange;
use scal3::opening::Evidence;
use scal3::outcome::Outcome;
use scal3::{
    AnyOpening, Change, Claims, Credential, Document, Entry, Field, Genesis, Hash, Kind, Metadata, Opening,
    OtherOpening, Presented, Profile, Shown, StatusChange, cbor,
};

fn hash() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash)
}

fn index_key() -> impl Strategy<Value = Hash> {
    hash().prop_map(|hash| Space::Stream.place(hash))
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        ".{0,40}".prop_map(Value::Text),
        any::<u64>().prop_map(Value::Uint),
        any::<u64>().prop_map(Value::Nint),
        prop::collection::vec(any::<u8>(), 0..80).prop_map(Value::Bytes),
        any::<bool>().prop_map(Value::Bool),
    ]
}

prop_compose! {
    fn field()(salt in any::<[u8; 16]>(), name in ".{0,12}", value in value()) -> Field {
        Field { salt, name, value }
    }
}

/// Fields without two of one name.
fn fields() -> impl Strategy<Value = Vec<Field>> {
    prop::collection::vec(field(), 0..8).prop_map(|mut fields| {
        fields.sort_by(|one, other| one.name.cmp(&other.name));
        fields.dedup_by(|one, other| one.name == other.name);
        fields.sort_by_key(Field::hash);
        fields
    })
}

prop_compose! {
    fn document()(class in "[a-z]{1,6}\\.[a-z]{1,6}", fields in fields()) -> Document {
        Document { class: format!("x.{class}"), fields }
    }
}

prop_compose! {
    fn metadata()(
        (origin, class) in (".{1,60}", ".{0,20}"),
        (provider, credential, previous, index_key) in (hash(), hash(), hash(), index_key()),
        (challenge, policy, seen_root) in (hash(), hash(), hash()),
        (sequence, seen_size) in (any::<u64>(), any::<u64>()),
        (time_ms, expires_ms) in (any::<u64>(), any::<u64>()),
    ) -> Metadata {
        Metadata {
            origin, provider, credential, sequence, previous, index_key, challenge, policy, class,
            seen_size, seen_root, time_ms, expires_ms, ext: Default::default(),
        }
    }
}

prop_compose! {
    fn evidence()(
        kind in ".{0,10}", participant in hash(), authenticator in hash(),
        blob in prop::collection::vec(any::<u8>(), 0..50),
    ) -> Evidence {
        Evidence { kind, participant, authenticator, blob }
    }
}

prop_compose! {
    fn opening()(
        profile in prop::sample::select(vec![Profile::EcSdsa, Profile::Transcript]),
        record in prop::collection::vec(any::<u8>(), 0..300),
        evidence in prop::collection::vec(evidence(), 0..5),
        document in document(),
        show in any::<u64>(),
    ) -> Opening {
        let mut bit = 0;
        let shown = document.show(|_| { bit += 1; show >> (bit - 1) & 1 == 1 });
        Opening { profile, record, evidence, shown }
    }
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200).prop_map(Change::Issued),
        any::<u64>().prop_map(Change::Activated),
        ".{0,30}".prop_map(Change::Suspended),
        ".{0,30}".prop_map(Change::Resumed),
        ".{0,30}".prop_map(Change::Revoked),
        ".{0,30}".prop_map(Change::Recovered),
    ]
}

prop_compose! {
    fn event()(
        name in ".{0,20}",
        stream in prop::option::of((hash(), any::<u64>(), hash())),
        detail in prop_oneof![Just(Detail::Nothing), ".{0,20}".prop_map(Detail::Text), any::<[u8; 5]>().prop_map(|b| Detail::Bytes(b.into()))],
    ) -> Event {
        let stream = stream.map(|(credential, counter, previous)| StreamPlace { credential, counter, previous });
        Event { name, stream, detail }
    }
}

prop_compose! {
    fn outcome()(
        name in ".{0,20}",
        (credential, counter, previous) in (hash(), any::<u64>(), hash()),
        about in prop::option::of(hash()),
        reason in prop::option::of(".{0,20}"),
        detail in prop::option::of(prop::collection::vec(any::<u8>(), 0..20)),
    ) -> Outcome {
        Outcome { name, stream: StreamPlace { credential, counter, previous }, about, reason, detail }
    }
}

fn entry() -> impl Strategy<Value = Entry> {
    (prop::sample::select(Kind::ALL.to_vec()), any::<u64>(), hash(), prop::option::of(hash()), value()).prop_map(
        |(kind, time_ms, commitment, maybe, body)| {
            if kind.is_public() {
                let field = Field { salt: [0; 16], name: String::new(), value: body };
                let body = Document { class: "body".into(), fields: vec![field] }.to_bytes();
                return Entry::public(kind, time_ms, body);
            }
            let index_key = match kind.has_index_key() {
                Some(true) => Some(maybe.unwrap_or(commitment)),
                Some(false) => None,
                None => maybe,
            };
            let index_key = index_key.map(|key| kind.index_key_space().place(key));
            Entry::committed(kind, time_ms, commitment, index_key)
        },
    )
}

prop_compose! {
    fn claims()(
        (origin, issuer, attestation) in (".{1,40}", ".{0,40}", ".{0,40}"),
        hashes in any::<[[u8; 32]; 7]>(),
        (key, other_key) in (any::<[u8; 32]>(), any::<[u8; 32]>()),
        profile in prop::sample::select(vec![Profile::EcSdsa, Profile::Transcript]),
        (from, until) in (any::<u64>(), any::<u64>()),
        predecessor in prop::option::of(hash()),
        ordinal in any::<u64>(),
    ) -> Claims {
        let [provider, enrolment_id, subject, shares, kem_key_id, label, other_label] = hashes.map(Hash);
        let point = |tag: u8, x: [u8; 32]| {
            let mut point = [tag; 33];
            point[1..].copy_from_slice(&x);
            point
        };
        Claims {
            origin, provider, issuer, enrolment_id, subject, profile,
            joint_key: point(2, key), device_key: point(3, other_key), passkey: None, shares, kem_key_id,
            labels: [label, other_label], attestation,
            not_before_ms: from.min(until), not_after_ms: from.max(until), predecessor, ordinal,
        }
    }
}

/// Every parser; each says what it would write for what it has read.
fn readings(bytes: &[u8]) -> Vec<Vec<u8>> {
    let opening = |opening: AnyOpening| match opening {
        AnyOpening::Instruction(opening) => opening.to_bytes(),
        AnyOpening::Other(opening) => opening.to_bytes(),
    };
    [
        Document::parse(bytes).ok().map(|read| read.to_bytes()),
        Metadata::parse(bytes).ok().map(|read| read.to_bytes()),
        AnyOpening::parse(bytes).ok().map(opening),
        Opening::parse(bytes).ok().map(|read| read.to_bytes()),
        OtherOpening::parse(bytes).ok().map(|read| read.to_bytes()),
        Entry::parse(bytes).ok().map(|read| read.to_bytes()),
        Genesis::parse(bytes).ok().map(|read| read.to_bytes()),
        KeyChange::parse(bytes).ok().map(|read| read.to_bytes()),
        StatusChange::parse(bytes).ok().map(|read| read.to_bytes()),
        Event::parse(bytes).ok().map(|read| read.to_bytes()),
        Outcome::parse(bytes).ok().map(|read| read.to_bytes()),
        Claims::parse(bytes).ok().map(|read| read.to_bytes()),
        Credential::from_own_store(bytes).ok().map(|read| read.as_bytes().to_vec()),
        cbor::decode(bytes, bytes.len()).ok().map(|read| cbor::encode(&read)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Bytes that were cut anywhere are refused by every parser; altered ones are refused, or read as
/// something that is written as exactly these bytes.
fn one_spelling(bytes: &[u8], flips: &[(usize, u8)]) {
    assert!(!readings(bytes).is_empty());
    for end in 0..bytes.len() {
        assert!(readings(&bytes[..end]).is_empty(), "cut at {end} of {}", bytes.len());
    }
    let mut altered = bytes.to_vec();
    for (place, bit) in flips {
        let place = place % bytes.len();
        altered[place] ^= 1 << (bit % 8);
        for written in readings(&altered) {
            assert_eq!(written, altered);
        }
        if bit & 8 == 0 {
            altered[place] = bytes[place];
        }
    }
}

fn flips() -> impl Strategy<Value = Vec<(usize, u8)>> {
    prop::collection::vec((any::<usize>(), any::<u8>()), 40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn documents_are_read_as_written(document in document(), flips in flips()) {
        let bytes = document.to_bytes();
        prop_assert_eq!(Document::parse(&bytes), Ok(document.clone()));
        one_spelling(&bytes, &flips);
    }

    #[test]
    fn hiding_fields_never_changes_the_id(document in document(), show in any::<u64>()) {
        let mut bit = 0;
        let shown = document.show(|_| { bit += 1; show >> (bit - 1) & 1 == 1 });
        prop_assert_eq!(shown.id(&document.class), Ok(document.id()));
        let other = shown.id("another").unwrap();
        prop_assert_ne!(other, document.id());
        // The order of fields is no part of the id; leaving one out, or changing one, is another instruction.
        let reversed = Document { fields: document.fields.iter().rev().cloned().collect(), ..document.clone() };
        prop_assert_eq!(reversed.id(), document.id());
        if let Some((first, rest)) = document.fields.split_first() {
            let without = Document { fields: rest.to_vec(), ..document.clone() };
            prop_assert_ne!(without.id(), document.id());
            let mut twice = document.show(|_| true);
            twice.hidden.push(first.hash());
            prop_assert_eq!(twice.id(&document.class), Err(InstructionError::SameField));
        }
    }

    #[test]
    fn metadata_is_read_as_written(metadata in metadata(), flips in flips()) {
        let bytes = metadata.to_bytes();
        prop_assert_eq!(Metadata::parse(&bytes), Ok(metadata.clone()));
        one_spelling(&bytes, &flips);
    }

    #[test]
    fn openings_are_read_as_written(opening in opening(), flips in flips()) {
        let bytes = opening.to_bytes();
        prop_assert_eq!(AnyOpening::parse(&bytes), Ok(AnyOpening::Instruction(opening.clone())));
        prop_assert_eq!(opening.commitment(), scal3::opening::commitment(&bytes));
        one_spelling(&bytes, &flips);
    }

    #[test]
    fn other_openings_are_read_as_written(
        change in change(), credential in hash(), event in event(), outcome in outcome(), salt in any::<[u8; 32]>(), flips in flips(),
    ) {
        let status = StatusChange { credential, change };
        for opening in [status.opening(salt), event.opening(salt), outcome.opening(salt)] {
            let bytes = opening.to_bytes();
            let read = OtherOpening::parse(&bytes).unwrap();
            prop_assert_eq!(&read, &opening);
            one_spelling(&bytes, &flips);
            match read.kind {
                Kind::Status => prop_assert_eq!(StatusChange::from_body(read.body), Ok(status.clone())),
                Kind::Outcome => prop_assert_eq!(Outcome::from_body(read.body), Ok(outcome.clone())),
                _ => prop_assert_eq!(Event::from_body(read.body), Ok(event.clone())),
            }
        }
    }

    #[test]
    fn entries_are_read_as_written(entry in entry(), flips in flips()) {
        let bytes = entry.to_bytes();
        prop_assert_eq!(Entry::parse(&bytes), Ok(entry.clone()));
        prop_assert!(entry.body.is_some() || bytes.len() < 100);
        one_spelling(&bytes, &flips);
    }

    #[test]
    fn claims_are_read_as_written(claims in claims(), flips in flips()) {
        let bytes = claims.to_bytes();
        prop_assert_eq!(Claims::parse(&bytes), Ok(claims.clone()));
        prop_assert_eq!(claims.id(), scal3::credential::credential_id(&bytes));
        one_spelling(&bytes, &flips);
    }

    #[test]
    fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for written in readings(&bytes) {
            prop_assert_eq!(&written, &bytes);
        }
        if cbor::decode(&bytes, 200).is_ok() {
            prop_assert_eq!(cbor::check_deterministic(&bytes), Ok(()));
        }
    }

    /// The CBOR library, which is laxer, reads everything that the scan lets through.
    #[test]
    fn deterministic_items_are_items(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        if cbor::check_deterministic(&bytes).is_ok() {
            let read: Result<ciborium::Value, _> = ciborium::from_reader(bytes.as_slice());
            // It has no simple values but false, true, null and undefined.
            prop_assert!(read.is_ok() || bytes.iter().any(|byte| *byte >= 0xe0));
        }
    }
}

#[test]
fn a_shown_part_with_hidden_fields_out_of_order_is_refused() {
    let shown = Shown { hidden: vec![Hash([2; 32]), Hash([1; 32])], fields: Vec::new() };
    let opening = Opening { profile: Profile::EcSdsa, record: Vec::new(), evidence: Vec::new(), shown };
    let refused = Opening::parse(&opening.to_bytes()).unwrap_err();
    assert_eq!(refused.code(), "hidden-order");
}

#[test]
fn a_credential_longer_than_allowed_is_refused_before_it_is_read() {
    let refused = Credential::from_own_store(&[0xff; 20_000]).unwrap_err();
    assert!(matches!(refused, CredentialError::Cbor(cbor::CborError::TooLong { .. })));
}

#[test]
fn nothing_that_a_person_authorises_is_printed() {
    let secret = "SECRET-TEXT";
    let salt = [0x5e; 16];
    let field = |name: &str, value| Field { salt, name: name.into(), value };
    let fields = vec![
        field("text", Value::Text(secret.into())),
        field("bytes", Value::Bytes(secret.into())),
        field("uint", Value::Uint(424_242)),
        field("nint", Value::Nint(424_242)),
    ];
    let document = Document { class: "x".into(), fields };
    let hash = Hash([0; 32]);
    let blob = secret.as_bytes().to_vec();
    let evidence = Evidence { kind: "card".into(), participant: hash, authenticator: hash, blob: blob.clone() };
    let opening = Opening {
        profile: Profile::EcSdsa,
        record: blob.clone(),
        evidence: vec![evidence],
        shown: document.show(|_| true),
    };
    let change = Change::Revoked(secret.into());
    let issued = Change::Issued(blob.clone());
    let event = Event { name: "x".into(), stream: None, detail: Detail::Bytes(blob) };
    let status = StatusChange { credential: hash, change };
    let other = status.opening([0x5e; 32]);
    let printed = format!("{document:?} {opening:?} {status:?} {issued:?} {event:?} {other:?}");
    for leak in [secret, "83, 69, 67", "424242", "424243", "94, 94"] {
        assert!(!printed.contains(leak), "{leak} in {printed}");
    }
    assert!(printed.contains("Text(11 bytes)"), "{printed}");
}

#[test]
fn what_is_hidden_changes_nothing_about_the_instruction() {
    let field = |name: &str, value| Field { salt: [name.len() as u8; 16], name: name.into(), value };
    let document = Document {
        class: "document.sign".into(),
        fields: vec![
            field("name", Value::Text("lease.pdf".into())),
            field("payload_digest", Value::Bytes(vec![9; 32])),
        ],
    };
    for hide in 0..4_u8 {
        let presented = Presented::of(&document, |name| hide & if name == "name" { 1 } else { 2 } == 0);
        assert_eq!(presented.id(), Ok(document.id()));
        let bytes = presented.to_bytes();
        assert_eq!(Presented::parse(&bytes).as_ref(), Ok(&presented));
        for length in 0..bytes.len() {
            assert!(Presented::parse(&bytes[..length]).is_err());
        }
    }
}
