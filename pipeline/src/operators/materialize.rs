//! Streams that become tables.

use std::sync::Arc;

use super::kind;
use super::stored::Stored;
use crate::codec::{Serde, Value, json};
use crate::dsl::{Stream, Table};
use crate::key::Key;
use crate::operator::{Fault, Next, Operator};
use crate::record::{Change, Record};
use crate::task::Context;

/// Keeps the latest value of each key; an absent value deletes.
struct Materialize<K, V> {
    stored: Stored<V>,
    key: Vec<u8>,
    next: Next<K, Change<V>>,
}

impl<K: Key, V: Clone> Operator<K, Option<V>> for Materialize<K, V> {
    fn process(
        &mut self,
        record: Record<K, Option<V>>,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let Record { key, value: new, timestamp } = record;
        self.key.clear();
        self.key.push(kind::ENTRY);
        if !key.encode(&mut self.key) {
            ctx.count_dropped(self.stored.node(), "null key");
            return Ok(());
        }
        let old = self.stored.get(&self.key, ctx)?.map(|(_, value)| value);
        match &new {
            None => self.stored.delete(&self.key, ctx),
            Some(new) => self.stored.put(&self.key, timestamp, new, ctx)?,
        }
        self.next.forward(Record { key, value: Change { new, old }, timestamp }, ctx)
    }
}

impl<K: Key, V: Value> Stream<K, V> {
    /// Reads the stream as a table kept in `store`: each record replaces its key's value.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("sensors");
    /// builder
    ///     .stream::<String, i64>("readings")
    ///     .to_table("latest")
    ///     .map_values(|_, reading| reading * 2)
    ///     .to("doubled");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("readings", "s1", &21_i64, 1);
    /// assert_eq!(driver.read::<String, i64>("doubled")[0].value, Some(42));
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn to_table(&self, store: &str) -> Table<K, V> {
        self.map_values(|_, value| Some(value)).materialize(store)
    }
}

impl<K: Key, V: Value> Stream<K, Option<V>> {
    /// Reads the stream as a table kept in `store`; `None` deletes.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("sensors");
    /// builder
    ///     .stream::<String, i64>("readings")
    ///     .map_values(|_, reading| (reading >= 0).then_some(reading))
    ///     .materialize("latest")
    ///     .to("latest");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("readings", "s1", &21_i64, 1);
    /// driver.pipe("readings", "s1", &-1_i64, 2);
    /// let latest = driver.read::<String, i64>("latest");
    /// assert_eq!(latest.iter().map(|record| record.value).collect::<Vec<_>>(), [Some(21), None]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn materialize(&self, store: &str) -> Table<K, V> {
        self.needs_partitioning();
        let codec: Serde<V> = json();
        let store = self.graph.borrow_mut().add_store(store);
        let node = self.next_name("KTABLE-SOURCE");
        let read_codec = Arc::clone(&codec);
        let changes = self.then_with("KTABLE-SOURCE", vec![store], move |next| Materialize {
            stored: Stored::new(node.clone(), store, Arc::clone(&codec)),
            key: Vec::new(),
            next,
        });
        Table::stored(changes, store, read_codec, |key: &K, out: &mut Vec<u8>| key.encode(out))
    }
}
