//! Key and time out of a JSON object, in one pass that also checks the object.
//!
//! Only the wanted fields are looked at; no tree is built. The rest is checked against the grammar
//! and nothing else: whether the record means anything is for the topology to say.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::timestamp::{self, TimestampError};

/// The way to a field: names with dots between them. A name that contains a dot has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPath {
    names: Vec<String>,
}

impl FromStr for FieldPath {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        let names: Vec<String> = text.split('.').map(str::to_owned).collect();
        if names.iter().any(String::is_empty) || text.len() > FieldPath::BYTES_MAX {
            return Err(FieldError::Path(text.chars().take(80).collect()));
        }
        Ok(Self { names })
    }
}

impl FieldPath {
    /// The longest path, in bytes.
    pub const BYTES_MAX: usize = 256;
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names.join("."))
    }
}

/// Why key or time cannot be had from a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// The text is not a path.
    #[error("`{0}` is not a field: names with single dots between them, at most 256 bytes")]
    Path(String),
    /// The line is not UTF-8.
    #[error("not UTF-8 at byte {0}")]
    Utf8(usize),
    /// The line is not one JSON object.
    #[error("not one JSON object: {0}")]
    Json(String),
    /// The field is not there, or null.
    #[error("field `{0}` is missing")]
    Missing(String),
    /// The field holds something else.
    #[error("field `{0}` is not a string or a whole number")]
    Kind(String),
    /// The field holds no time.
    #[error("field `{field}`: {error}")]
    Timestamp {
        /// The field's path.
        field: String,
        /// What is wrong with its value.
        error: TimestampError,
    },
}

/// What was wanted of a line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields<'a> {
    pub(crate) key: Option<Cow<'a, [u8]>>,
    pub(crate) timestamp_ms: Option<i64>,
}

/// Checks that `line` is one JSON object, and reads the wanted fields of it.
///
/// Where a field stands twice, the last one counts, as with most readers.
pub(crate) fn extract<'a>(
    line: &'a [u8],
    key: Option<&FieldPath>,
    timestamp: Option<&FieldPath>,
) -> Result<Fields<'a>, FieldError> {
    let text = std::str::from_utf8(line).map_err(|error| FieldError::Utf8(error.valid_up_to()))?;
    let mut found = Found::default();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let object = Object {
        key: key.map(|path| path.names.as_slice()),
        timestamp: timestamp.map(|path| path.names.as_slice()),
        found: &mut found,
    };
    deserializer
        .deserialize_map(object)
        .and_then(|()| deserializer.end())
        .map_err(|error| FieldError::Json(error.to_string()))?;
    Ok(Fields {
        key: key.map(|path| found.key.into_key(path)).transpose()?,
        timestamp_ms: timestamp.map(|path| found.timestamp.into_timestamp(path)).transpose()?,
    })
}

/// What stands in a wanted field.
#[derive(Debug, Default)]
enum Scalar<'a> {
    #[default]
    Missing,
    Text(Cow<'a, str>),
    Integer(i64),
    /// Above `i64::MAX`: good for a key.
    Large(u64),
    Other,
}

impl<'a> Scalar<'a> {
    fn into_key(self, path: &FieldPath) -> Result<Cow<'a, [u8]>, FieldError> {
        match self {
            Self::Text(Cow::Borrowed(text)) => Ok(Cow::Borrowed(text.as_bytes())),
            Self::Text(Cow::Owned(text)) => Ok(Cow::Owned(text.into_bytes())),
            Self::Integer(number) => Ok(Cow::Owned(number.to_string().into_bytes())),
            Self::Large(number) => Ok(Cow::Owned(number.to_string().into_bytes())),
            Self::Missing => Err(FieldError::Missing(path.to_string())),
            Self::Other => Err(FieldError::Kind(path.to_string())),
        }
    }

    fn into_timestamp(self, path: &FieldPath) -> Result<i64, FieldError> {
        let read = match self {
            Self::Text(text) => timestamp::parse_rfc3339(&text),
            Self::Integer(ms) => timestamp::check(ms),
            Self::Large(_) => Err(TimestampError::Range(i64::MAX)),
            Self::Missing => return Err(FieldError::Missing(path.to_string())),
            Self::Other => return Err(FieldError::Kind(path.to_string())),
        };
        read.map_err(|error| FieldError::Timestamp { field: path.to_string(), error })
    }
}

#[derive(Debug, Default)]
struct Found<'a> {
    key: Scalar<'a>,
    timestamp: Scalar<'a>,
}

/// An object somewhere on the way to a wanted field, with the names that are still to come.
struct Object<'p, 'f, 'a> {
    key: Option<&'p [String]>,
    timestamp: Option<&'p [String]>,
    found: &'f mut Found<'a>,
}

impl<'de> Visitor<'de> for Object<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(Name)? {
            let key = step(self.key, &name);
            let timestamp = step(self.timestamp, &name);
            if key.is_none() && timestamp.is_none() {
                map.next_value::<IgnoredAny>()?;
            } else {
                map.next_value_seed(Field { key, timestamp, found: &mut *self.found })?;
            }
        }
        Ok(())
    }
}

/// The names after `name`, if the path goes by it.
fn step<'p>(path: Option<&'p [String]>, name: &str) -> Option<&'p [String]> {
    let (first, rest) = path?.split_first()?;
    (first == name).then_some(rest)
}

/// A value that is a wanted field (no names are left), or lies on the way to one.
struct Field<'p, 'f, 'a> {
    key: Option<&'p [String]>,
    timestamp: Option<&'p [String]>,
    found: &'f mut Found<'a>,
}

