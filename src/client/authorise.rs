//! Authorising an instruction with device and PIN.
//!
//! ```text
//! reconcile ──▶ head ──▶ intent ──▶ compare everything ──▶ PIN, nonces, device ──▶ save ──▶ POST ──▶ receipt ──▶ save
//!     ▲                                                                             │
//!     └── after a crash, or an answer that got lost: did the log take it? ◀─────────┘
//! ```
//!
//! The step that counts is the save before the POST: from then on the device can tell its own record from any other, and
//! what comes next from what came before. It learns what became of an answer from the log alone, by a receipt that holds.

use scal3::instruction::{CLASS_ACTIVATE, Presented};
use scal3::metadata::Ext;
use scal3::request::intent_hash;
use scal3::{Document, Hash, Metadata, Profile};
use std::time::Instant;
use threshold::{
    Commitment, Enrolment, Idle, Operation, Pin, Profile as Form, Profile1, Profile2, Profile3, Session,
    SubscriberError,
};
use tlog::note::Note;
use tlog::policy::PolicyError;
use tlog::proof_file::ProofFile;
use tlog::{TreeHead, TreeSize};

use crate::base64::Bytes;
use crate::device::{DeviceKey, PinPrf};
use crate::folder::Memory;
use crate::head::HeadError;
use crate::provider::{Problem, ProblemKind, ProviderError};
use crate::receipt::Receipt;
use crate::receipts::with_document;
use crate::state::{Held, Pending, Slot};
use crate::subscriber::{Error, Lie, Subscriber, TOLERANCE_MS, rng};
use crate::wire::{AuthoriseRequest, ByDevice, Exactly, Hex, IntentAnswer, IntentRequest, Level, OutcomeAnswer};

/// The longest time that a challenge can be answered in. A record signed now and logged much later would surprise.
const LONGEST_CHALLENGE_MS: u64 = 600_000;

/// An instruction that is in the log, verified.
#[derive(Debug, Clone)]
pub struct Authorised {
    /// Its number among this credential's instructions.
    pub sequence: u64,
    /// Its place in the log.
    pub index: u64,
    /// Its receipt, with the text: it holds, and it is kept.
    pub receipt: Receipt,
    /// What the provider says it did about it. Its own entry shows whether that is so: [`Subscriber::watch`].
    pub outcome: Option<OutcomeAnswer>,
}

/// Whether the log shows what a device has answered.
enum Settled {
    /// It does.
    Yes(Box<Authorised>),
    /// It shows nothing there.
    No,
    /// It does, and its witnesses have not cosigned that head yet.
    Soon,
}

impl<D: DeviceKey + PinPrf, M: Memory> Subscriber<D, M> {
    /// Authorises an instruction, showing all of it to the provider.
    ///
    /// If this same document was the last that was answered for, and the log took it, that is found out first and it is not
    /// done twice. To do a thing twice, make two documents: their salts differ.
    ///
    /// # Errors
    /// [`Error`]. After [`Error::Unsettled`] the instruction may be in the log.
    pub async fn authorise(&mut self, document: &Document, pin: &Pin) -> Result<Authorised, Error> {
        self.authorise_showing(document, pin, |_| true).await
    }

    /// Authorises an instruction of which the provider sees only the fields that `show` chooses.
    ///
    /// # Errors
    /// As [`Subscriber::authorise`].
    pub async fn authorise_showing(
        &mut self,
        document: &Document,
        pin: &Pin,
        show: impl Fn(&str) -> bool + Sync,
    ) -> Result<Authorised, Error> {
        self.can_authorise(document)?;
        self.authorise_in(Slot::Held, document, pin, &show, None).await
    }

    /// Authorises an instruction for which the provider's backend has opened the intent
    /// ([`Provider::open_intent`](crate::Provider::open_intent)): a device whose key lives behind a browser bothers its
    /// person once that way, and not twice. What the backend brought is compared as if the device had asked.
    ///
    /// # Errors
    /// As [`Subscriber::authorise`].
    pub async fn authorise_opened(
        &mut self,
        document: &Document,
        intent: IntentAnswer,
        pin: &Pin,
    ) -> Result<Authorised, Error> {
        self.can_authorise(document)?;
        self.authorise_in(Slot::Held, document, pin, &|_| true, Some(intent)).await
    }

    fn can_authorise(&self, document: &Document) -> Result<(), Error> {
        match &self.state.held {
            None => Err(Error::NotEnrolled),
            Some(held) if held.sequence == 0 && held.pending.is_empty() => Err(Error::NotActive),
            Some(_) if document.class == CLASS_ACTIVATE => Err(Error::Enrolled),
            Some(_) => Ok(()),
        }
    }

