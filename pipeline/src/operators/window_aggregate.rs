//! Aggregates over windows of time and of a calendar.
//!
//! A record counts in each window that holds it, except those whose end is at or before its clock
//! less grace ([`super::window_time`] says which clock). The results are told at each change; or
//! with `emit_final` once, when the window closes, by ascending start and key. A result's timestamp
//! is the largest of its records.
//!
//! Entries are keyed by the window's start, then key: what closes together lies together.

use std::sync::Arc;

use super::group::{Grouped, Windows};
use super::kind;
use super::stored::Stored;
use super::stream_time::{Expiring, put_time};
use super::window_late::{LateRecords, LateSink, LateTopic, Missed};
use super::window_panes::{PaneAggregate, Panes};
use super::window_time::{Clocks, WindowTime};
use crate::aggregates::{Aggregator, Count, Fold, Reduce};
use crate::codec::{Serde, Value, json};
use crate::dsl::{CalendarWindows, FixedWindows, Stream, Table, TimeWindows};
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

/// A grouped stream with windows of time or of a calendar: see [`Grouped::windowed_by`].
pub struct WindowedGroup<K, V> {
    grouped: Grouped<K, V>,
    windows: FixedWindows,
    late: Option<LateTopic<V>>,
    emit_final: bool,
}

impl Windows for TimeWindows {
    type Group<K: Key, V: Value> = WindowedGroup<K, V>;

    fn group<K: Key, V: Value>(self, grouped: Grouped<K, V>) -> WindowedGroup<K, V> {
        let windows = FixedWindows::Time(self);
        WindowedGroup { grouped, windows, late: None, emit_final: false }
    }
}

impl Windows for CalendarWindows {
    type Group<K: Key, V: Value> = WindowedGroup<K, V>;

    fn group<K: Key, V: Value>(self, grouped: Grouped<K, V>) -> WindowedGroup<K, V> {
        let windows = FixedWindows::Calendar(self);
        WindowedGroup { grouped, windows, late: None, emit_final: false }
    }
}

struct WindowAggregate<K, V, G: Aggregator<K, V>> {
    windows: FixedWindows,
    aggregator: Arc<G>,
    stored: Stored<G::State>,
    time: WindowTime,
    expiring: Expiring,
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
        let clocks = self.time.observe(record.timestamp, ctx)?;
        let (mut missed, mut all, mut why) = (0, 0, None);
        for window in self.windows.windows_of(record.timestamp) {
            all += 1;
            match clocks.lateness(|clock| self.windows.is_late(window, clock)) {
                None => self.add(&record, window, ctx)?,
                Some(lateness) => {
                    missed += 1;
                    why = Some(lateness);
                }
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
        let (seen, state) = self.stored.get(&self.key, ctx)?.unzip();
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
        self.time.save(ctx);
        Ok(())
    }
}

/// A time as [`put_time`] writes it.
pub(super) fn time_bytes(time: i64) -> [u8; 8] {
    (time ^ i64::MIN).to_be_bytes()
}

impl<K: Key, V: Value> WindowedGroup<K, V> {
    /// Tells of each window once, when it closes, instead of at each change (Kafka Streams'
    /// `EmitStrategy.onWindowClose`).
    ///
    /// ```
    /// use std::time::Duration;
    /// use pipeline::{TimeWindows, TopologyBuilder, TopologyDriver, Windowed};
    ///
    /// let minute = TimeWindows::of_size_with_no_grace(Duration::from_secs(60));
    /// let builder = TopologyBuilder::new("clicks");
    /// builder
    ///     .stream::<String, i64>("clicks")
    ///     .group_by_key()
    ///     .windowed_by(minute)
    ///     .emit_final()
    ///     .count("clicks")
    ///     .to("per-minute");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// for at in [1_000, 59_000, 61_000] {
    ///     driver.pipe("clicks", "home", &1_i64, at);
    /// }
    /// let counts = driver.read::<Windowed<String>, i64>("per-minute");
    /// assert_eq!(counts.iter().map(|count| count.value).collect::<Vec<_>>(), [Some(2)]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    ///
    /// Hopping windows of an aggregate that merges are put together from panes then: a record costs
    /// the same however many windows hold it. Such a table holds nothing that a join could look up;
    /// put `.to_stream().to_table("name")` between.
    #[must_use]
    pub fn emit_final(self) -> Self {
        Self { emit_final: true, ..self }
    }

