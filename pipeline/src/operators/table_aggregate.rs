//! Aggregates of grouped tables: what a row was is taken away before what it is now is added.
//!
//! Updates of one group come from rows in several partitions, in no order among them: what is
//! added and taken away must come to the same in any order, as sums do.

use std::sync::Arc;

use super::kind;
use super::stream_time::{put_timestamp, split_timestamp};
use super::table_group::GroupedTable;
use crate::codec::{Serde, Value, int64, json};
use crate::dsl::Table;
use crate::key::Key;
use crate::operator::{Fault, Next, Operator};
use crate::record::{Change, Record};
use crate::task::Context;
use crate::topology::StoreRef;

struct TableAggregate<K, A, F> {
    node: String,
    store: StoreRef,
    update: Arc<F>,
    codec: Serde<A>,
    key: Vec<u8>,
    value: Vec<u8>,
    next: Next<K, Change<A>>,
}

impl<K, V, A, F> Operator<K, Change<V>> for TableAggregate<K, A, F>
where
    K: Key,
    A: Clone,
    F: Fn(&K, &Change<V>, Option<A>) -> Option<A>,
{
    fn process(
        &mut self,
        record: Record<K, Change<V>>,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let Record { key, value, timestamp } = record;
        self.key.clear();
        self.key.push(kind::ENTRY);
        if !key.encode(&mut self.key) {
            ctx.count_dropped(&self.node, "null key");
            return Ok(());
        }
        let (seen, old) = self.stored(ctx)?;
        let Some(new) = (self.update)(&key, &value, old.clone()) else { return Ok(()) };
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

impl<K, A, F> TableAggregate<K, A, F> {
    /// Timestamp and value under the current key.
    fn stored(&self, ctx: &Context<'_>) -> Result<(i64, Option<A>), Fault> {
        let codec = &self.codec;
        let read = ctx.read(self.store, &self.key, |stored| {
            let Some((timestamp, bytes)) = stored.and_then(split_timestamp) else {
                return Ok((i64::MIN, None));
            };
            codec.decode(Some(bytes)).map(|value| (timestamp, Some(value)))
        })?;
        read.map_err(|error| ctx.bad_state(&self.node, &error))
    }
}

impl<K: Key, V: Clone + 'static> GroupedTable<K, V> {
    /// Counts the rows of each group, in the store `store`. A group without rows counts 0.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// builder
    ///     .table::<String, String>("lamps", "lamps")
    ///     .group_by("by-colour", |_, colour| (colour.clone(), ()))
    ///     .count("lamps-of-colour")
    ///     .to("colours");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("lamps", "l1", &"red".to_owned(), 1);
    /// driver.pipe_bytes("lamps", Some(b"l1"), None, 2);
    /// let counts = driver.read::<String, i64>("colours");
    /// assert_eq!(counts.iter().map(|count| count.value).collect::<Vec<_>>(), [Some(1), Some(0)]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn count(self, store: &str) -> Table<K, i64> {
        let update = updates(|| 0, |_, _, count| count + 1, |_, _, count| count - 1);
        self.update_with(store, int64(), update)
    }

    /// Puts the rows of each group together, in the store `store`: `add` adds a row to what there
    /// is, `subtract` takes one away. The first row of a group is what there is at first.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// builder
    ///     .table::<String, (String, i64)>("orders", "orders")
    ///     .group_by("by-customer", |_, (customer, cents)| (customer.clone(), *cents))
    ///     .reduce("totals", |sum, cents| sum + cents, |sum, cents| sum - cents)
    ///     .to("totals");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("orders", "o1", &("ann", 50), 1);
    /// driver.pipe("orders", "o2", &("ann", 20), 2);
    /// driver.pipe_bytes("orders", Some(b"o1"), None, 3);
    /// let totals = driver.read::<String, i64>("totals");
    /// let totals: Vec<_> = totals.into_iter().filter_map(|total| total.value).collect();
    /// assert_eq!(totals, [50, 70, 20]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn reduce(
        self,
        store: &str,
        add: impl Fn(V, &V) -> V + Send + Sync + 'static,
        subtract: impl Fn(V, &V) -> V + Send + Sync + 'static,
    ) -> Table<K, V>
    where
        V: Value,
    {
        let update = move |_: &K, change: &Change<V>, before: Option<V>| {
            let left = match (&change.old, before) {
                (Some(old), Some(before)) => Some(subtract(before, old)),
                (_, before) => before,
            };
            match (&change.new, left) {
                (Some(new), Some(left)) => Some(add(left, new)),
                (Some(new), None) => Some(new.clone()),
                (None, left) => left,
            }
        };
        self.update_with(store, json(), update)
    }

    /// Aggregates the rows of each group, in the store `store`, as JSON: `add` adds a row,
    /// `subtract` takes one away.
    ///
    /// ```
    /// use pipeline::TopologyBuilder;
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// builder
    ///     .table::<String, (String, i64)>("orders", "orders")
    ///     .group_by("by-customer", |_, (customer, cents)| (customer.clone(), *cents))
    ///     .aggregate("totals", || 0, |_, cents, sum| sum + cents, |_, cents, sum| sum - cents)
    ///     .to("totals");
    /// # builder.build()?;
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn aggregate<A: Value>(
        self,
        store: &str,
        initial: impl Fn() -> A + Send + Sync + 'static,
        add: impl Fn(&K, &V, A) -> A + Send + Sync + 'static,
        subtract: impl Fn(&K, &V, A) -> A + Send + Sync + 'static,
    ) -> Table<K, A> {
        self.update_with(store, json(), updates(initial, add, subtract))
    }

    /// As [`Self::aggregate`], stored by the codec of `stored`, the store's name and codec.
    ///
    /// ```
    /// use pipeline::codec::int64;
    /// use pipeline::TopologyBuilder;
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// builder
    ///     .table::<String, (String, i64)>("orders", "orders")
    ///     .group_by("by-customer", |_, (customer, cents)| (customer.clone(), *cents))
    ///     .aggregate_with(("totals", int64()), || 0, |_, c, sum| sum + c, |_, c, sum| sum - c)
    ///     .to_with("totals", int64());
    /// # builder.build()?;
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn aggregate_with<A: Clone + 'static>(
        self,
        stored: (&str, Serde<A>),
        initial: impl Fn() -> A + Send + Sync + 'static,
        add: impl Fn(&K, &V, A) -> A + Send + Sync + 'static,
        subtract: impl Fn(&K, &V, A) -> A + Send + Sync + 'static,
    ) -> Table<K, A> {
        self.update_with(stored.0, stored.1, updates(initial, add, subtract))
    }

    fn update_with<A: Clone + 'static>(
        self,
        store: &str,
        codec: Serde<A>,
        update: impl Fn(&K, &Change<V>, Option<A>) -> Option<A> + Send + Sync + 'static,
    ) -> Table<K, A> {
        let Self { changes } = self;
        let store = changes.graph.borrow_mut().add_store(store);
        let update = Arc::new(update);
        let node = changes.next_name("KTABLE-AGGREGATE");
        let read_codec = Arc::clone(&codec);
        let make = move |next| TableAggregate {
            node: node.clone(),
            store,
            update: Arc::clone(&update),
            codec: Arc::clone(&codec),
            key: Vec::new(),
            value: Vec::new(),
            next,
        };
        let changes = changes.then_with("KTABLE-AGGREGATE", vec![store], make);
        Table::stored(changes, store, read_codec, |key: &K, out: &mut Vec<u8>| key.encode(out))
    }
}

/// What an update does to an aggregate, `None` if there is none and nothing is added.
fn updates<K, V, A>(
    initial: impl Fn() -> A + Send + Sync + 'static,
    add: impl Fn(&K, &V, A) -> A + Send + Sync + 'static,
    subtract: impl Fn(&K, &V, A) -> A + Send + Sync + 'static,
) -> impl Fn(&K, &Change<V>, Option<A>) -> Option<A> + Send + Sync + 'static {
    move |key, change, before| {
        let left = match (&change.old, before) {
            (Some(old), Some(before)) => Some(subtract(key, old, before)),
            (_, before) => before,
        };
        match &change.new {
            Some(new) => Some(add(key, new, left.unwrap_or_else(&initial))),
            None => left,
        }
    }
}
