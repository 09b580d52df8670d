//! The problems of enrolling and authorising. What a stranger could learn from a difference is not in them.

use super::*;
use crate::authority::authenticators::OfferError;
use crate::authority::authorise::AuthoriseError;
use crate::authority::challenges::{ChallengeError, FullError};
use crate::authority::delegations::DelegationError;
use crate::authority::enrolment::EnrolError;
use crate::authority::intent::IntentError;
use crate::authority::registration::RegistrationError;
use crate::authority::strangers::TooMany;
use crate::authority::ticket::TicketError;
use crate::execution::UnpublishedError;

pub(super) fn enrol(error: &EnrolError) -> Problem {
    match error {
        EnrolError::Ticket(error @ (TicketError::NotOurs | TicketError::Expired | TicketError::Rotated)) => {
            Problem::of(&TICKET_REFUSED).detail(error)
        }
        EnrolError::Ticket(TicketError::Key(cause)) | EnrolError::Key(cause) => Problem::hidden(&INTERNAL, cause),
        EnrolError::Predecessor => Problem::of(&NO_SUCH_CREDENTIAL).detail(error),
        EnrolError::Registration(RegistrationError::Internal) => Problem::hidden(&INTERNAL, error),
        EnrolError::DeviceKey
        | EnrolError::NoPasskeys
        | EnrolError::Unregistered
        | EnrolError::Registration(_)
        | EnrolError::OtherKey
        | EnrolError::Proof
        | EnrolError::Shares(_) => Problem::of(&ENROLMENT_REFUSED).detail(error),
        EnrolError::Append(error) => append(error),
        EnrolError::Read(error) => read(error),
        EnrolError::Kept(cause) => Problem::hidden(&INTERNAL, cause),
        EnrolError::IssuingKey(_) => Problem::hidden(&INTERNAL, error),
    }
}

pub(super) fn intent(error: &IntentError) -> Problem {
    match error {
        IntentError::UnknownCredential => Problem::of(&NO_SUCH_CREDENTIAL),
        IntentError::Instruction(error) => Problem::of(&PARAMETER).detail(error),
        IntentError::NotTheDevice => Problem::of(&NOT_THE_DEVICE),
        IntentError::TooMany(error) => too_many(error),
        IntentError::Clock { time_ms, now_ms } => {
            Problem { expected: Some(*now_ms), found: Some(*time_ms), ..Problem::of(&DEVICE_CLOCK).detail(error) }
        }
        IntentError::Blocked { outcome, .. } => {
            let index = outcome.as_ref().map(|outcome| outcome.index.get());
            Problem { index, ..Problem::of(&BLOCKED).detail(error) }
        }
        IntentError::Full(error @ FullError::Credential { .. }) => {
            Problem::of(&CHALLENGES_FULL).detail(error).retry(10)
        }
        IntentError::Full(FullError::All) => Problem::of(&BUSY).retry(1),
        IntentError::NotKept => Problem::of(&NOT_KEPT),
        IntentError::Kept(cause) => Problem::hidden(&INTERNAL, cause),
        IntentError::Append(error) => append(error),
        IntentError::Read(error) => read(error),
    }
}

pub(super) fn offer(error: &OfferError) -> Problem {
    match error {
        OfferError::UnknownCredential => Problem::of(&NO_SUCH_CREDENTIAL),
        OfferError::Registration(RegistrationError::Internal) => Problem::hidden(&INTERNAL, error),
        OfferError::NoPasskeys | OfferError::Registration(_) | OfferError::Proof => {
            Problem::of(&AUTHENTICATOR_REFUSED).detail(error)
        }
        OfferError::TooMany(error) => too_many(error),
        OfferError::Append(error) => append(error),
        OfferError::Read(error) => read(error),
        OfferError::Kept(cause) => Problem::hidden(&INTERNAL, cause),
    }
}

pub(super) fn delegation(error: &DelegationError) -> Problem {
    match error {
        DelegationError::Form(_) | DelegationError::Onward => Problem::of(&PARAMETER).detail(error),
        DelegationError::Append(error) => append(error),
        DelegationError::Read(error) | DelegationError::Kept(KeptReadError::Read(error)) => read(error),
        DelegationError::Key(_) | DelegationError::Kept(KeptReadError::Kept(_)) => Problem::hidden(&INTERNAL, error),
    }
}

