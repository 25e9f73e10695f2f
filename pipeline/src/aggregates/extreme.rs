//! The smallest and the largest.

use std::cmp::Ordering;

use super::{Aggregator, At, Merge};
use crate::codec::{Serde, Value, json};

/// The smallest or the largest of what a closure gives of each value; of equal ones, it does not
/// matter which. Merges. It cannot retract: the second best is not kept; for the rows of a table
/// see [`crate::Table::top`].
pub struct Extreme<F> {
    of: F,
    /// How a candidate compares to what is kept when it takes its place.
    better: Ordering,
}

impl<F> Extreme<F> {
    /// The smallest.
    pub fn min<V, T: Ord>(of: F) -> Self
    where
        F: Fn(&V) -> T,
    {
        Self { of, better: Ordering::Less }
    }

    /// The largest.
    pub fn max<V, T: Ord>(of: F) -> Self
    where
        F: Fn(&V) -> T,
    {
        Self { of, better: Ordering::Greater }
    }

    fn better<T: Ord>(&self, kept: Option<T>, candidate: T) -> T {
        match kept {
            Some(kept) if candidate.cmp(&kept) != self.better => kept,
            _ => candidate,
        }
    }
}

impl<K, V, T, F> Aggregator<K, V> for Extreme<F>
where
    T: Value + Ord,
    F: Fn(&V) -> T + Send + Sync + 'static,
{
    type State = Option<T>;
    type Output = T;

    fn init(&self) -> Option<T> {
        None
    }

    fn add(&self, kept: Option<T>, _: &K, value: &V, _: At) -> Option<T> {
        Some(self.better(kept, (self.of)(value)))
    }

    fn output(&self, kept: &Option<T>) -> T {
        kept.clone().expect("only what has been added to is shown")
    }

    fn codec(&self) -> Serde<Option<T>> {
        json()
    }

    fn merge(&self) -> Option<Merge<Self, K, Option<T>>> {
        Some(|this, _, a, b| match b {
            Some(b) => Some(this.better(a, b)),
            None => a,
        })
    }
}
