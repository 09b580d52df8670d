//! People who exist for a load test only, and their records: valid, in order, and quickly made.
//!
//! ```text
//! person   device key, joint key (both halves, summed), label secret   claims, signed with the provider's issuing key
//! record   metadata (sequence, previous) ─ joint signature (c, z) ─ device signature ─ binding signature
//! ```
//! A person's device and the provider would make the joint signature together, each with a half of the key (`threshold`).
//! Here one program holds the whole key, so it is made at once, by the same equation: z = k + c·x. What the log gets, and
//! what it costs to verify, is the same. Fresh numbers come from [`Pairs`], the one thing that is shared between records.

use std::time::{SystemTime, UNIX_EPOCH};

use p256::Scalar;
use p256::ecdsa::SigningKey;
use p256::ecdsa::signature::Signer as _;
use p256::pkcs8::DecodePrivateKey as _;
use scal3::credential::{self, provider_id};
use scal3::index_key::{LabelSecret, Stream, StreamKey};
use scal3::instruction::{CLASS_ACTIVATE, Value};
use scal3::metadata::{self, Ext, Metadata};
use scal3::point::Point;
use scal3::record::{Check, Parts, device_message, joint_message};
use scal3::schnorr::Challenge;
use scal3::{Claims, Document, Field, Hash, Opening, Profile, opening};
use sha2::{Digest as _, Sha256};
use tlog::TreeHead;

use crate::Error;
use crate::pairs::{Pair, Pairs, ecdsa, reduce};

/// How far from its time a record may be sequenced, either way, with some left for clocks: [`scal3::verify::TIME_TOLERANCE_MS`].
const TOLERANCE_MS: u64 = 290_000;

/// How long after it was made a record can still be sent: its time is put as far ahead as a log takes.
pub const USABLE_MS: u64 = 2 * TOLERANCE_MS - 10_000;

/// The class of what people authorise here.
const CLASS: &str = "document.sign";

/// The provider whose people they are.
pub struct Provider {
    issuing: SigningKey,
    id: Hash,
    origin: String,
    policy: Hash,
}

impl Provider {
    /// The provider whose issuing key lies in a file (PKCS#8, PEM), in the log of that origin with that policy in force.
    ///
    /// # Errors
    /// [`Error::Make`] for a text that is no such key.
    pub fn from_pem(pem: &str, origin: &str, policy: &[u8]) -> Result<Provider, Error> {
        let issuing = SigningKey::from_pkcs8_pem(pem).map_err(|e| Error::Make(format!("the issuing key: {e}")))?;
        Ok(Provider::new(issuing, origin, policy))
    }

    /// A provider with that key.
    #[must_use]
    pub fn new(issuing: SigningKey, origin: &str, policy: &[u8]) -> Provider {
        let mut public = [0; 33];
        public.copy_from_slice(issuing.verifying_key().to_sec1_point(true).as_bytes());
        let policy = scal3::genesis::policy_hash(policy);
        Provider { issuing, id: provider_id(&public), origin: origin.to_owned(), policy }
    }
}

/// Somebody with a credential.
pub struct Person {
    device: Scalar,
    joint: Scalar,
    joint_key: Point,
    own: StreamKey,
    claims: Claims,
    id: Hash,
    policy: Hash,
    sequence: u64,
    previous: Hash,
    /// From which salts and challenges derive.
    seed: [u8; 32],
}

/// A record that is ready to be sent.
#[derive(Debug, Clone)]
pub struct Made {
    /// The opening.
    pub opening: Vec<u8>,
    /// What its entry will commit to.
    pub commitment: Hash,
}

