//! Tests of topologies without a broker, files or threads.
//!
//! [`TopologyDriver`] runs the real tasks with the real commit protocol, on a log in memory and a
//! RocksDB in memory. [`check_four_ways`] runs one script straight, with a commit after each
//! record, killed and restored after each commit, and with coalescing.

mod four_ways;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub use four_ways::{Script, check_four_ways, check_last_values_four_ways};
use serde::Serialize;
use stores::state::StateDb;

use crate::bad_record::{AheadBound, BadRecordPolicy};
use crate::clock::{Clock, ManualClock};
use crate::codec::{Serde, Value, json};
use crate::format::CONTROL_HEADER;
use crate::key::Key;
use crate::log::embedded::{EmbeddedLog, EmbeddedSettings};
use crate::log::storage::MemoryStorage;
use crate::log::{
    BatchBuilder, Cleanup, Commit, Fetched, Log, Outcome, Reader, RecordRef, TopicPartition,
    partition_for,
};
use crate::task::Counters;
use crate::topology::{Plan, Topology};
use crate::worker::{Worker, WorkerError, WorkerParts, WorkerSettings, WorkerStats};

/// Runs a topology in a test. Everything that fails in it panics with the reason.
///
/// ```
/// use std::time::Duration;
/// use pipeline::{TimeWindows, TopologyBuilder};
/// use pipeline::driver::TopologyDriver;
///
/// let builder = TopologyBuilder::new("clicks");
/// builder
///     .stream::<String, i64>("clicks")
///     .group_by_key()
///     .windowed_by(TimeWindows::of_size_with_no_grace(Duration::from_secs(60)))
///     .count("clicks-per-page")
///     .to("clicks-per-minute");
/// let mut driver = TopologyDriver::new(builder.build()?);
/// driver.pipe("clicks", "home", &1_i64, 5_000);
/// driver.pipe("clicks", "home", &1_i64, 59_000);
/// let counts = driver.read::<pipeline::Windowed<String>, i64>("clicks-per-minute");
/// assert_eq!(counts.iter().map(|record| record.value).collect::<Vec<_>>(), [Some(1), Some(2)]);
/// # Ok::<(), pipeline::TopologyError>(())
/// ```
pub struct TopologyDriver {
    log: Arc<EmbeddedLog>,
    parts: WorkerParts,
    settings: WorkerSettings,
    clock: Arc<ManualClock>,
    worker: Option<Worker>,
    /// How far [`Self::take_raw`] has read each output topic.
    taken: BTreeMap<String, Box<dyn Reader>>,
}

/// A record of an output topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputRecord<K, V> {
    /// The key.
    pub key: K,
    /// The value; `None` is a tombstone.
    pub value: Option<V>,
    /// Event time, milliseconds since 1970-01-01 UTC.
    pub timestamp: i64,
}

/// A record of an output topic, not decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawRecord {
    /// Where it lies.
    pub partition: u32,
    /// The key's bytes.
    pub key: Option<Vec<u8>>,
    /// The value's bytes.
    pub value: Option<Vec<u8>>,
    /// Event time, milliseconds since 1970-01-01 UTC.
    pub timestamp: i64,
}

impl TopologyDriver {
    /// What the log's wall clock shows at the start of a test: 2023-11-14T22:13:20Z.
    pub const WALL_MS: i64 = 1_700_000_000_000;

    /// Runs `topology` on topics of one partition; a commit follows each record that is piped in.
    ///
    /// # Panics
    /// When the topology does not fit.
    pub fn new(topology: Topology) -> Self {
        Self::with_partitions(topology, 1)
    }

    /// Runs `topology` on topics of `partitions` partitions.
    ///
    /// # Panics
    /// When the topology does not fit.
    pub fn with_partitions(topology: Topology, partitions: u32) -> Self {
        let clock = Arc::new(ManualClock::at(Self::WALL_MS));
        let wall: Arc<dyn Clock> = Arc::clone(&clock) as _;
        let storage = Arc::new(MemoryStorage::new());
        let settings = EmbeddedSettings::default();
        let log = EmbeddedLog::in_memory(storage, settings, Arc::clone(&wall));
        let log = log.expect("an empty storage has nothing that could be damaged");
        let keep = Cleanup::Delete { retention_ms: None, retention_bytes: None };
        let plan = Plan::make(Arc::new(topology), log.as_ref(), (partitions, keep));
        let plan = plan.unwrap_or_else(|error| panic!("the topology does not fit: {error}"));
        let state = StateDb::in_memory().unwrap_or_else(|error| panic!("no state: {error}"));
        let mut settings = WorkerSettings::new("driver");
        // Commits happen when the driver says so, and every update is seen.
        settings.commit_interval = Duration::MAX / 4;
        settings.task.coalesce = false;
        settings.task.progress_interval = Duration::ZERO;
        // The log's clock stands still in a test; records come from whenever the test says.
        settings.task.timestamp_ahead_max = AheadBound::Unbounded;
        let parts = WorkerParts {
            plan: Arc::new(plan),
            log: Arc::clone(&log) as Arc<dyn Log>,
            state: Arc::new(state),
            clock: wall,
            stats: Arc::new(WorkerStats::default()),
        };
        Self { log, parts, settings, clock, worker: None, taken: BTreeMap::new() }
    }

