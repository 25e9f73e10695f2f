//! Where records go: the partitions of a topic, and of its dead letters, in one commit.
//!
//! Places records; reads nothing, waits for nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use pipeline::log::record::put_header;
use pipeline::log::{
    BatchBuilder, Cleanup, Commit, Log, LogError, TopicPartition, TopicSpec, partition_for,
};

use crate::parser::ParsedRecord;

/// How long dead letters are kept in a topic that is made here because nobody has made it before.
pub const DEAD_LETTER_RETENTION_MS: u64 = 14 * 24 * 3600 * 1000;

/// The topic that takes the lines which cannot become records of `topic`.
pub fn dead_letter_topic(topic: &str) -> String {
    format!("{topic}-dlq")
}

/// A topic as the log has it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    topic: Arc<str>,
    partitions: u32,
}

impl Place {
    /// Finds a topic.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`], and when the log is away.
    pub(crate) fn find(log: &dyn Log, topic: &str) -> Result<Self, LogError> {
        let found = log.topics()?.get(topic).map(|spec| spec.partitions);
        let partitions = found.ok_or_else(|| LogError::UnknownTopic(topic.to_owned()))?;
        Ok(Self { topic: topic.into(), partitions })
    }

    /// Finds the dead letters of `topic`, or makes them.
    pub(crate) fn dead_letters(log: &dyn Log, topic: &str) -> Result<Self, LogError> {
        Self::find_or_make(
            log,
            &TopicSpec {
                name: dead_letter_topic(topic),
                partitions: 1,
                cleanup: Cleanup::Delete {
                    retention_ms: Some(DEAD_LETTER_RETENTION_MS),
                    retention_bytes: None,
                },
            },
        )
    }

    /// Finds a topic as somebody else has made it, or makes it like `spec`.
    pub(crate) fn find_or_make(log: &dyn Log, spec: &TopicSpec) -> Result<Self, LogError> {
        match Self::find(log, &spec.name) {
            Err(LogError::UnknownTopic(_)) => log.create_topic(spec)?,
            found => return found,
        }
        Self::find(log, &spec.name)
    }

    /// One of its partitions.
    pub(crate) fn partition(&self, partition: u32) -> TopicPartition {
        TopicPartition::new(Arc::clone(&self.topic), partition)
    }
}

/// A line that has become no record.
pub(crate) struct DeadLetter<'a> {
    /// The line, unchanged, or as much of it as the limit lets through.
    pub(crate) line: &'a [u8],
    /// Why.
    pub(crate) reason: &'a str,
    /// Where it came from: a file's path, a peer.
    pub(crate) source: &'a str,
    /// Its place there, where there is one: a byte offset, a line number.
    pub(crate) offset: Option<u64>,
    /// When it was found.
    pub(crate) timestamp_ms: i64,
}

/// The records of one commit, by partition.
pub(crate) struct Gathered {
    records: Place,
    dead_letters: Option<Place>,
    /// Chooses the partition of what has no key: the same for one commit, another for the next.
    turn: u32,
    by_partition: BTreeMap<u32, BatchBuilder>,
    dead: BatchBuilder,
    headers: Vec<u8>,
}

impl Gathered {
    /// Nothing yet. Records without a key go to the partition whose `turn` it is.
    pub(crate) fn new(records: Place, dead_letters: Option<Place>, turn: u32) -> Self {
        Self {
            records,
            dead_letters,
            turn,
            by_partition: BTreeMap::new(),
            dead: BatchBuilder::new(),
            headers: Vec::new(),
        }
    }

    /// Adds a record.
    pub(crate) fn push(&mut self, record: &ParsedRecord<'_>, timestamp_ms: i64, headers: &[u8]) {
        let key = record.key.as_deref();
        let partition = match key {
            Some(key) => partition_for(key, self.records.partitions),
            None => self.turn % self.records.partitions,
        };
        let batch = self.by_partition.entry(partition).or_default();
        batch.push(timestamp_ms, key, Some(&record.value), headers);
    }

    /// Adds a dead letter, with the headers of Kafka Streams' own (KIP-1034).
    pub(crate) fn push_dead_letter(&mut self, letter: &DeadLetter<'_>) {
        assert!(self.dead_letters.is_some(), "the caller chose to keep dead letters");
        let headers = &mut self.headers;
        headers.clear();
        put_header(headers, "__streams.errors.message", letter.reason.as_bytes());
        put_header(headers, "__streams.errors.topic", letter.source.as_bytes());
        if let Some(offset) = letter.offset {
            put_header(headers, "__streams.errors.offset", offset.to_string().as_bytes());
        }
        self.dead.push(letter.timestamp_ms, None, Some(letter.line), headers);
    }

    /// How many records and dead letters there are.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let records = self.by_partition.values().map(|batch| u64::from(batch.len())).sum();
        (records, u64::from(self.dead.len()))
    }

    /// The commit; the partitions of the records come first in it.
    pub(crate) fn into_commit(self) -> Commit {
        let Self { records, dead_letters, turn, by_partition, dead, .. } = self;
        let place = |(partition, batch)| (records.partition(partition), batch);
        let mut commit = Commit::default();
        commit.appends.extend(by_partition.into_iter().map(place));
        if let Some(letters) = dead_letters.filter(|_| !dead.is_empty()) {
            commit.appends.push((letters.partition(turn % letters.partitions), dead));
        }
        commit
    }
}
