//! Enrolling: the device deals the keys, the provider issues a credential, the first record activates it.
//!
//! ```text
//! invitation ──▶ deal, save ──▶ POST ──▶ credential: every claim compared, signature, its entry in the log ──▶ save
//!                                                                      activate: device and PIN, sequence 0 ◀──┘
//! ```
//!
//! What was dealt is saved before it is sent, and sent again unchanged after a crash: the provider answers the same again.

use scal3::credential::{Credential, IssuingKey};
use scal3::index_key::status_index_key;
use scal3::instruction::{CLASS_ACTIVATE, CLASS_ADD, Value};
use scal3::request::Enrolling as Request;
use scal3::{Change, Claims, Hash, Kind, Profile, StatusChange};
use std::time::Instant;
use threshold::{Enrolling, KemPublicKey, Pin, Profile1, Profile2, Profile3, Shares, deal};
use tlog::proof_file::ProofFile;
use zeroize::Zeroizing;

use crate::authorise::Authorised;
use crate::base64::Bytes;
use crate::device::{DeviceError, DeviceKey, PinPrf};
use crate::folder::Memory;
use crate::state::{Candidate, Dealt, Held, Label, Slot};
use crate::subscriber::{Error, Lie, Subscriber, TOLERANCE_MS, instruction, rng};
use crate::verify;
use crate::wire::{EnrolDevice, EnrolRequest, Exactly, Hex, Invitation};

/// What became of what was dealt.
pub(crate) enum Offered {
    /// The credential is in the log, says the provider.
    Issued,
    /// It is a successor, and its predecessor has not spoken for it.
    Awaits(Hash),
}

impl<D: DeviceKey + PinPrf, M: Memory> Subscriber<D, M> {
    /// Enrols this person and device, and activates the credential. Call it again after a crash, with the same invitation:
    /// it goes on where it was.
    ///
    /// # Errors
    /// [`Error`]. A wrong PIN when it goes on is [`Error::WrongPin`], and counts.
    pub async fn enrol(&mut self, invitation: &Invitation, profile: Profile, pin: &Pin) -> Result<Authorised, Error> {
        self.enrol_after(None, invitation, profile, pin).await
    }

    /// Enrols a new device of a person who has a credential on another one, `predecessor`.
    ///
    /// # Errors
    /// [`Error::AwaitsPredecessor`]: let the other device speak for this credential with [`Subscriber::vouch`], and call
    /// this again.
    pub async fn enrol_after(
        &mut self,
        predecessor: Option<Hash>,
        invitation: &Invitation,
        profile: Profile,
        pin: &Pin,
    ) -> Result<Authorised, Error> {
        if self.state.held.as_ref().is_some_and(|held| held.sequence > 0) {
            return Err(Error::Enrolled);
        }
        if self.state.held.is_none() {
            self.deal(invitation, profile, pin, predecessor).await?;
            if let Offered::Awaits(credential) = self.offer().await? {
                return Err(Error::AwaitsPredecessor { credential });
            }
            self.take_up(Slot::Held).await?;
        }
        self.activate(Slot::Held, pin).await
    }

    /// Speaks for a successor: another device's credential, or this one's under a new PIN.
    ///
    /// # Errors
    /// As [`Subscriber::authorise`].
    pub async fn vouch(&mut self, successor: &Hash, pin: &Pin) -> Result<Authorised, Error> {
        let document = instruction(CLASS_ADD, &[("credential", Value::Bytes(successor.0.to_vec()))])?;
        self.authorise(&document, pin).await
    }

    /// Makes the first record of a credential, or finds the one that it made before.
    pub(crate) async fn activate(&mut self, slot: Slot, pin: &Pin) -> Result<Authorised, Error> {
        if let Some(done) = self.reconcile_in(slot).await? {
            return Ok(done);
        }
        let held = self.state.slot(slot).ok_or(Error::NotEnrolled)?;
        let (issued_at, id) = (held.issued_at, held.id.0);
        // The log refuses a first record of a device that has not seen its credential there.
        self.covered(issued_at).await?;
        let fields = [("credential", Value::Bytes(id.0.to_vec()))];
        self.authorise_in(slot, &instruction(CLASS_ACTIVATE, &fields)?, pin, &|_| true, None).await
    }

