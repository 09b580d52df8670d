//! Profile 1 from dealing to record, and every way it may go wrong.

mod common;

use common::ChaCha20;
use hpke::{Deserializable, Kem, OpModeS, Serializable};
use p256::ecdsa::signature::Signer;
use p256::elliptic_curve::sec1::ToSec1Point;
use p256::elliptic_curve::{PrimeField, ops::Reduce};
use p256_frost::elliptic_curve::hash2curve::{ExpandMsgXmd, hash_to_field};
use p256_frost::elliptic_curve::{PrimeField as _, sec1::ToEncodedPoint};
use scal3::metadata::{Ext, MetadataError};
use scal3::{Hash, Metadata};
use sha2::{Digest, Sha256};
use threshold::seal::Sealed;
use threshold::{
    Checked, Commitment, CompleteError, DeviceSecret, Enrolling, Enrolment, Fault, Idle, KemKey, KemPublicKey, Keys,
    Mask, MasterSecret, NonceSeed, OpenError, Operation, Pass, PassError, Pin, Profile1, Profile2, ProviderShare,
    PublicFault, Record, Session, Shares, SubscriberError, deal,
};

type P = Profile1;

const ORIGIN: &str = "log.example/sole";
const ENROLMENT: Hash = Hash([0x11; 32]);
const CREDENTIAL: Hash = Hash([0x22; 32]);
const RANDOM: [u8; 32] = [0x33; 32];
const SEED: [u8; 32] = [0x44; 32];
const INSTRUCTION: Hash = Hash([0x55; 32]);

/// One enrolled person and the provider.
struct World {
    rng: ChaCha20,
    device: p256::ecdsa::SigningKey,
    secret: DeviceSecret,
    kem: KemKey,
    enrolment: Enrolment<P>,
}

impl World {
    fn new() -> Self {
        Self::seeded(1)
    }

    fn seeded(seed: u8) -> Self {
        let mut rng = ChaCha20::new([seed; 32]);
        let device = p256::ecdsa::SigningKey::from_slice(&[0x66; 32]).unwrap();
        let secret = DeviceSecret::draw(&mut rng);
        let kem = MasterSecret::draw(&mut rng).kem_key(&ENROLMENT);
        let mask = secret.mask(&Pin::new("12345"));
        let device_key = encode(&device);
        let enrolling = Enrolling { origin: ORIGIN, enrolment_id: &ENROLMENT, device_key: &device_key };
        let enrolment = deal(&enrolling, &mask, &kem.public_key(), &mut rng).unwrap();
        World { rng, device, secret, kem, enrolment }
    }

    fn keys(&self) -> Keys<'_> {
        Keys { joint: self.enrolment.joint_key, device: encode(&self.device), passkey: None }
    }

    fn open(&self) -> Result<ProviderShare<P>, OpenError> {
        open(&self.keys().device, &self.enrolment, &self.kem)
    }

    /// A pass, made with a PIN.
    fn pass(&mut self, pin: &str) -> Pass<P> {
        let mask = self.secret.mask(&Pin::new(pin));
        let committed = Idle::unlock(&self.enrolment, &mask).unwrap().commit(&mut self.rng);
        let recipient = self.kem.public_key();
        let to_sign = committed.prepare(&session(), &operation(), &recipient, &mut self.rng).unwrap();
        assert_eq!(to_sign.message().len(), 64);
        assert_eq!(to_sign.digest()[..], Sha256::digest(to_sign.message())[..]);
        let signature = sign(&self.device, to_sign.message());
        to_sign.finish(&signature).unwrap()
    }

    fn check(&self, pass: &[u8]) -> Result<Checked<P>, PublicFault> {
        Pass::parse(pass).unwrap().check(&self.keys(), &session(), &operation())
    }

    fn complete(&self, pass: &[u8]) -> Result<Record<P>, CompleteError> {
        let checked = self.check(pass).unwrap();
        let agreed = self.kem.agree(checked.encapsulated()).unwrap();
        checked.complete(seed().take(), &self.open().unwrap(), &agreed)
    }
}

fn seed() -> NonceSeed {
    NonceSeed::from_bytes(SEED)
}

fn session() -> Session {
    Session::new(&CREDENTIAL, &RANDOM, &seed().commitment::<P>())
}

fn operation() -> Operation<P> {
    Operation::new(&metadata().to_bytes(), &INSTRUCTION).unwrap()
}

/// Metadata that answers [`session`].
fn metadata() -> Metadata {
    Metadata {
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
    }
}

