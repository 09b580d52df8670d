//! Authenticators in software: a passkey whose flags can be set, a card, a device that matches people, passwords.

#![allow(dead_code, reason = "each test file uses its own part of this")]

use coset::iana::Algorithm;
use coset::{CoseSign1Builder, HeaderBuilder, TaggedCborSerializable};
use p256::Scalar;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::signature::hazmat::PrehashSigner;
use scal3::authenticator::{About, Attachment, Bio, Claims, Nfc, Otp, OtpHash, Purpose, WebAuthn};
use scal3::cose::Key;
use scal3::evidence::bio::{self, Token};
use scal3::evidence::otp::{Statement, secret_id};
use scal3::evidence::varsig::{Algorithm as VarsigAlgorithm, Varsig};
use scal3::evidence::webauthn::{Assertion, signed_bytes};
use scal3::evidence::{Kind, challenge, nfc};
use scal3::point::Point;
use scal3::{Hash, did, tagged};
use sha2::{Digest, Sha256};

pub const RP_ID: &str = "bank.example";
pub const SITE: &str = "https://bank.example";

/// What is signed for: what evidence is bound to.
#[derive(Clone, Copy)]
pub struct Bound {
    pub origin: &'static str,
    pub operation_hash: Hash,
    pub instruction_id: Hash,
    pub session: Hash,
    pub participant: Hash,
    pub now_ms: u64,
}

/// A key of either algorithm.
#[derive(Clone)]
pub enum Secret {
    P256(p256::ecdsa::SigningKey),
    Ed25519(ed25519_dalek::SigningKey),
}

impl Secret {
    pub fn p256(name: &str) -> Secret {
        let seed = tagged("test/soft", name.as_bytes());
        Secret::P256(p256::ecdsa::SigningKey::from_slice(&seed.0).expect("a scalar"))
    }

    pub fn ed25519(name: &str) -> Secret {
        Secret::Ed25519(ed25519_dalek::SigningKey::from_bytes(&tagged("test/soft", name.as_bytes()).0))
    }

    pub fn of_scalar(scalar: &Scalar) -> Secret {
        Secret::P256(p256::ecdsa::SigningKey::from_slice(&scalar.to_bytes()).expect("a scalar"))
    }

    pub fn public(&self) -> Key {
        match self {
            Secret::P256(key) => {
                let sec1 = key.verifying_key().to_sec1_point(true);
                Key::Es256(Point::parse(sec1.as_bytes()).expect("a point"))
            }
            Secret::Ed25519(key) => Key::EdDsa(key.verifying_key().to_bytes()),
        }
    }

    /// r ‖ s, or the 64 bytes of Ed25519.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        match self {
            Secret::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.to_bytes().into()
            }
            Secret::Ed25519(key) => ed25519_dalek::Signer::sign(key, message).to_bytes(),
        }
    }

    /// As an authenticator gives it: DER for P-256.
    pub fn sign_as_authenticator(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Secret::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.to_der().as_bytes().to_vec()
            }
            Secret::Ed25519(_) => self.sign(message).to_vec(),
        }
    }
}

/// A passkey.
#[derive(Clone)]
pub struct Passkey {
    pub secret: Secret,
    pub claims: Claims,
    pub flags: u8,
    pub count: u32,
    pub site: &'static str,
    pub rp_id: &'static str,
    pub ceremony: &'static str,
}

impl Passkey {
    pub fn new(participant: Hash, secret: Secret) -> Passkey {
        let about = About::WebAuthn(WebAuthn {
            key: secret.public(),
            rp_id: RP_ID.into(),
            origins: vec![SITE.into()],
            backup_eligible: false,
            attachment: Attachment::CrossPlatform,
        });
        let claims = Claims { participant, purpose: Purpose::Sign, attestation: "packed:root".into(), about };
        Passkey { secret, claims, flags: 0x05, count: 1, site: SITE, rp_id: RP_ID, ceremony: "webauthn.get" }
    }

    pub fn about(&mut self) -> &mut WebAuthn {
        match &mut self.claims.about {
            About::WebAuthn(passkey) => passkey,
            _ => unreachable!("a passkey"),
        }
    }

    pub fn client_data(&self, challenge: &Hash) -> Vec<u8> {
        use base64ct::{Base64UrlUnpadded, Encoding};
        let (kind, challenge) = (self.ceremony, Base64UrlUnpadded::encode_string(&challenge.0));
        let site = self.site;
        format!("{{\"type\":\"{kind}\",\"challenge\":\"{challenge}\",\"origin\":\"{site}\",\"crossOrigin\":false}}")
            .into()
    }

    pub fn authenticator_data(&self) -> Vec<u8> {
        [&Sha256::digest(self.rp_id.as_bytes())[..], &[self.flags], &self.count.to_be_bytes()].concat()
    }

    pub fn assertion(&self, challenge: &Hash) -> Assertion {
        let (authenticator_data, client_data) = (self.authenticator_data(), self.client_data(challenge));
        let signature = self.secret.sign_as_authenticator(&signed_bytes(&authenticator_data, &client_data));
        Assertion { authenticator_data, client_data, signature }
    }

    pub fn varsig(&self, challenge: &Hash) -> Varsig {
        let Assertion { authenticator_data, client_data, signature } = self.assertion(challenge);
        let algorithm = VarsigAlgorithm::of(&self.secret.public());
        Varsig::made(algorithm, &authenticator_data, &client_data, &signature).expect("a varsig")
    }

