//! The lying log: one way of lying after the other, and a hundred of them at random. Each is found, classified, and, where
//! the log's signature is under it, proven by a file that anybody can judge with the trust policy alone.

mod stage;

use std::path::Path;

use monitor::{Class, Monitor, Options, Report};
use scal3::accusation::Accusation;
use scal3::opening::{OtherOpening, commitment};
use scal3::verdict::Proven;
use scal3::{Change, Entry, Hash, Kind, cbor, tagged};
use stage::{
    Answer, Log, Site, ann, auditor, grow, keeping, log, note, note_later, people, policy, policy_with, witnessed,
};
use tlog::tree::TreeHead;

/// Small numbers from one seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = u64::from_be_bytes(tagged("test/dice", &self.0.to_be_bytes()).0[..8].try_into().unwrap());
        self.0 % end
    }
}

/// A way to lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lie {
    /// Another root at a size that was signed, with a tree behind it.
    Fork,
    /// A smaller head, as it was.
    OldHead,
    /// A smaller head, cosigned anew.
    RollBack,
    /// A smaller head, of another history.
    RollBackElsewhere,
    /// An entry that was shown is no longer in the tree.
    Hide,
    /// An entry that was shown is another.
    Replace,
    /// Two entries that were shown have changed places.
    Reorder,
    /// A tile that does not belong to the tree.
    Tile,
    /// A leaf that does not belong to the tree.
    Leaf,
    /// The signature of the one-time key.
    Binding,
    /// The signature of the device.
    Device,
    /// The signature of the two factors.
    Joint,
    /// A record of a credential that was revoked.
    Revoked,
    /// A record of a credential that is suspended.
    Suspended,
    /// A record of a credential that was never issued.
    Unknown,
    /// A record that has seen a head which is not on history.
    Seen,
    /// A record that comes too late.
    Expired,
    /// A record, and one before it that is not there.
    Gap,
    /// Two records with one number.
    Twice,
    /// One authorisation, entered twice.
    Again,
    /// A record whose predecessor is another.
    Previous,
    /// One index key for two entries.
    IndexKey,
    /// The time goes back.
    Time,
    /// A second genesis.
    Genesis,
    /// A leaf that is no entry.
    NoEntry,
    /// An entry that commits to the opening of another kind.
    Kind,
    /// An entry that commits to no opening at all.
    NoOpening,
    /// A status under a key that is not the next one.
    StatusKey,
}

const ALL: [Lie; 28] = [
    Lie::Fork,
    Lie::OldHead,
    Lie::RollBack,
    Lie::RollBackElsewhere,
    Lie::Hide,
    Lie::Replace,
    Lie::Reorder,
    Lie::Tile,
    Lie::Leaf,
    Lie::Binding,
    Lie::Device,
    Lie::Joint,
    Lie::Revoked,
    Lie::Suspended,
    Lie::Unknown,
    Lie::Seen,
    Lie::Expired,
    Lie::Gap,
    Lie::Twice,
    Lie::Again,
    Lie::Previous,
    Lie::IndexKey,
    Lie::Time,
    Lie::Genesis,
    Lie::NoEntry,
    Lie::Kind,
    Lie::NoOpening,
    Lie::StatusKey,
];

impl Lie {
    /// What it is called, and whether a file proves it to others.
    fn expected(self) -> (Class, &'static str) {
        match self {
            Lie::Fork => (Class::Tamper, "fork"),
            Lie::OldHead => (Class::Suspicious, "behind"),
            Lie::RollBack => (Class::Tamper, "rollback"),
            Lie::RollBackElsewhere | Lie::Hide | Lie::Replace | Lie::Reorder => (Class::Tamper, "diverged"),
            Lie::Tile | Lie::Leaf => (Class::Suspicious, "altered"),
            Lie::Genesis | Lie::NoEntry => (Class::Tamper, "malformed-entry"),
            _ => (Class::Tamper, "wrong-entry"),
        }
    }

