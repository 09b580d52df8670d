//! Trees, proofs, subtrees, tiles.

use super::{
    Case, Judged, Miss, Source,
    case::{accepted, same, unhex},
};
use sha2::{Digest, Sha256};
use std::{cell::RefCell, convert::Infallible, path::Path};
use tlog::{
    ConsistencyProof, Frontier, Hash, InclusionProof, LeafHash, LeafIndex, Nodes, ProofError, TreeHead, TreeSize,
    bundle,
    note::Note,
    subtree::Subtree,
    tile::{self, EntriesPath, Tile},
};

pub(super) fn run(source: &Source<'_>, judge: &mut dyn FnMut(&str, Judged)) {
    match source.stem {
        "tdev_inclusion" | "real_inclusion" => source.each(judge, inclusion),
        "tdev_consistency" | "real_consistency" => source.each(judge, consistency),
        "tdev_subtreeinclusion" => source.each(judge, subtree_inclusion),
        "tdev_subtreeconsistency" => source.each(judge, subtree_consistency),
        "tdev_structure_inclusion" => source.each(judge, |c| structure(c, |c| whole(c, "size")?.path(c))),
        "tdev_structure_subtreeinclusion" => source.each(judge, |c| structure(c, |c| part(c)?.path(c))),
        "tdev_structure_consistency" => {
            source.each(judge, |c| structure(c, |c| whole(c, "size1")?.extended(c, "size2")))
        }
        "tdev_structure_subtreeconsistency" => source.each(judge, |c| structure(c, |c| part(c)?.extended(c, "size"))),
        "mtc_draft_accumulated" => source.each(judge, accumulated),
        "rfc6962_reference_tree" => reference_tree(source, judge),
        "paths" => source.each(judge, path),
        "tessera_log" => tessera(&Case::new(source.json), judge),
        stem if source.json.get("prefixRoots").is_some() => {
            real_tiles(&Case::new(source.json), source.folder, stem, judge)
        }
        _ => super::unknown(source, judge),
    }
}

/// A hash in base64. Some cases probe lengths other than 32, which our types cannot even hold.
fn hash(case: &Case<'_>, member: &str) -> Result<Option<Hash>, Miss> {
    Ok(Hash::from_base64(case.str(member)?))
}

fn proof(case: &Case<'_>) -> Result<Option<Vec<Hash>>, Miss> {
    Ok(case.list("proof")?.iter().map(|h| h.as_str().and_then(Hash::from_base64)).collect())
}

fn size(case: &Case<'_>, member: &str) -> Result<Option<TreeSize>, Miss> {
    Ok(TreeSize::new(case.u64(member)?).ok())
}

/// Ours against the case's `wantErr`. With none of ours the case could not be expressed in our types: that is a refusal.
/// Only where a hash of another length was fine for the origin library nothing can be said.
fn verdict(ours: Option<Result<(), ProofError>>, case: &Case<'_>) -> Judged {
    match ours {
        Some(ours) => accepted(ours, !case.bool("wantErr")?),
        None if case.has("non32") && case.bool("non32")? => Ok(()),
        None => refused(case),
    }
}

fn inclusion(case: &Case<'_>) -> Judged {
    let leaf = if case.has("leafBase64") {
        Some(LeafHash::of(&case.base64("leafBase64")?))
    } else {
        hash(case, "leafHash")?.map(|h| LeafHash(h.0))
    };
    let index = LeafIndex::new(case.u64("leafIdx")?).ok();
    let all = (leaf, index, size(case, "treeSize")?, hash(case, "root")?, proof(case)?);
    let (Some(leaf), Some(index), Some(size), Some(root), Some(hashes)) = all else {
        return verdict(None, case);
    };
    verdict(Some(InclusionProof { hashes }.verify(leaf, index, &TreeHead { size, root })), case)
}

fn consistency(case: &Case<'_>) -> Judged {
    let all = (size(case, "size1")?, hash(case, "root1")?, size(case, "size2")?, hash(case, "root2")?, proof(case)?);
    let (Some(old), Some(root1), Some(new), Some(root2), Some(hashes)) = all else {
        return verdict(None, case);
    };
    let ours =
        ConsistencyProof { hashes }.verify(&TreeHead { size: old, root: root1 }, &TreeHead { size: new, root: root2 });
    if old.get() == 0 && new.get() > 0 {
        // The origin library calls a proof from the empty tree useless and refuses it. tlog-witness wants it
        // accepted when it is empty, and so do we.
        return accepted(ours, case.list("proof")?.is_empty() && root1 == Hash::EMPTY_ROOT);
    }
    verdict(Some(ours), case)
}

