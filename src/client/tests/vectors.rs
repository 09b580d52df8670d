//! Every public vector through our code, as `sole vectors` runs them.

use client::vectors::{self, FileReport};
use std::path::{Path, PathBuf};

fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("SOLELOG_VECTORS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors"), PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    let required = std::env::var_os("SOLELOG_REQUIRE_VECTORS").is_some_and(|v| v == "1");
    assert!(!required, "{} is not there", folder.display());
    println!("skipped: no vectors");
    None
}

/// Families in which everything must be understood, with the cases that may not be: note keys of other types.
const COMPLETE: &[(&str, &[&str])] = &[
    ("merkle/", &[]),
    ("tiles/", &[]),
    ("note/", &["ECDSA note keys", "RFC 6962 note keys"]),
    ("checkpoint/", &["ECDSA note keys", "RFC 6962 note keys"]),
    ("tlogproof/", &[]),
    ("policy/", &[]),
    ("witness/", &[]),
    ("wycheproof/", &[]),
    ("frost/frost_p256", &[]),
    ("ecsdsa/", &[]),
    ("cbor/", &[]),
    ("cose/sign1", &[]),
    ("scal3/", &[]),
];

/// Files that are judged here and nowhere else, and how many cases of each must pass at least.
const ONLY_HERE: &[(&str, usize)] = &[
    ("merkle/tdev_inclusion.json", 65),
    ("merkle/real_inclusion.json", 30),
    ("merkle/tdev_consistency.json", 62),
    ("merkle/real_consistency.json", 4),
    ("merkle/tdev_subtreeinclusion.json", 132),
    ("merkle/tdev_subtreeconsistency.json", 78),
];

#[test]
fn no_public_vector_fails_and_none_of_ours_is_not_understood() {
    let Some(folder) = folder() else { return };
    let files = vectors::run(&folder).expect("the folder is read");
    let sum = |of: fn(&FileReport) -> usize| files.iter().map(of).sum::<usize>();
    let failed: Vec<_> = files
        .iter()
        .flat_map(|file| file.remarks.iter().filter(|r| r.contains(": FAILED: ")).map(move |r| (&file.file, r)))
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(sum(|f| f.passed) >= 2_300, "only {} cases passed", sum(|f| f.passed));

    for (name, least) in ONLY_HERE {
        let passed = files.iter().find(|file| file.file == *name).map(|file| file.passed);
        assert!(passed.is_some_and(|passed| passed >= *least), "{name}: {passed:?} passed, not {least}");
    }
    for (family, excused) in COMPLETE {
        let files: Vec<_> = files.iter().filter(|file| file.file.starts_with(family)).collect();
        assert!(!files.is_empty(), "no file of {family}");
        for remark in files.iter().flat_map(|file| &file.remarks) {
            assert!(excused.iter().any(|excuse| remark.ends_with(excuse)), "{family}: {remark}");
        }
    }
}

#[test]
fn a_vector_that_is_wrong_fails_and_one_of_an_unknown_shape_is_not_understood() {
    let Some(vectors_folder) = folder() else {
        return;
    };
    let scratch = tempfile::tempdir().expect("a folder");
    let text = std::fs::read_to_string(vectors_folder.join("merkle/tdev_inclusion.json")).expect("vectors");
    let family = scratch.path().join("merkle");
    std::fs::create_dir(&family).expect("a folder");
    std::fs::write(family.join("tdev_inclusion.json"), text.replace("\"wantErr\": false", "\"wantErr\": true"))
        .expect("written");
    std::fs::write(family.join("novel.json"), r#"{"cases": [{"id": "a"}, {"id": "b"}]}"#).expect("written");
    let files = vectors::run(scratch.path()).expect("the folder is read");
    let [novel, wrong] = files.as_slice() else { panic!("{files:?}") };
    assert_eq!((novel.passed, novel.failed, novel.not_understood), (0, 0, 2));
    assert!(wrong.failed > 0 && wrong.passed > 0, "{wrong:?}");
}
