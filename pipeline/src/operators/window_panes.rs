//! Final results of hopping windows, from panes.
//!
//! A record changes its pane; when a window closes, its result is put together from the tree of
//! panes ([`super::window_tree`]). So a record costs the same however many windows hold it.
//!
//! Three kinds of entries lie in the store: the tree; for each key with records the next window of
//! it that closes; and what records said that came too late for the oldest windows which are still
//! open. That can be only behind a repartition, where a record is late by its own clock and windows
//! close by the smallest of all: it waits aside until those windows are closed.

use std::sync::Arc;

use super::kind;
use super::stored::Stored;
use super::stream_time::{Expiring, put_time, time_of};
use super::window_aggregate::{KIND, Placed};
use super::window_late::{LateRecords, Missed, key_bytes};
use super::window_time::{Clocks, WindowTime};
use super::window_tree::{PaneTree, Shape, Stamped};
use crate::aggregates::{Aggregator, Merge};
use crate::dsl::{FixedWindows, Table, TimeWindows};
use crate::key::Key;
use crate::operator::{Fault, Next, Operator, Timed};
use crate::record::{Change, Record, Windowed};
use crate::task::Context;
use crate::topology::StoreRef;

/// The entries that are looked at together when windows close.
const CLOSED_MAX: usize = 1_000;

/// Where the key begins in an entry of what is due, and of what waits aside.
pub(super) const KEY_AT: usize = 9;

/// The panes of hopping windows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Panes {
    windows: TimeWindows,
    shape: Shape,
}

impl Panes {
    /// Panes of `windows`, if these overlap.
    pub(super) fn of(windows: &FixedWindows) -> Option<Self> {
        let FixedWindows::Time(windows) = *windows else { return None };
        if !windows.is_possible() || windows.advance_ms == windows.size_ms {
            return None;
        }
        let pane_ms = common_divisor(windows.size_ms, windows.advance_ms);
        Some(Self { windows, shape: Shape { pane_ms, window_ms: windows.size_ms } })
    }
}

fn common_divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

/// Aggregates over hopping windows that are told of when they close.
pub(super) struct PaneAggregate<K, V, G: Aggregator<K, V>> {
    panes: Panes,
    aggregator: Arc<G>,
    merge: Merge<G, K, G::State>,
    tree: PaneTree<G::State>,
    aside: Stored<G::State>,
    store: StoreRef,
    time: WindowTime,
    late: LateRecords<V>,
    /// Windows that begin before this are closed and told of.
    closed_to: Option<i64>,
    key: Vec<u8>,
    entry: Vec<u8>,
    next: Next<Windowed<K>, Change<G::Output>>,
}

impl<K: Key, V, G: Aggregator<K, V>> Operator<K, V> for PaneAggregate<K, V, G> {
    fn process(&mut self, record: Record<K, V>, ctx: &mut Context<'_>) -> Result<(), Fault> {
        if !key_bytes(&record.key, &mut self.key) {
            ctx.count_dropped(self.late.node(), "null key");
            return Ok(());
        }
        let closed_to = self.closed_to(ctx)?;
        let clocks = self.time.observe(record.timestamp, ctx)?;
        let windows = FixedWindows::Time(self.panes.windows);
        let (mut missed, mut all, mut why, mut first) = (0, 0, None, None);
        for window in windows.windows_of(record.timestamp) {
            all += 1;
            match clocks.lateness(|clock| windows.is_late(window, clock)) {
                None => first = first.or(Some(window.start)),
                Some(lateness) => {
                    missed += 1;
                    why = Some(lateness);
                }
            }
        }
        if let Some(first) = first {
            self.add(&record, (first, closed_to), ctx)?;
        }
        if let Some(why) = why {
            let (value, timestamp) = (&record.value, record.timestamp);
            let missed = Missed { key: &self.key, value, timestamp, windows: (missed, all) };
            self.late.missed(why, &missed, ctx)?;
        }
        self.close(clocks, ctx)
    }
}

