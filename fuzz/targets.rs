//! What the fuzzers run: one function for every parser that reads bytes of somebody else.
//!
//! Nothing here knows a fuzzer. The binaries in `bins/` hand the same functions to libFuzzer, and an ordinary test of the
//! project replays the kept seeds through them.
//!
//! A target asserts more than that nothing panics: what has a writer is written back byte for byte, and what was
//! not signed is not believed. Where only somebody with keys gets further, the target has the keys: a dishonest dealer
//! seals properly, a dishonest device signs properly. All keys here are constants and worth nothing.

#![forbid(unsafe_code)]

use client::base64::Bytes;
use client::receipt::Receipt;
use client::verify::{Verdict, verify};
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use scal3::cbor::Value;
use scal3::erasure::Erasure;
use scal3::event::Event;
use scal3::key_change::KeyChange;
use scal3::outcome::Outcome;
use scal3::record::Record;
use scal3::state::CredentialState;
use scal3::verify::{Place, Submitted};
use scal3::{AnyOpening, Claims, Credential, Document, Entry, Genesis, Hash, IssuingKey, Metadata};
use scal3::{Opening, OtherOpening, Presented, StatusChange, cbor, cose, opening, transcript};
use threshold::{Commitment, Enrolment, Fault, Idle, NonceSeed};
use threshold::{Operation, Pass, Profile, Profile1, Profile2, Profile3, ProviderShare, Session, Shares};
use tlog::checkpoint::{Checkpoint, Origin};
use tlog::cosignature::{self, Cosigner, Seconds};
use tlog::key::{KeyId, KeyName, Signer, Vkey};
use tlog::note::{Note, SignatureLine};
use tlog::policy::Policy;
use tlog::proof_file::ProofFile;
use tlog::sign_subtree::SignSubtree;
use tlog::tile::{Path, needed};
use tlog::witness::{self, AddCheckpoint, Answer, Known};
use tlog::{ConsistencyProof, LeafHash, TreeHead, TreeSize, bundle, log_list};

mod accusations;
mod evidence;
mod verdicts;
mod world;

pub use world::made;
use world::*;

/// A name, and what is done with the bytes.
pub type Target = (&'static str, fn(&[u8]));

/// Every target by its name, which is that of its binary and of its folder of seeds.
pub const TARGETS: &[Target] = &[
    ("submitted", submitted),
    ("record", record),
    ("metadata", metadata),
    ("instruction", instruction_document),
    ("credential", credential),
    ("claims", claims),
    ("entry", entry),
    ("bodies", bodies),
    ("state", state),
    ("cose", cose_message),
    ("authenticator", evidence::authenticator),
    ("assertion", evidence::assertion),
    ("evidence", evidence::evidence),
    ("rules", evidence::rules),
    ("delegation", evidence::delegation),
    ("pass", pass),
    ("share", share),
    ("commitment", commitment),
    ("completed", completed),
    ("verdicts", verdicts::verdicts),
    ("note", note),
    ("policy", policy),
    ("proof_file", proof_file),
    ("path", path),
    ("bundle", bundle_of_entries),
    ("add_checkpoint", add_checkpoint),
    ("vkey", vkey),
    ("receipt", receipt),
    ("accusation", accusations::accusation),
];

/// Runs one target.
///
/// # Panics
/// When the target found something, or there is none of that name.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(target, _)| *target == name);
    target.expect("a target").1(data);
}

/// Reads, and writes back: what a parser takes has one spelling.
fn reads_back<'a, T, E>(
    data: &'a [u8],
    parse: impl Fn(&'a [u8]) -> Result<T, E>,
    write: impl Fn(&T) -> Vec<u8>,
) -> Option<T> {
    let read = parse(data).ok()?;
    assert_eq!(write(&read), data, "what was read is written back");
    Some(read)
}

