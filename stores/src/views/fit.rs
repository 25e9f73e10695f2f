//! Whether a document fits its view, asked where it is made.
//!
//! Most documents fit: one pass over the bytes, without an allocation, says so. What that pass does
//! not vouch for is converted as the writer would convert it, which says what is wrong. Nothing
//! here touches an index.

use std::cell::Cell;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use tantivy::schema::Field as Handle;
use tantivy::tokenizer::MAX_TOKEN_LEN;

use super::document::{DocumentError, convert};
use super::fields::Fields;
use super::schema::{FieldKind, ViewSchema};
use super::timestamp;

/// Knows the fields of a view, and so which documents it takes.
#[derive(Debug)]
pub struct DocumentCheck {
    fields: Fields,
}

impl DocumentCheck {
    /// A check for the view of `schema`, which has been validated.
    pub fn new(schema: &ViewSchema) -> Self {
        Self { fields: Fields::new(schema) }
    }

    /// Whether the view's writer would take the document.
    ///
    /// # Errors
    /// What the writer would say.
    pub fn check(&self, key: &str, time_ms: i64, json: &[u8]) -> Result<(), DocumentError> {
        let plain = key.len() <= MAX_TOKEN_LEN && timestamp::RANGE_MS.contains(&time_ms);
        if plain && self.surely_fits(json) {
            return Ok(());
        }
        convert(&self.fields, key, time_ms, json).map(drop)
    }

    /// False says nothing; true says that [`convert`] takes it.
    fn surely_fits(&self, json: &[u8]) -> bool {
        let Ok(text) = std::str::from_utf8(json) else { return false };
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let document = Document { fields: &self.fields, seen: Cell::new(0) };
        document.deserialize(&mut deserializer).is_ok() && deserializer.end().is_ok()
    }
}

/// The whole document: an object.
struct Document<'a> {
    fields: &'a Fields,
    /// A bit for each field that was given.
    seen: Cell<u64>,
}

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(found) = map.next_key_seed(Name(self.fields))? {
            let Some((field, kind)) = found else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let bit = 1_u64.checked_shl(field.field_id()).unwrap_or(0);
            if bit == 0 || self.seen.get() & bit != 0 {
                return Err(A::Error::custom("given twice, or one of very many"));
            }
            self.seen.set(self.seen.get() | bit);
            map.next_value_seed(Values { kind, in_array: false })?;
        }
        Ok(())
    }
}

/// The name of a member: the field that it fills, if it fills one.
struct Name<'a>(&'a Fields);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<(Handle, FieldKind)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<(Handle, FieldKind)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.get(name).filter(|_| !name.starts_with('_')))
    }
}

/// The value of a field, or an array of them. What is not listed here is an error.
#[derive(Clone, Copy)]
struct Values {
    kind: FieldKind,
    in_array: bool,
}

impl Values {
    fn only<E: serde::de::Error>(fits: bool) -> Result<(), E> {
        if fits { Ok(()) } else { Err(E::custom("does not fit")) }
    }
}

impl<'de> DeserializeSeed<'de> for Values {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Values {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of the field's kind")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        Self::only(self.kind == FieldKind::Bool)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        Self::only(match self.kind {
            FieldKind::Text => true,
            FieldKind::Keyword => text.len() <= MAX_TOKEN_LEN,
            FieldKind::Timestamp => {
                timestamp::parse_rfc3339(text).is_some_and(|ms| timestamp::RANGE_MS.contains(&ms))
            }
            FieldKind::I64
            | FieldKind::U64
            | FieldKind::F64
            | FieldKind::Bool
            | FieldKind::Json => false,
        })
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        match i64::try_from(number) {
            Ok(number) => self.visit_i64(number),
            Err(_) => Self::only(matches!(self.kind, FieldKind::U64 | FieldKind::F64)),
        }
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<(), E> {
        Self::only(match self.kind {
            FieldKind::I64 | FieldKind::F64 => true,
            FieldKind::U64 => number >= 0,
            FieldKind::Timestamp => timestamp::RANGE_MS.contains(&number),
            FieldKind::Text | FieldKind::Keyword | FieldKind::Bool | FieldKind::Json => false,
        })
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        Self::only(self.kind == FieldKind::F64)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        if self.in_array {
            return Self::only(false);
        }
        let each = Self { in_array: true, ..self };
        while seq.next_element_seed(each)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if self.kind != FieldKind::Json {
            return Self::only(false);
        }
        while map.next_key::<IgnoredAny>()?.is_some() {
            map.next_value_seed(Anything)?;
        }
        Ok(())
    }
}

/// A value inside a JSON field: walked through, so that the parser's bounds on depth and numbers
/// are those of the conversion.
struct Anything;

impl<'de> DeserializeSeed<'de> for Anything {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Anything {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_key::<IgnoredAny>()?.is_some() {
            map.next_value_seed(Self)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::schema::Field;
    use super::*;

    fn check() -> DocumentCheck {
        let kinds = [
            ("text", FieldKind::Text),
            ("word", FieldKind::Keyword),
            ("signed", FieldKind::I64),
            ("unsigned", FieldKind::U64),
            ("share", FieldKind::F64),
            ("open", FieldKind::Bool),
            ("at", FieldKind::Timestamp),
            ("more", FieldKind::Json),
        ];
        let field = |(name, kind): (&str, FieldKind)| Field { name: name.to_owned(), kind };
        DocumentCheck::new(&ViewSchema {
            name: "v".to_owned(),
            fields: kinds.into_iter().map(field).collect(),
            sources: Vec::new(),
            partitions: 1,
        })
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a-z]{0,4}".prop_map(Value::from),
            Just(json!("2026-11-21T10:00:00Z")),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a-z_]{1,3}", inner, 0..3)
                    .prop_map(|members| json!(members)),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_the_quick_pass_lets_through_the_writer_takes(
            members in prop::collection::vec((0..10_usize, values()), 0..6),
        ) {
            let check = check();
            let names = [
                "text", "word", "signed", "unsigned", "share", "open", "at", "more", "other", "_key",
            ];
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("\"{}\":{value}", names[*name])).collect();
            let document = format!("{{{}}}", members.join(","));
            let converted = convert(&check.fields, "k", 0, document.as_bytes());
            prop_assert_eq!(check.surely_fits(document.as_bytes()), converted.is_ok(), "{}", document);
            let checked = check.check("k", 0, document.as_bytes());
            prop_assert_eq!(checked.err(), converted.err());
        }
    }

    #[test]
    fn keys_times_and_depth_are_bounded() {
        let check = check();
        let long = "k".repeat(MAX_TOKEN_LEN + 1);
        assert!(matches!(check.check(&long, 0, b"{}"), Err(DocumentError::Key { .. })));
        assert_eq!(check.check("k", i64::MAX, b"{}"), Err(DocumentError::Time(i64::MAX)));
        let deep = |levels: usize| {
            format!("{{\"more\":{{\"a\":{}1{}}}}}", "[".repeat(levels), "]".repeat(levels))
        };
        assert_eq!(check.check("k", 0, deep(100).as_bytes()), Ok(()));
        let refused = check.check("k", 0, deep(10_000).as_bytes()).unwrap_err().to_string();
        assert!(refused.contains("`more`") && refused.contains("recursion"), "{refused}");
        assert!(check.check("k", 0, b"{} {}").is_err());
        assert!(check.check("k", 0, b"[]").is_err());
    }
}
