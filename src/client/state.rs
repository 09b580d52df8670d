//! What a device must remember, between two calls and across a crash.
//!
//! ```text
//! state.json = { version, origin, provider, device_key,
//!                head         the last head that was verified: the device never goes back behind it
//!                held         the credential: its keys' shares, sequence, previous, and every answer given
//!                             for the next sequence number that the log has not shown yet (pending)
//!                candidate    a credential in the making, the first or a successor
//!                next         the successor, issued and not active yet
//!                past         the credentials before, for reading what they did }
//! ```
//!
//! A pass leaves the device only after its place, its document and its c are saved in `pending`. So whatever the log shows
//! at that place later, the device can tell its own from another's, and knows what the next record must name. An answer
//! that got lost is not forgotten: it stays pending until its place is taken, because a provider may log it late. The next
//! answer is for the same place, so at most one of them can stand in the log. One that the provider has refused, such as
//! that of a wrong PIN, is settled: it stays only so that a provider that lies is found out, and not longer than it could
//! enter the log.
//!
//! Of every answer the challenge is remembered: an attempt in the log under another one was not made by this device.
//!
//! Nonces are not in here: they are in memory only, and their types are used up.

use scal3::index_key::{LabelSecret, Stream, StreamKey};
use scal3::{Credential, Hash, Profile, metadata};
use serde::{Deserialize, Serialize};
use threshold::{KemPublicKey, Shares};
use tlog::{TreeHead, TreeSize};
use zeroize::Zeroizing;

use crate::base64::Bytes;
use crate::folder::{Memory, MemoryError};
use crate::provider::Token;
use crate::subscriber::TOLERANCE_MS;
use crate::wire::{Exactly, Hex, Invitation};

/// The name that it is saved under.
pub(crate) const NAME: &str = "state.json";

/// The form of the file.
const VERSION: u64 = 2;

/// How many answers can wait for one place; and how many that were refused are kept beside them.
pub(crate) const PENDING_MAX: usize = 32;

/// Everything. `Debug` of it and its parts is left out by intent.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    version: u64,
    /// The log.
    pub origin: String,
    /// The provider: the hash of its issuing key.
    pub provider: Hex,
    /// The device that this belongs to.
    pub device_key: Exactly<33>,
    /// The last head that was verified.
    pub head: Option<Seen>,
    /// The credential.
    pub held: Option<Held>,
    /// A credential in the making.
    pub candidate: Option<Candidate>,
    /// The successor that the log has issued and that is not active yet.
    pub next: Option<Held>,
    /// The credentials before, oldest first.
    pub past: Vec<Held>,
}

/// Which of the two credentials that can act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    /// The one the person has.
    Held,
    /// Its successor.
    Next,
}

/// A head that was verified, with what shows it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Seen {
    pub size: u64,
    pub root: Hex,
    /// The signed note: evidence, should the log show another history.
    pub checkpoint: String,
}

/// The keys of one enrolment, as the device has them.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dealt {
    pub enrolment_id: Hex,
    pub profile: u64,
    pub joint_key: Exactly<33>,
    /// `blinded || sealed`, 217 bytes.
    pub shares: Exactly<217>,
    pub kem_key: Exactly<33>,
    pub label_secret: Label,
}

/// A credential in the making.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Candidate {
    pub invitation: Invitation,
    pub predecessor: Option<Hex>,
    pub dealt: Dealt,
    /// The device's signature over the enrolment.
    pub proof: Bytes,
    /// Of a key behind a browser: how it was registered.
    #[serde(default)]
    pub registration: Option<serde_json::Value>,
    /// The id of what the provider makes of it: it does not change any more.
    #[serde(default)]
    pub id: Option<Hex>,
    /// What the provider made of it.
    pub credential: Option<Bytes>,
}

/// A credential that the log has.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Held {
    pub id: Hex,
    pub credential: Bytes,
    pub dealt: Dealt,
    /// The entry that issued it.
    pub issued_at: u64,
    /// How many instructions of it the log has shown.
    pub sequence: u64,
    /// What the next one names as `previous`.
    pub previous: Hex,
    /// Every answer that was given for that sequence number.
    pub pending: Vec<Pending>,
    /// The challenges of all answers that came to no record, as far as this device knows.
    pub tried: Vec<Hex>,
    /// Whether the log has shown that it was revoked.
    pub revoked: bool,
    /// How many of the provider's entries about it the log has shown: there are never fewer.
    pub events: u64,
    /// How many changes of its status the log has shown.
    pub statuses: u64,
}

/// An answer that left the device, or may have.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pending {
    /// Its challenge hash, as the record has it: no one but the two factors can make another with it.
    pub c: Exactly<32>,
    /// The challenge that it answers.
    pub challenge: Hex,
    pub index_key: Hex,
    pub instruction_id: Hex,
    /// After this moment it may not enter the log.
    pub expires_ms: u64,
    pub document: Bytes,
    /// Whether the provider has said that it does not take it.
    pub refused: bool,
}

