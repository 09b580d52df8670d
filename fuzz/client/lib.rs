//! The part of `client` that judges receipts, without the part that speaks HTTP: those are the same files.
//! The whole would make every fuzzing build compile a TLS library.

#![forbid(unsafe_code)]
#![allow(missing_docs)]

#[path = "../../src/client/base64.rs"]
pub mod base64;
#[path = "../../src/client/receipt.rs"]
pub mod receipt;
#[path = "../../src/client/succession.rs"]
pub mod succession;
#[path = "../../src/client/verify.rs"]
pub mod verify;

/// Of the file of this name, which fetches receipts, the one function that only reads them.
mod receipts {
    use scal3::Entry;
    use tlog::note::Note;
    use tlog::proof_file::ProofFile;
    use tlog::tree::LeafIndex;

    use crate::receipt::Receipt;

    pub(crate) struct Unreadable;

    pub(crate) fn place(receipt: &Receipt) -> Result<(u64, Note, Entry), Unreadable> {
        let file = ProofFile::parse(receipt.proof.as_bytes()).map_err(|_| Unreadable)?;
        let entry = Entry::parse(receipt.entry.as_ref()).map_err(|_| Unreadable)?;
        Ok((LeafIndex::get(file.index), file.checkpoint, entry))
    }
}
