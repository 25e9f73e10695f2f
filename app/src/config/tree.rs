//! The configuration as a tree in which every key and value knows where it was written.
//!
//! It is not typed: a value from the environment stays text until the setting that reads it says
//! what it should be.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Fault, Place};

/// A value and its place.
#[derive(Clone)]
pub(super) struct Node {
    place: Place,
    pub(super) value: Value,
}

/// What a node holds.
#[derive(Clone)]
pub(super) enum Value {
    Bool(bool),
    Integer(i64),
    Float(f64),
    String(String),
    /// From an environment variable: its type is the reader's to say.
    Raw(String),
    List(Vec<Node>),
    Table(Table),
}

/// The entries of a table by key, each with the place of the key.
pub(super) type Table = BTreeMap<String, Entry>;

/// One `key = value`.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) key: Place,
    pub(super) node: Node,
}

impl Node {
    pub(super) fn new(place: Place, value: Value) -> Self {
        Self { place, value }
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Table(table) => table.get(key),
            _ => None,
        }
    }

    pub(super) fn item(&self, index: usize) -> Option<&Node> {
        match &self.value {
            Value::List(items) => items.get(index),
            _ => None,
        }
    }

    /// The same value, written nowhere.
    pub(super) fn from_default(value: &toml::Value) -> Self {
        let value = match value {
            toml::Value::Boolean(it) => Value::Bool(*it),
            toml::Value::Integer(it) => Value::Integer(*it),
            toml::Value::Float(it) => Value::Float(*it),
            toml::Value::String(it) => Value::String(it.clone()),
            toml::Value::Datetime(it) => Value::String(it.to_string()),
            toml::Value::Array(items) => {
                Value::List(items.iter().map(Self::from_default).collect())
            }
            toml::Value::Table(table) => Value::Table(
                table
                    .iter()
                    .map(|(key, value)| {
                        let node = Self::from_default(value);
                        (key.clone(), Entry { key: Place::Default, node })
                    })
                    .collect(),
            ),
        };
        Self::new(Place::Default, value)
    }

    /// This tree with everything that `over` says laid over it; lists are replaced whole.
    pub(super) fn overlaid(mut self, over: &Node) -> Self {
        let (Value::Table(mine), Value::Table(theirs)) = (&mut self.value, &over.value) else {
            return over.clone();
        };
        for (key, entry) in theirs {
            let node = match mine.remove(key) {
                Some(old) => old.node.overlaid(&entry.node),
                None => entry.node.clone(),
            };
            mine.insert(key.clone(), Entry { key: entry.key.clone(), node });
        }
        self
    }
}

/// Parses TOML.
pub(super) fn parse(text: &str) -> Result<Node, Fault> {
    let table = DeTable::parse(text).map_err(|e| {
        let place = e.span().map_or(Place::Default, Place::Text);
        Fault::new(place, format!("not valid TOML: {}", e.message()))
    })?;
    let place = Place::Text(table.span());
    Ok(Node::new(place, Value::Table(table_of(table.get_ref())?)))
}

fn table_of(table: &DeTable<'_>) -> Result<Table, Fault> {
    table
        .iter()
        .map(|(key, value)| {
            let entry = Entry { key: Place::Text(key.span()), node: node_of(value)? };
            Ok((key.get_ref().to_string(), entry))
        })
        .collect()
}

fn node_of(value: &Spanned<DeValue<'_>>) -> Result<Node, Fault> {
    let place = Place::Text(value.span());
    let out_of_range = |what| Fault::new(place.clone(), format!("this {what} is out of range"));
    let value = match value.get_ref() {
        DeValue::Boolean(it) => Value::Bool(*it),
        DeValue::Integer(it) => Value::Integer(
            i64::from_str_radix(it.as_str(), it.radix()).map_err(|_| out_of_range("number"))?,
        ),
        DeValue::Float(it) => {
            Value::Float(it.as_str().parse().map_err(|_| out_of_range("number"))?)
        }
        DeValue::String(it) => Value::String(it.to_string()),
        // No setting is a date; the reader of a string may still be told one.
        DeValue::Datetime(it) => Value::String(it.to_string()),
        DeValue::Array(items) => Value::List(items.iter().map(node_of).collect::<Result<_, _>>()?),
        DeValue::Table(table) => Value::Table(table_of(table)?),
    };
    Ok(Node::new(place, value))
}
