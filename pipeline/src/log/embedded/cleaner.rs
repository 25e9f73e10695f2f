//! The cleaner: what retention lets go, and compaction. One thread, at intervals.
//!
//! A partition's last batch always stays: it says where the partition ends.

mod compact;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use stores::fail_point::{self, FailPoint};

use super::super::storage::{Op, Space};
use super::super::{Cleanup, LogError, TopicPartition};
use super::catalog::header_at;
use super::{Shared, keys, unavailable};

/// Deletions of less than this are left to RocksDB's own pace.
const RECLAIM_BYTES: u64 = 64 << 20;

/// Tells the cleaner's thread to end.
#[derive(Default)]
pub(crate) struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    pub(crate) fn stop(&self) {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits; says whether it was told to stop.
    fn wait(&self, interval: Duration) -> bool {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(stopped, interval, |stopped| !*stopped);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Starts the cleaner of `shared`; it ends when it is told to.
pub(crate) fn spawn(shared: Arc<Shared>) -> Result<JoinHandle<()>, LogError> {
    let interval = Duration::from_millis(shared.settings.clean_interval_ms);
    let run = move || {
        while !shared.stopping.wait(interval) {
            if let Err(error) = clean(&shared) {
                tracing::error!(%error, "cleaning failed, trying again later");
            }
        }
    };
    std::thread::Builder::new()
        .name("log-cleaner".into())
        .spawn(run)
        .map_err(|error| LogError::Unavailable(format!("cannot start a thread: {error}")))
}

/// Cleans every partition that needs it. One that fails does not keep the others from it; the
/// first failure is told.
pub(crate) fn clean(shared: &Shared) -> Result<(), LogError> {
    let _cleaning = shared.cleaning.lock().unwrap_or_else(PoisonError::into_inner);
    let work: Vec<(TopicPartition, Cleanup)> = {
        let catalog = shared.catalog();
        let partitions = catalog.topics.iter().flat_map(|(name, topic)| {
            let cleanup = topic.spec.cleanup;
            // What is damaged is kept as it is, for whoever tries to save it.
            (0_u32..)
                .zip(&topic.partitions)
                .filter(|(_, partition)| partition.damage.is_none())
                .map(move |(number, _)| (TopicPartition::new(Arc::clone(name), number), cleanup))
        });
        partitions.collect()
    };
    let (mut dropped, mut outcome) = (0, Ok(()));
    for (at, cleanup) in work {
        if shared.stopping.is_stopped() {
            break;
        }
        match clean_partition(shared, &at, cleanup) {
            Ok(bytes) => dropped += bytes,
            Err(error) => outcome = outcome.and(Err(error)),
        }
    }
    reclaim(shared, dropped)?;
    outcome
}

/// Answers with the bytes that were dropped.
fn clean_partition(
    shared: &Shared,
    at: &TopicPartition,
    cleanup: Cleanup,
) -> Result<u64, LogError> {
    match cleanup {
        Cleanup::Delete { retention_ms, retention_bytes } => {
            retain(shared, at, retention_ms, retention_bytes)
        }
        Cleanup::Compact => {
            let purged = retain(shared, at, None, None)?;
            Ok(purged + compact::compact(shared, at)?)
        }
    }
}

/// Has the storage give back what was dropped, once it is worth the work.
fn reclaim(shared: &Shared, dropped: u64) -> Result<(), LogError> {
    let unreclaimed = shared.unreclaimed_bytes.fetch_add(dropped, Ordering::Relaxed) + dropped;
    if unreclaimed < RECLAIM_BYTES {
        return Ok(());
    }
    shared.unreclaimed_bytes.store(0, Ordering::Relaxed);
    let (from, to) = keys::BATCHES;
    shared.storage.reclaim(Space::Batches, (from, to)).map_err(unavailable)
}

/// Drops whole batches from the front that were purged, or while a bound is passed. Answers with
/// the bytes dropped.
fn retain(
    shared: &Shared,
    at: &TopicPartition,
    retention_ms: Option<u64>,
    retention_bytes: Option<u64>,
) -> Result<u64, LogError> {
    let oldest_kept = retention_ms
        .map(|ms| shared.clock.wall_ms().saturating_sub(i64::try_from(ms).unwrap_or(i64::MAX)));
    let (purged_to, mut surplus) = {
        let catalog = shared.catalog();
        let bounds = catalog.partition(at)?.1.bounds;
        (bounds.start, retention_bytes.map_or(0, |max| bounds.bytes.saturating_sub(max)))
    };
    drop_front(shared, at, &mut |batch: &Seen| {
        let expired = oldest_kept.is_some_and(|oldest| batch.append_time_ms < oldest);
        let goes = expired || surplus > 0 || batch.last_offset < purged_to;
        surplus = surplus.saturating_sub(batch.bytes);
        goes
    })
}

/// Forgets the records before `offset`: nobody reads them from now on, and the next cleaning
/// removes them.
pub(crate) fn purge(shared: &Shared, at: &TopicPartition, offset: u64) -> Result<(), LogError> {
    let mut appending = shared.appending();
    appending.check()?;
    let mut catalog = shared.catalog();
    let (id, partition) = catalog.partition_mut(at)?;
    partition.check_entries(at)?;
    let start = offset.min(partition.end);
    if start <= partition.bounds.start {
        return Ok(());
    }
    partition.bounds.start = start;
    partition.unstored_bytes = 0;
    let op = keys::put(keys::partition(id, at.partition), &partition.bounds);
    drop(catalog);
    shared.write(&mut appending, &[op], false)
}

/// What retention looks at.
struct Seen {
    last_offset: u64,
    append_time_ms: i64,
    bytes: u64,
}

/// Drops batches from the front as long as `goes` says so, never the last one.
fn drop_front(
    shared: &Shared,
    at: &TopicPartition,
    goes: &mut dyn FnMut(&Seen) -> bool,
) -> Result<u64, LogError> {
    let (id, end) = {
        let catalog = shared.catalog();
        let (id, partition) = catalog.partition(at)?;
        (id, partition.end)
    };
    let (from, to) = (keys::batch(id, at.partition, 0), keys::batch(id, at.partition, end));
    let (mut dropped, mut start, mut damage) = (0, 0, None);
    let mut visit = |key: &[u8], value: &[u8]| {
        let header = match header_at(id, at, key, value) {
            Ok(header) => header,
            Err(error) => {
                damage = Some(error);
                return false;
            }
        };
        let seen = Seen {
            last_offset: header.last_offset,
            append_time_ms: header.at.append_time_ms,
            bytes: value.len() as u64,
        };
        let drops = seen.last_offset + 1 < end && goes(&seen);
        if drops {
            dropped += seen.bytes;
            start = seen.last_offset + 1;
        }
        drops
    };
    shared.storage.scan(Space::Batches, (&from, &to), &mut visit).map_err(unavailable)?;
    if let Some(damage) = damage {
        return Err(damage);
    }
    if dropped == 0 {
        return Ok(0);
    }
    let upto = keys::batch(id, at.partition, start);
    let mut appending = shared.appending();
    appending.check()?;
    let mut catalog = shared.catalog();
    let (_, partition) = catalog.partition_mut(at)?;
    // Before the batches go: a reader that misses them then sees that they are gone.
    partition.bounds.start = partition.bounds.start.max(start);
    partition.bounds.bytes = partition.bounds.bytes.saturating_sub(dropped);
    partition.bounds.clean_bytes = partition.bounds.clean_bytes.saturating_sub(dropped);
    partition.unstored_bytes = 0;
    let bounds = keys::put(keys::partition(id, at.partition), &partition.bounds);
    drop(catalog);
    let delete = Op::DeleteRange(Space::Batches, from, upto);
    fail_point::pass(FailPoint::CleanBeforeWrite);
    shared.write(&mut appending, &[bounds, delete], false)?;
    fail_point::pass(FailPoint::CleanAfterWrite);
    tracing::debug!(partition = %at, start, bytes = dropped, "dropped old records");
    Ok(dropped)
}
