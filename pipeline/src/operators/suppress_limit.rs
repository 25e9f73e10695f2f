//! `suppress` until a time limit: a buffer in a store, ordered by the time of the first update that
//! is held back, then key.
//!
//! A later update of a key replaces the one before and does not wait longer than that. Two kinds of
//! entries lie in the store: what is held back, by time; and for each key the time that it is under.

use std::sync::Arc;
use std::time::Duration;

use super::kind;
use super::stream_time::put_time;
use super::suppress::BufferConfig;
use super::window_time::WindowTime;
use crate::codec::{CodecError, Serde};
use crate::dsl::{Lookup, Stamped, Table};
use crate::key::Key;
use crate::log::record::{put_varint, take_slice};
use crate::operator::{Fault, Next, Operator, Timed};
use crate::record::{Change, Record};
use crate::task::{Context, Remembered};
use crate::topology::StoreRef;

/// The entries that are looked at together.
const READ_MAX: usize = 1_000;

/// The meta entry with the size of the buffer.
const SIZE: &[u8] = &[kind::META, b'b'];

/// What is held back for a key.
struct Held<V> {
    timestamp: i64,
    change: Change<V>,
}

/// How much is held back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Size {
    records: u64,
    bytes: u64,
}

struct SuppressLimit<K, V> {
    limit_ms: i64,
    buffer: BufferConfig,
    held: HeldStore<V>,
    time: WindowTime,
    /// The records and bytes that are held back.
    size: [Remembered; 2],
    /// What the store has of them; `None` until it was read.
    saved: Option<Size>,
    next: Next<K, Change<V>>,
}

/// Reads and writes what is held back.
struct HeldStore<V> {
    node: String,
    store: StoreRef,
    codec: Serde<V>,
    /// The entry with the time of a key.
    under: Vec<u8>,
    /// The entry with what is held back.
    entry: Vec<u8>,
    value: Vec<u8>,
    part: Vec<u8>,
}

impl<K: Key, V: Clone + 'static> Operator<K, Change<V>> for SuppressLimit<K, V> {
    fn process(
        &mut self,
        record: Record<K, Change<V>>,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        if !self.held.set_key(&record.key) {
            ctx.count_dropped(&self.held.node, "null key");
            return Ok(());
        }
        if record.value.is_empty() {
            return Ok(());
        }
        let clocks = self.time.observe(record.timestamp, ctx)?;
        let mut size = self.size(ctx)?;
        let Record { value: Change { new, mut old }, timestamp, .. } = record;
        match self.held.time(ctx)? {
            Some(time) => {
                self.held.set_time(time);
                let (before, bytes) = self.held.get(ctx)?;
                size.bytes = size.bytes.saturating_sub(bytes);
                old = before.change.old;
            }
            None => {
                self.held.set_time(timestamp);
                ctx.put(self.held.store, &self.held.under, &timestamp.to_be_bytes());
                size.records += 1;
            }
        }
        size.bytes += self.held.put(&Held { timestamp, change: Change { new, old } }, ctx)?;
        self.set_size(size, ctx);
        self.release(clocks.closing, ctx)
    }
}

