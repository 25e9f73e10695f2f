//! Values put together by one closure.

use std::sync::Arc;

use super::{Aggregator, At, Merge, Retract};
use crate::codec::{Serde, Value, json};

type Subtractor<V> = Arc<dyn Fn(V, &V) -> V + Send + Sync>;

/// Puts values together two at a time, the earlier arrival first; the first one is what there is
/// at first. Merges with the same closure, and retracts with another one.
pub struct Reduce<V, F> {
    add: F,
    subtract: Option<Subtractor<V>>,
}

impl<V, F: Fn(V, &V) -> V> Reduce<V, F> {
    /// `add` gets what there is, and one more.
    pub fn new(add: F) -> Self {
        Self { add, subtract: None }
    }

    /// `subtract` gets what there is, and what of it goes.
    #[must_use]
    pub fn with_retract(mut self, subtract: impl Fn(V, &V) -> V + Send + Sync + 'static) -> Self {
        self.subtract = Some(Arc::new(subtract));
        self
    }
}

impl<K, V, F> Aggregator<K, V> for Reduce<V, F>
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

    fn retract(&self) -> Option<Retract<Self, K, V, Option<V>>> {
        let retract: Retract<Self, K, V, Option<V>> = |reduce, _, state, value| {
            let subtract = reduce.subtract.as_ref().expect("handed out only if there is one");
            state.map(|state| subtract(state, value))
        };
        self.subtract.as_ref().map(|_| retract)
    }
}
