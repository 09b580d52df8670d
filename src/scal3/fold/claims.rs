//! Claims: records of entries that come next, with the keys to verify them under, before the fold gets to them.
//!
//! ```text
//! entries that come next ── claims ──▶ [Bound] ── many at once ──▶ [Signed] ── Fold::apply_signed, one after the other
//! ```
//! A credential may be issued by one of these very entries. Whether it may is for the fold to say when it gets there; its
//! keys can be tried before, since its id is the hash of all that it claims: what is verified under a credential of that
//! id is verified under every credential of that id.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use tlog::Hash;

use super::Fold;
use crate::credential::Credential;
use crate::entry::{Entry, Kind};
use crate::opening::OtherOpening;
use crate::point::Point;
use crate::status::{Change, StatusChange};
use crate::verify::{Bound, Submitted, Unread};

impl Fold {
    /// The record in an opening, with the keys that are known of its credential, for whoever verifies many at once and comes
    /// back with [`Fold::apply_signed`].
    ///
    /// None for everything that the fold judges by itself: other entries, records that do not parse, and the first records of
    /// credentials that are issued behind this place.
    pub fn claim(&self, entry: &[u8], opening: &[u8]) -> Option<Bound> {
        Entry::parse(entry).ok().filter(|entry| entry.kind == Kind::Instruction)?;
        self.bound(Submitted::parse(opening).ok()?, &BTreeMap::new())
    }

    /// The same of many entries that come next, each with its opening where there is one: also of credentials that these
    /// entries issue. Gives the place of each among them.
    ///
    /// `points` reads compressed points, each or not, as many as it is given. One-time keys take a square root each, and many
    /// are found faster together.
    pub fn claims<'a>(
        &self,
        coming: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
        points: impl FnOnce(&[[u8; Point::LEN]]) -> Vec<Option<Point>>,
    ) -> Vec<(usize, Bound)> {
        let (mut issued, mut unread) = (BTreeMap::new(), Vec::new());
        for (place, (entry, opening)) in coming.enumerate() {
            let (Ok(entry), Some(opening)) = (Entry::parse(entry), opening) else { continue };
            match entry.kind {
                Kind::Status => issued.extend(issued_in(opening).map(|credential| (credential.id(), credential))),
                Kind::Instruction => unread.extend(Unread::parse(opening).ok().map(|unread| (place, unread))),
                _ => {}
            }
        }
        let compressed: Vec<_> = unread.iter().filter_map(|(_, unread)| unread.binding_key().copied()).collect();
        let mut points = points(&compressed).into_iter();
        let claim = |(place, unread): (usize, Unread)| {
            let point = unread.binding_key().and_then(|_| points.next().flatten());
            Some((place, self.bound(unread.read(point).ok()?, &issued)?))
        };
        unread.into_iter().filter_map(claim).collect()
    }

    fn bound(&self, submitted: Submitted, issued: &BTreeMap<Hash, Credential>) -> Option<Bound> {
        let id = submitted.credential_id();
        let known = self.credentials.get(&id).map(|followed| followed.state.credential());
        submitted.bind(known.or_else(|| issued.get(&id))?, &self.genesis.origin).ok()
    }
}

/// The credential that an opening issues, if it does. Nobody has verified yet that the provider signed it.
fn issued_in(opening: &[u8]) -> Option<Credential> {
    match StatusChange::from_body(OtherOpening::parse(opening).ok()?.body).ok()?.change {
        Change::Issued(bytes) => Credential::unverified(&bytes).ok(),
        _ => None,
    }
}
