//! Aggregates without windows: for each key over all time.

use std::sync::Arc;

use super::group::Grouped;
use super::kind;
use super::stream_time::{put_timestamp, split_timestamp};
use crate::codec::{Serde, Value, int64, json};
use crate::dsl::Table;
use crate::key::Key;
use crate::operator::{Fault, Next, Operator};
use crate::record::{Change, Record};
use crate::task::Context;
use crate::topology::StoreRef;

struct Aggregate<K, A, I, F> {
    node: String,
    store: StoreRef,
    functions: Arc<(I, F)>,
    codec: Serde<A>,
    key: Vec<u8>,
    value: Vec<u8>,
    next: Next<K, Change<A>>,
}

impl<K, V, A, I, F> Operator<K, V> for Aggregate<K, A, I, F>
where
    K: Key,
    A: Clone,
    I: Fn() -> A,
    F: Fn(&K, &V, A) -> A,
{
    fn process(&mut self, record: Record<K, V>, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let Record { key, value, timestamp } = record;
        self.key.clear();
        self.key.push(kind::ENTRY);
        if !key.encode(&mut self.key) {
            ctx.count_dropped(&self.node, "null key");
            return Ok(());
        }
        let codec = &self.codec;
        let read = ctx.read(self.store, &self.key, |stored| {
            let Some((timestamp, bytes)) = stored.and_then(split_timestamp) else {
                return Ok((i64::MIN, None));
            };
            codec.decode(Some(bytes)).map(|value| (timestamp, Some(value)))
        })?;
        let (seen, old) = read.map_err(|error| ctx.bad_state(&self.node, &error))?;
        let (initial, add) = &*self.functions;
        let new = add(&key, &value, old.clone().unwrap_or_else(initial));
        let timestamp = timestamp.max(seen);
        self.value.clear();
        put_timestamp(&mut self.value, timestamp);
        let encoded = self.codec.encode(&new, &mut self.value);
        encoded.map_err(|error| ctx.bad_state(&self.node, &error))?;
        ctx.put(self.store, &self.key, &self.value);
        let value = Change { new: Some(new), old };
        self.next.forward(Record { key, value, timestamp }, ctx)
    }
}

impl<K: Key, V: Value> Grouped<K, V> {
    /// Counts the records of each key, in the store `store`.
    pub fn count(self, store: &str) -> Table<K, i64> {
        self.aggregate_with(store, int64(), || 0, |_, _, count| count + 1)
    }

    /// Puts the records of each key together, in the store `store`.
    pub fn reduce(
        self,
        store: &str,
        add: impl Fn(V, &V) -> V + Send + Sync + 'static,
    ) -> Table<K, V> {
        let add = move |_: &K, value: &V, old: Option<V>| {
            Some(old.map_or_else(|| value.clone(), |old| add(old, value)))
        };
        let optional = self.aggregate_with(store, json(), || None, add);
        optional.map_values(|_, value: &Option<V>| value.clone().expect("a reduced key has one"))
    }

    /// Aggregates the records of each key, in the store `store`, as JSON.
    pub fn aggregate<A: Value>(
        self,
        store: &str,
        initial: impl Fn() -> A + Send + Sync + 'static,
        add: impl Fn(&K, &V, A) -> A + Send + Sync + 'static,
    ) -> Table<K, A> {
        self.aggregate_with(store, json(), initial, add)
    }

    /// Aggregates the records of each key, in the store `store`, stored by `codec`.
    pub fn aggregate_with<A: Clone + 'static>(
        self,
        store: &str,
        codec: Serde<A>,
        initial: impl Fn() -> A + Send + Sync + 'static,
        add: impl Fn(&K, &V, A) -> A + Send + Sync + 'static,
    ) -> Table<K, A> {
        let stream = self.partitioned(store);
        let store = stream.graph.borrow_mut().add_store(store);
        let functions = Arc::new((initial, add));
        let node = stream.next_name("KSTREAM-AGGREGATE");
        let read_codec = Arc::clone(&codec);
        let changes = stream.then_with("KSTREAM-AGGREGATE", vec![store], move |next| Aggregate {
            node: node.clone(),
            store,
            functions: Arc::clone(&functions),
            codec: Arc::clone(&codec),
            key: Vec::new(),
            value: Vec::new(),
            next,
        });
        Table::stored(changes, store, read_codec, |key: &K, out: &mut Vec<u8>| key.encode(out))
    }
}
