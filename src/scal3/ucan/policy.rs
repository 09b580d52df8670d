//! What a delegation says about the arguments of its command. <https://github.com/ucan-wg/delegation#policy>
//!
//! ```text
//! policy    = [ * statement ]                                           all of them have to hold
//! statement = ["==" / "!=" / "<" / "<=" / ">" / ">=", selector, value]
//!           / ["like", selector, pattern] / ["not", statement] / ["and" / "or", [* statement]]
//! selector  = "." / ".name" / ".name.name" ...
//! ```
//! What is not in this list is not understood, and a delegation that says it is refused whole.

use alloc::string::String;
use alloc::vec::Vec;

use ciborium::Value;

/// How many statements a policy may have in all.
const STATEMENTS_MAX: usize = 64;

/// A statement about arguments.
#[derive(Debug, Clone, PartialEq)]
pub enum Statement {
    /// What is selected is this.
    Equal(Selector, Value),
    /// It is not.
    NotEqual(Selector, Value),
    /// What is selected is a number that stands so to this one.
    Compare(Selector, Order, i128),
    /// What is selected is a text like this: `*` stands for anything, `\*` for itself.
    Like(Selector, String),
    /// It does not hold.
    Not(alloc::boxed::Box<Statement>),
    /// All of them hold.
    And(Vec<Statement>),
    /// One of them holds. Of none, it holds too: that is how others read it.
    Or(Vec<Statement>),
}

/// How two numbers stand to one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Below.
    Less,
    /// Below, or the same.
    LessOrEqual,
    /// Above.
    Greater,
    /// Above, or the same.
    GreaterOrEqual,
}

/// A path of names into arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector(Vec<String>);

impl Selector {
    fn parse(text: &str) -> Option<Selector> {
        let path = text.strip_prefix('.')?;
        if path.is_empty() {
            return Some(Selector(Vec::new()));
        }
        let is_name = |name: &str| {
            let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            plain && !name.is_empty()
        };
        let names: Vec<&str> = path.split('.').collect();
        names.iter().all(|name| is_name(name)).then(|| Selector(names.into_iter().map(String::from).collect()))
    }

    fn find<'a>(&self, arguments: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(arguments, |value, name| {
            let members = value.as_map()?;
            members.iter().find(|(key, _)| key.as_text() == Some(name)).map(|(_, value)| value)
        })
    }
}

/// Reads a policy; none when it says something that is not understood.
pub(super) fn parse(list: &[Value]) -> Option<Vec<Statement>> {
    let mut left = STATEMENTS_MAX;
    statements(list, &mut left)
}

fn statements(list: &[Value], left: &mut usize) -> Option<Vec<Statement>> {
    list.iter().map(|value| statement(value, left)).collect()
}

fn statement(value: &Value, left: &mut usize) -> Option<Statement> {
    *left = left.checked_sub(1)?;
    let (operator, rest) = value.as_array()?.split_first()?;
    let compare = |order: Order, rest: &[Value]| match rest {
        [selector, Value::Integer(number)] => {
            Some(Statement::Compare(Selector::parse(selector.as_text()?)?, order, i128::from(*number)))
        }
        _ => None,
    };
    match (operator.as_text()?, rest) {
        ("==", [selector, value]) => Some(Statement::Equal(Selector::parse(selector.as_text()?)?, value.clone())),
        ("!=", [selector, value]) => Some(Statement::NotEqual(Selector::parse(selector.as_text()?)?, value.clone())),
        ("<", rest) => compare(Order::Less, rest),
        ("<=", rest) => compare(Order::LessOrEqual, rest),
        (">", rest) => compare(Order::Greater, rest),
        (">=", rest) => compare(Order::GreaterOrEqual, rest),
        ("like", [selector, Value::Text(pattern)]) => {
            Some(Statement::Like(Selector::parse(selector.as_text()?)?, pattern.clone()))
        }
        ("not", [inner]) => statement(inner, left).map(|inner| Statement::Not(inner.into())),
        ("and", [Value::Array(list)]) => statements(list, left).map(Statement::And),
        ("or", [Value::Array(list)]) => statements(list, left).map(Statement::Or),
        _ => None,
    }
}

impl Statement {
    /// Whether it holds for these arguments.
    pub fn holds(&self, arguments: &Value) -> bool {
        match self {
            Statement::Equal(selector, value) => selector.find(arguments) == Some(value),
            Statement::NotEqual(selector, value) => selector.find(arguments).is_some_and(|found| found != value),
            Statement::Compare(selector, order, number) => {
                let found = selector.find(arguments).and_then(Value::as_integer).map(i128::from);
                found.is_some_and(|found| match order {
                    Order::Less => found < *number,
                    Order::LessOrEqual => found <= *number,
                    Order::Greater => found > *number,
                    Order::GreaterOrEqual => found >= *number,
                })
            }
            Statement::Like(selector, pattern) => {
                selector.find(arguments).and_then(Value::as_text).is_some_and(|text| like(pattern, text))
            }
            Statement::Not(inner) => !inner.holds(arguments),
            Statement::And(list) => list.iter().all(|inner| inner.holds(arguments)),
            Statement::Or(list) => list.is_empty() || list.iter().any(|inner| inner.holds(arguments)),
        }
    }
}

/// Whether a text is like a pattern. The pieces between stars are found in turn, the earliest first, so the time is the
/// product of the two lengths at most.
fn like(pattern: &str, text: &str) -> bool {
    let pieces = pieces(pattern);
    let Some(((first, last), middle)) = pieces.split_first().map(|(first, rest)| match rest.split_last() {
        Some((last, middle)) => ((first, Some(last)), middle),
        None => ((first, None), rest),
    }) else {
        return text.is_empty();
    };
    let Some(last) = last else { return text == first };
    let Some(rest) = text.strip_prefix(first.as_str()) else { return false };
    let Some(rest) = rest.strip_suffix(last.as_str()) else { return false };
    let found = middle.iter().try_fold(rest, |rest, piece| rest.split_once(piece.as_str()).map(|(_, behind)| behind));
    found.is_some()
}

/// What stands between the stars of a pattern.
fn pieces(pattern: &str) -> Vec<String> {
    let mut pieces = alloc::vec![String::new()];
    let mut rest = pattern.chars().peekable();
    while let Some(one) = rest.next() {
        match (one, rest.peek()) {
            ('\\', Some('*')) => {
                rest.next();
                if let Some(piece) = pieces.last_mut() {
                    piece.push('*');
                }
            }
            ('*', _) => pieces.push(String::new()),
            (other, _) => {
                if let Some(piece) = pieces.last_mut() {
                    piece.push(other);
                }
            }
        }
    }
    pieces
}
