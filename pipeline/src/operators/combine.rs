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

use crate::aggregates::{Aggregator, At, Merge};
use crate::codec::Serde;
use crate::format::origin::Origin;
use crate::key::Key;
use crate::operator::{Fault, Next, Operator, Timed};
use crate::record::Record;
use crate::task::Context;

/// Puts the records of each key together until the commit.
pub(super) struct Combine<K, V, G: Aggregator<K, V>> {
    node: String,
    aggregator: Arc<G>,
    entries_max: usize,
    places: HashMap<Box<[u8]>, usize>,
    /// In the order of their first records, so that what is sent does not depend on hashes.
    partials: Vec<Partial<K, G::State>>,
    key: Vec<u8>,
    next: Next<K, G::State>,
}

struct Partial<K, S> {
    key: K,
    state: S,
    timestamp: i64,
    /// That of its record with the latest clock.
    origin: Origin,
}

impl<K, V, G: Aggregator<K, V>> Combine<K, V, G> {
    pub(super) fn new(
        node: String,
        aggregator: Arc<G>,
        entries_max: usize,
        next: Next<K, G::State>,
    ) -> Self {
        Self {
            node,
            aggregator,
            entries_max,
            places: HashMap::new(),
            partials: Vec::new(),
            key: Vec::new(),
            next,
        }
    }
}

impl<K: Clone, V, G: Aggregator<K, V>> Combine<K, V, G> {
    fn add(&mut self, record: Record<K, V>, origin: Origin, at: At) {
        let Record { key, value, timestamp } = record;
        let aggregator = &self.aggregator;
        if let Some(place) = self.places.get(&self.key[..]) {
            let partial = &mut self.partials[*place];
            let state = std::mem::replace(&mut partial.state, aggregator.init());
            partial.state = aggregator.add(state, &key, &value, at);
            partial.timestamp = partial.timestamp.max(timestamp);
            if origin.clock >= partial.origin.clock {
                partial.origin = origin;
            }
            return;
        }
        self.places.insert(self.key.as_slice().into(), self.partials.len());
        let state = aggregator.add(aggregator.init(), &key, &value, at);
        self.partials.push(Partial { key, state, timestamp, origin });
    }

    fn flush(&mut self, ctx: &mut Context<'_>) -> Result<(), Fault> {
        self.places.clear();
        for Partial { key, state, timestamp, origin } in self.partials.drain(..) {
            let record = Record { key, value: state, timestamp };
            ctx.as_if_from(origin, |ctx| self.next.forward(record, ctx))?;
        }
        Ok(())
    }
}

impl<K: Key, V, G: Aggregator<K, V>> Operator<K, V> for Combine<K, V, G> {
    fn process(&mut self, record: Record<K, V>, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let at = ctx.at(record.timestamp);
        let Some(origin) = ctx.origin() else {
            let state = self.aggregator.add(self.aggregator.init(), &record.key, &record.value, at);
            return self.next.forward(record.with_value(state), ctx);
        };
        self.key.clear();
        if !record.key.encode(&mut self.key) {
            ctx.count_dropped(&self.node, "null key");
            return Ok(());
        }
        ctx.touch();
        self.add(record, origin, at);
        if self.partials.len() >= self.entries_max {
            self.flush(ctx)?;
        }
        Ok(())
    }
}

impl<K: Clone, V, G: Aggregator<K, V>> Timed for Combine<K, V, G> {
    fn advance(&mut self, ctx: &mut Context<'_>) -> Result<(), Fault> {
        self.flush(ctx)
    }
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
