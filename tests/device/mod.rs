//! A device in software: a person's key, the secret behind the PIN, and what the device remembers.

#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use scal3::index_key::{LabelSecret, Stream};
use scal3::instruction::{CLASS_ACTIVATE, Presented, Value};
use scal3::{Document, Field, Hash, Metadata, metadata, request, tagged};
use solelog::authority::authorise::{Answer, AuthoriseError};
use solelog::authority::enrolment::{Dealt, EnrolError, Enrolled};
use solelog::authority::intent::{Intent, IntentError, Who};
use solelog::authority::{Authority, Settings};
use solelog::engine::Engine;
use solelog::keys::{KeyStore, SoftKeys};
use solelog::submission::{Appended, Until};
use threshold::{DeviceSecret, Enrolling, Enrolment, Idle, KemPublicKey, Operation, Pin, Profile, Session, deal};

use crate::support::Rig;

type Rng = rand_core::UnwrapErr<getrandom::SysRng>;

pub fn rng() -> Rng {
    rand_core::UnwrapErr(getrandom::SysRng)
}

pub const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A log whose provider enrols people.
pub struct House {
    pub rig: Rig,
    pub keys: Arc<SoftKeys>,
    pub settings: Settings,
}

impl House {
    /// A new log, made with these keys' issuing key.
    pub fn new(rig: Rig) -> House {
        let keys = Arc::new(SoftKeys::generate().expect("randomness"));
        let house = House { rig, keys, settings: Settings { strangers: 1000, ..Settings::default() } };
        house.create().expect("a new folder");
        house
    }

    pub fn create(&self) -> Result<(), solelog::recovery::CreateError> {
        let mut genesis = crate::support::genesis();
        genesis.issuing_keys = vec![*self.keys.issuing_key().as_bytes()];
        Engine::create(&self.rig.config(), &genesis)
    }

    /// Opens the log, and an authority over it.
    pub async fn open(&self) -> Authority {
        self.over(self.rig.open().await)
    }

    pub fn over(&self, engine: Engine) -> Authority {
        let clock = Arc::clone(&self.rig.clock);
        let keys: Arc<dyn KeyStore> = Arc::clone(&self.keys) as Arc<dyn KeyStore>;
        Authority::new(engine, keys, self.settings.clone(), Arc::new(move || clock.load(Ordering::SeqCst)))
    }
}

/// A device that is enrolled.
pub struct Device<P> {
    pub key: SigningKey,
    pub secret: DeviceSecret,
    pub label_secret: [u8; 32],
    pub enrolment_id: Hash,
    pub kem_key: KemPublicKey,
    pub enrolment: Enrolment<P>,
    pub ticket: Vec<u8>,
    pub id: Hash,
    pub sequence: u64,
    pub previous: Hash,
}

impl<P: Profile> Device<P> {
    /// Enrols a new person.
    pub async fn enrol(authority: &Authority, pin: &str) -> Device<P> {
        let (device, enrolled) = Device::deal(authority, pin, None, false).await.expect("enrolled");
        assert!(matches!(enrolled, Enrolled::Issued { .. }));
        device
    }

    /// Deals, and brings what it dealt.
    pub async fn deal(
        authority: &Authority,
        pin: &str,
        predecessor: Option<Hash>,
        recovers: bool,
    ) -> Result<(Device<P>, Enrolled), EnrolError> {
        let begun = authority.begin(predecessor, recovers).await?;
        let key = SigningKey::from_slice(&random()).expect("a scalar");
        let secret = DeviceSecret::draw(&mut rng());
        let kem_key = KemPublicKey::parse(&begun.kem_key).expect("a point");
        let device_key = public(&key);
        let origin = authority.engine().standing().origin().to_owned();
        let context = Enrolling { origin: &origin, enrolment_id: &begun.enrolment_id, device_key: &device_key };
        let enrolment: Enrolment<P> =
            deal(&context, &secret.mask(&Pin::new(pin)), &kem_key, &mut rng()).expect("dealt");
        let mut device = Device {
            key,
            secret,
            label_secret: random(),
            enrolment_id: begun.enrolment_id,
            kem_key,
            enrolment,
            ticket: begun.ticket,
            id: Hash([0; 32]),
            sequence: 0,
            previous: Hash([0; 32]),
        };
        let enrolled = authority.complete(device.enrolment_id, device.dealt(authority)).await?;
        device.id = match &enrolled {
            Enrolled::Issued { credential, .. } => credential.id(),
            Enrolled::Waits { claims } => claims.id(),
        };
        device.previous = device.id;
        Ok((device, enrolled))
    }

