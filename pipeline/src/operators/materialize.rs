//! Streams that become tables.

use std::sync::Arc;

use super::kind;
use super::stream_time::{put_timestamp, split_timestamp};
use crate::codec::{Serde, Value, json};
use crate::dsl::{Stream, Table};
use crate::key::Key;
use crate::operator::{Fault, Next, Operator};
use crate::record::{Change, Record};
use crate::task::Context;
use crate::topology::StoreRef;

/// Keeps the latest value of each key; an absent value deletes.
struct Materialize<K, V> {
    node: String,
    store: StoreRef,
    codec: Serde<V>,
    key: Vec<u8>,
    value: Vec<u8>,
    next: Next<K, Change<V>>,
}

impl<K: Key, V: Clone> Operator<K, Option<V>> for Materialize<K, V> {
    fn process(
        &mut self,
        record: Record<K, Option<V>>,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        self.key.clear();
        self.key.push(kind::ENTRY);
        if !record.key.encode(&mut self.key) {
            ctx.count_dropped(&self.node, "null key");
            return Ok(());
        }
        let codec = &self.codec;
        let old = ctx.read(self.store, &self.key, |stored| {
            let value = stored.and_then(split_timestamp).map(|(_, value)| value);
            value.map(|bytes| codec.decode(Some(bytes))).transpose()
        })?;
        let old = old.map_err(|error| ctx.bad_state(&self.node, &error))?;
        match &record.value {
            None => ctx.delete(self.store, &self.key),
            Some(new) => {
                self.value.clear();
                put_timestamp(&mut self.value, record.timestamp);
                let encoded = self.codec.encode(new, &mut self.value);
                encoded.map_err(|error| ctx.bad_state(&self.node, &error))?;
                ctx.put(self.store, &self.key, &self.value);
            }
        }
        let Record { key, value: new, timestamp } = record;
        self.next.forward(Record { key, value: Change { new, old }, timestamp }, ctx)
    }
}

impl<K: Key, V: Value> Stream<K, V> {
    /// Reads the stream as a table kept in `store`: each record replaces its key's value.
    pub fn to_table(&self, store: &str) -> Table<K, V> {
        self.map_values(|_, value| Some(value)).materialize(store)
    }
}

impl<K: Key, V: Value> Stream<K, Option<V>> {
    /// Reads the stream as a table kept in `store`; `None` deletes.
    pub fn materialize(&self, store: &str) -> Table<K, V> {
        self.needs_partitioning();
        let codec: Serde<V> = json();
        let store = self.graph.borrow_mut().add_store(store);
        let node = self.next_name("KTABLE-SOURCE");
        let read_codec = Arc::clone(&codec);
        let changes = self.then_with("KTABLE-SOURCE", vec![store], move |next| Materialize {
            node: node.clone(),
            store,
            codec: Arc::clone(&codec),
            key: Vec::new(),
            value: Vec::new(),
            next,
        });
        Table::stored(changes, store, read_codec, |key: &K, out: &mut Vec<u8>| key.encode(out))
    }
}
