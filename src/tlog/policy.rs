//! Policies: which logs a reader believes, and which witnesses must have seen a head first. <https://c2sp.org/tlog-policy>
//!
//! ```text
//! log <vkey> [<url>]
//! witness X1 <vkey> [<url>]
//! witness X2 <vkey> [<url>]
//! group X any X1 X2             at least 1 of them; also `all`, or a number
//! quorum X                      exactly one; `none` asks for no witness
//! ```
//!
//! A checkpoint satisfies a policy when one listed log signed it and the quorum cosigned it. A
//! name is a member of at most one group and a key stands behind at most one name, so nobody is
//! counted twice.
//!
//! The specification treats octets above 0x7F as opaque. So do comments here; names and URLs
//! must be UTF-8.

use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::cosignature::Seconds;
use crate::key::{ECDSA, Kind, RFC6962, Vkey, VkeyError};
use crate::note::{Note, OpenError};
use crate::text;

/// The longest policy file, in bytes.
pub const MAX_POLICY: usize = 1024 * 1024;

/// The most logs, witnesses and groups, of each. tlog-policy asks for 32 or more.
pub const MAX_ITEMS: usize = 1024;

/// The name that, after `quorum`, asks for no witness.
const NONE: &str = "none";

/// A log that the policy believes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Log {
    /// The log's key. Its name is the log's origin.
    pub vkey: Vkey,
    /// Where the log is, when the policy says so.
    pub url: Option<String>,
}

/// A witness whose cosignatures can count.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Witness {
    /// What the policy calls it. Means nothing outside of the policy.
    pub name: String,
    /// The witness's key.
    pub vkey: Vkey,
    /// Its submission prefix, when the policy says so.
    pub url: Option<String>,
}

/// A trust policy: known logs, known witnesses, and which of them are enough.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    logs: Vec<Log>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    quorum: Option<Member>,
}

/// `threshold` of `members`. Members are witnesses, or groups earlier in the list.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Group {
    threshold: usize,
    members: Vec<Member>,
}

/// A place in the list of witnesses or in the list of groups.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Member {
    Witness(usize),
    Group(usize),
}

/// Why bytes are not a policy, and on which line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("policy, line {line}: {fault}")]
pub struct PolicySyntaxError {
    /// The line, counted from 1. For a missing quorum, the line after the last.
    pub line: usize,
    /// What is wrong with it.
    pub fault: PolicyFault,
}

/// What is wrong with a line of a policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PolicyFault {
    /// More than [`MAX_POLICY`] bytes.
    #[error("a policy has at most 1 MiB")]
    TooLong,
    /// A control character other than tab and newline, or U+007F.
    #[error("a control character")]
    ControlCharacter,
    /// A name or URL that is not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// A line that starts with none of `log`, `witness`, `group`, `quorum`.
    #[error("a line starts with log, witness, group, quorum or #")]
    Keyword,
    /// Too few or too many words after the first.
    #[error("wrong number of words on this line")]
    Words,
    /// More than [`MAX_ITEMS`] of one thing.
    #[error("more than 1024 logs, witnesses or groups")]
    TooMany,
    /// A vkey that is none.
    #[error("{0}")]
    Vkey(#[from] VkeyError),
    /// A log with a key that does not sign checkpoints.
    #[error("key type {0:#04x} does not sign for a log")]
    LogKey(u8),
    /// A witness with a key that does not cosign.
    #[error("key type {0:#04x} does not cosign: a witness has type 0x04 or 0x06")]
    WitnessKey(u8),
    /// Two logs, or two witnesses, with one public key.
    #[error("this public key is listed before")]
    DuplicateKey,
    /// A second witness or group of one name.
    #[error("this name is taken")]
    DuplicateName,
    /// `none` as the name of a witness, group or member.
    #[error("the name none is reserved for the quorum")]
    None,
    /// A threshold that is not `all`, `any` or a number from 1 to the number of members.
    #[error("the threshold is all, any, or a number from 1 to the number of members")]
    Threshold,
    /// A name that no earlier line defines.
    #[error("no earlier line defines this name")]
    UnknownName,
    /// A name that is already a member of a group.
    #[error("this name is a member of a group already")]
    MemberTwice,
    /// A second quorum line.
    #[error("a second quorum line")]
    SecondQuorum,
    /// No quorum line.
    #[error("no quorum line")]
    NoQuorum,
}

