//! One dead letter, read.

use std::fmt;
use std::str::FromStr;

use crate::format::dead_letter as header;
use crate::log::{RecordRef, TopicPartition};

/// Where a dead letter lies: its name for people and programs, as `fraud-dlq-0@17`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LetterId {
    /// The topic of dead letters, and the partition.
    pub at: TopicPartition,
    /// The offset there.
    pub offset: u64,
}

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.at, self.offset)
    }
}

/// A text that names no dead letter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the id of a dead letter such as `fraud-dlq-0@17`")]
pub struct LetterIdError(String);

impl FromStr for LetterId {
    type Err = LetterIdError;

    fn from_str(text: &str) -> Result<Self, LetterIdError> {
        let parts = || {
            let (at, offset) = text.rsplit_once('@')?;
            let (topic, partition) = at.rsplit_once('-')?;
            let at = TopicPartition::new(topic, partition.parse().ok()?);
            (!topic.is_empty()).then_some(Self { at, offset: offset.parse().ok()? })
        };
        parts().ok_or_else(|| LetterIdError(text.chars().take(300).collect()))
    }
}

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where it lies.
    pub id: LetterId,
    /// When it was set aside, by the log's wall clock, in milliseconds since 1970.
    pub set_aside_ms: i64,
    /// The record's timestamp, in milliseconds since 1970.
    pub timestamp: i64,
    /// The record's key.
    pub key: Option<Vec<u8>>,
    /// The record's value.
    pub value: Option<Vec<u8>>,
    /// All headers, in order: the record's own, and those that say what happened.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl DeadLetter {
    /// Reads a record of a topic of dead letters.
    pub(super) fn read(at: &TopicPartition, append_ms: i64, record: &RecordRef<'_>) -> Self {
        let own = number(record.headers.get(header::TIMESTAMP));
        let named = |(name, value): (&[u8], &[u8])| {
            (String::from_utf8_lossy(name).into_owned(), value.to_vec())
        };
        Self {
            id: LetterId { at: at.clone(), offset: record.offset },
            set_aside_ms: if append_ms > 0 { append_ms } else { record.timestamp },
            timestamp: own.unwrap_or(record.timestamp),
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record.headers.iter().map(named).collect(),
        }
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(found, _)| found == name)?;
        std::str::from_utf8(value).ok()
    }

    /// What is wrong with it, one word: [`crate::Defect::name`]; lines that sources could not read
    /// have `bad-line`.
    pub fn defect(&self) -> &str {
        self.header(header::EXCEPTION).unwrap_or("bad-line")
    }

    /// What is wrong with it, in words.
    pub fn message(&self) -> &str {
        self.header(header::MESSAGE).unwrap_or_default()
    }

    /// The node that could not handle it; empty if it never came so far.
    pub fn node(&self) -> &str {
        self.header(header::NODE).unwrap_or_default()
    }

    /// The topic that it was read from, or the file or peer.
    pub fn topic(&self) -> &str {
        self.header(header::TOPIC).unwrap_or_default()
    }

    /// The record that it was, if it was one: its partition and offset.
    pub fn record(&self) -> Option<(TopicPartition, u64)> {
        let number = |name| self.header(name)?.parse::<u64>().ok();
        let partition = u32::try_from(number(header::PARTITION)?).ok()?;
        Some((TopicPartition::new(self.topic(), partition), number(header::OFFSET)?))
    }

    /// The parts of the record that it does not have: they were too large.
    pub fn omitted(&self) -> impl Iterator<Item = &str> {
        self.header(header::OMITTED).unwrap_or_default().split(',').filter(|part| !part.is_empty())
    }

    /// The headers that the record itself had.
    pub fn own_headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let own = self.headers.iter().filter(|(name, _)| !header::is_error_header(name.as_bytes()));
        own.map(|(name, value)| (name.as_str(), value.as_slice()))
    }
}

fn number(text: Option<&[u8]>) -> Option<i64> {
    std::str::from_utf8(text?).ok()?.parse().ok()
}
