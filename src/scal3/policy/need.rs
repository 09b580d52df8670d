//! Needs: what evidence a rule asks for, and whether what is there is that.
//!
//! ```text
//! need  = { "all": [need, ...] } / { "any": [need, ...] }
//!       / { "count": number / "all" / "threshold", "of": item } / item
//! item  = { "kind": ..., "from": "subscriber" / "signers", "uv": true, "device_bound": true, "attested": [...],
//!           "attachment": ..., "modality": [...], "max_age_s": ... }
//! ```
//!
//! One authenticator counts once in all of a need, however many of its parts it would fit. Of signers, each counts once. The
//! device factor is no authenticator.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use serde::{Deserialize, Deserializer};
use tlog::Hash;

use super::document::given;
use super::{Operation, distinct};
use crate::authenticator::{self, About, Attachment};
use crate::evidence::{Claims, Kind, bio::Modality};
use crate::limits::{EVIDENCE_ITEMS_MAX, PARTICIPANTS_MAX};

/// How many items one need may name.
const ITEMS_MAX: usize = 32;

/// What is needed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub enum Need {
    /// Every one of these, each by authenticators of its own.
    All(Vec<Need>),
    /// One of these.
    Any(Vec<Need>),
    /// So many different authenticators, or signers, with these attributes.
    Count(Count, Attributes),
}

/// How many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// This many, at least one.
    Number(usize),
    /// Every signer.
    All,
    /// As many signers as have to sign.
    Threshold,
}

/// Whose evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The subscriber's.
    Subscriber,
    /// That of those who sign.
    Signers,
}

/// What a piece of evidence has to be. A member that is not given asks for nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// The kind.
    pub kind: Kind,
    /// Whose.
    pub from: From,
    /// The authenticator verified its person.
    pub uv: bool,
    /// The key stays in one device.
    pub device_bound: bool,
    /// Attestations that are trusted; empty: any, and none.
    pub attested: Vec<String>,
    /// What it hangs on.
    pub attachment: Option<Attachment>,
    /// Bits of the ways in which the person may be matched; zero: any.
    pub modality: u64,
    /// How old it may be at the time of the entry, seconds.
    pub max_age_s: Option<u64>,
}

/// A need as it is written: which of the forms it is, the members tell.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, deserialize_with = "given")]
    all: Option<Vec<Need>>,
    #[serde(default, deserialize_with = "given")]
    any: Option<Vec<Need>>,
    #[serde(default, deserialize_with = "given")]
    count: Option<WrittenCount>,
    #[serde(default, deserialize_with = "given")]
    of: Option<Box<WrittenItem>>,
    #[serde(default, deserialize_with = "given")]
    kind: Option<String>,
    #[serde(default, deserialize_with = "given")]
    from: Option<String>,
    #[serde(default, deserialize_with = "given")]
    uv: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    device_bound: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    attested: Option<Vec<String>>,
    #[serde(default, deserialize_with = "given")]
    attachment: Option<String>,
    #[serde(default, deserialize_with = "given")]
    modality: Option<Vec<String>>,
    #[serde(default, deserialize_with = "given")]
    max_age_s: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenItem {
    kind: String,
    #[serde(default, deserialize_with = "given")]
    from: Option<String>,
    #[serde(default, deserialize_with = "given")]
    uv: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    device_bound: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    attested: Option<Vec<String>>,
    #[serde(default, deserialize_with = "given")]
    attachment: Option<String>,
    #[serde(default, deserialize_with = "given")]
    modality: Option<Vec<String>>,
    #[serde(default, deserialize_with = "given")]
    max_age_s: Option<u64>,
}

enum WrittenCount {
    Number(u64),
    Word(String),
}

impl<'de> Deserialize<'de> for WrittenCount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<WrittenCount, D::Error> {
        struct Either;
        impl serde::de::Visitor<'_> for Either {
            type Value = WrittenCount;

            fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str("a number, \"all\" or \"threshold\"")
            }

            fn visit_u64<E>(self, number: u64) -> Result<WrittenCount, E> {
                Ok(WrittenCount::Number(number))
            }

            fn visit_str<E>(self, word: &str) -> Result<WrittenCount, E> {
                Ok(WrittenCount::Word(word.into()))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl TryFrom<Written> for Need {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Need, &'static str> {
        let Written { all, any, count, of, kind, from, uv, device_bound, attested, attachment, modality, max_age_s } =
            written;
        let attributes = from.is_some()
            || uv.is_some()
            || device_bound.is_some()
            || attested.is_some()
            || attachment.is_some()
            || modality.is_some()
            || max_age_s.is_some();
        let need = match (all, any, count, of, kind) {
            (Some(list), None, None, None, None) if !attributes => Need::All(list),
            (None, Some(list), None, None, None) if !attributes => Need::Any(list),
            (None, None, Some(count), Some(item), None) if !attributes => {
                let attributes = Attributes::try_from(*item)?;
                Need::Count(counted(&count, attributes.from)?, attributes)
            }
            (None, None, None, None, Some(kind)) => {
                let item = WrittenItem { kind, from, uv, device_bound, attested, attachment, modality, max_age_s };
                Need::Count(Count::Number(1), Attributes::try_from(item)?)
            }
            _ => return Err("a need is one of `all`, `any`, `count` with `of`, and `kind`"),
        };
        if let Need::All(list) | Need::Any(list) = &need
            && list.is_empty()
        {
            return Err("an empty list needs nothing, or is never met");
        }
        if need.items() > ITEMS_MAX { Err("a need of more than 32 items") } else { Ok(need) }
    }
}

fn counted(count: &WrittenCount, from: From) -> Result<Count, &'static str> {
    match count {
        WrittenCount::Number(number) => {
            let number = usize::try_from(*number).ok().filter(|number| (1..=EVIDENCE_ITEMS_MAX).contains(number));
            number.map(Count::Number).ok_or("a count is 1 to 16")
        }
        WrittenCount::Word(word) => match (word.as_str(), from) {
            ("all", From::Signers) => Ok(Count::All),
            ("threshold", From::Signers) => Ok(Count::Threshold),
            _ => Err("a count is a number, or, from signers, \"all\" or \"threshold\""),
        },
    }
}

impl TryFrom<WrittenItem> for Attributes {
    type Error = &'static str;

    fn try_from(item: WrittenItem) -> Result<Attributes, &'static str> {
        let attachment = item.attachment.map(|name| {
            let found = Attachment::ALL.into_iter().find(|one| one.name() == name && *one != Attachment::Unknown);
            found.ok_or("an attachment is \"platform\" or \"cross-platform\"")
        });
        let modality = item.modality.map(|names| {
            let bit = |name: &String| Modality::ALL.into_iter().find(|one| one.name() == name).map(Modality::bit);
            let bits = names.iter().try_fold(0, |bits, name| bit(name).map(|bit| bits | bit));
            bits.filter(|bits| *bits != 0).ok_or("a modality that is not known, or none")
        });
        if item.attested.as_ref().is_some_and(Vec::is_empty) {
            return Err("`attested` is empty, so that nothing is trusted");
        }
        Ok(Attributes {
            kind: Kind::new(&item.kind).ok_or("a kind that is not known")?,
            from: match item.from.as_deref() {
                None | Some("subscriber") => From::Subscriber,
                Some("signers") => From::Signers,
                Some(_) => return Err("`from` is \"subscriber\" or \"signers\""),
            },
            uv: item.uv.unwrap_or(false),
            device_bound: item.device_bound.unwrap_or(false),
            attested: item.attested.unwrap_or_default(),
            attachment: attachment.transpose()?,
            modality: modality.transpose()?.unwrap_or(0),
            max_age_s: item.max_age_s,
        })
    }
}

impl Need {
    /// How many items it names.
    fn items(&self) -> usize {
        match self {
            Need::All(list) | Need::Any(list) => list.iter().fold(0, |sum, need| sum.saturating_add(need.items())),
            Need::Count(..) => 1,
        }
    }