    /// Whether what was shown before is shown otherwise.
    fn alters_the_tree(self) -> bool {
        matches!(self, Lie::Fork | Lie::RollBackElsewhere | Lie::Hide | Lie::Replace | Lie::Reorder)
    }

    /// Whether the file has the whole log in it.
    fn takes_all(self) -> bool {
        matches!(self, Lie::Suspended | Lie::Unknown | Lie::Gap | Lie::StatusKey)
    }

    /// Lies, to somebody who has read the log that it was.
    fn tell(self, site: &Site, log: &mut Log, dice: &mut Dice) {
        let (old, size) = (log.fold.head(), log.size());
        let place = (5 + dice.below(size - 6)) as usize;
        match self {
            Lie::Fork | Lie::Hide | Lie::Replace | Lie::Reorder | Lie::RollBackElsewhere => {
                let (entries, openings) = (&mut log.entries, &mut log.openings);
                match self {
                    Lie::Hide => {
                        entries.remove(place);
                        openings.remove(place);
                    }
                    Lie::Reorder => {
                        entries.swap(place, place + 1);
                        openings.swap(place, place + 1);
                    }
                    Lie::RollBackElsewhere => {
                        let last = entries[place][5] ^ 1;
                        entries[place][5] = last;
                        entries.truncate(place + 1);
                        openings.truncate(place + 1);
                    }
                    _ => *entries[place].last_mut().unwrap() ^= 1,
                }
                if matches!(self, Lie::Hide | Lie::Replace | Lie::Reorder) {
                    for _ in 0..=1 + dice.below(300) {
                        stage::event(log, None);
                    }
                }
                site.publish(log);
            }
            Lie::OldHead | Lie::RollBack => {
                let earlier = TreeHead { size: (place as u64).try_into().unwrap(), ..old };
                let head = TreeHead { root: *log.fold.root_at(place as u64).unwrap(), ..earlier };
                site.show(&if self == Lie::RollBack { note_later(head, 3600) } else { note(head) });
            }
            Lie::Tile => {
                grow(log, size + 1 + dice.below(300));
                site.publish(log);
                let tiles = tlog::tile::Tile::edge(log.fold.head().size).collect::<Vec<_>>();
                let tile = tiles[dice.below(tiles.len() as u64) as usize];
                site.spoil(&tile.path(), |bytes| bytes[dice.below(32) as usize] ^= 4);
            }
            Lie::Leaf => {
                grow(log, size + 1 + dice.below(300));
                site.publish(log);
                let last = tlog::tile::EntriesPath::at((log.size() - 1) >> 8, log.fold.head().size).unwrap();
                site.spoil(&last.path(), |bytes| *bytes.last_mut().unwrap() ^= 1);
            }
            _ => {
                self.enter(log);
                grow(log, log.size() + dice.below(300));
                site.publish(log);
            }
        }
    }