/// An operation under other metadata.
fn altered(alter: impl FnOnce(&mut Metadata)) -> Operation<P> {
    let mut metadata = metadata();
    alter(&mut metadata);
    Operation::new(&metadata.to_bytes(), &INSTRUCTION).unwrap()
}

fn open(device_key: &[u8; 33], enrolment: &Enrolment<P>, kem: &KemKey) -> Result<ProviderShare<P>, OpenError> {
    let enrolling = Enrolling { origin: ORIGIN, enrolment_id: &ENROLMENT, device_key };
    let agreed = kem.agree(enrolment.shares.encapsulated()).unwrap();
    ProviderShare::open(&enrolling, enrolment, &kem.public_key(), &agreed)
}

fn encode(key: &p256::ecdsa::SigningKey) -> [u8; 33] {
    key.verifying_key().to_sec1_point(true).as_bytes().try_into().unwrap()
}

fn sign(key: &p256::ecdsa::SigningKey, message: &[u8]) -> [u8; 64] {
    let signature: p256::ecdsa::Signature = key.sign(message);
    signature.to_bytes().into()
}

/// Seals with the `hpke` crate alone: E || ciphertext || tag.
fn seal(to: &KemPublicKey, info: &[u8], aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    type Dh = hpke::kem::DhP256HkdfSha256;
    let to = p256::PublicKey::from_sec1_bytes(to.as_bytes()).unwrap().to_sec1_point(false);
    let (sender, sealed) = hpke::single_shot_seal_with_rng::<hpke::aead::AesGcm128, hpke::kdf::HkdfSha256, Dh>(
        &OpModeS::Base,
        &<Dh as Kem>::PublicKey::from_bytes(to.as_bytes()).unwrap(),
        info,
        plaintext,
        aad,
        &mut ChaCha20::new([0x77; 32]),
    )
    .unwrap();
    let sender = p256::PublicKey::from_sec1_bytes(&sender.to_bytes()).unwrap();
    [sender.to_sec1_point(true).as_bytes(), &sealed].concat()
}

#[test]
fn a_record_is_made_and_is_textbook_ec_sdsa() {
    let mut world = World::new();
    let pass = world.pass("12345").to_bytes();
    assert_eq!(pass.len(), 340);
    let record = world.complete(&pass).unwrap();
    let bytes = record.as_bytes();

    let (message, tail) = bytes.split_at(bytes.len() - 224);
    assert_eq!(message[..33], pass[130..163]);
    assert_eq!(&message[33..], [&metadata().to_bytes()[..], &INSTRUCTION.0].concat());
    assert_eq!(&tail[..32], record.c());
    assert_eq!(tail[64..96], pass[308..], "the checksum");

    // R = zG - c PK, over another generation of the curve than the one that signed.
    let scalar = |bytes: &[u8]| {
        let bytes = <[u8; 32]>::try_from(bytes).unwrap();
        p256::Scalar::from_repr(bytes.into()).unwrap()
    };
    let reduced = p256::Scalar::reduce(&p256::FieldBytes::try_from(&tail[..32]).unwrap());
    let key = p256::PublicKey::from_sec1_bytes(&world.keys().joint).unwrap();
    let r = p256::ProjectivePoint::GENERATOR * scalar(&tail[32..64]) - key.to_projective() * reduced;
    let r = r.to_affine().to_sec1_point(false);
    let c = Sha256::new().chain_update(&r.as_bytes()[1..]).chain_update(message).finalize();
    assert_eq!(c[..], tail[..32]);

    // And as a stranger sees it.
    let keys = world.keys();
    scal3::transcript::verify_textbook(&keys.joint, &keys.device, bytes).unwrap();
    for at in 0..bytes.len() {
        let mut altered = bytes.to_vec();
        altered[at] ^= 1;
        scal3::transcript::verify_textbook(&keys.joint, &keys.device, &altered).unwrap_err();
    }
}

