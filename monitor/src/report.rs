//! Reports: what one pass found, and how bad it is.
//!
//! | class | what it means | who acts |
//! |---|---|---|
//! | `OK` | this was checked and holds | nobody |
//! | `INFRASTRUCTURE` | could not be checked: a server, a network, our own disk | whoever runs them |
//! | `SUSPICIOUS` | wrong, but nothing that the log has signed proves who did it | whoever trusts the log, to look closer |
//! | `TAMPER` | the log's own signature is under something that must not be | everybody |
//!
//! The line between the last two is what others can be shown. Bytes that don't belong to the tree could have been spoilt by
//! anyone on the way, however often they come. Two heads that contradict each other, or an entry that breaks the rules in
//! a tree that the log signed, can't; each `TAMPER` was proven from an evidence file before it is told
//! (`crate::evidence`), and what can't be is `SUSPICIOUS`, and says so.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use scal3::fold::{Stop, Wrong};
use serde_json::{Value, json};
use tlog::note::{Note, NoteError};
use tlog::policy::PolicyError;
use tlog::reader::ReadError;
use tlog::tile::Path;
use tlog::tree::TreeHead;

use crate::alert::{self, AlertError};
use crate::fetch::FetchError;
use crate::openings::OpeningsError;
use crate::state::StateError;

/// How bad a finding is, the worst last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Class {
    /// Checked, and it holds.
    Ok,
    /// It could not be checked.
    Infrastructure,
    /// Something is wrong, and nothing that the log signed shows who did it.
    Suspicious,
    /// Something is wrong, and the log signed it.
    Tamper,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Class::Ok => "OK",
            Class::Infrastructure => "INFRASTRUCTURE",
            Class::Suspicious => "SUSPICIOUS",
            Class::Tamper => "TAMPER",
        })
    }
}

/// One thing that a pass found.
#[derive(Clone, Debug)]
pub struct Finding {
    /// How bad it is; follows from `what`.
    pub class: Class,
    /// What it is.
    pub what: What,
    /// The file that proves it to others.
    pub evidence: Option<PathBuf>,
}

/// Two heads that the log signed and that contradict each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TwoHeads {
    /// The one that was accepted before, or met the policy before.
    pub kept: Note,
    /// The one that is offered now.
    pub offered: Note,
}

/// What was found. Within a class in the order in which a pass looks.
#[derive(Clone, Debug, thiserror::Error)]
pub enum What {
    /// The checkpoint meets the trust policy.
    #[error("the checkpoint is signed by the log{}", cosigned(.witnesses))]
    Signed {
        /// The witnesses of the policy that cosigned it.
        witnesses: Vec<String>,
    },
    /// Every head that was known before lies on the history of the new one.
    #[error("it extends the last head kept, of {size} entries")]
    Extends {
        /// The size of the largest of them.
        size: u64,
    },
    /// The root follows from the entries.
    #[error("the root over {size} entries was rebuilt from {}", rebuilt(.size, .entries))]
    Rebuilt {
        /// The size of the tree.
        size: u64,
        /// How many entries were read for that; the others were when an earlier head was accepted.
        entries: u64,
    },
    /// What everybody can see of the entries is in order.
    #[error("kinds, times and index keys of {entries} entries are in order")]
    InOrder {
        /// How many.
        entries: u64,
    },
    /// Every record was shown and verified.
    #[error("every opening was shown, and each of {records} records verified again")]
    Verified {
        /// How many.
        records: u64,
    },

    /// What others have seen of the log is on the history that it shows us.
    #[error("what {} saw of the log is on this history", .by.join(", "))]
    Views {
        /// Witnesses and other monitors.
        by: Vec<String>,
    },

    /// Something of the log could not be fetched.
    #[error("{path}: {error}")]
    Unreachable {
        /// What.
        path: Path,
        /// Why.
        error: FetchError,
    },
    /// What is served as the checkpoint isn't even a signed note.
    #[error("what is served as the checkpoint is none: {0}")]
    NoNote(NoteError),
    /// A tile or bundle is cut short or otherwise no tile or bundle, however often it is fetched.
    #[error("{0}, also when fetched again")]
    Damaged(ReadError),
    /// Openings could not be fetched, so what they open is not verified.
    #[error("openings: {0}")]
    Openings(OpeningsError),
    /// Our own folder. Says nothing about the log.
    #[error("our own state: {0}")]
    State(StateError),

    /// What somebody else has seen could not be fetched.
    #[error("what {by} has seen of the log: {error}")]
    View {
        /// The witness or monitor.
        by: String,
        /// Why.
        error: FetchError,
    },
    /// Somebody else reports something that is no head of this log.
    #[error("what {by} reports is not a head that this log signed")]
    NoView {
        /// The witness or monitor.
        by: String,
    },
    /// Somebody could not be told of a finding.
    #[error("{0}")]
    Alert(AlertError),
    /// The canary's command did not make a record.
    #[error("the canary did not sing: {0}")]
    NoCanary(String),

