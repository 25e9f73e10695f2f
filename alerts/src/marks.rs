//! What an endpoint has delivered beyond its committed offset, kept in the log. **Format**,
//! version 1.
//!
//! An offset alone says "everything before". While one alert waits an hour for its retry, others
//! overtake it; without this a crash would send them again. So a commit that leaves something done
//! beyond its offset appends, in the same transaction, a record to the compacted topic
//! [`DELIVERIES_TOPIC`]: key `<endpoint>/<topic>/<partition>`, value
//! `{"version":1,"next":N,"progress":{...}}`. It counts only with the committed offset `N`: an
//! offset that somebody has set by hand wins.

use std::collections::BTreeMap;
use std::time::Duration;

use pipeline::log::{Log, LogError, TopicPartition, partition_for};
use serde::{Deserialize, Serialize};

use crate::DELIVERIES_TOPIC;
use crate::progress::Progress;

const VERSION: u32 = 1;
/// Reading a few small records must not wait for ever for a log that answers nothing.
const EMPTY_POLLS_MAX: u32 = 100;
const POLL_WAIT: Duration = Duration::from_millis(100);

#[derive(Serialize, Deserialize)]
struct Value {
    version: u32,
    next: u64,
    progress: Progress,
}

/// The key of the marks of `endpoint` in `partition`.
pub(crate) fn key(endpoint: &str, partition: &TopicPartition) -> String {
    format!("{endpoint}/{}/{}", partition.topic, partition.partition)
}

/// The partition of [`DELIVERIES_TOPIC`] that holds the marks with that key.
pub(crate) fn partition_of(key: &str, partitions: u32) -> TopicPartition {
    TopicPartition::new(DELIVERIES_TOPIC, partition_for(key.as_bytes(), partitions))
}

/// The value of the record.
pub(crate) fn encode(progress: &Progress) -> Vec<u8> {
    let value = Value { version: VERSION, next: progress.next(), progress: progress.clone() };
    serde_json::to_vec(&value).expect("numbers")
}

/// The progress in `value`, if it belongs to the committed offset `next`.
fn decode(value: &[u8], next: u64) -> Option<Progress> {
    let value: Value = serde_json::from_slice(value).ok()?;
    let holds = value.version == VERSION && value.next == next && value.progress.next() == next;
    holds.then(|| value.progress.resumed())
}

/// Reads the marks of `endpoint` in `partitions`, each with its committed offset. Those that have
/// none are not in the answer. It reads the topic's partition whole; compaction keeps that short.
///
/// # Errors
/// When the log is away.
pub(crate) fn load(
    log: &dyn Log,
    endpoint: &str,
    partitions: &[(TopicPartition, u64)],
    topic_partitions: u32,
) -> Result<BTreeMap<TopicPartition, Progress>, LogError> {
    let mut wanted: BTreeMap<TopicPartition, BTreeMap<String, &(TopicPartition, u64)>> =
        BTreeMap::new();
    for entry in partitions {
        let key = key(endpoint, &entry.0);
        wanted.entry(partition_of(&key, topic_partitions)).or_default().insert(key, entry);
    }
    let mut found = BTreeMap::new();
    for (at, keys) in wanted {
        read(log, &at, |key, value| {
            if let Some((partition, next)) = keys.get(key) {
                match value.and_then(|value| decode(value, *next)) {
                    Some(progress) => found.insert(partition.clone(), progress),
                    None => found.remove(partition),
                };
            }
        })?;
    }
    Ok(found)
}

fn read(
    log: &dyn Log,
    at: &TopicPartition,
    mut visit: impl FnMut(&str, Option<&[u8]>),
) -> Result<(), LogError> {
    let range = log.range(at)?;
    let mut reader = log.reader()?;
    reader.assign(at, range.start)?;
    let mut empty_polls = 0;
    while reader.position(at).is_some_and(|position| position < range.end.offset) {
        let fetched = reader.poll(POLL_WAIT)?;
        empty_polls = if fetched.is_empty() { empty_polls + 1 } else { 0 };
        if empty_polls > EMPTY_POLLS_MAX {
            return Err(LogError::Unavailable(format!("{at} does not come to its end")));
        }
        for record in fetched.iter().flat_map(|fetched| fetched.records()) {
            if let Some(key) = record.key.and_then(|key| std::str::from_utf8(key).ok()) {
                visit(key, record.value);
            }
        }
    }
    Ok(())
}
