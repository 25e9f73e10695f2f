//! Aggregates over sessions.
//!
//! A record joins the sessions of its key that are within the gap of it; they become one, which
//! replaces them. It is late if that one ended before its clock less gap and grace. The old ones
//! are deleted from the table by ascending start, then the new one is put in; its timestamp is its
//! end. A session that has closed is final and is not taken back any more: a late record may still
//! join it to one that is open, and then its result stands beside that of the whole (as in Kafka
//! Streams).
//!
//! A session is stored under its key and start, with end and state as its value. So that sessions
//! are found when they are to be forgotten, each is noted under the segment of time that it ended
//! in when it began; if it has gone on since then, the note moves on with it.

use std::sync::Arc;

use super::group::Grouped;
use super::kind;
use super::stored::Stored;
use super::stream_time::{put_time, time_of};
use super::suppress_windows::hold_until_closed;
use super::window_aggregate::{KIND, Placed};
use super::window_late::{LateRecords, Missed, key_bytes};
use super::window_time::WindowTime;
use super::windowed::Told;
use crate::aggregates::{Aggregator, At, Merge};
use crate::codec::{Serde, Value};
use crate::dsl::{Lookup, SessionWindows, Stamped, Table};
use crate::key::Key;
use crate::operator::{Fault, Next, Operator, Timed};
use crate::record::{Change, Record, Window, Windowed};
use crate::task::Context;
use crate::topology::{Closes, StoreRef, TopologyError};

/// Notes that are looked at in one commit at most, so that a commit stays short.
const FORGOTTEN_MAX: usize = 20_000;

/// A session that was found.
struct Session<S> {
    window: Window,
    state: S,
}

struct SessionAggregate<K, V, G: Aggregator<K, V>> {
    windows: SessionWindows,
    aggregator: Arc<G>,
    merge: Merge<G, K, G::State>,
    stored: Stored<G::State>,
    store: StoreRef,
    time: WindowTime,
    late: LateRecords<V>,
    /// Sessions that ended before this are forgotten.
    forgotten_to: i64,
    key: Vec<u8>,
    entry: Vec<u8>,
    next: Next<Windowed<K>, Change<G::Output>>,
}

impl<K: Key, V, G: Aggregator<K, V>> Operator<K, V> for SessionAggregate<K, V, G> {
    fn process(&mut self, record: Record<K, V>, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let Record { key, value, timestamp } = record;
        if !key_bytes(&key, &mut self.key) {
            ctx.count_dropped(self.late.node(), "null key");
            return Ok(());
        }
        let clocks = self.time.observe(timestamp, ctx)?;
        let old = self.near(timestamp, clocks.record, ctx)?;
        let window = old.iter().fold(Window { start: timestamp, end: timestamp }, |all, one| {
            let Window { start, end } = one.window;
            Window { start: all.start.min(start), end: all.end.max(end) }
        });
        let is_closed = |clock: i64| window.end < self.windows.closed_before(clock);
        if let Some(why) = clocks.lateness(is_closed) {
            let missed = Missed { key: &self.key, value: &value, timestamp, windows: (1, 1) };
            return self.late.missed(why, &missed, ctx);
        }
        let (state, before) = self.replace(&key, old, (window, clocks.before), ctx)?;
        let state = self.aggregator.add(state, &key, &value, ctx.at(timestamp));
        put_session_entry(&mut self.entry, &self.key, window.start);
        self.stored.put(&self.entry, window.end, &state, ctx)?;
        let value = Change { new: Some(self.aggregator.output(&state)), old: before };
        let key = Windowed { key, window };
        self.next.forward(Record { key, value, timestamp: window.end }, ctx)
    }
}

impl<K: Key, V, G: Aggregator<K, V>> SessionAggregate<K, V, G> {
    /// The sessions of the current key that a record at `timestamp` joins, by ascending start.
    fn near(
        &mut self,
        timestamp: i64,
        clock: i64,
        ctx: &Context<'_>,
    ) -> Result<Vec<Session<G::State>>, Fault> {
        let gap_ms = self.windows.gap_ms;
        let kept_from = self.windows.kept_from(clock);
        put_session_entry(&mut self.entry, &self.key, i64::MIN);
        let from = self.entry.clone();
        put_session_entry(&mut self.entry, &self.key, timestamp.saturating_add(gap_ms + 1));
        let mut near = Vec::new();
        self.stored.each((&from, &self.entry), ctx, &mut |entry, end, state| {
            if end >= timestamp.saturating_sub(gap_ms) && end >= kept_from {
                near.push(Session { window: Window { start: start_of(entry), end }, state });
            }
        })?;
        Ok(near)
    }

