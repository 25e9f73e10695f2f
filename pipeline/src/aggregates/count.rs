//! How many values there were.

use super::{Aggregator, At, Merge, Retract};
use crate::codec::{Serde, int64};

/// Counts values. Merges and retracts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count;

impl<K, V> Aggregator<K, V> for Count {
    type State = i64;
    type Output = i64;

    fn init(&self) -> i64 {
        0
    }

    fn add(&self, count: i64, _: &K, _: &V, _: At) -> i64 {
        count + 1
    }

    fn output(&self, count: &i64) -> i64 {
        *count
    }

    fn codec(&self) -> Serde<i64> {
        int64()
    }

    fn merge(&self) -> Option<Merge<Self, K, i64>> {
        Some(|_, _, a, b| a + b)
    }

    fn retract(&self) -> Option<Retract<Self, K, V, i64>> {
        Some(|_, _, count, _| count - 1)
    }
}
