//! Joins of a stream with a versioned table, as of the records' times: inner and left (KIP-914).
//!
//! A record meets the value that was valid at its timestamp. With a grace (KIP-923) it waits that
//! long for updates that come late: until the stream has gone on by the grace, as in Kafka
//! Streams; behind a repartition until all sources have, and then the result does not depend on
//! what arrived first.
//!
//! A record without a key meets nothing and does not wait.
//!
//! Records of the same time are given out by key, then in the order of their arrival, as in Kafka
//! Streams.
//!
//! **Format.** Meta `n`: stream time, last number. Entry: timestamp, bytes of the key, number to
//! source clock, value.

use std::sync::Arc;
use std::time::Duration;

use stores::state::Entry;

use super::kind;
use super::stream_time::put_time;
use super::versioned::{LookupAsOf, Moment, VersionedTable};
use crate::codec::{CodecError, Serde, Value, json};
use crate::dsl::Stream;
use crate::key::Key;
use crate::operator::{Fault, Next, Operator, Timed};
use crate::record::Record;
use crate::task::{Context, Remembered};
use crate::topology::{StoreRef, TopologyError};

/// Records that are taken out at once.
const PAGE: usize = 64;
const META: &[u8] = &[kind::META, b'n'];
/// An entry begins with its kind and a time, and ends with a number.
const TIME_END: usize = 9;
const NUMBER_BYTES: usize = 8;

/// How long the records of a stream wait for updates of a versioned table.
pub struct JoinGrace<V> {
    kept: Option<(String, i64, Serde<V>)>,
}

impl<V> JoinGrace<V> {
    /// Not at all: a record meets what has come before it.
    ///
    /// There is an example at [`Self::named`].
    pub fn none() -> Self {
        Self { kept: None }
    }

    /// For `grace`, in the store `store`, kept by `codec`.
    ///
    /// There is an example at [`Self::named`].
    pub fn with(store: &str, grace: Duration, codec: Serde<V>) -> Self {
        let grace_ms = i64::try_from(grace.as_millis()).unwrap_or(i64::MAX);
        Self { kept: Some((store.to_owned(), grace_ms, codec)) }
    }
}

impl<V: Value> JoinGrace<V> {
    /// For `grace`, in the store `store`, kept as JSON.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pipeline::{JoinGrace, TopologyBuilder};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let hour = Duration::from_secs(3600);
    /// let rates = builder.table_versioned::<String, i64>("rates", "rates", hour);
    /// let orders = builder.stream::<String, i64>("orders");
    /// let grace = JoinGrace::named("waiting-orders", hour);
    /// orders.join_as_of(&rates, grace, |_, cents, rate| cents * rate).to("worth");
    /// # builder.build()?;
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn named(store: &str, grace: Duration) -> Self {
        Self::with(store, grace, json())
    }
}

struct AsOfJoin<K, V, T, W, F> {
    node: String,
    as_of: LookupAsOf<K, T>,
    join: Arc<F>,
    waiting: Option<Waiting<V>>,
    next: Next<K, W>,
}

/// The records that wait.
struct Waiting<V> {
    store: StoreRef,
    grace_ms: i64,
    /// Results that time makes before this node lie so far behind the clocks of the sources.
    behind_ms: i64,
    codec: Serde<V>,
    /// Stream time.
    now: Remembered,
    /// The last record's number.
    number: Remembered,
    /// What the store has of both; `None` until read.
    saved: Option<(i64, i64)>,
    /// Nothing that waits is older.
    from: Remembered,
}

impl<K, V, T, W, F> Operator<K, V> for AsOfJoin<K, V, T, W, F>
where
    K: Key,
    W: Clone,
    F: Fn(&K, &V, Option<&T>) -> Option<W>,
{
    fn process(&mut self, record: Record<K, V>, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let mut entry = bound(record.timestamp);
        if !record.key.encode(&mut entry) {
            return self.hand_on_alone(record, ctx);
        }
        let clock = ctx.source_clock().unwrap_or(record.timestamp);
        let Some(waiting) = &mut self.waiting else {
            return self.join(record, clock, ctx);
        };
        let now = waiting.observe(record.timestamp, ctx)?;
        let over = match waiting.closing(ctx) {
            None => record.timestamp < now.saturating_sub(waiting.grace_ms),
            Some(closing) => waiting.closes_at(record.timestamp) < closing,
        };
        if over {
            self.join(record, clock, ctx)?;
        } else if let Err(error) = waiting.add(entry, &record.value, clock, ctx) {
            return Err(ctx.bad_state(&self.node, &error));
        }
        if ctx.sources_clock().is_none() {
            return self.release(now.saturating_add(1), ctx);
        }
        Ok(())
    }
}

