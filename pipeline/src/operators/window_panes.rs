//! Final results of hopping windows, from panes.
//!
//! A record changes its pane; when a window closes, its result is put together from the tree of
//! panes ([`super::window_tree`]). So a record costs the same however many windows hold it.
//! What is due is, for each key with records, the next window of it that closes.

use super::window_aggregate::{KIND, Placed};
use super::window_late::{LateRecords, Missed, key_bytes};
use super::window_parts::{KEY_AT, WindowParts, parts};
use super::window_time::{Clocks, WindowTime};
use super::window_tree::Shape;
use crate::aggregates::{Aggregator, Merge};
use crate::dsl::{FixedWindows, Table, TimeWindows};
use crate::key::Key;
use crate::operator::{Fault, Operator, Timed};
use crate::record::{Record, Windowed};
use crate::task::{Context, Remembered};

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
        let shape = Shape { pane_ms: windows.pane_ms(), window_ms: windows.size_ms };
        Some(Self { windows, shape })
    }
}

/// Aggregates over hopping windows that are told of when they close.
pub(super) struct PaneAggregate<K, V, G: Aggregator<K, V>> {
    panes: Panes,
    parts: WindowParts<K, V, G>,
    time: WindowTime,
    late: LateRecords<V>,
    /// Windows that begin before this are closed and told of; `None` until it is known.
    closed_to: Option<Remembered>,
    key: Vec<u8>,
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
                Some(lateness) if self.late.counts(lateness) => {
                    missed += 1;
                    why = Some(lateness);
                }
                Some(_) => {}
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
        let timestamp = record.timestamp;
        let place = (&self.key[..], self.panes.shape.pane_of(timestamp));
        let first_window = self.panes.windows.windows_of(timestamp).next();
        let oldest = first_window.map_or(first, |window| window.start).max(closed_to);
        let is_new = if first > oldest {
            self.parts.put_aside(record, place, first, ctx)?
        } else {
            self.parts.add(record, place, self.complete_to(closed_to), ctx)?
        };
        if is_new {
            self.parts.note_due(first, &self.key, ctx);
        }
        Ok(())
    }

    /// The end of the last window that is closed: nodes of the tree are made up to there.
    fn complete_to(&self, closed_to: i64) -> i64 {
        let windows = self.panes.windows;
        if closed_to <= 0 { i64::MIN } else { closed_to - windows.advance_ms + windows.size_ms }
    }

    fn closed_to(&mut self, ctx: &mut Context<'_>) -> Result<i64, Fault> {
        if let Some(closed_to) = &self.closed_to {
            return Ok(closed_to.get());
        }
        let closed_to = self.panes.windows.open_from(self.time.reached(ctx)?).max(0);
        self.closed_to = Some(Remembered::new(closed_to));
        Ok(closed_to)
    }

    fn set_closed_to(&mut self, closed_to: i64, ctx: &mut Context<'_>) {
        self.closed_to.get_or_insert_with(|| Remembered::new(closed_to)).set(closed_to, ctx);
    }

    /// Tells of the windows that are closed now, by start and key.
    fn close(&mut self, clocks: Clocks, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let open_from = self.panes.windows.open_from(clocks.closing);
        let advance_ms = self.panes.windows.advance_ms;
        let mut closed_to = self.closed_to(ctx)?;
        if open_from <= closed_to {
            return Ok(());
        }
        while let Some(start) = self.parts.first_due(closed_to, open_from, ctx)? {
            self.set_closed_to(start, ctx);
            self.parts.take_in(start, self.complete_to(start), ctx)?;
            while let Some(due) = self.parts.take_due(start, start + 1, ctx)? {
                for (entry, _) in &due {
                    self.tell(start, &entry[KEY_AT..], ctx)?;
                }
            }
            closed_to = start + advance_ms;
        }
        self.set_closed_to(open_from, ctx);
        self.parts.purge(open_from, ctx)
    }

    /// Tells of the window of `key` that begins at `start`, if it has records; then the next one is
    /// due.
    fn tell(&mut self, start: i64, key: &[u8], ctx: &mut Context<'_>) -> Result<(), Fault> {
        let windows = self.panes.windows;
        let window = windows.window_at(start);
        let complete_to = if start == 0 { 0 } else { window.end - windows.advance_ms };
        self.parts.complete(key, (complete_to, window.end), ctx)?;
        if self.parts.tell(window, (key, window.end), ctx)? {
            self.parts.note_due(start + windows.advance_ms, key, ctx);
        }
        Ok(())
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
        let parts = parts(place, panes.shape, aggregator, merge);
        let (time, late) = (place.time(), place.late_records());
        let changes = place.stream.then_timed(KIND, vec![place.store], move |next| Self {
            panes,
            parts: parts(next),
            time: time(),
            late: late(),
            closed_to: None,
            key: Vec::new(),
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
