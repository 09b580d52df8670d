//! Instructions: what the subscriber authorises.
//!
//! ```text
//! document       = [1, class: tstr, [* [salt: bstr .size 16, name: tstr, value]]]      value = tstr / uint / nint / bstr / bool
//! field hash     = H("solelog/field/v1", [salt, name, value])
//! instruction_id = H("solelog/instruction/v1", [1, class, [* field hash, sorted bytewise, distinct]])
//! ```
//!
//! The log never holds a document. Someone may be shown some fields and the hashes of the others ([`Shown`]), and still
//! computes the same id; the salts keep the hidden ones from being guessed. The order of fields is the order in which a
//! person reads them, and is no part of the id.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use tlog::Hash;

use crate::cbor::{self, CborError, Fault, Parts, ShapeError};
use crate::limits::{AMOUNT_MAX, INSTRUCTION_MAX};
use crate::tag::tagged;

/// The class of the first instruction of every credential.
pub const CLASS_ACTIVATE: &str = "credential.activate";
/// A credential speaks for a successor: `credential`, its id, which is always shown.
pub const CLASS_ADD: &str = "credential.add";
/// A payment: `amount` in minor units, and `currency`.
pub const CLASS_PAYMENT: &str = "payment";
/// The use of a key: `key`, `alg`, `message_digest`.
pub const CLASS_KEY_USE: &str = "key.use";

/// The log gets another policy: `policy`, its SHA-256, which is always shown.
pub const CLASS_POLICY: &str = "policy.change";
/// The subscriber gets another authenticator: `authenticator`, its id, which is always shown.
pub const CLASS_ADD_AUTHENTICATOR: &str = "authenticator.add";
/// An authenticator of the subscriber counts no more: `authenticator`, its id, which is always shown.
pub const CLASS_REVOKE_AUTHENTICATOR: &str = "authenticator.revoke";

/// The value of a field. Its `Debug` tells the type and the length only, here and in what holds it: what a person
/// authorises must not reach a log line by accident.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A number that is not negative.
    Uint(u64),
    /// The negative number `-1 - n`, as CBOR writes it.
    Nint(u64),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Yes or no.
    Bool(bool),
}

/// One fact of an instruction.
#[derive(Clone, PartialEq, Eq)]
pub struct Field {
    /// 16 random bytes, so that a hidden field can't be guessed from its hash.
    pub salt: [u8; 16],
    /// What the field says something about.
    pub name: String,
    /// What it says.
    pub value: Value,
}

/// A whole instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// What kind of instruction it is, such as `payment`. Unknown classes may have any fields.
    pub class: String,
    /// The fields, in the order in which a person reads them.
    pub fields: Vec<Field>,
}

/// An instruction of which some fields are shown and of the others only their hashes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    /// The hashes of the fields that are not shown, ascending.
    pub hidden: Vec<Hash>,
    /// The fields that are.
    pub fields: Vec<Field>,
}

/// An instruction as it is presented to somebody who may not see all of it: its class, and what is shown of its fields.
///
/// `presented = [1, class: tstr, [* hidden field hash], [* field]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented {
    /// What kind of instruction it is.
    pub class: String,
    /// Its fields, as far as they are shown.
    pub shown: Shown,
}