fn subtree(case: &Case<'_>) -> Result<Option<Subtree>, Miss> {
    Ok(Subtree::new(case.u64("start")?, case.u64("end")?).ok())
}

fn subtree_inclusion(case: &Case<'_>) -> Judged {
    let index = LeafIndex::new(case.u64("leafIdx")?).ok();
    let Some(subtree) = subtree(case)? else {
        return refused(case);
    };
    let all = (index, hash(case, "leafHash")?, hash(case, "root")?, proof(case)?);
    let (Some(index), Some(leaf), Some(root), Some(hashes)) = all else {
        return verdict(None, case);
    };
    verdict(Some(subtree.verify_inclusion(&InclusionProof { hashes }, LeafHash(leaf.0), index, &root)), case)
}

fn subtree_consistency(case: &Case<'_>) -> Judged {
    let Some(subtree) = subtree(case)? else {
        return refused(case);
    };
    let all = (size(case, "size")?, hash(case, "root1")?, hash(case, "root2")?, proof(case)?);
    let (Some(size), Some(root1), Some(root), Some(hashes)) = all else {
        return verdict(None, case);
    };
    verdict(Some(subtree.verify_consistency(&ConsistencyProof { hashes }, &root1, &TreeHead { size, root })), case)
}

/// We refuse because the case can't be expressed.
fn refused(case: &Case<'_>) -> Judged {
    same(true, case.bool("wantErr")?)
}

/// A tree or subtree of which a case asks for a path; none if the bounds are refused.
struct Shape(Option<Subtree>);

fn whole(case: &Case<'_>, member: &str) -> Result<Shape, Miss> {
    Ok(Shape(size(case, member)?.map(Subtree::tree)))
}

fn part(case: &Case<'_>) -> Result<Shape, Miss> {
    Ok(Shape(subtree(case)?))
}

impl Shape {
    fn path(self, case: &Case<'_>) -> Result<Option<Vec<Subtree>>, Miss> {
        let index = LeafIndex::new(case.u64("index")?).ok();
        Ok(self.0.zip(index).and_then(|(subtree, index)| subtree.inclusion_path(index)))
    }

    fn extended(self, case: &Case<'_>, member: &str) -> Result<Option<Vec<Subtree>>, Miss> {
        Ok(self.0.zip(size(case, member)?).and_then(|(subtree, size)| subtree.consistency_path(size)))
    }
}

/// Which nodes make up a proof: one node for each complete hash, several for one that is put together.
fn structure(case: &Case<'_>, path: impl Fn(&Case<'_>) -> Result<Option<Vec<Subtree>>, Miss>) -> Judged {
    let ours = path(case)?;
    if case.bool("wantErr")? {
        // As in `consistency`: from the empty tree there is one proof, and it is empty.
        return if case.u64("size1") == Ok(0) { same(ours, Some(Vec::new())) } else { same(ours, None) };
    }
    let ours = ours.ok_or_else(|| Miss::Wrong("refused, must be accepted".into()))?;
    let nodes: Vec<[u64; 2]> =
        ours.iter().flat_map(|subtree| subtree.nodes().rev()).map(|(level, index)| [level.into(), index]).collect();
    let listed: Option<Vec<[u64; 2]>> = if case.has("nodes") {
        case.list("nodes")?.iter().map(|node| serde_json::from_value(node.value().clone()).ok()).collect()
    } else {
        Some(Vec::new())
    };
    same(nodes, listed.ok_or_else(|| Miss::Unknown("`nodes`".into()))?)?;
    if !case.has("rehash") {
        return Ok(());
    }
    let rehash: [usize; 2] =
        serde_json::from_value(case.at("rehash")?.value().clone()).map_err(|e| Miss::Unknown(e.to_string()))?;
    // The one place where a hash is put together from several nodes (or from one, which is no work).
    let mut at = 0;
    for subtree in &ours {
        let nodes = subtree.nodes().count();
        if nodes > 1 {
            same([at, at + nodes], rehash)?;
        }
        at += nodes;
    }
    Ok(())
}

/// All nodes of a tree of single-byte leaves.
struct Leaves;

impl Nodes for Leaves {
    type Error = Infallible;

    fn node(&self, level: u8, index: u64) -> Result<Hash, Infallible> {
        if level == 0 {
            return Ok(LeafHash::of(&[u8::try_from(index).unwrap_or(u8::MAX)]).into());
        }
        Ok(Hash::node(&self.node(level - 1, 2 * index)?, &self.node(level - 1, 2 * index + 1)?))
    }
}

