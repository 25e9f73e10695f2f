//! Offsets and epochs as the brokers know them: ranges, validity, committed offsets.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use super::super::{LogError, Position, Range, TopicPartition, Validity};
use super::ffi::{Feed, Polled, leader_epochs, set_leader_epochs};
use super::shared::{Shared, locked, number, offset};

/// How long one look at a feed waits.
const WAIT: Duration = Duration::from_millis(20);

impl Shared {
    /// What can be read of a partition. The end is that of all records, committed or not: whoever
    /// has read up to it has read everything that was committed before the question.
    pub(super) fn range(&self, at: &TopicPartition) -> Result<Range, LogError> {
        self.check(at)?;
        let start = self.edge(at, Offset::Beginning)?;
        let end = self.edge(at, Offset::End)?;
        Ok(Range { start: start.offset, end })
    }

    fn edge(&self, at: &TopicPartition, edge: Offset) -> Result<Position, LogError> {
        let found = self.edges(std::slice::from_ref(at), edge)?;
        Ok(found.first().copied().unwrap_or_default())
    }

    /// The beginning or the end of each partition, in their order.
    fn edges(
        &self,
        partitions: &[TopicPartition],
        edge: Offset,
    ) -> Result<Vec<Position>, LogError> {
        let observer = Arc::clone(locked(&self.observer).consumer());
        let mut wanted = TopicPartitionList::with_capacity(partitions.len());
        for at in partitions {
            let added = wanted.add_partition_offset(&at.topic, number(at), edge);
            added.map_err(|error| self.failed("ask for offsets", &error))?;
        }
        // A leader that has just changed is found at the next attempt.
        let found = self.until(|| {
            match observer.offsets_for_times(wanted.clone(), self.settings.request_timeout) {
                Ok(found) => Ok(Some(found)),
                Err(error) if is_passing(&error) => Ok(None),
                Err(error) => Err(self.failed("ask for offsets", &error)),
            }
        })?;
        let Some(found) = found else {
            let reason = "kafka: no leader answers for offsets".to_owned();
            return Err(LogError::Unavailable(reason));
        };
        self.contact.answered();
        let epochs = leader_epochs(&found);
        let elements = found.elements();
        let mut positions = Vec::with_capacity(partitions.len());
        for ((at, element), epoch) in partitions.iter().zip(&elements).zip(epochs) {
            let epoch = epoch.unwrap_or_default();
            if edge == Offset::End {
                self.note_epoch(at, epoch);
            }
            let offset = element.offset().to_raw().and_then(|raw| u64::try_from(raw).ok());
            positions.push(Position::new(offset.unwrap_or_default(), epoch));
        }
        Ok(positions)
    }

    /// The leader epochs of these partitions, not older than a few seconds where that can be had.
    pub(super) fn epochs_of(&self, partitions: &[TopicPartition]) -> Vec<u32> {
        let known = self.known_epochs(partitions);
        if known.iter().any(|(_, fresh)| !fresh)
            && let Err(error) = self.edges(partitions, Offset::End)
        {
            // An older epoch is on the safe side: it may mean a needless rebuild.
            tracing::debug!(%error, "cannot learn leader epochs");
        }
        let known = self.known_epochs(partitions);
        known.into_iter().map(|(epoch, _)| epoch.unwrap_or_default()).collect()
    }

    /// Whether a follower may go on from `position`.
    pub(super) fn validate(
        &self,
        at: &TopicPartition,
        position: Position,
    ) -> Result<Validity, LogError> {
        let Range { start, end } = self.range(at)?;
        if position.offset < start {
            return Ok(Validity::Expired { start });
        }
        if position.offset > end.offset || position.epoch > end.epoch {
            let epoch_end = if position.epoch > end.epoch { 0 } else { end.offset };
            return Ok(Validity::Truncated { epoch_end });
        }
        if position.offset == 0 || position.epoch == end.epoch {
            return Ok(Validity::Valid);
        }
        self.validate_epoch(at, position)
    }