/// Why a checkpoint does not satisfy a policy, in the order of the checks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PolicyError {
    /// The note's text is not a checkpoint.
    #[error("{0}")]
    Checkpoint(#[from] CheckpointError),
    /// No log of the policy has this origin.
    #[error("the policy has no log of this origin")]
    UnknownLog,
    /// A signature that names a key of the policy is not by that key.
    #[error("{0}")]
    Signature(OpenError),
    /// No signature by a key of the log.
    #[error("the checkpoint is not signed by the log")]
    NotSigned,
    /// Too few cosignatures.
    #[error("the witnesses that cosigned are not a quorum")]
    NoQuorum,
}

/// A checkpoint that satisfies a policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// What the log said.
    pub checkpoint: Checkpoint,
    /// The witnesses of the policy that cosigned it, in the order of the policy.
    pub witnesses: Vec<Cosigned>,
}

/// A witness's cosignature on an accepted checkpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cosigned {
    /// What the policy calls the witness.
    pub name: String,
    /// The latest time at which it cosigned this checkpoint.
    pub time: Seconds,
}

impl Policy {
    /// Reads a policy file: `&str` or `&[u8]`.
    pub fn parse(policy: impl AsRef<[u8]>) -> Result<Policy, PolicySyntaxError> {
        Parser::read(policy.as_ref())
    }

    /// The logs, in the order of the file.
    #[must_use]
    pub fn logs(&self) -> &[Log] {
        &self.logs
    }

    /// The witnesses, in the order of the file, members of the quorum or not.
    #[must_use]
    pub fn witnesses(&self) -> &[Witness] {
        &self.witnesses
    }

    /// Whether the quorum is `none`: no witness is asked for.
    #[must_use]
    pub fn quorum_is_none(&self) -> bool {
        self.quorum.is_none()
    }

    /// Whether the witnesses for which `cosigned` says yes are enough. It is asked about each
    /// witness by its name in the policy.
    #[must_use]
    pub fn quorum_met(&self, cosigned: &dyn Fn(&str) -> bool) -> bool {
        let witnesses: Vec<bool> = (self.witnesses.iter()).map(|witness| cosigned(&witness.name)).collect();
        let count = |witness: usize| witnesses.get(witness).copied().unwrap_or(false);
        // Nobody is asked for, nobody can be missing.
        self.fold(count, |met, _, threshold| met >= threshold).unwrap_or(true)
    }

    /// Whether any two quorums have a witness in common.
    ///
    /// Where they have not, two halves of the witnesses can be shown two logs, and answers from
    /// a quorum do not bound what another quorum has cosigned.
    #[must_use]
    pub fn quorums_overlap(&self) -> bool {
        // A member is *split* when two disjoint sets of witnesses can both satisfy it. A witness
        // cannot be. In a group, members that can be split serve both sets and each of the
        // others serves one: both reach k when the k + k places they need are at most one
        // from each member and a second one from each that can be split.
        let split = self.fold(|_| false, |split, members, threshold| 2 * threshold <= members + split);
        // The empty set satisfies `none`, and has nothing in common with itself.
        !split.unwrap_or(true)
    }

    /// Works out a yes or no for the quorum from one for each witness: `group` is told how many
    /// members say yes, how many there are, and the threshold. `None` for the quorum `none`.
    fn fold(&self, witness: impl Fn(usize) -> bool, group: impl Fn(usize, usize, usize) -> bool) -> Option<bool> {
        let mut groups: Vec<bool> = Vec::with_capacity(self.groups.len());
        let value = |groups: &[bool], member: &Member| match *member {
            Member::Witness(place) => witness(place),
            // Members are earlier groups, which are in the list by now.
            Member::Group(place) => groups.get(place).copied().unwrap_or(false),
        };
        for Group { threshold, members } in &self.groups {
            let yes = members.iter().filter(|m| value(&groups, m)).count();
            groups.push(group(yes, members.len(), *threshold));
        }
        self.quorum.as_ref().map(|quorum| value(&groups, quorum))
    }

