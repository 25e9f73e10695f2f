//! What a type cannot say: ranges, names, and settings that must agree.

use std::ops::RangeInclusive;

use super::error::{Fault, Place};
use super::tree::Node;

/// The largest number that TOML can hold.
pub(super) const NUMBER_MAX: u64 = i64::MAX as u64;

/// A day.
pub(super) const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// A table of the tree while its settings are checked; it need not have been written.
#[derive(Clone)]
pub(super) struct At<'n> {
    node: Option<&'n Node>,
    path: Vec<String>,
}

impl<'n> At<'n> {
    pub(super) fn root(node: &'n Node) -> Self {
        Self { node: Some(node), path: Vec::new() }
    }

    /// The table `key` inside this one.
    pub(super) fn table(&self, key: &str) -> Self {
        self.child(self.node.and_then(|node| node.get(key)), key.to_owned())
    }

    /// The item `index` of this list.
    pub(super) fn item(&self, index: usize) -> Self {
        self.child(self.node.and_then(|node| node.item(index)), index.to_string())
    }

    /// Checks that the setting `key` lies in `range`.
    pub(super) fn range(
        &self,
        key: &str,
        value: u64,
        range: RangeInclusive<u64>,
    ) -> Result<(), Fault> {
        if range.contains(&value) {
            return Ok(());
        }
        let (low, high) = (range.start(), range.end());
        let message = match *high {
            NUMBER_MAX => format!("{value} is out of range: it must be {low} or more"),
            _ => format!("{value} is out of range: it must be {low} to {high}"),
        };
        Err(self.fault(key, message))
    }

    /// Checks that `name`, the value of the setting `key`, can name a topic.
    pub(super) fn topic_name(&self, key: &str, name: &str) -> Result<(), Fault> {
        if is_topic_name(name) {
            return Ok(());
        }
        Err(self.fault(key, NOT_A_TOPIC_NAME))
    }

    /// A fault of the setting `key`; at the table if the setting was not written.
    pub(super) fn fault(&self, key: &str, message: impl Into<String>) -> Fault {
        let place = self.node.map(|node| node.get(key).map_or(node.place(), Node::place));
        self.raise(place, message).within_path(&self.path, Some(key))
    }

    /// A fault of the name that the user gave to the table `key`.
    pub(super) fn fault_of_name(&self, key: &str, message: impl Into<String>) -> Fault {
        let place = self.node.and_then(|node| node.entry(key)).map(|entry| &entry.key);
        self.raise(place, message).within_path(&self.path, Some(key))
    }

    /// A fault of this table as a whole.
    pub(super) fn fault_here(&self, message: impl Into<String>) -> Fault {
        self.raise(self.node.map(Node::place), message).within_path(&self.path, None)
    }

    fn raise(&self, place: Option<&Place>, message: impl Into<String>) -> Fault {
        Fault::new(place.cloned().unwrap_or(Place::Default), message)
    }

    fn child(&self, node: Option<&'n Node>, key: String) -> Self {
        let mut path = self.path.clone();
        path.push(key);
        Self { node, path }
    }
}

pub(super) const NOT_A_TOPIC_NAME: &str =
    "not a topic name: it is 1 to 249 letters, digits, `.`, `_` and `-`, and not `.` or `..`";

/// Whether Kafka, too, would take `name` for a topic.
pub(super) fn is_topic_name(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=249).contains(&name.len()) && name.bytes().all(legal) && name != "." && name != ".."
}

/// Whether `path` is a dotted path to a field: `card`, `customer.id`.
pub(super) fn is_field_path(path: &str) -> bool {
    path.split('.').all(|field| !field.is_empty())
}