    /// Appends what must not be appended.
    fn enter(self, log: &mut Log) {
        let ann = ann();
        let mut draft = log.draft(&ann);
        match self {
            Lie::Binding => draft.spoil = |record| *record.last_mut().unwrap() ^= 1,
            Lie::Device => draft.person.device = people::secret("thief"),
            Lie::Joint => draft.person.joint = people::secret("thief"),
            Lie::Revoked => drop(log.status(&ann, Change::Revoked("lost".into()))),
            Lie::Suspended => drop(log.status(&ann, Change::Suspended("lost".into()))),
            Lie::Unknown => draft.metadata.credential = Hash([9; 32]),
            Lie::Seen => draft.metadata.seen_root.0[0] ^= 1,
            Lie::Expired => draft.metadata.expires_ms = log.time_ms - 1,
            Lie::Gap => draft.metadata.sequence += 1,
            Lie::Twice => {
                log.append(&draft);
                draft.metadata.index_key = ann.index_key(77);
            }
            Lie::Again => {
                log.append(&draft);
                let opening = draft.opening();
                let key = Some(ann.index_key(77));
                let entry = Entry::committed(Kind::Instruction, log.time_ms, commitment(&opening), key);
                log.push(&entry, Some(&opening));
                return;
            }
            Lie::Previous => draft.metadata.previous.0[0] ^= 1,
            Lie::IndexKey => {
                stage::event(log, Some(ann.index_key(50)));
                stage::event(log, Some(ann.index_key(50)));
                return;
            }
            Lie::Time => {
                log.time_ms -= 1;
                stage::event(log, None);
                log.time_ms += 1;
                return;
            }
            Lie::Genesis => return raw(log, log.entries[0].clone()),
            Lie::NoEntry => return raw(log, b"no entry".to_vec()),
            Lie::Kind => {
                let opening = OtherOpening { kind: Kind::Delegation, salt: [1; 32], body: cbor::uint(1) }.to_bytes();
                let entry = Entry::committed(Kind::Event, log.time_ms, commitment(&opening), None);
                log.push(&entry, Some(&opening));
                return;
            }
            Lie::NoOpening => {
                let entry = Entry::committed(Kind::Event, log.time_ms, commitment(b"no opening"), None);
                log.push(&entry, Some(b"no opening"));
                return;
            }
            Lie::StatusKey => {
                let key = scal3::index_key::status_index_key(&ann.id(), 40);
                log.status_under(&ann, Change::Suspended("why".into()), key);
                return;
            }
            _ => unreachable!("{self:?} is no entry"),
        }
        log.append(&draft);
    }
}

/// A leaf that the fold would not take: the tree goes on over it, and the fold of the stage doesn't.
fn raw(log: &mut Log, entry: Vec<u8>) {
    log.entries.push(entry);
    log.openings.push(None);
}

