//! The sections of a configuration, each with its defaults. What each field is for stands in [`super::FIELDS`].

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::authority;
use crate::authority::registration::Rules;
use crate::engine;
use crate::submission::Allowance;

/// Where the keys lie.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
    /// The file with the log's signing key.
    pub log: Option<PathBuf>,
    /// The folder with the provider's keys.
    pub folder: Option<PathBuf>,
    /// A file with the passphrase of encrypted keys.
    pub passphrase_file: Option<PathBuf>,
    /// A file with the age identities that open encrypted keys.
    pub age_identity_file: Option<PathBuf>,
}

/// Where people enrol and authorise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Authority {
    /// Whether they can do so here at all.
    pub enabled: bool,
    /// The provider's name in credentials.
    pub issuer: String,
    /// How long a credential is valid.
    pub credential_days: u64,
    /// How often the second factor may be wrong without being right in between.
    pub attempts: u64,
    /// How often it may be wrong ever.
    pub attempts_ever: u64,
    /// How long a challenge is open.
    pub challenge_ms: u64,
    /// How many may be open for one credential.
    pub challenges: usize,
    /// How many requests that do not verify are answered in a minute.
    pub strangers: u32,
    /// The service that is asked too, and can say no.
    pub second_opinion: Option<String>,
    /// How long it has for its answer.
    pub second_opinion_ms: u64,
}

/// Which passkeys and security keys are taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebAuthn {
    /// The relying party; without it, none are.
    pub rp_id: Option<String>,
    /// The origins of the pages that may ask for them, with spaces between.
    pub origins: String,
    /// Whether they must have verified their user.
    pub user_verification: bool,
    /// Whether keys are taken that may be synced to other devices.
    pub synced: bool,
    /// The folder with the models that are trusted.
    pub models: Option<PathBuf>,
}

impl Default for WebAuthn {
    fn default() -> WebAuthn {
        WebAuthn { rp_id: None, origins: String::new(), user_verification: true, synced: false, models: None }
    }
}

/// What is done about what was authorised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Execution {
    /// Whether documents are signed.
    pub documents: bool,
}

/// Who must have seen a checkpoint before the world does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Witnesses {
    /// A c2sp.org/tlog-policy file.
    pub policy: Option<PathBuf>,
    /// Without witnesses: the file outside `data` that remembers what was signed.
    pub high_water: Option<PathBuf>,
    /// How long a candidate head waits for its quorum.
    pub timeout_ms: u64,
    /// How long the rollback guard asks at the start.
    pub guard_timeout_ms: u64,
}

/// Who may see what the entries commit to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Evidence {
    /// Everybody, or tokens with the scope `read`.
    pub access: Access,
}

/// The key-value view: index key to entry, authorisation to entry, credential to state. Derived, and made again at need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct View {
    /// The library that keeps it.
    pub store: ViewStore,
}

/// Libraries that can keep the view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ViewStore {
    /// redb.
    #[default]
    Redb,
    /// sled 0.34.
    Sled,
}

/// Who may see openings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Everybody.
    Public,
    /// Tokens with the scope `read`.
    #[default]
    Restricted,
}

/// Upper bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The longest opening.
    pub opening_bytes: usize,
    /// The most records in one batch.
    pub batch_records: usize,
    /// The most bytes in one batch.
    pub batch_bytes: usize,
    /// The most bytes one round writes.
    pub round_bytes: usize,
    /// The most bytes that wait, in all.
    pub waiting_bytes: usize,
    /// The most requests that one token may have open.
    pub token_in_flight: usize,
    /// The most connections.
    pub connections: usize,
}

/// How signatures are verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Verify {
    /// What computes.
    pub engine: VerifyEngine,
    /// Threads that verify.
    pub threads: usize,
    /// One accepted record in so many is verified again, by another engine.
    pub recheck_one_in: u64,
}

