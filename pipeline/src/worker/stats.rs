//! What workers count, for people and programs to look at.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::log::TopicPartition;
use crate::task::{Counters, HeavyKey, InputPlace};
use crate::topology::TaskId;

/// Counts of one topology's workers. All are totals since the process started, except where said.
#[derive(Debug, Default)]
pub struct WorkerStats {
    /// What was dropped or set aside.
    pub counters: Arc<Counters>,
    processed: AtomicU64,
    committed: AtomicU64,
    restored: AtomicU64,
    restored_bytes: AtomicU64,
    restore_left: AtomicU64,
    started_over: AtomicU64,
    assigned: AtomicU64,
    tasks: AtomicUsize,
    restoring: AtomicUsize,
    clock: AtomicI64,
    damage: Mutex<BTreeSet<String>>,
    inputs: Mutex<Vec<InputStats>>,
}

/// One input of a running task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputStats {
    /// The task.
    pub task: TaskId,
    /// What it reads.
    pub partition: TopicPartition,
    /// What it reads next.
    pub position: u64,
    /// The partition's end as far as known.
    pub end: u64,
    /// Records handled since the task was made.
    pub records: u64,
    /// The keys that many of its records have, the heaviest first.
    pub heaviest: Vec<HeavyKey>,
}

impl InputStats {
    pub(super) fn of(task: TaskId, place: InputPlace<'_>) -> Self {
        let InputPlace { partition, position, end, records, heaviest } = place;
        Self { task, partition: partition.clone(), position, end, records, heaviest }
    }
}

/// How much damage is told.
const DAMAGE_MAX: usize = 16;

impl WorkerStats {
    /// Records processed.
    pub fn records(&self) -> u64 {
        self.processed.load(Ordering::Relaxed)
    }

    /// Commits that the log has accepted.
    pub fn commits(&self) -> u64 {
        self.committed.load(Ordering::Relaxed)
    }

    /// Changelog records read to restore stores.
    pub fn restored_records(&self) -> u64 {
        self.restored.load(Ordering::Relaxed)
    }

    /// Bytes of those records.
    pub fn restored_bytes(&self) -> u64 {
        self.restored_bytes.load(Ordering::Relaxed)
    }

    /// Changelog records that the restoration under way has yet to read; 0 if there is none.
    pub fn restore_left(&self) -> u64 {
        self.restore_left.load(Ordering::Relaxed)
    }

    /// Times that a worker dropped its tasks and made them again.
    pub fn restarts(&self) -> u64 {
        self.started_over.load(Ordering::Relaxed)
    }

    /// Times that the group gave a worker partitions: once, if nobody comes and nobody goes.
    pub fn assignments(&self) -> u64 {
        self.assigned.load(Ordering::Relaxed)
    }

    /// Tasks running now.
    pub fn running_tasks(&self) -> usize {
        self.tasks.load(Ordering::Relaxed)
    }

    /// The inputs of the running tasks, as of a moment ago.
    pub fn inputs(&self) -> Vec<InputStats> {
        self.inputs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tasks whose stores are being brought up to their changelogs now.
    pub fn restoring_tasks(&self) -> usize {
        self.restoring.load(Ordering::Relaxed)
    }

    /// The largest event time read, milliseconds since 1970-01-01 UTC; `None` before the first.
    pub fn clock_ms(&self) -> Option<i64> {
        Some(self.clock.load(Ordering::Relaxed)).filter(|clock| *clock > 0)
    }

    /// Damage in the log that keeps tasks from going on, in words; the first of it.
    pub fn damage(&self) -> Vec<String> {
        let damage = self.damage.lock().unwrap_or_else(PoisonError::into_inner);
        damage.iter().cloned().collect()
    }

    pub(super) fn damaged(&self, what: String) {
        let mut damage = self.damage.lock().unwrap_or_else(PoisonError::into_inner);
        if damage.len() < DAMAGE_MAX {
            damage.insert(what);
        }
    }

    pub(super) fn processed(&self, records: u64) {
        self.processed.fetch_add(records, Ordering::Relaxed);
    }

    pub(super) fn committed(&self) {
        self.committed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn restored(&self, records: u64, bytes: u64, left: u64) {
        self.restored.fetch_add(records, Ordering::Relaxed);
        self.restored_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.restore_left.store(left, Ordering::Relaxed);
    }

    pub(super) fn started_over(&self) {
        self.started_over.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn assigned(&self) {
        self.assigned.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn publish(&self, inputs: Vec<InputStats>) {
        *self.inputs.lock().unwrap_or_else(PoisonError::into_inner) = inputs;
    }

    pub(super) fn tasks(&self, tasks: usize) {
        self.tasks.store(tasks, Ordering::Relaxed);
    }

    pub(super) fn restoring(&self, tasks: usize) {
        self.restoring.store(tasks, Ordering::Relaxed);
    }

    pub(super) fn clock(&self, clock: Option<i64>) {
        if let Some(clock) = clock {
            self.clock.fetch_max(clock, Ordering::Relaxed);
        }
    }
}