/// The good bytes with pieces replaced: `at[1] length[1] piece[length]`, as often as there are bytes.
fn patched(good: &[u8], mut patches: &[u8]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    while let Some(([at, len], rest)) = patches.split_first_chunk() {
        let (piece, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        // Passes are longer than 256 bytes, and every byte can be reached.
        let at = usize::from(*at) * good.len() / 256;
        bytes.iter_mut().skip(at).zip(piece).for_each(|(to, from)| *to = *from);
        patches = rest;
    }
    bytes
}

// ---- scal3 -----------------------------------------------------------------------------------------------------------

fn submitted(data: &[u8]) {
    let any = reads_back(data, AnyOpening::parse, |read| match read {
        AnyOpening::Instruction(opening) => opening.to_bytes(),
        AnyOpening::Other(opening) => opening.to_bytes(),
    });
    assert_eq!(Opening::parse(data).is_ok(), matches!(any, Some(AnyOpening::Instruction(_))));
    assert_eq!(OtherOpening::parse(data).is_ok(), matches!(any, Some(AnyOpening::Other(_))));
    if let Some(AnyOpening::Other(other)) = any {
        assert_eq!(other.commitment(), opening::commitment(data));
        any_body(other.body);
        return;
    }
    let Ok(submitted) = Submitted::parse(data) else { return };
    assert_eq!(*submitted.commitment(), opening::commitment(data));
    let class = submitted.metadata().class.clone();
    assert_eq!(submitted.shown().id(&class), Ok(*submitted.record().instruction_id()));
    let ours = submitted.record().to_bytes() == ONE.record;
    assert!(submitted.check(&ONE.credential, ORIGIN).is_err() || ours, "nobody else can sign");
}

/// The bodies that have no parser of bytes of their own.
fn any_body(body: Value) {
    let back = [
        StatusChange::from_body(body.clone()).map(|read| read.to_body()),
        Event::from_body(body.clone()).map(|read| read.to_body()),
        Outcome::from_body(body.clone()).map(|read| read.to_body()),
        Erasure::from_body(body.clone()).map(|read| read.to_body()),
    ];
    back.into_iter().flatten().for_each(|back| assert_eq!(back, body));
}

fn record(data: &[u8]) {
    let Some((profile, data)) = data.split_first() else { return };
    let profile = scal3::Profile::new(u64::from(profile % 3) + 1).expect("1 to 3");
    let keys = (&ONE.keys.joint, &ONE.keys.device);
    let textbook = transcript::verify_textbook(keys.0, keys.1, data).is_ok();
    assert!(!textbook || data == ONE.record, "nobody else can sign");
    let Some(read) = reads_back(data, |bytes| Record::parse(profile, bytes), Record::to_bytes) else { return };
    assert_eq!(read.metadata().to_bytes(), read.metadata_bytes());
    assert_eq!(read.profile(), profile);
}

fn metadata(data: &[u8]) {
    let Some(read) = reads_back(data, Metadata::parse, Metadata::to_bytes) else { return };
    assert!(Operation::<Profile1>::new(data, &Hash([0; 32])).is_ok());
    assert!(Operation::<Profile2>::new(data, &read.credential).is_ok());
}

fn instruction_document(data: &[u8]) {
    if let Some(read) = reads_back(data, Document::parse, Document::to_bytes) {
        assert_eq!(read.check(), Ok(()));
        assert_eq!(Document::of(&read.id(), data).as_ref(), Ok(&read));
        for shown in [false, true] {
            let presented = Presented::of(&read, |_| shown);
            assert_eq!(Presented::parse(&presented.to_bytes()).as_ref(), Ok(&presented));
            assert_eq!(presented.id(), Ok(read.id()), "hiding a field changes nothing about the id");
        }
    }
    if let Some(read) = reads_back(data, Presented::parse, Presented::to_bytes) {
        let id = read.id();
        if let Some(whole) = read.shown.clone().into_document(&read.class)
            && whole.check().is_ok()
        {
            assert_eq!(id, Ok(whole.id()));
        }
    }
}

fn credential(data: &[u8]) {
    let own = Credential::from_own_store(data);
    let _ = Credential::claimed_provider(data);
    for key in &*ISSUERS {
        let Ok(read) = Credential::open(data, key) else { continue };
        assert_eq!(read.as_bytes(), data);
        assert_eq!(read.claims().provider, key.provider());
        assert_eq!(own.as_ref().map(Credential::id), Ok(read.id()));
        assert_eq!(read.id(), read.claims().id());
        let claims = read.claims().to_bytes();
        assert!(data.windows(claims.len()).any(|part| part == claims));
    }
}

fn claims(data: &[u8]) {
    let Some(read) = reads_back(data, Claims::parse, Claims::to_bytes) else { return };
    let signature: Signature = SigningKey::from_slice(&ISSUING).expect("a scalar").sign(&read.to_be_signed());
    let credential = read.with_signature(&signature.to_bytes().into());
    match Credential::open(&credential, &ISSUERS[0]) {
        Ok(credential) => assert_eq!(credential.claims(), &read),
        Err(_) => assert!(
            Credential::from_own_store(&credential).is_err() || read.provider != ISSUERS[0].provider(),
            "the provider signed it"
        ),
    }
}

fn entry(data: &[u8]) {
    let Some(read) = reads_back(data, Entry::parse, Entry::to_bytes) else { return };
    assert_eq!(read.check(), Ok(()));
    assert_eq!(read.leaf_hash(), LeafHash::of(data));
    let _ = Place::of(&read, 1);
    let _ = scal3::fold::Fold::start(data).map(|mut fold| fold.apply(data, None));
}

fn bodies(data: &[u8]) {
    reads_back(data, Genesis::parse, Genesis::to_bytes);
    reads_back(data, KeyChange::parse, KeyChange::to_bytes);
    reads_back(data, StatusChange::parse, StatusChange::to_bytes);
    let Ok(body) = cbor::decode(data, 1 << 16) else { return };
    assert_eq!(cbor::check_deterministic(data), Ok(()));
    assert_eq!(cbor::split_first(data), Ok((data, &[][..])));
    any_body(body);
}

fn state(data: &[u8]) {
    let Some(state) = reads_back(data, CredentialState::from_own_store, CredentialState::to_bytes) else { return };
    let id = state.credential().id();
    let _ = (
        state.status(),
        state.next_status_key(),
        state.provider_place(),
        state.has_room_for(&id, 1),
        state.speaks_for(&id, 1),
    );
    // The record of a stranger is none of this credential's, whatever its state.
    let place = place(&ONE.metadata);
    let result = scal3::verify::verify(&ONE.opening, ORIGIN, &place, &state, &POLICY, |head| ONE.seen(head));
    assert!(result.is_err() || id == ONE.credential.id());
}

fn cose_message(data: &[u8]) {
    let key = SigningKey::from_slice(&ISSUING).expect("a scalar");
    let es256 = cose::Key::Es256(scal3::point::Point::from_bytes(&public(&key)).expect("a point"));
    let payload = cose::verify_sign1(data, b"", &es256);
    assert!(cose::verify_sign1(data, b"other", &es256).is_err());
    assert!(cose::verify_sign1(data, b"", &cose::Key::EdDsa([7; 32])).is_err());
    let read = Credential::open(data, &ISSUERS[0]);
    if let Ok(read) = read {
        assert_eq!(payload, Ok(read.claims().to_bytes()));
    }
}

// ---- threshold -------------------------------------------------------------------------------------------------------

/// The first byte says which profile and how honest: bytes, a good pass with pieces replaced, or a device that seals
/// and signs what it likes.
fn pass(data: &[u8]) {
    let Some((mode, data)) = data.split_first() else { return };
    reads_back(data, Pass::<Profile3>::parse, Pass::to_bytes);
    if mode % 2 == 0 { pass_of(&ONE, mode / 2, data) } else { pass_of(&TWO, mode / 2, data) }
}

fn pass_of<P: Profile>(world: &World<P>, mode: u8, data: &[u8]) {
    let bytes = match mode % 3 {
        0 => data.to_vec(),
        1 => patched(&world.pass, data),
        _ => world.pass_of_share(&patched(&world.second, data).try_into().expect("32 bytes")),
    };
    let Some(pass) = reads_back(&bytes, Pass::<P>::parse, Pass::to_bytes) else { return };
    let Ok(checked) = pass.check(&world.keys, &world.session, &world.operation()) else {
        assert_ne!(mode % 3, 2, "the device signed");
        return;
    };
    let agreed = world.kem.agree(checked.encapsulated()).expect("a pass has points");
    match checked.complete(NonceSeed::from_bytes(SEED).take(), &world.share, &agreed) {
        Ok(record) => assert!(world.verifies(record.as_bytes()), "what is completed verifies"),
        Err(error) => assert_ne!(error.fault(), Fault::Provider, "a subscriber cannot put it on the provider: {error}"),
    }
}

/// The first byte: profile, whether the dealer seals what it likes, and whether it brings the joint key that its share
/// is of.
fn share(data: &[u8]) {
    let Some((mode, data)) = data.split_first() else { return };
    if mode % 2 == 0 { share_of(&ONE, mode / 2, data) } else { share_of(&TWO, mode / 2, data) }
}

fn share_of<P: Profile>(world: &World<P>, mode: u8, data: &[u8]) {
    let dealt = patched(&world.dealt, data);
    let plain = &dealt[32..];
    let (shares, joint_key) = match mode % 3 {
        0 => (data.get(33..).and_then(Shares::parse), data.first_chunk().copied().unwrap_or(world.keys.joint)),
        1 => (world.shares(&dealt, &world.keys.joint), world.keys.joint),
        _ => (
            world.shares(&dealt, plain[70..103].try_into().expect("33 bytes")),
            *plain[70..].first_chunk().expect("33"),
        ),
    };
    let Some(shares) = shares else { return };
    assert_eq!(Shares::parse(&shares.to_bytes()).as_ref(), Some(&shares));
    let Ok(agreed) = world.kem.agree(shares.encapsulated()) else { return };
    let enrolment = Enrolment::<P>::from_parts(joint_key, shares, world.recipient.id());
    if ProviderShare::open(&world.enrolling(), &enrolment, &world.recipient, &agreed).is_ok() && !mode.is_multiple_of(3)
    {
        // The share is on the line through the joint key and the slope, as another library reckons.
        let point = |bytes: &[u8]| p256::PublicKey::from_sec1_bytes(bytes).expect("a point").to_projective();
        let held = p256::SecretKey::from_slice(&plain[37..69]).expect("a scalar").public_key().to_projective();
        assert_eq!(held, point(&joint_key) + point(&plain[103..136]));
    }
}

/// A provider that opens a session with any commitment: the device answers, or has a reason not to.
fn commitment(data: &[u8]) {
    let Some((profile, data)) = data.split_first() else { return };
    let Ok(bytes) = data.try_into() else { return };
    let Ok(commitment) = Commitment::parse(bytes) else { return };
    assert_eq!(commitment.as_bytes(), data);
    if profile % 2 == 0 { answer(&ONE, &commitment) } else { answer(&TWO, &commitment) }
}

fn answer<P: Profile>(world: &World<P>, commitment: &Commitment) {
    let session = Session::new(&world.credential.id(), &RANDOM, commitment);
    let metadata = Metadata { challenge: *session.challenge(), ..world.metadata.clone() };
    let operation = Operation::<P>::new(&metadata.to_bytes(), &world.document.id()).expect("metadata");
    let mut rng = Draws(7);
    let device = Idle::unlock(&world.enrolment, &mask()).expect("an enrolment").commit(&mut rng);
    let Ok(to_sign) = device.prepare(&session, &operation, &world.recipient, &mut rng) else { return };
    let pass = to_sign.finish(&sign(&DEVICE, b"anything")).expect("a signature").to_bytes();
    assert!(Pass::<P>::parse(&pass).is_ok());
}

/// A record with pieces replaced is not believed, and the good one is.
fn completed(data: &[u8]) {
    let Some((profile, data)) = data.split_first() else { return };
    if profile % 2 == 0 { completed_of(&ONE, data) } else { completed_of(&TWO, data) }
}

fn completed_of<P: Profile>(world: &World<P>, data: &[u8]) {
    let bytes = patched(&world.record, data);
    assert_eq!(world.verifies(&bytes), bytes == world.record, "only what was signed verifies");
}

// ---- tlog ------------------------------------------------------------------------------------------------------------

fn note(data: &[u8]) {
    let signer = signer();
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(signed) = Note::sign(text, &signer)
    {
        assert_eq!(Note::parse(&signed.to_bytes()).as_ref(), Ok(&signed));
        assert!(signed.open(&[signer.vkey().clone()]).is_ok_and(|opened| opened.is_by(signer.vkey())));
        let _ = TRUST.verify(&signed);
        let cosigned = signed.with_signature(cosigner().cosign(text, Seconds::new(1).expect("early")));
        let believed = cosigned.is_ok_and(|note| WITNESSED.verify(&note).is_ok());
        assert!(!believed || Checkpoint::parse_text(text).is_ok());
    }
    let Some(read) = reads_back(data, Note::parse, Note::to_bytes) else { return };
    let keys = [signer.vkey().clone(), cosigner().vkey().clone()];
    let _ = (read.open(&keys).map(|opened| opened.keys().len()), TRUST.verify(&read), WITNESSED.verify(&read));
    reads_back(read.text().as_bytes(), |text| Checkpoint::parse_text(str(text)), |head| head.to_text().into_bytes());
    for line in read.signatures() {
        let _ = cosignature::split(line.signature());
    }
}

fn str(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

fn policy(data: &[u8]) {
    let Ok(policy) = Policy::parse(data) else { return };
    assert!(policy.quorum_met(&|_| true), "a quorum can be met");
    assert_eq!(policy.quorum_met(&|_| false), policy.quorum_is_none(), "and not by nobody");
    assert!(!(policy.quorums_overlap() && policy.quorum_is_none()));
    let keys = policy.logs().iter().map(|log| &log.vkey).chain(policy.witnesses().iter().map(|witness| &witness.vkey));
    keys.for_each(|key| assert_eq!(Vkey::parse(&key.to_string()).as_ref(), Ok(key)));
    let _ = policy.verify(&head_note(TreeHead::EMPTY));
}

fn proof_file(data: &[u8]) {
    let Some(read) = reads_back(data, ProofFile::parse, ProofFile::to_bytes) else { return };
    let _ = (read.verify(LeafHash::of(b"leaf"), &TRUST), read.verify(LeafHash([7; 32]), &WITNESSED));
}

fn path(data: &[u8]) {
    let Some(read) = reads_back(data, |path| Path::parse(str(path)), |path| path.path().into_bytes()) else { return };
    let full = read.full();
    assert!(full.is_none_or(|full| full.full().is_none() && Path::parse(&full.path()) == Ok(full)));
    let size =
        |range: std::ops::Range<usize>| data.get(range).map_or(0, |bytes| bytes.iter().map(|b| u64::from(*b)).sum());
    let (old, new) = (TreeSize::new(size(0..4)), TreeSize::new(size(0..9)));
    let paths = needed(old.expect("small"), new.expect("small"));
    paths.for_each(|path| assert_eq!(Path::parse(&path.path()), Ok(path)));
}

fn bundle_of_entries(data: &[u8]) {
    let Some(entries) = reads_back(data, bundle::parse, |entries: &Vec<&[u8]>| written(entries)) else { return };
    for width in 0..=entries.len() {
        let prefix = bundle::prefix(data, u16::try_from(width).expect("256 at most")).expect("as many");
        assert_eq!(prefix, written(&entries[..width]));
    }
    assert_eq!(bundle::prefix(data, u16::try_from(entries.len() + 1).expect("257 at most")), None);
}

fn written(entries: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    entries.iter().for_each(|entry| bundle::push(&mut bytes, entry).expect("it came from a bundle"));
    bytes
}

/// Bytes of a request, of a list of logs, and of a witness's answer; or, after a zero byte, a log that signs what it likes:
/// `old[1] new[1] root[32] hashes[32]..`.
fn add_checkpoint(data: &[u8]) {
    reads_back(data, SignSubtree::parse, SignSubtree::to_bytes);
    let _ = log_list::parse(data);
    let read = reads_back(data, AddCheckpoint::parse, AddCheckpoint::to_bytes);
    let signed = data.strip_prefix(&[0]).and_then(|data| data.split_first_chunk()).map(|([old, new], rest)| {
        let size = |size: &u8| TreeSize::new(u64::from(*size)).expect("small");
        let mut hashes = rest.as_chunks().0.iter().map(|hash| Hash(*hash));
        let head = TreeHead { size: size(new), root: hashes.next().unwrap_or(TreeHead::EMPTY.root) };
        let proof = ConsistencyProof { hashes: hashes.take(63).collect() };
        AddCheckpoint { old_size: size(old), proof, note: head_note(head) }
    });
    for request in read.into_iter().chain(signed) {
        let head = TreeHead { size: TreeSize::new(3).expect("small"), root: Hash([3; 32]) };
        for head in [TreeHead::EMPTY, head] {
            let origin = request.claimed_origin().expect("parsed");
            let known = Known { origin, keys: vec![signer().vkey().clone()], head };
            let Ok(cosign) = witness::decide(Some(&known), &request) else { continue };
            assert!(cosign.head().size > head.size || cosign.head() == head, "never smaller, never another");
        }
    }
    reads_back(data, witness::parse_signatures, |lines| witness::write_signatures(lines).into_bytes());
    reads_back(data, |size| witness::parse_size(size).ok_or(()), |size| witness::write_size(*size).into_bytes());
    let note = head_note(TreeHead::EMPTY);
    for status in [200, 409, 422] {
        let _ = Answer::parse(status, data);
    }
    let lines = witness::parse_signatures(data).unwrap_or_default();
    assert!(witness::cosignatures(&note, &lines, cosigner().vkey()).len() <= lines.len());
}

fn vkey(data: &[u8]) {
    let text = |read: &dyn ToString| read.to_string().into_bytes();
    reads_back(data, |key| Vkey::parse(str(key)), |key| text(key));
    reads_back(data, |line| SignatureLine::parse(str(line)), |line| text(line));
    reads_back(data, |name| KeyName::new(str(name)), |name| text(name));
    reads_back(data, |origin| Origin::new(str(origin)), |origin| text(origin));
    reads_back(data, |id| KeyId::from_hex(str(id)).ok_or(()), |id| text(id));
    reads_back(data, |hash| Hash::from_base64(str(hash)).ok_or(()), |hash| text(&hash.to_base64()));
    reads_back(data, |key| Signer::parse(str(key)), |key| key.to_secret_text().as_bytes().to_vec());
    reads_back(data, |key| Cosigner::parse(str(key)), |key| key.to_secret_text().as_bytes().to_vec());
    reads_back(data, IssuingKey::parse, |key| key.as_bytes().to_vec());
}

// ---- client ----------------------------------------------------------------------------------------------------------

/// A receipt as JSON; or, with another first byte than `{`, an opening in a log that signs what it likes.
fn receipt(data: &[u8]) {
    if data.first() == Some(&b'{') {
        let Ok(receipt) = serde_json::from_slice::<Receipt>(data) else { return };
        let back = serde_json::to_vec(&receipt).expect("JSON");
        assert_eq!(serde_json::from_slice::<Receipt>(&back).expect("JSON"), receipt);
        for trust in [&*TRUST, &*WITNESSED] {
            let believed = verify(&receipt, trust).verdict == Verdict::Authorised;
            assert!(!believed || receipt == *GOOD_RECEIPT, "nobody else can sign");
        }
        return;
    }
    let Some((part, data)) = data.split_first() else { return };
    let mut receipt = GOOD_RECEIPT.clone();
    let new = Some(Bytes(data.to_vec()));
    match part % 4 {
        0 => receipt.opening = new,
        1 => receipt.credential = new,
        2 => receipt.document = new,
        _ => receipt.genesis.as_mut().expect("it has one").entry = Bytes(data.to_vec()),
    }
    if part % 4 == 0 {
        let entry = Entry::parse(receipt.entry.as_ref()).expect("an entry");
        let entry = Entry::committed(entry.kind, entry.time_ms, opening::commitment(data), entry.index_key);
        receipt.entry = Bytes(entry.to_bytes());
        let head = TreeHead { size: TreeSize::new(1).expect("small"), root: entry.leaf_hash().into() };
        receipt.proof = proof_of(0, Vec::new(), head);
    }
    let report = verify(&receipt, &TRUST);
    assert!(report.verdict != Verdict::Authorised || part % 4 == 2 || receipt == *GOOD_RECEIPT);
    assert!(part % 4 != 2 || report.verdict != Verdict::Authorised || data == ONE.document.to_bytes());
}
