//! `group_by`, `group_by_key` and `repartition`.

use std::sync::Arc;
use std::time::Duration;

use super::aggregate;
use super::combine::{self, Merged};
use super::sink::Sink;
use crate::aggregates::Aggregator;
use crate::codec::{Serde, Value, json};
use crate::dsl::{Consumed, Stream, Table};
use crate::key::Key;
use crate::topology::{Target, TopicName, TopologyError};

/// A stream grouped by key, to be aggregated.
pub struct Grouped<K, V> {
    pub(super) stream: Stream<K, V>,
    /// The repartition topic's name; without one it is the store's.
    name: Option<String>,
    /// How many partial aggregates the sending side holds, if it makes any.
    combined: Option<usize>,
    /// After which time without a record a row leaves, if it does.
    expire_after: Option<Duration>,
}

impl<K: Key, V: Value> Stream<K, V> {
    /// Groups by the key. If it was changed before, the records go through a repartition topic
    /// named after the store.
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
    pub fn group_by_key(&self) -> Grouped<K, V> {
        Grouped { stream: self.clone(), name: None, combined: None, expire_after: None }
    }

    /// Groups by a new key, through the repartition topic `name`.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// builder
    ///     .stream::<String, i64>("sales")
    ///     .group_by("by-size", |_, pieces| pieces % 2)
    ///     .count("sales-of-size")
    ///     .to("out");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// for pieces in [3, 8, 5] {
    ///     driver.pipe("sales", "lamp", &pieces, 1);
    /// }
    /// let counts = driver.read::<i64, i64>("out");
    /// let counts: Vec<_> = counts.into_iter().map(|c| (c.key, c.value.unwrap())).collect();
    /// assert_eq!(counts, [(1, 1), (0, 1), (1, 2)]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn group_by<K2: Key>(
        &self,
        name: &str,
        select: impl Fn(&K, &V) -> K2 + Send + Sync + 'static,
    ) -> Grouped<K2, V> {
        let name = Some(name.to_owned());
        Grouped { stream: self.select_key(select), name, combined: None, expire_after: None }
    }

    /// Sends the records through the repartition topic `name` to where their keys are; values
    /// travel as JSON.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let stock = builder.table::<String, i64>("stock", "stock");
    /// builder
    ///     .stream::<String, String>("orders")
    ///     .select_key(|_, item| item.clone())
    ///     .repartition("orders-by-item")
    ///     .join(&stock, |_, _, pieces| *pieces)
    ///     .to("out");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("stock", "lamp", &3_i64, 1);
    /// driver.pipe("orders", "o1", &"lamp".to_owned(), 2);
    /// let out = driver.read::<String, i64>("out").into_iter();
    /// assert_eq!(out.filter_map(|record| record.value).collect::<Vec<_>>(), [3]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    #[must_use]
    pub fn repartition(&self, name: &str) -> Self {
        self.repartition_with(name, json())
    }
}

impl<K: Key, V: Clone + 'static> Stream<K, V> {
    /// Sends the records through the repartition topic `name`; values travel as `codec` says.
    ///
    /// ```
    /// use pipeline::TopologyBuilder;
    /// use pipeline::codec::int64;
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let sales = builder.stream::<String, i64>("sales").select_key(|_, n| n.to_string());
    /// sales.repartition_with("by-size", int64()).to("out");
    /// # builder.build()?;
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    #[must_use]
    pub fn repartition_with(&self, name: &str, codec: Serde<V>) -> Self {
        self.graph.borrow_mut().check_name("repartition", name);
        let target = Target::Repartition(name.to_owned());
        let sink = self.graph.borrow_mut().add_sink(self.node, target, false);
        let node = self.graph.borrow().sinks[sink.0].node;
        let node_name = self.graph.borrow().nodes[node].name.clone();
        let write = Arc::clone(&codec);
        self.end(node, move || Sink::new(node_name.clone(), sink, Arc::clone(&write)));
        let topic = TopicName::Repartition(name.to_owned());
        crate::dsl::add_source(&self.graph, topic, Consumed::with(codec))
    }
}

impl<K: Key, V: Clone + 'static> Stream<K, V> {
    /// As [`Self::repartition_with`], to where another input of the same tasks lies.
    pub(super) fn repartition_beside(&self, name: &str, codec: Serde<V>) -> Self {
        let stream = self.repartition_with(name, codec);
        let mut graph = stream.graph.borrow_mut();
        let source = graph.sources.iter_mut().find(|source| source.node == stream.node);
        source.expect("made just now").beside = true;
        drop(graph);
        stream
    }
}

