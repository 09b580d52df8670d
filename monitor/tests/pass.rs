//! One row for each way in which a log can be, or seem to be, in or out of order.

mod stage;

use std::path::Path;
use std::time::Duration;

use monitor::fetch::FetchError;
use monitor::openings::OpeningsError;
use monitor::state::StateError;
use monitor::{Class, Monitor, Options, Report, SetupError, Token, What};
use scal3::accusation::Accusation;
use scal3::fold::Wrong;
use scal3::verdict::Proven;
use scal3::{Entry, Genesis, Hash, Kind};
use stage::{
    Answer, Log, ORIGIN, Site, ann, auditor, event, grow, keeping, log, note, note_by, note_later, plain, policy,
    quick, signer, witness,
};
use tlog::checkpoint::{Checkpoint, Origin};
use tlog::key::{KeyName, Signer};
use tlog::note::Note;
use tlog::policy::{Policy, PolicyError};
use tlog::reader::ReadError;
use tlog::tree::TreeHead;

/// The one finding that isn't OK.
fn only(report: &Report) -> &What {
    let mut bad = report.findings.iter().filter(|finding| finding.class != Class::Ok);
    let (Some(finding), None) = (bad.next(), bad.next()) else {
        panic!("not one finding: {report}");
    };
    assert_eq!(finding.class, finding.what.class());
    assert_eq!(report.class(), finding.class);
    &finding.what
}

fn codes(report: &Report) -> Vec<&'static str> {
    report.findings.iter().map(|finding| finding.what.code()).collect()
}

