//! The authority: where people enrol and authorise. The server's half of SCAL3.
//!
//! ```text
//! enrolment.rs       a device deals the shares of a joint key ─► credential, logged
//! intent.rs          an instruction ─► may it be? ─► a challenge, or an outcome `blocked`
//! authorise.rs       a pass ─► counted ─► both factors ─► a record, verified and logged
//! execute.rs         a record ─► published? ─► what its class asks for, done and logged
//! lifecycle.rs       suspended, resumed, revoked, recovered
//! authenticators.rs  what a person has besides the two factors, added and revoked
//! delegations.rs     what a passkey delegates ─► a verdict, and the same for those who can't verify it
//!
//! registration.rs    a passkey becomes one that this provider knows
//! second_opinion.rs  a service of the provider's that can say no
//! kept.rs            what the provider keeps of an enrolment, sealed, in the log
//! ticket.rs          what ties the two steps of an enrolment together
//! challenges.rs      nonce seeds, in memory, each taken once
//! turns.rs           one attempt of a credential at a time
//! strangers.rs       callers whose signatures do not verify
//! ```
//!
//! It trusts nobody: not the caller, not a policy engine, not itself. What it completes it hands to the log as a stranger
//! would, and the log verifies it as a stranger's. All that it knows of a person is in the log: credentials, attempts,
//! outcomes, and, sealed, its half of the keys. So a restart finds everything but the open challenges, and those are void.

pub mod authenticators;
pub mod authorise;
pub mod challenges;
pub mod delegations;
pub mod enrolment;
pub mod execute;
pub mod intent;
pub mod kept;
pub mod lifecycle;
pub mod registration;
pub mod second_opinion;
pub mod strangers;
pub mod ticket;
pub mod turns;

use std::sync::{Arc, Weak};
use std::time::Duration;

use scal3::state::CredentialState;
use tlog::tree::LeafIndex;
use tokio::sync::Semaphore;

use self::challenges::Challenges;
use self::kept::{Kept, KeptError};
use self::registration::RelyingParty;
use self::second_opinion::SecondOpinion;
use self::strangers::Strangers;
use self::turns::Turns;
use crate::engine::Engine;
use crate::execution::Execution;
use crate::history::ReadError;
use crate::keys::KeyStore;
use crate::submission::Allowance;

/// How often it is looked for seeds of challenges that nobody answered.
const WIPE_EVERY: Duration = Duration::from_secs(1);

/// How the authority works.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The provider's name in credentials.
    pub issuer: String,
    /// How long a credential is valid, milliseconds.
    pub credential_ms: u64,
    /// How often the second factor may be wrong.
    pub allowance: Allowance,
    /// What may be open at a time.
    pub challenges: challenges::Limits,
    /// How many requests that do not verify are answered in a minute, for each credential and address.
    pub strangers: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            issuer: "solelog".to_owned(),
            credential_ms: 2 * 365 * 86_400_000,
            allowance: Allowance { in_a_row: 5, in_all: 100 },
            challenges: challenges::Limits { open_ms: 120_000, per_credential: 8, bytes: 64 << 20 },
            strangers: 10,
        }
    }
}

/// The authority of one log. Clones are the same one.
#[derive(Clone)]
pub struct Authority {
    inner: Arc<Inner>,
    execution: Arc<Execution>,
    relying_party: Option<Arc<RelyingParty>>,
    second_opinion: Option<Arc<SecondOpinion>>,
}

struct Inner {
    engine: Engine,
    keys: Arc<dyn KeyStore>,
    settings: Settings,
    clock: Arc<dyn Fn() -> u64 + Send + Sync>,
    challenges: Challenges,
    turns: Turns,
    strangers: Strangers,
    /// As many at a time as there are cores: more would only queue, holding secrets.
    cores: Arc<Semaphore>,
}

