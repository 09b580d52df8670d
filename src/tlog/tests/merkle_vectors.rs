//! Trees and the making of proofs against vectors made by others.
//!
//! The vectors that only say whether a proof holds are judged once, by `sole vectors`: `src/client/vectors/merkle.rs`.

mod naive;
mod vectors;

use serde_json::Value;
use sha2::{Digest, Sha256};
use tlog::hash::{Hash, LeafHash};
use tlog::proof::{Nodes, root_at};
use tlog::subtree::Subtree;
use tlog::tree::{LeafIndex, TreeHead, TreeSize};

fn cases(file: &str) -> Vec<Value> {
    vectors::load(file).map_or_else(Vec::new, |file| file["cases"].as_array().unwrap().clone())
}

/// Whether there were enough of them, or no vectors at all.
fn enough(cases: &[Value], minimum: usize) {
    assert!(cases.is_empty() || cases.len() >= minimum, "{}", cases.len());
}

fn number(case: &Value, field: &str) -> u64 {
    case[field].as_u64().unwrap_or_else(|| panic!("{field} of {case}"))
}

fn size(case: &Value, field: &str) -> Option<TreeSize> {
    TreeSize::new(number(case, field)).ok()
}

#[test]
fn the_reference_tree_of_rfc_6962_has_its_hashes() {
    let Some(file) = vectors::load("merkle/rfc6962_reference_tree.json") else {
        return;
    };
    let bytes = |value: &Value| hex::decode(value.as_str().unwrap()).unwrap();
    let read = |value: &Value| Hash::from_hex(value.as_str().unwrap()).unwrap();
    let leaves: Vec<LeafHash> =
        file["leafInputs"].as_array().unwrap().iter().map(|entry| LeafHash::of(&bytes(entry))).collect();
    let table = naive::Table::new(leaves.iter().map(|leaf| Hash::from(*leaf)).collect());
    let mut seen = 0;
    for (level, hashes) in file["levels"].as_array().unwrap().iter().enumerate() {
        for (index, hash) in hashes.as_array().unwrap().iter().enumerate() {
            let Ok(node) = table.node(level as u8, index as u64);
            assert_eq!(node, read(hash));
            seen += 1;
        }
    }
    let mut frontier = tlog::Frontier::new();
    for (size, root) in file["rootsBySize"].as_array().unwrap().iter().enumerate() {
        assert_eq!(frontier.root(), read(root), "{size}");
        let Ok(made) = root_at(&table, TreeSize::new(size as u64).unwrap());
        assert_eq!(made, read(root), "{size}");
        if let Some(leaf) = leaves.get(size) {
            frontier.push(*leaf).unwrap();
        }
        seen += 1;
    }
    for case in file["hasher"].as_array().unwrap() {
        let inputs: Vec<_> = case["inputs"].as_array().unwrap().iter().map(bytes).collect();
        let made = match (case["op"].as_str().unwrap(), &inputs[..]) {
            ("emptyRoot", []) => Hash::EMPTY_ROOT,
            ("leaf", [entry]) => LeafHash::of(entry).into(),
            // Made from texts that aren't hashes, which our function can't be given.
            ("node", [l, r]) => {
                let bytes = [&[1][..], l, r].concat();
                Hash(Sha256::digest(bytes).into())
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(made, read(&case["want"]), "{case}");
        seen += 1;
    }
    assert!(seen >= 28, "{seen}");
}

fn subtree(case: &Value) -> Option<Subtree> {
    Subtree::new(number(case, "start"), number(case, "end")).ok()
}

/// Compares a path with the nodes it is to be made of. One element of a proof may be made of several
/// nodes, listed from right to left.
fn judge_path(case: &Value, path: Option<Vec<Subtree>>) {
    let refuse = case["wantErr"].as_bool().unwrap();
    let Some(path) = path else {
        assert!(refuse, "{case}");
        return;
    };
    if refuse {
        // Said of the proof from size 0 to size 0, which is empty for us.
        assert!(path.is_empty() && case["size1"] == 0 && case["size2"] == 0, "{case}");
        return;
    }
    let made: Vec<Vec<(u64, u64)>> = path
        .iter()
        .map(|subtree| {
            let nodes = subtree.nodes().rev();
            nodes.map(|(level, index)| (level.into(), index)).collect()
        })
        .collect();
    let mut listed: Vec<Vec<(u64, u64)>> = case["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| vec![(node[0].as_u64().unwrap(), node[1].as_u64().unwrap())])
        .collect();
    if let Some(together) = case["rehash"].as_array() {
        let bound = |i: usize| together[i].as_u64().unwrap() as usize;
        let merged = listed.drain(bound(0)..bound(1)).flatten().collect();
        listed.insert(bound(0), merged);
    }
    assert_eq!(made, listed, "{case}");
}

#[test]
fn inclusion_proofs_are_made_of_the_listed_nodes() {
    let cases = cases("merkle/tdev_structure_inclusion.json");
    for case in &cases {
        let path = size(case, "size")
            .and_then(|size| Subtree::tree(size).inclusion_path(LeafIndex::new(number(case, "index")).ok()?));
        judge_path(case, path);
    }
    enough(&cases, 15);
}

#[test]
fn consistency_proofs_are_made_of_the_listed_nodes() {
    let cases = cases("merkle/tdev_structure_consistency.json");
    for case in &cases {
        let path = size(case, "size1").and_then(|old| Subtree::tree(old).consistency_path(size(case, "size2")?));
        judge_path(case, path);
    }
    enough(&cases, 20);
}

#[test]
fn subtree_inclusion_proofs_are_made_of_the_listed_nodes() {
    let cases = cases("merkle/tdev_structure_subtreeinclusion.json");
    for case in &cases {
        let path =
            subtree(case).and_then(|subtree| subtree.inclusion_path(LeafIndex::new(number(case, "index")).ok()?));
        judge_path(case, path);
    }
    enough(&cases, 31);
}

#[test]
fn subtree_consistency_proofs_are_made_of_the_listed_nodes() {
    let cases = cases("merkle/tdev_structure_subtreeconsistency.json");
    for case in &cases {
        let path = subtree(case).and_then(|subtree| subtree.consistency_path(size(case, "size")?));
        judge_path(case, path);
    }
    enough(&cases, 45);
}

// The appendix of the draft hashes the text of every case up to size 130 together. Two of its four
// values are in the vector files; the other two are printed in the draft beside them.
#[test]
fn subtrees_give_the_accumulated_values_of_the_draft() {
    let leaves: Vec<Hash> = (0..130u8).map(|byte| LeafHash::of(&[byte]).into()).collect();
    let table = naive::Table::new(leaves);
    let text = |hashes: &[Hash]| -> String { hashes.iter().map(|h| format!(" {h}")).collect() };
    let [mut hash_lines, mut inclusion_lines, mut consistency_lines, mut cover_lines] = [const { String::new() }; 4];
    let all = || {
        (0..=130).flat_map(|end| (0..=end).filter_map(move |start| Some((start, end, Subtree::new(start, end).ok()?))))
    };
    for (start, end, subtree) in all() {
        let Ok(hash) = subtree.hash(&table);
        hash_lines += &format!("[{start}, {end}) {hash}\n");
        for i in start..end {
            let index = LeafIndex::new(i).unwrap();
            let proof = subtree.prove_inclusion(&table, index).unwrap();
            inclusion_lines += &format!("{i} [{start}, {end}){}\n", text(&proof.hashes));
            let leaf = LeafHash::of(&[i as u8]);
            assert_eq!(subtree.verify_inclusion(&proof, leaf, index, &hash), Ok(()));
        }
    }
    let mut proofs = 0;
    for n in 0..=130 {
        let size = TreeSize::new(n).unwrap();
        let Ok(root) = root_at(&table, size);
        for (start, end, subtree) in all().take_while(|(_, end, _)| *end <= n) {
            let proof = subtree.prove_consistency(&table, size).unwrap();
            consistency_lines += &format!("[{start}, {end}) {n}{}\n", text(&proof.hashes));
            let Ok(hash) = subtree.hash(&table);
            let head = TreeHead { size, root };
            assert_eq!(subtree.verify_consistency(&proof, &hash, &head), Ok(()));
            proofs += 1;
        }
    }
    for end in 0..=130 {
        for start in 0..=end {
            let [left, right] = Subtree::cover(start, end).unwrap();
            cover_lines += &format!("[{}, {}) [{}, {})\n", left.start(), left.end(), right.start(), right.end());
        }
    }
    let digest = |lines: &str| Hash(Sha256::digest(lines).into()).to_hex();
    assert!(proofs >= 42_000, "{proofs}");
    assert_eq!(digest(&inclusion_lines), "ac2a8f989e44d99e399db448050ff5f19757df53cfb716aa81015d3955d8163f");
    assert_eq!(digest(&cover_lines), "7fd9c8b926e9d2b5cf831560e8ce295a5ef97ad5c5ede4ea0dea28a8c8fc8bb0");
    let cases = cases("merkle/mtc_draft_accumulated.json");
    for case in &cases {
        let made = match case["id"].as_str().unwrap() {
            "subtree-hash" => digest(&hash_lines),
            "subtree-consistency-proof" => digest(&consistency_lines),
            other => panic!("{other}"),
        };
        assert_eq!(made, case["want"].as_str().unwrap(), "{case}");
    }
    enough(&cases, 2);
}
