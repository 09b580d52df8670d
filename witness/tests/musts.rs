//! One row for each MUST of tlog-witness, over HTTP, as `solelog-witness selftest` runs them.

use witness::selftest;

#[tokio::test(flavor = "multi_thread")]
async fn every_must_of_tlog_witness_is_answered_as_specified() {
    let rows = selftest::run().await.unwrap();
    let wrong: Vec<_> = rows.iter().filter(|row| row.fault.is_some()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    // Every status that the specification names, and enough rows that none was dropped by accident.
    for status in [200, 400, 403, 404, 409, 422] {
        assert!(rows.iter().any(|row| row.status == status), "{status}");
    }
    assert_eq!(rows.len(), 37, "{rows:#?}");
}
