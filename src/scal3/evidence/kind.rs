//! The kinds of evidence, by their names in openings and policies.

/// A kind of evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A WebAuthn assertion, as its three parts.
    WebAuthn,
    /// A WebAuthn assertion, as one varsig.
    Varsig,
    /// The token of a device that has matched a person.
    Bio,
    /// The envelope of a P-256 card.
    Nfc,
    /// A one-time password, of which the server says that it was right.
    Otp,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 5] = [Kind::WebAuthn, Kind::Varsig, Kind::Bio, Kind::Nfc, Kind::Otp];

    /// The kind of this name. One that is not known can't be verified, and so never counts.
    pub fn new(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::WebAuthn => "webauthn",
            Kind::Varsig => "varsig",
            Kind::Bio => "bio",
            Kind::Nfc => "nfc",
            Kind::Otp => "otp",
        }
    }

    /// Whether it proves nothing on its own: somebody says that it was verified.
    pub const fn is_vouched(self) -> bool {
        matches!(self, Kind::Otp)
    }
}
