//! Ingest: a body of lines into one commit, all or nothing.
//!
//! ```text
//! router (http) ┐
//!               ├> Ingest::prepare -> Ingest::start -> Receipt
//! command line  ┘   parse, place      enqueue          await or wait
//! ```
//! The core knows no HTTP: the command line uses it when no process runs. It does not deduplicate:
//! a repeated request appends again, with the same event ids, and `dedup` in a topology drops it.

mod cloudevents;
mod http;
mod limits;
mod problem;
mod request;
mod settings;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pipeline::clock::Clock;
use pipeline::fail_point::{self, FailPoint};
use pipeline::log::record::put_header;
use pipeline::log::{Commit, Log, LogError, Outcome};
use pipeline::position::{SourcePosition, Token};

pub use http::router;
pub use settings::{IngestSettings, OnBadLine, Options, Shape, TopicSettings};

use crate::EVENT_ID_HEADER;
use crate::counters::{Count, Counters, SourceCounters};
use crate::destination::{DeadLetter, Gathered, Place};
use crate::parser::{
    Arrival, LineError, Parsed, ParsedRecord, Parser, ParserSettings, Skipped, lines,
};
use crate::syslog::Year;
use crate::writer::{SharedWriter, Underway};

/// How many bad lines an error shows.
pub const BAD_LINES_SHOWN_MAX: usize = 10;

/// Appends bodies of lines to topics.
pub struct Ingest {
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    settings: IngestSettings,
    counters: Arc<SourceCounters>,
    writer: SharedWriter,
    /// Topics never change their partitions, so what was found stays.
    places: Mutex<BTreeMap<String, Place>>,
    turn: AtomicU32,
}

/// What a request has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// How many records were appended.
    pub records: u64,
    /// How many lines went to the dead letters.
    pub dead_letters: u64,
    /// How many lines were blank or remarks of `journalctl`.
    pub skipped: u64,
    /// Where the records ended; dead letters are not part of it.
    pub token: Token,
    /// For syslog: the year to pass with the lines that follow these.
    pub year: Option<Year>,
}

/// A line that is not of the format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Its number in the body, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: LineError,
}

/// Why nothing, or perhaps nothing, was appended.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The topic is not one of those configured for ingest.
    #[error("topic `{0}` takes no records here; topics are made by the configuration")]
    UnknownTopic(String),
    /// The body has more lines than the limit. Nothing was appended.
    #[error("the body has more than {0} lines (`lines_max`); send it in parts")]
    TooManyLines(usize),
    /// At least one line is not of the format. Nothing was appended.
    #[error("{total} of the lines cannot be read; nothing was appended")]
    BadLines {
        /// How many there are.
        total: u64,
        /// The first of them, at most [`BAD_LINES_SHOWN_MAX`].
        first: Vec<BadLine>,
    },
    /// The log could not be asked.
    #[error("the log cannot be used: {0}; nothing was appended")]
    Log(#[from] LogError),
    /// The log refused the commit. Nothing was appended; trying again may help.
    #[error("the log aborted the commit: {0}; nothing was appended")]
    Aborted(String),
    /// Another writer has taken this one's name. Nothing was appended.
    #[error("another process has taken over this writer: {0}; nothing was appended")]
    Fenced(String),
    /// The log cannot tell.
    #[error(
        "the log cannot tell whether the records were appended: {0}; send them again with the \
         same Idempotency-Key"
    )]
    Unknown(String),
}

/// A body that was read and waits to be appended.
pub struct Prepared {
    commit: Commit,
    /// How many of the commit's appends are records; the rest are dead letters.
    batches: usize,
    receipt: Receipt,
}

/// An append under way.
struct Started {
    underway: Option<Underway>,
    /// The partitions of the records, in the order of the commit.
    receipt: Receipt,
}

impl Ingest {
    /// An ingest whose writer is named `name`, unique among the processes on one log.
    ///
    /// # Errors
    /// When the log is away.
    pub fn open(
        log: Arc<dyn Log>,
        clock: Arc<dyn Clock>,
        name: &str,
        settings: IngestSettings,
        counters: &Counters,
    ) -> Result<Self, LogError> {
        Ok(Self {
            writer: SharedWriter::open(Arc::clone(&log), format!("ingest-{name}"))?,
            log,
            clock,
            settings,
            counters: counters.source("http"),
            places: Mutex::default(),
            turn: AtomicU32::new(0),
        })
    }

