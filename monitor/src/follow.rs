//! Following: every entry from where we are to a signed head, and the root rebuilt from them.
//!
//! ```text
//! server ──tiles, bundles──> tlog::reader ──proven entries──> frontier ──> root at every kept size, and at the end
//!                                                     └─────> openings ──> check
//! ```
//!
//! The reader proves each entry against the signed root before it hands it out, and has the frontier of the tree that
//! they make. At the size of every head that was kept that tree must have its root; and the fold, which sees each entry
//! by itself, makes the tree once more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tlog::note::Note;
use tlog::reader::{Proven, ReadError, Reader};
use tlog::tile::Path;
use tlog::tree::TreeHead;
use tlog::{Frontier, LeafHash};
use tokio::task::{JoinSet, spawn_blocking};
use verifier::Engine;

use crate::check::Check;
use crate::fetch::Server;
use crate::keep::KeptFold;
use crate::openings::Openings;
use crate::report::{TwoHeads, What};
use crate::state::Signed;

/// How many tiles and bundles to fetch at once, and how many bundles to read ahead.
const AT_ONCE: u16 = 8;

/// How often to fetch again what doesn't fit, past caches.
const FAULTS: u32 = 2;

/// Where a monitor is in a log.
#[derive(Debug)]
pub(crate) struct Follow {
    frontier: Frontier,
    /// The head under which the last entry was read.
    under: Option<Note>,
    /// What the entries mean; nothing of a log that isn't a solelog.
    check: Option<Check>,
}

impl Follow {
    /// From the first entry, judging each.
    pub fn from_start(check: Check) -> Follow {
        Follow { frontier: Frontier::new(), under: None, check: Some(check) }
    }

    /// From where an earlier process came to, judging what comes.
    pub fn resumed(kept: KeptFold, verifier: Arc<Engine>) -> Follow {
        let KeptFold { under, fold, counts, .. } = kept;
        let frontier = fold.frontier().clone();
        let check = Check::resumed(under.checkpoint.origin, verifier, fold, counts);
        Follow { frontier, under: Some(under.note), check: Some(check) }
    }

    /// From an accepted head, or the first entry, judging none.
    pub fn plain(accepted: Option<&(Signed, Frontier)>) -> Follow {
        match accepted {
            None => Follow { frontier: Frontier::new(), under: None, check: None },
            Some((signed, frontier)) => {
                Follow { frontier: frontier.clone(), under: Some(signed.note.clone()), check: None }
            }
        }
    }

    /// The entries that were read.
    pub fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// The head under which the last of them was read.
    pub fn under(&self) -> Option<&Note> {
        self.under.as_ref()
    }

    /// What was found in them.
    pub fn check(&self) -> Option<&Check> {
        self.check.as_ref()
    }

    /// Reads up to a head that meets the policy. `kept` are the heads that it must extend.
    ///
    /// After an error the entries that were read stay read, and are as proven as before; only after
    /// [`What::Diverged`] and [`What::OtherRoot`] there is nothing to go on from.
    pub async fn read(
        &mut self,
        to: &Signed,
        kept: &BTreeMap<u64, Signed>,
        server: &Arc<Server>,
        openings: &mut Openings,
    ) -> Result<(), What> {
        let reader = Reader::new(self.frontier.head(), to.head()).map_err(|error| self.unreadable(error, to))?;
        let under = self.under.clone();
        let read = read_entries(reader, server, async |proven, frontier| {
            self.take(proven, frontier, to, kept, openings).await
        });
        read.await.map_err(|stopped| match stopped {
            Stopped::By(what) => what,
            Stopped::Diverged => match &under {
                Some(under) => diverged(under, to),
                None => What::EmptyRoot(Box::new(to.note.clone())),
            },
        })?;
        let folded = self.check.as_ref().and_then(Check::head);
        let computed = folded.filter(|folded| *folded != to.head()).unwrap_or_else(|| self.frontier.head());
        if computed != to.head() {
            return Err(What::OtherRoot { computed });
        }
        self.under = Some(to.note.clone());
        Ok(())
    }

