//! A monitor: reads all that a log has ever shown, and believes nothing of it.
//!
//! ```text
//! checkpoint ── policy: log key, quorum ── heads kept: same size, same root; never smaller
//!     └── every tile and entry ── the root rebuilt, every kept head on the way
//!             └── every entry judged by the rules, every record verified that we may see
//!                     └── Report: OK | INFRASTRUCTURE | SUSPICIOUS | TAMPER
//! ```
//!
//! [`Monitor::pass`] is the whole of it: one look at the log, one [`Report`]. It never fails; what kept it from looking
//! is a finding like others. A pass that is dropped half way has forgotten nothing that was kept.
//!
//! Without a token for openings, or where they are erased, only public facts are checked: kinds, the order of time,
//! unique index keys, the genesis, policies and keys, the root. What can't be opened is counted as unverifiable, and
//! never as in order. With [`Options::plain`] the monitor follows any C2SP log: heads, tiles, root.
//!
//! It shares `tlog` and `scal3` with the server, and nothing else: its HTTP is its own.

mod check;
pub mod fetch;
mod follow;
pub mod openings;
pub mod report;
pub mod state;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tlog::checkpoint::Origin;
use tlog::note::Note;
use tlog::policy::{Accepted, Policy};
use tlog::tile;
pub use verifier::Choice;
use verifier::{Engine, EngineError};

use crate::check::Check;
use crate::fetch::Server;
pub use crate::fetch::{Patience, Token};
use crate::follow::{Follow, on_the_way};
use crate::openings::Openings;
pub use crate::report::{Class, Finding, Report, TwoHeads, What};
use crate::state::{Folder, Kept, Signed, StateError};

/// How to monitor.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where to keep heads and evidence. Without a folder they are forgotten with the [`Monitor`].
    pub state: Option<PathBuf>,
    /// What lets us see openings.
    pub token: Option<Token>,
    /// Any C2SP log: entries are read and hashed, and not interpreted.
    pub plain: bool,
    /// What verifies signatures.
    pub engine: Choice,
    /// How old the newest quorum of cosignatures may be. Says nothing where cosignatures carry no time.
    pub max_age: Option<Duration>,
    /// How long to wait for a server.
    pub patience: Patience,
}

