//! A log in memory and people who sign for it: whole joint secrets, one-party EC-SDSA.
//!
//! A verifier can't tell how the joint signature was made, so one party is enough to test it.
//! Real halves are in the crate `threshold`.

#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::rc::Rc;

use base64ct::{Base64UrlUnpadded, Encoding};
use p256::ecdsa::signature::Signer;
use p256::elliptic_curve::PrimeField;
use p256::elliptic_curve::sec1::ToSec1Point;
use p256::{ProjectivePoint, Scalar};
use scal3::credential::{IssuingKey, provider_id};
use scal3::entry::Entry;
use scal3::evidence::varsig::{Algorithm, Varsig};
use scal3::evidence::webauthn::signed_bytes;
use scal3::fold::{Fold, Step};
use scal3::index_key::{LabelSecret, Stream};
use scal3::instruction::{CLASS_ACTIVATE, Value};
use scal3::opening::{Evidence, commitment};
use scal3::point::Point;
use scal3::record::{self, Check, Parts};
use scal3::seen::SeenOnHistory;
use scal3::state::CredentialState;
use scal3::verify::{self, Authorized, Place, Refusal};
use scal3::{
    Change, Claims, Credential, Document, Field, Genesis, Hash, Kind, Metadata, Opening, Profile, StatusChange, tagged,
};
use sha2::{Digest, Sha256};
use tlog::tree::TreeHead;

pub const ORIGIN: &str = "log.example/one";
pub const POLICY: &[u8] = scal3::policy::TWO_FACTORS;
pub const START_MS: u64 = 1_760_000_000_000;

/// A secret number that a name stands for.
pub fn secret(name: &str) -> Scalar {
    let mut seed = tagged("test/secret", name.as_bytes());
    loop {
        match Scalar::from_repr(seed.0.into()).into_option() {
            Some(scalar) => return scalar,
            None => seed = tagged("test/secret", &seed.0),
        }
    }
}

/// The public key of a secret.
pub fn public(secret: &Scalar) -> [u8; 33] {
    let point = (ProjectivePoint::GENERATOR * secret).to_affine().to_sec1_point(true);
    point.as_bytes().try_into().unwrap()
}

/// An ECDSA signature, r ‖ s.
pub fn ecdsa(secret: &Scalar, message: &[u8]) -> [u8; 64] {
    let key = p256::ecdsa::SigningKey::from_slice(&secret.to_bytes()).unwrap();
    let signature: p256::ecdsa::Signature = key.sign(message);
    signature.to_bytes().into()
}

/// A joint signature by one who has the whole secret: c, z.
pub fn schnorr(profile: Profile, joint: &Scalar, message: &[u8]) -> ([u8; 32], [u8; 32]) {
    let nonce = secret(&format!("{joint:?} {message:?}"));
    let commitment = Point::from_bytes(&public(&nonce)).unwrap();
    let key = Point::from_bytes(&public(joint)).unwrap();
    let c = profile.challenge().compute(&commitment, &key, &[message]);
    let reduced = scal3::point::Scalar::reduce(&c).to_bytes();
    let c_number = Scalar::from_repr(reduced.into()).unwrap();
    (c, (nonce + c_number * joint).to_bytes().into())
}

/// (r, s) → (r, n − s).
pub fn flip_s(signature: &mut [u8]) {
    let s: [u8; 32] = signature[32..].try_into().unwrap();
    let s = -Scalar::from_repr(s.into()).unwrap();
    signature[32..].copy_from_slice(&s.to_bytes());
}

/// What a browser and its authenticator say of a challenge.
#[derive(Clone)]
pub struct Said {
    pub challenge: Hash,
    pub ceremony: &'static str,
    pub site: &'static str,
    pub rp_id: &'static str,
    pub flags: u8,
}

impl Said {
    pub fn new(challenge: Hash) -> Said {
        let (site, rp_id) = ("https://wallet.example", "wallet.example");
        Said { challenge, ceremony: "webauthn.get", site, rp_id, flags: 0x1d }
    }

