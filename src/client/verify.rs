//! Verifying a receipt: offline, from its bytes and a trust file, and from nothing else.
//!
//! Each question gets a line of its own: `ok`, `failed`, or `not shown` where the receipt does not hold
//! what the answer would need. Nothing that the receipt could merely claim is believed: what can be
//! derived is derived (I-11).
//!
//! ```text
//! trust file ── log, witnesses ──▶ checkpoint ── included ──▶ entry ── opening ──▶ record ── binding, device, joint
//!                                      │                                             │
//!                                      ├── issued ──▶ credential ────────────────────┘ keys
//!                                      ├── genesis ──▶ issuing key, first policy
//!                                      └── seen ──▶ the head that the device had seen
//! ```

use crate::{
    base64::Bytes,
    receipt::{Included, Receipt, VERSION},
    succession::Successor,
};
use scal3::{
    Claims, Credential, Document, Entry, Genesis, Kind, OtherOpening,
    batch::Job,
    credential::IssuingKey,
    ecdsa::BadSignature,
    index_key::status_index_key,
    key_change::{KeyChange, Role},
    keys::Keys,
    opening,
    schnorr::JointError,
    status::{Change, StatusChange},
    verify::{Place, Submitted},
};
use serde::Serialize;
use std::fmt::Display;
use tlog::{
    ConsistencyProof, Hash, InclusionProof, LeafHash, LeafIndex, TreeHead,
    policy::{Policy, PolicyError},
    proof_file::ProofFile,
};

/// The answer to one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It holds.
    Ok,
    /// It does not.
    Failed,
    /// The receipt has not what it takes to say.
    NotShown,
}

/// One line of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The question, by a stable name.
    pub id: &'static str,
    /// The answer.
    pub outcome: Outcome,
    /// The same in words.
    pub says: String,
}

/// What a receipt comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing failed; the entry stands in the log, and it is an instruction authorised with two factors.
    Authorised,
    /// Nothing failed and the entry stands in the log, but what it is about is not shown.
    Included,
    /// Something failed.
    Failed,
}

/// All answers, in the order in which one rests on another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What it comes to.
    pub verdict: Verdict,
    /// The lines.
    pub checks: Vec<Check>,
}

impl Report {
    /// The answer to the question of that name.
    #[must_use]
    pub fn outcome(&self, id: &str) -> Option<Outcome> {
        self.checks.iter().find(|check| check.id == id).map(|check| check.outcome)
    }
}

/// The questions that must be answered `ok` before a receipt counts as an authorisation.
///
/// Witnesses are not among them: whether a head needs a quorum is for the trust file to say, and a quorum
/// that is asked for and not met has failed.
pub const AUTHORISED: &[&str] = &[
    "log",
    "included",
    "opening",
    "genesis",
    "credential",
    "binding",
    "device",
    "joint",
    "place",
    "seen",
    "successor",
];

/// Verifies a receipt against a trust file.
#[must_use]
pub fn verify(receipt: &Receipt, trust: &Policy) -> Report {
    verify_with(receipt, &[], trust)
}

/// The same, with other receipts beside it: they can show who spoke for a credential that succeeds another. See
/// [`crate::succession`].
#[must_use]
pub fn verify_with(receipt: &Receipt, beside: &[Receipt], trust: &Policy) -> Report {
    let mut report = Lines::default();
    if receipt.version != VERSION {
        report.failed("format", format!("version {:?}; this program reads {VERSION:?}", receipt.version));
        return report.finish();
    }
    let Some(head) = checkpoint(receipt, trust, &mut report) else {
        return report.finish();
    };
    let Some((place, entry)) = included(receipt, &head, &mut report) else {
        return report.finish();
    };
    record((receipt, beside, trust), &head, place, &entry, &mut report);
    report.finish()
}

/// A checkpoint that the trust file accepts, with the proof that came with it.
struct Head {
    origin: String,
    head: TreeHead,
    proof: ProofFile,
}

