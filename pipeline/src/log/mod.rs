//! The log: where every datum is persisted first, and what every follower reads.
//!
//! This module says what a log is; [`embedded`] is one inside the process, durable on RocksDB or
//! (for tests and the simulation) in memory; [`kafka`] is one on Apache Kafka. The traits carry
//! what both need: assignment events, transactions with four outcomes, positions with epochs. They
//! are not a client library: there is no retry, no partitioner and no serialization here.

pub mod batch;
mod coordinator;
pub mod embedded;
mod groups;
pub mod kafka;
pub mod record;
pub mod storage;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

pub use batch::{Batch, BatchBuilder, BatchCursor};
pub use groups::{Group, GroupMember};
pub use record::{Headers, RecordRef};
pub use stores::position::Position;
use tokio::sync::oneshot;

/// One partition of one topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition, from 0.
    pub partition: u32,
}

impl TopicPartition {
    /// Names a partition.
    pub fn new(topic: impl Into<Arc<str>>, partition: u32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// What happens to a topic's old records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleanup {
    /// Whole batches go, oldest first, once one of the bounds is passed.
    Delete {
        /// Milliseconds since a batch was appended; `None` keeps it for ever.
        retention_ms: Option<u64>,
        /// Bytes in one partition; `None` is no bound.
        retention_bytes: Option<u64>,
    },
    /// Of each key the last record stays.
    Compact,
}

/// A topic as it is to be, or as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// Letters, digits, `.`, `_` and `-`; at most 249 of them, as Kafka has it.
    pub name: String,
    /// At least 1. Never changes.
    pub partitions: u32,
    /// What happens to old records.
    pub cleanup: Cleanup,
}

/// The part of a partition that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first offset that is still there (a reader may find a gap at it).
    pub start: u64,
    /// One past the last record, and the log's epoch.
    pub end: Position,
}

/// What the log says of a position that a follower held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Go on from it.
    Valid,
    /// The log has lost records that the follower has seen: rebuild it.
    Truncated {
        /// Where the position's epoch ends in this partition now.
        epoch_end: u64,
    },
    /// Records after the position are gone by retention: the owner must decide.
    Expired {
        /// The first offset that is still there.
        start: u64,
    },
    /// Tombstones after the position have been compacted away: rebuild the follower.
    Compacted {
        /// The highest offset of a tombstone that was dropped.
        tombstone: u64,
    },
}

/// Batches of one partition, in order.
#[derive(Debug)]
pub struct Fetched {
    /// Where they come from.
    pub partition: TopicPartition,
    /// Offsets ascend, with gaps. It may begin before `from`. It may have no record at all: then
    /// the reader has passed offsets that hold none, up to the batch's last one.
    pub batch: Batch,
    /// The offset that was asked for: records before it are not part of the answer.
    pub from: u64,
    /// The partition's end when the batch was read: the reader has caught up when its position
    /// gets there.
    pub end: u64,
}

impl Fetched {
    /// A cursor at the first record that was asked for.
    pub fn cursor(&self) -> BatchCursor {
        let mut cursor = BatchCursor::default();
        while cursor.peek(&self.batch).is_some_and(|record| record.offset < self.from) {
            cursor.advance(&self.batch);
        }
        cursor
    }

    /// The records that were asked for, in order.
    pub fn records(&self) -> impl Iterator<Item = RecordRef<'_>> {
        self.batch.records().filter(|record| record.offset >= self.from)
    }
}

/// What a group member hears.
#[derive(Debug)]
pub enum Event {
    /// These partitions are this member's from now on. Fetching starts with [`Member::start`].
    Assigned(Vec<TopicPartition>),
    /// These partitions go to another member at the next call of [`Member::poll`]: commit before.
    Revoked(Vec<TopicPartition>),
    /// These partitions are somebody else's already: drop their tasks, commit nothing. Polling
    /// again takes part in the next assignment, or says that there is none for this member.
    Lost(Vec<TopicPartition>),
    /// Records of an assigned partition.
    Records(Fetched),
}

/// What is to become visible at once, or not at all.
#[derive(Debug, Default)]
pub struct Commit {
    /// New records, by partition.
    pub appends: Vec<(TopicPartition, BatchBuilder)>,
    /// For each consumed partition the position to go on from.
    pub offsets: Vec<(TopicPartition, Position)>,
}

impl Commit {
    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.appends.is_empty() && self.offsets.is_empty()
    }
}

/// How a commit ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the log, all of it. `appended` has an entry for each of [`Commit::appends`].
    Committed {
        /// Offsets of each appended batch: the first record's, and the position after the last.
        appended: Vec<Appended>,
    },
    /// Nothing of it is in the log; trying again may help.
    Aborted(String),
    /// Somebody else owns this member's identity or partitions: drop the tasks.
    Fenced(String),
    /// It may or may not be in the log: connect again, ask for the committed offsets, restore.
    Unknown(String),
}

/// Where a batch of a commit landed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The offset of its first record.
    pub base_offset: u64,
    /// The position after its last record.
    pub next: Position,
}