    /// Appends the lines of `body` to `topic` and waits until the log has them. For callers
    /// without a runtime.
    ///
    /// # Errors
    /// See [`IngestError`]; all but [`IngestError::Unknown`] mean that nothing was appended.
    pub fn append(
        &self,
        topic: &str,
        body: &[u8],
        options: &Options,
    ) -> Result<Receipt, IngestError> {
        let started = self.start(self.prepare(topic, body, options)?)?;
        let outcome = started.underway.map(|underway| self.writer.wait(underway));
        self.finish(started.receipt, outcome)
    }

    /// Reads the lines of `body`. Appends nothing.
    ///
    /// # Errors
    /// When the topic is unknown, there are too many lines, or a line is bad and is not to become a
    /// dead letter.
    pub fn prepare(
        &self,
        topic: &str,
        body: &[u8],
        options: &Options,
    ) -> Result<Prepared, IngestError> {
        let defaults = self.settings.topics.get(topic);
        let defaults = defaults.ok_or_else(|| IngestError::UnknownTopic(topic.to_owned()))?;
        let most = self.settings.lines_max;
        if options.shape == Shape::Lines && lines(body).nth(most).is_some() {
            return Err(IngestError::TooManyLines(most));
        }
        let now_ms = self.clock.wall_ms();
        let dead_letters = match options.on_bad_line {
            OnBadLine::Refuse => None,
            OnBadLine::DeadLetter => Some(self.dead_letters(topic)?),
        };
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut body_reader = BodyReader {
            parser: Parser::new(parser_settings(options, defaults, &self.settings)),
            options,
            now_ms,
            counters: &self.counters,
            gathered: Gathered::new(self.place(topic)?, dead_letters, turn),
            bad: Vec::new(),
            bad_total: 0,
            skipped: 0,
            headers: Vec::new(),
        };
        match options.shape {
            Shape::Record => body_reader.read(1, body),
            Shape::Lines => (1..).zip(lines(body)).for_each(|(n, line)| body_reader.read(n, line)),
        }
        body_reader.finish()
    }

    /// Enqueues what was prepared. Waits while the log's queue is full.
    fn start(&self, prepared: Prepared) -> Result<Started, IngestError> {
        let Prepared { commit, batches, mut receipt } = prepared;
        receipt.token.positions = commit.appends[..batches]
            .iter()
            .map(|(place, _)| SourcePosition {
                topic: place.topic.to_string(),
                partition: place.partition,
                position: Default::default(),
            })
            .collect();
        fail_point::pass(FailPoint::IngestBeforeAppend);
        let underway = if commit.is_empty() { None } else { Some(self.writer.commit(commit)?) };
        Ok(Started { underway, receipt })
    }

    /// Puts the log's answer into the receipt.
    fn finish(
        &self,
        mut receipt: Receipt,
        outcome: Option<Outcome>,
    ) -> Result<Receipt, IngestError> {
        match outcome {
            None => return Ok(receipt),
            Some(Outcome::Committed { appended }) => {
                fail_point::pass(FailPoint::IngestAfterAppend);
                for (source, landed) in receipt.token.positions.iter_mut().zip(&appended) {
                    source.position = landed.next;
                }
            }
            Some(Outcome::Aborted(reason)) => {
                self.counters.add(Count::Aborted, 1);
                return Err(IngestError::Aborted(reason));
            }
            Some(Outcome::Fenced(reason)) => return Err(IngestError::Fenced(reason)),
            Some(Outcome::Unknown(reason)) => {
                self.counters.add(Count::Unknown, 1);
                return Err(IngestError::Unknown(reason));
            }
        }
        self.counters.add(Count::Records, receipt.records);
        self.counters.add(Count::DeadLetters, receipt.dead_letters);
        Ok(receipt)
    }

    fn place(&self, topic: &str) -> Result<Place, LogError> {
        self.known(topic, || Place::find(&*self.log, topic))
    }

    fn dead_letters(&self, topic: &str) -> Result<Place, LogError> {
        let name = crate::dead_letter_topic(topic);
        self.known(&name, || Place::dead_letters(&*self.log, topic))
    }

    fn known(
        &self,
        name: &str,
        find: impl FnOnce() -> Result<Place, LogError>,
    ) -> Result<Place, LogError> {
        let lock = || self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = lock().get(name) {
            return Ok(place.clone());
        }
        let place = find()?;
        lock().insert(name.to_owned(), place.clone());
        Ok(place)
    }
}

