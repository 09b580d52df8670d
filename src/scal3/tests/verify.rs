//! From bytes to `Authorized`: one thing wrong at a time, and the check that says so.

use scal3::attempts::Attempt;
use scal3::batch::{Job, Plain, Verdict, VerifyBatch};
use scal3::instruction::InstructionError;
use scal3::opening::Evidence;
use scal3::point::{Point, Scalar};
use scal3::record::{Record, authorisation_key};
use scal3::schnorr::{Challenge, commitment};
use scal3::seen::SeenOnHistory;
use scal3::state::CredentialState;
use scal3::verify::{
    self, CredentialRefusal, EvidenceRefusal, JointRefusal, MetadataRefusal, ParseRefusal, Place, Refusal, Submitted,
};
use scal3::{Change, Document, Hash, Profile};
use tlog::LeafHash;
use tlog::proof::{ConsistencyProof, Nodes};
use tlog::tree::TreeHead;

mod log;
use log::{Draft, Log, ORIGIN, Person, flip_s, public, schnorr, secret};

const PROFILES: [Profile; 3] = [Profile::EcSdsa, Profile::Transcript, Profile::Passkey];

/// A log in which this person has one payment behind the activation.
fn log_of(person: &Person) -> Log {
    let mut log = Log::with(person);
    let draft = log.draft(person);
    log.append(&draft);
    log
}

#[test]
fn a_record_in_order_is_authorized() {
    for profile in PROFILES {
        let person = Person::new("ann", profile);
        let log = log_of(&person);
        let draft = log.draft(&person);
        let authorized = log.judge(&draft).unwrap();
        assert_eq!(authorized.sequence(), 2);
        assert_eq!(*authorized.credential(), person.id());
        assert_eq!(authorized.index(), log.size());
        assert_eq!(authorized.class(), "payment");
        assert_eq!(*authorized.instruction_id(), draft.document.id());

        let submitted = Submitted::parse(&draft.opening()).unwrap();
        let signed = submitted.check(&person.credential(), ORIGIN).unwrap();
        let (place, credential) = (log.place(&draft), person.credential());
        assert_eq!(signed.check_alone(&place, &credential, log.state(&person).issued_at()), Ok(()));
        assert_eq!(signed.authorisation_key(), *authorized.authorisation_key());
        assert!(signed.shown().field("amount").is_some());
        assert!(signed.shown().field("note").is_none());
    }
}

#[test]
fn records_come_back_byte_for_byte() {
    for profile in PROFILES {
        let person = Person::new("ann", profile);
        let bytes = log_of(&person).draft(&person).record();
        let record = Record::parse(profile, &bytes).unwrap();
        assert_eq!(record.to_bytes(), bytes);
        assert_eq!(record.profile(), profile);
        let key = authorisation_key(&person.id(), record.c());
        assert_eq!(record.authorisation_key(), key);
    }
}

/// Changes a record after it was signed.
type Spoil = fn(&mut Vec<u8>);

