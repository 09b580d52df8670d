//! Records of both profiles as a log would take them: real metadata under a real credential,
//! verified by `scal3` as a stranger does.

mod common;

use common::ChaCha20;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use rand_core::Rng;
use scal3::credential::Passkey;
use scal3::index_key::{LabelSecret, Stream};
use scal3::instruction::Value;
use scal3::metadata::Ext;
use scal3::record::Record;
use scal3::verify::Submitted;
use scal3::{Claims, Credential, Document, Field, Hash, IssuingKey, Metadata, Opening};
use threshold::{
    DeviceSecret, Enrolling, Enrolment, Idle, Keys, MasterSecret, NonceSeed, Operation, Pass, Pin, Profile,
    ProviderShare, PublicFault, Session, deal,
};

const ORIGIN: &str = "log.example/sole";
const DEVICE: [u8; 32] = [0x32; 32];

fn sign(key: &SigningKey, message: &[u8]) -> [u8; 64] {
    let signature: Signature = key.sign(message);
    signature.to_bytes().into()
}

fn public(key: &SigningKey) -> [u8; 33] {
    key.verifying_key().to_sec1_point(true).as_bytes().try_into().unwrap()
}

/// A device with a key of its own.
fn hardware(message: &[u8]) -> Vec<u8> {
    sign(&SigningKey::from_slice(&DEVICE).unwrap(), message).to_vec()
}

/// The same key behind a browser.
fn passkey() -> testkit::Passkey {
    let key = SigningKey::from_slice(&DEVICE).unwrap();
    testkit::Passkey::new(Hash([0x35; 32]), testkit::Secret::P256(key))
}

/// Where it may be used.
fn site() -> Passkey {
    Passkey { rp_id: testkit::RP_ID.into(), origins: vec![testkit::SITE.into()], backup_eligible: false }
}

