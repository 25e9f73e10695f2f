//! `dedup`: of the records with one id, among the records of a partition, the first.
//!
//! Ids are kept by the time of their record, in buckets as long as the period within which a
//! repeat is dropped; so a look-up asks two buckets, or three for a record that is late, and
//! forgetting is deleting old buckets. Most ids are new: for buckets that began under its eyes
//! the operator knows that from a filter in memory, and reads nothing.

use std::sync::Arc;
use std::time::Duration;

use super::kind;
use super::new_keys::NewKeys;
use super::stream_time::{Expiring, StreamTime, put_time};
use crate::dsl::Stream;
use crate::key::Key;
use crate::operator::{Fault, Next, Operator, Timed};
use crate::record::{Record, RecordInfo};
use crate::task::Context;
use crate::topology::StoreRef;

/// Remembers ids for a period of event time.
pub(super) struct Seen {
    store: StoreRef,
    within_ms: i64,
    time: StreamTime,
    expiring: Expiring,
    new: NewKeys,
    key: Vec<u8>,
}

impl Seen {
    pub(super) fn new(store: StoreRef, within_ms: i64) -> Self {
        Self {
            store,
            within_ms,
            time: StreamTime::new(store),
            expiring: Expiring::new(store),
            new: NewKeys::new(store),
            key: Vec::new(),
        }
    }

    /// Whether `id` is seen for the first time within the period around `timestamp`; if so it
    /// is remembered.
    pub(super) fn is_first(
        &mut self,
        id: &[u8],
        timestamp: i64,
        ctx: &mut Context<'_>,
    ) -> Result<bool, Fault> {
        self.new.begin(ctx)?;
        let now = self.time.observe(timestamp, ctx)?;
        let (bucket, kept_from) = (self.bucket(timestamp), self.kept_from(now));
        for near in [bucket, bucket - self.within_ms, bucket + self.within_ms] {
            // No record was ever later than stream time: there is nothing in that bucket. What is
            // older than what is kept may be there still or not, as commits fell: it does not count.
            if near > now || near < kept_from || !self.new.may_have(near, id) {
                continue;
            }
            self.set_key(near, id);
            let seen = ctx.read(self.store, &self.key, |value| {
                value.and_then(|bytes| Some(i64::from_be_bytes(bytes.try_into().ok()?)))
            })?;
            if seen.is_some_and(|seen| seen.abs_diff(timestamp) <= self.within_ms.unsigned_abs()) {
                return Ok(false);
            }
        }
        if bucket >= kept_from {
            self.set_key(bucket, id);
            ctx.put(self.store, &self.key, &timestamp.to_be_bytes());
            self.new.add(bucket, id);
        }
        Ok(true)
    }

    /// Forgets what no record within the period can repeat, and saves stream time.
    pub(super) fn advance(&mut self, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let now = self.time.get(ctx)?;
        self.time.save(ctx);
        if now > i64::MIN {
            let kept_from = self.kept_from(now);
            self.expiring.purge(kept_from, ctx)?;
            self.new.forget(kept_from);
        }
        Ok(())
    }

    /// The first bucket that is kept at stream time `now`: a record late by the whole period may
    /// repeat one that is a period older still.
    fn kept_from(&self, now: i64) -> i64 {
        self.bucket(now.saturating_sub(2 * self.within_ms))
    }

    fn bucket(&self, timestamp: i64) -> i64 {
        timestamp.saturating_sub(timestamp.rem_euclid(self.within_ms))
    }

    fn set_key(&mut self, bucket: i64, id: &[u8]) {
        self.key.clear();
        self.key.push(kind::ENTRY);
        put_time(&mut self.key, bucket);
        self.key.extend_from_slice(id);
    }
}

/// A period in whole milliseconds, at least one and at most a century.
pub(super) fn period_ms(within: Duration) -> i64 {
    const CENTURY_MS: i64 = 100 * 366 * 86_400_000;
    i64::try_from(within.as_millis()).unwrap_or(CENTURY_MS).clamp(1, CENTURY_MS)
}