impl<K: Key, V, G: Aggregator<K, V>> PaneAggregate<K, V, G> {
    /// Adds `record` to the windows from the one that begins at `first` on.
    fn add(
        &mut self,
        record: &Record<K, V>,
        (first, closed_to): (i64, i64),
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let Record { key, value, timestamp } = record;
        let (aggregator, at) = (Arc::clone(&self.aggregator), ctx.at(*timestamp));
        let add = |old: Option<Stamped<G::State>>| {
            let (seen, state) = old.unzip();
            let state = state.unwrap_or_else(|| aggregator.init());
            let state = aggregator.add(state, key, value, at);
            (seen.map_or(*timestamp, |seen| seen.max(*timestamp)), state)
        };
        let pane = self.panes.shape.pane_of(*timestamp);
        let first_window = self.panes.windows.windows_of(*timestamp).next();
        let oldest = first_window.map_or(first, |window| window.start).max(closed_to);
        let is_new = if first > oldest {
            put_aside_entry(&mut self.entry, first, &self.key, pane);
            let old = self.aside.get(&self.entry, ctx)?;
            let is_new = old.is_none();
            let (timestamp, state) = add(old);
            self.aside.put(&self.entry, timestamp, &state, ctx)?;
            is_new
        } else {
            let complete_to = self.complete_to(closed_to);
            self.tree.change((&self.key, pane), complete_to, &add, ctx)?
        };
        if is_new {
            put_due_entry(&mut self.entry, first, &self.key);
            ctx.put(self.store, &self.entry, &[]);
        }
        Ok(())
    }

    /// The end of the last window that is closed: nodes of the tree are made up to there.
    fn complete_to(&self, closed_to: i64) -> i64 {
        let windows = self.panes.windows;
        if closed_to <= 0 { i64::MIN } else { closed_to - windows.advance_ms + windows.size_ms }
    }

    fn closed_to(&mut self, ctx: &mut Context<'_>) -> Result<i64, Fault> {
        if let Some(closed_to) = self.closed_to {
            return Ok(closed_to);
        }
        let closed_to = self.panes.windows.open_from(self.time.reached(ctx)?).max(0);
        self.closed_to = Some(closed_to);
        Ok(closed_to)
    }

    fn set_closed_to(&mut self, closed_to: i64, ctx: &mut Context<'_>) {
        ctx.touch();
        self.closed_to = Some(closed_to);
    }

    /// Tells of the windows that are closed now, by start and key.
    fn close(&mut self, clocks: Clocks, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let open_from = self.panes.windows.open_from(clocks.closing);
        let advance_ms = self.panes.windows.advance_ms;
        let mut closed_to = self.closed_to(ctx)?;
        if open_from <= closed_to {
            return Ok(());
        }
        while let Some(start) = self.next_due((closed_to, open_from), ctx)? {
            self.set_closed_to(start, ctx);
            self.take_in(start, ctx)?;
            self.close_window(start, ctx)?;
            closed_to = start + advance_ms;
        }
        self.set_closed_to(open_from, ctx);
        self.tree.purge(open_from, ctx)
    }

    /// The start of the first window that a key has records in.
    fn next_due(&self, (from, to): (i64, i64), ctx: &Context<'_>) -> Result<Option<i64>, Fault> {
        let range = (time_key(kind::DUE, from), time_key(kind::DUE, to));
        let found = ctx.scan(self.store, (&range.0, &range.1), 1)?;
        Ok(found.first().map(|(entry, _)| time_of(entry)))
    }

    /// Takes in what waited until the windows before `start` were closed.
    fn take_in(&mut self, start: i64, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let range = (time_key(kind::ASIDE, i64::MIN), time_key(kind::ASIDE, start + 1));
        loop {
            let waiting = ctx.scan(self.store, (&range.0, &range.1), CLOSED_MAX)?;
            for (entry, value) in &waiting {
                ctx.delete(self.store, entry);
                let (key, pane) = split_aside_entry(entry);
                let typed = self.decode_key(key, ctx)?;
                let (timestamp, state) = self.aside.decode(value, ctx)?;
                let (aggregator, merge) = (Arc::clone(&self.aggregator), self.merge);
                let add = |old: Option<Stamped<G::State>>| match old {
                    None => (timestamp, state.clone()),
                    Some((seen, old)) => {
                        (seen.max(timestamp), merge(&aggregator, &typed, old, state.clone()))
                    }
                };
                self.tree.change((key, pane), self.complete_to(start), &add, ctx)?;
            }
            if waiting.len() < CLOSED_MAX {
                return Ok(());
            }
        }
    }

