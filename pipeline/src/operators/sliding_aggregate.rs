//! Aggregates over sliding windows, told of at each change.
//!
//! A record at `t` changes each window of its key that holds it, and makes those that it is the
//! first to need: the one that ends with it, the one that begins after it, and the one that begins
//! after the record before it. Each begins with what another window knows already, so no record is
//! looked at again. The order of results is that of Kafka Streams: existing windows from the last
//! to the first, then new ones.
//!
//! Entries are keyed by a segment of time first, so that they are forgotten together, then by key
//! and start.

use std::sync::Arc;

use super::group::Grouped;
use super::kind;
use super::session_aggregate::{AsState, hold_states};
use super::sliding_final::SlidingFinal;
use super::stored::Stored;
use super::stream_time::{Expiring, put_time};
use super::window_aggregate::{KIND, Placed};
use super::window_late::{LateRecords, Missed, key_bytes};
use super::window_time::{Clocks, Lateness, WindowTime};
use super::windowed::Told;
use crate::aggregates::Aggregator;
use crate::codec::Value;
use crate::dsl::{SlidingWindows, Table};
use crate::key::Key;
use crate::operator::{Fault, Next, Operator, Timed};
use crate::record::{Change, Record, Window, Windowed};
use crate::task::Context;
use crate::topology::{Closes, TopologyError};

/// The shortest segment of time in which entries are forgotten together.
const SEGMENT_MIN_MS: i64 = 1_000;

struct SlidingAggregate<K, V, G: Aggregator<K, V>> {
    windows: SlidingWindows,
    aggregator: Arc<G>,
    stored: Stored<G::State>,
    time: WindowTime,
    expiring: Expiring,
    late: LateRecords<V>,
    key: Vec<u8>,
    entry: Vec<u8>,
    next: Next<Windowed<K>, Change<G::Output>>,
}

/// A window in the store: its state, and the largest timestamp in it.
#[derive(Clone)]
struct Kept<S> {
    start: i64,
    timestamp: i64,
    state: S,
}

/// The record at hand, and which windows it has missed.
struct Step<'a, K, V> {
    record: &'a Record<K, V>,
    clocks: Clocks,
    missed: usize,
    all: usize,
    why: Option<Lateness>,
}

/// The windows that a record found, as far as they say which new ones it needs.
struct Found<S> {
    /// The starts of all.
    starts: Vec<i64>,
    /// The last window that ends before the record: what it knows is left of the record.
    left: Option<Kept<S>>,
    /// The last window that holds the record and more: what it knows is right of the record.
    right: Option<Kept<S>>,
    /// The timestamp of the record before.
    previous: Option<i64>,
}

impl<K: Key, V, G: Aggregator<K, V>> Operator<K, V> for SlidingAggregate<K, V, G> {
    fn process(&mut self, record: Record<K, V>, ctx: &mut Context<'_>) -> Result<(), Fault> {
        if !key_bytes(&record.key, &mut self.key) {
            ctx.count_dropped(self.late.node(), "null key");
            return Ok(());
        }
        let at = record.timestamp;
        let clocks = self.time.observe(at, ctx)?;
        let mut step = Step { record: &record, clocks, missed: 0, all: 0, why: None };
        if let Some(why) = clocks.lateness(|clock| self.windows.is_late(at, clock)) {
            (step.missed, step.all, step.why) = (1, 1, Some(why));
        } else if at < self.windows.size_ms {
            self.take_early(&mut step, ctx)?;
        } else {
            self.take(&mut step, ctx)?;
        }
        let Step { missed, all, why: Some(why), .. } = step else { return Ok(()) };
        let (value, timestamp) = (&record.value, at);
        let missed = Missed { key: &self.key, value, timestamp, windows: (missed, all) };
        self.late.missed(why, &missed, ctx)
    }
}

