//! What the tests share: jobs that hold, and public vectors where they lie.

#![allow(dead_code, reason = "each test file uses its own part")]

pub mod maker;

use std::path::{Path, PathBuf};

use scal3::batch::{Job, Plain, Verdict, VerifyBatch};
use serde_json::Value;
use verifier::{Choice, Engine, Judge, Portable};

/// Reads one vector file; none when there are no vectors on this machine, unless `SOLELOG_REQUIRE_VECTORS=1` says that
/// there must be.
pub fn vectors(name: &str) -> Option<Value> {
    let folder = std::env::var_os("SOLELOG_VECTORS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors"), PathBuf::from);
    let path = folder.join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(serde_json::from_str(&text).expect(name)),
        Err(error) => {
            let required = std::env::var_os("SOLELOG_REQUIRE_VECTORS").is_some_and(|v| v == "1");
            assert!(!required, "{}: {error}", path.display());
            println!("skipped: no vectors");
            None
        }
    }
}

/// The hex string under a name, as bytes.
pub fn bytes(case: &Value, name: &str) -> Vec<u8> {
    hex::decode(case[name].as_str().unwrap_or_else(|| panic!("no {name} in {case}"))).expect(name)
}

/// Every engine that this machine can run, but the plain one, which judges them.
pub fn engines() -> Vec<(&'static str, Box<dyn VerifyBatch>)> {
    let mut engines: Vec<(&'static str, Box<dyn VerifyBatch>)> =
        vec![("portable", Box::new(Portable)), ("judge", Box::new(Judge))];
    match Engine::new(Choice::Vector) {
        Ok(engine) => engines.push(("vector", Box::new(engine))),
        Err(error) => println!("without the vector engine: {error}"),
    }
    engines
}

/// Asserts that every engine gives the verdicts of the plain one, twice: what an engine keeps about keys that it has
/// seen must not change a verdict.
pub fn agree(jobs: &[Job]) -> Vec<Verdict> {
    let expected = Plain.verify_batch(jobs);
    for (name, engine) in engines() {
        for round in 0..2 {
            assert_eq!(engine.verify_batch(jobs), expected, "{name}, round {round}");
        }
    }
    expected
}

/// How many cases a differential test runs: `SOLELOG_VERIFIER_CASES`, or so many. Whether that was asked for.
pub fn cases(otherwise: usize) -> (bool, usize) {
    match std::env::var("SOLELOG_VERIFIER_CASES") {
        Ok(cases) => (true, cases.parse().expect("SOLELOG_VERIFIER_CASES is a number")),
        Err(_) => (false, otherwise),
    }
}