/// The fifteen steps of the authentication, in their order: what each takes, the one before has made. That none can be left
/// out or taken twice is in the types; that a step made the right bytes is here.
#[test]
fn r3_08_the_fifteen_steps_make_a_record_in_their_order() {
    let mut world = World::new();
    let share = world.open().unwrap();
    let mask = world.secret.mask(&Pin::new("12345"));
    // 1. The provider commits. 2. The challenge, which names the commitments.
    let commitment = seed().commitment::<P>();
    let session = Session::new(&CREDENTIAL, &RANDOM, &commitment);
    let other = NonceSeed::from_bytes([0x45; 32]).commitment::<P>();
    assert_ne!(session.challenge(), Session::new(&CREDENTIAL, &RANDOM, &other).challenge());
    // 3. The subscriber commits. 4. The binding key pair. Both before anything is signed, and used up by it.
    let committed = Idle::unlock(&world.enrolment, &mask).unwrap().commit(&mut world.rng);
    // 5. The message. 6. The user's FROST share. 7. Its checksum.
    let to_sign = committed.prepare(&session, &operation(), &world.kem.public_key(), &mut world.rng).unwrap();
    let (c, checksum) = (to_sign.message()[..32].to_vec(), to_sign.message()[32..].to_vec());
    // 8. The device signs c and checksum.
    let device_sig = sign(&world.device, to_sign.message());
    // 9. The binding signature. 10. The one-time key is gone with `to_sign`. 11. The response.
    let pass = to_sign.finish(&device_sig).unwrap().to_bytes();
    let mut rest = &pass[..];
    let [commitments, device, binding_key, binding_sig, sealed, check] =
        [66, 64, 33, 64, 81, 32].map(|length| rest.split_off(..length).unwrap());
    assert!(rest.is_empty());
    assert_eq!((device, check), (&device_sig[..], &checksum[..]));
    assert_eq!((commitments.len(), sealed.len()), (66, 81));
    let keys = world.keys();
    // 12. The provider validates. 13. It signs with its own share. 14. It aggregates.
    let checked = Pass::parse(&pass).unwrap().check(&keys, &session, &operation()).unwrap();
    let agreed = world.kem.agree(checked.encapsulated()).unwrap();
    let record = checked.complete(seed().take(), &share, &agreed).unwrap();
    // 15. The record: binding_vk, metadata, instruction, c, z, checksum, device_sig, binding_sig.
    let z = &record.as_bytes()[33 + metadata().to_bytes().len() + 64..][..32];
    let whole =
        [binding_key, &metadata().to_bytes(), &INSTRUCTION.0, &c, z, &checksum, &device_sig, binding_sig].concat();
    assert_eq!(record.as_bytes(), whole);
    scal3::transcript::verify_textbook(&keys.joint, &keys.device, record.as_bytes()).unwrap();
    // A script in another language, which shares no code with this, gives these very bytes its verdict.
    let file = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/vectors/record/valid.json"));
    let file: serde_json::Value = serde_json::from_str(&file.unwrap()).unwrap();
    let case =
        file["cases"].as_array().unwrap().iter().find(|case| case["id"] == "made-by-device-and-provider").unwrap();
    for (name, made) in [("joint_key", &keys.joint[..]), ("device_key", &keys.device), ("hex", record.as_bytes())] {
        assert_eq!(case[name], hex::encode(made), "{name}");
    }
    // The user's share alone is no signature: what was aggregated is another number.
    assert_ne!(Sha256::digest(z)[..], checksum[..]);
}

#[test]
fn every_enrolment_of_many_makes_records() {
    for seed in 2..10 {
        let mut world = World::seeded(seed);
        for _ in 0..3 {
            let pass = world.pass("12345").to_bytes();
            world.complete(&pass).unwrap();
        }
    }
}

#[test]
fn a_wrong_pin_is_told_apart_from_transport() {
    let mut world = World::new();
    let pass = world.pass("12346").to_bytes();
    let error = world.complete(&pass).unwrap_err();
    assert_eq!(error, CompleteError::WrongShare);
    assert_eq!(error.fault(), Fault::WrongPin);

    // A share that arrives as another one than the device signed for.
    let pass = world.pass("12345").to_bytes();
    let c = *world.check(&pass).unwrap().c();
    let aad = [&CREDENTIAL.0[..], &session().challenge().0, &c].concat();
    let recipient = world.kem.public_key();
    let replaced = |info: &[u8], aad: &[u8], share: &[u8]| {
        let sealed = seal(&recipient, info, aad, share);
        world.complete(&[&pass[..227], &sealed, &pass[308..]].concat()).unwrap_err()
    };
    let info = b"solelog/pass/v1";
    let checksum = replaced(info, &aad, &[1; 32]);
    assert_eq!(checksum, CompleteError::Checksum);
    assert_eq!(checksum.fault(), Fault::Transport);
    assert_eq!(replaced(b"", &aad, &[1; 32]), CompleteError::Unopened);
    for at in [0, 32, 64] {
        let mut other = aad.clone();
        other[at] ^= 1;
        assert_eq!(replaced(info, &other, &[1; 32]), CompleteError::Unopened, "byte {at}");
    }
    assert_eq!(CompleteError::Unopened.fault(), Fault::Transport);
}

