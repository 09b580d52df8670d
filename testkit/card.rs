//! A card that is tapped.

use p256::ecdsa::signature::hazmat::PrehashSigner;
use scal3::authenticator::{About, Claims, Nfc, Purpose};
use scal3::evidence::{Kind, challenge, nfc};
use scal3::point::Point;
use scal3::{Hash, tagged};

use crate::Bound;

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
