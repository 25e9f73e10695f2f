//! `expire_after` on tables: rows that nothing changes any more are deleted.

use std::sync::Arc;
use std::time::Duration;

use super::dedup::period_ms;
use super::expiry::{Expiry, rounded};
use super::kind;
use crate::dsl::{Lookup, Stream, Table};
use crate::key::Key;
use crate::operator::{Fault, Next, Operator, Timed};
use crate::record::{Change, Record};
use crate::task::Context;
use crate::topology::StoreRef;

/// Hands updates on, and deletes the rows that have not had one for a while. Its store has the
/// time of each row's last one.
struct ExpireRows<K, V> {
    node: String,
    store: StoreRef,
    expiry: Expiry,
    lookup: Lookup<K, V>,
    key: Vec<u8>,
    next: Next<K, Change<V>>,
}

impl<K: Key, V: Clone + 'static> Operator<K, Change<V>> for ExpireRows<K, V> {
    fn process(
        &mut self,
        record: Record<K, Change<V>>,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let kept_from = self.expiry.observe(record.timestamp, ctx)?;
        self.key.clear();
        self.key.push(kind::ENTRY);
        if !record.key.encode(&mut self.key) {
            ctx.count_dropped(&self.node, "null key");
        } else if self.note(&record, kept_from, ctx)? {
            self.next.forward(record, ctx)?;
        }
        self.take_out(kept_from, ctx)
    }
}

impl<K: Key, V: Clone + 'static> ExpireRows<K, V> {
    /// Notes when the row has changed. Answers whether to tell of it.
    fn note(
        &mut self,
        record: &Record<K, Change<V>>,
        kept_from: i64,
        ctx: &mut Context<'_>,
    ) -> Result<bool, Fault> {
        let before = self.changed_at(&self.key, ctx)?;
        if record.value.new.is_none() {
            if let Some(before) = before {
                self.expiry.left(&self.key, before, ctx);
                ctx.delete(self.store, &self.key);
            }
            return Ok(true);
        }
        // A window's row is as old as the window, whenever its last record came.
        let now = rounded(record.key.window().map_or(record.timestamp, |window| window.end));
        if before.is_none() && now < kept_from {
            ctx.count_dropped(&self.node, "late");
            return Ok(false);
        }
        let now = before.map_or(now, |before| before.max(now));
        if before != Some(now) {
            ctx.put(self.store, &self.key, &now.to_be_bytes());
            self.expiry.moved(&self.key, (before, now), ctx);
        }
        Ok(true)
    }

    /// Deletes some of the rows whose time is over.
    fn take_out(&mut self, kept_from: i64, ctx: &mut Context<'_>) -> Result<(), Fault> {
        for entry in self.expiry.take(kept_from, ctx)? {
            let Some(timestamp) = self.changed_at(&entry, ctx)?.filter(|at| *at < kept_from) else {
                continue;
            };
            ctx.delete(self.store, &entry);
            let key =
                K::decode(Some(&entry[1..])).map_err(|error| ctx.bad_state(&self.node, &error))?;
            let old = (self.lookup)(&key, ctx)?.map(|found| found.value);
            let value = Change { new: None, old };
            ctx.made_by_time(|ctx| self.next.forward(Record { key, value, timestamp }, ctx))?;
        }
        Ok(())
    }

    fn changed_at(&self, key: &[u8], ctx: &Context<'_>) -> Result<Option<i64>, Fault> {
        Ok(ctx.read(self.store, key, |value| {
            value.and_then(|bytes| Some(i64::from_be_bytes(bytes.try_into().ok()?)))
        })?)
    }
}

impl<K, V> Timed for ExpireRows<K, V> {
    fn advance(&mut self, ctx: &mut Context<'_>) -> Result<(), Fault> {
        self.expiry.save(ctx);
        Ok(())
    }
}

impl<K: Key, V: Clone + 'static> Table<K, V> {
    /// Deletes the rows that have not changed for `after` of event time, a row of a window after
    /// the window's end; the times of their last changes are in the store `store`. Times are
    /// rounded down to ten seconds, and rows leave with the records that follow, some with each.
    /// An update that is older than `after` when it comes is dropped if its row is not there.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("sensors");
    /// builder
    ///     .table::<String, i64>("readings", "readings")
    ///     .expire_after("heard-of", Duration::from_secs(60))
    ///     .to("alive");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("readings", "s1", &21_i64, 0);
    /// driver.pipe("readings", "s2", &22_i64, 75_000);
    /// let alive = driver.read::<String, i64>("alive");
    /// let alive: Vec<_> = alive.iter().map(|r| (r.key.as_str(), r.value)).collect();
    /// assert_eq!(alive, [("s1", Some(21)), ("s2", Some(22)), ("s1", None)]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    #[must_use]
    pub fn expire_after(&self, store: &str, after: Duration) -> Self {
        const KIND: &str = "KTABLE-EXPIRE";
        let stream = &self.changes;
        let node = stream.next_name(KIND);
        let (store, behind_ms) = {
            let mut graph = stream.graph.borrow_mut();
            (graph.add_store(store), graph.delay_ms(stream.node))
        };
        let (after_ms, lookup) = (period_ms(after), Arc::clone(&self.lookup));
        let changes = stream.then_timed(KIND, vec![store], move |next| ExpireRows {
            node: node.clone(),
            store,
            expiry: Expiry::new(store, after_ms, behind_ms),
            lookup: Arc::clone(&lookup),
            key: Vec::new(),
            next,
        });
        let stores = self.stores.iter().copied().chain([store]).collect();
        Self { changes, lookup: lookup_kept(self, store), stores }
    }
}

/// A row that was deleted here has no value, though the table before has one.
fn lookup_kept<K: Key, V: Clone + 'static>(table: &Table<K, V>, store: StoreRef) -> Lookup<K, V> {
    let parent = Arc::clone(&table.lookup);
    Arc::new(move |key: &K, ctx: &mut Context<'_>| {
        let mut entry = vec![kind::ENTRY];
        let kept = key.encode(&mut entry) && ctx.read(store, &entry, |row| row.is_some())?;
        if kept { parent(key, ctx) } else { Ok(None) }
    })
}

impl<K: Key, V: Clone + 'static> Stream<K, Option<V>> {
    /// Reads the stream as the updates of a table that nobody keeps; `None` deletes. For what
    /// needs no old values: a view, a topic, [`Table::expire_after`]. It cannot be looked into.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("sensors");
    /// builder
    ///     .stream::<String, i64>("readings")
    ///     .map_values(|_, reading| (reading >= 0).then_some(reading))
    ///     .as_table()
    ///     .to("latest");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("readings", "s1", &21_i64, 1);
    /// driver.pipe("readings", "s1", &-1_i64, 2);
    /// let latest = driver.read::<String, i64>("latest");
    /// assert_eq!(latest.iter().map(|record| record.value).collect::<Vec<_>>(), [Some(21), None]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn as_table(&self) -> Table<K, V> {
        self.needs_partitioning();
        Table::not_kept(self.map_values(|_, new| Change { new, old: None }))
    }
}
