//! Proof files against vectors made by others.

mod vectors;

use serde_json::Value;
use tlog::hash::LeafHash;
use tlog::policy::Policy;
use tlog::proof_file::{ProofFile, ProofFileError, ProofFileRefusal};

fn text<'a>(case: &'a Value, field: &str) -> &'a str {
    case[field].as_str().unwrap_or_else(|| panic!("{field} of {case}"))
}

#[test]
fn proof_files_are_read_and_verified_as_listed() {
    let Some(file) = vectors::load("tlogproof/tlog_proof.json") else {
        return;
    };
    let cases = file["cases"].as_array().unwrap();
    let (mut held, mut refused) = (0, 0);
    for case in cases {
        let id = text(case, "id");
        let bytes = text(case, "proof").as_bytes();
        let read = ProofFile::parse(bytes);
        if case["kind"] == "syntax" {
            assert_eq!(read.is_ok(), case["c2sp"] == "accept", "{id}: {read:?}");
            continue;
        }
        let read = read.unwrap_or_else(|e| panic!("{id}: {e}"));
        assert_eq!(read.to_bytes(), bytes, "{id}");
        if let Some(index) = case["index"].as_u64() {
            assert_eq!(read.index.get(), index, "{id}");
        }
        let entry = tlog::text::from_base64(text(case, "entryBase64")).unwrap();
        let policy = Policy::parse(text(case, "policy")).unwrap();
        let verdict = read.verify(LeafHash::of(&entry), &policy);
        match text(case, "want") {
            "ok" => {
                verdict.unwrap_or_else(|e| panic!("{id}: {e}"));
                let other = read.verify(LeafHash::of(b"another entry"), &policy);
                assert!(matches!(other, Err(ProofFileRefusal::Inclusion(_))), "{id}");
                held += 1;
            }
            _ => {
                assert!(verdict.is_err(), "{id}");
                refused += 1;
            }
        }
    }
    assert!(cases.len() >= 33, "{}", cases.len());
    assert!(held >= 10 && refused >= 4, "{held} held, {refused} refused");
}

/// A proof that holds, of one leaf.
const PROOF: &str = "c2sp.org/tlog-proof@v1\nextra dGVzdA==\nindex 0\n\nexample.com/log\n1\n\
    zRPJ6T5L/NQ5kRvEZdCdmvJAqjBN9YSdlrdq//M6i/0=\n\n\
    — example.com/log WEkPi0/pEoWz/0gts3KiUFrB5zl1qFOtF1FiZ7tx7mL9k5UhTYEOFslTMq0EanELCm2MfNciYe4bF7QsOy8Y59Tuew4=\n";

// https://c2sp.org/tlog-proof#format, one row per MUST and per limit of ours.
#[test]
fn each_fault_has_its_name() {
    let check = |from: &str, to: &str, expected: ProofFileError| {
        assert!(PROOF.contains(from), "{from:?}");
        let bad = PROOF.replacen(from, to, 1);
        assert_eq!(ProofFile::parse(bad.as_bytes()), Err(expected), "{to:?}");
    };
    assert!(ProofFile::parse(PROOF.as_bytes()).is_ok());
    check("@v1", "@v2", ProofFileError::Header);
    check("extra dGVzdA==", "extra dGVzdB==", ProofFileError::Extra);
    check("extra dGVzdA==", "extra ", ProofFileError::Extra);
    check("extra dGVzdA==", "extra dGVzdA==\nextra dGVzdA==", ProofFileError::Index);
    check("extra dGVzdA==\nindex 0", "index 0\nextra dGVzdA==", ProofFileError::Hash);
    check("index 0", "index 00", ProofFileError::Index);
    check("index 0", "index 9223372036854775808", ProofFileError::Index);
    check("index 0", "index  0", ProofFileError::Index);
    check("index 0\n\n", "index 0\n", ProofFileError::Hash);
    check("index 0\n", "index 0\nAA==\n", ProofFileError::Hash);
    let hash = "zRPJ6T5L/NQ5kRvEZdCdmvJAqjBN9YSdlrdq//M6i/0=\n";
    let longest = PROOF.replacen("index 0\n", &format!("index 0\n{}", hash.repeat(63)), 1);
    let read = ProofFile::parse(longest.as_bytes()).unwrap();
    assert_eq!(read.to_bytes(), longest.as_bytes());
    let one_more = format!("index 0\n{}", hash.repeat(64));
    check("index 0\n", &one_more, ProofFileError::TooManyHashes);
    let carriage_returns = PROOF.replace('\n', "\r\n");
    assert!(matches!(ProofFile::parse(carriage_returns.as_bytes()), Err(ProofFileError::Text(_))));
    let too_long = PROOF.replacen("dGVz", &"AAAA".repeat(1 << 18), 1);
    let read = ProofFile::parse(too_long.as_bytes());
    assert_eq!(read, Err(ProofFileError::TooLong));
}

