//! A fold for a store of one's own: so that whoever has judged a log goes on where they were.
//!
//! ```text
//! fold  = part*                 part = length: u64, bytes          row = bytes of one length each, sorted
//! parts = genesis, keys, policies, marks (CBOR), roots, index keys, authorisations, credentials, authenticators,
//!         participants in doubt, unopened, unexplained, gone, gone and unnamed
//! ```
//! Numbers are big-endian. What follows from other parts is not in it: keys of devices and authenticators, everybody who
//! has a credential, the index keys of the next statuses.
//!
//! The bytes are a cache of the log, never evidence: whoever keeps them adds a checksum, and reads the log anew where it
//! is another. What is read back is checked for its form and against the root that is in it, and for nothing else.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use tlog::Hash;
use tlog::frontier::Frontier;
use tlog::tree::TreeSize;

use super::standing::Standing;
use super::{Fold, Followed};
use crate::authenticators::Authenticators;
use crate::cbor::{self, Parts, Value};
use crate::genesis::Genesis;
use crate::gone::Gone;
use crate::keys::Keys;
use crate::limits::METADATA_MAX;
use crate::policies::Policies;
use crate::state::CredentialState;

/// Bytes that are no stored fold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a fold of this version: {0}")]
pub struct StoredFoldError(&'static str);

impl Fold {
    /// The frontier of the tree of all entries so far.
    pub fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// Everything, for a store of one's own.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut part = |part: &[u8]| put(&mut bytes, part);
        part(&self.genesis.to_bytes());
        part(&self.keys.to_bytes());
        part(&self.standing.policies.to_bytes());
        let frontier = self.frontier.hashes().iter().map(|hash| cbor::bytes(&hash.0));
        part(&cbor::encode(&Value::Array(vec![
            cbor::uint(1),
            cbor::uint(self.time_ms),
            self.last_unopened.map_or(Value::Null, cbor::uint),
            Value::Bool(self.unopened_status),
            cbor::uint(self.gone.explained()),
            Value::Array(frontier.collect()),
        ])));
        part(&rows(self.roots.iter(), |hash, row| row.extend_from_slice(&hash.0)));
        part(&pairs(&self.index_keys));
        part(&pairs(&self.authorisations));
        part(&rows(self.credentials.values(), Followed::put));
        part(&rows(self.standing.all(), |own, row| put(row, &own.to_bytes())));
        part(&rows(self.standing.doubtful().iter(), |hash, row| row.extend_from_slice(&hash.0)));
        part(&numbers(self.unopened.iter()));
        part(&numbers(self.unexplained.iter()));
        part(&numbers(self.gone.indices().iter()));
        part(&pairs(self.gone.unnamed()));
        bytes
    }

    /// Reads a fold back from a store of one's own. Never for bytes from anywhere else.
    ///
    /// # Errors
    /// [`StoredFoldError`].
    pub fn from_own_store(mut bytes: &[u8]) -> Result<Fold, StoredFoldError> {
        let no = StoredFoldError;
        let bytes = &mut bytes;
        let genesis = Genesis::parse(take(bytes)?).map_err(|_| no("genesis"))?;
        let keys = Keys::from_own_store(take(bytes)?).map_err(|_| no("keys"))?;
        let policies = Policies::from_own_store(take(bytes)?).map_err(|_| no("policies"))?;
        let marks = cbor::decode(take(bytes)?, METADATA_MAX).map_err(|_| no("marks"))?;
        let marks = Marks::read(marks).map_err(|_| no("marks"))?;
        let roots: Vec<Hash> = chunks::<32>(take(bytes)?)?.iter().copied().map(Hash).collect();
        let size = roots.len().checked_sub(1).and_then(|size| TreeSize::new(size as u64).ok()).ok_or(no("roots"))?;
        let frontier = Frontier::from_parts(size, marks.frontier).map_err(|_| no("frontier"))?;
        if roots.last() != Some(&frontier.root()) {
            return Err(no("the frontier is of another tree"));
        }
        let (index_keys, authorisations) = (to_pairs(take(bytes)?)?, to_pairs(take(bytes)?)?);
        let (mut followed, mut own) = (take(bytes)?, take(bytes)?);
        let doubtful = chunks::<32>(take(bytes)?)?.iter().copied().map(Hash).collect();
        let mut standing = Standing::restored(policies, doubtful);
        let (mut credentials, mut subjects) = (BTreeMap::new(), BTreeMap::new());
        while !followed.is_empty() {
            let followed = Followed::take(&mut followed)?;
            standing.take_device(followed.state.credential());
            let first = subjects.entry(followed.state.credential().claims().subject).or_insert(u64::MAX);
            *first = followed.state.issued_at().min(*first);
            credentials.insert(followed.state.credential().id(), followed);
        }
        while !own.is_empty() {
            standing.restore(Authenticators::from_own_store(take(&mut own)?).map_err(|_| no("authenticators"))?);
        }
        let (unopened, unexplained) = (to_numbers(take(bytes)?)?, to_numbers(take(bytes)?)?);
        let gone = Gone::restored(to_numbers(take(bytes)?)?, to_pairs(take(bytes)?)?, marks.explained);
        if !bytes.is_empty() {
            return Err(no("more than there is"));
        }
        let next = |followed: &Followed| (followed.state.next_status_key(), followed.state.credential().id());
        Ok(Fold {
            next_status: credentials.values().map(next).collect(),
            subjects,
            genesis,
            keys,
            standing,
            time_ms: marks.time_ms,
            frontier,
            roots,
            credentials,
            index_keys,
            authorisations,
            unopened,
            last_unopened: marks.last_unopened,
            unexplained,
            unopened_status: marks.unopened_status,
            gone,
        })
    }
}