fn checkpoint(receipt: &Receipt, trust: &Policy, report: &mut Lines) -> Option<Head> {
    let proof = match ProofFile::parse(receipt.proof.as_bytes()) {
        Ok(proof) => proof,
        Err(e) => {
            report.failed("format", format!("the proof: {e}"));
            return None;
        }
    };
    report.ok("format", "a receipt, every part in its one spelling");
    match trust.verify(&proof.checkpoint) {
        Ok(accepted) => {
            let checkpoint = accepted.checkpoint;
            report.ok(
                "log",
                format!("{} signed the head of {} entries", checkpoint.origin.as_str(), checkpoint.head.size),
            );
            let names: Vec<String> = accepted.witnesses.iter().map(|w| format!("{} at {}", w.name, w.time)).collect();
            if trust.quorum_is_none() {
                report.not_shown("witnesses", "the trust file asks for none: another history may exist");
            } else {
                report.ok("witnesses", format!("{} of {}: {}", names.len(), trust.witnesses().len(), names.join(", ")));
            }
            Some(Head { origin: checkpoint.origin.as_str().to_owned(), head: checkpoint.head, proof })
        }
        Err(PolicyError::NoQuorum) => {
            report.ok("log", "signed the checkpoint");
            report.failed("witnesses", PolicyError::NoQuorum);
            None
        }
        Err(e) => {
            report.failed("log", e);
            None
        }
    }
}

fn included(receipt: &Receipt, head: &Head, report: &mut Lines) -> Option<(LeafIndex, Entry)> {
    let leaf = LeafHash::of(receipt.entry.as_ref());
    let index = head.proof.index;
    if let Err(e) = head.proof.proof.verify(leaf, index, &head.head) {
        report.failed("included", format!("the entry is not at index {index} of that head: {e}"));
        return None;
    }
    match Entry::parse(receipt.entry.as_ref()) {
        Ok(entry) => {
            report.ok("included", format!("the entry is number {index} of {}", head.head.size));
            Some((index, entry))
        }
        Err(e) => {
            report.failed("included", format!("the leaf is not an entry: {e}"));
            None
        }
    }
}

/// Everything about the record inside the opening.
fn record(
    (receipt, beside, trust): (&Receipt, &[Receipt], &Policy),
    head: &Head,
    index: LeafIndex,
    entry: &Entry,
    report: &mut Lines,
) {
    let Some(bytes) = &receipt.opening else {
        report.not_shown("opening", "the receipt has no opening: what the entry is about stays hidden");
        return;
    };
    if opening::commitment(bytes.as_ref()) != entry.commitment {
        report.failed("opening", "the opening is not what the entry commits to");
        return;
    }
    if entry.kind != Kind::Instruction {
        report.ok("opening", format!("the opening of an entry of kind {}, no instruction", entry.kind.number()));
        return;
    }
    let submitted = match Submitted::parse(bytes.as_ref()) {
        Ok(submitted) => submitted,
        Err(refusal) => {
            report.failed("opening", refusal);
            return;
        }
    };
    report.ok("opening", "the record is what the entry commits to");

    let genesis = genesis(receipt, head, report);
    let Some(credential) = credential(receipt, head, genesis.as_ref(), &submitted, report) else {
        return;
    };
    let metadata = submitted.metadata().clone();
    let instruction_id = *submitted.record().instruction_id();
    let seen = *submitted.seen();
    let bound = match submitted.clone().bind(&credential, &head.origin) {
        Ok(bound) => bound,
        Err(refusal) => {
            report.failed("credential", refusal);
            return;
        }
    };
    let holds = signatures(bound.job(), report);
    if holds {
        place(submitted, &credential, entry, index, receipt, report);
    } else {
        report.not_shown("place", "it is not asked where a record belongs whose signatures do not hold");
    }
    seen_on_history(receipt, head, &seen, report);
    document(receipt, &instruction_id, report);
    policy(genesis.as_ref(), &metadata.policy, report);
    if metadata.sequence == 0 {
        report.ok("sequence", "the first instruction of its credential");
    } else {
        let sequence = metadata.sequence;
        report.not_shown(
            "sequence",
            format!("number {sequence} of its credential; the one before is not in the receipt"),
        );
    }
    if credential.claims().predecessor.is_some() {
        let issued =
            receipt.issued.as_ref().and_then(|issued| Some((issued.index, Entry::parse(issued.entry.as_ref()).ok()?)));
        let spoken_for = issued.and_then(|(issued_at, issued)| {
            let index = index.get();
            Successor { credential: &credential, issued_at, issued_ms: issued.time_ms, index }.spoken_for(beside, trust)
        });
        match spoken_for {
            Some(who) => report.ok("successor", who),
            None => report.not_shown(
                "successor",
                "who spoke for this credential, which follows another: the receipt of that takes its place beside this one",
            ),
        }
    } else if credential.claims().ordinal == 0 {
        report.ok("successor", "the person's first credential");
    } else {
        report.failed("successor", "not the person's first credential, and it names none before");
    }
    report.not_shown("revocation", "that the credential had not been revoked before takes its status entries");
}

