//! Enrolment: a device deals the shares of a joint key, and gets a credential for it.
//!
//! ```text
//! provider's backend ── begin ──► enrolment id, key to seal to, ticket ──► device
//! device: deals, blinds its own share, seals the provider's, signs with its key
//! device ── complete ──► ticket ► device's signature ► the share, opened and checked whole ► credential ► logged
//! ```
//!
//! A device key that lives behind a browser (profile 3) is registered first: `navigator.credentials.create()` with the
//! options that came with the invitation. Its answer comes along, and is judged by the provider's rules.
//!
//! Nothing is remembered between the two steps, and the second may be asked again: the same ticket from the same device
//! gives the same credential, issued once. A successor waits until its predecessor has authorised it: then the same
//! request is simply sent again. The issuing key signs when nothing is left to wait for, and what it signs leaves here once
//! the log has it: so whoever holds a signed credential finds it in the log.

use scal3::credential::{Credential, Passkey};
use scal3::index_key::{LabelSecret, Stream, StreamKey};
use scal3::point::Point;
use scal3::request;
use scal3::state::Status;
use scal3::{Claims, Hash, Profile as RecordProfile};
use serde_json::Value;
use threshold::{Enrolling, Enrolment, OpenError, Profile, Profile1, Profile2, Profile3, ProviderShare, Shares};

use super::kept::{Kept, KeptError};
use super::registration::{self, Registered, RegistrationError};
use super::ticket::{Ticket, TicketError};
use super::{Authority, random};
use crate::history::ReadError;
use crate::keys::KeyError;
use crate::submission::{AppendError, Appended, Submission, Until};

/// How far a credential reaches back: clocks differ.
const BEFORE_MS: u64 = 300_000;

/// An enrolment that has begun. Not printable: whoever has the ticket enrols.
pub struct Begun {
    /// Its id, 32 random bytes.
    pub enrolment_id: Hash,
    /// The public key to seal the provider's share to.
    pub kem_key: [u8; 33],
    /// What the device shows to finish it.
    pub ticket: Vec<u8>,
    /// Until when it is good.
    pub expires_ms: u64,
    /// Where passkeys are taken: the options for `navigator.credentials.create()`.
    pub registration: Option<Value>,
}

/// What the device brings.
pub struct Dealt {
    /// The ticket.
    pub ticket: Vec<u8>,
    /// The form of its records.
    pub profile: RecordProfile,
    /// The joint key.
    pub joint_key: [u8; 33],
    /// Its blinded share, and the provider's sealed one.
    pub shares: Shares,
    /// The key of its secure hardware.
    pub device_key: [u8; 33],
    /// That key's signature over [`request::Enrolling::hash`], as [`request::verify`] takes it.
    pub proof: Vec<u8>,
    /// In profile 3: what `navigator.credentials.create()` answered.
    pub registration: Option<Value>,
    /// From which the labels derive; the device drew it.
    pub label_secret: LabelSecret,
}

/// What came of it.
pub enum Enrolled {
    /// The credential stands in the log.
    Issued {
        /// The credential.
        credential: Box<Credential>,
        /// Its entry.
        appended: Appended,
    },
    /// The predecessor has not authorised it yet, by a record of class `credential.add` that names it.
    Waits {
        /// What the credential will say. Nobody has signed it.
        claims: Box<Claims>,
    },
}

/// What a device brought, found to hold.
struct Held {
    ticket: Ticket,
    claims: Claims,
    /// What is kept, sealed.
    kept: Vec<u8>,
    /// The key of the provider's stream.
    stream: StreamKey,
}

