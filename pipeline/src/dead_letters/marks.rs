//! Which dead letters have been dealt with. **Format**, version 1.
//!
//! The topic is `<dead letters>-marks`, compacted, with one partition. Its keys are
//! `<partition>@<offset>` of the dead letter; its values are JSON:
//! `{"version":1,"state":"replayed","at_ms":1700000000000}`, or `"dropped"`. A mark whose letter is
//! gone is deleted with the next commit.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::scan::visit;
use crate::log::{BatchBuilder, Cleanup, Log, LogError, TopicPartition, TopicSpec};

const VERSION: u8 = 1;

/// What has become of a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LetterState {
    /// Nobody has dealt with it.
    Open,
    /// It was sent again.
    Replayed,
    /// Somebody has said that nothing is to be done.
    Dropped,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u8,
    state: LetterState,
    at_ms: i64,
}

/// The marks of one topic of dead letters.
#[derive(Clone, Debug)]
pub(super) struct Marks {
    at: TopicPartition,
    states: BTreeMap<(u32, u64), LetterState>,
}

impl Marks {
    /// Reads the marks of the dead letters in `topic`; there are none if nobody made any.
    pub(super) fn read(log: &dyn Log, topic: &str) -> Result<Self, LogError> {
        let mut marks =
            Self { at: TopicPartition::new(marks_topic(topic), 0), states: BTreeMap::new() };
        if !log.topics()?.contains_key(&*marks.at.topic) {
            return Ok(marks);
        }
        let Self { at, states } = &mut marks;
        visit(log, at, 0, &mut |_, record| {
            if let Some(place) = record.key.and_then(parse_key) {
                match record.value.and_then(|value| serde_json::from_slice::<Stored>(value).ok()) {
                    Some(stored) => states.insert(place, stored.state),
                    None => states.remove(&place),
                };
            }
            true
        })?;
        Ok(marks)
    }

    /// Makes the topic of the marks, if it is not there.
    pub(super) fn ensure(log: &dyn Log, topic: &str) -> Result<(), LogError> {
        let name = marks_topic(topic);
        if log.topics()?.contains_key(&name) {
            return Ok(());
        }
        log.create_topic(&TopicSpec { name, partitions: 1, cleanup: Cleanup::Compact })
    }

    /// The partition that they lie in.
    pub(super) fn partition(&self) -> &TopicPartition {
        &self.at
    }

    pub(super) fn state(&self, partition: u32, offset: u64) -> LetterState {
        self.states.get(&(partition, offset)).copied().unwrap_or(LetterState::Open)
    }

    /// Notes what a commit has made known.
    pub(super) fn set(&mut self, partition: u32, offset: u64, state: LetterState) {
        self.states.insert((partition, offset), state);
    }

    /// Writes into `batch` that the letters before `start` of `partition` are gone, at most `most`
    /// of them, and forgets them.
    pub(super) fn forget_before(
        &mut self,
        (partition, start): (u32, u64),
        most: usize,
        batch: &mut BatchBuilder,
    ) {
        let gone = self.states.range((partition, 0)..(partition, start)).take(most);
        let gone: Vec<_> = gone.map(|(place, _)| *place).collect();
        for place in gone {
            batch.push(0, Some(key(place).as_bytes()), None, &[]);
            self.states.remove(&place);
        }
    }
}

/// Appends a mark to `batch`.
pub(super) fn put(place: (u32, u64), state: LetterState, at_ms: i64, batch: &mut BatchBuilder) {
    let stored = Stored { version: VERSION, state, at_ms };
    let value = serde_json::to_vec(&stored).expect("numbers and words have a JSON form");
    batch.push(at_ms.max(0), Some(key(place).as_bytes()), Some(&value), &[]);
}

fn marks_topic(topic: &str) -> String {
    format!("{topic}-marks")
}

fn key((partition, offset): (u32, u64)) -> String {
    format!("{partition}@{offset}")
}

fn parse_key(key: &[u8]) -> Option<(u32, u64)> {
    let (partition, offset) = std::str::from_utf8(key).ok()?.split_once('@')?;
    Some((partition.parse().ok()?, offset.parse().ok()?))
}