/// What record, credential and their two places decide alone.
fn place(
    submitted: Submitted,
    credential: &Credential,
    entry: &Entry,
    index: LeafIndex,
    receipt: &Receipt,
    report: &mut Lines,
) {
    let issued_at = receipt.issued.as_ref().map_or(u64::MAX, |issued| issued.index);
    let expires_ms = submitted.metadata().expires_ms;
    match (submitted.check(credential, &credential.claims().origin), Place::of(entry, index.get())) {
        (Ok(signed), Some(place)) => {
            let verdict = signed.check_alone(&place, credential, issued_at);
            let good = format!("entered at {} ms, in its time (until {expires_ms} ms) and order", entry.time_ms);
            report.judge("place", verdict, good, |refusal| refusal);
        }
        (Ok(_), None) => report.failed("place", "the entry of an instruction has no index key"),
        (Err(refusal), _) => report.failed(refusal.check(), refusal),
    }
}

/// The first policy is in the receipt; whether it was still in force then, only the log between can tell.
fn policy(genesis: Option<&Genesis>, named: &Hash, report: &mut Lines) {
    if genesis.is_some_and(|genesis| genesis.policy_hash() == *named) {
        report.not_shown("policy", "authorised under the log's first policy; that it was still in force then");
    } else {
        report.not_shown("policy", "the policy in force then is not in the receipt");
    }
}

fn genesis(receipt: &Receipt, head: &Head, report: &mut Lines) -> Option<Genesis> {
    let Some(genesis) = &receipt.genesis else {
        report.not_shown("genesis", "entry 0 is not in the receipt");
        return None;
    };
    let parsed =
        other(genesis, head)
            .and_then(|entry| match (genesis.index, entry.kind, entry.body) {
                (0, Kind::Genesis, Some(body)) => Genesis::parse(&body).map_err(|e| e.to_string()),
                _ => Err("that is not entry 0".into()),
            })
            .and_then(|genesis| {
                if genesis.origin == head.origin { Ok(genesis) } else { Err("entry 0 names another origin".into()) }
            });
    match parsed {
        Ok(genesis) => {
            report.ok("genesis", format!("entry 0 of this log names {} issuing key(s)", genesis.issuing_keys.len()));
            Some(genesis)
        }
        Err(e) => {
            report.failed("genesis", e);
            None
        }
    }
}

/// The credential, if its issuing is in the log and an issuing key of the log signed it.
fn credential(
    receipt: &Receipt,
    head: &Head,
    genesis: Option<&Genesis>,
    submitted: &Submitted,
    report: &mut Lines,
) -> Option<Credential> {
    let (Some(bytes), Some(issued), Some(genesis)) = (&receipt.credential, &receipt.issued, genesis) else {
        report.not_shown("credential", "the credential, its entry, or the issuing keys are not in the receipt");
        return None;
    };
    let credential = match issued_credential(bytes, issued, head, submitted) {
        Ok(credential) => credential,
        Err(e) => {
            report.failed("credential", e);
            return None;
        }
    };
    let keys = match keys_then(receipt, issued.index, head, genesis) {
        Ok(keys) => keys,
        Err(e) => {
            report.failed("credential", format!("the key entries: {e}"));
            return None;
        }
    };
    let key = keys.of_provider(&credential.provider);
    let opened = key.map(|key| Credential::open(bytes.as_ref(), key));
    match opened {
        Some(Ok(opened)) => {
            let Claims { issuer, .. } = opened.claims();
            let key = match receipt.keys.len() {
                0 => "the log's first keys".to_owned(),
                n => format!("a key that {n} key entries lead to"),
            };
            report.ok("credential", format!("issued by {issuer}, entry {}, under {key}", issued.index));
            report.not_shown("issuing-key", "that the key which signed it was still in force then");
            Some(opened)
        }
        Some(Err(e)) => {
            report.failed("credential", e);
            None
        }
        None => {
            report
                .not_shown("credential", "issued under a key that came after the genesis, which is not in the receipt");
            None
        }
    }
}

