//! A second memory of the log: every record that became visible, whatever compaction and purging
//! did with it later. What is compared in the end is read from here, and the log is compared with
//! it.

use std::collections::BTreeMap;

use super::trace::Trace;
use crate::format::origin::Origin;
use crate::format::{CONTROL_HEADER, ORIGIN_HEADER};
use crate::log::{Headers, Log, LogError, RecordRef, TopicPartition};

/// A record that became visible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its offset.
    pub offset: u64,
    /// Event time, milliseconds since 1970-01-01 UTC.
    pub timestamp: i64,
    /// The key's bytes.
    pub key: Option<Vec<u8>>,
    /// The value's bytes; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// The headers, encoded.
    pub headers: Vec<u8>,
}

impl Stored {
    pub(super) fn of(record: &RecordRef<'_>) -> Self {
        Self {
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record.headers.as_bytes().to_vec(),
        }
    }

    /// The same but for where it lies.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        Self { offset: 0, ..self.clone() } == Self { offset: 0, ..other.clone() }
    }

    /// One of its headers.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        Headers::new(&self.headers).get(name)
    }

    /// Whether it is a control record.
    pub fn is_control(&self) -> bool {
        self.header(CONTROL_HEADER).is_some()
    }

    /// The source record that it was made from.
    pub fn origin(&self) -> Option<Origin> {
        Origin::decode(self.header(ORIGIN_HEADER)?, self.timestamp)
    }

    /// The key, for people.
    pub fn key_text(&self) -> String {
        text(self.key.as_deref())
    }

    /// The value, for people.
    pub fn value_text(&self) -> String {
        text(self.value.as_deref())
    }
}

fn text(bytes: Option<&[u8]>) -> String {
    bytes.map_or_else(|| "null".to_owned(), |bytes| String::from_utf8_lossy(bytes).into_owned())
}

/// All records of a log by partition. A partition's records have no gaps.
#[derive(Clone, Debug, Default)]
pub(super) struct Shadow {
    partitions: BTreeMap<TopicPartition, Vec<Stored>>,
}

impl Shadow {
    /// Takes in what has become visible since the last time.
    pub(super) fn follow(&mut self, log: &dyn Log, trace: &mut Trace) -> Result<(), String> {
        let failed = |error: LogError| format!("the log cannot be read: {error}");
        let mut reader = None;
        let mut behind = Vec::new();
        for (name, spec) in log.topics().map_err(failed)? {
            for partition in 0..spec.partitions {
                let at = TopicPartition::new(name.as_str(), partition);
                let end = log.range(&at).map_err(failed)?.end.offset;
                let known = self.partitions.entry(at.clone()).or_default().len() as u64;
                if known > end {
                    return Err(format!("{at} ends at {end} and had {known} records"));
                }
                if known < end {
                    let reader = match &mut reader {
                        Some(reader) => reader,
                        none => none.insert(log.reader().map_err(failed)?),
                    };
                    reader.assign(&at, known).map_err(failed)?;
                    behind.push((at, end));
                }
            }
        }
        let Some(mut reader) = reader else { return Ok(()) };
        loop {
            let fetched = reader.poll(std::time::Duration::ZERO).map_err(failed)?;
            if fetched.is_empty() {
                break;
            }
            for fetched in fetched {
                for record in fetched.records() {
                    self.add(&fetched.partition, &record, trace)?;
                }
            }
        }
        for (at, end) in behind {
            let known = self.partitions[&at].len() as u64;
            if known != end {
                return Err(format!("{at} ends at {end}, and {known} records can be read"));
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        at: &TopicPartition,
        record: &RecordRef<'_>,
        trace: &mut Trace,
    ) -> Result<(), String> {
        let records = self.partitions.entry(at.clone()).or_default();
        if record.offset != records.len() as u64 {
            let known = records.len();
            return Err(format!("{at} gives offset {} after {known} records", record.offset));
        }
        let stored = Stored::of(record);
        trace.record(at, &stored);
        records.push(stored);
        Ok(())
    }

    /// The power has failed: what lies beyond the log's ends is gone.
    pub(super) fn cut(&mut self, log: &dyn Log) -> Result<(), LogError> {
        for (at, records) in &mut self.partitions {
            let end = log.range(at)?.end.offset;
            records.truncate(usize::try_from(end).unwrap_or(usize::MAX));
        }
        Ok(())
    }

    /// The records of a partition.
    pub(super) fn records(&self, at: &TopicPartition) -> &[Stored] {
        self.partitions.get(at).map_or(&[], Vec::as_slice)
    }

    /// The partitions of a topic with their records.
    pub(super) fn topic<'a>(
        &'a self,
        topic: &'a str,
    ) -> impl Iterator<Item = (&'a TopicPartition, &'a [Stored])> {
        let of_topic = self.partitions.iter().filter(move |(at, _)| *at.topic == *topic);
        of_topic.map(|(at, records)| (at, records.as_slice()))
    }

    /// All partitions with their records.
    pub(super) fn all(&self) -> impl Iterator<Item = (&TopicPartition, &Vec<Stored>)> {
        self.partitions.iter()
    }

    /// The last value of each key among the first `count` records of a partition.
    pub(super) fn fold(&self, at: &TopicPartition, count: u64) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut folded = BTreeMap::new();
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        for record in self.records(at).iter().take(count) {
            let Some(key) = &record.key else { continue };
            match &record.value {
                Some(value) => folded.insert(key.clone(), value.clone()),
                None => folded.remove(key),
            };
        }
        folded
    }
}