    /// What it brings.
    pub fn dealt(&self, authority: &Authority) -> Dealt {
        let origin = authority.engine().standing().origin().to_owned();
        let label = |stream| self.labels().stream_key(&self.enrolment_id, stream).label();
        let profile = scal3::Profile::new(P::NUMBER).expect("a profile");
        let (shares, device_key) = (self.enrolment.shares.hash(), public(&self.key));
        let hash = request::Enrolling {
            origin: &origin,
            enrolment_id: &self.enrolment_id,
            profile,
            joint_key: &self.enrolment.joint_key,
            shares: &shares,
            device_key: &device_key,
            labels: &[label(Stream::Own), label(Stream::Provider)],
        }
        .hash();
        Dealt {
            ticket: self.ticket.clone(),
            profile,
            joint_key: self.enrolment.joint_key,
            shares: self.enrolment.shares.clone(),
            device_key,
            proof: self.sign(&hash.0).to_vec(),
            registration: None,
            label_secret: self.labels(),
        }
    }

    pub fn labels(&self) -> LabelSecret {
        LabelSecret::from_bytes(self.label_secret)
    }

    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature: Signature = self.key.sign(message);
        signature.to_bytes().into()
    }

    /// Asks for a challenge.
    pub async fn intent(&self, authority: &Authority, document: &Document) -> Result<Intent, IntentError> {
        let presented = Presented::of(document, |name| matches!(name, "credential" | "authenticator"));
        authority.intent(self.id, presented.to_bytes(), Who::Provider).await
    }

    /// The metadata of its next record, under that challenge.
    pub fn metadata(&self, authority: &Authority, intent: &Intent, now_ms: u64) -> Metadata {
        let head = authority.engine().heads().integrated.head;
        Metadata {
            origin: authority.engine().standing().origin().to_owned(),
            provider: intent.provider,
            credential: self.id,
            sequence: self.sequence,
            previous: self.previous,
            index_key: self.labels().stream_key(&self.enrolment_id, Stream::Own).index_key(self.sequence),
            challenge: *intent.opened.session.challenge(),
            policy: intent.policy,
            class: intent.opened.presented.class.clone(),
            seen_size: head.size.get(),
            seen_root: head.root,
            time_ms: now_ms,
            expires_ms: now_ms + 120_000,
            ext: Default::default(),
        }
    }

    /// The answer to a challenge, with that PIN.
    pub fn answer(&self, metadata: &Metadata, intent: &Intent, document: &Document, pin: &str) -> Answer {
        let session = Session::new(&self.id, &intent.opened.random, intent.opened.session.commitment());
        let metadata = metadata.to_bytes();
        let operation = Operation::<P>::new(&metadata, &document.id()).expect("metadata");
        let to_sign = Idle::unlock(&self.enrolment, &self.secret.mask(&Pin::new(pin)))
            .expect("an enrolment")
            .commit(&mut rng())
            .prepare(&session, &operation, &self.kem_key, &mut rng())
            .expect("a session");
        let signature = self.sign(to_sign.message());
        let pass = to_sign.finish(&signature).expect("a signature").to_bytes();
        Answer { metadata, pass, evidence: Vec::new(), until: Until::Integrated, source: HERE }
    }

    /// Authorises, from the intent to the record.
    pub async fn authorise(
        &mut self,
        authority: &Authority,
        rig: &Rig,
        document: &Document,
        pin: &str,
    ) -> Result<Appended, AuthoriseError> {
        let intent = self.intent(authority, document).await.expect("a challenge");
        let metadata = self.metadata(authority, &intent, rig.clock.load(Ordering::SeqCst));
        let answer = self.answer(&metadata, &intent, document, pin);
        let appended = authority.authorise(metadata.challenge, answer).await?;
        self.logged(authority, &metadata);
        Ok(appended)
    }

    /// Goes on behind its record.
    pub fn logged(&mut self, authority: &Authority, metadata: &Metadata) {
        let state = authority.engine().credential(&self.id).unwrap().expect("issued");
        assert_eq!(state.next_sequence(), metadata.sequence + 1);
        self.sequence = state.next_sequence();
        self.previous = *state.previous();
        assert_ne!(self.previous, metadata::previous(&self.id, metadata.sequence, &[0; 32]));
    }

    /// Its first record.
    pub async fn activate(&mut self, authority: &Authority, rig: &Rig, pin: &str) -> Appended {
        self.authorise(authority, rig, &activation(), pin).await.expect("activated")
    }

    /// How often its second factor was wrong: in a row, and ever.
    pub fn failures(&self, authority: &Authority) -> (u64, u64) {
        let state = authority.engine().credential(&self.id).unwrap().expect("issued");
        (state.attempts().in_a_row, state.attempts().in_all)
    }
}

pub fn public(key: &SigningKey) -> [u8; 33] {
    key.verifying_key().to_sec1_point(true).as_bytes().try_into().expect("a compressed point")
}

pub fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("randomness");
    bytes
}

pub fn activation() -> Document {
    document(CLASS_ACTIVATE, "device", Value::Text("phone".to_owned()))
}

pub fn document(class: &str, name: &str, value: Value) -> Document {
    let salt = tagged("test/field", name.as_bytes()).0[..16].try_into().expect("16 bytes");
    Document { class: class.to_owned(), fields: vec![Field { salt, name: name.to_owned(), value }] }
}
