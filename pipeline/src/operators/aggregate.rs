//! Aggregates without windows: for each key over all time.

use std::sync::Arc;
use std::time::Duration;

use super::dedup::period_ms;
use super::expiry::Expiry;
use super::group::Grouped;
use super::kind;
use super::stored::Stored;
use crate::aggregates::{Aggregator, Count, Fold, Reduce};
use crate::codec::{Serde, Value, json};
use crate::dsl::{Stream, Table};
use crate::key::Key;
use crate::operator::{Fault, Next, Operator, Timed};
use crate::record::{Change, Record};
use crate::task::Context;

struct Aggregate<K, V, G: Aggregator<K, V>> {
    aggregator: Arc<G>,
    stored: Stored<G::State>,
    /// When rows leave, if they do.
    expiry: Option<Expiry>,
    key: Vec<u8>,
    next: Next<K, Change<G::Output>>,
}

impl<K: Key, V, G: Aggregator<K, V>> Operator<K, V> for Aggregate<K, V, G> {
    fn process(&mut self, record: Record<K, V>, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let Some(expiry) = &mut self.expiry else { return self.add(record, None, ctx) };
        let kept_from = expiry.observe(record.timestamp, ctx)?;
        self.add(record, Some(kept_from), ctx)?;
        self.take_out(kept_from, ctx)
    }
}

impl<K: Key, V, G: Aggregator<K, V>> Aggregate<K, V, G> {
    /// Adds a record to its row. Rows that have not changed since `kept_from` have had their time.
    fn add(
        &mut self,
        record: Record<K, V>,
        kept_from: Option<i64>,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let Record { key, value, timestamp } = record;
        self.key.clear();
        self.key.push(kind::ENTRY);
        if !key.encode(&mut self.key) {
            ctx.count_dropped(self.stored.node(), "null key");
            return Ok(());
        }
        let (seen, state) = self.stored.get(&self.key, ctx)?.unzip();
        if state.is_none() && kept_from.is_some_and(|kept_from| timestamp < kept_from) {
            ctx.count_dropped(self.stored.node(), "late");
            return Ok(());
        }
        let old = state.as_ref().map(|state| self.aggregator.output(state));
        let state = state.unwrap_or_else(|| self.aggregator.init());
        let state = self.aggregator.add(state, &key, &value, ctx.at(timestamp));
        let timestamp = seen.map_or(timestamp, |seen| timestamp.max(seen));
        self.stored.put(&self.key, timestamp, &state, ctx)?;
        if let Some(expiry) = &mut self.expiry {
            expiry.moved(&self.key, (seen, timestamp), ctx);
        }
        let value = Change { new: Some(self.aggregator.output(&state)), old };
        self.next.forward(Record { key, value, timestamp }, ctx)
    }

    /// Deletes some of the rows whose time is over.
    fn take_out(&mut self, kept_from: i64, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let Some(expiry) = &mut self.expiry else { return Ok(()) };
        for row in expiry.take(kept_from, ctx)? {
            let found = self.stored.get(&row, ctx)?;
            let Some((timestamp, state)) = found.filter(|(seen, _)| *seen < kept_from) else {
                continue;
            };
            self.stored.delete(&row, ctx);
            let key = K::decode(Some(&row[1..]))
                .map_err(|error| ctx.bad_state(self.stored.node(), &error))?;
            let value = Change { new: None, old: Some(self.aggregator.output(&state)) };
            ctx.made_by_time(|ctx| self.next.forward(Record { key, value, timestamp }, ctx))?;
        }
        Ok(())
    }
}

impl<K: Key, V, G: Aggregator<K, V>> Timed for Aggregate<K, V, G> {
    fn advance(&mut self, ctx: &mut Context<'_>) -> Result<(), Fault> {
        if let Some(expiry) = &mut self.expiry {
            expiry.save(ctx);
        }
        Ok(())
    }
}

