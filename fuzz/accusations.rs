//! The target for evidence files: what a monitor hands to somebody who trusts neither it nor the log.
//!
//! ```text
//! bytes                   an evidence file: written back, and nothing is proven of a log whose key is another
//! 0 to 3, then a charge   a charge under a head that **an honest log signed**: nobody gets it convicted
//! ```
//! The honest log has three entries, with openings in order; the dishonest one, of which the seeds prove something, has
//! another key. So whatever a fuzzer puts together from the seeds, nothing in it holds against the honest one.

use std::sync::LazyLock;

use scal3::accusation::{Accusation, Beginning, Charge, Exhibit, FORMAT};
use scal3::attempts::Attempt;
use scal3::{Entry, Hash, Kind, cbor};
use tlog::checkpoint::{Checkpoint, Origin};
use tlog::cosignature::Seconds;
use tlog::key::{KeyName, Signer};
use tlog::note::Note;
use tlog::policy::Policy;
use tlog::{Frontier, LeafHash, TreeHead, TreeSize};

use super::reads_back;
use super::world::{NOW_MS, ONE, ORIGIN, TRUST, WITNESSED, cosigner, genesis, head_note, issued};

/// A log that never did anything wrong: genesis, a credential, and an attempt that was counted.
struct Honest {
    trust: Policy,
    /// Its heads, from that of no entries to that of all.
    heads: Vec<Note>,
    entries: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

static HONEST: LazyLock<Honest> = LazyLock::new(|| {
    let signer = Signer::note(KeyName::new(ORIGIN).expect("a name"), &[8; 32]);
    let (issuing, status) = issued(&ONE.credential);
    let event = Attempt::Started.event(&Hash([4; 32]), ONE.state.provider_place()).opening([1; 32]);
    let about = Entry::committed(Kind::Event, NOW_MS, event.commitment(), Some(Hash([0x39; 32])));
    let entries = vec![
        (genesis().to_bytes(), None),
        (status.to_bytes(), Some(issuing.to_bytes())),
        (about.to_bytes(), Some(event.to_bytes())),
    ];
    let heads = heads(entries.iter().map(|(entry, _)| entry.as_slice())).into_iter().map(|head| {
        let text = Checkpoint::new(Origin::new(ORIGIN).expect("an origin"), head).to_text();
        Note::sign(&text, &signer).expect("a checkpoint")
    });
    let trust = Policy::parse(format!("log {}\nquorum none\n", signer.vkey())).expect("a policy");
    Honest { trust, heads: heads.collect(), entries }
});

/// The heads of the trees that these entries make, the empty one first.
fn heads<'a>(entries: impl Iterator<Item = &'a [u8]>) -> Vec<TreeHead> {
    let mut frontier = Frontier::new();
    let mut heads = vec![frontier.head()];
    for entry in entries {
        frontier.push(LeafHash::of(entry)).expect("room");
        heads.push(frontier.head());
    }
    heads
}

pub(super) fn accusation(data: &[u8]) {
    if let Some((size @ 0..=3, charge)) = data.split_first() {
        let Some(read) = under(&HONEST.heads[usize::from(*size)], charge) else { return };
        let verdict = read.judge(&HONEST.trust);
        assert!(verdict.is_err(), "an honest log was convicted: {verdict:?}");
        return;
    }
    let Some(read) = reads_back(data, Accusation::parse, Accusation::to_bytes) else { return };
    let verdict = read.judge(&TRUST);
    assert!(read.judge(&HONEST.trust).is_err(), "nothing here is signed with the key of the honest log");
    // Who trusts a witness too can see more, and sees the same.
    assert!(verdict.is_err() || read.judge(&WITNESSED) == verdict);
}

/// The evidence file with this charge under that head.
fn under(head: &Note, charge: &[u8]) -> Option<Accusation> {
    let text = |text: &str| cbor::encode(&cbor::text(text));
    Accusation::parse(&[&[0x83][..], &text(FORMAT), &text(&head.to_text()), charge].concat()).ok()
}

