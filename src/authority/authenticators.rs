//! Authenticators: what a person has besides the two factors, enrolled on the person's own instruction.
//!
//! ```text
//! device ── a registration, or a key and its proof ──► judged ──► claims, and their id
//! device ── instruction `authenticator.add` with that id ──► a record                            (intent.rs, authorise.rs)
//! device ── the same once more ──► status with the claims: added, and what browsers find it by is kept
//! ```
//! Nothing is remembered between the steps, and each may be asked again. Whoever sends a registration gains nothing by it: it
//! is the person's record that names the id, and the log adds no other. So what is asked of an authenticator need not be new
//! each time either: a registration that somebody kept is that of the same key, which the log takes once.

use std::net::IpAddr;

use scal3::authenticator::{About, Bio, Claims, Nfc, Purpose};
use scal3::authenticators::{Authenticators, EnrolError};
use scal3::cbor;
use scal3::cose::Key;
use scal3::event::Detail;
use scal3::state::CredentialState;
use scal3::{Change, Hash, tagged};
use serde_json::Value;

use super::kept::KeptError;
use super::registration::{Registered, RegistrationError};
use super::strangers::{Name, TooMany};
use super::{Authority, KeptReadError};
use crate::history::ReadError;
use crate::round::about::REGISTERED;
use crate::submission::{About as Subject, AppendError, Appended, Said, Submission, Until};

/// What a person brings.
pub enum Offer {
    /// What `navigator.credentials.create()` answered to [`Authority::registration_options`].
    WebAuthn(Value),
    /// A card, with its signature over [`proof_hash`].
    Nfc(Nfc, Vec<u8>),
    /// A device that matches people, with its signature over [`proof_hash`].
    Bio(Bio, Vec<u8>),
}

/// What came of it.
pub struct Offered {
    /// What the log says of the authenticator, or will say.
    pub claims: Claims,
    /// Its status, where the person's record had asked for it.
    pub added: Option<Appended>,
}

/// Why an authenticator is not enrolled.
#[derive(Debug, thiserror::Error)]
pub enum OfferError {
    /// No such credential.
    #[error("this log has not issued the credential")]
    UnknownCredential,
    /// This server is no relying party.
    #[error("this server takes no passkeys")]
    NoPasskeys,
    /// The registration does not hold.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    /// The key did not sign.
    #[error("the authenticator's signature over its own claims does not verify")]
    Proof,
    /// Too many that do not hold.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// The log did not take it.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The state can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What is kept can't be opened.
    #[error(transparent)]
    Kept(#[from] KeptError),
}

impl From<KeptReadError> for OfferError {
    fn from(error: KeptReadError) -> OfferError {
        match error {
            KeptReadError::Read(error) => OfferError::Read(error),
            KeptReadError::Kept(error) => OfferError::Kept(error),
        }
    }
}

/// What a card or a device signs to show that its key is there: `H("solelog/authenticator-proof/v1", [origin, id])`. The
/// signature is over these 32 bytes as a message.
pub fn proof_hash(origin: &str, authenticator: &Hash) -> Hash {
    bound("solelog/authenticator-proof/v1", origin, authenticator)
}

/// What a browser's authenticator is asked when it is registered: `H("solelog/authenticator-registration/v1", [origin,
/// subject])`.
fn challenge(origin: &str, subject: &Hash) -> Hash {
    bound("solelog/authenticator-registration/v1", origin, subject)
}

fn bound(tag: &str, origin: &str, to: &Hash) -> Hash {
    tagged(tag, &cbor::encode(&cbor::Value::Array(vec![cbor::text(origin), cbor::bytes(&to.0)])))
}

impl Authority {
    /// The options for `navigator.credentials.create()` with which a person registers another passkey.
    pub fn registration_options(&self, credential: &Hash) -> Result<Value, OfferError> {
        let engine = &self.inner.engine;
        let state = engine.credential(credential)?.ok_or(OfferError::UnknownCredential)?;
        let party = self.relying_party.as_ref().ok_or(OfferError::NoPasskeys)?;
        let subject = state.credential().claims().subject;
        Ok(party.options(&challenge(engine.standing().origin(), &subject), &subject)?)
    }

