//! What the provider writes about a subscriber: the entries of a credential's stream 1, and what follows from them.
//!
//! ```text
//! enrolment.kept ─ attempt.started ─ attempt.failed ─ … ─ executed ─ …      counter 0, 1, 2, …, each naming the one before
//!                       │                   └─► the last one that was allowed: suspended, in the same round
//!                       └─► challenge spent, attempt counted
//! ```
//!
//! The counter, the index key and the entry before are given here, in the order of the log, so that two who write at once
//! write one after the other.

use scal3::attempts::Attempt;
use scal3::cbor::Value;
use scal3::entry::{Entry, Kind};
use scal3::event::{Detail, Event, StreamPlace};
use scal3::index_key::StreamKey;
use scal3::opening::{OtherOpening, commitment};
use scal3::outcome::{EXECUTED, Outcome};
use scal3::state::{CredentialState, Status};
use scal3::status::Change;
use tlog::Hash;

use super::{Draft, Draw, No, OrStop, Placed, PlanError};
use crate::authority::kept;
use crate::ledger::{Key, Lookup, write_index};
use crate::store::view::ViewError;
use crate::submission::{About, Allowance, AppendError, BodyRefusal, Collision, Said};

/// The name of the event that says by which name browsers find an authenticator: its id, then that name.
pub(crate) const REGISTERED: &str = "authenticator.registered";

/// Why a credential is suspended that is out of attempts.
const WRONG_TOO_OFTEN: &str = "the second factor was wrong too often";

