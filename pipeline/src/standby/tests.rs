//! Machines that share a log: what one keeps warm of the others, and what happens when they go.

use super::*;
use crate::clock::ManualClock;
use crate::log::embedded::{EmbeddedLog, EmbeddedSettings};
use crate::log::storage::MemoryStorage;
use crate::log::{BatchBuilder, Cleanup, Commit, Outcome, partition_for};
use crate::worker::{Worker, WorkerParts, WorkerSettings, WorkerStats};
use crate::{Topology, TopologyBuilder};

const PARTITIONS: u32 = 4;

/// A machine: a state, at times a worker on it, and standbys.
struct Machine {
    name: String,
    state: Arc<StateDb>,
    worker: Option<Worker>,
    stats: Arc<WorkerStats>,
    standby: Standby,
}

/// Machines that share a log.
struct World {
    log: Arc<EmbeddedLog>,
    clock: Arc<ManualClock>,
    plan: Arc<Plan>,
    machines: Vec<Machine>,
}

fn topology() -> Topology {
    let builder = TopologyBuilder::new("app");
    builder.stream::<String, i64>("in").group_by_key().count("counts").to("out");
    builder.build().unwrap()
}

impl World {
    fn new(machines: usize, replicas: usize) -> Self {
        let clock = Arc::new(ManualClock::at(1_700_000_000_000));
        let settings = EmbeddedSettings::default();
        let storage = Arc::new(MemoryStorage::new());
        let log = EmbeddedLog::in_memory(storage, settings, Arc::clone(&clock) as _).unwrap();
        let keep = Cleanup::Delete { retention_ms: None, retention_bytes: None };
        let plan = Plan::make(Arc::new(topology()), log.as_ref(), (PARTITIONS, keep)).unwrap();
        let plan = Arc::new(plan);
        let machine = |index: usize| {
            let name = format!("w{index}");
            let state = Arc::new(StateDb::in_memory().unwrap());
            let parts = StandbyParts {
                plan: Arc::clone(&plan),
                log: Arc::clone(&log) as _,
                state: Arc::clone(&state),
                clock: Arc::clone(&clock) as _,
                stats: Arc::default(),
            };
            let standby = Standby::new(parts, StandbySettings::new(&name, replicas));
            Machine { name, state, worker: None, stats: Arc::default(), standby }
        };
        let machines = (0..machines).map(machine).collect();
        Self { log, clock, plan, machines }
    }

    fn start(&mut self, index: usize) {
        let machine = &mut self.machines[index];
        machine.stats = Arc::default();
        let parts = WorkerParts {
            plan: Arc::clone(&self.plan),
            log: Arc::clone(&self.log) as _,
            state: Arc::clone(&machine.state),
            clock: Arc::clone(&self.clock) as _,
            stats: Arc::clone(&machine.stats),
        };
        let settings = WorkerSettings::new(&machine.name);
        machine.worker = Some(Worker::new(parts, settings).unwrap());
    }

    fn append(&self, keys: usize) {
        let mut batches: BTreeMap<u32, BatchBuilder> = BTreeMap::new();
        for key in 0..keys {
            let key = format!("k{key}");
            let batch = batches.entry(partition_for(key.as_bytes(), PARTITIONS)).or_default();
            batch.push(1_700_000_000_000, Some(key.as_bytes()), Some(b"1"), &[]);
        }
        let appends = batches.into_iter().map(|(p, batch)| (TopicPartition::new("in", p), batch));
        let commit = Commit { appends: appends.collect(), offsets: Vec::new() };
        let outcome = self.log.writer("source").unwrap().commit(commit).wait();
        assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}");
    }

    /// Everybody who is there works until all is done, standbys too.
    fn settle(&mut self) {
        for _ in 0..20 {
            self.clock.advance(1_000);
            for machine in &mut self.machines {
                if let Some(worker) = &mut machine.worker {
                    worker.run_once(Duration::ZERO).unwrap();
                }
                machine.standby.run_once(Duration::ZERO).unwrap();
            }
        }
    }

    /// The partitions that the standbys of a machine follow, of all changelogs.
    fn followed(&self, index: usize) -> BTreeSet<u32> {
        let places = self.machines[index].standby.parts.stats.places();
        assert!(places.iter().all(|one| one.position == one.end), "not at the end: {places:?}");
        places.iter().map(|one| one.changelog.partition).collect()
    }

    /// The last count of each key.
    fn counts(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut counts = BTreeMap::new();
        for partition in 0..PARTITIONS {
            let mut reader = self.log.reader().unwrap();
            reader.assign(&TopicPartition::new("out", partition), 0).unwrap();
            loop {
                let fetched = reader.poll(Duration::ZERO).unwrap();
                if fetched.is_empty() {
                    break;
                }
                for record in fetched.iter().flat_map(Fetched::records) {
                    counts.insert(record.key.unwrap().to_vec(), record.value.unwrap().to_vec());
                }
            }
        }
        counts
    }

    fn assert_counts(&self, keys: usize, count: &str) {
        let counts = self.counts();
        assert_eq!(counts.len(), keys);
        assert!(counts.values().all(|found| found == count.as_bytes()), "{counts:?}");
    }
}

