//! A device that matches people, and makes tokens about it.

use coset::iana::Algorithm;
use coset::{CoseSign1Builder, HeaderBuilder, TaggedCborSerializable};
use scal3::authenticator::{About, Bio, Claims, Purpose};
use scal3::evidence::bio::{self, Token};
use scal3::evidence::{Kind, challenge};
use scal3::{Hash, did};

use crate::{Bound, Secret};

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
