//! Aggregates made of closures.

use std::marker::PhantomData;
use std::sync::Arc;

use super::{Aggregator, At, Merge, Retract};
use crate::codec::{Serde, Value, json};

type Merger<K, A> = Arc<dyn Fn(&K, A, A) -> A + Send + Sync>;
type Subtractor<K, V, A> = Arc<dyn Fn(&K, &V, A) -> A + Send + Sync>;

/// The user's own aggregate: an initial state and a closure that adds a value to it; with others,
/// if there are, that merge two states and take a value out.
///
/// ```
/// use pipeline::aggregates::Fold;
///
/// let total = Fold::json(|| 0_u64, |_: &String, price: &u64, total| total + price)
///     .with_merge(|_, a, b| a + b)
///     .with_retract(|_, price, total| total - price);
/// # let _ = total;
/// ```
pub struct Fold<K, V, A, I, F> {
    codec: Serde<A>,
    initial: I,
    add: F,
    merge: Option<Merger<K, A>>,
    retract: Option<Subtractor<K, V, A>>,
    of: PhantomData<fn(&K, &V)>,
}

impl<K, V, A, I, F> Fold<K, V, A, I, F>
where
    I: Fn() -> A,
    F: Fn(&K, &V, A) -> A,
{
    /// States stored as JSON.
    pub fn json(initial: I, add: F) -> Self
    where
        A: Value,
    {
        Self::new(json(), initial, add)
    }

    /// States stored by `codec`.
    pub fn new(codec: Serde<A>, initial: I, add: F) -> Self {
        Self { codec, initial, add, merge: None, retract: None, of: PhantomData }
    }

    /// Says how two states become one: see [`Aggregator::merge`].
    #[must_use]
    pub fn with_merge(mut self, merge: impl Fn(&K, A, A) -> A + Send + Sync + 'static) -> Self {
        self.merge = Some(Arc::new(merge));
        self
    }

    /// Says how a value is taken out: see [`Aggregator::retract`].
    #[must_use]
    pub fn with_retract(
        mut self,
        retract: impl Fn(&K, &V, A) -> A + Send + Sync + 'static,
    ) -> Self {
        self.retract = Some(Arc::new(retract));
        self
    }
}

impl<K, V, A, I, F> Aggregator<K, V> for Fold<K, V, A, I, F>
where
    K: 'static,
    V: 'static,
    A: Clone + 'static,
    I: Fn() -> A + Send + Sync + 'static,
    F: Fn(&K, &V, A) -> A + Send + Sync + 'static,
{
    type State = A;
    type Output = A;

    fn init(&self) -> A {
        (self.initial)()
    }

    fn add(&self, state: A, key: &K, value: &V, _: At) -> A {
        (self.add)(key, value, state)
    }

    fn output(&self, state: &A) -> A {
        state.clone()
    }

    fn codec(&self) -> Serde<A> {
        Arc::clone(&self.codec)
    }

    fn merge(&self) -> Option<Merge<Self, K, A>> {
        let merge: Merge<Self, K, A> = |fold, key, a, b| {
            let merge = fold.merge.as_ref().expect("handed out only if there is one");
            merge(key, a, b)
        };
        self.merge.as_ref().map(|_| merge)
    }

    fn retract(&self) -> Option<Retract<Self, K, V, A>> {
        let retract: Retract<Self, K, V, A> = |fold, key, state, value| {
            let retract = fold.retract.as_ref().expect("handed out only if there is one");
            retract(key, value, state)
        };
        self.retract.as_ref().map(|_| retract)
    }
}
