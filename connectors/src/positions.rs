//! Where each source stands, in a compacted topic: committed together with its records.
//!
//! One entry a source; what it says is the source's own affair. Followers keep their positions
//! themselves: this is for sources, whose position has no better place than the log.

use std::sync::Arc;
use std::time::Duration;

use pipeline::log::{BatchBuilder, Cleanup, Commit, Log, LogError, TopicPartition, TopicSpec};

use crate::destination::Place;

/// The topic of positions.
pub const POSITIONS_TOPIC: &str = "millpond-file-positions";

/// How often an answer may be empty before reading is given up, and how long one waits.
const EMPTY_POLLS_MAX: usize = 50;
const POLL: Duration = Duration::from_millis(100);

/// The entry of one source.
pub(crate) struct PositionEntry {
    log: Arc<dyn Log>,
    key: String,
    partition: TopicPartition,
}

impl PositionEntry {
    /// The entry of `key`; makes the topic if need be.
    pub(crate) fn open(log: Arc<dyn Log>, key: String) -> Result<Self, LogError> {
        let spec = TopicSpec {
            name: POSITIONS_TOPIC.to_owned(),
            partitions: 1,
            cleanup: Cleanup::Compact,
        };
        let partition = Place::find_or_make(&*log, &spec)?.partition(0);
        Ok(Self { log, key, partition })
    }

    /// Adds a new value to `commit`.
    pub(crate) fn set(&self, commit: &mut Commit, value: &[u8], now_ms: i64) {
        let mut batch = BatchBuilder::new();
        batch.push(now_ms, Some(self.key.as_bytes()), Some(value), &[]);
        commit.appends.push((self.partition.clone(), batch));
    }

    /// The last committed value. Reads the whole topic, which compaction keeps small.
    pub(crate) fn last(&self) -> Result<Option<Vec<u8>>, LogError> {
        let range = self.log.range(&self.partition)?;
        let mut reader = self.log.reader()?;
        reader.assign(&self.partition, range.start)?;
        let mut last = None;
        let mut empty_polls = 0;
        while reader.position(&self.partition).is_some_and(|at| at < range.end.offset) {
            let fetched = reader.poll(POLL)?;
            empty_polls = if fetched.is_empty() { empty_polls + 1 } else { 0 };
            if empty_polls > EMPTY_POLLS_MAX {
                let reason = format!("cannot read `{POSITIONS_TOPIC}` to its end");
                return Err(LogError::Unavailable(reason));
            }
            for batch in &fetched {
                let ours = batch.records().filter(|record| record.key == Some(self.key.as_bytes()));
                last = ours.last().map(|record| record.value.map(<[u8]>::to_vec)).or(last);
            }
        }
        Ok(last.flatten())
    }
}
