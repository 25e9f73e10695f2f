//! A log that waits for nothing, and whose commits fail as often as it is told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pipeline::log::embedded::EmbeddedLog;
use pipeline::log::{
    Commit, CommitHandle, Event, GroupConfig, Log, LogError, Member, Outcome, Position, Range,
    Reader, TopicPartition, TopicSpec, Validity, Writer,
};
use pipeline::sim::Dice;

pub(super) struct Quiet {
    log: Mutex<Arc<EmbeddedLog>>,
    faults: Arc<Mutex<Faults>>,
}

struct Faults {
    dice: Dice,
    aborted: u32,
    unknown: u32,
}

impl Quiet {
    pub(super) fn new(log: Arc<EmbeddedLog>) -> Self {
        let faults = Faults { dice: Dice::new(0), aborted: 0, unknown: 0 };
        Self { log: Mutex::new(log), faults: Arc::new(Mutex::new(faults)) }
    }

    pub(super) fn inner(&self) -> Arc<EmbeddedLog> {
        Arc::clone(&self.log.lock().unwrap())
    }

    pub(super) fn replace(&self, log: Arc<EmbeddedLog>) {
        *self.log.lock().unwrap() = log;
    }

    pub(super) fn seed(&self, seed: u64) {
        self.faults.lock().unwrap().dice = Dice::new(seed);
    }

    /// How many of a hundred commits are refused, and have an unknown outcome.
    pub(super) fn set_faults(&self, aborted: u32, unknown: u32) {
        let mut faults = self.faults.lock().unwrap();
        (faults.aborted, faults.unknown) = (aborted, unknown);
    }
}

impl Log for Quiet {
    fn id(&self) -> Result<String, LogError> {
        self.inner().id()
    }

    fn create_topic(&self, spec: &TopicSpec) -> Result<(), LogError> {
        self.inner().create_topic(spec)
    }

    fn topics(&self) -> Result<BTreeMap<String, TopicSpec>, LogError> {
        self.inner().topics()
    }

    fn range(&self, partition: &TopicPartition) -> Result<Range, LogError> {
        self.inner().range(partition)
    }

    fn validate(&self, at: &TopicPartition, position: Position) -> Result<Validity, LogError> {
        self.inner().validate(at, position)
    }

    fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<Position>>, LogError> {
        self.inner().committed(group, partitions)
    }

    fn purge(&self, partition: &TopicPartition, offset: u64) -> Result<(), LogError> {
        self.inner().purge(partition, offset)
    }

    fn reader(&self) -> Result<Box<dyn Reader>, LogError> {
        self.inner().reader()
    }

    fn writer(&self, name: &str) -> Result<Box<dyn Writer>, LogError> {
        self.inner().writer(name)
    }

    fn join(&self, config: GroupConfig) -> Result<Box<dyn Member>, LogError> {
        let member = self.inner().join(config)?;
        Ok(Box::new(QuietMember { member, faults: Arc::clone(&self.faults) }))
    }

    fn reconnect(&self) -> Result<(), LogError> {
        self.inner().reconnect()
    }
}

struct QuietMember {
    member: Box<dyn Member>,
    faults: Arc<Mutex<Faults>>,
}

impl Writer for QuietMember {
    fn commit(&mut self, commit: Commit) -> CommitHandle {
        let mut faults = self.faults.lock().unwrap();
        let (aborted, unknown) = (faults.aborted, faults.unknown);
        let outcome = if faults.dice.chance(aborted) {
            Outcome::Aborted("refused".into())
        } else if faults.dice.chance(unknown) {
            if faults.dice.chance(50) {
                drop(self.member.commit(commit).wait());
            }
            Outcome::Unknown("lost".into())
        } else {
            return self.member.commit(commit);
        };
        let (reply, handle) = CommitHandle::new();
        reply.send(outcome).unwrap();
        handle
    }
}

impl Member for QuietMember {
    fn poll(&mut self, _wait: Duration) -> Result<Vec<Event>, LogError> {
        self.member.poll(Duration::ZERO)
    }

    fn start(&mut self, partition: &TopicPartition, offset: u64) -> Result<(), LogError> {
        self.member.start(partition, offset)
    }

    fn pause(&mut self, partition: &TopicPartition) {
        self.member.pause(partition);
    }

    fn resume(&mut self, partition: &TopicPartition) {
        self.member.resume(partition);
    }
}
