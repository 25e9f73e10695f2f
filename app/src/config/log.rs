//! `[log]`: which log, and the embedded one's settings.

use serde::{Deserialize, Serialize};

use super::check::{At, DAY_MS, NUMBER_MAX};
use super::error::Fault;
use super::values::Retention;

/// What a commit has survived when it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommitDurability {
    /// The end of the process. A power loss may cut off the last seconds, and says so.
    Os,
    /// A power loss: every group of commits is synced to the disk first.
    Sync,
}

/// Which log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogKind {
    /// The one inside the process.
    Embedded,
    /// Apache Kafka, or what speaks its protocol.
    Kafka,
}

/// What a commit promises on Kafka; the embedded log always does it exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guarantee {
    /// Results and offsets in one transaction.
    ExactlyOnce,
    /// Results first, then offsets: a crash in between repeats results.
    AtLeastOnce,
}

/// The log: which one, how durable, how long, how large.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Log {
    /// Which log.
    pub kind: LogKind,
    /// On Kafka: what tells this process from others of the application, the same after a
    /// restart. Empty: a name that is made once and kept in the data directory.
    pub instance: String,
    /// On Kafka: what a commit promises.
    pub guarantee: Guarantee,
    /// On Kafka: replicas of the topics that are made; 0 leaves it to the brokers.
    pub replication_factor: u16,
    /// What a commit has survived when it is answered.
    pub commit_durability: CommitDurability,
    /// How long records of source and repartition topics are kept, by append time.
    pub retention_ms: Retention,
    /// How many bytes a partition of such a topic keeps.
    pub retention_bytes: Retention,
    /// Partitions of a topic that is created without saying.
    pub partitions: u32,
    /// What one commit may append to one partition, before compression.
    pub batch_bytes_max: u64,
    /// The largest record that is accepted: key, value and headers.
    pub record_bytes_max: u64,
    /// Bytes that may wait for the appender before writers have to.
    pub appender_queue_max_bytes: u64,
    /// How often compacted topics are looked at.
    pub compaction_interval_ms: u64,
    /// The dirty share of a partition, 0 to 1, from which it is compacted.
    pub compaction_dirty_ratio: f64,
    /// Memory for the keys of one compaction.
    pub compaction_memory_bytes: u64,
    /// How long a tombstone stays, so that readers learn of the deletion.
    pub tombstone_retention_ms: u64,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            kind: LogKind::Embedded,
            instance: String::new(),
            guarantee: Guarantee::ExactlyOnce,
            replication_factor: 0,
            commit_durability: CommitDurability::Os,
            retention_ms: Retention::UpTo(7 * DAY_MS),
            retention_bytes: Retention::UpTo(1 << 30),
            partitions: 4,
            batch_bytes_max: 64 << 20,
            record_bytes_max: 1_000_000,
            appender_queue_max_bytes: 64 << 20,
            compaction_interval_ms: 15_000,
            compaction_dirty_ratio: 0.5,
            compaction_memory_bytes: 32 << 20,
            tombstone_retention_ms: DAY_MS,
        }
    }
}

impl Log {
    pub(super) fn check(&self, at: &At<'_>) -> Result<(), Fault> {
        at.range("partitions", self.partitions.into(), 1..=1024)?;
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if self.instance.len() > 64 || !self.instance.bytes().all(legal) {
            let message = "must be at most 64 letters, digits, `.`, `_` and `-`";
            return Err(at.fault("instance", message));
        }
        at.range("batch_bytes_max", self.batch_bytes_max, 1 << 20..=256 << 20)?;
        at.range("record_bytes_max", self.record_bytes_max, 1024..=64 << 20)?;
        at.range("appender_queue_max_bytes", self.appender_queue_max_bytes, 1 << 20..=4 << 30)?;
        at.range("compaction_interval_ms", self.compaction_interval_ms, 100..=DAY_MS)?;
        at.range("compaction_memory_bytes", self.compaction_memory_bytes, 1 << 20..=4 << 30)?;
        at.range("tombstone_retention_ms", self.tombstone_retention_ms, 0..=NUMBER_MAX)?;
        if !(0.0..=1.0).contains(&self.compaction_dirty_ratio) {
            return Err(at.fault("compaction_dirty_ratio", "must be 0 to 1"));
        }
        if self.appender_queue_max_bytes < self.record_bytes_max {
            let message = format!(
                "{} is less than record_bytes_max ({}): the largest record would wait for ever",
                self.appender_queue_max_bytes, self.record_bytes_max
            );
            return Err(at.fault("appender_queue_max_bytes", message));
        }
        Ok(())
    }
}
