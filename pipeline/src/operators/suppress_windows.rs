//! `suppress` until windows close: a buffer in a store, ordered by the windows' ends, then keys and
//! starts.
//!
//! A window of time is closed when its end is at or before time less grace. Sliding windows and
//! sessions take a record at that very moment; nevertheless Kafka Streams' `suppress` releases them
//! then, and once more if such a record comes. Where sources are read directly this does the same.
//! Behind a repartition, where commits decide when time is looked at, and for `emit_final`, they are
//! released a millisecond later: once.

use std::sync::Arc;

use super::kind;
use super::stored::Stored;
use super::stream_time::{put_time, time_of};
use super::window_time::WindowTime;
use crate::codec::Serde;
use crate::dsl::{Lookup, Table};
use crate::key::Key;
use crate::operator::{Fault, Next, Operator, Timed};
use crate::record::{Change, Record};
use crate::task::{Context, Remembered};
use crate::topology::{Closes, StoreRef, TopologyError};

/// The entries that are looked at together when windows close.
const CLOSED_MAX: usize = 1_000;

struct SuppressWindows<K, V> {
    node: String,
    closes: Closes,
    /// Never releases a window that may still take a record.
    strict: bool,
    stored: Stored<V>,
    store: StoreRef,
    time: WindowTime,
    /// No window in the buffer ends before this.
    earliest: Remembered,
    entry: Vec<u8>,
    next: Next<K, Change<V>>,
}

impl<K: Key, V: Clone + 'static> Operator<K, Change<V>> for SuppressWindows<K, V> {
    fn process(
        &mut self,
        record: Record<K, Change<V>>,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let Record { key, value, timestamp } = record;
        let Some(end) = put_window_entry(&mut self.entry, &key) else {
            ctx.count_dropped(&self.node, "no window");
            return Ok(());
        };
        let clocks = self.time.observe(timestamp, ctx)?;
        match value.new {
            Some(new) => {
                self.stored.put(&self.entry, timestamp, &new, ctx)?;
                self.earliest.set(self.earliest.get().min(end), ctx);
            }
            None => self.stored.delete(&self.entry, ctx),
        }
        self.release(clocks.closing, ctx)
    }
}

impl<K: Key, V: Clone + 'static> SuppressWindows<K, V> {
    /// Tells of the windows that are closed when time is `clock`.
    fn release(&mut self, clock: i64, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let closed = clock.saturating_sub(self.closes.after_ms);
        let takes_border =
            self.closes.end_inclusive && (self.strict || ctx.sources_clock().is_some());
        let to = if takes_border { closed } else { closed.saturating_add(1) };
        if self.earliest.get() >= to {
            return Ok(());
        }
        let range = (range_key(self.earliest.get()), range_key(to));
        loop {
            let found = ctx.scan(self.store, (&range.0, &range.1), CLOSED_MAX)?;
            for (entry, value) in &found {
                ctx.delete(self.store, entry);
                self.tell(entry, value, ctx)?;
            }
            if found.len() < CLOSED_MAX {
                break;
            }
        }
        let next = ctx.scan(self.store, (&range.1, &[kind::ENTRY + 1]), 1)?;
        self.earliest.set(next.first().map_or(i64::MAX, |(entry, _)| time_of(entry)), ctx);
        Ok(())
    }

    fn tell(&self, entry: &[u8], value: &[u8], ctx: &mut Context<'_>) -> Result<(), Fault> {
        let (timestamp, new) = self.stored.decode(value, ctx)?;
        let mut bytes = entry[KEY_AT..].to_vec();
        bytes.extend_from_slice(&time_of(entry).to_be_bytes());
        let key = K::decode(Some(&bytes)).map_err(|error| ctx.bad_state(&self.node, &error))?;
        let value = Change { new: Some(new), old: None };
        ctx.made_by_time(|ctx| self.next.forward(Record { key, value, timestamp }, ctx))
    }
}

impl<K: Key, V: Clone + 'static> Timed for SuppressWindows<K, V> {
    fn advance(&mut self, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let closing = self.time.closing(ctx)?;
        if closing > i64::MIN {
            self.release(closing, ctx)?;
        }
        self.time.save(ctx);
        Ok(())
    }
}

/// Where the key's bytes, without the window's end, begin in an entry.
const KEY_AT: usize = 9;

fn range_key(end: i64) -> Vec<u8> {
    let mut key = vec![kind::ENTRY];
    put_time(&mut key, end);
    key
}

/// The entry of a windowed key: the window's end, then the key and the window's start as
/// [`crate::Windowed`] writes them. Answers with the end; `None` if the key is null or has no
/// window.
fn put_window_entry<K: Key>(out: &mut Vec<u8>, key: &K) -> Option<i64> {
    let end = key.window()?.end;
    out.clear();
    out.push(kind::ENTRY);
    put_time(out, end);
    if !key.encode(out) {
        return None;
    }
    out.truncate(out.len() - 8);
    Some(end)
}

/// `suppress` until the windows of `table` close.
pub(super) fn release_when_closed<K: Key, V: Clone + 'static>(
    table: &Table<K, V>,
    store: &str,
    codec: Serde<V>,
) -> Table<K, V> {
    place(table, store, codec, false)
}

/// For `emit_final`: as [`release_when_closed`], and no window is told twice.
pub(super) fn hold_until_closed<K: Key, V: Clone + 'static>(
    table: &Table<K, V>,
    store: &str,
    codec: Serde<V>,
) -> Table<K, V> {
    place(table, store, codec, true)
}

fn place<K: Key, V: Clone + 'static>(
    table: &Table<K, V>,
    store: &str,
    codec: Serde<V>,
    strict: bool,
) -> Table<K, V> {
    const KIND: &str = "KTABLE-SUPPRESS";
    let stream = &table.changes;
    let node = stream.next_name(KIND);
    let mut graph = stream.graph.borrow_mut();
    let store = graph.add_store(store);
    let behind_ms = graph.delay_ms(stream.node);
    let closes = graph.closes(stream.node).unwrap_or_else(|| {
        graph.errors.push(TopologyError::NoWindows { node: node.clone() });
        Closes { after_ms: 0, span_ms: 0, end_inclusive: false }
    });
    drop(graph);
    let lookup = lookup(table, store);
    let changes = stream.then_timed(KIND, vec![store], move |next| SuppressWindows {
        node: node.clone(),
        closes,
        strict,
        stored: Stored::new(node.clone(), store, Arc::clone(&codec)),
        store,
        time: WindowTime::new(store, behind_ms),
        earliest: Remembered::new(i64::MIN),
        entry: Vec::new(),
        next,
    });
    let delay_ms = closes.after_ms.saturating_add(closes.span_ms).saturating_add(1);
    stream.graph.borrow_mut().nodes[changes.node].delay_ms = delay_ms;
    Table { changes, lookup, stores: table.stores.clone() }
}

/// What is held back has not been told: it has no value yet.
fn lookup<K: Key, V: Clone + 'static>(table: &Table<K, V>, store: StoreRef) -> Lookup<K, V> {
    let parent = Arc::clone(&table.lookup);
    Arc::new(move |key: &K, ctx: &mut Context<'_>| {
        let mut entry = Vec::new();
        let held = put_window_entry(&mut entry, key).is_some()
            && ctx.read(store, &entry, |held| held.is_some())?;
        if held { Ok(None) } else { parent(key, ctx) }
    })
}
