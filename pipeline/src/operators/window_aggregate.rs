//! Aggregates over windows of time and of a calendar.
//!
//! A record counts in each window that holds it, except those whose end is at or before its clock
//! less grace ([`super::window_time`] says which clock). The results are told at each change; or
//! with `emit_final` once, when the window closes, by ascending start and key. A result's timestamp
//! is the largest of its records.
//!
//! Entries are keyed by the window's start, then key: what closes together lies together.

use std::sync::Arc;

use super::combine::Merged;
use super::combine_windows;
use super::group::Grouped;
use super::kind;
use super::new_keys::NewKeys;
use super::stored::Stored;
use super::stream_time::{Expiring, put_time};
use super::window_late::{LateRecords, LateSink, LateTopic, Missed};
use super::window_panes::{PaneAggregate, Panes};
use super::window_time::{Clocks, WindowTime};
use super::windowed::Told;
use crate::aggregates::Aggregator;
use crate::codec::Value;
use crate::dsl::{FixedWindows, Stream, Table, TimeWindows};
use crate::key::Key;
use crate::operator::{Fault, Next, Operator, Timed};
use crate::record::{Change, Record, Window, Windowed};
use crate::task::Context;
use crate::topology::{Closes, StoreRef, TopologyError};

/// The entries that are looked at together when windows close.
const CLOSED_MAX: usize = 1_000;

/// Where a window's start begins in the key of its entry, and the record's key.
const START_AT: usize = 1;
const KEY_AT: usize = START_AT + 8;

struct WindowAggregate<K, V, G: Aggregator<K, V>> {
    windows: FixedWindows,
    aggregator: Arc<G>,
    stored: Stored<G::State>,
    time: WindowTime,
    expiring: Expiring,
    new: NewKeys,
    late: LateRecords<V>,
    /// Tells of windows when they close, and only then.
    emit_final: bool,
    key: Vec<u8>,
    next: Next<Windowed<K>, Change<G::Output>>,
}

impl<K: Key, V, G: Aggregator<K, V>> Operator<K, V> for WindowAggregate<K, V, G> {
    fn process(&mut self, record: Record<K, V>, ctx: &mut Context<'_>) -> Result<(), Fault> {
        self.key.clear();
        self.key.push(kind::ENTRY);
        put_time(&mut self.key, 0);
        if !record.key.encode(&mut self.key) {
            ctx.count_dropped(self.late.node(), "null key");
            return Ok(());
        }
        self.new.begin(ctx)?;
        let clocks = self.time.observe(record.timestamp, ctx)?;
        let (mut missed, mut all, mut why) = (0, 0, None);
        for window in self.windows.windows_of(record.timestamp) {
            all += 1;
            match clocks.lateness(|clock| self.windows.is_late(window, clock)) {
                None => self.add(&record, window, ctx)?,
                Some(lateness) if self.late.counts(lateness) => {
                    missed += 1;
                    why = Some(lateness);
                }
                Some(_) => {}
            }
        }
        if let Some(why) = why {
            let Record { value, timestamp, .. } = &record;
            let key = &self.key[KEY_AT..];
            let missed = Missed { key, value, timestamp: *timestamp, windows: (missed, all) };
            self.late.missed(why, &missed, ctx)?;
        }
        if self.emit_final { self.close(clocks, ctx) } else { Ok(()) }
    }
}

impl<K: Key, V, G: Aggregator<K, V>> WindowAggregate<K, V, G> {
    /// Adds `record`, whose key is in the buffer, to `window`.
    fn add(
        &mut self,
        record: &Record<K, V>,
        window: Window,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        self.key[START_AT..KEY_AT].copy_from_slice(&time_bytes(window.start));
        let Record { key, value, timestamp } = record;
        let may_have = self.new.may_have(window.start, &self.key[KEY_AT..]);
        let found = if may_have { self.stored.get(&self.key, ctx)? } else { None };
        if found.is_none() {
            self.new.add(window.start, &self.key[KEY_AT..]);
        }
        let (seen, state) = found.unzip();
        let old = state.as_ref().map(|state| self.aggregator.output(state));
        let state = state.unwrap_or_else(|| self.aggregator.init());
        let state = self.aggregator.add(state, key, value, ctx.at(*timestamp));
        let timestamp = seen.map_or(*timestamp, |seen| seen.max(*timestamp));
        self.stored.put(&self.key, timestamp, &state, ctx)?;
        if self.emit_final {
            return Ok(());
        }
        let key = Windowed { key: key.clone(), window };
        let value = Change { new: Some(self.aggregator.output(&state)), old };
        self.next.forward(Record { key, value, timestamp }, ctx)
    }