    /// The checkpoint does not meet the trust policy.
    #[error("the checkpoint is not to be trusted: {0}")]
    NotTrusted(PolicyError),
    /// The checkpoint is of another log of the policy than the one followed here.
    #[error("this monitor follows {followed}, and here is {offered}")]
    OtherLog {
        /// The origin of the heads that are kept.
        followed: String,
        /// The origin of the checkpoint.
        offered: String,
    },
    /// The checkpoint's quorum is too long ago.
    #[error("the checkpoint was cosigned {} s ago, more than {} s", age.as_secs(), max_age.as_secs())]
    Stale {
        /// How long ago.
        age: Duration,
        /// How long it may be.
        max_age: Duration,
    },
    /// A tile or bundle isn't the one in the tree that the log signed, however often it is fetched.
    #[error("{0}, also when fetched again; who changed it can't be told from here")]
    Altered(ReadError),
    /// We compute another root than the reader that proved every entry: one of us is wrong.
    #[error("each entry was proven, and yet the root over all of them is {computed:?}")]
    OtherRoot {
        /// The head that follows from the entries.
        computed: TreeHead,
    },
    /// The first entry isn't that of a solelog.
    #[error("not a solelog ({0}); logs of other kinds are followed with --plain")]
    NotSolelog(Stop),
    /// A smaller tree than the log had signed, which may be an old head that somebody kept.
    #[error("a smaller tree is shown than the log signed before; an old head proves nothing, and caches show such")]
    Behind(Box<TwoHeads>),
    /// Something that must not be, as far as we can see, and that we can't prove to others.
    #[error("{0}. Nothing that could be had proves it to others")]
    Unproven(Box<What>),
    /// An entry of a later version, perhaps: nothing after it can be judged.
    #[error("entry {index}: {stop}; nothing from there on is judged. A newer monitor may know it")]
    Unknown {
        /// Which entry.
        index: u64,
        /// Why the fold stopped.
        stop: Stop,
    },
    /// The server shows an opening that isn't the entry's.
    #[error("entry {index}: what is shown as its opening is another one")]
    OtherOpening {
        /// Which entry.
        index: u64,
    },

    /// Somebody has seen a larger tree than the log shows us, in pass after pass.
    #[error("{by} has seen {size} entries, the log shows us {ours} and not how the two go together")]
    Unshown {
        /// The witness or monitor.
        by: String,
        /// The size that it has seen.
        size: u64,
        /// The size that is shown to us.
        ours: u64,
    },
    /// The log's own entries name a log key that the trust file does not have.
    #[error("entry {index} names a new log key, which the trust file does not have: {key}")]
    NewLogKey {
        /// The entry.
        index: u64,
        /// The key, as a trust file would have it.
        key: String,
    },
    /// Openings are gone, and no erasure entry says so.
    #[error("{}; no erasure entry says so", gone(.indexes))]
    Gone {
        /// Of these entries, ascending.
        indexes: Vec<u64>,
    },
    /// A record of our own did not appear in time.
    #[error("the canary's record, entry {index}, is not under a head after {} s", waited.as_secs())]
    Canary {
        /// The index that the log gave it.
        index: u64,
        /// How long we waited.
        waited: Duration,
    },

    /// Somebody else was shown another history.
    #[error("{by} was shown another history of this log")]
    Split {
        /// The witness or monitor.
        by: String,
        /// What it was shown, and what we are.
        heads: Box<TwoHeads>,
    },
    /// Another root at a size that the log had signed.
    #[error("the log signed two roots for one size")]
    Fork(Box<TwoHeads>),
    /// A smaller tree than before, which a witness cosigned later than the larger one. It is asked for twice, past caches.
    #[error("the log shows a smaller tree than before, and a witness cosigned it after the larger one")]
    Rollback(Box<TwoHeads>),
    /// A larger tree which has another beginning.
    #[error("the log signed a larger tree that does not begin with the one it signed before")]
    Diverged(Box<TwoHeads>),
    /// A tree without entries whose root isn't that of the empty tree.
    #[error("the log signed a root over no entries that is not the empty one")]
    EmptyRoot(Box<Note>),
    /// The genesis names another log.
    #[error("entry 0: the genesis is that of {origin}")]
    OtherOrigin {
        /// The origin it names.
        origin: String,
    },
    /// An entry that should not be in the log.
    #[error("entry {index}: {wrong}")]
    Wrong {
        /// Which entry.
        index: u64,
        /// Why.
        wrong: Wrong,
    },
    /// An entry that no version of the format allows: nothing after it can be judged.
    #[error("entry {index}: {stop}; nothing from there on is judged")]
    Malformed {
        /// Which entry.
        index: u64,
        /// Why the fold stopped.
        stop: Stop,
    },
    /// More of them than are worth a line each.
    #[error("{0} more entries are wrong")]
    MoreWrong(u64),
}

