//! What is kept of a log's meaning: a new process goes on from there, and is misled by nothing that it finds there.

mod stage;

use std::path::Path;

use monitor::state::StateError;
use monitor::{Class, Monitor, Options, Report, What};
use scal3::fold::Wrong;
use scal3::{Change, Hash};
use stage::{Log, Site, ann, event, grow, keeping, log, policy, quick};

/// One pass of a process that ends then.
async fn run(site: &Site, options: Options) -> Report {
    Monitor::new(policy(), &site.url, options).unwrap().pass().await
}

fn bundles(asked: &[String]) -> Vec<&str> {
    asked.iter().filter_map(|path| path.strip_prefix("tile/entries/")).collect()
}

fn fold(dir: &Path) -> std::path::PathBuf {
    dir.join("fold.state")
}

/// More of ann's records, and events up to this size.
fn more(log: &mut Log, size: u64) {
    let draft = log.draft(&ann());
    log.append(&draft);
    grow(log, size);
}

#[tokio::test]
async fn a_new_process_goes_on_where_the_last_one_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = log(300);
    let site = Site::of(&log).await;
    assert_eq!(run(&site, keeping(dir.path())).await.class(), Class::Ok);
    site.asked();

    more(&mut log, 600);
    site.publish(&log);
    let report = run(&site, keeping(dir.path())).await;
    assert_eq!((report.class(), report.entries, report.verified), (Class::Ok, 300, 4), "{report}");
    let asked = site.asked();
    assert_eq!(bundles(&asked), ["001", "002.p/88"]);
    let openings: Vec<u64> = asked.iter().filter_map(|path| path.strip_prefix("v1/records/")?.parse().ok()).collect();
    assert!(!openings.is_empty() && openings.iter().all(|index| *index >= 300), "{openings:?}");

    // Nothing new, and yet all that was found before is said again.
    let report = run(&site, keeping(dir.path())).await;
    assert_eq!((report.class(), report.entries, report.verified), (Class::Ok, 0, 4), "{report}");
    assert!(report.findings.iter().any(|finding| matches!(finding.what, What::InOrder { entries: 600 })), "{report}");

    // Whoever wants to reads all of it again.
    let report = run(&site, Options { whole: true, ..keeping(dir.path()) }).await;
    assert_eq!((report.class(), report.entries, report.verified), (Class::Ok, 600, 4), "{report}");
}

#[tokio::test]
async fn what_contradicts_an_entry_of_before_is_found_and_proven() {
    let key = Hash([9; 32]);
    let mut log = log(100);
    let at = log.size();
    event(&mut log, Some(key));
    log.status(&ann(), Change::Revoked("lost".into()));
    let site = Site::of(&log).await;
    let dir = tempfile::tempdir().unwrap();
    let report = run(&site, keeping(dir.path())).await;
    assert_eq!(report.class(), Class::Ok, "{report}");

    // Both are wrong only because of what the last process has read.
    event(&mut log, Some(key));
    let draft = log.draft(&ann());
    log.append(&draft);
    site.publish(&log);
    let report = run(&site, keeping(dir.path())).await;
    assert_eq!((report.class(), report.entries), (Class::Tamper, 2), "{report}");
    let tampers: Vec<&What> = report.of(Class::Tamper).collect();
    assert!(
        matches!(tampers[..], [
            What::Wrong { wrong: Wrong::IndexKeyUsed { at: first }, .. },
            What::Wrong { wrong: Wrong::Refused(_), .. }
        ] if *first == at),
        "{report}"
    );
    assert_eq!(report.evidence.len(), 2, "{report}");

    // What is wrong is not forgotten by ending, and the log not taken for one in order.
    let report = run(&site, keeping(dir.path())).await;
    assert_eq!((report.class(), report.of(Class::Tamper).count()), (Class::Tamper, 2), "{report}");
}

#[tokio::test]
async fn damage_is_ours_and_leads_to_a_fresh_fold() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::of(&log(300)).await;
    run(&site, keeping(dir.path())).await;
    let good = std::fs::read(fold(dir.path())).unwrap();
    for place in [0, good.len() / 2, good.len() - 1] {
        for damage in [
            |bytes: &mut Vec<u8>, place: usize| bytes[place] ^= 1,
            |bytes: &mut Vec<u8>, place| {
                bytes.truncate(place);
            },
        ] {
            let mut bytes = good.clone();
            damage(&mut bytes, place);
            std::fs::write(fold(dir.path()), bytes).unwrap();
            let report = run(&site, keeping(dir.path())).await;
            assert_eq!((report.class(), report.entries), (Class::Infrastructure, 300), "{report}");
            let trouble: Vec<&What> = report.of(Class::Infrastructure).collect();
            assert!(matches!(trouble[..], [What::State(StateError::Rebuilt { .. })]), "{report}");
            // And that is it.
            let report = run(&site, keeping(dir.path())).await;
            assert_eq!((report.class(), report.entries), (Class::Ok, 0), "{report}");
        }
    }
}

#[tokio::test]
async fn what_does_not_fit_is_not_used() {
    let dir = tempfile::tempdir().unwrap();
    let state = |options: Options| Options { state: Some(dir.path().to_owned()), ..options };
    let mut log = log(300);
    let site = Site::of(&log).await;
    // Without a token less is seen: with one, it is looked at again.
    assert_eq!(run(&site, state(quick())).await.verified, 0);
    assert_eq!(run(&site, state(quick())).await.entries, 0);
    let report = run(&site, keeping(dir.path())).await;
    assert_eq!((report.class(), report.entries, report.verified), (Class::Ok, 300, 3), "{report}");

    // A fold that is older than the accepted head is a shorter way to go.
    let older = std::fs::read(fold(dir.path())).unwrap();
    grow(&mut log, 330);
    site.publish(&log);
    run(&site, keeping(dir.path())).await;
    std::fs::write(fold(dir.path()), &older).unwrap();
    let report = run(&site, keeping(dir.path())).await;
    assert_eq!((report.class(), report.entries), (Class::Ok, 30), "{report}");

    // Who takes the heads away wants to begin anew.
    std::fs::remove_file(dir.path().join("monitor.state")).unwrap();
    let report = run(&site, keeping(dir.path())).await;
    assert_eq!((report.class(), report.entries), (Class::Ok, 330), "{report}");

    // The fold of another history than that of the heads.
    let other = tempfile::tempdir().unwrap();
    let mut another = stage::log(300);
    event(&mut another, Some(Hash([3; 32])));
    grow(&mut another, 330);
    run(&Site::of(&another).await, keeping(other.path())).await;
    std::fs::copy(fold(other.path()), fold(dir.path())).unwrap();
    let report = run(&site, keeping(dir.path())).await;
    assert_eq!((report.class(), report.entries), (Class::Ok, 330), "{report}");
}
