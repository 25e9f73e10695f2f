//! Records for the sources of a simulated topology.

use super::dice::Dice;
use crate::format::EVENT_ID_HEADER;
use crate::log::partition_for;
use crate::log::record::put_header;

/// The event time around which the inputs of the built-in topologies lie, in milliseconds.
pub const BASE_MS: i64 = 1_600_000_000_000;

/// One record on its way to a source topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// A source topic, or the topic of a global table.
    pub topic: String,
    /// The key's bytes.
    pub key: Option<Vec<u8>>,
    /// The value's bytes.
    pub value: Option<Vec<u8>>,
    /// Event time, milliseconds since 1970-01-01 UTC.
    pub timestamp_ms: i64,
    /// The id that its sender gave it.
    pub event_id: Option<String>,
}

impl Input {
    /// A record with a text as its value.
    pub fn new(topic: &str, key: &str, value: &str, timestamp_ms: i64) -> Self {
        Self {
            topic: topic.to_owned(),
            key: Some(key.as_bytes().to_vec()),
            value: Some(value.as_bytes().to_vec()),
            timestamp_ms,
            event_id: None,
        }
    }

    /// Where it goes: its key decides; without one its time does.
    pub(super) fn partition(&self, partitions: u32) -> u32 {
        match &self.key {
            Some(key) => partition_for(key, partitions),
            None => u32::try_from(self.timestamp_ms.rem_euclid(partitions.into())).unwrap_or(0),
        }
    }

    /// Its headers, encoded.
    pub(super) fn headers(&self) -> Vec<u8> {
        let mut headers = Vec::new();
        if let Some(id) = &self.event_id {
            put_header(&mut headers, EVENT_ID_HEADER, id.as_bytes());
        }
        headers
    }
}

/// The records of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// Appended before anything runs: the rows of tables that do not change.
    pub first: Vec<Input>,
    /// Appended as the schedule says, in this order.
    pub rest: Vec<Input>,
    /// Appended when everything has come to rest and has stood still for longer than the idle
    /// timeout. Where sources that stand still are left out of the clocks, only the first of them:
    /// time must go on with that alone.
    pub last: Vec<Input>,
    /// Appended after those, to workers that have just begun: sources that were left behind go on
    /// where they stood.
    pub behind: Vec<Input>,
}

impl Inputs {
    /// All of them, appended as the schedule says.
    pub fn as_scheduled(rest: Vec<Input>) -> Self {
        Self { rest, ..Self::default() }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.first.len() + self.rest.len() + self.last.len() + self.behind.len()
    }
}

/// How far records lie apart and how much they are out of order, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// From one record to the next.
    pub step_ms: i64,
    /// Most records are off by up to this, in both directions.
    pub jitter_ms: i64,
    /// A few are early or late by up to this.
    pub outlier_ms: i64,
}

/// Makes `count` records one after the other; some come again, unchanged, a while later.
pub fn stream(
    dice: &mut Dice,
    (count, pace): (usize, Pace),
    mut make: impl FnMut(&mut Dice, i64) -> Input,
) -> Vec<Input> {
    let mut made: Vec<Input> = Vec::with_capacity(count);
    let mut now = BASE_MS + dice.between(0, 20_000);
    for _ in 0..count {
        now += dice.between(0, 2 * pace.step_ms);
        if !made.is_empty() && dice.chance(8) {
            let back = 1 + dice.below(made.len().min(12));
            made.push(made[made.len() - back].clone());
            continue;
        }
        let off = if dice.chance(4) {
            dice.between(-pace.outlier_ms, pace.outlier_ms / 8)
        } else {
            dice.between(-pace.jitter_ms, pace.jitter_ms)
        };
        let record = make(dice, now + off);
        made.push(record);
    }
    made
}
