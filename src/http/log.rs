//! What the log says about itself. Whoever verifies must know the log's key and its witnesses from somewhere else: this
//! page is for finding them, not for believing them.

use axum::Json;
use axum::extract::State;
use scal3::limits;
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::Error;
use super::records::Head;
use super::{App, base64};
use crate::config::Access;

/// What the log says about itself.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LogAnswer {
    /// The name on every checkpoint.
    #[schema(example = "log.example/2026h2")]
    origin: String,
    /// The key of the log: c2sp.org/signed-note.
    vkey: String,
    /// The key before it, which signs every checkpoint too until its rotation is finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    outgoing_vkey: Option<String>,
    /// The key that signs every checkpoint beside it with ML-DSA-44, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    ml_dsa_vkey: Option<String>,
    /// The last entry of a log that was frozen: none comes behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    frozen: Option<u64>,
    /// The keys that sign credentials now.
    issuing_keys: Vec<IssuingKeyAnswer>,
    /// The policy in force for instructions.
    policy: PolicyAnswer,
    /// Witnesses and quorum, as a c2sp.org/tlog-policy; nothing where the log has no witnesses.
    #[serde(skip_serializing_if = "Option::is_none")]
    witness_policy: Option<String>,
    /// Who may see openings: `public` or `restricted`.
    #[schema(example = "restricted")]
    evidence_access: &'static str,
    /// The newest signed head, cosigned or not.
    integrated: Head,
    /// The newest published head: what `/checkpoint` serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    published: Option<Head>,
    /// The formats that are spoken here.
    formats: Formats,
    /// What is taken, at most.
    limits: LimitsAnswer,
    /// The engine that verifies records: `portable` or `vector`.
    #[schema(example = "vector")]
    verifier: &'static str,
    /// The version of this software.
    software: &'static str,
}

/// A key that signs credentials.
#[derive(Debug, Serialize, ToSchema)]
struct IssuingKeyAnswer {
    /// The compressed point, hex.
    key: String,
    /// Its hash, which metadata and credentials name, hex.
    provider: String,
}

/// The policy for instructions.
#[derive(Debug, Serialize, ToSchema)]
struct PolicyAnswer {
    /// SHA-256 of the document, which metadata names, hex.
    hash: String,
    /// The document, base64.
    document: String,
    /// The entry that brought it into force; 0, the genesis, for the first.
    since: u64,
}

/// The formats that are spoken here.
#[derive(Debug, Serialize, ToSchema)]
struct Formats {
    tiles: &'static str,
    checkpoint: &'static str,
    cosignature: &'static str,
    proof: &'static str,
    policy: &'static str,
    receipt: &'static str,
    record_profiles: [u64; 2],
}

/// What is taken, at most.
#[derive(Debug, Serialize, ToSchema)]
struct LimitsAnswer {
    entry_bytes: usize,
    opening_bytes: usize,
    instruction_bytes: usize,
    metadata_bytes: usize,
    credential_bytes: usize,
    evidence_items: usize,
    cbor_depth: usize,
    batch_records: usize,
    batch_bytes: usize,
    token_in_flight: usize,
    /// How far a record's time may be from its entry's, milliseconds.
    time_tolerance_ms: u64,
}

/// What the log says about itself: keys, policies, heads, formats and limits.
#[utoipa::path(get, path = "/v1/log", tag = "log", responses((status = 200, body = LogAnswer)))]
pub(super) async fn show(State(app): State<App>) -> Result<Json<LogAnswer>, Error> {
    let heads = app.engine().heads();
    let genesis = app.engine().standing().genesis();
    let configured = app.config().limits;
    let (keys, policies) = app.blocking(|engine| Ok((engine.keys()?, engine.policies()?))).await?;
    Ok(Json(LogAnswer {
        origin: genesis.origin.clone(),
        vkey: app.engine().vkey().to_string(),
        outgoing_vkey: app.engine().vkeys().get(1).map(ToString::to_string),
        ml_dsa_vkey: app.engine().signers().ml_dsa().map(ToString::to_string),
        frozen: keys.frozen(),
        issuing_keys: keys
            .issuing()
            .iter()
            .map(|key| IssuingKeyAnswer { key: hex::encode(key.as_bytes()), provider: key.provider().to_hex() })
            .collect(),
        policy: PolicyAnswer {
            hash: policies.in_force().hash().to_hex(),
            document: base64(policies.document()),
            since: policies.since(),
        },
        witness_policy: app.inner.witness_policy.clone(),
        evidence_access: match app.access() {
            Access::Public => "public",
            Access::Restricted => "restricted",
        },
        integrated: Head::of(&heads.integrated),
        published: heads.published.as_ref().map(Head::of),
        formats: Formats {
            tiles: "c2sp.org/tlog-tiles",
            checkpoint: "c2sp.org/tlog-checkpoint",
            cosignature: "c2sp.org/tlog-cosignature",
            proof: "c2sp.org/tlog-proof@v1",
            policy: "c2sp.org/tlog-policy",
            receipt: "solelog/receipt/v1",
            record_profiles: [1, 2],
        },
        limits: LimitsAnswer {
            entry_bytes: limits::ENTRY_MAX,
            opening_bytes: configured.opening_bytes,
            instruction_bytes: limits::INSTRUCTION_MAX,
            metadata_bytes: limits::METADATA_MAX,
            credential_bytes: limits::CREDENTIAL_MAX,
            evidence_items: limits::EVIDENCE_ITEMS_MAX,
            cbor_depth: limits::CBOR_DEPTH_MAX,
            batch_records: configured.batch_records,
            batch_bytes: configured.batch_bytes,
            token_in_flight: configured.token_in_flight,
            time_tolerance_ms: scal3::verify::TIME_TOLERANCE_MS,
        },
        verifier: app.engine().verifier().name(),
        software: concat!("solelog ", env!("CARGO_PKG_VERSION")),
    }))
}