    /// Deals a new joint key under this PIN, and saves what it dealt. What was dealt for the same invitation stays.
    pub(crate) async fn deal(
        &mut self,
        invitation: &Invitation,
        profile: Profile,
        pin: &Pin,
        predecessor: Option<Hash>,
    ) -> Result<(), Error> {
        if self.state.candidate.as_ref().is_some_and(|c| c.invitation.enrolment_id == invitation.enrolment_id) {
            return Ok(());
        }
        if invitation.origin != self.trust.origin {
            return Err(Error::OtherInvitation);
        }
        if invitation.expires_ms < self.now_ms() {
            return Err(Error::InvitationExpired);
        }
        if invitation.provider.0 != self.trust.provider {
            // The provider's key may have been replaced since the device came to trust it.
            match self.issuing_key(&invitation.provider.0).await {
                Err(Error::Lie(Lie::IssuingKey)) => return Err(Error::OtherInvitation),
                other => drop(other?),
            }
        }
        let registration = self.device.registration();
        if registration.is_some() != (profile == Profile::Passkey) {
            return Err(DeviceError::Profile.into());
        }
        let mut label_secret = Zeroizing::new([0; 32]);
        getrandom::fill(&mut label_secret[..])?;
        let kem_key = KemPublicKey::parse(&invitation.kem_key.0).map_err(|_| Error::OtherInvitation)?;
        let device_key = self.device.public();
        let context =
            Enrolling { origin: &self.trust.origin, enrolment_id: &invitation.enrolment_id.0, device_key: &device_key };
        let mask = self.device.mask(pin)?;
        let dealt = match profile {
            Profile::EcSdsa => deal::<Profile1>(&context, &mask, &kem_key, &mut rng()).map(|e| (e.joint_key, e.shares)),
            Profile::Passkey => {
                deal::<Profile3>(&context, &mask, &kem_key, &mut rng()).map(|e| (e.joint_key, e.shares))
            }
            Profile::Transcript => {
                deal::<Profile2>(&context, &mask, &kem_key, &mut rng()).map(|e| (e.joint_key, e.shares))
            }
        };
        let (joint_key, shares) = dealt.map_err(|_| Error::OtherInvitation)?;
        let dealt = Dealt {
            enrolment_id: invitation.enrolment_id,
            profile: profile.number(),
            joint_key: Exactly(joint_key),
            shares: Exactly(shares.to_bytes().try_into().map_err(|_| Error::DamagedEnrolment)?),
            kem_key: invitation.kem_key,
            label_secret: Label::new(label_secret),
        };
        let request = Request {
            origin: &self.trust.origin,
            enrolment_id: &invitation.enrolment_id.0,
            profile,
            joint_key: &joint_key,
            shares: &shares.hash(),
            device_key: &device_key,
            labels: &dealt.labels(),
        };
        let proof = Bytes(self.device.sign(&request.hash().0)?);
        let predecessor = predecessor.map(Hex);
        self.state.candidate = Some(Candidate {
            invitation: invitation.clone(),
            predecessor,
            dealt,
            proof,
            registration,
            id: None,
            credential: None,
        });
        self.save()
    }

    /// Sends what was dealt, and checks the credential that comes back, or the claims of the one that will.
    pub(crate) async fn offer(&mut self) -> Result<Offered, Error> {
        let candidate = self.state.candidate.clone().ok_or(Error::NotEnrolled)?;
        let Candidate { invitation, dealt, proof, registration, .. } = &candidate;
        let (blinded, sealed) = dealt.shares.0.split_at(32);
        let body = EnrolRequest {
            ticket: invitation.ticket.clone(),
            profile: dealt.profile,
            joint_key: dealt.joint_key,
            blinded: Exactly(blinded.try_into().map_err(|_| Error::DamagedEnrolment)?),
            sealed: Exactly(sealed.try_into().map_err(|_| Error::DamagedEnrolment)?),
            device: EnrolDevice {
                key: Exactly(self.device.public()),
                proof: proof.clone(),
                registration: registration.clone(),
            },
            label_secret: Exactly(*dealt.label_secret.expose()),
        };
        let answer = self.provider.enrol(&invitation.enrolment_id.0, &body).await?;
        let claims = match (&answer.credential, &answer.claims, &answer.issued) {
            (Some(credential), None, Some(_)) => {
                let key = self.issuing_key(&invitation.provider.0).await?;
                Credential::open(credential.as_ref(), &key).map_err(|_| Lie::Signature)?.claims().clone()
            }
            // Nobody has signed it, and nobody needs to: the id is that of the claims.
            (None, Some(claims), None) => Claims::parse(claims.as_ref()).map_err(|_| Lie::Credential)?,
            _ => return Err(Lie::Credential.into()),
        };
        self.check_claims(&candidate, &claims)?;
        let id = Hex(claims.id());
        let same = answer.id == id && candidate.id.is_none_or(|before| before == id);
        if !same || candidate.credential.is_some() && candidate.credential != answer.credential {
            return Err(Lie::Credential.into());
        }
        let issued = answer.credential.is_some();
        if let Some(candidate) = self.state.candidate.as_mut() {
            (candidate.id, candidate.credential) = (Some(id), answer.credential);
        }
        self.save()?;
        Ok(if issued { Offered::Issued } else { Offered::Awaits(id.0) })
    }