    pub fn webauthn(&self, bound: &Bound) -> Vec<u8> {
        self.assertion(&challenge(Kind::WebAuthn, &bound.operation_hash, &bound.participant, &self.claims.id()))
            .to_bytes()
    }

    pub fn varsig_blob(&self, bound: &Bound) -> Vec<u8> {
        self.varsig(&challenge(Kind::Varsig, &bound.operation_hash, &bound.participant, &self.claims.id())).to_bytes()
    }
}

/// A card.
#[derive(Clone)]
pub struct Card {
    pub secret: p256::ecdsa::SigningKey,
    pub claims: Claims,
    pub card_uid: [u8; 8],
}

impl Card {
    pub fn new(participant: Hash, name: &str) -> Card {
        let secret = p256::ecdsa::SigningKey::from_slice(&tagged("test/card", name.as_bytes()).0).expect("a scalar");
        let key = Point::parse(secret.verifying_key().to_sec1_point(true).as_bytes()).expect("a point");
        let card_uid = [0, 4, 0x51, 0x62, 0x73, 0x84, 0x95, 0xa6];
        let about = About::Nfc(Nfc { key, card_uid });
        let claims = Claims { participant, purpose: Purpose::Sign, attestation: "none".into(), about };
        Card { secret, claims, card_uid }
    }

    pub fn public_hex(&self) -> String {
        hex::encode(self.secret.verifying_key().to_sec1_point(false).as_bytes())
    }

    /// The envelope of a tap at that time.
    pub fn tap(&self, bound: &Bound, timestamp_ms: u64) -> serde_json::Value {
        let challenge = challenge(Kind::Nfc, &bound.operation_hash, &bound.participant, &self.claims.id());
        let digest = nfc::digest(&challenge, &bound.session, timestamp_ms, &self.card_uid);
        let signature: p256::ecdsa::Signature = self.secret.sign_prehash(&digest.0).expect("signed");
        serde_json::json!({
            "operationHash": hex::encode(bound.operation_hash.0),
            "participantId": hex::encode(bound.participant.0),
            "nfcSignature": {
                "curve": "P-256",
                "publicKey": self.public_hex(),
                "signature": hex::encode(signature.to_bytes()),
                "timestamp": timestamp_ms,
                "cardUid": hex::encode(self.card_uid),
            },
        })
    }

    pub fn nfc(&self, bound: &Bound) -> Vec<u8> {
        self.tap(bound, bound.now_ms).to_string().into_bytes()
    }
}

/// A device that matches people.
#[derive(Clone)]
pub struct Device {
    pub secret: Secret,
    pub claims: Claims,
    pub counter: u64,
    /// What it says; nonce, instruction and times are filled in.
    pub token: Token,
    pub typ: &'static str,
}

impl Device {
    pub fn new(participant: Hash, secret: Secret) -> Device {
        let (template, ueid) = ([0x7e; 32], [1; 17]);
        let about = About::Bio(Bio { key: secret.public(), template, ueid });
        let claims = Claims { participant, purpose: Purpose::Sign, attestation: "android-key".into(), about };
        let token = Token {
            issuer: did::of_key(&secret.public()),
            expires_s: 300,
            issued_s: 0,
            nonce: Hash([0; 32]),
            ueid,
            debug: 2,
            instruction_id: Hash([0; 32]),
            matched: vec![[0x2, 0x4, 0x2]],
            template,
            counter: 1,
        };
        Device { secret, claims, counter: 1, token, typ: bio::TYPE }
    }

    /// The token as this device would make it now.
    pub fn claims_now(&self, bound: &Bound) -> Token {
        let now_s = bound.now_ms / 1000;
        Token {
            nonce: challenge(Kind::Bio, &bound.operation_hash, &bound.participant, &self.claims.id()),
            instruction_id: bound.instruction_id,
            issued_s: now_s,
            expires_s: now_s + self.token.expires_s,
            counter: self.counter,
            ..self.token.clone()
        }
    }

    pub fn sign(&self, bound: &Bound, token: &Token) -> Vec<u8> {
        let algorithm = match self.secret {
            Secret::P256(_) => Algorithm::ES256,
            Secret::Ed25519(_) => Algorithm::EdDSA,
        };
        let protected = HeaderBuilder::new()
            .algorithm(algorithm)
            .key_id(self.claims.id().0.to_vec())
            .value(16, self.typ.into())
            .build();
        CoseSign1Builder::new()
            .protected(protected)
            .payload(token.to_bytes())
            .create_signature(bound.origin.as_bytes(), |message| self.secret.sign(message).to_vec())
            .build()
            .to_tagged_vec()
            .expect("a message")
    }

    pub fn bio(&self, bound: &Bound) -> Vec<u8> {
        self.sign(bound, &self.claims_now(bound))
    }
}

/// The secret of one-time passwords, which the server has too.
pub const OTP_SECRET: &[u8] = b"12345678901234567890123456789012";

/// A generator of one-time passwords.
pub fn otp(participant: Hash) -> Claims {
    let otp = Otp { secret: secret_id(OTP_SECRET), hash: OtpHash::Sha256, digits: 6, period_s: 30 };
    Claims { participant, purpose: Purpose::Sign, attestation: "none".into(), about: About::Otp(otp) }
}

/// What a server says that saw the right password.
pub fn vouch(claims: &Claims, bound: &Bound) -> Vec<u8> {
    let challenge = challenge(Kind::Otp, &bound.operation_hash, &bound.participant, &claims.id());
    Statement { challenge, step: bound.now_ms / 30_000, checked_ms: bound.now_ms }.to_bytes()
}
