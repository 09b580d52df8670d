//! The cast of `solelog demo` and `solelog dev`: a provider's backend, and subscribers with their devices.
//!
//! They make real credentials and real records: the cryptography is the crate `threshold`'s, both halves of it. What a
//! phone and a backend would do in two places, [`Subscriber::authorise`] does in one, in the same order and with the
//! same bytes between the two. Keys live in memory and end with the process.

use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use scal3::index_key::{LabelSecret, Stream};
use scal3::instruction::{CLASS_ACTIVATE, Value};
use scal3::metadata::{self, Ext, Metadata};
use scal3::verify::Submitted;
use scal3::{Claims, Document, Field, Hash, Opening};
use threshold::{
    DeviceSecret, Enrolling, Enrolment, Idle, KemKey, Keys, MasterSecret, NonceSeed, Operation, Pass, Pin, Profile,
    ProviderShare, Session, deal,
};
use tlog::TreeHead;

/// Whatever went wrong.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

type Rng = rand_core::UnwrapErr<getrandom::SysRng>;

fn rng() -> Rng {
    rand_core::UnwrapErr(getrandom::SysRng)
}

fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

fn signing_key() -> Result<SigningKey, Error> {
    loop {
        // All but one of 2^32 draws are keys.
        if let Ok(key) = SigningKey::from_slice(&random::<32>()?) {
            return Ok(key);
        }
    }
}

fn public(key: &SigningKey) -> Result<[u8; 33], Error> {
    Ok(key.verifying_key().to_sec1_point(true).as_bytes().try_into()?)
}

fn sign(key: &SigningKey, message: &[u8]) -> [u8; 64] {
    let signature: Signature = key.sign(message);
    signature.to_bytes().into()
}

/// A provider's backend.
pub struct Provider {
    issuing: SigningKey,
    master: MasterSecret,
    origin: String,
    policy: Hash,
}

impl Provider {
    /// A provider with fresh keys, for the log of that origin and its first policy.
    pub fn new(origin: &str, policy: &[u8]) -> Result<Provider, Error> {
        Ok(Provider {
            issuing: signing_key()?,
            master: MasterSecret::draw(&mut rng()),
            origin: origin.to_owned(),
            policy: scal3::genesis::policy_hash(policy),
        })
    }

    /// A provider whose issuing key lies in a file (PKCS#8, PEM), as `solelog keygen issuing` writes it.
    pub fn from_pem(pem: &str, origin: &str, policy: &[u8]) -> Result<Provider, Error> {
        use p256::pkcs8::DecodePrivateKey as _;
        Ok(Provider { issuing: SigningKey::from_pkcs8_pem(pem)?, ..Provider::new(origin, policy)? })
    }

    /// The key that belongs into the genesis.
    pub fn issuing_key(&self) -> Result<[u8; 33], Error> {
        public(&self.issuing)
    }

    /// A credential with these claims.
    fn sign(&self, claims: &Claims) -> Vec<u8> {
        claims.with_signature(&sign(&self.issuing, &claims.to_be_signed()))
    }

    /// Enrols a person, whose device deals the shares and chooses the PIN.
    pub fn enrol<P: Profile>(&self, pin: &str, now_ms: u64) -> Result<Subscriber<P>, Error> {
        // The provider names the enrolment and a key for it.
        let enrolment_id = Hash(random()?);
        let kem = self.master.kem_key(&enrolment_id);
        // The device deals.
        let (device, secret) = (signing_key()?, DeviceSecret::draw(&mut rng()));
        let device_key = public(&device)?;
        let context = Enrolling { origin: &self.origin, enrolment_id: &enrolment_id, device_key: &device_key };
        let enrolment: Enrolment<P> = deal(&context, &secret.mask(&Pin::new(pin)), &kem.public_key(), &mut rng())?;
        // The provider checks every part of what it got before it issues.
        let agreed = kem.agree(enrolment.shares.encapsulated())?;
        ProviderShare::open(&context, &enrolment, &kem.public_key(), &agreed)?;
        let label_secret = LabelSecret::from_bytes(random()?);
        let stream = |stream| label_secret.stream_key(&enrolment_id, stream);
        let claims = Claims {
            origin: self.origin.clone(),
            provider: scal3::credential::provider_id(&public(&self.issuing)?),
            issuer: "Example Wallet Provider".to_owned(),
            enrolment_id,
            subject: Hash(random()?),
            profile: scal3::Profile::new(P::NUMBER).ok_or("no such profile")?,
            joint_key: enrolment.joint_key,
            device_key,
            shares: enrolment.shares.hash(),
            passkey: None,
            kem_key_id: kem.public_key().id(),
            labels: [stream(Stream::Own).label(), stream(Stream::Provider).label()],
            attestation: "software".to_owned(),
            not_before_ms: now_ms.saturating_sub(60_000),
            not_after_ms: now_ms.saturating_add(365 * 86_400_000),
            predecessor: None,
            ordinal: 0,
        };
        let credential = self.sign(&claims);
        Ok(Subscriber {
            id: claims.id(),
            previous: claims.id(),
            claims,
            credential,
            sequence: 0,
            policy: self.policy,
            label_secret,
            device,
            secret,
            pin: pin.to_owned(),
            kem,
            enrolment,
        })
    }
}

