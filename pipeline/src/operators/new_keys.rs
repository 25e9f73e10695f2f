//! Keys that come for the first time, known without a look into the store.
//!
//! For stores whose entries lie in buckets of time, and where most keys are new in their bucket:
//! buckets that began under the eyes of the operator have a [`SeenFilter`] each.

use std::collections::BTreeMap;

use stores::state::Order;

use super::kind;
use super::seen_filter::SeenFilter;
use super::stream_time::time_of;
use crate::operator::Fault;
use crate::task::Context;
use crate::topology::StoreRef;

/// Filters that one operator keeps, each of at most 2 MiB.
const FILTERS_MAX: usize = 4;

/// Tells that a key is new in its bucket.
///
/// It holds no data: without it answers are the same. What is taken back after it was added is
/// only looked for in vain.
pub(super) struct NewKeys {
    store: StoreRef,
    /// By bucket. A bucket without one may hold anything if it is before `from`, else nothing.
    filters: BTreeMap<i64, SeenFilter>,
    /// From this bucket on nothing was in the store when the operator began; `None` until then.
    from: Option<i64>,
}

impl NewKeys {
    /// Of `store`, whose entries begin with the start of their bucket, as
    /// [`super::stream_time::Expiring`] wants it.
    pub(super) fn new(store: StoreRef) -> Self {
        Self { store, filters: BTreeMap::new(), from: None }
    }

    /// Looks once how far the store goes.
    pub(super) fn begin(&mut self, ctx: &Context<'_>) -> Result<(), Fault> {
        if self.from.is_some() {
            return Ok(());
        }
        let mut last = None;
        let all = (&[kind::ENTRY][..], &[kind::ENTRY + 1][..]);
        ctx.scan_each(self.store, all, Order::Descending, &mut |key, _| {
            last = Some(time_of(key));
            false
        })?;
        self.from = Some(last.map_or(i64::MIN, |last| last.saturating_add(1)));
        Ok(())
    }

    /// Whether `key` may be in `bucket`; if not, it is not.
    pub(super) fn may_have(&self, bucket: i64, key: &[u8]) -> bool {
        match self.filters.get(&bucket) {
            Some(filter) => filter.may_have(key),
            None => self.from.is_none_or(|from| bucket < from),
        }
    }

    /// `key` is in `bucket` from now on.
    pub(super) fn add(&mut self, bucket: i64, key: &[u8]) {
        if self.from.is_none_or(|from| bucket < from) {
            return;
        }
        if !self.filters.contains_key(&bucket) {
            let before = self.filters.range(..bucket).next_back().map(|(_, filter)| filter);
            let filter = SeenFilter::like(before);
            self.filters.insert(bucket, filter);
        }
        if self.filters.len() > FILTERS_MAX
            && let Some((oldest, _)) = self.filters.pop_first()
        {
            self.forget(oldest.saturating_add(1));
        }
        if let Some(filter) = self.filters.get_mut(&bucket) {
            filter.add(key);
        }
    }

    /// Buckets before `from` may hold anything from now on.
    pub(super) fn forget(&mut self, from: i64) {
        if self.from.is_some_and(|before| from > before) {
            self.filters = self.filters.split_off(&from);
            self.from = Some(from);
        }
    }
}
