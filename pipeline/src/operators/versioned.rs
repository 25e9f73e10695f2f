//! Tables that remember what their rows were: for joins as of a record's time (KIP-889).
//!
//! An update is valid from its own timestamp to the next one of its row, whatever the order in
//! which they come. What is older than the history, counted from the newest update, is forgotten;
//! an update older than that changes nothing and is counted as late. The newest version of a row is
//! never forgotten, however old it is. Only updates that are the latest of their row are updates of
//! the table; others complete its history.
//!
//! Behind a repartition updates of a row that are valid from the same time are all kept, each with
//! its source's clock: a join leaves out what was read too late for it, and must find what it would
//! have found if that had not come yet. The one that was read last counts, in the order of clock,
//! source, partition and offset. Elsewhere the last to arrive replaces the others.
//!
//! **Format.** Numbers big-endian, times ordered, newest first; a key has its length in front.
//! ```text
//! meta  t                             stream time
//! entry 0  version = length key  valid from [clock source partition offset]
//!                                     source clock, then 1 and the value, or 0
//! entry 1  time  version              nothing: from `time` on nobody asks for older versions
//! ```

use std::sync::Arc;
use std::time::Duration;

use super::kind;
use super::stream_time::{StreamTime, put_time};
use crate::aggregates::At;
use crate::codec::{CodecError, Serde, Value, json, nullable};
use crate::dsl::{Consumed, Lookup, Stamped, Stream, Table, TopologyBuilder};
use crate::key::Key;
use crate::operator::{Fault, Next, Operator, Timed};
use crate::record::{Change, Record};
use crate::task::Context;
use crate::topology::StoreRef;

const VERSION: u8 = 0;
const EXPIRY: u8 = 1;
/// Of a version's key, what stands behind the row's: two times, source, partition and offset.
const VERSION_BYTES_MAX: usize = 8 + 8 + 2 + 4 + 8;
/// Versions that are read at once.
const PAGE: usize = 64;
/// Versions forgotten in one commit at most, so that a commit stays short.
const PURGED_MAX: usize = 20_000;

/// A table with the history of its rows: see [`TopologyBuilder::table_versioned`].
pub struct VersionedTable<K, V> {
    table: Table<K, V>,
    pub(super) as_of: LookupAsOf<K, V>,
    pub(super) history_ms: i64,
    pub(super) name: String,
}

/// Finds what a row was.
pub(super) type LookupAsOf<K, V> =
    Arc<dyn Fn(&K, Moment, &mut Context<'_>) -> Result<Option<V>, Fault> + Send + Sync>;

/// What is asked of a history.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// The time that the row is wanted of.
    pub(super) at: i64,
    /// Updates that were read later than this, by their own source's clock, are left out.
    pub(super) read_until: i64,
    /// Behind a repartition, the clock of whoever asks: history is counted back from it.
    pub(super) clock: Option<i64>,
}

/// One version of a row.
struct Version<V> {
    from: i64,
    clock: i64,
    value: Option<V>,
}

impl<K: Clone + 'static, V: Clone + 'static> VersionedTable<K, V> {
    /// The table as it is now.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let hour = Duration::from_secs(3600);
    /// let rates = builder.table_versioned::<String, f64>("rates", "rates", hour);
    /// rates.latest().to("latest-rates");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("rates", "EUR", &1.1, 2_000);
    /// driver.pipe("rates", "EUR", &1.0, 1_000);
    /// let latest = driver.read::<String, f64>("latest-rates");
    /// assert_eq!(latest.iter().map(|rate| rate.value).collect::<Vec<_>>(), [Some(1.1)]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    #[must_use]
    pub fn latest(&self) -> Table<K, V> {
        self.table.clone()
    }
}

