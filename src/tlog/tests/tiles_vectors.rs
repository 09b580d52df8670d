//! Tiles, bundles and their paths against vectors made by others, some of them of real logs.

mod naive;
mod vectors;

use serde_json::Value;
use sha2::{Digest, Sha256};
use tlog::bundle;
use tlog::edge::Edge;
use tlog::hash::{Hash, LeafHash};
use tlog::proof::{ConsistencyProof, InclusionProof, root_at};
use tlog::tile::{self, EntriesPath, Path, Tile, TileNodes};
use tlog::tree::{LeafIndex, TreeHead, TreeSize};

fn size(size: u64) -> TreeSize {
    TreeSize::new(size).unwrap()
}

#[test]
fn paths_are_read_and_written_as_listed() {
    let Some(file) = vectors::load("tiles/paths.json") else {
        return;
    };
    let cases = file["cases"].as_array().unwrap();
    for case in cases {
        let kind = case["kind"].as_str().unwrap();
        if kind == "tile-set" {
            let tree = size(case["treeSize"].as_u64().unwrap());
            let paths: Vec<Path> = tile::needed(TreeSize::ZERO, tree).collect();
            for (level, counts) in [(0, &case["level0"]), (1, &case["level1"])] {
                let count = |full: bool| {
                    let tiles = paths.iter().filter(|path| match path {
                        Path::Tile(tile) => tile.level == level && tile.is_full() == full,
                        _ => false,
                    });
                    tiles.count() as u64
                };
                assert_eq!(count(true), counts["full"], "{case}");
                assert_eq!(count(false), counts["partial"], "{case}");
            }
            continue;
        }
        let text = case["path"].as_str().unwrap();
        let parsed = Path::parse(text);
        match (kind, case["want"].as_str().unwrap()) {
            // Paths of an older scheme, with tiles of another height in a longer path.
            ("sumdb-tile", _) | (_, "reject") => assert!(parsed.is_err(), "{case}"),
            ("tile", "ok") => {
                let Ok(Path::Tile(tile)) = parsed else {
                    panic!("{case}: {parsed:?}");
                };
                if let Some(level) = case["level"].as_u64() {
                    assert_eq!(u64::from(tile.level), level, "{case}");
                    assert_eq!(tile.index, case["index"].as_u64().unwrap(), "{case}");
                    assert_eq!(u64::from(tile.width), case["width"], "{case}");
                }
                assert_eq!(tile.path(), text);
            }
            ("entries-for-index", "ok") => {
                let index = case["index"].as_u64().unwrap() / 256;
                let entries = EntriesPath::at(index, size(case["logSize"].as_u64().unwrap()));
                assert_eq!(parsed, Ok(Path::Entries(entries.unwrap())), "{case}");
                assert_eq!(entries.unwrap().path(), text);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(cases.len() >= 43, "{}", cases.len());
}

fn hex_of(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

#[test]
fn a_log_written_by_another_implementation_is_ours_byte_for_byte() {
    let Some(file) = vectors::load("tiles/tessera_log.json") else {
        return;
    };
    let entries: Vec<Vec<u8>> = file["entriesHex"].as_array().unwrap().iter().map(hex_of).collect();
    let whole_bundle = hex_of(&file["entriesBundleHex"]);
    let whole_tile = hex_of(&file["tile0Hex"]);
    assert_eq!(bundle::parse(&whole_bundle).unwrap(), entries);

    let root_of = |size: usize| {
        let root = file["rootsBase64"][size].as_str().unwrap();
        Hash::from_base64(root).unwrap()
    };
    let mut edge = Edge::new();
    let (mut written, mut partial) = (Vec::new(), 0);
    for (i, entry) in entries.iter().enumerate() {
        assert_eq!(edge.head().root, root_of(i), "size {i}");
        edge.push(LeafHash::of(entry)).unwrap();
        bundle::push(&mut written, entry).unwrap();
        let partial_tiles = edge.partial();
        let [(tile, bytes)] = &partial_tiles[..] else {
            panic!("one partial tile at size {}", i + 1);
        };
        assert_eq!(usize::from(tile.width), i + 1);
        assert_eq!(*bytes, whole_tile[..32 * (i + 1)]);
        assert_eq!(written, whole_bundle[..written.len()]);
        for (field, ours) in [("partialTile0Hex", &bytes[..]), ("partialEntriesHex", &written)] {
            if let Some(theirs) = file[field].get((i + 1).to_string()) {
                assert_eq!(ours, hex_of(theirs), "{field} {}", i + 1);
                partial += 1;
            }
        }
    }
    assert_eq!(edge.head().root, root_of(entries.len()));
    assert_eq!(written, whole_bundle);
    assert!(entries.len() >= 15 && partial >= 6, "{partial}");

    // Their tile proves every entry and every earlier root.
    let tree = edge.size();
    let nodes = TileNodes::new(tree, |tile: Tile| Ok::<_, ()>(whole_tile[..tile.byte_len()].to_vec()));
    for (i, entry) in entries.iter().enumerate() {
        let index = LeafIndex::new(i as u64).unwrap();
        let proof = InclusionProof::make(&nodes, index, tree).unwrap();
        assert_eq!(proof.verify(LeafHash::of(entry), index, &edge.head()), Ok(()));
        let old = TreeHead { size: size(i as u64), root: root_of(i) };
        let proof = ConsistencyProof::make(&nodes, old.size, tree).unwrap();
        assert_eq!(proof.verify(&old, &edge.head()), Ok(()));
    }
}

#[test]
fn tiles_of_a_real_log_have_their_hashes() {
    let Some(file) = vectors::load("tiles/navigli2025h2.json") else {
        return;
    };
    let mut edge = Edge::new();
    let mut tiles = Vec::new();
    let mut roots = 0;
    for listed in file["files"].as_array().unwrap() {
        let name = listed["file"].as_str().unwrap();
        let bytes = vectors::bytes(&format!("tiles/{name}")).unwrap();
        assert_eq!(Sha256::digest(&bytes)[..], hex_of(&listed["sha256OfFile"])[..], "{name}");
        let Ok(Path::Tile(tile)) = Path::parse(listed["tilePath"].as_str().unwrap()) else {
            panic!("{listed}");
        };
        assert_eq!(bytes.len(), tile.byte_len());
        if let Some(root) = listed["level1HashHex"].as_str() {
            assert_eq!(tile::root(&bytes).to_hex(), root);
        }
        for leaf in bytes.as_chunks::<32>().0 {
            edge.push(LeafHash(*leaf)).unwrap();
            if let Some(root) = file["prefixRoots"][edge.size().to_string()].as_str() {
                assert_eq!(edge.head().root.to_hex(), root, "{}", edge.size());
                roots += 1;
            }
        }
        tiles.push((tile, bytes));
    }
    assert_eq!(edge.take_full(), tiles);
    assert!(roots >= 7, "{roots}");

    // From the same tiles and the level above them, at each size listed.
    let level_1 = edge.partial().remove(0).1;
    for (n, root) in file["prefixRoots"].as_object().unwrap() {
        let tree = size(n.parse().unwrap());
        let source = |tile: Tile| -> Result<_, ()> {
            let whole = match tile.level {
                0 => &tiles[tile.index as usize].1,
                _ => &level_1,
            };
            Ok(whole[..tile.byte_len()].to_vec())
        };
        let made = root_at(&TileNodes::new(tree, source), tree).unwrap();
        assert_eq!(made.to_hex(), root.as_str().unwrap(), "{n}");
    }
}