/// What no honest device sends: a share that is no scalar, with every public check in order.
#[test]
fn a_share_that_is_no_scalar_counts_as_an_attempt() {
    let mut world = World::new();
    // The binding key is the first draw of a commitment.
    let mut rng = ChaCha20::new([5; 32]);
    let mut bytes = [0; 32];
    rand_core::Rng::fill_bytes(&mut rng, &mut bytes);
    let binding_key = p256::ecdsa::SigningKey::from_slice(&bytes).unwrap();

    world.rng = ChaCha20::new([5; 32]);
    let pass = world.pass("12345").to_bytes();
    assert_eq!(pass[130..163], encode(&binding_key));
    let c = *world.check(&pass).unwrap().c();
    let share = [0xff; 32];
    let checksum: [u8; 32] = Sha256::digest(share).into();
    let device_sig = sign(&world.device, &[c, checksum].concat());
    let aad = [&CREDENTIAL.0[..], &session().challenge().0, &c].concat();
    let pass = [
        &pass[..66],
        &device_sig,
        &encode(&binding_key),
        &sign(&binding_key, &device_sig),
        &seal(&world.kem.public_key(), b"solelog/pass/v1", &aad, &share),
        &checksum,
    ]
    .concat();
    let error = world.complete(&pass).unwrap_err();
    assert_eq!(error, CompleteError::Scalar);
    assert_eq!(error.fault(), Fault::WrongPin);
}

#[test]
fn every_bit_of_a_pass_matters_and_says_where() {
    let mut world = World::new();
    let pass = world.pass("12345").to_bytes();
    world.complete(&pass).unwrap();
    #[derive(Debug, PartialEq)]
    enum Where {
        Parse(PassError),
        Public(PublicFault),
        Secret(CompleteError),
    }
    for at in 0..pass.len() {
        let mut altered = pass.clone();
        altered[at] ^= 0x01;
        let found = match Pass::<P>::parse(&altered) {
            Err(error) => Where::Parse(error),
            Ok(parsed) => match parsed.check(&world.keys(), &session(), &operation()) {
                Err(fault) => Where::Public(fault),
                Ok(_) => Where::Secret(world.complete(&altered).unwrap_err()),
            },
        };
        let ok = match at {
            // c changes, and the device did not sign that one.
            0..66 => {
                matches!(found, Where::Parse(PassError::Commitment) | Where::Public(PublicFault::Device))
            }
            66..130 => matches!(found, Where::Public(PublicFault::Binding)),
            130..163 => {
                matches!(found, Where::Parse(PassError::BindingKey) | Where::Public(PublicFault::Binding))
            }
            163..227 => matches!(found, Where::Public(PublicFault::Binding)),
            227..260 => {
                matches!(found, Where::Parse(PassError::Encapsulated) | Where::Secret(CompleteError::Unopened))
            }
            260..308 => matches!(found, Where::Secret(CompleteError::Unopened)),
            _ => matches!(found, Where::Public(PublicFault::Device)),
        };
        assert!(ok, "byte {at}: {found:?}");
    }
}

#[test]
fn malformed_passes_are_refused_by_name() {
    let mut world = World::new();
    let pass = world.pass("12345").to_bytes();
    let with = |at: usize, bytes: &[u8]| {
        let mut pass = pass.clone();
        pass[at..at + bytes.len()].copy_from_slice(bytes);
        Pass::<P>::parse(&pass).unwrap_err()
    };
    assert_eq!(Pass::<P>::parse(&[]).unwrap_err(), PassError::Length);
    assert_eq!(Pass::<P>::parse(&pass[..339]).unwrap_err(), PassError::Length);
    assert_eq!(Pass::<P>::parse(&pass[..308]).unwrap_err(), PassError::Length);
    assert_eq!(Pass::<P>::parse(&[&pass[..], &[0]].concat()).unwrap_err(), PassError::Length);
    assert_eq!(Pass::<Profile2>::parse(&pass).unwrap_err(), PassError::Length);
    // The compact form is a second spelling of a point.
    assert_eq!(with(0, &[5]), PassError::Commitment);
    assert_eq!(with(33, &[4]), PassError::Commitment);
    assert_eq!(with(66, &[0; 32]), PassError::DeviceSignature);
    assert_eq!(with(98, &[0xff; 32]), PassError::DeviceSignature);
    assert_eq!(with(130, &[0]), PassError::BindingKey);
    assert_eq!(with(130, &[5]), PassError::BindingKey);
    assert_eq!(with(195, &[0; 32]), PassError::BindingSignature);
    assert_eq!(with(227, &[5]), PassError::Encapsulated);
    assert_eq!(Pass::<P>::parse(&pass).unwrap().to_bytes(), pass);
}