/// Why there is no monitor.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SetupError {
    /// The address of the log.
    #[error(transparent)]
    Server(#[from] fetch::SetupError),
    /// Our own folder.
    #[error(transparent)]
    State(#[from] StateError),
    /// What was to verify signatures.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Follows one log.
#[derive(Debug)]
pub struct Monitor {
    trust: Policy,
    server: Arc<Server>,
    folder: Option<Folder>,
    kept: Kept,
    /// Where we are. Taken while a pass runs, so that a pass which is dropped begins again from what is kept.
    follow: Option<Follow>,
    verifier: Arc<Engine>,
    plain: bool,
    max_age: Option<Duration>,
}

impl Monitor {
    /// A monitor of the log at `url` (where `checkpoint` and `tile/` are), by the keys and the quorum of `trust`.
    ///
    /// # Errors
    /// [`SetupError`]: a bad address, a state that is damaged or in use by another process.
    pub fn new(trust: Policy, url: &str, options: Options) -> Result<Monitor, SetupError> {
        let Options { state, token, plain, engine, max_age, patience } = options;
        let verifier = Arc::new(Engine::new(engine)?);
        let server = Arc::new(Server::new(url, token, patience)?);
        let folder = state.as_deref().map(Folder::open).transpose()?;
        let kept = folder.as_ref().map(Folder::load).transpose()?.unwrap_or_default();
        Ok(Monitor { trust, server, folder, kept, follow: None, verifier, plain, max_age })
    }

    /// Looks at the log once: its head, and all entries that are new to this monitor.
    ///
    /// A monitor that judges entries reads the log from the start in its first pass, whatever it keeps.
    pub async fn pass(&mut self) -> Report {
        let mut report = Report::default();
        if let Err(what) = self.look(&mut report).await {
            if let Some(folder) = &self.folder {
                match folder.evidence(&what) {
                    Ok(file) => report.evidence.extend(file),
                    Err(error) => report.add(What::State(error)),
                }
            }
            report.add(what);
        }
        report
    }

    async fn look(&mut self, report: &mut Report) -> Result<(), What> {
        let offered = self.head(report).await?;
        if self.kept.remember(&offered) {
            self.save(report);
        }
        let mut follow = self.follow.take().unwrap_or_else(|| self.begin(&offered.checkpoint.origin));
        let from = follow.frontier().head();
        let heads = on_the_way(self.kept.heads(), from);
        let mut openings = Openings::new(self.server.clone());
        let read = follow.read(&offered, &heads, &self.server, &mut openings).await;

        report.entries = follow.frontier().size().get() - from.size.get();
        if read.is_ok() {
            let before = self.kept.accepted.as_ref().map(|(signed, _)| signed.head().size.get());
            if let Some(size) = before {
                report.add(What::Extends { size });
            }
            report.add(What::Rebuilt { size: report.size(), entries: report.entries });
            self.kept.accept(offered, follow.frontier().clone());
            self.save(report);
        }
        if let Some(check) = follow.check() {
            check.tell_all(report);
        }
        let unopened = openings.failure();
        if let Some(error) = unopened {
            report.add(What::Openings(error.clone()));
        }
        let lost = matches!(read, Err(What::Diverged(_) | What::OtherRoot { .. }));
        // What was folded without openings that exist is folded again, with them, in the next pass.
        let misled = follow.check().is_some_and(Check::was_misled);
        if unopened.is_none() && !misled && !lost {
            self.follow = Some(follow);
        }
        read
    }

    fn begin(&self, origin: &Origin) -> Follow {
        if self.plain {
            Follow::plain(self.kept.accepted.as_ref())
        } else {
            Follow::from_start(Check::new(origin.clone(), Arc::clone(&self.verifier)))
        }
    }

    /// A head that meets the policy and that nothing kept contradicts, as far as can be told without reading.
    async fn head(&self, report: &mut Report) -> Result<Signed, What> {
        let (signed, accepted) = self.checkpoint().await?;
        let (signed, accepted) = match self.kept.compare(&signed) {
            // An old head is what a forgotten cache would serve as well. It gets a second chance.
            Err(What::Rollback(_)) => {
                self.server.pause().await;
                self.checkpoint().await?
            }
            _ => (signed, accepted),
        };
        let origin = &signed.checkpoint.origin;
        report.origin = Some(origin.as_str().to_owned());
        if let Some(followed) = self.kept.origin().filter(|followed| *followed != origin) {
            return Err(What::OtherLog { followed: followed.to_string(), offered: origin.to_string() });
        }
        report.head = Some(signed.head());
        let witnesses = accepted.witnesses.iter().map(|witness| witness.name.clone()).collect();
        report.add(What::Signed { witnesses });
        if let (Some(max_age), Some(age)) = (self.max_age, self.age(&accepted))
            && age > max_age
        {
            report.add(What::Stale { age, max_age });
        }
        self.kept.compare(&signed)?;
        Ok(signed)
    }

    async fn checkpoint(&self) -> Result<(Signed, Accepted), What> {
        let path = tile::Path::Checkpoint;
        let bytes = self.server.checkpoint().await.map_err(|error| What::Unreachable { path, error })?;
        let note = Note::parse(&bytes).map_err(What::NoNote)?;
        let accepted = self.trust.verify(&note).map_err(What::NotTrusted)?;
        Ok((Signed { note, checkpoint: accepted.checkpoint.clone() }, accepted))
    }

    /// How long ago there was a quorum, by the newest cosignatures that make one. Where the policy asks for none, the
    /// newest of all.
    fn age(&self, accepted: &Accepted) -> Option<Duration> {
        let mut times: Vec<u64> = accepted.witnesses.iter().map(|witness| witness.time.get()).collect();
        times.sort_unstable();
        let quorum_at = |time: &u64| {
            let late = |name: &str| accepted.witnesses.iter().any(|w| w.name == name && w.time.get() >= *time);
            self.trust.quorum_met(&late)
        };
        let time = times.into_iter().rev().find(quorum_at)?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Some(now.saturating_sub(Duration::from_secs(time)))
    }

    /// A state that can't be written is a finding; the one before is still there.
    fn save(&self, report: &mut Report) {
        if let Some(folder) = &self.folder
            && let Err(error) = folder.save(&self.kept)
        {
            report.add(What::State(error));
        }
    }

    /// The folder, where there is one, for messages.
    #[must_use]
    pub fn state(&self) -> Option<&Path> {
        self.folder.as_ref().map(Folder::path)
    }
}

/// The address of the log in a policy that says one, and only one.
#[must_use]
pub fn url_in(trust: &Policy) -> Option<&str> {
    let mut urls = trust.logs().iter().filter_map(|log| log.url.as_deref());
    match (urls.next(), urls.next()) {
        (Some(url), None) => Some(url),
        _ => None,
    }
}
