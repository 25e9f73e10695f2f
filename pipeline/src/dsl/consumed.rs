//! How a topic is read.

use std::sync::Arc;

use crate::codec::{Serde, Value, json};

type Extractor<V> = Arc<dyn Fn(&V, i64) -> i64 + Send + Sync>;

/// How the values of a topic are decoded, and which of their fields is the event time.
#[derive(Clone)]
pub struct Consumed<V> {
    pub(crate) value: Serde<V>,
    pub(crate) timestamp: Option<Extractor<V>>,
}

impl<V: 'static> Consumed<V> {
    /// Values decoded by `value`; the event time is the record's own timestamp.
    pub fn with(value: Serde<V>) -> Self {
        Self { value, timestamp: None }
    }

    /// Takes the event time from the value: `extract` gets it and the record's own timestamp,
    /// both in milliseconds since 1970-01-01 UTC.
    #[must_use]
    pub fn with_timestamp(
        mut self,
        extract: impl Fn(&V, i64) -> i64 + Send + Sync + 'static,
    ) -> Self {
        self.timestamp = Some(Arc::new(extract));
        self
    }
}

impl<V: Value> Default for Consumed<V> {
    /// JSON, with the record's own timestamp.
    fn default() -> Self {
        Self::with(json())
    }
}