impl Person {
    /// Somebody new, with the credential that the provider signs.
    ///
    /// # Errors
    /// [`Error::Make`] if the machine has no randomness.
    pub fn new(provider: &Provider, now_ms: u64) -> Result<(Person, Vec<u8>), Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|e| Error::Make(format!("no randomness: {e}")))?;
        let mut pairs = Pairs::from_seed(&derived(&seed, "keys", 0));
        let (device, joint) = (pairs.take(), pairs.take());
        let enrolment_id = Hash(derived(&seed, "enrolment", 0));
        let labels = LabelSecret::from_bytes(derived(&seed, "labels", 0));
        let stream = |stream| labels.stream_key(&enrolment_id, stream);
        let claims = Claims {
            origin: provider.origin.clone(),
            provider: provider.id,
            issuer: "Load test".to_owned(),
            enrolment_id,
            subject: Hash(derived(&seed, "subject", 0)),
            profile: Profile::EcSdsa,
            joint_key: joint.public(),
            device_key: device.public(),
            // Nobody deals shares here; the log never sees any.
            shares: Hash(derived(&seed, "shares", 0)),
            passkey: None,
            kem_key_id: Hash(derived(&seed, "kem", 0)),
            labels: [stream(Stream::Own).label(), stream(Stream::Provider).label()],
            attestation: "load test".to_owned(),
            not_before_ms: now_ms.saturating_sub(60_000),
            not_after_ms: now_ms.saturating_add(365 * 86_400_000),
            predecessor: None,
            ordinal: 0,
        };
        let signature: p256::ecdsa::Signature = provider.issuing.sign(&claims.to_be_signed());
        let credential = claims.with_signature(&signature.to_bytes().into());
        let id = credential::credential_id(&claims.to_bytes());
        let person = Person {
            device: device.secret,
            joint: joint.secret,
            joint_key: point(&joint)?,
            own: stream(Stream::Own),
            claims,
            id,
            policy: provider.policy,
            sequence: 0,
            previous: id,
            seed,
        };
        Ok((person, credential))
    }

    /// The credential's id.
    #[must_use]
    pub fn id(&self) -> Hash {
        self.id
    }

    /// The keys that the person's records verify under: the joint key, then the device's.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The next record: the first activates the credential, every later one signs a document. `seen` is a head that covers
    /// the credential's entry.
    ///
    /// # Errors
    /// [`Error::Make`]: the program is wrong.
    pub fn next(&mut self, pairs: &mut Pairs, seen: &TreeHead, now_ms: u64) -> Result<Made, Error> {
        let document = self.document();
        let time_ms = now_ms.saturating_add(TOLERANCE_MS);
        let metadata = Metadata {
            origin: self.claims.origin.clone(),
            provider: self.claims.provider,
            credential: self.id,
            sequence: self.sequence,
            previous: self.previous,
            index_key: self.own.index_key(self.sequence),
            challenge: Hash(derived(&self.seed, "challenge", self.sequence)),
            policy: self.policy,
            class: document.class.clone(),
            seen_size: seen.size.get(),
            seen_root: seen.root,
            time_ms,
            expires_ms: time_ms.saturating_add(TOLERANCE_MS),
            ext: Ext::default(),
        };
        let (record, c) = self.sign(pairs, &metadata.to_bytes(), &document.id())?;
        let opening =
            Opening { profile: Profile::EcSdsa, record, evidence: Vec::new(), shown: document.show(|_| false) }
                .to_bytes();
        self.previous = metadata::previous(&self.id, self.sequence, &c);
        self.sequence += 1;
        Ok(Made { commitment: opening::commitment(&opening), opening })
    }

    fn document(&self) -> Document {
        let field = |name: &str, value: String| {
            let mut salt = [0; 16];
            salt.copy_from_slice(&derived(&self.seed, name, self.sequence)[..16]);
            Field { salt, name: name.to_owned(), value: Value::Text(value) }
        };
        match self.sequence {
            0 => Document { class: CLASS_ACTIVATE.to_owned(), fields: vec![field("device", "load test".to_owned())] },
            number => Document { class: CLASS.to_owned(), fields: vec![field("text", format!("number {number}"))] },
        }
    }

    /// The record of profile 1, and its c.
    fn sign(&self, pairs: &mut Pairs, metadata: &[u8], instruction: &Hash) -> Result<(Vec<u8>, [u8; 32]), Error> {
        let [binding, nonce, device_nonce, binding_nonce] = std::array::from_fn(|_| pairs.take());
        let binding_key = binding.public();
        let message = joint_message(Profile::EcSdsa, &binding_key, metadata, instruction);
        let c = Challenge::EcSdsa.compute(&point(&nonce)?, &self.joint_key, &[&message]);
        let z = nonce.secret + reduce(&c) * self.joint;
        // The checksum is of the user's share of z, which only the provider sees: any number will do.
        let check = Check::checksum(&nonce.secret.to_bytes().into());
        let device_sig = ecdsa(&self.device, &device_nonce, &device_message(&c, &check));
        let parts = Parts {
            binding_key: &binding_key,
            metadata,
            instruction_id: instruction,
            c: &c,
            z: &z.to_bytes().into(),
            check,
            device_sig: &device_sig,
            binding_sig: &ecdsa(&binding.secret, &binding_nonce, &device_sig),
        };
        Ok((parts.to_bytes(), c))
    }
}

/// The point as `scal3` has it.
fn point(pair: &Pair) -> Result<Point, Error> {
    let bytes = uncompressed(pair);
    Point::from_sec1_any(&bytes).map_err(|e| Error::Make(format!("a point: {e}")))
}

/// 04, x, y: to read it back costs no square root.
fn uncompressed(pair: &Pair) -> [u8; 65] {
    use p256::elliptic_curve::sec1::ToSec1Point as _;
    let mut bytes = [0; 65];
    bytes.copy_from_slice(pair.point.to_sec1_point(false).as_bytes());
    bytes
}

fn derived(seed: &[u8; 32], what: &str, number: u64) -> [u8; 32] {
    Sha256::new_with_prefix(seed).chain_update(what).chain_update(number.to_be_bytes()).finalize().into()
}

/// Milliseconds since 1970.
#[must_use]
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}