impl<K: Key, V: Clone + 'static> SuppressLimit<K, V> {
    /// Tells of what has waited long enough when time is `clock`, and of what is too much.
    fn release(&mut self, clock: i64, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let due = clock.saturating_sub(self.limit_ms);
        loop {
            let size = self.size(ctx)?;
            if size.records == 0 {
                return Ok(());
            }
            let full = size.records > self.buffer.records_max || size.bytes > self.buffer.bytes_max;
            // When full, one at a time: each may be the last that is too much.
            let limit = if full { 1 } else { READ_MAX };
            let to = if full { i64::MAX } else { due.saturating_add(1) };
            let range = (range_key(i64::MIN), range_key(to));
            let found = ctx.scan(self.held.store, (&range.0, &range.1), limit)?;
            for (entry, value) in &found {
                self.tell(entry, value, ctx)?;
            }
            if !full && found.len() < READ_MAX {
                return Ok(());
            }
        }
    }

    fn tell(&mut self, entry: &[u8], value: &[u8], ctx: &mut Context<'_>) -> Result<(), Fault> {
        let bytes = &entry[KEY_AT..];
        let key = K::decode(Some(bytes)).map_err(|e| ctx.bad_state(&self.held.node, &e))?;
        let Held { timestamp, change: value_of } = self.held.decode(value, ctx)?;
        self.held.set_key(&key);
        ctx.delete(self.held.store, entry);
        ctx.delete(self.held.store, &self.held.under);
        let mut size = self.size(ctx)?;
        size.records = size.records.saturating_sub(1);
        size.bytes = size.bytes.saturating_sub((entry.len() + value.len()) as u64);
        self.set_size(size, ctx);
        ctx.made_by_time(|ctx| self.next.forward(Record { key, value: value_of, timestamp }, ctx))
    }

    fn size(&mut self, ctx: &Context<'_>) -> Result<Size, Fault> {
        if self.saved.is_some() {
            let [records, bytes] = &self.size;
            let (records, bytes) = (records.get().cast_unsigned(), bytes.get().cast_unsigned());
            return Ok(Size { records, bytes });
        }
        let stored = ctx.read(self.held.store, SIZE, |value| {
            let (records, bytes) = value?.split_first_chunk::<8>()?;
            let bytes = u64::from_be_bytes(bytes.try_into().ok()?);
            Some(Size { records: u64::from_be_bytes(*records), bytes })
        })?;
        let size = stored.unwrap_or_default();
        self.size[0].load(size.records.cast_signed());
        self.size[1].load(size.bytes.cast_signed());
        self.saved = Some(size);
        Ok(size)
    }

    fn set_size(&mut self, size: Size, ctx: &mut Context<'_>) {
        self.size[0].set(size.records.cast_signed(), ctx);
        self.size[1].set(size.bytes.cast_signed(), ctx);
    }
}

impl<K: Key, V: Clone + 'static> Timed for SuppressLimit<K, V> {
    fn advance(&mut self, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let closing = self.time.closing(ctx)?;
        if closing > i64::MIN {
            self.release(closing, ctx)?;
        }
        self.time.save(ctx);
        let size = self.size(ctx)?;
        if self.saved != Some(size) {
            let value = [size.records.to_be_bytes(), size.bytes.to_be_bytes()].concat();
            // An empty buffer leaves nothing: the store does not tell when commits happened.
            if size == Size::default() {
                ctx.delete(self.held.store, SIZE);
            } else {
                ctx.put(self.held.store, SIZE, &value);
            }
            self.saved = Some(size);
        }
        Ok(())
    }
}

impl<V> HeldStore<V> {
    /// The next calls are about `key`; false if it is null.
    fn set_key<K: Key>(&mut self, key: &K) -> bool {
        self.under.clear();
        self.under.push(kind::DUE);
        key.encode(&mut self.under)
    }

    /// The next calls are about what is held back under `time`.
    fn set_time(&mut self, time: i64) {
        self.entry.clear();
        self.entry.push(kind::ENTRY);
        put_time(&mut self.entry, time);
        self.entry.extend_from_slice(&self.under[1..]);
    }

    /// The time that the key is held back under.
    fn time(&self, ctx: &Context<'_>) -> Result<Option<i64>, Fault> {
        let found = ctx.read(self.store, &self.under, |value| {
            value.and_then(|bytes| Some(i64::from_be_bytes(bytes.try_into().ok()?)))
        })?;
        Ok(found)
    }

    /// What is held back, and how many bytes it takes.
    fn get(&self, ctx: &Context<'_>) -> Result<(Held<V>, u64), Fault> {
        let decode = |value: Option<&[u8]>| {
            let value = value.ok_or_else(|| CodecError::new("without what is held back"))?;
            let bytes = (self.entry.len() + value.len()) as u64;
            Ok((decode_held(&self.codec, value)?, bytes))
        };
        let found = ctx.read(self.store, &self.entry, decode)?;
        found.map_err(|error| ctx.bad_state(&self.node, &error))
    }