fn evidence(dir: &Path) -> Vec<String> {
    let files = std::fs::read_dir(dir.join("evidence")).unwrap();
    files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn a_log_in_order_is_read_to_its_last_entry_and_every_record_verified() {
    let site = Site::of(&log(300)).await;
    let report = site.pass(auditor()).await;
    assert_eq!(codes(&report), ["signed", "rebuilt", "in-order", "verified"], "{report}");
    assert_eq!((report.size(), report.entries, report.verified, report.unverifiable), (300, 300, 3, 0));
    assert_eq!((report.class(), report.exit_code()), (Class::Ok, 0));
    assert_eq!(report.origin.as_deref(), Some(ORIGIN));
}

#[tokio::test]
async fn what_is_not_shown_is_unverifiable_and_asked_for_once() {
    let site = Site::of(&log(300)).await;
    let report = site.pass(quick()).await;
    assert_eq!(codes(&report), ["signed", "rebuilt", "in-order"], "{report}");
    // All but the genesis.
    assert_eq!((report.verified, report.unverifiable, report.erased), (0, 299, 0));
    assert_eq!(report.exit_code(), 0);
    assert_eq!(site.asked().iter().filter(|path| path.starts_with("v1")).count(), 1);
}

#[tokio::test]
async fn an_erased_record_is_unverifiable_and_the_next_one_bridged() {
    let mut log = Log::with(&ann());
    let gone = log.draft(&ann());
    let entry = log.entry(&gone, &gone.opening());
    let index = log.size();
    log.append(&gone);
    let next = log.draft(&ann());
    log.append(&next);
    log.openings[index as usize] = None;
    assert_eq!(Entry::parse(&log.entries[index as usize]).unwrap(), entry);

    let site = Site::of(&log).await;
    let report = site.pass(auditor()).await;
    // Gone, and nobody says why.
    let What::Gone { indexes } = only(&report) else { panic!("{report}") };
    assert_eq!((indexes.as_slice(), report.class(), report.exit_code()), (&[index][..], Class::Suspicious, 1));

    stage::erased(&mut log, index);
    let site = Site::of(&log).await;
    let report = site.pass(auditor()).await;
    assert_eq!(codes(&report), ["signed", "rebuilt", "in-order"], "{report}");
    assert_eq!((report.verified, report.bridged, report.unverifiable, report.erased), (2, 1, 1, 1));
}

#[tokio::test]
async fn a_flipped_bit_in_a_bundle_is_found() {
    for (path, byte) in [("tile/entries/000", 500), ("tile/entries/001.p/44", 40)] {
        let site = Site::of(&log(300)).await;
        site.spoil(path, |bytes| bytes[byte] ^= 1);
        for options in [auditor(), quick(), plain()] {
            let report = site.pass(options).await;
            let What::Altered(ReadError::Entries(found)) = only(&report) else { panic!("{report}") };
            assert_eq!((found.path().as_str(), report.exit_code()), (path, 1));
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_in_a_tile_is_found() {
    for path in ["tile/0/001.p/44", "tile/1/000.p/1"] {
        let site = Site::of(&log(300)).await;
        site.spoil(path, |bytes| bytes[20] ^= 0x40);
        let report = site.pass(auditor()).await;
        assert!(matches!(only(&report), What::Altered(ReadError::Edge)), "{report}");
    }
}

#[tokio::test]
async fn a_spoilt_answer_is_asked_for_again() {
    let site = Site::of(&log(300)).await;
    let mut good = Vec::new();
    site.spoil("tile/entries/000", |bytes| good.clone_from(bytes));
    let mut bad = good.clone();
    bad[500] ^= 1;
    let answers = [Answer::Status(500), Answer::Bytes(bad), Answer::Status(503), Answer::Bytes(good)];
    site.put("tile/entries/000", answers);
    let report = site.pass(auditor()).await;
    assert_eq!(report.class(), Class::Ok, "{report}");
}

#[tokio::test]
async fn a_truncated_bundle_or_tile_is_nobodys_lie() {
    for (path, length) in [("tile/entries/000", 1000), ("tile/entries/001.p/44", 0), ("tile/0/001.p/44", 32)] {
        let site = Site::of(&log(300)).await;
        site.spoil(path, |bytes| bytes.truncate(length));
        let report = site.pass(auditor()).await;
        assert!(matches!(only(&report), What::Damaged(_)), "{report}");
        assert_eq!(report.exit_code(), 2);
    }
}

#[tokio::test]
async fn two_heads_of_one_size_are_tampering_and_evidence() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::of(&log(300)).await;
    let kept = note(site.publish(&log(300)));
    assert_eq!(site.pass(keeping(dir.path())).await.class(), Class::Ok);
    let state = std::fs::read(dir.path().join("monitor.state")).unwrap();

    let size = kept_size(&kept);
    let offered = note(TreeHead { root: Hash([7; 32]), ..size });
    site.show(&offered);
    // In one run and in each after it, as long as the head is kept.
    for _ in 0..2 {
        let report = site.pass(keeping(dir.path())).await;
        let What::Fork(heads) = only(&report) else { panic!("{report}") };
        assert_eq!((&heads.kept, &heads.offered), (&kept, &offered));
        assert_eq!(report.exit_code(), 1);
        let [file] = report.evidence.as_slice() else { panic!("{report}") };
        // Whoever reads it verifies it without us.
        let accusation = Accusation::parse(&std::fs::read(file).unwrap()).unwrap();
        let origin = ORIGIN.to_owned();
        assert_eq!(accusation.judge(&policy()), Ok(Proven::Fork { origin, size: 300 }));
    }
    assert_eq!(evidence(dir.path()).len(), 1);
    assert_eq!(std::fs::read(dir.path().join("monitor.state")).unwrap(), state);
}

fn kept_size(note: &Note) -> TreeHead {
    Checkpoint::parse_text(note.text()).unwrap().head
}

#[tokio::test]
async fn a_smaller_head_than_before_is_tampering_if_a_witness_cosigned_it_later() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::of(&log(300)).await;
    assert_eq!(site.pass(keeping(dir.path())).await.class(), Class::Ok);
    site.publish(&log(290));
    let report = site.pass(keeping(dir.path())).await;
    assert!(matches!(only(&report), What::Behind(_)), "{report}");
    assert_eq!((report.class(), report.exit_code(), report.evidence.len()), (Class::Suspicious, 1, 0));

    site.show(&note_later(kept_size_of(290), 60));
    let report = site.pass(keeping(dir.path())).await;
    assert!(matches!(only(&report), What::Rollback(_)), "{report}");
    assert_eq!((report.evidence.len(), evidence(dir.path()).len()), (1, 1));
}

#[tokio::test]
async fn an_old_head_from_a_cache_is_asked_for_again() {
    let site = Site::of(&log(300)).await;
    let mut monitor = site.monitor(auditor());
    assert_eq!(monitor.pass().await.class(), Class::Ok);
    let head = |size| note(kept_size_of(size)).to_bytes();
    site.put("checkpoint", [Answer::Bytes(head(290)), Answer::Bytes(head(300))]);
    let report = monitor.pass().await;
    assert_eq!(report.class(), Class::Ok, "{report}");
}

fn kept_size_of(size: u64) -> TreeHead {
    log(size).fold.head()
}

#[tokio::test]
async fn a_larger_tree_with_another_beginning_is_tampering() {
    let mut other = Log::with(&ann());
    event(&mut other, None);
    grow(&mut other, 320);
    for options in [keeping, |dir: &Path| Options { plain: true, ..keeping(dir) }] {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::of(&log(300)).await;
        assert_eq!(site.pass(options(dir.path())).await.class(), Class::Ok);
        site.publish(&other);
        for _ in 0..2 {
            let report = site.pass(options(dir.path())).await;
            let What::Diverged(heads) = only(&report) else { panic!("{report}") };
            assert_eq!((&heads.kept, &heads.offered), (&note(kept_size_of(300)), &note(other.fold.head())));
        }
        assert_eq!(evidence(dir.path()).len(), 1);
        // Nor does a head between the two help: the log has signed what it has signed.
        site.publish(&log(310));
        let report = site.pass(options(dir.path())).await;
        assert!(matches!(only(&report), What::Behind(_)), "{report}");
    }
}

#[tokio::test]
async fn a_head_is_remembered_before_it_is_read_up_to() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::of(&log(300)).await;
    site.put("tile/entries/000", [Answer::Status(500)]);
    let report = site.pass(keeping(dir.path())).await;
    let What::Unreachable { error: FetchError::Status(500), .. } = only(&report) else { panic!("{report}") };

    let head = kept_size_of(300);
    site.show(&note(TreeHead { root: Hash([7; 32]), ..head }));
    let report = site.pass(keeping(dir.path())).await;
    // The head that was signed has another root, and that is proven.
    assert!(matches!(only(&report), What::Fork(_)), "{report}");
}

#[tokio::test]
async fn a_checkpoint_that_does_not_meet_the_policy_is_not_followed() {
    let site = Site::of(&log(10)).await;
    let head = kept_size_of(10);
    let stranger = Signer::note(KeyName::new("log.example/other").unwrap(), &[1; 32]);
    let text = Checkpoint::new(Origin::new("log.example/other").unwrap(), head).to_text();
    let spoilt = note(head).with_signature(witness(3).cosign("another\n", tlog::cosignature::Seconds::new(1).unwrap()));
    let rows = [
        ("no quorum", note_by(&signer(1), head, &[3]), PolicyError::NoQuorum),
        ("one witness twice", note_by(&signer(1), head, &[3, 3]), PolicyError::NoQuorum),
        ("wrong log key", note_by(&signer(2), head, &[1, 2, 3]), PolicyError::NotSigned),
        ("another log", Note::sign(&text, &stranger).unwrap(), PolicyError::UnknownLog),
        ("a bad cosignature", spoilt.unwrap(), {
            PolicyError::Signature(tlog::note::OpenError::InvalidSignature { line: 3 })
        }),
    ];
    site.asked();
    for (row, note, expected) in rows {
        site.show(&note);
        let report = site.pass(auditor()).await;
        let What::NotTrusted(error) = only(&report) else { panic!("{row}: {report}") };
        assert_eq!((error, report.exit_code()), (&expected, 1), "{row}");
        assert_eq!(site.asked(), ["checkpoint"], "{row}");
    }
}

#[tokio::test]
async fn a_quorum_that_is_too_long_ago_is_told() {
    let site = Site::of(&log(10)).await;
    let pass = async |days: u64| {
        let max_age = Some(Duration::from_secs(days * 86_400));
        site.pass(Options { max_age, ..auditor() }).await
    };
    let report = pass(1).await;
    // The quorum is as old as the older of the two cosignatures that make it.
    let What::Stale { age, .. } = only(&report) else { panic!("{report}") };
    assert_eq!(report.class(), Class::Infrastructure);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!((now - stage::COSIGNED - 1).abs_diff(age.as_secs()) < 60, "{report}");
    assert_eq!(report.verified, 3, "the rest is looked at all the same");
    assert_eq!(pass(365 * 1000).await.class(), Class::Ok);
}

/// A log of 20 entries with one more, made wrong.
async fn with_last(entry: Vec<u8>) -> (Site, Log) {
    let mut log = log(20);
    log.entries.push(entry);
    log.openings.push(None);
    grow(&mut log, 21);
    (Site::of(&log).await, log)
}

/// The kind of an event, as it stands in the third byte of an entry.
const EVENT: u8 = 9;

#[tokio::test]
async fn an_entry_of_unknown_kind_stops_the_judgement_and_not_the_rest() {
    let log = log(20);
    let known = log.entries.iter().find(|entry| entry[2] == EVENT);
    let mut entry = known.expect("an event").clone();
    entry[2] = 11;
    let (site, _) = with_last(entry).await;
    for options in [auditor(), quick()] {
        let report = site.pass(options).await;
        assert!(matches!(only(&report), What::Unknown { index: 20, .. }), "{report}");
        assert_eq!(codes(&report), ["signed", "rebuilt", "unknown-entry"]);
        assert!(report.unverifiable >= 2, "{report}");
    }
}

#[tokio::test]
async fn an_entry_that_is_none_is_tampering() {
    let (site, _) = with_last(b"no entry".to_vec()).await;
    let report = site.pass(quick()).await;
    assert!(matches!(only(&report), What::Malformed { index: 20, .. }), "{report}");
}

#[tokio::test]
async fn time_that_goes_back_is_tampering() {
    let mut log = log(20);
    log.time_ms -= 1;
    grow(&mut log, 21);
    log.time_ms += 1;
    grow(&mut log, 30);
    let site = Site::of(&log).await;
    for options in [auditor(), quick()] {
        let report = site.pass(options).await;
        let What::Wrong { index: 20, wrong: Wrong::TimeGoesBack { .. } } = only(&report) else { panic!("{report}") };
        assert_eq!((report.exit_code(), report.size()), (1, 30));
    }
}

#[tokio::test]
async fn an_index_key_that_comes_twice_is_tampering() {
    let mut log = log(20);
    event(&mut log, Some(ann().index_key(99)));
    event(&mut log, Some(ann().index_key(99)));
    let site = Site::of(&log).await;
    for options in [auditor(), quick()] {
        let report = site.pass(options).await;
        let What::Wrong { index: 21, wrong: Wrong::IndexKeyUsed { at: 20 } } = only(&report) else {
            panic!("{report}")
        };
    }
}

#[tokio::test]
async fn a_forged_record_is_tampering_to_who_may_see_it() {
    let mut log = log(20);
    let mut draft = log.draft(&ann());
    // The last byte of the last signature.
    draft.spoil = |record| *record.last_mut().unwrap() ^= 1;
    log.append(&draft);
    let site = Site::of(&log).await;
    let mut monitor = site.monitor(auditor());
    for _ in 0..2 {
        let report = monitor.pass().await;
        assert!(matches!(only(&report), What::Wrong { index: 20, wrong: Wrong::Refused(_) }), "{report}");
        assert_eq!(report.verified, 3);
    }
    assert_eq!(site.pass(quick()).await.class(), Class::Ok);
}

#[tokio::test]
async fn every_wrong_entry_is_counted_and_only_the_first_told() {
    let mut log = log(20);
    log.time_ms -= 1;
    grow(&mut log, 140);
    let report = Site::of(&log).await.pass(quick()).await;
    assert!(matches!(report.of(Class::Tamper).last(), Some(What::MoreWrong(20))), "{report}");
    assert_eq!(report.of(Class::Tamper).count(), 101);
}

#[tokio::test]
async fn another_opening_in_its_place_is_found_and_not_held_against_the_log() {
    let log = log(20);
    let site = Site::of(&log).await;
    let mut monitor = site.monitor(auditor());
    site.put("v1/records/12", [Answer::Opening(log.openings[13].clone())]);
    let report = monitor.pass().await;
    assert!(matches!(only(&report), What::OtherOpening { index: 12 }), "{report}");
    assert_eq!(report.unverifiable, 1);
    site.put("v1/records/12", [Answer::Opening(log.openings[12].clone())]);
    assert_eq!(monitor.pass().await.class(), Class::Ok);
}

#[tokio::test]
async fn a_genesis_of_another_log_is_tampering_and_no_genesis_another_kind_of_log() {
    let mut log = log(20);
    let genesis = Genesis::parse(&Entry::parse(&log.entries[0]).unwrap().body.unwrap()).unwrap();
    let other = Genesis { origin: "log.example/two".into(), ..genesis };
    log.entries[0] = Entry::public(Kind::Genesis, stage::people::START_MS, other.to_bytes()).to_bytes();
    let report = Site::of(&log).await.pass(quick()).await;
    assert!(matches!(only(&report), What::OtherOrigin { .. }), "{report}");

    log.entries[0] = b"an entry of some other log".to_vec();
    let site = Site::of(&log).await;
    let report = site.pass(quick()).await;
    assert!(matches!(only(&report), What::NotSolelog(_)), "{report}");
    assert_eq!(site.pass(plain()).await.class(), Class::Ok);
}

#[tokio::test]
async fn a_second_pass_fetches_only_what_is_new() {
    let mut log = log(300);
    let site = Site::of(&log).await;
    let mut monitor = site.monitor(auditor());
    assert_eq!(monitor.pass().await.entries, 300);
    site.asked();

    let report = monitor.pass().await;
    assert_eq!((report.class(), report.entries), (Class::Ok, 0), "{report}");
    assert_eq!(site.asked(), ["checkpoint"]);

    let draft = log.draft(&ann());
    log.append(&draft);
    grow(&mut log, 302);
    site.publish(&log);
    let report = monitor.pass().await;
    assert_eq!((report.class(), report.entries, report.verified), (Class::Ok, 2, 4), "{report}");
    let new = [
        "checkpoint",
        "tile/0/001.p/46",
        "tile/1/000.p/1",
        "tile/entries/001.p/46",
        "v1/records/300",
        "v1/records/301",
    ];
    assert_eq!(site.asked(), new);
}

#[tokio::test]
async fn a_plain_monitor_goes_on_from_what_it_kept() {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options { plain: true, ..keeping(dir.path()) };
    let mut log = log(300);
    let site = Site::of(&log).await;
    assert_eq!(site.pass(options()).await.entries, 300);
    site.asked();
    grow(&mut log, 600);
    site.publish(&log);
    let report = site.pass(options()).await;
    assert_eq!(codes(&report), ["signed", "extends", "rebuilt"], "{report}");
    assert_eq!((report.size(), report.entries), (600, 300));
    let asked = site.asked();
    assert!(!asked.contains(&"tile/entries/000".into()), "{asked:?}");
    assert!(asked.contains(&"tile/entries/002.p/88".into()), "{asked:?}");
}

#[tokio::test]
async fn a_monitor_that_starts_over_passes_what_it_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = log(300);
    let site = Site::of(&log).await;
    assert_eq!(site.pass(keeping(dir.path())).await.class(), Class::Ok);
    grow(&mut log, 310);
    site.publish(&log);
    let report = site.pass(Options { whole: true, ..keeping(dir.path()) }).await;
    assert_eq!(codes(&report), ["signed", "extends", "rebuilt", "in-order", "verified"], "{report}");
    assert_eq!((report.entries, report.verified), (310, 3));
}