    /// Sends records that come too late for one of their windows or for all to `topic`, with their
    /// key, their value as JSON and their timestamp. Header `mp.late` says why (`late`, or `idle`
    /// if their source had stood still), `mp.late.windows` of how many windows they were left out:
    /// `1/3` is one of three.
    #[must_use]
    pub fn late_to(self, topic: &str) -> Self {
        Self { late: Some(LateTopic::json(topic)), ..self }
    }

    /// As [`Self::late_to`], with values as `codec` writes them.
    #[must_use]
    pub fn late_to_with(self, topic: &str, codec: Serde<V>) -> Self {
        Self { late: Some(LateTopic::with(topic, codec)), ..self }
    }

    /// Counts the records of each key and window, in the store `store`.
    pub fn count(self, store: &str) -> Table<Windowed<K>, i64> {
        self.aggregate_by(store, Count)
    }

    /// Puts the records of each key and window together, in the store `store`.
    pub fn reduce(
        self,
        store: &str,
        add: impl Fn(V, &V) -> V + Send + Sync + 'static,
    ) -> Table<Windowed<K>, V> {
        self.aggregate_by(store, Reduce::new(add))
    }

    /// Aggregates the records of each key and window, in the store `store`, as JSON.
    pub fn aggregate<A: Value>(
        self,
        store: &str,
        initial: impl Fn() -> A + Send + Sync + 'static,
        add: impl Fn(&K, &V, A) -> A + Send + Sync + 'static,
    ) -> Table<Windowed<K>, A> {
        self.aggregate_with(store, json(), initial, add)
    }

    /// Aggregates the records of each key and window, in the store `store`, stored by `codec`.
    pub fn aggregate_with<A: Clone + 'static>(
        self,
        store: &str,
        codec: Serde<A>,
        initial: impl Fn() -> A + Send + Sync + 'static,
        add: impl Fn(&K, &V, A) -> A + Send + Sync + 'static,
    ) -> Table<Windowed<K>, A> {
        self.aggregate_by(store, Fold::new(codec, initial, add))
    }

    /// Aggregates the records of each key and window as `aggregator` does, in the store `store`.
    pub fn aggregate_by<G: Aggregator<K, V>>(
        self,
        store: &str,
        aggregator: G,
    ) -> Table<Windowed<K>, G::Output> {
        let Self { grouped, windows, late, emit_final } = self;
        let stream = grouped.partitioned(store);
        check(&windows, &stream);
        let place = Placed::new(&stream, store, late.as_ref());
        let (after_ms, span_ms) = (windows.grace_ms(), windows.size_max_ms());
        let closes = Closes { after_ms, span_ms, end_inclusive: false };
        let delay_ms = if emit_final { after_ms.saturating_add(span_ms) } else { 0 };
        let panes = Panes::of(&windows).filter(|_| emit_final);
        let table = match (panes, aggregator.merge()) {
            (Some(panes), Some(merge)) => PaneAggregate::place(&place, panes, aggregator, merge),
            _ => place_windows(&place, (windows, emit_final), aggregator),
        };
        place.finish(&table.changes, closes, delay_ms, late.as_ref());
        table
    }
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
}

/// The kind of all aggregates' nodes.
pub(super) const KIND: &str = "KSTREAM-AGGREGATE";

impl<K: Clone + 'static, V: Clone + 'static> Placed<K, V> {
    pub(super) fn new(stream: &Stream<K, V>, store: &str, late: Option<&LateTopic<V>>) -> Self {
        let mut graph = stream.graph.borrow_mut();
        let store = graph.add_store(store);
        let (late, behind_ms) = (LateSink::plan(late, &graph), graph.delay_ms(stream.node));
        drop(graph);
        Self { node: stream.next_name(KIND), stream: stream.clone(), store, late, behind_ms }
    }

    pub(super) fn time(&self) -> impl Fn() -> WindowTime + Send + Sync + use<K, V> {
        let (store, behind_ms) = (self.store, self.behind_ms);
        move || WindowTime::new(store, behind_ms)
    }

    pub(super) fn late_records(&self) -> impl Fn() -> LateRecords<V> + Send + Sync + use<K, V> {
        let (node, late) = (self.node.clone(), self.late.clone());
        move || LateRecords::new(&node, late.clone())
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

fn place_windows<K: Key, V: Value, G: Aggregator<K, V>>(
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
