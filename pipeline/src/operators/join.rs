//! Stream-table and stream-global-table joins, inner and left.
//!
//! A record of the stream is joined with the value that the table has when the record is
//! processed. A null key matches nothing: an inner join drops the record and counts it, a left
//! join hands it on alone.

use std::sync::Arc;

use super::kind;
use crate::dsl::{GlobalTable, Lookup, Stream, Table};
use crate::key::Key;
use crate::operator::{Fault, Next, Operator};
use crate::record::Record;
use crate::task::Context;

/// Joins each record with what `find` finds; `join` says what comes of it, if anything.
struct Join<K, V, T, V2, F> {
    find: Find<K, V, T>,
    join: Arc<F>,
    next: Next<K, V2>,
}

type Find<K, V, T> =
    Arc<dyn Fn(&K, &V, &mut Context<'_>) -> Result<Option<T>, Fault> + Send + Sync>;

impl<K, V, T, V2, F> Operator<K, V> for Join<K, V, T, V2, F>
where
    K: Clone,
    V2: Clone,
    F: Fn(&K, &V, Option<&T>) -> Option<V2>,
{
    fn process(&mut self, record: Record<K, V>, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let found = (self.find)(&record.key, &record.value, ctx)?;
        match (self.join)(&record.key, &record.value, found.as_ref()) {
            Some(value) => self.next.forward(record.with_value(value), ctx),
            None => Ok(()),
        }
    }
}

impl<K: Key, V: Clone + 'static> Stream<K, V> {
    /// Joins each record with the table's value of its key; records without one are left out.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let prices = builder.table::<String, i64>("prices", "prices");
    /// builder
    ///     .stream::<String, i64>("sales")
    ///     .join(&prices, |_, pieces, cents| pieces * cents)
    ///     .to("takings");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("sales", "lamp", &1_i64, 1);
    /// driver.pipe("prices", "lamp", &1_249_i64, 2);
    /// driver.pipe("sales", "lamp", &2_i64, 3);
    /// let takings = driver.read::<String, i64>("takings");
    /// assert_eq!(takings.iter().map(|record| record.value).collect::<Vec<_>>(), [Some(2_498)]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn join<T: Clone + 'static, V2: Clone + 'static>(
        &self,
        table: &Table<K, T>,
        join: impl Fn(&K, &V, &T) -> V2 + Send + Sync + 'static,
    ) -> Stream<K, V2> {
        let inner =
            move |key: &K, value: &V, found: Option<&T>| found.map(|found| join(key, value, found));
        self.join_table("KSTREAM-JOIN", table, inner)
    }

    /// Joins each record with the table's value of its key, or with none.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let prices = builder.table::<String, i64>("prices", "prices");
    /// builder
    ///     .stream::<String, i64>("sales")
    ///     .left_join(&prices, |_, pieces, cents| cents.map(|cents| pieces * cents))
    ///     .to("takings");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("sales", "lamp", &1_i64, 1);
    /// let takings = driver.read::<String, Option<i64>>("takings");
    /// assert_eq!(takings[0].value, Some(None));
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn left_join<T: Clone + 'static, V2: Clone + 'static>(
        &self,
        table: &Table<K, T>,
        join: impl Fn(&K, &V, Option<&T>) -> V2 + Send + Sync + 'static,
    ) -> Stream<K, V2> {
        let left = move |key: &K, value: &V, found: Option<&T>| Some(join(key, value, found));
        self.join_table("KSTREAM-LEFTJOIN", table, left)
    }

    fn join_table<T: Clone + 'static, V2: Clone + 'static>(
        &self,
        kind: &str,
        table: &Table<K, T>,
        join: impl Fn(&K, &V, Option<&T>) -> Option<V2> + Send + Sync + 'static,
    ) -> Stream<K, V2> {
        self.needs_partitioning();
        self.needs_same_builder(&table.changes.graph);
        let lookup: Lookup<K, T> = Arc::clone(&table.lookup);
        let find: Find<K, V, T> = Arc::new(move |key, _, ctx| {
            let found = lookup(key, ctx)?;
            Ok(found.map(|found| found.value))
        });
        let join = Arc::new(join);
        let joined = self.then_with(kind, table.stores.clone(), move |next| Join {
            find: Arc::clone(&find),
            join: Arc::clone(&join),
            next,
        });
        // What the table holds depends on which of two topics' records arrived first.
        joined.mark_arrival_order()
    }

    /// Joins each record with the global table's value of the key that `select` gives; records
    /// without one are left out.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let names = builder.global_table::<String, String>("customers", "customers");
    /// builder
    ///     .stream::<String, String>("orders")
    ///     .join_global(&names, |_, customer| customer.clone(), |_, _, name| name.clone())
    ///     .to("named");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("customers", "c7", &"Ada".to_owned(), 1);
    /// driver.pipe("orders", "o1", &"c7".to_owned(), 2);
    /// let named = driver.read::<String, String>("named");
    /// assert_eq!(named[0].value.as_deref(), Some("Ada"));
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn join_global<GK: Key, T: Clone + 'static, V2: Clone + 'static>(
        &self,
        table: &GlobalTable<GK, T>,
        select: impl Fn(&K, &V) -> GK + Send + Sync + 'static,
        join: impl Fn(&K, &V, &T) -> V2 + Send + Sync + 'static,
    ) -> Stream<K, V2> {
        let inner =
            move |key: &K, value: &V, found: Option<&T>| found.map(|found| join(key, value, found));
        self.join_global_table(table, select, inner)
    }

    /// Joins each record with the global table's value of the key that `select` gives, or with
    /// none.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let names = builder.global_table::<String, String>("customers", "customers");
    /// builder
    ///     .stream::<String, String>("orders")
    ///     .left_join_global(&names, |_, customer| customer.clone(), |_, _, name| name.is_some())
    ///     .to("known");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("orders", "o1", &"c7".to_owned(), 2);
    /// assert_eq!(driver.read::<String, bool>("known")[0].value, Some(false));
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn left_join_global<GK: Key, T: Clone + 'static, V2: Clone + 'static>(
        &self,
        table: &GlobalTable<GK, T>,
        select: impl Fn(&K, &V) -> GK + Send + Sync + 'static,
        join: impl Fn(&K, &V, Option<&T>) -> V2 + Send + Sync + 'static,
    ) -> Stream<K, V2> {
        let left = move |key: &K, value: &V, found: Option<&T>| Some(join(key, value, found));
        self.join_global_table(table, select, left)
    }

    fn join_global_table<GK: Key, T: Clone + 'static, V2: Clone + 'static>(
        &self,
        table: &GlobalTable<GK, T>,
        select: impl Fn(&K, &V) -> GK + Send + Sync + 'static,
        join: impl Fn(&K, &V, Option<&T>) -> Option<V2> + Send + Sync + 'static,
    ) -> Stream<K, V2> {
        self.needs_same_builder(&table.graph);
        let (index, codec) = (table.index, Arc::clone(&table.value));
        let node = self.next_name("KSTREAM-GLOBALTABLE-JOIN");
        let find: Find<K, V, T> = Arc::new(move |key, value, ctx| {
            let mut bytes = vec![kind::ENTRY];
            if !select(key, value).encode(&mut bytes) {
                return Ok(None);
            }
            let found = ctx.read_global(index, &bytes, |row| codec.decode(Some(row)))?;
            found.transpose().map_err(|error| ctx.bad_state(&node, &error))
        });
        let join = Arc::new(join);
        let joined = self.then("KSTREAM-GLOBALTABLE-JOIN", move |next| Join {
            find: Arc::clone(&find),
            join: Arc::clone(&join),
            next,
        });
        joined.mark_arrival_order()
    }
}
