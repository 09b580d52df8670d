//! Changing the PIN: a successor under the new one, for which the old one speaks.
//!
//! ```text
//! deal under the new PIN, save ──▶ offer ──▶ 202 ──▶ old PIN: credential.add ──▶ offer ──▶ 201, in the log, save as next
//!                                                                        new PIN: activate next ◀──┘
//!                                        next becomes held, held becomes past, one save ◀──┘ ──▶ revoke what is past
//! ```
//!
//! Every arrow can be the last before a crash. Each step is found out to be done, or is done again, so calling it again with
//! the same invitation finishes the change. The old PIN works until the new one has shown that it does.

use scal3::Change;
use scal3::request::Stop;
use threshold::Pin;

use crate::device::{DeviceKey, PinPrf};
use crate::enrol::Offered;
use crate::folder::Memory;
use crate::state::Slot;
use crate::subscriber::{Error, Lie, Subscriber};
use crate::wire::Invitation;

/// What the log's openings say about why a predecessor was revoked.
const REASON: &str = "superseded";

impl<D: DeviceKey + PinPrf, M: Memory> Subscriber<D, M> {
    /// Changes the PIN. `invitation` names this credential as predecessor. Call it again after a crash, with the same
    /// invitation: it goes on where it was.
    ///
    /// # Errors
    /// [`Error`]. Until it returns `Ok`, the old PIN may still be the one in force: [`Subscriber::is_changing_pin`].
    pub async fn change_pin(&mut self, invitation: &Invitation, old: &Pin, new: &Pin) -> Result<(), Error> {
        let held = self.state.held.as_ref().ok_or(Error::NotEnrolled)?;
        if held.dealt.enrolment_id == invitation.enrolment_id {
            // The change itself was done.
            return self.revoke_past().await;
        }
        if held.sequence == 0 {
            return Err(Error::NotActive);
        }
        let (id, profile) = (held.id.0, held.dealt.profile().ok_or(Error::DamagedEnrolment)?);
        if self.state.next.as_ref().is_some_and(|next| next.dealt.enrolment_id != invitation.enrolment_id) {
            // A change that was given up. Its credential is in the log and must not be left to act.
            self.state.past.extend(self.state.next.take());
        }
        if self.state.next.is_none() {
            self.deal(invitation, profile, new, Some(id)).await?;
            self.succeed(old).await?;
            self.take_up(Slot::Next).await?;
        }
        if self.state.next.as_ref().is_some_and(|next| next.sequence == 0) {
            self.activate(Slot::Next, new).await?;
        }
        let next = self.state.next.take();
        self.state.past.extend(std::mem::replace(&mut self.state.held, next));
        self.save()?;
        self.revoke_past().await
    }

    /// Whether a change of the PIN was begun and not finished.
    #[must_use]
    pub fn is_changing_pin(&self) -> bool {
        let begun = self.state.candidate.as_ref().is_some_and(|candidate| candidate.predecessor.is_some());
        self.state.held.is_some() && (begun || self.state.next.is_some())
            || self.state.past.iter().any(|past| !past.revoked)
    }

    /// Gets the candidate issued: the credential in force speaks for it, unless it has.
    async fn succeed(&mut self, old: &Pin) -> Result<(), Error> {
        // An answer whose fate is unknown may be the very one that spoke for it.
        self.reconcile().await?;
        let Offered::Awaits(successor) = self.offer().await? else { return Ok(()) };
        self.vouch(&successor, old).await?;
        match self.offer().await? {
            Offered::Issued => Ok(()),
            Offered::Awaits(_) => Err(Lie::Issued.into()),
        }
    }

    /// Revokes every credential before this one that the log does not show as revoked.
    async fn revoke_past(&mut self) -> Result<(), Error> {
        for at in 0..self.state.past.len() {
            let Some(past) = self.state.past.get(at).filter(|past| !past.revoked).cloned() else { continue };
            let status = self.stop(&past, Stop::Revoke, REASON).await?;
            debug_assert!(matches!(status.change.change, Change::Revoked(_)));
            if let Some(past) = self.state.past.get_mut(at) {
                past.revoked = true;
            }
            self.save()?;
        }
        Ok(())
    }
}
