//! The golden scripts on Kafka: each case answers there what it answers on the embedded log, where
//! every record is compared with Kafka Streams' own answer ([`crate::cases`]).
//!
//! Inputs of one topic go in all at once, in two parts with a kill between them; those of several,
//! whose order of arrival counts, one after the other, as many as the test command has time for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pipeline::clock::{Clock, ManualClock, SystemClock};
use pipeline::driver::{RawRecord, TopologyDriver};
use pipeline::format::CONTROL_HEADER;
use pipeline::log::kafka::KafkaLog;
use pipeline::log::{BatchBuilder, Cleanup, Commit, Log, Outcome, TopicPartition, Writer};
use pipeline::worker::{Worker, WorkerParts, WorkerSettings, WorkerStats};
use pipeline::{AheadBound, Plan, Topology};
use stores::state::StateDb;

use super::contract::settings;
use super::scoped::Scoped;
use super::wait::eventually;
use crate::cases::{CASES, Case, Input, Output, answer, joins, output};

const PATIENCE: Duration = Duration::from_secs(60);
/// Inputs of several topics that a case gets; `MILLPOND_GOLDEN_LINES` asks for more.
const LINES: usize = 24;

/// A topology on Kafka, driven as [`TopologyDriver`] drives one.
struct Driven {
    log: Arc<dyn Log>,
    parts: WorkerParts,
    settings: WorkerSettings,
    worker: Option<Worker>,
    writer: Box<dyn Writer>,
    /// Where each input ends.
    ends: BTreeMap<TopicPartition, u64>,
}

impl Driven {
    fn new(kafka: &Arc<KafkaLog>, name: &str, topology: Topology) -> Self {
        let prefix = format!("golden-{}-{name}-", std::process::id());
        let log: Arc<dyn Log> = Arc::new(Scoped::new(Arc::clone(kafka) as _, prefix));
        let keep = Cleanup::Delete { retention_ms: None, retention_bytes: None };
        let plan = Plan::make(Arc::new(topology), log.as_ref(), (1, keep)).unwrap();
        let mut settings = WorkerSettings::new("driven");
        settings.commit_interval = Duration::MAX / 4;
        settings.task.coalesce = false;
        settings.task.progress_interval = Duration::ZERO;
        settings.task.timestamp_ahead_max = AheadBound::Unbounded;
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(TopologyDriver::WALL_MS));
        let parts = WorkerParts {
            plan: Arc::new(plan),
            log: Arc::clone(&log),
            state: Arc::new(StateDb::in_memory().unwrap()),
            clock,
            stats: Arc::new(WorkerStats::default()),
        };
        let writer = log.writer("input").unwrap();
        Self { log, parts, settings, worker: None, writer, ends: BTreeMap::new() }
    }

    fn append(&mut self, inputs: &[Input]) {
        let mut batches: BTreeMap<&str, BatchBuilder> = BTreeMap::new();
        for input in inputs {
            let bytes = |text: &'_ Option<String>| text.clone().map(String::into_bytes);
            let (key, value) = (bytes(&input.key), bytes(&input.value));
            let batch = batches.entry(&input.topic).or_default();
            batch.push(input.timestamp, key.as_deref(), value.as_deref(), &[]);
        }
        let at = |topic: &str| TopicPartition::new(topic, 0);
        let appends: Vec<_> = batches.into_iter().map(|(topic, b)| (at(topic), b)).collect();
        let inputs: Vec<TopicPartition> = appends.iter().map(|(at, _)| at.clone()).collect();
        match self.writer.commit(Commit { appends, offsets: Vec::new() }).wait() {
            Outcome::Committed { appended } => {
                let ends = appended.iter().map(|appended| appended.next.offset);
                self.ends.extend(inputs.into_iter().zip(ends));
            }
            other => panic!("cannot append: {other:?}"),
        }
    }

    /// Works until everything that was read, and what came of it, is committed.
    fn settle(&mut self) {
        let inputs: Vec<TopicPartition> =
            self.parts.plan.input_topics().iter().map(|t| at(t)).collect();
        let group = self.parts.plan.topology().group();
        let done = eventually(PATIENCE, || {
            self.worker().run_until_idle().unwrap();
            let committed = self.log.committed(&group, &inputs).unwrap();
            let mut all = inputs.iter().zip(committed);
            all.all(|(at, committed)| {
                let reached = committed.map_or(0, |position| position.offset);
                reached >= self.end(at)
            })
            .then_some(())
        });
        assert!(done.is_some(), "it does not come to an end");
    }

    /// The offset after the last record of an input.
    fn end(&self, at: &TopicPartition) -> u64 {
        let known = self.ends.get(at).copied();
        known.unwrap_or_else(|| {
            let records = self.visit(at);
            records.last().map_or(0, |(offset, _)| offset + 1)
        })
    }

    fn worker(&mut self) -> &mut Worker {
        self.worker
            .get_or_insert_with(|| Worker::new(self.parts.clone(), self.settings.clone()).unwrap())
    }

    /// Everything that it has not committed is lost.
    fn kill(&mut self) {
        self.worker = None;
    }

    /// The records of a partition, control records too, each with its offset.
    fn visit(&self, at: &TopicPartition) -> Vec<(u64, Option<RawRecord>)> {
        let range = self.log.range(at).unwrap();
        let mut reader = self.log.reader().unwrap();
        reader.assign(at, range.start).unwrap();
        let mut all = Vec::new();
        while reader.position(at).unwrap() < range.end.offset {
            for fetched in reader.poll(Duration::from_millis(100)).unwrap() {
                for record in fetched.records() {
                    let plain = record.headers.get(CONTROL_HEADER).is_none();
                    let raw = plain.then(|| RawRecord {
                        partition: at.partition,
                        key: record.key.map(<[u8]>::to_vec),
                        value: record.value.map(<[u8]>::to_vec),
                        timestamp: record.timestamp,
                    });
                    all.push((record.offset, raw));
                }
            }
        }
        all
    }

    fn outputs(&self, case: &Case) -> Vec<Output> {
        let records = self.visit(&at("out")).into_iter().filter_map(|(_, record)| record);
        records.map(|record| output(case, &record, 0)).collect()
    }
}