impl TopologyBuilder {
    /// Reads `topic` as a table that remembers, in `store`, what its rows were for `history` back
    /// from its newest update; values are JSON, a null value deletes. Streams are joined with it
    /// as of their records' times: [`Stream::join_as_of`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use pipeline::TopologyBuilder;
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let hour = Duration::from_secs(3600);
    /// let rates = builder.table_versioned::<String, f64>("rates", "rates", hour);
    /// # builder.build()?;
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn table_versioned<K: Key, V: Value>(
        &self,
        topic: &str,
        store: &str,
        history: Duration,
    ) -> VersionedTable<K, V> {
        let consumed = Consumed::with(nullable(json::<V>()));
        self.stream_with::<K, Option<V>>(topic, consumed).materialize_versioned(store, history)
    }
}

impl<K: Key, V: Value> Stream<K, Option<V>> {
    /// Reads the stream as a table that remembers what its rows were: see
    /// [`TopologyBuilder::table_versioned`]. `None` deletes.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pipeline::TopologyBuilder;
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let hour = Duration::from_secs(3600);
    /// let rates = builder
    ///     .stream::<String, f64>("rates")
    ///     .map_values(|_, rate| (rate > 0.0).then_some(rate))
    ///     .materialize_versioned("rates", hour);
    /// # builder.build()?;
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn materialize_versioned(&self, store: &str, history: Duration) -> VersionedTable<K, V> {
        self.needs_partitioning();
        let name = store.to_owned();
        let history_ms = i64::try_from(history.as_millis()).unwrap_or(i64::MAX);
        let codec: Serde<V> = json();
        let store = self.graph.borrow_mut().add_store(store);
        let node = self.next_name("KTABLE-SOURCE");
        let versions = Versions { node, store, codec };
        let (read, make) = (versions.clone(), versions);
        let changes = self.then_timed("KTABLE-SOURCE", vec![store], move |next| Versioned {
            versions: make.clone(),
            history_ms,
            time: StreamTime::new(store),
            horizon: i64::MIN,
            purged_to: i64::MIN,
            next,
        });
        let latest = read.clone();
        let lookup: Lookup<K, V> = Arc::new(move |key, ctx| {
            let Some(prefix) = prefix(key) else { return Ok(None) };
            let newest = latest.newest(&prefix, i64::MAX, i64::MAX, ctx)?;
            Ok(newest.and_then(|version| {
                Some(Stamped { value: version.value?, timestamp: version.from })
            }))
        });
        let as_of: LookupAsOf<K, V> = Arc::new(move |key, moment, ctx| {
            let Some(prefix) = prefix(key) else { return Ok(None) };
            let version = read.as_of(&prefix, moment, history_ms, ctx)?;
            Ok(version.and_then(|version| version.value))
        });
        VersionedTable {
            table: Table { changes, lookup, stores: vec![store] },
            as_of,
            history_ms,
            name,
        }
    }
}

impl<K, V> VersionedTable<K, V> {
    pub(super) fn stores(&self) -> &[StoreRef] {
        &self.table.stores
    }

    pub(super) fn changes(&self) -> &Stream<K, Change<V>> {
        &self.table.changes
    }
}

/// The versions of all rows in their store.
struct Versions<V> {
    node: String,
    store: StoreRef,
    codec: Serde<V>,
}

impl<V> Clone for Versions<V> {
    fn clone(&self) -> Self {
        Self { node: self.node.clone(), store: self.store, codec: Arc::clone(&self.codec) }
    }
}

impl<V> Versions<V> {
    /// What a row was, as far as the table remembers.
    fn as_of(
        &self,
        prefix: &[u8],
        Moment { at, read_until, clock }: Moment,
        history_ms: i64,
        ctx: &mut Context<'_>,
    ) -> Result<Option<Version<V>>, Fault> {
        let now = clock.map_or_else(|| StreamTime::new(self.store).get(ctx), Ok)?;
        if at >= now.saturating_sub(history_ms) {
            return self.newest(prefix, at, read_until, ctx);
        }
        if read_until < i64::MAX {
            // Which version was the newest then depends on what has been forgotten since.
            return Ok(None);
        }
        let newest = self.newest(prefix, i64::MAX, i64::MAX, ctx)?;
        Ok(newest.filter(|version| version.from <= at))
    }