    /// Merges `old` sessions into that of `window`: deletes those that it replaces, and notes the
    /// new one. Answers with the merged state, and what `window` told before.
    fn replace(
        &mut self,
        key: &K,
        old: Vec<Session<G::State>>,
        (window, clock): (Window, i64),
        ctx: &mut Context<'_>,
    ) -> Result<(G::State, Option<G::Output>), Fault> {
        let (mut before, mut noted) = (None, false);
        let mut state = self.aggregator.init();
        for session in old {
            noted |= session.window.start == window.start;
            let told = self.aggregator.output(&session.state);
            state = (self.merge)(&self.aggregator, key, state, session.state);
            if session.window == window {
                before = Some(told);
                continue;
            }
            if session.window.start != window.start {
                put_session_entry(&mut self.entry, &self.key, session.window.start);
                ctx.delete(self.store, &self.entry);
            }
            // What has closed is final.
            if session.window.end > self.windows.closed_before(clock) {
                let timestamp = session.window.end;
                let key = Windowed { key: key.clone(), window: session.window };
                let value = Change { new: None, old: Some(told) };
                self.next.forward(Record { key, value, timestamp }, ctx)?;
            }
        }
        if !noted {
            let segment = self.windows.segment_of(window.end);
            put_note(&mut self.entry, segment, &self.key, window.start);
            ctx.put(self.store, &self.entry, &[]);
        }
        Ok((state, before))
    }

    /// Forgets sessions that ended before `kept_from`.
    fn forget(&mut self, kept_from: i64, ctx: &mut Context<'_>) -> Result<(), Fault> {
        if kept_from <= self.forgotten_to {
            return Ok(());
        }
        let range = (note_range(self.forgotten_to), note_range(kept_from));
        let notes = ctx.scan(self.store, (&range.0, &range.1), FORGOTTEN_MAX)?;
        for (note, _) in &notes {
            ctx.delete(self.store, note);
            self.entry.clear();
            self.entry.push(kind::ENTRY);
            self.entry.extend_from_slice(&note[NOTED_AT..]);
            let end = ctx.read(self.store, &self.entry, |stored| {
                stored.and_then(super::stream_time::split_timestamp).map(|(end, _)| end)
            })?;
            match end {
                // It was replaced.
                None => {}
                Some(end) if end < kept_from => ctx.delete(self.store, &self.entry),
                Some(end) => {
                    let mut moved = note_range(self.windows.segment_of(end));
                    moved.extend_from_slice(&note[NOTED_AT..]);
                    ctx.put(self.store, &moved, &[]);
                }
            }
        }
        self.forgotten_to = match notes.last() {
            Some((note, _)) if notes.len() == FORGOTTEN_MAX => time_of(note),
            _ => kept_from,
        };
        Ok(())
    }
}

impl<K: Key, V, G: Aggregator<K, V>> Timed for SessionAggregate<K, V, G> {
    fn advance(&mut self, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let closing = self.time.closing(ctx)?;
        if closing > i64::MIN {
            self.forget(self.windows.kept_from(closing), ctx)?;
        }
        self.time.save(ctx);
        Ok(())
    }
}

/// Where in a note the rest of the session's own entry begins.
const NOTED_AT: usize = 9;

/// The entry of the session of `key` that began at `start`.
fn put_session_entry(out: &mut Vec<u8>, key: &[u8], start: i64) {
    out.clear();
    out.push(kind::ENTRY);
    put_key_and_start(out, key, start);
}

/// The note that the session of `key` which began at `start` ended in `segment`, or later.
fn put_note(out: &mut Vec<u8>, segment: i64, key: &[u8], start: i64) {
    out.clear();
    out.push(kind::DUE);
    put_time(out, segment);
    put_key_and_start(out, key, start);
}

fn note_range(segment: i64) -> Vec<u8> {
    let mut key = vec![kind::DUE];
    put_time(&mut key, segment);
    key
}

fn put_key_and_start(out: &mut Vec<u8>, key: &[u8], start: i64) {
    let length = u32::try_from(key.len()).expect("a key is shorter than a record can be");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(key);
    put_time(out, start);
}

fn start_of(entry: &[u8]) -> i64 {
    let (_, start) = entry.split_last_chunk::<8>().expect("an entry ends with its start");
    i64::from_be_bytes(*start) ^ i64::MIN
}

/// Places an aggregate over sessions behind a grouped stream.
pub(super) fn place<K: Key, V: Value, G: Aggregator<K, V>>(
    grouped: Grouped<K, V>,
    windows: SessionWindows,
    (store, told): (&str, Told<V>),
    aggregator: G,
) -> Table<Windowed<K>, G::Output> {
    grouped.cannot_combine();
    let Told { late, emit_final } = told;
    let place = Placed::new(&grouped.partitioned(store), store, late.as_ref());
    let closes = Closes { after_ms: windows.open_for_ms(), span_ms: 0, end_inclusive: true };
    if !emit_final {
        let table = place_sessions(&place, windows, aggregator);
        place.finish(&table.changes, closes, 0, late.as_ref());
        return table;
    }
    let aggregator = Arc::new(aggregator);
    let table = place_sessions(&place, windows, AsState(Arc::clone(&aggregator)));
    place.finish(&table.changes, closes, 0, late.as_ref());
    hold_states(&table, store, aggregator)
}