#[test]
fn empty_extra_is_written_as_no_extra() {
    let mut proof = ProofFile::parse(PROOF.as_bytes()).unwrap();
    proof.extra = Some(vec![]);
    let read = ProofFile::parse(&proof.to_bytes()).unwrap();
    assert_eq!(read.extra, None);
}

mod properties {
    use proptest::prelude::*;
    use tlog::checkpoint::{Checkpoint, Origin};
    use tlog::hash::{Hash, LeafHash};
    use tlog::key::{KeyName, Signer};
    use tlog::note::Note;
    use tlog::policy::Policy;
    use tlog::proof::InclusionProof;
    use tlog::proof_file::ProofFile;
    use tlog::tree::{LeafIndex, TreeHead, TreeSize};

    fn signer() -> Signer {
        Signer::note(KeyName::new("example.com/log").unwrap(), &[1; 32])
    }

    fn note(head: TreeHead) -> Note {
        let origin = Origin::new("example.com/log").unwrap();
        Note::sign(&Checkpoint::new(origin, head).to_text(), &signer()).unwrap()
    }

    proptest! {
        #[test]
        fn what_a_proof_file_writes_it_reads(
            extra in prop::option::of(prop::collection::vec(any::<u8>(), 1..50)),
            index in 0..=i64::MAX as u64,
            size in 0..=i64::MAX as u64,
            hashes in prop::collection::vec(any::<[u8; 32]>().prop_map(Hash), 0..=63),
        ) {
            let head = TreeHead { size: TreeSize::new(size).unwrap(), root: Hash([7; 32]) };
            let file = ProofFile {
                extra,
                index: LeafIndex::new(index).unwrap(),
                proof: InclusionProof { hashes },
                checkpoint: note(head),
            };
            prop_assert_eq!(ProofFile::parse(&file.to_bytes()), Ok(file));
        }

        #[test]
        fn one_flipped_bit_never_verifies(place in any::<prop::sample::Index>(), bit in 0..8u8) {
            let leaves = [LeafHash::of(b"0"), LeafHash::of(b"1")];
            let root = Hash::node(&leaves[0].into(), &leaves[1].into());
            let file = ProofFile {
                extra: None,
                index: LeafIndex::new(1).unwrap(),
                proof: InclusionProof { hashes: vec![leaves[0].into()] },
                checkpoint: note(TreeHead { size: TreeSize::new(2).unwrap(), root }),
            };
            let policy = Policy::parse(format!("log {}\nquorum none\n", signer().vkey())).unwrap();
            let mut bytes = file.to_bytes();
            let verifies = |bytes: &[u8]| {
                ProofFile::parse(bytes).is_ok_and(|file| file.verify(leaves[1], &policy).is_ok())
            };
            prop_assert!(verifies(&bytes));
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
            prop_assert!(!verifies(&bytes));
        }
    }
}