    /// Whether evidence of this kind is part of it.
    pub fn asks_for(&self, kind: Kind) -> bool {
        match self {
            Need::All(list) | Need::Any(list) => list.iter().any(|need| need.asks_for(kind)),
            Need::Count(_, attributes) => attributes.kind == kind,
        }
    }

    /// Whether it could be met with what is enrolled. Optimistic: who can verify a person is taken to do so.
    pub(super) fn is_possible(
        &self,
        operation: &Operation<'_>,
        enrolled: &[&authenticator::Claims],
        high: bool,
    ) -> bool {
        match self {
            Need::All(list) => list.iter().all(|need| need.is_possible(operation, enrolled, high)),
            Need::Any(list) => list.iter().any(|need| need.is_possible(operation, enrolled, high)),
            Need::Count(count, attributes) => {
                let fits = enrolled.iter().filter(|one| attributes.may_fit(one, operation, high));
                let people: BTreeSet<Hash> = match attributes.from {
                    From::Subscriber => fits.map(|one| one.id()).collect(),
                    From::Signers => fits.map(|one| one.participant).collect(),
                };
                count.of(operation).is_some_and(|wanted| people.len() >= wanted)
            }
        }
    }

    /// Whether something enrolled could be part of it that proves more than somebody's word.
    pub(super) fn has_proof(&self, operation: &Operation<'_>, enrolled: &[&authenticator::Claims], high: bool) -> bool {
        match self {
            Need::All(list) | Need::Any(list) => list.iter().any(|need| need.has_proof(operation, enrolled, high)),
            Need::Count(_, attributes) => {
                let fits = enrolled.iter().any(|one| attributes.may_fit(one, operation, high));
                fits && !attributes.kind.is_vouched()
            }
        }
    }

    /// All ways to meet it: which items count, as bits. None when it is not met.
    pub(super) fn ways(
        &self,
        operation: &Operation<'_>,
        verified: &[Claims],
        entry_ms: u64,
        high: bool,
    ) -> BTreeSet<u32> {
        // An opening has at most 16 items; beyond that nothing is looked at.
        let verified = verified.get(..EVIDENCE_ITEMS_MAX).unwrap_or(verified);
        Search { operation, verified, entry_ms, high }.from(self, &BTreeSet::from([0]))
    }
}

impl Count {
    /// The number for this operation; none when it has no signers to count, or more than can be.
    fn of(self, operation: &Operation<'_>) -> Option<usize> {
        let number = match self {
            Count::Number(number) => number,
            Count::All => distinct(operation.signers).len(),
            Count::Threshold => operation.threshold,
        };
        Some(number).filter(|number| (1..=PARTICIPANTS_MAX).contains(number))
    }
}

impl Attributes {
    fn is_from(&self, participant: &Hash, operation: &Operation<'_>) -> bool {
        match self.from {
            From::Subscriber => participant == operation.subscriber,
            From::Signers => operation.signers.contains(participant),
        }
    }

    /// Whether verified evidence is what is asked for.
    fn fit(&self, claims: &Claims, operation: &Operation<'_>, entry_ms: u64, high: bool) -> bool {
        let young = self.max_age_s.is_none_or(|max_s| {
            let age_ms = claims.made_ms.map(|made_ms| entry_ms.saturating_sub(made_ms));
            age_ms.is_some_and(|age_ms| age_ms <= max_s.saturating_mul(1000))
        });
        claims.kind == self.kind
            && self.is_from(&claims.participant, operation)
            && !claims.clone_suspected
            && (!self.uv || claims.user_verified)
            && (!self.device_bound || claims.device_bound)
            && (self.attested.is_empty() || self.attested.contains(&claims.attestation))
            && self.attachment.is_none_or(|attachment| attachment == claims.attachment)
            && (self.modality == 0 || self.modality & claims.modalities != 0)
            && young
            && (!high || is_strong(claims))
    }