/// Why what is kept of an enrolment can't be had.
#[derive(Debug, thiserror::Error)]
pub enum KeptReadError {
    /// The entry can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It does not open.
    #[error(transparent)]
    Kept(#[from] KeptError),
}

impl Authority {
    /// An authority over this log, with these keys. It must be made in a runtime: a task of its own wipes the seeds of
    /// challenges that nobody answered in time, until the authority is gone or the log has stopped.
    pub fn new(
        engine: Engine,
        keys: Arc<dyn KeyStore>,
        settings: Settings,
        clock: Arc<dyn Fn() -> u64 + Send + Sync>,
    ) -> Authority {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let inner = Arc::new(Inner {
            challenges: Challenges::new(settings.challenges),
            strangers: Strangers::new(settings.strangers),
            turns: Turns::default(),
            cores: Arc::new(Semaphore::new(cores)),
            engine,
            keys,
            settings,
            clock,
        });
        tokio::spawn(wipe(Arc::downgrade(&inner)));
        Authority { inner, execution: Arc::default(), relying_party: None, second_opinion: None }
    }

    /// The same, taking devices whose keys live behind a browser.
    #[must_use]
    pub fn with_relying_party(mut self, party: RelyingParty) -> Authority {
        self.relying_party = Some(Arc::new(party));
        self
    }

    /// The same authority, which asks that service too before there is a challenge.
    #[must_use]
    pub fn with_second_opinion(mut self, service: SecondOpinion) -> Authority {
        self.second_opinion = Some(Arc::new(service));
        self
    }

    /// How many nonce seeds are in memory: of challenges that are open.
    pub fn seeds(&self) -> usize {
        self.inner.challenges.seeds()
    }

    /// The log.
    pub fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// The provider's keys.
    pub fn keys(&self) -> &dyn KeyStore {
        &*self.inner.keys
    }

    /// The provider's name.
    pub fn issuer(&self) -> &str {
        &self.inner.settings.issuer
    }

    fn now(&self) -> u64 {
        (self.inner.clock)()
    }

    /// What is kept of a credential's enrolment; `None` where its provider runs SCAL3 elsewhere, or had it erased.
    pub async fn kept(&self, state: &CredentialState) -> Result<Option<Kept>, KeptReadError> {
        let authority = self.clone();
        let (id, enrolment_id) = (state.credential().id(), state.credential().claims().enrolment_id);
        self.blocking(move || {
            let Some(sealed) = authority.inner.engine.kept(&id)? else { return Ok(None) };
            Ok(Some(Kept::open(&*authority.inner.keys, &enrolment_id, &id, &sealed)?))
        })
        .await
    }

    /// Whether this is the token with which its subscriber reads the opening of that entry.
    pub async fn is_read_token(&self, index: LeafIndex, presented: &[u8]) -> Result<bool, KeptReadError> {
        let engine = self.inner.engine.clone();
        let whose = self.blocking(move || -> Result<_, ReadError> {
            let (Some(index_key), Some(credential)) = engine.whose(index)? else { return Ok(None) };
            Ok(engine.credential(&credential)?.map(|state| (index_key, state)))
        });
        let Some((index_key, state)) = whose.await? else { return Ok(false) };
        let kept = self.kept(&state).await?;
        Ok(kept.is_some_and(|kept| kept.label_secret.read_token(&index_key).matches(presented)))
    }

    /// Runs something that computes, on a thread for such work, when a core is free.
    pub(crate) async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let core = Arc::clone(&self.inner.cores).acquire_owned().await;
        let work = tokio::task::spawn_blocking(move || {
            let _core = core;
            work()
        });
        match work.await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is being shut down, and this future with it.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

/// Wipes what has expired, again and again. It holds nothing in between, so the last clone of an authority that goes takes all
/// seeds with it, and this task finds nobody.
async fn wipe(authority: Weak<Inner>) {
    let mut tick = tokio::time::interval(WIPE_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Some(inner) = authority.upgrade() else { return };
        inner.challenges.forget((inner.clock)());
        if inner.engine.is_shut() {
            // The log takes nothing any more, so no seed has a use.
            inner.challenges.close();
            return;
        }
    }
}

type Rng = rand_core::UnwrapErr<getrandom::SysRng>;

/// The system's randomness. Without any the machine can't keep a secret, and nothing may go on.
fn rng() -> Rng {
    rand_core::UnwrapErr(getrandom::SysRng)
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has randomness");
    bytes
}
