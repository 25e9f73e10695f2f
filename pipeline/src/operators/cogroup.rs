//! `cogroup`: streams of several types, grouped by keys of one, go into one aggregate.

use std::rc::Rc;

use super::aggregate;
use super::group::Grouped;
use crate::aggregates::Fold;
use crate::codec::{Serde, Value, json};
use crate::dsl::{Stream, Table};
use crate::key::Key;
use crate::operator::{Fault, Next, Operator};
use crate::record::Record;
use crate::task::Context;
use crate::topology::TopologyError;

/// Streams grouped by keys of one type, to be aggregated together: see [`Grouped::cogroup`].
pub struct Cogrouped<K, A> {
    /// Each places its stream where its keys are, given the aggregate's store.
    streams: Vec<Placed<K, A>>,
}

type Placed<K, A> = Box<dyn FnOnce(&str) -> Stream<K, Step<A>>>;

/// What a record does to the aggregate of its key.
struct Step<A>(Rc<dyn Fn(A) -> A>);

impl<A> Clone for Step<A> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

/// Makes steps of records.
struct Steps<K, A, F> {
    add: Rc<F>,
    next: Next<K, Step<A>>,
}

impl<K, V, A, F> Operator<K, V> for Steps<K, A, F>
where
    K: Key,
    V: 'static,
    A: 'static,
    F: Fn(&K, &V, A) -> A + 'static,
{
    fn process(&mut self, record: Record<K, V>, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let Record { key, value, timestamp } = record;
        let (add, of) = (Rc::clone(&self.add), key.clone());
        let value = Step(Rc::new(move |state| add(&of, &value, state)));
        self.next.forward(Record { key, value, timestamp }, ctx)
    }
}

impl<K: Key, V: Value> Grouped<K, V> {
    /// Begins an aggregate of several streams: `add` says what a record of this one does to it.
    ///
    /// Every stream whose key was changed has a repartition topic of its own, so each but one needs
    /// the name that [`Stream::group_by`] gives it. `combined` and `expire_after` are refused.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let sales = builder.stream::<String, i64>("sales").group_by_key();
    /// let notes = builder.stream::<String, String>("notes").group_by_key();
    /// sales
    ///     .cogroup(|_, pieces, stock: i64| stock - pieces)
    ///     .cogroup(notes, |_, note, stock| if note == "sold out" { 0 } else { stock })
    ///     .aggregate("stock", || 10)
    ///     .to("stock");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("sales", "lamp", &3_i64, 1);
    /// driver.pipe("notes", "lamp", &"sold out".to_owned(), 2);
    /// let stock = driver.read::<String, i64>("stock");
    /// assert_eq!(stock.iter().map(|row| row.value).collect::<Vec<_>>(), [Some(7), Some(0)]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn cogroup<A: Clone + 'static>(
        self,
        add: impl Fn(&K, &V, A) -> A + Send + Sync + Clone + 'static,
    ) -> Cogrouped<K, A> {
        Cogrouped { streams: Vec::new() }.cogroup(self, add)
    }

    /// The records as steps of an aggregate kept in `store`.
    fn steps<A: Clone + 'static>(
        self,
        store: &str,
        add: impl Fn(&K, &V, A) -> A + Send + Sync + Clone + 'static,
    ) -> Stream<K, Step<A>> {
        self.cannot_be_one_of_several();
        let stream = self.partitioned(store);
        stream.then("COGROUPKSTREAM-STEP", move |next| Steps { add: Rc::new(add.clone()), next })
    }
}

impl<K: Key, A: Clone + 'static> Cogrouped<K, A> {
    /// Adds a stream: `add` says what its records do to the aggregate.
    ///
    /// There is an example at [`Grouped::cogroup`].
    #[must_use]
    pub fn cogroup<V: Value>(
        mut self,
        grouped: Grouped<K, V>,
        add: impl Fn(&K, &V, A) -> A + Send + Sync + Clone + 'static,
    ) -> Self {
        self.streams.push(Box::new(move |store| grouped.steps(store, add)));
        self
    }

    /// Aggregates the records of each key, in the store `store`, as JSON.
    ///
    /// There is an example at [`Grouped::cogroup`].
    pub fn aggregate(
        self,
        store: &str,
        initial: impl Fn() -> A + Send + Sync + 'static,
    ) -> Table<K, A>
    where
        A: Value,
    {
        self.aggregate_with(store, json(), initial)
    }

    /// Aggregates the records of each key, in the store `store`, stored by `codec`.
    ///
    /// ```
    /// use pipeline::TopologyBuilder;
    /// use pipeline::codec::int64;
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let sales = builder.stream::<String, i64>("sales").group_by_key();
    /// let stock = sales.cogroup(|_, pieces, stock: i64| stock - pieces);
    /// stock.aggregate_with("stock", int64(), || 10).to_with("stock", int64());
    /// # builder.build()?;
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn aggregate_with(
        self,
        store: &str,
        codec: Serde<A>,
        initial: impl Fn() -> A + Send + Sync + 'static,
    ) -> Table<K, A> {
        let streams = self.streams.into_iter().map(|place| place(store));
        let merged = streams.reduce(|one, other| one.merge(&other));
        let merged = merged.expect("a cogroup begins with a stream");
        let steps = Fold::new(codec, initial, |_: &K, step: &Step<A>, state| (step.0)(state));
        aggregate::place(&merged, store, steps, None)
    }
}

impl<K: Key, V: Value> Grouped<K, V> {
    /// Notes an error if the group asks for what an aggregate of several streams cannot do.
    fn cannot_be_one_of_several(&self) {
        if self.has_options() {
            let node = self.stream.name();
            self.stream.graph.borrow_mut().errors.push(TopologyError::CogroupedOptions { node });
        }
    }
}

#[cfg(test)]
mod tests;
