//! Final results of sliding windows of an aggregate that merges, from a tree.
//!
//! Each window ends with a record, or a time difference after the moment that follows one; a record
//! notes both ends, so windows that are the same are noted once. A record changes its moment and
//! the nodes of the tree above it ([`super::window_tree`]): that is the logarithm of the windows'
//! length, however many records they have. When time has passed an end, the window's result is put
//! together from few nodes.
//!
//! As in [`super::window_panes`], a record that is late by its own clock for windows which are
//! still open waits aside until they are closed.

use std::sync::Arc;

use super::kind;
use super::stored::Stored;
use super::stream_time::{Expiring, time_of};
use super::window_aggregate::{KIND, Placed};
use super::window_late::{LateRecords, Missed, key_bytes};
use super::window_panes::{KEY_AT, put_aside_entry, put_due_entry, split_aside_entry, time_key};
use super::window_time::WindowTime;
use super::window_tree::{PaneTree, Shape, Stamped};
use crate::aggregates::{Aggregator, Merge};
use crate::dsl::{SlidingWindows, Table};
use crate::key::Key;
use crate::operator::{Fault, Next, Operator, Timed};
use crate::record::{Change, Record, Window, Windowed};
use crate::task::Context;
use crate::topology::StoreRef;

/// The entries that are looked at together when windows close.
const CLOSED_MAX: usize = 1_000;

/// Aggregates over sliding windows that are told of when they close.
pub(super) struct SlidingFinal<K, V, G: Aggregator<K, V>> {
    windows: SlidingWindows,
    aggregator: Arc<G>,
    merge: Merge<G, K, G::State>,
    tree: PaneTree<G::State>,
    aside: Stored<G::State>,
    store: StoreRef,
    time: WindowTime,
    late: LateRecords<V>,
    /// Windows that end before this are closed and told of.
    closed_to: Option<i64>,
    /// What waited until the windows that end before this were closed has been taken in.
    taken_to: i64,
    /// No window that is noted ends before this.
    earliest: i64,
    key: Vec<u8>,
    entry: Vec<u8>,
    next: Next<Windowed<K>, Change<G::Output>>,
}

impl<K: Key, V, G: Aggregator<K, V>> Operator<K, V> for SlidingFinal<K, V, G> {
    fn process(&mut self, record: Record<K, V>, ctx: &mut Context<'_>) -> Result<(), Fault> {
        if !key_bytes(&record.key, &mut self.key) {
            ctx.count_dropped(self.late.node(), "null key");
            return Ok(());
        }
        let closed_to = self.closed_to(ctx)?;
        let at = record.timestamp;
        let clocks = self.time.observe(at, ctx)?;
        if let Some(why) = clocks.lateness(|clock| self.windows.is_late(at, clock)) {
            let (value, timestamp) = (&record.value, at);
            let missed = Missed { key: &self.key, value, timestamp, windows: (1, 1) };
            self.late.missed(why, &missed, ctx)?;
        } else {
            let closed = self.windows.closed_before(clocks.record);
            self.add(&record, (closed, closed_to), ctx)?;
            let is_closed = |clock: i64| self.first_end(at) < self.windows.closed_before(clock);
            if let Some(why) = clocks.lateness(is_closed) {
                let (value, timestamp) = (&record.value, at);
                let missed = Missed { key: &self.key, value, timestamp, windows: (1, 2) };
                self.late.missed(why, &missed, ctx)?;
            }
        }
        self.close(self.windows.closed_before(clocks.closing), ctx)
    }
}

impl<K: Key, V, G: Aggregator<K, V>> SlidingFinal<K, V, G> {
    /// The end of the first window that a record at `timestamp` needs; none begins before 1970.
    fn first_end(&self, timestamp: i64) -> i64 {
        timestamp.max(self.windows.size_ms)
    }

    /// Adds `record` to its windows, but not to those that end before `closed`; those that end
    /// before `closed_to` are closed.
    fn add(
        &mut self,
        record: &Record<K, V>,
        (closed, closed_to): (i64, i64),
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let Record { key, value, timestamp } = record;
        let (aggregator, at) = (Arc::clone(&self.aggregator), ctx.at(*timestamp));
        let add = |old: Option<Stamped<G::State>>| {
            let state = old.map_or_else(|| aggregator.init(), |(_, state)| state);
            (*timestamp, aggregator.add(state, key, value, at))
        };
        if self.first_end(*timestamp) < closed && closed_to < closed {
            put_aside_entry(&mut self.entry, closed, &self.key, *timestamp);
            let (timestamp, state) = add(self.aside.get(&self.entry, ctx)?);
            self.aside.put(&self.entry, timestamp, &state, ctx)?;
        } else {
            self.change(*timestamp, &add, ctx)?;
        }
        let ends = [self.first_end(*timestamp), timestamp + 1 + self.windows.size_ms];
        for end in ends.into_iter().filter(|end| *end >= closed.max(closed_to)) {
            put_due_entry(&mut self.entry, end, &self.key);
            ctx.put(self.store, &self.entry, &[]);
            if end < self.earliest {
                ctx.touch();
                self.earliest = end;
            }
        }
        Ok(())
    }

    /// Changes a moment of the current key in the tree.
    fn change(
        &mut self,
        moment: i64,
        change: &dyn Fn(Option<Stamped<G::State>>) -> Stamped<G::State>,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let change = |old: Option<Stamped<G::State>>| {
            let seen = old.as_ref().map(|(seen, _)| *seen);
            let (timestamp, state) = change(old);
            (seen.map_or(timestamp, |seen| seen.max(timestamp)), state)
        };
        self.tree.change((&self.key, moment), i64::MAX, &change, ctx)?;
        Ok(())
    }

