//! Published vectors, read where they lie.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// Reads one vector file; none when there are no vectors on this machine, unless
/// `SOLELOG_REQUIRE_VECTORS=1` says that there must be.
pub fn text(name: &str) -> Option<String> {
    let folder = std::env::var_os("SOLELOG_VECTORS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors"), PathBuf::from);
    let path = folder.join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) => {
            let required = std::env::var_os("SOLELOG_REQUIRE_VECTORS").is_some_and(|v| v == "1");
            assert!(!required, "{}: {error}", path.display());
            println!("skipped: no vectors");
            None
        }
    }
}

/// Reads one vector file as JSON.
pub fn json(name: &str) -> Option<Value> {
    text(name).map(|text| serde_json::from_str(&text).expect(name))
}

/// The array under a name.
pub fn cases<'a>(file: &'a Value, name: &str) -> &'a [Value] {
    file[name].as_array().unwrap_or_else(|| panic!("no array {name}"))
}

/// The string under a name.
pub fn string<'a>(case: &'a Value, name: &str) -> &'a str {
    case[name].as_str().unwrap_or_else(|| panic!("no text {name} in {case}"))
}

/// The hex string under a name, as bytes.
pub fn bytes(case: &Value, name: &str) -> Vec<u8> {
    hex::decode(string(case, name)).unwrap_or_else(|error| panic!("{name}: {error} in {case}"))
}
