//! What every view must do: one suite, run against each.

use std::path::Path;
use std::sync::Arc;

use super::disk::{self, Cut, Disk, Fault, FaultDisk, MemoryDisk};
use super::view::{MemoryView, Options, RedbView, SledView, View, ViewError};

fn contract(view: &dyn View) {
    assert_eq!(view.applied_round().unwrap(), None);
    assert_eq!(view.get(b"a1").unwrap(), None);

    // Loading leaves no round, so a rebuild that stops in the middle does not look finished.
    view.load(&[(b"a1", Some(b"one")), (b"b1", Some(b""))]).unwrap();
    view.load(&[(b"a0", Some(b"zero")), (b"gone", Some(b"soon"))]).unwrap();
    assert_eq!(view.applied_round().unwrap(), None);
    view.apply(7, &[(b"a1", Some(b"two")), (b"gone", None), (b"never", None)]).unwrap();
    assert_eq!(view.applied_round().unwrap(), Some(7));
    assert_eq!(view.get(b"a1").unwrap().as_deref(), Some(&b"two"[..]));
    assert_eq!(view.get(b"b1").unwrap().as_deref(), Some(&b""[..]));
    assert_eq!(view.get(b"gone").unwrap(), None);

    // A round is all or nothing: whatever is refused changes nothing.
    for round in [0, 6, 7] {
        let refused = view.apply(round, &[(b"a1", Some(b"three"))]);
        assert!(matches!(refused, Err(ViewError::Order { applied: 7, .. })));
    }
    assert!(matches!(view.load(&[(b"a1", Some(b"three"))]), Err(ViewError::Order { .. })));
    assert!(matches!(view.apply(8, &[(b"a1", Some(b"three")), (b"\0round", Some(b"x"))]), Err(ViewError::Reserved)));
    assert_eq!(view.get(b"a1").unwrap().as_deref(), Some(&b"two"[..]));
    assert_eq!(view.applied_round().unwrap(), Some(7));

    // The later change of one key in a batch wins; rounds may be skipped, and may be empty.
    view.apply(9, &[(b"a2", Some(b"x")), (b"a2", Some(b"y")), (b"a3", Some(b"x")), (b"a3", None)]).unwrap();
    assert_eq!(view.get(b"a2").unwrap().as_deref(), Some(&b"y"[..]));
    assert_eq!(view.get(b"a3").unwrap(), None);
    view.apply(u64::MAX - 1, &[]).unwrap();
    assert_eq!(view.applied_round().unwrap(), Some(u64::MAX - 1));

    let mut found = Vec::new();
    view.scan(b"a", &mut |key, value| found.push((key.to_vec(), value.to_vec()))).unwrap();
    let pair = |k: &[u8], v: &[u8]| (k.to_vec(), v.to_vec());
    assert_eq!(found, [pair(b"a0", b"zero"), pair(b"a1", b"two"), pair(b"a2", b"y")]);
    let mut all = 0;
    view.scan(b"", &mut |_, _| all += 1).unwrap();
    assert_eq!(all, 4);
    view.flush().unwrap();

    view.clear().unwrap();
    assert_eq!(view.applied_round().unwrap(), None);
    view.scan(b"", &mut |_, _| panic!("a cleared view is empty")).unwrap();
    view.load(&[(b"a1", Some(b"again"))]).unwrap();
    view.apply(1, &[]).unwrap();
    assert_eq!(view.get(b"a1").unwrap().as_deref(), Some(&b"again"[..]));

    view.close().unwrap();
    assert!(matches!(view.get(b"a1"), Err(ViewError::Closed)));
    assert!(matches!(view.apply(2, &[]), Err(ViewError::Closed)));
}

/// What a view with files must do about the machine it runs on.
fn trust_contract(open: impl Fn(&Arc<dyn Disk>, &Path, &Options) -> Box<dyn View>) {
    let dir = tempfile::tempdir().unwrap();
    let disk = disk::real();
    let at = |boot: Option<&str>| {
        let options = Options { cache_bytes: 1 << 20, boot_id: boot.map(str::to_owned) };
        open(&disk, &dir.path().join("view"), &options)
    };
    let view = at(Some("first boot"));
    assert!(!view.trusted(), "there was nothing to trust");
    view.apply(3, &[(b"a", Some(b"1"))]).unwrap();
    view.flush().unwrap();
    drop(view);

    let view = at(Some("first boot"));
    assert!(view.trusted(), "the process ended, the machine went on");
    assert_eq!(view.applied_round().unwrap(), Some(3));
    assert_eq!(view.get(b"a").unwrap().as_deref(), Some(&b"1"[..]));
    view.close().unwrap();
    drop(view);

    let view = at(Some("second boot"));
    assert!(view.trusted(), "it was closed before the machine stopped");
    assert_eq!(view.applied_round().unwrap(), Some(3));
    drop(view);

    let view = at(Some("third boot"));
    assert!(!view.trusted(), "the machine stopped while it was open");
    assert_eq!(view.applied_round().unwrap(), None);
    assert_eq!(view.get(b"a").unwrap(), None);
    view.apply(1, &[]).unwrap();
    drop(view);

    let view = at(None);
    assert!(!view.trusted(), "nobody knows whether the machine stopped");
    drop(view);
    assert!(!at(None).trusted(), "not knowing twice is not the same boot");
}