fn at(topic: &str) -> TopicPartition {
    TopicPartition::new(topic, 0)
}

/// The last value of each key, without those that were deleted.
fn last_values(outputs: &[Output]) -> BTreeMap<String, serde_json::Value> {
    let mut last = BTreeMap::new();
    for one in outputs {
        last.insert(format!("{:?}", (&one.key, one.window_start)), one.value.clone());
    }
    last.retain(|_, value| !value.is_null());
    last
}

fn is_on_kafka_as_embedded(kafka: &Arc<KafkaLog>, case: &Case, lines: usize) -> usize {
    let (params, mut inputs, _) = case.files();
    let one_topic = inputs.iter().all(|input| input.topic == inputs[0].topic);
    if !one_topic {
        inputs.truncate(lines);
    }
    let mut driven = Driven::new(kafka, case.name, case.topology(&params));
    if one_topic {
        let (first, second) = inputs.split_at(inputs.len() / 2);
        for half in [first, second] {
            driven.append(half);
            driven.settle();
            driven.kill();
        }
    } else {
        for input in inputs.chunks(1) {
            driven.append(input);
            driven.settle();
        }
    }
    let mut expected = answer(case, &params, &inputs);
    expected.iter_mut().for_each(|output| output.line = 0);
    let answered = driven.outputs(case);
    // The tasks of a foreign-key join answer each other: commits decide when.
    if case.name.starts_with("fk-") {
        assert_eq!(last_values(&answered), last_values(&expected), "{}", case.name);
    } else {
        for (number, (ours, wanted)) in answered.iter().zip(&expected).enumerate() {
            assert_eq!(ours, wanted, "{}: output {number}", case.name);
        }
        assert_eq!(answered.len(), expected.len(), "{}", case.name);
    }
    inputs.len()
}

#[test]
fn golden_scripts_answer_on_kafka_as_on_the_embedded_log() {
    let lines = std::env::var("MILLPOND_GOLDEN_LINES").ok().and_then(|lines| lines.parse().ok());
    let kafka = KafkaLog::open(settings("golden"), Arc::new(SystemClock::new())).unwrap();
    for case in CASES.iter().chain(joins::UNORDERED) {
        let clock = SystemClock::new();
        let inputs = is_on_kafka_as_embedded(&kafka, case, lines.unwrap_or(LINES));
        println!("{}: {inputs} inputs, {:?}", case.name, clock.elapsed());
    }
}
