//! `combined` before windows of time or of a calendar: partial aggregates on the sending side.
//!
//! Records that lie in the same windows, and find the same of them open, are put together: those of
//! one pane, a stretch of time that no window cuts through, whose clocks leave the same windows
//! open. Which are open is decided here, record by record, by the clock that the receiving side
//! would go by; records that come too late are counted here, and go to the late topic. A partial
//! aggregate has the latest clock of its records and reaches the same windows as each of them.

use std::sync::Arc;

use super::combine::{KIND, Partials, alone, needs_merge};
use super::group::Grouped;
use super::stream_time::put_time;
use super::window_late::{LateRecords, LateSink, LateTopic, Missed, key_bytes};
use super::window_time::LATE;
use crate::aggregates::Aggregator;
use crate::codec::Value;
use crate::dsl::{FixedWindows, Stream};
use crate::key::Key;
use crate::operator::{Fault, Next, Operator, Timed};
use crate::record::Record;
use crate::task::Context;

/// Puts the records of each key and pane together until the commit.
struct CombineWindows<K, V, G: Aggregator<K, V>> {
    windows: FixedWindows,
    aggregator: Arc<G>,
    late: LateRecords<V>,
    partials: Partials<K, G::State>,
    key: Vec<u8>,
    group: Vec<u8>,
    next: Next<K, G::State>,
}

impl<K: Key, V, G: Aggregator<K, V>> Operator<K, V> for CombineWindows<K, V, G> {
    fn process(&mut self, record: Record<K, V>, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let Some(origin) = ctx.origin() else {
            return self.next.forward(alone(&*self.aggregator, record, ctx), ctx);
        };
        if !key_bytes(&record.key, &mut self.key) {
            ctx.count_dropped(self.late.node(), "null key");
            return Ok(());
        }
        let Some(first_open) = self.first_open(&record, origin.clock, ctx)? else { return Ok(()) };
        self.group.clear();
        put_time(&mut self.group, self.windows.pane_start(record.timestamp));
        put_time(&mut self.group, first_open);
        self.group.extend_from_slice(&self.key);
        self.partials.add(&*self.aggregator, (&self.group, origin), record, ctx);
        if self.partials.are_many() { self.partials.flush(&self.next, ctx) } else { Ok(()) }
    }
}

impl<K: Key, V, G: Aggregator<K, V>> CombineWindows<K, V, G> {
    /// The start of the first of the record's windows that is open when its source's clock is
    /// `clock`, if one is. That it has missed others is told.
    fn first_open(
        &mut self,
        record: &Record<K, V>,
        clock: i64,
        ctx: &mut Context<'_>,
    ) -> Result<Option<i64>, Fault> {
        let (mut missed, mut all, mut first) = (0, 0, None);
        for window in self.windows.windows_of(record.timestamp) {
            all += 1;
            if self.windows.is_late(window, clock) {
                missed += 1;
            } else {
                first = first.or(Some(window.start));
            }
        }
        if missed > 0 {
            let (value, timestamp) = (&record.value, record.timestamp);
            let missed = Missed { key: &self.key, value, timestamp, windows: (missed, all) };
            self.late.missed(LATE, &missed, ctx)?;
        }
        Ok(first)
    }
}

impl<K: Clone, V, G: Aggregator<K, V>> Timed for CombineWindows<K, V, G> {
    fn advance(&mut self, ctx: &mut Context<'_>) -> Result<(), Fault> {
        self.partials.flush(&self.next, ctx)
    }
}

/// Places the sending side before windows, and the topic that it sends to.
pub(super) fn place<K: Key, V: Value, G: Aggregator<K, V>>(
    grouped: &Grouped<K, V>,
    windows: FixedWindows,
    (store, late): (&str, Option<LateTopic<V>>),
    aggregator: &Arc<G>,
) -> Stream<K, G::State> {
    let node = needs_merge(grouped, &**aggregator);
    let entries_max = grouped.combines().unwrap_or(1);
    let combine = Arc::clone(aggregator);
    let sink = LateSink::plan(late.as_ref(), &grouped.stream.graph.borrow());
    let partials = grouped.stream.then_timed(KIND, Vec::new(), move |next| CombineWindows {
        windows,
        aggregator: Arc::clone(&combine),
        late: LateRecords::new(&node, sink.clone()),
        partials: Partials::new(entries_max),
        key: Vec::new(),
        group: Vec::new(),
        next,
    });
    LateSink::place(late.as_ref(), &partials);
    partials.repartition_with(grouped.topic(store), aggregator.codec())
}

#[cfg(test)]
mod tests;
