//! CloudEvents 1.0.2 over HTTP: what stands around the data, in both modes.
//!
//! ```text
//! binary:      ce-id: 7   ce-source: /till   ...   the body is the data
//! structured:  {"specversion":"1.0","id":"7","source":"/till",...,"data":{...}}
//! ```
//! Pure. The data becomes the record's value as it stands, the attributes its headers, as Kafka's
//! binding of CloudEvents names them (`ce_id`, ..., `content-type`). The binary form of a batch is
//! not read.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pipeline::log::record::put_header;
use serde_json::Value;
use serde_json::value::RawValue;

use super::Options;
use crate::parser::Format;
use crate::timestamp;

/// What attributes' headers begin with in HTTP.
const PREFIX: &str = "ce-";
/// Attributes are copied into each record: all names and values of an event, in bytes.
const ATTRIBUTES_BYTES_MAX: usize = 16 << 10;
/// The attributes that every event has.
const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];

/// Why a request is no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum EventError {
    /// An attribute that every event has is not there.
    #[error("attribute `{0}` is missing or empty")]
    Missing(&'static str),
    /// Another version than 1.0.
    #[error("specversion `{0}` is not read, only 1.0")]
    Version(String),
    /// An attribute cannot be read.
    #[error("attribute `{name}`: {reason}")]
    Attribute {
        /// Its name, as far as it is one.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// There is more around the data than is kept.
    #[error("the attributes have more than {ATTRIBUTES_BYTES_MAX} bytes")]
    TooLarge,
    /// A structured event is not one.
    #[error("not one event in JSON: {0}")]
    Json(String),
    /// The data stands there twice, or cannot be read.
    #[error("{0}")]
    Data(&'static str),
    /// The request names fields of data that has none.
    #[error(
        "the data is not JSON, so that it has no fields: take key_field and timestamp_field away"
    )]
    NoFields,
}

/// What stands around the data of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    /// By name, without prefix; the type of the data stands beside it.
    all: BTreeMap<String, String>,
    content_type: Option<String>,
    time_ms: Option<i64>,
}

/// Whether the headers are those of an event in binary mode, whole or not.
pub(super) fn is_binary(headers: &HeaderMap) -> bool {
    REQUIRED.iter().any(|name| headers.contains_key(format!("{PREFIX}{name}")))
}

/// Whether the content type says that the body is a structured event in JSON.
pub(super) fn is_structured(media_type: &[u8]) -> bool {
    media_type == b"application/cloudevents+json"
}

/// Reads the attributes of an event in binary mode.
pub(super) fn from_headers(headers: &HeaderMap) -> Result<Attributes, EventError> {
    let mut attributes = Attributes::default();
    for name in headers.keys() {
        let Some(attribute) = name.as_str().strip_prefix(PREFIX) else { continue };
        let mut values = headers.get_all(name).iter();
        let value = values.next().map(from_header).unwrap_or_default();
        if values.next().is_some() {
            return Err(wrong(attribute, "it stands there twice"));
        }
        attributes.insert(attribute, value)?;
    }
    let content_type = headers.get(header::CONTENT_TYPE);
    attributes.content_type = content_type.map(|value| lossy(value.as_bytes()));
    attributes.checked()
}

/// Reads a structured event: what stands around the data, and the data.
pub(super) fn from_json(body: &[u8]) -> Result<(Attributes, Cow<'_, [u8]>), EventError> {
    let text = std::str::from_utf8(body);
    let text = text.map_err(|error| EventError::Json(format!("no UTF-8: {error}")))?;
    let mut members: BTreeMap<String, &RawValue> =
        serde_json::from_str(text).map_err(|error| EventError::Json(error.to_string()))?;
    let plain = members.remove("data").filter(|data| data.get() != "null");
    let encoded = members.remove("data_base64").filter(|data| data.get() != "null");
    let mut attributes = Attributes::default();
    for (name, value) in members {
        let Some(value) = scalar(&name, value)? else { continue };
        if name == "datacontenttype" {
            attributes.content_type = Some(value);
        } else {
            attributes.insert(&name, value)?;
        }
    }
    let attributes = attributes.checked()?;
    let data = match (plain, encoded) {
        (Some(_), Some(_)) => {
            return Err(EventError::Data("`data` and `data_base64` are both there"));
        }
        (Some(data), None) => attributes.plain(data)?,
        (None, Some(data)) => Cow::Owned(decoded(data)?),
        (None, None) => Cow::Borrowed(&b""[..]),
    };
    Ok((attributes, data))
}

impl Attributes {
    fn insert(&mut self, name: &str, value: String) -> Result<(), EventError> {
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if name.is_empty() || !name.bytes().all(legal) {
            let shown: String = name.chars().take(40).collect();
            return Err(wrong(&shown, "a name is made of a to z and 0 to 9"));
        }
        self.all.insert(name.to_owned(), value);
        Ok(())
    }

