//! Dealing with dead letters: sending them again, or saying that nothing is to be done.
//!
//! **Exactly once**: a mark and the record that is sent again are one commit, and whoever opens a
//! [`Handler`] fences the ones before it, then reads the marks. So nothing is sent twice, whoever
//! is interrupted where.

use std::collections::{BTreeMap, BTreeSet};

use super::DeadLetterError;
use super::letter::{DeadLetter, LetterId};
use super::marks::{self, LetterState, Marks};
use super::scan::{record_at, visit};
use crate::format::dead_letter as header;
use crate::log::record::put_header;
use crate::log::{BatchBuilder, Commit, Log, LogError, Outcome, TopicPartition, Writer};

/// Letters in one commit.
const LETTERS_MAX: usize = 500;
/// Bytes in one commit; one more letter may go beyond.
const BYTES_MAX: usize = 4 << 20;
/// Marks of letters that are gone, deleted in one commit.
const FORGOTTEN_MAX: usize = 1_000;

/// What was done with the letters that were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handled {
    /// Letters that were dealt with now.
    pub done: u64,
    /// Letters that had been dealt with before: nothing was done.
    pub before: u64,
    /// Letters that cannot be dealt with in this way, and why.
    pub refused: Vec<Refused>,
}

impl Handled {
    fn refuse(&mut self, id: LetterId, reason: String) {
        self.refused.push(Refused { id, reason });
    }
}

/// A letter that cannot be dealt with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The letter.
    pub id: LetterId,
    /// Why.
    pub reason: String,
}

/// Deals with the letters of one topic. The newest handler of a topic fences the ones before.
pub struct Handler<'a> {
    log: &'a dyn Log,
    topic: String,
    writer: Box<dyn Writer>,
    marks: Marks,
    headers: Vec<u8>,
}

/// A record, to be sent again.
struct Again {
    at: TopicPartition,
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<u8>,
}

impl<'a> Handler<'a> {
    /// Takes over the dead letters in `topic`.
    ///
    /// # Errors
    /// When there is no such topic, or the log is away.
    pub fn open(log: &'a dyn Log, topic: &str) -> Result<Self, DeadLetterError> {
        if !log.topics()?.contains_key(topic) {
            return Err(LogError::UnknownTopic(topic.to_owned()).into());
        }
        Marks::ensure(log, topic)?;
        // The writer comes first: what an older one has committed is then in the marks, and what
        // it has not, it cannot commit any more.
        let writer = log.writer(&format!("{topic}-handler"))?;
        let marks = Marks::read(log, topic)?;
        Ok(Self { log, topic: topic.to_owned(), writer, marks, headers: Vec::new() })
    }

    /// Sends the records of `letters` again: to the topic and partition that they were read from,
    /// with their key, value, timestamp and headers, and one header more
    /// ([`header::REPLAY`]). Each letter is sent once, ever.
    ///
    /// # Errors
    /// When the log does not take them; what was sent before stays sent and marked.
    pub fn replay(
        &mut self,
        letters: &[LetterId],
        now_ms: i64,
    ) -> Result<Handled, DeadLetterError> {
        self.handle(letters, LetterState::Replayed, now_ms)
    }

    /// Notes that nothing is to be done about `letters`.
    ///
    /// # Errors
    /// When the log does not take it; what was noted before stays noted.
    pub fn drop(&mut self, letters: &[LetterId], now_ms: i64) -> Result<Handled, DeadLetterError> {
        self.handle(letters, LetterState::Dropped, now_ms)
    }

    fn handle(
        &mut self,
        letters: &[LetterId],
        to: LetterState,
        now_ms: i64,
    ) -> Result<Handled, DeadLetterError> {
        let mut handled = Handled::default();
        let mut open: BTreeMap<u32, BTreeSet<u64>> = BTreeMap::new();
        for id in letters {
            let (partition, offset) = (id.at.partition, id.offset);
            if *id.at.topic != *self.topic {
                handled.refuse(id.clone(), format!("it does not lie in `{}`", self.topic));
            } else if self.marks.state(partition, offset) == LetterState::Open
                && open.entry(partition).or_default().insert(offset)
            {
                continue;
            } else {
                handled.before += 1;
            }
        }
        for (partition, mut offsets) in open {
            let at = TopicPartition::new(self.topic.as_str(), partition);
            while !offsets.is_empty() {
                let found = self.fetch(&at, &mut offsets, &mut handled)?;
                let step = self.step(&found, (to, now_ms), &mut handled)?;
                handled.done += self.commit(step, to)?;
            }
        }
        Ok(handled)
    }