/// A person with a device, and what the provider keeps for them.
pub struct Subscriber<P> {
    claims: Claims,
    credential: Vec<u8>,
    id: Hash,
    policy: Hash,
    sequence: u64,
    previous: Hash,
    label_secret: LabelSecret,
    device: SigningKey,
    secret: DeviceSecret,
    pin: String,
    kem: KemKey,
    enrolment: Enrolment<P>,
}

impl<P: Profile> Subscriber<P> {
    /// The credential, signed by the provider.
    pub fn credential(&self) -> &[u8] {
        &self.credential
    }

    /// Its id.
    pub fn id(&self) -> Hash {
        self.id
    }

    /// How many records of this person are in the log, as far as the device knows.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The same person with other claims, which the provider signs: for showing what a log refuses.
    #[must_use]
    pub fn reissued(mut self, provider: &Provider, change: impl FnOnce(&mut Claims)) -> Self {
        change(&mut self.claims);
        self.credential = provider.sign(&self.claims);
        self.id = self.claims.id();
        self.previous = self.id;
        self
    }

    /// The metadata of the next record. The challenge is filled in by [`Subscriber::authorise`].
    pub fn metadata(&self, class: &str, seen: &TreeHead, now_ms: u64) -> Metadata {
        let own = self.label_secret.stream_key(&self.claims.enrolment_id, Stream::Own);
        Metadata {
            origin: self.claims.origin.clone(),
            provider: self.claims.provider,
            credential: self.id,
            sequence: self.sequence,
            previous: self.previous,
            index_key: own.index_key(self.sequence),
            challenge: Hash([0; 32]),
            policy: self.policy,
            class: class.to_owned(),
            seen_size: seen.size.get(),
            seen_root: seen.root,
            time_ms: now_ms,
            expires_ms: now_ms.saturating_add(120_000),
            ext: Ext::default(),
        }
    }

    /// Authorises an instruction with device and PIN, and completes the record with the provider's share: an opening
    /// that is ready to be appended.
    pub fn authorise(&self, mut metadata: Metadata, document: &Document) -> Result<Vec<u8>, Error> {
        document.check()?;
        // The provider opens a challenge.
        let seed = NonceSeed::draw(&mut rng());
        let random: [u8; 32] = random()?;
        let session = Session::new(&self.id, &random, &seed.commitment::<P>());
        metadata.challenge = *session.challenge();
        let operation = Operation::new(&metadata.to_bytes(), &document.id())?;
        // The device answers with both factors.
        let to_sign = Idle::unlock(&self.enrolment, &self.secret.mask(&Pin::new(&self.pin)))?
            .commit(&mut rng())
            .prepare(&session, &operation, &self.kem.public_key(), &mut rng())?;
        let device_sig = sign(&self.device, to_sign.message());
        let pass = to_sign.finish(&device_sig)?.to_bytes();
        // The provider checks what is public, spends the challenge, and completes.
        let device_key = public(&self.device)?;
        let keys = Keys { joint: self.enrolment.joint_key, device: device_key, passkey: None };
        let context =
            Enrolling { origin: &self.claims.origin, enrolment_id: &self.claims.enrolment_id, device_key: &device_key };
        let checked = Pass::<P>::parse(&pass)?.check(&keys, &session, &operation)?;
        let agreed = self.kem.agree(self.enrolment.shares.encapsulated())?;
        let share = ProviderShare::open(&context, &self.enrolment, &self.kem.public_key(), &agreed)?;
        let agreed = self.kem.agree(checked.encapsulated())?;
        let record = checked.complete(seed.take(), &share, &agreed)?;
        let opening = Opening {
            profile: self.claims.profile,
            record: record.into_bytes(),
            evidence: Vec::new(),
            shown: document.show(|_| false),
        };
        Ok(opening.to_bytes())
    }

    /// The record is in the log: the next one comes after it.
    pub fn logged(&mut self, opening: &[u8]) -> Result<(), Error> {
        let submitted = Submitted::parse(opening)?;
        self.previous = metadata::previous(&self.id, submitted.metadata().sequence, submitted.record().c());
        self.sequence = submitted.metadata().sequence + 1;
        Ok(())
    }
}

/// The instruction by which a credential becomes active.
pub fn activation() -> Result<Document, Error> {
    document(CLASS_ACTIVATE, &[("device", Value::Text("phone".to_owned()))])
}

/// An instruction of that class with those fields.
pub fn document(class: &str, fields: &[(&str, Value)]) -> Result<Document, Error> {
    let fields = fields
        .iter()
        .map(|(name, value)| Ok(Field { salt: random()?, name: (*name).to_owned(), value: value.clone() }));
    Ok(Document { class: class.to_owned(), fields: fields.collect::<Result<_, Error>>()? })
}
