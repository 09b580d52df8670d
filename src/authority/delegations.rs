//! Delegations: a UCAN that a passkey has signed is judged by what this log knows of the passkey, and said again in the form
//! that others read.
//!
//! ```text
//! app ── delegation to this server, signed by a passkey ──► enrolled? active? asked so, here, its user verified? ──► event
//! app ◄── the same power, delegated on by this server's plain key, naming the CID of the first ───────────────────────┘
//! ```
//! Others can't verify what a browser signs. What they get is this server's word: the issuer of the second is the server,
//! and the first stands in it by its name. It says no more than the first, and not for longer.
//!
//! The server's key derives from the provider's master secret, so it is nowhere written down; a new master secret makes
//! another key, and another name.

use ed25519_dalek::{Signer as _, SigningKey};
use scal3::authenticator::{About as Kind, Claims, Purpose};
use scal3::cose::Key;
use scal3::event::Detail;
use scal3::state::Status;
use scal3::ucan::header::Header;
use scal3::ucan::{Delegation, Payload, UcanError, to_be_signed};
use scal3::{Hash, cbor, did};

use super::{Authority, KeptReadError, random};
use crate::history::ReadError;
use crate::keys::KeyError;
use crate::submission::{About, AppendError, Appended, Said, Until};

/// The event that says that a delegation held. Its detail is the CID.
pub const VERIFIED: &str = "ucan.verified";

/// The event that says that one did not, also where it was another's attempt in the person's name. Its detail is the CID.
pub const REFUSED: &str = "ucan.refused";

/// What came of a delegation that is well-formed.
pub struct Judged {
    /// The delegation.
    pub delegation: Delegation,
    /// Whose authenticator signed it, as far as one of this log did.
    pub signer: Option<Claims>,
    /// Why it does not hold, if it does not.
    pub refused: Option<Refusal>,
    /// The same power from this server's key, to whom it was asked for.
    pub restated: Option<Delegation>,
    /// This server's name.
    pub server: String,
    /// The entry that says so; none for a signer whom nobody here knows.
    pub logged: Option<Appended>,
}