#[tokio::test]
async fn a_pass_that_was_cut_off_goes_on_where_it_was() {
    let site = Site::of(&log(600)).await;
    let mut monitor = site.monitor(auditor());
    let mut last = Vec::new();
    site.spoil("tile/entries/002.p/88", |bytes| last.clone_from(bytes));
    site.put("tile/entries/002.p/88", [Answer::Status(404)]);
    let report = monitor.pass().await;
    let What::Unreachable { error: FetchError::NotFound, .. } = only(&report) else { panic!("{report}") };
    let read = report.entries;
    site.put("tile/entries/002.p/88", [Answer::Bytes(last)]);
    let report = monitor.pass().await;
    assert_eq!((report.class(), report.entries + read, report.verified), (Class::Ok, 600, 3), "{report}");
}

#[tokio::test]
async fn where_a_partial_tile_is_gone_the_full_one_does() {
    let site = Site::of(&log(600)).await;
    let head = site.publish(&log(300));
    // What was written for 300 is gone since there were 600.
    site.remove("tile/0/001.p/44");
    site.remove("tile/entries/001.p/44");
    site.show(&note(head));
    let report = site.pass(auditor()).await;
    assert_eq!((report.class(), report.size(), report.entries), (Class::Ok, 300, 300), "{report}");
}

