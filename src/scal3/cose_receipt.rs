//! COSE receipts: an inclusion proof and a signed root in the form that other transparency services speak.
//! <https://www.rfc-editor.org/rfc/rfc9942>
//!
//! ```text
//! receipt     = 18([ protected: bstr .cbor header, { 396: { -1: [ bstr .cbor inclusion ] } }, nil, signature: bstr ])
//! header      = { 1: algorithm, 4: key id, 15: { 1: origin }, 395: 1 }          395: 1 is the RFC 9162 tree of SHA-256
//! inclusion   = [ size: uint, index: uint, [* hash] ]
//! signed      = [ "Signature1", protected, h'', root ]                          the root itself is left out
//! ```
//! It carries no cosignatures: what it shows is the log's own word. And it shows no more than that the leaf is under a
//! root which the log signed: size and index are not signed, and other ones may lead to the same root. A verifier that
//! wants them, or witnesses, takes the `.tlog-proof` of the same entry.
//!
//! Ours are deterministic CBOR. Those of others need not be, so only what COSE asks for is asked for here: well-formed,
//! nothing behind, no label twice.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use tlog::proof::{InclusionProof, ProofError};
use tlog::subtree::Subtree;
use tlog::{Hash, LeafHash, LeafIndex, TreeSize};

use crate::cbor::{self, Parts, ShapeError, Value};
use crate::cose::{self, Key};

/// 63 hashes and the headers of any log.
const RECEIPT_MAX: usize = 8 << 10;

const ALGORITHM: i64 = 1;
const CRITICAL: i64 = 2;
const KEY_ID: i64 = 4;
const CWT_CLAIMS: i64 = 15;
const ISSUER: i64 = 1;
const VDS: i64 = 395;
const VDP: i64 = 396;
const INCLUSION: i64 = -1;
const RFC9162_SHA256: i64 = 1;
const ES256: i64 = -7;
const EDDSA: i64 = -8;

/// A receipt that nobody has signed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsigned {
    protected: Vec<u8>,
    inclusion: Vec<u8>,
}

/// A receipt as it was read. It shows nothing before [`CoseReceipt::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoseReceipt {
    /// Whose it says it is.
    pub issuer: Option<String>,
    /// Which key it says has signed it.
    pub key_id: Option<Vec<u8>>,
    /// The size of the tree. Not signed.
    pub size: TreeSize,
    /// The place of the leaf. Not signed.
    pub index: LeafIndex,
    proof: InclusionProof,
    algorithm: i64,
    protected: Vec<u8>,
    signature: Vec<u8>,
}

