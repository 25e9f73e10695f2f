//! What an operator can reach while it handles a record.

use stores::state::{Entry, KeyRange, Order, StateError, Store, Visit};

use super::attempt::Effects;
use super::counters::Counters;
use super::outputs::Outputs;
use crate::aggregates::At;
use crate::bad_record::{BadRecordPolicy, Defect, TimeBounds};
use crate::codec::CodecError;
use crate::format::EVENT_ID_HEADER;
use crate::format::origin::Origin;
use crate::globals::GlobalRows;
use crate::log::Headers;
use crate::operator::Fault;
use crate::topology::{Graph, SinkRef, StoreRef};

/// The stores, outputs and times that an operator works with. Made for each record.
pub(crate) struct Context<'a> {
    pub(super) stores: &'a mut [Store],
    pub(super) slots: &'a [Option<usize>],
    pub(super) globals: &'a [GlobalRows],
    pub(super) outputs: &'a mut Outputs,
    pub(super) counters: &'a Counters,
    pub(super) current: Current<'a>,
    /// Behind a repartition: the smallest clock of the sources.
    pub(super) closing: Option<i64>,
    /// While time is advanced: the wall clock, in milliseconds since 1970-01-01 UTC.
    pub(super) wall_ms: Option<i64>,
    /// The event times that the record may have.
    pub(super) bounds: TimeBounds,
    /// The largest record that may be written, in bytes.
    pub(super) record_bytes_max: usize,
    /// What is done with results that break off when time passes.
    pub(super) policy: BadRecordPolicy,
    pub(super) graph: &'a Graph,
    /// The node that works.
    pub(super) node: usize,
    pub(super) effects: &'a mut Effects,
}

/// The record that is being handled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Current<'a> {
    pub(super) headers: Headers<'a>,
    pub(super) origin: Option<Origin>,
    /// The source clock up to the record before; with it once it is observed.
    pub(super) clock: i64,
    /// Whether the record comes from a repartition topic, with its clock.
    pub(super) repartitioned: bool,
}

impl Current<'_> {
    /// No record: time has passed.
    pub(super) fn none() -> Self {
        Self { headers: Headers::default(), origin: None, clock: i64::MIN, repartitioned: false }
    }
}

/// A record on its way out.
#[derive(Clone, Copy)]
pub(crate) struct Outgoing<'a> {
    pub(crate) timestamp: i64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
}

