//! The first and the last.

use super::{Aggregator, At, Merge};
use crate::codec::{Serde, Value, json};

/// The first or the last by event time of what a closure gives of each value, with [`At`]
/// deciding between records of one moment: it does not depend on which arrived first. Merges.
pub struct Edge<F> {
    of: F,
    last: bool,
}

impl<F> Edge<F> {
    /// The first.
    pub fn first<V, T>(of: F) -> Self
    where
        F: Fn(&V) -> T,
    {
        Self { of, last: false }
    }

    /// The last.
    pub fn last<V, T>(of: F) -> Self
    where
        F: Fn(&V) -> T,
    {
        Self { of, last: true }
    }

    /// Of the values that one record was split into, the first comes first.
    fn keep<T>(&self, a: (At, T), b: (At, T)) -> (At, T) {
        let b_is_later = b.0 >= a.0;
        if b_is_later == self.last { b } else { a }
    }
}

impl<K, V, T, F> Aggregator<K, V> for Edge<F>
where
    T: Value,
    F: Fn(&V) -> T + Send + Sync + 'static,
{
    type State = Option<(At, T)>;
    type Output = T;

    fn init(&self) -> Self::State {
        None
    }

    fn add(&self, kept: Self::State, _: &K, value: &V, at: At) -> Self::State {
        let new = (at, (self.of)(value));
        Some(match kept {
            Some(kept) => self.keep(kept, new),
            None => new,
        })
    }

    fn output(&self, kept: &Self::State) -> T {
        let (_, kept) = kept.as_ref().expect("only what has been added to is shown");
        kept.clone()
    }

    fn codec(&self) -> Serde<Self::State> {
        json()
    }

    fn merge(&self) -> Option<Merge<Self, K, Self::State>> {
        Some(|this, _, a, b| match (a, b) {
            (Some(a), Some(b)) => Some(this.keep(a, b)),
            (a, b) => a.or(b),
        })
    }
}
