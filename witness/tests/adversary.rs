//! Whatever happens: never two inconsistent cosignatures, never a signature before the state is
//! durable, never a head forgotten that was signed.
//!
//! Logs that have several histories at once, all signed by their keys, race and replay and roll
//! back against a witness whose disk fails and whose power is cut. `SOLELOG_WITNESS_STEPS` says
//! how many steps (the full run is a million), `SOLELOG_WITNESS_SEED` which ones.

mod stage;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use stage::disk::{Disk, open};
use stage::random::{Random, steps};
use stage::size;
use tlog::checkpoint::{Checkpoint, Origin};
use tlog::cosignature::CheckpointCosignature;
use tlog::key::{KeyName, Signer, Vkey};
use tlog::note::{Note, SignatureLine};
use tlog::proof::{ConsistencyProof, Nodes, root_at};
use tlog::tree::TreeHead;
use tlog::witness::{AddCheckpoint, Refusal};
use tlog::{Hash, LeafHash};
use witness::keys::{Remote, WitnessKey};
use witness::witness::{AddError, Clock};
use witness::{TrustedLog, Witness};

const LOGS: u64 = 3;
const BRANCHES: u64 = 5;
/// The largest tree of a branch. The witness gets there and a new one begins.
const MAX: u64 = 300;

/// One history of a log: it leaves the first one at some leaf.
struct Branch {
    /// The leaf where it leaves; the first history never does.
    fork: u64,
    levels: Vec<Vec<Hash>>,
    /// The signed checkpoints, by size.
    notes: Vec<Note>,
    heads: Vec<TreeHead>,
}

impl Nodes for Branch {
    type Error = Infallible;

    fn node(&self, level: u8, index: u64) -> Result<Hash, Infallible> {
        Ok(self.levels[usize::from(level)][index as usize])
    }
}

struct Log {
    signer: Signer,
    origin: Origin,
    branches: Vec<Branch>,
}

impl Log {
    fn new(n: u64) -> Log {
        let origin = format!("example.com/log{n}");
        let signer = Signer::note(KeyName::new(&origin).unwrap(), &[n as u8 + 1; 32]);
        let origin = Origin::new(&origin).unwrap();
        let branches = (0..BRANCHES).map(|branch| Branch::new(branch, &signer, &origin)).collect();
        Log { signer, origin, branches }
    }

    fn request(&self, branch: usize, old: u64, new: u64) -> AddCheckpoint {
        let branch = &self.branches[branch];
        let proof = ConsistencyProof::make(branch, size(old), size(new)).unwrap_or_default();
        AddCheckpoint { old_size: size(old), proof, note: branch.notes[new as usize].clone() }
    }
}

impl Branch {
    fn new(branch: u64, signer: &Signer, origin: &Origin) -> Branch {
        let fork = [u64::MAX, 0, 1, 37, 128][branch as usize];
        let leaf = |n: u64| {
            let history = if n >= fork { branch } else { 0 };
            Hash::from(LeafHash::of(format!("{origin} {history} {n}").as_bytes()))
        };
        let mut levels: Vec<Vec<Hash>> = vec![(0..MAX).map(leaf).collect()];
        while levels.last().unwrap().len() > 1 {
            let below = levels.last().unwrap();
            levels.push(below.chunks_exact(2).map(|pair| Hash::node(&pair[0], &pair[1])).collect());
        }
        let mut branch = Branch { fork, levels, notes: Vec::new(), heads: Vec::new() };
        for n in 0..=MAX {
            let Ok(root) = root_at(&branch, size(n));
            let head = TreeHead { size: size(n), root };
            branch.heads.push(head);
            branch.notes.push(Note::sign(&Checkpoint::new(origin.clone(), head).to_text(), signer).unwrap());
        }
        branch
    }
}

/// A key that signs nothing that a power cut could take back.
struct Careful {
    signer: Signer,
    vkey: Vkey,
    disk: Disk,
    signed: Arc<AtomicU64>,
}

impl Remote for Careful {
    fn vkey(&self) -> &Vkey {
        &self.vkey
    }

    fn sign(&self, message: &[u8]) -> io::Result<Vec<u8>> {
        let message = std::str::from_utf8(message).unwrap();
        let checkpoint = message.splitn(3, '\n').nth(2).unwrap();
        assert!(self.disk.is_durable(checkpoint), "a signature before the state was durable: {checkpoint}");
        self.signed.fetch_add(1, Ordering::Relaxed);
        Ok(self.signer.sign(message).signature().to_vec())
    }
}

fn careful(disk: &Disk, signed: &Arc<AtomicU64>) -> WitnessKey {
    let name = || KeyName::new("witness.example/w1").unwrap();
    let signer = Signer::note(name(), &[77; 32]);
    let vkey = Vkey::cosignature_v1(name(), signer.vkey().public_key().try_into().unwrap());
    WitnessKey::Remote(Box::new(Careful { signer, vkey, disk: disk.clone(), signed: signed.clone() }))
}

