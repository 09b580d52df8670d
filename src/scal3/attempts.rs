//! Attempts: how often the second factor of a credential was wrong, as the log itself says.
//!
//! ```text
//! attempt.started   challenge     before the provider uses its share: the challenge is spent, the attempt is counted
//! attempt.failed    challenge     the second factor was wrong: it stays counted
//! attempt.refunded  challenge     the answer arrived damaged, or the fault was the provider's: it is given back
//! attempt.passed    challenge     the second factor was right, and yet no record came of it
//! ```
//! They are events on stream 1 of the credential ([`crate::event`]), so the count is a fold over entries like all other
//! state, and a monitor sees a provider that counts wrongly. A record that answers the challenge is its own verdict.
//!
//! What has started and has no verdict stays counted. So an attempt is never free, wherever a machine stops.

use tlog::Hash;

use crate::event::{Detail, Event, StreamPlace};

/// What is said of an attempt. Each names the challenge that it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// The challenge is spent and the attempt counted.
    Started,
    /// The second factor was wrong.
    Failed,
    /// It counts no more: nothing was learnt about the second factor.
    Refunded,
    /// The second factor was right.
    Passed,
}

/// How many attempts there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attempts {
    /// Since the second factor was last right.
    pub in_a_row: u64,
    /// Ever, without those that were right.
    pub in_all: u64,
    /// The challenge of the one that has no verdict yet.
    pub open: Option<Hash>,
}

/// A verdict on an attempt that is not the one that waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no attempt under this challenge waits for a verdict")]
pub struct NoSuchAttempt;

impl Attempt {
    const ALL: [Attempt; 4] = [Attempt::Started, Attempt::Failed, Attempt::Refunded, Attempt::Passed];

    /// The name of its event.
    pub const fn name(self) -> &'static str {
        match self {
            Attempt::Started => "attempt.started",
            Attempt::Failed => "attempt.failed",
            Attempt::Refunded => "attempt.refunded",
            Attempt::Passed => "attempt.passed",
        }
    }

    /// Its event.
    pub fn event(self, challenge: &Hash, place: StreamPlace) -> Event {
        Event { name: self.name().into(), stream: Some(place), detail: Detail::Bytes(challenge.0.to_vec()) }
    }

    /// What an event says of an attempt, and under which challenge; `None` when it is about something else.
    pub fn of(event: &Event) -> Option<(Attempt, Hash)> {
        let attempt = Attempt::ALL.into_iter().find(|attempt| attempt.name() == event.name)?;
        let Detail::Bytes(challenge) = &event.detail else {
            return None;
        };
        Some((attempt, Hash(challenge.as_slice().try_into().ok()?)))
    }
}

impl Attempts {
    /// Takes in what is said.
    ///
    /// # Errors
    /// [`NoSuchAttempt`]; nothing is changed then.
    pub fn take(&mut self, attempt: Attempt, challenge: &Hash) -> Result<(), NoSuchAttempt> {
        if attempt == Attempt::Started {
            self.in_a_row = self.in_a_row.saturating_add(1);
            self.in_all = self.in_all.saturating_add(1);
            self.open = Some(*challenge);
            return Ok(());
        }
        if self.open != Some(*challenge) {
            return Err(NoSuchAttempt);
        }
        self.open = None;
        match attempt {
            Attempt::Started | Attempt::Failed => {}
            Attempt::Refunded => {
                self.in_a_row = self.in_a_row.saturating_sub(1);
                self.in_all = self.in_all.saturating_sub(1);
            }
            Attempt::Passed => self.right(),
        }
        Ok(())
    }

    /// A record of this credential was made under that challenge: both factors were right.
    pub fn record(&mut self, challenge: &Hash) {
        if self.open == Some(*challenge) {
            self.open = None;
            self.right();
        } else {
            // Made without this provider's counting, by one that keeps its own. The factor was right all the same.
            self.in_a_row = 0;
        }
    }

    fn right(&mut self) {
        self.in_a_row = 0;
        self.in_all = self.in_all.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Hash = Hash([1; 32]);
    const B: Hash = Hash([2; 32]);

    fn after(said: &[(Attempt, Hash)]) -> Attempts {
        let mut attempts = Attempts::default();
        for (attempt, challenge) in said {
            attempts.take(*attempt, challenge).expect("in order");
        }
        attempts
    }

    fn counts(attempts: Attempts) -> (u64, u64) {
        (attempts.in_a_row, attempts.in_all)
    }

    #[test]
    fn an_attempt_without_a_verdict_stays_counted() {
        assert_eq!(counts(after(&[(Attempt::Started, A)])), (1, 1));
        assert_eq!(counts(after(&[(Attempt::Started, A), (Attempt::Started, B)])), (2, 2));
        assert_eq!(counts(after(&[(Attempt::Started, A), (Attempt::Started, B), (Attempt::Failed, B)])), (2, 2));
    }

    #[test]
    fn what_is_right_ends_the_row_and_is_no_failure() {
        let two = [(Attempt::Started, A), (Attempt::Failed, A), (Attempt::Started, B)];
        assert_eq!(counts(after(&[&two[..], &[(Attempt::Passed, B)]].concat())), (0, 1));
        assert_eq!(counts(after(&[&two[..], &[(Attempt::Refunded, B)]].concat())), (1, 1));
        let mut by_record = after(&two);
        by_record.record(&B);
        assert_eq!((counts(by_record), by_record.open), ((0, 1), None));
        let mut by_another = after(&two);
        by_another.record(&A);
        assert_eq!((counts(by_another), by_another.open), ((0, 2), Some(B)), "that one still waits");
    }

    #[test]
    fn a_verdict_is_given_once_and_on_the_attempt_that_waits() {
        for verdict in [Attempt::Failed, Attempt::Refunded, Attempt::Passed] {
            let mut attempts = after(&[(Attempt::Started, A), (Attempt::Started, B)]);
            assert_eq!(attempts.take(verdict, &A), Err(NoSuchAttempt), "it is too late for the first");
            assert_eq!(attempts.take(verdict, &B), Ok(()));
            assert_eq!(attempts.take(verdict, &B), Err(NoSuchAttempt));
        }
        assert_eq!(Attempts::default().take(Attempt::Refunded, &A), Err(NoSuchAttempt));
    }

    #[test]
    fn an_event_is_about_an_attempt_or_not() {
        let place = StreamPlace { credential: A, counter: 0, previous: A };
        for attempt in Attempt::ALL {
            let event = attempt.event(&B, place.clone());
            assert_eq!(Attempt::of(&event), Some((attempt, B)));
            assert_eq!(Attempt::of(&Event { detail: Detail::Nothing, ..event.clone() }), None);
            assert_eq!(Attempt::of(&Event { detail: Detail::Bytes(alloc::vec![1; 31]), ..event.clone() }), None);
            assert_eq!(Attempt::of(&Event { name: "enrolment.kept".into(), ..event }), None);
        }
    }
}
