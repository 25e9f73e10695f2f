//! Compaction of one partition, after Kafka's log cleaner.
//!
//! Pass one reads the part that is new since the last time (the dirty part) and keeps, in bounded
//! memory, the last offset of each of its keys. Pass two reads everything before the end of that
//! part and writes it again without the records whose key has a later offset, in larger batches.
//! Offsets never change; readers expect gaps. Each step of pass two is one atomic write that
//! replaces a run of batches, so a crash between steps leaves a partition that is merely less
//! clean.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use hashbrown::HashTable;

use stores::fail_point::{self, FailPoint};

use super::super::super::batch::{Batch, HEADER_LENGTH, Placement, RecordParts, decode};
use super::super::super::storage::{Op, Space};
use super::super::super::{BatchBuilder, LogError, TopicPartition};
use super::super::{Shared, keys, unavailable};

/// A step of pass two reads about this much.
const STEP_BYTES: usize = 4 << 20;
/// Batches are merged up to about this size, before compression.
const MERGED_BYTES: usize = 256 << 10;
/// What a key takes at most: its place, twice when the table has just grown.
const KEY_BYTES: usize = 2 * size_of::<Last>();

/// The last offset of each key of the dirty part. Keys are told apart by 128 bits of keyed hashes,
/// as Kafka's cleaner tells them apart by a digest: a key takes the same little memory, however
/// long it is, and nobody can make two keys meet who does not know the hashes' secrets.
#[derive(Default)]
struct Latest {
    keys: HashTable<Last>,
    hashers: [RandomState; 2],
}

struct Last {
    hash: [u64; 2],
    offset: u64,
}

impl Latest {
    fn get(&self, key: &[u8]) -> Option<u64> {
        let hash = self.hash(key);
        self.keys.find(hash[0], |last| last.hash == hash).map(|last| last.offset)
    }

    fn set(&mut self, key: &[u8], offset: u64) {
        let hash = self.hash(key);
        match self.keys.find_mut(hash[0], |last| last.hash == hash) {
            Some(last) => last.offset = offset,
            None => {
                self.keys.insert_unique(hash[0], Last { hash, offset }, |last| last.hash[0]);
            }
        }
    }

    fn bytes(&self) -> usize {
        self.keys.len() * KEY_BYTES
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        [self.hashers[0].hash_one(key), self.hashers[1].hash_one(key)]
    }
}

/// Cleans `at` if enough of it is dirty. Answers with the bytes that it rewrote: the storage has
/// them twice until it gives space back.
pub(super) fn compact(shared: &Shared, at: &TopicPartition) -> Result<u64, LogError> {
    let Some(pass) = Pass::plan(shared, at)? else { return Ok(0) };
    let (latest, upto) = pass.latest()?;
    if upto <= pass.dirty_from {
        return Ok(0);
    }
    let mut done = Done::default();
    while done.upto < upto {
        if shared.stopping.is_stopped() {
            return Ok(done.bytes_before);
        }
        pass.step(&latest, &mut done, upto)?;
    }
    fail_point::pass(FailPoint::CompactBeforeFinish);
    pass.finish(&done)?;
    Ok(done.bytes_before)
}

/// How far the steps of a pass have come.
#[derive(Default)]
struct Done {
    upto: u64,
    bytes_before: u64,
    bytes_after: u64,
}

struct Pass<'a> {
    shared: &'a Shared,
    at: &'a TopicPartition,
    id: u32,
    /// The first offset that no cleaning has seen.
    dirty_from: u64,
    end: u64,
    /// Tombstones appended before this may go.
    tombstones_before_ms: i64,
}

/// What a step puts in the place of the batches it has read.
#[derive(Default)]
struct Rewritten {
    ops: Vec<Op>,
    bytes_before: u64,
    bytes_after: u64,
    tombstone: Option<u64>,
}