impl<K: Key, V, G: Aggregator<K, V>> SlidingAggregate<K, V, G> {
    fn take(&mut self, step: &mut Step<'_, K, V>, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let (at, size_ms) = (step.record.timestamp, self.windows.size_ms);
        let kept = self.read((at - 2 * size_ms).max(0), at + 1, ctx)?;
        let starts = kept.iter().map(|kept| kept.start).collect();
        let mut found = Found { starts, left: None, right: None, previous: None };
        for kept in kept.into_iter().rev() {
            let end = kept.start + size_ms;
            if kept.start > at {
                continue;
            }
            if end < at {
                found.previous = Some(kept.timestamp);
                found.left = Some(kept);
                break;
            }
            let timestamp = kept.timestamp;
            if end > at && found.right.is_none() {
                found.right = Some(kept.clone());
            }
            self.update(step, kept.start, Some(kept), ctx)?;
            if end == at {
                if timestamp >= at {
                    // There was a record at this moment before: all windows are there.
                    return Ok(());
                }
                found.previous = Some(timestamp);
            }
        }
        self.make(step, found, ctx)
    }

    /// Makes the windows that the record needs and that are not there.
    fn make(
        &mut self,
        step: &mut Step<'_, K, V>,
        found: Found<G::State>,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let (at, size_ms) = (step.record.timestamp, self.windows.size_ms);
        if let Some(previous) = found.previous
            // The window that ends with the record is made below.
            && previous + 1 + size_ms > at
            && !found.starts.contains(&(previous + 1))
        {
            self.create(step, previous + 1, None, ctx)?;
        }
        let start = at - size_ms;
        if !found.starts.contains(&start) {
            let known = found.previous.is_some_and(|previous| previous >= start);
            self.create(step, start, found.left.filter(|_| known), ctx)?;
        }
        self.make_right(step, &found.starts, found.right, ctx)
    }

    /// Makes the window that begins after the record, if there is something in it.
    fn make_right(
        &mut self,
        step: &Step<'_, K, V>,
        starts: &[i64],
        right: Option<Kept<G::State>>,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let at = step.record.timestamp;
        match right.filter(|right| right.timestamp > at && !starts.contains(&(at + 1))) {
            None => Ok(()),
            Some(right) => self.put(step.record, Kept { start: at + 1, ..right }, None, ctx),
        }
    }

    /// As [`Self::take`], for a record so early that its window would begin before 1970: it goes
    /// to the window that begins then, which all such records share.
    fn take_early(
        &mut self,
        step: &mut Step<'_, K, V>,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let at = step.record.timestamp;
        let kept = self.read(0, at + 1, ctx)?;
        let starts: Vec<i64> = kept.iter().map(|kept| kept.start).collect();
        let (mut shared, mut right) = (None, None);
        for kept in kept {
            if kept.start == 0 {
                shared = Some(kept);
            } else if kept.start <= at {
                right = Some(kept.clone());
                self.update(step, kept.start, Some(kept), ctx)?;
            }
        }
        let last = shared.as_ref().map(|shared| shared.timestamp);
        if right.is_none() {
            right = shared.clone();
        }
        self.make_right(step, &starts, right, ctx)?;
        if let Some(previous) = last.filter(|last| *last < at)
            && !starts.contains(&(previous + 1))
        {
            self.create(step, previous + 1, None, ctx)?;
        }
        self.update(step, 0, shared, ctx)
    }

    /// Adds the record to a new window, which begins with what `known` has.
    fn create(
        &mut self,
        step: &mut Step<'_, K, V>,
        start: i64,
        known: Option<Kept<G::State>>,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let Some(state) = self.added(step, start, known.map(|known| known.state), ctx) else {
            return Ok(());
        };
        let timestamp = step.record.timestamp;
        self.put(step.record, Kept { start, timestamp, state }, None, ctx)
    }

    /// Adds the record to the window that begins at `start`, unless that is closed.
    fn update(
        &mut self,
        step: &mut Step<'_, K, V>,
        start: i64,
        old: Option<Kept<G::State>>,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let at = step.record.timestamp;
        let timestamp = old.as_ref().map_or(at, |old| old.timestamp.max(at));
        let state = old.map(|old| old.state);
        let before = state.as_ref().map(|state| self.aggregator.output(state));
        let Some(state) = self.added(step, start, state, ctx) else { return Ok(()) };
        self.put(step.record, Kept { start, timestamp, state }, before, ctx)
    }

    /// The state of the window that begins at `start` with the record; `None` if the window is
    /// closed.
    fn added(
        &self,
        step: &mut Step<'_, K, V>,
        start: i64,
        state: Option<G::State>,
        ctx: &Context<'_>,
    ) -> Option<G::State> {
        let end = start + self.windows.size_ms;
        step.all += 1;
        let is_closed = |clock: i64| end < self.windows.closed_before(clock);
        if let Some(why) = step.clocks.lateness(is_closed) {
            step.missed += 1;
            step.why = Some(why);
            return None;
        }
        let Record { key, value, timestamp } = step.record;
        let state = state.unwrap_or_else(|| self.aggregator.init());
        Some(self.aggregator.add(state, key, value, ctx.at(*timestamp)))
    }

