//! `combined`: partial aggregates before a repartition.
//!
//! Where few keys have most of the records, all of these would go through one partition of the
//! repartition topic. Instead the sending side puts the records of a key together and sends what
//! they come to, once for each commit; the receiving side merges.
//!
//! Nothing else changes: an aggregate's state carries whatever of its records' times and places it
//! goes by, and a result has the largest timestamp of its records, as without. What is held back
//! is memory of the task alone: it is sent in the commit that its records belong to, and lost with
//! it. The records of a time (`At`) without a source are not held back.

use std::marker::PhantomData;
use std::sync::Arc;

use hashbrown::HashMap;

use super::group::Grouped;
use super::window_late::key_bytes;
use crate::aggregates::{Aggregator, At, Merge};
use crate::codec::{Serde, Value};
use crate::dsl::Stream;
use crate::format::origin::Origin;
use crate::key::Key;
use crate::operator::{Fault, Next, Operator, Timed};
use crate::record::Record;
use crate::task::Context;
use crate::topology::TopologyError;

/// Puts the records of each key together until the commit.
struct Combine<K, V, G: Aggregator<K, V>> {
    node: String,
    aggregator: Arc<G>,
    partials: Partials<K, G::State>,
    key: Vec<u8>,
    next: Next<K, G::State>,
}

impl<K: Key, V, G: Aggregator<K, V>> Operator<K, V> for Combine<K, V, G> {
    fn process(&mut self, record: Record<K, V>, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let Some(origin) = ctx.origin() else {
            return self.next.forward(alone(&*self.aggregator, record, ctx), ctx);
        };
        if !key_bytes(&record.key, &mut self.key) {
            ctx.count_dropped(&self.node, "null key");
            return Ok(());
        }
        self.partials.add(&*self.aggregator, (&self.key, origin), record, ctx);
        if self.partials.are_many() { self.partials.flush(&self.next, ctx) } else { Ok(()) }
    }
}

impl<K: Clone, V, G: Aggregator<K, V>> Timed for Combine<K, V, G> {
    fn advance(&mut self, ctx: &mut Context<'_>) -> Result<(), Fault> {
        self.partials.flush(&self.next, ctx)
    }
}

/// The partial aggregate of one record.
pub(super) fn alone<K, V, G: Aggregator<K, V>>(
    aggregator: &G,
    record: Record<K, V>,
    ctx: &Context<'_>,
) -> Record<K, G::State> {
    let at = ctx.at(record.timestamp);
    let state = aggregator.add(aggregator.init(), &record.key, &record.value, at);
    record.with_value(state)
}

/// Partial aggregates until the commit.
pub(super) struct Partials<K, S> {
    entries_max: usize,
    places: HashMap<Box<[u8]>, usize>,
    /// In the order of their first records, so that what is sent does not depend on hashes.
    partials: Vec<Partial<K, S>>,
}

struct Partial<K, S> {
    key: K,
    state: S,
    timestamp: i64,
    /// That of its record with the latest clock.
    origin: Origin,
}

impl<K: Clone, S: Clone> Partials<K, S> {
    /// To be flushed when there are `entries_max`.
    pub(super) fn new(entries_max: usize) -> Self {
        Self { entries_max, places: HashMap::new(), partials: Vec::new() }
    }

    /// Adds a record from `origin` to the partial aggregate of its group.
    pub(super) fn add<V, G: Aggregator<K, V, State = S>>(
        &mut self,
        aggregator: &G,
        (group, origin): (&[u8], Origin),
        record: Record<K, V>,
        ctx: &mut Context<'_>,
    ) {
        ctx.touch();
        let Record { key, value, timestamp } = record;
        let at = ctx.at(timestamp);
        let Some(place) = self.places.get(group) else {
            self.places.insert(group.into(), self.partials.len());
            let state = aggregator.add(aggregator.init(), &key, &value, at);
            self.partials.push(Partial { key, state, timestamp, origin });
            return;
        };
        let partial = &mut self.partials[*place];
        let state = std::mem::replace(&mut partial.state, aggregator.init());
        partial.state = aggregator.add(state, &key, &value, at);
        partial.timestamp = partial.timestamp.max(timestamp);
        if origin.clock >= partial.origin.clock {
            partial.origin = origin;
        }
    }

    pub(super) fn are_many(&self) -> bool {
        self.partials.len() >= self.entries_max
    }

    /// Hands them all on, by their clocks: what comes first must not tell of a time at which the
    /// windows of what comes after it are closed.
    pub(super) fn flush(&mut self, next: &Next<K, S>, ctx: &mut Context<'_>) -> Result<(), Fault> {
        self.places.clear();
        self.partials.sort_by_key(|partial| partial.origin.clock);
        for Partial { key, state, timestamp, origin } in self.partials.drain(..) {
            let record = Record { key, value: state, timestamp };
            ctx.as_if_from(origin, |ctx| next.forward(record, ctx))?;
        }
        Ok(())
    }
}

/// Places the sending side of a grouped stream, whose records change their places before `store`,
/// and the topic that it sends to.
pub(super) fn place<K: Key, V: Value, G: Aggregator<K, V>>(
    grouped: &Grouped<K, V>,
    store: &str,
    aggregator: &Arc<G>,
) -> Stream<K, G::State> {
    let node = needs_merge(grouped, &**aggregator);
    let entries_max = grouped.combines().unwrap_or(1);
    let combine = Arc::clone(aggregator);
    let partials = grouped.stream.then_timed(KIND, Vec::new(), move |next| Combine {
        node: node.clone(),
        aggregator: Arc::clone(&combine),
        partials: Partials::new(entries_max),
        key: Vec::new(),
        next,
    });
    partials.repartition_with(grouped.topic(store), aggregator.codec())
}

/// The kind of the sending sides' nodes.
pub(super) const KIND: &str = "KSTREAM-COMBINE";

/// The name of the next node; an error of the topology if the aggregate there cannot merge.
pub(super) fn needs_merge<K: Key, V: Value, G: Aggregator<K, V>>(
    grouped: &Grouped<K, V>,
    aggregator: &G,
) -> String {
    let node = grouped.stream.next_name(KIND);
    if aggregator.merge().is_none() {
        let error = TopologyError::NeedsMerge { node: node.clone() };
        grouped.stream.graph.borrow_mut().errors.push(error);
    }
    node
}

/// The receiving side: an aggregate of partial aggregates.
pub(super) struct Merged<V, G> {
    inner: Arc<G>,
    of: PhantomData<fn(V)>,
}

impl<V, G> Merged<V, G> {
    pub(super) fn new(inner: Arc<G>) -> Self {
        Self { inner, of: PhantomData }
    }
}

impl<K, V: 'static, G: Aggregator<K, V>> Aggregator<K, G::State> for Merged<V, G> {
    type State = G::State;
    type Output = G::Output;

    fn init(&self) -> G::State {
        self.inner.init()
    }

    fn add(&self, state: G::State, key: &K, partial: &G::State, _: At) -> G::State {
        let merge = self.inner.merge().expect("checked when the topology was built");
        merge(&self.inner, key, state, partial.clone())
    }

    fn output(&self, state: &G::State) -> G::Output {
        self.inner.output(state)
    }

    fn codec(&self) -> Serde<G::State> {
        self.inner.codec()
    }

    fn merge(&self) -> Option<Merge<Self, K, G::State>> {
        self.inner.merge()?;
        Some(|this, key, a, b| {
            let merge = this.inner.merge().expect("checked just before");
            merge(&this.inner, key, a, b)
        })
    }
}

#[cfg(test)]
mod tests;
