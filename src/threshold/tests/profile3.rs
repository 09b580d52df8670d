//! Passes whose device is a passkey: the assertion is the answer to exactly this, or the pass is refused at no cost.

mod common;

use common::ChaCha20;
use p256::ecdsa::SigningKey;
use scal3::authenticator::About;
use scal3::credential::Passkey;
use scal3::evidence::Reason;
use scal3::metadata::Ext;
use scal3::{Hash, Metadata};
use threshold::{
    Checked, CompleteError, DeviceSecret, Enrolling, Enrolment, Idle, KemKey, Keys, MasterSecret, NonceSeed, Operation,
    Pass, PassError, Pin, Profile1, Profile3, ProviderShare, PublicFault, Session, ToSign, deal,
};

const ORIGIN: &str = "log.example/sole";
const ENROLMENT: Hash = Hash([0x21; 32]);
const CREDENTIAL: Hash = Hash([0x22; 32]);
const PIN: &str = "12345";

/// One person whose device is behind a browser, and the provider.
struct World {
    rng: ChaCha20,
    /// What the credential says of the device.
    passkey: Passkey,
    device_key: [u8; 33],
    device: testkit::Passkey,
    secret: DeviceSecret,
    kem: KemKey,
    enrolment: Enrolment<Profile3>,
}

impl World {
    fn new() -> World {
        let mut rng = ChaCha20::new([3; 32]);
        let key = SigningKey::from_slice(&[0x66; 32]).unwrap();
        let device_key = key.verifying_key().to_sec1_point(true).as_bytes().try_into().unwrap();
        let device = testkit::Passkey::new(Hash([1; 32]), testkit::Secret::P256(key));
        let About::WebAuthn(about) = &device.claims.about else { unreachable!("a passkey") };
        let passkey = Passkey { rp_id: about.rp_id.clone(), origins: about.origins.clone(), backup_eligible: false };
        let secret = DeviceSecret::draw(&mut rng);
        let kem = MasterSecret::draw(&mut rng).kem_key(&ENROLMENT);
        let context = Enrolling { origin: ORIGIN, enrolment_id: &ENROLMENT, device_key: &device_key };
        let enrolment = deal(&context, &secret.mask(&Pin::new(PIN)), &kem.public_key(), &mut rng).unwrap();
        World { rng, passkey, device_key, device, secret, kem, enrolment }
    }

    fn prepare(&mut self, pin: &str) -> ToSign<Profile3> {
        let committed = Idle::unlock(&self.enrolment, &self.secret.mask(&Pin::new(pin))).unwrap().commit(&mut self.rng);
        committed.prepare(&session(), &operation(), &self.kem.public_key(), &mut self.rng).unwrap()
    }

    /// A pass that this device answered, with this PIN.
    fn pass_by(&mut self, device: &testkit::Passkey, pin: &str) -> Vec<u8> {
        let to_sign = self.prepare(pin);
        let challenge = Hash(to_sign.message().try_into().unwrap());
        to_sign.finish(&device.varsig(&challenge).to_bytes()).unwrap().to_bytes()
    }

    fn pass(&mut self) -> Vec<u8> {
        let device = self.device.clone();
        self.pass_by(&device, PIN)
    }

    fn check(&self, pass: &[u8], passkey: Option<&Passkey>) -> Result<Checked<Profile3>, PublicFault> {
        let keys = Keys { joint: self.enrolment.joint_key, device: self.device_key, passkey };
        Pass::parse(pass).unwrap().check(&keys, &session(), &operation())
    }

    fn fault(&self, pass: &[u8]) -> PublicFault {
        self.check(pass, Some(&self.passkey)).unwrap_err()
    }

    fn complete(&self, pass: &[u8]) -> Result<Vec<u8>, CompleteError> {
        let context = Enrolling { origin: ORIGIN, enrolment_id: &ENROLMENT, device_key: &self.device_key };
        let agreed = self.kem.agree(self.enrolment.shares.encapsulated()).unwrap();
        let share = ProviderShare::open(&context, &self.enrolment, &self.kem.public_key(), &agreed).unwrap();
        let checked = self.check(pass, Some(&self.passkey)).unwrap();
        let agreed = self.kem.agree(checked.encapsulated()).unwrap();
        checked.complete(seed().take(), &share, &agreed).map(threshold::Record::into_bytes)
    }
}

fn seed() -> NonceSeed {
    NonceSeed::from_bytes([9; 32])
}

fn session() -> Session {
    Session::new(&CREDENTIAL, &[4; 32], &seed().commitment::<Profile3>())
}

