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

pub mod alert;
pub mod canary;
mod check;
mod evidence;
pub mod fetch;
mod follow;
mod keep;
pub mod mirror;
pub mod openings;
pub mod report;
pub mod serve;
pub mod state;
mod views;
pub mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use scal3::accusation::{Accusation, Charge};
use tlog::Frontier;
use tlog::checkpoint::Origin;
use tlog::note::Note;
use tlog::policy::{Accepted, Policy};
use tlog::tile;
use tlog::tree::TreeSize;
pub use verifier::Choice;
use verifier::{Engine, EngineError};

use crate::check::Check;
use crate::evidence::{Prover, Tree};
use crate::fetch::Server;
pub use crate::fetch::{Patience, Token};
use crate::follow::{Follow, on_the_way};
use crate::openings::Openings;
pub use crate::report::{Class, Finding, Report, TwoHeads, What};
use crate::state::{Folder, Kept, Signed, StateError};
use crate::views::Views;

/// The most findings that one pass tries to prove by the whole log up to them.
const MOST_REPLAYS: u32 = 4;

/// How often to try to prove a finding.
const TRIES: u32 = 3;

/// How often what the log means is kept, and by which part of itself the log has to grow for that to be sooner.
const KEEP_EVERY: Duration = Duration::from_secs(3600);
const KEEP_AT_GROWTH: u64 = 16;

/// How to monitor.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where to keep heads and evidence. Without a folder they are forgotten with the [`Monitor`].
    pub state: Option<PathBuf>,
    /// What lets us see openings.
    pub token: Option<Token>,
    /// From the first entry on, whatever is kept.
    pub whole: bool,
    /// Any C2SP log: entries are read and hashed, and not interpreted.
    pub plain: bool,
    /// What verifies signatures.
    pub engine: Choice,
    /// How old the newest quorum of cosignatures may be. Says nothing where cosignatures carry no time.
    pub max_age: Option<Duration>,
    /// How long to wait for a server.
    pub patience: Patience,
    /// Other monitors of this log, by the addresses where they publish the head that they accepted.
    pub peers: Vec<String>,
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
    /// What the last pass read up to, until it is settled.
    read: Option<(Signed, Frontier)>,
    verifier: Arc<Engine>,
    views: Views,
    /// By the key of a finding, what came of proving it.
    proofs: BTreeMap<String, Proof>,
    plain: bool,
    whole: bool,
    /// The size of the fold that is kept, and when this process wrote it, if it did.
    kept_fold: Option<(u64, Option<Instant>)>,
    max_age: Option<Duration>,
}

/// What came of proving a finding.
#[derive(Clone, Debug)]
enum Proof {
    /// The file, where there is a folder to put it.
    Proven(Option<PathBuf>),
    /// Tried so often.
    Unproven(u32),
}

impl Monitor {
    /// A monitor of the log at `url` (where `checkpoint` and `tile/` are), by the keys and the quorum of `trust`.
    ///
    /// # Errors
    /// [`SetupError`]: a bad address, a state that is damaged or in use by another process.
    pub fn new(trust: Policy, url: &str, options: Options) -> Result<Monitor, SetupError> {
        let Options { state, token, whole, plain, engine, max_age, patience, peers } = options;
        let verifier = Arc::new(Engine::new(engine)?);
        let server = Arc::new(Server::new(url, token, patience)?);
        let views = Views::new(&trust, &peers, patience)?;
        let folder = state.as_deref().map(Folder::open).transpose()?;
        let kept = folder.as_ref().map(Folder::load).transpose()?.unwrap_or_default();
        Ok(Monitor {
            trust,
            server,
            folder,
            kept,
            follow: None,
            read: None,
            verifier,
            views,
            proofs: BTreeMap::new(),
            plain,
            whole,
            kept_fold: None,
            max_age,
        })
    }

    /// Looks at the log once: its head, and all entries that are new to this monitor. What was read counts as accepted.
    ///
    /// The first pass goes on from what is kept; where nothing is, or with [`Options::whole`], from the first entry.
    pub async fn pass(&mut self) -> Report {
        let mut report = self.look().await;
        self.settle(&mut report);
        report
    }

    /// The same, and what was read is not accepted before [`Monitor::settle`] is called: after somebody was told of it.
    pub async fn look(&mut self) -> Report {
        let mut report = Report::default();
        let mut offered = match self.head(&mut report).await {
            Ok(offered) => Some(offered),
            Err(what) => {
                report.add(what);
                None
            }
        };
        if let Some(offered) = &mut offered {
            if let Err(what) = self.read(offered, &mut report).await {
                report.add(what);
            }
            self.compare_views(offered, &mut report).await;
        }
        self.prove(offered.as_ref(), &mut report).await;
        report
    }