/// A commit under way. A future, and a thing to poll or to wait for without one.
pub struct CommitHandle {
    outcome: oneshot::Receiver<Outcome>,
    hurry: Option<Box<dyn FnOnce() + Send>>,
}

impl fmt::Debug for CommitHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommitHandle").field("outcome", &self.outcome).finish_non_exhaustive()
    }
}

impl CommitHandle {
    /// Makes a handle and the sender that ends it. A sender that is dropped means unknown.
    pub fn new() -> (oneshot::Sender<Outcome>, Self) {
        let (sender, outcome) = oneshot::channel();
        (sender, Self { outcome, hurry: None })
    }

    /// As [`Self::new`]; `hurry` is called before somebody blocks for the outcome, and must see to
    /// it that it comes. For a log without threads that decides late.
    pub fn with_hurry(hurry: impl FnOnce() + Send + 'static) -> (oneshot::Sender<Outcome>, Self) {
        let (sender, handle) = Self::new();
        (sender, Self { hurry: Some(Box::new(hurry)), ..handle })
    }

    /// The outcome, if it is there already. Call it until it answers, not after.
    pub fn try_outcome(&mut self) -> Option<Outcome> {
        match self.outcome.try_recv() {
            Ok(outcome) => Some(outcome),
            Err(oneshot::error::TryRecvError::Empty) => None,
            Err(oneshot::error::TryRecvError::Closed) => Some(gone()),
        }
    }

    /// Blocks until the outcome is there. Not for async code: await the handle there.
    pub fn wait(mut self) -> Outcome {
        if let Some(hurry) = self.hurry.take() {
            hurry();
        }
        self.outcome.blocking_recv().unwrap_or_else(|_| gone())
    }
}

impl Future for CommitHandle {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        Pin::new(&mut self.outcome).poll(cx).map(|received| received.unwrap_or_else(|_| gone()))
    }
}

fn gone() -> Outcome {
    Outcome::Unknown("the log stopped before it answered".into())
}

/// Why the log did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// There is no such topic.
    #[error("topic `{0}` does not exist")]
    UnknownTopic(String),
    /// The topic has fewer partitions.
    #[error("topic `{topic}` has {partitions} partitions, there is no partition {partition}")]
    UnknownPartition {
        /// The topic.
        topic: String,
        /// What was asked for.
        partition: u32,
        /// How many there are.
        partitions: u32,
    },
    /// A topic of that name is there and is not the same.
    #[error("topic `{topic}` exists and {difference}")]
    TopicDiffers {
        /// The topic.
        topic: String,
        /// In what it differs.
        difference: String,
    },
    /// The name or the number of partitions cannot be.
    #[error("`{topic}` cannot be a topic: {reason}")]
    InvalidTopic {
        /// The name.
        topic: String,
        /// The rule it breaks.
        reason: String,
    },
    /// The records that a reader wants next are gone by retention.
    #[error("{partition} begins at offset {start}: the records from {offset} on are gone")]
    OutOfRange {
        /// Where.
        partition: String,
        /// What was wanted.
        offset: u64,
        /// What is there.
        start: u64,
    },
    /// Another process has the data directory.
    #[error("{0}")]
    Held(String),
    /// Stored bytes do not check: the file system or a program damaged them.
    #[error(
        "{partition} is damaged at offset {offset}: {reason}; other partitions are not touched \
         (docs/operations.md)"
    )]
    Corrupt {
        /// Where.
        partition: String,
        /// The offset of the batch.
        offset: u64,
        /// What does not check.
        reason: String,
    },
    /// What the log keeps beside its records does not check: it cannot be opened.
    #[error(
        "{place} is damaged: {reason}; restore the log from a backup, or move it away to begin an \
         empty one (docs/operations.md)"
    )]
    Damaged {
        /// The directory, and the entry if it is one.
        place: String,
        /// What does not check.
        reason: String,
    },
    /// A newer member has this one's name: it is none any more.
    #[error("fenced by a newer member of the same name: {0}")]
    Fenced(String),
    /// The disk or the network failed.
    #[error("log unavailable: {0}")]
    Unavailable(String),
}

/// Who joins which group.
#[derive(Clone, Debug)]
pub struct GroupConfig {
    /// The group: one per application and generation.
    pub group: String,
    /// A name that stays the same across restarts and is unique in the group: a newer member of
    /// the same name fences the older one.
    pub instance: String,
    /// The topics whose partitions are shared out. Those with equally many partitions are
    /// assigned alike, so that co-partitioned inputs stay together.
    pub topics: Vec<String>,
}

/// A durable, partitioned log with atomic commits.
pub trait Log: Send + Sync {
    /// What tells this log from every other one, in letters and digits: chosen when it was made,
    /// the same for ever (on Kafka, the cluster's id). Followers remember it: a position in another
    /// log means nothing, however valid it looks.
    ///
    /// # Errors
    /// When the log is away.
    fn id(&self) -> Result<String, LogError>;

    /// Makes a topic. One that is there with the same partitions and kind of cleanup is left as
    /// it is, except for the retention bounds, which are set anew.
    ///
    /// # Errors
    /// [`LogError::TopicDiffers`] and [`LogError::InvalidTopic`].
    fn create_topic(&self, spec: &TopicSpec) -> Result<(), LogError>;

