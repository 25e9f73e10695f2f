//! From what a consumer hears to batches: one batch for each partition, with one epoch each.

use std::time::Duration;

use rdkafka::types::RDKafkaErrorCode;

use super::super::batch::RecordParts;
use super::super::record::{put_header, put_signed, take_signed};
use super::super::{Batch, BatchBuilder, Fetched, Headers, TopicPartition};
use super::ffi::{Feed, Polled, Record};

/// What one poll takes at most.
const RECORDS_MAX: u32 = 10_000;
const BYTES_MAX: usize = 2 << 20;

/// Carries a timestamp that Kafka has no room for.
const TIMESTAMP_HEADER: &str = "millpond.timestamp";

/// The timestamp that is written, and the header that carries the real one where that is needed.
///
/// librdkafka takes zero for "now", and Kafka nothing below. So 1 is written for zero, which all
/// changelogs have, and 1 with a header for what is below, and for 1 itself.
pub(super) fn to_kafka_timestamp(timestamp: i64) -> (i64, Option<(&'static str, Vec<u8>)>) {
    match timestamp {
        0 => return (1, None),
        2.. => return (timestamp, None),
        _ => {}
    }
    let mut real = Vec::with_capacity(10);
    put_signed(&mut real, timestamp);
    (1, Some((TIMESTAMP_HEADER, real)))
}

/// What was heard in one poll.
#[derive(Default)]
pub(super) struct Gathered {
    parts: Vec<Part>,
    headers: Vec<u8>,
    records: u32,
    bytes: usize,
    /// What else was heard, in order.
    pub(super) news: Vec<News>,
}

/// What a poll hears besides records.
pub(super) enum News {
    Assign(Vec<(String, u32)>),
    Revoke(Vec<(String, u32)>),
    /// One partition cannot be read on.
    Stuck(TopicPartition, RDKafkaErrorCode, String),
    /// The client is of no use any more.
    Fatal(RDKafkaErrorCode, String),
    /// No broker is in reach, or some such: the client goes on by itself.
    Trouble(RDKafkaErrorCode, String),
}

/// Records of one partition and epoch.
struct Part {
    at: TopicPartition,
    builder: BatchBuilder,
    base: u64,
    epoch: u32,
    /// The next offset after what was read.
    reached: u64,
    /// It was read to its end.
    ended: bool,
}

/// Polls `feed` until there is nothing more, or enough, or other news.
pub(super) fn gather(feed: &Feed, wait: Duration) -> Gathered {
    let mut gathered = Gathered::default();
    let mut wait = wait;
    while gathered.records < RECORDS_MAX && gathered.bytes < BYTES_MAX {
        let more = feed.poll(wait, &mut |polled| gathered.hear(polled));
        if !more || !gathered.news.is_empty() {
            break;
        }
        wait = Duration::ZERO;
    }
    gathered
}

impl Gathered {
    fn hear(&mut self, polled: Polled<'_>) {
        match polled {
            Polled::Record(record) => self.take(&record),
            Polled::End { topic, partition, next } => self.end(topic, partition, next),
            Polled::Assign(partitions) => self.news.push(News::Assign(partitions)),
            Polled::Revoke(partitions) => self.news.push(News::Revoke(partitions)),
            Polled::Failed { code, reason, fatal: true, .. } => {
                self.news.push(News::Fatal(code, reason));
            }
            Polled::Failed { at: Some((topic, partition)), code, reason, .. } => {
                self.news.push(News::Stuck(TopicPartition::new(topic, partition), code, reason));
            }
            Polled::Failed { code, reason, .. } => self.news.push(News::Trouble(code, reason)),
        }
    }

    fn take(&mut self, record: &Record<'_>) {
        self.headers.clear();
        record.put_headers(&mut self.headers);
        let timestamp = real_timestamp(record.timestamp, &mut self.headers);
        let epoch = u32::try_from(record.epoch).unwrap_or_default();
        let index = self.part(record, epoch);
        let part = &mut self.parts[index];
        let before = part.builder.bytes();
        let delta = u32::try_from(record.offset - part.base);
        let delta = delta.expect("a part begins anew before its offsets leave its range");
        let (key, value) = (record.key, record.value);
        let headers = &self.headers;
        part.builder.push_at(delta, RecordParts { timestamp, key, value, headers });
        part.reached = record.offset + 1;
        self.bytes += part.builder.bytes() - before;
        self.records += 1;
    }

    /// The part that the record goes to: the last one of its partition, if it has its epoch.
    fn part(&mut self, record: &Record<'_>, epoch: u32) -> usize {
        let last = self.last_of(record.topic, record.partition);
        let fits = |part: &Part| {
            let near = record.offset.checked_sub(part.base).is_some_and(|d| d < u32::MAX.into());
            part.epoch == epoch && near && record.offset >= part.reached
        };
        if let Some(index) = last.filter(|index| fits(&self.parts[*index])) {
            return index;
        }
        let at = match last {
            Some(index) => self.parts[index].at.clone(),
            None => TopicPartition::new(record.topic, record.partition),
        };
        let base = record.offset;
        self.add(Part {
            at,
            builder: BatchBuilder::new(),
            base,
            epoch,
            reached: base,
            ended: false,
        })
    }

    fn add(&mut self, part: Part) -> usize {
        self.parts.push(part);
        self.parts.len() - 1
    }

    fn last_of(&self, topic: &str, partition: u32) -> Option<usize> {
        let is_its = |part: &Part| part.at.partition == partition && *part.at.topic == *topic;
        self.parts.iter().rposition(is_its)
    }

    fn end(&mut self, topic: &str, partition: u32, next: u64) {
        let index = self.last_of(topic, partition).unwrap_or_else(|| {
            let at = TopicPartition::new(topic, partition);
            let builder = BatchBuilder::new();
            self.add(Part { at, builder, base: next, epoch: 0, reached: next, ended: true })
        });
        let part = &mut self.parts[index];
        part.reached = part.reached.max(next);
        part.ended = true;
    }

    /// The batches, in the order in which their partitions were heard of first.
    ///
    /// `next_of` knows where each partition was; `None` leaves its records out. A partition that
    /// was read to its end without a record is told by an empty batch, if that moves it.
    pub(super) fn into_fetched(
        self,
        feed: &Feed,
        mut next_of: impl FnMut(&TopicPartition) -> Option<Place>,
    ) -> Vec<Fetched> {
        let mut all = Vec::with_capacity(self.parts.len());
        for part in self.parts {
            let Some(place) = next_of(&part.at) else { continue };
            if part.reached <= place.next {
                continue;
            }
            let end = match part.ended {
                true => part.reached,
                false => feed.cached_end(&part.at.topic, part.at.partition).unwrap_or_default(),
            };
            let end = end.max(part.reached);
            let (base, epoch) = match part.builder.is_empty() {
                true => (place.next, place.epoch),
                false => (part.base, part.epoch),
            };
            let batch: Batch = part.builder.into_batch(base, epoch).reaching(part.reached - 1);
            all.push(Fetched { partition: part.at, batch, from: place.next, end });
        }
        all
    }
}

/// Where a consumer is in one partition.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    /// What comes next.
    pub(super) next: u64,
    /// The epoch of what was read last.
    pub(super) epoch: u32,
}

/// Undoes [`to_kafka_timestamp`].
fn real_timestamp(timestamp: i64, headers: &mut Vec<u8>) -> i64 {
    if timestamp > 1 {
        return timestamp;
    }
    if headers.is_empty() {
        return 0;
    }
    let mut real = None;
    let mut others = Vec::new();
    for (name, value) in Headers::new(headers).iter() {
        if name == TIMESTAMP_HEADER.as_bytes() {
            real = take_signed(&mut &*value);
        } else {
            put_header(&mut others, &String::from_utf8_lossy(name), value);
        }
    }
    match real {
        Some(real) => {
            *headers = others;
            real
        }
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_that_kafka_has_no_room_for_come_back() {
        for timestamp in [i64::MIN, -1, 0, 1, 2, 1_700_000_000_000] {
            let (written, carried) = to_kafka_timestamp(timestamp);
            assert!(written > 0);
            let mut headers = Vec::new();
            put_header(&mut headers, "own", b"1");
            if let Some((name, value)) = carried {
                put_header(&mut headers, name, &value);
            }
            assert_eq!(real_timestamp(written, &mut headers), timestamp);
            assert_eq!(Headers::new(&headers).iter().count(), 1, "ours is taken away");
        }
    }
}
