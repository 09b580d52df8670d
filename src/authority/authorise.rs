//! Authorising: from a pass to a record in the log, in an order that costs a thief and spares everybody else.
//!
//! ```text
//!  1  public checks     metadata, pass, binding signature, device signature      a stranger stops here, at no cost
//!  2  turn              one attempt of a credential at a time
//!  3  spend             the nonce seed leaves memory, once
//!  4  count             attempt.started in the journal, synced (I-4)             whatever happens now, it is counted
//!  5  open              the provider's share, the sealed z2, its checksum        damaged: attempt.refunded
//!  6  compare           does z2 fit?                                             no: attempt.failed; five in a row suspend
//!  7  complete          z1 + z2, and the whole verified
//!  8  verify, append    as if a stranger had sent the record                     refused: attempt.passed
//! ```
//!
//! Until 6 nothing depends on whether the PIN was right. A machine that stops between any two of these leaves an attempt
//! that is counted, a challenge that is spent, and a record that is in the log or not.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use scal3::attempts::Attempt;
use scal3::authenticators::Authenticators;
use scal3::credential::Credential;
use scal3::evidence::Kind;
use scal3::index_key::{Stream, StreamKey};
use scal3::instruction::CLASS_ACTIVATE;
use scal3::metadata::{MetadataError, operation_hash};
use scal3::opening::{Evidence, Opening};
use scal3::state::CredentialState;
use scal3::verify::{EvidenceRefusal, Intended, MetadataRefusal, Rules};
use scal3::{Hash, Metadata, Profile as RecordProfile};
use threshold::{
    Checked, CompleteError, Enrolling, Enrolment, Fault, Keys, NonceSeed, OpenError, Operation, Pass, PassError,
    Profile, Profile1, Profile2, Profile3, ProviderShare, PublicFault,
};
use tlog::TreeSize;

use super::Authority;
use super::challenges::{ChallengeError, Opened};
use super::intent::CLOCKS_DIFFER_MS;
use super::kept::{Kept, KeptError};
use super::strangers::{Name, TooMany};
use crate::history::ReadError;
use crate::keys::KeyError;
use crate::submission::{About, AppendError, Appended, Said, Submission, Until};

/// How often a verdict is offered to a log that is busy, before it is left out: what has started stays counted then.
const TRIES: u32 = 20;

/// How long between two of them.
const AGAIN: Duration = Duration::from_millis(50);

/// An answer to a challenge. Not printable: a pass is for the provider alone.
#[derive(Clone)]
pub struct Answer {
    /// The metadata, as the device wrote it.
    pub metadata: Vec<u8>,
    /// The pass.
    pub pass: Vec<u8>,
    /// Evidence besides the two factors.
    pub evidence: Vec<Given>,
    /// How far the record is waited for.
    pub until: Until,
    /// Where it came from.
    pub source: IpAddr,
}

/// A piece of evidence as the device gives it. Whose it is, the credential says.
#[derive(Clone)]
pub struct Given {
    /// Its kind.
    pub kind: String,
    /// The authenticator that made it.
    pub authenticator: Hash,
    /// What it gave.
    pub blob: Vec<u8>,
}

