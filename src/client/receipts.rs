//! The receipts of one's own entries: fetched with read tokens, verified, kept.
//!
//! ```text
//! index key + read token ──▶ receipt ──▶ verify (policy, proof, opening, signatures) ──▶ the same device's own record?
//! ```

use scal3::verify::Submitted;
use scal3::{Credential, Document, Entry, Hash, Kind, Metadata, OtherOpening, opening};
use tlog::LeafIndex;
use tlog::note::Note;
use tlog::policy::PolicyError;
use tlog::proof_file::ProofFile;

use crate::base64::Bytes;
use crate::device::{DeviceKey, PinPrf};
use crate::folder::{Memory, MemoryError};
use crate::receipt::Receipt;
use crate::state::{Dealt, Held};
use crate::subscriber::{Error, Lie, Subscriber};
use crate::verify::{self, Outcome, Report};

/// How the names of kept receipts end.
const ENDING: &str = ".receipt.json";

/// A receipt that the device keeps.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Its name in the device's memory.
    pub name: String,
    /// The receipt, with the instruction's text.
    pub receipt: Receipt,
}

/// A receipt of an own record that holds.
pub(crate) struct Record {
    pub index: u64,
    pub time_ms: u64,
    pub metadata: Metadata,
    pub instruction_id: Hash,
    pub c: [u8; 32],
    pub document: Option<Document>,
    pub note: Note,
}

/// A receipt of another entry that holds.
pub(crate) struct Other {
    pub index: u64,
    pub entry: Entry,
    pub opening: OtherOpening,
    pub note: Note,
}

/// The receipts that a memory keeps, by name. Reading them takes no device and no network.
///
/// # Errors
/// [`MemoryError`].
pub fn kept(memory: &impl Memory) -> Result<Vec<Kept>, MemoryError> {
    let mut names: Vec<String> = memory.names()?.into_iter().filter(|name| name.ends_with(ENDING)).collect();
    names.sort_unstable();
    let mut kept = Vec::with_capacity(names.len());
    for name in names {
        let Some(bytes) = memory.load(&name)? else { continue };
        match serde_json::from_slice(&bytes) {
            Ok(receipt) => kept.push(Kept { name, receipt }),
            Err(error) => return Err(MemoryError::Damaged { name, fault: error.to_string() }),
        }
    }
    Ok(kept)
}

