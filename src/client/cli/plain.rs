//! Showing what others wrote, so that nothing in it is hidden.
//!
//! What a person authorises must be what the person read. A terminal obeys control characters, turns text round, and shows
//! some characters as nothing at all; so those are shown by their number, `\u{202e}`, and a backslash is shown as two.

use client::moment::Utc;
use client::{Document, Value};

/// Characters that Unicode counts as printable, and that show as nothing or as a blank.
const BLANK: &[std::ops::RangeInclusive<char>] = &[
    '\u{34f}'..='\u{34f}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{2800}'..='\u{2800}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{e0100}'..='\u{e01ef}',
];

/// The text, with everything in it to be seen.
///
/// Of the marks that combine with the letter before, one letter may have two: more would cover what stands around it.
pub fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    // How many more marks may combine with what was shown last.
    let mut marks = 0;
    for c in text.chars() {
        match kind(c) {
            Kind::Seen => {
                shown.push(c);
                marks = if c.is_alphabetic() { 2 } else { 0 };
            }
            Kind::Mark if marks > 0 => {
                shown.push(c);
                marks -= 1;
            }
            Kind::Mark | Kind::Unseen => {
                shown.extend(c.escape_unicode());
                marks = 0;
            }
            Kind::Short => {
                shown.extend(c.escape_default());
                marks = 0;
            }
        }
    }
    shown
}

/// The text in quotes, so that one sees where it begins and ends.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", plain(text).replace('"', "\\\""))
}

/// How a character shows.
enum Kind {
    Seen,
    Mark,
    Unseen,
    /// By a short escape: `\n`, `\\`.
    Short,
}

fn kind(c: char) -> Kind {
    if matches!(c, '\\' | '\n' | '\r' | '\t') {
        return Kind::Short;
    }
    if matches!(c, '"' | '\'') {
        return Kind::Seen;
    }
    if BLANK.iter().any(|blank| blank.contains(&c)) {
        return Kind::Unseen;
    }
    // The standard library knows what Unicode calls printable: no control, no format, no separator but the space, nothing
    // unassigned or private. Alone it escapes combining marks as well; behind a letter it does not.
    if c.escape_debug().len() == 1 {
        return Kind::Seen;
    }
    let behind = ['a', c].iter().collect::<String>().escape_debug().count();
    if behind == 2 { Kind::Mark } else { Kind::Unseen }
}

/// Every field of an instruction, one to a line: everything that is signed, and nothing else.
pub fn fields(document: &Document, hidden: impl Fn(&str) -> bool) -> String {
    let names: Vec<String> = document.fields.iter().map(|field| plain(&field.name)).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).min(24);
    let mut text = format!("  {}\n", plain(&document.class));
    for (field, name) in document.fields.iter().zip(&names) {
        let remark = if hidden(&field.name) { "   (the provider is not shown it)" } else { "" };
        text.push_str(&format!("    {name:<width$}  {}{remark}\n", value(&field.value)));
    }
    if document.fields.is_empty() {
        text.push_str("    no fields\n");
    }
    text
}

/// A value, so that a text, a number and bytes can't be taken for each other.
pub fn value(value: &Value) -> String {
    match value {
        Value::Text(text) => quoted(text),
        Value::Uint(number) => number.to_string(),
        Value::Nint(number) => (-1 - i128::from(*number)).to_string(),
        Value::Bytes(bytes) => format!("{} bytes {}", bytes.len(), hex::encode(bytes)),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
    }
}

/// The same as JSON, in the form that `authorise --file` reads.
pub fn json(document: &Document) -> serde_json::Value {
    let fields = document
        .fields
        .iter()
        .map(|field| serde_json::json!({ "name": field.name, "value": client::trail::value(&field.value) }));
    serde_json::json!({ "class": document.class, "fields": fields.collect::<Vec<_>>() })
}

/// A moment as people write it, in UTC: `2026-11-21 12:00:05 UTC`.
pub fn moment(time_ms: u64) -> String {
    let utc = Utc::of(time_ms);
    format!("{} {} UTC", utc.day(), utc.time())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_hidden() {
        for (text, shown) in [
            ("Pay 10 EUR", "Pay 10 EUR"),
            ("a\u{1b}[2Kb", "a\\u{1b}[2Kb"),
            ("one\r\ntwo\tthree", "one\\r\\ntwo\\tthree"),
            ("\u{202e}RUE 01", "\\u{202e}RUE 01"),
            ("a\u{2066}b\u{2069}\u{200f}", "a\\u{2066}b\\u{2069}\\u{200f}"),
            ("1\u{200b}0\u{feff}0\u{ad}", "1\\u{200b}0\\u{feff}0\\u{ad}"),
            ("a\u{a0}b\u{2028}c\u{3000}", "a\\u{a0}b\\u{2028}c\\u{3000}"),
            ("\u{3164}\u{2800}\u{e0041}\u{fe0f}", "\\u{3164}\\u{2800}\\u{e0041}\\u{fe0f}"),
            ("\u{7f}\u{85}\u{0}", "\\u{7f}\\u{85}\\u{0}"),
            ("C:\\u{202e}", "C:\\\\u{202e}"),
            ("Zoë, Ελλάδα, 日本, 🦊", "Zoë, Ελλάδα, 日本, 🦊"),
            ("e\u{301}", "e\u{301}"),
            ("1\u{338}0", "1\\u{338}0"),
            ("e\u{301}\u{301}\u{301}", "e\u{301}\u{301}\\u{301}"),
            ("it's \"so\"", "it's \"so\""),
        ] {
            assert_eq!(plain(text), shown, "{text:?}");
        }
        assert_eq!(quoted("a\"\n\u{202e}"), "\"a\\\"\\n\\u{202e}\"");
    }

    #[test]
    fn every_character_that_is_shown_as_it_is_can_be_seen() {
        let unseen = |c: char| c.is_control() || (c.is_whitespace() && c != ' ');
        for c in ('\0'..=char::MAX).filter(|c| unseen(*c)) {
            assert!(plain(&c.to_string()).is_ascii(), "{:x}", u32::from(c));
        }
    }

    #[test]
    fn values_of_different_types_look_different() {
        let all = [
            Value::Text("1".into()),
            Value::Uint(1),
            Value::Nint(0),
            Value::Bytes(vec![1]),
            Value::Bool(true),
            Value::Text("yes".into()),
        ];
        let shown = all.map(|one| value(&one));
        assert_eq!(shown, ["\"1\"", "1", "-1", "1 bytes 01", "yes", "\"yes\""]);
    }
}