    /// Reads the next letters of `offsets`, as many as one commit deals with, and takes them out;
    /// those that are not there are refused.
    fn fetch(
        &self,
        at: &TopicPartition,
        offsets: &mut BTreeSet<u64>,
        handled: &mut Handled,
    ) -> Result<Vec<DeadLetter>, LogError> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        let mut gone = |offset| {
            let id = LetterId { at: at.clone(), offset };
            handled.refuse(id, "it is gone by retention, or never was".to_owned());
        };
        let first = offsets.first().copied().unwrap_or_default();
        let mut full = false;
        let partitions = self.log.topics()?.get(&*at.topic).map_or(0, |spec| spec.partitions);
        if at.partition < partitions {
            visit(self.log, at, first, &mut |append_ms, record| {
                while let Some(before) = offsets.first().filter(|o| **o < record.offset).copied() {
                    offsets.remove(&before);
                    gone(before);
                }
                if offsets.remove(&record.offset) {
                    bytes += record.value.map_or(0, <[u8]>::len) + record.headers.as_bytes().len();
                    found.push(DeadLetter::read(at, append_ms, record));
                }
                full = found.len() == LETTERS_MAX || bytes > BYTES_MAX;
                !full && !offsets.is_empty()
            })?;
        }
        if !full {
            std::mem::take(offsets).into_iter().for_each(gone);
        }
        Ok(found)
    }

    /// What one commit does with `letters`.
    fn step(
        &mut self,
        letters: &[DeadLetter],
        (to, now_ms): (LetterState, i64),
        handled: &mut Handled,
    ) -> Result<Step, DeadLetterError> {
        let mut step = Step::default();
        for letter in letters {
            if to == LetterState::Replayed {
                match self.again(letter)? {
                    Ok(again) => step.push(&again),
                    Err(reason) => {
                        handled.refuse(letter.id.clone(), reason);
                        continue;
                    }
                }
            }
            let place = (letter.id.at.partition, letter.id.offset);
            marks::put(place, to, now_ms, &mut step.marks);
            step.ids.push(place);
        }
        Ok(step)
    }

    /// The record of a letter as it was read; a text says why it cannot be sent again.
    fn again(&mut self, letter: &DeadLetter) -> Result<Result<Again, String>, DeadLetterError> {
        let Some((at, offset)) = letter.record() else {
            let reason = "it never was a record of a topic: mend it and send it anew";
            return Ok(Err(reason.to_owned()));
        };
        match self.log.range(&at) {
            Ok(_) => {}
            Err(error @ (LogError::UnknownTopic(_) | LogError::UnknownPartition { .. })) => {
                return Ok(Err(error.to_string()));
            }
            Err(error) => return Err(error.into()),
        }
        let id = letter.id.to_string();
        let omitted: Vec<&str> = letter.omitted().collect();
        if omitted.is_empty() {
            let own = letter.own_headers().map(|(name, value)| (name.as_bytes(), value));
            let headers = with_replay(own, &id, &mut self.headers);
            let (key, value) = (letter.key.clone(), letter.value.clone());
            return Ok(Ok(Again { at, timestamp: letter.timestamp, key, value, headers }));
        }
        let headers = &mut self.headers;
        let original = record_at(self.log, &at, offset, &mut |_, record| Again {
            at: at.clone(),
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: with_replay(record.headers.iter(), &id, headers),
        })?;
        Ok(original.ok_or_else(|| {
            let omitted = omitted.join(", ");
            format!("its {omitted} was too large to be kept, and {at} does not have it any more")
        }))
    }

    /// Makes one step visible, or nothing of it; answers how many letters it was.
    fn commit(&mut self, step: Step, state: LetterState) -> Result<u64, DeadLetterError> {
        let Step { records, marks: mut batch, ids } = step;
        if ids.is_empty() {
            return Ok(0);
        }
        let partitions: BTreeSet<u32> = ids.iter().map(|(p, _)| *p).collect();
        for partition in partitions {
            let at = TopicPartition::new(self.topic.as_str(), partition);
            let start = self.log.range(&at)?.start;
            self.marks.forget_before((partition, start), FORGOTTEN_MAX, &mut batch);
        }
        let mut commit = Commit::default();
        commit.appends.extend(records);
        commit.appends.push((self.marks.partition().clone(), batch));
        let topic = self.topic.clone();
        match self.writer.commit(commit).wait() {
            Outcome::Committed { .. } => {
                for (partition, offset) in &ids {
                    self.marks.set(*partition, *offset, state);
                }
                Ok(ids.len() as u64)
            }
            Outcome::Aborted(reason) => Err(DeadLetterError::Aborted { topic, reason }),
            Outcome::Fenced(reason) => Err(DeadLetterError::Fenced { topic, reason }),
            Outcome::Unknown(reason) => Err(DeadLetterError::Indeterminate { topic, reason }),
        }
    }
}

/// What goes into one commit.
#[derive(Default)]
struct Step {
    records: BTreeMap<TopicPartition, BatchBuilder>,
    marks: BatchBuilder,
    ids: Vec<(u32, u64)>,
}

impl Step {
    fn push(&mut self, again: &Again) {
        let Again { at, timestamp, key, value, headers } = again;
        let batch = self.records.entry(at.clone()).or_default();
        batch.push(*timestamp, key.as_deref(), value.as_deref(), headers);
    }
}

/// `headers` with the one that says which dead letter this was, in place of an earlier one.
fn with_replay<'a>(
    headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    id: &str,
    out: &mut Vec<u8>,
) -> Vec<u8> {
    out.clear();
    for (name, value) in headers.filter(|(name, _)| *name != header::REPLAY.as_bytes()) {
        put_header(out, &String::from_utf8_lossy(name), value);
    }
    put_header(out, header::REPLAY, id.as_bytes());
    out.clone()
}
