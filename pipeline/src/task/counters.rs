//! Counts of what was dropped or set aside, by place and reason.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Counts by place (a node or a topic) and reason. Shared by the tasks of a topology.
#[derive(Debug, Default)]
pub struct Counters {
    counts: Mutex<BTreeMap<(String, &'static str), u64>>,
}

impl Counters {
    /// Adds one.
    pub(crate) fn add(&self, place: &str, reason: &'static str) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&(place.to_owned(), reason)) {
            *count += 1;
        } else {
            counts.insert((place.to_owned(), reason), 1);
        }
    }

    /// All counts so far: place, reason, number.
    pub fn all(&self) -> Vec<(String, &'static str, u64)> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|((place, reason), count)| (place.clone(), *reason, *count)).collect()
    }

    /// The sum over all places for one reason.
    pub fn total(&self, reason: &str) -> u64 {
        self.all().iter().filter(|(_, found, _)| *found == reason).map(|(.., count)| count).sum()
    }
}