/// What the dishonest log did, and what is said of the honest one.
pub(super) fn made() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let size = |size| TreeSize::new(size).expect("small");
    let entries: Vec<&[u8]> = HONEST.entries.iter().map(|(entry, _)| entry.as_slice()).collect();
    let heads = heads(entries.iter().copied());
    let of = |head: TreeHead| head_note(head);
    let other = |at: u64| TreeHead { size: size(at), root: Hash([5; 32]) };
    let leaf = |entry: &[u8]| Hash::from(LeafHash::of(entry));
    let beginning = Beginning { root: heads[2].root, hashes: vec![leaf(entries[2])] };
    let cosigned = |head: TreeHead, at: u64| {
        let note = of(head);
        let line = cosigner().cosign(note.text(), Seconds::new(at).expect("early"));
        note.with_signature(line).expect("a note")
    };
    let alone = |entry: &[u8]| TreeHead { size: size(1), root: leaf(entry) };
    let exhibit = |entry: &[u8]| Exhibit { index: 0, entry: entry.to_vec(), opening: None, hashes: Vec::new() };
    // A key entry that says nothing may not be anywhere; nor may two entries of one index key.
    let twice = [entries[0], entries[1], entries[1]];
    let twice_heads = self::heads(twice.into_iter());
    let replayed = twice.map(|entry| (entry.to_vec(), None)).to_vec();
    let second = Exhibit { index: 2, entry: twice[2].to_vec(), opening: None, hashes: vec![twice_heads[2].root] };
    let first = Exhibit {
        index: 1,
        entry: twice[1].to_vec(),
        opening: HONEST.entries[1].1.clone(),
        hashes: vec![leaf(twice[0]), leaf(twice[2])],
    };
    let seen = Beginning { root: twice_heads[2].root, hashes: vec![leaf(twice[2])] };
    let of_one = |head, charge| Accusation { head, charge };
    let proven = [
        ("fork", of_one(of(heads[2]), Charge::Fork { other: of(other(2)) })),
        ("diverged", of_one(of(heads[3]), Charge::Diverged { other: of(other(2)), beginning: beginning.clone() })),
        ("rollback", of_one(cosigned(heads[1], 9), Charge::Rollback { other: cosigned(heads[2], 8) })),
        ("empty-root", of_one(of(other(0)), Charge::EmptyRoot)),
        ("twice", of_one(of(twice_heads[3]), Charge::Entry { accused: second, others: vec![first], seen: Some(seen) })),
        ("replay", of_one(of(twice_heads[3]), Charge::Replay { entries: replayed, hashes: Vec::new() })),
    ];
    let mut seeds = Vec::new();
    for (name, accusation) in proven {
        let verdict = accusation.judge(&WITNESSED);
        assert!(verdict.is_ok(), "{name}: {verdict:?}");
        seeds.push(("accusation", name, accusation.to_bytes()));
    }
    let nothing = Accusation {
        head: of(alone(entries[0])),
        charge: Charge::Entry { accused: exhibit(entries[0]), others: Vec::new(), seen: None },
    };
    seeds.push(("accusation", "nothing-wrong", nothing.to_bytes()));

    // The same charges against the honest log, with its own heads and entries.
    let honest = |charge: Charge| {
        let head = HONEST.heads[3].clone();
        let shown = cbor::encode(&cbor::text(&head.to_text())).len() + cbor::encode(&cbor::text(FORMAT)).len() + 1;
        let file = Accusation { head, charge }.to_bytes();
        [&[3], &file[shown..]].concat()
    };
    let last = HONEST.entries[2].clone();
    let shown = Exhibit { index: 2, entry: last.0, opening: last.1, hashes: vec![heads[2].root] };
    seeds.extend([
        ("accusation", "honest-fork", honest(Charge::Fork { other: HONEST.heads[2].clone() })),
        ("accusation", "honest-beginning", honest(Charge::Diverged { other: HONEST.heads[2].clone(), beginning })),
        ("accusation", "honest-rollback", honest(Charge::Rollback { other: HONEST.heads[1].clone() })),
        ("accusation", "honest-entry", honest(Charge::Entry { accused: shown, others: Vec::new(), seen: None })),
        ("accusation", "honest-replay", honest(Charge::Replay { entries: HONEST.entries.clone(), hashes: Vec::new() })),
    ]);
    seeds
}
