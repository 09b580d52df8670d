//! A passkey whose flags, counter, site and ceremony can be set.

use base64ct::{Base64UrlUnpadded, Encoding};
use scal3::Hash;
use scal3::authenticator::{About, Attachment, Claims, Purpose, WebAuthn};
use scal3::cbor::{Value, encode};
use scal3::evidence::varsig::{Algorithm, Varsig};
use scal3::evidence::webauthn::{Assertion, signed_bytes};
use scal3::evidence::{Kind, challenge};
use sha2::{Digest, Sha256};

use crate::{Bound, RP_ID, SITE, Secret};

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
        let algorithm = Algorithm::of(&self.secret.public());
        Varsig::made(algorithm, &authenticator_data, &client_data, &signature).expect("a varsig")
    }

    /// What `navigator.credentials.create()` would answer to these options, with no attestation: `toJSON()` of it.
    pub fn registration(&self, options: &serde_json::Value) -> serde_json::Value {
        let Secret::P256(key) = &self.secret else { unreachable!("what is registered is of P-256") };
        let sec1 = key.verifying_key().to_sec1_point(false);
        let (x, y) = sec1.as_bytes()[1..].split_at(32);
        let cose = Value::Map(vec![
            (1.into(), 2.into()),
            (3.into(), (-7).into()),
            ((-1).into(), 1.into()),
            ((-2).into(), Value::Bytes(x.to_vec())),
            ((-3).into(), Value::Bytes(y.to_vec())),
        ]);
        let id = &Sha256::digest(sec1.as_bytes())[..16];
        let (site, challenge) = (self.site, options["publicKey"]["challenge"].as_str().expect("a challenge"));
        let client_data = format!(
            "{{\"type\":\"webauthn.create\",\"challenge\":\"{challenge}\",\"origin\":\"{site}\",\"crossOrigin\":false}}"
        );
        let data = [
            &Sha256::digest(self.rp_id.as_bytes())[..],
            &[self.flags | 0x40],
            &self.count.to_be_bytes(),
            &[0; 16],
            &[0, 16],
            id,
            &encode(&cose),
        ];
        let object = Value::Map(vec![
            (Value::Text("fmt".into()), Value::Text("none".into())),
            (Value::Text("attStmt".into()), Value::Map(Vec::new())),
            (Value::Text("authData".into()), Value::Bytes(data.concat())),
        ]);
        let text = Base64UrlUnpadded::encode_string;
        serde_json::json!({
            "id": text(id),
            "rawId": text(id),
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {},
            "response": {
                "clientDataJSON": text(client_data.as_bytes()),
                "attestationObject": text(&encode(&object)),
                "transports": ["internal"],
            },
        })
    }

    pub fn webauthn(&self, bound: &Bound) -> Vec<u8> {
        self.assertion(&challenge(Kind::WebAuthn, &bound.operation_hash, &bound.participant, &self.claims.id()))
            .to_bytes()
    }

    pub fn varsig_blob(&self, bound: &Bound) -> Vec<u8> {
        self.varsig(&challenge(Kind::Varsig, &bound.operation_hash, &bound.participant, &self.claims.id())).to_bytes()
    }
}