    /// Lets updates of one key within a commit become one, as a running worker does.
    #[must_use]
    pub fn coalescing(mut self) -> Self {
        self.settings.task.coalesce = true;
        self
    }

    /// Does `policy` with bad records whose topic has no rules of its own; without it they go to the
    /// dead letters.
    #[must_use]
    pub fn with_bad_records(mut self, policy: BadRecordPolicy) -> Self {
        self.settings.task.bad_records = policy;
        self
    }

    /// Bounds how far ahead of the log's clock a record may be; that one stands at
    /// [`Self::WALL_MS`] until it is moved. Without it there is no bound.
    #[must_use]
    pub fn with_timestamp_ahead_max(mut self, bound: AheadBound) -> Self {
        self.settings.task.timestamp_ahead_max = bound;
        self
    }

    /// Writes no record that is larger than this; without it, 1 MiB.
    #[must_use]
    pub fn with_record_bytes_max(mut self, bytes: usize) -> Self {
        self.settings.task.record_bytes_max = bytes;
        self
    }

    /// Sends a record through the topology to the end, and commits. Values are JSON.
    ///
    /// # Panics
    /// When the topology fails.
    pub fn pipe<V: Serialize>(&mut self, topic: &str, key: &str, value: &V, timestamp: i64) {
        let value = serde_json::to_vec(value).unwrap_or_else(|error| panic!("no JSON: {error}"));
        self.pipe_bytes(topic, Some(key.as_bytes()), Some(&value), timestamp);
    }

    /// As [`Self::pipe`], for any bytes.
    ///
    /// # Panics
    /// When the topology fails.
    pub fn pipe_bytes(
        &mut self,
        topic: &str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        timestamp: i64,
    ) {
        self.append(topic, key, value, timestamp);
        self.commit();
    }

    /// Appends a record to a source topic without running the topology.
    ///
    /// # Panics
    /// When the topic does not exist.
    pub fn append(
        &mut self,
        topic: &str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        timestamp: i64,
    ) {
        let partitions = self.partitions(topic);
        let partition = key.map_or(0, |key| partition_for(key, partitions));
        let mut batch = BatchBuilder::new();
        batch.push(timestamp, key, value, &[]);
        let appends = vec![(TopicPartition::new(topic, partition), batch)];
        let mut writer = self.log.writer("driver").expect("a log in memory gives writers");
        match writer.commit(Commit { appends, offsets: Vec::new() }).wait() {
            Outcome::Committed { .. } => {}
            other => panic!("cannot append to {topic}: {other:?}"),
        }
    }

    /// Handles what has been appended, without a commit.
    ///
    /// # Panics
    /// When the topology fails.
    pub fn process(&mut self) {
        self.worker().process_all().unwrap_or_else(|error| panic!("{error}"));
    }

    /// Handles what has been appended and commits, until nothing is left to do.
    ///
    /// # Panics
    /// When the topology fails.
    pub fn commit(&mut self) {
        self.worker().run_until_idle().unwrap_or_else(|error| panic!("{error}"));
    }

    /// As [`Self::commit`], for tests of what cannot work.
    ///
    /// # Errors
    /// Why the topology failed. The next call makes a new worker.
    pub fn try_commit(&mut self) -> Result<(), WorkerError> {
        let outcome = self.worker().run_until_idle();
        if outcome.is_err() {
            self.kill();
        }
        outcome
    }

    /// How often a task was dropped and made again.
    pub fn restarts(&self) -> u64 {
        self.parts.stats.restarts()
    }

    /// How many records were handled, those that were handled again included.
    pub fn processed(&self) -> u64 {
        self.parts.stats.records()
    }

    /// Kills the worker: everything that it has not committed is lost. The next call restores
    /// a new one from the log and the state.
    pub fn kill(&mut self) {
        self.worker = None;
    }

    /// Lets wall-clock time pass: for idle timeouts. Commit afterwards.
    pub fn advance_wall_clock(&mut self, by: Duration) {
        self.clock.advance(u32::try_from(by.as_millis()).expect("a test waits less than 49 days"));
    }

    /// The committed records of a topic, keys decoded, values as JSON.
    ///
    /// # Panics
    /// When they do not decode.
    pub fn read<K: Key, V: Value>(&self, topic: &str) -> Vec<OutputRecord<K, V>> {
        self.read_with(topic, &json())
    }