/// The updates of `table` as results of `aggregator`, each told once, when its window closes.
pub(super) fn hold_states<K: Key, V: 'static, G: Aggregator<K, V>>(
    table: &Table<Windowed<K>, G::State>,
    store: &str,
    aggregator: Arc<G>,
) -> Table<Windowed<K>, G::Output> {
    let held = hold_until_closed(table, &format!("{store}-open"), aggregator.codec());
    held.map_values(move |_, state| aggregator.output(state))
}

/// Tells of states instead of outputs: a state can be stored until its window closes.
pub(super) struct AsState<G>(pub(super) Arc<G>);

impl<K: 'static, V: 'static, G: Aggregator<K, V>> Aggregator<K, V> for AsState<G> {
    type State = G::State;
    type Output = G::State;

    fn init(&self) -> G::State {
        self.0.init()
    }

    fn add(&self, state: G::State, key: &K, value: &V, at: At) -> G::State {
        self.0.add(state, key, value, at)
    }

    fn output(&self, state: &G::State) -> G::State {
        state.clone()
    }

    fn codec(&self) -> Serde<G::State> {
        self.0.codec()
    }

    fn merge(&self) -> Option<Merge<Self, K, G::State>> {
        let merge: Merge<Self, K, G::State> = |aggregator, key, one, two| {
            let merge = aggregator.0.merge().expect("handed out only if there is one");
            merge(&aggregator.0, key, one, two)
        };
        self.0.merge().map(|_| merge)
    }
}

fn place_sessions<K: Key, V: Value, G: Aggregator<K, V>>(
    place: &Placed<K, V>,
    windows: SessionWindows,
    aggregator: G,
) -> Table<Windowed<K>, G::Output> {
    let (store, node) = (place.store, place.node.clone());
    let merge = checked_merge(place, windows, &aggregator);
    let codec = aggregator.codec();
    let aggregator = Arc::new(aggregator);
    let lookup = lookup(place, &aggregator);
    let (time, late) = (place.time(), place.late_records());
    let changes = place.stream.then_timed(KIND, vec![store], move |next| SessionAggregate {
        windows,
        aggregator: Arc::clone(&aggregator),
        merge,
        stored: Stored::new(node.clone(), store, Arc::clone(&codec)),
        store,
        time: time(),
        late: late(),
        forgotten_to: i64::MIN,
        key: Vec::new(),
        entry: Vec::new(),
        next,
    });
    // A record may come too late for a session of its own, and in time for one that another record
    // has yet to begin: it joins that one only if it comes second.
    let depends = place.stream.is_repartitioned();
    let changes = if depends { changes.mark_arrival_order() } else { changes };
    Table { changes, lookup, stores: vec![store] }
}

/// How the aggregator merges; an error of the topology if it does not, or sessions cannot be.
fn checked_merge<K: Key, V: Value, G: Aggregator<K, V>>(
    place: &Placed<K, V>,
    windows: SessionWindows,
    aggregator: &G,
) -> Merge<G, K, G::State> {
    let mut graph = place.stream.graph.borrow_mut();
    if !windows.is_possible() {
        let SessionWindows { gap_ms, grace_ms } = windows;
        graph.errors.push(TopologyError::SessionWindow { gap_ms, grace_ms });
    }
    aggregator.merge().unwrap_or_else(|| {
        graph.errors.push(TopologyError::NeedsMerge { node: place.node.clone() });
        |_, _, one, _| one
    })
}

/// Finds the session that a windowed key names.
fn lookup<K: Key, V: Value, G: Aggregator<K, V>>(
    place: &Placed<K, V>,
    aggregator: &Arc<G>,
) -> Lookup<Windowed<K>, G::Output> {
    let (store, node) = (place.store, place.node.clone());
    let (aggregator, codec) = (Arc::clone(aggregator), aggregator.codec());
    Arc::new(move |key: &Windowed<K>, ctx: &mut Context<'_>| {
        let mut bytes = Vec::new();
        if !key_bytes(&key.key, &mut bytes) {
            return Ok(None);
        }
        let mut entry = Vec::new();
        put_session_entry(&mut entry, &bytes, key.window.start);
        let stored = Stored::new(node.clone(), store, Arc::clone(&codec));
        let found = stored.get(&entry, ctx)?;
        let found = found.filter(|(end, _)| *end == key.window.end);
        Ok(found.map(|(timestamp, state)| Stamped { value: aggregator.output(&state), timestamp }))
    })
}