    /// Verifies a checkpoint note: signed by a log of this origin, cosigned by a quorum.
    ///
    /// Signatures by keys outside of the policy are passed over. A bad signature that names a
    /// key of the policy spoils the note. Cosignatures count by witness, not by line. Their
    /// times are handed out and not judged.
    pub fn verify(&self, note: &Note) -> Result<Accepted, PolicyError> {
        let checkpoint = Checkpoint::parse_text(note.text())?;
        let origin = checkpoint.origin.as_str();
        let of_origin = |log: &&Log| log.vkey.name().as_str() == origin;
        if !self.logs.iter().any(|log| of_origin(&log)) {
            return Err(PolicyError::UnknownLog);
        }
        let opened = note
            .open_with(|line| {
                let logs = self.logs.iter().filter(of_origin).map(|log| &log.vkey);
                let witnesses = self.witnesses.iter().map(|witness| &witness.vkey);
                logs.chain(witnesses).filter(move |key| key.matches(line))
            })
            .map_err(|error| match error {
                OpenError::NoKnownKey => PolicyError::NotSigned,
                bad => PolicyError::Signature(bad),
            })?;
        let signed = self.logs.iter().filter(of_origin).any(|log| opened.is_by(&log.vkey));
        if !signed {
            return Err(PolicyError::NotSigned);
        }
        let latest = |witness: &Witness| {
            (opened.verified.iter())
                .filter(|verified| verified.key == &witness.vkey)
                .filter_map(|verified| verified.time)
                .max()
        };
        let witnesses: Vec<Cosigned> = (self.witnesses.iter())
            .filter_map(|witness| {
                let name = witness.name.clone();
                latest(witness).map(|time| Cosigned { name, time })
            })
            .collect();
        if !self.quorum_met(&|name| witnesses.iter().any(|witness| witness.name == name)) {
            return Err(PolicyError::NoQuorum);
        }
        Ok(Accepted { checkpoint, witnesses })
    }
}

/// A policy that is being read.
struct Parser {
    policy: Policy,
    quorum_seen: bool,
    names: BTreeMap<String, Member>,
    members: BTreeSet<String>,
    log_keys: BTreeSet<Vec<u8>>,
    witness_keys: BTreeSet<Vec<u8>>,
}

impl Parser {
    fn read(policy: &[u8]) -> Result<Policy, PolicySyntaxError> {
        if policy.len() > MAX_POLICY {
            return Err(PolicySyntaxError { line: 1, fault: PolicyFault::TooLong });
        }
        let mut parser = Parser {
            policy: Policy { logs: Vec::new(), witnesses: Vec::new(), groups: Vec::new(), quorum: None },
            quorum_seen: false,
            names: BTreeMap::new(),
            members: BTreeSet::new(),
            log_keys: BTreeSet::new(),
            witness_keys: BTreeSet::new(),
        };
        let mut line_number = 0;
        for line in policy.split(|&byte| byte == b'\n') {
            line_number += 1;
            parser.line(line).map_err(|fault| PolicySyntaxError { line: line_number, fault })?;
        }
        if !parser.quorum_seen {
            return Err(PolicySyntaxError { line: line_number, fault: PolicyFault::NoQuorum });
        }
        Ok(parser.policy)
    }