    /// Tells of the windows that are closed now, and forgets them.
    fn close(&mut self, clocks: Clocks, ctx: &mut Context<'_>) -> Result<(), Fault> {
        if clocks.closing == i64::MIN {
            return Ok(());
        }
        let open_from = self.windows.open_from(clocks.closing);
        loop {
            let closed = self.expiring.take(open_from, CLOSED_MAX, ctx)?;
            if closed.is_empty() {
                return Ok(());
            }
            for (key, value) in closed {
                self.tell(&key, &value, ctx)?;
            }
        }
    }

    fn tell(&mut self, entry: &[u8], value: &[u8], ctx: &mut Context<'_>) -> Result<(), Fault> {
        let node = self.late.node();
        let start = super::stream_time::time_of(entry);
        let key = K::decode(Some(&entry[KEY_AT..])).map_err(|error| ctx.bad_state(node, &error))?;
        let (timestamp, state) = self.stored.decode(value, ctx)?;
        let key = Windowed { key, window: self.windows.window_at(start) };
        let value = Change { new: Some(self.aggregator.output(&state)), old: None };
        ctx.made_by_time(|ctx| self.next.forward(Record { key, value, timestamp }, ctx))
    }
}

impl<K: Key, V, G: Aggregator<K, V>> Timed for WindowAggregate<K, V, G> {
    fn advance(&mut self, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let closing = self.time.closing(ctx)?;
        if self.emit_final {
            self.close(Clocks { record: closing, closing, before: closing }, ctx)?;
        } else if closing > i64::MIN {
            self.expiring.purge(self.windows.open_from(closing), ctx)?;
        }
        if closing > i64::MIN {
            self.new.forget(self.windows.open_from(closing));
        }
        self.time.save(ctx);
        Ok(())
    }
}

/// A time as [`put_time`] writes it.
pub(super) fn time_bytes(time: i64) -> [u8; 8] {
    (time ^ i64::MIN).to_be_bytes()
}

/// Places an aggregate over windows of time or of a calendar behind a grouped stream. If that is
/// `combined`, the sending side decides what is late, and the receiving one merges.
pub(super) fn place<K: Key, V: Value, G: Aggregator<K, V>>(
    grouped: Grouped<K, V>,
    windows: FixedWindows,
    (store, told): (&str, Told<V>),
    aggregator: G,
) -> Table<Windowed<K>, G::Output> {
    check(&windows, &grouped.stream);
    if grouped.combines().is_none() {
        let stream = grouped.partitioned(store);
        let place = Placed::new(&stream, store, told.late.as_ref());
        return place_behind(&place, windows, &told, aggregator);
    }
    let aggregator = Arc::new(aggregator);
    let partials = combine_windows::place(&grouped, windows, (store, told.late), &aggregator);
    let place = Placed::new(&partials, store, None).already_judged();
    let told = Told { late: None, emit_final: told.emit_final };
    place_behind(&place, windows, &told, Merged::<V, G>::new(aggregator))
}

fn place_behind<K: Key, V: Clone + 'static, G: Aggregator<K, V>>(
    place: &Placed<K, V>,
    windows: FixedWindows,
    told: &Told<V>,
    aggregator: G,
) -> Table<Windowed<K>, G::Output> {
    let (after_ms, span_ms) = (windows.grace_ms(), windows.size_max_ms());
    let closes = Closes { after_ms, span_ms, end_inclusive: false };
    let delay_ms = if told.emit_final { after_ms.saturating_add(span_ms) } else { 0 };
    let panes = Panes::of(&windows).filter(|_| told.emit_final);
    let table = match (panes, aggregator.merge()) {
        (Some(panes), Some(merge)) => PaneAggregate::place(place, panes, aggregator, merge),
        _ => place_windows(place, (windows, told.emit_final), aggregator),
    };
    place.finish(&table.changes, closes, delay_ms, told.late.as_ref());
    table
}

