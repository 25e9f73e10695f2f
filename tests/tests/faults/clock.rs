//! The wall clock is set back, as an administrator or a time server may do.
//!
//! In the process, with a clock that can be turned: a real one belongs to the whole machine. What
//! waits (commits, flushes, retries) looks at the monotonic clock, which is never set.

use std::sync::Arc;
use std::time::Duration;

use pipeline::Plan;
use pipeline::clock::{Clock, ManualClock};
use pipeline::log::embedded::{EmbeddedLog, EmbeddedSettings};
use pipeline::log::storage::MemoryStorage;
use pipeline::log::{BatchBuilder, Cleanup, Commit, Log as _, Outcome, TopicPartition, TopicSpec};
use pipeline::worker::{Worker, WorkerParts, WorkerSettings, WorkerStats};
use stores::state::StateDb;
use tests::crashes::ledger::{self, LINES, PAYMENTS, PAYMENTS_ONCE, Payment};

const DAY_MS: i64 = 24 * 3_600_000;
const NOW_MS: i64 = 1_800_000_000_000;

const KEEP: Cleanup = Cleanup::Delete { retention_ms: None, retention_bytes: None };

fn keep_two_days() -> Cleanup {
    let retention_ms = Some(2 * DAY_MS.unsigned_abs());
    Cleanup::Delete { retention_ms, retention_bytes: None }
}

/// Payments processed with the wall clock set to each of `walls` between two of them; the ids that
/// came out, in order, and how far the payments were retained.
fn process(walls: &[i64]) -> (Vec<u64>, u64) {
    let clock = Arc::new(ManualClock::at(NOW_MS));
    let wall: Arc<dyn Clock> = Arc::clone(&clock) as _;
    let storage = Arc::new(MemoryStorage::new());
    let log = EmbeddedLog::in_memory(storage, EmbeddedSettings::default(), wall).unwrap();
    for name in [PAYMENTS, LINES, PAYMENTS_ONCE, ledger::LINES_ONCE] {
        let cleanup = if name == PAYMENTS_ONCE { KEEP } else { keep_two_days() };
        let spec = TopicSpec { name: name.to_owned(), partitions: 1, cleanup };
        log.create_topic(&spec).unwrap();
    }
    let topology = Arc::new(ledger::build(&ledger::Settings::default()).unwrap());
    let plan = Arc::new(Plan::make(topology, log.as_ref(), (1, keep_two_days())).unwrap());
    let parts = WorkerParts {
        plan,
        log: Arc::clone(&log) as _,
        state: Arc::new(StateDb::in_memory().unwrap()),
        clock: Arc::clone(&clock) as _,
        stats: Arc::new(WorkerStats::default()),
    };
    let mut worker = Worker::new(parts, WorkerSettings::new("one")).unwrap();
    for (id, wall_ms) in (0..).zip(walls) {
        clock.set_wall_ms(*wall_ms);
        append(&log, id);
        // Long enough for a commit by the clock that is not set.
        for _ in 0..6 {
            clock.advance(60);
            worker.run_once(Duration::ZERO).unwrap();
        }
        log.clean().unwrap();
    }
    let start = log.range(&TopicPartition::new(PAYMENTS, 0)).unwrap().start;
    (ids(&log), start)
}

fn append(log: &Arc<EmbeddedLog>, id: u64) {
    let payment = Payment {
        id,
        card: "card-1".to_owned(),
        region: "north".to_owned(),
        cents: 1,
        ts: 1_700_000_000_000 + i64::try_from(id).unwrap(),
        note: String::new(),
    };
    let mut batch = BatchBuilder::new();
    let value = serde_json::to_vec(&payment).unwrap();
    batch.push(payment.ts, Some(b"card-1"), Some(&value), &[]);
    let appends = vec![(TopicPartition::new(PAYMENTS, 0), batch)];
    let commit = Commit { appends, offsets: Vec::new() };
    let outcome = log.writer("source").unwrap().commit(commit).wait();
    assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}");
}

fn ids(log: &EmbeddedLog) -> Vec<u64> {
    let mut reader = log.reader().unwrap();
    reader.assign(&TopicPartition::new(PAYMENTS_ONCE, 0), 0).unwrap();
    let mut ids = Vec::new();
    for fetched in reader.poll(Duration::ZERO).unwrap() {
        for record in fetched.records() {
            let payment: Payment = serde_json::from_slice(record.value.unwrap()).unwrap();
            ids.push(payment.id);
        }
    }
    ids
}

#[test]
fn a_clock_that_is_set_back_neither_stops_commits_nor_drops_records() {
    let back = [NOW_MS, NOW_MS, NOW_MS - DAY_MS, NOW_MS - DAY_MS, NOW_MS - DAY_MS + 1_000, NOW_MS];
    assert_eq!(process(&back), ((0..6).collect(), 0));
    // The other way round records look older than they are, and go earlier by as much.
    let (ids, start) = process(&[NOW_MS, NOW_MS, NOW_MS + 3 * DAY_MS]);
    assert_eq!((ids, start), ((0..3).collect(), 2));
}