impl<K: Key, V: Value> Grouped<K, V> {
    /// Counts the records of each key, in the store `store`.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// builder.stream::<String, i64>("sales").group_by_key().count("sales").to("out");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// for pieces in [3, 8] {
    ///     driver.pipe("sales", "lamp", &pieces, 1);
    /// }
    /// let out = driver.read::<String, i64>("out").into_iter();
    /// assert_eq!(out.filter_map(|record| record.value).collect::<Vec<_>>(), [1, 2]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn count(self, store: &str) -> Table<K, i64> {
        self.aggregate_by(store, Count)
    }

    /// Puts the records of each key together, in the store `store`.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let sales = builder.stream::<String, i64>("sales").group_by_key();
    /// sales.reduce("pieces", |sum, pieces| sum + pieces).to("out");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// for pieces in [3, 8] {
    ///     driver.pipe("sales", "lamp", &pieces, 1);
    /// }
    /// let out = driver.read::<String, i64>("out").into_iter();
    /// assert_eq!(out.filter_map(|record| record.value).collect::<Vec<_>>(), [3, 11]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn reduce(
        self,
        store: &str,
        add: impl Fn(V, &V) -> V + Send + Sync + 'static,
    ) -> Table<K, V> {
        self.aggregate_by(store, Reduce::new(add))
    }

    /// Aggregates the records of each key, in the store `store`, as JSON.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let sales = builder.stream::<String, i64>("sales").group_by_key();
    /// sales.aggregate("all", Vec::new, |_, n, all: Vec<i64>| [all, vec![*n]].concat()).to("out");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// for pieces in [3, 8] {
    ///     driver.pipe("sales", "lamp", &pieces, 1);
    /// }
    /// let out = driver.read::<String, Vec<i64>>("out").into_iter();
    /// let all: Vec<_> = out.filter_map(|record| record.value).collect();
    /// assert_eq!(all, [vec![3], vec![3, 8]]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn aggregate<A: Value>(
        self,
        store: &str,
        initial: impl Fn() -> A + Send + Sync + 'static,
        add: impl Fn(&K, &V, A) -> A + Send + Sync + 'static,
    ) -> Table<K, A> {
        self.aggregate_with(store, json(), initial, add)
    }

    /// Aggregates the records of each key, in the store `store`, stored by `codec`.
    ///
    /// ```
    /// use pipeline::TopologyBuilder;
    /// use pipeline::codec::int64;
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let sales = builder.stream::<String, i64>("sales").group_by_key();
    /// sales.aggregate_with("pieces", int64(), || 0, |_, n, sum| sum + n).to_with("out", int64());
    /// # builder.build()?;
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
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

/// Places an aggregate behind `stream`, whose records lie where their keys are; its rows leave
/// after a while, if they do.
pub(super) fn place<K: Key, V: Clone + 'static, G: Aggregator<K, V>>(
    stream: &Stream<K, V>,
    store: &str,
    aggregator: G,
    expire_after: Option<Duration>,
) -> Table<K, G::Output> {
    const KIND: &str = "KSTREAM-AGGREGATE";
    let (store, behind_ms) = {
        let mut graph = stream.graph.borrow_mut();
        (graph.add_store(store), graph.delay_ms(stream.node))
    };
    let aggregator = Arc::new(aggregator);
    let (node, codec) = (stream.next_name(KIND), aggregator.codec());
    let (shown, read_codec) = (Arc::clone(&aggregator), Arc::clone(&codec));
    let make = move |next| Aggregate {
        aggregator: Arc::clone(&aggregator),
        stored: Stored::new(node.clone(), store, Arc::clone(&codec)),
        expiry: expire_after.map(|after| Expiry::new(store, period_ms(after), behind_ms)),
        key: Vec::new(),
        next,
    };
    let changes = match expire_after {
        None => stream.then_with(KIND, vec![store], make),
        Some(_) => {
            let changes = stream.then_timed(KIND, vec![store], make);
            if behind_a_repartition(stream) { changes.mark_arrival_order() } else { changes }
        }
    };
    let key_of = |key: &K, out: &mut Vec<u8>| key.encode(out);
    Table::stored_as(changes, (store, read_codec), key_of, move |state| shown.output(state))
}

fn behind_a_repartition<K, V>(stream: &Stream<K, V>) -> bool {
    let graph = stream.graph.borrow();
    let sources = graph.sources_above(stream.node);
    sources.iter().any(|source| graph.sources[*source].topic.external().is_none())
}