    /// The committed records of a topic, keys and values decoded.
    ///
    /// # Panics
    /// When they do not decode.
    pub fn read_with<K: Key, V: 'static>(
        &self,
        topic: &str,
        codec: &Serde<V>,
    ) -> Vec<OutputRecord<K, V>> {
        let decode = |raw: RawRecord| OutputRecord {
            key: K::decode(raw.key.as_deref()).unwrap_or_else(|error| panic!("key: {error}")),
            value: raw.value.map(|bytes| {
                codec.decode(Some(&bytes)).unwrap_or_else(|error| panic!("value: {error}"))
            }),
            timestamp: raw.timestamp,
        };
        self.read_raw(topic).into_iter().map(decode).collect()
    }

    /// The documents of a view as its topic has them, in order of writing: key, JSON, or `None`
    /// for a deletion.
    ///
    /// # Panics
    /// When the view does not exist.
    pub fn read_view(&self, view: &str) -> Vec<OutputRecord<String, serde_json::Value>> {
        self.read(&self.parts.plan.topology.names.view(view))
    }

    /// The alerts sent, in order, as JSON.
    ///
    /// # Panics
    /// When the topology has no alerts.
    pub fn read_alerts(&self) -> Vec<serde_json::Value> {
        let records = self.read::<String, _>(&self.parts.plan.topology.names.alerts());
        records.into_iter().filter_map(|record| record.value).collect()
    }

    /// The committed records of a topic, without control records.
    ///
    /// # Panics
    /// When the topic does not exist.
    pub fn read_raw(&self, topic: &str) -> Vec<RawRecord> {
        let mut records = Vec::new();
        self.visit(topic, &mut |partition, record| {
            records.push(raw(partition, record));
        });
        records
    }

    /// The committed records of a topic since the last call, without control records.
    ///
    /// # Panics
    /// When the topic does not exist.
    pub fn take_raw(&mut self, topic: &str) -> Vec<RawRecord> {
        if !self.taken.contains_key(topic) {
            let mut reader = self.log.reader().expect("a log in memory gives readers");
            for partition in 0..self.partitions(topic) {
                let at = TopicPartition::new(topic, partition);
                let start = self.log.range(&at).expect("the topic exists").start;
                reader.assign(&at, start).expect("the topic exists");
            }
            self.taken.insert(topic.to_owned(), reader);
        }
        let reader = self.taken.get_mut(topic).expect("put there just now");
        let mut records = Vec::new();
        drain(reader.as_mut(), &mut |partition, record| records.push(raw(partition, record)));
        records
    }

    /// Shows the committed records of a topic, without control records.
    fn visit(&self, topic: &str, show: &mut dyn FnMut(u32, &RecordRef<'_>)) {
        for partition in 0..self.partitions(topic) {
            let at = TopicPartition::new(topic, partition);
            let mut reader = self.log.reader().expect("a log in memory gives readers");
            let start = self.log.range(&at).expect("the topic exists").start;
            reader.assign(&at, start).expect("the topic exists");
            drain(reader.as_mut(), show);
        }
    }

    /// The headers of the committed records of a topic, as texts: for dead letters.
    ///
    /// # Panics
    /// When the topic does not exist.
    pub fn read_headers(&self, topic: &str) -> Vec<BTreeMap<String, String>> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut all = Vec::new();
        self.visit(topic, &mut |_, record| {
            all.push(
                record.headers.iter().map(|(name, value)| (text(name), text(value))).collect(),
            );
        });
        all
    }

    /// The log, to look at or to write to in other ways.
    pub fn log(&self) -> Arc<dyn Log> {
        Arc::clone(&self.log) as _
    }

    /// What was dropped or set aside.
    pub fn counters(&self) -> &Counters {
        &self.parts.stats.counters
    }

    /// The topology.
    pub fn topology(&self) -> &Topology {
        self.parts.plan.topology()
    }

    fn partitions(&self, topic: &str) -> u32 {
        let topics = self.log.topics().expect("a log in memory lists its topics");
        let found = topics.get(topic);
        found.unwrap_or_else(|| panic!("the topology has no topic `{topic}`")).partitions
    }

    fn worker(&mut self) -> &mut Worker {
        if self.worker.is_none() {
            let worker = Worker::new(self.parts.clone(), self.settings.clone());
            self.worker = Some(worker.unwrap_or_else(|error| panic!("{error}")));
        }
        self.worker.as_mut().expect("made just now")
    }
}

/// Shows everything that `reader` has not read yet, without control records.
fn drain(reader: &mut dyn Reader, show: &mut dyn FnMut(u32, &RecordRef<'_>)) {
    loop {
        let fetched = reader.poll(Duration::ZERO).unwrap_or_else(|error| panic!("{error}"));
        if fetched.is_empty() {
            return;
        }
        for fetched in &fetched {
            show_all(fetched, show);
        }
    }
}

fn show_all(fetched: &Fetched, show: &mut dyn FnMut(u32, &RecordRef<'_>)) {
    for record in fetched.records() {
        if record.headers.get(CONTROL_HEADER).is_none() {
            show(fetched.partition.partition, &record);
        }
    }
}

fn raw(partition: u32, record: &RecordRef<'_>) -> RawRecord {
    RawRecord {
        partition,
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        timestamp: record.timestamp,
    }
}

#[cfg(test)]
mod bad_record_tests;
#[cfg(test)]
mod bad_result_tests;
#[cfg(test)]
mod tests;
