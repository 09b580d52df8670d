//! Open challenges: in memory only, each answered once.
//!
//! ```text
//! open ──► (random, D, E) to the device          at most 8 per credential, 120 s
//! peek ──► what the public checks need           as often as anybody asks; nothing is spent
//! take ──► the nonce seed                        once: whoever is second finds it spent
//! forget ► the seeds of what has expired wiped   on a timer, whether or not anybody asks for anything
//! ```
//!
//! A seed that answered two passes gives the provider's share away, so it leaves here once and by value, and it is in no
//! file: a restart voids every open challenge. What the log has of a challenge, that it was spent, is an entry
//! ([`scal3::attempts`]); it outlives the process, and a second answer finds it there.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use scal3::instruction::Presented;
use scal3::{Hash, Profile};
use threshold::{NonceSeed, Session};

/// What may be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long a challenge is open, milliseconds.
    pub open_ms: u64,
    /// How many may be open for one credential: with many, signatures can be forged from concurrent sessions.
    pub per_credential: usize,
    /// How many bytes all of them may hold, about.
    pub bytes: usize,
}

/// An open challenge, as far as it is public.
#[derive(Debug)]
pub struct Opened {
    /// Whose.
    pub credential: Hash,
    /// The form of its records.
    pub profile: Profile,
    /// What it was opened for.
    pub instruction_id: Hash,
    /// The instruction, as far as it was shown.
    pub presented: Presented,
    /// 32 random bytes, in the challenge.
    pub random: [u8; 32],
    /// Random, D, E and credential, as both sides see them.
    pub session: Session,
    /// When it expires.
    pub expires_ms: u64,
}

/// Why a challenge can't be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeError {
    /// It was never opened here, or a restart has voided it.
    #[error("this challenge is not open")]
    Unknown,
    /// It was answered.
    #[error("this challenge was answered before")]
    Spent,
    /// It is too late.
    #[error("this challenge has expired")]
    Expired,
}

/// Why no challenge is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FullError {
    /// The credential has as many open as it may have.
    #[error("the credential has {open} challenges open, and may have no more")]
    Credential {
        /// How many.
        open: usize,
    },
    /// All credentials together.
    #[error("too many challenges are open")]
    All,
}

/// All open challenges.
pub struct Challenges {
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    slots: HashMap<Hash, Slot>,
    /// The slots of each credential.
    of: HashMap<Hash, Vec<Hash>>,
    /// All slots, the oldest first: they expire in this order.
    queue: VecDeque<(u64, Hash)>,
    bytes: usize,
    closed: bool,
}

struct Slot {
    credential: Hash,
    held: Held,
    expires_ms: u64,
    bytes: usize,
}

enum Held {
    /// The seed is here.
    Open(Arc<Opened>, NonceSeed),
    /// It was taken.
    Spent,
    /// Nobody took it in time, and it is wiped.
    Expired,
}

/// What an open slot holds beside the instruction, about.
const SLOT: usize = 1024;

/// What one holds that is open no more.
const CLOSED: usize = 160;

/// How long it is known of a challenge that it has expired, or was spent. After that it is one that was never open.
const REMEMBERED_MS: u64 = 60_000;

impl Challenges {
    /// None are open.
    pub fn new(limits: Limits) -> Challenges {
        Challenges { limits, state: Mutex::default() }
    }

    /// How long one is open, milliseconds.
    pub fn open_ms(&self) -> u64 {
        self.limits.open_ms
    }

    /// Opens one. `length` is that of the instruction, in bytes.
    pub fn open(&self, opened: Opened, seed: NonceSeed, length: usize, now_ms: u64) -> Result<(), FullError> {
        let mut state = self.lock();
        state.forget(now_ms);
        let open = state.of(&opened.credential).filter(|slot| slot.check(now_ms).is_ok()).count();
        if open >= self.limits.per_credential {
            return Err(FullError::Credential { open });
        }
        let bytes = SLOT + length;
        if state.closed || state.bytes + bytes > self.limits.bytes {
            return Err(FullError::All);
        }
        let challenge = *opened.session.challenge();
        state.bytes += bytes;
        state.of.entry(opened.credential).or_default().push(challenge);
        let (credential, expires_ms) = (opened.credential, opened.expires_ms);
        state.queue.push_back((expires_ms, challenge));
        state.slots.insert(challenge, Slot { credential, held: Held::Open(Arc::new(opened), seed), expires_ms, bytes });
        Ok(())
    }

    /// What is open under that challenge. Nothing is spent.
    pub fn peek(&self, challenge: &Hash, now_ms: u64) -> Result<Arc<Opened>, ChallengeError> {
        let state = self.lock();
        let slot = state.slots.get(challenge).ok_or(ChallengeError::Unknown)?;
        slot.check(now_ms).map(Arc::clone)
    }

