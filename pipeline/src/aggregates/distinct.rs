//! How many different values there were, exactly, up to a bound.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Aggregator, At, Merge};
use crate::codec::{Serde, Value, json};

/// A count of different items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DistinctCount {
    /// How many.
    pub count: u64,
    /// Whether there may be more: the bound was reached.
    pub or_more: bool,
}

/// Counts different items exactly, up to a bound; from there on it says "or more". Merges.
///
/// The items are kept. For many, see [`super::ApproxDistinct`].
pub struct Distinct<F> {
    items_max: usize,
    of: F,
}

/// The items, and whether one was left out.
pub type Items<T> = (BTreeSet<T>, bool);

impl<F> Distinct<F> {
    /// Counts what `of` gives of each value, up to `items_max` different ones.
    pub fn of<V, T: Ord>(items_max: usize, of: F) -> Self
    where
        F: Fn(&V) -> T,
    {
        Self { items_max, of }
    }

    /// Which items are kept beyond the bound is decided by their order, not by who came first.
    fn with<T: Ord>(&self, (mut items, mut left_out): Items<T>, item: T) -> Items<T> {
        items.insert(item);
        if items.len() > self.items_max {
            items.pop_last();
            left_out = true;
        }
        (items, left_out)
    }
}

impl<K, V, T, F> Aggregator<K, V> for Distinct<F>
where
    T: Value + Ord,
    F: Fn(&V) -> T + Send + Sync + 'static,
{
    type State = Items<T>;
    type Output = DistinctCount;

    fn init(&self) -> Items<T> {
        (BTreeSet::new(), false)
    }

    fn add(&self, items: Items<T>, _: &K, value: &V, _: At) -> Items<T> {
        self.with(items, (self.of)(value))
    }

    fn output(&self, (items, left_out): &Items<T>) -> DistinctCount {
        DistinctCount { count: items.len() as u64, or_more: *left_out }
    }

    fn codec(&self) -> Serde<Items<T>> {
        json()
    }

    fn merge(&self) -> Option<Merge<Self, K, Items<T>>> {
        Some(|this, _, a, (items, left_out)| {
            let (items, more) = items.into_iter().fold(a, |a, item| this.with(a, item));
            (items, more || left_out)
        })
    }
}
