//! What bad records cost the others, and what happens when they cannot be set aside.

use std::sync::Arc;
use std::time::Duration;

use pipeline::clock::{Clock, ManualClock, SystemClock};
use pipeline::log::embedded::{EmbeddedLog, EmbeddedSettings};
use pipeline::log::storage::MemoryStorage;
use pipeline::log::{BatchBuilder, Cleanup, Commit, Log, Outcome, TopicPartition, partition_for};
use pipeline::worker::{Worker, WorkerParts, WorkerSettings, WorkerStats};
use pipeline::{Plan, TimeWindows, Topology, TopologyBuilder};
use stores::state::StateDb;

const PARTITIONS: u32 = 2;
const RECORDS: i64 = 1_000_000;
/// One record in so many is bad.
const EVERY: i64 = 100;

/// Panics on values that are 13, behind an operator that has written to its store.
fn topology() -> Topology {
    let builder = TopologyBuilder::new("app");
    let windows = TimeWindows::of_size_with_no_grace(Duration::from_secs(60));
    builder
        .stream::<String, i64>("in")
        .group_by_key()
        .windowed_by(windows)
        .count("counts")
        .to_stream()
        .filter(|_, count| *count > 0)
        .map_values(|key, count| {
            assert!(!key.key.starts_with("bad"), "a key that nobody can handle");
            count
        })
        .to("out");
    builder.build().unwrap()
}

/// A topology on a log in memory.
struct World {
    log: Arc<EmbeddedLog>,
    parts: WorkerParts,
}

impl World {
    fn new(settings: EmbeddedSettings, clock: Arc<dyn Clock>) -> Self {
        let storage = Arc::new(MemoryStorage::new());
        let log = EmbeddedLog::in_memory(storage, settings, Arc::clone(&clock)).unwrap();
        let keep = Cleanup::Delete { retention_ms: None, retention_bytes: None };
        let plan = Plan::make(Arc::new(topology()), log.as_ref(), (PARTITIONS, keep)).unwrap();
        let parts = WorkerParts {
            plan: Arc::new(plan),
            log: Arc::clone(&log) as Arc<dyn Log>,
            state: Arc::new(StateDb::in_memory().unwrap()),
            clock,
            stats: Arc::new(WorkerStats::default()),
        };
        Self { log, parts }
    }

    fn append(&self, records: impl Iterator<Item = (String, i64, Vec<u8>)>) {
        let mut batches = vec![BatchBuilder::new(); PARTITIONS as usize];
        for (key, timestamp, value) in records {
            let partition = partition_for(key.as_bytes(), PARTITIONS) as usize;
            batches[partition].push(timestamp, Some(key.as_bytes()), Some(&value), &[]);
        }
        let at = |partition| TopicPartition::new("in", partition);
        let appends = (0..PARTITIONS).map(at).zip(batches).collect();
        let mut writer = self.log.writer("source").unwrap();
        let outcome = writer.commit(Commit { appends, offsets: Vec::new() }).wait();
        assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}");
    }

    fn worker(&self) -> Worker {
        Worker::new(self.parts.clone(), WorkerSettings::new("w")).unwrap()
    }

    fn end_of(&self, topic: &str) -> u64 {
        let partitions = self.log.topics().unwrap()[topic].partitions;
        let end = |p| self.log.range(&TopicPartition::new(topic, p)).unwrap().end.offset;
        (0..partitions).map(end).sum()
    }
}

/// Handles a million records, `bad` of them bad or none; how long that takes.
fn run(with_bad: bool) -> Duration {
    let clock = Arc::new(SystemClock::new());
    let world = World::new(EmbeddedSettings::default(), Arc::clone(&clock) as _);
    for chunk in (0..RECORDS).collect::<Vec<_>>().chunks(50_000) {
        world.append(chunk.iter().map(|n| {
            let is_bad = with_bad && n % EVERY == 7;
            let key = format!("{}-{}", if is_bad { "bad" } else { "key" }, n % 5_000);
            (key, n / 10, b"1".to_vec())
        }));
    }
    let before = clock.elapsed();
    let mut worker = world.worker();
    worker.run_until_idle().unwrap();
    let took = clock.elapsed() - before;
    let bad = if with_bad { (RECORDS / EVERY).unsigned_abs() } else { 0 };
    let all = RECORDS.unsigned_abs();
    assert_eq!(world.end_of("app-dlq"), bad);
    assert_eq!(world.end_of("out"), all - bad);
    // The proof that they cost nobody else anything: no record was handled twice.
    let stats = &world.parts.stats;
    assert_eq!((stats.records(), stats.restarts()), (all, 0));
    took
}

#[test]
fn bad_record_cost() {
    let (without, with) = (run(false), run(true));
    let bad = RECORDS / EVERY;
    println!(
        "{RECORDS} records in {without:?}; with {bad} panics among them {with:?}: each costs {:?}",
        with.saturating_sub(without) / u32::try_from(bad).unwrap()
    );
}

#[test]
fn a_letter_that_the_log_refuses_stops_the_worker_with_the_reason() {
    let clock = Arc::new(ManualClock::at(1_700_000_000_000));
    // The record fits a commit, the record with its reason does not.
    let settings = EmbeddedSettings { batch_bytes_max: 10_000, ..EmbeddedSettings::default() };
    let world = World::new(settings, clock);
    world.append([("k".to_owned(), 5, vec![b'x'; 9_900])].into_iter());
    let error = world.worker().run_until_idle().unwrap_err().to_string();
    assert!(error.contains("app-dlq-0 are more than 10000 in one commit"), "{error}");
    assert!(error.contains("10 commits failed one after another"), "{error}");
    // It did not go past the record either.
    let at = [TopicPartition::new("in", partition_for(b"k", PARTITIONS))];
    assert_eq!(world.log.committed("app-g1", &at).unwrap(), [None]);
    assert_eq!(world.end_of("app-dlq"), 0);
}