    /// Takes the seed. Nobody gets it again.
    pub fn take(&self, challenge: &Hash, now_ms: u64) -> Result<NonceSeed, ChallengeError> {
        let mut state = self.lock();
        let slot = state.slots.get_mut(challenge).ok_or(ChallengeError::Unknown)?;
        slot.check(now_ms)?;
        let (held, freed) = slot.close(Held::Spent);
        state.bytes -= freed;
        match held {
            Held::Open(_, seed) => Ok(seed),
            Held::Spent | Held::Expired => Err(ChallengeError::Spent),
        }
    }

    /// The open challenge of a credential for an instruction of which as much is shown, if there is one: the same question
    /// gets the same answer.
    pub fn find(
        &self,
        credential: &Hash,
        instruction_id: &Hash,
        presented: &Presented,
        now_ms: u64,
    ) -> Option<Arc<Opened>> {
        let state = self.lock();
        let fits = |opened: &&Arc<Opened>| opened.instruction_id == *instruction_id && opened.presented == *presented;
        state.of(credential).filter_map(|slot| slot.check(now_ms).ok()).find(fits).map(Arc::clone)
    }

    /// Wipes the seeds of what has expired, and forgets what expired long ago.
    pub fn forget(&self, now_ms: u64) {
        self.lock().forget(now_ms);
    }

    /// Wipes all of it, and opens no more.
    pub fn close(&self) {
        *self.lock() = State { closed: true, ..State::default() };
    }

    /// How many seeds are in memory.
    pub fn seeds(&self) -> usize {
        self.lock().slots.values().filter(|slot| matches!(slot.held, Held::Open(..))).count()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn check(&self, now_ms: u64) -> Result<&Arc<Opened>, ChallengeError> {
        match &self.held {
            Held::Spent => Err(ChallengeError::Spent),
            Held::Expired => Err(ChallengeError::Expired),
            Held::Open(..) if now_ms > self.expires_ms => Err(ChallengeError::Expired),
            Held::Open(opened, _) => Ok(opened),
        }
    }

    /// Lets go of what it holds. The instruction is not needed any more, and its bytes are somebody else's: so many.
    fn close(&mut self, held: Held) -> (Held, usize) {
        let freed = std::mem::replace(&mut self.bytes, CLOSED) - CLOSED;
        (std::mem::replace(&mut self.held, held), freed)
    }
}

impl State {
    fn of(&self, credential: &Hash) -> impl Iterator<Item = &Slot> {
        self.of.get(credential).into_iter().flatten().filter_map(|challenge| self.slots.get(challenge))
    }

