//! One case of a vector file: its fields by name, and what became of it.

use crate::base64::strict;
use serde_json::Value;

/// What our code made of a case.
pub type Judged = Result<(), Miss>;

/// Why a case did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Miss {
    /// Our result is not the expected one.
    Wrong(String),
    /// We do not have what the case asks for.
    Unknown(String),
}

/// Passes when the two are equal, and says both when they are not.
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(ours: T, expected: T) -> Judged {
    if ours == expected { Ok(()) } else { Err(Miss::Wrong(format!("ours {ours:?}, expected {expected:?}"))) }
}

/// Passes when our verdict is the expected one.
pub(crate) fn accepted<T, E: std::fmt::Debug>(ours: Result<T, E>, expected: bool) -> Judged {
    match (ours, expected) {
        (Ok(_), true) | (Err(_), false) => Ok(()),
        (Ok(_), false) => Err(Miss::Wrong("accepted, must be refused".into())),
        (Err(e), true) => Err(Miss::Wrong(format!("refused ({e:?}), must be accepted"))),
    }
}

/// A case, or any JSON object inside one.
#[derive(Clone, Copy)]
pub struct Case<'a>(&'a Value);

impl<'a> Case<'a> {
    /// Wraps a JSON value.
    #[must_use]
    pub fn new(value: &'a Value) -> Self {
        Case(value)
    }

    /// What to call it in a report.
    pub(crate) fn name(&self) -> String {
        for member in ["id", "tcId", "number", "name"] {
            match self.0.get(member) {
                Some(Value::String(s)) => return s.clone(),
                Some(Value::Number(n)) => return format!("{member} {n}"),
                _ => {}
            }
        }
        "a case without a name".into()
    }

    pub(crate) fn value(&self) -> &'a Value {
        self.0
    }

    pub(crate) fn has(&self, member: &str) -> bool {
        self.0.get(member).is_some_and(|v| !v.is_null())
    }

    pub(crate) fn at(&self, member: &str) -> Result<Case<'a>, Miss> {
        self.0
            .get(member)
            .filter(|v| !v.is_null())
            .map(Case)
            .ok_or_else(|| Miss::Unknown(format!("no member `{member}`")))
    }

    pub(crate) fn str(&self, member: &str) -> Result<&'a str, Miss> {
        self.at(member)?.0.as_str().ok_or_else(|| Miss::Unknown(format!("`{member}` is not text")))
    }

    pub(crate) fn u64(&self, member: &str) -> Result<u64, Miss> {
        self.at(member)?.0.as_u64().ok_or_else(|| Miss::Unknown(format!("`{member}` is not an unsigned integer")))
    }

    pub(crate) fn bool(&self, member: &str) -> Result<bool, Miss> {
        self.at(member)?.0.as_bool().ok_or_else(|| Miss::Unknown(format!("`{member}` is not true or false")))
    }

    pub(crate) fn list(&self, member: &str) -> Result<Vec<Case<'a>>, Miss> {
        let list = self.at(member)?.0.as_array().ok_or_else(|| Miss::Unknown(format!("`{member}` is not a list")))?;
        Ok(list.iter().map(Case).collect())
    }

    pub(crate) fn hex(&self, member: &str) -> Result<Vec<u8>, Miss> {
        unhex(self.str(member)?).ok_or_else(|| Miss::Unknown(format!("`{member}` is not hex")))
    }

    pub(crate) fn base64(&self, member: &str) -> Result<Vec<u8>, Miss> {
        strict(self.str(member)?).ok_or_else(|| Miss::Unknown(format!("`{member}` is not base64")))
    }

    pub(crate) fn array<const N: usize>(&self, member: &str) -> Result<[u8; N], Miss> {
        self.hex(member)?.try_into().map_err(|_| Miss::Unknown(format!("`{member}` is not {N} bytes")))
    }

    pub(crate) fn as_str(&self) -> Option<&'a str> {
        self.0.as_str()
    }
}

/// Bytes of lower- or upper-case hex.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    hex::decode(text).ok()
}