/// Why bytes are not an instruction, or its fields are not what its class asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InstructionError {
    /// Not deterministic CBOR of the subset.
    #[error("instruction: {0}")]
    Cbor(#[from] CborError),
    /// Not the array of the CDDL.
    #[error("instruction: {0}")]
    Shape(#[from] ShapeError),
    /// Hidden field hashes that are not in ascending order.
    #[error("instruction: hidden field hashes out of order")]
    HiddenOrder,
    /// The same field twice.
    #[error("instruction: the same field twice")]
    SameField,
    /// Two fields of one name, which two readers could read differently.
    #[error("instruction: two fields of one name")]
    SameName,
    /// A field that this class requires is missing.
    #[error("instruction: this class requires a field `{0}`")]
    Requires(&'static str),
    /// Another instruction than the one signed.
    #[error("instruction: not the one that was signed")]
    Other,
    /// A field of this class has the wrong type or is out of range.
    #[error("instruction: `{0}` is not what this class allows")]
    Typed(&'static str),
}

impl InstructionError {
    /// A short stable name of the refusal, the one that `schemas/vectors` use.
    pub fn code(&self) -> String {
        match self {
            InstructionError::Cbor(error) => error.code().into(),
            InstructionError::Shape(error) => error.code(),
            InstructionError::HiddenOrder => "hidden-order".into(),
            InstructionError::SameField => "same-field".into(),
            InstructionError::SameName => "same-name".into(),
            InstructionError::Other => "other".into(),
            InstructionError::Requires(name) => format!("requires/{name}"),
            InstructionError::Typed(name) => format!("typed/{name}"),
        }
    }
}

impl Field {
    /// `H("solelog/field/v1", [salt, name, value])`.
    pub fn hash(&self) -> Hash {
        tagged("solelog/field/v1", &cbor::encode(&self.to_value()))
    }

    fn to_value(&self) -> cbor::Value {
        cbor::Value::Array(vec![cbor::bytes(&self.salt), cbor::text(&self.name), self.value.to_value()])
    }

    fn from_value(value: cbor::Value) -> Result<Field, ShapeError> {
        let mut parts = Parts::new("field", value)?;
        let field = Field {
            salt: parts.fixed("salt")?,
            name: parts.text("name")?,
            value: Value::from_value(parts.value("value")?)?,
        };
        parts.end()?;
        Ok(field)
    }
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the salt: with it, a short value could be found again from the hash.
        f.debug_struct("Field").field("name", &self.name).field("value", &self.value).finish_non_exhaustive()
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Value::Uint(_) => f.write_str("Uint"),
            Value::Nint(_) => f.write_str("Nint"),
            Value::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Value::Bool(_) => f.write_str("Bool"),
        }
    }
}

impl Value {
    fn to_value(&self) -> cbor::Value {
        match self {
            Value::Text(text) => cbor::text(text),
            Value::Uint(number) => cbor::uint(*number),
            Value::Nint(number) => negative(*number),
            Value::Bytes(bytes) => cbor::bytes(bytes),
            Value::Bool(yes) => cbor::Value::Bool(*yes),
        }
    }

    fn from_value(value: cbor::Value) -> Result<Value, ShapeError> {
        const WRONG: ShapeError = ShapeError { part: "value", fault: Fault::Type };
        match value {
            cbor::Value::Text(text) => Ok(Value::Text(text)),
            cbor::Value::Bytes(bytes) => Ok(Value::Bytes(bytes)),
            cbor::Value::Bool(yes) => Ok(Value::Bool(yes)),
            cbor::Value::Integer(number) => {
                let number = i128::from(number);
                match u64::try_from(number) {
                    Ok(number) => Ok(Value::Uint(number)),
                    Err(_) => u64::try_from(-1 - number).map(Value::Nint).map_err(|_| WRONG),
                }
            }
            _ => Err(WRONG),
        }
    }
}

/// `-1 - n` as a CBOR integer.
fn negative(n: u64) -> cbor::Value {
    // Every -1 - n of a u64 n is a CBOR integer, so the second arm is never taken.
    match ciborium::value::Integer::try_from(-1 - i128::from(n)) {
        Ok(number) => cbor::Value::Integer(number),
        Err(_) => cbor::Value::Null,
    }
}

impl Document {
    /// Parses a document and checks the fields against its class.
    pub fn parse(bytes: &[u8]) -> Result<Document, InstructionError> {
        let mut parts = Parts::new("document", cbor::decode(bytes, INSTRUCTION_MAX)?)?;
        parts.constant("version", 1)?;
        let class = parts.text("class")?;
        let fields = read_fields(parts.array("fields")?)?;
        parts.end()?;
        let document = Document { class, fields };
        document.check()?;
        Ok(document)
    }

    /// The document that was authorised: parses it, and compares its id with the one that was signed.
    ///
    /// For whoever acts on an instruction. The fields shown in an opening are not enough for that: see [`Shown::id`].
    pub fn of(instruction_id: &Hash, bytes: &[u8]) -> Result<Document, InstructionError> {
        let document = Document::parse(bytes)?;
        if document.id() == *instruction_id { Ok(document) } else { Err(InstructionError::Other) }
    }

    /// The one spelling of this document.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(&cbor::Value::Array(vec![cbor::uint(1), cbor::text(&self.class), write_fields(&self.fields)]))
    }

    /// What is checked besides the shape: no two fields of one name, and what the class asks for.
    ///
    /// For documents that were built, not parsed: do this before anyone signs.
    pub fn check(&self) -> Result<(), InstructionError> {
        field_hashes(&[], &self.fields)?;
        check_class(&self.class, &self.fields, true)
    }

    /// The instruction's id: what is signed and named.
    pub fn id(&self) -> Hash {
        let mut hashes: Vec<Hash> = self.fields.iter().map(Field::hash).collect();
        hashes.sort_unstable();
        id(&self.class, &hashes)
    }

    /// The field of this name.
    pub fn field(&self, name: &str) -> Option<&Value> {
        find(&self.fields, name)
    }

    /// The form in which only the fields that `show` chooses can be read.
    pub fn show(&self, mut show: impl FnMut(&str) -> bool) -> Shown {
        let (shown, hidden): (Vec<&Field>, Vec<&Field>) = self.fields.iter().partition(|field| show(&field.name));
        let mut hidden: Vec<Hash> = hidden.into_iter().map(Field::hash).collect();
        hidden.sort_unstable();
        Shown { hidden, fields: shown.into_iter().cloned().collect() }
    }
}

