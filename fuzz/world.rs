//! What the targets know: constant keys, one enrolled person per profile, one answer, its record and its receipt.

use std::sync::LazyLock;

use client::base64::Bytes;
use client::receipt::{Included, Receipt, VERSION};
use client::verify::{Verdict, verify};
use hpke::aead::AesGcm128;
use hpke::kdf::HkdfSha256;
use hpke::kem::DhP256HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use p256::elliptic_curve::sec1::ToSec1Point as _;
use scal3::attempts::Attempt;
use scal3::erasure::Erasure;
use scal3::index_key::{self, LabelSecret, Stream};
use scal3::metadata::Ext;
use scal3::record::Check;
use scal3::seen::SeenOnHistory;
use scal3::state::CredentialState;
use scal3::verify::Place;
use scal3::{Change, Claims, Credential, Document, Entry, Field, Genesis, Hash, IssuingKey, Kind, Metadata};
use scal3::{Opening, OtherOpening, Presented, StatusChange, cbor, instruction, opening};
use threshold::{DeviceSecret, Enrolling, Enrolment, Idle, KemKey, KemPublicKey, Keys, NonceSeed};
use threshold::{Operation, Pass, Pin, Profile, Profile1, Profile2, ProviderShare, Session, Shares, deal};
use tlog::checkpoint::{Checkpoint, Origin};
use tlog::cosignature::{Cosigner, Seconds};
use tlog::key::{KeyName, Signer};
use tlog::note::Note;
use tlog::policy::Policy;
use tlog::proof_file::ProofFile;
use tlog::witness::{self, AddCheckpoint};
use tlog::{ConsistencyProof, InclusionProof, LeafIndex, TreeHead, TreeSize};

pub(super) const ORIGIN: &str = "log.example/fuzz";
pub(super) const ISSUING: [u8; 32] = [0x31; 32];
pub(super) const DEVICE: [u8; 32] = [0x32; 32];
pub(super) const KEM: [u8; 32] = [0x33; 32];
pub(super) const SEED: [u8; 32] = [0x34; 32];
pub(super) const RANDOM: [u8; 32] = [0x35; 32];
pub(super) const ENROLMENT: Hash = Hash([0x36; 32]);
pub(super) const POLICY: Hash = Hash([0x37; 32]);
pub(super) const NOW_MS: u64 = 1_760_000_000_000;

pub(super) static ONE: LazyLock<World<Profile1>> = LazyLock::new(World::new);
pub(super) static TWO: LazyLock<World<Profile2>> = LazyLock::new(World::new);

/// Our issuing key, and that of the project's vectors.
pub(super) static ISSUERS: LazyLock<[IssuingKey; 2]> = LazyLock::new(|| {
    let ours = public(&SigningKey::from_slice(&ISSUING).expect("a scalar"));
    [ours, *VECTORS_ISSUING].map(|key| IssuingKey::parse(&key).expect("a point"))
});
pub(super) const VECTORS_ISSUING: &[u8; 33] = b"\x02\xcd\xc8\x94\x12\x55\x7b\x3e\x47\xcf\xf8\x73\xdf\x73\x2a\xca\x6a\xc0\xa3\x49\xa9\x68\x80\xcc\x13\x6e\x58\x3e\x5e\x92\xce\xfd\xbb";

pub(super) static TRUST: LazyLock<Policy> =
    LazyLock::new(|| Policy::parse(format!("log {}\nquorum none\n", signer().vkey())).expect("a policy"));
pub(super) static WITNESSED: LazyLock<Policy> = LazyLock::new(|| {
    let (log, witness) = (signer(), cosigner());
    Policy::parse(format!("log {}\nwitness w {}\nquorum w\n", log.vkey(), witness.vkey())).expect("a policy")
});

pub(super) fn signer() -> Signer {
    Signer::note(KeyName::new(ORIGIN).expect("a name"), &[7; 32])
}

pub(super) fn cosigner() -> Cosigner {
    Cosigner::new(KeyName::new("w.example/1").expect("a name"), &[9; 32])
}

pub(super) fn head_note(head: TreeHead) -> Note {
    let text = Checkpoint::new(Origin::new(ORIGIN).expect("an origin"), head).to_text();
    Note::sign(&text, &signer()).expect("a checkpoint")
}

