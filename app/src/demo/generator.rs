//! The thread that sends the demo's records, paced by the clock.
//!
//! At most one commit is under way: a log that is slow slows it down, and what is far behind is
//! given up, so nothing piles up here.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use connectors::{Count, SourceCounters};
use pipeline::log::{Commit, Log, LogError, Outcome, TopicPartition, Writer, partition_for};

use super::pace::Pace;
use super::source::{DemoRecord, DemoTraffic};
use crate::error::AppError;
use crate::roles::Overview;

/// How often records are sent.
const TICK: Duration = Duration::from_millis(20);
/// Names the writer, and the source that is counted.
const NAME: &str = "demo";

/// The running generator.
pub(super) struct Generator {
    stop: Arc<Stop>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Stop {
    stopped: AtomicBool,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Stop {
    /// Whether to stop, after `wait` at most.
    fn within(&self, wait: Duration) -> bool {
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let running = |_: &mut ()| !self.stopped.load(Ordering::Relaxed);
        drop(self.changed.wait_timeout_while(guard, wait, running));
        self.stopped.load(Ordering::Relaxed)
    }
}

impl Generator {
    /// Starts to send `rate` records a second.
    pub(super) fn start(
        overview: Arc<Overview>,
        traffic: DemoTraffic,
        rate: u32,
    ) -> Result<Self, AppError> {
        let stop = Arc::new(Stop::default());
        let mut sender = Sender::open(&overview)?;
        sender.send_first(&traffic.first)?;
        let stopping = Arc::clone(&stop);
        let run = move || sender.run(&overview, traffic, rate, &stopping);
        let thread = std::thread::Builder::new().name("generator".to_owned()).spawn(run);
        let failed = |error| AppError::Failed(format!("cannot start a thread: {error}"));
        Ok(Self { stop, thread: thread.map_err(failed)? })
    }

    /// Stops it; what it has sent is committed.
    pub(super) fn stop(self) {
        {
            let _guard = self.stop.lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.stop.stopped.store(true, Ordering::Relaxed);
        }
        self.stop.changed.notify_all();
        // A thread that panicked has said so already; there is nothing left to save here.
        let _ = self.thread.join();
    }
}

/// Places records, and commits them.
struct Sender {
    log: Arc<dyn Log>,
    writer: Box<dyn Writer>,
    partitions: BTreeMap<String, u32>,
    counters: Arc<SourceCounters>,
}

impl Sender {
    fn open(overview: &Overview) -> Result<Self, LogError> {
        let log: Arc<dyn Log> = overview.log.clone();
        let topics = log.topics()?.into_iter();
        Ok(Self {
            writer: log.writer(NAME)?,
            partitions: topics.map(|(name, spec)| (name, spec.partitions)).collect(),
            counters: overview.counters.source(NAME),
            log,
        })
    }

    /// Sends the records whose topic is empty.
    fn send_first(&mut self, records: &[DemoRecord]) -> Result<(), AppError> {
        let mut empty = BTreeMap::new();
        for record in records {
            if !empty.contains_key(record.topic) {
                empty.insert(record.topic, self.is_empty(record.topic)?);
            }
        }
        let mut commit = Gathered::default();
        for record in records.iter().filter(|record| empty[record.topic]) {
            self.place(&mut commit, record);
        }
        if commit.records == 0 {
            return Ok(());
        }
        match self.commit(commit) {
            Outcome::Committed { .. } => Ok(()),
            Outcome::Aborted(reason) | Outcome::Fenced(reason) | Outcome::Unknown(reason) => {
                Err(AppError::Failed(format!("cannot send the demo's first records: {reason}")))
            }
        }
    }

    fn is_empty(&self, topic: &str) -> Result<bool, LogError> {
        for partition in 0..self.partitions.get(topic).copied().unwrap_or(0) {
            if self.log.range(&TopicPartition::new(topic, partition))?.end.offset > 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn run(mut self, overview: &Overview, mut traffic: DemoTraffic, rate: u32, stop: &Stop) {
        let mut pace = Pace::new(rate, overview.clock.elapsed());
        while !stop.within(TICK) {
            let now_ms = overview.clock.wall_ms();
            let mut commit = Gathered::default();
            for _ in 0..pace.due(overview.clock.elapsed()) {
                let record = (traffic.next)(now_ms);
                self.place(&mut commit, &record);
            }
            if commit.records == 0 {
                continue;
            }
            match self.commit(commit) {
                Outcome::Committed { .. } => {}
                Outcome::Aborted(reason) => {
                    tracing::warn!(reason, "the log aborted a commit of made-up records");
                }
                Outcome::Fenced(reason) | Outcome::Unknown(reason) => {
                    overview.health.fail(format!("the generator cannot go on: {reason}"));
                    return;
                }
            }
        }
    }

    /// Adds `record` to `commit`. A topic that no topology reads has no partitions, and gets none.
    fn place(&self, commit: &mut Gathered, record: &DemoRecord) {
        let Some(partitions) = self.partitions.get(record.topic) else { return };
        let at = (record.topic, partition_for(&record.key, *partitions));
        let batch = commit.batches.entry(at).or_default();
        batch.push(record.timestamp_ms, Some(&record.key), Some(&record.value), &[]);
        commit.records += 1;
    }

    fn commit(&mut self, gathered: Gathered) -> Outcome {
        let Gathered { batches, records } = gathered;
        let place = |((topic, partition), batch)| (TopicPartition::new(topic, partition), batch);
        let appends = batches.into_iter().map(place).collect();
        let outcome = self.writer.commit(Commit { appends, offsets: Vec::new() }).wait();
        if matches!(outcome, Outcome::Committed { .. }) {
            self.counters.add(Count::Records, records);
        }
        outcome
    }
}

/// The records of one commit.
#[derive(Default)]
struct Gathered {
    batches: BTreeMap<(&'static str, u32), pipeline::log::BatchBuilder>,
    records: u64,
}