    fn close_window(&mut self, start: i64, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let range = (time_key(kind::DUE, start), time_key(kind::DUE, start + 1));
        loop {
            let due = ctx.scan(self.store, (&range.0, &range.1), CLOSED_MAX)?;
            for (entry, _) in &due {
                ctx.delete(self.store, entry);
                self.tell(start, &entry[KEY_AT..], ctx)?;
            }
            if due.len() < CLOSED_MAX {
                return Ok(());
            }
        }
    }

    /// Tells of the window of `key` that begins at `start`, if it has records; then the next one is
    /// due.
    fn tell(&mut self, start: i64, key: &[u8], ctx: &mut Context<'_>) -> Result<(), Fault> {
        let windows = self.panes.windows;
        let typed = self.decode_key(key, ctx)?;
        let (aggregator, merge) = (Arc::clone(&self.aggregator), self.merge);
        let merge = |a: G::State, b: G::State| merge(&aggregator, &typed, a, b);
        let window = windows.window_at(start);
        let complete_to = if start == 0 { 0 } else { window.end - windows.advance_ms };
        self.tree.complete(key, (complete_to, window.end), &merge, ctx)?;
        let whole = self.tree.state(key, (window.start, window.end), &merge, ctx)?;
        let Some((timestamp, state)) = whole else { return Ok(()) };
        put_due_entry(&mut self.entry, start + windows.advance_ms, key);
        ctx.put(self.store, &self.entry, &[]);
        let value = Change { new: Some(self.aggregator.output(&state)), old: None };
        let record = Record { key: Windowed { key: typed.clone(), window }, value, timestamp };
        ctx.made_by_time(|ctx| self.next.forward(record, ctx))
    }

    fn decode_key(&self, key: &[u8], ctx: &Context<'_>) -> Result<K, Fault> {
        K::decode(Some(key)).map_err(|error| ctx.bad_state(self.late.node(), &error))
    }

    /// Places the operator behind a grouped stream.
    pub(super) fn place(
        place: &Placed<K, V>,
        panes: Panes,
        aggregator: G,
        merge: Merge<G, K, G::State>,
    ) -> Table<Windowed<K>, G::Output>
    where
        V: Clone + 'static,
    {
        let (store, node) = (place.store, place.node.clone());
        let codec = aggregator.codec();
        let aggregator = Arc::new(aggregator);
        let (time, late) = (place.time(), place.late_records());
        let changes = place.stream.then_timed(KIND, vec![store], move |next| {
            let stored = || Stored::new(node.clone(), store, Arc::clone(&codec));
            Self {
                panes,
                aggregator: Arc::clone(&aggregator),
                merge,
                tree: PaneTree::new(panes.shape, stored(), Expiring::new(store)),
                aside: stored(),
                store,
                time: time(),
                late: late(),
                closed_to: None,
                key: Vec::new(),
                entry: Vec::new(),
                next,
            }
        });
        Table::not_kept(changes)
    }
}

impl<K: Key, V, G: Aggregator<K, V>> Timed for PaneAggregate<K, V, G> {
    fn advance(&mut self, ctx: &mut Context<'_>) -> Result<(), Fault> {
        self.closed_to(ctx)?;
        let closing = self.time.closing(ctx)?;
        if closing > i64::MIN {
            self.close(Clocks { record: closing, closing, before: closing }, ctx)?;
        }
        self.time.save(ctx);
        Ok(())
    }
}

pub(super) fn time_key(kind: u8, time: i64) -> Vec<u8> {
    let mut key = vec![kind];
    put_time(&mut key, time);
    key
}

/// That a window of `key` which begins at `start` may have records.
pub(super) fn put_due_entry(out: &mut Vec<u8>, start: i64, key: &[u8]) {
    out.clear();
    out.push(kind::DUE);
    put_time(out, start);
    out.extend_from_slice(key);
}

/// What a pane of `key` has for the windows from `start` on.
pub(super) fn put_aside_entry(out: &mut Vec<u8>, start: i64, key: &[u8], pane: i64) {
    out.clear();
    out.push(kind::ASIDE);
    put_time(out, start);
    out.extend_from_slice(key);
    out.extend_from_slice(&pane.to_be_bytes());
}

pub(super) fn split_aside_entry(entry: &[u8]) -> (&[u8], i64) {
    let (key, pane) = entry[KEY_AT..].split_last_chunk::<8>().expect("written with its pane");
    (key, i64::from_be_bytes(*pane))
}
