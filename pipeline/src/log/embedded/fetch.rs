//! Reading: batches of chosen partitions, in turns, up to a bound.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::super::batch::{Batch, decode};
use super::super::storage::Space;
use super::super::{Fetched, LogError, Reader, TopicPartition};
use super::catalog::Catalog;
use super::{Shared, decode_header, keys, unavailable};

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
    /// The partition's count of compactions when `next` was the start of a batch.
    aligned: Option<u64>,
    paused: bool,
}

impl LogReader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, assigned: BTreeMap::new(), served: None }
    }

    pub(crate) fn assigned(&self) -> Vec<TopicPartition> {
        self.assigned.keys().cloned().collect()
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
            self.fetch_partition(&at, &mut budget, &mut fetched)?;
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
        let (id, start, end, rewrites) = {
            let catalog = self.shared.catalog();
            let (id, partition) = catalog.partition(at)?;
            (id, partition.bounds.start, partition.end, partition.rewrites)
        };
        if cursor.paused || cursor.next >= end {
            return Ok(());
        }
        if cursor.next < start {
            return Err(LogError::OutOfRange {
                partition: at.to_string(),
                offset: cursor.next,
                start,
            });
        }
        let place = Place { at, id, end };
        let from = if cursor.aligned == Some(rewrites) {
            keys::batch(id, at.partition, cursor.next)
        } else {
            self.shared.batch_of(&place, cursor.next)?
        };
        let batches = self.shared.read(&place, &from, budget)?;
        if self.shared.catalog().partition(at)?.1.rewrites != rewrites {
            // A compaction came between: the batch may lie elsewhere now. Read it again.
            self.assigned.insert(at.clone(), Cursor { aligned: None, ..cursor });
            return self.fetch_partition(at, budget, fetched);
        }
        let mut next = cursor.next;
        for batch in batches {
            let from = next;
            next = batch.last_offset() + 1;
            if next > from && !batch.is_empty() {
                fetched.push(Fetched { partition: at.clone(), batch, from, end });
            }
        }
        self.assigned.insert(at.clone(), Cursor { next, aligned: Some(rewrites), ..cursor });
        Ok(())
    }
}

/// A partition to read, up to `end`.
struct Place<'a> {
    at: &'a TopicPartition,
    id: u32,
    end: u64,
}

impl Shared {
    /// The key of the batch that holds `offset`, or of the place where the next one would be.
    fn batch_of(&self, place: &Place<'_>, offset: u64) -> Result<Vec<u8>, LogError> {
        let key = keys::batch(place.id, place.at.partition, offset);
        let found = self.storage.at_or_before(Space::Batches, &key).map_err(unavailable)?;
        let holds = |(key, value): &(Vec<u8>, Vec<u8>)| {
            keys::base_offset(place.id, place.at.partition, key).is_some()
                && decode_header(value).is_ok_and(|header| header.last_offset >= offset)
        };
        Ok(found.filter(holds).map_or(key, |(key, _)| key))
    }

    fn read(
        &self,
        place: &Place<'_>,
        from: &[u8],
        budget: &mut usize,
    ) -> Result<Vec<Batch>, LogError> {
        let to = keys::batch(place.id, place.at.partition, place.end);
        let mut batches = Vec::new();
        let mut damage = None;
        let mut take = |key: &[u8], value: &[u8]| match check(place, key, value) {
            Ok(batch) => {
                *budget = budget.saturating_sub(batch.bytes().max(1));
                batches.push(batch);
                *budget > 0
            }
            Err(error) => {
                damage = Some(error);
                false
            }
        };
        self.storage.scan(Space::Batches, (from, &to), &mut take).map_err(unavailable)?;
        // What was read before the damage is good: the next call meets the damage alone.
        match damage {
            Some(error) if batches.is_empty() => Err(error),
            _ => Ok(batches),
        }
    }
}

fn check(place: &Place<'_>, key: &[u8], value: &[u8]) -> Result<Batch, LogError> {
    let base = keys::base_offset(place.id, place.at.partition, key).unwrap_or(u64::MAX);
    let decoded = decode(value).and_then(|batch| {
        let matches = batch.base_offset() == base;
        matches.then_some(batch).ok_or_else(|| "it says that it lies elsewhere".to_owned())
    });
    decoded.map_err(|reason| LogError::Corrupt {
        partition: place.at.to_string(),
        offset: base,
        reason,
    })
}

impl Reader for LogReader {
    fn assign(&mut self, partition: &TopicPartition, offset: u64) -> Result<(), LogError> {
        self.shared.catalog().partition(partition)?;
        let cursor = Cursor { next: offset, aligned: None, paused: false };
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