impl<'a> Field<'_, '_, 'a> {
    /// Takes the value for each field that ends here. A way that goes on ends without a field.
    fn set(self, make: impl Fn() -> Scalar<'a>) {
        let leaf = |path: &[String]| if path.is_empty() { make() } else { Scalar::Missing };
        if let Some(path) = self.key {
            self.found.key = leaf(path);
        }
        if let Some(path) = self.timestamp {
            self.found.timestamp = leaf(path);
        }
    }
}

impl<'de> DeserializeSeed<'de> for Field<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Field<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<(), E> {
        self.set(|| Scalar::Text(Cow::Borrowed(text)));
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.set(|| Scalar::Text(Cow::Owned(text.to_owned())));
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.set(|| Scalar::Integer(number));
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.set(|| i64::try_from(number).map_or(Scalar::Large(number), Scalar::Integer));
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.set(|| Scalar::Other);
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.set(|| Scalar::Other);
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.set(|| Scalar::Missing);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.set(|| Scalar::Other);
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let Self { key, timestamp, found } = self;
        Field { key, timestamp, found: &mut *found }.set(|| Scalar::Other);
        Object { key, timestamp, found }.visit_map(map)
    }
}

/// A field's name, without a copy where it has no escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> Option<FieldPath> {
        Some(text.parse().unwrap())
    }

    fn key_of(line: &str, field: &str) -> Result<String, FieldError> {
        let fields = extract(line.as_bytes(), path(field).as_ref(), None)?;
        Ok(String::from_utf8(fields.key.unwrap().into_owned()).unwrap())
    }

    #[test]
    fn keys_are_texts_and_whole_numbers() {
        for (line, field, key) in [
            (r#"{"a":"x"}"#, "a", "x"),
            (r#" { "b":[{"a":1}], "a" : "\u00e9\n" } "#, "a", "é\n"),
            (r#"{"a":-7}"#, "a", "-7"),
            (r#"{"a":18446744073709551615}"#, "a", "18446744073709551615"),
            (r#"{"a":{"b":{"c":"deep"}},"c":1}"#, "a.b.c", "deep"),
            (r#"{"a":1,"a":2}"#, "a", "2"),
            (r#"{"\u0061":"escaped name"}"#, "a", "escaped name"),
        ] {
            assert_eq!(key_of(line, field).as_deref(), Ok(key), "{line}");
        }
    }

    #[test]
    fn a_field_that_cannot_be_a_key_is_named() {
        for line in [r#"{"a":1.5}"#, r#"{"a":true}"#, r#"{"a":[1]}"#, r#"{"a":{}}"#] {
            assert_eq!(key_of(line, "a"), Err(FieldError::Kind("a".into())), "{line}");
        }
        for line in [r#"{"b":1}"#, r#"{"a":null}"#, "{}"] {
            assert_eq!(key_of(line, "a"), Err(FieldError::Missing("a".into())), "{line}");
        }
        for line in [r#"{"a":1}"#, r#"{"a":{"c":1}}"#, r#"{"a":[{"b":1}]}"#] {
            let error = key_of(line, "a.b").unwrap_err();
            assert_eq!(error, FieldError::Missing("a.b".into()), "{line}");
        }
    }

    #[test]
    fn key_and_time_may_lie_in_one_object_or_be_one_field() {
        let line = br#"{"meta":{"id":"k","at":"2026-11-21T13:34:37Z"},"ts":5}"#;
        let fields = extract(line, path("meta.id").as_ref(), path("meta.at").as_ref()).unwrap();
        assert_eq!(fields.key.as_deref(), Some(&b"k"[..]));
        assert_eq!(fields.timestamp_ms, Some(1_795_268_077_000));
        let fields = extract(line, path("ts").as_ref(), path("ts").as_ref()).unwrap();
        assert_eq!((fields.key.as_deref(), fields.timestamp_ms), (Some(&b"5"[..]), Some(5)));
    }

    #[test]
    fn a_line_is_exactly_one_object() {
        for line in
            ["", "1", "null", "[]", "\"x\"", "{", "{} {}", "{}x", r#"{"a":}"#, r#"{"a":1,}"#]
        {
            let error = extract(line.as_bytes(), None, None).unwrap_err();
            assert!(matches!(error, FieldError::Json(_)), "{line}: {error}");
        }
        assert_eq!(extract(b"{\"a\":\"\xff\"}", None, None), Err(FieldError::Utf8(6)));
    }

    #[test]
    fn paths_have_names_between_the_dots() {
        for text in ["", ".", "a.", ".a", "a..b", &"a".repeat(257)] {
            assert!(matches!(text.parse::<FieldPath>(), Err(FieldError::Path(_))), "{text}");
        }
        assert_eq!("a.b".parse::<FieldPath>().unwrap().to_string(), "a.b");
    }

    proptest! {
        /// The model: parse the whole line into a tree.
        #[test]
        fn a_line_is_taken_exactly_if_it_is_an_object(line in r#"[ {}\[\]:,"a-c0-9.\\nul]{0,24}"#) {
            let tree: Result<serde_json::Value, _> = serde_json::from_str(&line);
            let is_object = tree.as_ref().is_ok_and(serde_json::Value::is_object);
            prop_assert_eq!(extract(line.as_bytes(), None, None).is_ok(), is_object);
        }

        #[test]
        fn any_bytes_are_refused_or_taken(line: Vec<u8>) {
            let _ = extract(&line, path("a").as_ref(), path("b.c").as_ref());
        }
    }
}