#[tokio::test]
async fn a_log_of_any_kind_and_of_two_levels_is_followed() {
    let entries: Vec<Vec<u8>> = (0..66_000u64).map(|n| n.to_be_bytes().to_vec()).collect();
    let site = Site::open().await;
    site.show(&note(site.publish_plain(&entries)));
    let report = site.pass(plain()).await;
    assert_eq!((report.class(), report.entries), (Class::Ok, 66_000), "{report}");

    site.spoil("tile/1/000", |bytes| bytes[99] ^= 1);
    let report = site.pass(plain()).await;
    assert!(matches!(only(&report), What::Altered(ReadError::Tile(_))), "{report}");
}

#[tokio::test]
async fn a_log_without_entries_is_in_order_if_its_root_is() {
    let site = Site::open().await;
    site.show(&note(TreeHead::EMPTY));
    let report = site.pass(auditor()).await;
    assert_eq!(codes(&report), ["signed", "rebuilt"], "{report}");
    site.show(&note(TreeHead { root: Hash([1; 32]), ..TreeHead::EMPTY }));
    let report = site.pass(auditor()).await;
    assert!(matches!(only(&report), What::EmptyRoot(_)), "{report}");
}

#[tokio::test]
async fn a_server_in_trouble_is_infrastructure_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::of(&log(300)).await;
    assert_eq!(site.pass(keeping(dir.path())).await.class(), Class::Ok);
    let state = || std::fs::read(dir.path().join("monitor.state")).unwrap();
    let before = state();
    let elsewhere = Site::of(&log(300)).await;
    let rows = [
        ("errors", Answer::Status(500)),
        ("nothing there", Answer::Status(404)),
        ("a page", Answer::Bytes(b"<html>maintenance</html>".to_vec())),
        ("cut short", Answer::Bytes(note(kept_size_of(300)).to_bytes()[..60].to_vec())),
        ("without end", Answer::Bytes(vec![b'a'; 200_000])),
        ("elsewhere", Answer::Redirect(format!("{}/checkpoint", elsewhere.url))),
        ("in a circle", Answer::Redirect("/checkpoint".to_owned())),
    ];
    for (row, answer) in rows {
        site.put("checkpoint", [answer]);
        let report = site.pass(keeping(dir.path())).await;
        let what = only(&report);
        assert_eq!((what.class(), report.exit_code()), (Class::Infrastructure, 2), "{row}: {report}");
    }
    assert_eq!(elsewhere.asked(), [""; 0]);

    let url = site.close().await;
    let report = Monitor::new(policy(), &url, keeping(dir.path())).unwrap().pass().await;
    let What::Unreachable { error: FetchError::Transport(_), .. } = only(&report) else { panic!("{report}") };
    assert_eq!(state(), before);
}

