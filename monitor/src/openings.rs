//! Openings: what entries commit to, from whoever may show it to us.
//!
//! ```text
//! asked once  --  shown or erased  --> asked for every entry
//!             --  restricted, or nobody there   --> not asked again in this pass
//! ```
//!
//! Nothing here is believed: the fold compares every opening with the commitment in the entry that the tree proves.
//! An opening that can't be had is never replaced by a guess: its entry stays unverifiable.

use std::collections::BTreeMap;
use std::sync::Arc;

use scal3::Entry;
use tlog::LeafIndex;
use tlog::text::from_base64;
use tokio::task::JoinSet;

use crate::fetch::{FetchError, OpeningState, Server};

/// How many openings to ask for at once.
const AT_ONCE: usize = 8;

/// Why openings are missing that the token should open.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpeningsError {
    /// The token doesn't open them.
    #[error("the token does not open them; it needs the scope `read`")]
    Restricted,
    /// The answer shows nothing, or calls an entry public that isn't.
    #[error("entry {0}: the answer is not understood")]
    Form(u64),
    /// They could not be fetched.
    #[error("entry {index}: {error}")]
    Fetch {
        /// The first entry of which it could not be fetched.
        index: u64,
        /// Why.
        error: FetchError,
    },
}

/// What there is to an entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Given {
    /// Nothing to open: the entry carries its body, or is no entry.
    Public,
    /// The opening, as the server says.
    Shown(Vec<u8>),
    /// It was erased, as the server says.
    Erased,
    /// We may not see it, or could not fetch it.
    Withheld,
}

/// The openings of one log, for one pass.
pub(crate) struct Openings {
    server: Arc<Server>,
    access: Access,
    failure: Option<OpeningsError>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    /// Not asked yet.
    Unknown,
    /// They are shown to us.
    Open,
    /// They are not; asking for more would be noise.
    Closed,
}

impl Openings {
    pub fn new(server: Arc<Server>) -> Openings {
        Openings { server, access: Access::Unknown, failure: None }
    }

    /// Why some could not be had though they should.
    pub fn failure(&self) -> Option<&OpeningsError> {
        self.failure.as_ref()
    }

    /// The openings of these entries, one for each, in order.
    pub async fn of(&mut self, entries: &[(LeafIndex, &[u8])]) -> Vec<Given> {
        let has_opening = |entry: &[u8]| Entry::parse(entry).is_ok_and(|entry| !entry.kind.is_public());
        let wanted: Vec<u64> =
            entries.iter().filter(|(_, entry)| has_opening(entry)).map(|(index, _)| index.get()).collect();
        let mut known: BTreeMap<u64, Given> = wanted.iter().map(|index| (*index, Given::Withheld)).collect();
        self.fetch(&wanted, &mut known).await;
        entries.iter().map(|(index, _)| known.remove(&index.get()).unwrap_or(Given::Public)).collect()
    }

    async fn fetch(&mut self, wanted: &[u64], known: &mut BTreeMap<u64, Given>) {
        let mut wanted = wanted.iter().copied();
        let mut flights = JoinSet::new();
        loop {
            // As long as it isn't known whether they are open to us, one request has to do.
            let most = match self.access {
                Access::Closed => return,
                Access::Unknown => 1,
                Access::Open => AT_ONCE,
            };
            while flights.len() < most
                && let Some(index) = wanted.next()
            {
                let server = self.server.clone();
                flights.spawn(async move { (index, ask(&server, index).await) });
            }
            // A request that panicked has no answer; the opening stays withheld.
            match flights.join_next().await {
                None => return,
                Some(Err(_)) => {}
                Some(Ok((index, Ok(given)))) => {
                    self.access = Access::Open;
                    known.insert(index, given);
                }
                Some(Ok((_, Err(error)))) => self.close(error),
            }
        }
    }

    /// Nobody promised us anything where we have no token, and were shown nothing yet.
    fn close(&mut self, error: OpeningsError) {
        if self.server.has_token() || self.access == Access::Open {
            self.failure = Some(error);
        }
        self.access = Access::Closed;
    }
}

pub(crate) async fn ask(server: &Server, index: u64) -> Result<Given, OpeningsError> {
    let answer = server.record(index).await.map_err(|error| OpeningsError::Fetch { index, error })?;
    match (answer.opening.state, answer.opening.bytes) {
        (OpeningState::Shown, Some(bytes)) => from_base64(&bytes).map(Given::Shown).ok_or(OpeningsError::Form(index)),
        (OpeningState::Erased, None) => Ok(Given::Erased),
        (OpeningState::Restricted, None) => Err(OpeningsError::Restricted),
        _ => Err(OpeningsError::Form(index)),
    }
}