    /// Takes proven entries in.
    async fn take(
        &mut self,
        proven: Vec<Proven>,
        read: Frontier,
        to: &Signed,
        kept: &BTreeMap<u64, Signed>,
        openings: &mut Openings,
    ) -> Result<(), What> {
        if proven.is_empty() {
            return Ok(());
        }
        let sizes = self.frontier.size().get() + 1..=read.size().get();
        if kept.range(sizes).next().is_some() {
            let mut frontier = self.frontier.clone();
            for (_, entry) in proven.iter().flat_map(Proven::entries) {
                // There is no entry beyond the largest size: the reader saw to that.
                let _ = frontier.push(LeafHash::of(entry));
                if let Some(kept) = kept.get(&frontier.size().get())
                    && frontier.head() != kept.head()
                {
                    return Err(diverged(&kept.note, to));
                }
            }
        }
        if let Some(mut check) = self.check.take() {
            let entries: Vec<_> = proven.iter().flat_map(Proven::entries).collect();
            let given = openings.of(&entries).await;
            // Three signatures for each record: not on a thread that others wait for.
            let judged = spawn_blocking(move || {
                let entries: Vec<_> = proven.iter().flat_map(Proven::entries).collect();
                check.take(&entries, &given);
                check
            });
            match judged.await {
                Ok(check) => self.check = Some(check),
                // The check is gone, and with it all it knew: whoever goes on without would call that a verdict.
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
        self.frontier = read;
        self.under = Some(to.note.clone());
        Ok(())
    }

    /// Why a reader can't go on from where we are.
    fn unreadable(&self, error: ReadError, to: &Signed) -> What {
        match (&self.under, error) {
            (Some(under), _) => diverged(under, to),
            // From the empty tree only another empty one diverges.
            (None, ReadError::Diverged) => What::EmptyRoot(Box::new(to.note.clone())),
            (None, error) => of_bytes(error),
        }
    }
}

/// Why reading stopped.
pub(crate) enum Stopped {
    /// Something that was found, or kept us from looking.
    By(What),
    /// The tree does not begin with what was read before.
    Diverged,
}

impl From<What> for Stopped {
    fn from(what: What) -> Stopped {
        Stopped::By(what)
    }
}

/// Reads all entries of a reader, and hands out those that are proven, with the frontier of the tree that they and all
/// before them make.
pub(crate) async fn read_entries(
    reader: Reader,
    server: &Arc<Server>,
    mut take: impl AsyncFnMut(Vec<Proven>, Frontier) -> Result<(), What>,
) -> Result<(), Stopped> {
    let mut reader = reader.ahead(AT_ONCE);
    let mut flights = JoinSet::new();
    let mut under_way: BTreeSet<Path> = BTreeSet::new();
    let mut faults: BTreeMap<Path, u32> = BTreeMap::new();
    while !reader.is_done() {
        for path in reader.wants() {
            if flights.len() == usize::from(AT_ONCE) {
                break;
            }
            if under_way.insert(path) {
                let (server, again) = (server.clone(), faults.contains_key(&path));
                flights.spawn(async move { (path, server.resource(path, again).await) });
            }
        }
        // Only a request that panicked has no answer; then the root is another.
        let Some(Ok((wanted, fetched))) = flights.join_next().await else { break };
        under_way.remove(&wanted);
        let (path, bytes) = fetched.map_err(|error| What::Unreachable { path: wanted, error })?;
        match reader.supply_for(path, bytes) {
            Ok(proven) => {
                if let Some(frontier) = reader.frontier() {
                    take(proven, frontier.clone()).await?;
                }
            }
            // It was read meanwhile.
            Err(ReadError::NotWanted(_)) => {}
            Err(ReadError::Diverged | ReadError::Shrinks) => return Err(Stopped::Diverged),
            Err(error) => {
                if error == ReadError::Edge {
                    // Any of them may be the one: all are fetched again, past caches.
                    for path in reader.wants() {
                        faults.entry(path).or_default();
                    }
                }
                let count = faults.entry(wanted).or_default();
                *count += 1;
                if *count > FAULTS {
                    return Err(of_bytes(error).into());
                }
                server.pause().await;
            }
        }
    }
    Ok(())
}

fn diverged(kept: &Note, to: &Signed) -> What {
    What::Diverged(Box::new(TwoHeads { kept: kept.clone(), offered: to.note.clone() }))
}

/// What it means that bytes don't fit. Those that aren't even of the right form were cut or mangled on the way, as
/// networks and disks do; whole ones that hash to something else were changed.
fn of_bytes(error: ReadError) -> What {
    match error {
        ReadError::Length(_) | ReadError::Bundle { .. } => What::Damaged(error),
        _ => What::Altered(error),
    }
}

/// The heads that have to be passed on the way from one size to another.
pub(crate) fn on_the_way<'a>(heads: impl Iterator<Item = &'a Signed>, from: TreeHead) -> BTreeMap<u64, Signed> {
    heads
        .filter(|signed| signed.head().size > from.size)
        .map(|signed| (signed.head().size.get(), signed.clone()))
        .collect()
}
