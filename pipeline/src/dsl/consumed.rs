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
    ///
    /// ```
    /// use pipeline::codec::int64;
    /// use pipeline::{Consumed, TopologyBuilder};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// builder.stream_with::<String, _>("sales", Consumed::with(int64())).to("out");
    /// # builder.build()?;
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn with(value: Serde<V>) -> Self {
        let (rules, idle) = (SourceRules::default(), Idle::AsConfigured);
        Self { value, timestamp: None, rules, idle }
    }

    /// Takes the event time from the value: `extract` gets it and the record's own timestamp,
    /// both in milliseconds since 1970-01-01 UTC.
    ///
    /// ```
    /// use pipeline::{Consumed, TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// // Pieces, and when they were sold.
    /// let sales = Consumed::default().with_timestamp(|(_, at): &(i64, i64), _| *at);
    /// builder.stream_with::<String, (i64, i64)>("sales", sales).to("out");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("sales", "lamp", &(3, 1_000), 9_999);
    /// assert_eq!(driver.read::<String, (i64, i64)>("out")[0].timestamp, 1_000);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
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
    ///
    /// ```
    /// use pipeline::{BadRecordPolicy, Consumed, TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let sales = Consumed::default().with_bad_records(BadRecordPolicy::Skip);
    /// builder.stream_with::<String, i64>("sales", sales).to("out");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe_bytes("sales", Some(b"lamp"), Some(b"three"), 1);
    /// driver.pipe("sales", "lamp", &3_i64, 2);
    /// let out = driver.read::<String, i64>("out").into_iter();
    /// assert_eq!(out.filter_map(|record| record.value).collect::<Vec<_>>(), [3]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    #[must_use]
    pub fn with_bad_records(mut self, policy: BadRecordPolicy) -> Self {
        self.rules.bad_records = Some(policy);
        self
    }

    /// Says how far event time may lie ahead of the time at which the log took the record in; what
    /// is farther ahead is a bad record. The configuration of the topic goes before it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pipeline::{AheadBound, Consumed, TopologyBuilder};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let sales = Consumed::default()
    ///     .with_timestamp_ahead_max(AheadBound::AtMost(Duration::from_secs(60)));
    /// builder.stream_with::<String, i64>("sales", sales).to("out");
    /// # builder.build()?;
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
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
    ///
    /// ```
    /// use std::time::Duration;
    /// use pipeline::{Consumed, TopologyBuilder};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let sales = Consumed::default().with_idle_timeout(Duration::from_secs(30));
    /// builder.stream_with::<String, i64>("sales", sales).to("out");
    /// # builder.build()?;
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    #[must_use]
    pub fn with_idle_timeout(self, timeout: Duration) -> Self {
        Self { idle: Idle::After(timeout), ..self }
    }

    /// Waits for each partition of the topic, however long it stands still.
    ///
    /// ```
    /// use pipeline::{Consumed, TopologyBuilder};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let sales = Consumed::default().never_idle();
    /// builder.stream_with::<String, i64>("sales", sales).to("out");
    /// # builder.build()?;
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
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