    /// Finds out what became of an answer that left the device. `None`: the log shows nothing (yet).
    ///
    /// # Errors
    /// [`Error`]; [`Lie::NotOurs`] when another record has the place.
    pub async fn reconcile(&mut self) -> Result<Option<Authorised>, Error> {
        self.reconcile_in(Slot::Held).await
    }

    pub(crate) async fn reconcile_in(&mut self, slot: Slot) -> Result<Option<Authorised>, Error> {
        let held = self.state.slot(slot).ok_or(Error::NotEnrolled)?;
        if held.pending.is_empty() {
            return Ok(None);
        }
        match self.settle(slot).await? {
            Settled::Yes(done) => Ok(Some(*done)),
            Settled::No => Ok(None),
            Settled::Soon => self.settled(slot).await.map(Some),
        }
    }

    pub(crate) async fn authorise_in(
        &mut self,
        slot: Slot,
        document: &Document,
        pin: &Pin,
        show: &(dyn Fn(&str) -> bool + Sync),
        opened: Option<IntentAnswer>,
    ) -> Result<Authorised, Error> {
        document.check()?;
        let done = match self.reconcile_in(slot).await? {
            Some(done) => Some(done),
            None => self.last_done(slot)?,
        };
        if let Some(done) = done.filter(|done| is_of(done, document)) {
            return Ok(done);
        }
        self.refresh().await?;
        let mut intent = match opened {
            Some(intent) => intent,
            None => self.intent(slot, document, show).await?,
        };
        let held = self.state.slot(slot).ok_or(Error::NotEnrolled)?;
        if intent.metadata.sequence == held.sequence + 1 && !held.pending.is_empty() {
            // The log took an answer that was thought lost, just now.
            let done = self.settled(slot).await?;
            if is_of(&done, document) || document.class == CLASS_ACTIVATE {
                return Ok(done);
            }
            intent = self.intent(slot, document, show).await?;
        }
        self.check_intent(slot, document, &intent)?;
        let seen = self.check_head(&intent).await?;
        self.answer(slot, document, pin, &intent, &seen).await
    }

    /// The last record of the credential, by the receipt that was kept before the state was saved.
    fn last_done(&self, slot: Slot) -> Result<Option<Authorised>, Error> {
        let held = self.state.slot(slot).ok_or(Error::NotEnrolled)?;
        let Some(sequence) = held.sequence.checked_sub(1) else { return Ok(None) };
        let Some(receipt) = self.kept(&held.id.0, sequence)? else { return Ok(None) };
        let index = ProofFile::parse(receipt.proof.as_bytes()).ok().map(|file| file.index.get());
        Ok(index.map(|index| Authorised { sequence, index, receipt, outcome: None }))
    }

