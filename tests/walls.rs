//! The walls between the crates, and the promises that documents make about files.
//!
//! A wall is only worth something while it stands: these tests read `cargo metadata` and the
//! documents themselves, and fail when either says something else than the design does.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

/// Which of our crates each of our crates may use. The root package is the log server.
const MAY_USE: &[(&str, &[&str])] = &[
    ("solelog-tlog", &[]),
    ("solelog-scal3", &["solelog-tlog"]),
    ("solelog-threshold", &["solelog-tlog", "solelog-scal3"]),
    ("solelog-verifier", &["solelog-scal3"]),
    ("solelog-witness", &["solelog-tlog"]),
    ("solelog-monitor", &["solelog-tlog", "solelog-scal3", "solelog-verifier"]),
    ("solelog-client", &["solelog-tlog", "solelog-scal3", "solelog-threshold"]),
];

/// The only files of the workspace in which `unsafe` may stand: all in the engine that verifies signatures.
const UNSAFE: &[&str] = &[
    "src/verifier/aws_lc.rs",
    "src/verifier/vector/lanes.rs",
    "src/verifier/vector/mod.rs",
    "src/verifier/vector/tests.rs",
];

/// The only files and folders of the server in which it may speak to the programs that judge it.
const STAGE: &[&str] = &["src/cli/demo.rs", "src/cli/demo/", "src/cli/dev.rs", "src/cli/stage.rs", "src/cli/cast.rs"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn r2_07_each_crate_uses_only_what_its_wall_allows() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo metadata runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");

    let packages = metadata["packages"].as_array().expect("packages");
    for (name, allowed) in MAY_USE {
        let package = packages
            .iter()
            .find(|p| p["name"] == *name)
            .unwrap_or_else(|| panic!("{name} is gone: take it out of MAY_USE"));
        let used: BTreeSet<&str> = package["dependencies"]
            .as_array()
            .expect("dependencies")
            .iter()
            .filter(|d| d["kind"].is_null())
            .filter_map(|d| d["name"].as_str())
            .filter(|d| d.starts_with("solelog"))
            .collect();
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        assert!(used.is_subset(&allowed), "{name} uses {used:?}, its wall allows {allowed:?}");
    }
    for package in packages {
        let shipped = package["dependencies"].as_array().expect("dependencies").iter().filter(|d| d["kind"] != "dev");
        let kit = shipped.filter(|d| d["name"] == "solelog-testkit").count();
        assert_eq!(kit, 0, "{} ships the test kit", package["name"]);
    }
}

#[test]
fn the_server_meets_its_judges_only_on_the_stage() {
    for file in rust_files(&root().join("src")) {
        let name = relative(&file);
        let crate_inside = ["src/tlog/", "src/scal3/", "src/threshold/", "src/verifier/", "src/client/"]
            .iter()
            .any(|c| name.starts_with(c));
        if crate_inside || STAGE.iter().any(|place| name.starts_with(place)) {
            continue;
        }
        let text = std::fs::read_to_string(&file).expect("source");
        for judge in ["witness::", "monitor::", "client::"] {
            // A file may bring the module `tlog::witness` under its own name.
            let module = format!("use tlog::{}", judge.trim_end_matches("::"));
            if text.contains(&module) {
                continue;
            }
            let used = text.lines().filter(|line| !line.trim_start().starts_with("//")).any(|line| names(line, judge));
            assert!(!used, "{name} uses {judge}, which belongs on the stage only ({STAGE:?})");
        }
    }
}

/// Whether a line names this crate at the beginning of a path, as in `witness::serve` but not `tlog::witness::decide`.
fn names(line: &str, krate: &str) -> bool {
    let inside = |c: char| c == ':' || c == '_' || c.is_alphanumeric();
    line.match_indices(krate).any(|(at, _)| !line[..at].ends_with(inside))
}

#[test]
fn the_cores_have_no_world() {
    for core in ["tlog", "scal3", "threshold"] {
        let text = std::fs::read_to_string(root().join("src").join(core).join("lib.rs")).expect("lib.rs");
        assert!(text.contains("#![no_std]"), "{core} must be no_std: it has no clock, disk, network or randomness");
    }
}

