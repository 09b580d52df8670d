//! The signer of documents: class `document.sign`.
//!
//! ```text
//! instruction   payload_digest  bytes, 32: SHA-256 of the document        shown
//!               digest_alg      "sha-256", or left out                    shown
//!               others          what the person reads beside them         shown, too: nothing may be hidden
//!
//! result        base64url(header) . base64url(payload) . base64url(r ‖ s)           JWS, compact (RFC 7515), ES256
//! header        {"alg":"ES256","kid":…,"typ":"solelog-document"}          kid: the key's thumbprint (RFC 7638)
//! payload       {"digest":…,"digest_alg":"sha-256","origin":…,"index":…,"instruction_id":…}
//! ```
//!
//! `digest` is base64url without padding, `instruction_id` hex. `origin` and `index` lead to the entry under which the
//! person authorised this signature. The credential is not in it: it would tell which documents one person signed.
//!
//! A field that is hidden could be a second `payload_digest`, or a condition. So an instruction that hides one is blocked.

use std::sync::Arc;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use p256::ecdsa::signature::Verifier as _;
use p256::ecdsa::{Signature, VerifyingKey};
use scal3::instruction::Value;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{Done, Executor, Published, Refused};
use crate::keys::KeyStore;

/// The class.
pub const CLASS: &str = "document.sign";

/// The type in the header, so that a signature over a document is taken for nothing else.
pub const TYPE: &str = "solelog-document";

const SHA_256: &str = "sha-256";

/// Signs digests of documents with the provider's document key.
pub struct DocumentSigner {
    keys: Arc<dyn KeyStore>,
    key: VerifyingKey,
    header: String,
    origin: String,
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    kid: &'a str,
    typ: &'static str,
}

#[derive(Serialize)]
struct Payload<'a> {
    digest: String,
    digest_alg: &'static str,
    origin: &'a str,
    index: u64,
    instruction_id: String,
}

/// The members of a public key that its thumbprint is made of, in the order of RFC 7638 section 3.2.
#[derive(Serialize)]
struct Jwk {
    crv: &'static str,
    kty: &'static str,
    x: String,
    y: String,
}

impl DocumentSigner {
    /// A signer for one log. `None` where the provider has no key for documents.
    pub fn new(keys: Arc<dyn KeyStore>, origin: &str) -> Option<DocumentSigner> {
        let key = VerifyingKey::from_sec1_bytes(&keys.document_key()?).ok()?;
        let header = json(&Header { alg: "ES256", kid: &thumbprint(&key)?, typ: TYPE })?;
        Some(DocumentSigner { keys, key, header: base64(header), origin: origin.to_owned() })
    }
}

impl Executor for DocumentSigner {
    fn class(&self) -> &str {
        CLASS
    }

    fn execute(&self, published: Published) -> Result<Done, Refused> {
        let digest = digest(&published).map_err(Refused::Never)?;
        let payload = Payload {
            digest: base64(digest),
            digest_alg: SHA_256,
            origin: &self.origin,
            index: published.index().get(),
            instruction_id: published.instruction_id().to_hex(),
        };
        let not_now = |why: &dyn ToString| Refused::NotNow(why.to_string());
        let payload = json(&payload).ok_or_else(|| not_now(&"the payload can't be written"))?;
        let signed = format!("{}.{}", self.header, base64(payload));
        let signature = self.keys.sign_document(signed.as_bytes()).map_err(|error| not_now(&error))?;
        // A faulty signature can give the key away, so none leaves unchecked.
        Signature::from_slice(&signature)
            .and_then(|signature| self.key.verify(signed.as_bytes(), &signature))
            .map_err(|_| not_now(&"the document key's signature does not verify"))?;
        let jws = format!("{signed}.{}", base64(signature));
        Ok(Done { result: Some(jws.into_bytes()) })
    }
}

/// The digest that the person authorised to be signed, or why there is none.
fn digest(published: &Published) -> Result<&[u8], &'static str> {
    let shown = published.shown();
    if !shown.hidden.is_empty() {
        return Err("a field of the instruction is hidden, and all must be shown to whoever signs");
    }
    match shown.field("digest_alg") {
        None => {}
        Some(Value::Text(alg)) if alg == SHA_256 => {}
        Some(_) => return Err("digest_alg is not sha-256"),
    }
    match shown.field("payload_digest") {
        Some(Value::Bytes(digest)) if digest.len() == 32 => Ok(digest),
        Some(_) => Err("payload_digest is not the 32 bytes of a SHA-256"),
        None => Err("the instruction has no payload_digest"),
    }
}

/// The thumbprint of a public key: RFC 7638, SHA-256, base64url.
fn thumbprint(key: &VerifyingKey) -> Option<String> {
    let point = key.to_sec1_point(false);
    let jwk = Jwk { crv: "P-256", kty: "EC", x: base64(point.x()?), y: base64(point.y()?) };
    Some(base64(Sha256::digest(json(&jwk)?)))
}

fn json(value: &impl Serialize) -> Option<Vec<u8>> {
    serde_json::to_vec(value).ok()
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    Base64UrlUnpadded::encode_string(bytes.as_ref())
}
