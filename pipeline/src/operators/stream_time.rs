//! What operators over time share: stream time that survives restarts, and forgetting what lies
//! behind it.

use stores::state::Entry;

use super::kind;
use crate::operator::Fault;
use crate::task::{Context, Remembered};
use crate::topology::StoreRef;

/// Entries forgotten in one commit at most, so that a commit stays short.
const PURGED_MAX: usize = 20_000;

/// The largest timestamp that an operator has seen, kept as a meta entry of its store.
pub(crate) struct StreamTime {
    store: StoreRef,
    now: Remembered,
    /// What the store has; [`i64::MIN`] for nothing.
    saved: Remembered,
    /// The store was read.
    loaded: bool,
}

const KEY: &[u8] = &[kind::META, b't'];

impl StreamTime {
    pub(crate) fn new(store: StoreRef) -> Self {
        Self {
            store,
            now: Remembered::new(i64::MIN),
            saved: Remembered::new(i64::MIN),
            loaded: false,
        }
    }

    /// Takes in a record's timestamp and answers with stream time after it.
    pub(crate) fn observe(&mut self, timestamp: i64, ctx: &mut Context<'_>) -> Result<i64, Fault> {
        let before = self.get(ctx)?;
        if timestamp > before {
            self.now.set(timestamp, ctx);
        }
        Ok(before.max(timestamp))
    }

    /// Stream time; [`i64::MIN`] before the first record.
    pub(crate) fn get(&mut self, ctx: &mut Context<'_>) -> Result<i64, Fault> {
        if !self.loaded {
            let stored = ctx.read(self.store, KEY, |value| {
                value.and_then(|bytes| Some(i64::from_be_bytes(bytes.try_into().ok()?)))
            })?;
            let stored = stored.unwrap_or(i64::MIN);
            self.saved.load(stored);
            self.now.load(stored);
            self.loaded = true;
        }
        Ok(self.now.get())
    }

    /// Writes the meta entry, if stream time has moved since the last time.
    pub(crate) fn save(&mut self, ctx: &mut Context<'_>) {
        let now = self.now.get();
        if now != self.saved.get() {
            ctx.put(self.store, KEY, &now.to_be_bytes());
            self.saved.set(now, ctx);
        }
    }
}

/// Appends a time so that keys sort by it.
pub(crate) fn put_time(key: &mut Vec<u8>, time: i64) {
    key.extend_from_slice(&(time ^ i64::MIN).to_be_bytes());
}

/// The time in a key of an [`Expiring`] store.
pub(crate) fn time_of(key: &[u8]) -> i64 {
    let bytes: [u8; 8] = key[1..9].try_into().expect("every entry begins with kind and time");
    i64::from_be_bytes(bytes) ^ i64::MIN
}

/// Entries whose keys begin with a time, forgotten once it is past.
pub(crate) struct Expiring {
    store: StoreRef,
    /// Everything before this is gone already: the next scan begins here, not among the
    /// tombstones of the last ones.
    purged_to: Remembered,
}

impl Expiring {
    pub(crate) fn new(store: StoreRef) -> Self {
        Self { store, purged_to: Remembered::new(i64::MIN) }
    }

    /// Takes out the entries whose time is before `open_from`, in order, at most `limit` of them;
    /// none if there are no more.
    pub(crate) fn take(
        &mut self,
        open_from: i64,
        limit: usize,
        ctx: &mut Context<'_>,
    ) -> Result<Vec<Entry>, Fault> {
        if open_from <= self.purged_to.get() {
            return Ok(Vec::new());
        }
        let (from, to) = (bound(self.purged_to.get()), bound(open_from));
        let taken = ctx.scan(self.store, (&from, &to), limit)?;
        for (key, _) in &taken {
            ctx.delete(self.store, key);
        }
        let purged_to = match taken.last() {
            Some((key, _)) if taken.len() == limit => time_of(key),
            _ => open_from,
        };
        self.purged_to.set(purged_to, ctx);
        Ok(taken)
    }

    /// Deletes the entries whose time is before `open_from`, as many as fit in one commit.
    pub(crate) fn purge(&mut self, open_from: i64, ctx: &mut Context<'_>) -> Result<(), Fault> {
        if open_from <= self.purged_to.get() {
            return Ok(());
        }
        let (from, to) = (bound(self.purged_to.get()), bound(open_from));
        let gone = ctx.scan(self.store, (&from, &to), PURGED_MAX)?;
        for (key, _) in &gone {
            ctx.delete(self.store, key);
        }
        let purged_to = match gone.last() {
            Some((key, _)) if gone.len() == PURGED_MAX => time_of(key),
            _ => open_from,
        };
        self.purged_to.set(purged_to, ctx);
        Ok(())
    }
}

fn bound(time: i64) -> Vec<u8> {
    let mut key = vec![kind::ENTRY];
    put_time(&mut key, time);
    key
}

/// Stores a value with its timestamp in front, as Kafka Streams' timestamped stores do.
pub(crate) fn put_timestamp(out: &mut Vec<u8>, timestamp: i64) {
    out.extend_from_slice(&timestamp.to_be_bytes());
}

/// Splits what [`put_timestamp`] and a codec wrote.
pub(crate) fn split_timestamp(stored: &[u8]) -> Option<(i64, &[u8])> {
    let (timestamp, value) = stored.split_first_chunk::<8>()?;
    Some((i64::from_be_bytes(*timestamp), value))
}