pub(super) fn proof_of(index: u64, hashes: Vec<Hash>, head: TreeHead) -> String {
    let index = LeafIndex::new(index).expect("small");
    let file = ProofFile { extra: None, index, proof: InclusionProof { hashes }, checkpoint: head_note(head) };
    String::from_utf8(file.to_bytes()).expect("text")
}

pub(super) fn sign(key: &[u8; 32], message: &[u8]) -> [u8; 64] {
    let signature: Signature = SigningKey::from_slice(key).expect("a scalar").sign(message);
    signature.to_bytes().into()
}

pub(super) fn public(key: &SigningKey) -> [u8; 33] {
    key.verifying_key().to_sec1_point(true).as_bytes().try_into().expect("a compressed point")
}

pub(super) fn mask() -> threshold::Mask {
    DeviceSecret::draw(&mut Draws(1)).mask(&Pin::new("0000"))
}

pub(super) fn place(metadata: &Metadata) -> Place {
    Place { index: 9, time_ms: NOW_MS, index_key: metadata.index_key }
}

/// Numbers that look random and are the same each time (splitmix64).
pub(super) struct Draws(pub(super) u64);

impl rand_core::TryRng for Draws {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        self.try_next_u64().map(|number| number as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Ok(mixed ^ (mixed >> 31))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        for piece in out.chunks_mut(8) {
            let number = self.try_next_u64()?.to_le_bytes();
            piece.iter_mut().zip(number).for_each(|(to, from)| *to = from);
        }
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Draws {}

/// HPKE in base mode, as the subscriber's device seals.
pub(super) fn seal(to: &KemPublicKey, info: &[u8], aad: &[u8], plain: &[u8]) -> Vec<u8> {
    let to = p256::PublicKey::from_sec1_bytes(to.as_bytes()).expect("a point").to_sec1_point(false);
    let to = <DhP256HkdfSha256 as Kem>::PublicKey::from_bytes(to.as_bytes()).expect("a point");
    let (key, sealed) = hpke::single_shot_seal_with_rng::<AesGcm128, HkdfSha256, DhP256HkdfSha256>(
        &OpModeS::Base,
        &to,
        info,
        plain,
        aad,
        &mut Draws(5),
    )
    .expect("sealed");
    let key = p256::PublicKey::from_sec1_bytes(&key.to_bytes()).expect("a point").to_sec1_point(true);
    [key.as_bytes(), &sealed].concat()
}

/// The opposite, with the KEM key of this file: `E[33] || ciphertext || tag`.
pub(super) fn open(info: &[u8], aad: &[u8], sealed: &[u8]) -> Vec<u8> {
    let key = <DhP256HkdfSha256 as Kem>::PrivateKey::from_bytes(&KEM).expect("a scalar");
    let sender = p256::PublicKey::from_sec1_bytes(&sealed[..33]).expect("a point").to_sec1_point(false);
    let sender = <DhP256HkdfSha256 as Kem>::EncappedKey::from_bytes(sender.as_bytes()).expect("a point");
    hpke::single_shot_open::<AesGcm128, HkdfSha256, DhP256HkdfSha256>(
        &OpModeR::Base,
        &key,
        &sender,
        info,
        &sealed[33..],
        aad,
    )
    .expect("it opens")
}

pub(super) fn genesis() -> Entry {
    let issuer = public(&SigningKey::from_slice(&ISSUING).expect("a scalar"));
    let body = Genesis { origin: ORIGIN.into(), issuing_keys: vec![issuer], policy: b"{}".to_vec() };
    Entry::public(Kind::Genesis, NOW_MS, body.to_bytes())
}

/// The opening and the entry that issue a credential.
pub(super) fn issued(credential: &Credential) -> (OtherOpening, Entry) {
    let change = Change::Issued(credential.as_bytes().to_vec());
    let opening = StatusChange { credential: credential.id(), change }.opening([0x38; 32]);
    let key = index_key::status_index_key(&credential.id(), 0);
    let entry = Entry::committed(Kind::Status, NOW_MS, opening.commitment(), Some(key));
    (opening, entry)
}

/// One person, enrolled, with an answer to one challenge and the record that comes of it.
pub(super) struct World<P> {
    pub(super) kem: KemKey,
    pub(super) recipient: KemPublicKey,
    pub(super) enrolment: Enrolment<P>,
    pub(super) share: ProviderShare<P>,
    pub(super) keys: Keys<'static>,
    pub(super) credential: Credential,
    pub(super) state: CredentialState,
    pub(super) document: Document,
    pub(super) metadata: Metadata,
    pub(super) session: Session,
    /// What the joint key signs under.
    pub(super) c: [u8; 32],
    /// The binding key of the one answer.
    pub(super) binding: [u8; 32],
    pub(super) pass: Vec<u8>,
    /// What is sealed in the pass: the signature share.
    pub(super) second: Vec<u8>,
    /// The blinded share and the plaintext of the sealed one.
    pub(super) dealt: Vec<u8>,
    pub(super) record: Vec<u8>,
    pub(super) opening: Vec<u8>,
}

impl<P: Profile> World<P> {
    pub(super) fn new() -> World<P> {
        let kem = KemKey::from_bytes(&KEM).expect("a scalar");
        let recipient = kem.public_key();
        let device = public(&SigningKey::from_slice(&DEVICE).expect("a scalar"));
        let enrolling = Enrolling { origin: ORIGIN, enrolment_id: &ENROLMENT, device_key: &device };
        let enrolment = deal::<P>(&enrolling, &mask(), &recipient, &mut Draws(2)).expect("dealt");
        let agreed = kem.agree(enrolment.shares.encapsulated()).expect("a point");
        let share = ProviderShare::open(&enrolling, &enrolment, &recipient, &agreed).expect("a good share");
        let keys = Keys { joint: enrolment.joint_key, device, passkey: None };

        let labels = LabelSecret::from_bytes([0x39; 32]);
        let stream = |stream| labels.stream_key(&ENROLMENT, stream);
        let issuer = public(&SigningKey::from_slice(&ISSUING).expect("a scalar"));
        let claims = Claims {
            origin: ORIGIN.into(),
            provider: IssuingKey::parse(&issuer).expect("a point").provider(),
            issuer: "Example Trust".into(),
            enrolment_id: ENROLMENT,
            subject: Hash([0x3a; 32]),
            profile: scal3::Profile::new(P::NUMBER).expect("a profile"),
            joint_key: keys.joint,
            device_key: device,
            shares: enrolment.shares.hash(),
            passkey: None,
            kem_key_id: recipient.id(),
            labels: [stream(Stream::Own).label(), stream(Stream::Provider).label()],
            attestation: "none".into(),
            not_before_ms: 0,
            not_after_ms: 4_000_000_000_000,
            predecessor: None,
            ordinal: 0,
        };
        let credential = claims.with_signature(&sign(&ISSUING, &claims.to_be_signed()));
        let credential = Credential::open(&credential, &IssuingKey::parse(&issuer).expect("a point")).expect("issued");
        let state = CredentialState::issue(credential.clone(), 1, 0, None, false).expect("a first credential");

        let name = instruction::Value::Text("phone".into());
        let fields = vec![Field { salt: [0x3b; 16], name: "device".into(), value: name }];
        let document = Document { class: instruction::CLASS_ACTIVATE.into(), fields };
        let seed = NonceSeed::from_bytes(SEED);
        let session = Session::new(&credential.id(), &RANDOM, &seed.commitment::<P>());
        let metadata = Metadata {
            origin: ORIGIN.into(),
            provider: claims.provider,
            credential: credential.id(),
            sequence: 0,
            previous: credential.id(),
            index_key: stream(Stream::Own).index_key(0),
            challenge: *session.challenge(),
            policy: POLICY,
            class: document.class.clone(),
            seen_size: 2,
            seen_root: Hash::node(&genesis().leaf_hash().into(), &issued(&credential).1.leaf_hash().into()),
            time_ms: NOW_MS,
            expires_ms: NOW_MS + 120_000,
            ext: Ext {},
        };

        // The binding key is the first thing that a device draws for an answer.
        let mut binding = [0; 32];
        rand_core::TryRng::try_fill_bytes(&mut Draws(3), &mut binding).expect("numbers");
        let mut world = World {
            kem,
            recipient,
            enrolment,
            share,
            keys,
            credential,
            state,
            document,
            metadata,
            session,
            binding,
            c: [0; 32],
            pass: Vec::new(),
            second: Vec::new(),
            dealt: Vec::new(),
            record: Vec::new(),
            opening: Vec::new(),
        };
        let mut rng = Draws(3);
        let to_sign = Idle::unlock(&world.enrolment, &mask())
            .and_then(|idle| idle.commit(&mut rng).prepare(&world.session, &world.operation(), &recipient, &mut rng))
            .expect("an answer");
        let signature = sign(&DEVICE, to_sign.message());
        world.pass = to_sign.finish(&signature).expect("a signature").to_bytes();
        let checked = world.checked(&world.pass);
        world.c = *checked.c();
        world.second = open(world.info("pass"), &world.pass_aad(), &world.pass[227..308]);
        let shares = world.enrolment.shares.to_bytes();
        let plain = open(world.info("share"), &world.share_aad(&shares[..32], &world.keys.joint), &shares[32..]);
        world.dealt = [&shares[..32], &plain].concat();

        let agreed = world.kem.agree(checked.encapsulated()).expect("a point");
        world.record = checked.complete(seed.take(), &world.share, &agreed).expect("a record").into_bytes();
        world.opening = world.opening_of(&world.record);
        assert!(world.verifies(&world.record), "the good record verifies");
        world
    }

    pub(super) fn enrolling(&self) -> Enrolling<'_> {
        Enrolling { origin: ORIGIN, enrolment_id: &ENROLMENT, device_key: &self.keys.device }
    }

    pub(super) fn operation(&self) -> Operation<P> {
        Operation::new(&self.metadata.to_bytes(), &self.document.id()).expect("metadata")
    }

    pub(super) fn checked(&self, pass: &[u8]) -> threshold::Checked<P> {
        let pass = Pass::<P>::parse(pass).expect("a pass");
        pass.check(&self.keys, &self.session, &self.operation()).expect("a good pass")
    }

    pub(super) fn opening_of(&self, record: &[u8]) -> Vec<u8> {
        let profile = scal3::Profile::new(P::NUMBER).expect("a profile");
        let shown = self.document.show(|_| true);
        Opening { profile, record: record.to_vec(), evidence: Vec::new(), shown }.to_bytes()
    }

    /// Whether the log would take the record.
    pub(super) fn verifies(&self, record: &[u8]) -> bool {
        let (opening, place) = (self.opening_of(record), place(&self.metadata));
        scal3::verify::verify(&opening, ORIGIN, &place, &self.state, &POLICY, |head| self.seen(head)).is_ok()
    }

    pub(super) fn seen(&self, head: &TreeHead) -> Option<SeenOnHistory> {
        SeenOnHistory::by_root(head, &self.metadata.seen_root).ok()
    }

    pub(super) fn info(&self, what: &str) -> &'static [u8] {
        match (P::NUMBER, what) {
            (1, "pass") => b"solelog/pass/v1",
            (1, _) => b"solelog/share/v1",
            _ => b"",
        }
    }

