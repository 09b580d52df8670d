//! Receipts: what a user keeps. One JSON file that proves, offline and years later, that one
//! instruction was authorised and stands in the log.
//!
//! ```text
//! version      "solelog/receipt/v1"
//! document     the instruction's text fields (CBOR), kept by the subscriber; the log never has it
//! opening      what the entry commits to: the binding record (CBOR)
//! credential   the provider's signed statement about the keys (COSE_Sign1)
//! entry        the leaf (CBOR)
//! proof        c2sp.org/tlog-proof@v1: index, inclusion proof, cosigned checkpoint
//! genesis      entry 0 with its inclusion proof: origin and issuing keys
//! issued       the entry that issued the credential, its opening, its inclusion proof
//! keys         the key entries by which the credential's issuing key came, with proofs; absent where
//!              it is one of the genesis. In the receipt of entry 0, all entries about issuing keys. Verifiers from before there were any refuse such a receipt
//! seen         consistency proof from the head the device saw to the checkpoint
//! ```
//!
//! Every proof ends in the one checkpoint inside `proof`. Nothing here is trusted for being here: a
//! verifier derives what it can and checks the rest ([`crate::verify`]).

use crate::base64::Bytes;
use serde::{Deserialize, Serialize};

/// The value of [`Receipt::version`] that this library reads and writes.
pub const VERSION: &str = "solelog/receipt/v1";

/// A receipt as it travels. See the module's table; absent parts are `null` or left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// Always [`VERSION`].
    pub version: String,
    /// The instruction document. A server never has it; the subscriber adds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<Bytes>,
    /// The opening, absent where it is restricted or erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<Bytes>,
    /// The credential (COSE_Sign1), absent where the opening is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Bytes>,
    /// The entry, exactly as it is hashed into the tree.
    pub entry: Bytes,
    /// A `.tlog-proof` for the entry.
    pub proof: String,
    /// Entry 0, under the checkpoint of `proof`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub genesis: Option<Included>,
    /// The status entry that issued the credential, under the checkpoint of `proof`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued: Option<Included>,
    /// The key entries by which the key that signed the credential came, from a key of the genesis on, in their order; in
    /// the receipt of entry 0, those of all issuing keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<Included>,
    /// Consistency proof (32-byte hashes) from the head named in the record's metadata to the
    /// checkpoint of `proof`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Vec<Bytes>>,
}

/// Another entry under the same checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Included {
    /// Its place in the log.
    pub index: u64,
    /// The entry.
    pub entry: Bytes,
    /// What it commits to, where that is not in the entry itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<Bytes>,
    /// Inclusion proof: 32-byte hashes, the leaf's sibling first.
    pub hashes: Vec<Bytes>,
}