fn proves(file: &Path) -> Proven {
    let accusation = Accusation::parse(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(Accusation::parse(&accusation.to_bytes()), Ok(accusation.clone()));
    accusation.judge(&policy()).unwrap()
}

/// The one finding that isn't OK.
fn only(report: &Report) -> &monitor::Finding {
    let mut bad = report.findings.iter().filter(|finding| finding.class != Class::Ok);
    let (Some(finding), None) = (bad.next(), bad.next()) else { panic!("not one finding: {report}") };
    finding
}

/// One lie from beginning to end: found, classified, evidenced, and the evidence verifies.
async fn caught(lie: Lie, seed: u64) {
    let mut dice = Dice(seed);
    let dir = tempfile::tempdir().unwrap();
    let mut log = log(20 + dice.below(600));
    let site = Site::of(&log).await;
    let mut monitor = site.monitor(keeping(dir.path()));
    assert_eq!(monitor.pass().await.class(), Class::Ok);
    lie.tell(&site, &mut log, &mut dice);
    // The process goes on, or another one begins.
    if dice.below(2) == 0 {
        drop(monitor);
        monitor = site.monitor(keeping(dir.path()));
    }
    for _ in 0..2 {
        let report = monitor.pass().await;
        let expected = lie.expected();
        // What was altered in a tree may break the rules besides: whoever begins anew sees both.
        let bad = report.findings.iter().filter(|finding| finding.class != Class::Ok);
        let (named, others): (Vec<_>, Vec<_>) = bad.partition(|bad| (bad.class, bad.what.code()) == expected);
        assert!(named.len() == 1 && (others.is_empty() || lie.alters_the_tree()), "{lie:?}, seed {seed}: {report}");
        for other in others {
            proves(other.evidence.as_ref().unwrap());
        }
        let finding = named[0];
        assert_eq!(report.exit_code(), 1);
        let Some(file) = &finding.evidence else {
            assert_eq!(expected.0, Class::Suspicious, "{lie:?}, seed {seed}: no evidence: {report}");
            continue;
        };
        let proven = proves(file);
        let matches = match proven {
            Proven::Fork { .. } => "fork",
            Proven::Diverged { .. } => "diverged",
            Proven::Rollback { .. } => "rollback",
            Proven::Wrong { .. } => "wrong-entry",
            Proven::Malformed { .. } => "malformed-entry",
            Proven::EmptyRoot { .. } | Proven::OtherOrigin { .. } => "another",
        };
        assert_eq!(matches, expected.1, "{lie:?}, seed {seed}: {proven}");
        if let (Proven::Wrong { wrong, .. }, monitor::What::Wrong { wrong: found, .. }) = (&proven, &finding.what) {
            assert_eq!(wrong, found, "{lie:?}, seed {seed}");
        }
        let bytes = std::fs::metadata(file).unwrap().len();
        if !lie.takes_all() {
            assert!(bytes < 20_000, "{lie:?}, seed {seed}: {bytes} bytes");
        }
    }
}

#[tokio::test]
async fn every_lie_is_found_and_proven() {
    for (seed, lie) in (1..).zip(ALL) {
        caught(lie, seed).await;
    }
}

#[tokio::test]
async fn a_hundred_lies_at_random_are_found_and_proven() {
    let seed = std::env::var("SOLELOG_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| std::process::id().into());
    println!("SOLELOG_SEED={seed}");
    let mut dice = Dice(seed);
    for _ in 0..100 {
        let lie = ALL[dice.below(ALL.len() as u64) as usize];
        caught(lie, dice.below(u64::MAX)).await;
    }
}

#[tokio::test]
async fn a_record_that_saw_what_was_hidden_gives_it_away_to_who_comes_later() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = log(40);
    let draft = log.draft(&ann());
    stage::event(&mut log, None);
    log.append(&draft);
    // Nobody who comes now has ever seen entry 20.
    log.entries.remove(20);
    log.openings.remove(20);
    let report = Site::of(&log).await.pass(keeping(dir.path())).await;
    let finding = only(&report);
    assert_eq!((finding.class, finding.what.code()), (Class::Tamper, "wrong-entry"), "{report}");
    assert!(proves(finding.evidence.as_ref().unwrap()).to_string().contains("head it has seen"), "{report}");
}

#[tokio::test]
async fn a_split_view_is_found_in_two_polls_whoever_is_ahead() {
    // What the witness was shown, beside the 300 entries that we are: smaller, as large, larger.
    for (theirs, polls) in [(200, 1), (300, 1), (450, 2)] {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::of(&log(300)).await;
        let mut other = log(150);
        other.time_ms += 1;
        grow(&mut other, theirs);
        let elsewhere = Site::open().await;
        let head = note(other.fold.head());
        elsewhere.put(&witnessed(), [Answer::Bytes(head.to_bytes())]);
        let trust = || policy_with(&[&elsewhere.url]);
        let mut monitor = Monitor::new(trust(), &site.url, keeping(dir.path())).unwrap();
        let mut report = monitor.pass().await;
        if polls == 2 {
            assert_eq!(report.class(), Class::Ok, "a witness may be a moment ahead: {report}");
            report = monitor.pass().await;
            let finding = only(&report);
            assert_eq!((finding.class, finding.what.code()), (Class::Suspicious, "unshown"), "{report}");
            // The log goes on as if nothing were, and past what the witness has seen, which is not forgotten.
            elsewhere.put(&witnessed(), [Answer::Status(404)]);
            site.publish(&log(500));
            report = Monitor::new(trust(), &site.url, keeping_elsewhere(monitor, dir.path())).unwrap().pass().await;
        }
        let finding = only(&report);
        assert_eq!(finding.class, Class::Tamper, "{report}");
        let proven = proves(finding.evidence.as_ref().unwrap());
        assert!(matches!(proven, Proven::Fork { .. } | Proven::Diverged { .. }), "{proven}");
    }
}

/// The options of another process that takes over.
fn keeping_elsewhere(monitor: Monitor, dir: &Path) -> Options {
    drop(monitor);
    keeping(dir)
}

#[tokio::test]
async fn witnesses_and_monitors_that_agree_are_named_and_those_that_are_away_are_nobodys_fault() {
    let mut log = log(300);
    let witness = Site::open().await;
    witness.put(&witnessed(), [Answer::Bytes(note(log.fold.head()).to_bytes())]);
    grow(&mut log, 350);
    let site = Site::of(&log).await;
    let peer = Site::open().await;
    peer.put("head", [Answer::Bytes(note(log.fold.head()).to_bytes())]);
    let nobody = Site::open().await;
    let gone = Site::open().await.close().await;
    let trust = || policy_with(&[&witness.url, &nobody.url]);
    let options = || Options { peers: vec![peer.url.clone()], ..auditor() };
    let report = Monitor::new(trust(), &site.url, options()).unwrap().pass().await;
    assert_eq!(report.class(), Class::Ok, "{report}");
    let says = format!("what w1, {} saw of the log is on this history", peer.url);
    assert!(report.to_string().contains(&says), "{report}");

    let options = Options { peers: vec![gone], ..auditor() };
    let report = Monitor::new(trust(), &site.url, options).unwrap().pass().await;
    assert_eq!((only(&report).class, only(&report).what.code()), (Class::Infrastructure, "view"), "{report}");
    peer.put("head", [Answer::Bytes(b"<html>".to_vec())]);
    let options = Options { peers: vec![peer.url.clone()], ..auditor() };
    let report = Monitor::new(trust(), &site.url, options).unwrap().pass().await;
    assert_eq!((only(&report).class, only(&report).what.code()), (Class::Infrastructure, "no-view"), "{report}");
}

#[tokio::test]
async fn evidence_that_was_altered_proves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = log(40);
    let site = Site::of(&log).await;
    let mut draft = log.draft(&ann());
    draft.spoil = |record| *record.last_mut().unwrap() ^= 1;
    log.append(&draft);
    site.publish(&log);
    let report = site.pass(keeping(dir.path())).await;
    let good = std::fs::read(only(&report).evidence.as_ref().unwrap()).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        if let Ok(accusation) = Accusation::parse(&bad) {
            // What is left is the same charge, or none: a cosignature more or less changes nothing.
            let verdict = accusation.judge(&policy());
            if let Ok(proven) = verdict {
                assert!(matches!(proven, Proven::Wrong { index: 40, .. }), "{at}: {proven}");
            }
        }
    }
    // An honest log is not to be accused, however its entries are put together.
    let honest = stage::log(40);
    for accused in 1..40u64 {
        for other in 0..accused {
            let nodes = Leaves(&honest.entries);
            let exhibit = |index: u64| scal3::accusation::Exhibit {
                index,
                entry: honest.entries[index as usize].clone(),
                opening: honest.openings[index as usize].clone(),
                hashes: nodes.inclusion(index),
            };
            let charge = scal3::accusation::Charge::Entry {
                accused: exhibit(accused),
                others: vec![exhibit(other)],
                seen: None,
            };
            let accusation = Accusation { head: note(honest.fold.head()), charge };
            assert_eq!(accusation.judge(&policy()), Err(scal3::verdict::Unproven::NothingWrong));
        }
    }
}

/// A tree over entries in memory.
struct Leaves<'a>(&'a [Vec<u8>]);

impl Leaves<'_> {
    fn inclusion(&self, index: u64) -> Vec<Hash> {
        let size = tlog::TreeSize::new(self.0.len() as u64).unwrap();
        tlog::InclusionProof::make(self, tlog::LeafIndex::new(index).unwrap(), size).unwrap().hashes
    }
}

impl tlog::proof::Nodes for Leaves<'_> {
    type Error = std::convert::Infallible;

    fn node(&self, level: u8, index: u64) -> Result<Hash, Self::Error> {
        Ok(match level.checked_sub(1) {
            None => Hash(tlog::LeafHash::of(&self.0[index as usize]).0),
            Some(below) => Hash::node(&self.node(below, 2 * index)?, &self.node(below, 2 * index + 1)?),
        })
    }
}
