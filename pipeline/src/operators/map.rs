//! `map`, `map_values`, `flat_map`, `flat_map_values`, `select_key` and `refine_key` on streams.

use std::sync::Arc;

use crate::dsl::Stream;
use crate::operator::{Fault, Next, Operator};
use crate::record::{Record, RecordInfo};
use crate::task::Context;

/// Makes of each record any number of records.
struct FlatMap<K2, V2, F> {
    map: Arc<F>,
    next: Next<K2, V2>,
}

impl<K, V, K2, V2, I, F> Operator<K, V> for FlatMap<K2, V2, F>
where
    K2: Clone,
    V2: Clone,
    I: IntoIterator<Item = (K2, V2)>,
    F: Fn(K, V) -> I,
{
    fn process(&mut self, record: Record<K, V>, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let timestamp = record.timestamp;
        for (key, value) in (self.map)(record.key, record.value) {
            self.next.forward(Record { key, value, timestamp }, ctx)?;
        }
        Ok(())
    }
}

/// Makes of each value any number of values; the key stays.
struct FlatMapValues<K, V2, F> {
    map: Arc<F>,
    next: Next<K, V2>,
}

impl<K, V, V2, I, F> Operator<K, V> for FlatMapValues<K, V2, F>
where
    K: Clone,
    V2: Clone,
    I: IntoIterator<Item = V2>,
    F: Fn(&K, V) -> I,
{
    fn process(&mut self, record: Record<K, V>, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let Record { key, value, timestamp } = record;
        for value in (self.map)(&key, value) {
            self.next.forward(Record { key: key.clone(), value, timestamp }, ctx)?;
        }
        Ok(())
    }
}

/// Replaces each value; the key stays.
struct MapValues<K, V2, F> {
    map: Arc<F>,
    next: Next<K, V2>,
}

impl<K, V, V2, F> Operator<K, V> for MapValues<K, V2, F>
where
    K: Clone,
    V2: Clone,
    F: Fn(&K, V) -> V2,
{
    fn process(&mut self, record: Record<K, V>, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let Record { key, value, timestamp } = record;
        let value = (self.map)(&key, value);
        self.next.forward(Record { key, value, timestamp }, ctx)
    }
}

/// Replaces each value, knowing what else is known of its record; the key stays.
struct MapValuesWithInfo<K, V2, F> {
    map: Arc<F>,
    next: Next<K, V2>,
}