/// Nodes that are asked for again and again.
struct Remembered<N>(N, RefCell<std::collections::HashMap<(u8, u64), Hash>>);

impl<N: Nodes<Error = Infallible>> Nodes for Remembered<N> {
    type Error = Infallible;

    fn node(&self, level: u8, index: u64) -> Result<Hash, Infallible> {
        if let Some(hash) = self.1.borrow().get(&(level, index)) {
            return Ok(*hash);
        }
        let hash = self.0.node(level, index)?;
        self.1.borrow_mut().insert((level, index), hash);
        Ok(hash)
    }
}

/// The draft's rolling hashes over everything there is up to 130 leaves.
fn accumulated(case: &Case<'_>) -> Judged {
    const LEAVES: u64 = 130;
    let nodes = Remembered(Leaves, RefCell::default());
    let mut text = String::new();
    let every = |size: u64| (0..=size).flat_map(|end| (0..=end).map(move |start| (start, end)));
    let subtrees = |size: u64| every(size).filter_map(|(start, end)| Subtree::new(start, end).ok());
    let hashes = |text: &mut String, hashes: &[Hash]| hashes.iter().for_each(|hash| *text += &format!(" {hash}"));
    let cannot = |e: &dyn std::fmt::Display| Miss::Wrong(e.to_string());
    match case.name().as_str() {
        "subtree-hash" => {
            for subtree in subtrees(LEAVES) {
                let Ok(hash) = subtree.hash(&nodes);
                text += &format!("[{}, {}) {hash}\n", subtree.start(), subtree.end());
            }
        }
        name if name.starts_with("subtree-inclusion") => {
            for subtree in subtrees(LEAVES) {
                for index in subtree.start()..subtree.end() {
                    let proof = subtree
                        .prove_inclusion(&nodes, LeafIndex::new(index).map_err(|e| cannot(&e))?)
                        .map_err(|e| cannot(&e))?;
                    text += &format!("{index} [{}, {})", subtree.start(), subtree.end());
                    hashes(&mut text, &proof.hashes);
                    text.push('\n');
                }
            }
        }
        name if name.starts_with("subtree-consistency") => {
            for size in 0..=LEAVES {
                for subtree in subtrees(size) {
                    let proof = subtree
                        .prove_consistency(&nodes, TreeSize::new(size).map_err(|e| cannot(&e))?)
                        .map_err(|e| cannot(&e))?;
                    text += &format!("[{}, {}) {size}", subtree.start(), subtree.end());
                    hashes(&mut text, &proof.hashes);
                    text.push('\n');
                }
            }
        }
        name if name.contains("cover") => {
            for (start, end) in every(LEAVES) {
                let [a, b] = Subtree::cover(start, end).map_err(|e| cannot(&e))?;
                text += &format!("[{}, {}) [{}, {})\n", a.start(), a.end(), b.start(), b.end());
            }
        }
        other => return Err(Miss::Unknown(format!("the accumulation {other}"))),
    }
    same(hex::encode(Sha256::digest(text)), case.str("want")?.into())
}

fn reference_tree(source: &Source<'_>, judge: &mut dyn FnMut(&str, Judged)) {
    let whole = Case::new(source.json);
    let mut run = || -> Judged {
        let leaves: Option<Vec<_>> =
            whole.list("leafInputs")?.iter().map(|leaf| leaf.as_str().and_then(unhex)).collect();
        let leaves: Vec<LeafHash> =
            leaves.ok_or_else(|| Miss::Unknown("`leafInputs`".into()))?.iter().map(|leaf| LeafHash::of(leaf)).collect();

        let mut frontier = Frontier::new();
        for (size, root) in whole.list("rootsBySize")?.iter().enumerate() {
            judge(&format!("root of {size}"), same(Some(frontier.root().to_hex().as_str()), root.as_str()));
            if let Some(leaf) = leaves.get(size) {
                frontier.push(*leaf).map_err(|e| Miss::Wrong(e.to_string()))?;
            }
        }

        let mut level: Vec<Hash> = leaves.into_iter().map(Hash::from).collect();
        for (number, listed) in whole.list("levels")?.iter().enumerate() {
            let listed = listed.value().as_array().ok_or_else(|| Miss::Unknown("`levels`".into()))?;
            for (index, expected) in listed.iter().enumerate() {
                judge(
                    &format!("node {number}/{index}"),
                    same(level.get(index).map(Hash::to_hex), expected.as_str().map(str::to_owned)),
                );
            }
            level = level.chunks_exact(2).map(|pair| Hash::node(&pair[0], &pair[1])).collect();
        }

        for case in whole.list("hasher")? {
            let inputs: Vec<Vec<u8>> =
                case.list("inputs")?.iter().filter_map(|input| input.as_str().and_then(unhex)).collect();
            let hash = match (case.str("op")?, inputs.as_slice()) {
                ("emptyRoot", []) => Hash::EMPTY_ROOT,
                ("leaf", [entry]) => LeafHash::of(entry).into(),
                ("node", [left, right]) => {
                    match (left.as_slice().try_into(), right.as_slice().try_into()) {
                        (Ok(left), Ok(right)) => Hash::node(&Hash(left), &Hash(right)),
                        // Nodes of other than 32 bytes: our types cannot hold them.
                        _ => continue,
                    }
                }
                (op, _) => {
                    judge(op, Err(Miss::Unknown(format!("the operation {op}"))));
                    continue;
                }
            };
            judge(case.str("desc")?, same(hash.to_hex(), case.str("want")?.into()));
        }
        Ok(())
    };
    if let Err(miss) = run() {
        judge("the file", Err(miss));
    }
}