impl<K, V, T, W, F> AsOfJoin<K, V, T, W, F>
where
    K: Key,
    W: Clone,
    F: Fn(&K, &V, Option<&T>) -> Option<W>,
{
    /// A record without a key.
    fn hand_on_alone(&self, record: Record<K, V>, ctx: &mut Context<'_>) -> Result<(), Fault> {
        match (self.join)(&record.key, &record.value, None) {
            Some(value) => self.next.forward(record.with_value(value), ctx),
            None => {
                ctx.count_dropped(&self.node, "null key");
                Ok(())
            }
        }
    }

    fn join(&self, record: Record<K, V>, clock: i64, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let at = record.timestamp;
        let read_until = match &self.waiting {
            Some(waiting) if ctx.sources_clock().is_some() => waiting.closes_at(at),
            _ => i64::MAX,
        };
        let moment = Moment { at, read_until, clock: ctx.sources_clock().map(|_| clock) };
        let found = (self.as_of)(&record.key, moment, ctx)?;
        match (self.join)(&record.key, &record.value, found.as_ref()) {
            Some(value) => self.next.forward(record.with_value(value), ctx),
            None => Ok(()),
        }
    }

    /// Joins what waits and closes before `clock`, in the order of time.
    fn release(&mut self, clock: i64, ctx: &mut Context<'_>) -> Result<(), Fault> {
        while let Some(waiting) = &mut self.waiting {
            let due = waiting.take_due(clock, ctx)?;
            let due = due.into_iter().map(|(key, stored)| waiting.decode(&key, &stored));
            let due = due.collect::<Result<Vec<_>, _>>();
            let due = due.map_err(|error| ctx.bad_state(&self.node, &error))?;
            if due.is_empty() {
                return Ok(());
            }
            for (record, clock) in due {
                ctx.made_by_time(|ctx| self.join(record, clock, ctx))?;
            }
        }
        Ok(())
    }
}

impl<V> Waiting<V> {
    /// Reads what the store has of time and numbers, once.
    fn load(&mut self, ctx: &Context<'_>) -> Result<(), Fault> {
        if self.saved.is_none() {
            let stored = ctx.read(self.store, META, |stored| {
                let (now, number) = stored?.split_first_chunk::<8>()?;
                let number = number.try_into().ok()?;
                Some((i64::from_be_bytes(*now), i64::from_be_bytes(number)))
            })?;
            let (now, number) = stored.unwrap_or((i64::MIN, 0));
            self.now.load(now);
            self.number.load(number);
            self.saved = Some((now, number));
        }
        Ok(())
    }

    /// Takes in a record's timestamp; answers with stream time after it.
    fn observe(&mut self, timestamp: i64, ctx: &mut Context<'_>) -> Result<i64, Fault> {
        self.load(ctx)?;
        let now = self.now.get().max(timestamp);
        self.now.set(now, ctx);
        Ok(now)
    }

    fn save(&mut self, ctx: &mut Context<'_>) {
        let (now, number) = (self.now.get(), self.number.get());
        if self.saved.is_some_and(|saved| saved != (now, number)) {
            let stored = [now.to_be_bytes(), number.to_be_bytes()].concat();
            ctx.put(self.store, META, &stored);
            self.saved = Some((now, number));
        }
    }

    /// Behind a repartition: what comes from now on has a later clock.
    fn closing(&self, ctx: &Context<'_>) -> Option<i64> {
        ctx.sources_clock().map(|clock| clock.saturating_sub(self.behind_ms))
    }

    /// Until when a record waits.
    fn closes_at(&self, timestamp: i64) -> i64 {
        timestamp.saturating_add(self.grace_ms)
    }