/// The issuing keys when the credential was issued, as far as the receipt shows: those of the genesis, changed by the key
/// entries in it.
fn keys_then(receipt: &Receipt, issued_at: u64, head: &Head, genesis: &Genesis) -> Result<Keys, String> {
    keys_by(receipt, issued_at, head, genesis, |_| ())
}

/// The same, and shows each change that holds.
fn keys_by(
    receipt: &Receipt,
    issued_at: u64,
    head: &Head,
    genesis: &Genesis,
    mut each: impl FnMut(&KeyChange),
) -> Result<Keys, String> {
    let mut keys = Keys::genesis(genesis).ok_or("an issuing key in entry 0 is no key")?;
    let mut last = 0;
    for included in &receipt.keys {
        if included.index <= last || included.index >= issued_at {
            return Err(format!("entry {} is not in its place before the issuing", included.index));
        }
        last = included.index;
        let change = match other(included, head)? {
            Entry { kind: Kind::Key, body: Some(body), .. } => KeyChange::parse(&body).map_err(|e| e.to_string())?,
            _ => return Err(format!("entry {last} is no key change")),
        };
        if change.role != Role::Issuing {
            return Err(format!("entry {last} is about a key of another kind"));
        }
        keys.change(&head.origin, &change, last).map_err(|e| format!("entry {last}: {e}"))?;
        each(&change);
    }
    Ok(keys)
}

/// The issuing keys that the provider has had since the one a device trusts, that one first: from the receipt of entry 0, which
/// names the log's first keys and shows all key entries since. `None` when the receipt does not hold, or does not have it.
pub(crate) fn issuing_keys(receipt: &Receipt, trust: &Policy, trusted: &Hash) -> Option<Vec<IssuingKey>> {
    let mut report = Lines::default();
    let head = checkpoint(receipt, trust, &mut report)?;
    let (place, _) = included(receipt, &head, &mut report)?;
    let genesis = genesis(receipt, &head, &mut report).filter(|_| place.get() == 0)?;
    let mut line: Vec<IssuingKey> = Vec::new();
    let first = Keys::genesis(&genesis)?;
    line.extend(first.of_provider(trusted).copied());
    keys_by(receipt, head.head.size.get(), &head, &genesis, |change| {
        let new = IssuingKey::parse(&change.new.key).ok();
        let follows = change.old.as_ref().is_some_and(|old| line.iter().any(|key| key.as_bytes()[..] == old.key));
        line.extend(new.filter(|new| follows || new.provider() == *trusted));
    })
    .ok()?;
    Some(line).filter(|line| !line.is_empty())
}

/// What the issuing entry of a receipt says, before the provider's signature is looked at.
struct Issued {
    provider: Hash,
}

fn issued_credential(bytes: &Bytes, issued: &Included, head: &Head, submitted: &Submitted) -> Result<Issued, String> {
    let entry = other(issued, head)?;
    let opening = issued.opening.as_ref().ok_or("the opening of the issuing entry is not in the receipt")?;
    if entry.kind != Kind::Status || opening::commitment(opening.as_ref()) != entry.commitment {
        return Err("the issuing entry does not commit to what the receipt shows".into());
    }
    let status = OtherOpening::parse(opening.as_ref()).map_err(|e| e.to_string())?;
    if status.kind != Kind::Status {
        return Err("the issuing entry's opening is not that of a status".into());
    }
    let status = StatusChange::from_body(status.body).map_err(|e| e.to_string())?;
    if status.change != Change::Issued(bytes.0.clone()) {
        return Err("the issuing entry is about another credential".into());
    }
    if entry.index_key != Some(status_index_key(&status.credential, 0)) {
        return Err("the issuing entry is not the first of its credential".into());
    }
    if status.credential != submitted.credential_id() {
        return Err("the record names another credential".into());
    }
    // Which key must have signed it; that it did, and that the id is that of its claims, is checked with the key.
    Ok(Issued { provider: submitted.metadata().provider })
}

