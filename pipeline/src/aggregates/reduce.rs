//! Values put together by one closure.

use super::{Aggregator, At, Merge};
use crate::codec::{Serde, Value, json};

/// Puts values together two at a time, the earlier arrival first. Merges with the same closure.
pub struct Reduce<F> {
    add: F,
}

impl<F> Reduce<F> {
    /// `add` gets what there is, and one more.
    pub fn new(add: F) -> Self {
        Self { add }
    }
}

impl<K, V, F> Aggregator<K, V> for Reduce<F>
where
    V: Value,
    F: Fn(V, &V) -> V + Send + Sync + 'static,
{
    type State = Option<V>;
    type Output = V;

    fn init(&self) -> Option<V> {
        None
    }

    fn add(&self, state: Option<V>, _: &K, value: &V, _: At) -> Option<V> {
        Some(state.map_or_else(|| value.clone(), |state| (self.add)(state, value)))
    }

    fn output(&self, state: &Option<V>) -> V {
        state.clone().expect("only what has been added to is shown")
    }

    fn codec(&self) -> Serde<Option<V>> {
        json()
    }

    fn merge(&self) -> Option<Merge<Self, K, Option<V>>> {
        Some(|reduce, _, a, b| match (a, b) {
            (Some(a), Some(b)) => Some((reduce.add)(a, &b)),
            (a, b) => a.or(b),
        })
    }
}
