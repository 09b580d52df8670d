//! Views: what witnesses and other monitors have seen of the log, beside what it shows us.
//!
//! ```text
//! witness  <url>/<SHA-256 of the origin>/checkpoint     c2sp.org/tlog-witness, monitoring endpoint
//! monitor  <url>/head                                   the head that it accepted last
//! ```
//! A head that the log signed lies on our history, or the log shows two of them: the two heads and a proof of what the
//! larger one begins with are evidence. A head beyond ours is kept, and the history has to pass through it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tlog::Hash;
use tlog::checkpoint::Origin;
use tlog::note::Note;
use tlog::policy::Policy;
use tokio::task::JoinSet;

use crate::evidence::Tree;
use crate::fetch::{FetchError, Patience, Server, SetupError};
use crate::report::{Report, TwoHeads, What};
use crate::state::Signed;

/// After how many passes a head that others have, and that is not shown to us, is told.
const PATIENCE: u32 = 2;

/// Who is asked.
#[derive(Debug)]
pub(crate) struct Views {
    sources: Vec<Source>,
    /// How often in a row somebody was ahead of what the log shows.
    ahead: BTreeMap<String, u32>,
}

#[derive(Debug)]
struct Source {
    name: String,
    server: Arc<Server>,
    is_witness: bool,
}

impl Views {
    /// The witnesses of the policy that have a URL, and other monitors.
    pub fn new(trust: &Policy, peers: &[String], patience: Patience) -> Result<Views, SetupError> {
        let mut sources = Vec::new();
        for witness in trust.witnesses() {
            if let Some(url) = &witness.url {
                let server = Arc::new(Server::new(url, None, patience)?);
                sources.push(Source { name: witness.name.clone(), server, is_witness: true });
            }
        }
        for url in peers {
            let server = Arc::new(Server::new(url, None, patience)?);
            sources.push(Source { name: url.clone(), server, is_witness: false });
        }
        Ok(Views { sources, ahead: BTreeMap::new() })
    }

    /// What each of them reports, in their order.
    async fn ask(&self, origin: &Origin) -> Vec<(String, Result<Vec<u8>, FetchError>)> {
        let mut flights = JoinSet::new();
        for (place, source) in self.sources.iter().enumerate() {
            let path = if source.is_witness { format!("{}/checkpoint", origin.hash().to_hex()) } else { "head".into() };
            let (name, server) = (source.name.clone(), source.server.clone());
            flights.spawn(async move { (place, name, server.note_at(&path).await) });
        }
        let mut answers = flights.join_all().await;
        answers.sort_by_key(|(place, ..)| *place);
        answers.into_iter().map(|(_, name, answer)| (name, answer)).collect()
    }

    /// Compares what they report with the head that the log shows us. Gives the heads that are beyond it.
    pub async fn compare(
        &mut self,
        offered: &Signed,
        trust: &Policy,
        log: &Arc<Server>,
        root_at: impl Fn(u64) -> Option<Hash>,
        report: &mut Report,
    ) -> Vec<Signed> {
        let (mut agree, mut beyond) = (Vec::new(), Vec::new());
        for (name, answer) in self.ask(&offered.checkpoint.origin).await {
            let bytes = match answer {
                Ok(bytes) => bytes,
                // Nobody has to have seen this log yet.
                Err(FetchError::NotFound) => continue,
                Err(error) => {
                    report.add(What::View { by: name, error });
                    continue;
                }
            };
            let signed = Note::parse(&bytes).ok().filter(|note| scal3::verdict::signed(note, trust).is_ok());
            let of_log = |signed: &Signed| signed.checkpoint.origin == offered.checkpoint.origin;
            let Some(reported) = signed.and_then(Signed::read).filter(of_log) else {
                report.add(What::NoView { by: name });
                continue;
            };
            let verdict = agreement(&reported, offered, log, &root_at).await;
            if verdict != Agreement::Unshown {
                self.ahead.remove(&name);
            }
            match verdict {
                Agreement::Agrees => agree.push(name),
                Agreement::Contradicts => {
                    let heads = Box::new(TwoHeads { kept: reported.note, offered: offered.note.clone() });
                    report.add(What::Split { by: name, heads });
                }
                Agreement::Unshown => {
                    let times = self.ahead.entry(name.clone()).or_default();
                    *times += 1;
                    if *times >= PATIENCE {
                        let (size, ours) = (reported.head().size.get(), offered.head().size.get());
                        report.add(What::Unshown { by: name, size, ours });
                    }
                    beyond.push(reported);
                }
            }
        }
        if !agree.is_empty() {
            report.add(What::Views { by: agree });
        }
        beyond
    }
}

/// How a head that somebody reports goes with ours.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Agreement {
    Agrees,
    Contradicts,
    /// The log does not show how the two go together.
    Unshown,
}

async fn agreement(
    reported: &Signed,
    offered: &Signed,
    log: &Arc<Server>,
    root_at: &impl Fn(u64) -> Option<Hash>,
) -> Agreement {
    let (theirs, ours) = (reported.head(), offered.head());
    let judge = |same| if same { Agreement::Agrees } else { Agreement::Contradicts };
    if theirs.size == ours.size {
        return judge(theirs.root == ours.root);
    }
    if theirs.size < ours.size && root_at(theirs.size.get()) == Some(theirs.root) {
        return Agreement::Agrees;
    }
    let (smaller, larger) = if theirs.size < ours.size { (theirs, ours) } else { (ours, theirs) };
    for past_caches in [false, true] {
        let mut tree = Tree::new(log, larger.size, past_caches);
        if let Ok(beginning) = tree.beginning_under(smaller.size, &larger).await {
            return judge(beginning.root == smaller.root);
        }
    }
    Agreement::Unshown
}