impl Draft<'_> {
    pub(super) fn about(&mut self, about: About, draw: &Draw) -> Result<Placed, No> {
        let About { credential, stream, said } = about;
        let state = self.credential(&credential).or_stop()?.ok_or(AppendError::UnknownCredential(credential))?;
        match said {
            Said::Started { challenge, allowance } => self.start(state, &stream, challenge, allowance, draw),
            Said::Verdict { challenge, attempt, allowance } => {
                self.conclude(state, &stream, challenge, attempt, allowance, draw)
            }
            Said::Outcome { name, about, reason, detail } => {
                if let Some(about) = about
                    && (name == EXECUTED || self.index_at(&Key::Authorisation(about)).or_stop()?.is_some())
                    && let Some(index) = self.index_at(&Key::Outcome(about)).or_stop()?
                {
                    return Ok(self.existing(index));
                }
                let outcome = Outcome { name, stream: state.provider_place(), about, reason, detail };
                let (placed, _) = self.push_about(state, &stream, outcome.opening(draw.salt), draw.seal)?;
                if let Some(about) = about {
                    self.set(Key::Outcome(about), write_index(placed.index));
                }
                Ok(placed)
            }
            Said::Event { name, detail } => {
                let event = Event { name, stream: Some(state.provider_place()), detail };
                let (placed, _) = self.push_about(state, &stream, event.opening(draw.salt), draw.seal)?;
                if let Some(key) = told(&event) {
                    self.set(key, write_index(placed.index));
                }
                Ok(placed)
            }
        }
    }

    /// An event as somebody sent it. One that names a place in a stream, as who keeps the stream beside the log writes it,
    /// is held to the rules that the fold holds every entry of the stream to.
    pub(super) fn event(
        &mut self,
        body: Value,
        placed: Option<&Event>,
        index_key: Option<Hash>,
        draw: &Draw,
    ) -> Result<Placed, No> {
        if let Some(index_key) = &index_key {
            self.index_key_is_free(index_key)?;
        }
        let opening = OtherOpening { kind: Kind::Event, salt: draw.salt, body }.to_bytes();
        let entry = Entry::committed(Kind::Event, self.time_ms, commitment(&opening), index_key);
        let Some((event, place)) = placed.and_then(|event| Some((event, event.stream.as_ref()?))) else {
            return self.push(&entry, Some((opening, draw.seal)));
        };
        let state = self.place(event, place, &entry)?;
        let challenge = told(event);
        if let Some(key @ Key::Challenge(_)) = &challenge
            && let Some(index) = self.index_at(key).or_stop()?
        {
            return Err(AppendError::ChallengeSpent(index).into());
        }
        let placed = self.push(&entry, Some((opening, draw.seal)))?;
        if let Some(key) = challenge {
            self.set(key, write_index(placed.index));
        }
        self.set_credential(&state)?;
        Ok(placed)
    }

    /// The state of the credential that an event is about, with the event taken in.
    fn place(&self, event: &Event, place: &StreamPlace, entry: &Entry) -> Result<CredentialState, No> {
        if entry.index_key.is_none() {
            return Err(AppendError::Body(BodyRefusal::StreamKey).into());
        }
        let id = place.credential;
        let mut state = self.credential(&id).or_stop()?.ok_or(AppendError::UnknownCredential(id))?;
        // Whoever sends an event may not have the stream's key, and the next entry that is written here would be found
        // behind one that is not found.
        let ours = event.name == kept::EVENT || self.index_at(&Key::Kept(id)).or_stop()?.is_some();
        if ours {
            return Err(AppendError::Body(BodyRefusal::OwnStream).into());
        }
        let StreamPlace { counter: next, previous, .. } = state.provider_place();
        state.provider_entry(place, &entry.commitment).map_err(|_| Collision::Stream { next, previous })?;
        if let Some((attempt, challenge)) = Attempt::of(event) {
            state.attempt(attempt, &challenge).map_err(|_| AppendError::Body(BodyRefusal::Attempt))?;
        }
        Ok(state)
    }

    /// The first entry of the stream, in the round that issues the credential.
    pub(super) fn keep(
        &mut self,
        state: CredentialState,
        kept: Vec<u8>,
        stream: &StreamKey,
        draw: &Draw,
    ) -> Result<(), No> {
        let id = state.credential().id();
        let event =
            Event { name: kept::EVENT.to_owned(), stream: Some(state.provider_place()), detail: Detail::Bytes(kept) };
        let (placed, _) = self.push_about(state, stream, event.opening(draw.status_salt), draw.status_seal)?;
        self.set(Key::Kept(id), write_index(placed.index));
        Ok(())
    }

    /// An attempt begins. Where there may be none, the credential is suspended, and nothing is spent.
    fn start(
        &mut self,
        state: CredentialState,
        stream: &StreamKey,
        challenge: Hash,
        allowance: Allowance,
        draw: &Draw,
    ) -> Result<Placed, No> {
        let spent = Key::Challenge(challenge);
        if let Some(index) = self.index_at(&spent).or_stop()? {
            return Err(AppendError::ChallengeSpent(index).into());
        }
        if !matches!(state.status(), Status::Issued | Status::Active) {
            return Err(AppendError::Inactive(state.status()).into());
        }
        if is_out(&state, allowance) {
            // Whoever counted the last one did not come to say so: a machine stopped in between.
            self.suspend(state, draw)?;
            return Err(AppendError::OutOfAttempts.into());
        }
        let (placed, _) = self.attempt(state, stream, challenge, Attempt::Started, draw)?;
        self.set(spent, write_index(placed.index));
        Ok(placed)
    }

    /// The verdict on an attempt. The last one that was allowed suspends.
    fn conclude(
        &mut self,
        state: CredentialState,
        stream: &StreamKey,
        challenge: Hash,
        attempt: Attempt,
        allowance: Allowance,
        draw: &Draw,
    ) -> Result<Placed, No> {
        if attempt == Attempt::Started || state.attempts().open != Some(challenge) {
            return Err(AppendError::Stream("no attempt under this challenge waits for a verdict").into());
        }
        let (placed, state) = self.attempt(state, stream, challenge, attempt, draw)?;
        if attempt == Attempt::Failed && is_out(&state, allowance) {
            let may_act = matches!(state.status(), Status::Issued | Status::Active);
            if may_act {
                self.suspend(state, draw)?;
            }
        }
        Ok(placed)
    }

    fn attempt(
        &mut self,
        mut state: CredentialState,
        stream: &StreamKey,
        challenge: Hash,
        attempt: Attempt,
        draw: &Draw,
    ) -> Result<(Placed, CredentialState), No> {
        let opening = attempt.event(&challenge, state.provider_place()).opening(draw.salt);
        state
            .attempt(attempt, &challenge)
            .map_err(|_| AppendError::Stream("the attempt does not fit what the log knows of the credential"))?;
        self.push_about(state, stream, opening, draw.seal)
    }

    fn suspend(&mut self, state: CredentialState, draw: &Draw) -> Result<Placed, No> {
        let change = Change::Suspended(WRONG_TOO_OFTEN.to_owned());
        self.change_status(state, change, draw.status_salt, draw.status_seal)
    }

    /// Puts the next entry of a stream at the end.
    fn push_about(
        &mut self,
        mut state: CredentialState,
        stream: &StreamKey,
        opening: OtherOpening,
        seal: [u8; 32],
    ) -> Result<(Placed, CredentialState), No> {
        let kind = opening.kind;
        let place = state.provider_place();
        let index_key = stream.index_key(place.counter);
        self.index_key_is_free(&index_key)?;
        let opening = opening.to_bytes();
        let commitment = commitment(&opening);
        // The place was the state's own.
        state
            .provider_entry(&place, &commitment)
            .map_err(|_| No::Stop(PlanError::State(ViewError::Damaged("a credential's state"))))?;
        let entry = Entry::committed(kind, self.time_ms, commitment, Some(index_key));
        let placed = self.push(&entry, Some((opening, seal)))?;
        self.set_credential(&state)?;
        Ok((placed, state))
    }
}

/// What the state has from an event in a provider's stream, beside the credential's own.
pub(crate) fn told(event: &Event) -> Option<Key> {
    let place = event.stream.as_ref()?;
    match Attempt::of(event) {
        Some((Attempt::Started, challenge)) => Some(Key::Challenge(challenge)),
        None if event.name == kept::EVENT && place.counter == 0 => Some(Key::Kept(place.credential)),
        None if event.name == REGISTERED => match &event.detail {
            Detail::Bytes(said) => Some(Key::Registered(Hash(*said.first_chunk()?))),
            _ => None,
        },
        _ => None,
    }
}

fn is_out(state: &CredentialState, allowance: Allowance) -> bool {
    allowance.left(state.attempts()) == 0
}
