//! The syntax and the decisions of add-checkpoint against vectors made by others.

mod vectors;

use serde_json::Value;
use tlog::checkpoint::Origin;
use tlog::key::Vkey;
use tlog::tree::TreeHead;
use tlog::witness::{AddCheckpoint, Known, Refusal, decide, parse_signatures, write_signatures};

fn text<'a>(case: &'a Value, field: &str) -> &'a str {
    case[field].as_str().unwrap_or_else(|| panic!("{field} of {case}"))
}

fn cases(file: &str) -> Vec<Value> {
    vectors::load(file).map_or_else(Vec::new, |file| file["cases"].as_array().unwrap().clone())
}

#[test]
fn requests_and_answers_are_read_as_specified() {
    let cases = cases("witness/parse.json");
    for case in &cases {
        let id = text(case, "id");
        let body = text(case, "body");
        let accept = text(case, "c2sp") == "accept";
        if case["kind"] == "response" {
            let read = parse_signatures(body.as_bytes());
            assert_eq!(read.is_ok(), accept, "{id}: {read:?}");
            let Ok(lines) = read else { continue };
            assert_eq!(write_signatures(&lines), body, "{id}");
            for (line, listed) in lines.iter().zip(case["lines"].as_array().into_iter().flatten()) {
                assert_eq!(line.name().as_str(), text(listed, "name"), "{id}");
                assert_eq!(line.key_id().to_string(), text(listed, "keyId"), "{id}");
            }
            continue;
        }
        let read = AddCheckpoint::parse(body.as_bytes());
        assert_eq!(read.is_ok(), accept, "{id}: {read:?}");
        let Ok(request) = read else { continue };
        assert_eq!(request.to_bytes(), body.as_bytes(), "{id}");
        if let Some(old) = case["oldSize"].as_u64() {
            assert_eq!(request.old_size.get(), old, "{id}");
        }
        if let Some(hashes) = case["proofHex"].as_array() {
            let read: Vec<Value> = (request.proof.hashes.iter()).map(|hash| hash.to_hex().into()).collect();
            assert_eq!(&read, hashes, "{id}");
        }
    }
    assert!(cases.is_empty() || cases.len() >= 14, "{}", cases.len());
}

/// A witness without disk, clock or key: what it knows, and what it would answer.
struct Witness(Vec<Known>);

impl Witness {
    fn of(case: &Value) -> Witness {
        let logs = case["logs"].as_array().unwrap();
        Witness(
            logs.iter()
                .map(|log| Known {
                    origin: Origin::new(text(log, "origin")).unwrap(),
                    keys: log["vkeys"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(|vkey| Vkey::parse(vkey.as_str().unwrap()).unwrap())
                        .collect(),
                    head: TreeHead::EMPTY,
                })
                .collect(),
        )
    }

    /// The status, and the size of a conflict.
    fn answer(&mut self, body: &str) -> (u16, Option<String>) {
        let request = match AddCheckpoint::parse(body.as_bytes()) {
            Ok(request) => request,
            Err(error) => return (error.status(), None),
        };
        let origin = request.claimed_origin().unwrap();
        let known = self.0.iter_mut().find(|known| known.origin == origin);
        match decide(known.as_deref(), &request) {
            Ok(cosign) => {
                known.unwrap().head = cosign.head();
                (200, None)
            }
            Err(Refusal::Conflict { known }) => (409, Some(format!("{known}\n"))),
            Err(refusal) => (refusal.status(), None),
        }
    }
}

#[test]
fn checkpoints_are_decided_as_listed() {
    let cases = cases("witness/add_checkpoint.json");
    let mut steps = 0;
    for case in &cases {
        let id = text(case, "id");
        let mut witness = Witness::of(case);
        if case["kind"] == "race" {
            // The race itself is run over HTTP, by the witness program's tests. In order, the
            // second of the two must lose.
            let both = case["concurrent"].as_array().unwrap();
            for order in [[0, 1], [1, 0]] {
                let mut witness = Witness::of(case);
                assert_eq!(witness.answer(text(&case["setup"], "body")).0, 200, "{id}");
                assert_eq!(witness.answer(text(&both[order[0]], "body")).0, 200, "{id}");
                assert_eq!(witness.answer(text(&both[order[1]], "body")).0, 409, "{id}");
                steps += 3;
            }
            continue;
        }
        for step in case["steps"].as_array().unwrap() {
            let name = text(step, "name");
            let (status, size) = witness.answer(text(step, "body"));
            match step["status"].as_u64() {
                Some(listed) => assert_eq!(u64::from(status), listed, "{id}: {name}"),
                None => assert!(text(step, "status").contains(&status.to_string()), "{id}: {name}: {status}"),
            }
            if let Some(body) = step["responseBody"].as_str() {
                assert_eq!(size.as_deref(), Some(body), "{id}: {name}");
            }
            steps += 1;
        }
    }
    if !cases.is_empty() {
        assert!(cases.len() >= 14 && steps >= 31, "{} {steps}", cases.len());
    }
}

mod properties {
    use proptest::prelude::*;
    use tlog::checkpoint::{Checkpoint, Origin};
    use tlog::hash::Hash;
    use tlog::key::{KeyName, Signer};
    use tlog::note::Note;
    use tlog::proof::ConsistencyProof;
    use tlog::tree::{TreeHead, TreeSize};
    use tlog::witness::{AddCheckpoint, RequestError, parse_size, write_size};

    fn size() -> impl Strategy<Value = TreeSize> {
        (0..=i64::MAX as u64).prop_map(|size| TreeSize::new(size).unwrap())
    }

    fn request(old_size: TreeSize, size: TreeSize, hashes: Vec<Hash>, seed: [u8; 32]) -> AddCheckpoint {
        let origin = Origin::new("example.com/log").unwrap();
        let head = TreeHead { size, root: Hash(seed) };
        let signer = Signer::note(KeyName::new("example.com/log").unwrap(), &seed);
        let note = Note::sign(&Checkpoint::new(origin, head).to_text(), &signer).unwrap();
        AddCheckpoint { old_size, proof: ConsistencyProof { hashes }, note }
    }

    #[test]
    fn a_proof_of_63_hashes_is_read_and_one_of_64_is_not() {
        let size = TreeSize::new(1 << 62).unwrap();
        let of = |hashes| request(size, size, vec![Hash([1; 32]); hashes], [2; 32]);
        assert_eq!(AddCheckpoint::parse(&of(63).to_bytes()), Ok(of(63)));
        assert_eq!(AddCheckpoint::parse(&of(64).to_bytes()), Err(RequestError::TooManyHashes));
    }

    proptest! {
        #[test]
        fn what_a_request_writes_it_reads(
            old_size in size(),
            size in size(),
            hashes in prop::collection::vec(any::<[u8; 32]>().prop_map(Hash), 0..=63),
            seed in any::<[u8; 32]>(),
        ) {
            let request = request(old_size, size, hashes, seed);
            prop_assert_eq!(AddCheckpoint::parse(&request.to_bytes()), Ok(request));
        }

        #[test]
        fn sizes_are_read_as_they_are_written(size in size()) {
            prop_assert_eq!(parse_size(write_size(size).as_bytes()), Some(size));
        }
    }
}