    fn put(
        &mut self,
        record: &Record<K, V>,
        kept: Kept<G::State>,
        old: Option<G::Output>,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let Kept { start, timestamp, state } = kept;
        let segment = self.segment_of(start);
        put_entry(&mut self.entry, segment, &self.key, start);
        self.stored.put(&self.entry, timestamp, &state, ctx)?;
        let window = Window { start, end: start + self.windows.size_ms };
        let key = Windowed { key: record.key.clone(), window };
        let value = Change { new: Some(self.aggregator.output(&state)), old };
        self.next.forward(Record { key, value, timestamp }, ctx)
    }

    /// The windows of the current key that begin from `from` to `to`, by ascending start.
    fn read(
        &mut self,
        from: i64,
        to: i64,
        ctx: &Context<'_>,
    ) -> Result<Vec<Kept<G::State>>, Fault> {
        let mut all = Vec::new();
        let mut segment = self.segment_of(from);
        while segment <= to {
            let mut low = Vec::new();
            put_entry(&mut low, segment, &self.key, from);
            put_entry(&mut self.entry, segment, &self.key, to + 1);
            self.stored.each((&low, &self.entry), ctx, &mut |entry, timestamp, state| {
                all.push(Kept { start: start_of(entry), timestamp, state });
            })?;
            segment += segment_ms(self.windows);
        }
        Ok(all)
    }

    fn segment_of(&self, start: i64) -> i64 {
        let segment_ms = segment_ms(self.windows);
        start.div_euclid(segment_ms).saturating_mul(segment_ms)
    }
}

impl<K: Key, V, G: Aggregator<K, V>> Timed for SlidingAggregate<K, V, G> {
    fn advance(&mut self, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let closing = self.time.closing(ctx)?;
        if closing > i64::MIN {
            // A record that is not late looks two sizes back from itself, and may lie one size and
            // a moment behind what is closed.
            let reach = self.windows.size_ms.saturating_mul(3).saturating_add(1);
            let needed_from = self.windows.closed_before(closing).saturating_sub(reach);
            self.expiring.purge(self.segment_of(needed_from), ctx)?;
        }
        self.time.save(ctx);
        Ok(())
    }
}

/// As long as what a record looks at, so that it looks at few segments.
fn segment_ms(windows: SlidingWindows) -> i64 {
    windows.size_ms.saturating_mul(2).max(SEGMENT_MIN_MS)
}

/// The entry of the window of `key` that begins at `start`.
fn put_entry(out: &mut Vec<u8>, segment: i64, key: &[u8], start: i64) {
    out.clear();
    out.push(kind::ENTRY);
    put_time(out, segment);
    let length = u32::try_from(key.len()).expect("a key is shorter than a record can be");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(key);
    put_time(out, start);
}

fn start_of(entry: &[u8]) -> i64 {
    let (_, start) = entry.split_last_chunk::<8>().expect("an entry ends with its start");
    i64::from_be_bytes(*start) ^ i64::MIN
}

/// Places an aggregate over sliding windows behind a grouped stream.
pub(super) fn place<K: Key, V: Value, G: Aggregator<K, V>>(
    grouped: Grouped<K, V>,
    windows: SlidingWindows,
    (store, told): (&str, Told<V>),
    aggregator: G,
) -> Table<Windowed<K>, G::Output> {
    grouped.cannot_combine();
    let Told { late, emit_final } = told;
    let stream = grouped.partitioned(store);
    if !windows.is_possible() {
        let SlidingWindows { size_ms, grace_ms } = windows;
        let error = TopologyError::SlidingWindow { size_ms, grace_ms };
        stream.graph.borrow_mut().errors.push(error);
    }
    let place = Placed::new(&stream, store, late.as_ref());
    let (after_ms, span_ms) = (windows.grace_ms, windows.size_ms);
    let closes = Closes { after_ms, span_ms, end_inclusive: true };
    if let Some(merge) = aggregator.merge().filter(|_| emit_final) {
        let table = SlidingFinal::place(&place, windows, aggregator, merge);
        let delay_ms = after_ms.saturating_add(span_ms).saturating_add(1);
        place.finish(&table.changes, closes, delay_ms, late.as_ref());
        return table;
    }
    let aggregator = Arc::new(aggregator);
    if !emit_final {
        let table = place_sliding(&place, windows, aggregator);
        place.finish(&table.changes, closes, 0, late.as_ref());
        return table;
    }
    let table = place_sliding(&place, windows, Arc::new(AsState(Arc::clone(&aggregator))));
    place.finish(&table.changes, closes, 0, late.as_ref());
    hold_states(&table, store, aggregator)
}

