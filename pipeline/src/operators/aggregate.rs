//! Aggregates without windows: for each key over all time.

use std::sync::Arc;

use super::group::Grouped;
use super::kind;
use super::stored::Stored;
use crate::aggregates::{Aggregator, Count, Fold, Reduce};
use crate::codec::{Serde, Value, json};
use crate::dsl::{Stream, Table};
use crate::key::Key;
use crate::operator::{Fault, Next, Operator};
use crate::record::{Change, Record};
use crate::task::Context;

struct Aggregate<K, V, G: Aggregator<K, V>> {
    aggregator: Arc<G>,
    stored: Stored<G::State>,
    key: Vec<u8>,
    next: Next<K, Change<G::Output>>,
}

impl<K: Key, V, G: Aggregator<K, V>> Operator<K, V> for Aggregate<K, V, G> {
    fn process(&mut self, record: Record<K, V>, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let Record { key, value, timestamp } = record;
        self.key.clear();
        self.key.push(kind::ENTRY);
        if !key.encode(&mut self.key) {
            ctx.count_dropped(self.stored.node(), "null key");
            return Ok(());
        }
        let (seen, state) = self.stored.get(&self.key, ctx)?.unzip();
        let old = state.as_ref().map(|state| self.aggregator.output(state));
        let state = state.unwrap_or_else(|| self.aggregator.init());
        let state = self.aggregator.add(state, &key, &value, ctx.at(timestamp));
        let timestamp = seen.map_or(timestamp, |seen| timestamp.max(seen));
        self.stored.put(&self.key, timestamp, &state, ctx)?;
        let value = Change { new: Some(self.aggregator.output(&state)), old };
        self.next.forward(Record { key, value, timestamp }, ctx)
    }
}

impl<K: Key, V: Value> Grouped<K, V> {
    /// Counts the records of each key, in the store `store`.
    pub fn count(self, store: &str) -> Table<K, i64> {
        self.aggregate_by(store, Count)
    }

    /// Puts the records of each key together, in the store `store`.
    pub fn reduce(
        self,
        store: &str,
        add: impl Fn(V, &V) -> V + Send + Sync + 'static,
    ) -> Table<K, V> {
        self.aggregate_by(store, Reduce::new(add))
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
        self.aggregate_by(store, Fold::new(codec, initial, add))
    }

    /// Aggregates the records of each key as `aggregator` does, in the store `store`.
    ///
    /// ```
    /// use pipeline::TopologyBuilder;
    /// use pipeline::aggregates::Count;
    /// use pipeline::driver::TopologyDriver;
    ///
    /// let builder = TopologyBuilder::new("visits");
    /// builder.stream::<String, i64>("visits").group_by_key().aggregate_by("n", Count).to("out");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("visits", "home", &1_i64, 0);
    /// driver.pipe("visits", "home", &1_i64, 1);
    /// let counts = driver.read::<String, i64>("out");
    /// assert_eq!(counts.last().unwrap().value, Some(2));
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn aggregate_by<G: Aggregator<K, V>>(
        self,
        store: &str,
        aggregator: G,
    ) -> Table<K, G::Output> {
        self.aggregated(store, aggregator)
    }
}

/// Places an aggregate behind `stream`, whose records lie where their keys are.
pub(super) fn place<K: Key, V: Clone + 'static, G: Aggregator<K, V>>(
    stream: &Stream<K, V>,
    store: &str,
    aggregator: G,
) -> Table<K, G::Output> {
    let store = stream.graph.borrow_mut().add_store(store);
    let aggregator = Arc::new(aggregator);
    let (node, codec) = (stream.next_name("KSTREAM-AGGREGATE"), aggregator.codec());
    let (shown, read_codec) = (Arc::clone(&aggregator), Arc::clone(&codec));
    let changes = stream.then_with("KSTREAM-AGGREGATE", vec![store], move |next| Aggregate {
        aggregator: Arc::clone(&aggregator),
        stored: Stored::new(node.clone(), store, Arc::clone(&codec)),
        key: Vec::new(),
        next,
    });
    let key_of = |key: &K, out: &mut Vec<u8>| key.encode(out);
    Table::stored_as(changes, (store, read_codec), key_of, move |state| shown.output(state))
}
