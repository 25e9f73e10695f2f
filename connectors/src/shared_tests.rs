//! What the tests of this room share: a log in memory whose answers can be spoilt.
//!
//! The log is the real one. Only its answers are changed, and whether it hears the question.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pipeline::clock::ManualClock;
use pipeline::log::embedded::{EmbeddedLog, EmbeddedSettings};
use pipeline::log::storage::MemoryStorage;
use pipeline::log::{
    Cleanup, Commit, CommitHandle, GroupConfig, Log, LogError, Member, Outcome, Position, Range,
    Reader, TopicPartition, TopicSpec, Validity, Writer,
};

/// 2026-11-21T13:34:37Z.
pub(crate) const NOW_MS: i64 = 1_795_268_077_000;

/// What happens to the next commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// It is aborted.
    Abort,
    /// It is made, and nobody is told.
    UnknownMade,
    /// It is not made, and nobody is told.
    UnknownLost,
    /// Somebody else has the name.
    Fence,
    /// The answer never comes.
    Hang,
}

/// A log in memory, and the faults that are to come.
pub(crate) struct TestLog {
    pub(crate) inner: Arc<EmbeddedLog>,
    pub(crate) clock: Arc<ManualClock>,
    faults: Arc<Faults>,
}

#[derive(Default)]
struct Faults {
    next: Mutex<VecDeque<Fault>>,
    /// The senders of answers that never come.
    hanging: Mutex<Vec<tokio::sync::oneshot::Sender<Outcome>>>,
}

/// A record that was read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) partition: u32,
    pub(crate) key: Option<String>,
    pub(crate) value: String,
    pub(crate) timestamp: i64,
    pub(crate) headers: BTreeMap<String, String>,
}

impl TestLog {
    /// An empty log with `topic`, of so many partitions.
    pub(crate) fn with_topic(topic: &str, partitions: u32) -> Arc<Self> {
        let clock = Arc::new(ManualClock::at(NOW_MS));
        let storage = Arc::new(MemoryStorage::new());
        let settings = EmbeddedSettings::default();
        let inner = EmbeddedLog::in_memory(storage, settings, Arc::clone(&clock) as _).unwrap();
        let cleanup = Cleanup::Delete { retention_ms: None, retention_bytes: None };
        inner.create_topic(&TopicSpec { name: topic.into(), partitions, cleanup }).unwrap();
        Arc::new(Self { inner, clock, faults: Arc::default() })
    }

    pub(crate) fn spoil(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.next.lock().unwrap().extend(faults);
    }

    /// Whether an answer hangs.
    pub(crate) fn is_hanging(&self) -> bool {
        !self.faults.hanging.lock().unwrap().is_empty()
    }

    /// Ends the answers that hang: as unknown.
    pub(crate) fn release(&self) {
        self.faults.hanging.lock().unwrap().clear();
    }

    /// All records of a topic; none if there is no such topic.
    pub(crate) fn stored(&self, topic: &str) -> Vec<Stored> {
        let Some(spec) = self.inner.topics().unwrap().get(topic).cloned() else { return vec![] };
        let mut stored = Vec::new();
        for partition in 0..spec.partitions {
            let at = TopicPartition::new(topic, partition);
            let end = self.inner.range(&at).unwrap().end.offset;
            let mut reader = self.inner.reader().unwrap();
            reader.assign(&at, 0).unwrap();
            while reader.position(&at).unwrap() < end {
                for fetched in reader.poll(Duration::from_secs(1)).unwrap() {
                    stored.extend(fetched.records().map(|record| Stored {
                        partition,
                        key: record.key.map(text),
                        value: text(record.value.unwrap()),
                        timestamp: record.timestamp,
                        headers: record.headers.iter().map(|(k, v)| (text(k), text(v))).collect(),
                    }));
                }
            }
        }
        stored
    }

    pub(crate) fn values(&self, topic: &str) -> Vec<String> {
        self.stored(topic).into_iter().map(|record| record.value).collect()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

struct TestWriter {
    inner: Box<dyn Writer>,
    faults: Arc<Faults>,
}

impl Writer for TestWriter {
    fn commit(&mut self, commit: Commit) -> CommitHandle {
        let fault = self.faults.next.lock().unwrap().pop_front().unwrap_or(Fault::None);
        let (sender, handle) = CommitHandle::new();
        let answer = match fault {
            Fault::None => return self.inner.commit(commit),
            Fault::Abort => Outcome::Aborted("told to".into()),
            Fault::Fence => Outcome::Fenced("told to".into()),
            Fault::UnknownLost => Outcome::Unknown("told to".into()),
            Fault::UnknownMade => {
                assert!(matches!(self.inner.commit(commit).wait(), Outcome::Committed { .. }));
                Outcome::Unknown("told to".into())
            }
            Fault::Hang => {
                self.faults.hanging.lock().unwrap().push(sender);
                return handle;
            }
        };
        sender.send(answer).unwrap();
        handle
    }
}

impl Log for TestLog {
    fn id(&self) -> Result<String, LogError> {
        self.inner.id()
    }

    fn create_topic(&self, spec: &TopicSpec) -> Result<(), LogError> {
        self.inner.create_topic(spec)
    }

    fn topics(&self) -> Result<BTreeMap<String, TopicSpec>, LogError> {
        self.inner.topics()
    }

    fn range(&self, partition: &TopicPartition) -> Result<Range, LogError> {
        self.inner.range(partition)
    }

    fn validate(&self, at: &TopicPartition, position: Position) -> Result<Validity, LogError> {
        self.inner.validate(at, position)
    }

    fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<Position>>, LogError> {
        self.inner.committed(group, partitions)
    }

    fn purge(&self, partition: &TopicPartition, offset: u64) -> Result<(), LogError> {
        self.inner.purge(partition, offset)
    }

    fn reader(&self) -> Result<Box<dyn Reader>, LogError> {
        self.inner.reader()
    }

    fn writer(&self, name: &str) -> Result<Box<dyn Writer>, LogError> {
        let faults = Arc::clone(&self.faults);
        Ok(Box::new(TestWriter { inner: self.inner.writer(name)?, faults }))
    }

    fn join(&self, config: GroupConfig) -> Result<Box<dyn Member>, LogError> {
        self.inner.join(config)
    }

    fn reconnect(&self) -> Result<(), LogError> {
        self.inner.reconnect()
    }
}
