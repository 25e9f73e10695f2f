//! Reads types out of the tree with serde, strictly.
//!
//! What serde alone does not do: a key that a struct does not know is an error with the place of
//! the key and the nearest name; every other error gets the place of its value and the path to it;
//! text from the environment becomes what the setting asks for.

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::error::{Fault, Place};
use super::tree::{Entry, Node, Table, Value};

/// A serde deserializer over a [`Node`].
#[derive(Clone, Copy)]
pub(super) struct Reader<'de> {
    node: &'de Node,
}

impl<'de> Reader<'de> {
    pub(super) fn new(node: &'de Node) -> Self {
        Self { node }
    }
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Bool(it) => visitor.visit_bool(*it),
            Value::Integer(it) => visitor.visit_i64(*it),
            Value::Float(it) => visitor.visit_f64(*it),
            Value::String(it) => visitor.visit_borrowed_str(it),
            Value::Raw(it) => visit_raw(it, visitor),
            Value::List(items) => visitor.visit_seq(Items { items: items.iter().enumerate() }),
            Value::Table(table) => visitor.visit_map(Entries::of(table)),
        }
    }

    /// Takes a variable's text as it is, even if it looks like a number.
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Raw(it) => visitor.visit_borrowed_str(it),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    /// A variable holds a list with commas between the items.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let Value::Raw(text) = &self.node.value else { return self.deserialize_any(visitor) };
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        visitor.visit_seq(serde::de::value::SeqDeserializer::new(items))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if let Value::Table(table) = &self.node.value {
            refuse_unknown(table, fields)?;
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::String(it) | Value::Raw(it) => {
                let it: StrDeserializer<'_, Fault> = it.as_str().into_deserializer();
                visitor.visit_enum(it)
            }
            _ => {
                let names = variants.iter().map(|v| format!("\"{v}\"")).collect::<Vec<_>>();
                let message = format!("expected one of {}", names.join(", "));
                Err(Fault::new(self.node.place().clone(), message))
            }
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct
        tuple tuple_struct map identifier
    }
}

/// Takes a variable's text for the number or truth value that it spells, else for a string.
fn visit_raw<'de, V: Visitor<'de>>(text: &'de str, visitor: V) -> Result<V::Value, Fault> {
    if let Ok(it) = text.parse::<bool>() {
        return visitor.visit_bool(it);
    }
    if let Ok(it) = text.replace('_', "").parse::<i64>() {
        return visitor.visit_i64(it);
    }
    match text.parse::<f64>() {
        Ok(it) if it.is_finite() => visitor.visit_f64(it),
        _ => visitor.visit_borrowed_str(text),
    }
}

/// Finds the first key, in order of writing, that is none of `fields`.
fn refuse_unknown(table: &Table, fields: &'static [&'static str]) -> Result<(), Fault> {
    let stranger =
        table.iter().filter(|(key, _)| !fields.contains(&key.as_str())).min_by_key(|(_, entry)| {
            match &entry.key {
                Place::Text(range) => range.start,
                Place::Variable(_) | Place::Default => usize::MAX,
            }
        });
    match stranger {
        None => Ok(()),
        Some((key, entry)) => {
            let known = fields.iter().copied();
            Err(Fault::unknown("key", key, entry.key.clone(), known))
        }
    }
}

struct Items<'de> {
    items: std::iter::Enumerate<std::slice::Iter<'de, Node>>,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        let Some((index, node)) = self.items.next() else { return Ok(None) };
        seed.deserialize(Reader::new(node))
            .map(Some)
            .map_err(|fault| fault.at(node.place()).within(index.to_string()))
    }
}

struct Entries<'de> {
    rest: std::collections::btree_map::Iter<'de, String, Entry>,
    current: Option<(&'de String, &'de Entry)>,
}

impl<'de> Entries<'de> {
    fn of(table: &'de Table) -> Self {
        Self { rest: table.iter(), current: None }
    }
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        self.current = self.rest.next();
        let Some((key, entry)) = self.current else { return Ok(None) };
        let key: StrDeserializer<'_, Fault> = key.as_str().into_deserializer();
        seed.deserialize(key).map(Some).map_err(|fault| fault.at(&entry.key))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let (key, entry) = self.current.take().expect("serde asks for a key before its value");
        seed.deserialize(Reader::new(&entry.node))
            .map_err(|fault| fault.at(entry.node.place()).within(key.as_str()))
    }
}
