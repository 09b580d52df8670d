//! Verification: from bytes that anybody may send to an authorisation that may stand in the log.
//!
//! ```text
//! opening ── parse ──▶ Submitted ── credential, binding, device, joint ──▶ Signed ── status, metadata, evidence ──▶ Authorized
//!                                   the same at every place in the log              at one place in the log
//! ```
//! Each type is made in one place only, by passing the checks before it. An [`Authorized`] is what
//! a log may append (I-3), and server, key holder, monitor and tools all get theirs here (I-12).
//!
//! A record with several faults is refused for the first in the order of [`Refusal`]. [`verify`] knows the place from the start
//! and so asks for the credential's status before it looks at signatures; in stages the signatures come first, since
//! they need no place and are verified beside the log, and the status after them. Both accept the same records.
//!
//! Nothing is looked up: credential state, policy in force, place and the proof about the seen
//! head are arguments. Times are milliseconds since 1970-01-01T00:00Z.

use alloc::vec::Vec;

use tlog::Hash;
use tlog::tree::{TreeHead, TreeSize};

pub use crate::authorized::{Authorized, Word};
use crate::batch::{Broken, Job, Plain, VerifyBatch};
use crate::credential::Credential;
use crate::entry::Entry;
use crate::evidence::{Kind, Reason};
use crate::instruction::{
    CLASS_ACTIVATE, CLASS_ADD, CLASS_ADD_AUTHENTICATOR, CLASS_POLICY, CLASS_REVOKE_AUTHENTICATOR, Field, Shown, Value,
};
use crate::judgement::Common;
pub use crate::judgement::{Judgement, Rules};
use crate::metadata::{self, Metadata};
use crate::opening::{self, Evidence, Opening};
use crate::point::Point;
use crate::policy::Operation;
use crate::record::Record;
pub use crate::refusal::{CredentialRefusal, EvidenceRefusal, JointRefusal, MetadataRefusal, ParseRefusal, Refusal};
use crate::seen::SeenOnHistory;
use crate::state::{CredentialState, Status};

/// How far the time in a record may be from the time of its entry, either way.
pub const TIME_TOLERANCE_MS: u64 = 300_000;

/// A place in a log: what an entry says about itself and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The index of the entry.
    pub index: u64,
    /// The time of the entry.
    pub time_ms: u64,
    /// The index key of the entry.
    pub index_key: Hash,
}

impl Place {
    /// The place of an entry that has an index key.
    pub fn of(entry: &Entry, index: u64) -> Option<Place> {
        let index_key = entry.index_key?;
        Some(Place { index, time_ms: entry.time_ms, index_key })
    }
}

/// An opening whose record was not yet read, for whoever reads many: the binding keys of all of them can be read together.
#[derive(Debug, Clone)]
pub struct Unread {
    opening: Opening,
    commitment: Hash,
}

impl Unread {
    /// Parses an opening. The record inside stays bytes.
    ///
    /// # Errors
    /// [`Refusal::Parse`].
    pub fn parse(opening: &[u8]) -> Result<Unread, Refusal> {
        let parsed = Opening::parse(opening).map_err(ParseRefusal::from)?;
        Ok(Unread { opening: parsed, commitment: opening::commitment(opening) })
    }

    /// The compressed binding key of its record; none where that is too short to have one.
    pub fn binding_key(&self) -> Option<&[u8; Point::LEN]> {
        Record::binding_key_in(self.opening.profile, &self.opening.record)
    }

    /// Parses the record in it. `binding_key` is its binding key, if somebody has read it before; another key is not used.
    ///
    /// # Errors
    /// [`Refusal::Parse`].
    pub fn read(self, binding_key: Option<Point>) -> Result<Submitted, Refusal> {
        Ok(self.submitted(binding_key)?)
    }

    fn submitted(self, binding_key: Option<Point>) -> Result<Submitted, ParseRefusal> {
        let Unread { opening, commitment } = self;
        let record = Record::parse_with(opening.profile, &opening.record, binding_key)?;
        let metadata = record.metadata();
        let size = TreeSize::new(metadata.seen_size).map_err(|_| ParseRefusal::SeenSize)?;
        let seen = TreeHead { size, root: metadata.seen_root };
        // Rules read the shown fields, so they must be the ones that were signed.
        if opening.shown.id(&metadata.class)? != *record.instruction_id() {
            return Err(ParseRefusal::OtherInstruction);
        }
        Ok(Submitted { opening, record, seen, commitment })
    }
}