/// Why nobody is enrolled.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The ticket is not taken.
    #[error(transparent)]
    Ticket(#[from] TicketError),
    /// The credential to succeed is not in this log.
    #[error("this log has not issued the credential that is to be succeeded")]
    Predecessor,
    /// The device key is no compressed point.
    #[error("the device key is not a compressed point of P-256")]
    DeviceKey,
    /// Profile 3, and this server is no relying party.
    #[error("this server takes no passkeys")]
    NoPasskeys,
    /// Profile 3 needs a registration, and no other profile has one.
    #[error("a registration goes with profile 3, and with no other")]
    Unregistered,
    /// What was registered does not hold.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    /// The registration is of another key than the device's.
    #[error("the registration is of another key")]
    OtherKey,
    /// The device did not sign what it brought.
    #[error("the device's signature over the enrolment does not verify")]
    Proof,
    /// The shares do not fit.
    #[error(transparent)]
    Shares(#[from] OpenError),
    /// The log did not take the credential.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The state can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The provider's keys failed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// What is kept could not be sealed.
    #[error(transparent)]
    Kept(#[from] KeptError),
    /// The credential that was just signed does not verify: the issuing key is not one of this log's.
    #[error("the log does not take credentials of the provider's issuing key: {0}")]
    IssuingKey(AppendError),
}

impl Authority {
    /// Begins an enrolment: for a new person, or for a successor of this credential. Where that one can't speak for it any
    /// more, its device lost or its PIN forgotten, the successor `recovers`: it is issued at once, and may do nothing
    /// until the provider has spoken for it ([`Authority::recover`]).
    pub async fn begin(&self, predecessor: Option<Hash>, recovers: bool) -> Result<Begun, EnrolError> {
        let authority = self.clone();
        self.blocking(move || {
            let inner = &authority.inner;
            let before = match predecessor {
                Some(id) => Some(inner.engine.credential(&id)?.ok_or(EnrolError::Predecessor)?),
                None => None,
            };
            let claims = before.as_ref().map(|state| state.credential().claims());
            let issued_ms = authority.now();
            let ticket = Ticket {
                epoch: inner.keys.epoch(),
                issued_ms,
                not_after_ms: issued_ms.saturating_add(inner.settings.credential_ms),
                provider: inner.keys.issuing_key().provider(),
                issuer: inner.settings.issuer.clone(),
                subject: claims.map_or_else(|| Hash(random()), |claims| claims.subject),
                predecessor,
                ordinal: claims.map_or(0, |claims| claims.ordinal.saturating_add(1)),
                recovers: recovers && predecessor.is_some(),
            };
            let enrolment_id = Hash(random());
            let bytes = ticket.to_bytes(&*inner.keys, &enrolment_id)?;
            let registration = authority.relying_party.as_ref().map(|party| {
                let challenge = registration::challenge(inner.engine.standing().origin(), &enrolment_id, &bytes);
                party.options(&challenge, &ticket.subject)
            });
            Ok(Begun {
                enrolment_id,
                kem_key: *inner.keys.kem_public(ticket.epoch, &enrolment_id)?.as_bytes(),
                ticket: bytes,
                expires_ms: ticket.expires_ms(),
                registration: registration.transpose()?,
            })
        })
        .await
    }

    /// Finishes an enrolment. Checks everything that the device brought before anything is issued.
    pub async fn complete(&self, enrolment_id: Hash, dealt: Dealt) -> Result<Enrolled, EnrolError> {
        let authority = self.clone();
        let held = self
            .blocking(move || match dealt.profile {
                RecordProfile::EcSdsa => authority.check::<Profile1>(enrolment_id, dealt),
                RecordProfile::Transcript => authority.check::<Profile2>(enrolment_id, dealt),
                RecordProfile::Passkey => authority.check::<Profile3>(enrolment_id, dealt),
            })
            .await?;
        let Held { ticket, claims, kept, stream } = held;
        let (engine, id) = (&self.inner.engine, claims.id());
        if let Some(state) = engine.credential(&id)? {
            // It was issued before, and the answer was lost. It is given again, also when the ticket has expired since.
            let credential = Box::new(state.credential().clone());
            let again = Submission::Credential(credential.clone());
            let appended = engine.append(again, Until::Integrated).await?;
            return Ok(Enrolled::Issued { credential, appended });
        }
        if ticket.is_expired(self.now()) {
            return Err(TicketError::Expired.into());
        }
        if let Some(before) = claims.predecessor.filter(|_| !ticket.recovers) {
            let before = engine.credential(&before)?.ok_or(EnrolError::Predecessor)?;
            if !before.speaks_for(&id, self.now()) || before.status() != Status::Active {
                return Ok(Enrolled::Waits { claims: Box::new(claims) });
            }
        }
        let authority = self.clone();
        let credential = Box::new(self.blocking(move || authority.sign(&claims)).await?);
        let submission =
            Submission::Enrolment { credential: credential.clone(), kept, stream, recovers: ticket.recovers };
        let appended = engine.append(submission, Until::Integrated).await?;
        Ok(Enrolled::Issued { credential, appended })
    }

    /// The credential. Whoever calls this appends it, and shows it to nobody before.
    fn sign(&self, claims: &Claims) -> Result<Credential, EnrolError> {
        let keys = &self.inner.keys;
        if claims.provider != keys.issuing_key().provider() {
            return Err(TicketError::Rotated.into());
        }
        let signature = keys.sign_credential(&claims.to_be_signed())?;
        self.inner.engine.read_credential(&claims.with_signature(&signature)).map_err(EnrolError::IssuingKey)
    }

    /// What is known of a device key that lives behind a browser; nothing of any other.
    fn registered(
        &self,
        enrolment_id: &Hash,
        ticket: &Ticket,
        dealt: &Dealt,
    ) -> Result<Option<Registered>, EnrolError> {
        let answer = match (dealt.profile, &dealt.registration) {
            (RecordProfile::Passkey, Some(answer)) => answer,
            (RecordProfile::EcSdsa | RecordProfile::Transcript, None) => return Ok(None),
            _ => return Err(EnrolError::Unregistered),
        };
        let party = self.relying_party.as_ref().ok_or(EnrolError::NoPasskeys)?;
        let challenge = registration::challenge(self.inner.engine.standing().origin(), enrolment_id, &dealt.ticket);
        let registered = party.register(&challenge, &ticket.subject, answer)?;
        if registered.about.key.as_bytes() != dealt.device_key {
            return Err(EnrolError::OtherKey);
        }
        Ok(Some(registered))
    }

    /// Everything that can be said of what a device brought, without the log's word.
    fn check<P: Profile>(&self, enrolment_id: Hash, dealt: Dealt) -> Result<Held, EnrolError> {
        let (keys, engine) = (&*self.inner.keys, &self.inner.engine);
        let origin = engine.standing().origin().to_owned();
        let ticket = Ticket::open(&dealt.ticket, keys, &enrolment_id)?;
        let device = Point::from_bytes(&dealt.device_key).map_err(|_| EnrolError::DeviceKey)?;
        let registered = self.registered(&enrolment_id, &ticket, &dealt)?;
        let attestation = registered.as_ref().map_or_else(|| "none".to_owned(), |it| it.attestation.clone());
        let passkey = registered.map(|it| Passkey {
            rp_id: it.about.rp_id,
            origins: it.about.origins,
            backup_eligible: it.about.backup_eligible,
        });
        let label = |stream| dealt.label_secret.stream_key(&enrolment_id, stream).label();
        let labels = [label(Stream::Own), label(Stream::Provider)];
        let shares = dealt.shares.hash();
        let proven = request::Enrolling {
            origin: &origin,
            enrolment_id: &enrolment_id,
            profile: dealt.profile,
            joint_key: &dealt.joint_key,
            shares: &shares,
            device_key: &dealt.device_key,
            labels: &labels,
        };
        request::verify(&proven.hash(), &device, passkey.as_ref(), &dealt.proof).map_err(|_| EnrolError::Proof)?;

        let kem_key = keys.kem_public(ticket.epoch, &enrolment_id)?;
        let context = Enrolling { origin: &origin, enrolment_id: &enrolment_id, device_key: &dealt.device_key };
        let enrolment: Enrolment<P> = Enrolment::from_parts(dealt.joint_key, dealt.shares.clone(), kem_key.id());
        let agreed = match keys.kem_agree(ticket.epoch, &enrolment_id, dealt.shares.encapsulated()) {
            Ok(agreed) => agreed,
            Err(KeyError::NotAPoint) => return Err(OpenError::Unopened.into()),
            Err(error) => return Err(error.into()),
        };
        ProviderShare::open(&context, &enrolment, &kem_key, &agreed)?;

        let claims = Claims {
            origin,
            provider: ticket.provider,
            issuer: ticket.issuer.clone(),
            enrolment_id,
            subject: ticket.subject,
            profile: dealt.profile,
            joint_key: dealt.joint_key,
            device_key: dealt.device_key,
            shares,
            passkey,
            kem_key_id: kem_key.id(),
            labels,
            attestation,
            not_before_ms: ticket.issued_ms.saturating_sub(BEFORE_MS),
            not_after_ms: ticket.not_after_ms,
            predecessor: ticket.predecessor,
            ordinal: ticket.ordinal,
        };
        let kept = Kept {
            epoch: ticket.epoch,
            profile: dealt.profile,
            joint_key: dealt.joint_key,
            shares: dealt.shares,
            label_secret: dealt.label_secret,
        };
        let sealed = kept.seal(keys, &enrolment_id, &claims.id(), random())?;
        let stream = kept.stream(&claims);
        Ok(Held { ticket, claims, kept: sealed, stream })
    }
}
