//! Intents: an instruction that somebody wants to authorise, and the challenge for it.
//!
//! ```text
//! instruction ── who asks? ── may the credential act? ── challenge {random, D, E}, what the metadata must say
//!                   │                  │
//!                   provider's token   no: an outcome `blocked`, and no challenge
//!                   or device's key
//! ```
//!
//! A stranger opens none: the few challenges that a credential may have open are for its own device. The answer holds
//! nothing that the device has to believe: it knows its sequence and what came before, and computes the challenge itself.

use std::net::IpAddr;
use std::sync::Arc;

use scal3::authenticator::{Claims, Purpose};
use scal3::authenticators::Authenticators;
use scal3::evidence::Kind;
use scal3::instruction::{CLASS_ACTIVATE, InstructionError, Presented};
use scal3::outcome::BLOCKED;
use scal3::policies::Policies;
use scal3::policy::{Denial, Operation};
use scal3::state::{CredentialState, Status};
use scal3::{Hash, Profile as RecordProfile, request};
use serde_json::Value;
use threshold::{NonceSeed, Profile1, Profile2, Profile3, Session};

use super::challenges::{FullError, Opened};
use super::kept::KeptError;
use super::strangers::{Name, TooMany};
use super::{Authority, KeptReadError, random, rng};
use crate::history::ReadError;
use crate::progress::SignedHead;
use crate::submission::{About, AppendError, Appended, Said, Until};

/// How far a device's clock may be from ours, milliseconds.
pub const CLOCKS_DIFFER_MS: u64 = 300_000;

/// Who asks.
#[derive(Debug, Clone)]
pub enum Who {
    /// The provider's backend, by its token.
    Provider,
    /// The device, by its key.
    Device {
        /// When it signed.
        time_ms: u64,
        /// Its signature over what it asks for, at that time, as [`request::verify`] takes it.
        signature: Vec<u8>,
        /// Where it calls from.
        source: IpAddr,
    },
}

/// An intent that is open.
#[derive(Debug)]
pub struct Intent {
    /// The challenge.
    pub opened: Arc<Opened>,
    /// The sequence of the next record.
    pub sequence: u64,
    /// What it names as `previous`.
    pub previous: Hash,
    /// The policy in force.
    pub policy: Hash,
    /// The evidence that it asks for.
    pub asked: Asked,
    /// The provider that issued the credential.
    pub provider: Hash,
    /// The head to look at: the published one, or the newest where none is published.
    pub head: SignedHead,
    /// The server's clock.
    pub time_ms: u64,
}

/// What evidence the policy asks for besides the two factors.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// The rule, where it needs any: by its index, and what it needs, in the words of the document.
    pub need: Option<(usize, Value)>,
    /// The kinds of evidence that are needed or observed. Any other is refused.
    pub kinds: Vec<Kind>,
    /// The authenticators of this person that make those.
    pub authenticators: Vec<(Hash, Claims)>,
}