/// An opening that parses: its record is well-formed, and its fields are those of the instruction
/// that the record names. Nothing is said yet about signatures.
#[derive(Debug, Clone, PartialEq)]
pub struct Submitted {
    opening: Opening,
    record: Record,
    seen: TreeHead,
    commitment: Hash,
}

impl Submitted {
    /// Parses an opening and the record in it.
    ///
    /// # Errors
    /// [`Refusal::Parse`].
    pub fn parse(opening: &[u8]) -> Result<Submitted, Refusal> {
        Unread::parse(opening)?.read(None)
    }

    /// The log metadata. Signed by nobody as yet.
    pub fn metadata(&self) -> &Metadata {
        self.record.metadata()
    }

    /// The credential that the record names.
    pub fn credential_id(&self) -> Hash {
        self.metadata().credential
    }

    /// The record.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The fields of the instruction that may be read.
    pub fn shown(&self) -> &Shown {
        &self.opening.shown
    }

    /// What the entry of this opening carries.
    pub fn commitment(&self) -> &Hash {
        &self.commitment
    }

    /// The head that the device has seen.
    pub fn seen(&self) -> &TreeHead {
        &self.seen
    }

    /// The name of this authorisation. See [`crate::record::authorisation_key`].
    pub fn authorisation_key(&self) -> Hash {
        self.record.authorisation_key()
    }

    /// Finds the keys: the part of the credential check that is the same at every place.
    ///
    /// # Errors
    /// [`Refusal::Credential`].
    pub fn bind(self, credential: &Credential, origin: &str) -> Result<Bound, Refusal> {
        let (metadata, claims) = (self.record.metadata(), credential.claims());
        if metadata.credential != credential.id() {
            return Err(CredentialRefusal::Other.into());
        }
        if metadata.origin != origin || claims.origin != origin {
            return Err(CredentialRefusal::Origin.into());
        }
        if metadata.provider != claims.provider {
            return Err(CredentialRefusal::Provider.into());
        }
        if self.record.profile() != claims.profile {
            return Err(CredentialRefusal::Profile.into());
        }
        let job = self.record.job(*credential.joint_key(), *credential.device_key());
        let asked = claims.passkey.as_ref().map_or(Ok(()), |passkey| self.record.check_assertion(passkey));
        Ok(Bound { submitted: self, job, asked })
    }

    /// The checks that are the same at every place: credential, binding, device, joint.
    ///
    /// # Errors
    /// The first that fails.
    pub fn check(self, credential: &Credential, origin: &str) -> Result<Signed, Refusal> {
        let bound = self.bind(credential, origin)?;
        let verdict = bound.job.verify();
        bound.judge(verdict)
    }
}

/// A record together with the keys it is to be verified under.
#[derive(Debug, Clone)]
pub struct Bound {
    submitted: Submitted,
    job: Job,
    /// In profile 3: was the device asked what this record needs?
    asked: Result<(), Reason>,
}

impl Bound {
    /// The signatures to verify.
    pub fn job(&self) -> &Job {
        &self.job
    }

    fn judge(self, verdict: Result<(), Broken>) -> Result<Signed, Refusal> {
        if verdict == Err(Broken::Binding) {
            return Err(Broken::Binding.into());
        }
        self.asked.map_err(Refusal::Assertion)?;
        verdict?;
        // What nobody here can verify shows nothing at any place. All other evidence is judged at one.
        let unknown = self.submitted.opening.evidence.iter().position(|evidence| Kind::new(&evidence.kind).is_none());
        match unknown {
            Some(item) => Err(EvidenceRefusal::UnknownKind { item }.into()),
            None => Ok(Signed(self.submitted)),
        }
    }
}

/// Verifies the signatures of many records at once: [`Submitted::check`] for each, in their order.
///
/// The engine is believed. Where it gives fewer verdicts than there were jobs, the plain one
/// gives the others.
pub fn check_batch(engine: &impl VerifyBatch, records: Vec<Bound>) -> Vec<Result<Signed, Refusal>> {
    let jobs: Vec<Job> = records.iter().map(|bound| bound.job.clone()).collect();
    let mut verdicts = engine.verify_batch(&jobs);
    if let Some(rest) = jobs.get(verdicts.len()..) {
        verdicts.extend(Plain.verify_batch(rest));
    }
    records.into_iter().zip(verdicts).map(|(bound, verdict)| bound.judge(verdict)).collect()
}