    fn line(&mut self, line: &[u8]) -> Result<(), PolicyFault> {
        if line.iter().any(|&b| b != b'\t' && (b < 0x20 || b == 0x7f)) {
            return Err(PolicyFault::ControlCharacter);
        }
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            return Ok(());
        }
        let line = core::str::from_utf8(line).map_err(|_| PolicyFault::NotUtf8)?;
        let words: Vec<&str> = line.split([' ', '\t']).filter(|w| !w.is_empty()).collect();
        match words.as_slice() {
            ["log", vkey] => self.log(vkey, None),
            ["log", vkey, url] => self.log(vkey, Some(url)),
            ["witness", name, vkey] => self.witness(name, vkey, None),
            ["witness", name, vkey, url] => self.witness(name, vkey, Some(url)),
            ["group", name, threshold, members @ ..] if !members.is_empty() => self.group(name, threshold, members),
            ["quorum", name] => self.quorum(name),
            ["log" | "witness" | "group" | "quorum", ..] => Err(PolicyFault::Words),
            _ => Err(PolicyFault::Keyword),
        }
    }

    fn log(&mut self, vkey: &str, url: Option<&str>) -> Result<(), PolicyFault> {
        let vkey = Vkey::parse(vkey)?;
        if vkey.kind() == Kind::CosignatureV1 {
            return Err(PolicyFault::LogKey(vkey.kind().byte()));
        }
        if !self.log_keys.insert(vkey.public_key().to_vec()) {
            return Err(PolicyFault::DuplicateKey);
        }
        let url = url.map(ToOwned::to_owned);
        push(&mut self.policy.logs, Log { vkey, url }).map(|_| ())
    }

    fn witness(&mut self, name: &str, vkey: &str, url: Option<&str>) -> Result<(), PolicyFault> {
        let vkey = Vkey::parse(vkey)?;
        match vkey.kind() {
            Kind::CosignatureV1 | Kind::MlDsa44 => {}
            Kind::Ed25519 | Kind::Unknown(ECDSA | RFC6962) => {
                return Err(PolicyFault::WitnessKey(vkey.kind().byte()));
            }
            // A kind from the future. Its cosignatures are passed over, so it never counts.
            Kind::Unknown(_) => {}
        }
        if !self.witness_keys.insert(vkey.public_key().to_vec()) {
            return Err(PolicyFault::DuplicateKey);
        }
        let witness = Witness { name: name.to_owned(), vkey, url: url.map(ToOwned::to_owned) };
        let place = push(&mut self.policy.witnesses, witness)?;
        self.define(name, Member::Witness(place))
    }

    fn group(&mut self, name: &str, threshold: &str, names: &[&str]) -> Result<(), PolicyFault> {
        let threshold = match threshold {
            "any" => 1,
            "all" => names.len(),
            number => text::decimal(number)
                .and_then(|k| usize::try_from(k).ok())
                .filter(|k| (1..=names.len()).contains(k))
                .ok_or(PolicyFault::Threshold)?,
        };
        let mut members = Vec::with_capacity(names.len());
        for member in names {
            members.push(self.look_up(member)?);
            if !self.members.insert((*member).to_owned()) {
                return Err(PolicyFault::MemberTwice);
            }
        }
        let place = push(&mut self.policy.groups, Group { threshold, members })?;
        self.define(name, Member::Group(place))
    }

    fn quorum(&mut self, name: &str) -> Result<(), PolicyFault> {
        if self.quorum_seen {
            return Err(PolicyFault::SecondQuorum);
        }
        self.quorum_seen = true;
        if name != NONE {
            self.policy.quorum = Some(self.look_up(name)?);
        }
        Ok(())
    }

    fn look_up(&self, name: &str) -> Result<Member, PolicyFault> {
        if name == NONE {
            return Err(PolicyFault::None);
        }
        (self.names.get(name).copied()).ok_or(PolicyFault::UnknownName)
    }

    fn define(&mut self, name: &str, member: Member) -> Result<(), PolicyFault> {
        if name == NONE {
            return Err(PolicyFault::None);
        }
        match self.names.insert(name.to_owned(), member) {
            None => Ok(()),
            Some(_) => Err(PolicyFault::DuplicateName),
        }
    }
}

