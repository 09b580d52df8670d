//! What stands for everybody or for one person beyond single credentials: the policy in force, and who has which
//! authenticators.
//!
//! ```text
//! record policy.change          waits a day for the policy entry with that document, under the policy it was made under
//! record authenticator.add      waits a day for the status with the claims
//! record authenticator.revoke   takes effect by itself
//! ```
//! Where an opening is gone, what depends on it is in doubt, and never in order.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use tlog::Hash;

use crate::authenticator::Claims;
use crate::authenticators::{Authenticators, EnrolError};
use crate::credential::Credential;
use crate::policies::{self, Policies};
use crate::step::{PolicyRefusal, Wrong};
use crate::verify::{Authorized, Word};

/// Policy and authenticators at a place in the log.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    pub(super) policies: Policies,
    authenticators: BTreeMap<Hash, Authenticators>,
    /// Every key of an authenticator there ever was.
    authenticator_keys: BTreeSet<Vec<u8>>,
    /// Every device key.
    device_keys: BTreeSet<[u8; 33]>,
    /// Participants of whom a status can't be read, so that nobody knows which authenticators they have.
    doubtful: BTreeSet<Hash>,
}

impl Standing {
    pub(super) fn new(policy: &[u8]) -> Standing {
        Standing {
            policies: Policies::new(policy),
            authenticators: BTreeMap::new(),
            authenticator_keys: BTreeSet::new(),
            device_keys: BTreeSet::new(),
            doubtful: BTreeSet::new(),
        }
    }

    pub(super) fn authenticators(&self, participant: &Hash) -> Option<&Authenticators> {
        self.authenticators.get(participant)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Authenticators> {
        self.authenticators.values()
    }

    pub(super) fn doubtful(&self) -> &BTreeSet<Hash> {
        &self.doubtful
    }

    /// What was stored; the rest follows from authenticators and credentials, which are put back one by one.
    pub(super) fn restored(policies: Policies, doubtful: BTreeSet<Hash>) -> Standing {
        Standing {
            policies,
            authenticators: BTreeMap::new(),
            authenticator_keys: BTreeSet::new(),
            device_keys: BTreeSet::new(),
            doubtful,
        }
    }

    /// Puts back those of one participant.
    pub(super) fn restore(&mut self, own: Authenticators) {
        self.authenticator_keys.extend(own.all().map(|(_, held)| held.claims().about.key_bytes().to_vec()));
        self.authenticators.insert(*own.participant(), own);
    }

    pub(super) fn doubt(&mut self, participant: Hash) {
        self.doubtful.insert(participant);
    }

    pub(super) fn is_doubtful(&self, participant: &Hash) -> bool {
        self.doubtful.contains(participant)
    }

    /// A key is for one thing: the device of a credential is no authenticator.
    pub(super) fn check_device(&self, credential: &Credential) -> Result<(), EnrolError> {
        let key = &credential.claims().device_key;
        if self.authenticator_keys.contains(&key[..]) { Err(EnrolError::Known) } else { Ok(()) }
    }

    pub(super) fn take_device(&mut self, credential: &Credential) {
        self.device_keys.insert(credential.claims().device_key);
    }

    /// What a record says that holds beyond itself, and the counters that its evidence showed.
    pub(super) fn take_record(&mut self, authorized: &Authorized, participant: Hash) {
        if let Some(own) = self.authenticators.get_mut(&participant) {
            own.record(authorized);
        } else if authorized.speaks_of_authenticators() {
            self.own(participant).record(authorized);
        }
        if let Some(Word::Policy(hash)) = authorized.word() {
            self.policies.speak(*hash, authorized.time_ms());
        }
    }

    fn own(&mut self, participant: Hash) -> &mut Authenticators {
        self.authenticators.entry(participant).or_insert_with(|| Authenticators::of(participant))
    }

    /// An authenticator of this participant. `unread`: whether the record that asked for it may be one that can't be read.
    /// Gives whether it was.
    pub(super) fn add(
        &mut self,
        participant: Hash,
        claims: &[u8],
        index: u64,
        time_ms: u64,
        unread: bool,
    ) -> Result<bool, Wrong> {
        let claims = Claims::parse(claims)?;
        let key = claims.about.key_bytes().to_vec();
        let is_device = <[u8; 33]>::try_from(key.as_slice()).is_ok_and(|key| self.device_keys.contains(&key));
        let known = is_device || self.authenticator_keys.contains(&key);
        let own = self.own(participant);
        let in_doubt = match own.add(claims.clone(), index, time_ms, known) {
            Err(EnrolError::NotSpokenFor) if unread => {
                own.add_in_doubt(claims, index, known)?;
                true
            }
            added => {
                added?;
                false
            }
        };
        self.authenticator_keys.insert(key);
        Ok(in_doubt)
    }

    pub(super) fn revoke(&mut self, participant: Hash, id: &Hash, index: u64) -> Result<(), EnrolError> {
        self.own(participant).revoke(id, index)
    }

    /// Another policy comes into force. Gives whether the record that spoke for it can't be read.
    pub(super) fn change_policy(&mut self, body: &[u8], index: u64, time_ms: u64, unread: bool) -> Result<bool, Wrong> {
        let document = policies::document_of(body)?;
        match self.policies.change(&document, index, time_ms) {
            Err(PolicyRefusal::NotAuthorised) if unread => {
                self.policies.change_in_doubt(&document, index)?;
                Ok(true)
            }
            changed => Ok(changed.map(|()| false)?),
        }
    }
}