impl<'a> Pass<'a> {
    fn plan(shared: &'a Shared, at: &'a TopicPartition) -> Result<Option<Self>, LogError> {
        let catalog = shared.catalog();
        let (id, partition) = catalog.partition(at)?;
        let bounds = partition.bounds;
        let dirty = bounds.bytes.saturating_sub(bounds.clean_bytes);
        let settings = &shared.settings;
        let needed = (bounds.bytes as f64) * settings.dirty_ratio_min;
        if dirty == 0 || (dirty as f64) < needed || partition.end <= bounds.cleaned_to {
            return Ok(None);
        }
        let retention = i64::try_from(settings.tombstone_retention_ms).unwrap_or(i64::MAX);
        Ok(Some(Self {
            shared,
            at,
            id,
            dirty_from: bounds.cleaned_to,
            end: partition.end,
            tombstones_before_ms: shared.clock.wall_ms().saturating_sub(retention),
        }))
    }

    fn key(&self, offset: u64) -> Vec<u8> {
        keys::batch(self.id, self.at.partition, offset)
    }

    /// Shows the batches from `from`, without the partition's last one, until `visit` says no.
    fn scan(&self, from: u64, visit: &mut dyn FnMut(Batch, u64) -> bool) -> Result<(), LogError> {
        let mut damage = None;
        let mut check = |key: &[u8], value: &[u8]| match decode(value) {
            Ok(batch) if batch.last_offset() + 1 >= self.end => false,
            Ok(batch) => visit(batch, value.len() as u64),
            Err(reason) => {
                let offset = keys::base_offset(self.id, self.at.partition, key).unwrap_or(0);
                damage = Some((offset, reason));
                false
            }
        };
        let range = (&self.key(from)[..], &self.key(self.end)[..]);
        self.shared.storage.scan(Space::Batches, range, &mut check).map_err(unavailable)?;
        match damage {
            None => Ok(()),
            Some((offset, reason)) => {
                Err(LogError::Corrupt { partition: self.at.to_string(), offset, reason })
            }
        }
    }

    /// Pass one: the last offset of each dirty key, and where the memory for them ran out.
    fn latest(&self) -> Result<(Latest, u64), LogError> {
        let mut latest = Latest::default();
        let mut upto = self.dirty_from;
        self.scan(self.dirty_from, &mut |batch, _| {
            for record in batch.records() {
                if let Some(key) = record.key {
                    latest.set(key, record.offset);
                }
            }
            upto = batch.last_offset() + 1;
            latest.bytes() < self.shared.settings.clean_bytes_max
        })?;
        Ok((latest, upto))
    }

    /// Rewrites the batches after `done` until a step's worth is read.
    fn step(&self, latest: &Latest, done: &mut Done, upto: u64) -> Result<(), LogError> {
        let mut batches = Vec::new();
        let (mut read, mut stored) = (0, 0);
        self.scan(done.upto, &mut |batch, bytes| {
            if batch.base_offset() >= upto {
                return false;
            }
            read += batch.bytes() + HEADER_LENGTH;
            stored += bytes;
            batches.push(batch);
            read < STEP_BYTES
        })?;
        let (Some(first), Some(last)) = (batches.first(), batches.last()) else {
            done.upto = upto;
            return Ok(());
        };
        let next = last.last_offset() + 1;
        let range = (self.key(first.base_offset()), self.key(next));
        let rewritten = self.rewrite(latest, &batches, range, stored);
        done.bytes_before += rewritten.bytes_before;
        done.bytes_after += rewritten.bytes_after;
        fail_point::pass(FailPoint::CompactBeforeReplace);
        self.replace(rewritten)?;
        fail_point::pass(FailPoint::CompactAfterReplace);
        done.upto = next;
        Ok(())
    }