/// What the world holds against the witness.
struct Held {
    /// Of each log, the histories on which all cosigned heads lie.
    possible: Vec<BTreeSet<usize>>,
    /// Of each log, the largest size cosigned.
    largest: Vec<u64>,
    /// Of each log, the size that the witness last said it had.
    known: Vec<u64>,
    /// Bodies that were accepted once.
    accepted: Vec<Vec<u8>>,
}

/// A round: one witness, from an empty disk until a log has grown to its end.
struct Round<'a> {
    logs: &'a [Log],
    disk: Disk,
    witness: Option<Witness>,
    now: Arc<AtomicU64>,
    signed: Arc<AtomicU64>,
    held: Held,
    seen: &'a mut Seen,
}

/// What happened in a run, so that the test can tell that enough did.
#[derive(Default, Debug)]
struct Seen {
    cosigned: u64,
    refused: u64,
    conflicts: u64,
    not_stored: u64,
    broken: u64,
    restarts: u64,
    crashes: u64,
    races: u64,
    rounds: u64,
    signed: u64,
    not_replaced: u64,
}

impl Round<'_> {
    fn new<'a>(logs: &'a [Log], seen: &'a mut Seen) -> Round<'a> {
        let all: BTreeSet<usize> = (0..BRANCHES as usize).collect();
        let zeros = vec![0; logs.len()];
        let held = Held { possible: vec![all; logs.len()], largest: zeros.clone(), known: zeros, accepted: Vec::new() };
        let (now, signed) = (Arc::new(AtomicU64::new(1_700_000_000)), Arc::default());
        seen.rounds += 1;
        let mut round = Round { logs, disk: Disk::default(), witness: None, now, signed, held, seen };
        round.open();
        round
    }

    fn open(&mut self) {
        let trusted = self.logs.iter().map(|log| TrustedLog::from_vkey(&log.signer.vkey().to_string()).unwrap());
        let now = self.now.clone();
        let clock: Clock = Box::new(move || now.load(Ordering::Relaxed));
        let witness = open(&self.disk, trusted.collect(), careful(&self.disk, &self.signed), clock);
        let witness = witness.unwrap_or_else(|error| panic!("it does not start: {error}"));
        for (log, found, _) in witness.logs() {
            let place = self.place(&log.origin);
            assert!(found.get() >= self.held.largest[place], "a cosigned head of {} is forgotten", log.origin);
        }
        // What was stored and not signed before is signed by now, and shown.
        for log in self.logs {
            let Some(shown) = witness.cosigned(&log.origin.hash().to_hex()) else { continue };
            let note = Note::parse(shown.as_bytes()).unwrap();
            let checkpoint = Checkpoint::parse_text(note.text()).unwrap();
            let ours =
                |line: &&SignatureLine| CheckpointCosignature::verify(&checkpoint, line, witness.vkey()).is_some();
            assert_eq!(note.signatures().iter().filter(ours).count(), 1);
            self.hold(&checkpoint);
        }
        self.witness = Some(witness);
    }

    fn place(&self, origin: &Origin) -> usize {
        self.logs.iter().position(|log| log.origin == *origin).unwrap()
    }

    /// Ends the process, or cuts the power, and starts it again.
    fn restart(&mut self, random: &mut Random, crash: bool) {
        self.witness = None;
        if crash {
            self.disk.crash(random);
            self.seen.crashes += 1;
        } else {
            self.disk.heal();
            self.seen.restarts += 1;
        }
        self.open();
    }

    /// Takes note of an answer, and holds it against all the others.
    fn take(&mut self, body: &[u8], answer: Result<Vec<SignatureLine>, AddError>) {
        let lines = match answer {
            Ok(lines) => lines,
            Err(error) => {
                match error {
                    AddError::Refused(Refusal::Conflict { known }) => {
                        let origin = AddCheckpoint::parse(body).unwrap().claimed_origin().unwrap();
                        let place = self.place(&origin);
                        self.held.known[place] = known.get();
                        self.seen.conflicts += 1;
                    }
                    AddError::NotStored => self.seen.not_stored += 1,
                    AddError::Broken => self.seen.broken += 1,
                    _ => self.seen.refused += 1,
                }
                return;
            }
        };
        let request = AddCheckpoint::parse(body).unwrap();
        let checkpoint = Checkpoint::parse_text(request.note.text()).unwrap();
        let vkey = self.witness.as_ref().unwrap().vkey().clone();
        assert!(!lines.is_empty());
        for line in &lines {
            assert!(CheckpointCosignature::verify(&checkpoint, line, &vkey).is_some(), "no cosignature: {line}");
        }
        self.hold(&checkpoint);
        if self.held.accepted.len() < 64 {
            self.held.accepted.push(body.to_vec());
        }
        self.seen.cosigned += 1;
    }

    /// Holds a cosigned head against all the others.
    fn hold(&mut self, checkpoint: &Checkpoint) {
        let (place, size) = (self.place(&checkpoint.origin), checkpoint.head.size.get());
        let on = |branch: &usize| self.logs[place].branches[*branch].heads[size as usize] == checkpoint.head;
        self.held.possible[place].retain(on);
        let origin = &checkpoint.origin;
        assert!(!self.held.possible[place].is_empty(), "two cosignatures that no history has: {origin} at {size}");
        self.held.largest[place] = self.held.largest[place].max(size);
        self.held.known[place] = size;
    }

    /// A request that somebody might send.
    fn request(&self, random: &mut Random) -> Vec<u8> {
        let place = random.below(LOGS) as usize;
        let (log, known) = (&self.logs[place], self.held.known[place]);
        let home = *self.held.possible[place].first().unwrap();
        let other = random.below(BRANCHES) as usize;
        let near = |random: &mut Random, from: u64| (from + random.below(6)).min(MAX);
        let any = |random: &mut Random| random.below(MAX + 1);
        let request = match random.below(12) {
            0..=4 => log.request(home, known, near(random, known)),
            5 => log.request(other, known, near(random, known)),
            6 => log.request(other, known, known),
            7 => {
                let (a, b) = (any(random), any(random));
                log.request(other, a, b)
            }
            8 => log.request(home, known, any(random)),
            9 => {
                // The proof of one history with the head of another.
                let new = near(random, known);
                AddCheckpoint { proof: log.request(home, known, new).proof, ..log.request(other, known, new) }
            }
            10 => {
                let mut request = log.request(home, known, near(random, known));
                match request.proof.hashes.first_mut() {
                    Some(hash) => hash.0[random.below(32) as usize] ^= 1,
                    None => request.proof.hashes.push(Hash([0; 32])),
                }
                request
            }
            _ => match random.below(self.held.accepted.len() as u64 + 1) as usize {
                0 => log.request(other, 0, any(random)),
                n => return self.held.accepted[n - 1].clone(),
            },
        };
        request.to_bytes()
    }

    fn step(&mut self, random: &mut Random) {
        match random.below(100) {
            0 => self.restart(random, false),
            1 => self.restart(random, true),
            2 => self.disk.fail_append(1 + random.below(4)),
            3 if random.once_in(4) => self.disk.fail_sync(1 + random.below(4)),
            4 if random.once_in(4) => self.disk.fail_truncate(true),
            5 => self.disk.fail_replace(1 + random.below(2)),
            6 => {
                let by = random.below(100);
                let now = self.now.load(Ordering::Relaxed);
                let then = if random.once_in(4) { now - by } else { now + by };
                self.now.store(then, Ordering::Relaxed);
            }
            7..=10 => self.race(random),
            _ => {
                let body = self.request(random);
                let answer = self.witness.as_ref().unwrap().add_checkpoint(&body);
                self.take(&body, answer);
            }
        }
        if self.witness.as_ref().unwrap().is_broken() {
            let crash = random.once_in(2);
            self.restart(random, crash);
        }
    }

    /// Several requests at once, most of them from one old size to several histories.
    fn race(&mut self, random: &mut Random) {
        let bodies: Vec<Vec<u8>> = (0..2 + random.below(3)).map(|_| self.request(random)).collect();
        let witness = self.witness.as_ref().unwrap();
        let answers: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = bodies.iter().map(|body| scope.spawn(|| witness.add_checkpoint(body))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for (body, answer) in bodies.iter().zip(answers) {
            self.take(body, answer);
        }
        self.seen.races += 1;
    }

    fn is_over(&self) -> bool {
        self.held.largest.contains(&MAX)
    }
}

