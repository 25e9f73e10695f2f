//! Replay equality: whatever the number of workers, the sizes of batches, the commits, kills and
//! rebalances, the last value of each key and the set of alerts are the same.
//!
//! Two workers of one group run the real tasks over a log in memory, and each machine has standbys
//! of the other's; a seed decides what happens when. The topology repartitions, so lateness must not depend on the order of arrival.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use pipeline::clock::{Clock, ManualClock};
use pipeline::format::CONTROL_HEADER;
use pipeline::log::embedded::{EmbeddedLog, EmbeddedSettings};
use pipeline::log::storage::{FailedWrite, MemoryStorage};
use pipeline::log::{BatchBuilder, Cleanup, Commit, Log, Outcome, TopicPartition, partition_for};
use pipeline::standby::{Standby, StandbyParts, StandbySettings};
use pipeline::worker::{Worker, WorkerParts, WorkerSettings, WorkerStats};
use pipeline::{
    AlertRule, Plan, Severity, TimeWindows, Topology, TopologyBuilder, ViewFields, Windowed,
};
use proptest::prelude::*;
use stores::state::StateDb;

const PARTITIONS: u32 = 3;

fn topology() -> Topology {
    let builder = TopologyBuilder::new("app");
    let counts = builder
        .stream::<String, i64>("in")
        .dedup("seen", Duration::from_secs(600), |_, value, _| Some(value.to_string()))
        .filter(|_, value| value % 7 != 0)
        .group_by("by-group", |_, value| format!("g{}", value % 5))
        .windowed_by(TimeWindows::of_size_and_grace(
            Duration::from_secs(10),
            Duration::from_secs(5),
        ))
        .count("counts");
    counts.view(
        "counts",
        ViewFields::new().i64("count"),
        |_: &Windowed<String>, count| serde_json::json!({ "count": count }),
    );
    counts
        .to_stream()
        .filter(|_, count| *count >= 4)
        .alert(AlertRule::new("many", Severity::Info), |_, _| ("many".to_owned(), ()));
    builder.build().unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    /// Appends that many of the records that are left.
    Append(usize),
    /// Lets worker 0 or 1 take a turn.
    Turn(usize),
    /// Lets the standbys of a machine take a turn.
    Stand(usize),
    /// Kills a worker: what it has not committed is lost.
    Kill(usize),
    /// A worker commits and leaves.
    Close(usize),
    /// The next write of the log during a turn of the worker fails, having been made or not: the
    /// outcome of a commit is unknown.
    Fail(usize, bool),
    Clean,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (1..30_usize).prop_map(Step::Append),
        8 => (0..2_usize).prop_map(Step::Turn),
        4 => (0..2_usize).prop_map(Step::Stand),
        1 => (0..2_usize).prop_map(Step::Kill),
        1 => (0..2_usize).prop_map(Step::Close),
        1 => (0..2_usize, any::<bool>()).prop_map(|(index, made)| Step::Fail(index, made)),
        1 => Just(Step::Clean),
    ];
    prop::collection::vec(step, 0..60)
}

/// Value and timestamp; the value is the id too, so that some repeat.
fn records() -> impl Strategy<Value = Vec<(i64, i64)>> {
    let record = (0..150_i64, -8_000..8_000_i64);
    prop::collection::vec(record, 1..200).prop_map(|records| {
        let spaced = |(index, (value, jitter)): (usize, (i64, i64))| {
            (value, 1_000_000 + i64::try_from(index).unwrap() * 300 + jitter)
        };
        records.into_iter().enumerate().map(spaced).collect()
    })
}

