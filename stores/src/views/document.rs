//! A document on its way into the index: JSON bytes in, typed fields out.
//!
//! What goes in is checked here, before the writer has touched anything. What comes out of the
//! index again is read in `view`.

use std::fmt;

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use tantivy::DateTime;
use tantivy::schema::{OwnedValue, TantivyDocument};
use tantivy::tokenizer::MAX_TOKEN_LEN;

use super::fields::Fields;
use super::schema::FieldKind;
use super::timestamp;

/// A document of a view, as it is served.
#[derive(Clone, Debug, Serialize)]
pub struct Document {
    /// The document's key.
    pub key: String,
    /// The event time of the record that it came from, in milliseconds since the epoch.
    pub time_ms: i64,
    /// The JSON object that was put in, its timestamp fields written as RFC 3339 text.
    pub source: Box<RawValue>,
}

/// Why a record cannot be a document of the view. Nothing of it has been added.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum DocumentError {
    /// The bytes are not a JSON object.
    #[error("the document is not a JSON object: {0}")]
    NotAnObject(String),
    /// A field's value does not fit the field.
    #[error("field `{field}`: {reason}")]
    Field {
        /// The field.
        field: String,
        /// What is wrong with its value.
        reason: String,
    },
    /// The key cannot be indexed.
    #[error("the key has {bytes} bytes, at most {MAX_TOKEN_LEN} can be indexed")]
    Key {
        /// The key's length.
        bytes: usize,
    },
    /// The record's time cannot be indexed.
    #[error("the event time {0} ms is not between the years 1677 and 2262")]
    Time(i64),
}

/// Checks a key, a time and a document, and turns them into what tantivy takes.
pub(super) fn convert(
    fields: &Fields,
    key: &str,
    time_ms: i64,
    json: &[u8],
) -> Result<TantivyDocument, DocumentError> {
    if key.len() > MAX_TOKEN_LEN {
        return Err(DocumentError::Key { bytes: key.len() });
    }
    if !timestamp::RANGE_MS.contains(&time_ms) {
        return Err(DocumentError::Time(time_ms));
    }
    let not_an_object = |reason: &dyn fmt::Display| DocumentError::NotAnObject(reason.to_string());
    let text = std::str::from_utf8(json).map_err(|error| not_an_object(&error))?.trim();
    let Members(members) = serde_json::from_str(text).map_err(|error| not_an_object(&error))?;

    let mut source = Source::new(text);
    let mut values = Vec::with_capacity(members.len());
    for (name, raw) in &members {
        let Some((field, kind)) = fields.get(name).filter(|_| !name.starts_with('_')) else {
            continue;
        };
        let failed = |reason| DocumentError::Field { field: name.clone(), reason };
        if values.iter().any(|(seen, _)| *seen == field) {
            return Err(failed("given twice".to_owned()));
        }
        let value = serde_json::from_str(raw.get()).map_err(|error| failed(error.to_string()))?;
        let typed = typed_values(kind, value).map_err(failed)?;
        if kind == FieldKind::Timestamp {
            source.replace(raw, &typed);
        }
        values.push((field, typed));
    }

    let mut document = fields.document(key, time_ms, &source.finish());
    for (field, typed) in values {
        for value in &typed.values {
            document.add_field_value(field, value);
        }
    }
    Ok(document)
}

/// The members of a JSON object, in order, their values unread.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}

/// The values of one field of one document.
struct Typed {
    values: Vec<OwnedValue>,
    /// Whether the document gave an array, which an answer gives back.
    is_array: bool,
}

fn typed_values(kind: FieldKind, value: Value) -> Result<Typed, String> {
    let is_array = value.is_array();
    let given = match value {
        Value::Array(values) => values,
        value => vec![value],
    };
    let mut values = Vec::with_capacity(given.len());
    for value in given {
        if !value.is_null() {
            values.push(typed_value(kind, value)?);
        }
    }
    Ok(Typed { values, is_array })
}

