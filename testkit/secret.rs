//! Keys of authenticators, made from names.

use p256::Scalar;
use p256::ecdsa::signature::Signer;
use scal3::cose::Key;
use scal3::point::Point;
use scal3::tagged;

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