fn cosigned(witnesses: &[String]) -> String {
    match witnesses {
        [] => " (no witness of the policy cosigned it, and none is asked for)".to_owned(),
        some => format!(" and cosigned by a quorum ({})", some.join(", ")),
    }
}

fn gone(indexes: &[u64]) -> String {
    match indexes {
        [one] => format!("the opening of entry {one} is gone"),
        [first, ..] => format!("the openings of {} entries are gone, the first is {first}", indexes.len()),
        [] => "no opening is gone".to_owned(),
    }
}

fn rebuilt(size: &u64, entries: &u64) -> String {
    if size == entries {
        "all of them".to_owned()
    } else {
        format!("{entries} new ones and the frontier of the tree before")
    }
}

impl What {
    /// How bad it is.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            What::Signed { .. }
            | What::Extends { .. }
            | What::Rebuilt { .. }
            | What::InOrder { .. }
            | What::Views { .. }
            | What::Verified { .. } => Class::Ok,
            What::Unreachable { .. }
            | What::NoNote(_)
            | What::Damaged(_)
            | What::Openings(_)
            | What::View { .. }
            | What::NoView { .. }
            | What::Alert(_)
            | What::NoCanary(_)
            | What::Stale { .. }
            | What::State(_) => Class::Infrastructure,
            What::NotTrusted(_)
            | What::Unshown { .. }
            | What::NewLogKey { .. }
            | What::Gone { .. }
            | What::Canary { .. }
            | What::Behind(_)
            | What::Unproven(_)
            | What::OtherLog { .. }
            | What::Altered(_)
            | What::OtherRoot { .. }
            | What::NotSolelog(_)
            | What::Unknown { .. }
            | What::OtherOpening { .. } => Class::Suspicious,
            What::Split { .. }
            | What::Fork(_)
            | What::Rollback(_)
            | What::Diverged(_)
            | What::EmptyRoot(_)
            | What::OtherOrigin { .. }
            | What::Wrong { .. }
            | What::Malformed { .. }
            | What::MoreWrong(_) => Class::Tamper,
        }
    }

    /// A short stable name, for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            What::Signed { .. } => "signed",
            What::Extends { .. } => "extends",
            What::Rebuilt { .. } => "rebuilt",
            What::InOrder { .. } => "in-order",
            What::Verified { .. } => "verified",
            What::Views { .. } => "views",
            What::View { .. } => "view",
            What::NoView { .. } => "no-view",
            What::Alert(_) => "alert",
            What::NoCanary(_) => "no-canary",
            What::Canary { .. } => "canary",
            What::Unshown { .. } => "unshown",
            What::NewLogKey { .. } => "new-log-key",
            What::Gone { .. } => "gone",
            What::Split { .. } => "split-view",
            What::Unreachable { .. } => "unreachable",
            What::NoNote(_) => "no-note",
            What::Damaged(_) => "damaged",
            What::Openings(_) => "openings",
            What::State(_) => "state",
            What::NotTrusted(_) => "not-trusted",
            What::Behind(_) => "behind",
            What::Unproven(what) => what.code(),
            What::OtherLog { .. } => "other-log",
            What::Stale { .. } => "stale",
            What::Altered(_) => "altered",
            What::OtherRoot { .. } => "other-root",
            What::NotSolelog(_) => "not-solelog",
            What::Unknown { .. } => "unknown-entry",
            What::OtherOpening { .. } => "other-opening",
            What::Fork(_) => "fork",
            What::Rollback(_) => "rollback",
            What::Diverged(_) => "diverged",
            What::EmptyRoot(_) => "empty-root",
            What::OtherOrigin { .. } => "other-origin",
            What::Wrong { .. } => "wrong-entry",
            What::Malformed { .. } => "malformed-entry",
            What::MoreWrong(_) => "more-wrong",
        }
    }

    /// The entry that it is about.
    #[must_use]
    pub fn index(&self) -> Option<u64> {
        match self {
            What::Unknown { index, .. }
            | What::OtherOpening { index }
            | What::Wrong { index, .. }
            | What::Canary { index, .. }
            | What::NewLogKey { index, .. }
            | What::Malformed { index, .. } => Some(*index),
            What::OtherOrigin { .. } | What::NotSolelog(_) => Some(0),
            What::Unproven(what) => what.index(),
            _ => None,
        }
    }

    /// The signed heads that prove it.
    #[must_use]
    pub fn two_heads(&self) -> Option<&TwoHeads> {
        match self {
            What::Fork(heads) | What::Rollback(heads) | What::Behind(heads) | What::Diverged(heads) => Some(heads),
            What::Split { heads, .. } => Some(heads),
            What::Unproven(what) => what.two_heads(),
            _ => None,
        }
    }
}