fn typed_value(kind: FieldKind, value: Value) -> Result<OwnedValue, String> {
    match (kind, value) {
        (FieldKind::Text, Value::String(text)) => Ok(OwnedValue::Str(text)),
        (FieldKind::Keyword, Value::String(text)) if text.len() > MAX_TOKEN_LEN => {
            Err(format!("{} bytes, a keyword has at most {MAX_TOKEN_LEN}", text.len()))
        }
        (FieldKind::Keyword, Value::String(text)) => Ok(OwnedValue::Str(text)),
        (FieldKind::I64, Value::Number(number)) => number
            .as_i64()
            .map(OwnedValue::I64)
            .ok_or_else(|| format!("{number} is not a signed 64-bit integer")),
        (FieldKind::U64, Value::Number(number)) => number
            .as_u64()
            .map(OwnedValue::U64)
            .ok_or_else(|| format!("{number} is not an unsigned 64-bit integer")),
        (FieldKind::F64, Value::Number(number)) => number
            .as_f64()
            .map(OwnedValue::F64)
            .ok_or_else(|| format!("{number} is not a 64-bit floating point number")),
        (FieldKind::Bool, Value::Bool(value)) => Ok(OwnedValue::Bool(value)),
        (FieldKind::Timestamp, Value::Number(number)) => {
            moment(number.as_i64(), &number.to_string())
        }
        (FieldKind::Timestamp, Value::String(text)) => {
            moment(timestamp::parse_rfc3339(&text), &text)
        }
        (FieldKind::Json, value @ Value::Object(_)) => Ok(OwnedValue::from(value)),
        (kind, value) => Err(format!("expected {}, got {}", wanted(kind), found(&value))),
    }
}

fn moment(ms: Option<i64>, given: &str) -> Result<OwnedValue, String> {
    ms.filter(|ms| timestamp::RANGE_MS.contains(ms))
        .map(|ms| OwnedValue::Date(DateTime::from_timestamp_millis(ms)))
        .ok_or_else(|| {
            let given: String = given.chars().take(64).collect();
            format!(
                "`{given}` is neither RFC 3339 nor integer milliseconds, between the years 1677 \
                 and 2262"
            )
        })
}

fn wanted(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::Text | FieldKind::Keyword => "a string",
        FieldKind::I64 => "a signed integer",
        FieldKind::U64 => "an unsigned integer",
        FieldKind::F64 => "a number",
        FieldKind::Bool => "true or false",
        FieldKind::Timestamp => "RFC 3339 text or integer milliseconds",
        FieldKind::Json => "an object",
    }
}

fn found(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The text that is kept: the document as it came, its timestamps rewritten in one form.
struct Source<'a> {
    given: &'a str,
    /// How much of `given` is in `rewritten`.
    copied: usize,
    rewritten: String,
}

impl<'a> Source<'a> {
    fn new(given: &'a str) -> Self {
        Self { given, copied: 0, rewritten: String::new() }
    }

    /// Replaces the next member's value, which is a part of the given text, by timestamps.
    fn replace(&mut self, raw: &RawValue, typed: &Typed) {
        let start = raw.get().as_ptr().addr() - self.given.as_ptr().addr();
        assert!(
            self.copied <= start && start + raw.get().len() <= self.given.len(),
            "members are read in order from the given text"
        );
        self.rewritten.push_str(&self.given[self.copied..start]);
        self.copied = start + raw.get().len();
        let texts: Vec<String> = typed.values.iter().map(timestamp_json).collect();
        match (typed.is_array, texts.as_slice()) {
            (false, [text]) => self.rewritten.push_str(text),
            (false, _) => self.rewritten.push_str("null"),
            (true, texts) => {
                self.rewritten.push('[');
                self.rewritten.push_str(&texts.join(","));
                self.rewritten.push(']');
            }
        }
    }

    fn finish(mut self) -> String {
        self.rewritten.push_str(&self.given[self.copied..]);
        self.rewritten
    }
}

fn timestamp_json(value: &OwnedValue) -> String {
    let OwnedValue::Date(moment) = value else {
        unreachable!("a timestamp field holds dates alone")
    };
    format!("\"{}\"", timestamp::rfc3339(moment.into_timestamp_millis()))
}