/// A record whose three signatures hold. It was authorised with two factors, for the log, provider
/// and credential it names; whether it belongs at a place in that log is not said yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Signed(Submitted);

impl Signed {
    /// The log metadata, signed.
    pub fn metadata(&self) -> &Metadata {
        self.0.metadata()
    }

    /// The record.
    pub fn record(&self) -> &Record {
        self.0.record()
    }

    /// The fields of the instruction that may be read.
    pub fn shown(&self) -> &Shown {
        self.0.shown()
    }

    /// What the entry of this opening carries.
    pub fn commitment(&self) -> &Hash {
        self.0.commitment()
    }

    /// The head that the device has seen. The caller shows that it lies on history.
    pub fn seen(&self) -> &TreeHead {
        self.0.seen()
    }

    /// The name of this authorisation. See [`crate::record::authorisation_key`].
    pub fn authorisation_key(&self) -> Hash {
        self.0.authorisation_key()
    }

    /// Every rule that record, credential and two indices decide alone, which is all that a receipt can show.
    ///
    /// ```text
    /// credential   the record's; issued before this place; valid at the time of the entry
    /// metadata     time; issued_at < seen size <= index; index key
    ///              sequence 0: previous is the credential, the class activates       others: the class does not
    /// ```
    /// `issued_at` is the index of the entry that issued the credential. What came between (statuses, other records, policies)
    /// and whether the head seen is on history is judged by [`Signed::authorize`], which begins with these rules.
    ///
    /// # Errors
    /// [`Refusal::Credential`], then [`Refusal::Metadata`].
    pub fn check_alone(&self, place: &Place, credential: &Credential, issued_at: u64) -> Result<(), Refusal> {
        check_validity(self.metadata(), place, credential, issued_at)?;
        self.check_metadata_alone(place, issued_at)?;
        Ok(())
    }

    /// What evidence the opening has.
    pub fn evidence(&self) -> &[Evidence] {
        &self.0.opening.evidence
    }

    /// The rules of one place in the log, under a policy of which the caller knows that it asks for nothing besides the two
    /// factors: status of the credential, then the metadata rules. A record with evidence is refused.
    ///
    /// Where a policy may ask for something, [`Signed::authorize_under`] is the one.
    ///
    /// # Errors
    /// [`Refusal::Credential`], then [`Refusal::Metadata`], then [`Refusal::Evidence`].
    pub fn authorize(
        &self,
        place: &Place,
        state: &CredentialState,
        policy_in_force: &Hash,
        seen: Option<&SeenOnHistory>,
    ) -> Result<Authorized, Refusal> {
        self.check_place(place, state, policy_in_force, seen)?;
        if !self.evidence().is_empty() {
            return Err(EvidenceRefusal::NotAsked { item: 0 }.into());
        }
        Ok(self.authorized(place, Judgement::default()))
    }

    /// The rules of one place in the log: status of the credential, the metadata rules, then the evidence against the policy
    /// in force.
    ///
    /// `seen` is what shows that [`Signed::seen`] lies on history; with none the record is refused.
    /// That the authorisation and its index key are not in the log yet is for the one who knows
    /// all of it: the sequencer, or [`crate::fold::Fold`].
    ///
    /// # Errors
    /// [`Refusal::Credential`], then [`Refusal::Metadata`], then [`Refusal::Evidence`].
    pub fn authorize_under(
        &self,
        place: &Place,
        state: &CredentialState,
        rules: &Rules<'_>,
        seen: Option<&SeenOnHistory>,
    ) -> Result<Authorized, Refusal> {
        self.check_place(place, state, rules.policy.hash(), seen)?;
        let judgement = self.judge_evidence(place, state, rules)?;
        Ok(self.authorized(place, judgement))
    }

    fn check_place(
        &self,
        place: &Place,
        state: &CredentialState,
        policy_in_force: &Hash,
        seen: Option<&SeenOnHistory>,
    ) -> Result<(), Refusal> {
        check_status(self.metadata(), place, state)?;
        self.check_metadata_alone(place, state.issued_at())?;
        self.check_metadata(place, state, policy_in_force, seen)?;
        Ok(())
    }

    fn judge_evidence(
        &self,
        place: &Place,
        state: &CredentialState,
        rules: &Rules<'_>,
    ) -> Result<Judgement, EvidenceRefusal> {
        let record = self.record();
        let intended = Intended {
            metadata: self.metadata(),
            operation_hash: record.operation_hash(),
            instruction_id: *record.instruction_id(),
            fields: &self.shown().fields,
        };
        intended.judge(self.evidence(), state, rules, place.time_ms)
    }