/// Appends to a bounded list and says where.
fn push<T>(list: &mut Vec<T>, item: T) -> Result<usize, PolicyFault> {
    if list.len() == MAX_ITEMS {
        return Err(PolicyFault::TooMany);
    }
    list.push(item);
    Ok(list.len() - 1)
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;

    use super::*;
    use crate::cosignature::Cosigner;
    use crate::hash::Hash;
    use crate::key::{KeyName, Signer};
    use crate::tree::{TreeHead, TreeSize};

    fn log(seed: u8) -> Signer {
        Signer::note(KeyName::new("example.com/log").unwrap(), &[seed; 32])
    }

    fn witness(n: u8) -> Cosigner {
        let name = format!("witness.example/{n}");
        Cosigner::new(KeyName::new(&name).unwrap(), &[100 + n; 32])
    }

    fn policy(witnesses: u8, rules: &str) -> Policy {
        let mut file = format!("log {}\n", log(1).vkey());
        for n in 1..=witnesses {
            file += &format!("witness w{n} {}\n", witness(n).vkey());
        }
        Policy::parse(file + rules).unwrap()
    }

    fn fault(rules: &str) -> PolicyFault {
        let mut file = String::new();
        for n in 1..=3 {
            file += &format!("witness w{n} {}\n", witness(n).vkey());
        }
        Policy::parse(file + rules).unwrap_err().fault
    }

    fn checkpoint() -> String {
        let head = TreeHead { size: TreeSize::new(5).unwrap(), root: Hash([3; 32]) };
        let origin = "example.com/log".parse().unwrap();
        Checkpoint::new(origin, head).to_text()
    }

    fn at(seconds: u64) -> Seconds {
        Seconds::new(seconds).unwrap()
    }

    #[test]
    fn each_fault_has_its_name() {
        assert_eq!(fault("quorum w1\nquorum w1\n"), PolicyFault::SecondQuorum);
        assert_eq!(fault(""), PolicyFault::NoQuorum);
        assert_eq!(fault("group g 0 w1\nquorum g\n"), PolicyFault::Threshold);
        assert_eq!(fault("group g 01 w1\nquorum g\n"), PolicyFault::Threshold);
        assert_eq!(fault("group g 2 w1\nquorum g\n"), PolicyFault::Threshold);
        assert_eq!(fault("group g any\nquorum g\n"), PolicyFault::Words);
        assert_eq!(fault("group g any none\n"), PolicyFault::None);
        assert_eq!(fault("group none any w1\n"), PolicyFault::None);
        assert_eq!(fault("group w1 any w2\n"), PolicyFault::DuplicateName);
        assert_eq!(fault("group g any g\n"), PolicyFault::UnknownName);
        assert_eq!(fault("group g any w1 w1\n"), PolicyFault::MemberTwice);
        assert_eq!(fault("group g any w1\ngroup h any w1\n"), PolicyFault::MemberTwice);
        assert_eq!(fault("quorum w1\r\n"), PolicyFault::ControlCharacter);
        assert_eq!(fault("Quorum w1\n"), PolicyFault::Keyword);
        assert_eq!(fault("quorum w1 w2\n"), PolicyFault::Words);
        assert_eq!(fault(&format!("witness x {}\n", log(1).vkey())), PolicyFault::WitnessKey(1));
        assert_eq!(fault(&format!("log {}\n", witness(9).vkey())), PolicyFault::LogKey(4));
    }

    #[test]
    fn one_key_behind_two_names_is_refused() {
        let again = Vkey::cosignature_v1(
            KeyName::new("another.example").unwrap(),
            witness(1).vkey().public_key().try_into().unwrap(),
        );
        assert_eq!(fault(&format!("witness x {again}\n")), PolicyFault::DuplicateKey);
    }

    #[test]
    fn comments_are_opaque_and_names_are_not() {
        let comment = [b"# caf\xe9\nquorum none\n".as_slice()].concat();
        assert!(Policy::parse(&comment).is_ok());
        let error = Policy::parse(b"quorum caf\xe9\n").unwrap_err();
        assert_eq!(error.fault, PolicyFault::NotUtf8);
        assert_eq!(error.to_string(), "policy, line 1: not UTF-8");
    }

    #[test]
    fn a_policy_of_32_logs_witnesses_and_groups_is_read() {
        let mut file = String::new();
        for n in 0..32 {
            file += &format!("log {}\n", log(n).vkey());
            file += &format!("witness w{n} {}\n", witness(n).vkey());
            file += &format!("group g{n} any w{n}\n");
        }
        let policy = Policy::parse(file + "quorum g31\n").unwrap();
        assert_eq!((policy.logs().len(), policy.witnesses().len()), (32, 32));
        assert!(policy.quorum_met(&|name| name == "w31"));
        assert!(!policy.quorum_met(&|name| name != "w31"));
    }

    #[test]
    fn the_example_of_two_levels() {
        let rules = "group X 2 w1 w2 w3\ngroup Y any w4 w5 w6\ngroup XY all X Y\nquorum XY\n";
        let policy = policy(6, rules);
        let met = |names: &[&str]| policy.quorum_met(&|name| names.contains(&name));
        assert!(met(&["w1", "w3", "w6"]));
        assert!(!met(&["w1", "w2", "w3"]));
        assert!(!met(&["w1", "w4", "w5", "w6"]));
        // Two of three always meet, so all quorums do, although the Y witnesses need not.
        assert!(policy.quorums_overlap());
    }

    /// The definition, by trying every set of witnesses against its complement.
    fn overlap_by_enumeration(policy: &Policy) -> bool {
        let witnesses = policy.witnesses();
        let place = |name: &str| witnesses.iter().position(|w| w.name == name).unwrap();
        (0u32..1 << witnesses.len()).all(|set| {
            let inside = policy.quorum_met(&|name| set >> place(name) & 1 == 1);
            let outside = policy.quorum_met(&|name| set >> place(name) & 1 == 0);
            !(inside && outside)
        })
    }

    #[test]
    fn overlap_is_what_enumeration_says() {
        let mut seen = [0; 2];
        let mut check = |rules: &str| {
            let policy = policy(7, rules);
            let expected = overlap_by_enumeration(&policy);
            assert_eq!(policy.quorums_overlap(), expected, "{rules}");
            seen[usize::from(expected)] += 1;
        };
        check("quorum none\n");
        check("quorum w1\n");
        for k in 1..=7 {
            check(&format!("group g {k} w1 w2 w3 w4 w5 w6 w7\nquorum g\n"));
        }
        for (a, b, c) in (0..27).map(|n| (1 + n % 3, 1 + n / 3 % 3, 1 + n / 9)) {
            for top in 1..=3 {
                check(&format!("group a {a} w1 w2 w3\ngroup b {b} w4 w5 w6\ngroup t {top} a b w7\nquorum t\n"));
                check(&format!("group a {a} w1 w2 w3\ngroup b {b} a w4 w5\ngroup t {c} b w6 w7\nquorum t\n"));
            }
        }
        assert!(seen[0] > 20 && seen[1] > 20, "{seen:?}");
    }

    #[test]
    fn cosignatures_count_by_witness_and_not_by_line() {
        let policy = policy(3, "group g 2 w1 w2 w3\nquorum g\n");
        let text = checkpoint();
        let note = Note::sign(&text, &log(1)).unwrap();
        assert_eq!(policy.verify(&note), Err(PolicyError::NoQuorum));

        // The same witness at two moments is one witness.
        let twice = note
            .with_signature(witness(1).cosign(&text, at(10)))
            .and_then(|note| note.with_signature(witness(1).cosign(&text, at(20))))
            .unwrap();
        assert_eq!(policy.verify(&twice), Err(PolicyError::NoQuorum));

        let enough = twice.with_signature(witness(3).cosign(&text, at(5)));
        let accepted = policy.verify(&enough.unwrap()).unwrap();
        let counted: Vec<(&str, u64)> =
            (accepted.witnesses.iter()).map(|witness| (witness.name.as_str(), witness.time.get())).collect();
        assert_eq!(counted, [("w1", 20), ("w3", 5)]);
        assert_eq!(accepted.checkpoint.to_text(), text);
    }

    #[test]
    fn a_log_is_not_a_witness_and_a_witness_is_not_a_log() {
        let policy = policy(1, "quorum w1\n");
        let text = checkpoint();
        let unsigned = Note::new(&text, alloc::vec![witness(1).cosign(&text, at(1))]).unwrap();
        assert_eq!(policy.verify(&unsigned), Err(PolicyError::NotSigned));

        let spoilt = Note::sign(&text, &log(1)).unwrap();
        let spoilt = spoilt.with_signature(witness(1).cosign("another text\n", at(1)));
        assert_eq!(
            policy.verify(&spoilt.unwrap()),
            Err(PolicyError::Signature(OpenError::InvalidSignature { line: 1 }))
        );

        let stranger = Note::sign(&text, &log(2)).unwrap();
        assert_eq!(policy.verify(&stranger), Err(PolicyError::NotSigned));
        let elsewhere = text.replace("example.com", "example.org");
        let elsewhere = Note::sign(&elsewhere, &log(1)).unwrap();
        assert_eq!(policy.verify(&elsewhere), Err(PolicyError::UnknownLog));
    }
}