#[test]
fn a_pass_is_for_one_credential_challenge_operation_and_device() {
    let mut world = World::new();
    let pass = world.pass("12345").to_bytes();
    let parse = || Pass::<P>::parse(&pass).unwrap();
    let keys = world.keys();
    let fault =
        |keys: &Keys, session: &Session, operation: &Operation<P>| parse().check(keys, session, operation).unwrap_err();

    let other = World::seeded(7).keys().joint;
    let other_seed = NonceSeed::from_bytes([0x45; 32]);
    let other_session = Session::new(&CREDENTIAL, &RANDOM, &other_seed.commitment::<P>());
    assert_eq!(fault(&keys, &other_session, &operation()), PublicFault::OtherChallenge);
    let other_challenge = altered(|metadata| metadata.challenge = *other_session.challenge());
    assert_eq!(fault(&keys, &other_session, &other_challenge), PublicFault::Device);
    let other_instruction = Operation::new(&metadata().to_bytes(), &Hash([0x56; 32])).unwrap();
    assert_eq!(fault(&keys, &session(), &other_instruction), PublicFault::Device);
    let other_metadata = altered(|metadata| metadata.sequence = 1);
    assert_eq!(fault(&keys, &session(), &other_metadata), PublicFault::Device);
    // The challenge hash does not name the joint key, the factors of the nonces do.
    assert_eq!(fault(&Keys { joint: other, ..keys }, &session(), &operation()), PublicFault::Device);
    assert_eq!(fault(&Keys { device: other, ..keys }, &session(), &operation()), PublicFault::Device);
    assert_eq!(fault(&Keys { joint: [0; 33], ..keys }, &session(), &operation()), PublicFault::JointKey);
    assert_eq!(fault(&Keys { device: [5; 33], ..keys }, &session(), &operation()), PublicFault::DeviceKey);

    // Another credential or another random under the same commitments: no signature tells, the metadata does.
    let commitment = *session().commitment();
    let other_credential = Session::new(&Hash([1; 32]), &RANDOM, &commitment);
    assert_eq!(fault(&keys, &other_credential, &operation()), PublicFault::OtherCredential);
    let other_random = Session::new(&CREDENTIAL, &[1; 32], &commitment);
    assert_eq!(fault(&keys, &other_random, &operation()), PublicFault::OtherChallenge);

    // The provider's own mistakes.
    let agreed = world.kem.agree(parse().encapsulated()).unwrap();
    let checked = parse().check(&keys, &session(), &operation()).unwrap();
    let error = checked.complete(other_seed.take(), &world.open().unwrap(), &agreed).unwrap_err();
    assert_eq!((error, error.fault()), (CompleteError::OtherNonces, Fault::Provider));
    let checked = parse().check(&keys, &session(), &operation()).unwrap();
    let others = World::seeded(7).open().unwrap();
    let error = checked.complete(seed().take(), &others, &agreed).unwrap_err();
    assert_eq!((error, error.fault()), (CompleteError::OtherShare, Fault::Provider));
}

/// What a share's plaintext says, one part at a time.
#[derive(Clone)]
struct Plain {
    header: [u8; 5],
    id: [u8; 32],
    share: [u8; 32],
    count: u8,
    constant: [u8; 33],
    slope: [u8; 33],
}

impl Plain {
    /// A sharing of `secret` with `slope` on it, dealt by the test.
    fn of(secret: p256_frost::Scalar, slope: p256_frost::Scalar) -> Self {
        let point = |scalar| {
            let point = p256_frost::ProjectivePoint::GENERATOR * scalar;
            point.to_affine().to_encoded_point(true).as_bytes().try_into().unwrap()
        };
        let mut id = [0; 32];
        id[31] = 1;
        Plain {
            header: [0x00, 0xa1, 0x32, 0xf0, 0xc9],
            id,
            share: (secret + slope).to_repr().into(),
            count: 2,
            constant: point(secret),
            slope: point(slope),
        }
    }

    /// What the provider says to it, when the enrolment is of `joint_key`.
    fn open(&self, world: &World, joint_key: [u8; 33]) -> Result<ProviderShare<P>, OpenError> {
        let Plain { header, id, share, count, constant, slope } = self;
        let plain = [&header[..], id, share, &[*count], constant, slope].concat();
        let device = world.keys().device;
        let blinded = [1; 32];
        let aad = [&ENROLMENT.0[..], &joint_key, &device, &blinded, ORIGIN.as_bytes()].concat();
        let sealed = seal(&world.kem.public_key(), b"solelog/share/v1", &aad, &plain);
        let shares = Shares::parse(&[&blinded[..], &sealed].concat()).unwrap();
        open(&device, &Enrolment::from_parts(joint_key, shares, world.kem.public_key().id()), &world.kem)
    }
}