/// Why nothing was authorised.
#[derive(Debug, thiserror::Error)]
pub enum AuthoriseError {
    /// The challenge.
    #[error(transparent)]
    Challenge(#[from] ChallengeError),
    /// Too many that do not verify.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// The metadata is none. Nothing was spent.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The metadata says something else than it must. Nothing was spent.
    #[error("metadata: {0}")]
    Says(#[from] MetadataRefusal),
    /// The metadata is of another log, provider or class. Nothing was spent.
    #[error("metadata: another {0} than the intent's")]
    Elsewhere(&'static str),
    /// The evidence is not what the policy asks for. Nothing was spent.
    #[error(transparent)]
    Evidence(#[from] EvidenceRefusal),
    /// Evidence that is the server's word for something that it has not seen. Nothing was spent.
    #[error("evidence of this kind is the server's own word, and nobody gives it for him")]
    Vouched,
    /// The pass is none. Nothing was spent.
    #[error(transparent)]
    Pass(#[from] PassError),
    /// A signature that anybody can check does not verify. Nothing was spent.
    #[error(transparent)]
    Public(#[from] PublicFault),
    /// The pass arrived damaged: the challenge is spent, the attempt was given back.
    #[error("the pass arrived damaged: {0}")]
    Damaged(CompleteError),
    /// The second factor was wrong.
    #[error("the second factor was wrong")]
    SecondFactor {
        /// How many attempts are left before the credential is suspended.
        attempts_left: u64,
    },
    /// The credential's state does not allow it, or its attempts are used up; or the log takes nothing now.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// What the provider keeps, or its keys: our fault, and the attempt was given back.
    #[error("the provider's half: {0}")]
    Provider(#[from] ProviderFault),
    /// The state can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// What of ours can be wrong.
#[derive(Debug, thiserror::Error)]
pub enum ProviderFault {
    /// No share is kept.
    #[error("no share is kept for the credential")]
    NotKept,
    /// What is kept does not open.
    #[error(transparent)]
    Kept(#[from] KeptError),
    /// The share in it does not open.
    #[error(transparent)]
    Share(#[from] OpenError),
    /// A key failed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The signature could not be completed, although the user's half was right.
    #[error(transparent)]
    Complete(CompleteError),
}

/// Why a record could not be completed, and so what becomes of the attempt.
enum Incomplete {
    /// It is given back.
    Damaged(CompleteError),
    /// It stays counted.
    WrongPin,
    /// It is given back, and the operator hears of it.
    Ours(ProviderFault),
}

impl Authority {
    /// Takes an answer to a challenge. The caller must let it run to its end: it is counted from the middle on.
    pub async fn authorise(&self, challenge: Hash, answer: Answer) -> Result<Appended, AuthoriseError> {
        let opened = self.inner.challenges.peek(&challenge, self.now())?;
        match opened.profile {
            RecordProfile::EcSdsa => self.answer::<Profile1>(opened, answer).await,
            RecordProfile::Transcript => self.answer::<Profile2>(opened, answer).await,
            RecordProfile::Passkey => self.answer::<Profile3>(opened, answer).await,
        }
    }

    async fn answer<P: Profile>(&self, opened: Arc<Opened>, answer: Answer) -> Result<Appended, AuthoriseError> {
        let engine = &self.inner.engine;
        let (id, challenge) = (opened.credential, *opened.session.challenge());
        let state = engine.credential(&id)?.ok_or(AppendError::UnknownCredential(id))?;
        let kept = self.kept(&state).await.map_err(ours)?.ok_or(ProviderFault::NotKept)?;
        let credential = state.credential().clone();
        let until = answer.until;
        let (checked, evidence) = self.public_checks::<P>(&opened, state, &kept, answer).await?;

        // Damaged answers are given back. Somebody who has the device, and makes them so, must not go on for ever.
        let damaged = Name::Damaged(id);
        self.inner.strangers.check(damaged, self.now())?;
        let turn = self.inner.turns.of(&id).await;
        let seed = self.inner.challenges.take(&challenge, self.now())?;
        let allowance = self.inner.settings.allowance;
        let about = |said| About { credential: id, stream: kept.stream(credential.claims()), said };
        engine.about(about(Said::Started { challenge, allowance }), Until::Sequenced).await?;
        // From here on nobody is let go without a verdict in the log, unless the log itself stops.
        let verdict = |attempt| about(Said::Verdict { challenge, attempt, allowance });
        let record = match self.finish::<P>(&credential, &kept, checked, seed).await {
            Ok(record) => record,
            Err(Incomplete::Damaged(error)) => {
                self.inner.strangers.failed(damaged, self.now());
                self.conclude(|| verdict(Attempt::Refunded)).await?;
                return Err(AuthoriseError::Damaged(error));
            }
            Err(Incomplete::Ours(fault)) => {
                tracing::error!(%fault, "an authorisation failed on the provider's side; the attempt is given back");
                self.conclude(|| verdict(Attempt::Refunded)).await?;
                return Err(fault.into());
            }
            Err(Incomplete::WrongPin) => {
                self.conclude(|| verdict(Attempt::Failed)).await?;
                let state = engine.credential(&id)?.ok_or(AppendError::UnknownCredential(id))?;
                return Err(AuthoriseError::SecondFactor { attempts_left: allowance.left(state.attempts()) });
            }
        };
        let shown = opened.presented.shown.clone();
        let opening = Opening { profile: opened.profile, record, evidence, shown }.to_bytes();
        match self.record(opening).await {
            Ok(appended) => {
                drop(turn);
                Ok(engine.follow(appended, until).await?)
            }
            Err(refused) => {
                self.conclude(|| verdict(Attempt::Passed)).await?;
                Err(refused.into())
            }
        }
    }

    /// Hands a finished record to the log, as a stranger would. A busy log is asked again: the second factor was right, and
    /// its owner should not have to show it twice.
    async fn record(&self, opening: Vec<u8>) -> Result<Appended, AppendError> {
        let engine = &self.inner.engine;
        for _ in 0..TRIES {
            let verified = engine.verify(opening.clone()).await?;
            match engine.append(Submission::Record(Box::new(verified)), Until::Sequenced).await {
                Err(AppendError::Full { .. }) => tokio::time::sleep(AGAIN).await,
                done => return done,
            }
        }
        Err(AppendError::Full { retry_after_s: 1 })
    }

    /// Everything that can be checked without a secret. Whoever fails here has cost nobody an attempt.
    async fn public_checks<P: Profile>(
        &self,
        opened: &Arc<Opened>,
        state: CredentialState,
        kept: &Kept,
        answer: Answer,
    ) -> Result<(Checked<P>, Vec<Evidence>), AuthoriseError> {
        let names = [Name::source(answer.source), Name::Credential(opened.credential)];
        let own = kept.label_secret.stream_key(&state.credential().claims().enrolment_id, Stream::Own);
        let (authority, opened) = (self.clone(), Arc::clone(opened));
        let checked = self.blocking(move || {
            let metadata = Metadata::parse(&answer.metadata)?;
            authority.is_the_intents(&metadata, &opened, &state, &own)?;
            let operation = Operation::<P>::new(&answer.metadata, &opened.instruction_id)?;
            let claims = state.credential().claims();
            let keys = Keys { joint: claims.joint_key, device: claims.device_key, passkey: claims.passkey.as_ref() };
            let checked = Pass::<P>::parse(&answer.pass)?.check(&keys, &opened.session, &operation)?;
            // Behind the device's signature: a stranger learns nothing about what somebody else has enrolled.
            let evidence = authority.judge_evidence(&metadata, answer, &opened, &state)?;
            Ok((checked, evidence))
        });
        let checked: Result<_, AuthoriseError> = checked.await;
        // An honest device can be late, or behind; it does not sign wrongly.
        if matches!(checked, Err(AuthoriseError::Pass(_) | AuthoriseError::Public(_) | AuthoriseError::Metadata(_))) {
            self.inner.strangers.refuse(&names, self.now())?;
        }
        checked
    }

    /// Whether the evidence is what the policy asks for now. The log judges it again, at the place of the record.
    fn judge_evidence(
        &self,
        metadata: &Metadata,
        answer: Answer,
        opened: &Opened,
        state: &CredentialState,
    ) -> Result<Vec<Evidence>, AuthoriseError> {
        // What is vouched for is this server's to say, when it has seen it. It has seen nothing.
        if answer.evidence.iter().any(|item| Kind::new(&item.kind).is_some_and(Kind::is_vouched)) {
            return Err(AuthoriseError::Vouched);
        }
        let engine = &self.inner.engine;
        let subject = state.credential().claims().subject;
        let own = engine.authenticators(&subject)?.unwrap_or_else(|| Authenticators::of(subject));
        let policies = engine.policies()?;
        let rules = Rules { policy: policies.in_force(), authenticators: &[&own] };
        let intended = Intended {
            metadata,
            operation_hash: operation_hash(&answer.metadata, &opened.instruction_id),
            instruction_id: opened.instruction_id,
            fields: &opened.presented.shown.fields,
        };
        let item = |Given { kind, authenticator, blob }| Evidence { kind, participant: subject, authenticator, blob };
        let evidence: Vec<Evidence> = answer.evidence.into_iter().map(item).collect();
        intended.judge(&evidence, state, &rules, self.now())?;
        Ok(evidence)
    }

    /// Whether the metadata says what the intent asked for, and what the log would take now.
    fn is_the_intents(
        &self,
        metadata: &Metadata,
        opened: &Opened,
        state: &CredentialState,
        own: &StreamKey,
    ) -> Result<(), AuthoriseError> {
        let engine = &self.inner.engine;
        let now_ms = self.now();
        let claims = state.credential().claims();
        let elsewhere = [
            (metadata.origin == claims.origin, "origin"),
            (metadata.provider == claims.provider, "provider"),
            (metadata.class == opened.presented.class, "class"),
        ];
        if let Some((_, part)) = elsewhere.into_iter().find(|(same, _)| !same) {
            return Err(AuthoriseError::Elsewhere(part));
        }
        let &Metadata { sequence, time_ms, expires_ms, seen_size, .. } = metadata;
        if sequence != state.next_sequence() {
            return Err(MetadataRefusal::Sequence { expected: state.next_sequence(), found: sequence }.into());
        }
        if (sequence == 0) != (metadata.class == CLASS_ACTIVATE) {
            return Err(MetadataRefusal::Class.into());
        }
        if metadata.previous != *state.previous() {
            return Err(MetadataRefusal::Previous.into());
        }
        // By any other key the subscriber would not find the record again.
        if metadata.index_key != own.index_key(sequence) {
            return Err(MetadataRefusal::IndexKey.into());
        }
        if metadata.policy != *engine.policies()?.in_force().hash() {
            return Err(MetadataRefusal::Policy.into());
        }
        if now_ms > expires_ms {
            return Err(MetadataRefusal::Expired { expires_ms, entry_ms: now_ms }.into());
        }
        if now_ms.abs_diff(time_ms) > CLOCKS_DIFFER_MS {
            return Err(MetadataRefusal::Time { time_ms, entry_ms: now_ms }.into());
        }
        if seen_size <= state.issued_at() {
            return Err(MetadataRefusal::SeenBeforeIssue { seen_size, issued_at: state.issued_at() }.into());
        }
        let size = TreeSize::new(seen_size).map_err(|_| MetadataRefusal::SeenNotOnHistory)?;
        match engine.root_at(size) {
            Ok(root) if root == metadata.seen_root => Ok(()),
            Ok(_) | Err(ReadError::NotYet { .. }) => Err(MetadataRefusal::SeenNotOnHistory.into()),
            Err(error) => Err(error.into()),
        }
    }

    /// The provider's half. The share is opened for this one use.
    async fn finish<P: Profile>(
        &self,
        credential: &Credential,
        kept: &Kept,
        checked: Checked<P>,
        seed: NonceSeed,
    ) -> Result<Vec<u8>, Incomplete> {
        let keys = Arc::clone(&self.inner.keys);
        let claims = credential.claims().clone();
        let enrolment: Enrolment<P> = Enrolment::from_parts(kept.joint_key, kept.shares.clone(), claims.kem_key_id);
        let epoch = kept.epoch;
        self.blocking(move || {
            let id = &claims.enrolment_id;
            let key = |e: KeyError| Incomplete::Ours(e.into());
            let kem_key = keys.kem_public(epoch, id).map_err(key)?;
            let context = Enrolling { origin: &claims.origin, enrolment_id: id, device_key: &claims.device_key };
            let agreed = keys.kem_agree(epoch, id, enrolment.shares.encapsulated()).map_err(key)?;
            let share = ProviderShare::open(&context, &enrolment, &kem_key, &agreed);
            let share = share.map_err(|e| Incomplete::Ours(e.into()))?;
            let agreed = match keys.kem_agree(epoch, id, checked.encapsulated()) {
                Ok(agreed) => agreed,
                Err(KeyError::NotAPoint) => return Err(Incomplete::Damaged(CompleteError::Unopened)),
                Err(error) => return Err(key(error)),
            };
            let record = checked.complete(seed.take(), &share, &agreed).map_err(|error| match error.fault() {
                Fault::Transport => Incomplete::Damaged(error),
                Fault::WrongPin => Incomplete::WrongPin,
                Fault::Provider => Incomplete::Ours(ProviderFault::Complete(error)),
            })?;
            Ok(record.into_bytes())
        })
        .await
    }

    /// Writes a verdict down. A busy log is asked again; a verdict that is left out leaves the attempt counted.
    async fn conclude(&self, verdict: impl Fn() -> About) -> Result<(), AppendError> {
        for _ in 0..TRIES {
            match self.inner.engine.about(verdict(), Until::Sequenced).await {
                Ok(_) => return Ok(()),
                Err(AppendError::Full { .. } | AppendError::NoSpace) => tokio::time::sleep(AGAIN).await,
                Err(error) => return Err(error),
            }
        }
        Err(AppendError::Full { retry_after_s: 1 })
    }
}

fn ours(error: super::KeptReadError) -> AuthoriseError {
    match error {
        super::KeptReadError::Read(error) => AuthoriseError::Read(error),
        super::KeptReadError::Kept(error) => AuthoriseError::Provider(error.into()),
    }
}
