//! Bringing stores up to their changelogs.
//!
//! The position inside a store says how far it goes; the rest is read from the changelog. A
//! position that the log does not vouch for means that the store is made again from the start.

use std::time::Duration;

use stores::fail_point::{self, FailPoint};
use stores::state::{StateDb, StoreId};

use crate::log::{Log, Position, TopicPartition, Validity};

use super::TaskError;

/// From a record's key and value to the key it is stored under; `None` leaves it out.
pub(crate) type KeyOf<'a> = &'a dyn Fn(&[u8], Option<&[u8]>) -> Option<Vec<u8>>;

/// What a restoration has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Restored {
    pub(crate) records: u64,
    pub(crate) rebuilt: bool,
}

/// Brings `store` to the end of `changelog`.
pub(crate) fn restore(
    log: &dyn Log,
    db: &StateDb,
    changelog: &TopicPartition,
    store: StoreId,
    key: KeyOf<'_>,
) -> Result<Restored, TaskError> {
    let (from, rebuilt) = start(log, db, changelog, store)?;
    let mut restored = Restored { records: 0, rebuilt };
    let end = log.range(changelog)?.end;
    if from >= end.offset {
        return Ok(restored);
    }
    let mut reader = log.reader()?;
    reader.assign(changelog, from)?;
    while reader.position(changelog).is_some_and(|position| position < end.offset) {
        let mut batch = db.batch();
        for fetched in reader.poll(Duration::from_millis(100))? {
            for record in fetched.records() {
                if let Some(key) = record.key.and_then(|bytes| key(bytes, record.value)) {
                    batch.set(store, &key, record.value);
                }
                restored.records += 1;
            }
        }
        let reached = reader.position(changelog).unwrap_or(from);
        batch.set_position(store, Position::new(reached, end.epoch));
        fail_point::pass(FailPoint::RestoreBeforeWrite);
        batch.write()?;
        fail_point::pass(FailPoint::RestoreAfterWrite);
    }
    Ok(restored)
}

/// Where to read from; a store that cannot be trusted is emptied.
fn start(
    log: &dyn Log,
    db: &StateDb,
    changelog: &TopicPartition,
    store: StoreId,
) -> Result<(u64, bool), TaskError> {
    let Some(position) = db.position(store)? else {
        db.clear(store)?;
        return Ok((log.range(changelog)?.start, false));
    };
    match log.validate(changelog, position)? {
        Validity::Valid => Ok((position.offset, false)),
        invalid => {
            tracing::warn!(%changelog, %position, ?invalid, "rebuilding a store from its changelog");
            db.clear(store)?;
            Ok((log.range(changelog)?.start, true))
        }
    }
}
