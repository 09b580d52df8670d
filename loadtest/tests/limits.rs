//! `limits` prints what it promises: every ratio a number, or null with the reason; on a real log, small and quickly.

use std::path::PathBuf;
use std::time::Duration;

use loadtest::limits::{KEYS, Limits, Scale};
use loadtest::local::Program;
use serde_json::Value as Json;

/// Smaller than `--quick`: what the figures come to does not matter here.
fn tiny() -> Scale {
    Scale {
        rounds: 1,
        engine: Duration::from_millis(1),
        people: 64,
        window: [128, 64, 128],
        half_load: Duration::from_millis(200),
        witnessed: 4,
        proofs: 20,
        sizes: [300, 1_000],
        audited: 600,
        reads: Duration::from_millis(50),
        cosigned: [2, 3],
        auditing: Duration::ZERO,
        grown_after: Duration::from_secs(20),
    }
}

/// The ratios that any machine can measure.
const EVERYWHERE: &[&str] = &[
    "portable_vs_p256",
    "append_batch_vs_engine",
    "append_single_vs_engine",
    "integrated_p50_vs_floor",
    "integrated_p99_vs_floor",
    "witnessed_added_ms_p50",
    "audit_vs_naive",
    "hash_audit_vs_sha256",
    "cosign_vs_sign",
    "storage_vs_needed",
    "growth_append",
    "growth_proof",
    "growth_rss",
    "growth_open",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_ratio_is_a_number_or_says_why_it_is_none() {
    let program = Program::loadtest(PathBuf::from(env!("CARGO_BIN_EXE_solelog-loadtest")));
    let object =
        Limits { program, folder: None, scale: tiny(), appends_only: false }.measure().await.expect("measured");
    for key in KEYS {
        let (value, why) = (&object[key], &object[format!("{key}_why")]);
        assert_eq!(value.is_number(), why.is_null(), "{key}: {value}, {why}");
        assert!(value.is_number() || value.is_null() && why.is_string(), "{key}: {value}, {why}");
    }
    for key in EVERYWHERE {
        // A window this small may take no tick of the server's clock, which is then said.
        let short = object[format!("{key}_why")].as_str().is_some_and(|why| why.contains("too little was measured"));
        assert!(object[*key].is_number() || short, "{key}: {object}");
    }
    assert!(object["machine"]["cores"].as_u64().is_some_and(|cores| cores > 0));
    assert!(object["counts"]["large_entries"].as_u64() > object["counts"]["small_entries"].as_u64());
    let extra: Vec<&String> = object.as_object().expect("an object").keys().filter(|key| !known(key)).collect();
    assert!(extra.is_empty(), "{extra:?}");
    assert!(matches!(object["counts"]["engine"], Json::String(_)));
}

fn known(key: &str) -> bool {
    KEYS.contains(&key.trim_end_matches("_why")) || ["machine", "counts"].contains(&key)
}