/// The label secret, wiped when dropped.
#[derive(Clone)]
pub(crate) struct Label(Zeroizing<[u8; 32]>);

impl Label {
    pub fn new(bytes: Zeroizing<[u8; 32]>) -> Label {
        Label(bytes)
    }

    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Serialize for Label {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Exactly(*self.0).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Label, D::Error> {
        Exactly::deserialize(from).map(|Exactly(bytes)| Label(Zeroizing::new(bytes)))
    }
}

impl State {
    /// Of a device that is new here.
    pub fn new(origin: &str, provider: Hash, device_key: [u8; 33]) -> State {
        State {
            version: VERSION,
            origin: origin.to_owned(),
            provider: Hex(provider),
            device_key: Exactly(device_key),
            head: None,
            held: None,
            candidate: None,
            next: None,
            past: Vec::new(),
        }
    }

    /// Reads it back.
    pub fn load(memory: &impl Memory) -> Result<Option<State>, MemoryError> {
        let damaged = |fault: String| MemoryError::Damaged { name: NAME.to_owned(), fault };
        let Some(bytes) = memory.load(NAME)?.map(Zeroizing::new) else { return Ok(None) };
        let state: State = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if state.version != VERSION {
            return Err(damaged(format!("version {}, this program reads {VERSION}", state.version)));
        }
        Ok(Some(state))
    }

    /// Saves it, durably.
    pub fn save(&self, memory: &impl Memory) -> Result<(), MemoryError> {
        let bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| MemoryError::Damaged { name: NAME.to_owned(), fault: error.to_string() })?;
        memory.save(NAME, &Zeroizing::new(bytes))
    }

    /// The credential in a slot.
    pub fn slot(&self, slot: Slot) -> Option<&Held> {
        match slot {
            Slot::Held => self.held.as_ref(),
            Slot::Next => self.next.as_ref(),
        }
    }

    /// The same, to change it.
    pub fn slot_mut(&mut self, slot: Slot) -> Option<&mut Held> {
        match slot {
            Slot::Held => self.held.as_mut(),
            Slot::Next => self.next.as_mut(),
        }
    }

    /// The head, where one was seen.
    pub fn seen(&self) -> Option<TreeHead> {
        let head = self.head.as_ref()?;
        Some(TreeHead { size: TreeSize::new(head.size).ok()?, root: head.root.0 })
    }
}

impl Dealt {
    /// The form of its records.
    pub fn profile(&self) -> Option<Profile> {
        Profile::new(self.profile)
    }

    /// The shares.
    pub fn shares(&self) -> Option<Shares> {
        Shares::parse(&self.shares.0)
    }

    /// The key that answers are sealed to.
    pub fn kem_key(&self) -> Option<KemPublicKey> {
        KemPublicKey::parse(&self.kem_key.0).ok()
    }

    /// The key of a stream.
    pub fn stream(&self, stream: Stream) -> StreamKey {
        self.secret().stream_key(&self.enrolment_id.0, stream)
    }

    fn secret(&self) -> LabelSecret {
        LabelSecret::from_bytes(*self.label_secret.expose())
    }

    /// What the credential commits to.
    pub fn labels(&self) -> [Hash; 2] {
        [Stream::Own, Stream::Provider].map(|stream| self.stream(stream).label())
    }

    /// What opens the entry with this index key.
    pub fn read_token(&self, index_key: &Hash) -> Option<Token> {
        Token::read(self.secret().read_token(index_key).expose())
    }
}

impl Held {
    /// Where the next instruction goes.
    pub fn next_index_key(&self) -> Hash {
        self.dealt.stream(Stream::Own).index_key(self.sequence)
    }

    /// The log has shown the record with this c at the next place: the one after comes next.
    pub fn advance(&mut self, c: &[u8; 32]) {
        self.previous = Hex(metadata::previous(&self.id.0, self.sequence, c));
        self.sequence += 1;
        let others = self.pending.drain(..).filter(|pending| pending.c.0 != *c);
        self.tried.extend(others.map(|pending| pending.challenge));
    }

    /// The provider this credential is of.
    pub fn provider(&self) -> Option<Hash> {
        Some(Credential::from_own_store(self.credential.as_ref()).ok()?.claims().provider)
    }

    /// Whether an answer left the device whose fate is not known.
    pub fn is_unsettled(&self) -> bool {
        self.pending.iter().any(|pending| !pending.refused)
    }

    /// The provider does not take this answer, it says.
    pub fn refused(&mut self, c: &[u8; 32]) {
        self.pending.iter_mut().filter(|pending| pending.c.0 == *c).for_each(|pending| pending.refused = true);
    }