impl<D: DeviceKey + PinPrf, M: Memory> Subscriber<D, M> {
    /// The receipts that this device keeps, by name.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn receipts(&self) -> Result<Vec<Kept>, Error> {
        Ok(kept(&self.memory)?)
    }

    /// Keeps the receipt of an own record, under its credential and sequence number.
    pub(crate) fn keep(&self, credential: &Hash, sequence: u64, receipt: &Receipt) -> Result<(), Error> {
        let name = kept_name(credential, sequence);
        let bytes = serde_json::to_vec_pretty(receipt)
            .map_err(|error| MemoryError::Damaged { name: name.clone(), fault: error.to_string() })?;
        Ok(self.memory.save(&name, &bytes)?)
    }

    /// Keeps the receipt of the entry by which the provider spoke for a credential: beside its records', it shows that it may
    /// act.
    pub(crate) fn keep_recovery(&self, credential: &Hash, receipt: &Receipt) -> Result<(), Error> {
        let name = format!("{}-recovered{ENDING}", &credential.to_hex()[..16]);
        let bytes = serde_json::to_vec_pretty(receipt)
            .map_err(|error| MemoryError::Damaged { name: name.clone(), fault: error.to_string() })?;
        Ok(self.memory.save(&name, &bytes)?)
    }

    /// The kept receipt of a record.
    pub(crate) fn kept(&self, credential: &Hash, sequence: u64) -> Result<Option<Receipt>, Error> {
        let bytes = self.memory.load(&kept_name(credential, sequence))?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// Fetches the receipt of an own entry. `None` when no signed head covers one.
    pub(crate) async fn fetch(&self, dealt: &Dealt, index_key: &Hash) -> Result<Option<Receipt>, Error> {
        let token = dealt.read_token(index_key).ok_or(Error::DamagedEnrolment)?;
        Ok(self.provider.receipt(index_key, &token).await?)
    }

    /// Whether the receipt's checkpoint lacks nothing but cosignatures, which may still come.
    pub(crate) fn lacks_witnesses(&self, receipt: &Receipt) -> bool {
        ProofFile::parse(receipt.proof.as_bytes())
            .is_ok_and(|file| self.trust.policy.verify(&file.checkpoint) == Err(PolicyError::NoQuorum))
    }

    /// Verifies the receipt of a record of this credential.
    pub(crate) fn judge_record(&self, held: &Held, index_key: &Hash, receipt: &Receipt) -> Result<Record, Error> {
        let report = verify::verify(receipt, &self.trust.policy);
        // A receipt does not show that a predecessor spoke for a successor. Where the device has one, it is its own
        // credential, of which it compared every claim when it enrolled.
        let succeeds = Credential::from_own_store(held.credential.as_ref())
            .is_ok_and(|credential| credential.claims().predecessor.is_some());
        let excused: &[&str] = if succeeds { &["successor"] } else { &[] };
        demand(&report, verify::AUTHORISED, excused)?;
        if receipt.document.is_some() {
            demand(&report, &["text"], &[])?;
        }
        let submitted = receipt.opening.as_ref().and_then(|bytes| Submitted::parse(bytes.as_ref()).ok());
        let submitted = submitted.ok_or_else(|| Error::Receipt(vec!["opening".to_owned()]))?;
        let (index, note, entry) = place(receipt)?;
        let metadata = submitted.metadata().clone();
        if metadata.origin != self.trust.origin {
            return Err(Lie::Origin.into());
        }
        if Some(metadata.provider) != held.provider() {
            return Err(Lie::Provider.into());
        }
        if metadata.credential != held.id.0 || receipt.credential.as_ref() != Some(&held.credential) {
            return Err(Lie::Credential.into());
        }
        if metadata.index_key != *index_key {
            return Err(Lie::NotOurs.into());
        }
        let document = receipt.document.as_ref().and_then(|bytes| Document::parse(bytes.as_ref()).ok());
        Ok(Record {
            index,
            time_ms: entry.time_ms,
            instruction_id: *submitted.record().instruction_id(),
            c: *submitted.record().c(),
            metadata,
            document,
            note,
        })
    }

    /// Verifies the receipt of an entry that is no instruction.
    pub(crate) fn judge_other(&self, index_key: &Hash, receipt: &Receipt) -> Result<Other, Error> {
        let report = verify::verify(receipt, &self.trust.policy);
        demand(&report, &["log", "included", "opening"], &[])?;
        let (index, note, entry) = place(receipt)?;
        let bytes = receipt.opening.as_ref().ok_or(Lie::NotOurs)?;
        let other = OtherOpening::parse(bytes.as_ref()).map_err(|_| Error::Receipt(vec!["opening".to_owned()]))?;
        let fits = entry.kind == other.kind
            && entry.kind != Kind::Instruction
            && entry.index_key == Some(*index_key)
            && entry.commitment == opening::commitment(bytes.as_ref());
        if fits { Ok(Other { index, entry, opening: other, note }) } else { Err(Lie::NotOurs.into()) }
    }
}

/// The name that a receipt is kept under: it sorts by credential and sequence.
#[must_use]
pub fn kept_name(credential: &Hash, sequence: u64) -> String {
    format!("{}-{sequence:010}{ENDING}", &credential.to_hex()[..16])
}

/// The receipt with the instruction's text, which the server never has.
pub(crate) fn with_document(mut receipt: Receipt, document: &Bytes) -> Receipt {
    receipt.document = Some(document.clone());
    receipt
}

/// No check failed, and these hold.
pub(crate) fn demand(report: &Report, wanted: &[&str], excused: &[&str]) -> Result<(), Error> {
    let failed = report.checks.iter().filter(|check| check.outcome == Outcome::Failed).map(|check| check.id);
    let missing = wanted.iter().copied().filter(|id| match report.outcome(id) {
        Some(Outcome::Ok) => false,
        Some(Outcome::NotShown) => !excused.contains(id),
        _ => true,
    });
    let mut names: Vec<String> = failed.chain(missing).map(str::to_owned).collect();
    names.dedup();
    if names.is_empty() { Ok(()) } else { Err(Error::Receipt(names)) }
}

/// Where a verified receipt says that its entry stands.
pub(crate) fn place(receipt: &Receipt) -> Result<(u64, Note, Entry), Error> {
    let bad = |what: &str| Error::Receipt(vec![what.to_owned()]);
    let file = ProofFile::parse(receipt.proof.as_bytes()).map_err(|_| bad("proof"))?;
    let entry = Entry::parse(receipt.entry.as_ref()).map_err(|_| bad("included"))?;
    Ok((LeafIndex::get(file.index), file.checkpoint, entry))
}
