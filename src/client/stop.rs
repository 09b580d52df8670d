//! Stopping one's own credential, with the device alone: a person who fears for the PIN must not need it.
//!
//! What the server answers is not believed: the device waits until the log shows the status entry.

use scal3::index_key::status_index_key;
use scal3::request::{Stop, stop_hash};
use scal3::{Change, Hash, Kind, StatusChange};
use std::time::Instant;

use crate::base64::Bytes;
use crate::device::{DeviceKey, PinPrf};
use crate::folder::Memory;
use crate::provider::ProviderError;
use crate::receipt::Receipt;
use crate::state::{Dealt, Held};
use crate::subscriber::{Error, Lie, Subscriber};
use crate::wire::{ByDevice, StopRequest};

/// A change of a credential's status that the log shows.
#[derive(Debug, Clone)]
pub struct Status {
    /// How many changes came before.
    pub counter: u64,
    /// Its place in the log.
    pub index: u64,
    /// The time of its round.
    pub time_ms: u64,
    /// What changed.
    pub change: StatusChange,
    /// Its receipt.
    pub receipt: Receipt,
}

impl<D: DeviceKey + PinPrf, M: Memory> Subscriber<D, M> {
    /// The credential may never act again. Gives the entry that says so.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn revoke(&mut self, reason: &str) -> Result<Status, Error> {
        let held = self.state.held.clone().ok_or(Error::NotEnrolled)?;
        let status = self.stop(&held, Stop::Revoke, reason).await?;
        if let Some(held) = self.state.held.as_mut() {
            held.revoked = true;
        }
        self.save()?;
        Ok(status)
    }

    /// The credential may not act until the provider lets it again. Gives the entry that says so.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn suspend(&mut self, reason: &str) -> Result<Status, Error> {
        let held = self.state.held.clone().ok_or(Error::NotEnrolled)?;
        self.stop(&held, Stop::Suspend, reason).await
    }

    /// Every change of the status of the credential in force, in order and verified: the last one is how it stands.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn standing(&mut self) -> Result<Vec<Status>, Error> {
        let held = self.state.held.clone().ok_or(Error::NotEnrolled)?;
        self.statuses(&held.dealt, &held.id.0).await
    }

    pub(crate) async fn stop(&mut self, held: &Held, what: Stop, reason: &str) -> Result<Status, Error> {
        let time_ms = self.now_ms();
        let hash = stop_hash(&self.trust.origin, &held.id.0, what, time_ms);
        let device = ByDevice { time_ms, signature: Bytes(self.device.sign(&hash.0)?) };
        let body = StopRequest { reason: reason.to_owned(), device: Some(device) };
        let refused = match self.provider.stop(&held.id.0, what, &body).await {
            Ok(_) => None,
            // It may have been done before, or just now.
            Err(error @ ProviderError::Refused(_)) => Some(error),
            Err(error) => return Err(error.into()),
        };
        let began = Instant::now();
        loop {
            let last = self.statuses(&held.dealt, &held.id.0).await?.pop();
            if let Some(status) = last.filter(|status| stops(what, &status.change.change)) {
                return Ok(status);
            }
            if let Some(refused) = refused {
                return Err(refused.into());
            }
            if began.elapsed() > self.provider.patience().publish {
                return Err(Lie::NotLogged.into());
            }
            self.provider.pause().await;
        }
    }

    /// Every change of a credential's status that a trusted head covers, in order: each verified, none missing before the
    /// last.
    pub(crate) async fn statuses(&mut self, dealt: &Dealt, id: &Hash) -> Result<Vec<Status>, Error> {
        let mut statuses = Vec::new();
        for counter in 0.. {
            let index_key = status_index_key(id, counter);
            let Some(receipt) = self.fetch(dealt, &index_key).await? else { break };
            if self.lacks_witnesses(&receipt) {
                break;
            }
            let other = self.judge_other(&index_key, &receipt)?;
            let change = StatusChange::from_body(other.opening.body).map_err(|_| Lie::NotOurs)?;
            if other.entry.kind != Kind::Status || change.credential != *id {
                return Err(Lie::NotOurs.into());
            }
            self.on_history(&other.note).await?;
            statuses.push(Status { counter, index: other.index, time_ms: other.entry.time_ms, change, receipt });
        }
        Ok(statuses)
    }
}

/// Whether a credential that changed so last is stopped as it was asked.
fn stops(what: Stop, change: &Change) -> bool {
    match what {
        Stop::Suspend => matches!(change, Change::Suspended(_) | Change::Revoked(_)),
        Stop::Revoke => matches!(change, Change::Revoked(_)),
    }
}