    pub(super) fn pass_aad(&self) -> Vec<u8> {
        if P::NUMBER == 2 {
            return self.c.to_vec();
        }
        [&self.credential.id().0[..], &self.session.challenge().0, &self.c].concat()
    }

    pub(super) fn share_aad(&self, blinded: &[u8], joint: &[u8; 33]) -> Vec<u8> {
        if P::NUMBER == 2 {
            return [blinded, joint].concat();
        }
        [&ENROLMENT.0[..], joint, &self.keys.device, blinded, ORIGIN.as_bytes()].concat()
    }

    /// What a dishonest dealer sends: `blinded[32] || plaintext[136]`, properly sealed.
    pub(super) fn shares(&self, dealt: &[u8], joint: &[u8; 33]) -> Option<Shares> {
        let (blinded, plain) = dealt.split_at(32);
        let sealed = seal(&self.recipient, self.info("share"), &self.share_aad(blinded, joint), plain);
        Shares::parse(&[blinded, &sealed].concat())
    }

    /// What a dishonest device sends: any signature share, with every signature in order.
    pub(super) fn pass_of_share(&self, second: &[u8; 32]) -> Vec<u8> {
        let sealed = seal(&self.recipient, self.info("pass"), &self.pass_aad(), second);
        let tag = &sealed[65..];
        let checksum = Check::checksum(second);
        let check = if P::NUMBER == 1 { checksum.as_bytes() } else { tag };
        let device = sign(&DEVICE, &[&self.c[..], check].concat());
        let binding = sign(&self.binding, &device);
        let last = if P::NUMBER == 1 { check } else { &[] };
        [&self.pass[..66], &device, &self.pass[130..163], &binding, &sealed, last].concat()
    }
}

