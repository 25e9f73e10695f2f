//! What ingest is told: by the configuration, and by each request.

use std::collections::BTreeMap;

use crate::fields::FieldPath;
use crate::parser::Format;

/// Limits, and the topics that take records. At most `requests_max * body_bytes_max` bytes of
/// bodies are in memory; their records take about twice that, and `lines_max` times the headers.
#[derive(Clone, Debug)]
pub struct IngestSettings {
    /// The topics that take records. Others do not, whether the log has them or not: the log holds
    /// state that nobody may write from outside.
    pub topics: BTreeMap<String, TopicSettings>,
    /// The largest body, in bytes.
    pub body_bytes_max: usize,
    /// The longest time that a body may take to arrive, in milliseconds.
    pub body_read_ms_max: u64,
    /// The longest line of a body of many, in bytes.
    pub line_bytes_max: usize,
    /// How many lines a body may have: each costs its headers, however short it is.
    pub lines_max: usize,
    /// How many requests may be under way at once.
    pub requests_max: usize,
    /// How many records are taken in a second, on average; 0 is no limit.
    pub records_per_second_max: u32,
}

impl Default for IngestSettings {
    fn default() -> Self {
        Self {
            topics: BTreeMap::new(),
            body_bytes_max: 8 << 20,
            body_read_ms_max: 30_000,
            line_bytes_max: 1 << 20,
            lines_max: 100_000,
            requests_max: 16,
            records_per_second_max: 0,
        }
    }
}

/// What holds for the JSON records of a topic, unless a request says otherwise.
#[derive(Clone, Debug, Default)]
pub struct TopicSettings {
    /// Where the key stands.
    pub key_field: Option<FieldPath>,
    /// Where the event time stands.
    pub timestamp_field: Option<FieldPath>,
}

/// Whether a body is one record or many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The body is one record.
    Record,
    /// Each line of the body is a record.
    Lines,
}

/// What happens to a line that is not of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBadLine {
    /// The whole body is refused.
    Refuse,
    /// The line goes, unchanged, to the dead letters of the topic; the other lines are appended.
    DeadLetter,
}

/// What one request asks for.
#[derive(Clone, Debug)]
pub struct Options {
    /// What a line is.
    pub format: Format,
    /// Whether there are many.
    pub shape: Shape,
    /// The key of every record, in place of any other.
    pub key: Option<Vec<u8>>,
    /// Where the key of a JSON record stands, in place of the topic's.
    pub key_field: Option<FieldPath>,
    /// The event time of every record, in place of any other.
    pub timestamp_ms: Option<i64>,
    /// Where the event time of a JSON record stands, in place of the topic's.
    pub timestamp_field: Option<FieldPath>,
    /// When the lines were written at the latest, for syslog without a year; otherwise now.
    pub reference_ms: Option<i64>,
    /// The event's id; with many lines, `:<line>` is put behind it.
    pub event_id: Option<String>,
    /// What happens to bad lines.
    pub on_bad_line: OnBadLine,
    /// The key of records that have none.
    pub else_key: Option<Vec<u8>>,
    /// The event time of records that have none.
    pub else_timestamp_ms: Option<i64>,
    /// Further headers of every record, encoded by [`pipeline::log::record::put_header`].
    pub headers: Vec<u8>,
}

impl Options {
    /// Lines of `format`, keyed and timed as the topic says; a bad line refuses them all.
    pub fn lines(format: Format) -> Self {
        Self {
            format,
            shape: Shape::Lines,
            key: None,
            key_field: None,
            timestamp_ms: None,
            timestamp_field: None,
            reference_ms: None,
            event_id: None,
            on_bad_line: OnBadLine::Refuse,
            else_key: None,
            else_timestamp_ms: None,
            headers: Vec::new(),
        }
    }
}