struct World {
    storage: Arc<MemoryStorage>,
    log: Arc<EmbeddedLog>,
    clock: Arc<ManualClock>,
    plan: Arc<Plan>,
    /// Each worker has a machine, and so a state, of its own.
    states: [Arc<StateDb>; 2],
    workers: [Option<Worker>; 2],
    /// Each machine keeps the stores of the other's tasks warm.
    standbys: [Standby; 2],
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::at(1_700_000_000_000));
        let wall: Arc<dyn Clock> = Arc::clone(&clock) as _;
        let settings = EmbeddedSettings { dirty_ratio_min: 0.1, ..EmbeddedSettings::default() };
        let storage = Arc::new(MemoryStorage::new());
        let log = EmbeddedLog::in_memory(Arc::clone(&storage), settings, wall).unwrap();
        let keep = Cleanup::Delete { retention_ms: None, retention_bytes: None };
        let plan = Plan::make(Arc::new(topology()), log.as_ref(), (PARTITIONS, keep)).unwrap();
        let state = || Arc::new(StateDb::in_memory().unwrap());
        let (plan, states) = (Arc::new(plan), [state(), state()]);
        let standby = |index: usize| {
            let parts = StandbyParts {
                plan: Arc::clone(&plan),
                log: Arc::clone(&log) as _,
                state: Arc::clone(&states[index]),
                clock: Arc::clone(&clock) as _,
                stats: Arc::default(),
            };
            let look_interval = Duration::from_millis(50);
            let settings = StandbySettings::new(&format!("w{index}"), 1);
            Standby::new(parts, StandbySettings { look_interval, ..settings })
        };
        let standbys = [standby(0), standby(1)];
        Self { storage, log, clock, plan, states, workers: [None, None], standbys }
    }

    fn append(&self, records: &[(i64, i64)]) {
        let mut batches: BTreeMap<u32, BatchBuilder> = BTreeMap::new();
        for (value, timestamp) in records {
            // A repeat has the same key: dedup works within a partition.
            let key = format!("k{}", value % 11);
            let batch = batches.entry(partition_for(key.as_bytes(), PARTITIONS)).or_default();
            let text = value.to_string();
            batch.push(*timestamp, Some(key.as_bytes()), Some(text.as_bytes()), &[]);
        }
        let appends: Vec<_> =
            batches.into_iter().map(|(p, batch)| (TopicPartition::new("in", p), batch)).collect();
        let append = || {
            let commit = Commit { appends: appends.clone(), offsets: Vec::new() };
            self.log.writer("source").unwrap().commit(commit).wait()
        };
        let mut outcome = append();
        // After a failed write the log takes nothing until somebody has reconnected.
        if matches!(outcome, Outcome::Aborted(_)) {
            self.log.reconnect().unwrap();
            outcome = append();
        }
        assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}");
    }

    fn turn(&mut self, index: usize) {
        let worker = self.workers[index].get_or_insert_with(|| {
            let mut settings = WorkerSettings::new(&format!("w{index}"));
            settings.commit_interval = Duration::from_millis(20);
            settings.poll_records_max = 7;
            let parts = WorkerParts {
                plan: Arc::clone(&self.plan),
                log: Arc::clone(&self.log) as _,
                state: Arc::clone(&self.states[index]),
                clock: Arc::clone(&self.clock) as _,
                stats: Arc::new(WorkerStats::default()),
            };
            Worker::new(parts, settings).unwrap()
        });
        self.clock.advance(13);
        worker.run_once(Duration::ZERO).unwrap();
    }

    fn run(mut self, records: &[(i64, i64)], steps: &[Step]) -> Results {
        let mut left = records;
        for step in steps {
            match *step {
                Step::Append(count) => {
                    let (now, later) = left.split_at(count.min(left.len()));
                    self.append(now);
                    left = later;
                }
                Step::Turn(index) => self.turn(index),
                Step::Stand(index) => {
                    self.standbys[index].run_once(Duration::ZERO).unwrap();
                }
                Step::Kill(index) => self.workers[index] = None,
                Step::Close(index) => {
                    if let Some(worker) = self.workers[index].take() {
                        worker.close().unwrap();
                    }
                }
                Step::Fail(index, made) => {
                    let failure = if made { FailedWrite::Applied } else { FailedWrite::Lost };
                    self.storage.fail_next_write(failure);
                    self.turn(index);
                    self.turn(index);
                    self.storage.heal();
                    // A worker that had nothing to write has not noticed: somebody else would.
                    self.log.reconnect().unwrap();
                }
                Step::Clean => self.log.clean().unwrap(),
            }
        }
        self.append(left);
        for _ in 0..400 {
            self.turn(0);
            self.turn(1);
        }
        self.results()
    }

    fn results(&self) -> Results {
        let names = self.plan.topology();
        let mut results = Results::default();
        for (key, value) in self.read("app-g1-counts-view") {
            results.counts.insert(key, value);
        }
        for (id, _) in self.read(&names.alert_topic().unwrap()) {
            assert!(results.alerts.insert(id.clone()), "alert {id} was sent twice");
        }
        results
    }

    fn read(&self, topic: &str) -> Vec<(String, Option<String>)> {
        let mut read = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        for partition in 0..self.log.topics().unwrap()[topic].partitions {
            let mut reader = self.log.reader().unwrap();
            reader.assign(&TopicPartition::new(topic, partition), 0).unwrap();
            loop {
                let fetched = reader.poll(Duration::ZERO).unwrap();
                if fetched.is_empty() {
                    break;
                }
                for record in fetched.iter().flat_map(|fetched| fetched.records()) {
                    if record.headers.get(CONTROL_HEADER).is_none() {
                        read.push((text(record.key.unwrap()), record.value.map(text)));
                    }
                }
            }
        }
        read
    }
}

#[derive(Debug, Default, PartialEq)]
struct Results {
    counts: BTreeMap<String, Option<String>>,
    alerts: BTreeSet<String>,
}

#[test]
fn the_plain_schedule_counts_and_alerts() {
    let records: Vec<(i64, i64)> = (1..40).map(|n| (n, 1_000_000 + n * 100)).collect();
    let results = World::new().run(&records, &[]);
    let of_all_windows = results.counts.values().flatten().map(|text| {
        serde_json::from_str::<serde_json::Value>(text).unwrap()["count"].as_i64().unwrap()
    });
    assert_eq!(of_all_windows.sum::<i64>(), 34, "39 records less the 5 that are filtered out");
    assert_eq!(results.alerts.len(), 5, "one for each group");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn every_schedule_gives_the_same_results(records in records(), steps in steps()) {
        let plain = World::new().run(&records, &[]);
        prop_assert_eq!(World::new().run(&records, &steps), plain);
    }
}
