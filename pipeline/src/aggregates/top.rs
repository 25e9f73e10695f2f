//! The N best.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use super::{Aggregator, At, Merge};
use crate::codec::{Serde, Value, json};

/// An item with its rank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ranked<R, T> {
    /// What it is ordered by.
    pub rank: R,
    /// What it is.
    pub item: T,
}

/// The N items of the highest ranks, the highest first; of equal ranks the smaller item first. An
/// item that comes again counts with its highest rank. Merges: partial results of partitions,
/// panes or sessions together give the result of all.
///
/// It keeps N items and no more, and so cannot take one back. For a leaderboard of totals that
/// rise and fall, see [`crate::Table::top`].
pub struct TopN<F> {
    n: usize,
    of: F,
}

impl<F> TopN<F> {
    /// The `n` best; `of` gives rank and item of a value.
    pub fn of<V, R: Ord, T: Ord>(n: usize, of: F) -> Self
    where
        F: Fn(&V) -> (R, T),
    {
        Self { n, of }
    }
}

/// Puts `new` into `best`, which is in order and has at most `n`.
fn insert<R: Ord, T: Ord>(best: &mut Vec<Ranked<R, T>>, new: Ranked<R, T>, n: usize) {
    if let Some(known) = best.iter().position(|ranked| ranked.item == new.item) {
        if best[known].rank >= new.rank {
            return;
        }
        best.remove(known);
    }
    let order = |ranked: &Ranked<R, T>| {
        (Reverse(&ranked.rank), &ranked.item).cmp(&(Reverse(&new.rank), &new.item))
    };
    let place = best.binary_search_by(order).unwrap_or_else(|place| place);
    if place < n {
        best.insert(place, new);
        best.truncate(n);
    }
}

impl<K, V, R, T, F> Aggregator<K, V> for TopN<F>
where
    R: Value + Ord,
    T: Value + Ord,
    F: Fn(&V) -> (R, T) + Send + Sync + 'static,
{
    type State = Vec<Ranked<R, T>>;
    type Output = Vec<Ranked<R, T>>;

    fn init(&self) -> Self::State {
        Vec::new()
    }

    fn add(&self, mut best: Self::State, _: &K, value: &V, _: At) -> Self::State {
        let (rank, item) = (self.of)(value);
        insert(&mut best, Ranked { rank, item }, self.n);
        best
    }

    fn output(&self, best: &Self::State) -> Self::Output {
        best.clone()
    }

    fn codec(&self) -> Serde<Self::State> {
        json()
    }

    fn merge(&self) -> Option<Merge<Self, K, Self::State>> {
        Some(|this, _, mut a, b| {
            b.into_iter().for_each(|ranked| insert(&mut a, ranked, this.n));
            a
        })
    }
}
