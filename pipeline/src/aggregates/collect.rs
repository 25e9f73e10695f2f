//! The values themselves, up to a bound.

use serde::{Deserialize, Serialize};

use super::{Aggregator, At, Merge};
use crate::codec::{Serde, Value, json};

/// Items in order of event time, and how many were left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collected<T> {
    /// The items that are kept, the earliest first.
    pub items: Vec<T>,
    /// How many there were beside them.
    pub left_out: u64,
}

/// Collects items, the earliest or the latest up to a bound, in the order of [`At`]: it does not
/// depend on which arrived first. Merges.
pub struct Collect<F> {
    items_max: usize,
    of: F,
    latest: bool,
}

/// What is kept, in order, and how many are not.
pub type Kept<T> = (Vec<(At, T)>, u64);

impl<F> Collect<F> {
    /// Keeps the `items_max` earliest of what `of` gives of each value.
    pub fn earliest<V, T>(items_max: usize, of: F) -> Self
    where
        F: Fn(&V) -> T,
    {
        Self { items_max, of, latest: false }
    }

    /// Keeps the `items_max` latest of what `of` gives of each value.
    pub fn latest<V, T>(items_max: usize, of: F) -> Self
    where
        F: Fn(&V) -> T,
    {
        Self { items_max, of, latest: true }
    }

    fn with<T>(&self, (mut items, mut left_out): Kept<T>, at: At, item: T) -> Kept<T> {
        let place = items.partition_point(|(other, _)| *other <= at);
        items.insert(place, (at, item));
        if items.len() > self.items_max {
            items.remove(if self.latest { 0 } else { items.len() - 1 });
            left_out += 1;
        }
        (items, left_out)
    }
}

impl<K, V, T, F> Aggregator<K, V> for Collect<F>
where
    T: Value,
    F: Fn(&V) -> T + Send + Sync + 'static,
{
    type State = Kept<T>;
    type Output = Collected<T>;

    fn init(&self) -> Kept<T> {
        (Vec::new(), 0)
    }

    fn add(&self, kept: Kept<T>, _: &K, value: &V, at: At) -> Kept<T> {
        self.with(kept, at, (self.of)(value))
    }

    fn output(&self, (items, left_out): &Kept<T>) -> Collected<T> {
        let items = items.iter().map(|(_, item)| item.clone()).collect();
        Collected { items, left_out: *left_out }
    }

    fn codec(&self) -> Serde<Kept<T>> {
        json()
    }

    fn merge(&self) -> Option<Merge<Self, K, Kept<T>>> {
        Some(|this, _, a, (items, left_out)| {
            let add = |a, (at, item)| this.with(a, at, item);
            let (items, more) = items.into_iter().fold(a, add);
            (items, more + left_out)
        })
    }
}
