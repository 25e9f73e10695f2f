//! Joins of two tables by their key: inner, left and outer.
//!
//! An update of either side makes an update of the joined table: the other side's value is looked
//! up. Nothing is kept: the joined table is looked up through both. Which updates there are
//! depends on the order of arrival; the last one of each key does not.

use std::sync::Arc;

use crate::dsl::{Lookup, Side, Stamped, Table};
use crate::operator::{Fault, Next, Operator};
use crate::record::{Change, Record};
use crate::task::Context;

/// Joins updates with the other table's value; `join` says what comes of the two, if anything.
struct TableJoin<K, L, R, V, F> {
    left: Lookup<K, L>,
    right: Lookup<K, R>,
    join: Arc<F>,
    next: Next<K, Change<V>>,
}

impl<K, L, R, V, F> Operator<K, Side<Change<L>, Change<R>>> for TableJoin<K, L, R, V, F>
where
    K: Clone,
    V: Clone,
    F: Fn(&K, Option<&L>, Option<&R>) -> Option<V>,
{
    fn process(
        &mut self,
        record: Record<K, Side<Change<L>, Change<R>>>,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let Record { key, value, timestamp } = record;
        let join = &*self.join;
        let (value, met) = match &value {
            Side::Left(change) if change.is_empty() => return Ok(()),
            Side::Right(change) if change.is_empty() => return Ok(()),
            Side::Left(change) => {
                let (right, met) = split((self.right)(&key, ctx)?);
                (change.each(|left| join(&key, left, right.as_ref())), met)
            }
            Side::Right(change) => {
                let (left, met) = split((self.left)(&key, ctx)?);
                (change.each(|right| join(&key, left.as_ref(), right)), met)
            }
        };
        if value.is_empty() {
            return Ok(());
        }
        self.next.forward(Record { key, value, timestamp: timestamp.max(met) }, ctx)
    }
}

/// The value, and its time: the beginning of time if there is none.
fn split<T>(found: Option<Stamped<T>>) -> (Option<T>, i64) {
    match found {
        Some(Stamped { value, timestamp }) => (Some(value), timestamp),
        None => (None, i64::MIN),
    }
}

impl<V> Change<V> {
    /// Whether there is no value before nor after: nothing happened.
    pub(super) fn is_empty(&self) -> bool {
        self.new.is_none() && self.old.is_none()
    }

    /// What `map` makes of the value after and the value before.
    fn each<W>(&self, map: impl Fn(Option<&V>) -> Option<W>) -> Change<W> {
        Change { new: map(self.new.as_ref()), old: map(self.old.as_ref()) }
    }
}

impl<K: Clone + 'static, V: Clone + 'static> Table<K, V> {
    /// The keys that both tables have, with what `join` makes of their values. An update's time
    /// is the later of the two values'.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let prices = builder.table::<String, i64>("prices", "prices");
    /// let stock = builder.table::<String, i64>("stock", "stock");
    /// prices.join(&stock, |_, cents, pieces| cents * pieces).to("worth");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("prices", "lamp", &1_249_i64, 1);
    /// driver.pipe("stock", "lamp", &3_i64, 2);
    /// driver.pipe_bytes("stock", Some(b"lamp"), None, 3);
    /// let worth = driver.read::<String, i64>("worth");
    /// let values: Vec<_> = worth.into_iter().map(|record| record.value).collect();
    /// assert_eq!(values, [Some(3_747), None]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    #[must_use]
    pub fn join<V2: Clone + 'static, W: Clone + 'static>(
        &self,
        other: &Table<K, V2>,
        join: impl Fn(&K, &V, &V2) -> W + Send + Sync + 'static,
    ) -> Table<K, W> {
        let both =
            move |key: &K, left: Option<&V>, right: Option<&V2>| Some(join(key, left?, right?));
        self.join_tables("KTABLE-JOIN", other, both)
    }

    /// The keys of this table, with what `join` makes of their values and those of `other`.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let prices = builder.table::<String, i64>("prices", "prices");
    /// let stock = builder.table::<String, i64>("stock", "stock");
    /// prices.left_join(&stock, |_, cents, pieces| (*cents, pieces.copied())).to("offers");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("prices", "lamp", &1_249_i64, 1);
    /// let offers = driver.read::<String, (i64, Option<i64>)>("offers");
    /// assert_eq!(offers[0].value, Some((1_249, None)));
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    #[must_use]
    pub fn left_join<V2: Clone + 'static, W: Clone + 'static>(
        &self,
        other: &Table<K, V2>,
        join: impl Fn(&K, &V, Option<&V2>) -> W + Send + Sync + 'static,
    ) -> Table<K, W> {
        let both =
            move |key: &K, left: Option<&V>, right: Option<&V2>| Some(join(key, left?, right));
        self.join_tables("KTABLE-LEFTJOIN", other, both)
    }

    /// The keys that one of the tables has, or both, with what `join` makes of their values.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let prices = builder.table::<String, i64>("prices", "prices");
    /// let stock = builder.table::<String, i64>("stock", "stock");
    /// prices.outer_join(&stock, |_, cents, pieces| (cents.copied(), pieces.copied())).to("all");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("stock", "lamp", &3_i64, 1);
    /// let all = driver.read::<String, (Option<i64>, Option<i64>)>("all");
    /// assert_eq!(all[0].value, Some((None, Some(3))));
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    #[must_use]
    pub fn outer_join<V2: Clone + 'static, W: Clone + 'static>(
        &self,
        other: &Table<K, V2>,
        join: impl Fn(&K, Option<&V>, Option<&V2>) -> W + Send + Sync + 'static,
    ) -> Table<K, W> {
        let both = move |key: &K, left: Option<&V>, right: Option<&V2>| {
            (left.is_some() || right.is_some()).then(|| join(key, left, right))
        };
        self.join_tables("KTABLE-OUTERJOIN", other, both)
    }

    fn join_tables<V2: Clone + 'static, W: Clone + 'static>(
        &self,
        kind: &str,
        other: &Table<K, V2>,
        join: impl Fn(&K, Option<&V>, Option<&V2>) -> Option<W> + Send + Sync + 'static,
    ) -> Table<K, W> {
        let mut stores = self.stores.clone();
        stores.extend(other.stores.iter().filter(|store| !self.stores.contains(store)));
        let (left, right, join) =
            (Arc::clone(&self.lookup), Arc::clone(&other.lookup), Arc::new(join));
        let lookup: Lookup<K, W> = {
            let (left, right, join) = (Arc::clone(&left), Arc::clone(&right), Arc::clone(&join));
            Arc::new(move |key, ctx| {
                let (left, at) = split(left(key, ctx)?);
                let (right, met) = split(right(key, ctx)?);
                let value = join(key, left.as_ref(), right.as_ref());
                Ok(value.map(|value| Stamped { value, timestamp: at.max(met) }))
            })
        };
        let make = move |next| TableJoin {
            left: Arc::clone(&left),
            right: Arc::clone(&right),
            join: Arc::clone(&join),
            next,
        };
        let changes = self.changes.then_both(kind, &other.changes, stores.clone(), make);
        Table { changes, lookup, stores }
    }
}
