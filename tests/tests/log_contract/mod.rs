//! What every log promises, as one test that all of them run.
//!
//! Nothing here knows which log it has. Offsets may have gaps (a transaction's end takes one in
//! Kafka), assignment comes eventually, and nothing is assumed about time but a generous bound.

#![cfg(test)]

mod bench;
mod groups;
mod reading;
mod topics;
mod writing;

use std::sync::Arc;

use bench::{Bench, Check};
use pipeline::clock::SystemClock;
use pipeline::log::Log;
use pipeline::log::embedded::{Durability, EmbeddedLog, EmbeddedSettings};
use pipeline::log::storage::MemoryStorage;

/// Runs every check on a log of its own; a failure names all checks that failed.
pub(crate) fn assert_log_contract(make: &dyn Fn() -> Arc<dyn Log>) {
    let checks = [topics::CHECKS, writing::CHECKS, reading::CHECKS, groups::CHECKS].concat();
    let failed: Vec<&str> = checks
        .iter()
        .filter(|(name, check)| {
            let filter = std::env::var("LOG_CONTRACT").unwrap_or_default();
            if !name.contains(&filter) {
                return false;
            }
            let run = std::panic::AssertUnwindSafe(|| check(&Bench::new(make, name)));
            std::panic::catch_unwind(run).is_err()
        })
        .map(|(name, _): &Check| *name)
        .collect();
    assert!(failed.is_empty(), "{} of {} checks failed: {failed:?}", failed.len(), checks.len());
}

/// Runs one check by itself, with names that begin with `label`.
pub(crate) fn assert_one_check(make: &dyn Fn() -> Arc<dyn Log>, check: &str, label: &str) {
    let checks = [topics::CHECKS, writing::CHECKS, reading::CHECKS, groups::CHECKS].concat();
    let (_, run) = checks.iter().find(|(name, _)| *name == check).expect("there is such a check");
    run(&Bench::new(make, label));
}

fn settings() -> EmbeddedSettings {
    EmbeddedSettings { batch_bytes_max: bench::TOO_LARGE_BYTES / 2, ..EmbeddedSettings::default() }
}

fn in_memory() -> Arc<dyn Log> {
    let storage = Arc::new(MemoryStorage::new());
    EmbeddedLog::in_memory(storage, settings(), Arc::new(SystemClock::new())).unwrap()
}

#[test]
fn the_log_in_memory_keeps_the_contract() {
    assert_log_contract(&in_memory);
}

#[test]
fn the_log_on_disk_keeps_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    for durability in [Durability::Os, Durability::Sync] {
        assert_log_contract(&|| {
            count.set(count.get() + 1);
            let path = directory.path().join(count.get().to_string());
            let settings = EmbeddedSettings { durability, ..settings() };
            EmbeddedLog::open(&path, settings, Arc::new(SystemClock::new())).unwrap()
        });
    }
}
