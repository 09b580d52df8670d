//! Every requirement of the source documents, with the tests that show it, and whether it is met.
//!
//! ```text
//! rows.rs             what each row asks, in our words, and how it stands
//! names of tests      `r0_03_…` shows row R0-03, `r4_11_to_15_…` rows R4-11 to R4-15, `r2_g_…` row R2-G
//! docs/requirements.md   made of both: SOLELOG_UPDATE=1 cargo test --workspace --test requirements
//! ```
//!
//! The page goes stale when a test comes, goes or is renamed, and then this fails. So does a row that is said to be met and
//! that no test shows, a name that no test has, and a test that is named for a row that there is none of.

mod rows;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use rows::{DOCUMENTS, ROWS, Row, State};

/// Where tests are.
const FOLDERS: [&str; 6] = ["src", "tests", "testkit", "monitor", "witness", "loadtest"];

/// Tests by name, with the files that have one of that name.
type Tests = BTreeMap<String, Vec<String>>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn tests() -> Tests {
    let mut files = Vec::new();
    for folder in FOLDERS {
        collect(&root().join(folder), &mut files);
    }
    files.sort();
    let mut tests = Tests::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a source file");
        let relative = file.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
        for name in names(&text) {
            tests.entry(name.to_owned()).or_default().push(relative.clone());
        }
    }
    tests
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("folder").map(|entry| entry.expect("entry").path()) {
        if entry.is_dir() {
            if !entry.ends_with("target") {
                collect(&entry, into);
            }
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            into.push(entry);
        }
    }
}

/// The names of the tests in a file. One that is ignored shows nothing.
fn names(text: &str) -> Vec<&str> {
    let (mut names, mut marked, mut ignored) = (Vec::new(), false, false);
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            marked = true;
        } else if line.starts_with("#[ignore") {
            ignored = true;
        } else if let Some(rest) = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ") {
            let name = rest.split(['(', '<']).next().unwrap_or(rest);
            if marked && !ignored {
                names.push(name);
            }
            (marked, ignored) = (false, false);
        }
    }
    names
}

/// The rows that a test is named for. `Err` when it has a name of that kind and there are no such rows.
fn rows_of(name: &str) -> Result<Vec<String>, String> {
    let begins = |text: &str| {
        let mut chars = text.chars();
        chars.next() == Some('r') && chars.next().is_some_and(|c| c.is_ascii_digit()) && chars.next() == Some('_')
    };
    if !begins(name) {
        return Ok(Vec::new());
    }
    let document = &name[1..2];
    let mut parts = name[3..].split('_');
    let first = parts.next().unwrap_or_default();
    let number = |text: &str| (text.len() == 2).then(|| text.parse::<u8>().ok()).flatten();
    let ids: Vec<String> = match (number(first), parts.next(), parts.next().and_then(number)) {
        (Some(from), Some("to"), Some(to)) => (from..=to).map(|n| format!("R{document}-{n:02}")).collect(),
        _ => vec![format!("R{document}-{}", first.to_uppercase())],
    };
    match ids.iter().find(|id| !ROWS.iter().any(|row| row.0 == **id)) {
        None if !ids.is_empty() => Ok(ids),
        _ => Err(format!("the test {name} is named for a row that there is none of")),
    }
}

/// The tests that show a row: those named for it, then those that the table names.
fn shown_by(row: &Row, tests: &Tests) -> Vec<(String, String)> {
    let named = tests.keys().filter(|name| rows_of(name).is_ok_and(|rows| rows.iter().any(|id| id == row.0)));
    let mut all: Vec<(String, String)> = Vec::new();
    for name in named.map(String::as_str).chain(row.3.iter().copied()) {
        let files = tests.get(name).unwrap_or_else(|| panic!("{}: there is no test {name}", row.0));
        assert_eq!(files.len(), 1, "{}: more than one test is called {name}: {files:?}", row.0);
        if all.iter().any(|(other, _)| other == name) {
            panic!("{}: {name} is named for it already", row.0);
        }
        all.push((name.to_owned(), files[0].clone()));
    }
    all
}