/// Why there is no challenge.
#[derive(Debug, thiserror::Error)]
pub enum IntentError {
    /// No such credential.
    #[error("this log has not issued the credential")]
    UnknownCredential,
    /// The instruction is none.
    #[error(transparent)]
    Instruction(#[from] InstructionError),
    /// The device's signature does not verify, or is not of now.
    #[error("the device's signature over the request does not verify")]
    NotTheDevice,
    /// Too many that do not verify.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// The device's clock, or a request that was kept.
    #[error("the request is of {time_ms}, and the server's clock says {now_ms}")]
    Clock {
        /// When the device says that it is.
        time_ms: u64,
        /// When we say that it is.
        now_ms: u64,
    },
    /// Blocked, and logged so.
    #[error("blocked: {reason}")]
    Blocked {
        /// Why.
        reason: &'static str,
        /// Where it is logged.
        outcome: Option<Box<Appended>>,
    },
    /// Too many challenges are open.
    #[error(transparent)]
    Full(#[from] FullError),
    /// The provider's half is not kept here.
    #[error("this server keeps no share for the credential: its provider runs SCAL3 elsewhere")]
    NotKept,
    /// What is kept can't be opened.
    #[error(transparent)]
    Kept(#[from] KeptError),
    /// The log did not take the outcome.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The state can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<KeptReadError> for IntentError {
    fn from(error: KeptReadError) -> IntentError {
        match error {
            KeptReadError::Read(error) => IntentError::Read(error),
            KeptReadError::Kept(error) => IntentError::Kept(error),
        }
    }
}

impl Authority {
    /// Opens an intent. The same question again, while its challenge is open, gets the same challenge.
    pub async fn intent(&self, credential: Hash, instruction: Vec<u8>, who: Who) -> Result<Intent, IntentError> {
        let presented = Presented::parse(&instruction)?;
        let instruction_id = presented.id()?;
        let engine = &self.inner.engine;
        let state = engine.credential(&credential)?.ok_or(IntentError::UnknownCredential)?;
        if let Who::Device { time_ms, signature, source } = who {
            let hash = request::intent_hash(engine.standing().origin(), &credential, &instruction_id, time_ms);
            self.is_the_device(&state, &hash, signature, source).await?;
            self.is_now(time_ms)?;
        }
        if let Some(reason) = may_not(&state, &presented, self.now()) {
            return Err(self.blocked(&state, instruction_id, reason).await?);
        }
        let policies = engine.policies()?;
        let own = engine.authenticators(&state.credential().claims().subject)?;
        let asked = match decide(&policies, &state, &presented, own.as_ref()) {
            Ok(asked) => asked,
            Err(denial) => return Err(self.blocked(&state, instruction_id, denial.code()).await?),
        };
        if let Some(service) = &self.second_opinion {
            let subject = &state.credential().claims().subject;
            if !service.proceeds(&credential, subject, &instruction_id, &presented).await {
                return Err(self.blocked(&state, instruction_id, "second-opinion").await?);
            }
        }
        let opened = match self.inner.challenges.find(&credential, &instruction_id, &presented, self.now()) {
            Some(opened) => opened,
            None => self.open(&state, presented, instruction_id, instruction.len()).await?,
        };
        let heads = engine.heads();
        Ok(Intent {
            opened,
            sequence: state.next_sequence(),
            previous: *state.previous(),
            policy: *policies.in_force().hash(),
            asked,
            provider: state.credential().claims().provider,
            head: heads.published.unwrap_or(heads.integrated),
            time_ms: self.now(),
        })
    }

    async fn open(
        &self,
        state: &CredentialState,
        presented: Presented,
        instruction_id: Hash,
        length: usize,
    ) -> Result<Arc<Opened>, IntentError> {
        let credential = state.credential().id();
        // Without our share there is nothing to be gained from a challenge.
        self.kept(state).await?.ok_or(IntentError::NotKept)?;
        let profile = state.credential().claims().profile;
        let now_ms = self.now();
        let (seed, random) = (NonceSeed::draw(&mut rng()), random());
        let (seed, session) = self
            .blocking(move || {
                let commitment = match profile {
                    RecordProfile::EcSdsa => seed.commitment::<Profile1>(),
                    RecordProfile::Transcript => seed.commitment::<Profile2>(),
                    RecordProfile::Passkey => seed.commitment::<Profile3>(),
                };
                (seed, Session::new(&credential, &random, &commitment))
            })
            .await;
        let challenge = *session.challenge();
        let opened = Opened {
            credential,
            profile,
            instruction_id,
            presented,
            random,
            session,
            expires_ms: now_ms.saturating_add(self.inner.challenges.open_ms()),
        };
        self.inner.challenges.open(opened, seed, length, now_ms)?;
        // It was open a moment ago; the one who could have taken it does not know it yet.
        self.inner.challenges.peek(&challenge, now_ms).map_err(|_| IntentError::Full(FullError::All))
    }

    /// Verifies a device's signature over a hash, and slows down those whose do not.
    pub(super) async fn is_the_device(
        &self,
        state: &CredentialState,
        hash: &Hash,
        signature: Vec<u8>,
        source: IpAddr,
    ) -> Result<(), IntentError> {
        let (credential, hash) = (state.credential().clone(), *hash);
        let verified = self.blocking(move || {
            request::verify(&hash, credential.device_key(), credential.claims().passkey.as_ref(), &signature)
        });
        let verified = verified.await;
        if verified.is_ok() {
            return Ok(());
        }
        let names = [Name::source(source), Name::Credential(state.credential().id())];
        self.inner.strangers.refuse(&names, self.now())?;
        Err(IntentError::NotTheDevice)
    }

    pub(super) fn is_now(&self, time_ms: u64) -> Result<(), IntentError> {
        let now_ms = self.now();
        if time_ms.abs_diff(now_ms) > CLOCKS_DIFFER_MS {
            return Err(IntentError::Clock { time_ms, now_ms });
        }
        Ok(())
    }

    /// Logs that an instruction was blocked: once in a while, however often somebody asks, and never for a credential that is
    /// revoked, whose device may be in anybody's hands.
    async fn blocked(
        &self,
        state: &CredentialState,
        instruction_id: Hash,
        reason: &'static str,
    ) -> Result<IntentError, IntentError> {
        let credential = state.credential().id();
        let again = self.inner.strangers.failed(Name::Blocked(credential), self.now()) > 1;
        if again || state.status() == Status::Revoked {
            return Ok(IntentError::Blocked { reason, outcome: None });
        }
        let Some(kept) = self.kept(state).await? else {
            return Ok(IntentError::Blocked { reason, outcome: None });
        };
        let said = Said::Outcome {
            name: BLOCKED.to_owned(),
            about: Some(instruction_id),
            reason: Some(reason.to_owned()),
            detail: None,
        };
        let about = About { credential, stream: kept.stream(state.credential().claims()), said };
        let appended = self.inner.engine.about(about, Until::Sequenced).await?;
        Ok(IntentError::Blocked { reason, outcome: Some(Box::new(appended)) })
    }
}

/// What the policy says before there is a challenge. It is asked again when the entry is made, and by whoever reads the log.
fn decide(
    policies: &Policies,
    state: &CredentialState,
    presented: &Presented,
    own: Option<&Authenticators>,
) -> Result<Asked, Denial> {
    let claims = state.credential().claims();
    let operation = Operation {
        class: &presented.class,
        fields: &presented.shown.fields,
        account: state.status(),
        device: &claims.attestation,
        subscriber: &claims.subject,
        signers: &[claims.subject],
        threshold: 1,
        group: None,
    };
    let enrolled: Vec<&Claims> = own.into_iter().flat_map(Authenticators::active).collect();
    let needs = policies.in_force().policy()?.decide(&operation, &enrolled)?;
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| needs.asks_for(*kind)).collect();
    let makes = |one: &&&Claims| one.purpose == Purpose::Sign && kinds.iter().any(|kind| one.about.makes(*kind));
    let authenticators = enrolled.iter().filter(makes).map(|one| (one.id(), (*one).clone())).collect();
    // The document says it in words that are defined already.
    let need = needs.need().and(needs.rule).map(|(rule, _)| {
        let mut document: Value = serde_json::from_slice(policies.document()).unwrap_or_default();
        (rule, document["rules"][rule]["need"].take())
    });
    Ok(Asked { need, kinds, authenticators })
}

/// Why a credential may not authorise that now, if it may not.
fn may_not(state: &CredentialState, presented: &Presented, now_ms: u64) -> Option<&'static str> {
    match state.status() {
        Status::Suspended => return Some("the credential is suspended"),
        Status::Revoked => return Some("the credential is revoked"),
        Status::Issued if presented.class != CLASS_ACTIVATE => {
            return Some("the credential is not active: its first instruction is its activation");
        }
        Status::Issued if !state.is_vouched() => return Some("nobody has spoken for the credential"),
        Status::Issued | Status::Active => {}
    }
    let claims = state.credential().claims();
    if now_ms < claims.not_before_ms || now_ms > claims.not_after_ms {
        return Some("the credential is not valid now");
    }
    None
}