/// Paths of tiles and entry bundles.
fn path(case: &Case<'_>) -> Judged {
    match case.str("kind")? {
        "tile" => {
            let ours = tile::Path::parse(case.str("path")?);
            if case.str("want")? != "ok" {
                return accepted(ours, false);
            }
            if !case.has("width") {
                return accepted(ours, true);
            }
            let width = u16::try_from(case.u64("width")?).map_err(|_| Miss::Unknown("`width`".into()))?;
            let listed = match u8::try_from(case.u64("level").unwrap_or_default()) {
                _ if case.str("path")?.starts_with("tile/entries/") => {
                    tile::Path::Entries(EntriesPath { index: case.u64("index")?, width })
                }
                Ok(level) => tile::Path::Tile(Tile { level, index: case.u64("index")?, width }),
                Err(_) => return Err(Miss::Unknown("`level`".into())),
            };
            same(listed.path(), case.str("path")?.into())?;
            same(ours, Ok(listed))
        }
        "entries-for-index" => {
            let size = size(case, "logSize")?.ok_or_else(|| Miss::Unknown("`logSize`".into()))?;
            let at =
                EntriesPath::at(case.u64("index")? / 256, size).ok_or_else(|| Miss::Wrong("no such bundle".into()))?;
            same(at.path(), case.str("path")?.into())
        }
        "tile-set" => {
            let size = size(case, "treeSize")?.ok_or_else(|| Miss::Unknown("`treeSize`".into()))?;
            for (level, member) in [(0, "level0"), (1, "level1"), (2, "level2"), (3, "level3")] {
                if !case.has(member) {
                    continue;
                }
                let listed = case.at(member)?;
                let tiles: Vec<Tile> = (0..).map_while(|index| Tile::at(level, index, size)).collect();
                let full = tiles.iter().filter(|t| t.width == 256).count() as u64;
                let partial = tiles.iter().find(|t| t.width < 256).map_or(0, |t| t.width.into());
                same([full, partial], [listed.u64("full")?, listed.u64("partial")?])?;
            }
            Ok(())
        }
        "sumdb-tile" => sumdb(case),
        other => Err(Miss::Unknown(format!("the kind {other}"))),
    }
}

/// The older scheme of the Go checksum database has the height of a tile in front: `tile/<H>/<L>/<N>`. With the
/// height left out what remains is a path of ours, as far as tiles of that height can be ours.
fn sumdb(case: &Case<'_>) -> Judged {
    let path = case.str("path")?;
    let want = case.str("want")? == "ok";
    let ours = path
        .strip_prefix("tile/")
        .and_then(|rest| rest.split_once('/'))
        .map(|(height, rest)| (height.parse::<u8>(), format!("tile/{}", rest.replacen("data/", "entries/", 1))));
    let Some((height, ours)) = ours else {
        return same(false, want);
    };
    let Ok(height @ 1..=30) = height else {
        return same(false, want);
    };
    // A width below 2^H has no meaning for tiles of 256: the number is judged with and the width without them.
    let (number, width) = ours.split_once(".p/").map_or((ours.as_str(), None), |(number, width)| (number, Some(width)));
    let fits = width
        .is_none_or(|width| width.parse::<u64>().is_ok_and(|w| w.to_string() == width && w > 0 && w < 1 << height));
    match tile::Path::parse(number) {
        Ok(parsed) => {
            if case.has("index") {
                let index = match parsed {
                    tile::Path::Tile(tile) => tile.index,
                    tile::Path::Entries(entries) => entries.index,
                    tile::Path::Checkpoint => return same(false, want),
                };
                same(index, case.u64("index")?)?;
            }
            same(fits, want)
        }
        Err(_) => same(false, want),
    }
}

