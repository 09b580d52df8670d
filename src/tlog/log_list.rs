//! Lists of logs, as networks of witnesses publish them (`logs/v0`).
//! <https://github.com/transparency-dev/witness-network/blob/main/docs/log-list-format.md>
//!
//! ```text
//! logs/v0
//!
//! vkey log.example.org+0a72cd63+AV2y...     one block for each log, the lines in this order
//! origin another origin                     where it is not the name of the key
//! qpd 86400                                 add-checkpoint requests in a day
//! contact sysadmin (at) log.example.org
//! ```
//!
//! Empty lines, and lines that start with `#`, are passed over. So are `origin none` and a line
//! `bastion`, which an older text of the format had. A list only ever says which logs there are;
//! whoever reads one adds what is new, and changes nothing that was known.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use crate::checkpoint::{Origin, OriginError};
use crate::key::{Vkey, VkeyError};
use crate::text;

/// The longest list, in bytes.
pub const MAX_LIST: usize = 64 * 1024 * 1024;
/// The most logs of a list.
pub const MAX_LOGS: usize = 100_000;

/// One log of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedLog {
    /// The key it signs with.
    pub vkey: Vkey,
    /// The log.
    pub origin: Origin,
    /// How many `add-checkpoint` requests it may make in a day: 1 to 2^31 - 1.
    pub qpd: u32,
    /// How people reach its operator.
    pub contact: String,
}

/// Why bytes are not a list of logs, and on which line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("log list, line {line}: {fault}")]
pub struct LogListError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub fault: LogListFault,
}