    fn authorized(&self, place: &Place, judgement: Judgement) -> Authorized {
        let (metadata, record) = (self.metadata(), self.record());
        Authorized {
            credential: metadata.credential,
            sequence: metadata.sequence,
            next_previous: metadata::previous(&metadata.credential, metadata.sequence, record.c()),
            index_key: metadata.index_key,
            class: metadata.class.clone(),
            instruction_id: *record.instruction_id(),
            operation_hash: record.operation_hash(),
            authorisation_key: self.authorisation_key(),
            commitment: *self.commitment(),
            index: place.index,
            time_ms: place.time_ms,
            successor: self.names(CLASS_ADD, "credential"),
            word: self.word(),
            challenge: metadata.challenge,
            judgement,
        }
    }

    /// What this record says that holds beyond itself.
    fn word(&self) -> Option<Word> {
        let added = self.names(CLASS_ADD_AUTHENTICATOR, "authenticator").map(Word::AddAuthenticator);
        let revoked = || self.names(CLASS_REVOKE_AUTHENTICATOR, "authenticator").map(Word::RevokeAuthenticator);
        added.or_else(revoked).or_else(|| self.names(CLASS_POLICY, "policy").map(Word::Policy))
    }

    /// What a record of this class names in this field.
    fn names(&self, class: &str, field: &str) -> Option<Hash> {
        match self.shown().field(field) {
            Some(Value::Bytes(id)) if self.metadata().class == class => {
                Some(Hash(<[u8; 32]>::try_from(id.as_slice()).ok()?))
            }
            _ => None,
        }
    }

    fn check_entry(&self, place: &Place) -> Result<(), MetadataRefusal> {
        let metadata = self.metadata();
        let &Metadata { expires_ms, time_ms, seen_size, .. } = metadata;
        let &Place { index, time_ms: entry_ms, .. } = place;
        if entry_ms > expires_ms {
            return Err(MetadataRefusal::Expired { expires_ms, entry_ms });
        }
        if entry_ms.abs_diff(time_ms) > TIME_TOLERANCE_MS {
            return Err(MetadataRefusal::Time { time_ms, entry_ms });
        }
        if seen_size > index {
            return Err(MetadataRefusal::SeenAhead { seen_size, index });
        }
        if metadata.index_key != place.index_key {
            return Err(MetadataRefusal::IndexKey);
        }
        Ok(())
    }

    fn check_metadata_alone(&self, place: &Place, issued_at: u64) -> Result<(), MetadataRefusal> {
        self.check_entry(place)?;
        let metadata = self.metadata();
        let seen_size = metadata.seen_size;
        if seen_size <= issued_at {
            return Err(MetadataRefusal::SeenBeforeIssue { seen_size, issued_at });
        }
        if metadata.sequence == 0 && metadata.previous != metadata.credential {
            return Err(MetadataRefusal::Previous);
        }
        if (metadata.sequence == 0) != (metadata.class == CLASS_ACTIVATE) {
            return Err(MetadataRefusal::Class);
        }
        Ok(())
    }

    fn check_metadata(
        &self,
        place: &Place,
        state: &CredentialState,
        policy_in_force: &Hash,
        seen: Option<&SeenOnHistory>,
    ) -> Result<(), MetadataRefusal> {
        if seen.map(SeenOnHistory::head) != Some(self.seen()) {
            return Err(MetadataRefusal::SeenNotOnHistory);
        }
        let metadata = self.metadata();
        let (expected, found) = (state.next_sequence(), metadata.sequence);
        if found != expected {
            return Err(MetadataRefusal::Sequence { expected, found });
        }
        if metadata.previous != *state.previous() {
            return Err(MetadataRefusal::Previous);
        }
        if metadata.policy != *policy_in_force {
            return Err(MetadataRefusal::Policy);
        }
        if self.names(CLASS_ADD, "credential").is_some_and(|id| !state.has_room_for(&id, place.time_ms)) {
            return Err(MetadataRefusal::Successors);
        }
        match state.status() {
            Status::Issued if found == 0 => Ok(()),
            Status::Active if found > 0 => Ok(()),
            _ => Err(MetadataRefusal::NotActive),
        }
    }
}