    /// The newest version of a row that is valid from `at` or before, of those read until
    /// `read_until`.
    fn newest(
        &self,
        prefix: &[u8],
        at: i64,
        read_until: i64,
        ctx: &Context<'_>,
    ) -> Result<Option<Version<V>>, Fault> {
        let (mut from, to) = (version_key(prefix, at), end_of(prefix));
        let mut limit = 1;
        loop {
            let page = ctx.scan(self.store, (&from, &to), limit)?;
            for (key, stored) in &page {
                let version = self.decode(prefix, key, stored, ctx)?;
                if version.clock <= read_until {
                    return Ok(Some(version));
                }
            }
            match page.last() {
                Some((last, _)) if page.len() == limit => from = past(last),
                _ => return Ok(None),
            }
            limit = PAGE;
        }
    }

    /// The version at `key`, or the one before it.
    fn at_or_before(&self, key: &[u8], ctx: &Context<'_>) -> Result<Option<Version<V>>, Fault> {
        let prefix = prefix_of(key);
        let found = ctx.scan(self.store, (key, &end_of(prefix)), 1)?;
        found.first().map(|(key, stored)| self.decode(prefix, key, stored, ctx)).transpose()
    }

    fn decode(
        &self,
        prefix: &[u8],
        key: &[u8],
        stored: &[u8],
        ctx: &Context<'_>,
    ) -> Result<Version<V>, Fault> {
        let bad = || CodecError::new("not a version of a row");
        let decoded = stored.split_first_chunk::<8>().ok_or_else(bad).and_then(|(clock, rest)| {
            let (present, value) = rest.split_first().ok_or_else(bad)?;
            let value = (*present == 1).then(|| self.codec.decode(Some(value))).transpose()?;
            let from = !time_at(key, prefix.len());
            Ok(Version { from, clock: i64::from_be_bytes(*clock), value })
        });
        decoded.map_err(|error| ctx.bad_state(&self.node, &error))
    }

    fn put(&self, key: &[u8], version: &Version<V>, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let mut stored = version.clock.to_be_bytes().to_vec();
        stored.push(version.value.is_some().into());
        if let Some(value) = &version.value {
            let encoded = self.codec.encode(value, &mut stored);
            encoded.map_err(|error| ctx.bad_state(&self.node, &error))?;
        }
        ctx.put(self.store, key, &stored);
        Ok(())
    }

    /// Forgets what was before the version at `key`, and that too if it is a deletion: without it
    /// there is nothing just the same.
    fn forget_before(&self, key: &[u8], ctx: &mut Context<'_>) -> Result<(), Fault> {
        let (mut from, to) = (past(key), end_of(prefix_of(key)));
        loop {
            let page = ctx.scan(self.store, (&from, &to), PAGE)?;
            for (older, _) in &page {
                ctx.delete(self.store, older);
            }
            match page.last() {
                Some((last, _)) if page.len() == PAGE => from = past(last),
                _ => break,
            }
        }
        let is_deletion =
            |stored: Option<&[u8]>| stored.is_some_and(|stored| stored.get(8) == Some(&0));
        if ctx.read(self.store, key, is_deletion)? {
            ctx.delete(self.store, key);
        }
        Ok(())
    }
}

/// Takes in the updates.
struct Versioned<K, V> {
    versions: Versions<V>,
    history_ms: i64,
    time: StreamTime,
    /// What was valid until then can be forgotten: as of the commit before, so that who asks at
    /// the end of this one finds what there was.
    horizon: i64,
    purged_to: i64,
    next: Next<K, Change<V>>,
}