    pub fn sign(&self, secret: &Scalar) -> Varsig {
        let challenge = Base64UrlUnpadded::encode_string(&self.challenge.0);
        let (ceremony, site) = (self.ceremony, self.site);
        let client_data = format!(
            "{{\"type\":\"{ceremony}\",\"challenge\":\"{challenge}\",\"origin\":\"{site}\",\"crossOrigin\":false}}"
        );
        let authenticator_data = [&Sha256::digest(self.rp_id.as_bytes())[..], &[self.flags], &[0; 4]].concat();
        let signature = ecdsa(secret, &signed_bytes(&authenticator_data, client_data.as_bytes()));
        let algorithm = Algorithm::Es256;
        Varsig { algorithm, authenticator_data, client_data: client_data.into_bytes(), signature }
    }
}

/// What a device key of profile 3 is for.
fn passkey() -> scal3::credential::Passkey {
    let origins = vec!["https://wallet.example".into(), "https://app.wallet.example".into()];
    scal3::credential::Passkey { rp_id: "wallet.example".into(), origins, backup_eligible: true }
}

/// Somebody who is enrolled.
#[derive(Clone)]
pub struct Person {
    pub joint: Scalar,
    pub device: Scalar,
    pub label_secret: Rc<LabelSecret>,
    pub claims: Claims,
}

impl Person {
    pub fn new(name: &str, profile: Profile) -> Person {
        let [joint, device] = ["joint", "device"].map(|key| secret(&format!("{name} {key}")));
        let label_secret = Rc::new(LabelSecret::from_bytes(tagged("test/label", name.as_bytes()).0));
        let enrolment_id = tagged("test/enrolment", name.as_bytes());
        let label = |stream| label_secret.stream_key(&enrolment_id, stream).label();
        let claims = Claims {
            origin: ORIGIN.into(),
            provider: provider_id(&public(&secret("issuer"))),
            issuer: "Example".into(),
            enrolment_id,
            subject: tagged("test/subject", name.as_bytes()),
            profile,
            joint_key: public(&joint),
            device_key: public(&device),
            shares: tagged("test/shares", name.as_bytes()),
            passkey: (profile == Profile::Passkey).then(passkey),
            kem_key_id: tagged("test/kem", name.as_bytes()),
            labels: [label(Stream::Own), label(Stream::Provider)],
            attestation: "none".into(),
            not_before_ms: START_MS,
            not_after_ms: START_MS + 1_000_000_000,
            predecessor: None,
            ordinal: 0,
        };
        Person { joint, device, label_secret, claims }
    }

    pub fn id(&self) -> Hash {
        self.claims.id()
    }

    pub fn index_key(&self, sequence: u64) -> Hash {
        self.label_secret.stream_key(&self.claims.enrolment_id, Stream::Own).index_key(sequence)
    }

    pub fn credential_bytes(&self) -> Vec<u8> {
        self.claims.with_signature(&ecdsa(&secret("issuer"), &self.claims.to_be_signed()))
    }

    pub fn credential(&self) -> Credential {
        let key = IssuingKey::parse(&public(&secret("issuer"))).unwrap();
        Credential::open(&self.credential_bytes(), &key).unwrap()
    }

    /// What this person would sign next, in perfect order, having seen that head.
    pub fn next(&self, state: &CredentialState, head: &TreeHead, policy: Hash, time_ms: u64) -> Draft {
        let sequence = state.next_sequence();
        let first = sequence == 0;
        let field = |name: &str, value| {
            let salt = tagged("test/field", name.as_bytes()).0[..16].try_into().unwrap();
            Field { salt, name: name.into(), value }
        };
        let document = Document {
            class: if first { CLASS_ACTIVATE } else { "payment" }.into(),
            fields: if first {
                vec![field("credential", Value::Bytes(self.id().0.to_vec()))]
            } else {
                vec![
                    field("amount", Value::Uint(1250)),
                    field("currency", Value::Text("EUR".into())),
                    field("note", Value::Text("hidden".into())),
                ]
            },
        };
        let metadata = Metadata {
            origin: ORIGIN.into(),
            provider: self.claims.provider,
            credential: self.id(),
            sequence,
            previous: *state.previous(),
            index_key: self.index_key(sequence),
            challenge: tagged("test/challenge", &sequence.to_be_bytes()),
            policy,
            class: document.class.clone(),
            seen_size: head.size.get(),
            seen_root: head.root,
            time_ms,
            expires_ms: time_ms + 120_000,
            ext: Default::default(),
        };
        Draft {
            person: self.clone(),
            profile: self.claims.profile,
            document,
            metadata,
            evidence: Vec::new(),
            ask: Said::new,
            spoil: |_| (),
        }
    }
}

