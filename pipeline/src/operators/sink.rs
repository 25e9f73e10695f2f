//! `to`: streams and tables go to topics.

use std::sync::Arc;

use crate::bad_record::Defect;
use crate::codec::{Serde, Value, json};
use crate::dsl::{Stream, Table};
use crate::key::Key;
use crate::operator::{Fault, Operator};
use crate::record::{Change, Record};
use crate::task::{Context, Outgoing};
use crate::topology::{SinkRef, Target};

/// Writes records to a topic, to the partition of their key.
pub(super) struct Sink<V> {
    node: String,
    sink: SinkRef,
    codec: Serde<V>,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl<V> Sink<V> {
    pub(super) fn new(node: String, sink: SinkRef, codec: Serde<V>) -> Self {
        Self { node, sink, codec, key: Vec::new(), value: Vec::new() }
    }

    fn write<K: Key>(
        &mut self,
        key: &K,
        value: Option<&V>,
        timestamp: i64,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        self.key.clear();
        self.value.clear();
        let has_key = key.encode(&mut self.key);
        let has_value = match value {
            None => false,
            Some(value) => self.codec.encode(value, &mut self.value).map_err(|error| {
                let (node, reason) = (self.node.clone(), error.to_string());
                Fault::BadRecord { node, defect: Defect::Encoding, reason }
            })?,
        };
        let record = Outgoing {
            timestamp,
            key: has_key.then_some(&self.key[..]),
            value: has_value.then_some(&self.value[..]),
        };
        ctx.send(&self.node, self.sink, record)
    }
}

impl<K: Key, V> Operator<K, V> for Sink<V> {
    fn process(&mut self, record: Record<K, V>, ctx: &mut Context<'_>) -> Result<(), Fault> {
        self.write(&record.key, Some(&record.value), record.timestamp, ctx)
    }
}

/// Writes a table's updates: the new value, or a tombstone.
struct TableSink<V>(Sink<V>);

impl<K: Key, V> Operator<K, Change<V>> for TableSink<V> {
    fn process(
        &mut self,
        record: Record<K, Change<V>>,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        self.0.write(&record.key, record.value.new.as_ref(), record.timestamp, ctx)
    }
}

impl<K: Key, V: Value> Stream<K, V> {
    /// Writes the stream to `topic`; values as JSON.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// builder.stream::<String, i64>("sales").to("out");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// for pieces in [3, 8] {
    ///     driver.pipe("sales", "lamp", &pieces, 1);
    /// }
    /// let out = driver.read::<String, i64>("out").into_iter();
    /// assert_eq!(out.filter_map(|record| record.value).collect::<Vec<_>>(), [3, 8]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn to(&self, topic: &str) {
        self.to_with(topic, json());
    }
}

impl<K: Key, V: Clone + 'static> Stream<K, V> {
    /// Writes the stream to `topic`; values as `codec` says.
    ///
    /// ```
    /// use pipeline::codec::int64;
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// builder.stream::<String, i64>("sales").to_with("out", int64());
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// for pieces in [3, 8] {
    ///     driver.pipe("sales", "lamp", &pieces, 1);
    /// }
    /// assert_eq!(driver.read_raw("out")[0].value.as_deref(), Some(&3_i64.to_be_bytes()[..]));
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn to_with(&self, topic: &str, codec: Serde<V>) {
        let (node, name, sink) = self.add_sink(topic, false);
        self.end(node, move || Sink::new(name.clone(), sink, Arc::clone(&codec)));
    }
}

impl<K: Clone + 'static, V: Clone + 'static> Stream<K, V> {
    fn add_sink(&self, topic: &str, coalesce: bool) -> (usize, String, SinkRef) {
        let mut graph = self.graph.borrow_mut();
        graph.check_topic("topic", topic);
        let sink = graph.add_sink(self.node, Target::To(topic.to_owned()), coalesce);
        let node = graph.sinks[sink.0].node;
        (node, graph.nodes[node].name.clone(), sink)
    }
}

impl<K: Key, V: Value> Table<K, V> {
    /// Writes the table's updates to `topic`; values as JSON, deletions as tombstones. Of the
    /// updates of one key within one commit only the last is written.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// builder.table::<String, i64>("stock", "stock").to("out");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("stock", "lamp", &3_i64, 1);
    /// let out = driver.read::<String, i64>("out").into_iter();
    /// assert_eq!(out.filter_map(|record| record.value).collect::<Vec<_>>(), [3]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn to(&self, topic: &str) {
        self.to_with(topic, json());
    }
}

impl<K: Key, V: Clone + 'static> Table<K, V> {
    /// Writes the table's updates to `topic`; values as `codec` says, deletions as tombstones.
    ///
    /// ```
    /// use pipeline::codec::int64;
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// builder.table::<String, i64>("stock", "stock").to_with("out", int64());
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("stock", "lamp", &3_i64, 1);
    /// assert_eq!(driver.read_raw("out")[0].value.as_deref(), Some(&3_i64.to_be_bytes()[..]));
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn to_with(&self, topic: &str, codec: Serde<V>) {
        let (node, name, sink) = self.changes.add_sink(topic, true);
        let make = move || TableSink(Sink::new(name.clone(), sink, Arc::clone(&codec)));
        self.changes.end(node, make);
    }
}
