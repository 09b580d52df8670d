//! The life of a credential after its issue: suspended, resumed, revoked, recovered. Each is an entry, and counts from its
//! place in the log on.
//!
//! Power is taken away easily and given back carefully. The device alone may stop its own credential: its owner may have
//! forgotten the PIN, and nobody gains by it. Only the provider lets a credential act again, and that too is logged, with
//! its reason.

use std::net::IpAddr;

use scal3::request::{Stop, stop_hash};
use scal3::state::CredentialState;
use scal3::{Change, Hash};

use super::Authority;
use super::intent::IntentError;
use crate::history::ReadError;
use crate::submission::{Appended, Submission, Until};

/// A device that stops its own credential.
#[derive(Debug, Clone)]
pub struct ByDevice {
    /// When it signed.
    pub time_ms: u64,
    /// Its signature over [`stop_hash`], as [`scal3::request::verify`] takes it.
    pub signature: Vec<u8>,
    /// Where it calls from.
    pub source: IpAddr,
}

impl Authority {
    /// Stops a credential, by the provider's word or its own device's.
    pub async fn stop(
        &self,
        credential: Hash,
        what: Stop,
        reason: String,
        by: Option<ByDevice>,
    ) -> Result<Appended, IntentError> {
        if let Some(ByDevice { time_ms, signature, source }) = by {
            let state = self.inner.engine.credential(&credential)?.ok_or(IntentError::UnknownCredential)?;
            let hash = stop_hash(self.inner.engine.standing().origin(), &credential, what, time_ms);
            self.is_the_device(&state, &hash, signature, source).await?;
            self.is_now(time_ms)?;
        }
        let change = match what {
            Stop::Suspend => Change::Suspended(reason),
            Stop::Revoke => Change::Revoked(reason),
        };
        self.change(credential, change).await
    }

    /// Lets a suspended credential act again. Its failed attempts in a row are forgotten with that, those ever are not.
    pub async fn resume(&self, credential: Hash, reason: String) -> Result<Appended, IntentError> {
        self.change(credential, Change::Resumed(reason)).await
    }

    /// Speaks for a successor whose predecessor can't: its device is lost, or its PIN forgotten.
    pub async fn recover(&self, credential: Hash, reason: String) -> Result<Appended, IntentError> {
        self.change(credential, Change::Recovered(reason)).await
    }

    async fn change(&self, credential: Hash, change: Change) -> Result<Appended, IntentError> {
        Ok(self.inner.engine.append(Submission::Status { credential, change }, Until::Integrated).await?)
    }

    /// All credentials of a person, the oldest first.
    pub fn of_subject(&self, subject: &Hash) -> Result<Vec<CredentialState>, ReadError> {
        self.inner.engine.credentials_of(subject)
    }
}