#[test]
fn malformed_shares_are_refused_by_name() {
    use p256_frost::Scalar;
    let world = World::new();
    let (secret, slope) = (Scalar::from(1234u64), Scalar::from(99u64));
    let good = Plain::of(secret, slope);
    let joint_key = good.constant;
    let check = |expected: OpenError, alter: &dyn Fn(&mut Plain)| {
        let mut plain = good.clone();
        alter(&mut plain);
        assert_eq!(plain.open(&world, joint_key).unwrap_err(), expected);
    };
    good.open(&world, joint_key).unwrap();

    check(OpenError::Header, &|plain| plain.header[0] = 1);
    check(OpenError::Header, &|plain| plain.header[4] ^= 1);
    check(OpenError::Identifier, &|plain| plain.id[31] = 2);
    check(OpenError::Identifier, &|plain| plain.id[31] = 0);
    check(OpenError::Identifier, &|plain| plain.id[0] = 1);
    check(OpenError::Scalar, &|plain| plain.share = [0xff; 32]);
    check(OpenError::Coefficients, &|plain| plain.count = 1);
    check(OpenError::Coefficients, &|plain| plain.count = 3);
    check(OpenError::Commitment, &|plain| plain.constant[0] = 5);
    check(OpenError::Commitment, &|plain| plain.slope[0] = 4);
    check(OpenError::Commitment, &|plain| plain.slope = [0; 33]);
    check(OpenError::Commitment, &|plain| plain.slope[1..].fill(0xff));
    check(OpenError::OtherKey, &|plain| plain.constant[0] ^= 1);
    check(OpenError::OtherKey, &|plain| plain.constant = plain.slope);
    check(OpenError::Share, &|plain| plain.share[31] ^= 1);
    check(OpenError::Share, &|plain| plain.slope[0] ^= 1);
    check(OpenError::Share, &|plain| plain.share = [0; 32]);

    // The published implementation takes these two as well: share 5, and identifier 7.
    check(OpenError::Share, &|plain| plain.share = Scalar::from(5u64).to_repr().into());
    check(OpenError::Identifier, &|plain| plain.id[31] = 7);

    // A consistent sharing in which one party holds nothing.
    let nothing = Plain::of(secret, -secret);
    assert_eq!(nothing.share, [0; 32]);
    assert_eq!(nothing.open(&world, joint_key).unwrap_err(), OpenError::Zero);
    let half = Scalar::from(2u64).invert().unwrap();
    let alone = Plain::of(secret, -(secret * half));
    assert_eq!(alone.open(&world, joint_key).unwrap_err(), OpenError::Zero);
}

#[test]
fn a_sealed_share_is_for_one_enrolment() {
    let world = World::new();
    world.open().unwrap();
    let device_key = world.keys().device;
    let context = Enrolling { origin: ORIGIN, enrolment_id: &ENROLMENT, device_key: &device_key };
    let agreed = world.kem.agree(world.enrolment.shares.encapsulated()).unwrap();
    let recipient = world.kem.public_key();
    let open = |context: Enrolling<'_>, enrolment: &Enrolment<P>| {
        ProviderShare::open(&context, enrolment, &recipient, &agreed).unwrap_err()
    };
    let same = &world.enrolment;
    assert_eq!(open(Enrolling { origin: "log.example/sold", ..context }, same), OpenError::Unopened);
    assert_eq!(open(Enrolling { origin: "", ..context }, same), OpenError::Unopened);
    assert_eq!(open(Enrolling { enrolment_id: &Hash([0x12; 32]), ..context }, same), OpenError::Unopened);
    let other = World::seeded(8).keys().joint;
    assert_eq!(open(Enrolling { device_key: &other, ..context }, same), OpenError::Unopened);
    let with = |joint_key: [u8; 33], shares: Shares| Enrolment::from_parts(joint_key, shares, recipient.id());
    let moved = with(other, same.shares.clone());
    assert_eq!(open(context, &moved), OpenError::Unopened);
    let bad = with([5; 33], same.shares.clone());
    assert_eq!(open(context, &bad), OpenError::JointKey);
    let elsewhere = Enrolment::from_parts(same.joint_key, same.shares.clone(), Hash([1; 32]));
    assert_eq!(open(context, &elsewhere), OpenError::OtherRecipient);

    let bytes = same.shares.to_bytes();
    assert_eq!(bytes.len(), Shares::LEN);
    assert_eq!(Shares::parse(&bytes).unwrap(), same.shares);
    for len in [0, 31, 32, 65, 216] {
        assert!(Shares::parse(&bytes[..len]).is_none(), "{len} bytes");
    }
    assert!(Shares::parse(&[&bytes[..], &[0]].concat()).is_none());
    for at in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[at] ^= 1;
        let shares = Shares::parse(&altered).unwrap();
        assert_ne!(shares.hash(), same.shares.hash());
        let altered = with(same.joint_key, shares);
        assert_eq!(open(context, &altered), OpenError::Unopened, "byte {at}");
    }
    let blinded = [&[0xff; 32], &bytes[32..]].concat();
    let blinded = with(same.joint_key, Shares::parse(&blinded).unwrap());
    assert_eq!(open(context, &blinded), OpenError::Blinded);
    assert_eq!(Idle::unlock(&blinded, &Mask::from_bytes([0; 32])).unwrap_err(), SubscriberError::Blinded);
    assert_eq!(Idle::unlock(&bad, &Mask::from_bytes([0; 32])).unwrap_err(), SubscriberError::JointKey);
}