    /// Wipes the seeds of what has expired, and forgets what expired long ago.
    fn forget(&mut self, now_ms: u64) {
        let expired = self.queue.iter().take_while(|(expires_ms, _)| now_ms > *expires_ms);
        for (_, challenge) in expired {
            let slot = self.slots.get_mut(challenge).filter(|slot| matches!(slot.held, Held::Open(..)));
            // Dropping the seed wipes it.
            self.bytes -= slot.map_or(0, |slot| slot.close(Held::Expired).1);
        }
        while let Some((expires_ms, challenge)) = self.queue.front().copied() {
            if expires_ms.saturating_add(REMEMBERED_MS) >= now_ms {
                return;
            }
            self.queue.pop_front();
            let Some(slot) = self.slots.remove(&challenge) else { continue };
            self.bytes -= slot.bytes;
            if let Some(of) = self.of.get_mut(&slot.credential) {
                of.retain(|other| *other != challenge);
                if of.is_empty() {
                    self.of.remove(&slot.credential);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use scal3::instruction::Shown;
    use threshold::Profile1;

    use super::*;

    const LIMITS: Limits = Limits { open_ms: 1000, per_credential: 2, bytes: 1 << 20 };

    fn open(challenges: &Challenges, credential: u8, instruction: u8, now_ms: u64) -> Result<Hash, FullError> {
        let seed = NonceSeed::from_bytes([instruction ^ credential; 32]);
        let random = [instruction; 32];
        let credential = Hash([credential; 32]);
        let session = Session::new(&credential, &random, &seed.commitment::<Profile1>());
        let challenge = *session.challenge();
        let opened = Opened {
            credential,
            profile: Profile::EcSdsa,
            instruction_id: Hash([instruction; 32]),
            presented: Presented { class: "x".into(), shown: Shown::default() },
            random,
            session,
            expires_ms: now_ms + LIMITS.open_ms,
        };
        challenges.open(opened, seed, 10, now_ms).map(|()| challenge)
    }

    #[test]
    fn a_challenge_is_taken_once_and_in_time() {
        let challenges = Challenges::new(LIMITS);
        let one = open(&challenges, 1, 1, 0).expect("room");
        assert_eq!(challenges.take(&Hash([9; 32]), 0).err(), Some(ChallengeError::Unknown));
        assert!(challenges.peek(&one, 1000).is_ok());
        assert_eq!(challenges.take(&one, 1001).err(), Some(ChallengeError::Expired));
        assert!(challenges.take(&one, 1000).is_ok());
        assert_eq!(challenges.take(&one, 1000).err(), Some(ChallengeError::Spent));
        assert_eq!(challenges.peek(&one, 1000).err(), Some(ChallengeError::Spent));
    }

    #[test]
    fn a_credential_has_so_many_open_and_no_more_and_others_are_not_held_up() {
        let challenges = Challenges::new(LIMITS);
        let one = open(&challenges, 1, 1, 0).expect("room");
        open(&challenges, 1, 2, 0).expect("room");
        assert_eq!(open(&challenges, 1, 3, 0), Err(FullError::Credential { open: 2 }));
        open(&challenges, 2, 3, 0).expect("another credential");
        challenges.take(&one, 0).expect("open");
        open(&challenges, 1, 3, 0).expect("one was answered");
        open(&challenges, 1, 4, 1001).expect("the others have expired");
    }

    #[test]
    fn a_seed_that_nobody_took_is_gone_when_its_time_is_and_is_known_to_have_expired() {
        let challenges = Challenges::new(LIMITS);
        let (one, taken) = (open(&challenges, 1, 1, 0).expect("room"), open(&challenges, 1, 2, 0).expect("room"));
        challenges.take(&taken, 0).expect("open");
        challenges.forget(1000);
        assert_eq!(challenges.seeds(), 1);
        challenges.forget(1001);
        assert_eq!((challenges.seeds(), challenges.lock().bytes), (0, 2 * CLOSED));
        assert_eq!(challenges.take(&one, 1001).err(), Some(ChallengeError::Expired));
        assert_eq!(challenges.take(&one, 1000).err(), Some(ChallengeError::Expired), "a clock that goes back");
        assert_eq!(challenges.take(&taken, 1001).err(), Some(ChallengeError::Spent));
        challenges.forget(LIMITS.open_ms + REMEMBERED_MS + 1);
        assert_eq!((challenges.take(&one, 0).err(), challenges.lock().bytes), (Some(ChallengeError::Unknown), 0));
    }

    #[test]
    fn when_it_is_closed_nothing_is_left_and_nothing_is_opened() {
        let challenges = Challenges::new(LIMITS);
        let one = open(&challenges, 1, 1, 0).expect("room");
        challenges.close();
        assert_eq!((challenges.seeds(), challenges.take(&one, 0).err()), (0, Some(ChallengeError::Unknown)));
        assert_eq!(open(&challenges, 1, 2, 0), Err(FullError::All));
    }

    #[test]
    fn what_is_forgotten_leaves_room() {
        let challenges = Challenges::new(Limits { bytes: 2 * (SLOT + 10), ..LIMITS });
        open(&challenges, 1, 1, 0).expect("room");
        open(&challenges, 2, 1, 0).expect("room");
        assert_eq!(open(&challenges, 3, 1, 0), Err(FullError::All));
        let later = LIMITS.open_ms + REMEMBERED_MS + 1;
        open(&challenges, 3, 1, later).expect("room again");
        let state = challenges.lock();
        assert_eq!((state.slots.len(), state.of.len(), state.queue.len(), state.bytes), (1, 1, 1, SLOT + 10));
    }

    #[test]
    fn the_same_question_finds_the_challenge_that_is_open_for_it() {
        let challenges = Challenges::new(LIMITS);
        let one = open(&challenges, 1, 1, 0).expect("room");
        let find = |credential: u8, instruction: u8, now| {
            let presented = Presented { class: "x".into(), shown: Shown::default() };
            let found = challenges.find(&Hash([credential; 32]), &Hash([instruction; 32]), &presented, now);
            found.map(|opened| *opened.session.challenge())
        };
        assert_eq!(find(1, 1, 1000), Some(one));
        assert_eq!((find(1, 2, 0), find(2, 1, 0), find(1, 1, 1001)), (None, None, None));
        challenges.take(&one, 0).expect("open");
        assert_eq!(find(1, 1, 0), None);
    }

    #[test]
    fn of_many_at_once_one_gets_the_seed() {
        let challenges = Challenges::new(LIMITS);
        let one = open(&challenges, 1, 1, 0).expect("room");
        let won = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..64).map(|_| scope.spawn(|| challenges.take(&one, 0).is_ok())).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).filter(|won| *won).count()
        });
        assert_eq!(won, 1);
    }
}