fn page(tests: &Tests) -> String {
    let count = |state: fn(&State) -> bool| ROWS.iter().filter(|row| state(&row.2)).count();
    let (met, corrected) =
        (count(|state| matches!(state, State::Met)), count(|state| matches!(state, State::Corrected(_))));
    let mut page = format!(
        "# Requirements, and what shows them\n\n\
         Made by `tests/requirements/main.rs` from the names of the tests and from `tests/requirements/rows.rs`; do not edit it. \
         `SOLELOG_UPDATE=1 cargo test --workspace --test requirements` makes it anew.\n\n\
         A row is *met* when a test would fail without it, and *met in the corrected way* where the document asks for something \
         that is wrong or can't be had, and the true thing is done in its place. Everything else is *not yet*, whatever of it \
         is there; tests of such a row show that part.\n\n\
         {} rows: {met} met, {corrected} met in the corrected way, {} not yet.\n",
        ROWS.len(),
        ROWS.len() - met - corrected
    );
    for (prefix, title) in DOCUMENTS {
        let _ = write!(page, "\n## {title}\n\n| row | what it asks | how it stands | shown by |\n|---|---|---|---|\n");
        for row in ROWS.iter().filter(|row| row.0.starts_with(prefix)) {
            let state = match row.2 {
                State::Met => "met".to_owned(),
                State::Corrected(how) => format!("**met in the corrected way**: {how}"),
                State::NotYet(why) => format!("**not yet**: {why}"),
            };
            let mut files: Vec<(String, Vec<String>)> = Vec::new();
            for (name, file) in shown_by(row, tests) {
                match files.iter_mut().find(|(known, _)| *known == file) {
                    Some((_, names)) => names.push(name),
                    None => files.push((file, vec![name])),
                }
            }
            let by = |(file, names): &(String, Vec<String>)| {
                let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
                format!("`{file}`: {}", names.join(", "))
            };
            let shown: Vec<String> = files.iter().map(by).collect();
            let _ = writeln!(page, "| {} | {} | {state} | {} |", row.0, row.1, shown.join("; "));
        }
    }
    page
}

#[test]
fn every_row_is_in_the_table_once_and_in_order() {
    let mut ids: Vec<String> = Vec::new();
    for (document, last, general) in [(0, 21, 4), (1, 13, 0), (2, 12, 0), (3, 12, 0), (4, 21, 0)] {
        ids.extend((1..=last).map(|n| format!("R{document}-{n:02}")));
        match document {
            0 => ids.extend((1..=general).map(|n| format!("R0-G{n}"))),
            // The third describes a protocol, and has no general row.
            3 => {}
            _ => ids.push(format!("R{document}-G")),
        }
    }
    let rows: Vec<&str> = ROWS.iter().map(|row| row.0).collect();
    assert_eq!(rows, ids);
}

#[test]
fn a_row_that_is_met_has_a_test_and_a_test_has_its_row() {
    let tests = tests();
    assert!(tests.len() > 300, "only {} tests found: this one has lost its sense", tests.len());
    for name in tests.keys() {
        rows_of(name).unwrap_or_else(|error| panic!("{error}"));
    }
    for row in ROWS {
        let shown = shown_by(row, &tests);
        match row.2 {
            State::NotYet("") | State::Corrected("") => panic!("{} does not say how or why", row.0),
            State::NotYet(_) => {}
            State::Met | State::Corrected(_) => {
                assert!(!shown.is_empty(), "{} is said to be met, and no test shows it", row.0);
            }
        }
    }
}

/// Evidence, policy, lifecycle and the protocol are what this version is about: a row about them that is met has a test that is
/// named for it, so that whoever reads the test knows what breaks with it.
#[test]
fn a_row_of_the_protocol_that_is_met_has_a_test_of_its_name() {
    let tests = tests();
    for row in ROWS.iter().filter(|row| !matches!(row.2, State::NotYet(_))) {
        let named = tests.keys().any(|name| rows_of(name).is_ok_and(|rows| rows.iter().any(|id| id == row.0)));
        assert!(named, "{} is said to be met, and no test is named for it", row.0);
    }
}

#[test]
fn the_page_is_not_stale() {
    let path = root().join("docs/requirements.md");
    let made = page(&tests());
    if std::env::var("SOLELOG_UPDATE").as_deref() == Ok("1") {
        std::fs::write(&path, &made).expect("written");
    }
    let page = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(page == made, "docs/requirements.md is stale: SOLELOG_UPDATE=1 cargo test --workspace --test requirements");
}

#[test]
fn names_of_tests_name_their_rows() {
    let of = |name: &str| rows_of(name).map(|ids| ids.join(" "));
    assert_eq!(of("r0_03_deny_gives_no_challenge"), Ok("R0-03".into()));
    assert_eq!(of("r0_g2_a_key"), Ok("R0-G2".into()));
    assert_eq!(of("r4_11_to_13_an_envelope"), Ok("R4-11 R4-12 R4-13".into()));
    assert_eq!(of("r2_g_a_browser"), Ok("R2-G".into()));
    assert_eq!(of("records_come_back"), Ok(String::new()));
    for none in ["r2_f_registrations", "r9_01_x", "r0_3_x", "r0_22_x", "r4_20_to_23_x", "r4_15_to_11_x"] {
        assert!(of(none).is_err(), "{none}");
    }
    let text = "#[test]\nfn one() {\n    fn inner() {}\n}\n#[tokio::test(flavor = \"x\")]\n#[cfg(unix)]\nasync fn two() {\n\
                #[test]\n#[ignore]\nfn three() {\nfn four() {";
    assert_eq!(names(text), ["one", "two"]);
}
