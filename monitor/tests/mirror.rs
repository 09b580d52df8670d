//! Mirrors: what is published is whole, whatever comes between, and another monitor finds it in order.

mod stage;

use std::collections::BTreeMap;
use std::path::Path;

use monitor::mirror::{Mirror, Mirrored};
use monitor::{Class, What};
use stage::{Answer, Log, Site, event, grow, log, note, plain, policy, quick};

fn mirror(site: &Site, dir: &Path) -> Mirror {
    Mirror::new(policy(), &site.url, dir, quick().patience).unwrap()
}

/// All files of a folder, by path.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
                files.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// A static server of a folder, and a monitor that reads it.
async fn judged(dir: &Path) -> monitor::Report {
    let site = Site::open().await;
    for (path, bytes) in files(dir) {
        site.put(&path, [Answer::Bytes(bytes)]);
    }
    site.pass(plain()).await
}

#[tokio::test]
async fn a_mirror_grows_with_the_log_and_is_read_like_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = log(6);
    let site = Site::of(&log).await;
    let mut before = 0;
    for size in [6, 255, 256, 257, 700, 700, 1100] {
        grow(&mut log, size);
        site.publish(&log);
        let done = mirror(&site, dir.path()).pass().await.unwrap();
        assert_eq!(done, Mirrored { size, new: size - before });
        before = size;
        let report = judged(dir.path()).await;
        assert_eq!((report.class(), report.entries), (Class::Ok, size), "{report}");
        assert!(!files(dir.path()).keys().any(|name| name.ends_with(".tmp")));
    }
    // What the log itself serves for this size is there, byte for byte.
    let copied = files(dir.path());
    let other = Site::of(&log).await;
    let path = format!("tile/0/{:03}.p/{}", 1100 / 256, 1100 % 256);
    other.spoil(&path, |bytes| assert_eq!(&copied[&path], bytes));
    other.spoil("tile/entries/003", |bytes| assert_eq!(&copied["tile/entries/003"], bytes));
}

#[tokio::test]
async fn a_mirror_never_publishes_what_is_not_there_and_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = log(300);
    let site = Site::of(&log).await;
    mirror(&site, dir.path()).pass().await.unwrap();
    let published = std::fs::read(dir.path().join("checkpoint")).unwrap();
    grow(&mut log, 2000);
    site.publish(&log);
    for gone in ["tile/entries/005", "tile/entries/007.p/208", "tile/1/000.p/7"] {
        let mut good = Vec::new();
        site.spoil(gone, |bytes| good.clone_from(bytes));
        for answer in [Answer::Status(500), Answer::Bytes(good[..good.len() / 2].to_vec())] {
            site.put(gone, [answer]);
            let what = mirror(&site, dir.path()).pass().await.unwrap_err();
            assert_eq!(what.class(), Class::Infrastructure, "{what}");
            assert_eq!(std::fs::read(dir.path().join("checkpoint")).unwrap(), published);
            let report = judged(dir.path()).await;
            assert_eq!((report.class(), report.entries), (Class::Ok, 300), "{report}");
        }
        site.put(gone, [Answer::Bytes(good)]);
    }
    // What was written by a run that was cut off is not fetched again.
    assert!(dir.path().join("tile/entries/004").exists());
    site.asked();
    assert_eq!(mirror(&site, dir.path()).pass().await.unwrap(), Mirrored { size: 2000, new: 1700 });
    let asked = site.asked();
    assert!(!asked.iter().any(|path| path == "tile/entries/004"), "{asked:?}");
    assert_eq!(judged(dir.path()).await.entries, 2000);
}

#[tokio::test]
async fn a_mirror_that_was_spoilt_heals_and_the_log_is_not_blamed() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = log(600);
    let site = Site::of(&log).await;
    mirror(&site, dir.path()).pass().await.unwrap();
    for name in files(dir.path()).into_keys().filter(|name| name != "checkpoint") {
        let path = dir.path().join(&name);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[9] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let size = log.size() + 1;
        grow(&mut log, size);
        site.publish(&log);
        let done = mirror(&site, dir.path()).pass().await;
        assert!(done.is_ok(), "{name}: {}", done.unwrap_err());
        mirror(&site, dir.path()).whole().pass().await.unwrap();
        assert_eq!(judged(dir.path()).await.class(), Class::Ok, "{name}");
    }
    std::fs::write(dir.path().join("checkpoint"), "nonsense").unwrap();
    let what = mirror(&site, dir.path()).pass().await.unwrap_err();
    assert!(matches!(what, What::State(_)), "{what}");
}

#[tokio::test]
async fn a_mirror_does_not_follow_a_lie() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::of(&log(300)).await;
    mirror(&site, dir.path()).pass().await.unwrap();
    let before = files(dir.path());
    let mut other = Log::with(&stage::ann());
    event(&mut other, None);
    grow(&mut other, 320);
    site.publish(&other);
    let what = mirror(&site, dir.path()).pass().await.unwrap_err();
    assert!(matches!(what, What::Diverged(_)), "{what}");
    site.publish(&log(290));
    let what = mirror(&site, dir.path()).pass().await.unwrap_err();
    assert!(matches!(what, What::Behind(_)), "{what}");
    let head = log(300).fold.head();
    site.show(&stage::note_by(&stage::signer(1), head, &[3]));
    let what = mirror(&site, dir.path()).pass().await.unwrap_err();
    assert!(matches!(what, What::NotTrusted(_)), "{what}");
    site.show(&note(tlog::TreeHead { root: scal3::Hash([7; 32]), ..head }));
    let what = mirror(&site, dir.path()).pass().await.unwrap_err();
    assert!(matches!(what, What::Fork(_)), "{what}");
    assert_eq!(files(dir.path()), before);
}
