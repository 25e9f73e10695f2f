//! Aggregates over tumbling windows.
//!
//! A record is late for a window when the window's end is at or before stream time less grace,
//! stream time taken after the record itself. Behind a repartition the record's own source clock
//! takes the place of stream time, so that lateness does not depend on what arrived when; windows
//! are forgotten by the smallest clock of all sources. Entries are keyed by window start, then
//! key; a value has the largest timestamp of its records in front.

use std::sync::Arc;

use super::group::Grouped;
use super::kind;
use super::stream_time::{Expiring, StreamTime, put_time, put_timestamp, split_timestamp};
use crate::codec::{Serde, Value, int64, json};
use crate::dsl::{Table, TimeWindows};
use crate::key::Key;
use crate::operator::{Fault, Next, Operator, Timed};
use crate::record::{Change, Record, Windowed};
use crate::task::Context;
use crate::topology::{StoreRef, TopologyError};

/// A grouped stream with windows: see [`Grouped::windowed_by`].
pub struct WindowedGroup<K, V> {
    pub(super) grouped: Grouped<K, V>,
    pub(super) windows: TimeWindows,
}

struct WindowAggregate<K, A, I, F> {
    node: String,
    store: StoreRef,
    windows: TimeWindows,
    functions: Arc<(I, F)>,
    codec: Serde<A>,
    time: StreamTime,
    expiring: Expiring,
    key: Vec<u8>,
    value: Vec<u8>,
    next: Next<Windowed<K>, Change<A>>,
}

impl<K, V, A, I, F> Operator<K, V> for WindowAggregate<K, A, I, F>
where
    K: Key,
    A: Clone,
    I: Fn() -> A,
    F: Fn(&K, &V, A) -> A,
{
    fn process(&mut self, record: Record<K, V>, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let Record { key, value, timestamp } = record;
        let window = self.windows.window_of(timestamp);
        self.key.clear();
        self.key.push(kind::ENTRY);
        put_time(&mut self.key, window.start);
        if !key.encode(&mut self.key) {
            ctx.count_dropped(&self.node, "null key");
            return Ok(());
        }
        let own = self.time.observe(timestamp, ctx)?;
        if self.windows.is_late(window, ctx.lateness_clock(own)) {
            ctx.count_dropped(&self.node, "late");
            return Ok(());
        }
        if window.start < self.expiring.purged_to() {
            ctx.count_dropped(&self.node, "idle");
            return Ok(());
        }
        let (seen, old) = self.stored(ctx)?;
        let (initial, add) = &*self.functions;
        let new = add(&key, &value, old.clone().unwrap_or_else(initial));
        let timestamp = timestamp.max(seen);
        self.store(timestamp, &new, ctx)?;
        let key = Windowed { key, window };
        let value = Change { new: Some(new), old };
        self.next.forward(Record { key, value, timestamp }, ctx)
    }
}

impl<K, A, I, F> WindowAggregate<K, A, I, F> {
    /// Timestamp and value under the current key.
    fn stored(&self, ctx: &mut Context<'_>) -> Result<(i64, Option<A>), Fault> {
        let codec = &self.codec;
        let read = ctx.read(self.store, &self.key, |stored| {
            let Some((timestamp, bytes)) = stored.and_then(split_timestamp) else {
                return Ok((i64::MIN, None));
            };
            codec.decode(Some(bytes)).map(|value| (timestamp, Some(value)))
        })?;
        read.map_err(|error| ctx.bad_state(&self.node, &error))
    }

    fn store(&mut self, timestamp: i64, new: &A, ctx: &mut Context<'_>) -> Result<(), Fault> {
        self.value.clear();
        put_timestamp(&mut self.value, timestamp);
        let encoded = self.codec.encode(new, &mut self.value);
        encoded.map_err(|error| ctx.bad_state(&self.node, &error))?;
        ctx.put(self.store, &self.key, &self.value);
        Ok(())
    }
}

impl<K, A, I, F> Timed for WindowAggregate<K, A, I, F> {
    fn advance(&mut self, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let own = self.time.get(ctx)?;
        self.time.save(ctx);
        let clock = ctx.closing_clock(own);
        if clock > i64::MIN {
            self.expiring.purge(self.windows.open_from(clock), ctx)?;
        }
        Ok(())
    }
}

impl<K: Key, V: Value> WindowedGroup<K, V> {
    /// Counts the records of each key and window, in the store `store`.
    pub fn count(self, store: &str) -> Table<Windowed<K>, i64> {
        self.aggregate_with(store, int64(), || 0, |_, _, count| count + 1)
    }

    /// Puts the records of each key and window together, in the store `store`.
    pub fn reduce(
        self,
        store: &str,
        add: impl Fn(V, &V) -> V + Send + Sync + 'static,
    ) -> Table<Windowed<K>, V> {
        let add = move |_: &K, value: &V, old: Option<V>| {
            Some(old.map_or_else(|| value.clone(), |old| add(old, value)))
        };
        let optional = self.aggregate_with(store, json(), || None, add);
        optional.map_values(|_, value: &Option<V>| value.clone().expect("a reduced key has one"))
    }

    /// Aggregates the records of each key and window, in the store `store`, as JSON.
    pub fn aggregate<A: Value>(
        self,
        store: &str,
        initial: impl Fn() -> A + Send + Sync + 'static,
        add: impl Fn(&K, &V, A) -> A + Send + Sync + 'static,
    ) -> Table<Windowed<K>, A> {
        self.aggregate_with(store, json(), initial, add)
    }

    /// Aggregates the records of each key and window, in the store `store`, stored by `codec`.
    pub fn aggregate_with<A: Clone + 'static>(
        self,
        store: &str,
        codec: Serde<A>,
        initial: impl Fn() -> A + Send + Sync + 'static,
        add: impl Fn(&K, &V, A) -> A + Send + Sync + 'static,
    ) -> Table<Windowed<K>, A> {
        let Self { grouped, windows } = self;
        let stream = grouped.partitioned(store);
        let (size_ms, grace_ms) = (windows.size_ms, windows.grace_ms);
        if size_ms <= 0 || grace_ms < 0 || size_ms.checked_add(grace_ms).is_none() {
            let error = TopologyError::Window { size_ms, grace_ms };
            stream.graph.borrow_mut().errors.push(error);
        }
        let store = stream.graph.borrow_mut().add_store(store);
        let functions = Arc::new((initial, add));
        let node = stream.next_name("KSTREAM-AGGREGATE");
        let read_codec = Arc::clone(&codec);
        let changes =
            stream.then_timed("KSTREAM-AGGREGATE", vec![store], move |next| WindowAggregate {
                node: node.clone(),
                store,
                windows,
                functions: Arc::clone(&functions),
                codec: Arc::clone(&codec),
                time: StreamTime::new(store),
                expiring: Expiring::new(store),
                key: Vec::new(),
                value: Vec::new(),
                next,
            });
        let key_of = |key: &Windowed<K>, out: &mut Vec<u8>| {
            put_time(out, key.window.start);
            key.key.encode(out)
        };
        Table::stored(changes, store, read_codec, key_of)
    }
}