/// A credential of this profile, and two instructions under it.
fn life<P: Profile>(profile: scal3::Profile, passkey: Option<Passkey>, answer: impl Fn(&[u8]) -> Vec<u8>) {
    assert_eq!(P::NUMBER, profile.number());
    let mut rng = ChaCha20::new([P::NUMBER as u8; 32]);
    let issuing = SigningKey::from_slice(&[0x31; 32]).unwrap();
    let device = SigningKey::from_slice(&DEVICE).unwrap();
    let device_key = public(&device);
    let enrolment_id = Hash([0x33; 32]);
    let label_secret = LabelSecret::from_bytes([0x34; 32]);

    let kem = MasterSecret::draw(&mut rng).kem_key(&enrolment_id);
    let recipient = kem.public_key();
    let context = Enrolling { origin: ORIGIN, enrolment_id: &enrolment_id, device_key: &device_key };
    let secret = DeviceSecret::draw(&mut rng);
    let enrolment: Enrolment<P> = deal(&context, &secret.mask(&Pin::new("0000")), &recipient, &mut rng).unwrap();
    let open = || {
        let agreed = kem.agree(enrolment.shares.encapsulated()).unwrap();
        ProviderShare::open(&context, &enrolment, &recipient, &agreed).unwrap()
    };
    drop(open());

    let issuing_key = IssuingKey::parse(&public(&issuing)).unwrap();
    let stream = |stream| label_secret.stream_key(&enrolment_id, stream);
    let claims = Claims {
        origin: ORIGIN.into(),
        provider: issuing_key.provider(),
        issuer: "Example Trust".into(),
        enrolment_id,
        subject: Hash([0x35; 32]),
        profile,
        joint_key: enrolment.joint_key,
        device_key,
        shares: enrolment.shares.hash(),
        passkey: passkey.clone(),
        kem_key_id: recipient.id(),
        labels: [stream(Stream::Own).label(), stream(Stream::Provider).label()],
        attestation: "none".into(),
        not_before_ms: 0,
        not_after_ms: 4_000_000_000_000,
        predecessor: None,
        ordinal: 0,
    };
    let credential = claims.with_signature(&sign(&issuing, &claims.to_be_signed()));
    let credential = Credential::open(&credential, &issuing_key).unwrap();

    let mut previous = credential.id();
    for sequence in 0..2 {
        let document = Document {
            class: if sequence == 0 { "credential.activate" } else { "note" }.into(),
            fields: vec![Field { salt: [sequence as u8; 16], name: "text".into(), value: Value::Text("hello".into()) }],
        };
        let seed = NonceSeed::draw(&mut rng);
        let mut random = [0; 32];
        rng.fill_bytes(&mut random);
        let session = Session::new(&credential.id(), &random, &seed.commitment::<P>());
        let (hiding, binding) = session.commitment().parts();
        assert_eq!(*session.challenge(), scal3::metadata::challenge(&random, hiding, binding, &credential.id()));
        let metadata = Metadata {
            origin: ORIGIN.into(),
            provider: issuing_key.provider(),
            credential: credential.id(),
            sequence,
            previous,
            index_key: stream(Stream::Own).index_key(sequence),
            challenge: *session.challenge(),
            policy: Hash([0x36; 32]),
            class: document.class.clone(),
            seen_size: 7,
            seen_root: Hash([0x37; 32]),
            time_ms: 1_760_000_000_000,
            expires_ms: 1_760_000_300_000,
            ext: Ext {},
        };
        let operation = Operation::new(&metadata.to_bytes(), &document.id()).unwrap();

        let to_sign = Idle::unlock(&enrolment, &secret.mask(&Pin::new("0000")))
            .unwrap()
            .commit(&mut rng)
            .prepare(&session, &operation, &recipient, &mut rng)
            .unwrap();
        let device_sig = answer(to_sign.message());
        let c = *to_sign.c();
        let pass = to_sign.finish(&device_sig).unwrap().to_bytes();

        let keys = Keys { joint: enrolment.joint_key, device: device_key, passkey: passkey.as_ref() };
        // Profile 2 seals under neither credential nor challenge, so only the metadata tells.
        let fault = |session: &Session| Pass::<P>::parse(&pass).unwrap().check(&keys, session, &operation).unwrap_err();
        let elsewhere = Session::new(&Hash([1; 32]), &random, session.commitment());
        assert_eq!(fault(&elsewhere), PublicFault::OtherCredential);
        let another = Session::new(&credential.id(), &[1; 32], session.commitment());
        assert_eq!(fault(&another), PublicFault::OtherChallenge);
        let checked = Pass::<P>::parse(&pass).unwrap().check(&keys, &session, &operation).unwrap();
        let agreed = kem.agree(checked.encapsulated()).unwrap();
        let made = checked.complete(seed.take(), &open(), &agreed).unwrap();

        let record = Record::parse(profile, made.as_bytes()).unwrap();
        assert_eq!(record.to_bytes(), made.as_bytes());
        assert_eq!(record.metadata(), &metadata);
        assert_eq!(record.instruction_id(), &document.id());
        assert_eq!((record.c(), record.c()), (made.c(), &c));
        assert!(device_sig.ends_with(record.device_sig().as_bytes()));
        previous = scal3::metadata::previous(&credential.id(), sequence, made.c());

        let opening =
            Opening { profile, record: made.into_bytes(), evidence: Vec::new(), shown: document.show(|_| false) };
        let submitted = || Submitted::parse(&opening.to_bytes()).unwrap();
        submitted().check(&credential, ORIGIN).unwrap();
        submitted().check(&credential, "log.example/other").unwrap_err();
        // The other layout is not this record, whatever it parses to.
        for other in (1..=3).filter(|number| *number != P::NUMBER) {
            assert!(Record::parse(scal3::Profile::new(other).unwrap(), &opening.record).is_err());
        }
    }
}

#[test]
fn a_log_takes_records_of_profile_1() {
    life::<threshold::Profile1>(scal3::Profile::EcSdsa, None, hardware);
}

#[test]
fn a_log_takes_records_of_profile_2() {
    life::<threshold::Profile2>(scal3::Profile::Transcript, None, hardware);
}

#[test]
fn a_log_takes_records_of_profile_3() {
    life::<threshold::Profile3>(scal3::Profile::Passkey, Some(site()), |message| {
        passkey().varsig(&Hash(message.try_into().unwrap())).to_bytes()
    });
}