    /// Asks the leader where the position's epoch ends. Only a seek does that in librdkafka.
    fn validate_epoch(
        &self,
        at: &TopicPartition,
        position: Position,
    ) -> Result<Validity, LogError> {
        let feed = locked(&self.observer);
        let failed = |error: &KafkaError| self.failed("validate a position", error);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&at.topic, number(at), offset(position.offset))
            .map_err(|error| failed(&error))?;
        feed.consumer().incremental_assign(&list).map_err(|error| failed(&error))?;
        set_leader_epochs(&mut list, &[position.epoch]);
        let answer = self.seek(&feed, &list).and_then(|()| {
            let heard = self.until(|| Ok(judged(&feed, at)))?;
            heard.ok_or_else(|| LogError::Unavailable(format!("kafka: no answer about {at}")))
        });
        feed.consumer().incremental_unassign(&list).map_err(|error| failed(&error))?;
        answer
    }

    /// Moves what `feed` reads, once it has begun to read.
    pub(super) fn seek(&self, feed: &Feed, list: &TopicPartitionList) -> Result<(), LogError> {
        let moved = self.until(|| {
            let wait = self.settings.request_timeout;
            let sought = feed.consumer().seek_partitions(list.clone(), wait);
            let sought = sought.map_err(|error| self.failed("seek", &error))?;
            let elements = sought.elements();
            let errors: Vec<_> = elements.iter().filter_map(|e| e.error().err()).collect();
            match errors.first() {
                None => Ok(Some(())),
                // The fetcher of a new assignment has not started yet.
                Some(error)
                    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::State)
                        || is_passing(error) =>
                {
                    Ok(None)
                }
                Some(error) => Err(self.failed("seek", error)),
            }
        })?;
        moved.ok_or_else(|| LogError::Unavailable("kafka: cannot seek: no fetcher".to_owned()))
    }

    /// What `group` has committed, in the order of `partitions`.
    pub(super) fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<Position>>, LogError> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let consumer = self.of_group(group)?;
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for at in partitions {
            list.add_partition(&at.topic, number(at));
        }
        let found = self.until(|| {
            match consumer.committed_offsets(list.clone(), self.settings.request_timeout) {
                Ok(found) => Ok(Some(found)),
                Err(error) if is_passing(&error) => Ok(None),
                Err(error) => Err(self.failed("ask for committed offsets", &error)),
            }
        })?;
        let Some(found) = found else {
            let reason = format!("kafka: no coordinator answers for group `{group}`");
            return Err(LogError::Unavailable(reason));
        };
        self.contact.answered();
        let epochs = leader_epochs(&found);
        let elements = found.elements();
        let position = |(index, at): (usize, &TopicPartition)| {
            let raw = elements.get(index)?.offset().to_raw()?;
            let offset = u64::try_from(raw).ok()?;
            // Offsets that another tool has set have no epoch: today's does.
            let epoch = epochs.get(index).copied().flatten();
            let epoch = epoch.or_else(|| self.epochs_of(std::slice::from_ref(at)).first().copied());
            Some(Position::new(offset, epoch.unwrap_or_default()))
        };
        Ok(partitions.iter().enumerate().map(position).collect())
    }
}

/// What the feed says of a position that was sought with its epoch.
fn judged(feed: &Feed, at: &TopicPartition) -> Option<Validity> {
    let mut validity = None;
    feed.poll(WAIT, &mut |polled| match polled {
        Polled::Record(record)
            if (record.topic, record.partition) == (&*at.topic, at.partition) =>
        {
            validity = Some(Validity::Valid);
        }
        Polled::End { topic, partition, .. }
            if (topic, partition) == (&*at.topic, at.partition) =>
        {
            validity = Some(Validity::Valid);
        }
        Polled::Failed {
            at: Some((topic, partition)),
            code: RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::LogTruncation,
            reason,
            ..
        } if (topic, partition) == (&*at.topic, at.partition) => {
            validity = Some(Validity::Truncated { epoch_end: told_end(&reason) });
        }
        _ => {}
    });
    validity
}

/// librdkafka tells where the epoch ends in the text of the error only.
fn told_end(reason: &str) -> u64 {
    let number = reason.split("broker end offset is ").nth(1);
    let digits = number.map(|text| text.split(|c: char| !c.is_ascii_digit()).next());
    digits.flatten().and_then(|digits| digits.parse().ok()).unwrap_or_default()
}

/// Whether asking again helps.
pub(super) fn is_passing(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::NotCoordinator
                | RDKafkaErrorCode::CoordinatorNotAvailable
                | RDKafkaErrorCode::CoordinatorLoadInProgress
                | RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::UnstableOffsetCommit
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::FencedLeaderEpoch
                | RDKafkaErrorCode::UnknownLeaderEpoch
                | RDKafkaErrorCode::WaitingForCoordinator
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_an_epoch_is_read_from_the_text() {
        let text = "Partition log truncation detected at offset 9 (leader epoch 0): broker end \
                    offset is 42 (offset leader epoch 0). Reset to INVALID.";
        assert_eq!(told_end(text), 42);
        assert_eq!(told_end("No epoch found less or equal to x"), 0);
    }
}