#[test]
fn no_order_of_events_makes_two_histories_or_an_early_signature() {
    let total = steps("SOLELOG_WITNESS_STEPS", 20_000);
    let seed = steps("SOLELOG_WITNESS_SEED", 1);
    let logs: Vec<Log> = (0..LOGS).map(Log::new).collect();
    assert!(logs[0].branches.iter().skip(1).all(|branch| branch.fork < MAX));
    let mut random = Random::seeded(seed);
    let mut seen = Seen::default();
    let mut done = 0;
    while done < total {
        let mut round = Round::new(&logs, &mut seen);
        while done < total && !round.is_over() {
            round.step(&mut random);
            done += 1;
        }
        let (signed, not_replaced) = (round.signed.load(Ordering::Relaxed), round.disk.failed_replacements());
        seen.signed += signed;
        seen.not_replaced += not_replaced;
    }
    println!("{total} steps from seed {seed}: {seen:?}");
    let Seen { cosigned, refused, conflicts, not_stored, broken, restarts, crashes, races, not_replaced, .. } = seen;
    for (what, count, of) in [
        ("cosigned", cosigned, 10),
        ("refused", refused, 10),
        ("conflicts", conflicts, 100),
        ("not stored", not_stored, 1_000),
        ("broken", broken, 2_000),
        ("restarts", restarts, 200),
        ("crashes", crashes, 200),
        ("races", races, 100),
        ("not replaced", not_replaced, 2_000),
    ] {
        assert!(count >= total / of, "too few {what}: {seen:?}");
    }
}