type Row = (&'static str, fn(&mut Draft), Refusal);

/// One fault each, signed by the real keys: what a dishonest device or provider could make.
const SIGNED_FAULTS: &[Row] = &[
    (
        "late",
        |draft| draft.metadata.expires_ms = draft.metadata.time_ms - 1,
        Refusal::Metadata(MetadataRefusal::Expired { expires_ms: T - 1, entry_ms: T }),
    ),
    (
        "a slow clock",
        |draft| draft.metadata.time_ms -= 300_001,
        Refusal::Metadata(MetadataRefusal::Time { time_ms: T - 300_001, entry_ms: T }),
    ),
    (
        "a fast clock",
        |draft| {
            draft.metadata.time_ms += 300_001;
            draft.metadata.expires_ms += 300_001;
        },
        Refusal::Metadata(MetadataRefusal::Time { time_ms: T + 300_001, entry_ms: T }),
    ),
    (
        "a tree larger than this one",
        |draft| draft.metadata.seen_size += 1,
        Refusal::Metadata(MetadataRefusal::SeenAhead { seen_size: 6, index: 5 }),
    ),
    ("another root", |draft| draft.metadata.seen_root.0[0] ^= 1, Refusal::Metadata(MetadataRefusal::SeenNotOnHistory)),
    (
        "a root of another size",
        |draft| draft.metadata.seen_size -= 1,
        Refusal::Metadata(MetadataRefusal::SeenNotOnHistory),
    ),
    (
        "a sequence skipped",
        |draft| draft.metadata.sequence = 3,
        Refusal::Metadata(MetadataRefusal::Sequence { expected: 2, found: 3 }),
    ),
    (
        "a sequence used",
        |draft| draft.metadata.sequence = 1,
        Refusal::Metadata(MetadataRefusal::Sequence { expected: 2, found: 1 }),
    ),
    ("a fork of the history", |draft| draft.metadata.previous.0[31] ^= 1, Refusal::Metadata(MetadataRefusal::Previous)),
    ("a policy not in force", |draft| draft.metadata.policy.0[5] ^= 1, Refusal::Metadata(MetadataRefusal::Policy)),
    (
        "an activation in the middle",
        |draft| {
            draft.document.class = "credential.activate".into();
            draft.metadata.class = draft.document.class.clone();
        },
        Refusal::Metadata(MetadataRefusal::Class),
    ),
    (
        "another log",
        |draft| draft.metadata.origin = "log.example/two".into(),
        Refusal::Credential(CredentialRefusal::Origin),
    ),
    ("another provider", |draft| draft.metadata.provider.0[0] ^= 1, Refusal::Credential(CredentialRefusal::Provider)),
    ("another credential", |draft| draft.metadata.credential.0[0] ^= 1, Refusal::Credential(CredentialRefusal::Other)),
    (
        "a class that is not the instruction's",
        |draft| draft.metadata.class = "document.sign".into(),
        Refusal::Parse(ParseRefusal::OtherInstruction),
    ),
    ("a size that no tree has", |draft| draft.metadata.seen_size = 1 << 63, Refusal::Parse(ParseRefusal::SeenSize)),
    (
        "evidence of an unknown kind",
        |draft| {
            draft.evidence.push(Evidence {
                kind: "retina".into(),
                participant: Hash([1; 32]),
                authenticator: Hash([2; 32]),
                blob: vec![3],
            });
        },
        Refusal::Evidence(EvidenceRefusal::UnknownKind { item: 0 }),
    ),
    ("another device", |draft| draft.person.device = secret("thief"), Refusal::Device(scal3::ecdsa::BadSignature)),
    ("another joint key", |draft| draft.person.joint = secret("guess"), Refusal::Joint(JointRefusal::Mismatch)),
];

/// The time of the next entry in `log_of`.
const T: u64 = log::START_MS + 1000;

#[test]
fn r3_07_each_fault_is_named_by_the_check_that_finds_it() {
    for profile in PROFILES {
        let person = Person::new("ann", profile);
        let log = log_of(&person);
        for (name, fault, refusal) in SIGNED_FAULTS {
            let mut draft = log.draft(&person);
            fault(&mut draft);
            let state = log.state(&person);
            let answer =
                verify::verify(&draft.opening(), ORIGIN, &log.place(&draft), state, log.fold.policy(), |seen| {
                    log.seen(seen)
                });
            assert_eq!(answer, Err(*refusal), "{name}, {profile:?}");

            // The same in stages, as server and monitor go.
            let staged = Submitted::parse(&draft.opening())
                .and_then(|submitted| submitted.check(&person.credential(), ORIGIN))
                .and_then(|signed| {
                    let seen = log.seen(signed.seen());
                    signed.authorize(&log.place(&draft), state, log.fold.policy(), seen.as_ref())
                });
            assert_eq!(staged, Err(*refusal), "{name}, {profile:?}, in stages");
        }
    }
}

#[test]
fn clocks_may_differ_by_exactly_300_seconds_and_a_record_may_be_used_until_it_expires() {
    let person = Person::new("ann", Profile::EcSdsa);
    let log = log_of(&person);
    let slow = |draft: &mut Draft| draft.metadata.time_ms -= 300_000;
    let fast = |draft: &mut Draft| draft.metadata.time_ms += 300_000;
    let last = |draft: &mut Draft| draft.metadata.expires_ms = T;
    for change in [slow, fast, last] {
        let mut draft = log.draft(&person);
        change(&mut draft);
        assert!(log.judge(&draft).is_ok());
    }
}

#[test]
fn an_entry_is_found_under_the_index_key_that_was_signed() {
    let person = Person::new("ann", Profile::EcSdsa);
    let log = log_of(&person);
    let draft = log.draft(&person);
    let mut place = log.place(&draft);
    place.index_key.0[0] ^= 1;
    let refusal = Refusal::Metadata(MetadataRefusal::IndexKey);
    assert_eq!(log.judge_at(&draft, &place), Err(refusal));
    let signed =
        Submitted::parse(&draft.opening()).and_then(|submitted| submitted.check(&person.credential(), ORIGIN)).unwrap();
    assert_eq!(signed.check_alone(&place, &person.credential(), 1), Err(refusal));
}

#[test]
fn a_required_field_that_is_neither_shown_nor_hidden_is_missed() {
    let person = Person::new("ann", Profile::EcSdsa);
    let log = log_of(&person);
    let mut draft = log.draft(&person);
    draft.document.fields.retain(|field| field.name == "amount");
    assert_eq!(log.judge(&draft), Err(Refusal::Parse(ParseRefusal::Shown(InstructionError::Requires("currency")))));
    let bytes = draft.document.to_bytes();
    assert_eq!(Document::of(&draft.document.id(), &bytes), Err(InstructionError::Requires("currency")));
    let whole = log.draft(&person).document;
    assert_eq!(Document::of(&whole.id(), &whole.to_bytes()), Ok(whole.clone()));
    assert_eq!(Document::of(&Hash([1; 32]), &whole.to_bytes()), Err(InstructionError::Other));
}

/// What a receipt can show, refused without any state: by `check_alone`, and for the same reason by `authorize`.
#[test]
fn a_receipt_is_judged_by_the_rules_that_need_no_state() {
    let person = Person::new("ann", Profile::EcSdsa);
    let mut log = Log::new();
    log.issue(&person);
    let first = log.draft(&person);
    let checked = |log: &Log, draft: &Draft, place: &Place| {
        let submitted = Submitted::parse(&draft.opening()).unwrap();
        let signed = submitted.check(&person.credential(), ORIGIN).unwrap();
        let state = log.state(&person);
        let alone = signed.check_alone(place, state.credential(), state.issued_at());
        let seen = log.seen(signed.seen());
        let whole = signed.authorize(place, state, log.fold.policy(), seen.as_ref()).map(|_| ());
        assert_eq!(alone, whole);
        alone
    };
    assert_eq!(checked(&log, &first, &log.place(&first)), Ok(()));

    // As if the record stood where its credential was issued, or before.
    for index in [0, 1] {
        let place = Place { index, ..log.place(&first) };
        let refusal = CredentialRefusal::NotIssued { issued_at: 1, index };
        assert_eq!(checked(&log, &first, &place), Err(refusal.into()));
    }
    for (time_ms, refusal) in [
        (person.claims.not_before_ms - 1, CredentialRefusal::NotYetValid),
        (person.claims.not_after_ms + 1, CredentialRefusal::Expired),
    ] {
        let place = Place { time_ms, ..log.place(&first) };
        assert_eq!(checked(&log, &first, &place), Err(refusal.into()));
    }
    let mut fork = first.clone();
    fork.metadata.previous.0[0] ^= 1;
    assert_eq!(checked(&log, &fork, &log.place(&fork)), Err(MetadataRefusal::Previous.into()));
    let mut class = first.clone();
    class.document.class = "document.sign".into();
    class.metadata.class = class.document.class.clone();
    assert_eq!(checked(&log, &class, &log.place(&class)), Err(MetadataRefusal::Class.into()));

    // A later record too has seen the credential: a device that always names the empty tree compares nothing.
    log.activate(&person);
    let mut blind = log.draft(&person);
    (blind.metadata.seen_size, blind.metadata.seen_root) = (0, TreeHead::EMPTY.root);
    let refusal = MetadataRefusal::SeenBeforeIssue { seen_size: 0, issued_at: 1 };
    assert_eq!(checked(&log, &blind, &log.place(&blind)), Err(refusal.into()));
}

#[test]
fn a_head_without_proof_is_not_on_history() {
    let person = Person::new("ann", Profile::EcSdsa);
    let log = log_of(&person);
    let draft = log.draft(&person);
    let signed =
        Submitted::parse(&draft.opening()).and_then(|submitted| submitted.check(&person.credential(), ORIGIN)).unwrap();
    let (place, policy) = (log.place(&draft), log.fold.policy());
    let other = log.seen(&TreeHead::EMPTY).unwrap();
    for seen in [None, Some(&other)] {
        assert_eq!(
            signed.authorize(&place, log.state(&person), policy, seen),
            Err(Refusal::Metadata(MetadataRefusal::SeenNotOnHistory))
        );
    }
    assert!(SeenOnHistory::by_root(signed.seen(), &Hash([0; 32])).is_err());
}

/// The nodes of a small tree, from its leaf hashes.
struct Leaves(Vec<Hash>);

impl Nodes for Leaves {
    type Error = ();

    fn node(&self, level: u8, index: u64) -> Result<Hash, ()> {
        let (level, width) = (level.into(), 1 << level);
        let start = usize::try_from(index).unwrap() * width;
        let mut row = self.0.get(start..start + width).ok_or(())?.to_vec();
        for _ in 0..level {
            row = row.chunks(2).map(|pair| Hash::node(&pair[0], &pair[1])).collect();
        }
        Ok(row[0])
    }
}

#[test]
fn a_proof_shows_the_head_seen_to_be_on_history() {
    let person = Person::new("ann", Profile::EcSdsa);
    let mut log = log_of(&person);
    let draft = log.draft(&person);
    let seen = log.fold.head();
    log.append(&log.draft(&person));
    log.append(&log.draft(&person));

    let trusted = log.fold.head();
    let leaves = log.entries.iter().map(|entry| LeafHash::of(entry).into()).collect();
    let proof = ConsistencyProof::make(&Leaves(leaves), seen.size, trusted.size).unwrap();
    let token = SeenOnHistory::by_proof(&seen, &proof, &trusted).unwrap();
    assert_eq!(*token.head(), TreeHead { size: seen.size, root: draft.metadata.seen_root });

    let other = TreeHead { root: Hash([1; 32]), ..seen };
    assert!(SeenOnHistory::by_proof(&other, &proof, &trusted).is_err());
    let other = TreeHead { root: Hash([1; 32]), ..trusted };
    assert!(SeenOnHistory::by_proof(&seen, &proof, &other).is_err());
}

#[test]
fn the_first_record_activates_and_has_seen_its_credential() {
    let person = Person::new("ann", Profile::EcSdsa);
    let mut log = Log::new();
    log.issue(&person);
    let good = log.draft(&person);
    assert!(log.judge(&good).is_ok());

    let mut early = good.clone();
    early.metadata.seen_size = 1;
    early.metadata.seen_root = *log.fold.root_at(1).unwrap();
    assert_eq!(
        log.judge(&early),
        Err(Refusal::Metadata(MetadataRefusal::SeenBeforeIssue { seen_size: 1, issued_at: 1 }))
    );

    let mut class = good.clone();
    class.document.class = "document.sign".into();
    class.metadata.class = class.document.class.clone();
    assert_eq!(log.judge(&class), Err(Refusal::Metadata(MetadataRefusal::Class)));

    // Between the first record and the status that follows it nothing else fits.
    log.append(&good);
    let second = log.draft(&person);
    assert_eq!(second.metadata.sequence, 1);
    assert_eq!(log.judge(&second), Err(Refusal::Metadata(MetadataRefusal::NotActive)));
    log.status(&person, Change::Activated(2));
    let second = log.draft(&person);
    assert!(log.judge(&second).is_ok());
}

#[test]
fn a_credential_acts_only_while_it_may() {
    let person = Person::new("ann", Profile::EcSdsa);
    let mut log = log_of(&person);
    let refusal = |log: &Log| log.judge(&log.draft(&person)).unwrap_err();

    log.status(&person, Change::Suspended("lost".into()));
    assert_eq!(refusal(&log), Refusal::Credential(CredentialRefusal::Suspended));
    log.status(&person, Change::Resumed("found".into()));
    assert!(log.judge(&log.draft(&person)).is_ok());

    let now = log.time_ms;
    log.time_ms = person.claims.not_after_ms + 1;
    assert_eq!(refusal(&log), Refusal::Credential(CredentialRefusal::Expired));
    log.time_ms = person.claims.not_before_ms - 1;
    assert_eq!(refusal(&log), Refusal::Credential(CredentialRefusal::NotYetValid));
    log.time_ms = now;

    log.status(&person, Change::Revoked("stolen".into()));
    assert_eq!(refusal(&log), Refusal::Credential(CredentialRefusal::Revoked));
}

#[test]
fn a_status_that_forbids_is_named_before_a_signature_that_fails() {
    let person = Person::new("ann", Profile::EcSdsa);
    let mut log = log_of(&person);
    log.status(&person, Change::Suspended("lost".into()));
    let mut draft = log.draft(&person);
    draft.spoil = |record| *record.last_mut().unwrap() ^= 1;
    let refusal = Refusal::Credential(CredentialRefusal::Suspended);
    assert_eq!(log.judge(&draft), Err(refusal));
}

#[test]
fn a_record_of_another_profile_is_refused_though_its_signatures_would_hold() {
    for profile in PROFILES {
        let person = Person::new("ann", profile);
        let log = log_of(&person);
        let mut draft = log.draft(&person);
        draft.profile = if profile == Profile::EcSdsa { PROFILES[1] } else { PROFILES[0] };
        assert_eq!(log.judge(&draft), Err(Refusal::Credential(CredentialRefusal::Profile)));
    }
}

/// Alterations by somebody without any key, by the offset from the end of a record of profile 1.
#[test]
fn r0_g4_one_bit_of_a_record_breaks_the_signature_over_it() {
    let person = Person::new("ann", Profile::EcSdsa);
    let log = log_of(&person);
    let checks: [(&str, Spoil, &str); 6] = [
        ("binding_sig", |record| flip(record, 1), "binding"),
        ("device_sig", |record| flip(record, 65), "binding"),
        ("checksum", |record| flip(record, 129), "device"),
        ("z", |record| flip(record, 161), "joint"),
        ("c", |record| flip(record, 193), "device"),
        ("binding_vk", |record| record[0] ^= 1, "binding"),
    ];
    for (name, spoil, check) in checks {
        let mut draft = log.draft(&person);
        draft.spoil = spoil;
        assert_eq!(log.judge(&draft).unwrap_err().check(), check, "{name}");
    }
    fn flip(record: &mut [u8], from_end: usize) {
        let at = record.len() - from_end;
        record[at] ^= 1;
    }
}

#[test]
fn a_malleated_binding_signature_is_the_same_authorisation() {
    for profile in PROFILES {
        let person = Person::new("ann", profile);
        let log = log_of(&person);
        let honest = log.draft(&person);
        let mut altered = honest.clone();
        altered.spoil = match profile {
            Profile::EcSdsa | Profile::Passkey => |record| {
                let at = record.len() - 64;
                flip_s(&mut record[at..]);
            },
            Profile::Transcript => |record| flip_s(&mut record[145..209]),
        };
        assert_ne!(altered.record(), honest.record());
        let [honest, altered] = [honest, altered].map(|draft| log.judge(&draft).unwrap());
        assert_ne!(honest.commitment(), altered.commitment());
        assert_eq!(honest.authorisation_key(), altered.authorisation_key());
        assert_eq!(honest.next_previous(), altered.next_previous());
    }
}

#[test]
fn a_second_spelling_of_a_point_or_a_number_is_refused() {
    let person = Person::new("ann", Profile::EcSdsa);
    let log = log_of(&person);
    let spoils: [Spoil; 5] = [
        |record| record[0] = 5,
        |record| record[0] = 4,
        |record| record[..33].fill(0),
        // z, then r of the device signature, as large as 32 bytes can be.
        |record| {
            let at = record.len() - 192;
            record[at..at + 32].fill(0xff);
        },
        |record| {
            let at = record.len() - 128;
            record[at..at + 32].fill(0xff);
        },
    ];
    for spoil in spoils {
        let mut draft = log.draft(&person);
        draft.spoil = spoil;
        let refusal = log.judge(&draft).unwrap_err();
        assert!(matches!(refusal, Refusal::Parse(ParseRefusal::Record(_))), "{refusal}");
    }
    let bytes = log.draft(&person).record();
    for len in 0..321 {
        assert!(Record::parse(Profile::EcSdsa, &bytes[..len]).is_err());
        assert!(Record::parse(Profile::Transcript, &bytes[..len]).is_err());
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(Record::parse(Profile::EcSdsa, &longer).is_err());
}

#[test]
fn a_commitment_that_is_the_identity_is_refused() {
    let key = Point::from_bytes(&public(&secret("joint"))).unwrap();
    let zero = Scalar::from_bytes(&[0; 32]).unwrap();
    assert_eq!(commitment(&key, &[0; 32], &zero), None);
    // c·s = z: anybody who knows the secret reaches the identity with c and z other than zero.
    let z = Scalar::from_bytes(&secret("joint").to_bytes().into()).unwrap();
    let mut one = [0; 32];
    one[31] = 1;
    assert_eq!(commitment(&key, &one, &z), None);
    for challenge in [Challenge::EcSdsa, Challenge::Rfc9591] {
        let failed = challenge.verify(&key, &[b"m"], &one, &z).unwrap_err();
        assert_eq!(failed.to_string(), "joint (identity)");
    }
}

#[test]
fn a_textbook_challenge_need_not_be_below_the_order_and_is_compared_as_bytes() {
    // R = zG − (n+1)·PK is R = zG − 1·PK, but n+1 and 1 are different strings.
    let key = Point::from_bytes(&public(&secret("joint"))).unwrap();
    let z = Scalar::from_bytes(&[7; 32]).unwrap();
    let mut one = [0; 32];
    one[31] = 1;
    let mut above: [u8; 32] =
        hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632552").unwrap().try_into().unwrap();
    assert_eq!(commitment(&key, &above, &z), commitment(&key, &one, &z));
    assert_eq!(Challenge::EcSdsa.check(&above), Ok(()));
    above[31] -= 1;
    assert!(Challenge::Rfc9591.check(&above).is_err());
}

/// EC-SDSA leaves the key out of the hash. A signature under PK = sG is turned by anybody into one
/// under PK + tG. The credential in the signed message is what this fails on.
#[test]
fn a_signature_shifted_to_a_related_joint_key_is_refused() {
    let ann = Person::new("ann", Profile::EcSdsa);
    let log = log_of(&ann);
    let draft = log.draft(&ann);
    let record = Record::parse(Profile::EcSdsa, &draft.record()).unwrap();
    let message = scal3::record::joint_message(
        Profile::EcSdsa,
        record.binding_key().as_bytes(),
        record.metadata_bytes(),
        record.instruction_id(),
    );
    let shift = secret("shift");
    let related = public(&(ann.joint + shift));
    let c = scal3::point::Scalar::reduce(record.c()).to_bytes();
    let shifted = number(&record.z().to_bytes()) + number(&c) * shift;
    let shifted = Scalar::from_bytes(&shifted.to_bytes().into()).unwrap();

    // Bare, the shift works: the same c and message under a key that Ann never had.
    let related_point = Point::from_bytes(&related).unwrap();
    let bare = Challenge::EcSdsa.verify(&related_point, &[&message], record.c(), &shifted);
    assert_eq!(bare, Ok(()));
    // Against a challenge that hashes the key it does not.
    let (c, z) = schnorr(Profile::Transcript, &ann.joint, &message);
    let z = number(&z) + number(&c) * shift;
    let z = Scalar::from_bytes(&z.to_bytes().into()).unwrap();
    assert!(Challenge::Rfc9591.verify(&related_point, &[&message], &c, &z).is_err());

    // A provider issues a credential over the related key and Ann's device, and presents the
    // shifted record under it: the message names Ann's credential.
    let mut eve = ann.clone();
    eve.claims.joint_key = related;
    assert_ne!(eve.id(), ann.id());
    let moved = |metadata: &scal3::Metadata| {
        let record = scal3::record::Parts {
            binding_key: record.binding_key().as_bytes(),
            metadata: &metadata.to_bytes(),
            instruction_id: record.instruction_id(),
            c: record.c(),
            z: &shifted.to_bytes(),
            check: *record.check(),
            device_sig: record.device_sig().as_bytes(),
            binding_sig: record.binding_sig().as_bytes(),
        };
        let opening = scal3::Opening {
            profile: Profile::EcSdsa,
            record: record.to_bytes(),
            evidence: Vec::new(),
            shown: draft.document.show(|_| true),
        };
        Submitted::parse(&opening.to_bytes()).and_then(|submitted| submitted.check(&eve.credential(), ORIGIN))
    };
    let named = moved(&draft.metadata).unwrap_err();
    assert_eq!(named, Refusal::Credential(CredentialRefusal::Other));
    // Naming the new credential instead changes the message.
    let renamed = scal3::Metadata { credential: eve.id(), ..draft.metadata.clone() };
    assert_eq!(moved(&renamed).unwrap_err(), Refusal::Joint(JointRefusal::Mismatch));
}

fn number(bytes: &[u8; 32]) -> p256::Scalar {
    use p256::elliptic_curve::PrimeField;
    p256::Scalar::from_repr((*bytes).into()).unwrap()
}

/// Gives the first verdict only.
struct Lazy;

impl VerifyBatch for Lazy {
    fn verify_batch(&self, jobs: &[Job]) -> Vec<Verdict> {
        jobs.iter().take(1).map(Job::verify).collect()
    }
}

#[test]
fn a_batch_gives_the_verdicts_of_single_records_in_their_order() {
    let person = Person::new("ann", Profile::EcSdsa);
    let log = log_of(&person);
    let good = log.draft(&person);
    let spoils: [Spoil; 5] = [
        |_| (),
        |record| *record.last_mut().unwrap() ^= 1,
        |record| {
            let at = record.len() - 129;
            record[at] ^= 1;
        },
        |_| (),
        |record| {
            let at = record.len() - 161;
            record[at] ^= 1;
        },
    ];
    let expected = ["ok", "binding", "device", "ok", "joint"];
    let bound = || {
        spoils
            .iter()
            .map(|spoil| {
                let draft = Draft { spoil: *spoil, ..good.clone() };
                let submitted = Submitted::parse(&draft.opening()).unwrap();
                submitted.bind(&person.credential(), ORIGIN).unwrap()
            })
            .collect::<Vec<_>>()
    };
    for answers in [verify::check_batch(&Plain, bound()), verify::check_batch(&Lazy, bound())] {
        let found = answers.iter().map(|answer| answer.as_ref().map_or_else(Refusal::check, |_| "ok"));
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_stored_state_comes_back_byte_for_byte() {
    let person = Person::new("ann", Profile::EcSdsa);
    let mut log = Log::new();
    let mut states = Vec::new();
    log.issue(&person);
    states.push(log.state(&person).clone());
    log.activate(&person);
    states.push(log.state(&person).clone());
    let mut written_about = log.state(&person).clone();
    written_about.provider_entry(&written_about.provider_place(), &Hash([7; 32])).unwrap();
    written_about.attempt(Attempt::Started, &Hash([8; 32])).unwrap();
    states.push(written_about);
    log.status(&person, Change::Suspended("lost".into()));
    states.push(log.state(&person).clone());
    log.status(&person, Change::Revoked("stolen".into()));
    states.push(log.state(&person).clone());
    for state in states {
        let bytes = state.to_bytes();
        assert_eq!(CredentialState::from_own_store(&bytes).as_ref(), Ok(&state));
        // The array, the version, and the last item: a hash or null.
        let last = if state.attempts().open.is_some() { 34 } else { 1 };
        for at in [0, 1, bytes.len() - last] {
            let mut altered = bytes.clone();
            altered[at] ^= 0x40;
            assert!(CredentialState::from_own_store(&altered).is_err());
        }
        assert!(CredentialState::from_own_store(&[&bytes[..], &[0]].concat()).is_err());
        let (credential, changing) = (state.credential().clone().into(), state.changing_to_bytes());
        assert!(changing.len() < bytes.len() / 2, "most of a state stays");
        assert_eq!(CredentialState::from_own_parts(credential, &changing).as_ref(), Ok(&state));
        let other = state.credential().clone().into();
        assert!(CredentialState::from_own_parts(other, &bytes).is_err(), "a whole state is no part of one");
    }
}