#[test]
fn every_member_but_one_forbids_unsafe_code() {
    for manifest in [
        "Cargo.toml",
        "src/tlog/Cargo.toml",
        "src/scal3/Cargo.toml",
        "src/threshold/Cargo.toml",
        "src/client/Cargo.toml",
        "witness/Cargo.toml",
        "monitor/Cargo.toml",
        "loadtest/Cargo.toml",
        "testkit/Cargo.toml",
    ] {
        let text = std::fs::read_to_string(root().join(manifest)).expect("manifest");
        assert!(text.contains("[lints]\nworkspace = true"), "{manifest} must take the workspace's lints");
    }
    let text = std::fs::read_to_string(root().join("Cargo.toml")).expect("manifest");
    assert!(text.contains("unsafe_code = \"forbid\""));
    let text = std::fs::read_to_string(root().join("src/verifier/Cargo.toml")).expect("manifest");
    for lint in ["unsafe_code = \"deny\"", "unsafe_op_in_unsafe_fn = \"deny\"", "undocumented_unsafe_blocks = \"deny\""]
    {
        assert!(text.contains(lint), "the verifier must say {lint}");
    }
}

#[test]
fn unsafe_code_stands_in_the_named_files_only() {
    let files = ["src", "witness", "monitor", "loadtest", "testkit", "tests", "benches", "fuzz"];
    let files: Vec<PathBuf> = files.iter().flat_map(|folder| rust_files(&root().join(folder))).collect();
    let stands = |file: &PathBuf| {
        let text = std::fs::read_to_string(file).expect("source");
        // In two pieces, so that this file does not name itself.
        let word = concat!("uns", "afe ");
        text.lines().filter(|line| !line.trim_start().starts_with("//")).any(|line| line.contains(word))
    };
    let found: BTreeSet<String> = files.iter().filter(|file| stands(file)).map(|file| relative(file)).collect();
    let named: BTreeSet<String> = UNSAFE.iter().map(ToString::to_string).collect();
    assert_eq!(found, named);
}

/// aws-lc-rs brings a libcrypto, and the verifier calls into the same one. With two versions there would be two.
#[test]
fn there_is_one_libcrypto() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock");
    assert_eq!(lock.matches("name = \"aws-lc-sys\"").count(), 1, "aws-lc-rs and aws-lc-sys must move together");
}

/// A path in backticks is a promise that the file is there.
/// Each problem has a page. One that nothing makes would have a page about nothing.
#[test]
fn every_problem_is_one_that_the_server_sends() {
    let mut code = Vec::new();
    collect(&root().join("src/http"), "rs", &mut code);
    let code: String = code.iter().map(|file| std::fs::read_to_string(file).expect("a source file")).collect();
    let mut pages: Vec<PathBuf> = Vec::new();
    collect(&root().join("docs/problems"), "md", &mut pages);
    let mut kinds = 0;
    for line in code.lines().filter_map(|line| line.strip_prefix("    ")) {
        let Some((name, rest)) = line.split_once(" = \"") else { continue };
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') {
            continue;
        }
        kinds += 1;
        let slug = rest.split('"').next().expect("a name");
        assert!(pages.iter().any(|page| page.file_stem().is_some_and(|stem| stem == slug)), "{slug} has a page");
        assert!(code.contains(&format!("&{name}")), "{slug} is sent");
    }
    assert_eq!(kinds, pages.len(), "one page for each");
}

#[test]
fn documents_name_only_files_that_exist() {
    let mut documents = vec![root().join("README.md"), root().join("SECURITY.md")];
    collect(&root().join("docs"), "md", &mut documents);
    let mut seen = 0;
    for document in documents {
        let text = std::fs::read_to_string(&document).expect("document");
        for quoted in text.split('`').skip(1).step_by(2) {
            if !is_path(quoted) {
                continue;
            }
            seen += 1;
            assert!(root().join(quoted).exists(), "{} names `{quoted}`, which does not exist", relative(&document));
        }
    }
    assert!(seen > 20, "only {seen} paths found: the documents or this test have lost their sense");
}

/// Paths of ours start in a folder of ours; anything else in backticks is code, a URL or a route.
fn is_path(text: &str) -> bool {
    let first = text.split('/').next().unwrap_or("");
    let folders = [
        "src", "schemas", "witness", "monitor", "loadtest", "tests", "benches", "fuzz", "docs", "web", ".ci", "systemd",
    ];
    text.contains('/') && folders.contains(&first) && !text.contains([' ', '*', '<', '{', ':'])
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    collect(folder, "rs", &mut files);
    files
}

fn collect(folder: &Path, extension: &str, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("folder").map(|e| e.expect("entry").path()) {
        if entry.is_dir() {
            collect(&entry, extension, into);
        } else if entry.extension().is_some_and(|e| e == extension) {
            into.push(entry);
        }
    }
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_string_lossy().into_owned()
}