#[test]
fn the_view_in_memory_keeps_the_contract() {
    contract(&MemoryView::new());
}

#[test]
fn the_view_in_sled_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    contract(&SledView::open(&disk::real(), dir.path(), &Options::default()).unwrap());
}

#[test]
fn the_view_in_sled_knows_when_it_can_be_trusted() {
    trust_contract(|disk, dir, options| Box::new(SledView::open(disk, dir, options).unwrap()));
}

#[test]
fn the_view_in_redb_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    contract(&RedbView::open(&disk::real(), dir.path(), &Options::default()).unwrap());
    contract(&RedbView::open(&MemoryDisk::new().shared(), Path::new("/view"), &Options::default()).unwrap());
}

/// Whole rounds only, and none that was flushed is missing, wherever the power goes.
#[test]
fn the_view_in_redb_survives_power_cuts() {
    let options = Options { cache_bytes: 1 << 20, boot_id: None };
    for seed in 0..60 {
        let disk = MemoryDisk::new();
        let (mut applied, mut flushed) = (0, 0);
        for turn in 0..4u64 {
            let view = RedbView::open(&disk.shared(), Path::new("/view"), &options).unwrap();
            let found = view.applied_round().unwrap().unwrap_or(0);
            assert!((flushed..=applied).contains(&found), "seed {seed}: round {found}");
            assert!(flushed == 0 || view.trusted());
            for round in 1..=found {
                let value = view.get(&[1, round as u8]).unwrap();
                assert_eq!(value, Some(vec![round as u8; 50]), "seed {seed}");
            }
            let mut keys = 0;
            view.scan(&[], &mut |_, _| keys += 1).unwrap();
            assert_eq!(keys, found * 2, "seed {seed}");
            for round in found + 1..=found + 5 {
                let value = [round as u8; 50];
                let (one, two) = ([1, round as u8], [2, round as u8]);
                view.apply(round, &[(&one[..], Some(&value[..])), (&two[..], Some(&value[..]))]).unwrap();
                applied = round;
                if (round + seed) % 4 == 0 {
                    view.flush().unwrap();
                    flushed = round;
                }
            }
            // Not dropped in order: the process does not get to say goodbye.
            disk.cut_power(if seed == 0 { Cut::Lost } else { Cut::Some(seed * 10 + turn) });
            drop(view);
        }
    }
}

/// What a view with files must do about a full disk: nothing, and the same again later.
#[test]
fn a_view_waits_for_room_and_says_when_nobody_knows_what_it_wrote() {
    let disk = MemoryDisk::new();
    let view = RedbView::open(&disk.shared(), Path::new("/view"), &Options::default()).unwrap();
    view.apply(1, &[(b"a", Some(b"1"))]).unwrap();
    disk.set_capacity(Some(0));
    assert!(view.apply(2, &[(b"a", Some(b"2"))]).unwrap_err().is_full());
    assert!(view.flush().unwrap_err().is_full());
    assert!(view.clear().unwrap_err().is_full());
    assert!(view.close().unwrap_err().is_full());
    assert_eq!(view.get(b"a").unwrap().as_deref(), Some(&b"1"[..]), "reads go on");
    assert_eq!(view.applied_round().unwrap(), Some(1));
    disk.set_capacity(None);
    view.apply(2, &[(b"a", Some(b"2"))]).unwrap();
    view.flush().unwrap();
    assert_eq!(view.get(b"a").unwrap().as_deref(), Some(&b"2"[..]));

    // The disk fills up while redb writes: it is asked too late, and the answer is not one to wait on.
    let disk = MemoryDisk::new();
    let faulty = FaultDisk::new(disk.shared());
    let shared: Arc<dyn Disk> = Arc::new(faulty.clone());
    let view = RedbView::open(&shared, Path::new("/view"), &Options::default()).unwrap();
    view.apply(1, &[(b"a", Some(b"1"))]).unwrap();
    faulty.plan_next(Fault::NoSpace);
    let unknown = view.flush().unwrap_err();
    assert!(matches!(unknown, ViewError::Failed(_)) && !unknown.is_full(), "{unknown}");
}

#[test]
fn a_file_that_is_no_database_is_made_anew_and_not_trusted() {
    let disk = MemoryDisk::new();
    let view = RedbView::open(&disk.shared(), Path::new("/view"), &Options::default()).unwrap();
    view.apply(3, &[]).unwrap();
    view.close().unwrap();
    let path = Path::new("/view/view.redb");
    for at in 0..64 {
        disk.flip(path, at, 0xff);
    }
    let view = RedbView::open(&disk.shared(), Path::new("/view"), &Options::default()).unwrap();
    assert!(!view.trusted());
    assert_eq!(view.applied_round().unwrap(), None);
}
