//! Trouble of servers, networks and disks: never held against the log, and nothing is lost by it.

mod stage;

use std::path::Path;
use std::time::Duration;

use monitor::state::StateError;
use monitor::{Class, Monitor, Options, Patience, Report, What};
use scal3::tagged;
use stage::{Answer, Site, grow, keeping, log, policy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PAGE: &str = "<!doctype html><title>Hotel</title><p>Please log in to use the network.";

fn hasty(dir: &Path) -> Options {
    let patience = Patience { answer: Duration::from_secs(4), wait: Duration::ZERO, tries: 1, ..Patience::default() };
    Options { patience, ..keeping(dir) }
}

/// Nothing but trouble.
fn assert_trouble(report: &Report, row: &str) {
    assert_eq!((report.class(), report.exit_code()), (Class::Infrastructure, 2), "{row}: {report}");
    assert!(report.evidence.is_empty(), "{row}: {report}");
}

#[tokio::test]
async fn whatever_fails_at_random_is_nobodys_lie_and_the_cursor_stays() {
    let seed = std::env::var("SOLELOG_SEED").ok().and_then(|seed| seed.parse().ok());
    let mut seed: u64 = seed.unwrap_or_else(|| std::process::id().into());
    println!("SOLELOG_SEED={seed}");
    let mut below = |end: usize| {
        seed = u64::from_be_bytes(tagged("test/dice", &seed.to_be_bytes()).0[..8].try_into().unwrap());
        (seed % end as u64) as usize
    };
    let dir = tempfile::tempdir().unwrap();
    let mut log = log(300);
    let site = Site::of(&log).await;
    let mut monitor = Monitor::new(policy(), &site.url, hasty(dir.path())).unwrap();
    assert_eq!(monitor.pass().await.class(), Class::Ok);
    for round in 0..40 {
        let accepted = monitor.accepted_size();
        let size = log.size() + 1 + below(400) as u64;
        grow(&mut log, size);
        site.publish(&log);
        // Only what a monitor that goes on still has to read is in trouble; the rest it does not ask for.
        let needed = log.entries.len() as u64;
        let wanted: Vec<String> = (site.paths().into_iter())
            .filter(|path| path.contains(&format!("entries/{:03}", (needed - 1) >> 8)))
            .filter(|path| path.ends_with(&format!("/{}", needed % 256)) || needed.is_multiple_of(256))
            .chain(["checkpoint".to_owned()])
            .collect();
        let path = &wanted[below(wanted.len())];
        let good = site.at(path);
        let Answer::Bytes(bytes) = &good else { panic!("{path}") };
        let bad = match below(20) {
            0..4 => Answer::Status(500),
            4..8 => Answer::Status(404),
            8..12 => Answer::Page(PAGE),
            12 => Answer::Silence,
            13..16 => Answer::Redirect("http://127.0.0.1:1/".to_owned()),
            _ => {
                // Not at the end of a line: a checkpoint without its last cosignatures is one that no quorum stands behind.
                let cut = bytes.len() - 1 - below(bytes.len() - 1);
                Answer::Bytes(bytes[..cut].trim_ascii_end().to_vec())
            }
        };
        site.put(path, [bad]);
        if below(3) == 0 {
            // A new process reads from the start, and meets the same trouble.
            drop(monitor);
            monitor = Monitor::new(policy(), &site.url, hasty(dir.path())).unwrap();
        }
        let report = monitor.pass().await;
        assert_trouble(&report, &format!("round {round}, {path}"));
        assert_eq!(monitor.accepted_size(), accepted, "round {round}, {path}: {report}");
        if below(2) == 0 {
            site.put(path, [good]);
            let report = monitor.pass().await;
            assert_eq!((report.class(), monitor.accepted_size()), (Class::Ok, size), "round {round}: {report}");
        }
    }
}

#[tokio::test]
async fn a_server_that_breaks_off_is_nobodys_lie() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nlog.example/one\n").await;
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let report = Monitor::new(policy(), &url, hasty(dir.path())).unwrap().pass().await;
    assert_trouble(&report, "broken off");
}

#[tokio::test]
async fn a_full_disk_keeps_the_old_state_and_blames_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = log(300);
    let site = Site::of(&log).await;
    let mut monitor = Monitor::new(policy(), &site.url, keeping(dir.path())).unwrap();
    assert_eq!(monitor.pass().await.class(), Class::Ok);
    let state = dir.path().join("monitor.state");
    let before = std::fs::read(&state).unwrap();

    // Whatever is written beside the state goes to a device that has no room, as the system itself says.
    let beside = dir.path().join("monitor.tmp");
    std::os::unix::fs::symlink("/dev/full", &beside).unwrap();
    grow(&mut log, 310);
    site.publish(&log);
    let report = monitor.pass().await;
    assert_trouble(&report, "no room");
    let no_room = |what: &What| match what {
        What::State(StateError::Io { error, .. }) => error.kind() == std::io::ErrorKind::StorageFull,
        _ => false,
    };
    assert!(report.of(Class::Infrastructure).all(no_room), "{report}");
    assert_eq!(std::fs::read(&state).unwrap(), before);

    // Also while the log lies: that is told, and proven as soon as there is room.
    std::fs::remove_file(&beside).unwrap();
    drop(monitor);
    let evidence = dir.path().join("evidence");
    let mut monitor = Monitor::new(policy(), &site.url, keeping(dir.path())).unwrap();
    assert_eq!(monitor.pass().await.class(), Class::Ok);
    std::fs::remove_dir(&evidence).unwrap();
    std::fs::write(&evidence, "in the way").unwrap();
    let mut draft = log.draft(&stage::ann());
    draft.spoil = |record| *record.last_mut().unwrap() ^= 1;
    log.append(&draft);
    site.publish(&log);
    let report = monitor.pass().await;
    assert!(report.class() == Class::Tamper && report.evidence.is_empty(), "{report}");
    assert!(report.of(Class::Infrastructure).any(|what| matches!(what, What::State(_))), "{report}");
    std::fs::remove_file(&evidence).unwrap();
    std::fs::create_dir(&evidence).unwrap();
    assert_eq!(monitor.pass().await.evidence.len(), 1);
}