    async fn intent(
        &self,
        slot: Slot,
        document: &Document,
        show: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<IntentAnswer, Error> {
        let held = self.state.slot(slot).ok_or(Error::NotEnrolled)?;
        let time_ms = self.now_ms();
        let hash = intent_hash(&self.trust.origin, &held.id.0, &document.id(), time_ms);
        let device = ByDevice { time_ms, signature: Bytes(self.device.sign(&hash.0)?) };
        let instruction = Bytes(Presented::of(document, show).to_bytes());
        let body = IntentRequest { credential: held.id, instruction, device: Some(device) };
        Ok(self.provider.intent(&body).await?)
    }

    /// Compares everything in the answer with what the device has and recomputes.
    fn check_intent(&self, slot: Slot, document: &Document, intent: &IntentAnswer) -> Result<(), Error> {
        let held = self.state.slot(slot).ok_or(Error::NotEnrolled)?;
        let (now, theirs) = (self.now_ms(), &intent.metadata);
        if intent.instruction_id.0 != document.id() {
            return Err(Lie::Instruction.into());
        }
        if theirs.origin != self.trust.origin {
            return Err(Lie::Origin.into());
        }
        if Some(theirs.provider.0) != held.provider() {
            return Err(Lie::Provider.into());
        }
        if theirs.credential != held.id {
            return Err(Lie::Credential.into());
        }
        if theirs.class != document.class {
            return Err(Lie::Class.into());
        }
        if theirs.sequence != held.sequence {
            return Err(Lie::Sequence { ours: held.sequence, theirs: theirs.sequence }.into());
        }
        if theirs.previous != held.previous {
            return Err(Lie::Previous.into());
        }
        let apart = now.abs_diff(intent.time_ms);
        if apart > TOLERANCE_MS {
            return Err(Lie::Clock { seconds: apart / 1000 }.into());
        }
        let expires = intent.challenge.expires_ms;
        if expires <= intent.time_ms || expires - intent.time_ms > LONGEST_CHALLENGE_MS {
            return Err(Lie::Expiry.into());
        }
        if session(held, intent)?.challenge() != &intent.id.0 {
            return Err(Lie::Challenge.into());
        }
        if !intent.needs.is_empty() {
            return Err(Error::EvidenceNeeded);
        }
        Ok(())
    }

    /// The head that the record will name. The provider's own, where the trust policy accepts it; one that its witnesses
    /// have not cosigned yet is not taken, and no fault.
    async fn check_head(&mut self, intent: &IntentAnswer) -> Result<TreeHead, Error> {
        let note = Note::parse(intent.head.checkpoint.as_bytes()).map_err(HeadError::Note)?;
        if self.trust.policy.verify(&note) != Err(PolicyError::NoQuorum) {
            let head = self.advance_to(&note).await?;
            let said =
                TreeSize::new(intent.head.size).ok().map(|size| TreeHead { size, root: Hash(intent.head.root.0) });
            if said != Some(head) {
                return Err(Lie::NotLogged.into());
            }
        }
        Ok(self.state.seen().ok_or(HeadError::NotYet { index: 0 })?)
    }

    /// Answers the challenge: signs, saves, sends, and waits for the log to show it.
    async fn answer(
        &mut self,
        slot: Slot,
        document: &Document,
        pin: &Pin,
        intent: &IntentAnswer,
        seen: &TreeHead,
    ) -> Result<Authorised, Error> {
        let held = self.state.slot(slot).ok_or(Error::NotEnrolled)?;
        let metadata = self.metadata(held, intent, seen).ok_or(Error::DamagedEnrolment)?;
        let (index_key, expires_ms) = (metadata.index_key, metadata.expires_ms);
        let metadata = metadata.to_bytes();
        let session = session(held, intent)?;
        let (c, pass) = match held.dealt.profile().ok_or(Error::DamagedEnrolment)? {
            Profile::EcSdsa => pass::<Profile1>(&self.device, held, pin, &session, &metadata, &document.id())?,
            Profile::Transcript => pass::<Profile2>(&self.device, held, pin, &session, &metadata, &document.id())?,
            Profile::Passkey => pass::<Profile3>(&self.device, held, pin, &session, &metadata, &document.id())?,
        };
        let pending = Pending {
            c: Exactly(c),
            challenge: intent.id,
            index_key: Hex(index_key),
            instruction_id: Hex(document.id()),
            expires_ms,
            document: Bytes(document.to_bytes()),
            refused: false,
        };
        self.remember(slot, pending)?;
        let body = AuthoriseRequest { metadata: Bytes(metadata), pass: Bytes(pass), evidence: Vec::new() };
        let until = if self.trust.policy.quorum_is_none() { Level::Integrated } else { Level::Witnessed };
        match self.provider.authorise(&intent.id.0, until, &body).await {
            Ok(answer) => {
                let done = self.settled(slot).await?;
                let outcome = answer.outcome.filter(|outcome| outcome.about.0 == document.id());
                Ok(Authorised { outcome, ..done })
            }
            Err(ProviderError::Refused(problem)) if is_final(&problem) => {
                if let Some(held) = self.state.slot_mut(slot) {
                    held.refused(&c);
                }
                self.save()?;
                Err(ProviderError::Refused(problem).into())
            }
            // The answer may be on its way, or have been lost on its way back.
            Err(_) => match self.reconcile_in(slot).await? {
                Some(done) if is_of(&done, document) => Ok(done),
                Some(_) => Err(Error::PlaceTaken),
                None => Err(Error::Unsettled),
            },
        }
    }

    fn metadata(&self, held: &Held, intent: &IntentAnswer, seen: &TreeHead) -> Option<Metadata> {
        Some(Metadata {
            origin: self.trust.origin.clone(),
            provider: held.provider()?,
            credential: held.id.0,
            sequence: held.sequence,
            previous: held.previous.0,
            index_key: held.next_index_key(),
            challenge: intent.id.0,
            policy: intent.metadata.policy.0,
            class: intent.metadata.class.clone(),
            seen_size: seen.size.get(),
            seen_root: seen.root,
            time_ms: self.now_ms(),
            expires_ms: intent.challenge.expires_ms,
            ext: Ext::default(),
        })
    }

    /// Saves an answer before it leaves the device.
    fn remember(&mut self, slot: Slot, pending: Pending) -> Result<(), Error> {
        let now = self.now_ms();
        let held = self.state.slot_mut(slot).ok_or(Error::NotEnrolled)?;
        if let Err(first_ms) = held.make_room(now) {
            return Err(Error::TooManyUnsettled { wait_s: first_ms.saturating_sub(now).div_ceil(1000) });
        }
        held.pending.push(pending);
        self.save()
    }

    /// Waits until the log shows an answer that it has taken.
    async fn settled(&mut self, slot: Slot) -> Result<Authorised, Error> {
        let began = Instant::now();
        loop {
            match self.settle(slot).await? {
                Settled::Yes(done) => return Ok(*done),
                Settled::No | Settled::Soon if began.elapsed() > self.provider.patience().publish => {
                    return Err(Error::Unsettled);
                }
                Settled::No | Settled::Soon => self.provider.pause().await,
            }
        }
    }

    /// Looks at the next place of the credential in the log. What stands there must be one of the answers this device gave;
    /// then its receipt is kept, and the device goes on to the next place.
    async fn settle(&mut self, slot: Slot) -> Result<Settled, Error> {
        let held = self.state.slot(slot).ok_or(Error::NotEnrolled)?;
        let index_key = held.next_index_key();
        let Some(receipt) = self.fetch(&held.dealt, &index_key).await? else { return Ok(Settled::No) };
        if self.lacks_witnesses(&receipt) {
            return Ok(Settled::Soon);
        }
        let record = self.judge_record(held, &index_key, &receipt)?;
        let ours = held.pending.iter().find(|pending| pending.c.0 == record.c).ok_or(Lie::NotOurs)?;
        let receipt = with_document(receipt, &ours.document);
        let record = self.judge_record(held, &index_key, &receipt)?;
        if record.metadata.sequence != held.sequence || record.metadata.previous != held.previous.0 {
            return Err(Lie::NotOurs.into());
        }
        let (id, sequence) = (held.id.0, held.sequence);
        self.on_history(&record.note).await?;
        // First the receipt: after a crash between the two it is fetched again.
        self.keep(&id, sequence, &receipt)?;
        if let Some(held) = self.state.slot_mut(slot) {
            held.advance(&record.c);
        }
        self.save()?;
        Ok(Settled::Yes(Box::new(Authorised { sequence, index: record.index, receipt, outcome: None })))
    }
}

/// Whether the server says no to this very answer. A place or a challenge that is taken may be taken by this answer.
fn is_final(problem: &Problem) -> bool {
    problem.status < 500 && !matches!(problem.kind, ProblemKind::ChallengeSpent | ProblemKind::Conflict)
}

fn is_of(done: &Authorised, document: &Document) -> bool {
    done.receipt.document.as_ref().is_some_and(|bytes| bytes.0 == document.to_bytes())
}

/// The session of a challenge, whose hash the device computes itself.
fn session(held: &Held, intent: &IntentAnswer) -> Result<Session, Error> {
    let commitment = Commitment::parse(&intent.challenge.commitment.0).map_err(|_| Lie::Commitment)?;
    Ok(Session::new(&held.id.0, &intent.challenge.random.0, &commitment))
}

/// Both factors, from the PIN to the pass, without a pause in between: what is secret here is gone when it returns. Gives c
/// and the pass.
fn pass<P: Form>(
    device: &(impl DeviceKey + PinPrf),
    held: &Held,
    pin: &Pin,
    session: &Session,
    metadata: &[u8],
    instruction_id: &Hash,
) -> Result<([u8; 32], Vec<u8>), Error> {
    let operation = Operation::<P>::new(metadata, instruction_id).map_err(|_| Lie::Class)?;
    let kem_key = held.dealt.kem_key().ok_or(Error::DamagedEnrolment)?;
    let shares = held.dealt.shares().ok_or(Error::DamagedEnrolment)?;
    let enrolment = Enrolment::<P>::from_parts(held.dealt.joint_key.0, shares, kem_key.id());
    let to_sign = Idle::unlock(&enrolment, &device.mask(pin)?)?.commit(&mut rng()).prepare(
        session,
        &operation,
        &kem_key,
        &mut rng(),
    )?;
    let c = *to_sign.c();
    let signature = device.sign(to_sign.message())?;
    Ok((c, to_sign.finish(&signature)?.to_bytes().to_vec()))
}

impl From<SubscriberError> for Error {
    fn from(error: SubscriberError) -> Error {
        match error {
            SubscriberError::Commitment => Lie::Commitment.into(),
            SubscriberError::DeviceSignature => crate::device::DeviceError::Unavailable(error.to_string()).into(),
            _ => Error::DamagedEnrolment,
        }
    }
}