fn parser_settings(
    options: &Options,
    defaults: &TopicSettings,
    settings: &IngestSettings,
) -> ParserSettings {
    // What the request says of all its records needs no field, so none is looked for.
    let field = |given: bool, asked: &Option<crate::FieldPath>, default: &Option<_>| {
        if given { None } else { asked.clone().or_else(|| default.clone()) }
    };
    let (key, timestamp) = (options.key.is_some(), options.timestamp_ms.is_some());
    ParserSettings {
        format: options.format,
        key_field: field(key, &options.key_field, &defaults.key_field),
        timestamp_field: field(timestamp, &options.timestamp_field, &defaults.timestamp_field),
        line_bytes_max: match options.shape {
            Shape::Record => settings.body_bytes_max,
            Shape::Lines => settings.line_bytes_max,
        },
    }
}

/// One body on its way into a commit.
struct BodyReader<'a> {
    parser: Parser,
    options: &'a Options,
    now_ms: i64,
    counters: &'a SourceCounters,
    gathered: Gathered,
    bad: Vec<BadLine>,
    bad_total: u64,
    skipped: u64,
    headers: Vec<u8>,
}

impl BodyReader<'_> {
    fn read(&mut self, number: u64, line: &[u8]) {
        let reference_ms = self.options.reference_ms.unwrap_or(self.now_ms);
        let arrival = Arrival { reference_ms, host: None };
        match self.parser.parse(line, &arrival) {
            // A request of one record that has none is a mistake.
            Ok(Parsed::Skipped(_)) if self.options.shape == Shape::Record => {
                let reason = crate::FieldError::Json("the body is empty".into()).into();
                self.refuse(number, line, reason);
            }
            Ok(Parsed::Record(record)) => self.push(number, record),
            Ok(Parsed::Skipped(skipped)) => self.skip(skipped),
            Err(reason) => self.refuse(number, line, reason),
        }
    }

    fn push(&mut self, number: u64, record: ParsedRecord<'_>) {
        self.headers.clear();
        self.headers.extend_from_slice(&self.options.headers);
        if let Some(id) = &self.options.event_id {
            let id = match self.options.shape {
                Shape::Record => id.clone(),
                Shape::Lines => format!("{id}:{number}"),
            };
            put_header(&mut self.headers, EVENT_ID_HEADER, id.as_bytes());
        }
        if record.lossy {
            self.counters.add(Count::InvalidUtf8, 1);
        }
        let options = self.options;
        let timestamp_ms = options.timestamp_ms.or(record.timestamp_ms);
        let timestamp_ms = timestamp_ms.or(options.else_timestamp_ms);
        let key = options.key.as_deref().map(Into::into).or(record.key);
        let key = key.or_else(|| options.else_key.as_deref().map(Into::into));
        let record = ParsedRecord { key, ..record };
        self.gathered.push(&record, timestamp_ms.unwrap_or(self.now_ms), &self.headers);
    }

    fn skip(&mut self, skipped: Skipped) {
        self.skipped += 1;
        self.counters.add(skipped.count(), 1);
    }

    fn refuse(&mut self, number: u64, line: &[u8], reason: LineError) {
        match self.options.on_bad_line {
            OnBadLine::Refuse => {
                self.bad_total += 1;
                if self.bad.len() < BAD_LINES_SHOWN_MAX {
                    self.bad.push(BadLine { line: number, reason });
                }
            }
            OnBadLine::DeadLetter => self.gathered.push_dead_letter(&DeadLetter {
                line,
                reason: &reason.to_string(),
                source: "http",
                offset: Some(number),
                timestamp_ms: self.now_ms,
            }),
        }
    }

    fn finish(self) -> Result<Prepared, IngestError> {
        if self.bad_total > 0 {
            self.counters.add(Count::BadLines, 1);
            return Err(IngestError::BadLines { total: self.bad_total, first: self.bad });
        }
        let (records, dead_letters) = self.gathered.counts();
        let commit = self.gathered.into_commit();
        let batches = commit.appends.len() - usize::from(dead_letters > 0);
        let receipt = Receipt {
            records,
            dead_letters,
            skipped: self.skipped,
            token: Token::default(),
            year: self.parser.year(),
        };
        Ok(Prepared { commit, batches, receipt })
    }
}

#[cfg(test)]
mod tests;
