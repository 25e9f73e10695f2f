//! Bringing stores up to their changelogs.
//!
//! The position inside a store says how far it goes; the rest is read from the changelog. A
//! position that the log does not vouch for means that the store is made again from the start.

use std::time::Duration;

use stores::fail_point::{self, FailPoint};
use stores::state::{StateDb, StoreId};

use crate::clock::Clock;
use crate::log::{Fetched, Log, Position, Reader, TopicPartition, Validity};

use super::TaskError;

/// From a record's key and value to the key it is stored under; `None` leaves it out.
pub(crate) type KeyOf<'a> = &'a dyn Fn(&[u8], Option<&[u8]>) -> Option<Vec<u8>>;

/// What a restoration has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Restored {
    pub(crate) records: u64,
    pub(crate) rebuilt: bool,
}

/// Who hears how a restoration goes on.
#[derive(Clone, Copy, Default)]
pub(crate) struct Watch<'a> {
    /// For the time that it takes.
    pub(crate) clock: Option<&'a dyn Clock>,
    /// Called after each batch with its records and bytes, and the records that are left.
    pub(crate) heard: Option<&'a dyn Fn(u64, u64, u64)>,
}

/// How often a long restoration says how far it is.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// A store that is to be brought up to its changelog.
pub(crate) struct Lagging<'a> {
    pub(crate) changelog: TopicPartition,
    pub(crate) store: StoreId,
    pub(crate) key: KeyOf<'a>,
}

/// One store on its way.
struct Target<'a> {
    lagging: &'a Lagging<'a>,
    end: Position,
    reached: u64,
}

/// A restoration under way.
struct Progress<'a> {
    watch: Watch<'a>,
    /// Offsets to pass, and those passed.
    offsets: (u64, u64),
    records: u64,
    bytes: u64,
    began: Duration,
    reported: Duration,
}

impl<'a> Progress<'a> {
    fn begin(offsets: u64, watch: Watch<'a>) -> Self {
        let now = watch.clock.map(Clock::elapsed).unwrap_or_default();
        let offsets = (offsets, 0);
        Self { watch, offsets, records: 0, bytes: 0, began: now, reported: now }
    }

    /// A batch was taken over: so many records, bytes and offsets.
    fn made(&mut self, records: u64, bytes: u64, offsets: u64) {
        self.records += records;
        self.bytes += bytes;
        self.offsets.1 += offsets;
        let (all, done) = self.offsets;
        let left = all.saturating_sub(done);
        if let Some(heard) = self.watch.heard {
            heard(records, bytes, left);
        }
        let Some(clock) = self.watch.clock else { return };
        let now = clock.elapsed();
        if now.saturating_sub(self.reported) < REPORT_EVERY || left == 0 {
            return;
        }
        self.reported = now;
        let eta = now.saturating_sub(self.began).mul_f64(left as f64 / done.max(1) as f64);
        let (records, bytes) = (self.records, self.bytes);
        tracing::info!(records, bytes, left, eta_s = eta.as_secs(), "restoring stores");
    }
}

/// Brings stores to the ends of their changelogs, all at once: to know that a changelog was read
/// to its end takes a moment, whatever is in it.
pub(crate) fn restore(
    log: &dyn Log,
    db: &StateDb,
    stores: &[Lagging<'_>],
    watch: Watch<'_>,
) -> Result<Restored, TaskError> {
    let mut restored = Restored::default();
    let mut targets = Vec::with_capacity(stores.len());
    for lagging in stores {
        let Start { offset: from, anew, rebuilt } =
            start(log, db, &lagging.changelog, lagging.store)?;
        if anew {
            db.clear(lagging.store)?;
        }
        restored.rebuilt |= rebuilt;
        let end = log.range(&lagging.changelog)?.end;
        if from < end.offset {
            targets.push(Target { lagging, end, reached: from });
        }
    }
    if targets.is_empty() {
        return Ok(restored);
    }
    let mut reader = log.reader()?;
    let mut offsets = 0;
    for target in &targets {
        reader.assign(&target.lagging.changelog, target.reached)?;
        offsets += target.end.offset - target.reached;
    }
    let mut progress = Progress::begin(offsets, watch);
    while !targets.is_empty() {
        let fetched = reader.poll(Duration::from_millis(100))?;
        restored.records += apply(db, (&mut targets, reader.as_mut()), &fetched, &mut progress)?;
    }
    Ok(restored)
}

/// Writes a batch of each store that was read, with the position that it has reached; those that
/// are at their ends are done.
fn apply(
    db: &StateDb,
    (targets, reader): (&mut Vec<Target<'_>>, &mut dyn Reader),
    fetched: &[Fetched],
    progress: &mut Progress<'_>,
) -> Result<u64, TaskError> {
    let mut batch = db.batch();
    let (mut records, mut bytes, mut passed) = (0, 0, 0);
    for fetched in fetched {
        let of = |target: &&Target<'_>| target.lagging.changelog == fetched.partition;
        let Some(target) = targets.iter().find(of) else { continue };
        bytes += fetched.batch.bytes() as u64;
        for record in fetched.records() {
            let key = record.key.and_then(|bytes| (target.lagging.key)(bytes, record.value));
            if let Some(key) = key {
                batch.set(target.lagging.store, &key, record.value);
            }
            records += 1;
        }
    }
    for target in targets.iter_mut() {
        let reached = reader.position(&target.lagging.changelog).unwrap_or(target.reached);
        if reached > target.reached {
            passed += reached.min(target.end.offset).saturating_sub(target.reached);
            target.reached = reached;
            batch.set_position(target.lagging.store, Position::new(reached, target.end.epoch));
        }
    }
    if !batch.is_empty() {
        fail_point::pass(FailPoint::RestoreBeforeWrite);
        batch.write()?;
        fail_point::pass(FailPoint::RestoreAfterWrite);
    }
    progress.made(records, bytes, passed);
    targets.retain(|target| {
        let done = target.reached >= target.end.offset;
        if done {
            reader.unassign(&target.lagging.changelog);
        }
        !done
    });
    Ok(records)
}

/// Where a store goes on in its changelog.
pub(crate) struct Start {
    /// What to read first.
    pub(crate) offset: u64,
    /// What the store holds is of no use: it is to be emptied first.
    pub(crate) anew: bool,
    /// It held something that the log does not vouch for.
    pub(crate) rebuilt: bool,
}

/// Finds where to read from.
pub(crate) fn start(
    log: &dyn Log,
    db: &StateDb,
    changelog: &TopicPartition,
    store: StoreId,
) -> Result<Start, TaskError> {
    let Some(position) = db.position(store)? else {
        return Ok(Start { offset: log.range(changelog)?.start, anew: true, rebuilt: false });
    };
    match log.validate(changelog, position)? {
        Validity::Valid => Ok(Start { offset: position.offset, anew: false, rebuilt: false }),
        invalid => {
            tracing::warn!(%changelog, %position, ?invalid, "rebuilding a store from its changelog");
            Ok(Start { offset: log.range(changelog)?.start, anew: true, rebuilt: true })
        }
    }
}