    /// Accepts what the last pass read: the next one goes on from there.
    pub fn settle(&mut self, report: &mut Report) {
        if let Some((signed, frontier)) = self.read.take() {
            self.kept.accept(signed, frontier);
            if self.save(report) {
                self.keep_fold(report);
            }
        }
    }

    /// Keeps what the log means now, for the next process. It grows with the log, so not in every round: the first time in a
    /// process, when the log has grown by a sixteenth, and every hour.
    fn keep_fold(&mut self, report: &mut Report) {
        let (Some(folder), Some(follow)) = (&self.folder, &self.follow) else { return };
        let size = follow.frontier().size().get();
        let due = self.kept_fold.is_none_or(|(before, written)| {
            let late = written.is_none_or(|written| written.elapsed() >= KEEP_EVERY);
            size > before && (late || size - before >= before / KEEP_AT_GROWTH)
        });
        let (true, Some(check), Some(under)) = (due, follow.check(), follow.under()) else { return };
        let Some(bytes) = keep::to_bytes(check, under, self.server.has_token()) else { return };
        match folder.save_fold(&bytes) {
            Ok(()) => self.kept_fold = Some((size, Some(Instant::now()))),
            Err(error) => report.add(What::State(error)),
        }
    }

    /// Reads up to a head, and judges what is new.
    async fn read(&mut self, offered: &mut Signed, report: &mut Report) -> Result<(), What> {
        if self.kept.remember(offered) {
            self.save(report);
        }
        let mut follow = match self.follow.take() {
            Some(follow) => follow,
            None => self.begin(&offered.checkpoint.origin, report),
        };
        let from = follow.frontier().head();
        let heads = on_the_way(self.kept.on_history(), from);
        let mut openings = Openings::new(self.server.clone());
        let mut read = follow.read(offered, &heads, &self.server, &mut openings).await;
        if read.is_ok() && follow.check().is_some_and(|check| !check.gone().is_empty()) {
            // The entry that explains it may be under the next head: an opening is erased as soon as its entry is durable.
            self.server.pause().await;
            if let Some(newer) = self.newer_than(offered).await {
                *offered = newer;
                report.head = Some(offered.head());
                read = follow.read(offered, &heads, &self.server, &mut openings).await;
            }
        }

        report.entries = follow.frontier().size().get() - from.size.get();
        if read.is_ok() {
            let before = self.kept.accepted.as_ref().map(|(signed, _)| signed.head().size.get());
            if let Some(size) = before {
                report.add(What::Extends { size });
            }
            report.add(What::Rebuilt { size: report.size(), entries: report.entries });
            self.read = Some((offered.clone(), follow.frontier().clone()));
        }
        if let Some(check) = follow.check() {
            check.tell_all(report);
            check.log_key_beyond(&self.trust).into_iter().for_each(|what| report.add(what));
            let indexes = check.gone();
            if !indexes.is_empty() && read.is_ok() {
                report.add(What::Gone { indexes });
            }
        }
        let unopened = openings.failure();
        if let Some(error) = unopened {
            report.add(What::Openings(error.clone()));
        }
        let lost = matches!(read, Err(What::Diverged(_) | What::OtherRoot { .. }));
        if lost {
            self.kept_fold = None;
            self.folder.iter().for_each(Folder::forget_fold);
        }
        // What was folded without openings that exist is folded again, with them, in the next pass.
        let misled = follow.check().is_some_and(Check::was_misled);
        if unopened.is_none() && !misled && !lost {
            self.follow = Some(follow);
        }
        read
    }

    /// A larger head that can be read up to at once.
    async fn newer_than(&self, offered: &Signed) -> Option<Signed> {
        let (newer, _) = self.checkpoint().await.ok()?;
        let larger = newer.head().size > offered.head().size && newer.checkpoint.origin == offered.checkpoint.origin;
        (larger && self.kept.compare(&newer).is_ok()).then_some(newer)
    }

    /// Compares what witnesses and other monitors have seen.
    async fn compare_views(&mut self, offered: &Signed, report: &mut Report) {
        let check = self.follow.as_ref().and_then(Follow::check);
        let root_at = |size| check.and_then(|check| check.root_at(size));
        let beyond = self.views.compare(offered, &self.trust, &self.server, root_at, report).await;
        let mut new = false;
        for reported in beyond {
            new |= self.kept.report(&reported);
        }
        if new {
            self.save(report);
        }
    }