/// A receipt of the one record, from a log of three entries: genesis, the credential, the record.
pub(super) static GOOD_RECEIPT: LazyLock<Receipt> = LazyLock::new(|| {
    let (opening, issued) = issued(&ONE.credential);
    let (genesis, metadata) = (genesis(), &ONE.metadata);
    let commitment = opening::commitment(&ONE.opening);
    let entry = Entry::committed(Kind::Instruction, NOW_MS, commitment, Some(metadata.index_key));
    let leaf = |entry: &Entry| Hash::from(entry.leaf_hash());
    let (first, second, third) = (leaf(&genesis), leaf(&issued), leaf(&entry));
    let head = TreeHead { size: TreeSize::new(3).expect("small"), root: Hash::node(&metadata.seen_root, &third) };
    let included = |index, entry: &Entry, opening: Option<&OtherOpening>, sibling: Hash| Included {
        index,
        entry: Bytes(entry.to_bytes()),
        opening: opening.map(|opening| Bytes(opening.to_bytes())),
        hashes: vec![Bytes(sibling.0.to_vec()), Bytes(third.0.to_vec())],
    };
    Receipt {
        version: VERSION.to_owned(),
        document: Some(Bytes(ONE.document.to_bytes())),
        opening: Some(Bytes(ONE.opening.clone())),
        credential: Some(Bytes(ONE.credential.as_bytes().to_vec())),
        entry: Bytes(entry.to_bytes()),
        proof: proof_of(2, vec![metadata.seen_root], head),
        genesis: Some(included(0, &genesis, None, second)),
        issued: Some(included(1, &issued, Some(&opening), first)),
        keys: Vec::new(),
        seen: Some(vec![Bytes(third.0.to_vec())]),
    }
});