/// Another entry, shown to be under the same head.
fn other(included: &Included, head: &Head) -> Result<Entry, String> {
    let index = LeafIndex::new(included.index).map_err(|e| e.to_string())?;
    let proof = InclusionProof { hashes: hashes(&included.hashes)? };
    proof
        .verify(LeafHash::of(included.entry.as_ref()), index, &head.head)
        .map_err(|e| format!("not at index {index} of that head: {e}"))?;
    Entry::parse(included.entry.as_ref()).map_err(|e| e.to_string())
}

fn hashes(list: &[Bytes]) -> Result<Vec<Hash>, String> {
    list.iter()
        .map(|bytes| bytes.as_ref().try_into().map(Hash).map_err(|_| "a hash of the proof has not 32 bytes".to_owned()))
        .collect()
}

/// Each of the three by itself, so that a report names every one that fails. Whether all hold.
fn signatures(job: &Job, report: &mut Lines) -> bool {
    let binding = job.binding_sig.verify(&job.binding_key, job.device_sig.as_bytes());
    let device = job.device_sig.verify(&job.device_key, &job.device_message);
    let joint = job.challenge.verify(&job.joint_key, &[&job.message], &job.c, &job.z);
    let all = binding.is_ok() && device.is_ok() && joint.is_ok();
    report.judge(
        "binding",
        binding,
        "the one-time key signed the device's signature",
        |BadSignature| "the one-time key did not sign the device's signature",
    );
    report.judge(
        "device",
        device,
        "the enrolled device signed",
        |BadSignature| "the enrolled device did not sign this",
    );
    report.judge("joint", joint, "the second factor and the provider signed together", |e| match e {
        JointError::Identity => "the joint signature is void",
        JointError::Mismatch => "the joint key did not sign this",
    });
    all
}

fn seen_on_history(receipt: &Receipt, head: &Head, seen: &TreeHead, report: &mut Lines) {
    let Some(list) = &receipt.seen else {
        report.not_shown("seen", "no proof that the head the device had seen is on this history");
        return;
    };
    let verdict =
        hashes(list).and_then(|hashes| ConsistencyProof { hashes }.verify(seen, &head.head).map_err(|e| e.to_string()));
    report.judge(
        "seen",
        verdict,
        format!("the head of {} entries that the device had seen is on this history", seen.size),
        |e| format!("the device had seen another history: {e}"),
    );
}

fn document(receipt: &Receipt, instruction_id: &Hash, report: &mut Lines) {
    let Some(bytes) = &receipt.document else {
        report.not_shown("text", "the instruction's text is not in the receipt");
        return;
    };
    match Document::parse(bytes.as_ref()) {
        Ok(document) if document.id() == *instruction_id => {
            report.ok("text", format!("the text of this {} is what was authorised", document.class))
        }
        Ok(_) => report.failed("text", "the text is not what was authorised"),
        Err(e) => report.failed("text", e),
    }
}

/// Names inside a receipt come from people who may want to repaint the reader's terminal.
fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_unicode().collect() } else { vec![c] }).collect()
}

/// A report in the making.
#[derive(Default)]
struct Lines(Vec<Check>);

impl Lines {
    fn add(&mut self, id: &'static str, outcome: Outcome, says: impl Display) {
        self.0.push(Check { id, outcome, says: printable(&says.to_string()) });
    }

    fn ok(&mut self, id: &'static str, says: impl Display) {
        self.add(id, Outcome::Ok, says);
    }

    fn failed(&mut self, id: &'static str, says: impl Display) {
        self.add(id, Outcome::Failed, says);
    }

    fn not_shown(&mut self, id: &'static str, says: impl Display) {
        self.add(id, Outcome::NotShown, says);
    }

    fn judge<E, S: Display>(
        &mut self,
        id: &'static str,
        verdict: Result<(), E>,
        good: impl Display,
        bad: impl FnOnce(E) -> S,
    ) {
        match verdict {
            Ok(()) => self.ok(id, good),
            Err(e) => self.failed(id, bad(e)),
        }
    }

    fn finish(self) -> Report {
        let checks = self.0;
        let is_ok = |id: &str| checks.iter().any(|check| check.id == id && check.outcome == Outcome::Ok);
        let verdict = if checks.iter().any(|check| check.outcome == Outcome::Failed) {
            Verdict::Failed
        } else if AUTHORISED.iter().all(|id| is_ok(id)) {
            Verdict::Authorised
        } else {
            Verdict::Included
        };
        Report { verdict, checks }
    }
}
