//! Every field of a configuration: its name, an example, and why it is there.

/// What a field holds, for reading it from the environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    Boolean,
}

/// One field: where it is, what an example looks like, and why it is there.
#[derive(Debug)]
pub struct Field {
    /// `section.name`, or `name` at the top.
    pub path: &'static str,
    /// A value as it is written in TOML: the default, or an example where there is none.
    pub example: &'static str,
    /// What it is for.
    pub why: &'static str,
    pub(super) kind: Kind,
}

impl Field {
    /// The name of the environment variable that overrides it.
    pub fn variable(&self) -> String {
        format!("SOLELOG_{}", self.path.replace('.', "_").to_uppercase())
    }
}

const fn text(path: &'static str, example: &'static str, why: &'static str) -> Field {
    Field { path, example, why, kind: Kind::Text }
}

const fn number(path: &'static str, example: &'static str, why: &'static str) -> Field {
    Field { path, example, why, kind: Kind::Number }
}

const fn boolean(path: &'static str, example: &'static str, why: &'static str) -> Field {
    Field { path, example, why, kind: Kind::Boolean }
}

/// Every field, in the order of the file.
pub const FIELDS: &[Field] = &[
    text(
        "origin",
        "\"log.example/2026h2\"",
        "The name of the log, on every checkpoint it will ever sign. It never changes.",
    ),
    text(
        "data",
        "\"/var/lib/solelog\"",
        "The log's folder. One process at a time; relative paths start at this file's folder.",
    ),
    text(
        "listen",
        "\"127.0.0.1:7380\"",
        "Where HTTP is served. TLS belongs in a proxy before it; /metrics and /readyz are meant for inside.",
    ),
    text(
        "keys.log",
        "\"keys/log.key\"",
        "The log's signing key; default: log.key in keys.folder. A mode looser than 0600 is refused.",
    ),
    text(
        "keys.folder",
        "\"keys\"",
        "The provider's keys: master.N.key, issuing.key, document.key; default: keys in `data`. Each may be a systemd credential of its name instead.",
    ),
    text(
        "keys.passphrase_file",
        "\"/run/credentials/solelog.service/keys.passphrase\"",
        "One line that opens keys encrypted with a passphrase; without it SOLELOG_KEYS_PASSPHRASE, and without that the terminal is asked.",
    ),
    text(
        "keys.age_identity_file",
        "\"/etc/solelog/age-identity.txt\"",
        "The identities (AGE-SECRET-KEY-…) that open keys encrypted to age recipients. A mode looser than 0600 is refused.",
    ),
    boolean(
        "authority.enabled",
        "true",
        "Whether people can enrol and authorise here. It needs the provider's keys: a master secret and an issuing key of this log.",
    ),
    text("authority.issuer", "\"Example Wallet\"", "The provider's name, as credentials say it."),
    number("authority.credential_days", "730", "How long a credential is valid."),
    number(
        "authority.attempts",
        "5",
        "How often the second factor may be wrong, without being right in between, before the credential is suspended.",
    ),
    number(
        "authority.attempts_ever",
        "100",
        "How often it may be wrong ever. Nothing resets this count but a new credential.",
    ),
    number("authority.challenge_ms", "120000", "How long a challenge is open. A restart voids every open one."),
    number(
        "authority.challenges",
        "8",
        "How many challenges may be open for one credential: with many, signatures could be forged across sessions.",
    ),
    number(
        "authority.strangers",
        "10",
        "How many requests that do not verify are answered in a minute, for each credential and each address; later ones get 429.",
    ),
    text(
        "authority.second_opinion",
        "\"https://policy.example/ask\"",
        "A service that is asked about each instruction when the logged policy has said yes. It can only say no: what the policy needs it never lowers.",
    ),
    number(
        "authority.second_opinion_ms",
        "2000",
        "How long it has for its answer; without one in time, there is no challenge.",
    ),
    text(
        "webauthn.rp_id",
        "\"wallet.example\"",
        "The relying party of passkeys and security keys: a domain. Without it none are taken.",
    ),
    text(
        "webauthn.origins",
        "\"https://wallet.example https://app.wallet.example\"",
        "The origins of the pages that may ask for them, with spaces between: https, at that domain or below it.",
    ),
    boolean(
        "webauthn.user_verification",
        "true",
        "Whether an authenticator must have verified its user, by a finger, a face or a PIN of its own.",
    ),
    boolean(
        "webauthn.synced",
        "false",
        "Whether keys are taken that may be synced to other devices. Such a key shows an account, not the possession of a device.",
    ),
    text(
        "webauthn.models",
        "\"/etc/solelog/models\"",
        "A folder with the models that are trusted: the certificate (PEM) of the root that vouches for one, in a file called AAGUID-name.pem. Without it, no attestation is asked for.",
    ),
    boolean(
        "execution.documents",
        "true",
        "Whether digests of documents are signed (JWS, ES256) for instructions of class document.sign, once the checkpoint that covers them is published. It needs the authority, and a document key in the provider's key folder.",
    ),
    text(
        "witnesses.policy",
        "\"witness-policy.txt\"",
        "A c2sp.org/tlog-policy file: witnesses and quorum. With it, no checkpoint is published that the quorum has not cosigned.",
    ),
    text(
        "witnesses.high_water",
        "\"/var/lib/solelog-high-water\"",
        "Without witnesses: a file outside `data`, and outside its backups, that remembers what was signed, so that a restored backup is noticed.",
    ),
    number(
        "witnesses.timeout_ms",
        "5000",
        "How long a candidate head waits for its quorum before a newer one takes its place.",
    ),
    number(
        "witnesses.guard_timeout_ms",
        "30000",
        "How long the start keeps asking the witnesses what they last cosigned, before it gives up.",
    ),
    text(
        "evidence.access",
        "\"restricted\"",
        "Who may see openings (the records behind the entries): \"restricted\" = tokens with the scope `read`; \"public\" = everybody.",
    ),
    text(
        "view.store",
        "\"redb\"",
        "What keeps the key-value view, which can be made again from the log at any time: \"redb\", or \"sled\", whose memory grows with the log (ten times as much at a million entries).",
    ),
    number(
        "limits.opening_bytes",
        "262144",
        "The longest opening. Verifiers elsewhere take 262144; less is possible here, more is not.",
    ),
    number("limits.batch_records", "1024", "The most records in one batch."),
    number("limits.batch_bytes", "8388608", "The most bytes in one batch."),
    number("limits.round_bytes", "8388608", "The most bytes that one round of the sequencer writes."),
    number(
        "limits.waiting_bytes",
        "67108864",
        "The most bytes that may wait for verification, and again for sequencing; beyond it callers get 503.",
    ),
    number(
        "limits.token_in_flight",
        "256",
        "The most requests one token may have open, so that one client can't fill the queue; beyond it 429.",
    ),
    number("limits.connections", "4096", "The most connections; later ones wait in the kernel's queue."),
    text(
        "verify.engine",
        "\"auto\"",
        "What verifies signatures: \"vector\" (eight at a time; needs AVX-512 IFMA), \"portable\" (AWS-LC), or \"auto\", the fastest that this processor has.",
    ),
    number("verify.threads", "0", "Threads that verify signatures. 0: one per core."),
    number(
        "verify.recheck_one_in",
        "100",
        "One accepted record in so many is verified again by another engine, in the background; a difference is an alarm (`solelog_record_rechecks_total`). 0: none.",
    ),
    number(
        "pace.head_interval_ms",
        "0",
        "The least time between two signed heads. 0: as fast as the disk syncs. Raise it for small quotas at witnesses.",
    ),
    number(
        "pace.patience_ms",
        "10000",
        "How long an append waits beyond `sequenced`; after that the answer says what was reached.",
    ),
    number(
        "pace.snapshot_every_bytes",
        "67108864",
        "How many bytes of journal there may be before the next snapshot: what a restart replays at most.",
    ),
    number("http.header_timeout_ms", "10000", "How long the head of a request may take to arrive."),
    number("http.body_timeout_ms", "10000", "How long the body of a request may take to arrive."),
    number(
        "http.write_timeout_ms",
        "30000",
        "How long a peer may take nothing of an answer that waits for it, before its connection is ended.",
    ),
    number("http.shutdown_timeout_ms", "20000", "How long requests under way may go on after SIGTERM."),
    text("logging.format", "\"text\"", "\"text\" for people or \"json\" for machines; on standard error."),
    text("logging.filter", "\"info\"", "What is said, as a `tracing` filter: \"info\", \"warn\", \"solelog=debug\"."),
];