/// Seeds made of the objects above: `(target, name, bytes)`.
pub fn made() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    assert_eq!(verify(&GOOD_RECEIPT, &TRUST).verdict, Verdict::Authorised, "{:#?}", verify(&GOOD_RECEIPT, &TRUST));
    let with = |first: u8, rest: &[u8]| [&[first], rest].concat();
    let json = serde_json::to_vec(&*GOOD_RECEIPT).expect("JSON");
    let proof = GOOD_RECEIPT.proof.as_bytes().to_vec();
    let head = head_note(TreeHead::EMPTY);
    let line = cosigner().cosign(head.text(), Seconds::new(1).expect("early"));
    let cosigned = head.with_signature(line.clone()).expect("a note");
    let proof_hashes = ConsistencyProof { hashes: vec![Hash([1; 32])] };
    let request = AddCheckpoint { old_size: TreeSize::new(0).expect("small"), proof: proof_hashes, note: head };
    let event = Attempt::Started.event(&Hash([4; 32]), ONE.state.provider_place());
    let mut seeds = vec![
        ("submitted", "made-1", ONE.opening.clone()),
        ("submitted", "made-2", TWO.opening.clone()),
        ("submitted", "made-issued", issued(&ONE.credential).0.to_bytes()),
        ("submitted", "made-event", event.opening([1; 32]).to_bytes()),
        ("submitted", "made-erasure", Erasure { index: 3, reason: "asked for".into() }.opening([1; 32]).to_bytes()),
        ("record", "made-1", with(0, &ONE.record)),
        ("record", "made-2", with(1, &TWO.record)),
        ("metadata", "made", ONE.metadata.to_bytes()),
        ("instruction", "made", ONE.document.to_bytes()),
        ("instruction", "made-shown", Presented::of(&ONE.document, |_| true).to_bytes()),
        ("instruction", "made-hidden", Presented::of(&ONE.document, |_| false).to_bytes()),
        ("credential", "made-1", ONE.credential.as_bytes().to_vec()),
        ("credential", "made-2", TWO.credential.as_bytes().to_vec()),
        ("cose", "made", ONE.credential.as_bytes().to_vec()),
        ("claims", "made-1", ONE.credential.claims().to_bytes()),
        ("claims", "made-2", TWO.credential.claims().to_bytes()),
        ("entry", "made-genesis", genesis().to_bytes()),
        ("entry", "made-issued", issued(&ONE.credential).1.to_bytes()),
        ("bodies", "made-event", cbor::encode(&event.to_body())),
        ("state", "made-1", ONE.state.to_bytes()),
        ("state", "made-2", TWO.state.to_bytes()),
        ("pass", "made-1", with(0, &ONE.pass)),
        ("pass", "made-2", with(1, &TWO.pass)),
        ("share", "made-1", with(0, &[&ONE.keys.joint[..], &ONE.enrolment.shares.to_bytes()].concat())),
        ("share", "made-2", with(1, &[&TWO.keys.joint[..], &TWO.enrolment.shares.to_bytes()].concat())),
        ("commitment", "made-1", with(0, ONE.session.commitment().as_bytes())),
        ("commitment", "made-2", with(1, TWO.session.commitment().as_bytes())),
        ("verdicts", "good", [0x80, 0, 0xc0, 0, 0x80, 0].to_vec()),
        ("verdicts", "zeros", [&[3, 32][..], &[0; 32], &[4, 32], &[0; 32]].concat()),
        ("verdicts", "generator", [12, 1, 0, 0x8c, 2, 1, 1, 0xcc, 2, 4, 3, 0x89, 1, 0, 0x8a, 1, 2].to_vec()),
        ("verdicts", "ones", [&[3, 32][..], &[0xff; 32], &[4, 16], &[0xff; 16], &[0x85, 31], &[0; 31]].concat()),
        ("verdicts", "other-keys", [&[0, 33][..], &ONE.keys.joint, &[0x81, 33], &ONE.keys.joint].concat()),
        ("note", "made", cosigned.to_bytes()),
        ("note", "made-text", cosigned.text().as_bytes().to_vec()),
        ("proof_file", "made", proof),
        ("path", "checkpoint", b"checkpoint".to_vec()),
        ("path", "tile", b"tile/0/x001/x234/067".to_vec()),
        ("path", "partial", b"tile/1/003.p/7".to_vec()),
        ("path", "entries", b"tile/entries/000.p/255".to_vec()),
        ("bundle", "two", super::written(&[b"one", b"", b"three"])),
        ("bundle", "full", super::written(&[&b"x"[..]; 256])),
        ("add_checkpoint", "made", request.to_bytes()),
        ("add_checkpoint", "size", b"20852163\n".to_vec()),
        ("add_checkpoint", "lines", witness::write_signatures(std::slice::from_ref(&line)).into_bytes()),
        ("add_checkpoint", "signed-extends", with(0, &[&[3, 4][..], &[3; 32], &[3; 32], &[4; 32]].concat())),
        ("add_checkpoint", "signed-same", with(0, &[&[3, 3][..], &[3; 32]].concat())),
        ("vkey", "log", signer().vkey().to_string().into_bytes()),
        ("vkey", "witness", cosigner().vkey().to_string().into_bytes()),
        ("vkey", "line", line.to_string().into_bytes()),
        ("vkey", "secret", signer().to_secret_text().as_bytes().to_vec()),
        ("vkey", "hash", Hash([7; 32]).to_base64().into_bytes()),
        ("vkey", "id", b"c8ca4ba4".to_vec()),
        ("vkey", "point", ONE.keys.joint.to_vec()),
        ("policy", "none", format!("log {}\nquorum none\n", signer().vkey()).into_bytes()),
        ("policy", "groups", policy_of_groups().into_bytes()),
        ("receipt", "made", json),
        ("receipt", "opening", with(0, &ONE.opening)),
        ("receipt", "credential", with(1, ONE.credential.as_bytes())),
        ("receipt", "document", with(2, &ONE.document.to_bytes())),
        ("receipt", "genesis", with(3, &genesis().to_bytes())),
    ];
    // What a dishonest side replaces, piece by piece: places go in steps of a 256th of the whole.
    for mode in 0..6 {
        for (name, patch) in
            [("whole", &[][..]), ("zero", &[0, 32]), ("start", &[0, 1, 5]), ("late", &[130, 2, 255, 255])]
        {
            let name = Box::leak(format!("patched-{mode}-{name}").into_boxed_str());
            seeds.extend(["pass", "share", "completed"].map(|target| (target, &*name, with(mode, patch))));
        }
    }
    seeds.extend(super::evidence::made());
    seeds.extend(super::accusations::made());
    seeds
}

pub(super) fn policy_of_groups() -> String {
    let keys = ["a", "b", "c"].map(|name| {
        let key = Cosigner::new(KeyName::new(&format!("w.example/{name}")).expect("a name"), &[name.as_bytes()[0]; 32]);
        format!("witness {name} {}\n", key.vkey())
    });
    format!("log {}\n{}group inner any a b\ngroup outer 2 inner c\nquorum outer\n", signer().vkey(), keys.concat())
}
