//! Authenticators, at their place: a person's, kept beside the credentials that speak for them. The rules are `scal3`'s.
//!
//! ```text
//! record authenticator.add ──► waits a day ──► status 6 with the claims: added
//! record authenticator.revoke, status 7: revoked                     evidence in a record: its counters are kept
//! ```
//! Each key is known once: as an authenticator's, or as the device keys of credentials.

use scal3::authenticator::Claims;
use scal3::authenticators::{Authenticators, EnrolError};
use scal3::credential::Credential;
use scal3::state::CredentialState;
use scal3::status::Change;
use scal3::verify::{Authorized, Signed};
use tlog::Hash;
use tlog::tree::LeafIndex;

use super::{Draft, No, OrStop as _};
use crate::ledger::{Key, Lookup, key_name, write_index};
use crate::submission::AppendError;

/// What becomes of a status about an authenticator.
pub(super) enum Enrolled {
    /// The person's authenticators after it, and the key that is new among them.
    Changed(Authenticators, Option<Hash>),
    /// It is in the log, at this index.
    Before(u64),
}

impl Draft<'_> {
    /// The authenticators that evidence in a record is judged by. Without evidence nobody looks at them.
    pub(super) fn authenticators_for(&self, signed: &Signed, subject: &Hash) -> Result<Authenticators, No> {
        let own = if signed.evidence().is_empty() { None } else { self.authenticators(subject).or_stop()? };
        Ok(own.unwrap_or_else(|| Authenticators::of(*subject)))
    }

    /// Takes in what a record shows and says of authenticators.
    pub(super) fn take_record(&mut self, authorized: &Authorized, state: &CredentialState) -> Result<(), No> {
        let speaks = authorized.speaks_of_authenticators();
        if !speaks && authorized.judgement().verified().next().is_none() {
            return Ok(());
        }
        let subject = state.credential().claims().subject;
        let before = self.authenticators(&subject).or_stop()?;
        let mut own = before.clone().unwrap_or_else(|| Authenticators::of(subject));
        own.record(authorized);
        if speaks || before.as_ref() != Some(&own) {
            self.set_authenticators(&own, state)?;
        }
        Ok(())
    }

    /// What a status changes about authenticators; none when it is about something else.
    pub(super) fn enrolled(&self, state: &CredentialState, change: &Change) -> Result<Option<Enrolled>, No> {
        let subject = state.credential().claims().subject;
        let own = |id: &Hash| -> Result<(Authenticators, Option<u64>, Option<u64>), No> {
            let own = self.authenticators(&subject).or_stop()?.unwrap_or_else(|| Authenticators::of(subject));
            let held = own.get(id).map(|held| (held.added_at(), held.revoked_at()));
            Ok((own, held.map(|(added_at, _)| added_at), held.and_then(|(_, revoked_at)| revoked_at)))
        };
        let index = self.next()?.get();
        match change {
            Change::AuthenticatorAdded(claims) => {
                let claims = Claims::parse(claims).map_err(AppendError::from)?;
                let (mut own, added_at, revoked_at) = own(&claims.id())?;
                if let (Some(at), None) = (added_at, revoked_at) {
                    return Ok(Some(Enrolled::Before(at)));
                }
                let key = key_name(claims.about.key_bytes());
                let known = self.is_known(&key)?;
                own.add(claims, index, self.time_ms, known).map_err(AppendError::from)?;
                Ok(Some(Enrolled::Changed(own, Some(key))))
            }
            Change::AuthenticatorRevoked(id, _) => {
                let (mut own, _, revoked_at) = own(id)?;
                if let Some(at) = revoked_at {
                    return Ok(Some(Enrolled::Before(at)));
                }
                own.revoke(id, index).map_err(AppendError::from)?;
                Ok(Some(Enrolled::Changed(own, None)))
            }
            _ => Ok(None),
        }
    }

    /// Writes down what a status has changed.
    pub(super) fn set_enrolled(
        &mut self,
        own: &Authenticators,
        key: Option<Hash>,
        state: &CredentialState,
        index: LeafIndex,
    ) -> Result<(), No> {
        if let Some(key) = key {
            self.set(Key::AuthenticatorKey(key), write_index(index));
        }
        self.set_authenticators(own, state)
    }

    /// A key is for one thing: the device of a credential is no authenticator.
    pub(super) fn check_device(&self, credential: &Credential) -> Result<(), No> {
        let key = Key::AuthenticatorKey(key_name(&credential.claims().device_key));
        match self.get(&key).or_stop()? {
            Some(_) => Err(AppendError::from(EnrolError::Known).into()),
            None => Ok(()),
        }
    }

    pub(super) fn set_device(&mut self, credential: &Credential) {
        self.set(Key::Device(key_name(&credential.claims().device_key)), vec![1]);
    }

    fn is_known(&self, key: &Hash) -> Result<bool, No> {
        let known = |key: &Key| Ok::<_, No>(self.get(key).or_stop()?.is_some());
        Ok(known(&Key::AuthenticatorKey(*key))? || known(&Key::Device(*key))?)
    }

    /// A person's authenticators; and what is left of them, where something was erased that may have been about them.
    fn set_authenticators(&mut self, own: &Authenticators, state: &CredentialState) -> Result<(), No> {
        let subject = *own.participant();
        let left = Key::AuthenticatorsResidue(subject);
        // Of a credential with a residue the log alone tells too little to repeat what its entries change.
        if self.get(&left).or_stop()?.is_some() || self.has_residue(&state.credential().id()).or_stop()? {
            self.set(left, own.to_bytes());
        }
        self.set(Key::Authenticators(subject), own.to_bytes());
        Ok(())
    }

    /// Keeps a person's authenticators for a view that is made again: what is erased may have been about them. Then it may be
    /// what any of their credentials acted on, so all of those are kept as well.
    pub(super) fn leave_authenticators(&mut self, subject: &Hash) -> Result<(), No> {
        let Some(own) = self.authenticators(subject).or_stop()? else { return Ok(()) };
        self.set(Key::AuthenticatorsResidue(*subject), own.to_bytes());
        for id in self.credentials_of(subject).or_stop()? {
            if let Some(state) = self.credential(&id).or_stop()? {
                self.leave_residue(&state);
            }
        }
        Ok(())
    }
}
