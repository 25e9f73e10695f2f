//! Reading: batches of chosen partitions, in turns, up to a bound.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::super::batch::{Batch, decode};
use super::super::storage::{Space, StorageError};
use super::super::{Fetched, LogError, Reader, TopicPartition};
use super::catalog::{Catalog, header_at};
use super::{Shared, keys, unavailable};

/// Reads assigned partitions.
pub(crate) struct LogReader {
    shared: Arc<Shared>,
    assigned: BTreeMap<TopicPartition, Cursor>,
    /// The partition that was served last: the next one comes first.
    served: Option<TopicPartition>,
}

#[derive(Clone, Copy)]
struct Cursor {
    next: u64,
    paused: bool,
}

impl LogReader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, assigned: BTreeMap::new(), served: None }
    }

    pub(crate) fn unassign_all(&mut self) {
        self.assigned.clear();
    }

    pub(crate) fn set_paused(&mut self, partition: &TopicPartition, paused: bool) {
        if let Some(cursor) = self.assigned.get_mut(partition) {
            cursor.paused = paused;
        }
    }

    /// Whether there is something to fetch.
    pub(crate) fn is_behind(&self, catalog: &Catalog) -> bool {
        self.assigned.iter().any(|(at, cursor)| {
            !cursor.paused
                && catalog.partition(at).is_ok_and(|(_, partition)| partition.end > cursor.next)
        })
    }

    /// What there is to read now, without waiting.
    pub(crate) fn fetch(&mut self) -> Result<Vec<Fetched>, LogError> {
        let mut order: Vec<TopicPartition> = self.assigned.keys().cloned().collect();
        if let Some(served) = &self.served {
            let after = order.partition_point(|at| at <= served);
            order.rotate_left(after);
        }
        let mut fetched = Vec::new();
        let mut budget = self.shared.settings.fetch_bytes_max;
        for at in order {
            if budget == 0 {
                break;
            }
            let before = fetched.len();
            match self.fetch_partition(&at, &mut budget, &mut fetched) {
                Ok(()) => {}
                Err(error) if before == 0 => return Err(error),
                // The others' records are good, and their cursors have moved. A later call
                // meets the error when it is this partition's turn to be first.
                Err(_) => break,
            }
            if fetched.len() > before {
                self.served = Some(at);
            }
        }
        Ok(fetched)
    }

    fn fetch_partition(
        &mut self,
        at: &TopicPartition,
        budget: &mut usize,
        fetched: &mut Vec<Fetched>,
    ) -> Result<(), LogError> {
        let cursor = self.assigned[at];
        let (id, end) = {
            let catalog = self.shared.catalog();
            let (id, partition) = catalog.partition(at)?;
            partition.check_entries(at)?;
            if cursor.next >= partition.end && !cursor.paused {
                // There may be more behind the damage: to seem at the end would be a lie.
                partition.check_end(at)?;
            }
            (id, partition.end)
        };
        if cursor.paused || cursor.next >= end {
            return Ok(());
        }
        let batches = self.shared.read(&Place { at, id, from: cursor.next, end }, budget)?;
        // Asked after reading: batches that were dropped meanwhile look like a gap.
        let start = self.shared.catalog().partition(at)?.1.bounds.start;
        if cursor.next < start {
            let partition = at.to_string();
            return Err(LogError::OutOfRange { partition, offset: cursor.next, start });
        }
        let mut next = cursor.next;
        for batch in batches {
            let from = next;
            next = batch.last_offset() + 1;
            fetched.push(Fetched { partition: at.clone(), batch, from, end });
        }
        self.assigned.insert(at.clone(), Cursor { next, ..cursor });
        Ok(())
    }
}

/// A part of a partition to read.
struct Place<'a> {
    at: &'a TopicPartition,
    id: u32,
    from: u64,
    end: u64,
}

impl Shared {
    /// Reads until `budget` is used up. The first batch may begin before the place: compaction
    /// merges batches under a reader, so it is looked for in the same scan that reads on from it.
    fn read(&self, place: &Place<'_>, budget: &mut usize) -> Result<Vec<Batch>, LogError> {
        let Place { at, id, from, end } = *place;
        let mut batches = Vec::new();
        let mut damage = None;
        let mut take = |key: &[u8], value: &[u8]| {
            if keys::base_offset(id, at.partition, key).is_none() {
                return true;
            }
            match batch_after(place, key, value) {
                Ok(None) => true,
                Ok(Some(batch)) => {
                    *budget = budget.saturating_sub(batch.bytes().max(1));
                    batches.push(batch);
                    *budget > 0
                }
                Err(error) => {
                    damage = Some(error);
                    false
                }
            }
        };
        let (from, to) = (keys::batch(id, at.partition, from), keys::batch(id, at.partition, end));
        match self.storage.scan_around(Space::Batches, (&from, &to), &mut take) {
            Ok(()) => {}
            Err(StorageError::Damaged(reason)) => {
                let offset = batches.last().map_or(place.from, |batch| batch.last_offset() + 1);
                damage = Some(LogError::Corrupt { partition: at.to_string(), offset, reason });
            }
            Err(error) => return Err(unavailable(error)),
        }
        // What was read before the damage is good: the next call meets the damage alone.
        match damage {
            Some(error) if batches.is_empty() => Err(error),
            _ => Ok(batches),
        }
    }
}

/// The batch at `key`, unless it ends before the place.
fn batch_after(place: &Place<'_>, key: &[u8], value: &[u8]) -> Result<Option<Batch>, LogError> {
    let header = header_at(place.id, place.at, key, value)?;
    if header.last_offset < place.from {
        return Ok(None);
    }
    decode(value).map(Some).map_err(|reason| LogError::Corrupt {
        partition: place.at.to_string(),
        offset: header.at.base_offset,
        reason,
    })
}

impl Reader for LogReader {
    fn assign(&mut self, partition: &TopicPartition, offset: u64) -> Result<(), LogError> {
        self.shared.catalog().partition(partition)?;
        let cursor = Cursor { next: offset, paused: false };
        self.assigned.insert(partition.clone(), cursor);
        Ok(())
    }

    fn unassign(&mut self, partition: &TopicPartition) {
        self.assigned.remove(partition);
    }

    fn poll(&mut self, wait: Duration) -> Result<Vec<Fetched>, LogError> {
        let fetched = self.fetch()?;
        if !fetched.is_empty() || wait.is_zero() {
            return Ok(fetched);
        }
        self.shared.wait(wait, |catalog| self.is_behind(catalog));
        self.fetch()
    }

    fn position(&self, partition: &TopicPartition) -> Option<u64> {
        self.assigned.get(partition).map(|cursor| cursor.next)
    }
}