    /// Writes an evidence file for each TAMPER; what can't be proven to others is none.
    async fn prove(&mut self, offered: Option<&Signed>, report: &mut Report) {
        let mut replays = 0;
        for place in 0..report.findings.len() {
            let what = match report.findings.get(place) {
                Some(Finding { class: Class::Tamper, what, .. }) if !matches!(what, What::MoreWrong(_)) => what.clone(),
                _ => continue,
            };
            let key = alert::key(&what);
            let tries = match self.proofs.get(&key) {
                Some(Proof::Proven(file)) => {
                    file.clone().into_iter().for_each(|file| report.proven(place, file));
                    continue;
                }
                Some(Proof::Unproven(tries)) => *tries,
                None => 0,
            };
            let mut evidence = None;
            if tries < TRIES {
                let replay = replays < MOST_REPLAYS;
                replays += u32::from(what.index().is_some());
                let check = self.follow.as_ref().and_then(Follow::check);
                let lead = |index| check.map(|check| check.lead_of(index)).unwrap_or_default();
                let prover = Prover { server: &self.server, trust: &self.trust, head: offered };
                evidence = prover.prove(&what, lead, replay).await;
            }
            let Some(evidence) = evidence else {
                self.proofs.insert(key, Proof::Unproven(tries + 1));
                report.replace(place, What::Unproven(Box::new(what)));
                continue;
            };
            match self.folder.as_ref().map(|folder| folder.evidence(what.code(), &evidence)).transpose() {
                Ok(file) => {
                    file.clone().into_iter().for_each(|file| report.proven(place, file));
                    self.proofs.insert(key, Proof::Proven(file));
                }
                // It was proven, and can't be kept yet: the next pass gathers it again.
                Err(error) => report.add(What::State(error)),
            }
        }
    }

    fn begin(&mut self, origin: &Origin, report: &mut Report) -> Follow {
        if self.plain {
            return Follow::plain(self.kept.accepted.as_ref());
        }
        let verifier = Arc::clone(&self.verifier);
        let folder = self.folder.as_ref().filter(|_| !self.whole);
        let kept = folder.map_or(Ok(None), Folder::load_fold).unwrap_or_else(|error| {
            report.add(What::State(error));
            None
        });
        match kept.filter(|kept| kept.fits(&self.kept, self.server.has_token())) {
            Some(kept) => {
                let written = self.kept_fold.and_then(|(_, written)| written);
                self.kept_fold = Some((kept.fold.head().size.get(), written));
                Follow::resumed(kept, verifier)
            }
            None => {
                self.kept_fold = None;
                Follow::from_start(Check::new(origin.clone(), verifier))
            }
        }
    }

    /// A head that meets the policy and that nothing kept contradicts, as far as can be told without reading.
    async fn head(&self, report: &mut Report) -> Result<Signed, What> {
        let (signed, accepted) = self.checkpoint().await?;
        let (signed, accepted) = match self.kept.compare(&signed) {
            // An old head is what a forgotten cache would serve as well. It gets a second chance.
            Err(What::Behind(_)) => {
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
        match self.kept.compare(&signed) {
            Err(What::Behind(heads)) => Err(self.behind(heads).await),
            compared => compared.map(|()| signed),
        }
    }

    /// A smaller head than before: of another history, shown to a witness later, or just an old one.
    async fn behind(&self, heads: Box<TwoHeads>) -> What {
        let (Some(kept), Some(offered)) = (Signed::read(heads.kept.clone()), Signed::read(heads.offered.clone()))
        else {
            return What::Behind(heads);
        };
        let (larger, smaller) = (kept.head(), offered.head());
        let known = self.follow.as_ref().and_then(Follow::check).and_then(|check| check.root_at(smaller.size.get()));
        let begins = match known {
            Some(root) => Some(root),
            None => self.beginning_of(&larger, smaller.size).await,
        };
        if begins.is_some_and(|root| root != smaller.root) {
            return What::Diverged(heads);
        }
        let charge = Charge::Rollback { other: heads.kept.clone() };
        match (Accusation { head: heads.offered.clone(), charge }).judge(&self.trust) {
            Ok(_) => What::Rollback(heads),
            Err(_) => What::Behind(heads),
        }
    }

    /// What a tree begins with, where the log still shows it.
    async fn beginning_of(&self, tree: &tlog::TreeHead, size: TreeSize) -> Option<tlog::Hash> {
        let beginning = Tree::new(&self.server, tree.size, true).beginning_under(size, tree).await;
        beginning.ok().map(|beginning| beginning.root)
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

    /// Whether the state was written. One that can't be is a finding; the one before is still there.
    fn save(&self, report: &mut Report) -> bool {
        match self.folder.as_ref().map_or(Ok(()), |folder| folder.save(&self.kept)) {
            Ok(()) => true,
            Err(error) => {
                report.add(What::State(error));
                false
            }
        }
    }

    /// The last accepted head, as the log and its witnesses signed it.
    #[must_use]
    pub fn accepted(&self) -> Option<&Note> {
        self.kept.accepted.as_ref().map(|(signed, _)| &signed.note)
    }

    /// The size of the last accepted head, 0 where there is none.
    #[must_use]
    pub fn accepted_size(&self) -> u64 {
        self.kept.accepted.as_ref().map_or(0, |(signed, _)| signed.head().size.get())
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
