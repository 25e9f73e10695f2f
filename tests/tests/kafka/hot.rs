//! The heaviest keys of each input are known to its worker, on either log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pipeline::clock::SystemClock;
use pipeline::log::embedded::{EmbeddedLog, EmbeddedSettings};
use pipeline::log::kafka::{KafkaLog, KafkaSettings};
use pipeline::log::storage::MemoryStorage;
use pipeline::log::{
    BatchBuilder, Cleanup, Commit, Log, Outcome, TopicPartition, TopicSpec, partition_for,
};
use pipeline::worker::{InputStats, Worker, WorkerParts, WorkerSettings, WorkerStats};
use pipeline::{Plan, TopologyBuilder};
use stores::state::StateDb;

use super::broker;
use super::wait::eventually;

const PARTITIONS: u32 = 3;
const RECORDS: usize = 6_000;
const HOT: &str = "card-17";

/// A third of the records has one key.
fn write(log: &dyn Log, topic: &str) {
    let mut batches: BTreeMap<u32, BatchBuilder> = BTreeMap::new();
    for number in 0..RECORDS {
        let key = if number % 3 == 0 { HOT.to_owned() } else { format!("card-{number}") };
        let batch = batches.entry(partition_for(key.as_bytes(), PARTITIONS)).or_default();
        batch.push(1_700_000_000_000, Some(key.as_bytes()), Some(b"1"), &[]);
    }
    let appends = batches.into_iter().map(|(p, batch)| (TopicPartition::new(topic, p), batch));
    let commit = Commit { appends: appends.collect(), offsets: Vec::new() };
    let outcome = log.writer("input").unwrap().commit(commit).wait();
    assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}");
}

/// Works everything off, and answers with what is known of the inputs then.
fn inputs_of(log: Arc<dyn Log>) -> Vec<InputStats> {
    let app = format!("hot-{}", std::process::id());
    let builder = TopologyBuilder::new(&app);
    builder.stream::<String, i64>(&format!("{app}-data")).group_by_key().count("counts");
    let cleanup = Cleanup::Delete { retention_ms: None, retention_bytes: None };
    let name = format!("{app}-data");
    log.create_topic(&TopicSpec { name, partitions: PARTITIONS, cleanup }).unwrap();
    let topology = Arc::new(builder.build().unwrap());
    let plan = Plan::make(topology, log.as_ref(), (PARTITIONS, cleanup)).unwrap();
    write(log.as_ref(), &format!("{app}-data"));
    let stats = Arc::new(WorkerStats::default());
    let parts = WorkerParts {
        plan: Arc::new(plan),
        log,
        state: Arc::new(StateDb::in_memory().unwrap()),
        clock: Arc::new(SystemClock::new()),
        stats: Arc::clone(&stats),
    };
    let mut worker = Worker::new(parts, WorkerSettings::new("w0")).unwrap();
    let done = eventually(Duration::from_secs(60), || {
        worker.run_once(Duration::from_millis(20)).unwrap();
        let all = stats.inputs();
        let records: u64 = all.iter().map(|input| input.records).sum();
        (records == RECORDS as u64).then_some(all)
    });
    done.expect("all is worked off")
}

fn assert_hot_key_is_named(log: Arc<dyn Log>) {
    let hot = partition_for(HOT.as_bytes(), PARTITIONS);
    for input in inputs_of(log) {
        let heaviest = &input.heaviest;
        if input.partition.partition == hot {
            assert_eq!(heaviest[0].key, HOT, "{input:?}");
            let real = RECORDS as u64 / 3 * 1_000 / input.records;
            assert!(heaviest[0].permille.abs_diff(real) < 100, "not about {real}: {input:?}");
        } else {
            let light = heaviest.iter().all(|one| one.permille < 50);
            assert!(light, "no key is heavy there: {input:?}");
        }
    }
}

#[test]
fn a_hot_key_is_named_on_the_embedded_log() {
    let (storage, clock) = (Arc::new(MemoryStorage::new()), Arc::new(SystemClock::new()));
    let log = EmbeddedLog::in_memory(storage, EmbeddedSettings::default(), clock).unwrap();
    assert_hot_key_is_named(log);
}

#[test]
fn a_hot_key_is_named_on_kafka() {
    let bootstrap = broker::shared().bootstrap();
    let settings = KafkaSettings::new(bootstrap, &format!("hot-{}", std::process::id()));
    assert_hot_key_is_named(KafkaLog::open(settings, Arc::new(SystemClock::new())).unwrap());
}
