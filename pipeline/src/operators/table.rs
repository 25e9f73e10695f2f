//! `filter`, `map_values` and `to_stream` on tables, and looking values up.

use std::sync::Arc;

use super::kind;
use super::stream_time::split_timestamp;
use crate::codec::Serde;
use crate::dsl::{Lookup, Stamped, Stream, Table};
use crate::operator::{Fault, Next, Operator};
use crate::record::{Change, Record};
use crate::task::Context;
use crate::topology::StoreRef;

/// Turns each update into another one, or into none.
struct MapChange<K, V2, F> {
    map: Arc<F>,
    next: Next<K, V2>,
}

impl<K, V, V2, F> Operator<K, V> for MapChange<K, V2, F>
where
    K: Clone,
    V2: Clone,
    F: Fn(&K, V) -> Option<V2>,
{
    fn process(&mut self, record: Record<K, V>, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let Record { key, value, timestamp } = record;
        match (self.map)(&key, value) {
            Some(value) => self.next.forward(Record { key, value, timestamp }, ctx),
            None => Ok(()),
        }
    }
}

impl<K: Clone + 'static, V: Clone + 'static> Table<K, V> {
    /// A table whose values lie in `store` as `codec` writes them, behind their timestamp;
    /// `key_of` appends the bytes of a key, false if it has none.
    pub(crate) fn stored(
        changes: Stream<K, Change<V>>,
        store: StoreRef,
        codec: Serde<V>,
        key_of: impl Fn(&K, &mut Vec<u8>) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self::stored_as(changes, (store, codec), key_of, V::clone)
    }

    /// A table whose values nobody keeps: it cannot be looked into.
    pub(crate) fn not_kept(changes: Stream<K, Change<V>>) -> Self {
        Self { changes, lookup: Arc::new(|_, _| Ok(None)), stores: vec![StoreRef::NONE] }
    }

    /// As [`Self::stored`], for a store whose values `show` makes the table's of.
    pub(crate) fn stored_as<S: 'static>(
        changes: Stream<K, Change<V>>,
        (store, codec): (StoreRef, Serde<S>),
        key_of: impl Fn(&K, &mut Vec<u8>) -> bool + Send + Sync + 'static,
        show: impl Fn(&S) -> V + Send + Sync + 'static,
    ) -> Self {
        let node = changes.name();
        let lookup = move |key: &K, ctx: &mut Context<'_>| -> Result<Option<Stamped<V>>, Fault> {
            let mut bytes = vec![kind::ENTRY];
            if !key_of(key, &mut bytes) {
                return Ok(None);
            }
            let found = ctx.read(store, &bytes, |stored| {
                let stamped = |(timestamp, bytes): (i64, &[u8])| {
                    codec
                        .decode(Some(bytes))
                        .map(|state| Stamped { value: show(&state), timestamp })
                };
                stored.and_then(split_timestamp).map(stamped).transpose()
            })?;
            found.map_err(|error| ctx.bad_state(&node, &error))
        };
        Self { changes, lookup: Arc::new(lookup), stores: vec![store] }
    }

    /// Keeps the keys whose value `keep` says true of; a key that stops to be kept is deleted. A key
    /// that was not kept before has nothing to delete.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let stock = builder.table::<String, i64>("stock", "stock");
    /// stock.filter(|_, pieces| *pieces < 5).to("scarce");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// for pieces in [9, 3, 7, 8] {
    ///     driver.pipe("stock", "lamp", &pieces, pieces);
    /// }
    /// let scarce = driver.read::<String, i64>("scarce");
    /// assert_eq!(scarce.iter().map(|record| record.value).collect::<Vec<_>>(), [Some(3), None]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    #[must_use]
    pub fn filter(&self, keep: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> Self {
        let keep = Arc::new(keep);
        let kept = Arc::clone(&keep);
        let map = Arc::new(move |key: &K, change: Change<V>| {
            let keeps = |value: &V| kept(key, value);
            let change = Change { new: change.new.filter(keeps), old: change.old.filter(keeps) };
            (change.new.is_some() || change.old.is_some()).then_some(change)
        });
        let changes = self
            .changes
            .then("KTABLE-FILTER", move |next| MapChange { map: Arc::clone(&map), next });
        let parent = Arc::clone(&self.lookup);
        let lookup: Lookup<K, V> =
            Arc::new(move |key, ctx| Ok(parent(key, ctx)?.filter(|found| keep(key, &found.value))));
        Self { changes, lookup, stores: self.stores.clone() }
    }

    /// Replaces each value.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let stock = builder.table::<String, i64>("stock", "stock");
    /// stock.map_values(|_, pieces| format!("{pieces} left")).to("texts");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("stock", "lamp", &3_i64, 1);
    /// driver.pipe_bytes("stock", Some(b"lamp"), None, 2);
    /// let texts = driver.read::<String, String>("texts");
    /// assert_eq!(texts[0].value.as_deref(), Some("3 left"));
    /// assert_eq!(texts[1].value, None);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn map_values<V2: Clone + 'static>(
        &self,
        map: impl Fn(&K, &V) -> V2 + Send + Sync + 'static,
    ) -> Table<K, V2> {
        let map = Arc::new(map);
        let mapped = Arc::clone(&map);
        let map_change = Arc::new(move |key: &K, change: Change<V>| {
            let map = |value: V| mapped(key, &value);
            Some(Change { new: change.new.map(map), old: change.old.map(map) })
        });
        let changes = self
            .changes
            .then("KTABLE-MAPVALUES", move |next| MapChange { map: Arc::clone(&map_change), next });
        let parent = Arc::clone(&self.lookup);
        let lookup: Lookup<K, V2> = Arc::new(move |key, ctx| {
            let mapped = |found: Stamped<V>| Stamped {
                value: map(key, &found.value),
                timestamp: found.timestamp,
            };
            Ok(parent(key, ctx)?.map(mapped))
        });
        Table { changes, lookup, stores: self.stores.clone() }
    }

    /// The new values as a stream. Deletions are left out: see
    /// [`Self::to_stream_with_tombstones`].
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let stock = builder.table::<String, i64>("stock", "stock");
    /// stock.to_stream().to("updates");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("stock", "lamp", &3_i64, 1);
    /// driver.pipe_bytes("stock", Some(b"lamp"), None, 2);
    /// assert_eq!(driver.read::<String, i64>("updates").len(), 1);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn to_stream(&self) -> Stream<K, V> {
        let map = Arc::new(|_: &K, change: Change<V>| change.new);
        self.changes.then("KTABLE-TOSTREAM", move |next| MapChange { map: Arc::clone(&map), next })
    }

    /// The new values as a stream; a deletion is `None`.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let stock = builder.table::<String, i64>("stock", "stock");
    /// stock
    ///     .to_stream_with_tombstones()
    ///     .map_values(|_, pieces: Option<i64>| pieces.unwrap_or(0))
    ///     .to("updates");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("stock", "lamp", &3_i64, 1);
    /// driver.pipe_bytes("stock", Some(b"lamp"), None, 2);
    /// let updates = driver.read::<String, i64>("updates");
    /// assert_eq!(updates.iter().map(|record| record.value).collect::<Vec<_>>(), [Some(3), Some(0)]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn to_stream_with_tombstones(&self) -> Stream<K, Option<V>> {
        let map = Arc::new(|_: &K, change: Change<V>| Some(change.new));
        self.changes.then("KTABLE-TOSTREAM", move |next| MapChange { map: Arc::clone(&map), next })
    }
}
