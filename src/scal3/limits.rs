//! Every size limit of the formats, in one place. Numbers are bytes unless the name says otherwise.
//!
//! These are what the parsers of this crate enforce. A server may be configured to accept less, never more:
//! a verifier elsewhere applies these, and would refuse what such a server let in.

/// An entry fits one element of a C2SP entry bundle, whose length prefix is 16 bits.
pub const ENTRY_MAX: usize = 65_535;

/// An opening: record, evidence and the fields that are shown.
pub const OPENING_MAX: usize = 256 * 1024;

/// An instruction document.
pub const INSTRUCTION_MAX: usize = 32 * 1024;

/// The log metadata of one record. Every part but `origin` and `class` has a fixed or small size.
pub const METADATA_MAX: usize = 4 * 1024;

/// A credential: claims and the provider's signature.
pub const CREDENTIAL_MAX: usize = 16 * 1024;

/// Evidence items in one opening.
pub const EVIDENCE_ITEMS_MAX: usize = 16;

/// Records in one batch.
pub const BATCH_RECORDS_MAX: usize = 1024;

/// A batch, all records together.
pub const BATCH_MAX: usize = 8 * 1024 * 1024;

/// Arrays, maps and tags around one another. The deepest format, an opening, needs four.
pub const CBOR_DEPTH_MAX: usize = 8;

/// The origin of a log.
pub const ORIGIN_MAX: usize = 255;

/// The largest `amount` of a payment: 2^53 - 1, which every JSON reader still holds exactly.
pub const AMOUNT_MAX: u64 = (1 << 53) - 1;

/// The claims of an authenticator.
pub const AUTHENTICATOR_MAX: usize = 4 * 1024;

/// Origins of one authenticator.
pub const ORIGINS_MAX: usize = 8;

/// The client data of a WebAuthn assertion. Browsers make about 250 bytes.
pub const CLIENT_DATA_MAX: usize = 8 * 1024;

/// The authenticator data of a WebAuthn assertion: 37 bytes, and what extensions say.
pub const AUTHENTICATOR_DATA_MAX: usize = 4 * 1024;

/// The envelope of a card.
pub const ENVELOPE_MAX: usize = 2 * 1024;

/// A policy document.
pub const POLICY_MAX: usize = 32 * 1024;

/// Participants of one operation.
pub const PARTICIPANTS_MAX: usize = 16;

/// A delegation.
pub const DELEGATION_MAX: usize = 32 * 1024;

/// An evidence file. The longest is a whole log up to the entry that it accuses.
pub const EVIDENCE_FILE_MAX: usize = 64 * 1024 * 1024;
