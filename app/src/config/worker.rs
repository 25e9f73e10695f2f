//! `[worker]` and `[index]`: the threads that run topologies, and the follower that writes views.

use serde::{Deserialize, Serialize};

use super::check::At;
use super::error::Fault;
use super::values::{Ahead, IdleTimeout};

/// What is done with a record that does not decode, or on which a topology panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BadRecordPolicy {
    /// It goes to the dead-letter topic, with the reason, in the same commit.
    Dlq,
    /// It is counted and left out.
    Skip,
    /// The task stops.
    Fail,
}

/// The threads that run topologies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Worker {
    /// How often results are committed. They are seen by nobody before.
    pub commit_interval_ms: u64,
    /// Records taken from the log at once.
    pub poll_records_max: usize,
    /// How long a source partition may stand still before others stop waiting for its clock.
    pub idle_timeout_ms: IdleTimeout,
    /// How often a partition without data passes its progress on.
    pub progress_interval_ms: u64,
    /// How often the state is brought to files. After a crash, what came since is read again from
    /// the changelogs.
    pub state_flush_interval_ms: u64,
    /// On Kafka: how many other processes may be lost at once so that whoever takes their tasks over
    /// has followed the changelogs already.
    pub num_standby_replicas: usize,
    /// What is done with a record that does not decode, or on which a topology panics, unless its
    /// topology or its topic says otherwise.
    pub bad_record_policy: BadRecordPolicy,
    /// How far event time may lie ahead of the time at which the record was appended, unless its
    /// topic says otherwise. What is farther ahead is a bad record.
    pub timestamp_ahead_ms_max: Ahead,
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            commit_interval_ms: 100,
            poll_records_max: 5000,
            idle_timeout_ms: IdleTimeout::AfterMs(30_000),
            progress_interval_ms: 100,
            state_flush_interval_ms: 60_000,
            num_standby_replicas: 0,
            bad_record_policy: BadRecordPolicy::Dlq,
            timestamp_ahead_ms_max: Ahead::UpToMs(3_600_000),
        }
    }
}

impl Worker {
    pub(super) fn check(&self, at: &At<'_>) -> Result<(), Fault> {
        at.range("commit_interval_ms", self.commit_interval_ms, 1..=60_000)?;
        at.range("poll_records_max", self.poll_records_max as u64, 1..=1_000_000)?;
        at.range("num_standby_replicas", self.num_standby_replicas as u64, 0..=2)?;
        at.range("progress_interval_ms", self.progress_interval_ms, 1..=60_000)?;
        at.range("state_flush_interval_ms", self.state_flush_interval_ms, 100..=3_600_000)
    }
}

/// The follower that writes the views.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Index {
    /// How often changed views are committed, and so searchable.
    pub commit_interval_ms: u64,
    /// The share of one core that commits may take, above 0 and up to 1.
    pub commit_share: f64,
}

impl Default for Index {
    fn default() -> Self {
        Self { commit_interval_ms: 100, commit_share: 0.2 }
    }
}

impl Index {
    pub(super) fn check(&self, at: &At<'_>) -> Result<(), Fault> {
        at.range("commit_interval_ms", self.commit_interval_ms, 1..=60_000)?;
        if !(0.01..=1.0).contains(&self.commit_share) {
            return Err(at.fault("commit_share", "must be 0.01 to 1"));
        }
        Ok(())
    }
}
