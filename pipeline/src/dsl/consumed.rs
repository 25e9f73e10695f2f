//! How a topic is read.

use std::sync::Arc;
use std::time::Duration;

use crate::bad_record::{AheadBound, BadRecordPolicy, SourceRules};
use crate::codec::{Serde, Value, json};

type Extractor<V> = Arc<dyn Fn(&V, i64) -> i64 + Send + Sync>;

/// How the values of a topic are decoded, which of their fields is the event time, and what is
/// done with records that are bad.
#[derive(Clone)]
pub struct Consumed<V> {
    pub(crate) value: Serde<V>,
    pub(crate) timestamp: Option<Extractor<V>>,
    pub(crate) rules: SourceRules,
    pub(crate) idle: Idle,
}

/// When a source partition that stands still no longer holds time back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Idle {
    AsConfigured,
    After(Duration),
    Never,
}

impl Idle {
    /// The time after which it does, if ever; `configured` is that of the topology.
    pub(crate) fn timeout(self, configured: Option<Duration>) -> Option<Duration> {
        match self {
            Self::AsConfigured => configured,
            Self::After(timeout) => Some(timeout),
            Self::Never => None,
        }
    }
}

impl<V: 'static> Consumed<V> {
    /// Values decoded by `value`; the event time is the record's own timestamp.
    pub fn with(value: Serde<V>) -> Self {
        let (rules, idle) = (SourceRules::default(), Idle::AsConfigured);
        Self { value, timestamp: None, rules, idle }
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

    /// Says what is done with a record of this topic that cannot be handled, here or in any
    /// operator after it (Kafka Streams' `DeserializationExceptionHandler` and
    /// `ProcessingExceptionHandler`). The configuration of the topic goes before it; without
    /// either it is as the topology is configured.
    #[must_use]
    pub fn with_bad_records(mut self, policy: BadRecordPolicy) -> Self {
        self.rules.bad_records = Some(policy);
        self
    }

    /// Says how far event time may lie ahead of the time at which the log took the record in; what
    /// is farther ahead is a bad record. The configuration of the topic goes before it.
    #[must_use]
    pub fn with_timestamp_ahead_max(mut self, bound: AheadBound) -> Self {
        self.rules.timestamp_ahead_max = Some(bound);
        self
    }

    /// The same topic and the same rules, read with other values.
    pub(crate) fn with_rules(mut self, rules: SourceRules) -> Self {
        self.rules = rules;
        self
    }
}

impl<V> Consumed<V> {
    /// Leaves a partition of the topic out of the clocks that windows close by once it has been
    /// read to its end and has stood still for `timeout`, instead of the timeout that the topology
    /// is configured with. A record that then comes too late is counted as `idle`.
    #[must_use]
    pub fn with_idle_timeout(self, timeout: Duration) -> Self {
        Self { idle: Idle::After(timeout), ..self }
    }

    /// Waits for each partition of the topic, however long it stands still.
    #[must_use]
    pub fn never_idle(self) -> Self {
        Self { idle: Idle::Never, ..self }
    }

    /// The same, idle as another source is.
    pub(crate) fn idle_as(self, idle: Idle) -> Self {
        Self { idle, ..self }
    }
}

impl<V: Value> Default for Consumed<V> {
    /// JSON, with the record's own timestamp.
    fn default() -> Self {
        Self::with(json())
    }
}