impl Presented {
    /// A document of which the fields that `show` chooses can be read.
    pub fn of(document: &Document, show: impl FnMut(&str) -> bool) -> Presented {
        Presented { class: document.class.clone(), shown: document.show(show) }
    }

    /// Parses a presented instruction and checks the shown fields against the class.
    pub fn parse(bytes: &[u8]) -> Result<Presented, InstructionError> {
        let mut parts = Parts::new("presented", cbor::decode(bytes, INSTRUCTION_MAX)?)?;
        parts.constant("version", 1)?;
        let class = parts.text("class")?;
        let hidden = parts.value("hidden")?;
        let fields = parts.value("fields")?;
        parts.end()?;
        let shown = Shown::from_value(cbor::Value::Array(vec![hidden, fields]))?;
        shown.id(&class)?;
        Ok(Presented { class, shown })
    }

    /// The one spelling of it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut parts = vec![cbor::uint(1), cbor::text(&self.class)];
        if let cbor::Value::Array(shown) = self.shown.to_value() {
            parts.extend(shown);
        }
        cbor::encode(&cbor::Value::Array(parts))
    }

    /// The instruction's id, as [`Document::id`] gives it.
    pub fn id(&self) -> Result<Hash, InstructionError> {
        self.shown.id(&self.class)
    }
}

impl Shown {
    /// The id of the instruction of class `class` whose fields these are.
    ///
    /// Fails when the shown fields contradict the class, and, where nothing is hidden, when one is missing.
    ///
    /// What the log acts on must be shown: the `credential` of a `credential.add`, the `policy` of a `policy.change`, the
    /// `authenticator` of an `authenticator.add` or `.revoke`. Else what is hidden can't be checked: a required field may be, and so may a second field of a name that is shown,
    /// in an instruction that no [`Document::parse`] would take. Whoever acts on an instruction takes the whole document
    /// instead, with [`Document::of`].
    pub fn id(&self, class: &str) -> Result<Hash, InstructionError> {
        let hashes = field_hashes(&self.hidden, &self.fields)?;
        check_class(class, &self.fields, self.hidden.is_empty())?;
        Ok(id(class, &hashes))
    }

    /// The shown field of this name.
    pub fn field(&self, name: &str) -> Option<&Value> {
        find(&self.fields, name)
    }

    /// The fields and the class as a document, when nothing is hidden. Only [`Document::check`] says whether the class allows it.
    pub fn into_document(self, class: &str) -> Option<Document> {
        self.hidden.is_empty().then(|| Document { class: String::from(class), fields: self.fields })
    }

    pub(crate) fn from_value(value: cbor::Value) -> Result<Shown, InstructionError> {
        let mut parts = Parts::new("shown", value)?;
        let mut list = parts.array("hidden")?;
        let mut hidden = Vec::with_capacity(list.len());
        while !list.is_empty() {
            hidden.push(list.hash("hidden")?);
        }
        let fields = read_fields(parts.array("fields")?)?;
        parts.end()?;
        if !hidden.is_sorted() {
            return Err(InstructionError::HiddenOrder);
        }
        field_hashes(&hidden, &fields)?;
        Ok(Shown { hidden, fields })
    }