/// What evidence is bound to, whether or not there is a record of it yet.
#[derive(Debug, Clone, Copy)]
pub struct Intended<'a> {
    /// The metadata of the record.
    pub metadata: &'a Metadata,
    /// Their hash together with the instruction: [`crate::metadata::operation_hash`].
    pub operation_hash: Hash,
    /// The instruction.
    pub instruction_id: Hash,
    /// Its fields that are shown.
    pub fields: &'a [Field],
}

impl Intended<'_> {
    /// What the policy says to these items of evidence, at an entry of this time.
    ///
    /// Who completes records asks before there is one: what it says then is what the log will say, unless something else comes
    /// between.
    ///
    /// # Errors
    /// [`EvidenceRefusal`].
    pub fn judge(
        &self,
        items: &[Evidence],
        state: &CredentialState,
        rules: &Rules<'_>,
        entry_ms: u64,
    ) -> Result<Judgement, EvidenceRefusal> {
        let (metadata, claims) = (self.metadata, state.credential().claims());
        let signers = [claims.subject];
        let operation = Operation {
            class: &metadata.class,
            fields: self.fields,
            account: state.status(),
            device: &claims.attestation,
            subscriber: &claims.subject,
            signers: &signers,
            threshold: 1,
            group: None,
        };
        let common = Common {
            origin: &metadata.origin,
            operation_hash: &self.operation_hash,
            instruction_id: &self.instruction_id,
            session: &metadata.challenge,
            device_key: state.credential().device_key(),
            entry_ms,
        };
        rules.judge(&operation, items, &common)
    }
}

/// The part of the credential check that place and credential decide alone.
fn check_validity(
    metadata: &Metadata,
    place: &Place,
    credential: &Credential,
    issued_at: u64,
) -> Result<(), CredentialRefusal> {
    let (claims, index) = (credential.claims(), place.index);
    if metadata.credential != credential.id() {
        return Err(CredentialRefusal::Other);
    }
    if issued_at >= index {
        return Err(CredentialRefusal::NotIssued { issued_at, index });
    }
    if place.time_ms < claims.not_before_ms {
        return Err(CredentialRefusal::NotYetValid);
    }
    if place.time_ms > claims.not_after_ms {
        return Err(CredentialRefusal::Expired);
    }
    Ok(())
}

/// The part of the credential check that depends on the place.
fn check_status(metadata: &Metadata, place: &Place, state: &CredentialState) -> Result<(), CredentialRefusal> {
    check_validity(metadata, place, state.credential(), state.issued_at())?;
    match state.status() {
        Status::Suspended => Err(CredentialRefusal::Suspended),
        Status::Revoked => Err(CredentialRefusal::Revoked),
        Status::Issued | Status::Active if !state.is_vouched() => Err(CredentialRefusal::Successor),
        Status::Issued | Status::Active => Ok(()),
    }
}

/// All of it in one call, under a policy of which the caller knows that it asks for nothing besides the two factors: parse,
/// credential, binding, device, joint, metadata. See [`Signed::authorize`].
///
/// `seen` is asked for the proof that the head seen lies on history.
///
/// # Errors
/// The first check that fails.
pub fn verify(
    opening: &[u8],
    origin: &str,
    place: &Place,
    state: &CredentialState,
    policy_in_force: &Hash,
    seen: impl FnOnce(&TreeHead) -> Option<SeenOnHistory>,
) -> Result<Authorized, Refusal> {
    let signed = verify_signatures(opening, origin, place, state)?;
    let seen = seen(signed.seen());
    signed.authorize(place, state, policy_in_force, seen.as_ref())
}

/// All of it in one call: parse, credential, binding, device, joint, metadata, evidence.
///
/// # Errors
/// The first check that fails.
pub fn verify_under(
    opening: &[u8],
    origin: &str,
    place: &Place,
    state: &CredentialState,
    rules: &Rules<'_>,
    seen: impl FnOnce(&TreeHead) -> Option<SeenOnHistory>,
) -> Result<Authorized, Refusal> {
    let signed = verify_signatures(opening, origin, place, state)?;
    let seen = seen(signed.seen());
    signed.authorize_under(place, state, rules, seen.as_ref())
}

fn verify_signatures(opening: &[u8], origin: &str, place: &Place, state: &CredentialState) -> Result<Signed, Refusal> {
    let bound = Submitted::parse(opening)?.bind(state.credential(), origin)?;
    check_status(bound.submitted.metadata(), place, state)?;
    let verdict = bound.job.verify();
    bound.judge(verdict)
}