fn place_sliding<K: Key, V: Value, G: Aggregator<K, V>>(
    place: &Placed<K, V>,
    windows: SlidingWindows,
    aggregator: Arc<G>,
) -> Table<Windowed<K>, G::Output> {
    let (store, node, codec) = (place.store, place.node.clone(), aggregator.codec());
    let (shown, read_codec) = (Arc::clone(&aggregator), Arc::clone(&codec));
    let (time, late) = (place.time(), place.late_records());
    let changes = place.stream.then_timed(KIND, vec![store], move |next| SlidingAggregate {
        windows,
        aggregator: Arc::clone(&aggregator),
        stored: Stored::new(node.clone(), store, Arc::clone(&codec)),
        time: time(),
        expiring: Expiring::new(store),
        late: late(),
        key: Vec::new(),
        entry: Vec::new(),
        next,
    });
    // A record may come too late for the window that ends with it, and in time for one that another
    // record has yet to make: it is in that one only if it comes second.
    let depends = place.stream.is_repartitioned();
    let changes = if depends { changes.mark_arrival_order() } else { changes };
    let key_of = move |key: &Windowed<K>, out: &mut Vec<u8>| {
        let mut bytes = Vec::new();
        let present = key_bytes(&key.key, &mut bytes);
        let start = key.window.start;
        let segment = start.div_euclid(segment_ms(windows)).saturating_mul(segment_ms(windows));
        put_entry(out, segment, &bytes, start);
        out.remove(0);
        present
    };
    Table::stored_as(changes, (store, read_codec), key_of, move |state| shown.output(state))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::aggregates::{Aggregator, Fold, Sum};
    use crate::{SessionWindows, SlidingWindows, Stream, Table, TopologyBuilder, Windowed};

    type Numbers = Stream<String, i64>;
    type Sums = Table<Windowed<String>, i64>;

    const SPAN: Duration = Duration::from_secs(5);

    /// Whether sums of a source and of one behind a repartition are marked as in arrival order.
    fn marks(sums: impl Fn(&Numbers) -> Sums) -> [bool; 2] {
        [false, true].map(|moved| {
            let builder = TopologyBuilder::new("app");
            let source: Numbers = builder.stream("in");
            let stream = if moved { source.repartition("by") } else { source };
            sums(&stream).to("out");
            builder.build().unwrap().describe().contains("[arrival order]")
        })
    }

    fn sliding<G: Aggregator<String, i64, Output = i64>>(
        numbers: &Numbers,
        emit_final: bool,
        sum: G,
    ) -> Sums {
        let windows = SlidingWindows::of_time_difference_with_no_grace(SPAN);
        let group = numbers.group_by_key().windowed_by(windows);
        let group = if emit_final { group.emit_final() } else { group };
        group.aggregate_by("sums", sum)
    }

    #[test]
    fn behind_a_repartition_windows_that_records_make_are_in_arrival_order() {
        let sum = || Sum::of(|n: &i64| *n);
        let fold = || Fold::json(|| 0_i64, |_: &String, n: &i64, sum: i64| sum + n);
        assert_eq!(marks(|numbers| sliding(numbers, false, sum())), [false, true]);
        assert_eq!(marks(|numbers| sliding(numbers, true, fold())), [false, true]);
        // The tree has all records of a window, whoever made it.
        assert_eq!(marks(|numbers| sliding(numbers, true, sum())), [false, false]);
        let windows = SessionWindows::of_inactivity_gap_with_no_grace(SPAN);
        let sessions =
            |n: &Numbers| n.group_by_key().windowed_by(windows).aggregate_by("sums", sum());
        assert_eq!(marks(sessions), [false, true]);
    }
}
