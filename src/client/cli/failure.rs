//! Why a command was not carried out, and what to do about it.

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

use client::device::SoftDeviceError;
use client::folder::MemoryError;
use client::head::HeadError;
use client::provider::{AddressError, Problem, ProblemKind};
use client::{Error, Lie};
use serde_json::json;

use super::plain::plain;

/// What an exit code means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Refused, or failed.
    Failed = 1,
    /// Wrong usage, or files that can't be read.
    Usage = 2,
    /// The PIN is wrong.
    Pin = 4,
    /// Not known yet.
    Unknown = 5,
}

/// Why a command was not carried out.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    /// A short stable name of it, for programs.
    code: String,
    error: String,
    next: Option<String>,
    attempts_left: Option<u64>,
    index: Option<u64>,
}

impl Failure {
    fn new(exit: Exit, code: &str, error: impl Display) -> Failure {
        // Some of it may be another's words, such as a server's.
        let error = plain(&error.to_string());
        Failure { exit, code: code.to_owned(), error, next: None, attempts_left: None, index: None }
    }

    /// Something is wrong with what was typed.
    pub fn usage(error: impl Display) -> Failure {
        Failure::new(Exit::Usage, "usage", error)
    }

    /// Something is wrong with a file.
    pub fn files(error: impl Display) -> Failure {
        Failure::new(Exit::Usage, "files", error)
    }

    /// Something was refused, or does not hold.
    pub fn failed(code: &str, error: impl Display) -> Failure {
        Failure::new(Exit::Failed, code, error)
    }

    /// The person said no.
    pub fn declined() -> Failure {
        Failure::new(Exit::Failed, "declined", "nothing was signed: the answer was not yes")
    }

    /// The same, with what to do about it.
    #[must_use]
    pub fn next(self, next: impl Display) -> Failure {
        Failure { next: Some(plain(&next.to_string())), ..self }
    }

    /// Says it, and gives the exit code.
    pub fn report(&self, json: bool) -> ExitCode {
        let exit = self.exit as u8;
        let _ = if json {
            let value = json!({
                "error": self.error, "code": self.code, "next": self.next, "attempts_left": self.attempts_left,
                "index": self.index, "exit": exit,
            });
            writeln!(std::io::stdout().lock(), "{value:#}")
        } else {
            let next = self.next.as_deref().map_or(String::new(), |next| format!("\n  do: {next}"));
            writeln!(std::io::stderr().lock(), "sole: {}{next}", self.error)
        };
        ExitCode::from(exit)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let failed = |code| Failure::new(Exit::Failed, code, &error);
        match &error {
            Error::Memory(_) | Error::OtherMemory(_) => Failure::new(Exit::Usage, "files", &error),
            Error::DamagedEnrolment => {
                Failure::new(Exit::Usage, "files", &error).next("copy the folder away before anything else")
            }
            Error::Device(_) => failed("device"),
            Error::Provider(_) => {
                failed("provider").next("see that the provider's address is reachable, then do the same again: nothing is done twice")
            }
            Error::Refused(problem) => refused(problem),
            Error::WrongPin { attempts_left } => {
                let next = match attempts_left {
                    Some(0) => "the credential is suspended: ask the provider, who must see that it is you",
                    _ => "try again with the right PIN; each wrong one is counted and stands in the log for you to see",
                };
                Failure { attempts_left: *attempts_left, ..Failure::new(Exit::Pin, "wrong-pin", &error).next(next) }
            }
            Error::Unsettled => Failure::new(
                Exit::Unknown,
                "unsettled",
                "the answer left this device, and the log does not show it (yet)",
            )
            .next("give the same command again: it finds out what became of it, and nothing is done twice"),
            Error::PlaceTaken => failed("place-taken").next("authorise it again"),
            Error::TooManyUnsettled { .. } => failed("too-many-unsettled"),
            Error::Head(head) => of_head(head),
            Error::Lie(Lie::Clock { .. }) => failed("clock").next("set this machine's clock, and if it is right, tell the provider"),
            Error::Lie(_) => failed("lie").next(
                "keep this folder as it is and tell the provider, or whoever oversees them; nothing was authorised because of it",
            ),
            Error::Receipt(_) => failed("receipt").next("keep this folder as it is, and run: sole watch"),
            Error::NotEnrolled => failed("not-enrolled").next("sole enrol --url URL --policy TRUST --invitation FILE"),
            Error::NotActive => failed("not-active").next("finish enrolling: give the command `sole enrol` again, with the same invitation"),
            Error::AwaitsPredecessor { credential } => {
                failed("awaits-predecessor").next(format!("on the other device: sole vouch {}; then the same command here again", credential.to_hex()))
            }
            Error::Enrolled => failed("enrolled").next("sole status; a second device has a folder of its own (--home)"),
            Error::OtherInvitation => failed("other-invitation").next("see that the trust file and the invitation are of the same provider"),
            Error::InvitationExpired => failed("invitation-expired"),
            Error::Instruction(_) => Failure::new(Exit::Usage, "instruction", &error),
            Error::EvidenceNeeded => failed("evidence-needed"),
            Error::Random(_) => failed("random"),
        }
    }
}

fn of_head(error: &HeadError) -> Failure {
    match error {
        HeadError::NotYet { .. } => Failure::new(Exit::Unknown, "no-head-yet", error)
            .next("give the same command again: it goes on where it was, and nothing is done twice"),
        HeadError::Fork { .. } | HeadError::Inconsistent { .. } => Failure::new(Exit::Failed, "two-histories", error)
            .next("keep that file and publish it: it is signed by the log, and proves that it shows two histories"),
        HeadError::Behind { .. } => Failure::new(Exit::Failed, "log-went-back", error)
            .next("wait a little; if it stays so, keep this folder as it is and tell the provider"),
        HeadError::Note(_) | HeadError::Policy(_) => Failure::new(Exit::Failed, "head", error)
            .next("see that the trust file is the provider's newest: its keys and witnesses may have changed"),
    }
}

/// What the server says no with.
fn refused(problem: &Problem) -> Failure {
    let failure = Failure::new(Exit::Failed, problem.kind.slug(), problem);
    let next = match &problem.kind {
        ProblemKind::CredentialInactive => Some(
            "sole status says how it stands; what is revoked stays so; what is suspended the provider can resume, who must see that it is you",
        ),
        ProblemKind::TicketRefused => Some("ask the provider for another invitation"),
        ProblemKind::Blocked => Some(
            "the provider's rules, or how your credential stands (sole status), do not allow it; an entry in the log says so",
        ),
        _ => None,
    };
    let wait = problem.retry_after_s.map(|seconds| format!("try again in {seconds} s"));
    let next = next.map(str::to_owned).or(wait).or_else(|| problem.next.clone());
    let failure = Failure { attempts_left: problem.attempts_left, index: problem.index, ..failure };
    match next {
        Some(next) => failure.next(next),
        None => failure,
    }
}

impl From<SoftDeviceError> for Failure {
    fn from(error: SoftDeviceError) -> Failure {
        let failure = Failure::new(Exit::Usage, "device-keys", &error);
        match error {
            SoftDeviceError::Sealed => failure.next("give the passphrase that the device was made with"),
            SoftDeviceError::Missing(_) => failure.next("sole enrol makes a device; --home says in which folder"),
            _ => failure,
        }
    }
}

impl From<MemoryError> for Failure {
    fn from(error: MemoryError) -> Failure {
        Failure::files(error)
    }
}

impl From<AddressError> for Failure {
    fn from(error: AddressError) -> Failure {
        Failure::usage(error)
    }
}