    /// Whether a credential says what the device sent.
    fn check_claims(&self, candidate: &Candidate, claims: &Claims) -> Result<(), Error> {
        let Candidate { invitation, dealt, predecessor, .. } = candidate;
        let shares = Shares::parse(&dealt.shares.0).ok_or(Error::DamagedEnrolment)?;
        let kem_key = dealt.kem_key().ok_or(Error::DamagedEnrolment)?;
        let now = self.now_ms();
        let checks = [
            ("origin", claims.origin == self.trust.origin),
            ("provider", claims.provider == invitation.provider.0),
            ("enrolment", claims.enrolment_id == invitation.enrolment_id.0),
            ("profile", claims.profile.number() == dealt.profile),
            ("joint key", claims.joint_key == dealt.joint_key.0),
            ("device key", claims.device_key == self.device.public()),
            ("passkey", claims.passkey.is_some() == candidate.registration.is_some()),
            ("shares", claims.shares == shares.hash()),
            ("KEM key", claims.kem_key_id == kem_key.id()),
            ("label", claims.labels == dealt.labels()),
            ("predecessor", claims.predecessor == predecessor.map(|id| id.0)),
            ("ordinal", (claims.ordinal == 0) == predecessor.is_none()),
            ("validity", claims.not_before_ms <= now + TOLERANCE_MS && claims.not_after_ms > now),
        ];
        match checks.iter().find(|(_, holds)| !holds) {
            None => Ok(()),
            Some((what, _)) => Err(Lie::Claims(what).into()),
        }
    }

    /// The issuing key of this provider: the one that the device trusts, or one that came from it by key entries of the log,
    /// each signed by the key before.
    async fn issuing_key(&mut self, provider: &Hash) -> Result<IssuingKey, Error> {
        let receipt = self.provider.genesis().await?.ok_or(Lie::IssuingKey)?;
        let keys = verify::issuing_keys(&receipt, &self.trust.policy, &self.trust.provider);
        let note = ProofFile::parse(receipt.proof.as_bytes()).map_err(|_| Lie::IssuingKey)?.checkpoint;
        self.on_history(&note).await?;
        let key = keys.ok_or(Lie::IssuingKey)?.into_iter().find(|key| key.provider() == *provider);
        Ok(key.ok_or(Lie::IssuingKey)?)
    }

    /// Finds the entry that issued the candidate in the log, and puts the credential into its slot.
    pub(crate) async fn take_up(&mut self, slot: Slot) -> Result<(), Error> {
        let candidate = self.state.candidate.clone().ok_or(Error::NotEnrolled)?;
        let credential = candidate.credential.ok_or(Error::NotEnrolled)?;
        let id = Credential::from_own_store(credential.as_ref()).map_err(|_| Error::DamagedEnrolment)?.id();
        let issued_at = self.issued_at(&candidate.dealt, &id, &credential).await?;
        let held = Held {
            id: Hex(id),
            credential,
            dealt: candidate.dealt,
            issued_at,
            sequence: 0,
            previous: Hex(id),
            pending: Vec::new(),
            tried: Vec::new(),
            revoked: false,
            events: 0,
            statuses: 1,
        };
        match slot {
            Slot::Held => self.state.held = Some(held),
            Slot::Next => self.state.next = Some(held),
        }
        self.state.candidate = None;
        self.save()
    }

    /// The index of the entry that issued this credential, from the log and no one's word.
    async fn issued_at(&mut self, dealt: &Dealt, id: &Hash, credential: &Bytes) -> Result<u64, Error> {
        let index_key = status_index_key(id, 0);
        let began = Instant::now();
        let receipt = loop {
            match self.fetch(dealt, &index_key).await? {
                Some(receipt) if !self.lacks_witnesses(&receipt) => break receipt,
                _ if began.elapsed() > self.provider.patience().publish => return Err(Lie::Issued.into()),
                _ => self.provider.pause().await,
            }
        };
        let other = self.judge_other(&index_key, &receipt)?;
        let status = StatusChange::from_body(other.opening.body).map_err(|_| Lie::Issued)?;
        let issued = other.entry.kind == Kind::Status
            && status.credential == *id
            && status.change == Change::Issued(credential.0.clone());
        if !issued {
            return Err(Lie::Issued.into());
        }
        self.on_history(&other.note).await?;
        Ok(other.index)
    }
}
