//! A task's inputs: queues of fetched batches, and which record comes next.

use std::collections::VecDeque;
use std::time::Duration;

use super::heavy::{HeavyKeys, InputPlace};
use crate::log::{BatchCursor, Fetched, Position, RecordRef, TopicPartition};

/// The first record of an input, as far as the order rule looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Head {
    timestamp: i64,
    /// The input's place; inputs are sorted by topic.
    input: usize,
    offset: u64,
}

/// The order rule: of the inputs that have a record, the one with the lowest timestamp; ties by
/// topic, partition, offset. What is there depends on arrival; the choice among it does not.
pub(crate) fn next_input(heads: impl Iterator<Item = Head>) -> Option<usize> {
    heads.min().map(|head| head.input)
}

/// All inputs of a task.
pub(crate) struct Inputs {
    inputs: Vec<Input>,
    moved: bool,
}

struct Input {
    partition: TopicPartition,
    /// What to read next; everything before has been handled.
    position: Position,
    queue: VecDeque<(Fetched, BatchCursor)>,
    bytes: usize,
    /// The partition's end as far as known.
    end: u64,
    /// Offsets before this hold no record that is not queued.
    passed: u64,
    /// Records handled since the task was made.
    handled: u64,
    heavy: HeavyKeys,
    /// Something was fetched since the last tick.
    active: bool,
    /// When the input was seen to stand still at its end.
    still_since: Option<Duration>,
}

/// A record taken from an input, together with its batch.
pub(crate) struct Taken {
    pub(crate) partition: TopicPartition,
    fetched: Fetched,
    cursor: BatchCursor,
}

impl Taken {
    /// The record, and the place in its batch where the next one begins.
    pub(crate) fn record(&self) -> (RecordRef<'_>, BatchCursor) {
        self.cursor.read(&self.fetched.batch).expect("taken at a record")
    }

    /// When the log took the record in; 0 if it does not say.
    pub(crate) fn append_ms(&self) -> i64 {
        self.fetched.batch.append_time_ms()
    }
}

impl Inputs {
    pub(crate) fn new(partitions: Vec<TopicPartition>, starts: &[Position]) -> Self {
        let input = |(partition, position): (TopicPartition, &Position)| Input {
            partition,
            position: *position,
            queue: VecDeque::new(),
            bytes: 0,
            end: 0,
            passed: 0,
            handled: 0,
            heavy: HeavyKeys::default(),
            active: false,
            still_since: None,
        };
        Self { inputs: partitions.into_iter().zip(starts).map(input).collect(), moved: false }
    }

    pub(crate) fn accept(&mut self, fetched: Fetched) {
        let input = self.inputs.iter_mut().find(|input| input.partition == fetched.partition);
        let Some(input) = input else { return };
        let cursor = fetched.cursor();
        input.end = fetched.end;
        if cursor.peek(&fetched.batch).is_some() {
            input.active = true;
            input.bytes += fetched.batch.bytes();
            input.queue.push_back((fetched, cursor));
        } else {
            // The ends of transactions, or what compaction left: nothing to handle, but passed.
            input.passed = fetched.batch.last_offset() + 1;
            input.pass();
        }
    }

    pub(crate) fn has_work(&self) -> bool {
        self.inputs.iter().any(|input| !input.queue.is_empty())
    }

    /// Those with more than `bytes_max` queued, and those without.
    pub(crate) fn queued(&self, bytes_max: usize) -> (Vec<TopicPartition>, Vec<TopicPartition>) {
        let names = |full: bool| {
            let wanted = self.inputs.iter().filter(|input| (input.bytes > bytes_max) == full);
            wanted.map(|input| input.partition.clone()).collect()
        };
        (names(true), names(false))
    }

    /// The input whose record comes next.
    pub(crate) fn next(&self) -> Option<usize> {
        if let [input] = self.inputs.as_slice() {
            return (!input.queue.is_empty()).then_some(0);
        }
        let heads = self.inputs.iter().enumerate().filter_map(|(index, input)| {
            let (fetched, cursor) = input.queue.front()?;
            let record = cursor.peek(&fetched.batch)?;
            Some(Head { timestamp: record.timestamp, input: index, offset: record.offset })
        });
        next_input(heads)
    }

    /// Takes the batch at the front of `input`, which has one; [`Self::give_back`] puts it back
    /// behind its record.
    pub(crate) fn take(&mut self, input: usize) -> Taken {
        let input = &mut self.inputs[input];
        let (fetched, cursor) = input.queue.pop_front().expect("the order rule chose it");
        Taken { partition: fetched.partition.clone(), fetched, cursor }
    }

    /// The record at `offset` that was taken has been handled; the next one begins at `next`.
    pub(crate) fn give_back(
        &mut self,
        input: usize,
        Taken { fetched, .. }: Taken,
        (offset, next): (u64, BatchCursor),
    ) {
        let input = &mut self.inputs[input];
        input.position = Position::new(offset + 1, fetched.batch.epoch());
        input.handled += 1;
        self.moved = true;
        if next.peek(&fetched.batch).is_some() {
            input.queue.push_front((fetched, next));
        } else {
            // Compaction may have left a gap at the end of the batch: it has been read as well.
            input.position.offset = fetched.batch.last_offset() + 1;
            input.bytes -= fetched.batch.bytes();
            input.pass();
        }
    }

    /// Where each input goes on.
    pub(crate) fn position(&self, input: usize) -> Position {
        self.inputs[input].position
    }

    /// Where each input is.
    pub(crate) fn places(&self) -> impl Iterator<Item = InputPlace<'_>> {
        self.inputs.iter().map(|one| InputPlace {
            partition: &one.partition,
            position: one.position.offset,
            end: one.end,
            records: one.handled,
            heaviest: one.heavy.heaviest(),
        })
    }

    /// Takes note of the key of a record of `input`.
    pub(crate) fn weigh(&mut self, input: usize, offset: u64, key: Option<&[u8]>) {
        self.inputs[input].heavy.see(offset, key);
    }

    /// Whether a record was handled since the positions were last asked for.
    pub(crate) fn moved(&self) -> bool {
        self.moved
    }

    /// The positions to commit.
    pub(crate) fn positions(&mut self) -> Vec<(TopicPartition, Position)> {
        self.moved = false;
        let entry = |input: &Input| (input.partition.clone(), input.position);
        self.inputs.iter().map(entry).collect()
    }

    /// Notes which inputs stand still at their end.
    pub(crate) fn tick(&mut self, now: Duration) {
        for input in &mut self.inputs {
            let still =
                !input.active && input.queue.is_empty() && input.position.offset >= input.end;
            input.active = false;
            input.still_since = still.then(|| input.still_since.unwrap_or(now));
        }
    }

    /// For how long `input` has stood still at its end.
    pub(crate) fn idle_for(&self, input: usize, now: Duration) -> Option<Duration> {
        self.inputs[input].still_since.map(|since| now.saturating_sub(since))
    }
}

impl Input {
    /// Moves the position over offsets that hold no record, once everything before is handled.
    fn pass(&mut self) {
        if self.queue.is_empty() {
            self.position.offset = self.position.offset.max(self.passed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(timestamp: i64, input: usize, offset: u64) -> Head {
        Head { timestamp, input, offset }
    }

    #[test]
    fn the_lowest_timestamp_comes_first_and_ties_go_by_topic() {
        assert_eq!(next_input([head(5, 0, 1), head(3, 1, 9)].into_iter()), Some(1));
        assert_eq!(next_input([head(3, 1, 0), head(3, 0, 9)].into_iter()), Some(0));
        assert_eq!(next_input(std::iter::empty()), None);
    }
}