    /// Adds a record; its entry's key so far has time and key.
    fn add(
        &mut self,
        mut entry: Vec<u8>,
        value: &V,
        clock: i64,
        ctx: &mut Context<'_>,
    ) -> Result<(), CodecError> {
        let number = self.number.get() + 1;
        self.number.set(number, ctx);
        self.from.set(self.from.get().min(time_of(&entry)), ctx);
        entry.extend_from_slice(&number.to_be_bytes());
        let mut stored = clock.to_be_bytes().to_vec();
        self.codec.encode(value, &mut stored)?;
        ctx.put(self.store, &entry, &stored);
        Ok(())
    }

    /// Takes some of the records that close before `clock`, the oldest first.
    fn take_due(&mut self, clock: i64, ctx: &mut Context<'_>) -> Result<Vec<Entry>, Fault> {
        let to = clock.saturating_sub(self.grace_ms);
        if self.from.get() >= to {
            return Ok(Vec::new());
        }
        let due = ctx.scan(self.store, (&bound(self.from.get()), &bound(to)), PAGE)?;
        for (key, _) in &due {
            ctx.delete(self.store, key);
        }
        let from = match due.last() {
            Some((last, _)) if due.len() == PAGE => time_of(last),
            _ => to,
        };
        self.from.set(from, ctx);
        Ok(due)
    }

    fn decode<K: Key>(&self, at: &[u8], stored: &[u8]) -> Result<(Record<K, V>, i64), CodecError> {
        let bad = || CodecError::new("not a record that waits");
        let (clock, value) = stored.split_first_chunk::<8>().ok_or_else(bad)?;
        let key = at.get(TIME_END..at.len().saturating_sub(NUMBER_BYTES)).ok_or_else(bad)?;
        let key = K::decode(Some(key))?;
        let value = self.codec.decode(Some(value))?;
        let record = Record { key, value, timestamp: time_of(at) };
        Ok((record, i64::from_be_bytes(*clock)))
    }
}

fn bound(time: i64) -> Vec<u8> {
    let mut key = vec![kind::ENTRY];
    put_time(&mut key, time);
    key
}

fn time_of(key: &[u8]) -> i64 {
    super::stream_time::time_of(key)
}

impl<K, V, T, W, F> Timed for AsOfJoin<K, V, T, W, F>
where
    K: Key,
    W: Clone,
    F: Fn(&K, &V, Option<&T>) -> Option<W>,
{
    fn advance(&mut self, ctx: &mut Context<'_>) -> Result<(), Fault> {
        if let Some(closing) = self.waiting.as_ref().and_then(|waiting| waiting.closing(ctx)) {
            self.release(closing, ctx)?;
        }
        if let Some(waiting) = &mut self.waiting {
            waiting.save(ctx);
        }
        Ok(())
    }
}

