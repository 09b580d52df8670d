//! Reasons: why a piece of evidence shows nothing.

/// Why evidence is refused. In the order of checks within each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Reason {
    /// The authenticator makes evidence of another kind.
    #[error("the authenticator makes no evidence of this kind")]
    Kind,
    /// The authenticator is somebody else's.
    #[error("the authenticator is another participant's")]
    Participant,
    /// The authenticator was revoked before this place in the log.
    #[error("the authenticator is revoked")]
    Revoked,
    /// The authenticator was enrolled for something else, such as logging in.
    #[error("the authenticator was enrolled for another purpose")]
    Purpose,
    /// The authenticator's key is the one of the device that takes part in every instruction.
    #[error("the key is that of the device factor, which is counted already")]
    DeviceKey,
    /// More bytes than evidence of this kind has.
    #[error("too long")]
    TooLong,
    /// The bytes have not the form of this kind.
    #[error("malformed")]
    Malformed,
    /// Another algorithm or curve than the enrolled key's, or one that nobody verifies here.
    #[error("an algorithm that is not supported")]
    Unsupported,
    /// It was made for something else, such as a registration.
    #[error("made by another kind of ceremony")]
    Type,
    /// It answers another challenge: another operation, participant, authenticator or kind.
    #[error("the challenge is another one")]
    Challenge,
    /// It was made on another web site.
    #[error("made for another origin")]
    Origin,
    /// It was made inside a page of another site.
    #[error("made inside another site's page")]
    CrossOrigin,
    /// It was made for another relying party.
    #[error("made for another relying party")]
    RpId,
    /// Nobody was there.
    #[error("the user was not present")]
    UserPresent,
    /// The user was not verified, and has to be.
    #[error("the user was not verified")]
    UserVerified,
    /// A key that cannot be backed up, and is.
    #[error("backed up without being eligible for it")]
    BackupState,
    /// Not as eligible for backup as it was at enrolment. That never changes for one key.
    #[error("the eligibility for backup is not the one of the enrolment")]
    BackupEligibility,
    /// Another log, instruction, profile, template or device than the token has to be for.
    #[error("made for something else")]
    Scope,
    /// The key is not the enrolled one.
    #[error("the key is not the enrolled one")]
    Key,
    /// Another card.
    #[error("the card is not the enrolled one")]
    Card,
    /// The signature does not verify.
    #[error("the signature does not verify")]
    Signature,
    /// Made too long before the entry, or after it.
    #[error("made at another time than the entry's")]
    Time,
    /// The counter did not go up: it is an old one, or there are two of the authenticator.
    #[error("the counter did not go up")]
    Counter,
}

impl Reason {
    /// A short stable name.
    pub const fn code(self) -> &'static str {
        match self {
            Reason::Kind => "kind",
            Reason::Participant => "participant",
            Reason::Revoked => "revoked",
            Reason::Purpose => "purpose",
            Reason::DeviceKey => "device-key",
            Reason::TooLong => "too-long",
            Reason::Malformed => "malformed",
            Reason::Unsupported => "unsupported",
            Reason::Type => "type",
            Reason::Challenge => "challenge",
            Reason::Origin => "origin",
            Reason::CrossOrigin => "cross-origin",
            Reason::RpId => "rp-id",
            Reason::UserPresent => "user-present",
            Reason::UserVerified => "user-verified",
            Reason::BackupState => "backup-state",
            Reason::BackupEligibility => "backup-eligibility",
            Reason::Scope => "scope",
            Reason::Key => "key",
            Reason::Card => "card",
            Reason::Signature => "signature",
            Reason::Time => "time",
            Reason::Counter => "counter",
        }
    }
}