    /// Takes what a person brings. It is added where the person's own record has asked for it, and not before.
    pub async fn offer(
        &self,
        credential: Hash,
        offer: Offer,
        purpose: Purpose,
        source: IpAddr,
    ) -> Result<Offered, OfferError> {
        let state = self.inner.engine.credential(&credential)?.ok_or(OfferError::UnknownCredential)?;
        let (authority, judged) = (self.clone(), state.clone());
        let judged = self.blocking(move || authority.judge_offer(&judged, offer, purpose)).await;
        if matches!(judged, Err(OfferError::Registration(_) | OfferError::Proof)) {
            self.inner.strangers.refuse(&[Name::source(source)], self.now())?;
        }
        let (claims, found_by) = judged?;
        let change = Change::AuthenticatorAdded(claims.to_bytes());
        let added = self.inner.engine.append(Submission::Status { credential, change }, Until::Integrated).await;
        let added = match added {
            Ok(added) => added,
            Err(AppendError::Authenticator(EnrolError::NotSpokenFor)) => return Ok(Offered { claims, added: None }),
            Err(error) => return Err(error.into()),
        };
        self.keep_name(&state, &claims, &found_by).await?;
        Ok(Offered { claims, added: Some(added) })
    }

    /// What the log will say of what a person brings, and what browsers find it by.
    fn judge_offer(
        &self,
        state: &CredentialState,
        offer: Offer,
        purpose: Purpose,
    ) -> Result<(Claims, Vec<u8>), OfferError> {
        let participant = state.credential().claims().subject;
        let origin = self.inner.engine.standing().origin();
        let claims = |about, attestation| Claims { participant, purpose, attestation, about };
        let proven = |claims: Claims, key: Key, proof: &[u8]| {
            let hash = proof_hash(origin, &claims.id());
            key.verify(proof, &hash.0).map(|()| (claims, Vec::new())).map_err(|_| OfferError::Proof)
        };
        // Nothing is known of where a card or such a device comes from.
        let unknown = || "none".to_owned();
        match offer {
            Offer::WebAuthn(answer) => {
                let party = self.relying_party.as_ref().ok_or(OfferError::NoPasskeys)?;
                let Registered { credential_id, about, attestation } =
                    party.register(&challenge(origin, &participant), &participant, &answer)?;
                Ok((claims(About::WebAuthn(about), attestation), credential_id))
            }
            Offer::Nfc(card, proof) => {
                let key = Key::Es256(card.key);
                proven(claims(About::Nfc(card), unknown()), key, &proof)
            }
            Offer::Bio(device, proof) => {
                let key = device.key;
                proven(claims(About::Bio(device), unknown()), key, &proof)
            }
        }
    }

    /// Writes down by which name browsers find a passkey, once.
    async fn keep_name(&self, state: &CredentialState, claims: &Claims, found_by: &[u8]) -> Result<(), OfferError> {
        let id = claims.id();
        if found_by.is_empty() || self.inner.engine.registered(&id)?.is_some() {
            return Ok(());
        }
        let Some(kept) = self.kept(state).await? else { return Ok(()) };
        let detail = Detail::Bytes([&id.0[..], found_by].concat());
        let said = Said::Event { name: REGISTERED.to_owned(), detail };
        let credential = state.credential();
        let about = Subject { credential: credential.id(), stream: kept.stream(credential.claims()), said };
        self.inner.engine.about(about, Until::Sequenced).await?;
        Ok(())
    }

    /// A person's authenticators, revoked ones too.
    pub fn authenticators_of(&self, credential: &Hash) -> Result<Authenticators, OfferError> {
        let engine = &self.inner.engine;
        let state = engine.credential(credential)?.ok_or(OfferError::UnknownCredential)?;
        let subject = state.credential().claims().subject;
        Ok(engine.authenticators(&subject)?.unwrap_or_else(|| Authenticators::of(subject)))
    }

    /// Revokes an authenticator by the provider's word: it is lost, or its person can't sign any more.
    pub async fn revoke_authenticator(
        &self,
        credential: Hash,
        authenticator: Hash,
        reason: String,
    ) -> Result<Appended, OfferError> {
        let change = Change::AuthenticatorRevoked(authenticator, reason);
        Ok(self.inner.engine.append(Submission::Status { credential, change }, Until::Integrated).await?)
    }
}