/// What is wrong with a line of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LogListFault {
    /// More than [`MAX_LIST`] bytes.
    #[error("a list has at most 64 MiB")]
    TooLong,
    /// Not UTF-8, or a control character.
    #[error("not UTF-8, or a control character")]
    Text,
    /// The first line that says something is not `logs/v0`.
    #[error("a list starts with logs/v0")]
    Header,
    /// A line that does not belong here: each log has vkey, origin (or not), qpd and contact.
    #[error("a log is vkey, origin, qpd and contact, in this order")]
    Order,
    /// A vkey that is none.
    #[error("{0}")]
    Vkey(#[from] VkeyError),
    /// An origin that is none.
    #[error("{0}")]
    Origin(#[from] OriginError),
    /// Not a number from 1 to 2^31 - 1.
    #[error("qpd is a number from 1 to 2147483647")]
    Qpd,
    /// No contact.
    #[error("the contact is empty")]
    Contact,
    /// Another log of the list has this origin.
    #[error("this origin is listed before")]
    DuplicateOrigin,
    /// More than [`MAX_LOGS`] logs.
    #[error("more than 100000 logs")]
    TooMany,
}

/// Reads a list.
pub fn parse(list: &[u8]) -> Result<Vec<ListedLog>, LogListError> {
    let at = |line: usize| move |fault: LogListFault| LogListError { line, fault };
    if list.len() > MAX_LIST {
        return Err(at(1)(LogListFault::TooLong));
    }
    let list = text::check(list).map_err(|_| at(1)(LogListFault::Text))?;
    let said = |line: &str| !line.is_empty() && !line.starts_with('#');
    let mut lines =
        (list.split('\n').enumerate().map(|(n, line)| (n + 1, line))).filter(|(_, line)| said(line)).peekable();
    match lines.next() {
        Some((_, "logs/v0")) => {}
        other => return Err(at(other.map_or(1, |(n, _)| n))(LogListFault::Header)),
    }
    let mut logs: Vec<ListedLog> = Vec::new();
    let mut origins = BTreeSet::new();
    while let Some((n, line)) = lines.next() {
        let mut last = n;
        let mut next = |name: &str| {
            let found = lines.next_if(|(_, line)| line.split(' ').next() == Some(name))?;
            last = found.0;
            found.1.strip_prefix(name)?.strip_prefix(' ')
        };
        let vkey = line.strip_prefix("vkey ").ok_or(at(n)(LogListFault::Order))?;
        let vkey = Vkey::parse(vkey).map_err(|fault| at(n)(fault.into()))?;
        let origin = next("origin").filter(|origin| *origin != "none");
        next("bastion");
        let qpd = next("qpd");
        let contact = next("contact");
        let end = at(last);
        let origin = Origin::new(origin.unwrap_or(vkey.name().as_str())).map_err(|fault| end(fault.into()))?;
        let (Some(qpd), Some(contact)) = (qpd, contact) else {
            return Err(end(LogListFault::Order));
        };
        let qpd = text::decimal(qpd).and_then(|qpd| i32::try_from(qpd).ok()).filter(|qpd| *qpd > 0);
        let qpd = qpd.map(i32::unsigned_abs).ok_or(end(LogListFault::Qpd))?;
        if contact.is_empty() {
            return Err(end(LogListFault::Contact));
        }
        if !origins.insert(origin.clone()) {
            return Err(end(LogListFault::DuplicateOrigin));
        }
        if logs.len() == MAX_LOGS {
            return Err(end(LogListFault::TooMany));
        }
        logs.push(ListedLog { vkey, origin, qpd, contact: contact.to_owned() });
    }
    Ok(logs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "#\n# List: 10qps-4klogs\n#\nlogs/v0\n\n# the first\n\
        vkey example.com/log+9c9ce35a+Af/cLU2Y5BJNP+r3iMDC+av9eWCD0fBJVDfzAux5zxAP\n\
        qpd 86400\ncontact https://example.com/contact\n\n\
        vkey example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k\n\
        origin another origin\nqpd 24\ncontact sysadmin (at) example.com\n";

    fn fault(list: &str) -> (usize, LogListFault) {
        let LogListError { line, fault } = parse(list.as_bytes()).unwrap_err();
        (line, fault)
    }

    #[test]
    fn a_list_is_read() {
        let logs = parse(LIST.as_bytes()).unwrap();
        let said: Vec<(&str, u32, &str)> =
            logs.iter().map(|log| (log.origin.as_str(), log.qpd, log.contact.as_str())).collect();
        assert_eq!(
            said,
            [
                ("example.com/log", 86400, "https://example.com/contact"),
                ("another origin", 24, "sysadmin (at) example.com")
            ]
        );
        assert_eq!(parse(b"logs/v0\n"), Ok(Vec::new()));
        // The older text of the format.
        let older = LIST.replace("qpd 86400", "origin none\nbastion none\nqpd 86400");
        assert_eq!(parse(older.as_bytes()), Ok(logs));
    }

    #[test]
    fn each_fault_has_its_line_and_its_name() {
        assert_eq!(fault(""), (1, LogListFault::Header));
        assert_eq!(fault("\nlogs/v1\n"), (2, LogListFault::Header));
        assert_eq!(fault(&LIST.replace("logs/v0\n", "logs/v0\r\n")), (1, LogListFault::Text));
        assert_eq!(fault(&LIST.replace("qpd 86400\n", "")), (8, LogListFault::Order));
        assert_eq!(fault(&LIST.replace("qpd 24\ncontact", "contact")), (13, LogListFault::Order));
        assert_eq!(fault(&LIST.replace("vkey example.com/foo", "key example.com/foo")), (11, LogListFault::Order));
        assert_eq!(fault(&LIST.replace("9c9ce35a", "9c9ce35b")), (7, LogListFault::Vkey(VkeyError::KeyIdMismatch)));
        for bad in ["0", "-1", "+1", "01", "2147483648", "x", ""] {
            assert_eq!(fault(&LIST.replace("86400", bad)), (9, LogListFault::Qpd), "{bad}");
        }
        assert_eq!(fault(&LIST.replace("https://example.com/contact", "")), (9, LogListFault::Contact));
        let twice = LIST.replace("another origin", "example.com/log");
        assert_eq!(fault(&twice), (14, LogListFault::DuplicateOrigin));
    }
}
