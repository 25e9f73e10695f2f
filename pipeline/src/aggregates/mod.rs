//! Aggregates: how values become one, and what is kept of them meanwhile.
//!
//! An [`Aggregator`] says how; the operators in `operators` say over what: all records of
//! a key, a window of them, a session, the rows of a table. Sessions and windows made of panes put
//! partial aggregates together and need [`Aggregator::merge`]; tables take back what a row no
//! longer says and need [`Aggregator::retract`]. A topology that asks for one that is not there is
//! refused when it is built.
//!
//! Nothing here reads a store, a clock or another record: an aggregate is a function of the values
//! it was given. Those whose result would depend on the order in which values arrive go by [`At`]
//! instead, so that a repartition changes nothing.

mod approx_distinct;
mod collect;
mod count;
mod distinct;
mod edge;
mod extreme;
mod float;
mod fold;
mod percentiles;
mod reduce;
mod sum;
mod top;

pub use approx_distinct::{ApproxDistinct, Registers};
pub use collect::{Collect, Collected, Kept};
pub use count::Count;
pub use distinct::{Distinct, DistinctCount, Items};
pub use edge::Edge;
pub use extreme::Extreme;
pub use float::{FloatAverage, FloatSum, Total};
pub use fold::Fold;
pub use percentiles::{BUCKETS_MAX, Percentiles, Sketch};
pub use reduce::Reduce;
pub use sum::{Average, Sum};
pub use top::{Ranked, TopN};

use serde::{Deserialize, Serialize};

use crate::codec::Serde;

/// When a record happened, and its place among the records of that moment.
///
/// It orders the records of all source partitions in one way, whichever arrived first: by event
/// time, then source topic, partition and offset. What time itself made (a window that closed) has
/// no source, and comes first at its moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "(i64, u16, u32, u64)", into = "(i64, u16, u32, u64)")]
pub struct At {
    /// Event time, milliseconds since 1970-01-01 UTC.
    pub timestamp: i64,
    /// The number of the source topic, from 1; 0 is none.
    pub source: u16,
    /// The source partition.
    pub partition: u32,
    /// The offset there.
    pub offset: u64,
}

impl At {
    /// A moment without a source.
    pub fn time(timestamp: i64) -> Self {
        Self { timestamp, ..Self::default() }
    }
}

impl From<At> for (i64, u16, u32, u64) {
    fn from(at: At) -> Self {
        (at.timestamp, at.source, at.partition, at.offset)
    }
}

impl From<(i64, u16, u32, u64)> for At {
    fn from((timestamp, source, partition, offset): (i64, u16, u32, u64)) -> Self {
        Self { timestamp, source, partition, offset }
    }
}

/// Two partial aggregates as one. See [`Aggregator::merge`].
pub type Merge<A, K, S> = fn(&A, &K, S, S) -> S;

/// An aggregate without one of its values. See [`Aggregator::retract`].
pub type Retract<A, K, V, S> = fn(&A, &K, S, &V) -> S;

/// Puts the values of a key together.
///
/// ```
/// use pipeline::aggregates::{Aggregator, At, Merge};
/// use pipeline::codec::{Serde, json};
///
/// /// The longest of all texts: a user's own aggregate.
/// struct Longest;
///
/// impl Aggregator<String, String> for Longest {
///     type State = String;
///     type Output = usize;
///
///     fn init(&self) -> String {
///         String::new()
///     }
///
///     fn add(&self, longest: String, _: &String, text: &String, _: At) -> String {
///         if text.len() > longest.len() { text.clone() } else { longest }
///     }
///
///     fn output(&self, longest: &String) -> usize {
///         longest.len()
///     }
///
///     fn codec(&self) -> Serde<String> {
///         json()
///     }
///
///     fn merge(&self) -> Option<Merge<Self, String, String>> {
///         Some(|_, _, a, b| if b.len() > a.len() { b } else { a })
///     }
/// }
///
/// let of = |texts: &[&str]| {
///     texts.iter().fold(Longest.init(), |state, text| {
///         Longest.add(state, &"key".to_owned(), &(*text).to_owned(), At::time(0))
///     })
/// };
/// let merge = Longest.merge().unwrap();
/// let both = merge(&Longest, &"key".to_owned(), of(&["a", "four"]), of(&["seven77"]));
/// assert_eq!(Longest.output(&both), 7);
/// ```
pub trait Aggregator<K, V>: Send + Sync + Sized + 'static {
    /// What is kept, and stored.
    type State: Clone + 'static;
    /// What is told of it.
    type Output: Clone + 'static;

    /// The aggregate of no values.
    fn init(&self) -> Self::State;

    /// The aggregate with one more value.
    fn add(&self, state: Self::State, key: &K, value: &V, at: At) -> Self::State;

    /// What the state says.
    fn output(&self, state: &Self::State) -> Self::Output;

    /// How the state is stored. The same state has the same bytes, always.
    fn codec(&self) -> Serde<Self::State>;

    /// How two aggregates of disjoint sets of values become that of both, if they can:
    /// associative, with [`Self::init`] as its neutral element. For sessions, panes, and partial
    /// aggregates before a repartition.
    fn merge(&self) -> Option<Merge<Self, K, Self::State>> {
        None
    }

    /// How a value that was added is taken out again, if it can be. For the rows of tables.
    fn retract(&self) -> Option<Retract<Self, K, V, Self::State>> {
        None
    }
}

#[cfg(test)]
mod tests;
