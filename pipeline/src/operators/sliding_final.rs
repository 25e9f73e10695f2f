//! Final results of sliding windows of an aggregate that merges, from a tree.
//!
//! Each window ends with a record, or a time difference after the moment that follows one; a record
//! notes both ends, so windows that are the same are noted once. A record changes its moment and
//! the nodes of the tree above it ([`super::window_tree`]): that is the logarithm of the windows'
//! length, however many records they have. When time has passed an end, the window's result is put
//! together from few nodes.

use super::stream_time::time_of;
use super::window_aggregate::{KIND, Placed};
use super::window_late::{LateRecords, Missed, key_bytes};
use super::window_parts::{KEY_AT, WindowParts, parts};
use super::window_time::WindowTime;
use super::window_tree::Shape;
use crate::aggregates::{Aggregator, Merge};
use crate::dsl::{SlidingWindows, Table};
use crate::key::Key;
use crate::operator::{Fault, Operator, Timed};
use crate::record::{Record, Window, Windowed};
use crate::task::{Context, Remembered};

/// Aggregates over sliding windows that are told of when they close.
pub(super) struct SlidingFinal<K, V, G: Aggregator<K, V>> {
    windows: SlidingWindows,
    parts: WindowParts<K, V, G>,
    time: WindowTime,
    late: LateRecords<V>,
    /// Windows that end before this are closed and told of; `None` until it is known.
    closed_to: Option<Remembered>,
    /// What waited until the windows that end before this were closed has been taken in.
    taken_to: Remembered,
    /// No window that is noted ends before this.
    earliest: Remembered,
    key: Vec<u8>,
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
        let timestamp = record.timestamp;
        let place = (&self.key[..], timestamp);
        if self.first_end(timestamp) < closed && closed_to < closed {
            self.parts.put_aside(record, place, closed, ctx)?;
        } else {
            self.parts.add(record, place, i64::MAX, ctx)?;
        }
        let ends = [self.first_end(timestamp), timestamp + 1 + self.windows.size_ms];
        for end in ends.into_iter().filter(|end| *end >= closed.max(closed_to)) {
            self.parts.note_due(end, &self.key, ctx);
            self.earliest.set(self.earliest.get().min(end), ctx);
        }
        Ok(())
    }

    fn closed_to(&mut self, ctx: &mut Context<'_>) -> Result<i64, Fault> {
        if let Some(closed_to) = &self.closed_to {
            return Ok(closed_to.get());
        }
        let closed_to = self.windows.closed_before(self.time.reached(ctx)?);
        self.closed_to = Some(Remembered::new(closed_to));
        Ok(closed_to)
    }

    fn set_closed_to(&mut self, closed_to: i64, ctx: &mut Context<'_>) {
        self.closed_to.get_or_insert_with(|| Remembered::new(closed_to)).set(closed_to, ctx);
    }

    /// Tells of the windows that end before `closed`, by end and key.
    fn close(&mut self, closed: i64, ctx: &mut Context<'_>) -> Result<(), Fault> {
        if closed <= self.closed_to(ctx)? {
            return Ok(());
        }
        if self.earliest.get() < closed {
            while let Some(due) = self.parts.take_due(self.earliest.get(), closed, ctx)? {
                for (entry, _) in &due {
                    self.tell(time_of(entry), &entry[KEY_AT..], ctx)?;
                }
            }
            let earliest = self.parts.first_due(closed, i64::MAX, ctx)?.unwrap_or(i64::MAX);
            self.earliest.set(earliest, ctx);
        }
        self.set_closed_to(closed, ctx);
        self.parts.purge(closed.saturating_sub(self.windows.size_ms), ctx)
    }

    /// Tells of the window of `key` that ends with `end`, if it has records.
    fn tell(&mut self, end: i64, key: &[u8], ctx: &mut Context<'_>) -> Result<(), Fault> {
        if self.taken_to.get() < end {
            self.set_closed_to(end, ctx);
            self.parts.take_in(end, i64::MAX, ctx)?;
            self.taken_to.set(end, ctx);
        }
        let window = Window { start: end - self.windows.size_ms, end };
        self.parts.tell(window, (key, end + 1), ctx)?;
        Ok(())
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
        let shape = Shape { pane_ms: 1, window_ms: windows.size_ms.max(1) };
        let parts = parts(place, shape, aggregator, merge);
        let (time, late) = (place.time(), place.late_records());
        let changes = place.stream.then_timed(KIND, vec![place.store], move |next| Self {
            windows,
            parts: parts(next),
            time: time(),
            late: late(),
            closed_to: None,
            taken_to: Remembered::new(i64::MIN),
            earliest: Remembered::new(i64::MIN),
            key: Vec::new(),
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