#[test]
fn a_device_answers_for_its_credential_its_challenge_and_its_provider_only() {
    let mut world = World::new();
    let recipient = world.kem.public_key();
    let mut prepare = |session: &Session, operation: &Operation<P>, recipient: &KemPublicKey| {
        let mask = world.secret.mask(&Pin::new("12345"));
        let committed = Idle::unlock(&world.enrolment, &mask).unwrap().commit(&mut world.rng);
        committed.prepare(session, operation, recipient, &mut world.rng).map(|_| ())
    };
    prepare(&session(), &operation(), &recipient).unwrap();

    // The provider's next enrolment, and anybody else's key.
    let next = MasterSecret::from_bytes([9; 32]).kem_key(&Hash([0x12; 32])).public_key();
    assert_eq!(prepare(&session(), &operation(), &next), Err(SubscriberError::OtherRecipient));

    // A server that has metadata signed which it made for another credential or for an earlier challenge.
    let credential = altered(|metadata| metadata.credential = Hash([1; 32]));
    assert_eq!(prepare(&session(), &credential, &recipient), Err(SubscriberError::OtherCredential));
    let challenge = altered(|metadata| metadata.challenge = Hash([1; 32]));
    assert_eq!(prepare(&session(), &challenge, &recipient), Err(SubscriberError::OtherChallenge));
    // And one that sends another random than the challenge was computed from.
    let random = Session::new(&CREDENTIAL, &[1; 32], session().commitment());
    assert_eq!(prepare(&random, &operation(), &recipient), Err(SubscriberError::OtherChallenge));
}

#[test]
fn what_no_log_would_take_is_no_operation() {
    let bytes = metadata().to_bytes();
    let error = |bytes: &[u8]| Operation::<P>::new(bytes, &INSTRUCTION).unwrap_err();
    assert!(matches!(error(b""), MetadataError::Cbor(_)));
    assert!(matches!(error(&bytes[..bytes.len() - 1]), MetadataError::Cbor(_)));
    assert!(matches!(error(&[&bytes[..], &[0]].concat()), MetadataError::Cbor(_)));
    // One element fewer: the extensions.
    let short = [&[bytes[0] - 1], &bytes[1..bytes.len() - 1]].concat();
    assert!(matches!(error(&short), MetadataError::Shape(_)));
}

#[test]
fn a_device_signature_that_is_none_is_refused() {
    let mut world = World::new();
    for signature in [[0; 64], [0xff; 64]] {
        let mask = world.secret.mask(&Pin::new("12345"));
        let committed = Idle::unlock(&world.enrolment, &mask).unwrap().commit(&mut world.rng);
        let recipient = world.kem.public_key();
        let to_sign = committed.prepare(&session(), &operation(), &recipient, &mut world.rng).unwrap();
        assert_eq!(to_sign.finish(&signature).unwrap_err(), SubscriberError::DeviceSignature);
    }
}

