//! COSE receipts: the published one, and ours with one fault each.

use ed25519_dalek::{Signer as _, SigningKey};
use scal3::cose::Key;
use scal3::cose_receipt::{CoseReceipt, CoseReceiptError, Unsigned};
use support::{bytes, cases, json, string};
use tlog::{Frontier, Hash, InclusionProof, LeafHash, LeafIndex, Nodes, ProofError, TreeSize};

mod support;

const ORIGIN: &str = "log.example";

#[test]
fn the_published_receipt_leads_to_its_root() {
    let Some(file) = json("cose/receipts_merkle.json") else { return };
    for case in cases(&file, "cases") {
        let receipt = CoseReceipt::parse(&bytes(case, "receiptCborHex")).expect("a receipt");
        let leaf = LeafHash(bytes(case, "leafHashHex").try_into().expect("32 bytes"));
        assert_eq!(receipt.size.get(), case["treeSize"].as_u64().expect("size"));
        assert_eq!(receipt.root(leaf).expect("a root").0, bytes(case, "rootHex")[..]);
        assert_eq!(receipt.issuer.as_deref(), Some("https://transparency-service.example.com"));
        // It is ES256, and its key was not published.
        let key = Key::EdDsa([1; 32]);
        assert_eq!(receipt.verify(leaf, string(case, "id"), &key), Err(CoseReceiptError::Issuer));
        let issuer = receipt.issuer.clone().expect("issuer");
        assert_eq!(receipt.verify(leaf, &issuer, &key), Err(CoseReceiptError::Algorithm));
    }
}

/// The hashes of a small tree.
struct Leaves(Vec<LeafHash>);

impl Nodes for Leaves {
    type Error = core::convert::Infallible;

    fn node(&self, level: u8, index: u64) -> Result<Hash, Self::Error> {
        if level == 0 {
            return Ok(self.0[usize::try_from(index).expect("small")].into());
        }
        Ok(Hash::node(&self.node(level - 1, 2 * index)?, &self.node(level - 1, 2 * index + 1)?))
    }
}

fn receipt(count: u64, at: u64, key: &SigningKey) -> (Vec<u8>, LeafHash, Hash) {
    let leaves = Leaves((0..count).map(|i| LeafHash::of(&i.to_be_bytes())).collect());
    let mut frontier = Frontier::new();
    leaves.0.iter().for_each(|leaf| frontier.push(*leaf).expect("small"));
    let head = frontier.head();
    let (size, index) = (TreeSize::new(count).expect("size"), LeafIndex::new(at).expect("index"));
    let proof = InclusionProof::make(&leaves, index, size).expect("proof");
    let unsigned = Unsigned::new(ORIGIN, b"kid1", size, index, &proof);
    let signature = key.sign(&unsigned.to_be_signed(&head.root));
    (unsigned.signed(&signature.to_bytes()), leaves.0[usize::try_from(at).expect("small")], head.root)
}

#[test]
fn a_receipt_shows_a_leaf_of_this_log_and_nothing_else() {
    let signer = SigningKey::from_bytes(&[7; 32]);
    let key = Key::EdDsa(signer.verifying_key().to_bytes());
    for (count, at) in [(1, 0), (2, 1), (5, 4), (8, 3), (300, 256)] {
        let (bytes, leaf, root) = receipt(count, at, &signer);
        let receipt = CoseReceipt::parse(&bytes).expect("a receipt");
        assert_eq!(receipt.verify(leaf, ORIGIN, &key), Ok(root));
        assert_eq!(receipt.key_id.as_deref(), Some(&b"kid1"[..]));
        assert_eq!(receipt.verify(leaf, "other.example", &key), Err(CoseReceiptError::Issuer));
        assert_eq!(receipt.verify(LeafHash([1; 32]), ORIGIN, &key), Err(CoseReceiptError::Signature));
        let other = Key::EdDsa(SigningKey::from_bytes(&[8; 32]).verifying_key().to_bytes());
        assert_eq!(receipt.verify(leaf, ORIGIN, &other), Err(CoseReceiptError::Signature));
        // Whatever bit of it is another: it shows this leaf under this root, or nothing. Size and index are not signed.
        for bit in 0..bytes.len() * 8 {
            let mut spoilt = bytes.clone();
            spoilt[bit / 8] ^= 1 << (bit % 8);
            let shown = CoseReceipt::parse(&spoilt).and_then(|receipt| receipt.verify(leaf, ORIGIN, &key));
            assert!(shown.is_err() || shown == Ok(root), "bit {bit}: {shown:?}");
        }
        for end in 0..bytes.len() {
            assert!(CoseReceipt::parse(&bytes[..end]).is_err());
        }
    }
}

#[test]
fn a_proof_that_does_not_fit_its_tree_is_told() {
    let signer = SigningKey::from_bytes(&[7; 32]);
    let key = Key::EdDsa(signer.verifying_key().to_bytes());
    let shape = |size: u64, index: u64, hashes: Vec<Hash>| {
        let (size, index) = (TreeSize::new(size).expect("size"), LeafIndex::new(index).expect("index"));
        let unsigned = Unsigned::new(ORIGIN, b"", size, index, &InclusionProof { hashes });
        let receipt = CoseReceipt::parse(&unsigned.signed(&[0; 64])).expect("a receipt");
        receipt.verify(LeafHash([0; 32]), ORIGIN, &key)
    };
    assert_eq!(shape(2, 2, Vec::new()), Err(ProofError::IndexBeyondSize.into()));
    assert_eq!(shape(2, 0, Vec::new()), Err(ProofError::TooShort.into()));
    assert_eq!(shape(1, 0, vec![Hash([1; 32])]), Err(ProofError::TooLong.into()));
}