    /// Whether an enrolled authenticator could make what is asked for.
    fn may_fit(&self, one: &authenticator::Claims, operation: &Operation<'_>, high: bool) -> bool {
        let (bound, attachment) = match &one.about {
            About::WebAuthn(passkey) => (!passkey.backup_eligible, passkey.attachment),
            About::Bio(_) => (true, Attachment::Unknown),
            About::Nfc(_) => (true, Attachment::CrossPlatform),
            About::Otp(_) => (false, Attachment::Unknown),
        };
        let verifies = matches!(one.about, About::WebAuthn(_) | About::Bio(_));
        let strong = match one.about {
            About::WebAuthn(_) => bound && one.is_attested(),
            About::Bio(_) => one.is_attested(),
            About::Nfc(_) | About::Otp(_) => true,
        };
        one.about.makes(self.kind)
            && one.purpose == authenticator::Purpose::Sign
            && self.is_from(&one.participant, operation)
            && (!self.uv || verifies)
            && (!self.device_bound || bound)
            && (self.attested.is_empty() || self.attested.contains(&one.attestation))
            && self.attachment.is_none_or(|wanted| wanted == attachment)
            && (self.modality == 0 || matches!(one.about, About::Bio(_)))
            && (!high || strong)
    }
}

/// Whether evidence is good enough where much is at stake: a passkey that is attested, stays in its device and verified its
/// person; an attested device that can't be debugged. A card shows possession and no more, and a password is somebody's
/// word: those never stand alone there.
fn is_strong(claims: &Claims) -> bool {
    let attested = claims.attestation != "none";
    match claims.kind {
        Kind::WebAuthn | Kind::Varsig => claims.user_verified && claims.device_bound && attested,
        Kind::Bio => claims.user_verified && claims.debug_disabled && attested,
        Kind::Nfc | Kind::Otp => true,
    }
}

/// The search for the ways in which a need is met. A way is a set of items, as bits.
struct Search<'a> {
    operation: &'a Operation<'a>,
    verified: &'a [Claims],
    entry_ms: u64,
    high: bool,
}

impl Search<'_> {
    /// Every way in which `need` can be met on top of each of the given ones.
    fn from(&self, need: &Need, before: &BTreeSet<u32>) -> BTreeSet<u32> {
        match need {
            Need::All(list) => list.iter().fold(before.clone(), |ways, need| self.from(need, &ways)),
            Need::Any(list) => list.iter().flat_map(|need| self.from(need, before)).collect(),
            Need::Count(count, attributes) => match count.of(self.operation) {
                Some(wanted) => self.count(wanted, attributes, before),
                None => BTreeSet::new(),
            },
        }
    }

    fn count(&self, wanted: usize, attributes: &Attributes, before: &BTreeSet<u32>) -> BTreeSet<u32> {
        let fits = |claims: &Claims| attributes.fit(claims, self.operation, self.entry_ms, self.high);
        // What may be chosen together: of one signer one item, of the subscriber any.
        let groups: Vec<Vec<u32>> = match attributes.from {
            From::Subscriber => self.bits(&fits).into_iter().map(|(_, bit)| vec![bit]).collect(),
            From::Signers => {
                let bits = self.bits(&fits);
                let of =
                    |signer: &Hash| bits.iter().filter(|(whose, _)| whose == signer).map(|(_, bit)| *bit).collect();
                distinct(self.operation.signers).iter().map(of).collect()
            }
        };
        let mut ways: BTreeSet<(usize, u32)> = before.iter().map(|way| (0, *way)).collect();
        for group in &groups {
            let mut more = ways.clone();
            for (chosen, way) in &ways {
                let free = group.iter().filter(|bit| way & **bit == 0 && *chosen < wanted);
                more.extend(free.map(|bit| (chosen.saturating_add(1), way | bit)));
            }
            ways = more;
        }
        ways.into_iter().filter(|(chosen, _)| *chosen == wanted).map(|(_, way)| way).collect()
    }

    /// The items that fit, each with whose it is and its bit.
    fn bits(&self, fits: &dyn Fn(&Claims) -> bool) -> Vec<(Hash, u32)> {
        let each = self.verified.iter().zip((0..32).map(|at| 1_u32 << at));
        each.filter(|(claims, _)| fits(claims)).map(|(claims, bit)| (claims.participant, bit)).collect()
    }
}