/// Why a well-formed delegation does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No person of this log has enrolled the key that signed.
    #[error("nobody here has enrolled the issuer's key")]
    Unknown,
    /// The authenticator was revoked, or its person has no credential that is active.
    #[error("the authenticator, or its person, is not active")]
    Inactive,
    /// The authenticator is for something else.
    #[error("the authenticator was not enrolled to sign")]
    Purpose,
    /// Signature or time.
    #[error(transparent)]
    Ucan(#[from] UcanError),
    /// It was to be said again, and is not given to this server.
    #[error("the delegation's audience is not this server, which can't delegate on what it was not given")]
    Audience,
    /// It was to be said again, and nothing about its person can be logged here: the enrolment is kept elsewhere.
    #[error("what this server says again it logs, and it keeps no enrolment of the person")]
    Unlogged,
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum DelegationError {
    /// Not a delegation.
    #[error(transparent)]
    Form(UcanError),
    /// To whom it is to be delegated on is no `did`.
    #[error("to whom it is to be delegated on is no did")]
    Onward,
    /// The provider's keys failed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The log did not take the event.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The state can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What is kept of the person can't be opened.
    #[error(transparent)]
    Kept(#[from] KeptReadError),
}

impl Authority {
    /// Judges a delegation, and delegates it on to `onward` where it holds and is given to this server.
    pub async fn judge_delegation(&self, token: Vec<u8>, onward: Option<String>) -> Result<Judged, DelegationError> {
        let delegation = Delegation::parse(&token).map_err(DelegationError::Form)?;
        let authority = self.clone();
        let judged = self.blocking(move || -> Result<Judged, DelegationError> {
            let signer = authority.enrolled(delegation.key())?;
            let key = authority.delegating_key()?;
            let server = did::of_key(&Key::EdDsa(key.verifying_key().to_bytes()));
            let now_s = authority.now() / 1000;
            let mut refused = match &signer {
                None => Some(Refusal::Unknown),
                Some((_, false)) => Some(Refusal::Inactive),
                Some((claims, true)) => holds(&delegation, claims, now_s).err(),
            };
            if refused.is_none() && onward.is_some() && delegation.payload().audience != server {
                refused = Some(Refusal::Audience);
            }
            let restated = match onward.filter(|_| refused.is_none()) {
                None => None,
                Some(onward) => Some(restate(&delegation, &key, &server, onward)?),
            };
            let signer = signer.map(|(claims, _)| claims);
            Ok(Judged { delegation, signer, refused, restated, server, logged: None })
        });
        let mut judged = judged.await?;
        if let Some(signer) = &judged.signer {
            let name = if judged.refused.is_none() { VERIFIED } else { REFUSED };
            judged.logged = self.tell(&signer.participant, name, judged.delegation.cid()).await?;
        }
        // Nothing leaves under this server's name that the log does not have.
        if judged.restated.is_some() && judged.logged.is_none() {
            (judged.restated, judged.refused) = (None, Some(Refusal::Unlogged));
        }
        Ok(judged)
    }

    /// The authenticator with this key, and whether it and its person are active.
    fn enrolled(&self, key: &Key) -> Result<Option<(Claims, bool)>, ReadError> {
        let engine = &self.inner.engine;
        let Some(subject) = engine.subject_of_key(key.as_bytes())? else { return Ok(None) };
        let Some(own) = engine.authenticators(&subject)? else { return Ok(None) };
        let held = own.all().map(|(_, held)| held).find(|held| held.claims().about.key_bytes() == key.as_bytes());
        let Some(held) = held else { return Ok(None) };
        let active = engine.credentials_of(&subject)?.iter().any(|state| state.status() == Status::Active);
        Ok(Some((held.claims().clone(), active && held.revoked_at().is_none())))
    }

    /// The key with which this server delegates on.
    fn delegating_key(&self) -> Result<SigningKey, KeyError> {
        let keys = &self.inner.keys;
        let origin = self.inner.engine.standing().origin();
        Ok(SigningKey::from_bytes(&*keys.derive(keys.epoch(), "ucan", origin.as_bytes())?))
    }

    /// Writes an event about a person into the stream of the newest credential whose enrolment is kept here.
    async fn tell(&self, subject: &Hash, name: &str, cid: String) -> Result<Option<Appended>, DelegationError> {
        for state in self.inner.engine.credentials_of(subject)?.into_iter().rev() {
            let Some(kept) = self.kept(&state).await? else { continue };
            let said = Said::Event { name: name.to_owned(), detail: Detail::Text(cid) };
            let claims = state.credential().claims();
            let about = About { credential: state.credential().id(), stream: kept.stream(claims), said };
            return Ok(Some(self.inner.engine.about(about, Until::Sequenced).await?));
        }
        Ok(None)
    }
}

fn holds(delegation: &Delegation, signer: &Claims, now_s: u64) -> Result<(), Refusal> {
    let Kind::WebAuthn(passkey) = &signer.about else { return Err(Refusal::Unknown) };
    if signer.purpose != Purpose::Sign {
        return Err(Refusal::Purpose);
    }
    Ok(delegation.verify(now_s, Some(passkey))?)
}

/// The same power, from this server to somebody.
fn restate(
    delegation: &Delegation,
    key: &SigningKey,
    server: &str,
    onward: String,
) -> Result<Delegation, DelegationError> {
    let first = delegation.payload();
    let proof = cbor::Value::Array(vec![cbor::text(&delegation.cid())]);
    let payload = Payload {
        issuer: server.to_owned(),
        audience: onward,
        // Without a subject it was the issuer's own power; the server's own is another.
        subject: Some(first.subject.clone().unwrap_or_else(|| first.issuer.clone())),
        command: first.command.clone(),
        policy: first.policy.clone(),
        nonce: random::<12>().to_vec(),
        meta: Some(cbor::Value::Map(vec![(cbor::text("prf"), proof)])),
        not_before_s: first.not_before_s,
        expires_s: first.expires_s,
    };
    let header = Header { algorithm: scal3::evidence::varsig::Algorithm::EdDsa, webauthn: false };
    let signature = key.sign(&to_be_signed(header, &payload)).to_bytes();
    Delegation::signed_plainly(payload, &signature).map_err(|_| DelegationError::Onward)
}