#[tokio::test]
async fn a_redirect_within_the_server_is_followed() {
    let site = Site::of(&log(10)).await;
    site.put("a/checkpoint", [Answer::Bytes(note(kept_size_of(10)).to_bytes())]);
    site.put("checkpoint", [Answer::Redirect("/a/checkpoint".to_owned())]);
    assert_eq!(site.pass(auditor()).await.class(), Class::Ok);
}

#[tokio::test]
async fn openings_that_should_be_open_and_are_not_are_told_and_the_rest_checked() {
    let log = log(20);
    let site = Site::of(&log).await;
    let bad = Options { token: Some(Token::new("stolen").unwrap()), ..quick() };
    let report = site.pass(bad).await;
    let What::Openings(OpeningsError::Fetch { index: 1, error: FetchError::Token(401) }) = only(&report) else {
        panic!("{report}")
    };
    assert_eq!((report.exit_code(), report.size(), report.unverifiable), (2, 20, 19));

    // What was missed is looked at as soon as it can be had.
    let mut monitor = site.monitor(auditor());
    site.put(
        "v1/records/4",
        [Answer::Status(500), Answer::Status(500), Answer::Status(500), { Answer::Opening(log.openings[4].clone()) }],
    );
    let report = monitor.pass().await;
    assert!(matches!(only(&report), What::Openings(OpeningsError::Fetch { index: 4, .. })), "{report}");
    assert!(report.unverifiable > 0);
    let report = monitor.pass().await;
    assert_eq!((report.class(), report.verified, report.unverifiable), (Class::Ok, 3, 0), "{report}");
}

