//! The log on Apache Kafka, and on what speaks its protocol.
//!
//! ```text
//! Writer/Member::commit -> committer thread (producer): one transaction for each commit
//! Member::poll          -> consumer in the group, read_committed; assignment by the brokers
//! Reader::poll          -> consumer that is told what to read
//! topics, ranges        -> an admin client and one consumer that sees what is uncommitted
//! ```
//! Positions carry the leader epoch. Nothing is built beside Kafka's groups and transactions:
//! there is no election and no assignment of our own here.

mod block;
mod committer;
mod context;
#[expect(unsafe_code, reason = "librdkafka says some things in C only; decision record 0007")]
mod ffi;
mod gather;
mod member;
mod members;
mod positions;
mod reader;
mod refusal;
mod settings;
mod shared;
mod topics;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use committer::{CommitterHandle, Job};
use member::KafkaMember;
use reader::KafkaReader;
pub use settings::{Guarantee, KafkaSettings};
use shared::Shared;

use super::{
    Commit, CommitHandle, Group, GroupConfig, Log, LogError, Member, Position, Range, Reader,
    TopicPartition, TopicSpec, Validity, Writer,
};
use crate::clock::Clock;

/// The log on Kafka.
pub struct KafkaLog {
    shared: Arc<Shared>,
}

impl KafkaLog {
    /// Makes the clients. Brokers are asked when there is something to ask.
    ///
    /// # Errors
    /// When a setting is wrong.
    pub fn open(settings: KafkaSettings, clock: Arc<dyn Clock>) -> Result<Arc<Self>, LogError> {
        Ok(Arc::new(Self { shared: Shared::open(settings, clock)? }))
    }

    /// Why no broker is in reach, as far as is known, if none is.
    pub fn away(&self) -> Option<String> {
        self.shared.contact.away()
    }

    /// What tells this process from the others of the application.
    pub fn instance(&self) -> &str {
        &self.shared.settings.instance
    }

    /// The largest batch that each topic takes, in bytes, where the brokers tell.
    ///
    /// # Errors
    /// When the brokers are away.
    pub fn message_bytes_max(&self) -> Result<BTreeMap<String, usize>, LogError> {
        let topics = self.shared.topics()?.into_iter();
        Ok(topics.filter_map(|(name, found)| Some((name, found.message_bytes_max?))).collect())
    }
}

/// A writer outside any group.
struct KafkaWriter {
    committer: CommitterHandle,
}

impl Writer for KafkaWriter {
    fn commit(&mut self, commit: Commit) -> CommitHandle {
        self.committer.commit(commit)
    }
}

impl Log for KafkaLog {
    fn id(&self) -> Result<String, LogError> {
        self.shared.cluster()
    }

    fn create_topic(&self, spec: &TopicSpec) -> Result<(), LogError> {
        self.shared.create_topic(spec)
    }

    fn topics(&self) -> Result<BTreeMap<String, TopicSpec>, LogError> {
        let topics = self.shared.topics()?.into_iter();
        Ok(topics.map(|(name, found)| (name, found.spec)).collect())
    }

    fn range(&self, partition: &TopicPartition) -> Result<Range, LogError> {
        self.shared.range(partition)
    }

    fn validate(
        &self,
        partition: &TopicPartition,
        position: Position,
    ) -> Result<Validity, LogError> {
        self.shared.validate(partition, position)
    }

    fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<Position>>, LogError> {
        self.shared.committed(group, partitions)
    }

    fn group(&self, group: &str) -> Result<Group, LogError> {
        self.shared.group(group)
    }

    fn purge(&self, partition: &TopicPartition, offset: u64) -> Result<(), LogError> {
        self.shared.purge(partition, offset)
    }

    fn reader(&self) -> Result<Box<dyn Reader>, LogError> {
        Ok(Box::new(KafkaReader::new(Arc::clone(&self.shared))?))
    }

    fn writer(&self, name: &str) -> Result<Box<dyn Writer>, LogError> {
        let name = format!("{}-{name}", self.shared.settings.instance);
        let committer = CommitterHandle::start(&self.shared, &name, None)?;
        Ok(Box::new(KafkaWriter { committer }))
    }

    fn join(&self, config: GroupConfig) -> Result<Box<dyn Member>, LogError> {
        Ok(Box::new(KafkaMember::join(&self.shared, config)?))
    }

    /// New producers where a transaction's end is in doubt; `init_transactions` decides it.
    fn reconnect(&self) -> Result<(), LogError> {
        for committer in self.shared.committers() {
            let (reply, decided) = sync_channel(1);
            // A committer that has ended has nothing undecided.
            if committer.send(Job::Reconnect(reply)).is_ok()
                && let Ok(decided) = decided.recv()
            {
                decided?;
            }
        }
        Ok(())
    }
}