    fn rewrite(
        &self,
        latest: &Latest,
        batches: &[Batch],
        (from, to): (Vec<u8>, Vec<u8>),
        stored: u64,
    ) -> Rewritten {
        let mut rewritten = Rewritten { bytes_before: stored, ..Rewritten::default() };
        rewritten.ops.push(Op::DeleteRange(Space::Batches, from, to));
        let mut merged = Merged::default();
        for batch in batches {
            if !merged.fits(batch) {
                self.write_merged(std::mem::take(&mut merged), &mut rewritten);
            }
            merged.extend_to(batch);
            for record in batch.records() {
                let superseded =
                    record.key.and_then(|key| latest.get(key)).is_some_and(|l| l > record.offset);
                let expired = record.value.is_none()
                    && record.key.is_some()
                    && batch.append_time_ms() < self.tombstones_before_ms;
                if expired && !superseded {
                    rewritten.tombstone = rewritten.tombstone.max(Some(record.offset));
                }
                if !superseded && !expired {
                    let parts = RecordParts {
                        timestamp: record.timestamp,
                        key: record.key,
                        value: record.value,
                        headers: record.headers.as_bytes(),
                    };
                    merged.push(record.offset, parts);
                }
            }
            if merged.builder.bytes() >= MERGED_BYTES {
                self.write_merged(std::mem::take(&mut merged), &mut rewritten);
            }
        }
        self.write_merged(merged, &mut rewritten);
        rewritten
    }

    fn write_merged(&self, merged: Merged, rewritten: &mut Rewritten) {
        if merged.builder.is_empty() {
            return;
        }
        let mut sealed = merged.builder.seal();
        let span = merged.last_offset - merged.at.base_offset;
        sealed.last_delta = u32::try_from(span).expect("`Merged::fits` was asked");
        let bytes = sealed.encode(merged.at);
        rewritten.bytes_after += bytes.len() as u64;
        rewritten.ops.push(Op::Put(Space::Batches, self.key(merged.at.base_offset), bytes));
    }

    fn replace(&self, mut rewritten: Rewritten) -> Result<(), LogError> {
        let mut appending = self.shared.appending();
        appending.check()?;
        let bounds = {
            let mut catalog = self.shared.catalog();
            let (_, partition) = catalog.partition_mut(self.at)?;
            let bounds = &mut partition.bounds;
            bounds.bytes =
                (bounds.bytes + rewritten.bytes_after).saturating_sub(rewritten.bytes_before);
            bounds.tombstone = bounds.tombstone.max(rewritten.tombstone);
            partition.unstored_bytes = 0;
            partition.bounds
        };
        rewritten.ops.push(keys::put(keys::partition(self.id, self.at.partition), &bounds));
        self.shared.write(&mut appending, &rewritten.ops, false)
    }

    fn finish(&self, done: &Done) -> Result<(), LogError> {
        let mut appending = self.shared.appending();
        appending.check()?;
        let op = {
            let mut catalog = self.shared.catalog();
            let (id, partition) = catalog.partition_mut(self.at)?;
            partition.bounds.cleaned_to = done.upto;
            partition.bounds.clean_bytes = done.bytes_after;
            partition.unstored_bytes = 0;
            keys::put(keys::partition(id, self.at.partition), &partition.bounds)
        };
        self.shared.write(&mut appending, &[op], false)?;
        tracing::debug!(partition = %self.at, upto = done.upto, "compacted");
        Ok(())
    }
}

/// A batch that takes the place of several.
#[derive(Default)]
struct Merged {
    builder: BatchBuilder,
    at: Placement,
    last_offset: u64,
    begun: bool,
}

impl Merged {
    /// Whether the offsets of `batch` can be told from the base: after much compaction few
    /// records span very many of them.
    fn fits(&self, batch: &Batch) -> bool {
        !self.begun || u32::try_from(batch.last_offset() - self.at.base_offset).is_ok()
    }

    fn extend_to(&mut self, batch: &Batch) {
        if !self.begun {
            self.begun = true;
            self.at.base_offset = batch.base_offset();
        }
        // The newest of both: retention by append time must not come early.
        self.at.append_time_ms = self.at.append_time_ms.max(batch.append_time_ms());
        self.at.epoch = batch.epoch();
        self.last_offset = batch.last_offset();
    }

    fn push(&mut self, offset: u64, record: RecordParts<'_>) {
        let delta = offset - self.at.base_offset;
        let delta = u32::try_from(delta).expect("`Merged::fits` was asked");
        self.builder.push_at(delta, record);
    }
}