    fn checked(mut self) -> Result<Self, EventError> {
        for name in REQUIRED {
            if self.all.get(name).is_none_or(String::is_empty) {
                return Err(EventError::Missing(name));
            }
        }
        let version = &self.all["specversion"];
        if version != "1.0" {
            return Err(EventError::Version(version.chars().take(20).collect()));
        }
        let bytes: usize = self.all.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes + self.content_type.as_ref().map_or(0, String::len) > ATTRIBUTES_BYTES_MAX {
            return Err(EventError::TooLarge);
        }
        let time = self.all.get("time").map(|time| timestamp::parse_rfc3339(time));
        self.time_ms = time.transpose().map_err(|error| wrong("time", &error.to_string()))?;
        Ok(self)
    }

    /// Whether the data is JSON; it is where nothing is said.
    fn is_json(&self) -> bool {
        let Some(content_type) = &self.content_type else { return true };
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        let media_type = media_type.to_ascii_lowercase();
        media_type.ends_with("/json") || media_type.ends_with("+json")
    }

    /// Data that stands in a structured event: JSON as it is, of other types the text.
    fn plain<'a>(&self, data: &'a RawValue) -> Result<Cow<'a, [u8]>, EventError> {
        if self.is_json() {
            return Ok(Cow::Borrowed(data.get().as_bytes()));
        }
        match serde_json::from_str(data.get()) {
            Ok(Value::String(text)) => Ok(Cow::Owned(text.into_bytes())),
            _ => Err(EventError::Data("`data` is no text, and `datacontenttype` is not JSON's")),
        }
    }

    /// Puts into `options` what the event says and the request does not.
    ///
    /// Whoever repeats an event sends the same source and id.
    pub(super) fn complete(self, mut options: Options) -> Result<Options, EventError> {
        if !self.is_json() {
            if options.key_field.is_some() || options.timestamp_field.is_some() {
                return Err(EventError::NoFields);
            }
            options.format = Format::Lines;
        }
        let id = || format!("{} {}", self.all["source"], self.all["id"]);
        options.event_id = Some(options.event_id.take().unwrap_or_else(id));
        options.else_timestamp_ms = self.time_ms;
        options.else_key = self.all.get("partitionkey").map(|key| key.as_bytes().to_vec());
        for (name, value) in &self.all {
            put_header(&mut options.headers, &format!("ce_{name}"), value.as_bytes());
        }
        if let Some(content_type) = &self.content_type {
            put_header(&mut options.headers, "content-type", content_type.as_bytes());
        }
        Ok(options)
    }
}

fn wrong(name: &str, reason: &str) -> EventError {
    EventError::Attribute { name: name.to_owned(), reason: reason.to_owned() }
}

/// An attribute in JSON as text; `None` for null, which is not there.
fn scalar(name: &str, value: &RawValue) -> Result<Option<String>, EventError> {
    match serde_json::from_str(value.get()) {
        Ok(Value::Null) => Ok(None),
        Ok(Value::String(text)) => Ok(Some(text)),
        Ok(Value::Bool(value)) => Ok(Some(value.to_string())),
        Ok(Value::Number(number)) if number.is_i64() => Ok(Some(number.to_string())),
        _ => {
            let shown: String = name.chars().take(40).collect();
            Err(wrong(&shown, "it is no text, whole number or truth value"))
        }
    }
}

fn decoded(data: &RawValue) -> Result<Vec<u8>, EventError> {
    let text: Option<String> = serde_json::from_str(data.get()).ok();
    let bytes = text.and_then(|text| STANDARD.decode(text).ok());
    bytes.ok_or(EventError::Data("`data_base64` is not Base64"))
}

/// A header's value as the binding writes it: perhaps quoted, then percent-encoded UTF-8.
fn from_header(value: &HeaderValue) -> String {
    let bytes = value.as_bytes();
    let quoted = bytes.strip_prefix(b"\"").and_then(|bytes| bytes.strip_suffix(b"\""));
    let unquoted = quoted.map(unescaped);
    let bytes = unquoted.as_deref().unwrap_or(bytes);
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, after @ ..] = rest {
        let digits = after.first_chunk::<2>().filter(|_| *first == b'%');
        match digits.and_then(|[high, low]| Some((digit(*high)?, digit(*low)?))) {
            Some((high, low)) => {
                plain.push(high << 4 | low);
                rest = &after[2..];
            }
            None => {
                plain.push(*first);
                rest = after;
            }
        }
    }
    lossy(&plain)
}

/// What stands between quotes, without the backslashes in front of other bytes.
fn unescaped(quoted: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(quoted.len());
    let mut bytes = quoted.iter();
    while let Some(byte) = bytes.next() {
        plain.push(if *byte == b'\\' { *bytes.next().unwrap_or(byte) } else { *byte });
    }
    plain
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests;