impl From<What> for Finding {
    fn from(what: What) -> Finding {
        Finding { class: what.class(), what, evidence: None }
    }
}

/// What one pass found. The counts are of the whole tree that was followed, not of this pass alone, unless they say so.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The origin of the log, as soon as a checkpoint was understood.
    pub origin: Option<String>,
    /// The head that was offered, once its signatures were verified.
    pub head: Option<TreeHead>,
    /// Entries fetched and hashed in this pass.
    pub entries: u64,
    /// Records verified: all signatures, and their place in the log.
    pub verified: u64,
    /// Those of them that come after a record of the same credential whose opening is gone, so that the chain between
    /// the two isn't shown.
    pub bridged: u64,
    /// Entries of which nobody who was asked could show us the opening, and those after the fold stopped. Never counted
    /// as in order.
    pub unverifiable: u64,
    /// Those of them whose opening was erased, as the server says.
    pub erased: u64,
    /// All that was found, in the order of looking.
    pub findings: Vec<Finding>,
    /// Evidence files for the findings.
    pub evidence: Vec<PathBuf>,
}

impl Report {
    /// The size of the tree, 0 where no checkpoint was verified.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.head.map_or(0, |head| head.size.get())
    }

    /// The class of the worst finding. A report that found nothing at all checked nothing.
    #[must_use]
    pub fn class(&self) -> Class {
        self.findings.iter().map(|finding| finding.class).max().unwrap_or(Class::Infrastructure)
    }

    /// 0 for OK, 1 for TAMPER and SUSPICIOUS, 2 for INFRASTRUCTURE.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.class() {
            Class::Ok => 0,
            Class::Suspicious | Class::Tamper => 1,
            Class::Infrastructure => 2,
        }
    }

    /// The findings of a class.
    pub fn of(&self, class: Class) -> impl Iterator<Item = &What> {
        self.findings.iter().filter(move |finding| finding.class == class).map(|finding| &finding.what)
    }

    /// Puts something else in the place of a finding.
    pub(crate) fn replace(&mut self, place: usize, what: What) {
        if let Some(finding) = self.findings.get_mut(place) {
            *finding = what.into();
        }
    }

    /// The evidence file of a finding.
    #[must_use]
    pub fn evidence_of(&self, what: &What) -> Option<&PathBuf> {
        let key = alert::key(what);
        self.findings.iter().find(|finding| alert::key(&finding.what) == key)?.evidence.as_ref()
    }

    pub(crate) fn proven(&mut self, place: usize, file: PathBuf) {
        if let Some(finding) = self.findings.get_mut(place) {
            finding.evidence = Some(file.clone());
        }
        if !self.evidence.contains(&file) {
            self.evidence.push(file);
        }
    }

    pub(crate) fn add(&mut self, what: What) {
        self.findings.push(what.into());
    }

    /// The report for programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let findings = self.findings.iter().map(|Finding { class, what, evidence }| {
            let mut finding = json!({ "class": class.to_string(), "code": what.code(), "says": what.to_string() });
            if let Some(index) = what.index() {
                finding["index"] = index.into();
            }
            if let Some(evidence) = evidence {
                finding["evidence"] = evidence.display().to_string().into();
            }
            if let Some(TwoHeads { kept, offered }) = what.two_heads() {
                finding["kept"] = kept.to_text().into();
                finding["offered"] = offered.to_text().into();
            }
            finding
        });
        json!({
            "class": self.class().to_string(),
            "origin": self.origin,
            "size": self.size(),
            "root": self.head.map(|head| head.root.to_base64()),
            "entries": self.entries,
            "verified": self.verified,
            "bridged": self.bridged,
            "unverifiable": self.unverifiable,
            "erased": self.erased,
            "findings": findings.collect::<Vec<_>>(),
            "evidence": self.evidence,
        })
    }
}

impl fmt::Display for Report {
    /// One line for each finding, and one that sums up.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding { class, what, .. } in &self.findings {
            writeln!(f, "{class:<16}{what}")?;
        }
        if self.unverifiable > 0 {
            let (n, erased) = (self.unverifiable, self.erased);
            writeln!(f, "{:<16}{n} entries: their openings were not shown ({erased} erased)", "UNVERIFIABLE")?;
        }
        for file in &self.evidence {
            writeln!(f, "{:<16}{}", "evidence", file.display())?;
        }
        let origin = self.origin.as_deref().unwrap_or("the log");
        let Report { entries, verified, unverifiable, .. } = self;
        let size = self.size();
        write!(
            f,
            "{}: {origin} at {size} entries; {entries} read now, {verified} records verified, {unverifiable} unverifiable",
            self.class()
        )
    }
}
