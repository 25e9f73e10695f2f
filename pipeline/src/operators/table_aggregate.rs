//! Aggregates of grouped tables: what a row was is taken away before what it is now is added.
//!
//! Updates of one group come from rows in several partitions, in no order among them: what is
//! added and taken away must come to the same in any order, as sums do.

use std::sync::Arc;

use super::kind;
use super::stored::Stored;
use super::table_group::GroupedTable;
use crate::aggregates::{Aggregator, Count, Fold, Reduce, Retract};
use crate::codec::{Serde, Value, json};
use crate::dsl::Table;
use crate::key::Key;
use crate::operator::{Fault, Next, Operator};
use crate::record::{Change, Record};
use crate::task::Context;
use crate::topology::TopologyError;

struct TableAggregate<K, V, G: Aggregator<K, V>> {
    aggregator: Arc<G>,
    retract: Retract<G, K, V, G::State>,
    stored: Stored<G::State>,
    key: Vec<u8>,
    next: Next<K, Change<G::Output>>,
}

impl<K: Key, V, G: Aggregator<K, V>> Operator<K, Change<V>> for TableAggregate<K, V, G> {
    fn process(
        &mut self,
        record: Record<K, Change<V>>,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let Record { key, value: change, timestamp } = record;
        self.key.clear();
        self.key.push(kind::ENTRY);
        if !key.encode(&mut self.key) {
            ctx.count_dropped(self.stored.node(), "null key");
            return Ok(());
        }
        let aggregator = &*self.aggregator;
        let (seen, state) = self.stored.get(&self.key, ctx)?.unzip();
        let old = state.as_ref().map(|state| aggregator.output(state));
        let left = match (state, &change.old) {
            (Some(state), Some(old)) => Some((self.retract)(aggregator, &key, state, old)),
            (state, _) => state,
        };
        let add = |new: &V, left: Option<G::State>| {
            let left = left.unwrap_or_else(|| aggregator.init());
            aggregator.add(left, &key, new, ctx.at(timestamp))
        };
        let state = match &change.new {
            Some(new) => Some(add(new, left)),
            None => left,
        };
        // What was never added is taken away: there is nothing to tell.
        let Some(state) = state else { return Ok(()) };
        let timestamp = seen.map_or(timestamp, |seen| timestamp.max(seen));
        self.stored.put(&self.key, timestamp, &state, ctx)?;
        let value = Change { new: Some(self.aggregator.output(&state)), old };
        self.next.forward(Record { key, value, timestamp }, ctx)
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
        self.aggregate_by(store, Count)
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
        self.aggregate_by(store, Reduce::new(add).with_retract(subtract))
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
        self.aggregate_with((store, json()), initial, add, subtract)
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
        let (store, codec) = stored;
        let subtract = move |key: &K, value: &V, state: A| subtract(key, value, state);
        self.aggregate_by(store, Fold::new(codec, initial, add).with_retract(subtract))
    }

    /// Aggregates the rows of each group as `aggregator` does, in the store `store`. It must be
    /// able to retract: a row that changes or goes is taken out.
    ///
    /// ```
    /// use pipeline::aggregates::Average;
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// builder
    ///     .table::<String, (String, i64)>("orders", "orders")
    ///     .group_by("by-customer", |_, (customer, cents)| (customer.clone(), *cents))
    ///     .aggregate_by("averages", Average::of(|cents: &i64| *cents))
    ///     .to("averages");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("orders", "o1", &("ann", 50), 1);
    /// driver.pipe("orders", "o2", &("ann", 20), 2);
    /// driver.pipe("orders", "o1", &("ann", 70), 3);
    /// let averages = driver.read::<String, Option<f64>>("averages");
    /// assert_eq!(averages.last().unwrap().value, Some(Some(45.0)));
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn aggregate_by<G: Aggregator<K, V>>(
        self,
        store: &str,
        aggregator: G,
    ) -> Table<K, G::Output> {
        let Self { changes } = self;
        let node = changes.next_name("KTABLE-AGGREGATE");
        let retract = aggregator.retract();
        if retract.is_none() {
            let error = TopologyError::NeedsRetract { node: node.clone() };
            changes.graph.borrow_mut().errors.push(error);
        }
        let store = changes.graph.borrow_mut().add_store(store);
        let (codec, aggregator) = (aggregator.codec(), Arc::new(aggregator));
        let (shown, read_codec) = (Arc::clone(&aggregator), Arc::clone(&codec));
        let changes =
            changes.then_with("KTABLE-AGGREGATE", vec![store], move |next| TableAggregate {
                aggregator: Arc::clone(&aggregator),
                retract: retract.expect("a topology whose aggregate has none is not built"),
                stored: Stored::new(node.clone(), store, Arc::clone(&codec)),
                key: Vec::new(),
                next,
            });
        let key_of = |key: &K, out: &mut Vec<u8>| key.encode(out);
        Table::stored_as(changes, (store, read_codec), key_of, move |state| shown.output(state))
    }
}