/// Two machines; one is lost for good. Answers with the changelog records that the other reads.
fn lose_one_of_two(replicas: usize) -> u64 {
    let mut world = World::new(2, replicas);
    world.start(0);
    world.start(1);
    world.append(200);
    world.settle();
    world.append(200);
    world.settle();
    if replicas > 0 {
        assert_eq!(world.followed(0), BTreeSet::from([2, 3]), "those of the other");
        assert_eq!(world.followed(1), BTreeSet::from([0, 1]));
    }
    world.machines[0].worker = None;
    let before = world.machines[1].stats.restored_records();
    world.append(200);
    world.settle();
    world.assert_counts(200, "3");
    assert!(world.machines[1].standby.parts.stats.places().is_empty(), "all is its own now");
    world.machines[1].stats.restored_records() - before
}

#[test]
fn who_takes_over_has_the_state_already() {
    assert_eq!(lose_one_of_two(1), 0, "nothing was left to read");
    let cold = lose_one_of_two(0);
    assert!(cold >= 90, "about half of the keys lie there: {cold}");
}

#[test]
fn what_a_task_wrote_stays_when_it_goes_to_another_and_comes_back() {
    let mut world = World::new(2, 1);
    world.start(0);
    world.append(50);
    world.settle();
    assert!(world.followed(1).is_empty(), "a process without a worker inherits nothing");
    world.start(1);
    world.append(50);
    world.settle();
    assert_eq!(world.followed(0), BTreeSet::from([2, 3]), "what it gave away, it keeps warm");
    world.machines[1].worker = None;
    let before = world.machines[0].stats.restored_records();
    world.append(50);
    world.settle();
    world.assert_counts(50, "3");
    assert_eq!(world.machines[0].stats.restored_records(), before);
}

#[test]
fn a_store_whose_position_the_log_does_not_know_is_emptied_first() {
    let mut world = World::new(2, 1);
    world.start(0);
    world.start(1);
    world.append(100);
    // Of a log that has lost its end since, say.
    let (state, name) = (Arc::clone(&world.machines[1].state), state_name(&world.plan, "counts"));
    let store = state.store(&name, 0).unwrap();
    let mut batch = state.batch();
    batch.set(store, b"strange", Some(b"7"));
    batch.set_position(store, Position::new(1_000_000, 1));
    batch.write().unwrap();
    world.settle();
    assert_eq!(world.followed(1), BTreeSet::from([0, 1]));
    let strange = state.read(store, b"strange", |value| value.is_some()).unwrap();
    assert!(!strange, "what the log does not know is gone");
    world.machines[0].worker = None;
    world.append(100);
    world.settle();
    world.assert_counts(100, "2");
}

#[test]
fn with_two_replicas_two_may_go_at_once() {
    let mut world = World::new(3, 2);
    (0..3).for_each(|index| world.start(index));
    world.append(100);
    world.settle();
    // Each may be the one who stays.
    for index in 0..3 {
        let own = heirs::inherited(
            &world.plan,
            &world.log.group("app-g1").unwrap().members,
            (&format!("w{index}"), 0),
        );
        assert!(own.is_empty(), "nobody leaves");
        let all = world.plan.tasks().len();
        let foretold = world.machines[index].standby.wanted.len();
        assert_eq!(foretold, all, "w{index} would have them all");
    }
    world.machines[0].worker = None;
    world.machines[2].worker = None;
    let before = world.machines[1].stats.restored_records();
    world.append(100);
    world.settle();
    world.assert_counts(100, "2");
    assert_eq!(world.machines[1].stats.restored_records(), before);
}