/// An authorisation to be signed; change what you like before that.
#[derive(Clone)]
pub struct Draft {
    pub person: Person,
    pub profile: Profile,
    pub document: Document,
    pub metadata: Metadata,
    pub evidence: Vec<Evidence>,
    /// What a browser makes of the challenge, in profile 3.
    pub ask: fn(Hash) -> Said,
    /// Changes the record after it was signed.
    pub spoil: fn(&mut Vec<u8>),
}

impl Draft {
    pub fn record(&self) -> Vec<u8> {
        let (metadata, instruction_id) = (self.metadata.to_bytes(), self.document.id());
        let binding = secret(&format!("binding {metadata:?}"));
        let binding_key = public(&binding);
        let message = record::joint_message(self.profile, &binding_key, &metadata, &instruction_id);
        let (c, z) = schnorr(self.profile, &self.person.joint, &message);
        let check = match self.profile {
            Profile::EcSdsa | Profile::Passkey => Check::checksum(&tagged("test/share", &z).0),
            Profile::Transcript => Check::Tag([7; 16]),
        };
        let said = (self.ask)(record::device_challenge(&c, &check));
        let assertion = said.sign(&self.person.device);
        let device_sig = match self.profile {
            Profile::Passkey => assertion.signature,
            _ => ecdsa(&self.person.device, &record::device_message(&c, &check)),
        };
        let parts = Parts {
            binding_key: &binding_key,
            metadata: &metadata,
            instruction_id: &instruction_id,
            c: &c,
            z: &z,
            check,
            device_sig: &device_sig,
            binding_sig: &ecdsa(&binding, &device_sig),
        };
        let mut record = match self.profile {
            Profile::Passkey => parts.to_bytes_with(&assertion),
            _ => parts.to_bytes(),
        };
        (self.spoil)(&mut record);
        record
    }

    pub fn opening(&self) -> Vec<u8> {
        let opening = Opening {
            profile: self.profile,
            record: self.record(),
            evidence: self.evidence.clone(),
            shown: self.document.show(|name| name != "note"),
        };
        opening.to_bytes()
    }
}

/// What every log here begins with.
pub fn genesis() -> Genesis {
    Genesis { origin: ORIGIN.into(), issuing_keys: vec![public(&secret("issuer"))], policy: POLICY.to_vec() }
}

/// The log.
pub struct Log {
    pub fold: Fold,
    pub time_ms: u64,
    pub entries: Vec<Vec<u8>>,
    /// Of each entry, what it was appended with.
    pub openings: Vec<Option<Vec<u8>>>,
}

impl Log {
    pub fn new() -> Log {
        Log::under(POLICY)
    }

    /// A log that begins with this policy.
    pub fn under(policy: &[u8]) -> Log {
        let genesis = Genesis { policy: policy.to_vec(), ..genesis() };
        let entry = Entry::public(Kind::Genesis, START_MS, genesis.to_bytes()).to_bytes();
        let fold = Fold::start(&entry).unwrap();
        Log { fold, time_ms: START_MS + 1000, entries: vec![entry], openings: vec![None] }
    }

    /// A log in which this person may act.
    pub fn with(person: &Person) -> Log {
        Log::with_under(person, POLICY)
    }

    /// A log that begins with this policy and in which this person may act.
    pub fn with_under(person: &Person, policy: &[u8]) -> Log {
        let mut log = Log::under(policy);
        assert!(matches!(log.issue(person), Step::Status(_)));
        log.activate(person);
        log
    }

    pub fn size(&self) -> u64 {
        self.fold.head().size.get()
    }