impl<K: Key, V: Value> Grouped<K, V> {
    /// Aggregates partially before the repartition, if there is one: the records of a key within
    /// a commit become one, with at most `entries_max` keys held in memory. For keys of which few
    /// have most of the records. The aggregate must be able to merge; its results are the same,
    /// only their updates are fewer. Before windows of time or of a calendar the sending side also
    /// decides which records are late; before sliding windows and sessions, whose bounds depend on
    /// each record, it cannot be.
    ///
    /// ```
    /// use pipeline::TopologyBuilder;
    /// use pipeline::aggregates::Count;
    ///
    /// let builder = TopologyBuilder::new("visits");
    /// builder
    ///     .stream::<String, String>("visits")
    ///     .group_by("by-country", |_, country| country.clone())
    ///     .combined(10_000)
    ///     .aggregate_by("visits", Count)
    ///     .to("visits-by-country");
    /// # builder.build()?;
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    #[must_use]
    pub fn combined(mut self, entries_max: usize) -> Self {
        self.combined = Some(entries_max.max(1));
        self
    }

    /// Deletes a key's aggregate when no record of it has come for `after` of event time: what is
    /// finished leaves the store and all that is made of it. If the key comes again it begins anew.
    ///
    /// Times are rounded down to ten seconds, and rows leave with the records that follow, some
    /// with each. A record that is older than `after` when it comes is dropped if its key has no
    /// aggregate. Behind a repartition the clocks that decide depend on what has arrived, and the
    /// node is marked so. Windows close by themselves: they take `Table::expire_after` behind them.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("jobs");
    /// builder
    ///     .stream::<String, i64>("steps")
    ///     .group_by_key()
    ///     .expire_after(Duration::from_secs(60))
    ///     .count("jobs")
    ///     .to("jobs-under-way");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// for (job, at) in [("j1", 0), ("j1", 1_000), ("j2", 75_000)] {
    ///     driver.pipe("steps", job, &1_i64, at);
    /// }
    /// let jobs = driver.read::<String, i64>("jobs-under-way");
    /// let jobs: Vec<_> = jobs.iter().map(|r| (r.key.as_str(), r.value)).collect();
    /// assert_eq!(jobs, [("j1", Some(1)), ("j1", Some(2)), ("j2", Some(1)), ("j1", None)]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    #[must_use]
    pub fn expire_after(mut self, after: Duration) -> Self {
        self.expire_after = Some(after);
        self
    }

    /// The aggregate of each key as `aggregator` makes it, kept in `store`.
    pub(super) fn aggregated<G: Aggregator<K, V>>(
        self,
        store: &str,
        aggregator: G,
    ) -> Table<K, G::Output> {
        let expire_after = self.expire_after;
        if self.combines().is_none() {
            return aggregate::place(&self.partitioned(store), store, aggregator, expire_after);
        }
        let aggregator = Arc::new(aggregator);
        let partial = combine::place(&self, store, &aggregator);
        aggregate::place(&partial, store, Merged::<V, G>::new(aggregator), expire_after)
    }

    /// How many partial aggregates the sending side holds, if there is a sending side.
    pub(super) fn combines(&self) -> Option<usize> {
        self.combined.filter(|_| self.stream.rekeyed)
    }

    /// The name of the repartition topic before `store`.
    pub(super) fn topic<'a>(&'a self, store: &'a str) -> &'a str {
        self.name.as_deref().unwrap_or(store)
    }

    /// Notes an error if partial aggregates were asked for.
    pub(super) fn cannot_combine(&self) {
        if self.combined.is_some() {
            let node = self.stream.name();
            self.stream.graph.borrow_mut().errors.push(TopologyError::CombinedWindows { node });
        }
    }

    /// Notes an error if rows are to leave: windows close by themselves.
    pub(super) fn cannot_expire(&self) {
        if self.expire_after.is_some() {
            let node = self.stream.name();
            self.stream.graph.borrow_mut().errors.push(TopologyError::ExpiringWindows { node });
        }
    }

    /// Whether the group asks for more than to be aggregated.
    pub(super) fn has_options(&self) -> bool {
        self.combined.is_some() || self.expire_after.is_some()
    }

    /// The stream, with each record where its key is.
    pub(super) fn partitioned(self, store: &str) -> Stream<K, V> {
        if self.stream.rekeyed { self.stream.repartition(self.topic(store)) } else { self.stream }
    }
}