    /// Holds `held` back, and answers how many bytes that takes.
    fn put(&mut self, held: &Held<V>, ctx: &mut Context<'_>) -> Result<u64, Fault> {
        self.value.clear();
        self.value.extend_from_slice(&held.timestamp.to_be_bytes());
        for part in [&held.change.new, &held.change.old] {
            self.part.clear();
            let mut present = false;
            if let Some(value) = part {
                let encoded = self.codec.encode(value, &mut self.part);
                present = encoded.map_err(|error| ctx.bad_state(&self.node, &error))?;
            }
            self.value.push(u8::from(present));
            put_varint(&mut self.value, self.part.len() as u64);
            self.value.extend_from_slice(&self.part);
        }
        ctx.put(self.store, &self.entry, &self.value);
        Ok((self.entry.len() + self.value.len()) as u64)
    }

    fn decode(&self, value: &[u8], ctx: &Context<'_>) -> Result<Held<V>, Fault> {
        decode_held(&self.codec, value).map_err(|error| ctx.bad_state(&self.node, &error))
    }
}

fn decode_held<V>(codec: &Serde<V>, value: &[u8]) -> Result<Held<V>, CodecError> {
    let cut = || CodecError::new("cut off");
    let (timestamp, mut rest) = value.split_first_chunk::<8>().ok_or_else(cut)?;
    let mut part = || {
        let (present, after) = rest.split_first().ok_or_else(cut)?;
        rest = after;
        let bytes = take_slice(&mut rest).ok_or_else(cut)?;
        if *present == 1 { codec.decode(Some(bytes)).map(Some) } else { Ok(None) }
    };
    let change = Change { new: part()?, old: part()? };
    Ok(Held { timestamp: i64::from_be_bytes(*timestamp), change })
}

/// Where the key begins in an entry of what is held back.
const KEY_AT: usize = 9;

fn range_key(time: i64) -> Vec<u8> {
    let mut key = vec![kind::ENTRY];
    put_time(&mut key, time);
    key
}

/// `suppress` for a time limit, within a bound.
pub(super) fn hold_for<K: Key, V: Clone + 'static>(
    table: &Table<K, V>,
    store: &str,
    codec: Serde<V>,
    (limit, buffer): (Duration, BufferConfig),
) -> Table<K, V> {
    const KIND: &str = "KTABLE-SUPPRESS";
    let limit_ms = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
    let stream = &table.changes;
    let node = stream.next_name(KIND);
    let mut graph = stream.graph.borrow_mut();
    let store = graph.add_store(store);
    let behind_ms = graph.delay_ms(stream.node);
    drop(graph);
    let held = move || HeldStore {
        node: node.clone(),
        store,
        codec: Arc::clone(&codec),
        under: Vec::new(),
        entry: Vec::new(),
        value: Vec::new(),
        part: Vec::new(),
    };
    let lookup = lookup(table, held.clone());
    let changes = stream.then_timed(KIND, vec![store], move |next| SuppressLimit {
        limit_ms,
        buffer,
        held: held(),
        time: WindowTime::new(store, behind_ms),
        size: [Remembered::new(0), Remembered::new(0)],
        saved: None,
        next,
    });
    stream.graph.borrow_mut().nodes[changes.node].delay_ms = limit_ms;
    Table { changes, lookup, stores: table.stores.clone() }
}

/// Of a key that is held back, what was told last.
fn lookup<K: Key, V: Clone + 'static>(
    table: &Table<K, V>,
    held: impl Fn() -> HeldStore<V> + Send + Sync + 'static,
) -> Lookup<K, V> {
    let parent = Arc::clone(&table.lookup);
    Arc::new(move |key: &K, ctx: &mut Context<'_>| {
        let mut held = held();
        if !held.set_key(key) {
            return Ok(None);
        }
        match held.time(ctx)? {
            None => parent(key, ctx),
            Some(time) => {
                held.set_time(time);
                let told = held.get(ctx)?.0.change.old;
                Ok(told.map(|value| Stamped { value, timestamp: time }))
            }
        }
    })
}