    /// All topics, by name.
    ///
    /// # Errors
    /// When the log is away.
    fn topics(&self) -> Result<BTreeMap<String, TopicSpec>, LogError>;

    /// What can be read of a partition now.
    ///
    /// # Errors
    /// When there is no such partition, or the log is away.
    fn range(&self, partition: &TopicPartition) -> Result<Range, LogError>;

    /// Whether a follower may go on from `position`, having read everything before it.
    ///
    /// # Errors
    /// When there is no such partition, or the log is away.
    fn validate(
        &self,
        partition: &TopicPartition,
        position: Position,
    ) -> Result<Validity, LogError>;

    /// The positions that `group` has committed, in the order of `partitions`.
    ///
    /// # Errors
    /// When the log is away, or a write has failed since it was connected, so that it does not
    /// know.
    fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<Position>>, LogError>;

    /// Who is in `group` in all processes that share the log. A log of one process has nothing to
    /// tell, nor has a group that does not let clients look.
    ///
    /// # Errors
    /// When the log is away.
    fn group(&self, _group: &str) -> Result<Group, LogError> {
        Ok(Group::default())
    }

    /// Forgets the records of `partition` before `offset` (Kafka's `deleteRecords`): for
    /// repartition topics, after use.
    ///
    /// # Errors
    /// When there is no such partition, or the log is away.
    fn purge(&self, partition: &TopicPartition, offset: u64) -> Result<(), LogError>;

    /// A reader of committed records, outside any group.
    ///
    /// # Errors
    /// When the log is away.
    fn reader(&self) -> Result<Box<dyn Reader>, LogError>;

    /// A writer outside any group. A newer writer of the same name fences the older one.
    ///
    /// # Errors
    /// When the log is away.
    fn writer(&self, name: &str) -> Result<Box<dyn Writer>, LogError>;

    /// Joins a group.
    ///
    /// # Errors
    /// When a topic does not exist, or the log is away.
    fn join(&self, config: GroupConfig) -> Result<Box<dyn Member>, LogError>;

    /// Connects anew after an outcome of unknown: whatever the log decides from now on, it has
    /// decided about everything before.
    ///
    /// # Errors
    /// When the log is still away.
    fn reconnect(&self) -> Result<(), LogError>;
}

/// Reads chosen partitions.
pub trait Reader: Send {
    /// Reads `partition` from `offset` on. Assigning it again moves the reader.
    ///
    /// # Errors
    /// When there is no such partition.
    fn assign(&mut self, partition: &TopicPartition, offset: u64) -> Result<(), LogError>;

    /// Stops reading `partition`.
    fn unassign(&mut self, partition: &TopicPartition);

    /// The next batches, waiting at most `wait` for the first. Partitions take turns. An empty
    /// answer means that there was nothing to read.
    ///
    /// # Errors
    /// When the log is away, or bytes are damaged.
    fn poll(&mut self, wait: Duration) -> Result<Vec<Fetched>, LogError>;

    /// The offset that `partition` goes on from; beyond the last record if there are gaps.
    fn position(&self, partition: &TopicPartition) -> Option<u64>;
}

/// Appends, atomically.
pub trait Writer: Send {
    /// Starts to append `commit` and answers through the handle. Commits of one writer are
    /// applied in order. A log whose queue is full makes the caller wait.
    fn commit(&mut self, commit: Commit) -> CommitHandle;
}

/// A member of a group: reads what it is assigned, and commits what it has made of it.
pub trait Member: Writer {
    /// What happened, waiting at most `wait` for something to happen. Polling again says that
    /// partitions revoked by the last answer may go.
    ///
    /// # Errors
    /// [`LogError::Fenced`] for good, after [`Event::Lost`]; when the log is away, or bytes are
    /// damaged.
    fn poll(&mut self, wait: Duration) -> Result<Vec<Event>, LogError>;

    /// Fetches the assigned `partition` from `offset` on.
    ///
    /// # Errors
    /// When there is no such partition.
    fn start(&mut self, partition: &TopicPartition, offset: u64) -> Result<(), LogError>;

    /// Stops fetching `partition` until it is resumed: the task has enough queued.
    fn pause(&mut self, partition: &TopicPartition);

    /// Goes on fetching where `pause` stopped.
    fn resume(&mut self, partition: &TopicPartition);
}

/// The partition that Kafka's default partitioner gives to a key: murmur2, made positive, modulo
/// the number of partitions. So keys lie where a Kafka producer would put them.
pub fn partition_for(key: &[u8], partitions: u32) -> u32 {
    assert!(partitions > 0, "a topic has partitions");
    (murmur2(key) & 0x7fff_ffff) % partitions
}

/// Austin Appleby's MurmurHash2 with Kafka's seed (`Utils.murmur2`).
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut hash = 0x9747_b28c ^ length;
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let word: [u8; 4] = chunk.try_into().expect("chunks_exact gives four bytes");
        let mut k = u32::from_le_bytes(word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn murmur2_is_kafkas() {
        for (text, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(text.as_bytes()).cast_signed(), hash, "{text}");
        }
    }
}