pub(super) fn authorise(error: &AuthoriseError) -> Problem {
    let refused = |code| Problem { code: Some(code), ..Problem::of(&PASS_REFUSED).detail(error) };
    match error {
        AuthoriseError::Challenge(error) => {
            let kind = match error {
                ChallengeError::Unknown => &CHALLENGE_UNKNOWN,
                ChallengeError::Spent => &CHALLENGE_SPENT,
                ChallengeError::Expired => &CHALLENGE_EXPIRED,
            };
            Problem::of(kind)
        }
        AuthoriseError::TooMany(error) => too_many(error),
        AuthoriseError::Metadata(_) => refused("metadata"),
        AuthoriseError::Elsewhere(part) => refused(part),
        AuthoriseError::Says(MetadataRefusal::Sequence { expected, found }) => {
            Problem { expected: Some(*expected), found: Some(*found), ..refused("sequence") }
        }
        AuthoriseError::Says(refusal) => refused(refusal.code()),
        AuthoriseError::Evidence(refusal) => Problem {
            check: Some("evidence"),
            code: Some(refusal.code()),
            ..Problem::of(&EVIDENCE_REFUSED).detail(error)
        },
        AuthoriseError::Vouched => {
            Problem { check: Some("evidence"), code: Some("vouched"), ..Problem::of(&EVIDENCE_REFUSED).detail(error) }
        }
        AuthoriseError::Pass(_) => refused("pass"),
        AuthoriseError::Public(_) => refused("signature"),
        AuthoriseError::Damaged(_) => Problem::of(&PASS_DAMAGED),
        AuthoriseError::SecondFactor { attempts_left } => {
            Problem { attempts_left: Some(*attempts_left), ..Problem::of(&SECOND_FACTOR) }
        }
        AuthoriseError::Append(error) => append(error),
        AuthoriseError::Provider(cause) => Problem::hidden(&INTERNAL, cause),
        AuthoriseError::Read(error) => read(error),
    }
}

impl Error {
    /// A word for a metric: what became of a step of enrolling or authorising.
    pub(in crate::http) fn word(&self) -> &'static str {
        match self {
            Error::Enrol(EnrolError::Ticket(_)) => "ticket",
            Error::Enrol(
                EnrolError::DeviceKey
                | EnrolError::NoPasskeys
                | EnrolError::Unregistered
                | EnrolError::Registration(_)
                | EnrolError::OtherKey
                | EnrolError::Proof
                | EnrolError::Shares(_),
            ) => "refused",
            Error::Intent(IntentError::NotTheDevice | IntentError::TooMany(_) | IntentError::Clock { .. }) => {
                "stranger"
            }
            Error::Intent(IntentError::UnknownCredential) => "unknown",
            Error::Intent(IntentError::Blocked { .. }) => "blocked",
            Error::Intent(IntentError::Full(_)) => "full",
            Error::Offer(OfferError::TooMany(_)) => "stranger",
            Error::Offer(OfferError::UnknownCredential) => "unknown",
            Error::Offer(OfferError::NoPasskeys | OfferError::Registration(_) | OfferError::Proof) => "refused",
            Error::Offer(OfferError::Append(_)) => "not-appended",
            Error::Delegation(DelegationError::Form(_) | DelegationError::Onward) => "refused",
            Error::Authorise(error) => match error {
                AuthoriseError::Challenge(_) => "challenge",
                AuthoriseError::TooMany(_) => "stranger",
                AuthoriseError::Metadata(_)
                | AuthoriseError::Says(_)
                | AuthoriseError::Elsewhere(_)
                | AuthoriseError::Evidence(_)
                | AuthoriseError::Vouched
                | AuthoriseError::Pass(_)
                | AuthoriseError::Public(_) => "refused",
                AuthoriseError::Damaged(_) => "damaged",
                AuthoriseError::SecondFactor { .. } => "second-factor",
                AuthoriseError::Append(AppendError::Inactive(_) | AppendError::OutOfAttempts) => "inactive",
                AuthoriseError::Append(_) => "not-appended",
                AuthoriseError::Provider(_) => "provider",
                AuthoriseError::Read(_) => "failed",
            },
            Error::Execute(error) => match error {
                ExecuteError::Unpublished(UnpublishedError::NotPublished) => "not-published",
                ExecuteError::Unpublished(UnpublishedError::NoInstruction | UnpublishedError::Erased)
                | ExecuteError::Class
                | ExecuteError::NotKept
                | ExecuteError::OutcomeErased(_) => "refused",
                ExecuteError::NotNow(_) => "not-now",
                ExecuteError::Append(_) => "not-appended",
                ExecuteError::Unpublished(_) | ExecuteError::Read(_) | ExecuteError::Kept(_) => "failed",
            },
            _ => "failed",
        }
    }
}

pub(super) fn execute(error: &ExecuteError) -> Problem {
    match error {
        ExecuteError::Unpublished(unpublished) => match unpublished {
            UnpublishedError::NotPublished => Problem::of(&NOT_PUBLISHED).retry(2),
            UnpublishedError::NoInstruction | UnpublishedError::Erased => Problem::of(&NOT_EXECUTABLE).detail(error),
            UnpublishedError::Record(_) | UnpublishedError::Credential(_) => Problem::hidden(&INTERNAL, error),
            UnpublishedError::Read(error) => read(error),
        },
        ExecuteError::Class | ExecuteError::NotKept => Problem::of(&NOT_EXECUTABLE).detail(error),
        ExecuteError::OutcomeErased(index) => {
            Problem { index: Some(index.get()), ..Problem::of(&NOT_EXECUTABLE).detail(error) }
        }
        ExecuteError::NotNow(_) => Problem::hidden(&BUSY, error).retry(5),
        ExecuteError::Append(error) => append(error),
        ExecuteError::Read(error) | ExecuteError::Kept(KeptReadError::Read(error)) => read(error),
        ExecuteError::Kept(KeptReadError::Kept(cause)) => Problem::hidden(&INTERNAL, cause),
    }
}

fn too_many(error: &TooMany) -> Problem {
    Problem::of(&RATE_LIMITED).retry(error.retry_after_s)
}