fn check<K, V>(windows: &FixedWindows, stream: &Stream<K, V>) {
    let FixedWindows::Time(windows) = windows else { return };
    if !windows.is_possible() {
        let TimeWindows { size_ms, advance_ms, grace_ms } = *windows;
        let error = TopologyError::Window { size_ms, advance_ms, grace_ms };
        stream.graph.borrow_mut().errors.push(error);
    }
}

/// What the factories of a windowed aggregate need.
pub(super) struct Placed<K, V> {
    pub(super) stream: Stream<K, V>,
    pub(super) store: StoreRef,
    pub(super) node: String,
    pub(super) late: LateSink<V>,
    pub(super) behind_ms: i64,
    /// Where the records come from it was decided already which of them are late.
    pub(super) judged: bool,
}

/// The kind of all aggregates' nodes.
pub(super) const KIND: &str = "KSTREAM-AGGREGATE";

impl<K: Clone + 'static, V: Clone + 'static> Placed<K, V> {
    pub(super) fn new(stream: &Stream<K, V>, store: &str, late: Option<&LateTopic<V>>) -> Self {
        let mut graph = stream.graph.borrow_mut();
        let store = graph.add_store(store);
        let (late, behind_ms) = (LateSink::plan(late, &graph), graph.delay_ms(stream.node));
        drop(graph);
        let (node, stream) = (stream.next_name(KIND), stream.clone());
        Self { node, stream, store, late, behind_ms, judged: false }
    }

    /// The same, behind what has decided already which records are late.
    fn already_judged(self) -> Self {
        Self { judged: true, ..self }
    }

    pub(super) fn time(&self) -> impl Fn() -> WindowTime + Send + Sync + use<K, V> {
        let (store, behind_ms) = (self.store, self.behind_ms);
        move || WindowTime::new(store, behind_ms)
    }

    pub(super) fn late_records(&self) -> impl Fn() -> LateRecords<V> + Send + Sync + use<K, V> {
        let (node, late, judged) = (self.node.clone(), self.late.clone(), self.judged);
        move || LateRecords::new(&node, late.clone()).judged(judged)
    }

    /// Notes at the node when its windows close and how long its results are held back, and adds
    /// the late topic.
    pub(super) fn finish<K2: Clone + 'static, V2: Clone + 'static>(
        &self,
        changes: &Stream<K2, V2>,
        closes: Closes,
        delay_ms: i64,
        late: Option<&LateTopic<V>>,
    ) {
        let mut graph = self.stream.graph.borrow_mut();
        graph.nodes[changes.node].closes = Some(closes);
        graph.nodes[changes.node].delay_ms = delay_ms;
        drop(graph);
        LateSink::place(late, changes);
    }
}

fn place_windows<K: Key, V: Clone + 'static, G: Aggregator<K, V>>(
    place: &Placed<K, V>,
    (windows, emit_final): (FixedWindows, bool),
    aggregator: G,
) -> Table<Windowed<K>, G::Output> {
    let (store, node) = (place.store, place.node.clone());
    let codec = aggregator.codec();
    let aggregator = Arc::new(aggregator);
    let (shown, read_codec) = (Arc::clone(&aggregator), Arc::clone(&codec));
    let (time, late) = (place.time(), place.late_records());
    let changes = place.stream.then_timed(KIND, vec![store], move |next| WindowAggregate {
        windows,
        aggregator: Arc::clone(&aggregator),
        stored: Stored::new(node.clone(), store, Arc::clone(&codec)),
        time: time(),
        expiring: Expiring::new(store),
        new: NewKeys::new(store),
        late: late(),
        emit_final,
        key: Vec::new(),
        next,
    });
    let key_of = |key: &Windowed<K>, out: &mut Vec<u8>| {
        put_time(out, key.window.start);
        key.key.encode(out)
    };
    Table::stored_as(changes, (store, read_codec), key_of, move |state| shown.output(state))
}