impl Context<'_> {
    /// Notes which node works from now on, and answers which one did.
    pub(crate) fn enter(&mut self, node: usize) -> usize {
        std::mem::replace(&mut self.node, node)
    }

    /// The event times that the record may have.
    pub(crate) fn time_bounds(&self) -> TimeBounds {
        self.bounds
    }

    /// Takes in the event time of the record that a source has just decoded.
    pub(crate) fn observe(&mut self, timestamp: i64) {
        if self.current.repartitioned {
            return;
        }
        self.current.clock = self.current.clock.max(timestamp);
        if let Some(origin) = &mut self.current.origin {
            origin.clock = self.current.clock;
        }
    }

    /// The time that decides whether the record is late: behind a repartition its own source's
    /// clock, else the operator's stream time. What time made has no source; it comes before the
    /// clocks that would make it late.
    pub(crate) fn lateness_clock(&self, own: i64) -> i64 {
        match (self.closing, self.current.origin) {
            (None, _) => own,
            (Some(_), Some(origin)) => origin.clock,
            (Some(_), None) => i64::MIN,
        }
    }

    /// The time by which windows close: behind a repartition the smallest clock of the sources,
    /// else the operator's stream time.
    pub(crate) fn closing_clock(&self, own: i64) -> i64 {
        self.closing.unwrap_or(own)
    }

    /// Behind a repartition: the smallest clock of all sources. Nothing that comes from now on has
    /// a clock below it.
    pub(crate) fn sources_clock(&self) -> Option<i64> {
        self.closing
    }

    /// Does `work` as what time makes, and not the current record: it has no origin. As time passes
    /// each result is [`Self::isolated`] from the others.
    pub(crate) fn made_by_time(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let nobody = Current { repartitioned: self.current.repartitioned, ..Current::none() };
        let record = std::mem::replace(&mut self.current, nobody);
        let made = self.isolated(&[], work);
        self.current = record;
        made
    }

    /// When a record with `timestamp`, made from the current one, happens among all others.
    pub(crate) fn at(&self, timestamp: i64) -> At {
        let of = |origin: Origin| At {
            timestamp,
            source: origin.source.saturating_add(1),
            partition: origin.partition,
            offset: origin.offset,
        };
        self.current.origin.map_or_else(|| At::time(timestamp), of)
    }

    /// Where the record that is being handled comes from; `None` if time made it.
    pub(crate) fn origin(&self) -> Option<Origin> {
        self.current.origin
    }

    /// Does something as if it came of a record from `origin`: for what was held back.
    pub(crate) fn as_if_from<T>(&mut self, origin: Origin, run: impl FnOnce(&mut Self) -> T) -> T {
        let then = Current { origin: Some(origin), ..Current::none() };
        let current = std::mem::replace(&mut self.current, then);
        let done = run(self);
        self.current = current;
        done
    }

    /// While time is advanced: what the worker's wall clock shows.
    pub(crate) fn wall_ms(&self) -> Option<i64> {
        self.wall_ms
    }

    /// The headers of the record that is being handled.
    pub(crate) fn headers(&self) -> Headers<'_> {
        self.current.headers
    }

    /// Adds a header to what this record becomes in the topics of `to`.
    pub(crate) fn add_header(&mut self, name: &str, value: &[u8]) {
        self.outputs.add_header(name, value);
    }

    /// The source clock of the record that is being handled, the record included; `None` for
    /// what is made by time.
    pub(crate) fn source_clock(&self) -> Option<i64> {
        self.current.origin.map(|origin| origin.clock)
    }

    /// The id that the sender gave the event.
    pub(crate) fn event_id(&self) -> Option<&str> {
        std::str::from_utf8(self.current.headers.get(EVENT_ID_HEADER)?).ok()
    }

    /// Counts a record that `node` drops.
    pub(crate) fn count_dropped(&self, node: &str, reason: &'static str) {
        self.counters.add(node, reason);
    }

    /// Shows the value of `key` in `store` to `read`.
    pub(crate) fn read<T>(
        &self,
        store: StoreRef,
        key: &[u8],
        read: impl FnOnce(Option<&[u8]>) -> T,
    ) -> Result<T, StateError> {
        self.stores[self.slot(store)].read(key, read)
    }

    /// Shows the value of `key` in a global table to `read`.
    pub(crate) fn read_global<T>(
        &self,
        global: usize,
        key: &[u8],
        read: impl Fn(&[u8]) -> T,
    ) -> Result<Option<T>, StateError> {
        self.globals[global].read(key, read)
    }

    /// Sets `key` in `store`. A row that is too large for its changelog makes the record bad: it
    /// is found out when the record is done.
    pub(crate) fn put(&mut self, store: StoreRef, key: &[u8], value: &[u8]) {
        self.effects.changed = true;
        let slot = self.slot(store);
        let bytes = key.len() + value.len();
        if bytes > self.record_bytes_max {
            let max = self.record_bytes_max;
            let reason = format!("a row of {bytes} bytes is too large for its store: {max}");
            self.effects.too_large.get_or_insert((self.node, reason));
            return;
        }
        self.stores[slot].put(key, value);
    }

    /// Removes `key` from `store`.
    pub(crate) fn delete(&mut self, store: StoreRef, key: &[u8]) {
        self.effects.changed = true;
        let slot = self.slot(store);
        self.stores[slot].delete(key);
    }

    /// The first `limit` entries of `store` in a range of keys.
    pub(crate) fn scan(
        &self,
        store: StoreRef,
        range: (&[u8], &[u8]),
        limit: usize,
    ) -> Result<Vec<Entry>, StateError> {
        self.stores[self.slot(store)].scan(range, limit)
    }

    /// Shows the entries of `store` in a range of keys to `visit`, in `order`, until it says no.
    /// For what begins with a prefix, [`stores::state::after_prefix`] is the end of the range.
    pub(crate) fn scan_each(
        &self,
        store: StoreRef,
        range: KeyRange<'_>,
        order: Order,
        visit: &mut Visit<'_>,
    ) -> Result<(), StateError> {
        self.stores[self.slot(store)].scan_each(range, order, visit)
    }

    /// An operator is about to change what it keeps in itself, other than [`Remembered`] values: if
    /// the record breaks off then, the task is made again from the log.
    pub(crate) fn touch(&mut self) {
        self.effects.touched = true;
    }

    /// Writes `record` to `sink`.
    pub(crate) fn send(
        &mut self,
        node: &str,
        sink: SinkRef,
        record: Outgoing<'_>,
    ) -> Result<(), Fault> {
        self.send_with(node, sink, record, &[])
    }

    /// Writes `record` to `sink`, with headers of its own.
    pub(crate) fn send_with(
        &mut self,
        node: &str,
        sink: SinkRef,
        record: Outgoing<'_>,
        headers: &[(&str, &[u8])],
    ) -> Result<(), Fault> {
        self.effects.changed = true;
        let sent = self.outputs.send(sink, record, &self.current, headers);
        sent.map_err(|reason| Fault::BadRecord {
            node: node.to_owned(),
            defect: Defect::TooLarge,
            reason,
        })
    }

    /// A value has no bytes.
    pub(crate) fn bad_value(&self, node: &str, error: &CodecError) -> Fault {
        let (node, reason) = (node.to_owned(), error.to_string());
        Fault::BadRecord { node, defect: Defect::Encoding, reason }
    }

    /// What a store holds does not decode: it was written by another version of the topology, or
    /// damaged.
    pub(crate) fn bad_state(&self, node: &str, error: &CodecError) -> Fault {
        let reason = format!("its state is {error}");
        Fault::BadRecord { node: node.to_owned(), defect: Defect::State, reason }
    }

    fn slot(&self, store: StoreRef) -> usize {
        self.slots[store.0].expect("a node and its stores are in one sub-topology")
    }
}