/// What verifies signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VerifyEngine {
    /// The fastest that this processor has.
    #[default]
    Auto,
    /// AWS-LC, on every processor.
    Portable,
    /// Eight at a time; no start where the processor can't.
    Vector,
}

/// When things happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pace {
    /// The least time between two signed heads.
    pub head_interval_ms: u64,
    /// How long an append waits beyond `sequenced`.
    pub patience_ms: u64,
    /// How much journal there may be before the next snapshot.
    pub snapshot_every_bytes: u64,
}

/// The HTTP server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// How long the head of a request may take.
    pub header_timeout_ms: u64,
    /// How long the body of a request may take.
    pub body_timeout_ms: u64,
    /// How long a peer may take nothing of its answer.
    pub write_timeout_ms: u64,
    /// How long open requests may go on after a stop was asked for.
    pub shutdown_timeout_ms: u64,
}

/// What the program says about itself while it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Logging {
    /// Lines for people, or JSON for machines.
    pub format: Format,
    /// A `tracing` filter.
    pub filter: String,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people, to standard error.
    #[default]
    Text,
    /// One JSON object a line, to standard error.
    Json,
}

impl Default for Authority {
    fn default() -> Authority {
        let settings = authority::Settings::default();
        Authority {
            enabled: false,
            issuer: settings.issuer,
            credential_days: settings.credential_ms / DAY_MS,
            attempts: settings.allowance.in_a_row,
            attempts_ever: settings.allowance.in_all,
            challenge_ms: settings.challenges.open_ms,
            challenges: settings.challenges.per_credential,
            strangers: settings.strangers,
            second_opinion: None,
            second_opinion_ms: 2000,
        }
    }
}

impl Authority {
    /// What the authority is told.
    pub fn settings(&self) -> authority::Settings {
        let defaults = authority::Settings::default();
        authority::Settings {
            issuer: self.issuer.clone(),
            credential_ms: self.credential_days.saturating_mul(DAY_MS),
            allowance: Allowance { in_a_row: self.attempts, in_all: self.attempts_ever },
            challenges: authority::challenges::Limits {
                open_ms: self.challenge_ms,
                per_credential: self.challenges,
                ..defaults.challenges
            },
            strangers: self.strangers,
        }
    }
}

impl WebAuthn {
    /// What is asked of passkeys by a provider of this name, where any are taken.
    pub fn rules(&self, provider: &str) -> Option<Rules> {
        Some(Rules {
            rp_id: self.rp_id.clone()?,
            rp_name: provider.to_owned(),
            origins: self.origins.split_whitespace().map(str::to_owned).collect(),
            user_verification: self.user_verification,
            synced: self.synced,
            models: self.models.clone(),
        })
    }
}

const DAY_MS: u64 = 86_400_000;

impl Default for Witnesses {
    fn default() -> Witnesses {
        Witnesses { policy: None, high_water: None, timeout_ms: 5_000, guard_timeout_ms: 30_000 }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            opening_bytes: 256 << 10,
            batch_records: engine::MAX_BATCH,
            batch_bytes: 8 << 20,
            round_bytes: 8 << 20,
            waiting_bytes: 64 << 20,
            token_in_flight: 256,
            connections: 4096,
        }
    }
}

impl Default for Verify {
    fn default() -> Verify {
        let engine::Verify { threads, recheck_one_in, .. } = engine::Verify::default();
        Verify { engine: VerifyEngine::Auto, threads, recheck_one_in }
    }
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { head_interval_ms: 0, patience_ms: 10_000, snapshot_every_bytes: 64 << 20 }
    }
}

impl Default for Http {
    fn default() -> Http {
        Http {
            header_timeout_ms: 10_000,
            body_timeout_ms: 10_000,
            write_timeout_ms: 30_000,
            shutdown_timeout_ms: 20_000,
        }
    }
}

impl Default for Logging {
    fn default() -> Logging {
        Logging { format: Format::Text, filter: "info".to_owned() }
    }
}