#[tokio::test]
async fn a_damaged_state_is_refused_and_never_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::of(&log(20)).await;
    assert_eq!(site.pass(keeping(dir.path())).await.class(), Class::Ok);
    let path = dir.path().join("monitor.state");
    let good = std::fs::read(&path).unwrap();
    let open = || Monitor::new(policy(), &site.url, keeping(dir.path()));
    for at in (0..good.len()).step_by(97) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        let error = open().map(|_| ()).unwrap_err();
        assert!(matches!(error, SetupError::State(StateError::Damaged { .. })), "{at}: {error}");
    }
    std::fs::write(&path, &good[..good.len() / 2]).unwrap();
    open().map(|_| ()).unwrap_err();
    std::fs::write(&path, &good).unwrap();
    let first = open().unwrap();
    let error = open().map(|_| ()).unwrap_err();
    assert!(matches!(error, SetupError::State(StateError::Locked(_))), "{error}");
    drop(first);
    open().unwrap();
}

#[tokio::test]
async fn a_state_that_can_not_be_written_is_told_and_the_log_is_not_blamed() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::of(&log(20)).await;
    let mut monitor = site.monitor(keeping(dir.path()));
    // A folder where the file has to go, so that no file can be put there.
    std::fs::create_dir_all(dir.path().join("monitor.state/x")).unwrap();
    let report = monitor.pass().await;
    assert_eq!((report.class(), report.verified), (Class::Infrastructure, 3), "{report}");
    assert!(report.of(Class::Infrastructure).all(|what| matches!(what, What::State(StateError::Io { .. }))));
}

#[tokio::test]
async fn a_monitor_stays_with_its_log() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::of(&log(20)).await;
    let other = Signer::note(KeyName::new("log.example/two").unwrap(), &[9; 32]);
    let trust = || {
        let file = format!("log {}\nlog {}\nquorum none\n", signer(1).vkey(), other.vkey());
        Policy::parse(file).unwrap()
    };
    let open = || Monitor::new(trust(), &site.url, keeping(dir.path())).unwrap();
    assert_eq!(open().pass().await.class(), Class::Ok);
    let text = Checkpoint::new(Origin::new("log.example/two").unwrap(), kept_size_of(20)).to_text();
    site.show(&Note::sign(&text, &other).unwrap());
    let report = open().pass().await;
    assert!(matches!(only(&report), What::OtherLog { .. }), "{report}");
}