    /// Makes room for one more answer: what can't enter the log any more goes, and the oldest of too many that were refused.
    /// `Err`: when the first of the others can't, either.
    pub fn make_room(&mut self, now_ms: u64) -> Result<(), u64> {
        let over_ms = |pending: &Pending| pending.expires_ms.saturating_add(2 * TOLERANCE_MS);
        let full = self.pending.iter().filter(|pending| !pending.refused).count() >= PENDING_MAX;
        let refused = self.pending.iter().filter(|pending| pending.refused).count();
        let mut surplus = (refused + 1).saturating_sub(PENDING_MAX);
        let tried = &mut self.tried;
        self.pending.retain(|pending| {
            let over = over_ms(pending) <= now_ms;
            let goes = if pending.refused { over || surplus > 0 } else { over && full };
            if goes {
                surplus = surplus.saturating_sub(usize::from(pending.refused));
                tried.push(pending.challenge);
            }
            !goes
        });
        let others = self.pending.iter().filter(|pending| !pending.refused);
        if others.clone().count() < PENDING_MAX { Ok(()) } else { Err(others.map(over_ms).min().unwrap_or(now_ms)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::Folder;

    fn dealt() -> Dealt {
        Dealt {
            enrolment_id: Hex(Hash([1; 32])),
            profile: 1,
            joint_key: Exactly([2; 33]),
            shares: Exactly([3; 217]),
            kem_key: Exactly([2; 33]),
            label_secret: Label::new(Zeroizing::new([4; 32])),
        }
    }

    fn pending(n: u8, expires_ms: u64) -> Pending {
        Pending {
            c: Exactly([n; 32]),
            challenge: Hex(Hash([n; 32])),
            index_key: Hex(Hash([n; 32])),
            instruction_id: Hex(Hash([1; 32])),
            expires_ms,
            document: Bytes(Vec::new()),
            refused: false,
        }
    }

    fn held() -> Held {
        let id = Hex(Hash([5; 32]));
        Held {
            id,
            credential: Bytes(vec![1, 2, 3]),
            dealt: dealt(),
            issued_at: 1,
            sequence: 0,
            previous: id,
            pending: Vec::new(),
            tried: Vec::new(),
            revoked: false,
            events: 0,
            statuses: 0,
        }
    }

    #[test]
    fn what_was_saved_comes_back() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::open(temp.path().join("device")).unwrap();
        assert!(State::load(&folder).unwrap().is_none());
        let mut state = State::new("log.example", Hash([6; 32]), [2; 33]);
        state.head = Some(Seen { size: 7, root: Hex(Hash([7; 32])), checkpoint: "note".into() });
        state.held = Some(held());
        state.save(&folder).unwrap();
        let back = State::load(&folder).unwrap().unwrap();
        assert_eq!(serde_json::to_value(&back).unwrap(), serde_json::to_value(&state).unwrap());
        assert_eq!(back.seen().unwrap().size.get(), 7);
        assert_eq!(back.held.unwrap().next_index_key(), dealt().stream(Stream::Own).index_key(0));
    }

    #[test]
    fn a_file_of_another_form_is_not_guessed_at() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::open(temp.path().join("device")).unwrap();
        let state = State::new("log.example", Hash([6; 32]), [2; 33]);
        let mut json = serde_json::to_value(&state).unwrap();
        json["version"] = 1.into();
        folder.save(NAME, json.to_string().as_bytes()).unwrap();
        assert!(matches!(State::load(&folder), Err(MemoryError::Damaged { .. })));
        json["version"] = VERSION.into();
        json["more"] = 1.into();
        folder.save(NAME, json.to_string().as_bytes()).unwrap();
        assert!(matches!(State::load(&folder), Err(MemoryError::Damaged { .. })));
    }

    #[test]
    fn the_next_place_follows_from_c_alone() {
        let mut held = held();
        let first = held.next_index_key();
        held.pending.extend([pending(8, 5), pending(9, 5)]);
        held.advance(&[9; 32]);
        assert_eq!((held.sequence, held.pending.len()), (1, 0));
        assert_eq!(held.previous.0, metadata::previous(&held.id.0, 0, &[9; 32]));
        assert_ne!(held.next_index_key(), first);
        assert_eq!(held.tried, [Hex(Hash([8; 32]))], "the other came to no record");
    }

    #[test]
    fn what_was_refused_takes_no_room_and_goes_when_it_can_no_longer_enter_the_log() {
        let mut held = held();
        for n in 0..100 {
            held.make_room(0).unwrap();
            held.pending.push(pending(n, 1000));
            held.refused(&[n; 32]);
        }
        assert!(!held.is_unsettled() && held.pending.len() == PENDING_MAX);
        for n in 100..100 + PENDING_MAX as u8 {
            held.make_room(0).unwrap();
            held.pending.push(pending(n, 1000 + u64::from(n)));
        }
        assert!(held.is_unsettled());
        assert_eq!(held.make_room(0), Err(1100 + 2 * TOLERANCE_MS), "answers whose fate is unknown are not forgotten");
        held.make_room(1100 + 2 * TOLERANCE_MS).unwrap();
        assert_eq!((held.pending.len(), held.pending.iter().any(|p| p.refused)), (PENDING_MAX - 1, false));
        assert_eq!(held.tried.len(), 101, "what this device tried is known for ever");
    }
}