impl<K: Key, V: Clone> Operator<K, Option<V>> for Versioned<K, V> {
    fn process(
        &mut self,
        record: Record<K, Option<V>>,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let Record { key, value, timestamp } = record;
        let Some(prefix) = prefix(&key) else {
            ctx.count_dropped(&self.versions.node, "null key");
            return Ok(());
        };
        let before = self.time.get(ctx)?;
        let own = self.time.observe(timestamp, ctx)?;
        if own > before {
            // Who looks a row up reads it from the store.
            self.time.save(ctx);
        }
        if timestamp < ctx.lateness_clock(own).saturating_sub(self.history_ms) {
            ctx.count_dropped(&self.versions.node, "late");
            return Ok(());
        }
        let clock = ctx.source_clock().unwrap_or(timestamp);
        let (store, mut at, mut known) =
            (self.versions.store, version_key(&prefix, timestamp), timestamp);
        if ctx.sources_clock().is_some() {
            put_place(&mut at, clock, ctx.at(timestamp));
            // Until then somebody may ask who leaves this version out, and wants the one before.
            known = clock;
        }
        let is_newest = ctx.scan(store, (&prefix, &at), 1)?.is_empty();
        let before = if is_newest { self.versions.at_or_before(&at, ctx)? } else { None };
        let version = Version { from: timestamp, clock, value };
        self.versions.put(&at, &version, ctx)?;
        ctx.put(store, &expiry_key(known, &at), &[]);
        if !is_newest {
            return Ok(());
        }
        let value = Change { new: version.value, old: before.and_then(|before| before.value) };
        self.next.forward(Record { key, value, timestamp }, ctx)
    }
}

impl<K, V> Timed for Versioned<K, V> {
    fn advance(&mut self, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let own = self.time.get(ctx)?;
        self.time.save(ctx);
        let horizon = self.horizon;
        self.horizon = ctx.closing_clock(own).saturating_sub(self.history_ms);
        if horizon <= self.purged_to {
            return Ok(());
        }
        let store = self.versions.store;
        let (from, to) = (expiry_bound(self.purged_to), expiry_bound(horizon.saturating_add(1)));
        let gone = ctx.scan(store, (&from, &to), PURGED_MAX)?;
        for (expiry, _) in &gone {
            ctx.delete(store, expiry);
            self.versions.forget_before(&version_of(expiry), ctx)?;
        }
        if gone.len() < PURGED_MAX {
            self.purged_to = horizon;
        }
        Ok(())
    }
}

/// What the keys of a row's versions begin with; `None` if the key is null.
fn prefix(key: &impl Key) -> Option<Vec<u8>> {
    let mut bytes = vec![kind::ENTRY, VERSION, 0, 0, 0, 0];
    if !key.encode(&mut bytes) {
        return None;
    }
    let length = u32::try_from(bytes.len() - 6).expect("a record is far smaller than 4 GiB");
    bytes[2..6].copy_from_slice(&length.to_be_bytes());
    Some(bytes)
}

/// What a version's key begins with.
fn prefix_of(version_key: &[u8]) -> &[u8] {
    let length = version_key[2..6].try_into().expect("a length has four bytes");
    &version_key[..6 + u32::from_be_bytes(length) as usize]
}

/// Behind all versions of a row.
fn end_of(prefix: &[u8]) -> Vec<u8> {
    [prefix, &[0xff; VERSION_BYTES_MAX + 1]].concat()
}

/// Newer versions come first: before all that are valid from `from`.
fn version_key(prefix: &[u8], from: i64) -> Vec<u8> {
    let mut key = prefix.to_vec();
    put_time(&mut key, !from);
    key
}

/// Appends where an update comes from, the one that was read last first.
fn put_place(key: &mut Vec<u8>, clock: i64, at: At) {
    put_time(key, !clock);
    key.extend_from_slice(&(!at.source).to_be_bytes());
    key.extend_from_slice(&(!at.partition).to_be_bytes());
    key.extend_from_slice(&(!at.offset).to_be_bytes());
}

/// The first key after `key`.
fn past(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

fn expiry_bound(time: i64) -> Vec<u8> {
    let mut key = vec![kind::ENTRY, EXPIRY];
    put_time(&mut key, time);
    key
}

fn expiry_key(time: i64, version_key: &[u8]) -> Vec<u8> {
    let mut key = expiry_bound(time);
    key.extend_from_slice(&version_key[2..]);
    key
}

/// The key of the version that an expiry is of.
fn version_of(expiry: &[u8]) -> Vec<u8> {
    [&[kind::ENTRY, VERSION], &expiry[10..]].concat()
}

fn time_at(key: &[u8], at: usize) -> i64 {
    let bytes: [u8; 8] = key[at..at + 8].try_into().expect("every key has its times");
    i64::from_be_bytes(bytes) ^ i64::MIN
}
