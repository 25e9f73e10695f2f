//! Readers: consumers that are told what to read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer as _;
use rdkafka::types::RDKafkaErrorCode;

use super::super::{Fetched, LogError, Reader, TopicPartition};
use super::ffi::Feed;
use super::gather::{News, Place, gather};
use super::shared::{Shared, number, offset, unavailable};

/// A reader outside any group.
pub(super) struct KafkaReader {
    shared: Arc<Shared>,
    /// Always there until the reader is dropped.
    feed: Option<Feed>,
    places: BTreeMap<TopicPartition, Place>,
    /// Partitions that cannot be read on: they are told at each poll.
    stuck: BTreeMap<TopicPartition, String>,
}

impl KafkaReader {
    pub(super) fn new(shared: Arc<Shared>) -> Result<Self, LogError> {
        let feed = Some(shared.take_reader()?);
        Ok(Self { shared, feed, places: BTreeMap::new(), stuck: BTreeMap::new() })
    }

    fn feed(&self) -> &Feed {
        self.feed.as_ref().expect("it is given back only when the reader is dropped")
    }

    fn remove(&mut self, at: &TopicPartition) {
        self.stuck.remove(at);
        if self.places.remove(at).is_some() {
            let mut list = TopicPartitionList::new();
            list.add_partition(&at.topic, number(at));
            if let Err(error) = self.feed().consumer().incremental_unassign(&list) {
                tracing::debug!(%error, partition = %at, "cannot stop reading");
            }
        }
    }
}

impl Reader for KafkaReader {
    fn assign(&mut self, partition: &TopicPartition, from: u64) -> Result<(), LogError> {
        self.shared.check(partition)?;
        self.remove(partition);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&partition.topic, number(partition), offset(from))
            .and_then(|()| self.feed().consumer().incremental_assign(&list))
            .map_err(|error| unavailable("read a partition", &error))?;
        self.places.insert(partition.clone(), Place { next: from, epoch: 0 });
        Ok(())
    }

    fn unassign(&mut self, partition: &TopicPartition) {
        self.remove(partition);
    }

    fn poll(&mut self, wait: Duration) -> Result<Vec<Fetched>, LogError> {
        if let Some(at) = self.stuck.keys().next().cloned() {
            return Err(stuck(&self.shared, &at, self.places.get(&at), &self.stuck[&at]));
        }
        let feed = self.feed.as_ref().expect("it is given back only when the reader is dropped");
        let mut gathered = gather(feed, wait);
        for news in std::mem::take(&mut gathered.news) {
            match news {
                News::Stuck(at, code, reason) if is_lost(code) => {
                    if self.places.contains_key(&at) {
                        self.stuck.insert(at, reason);
                    }
                }
                News::Stuck(_, _, reason) | News::Trouble(_, reason) => {
                    tracing::debug!(reason, "a reader's client is in trouble");
                }
                News::Fatal(_, reason) => {
                    return Err(LogError::Unavailable(format!("kafka: a reader failed: {reason}")));
                }
                // A reader is in no group.
                News::Assign(_) | News::Revoke(_) => {}
            }
        }
        let places = &mut self.places;
        let fetched = gathered.into_fetched(feed, |at| places.get(at).copied());
        for fetched in &fetched {
            let epoch = fetched.batch.epoch();
            let next = fetched.batch.last_offset() + 1;
            places.insert(fetched.partition.clone(), Place { next, epoch });
            self.shared.note_epoch(&fetched.partition, epoch);
        }
        if !fetched.is_empty() {
            self.shared.contact.answered();
        }
        Ok(fetched)
    }

    fn position(&self, partition: &TopicPartition) -> Option<u64> {
        self.places.get(partition).map(|place| place.next)
    }
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        if let Some(feed) = self.feed.take()
            && feed.consumer().unassign().is_ok()
        {
            self.shared.give_reader(feed);
        }
    }
}

/// Whether records that were to be read are gone.
pub(super) fn is_lost(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::AutoOffsetReset
            | RDKafkaErrorCode::OffsetOutOfRange
            | RDKafkaErrorCode::LogTruncation
            | RDKafkaErrorCode::NoOffset
    )
}

/// The error of a partition that cannot be read on.
pub(super) fn stuck(
    shared: &Shared,
    at: &TopicPartition,
    place: Option<&Place>,
    reason: &str,
) -> LogError {
    let offset = place.map(|place| place.next).unwrap_or_default();
    match shared.range(at) {
        Ok(range) if offset < range.start || reason.contains("out of range") => {
            LogError::OutOfRange { partition: at.to_string(), offset, start: range.start }
        }
        Ok(_) => LogError::Unavailable(format!("kafka: cannot read {at} at {offset}: {reason}")),
        Err(error) => error,
    }
}