/// Why a receipt does not show that a leaf is in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CoseReceiptError {
    /// Not CBOR, or longer than any receipt is.
    #[error("COSE receipt: not CBOR of at most {RECEIPT_MAX} bytes")]
    Cbor,
    /// A label that stands twice in one map.
    #[error("COSE receipt: a label twice")]
    Twice,
    /// Not the array, or a header of another type.
    #[error("COSE receipt: {0}")]
    Shape(#[from] ShapeError),
    /// Not a COSE_Sign1 with a detached payload and one inclusion proof.
    #[error("COSE receipt: not a receipt of inclusion")]
    Form,
    /// A header that must be understood, and is not.
    #[error("COSE receipt: a critical header")]
    Critical,
    /// Another kind of tree.
    #[error("COSE receipt: not of an RFC 9162 tree")]
    Tree,
    /// Another log's.
    #[error("COSE receipt: another issuer's")]
    Issuer,
    /// The proof does not lead to a root.
    #[error("COSE receipt: {0}")]
    Proof(#[from] ProofError),
    /// The signed algorithm is not the key's.
    #[error("COSE receipt: the signed algorithm is not the key's")]
    Algorithm,
    /// The root that the proof leads to is not what the key has signed.
    #[error("COSE receipt: the signature does not verify")]
    Signature,
}

impl Unsigned {
    /// The receipt for the leaf at `index` of a tree of `size` leaves, by a log with an Ed25519 key of that id.
    pub fn new(origin: &str, key_id: &[u8], size: TreeSize, index: LeafIndex, proof: &InclusionProof) -> Unsigned {
        let claims = Value::Map(vec![(label(ISSUER), cbor::text(origin))]);
        let protected = Value::Map(vec![
            (label(ALGORITHM), label(EDDSA)),
            (label(KEY_ID), cbor::bytes(key_id)),
            (label(CWT_CLAIMS), claims),
            (label(VDS), label(RFC9162_SHA256)),
        ]);
        let hashes = proof.hashes.iter().map(|hash| cbor::bytes(&hash.0)).collect();
        let inclusion = [cbor::uint(size.get()), cbor::uint(index.get()), Value::Array(hashes)];
        Unsigned { protected: cbor::encode(&protected), inclusion: cbor::encode(&Value::Array(inclusion.into())) }
    }

    /// What the log signs: the root, with the headers.
    pub fn to_be_signed(&self, root: &Hash) -> Vec<u8> {
        to_be_signed(&self.protected, root)
    }

    /// The receipt, with that signature.
    pub fn signed(&self, signature: &[u8; 64]) -> Vec<u8> {
        let proofs = Value::Map(vec![(label(INCLUSION), Value::Array(vec![cbor::bytes(&self.inclusion)]))]);
        let mut bytes = vec![cose::TAG];
        bytes.extend(cbor::encode(&Value::Array(vec![
            cbor::bytes(&self.protected),
            Value::Map(vec![(label(VDP), proofs)]),
            Value::Null,
            cbor::bytes(signature),
        ])));
        bytes
    }
}

impl CoseReceipt {
    /// Reads a receipt of inclusion. Headers that it has beside those above are passed over, as COSE says.
    pub fn parse(bytes: &[u8]) -> Result<CoseReceipt, CoseReceiptError> {
        let array = bytes.strip_prefix(&[cose::TAG]).ok_or(CoseReceiptError::Form)?;
        let mut parts = Parts::new("receipt", decode(array)?)?;
        let protected = parts.bytes("protected")?;
        let unprotected = parts.value("unprotected")?;
        if parts.value("payload")? != Value::Null {
            return Err(CoseReceiptError::Form);
        }
        let signature = parts.bytes("signature")?;
        parts.end()?;

        let header = decode(&protected)?;
        if member(&header, CRITICAL)?.is_some() || member(&unprotected, CRITICAL)?.is_some() {
            return Err(CoseReceiptError::Critical);
        }
        if member(&header, VDS)? != Some(&label(RFC9162_SHA256)) {
            return Err(CoseReceiptError::Tree);
        }
        let algorithm = member(&header, ALGORITHM)?.and_then(Value::as_integer).and_then(|a| i64::try_from(a).ok());
        let issuer = match member(&header, CWT_CLAIMS)? {
            Some(claims) => member(claims, ISSUER)?.and_then(Value::as_text),
            None => None,
        };
        let proofs = match member(&unprotected, VDP)? {
            Some(proofs) => member(proofs, INCLUSION)?.and_then(Value::as_array),
            None => None,
        };
        let [Value::Bytes(inclusion)] = proofs.map(Vec::as_slice).unwrap_or_default() else {
            return Err(CoseReceiptError::Form);
        };
        let (size, index, proof) = inclusion_proof(inclusion)?;
        Ok(CoseReceipt {
            issuer: issuer.map(Into::into),
            key_id: member(&header, KEY_ID)?.and_then(Value::as_bytes).cloned(),
            size,
            index,
            proof,
            algorithm: algorithm.ok_or(CoseReceiptError::Algorithm)?,
            protected,
            signature,
        })
    }

    /// The root under which `leaf` is, and which the log with this name and this key has signed.
    pub fn verify(&self, leaf: LeafHash, origin: &str, key: &Key) -> Result<Hash, CoseReceiptError> {
        if self.issuer.as_deref() != Some(origin) {
            return Err(CoseReceiptError::Issuer);
        }
        let algorithm = match key {
            Key::Es256(_) => ES256,
            Key::EdDsa(_) => EDDSA,
        };
        if self.algorithm != algorithm {
            return Err(CoseReceiptError::Algorithm);
        }
        let root = self.root(leaf)?;
        cose::verify(key, &self.signature, &to_be_signed(&self.protected, &root))
            .map_err(|_| CoseReceiptError::Signature)?;
        Ok(root)
    }

    /// The root that the proof leads to from this leaf. Nobody has vouched for it.
    pub fn root(&self, leaf: LeafHash) -> Result<Hash, ProofError> {
        Subtree::tree(self.size).root_from(&self.proof, leaf, self.index)
    }
}

fn inclusion_proof(bytes: &[u8]) -> Result<(TreeSize, LeafIndex, InclusionProof), CoseReceiptError> {
    let mut parts = Parts::new("inclusion", decode(bytes)?)?;
    let size = TreeSize::new(parts.uint("size")?).map_err(|_| CoseReceiptError::Form)?;
    let index = LeafIndex::new(parts.uint("index")?).map_err(|_| CoseReceiptError::Form)?;
    let mut path = parts.array("path")?;
    let mut hashes = Vec::with_capacity(path.len());
    while !path.is_empty() {
        hashes.push(path.hash("path")?);
    }
    parts.end()?;
    Ok((size, index, InclusionProof { hashes }))
}

fn to_be_signed(protected: &[u8], root: &Hash) -> Vec<u8> {
    cbor::encode(&Value::Array(vec![
        cbor::text("Signature1"),
        cbor::bytes(protected),
        cbor::bytes(&[]),
        cbor::bytes(&root.0),
    ]))
}

fn label(number: i64) -> Value {
    Value::from(number)
}

/// Any CBOR item, and nothing behind it.
fn decode(mut bytes: &[u8]) -> Result<Value, CoseReceiptError> {
    if bytes.len() > RECEIPT_MAX {
        return Err(CoseReceiptError::Cbor);
    }
    let value = ciborium::from_reader(&mut bytes).map_err(|_| CoseReceiptError::Cbor)?;
    if bytes.is_empty() { Ok(value) } else { Err(CoseReceiptError::Cbor) }
}

/// What a map has under a label. Of two, nobody could say which counts.
fn member(map: &Value, name: i64) -> Result<Option<&Value>, CoseReceiptError> {
    let name = label(name);
    let mut found = map.as_map().into_iter().flatten().filter(|(label, _)| *label == name).map(|(_, value)| value);
    let first = found.next();
    if found.next().is_some() { Err(CoseReceiptError::Twice) } else { Ok(first) }
}