/// Lets through the first record of each id.
struct Dedup<K, V, F> {
    node: String,
    id_of: Arc<F>,
    seen: Seen,
    next: Next<K, V>,
}

impl<K, V, F> Operator<K, V> for Dedup<K, V, F>
where
    K: Clone,
    V: Clone,
    F: Fn(&K, &V, RecordInfo<'_>) -> Option<String>,
{
    fn process(&mut self, record: Record<K, V>, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let info = RecordInfo::new(record.timestamp, ctx);
        let id = (self.id_of)(&record.key, &record.value, info);
        if let Some(id) = id
            && !self.seen.is_first(id.as_bytes(), record.timestamp, ctx)?
        {
            ctx.count_dropped(&self.node, "duplicate");
            return Ok(());
        }
        self.next.forward(record, ctx)
    }
}

impl<K, V, F> Timed for Dedup<K, V, F> {
    fn advance(&mut self, ctx: &mut Context<'_>) -> Result<(), Fault> {
        self.seen.advance(ctx)
    }
}

impl<K: Key, V: Clone + 'static> Stream<K, V> {
    /// Drops the records whose id came before within `within` of event time, in either direction,
    /// among the records of a partition; ids are kept in the store `store`. A retry carries the
    /// same key, so it meets its original there. A record for which `id_of` has no id passes.
    ///
    /// Ids are remembered for twice `within`, rounded up to the whole period, before stream time:
    /// a record that is later than that passes, and is not remembered.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let day = Duration::from_secs(86_400);
    /// builder
    ///     .stream::<String, i64>("sales")
    ///     .dedup("sale-ids", day, |_, receipt, _| Some(receipt.to_string()))
    ///     .to("out");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// for receipt in [17, 18, 17] {
    ///     driver.pipe("sales", "lamp", &receipt, 1);
    /// }
    /// let out = driver.read::<String, i64>("out").into_iter();
    /// assert_eq!(out.filter_map(|record| record.value).collect::<Vec<_>>(), [17, 18]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn dedup(
        &self,
        store: &str,
        within: Duration,
        id_of: impl Fn(&K, &V, RecordInfo<'_>) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let within_ms = period_ms(within);
        let id_of = Arc::new(id_of);
        let store = self.graph.borrow_mut().add_store(store);
        let node = self.next_name("KSTREAM-DEDUP");
        self.then_timed("KSTREAM-DEDUP", vec![store], move |next| Dedup {
            node: node.clone(),
            id_of: Arc::clone(&id_of),
            seen: Seen::new(store, within_ms),
            next,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{TopologyBuilder, TopologyDriver};

    const WITHIN_MS: i64 = 100;

    /// An id, how far time has gone since the record before, how late the record is, and what
    /// comes after it: nothing, its handling, a commit, or a crash.
    type Step = (i64, i64, i64, u8);

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        prop::collection::vec((0..5_i64, 0..30_i64, 0..=WITHIN_MS, 0..8_u8), 1..120)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn of_records_late_by_a_period_at_most_the_first_of_each_id_passes(steps in steps()) {
            let builder = TopologyBuilder::new("dedup");
            let within = Duration::from_millis(WITHIN_MS.unsigned_abs());
            builder
                .stream::<String, i64>("in")
                .dedup("seen", within, |_, id, _| Some(id.to_string()))
                .to("out");
            let mut driver = TopologyDriver::new(builder.build().unwrap());
            let (mut now, mut passed) = (1_000, Vec::<(i64, i64)>::new());
            for (id, step, late, after) in steps {
                now += step;
                let at = now - late;
                if !passed.iter().any(|(other, then)| *other == id && (at - then).abs() <= WITHIN_MS) {
                    passed.push((id, at));
                }
                driver.append("in", Some(b"k"), Some(id.to_string().as_bytes()), at);
                match after {
                    0 => driver.kill(),
                    1 | 2 => driver.commit(),
                    3..6 => driver.process(),
                    _ => {}
                }
            }
            driver.commit();
            let out: Vec<_> =
                driver.read::<String, i64>("out").iter().map(|r| (r.value.unwrap(), r.timestamp)).collect();
            prop_assert_eq!(out, passed);
        }
    }
}