impl<K, V, V2, F> Operator<K, V> for MapValuesWithInfo<K, V2, F>
where
    K: Clone,
    V2: Clone,
    F: Fn(&K, V, RecordInfo<'_>) -> V2,
{
    fn process(&mut self, record: Record<K, V>, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let Record { key, value, timestamp } = record;
        let value = (self.map)(&key, value, RecordInfo::new(timestamp, ctx));
        self.next.forward(Record { key, value, timestamp }, ctx)
    }
}

impl<K: Clone + 'static, V: Clone + 'static> Stream<K, V> {
    /// Makes a new key and value of each record. Grouping after it repartitions.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// builder.stream::<String, i64>("sales").map(|item, n| (n.to_string(), item)).to("out");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// for pieces in [3, 8] {
    ///     driver.pipe("sales", "lamp", &pieces, 1);
    /// }
    /// let items = driver.read::<String, String>("out");
    /// assert_eq!((items[0].key.as_str(), items[0].value.as_deref()), ("3", Some("lamp")));
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn map<K2: Clone + 'static, V2: Clone + 'static>(
        &self,
        map: impl Fn(K, V) -> (K2, V2) + Send + Sync + 'static,
    ) -> Stream<K2, V2> {
        let map = Arc::new(move |key, value| Some(map(key, value)));
        self.then("KSTREAM-MAP", move |next| FlatMap { map: Arc::clone(&map), next })
            .with_rekeyed(true)
    }

    /// Makes a new value of each record.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// builder.stream::<String, i64>("sales").map_values(|_, pieces| pieces * 2).to("out");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// for pieces in [3, 8] {
    ///     driver.pipe("sales", "lamp", &pieces, 1);
    /// }
    /// let out = driver.read::<String, i64>("out").into_iter();
    /// assert_eq!(out.filter_map(|record| record.value).collect::<Vec<_>>(), [6, 16]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn map_values<V2: Clone + 'static>(
        &self,
        map: impl Fn(&K, V) -> V2 + Send + Sync + 'static,
    ) -> Stream<K, V2> {
        let map = Arc::new(map);
        self.then("KSTREAM-MAPVALUES", move |next| MapValues { map: Arc::clone(&map), next })
    }

    /// Makes a new value of each record; `map` is also told the record's time and event id.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// builder
    ///     .stream::<String, i64>("sales")
    ///     .map_values_with_info(|_, _, info| info.timestamp)
    ///     .to("out");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// for pieces in [3, 8] {
    ///     driver.pipe("sales", "lamp", &pieces, 1);
    /// }
    /// let out = driver.read::<String, i64>("out").into_iter();
    /// assert_eq!(out.filter_map(|record| record.value).collect::<Vec<_>>(), [1, 1]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn map_values_with_info<V2: Clone + 'static>(
        &self,
        map: impl Fn(&K, V, RecordInfo<'_>) -> V2 + Send + Sync + 'static,
    ) -> Stream<K, V2> {
        let map = Arc::new(map);
        self.then("KSTREAM-MAPVALUES", move |next| MapValuesWithInfo {
            map: Arc::clone(&map),
            next,
        })
    }

    /// Makes any number of records of each. Grouping after it repartitions.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// builder
    ///     .stream::<String, i64>("sales")
    ///     .flat_map(|item, n| (0..n).map(move |part| (format!("{item}-{part}"), part)))
    ///     .to("out");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("sales", "lamp", &2_i64, 1);
    /// let parts = driver.read::<String, i64>("out");
    /// assert_eq!((parts.len(), parts[1].key.as_str()), (2, "lamp-1"));
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn flat_map<K2: Clone + 'static, V2: Clone + 'static, I: IntoIterator<Item = (K2, V2)>>(
        &self,
        map: impl Fn(K, V) -> I + Send + Sync + 'static,
    ) -> Stream<K2, V2> {
        let map = Arc::new(map);
        self.then("KSTREAM-FLATMAP", move |next| FlatMap { map: Arc::clone(&map), next })
            .with_rekeyed(true)
    }

    /// Makes any number of values of each; the key stays.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// builder.stream::<String, i64>("sales").flat_map_values(|_, n| 0..n).to("out");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("sales", "lamp", &3_i64, 1);
    /// let out = driver.read::<String, i64>("out").into_iter();
    /// assert_eq!(out.filter_map(|record| record.value).collect::<Vec<_>>(), [0, 1, 2]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn flat_map_values<V2: Clone + 'static, I: IntoIterator<Item = V2>>(
        &self,
        map: impl Fn(&K, V) -> I + Send + Sync + 'static,
    ) -> Stream<K, V2> {
        let map = Arc::new(map);
        self.then("KSTREAM-FLATMAPVALUES", move |next| FlatMapValues {
            map: Arc::clone(&map),
            next,
        })
    }

    /// Gives each record a new key. Grouping after it repartitions.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// builder.stream::<String, i64>("sales").select_key(|_, n| n.to_string()).to("out");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// for pieces in [3, 8] {
    ///     driver.pipe("sales", "lamp", &pieces, 1);
    /// }
    /// assert_eq!(driver.read::<String, i64>("out")[0].key, "3");
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn select_key<K2: Clone + 'static>(
        &self,
        select: impl Fn(&K, &V) -> K2 + Send + Sync + 'static,
    ) -> Stream<K2, V> {
        let map = Arc::new(move |key, value| {
            let selected = select(&key, &value);
            Some((selected, value))
        });
        self.then("KSTREAM-KEY-SELECT", move |next| FlatMap { map: Arc::clone(&map), next })
            .with_rekeyed(true)
    }

    /// Gives each record a more detailed key: one from which the old key can be told, as
    /// (host, address) tells the host. Then all records of a new key lie in one partition already,
    /// and grouping after it does **not** repartition. That is the caller's promise: under a key
    /// that says less than the old one, each partition would have a result of its own.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// builder
    ///     .stream::<String, i64>("sales")
    ///     .refine_key(|item, n| format!("{item}/{n}"))
    ///     .group_by_key()
    ///     .count("sales-of-size")
    ///     .to("out");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// for pieces in [3, 8] {
    ///     driver.pipe("sales", "lamp", &pieces, 1);
    /// }
    /// assert_eq!(driver.read::<String, i64>("out")[0].key, "lamp/3");
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn refine_key<K2: Clone + 'static>(
        &self,
        refine: impl Fn(&K, &V) -> K2 + Send + Sync + 'static,
    ) -> Stream<K2, V> {
        let map = Arc::new(move |key, value| {
            let refined = refine(&key, &value);
            Some((refined, value))
        });
        self.then("KSTREAM-KEY-REFINE", move |next| FlatMap { map: Arc::clone(&map), next })
    }
}