/// The values are those of an independent script (Python's hmac, hashlib and unicodedata).
#[test]
fn mask_and_challenge_are_the_documented_hashes() {
    let secret = DeviceSecret::from_bytes(core::array::from_fn(|i| i as u8));
    let same = |mask: Mask, expected: &str| {
        let expected = Mask::from_bytes(hex::decode(expected).unwrap().try_into().unwrap());
        assert!(bool::from(subtle::ConstantTimeEq::ct_eq(&mask, &expected)));
    };
    same(secret.mask(&Pin::new("12345")), "1319021eb01db4924743af989326cdf8b3ce6bfb4af4e1b461643080fbb24145");
    // However it is composed: e and a combining acute, and the sign for angstrom.
    for typed in ["e\u{301} \u{212b}", "\u{e9} \u{c5}"] {
        same(secret.mask(&Pin::new(typed)), "b74263e6fc986d7f8b256ed0b7a685da2fc32dc801bb16ed285c729037c43377");
    }
    let pair = "036b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296\
                037cf27b188d034f7e8a52380304b51ac3c08969e277f21b35a60b48fc47669978";
    let pair = Commitment::parse(&hex::decode(pair).unwrap().try_into().unwrap()).unwrap();
    let session = Session::new(&Hash([2; 32]), &[1; 32], &pair);
    assert_eq!(session.challenge().to_hex(), "a0e1689cd349c36af86bd8031c5bccff255c9a70a6b9adf0cc9c9b5bf76b8f8a");
}

#[test]
fn seed_and_mask_become_other_scalars_in_each_profile() {
    assert_ne!(seed().commitment::<Profile1>(), seed().commitment::<Profile2>());
    // By another implementation of hash_to_field.
    let mut nonces = [p256_frost::Scalar::ZERO; 2];
    hash_to_field::<ExpandMsgXmd<sha2_frost::Sha256>, _>(&[&SEED], &[b"solelog/nonce/v1"], &mut nonces).unwrap();
    let commitment = nonces.map(|nonce| {
        let point = (p256_frost::ProjectivePoint::GENERATOR * nonce).to_affine().to_encoded_point(true);
        <[u8; 33]>::try_from(point.as_bytes()).unwrap()
    });
    assert_eq!(seed().commitment::<Profile1>().as_bytes()[..], commitment.concat());
    assert_ne!(seed().hash(), NonceSeed::from_bytes([0x45; 32]).hash());
}

#[test]
fn each_enrolment_has_a_kem_key_of_its_own() {
    let master = || MasterSecret::from_bytes([9; 32]);
    let key = master().kem_key(&ENROLMENT).public_key();
    assert_eq!(master().kem_key(&ENROLMENT).public_key(), key);
    assert_ne!(master().kem_key(&Hash([0x12; 32])).public_key(), key);
    assert_ne!(MasterSecret::from_bytes([8; 32]).kem_key(&ENROLMENT).public_key(), key);
    assert_ne!(key.id(), master().kem_key(&Hash([0x12; 32])).public_key().id());
    assert_eq!(KemPublicKey::parse(key.as_bytes()).unwrap(), key);
    let mut compact = *key.as_bytes();
    compact[0] = 5;
    KemPublicKey::parse(&compact).unwrap_err();
    master().kem_key(&ENROLMENT).agree(&compact).unwrap_err();
    assert!(KemKey::from_bytes(&[0; 32]).is_none());
    assert!(KemKey::from_bytes(&[0xff; 32]).is_none());
}

#[test]
fn nothing_secret_is_printed() {
    let mut world = World::new();
    let pass = world.pass("12345");
    let bytes = pass.to_bytes();
    let idle = Idle::unlock(&world.enrolment, &Mask::from_bytes([0xab; 32])).unwrap();
    let printed = [
        format!("{:?}", idle),
        format!("{:?}", idle.commit(&mut world.rng)),
        format!("{:?}", world.open().unwrap()),
        format!("{:?}", world.kem),
        format!("{:?}", world.secret),
        format!("{:?}", Pin::new("12345")),
        format!("{:?}", Mask::from_bytes([0xab; 32])),
        format!("{:?}", seed()),
        format!("{:?}", seed().take::<P>()),
        format!("{:?}", MasterSecret::from_bytes([0xab; 32])),
        format!("{:?}", world.kem.agree(pass.encapsulated()).unwrap()),
        format!("{:?}", world.check(&bytes).unwrap()),
        format!("{:?}", pass),
        format!("{:?}", operation()),
        format!("{:?}", Operation::of_digest(&[0xab; 32])),
        format!("{:?}", Sealed { encapsulated: [2; 33], ciphertext: [0xab; 32], tag: [1; 16] }),
    ];
    for text in &printed {
        let (name, what) = text.split_once('(').unwrap();
        assert!(name.chars().all(|c| c.is_ascii_alphabetic()), "{text}");
        assert!(["secret)", "confidential)"].contains(&what), "{text}");
    }
    // Shares are sealed, but are kept apart: their hash only.
    let shares = format!("{:?}", world.enrolment);
    assert!(shares.contains(&world.enrolment.shares.hash().to_hex()), "{shares}");
    assert!(!shares.contains(&hex::encode(&world.enrolment.shares.to_bytes()[..32])), "{shares}");
}