/// A whole small log of another make: bundle, tile, and sixteen signed checkpoints.
fn tessera(whole: &Case<'_>, judge: &mut dyn FnMut(&str, Judged)) {
    let mut run = || -> Judged {
        let bundled = whole.hex("entriesBundleHex")?;
        let entries = bundle::parse(&bundled).map_err(|e| Miss::Wrong(e.to_string()))?;
        let listed: Option<Vec<_>> = whole.list("entriesHex")?.iter().map(|e| e.as_str().and_then(unhex)).collect();
        judge("entries", same(Some(entries.iter().map(|e| e.to_vec()).collect()), listed));

        let mut again = Vec::new();
        let mut frontier = Frontier::new();
        let mut tile = Vec::new();
        let roots = whole.list("rootsBase64")?;
        for (size, root) in roots.iter().enumerate() {
            judge(&format!("root of {size}"), same(Some(frontier.root().to_base64().as_str()), root.as_str()));
            let Some(entry) = entries.get(size) else {
                continue;
            };
            bundle::push(&mut again, entry).map_err(|e| Miss::Wrong(e.to_string()))?;
            let leaf = LeafHash::of(entry);
            tile.extend_from_slice(&leaf.0);
            frontier.push(leaf).map_err(|e| Miss::Wrong(e.to_string()))?;
            for (member, ours) in [("partialTile0Hex", &tile), ("partialEntriesHex", &again)] {
                if let Ok(partial) = whole.at(member).and_then(|p| p.hex(&(size + 1).to_string())) {
                    judge(&format!("{member}/{}", size + 1), same(ours.clone(), partial));
                }
            }
        }
        judge("bundle", same(again, bundled.clone()));
        judge("tile", same(tile, whole.hex("tile0Hex")?));

        let key = [tlog::key::Vkey::parse(whole.str("vkey")?).map_err(|e| Miss::Wrong(e.to_string()))?];
        for case in whole.list("cases").unwrap_or_default() {
            let opened =
                case.str("note").map(|note| Note::parse(note.as_bytes()).is_ok_and(|note| note.open(&key).is_ok()));
            judge(&case.name(), opened.and_then(|opened| same(opened, true)));
        }
        Ok(())
    };
    if let Err(miss) = run() {
        judge("the file", Err(miss));
    }
}

/// Tiles of a real log: leaf hashes as files beside the JSON.
fn real_tiles(whole: &Case<'_>, folder: &Path, stem: &str, judge: &mut dyn FnMut(&str, Judged)) {
    let mut frontier = Frontier::new();
    let mut roots = vec![frontier.root()];
    let mut run = || -> Judged {
        for file in whole.list("files")? {
            let name = file.str("file")?;
            let bytes = std::fs::read(folder.join(name)).map_err(|e| Miss::Unknown(format!("{name}: {e}")))?;
            judge(
                &format!("{name}: bytes"),
                same(hex::encode(Sha256::digest(&bytes)), file.str("sha256OfFile")?.into()),
            );
            judge(
                &format!("{name}: path"),
                same(tile::Path::parse(file.str("tilePath")?).map(|p| p.path()), Ok(file.str("tilePath")?.into())),
            );
            if file.has("level1HashHex") {
                judge(&format!("{name}: root"), same(tile::root(&bytes).to_hex(), file.str("level1HashHex")?.into()));
            }
            for leaf in bytes.as_chunks::<32>().0 {
                frontier.push(LeafHash(*leaf)).map_err(|e| Miss::Wrong(e.to_string()))?;
                roots.push(frontier.root());
            }
        }
        let listed = whole.at("prefixRoots")?;
        for (size, root) in listed.value().as_object().into_iter().flatten() {
            let ours = size.parse::<usize>().ok().and_then(|size| roots.get(size)).map(Hash::to_hex);
            judge(&format!("{stem}: root of {size}"), same(ours, root.as_str().map(str::to_owned)));
        }
        Ok(())
    };
    if let Err(miss) = run() {
        judge("the file", Err(miss));
    }
}