impl<K: Key, V: Clone + 'static> Stream<K, V> {
    /// Joins each record with what the table's row of its key was at the record's time; records
    /// without one are left out.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pipeline::{JoinGrace, TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let hour = Duration::from_secs(3600);
    /// let rates = builder.table_versioned::<String, i64>("rates", "rates", hour);
    /// let grace = JoinGrace::named("waiting-orders", Duration::from_secs(10));
    /// builder
    ///     .stream::<String, i64>("orders")
    ///     .join_as_of(&rates, grace, |_, cents, rate| cents * rate)
    ///     .to("worth");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("rates", "EUR", &2_i64, 1_000);
    /// driver.pipe("orders", "EUR", &100_i64, 4_000);
    /// driver.pipe("rates", "EUR", &4_i64, 5_000);
    /// driver.pipe("rates", "EUR", &3_i64, 3_000); // late, and in time
    /// driver.pipe("orders", "EUR", &100_i64, 14_000);
    /// let worth = driver.read::<String, i64>("worth");
    /// assert_eq!((worth[0].value, worth[0].timestamp), (Some(300), 4_000));
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn join_as_of<T: Clone + 'static, W: Clone + 'static>(
        &self,
        table: &VersionedTable<K, T>,
        grace: JoinGrace<V>,
        join: impl Fn(&K, &V, &T) -> W + Send + Sync + 'static,
    ) -> Stream<K, W> {
        let inner =
            move |key: &K, value: &V, found: Option<&T>| found.map(|found| join(key, value, found));
        self.join_versions("KSTREAM-JOIN", table, grace, inner)
    }

    /// As [`Self::join_as_of`]; a record without a row is joined with none.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pipeline::{JoinGrace, TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let hour = Duration::from_secs(3600);
    /// let rates = builder.table_versioned::<String, i64>("rates", "rates", hour);
    /// builder
    ///     .stream::<String, i64>("orders")
    ///     .left_join_as_of(&rates, JoinGrace::none(), |_, cents, rate| rate.map(|r| cents * r))
    ///     .to("worth");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("rates", "EUR", &2_i64, 1_000);
    /// driver.pipe("orders", "EUR", &100_i64, 999);
    /// driver.pipe("orders", "EUR", &100_i64, 1_000);
    /// let worth = driver.read::<String, Option<i64>>("worth");
    /// let worth: Vec<_> = worth.into_iter().map(|record| record.value.unwrap()).collect();
    /// assert_eq!(worth, [None, Some(200)]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn left_join_as_of<T: Clone + 'static, W: Clone + 'static>(
        &self,
        table: &VersionedTable<K, T>,
        grace: JoinGrace<V>,
        join: impl Fn(&K, &V, Option<&T>) -> W + Send + Sync + 'static,
    ) -> Stream<K, W> {
        let left = move |key: &K, value: &V, found: Option<&T>| Some(join(key, value, found));
        self.join_versions("KSTREAM-LEFTJOIN", table, grace, left)
    }

    fn join_versions<T: Clone + 'static, W: Clone + 'static>(
        &self,
        kind: &str,
        table: &VersionedTable<K, T>,
        grace: JoinGrace<V>,
        join: impl Fn(&K, &V, Option<&T>) -> Option<W> + Send + Sync + 'static,
    ) -> Stream<K, W> {
        self.needs_partitioning();
        self.needs_same_builder(&table.changes().graph);
        let waits = grace.kept.is_some();
        let kept = grace.kept.map(|(store, grace_ms, codec)| {
            self.needs_history(kind, table, grace_ms);
            (self.graph.borrow_mut().add_store(&store), grace_ms, codec)
        });
        let mut stores = table.stores().to_vec();
        stores.extend(kept.iter().map(|(store, ..)| *store));
        let (node, join) = (self.next_name(kind), Arc::new(join));
        let as_of = Arc::clone(&table.as_of);
        let depends = !waits || !self.has_clocks(table);
        let delay_ms = kept.as_ref().map_or(0, |(_, grace_ms, _)| *grace_ms);
        let behind_ms = {
            let graph = self.graph.borrow();
            graph.delay_ms(self.node).max(graph.delay_ms(table.changes().node))
        };
        let joined = self.then_timed(kind, stores, move |next| AsOfJoin {
            node: node.clone(),
            as_of: Arc::clone(&as_of),
            join: Arc::clone(&join),
            waiting: kept.as_ref().map(|(store, grace_ms, codec)| Waiting {
                store: *store,
                grace_ms: *grace_ms,
                behind_ms,
                codec: Arc::clone(codec),
                now: Remembered::new(i64::MIN),
                number: Remembered::new(0),
                saved: None,
                from: Remembered::new(i64::MIN),
            }),
            next,
        });
        self.graph.borrow_mut().nodes[joined.node].delay_ms = delay_ms;
        if depends { joined.mark_arrival_order() } else { joined }
    }

    /// Notes an error if records wait for longer than the table remembers.
    fn needs_history<T>(&self, kind: &str, table: &VersionedTable<K, T>, grace_ms: i64) {
        if grace_ms > table.history_ms {
            let (node, store) = (self.next_name(kind), table.name.clone());
            let error = TopologyError::GraceBeyondHistory {
                node,
                grace_ms,
                store,
                history_ms: table.history_ms,
            };
            self.graph.borrow_mut().errors.push(error);
        }
    }

    /// Whether the join's records come with source clocks: one side is behind a repartition.
    fn has_clocks<T>(&self, table: &VersionedTable<K, T>) -> bool {
        let graph = self.graph.borrow();
        let mut sources = graph.sources_above(self.node);
        sources.extend(graph.sources_above(table.changes().node));
        sources.iter().any(|source| graph.sources[*source].topic.external().is_none())
    }
}

#[cfg(test)]
mod tests;
