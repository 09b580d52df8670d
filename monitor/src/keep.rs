//! Keeping: what the log meant so far, from one process to the next.
//!
//! ```text
//! DIR/fold.state     one line of JSON: of which log, under which head, what was counted
//!                    the fold (`scal3::fold`), as it writes itself
//!                    32 bytes of checksum over both
//! ```
//! It is a cache of the log. Damaged, of another version, or in contradiction with a head that is kept, it is not used, and
//! the log is read from its first entry; damage is told as a fault of ours. Only a log without a finding is kept: what is
//! wrong with one is found again by reading it again.

use std::collections::BTreeMap;

use scal3::fold::Fold;
use scal3::tagged;
use serde::{Deserialize, Serialize};
use tlog::Hash;
use tlog::note::Note;

use crate::check::{Check, Counts};
use crate::state::{Kept, Signed};

const FORMAT: &str = "solelog/monitor-fold/v1";

/// Rules change from version to version, so each judges for itself.
const VERSION: &str = env!("CARGO_PKG_VERSION");

const CHECKSUM: usize = 32;

/// What was judged, and the head under which it was read.
#[derive(Debug)]
pub(crate) struct KeptFold {
    pub under: Signed,
    pub fold: Fold,
    pub counts: Counts,
    /// Whether openings were asked for with a token: without one, less was seen.
    with_token: bool,
}

#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    version: String,
    checkpoint: String,
    with_token: bool,
    verified: u64,
    bridged: u64,
    unverifiable: u64,
    erased: Vec<u64>,
    latest: (u64, u64),
    /// Of each credential, its last record and its revocation.
    heard: Vec<(String, Option<u64>, Option<u64>)>,
}

/// What is kept of a judgement; nothing of one that found something.
pub(crate) fn to_bytes(check: &Check, under: &Note, with_token: bool) -> Option<Vec<u8>> {
    let (fold, counts) = check.in_order()?;
    let heard = counts.heard.iter().map(|(id, (record, revoked))| (id.to_hex(), *record, *revoked));
    let header = Header {
        format: FORMAT.to_owned(),
        version: VERSION.to_owned(),
        checkpoint: under.to_text(),
        with_token,
        verified: counts.verified,
        bridged: counts.bridged,
        unverifiable: counts.unverifiable,
        erased: counts.erased.iter().copied().collect(),
        latest: counts.latest,
        heard: heard.collect(),
    };
    let mut bytes = serde_json::to_vec(&header).ok()?;
    bytes.push(b'\n');
    bytes.extend(fold.to_bytes());
    bytes.extend(tagged(FORMAT, &bytes).0);
    Some(bytes)
}

/// Reads it back; nothing where it is of another version.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<KeptFold>, &'static str> {
    let (content, checksum) = bytes.split_last_chunk::<CHECKSUM>().ok_or("cut short")?;
    if tagged(FORMAT, content).0 != *checksum {
        return Err("its checksum is another");
    }
    let line = content.iter().position(|byte| *byte == b'\n').ok_or("cut short")?;
    let (header, fold) = content.split_at(line);
    let Ok(header) = serde_json::from_slice::<Header>(header) else { return Ok(None) };
    if header.format != FORMAT || header.version != VERSION {
        return Ok(None);
    }
    let fold = fold.get(1..).and_then(|fold| Fold::from_own_store(fold).ok()).ok_or("the fold in it is none")?;
    let under = Note::parse(header.checkpoint.as_bytes()).ok().and_then(Signed::read);
    let under = under.filter(|under| under.head() == fold.head()).ok_or("it is not of the head that is in it")?;
    let heard = header.heard.into_iter().map(|(id, record, revoked)| Some((Hash::from_hex(&id)?, (record, revoked))));
    let heard: Option<BTreeMap<_, _>> = heard.collect();
    let counts = Counts {
        verified: header.verified,
        bridged: header.bridged,
        unverifiable: header.unverifiable,
        erased: header.erased.into_iter().collect(),
        latest: header.latest,
        heard: heard.ok_or("a hash in it is none")?,
    };
    Ok(Some(KeptFold { under, fold, counts, with_token: header.with_token }))
}

impl KeptFold {
    /// Whether a monitor with these heads, and these eyes, would have come to the same.
    pub fn fits(&self, kept: &Kept, with_token: bool) -> bool {
        let size = self.fold.head().size;
        // Without an accepted head somebody wants to start from nothing.
        let accepted = kept.accepted.as_ref().is_some_and(|(signed, _)| signed.head().size >= size);
        let agrees = |signed: &Signed| {
            let head = signed.head();
            head.size > size || self.fold.root_at(head.size.get()) == Some(&head.root)
        };
        let origin = kept.origin().is_some_and(|origin| *origin == self.under.checkpoint.origin);
        accepted && origin && self.with_token == with_token && kept.on_history().all(agrees)
    }
}