    fn closed_to(&mut self, ctx: &mut Context<'_>) -> Result<i64, Fault> {
        if let Some(closed_to) = self.closed_to {
            return Ok(closed_to);
        }
        let closed_to = self.windows.closed_before(self.time.reached(ctx)?);
        self.closed_to = Some(closed_to);
        Ok(closed_to)
    }

    fn set_closed_to(&mut self, closed_to: i64, ctx: &mut Context<'_>) {
        ctx.touch();
        self.closed_to = Some(closed_to);
    }

    /// Tells of the windows that end before `closed`, by end and key.
    fn close(&mut self, closed: i64, ctx: &mut Context<'_>) -> Result<(), Fault> {
        if closed <= self.closed_to(ctx)? {
            return Ok(());
        }
        if self.earliest < closed {
            let range = (time_key(kind::DUE, self.earliest), time_key(kind::DUE, closed));
            loop {
                let due = ctx.scan(self.store, (&range.0, &range.1), CLOSED_MAX)?;
                for (entry, _) in &due {
                    ctx.delete(self.store, entry);
                    self.tell(time_of(entry), &entry[KEY_AT..], ctx)?;
                }
                if due.len() < CLOSED_MAX {
                    break;
                }
            }
            let next = ctx.scan(self.store, (&range.1, &[kind::DUE + 1]), 1)?;
            self.earliest = next.first().map_or(i64::MAX, |(entry, _)| time_of(entry));
        }
        self.set_closed_to(closed, ctx);
        self.tree.purge(closed.saturating_sub(self.windows.size_ms), ctx)
    }

    /// Tells of the window of `key` that ends with `end`, if it has records.
    fn tell(&mut self, end: i64, key: &[u8], ctx: &mut Context<'_>) -> Result<(), Fault> {
        if self.taken_to < end {
            self.set_closed_to(end, ctx);
            self.take_in(end, ctx)?;
            self.taken_to = end;
        }
        let node = self.late.node();
        let typed = K::decode(Some(key)).map_err(|error| ctx.bad_state(node, &error))?;
        let (aggregator, merge) = (Arc::clone(&self.aggregator), self.merge);
        let merge = |a: G::State, b: G::State| merge(&aggregator, &typed, a, b);
        let window = Window { start: end - self.windows.size_ms, end };
        let whole = self.tree.state(key, (window.start, end + 1), &merge, ctx)?;
        let Some((timestamp, state)) = whole else { return Ok(()) };
        let value = Change { new: Some(self.aggregator.output(&state)), old: None };
        let record = Record { key: Windowed { key: typed.clone(), window }, value, timestamp };
        ctx.made_by_time(|ctx| self.next.forward(record, ctx))
    }

    /// Takes in what waited until the windows that end before `end` were closed.
    fn take_in(&mut self, end: i64, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let range = (time_key(kind::ASIDE, i64::MIN), time_key(kind::ASIDE, end + 1));
        loop {
            let waiting = ctx.scan(self.store, (&range.0, &range.1), CLOSED_MAX)?;
            for (entry, value) in &waiting {
                ctx.delete(self.store, entry);
                let (key, moment) = split_aside_entry(entry);
                let node = self.late.node();
                let typed = K::decode(Some(key)).map_err(|error| ctx.bad_state(node, &error))?;
                let (timestamp, state) = self.aside.decode(value, ctx)?;
                let (aggregator, merge) = (Arc::clone(&self.aggregator), self.merge);
                let add = |old: Option<Stamped<G::State>>| match old {
                    None => (timestamp, state.clone()),
                    Some((_, old)) => (timestamp, merge(&aggregator, &typed, old, state.clone())),
                };
                self.key.clear();
                self.key.extend_from_slice(key);
                self.change(moment, &add, ctx)?;
            }
            if waiting.len() < CLOSED_MAX {
                return Ok(());
            }
        }
    }

    /// Places the operator behind a grouped stream.
    pub(super) fn place(
        place: &Placed<K, V>,
        windows: SlidingWindows,
        aggregator: G,
        merge: Merge<G, K, G::State>,
    ) -> Table<Windowed<K>, G::Output>
    where
        V: Clone + 'static,
    {
        let (store, node) = (place.store, place.node.clone());
        let codec = aggregator.codec();
        let aggregator = Arc::new(aggregator);
        let shape = Shape { pane_ms: 1, window_ms: windows.size_ms.max(1) };
        let (time, late) = (place.time(), place.late_records());
        let changes = place.stream.then_timed(KIND, vec![store], move |next| {
            let stored = || Stored::new(node.clone(), store, Arc::clone(&codec));
            Self {
                windows,
                aggregator: Arc::clone(&aggregator),
                merge,
                tree: PaneTree::new(shape, stored(), Expiring::new(store)),
                aside: stored(),
                store,
                time: time(),
                late: late(),
                closed_to: None,
                taken_to: i64::MIN,
                earliest: i64::MIN,
                key: Vec::new(),
                entry: Vec::new(),
                next,
            }
        });
        Table::not_kept(changes)
    }
}

impl<K: Key, V, G: Aggregator<K, V>> Timed for SlidingFinal<K, V, G> {
    fn advance(&mut self, ctx: &mut Context<'_>) -> Result<(), Fault> {
        self.closed_to(ctx)?;
        let closing = self.time.closing(ctx)?;
        if closing > i64::MIN {
            self.close(self.windows.closed_before(closing), ctx)?;
        }
        self.time.save(ctx);
        Ok(())
    }
}
