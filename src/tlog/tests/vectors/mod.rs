//! Where the conformance vectors are, and how they are read.

use std::path::PathBuf;

use serde_json::Value;

/// The JSON file `name` below the vector folder. `None`, with a word about it, where the folder
/// is missing; with `SOLELOG_REQUIRE_VECTORS=1` that is a failure.
pub fn load(name: &str) -> Option<Value> {
    let bytes = bytes(name)?;
    Some(serde_json::from_slice(&bytes).unwrap_or_else(|e| panic!("{name}: {e}")))
}

/// The bytes of the file `name` below the vector folder; the same when it is missing.
pub fn bytes(name: &str) -> Option<Vec<u8>> {
    let folder = std::env::var_os("SOLELOG_VECTORS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors")), PathBuf::from);
    if !folder.is_dir() {
        let required = std::env::var("SOLELOG_REQUIRE_VECTORS").is_ok_and(|v| v == "1");
        assert!(!required, "no vectors at {}", folder.display());
        println!("skipped: no vectors");
        return None;
    }
    let file = folder.join(name);
    Some(std::fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display())))
}
