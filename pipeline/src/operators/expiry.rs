//! Rows that leave a store when nothing has changed them for a while.
//!
//! Beside its rows the store has an index of them by the time of their last change. Each record
//! that comes takes out a few of those whose time is over: so a row leaves because of a record,
//! not of a commit, and the same records always do the same.

use super::kind;
use super::stream_time::{put_time, time_of};
use super::window_time::WindowTime;
use crate::operator::Fault;
use crate::task::{Context, Remembered};
use crate::topology::StoreRef;

/// Times in the index are rounded down to this, so that a row that changes often seldom moves.
const STEP_MS: i64 = 10_000;
/// The rows that one record takes out at most. It adds one at most, so none are left behind.
const TAKEN_MAX: usize = 32;
/// Where the row's key begins in a key of the index: behind kind and time.
const KEY_AT: usize = 9;

/// The index, and how far time has got.
pub(super) struct Expiry {
    store: StoreRef,
    after_ms: i64,
    time: WindowTime,
    /// Nothing in the index is before this.
    taken_to: Remembered,
    entry: Vec<u8>,
}

impl Expiry {
    /// Of the rows in `store`, which leave `after_ms` after their last change. Results that time
    /// makes come `behind_ms` after their timestamps.
    pub(super) fn new(store: StoreRef, after_ms: i64, behind_ms: i64) -> Self {
        Self {
            store,
            after_ms,
            time: WindowTime::new(store, behind_ms),
            taken_to: Remembered::new(i64::MIN),
            entry: Vec::new(),
        }
    }

    /// Takes in a record's timestamp. What has not changed since the time that it answers with has
    /// had its time.
    pub(super) fn observe(&mut self, timestamp: i64, ctx: &mut Context<'_>) -> Result<i64, Fault> {
        let clocks = self.time.observe(timestamp, ctx)?;
        Ok(rounded(clocks.closing.saturating_sub(self.after_ms)))
    }

    /// Notes that the row under `key`, which begins with its kind, has changed at `now`, and
    /// `before` for the last time.
    pub(super) fn moved(
        &mut self,
        key: &[u8],
        (before, now): (Option<i64>, i64),
        ctx: &mut Context<'_>,
    ) {
        let (before, now) = (before.map(rounded), rounded(now));
        if before == Some(now) {
            return;
        }
        if let Some(before) = before {
            self.left(key, before, ctx);
        }
        self.set_entry(now, &key[1..]);
        ctx.put(self.store, &self.entry, &[]);
    }

    /// Notes that the row under `key`, which has changed `before` for the last time, is gone.
    pub(super) fn left(&mut self, key: &[u8], before: i64, ctx: &mut Context<'_>) {
        self.set_entry(rounded(before), &key[1..]);
        ctx.delete(self.store, &self.entry);
    }

    /// The keys of some rows whose last change was before `kept_from`; they are in the index no
    /// more.
    pub(super) fn take(
        &mut self,
        kept_from: i64,
        ctx: &mut Context<'_>,
    ) -> Result<Vec<Vec<u8>>, Fault> {
        let from = self.taken_to.get();
        if kept_from <= from {
            return Ok(Vec::new());
        }
        let mut to = Vec::new();
        put_bound(&mut to, kept_from);
        self.set_entry(from, &[]);
        let found = ctx.scan(self.store, (&self.entry, &to), TAKEN_MAX)?;
        for (entry, _) in &found {
            ctx.delete(self.store, entry);
        }
        let taken_to = match found.last() {
            Some((entry, _)) if found.len() == TAKEN_MAX => time_of(entry),
            _ => kept_from,
        };
        self.taken_to.set(taken_to, ctx);
        let key_of = |entry: &[u8]| [&[kind::ENTRY], &entry[KEY_AT..]].concat();
        Ok(found.iter().map(|(entry, _)| key_of(entry)).collect())
    }

    /// Writes how far time has got into the store.
    pub(super) fn save(&mut self, ctx: &mut Context<'_>) {
        self.time.save(ctx);
    }

    fn set_entry(&mut self, time: i64, key: &[u8]) {
        self.entry.clear();
        put_bound(&mut self.entry, time);
        self.entry.extend_from_slice(key);
    }
}

fn put_bound(out: &mut Vec<u8>, time: i64) {
    out.push(kind::DUE);
    put_time(out, time);
}

/// The beginning of the step that `time` lies in.
pub(super) fn rounded(time: i64) -> i64 {
    time.saturating_sub(time.rem_euclid(STEP_MS))
}

#[cfg(test)]
mod tests;