fn operation() -> Operation<Profile3> {
    let metadata = Metadata {
        origin: ORIGIN.into(),
        provider: Hash([0x23; 32]),
        credential: CREDENTIAL,
        sequence: 0,
        previous: CREDENTIAL,
        index_key: Hash([0x24; 32]),
        challenge: *session().challenge(),
        policy: Hash([0x25; 32]),
        class: "credential.activate".into(),
        seen_size: 7,
        seen_root: Hash([0x26; 32]),
        time_ms: 1_760_000_000_000,
        expires_ms: 1_760_000_120_000,
        ext: Ext {},
    };
    Operation::new(&metadata.to_bytes(), &Hash([0x27; 32])).unwrap()
}

#[test]
fn the_right_device_and_the_right_pin_make_a_record() {
    let mut world = World::new();
    let pass = world.pass();
    let record = world.complete(&pass).unwrap();
    let record = scal3::record::Record::parse(scal3::Profile::Passkey, &record).unwrap();
    assert!(record.assertion().is_some());
    let device = world.device.clone();
    let wrong = world.pass_by(&device, "54321");
    assert_eq!(world.complete(&wrong), Err(CompleteError::WrongShare));
}

#[test]
fn an_assertion_of_another_kind_is_refused_by_its_reason() {
    let mut world = World::new();
    let mut by = |alter: fn(&mut testkit::Passkey)| {
        let mut device = world.device.clone();
        alter(&mut device);
        let pass = world.pass_by(&device, PIN);
        world.fault(&pass)
    };
    let asked = |reason| PublicFault::Assertion(reason);
    assert_eq!(by(|device| device.site = "https://bank.example.evil"), asked(Reason::Origin));
    assert_eq!(by(|device| device.rp_id = "evil.example"), asked(Reason::RpId));
    assert_eq!(by(|device| device.ceremony = "webauthn.create"), asked(Reason::Type));
    assert_eq!(by(|device| device.flags = 0x04), asked(Reason::UserPresent));
    assert_eq!(by(|device| device.flags = 0x0d), asked(Reason::BackupEligibility));
    assert_eq!(by(|device| device.secret = testkit::Secret::p256("a stranger")), PublicFault::Device);
    // The person was verified by the device too, or was not: the PIN is the second factor.
    let mut device = world.device.clone();
    device.flags = 0x01;
    let pass = world.pass_by(&device, PIN);
    world.complete(&pass).unwrap();
}

#[test]
fn an_answer_to_something_else_is_refused() {
    let mut world = World::new();
    for challenge in [Hash([0; 32]), *session().challenge()] {
        let to_sign = world.prepare(PIN);
        let pass = to_sign.finish(&world.device.varsig(&challenge).to_bytes()).unwrap().to_bytes();
        assert_eq!(world.fault(&pass), PublicFault::Assertion(Reason::Challenge));
    }
    // The credential of a device with a key of its own has no place for an assertion, and the other way round.
    let pass = world.pass();
    assert_eq!(world.check(&pass, None).unwrap_err(), PublicFault::Device);
}

#[test]
fn what_is_no_assertion_of_p256_makes_no_pass() {
    let mut world = World::new();
    let mut edwards = world.device.clone();
    edwards.secret = testkit::Secret::ed25519("edwards");
    for answer in [edwards.varsig(&Hash([1; 32])).to_bytes(), vec![7; 64], Vec::new()] {
        let to_sign = world.prepare(PIN);
        assert!(to_sign.finish(&answer).is_err());
    }
    let pass = world.pass();
    assert_eq!(Pass::<Profile3>::parse(&pass[..275]).unwrap_err(), PassError::Length);
    for cut in 276..pass.len() {
        assert_eq!(Pass::<Profile3>::parse(&pass[..cut]).unwrap_err(), PassError::DeviceSignature, "{cut} bytes");
    }
    assert_eq!(Pass::<Profile3>::parse(&[&pass[..], &[0]].concat()).unwrap_err(), PassError::DeviceSignature);
    assert_eq!(Pass::<Profile1>::parse(&pass).unwrap_err(), PassError::Length);
    assert_eq!(Pass::<Profile3>::parse(&pass).unwrap().to_bytes(), pass);
}

#[test]
fn no_altered_byte_makes_a_record() {
    let mut world = World::new();
    let pass = world.pass();
    for at in 0..pass.len() {
        let mut altered = pass.clone();
        altered[at] ^= 1;
        if Pass::<Profile3>::parse(&altered).is_err() || world.check(&altered, Some(&world.passkey)).is_err() {
            continue;
        }
        // Only what the provider alone can open is left for it to find.
        assert!((163..244).contains(&at), "byte {at}");
        assert_eq!(world.complete(&altered), Err(CompleteError::Unopened), "byte {at}");
    }
}