    pub(crate) fn to_value(&self) -> cbor::Value {
        let hidden = self.hidden.iter().map(|hash| cbor::bytes(&hash.0)).collect();
        cbor::Value::Array(vec![cbor::Value::Array(hidden), write_fields(&self.fields)])
    }
}

fn read_fields(mut list: Parts) -> Result<Vec<Field>, ShapeError> {
    let mut fields = Vec::with_capacity(list.len());
    while !list.is_empty() {
        fields.push(Field::from_value(list.value("field")?)?);
    }
    Ok(fields)
}

fn write_fields(fields: &[Field]) -> cbor::Value {
    cbor::Value::Array(fields.iter().map(Field::to_value).collect())
}

/// All field hashes, ascending; no hash and no name twice.
fn field_hashes(hidden: &[Hash], fields: &[Field]) -> Result<Vec<Hash>, InstructionError> {
    let mut hashes: Vec<Hash> = hidden.iter().copied().chain(fields.iter().map(Field::hash)).collect();
    hashes.sort_unstable();
    if has_twins(&hashes) {
        return Err(InstructionError::SameField);
    }
    let mut names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
    names.sort_unstable();
    if has_twins(&names) {
        return Err(InstructionError::SameName);
    }
    Ok(hashes)
}

fn has_twins<T: PartialEq>(sorted: &[T]) -> bool {
    sorted.iter().zip(sorted.iter().skip(1)).any(|(one, next)| one == next)
}

fn id(class: &str, hashes: &[Hash]) -> Hash {
    let hashes = hashes.iter().map(|hash| cbor::bytes(&hash.0)).collect();
    let whole = cbor::Value::Array(vec![cbor::uint(1), cbor::text(class), cbor::Value::Array(hashes)]);
    tagged("solelog/instruction/v1", &cbor::encode(&whole))
}

fn find<'a>(fields: &'a [Field], name: &str) -> Option<&'a Value> {
    fields.iter().find(|field| field.name == name).map(|field| &field.value)
}

/// What the classes we know ask of their fields. `complete`: nothing is hidden, so a missing field is really missing.
fn check_class(class: &str, fields: &[Field], complete: bool) -> Result<(), InstructionError> {
    let want = |name: &'static str, required: bool, allowed: &dyn Fn(&Value) -> bool| match find(fields, name) {
        Some(value) if allowed(value) => Ok(()),
        Some(_) => Err(InstructionError::Typed(name)),
        None if required && complete => Err(InstructionError::Requires(name)),
        None => Ok(()),
    };
    match class {
        CLASS_PAYMENT => {
            want("amount", true, &|value| matches!(value, Value::Uint(amount) if *amount <= AMOUNT_MAX))?;
            want("currency", true, &|value| matches!(value, Value::Text(text) if !text.is_empty()))
        }
        CLASS_KEY_USE => {
            want("key", true, &|value| match value {
                Value::Text(text) => !text.is_empty(),
                Value::Bytes(bytes) => !bytes.is_empty(),
                _ => false,
            })?;
            want("alg", true, &|value| matches!(value, Value::Text(text) if !text.is_empty()))?;
            want(
                "message_digest",
                true,
                &|value| matches!(value, Value::Bytes(bytes) if (32..=64).contains(&bytes.len())),
            )
        }
        // The log itself acts on these, so what they name must be there to read even where other fields are hidden.
        CLASS_ADD => shown_hash(fields, "credential"),
        CLASS_POLICY => shown_hash(fields, "policy"),
        CLASS_ADD_AUTHENTICATOR | CLASS_REVOKE_AUTHENTICATOR => shown_hash(fields, "authenticator"),
        CLASS_ACTIVATE => want("credential", false, &|value| matches!(value, Value::Bytes(bytes) if bytes.len() == 32)),
        _ => Ok(()),
    }
}

fn shown_hash(fields: &[Field], name: &'static str) -> Result<(), InstructionError> {
    match find(fields, name) {
        Some(Value::Bytes(id)) if id.len() == 32 => Ok(()),
        Some(_) => Err(InstructionError::Typed(name)),
        None => Err(InstructionError::Requires(name)),
    }
}
