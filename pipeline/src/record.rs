//! Records as operators see them: typed, with an event time.

use crate::task::Context;

/// A key and a value at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<K, V> {
    /// What it is about.
    pub key: K,
    /// What is said.
    pub value: V,
    /// Event time, milliseconds since 1970-01-01 UTC.
    pub timestamp: i64,
}

impl<K, V> Record<K, V> {
    /// The same key and time with another value.
    pub fn with_value<W>(self, value: W) -> Record<K, W> {
        Record { key: self.key, value, timestamp: self.timestamp }
    }
}

/// A stretch of event time.
///
/// Windows of time and of a calendar go from `start` up to, not including, `end`. Sliding windows
/// and sessions include both, as in Kafka Streams: a session ends with its last record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Window {
    /// First moment, milliseconds since 1970-01-01 UTC.
    pub start: i64,
    /// First moment after it; of a sliding window or a session, its last moment.
    pub end: i64,
}

/// A key within a window.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Windowed<K> {
    /// The key that was grouped by.
    pub key: K,
    /// The window.
    pub window: Window,
}

/// An update of one key of a table. Both absent is no update; `new` absent is a deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<V> {
    /// The value from now on.
    pub new: Option<V>,
    /// The value until now.
    pub old: Option<V>,
}

/// What a closure is told about the record that it handles, beside key and value.
#[derive(Clone, Copy, Debug)]
pub struct RecordInfo<'a> {
    /// Event time, milliseconds since 1970-01-01 UTC.
    pub timestamp: i64,
    event_id: Option<&'a str>,
}

impl<'a> RecordInfo<'a> {
    pub(crate) fn new(timestamp: i64, ctx: &'a Context<'_>) -> Self {
        Self { timestamp, event_id: ctx.event_id() }
    }

    /// The id that the sender gave the event (`Idempotency-Key` over HTTP), if it did.
    pub fn event_id(&self) -> Option<&'a str> {
        self.event_id
    }
}