    pub fn state(&self, person: &Person) -> &CredentialState {
        self.fold.credential(&person.id()).unwrap().as_read()
    }

    /// Appends an entry, and its opening.
    pub fn push(&mut self, entry: &Entry, opening: Option<&[u8]>) -> Step {
        let bytes = entry.to_bytes();
        let step = self.fold.apply(&bytes, opening).unwrap();
        self.entries.push(bytes);
        self.openings.push(opening.map(<[u8]>::to_vec));
        // Every small log of the tests goes through the store, and is what it was.
        if self.entries.len() < 40 {
            let stored = Fold::from_own_store(&self.fold.to_bytes()).unwrap();
            assert_eq!(format!("{stored:?}"), format!("{:?}", self.fold));
            self.fold = stored;
        }
        step
    }

    pub fn issue(&mut self, person: &Person) -> Step {
        let key = scal3::index_key::status_index_key(&person.id(), 0);
        self.status_under(person, Change::Issued(person.credential_bytes()), key)
    }

    pub fn status(&mut self, person: &Person, change: Change) -> Step {
        let key = self.state(person).next_status_key();
        self.status_under(person, change, key)
    }

    pub fn status_under(&mut self, person: &Person, change: Change, key: Hash) -> Step {
        let change = StatusChange { credential: person.id(), change };
        let salt = tagged("test/salt", &self.size().to_be_bytes()).0;
        let opening = change.opening(salt).to_bytes();
        let commitment = commitment(&opening);
        let entry = Entry::committed(Kind::Status, self.time_ms, commitment, Some(key));
        self.push(&entry, Some(&opening))
    }

    /// The first record, and the status that follows it.
    pub fn activate(&mut self, person: &Person) {
        let draft = self.draft(person);
        let index = self.size();
        assert!(matches!(self.append(&draft), Step::Instruction(_)));
        assert!(matches!(self.status(person, Change::Activated(index)), Step::Status(_)));
    }

    /// The next authorisation of this person, in perfect order.
    pub fn draft(&self, person: &Person) -> Draft {
        person.next(self.state(person), &self.fold.head(), *self.fold.policy(), self.time_ms)
    }

    /// The entry that an authorisation would get now.
    pub fn entry(&self, draft: &Draft, opening: &[u8]) -> Entry {
        let index_key = Some(draft.metadata.index_key);
        Entry::committed(Kind::Instruction, self.time_ms, commitment(opening), index_key)
    }

    /// The next authorisation of this person, of that class with that one field.
    pub fn draft_of(&self, person: &Person, class: &str, name: &str, id: &Hash) -> Draft {
        let mut draft = self.draft(person);
        let value = Value::Bytes(id.0.to_vec());
        draft.document =
            Document { class: class.into(), fields: vec![Field { salt: [9; 16], name: name.into(), value }] };
        draft.metadata.class = class.into();
        draft
    }

    pub fn append(&mut self, draft: &Draft) -> Step {
        let opening = draft.opening();
        let entry = self.entry(draft, &opening);
        self.push(&entry, Some(&opening))
    }

    /// The place that an authorisation would get now.
    pub fn place(&self, draft: &Draft) -> Place {
        Place { index: self.size(), time_ms: self.time_ms, index_key: draft.metadata.index_key }
    }

    /// Shows a head to be on history, by the roots this log computed.
    pub fn seen(&self, seen: &TreeHead) -> Option<SeenOnHistory> {
        SeenOnHistory::by_root(seen, self.fold.root_at(seen.size.get())?).ok()
    }

    /// The verdict on an authorisation at the place it would get now.
    pub fn judge(&self, draft: &Draft) -> Result<Authorized, Refusal> {
        self.judge_at(draft, &self.place(draft))
    }

    pub fn judge_at(&self, draft: &Draft, place: &Place) -> Result<Authorized, Refusal> {
        let state = self.state(&draft.person);
        let opening = draft.opening();
        let seen = |seen: &TreeHead| self.seen(seen);
        verify::verify(&opening, ORIGIN, place, state, self.fold.policy(), seen)
    }
}