/// What is a single number each.
struct Marks {
    time_ms: u64,
    last_unopened: Option<u64>,
    unopened_status: bool,
    explained: u64,
    frontier: Vec<Hash>,
}

impl Marks {
    fn read(value: Value) -> Result<Marks, cbor::ShapeError> {
        let mut parts = Parts::new("marks", value)?;
        parts.constant("version", 1)?;
        let mut marks = Marks {
            time_ms: parts.uint("time_ms")?,
            last_unopened: parts.or_null("last_unopened", Parts::uint)?,
            unopened_status: parts.flag("unopened_status")?,
            explained: parts.uint("explained")?,
            frontier: Vec::new(),
        };
        let mut list = parts.array("frontier")?;
        while !list.is_empty() {
            marks.frontier.push(list.hash("frontier")?);
        }
        parts.end()?;
        Ok(marks)
    }
}

impl Followed {
    fn put(&self, row: &mut Vec<u8>) {
        put(row, &self.state.to_bytes());
        for number in [self.last, self.paid, self.last_about] {
            row.extend_from_slice(&number.to_be_bytes());
        }
        row.extend([u8::from(self.attempts_in_doubt), u8::from(self.in_doubt)]);
    }

    fn take(rows: &mut &[u8]) -> Result<Followed, StoredFoldError> {
        let wrong = StoredFoldError("credentials");
        let state = CredentialState::from_own_store(take(rows)?).map_err(|_| wrong)?;
        let mut number = || {
            let (number, rest) = rows.split_first_chunk::<8>().ok_or(wrong)?;
            *rows = rest;
            Ok(u64::from_be_bytes(*number))
        };
        let (last, paid, last_about) = (number()?, number()?, number()?);
        let (flags, rest) = rows.split_first_chunk::<2>().ok_or(wrong)?;
        *rows = rest;
        let [attempts_in_doubt, in_doubt] = flags.map(|flag| flag == 1);
        Ok(Followed { state, last, paid, last_about, attempts_in_doubt, in_doubt })
    }
}

fn put(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
    bytes.extend_from_slice(part);
}

fn take<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], StoredFoldError> {
    let cut = StoredFoldError("cut short");
    let (length, rest) = bytes.split_first_chunk::<8>().ok_or(cut)?;
    let length = usize::try_from(u64::from_be_bytes(*length)).map_err(|_| cut)?;
    let (part, rest) = rest.split_at_checked(length).ok_or(cut)?;
    *bytes = rest;
    Ok(part)
}

fn rows<T>(all: impl Iterator<Item = T>, put: impl Fn(T, &mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    all.for_each(|one| put(one, &mut bytes));
    bytes
}

fn numbers<'a>(all: impl Iterator<Item = &'a u64>) -> Vec<u8> {
    rows(all, |number, row| row.extend_from_slice(&number.to_be_bytes()))
}

fn pairs(all: &BTreeMap<Hash, u64>) -> Vec<u8> {
    rows(all.iter(), |(hash, number), row| {
        row.extend_from_slice(&hash.0);
        row.extend_from_slice(&number.to_be_bytes());
    })
}

fn chunks<const N: usize>(bytes: &[u8]) -> Result<&[[u8; N]], StoredFoldError> {
    let (chunks, rest) = bytes.as_chunks();
    if rest.is_empty() { Ok(chunks) } else { Err(StoredFoldError("half a row")) }
}

fn to_numbers<T: FromIterator<u64>>(bytes: &[u8]) -> Result<T, StoredFoldError> {
    Ok(chunks::<8>(bytes)?.iter().map(|number| u64::from_be_bytes(*number)).collect())
}

fn to_pairs(bytes: &[u8]) -> Result<BTreeMap<Hash, u64>, StoredFoldError> {
    let pair = |row: &[u8; 40]| {
        let (hash, number) = row.split_first_chunk::<32>()?;
        Some((Hash(*hash), u64::from_be_bytes(number.try_into().ok()?)))
    };
    chunks::<40>(bytes)?.iter().map(pair).collect::<Option<_>>().ok_or(StoredFoldError("half a row"))
}
