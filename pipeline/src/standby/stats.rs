//! What standbys show, for people and programs to look at.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::log::TopicPartition;
use crate::topology::TaskId;

/// What the standbys of one topology show.
#[derive(Debug, Default)]
pub struct StandbyStats {
    records: AtomicU64,
    places: Mutex<Vec<StandbyPlace>>,
}

/// One store that is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandbyPlace {
    /// The task that it belongs to.
    pub task: TaskId,
    /// What is read.
    pub changelog: TopicPartition,
    /// What is read next.
    pub position: u64,
    /// The changelog's end as far as known.
    pub end: u64,
    /// Records written since it is followed.
    pub records: u64,
}

impl StandbyStats {
    /// Changelog records written to stores that are followed, since the process started.
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// The stores that are followed, as of a moment ago.
    pub fn places(&self) -> Vec<StandbyPlace> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn read(&self, records: u64) {
        self.records.fetch_add(records, Ordering::Relaxed);
    }

    pub(super) fn publish(&self, places: Vec<StandbyPlace>) {
        *self.places.lock().unwrap_or_else(PoisonError::into_inner) = places;
    }
}
